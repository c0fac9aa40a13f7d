/*
 * What a worker that is gone has left in a hub is taken out by another: its
 * bits in channels, its clients' presence, its tallies.  Whoever dies of it
 * leaves the rest to the next.
 */

#include "ngx_centrifugo_hub_shm.h"


#define REAP_ITEMS  256         /* looked at in one section */
#define REAP_PARTS  16          /* sections of one call */


static ngx_uint_t reap_part(ngx_centrifugo_hub_t *hub, ngx_uint_t slot,
    uint64_t *cursor);
static ngx_int_t reap_bucket(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_uint_t bucket, ngx_uint_t slot, ngx_uint_t *items);
static ngx_int_t reap_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t slot);


ngx_int_t
ngx_centrifugo_hub_reap(ngx_centrifugo_hub_t *hub, ngx_uint_t slot,
    uint64_t *cursor)
{
    ngx_uint_t                 i, parts;
    ngx_centrifugo_hub_shm_t  *shm;
    ngx_centrifugo_member_t   *m;

    shm = hub->shm;

    if (slot >= shm->slots) {
        return NGX_OK;
    }

    if (*cursor == 0) {

        /* before any shard: a wipe asks nothing of it from here on */

        ngx_centrifugo_control_leave(hub, slot);
    }

    for (parts = 0; *cursor < (uint64_t) shm->shards * shm->buckets; parts++) {

        if (parts == REAP_PARTS || reap_part(hub, slot, cursor)) {
            return NGX_AGAIN;
        }
    }

    m = hub_member(shm, slot);

    for (i = 0; i < NGX_CENTRIFUGO_GAUGE_COUNT; i++) {
        __atomic_store_n(&m->counters[i], 0, __ATOMIC_RELAXED);
    }

    NGX_CENTRIFUGO_POINT(REAP_DONE);

    return NGX_OK;
}


/*
 * One section of it: many items, or one entry of presence, as its leave goes
 * into the log.  Returns 1 when it has done enough for one call.
 */

static ngx_uint_t
reap_part(ngx_centrifugo_hub_t *hub, ngx_uint_t slot, uint64_t *cursor)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n, items, bucket;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    n = (ngx_uint_t) (*cursor / shm->buckets);
    bucket = (ngx_uint_t) (*cursor % shm->buckets);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {

        /* a damaged shard is passed over */

        *cursor = (uint64_t) (n + 1) * shm->buckets;
        return 1;
    }

    rc = NGX_OK;
    items = 0;

    while (bucket < shm->buckets && items < REAP_ITEMS) {
        items++;
        rc = reap_bucket(hub, n, bucket, slot, &items);

        if (rc == NGX_AGAIN) {
            break;
        }

        if (rc == NGX_ERROR) {

            /* a wiped one is passed over, too: nothing is in it */

            bucket = shm->buckets;
            break;
        }

        bucket++;
    }

    if (bucket == shm->buckets) {
        shard = hub_shard(shm, n);
        intent_store(&shard->resync[slot / 64],
                     shard->resync[slot / 64] & ~(1ULL << (slot % 64)));
    }

    NGX_CENTRIFUGO_POINT(REAP_SHARD);
    ngx_centrifugo_shard_unlock(hub, n);

    *cursor = (uint64_t) n * shm->buckets + bucket;

    return rc != NGX_AGAIN;
}


/*
 * Takes out what belongs to `slot` in one bucket, but at most one entry of
 * presence.  NGX_OK: nothing of it is left there; NGX_AGAIN: to be called
 * again, in a section of its own; NGX_ERROR: the shard is damaged.
 */

static ngx_int_t
reap_bucket(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_uint_t bucket, ngx_uint_t slot, ngx_uint_t *items)
{
    size_t                     room;
    uint64_t                   left;
    uint32_t                   generation;
    ngx_int_t                  rc;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->counts.records;
    generation = hub_shard(shm, n)->generation;

    for (ref = *hub_bucket(shm, n, bucket); ref; (*items)++) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        if (item == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_ERROR;
        }

        ref = item->next;

        rc = reap_item(hub, n, item, slot);

        if (hub_shard(shm, n)->generation != generation) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/*
 * Only an entry of presence may take another record with it, its channel: so
 * NGX_AGAIN, as the bucket may have changed.
 */

static ngx_int_t
reap_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t slot)
{
    ngx_time_t                *tp;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_tally_t    *tally;
    ngx_centrifugo_entrant_t  *entrant;

    switch (item->type) {

    case NGX_CENTRIFUGO_ITEM_CHANNEL:
        rec = (ngx_centrifugo_record_t *) item;

        if (rec->mask[slot / 64] & 1ULL << (slot % 64)) {
            ngx_centrifugo_shard_clear(hub, n, rec, slot);
        }

        return NGX_OK;

    case NGX_CENTRIFUGO_ITEM_TALLY:
        tally = (ngx_centrifugo_tally_t *) item;

        if (tally->slot == slot) {
            ngx_centrifugo_tally_remove(hub, n, tally);
        }

        return NGX_OK;

    case NGX_CENTRIFUGO_ITEM_PRESENCE:
        entrant = (ngx_centrifugo_entrant_t *) item;

        if (entrant->slot != slot) {
            return NGX_OK;
        }

        tp = ngx_timeofday();

        return (ngx_centrifugo_presence_leave(hub, n, entrant,
                                        (uint64_t) tp->sec * 1000 + tp->msec)
                == NGX_OK)
               ? NGX_AGAIN : NGX_ERROR;

    case NGX_CENTRIFUGO_ITEM_RESULT:

        /* nobody's */

        return NGX_OK;

    default:
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }
}
