#include "ngx_centrifugo_json.h"
#include "ngx_centrifugo_utf8.h"

#include <setjmp.h>
#include <yajl/yajl_parse.h>


#define JSON_NUMBER_MAX  32         /* bytes of an integer, with room */


/* a map or array that is open */
typedef struct json_level_s  json_level_t;

struct json_level_s {
    json_level_t             *up;
    ngx_centrifugo_json_t    *node;
    ngx_centrifugo_json_t   **last;         /* where the next child goes */
};

typedef struct {
    ngx_centrifugo_arena_t   *arena;
    yajl_handle               yajl;
    u_char                   *data;
    size_t                    len;
    size_t                    end;          /* of the token before */
    ngx_uint_t                depth;
    ngx_uint_t                raw;          /* depth of a raw value, or 0 */
    unsigned                  next_raw:1;   /* the key was of a raw value */
    unsigned                  store:1;      /* else: validate only */
    unsigned                  finish:1;     /* all input was parsed */
    ngx_str_t                 key;
    json_level_t             *level;
    json_level_t              top;
    ngx_centrifugo_json_t    *root;
    ngx_centrifugo_json_t    *raw_node;
    jmp_buf                   nomem;
} json_parser_t;


static ngx_int_t json_run(json_parser_t *p, ngx_uint_t many);
static void *json_malloc(void *ctx, size_t size);
static void *json_realloc(void *ctx, void *old, size_t size);
static void json_free(void *ctx, void *ptr);
static size_t json_start(json_parser_t *p);
static size_t json_end(json_parser_t *p);
static ngx_centrifugo_json_t *json_add(json_parser_t *p,
    ngx_centrifugo_json_type_e type, size_t start, size_t end);
static int json_scalar(json_parser_t *p, ngx_centrifugo_json_type_e type,
    ngx_str_t *str);
static int json_open(json_parser_t *p, ngx_centrifugo_json_type_e type);
static int json_close(json_parser_t *p);
static int json_null(void *ctx);
static int json_boolean(void *ctx, int value);
static int json_number(void *ctx, const char *s, size_t len);
static int json_string(void *ctx, const u_char *s, size_t len);
static int json_start_map(void *ctx);
static int json_map_key(void *ctx, const u_char *s, size_t len);
static int json_end_map(void *ctx);
static int json_start_array(void *ctx);
static int json_end_array(void *ctx);
static void json_copy(json_parser_t *p, const u_char *s, size_t len,
    ngx_str_t *str);
static ngx_int_t json_digits(ngx_centrifugo_json_t *value, ngx_uint_t *minus,
    uint64_t *n);


static yajl_callbacks  json_callbacks = {
    json_null,
    json_boolean,
    NULL,
    NULL,
    json_number,
    json_string,
    json_start_map,
    json_map_key,
    json_end_map,
    json_start_array,
    json_end_array
};


ngx_int_t
ngx_centrifugo_json_parse(ngx_centrifugo_arena_t *arena, u_char *data,
    size_t len, ngx_uint_t many, ngx_centrifugo_json_t **root)
{
    size_t         i;
    ngx_int_t      rc;
    json_parser_t  p;

    *root = NULL;

    if (many) {
        for (i = 0; i < len; i++) {
            if (data[i] != ' ' && data[i] != '\t' && data[i] != '\n'
                && data[i] != '\r')
            {
                break;
            }
        }

        if (i == len) {
            return NGX_OK;
        }
    }

    ngx_memzero(&p, offsetof(json_parser_t, nomem));
    p.arena = arena;
    p.data = data;
    p.len = len;
    p.store = 1;

    rc = json_run(&p, many);

    if (rc == NGX_OK) {
        *root = p.root;
    }

    return rc;
}


ngx_int_t
ngx_centrifugo_json_validate(ngx_centrifugo_arena_t *arena, u_char *data,
    size_t len)
{
    json_parser_t  p;

    ngx_memzero(&p, offsetof(json_parser_t, nomem));
    p.arena = arena;
    p.data = data;
    p.len = len;

    return json_run(&p, 0);
}


