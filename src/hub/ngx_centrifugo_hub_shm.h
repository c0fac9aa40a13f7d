/*
 * What a hub's zone holds.  Only src/hub includes this.  No pointers are kept
 * in a zone: places are byte offsets from its start or numbers of pages,
 * checked before use.
 */

#ifndef _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_
#define _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_


#include "ngx_centrifugo_hub.h"


#define NGX_CENTRIFUGO_HUB_MAGIC     0x6e67785f63665f68ULL
#define NGX_CENTRIFUGO_HUB_VERSION   1

#define NGX_CENTRIFUGO_PAGE          4096
#define NGX_CENTRIFUGO_SHARDS_MAX    64
#define NGX_CENTRIFUGO_CLASSES       8
#define NGX_CENTRIFUGO_LOG_UNIT      64     /* sizes of entries and pads */
#define NGX_CENTRIFUGO_LOG_SPIN      200

/* intent.state: what a dead holder of the shard's lock was about to do */
#define NGX_CENTRIFUGO_INTENT_NONE   0
#define NGX_CENTRIFUGO_INTENT_NODE   1      /* took an item, not linked yet */
#define NGX_CENTRIFUGO_INTENT_LINK   2      /* links a filled channel record */
#define NGX_CENTRIFUGO_INTENT_UNLINK 3      /* removes a channel record */

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


typedef struct {
    ngx_centrifugo_ref_t      next;         /* in the bucket, or free list */
    uint32_t                  hash;
    uint64_t                  id;
    uint16_t                  name_len;
    uint16_t                  class;
    uint32_t                  unused;
    uint64_t                  mask[1];      /* of shm->mask_words; then name */
} ngx_centrifugo_record_t;

typedef struct {
    uint32_t                  state;
    uint32_t                  class;
    ngx_centrifugo_ref_t      item;
    uint32_t                  bucket;
    uint64_t                  channels;     /* the new, absolute count */
    uint32_t                  moving;       /* page + 1 */
    uint32_t                  moving_class;
    uint32_t                  logged;
    uint32_t                  unused;
} ngx_centrifugo_intent_t;

typedef struct {
    ngx_centrifugo_lock_t     lock;
    ngx_centrifugo_intent_t   intent;
    uint64_t                  channels;
    uint64_t                  repairs;
    uint32_t                  pages;        /* list of own pages, page + 1 */
    uint32_t                  unused;
    ngx_centrifugo_ref_t      free[NGX_CENTRIFUGO_CLASSES];
} ngx_centrifugo_shard_t;

/* at the start of each page that a shard owns */
typedef struct {
    uint32_t                  next;         /* page + 1 */
    uint32_t                  class;
    u_char                    pad[24];
} ngx_centrifugo_page_t;

typedef struct {
    ngx_centrifugo_lock_t     lock;
    uint64_t                  tail;
    uint64_t                  lx_head;
    uint32_t                  lx_by;        /* shard + 1 */
    uint32_t                  unused;
    uint64_t                  repairs;
    u_char                    pad[64];
    uint64_t                  head;         /* the commit */
} ngx_centrifugo_log_t;

/* per slot: the tenant's words, the writers' words, the counters */
typedef struct {
    uint64_t                  cursor;       /* written by the tenant */
    u_char                    pad0[56];
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
    uint64_t                  log_size;
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
    uint64_t                  log_at;

    uint64_t                  next_id;      /* of channels */
    ngx_centrifugo_lock_t     pages_lock;
    uint64_t                  pages_used;   /* recounted by a repair */
    uint64_t                  pages_repairs;
    uint32_t                  page_hint;    /* word of the bitmap */
    uint32_t                  unused;

    ngx_centrifugo_log_t      log;
};

typedef struct {
    uint64_t                  pos;
    uint32_t                  length;       /* of the whole entry */
    uint16_t                  type;
    uint16_t                  flags;
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

#define NGX_CENTRIFUGO_LOG_PAD          1
#define NGX_CENTRIFUGO_LOG_PUBLICATION  2

#define NGX_CENTRIFUGO_LOG_JSON         1       /* a flag: data is JSON */


#define hub_at(shm, offset)  ((void *) ((u_char *) (shm) + (offset)))
#define hub_member(shm, n)                                                   \
    ((ngx_centrifugo_member_t *) hub_at(shm, (shm)->members_at) + (n))
#define hub_shard(shm, n)                                                    \
    ((ngx_centrifugo_shard_t *) hub_at(shm, (shm)->shards_at) + (n))
#define hub_bucket(shm, shard, n)                                            \
    ((ngx_centrifugo_ref_t *) hub_at(shm, (shm)->buckets_at)                 \
     + (size_t) (shard) * (shm)->buckets + (n))


/* A reference as a pointer, or NULL when it lies outside the pages. */
ngx_centrifugo_record_t *ngx_centrifugo_shard_item(
    ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_ref_t ref);

/*
 * Takes a shard's lock and repairs what a dead holder left.  NGX_OK or
 * NGX_ERROR (damaged, not taken).
 */
ngx_int_t ngx_centrifugo_shard_lock(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n);
void ngx_centrifugo_shard_unlock(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n);

/*
 * Within the shard's lock.  `hash` is of the whole name.  find: the record or
 * NULL; create: a new record with the bit of `slot` set, NULL when there is no
 * page left; clear: takes the bit back, and the record out when it was the
 * last one, returns 1 if it did.
 */
ngx_centrifugo_record_t *ngx_centrifugo_shard_find(
    ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n, uint64_t hash,
    const ngx_str_t *name);
ngx_centrifugo_record_t *ngx_centrifugo_shard_create(
    ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n, uint64_t hash,
    const ngx_str_t *name, ngx_uint_t slot);
ngx_uint_t ngx_centrifugo_shard_clear(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t n, ngx_centrifugo_record_t *rec, ngx_uint_t slot);

/*
 * Appends a publication to the log; within the shard's lock.  The words of
 * interest of the slots in rec->mask are set.  NGX_OK or NGX_ERROR (too large
 * or damaged).
 */
ngx_int_t ngx_centrifugo_log_append(ngx_centrifugo_hub_shm_t *shm,
    ngx_uint_t shard, ngx_centrifugo_record_t *rec, uint64_t time,
    ngx_uint_t flags, const ngx_str_t *info, const ngx_str_t *data);


#endif /* _NGX_CENTRIFUGO_HUB_SHM_H_INCLUDED_ */
