/* Tokens of all kinds, keys, JWKS; origins, names of channels, secrets. */

#include "unit.h"
#include "stubs_conf.h"
#include "auth/ngx_centrifugo_auth.h"

#include <ngx_event.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <sys/stat.h>
#include <time.h>

#define NOW  1700000000

#define OK       NGX_CENTRIFUGO_TOKEN_OK
#define INVALID  NGX_CENTRIFUGO_TOKEN_INVALID
#define EXPIRED  NGX_CENTRIFUGO_TOKEN_EXPIRED
#define CHANNEL  NGX_CENTRIFUGO_TOKEN_CHANNEL
#define ERROR    NGX_CENTRIFUGO_TOKEN_ERROR

#define CONN     NGX_CENTRIFUGO_TOKEN_CONNECTION
#define SUB      NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION

#define N(t)     (sizeof(t) / sizeof((t)[0]))


static const ngx_centrifugo_channel_syntax_t  syntax = { '$', ':', '#', ',' };

static ngx_centrifugo_arena_t      arena;
static ngx_centrifugo_verifier_t   verifier;
static ngx_centrifugo_token_t      result;
static ngx_pool_t                  pool;
static ngx_cycle_t                 cycle;
static ngx_log_t                   test_log;
static ngx_conf_t                  conf;

static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                              "uvwxyz0123456789-_";

static EVP_PKEY  *rsa, *rsa2, *small, *tiny, *ec[3], *k1, *ed;


static char *
b64url(const u_char *p, size_t len)
{
    char    *s, *d;
    size_t   i;

    s = ngx_centrifugo_arena_alloc(&arena, len * 2 + 8);
    EVP_EncodeBlock((u_char *) s, p, (int) len);

    for (i = 0, d = s; s[i]; i++) {
        if (s[i] != '=') {
            *d++ = (s[i] == '+') ? '-' : (s[i] == '/') ? '_' : s[i];
        }
    }

    *d = '\0';

    return s;
}


/* the first two parts, with room for the third */

static char *
unsigned_token(const char *header, const char *claims)
{
    char  *text;

    text = ngx_centrifugo_arena_alloc(&arena, 4 * (strlen(header)
                                                   + strlen(claims)) + 4000);
    sprintf(text, "%s.%s", b64url((u_char *) header, strlen(header)),
            b64url((u_char *) claims, strlen(claims)));

    return text;
}


static ngx_str_t
token(const char *header, const char *claims, const EVP_MD *md,
    const char *key)
{
    char      *text;
    u_char     mac[64];
    unsigned   len;

    text = unsigned_token(header, claims);
    HMAC(md, key, (int) strlen(key), (u_char *) text, strlen(text), mac, &len);
    sprintf(text + strlen(text), ".%s", b64url(mac, len));

    return S(text);
}


/* half: bytes of r and of s; 0: the signature is as OpenSSL makes it */

static ngx_str_t
signed_token(const char *header, const char *claims, EVP_PKEY *pkey,
    const EVP_MD *md, int half)
{
    char          *text;
    size_t         len;
    u_char         sig[2100], raw[200];
    ECDSA_SIG     *es;
    EVP_MD_CTX    *ctx;
    const u_char  *p;

    text = unsigned_token(header, claims);
    len = sizeof(sig);
    ctx = EVP_MD_CTX_new();
    EVP_DigestSignInit(ctx, NULL, md, NULL, pkey);
    EVP_DigestSign(ctx, sig, &len, (u_char *) text, strlen(text));
    EVP_MD_CTX_free(ctx);

    if (half) {
        p = sig;
        es = d2i_ECDSA_SIG(NULL, &p, len);
        BN_bn2binpad(ECDSA_SIG_get0_r(es), raw, half);
        BN_bn2binpad(ECDSA_SIG_get0_s(es), raw + half, half);
        ECDSA_SIG_free(es);
        sprintf(text + strlen(text), ".%s", b64url(raw, 2 * half));

    } else {
        sprintf(text + strlen(text), ".%s", b64url(sig, len));
    }

    return S(text);
}


/* the same token with bytes behind the right signature */

static ngx_str_t
longer(ngx_str_t t)
{
    char    *text, *p;
    u_char   sig[300];
    size_t   i, len, bits;
    int      acc;

    text = ngx_centrifugo_arena_alloc(&arena, t.len + 400);
    strcpy(text, (char *) t.data);
    p = strrchr(text, '.') + 1;
    len = 0;
    acc = 0;
    bits = 0;

    for (i = 0; p[i]; i++) {
        acc = acc << 6 | (int) (strchr(digits, p[i]) - digits);
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            sig[len++] = acc >> bits & 0xff;
            acc &= (1 << bits) - 1;
        }
    }

    memset(sig + len, 0, 4);
    strcpy(p, b64url(sig, len + 4));

    return S(text);
}


static char *
pem_of(EVP_PKEY *pkey, int private)
{
    BIO   *bio;
    char  *p, *text;
    long   len;

    bio = BIO_new(BIO_s_mem());

    if (private) {
        PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    } else {
        PEM_write_bio_PUBKEY(bio, pkey);
    }

    len = BIO_get_mem_data(bio, &p);
    text = ngx_centrifugo_arena_alloc(&arena, len + 1);
    memcpy(text, p, len);
    text[len] = '\0';
    BIO_free(bio);

    return text;
}


static void
keys_make(void)
{
    rsa = EVP_RSA_gen(2048);
    rsa2 = EVP_RSA_gen(2048);
    small = EVP_RSA_gen(1024);
    tiny = EVP_RSA_gen(768);
    ec[0] = EVP_EC_gen("P-256");
    ec[1] = EVP_EC_gen("P-384");
    ec[2] = EVP_EC_gen("P-521");
    k1 = EVP_EC_gen("secp256k1");
    ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}


static void
keys_free(void)
{
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(rsa2);
    EVP_PKEY_free(small);
    EVP_PKEY_free(tiny);
    EVP_PKEY_free(ec[0]);
    EVP_PKEY_free(ec[1]);
    EVP_PKEY_free(ec[2]);
    EVP_PKEY_free(k1);
    EVP_PKEY_free(ed);
}


/* all namespaces but one are known */

static ngx_uint_t
known(void *data, const ngx_str_t *channel)
{
    ngx_str_t  ns;

    ngx_centrifugo_channel_namespace(&syntax, channel, &ns);

    return ns.len != 2 || memcmp(ns.data, "no", 2) != 0;
}


static void
begin(void)
{
    stub_pool_free(&pool);
    memset(&verifier, 0, sizeof(verifier));
    verifier.prefix = "token_";
    verifier.known = known;
    stub_messages = 0;
    stub_message[0] = '\0';
    test_log.log_level = NGX_LOG_DEBUG;
    cycle.log = &test_log;
    ngx_cycle = &cycle;
    ngx_cached_time->sec = NOW;
    conf.pool = &pool;
    conf.cycle = &cycle;
}


static int
prepare(void)
{
    return ngx_centrifugo_verifier_prepare(&conf, &verifier) == NGX_OK;
}


/* whether it is refused with a message that has both texts */

static int
refused(const char *directive, const char *what)
{
    int  rc;

    rc = prepare();

    if (rc || stub_level != NGX_LOG_EMERG || stub_messages != 1
        || !strstr(stub_message, directive) || !strstr(stub_message, what))
    {
        fprintf(stderr, "rc %d: %s\n", rc, stub_message);
        return 0;
    }

    return 1;
}


static int
verify_as(ngx_centrifugo_token_kind_e kind, ngx_str_t t)
{
    int  rc;

    rc = ngx_centrifugo_token_verify(&verifier, kind, &arena, &t, NOW,
                                     &result);

    /* each refusal says why, and OpenSSL's queue stays empty */

    CHECK((rc == OK) == (result.reason == NULL));
    CHECK(ERR_peek_error() == 0);

    return rc;
}


#define verify(t)   verify_as(CONN, t)
#define HS256       "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define CLAIMS(c)   verify(token(HS256, c, EVP_sha256(), "secret"))


static char *
put(char *p, const char *name, ngx_str_t *s)
{
    return s->len ? p + sprintf(p, " %s=%.*s", name, (int) s->len, s->data)
                  : p;
}


static char *
put_override(char *p, ngx_centrifugo_override_t *o)
{
    return o->set ? p + sprintf(p, " o=%d/%d", (int) o->set, (int) o->value)
                  : p;
}


/* what a token said */

static const char *
told(void)
{
    char                        *p;
    ngx_uint_t                   n;
    static char                  text[4096];
    ngx_centrifugo_token_sub_t  *sub;

    p = text;
    *p = '\0';
    p = put(p, "u", &result.user);
    p = put(p, "i", &result.info);

    if (result.expire_at) {
        p += sprintf(p, " e=%lld", (long long) result.expire_at - NOW);
    }

    p = put(p, "m", &result.meta);
    p = put(p, "c", &result.channel);
    p = put(p, "k", &result.client);
    p = put(p, "d", &result.data);
    p = put_override(p, &result.override);

    for (sub = result.subs, n = 0; sub; sub = sub->next, n++) {
        p += sprintf(p, " [%.*s", (int) sub->channel.len, sub->channel.data);
        p = put(p, "i", &sub->info);
        p = put(p, "d", &sub->data);
        p = put_override(p, &sub->override);
        p += sprintf(p, "]");
    }

    CHECK(n == result.nsubs);

    return text[0] ? text + 1 : text;
}


/* rc, and what the token says or the begin of the reason */

