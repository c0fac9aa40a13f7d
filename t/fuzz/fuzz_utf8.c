/*
 * The UTF-8 validator against one that decodes: the same verdict, whatever is
 * in front and wherever the eight-byte steps fall.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "protocol/ngx_centrifugo_utf8.h"


/* by the numbers: shortest form, no surrogates, nothing above U+10FFFF */

static int
decodes(const uint8_t *p, size_t len)
{
    size_t    i, k, n;
    uint32_t  c;

    for (i = 0; i < len; i += n) {

        if (p[i] < 0x80) {
            n = 1;
            continue;
        }

        n = (p[i] >> 5 == 6) ? 2 : (p[i] >> 4 == 14) ? 3
            : (p[i] >> 3 == 30) ? 4 : 0;

        if (n == 0 || n > len - i) {
            return 0;
        }

        c = p[i] & (0x7f >> n);

        for (k = 1; k < n; k++) {
            if (p[i + k] >> 6 != 2) {
                return 0;
            }

            c = c << 6 | (p[i + k] & 0x3f);
        }

        if (c < (n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000) || c > 0x10ffff
            || (c >= 0xd800 && c <= 0xdfff))
        {
            return 0;
        }
    }

    return 1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t   at;
    u_char  *in;

    for (at = 0; at < 9; at++) {

        /* exactly as long as it is, for the sanitizer */

        in = malloc(at + size + (at + size == 0));
        memset(in, 'a', at);

        if (size) {
            memcpy(in + at, data, size);
        }

        if ((ngx_centrifugo_utf8_validate(in, at + size) == NGX_OK)
            != decodes(data, size))
        {
            abort();
        }

        free(in);
    }

    return 0;
}
