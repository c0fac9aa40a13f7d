/*
 * The memory engine: the hub's shared zone itself.
 */

#include "ngx_centrifugo_broker.h"


static ngx_int_t memory_init_worker(ngx_centrifugo_hub_conf_t *hcf);
static void memory_exit_worker(ngx_centrifugo_hub_conf_t *hcf);
static void memory_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done);
static void memory_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *name, const ngx_centrifugo_completion_t *done);
static void memory_unsubscribe(ngx_centrifugo_channel_t *ch);


const ngx_centrifugo_engine_t  ngx_centrifugo_engine_memory = {
    ngx_string("memory"),
    memory_init_worker,
    memory_exit_worker,
    memory_publish,
    memory_subscribe,
    memory_unsubscribe
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
    uint64_t                    now;
    ngx_time_t                 *tp;
    ngx_centrifugo_engine_rc_e  rc;

    if (pub->info.len + pub->data.len
        > ngx_centrifugo_hub_publication_max(
              ngx_centrifugo_hub_log_size(hcf->hub.shm)))
    {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_REFUSED, NULL);
        return;
    }

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    switch (ngx_centrifugo_hub_publish(&hcf->hub, &pub->channel, &pub->info,
                                       &pub->data, pub->json, now))
    {
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
memory_subscribe(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *name,
    const ngx_centrifugo_completion_t *done)
{
    ngx_int_t                        rc;
    ngx_centrifugo_join_t            join;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_engine_result_t   result;

    rc = ngx_centrifugo_hub_join(&hcf->hub, name, &join);

    if (rc != NGX_OK) {
        done->handler(done->handle,
                      rc == NGX_DECLINED ? NGX_CENTRIFUGO_ENGINE_RETRY
                                         : NGX_CENTRIFUGO_ENGINE_UNAVAILABLE,
                      NULL);
        return;
    }

    ch = ngx_centrifugo_broker_channel_add(hcf, name, join.channel);

    if (ch == NULL) {

        /* out of memory for a channel that this worker did not have yet */

        ngx_centrifugo_hub_leave(&hcf->hub, name);
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
