/*
 * A hub: the state that the workers of one NGINX instance share.  What is in
 * its zone survives the death of any worker at any instruction; the rules are
 * in docs/architecture.md.
 *
 * The hub knows no client and no broker: a worker reads the broadcast log with
 * ngx_centrifugo_hub_read() and does with it what it wants.
 */

#ifndef _NGX_CENTRIFUGO_HUB_H_INCLUDED_
#define _NGX_CENTRIFUGO_HUB_H_INCLUDED_


#include "ngx_centrifugo_registry.h"
#include "../core/ngx_centrifugo_hash.h"


#define NGX_CENTRIFUGO_ZONE_MIN     (4 * 1024 * 1024)
#define NGX_CENTRIFUGO_ZONE_MAX     (64LL * 1024 * 1024 * 1024)
                                            /* 32 bits of units of 16 */
#define NGX_CENTRIFUGO_LOG_MIN      (1024 * 1024)
#define NGX_CENTRIFUGO_NAME_MAX     1024    /* bytes of a stored channel name */
#define NGX_CENTRIFUGO_PAGE         4096    /* bytes, what memory is taken by */
#define NGX_CENTRIFUGO_MASK_WORDS   (NGX_CENTRIFUGO_SLOTS / 64)
#define NGX_CENTRIFUGO_SHARDS_MAX   64
#define NGX_CENTRIFUGO_ID_GENERATION 0x3fffff   /* what ids hold of it */
#define NGX_CENTRIFUGO_TO_ALL       ((ngx_uint_t) 0xffffffff)


/*
 * Counters and gauges, one set per slot; summed on read.  Counters go on over
 * tenants of a slot, gauges (up to the mark) begin with each tenant at 0.
 */
typedef enum {
    NGX_CENTRIFUGO_GAUGE_SESSIONS = 0,              /* open connections */
    NGX_CENTRIFUGO_GAUGE_CLIENTS,                   /* that are connected */
    NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS,
    NGX_CENTRIFUGO_GAUGE_QUEUED_BYTES,
    NGX_CENTRIFUGO_GAUGE_FRAME_BYTES,
    NGX_CENTRIFUGO_GAUGE_COUNT,                     /* the mark */
    NGX_CENTRIFUGO_COUNT_CONNECTIONS = NGX_CENTRIFUGO_GAUGE_COUNT,
    NGX_CENTRIFUGO_COUNT_SUBSCRIBES,
    NGX_CENTRIFUGO_COUNT_PUBLISHED,
    NGX_CENTRIFUGO_COUNT_DELIVERED,
    NGX_CENTRIFUGO_COUNT_BYTES_IN,
    NGX_CENTRIFUGO_COUNT_BYTES_OUT,
    NGX_CENTRIFUGO_COUNT_COMMANDS,
    NGX_CENTRIFUGO_COUNT_REPLY_ERRORS,
    NGX_CENTRIFUGO_COUNT_SLOW,
    NGX_CENTRIFUGO_COUNT_REFUSED,
    NGX_CENTRIFUGO_COUNT_API_COMMANDS,
    NGX_CENTRIFUGO_COUNT_API_ERRORS,
    NGX_CENTRIFUGO_COUNT_OVERRUNS,
    NGX_CENTRIFUGO_COUNT_LOG_LOST,
    NGX_CENTRIFUGO_COUNT_WAKES,
    NGX_CENTRIFUGO_COUNT_RECOVERED_YES,             /* subscriptions */
    NGX_CENTRIFUGO_COUNT_RECOVERED_NO,
    NGX_CENTRIFUGO_COUNT_RECOVERED_PUBLICATIONS,
    NGX_CENTRIFUGO_COUNT_INSUFFICIENT,              /* told 2500 or 3010 */
    NGX_CENTRIFUGO_COUNT_SUPPRESSED_KEY,            /* publications */
    NGX_CENTRIFUGO_COUNT_SUPPRESSED_VERSION,
    NGX_CENTRIFUGO_COUNT_DISCONNECTS,               /* one for each code */
    NGX_CENTRIFUGO_COUNT_N = NGX_CENTRIFUGO_COUNT_DISCONNECTS + 24
} ngx_centrifugo_counter_e;

