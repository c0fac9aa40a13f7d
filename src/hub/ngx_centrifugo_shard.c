/*
 * Shards: tables of channel records, and the intent that lets a survivor
 * finish or undo what a killed worker began.  Every step of a repair may
 * itself be cut off and done again.  What can't be repaired is wiped.
 */

#include "ngx_centrifugo_hub_shm.h"


static ngx_int_t shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_centrifugo_record_t *shard_record(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, ngx_str_t *name);


#define shard_ref(shm, p)                                                    \
    ((ngx_centrifugo_ref_t) (((u_char *) (p) - (u_char *) (shm)) / 16))


ngx_int_t
ngx_centrifugo_shard_lock(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    ngx_int_t                  rc;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);

    rc = ngx_centrifugo_lock_take(&shard->lock, 0);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        shard->repairs++;

        if (shard_repair(shm, n) != NGX_OK) {
            ngx_centrifugo_shard_wipe(hub, n);
        }
    }

    NGX_CENTRIFUGO_POINT(SHARD_LOCKED);

    if (shard->generation != hub->generation[n]) {
        hub->resync |= 1ULL << n;
    }

    return NGX_OK;
}


void
ngx_centrifugo_shard_unlock(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    ngx_centrifugo_lock_release(&hub_shard(hub->shm, n)->lock);
}


/*
 * A record and its name, both within one page; NULL: the reference is bad.
 */

static ngx_centrifugo_record_t *
shard_record(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_ref_t ref,
    ngx_str_t *name)
{
    size_t                    room;
    ngx_centrifugo_record_t  *rec;

    rec = ngx_centrifugo_page_item(shm, ref, &room);

    if (rec == NULL) {
        return NULL;
    }

    name->data = (u_char *) &rec->mask[shm->mask_words];
    name->len = rec->name_len;

    return (name->data - (u_char *) rec + name->len <= room) ? rec : NULL;
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name)
{
    uint64_t                   left;
    ngx_str_t                  found;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->channels;
    ref = *hub_bucket(shm, n, (hash >> 32) & (shm->buckets - 1));

    for ( /* void */ ; ref; ref = rec->next) {
        rec = shard_record(shm, ref, &found);

        /* not more of them than there are: a ring would never end */

        if (rec == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NULL;
        }

        if (rec->hash == (uint32_t) hash && found.len == name->len
            && ngx_memcmp(found.data, name->data, name->len) == 0)
        {
            return rec;
        }
    }

    return NULL;
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_create(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name)
{
    size_t                     room;
    ngx_int_t                  rc;
    ngx_uint_t                 class, i;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

    class = ngx_centrifugo_page_class(offsetof(ngx_centrifugo_record_t, mask)
                                      + shm->mask_words * sizeof(uint64_t)
                                      + name->len);

    if (class == NGX_CENTRIFUGO_CLASSES) {
        return NULL;
    }

    rc = ngx_centrifugo_page_take(shm, n, class, &ref);

    if (rc == NGX_ERROR) {
        ngx_centrifugo_shard_wipe(hub, n);
        rc = ngx_centrifugo_page_take(shm, n, class, &ref);
    }

    if (rc != NGX_OK) {
        return NULL;
    }

    rec = ngx_centrifugo_page_item(shm, ref, &room);

    intent->bucket = (uint32_t) ((hash >> 32) & (shm->buckets - 1));
    intent->channels = shard->channels + 1;

    rec->next = *hub_bucket(shm, n, intent->bucket);
    rec->hash = (uint32_t) hash;
    rec->id = __atomic_fetch_add(&shm->next_id, 1, __ATOMIC_RELAXED);
    rec->name_len = (uint16_t) name->len;
    rec->class = (uint16_t) class;

    for (i = 0; i < shm->mask_words; i++) {
        rec->mask[i] = 0;
    }

    rec->mask[hub->slot / 64] = 1ULL << (hub->slot % 64);
    ngx_memcpy(&rec->mask[shm->mask_words], name->data, name->len);

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_LINK);
    NGX_CENTRIFUGO_POINT(RECORD_LINK);

    (void) shard_link(shm, n);

    return rec;
}


/*
 * Puts the filled record of the intent into its bucket; its `next` was set
 * before the state was.
 */

static ngx_int_t
shard_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_str_t                 name;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (shard_record(shm, intent->item, &name) == NULL
        || intent->bucket >= shm->buckets
        || intent->class >= NGX_CENTRIFUGO_CLASSES)
    {
        return NGX_ERROR;
    }

    intent_store(hub_bucket(shm, n, intent->bucket), intent->item);
    NGX_CENTRIFUGO_POINT(RECORD_LINKED);

    intent_store(&shard->channels, intent->channels);
    intent_store(&shard->used[intent->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_shard_clear(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_uint_t slot)
{
    uint64_t                   bit;
    ngx_str_t                  name;
    ngx_uint_t                 i;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    bit = 1ULL << (slot % 64);

    for (i = 0; i < shm->mask_words; i++) {
        if (rec->mask[i] & ~(i == slot / 64 ? bit : 0)) {
            intent_store(&rec->mask[slot / 64], rec->mask[slot / 64] & ~bit);
            NGX_CENTRIFUGO_POINT(MASK_CLEAR);
            return 0;
        }
    }

    intent = &shard->intent;
    ref = shard_ref(shm, rec);

    if (shard_record(shm, ref, &name) == NULL
        || rec->class >= NGX_CENTRIFUGO_CLASSES)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return 1;
    }

    intent->item = ref;
    intent->class = rec->class;
    intent->bucket = (uint32_t) (ngx_centrifugo_hash(shm->seed, name.data,
                                                     name.len) >> 32)
                     & (shm->buckets - 1);
    intent->channels = shard->channels - 1;
    intent->used = shard->used[rec->class] - 1;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_UNLINK);
    NGX_CENTRIFUGO_POINT(RECORD_UNLINK);

    if (shard_unlink(shm, n) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
        return 1;
    }

    if (ngx_centrifugo_page_trim(shm, n, ref) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
    }

    return 1;
}


