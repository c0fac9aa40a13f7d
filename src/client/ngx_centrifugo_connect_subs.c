/*
 * The server-side subscriptions of a connect: which they are, and what the
 * reply says of them.
 */

#include "ngx_centrifugo_connect.h"


#define CONNECT_REPLY  512    /* bytes of the reply, and of each subscription
                                   in it beside its name, data and publications,
                                   at most */


static ngx_int_t connecting_personal(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn);
static ngx_int_t connecting_wish(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn, const ngx_centrifugo_command_sub_t *wish);
static ngx_uint_t connecting_nobody(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel, ngx_centrifugo_channel_options_t *options);
static ngx_centrifugo_grant_t *connecting_find(
    ngx_centrifugo_connecting_t *cn, const ngx_str_t *channel);
static ngx_centrifugo_grant_t *connecting_grant(
    ngx_centrifugo_connecting_t *cn, const ngx_str_t *channel);
static ngx_int_t connecting_copy(ngx_centrifugo_connecting_t *cn,
    ngx_str_t *dst, const ngx_str_t *src);


ngx_int_t
ngx_centrifugo_connect_wishes(ngx_centrifugo_connecting_t *cn,
    const ngx_centrifugo_command_sub_t *wishes)
{
    ngx_uint_t                           n;
    ngx_centrifugo_command_sub_t        *copy;
    const ngx_centrifugo_command_sub_t  *wish;

    n = 0;

    for (wish = wishes; wish; wish = wish->next) {
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    cn->wishes = ngx_centrifugo_arena_alloc(&cn->arena,
                                 n * sizeof(ngx_centrifugo_command_sub_t));
    if (cn->wishes == NULL) {
        return NGX_ERROR;
    }

    for (wish = wishes; wish; wish = wish->next) {
        copy = &cn->wishes[cn->nwishes++];
        *copy = *wish;

        if (connecting_copy(cn, &copy->channel, &wish->channel) != NGX_OK
            || connecting_copy(cn, &copy->epoch, &wish->epoch) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_connect_grants(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn, const ngx_centrifugo_token_t *token)
{
    ngx_int_t                          rc;
    ngx_uint_t                         i, n;
    ngx_centrifugo_grant_t            *grant;
    const ngx_centrifugo_token_sub_t  *sub;

    n = cn->nwishes + (token ? token->nsubs : 0)
        + (client->hcf->personal && client->user.len);

    if (n == 0) {
        return NGX_OK;
    }

    /* one more than may be is found out, beside the personal channel */

    n = ngx_min(n, client->hcf->channel_limit + 2);

    cn->subs = ngx_centrifugo_arena_alloc(&cn->arena,
                                   n * sizeof(ngx_centrifugo_connect_item_t));
    if (cn->subs == NULL) {
        goto failed;
    }

    if (client->hcf->personal && client->user.len) {

        rc = connecting_personal(client, cn);

        if (rc == NGX_ABORT) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            goto failed;
        }
    }

    for (sub = token ? token->subs : NULL; sub; sub = sub->next) {

        grant = connecting_grant(cn, &sub->channel);
        if (grant == NULL) {
            goto failed;
        }

        grant->token = 1;

        ngx_centrifugo_grant_options(grant,
                      ngx_centrifugo_conf_channel(cn->hcf, &grant->channel),
                      &sub->override);

        if (connecting_copy(cn, &grant->info, &sub->info) != NGX_OK
            || connecting_copy(cn, &grant->data, &sub->data) != NGX_OK)
        {
            goto failed;
        }

        if (cn->n > cn->hcf->channel_limit) {
            goto limited;
        }
    }

    for (i = 0; i < cn->nwishes; i++) {

        rc = connecting_wish(client, cn, &cn->wishes[i]);

        if (rc == NGX_ABORT) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            goto failed;
        }

        if (cn->n > cn->hcf->channel_limit) {
            goto limited;
        }
    }

    return NGX_OK;

limited:

    ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_channels,
                                "more server-side subscriptions than "
                                "channel_limit");
    return NGX_ERROR;

failed:

    ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_internal, NULL,
                                  "no memory");

    return NGX_ERROR;
}


/*
 * NGX_ABORT: the client was told.
 */

static ngx_int_t
connecting_personal(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn)
{
    u_char                            *p;
    ngx_str_t                          channel;
    ngx_centrifugo_grant_t            *grant;
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_channel_options_t  *options;

    hcf = cn->hcf;

    p = ngx_centrifugo_arena_alloc(&cn->arena, hcf->personal_namespace.len + 2
                                               + client->user.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    channel.data = p;

    if (hcf->personal_namespace.len) {
        p = ngx_cpymem(p, hcf->personal_namespace.data,
                       hcf->personal_namespace.len);
        *p++ = (u_char) hcf->syntax.namespace_boundary;
    }

    *p++ = (u_char) hcf->syntax.user_boundary;
    p = ngx_cpymem(p, client->user.data, client->user.len);
    channel.len = p - channel.data;

    options = ngx_centrifugo_conf_channel(hcf, &channel);

    if (options == NULL) {

        /* without a namespace of its own: `#a:b` is in a namespace `#a` */

        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_channel,
                                      &channel,
                                      "the user's id makes it a channel of "
                                      "an unknown namespace: "
                                      "personal_channel_namespace is needed");
        return NGX_ABORT;
    }

    grant = connecting_grant(cn, &channel);
    if (grant == NULL) {
        return NGX_ERROR;
    }

    ngx_centrifugo_grant_options(grant, options, NULL);

    return NGX_OK;
}


/*
 * A channel that the client wishes for: taken when it may subscribe to it
 * anyway, else passed over.  Where it was in it counts for all, whoever granted
 * them.  NGX_ABORT: the client was closed.
 */

