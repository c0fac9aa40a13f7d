/*
 * The registry of workers: one small zone of fixed size for all hubs, reused
 * by every reload.  A worker has one slot in it for its whole life; what else
 * is in shared memory speaks of workers by their slot.
 */

#ifndef _NGX_CENTRIFUGO_REGISTRY_H_INCLUDED_
#define _NGX_CENTRIFUGO_REGISTRY_H_INCLUDED_


#include "../core/ngx_centrifugo_lock.h"
#include "../core/ngx_centrifugo_bell.h"


#define NGX_CENTRIFUGO_REGISTRY_SIZE  (512 * 1024)
#define NGX_CENTRIFUGO_SLOTS          1024
#define NGX_CENTRIFUGO_BELLS          256

#define NGX_CENTRIFUGO_SLOT_FREE      0
#define NGX_CENTRIFUGO_SLOT_LIVE      1
#define NGX_CENTRIFUGO_SLOT_DRAINING  2
#define NGX_CENTRIFUGO_SLOT_DEAD      3

#define NGX_CENTRIFUGO_NO_SLOT        ((ngx_uint_t) -1)
#define NGX_CENTRIFUGO_SILENCE        30000         /* ms without a tick */


typedef struct {
    ngx_centrifugo_lock_t     live;     /* held by the tenant for life */
    uint32_t                  state;
    uint32_t                  generation;
    uint32_t                  pending;  /* of the doorbell */
    uint32_t                  unused;
    uint64_t                  beat;     /* monotonic ms of the last tick */
    u_char                    pad[32];
} ngx_centrifugo_slot_t;

typedef struct {
    uint64_t                  magic;
    uint32_t                  version;
    uint32_t                  nbells;
    ngx_centrifugo_lock_t     lock;
    ngx_centrifugo_lock_t     housekeeper;      /* held by one worker */
    uint32_t                  housekeeper_slot; /* who it is or was */
    uint32_t                  unused;
#if (NGX_CENTRIFUGO_TEST)
    uint64_t                  test;             /* passes of a fault point */
#endif
    ngx_centrifugo_bell_t     bells[NGX_CENTRIFUGO_BELLS];
    ngx_centrifugo_slot_t     slots[NGX_CENTRIFUGO_SLOTS];
} ngx_centrifugo_registry_t;


/*
 * Prepares a registry in `mem`, zeroed memory of at least
 * sizeof(ngx_centrifugo_registry_t).  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_centrifugo_registry_init(ngx_centrifugo_registry_t *reg);

/*
 * Makes `n` doorbells, once, in the master before the workers are forked.
 * Fewer are made when descriptors run out (NGX_DECLINED).
 */
ngx_int_t ngx_centrifugo_registry_bells(ngx_centrifugo_registry_t *reg,
    ngx_uint_t n);

/*
 * Takes a free slot below `limit` for this worker: its liveness lock is held,
 * its generation is new, its bell is silent.  The caller sets the cursors of
 * the slot in every hub and then calls ngx_centrifugo_registry_live().
 * Returns the slot, or NGX_CENTRIFUGO_NO_SLOT.  The main thread of a worker
 * only.
 */
ngx_uint_t ngx_centrifugo_registry_claim(ngx_centrifugo_registry_t *reg,
    ngx_uint_t limit);

/* Ends a claim: the slot is live from here on. */
void ngx_centrifugo_registry_live(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);

/*
 * Looks for a slot below `limit` whose tenant is gone, from *slot on.  Found:
 * NGX_OK, its liveness lock is held by the caller and its state is dead; the
 * caller clears what belongs to it and calls ngx_centrifugo_registry_free().
 * NGX_DECLINED: there is none.
 */
ngx_int_t ngx_centrifugo_registry_find_dead(ngx_centrifugo_registry_t *reg,
    ngx_uint_t limit, ngx_uint_t own, ngx_uint_t *slot);

/*
 * The tick of a slot's tenant, and whether there was none for so long that
 * nobody waits for it any more.
 */
void ngx_centrifugo_registry_beat(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);
ngx_uint_t ngx_centrifugo_registry_silent(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);

/* Ends reaping or a clean exit: state free, liveness lock released. */
void ngx_centrifugo_registry_free(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);

/* Rings the bell of a slot. */
void ngx_centrifugo_registry_ring(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);

/* Answers the bell of the worker's own slot; load heads after it. */
void ngx_centrifugo_registry_answer(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot);


#endif /* _NGX_CENTRIFUGO_REGISTRY_H_INCLUDED_ */
