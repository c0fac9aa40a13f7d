/*
 * The engine interface.  Client and API know only this: what is below it (the
 * shared zone now) publishes, and calls back with what subscribers get.
 */

#ifndef _NGX_CENTRIFUGO_BROKER_H_INCLUDED_
#define _NGX_CENTRIFUGO_BROKER_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"
#include "../core/ngx_centrifugo_glob.h"
#include "../protocol/ngx_centrifugo_protocol.h"


/* how an operation ended */
typedef enum {
    NGX_CENTRIFUGO_ENGINE_OK = 0,
    NGX_CENTRIFUGO_ENGINE_RETRY,        /* may work later: error 100 */
    NGX_CENTRIFUGO_ENGINE_REFUSED,      /* never: the input is too large */
    NGX_CENTRIFUGO_ENGINE_UNAVAILABLE   /* the engine is down: error 100 */
} ngx_centrifugo_engine_rc_e;

/*
 * What few channels have: those with positioned subscribers, or with such that
 * get numbers instead of names.  It is there as long as `users` is
 * not 0, and a while longer after a catch-up.
 */
typedef struct ngx_centrifugo_channel_s  ngx_centrifugo_channel_t;

typedef struct {
    ngx_queue_t                  link;          /* all of a hub */
    ngx_centrifugo_channel_t    *channel;
    ngx_centrifugo_position_t    position;      /* of what this worker has
                                                   delivered last, or found
                                                   when it joined */
    uint64_t                     pos;           /* of the log, where the feed
                                                   begins */
    ngx_msec_t                   checked;       /* the position, the last time:
                                                   by an entry or by asking */
    ngx_msec_t                   looked;        /* whether that is due */
    ngx_centrifugo_position_t    caught;        /* entries of the log up to this
                                                   came by a catch-up */
    ngx_queue_t                  lost;          /* of those that have to or
                                                   did, next NULL: did not */
    ngx_uint_t                   users;         /* subscriptions, and the
                                                   broker */
    ngx_uint_t                   positioned;    /* of them */
    ngx_uint_t                   deltas;        /* of the positioned */
    uint64_t                     id;            /* instead of its name, 0: none
                                                   yet */
    ngx_centrifugo_position_t    last;          /* of `payload`; offset 0: none
                                                   is kept */
    ngx_centrifugo_buf_t         payload;       /* while there are deltas */
} ngx_centrifugo_feed_t;

/*
 * A channel that clients of this worker are subscribed to.
 */
struct ngx_centrifugo_channel_s {
    ngx_rbtree_node_t            node;          /* by id */
    ngx_str_node_t               name;
    ngx_centrifugo_hub_conf_t   *hcf;
    ngx_queue_t                  subscriptions; /* of the client layer */
    ngx_uint_t                   count;
    ngx_centrifugo_feed_t       *feed;          /* NULL: none */
};

typedef struct {
    ngx_centrifugo_channel_t    *channel;       /* subscribe */
    uint64_t                     pos;           /* of the log, where the
                                                   subscription begins */
    ngx_str_t                    presence;      /* entries, for
                                     ngx_centrifugo_broker_presence_next() */
    uint32_t                     num_clients;   /* of presence and its stats */
    uint32_t                     num_users;     /* of its stats only */
    ngx_centrifugo_position_t    position;      /* publish: epoch 0 without
                                                   history; history, subscribe:
                                                   the top */
    ngx_str_t                    publications;  /* history, subscribe: for
                                  ngx_centrifugo_broker_publication_next() */
    ngx_uint_t                   npublications;
    unsigned                     recovered:1;   /* subscribe */
} ngx_centrifugo_engine_result_t;

/*
 * Called exactly once for each operation, perhaps before the operation
 * returns.  `handle` is the caller's own, to find again who asked.
 */
typedef struct {
    void                       (*handler)(uint64_t handle,
                                     ngx_centrifugo_engine_rc_e rc,
                                     ngx_centrifugo_engine_result_t *result);
    uint64_t                     handle;
} ngx_centrifugo_completion_t;

/* one publication as an engine takes it */
typedef struct {
    ngx_str_t                    channel;
    ngx_str_t                    data;
    ngx_str_t                    info;  /* ngx_centrifugo_broker_pack_info() */
    ngx_str_t                    tags;  /* ngx_centrifugo_tags_pack() */
    ngx_uint_t                   json;  /* the data is valid JSON */
    ngx_uint_t                   delta; /* subscribers may get one */
    ngx_uint_t                   history_size;      /* 0: is not kept */
    ngx_msec_t                   history_ttl;
    ngx_msec_t                   history_meta_ttl;
    ngx_str_t                    idempotency_key;   /* len 0: none */
    uint64_t                     version;           /* 0: none */
    ngx_str_t                    version_epoch;
} ngx_centrifugo_publish_t;

