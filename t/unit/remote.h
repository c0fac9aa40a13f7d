/*
 * The remote transport: the session is in one worker, what its peer hangs at
 * (a request, a connection) in another.  Frames, messages of the peer and
 * acknowledgements travel by the control ring, in pieces that fit; at most a
 * window of bytes is under way unacknowledged in each direction.
 */

#ifndef _NGX_CENTRIFUGO_REMOTE_H_INCLUDED_
#define _NGX_CENTRIFUGO_REMOTE_H_INCLUDED_


#include "client/ngx_centrifugo_client.h"


/* how the two ends of a session see each other */
typedef struct {
    ngx_centrifugo_hub_conf_t    *hcf;
    ngx_uint_t                    slot;         /* where the other end is */
    uint32_t                      generation;
    uint64_t                      here;         /* handles of both ends */
    uint64_t                      there;
    uint64_t                      sent;         /* positions of the stream to
                                                   the other end */
    uint64_t                      acked;
    uint64_t                      got;          /* and of that from it */
    uint64_t                      taken;
    uint64_t                      told;         /* what of `taken` it knows */
    ngx_msec_t                    heard;
} ngx_centrifugo_remote_end_t;

/* the end where the session is; its memory is the transport's own */
typedef struct {
    ngx_centrifugo_client_t       client;       /* must be first */
    ngx_centrifugo_remote_end_t   end;
    ngx_queue_t                   link;
    ngx_event_t                   destroy;      /* posted */
    ngx_centrifugo_buf_t          message;      /* that came in part */
    size_t                        window;
    ngx_uint_t                    code;         /* of the close, 0: none */
    ngx_str_t                     reason;
    u_char                        text[123];    /* of the reason */

    unsigned                      paused:1;     /* the client's input is full */
    unsigned                      blocked:1;    /* the ring was full */
    unsigned                      told:1;       /* the other end knows */
    unsigned                      ended:1;      /* to be destroyed */
} ngx_centrifugo_remote_t;

/* the end where the peer is; zeroed and embedded by its owner */
typedef struct ngx_centrifugo_remote_peer_s  ngx_centrifugo_remote_peer_t;

struct ngx_centrifugo_remote_peer_s {
    ngx_centrifugo_remote_end_t   end;
    ngx_rbtree_node_t             node;         /* by end.here */
    ngx_queue_t                   link;
    ngx_centrifugo_buf_t          in;           /* messages that wait for room
                                                   in the window */
    size_t                        in_pos;       /* what of it is sent */

    /*
     * Bytes for the peer; `last`: a frame ends with them.  They are told as
     * taken by ngx_centrifugo_remote_consumed().
     */
    void                        (*output)(ngx_centrifugo_remote_peer_t *peer,
                                    const ngx_str_t *data, ngx_uint_t last);
    /*
     * The last call, never from within input, consumed or leave: the session
     * is over.  Code 0: there is none, the connection just ends.
     */
    void                        (*ended)(ngx_centrifugo_remote_peer_t *peer,
                                    ngx_uint_t code, const ngx_str_t *reason);

    unsigned                      open:1;       /* the session is there */
    unsigned                      full:1;       /* input was told to stop */
    unsigned                      leaving:1;    /* still to be told */
    unsigned                      done:1;       /* `ended` is still due */
};


extern const ngx_centrifugo_transport_t  ngx_centrifugo_remote_transport;


/* Prepares a worker for both kinds of ends. */
void ngx_centrifugo_remote_init(void);

/*
 * Asks the worker of a slot and generation for a session.  Set before: output,
 * ended.  `window`: how many bytes it may send ahead.
 */
void ngx_centrifugo_remote_open(ngx_centrifugo_remote_peer_t *peer,
    ngx_centrifugo_hub_conf_t *hcf, ngx_uint_t slot, uint32_t generation,
    size_t window);

/*
 * One message of the peer.  NGX_OK: taken; NGX_AGAIN: taken, but nothing more
 * until this is called with len 0 and says NGX_OK; NGX_ERROR: no memory.
 */
ngx_int_t ngx_centrifugo_remote_input(ngx_centrifugo_remote_peer_t *peer,
    const u_char *data, size_t len);

/* `n` bytes of the output are on their way to the peer. */
void ngx_centrifugo_remote_consumed(ngx_centrifugo_remote_peer_t *peer,
    size_t n);

/* The peer is gone. */
void ngx_centrifugo_remote_leave(ngx_centrifugo_remote_peer_t *peer);

/*
 * Once a second: tries again what found the ring full, and looks whether the
 * workers of other ends are alive.
 */
void ngx_centrifugo_remote_tick(ngx_centrifugo_hub_conf_t *hcf);

/* This worker has lost messages: peers can't go on. */
void ngx_centrifugo_remote_lost(ngx_centrifugo_hub_conf_t *hcf);

/* The sessions and peers that are there, of all hubs. */
ngx_uint_t ngx_centrifugo_remote_count(void);


#endif /* _NGX_CENTRIFUGO_REMOTE_H_INCLUDED_ */
