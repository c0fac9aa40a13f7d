/*
 * A lock in shared memory that survives the death of its holder: a robust
 * process-shared mutex with its own figures.
 *
 * Locks are taken in one order only: a shard, then pages, then log (control
 * has the log's level); never two shards.  While one is held there is no I/O,
 * no malloc, no log line, no walk of more than 256 items.
 */

#ifndef _NGX_CENTRIFUGO_LOCK_H_INCLUDED_
#define _NGX_CENTRIFUGO_LOCK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <pthread.h>


typedef struct {
    pthread_mutex_t   mutex;
    uint64_t          takes;            /* all four: written by the holder */
    uint64_t          contended;
    uint64_t          wait_ns;          /* in total */
    uint64_t          longest_ns;
} ngx_centrifugo_lock_t;


/* Prepares a lock in zeroed shared memory.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_centrifugo_lock_init(ngx_centrifugo_lock_t *lock);

/*
 * Takes the lock, after `spin` tries.  NGX_OK: taken.  NGX_DECLINED: taken,
 * its last holder died inside; the state it guards must be repaired before
 * anything else.  NGX_ERROR: not taken (the memory is not a lock any more).
 */
ngx_int_t ngx_centrifugo_lock_take(ngx_centrifugo_lock_t *lock,
    ngx_uint_t spin);

/* As above, but NGX_BUSY at once when somebody holds it. */
ngx_int_t ngx_centrifugo_lock_try(ngx_centrifugo_lock_t *lock);

void ngx_centrifugo_lock_release(ngx_centrifugo_lock_t *lock);


#endif /* _NGX_CENTRIFUGO_LOCK_H_INCLUDED_ */
