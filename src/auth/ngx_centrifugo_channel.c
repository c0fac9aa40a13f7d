/*
 * Names of channels and namespaces, and the comparison of secrets.
 */

#include "ngx_centrifugo_auth.h"


void
ngx_centrifugo_channel_namespace(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel,
    ngx_str_t *name)
{
    u_char  *p, *end, *colon;

    p = channel->data;
    end = p + channel->len;

    if (ngx_centrifugo_channel_private(syntax, channel)) {
        p++;
    }

    colon = (p < end && syntax->namespace_boundary)
            ? memchr(p, (int) syntax->namespace_boundary, end - p) : NULL;

    name->data = p;
    name->len = colon ? colon - p : 0;
}


ngx_uint_t
ngx_centrifugo_channel_private(const ngx_centrifugo_channel_syntax_t *syntax,
    const ngx_str_t *channel)
{
    return channel->len && channel->data[0] == syntax->private_prefix
           && syntax->private_prefix;
}


void
ngx_centrifugo_channel_rest(const ngx_centrifugo_channel_syntax_t *syntax,
    const ngx_str_t *channel, ngx_str_t *rest)
{
    u_char  *colon;

    *rest = *channel;

    colon = (channel->len && syntax->namespace_boundary)
            ? memchr(channel->data, (int) syntax->namespace_boundary,
                     channel->len)
            : NULL;

    if (colon) {
        rest->data = colon + 1;
        rest->len = channel->data + channel->len - rest->data;
    }
}


ngx_uint_t
ngx_centrifugo_channel_limited(const ngx_centrifugo_channel_syntax_t *syntax,
    const ngx_str_t *channel)
{
    return channel->len && syntax->user_boundary
           && memchr(channel->data, (int) syntax->user_boundary, channel->len);
}


ngx_uint_t
ngx_centrifugo_channel_user(const ngx_centrifugo_channel_syntax_t *syntax,
    const ngx_str_t *channel, const ngx_str_t *user)
{
    u_char  *p, *end, *comma;

    if (!ngx_centrifugo_channel_limited(syntax, channel)) {
        return 0;
    }

    end = channel->data + channel->len;

    for (p = end; p[-1] != syntax->user_boundary; p--) { /* void */ }

    /* an empty list has one name, the anonymous user's: `chat:#` is his */

    for ( ;; ) {
        comma = (p < end && syntax->user_separator)
                ? memchr(p, (int) syntax->user_separator, end - p) : NULL;

        if ((size_t) ((comma ? comma : end) - p) == user->len
            && (user->len == 0
                || ngx_memcmp(p, user->data, user->len) == 0))
        {
            return 1;
        }

        if (comma == NULL) {
            return 0;
        }

        p = comma + 1;
    }
}


ngx_int_t
ngx_centrifugo_channel_ascii(const ngx_str_t *channel)
{
    size_t  i;

    for (i = 0; i < channel->len; i++) {
        if (channel->data[i] & 0x80) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_namespace_valid(const ngx_str_t *name)
{
    u_char  c;
    size_t  i;

    if (name->len < 2) {
        return NGX_DECLINED;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_secret_equal(const ngx_str_t *secret, const ngx_str_t *given)
{
    size_t           i;
    volatile u_char  diff;

    if (secret->len == 0) {
        return 0;
    }

    diff = (secret->len != given->len);

    for (i = 0; i < given->len; i++) {
        diff |= given->data[i] ^ secret->data[i % secret->len];
    }

    return diff == 0;
}
