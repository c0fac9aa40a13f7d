/*
 * What a hub's zone holds.  Only src/hub includes this.  No pointers are kept
 * in a zone: places are byte offsets from its start or numbers of pages,
 * checked before use.
 */

#ifndef _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_
#define _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_


#include "ngx_centrifugo_hub.h"
#include "../core/ngx_centrifugo_fault.h"


#define NGX_CENTRIFUGO_HUB_MAGIC     0x6e67785f63665f68ULL
#define NGX_CENTRIFUGO_HUB_VERSION   5

#define NGX_CENTRIFUGO_SIZES         16     /* of items */
#define NGX_CENTRIFUGO_CLASSES       (3 * NGX_CENTRIFUGO_SIZES)
                                            /* all sizes of each kind */
#define NGX_CENTRIFUGO_SPARE         16     /* the part of the pages, one in so
                                               many, that is not for history */
#define NGX_CENTRIFUGO_RING_UNIT     64     /* sizes of entries and pads */

/* intent.state: what a dead holder of the shard's lock was about to do */
#define NGX_CENTRIFUGO_INTENT_NONE   0
#define NGX_CENTRIFUGO_INTENT_NODE   1      /* took an item, not linked yet */
#define NGX_CENTRIFUGO_INTENT_LINK   2      /* links a filled record */
#define NGX_CENTRIFUGO_INTENT_UNLINK 3      /* removes a record */
#define NGX_CENTRIFUGO_INTENT_WIPE   4      /* empties the shard */
#define NGX_CENTRIFUGO_INTENT_FREE   5      /* frees the head of `chain` */
#define NGX_CENTRIFUGO_INTENT_ENTER  6      /* of presence: once `logged` the
                                               entry is in, else it never was */
#define NGX_CENTRIFUGO_INTENT_LEAVE  7      /* once `logged` it is gone, else
                                               it stays */
#define NGX_CENTRIFUGO_INTENT_STREAM 8      /* links a new stream to its
                                               channel */
#define NGX_CENTRIFUGO_INTENT_APPEND 9      /* once `logged` the publication
                                               and its result are in, else
                                               they never were */
#define NGX_CENTRIFUGO_INTENT_TRIM   10     /* the oldest publication goes */
#define NGX_CENTRIFUGO_INTENT_REMOVE 11     /* the empty stream goes */

/* intent.due: what it was about to do to the list of a tick of the wheel */
#define NGX_CENTRIFUGO_DUE_NONE      0
#define NGX_CENTRIFUGO_DUE_LINK      1
#define NGX_CENTRIFUGO_DUE_UNLINK    2

/* the wheel of what expires: lists for 1, 64 and 4096 ticks */
#define NGX_CENTRIFUGO_DUE_TICK      1000   /* ms */
#define NGX_CENTRIFUGO_DUE_TICKS     64
#define NGX_CENTRIFUGO_DUE_LEVELS    3

/* intent.list: what it was about to do to a class's list of pages */
#define NGX_CENTRIFUGO_LIST_NONE     0
#define NGX_CENTRIFUGO_LIST_LINK     1
#define NGX_CENTRIFUGO_LIST_UNLINK   2

/*
 * A word that a repair looks at is stored with release; one that must come
 * BEFORE other stores is followed by a compiler fence, since plain stores may
 * move up over a release store and a kill shows that order.
 */
#define intent_store(p, v)                                                   \
    do {                                                                     \
        __atomic_store_n(p, v, __ATOMIC_RELEASE);                            \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                             \
    } while (0)


/* items are named by their offset from the zone's start in units of 16 */
typedef uint32_t  ngx_centrifugo_ref_t;


/* item.type; what is free has none */
#define NGX_CENTRIFUGO_ITEM_FREE     0
#define NGX_CENTRIFUGO_ITEM_CHANNEL  1      /* these are records: what buckets
                                               hold */
#define NGX_CENTRIFUGO_ITEM_PRESENCE 2
#define NGX_CENTRIFUGO_ITEM_TALLY    3
#define NGX_CENTRIFUGO_ITEM_RESULT   4
#define NGX_CENTRIFUGO_ITEM_CHAIN    5      /* bytes of something longer */
#define NGX_CENTRIFUGO_ITEM_STREAM   6      /* of a channel */
#define NGX_CENTRIFUGO_ITEM_PUBLICATION  7  /* of a stream */
#define NGX_CENTRIFUGO_ITEM_MORE     8      /* a chain's, of a publication,
                                               which `hash` says */

/* the kinds of pages; the last two hold what an eviction may take at any time,
   the last what had subscribers when it was written */
#define NGX_CENTRIFUGO_KIND_RECORDS     0
#define NGX_CENTRIFUGO_KIND_HISTORY     1
#define NGX_CENTRIFUGO_KIND_SUBSCRIBED  2

#define ngx_centrifugo_kind(class)  ((class) / NGX_CENTRIFUGO_SIZES)

#define ngx_centrifugo_history_item(type)                                    \
    ((type) == NGX_CENTRIFUGO_ITEM_RESULT                                    \
     || (type) == NGX_CENTRIFUGO_ITEM_PUBLICATION                            \
     || (type) == NGX_CENTRIFUGO_ITEM_MORE)

