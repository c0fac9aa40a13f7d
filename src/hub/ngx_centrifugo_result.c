/*
 * Results: what was answered to a publication with an idempotency key.  A
 * record each, found by two hashes of channel and key.
 */

#include "ngx_centrifugo_hub_shm.h"


static uint64_t result_hash(ngx_centrifugo_hub_shm_t *shm, uint64_t channel,
    const ngx_str_t *key, uint64_t which);


ngx_centrifugo_result_t *
ngx_centrifugo_result_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t channel, const ngx_str_t *key)
{
    size_t                     room;
    uint32_t                   hash;
    uint64_t                   left, second;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_result_t   *result;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->counts.records;
    hash = (uint32_t) result_hash(shm, channel, key, 1);
    second = result_hash(shm, channel, key, 2);
    ref = *hub_bucket(shm, n, hub_bucket_of(shm, second));

    for ( /* void */ ; ref; ref = item->next) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        if (item == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NULL;
        }

        if (item->hash != hash || item->type != NGX_CENTRIFUGO_ITEM_RESULT) {
            continue;
        }

        result = ngx_centrifugo_shard_item(shm, ref,
                                           NGX_CENTRIFUGO_ITEM_RESULT);

        if (result == NULL) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NULL;
        }

        if (result->key == second && ngx_current_msec < result->expire) {
            return result;
        }
    }

    return NULL;
}


ngx_int_t
ngx_centrifugo_result_make(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t channel, const ngx_str_t *key)
{
    ngx_int_t                  rc;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_result_t   *result;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    intent = &hub_shard(shm, n)->intent;

    rc = ngx_centrifugo_shard_take(hub, n, sizeof(ngx_centrifugo_result_t),
                                   NGX_CENTRIFUGO_ITEM_RESULT, &item);
    if (rc != NGX_OK) {
        return rc;
    }

    result = (ngx_centrifugo_result_t *) item;

    item->len = 0;
    item->hash = (uint32_t) result_hash(shm, channel, key, 1);
    result->due.tick = 0;
    result->key = result_hash(shm, channel, key, 2);
    result->expire = ngx_current_msec + NGX_CENTRIFUGO_RESULT_TTL;

    ngx_centrifugo_chain_push(shm, n, item);

    intent->result = hub_ref(shm, item);
    intent->bucket = hub_bucket_of(shm, result->key);
    intent->next = *hub_bucket(shm, n, intent->bucket);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_result_remove(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_result_t *result)
{
    uint32_t                 generation;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(hub->shm, n);
    generation = shard->generation;

    if (ngx_centrifugo_shard_item(hub->shm, hub_ref(hub->shm, result),
                                  NGX_CENTRIFUGO_ITEM_RESULT)
        == NULL)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    shard->intent.counts = shard->counts;
    shard->intent.counts.results--;

    ngx_centrifugo_shard_unlink(hub, n, &result->due.item, result->key);

    return (shard->generation == generation) ? NGX_OK : NGX_ERROR;
}


static uint64_t
result_hash(ngx_centrifugo_hub_shm_t *shm, uint64_t channel,
    const ngx_str_t *key, uint64_t which)
{
    uint64_t  seed[2];

    seed[0] = shm->seed[0] ^ channel;
    seed[1] = shm->seed[1] ^ (which << 8 | NGX_CENTRIFUGO_ITEM_RESULT);

    return ngx_centrifugo_hash(seed, key->data, key->len);
}
