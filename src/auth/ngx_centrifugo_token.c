/*
 * JSON web tokens (RFC 7519): the order of the checks.  Which algorithms a
 * signature may have is decided by the kinds of key that are configured.
 * Claims are read by the project's own JSON reader, so that `info` keeps its
 * bytes.
 */

#include "ngx_centrifugo_claims.h"
#include "ngx_centrifugo_keys.h"


#define TOKEN_MAX            (64 * 1024)
#define TOKEN_SIGNATURE_MAX  (NGX_CENTRIFUGO_RSA_MAX / 8)
#define TOKEN_REGEX_CLAIM    512            /* bytes that are matched */
#define TOKEN_REGEX_AUD      16             /* members of aud */


/* a claim and what its expression took from it */
typedef struct {
    const ngx_centrifugo_claim_regex_t  *regex;
    ngx_str_t                            claim;
    int                                 *captures;
} token_match_t;

typedef struct {
    ngx_centrifugo_verifier_t           *verifier;
    ngx_centrifugo_arena_t              *arena;
    time_t                               now;
    ngx_str_t                            parts[3];
    ngx_str_t                            text;      /* that is signed */
    ngx_centrifugo_json_t               *header;
    ngx_centrifugo_claims_t              claims;
    token_match_t                        issuer;
    token_match_t                        audience;
    ngx_centrifugo_token_t              *result;
    ngx_centrifugo_jwks_id_t            *missing;   /* key, or NULL */
} token_t;


static ngx_centrifugo_token_rc_e token_run(token_t *t,
    ngx_centrifugo_token_kind_e kind, const ngx_str_t *token);
static ngx_int_t token_split(token_t *t, const ngx_str_t *token);
static ngx_centrifugo_token_rc_e token_parse(token_t *t,
    ngx_centrifugo_token_kind_e kind);
static ngx_int_t token_decode_part(ngx_centrifugo_arena_t *arena,
    ngx_str_t *part, ngx_centrifugo_json_t **root);
static ngx_centrifugo_token_rc_e token_match_claims(token_t *t);
static ngx_int_t token_match(token_t *t,
    const ngx_centrifugo_claim_regex_t *regex, const ngx_str_t *claim,
    token_match_t *match);
static ngx_centrifugo_token_rc_e token_signature(token_t *t);
static ngx_int_t token_static_key(token_t *t, const ngx_centrifugo_alg_t *alg,
    const ngx_str_t *signature);
static ngx_centrifugo_token_rc_e token_jwks_key(token_t *t,
    const ngx_centrifugo_alg_t *alg, const ngx_centrifugo_key_t **key);
static ngx_int_t token_jwks_url(token_t *t, ngx_str_t *url);
static ngx_uint_t token_group(const token_match_t *match,
    const ngx_str_t *name, ngx_str_t *value);
static ngx_centrifugo_token_rc_e token_exact(token_t *t);
static ngx_centrifugo_token_rc_e token_times(token_t *t);
static void token_expiry(token_t *t);


void
ngx_centrifugo_token_check(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, const ngx_centrifugo_verified_t *done)
{
    token_t                    t;
    const char                *reason;
    ngx_centrifugo_keys_t     *keys;
    ngx_centrifugo_token_t     result;
    ngx_centrifugo_jwks_id_t   missing;
    ngx_centrifugo_token_rc_e  rc;

    ngx_memzero(&missing, sizeof(ngx_centrifugo_jwks_id_t));

    t.verifier = verifier;
    t.arena = arena;
    t.now = ngx_time();
    t.result = &result;
    t.missing = &missing;

    rc = token_run(&t, kind, token);

    if (missing.alg) {
        keys = verifier->keys;

        if (ngx_centrifugo_jwks_wait(keys->jwks, &missing, kind, token, done,
                                     &reason)
            == NGX_OK)
        {
            return;
        }

        /* the token may be good: it is not to be given up */

        rc = ngx_centrifugo_token_refuse(&result, NGX_CENTRIFUGO_TOKEN_ERROR,
                                         reason);
    }

    done->handler(done->handle, rc, &result);
}


ngx_centrifugo_token_rc_e
ngx_centrifugo_token_verify(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, time_t now, ngx_centrifugo_token_t *result)
{
    token_t  t;

    t.verifier = verifier;
    t.arena = arena;
    t.now = now;
    t.result = result;
    t.missing = NULL;

    return token_run(&t, kind, token);
}


