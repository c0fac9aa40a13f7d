/*
 * Pages of 4 KB that shards take from one store and cut into items of one
 * size.  The table of owners is the truth.  A shard names in its intent what
 * it does to a page, with absolute values, so that whoever gets its lock after
 * a kill can do it again.
 */

#include "ngx_centrifugo_hub_shm.h"


#define PAGE_UNIT   16
#define PAGE_FEW    8           /* of all pages, one in so many */

#define page_at(shm, n)                                                      \
    ((ngx_centrifugo_page_t *) hub_at(shm, (shm)->pages_at                   \
                                  + (uint64_t) (n) * NGX_CENTRIFUGO_PAGE))
#define page_owner(shm, n)  ((u_char *) hub_at(shm, (shm)->owners_at) + (n))
#define page_mine(shm, n, place)    /* of a list: page + 1, or 0 */          \
    ((place) == 0                                                            \
     || ((place) <= (shm)->pages && *page_owner(shm, (place) - 1) == (n) + 1))
#define page_bitmap(shm)    ((uint64_t *) hub_at(shm, (shm)->bitmap_at))
#define page_of(shm, ref)                                                    \
    ((ngx_uint_t) (((uint64_t) (ref) * PAGE_UNIT - (shm)->pages_at)          \
                   / NGX_CENTRIFUGO_PAGE))
#define page_used(shm, n)   /* is read without the lock */                   \
    __atomic_store_n(&(shm)->pages_used, n, __ATOMIC_RELAXED)
#define page_written(p, ms)     /* this, too */                              \
    __atomic_store_n(&(p)->written, ms, __ATOMIC_RELAXED)
#define page_room(class)                                                     \
    ((NGX_CENTRIFUGO_PAGE - sizeof(ngx_centrifugo_page_t))                   \
     / page_size(class))
#define page_size(class)  ngx_centrifugo_page_class_size(class)


static ngx_int_t page_refill(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_uint_t class, uint64_t keep);
static ngx_int_t page_find(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t *found);
static void page_cut(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page,
    ngx_uint_t class);
static ngx_int_t page_link(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_shard_t *shard, ngx_uint_t page, ngx_uint_t class);
static ngx_int_t page_unlink(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_shard_t *shard, ngx_uint_t page, ngx_uint_t class);
static ngx_int_t page_list(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_shard_t *shard);
static ngx_int_t page_give(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page);
static ngx_int_t page_count(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page);
static ngx_int_t page_lock(ngx_centrifugo_hub_shm_t *shm);


/*
 * What is larger than a few of these is stored in two of them, or as a chain:
 * more sizes would save less than the pages cost that each has in each shard.
 */

const uint16_t  ngx_centrifugo_page_sizes[NGX_CENTRIFUGO_SIZES] = {
    NGX_CENTRIFUGO_ITEM_MIN, 64, 80, 96, 112, 128, 144, 176, 208, 256, 336,
    448, 672, 1008, 1344, NGX_CENTRIFUGO_ITEM_MAX
};

/* of units of 16, the classes of these sizes */

static const u_char  page_classes[NGX_CENTRIFUGO_ITEM_MAX / PAGE_UNIT + 1] = {
    0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9, 9, 9,
    [17 ... 21] = 10, [22 ... 28] = 11, [29 ... 42] = 12, [43 ... 63] = 13,
    [64 ... 84] = 14, [85 ... 127] = 15
};


ngx_uint_t
ngx_centrifugo_page_holds(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_ref_t ref)
{
    size_t                  room, at;
    ngx_uint_t              page;
    ngx_centrifugo_page_t  *p;

    if (ngx_centrifugo_page_item(shm, ref, &room) == NULL) {
        return 0;
    }

    page = page_of(shm, ref);
    p = page_at(shm, page);
    at = NGX_CENTRIFUGO_PAGE - sizeof(ngx_centrifugo_page_t) - room;

    return *page_owner(shm, page) == n + 1
           && p->class < NGX_CENTRIFUGO_CLASSES
           && at % page_size(p->class) == 0
           && at / page_size(p->class) < page_room(p->class);
}


