/*
 * Messages of a client and API bodies: whatever is decoded lies inside the
 * input or the arena, and what is accepted is accepted again when encoded.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "protocol/ngx_centrifugo_json.h"
#include "protocol/ngx_centrifugo_protocol.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                         *in, *pos;
    ngx_str_t                       bytes, channel;
    ngx_uint_t                      first, form;
    ngx_centrifugo_buf_t            b, text;
    ngx_centrifugo_json_t          *root;
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_command_t        cmd;
    ngx_centrifugo_publication_t    pub;

    in = malloc(size + 1);
    memcpy(in, data, size);
    ngx_centrifugo_arena_init(&arena, 1024);
    memset(&b, 0, sizeof(b));
    memset(&text, 0, sizeof(text));

    (void) ngx_centrifugo_json_parse(&arena, in, size, 1, &root);

    pos = in;
    first = 1;

    while (ngx_centrifugo_codec_json.next(&pos, in + size, first, &bytes)
           == NGX_OK)
    {
        first = 0;

        if (ngx_centrifugo_codec_json.decode(&arena, &bytes, &cmd) != NGX_OK) {
            break;
        }

        if (cmd.data.len == 0) {
            continue;
        }

        memset(&pub, 0, sizeof(pub));
        pub.data = cmd.data;
        pub.offset = 1;
        channel = cmd.channel;

        for (form = 0; form <= NGX_CENTRIFUGO_FORM_DELTA; form++) {
            ngx_centrifugo_buf_reset(&b);
            ngx_centrifugo_codec_json.push_publication(&b, &channel, cmd.id,
                                                       &pub, form);

            if (ngx_centrifugo_json_parse(&arena, b.start,
                                          ngx_centrifugo_buf_len(&b), 0,
                                          &root)
                != NGX_OK
                || memchr(b.start, '\n', ngx_centrifugo_buf_len(&b)))
            {
                abort();
            }

            if (form == NGX_CENTRIFUGO_FORM_PLAIN) {
                continue;
            }

            /* the string is what was put into it, or that without lines */

            ngx_centrifugo_buf_reset(&text);
            bytes = pub.data;

            if (form == NGX_CENTRIFUGO_FORM_TEXT) {
                ngx_centrifugo_codec_json.payload(&text, &pub, &bytes);
            }

            root = ngx_centrifugo_json_get(root, "push", 4);
            root = ngx_centrifugo_json_get(root, "pub", 3);
            root = ngx_centrifugo_json_get(root, "data", 4);

            if (root->str.len != bytes.len
                || memcmp(root->str.data, bytes.data, bytes.len) != 0)
            {
                abort();
            }
        }
    }

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_buf_free(&text);
    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
