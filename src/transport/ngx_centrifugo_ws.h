/*
 * The WebSocket transport (RFC 6455).
 */

#ifndef _NGX_CENTRIFUGO_WS_H_INCLUDED_
#define _NGX_CENTRIFUGO_WS_H_INCLUDED_


#include "../client/ngx_centrifugo_client.h"
#include "ngx_centrifugo_admission.h"
#include "ngx_centrifugo_ws_frame.h"


typedef struct {
    ngx_centrifugo_client_t   client;       /* must be first */
    ngx_connection_t         *connection;
    ngx_centrifugo_buf_t      in;           /* bytes of an incomplete frame */
    ngx_centrifugo_buf_t      message;      /* of a fragmented message */
    size_t                    skip;         /* bytes to pass over; the largest
                                               value: all that come */

    unsigned                  text:1;       /* the open message is text */
    unsigned                  compressed:1; /* and compressed */
    unsigned                  deflate:1;    /* messages may be */
    unsigned                  fragmented:1; /* a message is open */
    unsigned                  paused:1;     /* the client's input is full */
    unsigned                  resumed:1;    /* and has room again */
    unsigned                  closing:1;    /* a close frame was queued */
    unsigned                  peer_closed:1;
    unsigned                  ended:1;      /* to be destroyed */
    unsigned                  draining:1;
#if (NGX_CENTRIFUGO_TEST)
    unsigned                  echo:1;       /* messages come back */
#endif
} ngx_centrifugo_ws_t;


/* Content handler of centrifugo_websocket: the handshake. */
ngx_int_t ngx_centrifugo_ws_handler(ngx_http_request_t *r);

/*
 * Takes a connection whose request is gone and makes it a session, and uses up
 * its admission; `early` are bytes that came behind the handshake.  The
 * connection is closed when that fails.
 */
void ngx_centrifugo_ws_start(ngx_connection_t *c,
    ngx_centrifugo_loc_conf_t *lcf, ngx_centrifugo_admission_t *admission,
    const ngx_str_t *early);


#endif /* _NGX_CENTRIFUGO_WS_H_INCLUDED_ */