static void
row(int line, ngx_centrifugo_token_kind_e kind, ngx_str_t t, int rc,
    const char *text)
{
    int          got;
    const char  *says;

    got = verify_as(kind, t);
    says = (got == OK) ? told() : result.reason;
    unit_checks++;

    if (got != rc || (rc == OK ? strcmp(says, text) != 0
                               : strstr(says, text) == NULL))
    {
        unit_failed++;
        fprintf(stderr, "%s:%d: %d \"%s\" instead of %d \"%s\"\n", __FILE__,
                line, got, says, rc, text);
    }

    ngx_centrifugo_arena_reset(&arena);
}


static void
connection_claims(void)
{
    size_t  i;
    static const struct { int line; const char *c; int rc; const char *says; }
    t[] = {
#define R  __LINE__,
        { R "{}", OK, "" },
        { R "{\"sub\":\"42\",\"info\":{ \"n\":1.0e5 }}", OK,
          "u=42 i={ \"n\":1.0e5 }" },
        { R "{\"sub\":null,\"info\":null,\"exp\":null}", OK, "" },
        { R "{\"sub\":\"4\\u0032\",\"info\":[1, 2]}", OK, "u=42 i=[1, 2]" },
        { R "{\"iat\":\"x\",\"jti\":5,\"eto\":true,\"caps\":1}", OK, "" },
        { R "{\"sub\":1}", INVALID, "sub of" },
        { R "[]", INVALID, "JSON objects" },
        { R "1", INVALID, "JSON objects" },
        { R "{", INVALID, "JSON objects" },
        { R "{}x", INVALID, "JSON objects" },

        { R "{\"exp\":1700000001}", OK, "e=1" },
        { R "{\"exp\":\"1700000001\"}", OK, "e=1" },
        { R "{\"exp\":1700000001.5}", OK, "e=1" },
        { R "{\"exp\":\"1700000001.5\"}", OK, "e=1" },
        { R "{\"exp\":1.700000001e9}", OK, "e=1" },
        { R "{\"exp\":1700000000.5}", OK, "e=0" },
        { R "{\"exp\":1700000000}", EXPIRED, "expired" },
        { R "{\"exp\":0}", EXPIRED, "expired" },
        { R "{\"exp\":-5}", EXPIRED, "expired" },
        { R "{\"exp\":-1e300}", EXPIRED, "expired" },
        { R "{\"exp\":1e15}", OK, "e=999998300000000" },
        { R "{\"exp\":1e300}", OK, "e=999998300000000" },
        { R "{\"exp\":\"x\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":\"\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":\"inf\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":\" 1700000001\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":\"1700000001x\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":\"1700000001\\u0000\"}", INVALID, "exp or nbf" },
        { R "{\"exp\":true}", INVALID, "exp or nbf" },
        { R "{\"exp\":\"1000000000000000000000000000000000000000000\"}",
          INVALID, "exp or nbf" },
        { R "{\"nbf\":1700000001}", EXPIRED, "not valid yet" },
        { R "{\"nbf\":1700000000.5}", EXPIRED, "not valid yet" },
        { R "{\"nbf\":1700000000}", OK, "" },
        { R "{\"nbf\":{}}", INVALID, "exp or nbf" },
        { R "{\"exp\":1700000009,\"expire_at\":1700000005}", OK, "e=5" },
        { R "{\"exp\":1700000009,\"expire_at\":0}", OK, "" },
        { R "{\"exp\":1700000009,\"expire_at\":-1}", OK, "" },
        { R "{\"exp\":1700000009,\"expire_at\":0.5}", OK, "e=-1699999999" },
        { R "{\"exp\":1700000009,\"expire_at\":null}", OK, "e=9" },
        { R "{\"expire_at\":1700000005}", OK, "e=5" },
        { R "{\"exp\":1,\"expire_at\":0}", EXPIRED, "expired" },
        { R "{\"expire_at\":[]}", INVALID, "expire_at" },

        { R "{\"b64info\":\"eyJhIjoxfQ==\"}", OK, "i={\"a\":1}" },
        { R "{\"b64info\":\"eyJhIjoxfQ==\",\"info\":2}", OK, "i={\"a\":1}" },
        { R "{\"b64info\":\"\",\"info\":2}", OK, "i=2" },
        { R "{\"b64info\":\"*\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"eyJhIjoxfQ\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"eyJ=IjoxfQ==\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"eyJhIjoxf===\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"eyJhIjox=Q==\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"====\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"YWJj\"}", ERROR, "b64info" },    /* abc */
        { R "{\"b64info\":\"MQ=x\"}", ERROR, "b64info" },
        { R "{\"b64info\":\"Iv8i\"}", ERROR, "b64info" },    /* not UTF-8 */
        { R "{\"b64info\":1}", INVALID, "b64info" },

        { R "{\"meta\":{\"a\":[1]}}", OK, "m={\"a\":[1]}" },
        { R "{\"meta\":null}", OK, "" },
        { R "{\"meta\":1}", INVALID, "meta" },

        { R "{\"channel\":\"c\"}", INVALID, "subscription token" },
        { R "{\"channel\":\"\"}", OK, "" },
        { R "{\"channel\":7}", INVALID, "channel of" },

        { R "{\"channels\":[\"a\",\"ns:b\"]}", OK, "[a] [ns:b]" },
        { R "{\"channels\":[\"a\",\"\",null,\"b\",\"a\"]}", OK, "[a] [b]" },
        { R "{\"channels\":[]}", OK, "" },
        { R "{\"channels\":null}", OK, "" },
        { R "{\"channels\":{}}", INVALID, "channels" },
        { R "{\"channels\":[1]}", INVALID, "channels" },
        { R "{\"channels\":[\"no:a\"]}", CHANNEL, "namespace" },
        { R "{\"channels\":[\"a\"],\"subs\":{}}", OK, "[a]" },
        { R "{\"channels\":[\"a\"],\"subs\":{\"b\":{}}}", OK, "[b]" },
        { R "{\"channels\":[\"no:a\"],\"subs\":{\"b\":{}}}", OK, "[b]" },
        { R "{\"channels\":[1],\"subs\":{\"b\":{}}}", INVALID, "channels" },
        { R "{\"channels\":[\"a\"],\"subs\":{\"\":{}}}", OK, "" },

        { R "{\"subs\":{\"a\":null,\"b\":{}}}", OK, "[a] [b]" },
        { R "{\"subs\":{\"a\":{\"info\":1},\"a\":{\"data\":2},\"b\":{}}}", OK,
          "[a d=2] [b]" },
        { R "{\"subs\":{\"a\":{\"info\":{ },\"data\":[]}}}", OK,
          "[a i={ } d=[]]" },
        { R "{\"subs\":{\"a\":{\"b64info\":\"MQ==\",\"b64data\":\"Mg==\","
          "\"data\":3}}}", OK, "[a i=1 d=2]" },
        { R "{\"subs\":{\"data\":{\"info\":1},\"info\":{\"data\":{}}}}", OK,
          "[data i=1] [info d={}]" },
        { R "{\"subs\":{\"data\":{\"info\":1,\"b64data\":2}}}", INVALID,
          "b64data" },
        { R "{\"subs\":{\"no:a\":{}}}", CHANNEL, "namespace" },
        { R "{\"subs\":{\"$no:a\":{}}}", CHANNEL, "namespace" },
        { R "{\"subs\":[]}", INVALID, "subs" },
        { R "{\"subs\":{\"a\":1}}", INVALID, "subs" },
        { R "{\"subs\":{\"a\":[]}}", INVALID, "subs" },
        { R "{\"subs\":{\"a\":{\"b64info\":1}}}", INVALID, "b64info" },
        { R "{\"subs\":{\"a\":{\"b64data\":{}}}}", INVALID, "b64data" },
        { R "{\"subs\":{\"a\":{\"b64info\":\"*\"}}}", INVALID, "in subs" },
        { R "{\"subs\":{\"a\":{\"b64data\":\"*\"}}}", INVALID, "in subs" },
        { R "{\"subs\":{\"a\":{\"b64data\":\"YWJj\"}}}", INVALID, "in subs" },

        { R "{\"subs\":{\"a\":{\"override\":{\"presence\":{\"value\":true},"
          "\"join_leave\":{\"value\":false},\"force_push_join_leave\":{},"
          "\"force_recovery\":null}}}}", OK, "[a o=7/1]" },
        { R "{\"subs\":{\"a\":{\"override\":{\"force_recovery\":{\"value\":"
          "true},\"force_positioning\":{\"value\":true},\"x\":5}}}}", OK,
          "[a o=24/24]" },
        { R "{\"subs\":{\"a\":{\"override\":null}}}", OK, "[a]" },
        { R "{\"subs\":{\"a\":{\"override\":5}}}", INVALID, "override" },
        { R "{\"subs\":{\"a\":{\"override\":{\"presence\":true}}}}", INVALID,
          "override" },
        { R "{\"subs\":{\"a\":{\"override\":{\"presence\":{\"value\":1}}}}}",
          INVALID, "override" },

        /* what only a subscription token has is not looked at */

        { R "{\"client\":1,\"data\":{},\"b64data\":1,\"override\":1}", OK,
          "" },
        { R "{\"aud\":1}", INVALID, "aud" },
        { R "{\"aud\":[\"a\",1]}", INVALID, "aud" },
        { R "{\"aud\":[],\"iss\":null}", OK, "" },
        { R "{\"iss\":1}", INVALID, "iss" }
    };

    begin();
    verifier.hmac_secret_key = S("secret");
    CHECK(prepare());

    for (i = 0; i < N(t); i++) {
        row(t[i].line, CONN, token(HS256, t[i].c, EVP_sha256(), "secret"),
            t[i].rc, t[i].says);
    }
}