typedef struct ngx_centrifugo_hub_shm_s  ngx_centrifugo_hub_shm_t;
typedef struct ngx_centrifugo_hub_s      ngx_centrifugo_hub_t;

/* what an entry of the broadcast log is */
typedef enum {
    NGX_CENTRIFUGO_ENTRY_PUBLICATION = 0,
    NGX_CENTRIFUGO_ENTRY_JOIN,          /* of these `info` says who */
    NGX_CENTRIFUGO_ENTRY_LEAVE
} ngx_centrifugo_entry_e;

#define NGX_CENTRIFUGO_EPOCH_LEN  8     /* letters */

/*
 * Where a channel's stream stands.  The epoch are its letters in the order of
 * memory: ngx_memcpy() makes a string of it.
 */
typedef struct {
    uint64_t     offset;                /* of the newest publication, 0: none */
    uint64_t     epoch;                 /* 0: none */
} ngx_centrifugo_position_t;

/* flags of a publication */
#define NGX_CENTRIFUGO_PUB_JSON   1     /* data is valid JSON */
#define NGX_CENTRIFUGO_PUB_DELTA  2     /* subscribers may get a delta */

/* one entry of the broadcast log, in the worker's own memory */
typedef struct {
    uint64_t     pos;
    ngx_centrifugo_entry_e  type;
    uint64_t     channel;               /* id */
    ngx_str_t    name;                  /* not empty: counts instead of id */
    ngx_centrifugo_position_t  position;    /* offset 0: not of a stream */
    uint64_t     time;                  /* wall clock, ms */
    ngx_uint_t   flags;                 /* NGX_CENTRIFUGO_PUB_* */
    ngx_str_t    info;
    ngx_str_t    tags;
    ngx_str_t    data;
} ngx_centrifugo_entry_t;

/* one publication, as it goes into the hub */
typedef struct {
    ngx_str_t    channel;
    ngx_str_t    info;                  /* both packed by the broker */
    ngx_str_t    tags;
    ngx_str_t    data;
    ngx_uint_t   flags;
    uint64_t     time;                  /* wall clock, ms */
    ngx_uint_t   size;                  /* publications that are kept, 0: no
                                           history */
    ngx_msec_t   ttl;                   /* of them */
    ngx_msec_t   meta_ttl;              /* of offset and epoch */
    ngx_str_t    key;                   /* idempotency key, len 0: none */
    uint64_t     version;               /* 0: none */
    ngx_str_t    version_epoch;
} ngx_centrifugo_hub_publication_t;

/* how a publication stands in what is read of a history; bytes follow */
typedef struct {
    uint64_t     offset;
    uint32_t     flags;
    uint32_t     info_len;              /* then this many bytes each of info, */
    uint32_t     tags_len;              /* tags */
    uint32_t     data_len;              /* and data, and up to 7 of nothing */
} ngx_centrifugo_stored_t;

#define ngx_centrifugo_stored_size(info, tags, data)                         \
    ((sizeof(ngx_centrifugo_stored_t) + (info) + (tags) + (data) + 7) & ~7ULL)

/*
 * Reads the history of a channel, a part of it in each call, up to the top of
 * the first.
 */
typedef struct {
    /* what is asked for */
    ngx_str_t    channel;
    uint64_t     since;                 /* with `bounded`: only those behind it,
                                           in reverse those before it */
    ngx_uint_t   limit;                 /* publications in all, 0: only the
                                           position, NGX_CENTRIFUGO_ALL */
    ngx_msec_t   meta_ttl;              /* a read prolongs it; 0: does not */
    unsigned     bounded:1;
    unsigned     reverse:1;             /* newest first */
    unsigned     strict:1;              /* DECLINED if since + 1 is gone */

    /* of the reader, zeroed at the start */
    unsigned     begun:1;
    uint32_t     ref;
    uint64_t     next;
    ngx_uint_t   left;

    /* found: of the first call, or of the latest */
    ngx_centrifugo_position_t  position;
    u_char      *buf;                   /* the caller's, aligned to 8 */
    size_t       size;
    size_t       len;                   /* of ngx_centrifugo_stored_t */
    ngx_uint_t   n;
    size_t       need;                  /* BUSY: bytes of the next one */
} ngx_centrifugo_history_t;

