#ifndef CFLOAD_PRESENCE_H_INCLUDED
#define CFLOAD_PRESENCE_H_INCLUDED


#include "client.h"
#include "parse.h"


/*
 * Whether joins, leaves and presence tell what the clients are doing. An
 * observer is a client that stays and is told of each join and leave; those
 * of all processes connect before anybody else.
 */

void cf_presence_init(uint32_t clients);

/* the reply to a client's connect command: its id */

void cf_presence_connected(cf_client_t *c, const cf_reply_t *r);

/* an observer's subscriptions: from the reply to the end of the connection */

void cf_presence_begin(cf_client_t *c, uint32_t k);
void cf_presence_end(cf_client_t *c);

void cf_presence_push(cf_client_t *c, const cf_reply_t *r);

/* `ask`: twice the subscription, and 1 for presence_stats */

cf_end_e cf_presence_reply(cf_client_t *c, const cf_reply_t *r, uint32_t ask);

/* asks when it is time for it; returns ms until the next turn */

int cf_presence_turn(int phase);


#endif /* CFLOAD_PRESENCE_H_INCLUDED */
