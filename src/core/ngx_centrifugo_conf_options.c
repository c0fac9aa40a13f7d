/*
 * Options of channels: namespaces, and channels without one.
 */

#include "ngx_centrifugo_conf.h"


#define CONF_META_TTL  2592000000       /* ms: 30 days */


static void conf_init_options(ngx_centrifugo_channel_options_t *options);
static ngx_int_t conf_check_history(ngx_conf_t *cf, const char *where,
    ngx_str_t *name, ngx_centrifugo_channel_options_t *options);
static void conf_check_use(ngx_conf_t *cf, const char *where,
    ngx_str_t *name, ngx_centrifugo_channel_options_t *options,
    ngx_uint_t history);
static void conf_no_use(ngx_conf_t *cf, const char *where,
    ngx_str_t *name, ngx_flag_t on, const char *option, const char *write);


/* all that are on or off, and off by default */

#define conf_flag(f)  offsetof(ngx_centrifugo_channel_options_t, f)

static const size_t  conf_flags[] = {
    conf_flag(presence),
    conf_flag(join_leave),
    conf_flag(force_push_join_leave),
    conf_flag(allow_subscribe_for_client),
    conf_flag(allow_subscribe_for_anonymous),
    conf_flag(allow_publish_for_client),
    conf_flag(allow_publish_for_subscriber),
    conf_flag(allow_publish_for_anonymous),
    conf_flag(allow_presence_for_client),
    conf_flag(allow_presence_for_subscriber),
    conf_flag(allow_presence_for_anonymous),
    conf_flag(allow_history_for_client),
    conf_flag(allow_history_for_subscriber),
    conf_flag(allow_history_for_anonymous),
    conf_flag(allow_user_limited_channels),
    conf_flag(force_positioning),
    conf_flag(allow_positioning),
    conf_flag(force_recovery),
    conf_flag(allow_recovery),
    conf_flag(auto_cache_recover),
    conf_flag(delta_fossil),
    conf_flag(delta_publish),
    conf_flag(allow_tags_filter)
};

#define CONF_FLAGS  (sizeof(conf_flags) / sizeof(conf_flags[0]))

#define conf_flag_at(options, i)                                             \
    ((ngx_flag_t *) ((u_char *) (options) + conf_flags[i]))


char *
ngx_centrifugo_conf_namespace(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_hub_conf_t  *hcf = conf;

    char                        *rv;
    ngx_str_t                   *value;
    ngx_uint_t                   i;
    ngx_conf_t                   save;
    ngx_http_conf_ctx_t          ctx;
    ngx_centrifugo_namespace_t  *ns;

    value = cf->args->elts;

    if (ngx_centrifugo_namespace_valid(&value[1]) != NGX_OK) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "a name of two or more "
                                             "letters, digits, \"-\", \"_\" "
                                             "or \".\"");
    }

    ns = hcf->namespaces.elts;

    for (i = 0; i < hcf->namespaces.nelts; i++) {
        if (ns[i].name.len == value[1].len
            && ngx_strncmp(ns[i].name.data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate namespace \"%V\" in hub \"%V\": put "
                               "its options into one block", &value[1],
                               &hcf->name);
            return NGX_CONF_ERROR;
        }
    }

    ns = ngx_array_push(&hcf->namespaces);
    if (ns == NULL) {
        return NGX_CONF_ERROR;
    }

    ns->name = value[1];
    ns->options = ngx_centrifugo_conf_options_create(cf);

    if (ns->options == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx = *(ngx_http_conf_ctx_t *) cf->ctx;

    ctx.loc_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);
    if (ctx.loc_conf == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx.loc_conf[ngx_centrifugo_module.ctx_index] = ns->options;

    save = *cf;
    cf->ctx = &ctx;
    cf->cmd_type = NGX_CENTRIFUGO_NAMESPACE_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_options_create(ngx_conf_t *cf)
{
    ngx_uint_t                         i;
    ngx_centrifugo_channel_options_t  *options;

    options = ngx_pcalloc(cf->pool, sizeof(ngx_centrifugo_channel_options_t));
    if (options == NULL) {
        return NULL;
    }

    for (i = 0; i < CONF_FLAGS; i++) {
        *conf_flag_at(options, i) = NGX_CONF_UNSET;
    }

    options->history_size = NGX_CONF_UNSET_UINT;
    options->history_ttl = NGX_CONF_UNSET_MSEC;
    options->history_meta_ttl = NGX_CONF_UNSET_MSEC;
    options->recover = NGX_CONF_UNSET_UINT;
    options->data = NGX_CONF_UNSET_UINT;

    return options;
}


ngx_int_t
ngx_centrifugo_conf_options_finish(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t                   i;
    ngx_centrifugo_namespace_t  *ns;

    if (conf_check_history(cf, "hub", &hcf->name, hcf->options) != NGX_OK) {
        return NGX_ERROR;
    }

    conf_init_options(hcf->options);
    ngx_conf_init_uint_value(hcf->options->data, hcf->data);

    ns = hcf->namespaces.elts;

    for (i = 0; i < hcf->namespaces.nelts; i++) {

        if (conf_check_history(cf, "namespace", &ns[i].name, ns[i].options)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        conf_init_options(ns[i].options);
        ngx_conf_init_uint_value(ns[i].options->data, hcf->data);
    }

    return NGX_OK;
}


static void
conf_init_options(ngx_centrifugo_channel_options_t *options)
{
    ngx_uint_t  i;

    for (i = 0; i < CONF_FLAGS; i++) {
        ngx_conf_init_value(*conf_flag_at(options, i), 0);
    }

    ngx_conf_init_uint_value(options->history_size, 0);
    ngx_conf_init_msec_value(options->history_ttl, 0);
    ngx_conf_init_msec_value(options->history_meta_ttl, CONF_META_TTL);
    ngx_conf_init_uint_value(options->recover, NGX_CENTRIFUGO_RECOVERY_STREAM);
}


/*
 * What is only right together.
 */

static ngx_int_t
conf_check_history(ngx_conf_t *cf, const char *where, ngx_str_t *name,
    ngx_centrifugo_channel_options_t *options)
{
    ngx_uint_t  size, ttl;

    size = options->history_size != NGX_CONF_UNSET_UINT
           && options->history_size;
    ttl = options->history_ttl != NGX_CONF_UNSET_MSEC && options->history_ttl;

    if (size != ttl) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of %s \"%V\" is nothing without %s: write "
                           "\"history_size 100; history_ttl 10m;\"",
                           size ? "history_size" : "history_ttl", where, name,
                           size ? "history_ttl" : "history_size");
        return NGX_ERROR;
    }

    if (ttl && options->history_ttl
        > (options->history_meta_ttl == NGX_CONF_UNSET_MSEC
           ? CONF_META_TTL : options->history_meta_ttl))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "history_meta_ttl of %s \"%V\" is less than "
                           "history_ttl: write \"history_meta_ttl %Ms;\" or "
                           "more", where, name, options->history_ttl / 1000);
        return NGX_ERROR;
    }

    if (!size && options->force_recovery == 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "force_recovery of %s \"%V\" needs history: write "
                           "\"history_size 100; history_ttl 10m;\" beside it",
                           where, name);
        return NGX_ERROR;
    }

    if (options->auto_cache_recover == 1
        && !(options->force_recovery == 1
             && options->recover == NGX_CENTRIFUGO_RECOVERY_CACHE))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "auto_cache_recover of %s \"%V\" needs "
                           "\"force_recovery on; force_recovery_mode cache;\" "
                           "beside it", where, name);
        return NGX_ERROR;
    }

    conf_check_use(cf, where, name, options, size);

    return NGX_OK;
}


