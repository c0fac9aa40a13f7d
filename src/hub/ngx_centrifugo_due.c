/*
 * The wheel: what expires, in lists by the tick in which it has to be looked
 * at.  The first level has a list for each of the next 64 ticks of a second,
 * the others have lists for 64 and for 4096 ticks, which are looked at when the
 * first of these comes.  What is done to a list stands in the intent first,
 * with absolute values, so that whoever gets the shard's lock after a kill can
 * do it again.
 */

#include "ngx_centrifugo_hub_shm.h"


#define DUE_BITS      6                 /* of NGX_CENTRIFUGO_DUE_TICKS */
#define DUE_LISTS     (NGX_CENTRIFUGO_DUE_LEVELS * NGX_CENTRIFUGO_DUE_TICKS)
#define DUE_FARTHEST  (63ULL << (2 * DUE_BITS))

#define due_list(level, tick)                                                \
    ((level) * NGX_CENTRIFUGO_DUE_TICKS                                      \
     + ((tick) >> (level) * DUE_BITS) % NGX_CENTRIFUGO_DUE_TICKS)
#define due_first(level, tick)      /* of those that a list is for */        \
    ((tick) % (1ULL << (level) * DUE_BITS) == 0)


static ngx_int_t due_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t due_linked(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static ngx_int_t due_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint32_t tick);
static ngx_int_t due_unlinked(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);
static uint64_t due_tick(ngx_centrifugo_shard_t *shard, uint64_t at);
static ngx_uint_t due_place(ngx_centrifugo_shard_t *shard, uint32_t tick);
static uint64_t due_skip(ngx_centrifugo_shard_t *shard, uint64_t tick);
static ngx_centrifugo_due_t *due_item(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_centrifugo_ref_t ref);


ngx_int_t
ngx_centrifugo_due_set(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t at)
{
    if (due->tick && due->tick <= due_tick(hub_shard(shm, n), at) + 1) {
        return NGX_OK;
    }

    return ngx_centrifugo_due_move(shm, n, due, at);
}


ngx_int_t
ngx_centrifugo_due_move(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t at)
{
    uint32_t                  tick;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    tick = (uint32_t) due_tick(shard, at) + 1;

    if (due->tick) {
        return due_unlink(shm, n, due, tick);
    }

    intent->due_item = hub_ref(shm, due);
    intent->due_tick = tick;

    return due_link(shm, n);
}


ngx_int_t
ngx_centrifugo_due_unset(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due)
{
    return due->tick ? due_unlink(shm, n, due, 0) : NGX_OK;
}


/*
 * Puts the item of the intent, which is in no list, at the head of that of its
 * tick.  The item itself says what comes after it before the state is LINK.
 */

static ngx_int_t
due_link(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_due_t     *due;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    due = due_item(shm, n, intent->due_item);

    if (due == NULL) {
        return NGX_ERROR;
    }

    due->prev = 0;
    due->next = shard->due[due_place(shard, intent->due_tick - 1)];

    intent_store(&intent->due, NGX_CENTRIFUGO_DUE_LINK);
    NGX_CENTRIFUGO_POINT(DUE_LINK);

    return due_linked(shm, n);
}


static ngx_int_t
due_linked(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_due_t     *due, *next;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    due = due_item(shm, n, intent->due_item);

    if (due == NULL || intent->due_tick <= shard->due_tick) {
        return NGX_ERROR;
    }

    if (due->next) {
        next = due_item(shm, n, due->next);

        if (next == NULL) {
            return NGX_ERROR;
        }

        next->prev = intent->due_item;
    }

    shard->due[due_place(shard, intent->due_tick - 1)] = intent->due_item;
    due->tick = intent->due_tick;
    NGX_CENTRIFUGO_POINT(DUE_LINKED);

    intent_store(&intent->due, NGX_CENTRIFUGO_DUE_NONE);

    return NGX_OK;
}


/*
 * Takes an item out of its list, and puts it into that of `tick` if it is not
 * 0.
 */

static ngx_int_t
due_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint32_t tick)
{
    ngx_uint_t                level;
    ngx_centrifugo_ref_t      ref;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    ref = hub_ref(shm, due);

    intent->due_item = ref;
    intent->due_prev = due->prev;
    intent->due_next = due->next;
    intent->due_tick = tick;
    intent->due_place = DUE_LISTS;

    /* the level was chosen when the tick was as far away as it was then */

    for (level = 0; level < NGX_CENTRIFUGO_DUE_LEVELS; level++) {
        if (shard->due[due_list(level, due->tick - 1)] == ref) {
            intent->due_place = due_list(level, due->tick - 1);
        }
    }

    intent_store(&intent->due, NGX_CENTRIFUGO_DUE_UNLINK);
    NGX_CENTRIFUGO_POINT(DUE_UNLINK);

    return due_unlinked(shm, n);
}


