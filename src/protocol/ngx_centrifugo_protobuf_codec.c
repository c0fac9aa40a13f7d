/*
 * Commands, replies and pushes of protocol v2 as Protobuf: the messages of
 * proto/client.proto, each behind its length.
 */

#include "ngx_centrifugo_command.h"
#include "ngx_centrifugo_pb.h"

#include "client.pb-c.h"


/* numbers of fields: those of Reply, Push and Publication */

#define PB_REPLY_ID       1
#define PB_REPLY_ERROR    2
#define PB_REPLY_PUSH     4

#define PB_PUSH_ID           1
#define PB_PUSH_CHANNEL      2
#define PB_PUSH_PUB          4
#define PB_PUSH_JOIN         5
#define PB_PUSH_LEAVE        6
#define PB_PUSH_UNSUBSCRIBE  7
#define PB_PUSH_SUBSCRIBE    9
#define PB_PUSH_REFRESH      12

#define PB_PUB_DATA    4
#define PB_PUB_INFO    5
#define PB_PUB_OFFSET  6
#define PB_PUB_TAGS    7
#define PB_PUB_DELTA   8
#define PB_PUB_EPOCH   14


/* one message around others, as begun */
typedef struct {
    size_t  outer;
    size_t  inner;
    size_t  field;
} codec_mark_t;


static ngx_int_t codec_next(u_char **pos, u_char *end, ngx_uint_t first,
    ngx_str_t *cmd);
static ngx_int_t codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd);
static void codec_part(ngx_centrifugo_buf_t *b);
static void codec_ping(ngx_centrifugo_buf_t *b);
static void codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err);
static void codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result);
static void codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl);
static void codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n);
static void codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id,
    uint32_t clients, uint32_t users);
static void codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method);
static void codec_publication(ngx_centrifugo_buf_t *list, ngx_uint_t n,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_publication_fields(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_info(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_client_info_t *info);
static void codec_history(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_buf_t *list, const ngx_str_t *epoch,
    uint64_t offset);
static void codec_list(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_buf_t *list);
static void codec_push_publication(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, uint64_t id,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_payload(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_str_t *bytes);
static void codec_push_subscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_push_unsubscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, ngx_uint_t code, const ngx_str_t *reason);
static void codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires,
    uint32_t ttl);
static void codec_reply(ngx_centrifugo_buf_t *b, uint32_t id, ngx_uint_t field,
    codec_mark_t *mark);
static void codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    uint64_t id, ngx_uint_t field, codec_mark_t *mark);
static void codec_end(ngx_centrifugo_buf_t *b, const codec_mark_t *mark);


const ngx_centrifugo_codec_t  ngx_centrifugo_codec_protobuf = {
    ngx_string("protobuf"),
    ngx_string("\0"),
    0,
    codec_next,
    codec_decode,
    codec_part,
    codec_ping,
    codec_error,
    codec_connect,
    codec_subscribe,
    codec_refresh,
    codec_presence,
    codec_presence_stats,
    codec_done,
    codec_publication,
    codec_history,
    codec_push_publication,
    codec_payload,
    codec_push_subscribe,
    codec_push_unsubscribe,
    codec_push_refresh
};


/* the field of Reply that has the result of a method */

static const uint8_t  codec_results[NGX_CENTRIFUGO_CMD_COUNT] = {
    0,
    5,      /* connect */
    6,      /* subscribe */
    7,      /* unsubscribe */
    8,      /* publish */
    9,      /* presence */
    10,     /* presence_stats */
    11,     /* history */
    13,     /* rpc */
    0,      /* send */
    14,     /* refresh */
    15      /* sub_refresh */
};


static ngx_int_t
codec_next(u_char **pos, u_char *end, ngx_uint_t first, ngx_str_t *cmd)
{
    uint64_t  len;

    if (*pos == end) {
        return first ? NGX_ERROR : NGX_DONE;
    }

    if (ngx_centrifugo_pb_varint(pos, end, &len) != NGX_OK
        || len > (size_t) (end - *pos))
    {
        return NGX_ERROR;
    }

    cmd->data = *pos;
    cmd->len = (size_t) len;

    *pos += len;

    return NGX_OK;
}


static ngx_int_t
codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd)
{
    ngx_int_t               rc;
    ngx_centrifugo_json_t  *root;

    rc = ngx_centrifugo_pb_parse(arena,
                                 &centrifugo__client__command__descriptor,
                                 bytes->data, bytes->len, &root);

    return (rc == NGX_OK) ? ngx_centrifugo_command_read(arena, root, cmd) : rc;
}


/* Each says its length. */

static void
codec_part(ngx_centrifugo_buf_t *b)
{
}


static void
codec_ping(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_byte(b, 0);
}


static void
codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err)
{
    codec_mark_t  mark;

    codec_reply(b, id, PB_REPLY_ERROR, &mark);

    ngx_centrifugo_pb_append_uint(b, 1, err->code);
    ngx_centrifugo_pb_append_bytes(b, 2, &err->message);
    ngx_centrifugo_pb_append_uint(b, 3, err->temporary);

    codec_end(b, &mark);
}


