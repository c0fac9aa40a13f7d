#ifndef CFLOAD_VERIFY_H_INCLUDED
#define CFLOAD_VERIFY_H_INCLUDED


#include "cfload.h"
#include "payload.h"


/*
 * Whether each subscription gets what it has to get: once, in order,
 * undamaged. A slot is a subscription of a client; a session of it goes from
 * the reply to its subscribe command to its end.
 */

void cf_verify_init(uint32_t slots, cf_worker_t *stats);
void cf_verify_begin(uint32_t slot, uint32_t channel);
void cf_verify_delivery(uint32_t slot, uint32_t channel, const char *data,
    size_t len, uint64_t now);

/* explained: what is missing is so because the server ended it */

void cf_verify_end(uint32_t slot, int explained);

/* 1 if everything that was acknowledged has come */

int cf_verify_complete(uint32_t slot, uint32_t channel);

/* a session that is open when all is over: the rest has to be there */

void cf_verify_tail(uint32_t slot, uint32_t channel);

/* after all sessions; what was refused is known by then */

void cf_verify_finish(void);


#endif /* CFLOAD_VERIFY_H_INCLUDED */
