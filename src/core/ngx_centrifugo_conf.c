#include "ngx_centrifugo_conf.h"

#if (NGX_CENTRIFUGO_TEST)
#include "../test/ngx_centrifugo_test.h"
#endif


#define NGX_CENTRIFUGO_API_ROOM  (64 * 1024)


static ngx_int_t conf_finish_verifiers(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_uint_t conf_has_keys(const ngx_centrifugo_verifier_t *verifier);
static ngx_uint_t conf_known(void *data, const ngx_str_t *channel);
static ngx_int_t conf_finish_personal(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_centrifugo_hub_conf_t *conf_create_hub(ngx_conf_t *cf,
    ngx_str_t *name);
static char *conf_finish_hub(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf,
    ngx_centrifugo_hub_conf_t *hcf);
static ngx_int_t conf_resolve(ngx_conf_t *cf,
    ngx_centrifugo_main_conf_t *mcf, ngx_centrifugo_loc_conf_t *lcf);
static ngx_int_t conf_check_client(ngx_conf_t *cf,
    ngx_centrifugo_loc_conf_t *lcf);
static ngx_int_t conf_check_api(ngx_conf_t *cf,
    ngx_centrifugo_loc_conf_t *lcf);


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


void *
ngx_centrifugo_conf_create_loc(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_centrifugo_loc_conf_t));
}


/*
 * An "if" or "limit_except" within a location has the location's endpoint:
 * NGINX runs the handler with the configuration of the innermost block.
 */

