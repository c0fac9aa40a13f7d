/*
 * Commands presence and presence_stats.
 */

#include "ngx_centrifugo_client.h"


static void presence_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void presence_stats_done(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);
static void presence_failed(ngx_centrifugo_client_t *client,
    ngx_centrifugo_method_e method, const ngx_centrifugo_error_t *err,
    const char *why);


void
ngx_centrifugo_client_presence(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    const char                        *why;
    ngx_centrifugo_completion_t        done;
    const ngx_centrifugo_error_t      *err;
    const ngx_centrifugo_engine_t     *engine;
    ngx_centrifugo_channel_options_t  *options;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "presence without a channel");
        return;
    }

    err = ngx_centrifugo_permission_name(client->hcf, &cmd->channel, &options,
                                         &why);
    if (err == NULL && !options->presence) {
        err = &ngx_centrifugo_error_unavailable;
        why = "presence is off";
    }

    if (err == NULL) {
        err = ngx_centrifugo_permission_presence(client, options,
                  ngx_centrifugo_client_subscription(client, &cmd->channel)
                  != NULL, &why);
    }

    if (err) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method, err,
                                    &cmd->channel, why);
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        return;
    }

    done.handle = client->handle;
    engine = ngx_centrifugo_engine(client->hcf);

    if (cmd->method == NGX_CENTRIFUGO_CMD_PRESENCE) {
        done.handler = presence_done;
        engine->presence(client->hcf, &client->command_channel, &done);

    } else {
        done.handler = presence_stats_done;
        engine->presence_stats(client->hcf, &client->command_channel, &done);
    }
}


static void
presence_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_str_t                      entries;
    ngx_uint_t                     n;
    ngx_centrifugo_buf_t           reply;
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_client_info_t  *infos;

    client = ngx_centrifugo_client_pending(handle);

    if (client == NULL) {
        return;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        presence_failed(client, NGX_CENTRIFUGO_CMD_PRESENCE,
                        &ngx_centrifugo_error_internal,
                        "presence is not available now");
        return;
    }

    infos = malloc((result->num_clients + 1)
                   * sizeof(ngx_centrifugo_client_info_t));
    if (infos == NULL) {
        presence_failed(client, NGX_CENTRIFUGO_CMD_PRESENCE,
                        &ngx_centrifugo_error_internal, "no memory");
        return;
    }

    entries = result->presence;

    for (n = 0; n < result->num_clients; n++) {
        if (ngx_centrifugo_broker_presence_next(&entries, &infos[n])
            != NGX_OK)
        {
            break;
        }
    }

    ngx_memzero(&reply, sizeof(ngx_centrifugo_buf_t));
    client->codec->presence(&reply, client->command_id, infos, n);
    free(infos);

    if (ngx_centrifugo_buf_len(&reply) > client->hcf->queue_max_size) {

        /* it would end the client, which would ask again */

        presence_failed(client, NGX_CENTRIFUGO_CMD_PRESENCE,
                        &ngx_centrifugo_error_limit,
                        "the reply is larger than queue_max_size");

    } else if (reply.failed) {
        presence_failed(client, NGX_CENTRIFUGO_CMD_PRESENCE,
                        &ngx_centrifugo_error_internal, "no memory");

    } else {
        ngx_centrifugo_buf_append(ngx_centrifugo_client_reply(client),
                                  reply.start, ngx_centrifugo_buf_len(&reply));
        ngx_centrifugo_client_answered(client);
    }

    ngx_centrifugo_buf_free(&reply);
}


static void
presence_stats_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_pending(handle);

    if (client == NULL) {
        return;
    }

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        presence_failed(client, NGX_CENTRIFUGO_CMD_PRESENCE_STATS,
                        &ngx_centrifugo_error_internal,
                        "presence is not available now");
        return;
    }

    client->codec->presence_stats(ngx_centrifugo_client_reply(client),
                                  client->command_id, result->num_clients,
                                  result->num_users);

    ngx_centrifugo_client_answered(client);
}


static void
presence_failed(ngx_centrifugo_client_t *client,
    ngx_centrifugo_method_e method, const ngx_centrifugo_error_t *err,
    const char *why)
{
    ngx_centrifugo_client_error(client, client->command_id, method, err,
                                &client->command_channel, why);
    ngx_centrifugo_client_answered(client);
}
