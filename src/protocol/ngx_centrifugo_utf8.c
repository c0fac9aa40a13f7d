#include "ngx_centrifugo_utf8.h"


ngx_int_t
ngx_centrifugo_utf8_validate(const u_char *p, size_t len)
{
    u_char         c, low, high;
    uint64_t       word;
    ngx_uint_t     n;
    const u_char  *end;

    end = p + len;

    while (p < end) {

        if (*p < 0x80) {

            while (end - p >= 8) {
                ngx_memcpy(&word, p, sizeof(uint64_t));

                if (word & 0x8080808080808080ULL) {
                    break;
                }

                p += 8;
            }

            while (p < end && *p < 0x80) {
                p++;
            }

            continue;
        }

        /* what the second byte may be depends on the first, the rest is free */

        c = *p++;
        low = 0x80;
        high = 0xbf;

        if (c >= 0xc2 && c <= 0xdf) {
            n = 1;

        } else if ((c & 0xf0) == 0xe0) {
            n = 2;

            if (c == 0xe0) {
                low = 0xa0;

            } else if (c == 0xed) {
                high = 0x9f;
            }

        } else if (c >= 0xf0 && c <= 0xf4) {
            n = 3;

            if (c == 0xf0) {
                low = 0x90;

            } else if (c == 0xf4) {
                high = 0x8f;
            }

        } else {
            return NGX_ERROR;
        }

        if ((size_t) (end - p) < n || *p < low || *p > high) {
            return NGX_ERROR;
        }

        for (p++, n--; n; p++, n--) {
            if ((*p & 0xc0) != 0x80) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
