/*
 * permessage-deflate (RFC 7692) without context takeover: each message for
 * itself, by one stream of zlib in each direction for the whole worker.
 */

#ifndef _NGX_CENTRIFUGO_WS_DEFLATE_H_INCLUDED_
#define _NGX_CENTRIFUGO_WS_DEFLATE_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


/* bytes that a compressed message of `limit` bytes may have: stored blocks */
#define NGX_CENTRIFUGO_WS_DEFLATED(limit)  ((limit) + (limit) / 64 + 64)


/*
 * The message that was compressed into these bytes, which become a part of
 * `message` as far as `limit` lets them.  The result stays until the next call.
 *
 * NGX_OK; NGX_DECLINED: it has more than `limit` bytes; NGX_ERROR: it is not
 * what deflate makes, or is cut off; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_ws_inflate(const u_char *data, size_t len,
    size_t limit, ngx_str_t *message);

/*
 * Compresses a message by a level from 1 to 9.  NGX_OK: `deflated` is shorter,
 * and stays until the next call; NGX_DECLINED: it is to be sent as it is, since
 * it would not get shorter or there is no memory.
 */
ngx_int_t ngx_centrifugo_ws_deflate(const u_char *data, size_t len,
    ngx_uint_t level, ngx_str_t *deflated);

/* Frees both streams, at the worker's end. */
void ngx_centrifugo_ws_deflate_exit(void);


#endif /* _NGX_CENTRIFUGO_WS_DEFLATE_H_INCLUDED_ */
