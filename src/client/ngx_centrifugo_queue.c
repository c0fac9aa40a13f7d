#include "ngx_centrifugo_queue.h"


#define QUEUE_FRAMES  15        /* of a block: 128 bytes with its link */
#define QUEUE_SPARE   1024      /* blocks kept for the next frame */
#define QUEUE_GATHER  256       /* frames in one gathered write */


struct ngx_centrifugo_queue_block_s {
    ngx_centrifugo_queue_block_t  *next;
    ngx_centrifugo_frame_t        *frames[QUEUE_FRAMES];
};


static void queue_pop(ngx_centrifugo_queue_t *queue);


static ngx_centrifugo_queue_block_t  *queue_spare;
static ngx_uint_t                     queue_spares;
static size_t                         queue_bytes;


ngx_int_t
ngx_centrifugo_queue_push(ngx_centrifugo_queue_t *queue,
    ngx_centrifugo_frame_t *frame)
{
    size_t                         size;
    ngx_centrifugo_queue_block_t  *block;

    if (queue->last == NULL || queue->tail == QUEUE_FRAMES) {

        block = queue_spare;

        if (block) {
            queue_spare = block->next;
            queue_spares--;

        } else {
            block = malloc(sizeof(ngx_centrifugo_queue_block_t));
            if (block == NULL) {
                return NGX_ERROR;
            }
        }

        block->next = NULL;

        if (queue->last) {
            queue->last->next = block;

        } else {
            queue->first = block;
            queue->head = 0;
        }

        queue->last = block;
        queue->tail = 0;
    }

    queue->last->frames[queue->tail++] = frame;
    frame->refs++;

    size = ngx_centrifugo_frame_size(frame);
    queue->bytes += size;
    queue_bytes += size;

    return NGX_OK;
}


ngx_centrifugo_frame_t *
ngx_centrifugo_queue_first(ngx_centrifugo_queue_t *queue)
{
    return queue->first ? queue->first->frames[queue->head] : NULL;
}


ngx_uint_t
ngx_centrifugo_queue_single(ngx_centrifugo_queue_t *queue)
{
    return queue->first == queue->last && queue->head + 1 == queue->tail;
}


ngx_uint_t
ngx_centrifugo_queue_sent(ngx_centrifugo_queue_t *queue, size_t n)
{
    size_t                   left;
    ngx_uint_t               whole;
    ngx_centrifugo_frame_t  *frame;

    queue->bytes -= n;
    queue_bytes -= n;
    whole = 0;

    while (n) {
        frame = ngx_centrifugo_queue_first(queue);
        left = ngx_centrifugo_frame_size(frame) - queue->sent;

        if (n < left) {
            queue->sent += (uint32_t) n;
            break;
        }

        n -= left;
        whole++;
        queue_pop(queue);
    }

    return whole;
}


size_t
ngx_centrifugo_queue_gather(ngx_centrifugo_queue_t *queue, u_char *p,
    size_t size)
{
    size_t         n, total;
    ngx_uint_t     i, count;
    struct iovec   iovs[QUEUE_GATHER];

    n = 0;
    count = ngx_centrifugo_queue_iovs(queue, iovs, QUEUE_GATHER, &total);

    for (i = 0; i < count && n < size; i++) {
        total = ngx_min(iovs[i].iov_len, size - n);
        ngx_memcpy(p + n, iovs[i].iov_base, total);
        n += total;
    }

    return n;
}


ngx_uint_t
ngx_centrifugo_queue_iovs(ngx_centrifugo_queue_t *queue, struct iovec *iovs,
    ngx_uint_t n, size_t *total)
{
    size_t                         skip;
    ngx_uint_t                     i, k;
    ngx_centrifugo_frame_t        *frame;
    ngx_centrifugo_queue_block_t  *block;

    *total = 0;
    k = 0;
    skip = queue->sent;
    i = queue->head;

    for (block = queue->first; block; block = block->next) {

        for ( /* void */ ;
             i < (block == queue->last ? queue->tail : QUEUE_FRAMES);
             i++)
        {
            if (k == n) {
                return k;
            }

            frame = block->frames[i];

            iovs[k].iov_base = ngx_centrifugo_frame_start(frame) + skip;
            iovs[k].iov_len = ngx_centrifugo_frame_size(frame) - skip;
            *total += iovs[k].iov_len;

            k++;
            skip = 0;
        }

        i = 0;
    }

    return k;
}


void
ngx_centrifugo_queue_drop(ngx_centrifugo_queue_t *queue, ngx_uint_t keep)
{
    uint32_t                 sent;
    ngx_centrifugo_frame_t  *frame;

    frame = NULL;
    sent = queue->sent;

    if (keep && sent) {
        frame = ngx_centrifugo_queue_first(queue);
        frame->refs++;
    }

    while (queue->first) {
        queue_pop(queue);
    }

    queue_bytes -= queue->bytes;
    queue->bytes = 0;

    if (frame == NULL) {
        return;
    }

    /* the block that was freed last is there for it */

    if (ngx_centrifugo_queue_push(queue, frame) == NGX_OK) {
        queue->sent = sent;
        queue->bytes -= sent;
        queue_bytes -= sent;
    }

    ngx_centrifugo_frame_release(frame);
}


size_t
ngx_centrifugo_queue_bytes(void)
{
    return queue_bytes;
}


static void
queue_pop(ngx_centrifugo_queue_t *queue)
{
    ngx_centrifugo_queue_block_t  *block;

    block = queue->first;

    ngx_centrifugo_frame_release(block->frames[queue->head++]);
    queue->sent = 0;

    if (queue->head < (block == queue->last ? queue->tail : QUEUE_FRAMES)) {
        return;
    }

    queue->first = block->next;
    queue->head = 0;

    if (queue->first == NULL) {
        queue->last = NULL;
    }

    if (queue_spares < QUEUE_SPARE) {
        block->next = queue_spare;
        queue_spare = block;
        queue_spares++;
        return;
    }

    free(block);
}
