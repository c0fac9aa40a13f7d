#include "ngx_centrifugo_ws_deflate.h"

#include <zlib.h>


#define DEFLATE_TAIL   4            /* bytes that end each message, not sent */
#define DEFLATE_CHUNK  4096         /* of output, at least */
#define DEFLATE_KEPT   (64 * 1024)  /* bytes of a buffer between two uses */
#define DEFLATE_MEMORY 8            /* zlib's default */
#define DEFLATE_BLOCK  128          /* data_type: at the border of a block */


/* of this worker, made when they are needed first */

typedef struct {
    z_stream               zs;
    ngx_uint_t             ready;
    ngx_int_t              level;
    ngx_centrifugo_buf_t   buf;
} deflate_stream_t;


static ngx_int_t inflate_part(const u_char *data, size_t len, size_t limit);
static ngx_int_t deflate_prepare(ngx_int_t level);
static void deflate_spare(ngx_centrifugo_buf_t *b);


static deflate_stream_t  inflate_stream;
static deflate_stream_t  deflate_stream;


ngx_int_t
ngx_centrifugo_ws_inflate(const u_char *data, size_t len, size_t limit,
    ngx_str_t *message)
{
    size_t                 made;
    ngx_int_t              rc;
    z_stream              *zs;
    ngx_centrifugo_buf_t  *b;
    static const u_char    tail[DEFLATE_TAIL] = { 0x00, 0x00, 0xff, 0xff };

    zs = &inflate_stream.zs;
    b = &inflate_stream.buf;

    deflate_spare(b);
    ngx_centrifugo_buf_reset(b);

    if (ngx_centrifugo_buf_reserve(b, 1) != NGX_OK) {
        return NGX_ABORT;
    }

    if (!inflate_stream.ready) {

        if (inflateInit2(zs, -MAX_WBITS) != Z_OK) {
            return NGX_ABORT;
        }

        inflate_stream.ready = 1;

    } else if (inflateReset(zs) != Z_OK) {
        return NGX_ABORT;
    }

    /* no bytes at all are taken for an empty message, as others do */

    rc = len ? inflate_part(data, len, limit) : NGX_DONE;

    if (rc == NGX_OK) {
        made = ngx_centrifugo_buf_len(b);
        rc = inflate_part(tail, DEFLATE_TAIL, limit);

        if (rc == NGX_OK
            && (made != ngx_centrifugo_buf_len(b)
                || !(zs->data_type & DEFLATE_BLOCK)))
        {
            /* it is not an empty block: something was cut off */

            return NGX_ERROR;
        }
    }

    if (rc != NGX_OK && rc != NGX_DONE) {
        return rc;
    }

    message->data = b->start;
    message->len = ngx_centrifugo_buf_len(b);

    return NGX_OK;
}


/* NGX_OK: more may follow; NGX_DONE: the end of a block said to be the last. */

static ngx_int_t
inflate_part(const u_char *data, size_t len, size_t limit)
{
    int                    rc;
    size_t                 room;
    z_stream              *zs;
    ngx_centrifugo_buf_t  *b;

    zs = &inflate_stream.zs;
    b = &inflate_stream.buf;

    zs->next_in = (Bytef *) data;
    zs->avail_in = (uInt) len;

    for ( ;; ) {

        /* one byte more than is allowed tells that it is too long */

        room = ngx_min(ngx_max(ngx_centrifugo_buf_len(b), DEFLATE_CHUNK),
                       limit + 1 - ngx_centrifugo_buf_len(b));

        if (ngx_centrifugo_buf_reserve(b, room) != NGX_OK) {
            return NGX_ABORT;
        }

        zs->next_out = b->last;
        zs->avail_out = (uInt) room;

        rc = inflate(zs, Z_SYNC_FLUSH);

        b->last += room - zs->avail_out;

        if (ngx_centrifugo_buf_len(b) > limit) {
            return NGX_DECLINED;
        }

        switch (rc) {

        case Z_STREAM_END:

            /* of a block that says it is the last: what follows is anew */

            if (inflateReset(zs) != Z_OK) {
                return NGX_ABORT;
            }

            if (zs->avail_in == 0) {
                return NGX_DONE;
            }

            break;

        case Z_OK:
        case Z_BUF_ERROR:

            if (zs->avail_out) {

                /* all input is in */

                return NGX_OK;
            }

            break;

        case Z_MEM_ERROR:
            return NGX_ABORT;

        default:
            return NGX_ERROR;
        }
    }
}


ngx_int_t
ngx_centrifugo_ws_deflate(const u_char *data, size_t len, ngx_uint_t level,
    ngx_str_t *deflated)
{
    z_stream              *zs;
    ngx_centrifugo_buf_t  *b;

    zs = &deflate_stream.zs;
    b = &deflate_stream.buf;

    deflate_spare(b);
    ngx_centrifugo_buf_reset(b);

    if (len < DEFLATE_TAIL || len > NGX_MAX_INT32_VALUE
        || ngx_centrifugo_buf_reserve(b, len) != NGX_OK
        || deflate_prepare((ngx_int_t) level) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    zs->next_in = (Bytef *) data;
    zs->avail_in = (uInt) len;
    zs->next_out = b->start;
    zs->avail_out = (uInt) len;

    /* a full buffer may be one that was too small; then it is not worth it */

    if (deflate(zs, Z_SYNC_FLUSH) != Z_OK || zs->avail_in
        || zs->avail_out == 0)
    {
        return NGX_DECLINED;
    }

    deflated->data = b->start;
    deflated->len = len - zs->avail_out - DEFLATE_TAIL;

    return NGX_OK;
}


static ngx_int_t
deflate_prepare(ngx_int_t level)
{
    z_stream  *zs;

    zs = &deflate_stream.zs;

    if (deflate_stream.ready && deflate_stream.level == level) {
        return (deflateReset(zs) == Z_OK) ? NGX_OK : NGX_ERROR;
    }

    if (deflate_stream.ready) {
        deflate_stream.ready = 0;
        (void) deflateEnd(zs);
    }

    if (deflateInit2(zs, (int) level, Z_DEFLATED, -MAX_WBITS, DEFLATE_MEMORY,
                     Z_DEFAULT_STRATEGY)
        != Z_OK)
    {
        return NGX_ERROR;
    }

    deflate_stream.ready = 1;
    deflate_stream.level = level;

    return NGX_OK;
}


static void
deflate_spare(ngx_centrifugo_buf_t *b)
{
    if (b->end - b->start > DEFLATE_KEPT) {
        ngx_centrifugo_buf_free(b);
    }
}


void
ngx_centrifugo_ws_deflate_exit(void)
{
    if (inflate_stream.ready) {
        (void) inflateEnd(&inflate_stream.zs);
        inflate_stream.ready = 0;
    }

    if (deflate_stream.ready) {
        (void) deflateEnd(&deflate_stream.zs);
        deflate_stream.ready = 0;
    }

    ngx_centrifugo_buf_free(&inflate_stream.buf);
    ngx_centrifugo_buf_free(&deflate_stream.buf);
}
