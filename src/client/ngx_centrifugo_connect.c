/*
 * The command connect: who the client is, and what it is subscribed to from
 * the start.
 */

#include "ngx_centrifugo_connect.h"
#include "ngx_centrifugo_order.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"
#include "../core/ngx_centrifugo_text.h"


#define CONNECT_TTL_MAX  31536000       /* a year, seconds */
#define CONNECT_ARENA    1024


static ngx_centrifugo_connecting_t *connect_create(
    ngx_centrifugo_client_t *client,
    const ngx_centrifugo_command_sub_t *wishes);
static void connect_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token);
static ngx_int_t connect_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token);
static void connect_begin(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_client_t *client, const ngx_centrifugo_token_t *token);
static ngx_int_t connect_enter(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_token_t *token, uint32_t *ttl);
static void connect_alone(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_client_t *client);
static void connect_single(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void connect_single_told(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);
static void connect_next(ngx_centrifugo_connecting_t *cn);
static void connect_subscribed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why);
static void connect_accepted(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn);
static void connect_free(ngx_centrifugo_connecting_t *cn);


void
ngx_centrifugo_client_connect(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_connecting_t  *cn;
    ngx_centrifugo_verified_t     done;
    ngx_centrifugo_verifier_t    *verifier;

    if (client->state != NGX_CENTRIFUGO_CLIENT_NEW) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a second connect");
        return;
    }

    if (cmd->token.len == 0 && !client->identified && !client->hcf->anonymous
        && !client->hcf->client_insecure)
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "no token");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    cn = connect_create(client, cmd->subs);
    if (cn == NULL) {
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_internal,
                                      NULL, "no memory");
        return;
    }

    if (cmd->token.len == 0) {
        connect_begin(cn, client, NULL);
        return;
    }

    done.handler = connect_verified;
    done.handle = (uint64_t) (uintptr_t) cn;

    verifier = &client->hcf->verifier;
    verifier->check(verifier, NGX_CENTRIFUGO_TOKEN_CONNECTION,
                    ngx_centrifugo_client_arena(), &cmd->token, &done);
}


static ngx_centrifugo_connecting_t *
connect_create(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_command_sub_t *wishes)
{
    ngx_centrifugo_connecting_t  *cn;

    cn = malloc(sizeof(ngx_centrifugo_connecting_t));
    if (cn == NULL) {
        return NULL;
    }

    ngx_memzero(cn, sizeof(ngx_centrifugo_connecting_t));
    ngx_centrifugo_arena_init(&cn->arena, CONNECT_ARENA);
    ngx_rbtree_init(&cn->tree, &cn->sentinel, ngx_str_rbtree_insert_value);

    cn->client = client->handle;
    cn->hcf = client->hcf;

    if (ngx_centrifugo_connect_wishes(cn, wishes) != NGX_OK) {
        connect_free(cn);
        return NULL;
    }

    return cn;
}


static void
connect_verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    ngx_centrifugo_connecting_t  *cn;
    ngx_centrifugo_client_t      *client;

    cn = (ngx_centrifugo_connecting_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(cn->client);

    if (client == NULL || connect_verdict(client, rc, token) != NGX_OK) {
        connect_free(cn);
        return;
    }

    connect_begin(cn, client, token);
}


/*
 * Whether the token lets the client in, and who it is then.  NGX_ERROR: it
 * was told why not.
 */

static ngx_int_t
connect_verdict(ngx_centrifugo_client_t *client,
    ngx_centrifugo_token_rc_e rc, ngx_centrifugo_token_t *token)
{
    ngx_str_t  *info;

    switch (rc) {

    case NGX_CENTRIFUGO_TOKEN_OK:
        break;

    case NGX_CENTRIFUGO_TOKEN_EXPIRED:
        ngx_centrifugo_connect_failed(client,
                                      &ngx_centrifugo_error_token_expired,
                                      NULL, token->reason);
        return NGX_ERROR;

    case NGX_CENTRIFUGO_TOKEN_CHANNEL:
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_channel,
                                      NULL, token->reason);
        return NGX_ERROR;

    case NGX_CENTRIFUGO_TOKEN_INVALID:
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    token->reason);
        return NGX_ERROR;

    default:
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_internal,
                                      NULL, token->reason);
        return NGX_ERROR;
    }

    if (token->user.len == 0 && client->hcf->no_anonymous_tokens) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_denied,
                                    "a token without a user");
        return NGX_ERROR;
    }

    /* a token does not change who NGINX says it is */

    if (client->identified
        && (token->user.len != client->user.len
            || ngx_memcmp(token->user.data, client->user.data,
                          client->user.len)
               != 0))
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    "a token of another user than NGINX "
                                    "found");
        return NGX_ERROR;
    }

    if (token->user.len > NGX_CENTRIFUGO_NAME_MAX) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_token,
                                    "its user id is longer than 1024 bytes");
        return NGX_ERROR;
    }

    info = &client->info;

    if (token->info.len) {
        info = &token->info;
        client->informed = 0;
    }

    if (ngx_centrifugo_client_identity(client, &token->user, info) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for its user");
        return NGX_ERROR;
    }

    if (client->hcf->client_insecure) {
        token->expire_at = 0;
    }

    return NGX_OK;
}


