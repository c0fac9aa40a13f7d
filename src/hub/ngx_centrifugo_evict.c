/*
 * Eviction: when no page is left, pages of history are emptied, those first
 * that nothing was put into for the longest time.  So what goes is older than
 * most of what stays, whatever its size is, and the page is free for any shard
 * and for anything.  What had subscribers when it was written stays longer;
 * streams without publications go when nothing else can, or when there are so
 * many of them that history would have nothing.
 */

#include "ngx_centrifugo_hub_shm.h"


#define EVICT_ITEMS       64        /* publications of one section */
#define EVICT_ROUNDS      8         /* sections, and one more for each page */
#define EVICT_SAMPLE      32        /* pages that are compared for each */
#define EVICT_LOOK        256       /* and pages passed over for these */
#define EVICT_FIND        16        /* times as many if there is none */
#define EVICT_SUBSCRIBED  4         /* so many times as old goes what has
                                       subscribers */
#define EVICT_SHARE       4         /* history keeps this part of the memory
                                       from streams that have none */

/* shard->evicted; readers of figures take no lock */

#define EVICTED_RESULT      0
#define EVICTED_HISTORY     1
#define EVICTED_SUBSCRIBED  2
#define EVICTED_STREAM      3

#define evict_count(shard, what, n)                                          \
    __atomic_store_n(&(shard)->evicted[what], (shard)->evicted[what] + (n),  \
                     __ATOMIC_RELAXED)


/* what an eviction is for, and how far it is */
typedef struct {
    ngx_uint_t    shard;            /* that found no page */
    ngx_uint_t    class;            /* what it wanted one for */
    ngx_uint_t    alike;            /* another item of that class will do */
    ngx_uint_t    rounds;
    uint64_t      goal;             /* free pages */
    ngx_uint_t    items;            /* that went */
} evict_t;

/* pages that are looked for */
typedef struct {
    ngx_uint_t    first;            /* class */
    ngx_uint_t    last;
    ngx_uint_t    shard;            /* NGX_CENTRIFUGO_SHARDS_MAX: any */
} evict_kind_t;


static ngx_int_t evict_shed(ngx_centrifugo_hub_t *hub, ngx_uint_t n);
static void evict_exist(ngx_centrifugo_hub_shm_t *shm, uint64_t *history,
    uint64_t *streams);
static ngx_uint_t evict_poor(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_uint_t evict_enough(ngx_centrifugo_hub_shm_t *shm,
    evict_t *evict);
static void evict_history(ngx_centrifugo_hub_t *hub, evict_t *evict);
static void evict_streams(ngx_centrifugo_hub_t *hub, evict_t *evict,
    ngx_uint_t own);
static void evict_sample(ngx_centrifugo_hub_t *hub, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen);
static void evict_remember(ngx_centrifugo_page_seen_t *seen,
    const ngx_centrifugo_page_seen_t *page);
static ngx_int_t evict_oldest(ngx_centrifugo_hub_shm_t *shm,
    const evict_kind_t *kind, ngx_centrifugo_page_seen_t *seen,
    ngx_uint_t *page);
static ngx_uint_t evict_before(const ngx_centrifugo_page_seen_t *one,
    const ngx_centrifugo_page_seen_t *two);
static uint64_t evict_age(const ngx_centrifugo_page_seen_t *seen);
static ngx_int_t evict_page(ngx_centrifugo_hub_t *hub, evict_t *evict,
    ngx_uint_t page);
static ngx_int_t evict_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t *left);
static ngx_int_t evict_kept(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t *left);
static ngx_int_t evict_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t *left);
static ngx_centrifugo_stream_t *evict_find(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, ngx_centrifugo_record_t **rec);


ngx_int_t
ngx_centrifugo_evict(ngx_centrifugo_hub_t *hub, ngx_uint_t n, size_t size)
{
    evict_t                    evict;
    uint64_t                   left, history, streams;
    ngx_uint_t                 pages;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_pages_left(shm);
    pages = size / NGX_CENTRIFUGO_PAGE + 1;

    if (left < shm->pages / NGX_CENTRIFUGO_SPARE) {

        /* the spare ones are in use: little by little they are put back */

        pages++;
    }

    evict.shard = n;
    evict.class = __atomic_load_n(&hub_shard(shm, n)->wanted,
                                  __ATOMIC_RELAXED)
                  - 1;
    evict.alike = (size <= NGX_CENTRIFUGO_ITEM_MAX);
    evict.rounds = EVICT_ROUNDS + pages;
    evict.goal = left + pages;
    evict.items = 0;

    if (evict_shed(hub, n) != NGX_OK) {
        return NGX_DECLINED;
    }

    evict_exist(shm, &history, &streams);

    if (ngx_centrifugo_kind(evict.class) == NGX_CENTRIFUGO_KIND_RECORDS
        && streams && evict_poor(shm, n))
    {
        evict_streams(hub, &evict, 1);
    }

    if (history && !evict_enough(shm, &evict)) {
        evict_history(hub, &evict);
    }

    if (streams && evict.items == 0 && hub_pages_left(shm) <= left
        && !evict_enough(shm, &evict))
    {
        evict_streams(hub, &evict, 0);
    }

    if (evict.items == 0 && hub_pages_left(shm) <= left
        && !evict_enough(shm, &evict))
    {
        return NGX_DECLINED;
    }

    hub->evicted = 1;

    return NGX_OK;
}


