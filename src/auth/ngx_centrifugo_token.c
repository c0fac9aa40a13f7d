/*
 * JSON web tokens.  libjwt checks the signature; which algorithms it may use
 * is decided here, by the kinds of key that are configured, before it sees
 * the token.  Claims are read by the project's own JSON reader, so that `info`
 * keeps its bytes.
 */

#include "ngx_centrifugo_auth.h"
#include "../protocol/ngx_centrifugo_json.h"

#include <jwt.h>
#include <math.h>
#include <openssl/err.h>


#define TOKEN_MAX  (64 * 1024)

#define token_member(map, name)                                              \
    ngx_centrifugo_json_get(map, name, sizeof(name) - 1)


static ngx_int_t token_split(const ngx_str_t *token, ngx_str_t *parts);
static ngx_int_t token_decode_part(ngx_centrifugo_arena_t *arena,
    ngx_str_t *part, ngx_centrifugo_json_t **root);
static const char *token_header(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_json_t *header);
static const char *token_signature(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_arena_t *arena, const ngx_str_t *token);
static const char *token_claims(ngx_centrifugo_json_t *claims,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_token_t *result);
static ngx_int_t token_time(ngx_centrifugo_json_t *claims, const char *name,
    size_t len, double *t);
static const char *token_lists(ngx_centrifugo_json_t *claims);
static const char *token_info(ngx_centrifugo_json_t *claims,
    ngx_centrifugo_arena_t *arena, ngx_str_t *info);


void
ngx_centrifugo_token_check(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token,
    const ngx_centrifugo_verified_t *done)
{
    ngx_centrifugo_token_t     result;
    ngx_centrifugo_token_rc_e  rc;

    rc = ngx_centrifugo_token_verify(verifier, kind, arena, token, ngx_time(),
                                     &result);

    done->handler(done->handle, rc, &result);
}