/*
 * Who it is, is known.  `token` is NULL when none was given.
 */

static void
connect_begin(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_client_t *client, const ngx_centrifugo_token_t *token)
{
    if (ngx_centrifugo_connect_grants(client, cn, token) != NGX_OK
        || connect_enter(client, token, &cn->ttl) != NGX_OK
        || ngx_centrifugo_connect_results(client, cn) != NGX_OK)
    {
        connect_free(cn);
        return;
    }

    connect_next(cn);
}


/*
 * The limit of the user's connections, and the expiry.  NGX_ERROR: the client
 * was told.
 */

static ngx_int_t
connect_enter(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_token_t *token, uint32_t *ttl)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_user_enter(client,
                                   client->user.len
                                   ? client->hcf->user_connection_limit : 0);
    if (rc == NGX_DECLINED) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_connections,
                                    "user_connection_limit is reached");
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_internal,
                                      NULL,
                                      "the zone is full or no memory is left");
        return NGX_ERROR;
    }

    if (token == NULL || token->expire_at == 0) {
        return NGX_OK;
    }

    if (token->expire_at <= ngx_time()) {
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_expired,
                                      NULL,
                                      "expire_at of its token is in the past");
        return NGX_ERROR;
    }

    *ttl = ngx_centrifugo_client_expire(client, token->expire_at);

    return NGX_OK;
}


/*
 * Only one connection of a user may be: the newest stays.  Each takes its
 * ticket when it is present already, so the one with the highest finds all
 * others there; who has none yet will find this one.
 */

static void
connect_alone(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_completion_t  done;

    client->ticket = ngx_centrifugo_hub_ticket(&cn->hcf->hub);

    /* the personal channel is the first */

    done.handler = connect_single;
    done.handle = (uint64_t) (uintptr_t) cn;

    ngx_centrifugo_engine(cn->hcf)->presence_stats(cn->hcf,
                                                   &cn->subs[0].grant.channel,
                                                   &done);
}


static void
connect_single(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_connecting_t  *cn;
    ngx_centrifugo_order_t        order;
    ngx_centrifugo_client_t      *client;
    ngx_centrifugo_completion_t   done;

    cn = (ngx_centrifugo_connecting_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(cn->client);

    if (client == NULL) {
        connect_free(cn);
        return;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "presence of its personal channel is not "
                                    "available");
        connect_free(cn);
        return;
    }

    if (result->num_clients < 2) {
        connect_next(cn);
        return;
    }

    ngx_memzero(&order, sizeof(ngx_centrifugo_order_t));

    order.kind = NGX_CENTRIFUGO_ORDER_DISCONNECT;
    order.user = client->user;
    order.code = ngx_centrifugo_disconnect_connections.code;
    order.reason = ngx_centrifugo_disconnect_connections.reason;
    order.ticket = client->ticket;

    done.handler = connect_single_told;
    done.handle = handle;

    ngx_centrifugo_order_send(cn->hcf, &order, &done);
}


static void
connect_single_told(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_connecting_t  *cn;
    ngx_centrifugo_client_t      *client;

    cn = (ngx_centrifugo_connecting_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(cn->client);

    if (client == NULL) {
        connect_free(cn);
        return;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "other connections of the user can't be "
                                    "told to end");
        connect_free(cn);
        return;
    }

    connect_next(cn);
}


/*
 * Subscribes to one after the other, and goes on when a late one is there.
 */

