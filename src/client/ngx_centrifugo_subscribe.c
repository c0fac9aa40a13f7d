/*
 * Commands subscribe, unsubscribe and sub_refresh.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_worker.h"


#define SUBSCRIBE_REPLY  512    /* bytes of a reply beside data and
                                   publications, at most */


static const ngx_centrifugo_error_t *subscribe_check(
    ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    ngx_centrifugo_channel_options_t **options, const char **why);
static void subscribe_token(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, const ngx_str_t *token);
static void subscribe_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static void subscribe_verdict(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static void subscribe_allowed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options,
    const ngx_centrifugo_override_t *override);
static void subscribe_wishes(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options);
static void subscribe_done(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why);
static void subscribe_reply(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_buf_t *list);
static ngx_int_t subscribe_filter(ngx_centrifugo_command_t *cmd,
    const ngx_centrifugo_channel_options_t *options,
    ngx_centrifugo_filter_t **filter, const char **refused);
static void sub_refresh_verified(uint64_t handle,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static void sub_refresh_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static ngx_centrifugo_verifier_t *subscribe_verifier(
    ngx_centrifugo_client_t *client);
static const char *subscribe_mismatch(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel, const ngx_centrifugo_token_t *token);


void
ngx_centrifugo_client_subscribe(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    const char                        *why, *refused;
    ngx_centrifugo_grant_t             grant;
    ngx_centrifugo_subscribing_t      *op;
    const ngx_centrifugo_error_t      *err;
    ngx_centrifugo_channel_options_t  *options;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "subscribe without a channel");
        return;
    }

    if (cmd->type < 0 || cmd->type > 4) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "subscribe with an unknown type");
        return;
    }

    if (cmd->delta.len
        && (cmd->delta.len != 6
            || ngx_strncmp(cmd->delta.data, "fossil", 6) != 0))
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "subscribe with an unknown delta");
        return;
    }

    err = subscribe_check(client, cmd, &options, &why);

    if (err) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method, err,
                                    &cmd->channel, why);
        return;
    }

    ngx_memzero(&grant, sizeof(ngx_centrifugo_grant_t));
    grant.channel = cmd->channel;
    grant.recover = cmd->recover;
    grant.reject = (cmd->flag & NGX_CENTRIFUGO_FLAG_REJECT) != 0;
    grant.compact = client->hcf->channel_compaction
                    && (cmd->flag & NGX_CENTRIFUGO_FLAG_COMPACTION);
    grant.since.offset = cmd->offset;
    grant.since.epoch = ngx_centrifugo_epoch(&cmd->epoch);

    if (subscribe_filter(cmd, options, &grant.filter, &refused) != NGX_OK) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_internal,
                                    &cmd->channel, "no memory for a filter");
        return;
    }

    op = ngx_centrifugo_subscribing_create(client, &grant);

    if (op == NULL) {
        free(grant.filter);
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_internal,
                                    &cmd->channel, "no memory");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        ngx_centrifugo_subscribing_free(op);
        return;
    }

    op->done = subscribe_done;
    op->refused = refused;
    op->join_leave = cmd->join_leave;
    op->positioned = cmd->positioned;
    op->recoverable = cmd->recoverable;
    op->delta = (cmd->delta.len != 0);

    if (cmd->token.len) {
        subscribe_token(op, client, &cmd->token);

    } else {
        subscribe_allowed(op, client, options, NULL);
    }
}


/*
 * The checks in the order that clients can see.  NULL: allowed, or a token
 * decides.
 */

