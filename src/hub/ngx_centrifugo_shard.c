/*
 * Shards: tables of records, and the intent that lets a survivor finish or
 * undo what a killed worker began.  Every step of a repair may itself be cut
 * off and done again.  What can't be repaired is wiped.
 */

#include "ngx_centrifugo_hub_shm.h"


static ngx_int_t shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_redo(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static uint64_t shard_hash(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec);


/* readers of figures take no lock */

#define shard_figure(p, v)  __atomic_store_n(p, v, __ATOMIC_RELAXED)


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
    hub->keeping = 0;
    hub->subscribed = 0;
    hub->evicted = 0;
    ngx_centrifugo_lock_release(&hub_shard(hub->shm, n)->lock);
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name)
{
    size_t                     room;
    u_char                    *found;
    uint64_t                   left;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->counts.records;
    ref = *hub_bucket(shm, n, hub_bucket_of(shm, hash));

    for ( /* void */ ; ref; ref = item->next) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        /* not more of them than there are: a ring would never end */

        if (item == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NULL;
        }

        if (item->hash != (uint32_t) hash || item->len != name->len
            || item->type != NGX_CENTRIFUGO_ITEM_CHANNEL)
        {
            continue;
        }

        rec = (ngx_centrifugo_record_t *) item;
        found = (u_char *) &rec->mask[shm->mask_words];

        if (found - (u_char *) rec + name->len > room) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NULL;
        }

        if (ngx_memcmp(found, name->data, name->len) == 0) {
            return rec;
        }
    }

    return NULL;
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_create(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name, ngx_uint_t own)
{
    size_t                     size;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);

    size = offsetof(ngx_centrifugo_record_t, mask)
           + shm->mask_words * sizeof(uint64_t) + name->len;

    rc = ngx_centrifugo_shard_take(hub, n, size, NGX_CENTRIFUGO_ITEM_CHANNEL,
                                   &item);

    if (rc == NGX_ERROR) {

        /* it was wiped: there is room now */

        rc = ngx_centrifugo_shard_take(hub, n, size,
                                       NGX_CENTRIFUGO_ITEM_CHANNEL, &item);
    }

    if (rc != NGX_OK) {
        return NULL;
    }

    rec = (ngx_centrifugo_record_t *) item;

    item->len = (uint16_t) name->len;
    rec->id = __atomic_fetch_add(&shm->next_id, 1, __ATOMIC_RELAXED);
    rec->presence = 0;
    rec->entries = 0;
    rec->stream = 0;

    for (i = 0; i < shm->mask_words; i++) {
        rec->mask[i] = 0;
    }

    ngx_memcpy(&rec->mask[shm->mask_words], name->data, name->len);

    if (own) {
        rec->mask[hub->slot / 64] = 1ULL << (hub->slot % 64);

    } else {

        /* nobody's until something keeps it */

        intent_store(&shard->intent.drop, hub_ref(shm, rec));
    }

    shard->intent.counts = shard->counts;
    shard->intent.counts.channels++;

    ngx_centrifugo_shard_link(hub, n, item, hash);

    return rec;
}


void
ngx_centrifugo_shard_clear(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_uint_t slot)
{
    uint64_t                  bit;
    ngx_uint_t                i, kept;
    ngx_centrifugo_shard_t   *shard;

    shard = hub_shard(hub->shm, n);
    bit = 1ULL << (slot % 64);
    kept = (rec->presence != 0);

    for (i = 0; i < hub->shm->mask_words && !kept; i++) {
        kept = ((rec->mask[i] & ~(i == slot / 64 ? bit : 0)) != 0);
    }

    if (kept || rec->stream) {
        intent_store(&rec->mask[slot / 64], rec->mask[slot / 64] & ~bit);
        NGX_CENTRIFUGO_POINT(MASK_CLEAR);

        if (!kept) {
            (void) ngx_centrifugo_stream_unused(hub, n, rec);
        }

        return;
    }

    if (ngx_centrifugo_shard_item(hub->shm, hub_ref(hub->shm, rec),
                                  NGX_CENTRIFUGO_ITEM_CHANNEL)
        == NULL)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return;
    }

    shard->intent.counts = shard->counts;
    shard->intent.counts.channels--;

    ngx_centrifugo_shard_unlink(hub, n, &rec->item,
                                shard_hash(hub->shm, rec));
}


ngx_uint_t
ngx_centrifugo_shard_idle(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec)
{
    ngx_uint_t  i;

    for (i = 0; i < shm->mask_words; i++) {
        if (rec->mask[i]) {
            return 0;
        }
    }

    return rec->presence == 0;
}


static uint64_t
shard_hash(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_record_t *rec)
{
    return ngx_centrifugo_hash(shm->seed,
                               (u_char *) &rec->mask[shm->mask_words],
                               rec->item.len);
}