#define NGX_CENTRIFUGO_ALL  ((ngx_uint_t) -1)

typedef struct {
    ngx_msec_t   meta_ttl;              /* not 0: a position is wanted, the
                                           stream is made if there is none */

    uint64_t     channel;               /* id */
    uint64_t     pos;                   /* entries before it are not for the
                                           subscription */
    ngx_centrifugo_position_t  position;
} ngx_centrifugo_join_t;

/* flags of an entry of a channel's presence */
#define NGX_CENTRIFUGO_PRESENCE_ANNOUNCE  1     /* its end is a leave */
#define NGX_CENTRIFUGO_PRESENCE_QUIET     2     /* no join now: it is put back
                                                   after a wipe */

/* one client in a channel */
typedef struct {
    ngx_str_t    channel;
    ngx_str_t    user;
    u_char      *client;                /* id, 16 bytes */
    ngx_str_t    info;                  /* packed by the broker; what readers
                                           and join and leave entries get */
    ngx_uint_t   flags;
} ngx_centrifugo_presence_t;

/*
 * Where a reader of a channel's presence stands; zeroed at the start.
 */
typedef struct {
    uint64_t     seq;                   /* of the last entry that was read */
    uint32_t     ref;
    uint32_t     begun;
} ngx_centrifugo_presence_cursor_t;

/* what clients of this worker are counted by */
typedef enum {
    NGX_CENTRIFUGO_TALLY_USER = 0,
    NGX_CENTRIFUGO_TALLY_ADDRESS        /* binary */
} ngx_centrifugo_tally_e;

typedef struct {
    size_t       zone;
    size_t       log;
    ngx_uint_t   shards;
    ngx_uint_t   slots;
    uint64_t     pages;
    uint64_t     pages_free;
    uint64_t     channels;
    uint64_t     channel_bytes;         /* in items of all records */
    uint64_t     presence;              /* entries of all channels */
    uint64_t     users;                 /* different ones */
    uint64_t     streams;
    uint64_t     publications;          /* in all of them */
    uint64_t     history_bytes;         /* what these take in the zone */
    uint64_t     results;               /* of idempotency keys */
    uint64_t     item_bytes;            /* of both */
    uint64_t     evicted[4];            /* results, publications without and
                                           with subscribers, streams */
    uint64_t     expired[3];            /* results, histories, streams */
    uint64_t     repairs[4];            /* shards, pages, log, control */
    uint64_t     wipes;
    uint64_t     resync;                /* slots that have to, of all shards */
    size_t       control;
    size_t       tables;                /* what has its size from the start */
    uint64_t     head;
    uint64_t     tail;
    uint64_t     control_head;
    uint64_t     control_tail;
    struct {
        uint64_t takes;
        uint64_t contended;
        uint64_t wait_ns;
        uint64_t longest_ns;
    } locks[4];                         /* shards, pages, log, control */
} ngx_centrifugo_hub_stat_t;

/* what a worker reads from the control ring */
typedef struct {
    ngx_uint_t   kind;
    ngx_uint_t   from;                  /* slot and its generation */
    uint32_t     from_generation;
    uint64_t     request;
    uint64_t     deadline;              /* monotonic ms */
    size_t       total;                 /* bytes of the whole message */
    size_t       part;                  /* where in it `data` begins */
    ngx_str_t    data;
} ngx_centrifugo_control_t;