#define hub_is_record(type)                                                  \
    ((type) >= NGX_CENTRIFUGO_ITEM_CHANNEL                                   \
     && (type) <= NGX_CENTRIFUGO_ITEM_RESULT)

/* how each item begins */
typedef struct {
    ngx_centrifugo_ref_t      next;         /* in the bucket, the chain, or
                                               the page's free list */
    uint16_t                  len;          /* of name, info, key or bytes */
    uint8_t                   class;
    uint8_t                   type;
    uint32_t                  hash;         /* of records */
} ngx_centrifugo_item_t;

/*
 * A channel.  It is there while a worker has subscribers, somebody is present
 * or it has a stream.
 */
typedef struct {
    ngx_centrifugo_item_t     item;
    ngx_centrifugo_ref_t      presence;     /* the newest entry */
    uint64_t                  id;
    uint32_t                  entries;      /* of presence */
    ngx_centrifugo_ref_t      stream;
    uint64_t                  mask[1];      /* of shm->mask_words; then name */
} ngx_centrifugo_record_t;

/*
 * A client in a channel, in the channel's shard and list.  What of its info
 * does not fit here is in a chain.
 */
typedef struct {
    ngx_centrifugo_item_t     item;         /* len: of all info */
    ngx_centrifugo_ref_t      channel;
    ngx_centrifugo_ref_t      newer;
    ngx_centrifugo_ref_t      older;
    ngx_centrifugo_ref_t      rest;         /* of info */
    uint16_t                  slot;         /* whose client it is */
    uint16_t                  flags;
    uint64_t                  seq;          /* less than that of `newer` */
    uint64_t                  user;         /* hash */
    u_char                    client[16];
    u_char                    info[];
} ngx_centrifugo_entrant_t;

/*
 * What expires is in a list of the wheel, by the tick in which it has to be
 * looked at, which may come before its time.
 */
typedef struct {
    ngx_centrifugo_item_t     item;
    ngx_centrifugo_ref_t      prev;
    ngx_centrifugo_ref_t      next;
    uint32_t                  tick;         /* + 1, 0: in no list */
} ngx_centrifugo_due_t;

/* what changes in a stream, also as the intent has it: absolute values */
typedef struct {
    uint64_t                  top;          /* offset of the newest, which may
                                               be gone */
    uint64_t                  floor;        /* what is not behind it is gone,
                                               if it was not freed yet */
    uint64_t                  version;
    uint64_t                  version_epoch;    /* hash, 0: empty */
    uint64_t                  expire;       /* all, monotonic ms */
    uint64_t                  meta_expire;
    uint64_t                  written;      /* the last time */
    uint64_t                  bytes;        /* what its publications take */
    ngx_centrifugo_ref_t      oldest;
    ngx_centrifugo_ref_t      newest;
    uint32_t                  count;        /* that are not freed */
    uint32_t                  unused;
} ngx_centrifugo_stream_state_t;

typedef struct {
    ngx_centrifugo_due_t      due;
    ngx_centrifugo_ref_t      channel;
    uint32_t                  unused;
    uint64_t                  epoch;
    ngx_centrifugo_stream_state_t  state;
} ngx_centrifugo_stream_t;

/*
 * A publication of a stream.  What does not fit here is in the chain that
 * item.next begins.
 */
typedef struct {
    ngx_centrifugo_item_t     item;         /* hash: flags; len: of bytes
                                               here */
    ngx_centrifugo_ref_t      newer;
    ngx_centrifugo_ref_t      older;
    ngx_centrifugo_ref_t      stream;
    uint64_t                  offset;
    uint32_t                  info_len;
    uint32_t                  tags_len;
    uint32_t                  data_len;
    u_char                    bytes[];      /* info, tags, data */
} ngx_centrifugo_kept_t;

/* what was answered to a publication with an idempotency key */
typedef struct {
    ngx_centrifugo_due_t      due;
    uint64_t                  key;          /* second hash, says the bucket */
    ngx_centrifugo_position_t position;
    uint64_t                  expire;       /* monotonic ms */
} ngx_centrifugo_result_t;

/* how many clients of a key a worker has; all of a key are in one bucket */
typedef struct {
    ngx_centrifugo_item_t     item;
    uint32_t                  count;
    uint16_t                  slot;
    uint16_t                  kind;
    u_char                    key[];
} ngx_centrifugo_tally_t;

typedef struct {
    ngx_centrifugo_item_t     item;
    u_char                    data[];
} ngx_centrifugo_chain_t;

#define NGX_CENTRIFUGO_ITEM_MIN      48
#define NGX_CENTRIFUGO_ITEM_MAX      2032
#define NGX_CENTRIFUGO_ENTRANT_INFO  /* bytes of info in the record */        \
    (NGX_CENTRIFUGO_ITEM_MAX - sizeof(ngx_centrifugo_entrant_t))

