#include "ngx_centrifugo_json.h"
#include "ngx_centrifugo_utf8.h"


#define JSON_NUMBER_MAX  32         /* bytes of an integer, with room */


/* a map or array that is open, and whose members are stored */
typedef struct json_level_s  json_level_t;

struct json_level_s {
    json_level_t             *up;
    ngx_centrifugo_json_t    *node;
    ngx_centrifugo_json_t   **last;         /* where the next child goes */
};

typedef struct {
    ngx_centrifugo_arena_t   *arena;
    u_char                   *pos;
    u_char                   *end;
    ngx_uint_t                depth;
    ngx_uint_t                raw;          /* depth of a raw value, or 0 */
    ngx_uint_t                nomem;
    unsigned                  next_raw:1;   /* the key was of a raw value */
    unsigned                  store:1;      /* else: validate only */
    ngx_str_t                 key;
    json_level_t             *level;
    json_level_t              top;
    ngx_centrifugo_json_t    *root;
    ngx_centrifugo_json_t    *raw_node;
    u_char                    maps[NGX_CENTRIFUGO_JSON_MAX_DEPTH / 8];
                                            /* what is open: a map or not */
} json_parser_t;


static ngx_int_t json_run(json_parser_t *p, ngx_uint_t many);
static ngx_int_t json_value(json_parser_t *p);
static ngx_int_t json_key(json_parser_t *p);
static ngx_int_t json_literal(json_parser_t *p, const char *text, size_t len,
    ngx_centrifugo_json_type_e type);
static ngx_int_t json_number(json_parser_t *p);
static ngx_int_t json_string(json_parser_t *p, ngx_str_t *text,
    ngx_uint_t *escaped);
static ngx_int_t json_escape(json_parser_t *p);
static ngx_int_t json_decode(json_parser_t *p, ngx_str_t *text,
    ngx_uint_t escaped, ngx_str_t *str);
static ngx_uint_t json_hex(u_char *p);
static ngx_centrifugo_json_t *json_add(json_parser_t *p,
    ngx_centrifugo_json_type_e type, u_char *start);
static ngx_int_t json_open(json_parser_t *p, ngx_centrifugo_json_type_e type);
static void json_close(json_parser_t *p);
static void json_append(ngx_centrifugo_buf_t *b, const ngx_str_t *s,
    ngx_uint_t text);
static ngx_int_t json_digits(ngx_centrifugo_json_t *value, ngx_uint_t *minus,
    uint64_t *n);


#define json_is_space(c)                                                     \
    ((c) == ' ' || (c) == '\n' || (c) == '\r' || (c) == '\t')
#define json_is_digit(c)  ((u_char) ((c) - '0') <= 9)

#define json_in_map(p)                                                       \
    ((p)->maps[((p)->depth - 1) / 8] & 1 << ((p)->depth - 1) % 8)


static ngx_inline void
json_space(json_parser_t *p)
{
    while (p->pos < p->end && json_is_space(*p->pos)) {
        p->pos++;
    }
}


ngx_int_t
ngx_centrifugo_json_parse(ngx_centrifugo_arena_t *arena, u_char *data,
    size_t len, ngx_uint_t many, ngx_centrifugo_json_t **root)
{
    ngx_int_t      rc;
    json_parser_t  p;

    ngx_memzero(&p, sizeof(json_parser_t));
    p.arena = arena;
    p.pos = data;
    p.end = data + len;
    p.store = 1;

    rc = json_run(&p, many);

    *root = (rc == NGX_OK) ? p.root : NULL;

    return rc;
}


ngx_int_t
ngx_centrifugo_json_validate(ngx_centrifugo_arena_t *arena, u_char *data,
    size_t len)
{
    json_parser_t  p;

    ngx_memzero(&p, sizeof(json_parser_t));
    p.arena = arena;
    p.pos = data;
    p.end = data + len;

    return json_run(&p, 0);
}


static ngx_int_t
json_run(json_parser_t *p, ngx_uint_t many)
{
    if (ngx_centrifugo_utf8_validate(p->pos, p->end - p->pos) != NGX_OK) {
        return NGX_ERROR;
    }

    p->top.last = &p->root;
    p->level = &p->top;

    json_space(p);

    if (many && p->pos == p->end) {
        return NGX_OK;
    }

    do {
        if (json_value(p) != NGX_OK) {
            return p->nomem ? NGX_ABORT : NGX_ERROR;
        }

        json_space(p);

    } while (many && p->pos < p->end);

    return (p->pos == p->end) ? NGX_OK : NGX_ERROR;
}


/*
 * One value with all that is in it; what is open is a stack of bits.
 */

