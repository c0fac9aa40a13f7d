/*
 * Points at which a test build can kill the process.  The shipped module has
 * none: the macro is empty.
 */

#ifndef _NGX_CENTRIFUGO_FAULT_H_INCLUDED_
#define _NGX_CENTRIFUGO_FAULT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#if (NGX_CENTRIFUGO_TEST)

/* the last three are a reader's, for the stress test's delays */
#define NGX_CENTRIFUGO_POINTS(X)                                             \
    X(PAGE_NAMED)   X(PAGE_TAKEN)    X(PAGE_PUT)     X(PAGE_FREED)           \
    X(PAGE_MOVING)  X(PAGE_OWNED)    X(PAGE_UNCUT)   X(PAGE_LINKED)          \
    X(PAGE_EMPTY)   X(PAGE_GIVEN)                                            \
    X(LIST_LINK)    X(LIST_UNLINK)   X(LIST_STORED)                          \
    X(SHARD_LOCKED) X(RECORD_LINK)   X(RECORD_LINKED)                        \
    X(RECORD_UNLINK) X(RECORD_UNLINKED) X(MASK_SET) X(MASK_CLEAR)            \
    X(CHAIN_ITEM)   X(CHAIN_PUSHED)  X(CHAIN_FREE)   X(CHAIN_FREED)          \
    X(PRESENCE_FILLED) X(PRESENCE_ENTER) X(PRESENCE_JOINED)                  \
    X(PRESENCE_LINKED) X(PRESENCE_COUNTED) X(PRESENCE_SWAPPED)               \
    X(PRESENCE_LEAVE) X(PRESENCE_LEFT) X(PRESENCE_UNLINKED)                  \
    X(PRESENCE_GONE) X(PRESENCE_DROP) X(PRESENCE_READ)                       \
    X(TALLY_NEW)    X(TALLY_SET)     X(TALLY_REMOVE)                         \
    X(STREAM_NEW)   X(STREAM_DUE)    X(STREAM_LINKED) X(STREAM_CLEAR)        \
    X(APPEND_FILLED) X(APPEND_BEGUN) X(APPEND_LOGGED) X(APPEND_LINKED)       \
    X(APPEND_STATED) X(APPEND_RESULT) X(APPEND_COUNTED) X(APPEND_DONE)       \
    X(TRIM_BEGUN)   X(TRIM_UNLINKED) X(TRIM_STATED)  X(TRIM_DONE)            \
    X(REMOVE_BEGUN) X(REMOVE_UNSET)  X(REMOVE_UNLINKED) X(REMOVE_DONE)       \
    X(HISTORY_READ)                                                          \
    X(WIPE_BEGUN)   X(WIPE_MARKED)   X(WIPE_EMPTY)                           \
    X(RING_LOCKED)  X(RING_TAIL)     X(RING_WRITTEN) X(LOG_INTEREST)         \
    X(RING_COMMIT)  X(RING_LOGGED)   X(BELL_PENDING)                         \
    X(CONTROL_LOCKED) X(CLAIM_GENERATION) X(CLAIM_ENTERED) X(REAP_DEAD)      \
    X(REAP_SHARD)   X(REAP_DONE)     X(RESYNC_WALK)  X(RESYNC_END)           \
    X(DUE_LINK)     X(DUE_LINKED)   X(DUE_UNLINK)   X(DUE_UNLINKED)          \
    X(DUE_TICK)     X(EXPIRE_ITEM)  X(EVICT_ITEM)                            \
    X(HOUSEKEEPER)  X(RING_COPIED)   X(LOG_HEAD)     X(BELL_EMPTIED)

#define NGX_CENTRIFUGO_POINT_ENUM(name)  NGX_CENTRIFUGO_POINT_##name,

typedef enum {
    NGX_CENTRIFUGO_POINTS(NGX_CENTRIFUGO_POINT_ENUM)
    NGX_CENTRIFUGO_POINT_N
} ngx_centrifugo_point_e;

#define NGX_CENTRIFUGO_POINT(name)                                           \
    ngx_centrifugo_fault_point(NGX_CENTRIFUGO_POINT_##name)


/* Kills this process when the point was armed and is passed in its turn. */
void ngx_centrifugo_fault_point(ngx_centrifugo_point_e point);

/*
 * Arms a point: the process that passes it as the `nth` of all that share
 * `count`, a word in shared memory, is killed.
 */
void ngx_centrifugo_fault_arm(ngx_centrifugo_point_e point, uint64_t nth,
    uint64_t *count);

/* A point's name, or NULL behind the last. */
const char *ngx_centrifugo_fault_name(ngx_uint_t point);

#else

#define NGX_CENTRIFUGO_POINT(name)

#endif


#endif /* _NGX_CENTRIFUGO_FAULT_H_INCLUDED_ */
