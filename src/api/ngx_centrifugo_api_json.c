/*
 * Bodies of the API's two dialects, as JSON.
 */

#include "ngx_centrifugo_api.h"


static ngx_int_t api_json_command(ngx_centrifugo_api_job_t *job,
    ngx_centrifugo_json_t *value);
static ngx_int_t api_json_method(ngx_centrifugo_json_t *value,
    ngx_uint_t *method);


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

    cmd = ngx_centrifugo_api_command(job, NULL, method, 0);
    if (cmd == NULL) {
        return NGX_ABORT;
    }

    return (method == NGX_CENTRIFUGO_API_BATCH)
           ? ngx_centrifugo_api_batch_params(cmd, params)
           : ngx_centrifugo_api_params(cmd, method, params);
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

    cmd = ngx_centrifugo_api_command(job, NULL, method, (uint32_t) id);
    if (cmd == NULL) {
        return NGX_ABORT;
    }

    if (rc == NGX_DECLINED) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_api_not_found,
                                "there is no such method here");
        return NGX_OK;
    }

    ngx_centrifugo_api_begin(cmd,
                                  ngx_centrifugo_json_get(value, "params", 6));

    return NGX_OK;
}


/*
 * NGX_OK; NGX_DECLINED: a method without a number, or an unknown number;
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

        if (ngx_centrifugo_api_find(&m->str, 1, method) == NGX_ERROR) {
            return NGX_ERROR;
        }

        return ngx_centrifugo_api_offered(*method) ? NGX_OK : NGX_DECLINED;
    }

    if (ngx_centrifugo_json_uint(value, "method", 6, NGX_MAX_INT32_VALUE, &n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *method = (ngx_uint_t) n;

    return ngx_centrifugo_api_offered(*method) ? NGX_OK : NGX_DECLINED;
}
