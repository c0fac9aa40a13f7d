/*
 * Streams: what a channel keeps of its publications, the newest of which has
 * the offset `top`.  The list has no holes: the oldest one's offset is top -
 * count + 1.  What is not behind the floor is gone for readers, whenever it is
 * freed.  All that changes stands in the intent first, with absolute values.
 */

#include "ngx_centrifugo_hub_shm.h"


#define STREAM_LETTERS  52
#define STREAM_NO_EPOCH 1               /* no stream has it */


static ngx_int_t stream_victim(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream);
static uint64_t stream_derive(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    const ngx_str_t *name, uint64_t epochs);


ngx_centrifugo_stream_t *
ngx_centrifugo_stream_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec)
{
    ngx_centrifugo_stream_t  *stream;

    if (rec->stream == 0) {
        return NULL;
    }

    stream = ngx_centrifugo_shard_item(hub->shm, rec->stream,
                                       NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream == NULL || stream->channel != hub_ref(hub->shm, rec)
        || stream->state.count > stream->state.top
        || stream->state.floor > stream->state.top)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NULL;
    }

    return stream;
}


ngx_centrifugo_stream_t *
ngx_centrifugo_stream_make(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_msec_t meta_ttl)
{
    uint32_t                   generation;
    ngx_str_t                  name;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_stream_t   *stream;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;
    generation = shard->generation;

    stream = ngx_centrifugo_stream_find(hub, n, rec);

    if (stream != NULL || shard->generation != generation) {
        return stream;
    }

    if (ngx_centrifugo_shard_take(hub, n, sizeof(ngx_centrifugo_stream_t),
                                  NGX_CENTRIFUGO_ITEM_STREAM, &item)
        != NGX_OK)
    {
        return NULL;
    }

    stream = (ngx_centrifugo_stream_t *) item;

    name.data = (u_char *) &rec->mask[shm->mask_words];
    name.len = rec->item.len;

    item->len = 0;
    item->hash = 0;
    item->next = 0;
    stream->due.tick = 0;
    stream->channel = hub_ref(shm, rec);
    stream->unused = 0;
    stream->epoch = stream_derive(shm, n, &name, shard->epochs);

    ngx_memzero(&stream->state, sizeof(ngx_centrifugo_stream_state_t));
    stream->state.meta_expire = ngx_current_msec + meta_ttl;
    stream->state.written = ngx_current_msec;

    intent->counts = shard->counts;
    intent->counts.streams++;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_STREAM);
    NGX_CENTRIFUGO_POINT(STREAM_NEW);

    if (ngx_centrifugo_stream_streamed(shm, n) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
        return NULL;
    }

    return stream;
}


