/*
 * What a worker does with a hub: join, leave, count.
 */

#include "ngx_centrifugo_hub_shm.h"

#include <sys/random.h>


/* is read without lock */

#define hub_figure(v)  __atomic_load_n(&(v), __ATOMIC_RELAXED)


static ngx_uint_t hub_locate(ngx_centrifugo_hub_shm_t *shm,
    const ngx_str_t *channel, uint64_t *hash);
static ngx_int_t hub_enter_channel(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *channel, ngx_centrifugo_join_t *join,
    ngx_centrifugo_record_t **record);
static void hub_lock_stat(ngx_centrifugo_hub_stat_t *stat, ngx_uint_t n,
    ngx_centrifugo_lock_t *lock);
static uint32_t hub_id_key(ngx_centrifugo_hub_shm_t *shm, const u_char *id);


void
ngx_centrifugo_hub_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t slot)
{
    ngx_uint_t                i;
    ngx_centrifugo_member_t  *m;

    m = hub_member(hub->shm, slot);

    /* it has no channels yet: what was wiped before does not concern it */

    for (i = 0; i < hub->shm->shards; i++) {
        hub->generation[i] = __atomic_load_n(
                                          &hub_shard(hub->shm, i)->generation,
                                          __ATOMIC_ACQUIRE);
    }

    hub->resync = 0;
    hub->walk = 0;

    __atomic_store_n(&m->cursor,
                     __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);

    for (i = 0; i < NGX_CENTRIFUGO_GAUGE_COUNT; i++) {
        __atomic_store_n(&m->counters[i], 0, __ATOMIC_RELAXED);
    }

    hub->slot = slot;
    hub->reading = 0;
    ngx_memzero(hub->ring, sizeof(hub->ring));

    ngx_centrifugo_control_enter(hub, slot);
    NGX_CENTRIFUGO_POINT(CLAIM_ENTERED);
}


void
ngx_centrifugo_hub_exit(ngx_centrifugo_hub_t *hub)
{
    free(hub->scratch);
    free(hub->control_data);

    hub->scratch = NULL;
    hub->scratch_size = 0;
    hub->control_data = NULL;
    hub->control_size = 0;
}


ngx_uint_t
ngx_centrifugo_hub_wake(ngx_centrifugo_hub_t *hub)
{
    uint64_t    bits;
    ngx_uint_t  i, n, own;

    own = 0;

    for (i = 0; i < hub->shm->mask_words; i++) {

        for (bits = hub->ring[i]; bits; bits &= bits - 1) {
            n = i * 64 + __builtin_ctzll(bits);

            if (n == hub->slot) {
                own = 1;
                continue;
            }

            ngx_centrifugo_registry_ring(hub->registry, n);
            ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_WAKES, 1);
        }

        hub->ring[i] = 0;
    }

    return own;
}


ngx_int_t
ngx_centrifugo_hub_join(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel,
    ngx_centrifugo_join_t *join, ngx_centrifugo_history_t *h, ngx_int_t *read)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n, tries;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT
        || channel->len > NGX_CENTRIFUGO_NAME_MAX)
    {
        return NGX_ERROR;
    }

    shm = hub->shm;
    n = hub_locate(shm, channel, &hash);
    tries = 0;

    ngx_memzero(&join->position, sizeof(ngx_centrifugo_position_t));

    for ( ;; ) {

        if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = hub_enter_channel(hub, n, hash, channel, join, &rec);

        if (rc == NGX_OK) {
            join->channel = rec->id;
            join->pos = __atomic_load_n(&shm->log.head, __ATOMIC_ACQUIRE);

            if (h != NULL) {
                *read = ngx_centrifugo_history_read(hub, n, rec, h);
            }
        }

        if (ngx_centrifugo_shard_settle(shm, n) != NGX_OK) {
            ngx_centrifugo_shard_wipe(hub, n);
            rc = NGX_AGAIN;
        }

        ngx_centrifugo_shard_unlock(hub, n);

        if (rc == NGX_DECLINED && tries++ < NGX_CENTRIFUGO_EVICT_TRIES
            && ngx_centrifugo_evict(hub, n, channel->len
                                            + sizeof(ngx_centrifugo_record_t)
                                            + sizeof(ngx_centrifugo_stream_t))
               == NGX_OK)
        {
            continue;
        }

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }
}


/*
 * The record with this worker's bit, and the position in join; the bit comes
 * last, so nothing has to be undone.  NGX_DECLINED: no page is left; NGX_AGAIN:
 * to be called again, in a section of its own.
 */

