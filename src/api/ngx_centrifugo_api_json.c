/*
 * Parameters and results of the API's methods as JSON.
 */

#include "ngx_centrifugo_api.h"
#include "../client/ngx_centrifugo_client.h"


static ngx_int_t api_json_options(ngx_centrifugo_json_t *params);
static ngx_int_t api_json_data(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params, ngx_str_t *data, ngx_uint_t *json);
static ngx_int_t api_json_channels(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params, ngx_str_t **channels, ngx_uint_t *n);
static void api_json_error(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_error_t *err);


ngx_int_t
ngx_centrifugo_api_start_json(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params)
{
    ngx_str_t    data, channel, *channels;
    ngx_uint_t   n, json;

    ngx_str_null(&channel);
    ngx_str_null(&data);
    channels = &channel;
    n = 1;
    json = 1;

    if (params) {

        if (params->type != NGX_CENTRIFUGO_JSON_MAP
            || api_json_options(params) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {
            if (ngx_centrifugo_json_string(params, "channel", 7, &channel)
                == NGX_ERROR)
            {
                return NGX_ERROR;
            }

        } else if (api_json_channels(cmd, params, &channels, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        if (api_json_data(cmd, params, &data, &json) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (cmd->method == NGX_CENTRIFUGO_API_BROADCAST) {
        n = 0;
    }

    if (n == 0 || cmd->error) {
        cmd->error = &ngx_centrifugo_error_request;
        return NGX_OK;
    }

    ngx_centrifugo_api_publish(cmd, channels, n, &data, json);

    return NGX_OK;
}


/*
 * The types of all parameters that publish and broadcast have.
 */

static ngx_int_t
api_json_options(ngx_centrifugo_json_t *params)
{
    uint64_t                u;
    ngx_str_t               s;
    ngx_uint_t              b;
    ngx_centrifugo_json_t  *tags, *tag;

    if (ngx_centrifugo_json_bool(params, "skip_history", 12, &b) == NGX_ERROR
        || ngx_centrifugo_json_bool(params, "delta", 5, &b) == NGX_ERROR
        || ngx_centrifugo_json_string(params, "idempotency_key", 15, &s)
           == NGX_ERROR
        || ngx_centrifugo_json_string(params, "version_epoch", 13, &s)
           == NGX_ERROR
        || ngx_centrifugo_json_uint(params, "version", 7, UINT64_MAX, &u)
           == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    tags = ngx_centrifugo_json_get(params, "tags", 4);

    if (tags == NULL) {
        return NGX_OK;
    }

    if (tags->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    for (tag = tags->child; tag; tag = tag->next) {
        if (tag->type != NGX_CENTRIFUGO_JSON_STRING
            && tag->type != NGX_CENTRIFUGO_JSON_NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * `data` as it came, or the bytes of b64data, which wins; bad base64 is the
 * command's error.
 */

static ngx_int_t
api_json_data(ngx_centrifugo_api_command_t *cmd, ngx_centrifugo_json_t *params,
    ngx_str_t *data, ngx_uint_t *json)
{
    ngx_str_t                b64;
    ngx_centrifugo_json_t   *value;
    ngx_centrifugo_arena_t  *arena;

    value = ngx_centrifugo_json_find(params, "data", 4);

    if (value) {
        *data = value->raw;
    }

    ngx_str_null(&b64);

    if (ngx_centrifugo_json_string(params, "b64data", 7, &b64) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (b64.len == 0) {
        return NGX_OK;
    }

    arena = &cmd->job->arena;

    data->data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(b64.len));

    if (data->data == NULL || b64.len % 4
        || ngx_decode_base64(data, &b64) != NGX_OK)
    {
        cmd->error = &ngx_centrifugo_error_request;
        return NGX_OK;
    }

    *json = ngx_centrifugo_json_validate(arena, data->data, data->len)
            == NGX_OK;

    return NGX_OK;
}


static ngx_int_t
api_json_channels(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params, ngx_str_t **channels, ngx_uint_t *n)
{
    ngx_str_t              *s;
    ngx_uint_t              i;
    ngx_centrifugo_json_t  *list, *value;

    *n = 0;

    list = params ? ngx_centrifugo_json_get(params, "channels", 8) : NULL;

    if (list == NULL) {
        return NGX_OK;
    }

    if (list->type != NGX_CENTRIFUGO_JSON_ARRAY) {
        return NGX_ERROR;
    }

    i = 0;

    for (value = list->child; value; value = value->next) {

        /* null is an empty name, as in every typed list of strings */

        if (value->type != NGX_CENTRIFUGO_JSON_STRING
            && value->type != NGX_CENTRIFUGO_JSON_NULL)
        {
            return NGX_ERROR;
        }

        i++;
    }

    s = ngx_centrifugo_arena_alloc(&cmd->job->arena, i * sizeof(ngx_str_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    *channels = s;
    *n = i;

    for (value = list->child; value; value = value->next) {
        *s++ = value->str;
    }

    return NGX_OK;
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