/* of a shard */
typedef struct {
    uint64_t                  records;      /* of all types: what a walk of
                                               them is bound by */
    uint64_t                  channels;
    uint64_t                  presence;
    uint64_t                  users;        /* different ones */
    uint64_t                  streams;
    uint64_t                  publications;
    uint64_t                  history;      /* bytes of these */
    uint64_t                  results;
} ngx_centrifugo_counts_t;

typedef struct {
    uint32_t                  state;
    uint32_t                  class;
    ngx_centrifugo_ref_t      item;
    uint32_t                  bucket;
    ngx_centrifugo_counts_t   counts;       /* the new, absolute ones */
    uint64_t                  used;
    uint32_t                  moving;       /* page + 1, gets or loses its
                                               owner */
    uint32_t                  list;
    uint32_t                  list_class;
    uint32_t                  list_page;    /* all three: page + 1 */
    uint32_t                  list_prev;
    uint32_t                  list_next;
    uint32_t                  logged;
    uint32_t                  entries;      /* of the channel, like counts */
    ngx_centrifugo_ref_t      next;         /* what the item will point to */
    ngx_centrifugo_ref_t      old;          /* what it replaces */
    ngx_centrifugo_ref_t      chain;        /* items that are nobody's, freed
                                               when the state is NONE */
    ngx_centrifugo_ref_t      drop;         /* after them: a channel that may
                                               be nobody's now */

    /* of streams */
    ngx_centrifugo_ref_t      stream;
    ngx_centrifugo_ref_t      result;       /* that comes with it, 0: none */
    uint32_t                  due;
    uint32_t                  due_place;    /* of all ticks */
    ngx_centrifugo_ref_t      due_item;
    ngx_centrifugo_ref_t      due_prev;
    ngx_centrifugo_ref_t      due_next;
    uint32_t                  due_tick;
    uint64_t                  epochs;       /* of the shard, like counts */
    ngx_centrifugo_stream_state_t  stream_state;
} ngx_centrifugo_intent_t;

typedef struct {
    ngx_centrifugo_lock_t     lock;
    ngx_centrifugo_intent_t   intent;
    ngx_centrifugo_counts_t   counts;
    uint64_t                  repairs;
    uint64_t                  wipes;
    uint32_t                  generation;   /* + 1 with each wipe */
    uint32_t                  avail[NGX_CENTRIFUGO_CLASSES];
                                            /* pages with free items,
                                               page + 1 */
    uint64_t                  used[NGX_CENTRIFUGO_CLASSES];     /* items */
    uint64_t                  resync[NGX_CENTRIFUGO_MASK_WORDS];
                                            /* slots that have not yet put
                                               back what a wipe took */
    uint64_t                  epochs;       /* + 1 with each stream that goes
                                               and had publications */
    uint64_t                  evicted[4];
    uint64_t                  expired[3];
    uint32_t                  wanted;       /* class + 1 of what found no page
                                               last; a hint */
    uint32_t                  due_tick;     /* that is looked at next */
    ngx_centrifugo_ref_t      due[NGX_CENTRIFUGO_DUE_LEVELS
                                  * NGX_CENTRIFUGO_DUE_TICKS];
} ngx_centrifugo_shard_t;

/* at the start of each page that a shard owns */
typedef struct {
    uint32_t                  prev;         /* both: page + 1 */
    uint32_t                  next;
    ngx_centrifugo_ref_t      free;
    uint16_t                  class;
    uint16_t                  nfree;
    uint32_t                  linked;       /* 0 in pages without an owner */
    uint32_t                  unused;
    uint64_t                  written;      /* when the newest of its items was
                                               taken, monotonic ms */
} ngx_centrifugo_page_t;

/*
 * A ring of entries.  Positions are counts of bytes that never wrap; `head` is
 * the commit, what is before `tail` may be overwritten.
 */
typedef struct {
    ngx_centrifugo_lock_t     lock;
    uint64_t                  at;           /* of its bytes in the zone */
    uint64_t                  size;
    uint64_t                  tail;
    uint64_t                  lx_head;      /* what head will be */
    uint32_t                  lx_by;        /* shard + 1 */
    uint32_t                  unused;
    uint64_t                  repairs;
    u_char                    pad[64];
    uint64_t                  head;
} ngx_centrifugo_ring_t;

/* how each entry begins */
typedef struct {
    uint64_t                  pos;
    uint32_t                  length;       /* of the whole entry */
    uint16_t                  type;
    uint16_t                  flags;
} ngx_centrifugo_ring_header_t;

/* per slot: the tenant's words, the writers' words, the counters */
typedef struct {
    uint64_t                  cursor;       /* written by the tenant */
    uint64_t                  control;      /* its cursor in that ring */
    uint32_t                  on;           /* generation of who reads the
                                               rings, 0: nobody; stored under
                                               the control ring's lock */
    u_char                    pad0[44];
    uint64_t                  first;        /* written under the log lock */
    uint64_t                  last;
    u_char                    pad1[48];
    uint64_t                  counters[NGX_CENTRIFUGO_COUNT_N];
    u_char                    pad2[64 - (NGX_CENTRIFUGO_COUNT_N % 8) * 8];
} ngx_centrifugo_member_t;

