/*
 * Packed tags: of each tag the lengths of its key and its value, then both.  A
 * length is one byte; from TAGS_LONG on that byte, and four more.
 */

#include "ngx_centrifugo_tags.h"


#define TAGS_LONG  255


static ngx_int_t tags_sort(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_tag_t *tags, ngx_uint_t n);
static ngx_int_t tags_compare(const ngx_str_t *one, const ngx_str_t *two);
static size_t tags_size(const ngx_str_t *s);
static u_char *tags_put_len(u_char *p, size_t len);
static u_char *tags_put(u_char *p, const ngx_str_t *s);
static ngx_int_t tags_len(ngx_str_t *packed, size_t *len);
static ngx_int_t tags_take(ngx_str_t *packed, size_t len, ngx_str_t *s);


ngx_int_t
ngx_centrifugo_tags_pack(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_tag_t *tags, ngx_uint_t n, ngx_str_t *packed)
{
    size_t       size;
    u_char      *p;
    ngx_uint_t   i, last;

    ngx_str_null(packed);

    if (n == 0) {
        return NGX_OK;
    }

    if (tags_sort(arena, tags, n) != NGX_OK) {
        return NGX_ERROR;
    }

    size = 0;
    last = 0;

    for (i = 0; i < n; i++) {

        if (i + 1 < n && tags_compare(&tags[i].key, &tags[i + 1].key) == 0) {
            continue;
        }

        size += tags_size(&tags[i].key) + tags_size(&tags[i].value);
        tags[last++] = tags[i];
    }

    p = ngx_centrifugo_arena_alloc(arena, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    packed->data = p;
    packed->len = size;

    for (i = 0; i < last; i++) {
        p = tags_put_len(p, tags[i].key.len);
        p = tags_put_len(p, tags[i].value.len);
        p = tags_put(p, &tags[i].key);
        p = tags_put(p, &tags[i].value);
    }

    return NGX_OK;
}


/*
 * By merging: equal keys keep their order, and a peer can't make it slow.
 */

static ngx_int_t
tags_sort(ngx_centrifugo_arena_t *arena, ngx_centrifugo_tag_t *tags,
    ngx_uint_t n)
{
    ngx_uint_t             width, i, j, k, middle, end;
    ngx_centrifugo_tag_t  *from, *to, *other;

    if (n > NGX_MAX_SIZE_T_VALUE / 4 / sizeof(ngx_centrifugo_tag_t)) {
        return NGX_ERROR;
    }

    other = ngx_centrifugo_arena_alloc(arena,
                                       n * sizeof(ngx_centrifugo_tag_t));
    if (other == NULL) {
        return NGX_ERROR;
    }

    from = tags;
    to = other;

    for (width = 1; width < n; width *= 2) {

        for (k = 0; k < n; /* void */ ) {
            i = k;
            middle = ngx_min(i + width, n);
            j = middle;
            end = ngx_min(middle + width, n);

            while (k < end) {

                if (j == end || (i < middle
                                 && tags_compare(&from[i].key,
                                                 &from[j].key) <= 0))
                {
                    to[k++] = from[i++];

                } else {
                    to[k++] = from[j++];
                }
            }
        }

        other = from;
        from = to;
        to = other;
    }

    if (from != tags) {
        ngx_memcpy(tags, from, n * sizeof(ngx_centrifugo_tag_t));
    }

    return NGX_OK;
}


static ngx_int_t
tags_compare(const ngx_str_t *one, const ngx_str_t *two)
{
    size_t     len;
    ngx_int_t  rc;

    len = ngx_min(one->len, two->len);

    /* an absent string has no address that memcmp() may see */

    rc = len ? ngx_memcmp(one->data, two->data, len) : 0;

    if (rc) {
        return rc;
    }

    return (one->len > two->len) - (one->len < two->len);
}


static size_t
tags_size(const ngx_str_t *s)
{
    return s->len + (s->len < TAGS_LONG ? 1 : 1 + sizeof(uint32_t));
}


static u_char *
tags_put_len(u_char *p, size_t len)
{
    uint32_t  n;

    if (len < TAGS_LONG) {
        *p++ = (u_char) len;
        return p;
    }

    n = (uint32_t) len;

    *p++ = TAGS_LONG;

    return ngx_cpymem(p, &n, sizeof(uint32_t));
}


static u_char *
tags_put(u_char *p, const ngx_str_t *s)
{
    return s->len ? ngx_cpymem(p, s->data, s->len) : p;
}


ngx_int_t
ngx_centrifugo_tags_next(ngx_str_t *packed, ngx_centrifugo_tag_t *tag)
{
    size_t  key, value;

    if (tags_len(packed, &key) != NGX_OK
        || tags_len(packed, &value) != NGX_OK
        || tags_take(packed, key, &tag->key) != NGX_OK
        || tags_take(packed, value, &tag->value) != NGX_OK)
    {
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
tags_len(ngx_str_t *packed, size_t *len)
{
    uint32_t   n;
    ngx_str_t  bytes;

    if (tags_take(packed, 1, &bytes) != NGX_OK) {
        return NGX_ERROR;
    }

    *len = bytes.data[0];

    if (*len == TAGS_LONG) {

        if (tags_take(packed, sizeof(uint32_t), &bytes) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_memcpy(&n, bytes.data, sizeof(uint32_t));
        *len = n;
    }

    return NGX_OK;
}


static ngx_int_t
tags_take(ngx_str_t *packed, size_t len, ngx_str_t *s)
{
    if (packed->len < len) {
        return NGX_ERROR;
    }

    s->data = packed->data;
    s->len = len;

    packed->data += len;
    packed->len -= len;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_tags_find(const ngx_str_t *packed, const ngx_str_t *key,
    ngx_str_t *value)
{
    ngx_int_t             rc;
    ngx_str_t             rest;
    ngx_centrifugo_tag_t  tag;

    rest = *packed;

    while (ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK) {

        rc = tags_compare(&tag.key, key);

        if (rc == 0) {
            *value = tag.value;
            return NGX_OK;
        }

        if (rc > 0) {
            break;
        }
    }

    return NGX_DECLINED;
}