ngx_int_t
ngx_centrifugo_shard_take(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    size_t size, ngx_uint_t type, ngx_centrifugo_item_t **item)
{
    size_t                 room;
    uint64_t               keep;
    ngx_int_t              rc;
    ngx_uint_t             class;
    ngx_centrifugo_ref_t   ref;

    class = ngx_centrifugo_shard_class(hub, size, type);

    if (size > NGX_CENTRIFUGO_ITEM_MAX) {
        return NGX_DECLINED;
    }

    /* the last pages are not for history, unless it has made room itself */

    keep = (hub->keeping && !hub->evicted)
           ? hub->shm->pages / NGX_CENTRIFUGO_SPARE : 0;

    rc = ngx_centrifugo_page_take(hub->shm, n, class, keep, &ref);

    if (rc != NGX_OK) {

        if (rc == NGX_ERROR) {
            ngx_centrifugo_shard_wipe(hub, n);
        }

        return rc;
    }

    *item = ngx_centrifugo_page_item(hub->shm, ref, &room);

    (*item)->class = (uint8_t) class;
    (*item)->type = (uint8_t) type;

    return NGX_OK;
}


void
ngx_centrifugo_shard_link(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, uint64_t hash)
{
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    intent = &hub_shard(shm, n)->intent;

    intent->bucket = hub_bucket_of(shm, hash);
    intent->counts.records++;

    item->hash = (uint32_t) hash;
    item->next = *hub_bucket(shm, n, intent->bucket);

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_LINK);
    NGX_CENTRIFUGO_POINT(RECORD_LINK);

    (void) shard_link(shm, n);
}


/*
 * Puts the filled record of the intent into its bucket; its `next` was set
 * before the state was.
 */

