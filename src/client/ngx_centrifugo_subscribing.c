/*
 * A subscription on its way: from a grant over the engine and presence to the
 * answer, which may come late.
 */

#include "ngx_centrifugo_client.h"


#define SUBSCRIBING_ARENA  512


static void subscribing_joined(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void subscribing_announce(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub);
static void subscribing_present(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);
static void subscribing_end(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why);
static void subscribing_unsubscribed(ngx_centrifugo_subscribing_t *op);
static ngx_uint_t subscribing_is(ngx_centrifugo_subscribing_t *op,
    const ngx_str_t *channel);
static ngx_int_t subscribing_keep(ngx_centrifugo_subscribing_t *op);
static u_char *subscribing_copy(u_char *p, ngx_str_t *s);


ngx_centrifugo_subscribing_t *
ngx_centrifugo_subscribing_create(ngx_centrifugo_client_t *client,
    ngx_centrifugo_grant_t *grant)
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

    grant->filter = NULL;

    p = subscribing_copy((u_char *) (op + 1), &op->grant.channel);
    p = subscribing_copy(p, &op->grant.info);
    (void) subscribing_copy(p, &op->grant.data);

    return op;
}


static u_char *
subscribing_copy(u_char *p, ngx_str_t *s)
{
    u_char  *from;

    from = s->data;
    s->data = p;

    return s->len ? ngx_cpymem(p, from, s->len) : p;
}


void
ngx_centrifugo_subscribing_free(ngx_centrifugo_subscribing_t *op)
{
    free(op->grant.filter);
    free(op->copy);
    free(op->reason.data);
    free(op);
}


void
ngx_centrifugo_subscribing_start(ngx_centrifugo_subscribing_t *op)
{
    ngx_centrifugo_grant_t           *grant;
    ngx_centrifugo_client_t          *client;
    ngx_centrifugo_completion_t       done;
    ngx_centrifugo_subscribe_wish_t   wish;

    grant = &op->grant;
    client = ngx_centrifugo_client_pending(op->client);

    if (client) {
        op->next = client->subscribing;
        client->subscribing = op;
    }

    if (client && grant->channel.len > NGX_CENTRIFUGO_NAME_MAX) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_request,
                        "its name is longer than 1024 bytes");
        return;
    }

    if (client && (grant->presence || grant->join_leave)
        && !ngx_centrifugo_info_fits(client, &client->info, &grant->info))
    {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_request,
                        "its user and info are larger than "
                        "presence_info_max");
        return;
    }

    done.handler = subscribing_joined;
    done.handle = (uint64_t) (uintptr_t) op;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_subscribe_wish_t));
    wish.channel = grant->channel;

    if (grant->positioned) {
        wish.meta_ttl = grant->meta_ttl;
    }

    if (grant->recoverable && (grant->recover || grant->automatic)) {
        wish.recover = grant->cache ? NGX_CENTRIFUGO_RECOVER_CACHE
                                    : NGX_CENTRIFUGO_RECOVER_STREAM;
        wish.since = grant->since;
        wish.limit = op->hcf->recovery_max_publication_limit;
        wish.max = op->hcf->queue_max_size / 2;
    }

    ngx_centrifugo_engine(op->hcf)->subscribe(op->hcf, &wish, &done);
}


static void
subscribing_joined(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_client_t        *client;
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

    if (op->cancelled) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "it was unsubscribed meanwhile");
        return;
    }

    if (ngx_centrifugo_client_subscription(client, &op->grant.channel)) {

        /* an order of the API and a command for one channel */

        subscribing_end(op, client, NULL, &ngx_centrifugo_error_subscribed,
                        "it is subscribed already");
        return;
    }

    if (op->grant.reject && op->grant.recover && op->grant.recoverable
        && !result->recovered)
    {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_position,
                        "it can't be recovered");
        return;
    }

    op->position = result->position;
    op->recovered = result->recovered;
    op->publications = result->publications;

    if (op->grant.presence && subscribing_keep(op) != NGX_OK) {
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "no memory for what is recovered");
        return;
    }

    sub = ngx_centrifugo_subscription_create(client, &op->grant, result);

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

    subscribing_announce(op, client, sub);
}


/*
 * What was recovered is the engine's only as long as its call lasts.
 */

