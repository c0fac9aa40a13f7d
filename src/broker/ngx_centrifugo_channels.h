/*
 * All channels of a hub that somebody is subscribed to, over all workers.
 */

#ifndef _NGX_CENTRIFUGO_CHANNELS_H_INCLUDED_
#define _NGX_CENTRIFUGO_CHANNELS_H_INCLUDED_


#include "ngx_centrifugo_broker.h"


/* bytes of names and counts in one list */
#define NGX_CENTRIFUGO_CHANNELS_MAX  (64 * 1024 * 1024)

/*
 * Called once, perhaps before ngx_centrifugo_channels() returns.  OK: *list
 * has the entries, its bytes are the callee's from then on; RETRY: a worker
 * can't be asked, or no memory; REFUSED: the list is too long.
 */
typedef struct {
    void                       (*handler)(uint64_t handle,
                                     ngx_centrifugo_engine_rc_e rc,
                                     ngx_centrifugo_buf_t *list);
    uint64_t                     handle;
} ngx_centrifugo_channels_done_t;


/* Makes this worker able to answer; at its start. */
void ngx_centrifugo_channels_init(void);

/*
 * Lists channels that match a valid pattern (len 0: all).  Workers are woken
 * by ngx_centrifugo_broker_wake().  A channel that is there all the time is in
 * the list once; after a damaged shard was wiped, while workers put their
 * channels back, it may be there twice or not at all.
 */
void ngx_centrifugo_channels(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *pattern, const ngx_centrifugo_channels_done_t *done);

/* The next of the entries: takes it from the front.  NGX_OK or NGX_DONE. */
ngx_int_t ngx_centrifugo_channels_next(ngx_str_t *list, ngx_str_t *name,
    uint32_t *count);


#endif /* _NGX_CENTRIFUGO_CHANNELS_H_INCLUDED_ */
