/*
 * The header Sec-WebSocket-Extensions (RFC 6455, section 9.1), and in it the
 * offers of permessage-deflate (RFC 7692, section 7.1).  No memory.
 */

#ifndef _NGX_CENTRIFUGO_WS_EXTENSION_H_INCLUDED_
#define _NGX_CENTRIFUGO_WS_EXTENSION_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* the answer to an offer that is accepted, and to one that names the window */
#define NGX_CENTRIFUGO_WS_DEFLATE                                            \
    "permessage-deflate; server_no_context_takeover; "                       \
    "client_no_context_takeover"
#define NGX_CENTRIFUGO_WS_DEFLATE_WINDOW                                     \
    NGX_CENTRIFUGO_WS_DEFLATE "; server_max_window_bits=15"


/*
 * NGX_OK: one of the offers in the list can be accepted with *answer, one of
 * those above.  NGX_DECLINED: none can; one that wants a smaller window of the
 * server cannot, since a broadcast is compressed once for all.  NGX_ERROR: it
 * is no such list.
 */
ngx_int_t ngx_centrifugo_ws_deflate_offered(const ngx_str_t *header,
    const char **answer);


#endif /* _NGX_CENTRIFUGO_WS_EXTENSION_H_INCLUDED_ */
