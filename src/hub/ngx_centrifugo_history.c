/*
 * Reading and removing a channel's history, some of it in each section, while
 * others publish.  Offsets have no holes, so a reader knows what it has to find
 * by a number.
 */

#include "ngx_centrifugo_hub_shm.h"


#define HISTORY_PUBLICATIONS  64                /* in one section */
#define HISTORY_COPY          (64 * 1024)       /* and bytes */
#define HISTORY_WALK          256               /* steps to where it goes on */


static ngx_int_t history_begin(ngx_centrifugo_history_t *h, uint64_t first);
static ngx_int_t history_seek(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_history_t *h);
static ngx_centrifugo_kept_t *history_at(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_stream_t *stream, ngx_centrifugo_ref_t ref,
    uint64_t offset);
static ngx_int_t history_copy(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_kept_t *kept, ngx_centrifugo_history_t *h);


ngx_int_t
ngx_centrifugo_hub_history(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_history_t *h)
{
    uint64_t                  hash;
    ngx_int_t                 rc;
    ngx_uint_t                n;
    ngx_centrifugo_record_t  *rec;

    if (h->channel.len > NGX_CENTRIFUGO_NAME_MAX) {
        return NGX_ERROR;
    }

    hash = ngx_centrifugo_hash(hub->shm->seed, h->channel.data,
                               h->channel.len);
    n = hub_shard_of(hub->shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    rec = ngx_centrifugo_shard_find(hub, n, hash, &h->channel);
    rc = ngx_centrifugo_history_read(hub, n, rec, h);

    NGX_CENTRIFUGO_POINT(HISTORY_READ);
    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}


ngx_int_t
ngx_centrifugo_history_read(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_history_t *h)
{
    uint32_t                   generation;
    uint64_t                   now, first;
    ngx_int_t                  rc;
    ngx_uint_t                 left;
    ngx_centrifugo_kept_t     *kept;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_stream_t   *stream, *over;
    ngx_centrifugo_position_t  position;

    shard = hub_shard(hub->shm, n);
    generation = shard->generation;
    now = ngx_current_msec;

    h->len = 0;
    h->n = 0;

    stream = rec ? ngx_centrifugo_stream_find(hub, n, rec) : NULL;
    over = NULL;

    if (stream && ngx_centrifugo_stream_over(hub->shm, rec, stream, now)) {
        over = stream;
        stream = NULL;
    }

    if (shard->generation != generation) {
        return NGX_ERROR;
    }

    position.offset = stream ? stream->state.top : 0;
    position.epoch = stream ? stream->epoch
                            : ngx_centrifugo_stream_epoch(hub, n, &h->channel,
                                                          over);

    if (h->begun && position.epoch != h->position.epoch) {
        return NGX_DECLINED;
    }

    if (stream && h->meta_ttl
        && stream->state.meta_expire < now + h->meta_ttl)
    {
        intent_store(&stream->state.meta_expire, now + h->meta_ttl);
    }

    first = position.offset + 1;

    if (stream && !ngx_centrifugo_stream_gone(stream, now)) {
        first = ngx_max(stream->state.floor, position.offset
                                             - stream->state.count)
                + 1;
    }

    if (!h->begun) {
        h->position = position;
        rc = history_begin(h, first);

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    for (left = HISTORY_PUBLICATIONS; /* void */ ; left--) {

        if (h->left == 0
            || (h->reverse ? h->next < first : h->next > h->position.offset))
        {
            return NGX_OK;
        }

        if (stream == NULL || h->next < first) {
            return NGX_DECLINED;
        }

        if (left == HISTORY_PUBLICATIONS) {
            rc = history_seek(hub, n, stream, h);

            if (rc != NGX_OK) {
                return rc;
            }

        } else if (left == 0) {
            return NGX_AGAIN;
        }

        kept = history_at(hub, n, stream, h->ref, h->next);

        if (kept == NULL) {
            return NGX_ERROR;
        }

        rc = history_copy(hub, kept, h);

        if (rc == NGX_ERROR) {
            ngx_centrifugo_shard_wipe(hub, n);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (h->left != NGX_CENTRIFUGO_ALL) {
            h->left--;
        }

        if (h->reverse) {
            h->next--;
            h->ref = kept->older;

        } else {
            h->next++;
            h->ref = kept->newer;
        }
    }
}


/* what is read, NGX_AGAIN: if there is anything */

static ngx_int_t
history_begin(ngx_centrifugo_history_t *h, uint64_t first)
{
    uint64_t  top;

    top = h->position.offset;

    h->begun = 1;
    h->ref = 0;
    h->left = h->limit;

    if (h->reverse) {
        h->next = top;

        if (h->bounded && h->since <= top) {

            if (h->since == 0) {
                return NGX_OK;
            }

            h->next = h->since - 1;
        }

        return NGX_AGAIN;
    }

    h->next = first;

    if (h->bounded) {

        if (h->strict
            && (h->since > top || (h->since < top && h->since + 1 < first)))
        {
            return NGX_DECLINED;
        }

        if (h->since >= first) {
            h->next = ngx_min(h->since, top) + 1;
        }
    }

    return NGX_AGAIN;
}


/*
 * Sets h->ref to the publication that is read next, which is in the list.  The
 * one that was noted may be gone, or be another's.  NGX_AGAIN: it is too far
 * away, the place reached is noted.
 */

static ngx_int_t
history_seek(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_history_t *h)
{
    uint64_t                        at, oldest;
    ngx_uint_t                      steps;
    ngx_centrifugo_ref_t            ref;
    ngx_centrifugo_kept_t          *kept;
    ngx_centrifugo_stream_state_t  *state;

    state = &stream->state;
    oldest = state->top - state->count + 1;

    /* from the nearest place that is known */

    at = state->top;
    ref = state->newest;

    if (h->next - oldest < at - h->next) {
        at = oldest;
        ref = state->oldest;
    }

    if (h->ref && ngx_centrifugo_page_holds(hub->shm, n, h->ref)) {
        kept = ngx_centrifugo_shard_item(hub->shm, h->ref,
                                         NGX_CENTRIFUGO_ITEM_PUBLICATION);

        if (kept != NULL && kept->stream == hub_ref(hub->shm, stream)
            && ngx_max(kept->offset, h->next) - ngx_min(kept->offset, h->next)
               < ngx_max(at, h->next) - ngx_min(at, h->next))
        {
            at = kept->offset;
            ref = h->ref;
        }
    }

    for (steps = 0; at != h->next; steps++) {

        if (steps == HISTORY_WALK) {
            h->ref = ref;
            return NGX_AGAIN;
        }

        kept = history_at(hub, n, stream, ref, at);

        if (kept == NULL) {
            return NGX_ERROR;
        }

        if (at < h->next) {
            ref = kept->newer;
            at++;

        } else {
            ref = kept->older;
            at--;
        }
    }

    h->ref = ref;

    return NGX_OK;
}


/* NULL: it is not there, the shard was wiped */

static ngx_centrifugo_kept_t *
history_at(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_centrifugo_ref_t ref, uint64_t offset)
{
    ngx_centrifugo_kept_t  *kept;

    kept = ngx_centrifugo_shard_item(hub->shm, ref,
                                     NGX_CENTRIFUGO_ITEM_PUBLICATION);

    if (kept == NULL || kept->offset != offset
        || kept->stream != hub_ref(hub->shm, stream))
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NULL;
    }

    return kept;
}


/*
 * NGX_AGAIN: it does not fit beside what is there; NGX_BUSY: not even alone;
 * NGX_ERROR: it is damaged.
 */

static ngx_int_t
history_copy(ngx_centrifugo_hub_t *hub, ngx_centrifugo_kept_t *kept,
    ngx_centrifugo_history_t *h)
{
    u_char                   *p;
    size_t                    size, len;
    ngx_centrifugo_stored_t   stored;

    len = (size_t) kept->info_len + kept->tags_len + kept->data_len;

    if (len > ngx_centrifugo_hub_publication_max(hub->shm->log.size)
        || kept->item.len > len)
    {
        return NGX_ERROR;
    }

    size = ngx_centrifugo_stored_size(len, 0, 0);

    if (size > h->size - h->len) {
        h->need = size;
        return h->n ? NGX_AGAIN : NGX_BUSY;
    }

    if (h->n && h->len + size > HISTORY_COPY) {
        return NGX_AGAIN;
    }

    stored.offset = kept->offset;
    stored.flags = kept->item.hash;
    stored.info_len = kept->info_len;
    stored.tags_len = kept->tags_len;
    stored.data_len = kept->data_len;

    p = ngx_cpymem(h->buf + h->len, &stored, sizeof(ngx_centrifugo_stored_t));
    p = ngx_cpymem(p, kept->bytes, kept->item.len);

    if (ngx_centrifugo_chain_copy(hub->shm, kept->item.next, p,
                                  len - kept->item.len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    h->len += size;
    h->n++;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_hub_history_remove(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_stream_t   *stream;

    hash = ngx_centrifugo_hash(hub->shm->seed, channel->data, channel->len);
    n = hub_shard_of(hub->shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);
    stream = rec ? ngx_centrifugo_stream_find(hub, n, rec) : NULL;

    if (stream != NULL) {
        ngx_centrifugo_stream_clear(stream);

        rc = ngx_centrifugo_stream_trim(hub, n, stream, 0,
                                        NGX_CENTRIFUGO_STREAM_TRIM);
        if (rc == NGX_AGAIN) {

            /* the rest is the housekeeper's */

            rc = ngx_centrifugo_due_set(hub->shm, n, &stream->due,
                                        ngx_current_msec);
            if (rc != NGX_OK) {
                ngx_centrifugo_shard_wipe(hub, n);
            }
        }
    }

    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}
