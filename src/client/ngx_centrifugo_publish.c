/*
 * The command publish.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_worker.h"
#include "../protocol/ngx_centrifugo_json.h"


static const ngx_centrifugo_error_t *publish_check(
    ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    ngx_uint_t json, ngx_centrifugo_channel_options_t **options,
    const char **why);
static void publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);


void
ngx_centrifugo_client_publish(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    u_char                             uuid[NGX_CENTRIFUGO_ID_LEN];
    ngx_int_t                          rc;
    ngx_uint_t                         json;
    const char                        *why;
    ngx_centrifugo_publish_t           pub;
    ngx_centrifugo_completion_t        done;
    ngx_centrifugo_client_info_t       info;
    const ngx_centrifugo_error_t      *err;
    ngx_centrifugo_subscription_t     *sub;
    ngx_centrifugo_channel_options_t  *options;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "publish without a channel");
        return;
    }

    json = (cmd->data.len != 0);

    if (json && !client->codec->json
        && cmd->data.len <= client->hcf->publication_max_size)
    {
        /* others may need to know */

        rc = ngx_centrifugo_json_validate(ngx_centrifugo_client_arena(),
                                          cmd->data.data, cmd->data.len);

        if (rc == NGX_ABORT) {
            ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                        &ngx_centrifugo_error_internal,
                                        &cmd->channel, "no memory");
            return;
        }

        json = (rc == NGX_OK);
    }

    err = publish_check(client, cmd, json, &options, &why);

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

    sub = ngx_centrifugo_client_subscription(client, &cmd->channel);

    if (sub && sub->extra) {
        info.chan_info = sub->extra->info;
    }

    ngx_memzero(&pub, sizeof(ngx_centrifugo_publish_t));

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
    pub.json = json;
    pub.delta = options->delta_publish;
    pub.history_size = options->history_size;
    pub.history_ttl = options->history_ttl;
    pub.history_meta_ttl = options->history_meta_ttl;

    done.handler = publish_done;
    done.handle = client->handle;

    ngx_centrifugo_engine(client->hcf)->publish(client->hcf, &pub, &done);
}


static const ngx_centrifugo_error_t *
publish_check(ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    ngx_uint_t json, ngx_centrifugo_channel_options_t **options,
    const char **why)
{
    const ngx_centrifugo_error_t  *err;

    err = ngx_centrifugo_permission_name(client->hcf, &cmd->channel, options,
                                         why);
    if (err) {
        return err;
    }

    if (ngx_centrifugo_publication_check(client->hcf, *options, &cmd->data,
                                         json)
        != NGX_OK)
    {
        *why = "its data is not of publication_data_format, or larger than "
               "publication_max_size";
        return &ngx_centrifugo_error_request;
    }

    return ngx_centrifugo_permission_publish(client, &cmd->channel, *options,
                                             why);
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
                                    rc == NGX_CENTRIFUGO_ENGINE_RETRY
                                    ? "the zone is full"
                                    : "the hub is not available");
    }

    ngx_centrifugo_client_answered(client);
}
