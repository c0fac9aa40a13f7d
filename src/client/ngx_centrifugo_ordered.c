/*
 * What the server API may do to a client.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_order.h"


static void ordered_subscribe(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order);
static void ordered_subscribed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why);
static void ordered_push(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result);
static void ordered_unsubscribe(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order);
static void ordered_disconnect(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order);
static void ordered_refresh(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order);


void
ngx_centrifugo_client_ordered(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order)
{
    if (order->kind == NGX_CENTRIFUGO_ORDER_DISCONNECT) {
        ordered_disconnect(client, order);
        return;
    }

    /* one that is still connecting is told nothing else */

    if (client->state != NGX_CENTRIFUGO_CLIENT_CONNECTED) {
        return;
    }

    switch (order->kind) {

    case NGX_CENTRIFUGO_ORDER_SUBSCRIBE:
        ordered_subscribe(client, order);
        break;

    case NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE:
        ordered_unsubscribe(client, order);
        break;

    default:
        ordered_refresh(client, order);
    }
}


static void
ordered_subscribe(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order)
{
    ngx_centrifugo_grant_t              grant;
    ngx_centrifugo_subscribing_t       *op;
    ngx_centrifugo_channel_options_t   *options;
    ngx_centrifugo_subscribe_result_t   result;

    if (ngx_centrifugo_client_subscription(client, &order->channel)) {
        ngx_memzero(&result, sizeof(ngx_centrifugo_subscribe_result_t));
        result.data = order->data;

        ordered_push(client, &order->channel, &result);
        return;
    }

    options = ngx_centrifugo_conf_channel(client->hcf, &order->channel);

    if (options == NULL) {

        /* a reload has taken its namespace away */

        return;
    }

    if (client->nsubscriptions >= client->hcf->channel_limit) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_channels,
                                    "the API subscribes it to more than "
                                    "channel_limit");
        return;
    }

    ngx_memzero(&grant, sizeof(ngx_centrifugo_grant_t));

    grant.channel = order->channel;
    grant.info = order->info;
    grant.data = order->data;
    grant.expire_at = order->expire_at;
    grant.server_side = 1;
    grant.recover = order->recover;
    grant.since = order->since;

    ngx_centrifugo_grant_options(&grant, options, &order->override);

    /* a push has no publications */

    grant.automatic = 0;

    op = ngx_centrifugo_subscribing_create(client, &grant);
    if (op == NULL) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for a subscription");
        return;
    }

    op->done = ordered_subscribed;

    ngx_centrifugo_subscribing_start(op);
}


static void
ordered_subscribed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why)
{
    ngx_centrifugo_subscribe_result_t  result;

    if (client == NULL || op->cancelled) {
        return;
    }

    if (err && err->code != ngx_centrifugo_error_subscribed.code) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal, why);
        return;
    }

    ngx_memzero(&result, sizeof(ngx_centrifugo_subscribe_result_t));
    result.data = op->grant.data;

    if (sub) {

        /*
         * A push tells where the client is, not what it has missed: with that
         * position it asks for it when it connects again.
         */

        (void) ngx_centrifugo_recovery_result(op, sub, 0, NULL, &result);

        result.recovered = 0;
        result.was_recovering = 0;
    }

    ordered_push(client, &op->grant.channel, &result);

    if (sub == NULL || client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        return;
    }

    ngx_centrifugo_subscription_answered(sub);

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED
        && !client->dispatching)
    {
        ngx_centrifugo_delivery_send(client);
    }
}


static void
ordered_push(ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result)
{
    ngx_centrifugo_buf_t  *b;

    b = ngx_centrifugo_client_push_begin(client);
    client->codec->push_subscribe(b, channel, result);
    ngx_centrifugo_client_push_end(client, b);
}


static void
ordered_unsubscribe(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order)
{
    ngx_queue_t                    *q, *next;
    ngx_centrifugo_buf_t           *b;
    ngx_centrifugo_subscription_t  *sub;

    /* those on their way end when they are answered */

    if (ngx_centrifugo_subscribing_unsubscribe(client,
                                   order->channel.len ? &order->channel : NULL,
                                   order->code, &order->reason)
        != NGX_OK)
    {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory to unsubscribe it later");
        return;
    }

    if (order->channel.len) {
        sub = ngx_centrifugo_client_subscription(client, &order->channel);

        if (sub && !sub->pending) {
            ngx_centrifugo_subscription_revoke(sub, order->code,
                                               &order->reason);

        } else if (ngx_centrifugo_subscribing_find(client, &order->channel)
                   == NULL)
        {
            b = ngx_centrifugo_client_push_begin(client);
            client->codec->push_unsubscribe(b, &order->channel, order->code,
                                            &order->reason);
            ngx_centrifugo_client_push_end(client, b);
        }

        return;
    }

    for (q = ngx_queue_head(&client->subscriptions);
         client->state == NGX_CENTRIFUGO_CLIENT_CONNECTED
         && q != ngx_queue_sentinel(&client->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);

        if (!sub->pending) {
            ngx_centrifugo_subscription_revoke(sub, order->code,
                                               &order->reason);
        }
    }
}


static void
ordered_disconnect(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order)
{
    ngx_centrifugo_disconnect_t  disconnect;

    if (order->ticket
        && (client->ticket == 0 || client->ticket >= order->ticket))
    {
        return;
    }

    disconnect.code = order->code;
    disconnect.reason = order->reason;

    ngx_centrifugo_client_close(client, &disconnect, "by the server API");
}


static void
ordered_refresh(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_order_t *order)
{
    uint32_t               ttl;
    ngx_centrifugo_buf_t  *b;

    if (order->expired
        || (order->expire_at && order->expire_at <= ngx_time()))
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_expired,
                                    "the API says that it expired");
        return;
    }

    if (order->info.len && !ngx_centrifugo_presence_fits(client, &order->info))
    {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "the API gives it an info larger than "
                                    "presence_info_max");
        return;
    }

    if (order->info.len) {
        client->informed = 0;

        if (ngx_centrifugo_client_identity(client, &client->user,
                                           &order->info)
            != NGX_OK)
        {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_internal,
                                        "no memory for its info");
            return;
        }

        ngx_centrifugo_presence_renew(client);
    }

    ttl = ngx_centrifugo_client_expire(client, order->expire_at);

    b = ngx_centrifugo_client_push_begin(client);
    client->codec->push_refresh(b, ttl != 0, ttl);
    ngx_centrifugo_client_push_end(client, b);
}