static ngx_int_t
connecting_wish(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn, const ngx_centrifugo_command_sub_t *wish)
{
    const char                        *why;
    const ngx_str_t                   *channel;
    ngx_centrifugo_grant_t            *grant;
    const ngx_centrifugo_error_t      *err;
    ngx_centrifugo_channel_options_t  *options;

    channel = &wish->channel;

    err = ngx_centrifugo_permission_name(cn->hcf, channel, &options, &why);

    if (options == NULL) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "connect asks for a channel of an "
                                    "unknown namespace");
        return NGX_ABORT;
    }

    grant = connecting_find(cn, channel);

    if (grant == NULL) {

        if (channel->len == 0 || channel->len > cn->hcf->channel_max_length
            || err || connecting_nobody(client, channel, options)
            || ngx_centrifugo_permission_subscribe(client, channel, options,
                                                   &why))
        {
            return NGX_OK;
        }

        grant = connecting_grant(cn, channel);
        if (grant == NULL) {
            return NGX_ERROR;
        }

        ngx_centrifugo_grant_options(grant, options, NULL);
    }

    grant->recover = wish->recover;
    grant->since.offset = wish->offset;
    grant->since.epoch = ngx_centrifugo_epoch(&wish->epoch);

    return NGX_OK;
}


/*
 * An empty list of users lets an anonymous client in when it subscribes, not
 * here.
 */

static ngx_uint_t
connecting_nobody(ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    ngx_centrifugo_channel_options_t *options)
{
    return client->user.len == 0 && !client->hcf->client_insecure
           && options->allow_user_limited_channels
           && ngx_centrifugo_channel_limited(&client->hcf->syntax, channel);
}


static ngx_centrifugo_grant_t *
connecting_find(ngx_centrifugo_connecting_t *cn, const ngx_str_t *channel)
{
    ngx_str_t                       key;
    ngx_str_node_t                 *node;
    ngx_centrifugo_connect_item_t  *item;

    key = *channel;

    node = ngx_str_rbtree_lookup(&cn->tree, &key,
                                 ngx_crc32_long(key.data, key.len));

    if (node == NULL) {
        return NULL;
    }

    item = ngx_rbtree_data(&node->node, ngx_centrifugo_connect_item_t,
                           node.node);

    return &item->grant;
}


/*
 * The place of a channel in the list, found or made.
 */

static ngx_centrifugo_grant_t *
connecting_grant(ngx_centrifugo_connecting_t *cn, const ngx_str_t *channel)
{
    ngx_centrifugo_grant_t         *grant;
    ngx_centrifugo_connect_item_t  *item;

    grant = connecting_find(cn, channel);

    if (grant) {
        return grant;
    }

    item = &cn->subs[cn->n];
    ngx_memzero(item, sizeof(ngx_centrifugo_connect_item_t));

    grant = &item->grant;
    grant->server_side = 1;

    if (connecting_copy(cn, &grant->channel, channel) != NGX_OK) {
        return NULL;
    }

    item->node.str = grant->channel;
    item->node.node.key = ngx_crc32_long(channel->data, channel->len);
    ngx_rbtree_insert(&cn->tree, &item->node.node);

    cn->n++;

    return grant;
}


static ngx_int_t
connecting_copy(ngx_centrifugo_connecting_t *cn, ngx_str_t *dst,
    const ngx_str_t *src)
{
    dst->len = src->len;

    if (src->len) {
        dst->data = ngx_centrifugo_arena_alloc(&cn->arena, src->len);
        if (dst->data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(dst->data, src->data, src->len);
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_connect_results(ngx_centrifugo_client_t *client,
    ngx_centrifugo_connecting_t *cn)
{
    size_t                   taken;
    ngx_uint_t               i;
    ngx_centrifugo_grant_t  *grant;

    if (cn->n == 0) {
        return NGX_OK;
    }

    cn->results = ngx_centrifugo_arena_alloc(&cn->arena,
                              cn->n * sizeof(ngx_centrifugo_connect_sub_t));
    if (cn->results == NULL) {
        ngx_centrifugo_connect_failed(client, &ngx_centrifugo_error_internal,
                                      NULL, "no memory");
        return NGX_ERROR;
    }

    ngx_memzero(cn->results, cn->n * sizeof(ngx_centrifugo_connect_sub_t));

    taken = CONNECT_REPLY;

    for (i = 0; i < cn->n; i++) {
        grant = &cn->subs[i].grant;

        cn->results[i].channel = grant->channel;

        /* a byte of a name is at most an escape of six */

        taken += CONNECT_REPLY + 6 * grant->channel.len + grant->data.len;
    }

    cn->room = ngx_centrifugo_client_room(client);
    cn->room = (cn->room > taken) ? cn->room - taken : 0;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_connect_add(ngx_centrifugo_connecting_t *cn,
    ngx_centrifugo_subscribing_t *op, ngx_centrifugo_subscription_t *sub)
{
    ngx_centrifugo_connect_item_t      *item;
    ngx_centrifugo_subscribe_result_t  *result;

    item = &cn->subs[cn->done];
    result = &cn->results[cn->done].result;

    if (ngx_centrifugo_recovery_result(op, sub, cn->room, &item->list, result)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (result->publications) {
        cn->room -= ngx_centrifugo_buf_len(&item->list);

    } else {
        ngx_centrifugo_buf_free(&item->list);
    }

    /* what the result points to goes with the operation */

    result->data = item->grant.data;

    if (result->positioned) {
        item->position = op->position;
        ngx_centrifugo_position_epoch(&item->position, &result->epoch);
    }

    return NGX_OK;
}
