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
    ngx_uint_t                      first;
    ngx_centrifugo_buf_t            b;
    ngx_centrifugo_json_t          *root;
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_command_t        cmd;
    ngx_centrifugo_publication_t    pub;

    in = malloc(size + 1);
    memcpy(in, data, size);
    ngx_centrifugo_arena_init(&arena, 1024);
    memset(&b, 0, sizeof(b));

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
        channel = cmd.channel;
        ngx_centrifugo_buf_reset(&b);
        ngx_centrifugo_codec_json.push_publication(&b, &channel, &pub);

        if (ngx_centrifugo_json_validate(&arena, b.start,
                                         ngx_centrifugo_buf_len(&b))
            != NGX_OK
            || memchr(b.start, '\n', ngx_centrifugo_buf_len(&b)))
        {
            abort();
        }
    }

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
