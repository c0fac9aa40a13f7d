/*
 * The command history.
 */

#include "ngx_centrifugo_client.h"


/* what is asked for, until the answer is there */
typedef struct {
    uint64_t                     client;        /* handle */
    uint64_t                     epoch;         /* since, 0: any */
} history_t;


static const ngx_centrifugo_error_t *history_check(
    ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    ngx_centrifugo_channel_options_t **options, const char **why);
static void history_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void history_reply(ngx_centrifugo_client_t *client,
    ngx_centrifugo_engine_result_t *result);
static void history_failed(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_error_t *err, const char *why);


void
ngx_centrifugo_client_history(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    history_t                         *h;
    ngx_uint_t                         max;
    const char                        *why;
    ngx_centrifugo_completion_t        done;
    const ngx_centrifugo_error_t      *err;
    ngx_centrifugo_history_wish_t      wish;
    ngx_centrifugo_channel_options_t  *options;

    if (cmd->channel.len == 0) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "history without a channel");
        return;
    }

    err = history_check(client, cmd, &options, &why);

    if (err) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method, err,
                                    &cmd->channel, why);
        return;
    }

    h = malloc(sizeof(history_t));

    if (h == NULL) {
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_internal,
                                    &cmd->channel, "no memory");
        return;
    }

    if (ngx_centrifugo_client_begin(client, cmd) != NGX_OK) {
        free(h);
        return;
    }

    h->client = client->handle;
    h->epoch = cmd->since ? ngx_centrifugo_epoch(&cmd->epoch) : 0;

    max = client->hcf->history_max_publication_limit;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
    wish.channel = client->command_channel;
    wish.limit = (cmd->limit < 0 || (ngx_uint_t) cmd->limit > max)
                 ? max : (ngx_uint_t) cmd->limit;
    wish.max = client->hcf->queue_max_size;
    wish.meta_ttl = options->history_meta_ttl;
    wish.bounded = cmd->since;
    wish.since.offset = cmd->since ? cmd->offset : 0;
    wish.since.epoch = h->epoch;
    wish.reverse = cmd->reverse;

    done.handler = history_done;
    done.handle = (uint64_t) (uintptr_t) h;

    ngx_centrifugo_engine(client->hcf)->history(client->hcf, &wish, &done);
}


static const ngx_centrifugo_error_t *
history_check(ngx_centrifugo_client_t *client, ngx_centrifugo_command_t *cmd,
    ngx_centrifugo_channel_options_t **options, const char **why)
{
    const ngx_centrifugo_error_t  *err;

    err = ngx_centrifugo_permission_name(client->hcf, &cmd->channel, options,
                                         why);
    if (err) {
        return err;
    }

    if ((*options)->history_size == 0) {
        *why = "history is off";
        return &ngx_centrifugo_error_unavailable;
    }

    err = ngx_centrifugo_permission_history(client, *options,
                  ngx_centrifugo_client_subscription(client, &cmd->channel)
                  != NULL, why);
    if (err) {
        return err;
    }

    if (cmd->reverse && cmd->since && cmd->offset == 0) {
        *why = "nothing is before offset 0";
        return &ngx_centrifugo_error_request;
    }

    return NULL;
}


static void
history_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    uint64_t                  epoch;
    history_t                *h;
    ngx_centrifugo_client_t  *client;

    h = (history_t *) (uintptr_t) handle;
    client = ngx_centrifugo_client_pending(h->client);
    epoch = h->epoch;

    free(h);

    if (client == NULL) {
        return;
    }

    switch (rc) {

    case NGX_CENTRIFUGO_ENGINE_OK:

        if (epoch && epoch != result->position.epoch) {
            history_failed(client, &ngx_centrifugo_error_position,
                           "the stream has another epoch");
            return;
        }

        history_reply(client, result);
        return;

    case NGX_CENTRIFUGO_ENGINE_REFUSED:
        history_failed(client, &ngx_centrifugo_error_limit,
                       "it is larger than queue_max_size");
        return;

    default:
        history_failed(client, &ngx_centrifugo_error_internal,
                       "history is not available now");
    }
}


static void
history_reply(ngx_centrifugo_client_t *client,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_str_t                      epoch, publications;
    ngx_uint_t                     n, json;
    ngx_centrifugo_buf_t           list, reply;
    const ngx_centrifugo_codec_t  *codec;
    ngx_centrifugo_publication_t   pub;
    ngx_centrifugo_client_info_t   info;

    codec = client->codec;
    publications = result->publications;
    json = 1;

    ngx_memzero(&list, sizeof(ngx_centrifugo_buf_t));
    ngx_memzero(&reply, sizeof(ngx_centrifugo_buf_t));

    for (n = 0;
         ngx_centrifugo_broker_publication_next(&publications, &pub, &info)
         == NGX_OK;
         n++)
    {
        if (codec->json && !pub.json && pub.data.len) {
            json = 0;
            break;
        }

        pub.epoch = result->position.epoch;
        codec->publication(&list, n, &pub, NGX_CENTRIFUGO_FORM_PLAIN);
    }

    ngx_centrifugo_position_epoch(&result->position, &epoch);
    codec->history(&reply, client->command_id, &list, &epoch,
                   result->position.offset);

    if (!json) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_protocol,
                                    "a history with what is not JSON");

    } else if (list.failed || reply.failed) {
        history_failed(client, &ngx_centrifugo_error_internal, "no memory");

    } else if (ngx_centrifugo_buf_len(&reply) > client->hcf->queue_max_size) {

        /* it would end the client, which would ask again */

        history_failed(client, &ngx_centrifugo_error_limit,
                       "the reply is larger than queue_max_size");

    } else {
        ngx_centrifugo_buf_append(ngx_centrifugo_client_reply(client),
                                  reply.start, ngx_centrifugo_buf_len(&reply));
        ngx_centrifugo_client_answered(client);
    }

    ngx_centrifugo_buf_free(&list);
    ngx_centrifugo_buf_free(&reply);
}


static void
history_failed(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_error_t *err, const char *why)
{
    ngx_centrifugo_client_error(client, client->command_id,
                                NGX_CENTRIFUGO_CMD_HISTORY, err,
                                &client->command_channel, why);
    ngx_centrifugo_client_answered(client);
}
