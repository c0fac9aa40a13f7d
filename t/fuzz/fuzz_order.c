/*
 * Orders as another worker might have written them: nothing is read outside of
 * the bytes, and what is taken is written the same way again.  The same bytes
 * as a pattern and a name: no more steps than both allow.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "client/ngx_centrifugo_order.h"
#include "core/ngx_centrifugo_glob.h"
#include "core/ngx_centrifugo_text.h"


static void
pattern(u_char *p, size_t len)
{
    u_char                        *at;
    ngx_str_t                      glob, name;
    ngx_uint_t                     steps;
    static ngx_centrifugo_glob_t   g;

    at = memchr(p, '\n', len);

    if (at == NULL) {
        at = p + len / 2;
    }

    glob.data = malloc(at - p + 1);
    glob.data = realloc(glob.data, at > p ? at - p : 1);
    glob.len = at - p;
    memcpy(glob.data, p, glob.len);
    name.data = at;
    name.len = p + len - at;

    (void) ngx_centrifugo_log_str(&name);

    if (ngx_centrifugo_glob_compile(&g, &glob) == NGX_OK) {
        steps = 0;
        (void) ngx_centrifugo_glob_match(&g, &name, &steps);

        if (steps > (name.len + 1) * (8 * glob.len + 8)) {
            abort();
        }
    }

    free(glob.data);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t                bytes;
    ngx_centrifugo_buf_t     b;
    ngx_centrifugo_arena_t   arena;
    ngx_centrifugo_order_t   order;

    memset(&b, 0, sizeof(b));
    ngx_centrifugo_arena_init(&arena, 1024);

    bytes.len = size;
    bytes.data = malloc(size ? size : 1);
    memcpy(bytes.data, data, size);

    if (ngx_centrifugo_order_decode(&arena, &bytes, &order) == NGX_OK) {
        ngx_centrifugo_order_encode(&b, &order);

        if (ngx_centrifugo_buf_len(&b) != size) {
            abort();
        }
    }

    pattern(bytes.data, size);

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_arena_free(&arena);
    free(bytes.data);

    return 0;
}
