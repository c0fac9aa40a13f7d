#include "ngx_centrifugo_lock.h"

#include <time.h>


/* figures are read without the lock */

#define lock_figure(p, v)  __atomic_store_n(p, v, __ATOMIC_RELAXED)


static ngx_int_t lock_taken(ngx_centrifugo_lock_t *lock, int rc);
static uint64_t lock_now(void);


ngx_int_t
ngx_centrifugo_lock_init(ngx_centrifugo_lock_t *lock)
{
    ngx_int_t            rc;
    pthread_mutexattr_t  attr;

    if (pthread_mutexattr_init(&attr) != 0) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) == 0
        && pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0
        && pthread_mutex_init(&lock->mutex, &attr) == 0)
    {
        rc = NGX_OK;
    }

    (void) pthread_mutexattr_destroy(&attr);

    return rc;
}


ngx_int_t
ngx_centrifugo_lock_take(ngx_centrifugo_lock_t *lock, ngx_uint_t spin)
{
    int         rc;
    uint64_t    wait;
    ngx_int_t   ret;
    ngx_uint_t  i;

    rc = pthread_mutex_trylock(&lock->mutex);

    if (rc != EBUSY) {
        return lock_taken(lock, rc);
    }

    wait = lock_now();

    for (i = 0; i < spin && rc == EBUSY; i++) {
        ngx_cpu_pause();
        rc = pthread_mutex_trylock(&lock->mutex);
    }

    if (rc == EBUSY) {
        rc = pthread_mutex_lock(&lock->mutex);
    }

    ret = lock_taken(lock, rc);

    if (ret != NGX_ERROR) {
        wait = lock_now() - wait;
        lock_figure(&lock->contended, lock->contended + 1);
        lock_figure(&lock->wait_ns, lock->wait_ns + wait);

        if (lock->longest_ns < wait) {
            lock_figure(&lock->longest_ns, wait);
        }
    }

    return ret;
}


ngx_int_t
ngx_centrifugo_lock_try(ngx_centrifugo_lock_t *lock)
{
    int  rc;

    rc = pthread_mutex_trylock(&lock->mutex);

    return (rc == EBUSY) ? NGX_BUSY : lock_taken(lock, rc);
}


void
ngx_centrifugo_lock_release(ngx_centrifugo_lock_t *lock)
{
    (void) pthread_mutex_unlock(&lock->mutex);
}


static ngx_int_t
lock_taken(ngx_centrifugo_lock_t *lock, int rc)
{
    if (rc == 0) {
        lock_figure(&lock->takes, lock->takes + 1);
        return NGX_OK;
    }

    if (rc == EOWNERDEAD) {

        /* an unlock without this would make the lock unusable for ever */

        if (pthread_mutex_consistent(&lock->mutex) != 0) {
            (void) pthread_mutex_unlock(&lock->mutex);
            return NGX_ERROR;
        }

        lock_figure(&lock->takes, lock->takes + 1);
        return NGX_DECLINED;
    }

    return NGX_ERROR;
}


static uint64_t
lock_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}
