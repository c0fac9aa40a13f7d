/*
 * Tokens and origins: nothing that was not signed is accepted; where signatures
 * are not checked, what a token says is JSON and each channel comes once.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "../unit/stubs_conf.h"
#include "auth/ngx_centrifugo_auth.h"
#include "protocol/ngx_centrifugo_json.h"

#include <openssl/err.h>

#define NOW  1700000000


static ngx_pool_t                  pool;
static ngx_conf_t                  conf;
static ngx_centrifugo_arena_t      arena;
static ngx_centrifugo_verifier_t   with_keys, without;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static ngx_uint_t
known(void *data, const ngx_str_t *channel)
{
    return channel->data[0] != 'n';
}


static void
prepare(void)
{
    static ngx_str_t  rsa = ngx_string("-----BEGIN PUBLIC KEY-----\n"
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkV/6xKBO17+xBaWYBQWX\n"
        "ALXozyBBE4AcbWUYW0StA66BkOCQvxsyQ2cnXLoNb+Cq5v5vS+VkqnaPgOM5x03e\n"
        "Igyc8dUwNzbz1aENPWkj7BgwjfXQMWyiU5WpHlzqjJ/HhqTP57f753vAVFxf7Hf1\n"
        "9jBQqfWr9y8EdIahr9Ua6WoId8lLD9do80XjZmRpyNUi6HHfsEBtUy9mBwbBYKyS\n"
        "p4yFrS8+bfAlxCMvUJKKtUkDXZnTdlIVYvHStyIhTUdAJmGvVxKd7VeQ15HpcZpv\n"
        "TI55zMJlr9egmO1kigB9JbtsknUzvSZeE3mcUJ2qsssLjYbBfzdAiHvUdL++umo2\n"
        "twIDAQAB\n"
        "-----END PUBLIC KEY-----\n");
    static ngx_str_t  ec = ngx_string("-----BEGIN PUBLIC KEY-----\n"
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBin9b7zMcvYkzSjHsfmmn0ztPgM9\n"
        "KsWdw55PP+URBneAkt93WsxHOwP/BZg/UK4xXWs02uZssqZCdEEq9hc35w==\n"
        "-----END PUBLIC KEY-----\n");

    conf.pool = &pool;
    stub_pool_init(&pool);

    ngx_str_set(&with_keys.hmac_secret_key, "no one knows it");
    ngx_str_set(&with_keys.hmac_previous_secret_key, "or that");
    with_keys.rsa_public_key = rsa;
    with_keys.ecdsa_public_key = ec;

    without.skip_signature = 1;
    without.known = known;

    must(ngx_centrifugo_verifier_prepare(&conf, &with_keys) == NGX_OK);
    must(ngx_centrifugo_verifier_prepare(&conf, &without) == NGX_OK);
}


static void
json(ngx_str_t *s)
{
    if (s->len) {
        must(ngx_centrifugo_json_validate(&arena, s->data, s->len) == NGX_OK);
    }
}


/* the input as the claims of a token that needs no signature */

static void
claims(ngx_centrifugo_token_kind_e kind, u_char *data, size_t size)
{
    size_t                        i;
    u_char                       *p;
    uint32_t                      bits;
    ngx_str_t                     token;
    ngx_uint_t                    n;
    ngx_centrifugo_token_t        result;
    ngx_centrifugo_token_rc_e     rc;
    ngx_centrifugo_token_sub_t   *sub, *next;
    static const char             digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
                                         "ghijklmnopqrstuvwxyz0123456789-_";

    token.data = ngx_centrifugo_arena_alloc(&arena, size * 2 + 10);
    p = ngx_cpymem(token.data, "e30.", 4);

    for (i = 0; i < size; i += 3) {
        bits = data[i] << 16 | (i + 1 < size ? data[i + 1] << 8 : 0)
               | (i + 2 < size ? data[i + 2] : 0);
        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];

        if (i + 1 < size) {
            *p++ = digits[bits >> 6 & 63];
        }

        if (i + 2 < size) {
            *p++ = digits[bits & 63];
        }
    }

    *p++ = '.';
    token.len = p - token.data;

    rc = ngx_centrifugo_token_verify(&without, kind, &arena, &token, NOW,
                                     &result);
    must((rc == NGX_CENTRIFUGO_TOKEN_OK) == (result.reason == NULL));

    if (rc != NGX_CENTRIFUGO_TOKEN_OK) {
        return;
    }

    json(&result.info);
    json(&result.data);
    json(&result.meta);
    must((result.override.value & ~result.override.set) == 0);
    must((result.channel.len != 0)
         == (kind == NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION));

    for (sub = result.subs, n = 0; sub; sub = sub->next, n++) {
        must(sub->channel.len != 0 && known(NULL, &sub->channel));
        json(&sub->info);
        json(&sub->data);

        for (next = sub->next; next; next = next->next) {
            must(next->channel.len != sub->channel.len
                 || memcmp(next->channel.data, sub->channel.data,
                           sub->channel.len) != 0);
        }
    }

    must(n == result.nsubs);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                  *in;
    ngx_str_t                token, pattern = ngx_string("a*b*:*c");
    ngx_array_t              list;
    ngx_centrifugo_token_t   result;

    if (pool.cleanup == NULL) {
        prepare();
    }

    in = malloc(size + 1);
    memcpy(in, data, size);
    token.data = in;
    token.len = size;
    memset(&list, 0, sizeof(list));
    list.elts = &pattern;
    list.nelts = 1;

    ngx_centrifugo_arena_init(&arena, 1024);

    must(ngx_centrifugo_token_verify(&with_keys,
                                     NGX_CENTRIFUGO_TOKEN_CONNECTION, &arena,
                                     &token, NOW, &result)
         != NGX_CENTRIFUGO_TOKEN_OK);
    must(result.reason != NULL && ERR_peek_error() == 0);

    claims(NGX_CENTRIFUGO_TOKEN_CONNECTION, in, size);
    claims(NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION, in, size);

    (void) ngx_centrifugo_origin_check(&list, &token);

    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
