/*
 * Compressed messages, and the header that offers them: what is let through is
 * what zlib makes of the same bytes, and comes back when it is compressed.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "transport/ngx_centrifugo_ws_deflate.h"
#include "transport/ngx_centrifugo_ws_extension.h"

#include <zlib.h>

#define LIMIT  20000


static void compare(const uint8_t *data, size_t size, const ngx_str_t *m);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char     *in;
    ngx_str_t   s, m, again;
    const char *answer;
    static u_char  copy[LIMIT];

    in = malloc(size + 1);
    memcpy(in, data, size);

    s.data = in;
    s.len = size;
    (void) ngx_centrifugo_ws_deflate_offered(&s, &answer);

    if (ngx_centrifugo_ws_inflate(in, size, LIMIT, &m) == NGX_OK) {

        if (m.len > LIMIT) {
            abort();
        }

        compare(in, size, &m);

        memcpy(copy, m.data, m.len);
        s.data = copy;
        s.len = m.len;

        if (ngx_centrifugo_ws_deflate(s.data, s.len, 1 + size % 9, &again)
            == NGX_OK
            && (again.len >= s.len
                || ngx_centrifugo_ws_inflate(again.data, again.len, s.len, &m)
                   != NGX_OK
                || m.len != s.len || memcmp(m.data, s.data, s.len) != 0))
        {
            abort();
        }
    }

    free(in);

    return 0;
}


/* The first of its blocks up to one that is said to be the last. */

static void
compare(const uint8_t *data, size_t size, const ngx_str_t *m)
{
    size_t         len;
    z_stream       zs;
    static u_char  out[LIMIT + 1];

    memset(&zs, 0, sizeof(zs));

    if (inflateInit2(&zs, -15) != Z_OK) {
        abort();
    }

    zs.next_in = (Bytef *) data;
    zs.avail_in = (uInt) size;
    zs.next_out = out;
    zs.avail_out = sizeof(out);

    (void) inflate(&zs, Z_SYNC_FLUSH);

    len = sizeof(out) - zs.avail_out;

    if (len > m->len || (len && memcmp(out, m->data, len) != 0)) {
        abort();
    }

    inflateEnd(&zs);
}
