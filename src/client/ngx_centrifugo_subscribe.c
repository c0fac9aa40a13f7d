/*
 * Commands subscribe, unsubscribe and publish.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_worker.h"


static const ngx_centrifugo_error_t *subscribe_check(
    ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    const char **why);
static void subscribe_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void subscribe_end(ngx_centrifugo_subscription_t *sub);
static const ngx_centrifugo_error_t *publish_check(
    ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    const char **why);
static void publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);


void
ngx_centrifugo_client_subscribe(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    const char                    *why;
    ngx_centrifugo_completion_t    done;
    const ngx_centrifugo_error_t  *err;

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

    err = subscribe_check(client, cmd, &why);

    if (err) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method, err,
                                    &cmd->channel, why);
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    client->was_recovering = cmd->recover;

    done.handler = subscribe_done;
    done.handle = client->handle;

    ngx_centrifugo_engine(client->hcf)->subscribe(client->hcf,
                                                  &client->command_channel,
                                                  &done);
}


/*
 * The checks in the order that clients can see.  NULL: allowed.
 */

static const ngx_centrifugo_error_t *
subscribe_check(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd, const char **why)
{
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_channel_options_t  *options;

    hcf = client->hcf;

    if (cmd->type == 4) {
        *why = "shared poll subscriptions are not offered";
        return &ngx_centrifugo_error_unavailable;
    }

    if (cmd->channel.len > hcf->channel_max_length) {
        *why = "its name is longer than channel_max_length";
        return &ngx_centrifugo_error_request;
    }

    if (ngx_centrifugo_client_subscription(client, &cmd->channel)) {
        *why = "it is subscribed already";
        return &ngx_centrifugo_error_subscribed;
    }

    if (client->nsubscriptions >= hcf->channel_limit) {
        *why = "channel_limit is reached";
        return &ngx_centrifugo_error_limit;
    }

    options = ngx_centrifugo_conf_channel(hcf, &cmd->channel);

    if (options == NULL) {
        *why = "its namespace is not configured";
        return &ngx_centrifugo_error_channel;
    }

    if (ngx_centrifugo_channel_ascii(&cmd->channel) != NGX_OK) {
        *why = "its name is not ASCII";
        return &ngx_centrifugo_error_request;
    }

    if (cmd->type) {
        *why = "the namespace has stream subscriptions only";
        return &ngx_centrifugo_error_denied;
    }

    if (cmd->token.len) {
        *why = "no key for subscription tokens is configured";
        return &ngx_centrifugo_error_denied;
    }

    if (cmd->channel.data[0] == '$') {
        *why = "a private channel needs a subscription token";
        return &ngx_centrifugo_error_denied;
    }

    if (!hcf->client_insecure
        && !(options->allow_subscribe_for_client
             && (client->user.len || options->allow_subscribe_for_anonymous)))
    {
        *why = "no option allows it";
        return &ngx_centrifugo_error_denied;
    }

    if (cmd->filter) {
        *why = "tags filters are not allowed";
        return &ngx_centrifugo_error_request;
    }

    return NULL;
}


static void
subscribe_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_str_t                           channel;
    ngx_centrifugo_client_t            *client;
    ngx_centrifugo_subscription_t      *sub;
    ngx_centrifugo_subscribe_result_t   reply;

    client = ngx_centrifugo_client_pending(handle);

    if (client == NULL) {
        return;
    }

    channel = client->command_channel;
    sub = NULL;

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        sub = malloc(sizeof(ngx_centrifugo_subscription_t));
    }

    if (sub == NULL) {
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_SUBSCRIBE,
                                    &ngx_centrifugo_error_internal, &channel,
                                    rc == NGX_CENTRIFUGO_ENGINE_RETRY
                                    ? "the zone is full or no memory is left"
                                    : "the hub is not available");
        ngx_centrifugo_client_answered(client);
        return;
    }

    sub->client = client;
    sub->channel = result->channel;
    sub->pos = result->pos;

    ngx_queue_insert_tail(&result->channel->subscriptions, &sub->in_channel);
    ngx_queue_insert_tail(&client->subscriptions, &sub->in_client);
    result->channel->count++;
    client->nsubscriptions++;

    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS, 1);
    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_COUNT_SUBSCRIBES, 1);

    ngx_memzero(&reply, sizeof(ngx_centrifugo_subscribe_result_t));
    reply.was_recovering = client->was_recovering;

    client->codec->subscribe(ngx_centrifugo_client_reply(client),
                             client->command_id, &reply);

    ngx_centrifugo_client_answered(client);
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
        subscribe_end(sub);
    }

    client->codec->done(ngx_centrifugo_client_reply(client), cmd->id,
                        cmd->method);
}


