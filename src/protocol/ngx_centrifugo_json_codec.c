/*
 * Commands and replies of protocol v2 as JSON, one object per line.
 */

#include "ngx_centrifugo_protocol.h"
#include "ngx_centrifugo_json.h"


/* what a field of a request must be; the result goes to `offset` */
typedef enum {
    CODEC_STRING,
    CODEC_BOOL,             /* kept: recover, positioned, ... */
    CODEC_RAW,
    CODEC_UINT64,
    CODEC_INT32,
    CODEC_INT64,
    CODEC_SINCE,
    CODEC_SUBS,
    CODEC_STRINGS,          /* a map of strings */
    CODEC_OBJECT
} codec_type_e;

typedef struct {
    ngx_str_t       name;
    codec_type_e    type;
    size_t          offset;
} codec_field_t;

typedef struct {
    ngx_str_t                 name;
    ngx_centrifugo_method_e   method;
    codec_field_t            *fields;
} codec_request_t;


static ngx_int_t codec_next(u_char **pos, u_char *end, ngx_uint_t first,
    ngx_str_t *cmd);
static ngx_int_t codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd);
static ngx_int_t codec_subs(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *connect, ngx_centrifugo_command_t *cmd);
static ngx_int_t codec_fields(ngx_centrifugo_json_t *map,
    codec_field_t *fields, ngx_centrifugo_command_t *cmd);
static ngx_int_t codec_field(ngx_centrifugo_json_t *map,
    codec_field_t *field, ngx_centrifugo_command_t *cmd);
static void codec_flag(ngx_centrifugo_command_t *cmd, size_t flag);
static void codec_part(ngx_centrifugo_buf_t *b);
static void codec_ping(ngx_centrifugo_buf_t *b);
static void codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err);
static void codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result);
static void codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl);
static void codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n);
static void codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id,
    uint32_t clients, uint32_t users);
static void codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method);
static void codec_push_publication(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, uint64_t id,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_push_subscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_push_unsubscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, ngx_uint_t code, const ngx_str_t *reason);
static void codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires,
    uint32_t ttl);
static void codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_reply(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_str_t *name);
static void codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    const char *name);
static void codec_key(ngx_centrifugo_buf_t *b, const char *name);
static void codec_true(ngx_centrifugo_buf_t *b, const char *name,
    ngx_uint_t value);
static void codec_uint(ngx_centrifugo_buf_t *b, const char *name,
    uint64_t value);


/* numbers of the flags of a command, which have no address */

enum {
    CODEC_FLAG_NONE = 0,
    CODEC_FLAG_RECOVER,
    CODEC_FLAG_POSITIONED,
    CODEC_FLAG_RECOVERABLE,
    CODEC_FLAG_JOIN_LEAVE,
    CODEC_FLAG_REVERSE,
    CODEC_FLAG_FILTER
};

#define CODEC_NOWHERE  0        /* checked, not kept */
#define codec_at(f)    offsetof(ngx_centrifugo_command_t, f)
#define codec_end      { ngx_null_string, CODEC_STRING, 0 }


static codec_field_t  codec_connect_fields[] = {
    { ngx_string("token"), CODEC_STRING, codec_at(token) },
    { ngx_string("data"), CODEC_RAW, codec_at(data) },
    { ngx_string("name"), CODEC_STRING, codec_at(name) },
    { ngx_string("version"), CODEC_STRING, codec_at(version) },
    { ngx_string("subs"), CODEC_SUBS, CODEC_NOWHERE },
    { ngx_string("headers"), CODEC_STRINGS, CODEC_NOWHERE },
    { ngx_string("flag"), CODEC_INT64, codec_at(flag) },
    codec_end
};

static codec_field_t  codec_subscribe_fields[] = {
    { ngx_string("channel"), CODEC_STRING, codec_at(channel) },
    { ngx_string("token"), CODEC_STRING, codec_at(token) },
    { ngx_string("recover"), CODEC_BOOL, CODEC_FLAG_RECOVER },
    { ngx_string("epoch"), CODEC_STRING, codec_at(epoch) },
    { ngx_string("offset"), CODEC_UINT64, codec_at(offset) },
    { ngx_string("data"), CODEC_RAW, codec_at(data) },
    { ngx_string("positioned"), CODEC_BOOL, CODEC_FLAG_POSITIONED },
    { ngx_string("recoverable"), CODEC_BOOL, CODEC_FLAG_RECOVERABLE },
    { ngx_string("join_leave"), CODEC_BOOL, CODEC_FLAG_JOIN_LEAVE },
    { ngx_string("delta"), CODEC_STRING, codec_at(delta) },
    { ngx_string("tf"), CODEC_OBJECT, CODEC_FLAG_FILTER },
    { ngx_string("flag"), CODEC_INT64, codec_at(flag) },
    { ngx_string("type"), CODEC_INT32, codec_at(type) },
    codec_end
};

