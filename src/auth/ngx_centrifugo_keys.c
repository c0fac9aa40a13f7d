/*
 * Keys and signatures, by OpenSSL.  A key carries the algorithms that it is
 * for, so that a token can not choose one of another kind.
 */

#include "ngx_centrifugo_keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>


#define KEY_SIGNATURE_DER  160          /* ECDSA of 521 bits needs 139 */

#define key_member(map, name, s)                                             \
    ngx_centrifugo_json_string(map, name, sizeof(name) - 1, s)


static ngx_int_t key_ecdsa_der(const ngx_centrifugo_alg_t *alg,
    const ngx_str_t *signature, u_char *der, size_t *len);
static EVP_PKEY *key_pem(const ngx_str_t *pem, const char **reason);
static const char *key_kind(ngx_centrifugo_key_t *key);
static EVP_PKEY *key_jwk_rsa(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, ngx_uint_t *nomem);
static EVP_PKEY *key_jwk_ec(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, ngx_uint_t *nomem);
static EVP_PKEY *key_jwk_okp(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, ngx_uint_t *nomem);
static EVP_PKEY *key_from_params(const char *type, OSSL_PARAM_BLD *params);
static ngx_int_t key_jwk_bytes(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, const char *name, size_t max,
    ngx_str_t *bytes, ngx_uint_t *nomem);
static ngx_uint_t key_is(const ngx_str_t *s, const char *text);


/* the bits are in this order */

static const ngx_centrifugo_alg_t  key_algs[] = {
    { ngx_string("HS256"), 0x0001, "SHA256", NULL, 0 },
    { ngx_string("HS384"), 0x0002, "SHA384", NULL, 0 },
    { ngx_string("HS512"), 0x0004, "SHA512", NULL, 0 },
    { ngx_string("RS256"), 0x0008, "SHA256", NULL, 0 },
    { ngx_string("RS384"), 0x0010, "SHA384", NULL, 0 },
    { ngx_string("RS512"), 0x0020, "SHA512", NULL, 0 },
    { ngx_string("ES256"), 0x0040, "SHA256", "P-256", 32 },
    { ngx_string("ES384"), 0x0080, "SHA384", "P-384", 48 },
    { ngx_string("ES512"), 0x0100, "SHA512", "P-521", 66 },
    { ngx_string("EdDSA"), 0x0200, NULL, NULL, 0 }
};

#define KEY_ALGS  (sizeof(key_algs) / sizeof(key_algs[0]))


const ngx_centrifugo_alg_t *
ngx_centrifugo_alg(const ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < KEY_ALGS; i++) {
        if (name->len == key_algs[i].name.len
            && ngx_memcmp(name->data, key_algs[i].name.data, name->len) == 0)
        {
            return &key_algs[i];
        }
    }

    return NULL;
}


/*
 * A context that has its key is started again without it, which costs a
 * quarter of a new one.
 */

ngx_int_t
ngx_centrifugo_secret_init(ngx_centrifugo_secret_t *secret,
    const ngx_str_t *key)
{
    EVP_MAC     *mac;
    OSSL_PARAM   params[2];
    ngx_uint_t   i;

    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    for (i = 0; mac && i < 3; i++) {
        params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                               (char *) key_algs[i].digest, 0);
        params[1] = OSSL_PARAM_construct_end();

        secret->ctx[i] = EVP_MAC_CTX_new(mac);

        if (secret->ctx[i] == NULL
            || EVP_MAC_init(secret->ctx[i], key->data, key->len, params) != 1)
        {
            break;
        }
    }

    EVP_MAC_free(mac);

    if (i == 3) {
        return NGX_OK;
    }

    ngx_centrifugo_secret_free(secret);
    ERR_clear_error();

    return NGX_ERROR;
}


void
ngx_centrifugo_secret_free(ngx_centrifugo_secret_t *secret)
{
    ngx_uint_t  i;

    for (i = 0; i < 3; i++) {
        EVP_MAC_CTX_free(secret->ctx[i]);
        secret->ctx[i] = NULL;
    }
}


