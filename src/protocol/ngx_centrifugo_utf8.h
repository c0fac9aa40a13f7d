#ifndef _NGX_CENTRIFUGO_UTF8_H_INCLUDED_
#define _NGX_CENTRIFUGO_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * NGX_OK when the bytes are UTF-8 by RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */
ngx_int_t ngx_centrifugo_utf8_validate(const u_char *p, size_t len);


#endif /* _NGX_CENTRIFUGO_UTF8_H_INCLUDED_ */
