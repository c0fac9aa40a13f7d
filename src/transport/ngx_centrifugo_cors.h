/*
 * What pages of other origins may do (CORS), for endpoints of clients.
 */

#ifndef _NGX_CENTRIFUGO_CORS_H_INCLUDED_
#define _NGX_CENTRIFUGO_CORS_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


/*
 * Puts the headers of an allowed origin into the response.  NGX_OK; NGX_ERROR
 * without memory; NGX_DECLINED: there is no origin or it is not allowed, and
 * nothing was added.
 */
ngx_int_t ngx_centrifugo_cors(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf);

/*
 * Answers an OPTIONS request with 204; `methods` are those of the endpoint,
 * such as "POST, OPTIONS".  Returns what a content handler returns.
 */
ngx_int_t ngx_centrifugo_cors_preflight(ngx_http_request_t *r,
    ngx_centrifugo_hub_conf_t *hcf, const char *methods);

/* One header of the response; name and value are not copied. */
ngx_int_t ngx_centrifugo_cors_header(ngx_http_request_t *r, const char *name,
    u_char *value, size_t len);


#endif /* _NGX_CENTRIFUGO_CORS_H_INCLUDED_ */
