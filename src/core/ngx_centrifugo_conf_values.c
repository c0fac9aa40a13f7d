/*
 * Directives with one value: how it is read, and what is said when it is
 * wrong.
 */

#include "ngx_centrifugo_conf.h"


/* names are UTF-8: a dot is a character, not a byte */

#define CONF_MATCH_LIMIT  "(*LIMIT_MATCH=10000)(*UTF)"


char *
ngx_centrifugo_conf_bad_value(ngx_conf_t *cf, ngx_command_t *cmd,
    const char *hint)
{
    ngx_str_t  *value;

    value = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" of \"%V\": write %s",
                       &value[1], &cmd->name, hint);

    return NGX_CONF_ERROR;
}


char *
ngx_centrifugo_conf_flag(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_flag_t  *field;

    field = (ngx_flag_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    if (ngx_strcasecmp(value[1].data, (u_char *) "on") == 0) {
        *field = 1;

    } else if (ngx_strcasecmp(value[1].data, (u_char *) "off") == 0) {
        *field = 0;

    } else {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "\"on\" or \"off\"");
    }

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_time(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                *value;
    ngx_int_t                 n;
    ngx_msec_t               *field;
    ngx_centrifugo_bounds_t  *bounds;

    field = (ngx_msec_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_MSEC) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;
    bounds = cmd->post;

    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || (ngx_uint_t) n < bounds->min
        || (ngx_uint_t) n > bounds->max
        || (bounds->step && (ngx_msec_t) n % bounds->step))
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd, bounds->hint);
    }

    *field = (ngx_msec_t) n;

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t                   *field;
    ssize_t                   n;
    ngx_str_t                *value;
    ngx_centrifugo_bounds_t  *bounds;

    field = (size_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_SIZE) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;
    bounds = cmd->post;

    n = ngx_parse_size(&value[1]);

    if (n == NGX_ERROR || (size_t) n < bounds->min
        || (size_t) n > bounds->max)
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd, bounds->hint);
    }

    *field = n;

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_number(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                *value;
    ngx_int_t                 n;
    ngx_uint_t               *field;
    ngx_centrifugo_bounds_t  *bounds;

    field = (ngx_uint_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;
    bounds = cmd->post;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || (ngx_uint_t) n < bounds->min
        || (ngx_uint_t) n > bounds->max)
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd, bounds->hint);
    }

    *field = n;

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_string(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t  *field, *value;

    field = (ngx_str_t *) ((u_char *) conf + cmd->offset);

    if (field->data) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "empty value of \"%V\": write %s, or leave the "
                           "directive out", &cmd->name,
                           (const char *) cmd->post);
        return NGX_CONF_ERROR;
    }

    *field = value[1];

    return NGX_CONF_OK;
}


/*
 * A point of time in unix seconds.
 */

char *
ngx_centrifugo_conf_seconds(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    time_t      t, *field;
    ngx_str_t  *value;

    field = (time_t *) ((u_char *) conf + cmd->offset);

    if (*field) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;
    t = ngx_atotm(value[1].data, value[1].len);

    if (t == (time_t) NGX_ERROR) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "a time in unix "
                                             "seconds, such as 1999999999, or "
                                             "0 for ever");
    }

    *field = t;

    return NGX_CONF_OK;
}


char *
ngx_centrifugo_conf_choice(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                *value;
    ngx_uint_t                i, *field;
    ngx_centrifugo_choice_t  *choice;

    field = (ngx_uint_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;
    choice = cmd->post;

    for (i = 0; choice->words[i].data; i++) {
        if (choice->words[i].len == value[1].len
            && ngx_strncmp(choice->words[i].data, value[1].data, value[1].len)
               == 0)
        {
            *field = i;
            return NGX_CONF_OK;
        }
    }

    return ngx_centrifugo_conf_bad_value(cf, cmd, choice->hint);
}


/* a list of which there is one element by now */

char *
ngx_centrifugo_conf_deltas(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_flag_t  *field;

    field = (ngx_flag_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    if (value[1].len != 6 || ngx_strncmp(value[1].data, "fossil", 6) != 0) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "\"fossil\"");
    }

    *field = 1;

    return NGX_CONF_OK;
}


/*
 * A regular expression for names of channels; clients choose what it is
 * matched with, so the work is bounded.
 */

char *
ngx_centrifugo_conf_regex(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_centrifugo_channel_options_t  *options = conf;

#if (NGX_PCRE)

    u_char                errstr[NGX_MAX_CONF_ERRSTR], *p;
    ngx_str_t            *value;
    ngx_regex_compile_t   rc;

    if (options->regex) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "a regular expression "
                                             "such as \"^[a-z0-9]+$\"");
    }

    p = ngx_pnalloc(cf->pool, sizeof(CONF_MATCH_LIMIT) + value[1].len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = p;
    rc.pattern.len = ngx_sprintf(p, CONF_MATCH_LIMIT "%V%Z", &value[1]) - p
                     - 1;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "bad expression in \"%V\": %V", &cmd->name,
                           &rc.err);
        return NGX_CONF_ERROR;
    }

    options->regex = rc.regex;
    options->channel_regex = value[1];

    return NGX_CONF_OK;

#else

    (void) options;

    return "needs an NGINX that is built with PCRE";

#endif
}


/*
 * A byte that has a meaning in names of channels; "" is none.
 */

char *
ngx_centrifugo_conf_mark(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_uint_t  *field;

    field = (ngx_uint_t *) ((u_char *) conf + cmd->offset);

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    if (value[1].len > 1
        || (value[1].len && (value[1].data[0] < 0x21
                             || value[1].data[0] > 0x7e)))
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd, "one visible ASCII "
                                             "character, or \"\" for none");
    }

    *field = value[1].len ? value[1].data[0] : 0;

    return NGX_CONF_OK;
}


/*
 * A value with variables.  That of connection_info is exactly one: JSON that
 * is put together of several could be broken by what is in them.
 */

char *
ngx_centrifugo_conf_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t                              i;
    ngx_str_t                          *value;
    ngx_http_complex_value_t          **field;
    ngx_http_compile_complex_value_t    ccv;

    field = (ngx_http_complex_value_t **) ((u_char *) conf + cmd->offset);

    if (*field) {
        return "is duplicate: write it once";
    }

    value = cf->args->elts;

    for (i = 1; i < value[1].len; i++) {
        if (cmd->post == NULL
            || !((value[1].data[i] >= 'a' && value[1].data[i] <= 'z')
                 || (value[1].data[i] >= 'A' && value[1].data[i] <= 'Z')
                 || (value[1].data[i] >= '0' && value[1].data[i] <= '9')
                 || value[1].data[i] == '_'))
        {
            break;
        }
    }

    if (value[1].len < 2
        || (cmd->post && (i < value[1].len || value[1].data[0] != '$')))
    {
        return ngx_centrifugo_conf_bad_value(cf, cmd,
                              cmd->post ? (const char *) cmd->post
                                        : "a variable such as $remote_user");
    }

    *field = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*field == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = *field;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
