#include "ngx_centrifugo_registry.h"
#include "../core/ngx_centrifugo_fault.h"


#define NGX_CENTRIFUGO_REGISTRY_MAGIC    0x6e67785f63665f72ULL
#define NGX_CENTRIFUGO_REGISTRY_VERSION  1


ngx_int_t
ngx_centrifugo_registry_init(ngx_centrifugo_registry_t *reg)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_CENTRIFUGO_SLOTS; i++) {
        if (ngx_centrifugo_lock_init(&reg->slots[i].live) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < NGX_CENTRIFUGO_BELLS; i++) {
        reg->bells[i].rd = -1;
        reg->bells[i].wr = -1;
    }

    if (ngx_centrifugo_lock_init(&reg->lock) != NGX_OK
        || ngx_centrifugo_lock_init(&reg->housekeeper) != NGX_OK)
    {
        return NGX_ERROR;
    }

    reg->version = NGX_CENTRIFUGO_REGISTRY_VERSION;
    reg->magic = NGX_CENTRIFUGO_REGISTRY_MAGIC;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_registry_bells(ngx_centrifugo_registry_t *reg, ngx_uint_t n)
{
    if (n > NGX_CENTRIFUGO_BELLS) {
        n = NGX_CENTRIFUGO_BELLS;
    }

    while (reg->nbells < n) {
        if (ngx_centrifugo_bell_create(&reg->bells[reg->nbells]) != NGX_OK) {
            return NGX_DECLINED;
        }

        reg->nbells++;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_registry_claim(ngx_centrifugo_registry_t *reg,
    ngx_uint_t limit)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_centrifugo_slot_t  *slot;

    if (limit > NGX_CENTRIFUGO_SLOTS) {
        limit = NGX_CENTRIFUGO_SLOTS;
    }

    /* nothing under this lock can be left half done: no repair */

    if (ngx_centrifugo_lock_take(&reg->lock, 0) == NGX_ERROR) {
        return NGX_CENTRIFUGO_NO_SLOT;
    }

    for (i = 0; i < limit; i++) {
        slot = &reg->slots[i];

        if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
            != NGX_CENTRIFUGO_SLOT_FREE)
        {
            continue;
        }

        rc = ngx_centrifugo_lock_try(&slot->live);

        if (rc == NGX_BUSY || rc == NGX_ERROR) {
            continue;
        }

        if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
            != NGX_CENTRIFUGO_SLOT_FREE)
        {
            ngx_centrifugo_lock_release(&slot->live);
            continue;
        }

        __atomic_store_n(&slot->generation, slot->generation + 1,
                         __ATOMIC_RELEASE);
        NGX_CENTRIFUGO_POINT(CLAIM_GENERATION);

        ngx_centrifugo_registry_beat(reg, i);

        ngx_centrifugo_registry_answer(reg, i);
        break;
    }

    ngx_centrifugo_lock_release(&reg->lock);

    return (i == limit) ? NGX_CENTRIFUGO_NO_SLOT : i;
}


void
ngx_centrifugo_registry_live(ngx_centrifugo_registry_t *reg, ngx_uint_t slot)
{
    __atomic_store_n(&reg->slots[slot].state, NGX_CENTRIFUGO_SLOT_LIVE,
                     __ATOMIC_RELEASE);
}


ngx_int_t
ngx_centrifugo_registry_find_dead(ngx_centrifugo_registry_t *reg,
    ngx_uint_t limit, ngx_uint_t own, ngx_uint_t *found)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_centrifugo_slot_t  *slot;

    for (i = *found; i < limit; i++) {

        slot = &reg->slots[i];

        if (i == own
            || __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
               == NGX_CENTRIFUGO_SLOT_FREE)
        {
            continue;
        }

        /*
         * Whoever holds the lock and finds a state other than free reaps: the
         * tenant holds it for life, so it is gone.  A tenant that died without
         * the lock being asked for since is told by EOWNERDEAD only once, so
         * that must not be what decides.
         */

        rc = ngx_centrifugo_lock_try(&slot->live);

        if (rc == NGX_BUSY || rc == NGX_ERROR) {
            continue;
        }

        if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE)
            == NGX_CENTRIFUGO_SLOT_FREE)
        {
            ngx_centrifugo_lock_release(&slot->live);
            continue;
        }

        __atomic_store_n(&slot->state, NGX_CENTRIFUGO_SLOT_DEAD,
                         __ATOMIC_RELEASE);
        NGX_CENTRIFUGO_POINT(REAP_DEAD);
        *found = i;

        return NGX_OK;
    }

    return NGX_DECLINED;
}


void
ngx_centrifugo_registry_beat(ngx_centrifugo_registry_t *reg, ngx_uint_t slot)
{
    __atomic_store_n(&reg->slots[slot].beat, (uint64_t) ngx_current_msec,
                     __ATOMIC_RELAXED);
}


ngx_uint_t
ngx_centrifugo_registry_silent(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot)
{
    int64_t  silence;

    silence = (int64_t) ((uint64_t) ngx_current_msec
                         - __atomic_load_n(&reg->slots[slot].beat,
                                           __ATOMIC_RELAXED));

    return silence >= NGX_CENTRIFUGO_SILENCE;
}


void
ngx_centrifugo_registry_free(ngx_centrifugo_registry_t *reg, ngx_uint_t slot)
{
    __atomic_store_n(&reg->slots[slot].state, NGX_CENTRIFUGO_SLOT_FREE,
                     __ATOMIC_RELEASE);

    ngx_centrifugo_lock_release(&reg->slots[slot].live);
}


void
ngx_centrifugo_registry_ring(ngx_centrifugo_registry_t *reg, ngx_uint_t slot)
{
    static ngx_centrifugo_bell_t  none = { -1, -1 };

    /* a slot without a descriptor polls */

    ngx_centrifugo_bell_ring((slot < reg->nbells) ? &reg->bells[slot] : &none,
                             &reg->slots[slot].pending);
}


void
ngx_centrifugo_registry_answer(ngx_centrifugo_registry_t *reg,
    ngx_uint_t slot)
{
    static ngx_centrifugo_bell_t  none = { -1, -1 };

    ngx_centrifugo_bell_answer((slot < reg->nbells) ? &reg->bells[slot]
                                                    : &none,
                               &reg->slots[slot].pending);
}
