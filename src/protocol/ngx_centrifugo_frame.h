/*
 * A frame: bytes made once, sent to any number of clients of this worker.
 */

#ifndef _NGX_CENTRIFUGO_FRAME_H_INCLUDED_
#define _NGX_CENTRIFUGO_FRAME_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


#define NGX_CENTRIFUGO_FRAME_ROOM  14   /* before the payload, for a header */


typedef struct {
    uint32_t     refs;
    uint16_t     head;          /* bytes of the header in front of `data` */
    uint16_t     close;         /* nothing may follow on the connection */
    size_t       len;           /* of the payload */
    u_char       room[NGX_CENTRIFUGO_FRAME_ROOM];
    u_char       data[1];
} ngx_centrifugo_frame_t;


#define ngx_centrifugo_frame_start(f)  ((f)->data - (f)->head)
#define ngx_centrifugo_frame_size(f)   ((f)->len + (f)->head)


/*
 * Copies `len` bytes into a new frame with one reference.  NULL: no memory.
 */
ngx_centrifugo_frame_t *ngx_centrifugo_frame_create(const u_char *data,
    size_t len);

/* Gives back a reference; the last one frees the frame. */
void ngx_centrifugo_frame_release(ngx_centrifugo_frame_t *frame);

/* bytes of all frames of this worker */
size_t ngx_centrifugo_frame_bytes(void);


#endif /* _NGX_CENTRIFUGO_FRAME_H_INCLUDED_ */
