/*
 * Content handlers of the locations that are not for clients.
 */

#ifndef _NGX_CENTRIFUGO_HTTP_H_INCLUDED_
#define _NGX_CENTRIFUGO_HTTP_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"
#include "../core/ngx_centrifugo_conf.h"


ngx_int_t ngx_centrifugo_api_handler(ngx_http_request_t *r);
ngx_int_t ngx_centrifugo_grpc_handler(ngx_http_request_t *r);
ngx_int_t ngx_centrifugo_health_handler(ngx_http_request_t *r);
ngx_int_t ngx_centrifugo_metrics_handler(ngx_http_request_t *r);

/*
 * Sends a whole response.  `body` is copied into the request's pool; it may be
 * empty.  Returns what a content handler returns.
 */
ngx_int_t ngx_centrifugo_http_respond(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, const u_char *body, size_t len);

/*
 * NGX_OK when the request carries the hub's key in X-API-Key, Authorization or
 * the api_key argument, or when none is asked for.
 */
ngx_int_t ngx_centrifugo_http_authorize(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);

/*
 * The request's body in one piece, from memory or from a temporary file; with
 * `copy` in the arena in any case.  NGX_ERROR: no memory, or it can't be read.
 */
ngx_int_t ngx_centrifugo_http_body(ngx_http_request_t *r,
    ngx_centrifugo_arena_t *arena, ngx_uint_t copy, ngx_str_t *body);

/* 1 when the hub or the caller wants errors as statuses. */
ngx_uint_t ngx_centrifugo_http_transport_errors(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);

/*
 * Makes GRPC of what NGINX itself refuses at GRPC locations: once for each
 * configuration that has some.
 */
void ngx_centrifugo_grpc_filter_init(void);

/* The first header of that name in lower case, or NULL. */
ngx_table_elt_t *ngx_centrifugo_http_header(ngx_http_request_t *r,
    const char *name, size_t len);


#endif /* _NGX_CENTRIFUGO_HTTP_H_INCLUDED_ */
