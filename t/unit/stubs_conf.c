/*
 * What reading a configuration uses of NGINX: a pool, messages that are kept,
 * expressions by PCRE2, names of files.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <stdio.h>

#include "stubs_conf.h"


typedef struct stub_block_s  stub_block_t;

struct stub_block_s {
    stub_block_t  *next;
    u_char         bytes[];
};

char        stub_message[1024];
ngx_uint_t  stub_level;
ngx_uint_t  stub_messages;

/* a test with an event loop has its own */

volatile ngx_cycle_t  *ngx_cycle __attribute__((weak));

__attribute__((weak))
ngx_queue_t  ngx_posted_next_events = {
    &ngx_posted_next_events, &ngx_posted_next_events
};

__attribute__((weak)) void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    stub_messages++;
}


void
stub_pool_init(ngx_pool_t *pool)
{
    memset(pool, 0, sizeof(ngx_pool_t));
}


void
stub_pool_free(ngx_pool_t *pool)
{
    stub_block_t        *block, *next;
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        cln->handler(cln->data);
    }

    for (block = (stub_block_t *) pool->large; block; block = next) {
        next = block->next;
        free(block);
    }

    stub_pool_init(pool);
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    stub_block_t  *block;

    block = malloc(sizeof(stub_block_t) + size);
    if (block == NULL) {
        return NULL;
    }

    block->next = (stub_block_t *) pool->large;
    pool->large = (ngx_pool_large_t *) block;

    return block->bytes;
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    return ngx_pnalloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_pnalloc(pool, size);

    return p ? memset(p, 0, size) : NULL;
}


ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pcalloc(pool, sizeof(ngx_pool_cleanup_t));
    if (cln) {
        cln->next = pool->cleanup;
        pool->cleanup = cln;
    }

    return cln;
}


void ngx_cdecl
ngx_conf_log_error(ngx_uint_t level, ngx_conf_t *cf, ngx_err_t err,
    const char *fmt, ...)
{
    int         n;
    char       *p, *end;
    va_list     args;
    ngx_str_t  *s;

    p = stub_message;
    end = p + sizeof(stub_message) - 1;
    stub_level = level;
    stub_messages++;

    va_start(args, fmt);

    for ( /* void */ ; *fmt && p < end; fmt++) {

        if (*fmt != '%') {
            *p++ = *fmt;
            continue;
        }

        switch (*++fmt) {

        case 'V':
            s = va_arg(args, ngx_str_t *);
            n = snprintf(p, end - p, "%.*s", (int) s->len, s->data);
            break;

        case 's':
            n = snprintf(p, end - p, "%s", va_arg(args, char *));
            break;

        default:
            n = snprintf(p, end - p, "%d", va_arg(args, int));
        }

        p += ngx_min(n, end - p);
    }

    va_end(args);
    *p = '\0';
}


ngx_int_t
ngx_conf_full_name(ngx_cycle_t *cycle, ngx_str_t *name, ngx_uint_t conf_prefix)
{
    static u_char  path[NGX_MAX_PATH];

    if (name->data[0] != '/') {
        name->len = snprintf((char *) path, sizeof(path), "%s/%.*s",
                             stub_prefix, (int) name->len, name->data);
        name->data = path;
    }

    return NGX_OK;
}

const char  *stub_prefix = "/nonexistent";


static void *
regex_malloc(size_t size, void *pool)
{
    return ngx_pnalloc(pool, size);
}


static void
regex_free(void *p, void *pool)
{
    /* with the pool */
}


ngx_int_t
ngx_regex_compile(ngx_regex_compile_t *rc)
{
    int                     error;
    uint32_t                n;
    PCRE2_SIZE              at;
    pcre2_general_context  *general;
    pcre2_compile_context  *ctx;

    general = pcre2_general_context_create(regex_malloc, regex_free, rc->pool);
    ctx = pcre2_compile_context_create(general);
    rc->regex = pcre2_compile(rc->pattern.data, rc->pattern.len, 0, &error,
                              &at, ctx);

    if (rc->regex == NULL) {
        rc->err.len = snprintf((char *) rc->err.data, rc->err.len,
                               "error %d at %d", error, (int) at);
        return NGX_ERROR;
    }

    pcre2_pattern_info(rc->regex, PCRE2_INFO_CAPTURECOUNT, &n);
    rc->captures = n;
    pcre2_pattern_info(rc->regex, PCRE2_INFO_NAMECOUNT, &n);
    rc->named_captures = n;

    if (n) {
        pcre2_pattern_info(rc->regex, PCRE2_INFO_NAMEENTRYSIZE, &n);
        rc->name_size = n;
        pcre2_pattern_info(rc->regex, PCRE2_INFO_NAMETABLE, &rc->names);
    }

    return NGX_OK;
}


ngx_int_t
ngx_regex_exec(ngx_regex_t *re, ngx_str_t *s, int *captures, ngx_uint_t size)
{
    int                rc;
    size_t            *ov;
    ngx_uint_t         i, n;
    pcre2_match_data  *data;

    data = pcre2_match_data_create(size / 3, NULL);
    rc = pcre2_match(re, s->data, s->len, 0, 0, data, NULL);

    if (rc >= 0) {
        n = pcre2_get_ovector_count(data);
        ov = pcre2_get_ovector_pointer(data);

        for (i = 0; i < n; i++) {
            captures[i * 2] = ov[i * 2];
            captures[i * 2 + 1] = ov[i * 2 + 1];
        }
    }

    pcre2_match_data_free(data);

    return rc;
}


uintptr_t
ngx_escape_uri(u_char *dst, u_char *src, size_t size, ngx_uint_t type)
{
    for ( /* void */ ; size; size--, src++) {

        if ((*src >= '0' && *src <= '9')
            || ((*src | 0x20) >= 'a' && (*src | 0x20) <= 'z')
            || (*src && strchr("-._~", *src)))
        {
            *dst++ = *src;

        } else {
            dst += sprintf((char *) dst, "%%%02X", *src);
        }
    }

    return (uintptr_t) dst;
}


u_char *
ngx_strnstr(u_char *s1, char *s2, size_t len)
{
    return memmem(s1, len, s2, strlen(s2));
}


ngx_int_t
ngx_hextoi(u_char *line, size_t n)
{
    char  text[9] = "", *end;
    long  value;

    memcpy(text, line, n);
    value = strtol(text, &end, 16);

    return (n && n < 9 && end == text + n && text[0] != '-' && text[0] != '+'
            && text[0] > ' ')
           ? value : NGX_ERROR;
}