/* pages that are empty were kept in better times */

static ngx_int_t
evict_shed(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_centrifugo_page_shed(hub->shm, n) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
    }

    ngx_centrifugo_shard_unlock(hub, n);

    return NGX_OK;
}


/* how much there is that may go; streams also if they may not */

static void
evict_exist(ngx_centrifugo_hub_shm_t *shm, uint64_t *history,
    uint64_t *streams)
{
    ngx_uint_t                i;
    ngx_centrifugo_counts_t  *counts;

    *history = 0;
    *streams = 0;

    for (i = 0; i < shm->shards; i++) {
        counts = &hub_shard(shm, i)->counts;

        *history += __atomic_load_n(&counts->publications, __ATOMIC_RELAXED)
                    + __atomic_load_n(&counts->results, __ATOMIC_RELAXED);
        *streams += __atomic_load_n(&counts->streams, __ATOMIC_RELAXED);
    }
}


/* whether history has little beside records; one shard is like another */

static ngx_uint_t
evict_poor(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    uint64_t                 bytes, history, all;
    ngx_uint_t               class;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);
    history = 0;
    all = 0;

    for (class = 0; class < NGX_CENTRIFUGO_CLASSES; class++) {
        bytes = __atomic_load_n(&shard->used[class], __ATOMIC_RELAXED)
                * ngx_centrifugo_page_class_size(class);
        all += bytes;

        if (ngx_centrifugo_kind(class) != NGX_CENTRIFUGO_KIND_RECORDS) {
            history += bytes;
        }
    }

    return history * EVICT_SHARE < all;
}


/* whether it is worth to try again; what is looked at may change at any time */

static ngx_uint_t
evict_enough(ngx_centrifugo_hub_shm_t *shm, evict_t *evict)
{
    if (evict->alike && evict->class < NGX_CENTRIFUGO_CLASSES
        && __atomic_load_n(&hub_shard(shm, evict->shard)->avail[evict->class],
                           __ATOMIC_RELAXED))
    {
        return 1;
    }

    return hub_pages_left(shm) >= evict->goal;
}


static void
evict_history(ngx_centrifugo_hub_t *hub, evict_t *evict)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, page;
    static const evict_kind_t  kind = {
        NGX_CENTRIFUGO_SIZES, NGX_CENTRIFUGO_CLASSES - 1,
        NGX_CENTRIFUGO_SHARDS_MAX
    };

    rc = NGX_OK;
    page = 0;

    for (i = 0; i < evict->rounds && !evict_enough(hub->shm, evict); i++) {

        if (rc != NGX_AGAIN) {
            evict_sample(hub, &kind, hub->old);

            if (evict_oldest(hub->shm, &kind, hub->old, &page) != NGX_OK) {
                continue;
            }
        }

        rc = evict_page(hub, evict, page);
    }
}


/* `own`: those of the shard, which wants the place of one or of its channel */

static void
evict_streams(ngx_centrifugo_hub_t *hub, evict_t *evict, ngx_uint_t own)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, page;
    evict_kind_t                kind;
    ngx_centrifugo_page_seen_t  seen[NGX_CENTRIFUGO_PAGES_SEEN];

    kind.first = ngx_centrifugo_page_class(sizeof(ngx_centrifugo_stream_t));
    kind.last = kind.first;
    kind.shard = own ? evict->shard : NGX_CENTRIFUGO_SHARDS_MAX;

    ngx_memzero(seen, sizeof(seen));
    evict_sample(hub, &kind, seen);

    rc = NGX_OK;
    page = 0;

    for (i = 0; i < evict->rounds && !evict_enough(hub->shm, evict); i++) {

        if (rc != NGX_AGAIN
            && evict_oldest(hub->shm, &kind, seen, &page) != NGX_OK)
        {
            return;
        }

        rc = evict_page(hub, evict, page);
    }
}


