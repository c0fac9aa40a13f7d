/*
 * The parameters of the API's methods, of JSON or Protobuf.
 */

#include "ngx_centrifugo_api_value.h"


/* all parameters, 32 at most, and their types */
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
    API_LIMIT,
    API_SINCE,
    API_REVERSE,
    API_PARAM_N
} api_param_e;

typedef enum {
    API_ANY = 0,
    API_STRING,
    API_BOOL,
    API_UINT,
    API_INT,
    API_INT32,
    API_STRINGS,                /* array of strings or nulls */
    API_STRING_MAP,
    API_SINCE_MAP,              /* offset, epoch */
    API_DISCONNECT_MAP,         /* code, reason */
    API_OVERRIDE_MAP            /* option: {value: bool} */
} api_type_e;


/* the parameters of a command: values of those that were found, a bit each */
typedef struct {
    uint32_t                 found;
    ngx_centrifugo_json_t   *values[API_PARAM_N];
} api_given_t;

#define api_param(given, n)                                                  \
    (((given)->found & 1U << (n)) ? (given)->values[n] : NULL)


static ngx_int_t api_json_params(ngx_centrifugo_json_t *params,
    ngx_uint_t method, api_given_t *given);
static ngx_uint_t api_json_typed(ngx_centrifugo_json_t *value,
    api_type_e type);
static ngx_uint_t api_json_typed_map(ngx_centrifugo_json_t *value,
    api_type_e type);
static ngx_int_t api_json_publish(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given);
static ngx_int_t api_json_options(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given, ngx_centrifugo_publish_t *pub);
static void api_json_history(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given);
static ngx_int_t api_json_order(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given);
static ngx_int_t api_json_subscribe(ngx_centrifugo_arena_t *arena,
    const api_given_t *given, ngx_centrifugo_order_t *order);
static void api_json_disconnect(ngx_centrifugo_json_t *value,
    ngx_centrifugo_order_t *order);
static void api_json_override(ngx_centrifugo_json_t *map,
    ngx_centrifugo_override_t *override);
static void api_json_str(ngx_centrifugo_json_t *value, ngx_str_t *s);
static int64_t api_json_number(ngx_centrifugo_json_t *value);
static ngx_uint_t api_json_true(ngx_centrifugo_json_t *value);


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
    { ngx_string("method"), API_STRING },
    { ngx_string("limit"), API_INT32 },
    { ngx_string("since"), API_SINCE_MAP },
    { ngx_string("reverse"), API_BOOL }
};

/* the parameters of each method; others are passed over */

#define api_publish_params                                                   \
    API_DATA, API_B64DATA, API_SKIP_HISTORY, API_DELTA, API_IDEMPOTENCY_KEY, \
    API_VERSION, API_VERSION_EPOCH, API_TAGS, API_PARAM_N

#define API_OPTIONS                                                          \
    (1U << API_SKIP_HISTORY | 1U << API_DELTA | 1U << API_IDEMPOTENCY_KEY    \
     | 1U << API_VERSION | 1U << API_VERSION_EPOCH | 1U << API_TAGS)

#define api_whom  API_USER, API_CLIENT, API_SESSION

static const uint8_t  api_methods[][13] = {
    { API_CHANNEL, api_publish_params },                /* publish */
    { API_CHANNELS, api_publish_params },               /* broadcast */
    { API_CHANNEL, api_whom, API_PARAM_N },             /* unsubscribe */
    { api_whom, API_DISCONNECT, API_WHITELIST, API_PARAM_N },
    { API_CHANNEL, API_PARAM_N },                       /* presence */
    { API_CHANNEL, API_PARAM_N },                       /* presence_stats */
    { API_CHANNEL, API_LIMIT, API_SINCE, API_REVERSE, API_PARAM_N },
    { API_CHANNEL, API_PARAM_N },                       /* history_remove */
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
ngx_centrifugo_api_params(ngx_centrifugo_api_command_t *cmd,
    ngx_uint_t method, ngx_centrifugo_json_t *params)
{
    ngx_str_t    s;
    api_given_t  given;

    if (api_json_params(params, method, &given) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cmd == NULL) {
        return NGX_OK;
    }

    if (method <= NGX_CENTRIFUGO_API_BROADCAST) {
        return api_json_publish(cmd, &given);
    }

    switch (method) {

    case NGX_CENTRIFUGO_API_PRESENCE:
    case NGX_CENTRIFUGO_API_PRESENCE_STATS:
        api_json_str(api_param(&given, API_CHANNEL), &s);
        ngx_centrifugo_api_presence(cmd, &s);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_HISTORY:
        api_json_history(cmd, &given);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_HISTORY_REMOVE:
        api_json_str(api_param(&given, API_CHANNEL), &s);
        ngx_centrifugo_api_history_remove(cmd, &s);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_CHANNELS:
        api_json_str(api_param(&given, API_PATTERN), &s);
        ngx_centrifugo_api_channels(cmd, &s);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_INFO:
        ngx_centrifugo_api_info(cmd);
        return NGX_OK;

    case NGX_CENTRIFUGO_API_RPC:
        api_json_str(api_param(&given, API_METHOD), &s);
        ngx_centrifugo_api_rpc(cmd, &s);
        return NGX_OK;

    default:
        return api_json_order(cmd, &given);
    }
}


void
ngx_centrifugo_api_begin(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params)
{
    switch (ngx_centrifugo_api_params(cmd, cmd->method, params)) {

    case NGX_OK:
        break;

    case NGX_ERROR:
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "a parameter has a wrong type");
        break;

    default:
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "no memory");
    }
}