/* what to read of a history */
typedef struct {
    ngx_str_t                    channel;
    ngx_centrifugo_position_t    since;     /* with `bounded`: only what is
                                               behind it, in reverse before it;
                                               the epoch is the caller's to
                                               compare */
    ngx_uint_t                   limit;     /* NGX_CENTRIFUGO_ALL */
    size_t                       max;       /* bytes in all; more than these is
                                               REFUSED */
    ngx_msec_t                   meta_ttl;
    unsigned                     bounded:1;
    unsigned                     reverse:1;
} ngx_centrifugo_history_wish_t;

typedef enum {
    NGX_CENTRIFUGO_RECOVER_NO = 0,
    NGX_CENTRIFUGO_RECOVER_STREAM,      /* all since a position, or nothing */
    NGX_CENTRIFUGO_RECOVER_CACHE        /* the newest, if it is not that */
} ngx_centrifugo_recover_e;

/* how to subscribe */
typedef struct {
    ngx_str_t                    channel;
    ngx_centrifugo_recover_e     recover;
    ngx_centrifugo_position_t    since;     /* epoch 0: any */
    ngx_uint_t                   limit;     /* of what is recovered */
    size_t                       max;       /* its bytes; beyond either nothing
                                               is recovered */
    ngx_msec_t                   meta_ttl;  /* not 0: the position is wanted */
} ngx_centrifugo_subscribe_wish_t;

typedef struct {
    ngx_str_t     name;

    ngx_int_t   (*init_worker)(ngx_centrifugo_hub_conf_t *hcf);
    void        (*exit_worker)(ngx_centrifugo_hub_conf_t *hcf);

    void        (*publish)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_centrifugo_publish_t *pub,
                    const ngx_centrifugo_completion_t *done);

    /*
     * The completion attaches a subscription to result->channel (count > 0)
     * before it returns, or the channel is given up again.
     */
    void        (*subscribe)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_centrifugo_subscribe_wish_t *wish,
                    const ngx_centrifugo_completion_t *done);

    /* The channel lost its last subscription (count is 0): frees it. */
    void        (*unsubscribe)(ngx_centrifugo_channel_t *channel);

    /*
     * Presence of a client of this worker in a channel that it is subscribed
     * to, and the join and leave that go with it; see the hub.
     */
    void        (*presence_add)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_centrifugo_presence_t *presence,
                    const ngx_centrifugo_completion_t *done);
    void        (*presence_remove)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_centrifugo_presence_t *presence);

    /* A join or leave where no presence is kept. */
    void        (*announce)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
                    const ngx_str_t *info);

    /* All that are present, or only how many; see the result. */
    void        (*presence)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_str_t *channel,
                    const ngx_centrifugo_completion_t *done);
    void        (*presence_stats)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_str_t *channel,
                    const ngx_centrifugo_completion_t *done);

    /* What a channel has kept; REFUSED: more than wish->max. */
    void        (*history)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_centrifugo_history_wish_t *wish,
                    const ngx_centrifugo_completion_t *done);
    void        (*history_remove)(ngx_centrifugo_hub_conf_t *hcf,
                    const ngx_str_t *channel,
                    const ngx_centrifugo_completion_t *done);
} ngx_centrifugo_engine_t;

/*
 * The way of a publication to subscribers: appends it to the queues of the
 * channel's subscriptions, except those that begin after `pos` or are further
 * in the stream already, until the *budget of appends is used up, which is at
 * least 1.  With pub->caught those that have a position go by that alone.
 * NGX_OK: all have it; NGX_AGAIN: call again for the rest, with the same
 * publication.  `mark` keeps the place in the channel's list; its `next` is
 * NULL at the first call.
 */
typedef ngx_int_t (*ngx_centrifugo_deliver_pt)(
    ngx_centrifugo_channel_t *channel, uint64_t pos,
    const ngx_centrifugo_publication_t *pub, ngx_queue_t *mark,
    ngx_uint_t *budget);


extern const ngx_centrifugo_engine_t  ngx_centrifugo_engine_memory;


#define ngx_centrifugo_engine(hcf)                                           \
    ((const ngx_centrifugo_engine_t *) (hcf)->engine)


/*
 * What the client layer does after a shard was wiped, when a channel is back
 * (its presence), and when all are (users): NGX_OK; NGX_AGAIN: call again;
 * NGX_ERROR: no room, all of it later again.  insufficient: the stream of a
 * channel went on without this worker, up to that position or in another epoch:
 * subscriptions that are not there end by 2500 or 3010.
 */
typedef struct {
    void                       (*channel)(ngx_centrifugo_channel_t *channel);
    ngx_int_t                  (*rest)(ngx_centrifugo_hub_conf_t *hcf);
    void                       (*insufficient)(
                                    ngx_centrifugo_channel_t *channel,
                                    const ngx_centrifugo_position_t *top);
} ngx_centrifugo_restore_t;

