/*
 * What a verifier is made of when the configuration is read: keys, expressions,
 * and a path of a JWKS that is safe.
 */

#include "ngx_centrifugo_keys.h"


#define VERIFIER_FILE_MAX  (64 * 1024)

/*
 * Claims are matched before the signature is checked, so that anybody can
 * choose them: an expression that goes back too often has not matched.  They
 * are UTF-8.
 */
#define VERIFIER_REGEX_LIMIT  "(*LIMIT_MATCH=10000)(*UTF)"


static void verifier_cleanup(void *data);
static ngx_int_t verifier_claim_name(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier);
static ngx_int_t verifier_static_keys(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, ngx_centrifugo_keys_t *keys);
static ngx_int_t verifier_public_key(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, const char *directive,
    ngx_str_t *value, ngx_uint_t algorithms, ngx_centrifugo_key_t *key);
static ngx_int_t verifier_file(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, const char *directive,
    ngx_str_t *value, ngx_str_t *pem);
static ngx_int_t verifier_regex(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, const char *directive,
    ngx_str_t *pattern, ngx_centrifugo_claim_regex_t *regex);
static ngx_int_t verifier_jwks(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, ngx_centrifugo_keys_t *keys);
static ngx_int_t verifier_placeholder(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier, ngx_centrifugo_keys_t *keys,
    ngx_str_t *name);
static ngx_uint_t verifier_has_group(const ngx_centrifugo_claim_regex_t *regex,
    const ngx_str_t *name);
static ngx_uint_t verifier_is_list(const ngx_str_t *pattern,
    const ngx_str_t *name);
static u_char *verifier_group_open(u_char *p, u_char *end,
    const ngx_str_t *name);


#define verifier_has(s, at, text)                                            \
    ((size_t) ((s) - (at)) >= sizeof(text) - 1                               \
     && ngx_memcmp(at, text, sizeof(text) - 1) == 0)


