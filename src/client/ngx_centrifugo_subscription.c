/*
 * The life of a subscription, whoever asked for it: a command, a token, the
 * server API.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"


#define SUBSCRIPTION_ARENA  512
#define SUBSCRIPTION_LOOK   86400000    /* ms, between looks at expiries */
#define SUBSCRIPTION_MAX    1000000000000000    /* s, beyond any date */


static void subscription_feed(ngx_centrifugo_subscription_t *sub,
    ngx_int_t n);
static ngx_int_t subscription_extra(ngx_centrifugo_subscription_t *sub,
    int64_t expire_at, const ngx_str_t *info);
static void subscription_arm(ngx_centrifugo_client_t *client,
    int64_t expire_at);
static int64_t subscription_end_time(ngx_centrifugo_client_t *client,
    int64_t expire_at);
static void subscription_present(ngx_centrifugo_subscription_t *sub,
    ngx_uint_t flags);
static void subscription_presented(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);


static uint32_t  subscription_serial;


ngx_uint_t
ngx_centrifugo_info_fits(ngx_centrifugo_client_t *client,
    const ngx_str_t *info, const ngx_str_t *chan_info)
{
    return client->user.len + info->len + chan_info->len
           <= client->hcf->presence_info_max;
}


ngx_uint_t
ngx_centrifugo_subscription_fits(ngx_centrifugo_subscription_t *sub,
    const ngx_str_t *chan_info)
{
    return !(sub->present || sub->announced)
           || ngx_centrifugo_info_fits(sub->client, &sub->client->info,
                                       chan_info);
}


ngx_uint_t
ngx_centrifugo_presence_fits(ngx_centrifugo_client_t *client,
    const ngx_str_t *info)
{
    ngx_str_t                       none = ngx_null_string;
    ngx_queue_t                    *q;
    ngx_centrifugo_subscription_t  *sub;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);

        if ((sub->present || sub->announced)
            && !ngx_centrifugo_info_fits(client, info,
                                         sub->extra ? &sub->extra->info
                                                    : &none))
        {
            return 0;
        }
    }

    return 1;
}


ngx_centrifugo_subscription_t *
ngx_centrifugo_subscription_create(ngx_centrifugo_client_t *client,
    ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_engine_result_t *result)
{
    size_t                          size;
    ngx_centrifugo_subscription_t  *sub;

    size = sizeof(ngx_centrifugo_subscription_t)
           + (grant->positioned ? sizeof(ngx_centrifugo_position_t) : 0);

    sub = malloc(size);
    if (sub == NULL) {
        return NULL;
    }

    ngx_memzero(sub, size);

    if ((grant->expire_at || grant->info.len || grant->filter)
        && subscription_extra(sub, grant->expire_at, &grant->info) != NGX_OK)
    {
        free(sub);
        return NULL;
    }

    sub->feed = grant->positioned || grant->compact;

    if (sub->feed
        && ngx_centrifugo_feed_take(result->channel, result) == NULL)
    {
        free(sub->extra);
        free(sub);
        return NULL;
    }

    if (sub->extra) {
        sub->extra->filter = grant->filter;
        grant->filter = NULL;
    }

    if (grant->positioned) {
        sub->positioned = 1;
        sub->position[0] = result->position;
    }

    sub->client = client;
    sub->channel = result->channel;
    sub->pos = result->pos;
    sub->pending = 1;
    sub->delta = grant->delta;
    sub->compact = grant->compact;
    sub->server_side = grant->server_side;
    sub->token = grant->token;
    sub->push = grant->push;
    sub->serial = ++subscription_serial;

    subscription_feed(sub, 1);

    ngx_queue_insert_tail(&result->channel->subscriptions, &sub->in_channel);
    ngx_queue_insert_tail(&client->subscriptions, &sub->in_client);
    result->channel->count++;
    client->nsubscriptions++;

    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS, 1);
    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_COUNT_SUBSCRIBES, 1);

    subscription_arm(client, grant->expire_at);

    return sub;
}