static ngx_int_t
json_value(json_parser_t *p)
{
    u_char                 *start;
    ngx_int_t               rc;
    ngx_str_t               text;
    ngx_uint_t              escaped, empty;
    ngx_centrifugo_json_t  *node;

    for ( ;; ) {
        json_space(p);

        if (p->pos == p->end) {
            return NGX_ERROR;
        }

        empty = 0;
        rc = NGX_ERROR;

        switch (*p->pos) {

        case '{':
        case '[':
            rc = json_open(p, *p->pos == '{' ? NGX_CENTRIFUGO_JSON_MAP
                                             : NGX_CENTRIFUGO_JSON_ARRAY);
            if (rc != NGX_OK) {
                return rc;
            }

            json_space(p);

            if (p->pos < p->end
                && *p->pos == (json_in_map(p) ? '}' : ']'))
            {
                empty = 1;
                break;
            }

            if (json_in_map(p) && json_key(p) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;

        case '"':
            start = p->pos;
            rc = json_string(p, &text, &escaped);

            if (rc == NGX_OK && p->store && !p->raw) {
                node = json_add(p, NGX_CENTRIFUGO_JSON_STRING, start);

                if (node == NULL) {
                    return NGX_ERROR;
                }

                rc = json_decode(p, &text, escaped, &node->str);
            }

            break;

        case 't':
            rc = json_literal(p, "true", 4, NGX_CENTRIFUGO_JSON_TRUE);
            break;

        case 'f':
            rc = json_literal(p, "false", 5, NGX_CENTRIFUGO_JSON_FALSE);
            break;

        case 'n':
            rc = json_literal(p, "null", 4, NGX_CENTRIFUGO_JSON_NULL);
            break;

        default:
            rc = json_number(p);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        /* behind a value: the next one, or the end of what is open */

        for ( ;; ) {

            if (!empty) {

                if (p->depth == 0) {
                    return NGX_OK;
                }

                json_space(p);

                if (p->pos == p->end) {
                    return NGX_ERROR;
                }

                if (*p->pos == ',') {
                    p->pos++;

                    if (json_in_map(p) && json_key(p) != NGX_OK) {
                        return NGX_ERROR;
                    }

                    break;
                }

                if (*p->pos != (json_in_map(p) ? '}' : ']')) {
                    return NGX_ERROR;
                }
            }

            empty = 0;
            p->pos++;
            json_close(p);
        }
    }
}


static ngx_int_t
json_key(json_parser_t *p)
{
    ngx_str_t   text;
    ngx_uint_t  escaped;

    json_space(p);

    if (p->pos == p->end || *p->pos != '"'
        || json_string(p, &text, &escaped) != NGX_OK)
    {
        return NGX_ERROR;
    }

    json_space(p);

    if (p->pos == p->end || *p->pos != ':') {
        return NGX_ERROR;
    }

    p->pos++;

    if (p->raw || !p->store) {
        return NGX_OK;
    }

    if (json_decode(p, &text, escaped, &p->key) != NGX_OK) {
        return NGX_ERROR;
    }

    p->next_raw = (p->key.len == 4
                   && (ngx_memcmp(p->key.data, "data", 4) == 0
                       || ngx_memcmp(p->key.data, "info", 4) == 0));

    return NGX_OK;
}


static ngx_int_t
json_literal(json_parser_t *p, const char *text, size_t len,
    ngx_centrifugo_json_type_e type)
{
    u_char  *start;

    start = p->pos;

    if ((size_t) (p->end - start) < len || ngx_memcmp(start, text, len) != 0) {
        return NGX_ERROR;
    }

    p->pos += len;

    if (p->raw || !p->store) {
        return NGX_OK;
    }

    return json_add(p, type, start) ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
json_number(json_parser_t *p)
{
    u_char  *s, *start, *end;

    start = p->pos;
    end = p->end;
    s = start;

    if (*s == '-') {
        s++;
    }

    if (s == end || !json_is_digit(*s)) {
        return NGX_ERROR;
    }

    if (*s++ != '0') {
        while (s < end && json_is_digit(*s)) { s++; }
    }

    if (s < end && *s == '.') {
        s++;

        if (s == end || !json_is_digit(*s)) {
            return NGX_ERROR;
        }

        while (s < end && json_is_digit(*s)) { s++; }
    }

    if (s < end && (*s == 'e' || *s == 'E')) {
        s++;

        if (s < end && (*s == '+' || *s == '-')) {
            s++;
        }

        if (s == end || !json_is_digit(*s)) {
            return NGX_ERROR;
        }

        while (s < end && json_is_digit(*s)) { s++; }
    }

    p->pos = s;

    if (p->raw || !p->store) {
        return NGX_OK;
    }

    return json_add(p, NGX_CENTRIFUGO_JSON_NUMBER, start) ? NGX_OK : NGX_ERROR;
}


/*
 * A string from its first quote on: `text` is what is between the quotes.
 */

static ngx_int_t
json_string(json_parser_t *p, ngx_str_t *text, ngx_uint_t *escaped)
{
    u_char    *s;
    uint64_t   w, quote, slash, low;

    s = ++p->pos;
    text->data = s;
    *escaped = 0;

    for ( ;; ) {

        /* eight bytes of which none is a quote, a slash or below a blank */

        while (p->end - s >= 8) {
            ngx_memcpy(&w, s, sizeof(uint64_t));

            quote = w ^ 0x2222222222222222ULL;
            slash = w ^ 0x5c5c5c5c5c5c5c5cULL;

            low = (w - 0x2020202020202020ULL) & ~w;
            quote = (quote - 0x0101010101010101ULL) & ~quote;
            slash = (slash - 0x0101010101010101ULL) & ~slash;

            if ((low | quote | slash) & 0x8080808080808080ULL) {
                break;
            }

            s += 8;
        }

        while (s < p->end && *s >= 0x20 && *s != '"' && *s != '\\') {
            s++;
        }

        if (s == p->end || *s < 0x20) {
            return NGX_ERROR;
        }

        p->pos = s + 1;

        if (*s == '"') {
            text->len = s - text->data;
            return NGX_OK;
        }

        *escaped = 1;

        if (json_escape(p) != NGX_OK) {
            return NGX_ERROR;
        }

        s = p->pos;
    }
}


static ngx_int_t
json_escape(json_parser_t *p)
{
    ngx_uint_t  i;

    if (p->pos == p->end) {
        return NGX_ERROR;
    }

    switch (*p->pos++) {

    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return NGX_OK;

    case 'u':

        if (p->end - p->pos < 4) {
            return NGX_ERROR;
        }

        for (i = 0; i < 4; i++, p->pos++) {
            if (!json_is_digit(*p->pos)
                && (u_char) ((*p->pos | 0x20) - 'a') > 5)
            {
                return NGX_ERROR;
            }
        }

        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


/*
 * A string without escapes is part of the input.  Half of a surrogate pair
 * stands for no character: U+FFFD.
 */

static ngx_int_t
json_decode(json_parser_t *p, ngx_str_t *text, ngx_uint_t escaped,
    ngx_str_t *str)
{
    u_char    *s, *end, *d;
    uint32_t   c, low;

    if (!escaped) {
        *str = *text;
        return NGX_OK;
    }

    /* no escape is shorter than what it stands for */

    d = ngx_centrifugo_arena_alloc(p->arena, text->len);

    if (d == NULL) {
        p->nomem = 1;
        return NGX_ERROR;
    }

    str->data = d;
    s = text->data;
    end = s + text->len;

    while (s < end) {

        if (*s != '\\') {
            *d++ = *s++;
            continue;
        }

        s += 2;

        switch (s[-1]) {
        case 'b':  *d++ = '\b'; continue;
        case 'f':  *d++ = '\f'; continue;
        case 'n':  *d++ = '\n'; continue;
        case 'r':  *d++ = '\r'; continue;
        case 't':  *d++ = '\t'; continue;
        case 'u':  break;
        default:   *d++ = s[-1]; continue;
        }

        c = (uint32_t) json_hex(s);
        s += 4;

        if (c >= 0xd800 && c <= 0xdfff) {

            low = (c <= 0xdbff && end - s >= 6 && s[0] == '\\'
                   && s[1] == 'u')
                  ? (uint32_t) json_hex(s + 2) : 0;

            if (low >= 0xdc00 && low <= 0xdfff) {
                c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                s += 6;

            } else {
                c = 0xfffd;
            }
        }

        if (c < 0x80) {
            *d++ = (u_char) c;
            continue;
        }

        if (c < 0x800) {
            *d++ = (u_char) (0xc0 | c >> 6);

        } else {

            if (c < 0x10000) {
                *d++ = (u_char) (0xe0 | c >> 12);

            } else {
                *d++ = (u_char) (0xf0 | c >> 18);
                *d++ = (u_char) (0x80 | (c >> 12 & 0x3f));
            }

            *d++ = (u_char) (0x80 | (c >> 6 & 0x3f));
        }

        *d++ = (u_char) (0x80 | (c & 0x3f));
    }

    str->len = d - str->data;

    return NGX_OK;
}


/* four hexadecimal digits, which json_escape() has seen */

static ngx_uint_t
json_hex(u_char *p)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < 4; i++, p++) {
        n = n << 4 | (json_is_digit(*p) ? *p - '0' : (*p | 0x20) - 'a' + 10);
    }

    return n;
}


static ngx_centrifugo_json_t *
json_add(json_parser_t *p, ngx_centrifugo_json_type_e type, u_char *start)
{
    ngx_centrifugo_json_t  *node;

    node = ngx_centrifugo_arena_alloc(p->arena, sizeof(ngx_centrifugo_json_t));

    if (node == NULL) {
        p->nomem = 1;
        return NULL;
    }

    node->type = type;
    node->key = p->key;
    node->raw.data = start;
    node->raw.len = p->pos - start;
    ngx_str_null(&node->str);
    node->child = NULL;
    node->next = NULL;

    *p->level->last = node;
    p->level->last = &node->next;

    ngx_str_null(&p->key);
    p->next_raw = 0;

    return node;
}


static ngx_int_t
json_open(json_parser_t *p, ngx_centrifugo_json_type_e type)
{
    u_char                  bit;
    ngx_uint_t              raw;
    json_level_t           *level;
    ngx_centrifugo_json_t  *node;

    if (p->depth == NGX_CENTRIFUGO_JSON_MAX_DEPTH) {
        return NGX_ERROR;
    }

    bit = (u_char) (1 << p->depth % 8);

    if (type == NGX_CENTRIFUGO_JSON_MAP) {
        p->maps[p->depth / 8] |= bit;

    } else {
        p->maps[p->depth / 8] &= (u_char) ~bit;
    }

    p->depth++;

    if (p->raw || !p->store) {
        p->pos++;
        return NGX_OK;
    }

    raw = p->next_raw;
    node = json_add(p, type, p->pos++);

    if (node == NULL) {
        return NGX_ERROR;
    }

    if (raw) {
        p->raw = p->depth;
        p->raw_node = node;
        return NGX_OK;
    }

    level = ngx_centrifugo_arena_alloc(p->arena, sizeof(json_level_t));

    if (level == NULL) {
        p->nomem = 1;
        return NGX_ERROR;
    }

    level->up = p->level;
    level->node = node;
    level->last = &node->child;
    p->level = level;

    return NGX_OK;
}


static void
json_close(json_parser_t *p)
{
    ngx_centrifugo_json_t  *node;

    p->depth--;

    if (!p->store) {
        return;
    }

    if (p->raw) {

        if (p->raw != p->depth + 1) {
            return;
        }

        p->raw = 0;
        node = p->raw_node;

    } else {
        node = p->level->node;
        p->level = p->level->up;
    }

    node->raw.len = p->pos - node->raw.data;
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
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    return value ? ngx_centrifugo_json_to_uint(value, max, n) : NGX_DECLINED;
}


ngx_int_t
ngx_centrifugo_json_to_uint(ngx_centrifugo_json_t *value, uint64_t max,
    uint64_t *n)
{
    uint64_t    u;
    ngx_uint_t  minus;

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
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    return value ? ngx_centrifugo_json_to_int(value, min, max, n)
                 : NGX_DECLINED;
}


ngx_int_t
ngx_centrifugo_json_to_int(ngx_centrifugo_json_t *value, int64_t min,
    int64_t max, int64_t *n)
{
    int64_t     i;
    uint64_t    u;
    ngx_uint_t  minus;

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
    json_append(b, s, 0);
}


void
ngx_centrifugo_json_append_text(ngx_centrifugo_buf_t *b, const ngx_str_t *raw)
{
    json_append(b, raw, 1);
}


static void
json_append(ngx_centrifugo_buf_t *b, const ngx_str_t *s, ngx_uint_t text)
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

        if (text && (*p == '\n' || *p == '\r')) {
            continue;
        }

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
    u_char  *p, *end, *stop, *lf, *cr;

    p = raw->data;
    end = p + raw->len;
    lf = p;
    cr = p;

    /* each byte is looked at once for either: no more than twice in all */

    for ( ;; ) {

        if (lf < end && (lf = memchr(lf, '\n', end - lf)) == NULL) {
            lf = end;
        }

        if (cr < end && (cr = memchr(cr, '\r', end - cr)) == NULL) {
            cr = end;
        }

        stop = ngx_min(lf, cr);
        ngx_centrifugo_buf_append(b, p, stop - p);

        if (stop == end) {
            return;
        }

        p = stop + 1;

        if (stop == lf) {
            lf = p;

        } else {
            cr = p;
        }
    }
}
