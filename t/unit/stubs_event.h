/* The event loop of a test. */

#ifndef STUBS_EVENT_H
#define STUBS_EVENT_H

extern ngx_uint_t         stub_warnings;    /* log lines from warn on */
extern ngx_connection_t  *stub_bell;        /* of the worker under test */

void stub_init(void);

/*
 * Runs posted events, and makes those of the next turn posted.  Returns how
 * many there were of both.
 */
ngx_uint_t stub_posted(void);

/* Runs the timers that are due by ngx_current_msec. */
void stub_timers(void);
ngx_uint_t stub_timers_left(void);

#endif
