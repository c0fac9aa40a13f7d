/* Tokens, origins, names of channels, secrets. */

#include "unit.h"
#include "auth/ngx_centrifugo_auth.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOW  1700000000



static const ngx_centrifugo_channel_syntax_t  syntax = { '$', ':', '#', ',' };

static ngx_centrifugo_arena_t      arena;
static ngx_centrifugo_verifier_t   verifier;


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


static ngx_str_t
token(const char *header, const char *claims, const EVP_MD *md,
    const char *key)
{
    char      *text;
    u_char     mac[64];
    unsigned   len;

    text = ngx_centrifugo_arena_alloc(&arena, 4 * (strlen(header)
                                                   + strlen(claims)) + 200);
    sprintf(text, "%s.%s", b64url((u_char *) header, strlen(header)),
            b64url((u_char *) claims, strlen(claims)));
    HMAC(md, key, (int) strlen(key), (u_char *) text, strlen(text), mac, &len);
    sprintf(text + strlen(text), ".%s", b64url(mac, len));

    return S(text);
}


static ngx_centrifugo_token_t  result;

static int
verify(ngx_str_t t)
{
    return ngx_centrifugo_token_verify(&verifier,
                                       NGX_CENTRIFUGO_TOKEN_CONNECTION, &arena, &t, NOW, &result);
}


#define HS256       "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define CLAIMS(c)   verify(token(HS256, c, EVP_sha256(), "secret"))
#define OK          NGX_CENTRIFUGO_TOKEN_OK
#define INVALID     NGX_CENTRIFUGO_TOKEN_INVALID
#define EXPIRED     NGX_CENTRIFUGO_TOKEN_EXPIRED


static void
tokens(void)
{
    size_t     i;
    ngx_str_t  t, cut;

    verifier.hmac_secret_key = S("secret");

    CHECK(CLAIMS("{\"sub\":\"42\",\"info\":{ \"n\":1.0e5 }}") == OK
          && result.user.len == 2 && result.expire_at == 0
          && result.info.len == 13
          && memcmp(result.info.data, "{ \"n\":1.0e5 }", 13) == 0);
    CHECK(CLAIMS("{}") == OK && result.user.len == 0);
    CHECK(CLAIMS("{\"exp\":1700000001}") == OK
          && result.expire_at == NOW + 1);
    CHECK(CLAIMS("{\"exp\":\"1700000001\"}") == OK
          && result.expire_at == NOW + 1);
    CHECK(CLAIMS("{\"exp\":1700000001.5}") == OK);
    CHECK(CLAIMS("{\"exp\":1700000000}") == EXPIRED);
    CHECK(CLAIMS("{\"exp\":-5}") == EXPIRED);
    CHECK(CLAIMS("{\"exp\":1e300}") == OK && result.expire_at > NOW);
    CHECK(CLAIMS("{\"nbf\":1700000001}") == EXPIRED);
    CHECK(CLAIMS("{\"nbf\":1700000000}") == OK);
    CHECK(CLAIMS("{\"exp\":1700000009,\"expire_at\":1700000005}") == OK
          && result.expire_at == NOW + 5);
    CHECK(CLAIMS("{\"exp\":1700000009,\"expire_at\":0}") == OK
          && result.expire_at == 0);
    CHECK(CLAIMS("{\"exp\":1,\"expire_at\":0}") == EXPIRED);
    CHECK(CLAIMS("{\"b64info\":\"eyJhIjoxfQ==\"}") == OK
          && result.info.len == 7);
    CHECK(CLAIMS("{\"b64info\":\"*\"}") == NGX_CENTRIFUGO_TOKEN_ERROR);

    {
        const char *bad[] = { "{\"sub\":1}", "{\"exp\":\"x\"}",
            "{\"exp\":true}", "{\"exp\":\"\"}", "{\"channel\":\"c\"}",
            "{\"meta\":1}", "{\"channels\":{}}", "{\"channels\":[1]}",
            "{\"subs\":[]}", "{\"subs\":{\"a\":1}}", "[]", "1", "{" };

        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            CHECK(CLAIMS(bad[i]) == INVALID && result.reason);
        }
    }

    CHECK(verify(token("{\"alg\":\"HS384\"}", "{}", EVP_sha384(), "secret"))
          == OK);
    CHECK(verify(token("{\"alg\":\"HS512\"}", "{}", EVP_sha512(), "secret"))
          == OK);
    CHECK(verify(token("{\"alg\":\"HS512\"}", "{}", EVP_sha256(), "secret"))
          == INVALID);
    CHECK(verify(token(HS256, "{}", EVP_sha256(), "other")) == INVALID);

    {
        const char *bad[] = { "{\"alg\":\"none\"}", "{\"alg\":\"RS256\"}",
            "{\"alg\":\"ES256\"}", "{\"alg\":\"PS256\"}",
            "{\"alg\":\"hs256\"}", "{\"alg\":\"\"}", "{}", "{\"alg\":1}",
            "{\"alg\":\"HS256\",\"crit\":[\"x\"]}" };

        for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            t = token(bad[i], "{}", EVP_sha256(), "secret");
            CHECK(verify(t) == INVALID);
            t.len = (u_char *) strrchr((char *) t.data, '.') - t.data + 1;
            CHECK(verify(t) == INVALID);
        }
    }

    /* each change of a byte and each cut is seen */

    t = token(HS256, "{\"sub\":\"42\"}", EVP_sha256(), "secret");
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
    t.len--;

    verifier.hmac_secret_key.len = 0;
    CHECK(verify(t) == INVALID);
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

    tokens();
    origins();
    names();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
