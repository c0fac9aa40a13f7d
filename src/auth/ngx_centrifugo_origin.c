#include "ngx_centrifugo_auth.h"


static ngx_uint_t origin_match(const ngx_str_t *pattern,
    const ngx_str_t *origin);


ngx_int_t
ngx_centrifugo_origin_check(const ngx_array_t *patterns,
    const ngx_str_t *origin)
{
    ngx_str_t   *pattern;
    ngx_uint_t   i;

    if (origin == NULL) {
        return NGX_OK;
    }

    if (patterns == NULL) {
        return NGX_DECLINED;
    }

    pattern = patterns->elts;

    for (i = 0; i < patterns->nelts; i++) {
        if (origin_match(&pattern[i], origin)) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/*
 * A star stands for any characters.  On a mismatch only the last star is
 * stretched, which is enough, so the work is bounded by the product of both
 * lengths.
 */

static ngx_uint_t
origin_match(const ngx_str_t *pattern, const ngx_str_t *origin)
{
    size_t  p, o, star, retry;

    p = 0;
    o = 0;
    star = pattern->len;
    retry = 0;

    while (o < origin->len) {

        if (p < pattern->len && pattern->data[p] == '*') {
            star = p++;
            retry = o;
            continue;
        }

        if (p < pattern->len
            && pattern->data[p] == ngx_tolower(origin->data[o]))
        {
            p++;
            o++;
            continue;
        }

        if (star == pattern->len) {
            return 0;
        }

        p = star + 1;
        o = ++retry;
    }

    while (p < pattern->len && pattern->data[p] == '*') {
        p++;
    }

    return p == pattern->len;
}