static const ngx_centrifugo_error_t *
subscribe_check(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd, ngx_centrifugo_channel_options_t **options,
    const char **why)
{
    ngx_centrifugo_hub_conf_t     *hcf;
    const ngx_centrifugo_error_t  *err;

    hcf = client->hcf;

    if (cmd->type == 4) {
        *why = "shared poll subscriptions are not offered";
        return &ngx_centrifugo_error_unavailable;
    }

    if (cmd->channel.len > hcf->channel_max_length) {
        *why = "its name is longer than channel_max_length";
        return &ngx_centrifugo_error_request;
    }

    if (ngx_centrifugo_client_subscription(client, &cmd->channel)
        || ngx_centrifugo_subscribing_find(client, &cmd->channel))
    {
        *why = "it is subscribed already";
        return &ngx_centrifugo_error_subscribed;
    }

    if (client->nsubscriptions >= hcf->channel_limit) {
        *why = "channel_limit is reached";
        return &ngx_centrifugo_error_limit;
    }

    err = ngx_centrifugo_permission_name(hcf, &cmd->channel, options, why);

    if (err) {
        return err;
    }

    if (cmd->type) {
        *why = "the namespace has stream subscriptions only";
        return &ngx_centrifugo_error_denied;
    }

    if (cmd->token.len) {
        return NULL;
    }

    return ngx_centrifugo_permission_subscribe(client, &cmd->channel,
                                               *options, why);
}


/*
 * The filter is made while the command is there.  That there must be none, or
 * not this one, is said when all else is allowed.  NGX_ERROR: no memory.
 */

static ngx_int_t
subscribe_filter(ngx_centrifugo_command_t *cmd,
    const ngx_centrifugo_channel_options_t *options,
    ngx_centrifugo_filter_t **filter, const char **refused)
{
    const char  *why;

    *refused = NULL;

    if (cmd->filter == NULL) {
        return NGX_OK;
    }

    if (!options->allow_tags_filter) {
        *refused = "tags filters are not allowed";
        return NGX_OK;
    }

    switch (ngx_centrifugo_filter_compile(cmd->filter, filter, &why)) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        *refused = why;
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static void
subscribe_token(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, const ngx_str_t *token)
{
    ngx_centrifugo_verified_t   done;
    ngx_centrifugo_verifier_t  *verifier;

    done.handler = subscribe_verified;
    done.handle = (uint64_t) (uintptr_t) op;

    verifier = subscribe_verifier(client);
    verifier->check(verifier, NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION,
                    ngx_centrifugo_client_arena(), token, &done);
}


static ngx_centrifugo_verifier_t *
subscribe_verifier(ngx_centrifugo_client_t *client)
{
    return client->hcf->subscription_token
           ? &client->hcf->subscription_verifier : &client->hcf->verifier;
}


static void
subscribe_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_subscribing_t  *op;

    op = (ngx_centrifugo_subscribing_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(op->client);

    if (client == NULL) {
        ngx_centrifugo_subscribing_free(op);
        return;
    }

    subscribe_verdict(op, client, rc, token);
}


static void
subscribe_verdict(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    const char                        *why;
    ngx_centrifugo_grant_t             grant;
    ngx_centrifugo_subscribing_t      *granted;
    const ngx_centrifugo_error_t      *err;
    ngx_centrifugo_channel_options_t  *options;

    why = token->reason;

    switch (rc) {

    case NGX_CENTRIFUGO_TOKEN_OK:
        err = NULL;
        break;

    case NGX_CENTRIFUGO_TOKEN_EXPIRED:
        err = &ngx_centrifugo_error_token_expired;
        break;

    case NGX_CENTRIFUGO_TOKEN_CHANNEL:
        err = &ngx_centrifugo_error_channel;
        break;

    case NGX_CENTRIFUGO_TOKEN_INVALID:
        err = &ngx_centrifugo_error_denied;
        break;

    default:
        err = &ngx_centrifugo_error_internal;
    }

    if (err == NULL) {
        why = subscribe_mismatch(client, &op->grant.channel, token);

        if (why) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_token, why);
            ngx_centrifugo_subscribing_free(op);
            return;
        }

        if (token->expire_at && token->expire_at <= ngx_time()) {
            err = &ngx_centrifugo_error_expired;
            why = "expire_at of its token is in the past";
        }
    }

    options = ngx_centrifugo_conf_channel(client->hcf, &op->grant.channel);

    if (err == NULL) {
        grant = op->grant;
        grant.info = token->info;
        grant.data = token->data;
        grant.expire_at = token->expire_at;

        granted = ngx_centrifugo_subscribing_create(client, &grant);

        if (granted) {
            granted->done = op->done;
            granted->refused = op->refused;
            granted->join_leave = op->join_leave;
            granted->positioned = op->positioned;
            granted->recoverable = op->recoverable;
            granted->delta = op->delta;

            /* its filter has gone over */

            op->grant.filter = NULL;
            ngx_centrifugo_subscribing_free(op);

            subscribe_allowed(granted, client, options, &token->override);
            return;
        }

        err = &ngx_centrifugo_error_internal;
        why = "no memory";
    }

    subscribe_done(op, client, NULL, err, why);
    ngx_centrifugo_subscribing_free(op);
}