char *
ngx_centrifugo_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_centrifugo_loc_conf_t  *prev = parent;
    ngx_centrifugo_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t     *clcf;
    ngx_centrifugo_loc_conf_t   **slot;
    ngx_centrifugo_main_conf_t   *mcf;

    if (conf->user == NULL) {
        conf->user = prev->user;
    }

    if (conf->connection_info == NULL) {
        conf->connection_info = prev->connection_info;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (prev->endpoint == NULL || conf->endpoint || !clcf->noname
        || clcf->handler)
    {
        return NGX_CONF_OK;
    }

    conf->endpoint = prev->endpoint;
    conf->directive = prev->directive;
    conf->hub_name = prev->hub_name;
    conf->file = prev->file;
    conf->line = prev->line;
    conf->cscf = prev->cscf;
    conf->clcf = clcf;
    conf->merged = 1;

    if (clcf->lmt_excpt) {
        clcf->handler = conf->endpoint->handler;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_centrifugo_module);

    slot = ngx_array_push(&mcf->locations);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = conf;

    return NGX_CONF_OK;
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

    keys = conf_has_keys(v[1]);

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
conf_has_keys(const ngx_centrifugo_verifier_t *verifier)
{
    return verifier->hmac_secret_key.len || verifier->rsa_public_key.len
           || verifier->ecdsa_public_key.len || verifier->jwks_endpoint.len;
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


char *
ngx_centrifugo_conf_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_loc_conf_t  *lcf = conf;

    ngx_str_t                    *value;
    ngx_centrifugo_loc_conf_t   **slot;
    ngx_centrifugo_main_conf_t   *mcf;

    if (lcf->endpoint) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" in a location that has \"%V\" already: "
                           "give each a location of its own", &cmd->name,
                           &lcf->directive);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    lcf->endpoint = cmd->post;
    lcf->directive = cmd->name;
    lcf->file = cf->conf_file->file.name;
    lcf->line = cf->conf_file->line;

    if (cf->args->nelts == 2) {
        lcf->hub_name = value[1];
    }

    lcf->clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    lcf->clcf->handler = lcf->endpoint->handler;
    lcf->cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_centrifugo_module);

    slot = ngx_array_push(&mcf->locations);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = lcf;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_centrifugo_conf_finish(ngx_conf_t *cf)
{
    size_t                        memory;
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_centrifugo_loc_conf_t   **lcf;
    ngx_centrifugo_hub_conf_t   **hcf;
    ngx_centrifugo_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_centrifugo_module);

    memory = 256 * 1024 * 1024;
    hcf = mcf->hubs.elts;

    for (i = 0; i < mcf->hubs.nelts; i++) {
        if (hcf[i]->queue_max_size > mcf->queue_memory) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "queue_max_size %uz of hub \"%V\" is more than "
                               "centrifugo_queue_memory %uz: write "
                               "\"centrifugo_queue_memory %uz;\" or more in "
                               "http", hcf[i]->queue_max_size, &hcf[i]->name,
                               mcf->queue_memory, hcf[i]->queue_max_size * 4);
            return NGX_ERROR;
        }

        memory = ngx_max(memory, hcf[i]->queue_max_size);
    }

    ngx_conf_init_size_value(mcf->queue_memory, memory);

    if (ngx_centrifugo_zones_check(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    lcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {

        rc = conf_resolve(cf, mcf, lcf[i]);

        if (rc == NGX_OK && !lcf[i]->merged) {
            switch (lcf[i]->endpoint->kind) {

            case NGX_CENTRIFUGO_ENDPOINT_CLIENT:
                rc = conf_check_client(cf, lcf[i]);

                if (lcf[i]->hub->server == NULL) {
                    lcf[i]->hub->server = lcf[i]->cscf;
                }

                break;

            case NGX_CENTRIFUGO_ENDPOINT_API:
                rc = conf_check_api(cf, lcf[i]);
                break;

            default:
                break;
            }
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
conf_resolve(ngx_conf_t *cf, ngx_centrifugo_main_conf_t *mcf,
    ngx_centrifugo_loc_conf_t *lcf)
{
    ngx_uint_t                   i;
    ngx_centrifugo_hub_conf_t  **hcf;

    hcf = mcf->hubs.elts;

    if (lcf->hub_name.len == 0) {

        if (mcf->hubs.nelts == 1) {
            lcf->hub = hcf[0];
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" without a hub name while there are %ui hubs: "
                      "write \"%V NAME;\" with the name of a centrifugo_hub "
                      "block in %V:%ui",
                      &lcf->directive, mcf->hubs.nelts, &lcf->directive,
                      &lcf->file, lcf->line);
        return NGX_ERROR;
    }

    for (i = 0; i < mcf->hubs.nelts; i++) {
        if (hcf[i]->name.len == lcf->hub_name.len
            && ngx_strncmp(hcf[i]->name.data, lcf->hub_name.data,
                           lcf->hub_name.len)
               == 0)
        {
            lcf->hub = hcf[i];
            return NGX_OK;
        }
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "unknown hub \"%V\" in \"%V\": write a block "
                  "\"centrifugo_hub %V { zone 64m; ... }\" in the http block "
                  "in %V:%ui",
                  &lcf->hub_name, &lcf->directive, &lcf->hub_name, &lcf->file,
                  lcf->line);

    return NGX_ERROR;
}


static ngx_int_t
conf_check_client(ngx_conf_t *cf, ngx_centrifugo_loc_conf_t *lcf)
{
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = lcf->hub;

    if (conf_has_keys(&hcf->verifier) || hcf->skip_signature
        || hcf->client_insecure || hcf->anonymous || hcf->user || lcf->user)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "nobody could connect to \"%V\" of hub \"%V\": write "
                  "token_hmac_secret_key or another key, user, "
                  "allow_anonymous_connect_without_token or client_insecure "
                  "in the hub in %V:%ui",
                  &lcf->directive, &hcf->name, &lcf->file, lcf->line);

    return NGX_ERROR;
}


static ngx_int_t
conf_check_api(ngx_conf_t *cf, ngx_centrifugo_loc_conf_t *lcf)
{
    off_t                       need;
    ngx_centrifugo_hub_conf_t  *hcf;
    ngx_http_core_loc_conf_t   *clcf;

    hcf = lcf->hub;
    clcf = lcf->clcf;

    if (clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" in the regex or named location \"%V\": methods "
                      "follow the location's prefix, so write "
                      "\"location /api { %V %V; }\" in %V:%ui",
                      &lcf->directive, &clcf->name, &lcf->directive,
                      &hcf->name, &lcf->file, lcf->line);
        return NGX_ERROR;
    }

    if (hcf->api_key.len == 0 && !hcf->api_insecure) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" on hub \"%V\" without a key: write \"api_key "
                      "SECRET;\" in the hub, or \"api_insecure on;\" where "
                      "other means guard the location, in %V:%ui",
                      &lcf->directive, &hcf->name, &lcf->file, lcf->line);
        return NGX_ERROR;
    }

    need = (off_t) hcf->publication_max_size * 4 / 3 + NGX_CENTRIFUGO_API_ROOM;

    if (clcf->client_max_body_size && clcf->client_max_body_size < need) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "client_max_body_size %O is too small for publications "
                      "of %uz bytes: write \"client_max_body_size %O;\" or "
                      "more beside \"%V\", or a smaller publication_max_size "
                      "in hub \"%V\" in %V:%ui",
                      clcf->client_max_body_size, hcf->publication_max_size,
                      need, &lcf->directive, &hcf->name, &lcf->file,
                      lcf->line);
    }

    return NGX_OK;
}
