/*
 * Messages of a client in Protobuf: what is decoded lies inside the input or
 * the arena, and is what protobuf-c finds in the same bytes.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "protocol/ngx_centrifugo_command.h"
#include "protocol/ngx_centrifugo_pb.h"

#include "client.pb-c.h"


static void compare(const ngx_str_t *bytes, ngx_centrifugo_command_t *cmd);
static void same(const char *expected, const ngx_str_t *s);
static void reply(ngx_centrifugo_command_t *cmd);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *in, *pos;
    ngx_str_t                  bytes;
    ngx_uint_t                 first;
    ngx_centrifugo_arena_t     arena;
    ngx_centrifugo_command_t   cmd;

    in = malloc(size + 1);
    memcpy(in, data, size);
    ngx_centrifugo_arena_init(&arena, 1024);

    pos = in;
    first = 1;

    while (ngx_centrifugo_codec_protobuf.next(&pos, in + size, first, &bytes)
           == NGX_OK)
    {
        first = 0;

        if (ngx_centrifugo_codec_protobuf.decode(&arena, &bytes, &cmd)
            != NGX_OK)
        {
            break;
        }

        compare(&bytes, &cmd);
        reply(&cmd);
    }

    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}


static void
compare(const ngx_str_t *bytes, ngx_centrifugo_command_t *cmd)
{
    Centrifugo__Client__Command           *c;
    Centrifugo__Client__PublishRequest    *p;
    Centrifugo__Client__SubscribeRequest  *s;

    c = centrifugo__client__command__unpack(NULL, bytes->len, bytes->data);

    if (c == NULL) {

        /* it refuses groups, and known fields of another wire type */

        return;
    }

    if (c->id != cmd->id || (c->send != NULL) != cmd->send) {
        abort();
    }

    p = c->publish;
    s = c->subscribe;

    if (cmd->method == NGX_CENTRIFUGO_CMD_PUBLISH) {
        same(p->channel, &cmd->channel);

        if (p->data.len != cmd->data.len
            || (p->data.len
                && memcmp(p->data.data, cmd->data.data, p->data.len) != 0)
            || p->type != cmd->type)
        {
            abort();
        }
    }

    if (cmd->method == NGX_CENTRIFUGO_CMD_SUBSCRIBE) {
        same(s->channel, &cmd->channel);
        same(s->token, &cmd->token);
        same(s->epoch, &cmd->epoch);

        /* a bool it takes from any wire type, so those are not compared */

        if (s->offset != cmd->offset || s->flag != cmd->flag
            || s->type != cmd->type
            || (s->tf != NULL) != (cmd->filter != NULL))
        {
            abort();
        }
    }

    centrifugo__client__command__free_unpacked(c, NULL);
}


/* It sees strings up to the first zero byte. */

static void
same(const char *expected, const ngx_str_t *s)
{
    size_t  len;

    len = strlen(expected);

    if (len > s->len || (len && memcmp(expected, s->data, len) != 0)
        || (len < s->len && s->data[len] != '\0'))
    {
        abort();
    }
}


static void
reply(ngx_centrifugo_command_t *cmd)
{
    u_char                        *pos;
    uint64_t                       len;
    ngx_str_t                      epoch;
    ngx_centrifugo_buf_t           b, list;
    ngx_centrifugo_publication_t   pub;
    Centrifugo__Client__Reply     *r;

    memset(&b, 0, sizeof(b));
    memset(&list, 0, sizeof(list));
    memset(&pub, 0, sizeof(pub));

    pub.data = cmd->data;
    pub.offset = cmd->offset;
    ngx_str_set(&epoch, "abcdefgh");

    ngx_centrifugo_codec_protobuf.publication(&list, 0, &pub, 0);
    ngx_centrifugo_codec_protobuf.publication(&list, 1, &pub, 0);
    ngx_centrifugo_codec_protobuf.history(&b, cmd->id, &list, &epoch,
                                          cmd->offset);

    pos = b.start;

    if (ngx_centrifugo_pb_varint(&pos, b.last, &len) != NGX_OK
        || len != (uint64_t) (b.last - pos))
    {
        abort();
    }

    r = centrifugo__client__reply__unpack(NULL, (size_t) len, pos);

    if (r == NULL || r->id != cmd->id || r->history->n_publications != 2
        || r->history->publications[1]->data.len != cmd->data.len
        || r->history->publications[1]->offset != cmd->offset)
    {
        abort();
    }

    centrifugo__client__reply__free_unpacked(r, NULL);
    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_buf_free(&list);
}
