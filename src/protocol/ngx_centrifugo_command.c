/*
 * Commands of protocol v2: what each may hold, and of which types.
 */

#include "ngx_centrifugo_command.h"


/* what a field of a request must be; the result goes to `offset` */
typedef enum {
    COMMAND_STRING,
    COMMAND_BOOL,           /* kept: recover, positioned, ... */
    COMMAND_RAW,
    COMMAND_UINT64,
    COMMAND_INT32,
    COMMAND_INT64,
    COMMAND_SINCE,
    COMMAND_SUBS,
    COMMAND_STRINGS,        /* a map of strings */
    COMMAND_FILTER
} command_type_e;

typedef struct {
    ngx_str_t                 name;
    command_type_e            type;
    size_t                    offset;
} command_field_t;

typedef struct {
    ngx_str_t                 name;
    ngx_centrifugo_method_e   method;
    command_field_t          *fields;
} command_request_t;


static ngx_int_t command_fields(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, command_field_t *fields,
    ngx_centrifugo_command_t *cmd);
static ngx_int_t command_field(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, command_field_t *field,
    ngx_centrifugo_command_t *cmd);
static ngx_int_t command_strings(ngx_centrifugo_json_t *map);
static ngx_int_t command_subs(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_centrifugo_command_t *cmd);
static ngx_int_t command_filter(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_centrifugo_filter_node_t **filter);
static ngx_int_t command_values(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_centrifugo_filter_node_t *node);
static void command_flag(ngx_centrifugo_command_t *cmd, size_t flag);


/* numbers of the flags of a command, which have no address */

enum {
    COMMAND_FLAG_NONE = 0,
    COMMAND_FLAG_RECOVER,
    COMMAND_FLAG_POSITIONED,
    COMMAND_FLAG_RECOVERABLE,
    COMMAND_FLAG_JOIN_LEAVE,
    COMMAND_FLAG_REVERSE
};

#define COMMAND_NOWHERE  0          /* checked, not kept */
#define command_at(f)    offsetof(ngx_centrifugo_command_t, f)
#define command_end      { ngx_null_string, COMMAND_STRING, 0 }


static command_field_t  command_connect_fields[] = {
    { ngx_string("token"), COMMAND_STRING, command_at(token) },
    { ngx_string("data"), COMMAND_RAW, command_at(data) },
    { ngx_string("name"), COMMAND_STRING, command_at(name) },
    { ngx_string("version"), COMMAND_STRING, command_at(version) },
    { ngx_string("subs"), COMMAND_SUBS, COMMAND_NOWHERE },
    { ngx_string("headers"), COMMAND_STRINGS, COMMAND_NOWHERE },
    { ngx_string("flag"), COMMAND_INT64, command_at(flag) },
    command_end
};

static command_field_t  command_subscribe_fields[] = {
    { ngx_string("channel"), COMMAND_STRING, command_at(channel) },
    { ngx_string("token"), COMMAND_STRING, command_at(token) },
    { ngx_string("recover"), COMMAND_BOOL, COMMAND_FLAG_RECOVER },
    { ngx_string("epoch"), COMMAND_STRING, command_at(epoch) },
    { ngx_string("offset"), COMMAND_UINT64, command_at(offset) },
    { ngx_string("data"), COMMAND_RAW, command_at(data) },
    { ngx_string("positioned"), COMMAND_BOOL, COMMAND_FLAG_POSITIONED },
    { ngx_string("recoverable"), COMMAND_BOOL, COMMAND_FLAG_RECOVERABLE },
    { ngx_string("join_leave"), COMMAND_BOOL, COMMAND_FLAG_JOIN_LEAVE },
    { ngx_string("delta"), COMMAND_STRING, command_at(delta) },
    { ngx_string("tf"), COMMAND_FILTER, command_at(filter) },
    { ngx_string("flag"), COMMAND_INT64, command_at(flag) },
    { ngx_string("type"), COMMAND_INT32, command_at(type) },
    command_end
};

