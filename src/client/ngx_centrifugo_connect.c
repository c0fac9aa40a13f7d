/*
 * Commands connect and refresh: who the client is, and for how long.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"


#define CONNECT_TTL_MAX  31536000       /* a year, seconds */


typedef void (*connect_verified_pt)(uint64_t handle,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);


static void connect_check(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd, connect_verified_pt handler);
static void connect_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static void connect_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static void refresh_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static void refresh_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static ngx_int_t connect_identity(ngx_centrifugo_client_t *client,
    const ngx_str_t *user, const ngx_str_t *info);
static uint32_t connect_expire(ngx_centrifugo_client_t *client,
    int64_t expire_at);
static void connect_accepted(ngx_centrifugo_client_t *client, uint32_t id,
    uint32_t ttl);


void
ngx_centrifugo_client_connect(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    if (client->state != NGX_CENTRIFUGO_CLIENT_NEW) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a second connect");
        return;
    }

    if (cmd->token.len == 0) {

        if (!client->hcf->anonymous && !client->hcf->client_insecure) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_request,
                                        "no token");
            return;
        }

        connect_accepted(client, cmd->id, 0);
        return;
    }

    connect_check(client, cmd, connect_verified);
}


/*
 * Has the token of a command verified; whoever is asked may answer later.
 */

static void
connect_check(ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    connect_verified_pt handler)
{
    ngx_centrifugo_verified_t   done;
    ngx_centrifugo_verifier_t  *verifier;

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    done.handler = handler;
    done.handle = client->handle;

    verifier = &client->hcf->verifier;
    verifier->check(verifier, NGX_CENTRIFUGO_TOKEN_CONNECTION,
                    ngx_centrifugo_client_arena(), &cmd->token,
                    &done);
}


static void
connect_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_pending(handle);

    if (client) {
        connect_verdict(client, rc, token);
        ngx_centrifugo_client_answered(client);
    }
}


static void
connect_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token)
{
    uint32_t   ttl;
    ngx_str_t  none = ngx_null_string;

    switch (rc) {

    case NGX_CENTRIFUGO_TOKEN_OK:
        break;

    case NGX_CENTRIFUGO_TOKEN_EXPIRED:
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_CONNECT,
                                    &ngx_centrifugo_error_token_expired,
                                    &none, token->reason);
        return;

    case NGX_CENTRIFUGO_TOKEN_INVALID:
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    token->reason);
        return;

    default:
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_CONNECT,
                                    &ngx_centrifugo_error_internal, &none,
                                    token->reason);
        return;
    }

    if (client->hcf->client_insecure) {
        token->expire_at = 0;
    }

    if (token->expire_at && token->expire_at <= ngx_time()) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_CONNECT,
                                    &ngx_centrifugo_error_expired, &none,
                                    "expire_at of its token is in the past");
        return;
    }

    if (connect_identity(client, &token->user, &token->info) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for its user");
        return;
    }

    ttl = connect_expire(client, token->expire_at);

    connect_accepted(client, client->command_id, ttl);
}


static void
connect_accepted(ngx_centrifugo_client_t *client, uint32_t id, uint32_t ttl)
{
    u_char                           uuid[NGX_CENTRIFUGO_ID_LEN];
    ngx_msec_t                       interval;
    ngx_centrifugo_hub_conf_t       *hcf;
    ngx_centrifugo_connect_result_t  result;

    hcf = client->hcf;

    client->state = NGX_CENTRIFUGO_CLIENT_CONNECTED;
    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_STALE, 0);

    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_GAUGE_CLIENTS, 1);
    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_CONNECTIONS, 1);

    ngx_memzero(&result, sizeof(ngx_centrifugo_connect_result_t));

    result.client.data = uuid;
    result.client.len = ngx_centrifugo_client_id(client, uuid) - uuid;
    ngx_str_set(&result.version, NGX_CENTRIFUGO_VERSION " OSS");
    result.expires = (ttl != 0);
    result.ttl = ttl;
    result.ping = (uint32_t) (hcf->ping_interval / 1000);
    result.pong = 1;

    client->codec->connect(ngx_centrifugo_client_reply(client), id, &result);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %V of user \"%V\" connected to hub "
                  "\"%V\"", &result.client, &client->user, &hcf->name);

    interval = hcf->ping_interval;

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_PING,
                interval / 2 + ngx_centrifugo_timer_jitter(interval / 2) + 1);
}


void
ngx_centrifugo_client_refresh(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    if (cmd->token.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "refresh without a token");
        return;
    }

    connect_check(client, cmd, refresh_verified);
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
    uint32_t   ttl;
    ngx_str_t  none = ngx_null_string;

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

    default:
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_REFRESH,
                                    &ngx_centrifugo_error_internal, &none,
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

    if (token->expire_at && token->expire_at <= ngx_time()) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_REFRESH,
                                    &ngx_centrifugo_error_expired, &none,
                                    "expire_at of its token is in the past");
        return;
    }

    if (connect_identity(client, &token->user, &token->info) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for its user");
        return;
    }

    /* a token that does not expire leaves the expiry as it is */

    ttl = token->expire_at ? connect_expire(client, token->expire_at) : 0;

    client->codec->refresh(ngx_centrifugo_client_reply(client),
                           client->command_id, ttl != 0, ttl);
}


/*
 * Replaces user and info: one block, owned by client->user.data.
 */

static ngx_int_t
connect_identity(ngx_centrifugo_client_t *client, const ngx_str_t *user,
    const ngx_str_t *info)
{
    u_char  *p;

    p = NULL;

    if (user->len + info->len) {
        p = malloc(user->len + info->len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (user->len) {
            ngx_memcpy(p, user->data, user->len);
        }

        if (info->len) {
            ngx_memcpy(p + user->len, info->data, info->len);
        }
    }

    free(client->user.data);

    client->user.data = p;
    client->user.len = user->len;
    client->info.data = p + user->len;
    client->info.len = info->len;

    return NGX_OK;
}


static uint32_t
connect_expire(ngx_centrifugo_client_t *client, int64_t expire_at)
{
    int64_t  ttl;

    if (expire_at == 0) {
        ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_EXPIRE, 0);
        return 0;
    }

    ttl = ngx_min(expire_at - ngx_time(), CONNECT_TTL_MAX);

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_EXPIRE,
                       (ngx_msec_t) ttl * 1000
                       + client->hcf->expired_close_delay);

    return (uint32_t) ttl;
}