/* kinds; those of requests are for the layers above */
typedef enum {
    NGX_CENTRIFUGO_CONTROL_RESYNC = 1,
    NGX_CENTRIFUGO_CONTROL_ANSWER,
    NGX_CENTRIFUGO_CONTROL_REQUEST      /* the first of them */
} ngx_centrifugo_control_e;

/* a page that may be emptied when there is no other */
#define NGX_CENTRIFUGO_PAGES_SEEN  16

typedef struct {
    uint32_t     page;                  /* + 1, 0: none */
    uint32_t     class;
    uint64_t     written;
} ngx_centrifugo_page_seen_t;

/*
 * A worker's view of a hub.  Not shared.
 */
struct ngx_centrifugo_hub_s {
    ngx_centrifugo_hub_shm_t   *shm;
    ngx_centrifugo_registry_t  *registry;
    ngx_uint_t                  slot;   /* NGX_CENTRIFUGO_NO_SLOT: none */
    uint64_t                    ring[NGX_CENTRIFUGO_MASK_WORDS];
                                        /* slots to ring */

    /* the pass over the log that is going on */
    uint64_t                    read_pos;
    uint64_t                    read_head;
    uint64_t                    read_last;
    unsigned                    reading:1;

    /* of this section, cleared at its end */
    unsigned                    keeping:1;  /* takes what a history needs */
    unsigned                    subscribed:1;   /* of a channel that has
                                                   subscribers */
    unsigned                    evicted:1;  /* has made room for it */

    /* wiped shards in which this worker has to put back its channels */
    uint64_t                    resync;
    uint64_t                    walk;           /* the shards of this walk */
    uint64_t                    walk_head;
    uint32_t                    generation[NGX_CENTRIFUGO_SHARDS_MAX];
    uint32_t                    walk_generation[NGX_CENTRIFUGO_SHARDS_MAX];

    ngx_uint_t                  expiring;       /* shard, of the pass that is
                                                   going on */

    /* pages whose history is old, as they were seen; where to look on */
    ngx_centrifugo_page_seen_t  old[NGX_CENTRIFUGO_PAGES_SEEN];
    uint32_t                    old_next;

    u_char                     *scratch;        /* of the entry read */
    size_t                      scratch_size;
    u_char                     *control_data;   /* of the message read */
    size_t                      control_size;

    /*
     * Whether this worker has subscribers of the channel with that id; others
     * are passed over without being copied.
     */
    ngx_uint_t                (*wanted)(ngx_centrifugo_hub_t *hub,
                                    uint64_t channel);
    void                       *data;   /* of the owner */
};


/*
 * Lays out a hub in `mem` (zeroed, aligned to a page): `size` bytes with a log
 * of `log` bytes and a control ring of `control` bytes, for `slots` workers;
 * `seed` are 32 random bytes.  Returns NULL when it does not fit or a lock
 * can't be made.
 */
ngx_centrifugo_hub_shm_t *ngx_centrifugo_hub_format(void *mem, size_t size,
    size_t log, size_t control, ngx_uint_t slots, const u_char *seed);

/* bytes of the control ring beside a log of that size */
size_t ngx_centrifugo_hub_control_size(size_t log);

/*
 * The zone was made anew with another size: `replace` marks the old one, of
 * which `replaced` tells its workers.
 */
void ngx_centrifugo_hub_replace(ngx_centrifugo_hub_shm_t *shm);
ngx_uint_t ngx_centrifugo_hub_replaced(ngx_centrifugo_hub_t *hub);

/* what a zone was made with */
size_t ngx_centrifugo_hub_log_size(ngx_centrifugo_hub_shm_t *shm);
ngx_uint_t ngx_centrifugo_hub_slots(ngx_centrifugo_hub_shm_t *shm);

/*
 * Enters the hub with a slot that was just claimed: its cursors are set to the
 * heads, its gauges to 0.
 */
void ngx_centrifugo_hub_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t slot);

/* Frees what the hub has in this worker's own memory. */
void ngx_centrifugo_hub_exit(ngx_centrifugo_hub_t *hub);

