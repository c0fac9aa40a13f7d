/*
 * What a worker does after a shard was wiped: it puts its own channels back.
 * Until its bit is gone from the shard's resync mask every publication there
 * is addressed to it by name, so nobody is deaf meanwhile.
 */

#include "ngx_centrifugo_hub_shm.h"


uint64_t
ngx_centrifugo_hub_resync_check(ngx_centrifugo_hub_t *hub)
{
    uint64_t                 bit;
    ngx_uint_t               i;
    ngx_centrifugo_shard_t  *shard;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return 0;
    }

    bit = 1ULL << (hub->slot % 64);

    for (i = 0; i < hub->shm->shards; i++) {
        shard = hub_shard(hub->shm, i);

        if (__atomic_load_n(&shard->generation, __ATOMIC_ACQUIRE)
            != hub->generation[i]
            || __atomic_load_n(&shard->resync[hub->slot / 64],
                               __ATOMIC_ACQUIRE) & bit)
        {
            hub->resync |= 1ULL << i;
        }
    }

    return hub->resync;
}


uint64_t
ngx_centrifugo_hub_resync_begin(ngx_centrifugo_hub_t *hub)
{
    ngx_uint_t  i;

    hub->walk = hub->resync;

    for (i = 0; i < hub->shm->shards; i++) {
        if (hub->walk & 1ULL << i) {
            hub->walk_generation[i] = __atomic_load_n(
                                          &hub_shard(hub->shm, i)->generation,
                                          __ATOMIC_ACQUIRE);
        }
    }

    /* after the generations: older entries have older ids */

    hub->walk_head = __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE);

    return __atomic_load_n(&hub->shm->next_id, __ATOMIC_ACQUIRE);
}


ngx_uint_t
ngx_centrifugo_hub_resync_ready(ngx_centrifugo_hub_t *hub)
{
    return !hub->reading
           && hub_member(hub->shm, hub->slot)->cursor >= hub->walk_head;
}


ngx_int_t
ngx_centrifugo_hub_resync_rejoin(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_join_t *join)
{
    uint64_t    hash;
    ngx_uint_t  n;

    hash = ngx_centrifugo_hash(hub->shm->seed, channel->data, channel->len);
    n = (ngx_uint_t) (hash & (hub->shm->shards - 1));

    if (!(hub->walk & 1ULL << n)) {
        return NGX_DECLINED;
    }

    NGX_CENTRIFUGO_POINT(RESYNC_WALK);

    return (ngx_centrifugo_hub_join(hub, channel, join, NULL, NULL) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_centrifugo_hub_resync_end(ngx_centrifugo_hub_t *hub)
{
    uint64_t                 bit;
    ngx_uint_t               i;
    ngx_centrifugo_shard_t  *shard;

    bit = 1ULL << (hub->slot % 64);

    for (i = 0; i < hub->shm->shards; i++) {

        if (!(hub->walk & 1ULL << i)
            || ngx_centrifugo_shard_lock(hub, i) != NGX_OK)
        {
            continue;
        }

        shard = hub_shard(hub->shm, i);

        if (shard->generation == hub->walk_generation[i]) {
            intent_store(&shard->resync[hub->slot / 64],
                         shard->resync[hub->slot / 64] & ~bit);
            NGX_CENTRIFUGO_POINT(RESYNC_END);

            hub->generation[i] = shard->generation;
            hub->resync &= ~(1ULL << i);
        }

        ngx_centrifugo_shard_unlock(hub, i);
    }

    hub->walk = 0;

    return hub->resync ? NGX_AGAIN : NGX_OK;
}


#if (NGX_CENTRIFUGO_TEST)

void
ngx_centrifugo_hub_test_wipe(ngx_centrifugo_hub_t *hub, ngx_uint_t shard)
{
    ngx_uint_t  i;

    for (i = 0; i < hub->shm->shards; i++) {

        if ((shard == NGX_CENTRIFUGO_TO_ALL || shard == i)
            && ngx_centrifugo_shard_lock(hub, i) == NGX_OK)
        {
            ngx_centrifugo_shard_wipe(hub, i);
            ngx_centrifugo_shard_unlock(hub, i);
        }
    }
}

#endif
