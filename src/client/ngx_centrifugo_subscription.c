/*
 * The life of a subscription, whoever asked for it: a command, a token, the
 * server API.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"


#define SUBSCRIPTION_ARENA  512
#define SUBSCRIPTION_LOOK   86400000    /* ms, between looks at expiries */
#define SUBSCRIPTION_MAX    1000000000000000    /* s, beyond any date */


static ngx_uint_t subscription_fits(ngx_centrifugo_client_t *client,
    const ngx_str_t *info, const ngx_str_t *chan_info);
static void subscribing_joined(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void subscribing_present(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);
static void subscribing_end(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why);
static ngx_centrifugo_subscription_t *subscription_create(
    ngx_centrifugo_client_t *client, const ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_engine_result_t *result);
static ngx_int_t subscription_extra(ngx_centrifugo_subscription_t *sub,
    int64_t expire_at, const ngx_str_t *info);
static void subscription_arm(ngx_centrifugo_client_t *client,
    int64_t expire_at);
static int64_t subscription_end_time(ngx_centrifugo_client_t *client,
    int64_t expire_at);
static ngx_int_t subscription_identity(ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_presence_t *presence);
static void subscription_present(ngx_centrifugo_subscription_t *sub,
    ngx_uint_t flags);
static void subscription_presented(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);
static void subscription_absent(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_subscription_t *sub, const ngx_str_t *channel,
    u_char *id);
static u_char *subscription_copy(u_char *p, ngx_str_t *s);


static uint32_t  subscription_serial;


ngx_centrifugo_subscribing_t *
ngx_centrifugo_subscribing_create(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_grant_t *grant)
{
    u_char                        *p;
    ngx_centrifugo_subscribing_t  *op;

    op = malloc(sizeof(ngx_centrifugo_subscribing_t) + grant->channel.len
                + grant->info.len + grant->data.len);
    if (op == NULL) {
        return NULL;
    }

    ngx_memzero(op, sizeof(ngx_centrifugo_subscribing_t));

    op->client = client->handle;
    ngx_memcpy(op->id, client->id, sizeof(op->id));
    op->hcf = client->hcf;
    op->grant = *grant;

    p = subscription_copy((u_char *) (op + 1), &op->grant.channel);
    p = subscription_copy(p, &op->grant.info);
    (void) subscription_copy(p, &op->grant.data);

    return op;
}


static u_char *
subscription_copy(u_char *p, ngx_str_t *s)
{
    u_char  *from;

    from = s->data;
    s->data = p;

    return s->len ? ngx_cpymem(p, from, s->len) : p;
}


void
ngx_centrifugo_subscribing_start(ngx_centrifugo_subscribing_t *op)
{
    ngx_centrifugo_client_t          *client;
    ngx_centrifugo_completion_t       done;
    ngx_centrifugo_subscribe_wish_t   wish;

    client = ngx_centrifugo_client_pending(op->client);

    if (client && op->grant.channel.len > NGX_CENTRIFUGO_NAME_MAX) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_request,
                        "its name is longer than 1024 bytes");
        return;
    }

    if (client && (op->grant.presence || op->grant.join_leave)
        && !subscription_fits(client, &client->info, &op->grant.info))
    {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_request,
                        "its user and info are larger than "
                        "presence_info_max");
        return;
    }

    done.handler = subscribing_joined;
    done.handle = (uint64_t) (uintptr_t) op;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_subscribe_wish_t));
    wish.channel = op->grant.channel;

    ngx_centrifugo_engine(op->hcf)->subscribe(op->hcf, &wish, &done);
}


static ngx_uint_t
subscription_fits(ngx_centrifugo_client_t *client, const ngx_str_t *info,
    const ngx_str_t *chan_info)
{
    return client->user.len + info->len + chan_info->len
           <= client->hcf->presence_info_max;
}


ngx_uint_t
ngx_centrifugo_subscription_fits(ngx_centrifugo_subscription_t *sub,
    const ngx_str_t *chan_info)
{
    return !(sub->present || sub->announced)
           || subscription_fits(sub->client, &sub->client->info, chan_info);
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
            && !subscription_fits(client, info,
                                  sub->extra ? &sub->extra->info : &none))
        {
            return 0;
        }
    }

    return 1;
}