/*
 * One look at each member: the last one of a name counts, null is absent
 * except as data.  `found` has a bit for each that was there.  NGX_ERROR: it
 * has another type.
 */

static ngx_int_t
api_json_params(ngx_centrifugo_json_t *params, ngx_uint_t method,
    api_given_t *given)
{
    uint32_t                found;
    ngx_uint_t              n;
    const uint8_t          *i;
    ngx_centrifugo_json_t  *value;

    given->found = 0;

    if (params == NULL) {
        return NGX_OK;
    }

    if (params->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    found = 0;

    for (value = params->child; value; value = value->next) {

        for (i = api_methods[method]; *i != API_PARAM_N; i++) {
            if (value->key.len == api_params[*i].name.len
                && ngx_memcmp(value->key.data, api_params[*i].name.data,
                              value->key.len)
                   == 0)
            {
                given->values[*i] = value;
                found |= 1U << *i;
                break;
            }
        }
    }

    given->found = found;

    for ( /* void */ ; found; found &= found - 1) {
        n = __builtin_ctz(found);
        value = given->values[n];

        if (api_params[n].type == API_ANY
            || (api_params[n].type == API_STRING
                && value->type == NGX_CENTRIFUGO_JSON_STRING))
        {
            continue;
        }

        if (value->type == NGX_CENTRIFUGO_JSON_NULL) {
            given->found &= ~(1U << n);

        } else if (!api_json_typed(value, api_params[n].type)) {
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

    case API_INT32:
        return ngx_centrifugo_json_to_int(value, INT32_MIN, INT32_MAX, &i)
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
api_json_publish(ngx_centrifugo_api_command_t *cmd, const api_given_t *given)
{
    ngx_int_t                  rc;
    ngx_str_t                  channel, *channels;
    ngx_uint_t                 n, skip;
    ngx_centrifugo_publish_t   pub;

    if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {
        api_json_str(api_param(given, API_CHANNEL), &channel);
        channels = &channel;
        n = 1;

    } else if (ngx_centrifugo_api_value_list(&cmd->job->arena,
                                             api_param(given, API_CHANNELS),
                                             &channels, &n)
               != NGX_OK)
    {
        return NGX_ABORT;

    } else {
        ngx_str_null(&channel);
    }

    ngx_memzero(&pub, sizeof(ngx_centrifugo_publish_t));

    if (api_param(given, API_DATA) && api_param(given, API_B64DATA) == NULL
        && given->values[API_DATA]->type != NGX_CENTRIFUGO_JSON_BYTES)
    {

        /* nearly always */

        pub.data = api_param(given, API_DATA)->raw;
        pub.json = 1;

    } else {
        rc = ngx_centrifugo_api_value_data(&cmd->job->arena,
                                           api_param(given, API_DATA),
                                           api_param(given, API_B64DATA),
                                           &pub.data, &pub.json);

        if (rc == NGX_ABORT) {
            return NGX_ABORT;
        }

        if (rc != NGX_OK) {
            cmd->channel = channel;

            ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                    "its b64data is not base64");
            return NGX_OK;
        }
    }

    if ((given->found & API_OPTIONS)
        && api_json_options(cmd, given, &pub) != NGX_OK)
    {
        return NGX_ABORT;
    }

    skip = api_json_true(api_param(given, API_SKIP_HISTORY));

    ngx_centrifugo_api_publish(cmd, channels, n, &pub, skip);

    return NGX_OK;
}


/* NGX_ABORT: no memory. */

static ngx_int_t
api_json_options(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given, ngx_centrifugo_publish_t *pub)
{
    ngx_centrifugo_json_t  *version;

    pub->delta = api_json_true(api_param(given, API_DELTA));

    api_json_str(api_param(given, API_IDEMPOTENCY_KEY),
                 &pub->idempotency_key);
    api_json_str(api_param(given, API_VERSION_EPOCH), &pub->version_epoch);

    version = api_param(given, API_VERSION);

    if (version) {
        (void) ngx_centrifugo_json_to_uint(version, UINT64_MAX,
                                           &pub->version);
    }

    return ngx_centrifugo_api_value_tags(&cmd->job->arena,
                                         api_param(given, API_TAGS),
                                         &pub->tags);
}


static void
api_json_history(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given)
{
    ngx_centrifugo_json_t         *value;
    ngx_centrifugo_api_history_t   history;

    ngx_memzero(&history, sizeof(ngx_centrifugo_api_history_t));

    api_json_str(api_param(given, API_CHANNEL), &history.channel);

    value = api_param(given, API_LIMIT);

    if (value) {
        history.limit = (int32_t) api_json_number(value);
    }

    value = api_param(given, API_SINCE);

    if (value) {
        history.bounded = 1;
        ngx_centrifugo_api_value_position(value, &history.since);
    }

    history.reverse = api_json_true(api_param(given, API_REVERSE));

    ngx_centrifugo_api_history(cmd, &history);
}


static ngx_int_t
api_json_order(ngx_centrifugo_api_command_t *cmd,
    const api_given_t *given)
{
    ngx_int_t                rc;
    ngx_centrifugo_arena_t  *arena;
    ngx_centrifugo_order_t   order;

    arena = &cmd->job->arena;

    ngx_memzero(&order, sizeof(ngx_centrifugo_order_t));

    api_json_str(api_param(given, API_USER), &order.user);
    api_json_str(api_param(given, API_CLIENT), &order.client);
    api_json_str(api_param(given, API_SESSION), &order.session);
    api_json_str(api_param(given, API_CHANNEL), &order.channel);

    if (api_param(given, API_EXPIRE_AT)) {
        order.expire_at = api_json_number(api_param(given, API_EXPIRE_AT));
    }

    rc = NGX_OK;

    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_SUBSCRIBE:
        order.kind = NGX_CENTRIFUGO_ORDER_SUBSCRIBE;
        rc = api_json_subscribe(arena, given, &order);
        break;

    case NGX_CENTRIFUGO_API_UNSUBSCRIBE:
        order.kind = NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE;
        break;

    case NGX_CENTRIFUGO_API_DISCONNECT:
        order.kind = NGX_CENTRIFUGO_ORDER_DISCONNECT;
        api_json_disconnect(api_param(given, API_DISCONNECT), &order);
        rc = ngx_centrifugo_api_value_list(arena,
                                           api_param(given, API_WHITELIST),
                                           &order.whitelist,
                                           &order.nwhitelist);
        break;

    default:
        order.kind = NGX_CENTRIFUGO_ORDER_REFRESH;
        order.expired = api_json_true(api_param(given, API_EXPIRED));
        rc = ngx_centrifugo_api_value_data(arena, api_param(given, API_INFO),
                                           NULL, &order.info, NULL);
    }

    if (rc == NGX_DECLINED) {
        cmd->channel = order.channel;
        cmd->user = order.user;
        cmd->client = order.client;

        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "its b64info or b64data is not base64 of "
                                "JSON");
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        ngx_centrifugo_api_order(cmd, &order);
    }

    return rc;
}


/* NGX_DECLINED: info or data in base64 that is none, or no JSON. */

static ngx_int_t
api_json_subscribe(ngx_centrifugo_arena_t *arena,
    const api_given_t *given, ngx_centrifugo_order_t *order)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_api_value_data(arena, api_param(given, API_INFO),
                                       api_param(given, API_B64INFO),
                                       &order->info, NULL);

    if (rc == NGX_OK) {
        rc = ngx_centrifugo_api_value_data(arena, api_param(given, API_DATA),
                                           api_param(given, API_B64DATA),
                                           &order->data, NULL);
    }

    if (api_param(given, API_RECOVER_SINCE)) {
        order->recover = 1;
        ngx_centrifugo_api_value_position(api_param(given, API_RECOVER_SINCE),
                                          &order->since);
    }

    if (api_param(given, API_OVERRIDE)) {
        api_json_override(api_param(given, API_OVERRIDE), &order->override);
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


static ngx_uint_t
api_json_true(ngx_centrifugo_json_t *value)
{
    return value && value->type == NGX_CENTRIFUGO_JSON_TRUE;
}
