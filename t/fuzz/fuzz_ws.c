/* Frames of a client, cut anywhere: the parser stays inside its input. */

#include <ngx_config.h>
#include <ngx_core.h>
#include "transport/ngx_centrifugo_ws_frame.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                     *in, *pos, *end, *before;
    size_t                      need, have;
    ngx_str_t                   reason;
    ngx_int_t                   rc;
    ngx_uint_t                  code, fragmented;
    ngx_centrifugo_ws_frame_t   f;

    in = malloc(size + 1);
    memcpy(in, data, size);
    pos = in;
    end = in + size;
    fragmented = 0;
    have = 0;

    for ( ;; ) {
        before = pos;
        rc = ngx_centrifugo_ws_parse(&pos, end, fragmented, have, 1000, &f,
                                     &need, &code);

        if (rc != NGX_OK) {
            if (rc == NGX_ERROR ? (code != 1002 && code != 1009)
                                : (need && need <= (size_t) (end - pos)))
            {
                abort();
            }

            break;
        }

        if (pos <= before || f.payload < before || f.payload + f.len != pos) {
            abort();
        }

        if (f.opcode == NGX_CENTRIFUGO_WS_CLOSE) {
            (void) ngx_centrifugo_ws_parse_close(f.payload, f.len, &code,
                                                 &reason);

        } else if (f.opcode < NGX_CENTRIFUGO_WS_CLOSE) {
            have = f.fin ? 0 : have + f.len;
            fragmented = !f.fin;

            if (have > 1000) {
                abort();
            }
        }
    }

    free(in);

    return 0;
}
