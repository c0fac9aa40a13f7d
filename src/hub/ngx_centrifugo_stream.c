/*
 * Streams: what a channel keeps of its publications, the newest of which has
 * the offset `top`.  The list has no holes: the oldest one's offset is top -
 * count + 1.  What is not behind the floor is gone for readers, whenever it is
 * freed.  All that changes stands in the intent first, with absolute values.
 */

#include "ngx_centrifugo_hub_shm.h"


#define STREAM_LETTERS  52
#define STREAM_NO_EPOCH 1               /* no stream has it */

/* readers of figures take no lock */

#define stream_figure(p, v)  __atomic_store_n(p, v, __ATOMIC_RELAXED)


static ngx_uint_t stream_spare(ngx_centrifugo_stream_t *stream,
    ngx_uint_t size);
static ngx_inline ngx_centrifugo_kept_t *stream_oldest(
    ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_stream_t *stream);
static ngx_int_t stream_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept);
static ngx_inline void stream_take_out(ngx_centrifugo_shard_t *shard,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *newer);
static void stream_count(ngx_centrifugo_shard_t *shard);
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
    ngx_str_t                  name;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_stream_t   *stream;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

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
 * Ends what the repair finds begun: what is there is looked at first.
 */

ngx_int_t
ngx_centrifugo_stream_appended(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_kept_t    *kept, *older;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_stream_t  *stream;
    ngx_centrifugo_result_t  *result;

    intent = &hub_shard(shm, n)->intent;
    stream = NULL;
    older = NULL;
    result = NULL;

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
        }
    }

    if (intent->result) {
        result = ngx_centrifugo_shard_item(shm, intent->result,
                                           NGX_CENTRIFUGO_ITEM_RESULT);

        if (result == NULL || intent->bucket >= shm->buckets) {
            return NGX_ERROR;
        }
    }

    return ngx_centrifugo_stream_append(shm, n, stream, older, result);
}