static ngx_int_t
subscribing_keep(ngx_centrifugo_subscribing_t *op)
{
    if (op->publications.len == 0) {
        return NGX_OK;
    }

    op->copy = malloc(op->publications.len);
    if (op->copy == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(op->copy, op->publications.data, op->publications.len);
    op->publications.data = op->copy;

    return NGX_OK;
}


static void
subscribing_announce(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub)
{
    ngx_centrifugo_arena_t       arena;
    ngx_centrifugo_presence_t    presence;
    ngx_centrifugo_completion_t  done;

    ngx_centrifugo_arena_init(&arena, SUBSCRIBING_ARENA);

    if (ngx_centrifugo_subscription_identity(sub, &arena, &presence) != NGX_OK)
    {
        ngx_centrifugo_subscription_end(sub);
        subscribing_end(op, client, NULL, &ngx_centrifugo_error_internal,
                        "no memory for its presence");

    } else if (op->grant.presence) {
        presence.flags = op->grant.join_leave
                         ? NGX_CENTRIFUGO_PRESENCE_ANNOUNCE : 0;

        done.handler = subscribing_present;
        done.handle = (uint64_t) (uintptr_t) op;

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

        ngx_centrifugo_subscription_absent(op->hcf, sub, &op->grant.channel,
                                           op->id);

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
    ngx_centrifugo_client_t        *owner;
    ngx_centrifugo_subscribing_t  **p;

    /* one that is closed still has its list */

    owner = ngx_centrifugo_client_find(op->client);

    for (p = owner ? &owner->subscribing : NULL; p && *p; p = &(*p)->next) {
        if (*p == op) {
            *p = op->next;
            break;
        }
    }

    op->done(op, client, sub, err, why);

    if (op->code) {
        subscribing_unsubscribed(op);
    }

    ngx_centrifugo_subscribing_free(op);
}


/*
 * It is answered, now comes the unsubscribe that could not be before that.
 */

static void
subscribing_unsubscribed(ngx_centrifugo_subscribing_t *op)
{
    ngx_centrifugo_buf_t           *b;
    ngx_centrifugo_client_t        *client;
    ngx_centrifugo_subscription_t  *sub;

    client = ngx_centrifugo_client_pending(op->client);

    if (client == NULL) {
        return;
    }

    sub = ngx_centrifugo_client_subscription(client, &op->grant.channel);

    if (sub && sub->serial == op->serial) {
        ngx_centrifugo_subscription_revoke(sub, op->code, &op->reason);
        return;
    }

    if (sub) {

        /* it was asked for later, or has an unsubscribe of its own to come */

        return;
    }

    b = ngx_centrifugo_client_push_begin(client);
    client->codec->push_unsubscribe(b, &op->grant.channel, op->code,
                                    &op->reason);
    ngx_centrifugo_client_push_end(client, b);
}


ngx_centrifugo_subscribing_t *
ngx_centrifugo_subscribing_find(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel)
{
    ngx_centrifugo_subscribing_t  *op;

    for (op = client->subscribing; op; op = op->next) {
        if (subscribing_is(op, channel)) {
            return op;
        }
    }

    return NULL;
}


static ngx_uint_t
subscribing_is(ngx_centrifugo_subscribing_t *op, const ngx_str_t *channel)
{
    return op->grant.channel.len == channel->len
           && ngx_memcmp(op->grant.channel.data, channel->data, channel->len)
              == 0;
}


ngx_int_t
ngx_centrifugo_subscribing_unsubscribe(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel, ngx_uint_t code, const ngx_str_t *reason)
{
    u_char                        *p;
    ngx_centrifugo_subscribing_t  *op;

    for (op = client->subscribing; op; op = op->next) {

        if (channel && !subscribing_is(op, channel)) {
            continue;
        }

        p = malloc(reason->len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        free(op->reason.data);

        op->code = code;
        op->reason.data = p;
        op->reason.len = reason->len;
        ngx_memcpy(p, reason->data, reason->len);
    }

    return NGX_OK;
}


void
ngx_centrifugo_subscribing_cancel(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel)
{
    ngx_centrifugo_subscribing_t  *op;

    for (op = client->subscribing; op; op = op->next) {
        if (subscribing_is(op, channel)) {
            op->cancelled = 1;
        }
    }
}