/*
 * Clears what belongs to a slot whose tenant is gone, in a call at most 16
 * sections of 256 items or one entry of presence; *cursor starts at 0.
 * NGX_AGAIN: call again; NGX_OK: all is clear.  Whom the leaves are for is
 * woken by ngx_centrifugo_hub_wake(), after each call.
 */
ngx_int_t ngx_centrifugo_hub_reap(ngx_centrifugo_hub_t *hub, ngx_uint_t slot,
    uint64_t *cursor);

/*
 * Publishes to all workers that have subscribers, and keeps the publication
 * when it has a size.  *position is where the stream stands then, zero for a
 * publication without history.  NGX_OK: done; NGX_DECLINED: nobody is
 * subscribed and nothing was stored; NGX_DONE: suppressed, for it has the key
 * of an earlier one (*position is that one's) or not a newer version (*position
 * is the top); NGX_BUSY: no room in the zone, even after an eviction;
 * NGX_ERROR: the hub is damaged or the publication is larger than
 * ngx_centrifugo_hub_publication_max().  Readers are woken by
 * ngx_centrifugo_hub_wake().
 */
ngx_int_t ngx_centrifugo_hub_publish(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position);

/*
 * The next part of a history: at most 64 publications and what fits into buf.
 * NGX_AGAIN: call again; NGX_OK: that was all; NGX_DECLINED: what comes next is
 * gone, or the stream is another than in the first call; NGX_BUSY: buf is too
 * small for a single one, which has h->need bytes; NGX_ERROR: damaged.
 * Nothing is made for a channel that is unknown.
 */
ngx_int_t ngx_centrifugo_hub_history(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_history_t *h);

/*
 * Removes all publications of a channel; its position stays.  NGX_OK or
 * NGX_ERROR.
 */
ngx_int_t ngx_centrifugo_hub_history_remove(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel);

/*
 * The housekeeper's: what has expired is taken out, at most 256 items in a
 * section, and 16 sections in a call.  NGX_AGAIN: call again; NGX_OK: nothing
 * is due.
 */
ngx_int_t ngx_centrifugo_hub_expire(ngx_centrifugo_hub_t *hub);

/* The epoch of a string: 0 when that is empty, one that no stream has if it
   is none. */
uint64_t ngx_centrifugo_epoch(const ngx_str_t *s);

/* bytes of info, tags and data that fit into one entry of that log */
size_t ngx_centrifugo_hub_publication_max(size_t log);

/*
 * Rings the bells of all slots that publications since the last call are
 * meant for, once each.  Returns 1 when this worker is among them: it reads
 * the log by itself, its own bell is never rung.
 */
ngx_uint_t ngx_centrifugo_hub_wake(ngx_centrifugo_hub_t *hub);

/*
 * The subscribe section: finds or makes the channel, marks this worker as
 * interested and reads the position, and with `h` (or NULL) the first part of
 * the history, all in one section; what that part returned is in *read.
 * NGX_OK; NGX_DECLINED: the zone is full; NGX_ERROR: the hub is damaged, no
 * slot, or the name is longer than NGX_CENTRIFUGO_NAME_MAX.
 */
ngx_int_t ngx_centrifugo_hub_join(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_join_t *join,
    ngx_centrifugo_history_t *h, ngx_int_t *read);

/* This worker has no subscriber of the channel any more. */
void ngx_centrifugo_hub_leave(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel);

/*
 * Appends a join or leave without a presence entry, to all that have
 * subscribers.  Results as of publish().
 */
ngx_int_t ngx_centrifugo_hub_announce(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
    const ngx_str_t *info, uint64_t time);

/*
 * Presence.  add: enters a client of this worker, which has joined the
 * channel, and with ANNOUNCE appends the join in the same section; an entry
 * that exists gets the new info, without a join.  NGX_OK; NGX_DECLINED: the
 * zone is full; NGX_ERROR: damaged, no slot, the channel is not joined, or
 * the entry is larger than NGX_CENTRIFUGO_PRESENCE_MAX.
 * remove: takes it out, and appends the leave if it was added with ANNOUNCE.
 * NGX_OK; NGX_DECLINED: there is none.
 */
