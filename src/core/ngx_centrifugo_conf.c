/*
 * Hubs: their blocks, and what in these has more than one value.
 */

#include "ngx_centrifugo_conf.h"

#if (NGX_CENTRIFUGO_TEST)
#include "../test/ngx_centrifugo_test.h"
#endif


static ngx_int_t conf_finish_verifiers(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_uint_t conf_known(void *data, const ngx_str_t *channel);
static ngx_int_t conf_finish_personal(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_centrifugo_hub_conf_t *conf_create_hub(ngx_conf_t *cf,
    ngx_str_t *name);
static char *conf_finish_hub(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf,
    ngx_centrifugo_hub_conf_t *hcf);


void *
ngx_centrifugo_conf_create_main(ngx_conf_t *cf)
{
    ngx_centrifugo_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_centrifugo_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->hubs, cf->pool, 2,
                       sizeof(ngx_centrifugo_hub_conf_t *))
        != NGX_OK
        || ngx_array_init(&mcf->locations, cf->pool, 4,
                          sizeof(ngx_centrifugo_loc_conf_t *))
           != NGX_OK)
    {
        return NULL;
    }

    mcf->queue_memory = NGX_CONF_UNSET_SIZE;

    return mcf;
}


char *
ngx_centrifugo_conf_hub(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_main_conf_t  *mcf = conf;

    char                        *rv;
    ngx_str_t                   *value;
    ngx_uint_t                   i;
    ngx_conf_t                   save;
    ngx_http_conf_ctx_t         *ctx, *http;
    ngx_centrifugo_hub_conf_t   *hcf, **slot;

    value = cf->args->elts;

    if (ngx_centrifugo_namespace_valid(&value[1]) != NGX_OK) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "a name of two or more "
                                             "letters, digits, \"-\", \"_\" "
                                             "or \".\"");
    }

    slot = mcf->hubs.elts;

    for (i = 0; i < mcf->hubs.nelts; i++) {
        if (slot[i]->name.len == value[1].len
            && ngx_strncmp(slot[i]->name.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate centrifugo_hub \"%V\": give each "
                               "hub a name of its own", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    hcf = conf_create_hub(cf, &value[1]);
    if (hcf == NULL) {
        return NGX_CONF_ERROR;
    }

    hcf->index = mcf->hubs.nelts;

    slot = ngx_array_push(&mcf->hubs);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = hcf;

    /*
     * Inside the block the server's and the location's place of this module
     * hold the hub and the options of channels without a namespace.
     */

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_http_conf_ctx_t));
    if (ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    http = cf->ctx;
    ctx->main_conf = http->main_conf;
    ctx->srv_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);
    ctx->loc_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);

    if (ctx->srv_conf == NULL || ctx->loc_conf == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx->srv_conf[ngx_centrifugo_module.ctx_index] = hcf;
    ctx->loc_conf[ngx_centrifugo_module.ctx_index] = hcf->options;

    save = *cf;
    cf->ctx = ctx;
    cf->cmd_type = NGX_CENTRIFUGO_HUB_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return conf_finish_hub(cf, mcf, hcf);
}


