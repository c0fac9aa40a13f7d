/*
 * Rings that all workers append to under a lock and read without one.  Nothing
 * in a ring is trusted; the order of the words here is what readers rely on.
 */

#include "ngx_centrifugo_hub_shm.h"


#define RING_SPIN  200

#define ring_byte(shm, ring, pos)                                            \
    ((u_char *) hub_at(shm, (ring)->at) + (pos) % (ring)->size)


/*
 * ThreadSanitizer knows no fences.  Its build copies by relaxed atomic bytes,
 * so that nothing but the head's release and acquire orders what is read, and
 * moves and reads the tail by operations that stand in for the fences: a
 * reader that still finds the old tail releases to whoever moves it.
 */

#if (NGX_CENTRIFUGO_TSAN)

static void
ring_bytes_in(u_char *dst, const u_char *src, size_t n)
{
    while (n--) {
        __atomic_store_n(dst++, *src++, __ATOMIC_RELAXED);
    }
}


static void
ring_bytes_out(u_char *dst, u_char *src, size_t n)
{
    while (n--) {
        *dst++ = __atomic_load_n(src++, __ATOMIC_RELAXED);
    }
}

#define ring_fence(order)
#define ring_tail_store(ring, pos)                                           \
    (void) __atomic_exchange_n(&(ring)->tail, pos, __ATOMIC_ACQUIRE)
#define ring_tail_load(ring)                                                 \
    __atomic_fetch_add(&(ring)->tail, 0, __ATOMIC_RELEASE)

#else

#define ring_bytes_in(dst, src, n)   ngx_memcpy(dst, src, n)
#define ring_bytes_out(dst, src, n)  ngx_memcpy(dst, src, n)
#define ring_fence(order)            __atomic_thread_fence(order)
#define ring_tail_store(ring, pos)                                           \
    __atomic_store_n(&(ring)->tail, pos, __ATOMIC_RELAXED)
#define ring_tail_load(ring)                                                 \
    __atomic_load_n(&(ring)->tail, __ATOMIC_RELAXED)

#endif


ngx_int_t
ngx_centrifugo_ring_init(ngx_centrifugo_ring_t *ring, uint64_t at,
    uint64_t size)
{
    ring->at = at;
    ring->size = size;

    /* positions start at the ring's size, so that 0 means never */

    ring->head = size;

    return ngx_centrifugo_lock_init(&ring->lock);
}


ngx_int_t
ngx_centrifugo_ring_lock(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_lock_take(&ring->lock, RING_SPIN);
    NGX_CENTRIFUGO_POINT(RING_LOCKED);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    ring->repairs++;

    if (ring->lx_by && ring->lx_by <= shm->shards
        && ring->head == ring->lx_head)
    {
        intent_store(&hub_shard(shm, ring->lx_by - 1)->intent.logged, 1);
    }

    intent_store(&ring->lx_by, 0);

    return NGX_OK;
}


void
ngx_centrifugo_ring_place(ngx_centrifugo_ring_t *ring, size_t len,
    ngx_centrifugo_place_t *place)
{
    uint64_t  left;

    len = ngx_align(len, NGX_CENTRIFUGO_RING_UNIT);
    left = ring->size - ring->head % ring->size;

    place->start = ring->head;
    place->pos = (left < len) ? ring->head + left : ring->head;
    place->end = place->pos + len;
}


void
ngx_centrifugo_ring_give_up(ngx_centrifugo_ring_t *ring, uint64_t pos)
{
    ring_tail_store(ring, pos);
}


void
ngx_centrifugo_ring_open(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, ngx_centrifugo_place_t *place, ngx_uint_t by)
{
    ngx_centrifugo_ring_header_t  pad;

    ring->lx_head = place->end;
    intent_store(&ring->lx_by, (uint32_t) by);

    /* what is about to be overwritten is given up first */

    if (place->end > ring->size + ngx_centrifugo_ring_tail(ring)) {
        ngx_centrifugo_ring_give_up(ring, place->end - ring->size);
    }

    ring_fence(__ATOMIC_SEQ_CST);
    NGX_CENTRIFUGO_POINT(RING_TAIL);

    if (place->pos != place->start) {
        pad.pos = place->start;
        pad.length = (uint32_t) (place->pos - place->start);
        pad.type = NGX_CENTRIFUGO_RING_PAD;
        pad.flags = 0;
        ring_bytes_in(ring_byte(shm, ring, place->start), (u_char *) &pad,
                      sizeof(pad));
    }
}


void
ngx_centrifugo_ring_write(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t at, const void *src, size_t len)
{
    if (len) {
        ring_bytes_in(ring_byte(shm, ring, at), src, len);
    }
}


void
ngx_centrifugo_ring_commit(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, ngx_centrifugo_place_t *place, ngx_uint_t by)
{
    NGX_CENTRIFUGO_POINT(RING_WRITTEN);
    __atomic_store_n(&ring->head, place->end, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    NGX_CENTRIFUGO_POINT(RING_COMMIT);

    if (by) {
        intent_store(&hub_shard(shm, by - 1)->intent.logged, 1);
        NGX_CENTRIFUGO_POINT(RING_LOGGED);
    }

    intent_store(&ring->lx_by, 0);
}


ngx_int_t
ngx_centrifugo_ring_copy(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t pos, uint64_t at, void *dst,
    size_t len)
{
    if (len) {
        ring_bytes_out(dst, ring_byte(shm, ring, at), len);
    }

    NGX_CENTRIFUGO_POINT(RING_COPIED);
    ring_fence(__ATOMIC_ACQUIRE);

    return (ring_tail_load(ring) > pos) ? NGX_DECLINED : NGX_OK;
}


ngx_int_t
ngx_centrifugo_ring_header(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t pos, uint64_t head, void *dst,
    size_t size)
{
    uint64_t                       left;
    ngx_centrifugo_ring_header_t  *h;

    left = ring->size - pos % ring->size;

    ngx_memzero(dst, size);

    if (ngx_centrifugo_ring_copy(shm, ring, pos, pos, dst,
                                 ngx_min(size, left))
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    h = dst;

    if (h->pos != pos || h->length == 0
        || h->length % NGX_CENTRIFUGO_RING_UNIT != 0
        || h->length > left || h->length > head - pos)
    {
        return NGX_ERROR;
    }

    return (h->type == NGX_CENTRIFUGO_RING_PAD || h->length >= size)
           ? NGX_OK : NGX_ERROR;
}
