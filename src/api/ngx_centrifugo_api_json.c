/*
 * Bodies of the API's two dialects and the parameters of methods, as JSON.
 */

#include "ngx_centrifugo_api.h"


/* all parameters, and their types */
typedef enum {
    API_CHANNEL = 0,
    API_CHANNELS,
    API_DATA,
    API_B64DATA,
    API_SKIP_HISTORY,
    API_DELTA,
    API_IDEMPOTENCY_KEY,
    API_VERSION,
    API_VERSION_EPOCH,
    API_TAGS,
    API_USER,
    API_CLIENT,
    API_SESSION,
    API_INFO,
    API_B64INFO,
    API_EXPIRE_AT,
    API_EXPIRED,
    API_RECOVER_SINCE,
    API_OVERRIDE,
    API_DISCONNECT,
    API_WHITELIST,
    API_PATTERN,
    API_METHOD,
    API_PARAM_N
} api_param_e;

typedef enum {
    API_ANY = 0,
    API_STRING,
    API_BOOL,
    API_UINT,
    API_INT,
    API_STRINGS,                /* array of strings or nulls */
    API_STRING_MAP,
    API_SINCE_MAP,              /* offset, epoch */
    API_DISCONNECT_MAP,         /* code, reason */
    API_OVERRIDE_MAP            /* option: {value: bool} */
} api_type_e;


static ngx_int_t api_json_command(ngx_centrifugo_api_job_t *job,
    ngx_centrifugo_json_t *value);
static ngx_int_t api_json_method(ngx_centrifugo_json_t *value,
    ngx_uint_t *method);
static ngx_int_t api_json_start(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params);
static ngx_int_t api_json_params(ngx_centrifugo_json_t *params,
    ngx_uint_t method, ngx_centrifugo_json_t **values);
static ngx_uint_t api_json_typed(ngx_centrifugo_json_t *value,
    api_type_e type);
static ngx_uint_t api_json_typed_map(ngx_centrifugo_json_t *value,
    api_type_e type);
static ngx_int_t api_json_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values);
static ngx_int_t api_json_order(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values);
static ngx_int_t api_json_subscribe(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values, ngx_centrifugo_order_t *order);
static void api_json_disconnect(ngx_centrifugo_json_t *value,
    ngx_centrifugo_order_t *order);
static void api_json_override(ngx_centrifugo_json_t *map,
    ngx_centrifugo_override_t *override);
static ngx_int_t api_json_data(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *raw, ngx_centrifugo_json_t *base64,
    ngx_str_t *data, ngx_uint_t *json);
static ngx_int_t api_json_list(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *list, ngx_str_t **strings, ngx_uint_t *n);
static void api_json_str(ngx_centrifugo_json_t *value, ngx_str_t *s);
static int64_t api_json_number(ngx_centrifugo_json_t *value);


static struct {
    ngx_str_t    name;
    api_type_e   type;
} api_params[] = {
    { ngx_string("channel"), API_STRING },
    { ngx_string("channels"), API_STRINGS },
    { ngx_string("data"), API_ANY },
    { ngx_string("b64data"), API_STRING },
    { ngx_string("skip_history"), API_BOOL },
    { ngx_string("delta"), API_BOOL },
    { ngx_string("idempotency_key"), API_STRING },
    { ngx_string("version"), API_UINT },
    { ngx_string("version_epoch"), API_STRING },
    { ngx_string("tags"), API_STRING_MAP },
    { ngx_string("user"), API_STRING },
    { ngx_string("client"), API_STRING },
    { ngx_string("session"), API_STRING },
    { ngx_string("info"), API_ANY },
    { ngx_string("b64info"), API_STRING },
    { ngx_string("expire_at"), API_INT },
    { ngx_string("expired"), API_BOOL },
    { ngx_string("recover_since"), API_SINCE_MAP },
    { ngx_string("override"), API_OVERRIDE_MAP },
    { ngx_string("disconnect"), API_DISCONNECT_MAP },
    { ngx_string("whitelist"), API_STRINGS },
    { ngx_string("pattern"), API_STRING },
    { ngx_string("method"), API_STRING }
};

/* the parameters of each method; others are passed over */

#define api_publish_params                                                   \
    API_DATA, API_B64DATA, API_SKIP_HISTORY, API_DELTA, API_IDEMPOTENCY_KEY, \
    API_VERSION, API_VERSION_EPOCH, API_TAGS, API_PARAM_N

#define api_whom  API_USER, API_CLIENT, API_SESSION