ngx_int_t
ngx_centrifugo_verifier_prepare(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier)
{
    ngx_pool_cleanup_t     *cln;
    ngx_centrifugo_keys_t  *keys;

    if (verifier->prefix == NULL) {
        verifier->prefix = "token_";
    }

    keys = ngx_pcalloc(cf->pool, sizeof(ngx_centrifugo_keys_t));
    if (keys == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = verifier_cleanup;
    cln->data = keys;

    verifier->keys = keys;
    verifier->algorithms = 0;
    verifier->check = ngx_centrifugo_token_check;

    if (verifier_claim_name(cf, verifier) != NGX_OK
        || verifier_regex(cf, verifier, "issuer_regex",
                          &verifier->issuer_regex, &keys->issuer)
           != NGX_OK
        || verifier_regex(cf, verifier, "audience_regex",
                          &verifier->audience_regex, &keys->audience)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (verifier->jwks_endpoint.len) {
        return verifier_jwks(cf, verifier, keys);
    }

    return verifier_static_keys(cf, verifier, keys);
}


ngx_uint_t
ngx_centrifugo_verifier_has_keys(const ngx_centrifugo_verifier_t *verifier)
{
    return verifier->hmac_secret_key.len || verifier->rsa_public_key.len
           || verifier->ecdsa_public_key.len || verifier->jwks_endpoint.len;
}


void
ngx_centrifugo_verifier_exit(ngx_centrifugo_verifier_t *verifier)
{
    ngx_centrifugo_keys_t  *keys;

    keys = verifier->keys;

    if (keys && keys->jwks) {
        ngx_centrifugo_jwks_exit(keys->jwks, 0);
    }
}


static void
verifier_cleanup(void *data)
{
    ngx_centrifugo_keys_t  *keys = data;

    ngx_centrifugo_secret_free(&keys->secret);
    ngx_centrifugo_secret_free(&keys->previous);
    ngx_centrifugo_key_free(&keys->rsa);
    ngx_centrifugo_key_free(&keys->ecdsa);

    if (keys->jwks) {
        ngx_centrifugo_jwks_exit(keys->jwks, 1);
    }
}


static ngx_int_t
verifier_claim_name(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier)
{
    u_char      c;
    size_t      i;
    ngx_str_t  *name;

    name = &verifier->user_id_claim;

    for (i = 0; i < name->len; i++) {
        c = name->data[i] | 0x20;

        if ((c < 'a' || c > 'z') && name->data[i] != '_') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of %suser_id_claim is not the name of "
                               "a claim: write one of letters and \"_\", like "
                               "user_id", name, verifier->prefix);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
verifier_static_keys(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_keys_t *keys)
{
    if (verifier->hmac_previous_secret_key.len
        && verifier->hmac_secret_key.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%shmac_previous_secret_key has no current key: "
                           "write %shmac_secret_key too, or this key there",
                           verifier->prefix, verifier->prefix);
        return NGX_ERROR;
    }

    if (verifier->hmac_secret_key.len) {

        if (ngx_centrifugo_secret_init(&keys->secret,
                                       &verifier->hmac_secret_key)
            != NGX_OK
            || (verifier->hmac_previous_secret_key.len
                && ngx_centrifugo_secret_init(&keys->previous,
                                         &verifier->hmac_previous_secret_key)
                   != NGX_OK))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "OpenSSL has no HMAC for %shmac_secret_key: "
                               "write %srsa_public_key or "
                               "%secdsa_public_key instead",
                               verifier->prefix, verifier->prefix,
                               verifier->prefix);
            return NGX_ERROR;
        }

        verifier->algorithms |= NGX_CENTRIFUGO_ALG_HS;
    }

    if (verifier_public_key(cf, verifier, "rsa_public_key",
                            &verifier->rsa_public_key,
                            NGX_CENTRIFUGO_ALG_RS, &keys->rsa)
        != NGX_OK
        || verifier_public_key(cf, verifier, "ecdsa_public_key",
                               &verifier->ecdsa_public_key,
                               NGX_CENTRIFUGO_ALG_ES, &keys->ecdsa)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    verifier->algorithms |= keys->rsa.algorithms | keys->ecdsa.algorithms;

    return NGX_OK;
}


static ngx_int_t
verifier_public_key(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    const char *directive, ngx_str_t *value, ngx_uint_t algorithms,
    ngx_centrifugo_key_t *key)
{
    ngx_str_t    pem;
    ngx_uint_t   rsa;
    const char  *reason, *name;

    if (value->len == 0) {
        return NGX_OK;
    }

    pem = *value;
    name = "the text";

    if (ngx_strnstr(pem.data, "-----BEGIN", pem.len) == NULL) {
        if (verifier_file(cf, verifier, directive, value, &pem) != NGX_OK) {
            return NGX_ERROR;
        }

        name = "the file";
    }

    rsa = (algorithms == NGX_CENTRIFUGO_ALG_RS);
    reason = ngx_centrifugo_key_pem(key, &pem);

    if (reason == NULL && !(key->algorithms & algorithms)) {
        reason = rsa ? "is not an RSA key" : "is not an ECDSA key";
    }

    if (reason) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s of %s%s %s: write the PEM of a public %s, or "
                           "the name of its file, as made by "
                           "\"openssl pkey -in private.pem -pubout\"",
                           name, verifier->prefix, directive, reason,
                           rsa ? "RSA key of 2048 bits or more"
                               : "EC key on P-256, P-384 or P-521");
        return NGX_ERROR;
    }

    if (rsa && EVP_PKEY_get_bits(key->pkey) < NGX_CENTRIFUGO_RSA_WARN) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "%s of %s%s is an RSA key of %d bits only: make "
                           "one of 2048 or more", name, verifier->prefix,
                           directive, EVP_PKEY_get_bits(key->pkey));
    }

    return NGX_OK;
}


