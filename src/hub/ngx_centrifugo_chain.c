/*
 * Chains: bytes that one item can't hold lie in several, each pointing to the
 * next.  A chain that is being built, or was given up, hangs on the shard's
 * intent, from which every repair frees it; so its last item is taken first.
 */

#include "ngx_centrifugo_hub_shm.h"


#define CHAIN_DATA  (NGX_CENTRIFUGO_ITEM_MAX - sizeof(ngx_centrifugo_chain_t))


static void chain_own(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_item_t *item);
static ngx_centrifugo_chain_t *chain_item(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref);


ngx_int_t
ngx_centrifugo_chain_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_str_t *parts, ngx_uint_t nparts, size_t skip, ngx_uint_t type)
{
    size_t                   all, at, len;
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_centrifugo_item_t   *item;
    ngx_centrifugo_chain_t  *chain;

    for (all = 0, i = 0; i < nparts; i++) {
        all += parts[i].len;
    }

    while (all > skip) {
        at = skip + (all - skip - 1) / CHAIN_DATA * CHAIN_DATA;
        len = all - at;

        rc = ngx_centrifugo_shard_take(hub, n,
                                       sizeof(ngx_centrifugo_chain_t) + len,
                                       type, &item);
        if (rc != NGX_OK) {
            return rc;
        }

        chain = (ngx_centrifugo_chain_t *) item;

        item->len = (uint16_t) len;
        item->hash = 0;
        ngx_centrifugo_chain_gather(chain->data, parts, nparts, at, len);

        ngx_centrifugo_chain_push(hub->shm, n, item);

        all = at;
    }

    return NGX_OK;
}


void
ngx_centrifugo_chain_push(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_item_t *item)
{
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    item->next = intent->chain;

    if (item->type == NGX_CENTRIFUGO_ITEM_PUBLICATION) {
        chain_own(shm, item);
    }

    NGX_CENTRIFUGO_POINT(CHAIN_ITEM);

    intent_store(&intent->chain, hub_ref(shm, item));
    NGX_CENTRIFUGO_POINT(CHAIN_PUSHED);

    intent_store(&shard->used[item->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
}


/* the items of a publication say whose they are: who empties a page asks */

static void
chain_own(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_item_t *item)
{
    size_t                room;
    ngx_centrifugo_ref_t  ref, next;

    ref = hub_ref(shm, item);

    for (next = item->next; next; next = item->next) {
        item = ngx_centrifugo_page_item(shm, next, &room);

        if (item == NULL) {

            /* whoever reads or frees the chain will find it damaged */

            break;
        }

        item->hash = ref;
    }
}


void
ngx_centrifugo_chain_gather(u_char *dst, const ngx_str_t *parts,
    ngx_uint_t nparts, size_t skip, size_t len)
{
    size_t      size;
    ngx_uint_t  i;

    for (i = 0; i < nparts && len; i++) {

        if (skip >= parts[i].len) {
            skip -= parts[i].len;
            continue;
        }

        size = ngx_min(parts[i].len - skip, len);
        dst = ngx_cpymem(dst, parts[i].data + skip, size);
        len -= size;
        skip = 0;
    }
}


ngx_int_t
ngx_centrifugo_chain_copy(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, u_char *dst, size_t len)
{
    ngx_centrifugo_chain_t  *chain;

    while (len) {
        chain = chain_item(shm, ref);

        /* none is empty: a ring would never end */

        if (chain == NULL || chain->item.len == 0 || chain->item.len > len) {
            return NGX_ERROR;
        }

        dst = ngx_cpymem(dst, chain->data, chain->item.len);
        len -= chain->item.len;
        ref = chain->item.next;
    }

    return ref ? NGX_ERROR : NGX_OK;
}


static ngx_centrifugo_chain_t *
chain_item(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_ref_t ref)
{
    ngx_centrifugo_chain_t  *chain;

    chain = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_MORE);

    return chain ? chain
                 : ngx_centrifugo_shard_item(shm, ref,
                                             NGX_CENTRIFUGO_ITEM_CHAIN);
}


ngx_int_t
ngx_centrifugo_chain_free(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    size_t                    room;
    ngx_centrifugo_item_t    *item;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    item = ngx_centrifugo_page_item(shm, intent->chain, &room);

    /* in a ring what is free would come again */

    if (item == NULL || item->class >= NGX_CENTRIFUGO_CLASSES
        || item->type == NGX_CENTRIFUGO_ITEM_FREE)
    {
        return NGX_ERROR;
    }

    intent->item = intent->chain;
    intent->class = item->class;
    intent->used = shard->used[item->class] - 1;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_FREE);
    NGX_CENTRIFUGO_POINT(CHAIN_FREE);

    if (ngx_centrifugo_chain_freed(shm, n) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_centrifugo_page_trim(shm, n, intent->item);
}


ngx_int_t
ngx_centrifugo_chain_freed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    size_t                    room;
    ngx_centrifugo_item_t    *item;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    item = ngx_centrifugo_page_item(shm, intent->item, &room);

    if (item == NULL || intent->class >= NGX_CENTRIFUGO_CLASSES) {
        return NGX_ERROR;
    }

    /* its `next` is the chain's until it is in the page's free list */

    if (intent->chain == intent->item) {
        intent_store(&intent->chain, item->next);
    }

    NGX_CENTRIFUGO_POINT(CHAIN_FREED);

    if (ngx_centrifugo_page_put(shm, n, intent->item, intent->class)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    intent_store(&shard->used[intent->class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_chain_node(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    if (intent->class >= NGX_CENTRIFUGO_CLASSES) {
        return NGX_ERROR;
    }

    if (intent->chain == intent->item) {

        /* it hangs there already, but is not counted */

        intent_store(&shard->used[intent->class], intent->used);

    } else if (ngx_centrifugo_page_put(shm, n, intent->item, intent->class)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}
