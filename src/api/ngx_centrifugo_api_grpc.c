/*
 * The GRPC door of the server API: unary calls of the service CentrifugoApi as
 * requests of HTTP/2.
 */

#include "ngx_centrifugo_api.h"
#include "ngx_centrifugo_grpc.h"
#include "ngx_centrifugo_http.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../protocol/ngx_centrifugo_pb.h"

#include "api.pb-c.h"


#define GRPC_SERVICE  "/centrifugal.centrifugo.api.CentrifugoApi/"
#define GRPC_TYPE     "application/grpc"
#define GRPC_LIMIT    (64 * 1024 * 1024)    /* bytes, if the body has none */
#define GRPC_KEPT     (64 * 1024)           /* bytes of the worker's buffer */


typedef struct {
    ngx_str_t                           name;
    ngx_uint_t                          method;
    const ProtobufCMessageDescriptor   *request;
} grpc_method_t;

typedef struct {
    const grpc_method_t                *method;
    ngx_centrifugo_api_job_t           *job;
    unsigned                            waiting:1;
} grpc_ctx_t;


static ngx_uint_t grpc_is_grpc(ngx_http_request_t *r);
static const grpc_method_t *grpc_method(ngx_http_request_t *r);
static ngx_uint_t grpc_authorized(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);
static void grpc_body_handler(ngx_http_request_t *r);
static ngx_uint_t grpc_begin(ngx_http_request_t *r, grpc_ctx_t *ctx,
    const char **why);
static ngx_uint_t grpc_gunzip(ngx_http_request_t *r, grpc_ctx_t *ctx,
    ngx_str_t *message, const char **why);
static void grpc_done(ngx_centrifugo_api_job_t *job);
static ngx_int_t grpc_reply(ngx_http_request_t *r, grpc_ctx_t *ctx);
static ngx_uint_t grpc_error_status(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf, const ngx_centrifugo_error_t *error);
static ngx_int_t grpc_status(ngx_http_request_t *r, ngx_uint_t status,
    const char *message, size_t len);
static ngx_int_t grpc_put_status(ngx_http_request_t *r, ngx_list_t *headers,
    ngx_uint_t status, const char *message, size_t len);
static ngx_int_t grpc_header(ngx_list_t *headers, const char *name,
    const char *value, size_t len);
static void grpc_cleanup(void *data);
static ngx_int_t grpc_header_filter(ngx_http_request_t *r);