#define NGX_CENTRIFUGO_PRESENCE_MAX  8192   /* bytes of info */

ngx_int_t ngx_centrifugo_hub_presence_add(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_presence_t *presence, uint64_t time);
ngx_int_t ngx_centrifugo_hub_presence_remove(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, const u_char *client, uint64_t time);

/*
 * The entries of a channel, some in each call: into `buf` (size at least 4 +
 * NGX_CENTRIFUGO_PRESENCE_MAX) as a uint32_t of length and the bytes of info
 * each, *len bytes in all.  NGX_AGAIN: call again for the rest; NGX_OK: that
 * was all, *len may be 0; NGX_ERROR: damaged.  An entry that is there during
 * all calls is read exactly once.
 */
ngx_int_t ngx_centrifugo_hub_presence_read(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    u_char *buf, size_t size, size_t *len);

/*
 * The same, but only a hash of each entry's user, at most `max` in a call.
 */
ngx_int_t ngx_centrifugo_hub_presence_users(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_presence_cursor_t *cursor,
    uint64_t *users, ngx_uint_t max, ngx_uint_t *n);

/*
 * Says that `count` clients of this worker are of that user or address from
 * now on; 0 takes the record out.  With `limit` (0: none) NGX_DECLINED and no
 * change when the sum over all workers would be larger.  NGX_OK; NGX_BUSY: the
 * zone is full; NGX_ERROR: damaged, no slot, or the key is longer than
 * NGX_CENTRIFUGO_NAME_MAX.
 */
ngx_int_t ngx_centrifugo_hub_tally_set(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count,
    uint32_t limit);

/* The slots of the workers that have clients of it, a bit each. */
void ngx_centrifugo_hub_tally_slots(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint64_t *mask);

/*
 * The next entry of the log for this worker, copied into memory of the hub
 * that stays until the next call.  NGX_OK; NGX_DONE: nothing more; NGX_AGAIN:
 * nothing yet, call again (a pass has ended, or many entries were passed over);
 * NGX_DECLINED: the writers have overrun this reader, which now stands at the
 * head: entries may be lost from entry->pos on; NGX_ERROR: no memory, the entry
 * stays unread.
 */
ngx_int_t ngx_centrifugo_hub_read(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_entry_t *entry);

/* 1 when there may be entries for this worker that it has not read yet. */
ngx_uint_t ngx_centrifugo_hub_unread(ngx_centrifugo_hub_t *hub);

/*
 * Resync after a wipe.  check: the shards (a bit each) in which this worker
 * has to put its channels back.  begin: starts a walk over them; returns a
 * channel id that is larger than any this worker has by now.  The walk may
 * go on when ready() says 1: the log is read so far that no entry with an
 * old id is left.  rejoin: for each local channel; NGX_OK: as of join;
 * NGX_DECLINED: it is in none of the shards; NGX_ERROR: no room, the walk
 * has to be begun again later.  After NGX_OK the
 * caller puts back the channel's presence entries.  tally: the same for each
 * local user and address.  end: NGX_OK, or NGX_AGAIN when a shard was wiped
 * meanwhile.
 */
uint64_t ngx_centrifugo_hub_resync_check(ngx_centrifugo_hub_t *hub);
uint64_t ngx_centrifugo_hub_resync_begin(ngx_centrifugo_hub_t *hub);
ngx_uint_t ngx_centrifugo_hub_resync_ready(ngx_centrifugo_hub_t *hub);
ngx_int_t ngx_centrifugo_hub_resync_rejoin(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_join_t *join);
ngx_int_t ngx_centrifugo_hub_resync_tally(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_tally_e kind, const ngx_str_t *key, uint32_t count);
ngx_int_t ngx_centrifugo_hub_resync_end(ngx_centrifugo_hub_t *hub);