struct ngx_centrifugo_hub_shm_s {
    uint64_t                  magic;
    uint32_t                  version;
    uint32_t                  struct_size;
    uint64_t                  size;
    uint64_t                  seed[2];
    u_char                    node[16];
    uint32_t                  shards;       /* a power of two */
    uint32_t                  slots;
    uint32_t                  mask_words;
    uint32_t                  buckets;      /* of one shard, a power of two */
    uint32_t                  pages;
    uint32_t                  page_words;   /* of the bitmap */

    /* offsets */
    uint64_t                  members_at;
    uint64_t                  shards_at;
    uint64_t                  buckets_at;
    uint64_t                  owners_at;
    uint64_t                  bitmap_at;
    uint64_t                  pages_at;

    uint64_t                  next_id;      /* of channels */
    uint64_t                  next_seq;     /* of entries of presence */
    ngx_centrifugo_lock_t     pages_lock;
    uint64_t                  pages_used;   /* recounted by a repair */
    uint64_t                  pages_repairs;
    uint32_t                  page_hint;    /* word of the bitmap */
    uint32_t                  replaced;     /* a reload made another zone */
    uint64_t                  ticket;       /* the last that was given */
    uint64_t                  rate;         /* when the bucket of connections
                                               is full again, monotonic us */

    ngx_centrifugo_ring_t     log;
    ngx_centrifugo_ring_t     control;
};

typedef struct {
    ngx_centrifugo_ring_header_t  ring;
    uint64_t                  channel;
    uint64_t                  offset;
    uint64_t                  epoch;
    uint64_t                  time;
    uint32_t                  shard;
    uint32_t                  name_len;
    uint32_t                  info_len;
    uint32_t                  tags_len;
    uint32_t                  data_len;
    uint32_t                  unused;
} ngx_centrifugo_log_header_t;

typedef struct {
    ngx_centrifugo_ring_header_t  ring;
    uint32_t                  to;           /* slot, or all */
    uint32_t                  to_generation;
    uint32_t                  from;
    uint32_t                  from_generation;
    uint64_t                  request;
    uint64_t                  deadline;     /* monotonic ms */
    uint32_t                  kind;
    uint32_t                  total;        /* bytes of the whole message */
    uint32_t                  part;         /* where in it these begin */
    uint32_t                  data_len;
} ngx_centrifugo_control_header_t;

#define NGX_CENTRIFUGO_RING_PAD         1
#define NGX_CENTRIFUGO_RING_PUBLICATION 2
#define NGX_CENTRIFUGO_RING_CONTROL     3

#define NGX_CENTRIFUGO_LOG_TYPE         2       /* flags: those of the
                                                   publication; the bits from
                                                   here on are the entry's
                                                   type */

/* what is in a zone has the same size in every build */

#define hub_size(name, is)  typedef char  hub_size_##name[(is) ? 1 : -1]

hub_size(item, sizeof(ngx_centrifugo_item_t) == 12);
hub_size(record, offsetof(ngx_centrifugo_record_t, mask) == 32);
hub_size(entrant, sizeof(ngx_centrifugo_entrant_t) == 64);
hub_size(tally, sizeof(ngx_centrifugo_tally_t) == 20);
hub_size(due, sizeof(ngx_centrifugo_due_t) == 24);
hub_size(stream, sizeof(ngx_centrifugo_stream_t) == 120);
hub_size(kept, offsetof(ngx_centrifugo_kept_t, bytes) == 44);
hub_size(result, sizeof(ngx_centrifugo_result_t) == 56);
hub_size(counts, sizeof(ngx_centrifugo_counts_t) == 64);
hub_size(page, sizeof(ngx_centrifugo_page_t) == 32);
hub_size(ring, sizeof(ngx_centrifugo_ring_header_t) == 16);
hub_size(member, sizeof(ngx_centrifugo_member_t) % 64 == 0);


#define hub_ref(shm, p)                                                      \
    ((ngx_centrifugo_ref_t) (((u_char *) (p) - (u_char *) (shm)) / 16))
#define hub_at(shm, offset)  ((void *) ((u_char *) (shm) + (offset)))
#define hub_member(shm, n)                                                   \
    ((ngx_centrifugo_member_t *) hub_at(shm, (shm)->members_at) + (n))
#define hub_shard(shm, n)                                                    \
    ((ngx_centrifugo_shard_t *) hub_at(shm, (shm)->shards_at) + (n))
#define hub_bucket(shm, shard, n)                                            \
    ((ngx_centrifugo_ref_t *) hub_at(shm, (shm)->buckets_at)                 \
     + (size_t) (shard) * (shm)->buckets + (n))


/* pages.c: pages and the items that are cut from them */

/*
 * The item of a reference, or NULL when it lies outside the pages; `room` is
 * what of its page is left from there on.
 */
static ngx_inline void *
ngx_centrifugo_page_item(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, size_t *room)
{
    uint64_t  at;

    at = (uint64_t) ref * 16 - shm->pages_at;

    if (at >= (uint64_t) shm->pages * NGX_CENTRIFUGO_PAGE) {
        return NULL;
    }

    *room = NGX_CENTRIFUGO_PAGE - at % NGX_CENTRIFUGO_PAGE;

    if (*room > NGX_CENTRIFUGO_PAGE - sizeof(ngx_centrifugo_page_t)
        || *room < NGX_CENTRIFUGO_ITEM_MIN)
    {
        return NULL;
    }

    return hub_at(shm, shm->pages_at + at);
}