/*
 * Why a token that is valid is not for this subscription, or NULL.
 */

static const char *
subscribe_mismatch(ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    const ngx_centrifugo_token_t *token)
{
    u_char  uuid[NGX_CENTRIFUGO_ID_LEN];

    if (token->channel.len != channel->len
        || ngx_memcmp(token->channel.data, channel->data, channel->len) != 0)
    {
        return "a subscription token of another channel";
    }

    if (token->user.len != client->user.len
        || (token->user.len
            && ngx_memcmp(token->user.data, client->user.data,
                          token->user.len)
               != 0))
    {
        return "a subscription token of another user";
    }

    if (token->client.len) {
        (void) ngx_centrifugo_client_id(client, uuid);

        if (token->client.len != NGX_CENTRIFUGO_ID_LEN
            || ngx_memcmp(token->client.data, uuid, NGX_CENTRIFUGO_ID_LEN)
               != 0)
        {
            return "a subscription token of another client";
        }
    }

    return NULL;
}


/*
 * Options and wishes become the grant; the engine is asked next.
 */

static void
subscribe_allowed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options,
    const ngx_centrifugo_override_t *override)
{
    if (op->refused) {
        subscribe_done(op, client, NULL, &ngx_centrifugo_error_request,
                       op->refused);
        ngx_centrifugo_subscribing_free(op);
        return;
    }

    ngx_centrifugo_grant_options(&op->grant, options, override);
    subscribe_wishes(op, client, options);

    ngx_centrifugo_subscribing_start(op);
}


/*
 * What the client asks for beyond that; it is not told what it does not get.
 */

static void
subscribe_wishes(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options)
{
    ngx_uint_t               history;
    const char              *why;
    ngx_centrifugo_grant_t  *grant;

    grant = &op->grant;

    if (op->join_leave && options->join_leave
        && ngx_centrifugo_permission_presence(client, options, 1, &why)
           == NULL)
    {
        grant->push = 1;
    }

    if (options->history_size) {
        history = ngx_centrifugo_permission_history(client, options, 1, &why)
                  == NULL;

        if (op->recoverable && (options->allow_recovery || history)) {
            grant->recoverable = 1;
            grant->positioned = 1;
        }

        if (op->positioned && (options->allow_positioning || history)) {
            grant->positioned = 1;
        }
    }

    grant->delta = op->delta && options->delta_fossil;
}


static void
subscribe_done(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why)
{
    ngx_centrifugo_buf_t  list;

    if (client == NULL) {
        return;
    }

    if (err) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_SUBSCRIBE, err,
                                    &op->grant.channel, why);
        ngx_centrifugo_client_answered(client);
        return;
    }

    ngx_memzero(&list, sizeof(ngx_centrifugo_buf_t));

    subscribe_reply(op, client, sub, &list);

    ngx_centrifugo_buf_free(&list);
}


static void
subscribe_reply(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_buf_t *list)
{
    size_t                             room, taken;
    ngx_centrifugo_subscribe_result_t  reply;

    room = ngx_centrifugo_client_room(client);
    taken = op->grant.data.len + SUBSCRIBE_REPLY;

    ngx_memzero(&reply, sizeof(ngx_centrifugo_subscribe_result_t));

    if (ngx_centrifugo_recovery_result(op, sub,
                                       (room > taken) ? room - taken : 0,
                                       list, &reply)
        != NGX_OK)
    {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_protocol,
                                    "a recovered publication that is not "
                                    "JSON");
        return;
    }

    if (op->grant.reject && op->grant.recover && reply.recoverable
        && !reply.recovered)
    {
        ngx_centrifugo_subscription_end(sub);
        subscribe_done(op, client, NULL, &ngx_centrifugo_error_position,
                       "what is recovered is larger than queue_max_size");
        return;
    }

    reply.data = op->grant.data;

    if (op->grant.expire_at) {
        reply.expires = 1;
        reply.ttl = ngx_centrifugo_ttl(op->grant.expire_at);
    }

    client->codec->subscribe(ngx_centrifugo_client_reply(client),
                             client->command_id, &reply);

    ngx_centrifugo_subscription_answered(sub);

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
        ngx_centrifugo_client_answered(client);
    }
}