static ngx_int_t
due_unlinked(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_due_t     *due, *prev, *next;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    due = due_item(shm, n, intent->due_item);
    prev = due_item(shm, n, intent->due_prev);
    next = due_item(shm, n, intent->due_next);

    if (due == NULL || (intent->due_next && next == NULL)
        || (prev == NULL
            && (intent->due_prev || intent->due_place >= DUE_LISTS)))
    {
        return NGX_ERROR;
    }

    if (prev) {
        prev->next = intent->due_next;

    } else {
        shard->due[intent->due_place] = intent->due_next;
    }

    if (next) {
        next->prev = intent->due_prev;
    }

    due->tick = 0;
    NGX_CENTRIFUGO_POINT(DUE_UNLINKED);

    if (intent->due_tick) {
        return due_link(shm, n);
    }

    intent_store(&intent->due, NGX_CENTRIFUGO_DUE_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_due_repair(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    switch (hub_shard(shm, n)->intent.due) {

    case NGX_CENTRIFUGO_DUE_NONE:
        return NGX_OK;

    case NGX_CENTRIFUGO_DUE_LINK:
        return due_linked(shm, n);

    case NGX_CENTRIFUGO_DUE_UNLINK:
        return due_unlinked(shm, n);

    default:
        return NGX_ERROR;
    }
}


ngx_int_t
ngx_centrifugo_due_next(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    uint64_t now, ngx_centrifugo_due_t **due)
{
    uint64_t                 tick;
    ngx_uint_t               level, place;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);
    now /= NGX_CENTRIFUGO_DUE_TICK;

    while (shard->due_tick <= now) {
        tick = shard->due_tick;

        for (level = NGX_CENTRIFUGO_DUE_LEVELS; level > 0; level--) {
            place = due_list(level - 1, tick);

            if (due_first(level - 1, tick) && shard->due[place]) {
                *due = due_item(shm, n, shard->due[place]);

                /* in another's list it would come again and again */

                return (*due && (*due)->tick
                        && due_list(level - 1, (*due)->tick - 1) == place)
                       ? NGX_OK : NGX_ERROR;
            }
        }

        if (tick < now) {

            /* nobody came in time: not every tick is looked at */

            tick = ngx_min(due_skip(shard, tick), now);
        }

        intent_store(&shard->due_tick, (uint32_t) tick + 1);
        NGX_CENTRIFUGO_POINT(DUE_TICK);
    }

    return NGX_DONE;
}


/* the tick that the next item can come after */

static uint64_t
due_skip(ngx_centrifugo_shard_t *shard, uint64_t tick)
{
    ngx_uint_t  i, level;

    for (level = 0; level < NGX_CENTRIFUGO_DUE_LEVELS; level++) {

        for (i = 0; i < NGX_CENTRIFUGO_DUE_TICKS; i++) {
            if (shard->due[level * NGX_CENTRIFUGO_DUE_TICKS + i]) {
                return tick;
            }
        }

        /* up to where a list of the next level is looked at */

        tick |= (1ULL << (level + 1) * DUE_BITS) - 1;
    }

    return (uint32_t) -2;
}


/* the first that begins when it is late enough */

static uint64_t
due_tick(ngx_centrifugo_shard_t *shard, uint64_t at)
{
    uint64_t  tick;

    tick = at / NGX_CENTRIFUGO_DUE_TICK + 1;
    tick = ngx_min(tick, shard->due_tick + DUE_FARTHEST);

    return ngx_max(tick, shard->due_tick);
}


static ngx_uint_t
due_place(ngx_centrifugo_shard_t *shard, uint32_t tick)
{
    ngx_uint_t  level;

    level = 0;

    while (level + 1 < NGX_CENTRIFUGO_DUE_LEVELS
           && (tick - shard->due_tick) >> (level + 1) * DUE_BITS)
    {
        level++;
    }

    return due_list(level, tick);
}


static ngx_centrifugo_due_t *
due_item(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_ref_t ref)
{
    size_t                  room;
    ngx_centrifugo_item_t  *item;

    if (!ngx_centrifugo_page_holds(shm, n, ref)) {
        return NULL;
    }

    item = ngx_centrifugo_page_item(shm, ref, &room);

    return (item->type == NGX_CENTRIFUGO_ITEM_STREAM
            || item->type == NGX_CENTRIFUGO_ITEM_RESULT)
           ? (ngx_centrifugo_due_t *) item : NULL;
}