static const uint8_t  api_methods[][13] = {
    { API_CHANNEL, api_publish_params },                /* publish */
    { API_CHANNELS, api_publish_params },               /* broadcast */
    { API_CHANNEL, api_whom, API_PARAM_N },             /* unsubscribe */
    { api_whom, API_DISCONNECT, API_WHITELIST, API_PARAM_N },
    { API_CHANNEL, API_PARAM_N },                       /* presence */
    { API_CHANNEL, API_PARAM_N },                       /* presence_stats */
    { API_PARAM_N },                                    /* history */
    { API_PARAM_N },                                    /* history_remove */
    { API_PATTERN, API_PARAM_N },                       /* channels */
    { API_PARAM_N },                                    /* info */
    { API_METHOD, API_PARAM_N },                        /* rpc */
    { API_CHANNEL, api_whom, API_EXPIRE_AT, API_INFO, API_B64INFO, API_DATA,
      API_B64DATA, API_RECOVER_SINCE, API_OVERRIDE, API_PARAM_N },
    { api_whom, API_EXPIRED, API_EXPIRE_AT, API_INFO, API_PARAM_N }
};

static struct {
    const char  *name;
    size_t       len;
    ngx_uint_t   bit;
} api_overrides[] = {
    { "presence", 8, NGX_CENTRIFUGO_OVERRIDE_PRESENCE },
    { "join_leave", 10, NGX_CENTRIFUGO_OVERRIDE_JOIN_LEAVE },
    { "force_recovery", 14, NGX_CENTRIFUGO_OVERRIDE_RECOVERY },
    { "force_positioning", 17, NGX_CENTRIFUGO_OVERRIDE_POSITIONING },
    { "force_push_join_leave", 21, NGX_CENTRIFUGO_OVERRIDE_PUSH },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_centrifugo_api_method_json(ngx_centrifugo_api_job_t *job,
    ngx_uint_t method, ngx_str_t *body)
{
    ngx_int_t                      rc;
    ngx_centrifugo_json_t         *params;
    ngx_centrifugo_api_command_t  *cmd;

    rc = ngx_centrifugo_json_parse(&job->arena, body->data, body->len, 0,
                                   &params);
    if (rc != NGX_OK) {
        return rc;
    }

    if (params->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    cmd = ngx_centrifugo_api_command(job, method, 0);

    return cmd ? api_json_start(cmd, params) : NGX_ABORT;
}


ngx_int_t
ngx_centrifugo_api_commands_json(ngx_centrifugo_api_job_t *job,
    ngx_str_t *body)
{
    ngx_int_t               rc;
    ngx_uint_t              method;
    ngx_centrifugo_json_t  *root, *value;

    rc = ngx_centrifugo_json_parse(&job->arena, body->data, body->len, 1,
                                   &root);
    if (rc != NGX_OK) {
        return rc;
    }

    if (root == NULL) {
        return NGX_ERROR;
    }

    /* one bad command spoils the body before anything is done */

    for (value = root; value; value = value->next) {
        if (value->type != NGX_CENTRIFUGO_JSON_MAP
            || api_json_method(value, &method) == NGX_ERROR)
        {
            return NGX_ERROR;
        }
    }

    for (value = root; value; value = value->next) {
        rc = api_json_command(job, value);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
api_json_command(ngx_centrifugo_api_job_t *job,
    ngx_centrifugo_json_t *value)
{
    uint64_t                       id;
    ngx_int_t                      rc;
    ngx_uint_t                     method;
    ngx_centrifugo_api_command_t  *cmd;

    id = 0;
    (void) ngx_centrifugo_json_uint(value, "id", 2, NGX_MAX_UINT32_VALUE, &id);

    rc = api_json_method(value, &method);

    cmd = ngx_centrifugo_api_command(job, method, (uint32_t) id);
    if (cmd == NULL) {
        return NGX_ABORT;
    }

    if (rc == NGX_DECLINED) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_api_not_found);
        return NGX_OK;
    }

    rc = api_json_start(cmd, ngx_centrifugo_json_get(value, "params", 6));

    if (rc != NGX_OK) {
        ngx_centrifugo_api_fail(cmd, rc == NGX_ABORT
                                     ? &ngx_centrifugo_error_internal
                                     : &ngx_centrifugo_error_request);
    }

    return NGX_OK;
}


/*
 * NGX_OK; NGX_DECLINED: a method that is not built, or an unknown number;
 * NGX_ERROR: an unknown name, or an id or method of a wrong type.
 */

static ngx_int_t
api_json_method(ngx_centrifugo_json_t *value, ngx_uint_t *method)
{
    uint64_t                n, id;
    ngx_centrifugo_json_t  *m;

    if (ngx_centrifugo_json_uint(value, "id", 2, NGX_MAX_UINT32_VALUE, &id)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    *method = NGX_CENTRIFUGO_API_PUBLISH;

    m = ngx_centrifugo_json_get(value, "method", 6);

    if (m == NULL) {
        return NGX_OK;
    }

    if (m->type == NGX_CENTRIFUGO_JSON_STRING) {
        return ngx_centrifugo_api_find(&m->str, 1, method);
    }

    if (ngx_centrifugo_json_uint(value, "method", 6, NGX_MAX_INT32_VALUE, &n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *method = (ngx_uint_t) n;

    return ngx_centrifugo_api_offered(*method) ? NGX_OK : NGX_DECLINED;
}


/*
 * Decodes the parameters (a JSON object, or NULL for none) and begins the
 * command; what the method does not like becomes the command's error.
 * NGX_ERROR: a parameter has a wrong type, nothing has begun; NGX_ABORT: no
 * memory, nothing has begun.
 */

static ngx_int_t
api_json_start(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params)
{
    ngx_str_t               s;
    ngx_centrifugo_json_t  *values[API_PARAM_N];

    if (api_json_params(params, cmd->method, values) != NGX_OK) {
        return NGX_ERROR;
    }

    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_PUBLISH:
    case NGX_CENTRIFUGO_API_BROADCAST:
        return api_json_publish(cmd, values);

    case NGX_CENTRIFUGO_API_PRESENCE:
    case NGX_CENTRIFUGO_API_PRESENCE_STATS:
        api_json_str(values[API_CHANNEL], &s);
        ngx_centrifugo_api_presence(cmd, &s);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_CHANNELS:
        api_json_str(values[API_PATTERN], &s);
        ngx_centrifugo_api_channels(cmd, &s);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_INFO:
        ngx_centrifugo_api_info(cmd);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_RPC:
        api_json_str(values[API_METHOD], &s);
        ngx_centrifugo_api_rpc(cmd, &s);
        return NGX_OK;

    default:
        return api_json_order(cmd, values);
    }
}


/*
 * One look at each member: the last one of a name counts, null is absent
 * except as data.  NGX_ERROR: it has another type.
 */

static ngx_int_t
api_json_params(ngx_centrifugo_json_t *params, ngx_uint_t method,
    ngx_centrifugo_json_t **values)
{
    const uint8_t          *i;
    ngx_centrifugo_json_t  *value;

    ngx_memzero(values, API_PARAM_N * sizeof(ngx_centrifugo_json_t *));

    if (params == NULL) {
        return NGX_OK;
    }

    if (params->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    for (value = params->child; value; value = value->next) {

        for (i = api_methods[method]; *i != API_PARAM_N; i++) {
            if (value->key.len == api_params[*i].name.len
                && ngx_memcmp(value->key.data, api_params[*i].name.data,
                              value->key.len)
                   == 0)
            {
                values[*i] = value;
                break;
            }
        }
    }

    for (i = api_methods[method]; *i != API_PARAM_N; i++) {

        if (values[*i] == NULL || api_params[*i].type == API_ANY) {
            continue;
        }

        if (values[*i]->type == NGX_CENTRIFUGO_JSON_NULL) {
            values[*i] = NULL;

        } else if (!api_json_typed(values[*i], api_params[*i].type)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
api_json_typed(ngx_centrifugo_json_t *value, api_type_e type)
{
    int64_t                 i;
    uint64_t                u;
    ngx_centrifugo_json_t  *child;

    switch (type) {

    case API_STRING:
        return value->type == NGX_CENTRIFUGO_JSON_STRING;

    case API_BOOL:
        return value->type == NGX_CENTRIFUGO_JSON_TRUE
               || value->type == NGX_CENTRIFUGO_JSON_FALSE;

    case API_UINT:
        return ngx_centrifugo_json_to_uint(value, UINT64_MAX, &u) == NGX_OK;

    case API_INT:
        return ngx_centrifugo_json_to_int(value, INT64_MIN, INT64_MAX, &i)
               == NGX_OK;

    default:
        break;
    }

    if (value->type != (type == API_STRINGS ? NGX_CENTRIFUGO_JSON_ARRAY
                                            : NGX_CENTRIFUGO_JSON_MAP))
    {
        return 0;
    }

    if (type != API_STRINGS && type != API_STRING_MAP) {
        return api_json_typed_map(value, type);
    }

    /* null is an empty string in both */

    for (child = value->child; child; child = child->next) {
        if (child->type != NGX_CENTRIFUGO_JSON_STRING
            && child->type != NGX_CENTRIFUGO_JSON_NULL)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
api_json_typed_map(ngx_centrifugo_json_t *value, api_type_e type)
{
    uint64_t                u;
    ngx_str_t               s;
    ngx_uint_t              i, set;
    ngx_centrifugo_json_t  *option;

    if (type == API_SINCE_MAP) {
        return ngx_centrifugo_json_uint(value, "offset", 6, UINT64_MAX, &u)
               != NGX_ERROR
               && ngx_centrifugo_json_string(value, "epoch", 5, &s)
                  != NGX_ERROR;
    }

    if (type == API_DISCONNECT_MAP) {
        return ngx_centrifugo_json_uint(value, "code", 4,
                                        NGX_MAX_UINT32_VALUE, &u)
               != NGX_ERROR
               && ngx_centrifugo_json_string(value, "reason", 6, &s)
                  != NGX_ERROR;
    }

    for (i = 0; api_overrides[i].name; i++) {

        option = ngx_centrifugo_json_get(value, api_overrides[i].name,
                                         api_overrides[i].len);

        if (option
            && (option->type != NGX_CENTRIFUGO_JSON_MAP
                || ngx_centrifugo_json_bool(option, "value", 5, &set)
                   == NGX_ERROR))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
api_json_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values)
{
    ngx_int_t    rc;
    ngx_str_t    data, channel, *channels;
    ngx_uint_t   n, json;

    if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {
        api_json_str(values[API_CHANNEL], &channel);
        channels = &channel;
        n = 1;

    } else if (api_json_list(cmd, values[API_CHANNELS], &channels, &n)
               != NGX_OK)
    {
        return NGX_ABORT;
    }

    rc = api_json_data(cmd, values[API_DATA], values[API_B64DATA], &data,
                       &json);
    if (rc == NGX_ABORT) {
        return NGX_ABORT;
    }

    if (rc != NGX_OK || n == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request);
        return NGX_OK;
    }

    ngx_centrifugo_api_publish(cmd, channels, n, &data, json);

    return NGX_OK;
}


static ngx_int_t
api_json_order(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values)
{
    ngx_int_t               rc;
    ngx_centrifugo_order_t  order;

    ngx_memzero(&order, sizeof(ngx_centrifugo_order_t));

    api_json_str(values[API_USER], &order.user);
    api_json_str(values[API_CLIENT], &order.client);
    api_json_str(values[API_SESSION], &order.session);
    api_json_str(values[API_CHANNEL], &order.channel);

    if (values[API_EXPIRE_AT]) {
        order.expire_at = api_json_number(values[API_EXPIRE_AT]);
    }

    rc = NGX_OK;

    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_SUBSCRIBE:
        order.kind = NGX_CENTRIFUGO_ORDER_SUBSCRIBE;
        rc = api_json_subscribe(cmd, values, &order);
        break;

    case NGX_CENTRIFUGO_API_UNSUBSCRIBE:
        order.kind = NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE;
        break;

    case NGX_CENTRIFUGO_API_DISCONNECT:
        order.kind = NGX_CENTRIFUGO_ORDER_DISCONNECT;
        api_json_disconnect(values[API_DISCONNECT], &order);
        rc = api_json_list(cmd, values[API_WHITELIST], &order.whitelist,
                           &order.nwhitelist);
        break;

    default:
        order.kind = NGX_CENTRIFUGO_ORDER_REFRESH;
        order.expired = values[API_EXPIRED]
                        && values[API_EXPIRED]->type
                           == NGX_CENTRIFUGO_JSON_TRUE;
        rc = api_json_data(cmd, values[API_INFO], NULL, &order.info, NULL);
    }

    if (rc == NGX_DECLINED) {
        cmd->channel = order.channel;
        cmd->user = order.user;

        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request);
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        ngx_centrifugo_api_order(cmd, &order);
    }

    return rc;
}


/* NGX_DECLINED: info or data in base64 that is none, or no JSON. */

static ngx_int_t
api_json_subscribe(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values, ngx_centrifugo_order_t *order)
{
    ngx_int_t  rc;

    rc = api_json_data(cmd, values[API_INFO], values[API_B64INFO],
                       &order->info, NULL);

    if (rc == NGX_OK) {
        rc = api_json_data(cmd, values[API_DATA], values[API_B64DATA],
                           &order->data, NULL);
    }

    if (values[API_OVERRIDE]) {
        api_json_override(values[API_OVERRIDE], &order->override);
    }

    return rc;
}


static void
api_json_disconnect(ngx_centrifugo_json_t *value,
    ngx_centrifugo_order_t *order)
{
    uint64_t  code;

    if (value == NULL) {
        return;
    }

    if (ngx_centrifugo_json_uint(value, "code", 4, NGX_MAX_UINT32_VALUE,
                                 &code)
        == NGX_OK)
    {
        order->code = (ngx_uint_t) code;
    }

    (void) ngx_centrifugo_json_string(value, "reason", 6, &order->reason);
}


/* An option without a value is false: so Protobuf has it. */

static void
api_json_override(ngx_centrifugo_json_t *map,
    ngx_centrifugo_override_t *override)
{
    ngx_uint_t              i, value;
    ngx_centrifugo_json_t  *option;

    for (i = 0; api_overrides[i].name; i++) {

        option = ngx_centrifugo_json_get(map, api_overrides[i].name,
                                         api_overrides[i].len);
        if (option == NULL) {
            continue;
        }

        value = 0;
        (void) ngx_centrifugo_json_bool(option, "value", 5, &value);

        override->set |= api_overrides[i].bit;

        if (value) {
            override->value |= api_overrides[i].bit;
        }
    }
}


/*
 * JSON as it came, or the bytes in base64, which win.  `json` tells whether
 * those are JSON; NULL: they have to be, and null is nothing.  NGX_DECLINED:
 * they are not, or that is not base64; NGX_ABORT: no memory.
 */

static ngx_int_t
api_json_data(ngx_centrifugo_api_command_t *cmd, ngx_centrifugo_json_t *raw,
    ngx_centrifugo_json_t *base64, ngx_str_t *data, ngx_uint_t *json)
{
    size_t                   len;
    ngx_int_t                rc;
    ngx_str_t               *b64;
    ngx_centrifugo_arena_t  *arena;

    if (json) {
        *json = 1;
    }

    if (base64 == NULL || base64->str.len == 0) {

        if (raw && (json || raw->type != NGX_CENTRIFUGO_JSON_NULL)) {
            *data = raw->raw;

        } else {
            ngx_str_null(data);
        }

        return NGX_OK;
    }

    arena = &cmd->job->arena;
    b64 = &base64->str;

    /* ngx_decode_base64() ignores what follows the first "=" */

    for (len = b64->len;
         len && b64->len - len < 2 && b64->data[len - 1] == '=';
         len--)
    { /* void */ }

    if (b64->len % 4 || memchr(b64->data, '=', len)) {
        return NGX_DECLINED;
    }

    data->data = ngx_centrifugo_arena_alloc(arena,
                                        ngx_base64_decoded_length(b64->len));
    if (data->data == NULL) {
        return NGX_ABORT;
    }

    if (ngx_decode_base64(data, b64) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_centrifugo_json_validate(arena, data->data, data->len);

    if (rc == NGX_ABORT) {
        return NGX_ABORT;
    }

    if (json) {
        *json = (rc == NGX_OK);
        return NGX_OK;
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_DECLINED;
}


/* NGX_ABORT: no memory. */

static ngx_int_t
api_json_list(ngx_centrifugo_api_command_t *cmd, ngx_centrifugo_json_t *list,
    ngx_str_t **strings, ngx_uint_t *n)
{
    ngx_centrifugo_json_t  *value;

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        (*n)++;
    }

    *strings = ngx_centrifugo_arena_alloc(&cmd->job->arena,
                                          *n * sizeof(ngx_str_t));
    if (*strings == NULL) {
        return NGX_ABORT;
    }

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        (*strings)[(*n)++] = value->str;
    }

    return NGX_OK;
}


static void
api_json_str(ngx_centrifugo_json_t *value, ngx_str_t *s)
{
    if (value) {
        *s = value->str;

    } else {
        ngx_str_null(s);
    }
}


/* of a value that was checked */

static int64_t
api_json_number(ngx_centrifugo_json_t *value)
{
    int64_t  n;

    n = 0;
    (void) ngx_centrifugo_json_to_int(value, INT64_MIN, INT64_MAX, &n);

    return n;
}
