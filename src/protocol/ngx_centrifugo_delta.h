/*
 * Deltas in the format of Fossil: how to make one text of another.
 */

#ifndef _NGX_CENTRIFUGO_DELTA_H_INCLUDED_
#define _NGX_CENTRIFUGO_DELTA_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


/*
 * Appends the delta that makes `target` of `base`.  With `utf8` both are valid
 * UTF-8 and so is the delta: no literal begins or ends within a character.
 * NGX_OK; NGX_DECLINED: it would not be shorter than the target, nothing was
 * appended; NGX_ERROR: no memory, nothing was.  The worker's own scratch memory
 * is kept between calls.
 */
ngx_int_t ngx_centrifugo_delta(ngx_centrifugo_buf_t *b,
    const ngx_str_t *base, const ngx_str_t *target, ngx_uint_t utf8);


#endif /* _NGX_CENTRIFUGO_DELTA_H_INCLUDED_ */
