#include "ngx_centrifugo_ws_output.h"
#include "ngx_centrifugo_ws_deflate.h"


#define OUTPUT_SIZE         (16 * 1024) /* of a copy, and of a TLS record */
#define OUTPUT_IOVS         64
#define OUTPUT_DEFLATE_MIN  32          /* bytes: less does not get shorter */


/* of this worker: no session has a buffer */

static u_char  output_buf[OUTPUT_SIZE];


ngx_centrifugo_frame_t *
ngx_centrifugo_ws_output_frame(ngx_uint_t opcode, const u_char *data,
    size_t len)
{
    u_char                  *p;
    ngx_centrifugo_frame_t  *frame;

    frame = ngx_centrifugo_frame_create(data, len);

    if (frame) {
        p = ngx_centrifugo_ws_header(frame->data, opcode, len);
        frame->head = (uint16_t) (frame->data - p);
    }

    return frame;
}


/* As it is, if it does not get shorter. */

ngx_centrifugo_frame_t *
ngx_centrifugo_ws_output_deflated(ngx_centrifugo_hub_conf_t *hcf,
    ngx_uint_t opcode, const u_char *data, size_t len)
{
    ngx_str_t  deflated;

    if (len >= OUTPUT_DEFLATE_MIN && len >= hcf->websocket_compression_min_size
        && ngx_centrifugo_ws_deflate(data, len,
                                     hcf->websocket_compression_level,
                                     &deflated)
           == NGX_OK)
    {
        return ngx_centrifugo_ws_output_frame(opcode | NGX_CENTRIFUGO_WS_RSV1,
                                              deflated.data, deflated.len);
    }

    return ngx_centrifugo_ws_output_frame(opcode, data, len);
}


/*
 * One system call, or TLS record: a single frame from where it is, a few that
 * fit into the worker's buffer as a copy, which costs less than writev().
 *
 * What OpenSSL could not write it wants again, the same bytes and no fewer: so
 * it is never given more than one record, which the queue begins with whatever
 * joins it.
 */

ssize_t
ngx_centrifugo_ws_output(ngx_connection_t *c, ngx_centrifugo_queue_t *queue)
{
    size_t                   len, max;
    ssize_t                  n;
    ngx_iovec_t              vec;
    ngx_centrifugo_frame_t  *frame;
    struct iovec             iovs[OUTPUT_IOVS];

    max = queue->bytes;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        max = ngx_min(max, OUTPUT_SIZE);
    }
#endif

    if (ngx_centrifugo_queue_single(queue)) {
        frame = ngx_centrifugo_queue_first(queue);

        return c->send(c, ngx_centrifugo_frame_start(frame) + queue->sent,
                       max);
    }

    if (max <= OUTPUT_SIZE) {
        len = ngx_centrifugo_queue_gather(queue, output_buf, OUTPUT_SIZE);

        return c->send(c, output_buf, len);
    }

    vec.iovs = iovs;
    vec.nalloc = OUTPUT_IOVS;
    vec.count = ngx_centrifugo_queue_iovs(queue, iovs, OUTPUT_IOVS,
                                          &vec.size);

    n = ngx_writev(c, &vec);

    if (n == NGX_AGAIN || (n >= 0 && (size_t) n < vec.size)) {
        c->write->ready = 0;
    }

    if (n > 0) {
        c->sent += n;
    }

    return n;
}
