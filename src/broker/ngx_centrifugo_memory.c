/*
 * The memory engine: the hub's shared zone itself.
 */

#include "ngx_centrifugo_broker.h"


#define MEMORY_READ   (64 * 1024)   /* bytes of presence or history in one
                                       section */
#define MEMORY_USERS  256           /* entries, of its users */


static ngx_int_t memory_init_worker(ngx_centrifugo_hub_conf_t *hcf);
static void memory_exit_worker(ngx_centrifugo_hub_conf_t *hcf);
static void memory_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done);
static void memory_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done);
static void memory_unsubscribe(ngx_centrifugo_channel_t *ch);
static void memory_presence_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence,
    const ngx_centrifugo_completion_t *done);
static void memory_presence_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence);
static void memory_announce(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
    const ngx_str_t *info);
static void memory_presence(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void memory_presence_stats(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void memory_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done);
static void memory_history_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static ngx_int_t memory_room(ngx_centrifugo_history_t *h,
    ngx_centrifugo_buf_t *list, size_t size);
static ngx_int_t memory_read(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_history_t *h, ngx_centrifugo_buf_t *list, size_t max,
    ngx_int_t rc);
static ngx_uint_t memory_recover(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    ngx_centrifugo_history_t *h, ngx_centrifugo_buf_t *list, ngx_int_t rc);
static void memory_take_list(ngx_centrifugo_buf_t *list);
static void memory_give_list(ngx_centrifugo_buf_t *list);
static int memory_compare(const void *one, const void *two);


const ngx_centrifugo_engine_t  ngx_centrifugo_engine_memory = {
    ngx_string("memory"),
    memory_init_worker,
    memory_exit_worker,
    memory_publish,
    memory_subscribe,
    memory_unsubscribe,
    memory_presence_add,
    memory_presence_remove,
    memory_announce,
    memory_presence,
    memory_presence_stats,
    memory_history,
    memory_history_remove
};


/* of the last history that was read, for the next */

static ngx_centrifugo_buf_t  memory_list;


static ngx_int_t
memory_init_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    /* the slot in the hub is the worker's, for all engines */

    return NGX_OK;
}


static void
memory_exit_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_centrifugo_buf_free(&memory_list);
    ngx_centrifugo_hub_exit(&hcf->hub);
}


static void
memory_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_rc_e        rc;
    ngx_centrifugo_engine_result_t    result;
    ngx_centrifugo_hub_publication_t  p;

    if (pub->info.len + pub->tags.len + pub->data.len
        > ngx_centrifugo_hub_publication_max(
              ngx_centrifugo_hub_log_size(hcf->hub.shm)))
    {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_REFUSED, NULL);
        return;
    }

    ngx_memzero(&p, sizeof(ngx_centrifugo_hub_publication_t));
    p.channel = pub->channel;
    p.info = pub->info;
    p.tags = pub->tags;
    p.data = pub->data;
    p.flags = (pub->json ? NGX_CENTRIFUGO_PUB_JSON : 0)
              | (pub->delta ? NGX_CENTRIFUGO_PUB_DELTA : 0);
    p.time = ngx_centrifugo_broker_time();
    p.size = pub->history_size;
    p.ttl = pub->history_ttl;
    p.meta_ttl = pub->history_meta_ttl;
    p.key = pub->idempotency_key;
    p.version = pub->version;
    p.version_epoch = pub->version_epoch;

    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    switch (ngx_centrifugo_hub_publish(&hcf->hub, &p, &result.position)) {

    case NGX_OK:
    case NGX_DECLINED:
        rc = NGX_CENTRIFUGO_ENGINE_OK;
        ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_PUBLISHED, 1);
        break;

    case NGX_DONE:
        rc = NGX_CENTRIFUGO_ENGINE_OK;
        break;

    case NGX_BUSY:
        rc = NGX_CENTRIFUGO_ENGINE_RETRY;
        break;

    default:
        rc = NGX_CENTRIFUGO_ENGINE_UNAVAILABLE;
    }

    done->handler(done->handle, rc, &result);
}