static ngx_int_t
hub_enter_channel(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_str_t *channel, ngx_centrifugo_join_t *join,
    ngx_centrifugo_record_t **record)
{
    uint32_t                  generation;
    uint64_t                  meta_expire;
    ngx_int_t                 rc;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    shard = hub_shard(hub->shm, n);
    generation = shard->generation;

    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);
    rc = ngx_centrifugo_stream_current(hub, n, rec, &stream);

    if (rc == NGX_DECLINED) {
        rec = NULL;

    } else if (rc != NGX_OK) {
        return NGX_AGAIN;
    }

    if (rec == NULL) {
        rec = ngx_centrifugo_shard_create(hub, n, hash, channel,
                                          join->meta_ttl == 0);
    }

    if (rec != NULL && join->meta_ttl && stream == NULL
        && shard->generation == generation)
    {
        stream = ngx_centrifugo_stream_make(hub, n, rec, join->meta_ttl);

        if (stream == NULL) {
            rec = NULL;
        }
    }

    if (shard->generation != generation) {
        return NGX_AGAIN;
    }

    if (rec == NULL) {
        return NGX_DECLINED;
    }

    if (join->meta_ttl) {
        join->position.offset = stream->state.top;
        join->position.epoch = stream->epoch;

        meta_expire = ngx_current_msec + join->meta_ttl;

        if (stream->state.meta_expire < meta_expire) {
            intent_store(&stream->state.meta_expire, meta_expire);
        }
    }

    intent_store(&rec->mask[hub->slot / 64],
                 rec->mask[hub->slot / 64] | 1ULL << (hub->slot % 64));
    NGX_CENTRIFUGO_POINT(MASK_SET);

    *record = rec;

    return NGX_OK;
}


void
ngx_centrifugo_hub_leave(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel)
{
    uint64_t                   hash;
    ngx_uint_t                 n;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return;
    }

    shm = hub->shm;
    n = hub_locate(shm, channel, &hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return;
    }

    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);

    if (rec != NULL) {
        ngx_centrifugo_shard_clear(hub, n, rec, hub->slot);
    }

    ngx_centrifugo_shard_unlock(hub, n);
}


void
ngx_centrifugo_hub_add(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter, int64_t n)
{
    uint64_t  *p;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return;
    }

    p = &hub_member(hub->shm, hub->slot)->counters[counter];

    __atomic_store_n(p, *p + n, __ATOMIC_RELAXED);
}


ngx_int_t
ngx_centrifugo_hub_take(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e gauge, uint64_t limit)
{
    ngx_centrifugo_hub_add(hub, gauge, 1);

    if (limit == 0) {
        return NGX_OK;
    }

    /* of two at the last place, who has the later ticket sees the other */

    (void) ngx_centrifugo_hub_ticket(hub);

    if (ngx_centrifugo_hub_sum(hub, gauge) <= limit) {
        return NGX_OK;
    }

    ngx_centrifugo_hub_add(hub, gauge, -1);

    return NGX_DECLINED;
}


uint64_t
ngx_centrifugo_hub_ticket(ngx_centrifugo_hub_t *hub)
{
    return __atomic_add_fetch(&hub->shm->ticket, 1, __ATOMIC_SEQ_CST);
}


ngx_int_t
ngx_centrifugo_hub_rate(ngx_centrifugo_hub_t *hub, ngx_uint_t limit)
{
    uint64_t  now, full, next;

    now = (uint64_t) ngx_current_msec * 1000;
    full = __atomic_load_n(&hub->shm->rate, __ATOMIC_RELAXED);

    do {
        next = ngx_max(full, now) + 1000000 / limit;

        if (next > now + 1000000) {
            return NGX_DECLINED;
        }

    } while (!__atomic_compare_exchange_n(&hub->shm->rate, &full, next, 0,
                                          __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));

    return NGX_OK;
}


void
ngx_centrifugo_hub_set(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e gauge, uint64_t n)
{
    if (hub->slot != NGX_CENTRIFUGO_NO_SLOT) {
        __atomic_store_n(&hub_member(hub->shm, hub->slot)->counters[gauge], n,
                         __ATOMIC_RELAXED);
    }
}


uint64_t
ngx_centrifugo_hub_sum(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter)
{
    uint64_t    sum;
    ngx_uint_t  i;

    sum = 0;

    for (i = 0; i < hub->shm->slots; i++) {
        sum += __atomic_load_n(&hub_member(hub->shm, i)->counters[counter],
                               __ATOMIC_RELAXED);
    }

    return sum;
}


