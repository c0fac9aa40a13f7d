/*
 * What a WebSocket session writes: frames, and the bytes of its queue.
 */

#ifndef _NGX_CENTRIFUGO_WS_OUTPUT_H_INCLUDED_
#define _NGX_CENTRIFUGO_WS_OUTPUT_H_INCLUDED_


#include "../client/ngx_centrifugo_client.h"
#include "ngx_centrifugo_ws_frame.h"


/*
 * A frame with its header; deflated: compressed as the hub says, if it gets
 * shorter.  NULL: no memory.
 */
ngx_centrifugo_frame_t *ngx_centrifugo_ws_output_frame(ngx_uint_t opcode,
    const u_char *data, size_t len);
ngx_centrifugo_frame_t *ngx_centrifugo_ws_output_deflated(
    ngx_centrifugo_hub_conf_t *hcf, ngx_uint_t opcode, const u_char *data,
    size_t len);

/*
 * Writes from the front of a queue, which is not empty, once: what c->send()
 * returns.
 */
ssize_t ngx_centrifugo_ws_output(ngx_connection_t *c,
    ngx_centrifugo_queue_t *queue);


#endif /* _NGX_CENTRIFUGO_WS_OUTPUT_H_INCLUDED_ */
