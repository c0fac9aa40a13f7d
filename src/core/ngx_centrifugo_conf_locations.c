/*
 * Locations: what makes one an endpoint, and whether its hub is there and
 * ready for it.
 */

#include "ngx_centrifugo_conf.h"


#define CONF_API_ROOM  (64 * 1024)      /* beside the largest publication */


static ngx_int_t conf_resolve(ngx_conf_t *cf,
    ngx_centrifugo_main_conf_t *mcf, ngx_centrifugo_loc_conf_t *lcf);
static ngx_int_t conf_check_client(ngx_conf_t *cf,
    ngx_centrifugo_loc_conf_t *lcf);
static ngx_int_t conf_check_prefix(ngx_conf_t *cf,
    ngx_centrifugo_loc_conf_t *lcf);
static ngx_int_t conf_check_api(ngx_conf_t *cf,
    ngx_centrifugo_loc_conf_t *lcf);


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
                rc = conf_check_prefix(cf, lcf[i]);

                if (rc == NGX_OK) {
                    rc = conf_check_api(cf, lcf[i]);
                }

                break;

            case NGX_CENTRIFUGO_ENDPOINT_GRPC:
                rc = conf_check_api(cf, lcf[i]);
                mcf->grpc = 1;
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

    if (ngx_centrifugo_verifier_has_keys(&hcf->verifier) || hcf->skip_signature
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
conf_check_prefix(ngx_conf_t *cf, ngx_centrifugo_loc_conf_t *lcf)
{
    ngx_http_core_loc_conf_t   *clcf;

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
                      &lcf->hub->name, &lcf->file, lcf->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
conf_check_api(ngx_conf_t *cf, ngx_centrifugo_loc_conf_t *lcf)
{
    off_t                       need;
    ngx_centrifugo_hub_conf_t  *hcf;
    ngx_http_core_loc_conf_t   *clcf;

    hcf = lcf->hub;
    clcf = lcf->clcf;

    if (hcf->api_key.len == 0 && !hcf->api_insecure) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" on hub \"%V\" without a key: write \"api_key "
                      "SECRET;\" in the hub, or \"api_insecure on;\" where "
                      "other means guard the location, in %V:%ui",
                      &lcf->directive, &hcf->name, &lcf->file, lcf->line);
        return NGX_ERROR;
    }

    need = (off_t) hcf->publication_max_size * 4 / 3 + CONF_API_ROOM;

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