static void
codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result)
{
    size_t        entry, value;
    ngx_uint_t    i;
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[NGX_CENTRIFUGO_CMD_CONNECT], &mark);

    ngx_centrifugo_pb_append_bytes(b, 1, &result->client);
    ngx_centrifugo_pb_append_bytes(b, 2, &result->version);
    ngx_centrifugo_pb_append_uint(b, 3, result->expires);
    ngx_centrifugo_pb_append_uint(b, 4, result->ttl);
    ngx_centrifugo_pb_append_bytes(b, 5, &result->data);

    for (i = 0; i < result->nsubs; i++) {
        entry = ngx_centrifugo_pb_begin(b, 6);
        ngx_centrifugo_pb_append_bytes(b, 1, &result->subs[i].channel);

        value = ngx_centrifugo_pb_begin(b, 2);
        codec_subscribe_result(b, &result->subs[i].result);
        ngx_centrifugo_pb_end(b, value);

        ngx_centrifugo_pb_end(b, entry);
    }

    ngx_centrifugo_pb_append_uint(b, 7, result->ping);
    ngx_centrifugo_pb_append_uint(b, 8, result->pong);

    codec_end(b, &mark);
}


static void
codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[NGX_CENTRIFUGO_CMD_SUBSCRIBE], &mark);
    codec_subscribe_result(b, result);
    codec_end(b, &mark);
}


static void
codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result)
{
    ngx_centrifugo_pb_append_uint(b, 1, result->expires);
    ngx_centrifugo_pb_append_uint(b, 2, result->ttl);
    ngx_centrifugo_pb_append_uint(b, 3, result->recoverable);
    ngx_centrifugo_pb_append_bytes(b, 6, &result->epoch);

    if (result->publications) {
        codec_list(b, 7, result->publications);
    }

    ngx_centrifugo_pb_append_uint(b, 8, result->recovered);
    ngx_centrifugo_pb_append_uint(b, 9, result->offset);
    ngx_centrifugo_pb_append_uint(b, 10, result->positioned);
    ngx_centrifugo_pb_append_bytes(b, 11, &result->data);
    ngx_centrifugo_pb_append_uint(b, 12, result->was_recovering);
    ngx_centrifugo_pb_append_uint(b, 13, result->delta);
    ngx_centrifugo_pb_append_uint(b, 14, result->id);
}


static void
codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl)
{
    ngx_uint_t    field;
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[method], &mark);

    field = (method == NGX_CENTRIFUGO_CMD_REFRESH) ? 3 : 1;

    ngx_centrifugo_pb_append_uint(b, field, expires);
    ngx_centrifugo_pb_append_uint(b, field + 1, ttl);

    codec_end(b, &mark);
}


static void
codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n)
{
    size_t        entry;
    ngx_uint_t    i;
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[NGX_CENTRIFUGO_CMD_PRESENCE], &mark);

    for (i = 0; i < n; i++) {
        entry = ngx_centrifugo_pb_begin(b, 1);
        ngx_centrifugo_pb_append_bytes(b, 1, &infos[i].client);
        codec_info(b, 2, &infos[i]);
        ngx_centrifugo_pb_end(b, entry);
    }

    codec_end(b, &mark);
}


static void
codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id, uint32_t clients,
    uint32_t users)
{
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[NGX_CENTRIFUGO_CMD_PRESENCE_STATS],
                &mark);
    ngx_centrifugo_pb_append_uint(b, 1, clients);
    ngx_centrifugo_pb_append_uint(b, 2, users);
    codec_end(b, &mark);
}


static void
codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method)
{
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[method], &mark);
    codec_end(b, &mark);
}


/* In a list each publication stands behind its length. */

static void
codec_publication(ngx_centrifugo_buf_t *list, ngx_uint_t n,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(list, 0);
    codec_publication_fields(list, pub, form);
    ngx_centrifugo_pb_end(list, mark);
}


static void
codec_publication_fields(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form)
{
    ngx_str_t             rest, epoch;
    ngx_centrifugo_tag_t  tag;

    ngx_centrifugo_pb_append_bytes(b, PB_PUB_DATA, &pub->data);

    if (pub->info) {
        codec_info(b, PB_PUB_INFO, pub->info);
    }

    ngx_centrifugo_pb_append_uint(b, PB_PUB_OFFSET, pub->offset);

    rest = pub->tags;

    while (ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK) {
        ngx_centrifugo_pb_append_entry(b, PB_PUB_TAGS, &tag.key, &tag.value);
    }

    ngx_centrifugo_pb_append_uint(b, PB_PUB_DELTA,
                                  form == NGX_CENTRIFUGO_FORM_DELTA);

    if (pub->offset == 1 && pub->epoch && form == NGX_CENTRIFUGO_FORM_PLAIN) {
        epoch.data = (u_char *) &pub->epoch;
        epoch.len = sizeof(uint64_t);

        ngx_centrifugo_pb_append_bytes(b, PB_PUB_EPOCH, &epoch);
    }
}