static ngx_centrifugo_hub_conf_t *
conf_create_hub(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = ngx_pcalloc(cf->pool, sizeof(ngx_centrifugo_hub_conf_t));
    if (hcf == NULL) {
        return NULL;
    }

    hcf->options = ngx_centrifugo_conf_options_create(cf);
    if (hcf->options == NULL) {
        return NULL;
    }

    if (ngx_array_init(&hcf->namespaces, cf->pool, 4,
                       sizeof(ngx_centrifugo_namespace_t))
        != NGX_OK)
    {
        return NULL;
    }

    hcf->name = *name;
    hcf->cycle = cf->cycle;
    hcf->zone = NGX_CONF_UNSET_SIZE;
    hcf->client_insecure = NGX_CONF_UNSET;
    hcf->api_insecure = NGX_CONF_UNSET;
    hcf->anonymous = NGX_CONF_UNSET;
    hcf->no_anonymous_tokens = NGX_CONF_UNSET;
    hcf->skip_signature = NGX_CONF_UNSET;
    hcf->subscription_token = NGX_CONF_UNSET;
    hcf->personal = NGX_CONF_UNSET;
    hcf->single_connection = NGX_CONF_UNSET;
    hcf->verifier.skip_jwks_check = NGX_CONF_UNSET;
    hcf->subscription_verifier.skip_jwks_check = NGX_CONF_UNSET;
    hcf->ping_interval = NGX_CONF_UNSET_MSEC;
    hcf->pong_timeout = NGX_CONF_UNSET_MSEC;
    hcf->stale_close_delay = NGX_CONF_UNSET_MSEC;
    hcf->expired_close_delay = NGX_CONF_UNSET_MSEC;
    hcf->expired_sub_close_delay = NGX_CONF_UNSET_MSEC;
    hcf->write_timeout = NGX_CONF_UNSET_MSEC;
    hcf->drain_time = NGX_CONF_UNSET_MSEC;
    hcf->channel_limit = NGX_CONF_UNSET_UINT;
    hcf->channel_max_length = NGX_CONF_UNSET_UINT;
    hcf->connection_limit = NGX_CONF_UNSET_UINT;
    hcf->connection_limit_per_address = NGX_CONF_UNSET_UINT;
    hcf->connection_rate_limit = NGX_CONF_UNSET_UINT;
    hcf->user_connection_limit = NGX_CONF_UNSET_UINT;
    hcf->presence_info_max = NGX_CONF_UNSET_SIZE;
    hcf->history_max_publication_limit = NGX_CONF_UNSET_UINT;
    hcf->recovery_max_publication_limit = NGX_CONF_UNSET_UINT;
    hcf->channel_position_check_delay = NGX_CONF_UNSET_MSEC;
    hcf->channel_position_max_time_lag = NGX_CONF_UNSET_MSEC;
    hcf->channel_compaction = NGX_CONF_UNSET;
    hcf->api_error_mode = NGX_CONF_UNSET_UINT;
    hcf->data = NGX_CONF_UNSET_UINT;
    hcf->syntax.private_prefix = NGX_CONF_UNSET_UINT;
    hcf->syntax.namespace_boundary = NGX_CONF_UNSET_UINT;
    hcf->syntax.user_boundary = NGX_CONF_UNSET_UINT;
    hcf->syntax.user_separator = NGX_CONF_UNSET_UINT;
    hcf->websocket_compression = NGX_CONF_UNSET;
    hcf->websocket_compression_level = NGX_CONF_UNSET_UINT;
    hcf->websocket_compression_min_size = NGX_CONF_UNSET_SIZE;
    hcf->message_size_limit = NGX_CONF_UNSET_SIZE;
    hcf->publication_max_size = NGX_CONF_UNSET_SIZE;
    hcf->queue_max_size = NGX_CONF_UNSET_SIZE;
    hcf->hub.slot = NGX_CENTRIFUGO_NO_SLOT;

#if (NGX_CENTRIFUGO_TEST)
    hcf->test_engine_delay = NGX_CONF_UNSET_MSEC;
    hcf->test_handshake_delay = NGX_CONF_UNSET_MSEC;
    hcf->verifier.delay = NGX_CONF_UNSET_MSEC;
    hcf->test_log = NGX_CONF_UNSET_SIZE;
    hcf->test_control = NGX_CONF_UNSET_SIZE;
#endif

    ngx_queue_init(&hcf->clients);

    return hcf;
}