static void
memory_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    ngx_int_t                        rc, read;
    ngx_centrifugo_buf_t             list;
    ngx_centrifugo_join_t            join;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_history_t         h;
    ngx_centrifugo_engine_result_t   result;

    ngx_memzero(&join, sizeof(ngx_centrifugo_join_t));
    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    join.meta_ttl = wish->meta_ttl;
    ngx_memzero(&list, sizeof(ngx_centrifugo_buf_t));

    if (wish->recover) {
        ngx_memzero(&h, sizeof(ngx_centrifugo_history_t));

        h.channel = wish->channel;
        h.limit = 1;
        h.reverse = 1;

        if (wish->recover == NGX_CENTRIFUGO_RECOVER_STREAM) {
            h.limit = wish->limit;
            h.reverse = 0;
            h.since = wish->since.offset;
            h.bounded = 1;
            h.strict = 1;
        }

        memory_take_list(&list);

        if (memory_room(&h, &list, MEMORY_READ) != NGX_OK) {
            done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
            return;
        }
    }

    rc = ngx_centrifugo_hub_join(&hcf->hub, &wish->channel, &join,
                                 wish->recover ? &h : NULL, &read);

    if (rc != NGX_OK) {
        memory_give_list(&list);
        done->handler(done->handle,
                      rc == NGX_DECLINED ? NGX_CENTRIFUGO_ENGINE_RETRY
                                         : NGX_CENTRIFUGO_ENGINE_UNAVAILABLE,
                      NULL);
        return;
    }

    ch = ngx_centrifugo_broker_channel_add(hcf, &wish->channel, join.channel);

    if (ch == NULL) {

        /* out of memory for a channel that this worker did not have yet */

        ngx_centrifugo_hub_leave(&hcf->hub, &wish->channel);
        memory_give_list(&list);
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    result.channel = ch;
    result.pos = join.pos;
    result.position = join.position;

    if (wish->recover && memory_recover(hcf, wish, &h, &list, read)) {
        result.recovered = 1;
        result.publications.data = list.start;
        result.publications.len = ngx_centrifugo_buf_len(&list);
        result.npublications = h.n;
    }

    /* what the answer sets going may end the subscription at once */

    ch->count++;

    done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_OK, &result);

    if (--ch->count == 0) {

        /* who asked is gone */

        memory_unsubscribe(ch);
    }

    memory_give_list(&list);
}


static void
memory_unsubscribe(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_hub_leave(&ch->hcf->hub, &ch->name.str);
    ngx_centrifugo_broker_channel_free(ch);
}


static void
memory_presence_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_rc_e  rc;

    if (presence->info.len > NGX_CENTRIFUGO_PRESENCE_MAX) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_REFUSED, NULL);
        return;
    }

    switch (ngx_centrifugo_hub_presence_add(&hcf->hub, presence,
                                            ngx_centrifugo_broker_time()))
    {
    case NGX_OK:
        rc = NGX_CENTRIFUGO_ENGINE_OK;
        break;

    case NGX_DECLINED:
        rc = NGX_CENTRIFUGO_ENGINE_RETRY;
        break;

    default:
        rc = NGX_CENTRIFUGO_ENGINE_UNAVAILABLE;
    }

    done->handler(done->handle, rc, NULL);
}


static void
memory_presence_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence)
{
    if (ngx_centrifugo_hub_presence_remove(&hcf->hub, &presence->channel,
                                           presence->client,
                                           ngx_centrifugo_broker_time())
        == NGX_DECLINED
        && (presence->flags & NGX_CENTRIFUGO_PRESENCE_ANNOUNCE))
    {
        /* a wipe took the entry before it could be put back */

        memory_announce(hcf, &presence->channel, NGX_CENTRIFUGO_ENTRY_LEAVE,
                        &presence->info);
    }
}


static void
memory_announce(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    ngx_centrifugo_entry_e type, const ngx_str_t *info)
{
    (void) ngx_centrifugo_hub_announce(&hcf->hub, channel, type, info,
                                       ngx_centrifugo_broker_time());
}