static void
codec_info(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_client_info_t *info)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(b, field);
    ngx_centrifugo_pb_append_bytes(b, 1, &info->user);
    ngx_centrifugo_pb_append_bytes(b, 2, &info->client);
    ngx_centrifugo_pb_append_bytes(b, 3, &info->conn_info);
    ngx_centrifugo_pb_append_bytes(b, 4, &info->chan_info);
    ngx_centrifugo_pb_end(b, mark);
}


static void
codec_history(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_buf_t *list, const ngx_str_t *epoch, uint64_t offset)
{
    codec_mark_t  mark;

    codec_reply(b, id, codec_results[NGX_CENTRIFUGO_CMD_HISTORY], &mark);
    codec_list(b, 1, list);
    ngx_centrifugo_pb_append_bytes(b, 2, epoch);
    ngx_centrifugo_pb_append_uint(b, 3, offset);
    codec_end(b, &mark);
}


static void
codec_list(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_buf_t *list)
{
    u_char     *pos;
    uint64_t    len;
    ngx_str_t   pub;

    pos = list->start;

    while (pos < list->last
           && ngx_centrifugo_pb_varint(&pos, list->last, &len) == NGX_OK)
    {
        pub.data = pos;
        pub.len = (size_t) len;
        pos += len;

        ngx_centrifugo_pb_append_message(b, field, &pub);
    }
}


static void
codec_push_publication(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    uint64_t id, const ngx_centrifugo_publication_t *pub,
    ngx_centrifugo_form_e form)
{
    codec_mark_t  mark;

    if (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION) {
        codec_push(b, channel, id, pub->type == NGX_CENTRIFUGO_PUSH_JOIN
                                   ? PB_PUSH_JOIN : PB_PUSH_LEAVE, &mark);
        codec_info(b, 1, pub->info);

    } else {
        codec_push(b, channel, id, PB_PUSH_PUB, &mark);
        codec_publication_fields(b, pub, form);
    }

    codec_end(b, &mark);
}


static void
codec_payload(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_str_t *bytes)
{
    *bytes = pub->data;
}


static void
codec_push_subscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_mark_t  mark;

    codec_push(b, channel, 0, PB_PUSH_SUBSCRIBE, &mark);
    ngx_centrifugo_pb_append_uint(b, 1, result->recoverable);
    ngx_centrifugo_pb_append_bytes(b, 4, &result->epoch);
    ngx_centrifugo_pb_append_uint(b, 5, result->offset);
    ngx_centrifugo_pb_append_uint(b, 6, result->positioned);
    ngx_centrifugo_pb_append_bytes(b, 7, &result->data);
    codec_end(b, &mark);
}


static void
codec_push_unsubscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    ngx_uint_t code, const ngx_str_t *reason)
{
    codec_mark_t  mark;

    codec_push(b, channel, 0, PB_PUSH_UNSUBSCRIBE, &mark);
    ngx_centrifugo_pb_append_uint(b, 2, code);
    ngx_centrifugo_pb_append_bytes(b, 3, reason);
    codec_end(b, &mark);
}


static void
codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires, uint32_t ttl)
{
    codec_mark_t      mark;
    static ngx_str_t  none = ngx_null_string;

    codec_push(b, &none, 0, PB_PUSH_REFRESH, &mark);
    ngx_centrifugo_pb_append_uint(b, 1, expires);
    ngx_centrifugo_pb_append_uint(b, 2, ttl);
    codec_end(b, &mark);
}


static void
codec_reply(ngx_centrifugo_buf_t *b, uint32_t id, ngx_uint_t field,
    codec_mark_t *mark)
{
    mark->outer = ngx_centrifugo_pb_begin(b, 0);
    mark->inner = 0;
    ngx_centrifugo_pb_append_uint(b, PB_REPLY_ID, id);
    mark->field = ngx_centrifugo_pb_begin(b, field);
}


static void
codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel, uint64_t id,
    ngx_uint_t field, codec_mark_t *mark)
{
    mark->outer = ngx_centrifugo_pb_begin(b, 0);
    mark->inner = ngx_centrifugo_pb_begin(b, PB_REPLY_PUSH);

    if (id) {
        ngx_centrifugo_pb_append_uint(b, PB_PUSH_ID, id);

    } else {
        ngx_centrifugo_pb_append_bytes(b, PB_PUSH_CHANNEL, channel);
    }

    mark->field = ngx_centrifugo_pb_begin(b, field);
}


static void
codec_end(ngx_centrifugo_buf_t *b, const codec_mark_t *mark)
{
    ngx_centrifugo_pb_end(b, mark->field);

    if (mark->inner) {
        ngx_centrifugo_pb_end(b, mark->inner);
    }

    ngx_centrifugo_pb_end(b, mark->outer);
}