ngx_uint_t
ngx_centrifugo_page_class(size_t size)
{
    return (size <= NGX_CENTRIFUGO_ITEM_MAX)
           ? page_classes[(size + PAGE_UNIT - 1) / PAGE_UNIT]
           : NGX_CENTRIFUGO_SIZES;
}


void
ngx_centrifugo_page_touch(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref)
{
    page_written(page_at(shm, page_of(shm, ref)), ngx_current_msec);
}


ngx_int_t
ngx_centrifugo_page_take(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_uint_t class, uint64_t keep, ngx_centrifugo_ref_t *ref)
{
    size_t                    room;
    ngx_int_t                 rc;
    ngx_uint_t                page;
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_item_t    *item;

    shard = hub_shard(shm, n);

    if (shard->avail[class] == 0) {
        rc = page_refill(shm, n, class, keep);

        if (rc != NGX_OK) {
            shard->wanted = (uint32_t) class + 1;
            return rc;
        }
    }

    page = shard->avail[class] - 1;

    if (page >= shm->pages || *page_owner(shm, page) != n + 1) {
        return NGX_ERROR;
    }

    p = page_at(shm, page);
    item = ngx_centrifugo_page_item(shm, p->free, &room);

    if (item == NULL || p->class != class || p->nfree == 0
        || page_of(shm, p->free) != page)
    {
        return NGX_ERROR;
    }

    *ref = p->free;

    shard->intent.item = p->free;
    shard->intent.class = (uint32_t) class;
    shard->intent.used = shard->used[class] + 1;
    intent_store(&shard->intent.state, NGX_CENTRIFUGO_INTENT_NODE);
    NGX_CENTRIFUGO_POINT(PAGE_NAMED);

    intent_store(&p->free, item->next);
    NGX_CENTRIFUGO_POINT(PAGE_TAKEN);

    p->nfree--;
    page_written(p, ngx_current_msec);

    return p->nfree ? NGX_OK : page_unlink(shm, shard, page, class);
}


ngx_int_t
ngx_centrifugo_page_put(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_uint_t class)
{
    size_t                    room;
    ngx_uint_t                page;
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_item_t    *item;

    item = ngx_centrifugo_page_item(shm, ref, &room);

    if (item == NULL || class >= NGX_CENTRIFUGO_CLASSES) {
        return NGX_ERROR;
    }

    page = page_of(shm, ref);
    p = page_at(shm, page);

    if (p->class != class || *page_owner(shm, page) != n + 1) {
        return NGX_ERROR;
    }

    if (p->free != ref) {

        /* who remembers a reference looks at the type */

        item->type = NGX_CENTRIFUGO_ITEM_FREE;
        intent_store(&item->next, p->free);
        NGX_CENTRIFUGO_POINT(PAGE_PUT);
        intent_store(&p->free, ref);
        NGX_CENTRIFUGO_POINT(PAGE_FREED);

        /* a repair has counted before it comes here */

        p->nfree++;
    }

    return p->linked ? NGX_OK
                     : page_link(shm, hub_shard(shm, n), page, class);
}