static ngx_int_t
verifier_file(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    const char *directive, ngx_str_t *value, ngx_str_t *pem)
{
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_err_t    err;
    ngx_str_t    name;

    name.len = value->len;
    name.data = ngx_pnalloc(cf->pool, name.len + 1);
    pem->data = ngx_pnalloc(cf->pool, VERIFIER_FILE_MAX);

    if (name.data == NULL || pem->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(name.data, value->data, name.len);
    name.data[name.len] = '\0';

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    n = -1;
    fd = ngx_open_file(name.data, NGX_FILE_RDONLY | NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);
    err = ngx_errno;

    if (fd != NGX_INVALID_FILE) {
        n = ngx_read_fd(fd, pem->data, VERIFIER_FILE_MAX);
        err = ngx_errno;

        (void) ngx_close_file(fd);
    }

    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "the file \"%s\" of %s%s can not be read: write "
                           "the name of a PEM file, or its text",
                           name.data, verifier->prefix, directive);
        return NGX_ERROR;
    }

    pem->len = n;

    return NGX_OK;
}


static ngx_int_t
verifier_regex(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    const char *directive, ngx_str_t *pattern,
    ngx_centrifugo_claim_regex_t *regex)
{
#if (NGX_PCRE)
    int                   i;
    u_char               *p, errstr[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t   rc;
#endif

    if (pattern->len == 0) {
        return NGX_OK;
    }

#if (NGX_PCRE)

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = ngx_pnalloc(cf->pool, sizeof(VERIFIER_REGEX_LIMIT)
                                            + pattern->len);
    if (rc.pattern.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(rc.pattern.data, VERIFIER_REGEX_LIMIT,
                   sizeof(VERIFIER_REGEX_LIMIT) - 1);
    p = ngx_cpymem(p, pattern->data, pattern->len);
    *p = '\0';

    rc.pattern.len = p - rc.pattern.data;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of %s%s is not a regex: write one of PCRE, "
                           "like \"^https://(?<tenant>a|b)\\.example\\.com$\" "
                           "(%V)", pattern, verifier->prefix, directive,
                           &rc.err);
        return NGX_ERROR;
    }

    regex->regex = rc.regex;
    regex->captures = rc.captures;
    regex->ngroups = rc.named_captures;
    regex->groups = ngx_pcalloc(cf->pool, (rc.named_captures + 1)
                                          * sizeof(ngx_centrifugo_group_t));
    if (regex->groups == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < rc.named_captures; i++) {
        p = rc.names + i * rc.name_size;

        regex->groups[i].index = p[0] << 8 | p[1];
        regex->groups[i].name.data = p + 2;
        regex->groups[i].name.len = ngx_strlen(p + 2);
    }

    return NGX_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "%s%s needs an NGINX that is built with PCRE: write "
                       "%s instead, or use such an NGINX", verifier->prefix,
                       directive, *directive == 'i' ? "issuer" : "audience");
    return NGX_ERROR;

#endif
}


static ngx_int_t
verifier_jwks(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_keys_t *keys)
{
    u_char     *p, *end, *d, *close;
    ngx_str_t  *path, name, example;

    path = &verifier->jwks_endpoint;

    if (verifier->hmac_secret_key.len || verifier->hmac_previous_secret_key.len
        || verifier->rsa_public_key.len || verifier->ecdsa_public_key.len)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "other keys are not used with "
                           "%sjwks_public_endpoint: remove one or the other",
                           verifier->prefix);
    }

    if (path->data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of %sjwks_public_endpoint is not a path of "
                           "this server: write one like \"/jwks\", and an "
                           "internal location /jwks with proxy_pass to where "
                           "the keys are", path, verifier->prefix);
        return NGX_ERROR;
    }

    /* with a letter for each group it has to be a path that can be asked for */

    example.data = ngx_pnalloc(cf->pool, path->len);
    if (example.data == NULL) {
        return NGX_ERROR;
    }

    d = example.data;
    end = path->data + path->len;

    for (p = path->data; p < end; /* void */ ) {

        if (end - p < 2 || p[0] != '{' || p[1] != '{') {
            *d++ = *p++;
            continue;
        }

        close = ngx_strlchr(p, end, '}');
        name.data = p + 2;
        name.len = close ? close - name.data : 0;

        if (name.len == 0 || end - close < 2 || close[1] != '}') {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of %sjwks_public_endpoint has \"{{\" "
                               "without a name and \"}}\": write {{name}} "
                               "with a group of an expression", path,
                               verifier->prefix);
            return NGX_ERROR;
        }

        if (verifier_placeholder(cf, verifier, keys, &name) != NGX_OK) {
            return NGX_ERROR;
        }

        *d++ = 'x';
        p = close + 2;
    }

    example.len = d - example.data;

    if (!ngx_centrifugo_jwks_clean(&example)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of %sjwks_public_endpoint has \"..\", "
                           "\"//\", \"/.\" or a \"/\" at its end: write a path "
                           "like \"/jwks\"", path, verifier->prefix);
        return NGX_ERROR;
    }

    keys->jwks = ngx_centrifugo_jwks_create(cf->pool, verifier);
    if (keys->jwks == NULL) {
        return NGX_ERROR;
    }

    verifier->algorithms = NGX_CENTRIFUGO_ALG_RS | NGX_CENTRIFUGO_ALG_ES
                           | NGX_CENTRIFUGO_ALG_EDDSA;

    return NGX_OK;
}