static char *
conf_finish_hub(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf,
    ngx_centrifugo_hub_conf_t *hcf)
{
    size_t  max;

    if (hcf->zone == NGX_CONF_UNSET_SIZE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "centrifugo_hub \"%V\" has no zone: write "
                           "\"zone 64m;\" in it", &hcf->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_uint_value(hcf->data, NGX_CENTRIFUGO_DATA_SOME);

    if (ngx_centrifugo_conf_options_finish(cf, hcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(hcf->client_insecure, 0);
    ngx_conf_init_value(hcf->api_insecure, 0);
    ngx_conf_init_value(hcf->anonymous, 0);
    ngx_conf_init_value(hcf->no_anonymous_tokens, 0);
    ngx_conf_init_value(hcf->skip_signature, 0);
    ngx_conf_init_value(hcf->personal, 0);
    ngx_conf_init_value(hcf->single_connection, 0);
    ngx_conf_init_msec_value(hcf->ping_interval, 25000);
    ngx_conf_init_msec_value(hcf->pong_timeout,
                             ngx_min(8000, hcf->ping_interval / 3));
    ngx_conf_init_msec_value(hcf->stale_close_delay, 10000);
    ngx_conf_init_msec_value(hcf->expired_close_delay, 25000);
    ngx_conf_init_msec_value(hcf->expired_sub_close_delay, 25000);
    ngx_conf_init_msec_value(hcf->write_timeout, 10000);
    ngx_conf_init_msec_value(hcf->drain_time, 30000);
    ngx_conf_init_uint_value(hcf->channel_limit, 128);
    ngx_conf_init_uint_value(hcf->channel_max_length, 255);
    ngx_conf_init_uint_value(hcf->connection_limit, 0);
    ngx_conf_init_uint_value(hcf->connection_limit_per_address, 0);
    ngx_conf_init_uint_value(hcf->connection_rate_limit, 0);
    ngx_conf_init_uint_value(hcf->user_connection_limit, 0);
    ngx_conf_init_size_value(hcf->presence_info_max, 4096);
    ngx_conf_init_uint_value(hcf->history_max_publication_limit, 300);
    ngx_conf_init_uint_value(hcf->recovery_max_publication_limit, 300);
    ngx_conf_init_msec_value(hcf->channel_position_check_delay, 40000);
    ngx_conf_init_msec_value(hcf->channel_position_max_time_lag, 0);
    ngx_conf_init_value(hcf->channel_compaction, 0);
    ngx_conf_init_uint_value(hcf->api_error_mode,
                             NGX_CENTRIFUGO_ERRORS_BODY);
    ngx_conf_init_uint_value(hcf->syntax.private_prefix, '$');
    ngx_conf_init_uint_value(hcf->syntax.namespace_boundary, ':');
    ngx_conf_init_uint_value(hcf->syntax.user_boundary, '#');
    ngx_conf_init_uint_value(hcf->syntax.user_separator, ',');
    ngx_conf_init_value(hcf->websocket_compression, 0);
    ngx_conf_init_uint_value(hcf->websocket_compression_level, 1);
    ngx_conf_init_size_value(hcf->websocket_compression_min_size, 0);
    ngx_conf_init_size_value(hcf->message_size_limit, 64 * 1024);
    ngx_conf_init_size_value(hcf->queue_max_size, 1024 * 1024);

    if (conf_finish_verifiers(cf, hcf) != NGX_OK
        || conf_finish_personal(cf, hcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

#if (NGX_CENTRIFUGO_TEST)
    ngx_centrifugo_test_init_hub(hcf);
#endif

    max = ngx_min(hcf->queue_max_size / 2,
                  ngx_centrifugo_hub_publication_max(hcf->log));

    if (hcf->publication_max_size == NGX_CONF_UNSET_SIZE) {
        hcf->publication_max_size = ngx_min(512 * 1024, max);

    } else if (hcf->publication_max_size > hcf->queue_max_size / 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "publication_max_size %uz of hub \"%V\" is more "
                           "than half of queue_max_size: write at most %uz, "
                           "or \"queue_max_size %uz;\"",
                           hcf->publication_max_size, &hcf->name,
                           hcf->queue_max_size / 2,
                           hcf->publication_max_size * 2);
        return NGX_CONF_ERROR;

    } else if (hcf->publication_max_size > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "publication_max_size %uz of hub \"%V\" does not "
                           "fit into an eighth of the log: write at most "
                           "%uz, or a larger \"log=\" in \"zone\"",
                           hcf->publication_max_size, &hcf->name, max);
        return NGX_CONF_ERROR;
    }

    if (hcf->pong_timeout >= hcf->ping_interval) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "pong_timeout %Mms of hub \"%V\" must be less than "
                           "ping_interval %Mms: write a smaller pong_timeout",
                           hcf->pong_timeout, &hcf->name,
                           hcf->ping_interval);
        return NGX_CONF_ERROR;
    }

    if (hcf->client_insecure) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "client_insecure is on in hub \"%V\": everybody "
                           "may subscribe and publish", &hcf->name);
    }

    if (hcf->api_insecure) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "api_insecure is on in hub \"%V\": the API asks "
                           "for no key", &hcf->name);
    }

    return ngx_centrifugo_zones_add(cf, mcf, hcf) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/*
 * Subscription tokens have a verifier of their own when one of its keys is
 * configured, or it is switched on; else they are checked like connection
 * tokens.
 */