/* What the channel's feed has to do is known by the subscriptions it has. */

static void
subscription_feed(ngx_centrifugo_subscription_t *sub, ngx_int_t n)
{
    ngx_centrifugo_feed_t  *feed;

    feed = sub->channel->feed;

    if (sub->positioned) {
        feed->positioned += n;
        feed->deltas += sub->delta ? n : 0;
    }
}


/* Replaces what was there; a filter stays. */

static ngx_int_t
subscription_extra(ngx_centrifugo_subscription_t *sub, int64_t expire_at,
    const ngx_str_t *info)
{
    ngx_centrifugo_subscription_extra_t  *extra;

    extra = malloc(sizeof(ngx_centrifugo_subscription_extra_t) + info->len);
    if (extra == NULL) {
        return NGX_ERROR;
    }

    extra->expire_at = expire_at;
    extra->filter = sub->extra ? sub->extra->filter : NULL;
    extra->info.len = info->len;
    extra->info.data = (u_char *) (extra + 1);

    if (info->len) {
        ngx_memcpy(extra->info.data, info->data, info->len);
    }

    free(sub->extra);
    sub->extra = extra;

    return NGX_OK;
}


void
ngx_centrifugo_subscription_answered(ngx_centrifugo_subscription_t *sub)
{
    ngx_centrifugo_client_t  *client;

    client = sub->client;
    sub->pending = 0;

    if (sub->held == NULL) {
        return;
    }

    ngx_centrifugo_client_flush(client);

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
        ngx_centrifugo_delivery_answered(sub);
    }
}


ngx_int_t
ngx_centrifugo_subscription_identity(ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_presence_t *presence)
{
    u_char                         uuid[NGX_CENTRIFUGO_ID_LEN];
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_client_info_t   info;

    client = sub->client;

    ngx_memzero(&info, sizeof(ngx_centrifugo_client_info_t));
    info.user = client->user;
    info.conn_info = client->info;
    info.client.data = uuid;
    info.client.len = ngx_centrifugo_client_id(client, uuid) - uuid;

    if (sub->extra) {
        info.chan_info = sub->extra->info;
    }

    presence->channel = sub->channel->name.str;
    presence->user = client->user;
    presence->client = client->id;
    presence->flags = sub->announced ? NGX_CENTRIFUGO_PRESENCE_ANNOUNCE : 0;

    return ngx_centrifugo_broker_pack_info(arena, &info, &presence->info);
}


ngx_centrifugo_subscription_t *
ngx_centrifugo_client_subscription(ngx_centrifugo_client_t *client,
    const ngx_str_t *name)
{
    ngx_queue_t                    *q;
    ngx_centrifugo_channel_t       *channel;
    ngx_centrifugo_subscription_t  *sub;

    if (client->nsubscriptions == 0) {
        return NULL;
    }

    channel = ngx_centrifugo_broker_channel(client->hcf, name);

    /* one that was just made for it has none yet */

    if (channel == NULL || ngx_queue_empty(&channel->subscriptions)) {
        return NULL;
    }

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);

        if (sub->channel == channel) {
            return sub;
        }
    }

    return NULL;
}


