/*
 * A worker's part in its hubs: its slot, its bell, its tick, and the turns in
 * which it reads the logs and writes to clients.
 */

#ifndef _NGX_CENTRIFUGO_WORKER_H_INCLUDED_
#define _NGX_CENTRIFUGO_WORKER_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


/* Enters all hubs of the cycle.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_centrifugo_worker_init(ngx_cycle_t *cycle,
    ngx_centrifugo_main_conf_t *mcf);

/*
 * Before calls are given up: tokens that wait for keys are not refused since
 * their fetch fails, clients are to come again.
 */
void ngx_centrifugo_worker_leave(void);

/* Leaves them: clears what is the worker's own in shared memory. */
void ngx_centrifugo_worker_exit(ngx_cycle_t *cycle);

/*
 * To be called after any number of publishes: wakes all workers that have
 * subscribers; this one reads the log when the running event is done.
 */
void ngx_centrifugo_worker_wake(ngx_centrifugo_hub_conf_t *hcf);

/* Writes to clients that got frames outside of a turn, soon. */
void ngx_centrifugo_worker_post(void);

/*
 * For a session of a worker that ends: *span is within how many ms it has to
 * be told so (3001), *left how many ms are left until none may be there.
 */
void ngx_centrifugo_worker_drain(ngx_centrifugo_hub_conf_t *hcf,
    ngx_msec_t *span, ngx_msec_t *left);

/* 1 while this worker may take new sessions: it has a slot. */
ngx_uint_t ngx_centrifugo_worker_ready(ngx_centrifugo_hub_conf_t *hcf);


#endif /* _NGX_CENTRIFUGO_WORKER_H_INCLUDED_ */