static command_field_t  command_channel_fields[] = {
    { ngx_string("channel"), COMMAND_STRING, command_at(channel) },
    command_end
};

static command_field_t  command_publish_fields[] = {
    { ngx_string("channel"), COMMAND_STRING, command_at(channel) },
    { ngx_string("data"), COMMAND_RAW, command_at(data) },
    { ngx_string("type"), COMMAND_INT32, command_at(type) },
    command_end
};

static command_field_t  command_history_fields[] = {
    { ngx_string("channel"), COMMAND_STRING, command_at(channel) },
    { ngx_string("limit"), COMMAND_INT32, command_at(limit) },
    { ngx_string("since"), COMMAND_SINCE, COMMAND_NOWHERE },
    { ngx_string("reverse"), COMMAND_BOOL, COMMAND_FLAG_REVERSE },
    command_end
};

static command_field_t  command_since_fields[] = {
    { ngx_string("offset"), COMMAND_UINT64, command_at(offset) },
    { ngx_string("epoch"), COMMAND_STRING, command_at(epoch) },
    command_end
};

static command_field_t  command_rpc_fields[] = {
    { ngx_string("data"), COMMAND_RAW, command_at(data) },
    { ngx_string("method"), COMMAND_STRING, command_at(name) },
    command_end
};

static command_field_t  command_send_fields[] = {
    { ngx_string("data"), COMMAND_RAW, command_at(data) },
    command_end
};

static command_field_t  command_refresh_fields[] = {
    { ngx_string("token"), COMMAND_STRING, command_at(token) },
    command_end
};

static command_field_t  command_sub_refresh_fields[] = {
    { ngx_string("channel"), COMMAND_STRING, command_at(channel) },
    { ngx_string("token"), COMMAND_STRING, command_at(token) },
    command_end
};

/* of several requests in one command the first in this order counts */

static command_request_t  command_requests[] = {
    { ngx_string("connect"), NGX_CENTRIFUGO_CMD_CONNECT,
      command_connect_fields },
    { ngx_string("subscribe"), NGX_CENTRIFUGO_CMD_SUBSCRIBE,
      command_subscribe_fields },
    { ngx_string("unsubscribe"), NGX_CENTRIFUGO_CMD_UNSUBSCRIBE,
      command_channel_fields },
    { ngx_string("publish"), NGX_CENTRIFUGO_CMD_PUBLISH,
      command_publish_fields },
    { ngx_string("presence"), NGX_CENTRIFUGO_CMD_PRESENCE,
      command_channel_fields },
    { ngx_string("presence_stats"), NGX_CENTRIFUGO_CMD_PRESENCE_STATS,
      command_channel_fields },
    { ngx_string("history"), NGX_CENTRIFUGO_CMD_HISTORY,
      command_history_fields },
    { ngx_string("rpc"), NGX_CENTRIFUGO_CMD_RPC, command_rpc_fields },
    { ngx_string("send"), NGX_CENTRIFUGO_CMD_SEND, command_send_fields },
    { ngx_string("refresh"), NGX_CENTRIFUGO_CMD_REFRESH,
      command_refresh_fields },
    { ngx_string("sub_refresh"), NGX_CENTRIFUGO_CMD_SUB_REFRESH,
      command_sub_refresh_fields },
    { ngx_null_string, NGX_CENTRIFUGO_CMD_NONE, NULL }
};

static ngx_str_t  command_unknown = ngx_string("unknown");


const ngx_str_t *
ngx_centrifugo_method_name(ngx_centrifugo_method_e method)
{
    command_request_t  *request;

    for (request = command_requests; request->name.len; request++) {
        if (request->method == method) {
            return &request->name;
        }
    }

    return &command_unknown;
}