static void
subscribing_joined(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_client_t        *client;
    ngx_centrifugo_presence_t       presence;
    ngx_centrifugo_completion_t     done;
    ngx_centrifugo_subscribing_t   *op;
    ngx_centrifugo_subscription_t  *sub;

    op = (ngx_centrifugo_subscribing_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(op->client);

    if (client == NULL) {
        subscribing_end(op, NULL, NULL, &ngx_centrifugo_error_internal,
                        "it is gone");
        return;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        rc == NGX_CENTRIFUGO_ENGINE_RETRY
                        ? "the zone is full or no memory is left"
                        : "the hub is not available");
        return;
    }

    if (ngx_centrifugo_client_subscription(client, &op->grant.channel)) {

        /* an order of the API and a command for one channel */

        subscribing_end(op, client, NULL, &ngx_centrifugo_error_subscribed,
                        "it is subscribed already");
        return;
    }

    sub = subscription_create(client, &op->grant, result);

    if (sub == NULL) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "no memory for a subscription");
        return;
    }

    op->serial = sub->serial;

    if (!op->grant.presence && !op->grant.join_leave) {
        subscribing_end(op, client, sub, NULL, NULL);
        return;
    }

    ngx_centrifugo_arena_init(&arena, SUBSCRIPTION_ARENA);

    if (subscription_identity(sub, &arena, &presence) != NGX_OK) {
        ngx_centrifugo_subscription_end(sub);
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "no memory for its presence");

    } else if (op->grant.presence) {
        presence.flags = op->grant.join_leave
                         ? NGX_CENTRIFUGO_PRESENCE_ANNOUNCE : 0;

        done.handler = subscribing_present;
        done.handle = handle;

        ngx_centrifugo_engine(op->hcf)->presence_add(op->hcf, &presence,
                                                     &done);

    } else {
        sub->announced = 1;

        ngx_centrifugo_engine(op->hcf)->announce(op->hcf, &presence.channel,
                                                 NGX_CENTRIFUGO_ENTRY_JOIN,
                                                 &presence.info);

        subscribing_end(op, client, sub, NULL, NULL);
    }

    ngx_centrifugo_arena_free(&arena);
}


static void
subscribing_present(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_client_t        *client;
    ngx_centrifugo_subscribing_t   *op;
    ngx_centrifugo_subscription_t  *sub;

    op = (ngx_centrifugo_subscribing_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(op->client);

    sub = client ? ngx_centrifugo_client_subscription(client,
                                                      &op->grant.channel)
                 : NULL;

    if (sub && sub->pending && sub->serial == op->serial
        && rc == NGX_CENTRIFUGO_ENGINE_OK)
    {
        sub->present = 1;
        sub->announced = op->grant.join_leave;
        subscribing_end(op, client, sub, NULL, NULL);
        return;
    }

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {

        /* the subscription ended while its presence was on its way */

        subscription_absent(op->hcf, sub, &op->grant.channel, op->id);

        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "it was unsubscribed meanwhile");
        return;
    }

    if (sub == NULL || sub->serial != op->serial) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "it is gone");
        return;
    }

    ngx_centrifugo_subscription_end(sub);

    ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_internal,
                                rc == NGX_CENTRIFUGO_ENGINE_RETRY
                                ? "the zone is full, it can't be present"
                                : "its presence can't be kept");

    subscribing_end(op, NULL, NULL, &ngx_centrifugo_error_internal, NULL);
}


static void
subscribing_end(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why)
{
    op->done(op, client, sub, err, why);
    free(op);
}


static ngx_centrifugo_subscription_t *
subscription_create(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_subscription_t  *sub;

    sub = malloc(sizeof(ngx_centrifugo_subscription_t));
    if (sub == NULL) {
        return NULL;
    }

    ngx_memzero(sub, sizeof(ngx_centrifugo_subscription_t));

    if ((grant->expire_at || grant->info.len)
        && subscription_extra(sub, grant->expire_at, &grant->info) != NGX_OK)
    {
        free(sub);
        return NULL;
    }

    sub->client = client;
    sub->channel = result->channel;
    sub->pos = result->pos;
    sub->pending = 1;
    sub->server_side = grant->server_side;
    sub->token = grant->token;
    sub->push = grant->push;
    sub->serial = ++subscription_serial;

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
    extra->info = *info;
    (void) subscription_copy((u_char *) (extra + 1), &extra->info);

    free(sub->extra);
    sub->extra = extra;

    return NGX_OK;
}


/*
 * What presence, joins and leaves say of the client.
 */

static ngx_int_t
subscription_identity(ngx_centrifugo_subscription_t *sub,
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

    if (channel == NULL) {
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

        if (subscription_identity(sub, &arena, &presence) != NGX_OK) {

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

    free(sub->extra);
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

    op = ngx_centrifugo_subscribing_create(sub->client, &grant);

    if (op == NULL) {

        /* the entry stays as it was */

        return;
    }

    ngx_centrifugo_arena_init(&arena, SUBSCRIPTION_ARENA);

    if (subscription_identity(sub, &arena, &presence) == NGX_OK) {
        presence.flags |= flags;

        done.handler = subscription_presented;
        done.handle = (uint64_t) (uintptr_t) op;

        ngx_centrifugo_engine(op->hcf)->presence_add(op->hcf, &presence,
                                                     &done);
    } else {
        free(op);
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

        subscription_absent(op->hcf,
                            client ? ngx_centrifugo_client_subscription(client,
                                                          &op->grant.channel)
                                   : NULL,
                            &op->grant.channel, op->id);
    }

    free(op);
}


/*
 * The presence of a client came late: takes it back if the subscription has
 * ended meanwhile, and no other is there that has one or may get one.
 */

static void
subscription_absent(ngx_centrifugo_hub_conf_t *hcf,
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