static void
subscription_claims(void)
{
    size_t  i;
    static const struct { int line; const char *c; int rc; const char *says; }
    t[] = {
        { R "{\"sub\":\"42\",\"channel\":\"$chat:7\"}", OK,
          "u=42 c=$chat:7" },
        { R "{\"channel\":\"a\",\"client\":\"id\",\"info\":1,\"data\":[ ]}",
          OK, "i=1 c=a k=id d=[ ]" },
        { R "{\"channel\":\"a\",\"b64info\":\"MQ==\",\"b64data\":\"Mg==\"}",
          OK, "i=1 c=a d=2" },
        { R "{\"channel\":\"a\",\"override\":{\"presence\":{\"value\":true}}}",
          OK, "c=a o=1/1" },
        { R "{\"channel\":\"a\",\"exp\":1700000005}", OK, "e=5 c=a" },
        { R "{\"channel\":\"a\",\"exp\":1700000005,\"expire_at\":0}", OK,
          "c=a" },
        { R "{\"channel\":\"a\",\"exp\":1700000005,\"eto\":true}", OK,
          "e=5 c=a" },
        { R "{}", INVALID, "names no channel" },
        { R "{\"channel\":\"\"}", INVALID, "names no channel" },
        { R "{\"channel\":1}", INVALID, "channel of" },
        { R "{\"channel\":\"no:a\"}", CHANNEL, "namespace" },
        { R "{\"channel\":\"a\",\"client\":1}", INVALID, "client" },
        { R "{\"channel\":\"a\",\"b64info\":\"*\"}", INVALID, "b64info" },
        { R "{\"channel\":\"a\",\"b64data\":\"*\"}", INVALID, "b64data" },
        { R "{\"channel\":\"a\",\"b64data\":1}", INVALID, "b64data" },
        { R "{\"channel\":\"a\",\"override\":[]}", INVALID, "override" },
        { R "{\"channel\":\"a\",\"exp\":1}", EXPIRED, "expired" },
        { R "{\"channel\":\"a\",\"nbf\":1e12}", EXPIRED, "not valid yet" },
        { R "{\"channel\":\"a\",\"meta\":1,\"channels\":1,\"subs\":1}", OK,
          "c=a" }
    };

    begin();
    verifier.hmac_secret_key = S("secret");
    CHECK(prepare());

    for (i = 0; i < N(t); i++) {
        row(t[i].line, SUB, token(HS256, t[i].c, EVP_sha256(), "secret"),
            t[i].rc, t[i].says);
    }
}


/* of two mistakes the first in the order of the checks is told */

static void
order(void)
{
    size_t     i;
    ngx_str_t  text;
    static const struct {
        int line; int kind; const char *c; const char *key; int rc;
        const char *says;
    } t[] = {
        { R CONN, "{\"sub\":1,\"iss\":\"x\"}", "bad", INVALID, "sub of" },
        { R CONN, "{\"iss\":\"x\",\"aud\":\"x\"}", "bad", INVALID, "iss of" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"x\"}", "bad", INVALID, "aud of" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"ax\"}", "bad", INVALID,
          "signature" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"ax\",\"channel\":\"c\"}",
          "secret", INVALID, "another audience" },
        { R CONN, "{\"iss\":\"ix\",\"aud\":\"a\",\"channel\":\"c\"}",
          "secret", INVALID, "another issuer" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"channel\":\"c\",\"exp\":1}",
          "secret", INVALID, "subscription token" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1,"
          "\"channels\":[\"no:a\"]}", "secret", EXPIRED, "expired" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1,\"nbf\":9e9}",
          "secret", EXPIRED, "expired" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"channels\":[\"no:a\"],"
          "\"b64info\":\"*\"}", "secret", CHANNEL, "namespace" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"uid\":[],"
          "\"b64info\":\"*\"}", "secret", ERROR, "b64info" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"subs\":{\"a\":"
          "{\"b64data\":\"*\"}},\"b64info\":\"*\"}", "secret", INVALID,
          "in subs" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"uid\":[]}", "secret",
          INVALID, "user id" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"uid\":\"7\",\"sub\":\"8\"}",
          "secret", OK, "u=7" },
        { R CONN, "{\"iss\":\"i\",\"aud\":[\"x\",\"a\"],\"uid\":7}",
          "secret", OK, "u=7" },
        { R CONN, "{\"iss\":\"i\",\"aud\":[\"x\",\"y\"],\"uid\":7}",
          "secret", INVALID, "aud of" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"a\",\"sub\":\"8\"}", "secret", OK,
          "" },
        { R CONN, "{\"iss\":\"i\",\"aud\":\"x\",\"z\":\"a\"}", "secret",
          INVALID, "aud of" },
        { R CONN, "{\"iss\":\"i\"}", "secret", INVALID, "aud of" },
        { R CONN, "{\"aud\":\"a\"}", "secret", INVALID, "iss of" },
        { R SUB, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1}", "secret", EXPIRED,
          "expired" },
        { R SUB, "{\"iss\":\"i\",\"aud\":\"a\",\"b64info\":\"*\"}", "secret",
          INVALID, "names no channel" },
        { R SUB, "{\"iss\":\"i\",\"aud\":\"a\",\"channel\":\"no:a\","
          "\"b64info\":\"*\"}", "secret", CHANNEL, "namespace" },
        { R SUB, "{\"iss\":\"i\",\"aud\":\"a\",\"channel\":\"a\",\"uid\":{},"
          "\"b64data\":\"*\"}", "secret", INVALID, "b64data" },
        { R SUB, "{\"iss\":\"i\",\"aud\":\"a\",\"channel\":\"a\",\"uid\":{}}",
          "secret", INVALID, "user id" }
    };

    begin();
    verifier.hmac_secret_key = S("secret");
    verifier.issuer_regex = S("^i");
    verifier.audience_regex = S("^a");
    verifier.issuer = S("i");
    verifier.audience = S("a");
    verifier.user_id_claim = S("uid");
    CHECK(prepare());

    for (i = 0; i < N(t); i++) {
        row(t[i].line, t[i].kind,
            token(HS256, t[i].c, EVP_sha256(), t[i].key), t[i].rc, t[i].says);
    }

    /* a claim of one line more, of many audiences, of an expensive one */

    text = S(ngx_centrifugo_arena_alloc(&arena, 2000));
    sprintf((char *) text.data, "{\"iss\":\"i%0600d\",\"aud\":\"a\"}", 0);
    row(__LINE__, CONN, token(HS256, (char *) text.data, EVP_sha256(),
                              "secret"), INVALID, "iss of");

    begin();
    verifier.hmac_secret_key = S("secret");
    verifier.audience_regex = S("^(a+)+$");
    CHECK(prepare());
    CHECK(CLAIMS("{\"aud\":\"aaaaaaaa\"}") == OK);
    CHECK(CLAIMS("{\"aud\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"}")
          == INVALID);
}


/* a match that goes back without end costs milliseconds at most */

