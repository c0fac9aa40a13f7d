#include "ngx_centrifugo_ws_extension.h"


/* parameters of an offer, a bit each: none may come twice */
#define EXTENSION_SERVER_TAKEOVER  0x01
#define EXTENSION_CLIENT_TAKEOVER  0x02
#define EXTENSION_SERVER_WINDOW    0x04
#define EXTENSION_CLIENT_WINDOW    0x08

#define EXTENSION_WINDOW_MIN       8
#define EXTENSION_WINDOW_MAX       15


static ngx_int_t extension_token(u_char **pos, u_char *end, ngx_str_t *token);
static ngx_int_t extension_value(u_char **pos, u_char *end, u_char *value,
    size_t *len);
static ngx_uint_t extension_char(u_char c);
static void extension_blank(u_char **pos, u_char *end);
static ngx_int_t extension_parameter(const ngx_str_t *name,
    const u_char *value, size_t len, ngx_uint_t *seen);
static ngx_uint_t extension_is(const ngx_str_t *s, const char *name);
static ngx_uint_t extension_window(const u_char *value, size_t len);


#define EXTENSION_VALUE  4      /* bytes: nothing longer means anything */
#define EXTENSION_NONE   ((size_t) -1)


ngx_int_t
ngx_centrifugo_ws_deflate_offered(const ngx_str_t *header,
    const char **answer)
{
    u_char      *p, *end, value[EXTENSION_VALUE];
    size_t       len;
    ngx_int_t    rc;
    ngx_str_t    name;
    ngx_uint_t   good, seen;

    p = header->data;
    end = p + header->len;
    rc = NGX_DECLINED;

    for ( ;; ) {

        /* elements of a list may be empty */

        extension_blank(&p, end);

        if (p == end) {
            return rc;
        }

        if (*p == ',') {
            p++;
            continue;
        }

        if (extension_token(&p, end, &name) != NGX_OK) {
            return NGX_ERROR;
        }

        good = extension_is(&name, "permessage-deflate");
        seen = 0;

        for ( ;; ) {
            extension_blank(&p, end);

            if (p == end || *p == ',') {
                break;
            }

            if (*p++ != ';') {
                return NGX_ERROR;
            }

            extension_blank(&p, end);

            if (extension_token(&p, end, &name) != NGX_OK) {
                return NGX_ERROR;
            }

            extension_blank(&p, end);
            len = EXTENSION_NONE;

            if (p < end && *p == '=') {
                p++;
                extension_blank(&p, end);

                if (extension_value(&p, end, value, &len) != NGX_OK) {
                    return NGX_ERROR;
                }
            }

            if (extension_parameter(&name, value, len, &seen) != NGX_OK) {
                good = 0;
            }
        }

        /* the first one, in the order of the client's wishes */

        if (good && rc != NGX_OK) {
            rc = NGX_OK;
            *answer = (seen & EXTENSION_SERVER_WINDOW)
                      ? NGX_CENTRIFUGO_WS_DEFLATE_WINDOW
                      : NGX_CENTRIFUGO_WS_DEFLATE;
        }
    }
}


static ngx_int_t
extension_token(u_char **pos, u_char *end, ngx_str_t *token)
{
    u_char  *p;

    for (p = *pos; p < end && extension_char(*p); p++) { /* void */ }

    token->data = *pos;
    token->len = p - *pos;
    *pos = p;

    return token->len ? NGX_OK : NGX_ERROR;
}


/* A token, perhaps in quotes; *len is EXTENSION_VALUE + 1 for a long one. */

static ngx_int_t
extension_value(u_char **pos, u_char *end, u_char *value, size_t *len)
{
    u_char      *p;
    size_t       n;
    ngx_uint_t   quoted;

    p = *pos;
    n = 0;
    quoted = (p < end && *p == '"');

    for (p += quoted; p < end; p++) {

        if (quoted && *p == '\\' && p + 1 < end) {
            p++;
        }

        if (!extension_char(*p)) {
            break;
        }

        if (n < EXTENSION_VALUE) {
            value[n] = *p;
        }

        n = ngx_min(n + 1, EXTENSION_VALUE + 1);
    }

    if (n == 0 || (quoted && (p == end || *p++ != '"'))) {
        return NGX_ERROR;
    }

    *pos = p;
    *len = n;

    return NGX_OK;
}


/* of a token, RFC 7230, section 3.2.6 */

static ngx_uint_t
extension_char(u_char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c >= '0' && c <= '9')
           || (c != '\0' && ngx_strchr("!#$%&'*+-.^_`|~", c) != NULL);
}


static void
extension_blank(u_char **pos, u_char *end)
{
    while (*pos < end && (**pos == ' ' || **pos == '\t')) {
        (*pos)++;
    }
}


/* NGX_DECLINED: an offer with it cannot be accepted. */

static ngx_int_t
extension_parameter(const ngx_str_t *name, const u_char *value, size_t len,
    ngx_uint_t *seen)
{
    ngx_uint_t  bit, window;

    window = (len == EXTENSION_NONE) ? 0 : extension_window(value, len);

    if (extension_is(name, "server_no_context_takeover")) {
        bit = EXTENSION_SERVER_TAKEOVER;

    } else if (extension_is(name, "client_no_context_takeover")) {
        bit = EXTENSION_CLIENT_TAKEOVER;

    } else if (extension_is(name, "server_max_window_bits")) {
        bit = EXTENSION_SERVER_WINDOW;

        if (window != EXTENSION_WINDOW_MAX) {
            return NGX_DECLINED;
        }

    } else if (extension_is(name, "client_max_window_bits")) {
        bit = EXTENSION_CLIENT_WINDOW;

        if (len != EXTENSION_NONE && window == 0) {
            return NGX_DECLINED;
        }

    } else {
        return NGX_DECLINED;
    }

    if ((*seen & bit)
        || (bit <= EXTENSION_CLIENT_TAKEOVER && len != EXTENSION_NONE))
    {
        return NGX_DECLINED;
    }

    *seen |= bit;

    return NGX_OK;
}


/* A name in any case, which is given in small letters. */

static ngx_uint_t
extension_is(const ngx_str_t *s, const char *name)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (ngx_tolower(s->data[i]) != (u_char) name[i]) {
            return 0;
        }
    }

    return name[i] == '\0';
}


/* 8 to 15 without a zero in front, or 0: it is something else. */

static ngx_uint_t
extension_window(const u_char *value, size_t len)
{
    ngx_uint_t  n;

    if (len == 1) {
        n = value[0] - '0';

    } else if (len == 2 && value[0] == '1') {
        n = 10 + (value[1] - '0');

    } else {
        return 0;
    }

    if (value[len - 1] < '0' || value[len - 1] > '9') {
        return 0;
    }

    return (n >= EXTENSION_WINDOW_MIN && n <= EXTENSION_WINDOW_MAX) ? n : 0;
}