void
ngx_centrifugo_client_unsubscribe_all(ngx_centrifugo_client_t *client)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&client->subscriptions)) {
        q = ngx_queue_head(&client->subscriptions);
        subscribe_end(ngx_queue_data(q, ngx_centrifugo_subscription_t,
                                     in_client));
    }
}


static void
subscribe_end(ngx_centrifugo_subscription_t *sub)
{
    ngx_centrifugo_client_t   *client;
    ngx_centrifugo_channel_t  *channel;

    client = sub->client;
    channel = sub->channel;

    ngx_queue_remove(&sub->in_channel);
    ngx_queue_remove(&sub->in_client);
    client->nsubscriptions--;
    free(sub);

    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS, -1);

    if (--channel->count == 0) {
        ngx_centrifugo_engine(client->hcf)->unsubscribe(channel);
    }
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
ngx_centrifugo_client_publish(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    u_char                         uuid[NGX_CENTRIFUGO_ID_LEN];
    const char                    *why;
    ngx_centrifugo_publish_t       pub;
    ngx_centrifugo_completion_t    done;
    ngx_centrifugo_client_info_t   info;
    const ngx_centrifugo_error_t  *err;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "publish without a channel");
        return;
    }

    err = publish_check(client, cmd, &why);

    if (err) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method, err,
                                    &cmd->channel, why);
        return;
    }

    ngx_memzero(&info, sizeof(ngx_centrifugo_client_info_t));
    info.user = client->user;
    info.conn_info = client->info;
    info.client.data = uuid;
    info.client.len = ngx_centrifugo_client_id(client, uuid) - uuid;

    if (ngx_centrifugo_broker_pack_info(ngx_centrifugo_client_arena(), &info,
                                        &pub.info)
        != NGX_OK)
    {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_internal,
                                    &cmd->channel, "no memory");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    pub.channel = cmd->channel;
    pub.data = cmd->data;
    pub.json = client->codec->json;

    done.handler = publish_done;
    done.handle = client->handle;

    ngx_centrifugo_engine(client->hcf)->publish(client->hcf, &pub, &done);
}


static const ngx_centrifugo_error_t *
publish_check(ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    const char **why)
{
    ngx_uint_t                         allowed;
    ngx_centrifugo_channel_options_t  *options;

    options = ngx_centrifugo_conf_channel(client->hcf, &cmd->channel);

    if (options == NULL) {
        *why = "its namespace is not configured";
        return &ngx_centrifugo_error_channel;
    }

    if (ngx_centrifugo_channel_ascii(&cmd->channel) != NGX_OK) {
        *why = "its name is not ASCII";
        return &ngx_centrifugo_error_request;
    }

    if (ngx_centrifugo_publication_check(client->hcf, &cmd->data) != NGX_OK) {
        *why = "its data is empty or larger than publication_max_size";
        return &ngx_centrifugo_error_request;
    }

    allowed = options->allow_publish_for_client
              || (options->allow_publish_for_subscriber
                  && ngx_centrifugo_client_subscription(client,
                                                        &cmd->channel));

    if (allowed && (client->user.len || options->allow_publish_for_anonymous))
    {
        return NULL;
    }

    if (client->hcf->client_insecure) {
        return NULL;
    }

    *why = "no option allows it";
    return &ngx_centrifugo_error_denied;
}


ngx_int_t
ngx_centrifugo_publication_check(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *data)
{
    return (data->len && data->len <= hcf->publication_max_size)
           ? NGX_OK : NGX_DECLINED;
}


static void
publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_pending(handle);

    if (client == NULL) {
        return;
    }

    switch (rc) {

    case NGX_CENTRIFUGO_ENGINE_OK:
        client->codec->done(ngx_centrifugo_client_reply(client),
                            client->command_id, NGX_CENTRIFUGO_CMD_PUBLISH);
        break;

    case NGX_CENTRIFUGO_ENGINE_REFUSED:
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_PUBLISH,
                                    &ngx_centrifugo_error_request,
                                    &client->command_channel,
                                    "it is too large for the log");
        break;

    default:
        ngx_centrifugo_client_error(client, client->command_id,
                                    NGX_CENTRIFUGO_CMD_PUBLISH,
                                    &ngx_centrifugo_error_internal,
                                    &client->command_channel,
                                    "the hub is not available");
    }

    ngx_centrifugo_client_answered(client);
}
