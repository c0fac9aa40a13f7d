/*
 * The command refresh: a new token for a connection that goes on.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_worker.h"


static void refresh_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static void refresh_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static ngx_uint_t refresh_same_channels(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_token_t *token);


void
ngx_centrifugo_client_refresh(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_verified_t   done;
    ngx_centrifugo_verifier_t  *verifier;

    if (cmd->token.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "refresh without a token");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    done.handler = refresh_verified;
    done.handle = client->handle;

    verifier = &client->hcf->verifier;
    verifier->check(verifier, NGX_CENTRIFUGO_TOKEN_CONNECTION,
                    ngx_centrifugo_client_arena(), &cmd->token, &done);
}


static void
refresh_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_pending(handle);

    if (client) {
        refresh_verdict(client, rc, token);
        ngx_centrifugo_client_answered(client);
    }
}


static void
refresh_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token)
{
    uint32_t                       ttl;
    ngx_str_t                     *info, none = ngx_null_string;
    const ngx_centrifugo_error_t  *err;

    err = NULL;

    switch (rc) {

    case NGX_CENTRIFUGO_TOKEN_OK:
        break;

    case NGX_CENTRIFUGO_TOKEN_EXPIRED:
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_expired,
                                    "refresh with an expired token");
        return;

    case NGX_CENTRIFUGO_TOKEN_INVALID:
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    token->reason);
        return;

    case NGX_CENTRIFUGO_TOKEN_CHANNEL:
        err = &ngx_centrifugo_error_channel;
        break;

    default:
        err = &ngx_centrifugo_error_internal;
    }

    if (err) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_REFRESH, err, &none,
                                    token->reason);
        return;
    }

    if (token->user.len != client->user.len
        || (token->user.len
            && ngx_memcmp(token->user.data, client->user.data,
                          token->user.len)
               != 0))
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    "refresh with another user's token");
        return;
    }

    if (client->hcf->client_insecure) {
        token->expire_at = 0;
    }

    if (token->expire_at && token->expire_at <= ngx_time()) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_REFRESH,
                                    &ngx_centrifugo_error_expired, &none,
                                    "expire_at of its token is in the past");
        return;
    }

    if (!refresh_same_channels(client, token)) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_state,
                                    "refresh with other channels");
        return;
    }

    /* what NGINX said stays as long as no token says something else */

    info = (token->info.len == 0 && client->informed) ? &client->info
                                                      : &token->info;

    if (!ngx_centrifugo_presence_fits(client, info)) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_REFRESH,
                                    &ngx_centrifugo_error_request, &none,
                                    "its user and info are larger than "
                                    "presence_info_max");
        return;
    }

    if (ngx_centrifugo_client_identity(client, &token->user, info) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for its user");
        return;
    }

    if (token->info.len) {
        client->informed = 0;
    }

    ngx_centrifugo_presence_renew(client);

    /* a token that does not expire leaves the expiry as it is */

    ttl = token->expire_at
          ? ngx_centrifugo_client_expire(client, token->expire_at) : 0;

    client->codec->refresh(ngx_centrifugo_client_reply(client),
                           client->command_id, NGX_CENTRIFUGO_CMD_REFRESH,
                           ttl != 0, ttl);
}


/*
 * Whether the token names the channels of the one before, no more and no less;
 * it names each once.
 */

static ngx_uint_t
refresh_same_channels(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_token_t *token)
{
    ngx_uint_t                         n;
    ngx_queue_t                       *q;
    ngx_centrifugo_subscription_t     *sub;
    const ngx_centrifugo_token_sub_t  *ts;

    n = 0;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);
        n += sub->token;
    }

    for (ts = token->subs; ts; ts = ts->next) {

        sub = ngx_centrifugo_client_subscription(client, &ts->channel);

        if (sub == NULL || !sub->token || n-- == 0) {
            return 0;
        }
    }

    return n == 0;
}
