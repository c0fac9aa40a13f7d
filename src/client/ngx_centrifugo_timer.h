/*
 * The clock of all clients of a worker: one wheel, one NGINX timer.
 */

#ifndef _NGX_CENTRIFUGO_TIMER_H_INCLUDED_
#define _NGX_CENTRIFUGO_TIMER_H_INCLUDED_


#include "ngx_centrifugo_client.h"


void ngx_centrifugo_timer_init(ngx_log_t *log);

/* Stops the NGINX timer, before the process ends. */
void ngx_centrifugo_timer_exit(void);

/*
 * Sets when something falls due, in ms from now; 0 clears it.
 */
void ngx_centrifugo_timer_set(ngx_centrifugo_client_t *client,
    ngx_centrifugo_due_e kind, ngx_msec_t delay);

/* Takes a client off the wheel. */
void ngx_centrifugo_timer_del(ngx_centrifugo_client_t *client);

/* An unpredictable part of `span`: from 0 to span ms. */
ngx_msec_t ngx_centrifugo_timer_jitter(ngx_msec_t span);


#endif /* _NGX_CENTRIFUGO_TIMER_H_INCLUDED_ */
