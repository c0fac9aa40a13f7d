/*
 * Eviction: when no page is left, pages of history are emptied, those first
 * that nothing was put into for the longest time.  So what goes is older than
 * most of what stays, whatever its size is, and the page is free for any shard
 * and for anything.  What nobody is subscribed to goes first; streams without
 * publications go when nothing else can, or when there are so many of them that
 * history would have nothing.
 */

#include "ngx_centrifugo_hub_shm.h"


#define EVICT_ITEMS    64           /* publications of one section */
#define EVICT_ROUNDS   8            /* sections, and one for each page */
#define EVICT_SIDED    3            /* pages in which what has subscribers is
                                       spared before it is not */
#define EVICT_SAMPLE   32           /* pages that are compared for each */
#define EVICT_LOOK     256          /* and passed over for these */
#define EVICT_SHARE    4            /* history keeps this part of the memory
                                       from streams that have none */

/* readers of figures take no lock */

#define evict_count(shard, what, n)                                          \
    __atomic_store_n(&(shard)->evicted[what], (shard)->evicted[what] + (n),  \
                     __ATOMIC_RELAXED)

#define EVICT_RESULT      0
#define EVICT_HISTORY     1
#define EVICT_SUBSCRIBED  2
#define EVICT_STREAM      3

#define evict_left(shm)                                                      \
    ((shm)->pages - __atomic_load_n(&(shm)->pages_used, __ATOMIC_RELAXED))
#define evict_enough(shm, evict)                                             \
    ((evict)->done || evict_left(shm) >= (evict)->goal)


/* what an eviction is for, and how far it is */
typedef struct {
    ngx_uint_t    shard;            /* that found no page */
    ngx_uint_t    class;            /* what it wanted one for */
    ngx_uint_t    alike;            /* another item of that class will do */
    ngx_uint_t    pages;            /* to be emptied */
    uint64_t      goal;             /* free pages */
    ngx_uint_t    items;            /* that went */
    ngx_uint_t    done;
} evict_t;

/* pages that are looked for */
typedef struct {
    ngx_uint_t    first;            /* class */
    ngx_uint_t    last;
    ngx_uint_t    shard;            /* NGX_CENTRIFUGO_SHARDS_MAX: any */
} evict_kind_t;


static ngx_int_t evict_shed(ngx_centrifugo_hub_t *hub, ngx_uint_t n);
static ngx_uint_t evict_poor(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static void evict_history(ngx_centrifugo_hub_t *hub, evict_t *evict);
static void evict_streams(ngx_centrifugo_hub_t *hub, evict_t *evict,
    ngx_uint_t own);
static void evict_sample(ngx_centrifugo_hub_t *hub, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen);
static void evict_remember(ngx_centrifugo_page_seen_t *seen, ngx_uint_t page,
    uint64_t written);
static ngx_int_t evict_oldest(ngx_centrifugo_hub_shm_t *shm,
    const evict_kind_t *kind, ngx_centrifugo_page_seen_t *seen,
    ngx_uint_t *page);
static ngx_int_t evict_page(ngx_centrifugo_hub_t *hub, evict_t *evict,
    ngx_uint_t page, ngx_uint_t all);
static ngx_int_t evict_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t all, ngx_uint_t *left);
static ngx_int_t evict_kept(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t all, ngx_uint_t *left);
static ngx_int_t evict_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t *left);
static ngx_uint_t evict_subscribed(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec);