#define GRPC_METHOD(name, method, request)                                   \
    { ngx_string(name), NGX_CENTRIFUGO_API_ ## method,                       \
      &centrifugal__centrifugo__api__ ## request ## request__descriptor }

static const grpc_method_t  grpc_methods[] = {
    GRPC_METHOD("Publish", PUBLISH, publish_),
    GRPC_METHOD("Broadcast", BROADCAST, broadcast_),
    GRPC_METHOD("Batch", BATCH, batch_),
    GRPC_METHOD("Subscribe", SUBSCRIBE, subscribe_),
    GRPC_METHOD("Unsubscribe", UNSUBSCRIBE, unsubscribe_),
    GRPC_METHOD("Disconnect", DISCONNECT, disconnect_),
    GRPC_METHOD("Presence", PRESENCE, presence_),
    GRPC_METHOD("PresenceStats", PRESENCE_STATS, presence_stats_),
    GRPC_METHOD("History", HISTORY, history_),
    GRPC_METHOD("HistoryRemove", HISTORY_REMOVE, history_remove_),
    GRPC_METHOD("Info", INFO, info_),
    GRPC_METHOD("RPC", RPC, rpc),
    GRPC_METHOD("Refresh", REFRESH, refresh_),
    GRPC_METHOD("Channels", CHANNELS, channels_),
    { ngx_null_string, 0, NULL }
};


static ngx_http_output_header_filter_pt  grpc_next_header_filter;


ngx_int_t
ngx_centrifugo_grpc_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    grpc_ctx_t                 *ctx;
    ngx_pool_cleanup_t         *cln;
    const grpc_method_t        *method;
    ngx_centrifugo_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    if (r->http_version < NGX_HTTP_VERSION_20 || !grpc_is_grpc(r)) {

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: a request to the GRPC API of hub \"%V\" "
                      "that is not GRPC over HTTP/2", &lcf->hub->name);

        if (ngx_http_discard_request_body(r) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_centrifugo_http_respond(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                               "text/plain",
                               (u_char *) "This is GRPC over HTTP/2 only.\n",
                               31);
    }

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    if (!grpc_authorized(r, lcf->hub)) {

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: wrong or no key for the GRPC API of hub "
                      "\"%V\"", &lcf->hub->name);

        return NGX_HTTP_UNAUTHORIZED;
    }

    method = grpc_method(r);

    if (method == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (!ngx_centrifugo_worker_ready(lcf->hub)) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(grpc_ctx_t));
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (ctx == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->method = method;
    ctx->job = ngx_centrifugo_api_create(lcf->hub, r->connection->log, r,
                                         grpc_done);
    if (ctx->job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = grpc_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_centrifugo_module);

    rc = ngx_http_read_client_request_body(r, grpc_body_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static ngx_uint_t
grpc_is_grpc(ngx_http_request_t *r)
{
    size_t      len;
    ngx_str_t  *type;

    len = sizeof(GRPC_TYPE) - 1;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    if (type->len < len
        || ngx_strncasecmp(type->data, (u_char *) GRPC_TYPE, len) != 0)
    {
        return 0;
    }

    return type->len == len
           || type->data[len] == ';'
           || (type->len == len + 6
               && ngx_strncmp(type->data + len, "+proto", 6) == 0);
}


static const grpc_method_t *
grpc_method(ngx_http_request_t *r)
{
    size_t                len;
    u_char               *name;
    const grpc_method_t  *method;

    len = sizeof(GRPC_SERVICE) - 1;

    if (r->uri.len < len || ngx_strncmp(r->uri.data, GRPC_SERVICE, len) != 0) {
        return NULL;
    }

    name = r->uri.data + len;
    len = r->uri.len - len;

    for (method = grpc_methods; method->name.len; method++) {
        if (method->name.len == len
            && ngx_strncmp(method->name.data, name, len) == 0)
        {
            return method;
        }
    }

    return NULL;
}


/* "apikey KEY", to the letter. */

static ngx_uint_t
grpc_authorized(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_str_t  value;

    if (hcf->api_insecure) {
        return 1;
    }

    if (hcf->api_key.len == 0 || r->headers_in.authorization == NULL) {
        return 0;
    }

    value = r->headers_in.authorization->value;

    if (value.len < 7 || ngx_strncmp(value.data, "apikey ", 7) != 0) {
        return 0;
    }

    value.data += 7;
    value.len -= 7;

    return ngx_centrifugo_secret_equal(&hcf->api_key, &value);
}


static void
grpc_body_handler(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_uint_t   status;
    grpc_ctx_t  *ctx;
    const char  *why;

    ctx = ngx_http_get_module_ctx(r, ngx_centrifugo_module);

    status = grpc_begin(r, ctx, &why);

    if (status != NGX_CENTRIFUGO_GRPC_OK) {

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: a GRPC call of hub \"%V\" failed with "
                      "status %ui: %s", &ctx->job->hcf->name, status, why);

        rc = grpc_status(r, status, why, ngx_strlen(why));
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_centrifugo_api_run(ctx->job);

    if (ctx->job->pending == 0) {
        ngx_http_finalize_request(r, grpc_reply(r, ctx));
        return;
    }

    ctx->waiting = 1;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
}


/* What is wrong with the call, and nothing has begun then. */

static ngx_uint_t
grpc_begin(ngx_http_request_t *r, grpc_ctx_t *ctx, const char **why)
{
    ngx_int_t                      rc;
    ngx_str_t                      body, message;
    ngx_uint_t                     status, compressed;
    ngx_centrifugo_json_t         *params;
    ngx_centrifugo_api_command_t  *cmd;

    *why = "no memory";

    if (ngx_centrifugo_http_body(r, &ctx->job->arena,
                                 ctx->method->method
                                 == NGX_CENTRIFUGO_API_BATCH, &body)
        != NGX_OK)
    {
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }

    if (ngx_centrifugo_grpc_message(&body, &message, &compressed) != NGX_OK) {
        *why = "the body is not one whole message";
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }

    if (compressed) {
        status = grpc_gunzip(r, ctx, &message, why);

        if (status != NGX_CENTRIFUGO_GRPC_OK) {
            return status;
        }
    }

    rc = ngx_centrifugo_pb_parse(&ctx->job->arena, ctx->method->request,
                                 message.data, message.len, &params);
    if (rc != NGX_OK) {

        if (rc == NGX_ERROR) {
            *why = "the message is not of its type";
        }

        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }

    cmd = ngx_centrifugo_api_command(ctx->job, NULL, ctx->method->method, 0);
    if (cmd == NULL) {
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }

    rc = (ctx->method->method == NGX_CENTRIFUGO_API_BATCH)
         ? ngx_centrifugo_api_batch_params(cmd, params)
         : ngx_centrifugo_api_params(cmd, ctx->method->method, params);

    return (rc == NGX_OK) ? NGX_CENTRIFUGO_GRPC_OK
                          : NGX_CENTRIFUGO_GRPC_INTERNAL;
}


static ngx_uint_t
grpc_gunzip(ngx_http_request_t *r, grpc_ctx_t *ctx, ngx_str_t *message,
    const char **why)
{
    size_t                      limit;
    ngx_table_elt_t            *h;
    ngx_http_core_loc_conf_t   *clcf;

    h = ngx_centrifugo_http_header(r, "grpc-encoding", 13);

    if (h == NULL
        || (h->value.len == 8
            && ngx_strncmp(h->value.data, "identity", 8) == 0))
    {
        *why = "a compressed message without grpc-encoding";
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }

    if (h->value.len != 4 || ngx_strncmp(h->value.data, "gzip", 4) != 0) {
        *why = "messages may be compressed by gzip only";
        return NGX_CENTRIFUGO_GRPC_UNIMPLEMENTED;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    limit = GRPC_LIMIT;

    if (clcf->client_max_body_size) {
        limit = (size_t) ngx_min(clcf->client_max_body_size, GRPC_LIMIT);
    }

    switch (ngx_centrifugo_grpc_gunzip(&ctx->job->arena, message, limit,
                                       message))
    {

    case NGX_OK:
        return NGX_CENTRIFUGO_GRPC_OK;

    case NGX_DECLINED:
        *why = "the message is larger than client_max_body_size";
        return NGX_CENTRIFUGO_GRPC_RESOURCE_EXHAUSTED;

    case NGX_ERROR:
        *why = "the message is not what gzip makes";
        return NGX_CENTRIFUGO_GRPC_INTERNAL;

    default:
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }
}


/*
 * The call is answered; called within grpc_body_handler() or later.
 */

static void
grpc_done(ngx_centrifugo_api_job_t *job)
{
    grpc_ctx_t          *ctx;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = job->data;
    ctx = ngx_http_get_module_ctx(r, ngx_centrifugo_module);

    if (!ctx->waiting) {
        return;
    }

    c = r->connection;

    ngx_http_finalize_request(r, grpc_reply(r, ctx));
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
grpc_reply(ngx_http_request_t *r, grpc_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_buf_t                     *out;
    ngx_uint_t                     status;
    ngx_chain_t                    cl;
    const ngx_centrifugo_error_t  *error;
    static ngx_centrifugo_buf_t    b;

    if (ctx->job->failed) {
        error = ngx_centrifugo_api_error(ctx->job->commands);

        if (error) {
            status = grpc_error_status(r, ctx->job->hcf, error);

            if (status != NGX_CENTRIFUGO_GRPC_OK) {
                return grpc_status(r, status, (char *) error->message.data,
                                   error->message.len);
            }
        }
    }

    ngx_centrifugo_grpc_begin(&b);
    ngx_centrifugo_api_result_pb(&b, ctx->job->commands);
    ngx_centrifugo_grpc_end(&b);

    out = b.failed ? NULL
          : ngx_create_temp_buf(r->pool, ngx_centrifugo_buf_len(&b));

    if (out == NULL
        || grpc_put_status(r, &r->headers_out.trailers,
                           NGX_CENTRIFUGO_GRPC_OK, NULL, 0)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out->last = ngx_cpymem(out->last, b.start, ngx_centrifugo_buf_len(&b));
    out->last_buf = 1;
    out->last_in_chain = 1;

    if (b.end - b.start > GRPC_KEPT) {
        ngx_centrifugo_buf_free(&b);
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, GRPC_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->expect_trailers = 1;

    /* nothing may change what is in a message */

    r->gzip_tested = 1;
    r->gzip_ok = 0;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    cl.buf = out;
    cl.next = NULL;

    return ngx_http_output_filter(r, &cl);
}


/* The status says it instead of the message when the hub or caller wants. */

static ngx_uint_t
grpc_error_status(ngx_http_request_t *r, ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_error_t *error)
{
    if (!ngx_centrifugo_http_transport_errors(r, hcf)) {
        return NGX_CENTRIFUGO_GRPC_OK;
    }

    switch (error->code) {

    case 102:
    case 104:
        return NGX_CENTRIFUGO_GRPC_NOT_FOUND;

    case 107:
    case 108:
        return NGX_CENTRIFUGO_GRPC_INVALID_ARGUMENT;

    case 112:
        return NGX_CENTRIFUGO_GRPC_OUT_OF_RANGE;

    default:
        return NGX_CENTRIFUGO_GRPC_INTERNAL;
    }
}


/* An answer of headers alone. */

static ngx_int_t
grpc_status(ngx_http_request_t *r, ngx_uint_t status, const char *message,
    size_t len)
{
    if (grpc_put_status(r, &r->headers_out.headers, status, message, len)
        != NGX_OK
        || (status == NGX_CENTRIFUGO_GRPC_UNIMPLEMENTED
            && grpc_header(&r->headers_out.headers, "grpc-accept-encoding",
                           "identity,gzip", 13)
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, GRPC_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


/* Messages are texts of this module: nothing in them needs an escape. */

static ngx_int_t
grpc_put_status(ngx_http_request_t *r, ngx_list_t *headers, ngx_uint_t status,
    const char *message, size_t len)
{
    u_char  *p, *last;

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_sprintf(p, "%ui", status);

    if (grpc_header(headers, "grpc-status", (char *) p, last - p) != NGX_OK) {
        return NGX_ERROR;
    }

    return len ? grpc_header(headers, "grpc-message", message, len) : NGX_OK;
}


static ngx_int_t
grpc_header(ngx_list_t *headers, const char *name, const char *value,
    size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_centrifugo_header_next(h);
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = len;

    return NGX_OK;
}


/*
 * The request ends, with or without its answer.
 */

static void
grpc_cleanup(void *data)
{
    grpc_ctx_t  *ctx = data;

    ngx_centrifugo_api_release(ctx->job);
}


void
ngx_centrifugo_grpc_filter_init(void)
{
    grpc_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = grpc_header_filter;
}


/*
 * Whatever NGINX refuses, be it that a body is larger than client_max_body_size
 * or that an address is denied, is told in the way of GRPC.
 */

static ngx_int_t
grpc_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                  status;
    const char                 *message;
    ngx_centrifugo_loc_conf_t  *lcf;

    if (r != r->main || r->headers_out.status < NGX_HTTP_BAD_REQUEST
        || r->http_version < NGX_HTTP_VERSION_20 || !grpc_is_grpc(r))
    {
        return grpc_next_header_filter(r);
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    if (lcf->endpoint == NULL
        || lcf->endpoint->kind != NGX_CENTRIFUGO_ENDPOINT_GRPC)
    {
        return grpc_next_header_filter(r);
    }

    switch (r->headers_out.status) {

    case NGX_HTTP_UNAUTHORIZED:
        status = NGX_CENTRIFUGO_GRPC_UNAUTHENTICATED;
        message = "unauthenticated";
        break;

    case NGX_HTTP_FORBIDDEN:
        status = NGX_CENTRIFUGO_GRPC_PERMISSION_DENIED;
        message = "permission denied";
        break;

    case NGX_HTTP_NOT_FOUND:
    case NGX_HTTP_NOT_ALLOWED:
        status = NGX_CENTRIFUGO_GRPC_UNIMPLEMENTED;
        message = "unknown service or method";
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        status = NGX_CENTRIFUGO_GRPC_RESOURCE_EXHAUSTED;
        message = "the message is larger than client_max_body_size";
        break;

    case NGX_HTTP_BAD_REQUEST:
    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        status = NGX_CENTRIFUGO_GRPC_INTERNAL;
        message = "internal error";
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_GATEWAY_TIME_OUT:
        status = NGX_CENTRIFUGO_GRPC_UNAVAILABLE;
        message = "unavailable";
        break;

    default:
        status = NGX_CENTRIFUGO_GRPC_UNKNOWN;
        message = "the request was refused";
    }

    if (grpc_put_status(r, &r->headers_out.headers, status, message,
                        ngx_strlen(message))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.status_line.len = 0;
    ngx_str_set(&r->headers_out.content_type, GRPC_TYPE);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    r->headers_out.charset.len = 0;
    r->header_only = 1;

    return grpc_next_header_filter(r);
}