static void
memory_presence(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    size_t                             len;
    u_char                            *p;
    uint32_t                           size;
    ngx_int_t                          rc;
    ngx_centrifugo_buf_t               buf;
    ngx_centrifugo_engine_result_t     result;
    ngx_centrifugo_presence_cursor_t   cursor;

    ngx_memzero(&buf, sizeof(ngx_centrifugo_buf_t));
    ngx_memzero(&cursor, sizeof(ngx_centrifugo_presence_cursor_t));
    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    do {
        if (ngx_centrifugo_buf_reserve(&buf, MEMORY_READ) != NGX_OK) {
            ngx_centrifugo_buf_free(&buf);
            done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
            return;
        }

        rc = ngx_centrifugo_hub_presence_read(&hcf->hub, channel, &cursor,
                                              buf.last, MEMORY_READ, &len);
        if (rc != NGX_ERROR) {
            buf.last += len;
        }

    } while (rc == NGX_AGAIN);

    for (p = buf.start; p < buf.last; p += sizeof(uint32_t) + size) {
        ngx_memcpy(&size, p, sizeof(uint32_t));
        result.num_clients++;
    }

    result.presence.data = buf.start;
    result.presence.len = ngx_centrifugo_buf_len(&buf);

    done->handler(done->handle,
                  rc == NGX_OK ? NGX_CENTRIFUGO_ENGINE_OK
                               : NGX_CENTRIFUGO_ENGINE_UNAVAILABLE,
                  &result);

    ngx_centrifugo_buf_free(&buf);
}


static void
memory_presence_stats(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    uint64_t                          *users;
    ngx_int_t                          rc;
    ngx_uint_t                         i, n;
    ngx_centrifugo_buf_t               buf;
    ngx_centrifugo_engine_result_t     result;
    ngx_centrifugo_presence_cursor_t   cursor;

    ngx_memzero(&buf, sizeof(ngx_centrifugo_buf_t));
    ngx_memzero(&cursor, sizeof(ngx_centrifugo_presence_cursor_t));
    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    do {
        if (ngx_centrifugo_buf_reserve(&buf, MEMORY_USERS * sizeof(uint64_t))
            != NGX_OK)
        {
            ngx_centrifugo_buf_free(&buf);
            done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
            return;
        }

        rc = ngx_centrifugo_hub_presence_users(&hcf->hub, channel, &cursor,
                                               (uint64_t *) buf.last,
                                               MEMORY_USERS, &n);
        if (rc != NGX_ERROR) {
            buf.last += n * sizeof(uint64_t);
        }

    } while (rc == NGX_AGAIN);

    users = (uint64_t *) buf.start;
    n = ngx_centrifugo_buf_len(&buf) / sizeof(uint64_t);

    if (n) {
        qsort(users, n, sizeof(uint64_t), memory_compare);
    }

    for (i = 0; i < n; i++) {
        if (i == 0 || users[i] != users[i - 1]) {
            result.num_users++;
        }
    }

    result.num_clients = (uint32_t) n;

    ngx_centrifugo_buf_free(&buf);

    done->handler(done->handle,
                  rc == NGX_OK ? NGX_CENTRIFUGO_ENGINE_OK
                               : NGX_CENTRIFUGO_ENGINE_UNAVAILABLE,
                  &result);
}


static void
memory_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    ngx_int_t                        rc;
    ngx_uint_t                       again;
    ngx_centrifugo_buf_t             list;
    ngx_centrifugo_history_t         h;
    ngx_centrifugo_engine_rc_e       erc;
    ngx_centrifugo_engine_result_t   result;

    memory_take_list(&list);

    for (again = 0; again < 2; again++) {
        ngx_memzero(&h, sizeof(ngx_centrifugo_history_t));

        h.channel = wish->channel;
        h.since = wish->since.offset;
        h.limit = wish->limit;
        h.meta_ttl = wish->meta_ttl;
        h.bounded = wish->bounded;
        h.reverse = wish->reverse;

        ngx_centrifugo_buf_reset(&list);

        rc = memory_read(hcf, &h, &list, wish->max, NGX_AGAIN);

        /* gone between two sections: what is there now is as good */

        if (rc != NGX_DECLINED) {
            break;
        }
    }

    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    result.position = h.position;
    result.publications.data = list.start;
    result.publications.len = ngx_centrifugo_buf_len(&list);
    result.npublications = h.n;

    switch (rc) {

    case NGX_OK:
        erc = NGX_CENTRIFUGO_ENGINE_OK;
        break;

    case NGX_ABORT:
        erc = NGX_CENTRIFUGO_ENGINE_REFUSED;
        break;

    case NGX_DECLINED:
    case NGX_BUSY:
        erc = NGX_CENTRIFUGO_ENGINE_RETRY;
        break;

    default:
        erc = NGX_CENTRIFUGO_ENGINE_UNAVAILABLE;
    }

    done->handler(done->handle, erc, &result);

    memory_give_list(&list);
}


