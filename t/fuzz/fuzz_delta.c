/*
 * Two texts, parted by the number in front: the delta makes the second of the
 * first, is shorter than it, and UTF-8 if both are.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "protocol/ngx_centrifugo_delta.h"
#include "protocol/ngx_centrifugo_utf8.h"
#include "../unit/unit_delta.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                 n;
    u_char                *base, *target, *out;
    ngx_int_t              rc;
    ngx_str_t              b, t;
    ngx_uint_t             utf8;
    ngx_centrifugo_buf_t   buf;

    if (size < 2) {
        return 0;
    }

    n = ngx_min((size_t) (data[0] << 8 | data[1]), size - 2);

    /* blocks of their own, so that a read beyond either is seen */

    b.len = n;
    t.len = size - 2 - n;
    base = malloc(b.len);
    target = malloc(t.len);
    out = malloc(t.len);
    memcpy(base, data + 2, b.len);
    memcpy(target, data + 2 + n, t.len);
    b.data = base;
    t.data = target;

    utf8 = ngx_centrifugo_utf8_validate(base, b.len) == NGX_OK
           && ngx_centrifugo_utf8_validate(target, t.len) == NGX_OK;

    memset(&buf, 0, sizeof(buf));
    rc = ngx_centrifugo_delta(&buf, &b, &t, utf8);
    n = ngx_centrifugo_buf_len(&buf);

    if (rc == NGX_OK) {

        if (n >= t.len
            || undelta(base, b.len, buf.start, n, out, t.len) != (long) t.len
            || memcmp(out, target, t.len) != 0
            || (utf8 && ngx_centrifugo_utf8_validate(buf.start, n) != NGX_OK))
        {
            abort();
        }

    } else if (rc != NGX_DECLINED || n != 0) {
        abort();
    }

    ngx_centrifugo_buf_free(&buf);
    free(base);
    free(target);
    free(out);

    return 0;
}
