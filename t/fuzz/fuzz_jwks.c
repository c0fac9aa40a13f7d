/*
 * JWKS: the first line is the issuer, whose group is in the URL, the rest is
 * the document.  No key of it makes a signature that nobody has made, and no
 * issuer leads to another place.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "../unit/stubs_conf.h"
#include "auth/ngx_centrifugo_auth.h"
#include "protocol/ngx_centrifugo_json.h"

#include <openssl/err.h>
#include <openssl/evp.h>


static ngx_pool_t                  pool;
static ngx_log_t                   fuzz_log;
static ngx_cycle_t                 cycle;
static ngx_conf_t                  conf;
static ngx_centrifugo_arena_t      arena;
static ngx_centrifugo_verifier_t   verifier;
static ngx_str_t                   document;
static ngx_uint_t                  verdicts;


static void
must(int ok)
{
    if (!ok) {
        abort();
    }
}


static void
fetch(void *data, const ngx_str_t *uri, const ngx_centrifugo_fetched_t *done)
{
    size_t  i;

    must(uri->len > 3 && memcmp(uri->data, "/k/", 3) == 0);

    for (i = 3; i < uri->len; i++) {
        must(uri->data[i] > ' ' && uri->data[i] < 0x7f);
        must(!strchr("/?#{}\\\"", uri->data[i]));
        must(uri->data[i] != '.' || uri->data[i - 1] != '.');
    }

    done->handler(done->data, NGX_OK, &document);
}


static void
verified(uint64_t handle, ngx_centrifugo_token_rc_e rc,
    ngx_centrifugo_token_t *token)
{
    verdicts++;
    must(rc == NGX_CENTRIFUGO_TOKEN_INVALID && token->reason);
}


static void
prepare(void)
{
    conf.pool = &pool;
    stub_pool_init(&pool);
    fuzz_log.log_level = NGX_LOG_DEBUG;
    cycle.log = &fuzz_log;
    ngx_cycle = &cycle;

    ngx_str_set(&verifier.jwks_endpoint, "/k/{{t}}");
    ngx_str_set(&verifier.issuer_regex, "^(?s)(?<t>.*)$");
    verifier.skip_jwks_check = 1;
    verifier.fetch = fetch;

    must(ngx_centrifugo_verifier_prepare(&conf, &verifier) == NGX_OK);
}


static void
encode(ngx_centrifugo_buf_t *b, const u_char *p, size_t len)
{
    char    *s;
    size_t   i;

    s = malloc(len * 2 + 8);
    EVP_EncodeBlock((u_char *) s, p, (int) len);

    for (i = 0; s[i] && s[i] != '='; i++) {
        ngx_centrifugo_buf_byte(b, s[i] == '+' ? '-' : s[i] == '/' ? '_'
                                                                   : s[i]);
    }

    free(s);
}


static void
check(const char *alg, size_t signature, ngx_str_t *issuer)
{
    u_char                      filler[256];
    ngx_str_t                   token;
    ngx_uint_t                  n;
    ngx_centrifugo_buf_t        json, text;
    ngx_centrifugo_verified_t   done;

    /* zeros could be a signature: a key may be a point of small order */

    memset(filler, 'Z', sizeof(filler));
    memset(&json, 0, sizeof(json));
    memset(&text, 0, sizeof(text));

    ngx_centrifugo_buf_literal(&json, "{\"kid\":\"a\",\"alg\":\"");
    ngx_centrifugo_buf_append(&json, alg, strlen(alg));
    ngx_centrifugo_buf_literal(&json, "\"}");
    encode(&text, json.start, ngx_centrifugo_buf_len(&json));
    ngx_centrifugo_buf_byte(&text, '.');

    ngx_centrifugo_buf_reset(&json);
    ngx_centrifugo_buf_literal(&json, "{\"iss\":");
    ngx_centrifugo_json_append_string(&json, issuer);
    ngx_centrifugo_buf_literal(&json, "}");
    encode(&text, json.start, ngx_centrifugo_buf_len(&json));
    ngx_centrifugo_buf_byte(&text, '.');
    encode(&text, filler, signature);

    token.data = text.start;
    token.len = ngx_centrifugo_buf_len(&text);
    done.handler = verified;
    done.handle = 0;
    n = verdicts;

    verifier.check(&verifier, NGX_CENTRIFUGO_TOKEN_CONNECTION, &arena, &token,
                   &done);
    must(verdicts == n + 1 && ERR_peek_error() == 0);

    ngx_centrifugo_buf_free(&json);
    ngx_centrifugo_buf_free(&text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char     *in, *line;
    ngx_str_t   issuer;

    if (pool.cleanup == NULL) {
        prepare();
    }

    line = size ? memchr(data, '\n', size) : NULL;

    if (line == NULL) {
        return 0;
    }

    /* exact pieces, so that a byte too many is seen */

    issuer.len = line - data;
    issuer.data = malloc(issuer.len + 1);
    memcpy(issuer.data, data, issuer.len);
    document.len = size - issuer.len - 1;
    in = malloc(document.len + 1);
    memcpy(in, line + 1, document.len);
    document.data = in;

    ngx_current_msec += 2 * 3600 * 1000;
    ngx_centrifugo_arena_init(&arena, 1024);

    check("RS256", 256, &issuer);
    check("ES256", 64, &issuer);
    check("ES512", 132, &issuer);
    check("EdDSA", 64, &issuer);

    ngx_centrifugo_arena_free(&arena);
    free(issuer.data);
    free(in);

    return 0;
}