/*
 * Pages behind those that were looked at last are remembered if they are older
 * than one that is.
 */

static void
evict_sample(ngx_centrifugo_hub_t *hub, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen)
{
    ngx_uint_t                   i, n, most, page, class, owner;
    ngx_centrifugo_hub_shm_t    *shm;
    ngx_centrifugo_page_seen_t   found;

    shm = hub->shm;
    most = (kind->shard == NGX_CENTRIFUGO_SHARDS_MAX)
           ? EVICT_LOOK : EVICT_LOOK * shm->shards;
    n = 0;

    for (i = 0; i < shm->pages && n < EVICT_SAMPLE; i++) {

        if (i >= most * (n ? 1 : EVICT_FIND)) {
            break;
        }

        page = hub->old_next % shm->pages;
        hub->old_next = (uint32_t) page + 1;

        owner = ngx_centrifugo_page_owner(shm, page);

        if (owner == NGX_CENTRIFUGO_SHARDS_MAX
            || (kind->shard != NGX_CENTRIFUGO_SHARDS_MAX
                && kind->shard != owner))
        {
            continue;
        }

        class = ngx_centrifugo_page_seen(shm, page, &found);

        if (class >= kind->first && class <= kind->last) {
            evict_remember(seen, &found);
            n++;
        }
    }
}


static void
evict_remember(ngx_centrifugo_page_seen_t *seen,
    const ngx_centrifugo_page_seen_t *page)
{
    ngx_uint_t                   i;
    ngx_centrifugo_page_seen_t  *place;

    place = NULL;

    for (i = 0; i < NGX_CENTRIFUGO_PAGES_SEEN; i++) {

        if (seen[i].page == page->page) {
            seen[i] = *page;
            return;
        }

        /* one that is free, or that would go last */

        if (place == NULL || seen[i].page == 0
            || (place->page && evict_before(place, &seen[i])))
        {
            place = &seen[i];
        }
    }

    if (place->page == 0 || evict_before(page, place)) {
        *place = *page;
    }
}


static ngx_int_t
evict_oldest(ngx_centrifugo_hub_shm_t *shm, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen, ngx_uint_t *page)
{
    ngx_uint_t                   i, class;
    ngx_centrifugo_page_seen_t  *oldest, now;

    for ( ;; ) {
        oldest = NULL;

        for (i = 0; i < NGX_CENTRIFUGO_PAGES_SEEN; i++) {
            if (seen[i].page
                && (oldest == NULL || evict_before(&seen[i], oldest)))
            {
                oldest = &seen[i];
            }
        }

        if (oldest == NULL) {
            return NGX_DECLINED;
        }

        *page = oldest->page - 1;
        oldest->page = 0;
        class = ngx_centrifugo_page_seen(shm, *page, &now);

        /* it may be nobody's by now, or have got something new */

        if (ngx_centrifugo_page_owner(shm, *page) != NGX_CENTRIFUGO_SHARDS_MAX
            && now.written == oldest->written && class >= kind->first
            && class <= kind->last)
        {
            return NGX_OK;
        }
    }
}


static ngx_uint_t
evict_before(const ngx_centrifugo_page_seen_t *one,
    const ngx_centrifugo_page_seen_t *two)
{
    uint64_t  a, b;

    a = evict_age(one);
    b = evict_age(two);

    return a > b || (a == b && one->class < two->class);
}


static uint64_t
evict_age(const ngx_centrifugo_page_seen_t *seen)
{
    uint64_t  age;

    age = ngx_current_msec - ngx_min(seen->written, ngx_current_msec);

    return (ngx_centrifugo_kind(seen->class)
            == NGX_CENTRIFUGO_KIND_SUBSCRIBED)
           ? age / EVICT_SUBSCRIBED : age;
}


/*
 * One section: all goes from a page that may, with what is older in the same
 * streams.  NGX_OK, or NGX_AGAIN: more of it is there.
 */

