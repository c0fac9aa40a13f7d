/*
 * Algorithms, keys, and where a verifier has its own: inside of src/auth.
 */

#ifndef _NGX_CENTRIFUGO_KEYS_H_INCLUDED_
#define _NGX_CENTRIFUGO_KEYS_H_INCLUDED_


#include "ngx_centrifugo_auth.h"
#include "../protocol/ngx_centrifugo_json.h"

#include <openssl/evp.h>


#if (OPENSSL_VERSION_NUMBER < 0x30000000L)
#error "ngx_centrifugo_module needs OpenSSL 3.0 or later"
#endif


/* bits of verifier->algorithms, and of what a key is for */
#define NGX_CENTRIFUGO_ALG_HS     0x0007
#define NGX_CENTRIFUGO_ALG_RS     0x0038
#define NGX_CENTRIFUGO_ALG_ES     0x01c0
#define NGX_CENTRIFUGO_ALG_EDDSA  0x0200

#define NGX_CENTRIFUGO_RSA_MIN    1024      /* bits */
#define NGX_CENTRIFUGO_RSA_WARN   2048
#define NGX_CENTRIFUGO_RSA_MAX    16384

typedef struct {
    ngx_str_t             name;             /* in a token's header */
    ngx_uint_t            bit;
    const char           *digest;           /* NULL: has its own */
    const char           *curve;
    size_t                half;             /* bytes of r and of s */
} ngx_centrifugo_alg_t;

typedef struct {
    EVP_PKEY             *pkey;             /* NULL: none */
    ngx_uint_t            algorithms;       /* bits that it can verify */
} ngx_centrifugo_key_t;

/* a secret, one context for each digest */
typedef struct {
    EVP_MAC_CTX          *ctx[3];
} ngx_centrifugo_secret_t;

typedef struct {
    ngx_str_t             name;
    ngx_uint_t            index;            /* of its capture */
} ngx_centrifugo_group_t;

/* an expression for a claim */
typedef struct {
    void                    *regex;         /* ngx_regex_t, NULL: none */
    ngx_uint_t               captures;
    ngx_centrifugo_group_t  *groups;
    ngx_uint_t               ngroups;
} ngx_centrifugo_claim_regex_t;

typedef struct ngx_centrifugo_jwks_s  ngx_centrifugo_jwks_t;

/* verifier->keys */
typedef struct {
    ngx_centrifugo_secret_t        secret;
    ngx_centrifugo_secret_t        previous;
    ngx_centrifugo_key_t           rsa;
    ngx_centrifugo_key_t           ecdsa;
    ngx_centrifugo_claim_regex_t   issuer;
    ngx_centrifugo_claim_regex_t   audience;
    ngx_centrifugo_jwks_t         *jwks;    /* NULL: the keys above */
} ngx_centrifugo_keys_t;


/* The algorithm of a name, or NULL for what is never accepted. */
const ngx_centrifugo_alg_t *ngx_centrifugo_alg(const ngx_str_t *name);

ngx_int_t ngx_centrifugo_secret_init(ngx_centrifugo_secret_t *secret,
    const ngx_str_t *key);
void ngx_centrifugo_secret_free(ngx_centrifugo_secret_t *secret);

/* NGX_OK when the signature is that of the text, else NGX_DECLINED */
ngx_int_t ngx_centrifugo_secret_verify(ngx_centrifugo_secret_t *secret,
    const ngx_centrifugo_alg_t *alg, const ngx_str_t *text,
    const ngx_str_t *signature);
ngx_int_t ngx_centrifugo_key_verify(const ngx_centrifugo_key_t *key,
    const ngx_centrifugo_alg_t *alg, const ngx_str_t *text,
    const ngx_str_t *signature);

/*
 * Makes a key of PEM: a public key, or a certificate.  Returns NULL, or what
 * is wrong with it, as the end of a sentence.
 */
const char *ngx_centrifugo_key_pem(ngx_centrifugo_key_t *key,
    const ngx_str_t *pem);

/*
 * Makes a key of a JWK.  NGX_OK; NGX_DECLINED: it is for something else, or
 * broken; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_key_jwk(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *jwk, ngx_centrifugo_key_t *key);

void ngx_centrifugo_key_free(ngx_centrifugo_key_t *key);


/*
 * The keys of a verifier's JWKS.  `url` is a path with arguments, in which all
 * groups are replaced.
 */
typedef struct {
    ngx_str_t                    url;
    ngx_str_t                    kid;
    const ngx_centrifugo_alg_t  *alg;
} ngx_centrifugo_jwks_id_t;

ngx_centrifugo_jwks_t *ngx_centrifugo_jwks_create(ngx_pool_t *pool,
    ngx_centrifugo_verifier_t *verifier);

/*
 * NGX_OK: `*key` is there until the next call of anything here; NGX_AGAIN: it
 * may come when it is waited for; NGX_DECLINED: *reason says why there is
 * none.
 */
ngx_int_t ngx_centrifugo_jwks_find(ngx_centrifugo_jwks_t *jwks,
    const ngx_centrifugo_jwks_id_t *id, const ngx_centrifugo_key_t **key,
    const char **reason);

/*
 * Fetches keys and checks the token again when they are there.  NGX_OK: `done`
 * is called, perhaps it was already; else *reason says why not.
 */
ngx_int_t ngx_centrifugo_jwks_wait(ngx_centrifugo_jwks_t *jwks,
    const ngx_centrifugo_jwks_id_t *id, ngx_centrifugo_token_kind_e kind,
    const ngx_str_t *token, const ngx_centrifugo_verified_t *done,
    const char **reason);

/*
 * Frees all keys; who waits is told so, or nobody any more when `silent`.
 */
void ngx_centrifugo_jwks_exit(ngx_centrifugo_jwks_t *jwks, ngx_uint_t silent);

/* whether a path, up to its arguments, is in clean form */
ngx_uint_t ngx_centrifugo_jwks_clean(const ngx_str_t *url);


#endif /* _NGX_CENTRIFUGO_KEYS_H_INCLUDED_ */