static ngx_int_t
shard_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    size_t                    room;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (ngx_centrifugo_page_item(shm, intent->item, &room) == NULL
        || intent->bucket >= shm->buckets
        || intent->class >= NGX_CENTRIFUGO_CLASSES)
    {
        return NGX_ERROR;
    }

    intent_store(hub_bucket(shm, n, intent->bucket), intent->item);
    NGX_CENTRIFUGO_POINT(RECORD_LINKED);

    ngx_centrifugo_shard_counts(shard);
    intent_store(&shard->used[intent->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


void
ngx_centrifugo_shard_unlink(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, uint64_t hash)
{
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;
    ref = hub_ref(shm, item);

    intent->item = ref;
    intent->class = item->class;
    intent->bucket = hub_bucket_of(shm, hash);
    intent->counts.records--;
    intent->used = shard->used[item->class] - 1;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_UNLINK);
    NGX_CENTRIFUGO_POINT(RECORD_UNLINK);

    if (shard_unlink(shm, n) != NGX_OK
        || ngx_centrifugo_page_trim(shm, n, ref) != NGX_OK)
    {
        ngx_centrifugo_shard_wipe(hub, n);
    }
}


/*
 * Takes the record named by the intent out of its bucket, if it is still
 * there, and frees it; used by the one who began it and by the repair.
 */

static ngx_int_t
shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    size_t                    room;
    ngx_centrifugo_item_t    *item;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    item = ngx_centrifugo_page_item(shm, intent->item, &room);

    if (item == NULL || intent->class >= NGX_CENTRIFUGO_CLASSES
        || ngx_centrifugo_shard_detach(shm, n, intent->item, item->next)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (item->type == NGX_CENTRIFUGO_ITEM_RESULT
        && ngx_centrifugo_due_unset(shm, n, (ngx_centrifugo_due_t *) item)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(RECORD_UNLINKED);

    if (ngx_centrifugo_page_put(shm, n, intent->item, intent->class)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_centrifugo_shard_counts(shard);
    intent_store(&shard->used[intent->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


/*
 * In the bucket of the intent what points to `ref` points to `next` from now
 * on; if nothing does, that was done already.
 */

ngx_int_t
ngx_centrifugo_shard_detach(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_centrifugo_ref_t next)
{
    size_t                    room;
    uint64_t                  left;
    ngx_centrifugo_ref_t     *prev;
    ngx_centrifugo_item_t    *item;
    ngx_centrifugo_shard_t   *shard;

    shard = hub_shard(shm, n);

    if (shard->intent.bucket >= shm->buckets) {
        return NGX_ERROR;
    }

    prev = hub_bucket(shm, n, shard->intent.bucket);

    /* the count may be the old one or the new one */

    for (left = shard->counts.records + 1; *prev; prev = &item->next) {

        if (*prev == ref) {
            intent_store(prev, next);
            return NGX_OK;
        }

        item = ngx_centrifugo_page_item(shm, *prev, &room);

        if (item == NULL || left-- == 0
            || !hub_is_record(item->type))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_centrifugo_shard_counts(ngx_centrifugo_shard_t *shard)
{
    ngx_centrifugo_counts_t  *counts;

    counts = &shard->intent.counts;

    shard_figure(&shard->counts.records, counts->records);
    shard_figure(&shard->counts.channels, counts->channels);
    shard_figure(&shard->counts.presence, counts->presence);
    shard_figure(&shard->counts.users, counts->users);
    shard_figure(&shard->counts.streams, counts->streams);
    shard_figure(&shard->counts.publications, counts->publications);
    shard_figure(&shard->counts.history, counts->history);
    shard_figure(&shard->counts.results, counts->results);
}


/*
 * What was taken for nothing, or was replaced or removed, is freed item by
 * item; then the channel goes of which the last entry was removed.
 */

ngx_int_t
ngx_centrifugo_shard_settle(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    uint64_t                  hash;
    ngx_centrifugo_ref_t      ref;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    while (intent->chain) {
        if (ngx_centrifugo_chain_free(shm, n) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (intent->drop == 0) {
        return NGX_OK;
    }

    ref = intent->drop;
    rec = NULL;

    /* once it was freed its type says so, if the page was not given back */

    if (ngx_centrifugo_page_holds(shm, n, ref)) {
        rec = ngx_centrifugo_shard_item(shm, ref,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec != NULL && rec->stream == 0
        && ngx_centrifugo_shard_idle(shm, rec))
    {
        hash = shard_hash(shm, rec);

        intent->item = ref;
        intent->class = rec->item.class;
        intent->bucket = hub_bucket_of(shm, hash);
        intent->counts = shard->counts;
        intent->counts.records--;
        intent->counts.channels--;
        intent->used = shard->used[rec->item.class] - 1;
        intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_UNLINK);
        NGX_CENTRIFUGO_POINT(PRESENCE_DROP);

        if (shard_unlink(shm, n) != NGX_OK
            || ngx_centrifugo_page_trim(shm, n, ref) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    intent_store(&intent->drop, 0);

    return NGX_OK;
}


static ngx_int_t
shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_intent_t  *intent;

    intent = &hub_shard(shm, n)->intent;

    /*
     * The log first, whatever the state is: who repairs it sets `logged` of the
     * shard for which its last holder appended, and that must not come after
     * this repair, when the word speaks of something else.
     */

    if (ngx_centrifugo_ring_lock(shm, &shm->log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_centrifugo_lock_release(&shm->log.lock);

    if (intent->state == NGX_CENTRIFUGO_INTENT_WIPE) {

        /*
         * A wipe that was cut off is done again, by the caller.  Its pages may
         * belong to others by now: what the intent says of them is void.
         */

        return NGX_ERROR;
    }

    if (ngx_centrifugo_page_repair(shm, n) != NGX_OK
        || ngx_centrifugo_due_repair(shm, n) != NGX_OK
        || shard_redo(shm, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the item may have been freed, and its page not been given back */

    if (ngx_centrifugo_page_trim(shm, n, intent->item) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_centrifugo_shard_settle(shm, n);
}


static ngx_int_t
shard_redo(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_intent_t  *intent;

    intent = &hub_shard(shm, n)->intent;

    switch (intent->state) {

    case NGX_CENTRIFUGO_INTENT_NONE:
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_NODE:
        return ngx_centrifugo_chain_node(shm, n);

    case NGX_CENTRIFUGO_INTENT_LINK:
        return shard_link(shm, n);

    case NGX_CENTRIFUGO_INTENT_UNLINK:
        return shard_unlink(shm, n);

    case NGX_CENTRIFUGO_INTENT_FREE:
        return ngx_centrifugo_chain_freed(shm, n);

    case NGX_CENTRIFUGO_INTENT_STREAM:
        return ngx_centrifugo_stream_streamed(shm, n);

    case NGX_CENTRIFUGO_INTENT_TRIM:
        return ngx_centrifugo_stream_trimmed(shm, n);

    case NGX_CENTRIFUGO_INTENT_REMOVE:
        return ngx_centrifugo_stream_removed(shm, n);

    case NGX_CENTRIFUGO_INTENT_APPEND:

        if (intent->logged) {
            return ngx_centrifugo_stream_appended(shm, n);
        }

        break;

    case NGX_CENTRIFUGO_INTENT_ENTER:

        if (intent->logged) {
            return ngx_centrifugo_presence_entered(shm, n);
        }

        break;

    case NGX_CENTRIFUGO_INTENT_LEAVE:

        if (intent->logged) {
            return ngx_centrifugo_presence_left(shm, n);
        }

        break;

    default:
        return NGX_ERROR;
    }

    /* what was taken for it hangs on the chain */

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
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
    ngx_memzero(&shard->counts, sizeof(shard->counts));
    ngx_memzero(shard->due, sizeof(shard->due));

    ngx_centrifugo_page_drop(shm, n);
    NGX_CENTRIFUGO_POINT(WIPE_EMPTY);

    shard->intent.moving = 0;
    shard->intent.chain = 0;
    shard->intent.drop = 0;
    shard->intent.list = NGX_CENTRIFUGO_LIST_NONE;
    shard->intent.due = NGX_CENTRIFUGO_DUE_NONE;
    intent_store(&shard->intent.state, NGX_CENTRIFUGO_INTENT_NONE);

    hub->resync |= 1ULL << n;

    number = (u_char) n;
    data.data = &number;
    data.len = 1;

    (void) ngx_centrifugo_control_send(hub, NGX_CENTRIFUGO_TO_ALL, 0,
                                       NGX_CENTRIFUGO_CONTROL_RESYNC, 0, 0,
                                       &data);
}
