/*
 * Everything that depends on the version of NGINX or of the system.
 */

#ifndef _NGX_CENTRIFUGO_COMPAT_H_INCLUDED_
#define _NGX_CENTRIFUGO_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#if (NGX_PTR_SIZE != 8)
#error "ngx_centrifugo_module needs a 64-bit platform"
#endif


/* headers of one name became a list of their own in 1.23.0 */

#if (nginx_version >= 1023000)

#define ngx_centrifugo_header_next(h)  (h)->next = NULL

#else

#define ngx_centrifugo_header_next(h)

#endif


#endif /* _NGX_CENTRIFUGO_COMPAT_H_INCLUDED_ */