static codec_field_t  codec_channel_fields[] = {
    { ngx_string("channel"), CODEC_STRING, codec_at(channel) },
    codec_end
};

static codec_field_t  codec_publish_fields[] = {
    { ngx_string("channel"), CODEC_STRING, codec_at(channel) },
    { ngx_string("data"), CODEC_RAW, codec_at(data) },
    { ngx_string("type"), CODEC_INT32, codec_at(type) },
    codec_end
};

static codec_field_t  codec_history_fields[] = {
    { ngx_string("channel"), CODEC_STRING, codec_at(channel) },
    { ngx_string("limit"), CODEC_INT32, codec_at(limit) },
    { ngx_string("since"), CODEC_SINCE, CODEC_NOWHERE },
    { ngx_string("reverse"), CODEC_BOOL, CODEC_FLAG_REVERSE },
    codec_end
};

static codec_field_t  codec_since_fields[] = {
    { ngx_string("offset"), CODEC_UINT64, codec_at(offset) },
    { ngx_string("epoch"), CODEC_STRING, codec_at(epoch) },
    codec_end
};

static codec_field_t  codec_rpc_fields[] = {
    { ngx_string("data"), CODEC_RAW, codec_at(data) },
    { ngx_string("method"), CODEC_STRING, codec_at(name) },
    codec_end
};

static codec_field_t  codec_send_fields[] = {
    { ngx_string("data"), CODEC_RAW, codec_at(data) },
    codec_end
};

static codec_field_t  codec_refresh_fields[] = {
    { ngx_string("token"), CODEC_STRING, codec_at(token) },
    codec_end
};

static codec_field_t  codec_sub_refresh_fields[] = {
    { ngx_string("channel"), CODEC_STRING, codec_at(channel) },
    { ngx_string("token"), CODEC_STRING, codec_at(token) },
    codec_end
};

/* of several requests in one command the first in this order counts */

static codec_request_t  codec_requests[] = {
    { ngx_string("connect"), NGX_CENTRIFUGO_CMD_CONNECT,
      codec_connect_fields },
    { ngx_string("subscribe"), NGX_CENTRIFUGO_CMD_SUBSCRIBE,
      codec_subscribe_fields },
    { ngx_string("unsubscribe"), NGX_CENTRIFUGO_CMD_UNSUBSCRIBE,
      codec_channel_fields },
    { ngx_string("publish"), NGX_CENTRIFUGO_CMD_PUBLISH,
      codec_publish_fields },
    { ngx_string("presence"), NGX_CENTRIFUGO_CMD_PRESENCE,
      codec_channel_fields },
    { ngx_string("presence_stats"), NGX_CENTRIFUGO_CMD_PRESENCE_STATS,
      codec_channel_fields },
    { ngx_string("history"), NGX_CENTRIFUGO_CMD_HISTORY,
      codec_history_fields },
    { ngx_string("rpc"), NGX_CENTRIFUGO_CMD_RPC, codec_rpc_fields },
    { ngx_string("send"), NGX_CENTRIFUGO_CMD_SEND, codec_send_fields },
    { ngx_string("refresh"), NGX_CENTRIFUGO_CMD_REFRESH,
      codec_refresh_fields },
    { ngx_string("sub_refresh"), NGX_CENTRIFUGO_CMD_SUB_REFRESH,
      codec_sub_refresh_fields },
    { ngx_null_string, NGX_CENTRIFUGO_CMD_NONE, NULL }
};

static ngx_str_t  codec_unknown = ngx_string("unknown");


const ngx_centrifugo_codec_t  ngx_centrifugo_codec_json = {
    ngx_string("json"),
    1,
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
    NULL,
    NULL,
    codec_push_publication,
    NULL,
    codec_push_subscribe,
    codec_push_unsubscribe,
    codec_push_refresh
};


const ngx_str_t *
ngx_centrifugo_method_name(ngx_centrifugo_method_e method)
{
    codec_request_t  *request;

    for (request = codec_requests; request->name.len; request++) {
        if (request->method == method) {
            return &request->name;
        }
    }

    return &codec_unknown;
}


