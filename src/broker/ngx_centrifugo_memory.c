/*
 * The memory engine: the hub's shared zone itself.
 */

#include "ngx_centrifugo_broker.h"


#define MEMORY_READ   (64 * 1024)   /* bytes of presence in one section */
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
    NULL,
    NULL
};


static ngx_int_t
memory_init_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    /* the slot in the hub is the worker's, for all engines */

    return NGX_OK;
}


static void
memory_exit_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_centrifugo_hub_exit(&hcf->hub);
}


static void
memory_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_rc_e        rc;
    ngx_centrifugo_position_t         position;
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
    p.flags = pub->json ? NGX_CENTRIFUGO_PUB_JSON : 0;
    p.time = ngx_centrifugo_broker_time();

    switch (ngx_centrifugo_hub_publish(&hcf->hub, &p, &position)) {

    case NGX_OK:
    case NGX_DECLINED:
        rc = NGX_CENTRIFUGO_ENGINE_OK;
        ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_PUBLISHED, 1);
        break;

    default:
        rc = NGX_CENTRIFUGO_ENGINE_UNAVAILABLE;
    }

    done->handler(done->handle, rc, NULL);
}


static void
memory_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    ngx_int_t                        rc;
    ngx_centrifugo_join_t            join;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_engine_result_t   result;

    ngx_memzero(&join, sizeof(ngx_centrifugo_join_t));
    ngx_memzero(&result, sizeof(ngx_centrifugo_engine_result_t));

    rc = ngx_centrifugo_hub_join(&hcf->hub, &wish->channel, &join, NULL, NULL);

    if (rc != NGX_OK) {
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
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    result.channel = ch;
    result.pos = join.pos;

    /* what the answer sets going may end the subscription at once */

    ch->count++;

    done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_OK, &result);

    if (--ch->count == 0) {

        /* who asked is gone */

        memory_unsubscribe(ch);
    }
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


static int
memory_compare(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}
