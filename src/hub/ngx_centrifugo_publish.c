/*
 * Publishing: into the log for those who are subscribed, and in the same
 * section into the channel's stream, with the answer that an idempotency key
 * gets.  Whether it is in the log decides what a repair makes of what is kept.
 */

#include "ngx_centrifugo_hub_shm.h"


#define PUBLISH_TRIM  16                /* old ones that go with a new one */

#define PUBLISH_SMALL 256               /* bytes that are never in two items */
#define PUBLISH_SPLIT 64                /* bytes that a second item must save */

#define KEPT_SIZE  offsetof(ngx_centrifugo_kept_t, bytes)
#define CHAIN_MAX       /* bytes in one item behind the first */             \
    (NGX_CENTRIFUGO_ITEM_MAX - sizeof(ngx_centrifugo_chain_t))


static ngx_int_t publish_keep(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position);
static ngx_int_t publish_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_record_t **rec, ngx_centrifugo_stream_t **stream);
static ngx_uint_t publish_old(ngx_centrifugo_hub_shm_t *shm,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream);
static uint64_t publish_version_epoch(ngx_centrifugo_hub_shm_t *shm,
    const ngx_str_t *epoch);
static ngx_int_t publish_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t **kept);
static ngx_int_t publish_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t **kept);
static void publish_fill(ngx_centrifugo_hub_shm_t *shm,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept,
    size_t first);
static ngx_int_t publish_own(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size);
static ngx_int_t publish_append(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub, ngx_centrifugo_record_t *rec,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept,
    ngx_centrifugo_position_t *position);
static ngx_int_t publish_state(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept);
static size_t publish_room(const ngx_centrifugo_hub_publication_t *pub);
static size_t publish_first(size_t len);


ngx_int_t
ngx_centrifugo_hub_publish(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n, tries;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    tries = 0;

    ngx_memzero(position, sizeof(ngx_centrifugo_position_t));

    if (pub->info.len + pub->tags.len + pub->data.len
        > ngx_centrifugo_hub_publication_max(shm->log.size))
    {
        return NGX_ERROR;
    }

    if (pub->channel.len > NGX_CENTRIFUGO_NAME_MAX) {

        /* nobody can join it; after a wipe its name would go into the log */

        return NGX_DECLINED;
    }

    hash = ngx_centrifugo_hash(shm->seed, pub->channel.data,
                               pub->channel.len);
    n = hub_shard_of(shm, hash);

    for ( ;; ) {

        if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
            return NGX_ERROR;
        }

        if (pub->size == 0 && pub->key.len == 0) {
            rec = ngx_centrifugo_shard_find(hub, n, hash, &pub->channel);

            rc = ngx_centrifugo_log_append(hub, n, rec,
                                           NGX_CENTRIFUGO_ENTRY_PUBLICATION,
                                           pub, NULL);

            ngx_centrifugo_shard_unlock(hub, n);

            return rc;
        }

        hub->keeping = 1;
        rc = publish_keep(hub, n, hash, pub, position);

        if (hub_unsettled(shm, n)
            && ngx_centrifugo_shard_settle(shm, n) != NGX_OK)
        {
            ngx_centrifugo_shard_wipe(hub, n);
        }

        ngx_centrifugo_shard_unlock(hub, n);

        if (rc == NGX_BUSY && tries++ < NGX_CENTRIFUGO_EVICT_TRIES
            && ngx_centrifugo_evict(hub, n, publish_room(pub)) == NGX_OK)
        {
            continue;
        }

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }
}


/*
 * NGX_AGAIN: to be called again, in a section of its own; NGX_BUSY: no page is
 * left.  What it leaves on the intent's chain is freed by the caller.
 */