static ngx_int_t
evict_page(ngx_centrifugo_hub_t *hub, evict_t *evict, ngx_uint_t page)
{
    uint32_t                     generation;
    ngx_int_t                    rc;
    ngx_uint_t                   i, n, left;
    ngx_centrifugo_item_t       *item;
    ngx_centrifugo_shard_t      *shard;
    ngx_centrifugo_hub_shm_t    *shm;

    shm = hub->shm;
    n = ngx_centrifugo_page_owner(shm, page);

    if (n == NGX_CENTRIFUGO_SHARDS_MAX
        || ngx_centrifugo_shard_lock(hub, n) != NGX_OK)
    {
        return NGX_OK;
    }

    shard = hub_shard(shm, n);
    generation = shard->generation;
    left = EVICT_ITEMS;
    rc = NGX_OK;

    for (i = 0; rc == NGX_OK; i++) {

        /* with its last item the page goes, too */

        item = ngx_centrifugo_page_nth(shm, n, page, i);

        if (item == NULL) {
            break;
        }

        rc = evict_item(hub, n, item, &left);
        NGX_CENTRIFUGO_POINT(EVICT_ITEM);
    }

    /* it may have been empty before */

    item = ngx_centrifugo_page_nth(shm, n, page, 0);

    if (rc == NGX_OK && item != NULL) {
        rc = ngx_centrifugo_page_trim(shm, n, hub_ref(shm, item));
    }

    if (rc == NGX_ERROR && shard->generation == generation) {
        ngx_centrifugo_shard_wipe(hub, n);
    }

    ngx_centrifugo_shard_unlock(hub, n);

    evict->items += EVICT_ITEMS - left;

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
evict_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t *left)
{
    ngx_centrifugo_ref_t      ref;
    ngx_centrifugo_result_t  *result;

    if (item->type == NGX_CENTRIFUGO_ITEM_FREE) {
        return NGX_OK;
    }

    if (*left == 0) {
        return NGX_AGAIN;
    }

    ref = hub_ref(hub->shm, item);

    switch (item->type) {

    case NGX_CENTRIFUGO_ITEM_PUBLICATION:
        return evict_kept(hub, n, ref, left);

    case NGX_CENTRIFUGO_ITEM_MORE:
        return evict_kept(hub, n, item->hash, left);

    case NGX_CENTRIFUGO_ITEM_STREAM:
        return evict_stream(hub, n, ref, left);

    case NGX_CENTRIFUGO_ITEM_RESULT:
        result = ngx_centrifugo_shard_item(hub->shm, ref,
                                           NGX_CENTRIFUGO_ITEM_RESULT);

        if (result == NULL
            || ngx_centrifugo_result_remove(hub, n, result) != NGX_OK)
        {
            return NGX_ERROR;
        }

        evict_count(hub_shard(hub->shm, n), EVICTED_RESULT, 1);
        (*left)--;

        return NGX_OK;

    default:

        /* among streams there may be channels and more */

        return NGX_OK;
    }
}


/* a publication, and what is older of its stream */

static ngx_int_t
evict_kept(ngx_centrifugo_hub_t *hub, ngx_uint_t n, ngx_centrifugo_ref_t ref,
    ngx_uint_t *left)
{
    ngx_int_t                 rc;
    ngx_uint_t                count;
    ngx_centrifugo_kept_t    *kept;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    stream = NULL;

    kept = ngx_centrifugo_shard_item(hub->shm, ref,
                                     NGX_CENTRIFUGO_ITEM_PUBLICATION);
    if (kept != NULL) {
        stream = evict_find(hub->shm, kept->stream, &rec);
    }

    if (stream == NULL || kept->offset > stream->state.top) {
        return NGX_ERROR;
    }

    count = stream->state.count;

    rc = ngx_centrifugo_stream_trim(hub, n, stream,
                                    (ngx_uint_t) (stream->state.top
                                                  - kept->offset),
                                    *left);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    count -= stream->state.count;
    *left -= count;

    evict_count(hub_shard(hub->shm, n),
                ngx_centrifugo_shard_idle(hub->shm, rec) ? EVICTED_HISTORY
                                                         : EVICTED_SUBSCRIBED,
                count);

    return rc;
}


static ngx_int_t
evict_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t *left)
{
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    stream = evict_find(hub->shm, ref, &rec);

    if (stream == NULL) {
        return NGX_ERROR;
    }

    if (stream->state.count || !ngx_centrifugo_shard_idle(hub->shm, rec)) {
        return NGX_OK;
    }

    if (ngx_centrifugo_stream_remove(hub, n, stream) != NGX_OK) {
        return NGX_ERROR;
    }

    evict_count(hub_shard(hub->shm, n), EVICTED_STREAM, 1);
    (*left)--;

    return NGX_OK;
}


static ngx_centrifugo_stream_t *
evict_find(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_ref_t ref,
    ngx_centrifugo_record_t **rec)
{
    ngx_centrifugo_stream_t  *stream;

    stream = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream == NULL) {
        return NULL;
    }

    *rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                     NGX_CENTRIFUGO_ITEM_CHANNEL);

    return *rec ? stream : NULL;
}
