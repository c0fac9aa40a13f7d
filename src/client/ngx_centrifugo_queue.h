/*
 * The frames that wait for one client.  An empty queue takes no memory.
 */

#ifndef _NGX_CENTRIFUGO_QUEUE_H_INCLUDED_
#define _NGX_CENTRIFUGO_QUEUE_H_INCLUDED_


#include "../protocol/ngx_centrifugo_frame.h"


typedef struct ngx_centrifugo_queue_block_s  ngx_centrifugo_queue_block_t;

typedef struct {
    ngx_centrifugo_queue_block_t  *first;
    ngx_centrifugo_queue_block_t  *last;
    size_t                         bytes;       /* of frames, headers too */
    uint32_t                       sent;        /* of the first frame */
    uint16_t                       head;        /* its place in `first` */
    uint16_t                       tail;        /* the free place in `last` */
} ngx_centrifugo_queue_t;


/*
 * Appends a frame and takes a reference on it.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_centrifugo_queue_push(ngx_centrifugo_queue_t *queue,
    ngx_centrifugo_frame_t *frame);

/* The first frame, or NULL. */
ngx_centrifugo_frame_t *ngx_centrifugo_queue_first(
    ngx_centrifugo_queue_t *queue);

/*
 * Takes out `n` bytes that were sent, whole frames and a part of the next.
 * Returns how many frames are sent whole by that.
 */
ngx_uint_t ngx_centrifugo_queue_sent(ngx_centrifugo_queue_t *queue, size_t n);

/*
 * Copies bytes from the front into `p`, at most `size`, of at most 256 frames;
 * the last one may be cut.  Returns the bytes copied.
 */
size_t ngx_centrifugo_queue_gather(ngx_centrifugo_queue_t *queue, u_char *p,
    size_t size);

/*
 * The first `n` frames, or as many as there are, without a copy: returns how
 * many places of `iovs` are filled, with *total bytes.
 */
ngx_uint_t ngx_centrifugo_queue_iovs(ngx_centrifugo_queue_t *queue,
    struct iovec *iovs, ngx_uint_t n, size_t *total);

/* 1 when there is exactly one frame */
ngx_uint_t ngx_centrifugo_queue_single(ngx_centrifugo_queue_t *queue);

/*
 * Drops all frames except, with `keep`, one that is sent in part.
 */
void ngx_centrifugo_queue_drop(ngx_centrifugo_queue_t *queue,
    ngx_uint_t keep);

/* bytes in all queues of this worker */
size_t ngx_centrifugo_queue_bytes(void);


#endif /* _NGX_CENTRIFUGO_QUEUE_H_INCLUDED_ */
