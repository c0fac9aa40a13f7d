/*
 * From frames to sockets: phase 1 appends to queues, phase 2 writes each
 * client's queue once.
 */

#ifndef _NGX_CENTRIFUGO_DELIVERY_H_INCLUDED_
#define _NGX_CENTRIFUGO_DELIVERY_H_INCLUDED_


#include "ngx_centrifugo_client.h"


/*
 * Prepares the list of clients that have something to write; `memory` are the
 * bytes that all frames of this worker may take.  exit: frees the buffers.
 */
void ngx_centrifugo_delivery_init(size_t memory);
void ngx_centrifugo_delivery_exit(void);

/*
 * over: 1 while they take more.  longest: bytes of the longest queue of a
 * hub's clients here, 0 when nothing waits.  shed: sends away by 3008 whoever
 * has at least `least` bytes waiting, as long as they take more; returns how
 * many it were.
 */
ngx_uint_t ngx_centrifugo_delivery_over(void);
size_t ngx_centrifugo_delivery_longest(ngx_centrifugo_hub_conf_t *hcf);
ngx_uint_t ngx_centrifugo_delivery_shed(ngx_centrifugo_hub_conf_t *hcf,
    size_t least);

/*
 * Appends a frame to a client's queue and puts it on the list.  A client whose
 * queue grows beyond queue_max_size is closed with 3008.
 */
void ngx_centrifugo_delivery_append(ngx_centrifugo_client_t *client,
    ngx_centrifugo_frame_t *frame);

/* ngx_centrifugo_deliver_pt: one publication to all its subscribers. */
ngx_int_t ngx_centrifugo_delivery_publication(
    ngx_centrifugo_channel_t *channel, uint64_t pos,
    const ngx_centrifugo_publication_t *pub, ngx_queue_t *mark,
    ngx_uint_t *budget);

/*
 * What came for a subscription before its answer goes into the queue behind it,
 * which may end the subscription or close its client; or is thrown away.
 */
void ngx_centrifugo_delivery_answered(ngx_centrifugo_subscription_t *sub);
void ngx_centrifugo_delivery_drop(ngx_centrifugo_subscription_t *sub);

/*
 * Writes the queues of listed clients, up to a fixed number or for 5 ms.
 * NGX_OK: the list is empty; NGX_AGAIN: it is not.
 */
ngx_int_t ngx_centrifugo_delivery_flush(void);

/*
 * 1 while publications have to wait until flush() has gone through its list:
 * much is in the queue of a client whose turn to be written to has not come.
 */
ngx_uint_t ngx_centrifugo_delivery_held(void);

/* Monotonic ns, not the event loop's: for turns that have a limit. */
int64_t ngx_centrifugo_delivery_now(void);

/* Writes the queue of one client now. */
void ngx_centrifugo_delivery_send(ngx_centrifugo_client_t *client);


#endif /* _NGX_CENTRIFUGO_DELIVERY_H_INCLUDED_ */
