/*
 * Within the broker: what a worker has of a hub's channels, and of the way from
 * the log to them.
 */

#ifndef _NGX_CENTRIFUGO_TABLE_H_INCLUDED_
#define _NGX_CENTRIFUGO_TABLE_H_INCLUDED_


#include "ngx_centrifugo_broker.h"


typedef struct {
    ngx_rbtree_t                   by_id;
    ngx_rbtree_t                   by_name;
    ngx_rbtree_node_t              sentinel;
    ngx_uint_t                     n;           /* channels */
    time_t                         warned;

    /* the publication that is being delivered */
    ngx_centrifugo_channel_t      *current;     /* NULL: none */
    ngx_queue_t                    mark;        /* in its subscriptions */
    ngx_centrifugo_entry_t         entry;
    ngx_centrifugo_publication_t   pub;
    ngx_centrifugo_client_info_t   info;

    ngx_queue_t                    feeds;       /* by when they were looked
                                                   at */
    uint64_t                       number;      /* the last that was given */

    /* reading again what the log has lost */
    ngx_queue_t                    lost;        /* feeds that have to */
    ngx_queue_t                    ahead;       /* that are further than the
                                                   log is read */
    ngx_centrifugo_channel_t      *catching;    /* NULL: none */
    ngx_centrifugo_position_t      since;       /* of that one */
    ngx_centrifugo_buf_t           caught;
    ngx_str_t                      rest;        /* of it */

    /* putting channels back after a wipe */
    uint64_t                       walk_id;
    uint64_t                       walk_limit;
    ngx_msec_t                     walk_again;  /* not before */
    unsigned                       walk_failed:1;

    unsigned                       asking:1;    /* for what `catching` lost */
    unsigned                       check:1;     /* positions are due */
} ngx_centrifugo_table_t;


/* what a channel has lost comes before what is left in the log */
#define ngx_centrifugo_table_lost(table)                                     \
    ((table)->catching || !ngx_queue_empty(&(table)->lost))


/* of the client layer, NULL: none */
extern const ngx_centrifugo_restore_t  *ngx_centrifugo_restore;


/* The channel of that id, or NULL; from: the first one from that id on. */
ngx_centrifugo_channel_t *ngx_centrifugo_table_find(
    ngx_centrifugo_table_t *table, uint64_t id);
ngx_centrifugo_channel_t *ngx_centrifugo_table_from(
    ngx_centrifugo_table_t *table, uint64_t id);

/* Gives up what count++ has held. */
void ngx_centrifugo_table_release(ngx_centrifugo_channel_t *channel);

/* The meta TTL that the channel's options say, 0: there are none any more. */
ngx_msec_t ngx_centrifugo_table_meta_ttl(ngx_centrifugo_channel_t *channel);

/*
 * Feeds.  drop: the channel is freed.  overrun: entries of the log are lost.
 * catch_up: the next step of reading them again: NGX_OK: table->pub is to be
 * delivered to table->catching; NGX_AGAIN: call again; NGX_BUSY: the engine has
 * not answered yet.  even: the log is read as far as that.  delivered:
 * table->pub was.  check: after a tick, when this worker has read all of the
 * log; NGX_AGAIN: call again.  insufficient: the stream of the channel is at
 * `top` and this worker can't follow it there.
 */
void ngx_centrifugo_feed_drop(ngx_centrifugo_channel_t *channel);
void ngx_centrifugo_feed_overrun(ngx_centrifugo_hub_conf_t *hcf,
    ngx_log_t *log);
ngx_int_t ngx_centrifugo_feed_catch_up(ngx_centrifugo_hub_conf_t *hcf,
    ngx_uint_t *budget);
void ngx_centrifugo_feed_even(ngx_centrifugo_hub_conf_t *hcf);
void ngx_centrifugo_feed_delivered(ngx_centrifugo_feed_t *feed, uint64_t pos,
    const ngx_centrifugo_publication_t *pub);
ngx_int_t ngx_centrifugo_feed_check(ngx_centrifugo_hub_conf_t *hcf);
void ngx_centrifugo_feed_insufficient(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_position_t *top);

/*
 * The next step of putting this worker's channels back after a wipe: NGX_OK:
 * there is nothing to do (now); NGX_AGAIN: call again when the log is read.
 */
ngx_int_t ngx_centrifugo_rejoin(ngx_centrifugo_hub_conf_t *hcf,
    ngx_log_t *log);


#endif /* _NGX_CENTRIFUGO_TABLE_H_INCLUDED_ */