static ngx_int_t
publish_keep(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position)
{
    ngx_int_t                 rc;
    ngx_centrifugo_kept_t    *kept;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_result_t  *result;
    ngx_centrifugo_stream_t  *stream;

    kept = NULL;
    stream = NULL;

    if (pub->key.len) {
        result = ngx_centrifugo_result_find(hub, n, hash, &pub->key);

        if (result != NULL) {
            ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_SUPPRESSED_KEY,
                                   1);
            *position = result->position;
            return NGX_DONE;
        }
    }

    rec = ngx_centrifugo_shard_find(hub, n, hash, &pub->channel);

    if (pub->size) {
        rc = publish_stream(hub, n, hash, pub, &rec, &stream);

        if (rc != NGX_OK) {
            return rc;
        }

        if (publish_old(hub->shm, pub, stream)) {
            ngx_centrifugo_hub_add(hub,
                                   NGX_CENTRIFUGO_COUNT_SUPPRESSED_VERSION, 1);
            position->offset = stream->state.top;
            position->epoch = stream->epoch;
            return NGX_DONE;
        }
    }

    hub->subscribed = (rec != NULL
                       && !ngx_centrifugo_shard_idle(hub->shm, rec));

    rc = publish_build(hub, n, hash, pub, stream, &kept);

    if (rc == NGX_BUSY && stream) {
        rc = publish_own(hub, n, stream, pub->size);

        if (rc == NGX_OK) {
            rc = publish_build(hub, n, hash, pub, stream, &kept);
        }

        if (rc == NGX_BUSY && stream->state.top == 0) {

            /*
             * It was made for nothing, unless somebody is subscribed; what was
             * taken for the publication hangs where it would go.
             */

            if (ngx_centrifugo_shard_settle(hub->shm, n) != NGX_OK) {
                ngx_centrifugo_shard_wipe(hub, n);
                return NGX_AGAIN;
            }

            (void) ngx_centrifugo_stream_unused(hub, n, rec);
        }
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return publish_append(hub, n, pub, rec, stream, kept, position);
}


/* the channel and its stream; both are made if need be */

static ngx_int_t
publish_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_record_t **rec, ngx_centrifugo_stream_t **stream)
{
    uint32_t                 generation;
    ngx_int_t                rc;
    ngx_centrifugo_shard_t  *shard;

    rc = ngx_centrifugo_stream_current(hub, n, *rec, stream);

    if (rc == NGX_DECLINED) {
        *rec = NULL;

    } else if (rc != NGX_OK) {
        return NGX_AGAIN;
    }

    if (*stream != NULL) {
        return NGX_OK;
    }

    shard = hub_shard(hub->shm, n);
    generation = shard->generation;

    if (*rec == NULL) {
        *rec = ngx_centrifugo_shard_create(hub, n, hash, &pub->channel, 0);
    }

    if (*rec != NULL && shard->generation == generation) {
        *stream = ngx_centrifugo_stream_make(hub, n, *rec, pub->meta_ttl);

        if (*stream != NULL) {
            return NGX_OK;
        }
    }

    return (shard->generation == generation) ? NGX_BUSY : NGX_AGAIN;
}


/* whether it has a version that is not newer than that of the stream */

static ngx_uint_t
publish_old(ngx_centrifugo_hub_shm_t *shm,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream)
{
    return pub->version && stream->state.version >= pub->version
           && (pub->version_epoch.len == 0
               || publish_version_epoch(shm, &pub->version_epoch)
                  == stream->state.version_epoch);
}


static uint64_t
publish_version_epoch(ngx_centrifugo_hub_shm_t *shm, const ngx_str_t *epoch)
{
    uint64_t  hash;

    if (epoch->len == 0) {
        return 0;
    }

    hash = ngx_centrifugo_hash(shm->seed, epoch->data, epoch->len);

    return hash ? hash : 1;
}


/* hangs what is to be linked on the intent's chain */

static ngx_int_t
publish_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t **kept)
{
    ngx_int_t                 rc;
    ngx_centrifugo_intent_t  *intent;

    intent = &hub_shard(hub->shm, n)->intent;
    rc = NGX_OK;

    intent->stream = 0;
    intent->result = 0;

    if (stream != NULL) {
        rc = publish_item(hub, n, pub, stream, kept);
    }

    if (rc == NGX_OK && pub->key.len) {
        rc = ngx_centrifugo_result_make(hub, n, hash, &pub->key);
    }

    switch (rc) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_BUSY;

    default:
        return NGX_AGAIN;
    }
}


/*
 * With one item it takes the place of the oldest of a full list, if that is
 * alike: this one goes first then, and a publication that fails leaves the list
 * shorter.
 */

