#include "ngx_centrifugo_text.h"


#define TEXT_LINES  4
#define TEXT_ID     36


static ngx_uint_t text_unsafe(const u_char *p, const u_char *end);
static ngx_int_t text_hex(u_char c);


static const char  text_digits[] = "0123456789abcdef";


ngx_str_t *
ngx_centrifugo_log_str(const ngx_str_t *s)
{
    size_t             size;
    u_char            *p, *last;
    const u_char      *src, *end;
    ngx_str_t         *line;
    static u_char      bytes[TEXT_LINES][NGX_CENTRIFUGO_LOG_STR];
    static ngx_str_t   lines[TEXT_LINES];
    static ngx_uint_t  next;

    line = &lines[next];
    p = bytes[next];
    next = (next + 1) % TEXT_LINES;

    line->data = p;
    last = p + NGX_CENTRIFUGO_LOG_STR - 3;

    src = s->data;
    end = src + s->len;

    for ( /* void */ ; src < end; src++) {

        size = text_unsafe(src, end) ? 4 : 1;

        /* a character is not split: its first byte needs room for all */

        if (*src >= 0xc0 && size == 1) {
            size = (*src >= 0xf0) ? 4 : (*src >= 0xe0) ? 3 : 2;
        }

        if ((size_t) (last - p) < size) {
            p = ngx_cpymem(p, "...", 3);
            break;
        }

        if (text_unsafe(src, end)) {
            *p++ = '\\';
            *p++ = 'x';
            *p++ = text_digits[*src >> 4];
            *p++ = text_digits[*src & 0xf];

        } else {
            *p++ = *src;
        }
    }

    line->len = p - line->data;

    return line;
}


/*
 * Control bytes of ASCII, the first byte of those that follow it in Unicode,
 * quotes, and the escape itself.
 */

static ngx_uint_t
text_unsafe(const u_char *p, const u_char *end)
{
    if (*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\') {
        return 1;
    }

    return *p == 0xc2 && (end - p == 1 || p[1] < 0xa0);
}


size_t
ngx_centrifugo_utf8_cut(const ngx_str_t *s, size_t max)
{
    if (s->len <= max) {
        return s->len;
    }

    while (max && (s->data[max] & 0xc0) == 0x80) {
        max--;
    }

    return max;
}


ngx_int_t
ngx_centrifugo_id_parse(const ngx_str_t *s, u_char *id)
{
    ngx_int_t     high, low;
    ngx_uint_t    i;
    const u_char  *p;

    if (s->len != TEXT_ID) {
        return NGX_DECLINED;
    }

    p = s->data;

    for (i = 0; i < 16; i++) {

        if ((i == 4 || i == 6 || i == 8 || i == 10) && *p++ != '-') {
            return NGX_DECLINED;
        }

        high = text_hex(*p++);
        low = text_hex(*p++);

        if (high < 0 || low < 0) {
            return NGX_DECLINED;
        }

        id[i] = (u_char) (high << 4 | low);
    }

    return NGX_OK;
}


static ngx_int_t
text_hex(u_char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : NGX_ERROR;
}


u_char *
ngx_centrifugo_id_print(u_char *p, const u_char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < 16; i++) {

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        *p++ = text_digits[id[i] >> 4];
        *p++ = text_digits[id[i] & 0xf];
    }

    return p;
}