ngx_int_t
ngx_centrifugo_stream_streamed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    rec = NULL;

    stream = ngx_centrifugo_shard_item(shm, intent->item,
                                       NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream != NULL) {
        rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec == NULL
        || ngx_centrifugo_due_set(shm, n, &stream->due,
                                  stream->state.meta_expire)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(STREAM_DUE);
    intent_store(&rec->stream, intent->item);
    NGX_CENTRIFUGO_POINT(STREAM_LINKED);

    ngx_centrifugo_shard_counts(shard);
    intent_store(&shard->used[stream->due.item.class], intent->used);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_stream_over(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_stream_t *stream,
    uint64_t now)
{
    return now >= stream->state.meta_expire
           && ngx_centrifugo_shard_idle(shm, rec);
}


ngx_uint_t
ngx_centrifugo_stream_gone(ngx_centrifugo_stream_t *stream, uint64_t now)
{
    ngx_centrifugo_stream_state_t  *state;

    state = &stream->state;

    return state->count == 0 || state->floor >= state->top
           || now >= state->expire;
}


/*
 * Links the publication and the result of the intent, as far as there are any,
 * and stores the stream's new state; used by the one who began it and by the
 * repair.
 */

ngx_int_t
ngx_centrifugo_stream_appended(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_kept_t          *kept, *older;
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_intent_t        *intent;
    ngx_centrifugo_stream_t        *stream;
    ngx_centrifugo_result_t        *result;
    ngx_centrifugo_stream_state_t  *state;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    state = &intent->stream_state;

    if (intent->stream) {
        stream = ngx_centrifugo_shard_item(shm, intent->stream,
                                           NGX_CENTRIFUGO_ITEM_STREAM);
        kept = ngx_centrifugo_shard_item(shm, intent->item,
                                         NGX_CENTRIFUGO_ITEM_PUBLICATION);

        if (stream == NULL || kept == NULL) {
            return NGX_ERROR;
        }

        if (kept->older) {
            older = ngx_centrifugo_shard_item(shm, kept->older,
                                             NGX_CENTRIFUGO_ITEM_PUBLICATION);
            if (older == NULL) {
                return NGX_ERROR;
            }

            intent_store(&older->newer, intent->item);
        }

        NGX_CENTRIFUGO_POINT(APPEND_LINKED);
        stream->state = *state;
        NGX_CENTRIFUGO_POINT(APPEND_STATED);

        if (ngx_centrifugo_due_set(shm, n, &stream->due,
                                   ngx_min(state->expire, state->meta_expire))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (intent->result) {
        result = ngx_centrifugo_shard_item(shm, intent->result,
                                           NGX_CENTRIFUGO_ITEM_RESULT);

        if (result == NULL || intent->bucket >= shm->buckets) {
            return NGX_ERROR;
        }

        intent_store(&result->due.item.next, intent->next);
        intent_store(hub_bucket(shm, n, intent->bucket), intent->result);
        NGX_CENTRIFUGO_POINT(APPEND_RESULT);

        if (ngx_centrifugo_due_set(shm, n, &result->due, result->expire)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_centrifugo_shard_counts(shard);
    NGX_CENTRIFUGO_POINT(APPEND_COUNTED);
    intent_store(&intent->chain, 0);
    NGX_CENTRIFUGO_POINT(APPEND_DONE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_bytes(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_kept_t *kept, size_t *bytes)
{
    uint64_t                 left;
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_chain_t  *chain;

    left = (uint64_t) kept->info_len + kept->tags_len + kept->data_len;

    if (kept->item.len > left) {
        return NGX_ERROR;
    }

    left -= kept->item.len;
    *bytes = ngx_centrifugo_page_class_size(kept->item.class);

    for (ref = kept->item.next; ref; ref = chain->item.next) {
        chain = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_MORE);

        if (chain == NULL || chain->item.len == 0 || chain->item.len > left) {
            return NGX_ERROR;
        }

        left -= chain->item.len;
        *bytes += ngx_centrifugo_page_class_size(chain->item.class);
    }

    return left ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_trim(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size, ngx_uint_t max)
{
    ngx_centrifugo_stream_state_t  *state;

    state = &stream->state;

    while (state->count
           && (state->count > size || state->top - state->count < state->floor))
    {
        if (max-- == 0) {
            return NGX_AGAIN;
        }

        if (stream_victim(hub, n, stream) != NGX_OK) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* the oldest publication goes */

static ngx_int_t
stream_victim(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream)
{
    size_t                          bytes;
    ngx_centrifugo_kept_t          *kept;
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_intent_t        *intent;
    ngx_centrifugo_hub_shm_t       *shm;
    ngx_centrifugo_stream_state_t  *state;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

    kept = ngx_centrifugo_shard_item(shm, stream->state.oldest,
                                     NGX_CENTRIFUGO_ITEM_PUBLICATION);

    if (kept == NULL || kept->stream != hub_ref(shm, stream)
        || kept->offset != stream->state.top - stream->state.count + 1
        || (kept->newer == 0) != (stream->state.count == 1)
        || ngx_centrifugo_stream_bytes(shm, kept, &bytes) != NGX_OK)
    {
        return NGX_ERROR;
    }

    intent->item = stream->state.oldest;
    intent->stream = kept->stream;

    state = &intent->stream_state;
    *state = stream->state;
    state->oldest = kept->newer;
    state->count--;
    state->bytes -= bytes;

    if (state->count == 0) {
        state->newest = 0;
    }

    intent->counts = shard->counts;
    intent->counts.publications--;
    intent->counts.history -= bytes;

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_TRIM);
    NGX_CENTRIFUGO_POINT(TRIM_BEGUN);

    if (ngx_centrifugo_stream_trimmed(shm, n) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_centrifugo_shard_settle(shm, n);
}


/* may be done again; the publication hangs on the chain of what is freed */

ngx_int_t
ngx_centrifugo_stream_trimmed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_kept_t    *newer;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_stream_t  *stream;

    shard = hub_shard(shm, n);
    intent = &shard->intent;

    stream = ngx_centrifugo_shard_item(shm, intent->stream,
                                       NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream == NULL) {
        return NGX_ERROR;
    }

    if (intent->stream_state.oldest) {
        newer = ngx_centrifugo_shard_item(shm, intent->stream_state.oldest,
                                          NGX_CENTRIFUGO_ITEM_PUBLICATION);
        if (newer == NULL) {
            return NGX_ERROR;
        }

        intent_store(&newer->older, 0);
    }

    NGX_CENTRIFUGO_POINT(TRIM_UNLINKED);
    stream->state = intent->stream_state;
    NGX_CENTRIFUGO_POINT(TRIM_STATED);
    ngx_centrifugo_shard_counts(shard);
    intent_store(&intent->chain, intent->item);
    NGX_CENTRIFUGO_POINT(TRIM_DONE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


void
ngx_centrifugo_stream_clear(ngx_centrifugo_stream_t *stream)
{
    intent_store(&stream->state.floor, stream->state.top);
    NGX_CENTRIFUGO_POINT(STREAM_CLEAR);
}


ngx_int_t
ngx_centrifugo_stream_remove(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream)
{
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

    intent->item = hub_ref(shm, stream);
    intent->epochs = shard->epochs + (stream->state.top != 0);
    intent->counts = shard->counts;
    intent->counts.streams--;
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_REMOVE);
    NGX_CENTRIFUGO_POINT(REMOVE_BEGUN);

    if (stream->state.count
        || ngx_centrifugo_stream_removed(shm, n) != NGX_OK
        || ngx_centrifugo_shard_settle(shm, n) != NGX_OK)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_removed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    rec = NULL;

    stream = ngx_centrifugo_shard_item(shm, intent->item,
                                       NGX_CENTRIFUGO_ITEM_STREAM);

    if (stream != NULL) {
        rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec == NULL
        || ngx_centrifugo_due_unset(shm, n, &stream->due) != NGX_OK)
    {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(REMOVE_UNSET);
    intent_store(&rec->stream, 0);
    intent_store(&shard->epochs, intent->epochs);
    NGX_CENTRIFUGO_POINT(REMOVE_UNLINKED);
    ngx_centrifugo_shard_counts(shard);
    intent_store(&intent->drop, stream->channel);
    intent_store(&intent->chain, intent->item);
    NGX_CENTRIFUGO_POINT(REMOVE_DONE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_unused(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec)
{
    ngx_centrifugo_stream_t  *stream;

    stream = ngx_centrifugo_stream_find(hub, n, rec);

    if (stream == NULL || stream->state.top
        || !ngx_centrifugo_shard_idle(hub->shm, rec))
    {
        return NGX_DECLINED;
    }

    return ngx_centrifugo_stream_remove(hub, n, stream);
}


ngx_int_t
ngx_centrifugo_stream_expired(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec)
{
    ngx_int_t                 rc;
    uint32_t                  generation;
    ngx_centrifugo_shard_t   *shard;
    ngx_centrifugo_stream_t  *stream;

    shard = hub_shard(hub->shm, n);
    generation = shard->generation;

    stream = ngx_centrifugo_stream_find(hub, n, rec);

    if (shard->generation != generation) {
        return NGX_ERROR;
    }

    if (stream == NULL
        || !ngx_centrifugo_stream_over(hub->shm, rec, stream,
                                       ngx_current_msec))
    {
        return NGX_DECLINED;
    }

    rc = ngx_centrifugo_stream_trim(hub, n, stream, 0,
                                    NGX_CENTRIFUGO_STREAM_TRIM);

    return (rc == NGX_OK) ? ngx_centrifugo_stream_remove(hub, n, stream) : rc;
}


uint64_t
ngx_centrifugo_stream_epoch(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_str_t *name, ngx_centrifugo_stream_t *stream)
{
    return stream_derive(hub->shm, n, name,
                         hub_shard(hub->shm, n)->epochs
                         + (stream != NULL && stream->state.top != 0));
}


/*
 * Letters that follow from the name and from how often a stream went in the
 * shard: with each other content of a name there is another epoch.
 */

static uint64_t
stream_derive(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    const ngx_str_t *name, uint64_t epochs)
{
    u_char      letters[NGX_CENTRIFUGO_EPOCH_LEN];
    uint64_t    seed[2], hash, epoch;
    ngx_uint_t  i, letter;

    seed[0] = shm->seed[0] ^ epochs;
    seed[1] = shm->seed[1] ^ ((uint64_t) hub_shard(shm, n)->generation << 32
                              | NGX_CENTRIFUGO_ITEM_STREAM);

    hash = ngx_centrifugo_hash(seed, name->data, name->len);

    for (i = 0; i < NGX_CENTRIFUGO_EPOCH_LEN; i++) {
        letter = hash % STREAM_LETTERS;
        hash /= STREAM_LETTERS;
        letters[i] = (u_char) (letter < 26 ? 'A' + letter
                                           : 'a' + letter - 26);
    }

    ngx_memcpy(&epoch, letters, NGX_CENTRIFUGO_EPOCH_LEN);

    return epoch;
}


uint64_t
ngx_centrifugo_epoch(const ngx_str_t *s)
{
    uint64_t  epoch;

    if (s->len == 0) {
        return 0;
    }

    if (s->len != NGX_CENTRIFUGO_EPOCH_LEN) {
        return STREAM_NO_EPOCH;
    }

    ngx_memcpy(&epoch, s->data, NGX_CENTRIFUGO_EPOCH_LEN);

    return epoch ? epoch : STREAM_NO_EPOCH;
}