/* Set once, at the worker's start. */
void ngx_centrifugo_broker_restore(const ngx_centrifugo_restore_t *restore);

/* Prepares the table of channels and the engine of a hub in this worker. */
ngx_int_t ngx_centrifugo_broker_init(ngx_centrifugo_hub_conf_t *hcf);
void ngx_centrifugo_broker_exit(ngx_centrifugo_hub_conf_t *hcf);

/*
 * For engines: this worker's channel of that name and hub id, found or made;
 * NULL: no memory.  free: it has no subscription any more.
 */
ngx_centrifugo_channel_t *ngx_centrifugo_broker_channel_add(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *name, uint64_t id);
void ngx_centrifugo_broker_channel_free(ngx_centrifugo_channel_t *channel);

/*
 * Reads the log of a hub and delivers, until `budget` appends are done or
 * entries passed over; it may stop between two subscribers of one channel.
 * NGX_OK: nothing is left; NGX_AGAIN: more is there, call again after the
 * writes.
 */
ngx_int_t ngx_centrifugo_broker_poll(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_deliver_pt deliver, ngx_uint_t budget, ngx_log_t *log);

/*
 * Each second: positions that were not confirmed for
 * channel_position_check_delay are to be asked for by the next polls.
 */
void ngx_centrifugo_broker_tick(ngx_centrifugo_hub_conf_t *hcf);

/*
 * To be called once after any number of publishes, and after an answer that an
 * engine gives late, with no lock held: wakes the other workers, and tells by 1
 * that this one has to poll, too.
 */
ngx_uint_t ngx_centrifugo_broker_wake(ngx_centrifugo_hub_conf_t *hcf);

/* The wall clock of this turn, ms. */
uint64_t ngx_centrifugo_broker_time(void);

/* This worker's channel of that name, or NULL. */
ngx_centrifugo_channel_t *ngx_centrifugo_broker_channel(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *name);

/* how a channel stands in a page of them; its name follows */
typedef struct {
    uint64_t                     id;
    uint32_t                     count;         /* of subscribers */
    uint32_t                     len;
} ngx_centrifugo_channel_entry_t;

/*
 * Appends channels with subscribers in this worker, from the id *cursor on in
 * the order of ids, as entries: at most `max` bytes, and no more work than one
 * turn can take.  glob NULL: any name.  NGX_OK: that was all; NGX_AGAIN: call
 * again for the rest.
 */
ngx_int_t ngx_centrifugo_broker_channels_page(
    ngx_centrifugo_hub_conf_t *hcf, uint64_t *cursor,
    const ngx_centrifugo_glob_t *glob, ngx_centrifugo_buf_t *b, size_t max);

/*
 * The form in which a publisher's identity travels; unpack checks lengths:
 * NGX_ERROR for what pack did not make.
 */
ngx_int_t ngx_centrifugo_broker_pack_info(ngx_centrifugo_arena_t *arena,
    const ngx_centrifugo_client_info_t *info, ngx_str_t *packed);
ngx_int_t ngx_centrifugo_broker_unpack_info(const ngx_str_t *packed,
    ngx_centrifugo_client_info_t *info);

/*
 * The next of result->publications: takes it from the front.  `info` is what
 * pub->info may point to.  NGX_OK; NGX_DONE: there is none.
 */
ngx_int_t ngx_centrifugo_broker_publication_next(ngx_str_t *publications,
    ngx_centrifugo_publication_t *pub, ngx_centrifugo_client_info_t *info);

/*
 * The rule of recovery, for engines: whether what was read since a position
 * (`n` publications, the first and last of them at these offsets) is all up to
 * the top.
 */
ngx_uint_t ngx_centrifugo_broker_recovered(
    const ngx_centrifugo_position_t *since,
    const ngx_centrifugo_position_t *top, ngx_uint_t n, uint64_t first,
    uint64_t last);

/*
 * A subscription that begins at such a result needs the channel's feed, found
 * or made, and gives it up.  NULL: no memory.
 */
ngx_centrifugo_feed_t *ngx_centrifugo_feed_take(
    ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_engine_result_t *result);
void ngx_centrifugo_feed_give(ngx_centrifugo_channel_t *channel);

/* The number of a channel with a feed; none is given twice. */
uint64_t ngx_centrifugo_feed_id(ngx_centrifugo_channel_t *channel);

/*
 * The next of the entries in result->presence: takes it from the front.
 * NGX_OK; NGX_DONE: there is none.
 */
ngx_int_t ngx_centrifugo_broker_presence_next(ngx_str_t *entries,
    ngx_centrifugo_client_info_t *info);


#endif /* _NGX_CENTRIFUGO_BROKER_H_INCLUDED_ */
