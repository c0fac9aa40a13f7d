/* A decoder of deltas, written from the format for tests only. */

#ifndef UNIT_DELTA_H
#define UNIT_DELTA_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <string.h>


static int
undelta_number(const u_char **p, const u_char *end, uint64_t *n)
{
    int                 digits;
    const char         *at;
    static const char   alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                                     "abcdefghijklmnopqrstuvwxyz~";

    *n = 0;

    for (digits = 0; *p < end && **p; (*p)++, digits++) {
        at = strchr(alphabet, **p);

        if (at == NULL) {
            break;
        }

        *n = *n * 64 + (at - alphabet);

        if (*n > 0xffffffff) {
            return 0;
        }
    }

    return digits && *p < end;
}


/*
 * Writes the target into `out`, of `size` bytes; returns its length, or -1 for
 * anything that is not as the format says.
 */
static long
undelta(const u_char *base, size_t base_len, const u_char *delta, size_t len,
    u_char *out, size_t size)
{
    int            c;
    size_t         i, done;
    uint32_t       sum;
    uint64_t       total, n, offset;
    const u_char  *p, *end;

    p = delta;
    end = delta + len;
    done = 0;

    if (!undelta_number(&p, end, &total) || *p++ != '\n' || total > size) {
        return -1;
    }

    while (undelta_number(&p, end, &n)) {

        c = *p++;

        if (c == ';') {
            sum = 0;

            for (i = 0; i < done; i++) {
                sum += (uint32_t) out[i] << (24 - 8 * (i % 4));
            }

            return (p == end && n == sum && done == total) ? (long) done : -1;
        }

        if (n == 0 || n > total - done) {
            return -1;
        }

        if (c == '@') {

            if (!undelta_number(&p, end, &offset) || *p++ != ','
                || offset > base_len || n > base_len - offset)
            {
                return -1;
            }

            memcpy(out + done, base + offset, n);

        } else if (c == ':' && n <= (uint64_t) (end - p)) {
            memcpy(out + done, p, n);
            p += n;

        } else {
            return -1;
        }

        done += n;
    }

    return -1;
}

#endif
