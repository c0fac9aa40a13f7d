#include "ngx_centrifugo_frame.h"


static size_t  frame_bytes;


ngx_centrifugo_frame_t *
ngx_centrifugo_frame_create(const u_char *data, size_t len)
{
    ngx_centrifugo_frame_t  *frame;

    frame = malloc(offsetof(ngx_centrifugo_frame_t, data) + len);
    if (frame == NULL) {
        return NULL;
    }

    frame->refs = 1;
    frame->head = 0;
    frame->close = 0;
    frame->len = len;

    if (len) {
        ngx_memcpy(frame->data, data, len);
    }

    frame_bytes += len;

    return frame;
}


void
ngx_centrifugo_frame_release(ngx_centrifugo_frame_t *frame)
{
    if (--frame->refs == 0) {
        frame_bytes -= frame->len;
        free(frame);
    }
}


size_t
ngx_centrifugo_frame_bytes(void)
{
    return frame_bytes;
}
