/*
 * The HTTP door of the server API, in its two dialects: POST /api/METHOD with
 * the parameters as body, and POST /api with one or many commands.
 */

#include "ngx_centrifugo_api.h"
#include "ngx_centrifugo_http.h"
#include "../client/ngx_centrifugo_client.h"
#include "../client/ngx_centrifugo_worker.h"


#define API_REPLY_KEPT  (64 * 1024)     /* bytes of the worker's buffer */


typedef struct {
    ngx_uint_t                   method;    /* not in the command dialect */
    ngx_centrifugo_api_job_t    *job;
    unsigned                     command_style:1;
    unsigned                     waiting:1;
} api_ctx_t;


static ngx_int_t api_method(ngx_http_request_t *r, ngx_str_t *name);
static void api_body_handler(ngx_http_request_t *r);
static void api_done(ngx_centrifugo_api_job_t *job);
static ngx_int_t api_reply(ngx_http_request_t *r, api_ctx_t *ctx);
static ngx_uint_t api_error_status(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf, const ngx_centrifugo_error_t *error);
static void api_cleanup(void *data);


ngx_int_t
ngx_centrifugo_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_str_t                   name;
    api_ctx_t                  *ctx;
    ngx_table_elt_t            *h;
    ngx_pool_cleanup_t         *cln;
    ngx_centrifugo_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    ctx = ngx_pcalloc(r->pool, sizeof(api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method != NGX_HTTP_POST) {
        rc = NGX_HTTP_NOT_ALLOWED;

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        h->hash = 1;
        ngx_centrifugo_header_next(h);
        ngx_str_set(&h->key, "Allow");
        ngx_str_set(&h->value, "POST");

    } else if (ngx_centrifugo_http_authorize(r, lcf->hub) != NGX_OK) {
        rc = NGX_HTTP_UNAUTHORIZED;

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: wrong or no key for the API of hub \"%V\"",
                      &lcf->hub->name);

    } else if (api_method(r, &name) != NGX_OK) {
        rc = NGX_HTTP_NOT_FOUND;

    } else if (name.len == 0) {
        ctx->command_style = 1;
        rc = NGX_OK;

    } else if (ngx_centrifugo_api_find(&name, 0, &ctx->method) != NGX_OK) {
        rc = NGX_HTTP_NOT_FOUND;

    } else {
        rc = NGX_OK;
    }

    if (rc == NGX_OK && !ngx_centrifugo_worker_ready(lcf->hub)) {
        rc = NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (rc != NGX_OK) {

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return (rc == NGX_HTTP_NOT_FOUND)
               ? ngx_centrifugo_http_respond(r, rc, "text/plain",
                                             (u_char *) "Not Found\n", 10)
               : ngx_centrifugo_http_respond(r, rc, NULL, NULL, 0);
    }

    ctx->job = ngx_centrifugo_api_create(lcf->hub, r->connection->log, r,
                                         api_done);
    if (ctx->job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        ngx_centrifugo_api_release(ctx->job);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = api_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_centrifugo_module);

    rc = ngx_http_read_client_request_body(r, api_body_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


/*
 * The method is what follows the location's prefix in $uri; nothing does in
 * the command dialect.
 */

static ngx_int_t
api_method(ngx_http_request_t *r, ngx_str_t *name)
{
    size_t                      len;
    ngx_centrifugo_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    len = lcf->clcf->name.len;

    if (r->uri.len < len) {
        return NGX_ERROR;
    }

    name->data = r->uri.data + len;
    name->len = r->uri.len - len;

    if (name->len == 0 || (len && name->data[-1] == '/')) {
        return NGX_OK;
    }

    if (name->data[0] != '/') {
        return NGX_ERROR;
    }

    name->data++;
    name->len--;

    return NGX_OK;
}


static void
api_body_handler(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ngx_str_t   body;
    api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_centrifugo_module);

    if (ngx_centrifugo_http_body(r, &ctx->job->arena,
                                 ctx->method == NGX_CENTRIFUGO_API_BATCH,
                                 &body)
        != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ctx->command_style
         ? ngx_centrifugo_api_commands_json(ctx->job, &body)
         : ngx_centrifugo_api_method_json(ctx->job, ctx->method, &body);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: an API call with a malformed body");

        rc = ngx_centrifugo_http_respond(r, NGX_HTTP_BAD_REQUEST,
                                         "text/plain",
                                         (u_char *) "Bad Request\n", 12);
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (rc == NGX_ABORT) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_centrifugo_api_run(ctx->job);

    if (ctx->job->pending == 0) {
        ngx_http_finalize_request(r, api_reply(r, ctx));
        return;
    }

    ctx->waiting = 1;
    r->write_event_handler = ngx_http_request_empty_handler;
}


/*
 * All commands are answered; called within api_body_handler() or later.
 */

static void
api_done(ngx_centrifugo_api_job_t *job)
{
    api_ctx_t           *ctx;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = job->data;
    ctx = ngx_http_get_module_ctx(r, ngx_centrifugo_module);

    if (!ctx->waiting) {
        return;
    }

    c = r->connection;

    ngx_http_finalize_request(r, api_reply(r, ctx));
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
api_reply(ngx_http_request_t *r, api_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_uint_t                     status;
    ngx_centrifugo_api_command_t  *cmd;
    const ngx_centrifugo_error_t  *error;
    static ngx_centrifugo_buf_t    b;

    ngx_centrifugo_buf_reset(&b);
    status = NGX_HTTP_OK;

    if (ctx->job->failed && !ctx->command_style) {
        error = ngx_centrifugo_api_error(ctx->job->commands);

        if (error) {
            status = api_error_status(r, ctx->job->hcf, error);
        }

        if (status != NGX_HTTP_OK) {
            ngx_centrifugo_api_error_json(&b, error);
            goto respond;
        }
    }

    for (cmd = ctx->job->commands; cmd; cmd = cmd->next) {

        if (cmd != ctx->job->commands) {
            ngx_centrifugo_buf_byte(&b, '\n');
        }

        ngx_centrifugo_buf_byte(&b, '{');

        if (cmd->id) {
            ngx_centrifugo_buf_literal(&b, "\"id\":");
            ngx_centrifugo_buf_append_uint(&b, cmd->id);
            ngx_centrifugo_buf_byte(&b, ',');
        }

        ngx_centrifugo_api_result_json(&b, cmd);
        ngx_centrifugo_buf_byte(&b, '}');
    }

respond:

    rc = b.failed ? NGX_HTTP_INTERNAL_SERVER_ERROR
         : ngx_centrifugo_http_respond(r, status, "application/json",
                                       b.start, ngx_centrifugo_buf_len(&b));

    if (b.end - b.start > API_REPLY_KEPT) {
        ngx_centrifugo_buf_free(&b);
    }

    return rc;
}


/*
 * The status says it, too, when the hub or the caller wants that.
 */

static ngx_uint_t
api_error_status(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_error_t *error)
{
    if (!ngx_centrifugo_http_transport_errors(r, hcf)) {
        return NGX_HTTP_OK;
    }

    switch (error->code) {

    case 102:
    case 104:
        return NGX_HTTP_NOT_FOUND;

    case 107:
    case 108:
        return NGX_HTTP_BAD_REQUEST;

    case 112:
        return NGX_HTTP_RANGE_NOT_SATISFIABLE;

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/*
 * The request ends, with or without its answer.
 */

static void
api_cleanup(void *data)
{
    api_ctx_t  *ctx = data;

    ngx_centrifugo_api_release(ctx->job);
}