static void
backtracking(void)
{
    char              claims[1200];
    double            ms;
    ngx_str_t         t;
    struct timespec   from, to;

    begin();
    verifier.hmac_secret_key = S("secret");
    verifier.issuer_regex = S("(x+x+)+[yz]");
    CHECK(prepare());

    memset(claims, 'x', sizeof(claims));
    memcpy(claims, "{\"iss\":\"", 8);
    strcpy(claims + 500, "\"}");
    t = token(HS256, claims, EVP_sha256(), "secret");

    clock_gettime(CLOCK_MONOTONIC, &from);
    row(__LINE__, CONN, t, INVALID, "iss of");
    clock_gettime(CLOCK_MONOTONIC, &to);

    ms = (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6;
    CHECK(ms < 200);
}


static void
signatures(void)
{
    int         k, a;
    size_t      i;
    ngx_str_t   t, cut;
    EVP_PKEY   *key;
    const char *pem, *bad[] = { "{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
        "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}", "{\"alg\":\"PS256\"}",
        "{\"alg\":\"EdDSA\"}", "{\"alg\":\"hs256\"}", "{\"alg\":\"HS1\"}",
        "{\"alg\":\"\"}", "{}", "{\"alg\":1}", "{\"alg\":null}",
        "{\"alg\":\"HS256\",\"crit\":[\"x\"]}",
        "{\"alg\":\"HS256\",\"crit\":null}", "[]", "{\"alg\":\"HS256\"" };
    static const char *rs[] = { "{\"alg\":\"RS256\"}", "{\"alg\":\"RS384\"}",
        "{\"alg\":\"RS512\"}" };
    static const char *es[] = { "{\"alg\":\"ES256\"}", "{\"alg\":\"ES384\"}",
        "{\"alg\":\"ES512\"}" };
    static const int   half[] = { 32, 48, 66 };
    const EVP_MD *md[] = { EVP_sha256(), EVP_sha384(), EVP_sha512() };

    begin();
    verifier.hmac_secret_key = S("secret");
    CHECK(prepare() && stub_messages == 0);

    CHECK(verify(token("{\"alg\":\"HS384\"}", "{}", md[1], "secret")) == OK);
    CHECK(verify(token("{\"alg\":\"HS512\"}", "{}", md[2], "secret")) == OK);
    CHECK(verify(token("{\"alg\":\"HS512\"}", "{}", md[0], "secret"))
          == INVALID);
    CHECK(verify(token(HS256, "{}", md[0], "other")) == INVALID);
    CHECK(verify(token(HS256, "{}", md[0], "")) == INVALID);

    t = longer(token(HS256, "{}", md[0], "secret"));
    CHECK(verify(t) == INVALID && strstr(result.reason, "is wrong"));

    for (i = 0; i < N(bad); i++) {
        t = token(bad[i], "{}", md[0], "secret");
        CHECK(verify(t) == INVALID);
        t.len = (u_char *) strrchr((char *) t.data, '.') - t.data + 1;
        CHECK(verify(t) == INVALID);
    }

    /* each change of a byte and each cut is seen */

    t = token(HS256, "{\"sub\":\"42\"}", md[0], "secret");
    CHECK(verify(t) == OK);

    for (i = 0; i + 1 < t.len; i++) {
        t.data[i] ^= 1;
        CHECK(verify(t) != OK);
        t.data[i] ^= 1;
        cut.data = t.data;
        cut.len = i;
        CHECK(verify(cut) != OK);
    }

    t.data[t.len] = '\0';
    t.len++;
    CHECK(verify(t) == INVALID);
    t.data[t.len - 1] = '=';
    CHECK(verify(t) == INVALID);
    t.len = 70000;
    CHECK(verify(t) == INVALID);

    /* the previous secret, while it is valid */

    verifier.hmac_previous_secret_key = S("old");
    CHECK(prepare());
    t = token(HS256, "{}", md[0], "old");
    CHECK(verify(t) == OK);
    verifier.hmac_previous_valid_until = NOW + 1;
    CHECK(verify(t) == OK);
    verifier.hmac_previous_valid_until = NOW;
    CHECK(verify(t) == INVALID);
    CHECK(verify(token(HS256, "{}", md[0], "secret")) == OK);
    CHECK(verify(token(HS256, "{}", md[0], "older")) == INVALID);

    /* RSA, and its PEM as a secret */

    begin();
    pem = pem_of(rsa, 0);
    verifier.rsa_public_key = S(pem);
    CHECK(prepare() && stub_messages == 0);

    for (k = 0; k < 3; k++) {
        CHECK(verify(signed_token(rs[k], "{}", rsa, md[k], 0)) == OK);
        CHECK(verify(signed_token(rs[k], "{}", rsa, md[(k + 1) % 3], 0))
              == INVALID);
        CHECK(verify(signed_token(rs[k], "{}", rsa2, md[k], 0)) == INVALID);
        CHECK(verify(signed_token(es[k], "{}", ec[k], md[k], half[k]))
              == INVALID);
    }

    CHECK(verify(token(HS256, "{}", md[0], pem)) == INVALID
          && strstr(result.reason, "no key is configured"));
    CHECK(verify(token("{\"alg\":\"RS256\"}", "{}", md[0], pem)) == INVALID);
    CHECK(verify(signed_token("{\"alg\":\"PS256\"}", "{}", rsa, md[0], 0))
          == INVALID);
    CHECK(verify(signed_token("{\"alg\":\"EdDSA\"}", "{}", ed, NULL, 0))
          == INVALID);
    t = signed_token(rs[0], "{}", rsa, md[0], 0);
    t.len = (u_char *) strrchr((char *) t.data, '.') - t.data + 1;
    CHECK(verify(t) == INVALID);
    t.len--;
    CHECK(verify(t) == INVALID);

    /* a signature of PSS with the same key */

    {
        u_char         sig[512];
        size_t         len = sizeof(sig);
        char          *text = unsigned_token(rs[0], "{}");
        EVP_MD_CTX    *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX  *pctx;

        EVP_DigestSignInit(ctx, &pctx, md[0], NULL, rsa);
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_DigestSign(ctx, sig, &len, (u_char *) text, strlen(text));
        EVP_MD_CTX_free(ctx);
        sprintf(text + strlen(text), ".%s", b64url(sig, len));
        CHECK(verify(S(text)) == INVALID);
    }

    /* ECDSA: only the algorithm of the curve, only r and s of its length */

    for (k = 0; k < 3; k++) {
        begin();
        verifier.ecdsa_public_key = S(pem_of(ec[k], 0));
        CHECK(prepare());

        for (a = 0; a < 3; a++) {
            CHECK(verify(signed_token(es[a], "{}", ec[k], md[a], half[k]))
                  == (a == k ? OK : INVALID));
        }

        CHECK(verify(signed_token(es[k], "{}", ec[k], md[k], 0)) == INVALID);
        CHECK(verify(signed_token(es[k], "{}", ec[k], md[k], half[k] + 1))
              == INVALID);
        t = longer(signed_token(es[k], "{}", ec[k], md[k], half[k]));
        CHECK(verify(t) == INVALID && strstr(result.reason, "is wrong"));
        CHECK(verify(signed_token(rs[k], "{}", rsa, md[k], 0)) == INVALID);
        key = EVP_EC_gen(k == 0 ? "P-256" : k == 1 ? "P-384" : "P-521");
        CHECK(verify(signed_token(es[k], "{}", key, md[k], half[k]))
              == INVALID);
        EVP_PKEY_free(key);

        /* r and s are zero */

        t = signed_token(es[k], "{}", ec[k], md[k], half[k]);
        t.len = (u_char *) strrchr((char *) t.data, '.') - t.data + 1;
        memset(t.data + t.len, 'A', half[k] * 8 / 3);
        t.len += (half[k] * 8 + 2) / 3;
        CHECK(verify(t) == INVALID);
    }

    /* several at once; none */

    begin();
    verifier.hmac_secret_key = S("secret");
    verifier.rsa_public_key = S(pem_of(rsa, 0));
    verifier.ecdsa_public_key = S(pem_of(ec[1], 0));
    CHECK(prepare());
    CHECK(CLAIMS("{}") == OK);
    CHECK(verify(signed_token(rs[2], "{}", rsa, md[2], 0)) == OK);
    CHECK(verify(signed_token(es[1], "{}", ec[1], md[1], 48)) == OK);

    begin();
    CHECK(prepare());
    CHECK(CLAIMS("{}") == INVALID);
    verifier.keys = NULL;
    CHECK(CLAIMS("{}") == INVALID);

    /* without signatures the claims are checked all the same */

    verifier.skip_signature = 1;
    CHECK(prepare());
    CHECK(CLAIMS("{\"exp\":1}") == EXPIRED);
    CHECK(verify(S("e30.e30.")) == OK);
    CHECK(verify(S("e30.e30.e30")) == OK);
    CHECK(verify(S("e30.e30")) == INVALID);
    CHECK(verify(S("e30..")) == INVALID);
    verifier.skip_signature = NGX_CONF_UNSET;
    CHECK(verify(S("e30.e30.")) == INVALID);
    ngx_centrifugo_arena_reset(&arena);
}


static void
write_file(const char *name, const char *text)
{
    FILE  *f = fopen(name, "w");

    fputs(text, f);
    fclose(f);
}


static void
preparing(void)
{
    char         path[100], name[200];
    size_t       i;
    BIO         *bio;
    char        *p;
    static const struct { const char *path, *iss, *aud, *what; } bad[] = {
        { "jwks", NULL, NULL, "not a path" },
        { "https://example.com/jwks", NULL, NULL, "not a path" },
        { "/", NULL, NULL, "\"/\" at its end" },
        { "/jwks/", NULL, NULL, "\"/\" at its end" },
        { "/jwks/?a", NULL, NULL, "\"/\" at its end" },
        { "/a//b", NULL, NULL, "\"//\"" },
        { "/a/../b", NULL, NULL, "\"..\"" },
        { "/a/./b", NULL, NULL, "\"..\"" },
        { "/a/.", NULL, NULL, "\"..\"" },
        { "/a/.?b", NULL, NULL, "\"..\"" },
        { "/a%2F/b", NULL, NULL, "\"//\"" },
        { "/a%2f%2Fb", NULL, NULL, "\"//\"" },
        { "/a/b%2F", NULL, NULL, "\"/\" at its end" },
        { "/a/%2e%2E/b", NULL, NULL, "\"..\"" },
        { "/a%2F.", NULL, NULL, "\"..\"" },
        { "/{{t}}", NULL, NULL, "is no group" },
        { "/{{t}}", "^(?<u>a)$", "^(?<v>a)$", "is no group" },
        { "/{{t", "^(?<t>a)$", NULL, "without a name" },
        { "/{{t}", "^(?<t>a)$", NULL, "without a name" },
        { "/{{}}", "^(?<t>a)$", NULL, "without a name" },
        { "/{{t}}/", "^(?<t>a)$", NULL, "\"/\" at its end" },
        { "/{{t}}", "^(?<t>.*)$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>[ab])$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>a+)$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>\\w)$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>a|b.c)$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>a(b|c))$", NULL, "no list of words" },
        { "/{{t}}", "^(?P<t>a?)$", NULL, "no list of words" },
        { "/{{t}}", "^(?'t'a{2})$", NULL, "no list of words" },
        { "/{{t}}", "^(?<t>a|b)$", "^(?<t>.)$", "no list of words" },
        { "/{{t}}", "^x\\((?<t>.)$", NULL, "no list of words" }
    };
    static const struct { const char *path, *iss, *aud; } good[] = {
        { "/jwks", NULL, NULL }, { "/a/b.json?x=//..", NULL, NULL },
        { "/.well-known/jwks.json", NULL, NULL },
        { "/a%2Fb%20c%", NULL, NULL }, { "/a%2", NULL, NULL },
        { "/a%zz/b", NULL, NULL }, { "/a%3Fb?/d//..", NULL, NULL },
        { "/{{t}}", "^(?<t>a|b)$", NULL }, { "/{{t}}", NULL, "^(?P<t>a)$" },
        { "/{{t}}/{{u}}", "^(?'t'a\\.b|c-d)$", "(?<u>x|y)" },
        { "/{{t}}", "^\\(?<t>(?<t>a)$", NULL }
    };

    /* texts and files */

    begin();
    verifier.rsa_public_key = S("missing.pem");
    CHECK(refused("token_rsa_public_key", "can not be read"));

    begin();
    verifier.prefix = "subscription_token_";
    verifier.ecdsa_public_key = S("/nonexistent/x.pem");
    CHECK(refused("subscription_token_ecdsa_public_key", "can not be read"));

    begin();
    verifier.rsa_public_key = S("/");
    CHECK(refused("token_rsa_public_key", "can not be read"));

    sprintf(path, "/tmp/test_auth.%d", (int) getpid());
    mkdir(path, 0700);
    sprintf(name, "%s/rsa.pem", path);
    write_file(name, pem_of(rsa, 0));
    stub_prefix = path;
    begin();
    verifier.rsa_public_key = S("rsa.pem");
    CHECK(prepare() && stub_messages == 0 && verifier.algorithms == 0x38);
    begin();
    verifier.rsa_public_key = S(name);
    CHECK(prepare());
    write_file(name, "");
    begin();
    verifier.rsa_public_key = S(name);
    CHECK(refused("token_rsa_public_key", "is not PEM"));
    unlink(name);
    rmdir(path);

    begin();
    verifier.rsa_public_key = S(pem_of(rsa, 1));
    CHECK(refused("token_rsa_public_key", "private key"));

    begin();
    verifier.ecdsa_public_key = S(pem_of(ec[0], 1));
    CHECK(refused("token_ecdsa_public_key", "private key"));

    begin();
    verifier.rsa_public_key = S(pem_of(ec[0], 0));
    CHECK(refused("token_rsa_public_key", "not an RSA key"));

    begin();
    verifier.ecdsa_public_key = S(pem_of(rsa, 0));
    CHECK(refused("token_ecdsa_public_key", "not an ECDSA key"));

    begin();
    verifier.ecdsa_public_key = S(pem_of(ed, 0));
    CHECK(refused("token_ecdsa_public_key", "not an ECDSA key"));

    begin();
    verifier.ecdsa_public_key = S(pem_of(k1, 0));
    CHECK(refused("token_ecdsa_public_key", "curve"));

    begin();
    verifier.rsa_public_key = S(pem_of(tiny, 0));
    CHECK(refused("token_rsa_public_key", "less than 1024"));

    begin();
    verifier.rsa_public_key = S(pem_of(small, 0));
    CHECK(prepare() && stub_level == NGX_LOG_WARN && stub_messages == 1
          && strstr(stub_message, "token_rsa_public_key"));

    begin();
    verifier.rsa_public_key = S("-----BEGIN PUBLIC KEY-----\nAAAA\n"
                                "-----END PUBLIC KEY-----\n");
    CHECK(refused("token_rsa_public_key", "no public key"));

    begin();
    verifier.rsa_public_key = S("-----BEGIN PUBLIC KEY-----\n");
    CHECK(refused("token_rsa_public_key", "is not PEM"));

    /* the older form of an RSA key */

    bio = BIO_new(BIO_s_mem());
    {
        u_char  *der = NULL;
        int      len = i2d_PublicKey(rsa, &der);

        PEM_write_bio(bio, "RSA PUBLIC KEY", "", der, len);
        OPENSSL_free(der);
    }

    begin();
    verifier.rsa_public_key.len = BIO_get_mem_data(bio, &p);
    verifier.rsa_public_key.data = (u_char *) p;
    CHECK(prepare() && verifier.algorithms == 0x38);
    BIO_free(bio);

    begin();
    verifier.hmac_previous_secret_key = S("old");
    CHECK(refused("token_hmac_previous_secret_key", "token_hmac_secret_key"));

    begin();
    verifier.user_id_claim = S("a-b");
    CHECK(refused("token_user_id_claim", "a-b"));

    begin();
    verifier.user_id_claim = S("user_ID");
    CHECK(prepare());

    begin();
    verifier.issuer_regex = S("(");
    CHECK(refused("token_issuer_regex", "not a regex"));

    begin();
    verifier.audience_regex = S("[");
    CHECK(refused("token_audience_regex", "not a regex"));

    for (i = 0; i < N(bad); i++) {
        begin();
        verifier.jwks_endpoint = S(bad[i].path);
        if (bad[i].iss) { verifier.issuer_regex = S(bad[i].iss); }
        if (bad[i].aud) { verifier.audience_regex = S(bad[i].aud); }
        CHECK(refused("token_jwks_public_endpoint", bad[i].what));
    }

    for (i = 0; i < N(good); i++) {
        begin();
        verifier.jwks_endpoint = S(good[i].path);
        if (good[i].iss) { verifier.issuer_regex = S(good[i].iss); }
        if (good[i].aud) { verifier.audience_regex = S(good[i].aud); }
        CHECK(prepare() && stub_messages == 0);
    }

    begin();
    verifier.jwks_endpoint = S("/{{t}}");
    verifier.issuer_regex = S("^(?<t>.*)$");
    verifier.skip_jwks_check = NGX_CONF_UNSET;
    CHECK(refused("token_jwks_public_endpoint", "no list of words"));
    verifier.skip_jwks_check = 1;
    CHECK(prepare());

    begin();
    verifier.jwks_endpoint = S("/jwks");
    verifier.hmac_secret_key = S("secret");
    CHECK(prepare() && stub_level == NGX_LOG_WARN && stub_messages == 1);
    CHECK(CLAIMS("{}") == INVALID);
    ngx_centrifugo_arena_reset(&arena);
}


/* a fetcher that answers at once, or when it is told to */

static struct {
    ngx_uint_t                 n;           /* fetches */
    int                        later;
    int                        fail;        /* how many in a row */
    const char                *body;
    size_t                     len;         /* 0: of a string */
    char                       uri[200];
    ngx_centrifugo_fetched_t   done[200];
    ngx_uint_t                 waiting;
} net;

static struct {
    ngx_uint_t                 n;
    uint64_t                   handles;     /* their sum */
    int                        rc;
    char                       user[20];
    char                       reason[200];
    void                     (*then)(void);
} verdict;


/* the next turn of the event loop: how many events it had */

static ngx_uint_t
turn(void)
{
    ngx_uint_t    n;
    ngx_event_t  *ev;
    ngx_queue_t   queue;

    if (ngx_queue_empty(&ngx_posted_next_events)) {
        return 0;
    }

    queue = ngx_posted_next_events;
    queue.next->prev = &queue;
    queue.prev->next = &queue;
    ngx_queue_init(&ngx_posted_next_events);

    for (n = 0; !ngx_queue_empty(&queue); n++) {
        ev = ngx_queue_data(ngx_queue_head(&queue), ngx_event_t, queue);
        ngx_delete_posted_event(ev);
        ev->handler(ev);
    }

    return n;
}


static void
net_answer(void)
{
    ngx_str_t                 body;
    ngx_centrifugo_fetched_t  done;

    while (net.waiting) {
        done = net.done[--net.waiting];
        body = S(net.body);

        if (net.len) {
            body.len = net.len;
        }

        if (net.fail) {
            net.fail--;
            done.handler(done.data, NGX_ERROR, &body);

        } else {
            done.handler(done.data, NGX_OK, &body);
        }
    }
}


static void
net_fetch(void *data, const ngx_str_t *uri,
    const ngx_centrifugo_fetched_t *done)
{
    net.n++;
    net.done[net.waiting++] = *done;
    sprintf(net.uri, "%.*s", (int) uri->len, uri->data);

    if (!net.later) {
        net_answer();
    }
}


static void
verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    verdict.n++;
    verdict.handles += handle;
    verdict.rc = rc;
    sprintf(verdict.user, "%.*s", (int) token->user.len, token->user.data);
    strcpy(verdict.reason, token->reason ? token->reason : "");

    if (verdict.then) {
        verdict.then();
    }
}