ngx_int_t
ngx_centrifugo_evict(ngx_centrifugo_hub_t *hub, ngx_uint_t n, size_t size)
{
    evict_t                    evict;
    uint64_t                   left;
    ngx_uint_t                 own;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = evict_left(shm);

    evict.shard = n;
    evict.class = __atomic_load_n(&hub_shard(shm, n)->wanted, __ATOMIC_RELAXED)
                  - 1;
    evict.alike = (size <= NGX_CENTRIFUGO_ITEM_MAX);
    evict.pages = size / NGX_CENTRIFUGO_PAGE + 1;
    evict.items = 0;
    evict.done = 0;

    if (left < shm->pages / NGX_CENTRIFUGO_SPARE) {

        /* the spare ones are used: little by little they are put back */

        evict.pages++;
    }

    evict.goal = left + evict.pages;

    if (evict_shed(hub, n) != NGX_OK) {
        return NGX_DECLINED;
    }

    own = (evict.class < NGX_CENTRIFUGO_SIZES && evict_poor(shm, n));

    if (own) {
        evict_streams(hub, &evict, 1);
    }

    if (!evict_enough(shm, &evict)) {
        evict_history(hub, &evict);
    }

    if (evict.items == 0 && evict_left(shm) <= left && !own) {
        evict_streams(hub, &evict,
                      evict.alike && evict.class < NGX_CENTRIFUGO_SIZES);
    }

    if (evict.items == 0 && evict_left(shm) <= left) {
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


/* whether history has little beside records; one shard is like another */

static ngx_uint_t
evict_poor(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    uint64_t                 bytes[2];
    ngx_uint_t               class;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);
    bytes[0] = 0;
    bytes[1] = 0;

    for (class = 0; class < NGX_CENTRIFUGO_CLASSES; class++) {
        bytes[class / NGX_CENTRIFUGO_SIZES]
            += __atomic_load_n(&shard->used[class], __ATOMIC_RELAXED)
               * ngx_centrifugo_page_class_size(class);
    }

    return bytes[1] * EVICT_SHARE < bytes[0] + bytes[1];
}


static void
evict_history(ngx_centrifugo_hub_t *hub, evict_t *evict)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n, rounds, page, all;
    ngx_uint_t                 sided[EVICT_SIDED];
    ngx_centrifugo_hub_shm_t  *shm;
    static const evict_kind_t  kind = {
        NGX_CENTRIFUGO_SIZES, NGX_CENTRIFUGO_CLASSES - 1,
        NGX_CENTRIFUGO_SHARDS_MAX
    };

    shm = hub->shm;
    rc = NGX_OK;
    page = 0;
    all = 0;
    n = 0;

    for (rounds = EVICT_ROUNDS + evict->pages; rounds; rounds--) {

        if (rc != NGX_AGAIN) {
            evict_sample(hub, &kind, hub->old);
            all = 0;

            if (n == EVICT_SIDED
                || evict_oldest(shm, &kind, hub->old, &page) != NGX_OK)
            {
                if (n == 0) {
                    return;
                }

                all = 1;
                page = sided[0];
                ngx_memmove(&sided[0], &sided[1], --n * sizeof(ngx_uint_t));
            }
        }

        rc = evict_page(hub, evict, page, all);

        if (evict_enough(shm, evict)) {
            return;
        }

        if (rc == NGX_DECLINED && !all) {
            sided[n++] = page;
        }
    }
}


/* `own`: only a stream of the shard that wants its record, or its channel's */

static void
evict_streams(ngx_centrifugo_hub_t *hub, evict_t *evict, ngx_uint_t own)
{
    ngx_int_t                   rc;
    ngx_uint_t                  rounds, page, items;
    evict_kind_t                kind;
    ngx_centrifugo_page_seen_t  seen[NGX_CENTRIFUGO_PAGES_SEEN];

    kind.first = ngx_centrifugo_page_class(sizeof(ngx_centrifugo_stream_t));
    kind.last = kind.first;
    kind.shard = own ? evict->shard : NGX_CENTRIFUGO_SHARDS_MAX;

    ngx_memzero(seen, sizeof(seen));
    evict_sample(hub, &kind, seen);

    rc = NGX_OK;
    page = 0;

    for (rounds = EVICT_ROUNDS + evict->pages; rounds; rounds--) {

        if (rc != NGX_AGAIN
            && evict_oldest(hub->shm, &kind, seen, &page) != NGX_OK)
        {
            return;
        }

        items = evict->items;
        rc = evict_page(hub, evict, page, 1);

        if (own && evict->items > items) {
            evict->done = 1;
        }

        if (evict_enough(hub->shm, evict)) {
            return;
        }
    }
}


/*
 * Some of the pages behind those that were looked at last are remembered if
 * they are older than what is.
 */