void
ngx_centrifugo_subscription_end(ngx_centrifugo_subscription_t *sub)
{
    ngx_uint_t                      told;
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_client_t        *client;
    ngx_centrifugo_channel_t       *channel;
    ngx_centrifugo_presence_t       presence;
    ngx_centrifugo_hub_conf_t      *hcf;
    const ngx_centrifugo_engine_t  *engine;

    client = sub->client;
    channel = sub->channel;
    hcf = client->hcf;
    engine = ngx_centrifugo_engine(hcf);
    told = 0;

    ngx_queue_remove(&sub->in_channel);
    ngx_queue_remove(&sub->in_client);
    client->nsubscriptions--;

    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS, -1);

    if (sub->present || sub->announced) {
        ngx_centrifugo_arena_init(&arena, SUBSCRIPTION_ARENA);

        if (ngx_centrifugo_subscription_identity(sub, &arena, &presence)
            != NGX_OK)
        {
            /* the entry goes; only a leave without it would need this */

            ngx_str_null(&presence.info);
            presence.flags = 0;
        }

        if (sub->present) {
            engine->presence_remove(hcf, &presence);

        } else if (presence.info.len) {
            engine->announce(hcf, &presence.channel,
                             NGX_CENTRIFUGO_ENTRY_LEAVE, &presence.info);
        }

        told = sub->announced;
        ngx_centrifugo_arena_free(&arena);
    }

    ngx_centrifugo_delivery_drop(sub);

    if (sub->feed) {
        subscription_feed(sub, -1);
        ngx_centrifugo_feed_give(channel);
    }

    if (sub->extra) {
        free(sub->extra->filter);
        free(sub->extra);
    }

    free(sub);

    if (--channel->count == 0) {
        engine->unsubscribe(channel);
    }

    if (told) {
        ngx_centrifugo_worker_wake(hcf);
    }
}


void
ngx_centrifugo_client_unsubscribe_all(ngx_centrifugo_client_t *client)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&client->subscriptions)) {
        q = ngx_queue_head(&client->subscriptions);
        ngx_centrifugo_subscription_end(
                 ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client));
    }
}


void
ngx_centrifugo_subscription_revoke(ngx_centrifugo_subscription_t *sub,
    ngx_uint_t code, const ngx_str_t *reason)
{
    ngx_centrifugo_buf_t     *b;
    ngx_centrifugo_client_t  *client;

    client = sub->client;

    b = ngx_centrifugo_client_push_begin(client);
    client->codec->push_unsubscribe(b, &sub->channel->name.str, code, reason);

    ngx_centrifugo_subscription_end(sub);
    ngx_centrifugo_client_push_end(client, b);
}


ngx_int_t
ngx_centrifugo_subscription_renew(ngx_centrifugo_subscription_t *sub,
    int64_t expire_at, const ngx_str_t *info)
{
    if (subscription_extra(sub, expire_at, info) != NGX_OK) {
        return NGX_ERROR;
    }

    subscription_arm(sub->client, expire_at);

    if (sub->present) {
        subscription_present(sub, 0);
    }

    return NGX_OK;
}


/*
 * Enters the client's presence again, in place of the old entry.
 */

static void
subscription_present(ngx_centrifugo_subscription_t *sub, ngx_uint_t flags)
{
    ngx_centrifugo_grant_t         grant;
    ngx_centrifugo_arena_t         arena;
    ngx_centrifugo_presence_t      presence;
    ngx_centrifugo_completion_t    done;
    ngx_centrifugo_subscribing_t  *op;

    ngx_memzero(&grant, sizeof(ngx_centrifugo_grant_t));
    grant.channel = sub->channel->name.str;

    /* it is not on its way to a channel, only looks for the client later */

    op = ngx_centrifugo_subscribing_create(sub->client, &grant);

    if (op == NULL) {

        /* the entry stays as it was */

        return;
    }

    ngx_centrifugo_arena_init(&arena, SUBSCRIPTION_ARENA);

    if (ngx_centrifugo_subscription_identity(sub, &arena, &presence) == NGX_OK)
    {
        presence.flags |= flags;

        done.handler = subscription_presented;
        done.handle = (uint64_t) (uintptr_t) op;

        ngx_centrifugo_engine(op->hcf)->presence_add(op->hcf, &presence,
                                                     &done);
    } else {
        ngx_centrifugo_subscribing_free(op);
    }

    ngx_centrifugo_arena_free(&arena);
}