/*
 * Takes the record named by the intent out of its bucket, if it is still
 * there, and frees it; used by the one who began it and by the repair.
 */

static ngx_int_t
shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    uint64_t                  left;
    ngx_str_t                 name;
    ngx_centrifugo_ref_t     *prev;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (intent->bucket >= shm->buckets
        || intent->class >= NGX_CENTRIFUGO_CLASSES)
    {
        return NGX_ERROR;
    }

    prev = hub_bucket(shm, n, intent->bucket);

    for (left = intent->channels + 1; *prev; prev = &rec->next) {
        rec = shard_record(shm, *prev, &name);

        if (rec == NULL || left-- == 0) {
            return NGX_ERROR;
        }

        if (*prev == intent->item) {
            intent_store(prev, rec->next);
            break;
        }
    }

    NGX_CENTRIFUGO_POINT(RECORD_UNLINKED);

    if (ngx_centrifugo_page_put(shm, n, intent->item, intent->class)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    intent_store(&shard->channels, intent->channels);
    intent_store(&shard->used[intent->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_shard_reap(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_uint_t bucket, ngx_uint_t slot)
{
    uint64_t                   left;
    uint32_t                   generation;
    ngx_str_t                  name;
    ngx_uint_t                 items;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->channels;
    generation = hub_shard(shm, n)->generation;
    items = 0;

    for (ref = *hub_bucket(shm, n, bucket); ref; items++) {
        rec = shard_record(shm, ref, &name);

        if (rec == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            break;
        }

        ref = rec->next;

        if (rec->mask[slot / 64] & 1ULL << (slot % 64)) {
            (void) ngx_centrifugo_shard_clear(hub, n, rec, slot);

            if (hub_shard(shm, n)->generation != generation) {
                break;
            }
        }
    }

    return items;
}


static ngx_int_t
shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_intent_t  *intent;

    intent = &hub_shard(shm, n)->intent;

    if (intent->state == NGX_CENTRIFUGO_INTENT_WIPE) {

        /*
         * A wipe that was cut off is done again, by the caller.  Its pages may
         * belong to others by now: what the intent says of them is void.
         */

        return NGX_ERROR;
    }

    if (ngx_centrifugo_page_repair(shm, n) != NGX_OK) {
        return NGX_ERROR;
    }

    switch (intent->state) {

    case NGX_CENTRIFUGO_INTENT_NONE:
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_NODE:

        if (ngx_centrifugo_page_put(shm, n, intent->item, intent->class)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_LINK:
        return shard_link(shm, n);

    case NGX_CENTRIFUGO_INTENT_UNLINK:
        return shard_unlink(shm, n);

    default:
        return NGX_ERROR;
    }
}


void
ngx_centrifugo_shard_wipe(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    u_char                     number;
    ngx_str_t                  data;
    uint64_t                   members[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_uint_t                 i;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);

    intent_store(&shard->intent.state, NGX_CENTRIFUGO_INTENT_WIPE);
    NGX_CENTRIFUGO_POINT(WIPE_BEGUN);

    shard->wipes++;

    /*
     * Who has bits to put back: everybody who reads the rings.  The bit is
     * what counts; the message below only makes it known sooner.
     */

    ngx_centrifugo_hub_members(hub, members);

    for (i = 0; i < shm->mask_words; i++) {
        intent_store(&shard->resync[i], shard->resync[i] | members[i]);
        hub->ring[i] |= members[i];
    }

    intent_store(&shard->generation, shard->generation + 1);
    NGX_CENTRIFUGO_POINT(WIPE_MARKED);

    ngx_memzero(hub_bucket(shm, n, 0),
                shm->buckets * sizeof(ngx_centrifugo_ref_t));
    ngx_memzero(shard->avail, sizeof(shard->avail));
    ngx_memzero(shard->used, sizeof(shard->used));
    shard->channels = 0;

    ngx_centrifugo_page_drop(shm, n);
    NGX_CENTRIFUGO_POINT(WIPE_EMPTY);

    shard->intent.moving = 0;
    shard->intent.list = NGX_CENTRIFUGO_LIST_NONE;
    intent_store(&shard->intent.state, NGX_CENTRIFUGO_INTENT_NONE);

    hub->resync |= 1ULL << n;

    number = (u_char) n;
    data.data = &number;
    data.len = 1;

    (void) ngx_centrifugo_control_send(hub, NGX_CENTRIFUGO_TO_ALL, 0,
                                       NGX_CENTRIFUGO_CONTROL_RESYNC, 0, 0,
                                       &data);
}