/*
 * What a group may match decides where keys are fetched from, before a
 * signature is checked: it has to be a list of words.
 */

static ngx_int_t
verifier_placeholder(ngx_conf_t *cf, ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_keys_t *keys, ngx_str_t *name)
{
    ngx_uint_t  issuer, audience;

    issuer = verifier_has_group(&keys->issuer, name);
    audience = verifier_has_group(&keys->audience, name);

    if (!issuer && !audience) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "{{%V}} of %sjwks_public_endpoint is no group: "
                           "write (?<%V>...) in %sissuer_regex or "
                           "%saudience_regex", name, verifier->prefix, name,
                           verifier->prefix, verifier->prefix);
        return NGX_ERROR;
    }

    if (verifier->skip_jwks_check == 1) {
        return NGX_OK;
    }

    if ((issuer && !verifier_is_list(&verifier->issuer_regex, name))
        || (audience && !verifier_is_list(&verifier->audience_regex, name)))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the group \"%V\" chooses where keys are fetched "
                           "from by %sjwks_public_endpoint, but is no list of "
                           "words: write what it may be, like "
                           "(?<%V>one|two), or "
                           "\"%sinsecure_skip_jwks_endpoint_safety_check "
                           "on;\"", name, verifier->prefix, name,
                           verifier->prefix);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
verifier_has_group(const ngx_centrifugo_claim_regex_t *regex,
    const ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < regex->ngroups; i++) {
        if (regex->groups[i].name.len == name->len
            && ngx_memcmp(regex->groups[i].name.data, name->data, name->len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Whether all groups of a name are words parted by "|".  A group that is not
 * found, since it is written in some other way, is not.
 */

static ngx_uint_t
verifier_is_list(const ngx_str_t *pattern, const ngx_str_t *name)
{
    u_char      *p, *end, *body;
    ngx_uint_t   found;

    found = 0;
    end = pattern->data + pattern->len;

    for (p = pattern->data; p < end; p++) {

        if (*p == '\\') {
            p++;
            continue;
        }

        body = (*p == '(') ? verifier_group_open(p, end, name) : NULL;

        if (body == NULL) {
            continue;
        }

        for (p = body; p < end && *p != ')'; p++) {

            if (*p == '\\') {
                p++;

                /* a letter or a digit would make it something else */

                if (p == end || (*p >= '0' && *p <= '9')
                    || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z'))
                {
                    return 0;
                }

                continue;
            }

            if (ngx_strchr(".[]({}*+?^$#", *p) != NULL) {
                return 0;
            }
        }

        found = 1;
    }

    return found;
}


/*
 * Where the body of a group begins, or NULL when it is not of that name.
 */

static u_char *
verifier_group_open(u_char *p, u_char *end, const ngx_str_t *name)
{
    u_char  close;

    if (verifier_has(end, p, "(?P<")) {
        p += 4;
        close = '>';

    } else if (verifier_has(end, p, "(?<")) {
        p += 3;
        close = '>';

    } else if (verifier_has(end, p, "(?'")) {
        p += 3;
        close = '\'';

    } else {
        return NULL;
    }

    if ((size_t) (end - p) <= name->len
        || ngx_memcmp(p, name->data, name->len) != 0
        || p[name->len] != close)
    {
        return NULL;
    }

    return p + name->len + 1;
}