ngx_int_t
ngx_centrifugo_secret_verify(ngx_centrifugo_secret_t *secret,
    const ngx_centrifugo_alg_t *alg, const ngx_str_t *text,
    const ngx_str_t *signature)
{
    size_t        len;
    u_char        mac[EVP_MAX_MD_SIZE];
    EVP_MAC_CTX  *ctx;

    ctx = secret->ctx[alg - key_algs];

    if (EVP_MAC_init(ctx, NULL, 0, NULL) != 1
        || EVP_MAC_update(ctx, text->data, text->len) != 1
        || EVP_MAC_final(ctx, mac, &len, sizeof(mac)) != 1)
    {
        ERR_clear_error();
        return NGX_DECLINED;
    }

    return (signature->len == len
            && CRYPTO_memcmp(mac, signature->data, len) == 0)
           ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_centrifugo_key_verify(const ngx_centrifugo_key_t *key,
    const ngx_centrifugo_alg_t *alg, const ngx_str_t *text,
    const ngx_str_t *signature)
{
    int         rc;
    size_t      len;
    u_char     *sign, der[KEY_SIGNATURE_DER];
    EVP_MD_CTX *ctx;

    if (!(key->algorithms & alg->bit)) {
        return NGX_DECLINED;
    }

    sign = signature->data;
    len = signature->len;

    if (alg->half) {
        if (key_ecdsa_der(alg, signature, der, &len) != NGX_OK) {
            return NGX_DECLINED;
        }

        sign = der;
    }

    ctx = EVP_MD_CTX_new();

    rc = (ctx != NULL
          && EVP_DigestVerifyInit_ex(ctx, NULL, alg->digest, NULL, NULL,
                                     key->pkey, NULL) == 1
          && EVP_DigestVerify(ctx, sign, len, text->data, text->len) == 1);

    EVP_MD_CTX_free(ctx);

    if (!rc) {

        /* or the next TLS connection finds it */

        ERR_clear_error();
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * A token has r and s one behind the other, OpenSSL wants them in DER.
 */

static ngx_int_t
key_ecdsa_der(const ngx_centrifugo_alg_t *alg, const ngx_str_t *signature,
    u_char *der, size_t *len)
{
    int         n;
    u_char     *p;
    BIGNUM     *r, *s;
    ECDSA_SIG  *sig;

    if (signature->len != 2 * alg->half) {
        return NGX_DECLINED;
    }

    n = 0;
    sig = ECDSA_SIG_new();
    r = BN_bin2bn(signature->data, (int) alg->half, NULL);
    s = BN_bin2bn(signature->data + alg->half, (int) alg->half, NULL);

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        p = der;
        n = i2d_ECDSA_SIG(sig, NULL);
        n = (n <= KEY_SIGNATURE_DER) ? i2d_ECDSA_SIG(sig, &p) : 0;

    } else {
        BN_free(r);
        BN_free(s);
    }

    ECDSA_SIG_free(sig);

    if (n <= 0) {
        ERR_clear_error();
        return NGX_DECLINED;
    }

    *len = n;

    return NGX_OK;
}


const char *
ngx_centrifugo_key_pem(ngx_centrifugo_key_t *key, const ngx_str_t *pem)
{
    const char  *reason;

    reason = NULL;
    key->pkey = key_pem(pem, &reason);

    if (reason == NULL) {
        reason = key_kind(key);
    }

    if (reason) {
        ngx_centrifugo_key_free(key);
    }

    ERR_clear_error();

    return reason;
}


static EVP_PKEY *
key_pem(const ngx_str_t *pem, const char **reason)
{
    BIO           *bio;
    long           len;
    char          *name, *header;
    X509          *cert;
    u_char        *data;
    EVP_PKEY      *pkey;
    ngx_str_t      type;
    const u_char  *p;

    name = NULL;
    header = NULL;
    data = NULL;
    pkey = NULL;

    bio = BIO_new_mem_buf(pem->data, (int) pem->len);

    if (bio == NULL || PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
        BIO_free(bio);
        *reason = "is not PEM";
        return NULL;
    }

    type.data = (u_char *) name;
    type.len = ngx_strlen(name);
    p = data;
    *reason = "has no public key that can be read";

    if (key_is(&type, "PUBLIC KEY")) {
        pkey = d2i_PUBKEY(NULL, &p, len);

    } else if (key_is(&type, "RSA PUBLIC KEY")) {
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, len);

    } else if (key_is(&type, "CERTIFICATE")) {
        cert = d2i_X509(NULL, &p, len);
        pkey = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);

    } else if (ngx_strstr(name, "PRIVATE KEY") != NULL) {
        *reason = "is a private key";
    }

    if (pkey) {
        *reason = NULL;
    }

    OPENSSL_clear_free(data, len);
    OPENSSL_free(header);
    OPENSSL_free(name);
    BIO_free(bio);

    return pkey;
}