ngx_int_t
ngx_centrifugo_page_trim(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_ref_t ref)
{
    ngx_uint_t               page;
    ngx_centrifugo_page_t   *p;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);

    if (!ngx_centrifugo_page_holds(shm, n, ref)) {

        /* a repair can't know whether the page was given back already */

        return NGX_OK;
    }

    page = page_of(shm, ref);
    p = page_at(shm, page);

    /* the last page of a class stays, for the next item, if there are more */

    if (!p->linked || p->nfree < page_room(p->class)
        || (p->prev == 0 && p->next == 0
            && hub_pages_left(shm) > shm->pages / PAGE_FEW))
    {
        return NGX_OK;
    }

    intent_store(&shard->intent.moving, (uint32_t) page + 1);

    if (page_unlink(shm, shard, page, p->class) != NGX_OK) {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(PAGE_EMPTY);
    (void) page_give(shm, page);

    intent_store(&shard->intent.moving, 0);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_page_shed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_uint_t               class, page;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);

    for (class = 0; class < NGX_CENTRIFUGO_CLASSES; class++) {

        if (shard->avail[class] == 0) {
            continue;
        }

        page = shard->avail[class] - 1;

        if (page >= shm->pages
            || ngx_centrifugo_page_trim(shm, n, hub_ref(shm,
                                                page_at(shm, page) + 1))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_page_owner(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page)
{
    u_char  owner;

    owner = __atomic_load_n(page_owner(shm, page), __ATOMIC_RELAXED);

    return owner ? owner - 1 : NGX_CENTRIFUGO_SHARDS_MAX;
}


ngx_uint_t
ngx_centrifugo_page_seen(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page,
    ngx_centrifugo_page_seen_t *seen)
{
    ngx_centrifugo_page_t  *p;

    p = page_at(shm, page);

    seen->page = (uint32_t) page + 1;
    seen->class = __atomic_load_n(&p->class, __ATOMIC_RELAXED);
    seen->written = __atomic_load_n(&p->written, __ATOMIC_RELAXED);

    return seen->class;
}


ngx_centrifugo_item_t *
ngx_centrifugo_page_nth(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_uint_t page, ngx_uint_t nth)
{
    ngx_centrifugo_page_t  *p;

    p = page_at(shm, page);

    if (*page_owner(shm, page) != n + 1 || p->class >= NGX_CENTRIFUGO_CLASSES
        || nth >= page_room(p->class))
    {
        return NULL;
    }

    return (ngx_centrifugo_item_t *) ((u_char *) (p + 1)
                                      + nth * page_size(p->class));
}


/*
 * Takes a page from the store and cuts it into items.  The page is named in
 * the intent before it gets an owner and until it is in the list of its class.
 */

static ngx_int_t
page_refill(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n, ngx_uint_t class,
    uint64_t keep)
{
    uint64_t                *word;
    ngx_uint_t               page;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);

    if (page_lock(shm) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (hub_pages_left(shm) <= keep || page_find(shm, &page) != NGX_OK) {
        ngx_centrifugo_lock_release(&shm->pages_lock);
        return NGX_DECLINED;
    }

    intent_store(&shard->intent.moving, (uint32_t) page + 1);
    NGX_CENTRIFUGO_POINT(PAGE_MOVING);

    intent_store(page_owner(shm, page), (u_char) (n + 1));
    NGX_CENTRIFUGO_POINT(PAGE_OWNED);

    word = &page_bitmap(shm)[page / 64];
    intent_store(word, *word | 1ULL << (page % 64));
    page_used(shm, shm->pages_used + 1);

    ngx_centrifugo_lock_release(&shm->pages_lock);

    NGX_CENTRIFUGO_POINT(PAGE_UNCUT);
    page_cut(shm, page, class);

    if (page_link(shm, shard, page, class) != NGX_OK) {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(PAGE_LINKED);

    intent_store(&shard->intent.moving, 0);

    return NGX_OK;
}


static ngx_int_t
page_find(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t *found)
{
    uint64_t    *bitmap;
    ngx_uint_t   i, word, page;

    if (shm->pages_used >= shm->pages) {
        return NGX_DECLINED;
    }

    bitmap = page_bitmap(shm);

    for (i = 0; i < shm->page_words; i++) {
        word = (shm->page_hint + i) % shm->page_words;

        if (~bitmap[word] == 0) {
            continue;
        }

        page = word * 64 + __builtin_ctzll(~bitmap[word]);

        if (page < shm->pages) {
            shm->page_hint = (uint32_t) word;
            *found = page;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static void
page_cut(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page, ngx_uint_t class)
{
    size_t                    size;
    ngx_uint_t                i;
    ngx_centrifugo_ref_t      next;
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_item_t    *item;

    p = page_at(shm, page);
    size = page_size(class);
    next = 0;

    for (i = page_room(class); i > 0; i--) {
        item = (ngx_centrifugo_item_t *) ((u_char *) (p + 1)
                                          + (i - 1) * size);
        item->next = next;
        item->type = NGX_CENTRIFUGO_ITEM_FREE;
        next = (ngx_centrifugo_ref_t) (((u_char *) item - (u_char *) shm)
                                       / PAGE_UNIT);
    }

    p->prev = 0;
    p->next = 0;
    p->free = next;
    __atomic_store_n(&p->class, (uint16_t) class, __ATOMIC_RELAXED);
    p->nfree = (uint16_t) page_room(class);
    p->linked = 0;
    page_written(p, ngx_current_msec);
}


/*
 * A class's list of pages with free items.  What is stored stands in the
 * intent first, so page_list() can do it again.
 */

static ngx_int_t
page_link(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_shard_t *shard,
    ngx_uint_t page, ngx_uint_t class)
{
    ngx_centrifugo_intent_t  *intent;

    intent = &shard->intent;

    intent->list_class = (uint32_t) class;
    intent->list_page = (uint32_t) page + 1;
    intent->list_prev = 0;
    intent->list_next = shard->avail[class];
    intent_store(&intent->list, NGX_CENTRIFUGO_LIST_LINK);
    NGX_CENTRIFUGO_POINT(LIST_LINK);

    return page_list(shm, shard);
}


static ngx_int_t
page_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_shard_t *shard,
    ngx_uint_t page, ngx_uint_t class)
{
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_intent_t  *intent;

    intent = &shard->intent;
    p = page_at(shm, page);

    intent->list_class = (uint32_t) class;
    intent->list_page = (uint32_t) page + 1;
    intent->list_prev = p->prev;
    intent->list_next = p->next;
    intent_store(&intent->list, NGX_CENTRIFUGO_LIST_UNLINK);
    NGX_CENTRIFUGO_POINT(LIST_UNLINK);

    return page_list(shm, shard);
}


static ngx_int_t
page_list(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_shard_t *shard)
{
    ngx_uint_t                link, n;
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_intent_t  *intent;

    intent = &shard->intent;

    n = (ngx_uint_t) (shard - hub_shard(shm, 0));

    /* no page of another shard is touched */

    if (intent->list_class >= NGX_CENTRIFUGO_CLASSES
        || intent->list_page == 0
        || !page_mine(shm, n, intent->list_page)
        || !page_mine(shm, n, intent->list_prev)
        || !page_mine(shm, n, intent->list_next))
    {
        return NGX_ERROR;
    }

    link = (intent->list == NGX_CENTRIFUGO_LIST_LINK);
    p = page_at(shm, intent->list_page - 1);

    p->prev = link ? intent->list_prev : 0;
    p->next = link ? intent->list_next : 0;

    if (intent->list_next) {
        page_at(shm, intent->list_next - 1)->prev
            = link ? intent->list_page : intent->list_prev;
    }

    if (intent->list_prev) {
        page_at(shm, intent->list_prev - 1)->next
            = link ? intent->list_page : intent->list_next;

    } else {
        shard->avail[intent->list_class]
            = link ? intent->list_page : intent->list_next;
    }

    NGX_CENTRIFUGO_POINT(LIST_STORED);

    p->linked = (uint32_t) link;

    intent_store(&intent->list, NGX_CENTRIFUGO_LIST_NONE);

    return NGX_OK;
}


static ngx_int_t
page_give(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page)
{
    uint64_t  *word;

    if (page_lock(shm) != NGX_OK) {
        return NGX_ERROR;
    }

    intent_store(page_owner(shm, page), 0);
    NGX_CENTRIFUGO_POINT(PAGE_GIVEN);

    word = &page_bitmap(shm)[page / 64];
    intent_store(word, *word & ~(1ULL << (page % 64)));
    page_used(shm, shm->pages_used - 1);

    /* it may be the only one */

    shm->page_hint = (uint32_t) (page / 64);

    ngx_centrifugo_lock_release(&shm->pages_lock);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_page_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_uint_t                page, mine;
    ngx_centrifugo_intent_t  *intent;

    intent = &hub_shard(shm, n)->intent;

    if (intent->list != NGX_CENTRIFUGO_LIST_NONE
        && page_list(shm, hub_shard(shm, n)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (intent->moving) {
        page = intent->moving - 1;

        if (page >= shm->pages || page_lock(shm) != NGX_OK) {
            return NGX_ERROR;
        }

        mine = (*page_owner(shm, page) == n + 1);

        ngx_centrifugo_lock_release(&shm->pages_lock);

        /* nothing of it is in use: it was on its way in or out */

        if (mine && page_at(shm, page)->linked == 0
            && page_give(shm, page) != NGX_OK)
        {
            return NGX_ERROR;
        }

        intent_store(&intent->moving, 0);
    }

    /* the item in hand may have left its list without being counted */

    if (intent->state != NGX_CENTRIFUGO_INTENT_NONE
        && intent->state != NGX_CENTRIFUGO_INTENT_WIPE)
    {
        return page_count(shm, page_of(shm, intent->item));
    }

    return NGX_OK;
}


static ngx_int_t
page_count(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t page)
{
    size_t                    room;
    ngx_uint_t                i;
    ngx_centrifugo_ref_t      ref;
    ngx_centrifugo_page_t    *p;
    ngx_centrifugo_item_t    *item;

    if (page >= shm->pages) {
        return NGX_ERROR;
    }

    p = page_at(shm, page);

    if (p->class >= NGX_CENTRIFUGO_CLASSES) {
        return NGX_ERROR;
    }

    i = 0;

    for (ref = p->free; ref; ref = item->next) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        if (item == NULL || page_of(shm, ref) != page
            || i++ == page_room(p->class))
        {
            return NGX_ERROR;
        }
    }

    p->nfree = (uint16_t) i;

    return NGX_OK;
}


void
ngx_centrifugo_page_drop(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    uint64_t    *word;
    ngx_uint_t   i;

    if (page_lock(shm) != NGX_OK) {
        return;
    }

    /* the one walk over all pages: a wipe is the end of a broken shard */

    for (i = 0; i < shm->pages; i++) {

        if (*page_owner(shm, i) != n + 1) {
            continue;
        }

        page_at(shm, i)->linked = 0;
        intent_store(page_owner(shm, i), 0);

        word = &page_bitmap(shm)[i / 64];
        intent_store(word, *word & ~(1ULL << (i % 64)));
        page_used(shm, shm->pages_used - 1);
    }

    ngx_centrifugo_lock_release(&shm->pages_lock);
}


/*
 * After a death bitmap and count are made from the table of owners; never from
 * the shards' lists, since another shard may hold a page that it has not
 * linked yet.
 */

static ngx_int_t
page_lock(ngx_centrifugo_hub_shm_t *shm)
{
    u_char      *owner;
    uint64_t     used, *bitmap;
    ngx_int_t    rc;
    ngx_uint_t   i;

    rc = ngx_centrifugo_lock_take(&shm->pages_lock, 0);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    shm->pages_repairs++;
    owner = page_owner(shm, 0);
    bitmap = page_bitmap(shm);
    used = 0;

    for (i = 0; i < shm->pages; i++) {
        if (owner[i]) {
            bitmap[i / 64] |= 1ULL << (i % 64);
            used++;

        } else {
            bitmap[i / 64] &= ~(1ULL << (i % 64));
        }
    }

    page_used(shm, used);

    return NGX_OK;
}
