#include "ngx_centrifugo_grpc.h"

#include <zlib.h>


#define GRPC_WINDOW  (MAX_WBITS + 16)   /* with the header of gzip */
#define GRPC_CHUNK   16384


static ngx_int_t grpc_inflate(z_stream *zs, size_t limit,
    ngx_centrifugo_buf_t *b);


ngx_int_t
ngx_centrifugo_grpc_message(const ngx_str_t *body, ngx_str_t *message,
    ngx_uint_t *compressed)
{
    u_char    *p;
    uint32_t   len;

    p = body->data;

    if (body->len < NGX_CENTRIFUGO_GRPC_PREFIX || p[0] > 1) {
        return NGX_ERROR;
    }

    len = (uint32_t) p[1] << 24 | p[2] << 16 | p[3] << 8 | p[4];

    if (len != body->len - NGX_CENTRIFUGO_GRPC_PREFIX) {
        return NGX_ERROR;
    }

    message->data = p + NGX_CENTRIFUGO_GRPC_PREFIX;
    message->len = len;
    *compressed = p[0];

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_grpc_gunzip(ngx_centrifugo_arena_t *arena,
    const ngx_str_t *message, size_t limit, ngx_str_t *out)
{
    z_stream               zs;
    ngx_int_t              rc;
    ngx_centrifugo_buf_t   b;

    ngx_memzero(&zs, sizeof(z_stream));
    ngx_memzero(&b, sizeof(ngx_centrifugo_buf_t));

    if (inflateInit2(&zs, GRPC_WINDOW) != Z_OK) {
        return NGX_ABORT;
    }

    zs.next_in = message->data;
    zs.avail_in = (uInt) message->len;

    rc = grpc_inflate(&zs, limit, &b);

    (void) inflateEnd(&zs);

    if (rc == NGX_OK) {
        out->len = ngx_centrifugo_buf_len(&b);
        out->data = ngx_centrifugo_arena_alloc(arena, out->len);

        if (out->data == NULL) {
            rc = NGX_ABORT;

        } else {
            ngx_memcpy(out->data, b.start, out->len);
        }
    }

    ngx_centrifugo_buf_free(&b);

    return rc;
}


static ngx_int_t
grpc_inflate(z_stream *zs, size_t limit, ngx_centrifugo_buf_t *b)
{
    int     rc;
    size_t  room;

    for ( ;; ) {

        /* one byte more than is allowed tells that it is too long */

        room = ngx_min(GRPC_CHUNK, limit + 1 - ngx_centrifugo_buf_len(b));

        if (ngx_centrifugo_buf_reserve(b, room) != NGX_OK) {
            return NGX_ABORT;
        }

        zs->next_out = b->last;
        zs->avail_out = (uInt) room;

        rc = inflate(zs, Z_NO_FLUSH);

        b->last += room - zs->avail_out;

        if (ngx_centrifugo_buf_len(b) > limit) {
            return NGX_DECLINED;
        }

        if (rc == Z_STREAM_END) {
            return zs->avail_in ? NGX_ERROR : NGX_OK;
        }

        if (rc == Z_MEM_ERROR) {
            return NGX_ABORT;
        }

        /* without progress, something is missing at its end */

        if (rc != Z_OK) {
            return NGX_ERROR;
        }
    }
}


void
ngx_centrifugo_grpc_begin(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_reset(b);
    ngx_centrifugo_buf_append(b, "\0\0\0\0\0", NGX_CENTRIFUGO_GRPC_PREFIX);
}


void
ngx_centrifugo_grpc_end(ngx_centrifugo_buf_t *b)
{
    size_t   len;
    u_char  *p;

    if (b->failed) {
        return;
    }

    len = ngx_centrifugo_buf_len(b) - NGX_CENTRIFUGO_GRPC_PREFIX;
    p = b->start + 1;

    *p++ = (u_char) (len >> 24);
    *p++ = (u_char) (len >> 16);
    *p++ = (u_char) (len >> 8);
    *p = (u_char) len;
}