/*
 * Which algorithms a public key can verify.
 */

static const char *
key_kind(ngx_centrifugo_key_t *key)
{
    int          nid;
    char         name[32];
    ngx_uint_t   i;

    if (EVP_PKEY_is_a(key->pkey, "RSA")) {

        if (EVP_PKEY_get_bits(key->pkey) < NGX_CENTRIFUGO_RSA_MIN) {
            return "is an RSA key of less than 1024 bits";
        }

        if (EVP_PKEY_get_bits(key->pkey) > NGX_CENTRIFUGO_RSA_MAX) {
            return "is an RSA key of more than 16384 bits";
        }

        key->algorithms = NGX_CENTRIFUGO_ALG_RS;
        return NULL;
    }

    if (EVP_PKEY_is_a(key->pkey, "ED25519")) {
        key->algorithms = NGX_CENTRIFUGO_ALG_EDDSA;
        return NULL;
    }

    if (!EVP_PKEY_is_a(key->pkey, "EC")) {
        return "is a key of another kind";
    }

    /* one curve has several names */

    nid = (EVP_PKEY_get_group_name(key->pkey, name, sizeof(name), NULL) == 1)
          ? OBJ_sn2nid(name) : NID_undef;

    if (nid == NID_undef) {
        nid = EC_curve_nist2nid(name);
    }

    for (i = 0; i < KEY_ALGS; i++) {
        if (key_algs[i].curve && nid == EC_curve_nist2nid(key_algs[i].curve)) {
            key->algorithms = key_algs[i].bit;
            return NULL;
        }
    }

    return "is of a curve other than P-256, P-384 and P-521";
}


ngx_int_t
ngx_centrifugo_key_jwk(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, ngx_centrifugo_key_t *key)
{
    ngx_str_t                    type, use, name;
    ngx_uint_t                   nomem;
    const ngx_centrifugo_alg_t  *alg;

    ngx_memzero(key, sizeof(ngx_centrifugo_key_t));
    nomem = 0;
    alg = NULL;

    if (key_member(jwk, "use", &use) != NGX_OK || !key_is(&use, "sig")
        || key_member(jwk, "kty", &type) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    switch (key_member(jwk, "alg", &name)) {

    case NGX_OK:
        alg = ngx_centrifugo_alg(&name);

        if (alg == NULL) {
            return NGX_DECLINED;
        }

        break;

    case NGX_DECLINED:
        break;

    default:
        return NGX_DECLINED;
    }

    if (key_is(&type, "RSA")) {
        key->pkey = key_jwk_rsa(arena, jwk, &nomem);

    } else if (key_is(&type, "EC")) {
        key->pkey = key_jwk_ec(arena, jwk, &nomem);

    } else if (key_is(&type, "OKP")) {
        key->pkey = key_jwk_okp(arena, jwk, &nomem);
    }

    if (nomem) {
        return NGX_ABORT;
    }

    if (key->pkey && key_kind(key) == NULL
        && (alg == NULL || (key->algorithms & alg->bit)))
    {
        if (alg) {
            key->algorithms = alg->bit;
        }

        return NGX_OK;
    }

    ngx_centrifugo_key_free(key);
    ERR_clear_error();

    return NGX_DECLINED;
}


static EVP_PKEY *
key_jwk_rsa(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *jwk,
    ngx_uint_t *nomem)
{
    BIGNUM          *n, *e;
    EVP_PKEY        *pkey;
    ngx_str_t        modulus, exponent;
    OSSL_PARAM_BLD  *params;

    /* one more byte for a zero that some put in front */

    if (key_jwk_bytes(arena, jwk, "n", NGX_CENTRIFUGO_RSA_MAX / 8 + 1,
                      &modulus, nomem)
        != NGX_OK
        || key_jwk_bytes(arena, jwk, "e", 8, &exponent, nomem) != NGX_OK)
    {
        return NULL;
    }

    pkey = NULL;
    n = BN_bin2bn(modulus.data, (int) modulus.len, NULL);
    e = BN_bin2bn(exponent.data, (int) exponent.len, NULL);
    params = OSSL_PARAM_BLD_new();

    if (n && e && params && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e)
        && OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_N, n) == 1
        && OSSL_PARAM_BLD_push_BN(params, OSSL_PKEY_PARAM_RSA_E, e) == 1)
    {
        pkey = key_from_params("RSA", params);
    }

    OSSL_PARAM_BLD_free(params);
    BN_free(n);
    BN_free(e);

    return pkey;
}