void
ngx_centrifugo_hub_stat(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_hub_stat_t *stat)
{
    uint64_t                   items, bytes[2];
    ngx_uint_t                 i, k;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    bytes[0] = 0;
    bytes[1] = 0;

    ngx_memzero(stat, sizeof(ngx_centrifugo_hub_stat_t));

    stat->zone = shm->size;
    stat->log = shm->log.size;
    stat->control = shm->control.size;
    stat->tables = shm->size - shm->log.size - shm->control.size
                   - (size_t) shm->pages * NGX_CENTRIFUGO_PAGE;
    stat->shards = shm->shards;
    stat->slots = shm->slots;
    stat->pages = shm->pages;
    stat->pages_free = hub_pages_left(shm);
    stat->head = __atomic_load_n(&shm->log.head, __ATOMIC_RELAXED)
                 - shm->log.size;
    stat->tail = __atomic_load_n(&shm->log.tail, __ATOMIC_RELAXED);
    stat->control_head = __atomic_load_n(&shm->control.head, __ATOMIC_RELAXED)
                         - shm->control.size;
    stat->control_tail = __atomic_load_n(&shm->control.tail,
                                         __ATOMIC_RELAXED);
    stat->repairs[1] = shm->pages_repairs;
    stat->repairs[2] = shm->log.repairs;
    stat->repairs[3] = shm->control.repairs;

    for (i = 0; i < shm->shards; i++) {
        shard = hub_shard(shm, i);

        stat->channels += hub_figure(shard->counts.channels);
        stat->presence += hub_figure(shard->counts.presence);
        stat->users += hub_figure(shard->counts.users);
        stat->streams += hub_figure(shard->counts.streams);
        stat->publications += hub_figure(shard->counts.publications);
        stat->history_bytes += hub_figure(shard->counts.history);
        stat->results += hub_figure(shard->counts.results);
        stat->repairs[0] += shard->repairs;
        stat->wipes += shard->wipes;

        for (k = 0; k < NGX_CENTRIFUGO_CLASSES; k++) {
            items = hub_figure(shard->used[k]);
            bytes[ngx_centrifugo_kind(k) != NGX_CENTRIFUGO_KIND_RECORDS]
                += items * ngx_centrifugo_page_class_size(k);
        }

        for (k = 0; k < 4; k++) {
            stat->evicted[k] += hub_figure(shard->evicted[k]);
        }

        for (k = 0; k < 3; k++) {
            stat->expired[k] += hub_figure(shard->expired[k]);
        }

        for (k = 0; k < shm->mask_words; k++) {
            stat->resync += __builtin_popcountll(
                                __atomic_load_n(&shard->resync[k],
                                                __ATOMIC_RELAXED));
        }

        hub_lock_stat(stat, 0, &shard->lock);
    }

    stat->channel_bytes = bytes[0];
    stat->item_bytes = bytes[1];

    hub_lock_stat(stat, 1, &shm->pages_lock);
    hub_lock_stat(stat, 2, &shm->log.lock);
    hub_lock_stat(stat, 3, &shm->control.lock);
}


static void
hub_lock_stat(ngx_centrifugo_hub_stat_t *stat, ngx_uint_t n,
    ngx_centrifugo_lock_t *lock)
{
    uint64_t  longest;

    longest = __atomic_load_n(&lock->longest_ns, __ATOMIC_RELAXED);

    stat->locks[n].takes += __atomic_load_n(&lock->takes, __ATOMIC_RELAXED);
    stat->locks[n].contended += __atomic_load_n(&lock->contended,
                                                __ATOMIC_RELAXED);
    stat->locks[n].wait_ns += __atomic_load_n(&lock->wait_ns,
                                              __ATOMIC_RELAXED);

    if (stat->locks[n].longest_ns < longest) {
        stat->locks[n].longest_ns = longest;
    }
}


/*
 * UUID v4: 122 bits.  The first four bytes are slot (10 bits) and generation
 * (22 bits), permuted by a key made of the zone's seed and the other bytes.
 */

ngx_int_t
ngx_centrifugo_hub_make_id(ngx_centrifugo_hub_t *hub, u_char *id)
{
    uint32_t  owner;

    if (getrandom(id, 16, 0) != 16) {
        return NGX_ERROR;
    }

    id[6] = (u_char) ((id[6] & 0x0f) | 0x40);
    id[8] = (u_char) ((id[8] & 0x3f) | 0x80);

    owner = (uint32_t) (hub->slot % NGX_CENTRIFUGO_SLOTS) << 22
            | (hub->registry->slots[hub->slot].generation
               & NGX_CENTRIFUGO_ID_GENERATION);
    owner ^= hub_id_key(hub->shm, id);

    ngx_memcpy(id, &owner, sizeof(uint32_t));

    return NGX_OK;
}


void
ngx_centrifugo_hub_node(ngx_centrifugo_hub_t *hub, u_char *uuid16)
{
    ngx_memcpy(uuid16, hub->shm->node, 16);

    uuid16[6] = (u_char) ((uuid16[6] & 0x0f) | 0x40);
    uuid16[8] = (u_char) ((uuid16[8] & 0x3f) | 0x80);
}


void
ngx_centrifugo_hub_id_owner(ngx_centrifugo_hub_t *hub, const u_char *id,
    ngx_uint_t *slot, uint32_t *generation)
{
    uint32_t  owner;

    ngx_memcpy(&owner, id, sizeof(uint32_t));
    owner ^= hub_id_key(hub->shm, id);

    *slot = owner >> 22;
    *generation = owner & NGX_CENTRIFUGO_ID_GENERATION;
}


static uint32_t
hub_id_key(ngx_centrifugo_hub_shm_t *shm, const u_char *id)
{
    return (uint32_t) ngx_centrifugo_hash(shm->seed, id + 4, 12);
}


static ngx_uint_t
hub_locate(ngx_centrifugo_hub_shm_t *shm, const ngx_str_t *channel,
    uint64_t *hash)
{
    *hash = ngx_centrifugo_hash(shm->seed, channel->data, channel->len);

    return hub_shard_of(shm, *hash);
}
