/*
 * The doorbell of a slot: a `pending` word in shared memory and a descriptor
 * that every worker inherited.  Without a death no tick is ever needed.
 */

#ifndef _NGX_CENTRIFUGO_BELL_H_INCLUDED_
#define _NGX_CENTRIFUGO_BELL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    int       rd;                       /* with an eventfd both are one */
    int       wr;
} ngx_centrifugo_bell_t;


/* Makes a non-blocking, close-on-exec bell.  NGX_OK or NGX_ERROR (errno). */
ngx_int_t ngx_centrifugo_bell_create(ngx_centrifugo_bell_t *bell);

/*
 * The writer: to be called after what it announces is visible (head stored)
 * and no lock is held.  One system call at most, none when it rings already.
 */
void ngx_centrifugo_bell_ring(ngx_centrifugo_bell_t *bell, uint32_t *pending);

/*
 * The reader, a new tenant and the tick: empties the descriptor, THEN clears
 * `pending`; the caller loads head only after that.
 */
void ngx_centrifugo_bell_answer(ngx_centrifugo_bell_t *bell,
    uint32_t *pending);


#endif /* _NGX_CENTRIFUGO_BELL_H_INCLUDED_ */