ngx_centrifugo_token_rc_e
ngx_centrifugo_token_verify(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, time_t now,
    ngx_centrifugo_token_t *result)
{
    double                  exp, nbf, at;
    ngx_int_t               rc;
    ngx_str_t               parts[3], channel;
    ngx_centrifugo_json_t  *header, *claims;

    ngx_memzero(result, sizeof(ngx_centrifugo_token_t));

    if (token_split(token, parts) != NGX_OK) {
        result->reason = "its token has not three parts";
        return NGX_CENTRIFUGO_TOKEN_INVALID;
    }

    rc = token_decode_part(arena, &parts[0], &header);

    if (rc == NGX_OK) {
        rc = token_decode_part(arena, &parts[1], &claims);
    }

    if (rc == NGX_ABORT) {
        result->reason = "no memory for its token";
        return NGX_CENTRIFUGO_TOKEN_ERROR;
    }

    if (rc != NGX_OK) {
        result->reason = "its token is not base64url of JSON objects";
        return NGX_CENTRIFUGO_TOKEN_INVALID;
    }

    result->reason = token_header(verifier, header);

    if (result->reason == NULL) {
        result->reason = token_claims(claims, arena, result);
    }

    if (result->reason == NULL) {
        result->reason = token_signature(verifier, arena, token);
    }

    if (result->reason) {
        return NGX_CENTRIFUGO_TOKEN_INVALID;
    }

    ngx_str_null(&channel);

    if (ngx_centrifugo_json_string(claims, "channel", 7, &channel) == NGX_ERROR
        || channel.len)
    {
        result->reason = "it is a subscription token";
        return NGX_CENTRIFUGO_TOKEN_INVALID;
    }

    exp = 0;
    nbf = 0;
    at = 0;

    if (token_time(claims, "exp", 3, &exp) == NGX_ERROR
        || token_time(claims, "nbf", 3, &nbf) == NGX_ERROR
        || token_time(claims, "expire_at", 9, &at) == NGX_ERROR)
    {
        result->reason = "exp, nbf or expire_at of its token is no time";
        return NGX_CENTRIFUGO_TOKEN_INVALID;
    }

    if (exp != 0 && exp <= (double) now) {
        result->reason = "its token has expired";
        return NGX_CENTRIFUGO_TOKEN_EXPIRED;
    }

    if (nbf > (double) now) {
        result->reason = "its token is not valid yet";
        return NGX_CENTRIFUGO_TOKEN_EXPIRED;
    }

    result->reason = token_info(claims, arena, &result->info);

    if (result->reason) {
        return NGX_CENTRIFUGO_TOKEN_ERROR;
    }

    if (token_member(claims, "expire_at")) {
        result->expire_at = (at > 0) ? (int64_t) at : 0;

    } else {
        result->expire_at = (int64_t) exp;
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


static ngx_int_t
token_split(const ngx_str_t *token, ngx_str_t *parts)
{
    u_char      *p, *end, *dot;
    ngx_uint_t   i;

    if (token->len > TOKEN_MAX) {
        return NGX_ERROR;
    }

    p = token->data;
    end = p + token->len;

    /* what libjwt sees ends at the first zero byte */

    if (memchr(p, '\0', token->len) != NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 3; i++) {
        dot = (p < end) ? memchr(p, '.', end - p) : NULL;

        if ((dot == NULL) != (i == 2)) {
            return NGX_ERROR;
        }

        parts[i].data = p;
        parts[i].len = (dot ? dot : end) - p;

        if (parts[i].len == 0) {
            return NGX_ERROR;
        }

        p = dot ? dot + 1 : end;
    }

    return NGX_OK;
}


static ngx_int_t
token_decode_part(ngx_centrifugo_arena_t *arena, ngx_str_t *part,
    ngx_centrifugo_json_t **root)
{
    ngx_int_t   rc;
    ngx_str_t   text;

    text.data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(part->len));
    if (text.data == NULL) {
        return NGX_ABORT;
    }

    /* the decoder takes what comes behind a "=" for nothing */

    if (memchr(part->data, '=', part->len) != NULL
        || ngx_decode_base64url(&text, part) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_centrifugo_json_parse(arena, text.data, text.len, 0, root);

    if (rc == NGX_OK && (*root)->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    return rc;
}


static const char *
token_header(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_json_t *header)
{
    ngx_str_t  alg;

    ngx_str_null(&alg);

    if (token_member(header, "crit")) {
        return "its token has critical header fields";
    }

    if (ngx_centrifugo_json_string(header, "alg", 3, &alg) != NGX_OK
        || alg.len != 5)
    {
        return "its token names no known algorithm";
    }

    if (ngx_strncmp(alg.data, "HS256", 5) != 0
        && ngx_strncmp(alg.data, "HS384", 5) != 0
        && ngx_strncmp(alg.data, "HS512", 5) != 0)
    {
        return "its token's algorithm is not one of the configured key";
    }

    if (verifier->hmac_secret_key.len == 0) {
        return "no token_hmac_secret_key is configured";
    }

    return NULL;
}


static const char *
token_signature(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_arena_t *arena, const ngx_str_t *token)
{
    int      rc;
    char    *text;
    jwt_t   *jwt;

    text = ngx_centrifugo_arena_alloc(arena, token->len + 1);
    if (text == NULL) {
        return "no memory";
    }

    ngx_memcpy(text, token->data, token->len);
    text[token->len] = '\0';

    jwt = NULL;

    rc = jwt_decode(&jwt, text, verifier->hmac_secret_key.data,
                    (int) verifier->hmac_secret_key.len);

    if (rc == 0 && jwt_get_alg(jwt) != JWT_ALG_HS256
        && jwt_get_alg(jwt) != JWT_ALG_HS384
        && jwt_get_alg(jwt) != JWT_ALG_HS512)
    {
        rc = EINVAL;
    }

    jwt_free(jwt);

    if (rc != 0) {

        /* or the next TLS connection finds it */

        ERR_clear_error();
        return "its token's signature is wrong";
    }

    return NULL;
}


static const char *
token_claims(ngx_centrifugo_json_t *claims, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_token_t *result)
{
    ngx_centrifugo_json_t  *value;

    if (ngx_centrifugo_json_string(claims, "sub", 3, &result->user)
        == NGX_ERROR)
    {
        return "sub of its token is not a string";
    }

    value = token_member(claims, "meta");

    if (value && value->type != NGX_CENTRIFUGO_JSON_MAP) {
        return "meta of its token is not an object";
    }

    return token_lists(claims);
}


static const char *
token_lists(ngx_centrifugo_json_t *claims)
{
    ngx_centrifugo_json_t  *value, *child;

    value = token_member(claims, "channels");

    if (value) {
        if (value->type != NGX_CENTRIFUGO_JSON_ARRAY) {
            return "channels of its token is not a list";
        }

        for (child = value->child; child; child = child->next) {
            if (child->type != NGX_CENTRIFUGO_JSON_STRING
                && child->type != NGX_CENTRIFUGO_JSON_NULL)
            {
                return "channels of its token are not strings";
            }
        }
    }

    value = token_member(claims, "subs");

    if (value) {
        if (value->type != NGX_CENTRIFUGO_JSON_MAP) {
            return "subs of its token is not an object";
        }

        for (child = value->child; child; child = child->next) {
            if (child->type != NGX_CENTRIFUGO_JSON_MAP
                && child->type != NGX_CENTRIFUGO_JSON_NULL)
            {
                return "subs of its token are not objects";
            }
        }
    }

    return NULL;
}


/*
 * A number or a numeric string, in seconds, perhaps with a fraction.
 */

static ngx_int_t
token_time(ngx_centrifugo_json_t *claims, const char *name, size_t len,
    double *t)
{
    char                    text[40], *end;
    double                  d;
    ngx_str_t               s;
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(claims, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (value->type == NGX_CENTRIFUGO_JSON_NUMBER) {
        s = value->raw;

    } else if (value->type == NGX_CENTRIFUGO_JSON_STRING) {
        s = value->str;

    } else {
        return NGX_ERROR;
    }

    if (s.len == 0 || s.len >= sizeof(text)
        || !((s.data[0] >= '0' && s.data[0] <= '9') || s.data[0] == '-'))
    {
        return NGX_ERROR;
    }

    ngx_memcpy(text, s.data, s.len);
    text[s.len] = '\0';

    d = strtod(text, &end);

    if (*end != '\0' || !isfinite(d)) {
        return NGX_ERROR;
    }

    /* beyond any date there is no difference */

    *t = ngx_max(ngx_min(d, 1e15), -1e15);

    return NGX_OK;
}


static const char *
token_info(ngx_centrifugo_json_t *claims, ngx_centrifugo_arena_t *arena,
    ngx_str_t *info)
{
    ngx_int_t               rc;
    ngx_str_t               b64;
    ngx_centrifugo_json_t  *value;

    value = token_member(claims, "info");

    if (value) {
        *info = value->raw;
    }

    ngx_str_null(&b64);
    rc = ngx_centrifugo_json_string(claims, "b64info", 7, &b64);

    if (rc == NGX_ERROR) {
        return "b64info of its token is not a string";
    }

    if (b64.len == 0) {
        return NULL;
    }

    info->data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(b64.len));

    if (info->data == NULL
        || b64.len % 4
        || ngx_decode_base64(info, &b64) != NGX_OK
        || ngx_centrifugo_json_validate(arena, info->data, info->len)
           != NGX_OK)
    {
        return "b64info of its token is not base64 of JSON";
    }

    return NULL;
}