static ngx_int_t
json_run(json_parser_t *p, ngx_uint_t many)
{
    yajl_alloc_funcs  alloc;

    /*
     * yajl takes surrogates and overlong forms for UTF-8, and \v and \f for
     * white space; in strings it refuses them as control characters.
     */

    if (p->len == 0
        || ngx_centrifugo_utf8_validate(p->data, p->len) != NGX_OK
        || memchr(p->data, '\v', p->len) != NULL
        || memchr(p->data, '\f', p->len) != NULL)
    {
        return NGX_ERROR;
    }

    p->top.last = &p->root;
    p->level = &p->top;

    alloc.malloc = json_malloc;
    alloc.realloc = json_realloc;
    alloc.free = json_free;
    alloc.ctx = p;

    /* yajl does not look whether it got the memory it asked for */

    if (setjmp(p->nomem)) {
        return NGX_ABORT;
    }

    p->yajl = yajl_alloc(&json_callbacks, &alloc, p);

    (void) yajl_config(p->yajl, yajl_dont_validate_strings, 1);

    if (many) {
        (void) yajl_config(p->yajl, yajl_allow_multiple_values, 1);
    }

    if (yajl_parse(p->yajl, p->data, p->len) != yajl_status_ok) {
        return NGX_ERROR;
    }

    p->finish = 1;

    if (yajl_complete_parse(p->yajl) != yajl_status_ok) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Pieces for yajl; the size stands in front of each, for realloc.
 */

static void *
json_malloc(void *ctx, size_t size)
{
    json_parser_t *p = ctx;

    u_char  *mem;

    mem = ngx_centrifugo_arena_alloc(p->arena, size + 16);
    if (mem == NULL) {
        longjmp(p->nomem, 1);
    }

    ngx_memcpy(mem, &size, sizeof(size_t));

    return mem + 16;
}


static void *
json_realloc(void *ctx, void *old, size_t size)
{
    void    *mem;
    size_t   len;

    mem = json_malloc(ctx, size);

    if (old) {
        ngx_memcpy(&len, (u_char *) old - 16, sizeof(size_t));
        ngx_memcpy(mem, old, ngx_min(len, size));
    }

    return mem;
}


static void
json_free(void *ctx, void *ptr)
{
    /* the arena is freed whole */
}


/*
 * Where the token in hand begins: behind the one before it and what may stand
 * between two tokens.
 */

static size_t
json_start(json_parser_t *p)
{
    size_t  i;

    for (i = p->end; i < p->len; i++) {
        switch (p->data[i]) {
        case ' ':
        case '\t':
        case '\n':
        case '\r':
        case ':':
        case ',':
            continue;
        }

        break;
    }

    return i;
}


static size_t
json_end(json_parser_t *p)
{
    /* a number that ends the input is known only after all of it */

    p->end = p->finish ? p->len : yajl_get_bytes_consumed(p->yajl);

    return p->end;
}


static ngx_centrifugo_json_t *
json_add(json_parser_t *p, ngx_centrifugo_json_type_e type, size_t start,
    size_t end)
{
    ngx_centrifugo_json_t  *node;

    node = ngx_centrifugo_arena_alloc(p->arena, sizeof(ngx_centrifugo_json_t));
    if (node == NULL) {
        longjmp(p->nomem, 1);
    }

    ngx_memzero(node, sizeof(ngx_centrifugo_json_t));

    node->type = type;
    node->key = p->key;
    node->raw.data = p->data + start;
    node->raw.len = end - start;

    *p->level->last = node;
    p->level->last = &node->next;

    ngx_str_null(&p->key);

    return node;
}


static int
json_scalar(json_parser_t *p, ngx_centrifugo_json_type_e type, ngx_str_t *str)
{
    size_t                  start, end;
    ngx_centrifugo_json_t  *node;

    start = json_start(p);
    end = json_end(p);

    if (p->raw || !p->store) {
        return 1;
    }

    p->next_raw = 0;
    node = json_add(p, type, start, end);

    if (type == NGX_CENTRIFUGO_JSON_NUMBER && p->finish) {

        /* white space may follow it */

        while (node->raw.len && node->raw.data[node->raw.len - 1] <= ' ') {
            node->raw.len--;
        }
    }

    if (str) {
        json_copy(p, str->data, str->len, &node->str);
    }

    return 1;
}


static int
json_open(json_parser_t *p, ngx_centrifugo_json_type_e type)
{
    size_t                  start, end;
    json_level_t           *level;
    ngx_centrifugo_json_t  *node;

    start = json_start(p);
    end = json_end(p);

    if (p->depth++ == NGX_CENTRIFUGO_JSON_MAX_DEPTH) {
        return 0;
    }

    if (p->raw || !p->store) {
        return 1;
    }

    node = json_add(p, type, start, end);

    if (p->next_raw) {
        p->next_raw = 0;
        p->raw = p->depth;
        p->raw_node = node;
        return 1;
    }

    level = ngx_centrifugo_arena_alloc(p->arena, sizeof(json_level_t));
    if (level == NULL) {
        longjmp(p->nomem, 1);
    }

    level->up = p->level;
    level->node = node;
    level->last = &node->child;
    p->level = level;

    return 1;
}


static int
json_close(json_parser_t *p)
{
    size_t                  end;
    ngx_centrifugo_json_t  *node;

    end = json_end(p);
    p->depth--;

    if (!p->store) {
        return 1;
    }

    if (p->raw) {

        if (p->raw != p->depth + 1) {
            return 1;
        }

        p->raw = 0;
        node = p->raw_node;

    } else {
        node = p->level->node;
        p->level = p->level->up;
    }

    node->raw.len = p->data + end - node->raw.data;

    return 1;
}


static int
json_null(void *ctx)
{
    return json_scalar(ctx, NGX_CENTRIFUGO_JSON_NULL, NULL);
}


static int
json_boolean(void *ctx, int value)
{
    return json_scalar(ctx, value ? NGX_CENTRIFUGO_JSON_TRUE
                                  : NGX_CENTRIFUGO_JSON_FALSE, NULL);
}


static int
json_number(void *ctx, const char *s, size_t len)
{
    return json_scalar(ctx, NGX_CENTRIFUGO_JSON_NUMBER, NULL);
}


static int
json_string(void *ctx, const u_char *s, size_t len)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = len;

    return json_scalar(ctx, NGX_CENTRIFUGO_JSON_STRING, &str);
}