static ngx_int_t
conf_finish_verifiers(ngx_conf_t *cf, ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t                  i, keys;
    ngx_centrifugo_verifier_t  *v[2];

    v[0] = &hcf->verifier;
    v[1] = &hcf->subscription_verifier;

    v[0]->prefix = "token_";
    v[1]->prefix = "subscription_token_";

    keys = ngx_centrifugo_verifier_has_keys(v[1]);

    if (keys && hcf->subscription_token == 0) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "subscription_token_enabled is off in hub \"%V\", "
                           "its subscription_token_ keys are not used",
                           &hcf->name);
    }

    ngx_conf_init_value(hcf->subscription_token, (ngx_flag_t) keys);

    if (hcf->subscription_token && !keys && !hcf->skip_signature) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "subscription_token_enabled is on in hub \"%V\" "
                           "without a key: write "
                           "subscription_token_hmac_secret_key or another key "
                           "of subscription tokens", &hcf->name);
        return NGX_ERROR;
    }

    if (hcf->skip_signature) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "insecure_skip_token_signature_verify is on in hub "
                           "\"%V\": everybody can make tokens", &hcf->name);
    }

    for (i = 0; i < 2; i++) {
        ngx_conf_init_value(v[i]->skip_jwks_check, 0);

        v[i]->skip_signature = hcf->skip_signature;
        v[i]->known = conf_known;
        v[i]->data = hcf;

        if (ngx_centrifugo_verifier_prepare(cf, v[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
conf_known(void *data, const ngx_str_t *channel)
{
    return ngx_centrifugo_conf_channel(data, channel) != NULL;
}


static ngx_int_t
conf_finish_personal(ngx_conf_t *cf, ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t                         i;
    ngx_centrifugo_namespace_t        *ns;
    ngx_centrifugo_channel_options_t  *options;

    options = hcf->personal_namespace.len ? NULL : hcf->options;
    ns = hcf->namespaces.elts;

    for (i = 0; i < hcf->namespaces.nelts; i++) {
        if (ns[i].name.len == hcf->personal_namespace.len
            && ngx_memcmp(ns[i].name.data, hcf->personal_namespace.data,
                          ns[i].name.len)
               == 0)
        {
            options = ns[i].options;
        }
    }

    if (options == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "personal_channel_namespace \"%V\" of hub \"%V\" "
                           "is not there: write \"namespace %V { }\" in the "
                           "hub", &hcf->personal_namespace, &hcf->name,
                           &hcf->personal_namespace);
        return NGX_ERROR;
    }

    if (hcf->personal
        && (hcf->syntax.user_boundary == 0
            || (hcf->personal_namespace.len
                && hcf->syntax.namespace_boundary == 0)))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "subscribe_to_user_personal_channel of hub \"%V\" "
                           "needs channel_user_boundary and "
                           "channel_namespace_boundary: leave these out",
                           &hcf->name);
        return NGX_ERROR;
    }

    if (hcf->single_connection && !(hcf->personal && options->presence)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "single_connection of hub \"%V\" needs "
                           "\"subscribe_to_user_personal_channel on;\" and "
                           "\"presence on;\" for the personal channels",
                           &hcf->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


char *
ngx_centrifugo_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_hub_conf_t  *hcf = conf;

    ssize_t     size, log;
    ngx_str_t  *value, s;

    if (hcf->zone != NGX_CONF_UNSET_SIZE) {
        return "is duplicate: a hub has one zone";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "a size such as 64m");
    }

    if (size > NGX_CENTRIFUGO_ZONE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone %V of hub \"%V\" is too large: write at "
                           "most 64g", &value[1], &hcf->name);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_CENTRIFUGO_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone %V of hub \"%V\" is too small: write at "
                           "least 4m", &value[1], &hcf->name);
        return NGX_CONF_ERROR;
    }

    log = ngx_max(size / 4, NGX_CENTRIFUGO_LOG_MIN);

    if (cf->args->nelts == 3) {

        if (value[2].len <= 4 || ngx_strncmp(value[2].data, "log=", 4) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"zone\": write "
                               "\"zone %V log=16m;\"", &value[2], &value[1]);
            return NGX_CONF_ERROR;
        }

        s.data = value[2].data + 4;
        s.len = value[2].len - 4;

        log = ngx_parse_size(&s);

        if (log == NGX_ERROR || log < NGX_CENTRIFUGO_LOG_MIN
            || log > size / 2)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\" of \"zone\": write a size from "
                               "1m to half of the zone (%z)", &value[2],
                               size / 2);
            return NGX_CONF_ERROR;
        }
    }

    hcf->zone = size;
    hcf->log = log - log % 64;

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_origins(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_hub_conf_t  *hcf = conf;

    ngx_str_t   *value, *pattern;
    ngx_uint_t   i;

    if (hcf->allowed_origins) {
        return "is duplicate: name all origins in one directive";
    }

    hcf->allowed_origins = ngx_array_create(cf->pool, cf->args->nelts,
                                            sizeof(ngx_str_t));
    if (hcf->allowed_origins == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0) {
            return ngx_centrifugo_conf_bad_value(cf, cmd, "origins such as "
                                                 "https://example.com or "
                                                 "https://*.example.com");
        }

        if (value[i].len == 1 && value[i].data[0] == '*') {
            if (cf->args->nelts > 2) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"*\" in \"allowed_origins\" allows every "
                                   "origin: write it alone or leave it out");
                return NGX_CONF_ERROR;
            }

            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "allowed_origins * lets pages of every site "
                               "connect to hub \"%V\"", &hcf->name);
        }

        pattern = ngx_array_push(hcf->allowed_origins);
        if (pattern == NULL) {
            return NGX_CONF_ERROR;
        }

        *pattern = value[i];
        ngx_strlow(pattern->data, pattern->data, pattern->len);
    }

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_session_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_hub_conf_t  *hcf = conf;

    ngx_str_t  *value;

    if (hcf->session_log_set) {
        return "is duplicate: write it once";
    }

    hcf->session_log_set = 1;
    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    if (value[1].len == 0 || ngx_strlchr(value[1].data,
                                         value[1].data + value[1].len, '$'))
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "\"off\" or the path "
                                             "of a file, without variables");
    }

    hcf->session_log = ngx_conf_open_file(cf->cycle, &value[1]);

    return hcf->session_log ? NGX_CONF_OK : NGX_CONF_ERROR;
}
