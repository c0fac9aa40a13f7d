/*
 * How many clients of a user or an address each worker has: a record for each
 * key and worker, all of a key in one bucket.  Counts are absolute and only
 * the worker itself sets its own, so that nothing has to be undone.
 */

#include "ngx_centrifugo_hub_shm.h"


static ngx_int_t tally_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, ngx_uint_t kind, const ngx_str_t *key, ngx_uint_t slot,
    ngx_centrifugo_tally_t **own, uint64_t *others, uint64_t *mask);
static ngx_int_t tally_store(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, ngx_uint_t kind, const ngx_str_t *key, uint32_t count,
    uint32_t limit);
static uint64_t tally_hash(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t kind,
    const ngx_str_t *key);


ngx_int_t
ngx_centrifugo_hub_tally_set(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count,
    uint32_t limit)
{
    uint64_t    hash;
    ngx_int_t   rc;
    ngx_uint_t  n, tries;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT
        || key->len > NGX_CENTRIFUGO_NAME_MAX)
    {
        return NGX_ERROR;
    }

    hash = tally_hash(hub->shm, kind, key);
    n = hub_shard_of(hub->shm, hash);
    tries = 0;

    do {
        if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = tally_store(hub, n, hash, kind, key, count, limit);

        ngx_centrifugo_shard_unlock(hub, n);

    } while (rc == NGX_BUSY && tries++ < NGX_CENTRIFUGO_EVICT_TRIES
             && ngx_centrifugo_evict(hub, n, sizeof(ngx_centrifugo_tally_t)
                                             + key->len)
                == NGX_OK);

    return rc;
}


static ngx_int_t
tally_store(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    ngx_uint_t kind, const ngx_str_t *key, uint32_t count, uint32_t limit)
{
    uint64_t                  others, mask[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_int_t                 rc;
    ngx_centrifugo_item_t    *item;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_tally_t   *tally;

    if (tally_find(hub, n, hash, kind, key, hub->slot, &tally, &others, mask)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (limit && others + count > limit) {
        return NGX_DECLINED;
    }

    if (count == 0) {

        if (tally != NULL) {
            ngx_centrifugo_tally_remove(hub, n, tally);
        }

        return NGX_OK;
    }

    if (tally != NULL) {
        intent_store(&tally->count, count);
        NGX_CENTRIFUGO_POINT(TALLY_SET);
        return NGX_OK;
    }

    rc = ngx_centrifugo_shard_take(hub, n,
                                   sizeof(ngx_centrifugo_tally_t) + key->len,
                                   NGX_CENTRIFUGO_ITEM_TALLY, &item);
    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_BUSY : NGX_ERROR;
    }

    tally = (ngx_centrifugo_tally_t *) item;

    item->len = (uint16_t) key->len;
    tally->count = count;
    tally->slot = (uint16_t) hub->slot;
    tally->kind = (uint16_t) kind;
    ngx_memcpy(tally->key, key->data, key->len);

    shard = hub_shard(hub->shm, n);
    shard->intent.counts = shard->counts;

    if (kind == NGX_CENTRIFUGO_TALLY_USER && others == 0) {
        shard->intent.counts.users++;
    }

    NGX_CENTRIFUGO_POINT(TALLY_NEW);
    ngx_centrifugo_shard_link(hub, n, item, hash);

    return NGX_OK;
}


void
ngx_centrifugo_tally_remove(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_tally_t *tally)
{
    uint64_t                  hash, others, mask[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_str_t                 key;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_tally_t   *own;

    shard = hub_shard(hub->shm, n);

    if (ngx_centrifugo_shard_item(hub->shm, hub_ref(hub->shm, tally),
                                  NGX_CENTRIFUGO_ITEM_TALLY)
        == NULL)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return;
    }

    key.data = tally->key;
    key.len = tally->item.len;
    hash = tally_hash(hub->shm, tally->kind, &key);

    if (tally_find(hub, n, hash, tally->kind, &key, tally->slot, &own,
                   &others, mask)
        != NGX_OK)
    {
        return;
    }

    shard->intent.counts = shard->counts;

    if (tally->kind == NGX_CENTRIFUGO_TALLY_USER && others == 0) {
        shard->intent.counts.users--;
    }

    NGX_CENTRIFUGO_POINT(TALLY_REMOVE);
    ngx_centrifugo_shard_unlink(hub, n, &tally->item, hash);
}


/*
 * The record of `slot` (NULL: none), the sum of all others, and the slots of
 * all, within the shard's lock.  NGX_ERROR: the shard was wiped.
 */

static ngx_int_t
tally_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    ngx_uint_t kind, const ngx_str_t *key, ngx_uint_t slot,
    ngx_centrifugo_tally_t **own, uint64_t *others, uint64_t *mask)
{
    size_t                     room;
    uint64_t                   left;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_tally_t    *tally;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->counts.records;
    ref = *hub_bucket(shm, n, hub_bucket_of(shm, hash));

    ngx_memzero(mask, NGX_CENTRIFUGO_MASK_WORDS * sizeof(uint64_t));
    *own = NULL;
    *others = 0;

    for ( /* void */ ; ref; ref = item->next) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        if (item == NULL || left-- == 0) {
            goto damaged;
        }

        if (item->hash != (uint32_t) hash || item->len != key->len
            || item->type != NGX_CENTRIFUGO_ITEM_TALLY)
        {
            continue;
        }

        tally = ngx_centrifugo_shard_item(shm, ref,
                                          NGX_CENTRIFUGO_ITEM_TALLY);

        if (tally == NULL || tally->slot >= shm->slots) {
            goto damaged;
        }

        /* an absent name has no address that memcmp() may see */

        if (tally->kind != kind
            || (key->len && ngx_memcmp(tally->key, key->data, key->len) != 0))
        {
            continue;
        }

        mask[tally->slot / 64] |= 1ULL << (tally->slot % 64);

        if (tally->slot == slot) {
            *own = tally;

        } else {
            *others += tally->count;
        }
    }

    return NGX_OK;

