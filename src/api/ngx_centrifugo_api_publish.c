/*
 * The methods publish and broadcast.
 */

#include "ngx_centrifugo_api.h"


static const char *api_publish_refused(const ngx_centrifugo_publish_t *pub);
static void api_publish_item(ngx_centrifugo_api_item_t *item,
    ngx_centrifugo_publish_t *pub, ngx_uint_t delta, ngx_uint_t skip_history);
static void api_publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void api_publish_fail(ngx_centrifugo_api_item_t *item,
    ngx_centrifugo_engine_rc_e rc);


void
ngx_centrifugo_api_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_str_t *channels, ngx_uint_t n, ngx_centrifugo_publish_t *pub,
    ngx_uint_t skip_history)
{
    ngx_uint_t                  i, delta;
    const char                 *why;
    ngx_centrifugo_api_item_t  *item;

    why = (n == 0) ? "no channels" : api_publish_refused(pub);

    if (why) {

        if (n) {
            cmd->channel = channels[0];
        }

        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request, why);
        return;
    }

    if (n == 1) {
        cmd->items = &cmd->item;

    } else {
        cmd->items = ngx_centrifugo_arena_alloc(&cmd->job->arena,
                                       n * sizeof(ngx_centrifugo_api_item_t));
        if (cmd->items == NULL) {
            ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                    "no memory");
            return;
        }
    }

    cmd->nitems = n;
    delta = pub->delta;

    /* answers that come at once are counted, no more */

    ngx_centrifugo_api_ask(cmd);

    for (i = 0; i < n; i++) {
        item = &cmd->items[i];
        item->command = cmd;
        item->channel = channels[i];
        item->error = NULL;

        api_publish_item(item, pub, delta, skip_history);
    }

    ngx_centrifugo_api_answered(cmd);
}


/* What is wrong with a publication for whatever channel, or NULL. */

static const char *
api_publish_refused(const ngx_centrifugo_publish_t *pub)
{
    if (pub->idempotency_key.len > NGX_CENTRIFUGO_API_KEY_MAX) {
        return "its idempotency_key is longer than 1024 bytes";
    }

    if (pub->version_epoch.len > NGX_CENTRIFUGO_API_KEY_MAX) {
        return "its version_epoch is longer than 1024 bytes";
    }

    return NULL;
}


static void
api_publish_item(ngx_centrifugo_api_item_t *item,
    ngx_centrifugo_publish_t *pub, ngx_uint_t delta, ngx_uint_t skip_history)
{
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_completion_t        done;
    ngx_centrifugo_channel_options_t  *options;

    hcf = item->command->job->hcf;

    if (item->channel.len == 0) {
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_request,
                                     "no channel");
        return;
    }

    options = ngx_centrifugo_conf_channel(hcf, &item->channel);

    if (options == NULL) {
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_channel,
                                     "its namespace is not configured");
        return;
    }

    if (ngx_centrifugo_publication_check(hcf, options, &pub->data, pub->json)
        != NGX_OK)
    {
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_request,
                                     "its data is not of "
                                     "publication_data_format, or larger "
                                     "than publication_max_size");
        return;
    }

    pub->channel = item->channel;
    pub->delta = delta || options->delta_publish;
    pub->history_size = skip_history ? 0 : options->history_size;
    pub->history_ttl = options->history_ttl;
    pub->history_meta_ttl = options->history_meta_ttl;

    ngx_centrifugo_api_ask(item->command);

    done.handler = api_publish_done;
    done.handle = (uint64_t) (uintptr_t) item;

    ngx_centrifugo_engine(hcf)->publish(hcf, pub, &done);
}


static void
api_publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_item_t  *item;

    item = (ngx_centrifugo_api_item_t *) (uintptr_t) handle;

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        api_publish_fail(item, rc);

    } else {
        item->position = result->position;
    }

    ngx_centrifugo_api_answered(item->command);
}


static void
api_publish_fail(ngx_centrifugo_api_item_t *item,
    ngx_centrifugo_engine_rc_e rc)
{
    switch (rc) {

    case NGX_CENTRIFUGO_ENGINE_RETRY:
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_internal,
                                     "no room or no answer now, it may work "
                                     "later");
        return;

    case NGX_CENTRIFUGO_ENGINE_REFUSED:
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_request,
                                     "it is too large for the log");
        return;

    default:
        ngx_centrifugo_api_item_fail(item, &ngx_centrifugo_error_internal,
                                     "the hub is not available");
    }
}