static ngx_int_t
publish_item(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t **kept)
{
    size_t                     len, first;
    ngx_int_t                  rc;
    ngx_str_t                  parts[3];
    ngx_centrifugo_kept_t     *k;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    k = NULL;
    item = NULL;

    len = pub->info.len + pub->tags.len + pub->data.len;
    first = publish_first(len);

    if (first < len) {
        parts[0] = pub->info;
        parts[1] = pub->tags;
        parts[2] = pub->data;

        rc = ngx_centrifugo_chain_build(hub, n, parts, 3, first,
                                        NGX_CENTRIFUGO_ITEM_MORE);

    } else {
        rc = ngx_centrifugo_stream_reuse(hub, n, stream, pub->size,
                                         ngx_centrifugo_shard_class(hub,
                                             KEPT_SIZE + first,
                                             NGX_CENTRIFUGO_ITEM_PUBLICATION),
                                         &k);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (k == NULL) {
        rc = ngx_centrifugo_shard_take(hub, n, KEPT_SIZE + first,
                                       NGX_CENTRIFUGO_ITEM_PUBLICATION,
                                       &item);
        if (rc != NGX_OK) {
            return rc;
        }

        k = (ngx_centrifugo_kept_t *) item;
    }

    publish_fill(shm, pub, stream, k, first);

    if (item) {
        ngx_centrifugo_chain_push(shm, n, item);
    }

    hub_shard(shm, n)->intent.stream = k->stream;
    *kept = k;

    return NGX_OK;
}


static void
publish_fill(ngx_centrifugo_hub_shm_t *shm,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept, size_t first)
{
    u_char     *p;
    ngx_str_t   parts[3];

    kept->item.len = (uint16_t) first;
    kept->item.hash = (uint32_t) pub->flags;
    kept->newer = 0;
    kept->older = stream->state.newest;
    kept->stream = hub_ref(shm, stream);
    kept->offset = stream->state.top + 1;
    kept->info_len = (uint32_t) pub->info.len;
    kept->tags_len = (uint32_t) pub->tags.len;
    kept->data_len = (uint32_t) pub->data.len;

    if (pub->info.len + pub->tags.len + pub->data.len == first) {
        p = kept->bytes;

        if (pub->info.len) {
            p = ngx_cpymem(p, pub->info.data, pub->info.len);
        }

        if (pub->tags.len) {
            p = ngx_cpymem(p, pub->tags.data, pub->tags.len);
        }

        if (pub->data.len) {
            ngx_memcpy(p, pub->data.data, pub->data.len);
        }

        return;
    }

    parts[0] = pub->info;
    parts[1] = pub->tags;
    parts[2] = pub->data;

    ngx_centrifugo_chain_gather(kept->bytes, parts, 3, 0, first);
}


/* No page is left: of a list that is full the oldest goes before, not after. */

static ngx_int_t
publish_own(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size)
{
    ngx_int_t  rc;

    if (stream->state.count < size) {
        return NGX_BUSY;
    }

    /* what was taken for the new one is in the way */

    if (ngx_centrifugo_shard_settle(hub->shm, n) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_AGAIN;
    }

    rc = ngx_centrifugo_stream_trim(hub, n, stream, size - 1, PUBLISH_TRIM);

    return (rc == NGX_ERROR) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
publish_append(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub, ngx_centrifugo_record_t *rec,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept,
    ngx_centrifugo_position_t *position)
{
    ngx_int_t                  rc;
    ngx_centrifugo_kept_t     *older;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_result_t   *result;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    intent = &hub_shard(shm, n)->intent;
    older = NULL;
    result = NULL;

    if (stream != NULL) {

        if (kept->older) {
            older = ngx_centrifugo_shard_item(shm, kept->older,
                                             NGX_CENTRIFUGO_ITEM_PUBLICATION);
        }

        if ((kept->older && older == NULL)
            || publish_state(shm, n, pub, stream, kept) != NGX_OK)
        {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_AGAIN;
        }

        position->offset = kept->offset;
        position->epoch = stream->epoch;
        intent->item = hub_ref(shm, kept);

    } else {
        intent->item = intent->result;
    }

    if (intent->result) {
        result = ngx_centrifugo_shard_item(shm, intent->result,
                                           NGX_CENTRIFUGO_ITEM_RESULT);
        result->position = *position;
        intent->counts.records = hub_shard(shm, n)->counts.records + 1;
        intent->counts.results = hub_shard(shm, n)->counts.results + 1;
    }

    intent->logged = 0;
    NGX_CENTRIFUGO_POINT(APPEND_FILLED);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_APPEND);
    NGX_CENTRIFUGO_POINT(APPEND_BEGUN);

    rc = ngx_centrifugo_log_append(hub, n, rec,
                                   NGX_CENTRIFUGO_ENTRY_PUBLICATION, pub,
                                   position);
    if (rc == NGX_ERROR) {
        intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
        return NGX_ERROR;
    }

    intent_store(&intent->logged, 1);
    NGX_CENTRIFUGO_POINT(APPEND_LOGGED);

    if (ngx_centrifugo_stream_append(shm, n, stream, older, result) != NGX_OK)
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    if (stream == NULL) {
        return rc;
    }

    if (stream->state.top - stream->state.count >= stream->state.floor) {
        return NGX_OK;
    }

    /* the rest is for those that come after it */

    (void) ngx_centrifugo_stream_trim(hub, n, stream, NGX_CENTRIFUGO_ALL,
                                      PUBLISH_TRIM);

    return NGX_OK;
}


/* what the stream is with it */

static ngx_int_t
publish_state(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_kept_t *kept)
{
    size_t                          bytes;
    uint64_t                        now;
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_intent_t        *intent;
    ngx_centrifugo_stream_state_t  *state;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    state = &intent->stream_state;
    now = ngx_current_msec;

    if (ngx_centrifugo_stream_bytes(shm, kept, &bytes) != NGX_OK) {
        return NGX_ERROR;
    }

    *state = stream->state;

    if (now >= state->expire) {
        state->floor = state->top;
    }

    state->top = kept->offset;

    if (state->top > pub->size && state->floor < state->top - pub->size) {
        state->floor = state->top - pub->size;
    }

    state->version = pub->version;
    state->version_epoch = pub->version
                           ? publish_version_epoch(shm, &pub->version_epoch)
                           : 0;
    state->expire = now + pub->ttl;
    state->meta_expire = now + pub->meta_ttl;
    state->written = now;
    state->bytes += bytes;
    state->newest = hub_ref(shm, kept);

    if (state->count++ == 0) {
        state->oldest = state->newest;
    }

    intent->counts.publications = shard->counts.publications + 1;
    intent->counts.history = shard->counts.history + bytes;

    return NGX_OK;
}


/* what it takes when it is the first of its channel, nearly */

static size_t
publish_room(const ngx_centrifugo_hub_publication_t *pub)
{
    size_t  len;

    len = sizeof(ngx_centrifugo_record_t) + pub->channel.len;

    if (pub->size) {
        len += sizeof(ngx_centrifugo_stream_t) + sizeof(ngx_centrifugo_kept_t)
               + pub->info.len + pub->tags.len + pub->data.len;
    }

    return pub->key.len ? len + sizeof(ngx_centrifugo_result_t) : len;
}


/*
 * The bytes that go into the first item: all that fills no other, or so many
 * that two items are much smaller than one.
 */

static size_t
publish_first(size_t len)
{
    size_t      rest, room, size;
    ngx_uint_t  class;

    if (len <= PUBLISH_SMALL) {
        return len;
    }

    rest = (len - 1) % CHAIN_MAX + 1;

    if (rest <= PUBLISH_SMALL) {
        return rest;
    }

    class = ngx_centrifugo_page_class(KEPT_SIZE + rest);

    size = ngx_centrifugo_page_class_size(class - 1);
    room = size - KEPT_SIZE;
    size += ngx_centrifugo_page_class_size(ngx_centrifugo_page_class(
                              sizeof(ngx_centrifugo_chain_t) + rest - room));

    return (class < NGX_CENTRIFUGO_SIZES
            && ngx_centrifugo_page_class_size(class) <= size + PUBLISH_SPLIT)
           ? rest : room;
}