/* the verdict of a token, or -1 when it comes later */

static int
check(ngx_str_t t)
{
    ngx_uint_t                 n;
    ngx_str_t                  copy;
    ngx_centrifugo_arena_t     own;
    ngx_centrifugo_verified_t  done;

    /* neither the token nor the arena is there afterwards */

    copy.len = t.len;
    copy.data = malloc(t.len + 1);
    memcpy(copy.data, t.data, t.len);
    ngx_centrifugo_arena_init(&own, 1024);

    n = verdict.n;
    done.handler = verified;
    done.handle = 1;
    verifier.check(&verifier, CONN, &own, &copy, &done);

    ngx_centrifugo_arena_free(&own);
    free(copy.data);
    CHECK(ERR_peek_error() == 0);

    return verdict.n == n ? -1 : verdict.rc;
}


static char *
jwk_bn(EVP_PKEY *pkey, const char *param, int size)
{
    int      len;
    u_char   bytes[2100];
    BIGNUM  *bn = NULL;

    EVP_PKEY_get_bn_param(pkey, param, &bn);
    len = size ? size : BN_num_bytes(bn);
    BN_bn2binpad(bn, bytes, len);
    BN_free(bn);

    return b64url(bytes, len);
}


/* a key with more members, which begin with a comma */

static char *
jwk(EVP_PKEY *pkey, const char *kid, const char *more)
{
    int      size;
    char    *text;
    u_char   raw[32];
    size_t   len = sizeof(raw);
    static const char *crv[] = { "P-256", "P-384", "P-521" };

    text = ngx_centrifugo_arena_alloc(&arena, 4000);

    if (EVP_PKEY_is_a(pkey, "RSA")) {
        sprintf(text, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\","
                "\"e\":\"%s\"%s}", kid,
                jwk_bn(pkey, OSSL_PKEY_PARAM_RSA_N, 0),
                jwk_bn(pkey, OSSL_PKEY_PARAM_RSA_E, 0), more);

    } else if (EVP_PKEY_is_a(pkey, "EC")) {
        size = (EVP_PKEY_get_bits(pkey) + 7) / 8;
        sprintf(text, "{\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"%s\","
                "\"x\":\"%s\",\"y\":\"%s\"%s}", kid,
                crv[size == 32 ? 0 : size == 48 ? 1 : 2],
                jwk_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_X, size),
                jwk_bn(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, size), more);

    } else {
        EVP_PKEY_get_raw_public_key(pkey, raw, &len);
        sprintf(text, "{\"kty\":\"OKP\",\"kid\":\"%s\",\"crv\":\"Ed25519\","
                "\"x\":\"%s\"%s}", kid, b64url(raw, 32), more);
    }

    return text;
}