void
ngx_centrifugo_client_unsubscribe(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_subscription_t  *sub;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "unsubscribe without a channel");
        return;
    }

    sub = ngx_centrifugo_client_subscription(client, &cmd->channel);

    if (sub) {
        ngx_centrifugo_subscription_end(sub);
    }

    /* one that the API has asked for may be on its way */

    ngx_centrifugo_subscribing_cancel(client, &cmd->channel);

    client->codec->done(ngx_centrifugo_client_reply(client), cmd->id,
                        cmd->method);
}


void
ngx_centrifugo_client_sub_refresh(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_verified_t       done;
    ngx_centrifugo_verifier_t      *verifier;
    ngx_centrifugo_subscription_t  *sub;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "sub_refresh without a channel");
        return;
    }

    sub = ngx_centrifugo_client_subscription(client, &cmd->channel);

    if (sub == NULL) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_denied,
                                    &cmd->channel, "it is not subscribed");
        return;
    }

    if (cmd->token.len == 0) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_request,
                                    &cmd->channel, "it has no token");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    done.handler = sub_refresh_verified;
    done.handle = client->handle;

    verifier = subscribe_verifier(client);
    verifier->check(verifier, NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION,
                    ngx_centrifugo_client_arena(), &cmd->token, &done);
}


static void
sub_refresh_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_pending(handle);

    if (client) {
        sub_refresh_verdict(client, rc, token);
        ngx_centrifugo_client_answered(client);
    }
}


static void
sub_refresh_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token)
{
    uint32_t                        ttl;
    const char                     *why;
    ngx_str_t                      *channel;
    const ngx_centrifugo_error_t   *err;
    ngx_centrifugo_subscription_t  *sub;

    channel = &client->command_channel;
    err = NULL;
    why = token->reason;

    switch (rc) {

    case NGX_CENTRIFUGO_TOKEN_OK:
        why = subscribe_mismatch(client, channel, token);
        break;

    case NGX_CENTRIFUGO_TOKEN_EXPIRED:
        err = &ngx_centrifugo_error_token_expired;
        break;

    case NGX_CENTRIFUGO_TOKEN_ERROR:
        err = &ngx_centrifugo_error_internal;
        break;

    default:
        break;
    }

    if (err == NULL && why) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    why);
        return;
    }

    sub = ngx_centrifugo_client_subscription(client, channel);

    if (err == NULL && sub == NULL) {
        err = &ngx_centrifugo_error_denied;
        why = "it was unsubscribed meanwhile";
    }

    if (err == NULL && token->expire_at && token->expire_at <= ngx_time()) {
        err = &ngx_centrifugo_error_expired;
        why = "expire_at of its token is in the past";
    }

    if (err == NULL && !ngx_centrifugo_subscription_fits(sub, &token->info)) {
        err = &ngx_centrifugo_error_request;
        why = "its user and info are larger than presence_info_max";
    }

    if (err == NULL
        && ngx_centrifugo_subscription_renew(sub, token->expire_at,
                                             &token->info)
           != NGX_OK)
    {
        err = &ngx_centrifugo_error_internal;
        why = "no memory";
    }

    if (err) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_SUB_REFRESH, err,
                                    channel, why);
        return;
    }

    ttl = token->expire_at ? ngx_centrifugo_ttl(token->expire_at) : 0;

    client->codec->refresh(ngx_centrifugo_client_reply(client),
                           client->command_id,
                           NGX_CENTRIFUGO_CMD_SUB_REFRESH, ttl != 0, ttl);
}