/*
 * 1 when an item of a page of this shard begins there: for a reference that
 * may be old.
 */
ngx_uint_t ngx_centrifugo_page_holds(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_centrifugo_ref_t ref);

/*
 * The class for items of `size` bytes, that of another kind is further on by
 * NGX_CENTRIFUGO_SIZES for each; NGX_CENTRIFUGO_SIZES: too large.
 */
ngx_uint_t ngx_centrifugo_page_class(size_t size);

extern const uint16_t  ngx_centrifugo_page_sizes[NGX_CENTRIFUGO_SIZES];

#define ngx_centrifugo_page_class_size(class)                                \
    ((size_t) ngx_centrifugo_page_sizes[(class) % NGX_CENTRIFUGO_SIZES])

/*
 * Within the shard's lock.  take: a free item, named in the intent, whose
 * state is NODE from then on; it takes no page when there are not more than
 * `keep`.  NGX_DECLINED: no page is left; NGX_ERROR: the shard is damaged.
 * put: frees the item, which the intent names; may be done again after a kill.
 * trim: gives the item's page back when it is the shard's, nothing in it is in
 * use and the class has another or pages are few; the intent's state is NONE by
 * then.
 */
ngx_int_t ngx_centrifugo_page_take(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_uint_t class, uint64_t keep,
    ngx_centrifugo_ref_t *ref);
ngx_int_t ngx_centrifugo_page_put(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_centrifugo_ref_t ref, ngx_uint_t class);
ngx_int_t ngx_centrifugo_page_trim(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_centrifugo_ref_t ref);

/* The item was filled anew, as if it had been taken. */
void ngx_centrifugo_page_touch(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref);

/*
 * For who looks for a page to be emptied.  owner: its shard, or
 * NGX_CENTRIFUGO_SHARDS_MAX, and seen: its class, both as it is at this moment,
 * without lock.  nth: its item of that number, free or not, within the shard's
 * lock; NULL: the page is not the shard's, or has not so many.
 */
ngx_uint_t ngx_centrifugo_page_owner(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t page);
ngx_uint_t ngx_centrifugo_page_seen(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t page, ngx_centrifugo_page_seen_t *seen);
ngx_centrifugo_item_t *ngx_centrifugo_page_nth(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_uint_t page, ngx_uint_t nth);

/* Gives back what pages of the shard are empty, if pages are few. */
ngx_int_t ngx_centrifugo_page_shed(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard);

/*
 * Finishes what a dead holder of the shard's lock did to pages.  NGX_ERROR:
 * the intent makes no sense.
 */
ngx_int_t ngx_centrifugo_page_repair(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard);

/* Gives all pages of the shard back, whatever is in them. */
void ngx_centrifugo_page_drop(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard);


/* shard.c: records, and what is begun and must be ended */

/*
 * Takes a shard's lock, repairs what a dead holder left, and notes in the hub
 * when the shard was wiped since this worker looked.  NGX_OK or NGX_ERROR (not
 * taken).
 */
ngx_int_t ngx_centrifugo_shard_lock(ngx_centrifugo_hub_t *hub, ngx_uint_t n);
void ngx_centrifugo_shard_unlock(ngx_centrifugo_hub_t *hub, ngx_uint_t n);

/*
 * Empties a damaged shard within its lock: its generation changes and all
 * workers are told to put back what they have in it.
 */
void ngx_centrifugo_shard_wipe(ngx_centrifugo_hub_t *hub, ngx_uint_t n);

/* The shard of a hash, and in it the bucket. */
#define hub_shard_of(shm, hash)   ((ngx_uint_t) ((hash) & ((shm)->shards - 1)))
#define hub_bucket_of(shm, hash)                                             \
    ((uint32_t) ((hash) >> 32) & ((shm)->buckets - 1))
#define hub_pages_left(shm)     /* in the store; without its lock a guess */  \
    ((shm)->pages - __atomic_load_n(&(shm)->pages_used, __ATOMIC_RELAXED))

/*
 * Within the shard's lock.  `hash` is of the whole name.  find: the record or
 * NULL; create: a new record with the bit of this worker set, or if it is not
 * its `own` one that goes when the shard is settled and nothing keeps it, NULL
 * when there is no page left; clear: takes the bit of `slot` back, and the
 * record out when nothing else keeps it; idle: whether no worker has
 * subscribers and nobody is present.
 */
ngx_centrifugo_record_t *ngx_centrifugo_shard_find(
    ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_str_t *name);
ngx_centrifugo_record_t *ngx_centrifugo_shard_create(
    ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_str_t *name, ngx_uint_t own);
void ngx_centrifugo_shard_clear(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_uint_t slot);
ngx_uint_t ngx_centrifugo_shard_idle(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec);

/*
 * The item of a reference when it is of that type and all of it is there, else
 * NULL.
 */