static void
evict_sample(ngx_centrifugo_hub_t *hub, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen)
{
    uint64_t                   written;
    ngx_uint_t                 i, n, most, page, class, owner;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    most = (kind->shard == NGX_CENTRIFUGO_SHARDS_MAX)
           ? EVICT_LOOK : EVICT_LOOK * shm->shards;
    n = 0;

    for (i = 0; i < shm->pages && n < EVICT_SAMPLE; i++) {

        if (i >= most && n) {
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

        class = ngx_centrifugo_page_seen(shm, page, &written);

        if (class >= kind->first && class <= kind->last) {
            evict_remember(seen, page, written);
            n++;
        }
    }
}


static void
evict_remember(ngx_centrifugo_page_seen_t *seen, ngx_uint_t page,
    uint64_t written)
{
    ngx_uint_t                   i;
    ngx_centrifugo_page_seen_t  *place;

    place = NULL;

    for (i = 0; i < NGX_CENTRIFUGO_PAGES_SEEN; i++) {

        if (seen[i].page == page + 1) {
            seen[i].written = written;
            return;
        }

        /* one that is free, or the youngest */

        if (place == NULL || seen[i].page == 0
            || (place->page && seen[i].written > place->written))
        {
            place = &seen[i];
        }
    }

    if (place->page == 0 || place->written > written) {
        place->page = (uint32_t) page + 1;
        place->written = written;
    }
}


static ngx_int_t
evict_oldest(ngx_centrifugo_hub_shm_t *shm, const evict_kind_t *kind,
    ngx_centrifugo_page_seen_t *seen, ngx_uint_t *page)
{
    uint64_t                     written;
    ngx_uint_t                   i, class;
    ngx_centrifugo_page_seen_t  *oldest;

    for ( ;; ) {
        oldest = NULL;

        for (i = 0; i < NGX_CENTRIFUGO_PAGES_SEEN; i++) {
            if (seen[i].page
                && (oldest == NULL || seen[i].written < oldest->written))
            {
                oldest = &seen[i];
            }
        }

        if (oldest == NULL) {
            return NGX_DECLINED;
        }

        *page = oldest->page - 1;
        oldest->page = 0;
        class = ngx_centrifugo_page_seen(shm, *page, &written);

        /* it may be another's by now, or have got something new */

        if (written == oldest->written && class >= kind->first
            && class <= kind->last)
        {
            return NGX_OK;
        }
    }
}


/*
 * One section: `all`, or what nobody is subscribed to goes from a page, with
 * what is older in the same streams.  NGX_OK: nothing is left that may go;
 * NGX_AGAIN: to be called again; NGX_DECLINED: something stays in it.
 */

static ngx_int_t
evict_page(ngx_centrifugo_hub_t *hub, evict_t *evict, ngx_uint_t page,
    ngx_uint_t all)
{
    uint64_t                   written;
    uint32_t                   generation;
    ngx_int_t                  rc;
    ngx_uint_t                 i, n, class, left, stays;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    n = ngx_centrifugo_page_owner(shm, page);

    if (n == NGX_CENTRIFUGO_SHARDS_MAX
        || ngx_centrifugo_shard_lock(hub, n) != NGX_OK)
    {
        return NGX_OK;
    }

    shard = hub_shard(shm, n);
    generation = shard->generation;
    class = ngx_centrifugo_page_seen(shm, page, &written);
    left = EVICT_ITEMS;
    stays = 0;
    rc = NGX_OK;

    for (i = 0; rc == NGX_OK; i++) {

        /* with its last item the page goes, too */

        item = ngx_centrifugo_page_nth(shm, n, page, i);

        if (item == NULL) {
            break;
        }

        rc = evict_item(hub, n, item, all, &left);

        if (rc == NGX_DECLINED) {
            stays = 1;
            rc = NGX_OK;
        }

        NGX_CENTRIFUGO_POINT(EVICT_ITEM);
    }

    if (rc == NGX_ERROR && shard->generation == generation) {
        ngx_centrifugo_shard_wipe(hub, n);
    }

    ngx_centrifugo_shard_unlock(hub, n);

    evict->items += EVICT_ITEMS - left;

    if (left < EVICT_ITEMS && evict->alike && n == evict->shard
        && class == evict->class)
    {
        evict->done = 1;
    }

    return (rc != NGX_OK) ? rc : stays ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
evict_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, ngx_uint_t all, ngx_uint_t *left)
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
        return evict_kept(hub, n, ref, all, left);

    case NGX_CENTRIFUGO_ITEM_MORE:
        return evict_kept(hub, n, item->hash, all, left);

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

        evict_count(hub_shard(hub->shm, n), EVICT_RESULT, 1);
        (*left)--;

        return NGX_OK;

    default:
        return NGX_DECLINED;
    }
}


/* a publication, and what is older of its stream */

static ngx_int_t
evict_kept(ngx_centrifugo_hub_t *hub, ngx_uint_t n, ngx_centrifugo_ref_t ref,
    ngx_uint_t all, ngx_uint_t *left)
{
    ngx_int_t                  rc;
    ngx_uint_t                 count, subscribed;
    ngx_centrifugo_kept_t     *kept;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_stream_t   *stream;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    rec = NULL;
    stream = NULL;

    kept = ngx_centrifugo_shard_item(shm, ref,
                                     NGX_CENTRIFUGO_ITEM_PUBLICATION);
    if (kept != NULL) {
        stream = ngx_centrifugo_shard_item(shm, kept->stream,
                                           NGX_CENTRIFUGO_ITEM_STREAM);
    }

    if (stream != NULL) {
        rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec == NULL || kept->offset > stream->state.top) {
        return NGX_ERROR;
    }

    subscribed = evict_subscribed(shm, rec);

    if (subscribed && !all) {
        return NGX_DECLINED;
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

    evict_count(hub_shard(shm, n),
                subscribed ? EVICT_SUBSCRIBED : EVICT_HISTORY, count);

    return rc;
}


static ngx_int_t
evict_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t *left)
{
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_stream_t   *stream;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    rec = NULL;

    stream = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream != NULL) {
        rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec == NULL) {
        return NGX_ERROR;
    }

    if (stream->state.count || evict_subscribed(shm, rec)) {
        return NGX_DECLINED;
    }

    if (ngx_centrifugo_stream_remove(hub, n, stream) != NGX_OK) {
        return NGX_ERROR;
    }

    evict_count(hub_shard(shm, n), EVICT_STREAM, 1);
    (*left)--;

    return NGX_OK;
}


/* whether a client that is there wants what the channel has */

static ngx_uint_t
evict_subscribed(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_record_t *rec)
{
    ngx_uint_t  i;

    for (i = 0; i < shm->mask_words; i++) {
        if (rec->mask[i]) {
            return 1;
        }
    }

    return rec->presence != 0;
}