ngx_int_t
ngx_centrifugo_command_read(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *root, ngx_centrifugo_command_t *cmd)
{
    uint64_t                id;
    ngx_int_t               rc;
    command_request_t      *request, *winner;
    ngx_centrifugo_json_t  *value;

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

    for (request = command_requests; request->name.len; request++) {

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

            rc = command_fields(arena, value, request->fields, cmd);

            if (rc != NGX_OK) {
                return rc;
            }
        }
    }

    cmd->method = winner ? winner->method : NGX_CENTRIFUGO_CMD_NONE;

    return NGX_OK;
}


static ngx_int_t
command_fields(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    command_field_t *fields, ngx_centrifugo_command_t *cmd)
{
    ngx_int_t  rc;

    for ( /* void */ ; fields->name.len; fields++) {

        rc = command_field(arena, map, fields, cmd);

        if (rc == NGX_ERROR || rc == NGX_ABORT) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
command_field(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    command_field_t *field, ngx_centrifugo_command_t *cmd)
{
    char                   *name;
    size_t                  len;
    u_char                 *at;
    int64_t                 i;
    ngx_int_t               rc;
    ngx_uint_t              b;
    ngx_centrifugo_json_t  *value;

    name = (char *) field->name.data;
    len = field->name.len;
    at = (u_char *) cmd + field->offset;

    switch (field->type) {

    case COMMAND_STRING:
        return ngx_centrifugo_json_string(map, name, len, (ngx_str_t *) at);

    case COMMAND_BOOL:
        b = 0;
        rc = ngx_centrifugo_json_bool(map, name, len, &b);

        if (b) {
            command_flag(cmd, field->offset);
        }

        return rc;

    case COMMAND_UINT64:
        return ngx_centrifugo_json_uint(map, name, len, UINT64_MAX,
                                        (uint64_t *) at);

    case COMMAND_INT64:
        return ngx_centrifugo_json_int(map, name, len, INT64_MIN, INT64_MAX,
                                       (int64_t *) at);

    case COMMAND_INT32:
        rc = ngx_centrifugo_json_int(map, name, len, INT32_MIN, INT32_MAX, &i);

        if (rc == NGX_OK) {
            *(int32_t *) at = (int32_t) i;
        }

        return rc;

    case COMMAND_RAW:

        /* null is a payload like any other */

        value = ngx_centrifugo_json_find(map, name, len);

        if (value) {
            *(ngx_str_t *) at = value->raw;
        }

        return NGX_OK;

    default:
        break;
    }

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    switch (field->type) {

    case COMMAND_SINCE:
        cmd->since = 1;
        return command_fields(arena, value, command_since_fields, cmd);

    case COMMAND_SUBS:
        return command_subs(arena, value, cmd);

    case COMMAND_FILTER:
        return command_filter(arena, value,
                              (ngx_centrifugo_filter_node_t **) at);

    default: /* COMMAND_STRINGS */
        return command_strings(value);
    }
}


static ngx_int_t
command_strings(ngx_centrifugo_json_t *map)
{
    ngx_centrifugo_json_t  *value;

    for (value = map->child; value; value = value->next) {
        if (value->type != NGX_CENTRIFUGO_JSON_STRING
            && value->type != NGX_CENTRIFUGO_JSON_NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Channels that connect asks for, each with a request to subscribe of which
 * only the position counts.
 */

static ngx_int_t
command_subs(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    ngx_centrifugo_command_t *cmd)
{
    ngx_int_t                       rc;
    ngx_centrifugo_json_t          *value, *request;
    ngx_centrifugo_command_t        subscribe;
    ngx_centrifugo_command_sub_t   *sub, **last;

    last = &cmd->subs;

    for (value = map->child; value; value = value->next) {

        ngx_memzero(&subscribe, sizeof(ngx_centrifugo_command_t));

        if (value->type == NGX_CENTRIFUGO_JSON_MAP) {
            request = value;

            if (value->child == NULL) {

                /* the reader leaves it as it is if that is the name */

                rc = ngx_centrifugo_json_parse(arena, value->raw.data,
                                               value->raw.len, 0, &request);
                if (rc != NGX_OK) {
                    return rc;
                }
            }

            rc = command_fields(arena, request, command_subscribe_fields,
                                &subscribe);
            if (rc != NGX_OK) {
                return rc;
            }

        } else if (value->type != NGX_CENTRIFUGO_JSON_NULL) {
            return NGX_ERROR;
        }

        sub = ngx_centrifugo_arena_alloc(arena,
                                         sizeof(ngx_centrifugo_command_sub_t));
        if (sub == NULL) {
            return NGX_ABORT;
        }

        sub->channel = value->key;
        sub->epoch = subscribe.epoch;
        sub->offset = subscribe.offset;
        sub->recover = subscribe.recover;
        sub->next = NULL;

        *last = sub;
        last = &sub->next;
    }

    return NGX_OK;
}


/*
 * As deep as the reader lets the input be; what is too much for a filter is
 * found when it is compiled.
 */

static ngx_int_t
command_filter(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    ngx_centrifugo_filter_node_t **filter)
{
    ngx_int_t                       rc;
    ngx_centrifugo_json_t          *value;
    ngx_centrifugo_filter_node_t   *node, **last;

    node = ngx_centrifugo_arena_alloc(arena,
                                      sizeof(ngx_centrifugo_filter_node_t));
    if (node == NULL) {
        return NGX_ABORT;
    }

    ngx_memzero(node, sizeof(ngx_centrifugo_filter_node_t));
    *filter = node;

    if (ngx_centrifugo_json_string(map, "op", 2, &node->op) == NGX_ERROR
        || ngx_centrifugo_json_string(map, "key", 3, &node->key) == NGX_ERROR
        || ngx_centrifugo_json_string(map, "cmp", 3, &node->cmp) == NGX_ERROR
        || ngx_centrifugo_json_string(map, "val", 3, &node->val) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = command_values(arena, map, node);

    if (rc != NGX_OK) {
        return rc;
    }

    value = ngx_centrifugo_json_get(map, "nodes", 5);

    if (value == NULL) {
        return NGX_OK;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_ARRAY) {
        return NGX_ERROR;
    }

    last = &node->nodes;

    for (value = value->child; value; value = value->next) {

        if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
            return NGX_ERROR;
        }

        rc = command_filter(arena, value, last);

        if (rc != NGX_OK) {
            return rc;
        }

        last = &(*last)->next;
    }

    return NGX_OK;
}


static ngx_int_t
command_values(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    ngx_centrifugo_filter_node_t *node)
{
    ngx_uint_t              n;
    ngx_centrifugo_json_t  *vals, *value;

    vals = ngx_centrifugo_json_get(map, "vals", 4);

    if (vals == NULL) {
        return NGX_OK;
    }

    if (vals->type != NGX_CENTRIFUGO_JSON_ARRAY) {
        return NGX_ERROR;
    }

    n = 0;

    for (value = vals->child; value; value = value->next) {

        if (value->type != NGX_CENTRIFUGO_JSON_STRING) {
            return NGX_ERROR;
        }

        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    node->vals = ngx_centrifugo_arena_alloc(arena, n * sizeof(ngx_str_t));
    if (node->vals == NULL) {
        return NGX_ABORT;
    }

    for (value = vals->child; value; value = value->next) {
        node->vals[node->nvals++] = value->str;
    }

    return NGX_OK;
}


static void
command_flag(ngx_centrifugo_command_t *cmd, size_t flag)
{
    switch (flag) {

    case COMMAND_FLAG_RECOVER:
        cmd->recover = 1;
        break;

    case COMMAND_FLAG_POSITIONED:
        cmd->positioned = 1;
        break;

    case COMMAND_FLAG_RECOVERABLE:
        cmd->recoverable = 1;
        break;

    case COMMAND_FLAG_JOIN_LEAVE:
        cmd->join_leave = 1;
        break;

    case COMMAND_FLAG_REVERSE:
        cmd->reverse = 1;
        break;
    }
}