static ngx_inline void *
ngx_centrifugo_shard_item(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, ngx_uint_t type)
{
    size_t                  room, size;
    ngx_centrifugo_item_t  *item;

    item = ngx_centrifugo_page_item(shm, ref, &room);

    if (item == NULL || item->type != type
        || item->class >= NGX_CENTRIFUGO_CLASSES)
    {
        return NULL;
    }

    size = item->len;

    switch (type) {

    case NGX_CENTRIFUGO_ITEM_CHANNEL:
        size += offsetof(ngx_centrifugo_record_t, mask)
                + shm->mask_words * sizeof(uint64_t);
        break;

    case NGX_CENTRIFUGO_ITEM_PRESENCE:

        if (size > NGX_CENTRIFUGO_PRESENCE_MAX) {
            return NULL;
        }

        /* the rest is in the chain */

        size = ngx_min(size + sizeof(ngx_centrifugo_entrant_t),
                       NGX_CENTRIFUGO_ITEM_MAX);
        break;

    case NGX_CENTRIFUGO_ITEM_TALLY:
        size += sizeof(ngx_centrifugo_tally_t);
        break;

    case NGX_CENTRIFUGO_ITEM_RESULT:
        size = sizeof(ngx_centrifugo_result_t);
        break;

    case NGX_CENTRIFUGO_ITEM_STREAM:
        size = sizeof(ngx_centrifugo_stream_t);
        break;

    case NGX_CENTRIFUGO_ITEM_PUBLICATION:
        size += offsetof(ngx_centrifugo_kept_t, bytes);
        break;

    default:
        size += sizeof(ngx_centrifugo_chain_t);
    }

    return (size <= ngx_centrifugo_page_class_size(item->class)
            && ngx_centrifugo_page_class_size(item->class) <= room)
           ? item : NULL;
}

/*
 * For the types' own files, within the shard's lock.  class: where an item of
 * that type and not more than NGX_CENTRIFUGO_ITEM_MAX bytes belongs now.  take:
 * a new item of that type, the intent's state is NODE from then on, *item is
 * filled by the caller; NGX_DECLINED: no page is left; NGX_ERROR: the shard was
 * damaged and is wiped.  link: puts it into its bucket; unlink: takes a record
 * out and frees it; before either the new counts are set in the intent.
 * detach: only takes the intent's item out of its bucket, may be done again;
 * counts: stores those of the intent; settle: frees what the intent says is
 * nobody's, when its state is NONE.
 */
static ngx_inline ngx_uint_t
ngx_centrifugo_shard_class(ngx_centrifugo_hub_t *hub, size_t size,
    ngx_uint_t type)
{
    ngx_uint_t  class;

    class = ngx_centrifugo_page_class(size);

    if (ngx_centrifugo_history_item(type)) {
        class += NGX_CENTRIFUGO_SIZES
                 * (hub->subscribed ? NGX_CENTRIFUGO_KIND_SUBSCRIBED
                                    : NGX_CENTRIFUGO_KIND_HISTORY);
    }

    return class;
}

ngx_int_t ngx_centrifugo_shard_take(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    size_t size, ngx_uint_t type, ngx_centrifugo_item_t **item);
void ngx_centrifugo_shard_link(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, uint64_t hash);
void ngx_centrifugo_shard_unlink(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_item_t *item, uint64_t hash);
ngx_int_t ngx_centrifugo_shard_detach(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_centrifugo_ref_t ref, ngx_centrifugo_ref_t next);
void ngx_centrifugo_shard_counts(ngx_centrifugo_shard_t *shard);
ngx_int_t ngx_centrifugo_shard_settle(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);

#define hub_unsettled(shm, n)   /* whether there is anything to free */      \
    (hub_shard(shm, n)->intent.chain || hub_shard(shm, n)->intent.drop)


/*
 * chain.c: bytes that one item can't hold.  Within the shard's lock; what is
 * built hangs on intent.chain until its owner is linked.
 */

/*
 * build: stores the bytes of the parts behind the first `skip` in items of that
 * type, CHAIN or MORE; NGX_DECLINED: no page is left; NGX_ERROR: the shard was
 * damaged and is wiped.  push: hangs the item just taken and filled before what
 * hangs there; what is MORE of a publication gets its reference.  gather:
 * copies `len` bytes of the parts from `skip` on.  copy: reads `len` bytes of
 * a chain, NGX_ERROR: it is damaged.
 */
ngx_int_t ngx_centrifugo_chain_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_str_t *parts, ngx_uint_t nparts, size_t skip, ngx_uint_t type);
void ngx_centrifugo_chain_push(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_item_t *item);
void ngx_centrifugo_chain_gather(u_char *dst, const ngx_str_t *parts,
    ngx_uint_t nparts, size_t skip, size_t len);
ngx_int_t ngx_centrifugo_chain_copy(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ref_t ref, u_char *dst, size_t len);

/*
 * free: the head of intent.chain, the rest hangs there.  node, freed: what a
 * repair does in the states NODE and FREE.
 */