/*
 * The order is the reference's: it decides which of several mistakes a client
 * is told.
 */

static ngx_centrifugo_token_rc_e
token_run(token_t *t, ngx_centrifugo_token_kind_e kind, const ngx_str_t *token)
{
    ngx_centrifugo_token_t     *result;
    ngx_centrifugo_claims_t    *claims;
    ngx_centrifugo_token_rc_e   rc;

    result = t->result;
    claims = &t->claims;
    ngx_memzero(result, sizeof(ngx_centrifugo_token_t));

    if (token_split(t, token) != NGX_OK) {
        return ngx_centrifugo_token_invalid(result,
                                            "its token has not three parts");
    }

    rc = token_parse(t, kind);

    if (rc == NGX_CENTRIFUGO_TOKEN_OK) {
        rc = token_match_claims(t);
    }

    /* a flag that nobody has set is not 0 */

    if (rc == NGX_CENTRIFUGO_TOKEN_OK && t->verifier->skip_signature != 1) {
        rc = token_signature(t);
    }

    if (rc == NGX_CENTRIFUGO_TOKEN_OK) {
        rc = token_exact(t);
    }

    if (rc != NGX_CENTRIFUGO_TOKEN_OK) {
        return rc;
    }

    if (kind == NGX_CENTRIFUGO_TOKEN_CONNECTION && claims->channel.len) {
        return ngx_centrifugo_token_invalid(result,
                                            "it is a subscription token");
    }

    rc = token_times(t);

    if (rc != NGX_CENTRIFUGO_TOKEN_OK) {
        return rc;
    }

    if (kind == NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION) {

        if (claims->channel.len == 0) {
            return ngx_centrifugo_token_invalid(result,
                                                "its token names no channel");
        }

        if (t->verifier->known
            && !t->verifier->known(t->verifier->data, &claims->channel))
        {
            return ngx_centrifugo_token_refuse(result,
                                NGX_CENTRIFUGO_TOKEN_CHANNEL,
                                "its token names a channel of an unknown "
                                "namespace");
        }

    } else {
        rc = ngx_centrifugo_claims_channels(t->verifier, t->arena, claims,
                                            result);
    }

    if (rc == NGX_CENTRIFUGO_TOKEN_OK) {
        rc = ngx_centrifugo_claims_base64(kind, t->arena, claims, result);
    }

    if (rc == NGX_CENTRIFUGO_TOKEN_OK) {
        rc = ngx_centrifugo_claims_user(claims, result);
    }

    if (rc != NGX_CENTRIFUGO_TOKEN_OK) {
        return rc;
    }

    result->meta = claims->meta;
    result->client = claims->client;

    if (kind == NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION) {
        result->channel = claims->channel;
    }

    token_expiry(t);

    return NGX_CENTRIFUGO_TOKEN_OK;
}


static ngx_int_t
token_split(token_t *t, const ngx_str_t *token)
{
    u_char      *p, *end, *dot;
    ngx_uint_t   i;

    if (token->len > TOKEN_MAX) {
        return NGX_ERROR;
    }

    p = token->data;
    end = p + token->len;

    for (i = 0; i < 3; i++) {
        dot = (p < end) ? memchr(p, '.', end - p) : NULL;

        if ((dot == NULL) != (i == 2)) {
            return NGX_ERROR;
        }

        t->parts[i].data = p;
        t->parts[i].len = (dot ? dot : end) - p;

        p = dot ? dot + 1 : end;
    }

    t->text.data = token->data;
    t->text.len = t->parts[2].data - 1 - token->data;

    return NGX_OK;
}


static ngx_centrifugo_token_rc_e
token_parse(token_t *t, ngx_centrifugo_token_kind_e kind)
{
    ngx_int_t               rc;
    ngx_centrifugo_json_t  *claims;

    rc = token_decode_part(t->arena, &t->parts[0], &t->header);

    if (rc == NGX_OK) {
        rc = token_decode_part(t->arena, &t->parts[1], &claims);
    }

    if (rc == NGX_ABORT) {
        return ngx_centrifugo_token_no_memory(t->result);
    }

    if (rc != NGX_OK) {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token is not base64url of JSON objects");
    }

    /* what is critical in it is not known here */

    if (ngx_centrifugo_json_find(t->header, "crit", 4)) {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token has critical header fields");
    }

    return ngx_centrifugo_claims_read(t->verifier, kind, t->arena, claims,
                                      &t->claims, t->result);
}


