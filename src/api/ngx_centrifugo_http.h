/*
 * Content handlers of the locations that are not for clients.
 */

#ifndef _NGX_CENTRIFUGO_HTTP_H_INCLUDED_
#define _NGX_CENTRIFUGO_HTTP_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


ngx_int_t ngx_centrifugo_api_handler(ngx_http_request_t *r);
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

/* The first header of that name in lower case, or NULL. */
ngx_table_elt_t *ngx_centrifugo_http_header(ngx_http_request_t *r,
    const char *name, size_t len);


#endif /* _NGX_CENTRIFUGO_HTTP_H_INCLUDED_ */
