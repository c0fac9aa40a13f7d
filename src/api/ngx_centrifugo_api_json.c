/*
 * Bodies of the API's two dialects, parameters and results as JSON.
 */

#include "ngx_centrifugo_api.h"
#include "../client/ngx_centrifugo_client.h"


/* the parameters that publish and broadcast have, and their types */
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
    API_PARAM_N
} api_param_e;

typedef enum {
    API_ANY = 0,
    API_STRING,
    API_BOOL,
    API_UINT,
    API_STRINGS,                /* array of strings or nulls */
    API_STRING_MAP
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
static ngx_int_t api_json_data(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values, ngx_str_t *data, ngx_uint_t *json);
static ngx_str_t *api_json_channels(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *list, ngx_uint_t *n);
static void api_json_error(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_error_t *err);


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
    { ngx_string("tags"), API_STRING_MAP }
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
        cmd->error = &ngx_centrifugo_api_not_found;
        return NGX_OK;
    }

    if (api_json_start(cmd, ngx_centrifugo_json_get(value, "params", 6))
        != NGX_OK)
    {
        cmd->error = &ngx_centrifugo_error_request;
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

    return (n <= NGX_CENTRIFUGO_API_BROADCAST) ? NGX_OK : NGX_DECLINED;
}


/*
 * Decodes the parameters (a JSON object, or NULL for none) and begins the
 * command; what the method does not like becomes the command's error.
 * NGX_ERROR: a parameter has a wrong type, nothing has begun.
 */

static ngx_int_t
api_json_start(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params)
{
    ngx_str_t               data, channel, *channels;
    ngx_uint_t              n, json;
    ngx_centrifugo_json_t  *values[API_PARAM_N];

    if (api_json_params(params, cmd->method, values) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_null(&channel);
    channels = &channel;
    n = 1;

    if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {
        if (values[API_CHANNEL]) {
            channel = values[API_CHANNEL]->str;
        }

    } else {
        channels = api_json_channels(cmd, values[API_CHANNELS], &n);

        if (channels == NULL) {
            return NGX_ERROR;
        }
    }

    if (api_json_data(cmd, values, &data, &json) != NGX_OK || n == 0) {
        cmd->error = &ngx_centrifugo_error_request;
        return NGX_OK;
    }

    ngx_centrifugo_api_publish(cmd, channels, n, &data, json);

    return NGX_OK;
}


/*
 * One look at each member: the last one of a name counts, null is absent
 * except as data.  NGX_ERROR: it has another type.
 */

static ngx_int_t
api_json_params(ngx_centrifugo_json_t *params, ngx_uint_t method,
    ngx_centrifugo_json_t **values)
{
    ngx_uint_t              i;
    ngx_centrifugo_json_t  *value;

    ngx_memzero(values, API_PARAM_N * sizeof(ngx_centrifugo_json_t *));

    if (params == NULL) {
        return NGX_OK;
    }

    if (params->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    for (value = params->child; value; value = value->next) {

        for (i = 0; i < API_PARAM_N; i++) {
            if (value->key.len == api_params[i].name.len
                && ngx_memcmp(value->key.data, api_params[i].name.data,
                              value->key.len)
                   == 0)
            {
                values[i] = value;
                break;
            }
        }
    }

    for (i = 0; i < API_PARAM_N; i++) {

        if (values[i] == NULL || api_params[i].type == API_ANY
            || i == (method == NGX_CENTRIFUGO_API_PUBLISH ? API_CHANNELS
                                                          : API_CHANNEL))
        {
            continue;
        }

        if (values[i]->type == NGX_CENTRIFUGO_JSON_NULL) {
            values[i] = NULL;

        } else if (!api_json_typed(values[i], api_params[i].type)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
api_json_typed(ngx_centrifugo_json_t *value, api_type_e type)
{
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

    default:
        break;
    }

    if (value->type != (type == API_STRINGS ? NGX_CENTRIFUGO_JSON_ARRAY
                                            : NGX_CENTRIFUGO_JSON_MAP))
    {
        return 0;
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


/*
 * `data` as it came, or the bytes of b64data, which wins.  NGX_DECLINED: that
 * is not base64, or there is no memory for it.
 */

static ngx_int_t
api_json_data(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t **values, ngx_str_t *data, ngx_uint_t *json)
{
    size_t                   len;
    ngx_str_t               *b64;
    ngx_centrifugo_arena_t  *arena;

    *json = 1;

    if (values[API_B64DATA] == NULL || values[API_B64DATA]->str.len == 0) {

        if (values[API_DATA]) {
            *data = values[API_DATA]->raw;

        } else {
            ngx_str_null(data);
        }

        return NGX_OK;
    }

    arena = &cmd->job->arena;
    b64 = &values[API_B64DATA]->str;

    /* ngx_decode_base64() ignores what follows the first "=" */

    for (len = b64->len;
         len && b64->len - len < 2 && b64->data[len - 1] == '=';
         len--)
    { /* void */ }

    if (memchr(b64->data, '=', len)) {
        return NGX_DECLINED;
    }

    data->data = ngx_centrifugo_arena_alloc(arena,
                                        ngx_base64_decoded_length(b64->len));

    if (data->data == NULL || b64->len % 4
        || ngx_decode_base64(data, b64) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    *json = ngx_centrifugo_json_validate(arena, data->data, data->len)
            == NGX_OK;

    return NGX_OK;
}


static ngx_str_t *
api_json_channels(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *list, ngx_uint_t *n)
{
    ngx_str_t              *channels;
    ngx_centrifugo_json_t  *value;

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        (*n)++;
    }

    channels = ngx_centrifugo_arena_alloc(&cmd->job->arena,
                                          *n * sizeof(ngx_str_t));
    if (channels == NULL) {
        return NULL;
    }

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        channels[(*n)++] = value->str;
    }

    return channels;
}


void
ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    ngx_uint_t  i;

    if (cmd->error) {
        api_json_error(b, cmd->error);
        return;
    }

    if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {

        if (cmd->items[0].error) {
            api_json_error(b, cmd->items[0].error);
            return;
        }

        ngx_centrifugo_buf_literal(b, "\"result\":{}");
        return;
    }

    ngx_centrifugo_buf_literal(b, "\"result\":{\"responses\":[");

    for (i = 0; i < cmd->nitems; i++) {

        if (i) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_buf_byte(b, '{');

        if (cmd->items[i].error) {
            api_json_error(b, cmd->items[i].error);

        } else {
            ngx_centrifugo_buf_literal(b, "\"result\":{}");
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    ngx_centrifugo_buf_literal(b, "]}");
}


static void
api_json_error(ngx_centrifugo_buf_t *b, const ngx_centrifugo_error_t *err)
{
    ngx_centrifugo_buf_literal(b, "\"error\":{\"code\":");
    ngx_centrifugo_buf_append_uint(b, err->code);
    ngx_centrifugo_buf_literal(b, ",\"message\":");
    ngx_centrifugo_json_append_string(b, &err->message);
    ngx_centrifugo_buf_byte(b, '}');
}