static void
subscription_presented(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_subscribing_t  *op;

    op = (ngx_centrifugo_subscribing_t *) (uintptr_t) handle;

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        client = ngx_centrifugo_client_pending(op->client);

        ngx_centrifugo_subscription_absent(op->hcf,
                            client ? ngx_centrifugo_client_subscription(client,
                                                          &op->grant.channel)
                                   : NULL,
                            &op->grant.channel, op->id);
    }

    ngx_centrifugo_subscribing_free(op);
}


void
ngx_centrifugo_subscription_absent(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_subscription_t *sub, const ngx_str_t *channel, u_char *id)
{
    ngx_centrifugo_presence_t  presence;

    if (sub && (sub->present || sub->pending)) {
        return;
    }

    ngx_memzero(&presence, sizeof(ngx_centrifugo_presence_t));
    presence.channel = *channel;
    presence.client = id;

    ngx_centrifugo_engine(hcf)->presence_remove(hcf, &presence);
}


void
ngx_centrifugo_presence_renew(ngx_centrifugo_client_t *client)
{
    ngx_queue_t                    *q;
    ngx_centrifugo_subscription_t  *sub;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);

        if (sub->present) {
            subscription_present(sub, 0);
        }
    }
}


void
ngx_centrifugo_presence_restore(ngx_centrifugo_channel_t *channel)
{
    ngx_queue_t                    *q;
    ngx_centrifugo_subscription_t  *sub;

    for (q = ngx_queue_head(&channel->subscriptions);
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_channel);

        if (sub->present) {
            subscription_present(sub, NGX_CENTRIFUGO_PRESENCE_QUIET);
        }
    }
}


/*
 * Only sets the timer: others that are over by now may end the client, and with
 * it the subscription in hand.  One that has no expiry any more, or a later
 * one, leaves it as it is.
 */

static void
subscription_arm(ngx_centrifugo_client_t *client, int64_t expire_at)
{
    int64_t     now, at;
    ngx_msec_t  delay, due;

    if (expire_at == 0) {
        return;
    }

    now = (int64_t) ngx_centrifugo_broker_time();
    at = subscription_end_time(client, expire_at);

    delay = (at > now) ? (ngx_msec_t) ngx_min(at - now, SUBSCRIPTION_LOOK) : 1;
    due = client->due[NGX_CENTRIFUGO_DUE_SUBSCRIPTION];

    if (due == 0
        || (ngx_msec_int_t) (due - (ngx_current_msec + delay)) > 0)
    {
        ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_SUBSCRIPTION,
                                 delay);
    }
}


/* ms; the API gives any number of seconds */

static int64_t
subscription_end_time(ngx_centrifugo_client_t *client, int64_t expire_at)
{
    return ngx_max(ngx_min(expire_at, SUBSCRIPTION_MAX), 0) * 1000
           + (int64_t) client->hcf->expired_sub_close_delay;
}


void
ngx_centrifugo_subscription_expire(ngx_centrifugo_client_t *client)
{
    int64_t                         now, at, next;
    ngx_queue_t                    *q;
    ngx_centrifugo_subscription_t  *sub;

    static ngx_str_t  reason = ngx_string("subscription expired");

    now = (int64_t) ngx_centrifugo_broker_time();
    next = 0;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         /* void */ )
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);
        q = ngx_queue_next(q);

        if (sub->extra == NULL || sub->extra->expire_at == 0) {
            continue;
        }

        at = subscription_end_time(client, sub->extra->expire_at);

        if (at <= now && sub->pending) {
            at = now + 1000;
        }

        if (at > now) {
            next = next ? ngx_min(next, at) : at;
            continue;
        }

        if (sub->server_side) {
            ngx_centrifugo_client_close(client,
                                      &ngx_centrifugo_disconnect_sub_expired,
                                      "a server-side subscription expired");
            return;
        }

        ngx_centrifugo_subscription_revoke(sub, 2501, &reason);

        if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
            return;
        }
    }

    /* far ones are looked at again in a day */

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_SUBSCRIPTION,
                             next ? (ngx_msec_t) ngx_min(next - now,
                                                         SUBSCRIPTION_LOOK)
                                  : 0);
}
