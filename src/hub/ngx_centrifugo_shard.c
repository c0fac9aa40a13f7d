/*
 * Shards: channel records in tables, memory in size classes cut from pages,
 * and the intent that lets a survivor finish or undo what a killed worker
 * began.  Every step of a repair may itself be cut off and done again.
 */

#include "ngx_centrifugo_hub_shm.h"


#define SHARD_UNIT   16

#define shard_ref(shm, p)                                                    \
    ((ngx_centrifugo_ref_t) (((u_char *) (p) - (u_char *) (shm))             \
                             / SHARD_UNIT))
#define shard_page(shm, n)                                                   \
    ((ngx_centrifugo_page_t *) hub_at(shm, (shm)->pages_at                   \
                                  + (uint64_t) (n) * NGX_CENTRIFUGO_PAGE))
#define shard_owner(shm, n)  ((u_char *) hub_at(shm, (shm)->owners_at) + (n))
#define shard_bitmap(shm)    ((uint64_t *) hub_at(shm, (shm)->bitmap_at))


static ngx_int_t shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_repair_page(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
static ngx_centrifugo_record_t *shard_take(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_uint_t class);
static void shard_put(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_shard_t *shard, ngx_centrifugo_record_t *item,
    ngx_uint_t class);
static ngx_int_t shard_refill(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_uint_t class);
static void shard_cut(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_shard_t *shard, ngx_uint_t page, ngx_uint_t class);
static ngx_int_t shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t shard_pages_lock(ngx_centrifugo_hub_shm_t *shm);


static const uint16_t  shard_sizes[NGX_CENTRIFUGO_CLASSES] = {
    64, 96, 128, 192, 320, 480, 992, 2032
};


ngx_centrifugo_record_t *
ngx_centrifugo_shard_item(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref)
{
    uint64_t  at;

    at = (uint64_t) ref * SHARD_UNIT;

    if (at < shm->pages_at
        || at >= shm->pages_at + (uint64_t) shm->pages * NGX_CENTRIFUGO_PAGE)
    {
        return NULL;
    }

    return hub_at(shm, at);
}


ngx_int_t
ngx_centrifugo_shard_lock(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_int_t                rc;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);

    rc = ngx_centrifugo_lock_take(&shard->lock, 0);

    if (rc == NGX_DECLINED) {
        shard->repairs++;
        rc = shard_repair(shm, n);

        if (rc != NGX_OK) {
            ngx_centrifugo_lock_release(&shard->lock);
        }
    }

    return rc;
}


void
ngx_centrifugo_shard_unlock(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_lock_release(&hub_shard(shm, n)->lock);
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_find(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name)
{
    u_char                   *p;
    ngx_centrifugo_ref_t      ref;
    ngx_centrifugo_record_t  *rec;

    ref = *hub_bucket(shm, n, (hash >> 32) & (shm->buckets - 1));

    while (ref) {
        rec = ngx_centrifugo_shard_item(shm, ref);

        if (rec == NULL) {
            return NULL;
        }

        if (rec->hash == (uint32_t) hash && rec->name_len == name->len) {
            p = (u_char *) &rec->mask[shm->mask_words];

            if (ngx_memcmp(p, name->data, name->len) == 0) {
                return rec;
            }
        }

        ref = rec->next;
    }

    return NULL;
}


ngx_centrifugo_record_t *
ngx_centrifugo_shard_create(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    uint64_t hash, const ngx_str_t *name, ngx_uint_t slot)
{
    size_t                    size;
    ngx_uint_t                class, bucket;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    size = offsetof(ngx_centrifugo_record_t, mask)
           + shm->mask_words * sizeof(uint64_t) + name->len;

    for (class = 0; shard_sizes[class] < size; class++) {
        if (class == NGX_CENTRIFUGO_CLASSES - 1) {
            return NULL;
        }
    }

    rec = shard_take(shm, n, class);
    if (rec == NULL) {
        return NULL;
    }

    bucket = (hash >> 32) & (shm->buckets - 1);

    rec->next = *hub_bucket(shm, n, bucket);
    rec->hash = (uint32_t) hash;
    rec->id = __atomic_fetch_add(&shm->next_id, 1, __ATOMIC_RELAXED);
    rec->name_len = (uint16_t) name->len;
    rec->class = (uint16_t) class;
    ngx_memzero(rec->mask, shm->mask_words * sizeof(uint64_t));
    rec->mask[slot / 64] = 1ULL << (slot % 64);
    ngx_memcpy(&rec->mask[shm->mask_words], name->data, name->len);

    intent->bucket = (uint32_t) bucket;
    intent->channels = shard->channels + 1;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_LINK);

    intent_store(hub_bucket(shm, n, bucket), shard_ref(shm, rec));
    intent_store(&shard->channels, intent->channels);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return rec;
}