static char *
jwks_of(const char *a, const char *b)
{
    char  *text;

    text = ngx_centrifugo_arena_alloc(&arena, strlen(a) + strlen(b) + 100);
    sprintf(text, "{\"keys\":[%s%s%s]}", a, *b ? "," : "", b);

    return text;
}


static void
jwks_begin(const char *body)
{
    begin();
    memset(&net, 0, sizeof(net));
    memset(&verdict, 0, sizeof(verdict));
    verifier.jwks_endpoint = S("/jwks");
    verifier.fetch = net_fetch;
    net.body = body;
    ngx_current_msec += 10000;
    CHECK(prepare());
}


#define SIG       ",\"use\":\"sig\""
#define RS(kid)   "{\"alg\":\"RS256\",\"kid\":\"" kid "\"}"

#define rs_token(kid, key)  signed_token(RS(kid), "{\"sub\":\"42\"}", key,   \
                                         EVP_sha256(), 0)


/* each kind of key; which of them are used */

static void
jwks_keys(void)
{
    size_t      i;
    char       *n;
    EVP_PKEY   *big;
    struct {
        EVP_PKEY *pkey; const char *more, *header; const EVP_MD *md; int half;
        int rc;
    } t[] = {
        { rsa, SIG, RS("k"), EVP_sha256(), 0, OK },
        { rsa, SIG, "{\"alg\":\"RS512\",\"kid\":\"k\"}", EVP_sha512(), 0, OK },
        { rsa, SIG ",\"alg\":\"RS256\"", RS("k"), EVP_sha256(), 0, OK },
        { rsa, SIG ",\"alg\":\"RS384\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"alg\":\"PS256\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"alg\":\"HS256\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"alg\":5", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"alg\":null", RS("k"), EVP_sha256(), 0, OK },
        { rsa, ",\"use\":\"enc\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, "", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG, RS("l"), EVP_sha256(), 0, INVALID },
        { rsa, SIG, RS(""), EVP_sha256(), 0, INVALID },
        { rsa, SIG, "{\"alg\":\"RS256\"}", EVP_sha256(), 0, INVALID },
        { rsa, SIG, "{\"alg\":\"RS256\",\"kid\":1}", EVP_sha256(), 0,
          INVALID },
        { rsa2, SIG ",\"e\":\"AQ\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"e\":\"AQAA\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"e\":\"\"", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"n\":7", RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG ",\"n\":\"*\"", RS("k"), EVP_sha256(), 0, INVALID },
        { tiny, SIG, RS("k"), EVP_sha256(), 0, INVALID },
        { rsa, SIG, "{\"alg\":\"ES256\",\"kid\":\"k\"}", EVP_sha256(), 0,
          INVALID },
        { ec[0], SIG, "{\"alg\":\"ES256\",\"kid\":\"k\"}", EVP_sha256(), 32,
          OK },
        { ec[1], SIG, "{\"alg\":\"ES384\",\"kid\":\"k\"}", EVP_sha384(), 48,
          OK },
        { ec[2], SIG, "{\"alg\":\"ES512\",\"kid\":\"k\"}", EVP_sha512(), 66,
          OK },
        { ec[0], SIG ",\"alg\":\"ES256\"", "{\"alg\":\"ES256\",\"kid\":\"k\"}",
          EVP_sha256(), 32, OK },
        { ec[0], SIG ",\"alg\":\"ES384\"", "{\"alg\":\"ES256\",\"kid\":\"k\"}",
          EVP_sha256(), 32, INVALID },
        { ec[1], SIG, "{\"alg\":\"ES256\",\"kid\":\"k\"}", EVP_sha256(), 48,
          INVALID },
        { ec[0], SIG ",\"alg\":\"ES384\"", "{\"alg\":\"ES384\",\"kid\":\"k\"}",
          EVP_sha384(), 48, INVALID },
        { ec[0], SIG, "{\"alg\":\"ES384\",\"kid\":\"k\"}", EVP_sha384(), 48,
          INVALID },
        { ec[0], SIG ",\"x\":\"AAAA\"", "{\"alg\":\"ES256\",\"kid\":\"k\"}",
          EVP_sha256(), 32, INVALID },
        { ec[0], SIG ",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", EVP_sha256(), 32, INVALID },
        { ec[0], SIG ",\"crv\":\"secp256k1\"",
          "{\"alg\":\"ES256\",\"kid\":\"k\"}", EVP_sha256(), 32, INVALID },
        { ed, SIG, "{\"alg\":\"EdDSA\",\"kid\":\"k\"}", NULL, 0, OK },
        { ed, SIG ",\"alg\":\"EdDSA\"", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
          NULL, 0, OK },
        { ed, SIG ",\"x\":\"AAAA\"", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
          NULL, 0, INVALID },
        { ed, SIG ",\"crv\":\"Ed448\"", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
          NULL, 0, INVALID },
        { ed, SIG ",\"kty\":\"oct\"", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
          NULL, 0, INVALID },
        { rsa, SIG, "{\"alg\":\"HS256\",\"kid\":\"k\"}", EVP_sha256(), 0,
          INVALID }
    };

    for (i = 0; i < N(t); i++) {
        jwks_begin(jwks_of(jwk(t[i].pkey, "k", t[i].more), ""));

        if (check(signed_token(t[i].header, "{}", t[i].pkey, t[i].md,
                               t[i].half))
            != t[i].rc)
        {
            fprintf(stderr, "row %d: %d %s\n", (int) i, verdict.rc,
                    verdict.reason);
            CHECK(0);
        }

        CHECK(verdict.n == 1);
        ngx_centrifugo_arena_reset(&arena);
    }

    /* the token's algorithm finds the key when several have its kid */

    jwks_begin(jwks_of(jwk(rsa, "k", SIG), jwk(ec[0], "k", SIG)));
    CHECK(check(rs_token("k", rsa)) == OK);
    CHECK(check(signed_token("{\"alg\":\"ES256\",\"kid\":\"k\"}", "{}", ec[0],
                             EVP_sha256(), 32)) == OK);
    CHECK(check(signed_token("{\"alg\":\"EdDSA\",\"kid\":\"k\"}", "{}", ed,
                             NULL, 0)) == INVALID);

    /* a modulus that is too large is not looked at */

    n = ngx_centrifugo_arena_alloc(&arena, 4000);
    memset(n, '_', 3999);
    n[3999] = '\0';
    big = NULL;

    {
        char  more[4100];

        sprintf(more, SIG ",\"n\":\"%s\"", n);
        jwks_begin(NULL);
        net.body = ngx_centrifugo_arena_alloc(&arena, 9000);
        sprintf((char *) net.body, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\","
                "\"e\":\"AQAB\"%s}]}", more);
        CHECK(check(rs_token("k", rsa)) == INVALID);
    }

    EVP_PKEY_free(big);
    ngx_centrifugo_arena_reset(&arena);
}


static void
jwks_again(void)
{
    /* a handler brings the next token */

    verdict.then = NULL;
    CHECK(check(rs_token("b", rsa2)) == OK);
}


static void
jwks_leave(void)
{
    verdict.then = NULL;
    ngx_centrifugo_verifier_exit(&verifier);
}


static void
jwks_cache(void)
{
    char        uri[40];
    size_t      i;
    ngx_str_t   a, b, c;
    const char *one, *two;
    static const char *bad[] = { "", "{", "[]", "5", "{}", "{\"keys\":{}}",
        "{\"keys\":null}", "{\"keys\":[]}", "{\"keys\":[1,null,[],{}]}",
        "{\"keys\":[{\"kid\":\"a\"}]}" };

    one = jwks_of(jwk(rsa, "a", SIG), "");
    two = jwks_of(jwk(rsa, "a", SIG), jwk(rsa2, "b", SIG));
    a = rs_token("a", rsa);
    b = rs_token("b", rsa2);
    c = rs_token("c", rsa);

    /* without a kid nothing is fetched */

    jwks_begin(one);
    CHECK(check(rs_token("", rsa)) == INVALID);
    CHECK(check(signed_token("{\"alg\":\"RS256\"}", "{}", rsa, EVP_sha256(), 0))
          == INVALID);
    CHECK(net.n == 0);

    /* one fetch, then the cache for an hour */

    jwks_begin(one);
    CHECK(check(a) == OK && net.n == 1 && strcmp(verdict.user, "42") == 0);
    CHECK(strcmp(net.uri, "/jwks") == 0);
    CHECK(verify(a) == OK);
    CHECK(check(rs_token("a", rsa2)) == INVALID && net.n == 1);
    ngx_current_msec += 3599 * 1000;
    CHECK(check(a) == OK && net.n == 1);
    ngx_current_msec += 1000;
    CHECK(verify(a) == INVALID);
    CHECK(check(a) == OK && net.n == 2);

    /* an unknown kid asks again, but once in a second */

    for (i = 0; i < 100; i++) {
        CHECK(check(c) == INVALID && net.n == 2);
    }

    ngx_current_msec += 1000;
    CHECK(check(c) == INVALID && net.n == 3);
    CHECK(check(c) == INVALID && net.n == 3);
    CHECK(check(b) == INVALID && net.n == 3);
    CHECK(check(a) == OK && net.n == 3);
    CHECK(stub_messages == 0);

    /* rotation: a new key comes, an old one goes */

    net.body = two;
    ngx_current_msec += 1000;
    CHECK(check(b) == OK && net.n == 4);
    CHECK(check(a) == OK && net.n == 4);
    net.body = jwks_of(jwk(rsa2, "b", SIG), jwk(rsa, "c", SIG));
    ngx_current_msec += 1000;
    CHECK(check(c) == OK && net.n == 5);
    CHECK(check(b) == OK);
    CHECK(check(a) == INVALID && net.n == 5);

    /* two attempts; a failure keeps the keys that are there */

    net.fail = 1;
    ngx_current_msec += 1000;
    CHECK(check(a) == INVALID && net.n == 7 && net.fail == 0);
    CHECK(stub_messages == 0);
    net.fail = 9;
    ngx_current_msec += 1000;
    CHECK(check(a) == INVALID && net.n == 9);
    CHECK(strstr(verdict.reason, "could not be fetched"));
    CHECK(stub_messages == 1);
    CHECK(check(b) == OK && net.n == 9);
    CHECK(check(a) == INVALID && net.n == 9 && stub_messages == 1);

    jwks_begin(one);
    net.fail = 2;
    CHECK(check(a) == INVALID && net.n == 2 && stub_messages == 1);
    CHECK(check(a) == INVALID && net.n == 2 && stub_messages == 1);
    ngx_current_msec += 1000;
    CHECK(check(a) == OK && net.n == 3);

    for (i = 0; i < N(bad); i++) {
        jwks_begin(bad[i]);
        CHECK(check(a) == INVALID && net.n == 1 && stub_messages == 1);
        CHECK(verdict.n == 1);
    }

    /* too large */

    jwks_begin(NULL);
    net.len = 1024 * 1024 + 1;
    net.body = calloc(1, net.len + 1);
    memset((char *) net.body, ' ', net.len);
    memcpy((char *) net.body, one, strlen(one));
    CHECK(check(a) == INVALID);
    net.len--;
    ngx_current_msec += 1000;
    CHECK(check(a) == OK);
    free((char *) net.body);

    /* late: those who wait share a fetch, each is told once */

    jwks_begin(two);
    net.later = 1;
    CHECK(check(a) == -1);
    CHECK(check(b) == -1);
    CHECK(check(c) == -1);
    CHECK(check(signed_token("{\"alg\":\"RS256\",\"kid\":\"a\"}",
                             "{\"exp\":1}", rsa, EVP_sha256(), 0)) == -1);
    CHECK(net.n == 1 && verdict.n == 0);
    net_answer();
    CHECK(net.n == 1 && verdict.n == 4 && verdict.handles == 4);
    CHECK(verdict.rc == EXPIRED);
    CHECK(check(a) == OK);

    /* what is wrong before the signature does not wait for it */

    CHECK(check(S("x")) == INVALID && check(rs_token("", rsa)) == INVALID);
    CHECK(check(signed_token(RS("z"), "{\"sub\":1}", rsa, EVP_sha256(), 0))
          == INVALID);
    CHECK(net.n == 1);

    /* a failure and a second attempt while they wait */

    jwks_begin(one);
    net.later = 1;
    net.fail = 1;
    CHECK(check(a) == -1);
    net_answer();
    CHECK(net.n == 2 && verdict.n == 1 && verdict.rc == OK);

    jwks_begin(one);
    net.later = 1;
    net.fail = 2;
    CHECK(check(a) == -1 && check(a) == -1);
    net_answer();
    CHECK(net.n == 2 && verdict.n == 2 && verdict.rc == INVALID);

    /* a handler brings another token */

    jwks_begin(two);
    net.later = 1;
    CHECK(check(a) == -1 && check(a) == -1);
    verdict.then = jwks_again;
    net_answer();
    CHECK(verdict.n == 3 && verdict.rc == OK && net.n == 1);

    /* the worker exits in a handler */

    jwks_begin(two);
    net.later = 1;
    CHECK(check(a) == -1 && check(a) == -1 && check(b) == -1);
    verdict.then = jwks_leave;
    net_answer();
    CHECK(verdict.n == 3 && verdict.rc == ERROR);
    CHECK(check(a) == ERROR);

    /* not more than 1024 wait */

    jwks_begin(one);
    net.later = 1;

    for (i = 0; i < 1024; i++) {
        CHECK(check(a) == -1);
    }

    CHECK(check(a) == ERROR && stub_messages == 1);
    CHECK(check(a) == ERROR && stub_messages == 1);
    net_answer();
    CHECK(verdict.n == 2 + 16 && verdict.rc == OK && net.n == 1);
    CHECK(turn() == 1 && verdict.n == 2 + 32);

    /* who comes meanwhile finds the keys */

    CHECK(check(a) == OK && verdict.n == 2 + 33);
    while (turn()) { /* void */ }
    CHECK(verdict.n == 1027 && verdict.rc == OK && net.n == 1);

    /* the worker exits between two of these turns, or the pool goes */

    jwks_begin(one);
    net.later = 1;

    for (i = 0; i < 40; i++) {
        CHECK(check(a) == -1);
    }

    net_answer();
    CHECK(verdict.n == 16 && verdict.rc == OK);
    ngx_centrifugo_verifier_exit(&verifier);
    CHECK(verdict.n == 40 && verdict.rc == ERROR && turn() == 0);

    jwks_begin(one);
    net.later = 1;

    for (i = 0; i < 40; i++) {
        CHECK(check(a) == -1);
    }

    net_answer();
    stub_pool_free(&pool);
    CHECK(verdict.n == 16 && turn() == 0);

    /* the worker exits: all are told, and the answer comes for nobody */

    jwks_begin(one);
    net.later = 1;
    CHECK(check(a) == -1 && check(b) == -1);
    ngx_centrifugo_verifier_exit(&verifier);
    CHECK(verdict.n == 2 && verdict.rc == ERROR
          && strstr(verdict.reason, "exits"));
    CHECK(check(a) == ERROR && verdict.n == 3 && net.n == 1);
    net_answer();
    CHECK(verdict.n == 3 && net.n == 1);
    ngx_centrifugo_verifier_exit(&verifier);

    jwks_begin(one);
    CHECK(check(a) == OK);
    ngx_centrifugo_verifier_exit(&verifier);
    CHECK(verdict.n == 1 && verify(a) == INVALID);

    /* a pool that goes first tells nobody */

    jwks_begin(one);
    net.later = 1;
    CHECK(check(a) == -1);
    stub_pool_free(&pool);
    net_answer();
    CHECK(verdict.n == 0);

    /* nobody fetches; no signatures */

    jwks_begin(one);
    verifier.fetch = NULL;
    CHECK(check(a) == ERROR);
    verifier.skip_signature = 1;
    CHECK(check(c) == OK && net.n == 0);

    /* a URL of its own for each tenant */

    jwks_begin(one);
    verifier.jwks_endpoint = S("/{{t}}/jwks?a={{t}}&b={{u}}");
    verifier.issuer_regex = S("^https://(?<t>x|y)/$");
    verifier.audience_regex = S("^(?<u>.*)$");
    verifier.skip_jwks_check = 1;
    CHECK(prepare());
    CHECK(check(signed_token(RS("a"), "{\"iss\":\"https://x/\","
                             "\"aud\":\"p/ \xc3\xa9-\"}", rsa, EVP_sha256(), 0))
          == OK);
    CHECK(strcmp(net.uri, "/x/jwks?a=x&b=p%2F%20%C3%A9-") == 0 && net.n == 1);
    CHECK(check(signed_token(RS("a"), "{\"iss\":\"https://y/\","
                             "\"aud\":\"\"}", rsa, EVP_sha256(), 0)) == OK);
    CHECK(strcmp(net.uri, "/y/jwks?a=y&b=") == 0 && net.n == 2);
    CHECK(check(signed_token(RS("a"), "{\"iss\":\"https://z/\","
                             "\"aud\":\"\"}", rsa, EVP_sha256(), 0))
          == INVALID && net.n == 2);

    /* the audience's group before the issuer's, no path that leads away */

    jwks_begin(one);
    verifier.jwks_endpoint = S("/a/{{t}}");
    verifier.issuer_regex = S("^(?<t>.*)$");
    verifier.audience_regex = S("^(?<t>.*)$");
    verifier.skip_jwks_check = 1;
    CHECK(prepare());

    {
        static const struct { const char *aud, *uri; } t[] = {
            { "x", "/a/x" }, { "..", NULL }, { "../x", NULL }, { "", NULL },
            { ".", NULL }, { "x/", NULL }, { "a..b", NULL },
            { "x/y", "/a/x%2Fy" }, { "/", NULL }, { "x//y", NULL },
            { "?b", "/a/%3Fb" }, { "%2e", "/a/%252e" }, { "#", "/a/%23" },
            { "\\u0000", "/a/%00" }
        };
        char        claims[100];
        ngx_uint_t  n = 0;

        for (i = 0; i < N(t); i++) {
            sprintf(claims, "{\"iss\":\"i\",\"aud\":\"%s\"}", t[i].aud);
            CHECK(check(signed_token(RS("a"), claims, rsa, EVP_sha256(), 0))
                  == (t[i].uri ? OK : INVALID));
            n += (t[i].uri != NULL);
            CHECK(net.n == n);

            if (t[i].uri) {
                CHECK(strcmp(net.uri, t[i].uri) == 0);

            } else {
                CHECK(strstr(verdict.reason, "wrong path"));
            }
        }
    }

    /* the cache has an end: the 65th URL takes the place of the oldest */

    net.n = 0;

    for (i = 0; i < 66; i++) {
        sprintf(uri, "{\"iss\":\"i\",\"aud\":\"u%d\"}", (int) (i % 65));
        CHECK(check(signed_token(RS("a"), uri, rsa, EVP_sha256(), 0)) == OK);
    }

    CHECK(net.n == 66);

    /* when all are in flight there is none */

    jwks_begin(one);
    verifier.jwks_endpoint = S("/{{t}}");
    verifier.issuer_regex = S("^(?<t>.*)$");
    verifier.skip_jwks_check = 1;
    net.later = 1;
    CHECK(prepare());

    for (i = 0; i < 65; i++) {
        sprintf(uri, "{\"iss\":\"u%d\"}", (int) i);
        CHECK(check(signed_token(RS("a"), uri, rsa, EVP_sha256(), 0))
              == (i < 64 ? -1 : ERROR));
    }

    net_answer();
    CHECK(verdict.n == 65 && verdict.rc == OK && net.n == 64);

    /* 256 keys of a URL, 4096 of all: the 17th pushes out the oldest */

    {
        char  *text, *p;
        char  *key = jwk(rsa, "a", SIG);

        text = malloc(301 * (strlen(key) + 1) + 100);
        p = text + sprintf(text, "{\"keys\":[");

        for (i = 0; i < 300; i++) {
            p += sprintf(p, "%s%s", i ? "," : "", key);
        }

        sprintf(p, ",%s]}", jwk(rsa, "z", SIG));
        jwks_begin(text);
        verifier.jwks_endpoint = S("/{{t}}");
        verifier.issuer_regex = S("^(?<t>.*)$");
        verifier.skip_jwks_check = 1;
        CHECK(prepare());

        for (i = 0; i < 32; i++) {
            sprintf(uri, "{\"iss\":\"u%d\"}", (int) (i % 16));
            CHECK(check(signed_token(RS("a"), uri, rsa, EVP_sha256(), 0))
                  == OK);
            CHECK(net.n == (i < 16 ? i + 1 : 16));
        }

        ngx_current_msec += 1000;

        for (i = 0; i < 4; i++) {
            static const int u[] = { 16, 0, 2, 1 };

            sprintf(uri, "{\"iss\":\"u%d\"}", u[i]);
            CHECK(check(signed_token(RS("a"), uri, rsa, EVP_sha256(), 0))
                  == OK);
            CHECK(net.n == (u[i] == 2 ? 18 : u[i] == 1 ? 19 : 17 + i));
        }

        CHECK(check(signed_token(RS("z"), "{\"iss\":\"u1\"}", rsa,
                                 EVP_sha256(), 0)) == INVALID);
        free(text);
    }

    ngx_centrifugo_arena_reset(&arena);
}


static void
jwks(void)
{
    jwks_keys();
    jwks_cache();
}


/* printed, not checked: this build has sanitizers */

static void
speed(void)
{
    int                      i;
    double                   us;
    ngx_str_t                t;
    struct timespec          from, to;
    ngx_centrifugo_arena_t   own;
    const char              *n = getenv("TEST_AUTH_LOOPS");

    if (n == NULL) {
        return;
    }

    begin();
    verifier.hmac_secret_key = S("secret");
    CHECK(prepare());
    t = token(HS256, "{\"sub\":\"user-12345\",\"exp\":1900000000,\"iat\":"
              "1700000000,\"info\":{\"name\":\"Ann Example\",\"avatar\":"
              "\"https://example.com/a/1.png\"},\"channels\":[\"news\"]}",
              EVP_sha256(), "secret");
    ngx_centrifugo_arena_init(&own, 4096);
    clock_gettime(CLOCK_MONOTONIC, &from);

    for (i = 0; i < atoi(n); i++) {
        CHECK(ngx_centrifugo_token_verify(&verifier, CONN, &own, &t, NOW,
                                          &result) == OK);
        ngx_centrifugo_arena_reset(&own);
    }

    clock_gettime(CLOCK_MONOTONIC, &to);
    ngx_centrifugo_arena_free(&own);
    us = (to.tv_sec - from.tv_sec) * 1e6 + (to.tv_nsec - from.tv_nsec) / 1e3;
    printf("%.2f us per token\n", us / atoi(n));
    ngx_centrifugo_arena_reset(&arena);
}

static void
origins(void)
{
    size_t       i, k;
    ngx_str_t    pattern[4], o;
    ngx_array_t  list;
    struct { const char *p, *o; int ok; } t[] = {
        { "https://example.com", "https://example.com", 1 },
        { "https://example.com", "https://EXAMPLE.com", 1 },
        { "https://example.com", "http://example.com", 0 },
        { "https://example.com", "https://example.com.evil.org", 0 },
        { "https://example.com", "xhttps://example.com", 0 },
        { "https://*.example.com", "https://a.b.example.com", 1 },
        { "https://*.example.com", "https://example.com", 0 },
        { "https://*.example.com", "https://a.example.com.org", 0 },
        { "file://*", "file://", 1 }, { "null", "null", 1 },
        { "null", "", 0 }, { "*", "anything", 1 }, { "*", "", 1 },
        { "a*b*c", "aXbXbXc", 1 }, { "a*b*c", "aXbXb", 0 }
    };

    memset(&list, 0, sizeof(list));
    list.elts = pattern;
    list.size = sizeof(ngx_str_t);
    list.nelts = 1;

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        pattern[0] = S(t[i].p);
        o = S(t[i].o);
        CHECK((ngx_centrifugo_origin_check(&list, &o) == NGX_OK) == t[i].ok);
    }

    CHECK(ngx_centrifugo_origin_check(&list, NULL) == NGX_OK);
    CHECK(ngx_centrifugo_origin_check(NULL, NULL) == NGX_OK);
    CHECK(ngx_centrifugo_origin_check(NULL, &o) == NGX_DECLINED);

    /* many stars against a long text end soon */

    {
        static u_char  stars[200], text[8000];

        for (k = 0; k < sizeof(stars); k++) {
            stars[k] = (k % 2) ? 'a' : '*';
        }

        memset(text, 'a', sizeof(text));
        text[sizeof(text) - 1] = 'b';
        pattern[0].data = stars;
        pattern[0].len = sizeof(stars);
        o.data = text;
        o.len = sizeof(text);
        CHECK(ngx_centrifugo_origin_check(&list, &o) == NGX_DECLINED);
    }
}