ngx_int_t
ngx_centrifugo_stream_append(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *older,
    ngx_centrifugo_result_t *result)
{
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_intent_t        *intent;
    ngx_centrifugo_stream_state_t  *state;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    state = &intent->stream_state;

    if (stream) {

        if (older) {
            intent_store(&older->newer, intent->item);
        }

        NGX_CENTRIFUGO_POINT(APPEND_LINKED);
        stream->state = *state;
        NGX_CENTRIFUGO_POINT(APPEND_STATED);
        stream_count(shard);

        if (ngx_centrifugo_due_set(shm, n, &stream->due,
                                   ngx_min(state->expire, state->meta_expire))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (result) {
        intent_store(&result->due.item.next, intent->next);
        intent_store(hub_bucket(shm, n, intent->bucket), intent->result);
        NGX_CENTRIFUGO_POINT(APPEND_RESULT);

        if (ngx_centrifugo_due_set(shm, n, &result->due, result->expire)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        stream_figure(&shard->counts.records, intent->counts.records);
        stream_figure(&shard->counts.results, intent->counts.results);
    }

    NGX_CENTRIFUGO_POINT(APPEND_COUNTED);
    intent_store(&intent->chain, 0);
    NGX_CENTRIFUGO_POINT(APPEND_DONE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_more(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_kept_t *kept, uint64_t left, size_t *bytes)
{
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_chain_t  *chain;

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
    ngx_centrifugo_kept_t  *kept;

    while (stream_spare(stream, size)) {

        if (max-- == 0) {
            return NGX_AGAIN;
        }

        kept = stream_oldest(hub->shm, stream);

        if (kept == NULL || stream_unlink(hub->shm, n, stream, kept) != NGX_OK
            || ngx_centrifugo_shard_settle(hub->shm, n) != NGX_OK)
        {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_reuse(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size, ngx_uint_t class,
    ngx_centrifugo_kept_t **kept)
{
    *kept = NULL;

    if (!stream_spare(stream, size - 1)) {
        return NGX_OK;
    }

    *kept = stream_oldest(hub->shm, stream);

    if (*kept != NULL && ((*kept)->item.class != class || (*kept)->item.next)) {
        *kept = NULL;
        return NGX_OK;
    }

    if (*kept == NULL || stream_unlink(hub->shm, n, stream, *kept) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    ngx_centrifugo_page_touch(hub->shm, hub_shard(hub->shm, n)->intent.item);

    return NGX_OK;
}


/* whether the oldest is gone, or one of more than `size` */

static ngx_uint_t
stream_spare(ngx_centrifugo_stream_t *stream, ngx_uint_t size)
{
    ngx_centrifugo_stream_state_t  *state;

    state = &stream->state;

    return state->count
           && (state->count > size || state->top - state->count < state->floor);
}


static ngx_inline ngx_centrifugo_kept_t *
stream_oldest(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_stream_t *stream)
{
    ngx_centrifugo_kept_t  *kept;

    kept = ngx_centrifugo_shard_item(shm, stream->state.oldest,
                                     NGX_CENTRIFUGO_ITEM_PUBLICATION);

    if (kept == NULL || kept->stream != hub_ref(shm, stream)
        || kept->offset != stream->state.top - stream->state.count + 1
        || (kept->newer == 0) != (stream->state.count == 1))
    {
        return NULL;
    }

    return kept;
}


/* takes the oldest out; it hangs on the intent's chain */

static ngx_int_t
stream_unlink(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept)
{
    size_t                          bytes;
    ngx_centrifugo_kept_t          *newer;
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_intent_t        *intent;
    ngx_centrifugo_stream_state_t  *state;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    newer = NULL;

    if (kept->newer) {
        newer = ngx_centrifugo_shard_item(shm, kept->newer,
                                          NGX_CENTRIFUGO_ITEM_PUBLICATION);
    }

    if ((kept->newer && newer == NULL)
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

    intent->counts.publications = shard->counts.publications - 1;
    intent->counts.history = shard->counts.history - bytes;

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_TRIM);
    NGX_CENTRIFUGO_POINT(TRIM_BEGUN);

    stream_take_out(shard, stream, newer);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_stream_trimmed(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_kept_t    *newer;
    ngx_centrifugo_intent_t  *intent;
    ngx_centrifugo_stream_t  *stream;

    intent = &hub_shard(shm, n)->intent;
    newer = NULL;

    stream = ngx_centrifugo_shard_item(shm, intent->stream,
                                       NGX_CENTRIFUGO_ITEM_STREAM);

    if (intent->stream_state.oldest) {
        newer = ngx_centrifugo_shard_item(shm, intent->stream_state.oldest,
                                          NGX_CENTRIFUGO_ITEM_PUBLICATION);
    }

    if (stream == NULL || (intent->stream_state.oldest && newer == NULL)) {
        return NGX_ERROR;
    }

    stream_take_out(hub_shard(shm, n), stream, newer);

    return NGX_OK;
}


static ngx_inline void
stream_take_out(ngx_centrifugo_shard_t *shard, ngx_centrifugo_stream_t *stream,
    ngx_centrifugo_kept_t *newer)
{
    ngx_centrifugo_intent_t  *intent;

    intent = &shard->intent;

    if (newer) {
        intent_store(&newer->older, 0);
    }

    NGX_CENTRIFUGO_POINT(TRIM_UNLINKED);
    stream->state = intent->stream_state;
    NGX_CENTRIFUGO_POINT(TRIM_STATED);
    stream_count(shard);
    intent_store(&intent->chain, intent->item);
    NGX_CENTRIFUGO_POINT(TRIM_DONE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
}


/* the other counts of the intent may be old */

static void
stream_count(ngx_centrifugo_shard_t *shard)
{
    stream_figure(&shard->counts.publications,
                  shard->intent.counts.publications);
    stream_figure(&shard->counts.history, shard->intent.counts.history);
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
ngx_centrifugo_stream_current(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_stream_t **stream)
{
    ngx_int_t  rc;

    *stream = NULL;

    if (rec == NULL || rec->stream == 0) {
        return NGX_OK;
    }

    *stream = ngx_centrifugo_stream_find(hub, n, rec);

    if (*stream == NULL) {
        return NGX_ERROR;
    }

    if (ngx_current_msec < (*stream)->state.meta_expire
        || !ngx_centrifugo_shard_idle(hub->shm, rec))
    {
        return NGX_OK;
    }

    rc = ngx_centrifugo_stream_trim(hub, n, *stream, 0,
                                    NGX_CENTRIFUGO_STREAM_TRIM);
    if (rc == NGX_OK) {
        rc = ngx_centrifugo_stream_remove(hub, n, *stream);
    }

    *stream = NULL;

    return (rc == NGX_OK) ? NGX_DECLINED : rc;
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