static int
json_start_map(void *ctx)
{
    return json_open(ctx, NGX_CENTRIFUGO_JSON_MAP);
}


static int
json_map_key(void *ctx, const u_char *s, size_t len)
{
    json_parser_t *p = ctx;

    (void) json_end(p);

    if (p->raw || !p->store) {
        return 1;
    }

    json_copy(p, s, len, &p->key);

    p->next_raw = (len == 4 && (ngx_memcmp(s, "data", 4) == 0
                                || ngx_memcmp(s, "info", 4) == 0));

    return 1;
}


static int
json_end_map(void *ctx)
{
    return json_close(ctx);
}


static int
json_start_array(void *ctx)
{
    return json_open(ctx, NGX_CENTRIFUGO_JSON_ARRAY);
}


static int
json_end_array(void *ctx)
{
    return json_close(ctx);
}


/*
 * A string without escapes is part of the input; else yajl's buffer, which the
 * next string overwrites.
 */

static void
json_copy(json_parser_t *p, const u_char *s, size_t len, ngx_str_t *str)
{
    str->len = len;

    if (s >= p->data && s <= p->data + p->len) {
        str->data = (u_char *) s;
        return;
    }

    str->data = ngx_centrifugo_arena_alloc(p->arena, len + 1);
    if (str->data == NULL) {
        longjmp(p->nomem, 1);
    }

    if (len) {
        ngx_memcpy(str->data, s, len);
    }
}


ngx_centrifugo_json_t *
ngx_centrifugo_json_get(ngx_centrifugo_json_t *map, const char *name,
    size_t len)
{
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_find(map, name, len);

    return (value && value->type != NGX_CENTRIFUGO_JSON_NULL) ? value : NULL;
}


ngx_centrifugo_json_t *
ngx_centrifugo_json_find(ngx_centrifugo_json_t *map, const char *name,
    size_t len)
{
    ngx_centrifugo_json_t  *value, *found;

    found = NULL;

    for (value = map->child; value; value = value->next) {
        if (value->key.len == len
            && ngx_memcmp(value->key.data, name, len) == 0)
        {
            found = value;
        }
    }

    return found;
}