ngx_uint_t
ngx_centrifugo_shard_clear(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_uint_t slot)
{
    uint64_t                  bit;
    ngx_uint_t                i;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    bit = 1ULL << (slot % 64);

    for (i = 0; i < shm->mask_words; i++) {
        if (rec->mask[i] & ~(i == slot / 64 ? bit : 0)) {
            intent_store(&rec->mask[slot / 64], rec->mask[slot / 64] & ~bit);
            return 0;
        }
    }

    intent = &shard->intent;

    intent->item = shard_ref(shm, rec);
    intent->class = rec->class;
    intent->bucket = (uint32_t) (ngx_centrifugo_hash(shm->seed,
                                     (u_char *) &rec->mask[shm->mask_words],
                                     rec->name_len) >> 32)
                     & (shm->buckets - 1);
    intent->channels = shard->channels - 1;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_UNLINK);

    (void) shard_unlink(shm, n);

    return 1;
}


/*
 * Takes the record named by the intent out of its bucket, if it is still
 * there, and frees it; used by the one who began it and by the repair.
 */

static ngx_int_t
shard_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_ref_t     *prev;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec, *item;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    item = ngx_centrifugo_shard_item(shm, intent->item);

    if (item == NULL || intent->bucket >= shm->buckets
        || intent->class >= NGX_CENTRIFUGO_CLASSES)
    {
        return NGX_ERROR;
    }

    prev = hub_bucket(shm, n, intent->bucket);

    while (*prev) {
        if (*prev == intent->item) {
            intent_store(prev, item->next);
            break;
        }

        rec = ngx_centrifugo_shard_item(shm, *prev);

        if (rec == NULL) {
            return NGX_ERROR;
        }

        prev = &rec->next;
    }

    intent_store(&shard->channels, intent->channels);
    shard_put(shm, shard, item, intent->class);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


static ngx_int_t
shard_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_ref_t     *bucket;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *item;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (intent->moving && shard_repair_page(shm, n) != NGX_OK) {
        return NGX_ERROR;
    }

    switch (intent->state) {

    case NGX_CENTRIFUGO_INTENT_NONE:
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_NODE:

        item = ngx_centrifugo_shard_item(shm, intent->item);

        if (item == NULL || intent->class >= NGX_CENTRIFUGO_CLASSES) {
            return NGX_ERROR;
        }

        shard_put(shm, shard, item, intent->class);
        intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_LINK:

        if (ngx_centrifugo_shard_item(shm, intent->item) == NULL
            || intent->bucket >= shm->buckets)
        {
            return NGX_ERROR;
        }

        bucket = hub_bucket(shm, n, intent->bucket);

        /* its `next` was filled in before the state was */

        intent_store(bucket, intent->item);
        intent_store(&shard->channels, intent->channels);
        intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
        return NGX_OK;

    case NGX_CENTRIFUGO_INTENT_UNLINK:
        return shard_unlink(shm, n);

    default:
        return NGX_ERROR;
    }
}


/*
 * A free item of a class, named in the intent before it leaves its list.
 */

static ngx_centrifugo_record_t *
shard_take(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n, ngx_uint_t class)
{
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *item;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (shard->free[class] == 0 && shard_refill(shm, n, class) != NGX_OK) {
        return NULL;
    }

    item = ngx_centrifugo_shard_item(shm, shard->free[class]);
    if (item == NULL) {
        return NULL;
    }

    intent->item = shard->free[class];
    intent->class = (uint32_t) class;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NODE);

    intent_store(&shard->free[class], item->next);

    return item;
}


static void
shard_put(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_shard_t *shard,
    ngx_centrifugo_record_t *item, ngx_uint_t class)
{
    ngx_centrifugo_ref_t  ref;

    ref = shard_ref(shm, item);

    if (shard->free[class] == ref) {
        return;
    }

    intent_store(&item->next, shard->free[class]);
    intent_store(&shard->free[class], ref);
}