static void
names(void)
{
    size_t     i;
    ngx_str_t  ch, ns, a, b;
    struct { const char *ch, *ns; } t[] = {
        { "news:a", "news" }, { "$news:a", "news" }, { "news", "" },
        { ":x", "" }, { "$:x", "" }, { "a:b:c", "a" }, { "", "" },
        { "$", "" }, { "$$a:b", "$a" }
    };

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        ch = S(t[i].ch);
        ngx_centrifugo_channel_namespace(&syntax, &ch, &ns);
        CHECK(ns.len == strlen(t[i].ns)
              && memcmp(ns.data, t[i].ns, ns.len) == 0);
    }

    ch = S("abc\x7f");
    CHECK(ngx_centrifugo_channel_ascii(&ch) == NGX_OK);
    ch = S("\xc3\xa9");
    CHECK(ngx_centrifugo_channel_ascii(&ch) == NGX_DECLINED);

    ch = S("a-Z_0.");
    CHECK(ngx_centrifugo_namespace_valid(&ch) == NGX_OK);
    ch = S("a");
    CHECK(ngx_centrifugo_namespace_valid(&ch) == NGX_DECLINED);
    ch = S("a b");
    CHECK(ngx_centrifugo_namespace_valid(&ch) == NGX_DECLINED);

    {
        struct { const char *ch, *rest; } r[] = {
            { "news:a", "a" }, { "a:b:c", "b:c" }, { "news", "news" },
            { "$x", "$x" }, { "$x:y", "y" }, { ":", "" }, { "", "" }
        };
        struct { const char *ch, *user; int limited, ok; } u[] = {
            { "a#1", "1", 1, 1 }, { "a#1,2", "2", 1, 1 },
            { "a#1,2", "1", 1, 1 }, { "a#1,2", "1,2", 1, 0 },
            { "a#12", "1", 1, 0 }, { "a#1", "12", 1, 0 },
            { "a#1#2", "1", 1, 0 }, { "a#1#2", "2", 1, 1 },
            { "a", "a", 0, 0 }, { "", "", 0, 0 }, { "a", "", 0, 0 },
            { "a#", "", 1, 1 }, { "a#1", "", 1, 0 }, { "a#1,", "", 1, 1 },
            { "a#,1", "1", 1, 1 }, { "#", "", 1, 1 }, { "#", "#", 1, 0 }
        };

        for (i = 0; i < N(r); i++) {
            ch = S(r[i].ch);
            ngx_centrifugo_channel_rest(&syntax, &ch, &ns);
            CHECK(ns.len == strlen(r[i].rest)
                  && memcmp(ns.data, r[i].rest, ns.len) == 0);
        }

        for (i = 0; i < N(u); i++) {
            ch = S(u[i].ch);
            a = S(u[i].user);
            CHECK((int) ngx_centrifugo_channel_limited(&syntax, &ch)
                  == u[i].limited);
            CHECK((int) ngx_centrifugo_channel_user(&syntax, &ch, &a)
                  == u[i].ok);
        }
    }

    a = S("key");
    b = S("key");
    CHECK(ngx_centrifugo_secret_equal(&a, &b));
    b = S("keykey");
    CHECK(!ngx_centrifugo_secret_equal(&a, &b));
    b = S("ke");
    CHECK(!ngx_centrifugo_secret_equal(&a, &b));
    b = S("");
    CHECK(!ngx_centrifugo_secret_equal(&a, &b));
    a = S("");
    CHECK(!ngx_centrifugo_secret_equal(&a, &b));
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);
    stub_pool_init(&pool);
    keys_make();

    connection_claims();
    subscription_claims();
    order();
    backtracking();
    signatures();
    preparing();
    jwks();
    speed();
    origins();
    names();

    stub_pool_free(&pool);
    keys_free();
    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
