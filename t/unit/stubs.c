/*
 * What the pure parts use of NGINX, for tests that are built without it:
 * base64 and SHA-1 by OpenSSL, so that both are also checked against each
 * other in the module's own tests.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_sha1.h>

#include <openssl/evp.h>

static ngx_time_t  now;

volatile ngx_msec_t   ngx_current_msec;
volatile ngx_time_t  *ngx_cached_time = &now;

static EVP_MD_CTX  *sha1;


void
ngx_sha1_init(ngx_sha1_t *ctx)
{
    sha1 = EVP_MD_CTX_new();
    EVP_DigestInit(sha1, EVP_sha1());
}


void
ngx_sha1_update(ngx_sha1_t *ctx, const void *data, size_t size)
{
    EVP_DigestUpdate(sha1, data, size);
}


void
ngx_sha1_final(u_char result[20], ngx_sha1_t *ctx)
{
    EVP_DigestFinal(sha1, result, NULL);
    EVP_MD_CTX_free(sha1);
}


void
ngx_encode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    u_char  text[256];

    dst->len = EVP_EncodeBlock(text, src->data, src->len);
    memcpy(dst->data, text, dst->len);
}


static ngx_int_t
decode(ngx_str_t *dst, ngx_str_t *src, const char *alphabet)
{
    size_t       i, len;
    u_char      *d;
    uint32_t     acc;
    ngx_uint_t   bits;
    const char  *p;

    for (len = 0; len < src->len && src->data[len] != '='; len++) {
        if (src->data[len] == '\0' || !strchr(alphabet, src->data[len])) {
            return NGX_ERROR;
        }
    }

    if (len % 4 == 1) {
        return NGX_ERROR;
    }

    d = dst->data;
    acc = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        p = strchr(alphabet, src->data[i]);
        acc = acc << 6 | (uint32_t) (p - alphabet);
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *d++ = (u_char) (acc >> bits);
        }
    }

    dst->len = d - dst->data;

    return NGX_OK;
}


ngx_int_t
ngx_decode_base64(ngx_str_t *dst, ngx_str_t *src)
{
    return decode(dst, src, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                            "wxyz0123456789+/");
}


ngx_int_t
ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src)
{
    return decode(dst, src, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                            "wxyz0123456789-_");
}
