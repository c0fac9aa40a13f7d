/*
 * Messages of GRPC in the body of an HTTP/2 request: each behind five bytes, a
 * flag and its length.
 */

#ifndef _NGX_CENTRIFUGO_GRPC_H_INCLUDED_
#define _NGX_CENTRIFUGO_GRPC_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


#define NGX_CENTRIFUGO_GRPC_PREFIX  5

/* status codes */
#define NGX_CENTRIFUGO_GRPC_OK                  0
#define NGX_CENTRIFUGO_GRPC_UNKNOWN             2
#define NGX_CENTRIFUGO_GRPC_INVALID_ARGUMENT    3
#define NGX_CENTRIFUGO_GRPC_NOT_FOUND           5
#define NGX_CENTRIFUGO_GRPC_PERMISSION_DENIED   7
#define NGX_CENTRIFUGO_GRPC_RESOURCE_EXHAUSTED  8
#define NGX_CENTRIFUGO_GRPC_OUT_OF_RANGE        11
#define NGX_CENTRIFUGO_GRPC_UNIMPLEMENTED       12
#define NGX_CENTRIFUGO_GRPC_INTERNAL            13
#define NGX_CENTRIFUGO_GRPC_UNAVAILABLE         14
#define NGX_CENTRIFUGO_GRPC_UNAUTHENTICATED     16


/*
 * The one message of a unary call.  NGX_ERROR: there is none, it is cut off, or
 * something follows it.
 */
ngx_int_t ngx_centrifugo_grpc_message(const ngx_str_t *body,
    ngx_str_t *message, ngx_uint_t *compressed);

/*
 * A message that was compressed by gzip, in the arena.  NGX_OK; NGX_DECLINED:
 * it has more than `limit` bytes; NGX_ERROR: it is not gzip, or cut off;
 * NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_grpc_gunzip(ngx_centrifugo_arena_t *arena,
    const ngx_str_t *message, size_t limit, ngx_str_t *out);

/* A message around what is appended between begin and end. */
void ngx_centrifugo_grpc_begin(ngx_centrifugo_buf_t *b);
void ngx_centrifugo_grpc_end(ngx_centrifugo_buf_t *b);


#endif /* _NGX_CENTRIFUGO_GRPC_H_INCLUDED_ */