static EVP_PKEY *
key_jwk_ec(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *jwk,
    ngx_uint_t *nomem)
{
    u_char                       point[1 + 2 * 66];
    EVP_PKEY                    *pkey;
    ngx_str_t                    crv, x, y;
    ngx_uint_t                   i;
    OSSL_PARAM_BLD              *params;
    const ngx_centrifugo_alg_t  *alg;

    if (key_member(jwk, "crv", &crv) != NGX_OK) {
        return NULL;
    }

    alg = NULL;

    for (i = 0; i < KEY_ALGS; i++) {
        if (key_algs[i].curve && key_is(&crv, key_algs[i].curve)) {
            alg = &key_algs[i];
        }
    }

    if (alg == NULL
        || key_jwk_bytes(arena, jwk, "x", alg->half, &x, nomem) != NGX_OK
        || key_jwk_bytes(arena, jwk, "y", alg->half, &y, nomem) != NGX_OK
        || x.len != alg->half || y.len != alg->half)
    {
        return NULL;
    }

    /* that the point is on the curve is checked when the key is made */

    point[0] = POINT_CONVERSION_UNCOMPRESSED;
    ngx_memcpy(point + 1, x.data, x.len);
    ngx_memcpy(point + 1 + x.len, y.data, y.len);

    pkey = NULL;
    params = OSSL_PARAM_BLD_new();

    if (params
        && OSSL_PARAM_BLD_push_utf8_string(params, OSSL_PKEY_PARAM_GROUP_NAME,
                                           alg->curve, 0)
           == 1
        && OSSL_PARAM_BLD_push_octet_string(params, OSSL_PKEY_PARAM_PUB_KEY,
                                            point, 1 + x.len + y.len)
           == 1)
    {
        pkey = key_from_params("EC", params);
    }

    OSSL_PARAM_BLD_free(params);

    return pkey;
}


static EVP_PKEY *
key_jwk_okp(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *jwk,
    ngx_uint_t *nomem)
{
    ngx_str_t  crv, x;

    if (key_member(jwk, "crv", &crv) != NGX_OK || !key_is(&crv, "Ed25519")
        || key_jwk_bytes(arena, jwk, "x", 32, &x, nomem) != NGX_OK)
    {
        return NULL;
    }

    /* another length is refused there */

    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len);
}


static EVP_PKEY *
key_from_params(const char *type, OSSL_PARAM_BLD *params)
{
    EVP_PKEY      *pkey;
    OSSL_PARAM    *list;
    EVP_PKEY_CTX  *ctx;

    pkey = NULL;
    list = OSSL_PARAM_BLD_to_param(params);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    if (list == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1
        || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, list) != 1)
    {
        pkey = NULL;
    }

    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(list);

    return pkey;
}


static ngx_int_t
key_jwk_bytes(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *jwk,
    const char *name, size_t max, ngx_str_t *bytes, ngx_uint_t *nomem)
{
    ngx_str_t  text;

    if (ngx_centrifugo_json_string(jwk, name, ngx_strlen(name), &text)
        != NGX_OK
        || text.len == 0 || text.len > (max * 4 + 2) / 3
        || memchr(text.data, '=', text.len) != NULL)
    {
        return NGX_ERROR;
    }

    bytes->data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(text.len));
    if (bytes->data == NULL) {
        *nomem = 1;
        return NGX_ERROR;
    }

    return ngx_decode_base64url(bytes, &text);
}


void
ngx_centrifugo_key_free(ngx_centrifugo_key_t *key)
{
    EVP_PKEY_free(key->pkey);
    key->pkey = NULL;
    key->algorithms = 0;
}


static ngx_uint_t
key_is(const ngx_str_t *s, const char *text)
{
    return s->len == ngx_strlen(text)
           && ngx_memcmp(s->data, text, s->len) == 0;
}
