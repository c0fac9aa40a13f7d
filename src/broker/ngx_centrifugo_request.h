/*
 * Requests from worker to worker over the control ring, and their answers.
 * Whoever asks is always told how it ended: by answers, or by an error when a
 * worker is gone, silent, or the ring is full.
 */

#ifndef _NGX_CENTRIFUGO_REQUEST_H_INCLUDED_
#define _NGX_CENTRIFUGO_REQUEST_H_INCLUDED_


#include "ngx_centrifugo_broker.h"


/*
 * Kinds of requests are numbers below this: 0 is for tests, 1 to 4 are orders,
 * 5 is a page of channels.
 */
#define NGX_CENTRIFUGO_REQUEST_KINDS     16
#define NGX_CENTRIFUGO_REQUEST_CHANNELS  5

/* one request as the worker sees it that is asked */
typedef struct {
    ngx_centrifugo_hub_conf_t   *hcf;
    ngx_uint_t                   from;
    uint32_t                     from_generation;
    uint64_t                     id;
    uint64_t                     deadline;  /* monotonic ms, 0: none */
    ngx_str_t                    data;      /* until the handler returns */
} ngx_centrifugo_request_t;

/*
 * Called for each answer, and once at the end, when `answer` is not called any
 * more: OK: all have answered; RETRY: a worker is gone, silent or too late, or
 * the ring is full; REFUSED: the request is too large.  `handle` is the
 * caller's own.
 */
typedef struct {
    void                       (*answer)(uint64_t handle, ngx_uint_t slot,
                                     const ngx_str_t *data);
    void                       (*done)(uint64_t handle,
                                     ngx_centrifugo_engine_rc_e rc);
    uint64_t                     handle;
} ngx_centrifugo_asker_t;

/* Answers, now or later, by ngx_centrifugo_request_answer(). */
typedef void (*ngx_centrifugo_request_pt)(ngx_centrifugo_request_t *request);


/* Who handles requests of a kind in this worker; set once, at its start. */
void ngx_centrifugo_request_handler(ngx_uint_t kind,
    ngx_centrifugo_request_pt handler);

/*
 * Asks the worker of a slot and generation, or all (NGX_CENTRIFUGO_TO_ALL,
 * this one too).  `timeout` in ms.  The asker is copied; it may be called
 * before this returns.  Receivers are woken by ngx_centrifugo_broker_wake().
 */
void ngx_centrifugo_request_send(ngx_centrifugo_hub_conf_t *hcf,
    ngx_uint_t to, uint32_t generation, ngx_uint_t kind,
    const ngx_str_t *data, ngx_msec_t timeout,
    const ngx_centrifugo_asker_t *asker);

/*
 * Asks the workers of all slots in a mask as one request: it is done when each
 * has answered, and failed when one can't be told; the others are told still.
 * Workers that are not in the mask may see it too.  A mask without a slot is
 * done at once: OK.
 */
void ngx_centrifugo_request_send_slots(ngx_centrifugo_hub_conf_t *hcf,
    const uint64_t *mask, ngx_uint_t kind, const ngx_str_t *data,
    ngx_msec_t timeout, const ngx_centrifugo_asker_t *asker);

/*
 * Answers a request; who calls from outside of a request's handler wakes the
 * asker.  NGX_OK: it is on its way; NGX_AGAIN: the ring is full, the next tick
 * tries again until the asker's deadline; NGX_DECLINED: the asker is gone;
 * NGX_ERROR: too large, or no memory: the asker's deadline ends it.
 */
ngx_int_t ngx_centrifugo_request_answer(
    const ngx_centrifugo_request_t *request, const ngx_str_t *data);

/*
 * Reads the control ring.  NGX_OK: nothing is left; NGX_AGAIN: call again;
 * NGX_DECLINED: this worker was silent for so long that messages for it are
 * lost: what its sessions were told to do is not known.
 */
ngx_int_t ngx_centrifugo_request_poll(ngx_centrifugo_hub_conf_t *hcf,
    ngx_log_t *log);

/*
 * Ends requests whose deadline has passed or whose worker is gone, and sends
 * answers that found no room.
 */
void ngx_centrifugo_request_tick(ngx_centrifugo_hub_conf_t *hcf);

/* Ends all, before the worker exits. */
void ngx_centrifugo_request_exit(ngx_centrifugo_hub_conf_t *hcf);


#endif /* _NGX_CENTRIFUGO_REQUEST_H_INCLUDED_ */