damaged:

    ngx_centrifugo_shard_wipe(hub, n);

    return NGX_ERROR;
}


void
ngx_centrifugo_hub_tally_slots(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint64_t *mask)
{
    uint64_t                 hash, others;
    ngx_int_t                rc;
    ngx_uint_t               i, n;
    ngx_centrifugo_shard_t  *shard;
    ngx_centrifugo_tally_t  *own;

    hash = tally_hash(hub->shm, kind, key);
    n = hub_shard_of(hub->shm, hash);
    shard = hub_shard(hub->shm, n);

    rc = ngx_centrifugo_shard_lock(hub, n);

    if (rc == NGX_OK) {
        rc = tally_find(hub, n, hash, kind, key, NGX_CENTRIFUGO_NO_SLOT, &own,
                        &others, mask);

        /* who has not put back what a wipe took may have some */

        for (i = 0; i < hub->shm->mask_words; i++) {
            mask[i] |= shard->resync[i];
        }

        ngx_centrifugo_shard_unlock(hub, n);
    }

    if (rc != NGX_OK) {
        ngx_centrifugo_hub_members(hub, mask);
    }
}


ngx_int_t
ngx_centrifugo_hub_resync_tally(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count)
{
    ngx_uint_t  n;

    n = hub_shard_of(hub->shm, tally_hash(hub->shm, kind, key));

    if (!(hub->walk & 1ULL << n)) {
        return NGX_DECLINED;
    }

    return (ngx_centrifugo_hub_tally_set(hub, kind, key, count, 0) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


/* each kind has a key of its own: the same bytes are something else */

static uint64_t
tally_hash(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t kind,
    const ngx_str_t *key)
{
    uint64_t  seed[2];

    seed[0] = shm->seed[0] ^ (kind + 1);
    seed[1] = shm->seed[1];

    return ngx_centrifugo_hash(seed, key->data, key->len);
}
