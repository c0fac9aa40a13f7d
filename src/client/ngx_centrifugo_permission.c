/*
 * Who may do what with a channel.  The order of checks is visible to clients.
 */

#include "ngx_centrifugo_client.h"


static ngx_uint_t permission_override(
    const ngx_centrifugo_override_t *override, ngx_uint_t bit,
    ngx_flag_t option);


const ngx_centrifugo_error_t *
ngx_centrifugo_permission_name(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, ngx_centrifugo_channel_options_t **options,
    const char **why)
{
#if (NGX_PCRE)
    ngx_str_t  rest;
#endif

    *options = ngx_centrifugo_conf_channel(hcf, channel);

    if (*options == NULL) {
        *why = "its namespace is not configured";
        return &ngx_centrifugo_error_channel;
    }

#if (NGX_PCRE)
    if ((*options)->regex) {
        ngx_centrifugo_channel_rest(&hcf->syntax, channel, &rest);

        /* an error, such as too much work, is no match */

        if (ngx_regex_exec((*options)->regex, &rest, NULL, 0) < 0) {
            *why = "its name does not match channel_regex";
            return &ngx_centrifugo_error_request;
        }

        return NULL;
    }
#endif

    if (ngx_centrifugo_channel_ascii(channel) != NGX_OK) {
        *why = "its name is not ASCII";
        return &ngx_centrifugo_error_request;
    }

    return NULL;
}


const ngx_centrifugo_error_t *
ngx_centrifugo_permission_subscribe(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel, ngx_centrifugo_channel_options_t *options,
    const char **why)
{
    ngx_uint_t                  limited;
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = client->hcf;

    if (ngx_centrifugo_channel_private(&hcf->syntax, channel)) {
        *why = "a private channel needs a subscription token";
        return &ngx_centrifugo_error_denied;
    }

    limited = options->allow_user_limited_channels
              && ngx_centrifugo_channel_limited(&hcf->syntax, channel);

    if (limited) {
        if (ngx_centrifugo_channel_user(&hcf->syntax, channel, &client->user))
        {
            return NULL;
        }

        if (!hcf->client_insecure) {
            *why = "its name does not list the user";
            return &ngx_centrifugo_error_denied;
        }

        return NULL;
    }

    if ((options->allow_subscribe_for_client
         && (client->user.len || options->allow_subscribe_for_anonymous))
        || hcf->client_insecure)
    {
        return NULL;
    }

    *why = "no option allows it";
    return &ngx_centrifugo_error_denied;
}


const ngx_centrifugo_error_t *
ngx_centrifugo_permission_publish(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel, ngx_centrifugo_channel_options_t *options,
    const char **why)
{
    if ((options->allow_publish_for_client
         || (options->allow_publish_for_subscriber
             && ngx_centrifugo_client_subscription(client, channel)))
        && (client->user.len || options->allow_publish_for_anonymous))
    {
        return NULL;
    }

    if (client->hcf->client_insecure) {
        return NULL;
    }

    *why = "no option allows it";
    return &ngx_centrifugo_error_denied;
}


/*
 * Whether presence is kept at all is not looked at: who may see it may have
 * joins and leaves without it.
 */

const ngx_centrifugo_error_t *
ngx_centrifugo_permission_presence(ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options, ngx_uint_t subscribed,
    const char **why)
{
    if ((options->allow_presence_for_client
         || (options->allow_presence_for_subscriber && subscribed))
        && (client->user.len || options->allow_presence_for_anonymous))
    {
        return NULL;
    }

    if (client->hcf->client_insecure) {
        return NULL;
    }

    *why = "no option allows it";
    return &ngx_centrifugo_error_denied;
}


/* Nor here, whether history is kept. */

const ngx_centrifugo_error_t *
ngx_centrifugo_permission_history(ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options, ngx_uint_t subscribed,
    const char **why)
{
    if ((options->allow_history_for_client
         || (options->allow_history_for_subscriber && subscribed))
        && (client->user.len || options->allow_history_for_anonymous))
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
    const ngx_centrifugo_channel_options_t *options, const ngx_str_t *data,
    ngx_uint_t json)
{
    u_char  *p;

    if (data->len > hcf->publication_max_size) {
        return NGX_DECLINED;
    }

    switch (options->data) {

    case NGX_CENTRIFUGO_DATA_BINARY:
        return NGX_OK;

    case NGX_CENTRIFUGO_DATA_JSON:
        return (data->len && json) ? NGX_OK : NGX_DECLINED;

    case NGX_CENTRIFUGO_DATA_OBJECT:

        if (data->len == 0 || !json) {
            return NGX_DECLINED;
        }

        /* it is valid JSON: its first byte tells what it is */

        for (p = data->data;
             *p == ' ' || *p == '\t' || *p == CR || *p == LF;
             p++)
        { /* void */ }

        return (*p == '{') ? NGX_OK : NGX_DECLINED;

    default:
        return data->len ? NGX_OK : NGX_DECLINED;
    }
}


void
ngx_centrifugo_grant_options(ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_channel_options_t *options,
    const ngx_centrifugo_override_t *override)
{
    grant->presence = permission_override(override,
                                          NGX_CENTRIFUGO_OVERRIDE_PRESENCE,
                                          options->presence);
    grant->join_leave = permission_override(override,
                                          NGX_CENTRIFUGO_OVERRIDE_JOIN_LEAVE,
                                          options->join_leave);
    grant->push = permission_override(override, NGX_CENTRIFUGO_OVERRIDE_PUSH,
                                      options->force_push_join_leave);

    /* without a history there is no position */

    grant->recoverable = options->history_size
                         && permission_override(override,
                                          NGX_CENTRIFUGO_OVERRIDE_RECOVERY,
                                          options->force_recovery);
    grant->positioned = options->history_size
                        && (grant->recoverable
                            || permission_override(override,
                                          NGX_CENTRIFUGO_OVERRIDE_POSITIONING,
                                          options->force_positioning));

    grant->cache = (options->recover == NGX_CENTRIFUGO_RECOVERY_CACHE);
    grant->automatic = (grant->cache && options->auto_cache_recover);
    grant->meta_ttl = options->history_meta_ttl;
}


static ngx_uint_t
permission_override(const ngx_centrifugo_override_t *override, ngx_uint_t bit,
    ngx_flag_t option)
{
    if (override && (override->set & bit)) {
        return (override->value & bit) != 0;
    }

    return option != 0;
}
