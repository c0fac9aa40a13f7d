/*
 * Expiry: the housekeeper takes out what has come to its time.  Readers look
 * at the clock themselves, so it may come late.
 */

#include "ngx_centrifugo_hub_shm.h"


#define EXPIRE_ITEMS     256        /* of one section */
#define EXPIRE_SECTIONS  16         /* of one call */
#define EXPIRE_KEPT      60000      /* ms, until an old stream that somebody is
                                       subscribed to is looked at again */

/* readers of figures take no lock */

#define expire_count(shard, what)                                            \
    __atomic_store_n(&(shard)->expired[what], (shard)->expired[what] + 1,    \
                     __ATOMIC_RELAXED)

#define EXPIRE_RESULT    0
#define EXPIRE_HISTORY   1
#define EXPIRE_STREAM    2


static ngx_uint_t expire_section(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t now);
static ngx_int_t expire_result(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t now);
static ngx_int_t expire_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t now, ngx_uint_t *left);


ngx_int_t
ngx_centrifugo_hub_expire(ngx_centrifugo_hub_t *hub)
{
    uint64_t    now;
    ngx_uint_t  items, sections;

    now = ngx_current_msec;
    sections = 0;

    while (hub->expiring < hub->shm->shards) {

        if (sections == EXPIRE_SECTIONS) {
            return NGX_AGAIN;
        }

        items = expire_section(hub, hub->expiring, now);

        if (items) {
            sections++;
        }

        if (items < EXPIRE_ITEMS) {
            hub->expiring++;
        }
    }

    hub->expiring = 0;

    return NGX_OK;
}


/* how many items were looked at: EXPIRE_ITEMS if there are more */

static ngx_uint_t
expire_section(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t now)
{
    uint32_t                   generation;
    ngx_int_t                  rc;
    ngx_uint_t                 left;
    ngx_centrifugo_due_t      *due;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return 0;
    }

    generation = shard->generation;
    left = EXPIRE_ITEMS;

    while (left) {
        rc = ngx_centrifugo_due_next(shm, n, now, &due);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc == NGX_OK) {
            left--;

            rc = (due->item.type == NGX_CENTRIFUGO_ITEM_RESULT)
                 ? expire_result(hub, n, due, now)
                 : expire_stream(hub, n, due, now, &left);
        }

        if (rc != NGX_OK) {

            if (shard->generation == generation) {
                ngx_centrifugo_shard_wipe(hub, n);
            }

            break;
        }

        NGX_CENTRIFUGO_POINT(EXPIRE_ITEM);
    }

    ngx_centrifugo_shard_unlock(hub, n);

    return EXPIRE_ITEMS - left;
}


static ngx_int_t
expire_result(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t now)
{
    ngx_centrifugo_result_t  *result;

    result = ngx_centrifugo_shard_item(hub->shm, hub_ref(hub->shm, due),
                                       NGX_CENTRIFUGO_ITEM_RESULT);
    if (result == NULL) {
        return NGX_ERROR;
    }

    if (now < result->expire) {
        return ngx_centrifugo_due_move(hub->shm, n, due, result->expire);
    }

    if (ngx_centrifugo_result_remove(hub, n, result) != NGX_OK) {
        return NGX_ERROR;
    }

    expire_count(hub_shard(hub->shm, n), EXPIRE_RESULT);

    return NGX_OK;
}


/*
 * It stays in its list until all is done that is to be done now, so whoever
 * comes next goes on with it.
 */

static ngx_int_t
expire_stream(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t now, ngx_uint_t *left)
{
    uint64_t                        at;
    ngx_int_t                       rc;
    ngx_uint_t                      count, over;
    ngx_centrifugo_shard_t         *shard;
    ngx_centrifugo_record_t        *rec;
    ngx_centrifugo_stream_t        *stream;
    ngx_centrifugo_hub_shm_t       *shm;
    ngx_centrifugo_stream_state_t  *state;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    rec = NULL;

    stream = ngx_centrifugo_shard_item(shm, hub_ref(shm, due),
                                       NGX_CENTRIFUGO_ITEM_STREAM);
    if (stream != NULL) {
        rec = ngx_centrifugo_shard_item(shm, stream->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
    }

    if (rec == NULL) {
        return NGX_ERROR;
    }

    state = &stream->state;
    count = state->count;
    over = ngx_centrifugo_stream_over(shm, rec, stream, now);

    if (count) {

        if ((now >= state->expire || over) && state->floor < state->top) {
            ngx_centrifugo_stream_clear(stream);
            expire_count(shard, EXPIRE_HISTORY);
        }

        rc = ngx_centrifugo_stream_trim(hub, n, stream, NGX_CENTRIFUGO_ALL,
                                        *left);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        *left -= ngx_min(*left, count - state->count);

        if (rc == NGX_AGAIN) {
            *left = 0;
            return NGX_OK;
        }
    }

    if (over) {

        if (ngx_centrifugo_stream_remove(hub, n, stream) != NGX_OK) {
            return NGX_ERROR;
        }

        expire_count(shard, EXPIRE_STREAM);

        return NGX_OK;
    }

    at = (now < state->meta_expire) ? state->meta_expire : now + EXPIRE_KEPT;

    if (state->count) {
        at = ngx_min(at, state->expire);
    }

    return ngx_centrifugo_due_move(shm, n, due, at);
}
