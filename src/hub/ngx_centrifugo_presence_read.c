/*
 * Reading who is in a channel, some entries in each section, while others come
 * and go.  The list is ordered, so a reader knows what it has read by a number.
 */

#include "ngx_centrifugo_hub_shm.h"


#define PRESENCE_WALK   256             /* entries in one section */
#define PRESENCE_COPY   (64 * 1024)     /* and bytes */


static ngx_int_t presence_seek(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_presence_cursor_t *cursor,
    ngx_uint_t *left, ngx_centrifugo_ref_t *ref);
static ngx_int_t presence_next(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_centrifugo_presence_cursor_t *cursor,
    ngx_centrifugo_entrant_t **entrant);


ngx_int_t
ngx_centrifugo_presence_info(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_entrant_t *entrant, u_char *dst)
{
    size_t  first;

    first = ngx_min(entrant->item.len, NGX_CENTRIFUGO_ENTRANT_INFO);
    ngx_memcpy(dst, entrant->info, first);

    return ngx_centrifugo_chain_copy(shm, entrant->rest, dst + first,
                                     entrant->item.len - first);
}


ngx_int_t
ngx_centrifugo_hub_presence_read(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    u_char *buf, size_t size, size_t *len)
{
    uint32_t                   info;
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n, left;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    *len = 0;

    hash = ngx_centrifugo_hash(shm->seed, channel->data, channel->len);
    n = hub_shard_of(shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    size = ngx_min(size, PRESENCE_COPY);
    left = PRESENCE_WALK;

    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);
    rc = presence_seek(hub, n, rec, cursor, &left, &ref);

    while (rc == NGX_OK && ref) {

        if (left-- == 0) {
            rc = NGX_AGAIN;
            break;
        }

        e = NULL;
        rc = presence_next(hub, n, ref, cursor, &e);

        if (rc != NGX_OK) {
            break;
        }

        info = e->item.len;

        if (sizeof(uint32_t) + info > size - *len) {
            rc = NGX_AGAIN;
            break;
        }

        ngx_memcpy(buf + *len, &info, sizeof(uint32_t));

        if (ngx_centrifugo_presence_info(shm, e,
                                         buf + *len + sizeof(uint32_t))
            != NGX_OK)
        {
            ngx_centrifugo_shard_wipe(hub, n);
            rc = NGX_ERROR;
            break;
        }

        *len += sizeof(uint32_t) + info;

        cursor->begun = 1;
        cursor->ref = ref;
        cursor->seq = e->seq;
        ref = e->older;
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_READ);
    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}


ngx_int_t
ngx_centrifugo_hub_presence_users(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    uint64_t *users, ngx_uint_t max, ngx_uint_t *count)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n, left;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    *count = 0;

    hash = ngx_centrifugo_hash(shm->seed, channel->data, channel->len);
    n = hub_shard_of(shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    left = PRESENCE_WALK;

    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);
    rc = presence_seek(hub, n, rec, cursor, &left, &ref);

    while (rc == NGX_OK && ref) {

        if (left-- == 0 || *count == max) {
            rc = NGX_AGAIN;
            break;
        }

        e = NULL;
        rc = presence_next(hub, n, ref, cursor, &e);

        if (rc != NGX_OK) {
            break;
        }

        users[(*count)++] = e->user;

        cursor->begun = 1;
        cursor->ref = ref;
        cursor->seq = e->seq;
        ref = e->older;
    }

    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}


/*
 * The entry at which a reader goes on, 0: none.  The one it has noted may be
 * gone, or be another's: then it begins again at the newest and passes over
 * all that are newer than the last that it has read.
 */

static ngx_int_t
presence_seek(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_presence_cursor_t *cursor,
    ngx_uint_t *left, ngx_centrifugo_ref_t *ref)
{
    uint64_t                   seq;
    ngx_centrifugo_ref_t       channel;
    ngx_centrifugo_entrant_t  *e;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    *ref = 0;

    if (rec == NULL) {
        return NGX_OK;
    }

    *ref = rec->presence;

    if (!cursor->begun) {
        return NGX_OK;
    }

    channel = hub_ref(shm, rec);

    if (ngx_centrifugo_page_holds(shm, n, cursor->ref)) {
        e = ngx_centrifugo_shard_item(shm, cursor->ref,
                                      NGX_CENTRIFUGO_ITEM_PRESENCE);

        if (e != NULL && e->channel == channel && e->seq >= cursor->seq) {
            *ref = cursor->ref;
        }
    }

    seq = (uint64_t) -1;

    while (*ref) {
        e = ngx_centrifugo_shard_item(shm, *ref,
                                      NGX_CENTRIFUGO_ITEM_PRESENCE);

        if (e == NULL || e->seq >= seq) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_ERROR;
        }

        seq = e->seq;

        if (seq < cursor->seq) {
            break;
        }

        if ((*left)-- == 0) {
            cursor->ref = *ref;
            return NGX_AGAIN;
        }

        *ref = e->older;
    }

    return NGX_OK;
}


/* the entry to be read next; each is older than the one before */

static ngx_int_t
presence_next(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_ref_t ref, ngx_centrifugo_presence_cursor_t *cursor,
    ngx_centrifugo_entrant_t **entrant)
{
    *entrant = ngx_centrifugo_shard_item(hub->shm, ref,
                                         NGX_CENTRIFUGO_ITEM_PRESENCE);

    if (*entrant == NULL
        || (cursor->begun && (*entrant)->seq >= cursor->seq))
    {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    return NGX_OK;
}