ngx_int_t ngx_centrifugo_chain_free(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_chain_freed(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_chain_node(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);


/*
 * presence.c, within the shard's lock.  leave: takes an entry out and appends
 * the leave, NGX_ERROR: it stays, or the shard was wiped.  entered, left: end
 * what is committed, may be done again.  info (presence_read.c): copies all
 * info of an entry, whose length was checked; NGX_ERROR: it is damaged.
 */
ngx_int_t ngx_centrifugo_presence_info(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_entrant_t *entrant, u_char *dst);
ngx_int_t ngx_centrifugo_presence_leave(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_entrant_t *entrant, uint64_t time);
ngx_int_t ngx_centrifugo_presence_entered(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_presence_left(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);


/* tally.c: takes a record out, within the shard's lock. */
void ngx_centrifugo_tally_remove(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_tally_t *tally);


/*
 * stream.c, within the shard's lock.  find: the stream of a channel, or NULL;
 * NULL and a generation that has changed: it was damaged.  current: the same
 * for who writes to it, `rec` may be NULL; one that is over is taken out:
 * NGX_DECLINED: with the channel; NGX_AGAIN: some of it, call it again in
 * another section; NGX_ERROR: the shard was damaged and is wiped.  make: a new
 * one for a channel that has none; NULL: no page is left.
 * gone: whether nothing behind the floor is there or what is has expired.
 * over: whether its offset and epoch have expired, too, and nobody is
 * interested: for readers it is not there.  bytes: what a publication takes;
 * more: adds what it takes of items behind its first, which have `left` bytes.
 * trim: frees publications that are gone or are more than `size`, at most
 * `max`; NGX_AGAIN: more are; NGX_ERROR: damaged and wiped.  reuse: the oldest
 * one, which goes for a new one, NULL: it stays or is not of that class alone;
 * it hangs on the intent's chain.  clear: all are gone from now on; what is
 * freed of them is the caller's trim.  remove: takes out a stream without
 * publications, and its channel when nothing else keeps it.  unused: the same,
 * for one that never had any and in which nobody is interested, NGX_DECLINED:
 * it stays.  append: ends what is committed, with the items that the intent
 * names or NULL.  streamed, appended, trimmed, removed: the same for a repair,
 * may be done again.
 */
#define NGX_CENTRIFUGO_STREAM_TRIM  256     /* publications in one section */

ngx_centrifugo_stream_t *ngx_centrifugo_stream_find(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_record_t *rec);
ngx_int_t ngx_centrifugo_stream_current(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_record_t *rec,
    ngx_centrifugo_stream_t **stream);
ngx_centrifugo_stream_t *ngx_centrifugo_stream_make(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_record_t *rec, ngx_msec_t meta_ttl);
ngx_uint_t ngx_centrifugo_stream_gone(ngx_centrifugo_stream_t *stream,
    uint64_t now);
ngx_uint_t ngx_centrifugo_stream_over(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_stream_t *stream,
    uint64_t now);
ngx_int_t ngx_centrifugo_stream_more(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_kept_t *kept, uint64_t left, size_t *bytes);

static ngx_inline ngx_int_t
ngx_centrifugo_stream_bytes(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_kept_t *kept, size_t *bytes)
{
    uint64_t  left;

    left = (uint64_t) kept->info_len + kept->tags_len + kept->data_len;

    if (kept->item.len > left) {
        return NGX_ERROR;
    }

    left -= kept->item.len;
    *bytes = ngx_centrifugo_page_class_size(kept->item.class);

    if (left == 0 && kept->item.next == 0) {
        return NGX_OK;
    }

    return ngx_centrifugo_stream_more(shm, kept, left, bytes);
}

ngx_int_t ngx_centrifugo_stream_trim(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size, ngx_uint_t max);
ngx_int_t ngx_centrifugo_stream_reuse(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_stream_t *stream, ngx_uint_t size, ngx_uint_t class,
    ngx_centrifugo_kept_t **kept);
void ngx_centrifugo_stream_clear(ngx_centrifugo_stream_t *stream);
ngx_int_t ngx_centrifugo_stream_remove(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_stream_t *stream);
ngx_int_t ngx_centrifugo_stream_unused(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_record_t *rec);
ngx_int_t ngx_centrifugo_stream_append(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_centrifugo_stream_t *stream,
    ngx_centrifugo_kept_t *older, ngx_centrifugo_result_t *result);
ngx_int_t ngx_centrifugo_stream_streamed(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_stream_appended(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_stream_trimmed(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_stream_removed(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);

/*
 * The epoch that a new stream of that name would get, if `stream` (or NULL)
 * went before; asking makes nothing.
 */
uint64_t ngx_centrifugo_stream_epoch(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_str_t *name, ngx_centrifugo_stream_t *stream);


/*
 * history.c, within the shard's lock: what ngx_centrifugo_hub_history() does;
 * `rec` may be NULL.
 */
ngx_int_t ngx_centrifugo_history_read(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_record_t *rec, ngx_centrifugo_history_t *h);


/*
 * due.c, within the shard's lock: the wheel.  set: an item is looked at when
 * `at` (monotonic ms) has come: it goes into the list of that tick, or moves to
 * it if that is an earlier one than it is in; move: also when it is a later
 * one; unset: takes it out.  They end what they begin, and may be called within
 * what a repair does again.  repair: finishes what was cut off.  next: an item
 * that is to be looked at by `now`, which the caller takes out or moves;
 * NGX_DONE: there is none.  NGX_OK, or NGX_ERROR: damaged, nothing is wiped.
 */
ngx_int_t ngx_centrifugo_due_set(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t at);
ngx_int_t ngx_centrifugo_due_move(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    ngx_centrifugo_due_t *due, uint64_t at);
ngx_int_t ngx_centrifugo_due_unset(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_centrifugo_due_t *due);
ngx_int_t ngx_centrifugo_due_repair(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
ngx_int_t ngx_centrifugo_due_next(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n,
    uint64_t now, ngx_centrifugo_due_t **due);


/*
 * evict.c, no lock is held.  Makes room for `size` bytes, of a publication or a
 * record, in shard `n`, which found none: what is least needed goes.  NGX_OK:
 * something went, try again, at most NGX_CENTRIFUGO_EVICT_TRIES times;
 * NGX_DECLINED: nothing may go.
 */
#define NGX_CENTRIFUGO_EVICT_TRIES  8

ngx_int_t ngx_centrifugo_evict(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    size_t size);


/*
 * result.c, within the shard's lock: answers by idempotency key; `channel` is
 * the hash of its name.  find: NULL: there is none; make: names a new one in
 * the intent and hangs it on its chain, its position is set by the caller, and
 * returns as shard_take(); remove: NGX_OK, or NGX_ERROR: damaged and wiped.
 */
#define NGX_CENTRIFUGO_RESULT_TTL  300000   /* ms */

ngx_centrifugo_result_t *ngx_centrifugo_result_find(
    ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t channel,
    const ngx_str_t *key);
ngx_int_t ngx_centrifugo_result_make(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t channel, const ngx_str_t *key);
ngx_int_t ngx_centrifugo_result_remove(ngx_centrifugo_hub_t *hub,
    ngx_uint_t n, ngx_centrifugo_result_t *result);


/* ring.c: what log and control ring have in common */

/* for those who hold the lock; readers look at it too */
#define ngx_centrifugo_ring_tail(ring)                                       \
    __atomic_load_n(&(ring)->tail, __ATOMIC_RELAXED)

typedef struct {
    uint64_t                  start;        /* head before: of a pad */
    uint64_t                  pos;          /* of the entry */
    uint64_t                  end;
} ngx_centrifugo_place_t;

/*
 * Prepares a ring of `size` bytes at the offset `at`.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_centrifugo_ring_init(ngx_centrifugo_ring_t *ring, uint64_t at,
    uint64_t size);

/*
 * Takes the ring's lock; if its last holder died after the commit, the intent
 * of the shard for which it appended is told that it is in the ring.
 */
ngx_int_t ngx_centrifugo_ring_lock(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring);

/*
 * Within the lock.  place: where an entry of `len` bytes goes; give_up: moves
 * the tail to `pos`; open: gives up what the entry overwrites and writes a pad
 * if there is one; write: bytes of the entry; commit: head.  `by` is the shard
 * + 1 on whose account it is, or 0.
 */
void ngx_centrifugo_ring_place(ngx_centrifugo_ring_t *ring, size_t len,
    ngx_centrifugo_place_t *place);
void ngx_centrifugo_ring_give_up(ngx_centrifugo_ring_t *ring, uint64_t pos);
void ngx_centrifugo_ring_open(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, ngx_centrifugo_place_t *place,
    ngx_uint_t by);
void ngx_centrifugo_ring_write(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t at, const void *src, size_t len);
void ngx_centrifugo_ring_commit(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, ngx_centrifugo_place_t *place,
    ngx_uint_t by);

/*
 * Without lock.  copy: `len` bytes at `at`, which belong to the entry at
 * `pos`; NGX_DECLINED: they were overwritten, nothing of the copy is to be
 * used.  header: the same for the `size` bytes that begin an entry;
 * NGX_ERROR: they are none that lies before `head`.
 */
ngx_int_t ngx_centrifugo_ring_copy(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t pos, uint64_t at, void *dst,
    size_t len);
ngx_int_t ngx_centrifugo_ring_header(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_ring_t *ring, uint64_t pos, uint64_t head, void *dst,
    size_t size);


/* log.c */

/*
 * Appends an entry to the log, within the shard's lock: for the slots of the
 * record's mask (NULL: none) and those that have not yet resynced after a
 * wipe; hub->ring gets these slots' bits.  NGX_OK; NGX_DECLINED: for nobody;
 * NGX_ERROR: damaged.
 */
ngx_int_t ngx_centrifugo_log_append(ngx_centrifugo_hub_t *hub,
    ngx_uint_t shard, ngx_centrifugo_record_t *rec,
    ngx_centrifugo_entry_e type, const ngx_centrifugo_hub_publication_t *pub,
    const ngx_centrifugo_position_t *position);


/* control.c */

/* Enters and leaves the control ring: `on`, under its lock. */
void ngx_centrifugo_control_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t slot);
void ngx_centrifugo_control_leave(ngx_centrifugo_hub_t *hub, ngx_uint_t slot);


#endif /* _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_ */
