/*
 * What the server API tells sessions to do: subscribe, unsubscribe, disconnect,
 * refresh.  An order travels over the control ring to the workers that have
 * such sessions; each does it and answers.
 */

#ifndef _NGX_CENTRIFUGO_ORDER_H_INCLUDED_
#define _NGX_CENTRIFUGO_ORDER_H_INCLUDED_


#include "ngx_centrifugo_client.h"
#include "../broker/ngx_centrifugo_request.h"


/* kinds of requests between workers */
typedef enum {
    NGX_CENTRIFUGO_ORDER_SUBSCRIBE = 1,
    NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE,
    NGX_CENTRIFUGO_ORDER_DISCONNECT,
    NGX_CENTRIFUGO_ORDER_REFRESH
} ngx_centrifugo_order_e;

typedef struct ngx_centrifugo_order_s {
    ngx_centrifugo_order_e        kind;

    /* to whom: connections of this user, of them only that client or session */
    ngx_str_t                     user;
    ngx_str_t                     client;       /* printed ids, len 0: any */
    ngx_str_t                     session;

    ngx_str_t                     channel;      /* unsubscribe: len 0: all */
    ngx_str_t                     info;         /* raw JSON, len 0: none */
    ngx_str_t                     data;
    int64_t                       expire_at;    /* unix seconds */
    ngx_uint_t                    expired;      /* refresh */
    ngx_centrifugo_override_t     override;
    ngx_centrifugo_position_t     since;        /* subscribe, with `recover` */
    unsigned                      recover:1;

    ngx_uint_t                    code;         /* disconnect, unsubscribe */
    ngx_str_t                     reason;
    uint64_t                      ticket;       /* disconnect: 0, or only
                                                   those with a lower one */
    ngx_str_t                    *whitelist;    /* client ids that stay */
    ngx_uint_t                    nwhitelist;
} ngx_centrifugo_order_t;


/* Makes this worker able to carry orders out; at its start. */
void ngx_centrifugo_order_init(void);

/*
 * Sends an order.  `done` is called once, perhaps before this returns: OK: all
 * workers concerned have carried it out; else at least one can't be told.
 * The order is copied; receivers are woken by ngx_centrifugo_worker_wake().
 */
void ngx_centrifugo_order_send(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order,
    const ngx_centrifugo_completion_t *done);


/* src/client/ngx_centrifugo_order_codec.c: the form in which it travels */

/* Appends an order; what failed is seen in b->failed. */
void ngx_centrifugo_order_encode(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_order_t *order);

/*
 * Strings point into the bytes, the whitelist into the arena.  NGX_OK;
 * NGX_ERROR: encode did not make them; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_order_decode(ngx_centrifugo_arena_t *arena,
    const ngx_str_t *bytes, ngx_centrifugo_order_t *order);


#endif /* _NGX_CENTRIFUGO_ORDER_H_INCLUDED_ */