/*
 * What is not wrong, but changes nothing.  Who may read the history may also
 * ask for a position; tokens may give one where no option does.
 */

static void
conf_check_use(ngx_conf_t *cf, const char *where, ngx_str_t *name,
    ngx_centrifugo_channel_options_t *options, ngx_uint_t history)
{
    ngx_flag_t   cache, recovery, position;
    const char  *write;

    recovery = options->force_recovery == 1 || options->allow_recovery == 1
               || options->allow_history_for_client == 1
               || options->allow_history_for_subscriber == 1;
    position = recovery || options->force_positioning == 1
               || options->allow_positioning == 1;
    cache = (options->recover == NGX_CENTRIFUGO_RECOVERY_CACHE);

    if (!history) {
        write = "\"history_size 100; history_ttl 10m;\"";

        conf_no_use(cf, where, name,
                    options->history_meta_ttl != NGX_CONF_UNSET_MSEC,
                    "history_meta_ttl", write);
        conf_no_use(cf, where, name, options->force_positioning,
                    "force_positioning", write);
        conf_no_use(cf, where, name, options->allow_positioning,
                    "allow_positioning", write);
        conf_no_use(cf, where, name, options->allow_recovery,
                    "allow_recovery", write);
        conf_no_use(cf, where, name, cache, "force_recovery_mode", write);
        conf_no_use(cf, where, name, options->delta_fossil,
                    "allowed_delta_types", write);
        conf_no_use(cf, where, name, options->delta_publish, "delta_publish",
                    write);
        conf_no_use(cf, where, name, options->allow_history_for_client,
                    "allow_history_for_client", write);
        conf_no_use(cf, where, name, options->allow_history_for_subscriber,
                    "allow_history_for_subscriber", write);

        return;
    }

    conf_no_use(cf, where, name, cache && !recovery, "force_recovery_mode",
                "\"force_recovery on;\"");
    conf_no_use(cf, where, name, options->delta_fossil == 1 && !position,
                "allowed_delta_types", "\"allow_positioning on;\"");
    conf_no_use(cf, where, name,
                options->delta_publish == 1 && options->delta_fossil != 1,
                "delta_publish", "\"allowed_delta_types fossil;\"");
}


static void
conf_no_use(ngx_conf_t *cf, const char *where, ngx_str_t *name,
    ngx_flag_t on, const char *option, const char *write)
{
    if (on == 1) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "%s of %s \"%V\" changes nothing by itself: write "
                           "%s beside it, or leave it out", option, where,
                           name, write);
    }
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    ngx_str_t                    name;
    ngx_uint_t                   i;
    ngx_centrifugo_namespace_t  *ns;

    ngx_centrifugo_channel_namespace(&hcf->syntax, channel, &name);

    if (name.len == 0) {
        return hcf->options;
    }

    ns = hcf->namespaces.elts;

    for (i = 0; i < hcf->namespaces.nelts; i++) {
        if (ns[i].name.len == name.len
            && ngx_memcmp(ns[i].name.data, name.data, name.len) == 0)
        {
            return ns[i].options;
        }
    }

    return NULL;
}