static void
connect_next(ngx_centrifugo_connecting_t *cn)
{
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_subscribing_t  *op;

    cn->running = 1;

    for ( ;; ) {
        client = ngx_centrifugo_client_pending(cn->client);

        if (client == NULL || cn->failed) {
            break;
        }

        if (cn->done == cn->n && cn->hcf->single_connection
            && client->user.len && !cn->single)
        {
            cn->single = 1;
            connect_alone(cn, client);
            return;
        }

        if (cn->done == cn->n) {
            connect_accepted(client, cn);
            break;
        }

        op = ngx_centrifugo_subscribing_create(client,
                                               &cn->subs[cn->done].grant);
        if (op == NULL) {
            ngx_centrifugo_connect_failed(client,
                                          &ngx_centrifugo_error_internal, NULL,
                                          "no memory");
            break;
        }

        op->done = connect_subscribed;
        op->data = cn;
        cn->answered = 0;

        ngx_centrifugo_subscribing_start(op);

        if (!cn->answered) {
            cn->running = 0;
            return;
        }
    }

    connect_free(cn);
}


static void
connect_subscribed(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_client_t *client, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_error_t *err, const char *why)
{
    ngx_centrifugo_connecting_t  *cn;

    cn = op->data;
    cn->answered = 1;

    if (client && err) {
        cn->failed = 1;
        ngx_centrifugo_connect_failed(client, err, &op->grant.channel, why);

    } else if (client && ngx_centrifugo_connect_add(cn, op, sub) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_protocol,
                                    "a recovered publication that is not "
                                    "JSON");
    }

    cn->done++;

    if (!cn->running) {
        connect_next(cn);
    }
}


static void
connect_accepted(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn)
{
    u_char                           uuid[NGX_CENTRIFUGO_ID_LEN];
    ngx_msec_t                       interval;
    ngx_queue_t                     *q, *next;
    ngx_centrifugo_hub_conf_t       *hcf;
    ngx_centrifugo_subscription_t   *sub;
    ngx_centrifugo_connect_result_t  result;

    hcf = client->hcf;

    ngx_memzero(&result, sizeof(ngx_centrifugo_connect_result_t));

    result.subs = cn->results;
    result.nsubs = cn->n;

    client->state = NGX_CENTRIFUGO_CLIENT_CONNECTED;
    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_STALE, 0);

    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_GAUGE_CLIENTS, 1);
    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_CONNECTIONS, 1);

    result.client.data = uuid;
    result.client.len = ngx_centrifugo_client_id(client, uuid) - uuid;
    ngx_str_set(&result.version, NGX_CENTRIFUGO_VERSION " OSS");
    result.expires = (cn->ttl != 0);
    result.ttl = cn->ttl;

    if (!client->own_pings) {
        result.ping = (uint32_t) (hcf->ping_interval / 1000);
        result.pong = 1;
    }

    client->codec->connect(ngx_centrifugo_client_reply(client),
                           client->command_id, &result);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %V of user \"%V\" connected to hub "
                  "\"%V\"", &result.client,
                  ngx_centrifugo_log_str(&client->user), &hcf->name);

    interval = hcf->ping_interval;

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_PING,
                interval / 2 + ngx_centrifugo_timer_jitter(interval / 2) + 1);

    for (q = ngx_queue_head(&client->subscriptions);
         client->state != NGX_CENTRIFUGO_CLIENT_CLOSED
         && q != ngx_queue_sentinel(&client->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);

        ngx_centrifugo_subscription_answered(sub);
    }

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
        ngx_centrifugo_client_answered(client);
    }
}


void
ngx_centrifugo_connect_failed(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_error_t *err, const ngx_str_t *channel,
    const char *why)
{
    ngx_str_t  none = ngx_null_string;

    ngx_centrifugo_client_error(client, client->command_id,
                                NGX_CENTRIFUGO_CMD_CONNECT, err,
                                channel ? channel : &none, why);
    ngx_centrifugo_client_answered(client);
}


static void
connect_free(ngx_centrifugo_connecting_t *cn)
{
    ngx_uint_t  i;

    for (i = 0; i < cn->n; i++) {
        ngx_centrifugo_buf_free(&cn->subs[i].list);
    }

    ngx_centrifugo_arena_free(&cn->arena);
    free(cn);
}


ngx_int_t
ngx_centrifugo_client_identity(ngx_centrifugo_client_t *client,
    const ngx_str_t *user, const ngx_str_t *info)
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

    client->user.len = user->len;
    client->info.len = info->len;

    /* what is replaced may be what it was copied from */

    free(client->user.data);

    client->user.data = p;
    client->info.data = p ? p + client->user.len : NULL;

    return NGX_OK;
}


uint32_t
ngx_centrifugo_client_expire(ngx_centrifugo_client_t *client,
    int64_t expire_at)
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