static void
memory_history_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    done->handler(done->handle,
                  ngx_centrifugo_hub_history_remove(&hcf->hub, channel)
                  == NGX_OK
                  ? NGX_CENTRIFUGO_ENGINE_OK
                  : NGX_CENTRIFUGO_ENGINE_UNAVAILABLE,
                  NULL);
}


/*
 * The parts of a history that follow one which gave `rc` (NGX_AGAIN: the first
 * is to be read); h->n counts all.  NGX_OK: that was all; NGX_ABORT: it is more
 * than `max` bytes; NGX_DECLINED: it changed; NGX_BUSY: no memory; NGX_ERROR:
 * damaged.
 */

static ngx_int_t
memory_read(ngx_centrifugo_hub_conf_t *hcf, ngx_centrifugo_history_t *h,
    ngx_centrifugo_buf_t *list, size_t max, ngx_int_t rc)
{
    ngx_uint_t  n;

    n = 0;

    for ( ;; ) {

        if (rc == NGX_OK || rc == NGX_AGAIN) {
            list->last += h->len;
            n += h->n;
        }

        if (ngx_centrifugo_buf_len(list) > max) {
            rc = NGX_ABORT;
        }

        if (rc != NGX_AGAIN && rc != NGX_BUSY) {
            break;
        }

        if (memory_room(h, list, rc == NGX_BUSY ? ngx_max(h->need, MEMORY_READ)
                                                : MEMORY_READ)
            != NGX_OK)
        {
            rc = NGX_BUSY;
            break;
        }

        rc = ngx_centrifugo_hub_history(&hcf->hub, h);
    }

    h->n = n;

    return rc;
}


static ngx_int_t
memory_room(ngx_centrifugo_history_t *h, ngx_centrifugo_buf_t *list,
    size_t size)
{
    if (ngx_centrifugo_buf_reserve(list, size) != NGX_OK) {
        return NGX_ERROR;
    }

    h->buf = list->last;
    h->size = list->end - list->last;
    h->len = 0;
    h->n = 0;

    return NGX_OK;
}


/*
 * Reads what the first part, which gave `rc`, has left, and tells whether that
 * is what was missed.
 */

static ngx_uint_t
memory_recover(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    ngx_centrifugo_history_t *h, ngx_centrifugo_buf_t *list, ngx_int_t rc)
{
    u_char                   *p;
    uint64_t                  first, last;
    ngx_uint_t                cache;
    ngx_centrifugo_stored_t   stored;

    cache = (wish->recover == NGX_CENTRIFUGO_RECOVER_CACHE);

    if (cache && wish->since.offset
        && wish->since.offset == h->position.offset
        && wish->since.epoch == h->position.epoch)
    {
        h->n = 0;
        return 1;
    }

    if (!cache && wish->since.epoch
        && wish->since.epoch != h->position.epoch)
    {
        return 0;
    }

    if (memory_read(hcf, h, list, wish->max, rc) != NGX_OK) {
        return 0;
    }

    first = 0;
    last = 0;

    for (p = list->start;
         p < list->last;
         p += ngx_centrifugo_stored_size(stored.info_len, stored.tags_len,
                                         stored.data_len))
    {
        ngx_memcpy(&stored, p, sizeof(ngx_centrifugo_stored_t));
        first = first ? first : stored.offset;
        last = stored.offset;
    }

    if (cache) {
        return last && last == h->position.offset;
    }

    return ngx_centrifugo_broker_recovered(&wish->since, &h->position, h->n,
                                           first, last);
}


/*
 * Whoever gets a list may ask for another one before he is done with it.
 */

static void
memory_take_list(ngx_centrifugo_buf_t *list)
{
    *list = memory_list;
    ngx_memzero(&memory_list, sizeof(ngx_centrifugo_buf_t));
    ngx_centrifugo_buf_reset(list);
}


static void
memory_give_list(ngx_centrifugo_buf_t *list)
{
    if (memory_list.start || list->end - list->start > 2 * MEMORY_READ) {
        ngx_centrifugo_buf_free(list);
        return;
    }

    memory_list = *list;
}


static int
memory_compare(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}