/*
 * Sends a message to the worker of a slot, if its generation is still that
 * one, or to all (NGX_CENTRIFUGO_TO_ALL, this worker too).  Each part is at
 * most an eighth of the ring.  NGX_OK; NGX_DECLINED: that worker is gone;
 * NGX_BUSY: the ring is full, a part of the message may be in it; NGX_ERROR:
 * damaged, or larger than ngx_centrifugo_control_max().  The receivers are
 * woken by ngx_centrifugo_hub_wake().
 */
ngx_int_t ngx_centrifugo_control_send(ngx_centrifugo_hub_t *hub,
    ngx_uint_t to, uint32_t generation, ngx_uint_t kind, uint64_t request,
    uint64_t deadline, const ngx_str_t *data);

/*
 * The next message for this worker; its data stays until the next call.
 * NGX_OK; NGX_DONE: nothing more; NGX_AGAIN: call again (many were for
 * others); NGX_DECLINED: this worker was silent for so long that messages for
 * it were overwritten; NGX_ERROR: no memory, it stays unread.
 */
ngx_int_t ngx_centrifugo_control_read(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_control_t *message);

/* bytes of the largest message that can be sent */
size_t ngx_centrifugo_control_max(ngx_centrifugo_hub_t *hub);

#if (NGX_CENTRIFUGO_TEST)

/* Wipes a shard, or all (NGX_CENTRIFUGO_TO_ALL). */
void ngx_centrifugo_hub_test_wipe(ngx_centrifugo_hub_t *hub,
    ngx_uint_t shard);

#endif

/* 1 when the worker of a slot and generation can still answer */
ngx_uint_t ngx_centrifugo_hub_alive(ngx_centrifugo_hub_t *hub,
    ngx_uint_t slot, uint32_t generation);

/* The slots of all that read the control ring, a bit each. */
void ngx_centrifugo_hub_members(ngx_centrifugo_hub_t *hub, uint64_t *mask);

/* Adds to a counter or gauge of this worker's slot; no slot: does nothing. */
void ngx_centrifugo_hub_add(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter, int64_t n);

/*
 * Raises a gauge of this worker's slot by one, unless the sum over all slots
 * would then be more than `limit` (0: none): NGX_OK or NGX_DECLINED.  It is
 * never more; two at once for the last place may both be declined.
 */
ngx_int_t ngx_centrifugo_hub_take(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e gauge, uint64_t limit);

/*
 * A token bucket of all workers: `limit` events a second, as many at once.
 * NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_centrifugo_hub_rate(ngx_centrifugo_hub_t *hub,
    ngx_uint_t limit);

/* A number, larger than all that any worker had before. */
uint64_t ngx_centrifugo_hub_ticket(ngx_centrifugo_hub_t *hub);

/* Sets a gauge of this worker's slot; no slot: does nothing. */
void ngx_centrifugo_hub_set(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e gauge, uint64_t n);

/* The sum over all slots. */
uint64_t ngx_centrifugo_hub_sum(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter);

/* Figures of the zone; takes no lock. */
void ngx_centrifugo_hub_stat(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_hub_stat_t *stat);

/*
 * Fills 16 bytes with an id that prints as UUID v4 and from which any worker
 * can tell the owner's slot and generation.  NGX_ERROR: no random bytes.
 */
ngx_int_t ngx_centrifugo_hub_make_id(ngx_centrifugo_hub_t *hub, u_char *id);

/* The id of the zone, 16 bytes: that of this NGINX instance in this hub. */
void ngx_centrifugo_hub_node(ngx_centrifugo_hub_t *hub, u_char *uuid16);

/* The owner of such an id; whether it still lives is for the caller. */
void ngx_centrifugo_hub_id_owner(ngx_centrifugo_hub_t *hub, const u_char *id,
    ngx_uint_t *slot, uint32_t *generation);


#endif /* _NGX_CENTRIFUGO_HUB_H_INCLUDED_ */