/*
 * Takes a page from the common ones and cuts it into items.  The page is
 * named in the intent before it gets an owner and until its items are in the
 * free list.
 */

static ngx_int_t
shard_refill(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n, ngx_uint_t class)
{
    uint64_t                 *bitmap;
    ngx_uint_t                i, word, page;
    ngx_centrifugo_shard_t   *shard;

    if (shard_pages_lock(shm) != NGX_OK) {
        return NGX_ERROR;
    }

    shard = hub_shard(shm, n);
    bitmap = shard_bitmap(shm);

    for (i = 0; i < shm->page_words; i++) {
        word = (shm->page_hint + i) % shm->page_words;

        if (~bitmap[word] == 0) {
            continue;
        }

        page = word * 64 + __builtin_ctzll(~bitmap[word]);

        if (page < shm->pages) {
            goto found;
        }
    }

    ngx_centrifugo_lock_release(&shm->pages_lock);

    return NGX_DECLINED;

found:

    shm->page_hint = (uint32_t) word;

    shard->intent.moving_class = (uint32_t) class;
    intent_store(&shard->intent.moving, (uint32_t) page + 1);

    intent_store(shard_owner(shm, page), (u_char) (n + 1));
    intent_store(&bitmap[word], bitmap[word] | 1ULL << (page % 64));
    shm->pages_used++;

    ngx_centrifugo_lock_release(&shm->pages_lock);

    shard_cut(shm, shard, page, class);

    intent_store(&shard->intent.moving, 0);

    return NGX_OK;
}


static void
shard_cut(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_shard_t *shard,
    ngx_uint_t n, ngx_uint_t class)
{
    size_t                    size;
    ngx_uint_t                i, count;
    ngx_centrifugo_ref_t      next;
    ngx_centrifugo_page_t    *page;
    ngx_centrifugo_record_t  *item;

    page = shard_page(shm, n);

    size = shard_sizes[class];
    count = (NGX_CENTRIFUGO_PAGE - sizeof(ngx_centrifugo_page_t)) / size;
    next = 0;

    for (i = count; i > 0; i--) {
        item = (ngx_centrifugo_record_t *) ((u_char *) (page + 1)
                                            + (i - 1) * size);
        item->next = next;
        next = shard_ref(shm, item);
    }

    if (shard->pages != n + 1) {
        page->class = (uint32_t) class;
        intent_store(&page->next, shard->pages);
        intent_store(&shard->pages, (uint32_t) n + 1);
    }

    intent_store(&shard->free[class], next);
}


/*
 * The page that was being moved: if its owner is this shard it is cut (again)
 * as long as the class has nothing free, which it had not when the page was
 * asked for; else the owner was never written and nothing happened.
 */

static ngx_int_t
shard_repair_page(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_uint_t                page, class, mine;
    ngx_centrifugo_shard_t   *shard;

    shard = hub_shard(shm, n);
    page = shard->intent.moving - 1;
    class = shard->intent.moving_class;

    if (page >= shm->pages || class >= NGX_CENTRIFUGO_CLASSES) {
        return NGX_ERROR;
    }

    if (shard_pages_lock(shm) != NGX_OK) {
        return NGX_ERROR;
    }

    mine = (*shard_owner(shm, page) == n + 1);

    ngx_centrifugo_lock_release(&shm->pages_lock);

    if (mine && shard->free[class] == 0) {
        shard_cut(shm, shard, page, class);
    }

    intent_store(&shard->intent.moving, 0);

    return NGX_OK;
}


/*
 * The table of owners is the truth, the bitmap and the count are made from it
 * after a death; never from the shards' lists, since another shard may hold a
 * page that it has not linked yet.
 */

static ngx_int_t
shard_pages_lock(ngx_centrifugo_hub_shm_t *shm)
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
    owner = shard_owner(shm, 0);
    bitmap = shard_bitmap(shm);
    used = 0;

    for (i = 0; i < shm->pages; i++) {
        if (owner[i]) {
            bitmap[i / 64] |= 1ULL << (i % 64);
            used++;

        } else {
            bitmap[i / 64] &= ~(1ULL << (i % 64));
        }
    }

    shm->pages_used = used;

    return NGX_OK;
}
