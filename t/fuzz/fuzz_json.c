/*
 * The JSON reader takes what yajl takes, and nothing else; what it takes lies
 * inside the input, and decoded strings are UTF-8.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <yajl/yajl_parse.h>
#include "protocol/ngx_centrifugo_json.h"
#include "protocol/ngx_centrifugo_utf8.h"


static ngx_uint_t  depth, deepest, values, last;


static int
scalar(void)
{
    values += (depth == 1);
    return 1;
}


static int
null(void *ctx)
{
    return scalar();
}


static int
boolean(void *ctx, int value)
{
    return scalar();
}


static int
text(void *ctx, const unsigned char *s, size_t len)
{
    return scalar();
}


static int
number(void *ctx, const char *s, size_t len)
{
    return scalar();
}


static int
down(void *ctx)
{
    (void) scalar();

    if (++depth > deepest) {
        deepest = depth;
    }

    return 1;
}


static int
up(void *ctx)
{
    /* the array around it ends with the input, not before */

    return --depth > 0 || last;
}


/*
 * yajl takes more than JSON for UTF-8 and white space, which is looked at
 * before, and passes over a token that is not whole at the end: so there is an
 * array around the value.
 */

static ngx_int_t
reference(u_char *data, size_t len)
{
    int                      ok;
    yajl_handle              h;
    static yajl_callbacks    calls = {
        null, boolean, NULL, NULL, number, text, down, NULL, up, down, up
    };

    if (ngx_centrifugo_utf8_validate(data, len) != NGX_OK
        || memchr(data, '\v', len) || memchr(data, '\f', len))
    {
        return NGX_ERROR;
    }

    depth = 0;
    deepest = 0;
    values = 0;
    last = 0;
    h = yajl_alloc(&calls, NULL, NULL);
    yajl_config(h, yajl_dont_validate_strings, 1);

    ok = yajl_parse(h, (u_char *) "[", 1) == yajl_status_ok
         && yajl_parse(h, data, len) == yajl_status_ok
         && (last = 1)
         && yajl_parse(h, (u_char *) "]", 1) == yajl_status_ok
         && yajl_complete_parse(h) == yajl_status_ok
         && values == 1;

    yajl_free(h);

    return (ok && deepest <= NGX_CENTRIFUGO_JSON_MAX_DEPTH + 1) ? NGX_OK
                                                                : NGX_ERROR;
}


static int
is_utf8(ngx_str_t *s)
{
    return s->len == 0
           || ngx_centrifugo_utf8_validate(s->data, s->len) == NGX_OK;
}


static void
look(ngx_centrifugo_json_t *value, u_char *data, size_t len)
{
    for ( /* void */ ; value; value = value->next) {

        if (value->raw.len == 0 || value->raw.data < data
            || value->raw.data + value->raw.len > data + len
            || !is_utf8(&value->str) || !is_utf8(&value->key)
            || reference(value->raw.data, value->raw.len) != NGX_OK)
        {
            abort();
        }

        look(value->child, data, len);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                  *in;
    ngx_int_t                rc;
    ngx_centrifugo_json_t   *root;
    ngx_centrifugo_arena_t   arena;

    in = malloc(size ? size : 1);
    memcpy(in, data, size);
    ngx_centrifugo_arena_init(&arena, 1024);

    rc = reference(in, size);

    if (ngx_centrifugo_json_parse(&arena, in, size, 0, &root) != rc
        || ngx_centrifugo_json_validate(&arena, in, size) != rc)
    {
        abort();
    }

    look(root, in, size);

    /* each of many is one */

    if (ngx_centrifugo_json_parse(&arena, in, size, 1, &root) == NGX_OK) {
        look(root, in, size);

    } else if (rc == NGX_OK) {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