static ngx_int_t
token_decode_part(ngx_centrifugo_arena_t *arena, ngx_str_t *part,
    ngx_centrifugo_json_t **root)
{
    ngx_int_t   rc;
    ngx_str_t   text;

    /* the decoder takes what comes behind a "=" for nothing */

    if (part->len == 0 || memchr(part->data, '=', part->len) != NULL) {
        return NGX_ERROR;
    }

    text.data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(part->len));
    if (text.data == NULL) {
        return NGX_ABORT;
    }

    if (ngx_decode_base64url(&text, part) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_centrifugo_json_parse(arena, text.data, text.len, 0, root);

    if (rc == NGX_OK && (*root)->type != NGX_CENTRIFUGO_JSON_MAP) {
        return NGX_ERROR;
    }

    return rc;
}


static ngx_centrifugo_token_rc_e
token_match_claims(token_t *t)
{
    ngx_int_t                rc;
    ngx_uint_t               n;
    ngx_centrifugo_keys_t   *keys;
    ngx_centrifugo_json_t   *aud;

    keys = t->verifier->keys;
    t->issuer.regex = NULL;
    t->audience.regex = NULL;

    if (keys == NULL) {
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    if (keys->issuer.regex) {
        rc = token_match(t, &keys->issuer, &t->claims.iss, &t->issuer);

        if (rc == NGX_ABORT) {
            return ngx_centrifugo_token_no_memory(t->result);
        }

        if (rc != NGX_OK) {
            return ngx_centrifugo_token_invalid(t->result,
                                "iss of its token does not match the regex");
        }
    }

    if (keys->audience.regex == NULL) {
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    rc = NGX_DECLINED;
    aud = t->claims.aud;

    if (aud && aud->type == NGX_CENTRIFUGO_JSON_ARRAY) {
        aud = aud->child;
    }

    /* the siblings of an aud that is no list are other claims */

    for (n = 0; aud && n < TOKEN_REGEX_AUD && rc == NGX_DECLINED; n++) {
        rc = token_match(t, &keys->audience, &aud->str, &t->audience);
        aud = (aud == t->claims.aud) ? NULL : aud->next;
    }

    if (rc == NGX_ABORT) {
        return ngx_centrifugo_token_no_memory(t->result);
    }

    if (rc != NGX_OK) {
        return ngx_centrifugo_token_invalid(t->result,
                                "aud of its token does not match the regex");
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


/*
 * NGX_OK, NGX_DECLINED, NGX_ERROR: the expression needs too many steps;
 * NGX_ABORT: no memory.  What is matched is not signed yet.
 */

static ngx_int_t
token_match(token_t *t, const ngx_centrifugo_claim_regex_t *regex,
    const ngx_str_t *claim, token_match_t *match)
{
#if (NGX_PCRE)
    ngx_int_t   rc;
    ngx_uint_t  n;

    if (claim->len > TOKEN_REGEX_CLAIM) {
        return NGX_ERROR;
    }

    n = (regex->captures + 1) * 3;
    match->captures = ngx_centrifugo_arena_alloc(t->arena, n * sizeof(int));

    if (match->captures == NULL) {
        return NGX_ABORT;
    }

    ngx_memset(match->captures, 0xff, n * sizeof(int));
    match->claim = *claim;

    /* PCRE refuses a NULL pointer */

    if (match->claim.data == NULL) {
        match->claim.data = (u_char *) "";
    }

    rc = ngx_regex_exec(regex->regex, &match->claim, match->captures, n);

    if (rc < 0) {
        return (rc == NGX_REGEX_NO_MATCHED) ? NGX_DECLINED : NGX_ERROR;
    }

    match->regex = regex;

    return NGX_OK;

#else
    return NGX_ERROR;
#endif
}


static ngx_centrifugo_token_rc_e
token_signature(token_t *t)
{
    ngx_int_t                    rc;
    ngx_str_t                    name, signature;
    ngx_centrifugo_keys_t       *keys;
    const ngx_centrifugo_key_t  *key;
    const ngx_centrifugo_alg_t  *alg;
    ngx_centrifugo_token_rc_e    verdict;

    alg = NULL;

    if (ngx_centrifugo_json_string(t->header, "alg", 3, &name) == NGX_OK) {
        alg = ngx_centrifugo_alg(&name);
    }

    if (alg == NULL) {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token names no known algorithm");
    }

    keys = t->verifier->keys;

    if (keys == NULL || !(t->verifier->algorithms & alg->bit)) {
        return ngx_centrifugo_token_invalid(t->result,
                                "no key is configured for the algorithm of "
                                "its token");
    }

    if (t->parts[2].len == 0
        || t->parts[2].len > ngx_base64_encoded_length(TOKEN_SIGNATURE_MAX)
        || memchr(t->parts[2].data, '=', t->parts[2].len) != NULL)
    {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token's signature is not base64url");
    }

    signature.data = ngx_centrifugo_arena_alloc(t->arena,
                                ngx_base64_decoded_length(t->parts[2].len));
    if (signature.data == NULL) {
        return ngx_centrifugo_token_no_memory(t->result);
    }

    if (ngx_decode_base64url(&signature, &t->parts[2]) != NGX_OK) {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token's signature is not base64url");
    }

    if (keys->jwks) {
        verdict = token_jwks_key(t, alg, &key);

        if (verdict != NGX_CENTRIFUGO_TOKEN_OK) {
            return verdict;
        }

        rc = ngx_centrifugo_key_verify(key, alg, &t->text, &signature);

    } else {
        rc = token_static_key(t, alg, &signature);
    }

    if (rc != NGX_OK) {
        return ngx_centrifugo_token_invalid(t->result,
                                            "its token's signature is wrong");
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


static ngx_int_t
token_static_key(token_t *t, const ngx_centrifugo_alg_t *alg,
    const ngx_str_t *signature)
{
    time_t                  until;
    ngx_int_t               rc;
    ngx_centrifugo_keys_t  *keys;

    keys = t->verifier->keys;

    if (!(alg->bit & NGX_CENTRIFUGO_ALG_HS)) {
        return ngx_centrifugo_key_verify((alg->bit & NGX_CENTRIFUGO_ALG_RS)
                                         ? &keys->rsa : &keys->ecdsa,
                                         alg, &t->text, signature);
    }

    rc = ngx_centrifugo_secret_verify(&keys->secret, alg, &t->text, signature);

    if (rc == NGX_OK || keys->previous.ctx[0] == NULL) {
        return rc;
    }

    until = t->verifier->hmac_previous_valid_until;

    if (until != 0 && t->now >= until) {
        return NGX_DECLINED;
    }

    return ngx_centrifugo_secret_verify(&keys->previous, alg, &t->text,
                                        signature);
}


static ngx_centrifugo_token_rc_e
token_jwks_key(token_t *t, const ngx_centrifugo_alg_t *alg,
    const ngx_centrifugo_key_t **key)
{
    ngx_int_t                  rc;
    const char                *reason;
    ngx_centrifugo_keys_t     *keys;
    ngx_centrifugo_jwks_id_t   id;

    keys = t->verifier->keys;
    id.alg = alg;
    ngx_str_null(&id.kid);

    if (ngx_centrifugo_json_string(t->header, "kid", 3, &id.kid) == NGX_ERROR)
    {
        return ngx_centrifugo_token_invalid(t->result,
                                            "kid of its token is no string");
    }

    rc = token_jwks_url(t, &id.url);

    if (rc == NGX_ABORT) {
        return ngx_centrifugo_token_no_memory(t->result);
    }

    if (rc != NGX_OK) {
        return ngx_centrifugo_token_invalid(t->result,
                                "its token makes a wrong path of a JWKS");
    }

    rc = ngx_centrifugo_jwks_find(keys->jwks, &id, key, &reason);

    if (rc == NGX_OK) {
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    if (rc == NGX_AGAIN && t->missing) {
        *t->missing = id;
    }

    return ngx_centrifugo_token_invalid(t->result, reason);
}


/*
 * Puts groups of the expressions into the configured path.
 */

static ngx_int_t
token_jwks_url(token_t *t, ngx_str_t *url)
{
    size_t      len;
    u_char     *p, *end, *open, *close, *d;
    ngx_str_t   name, value, *path;

    path = &t->verifier->jwks_endpoint;
    end = path->data + path->len;

    /* at most, when all of a claim comes again for each of its groups */

    len = path->len;

    for (p = path->data; p + 1 < end; p++) {
        if (p[0] == '{' && p[1] == '{') {
            len += 3 * TOKEN_REGEX_CLAIM;
        }
    }

    d = ngx_centrifugo_arena_alloc(t->arena, len);
    if (d == NULL) {
        return NGX_ABORT;
    }

    url->data = d;

    for (p = path->data; p < end; /* void */ ) {
        open = ngx_strlchr(p, end, '{');

        if (open == NULL) {
            open = end;
        }

        d = ngx_cpymem(d, p, open - p);
        p = open;

        if (end - p < 2 || p[1] != '{') {

            if (p < end) {
                *d++ = *p++;
            }

            continue;
        }

        close = ngx_strlchr(p, end, '}');

        if (close == NULL) {
            return NGX_ERROR;
        }

        name.data = p + 2;
        name.len = close - name.data;

        /* the audience's group replaces the issuer's of the same name */

        if (!token_group(&t->audience, &name, &value)
            && !token_group(&t->issuer, &name, &value))
        {
            return NGX_ERROR;
        }

        d = (u_char *) ngx_escape_uri(d, value.data, value.len,
                                      NGX_ESCAPE_URI_COMPONENT);
        p = ngx_min(close + 2, end);
    }

    url->len = d - url->data;

    return ngx_centrifugo_jwks_clean(url) ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
token_group(const token_match_t *match, const ngx_str_t *name,
    ngx_str_t *value)
{
    int                            *capture;
    ngx_uint_t                      i;
    const ngx_centrifugo_group_t   *group;

    if (match->regex == NULL) {
        return 0;
    }

    for (i = 0; i < match->regex->ngroups; i++) {
        group = &match->regex->groups[i];

        if (group->name.len != name->len
            || ngx_memcmp(group->name.data, name->data, name->len) != 0)
        {
            continue;
        }

        capture = &match->captures[group->index * 2];
        ngx_str_null(value);

        if (capture[0] >= 0 && capture[1] > capture[0]) {
            value->data = match->claim.data + capture[0];
            value->len = capture[1] - capture[0];
        }

        return 1;
    }

    return 0;
}


static ngx_centrifugo_token_rc_e
token_exact(token_t *t)
{
    ngx_str_t              *want;
    ngx_centrifugo_json_t  *aud;

    want = &t->verifier->audience;

    if (want->len) {
        aud = t->claims.aud;

        if (aud && aud->type == NGX_CENTRIFUGO_JSON_ARRAY) {
            aud = aud->child;
        }

        while (aud && (aud->str.len != want->len
                       || ngx_memcmp(aud->str.data, want->data, want->len)
                          != 0))
        {
            aud = (aud == t->claims.aud) ? NULL : aud->next;
        }

        if (aud == NULL) {
            return ngx_centrifugo_token_invalid(t->result,
                                "its token is for another audience");
        }
    }

    want = &t->verifier->issuer;

    if (want->len
        && (t->claims.iss.len != want->len
            || ngx_memcmp(t->claims.iss.data, want->data, want->len) != 0))
    {
        return ngx_centrifugo_token_invalid(t->result,
                                            "its token has another issuer");
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


static ngx_centrifugo_token_rc_e
token_times(token_t *t)
{
    if (t->claims.has_exp && t->claims.exp <= (double) t->now) {
        return ngx_centrifugo_token_refuse(t->result,
                                           NGX_CENTRIFUGO_TOKEN_EXPIRED,
                                           "its token has expired");
    }

    if (t->claims.nbf > (double) t->now) {
        return ngx_centrifugo_token_refuse(t->result,
                                           NGX_CENTRIFUGO_TOKEN_EXPIRED,
                                           "its token is not valid yet");
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


static void
token_expiry(token_t *t)
{
    double  at;

    at = t->claims.has_expire_at ? t->claims.expire_at : t->claims.exp;

    /* a fraction of the first second is a time, not "never" */

    t->result->expire_at = (at > 0) ? ngx_max((int64_t) at, 1) : 0;
}
