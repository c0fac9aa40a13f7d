/*
 * The layout of a hub's zone.
 */

#include "ngx_centrifugo_hub_shm.h"


#define ZONE_CONTROL_MIN  (512 * 1024)
#define ZONE_RECORD       512       /* bytes for each bucket */


static ngx_uint_t zone_power_of_two(uint64_t n, ngx_uint_t min,
    ngx_uint_t max);
static uint64_t zone_place(uint64_t *at, uint64_t size, uint64_t align);


ngx_centrifugo_hub_shm_t *
ngx_centrifugo_hub_format(void *mem, size_t size, size_t log, size_t control,
    ngx_uint_t slots, const u_char *seed)
{
    uint64_t                   at, room, log_at, control_at;
    ngx_uint_t                 i;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = mem;

    if (size < NGX_CENTRIFUGO_ZONE_MIN / 2) {
        return NULL;
    }

    ngx_memcpy(shm->seed, seed, sizeof(shm->seed));
    ngx_memcpy(shm->node, seed + sizeof(shm->seed), sizeof(shm->node));

    shm->size = size;
    shm->slots = slots;
    shm->mask_words = (slots + 63) / 64;
    shm->shards = zone_power_of_two(size / (1024 * 1024), 4,
                                    NGX_CENTRIFUGO_SHARDS_MAX);

    /* less than what a channel takes that has some history */

    shm->buckets = zone_power_of_two(size / ZONE_RECORD / shm->shards, 64,
                                     1024 * 1024);

    at = sizeof(ngx_centrifugo_hub_shm_t);

    shm->members_at = zone_place(&at, slots * sizeof(ngx_centrifugo_member_t),
                                 64);
    shm->shards_at = zone_place(&at,
                         shm->shards * sizeof(ngx_centrifugo_shard_t), 64);
    shm->buckets_at = zone_place(&at, (uint64_t) shm->shards * shm->buckets
                                      * sizeof(ngx_centrifugo_ref_t), 64);
    shm->owners_at = zone_place(&at, size / NGX_CENTRIFUGO_PAGE, 64);
    shm->bitmap_at = zone_place(&at, size / NGX_CENTRIFUGO_PAGE / 8 + 8, 64);
    log -= log % NGX_CENTRIFUGO_RING_UNIT;
    log_at = zone_place(&at, log, NGX_CENTRIFUGO_PAGE);
    control -= control % NGX_CENTRIFUGO_RING_UNIT;
    control_at = zone_place(&at, control, NGX_CENTRIFUGO_PAGE);
    shm->pages_at = zone_place(&at, 0, NGX_CENTRIFUGO_PAGE);

    if (at + NGX_CENTRIFUGO_PAGE > size) {
        return NULL;
    }

    room = size - at;
    shm->pages = (uint32_t) (room / NGX_CENTRIFUGO_PAGE);
    shm->page_words = (shm->pages + 63) / 64;

    shm->next_id = 1;
    shm->next_seq = 1;

    if (ngx_centrifugo_lock_init(&shm->pages_lock) != NGX_OK
        || ngx_centrifugo_ring_init(&shm->log, log_at, log) != NGX_OK
        || ngx_centrifugo_ring_init(&shm->control, control_at, control)
           != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < shm->shards; i++) {
        if (ngx_centrifugo_lock_init(&hub_shard(shm, i)->lock) != NGX_OK) {
            return NULL;
        }

        hub_shard(shm, i)->due_tick = (uint32_t) (ngx_current_msec
                                                  / NGX_CENTRIFUGO_DUE_TICK);
    }

    shm->struct_size = sizeof(ngx_centrifugo_hub_shm_t);
    shm->version = NGX_CENTRIFUGO_HUB_VERSION;
    shm->magic = NGX_CENTRIFUGO_HUB_MAGIC;

    return shm;
}


size_t
ngx_centrifugo_hub_log_size(ngx_centrifugo_hub_shm_t *shm)
{
    return shm->log.size;
}


size_t
ngx_centrifugo_hub_control_size(size_t log)
{
    return ngx_max(log / 16, ZONE_CONTROL_MIN);
}


void
ngx_centrifugo_hub_replace(ngx_centrifugo_hub_shm_t *shm)
{
    __atomic_store_n(&shm->replaced, 1, __ATOMIC_RELEASE);
}


ngx_uint_t
ngx_centrifugo_hub_replaced(ngx_centrifugo_hub_t *hub)
{
    return __atomic_load_n(&hub->shm->replaced, __ATOMIC_ACQUIRE);
}


ngx_uint_t
ngx_centrifugo_hub_slots(ngx_centrifugo_hub_shm_t *shm)
{
    return shm->slots;
}


static ngx_uint_t
zone_power_of_two(uint64_t n, ngx_uint_t min, ngx_uint_t max)
{
    ngx_uint_t  p;

    for (p = min; p * 2 <= n && p * 2 <= max; p *= 2) { /* void */ }

    return p;
}


static uint64_t
zone_place(uint64_t *at, uint64_t size, uint64_t align)
{
    uint64_t  place;

    place = (*at + align - 1) & ~(align - 1);
    *at = place + size;

    return place;
}