static ngx_int_t
codec_next(u_char **pos, u_char *end, ngx_uint_t first, ngx_str_t *cmd)
{
    u_char  *p, *last;

    p = *pos;

    if (p == end) {
        return first ? NGX_ERROR : NGX_DONE;
    }

    last = memchr(p, '\n', end - p);

    if (last == NULL) {
        last = end;
        *pos = end;

    } else {
        *pos = last + 1;
    }

    cmd->data = p;
    cmd->len = last - p;

    return cmd->len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd)
{
    uint64_t                id;
    ngx_int_t               rc;
    codec_request_t        *request, *winner;
    ngx_centrifugo_json_t  *root, *value;

    rc = ngx_centrifugo_json_parse(arena, bytes->data, bytes->len, 0, &root);

    if (rc != NGX_OK) {
        return rc;
    }

    if (root->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    ngx_memzero(cmd, sizeof(ngx_centrifugo_command_t));

    id = 0;

    if (ngx_centrifugo_json_uint(root, "id", 2, NGX_MAX_UINT32_VALUE, &id)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    cmd->id = (uint32_t) id;
    winner = NULL;

    for (request = codec_requests; request->name.len; request++) {

        value = ngx_centrifugo_json_get(root, (char *) request->name.data,
                                        request->name.len);
        if (value == NULL) {
            continue;
        }

        if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
            return NGX_ERROR;
        }

        if (request->method == NGX_CENTRIFUGO_CMD_SEND) {
            cmd->send = 1;
        }

        if (winner == NULL) {
            winner = request;

            if (codec_fields(value, request->fields, cmd) != NGX_OK) {
                return NGX_ERROR;
            }

            if (request->method == NGX_CENTRIFUGO_CMD_CONNECT
                && codec_subs(arena, value, cmd) != NGX_OK)
            {
                return NGX_ABORT;
            }
        }
    }

    cmd->method = winner ? winner->method : NGX_CENTRIFUGO_CMD_NONE;

    return NGX_OK;
}


/*
 * Names of the channels that connect asks for; of duplicate ones the first.
 */

static ngx_int_t
codec_subs(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *connect,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_json_t          *subs, *value;
    ngx_centrifugo_command_sub_t   *sub, **last;

    subs = ngx_centrifugo_json_get(connect, "subs", 4);
    last = &cmd->subs;

    for (value = subs ? subs->child : NULL; value; value = value->next) {

        sub = ngx_centrifugo_arena_alloc(arena,
                                         sizeof(ngx_centrifugo_command_sub_t));
        if (sub == NULL) {
            return NGX_ERROR;
        }

        sub->channel = value->key;
        sub->next = NULL;

        *last = sub;
        last = &sub->next;
    }

    return NGX_OK;
}


static ngx_int_t
codec_fields(ngx_centrifugo_json_t *map, codec_field_t *fields,
    ngx_centrifugo_command_t *cmd)
{
    for ( /* void */ ; fields->name.len; fields++) {
        if (codec_field(map, fields, cmd) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
codec_field(ngx_centrifugo_json_t *map, codec_field_t *field,
    ngx_centrifugo_command_t *cmd)
{
    char                   *name;
    size_t                  len;
    u_char                 *at;
    int64_t                 i;
    ngx_int_t               rc;
    ngx_uint_t              b;
    ngx_centrifugo_json_t  *value, *child;

    name = (char *) field->name.data;
    len = field->name.len;
    at = (u_char *) cmd + field->offset;

    switch (field->type) {

    case CODEC_STRING:
        return ngx_centrifugo_json_string(map, name, len, (ngx_str_t *) at);

    case CODEC_BOOL:
        b = 0;
        rc = ngx_centrifugo_json_bool(map, name, len, &b);

        if (b) {
            codec_flag(cmd, field->offset);
        }

        return rc;

    case CODEC_UINT64:
        return ngx_centrifugo_json_uint(map, name, len, UINT64_MAX,
                                        (uint64_t *) at);

    case CODEC_INT64:
        return ngx_centrifugo_json_int(map, name, len, INT64_MIN, INT64_MAX,
                                       (int64_t *) at);

    case CODEC_INT32:
        rc = ngx_centrifugo_json_int(map, name, len, INT32_MIN, INT32_MAX, &i);

        if (rc == NGX_OK) {
            *(int32_t *) at = (int32_t) i;
        }

        return rc;

    default:
        break;
    }

    if (field->type == CODEC_RAW) {

        /* null is a payload like any other */

        value = ngx_centrifugo_json_find(map, name, len);

        if (value) {
            *(ngx_str_t *) at = value->raw;
        }

        return NGX_OK;
    }

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    if (field->type == CODEC_OBJECT) {
        codec_flag(cmd, field->offset);
        return NGX_OK;
    }

    if (field->type == CODEC_SINCE) {
        cmd->since = 1;
        return codec_fields(value, codec_since_fields, cmd);
    }

    for (child = value->child; child; child = child->next) {

        if (child->type == NGX_CENTRIFUGO_JSON_NULL) {
            continue;
        }

        if ((field->type == CODEC_STRINGS
             && child->type != NGX_CENTRIFUGO_JSON_STRING)
            || (field->type == CODEC_SUBS
                && child->type != NGX_CENTRIFUGO_JSON_MAP))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
codec_flag(ngx_centrifugo_command_t *cmd, size_t flag)
{
    switch (flag) {

    case CODEC_FLAG_RECOVER:
        cmd->recover = 1;
        break;

    case CODEC_FLAG_POSITIONED:
        cmd->positioned = 1;
        break;

    case CODEC_FLAG_RECOVERABLE:
        cmd->recoverable = 1;
        break;

    case CODEC_FLAG_JOIN_LEAVE:
        cmd->join_leave = 1;
        break;

    case CODEC_FLAG_REVERSE:
        cmd->reverse = 1;
        break;

    }
}


static void
codec_part(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_byte(b, '\n');
}


static void
codec_ping(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_literal(b, "{}");
}


static void
codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err)
{
    static const ngx_str_t  name = ngx_string("error");

    codec_reply(b, id, &name);

    ngx_centrifugo_buf_literal(b, "\"code\":");
    ngx_centrifugo_buf_append_uint(b, err->code);
    ngx_centrifugo_buf_literal(b, ",\"message\":");
    ngx_centrifugo_json_append_string(b, &err->message);
    codec_true(b, "temporary", err->temporary);

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result)
{
    ngx_uint_t  i;

    codec_reply(b, id, &codec_requests[0].name);

    ngx_centrifugo_buf_literal(b, "\"client\":");
    ngx_centrifugo_json_append_string(b, &result->client);
    codec_key(b, "version");
    ngx_centrifugo_json_append_string(b, &result->version);
    codec_true(b, "expires", result->expires);
    codec_uint(b, "ttl", result->ttl);

    if (result->data.len) {
        codec_key(b, "data");
        ngx_centrifugo_json_append_raw(b, &result->data);
    }

    if (result->nsubs) {
        codec_key(b, "subs");
        ngx_centrifugo_buf_byte(b, '{');

        for (i = 0; i < result->nsubs; i++) {

            if (i) {
                ngx_centrifugo_buf_byte(b, ',');
            }

            ngx_centrifugo_json_append_string(b, &result->subs[i].channel);
            ngx_centrifugo_buf_literal(b, ":{");
            codec_subscribe_result(b, &result->subs[i].result);
            ngx_centrifugo_buf_byte(b, '}');
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    codec_uint(b, "ping", result->ping);
    codec_true(b, "pong", result->pong);

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_reply(b, id, &codec_requests[1].name);
    codec_subscribe_result(b, result);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_true(b, "expires", result->expires);
    codec_uint(b, "ttl", result->ttl);
    codec_true(b, "recoverable", result->recoverable);

    if (result->epoch.len) {
        codec_key(b, "epoch");
        ngx_centrifugo_json_append_string(b, &result->epoch);
    }

    codec_true(b, "recovered", result->recovered);
    codec_uint(b, "offset", result->offset);
    codec_true(b, "positioned", result->positioned);

    if (result->data.len) {
        codec_key(b, "data");
        ngx_centrifugo_json_append_raw(b, &result->data);
    }

    codec_true(b, "was_recovering", result->was_recovering);
}


static void
codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl)
{
    codec_reply(b, id, ngx_centrifugo_method_name(method));
    codec_true(b, "expires", expires);
    codec_uint(b, "ttl", ttl);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n)
{
    ngx_uint_t  i;

    codec_reply(b, id,
                ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_PRESENCE));
    ngx_centrifugo_buf_literal(b, "\"presence\":{");

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &infos[i].client);
        ngx_centrifugo_buf_byte(b, ':');
        ngx_centrifugo_json_append_info(b, &infos[i]);
    }

    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id, uint32_t clients,
    uint32_t users)
{
    codec_reply(b, id,
              ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_PRESENCE_STATS));
    ngx_centrifugo_buf_literal(b, "\"num_clients\":");
    ngx_centrifugo_buf_append_uint(b, clients);
    ngx_centrifugo_buf_literal(b, ",\"num_users\":");
    ngx_centrifugo_buf_append_uint(b, users);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method)
{
    codec_reply(b, id, ngx_centrifugo_method_name(method));
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_push_publication(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    uint64_t id, const ngx_centrifugo_publication_t *pub,
    ngx_centrifugo_form_e form)
{
    if (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION) {
        codec_push(b, channel, pub->type == NGX_CENTRIFUGO_PUSH_JOIN
                               ? "join" : "leave");
        ngx_centrifugo_buf_literal(b, "{\"info\":");
        ngx_centrifugo_json_append_info(b, pub->info);
        ngx_centrifugo_buf_literal(b, "}}}");
        return;
    }

    codec_push(b, channel, "pub");

    ngx_centrifugo_buf_byte(b, '{');

    if (pub->data.len) {
        ngx_centrifugo_buf_literal(b, "\"data\":");
        ngx_centrifugo_json_append_raw(b, &pub->data);
    }

    if (pub->info) {
        codec_key(b, "info");
        ngx_centrifugo_json_append_info(b, pub->info);
    }

    codec_uint(b, "offset", pub->offset);

    ngx_centrifugo_buf_literal(b, "}}}");
}


void
ngx_centrifugo_json_append_info(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_client_info_t *info)
{
    ngx_centrifugo_buf_literal(b, "{\"user\":");
    ngx_centrifugo_json_append_string(b, &info->user);
    codec_key(b, "client");
    ngx_centrifugo_json_append_string(b, &info->client);

    if (info->conn_info.len) {
        codec_key(b, "conn_info");
        ngx_centrifugo_json_append_raw(b, &info->conn_info);
    }

    if (info->chan_info.len) {
        codec_key(b, "chan_info");
        ngx_centrifugo_json_append_raw(b, &info->chan_info);
    }

    ngx_centrifugo_buf_byte(b, '}');
}


static void
codec_push_subscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_push(b, channel, "subscribe");
    ngx_centrifugo_buf_byte(b, '{');
    codec_subscribe_result(b, result);
    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires, uint32_t ttl)
{
    ngx_centrifugo_buf_literal(b, "{\"push\":{\"refresh\":{");
    codec_true(b, "expires", expires);
    codec_uint(b, "ttl", ttl);
    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_push_unsubscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    ngx_uint_t code, const ngx_str_t *reason)
{
    codec_push(b, channel, "unsubscribe");

    ngx_centrifugo_buf_literal(b, "{\"code\":");
    ngx_centrifugo_buf_append_uint(b, code);
    codec_key(b, "reason");
    ngx_centrifugo_json_append_string(b, reason);
    ngx_centrifugo_buf_literal(b, "}}}");
}


/*
 * {"id":ID,"NAME":{
 */

static void
codec_reply(ngx_centrifugo_buf_t *b, uint32_t id, const ngx_str_t *name)
{
    ngx_centrifugo_buf_byte(b, '{');

    if (id) {
        ngx_centrifugo_buf_literal(b, "\"id\":");
        ngx_centrifugo_buf_append_uint(b, id);
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_byte(b, '"');
    ngx_centrifugo_buf_append(b, name->data, name->len);
    ngx_centrifugo_buf_literal(b, "\":{");
}


/*
 * {"push":{"channel":"CHANNEL","NAME":
 */

static void
codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    const char *name)
{
    ngx_centrifugo_buf_literal(b, "{\"push\":{\"channel\":");
    ngx_centrifugo_json_append_string(b, channel);
    codec_key(b, name);
}


/*
 * "NAME": with a comma when something stands before it in its object
 */

static void
codec_key(ngx_centrifugo_buf_t *b, const char *name)
{
    if (b->last > b->start && b->last[-1] != '{') {
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_byte(b, '"');
    ngx_centrifugo_buf_append(b, name, ngx_strlen(name));
    ngx_centrifugo_buf_literal(b, "\":");
}


static void
codec_true(ngx_centrifugo_buf_t *b, const char *name, ngx_uint_t value)
{
    if (value) {
        codec_key(b, name);
        ngx_centrifugo_buf_literal(b, "true");
    }
}


static void
codec_uint(ngx_centrifugo_buf_t *b, const char *name, uint64_t value)
{
    if (value) {
        codec_key(b, name);
        ngx_centrifugo_buf_append_uint(b, value);
    }
}