ngx_int_t
ngx_centrifugo_json_string(ngx_centrifugo_json_t *map, const char *name,
    size_t len, ngx_str_t *s)
{
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_STRING) {
        return NGX_ERROR;
    }

    *s = value->str;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_json_bool(ngx_centrifugo_json_t *map, const char *name,
    size_t len, ngx_uint_t *b)
{
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (value->type != NGX_CENTRIFUGO_JSON_TRUE
        && value->type != NGX_CENTRIFUGO_JSON_FALSE)
    {
        return NGX_ERROR;
    }

    *b = (value->type == NGX_CENTRIFUGO_JSON_TRUE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_json_uint(ngx_centrifugo_json_t *map, const char *name,
    size_t len, uint64_t max, uint64_t *n)
{
    uint64_t                u;
    ngx_uint_t              minus;
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (json_digits(value, &minus, &u) != NGX_OK || minus || u > max) {
        return NGX_ERROR;
    }

    *n = u;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_json_int(ngx_centrifugo_json_t *map, const char *name,
    size_t len, int64_t min, int64_t max, int64_t *n)
{
    int64_t                 i;
    uint64_t                u;
    ngx_uint_t              minus;
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (json_digits(value, &minus, &u) != NGX_OK
        || u > (uint64_t) INT64_MAX + minus)
    {
        return NGX_ERROR;
    }

    i = minus ? (int64_t) (0 - u) : (int64_t) u;

    if (i < min || i > max) {
        return NGX_ERROR;
    }

    *n = i;

    return NGX_OK;
}


/*
 * An integer in plain digits; what has a point or an exponent is none.
 */

static ngx_int_t
json_digits(ngx_centrifugo_json_t *value, ngx_uint_t *minus, uint64_t *n)
{
    u_char    *p, *end;
    uint64_t   u;

    if (value->type != NGX_CENTRIFUGO_JSON_NUMBER
        || value->raw.len > JSON_NUMBER_MAX)
    {
        return NGX_ERROR;
    }

    p = value->raw.data;
    end = p + value->raw.len;
    *minus = (*p == '-');
    p += *minus;
    u = 0;

    for ( /* void */ ; p < end; p++) {
        if (*p < '0' || *p > '9'
            || u > UINT64_MAX / 10
            || u * 10 > UINT64_MAX - (*p - '0'))
        {
            return NGX_ERROR;
        }

        u = u * 10 + (*p - '0');
    }

    *n = u;

    return NGX_OK;
}


void
ngx_centrifugo_json_append_string(ngx_centrifugo_buf_t *b, const ngx_str_t *s)
{
    u_char               *p, *end, *run, c;
    static const u_char   hex[] = "0123456789abcdef";

    if (s->len == 0) {
        ngx_centrifugo_buf_literal(b, "\"\"");
        return;
    }

    ngx_centrifugo_buf_byte(b, '"');

    p = s->data;
    end = p + s->len;
    run = p;

    for ( /* void */ ; p < end; p++) {

        if (*p >= 0x20 && *p != '"' && *p != '\\') {
            continue;
        }

        ngx_centrifugo_buf_append(b, run, p - run);
        run = p + 1;

        switch (*p) {
        case '"':  c = '"'; break;
        case '\\': c = '\\'; break;
        case '\b': c = 'b'; break;
        case '\f': c = 'f'; break;
        case '\n': c = 'n'; break;
        case '\r': c = 'r'; break;
        case '\t': c = 't'; break;
        default:   c = 'u';
        }

        ngx_centrifugo_buf_byte(b, '\\');
        ngx_centrifugo_buf_byte(b, c);

        if (c == 'u') {
            ngx_centrifugo_buf_literal(b, "00");
            ngx_centrifugo_buf_byte(b, hex[*p >> 4]);
            ngx_centrifugo_buf_byte(b, hex[*p & 0xf]);
        }
    }

    ngx_centrifugo_buf_append(b, run, p - run);
    ngx_centrifugo_buf_byte(b, '"');
}


void
ngx_centrifugo_json_append_raw(ngx_centrifugo_buf_t *b, const ngx_str_t *raw)
{
    u_char  *p, *end, *stop, *cr;

    p = raw->data;
    end = p + raw->len;

    while (p < end) {
        stop = memchr(p, '\n', end - p);

        if (stop == NULL) {
            stop = end;
        }

        cr = memchr(p, '\r', stop - p);

        if (cr) {
            stop = cr;
        }

        ngx_centrifugo_buf_append(b, p, stop - p);
        p = stop + 1;
    }
}
