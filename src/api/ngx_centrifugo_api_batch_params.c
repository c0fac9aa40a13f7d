/*
 * The parameters of a batch, of JSON or Protobuf.
 */

#include "ngx_centrifugo_api.h"


static ngx_int_t api_json_batch_command(ngx_centrifugo_json_t *value,
    ngx_uint_t *method, ngx_centrifugo_json_t **params);
static void api_json_batch_begin(ngx_centrifugo_api_command_t *cmd);


/* what a command of a batch is, if it says several */

static const uint8_t  api_batch_order[] = {
    NGX_CENTRIFUGO_API_PUBLISH,
    NGX_CENTRIFUGO_API_BROADCAST,
    NGX_CENTRIFUGO_API_SUBSCRIBE,
    NGX_CENTRIFUGO_API_UNSUBSCRIBE,
    NGX_CENTRIFUGO_API_DISCONNECT,
    NGX_CENTRIFUGO_API_HISTORY,
    NGX_CENTRIFUGO_API_HISTORY_REMOVE,
    NGX_CENTRIFUGO_API_PRESENCE,
    NGX_CENTRIFUGO_API_PRESENCE_STATS,
    NGX_CENTRIFUGO_API_INFO,
    NGX_CENTRIFUGO_API_RPC,
    NGX_CENTRIFUGO_API_REFRESH,
    NGX_CENTRIFUGO_API_CHANNELS
};

#define API_BATCH_METHODS  sizeof(api_batch_order)


ngx_int_t
ngx_centrifugo_api_batch_params(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params)
{
    ngx_uint_t                     method, parallel;
    ngx_centrifugo_json_t         *list, *value, *p;
    ngx_centrifugo_api_batch_t    *batch;
    ngx_centrifugo_api_command_t  *command;

    parallel = 0;

    if (ngx_centrifugo_json_bool(params, "parallel", 8, &parallel)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    list = ngx_centrifugo_json_get(params, "commands", 8);

    if (list && list->type != NGX_CENTRIFUGO_JSON_ARRAY) {
        return NGX_ERROR;
    }

    batch = ngx_centrifugo_api_batch_create(cmd, parallel,
                                            api_json_batch_begin);
    if (batch == NULL) {
        return NGX_ABORT;
    }

    /* all of it is checked before anything is done */

    for (value = list ? list->child : NULL; value; value = value->next) {

        if (api_json_batch_command(value, &method, &p) != NGX_OK) {
            return NGX_ERROR;
        }

        command = ngx_centrifugo_api_command(cmd->job, batch, method, 0);
        if (command == NULL) {
            return NGX_ABORT;
        }

        command->params = p;
    }

    ngx_centrifugo_api_batch_run(batch);

    return NGX_OK;
}


/*
 * The method of a command and its parameters: NULL for null itself.
 * NGX_ERROR: it is not an object, or something in it has a wrong type.
 */

static ngx_int_t
api_json_batch_command(ngx_centrifugo_json_t *value, ngx_uint_t *method,
    ngx_centrifugo_json_t **params)
{
    ngx_uint_t              i, m;
    const ngx_str_t        *name;
    ngx_centrifugo_json_t  *p;

    *method = NGX_CENTRIFUGO_API_UNKNOWN;
    *params = NULL;

    if (value->type == NGX_CENTRIFUGO_JSON_NULL) {
        return NGX_OK;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    *params = value;

    for (i = 0; i < API_BATCH_METHODS; i++) {
        m = api_batch_order[i];
        name = ngx_centrifugo_api_name(m);

        p = ngx_centrifugo_json_get(value, (const char *) name->data,
                                    name->len);
        if (p == NULL) {
            continue;
        }

        if (ngx_centrifugo_api_params(NULL, m, p) != NGX_OK) {
            return NGX_ERROR;
        }

        if (*method == NGX_CENTRIFUGO_API_UNKNOWN) {
            *method = m;
            *params = p;
        }
    }

    return NGX_OK;
}


static void
api_json_batch_begin(ngx_centrifugo_api_command_t *cmd)
{
    if (cmd->params == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "it is null");

    } else if (cmd->method == NGX_CENTRIFUGO_API_UNKNOWN) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_api_not_found,
                                "there is no such method in a batch");

    } else {
        ngx_centrifugo_api_begin(cmd, cmd->params);
    }
}
