/* A hub in memory that processes share, for the tests of it. */

#ifndef UNIT_HUB_H
#define UNIT_HUB_H

#include "unit.h"
#include "hub/ngx_centrifugo_hub_shm.h"
#include "unit_publish.h"

#include <signal.h>
#include <sys/time.h>

#ifndef ZONE
#define ZONE   (8 * 1024 * 1024)
#endif

#define SLOTS  64


static ngx_centrifugo_registry_t  *reg;
static ngx_centrifugo_hub_shm_t   *shm;


static ngx_inline void *
map(size_t size)
{
    return mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
}


static ngx_inline void
fresh(size_t log)
{
    u_char  seed[32] = "0123456789abcdef0123456789abcde";

    /* not the registry: this process holds locks in it */

    if (shm != NULL) {
        munmap(shm, ZONE);
    }

    reg = map(NGX_CENTRIFUGO_REGISTRY_SIZE);
    CHECK(ngx_centrifugo_registry_init(reg) == NGX_OK);
    CHECK(ngx_centrifugo_registry_bells(reg, 8) == NGX_OK);

    shm = ngx_centrifugo_hub_format(map(ZONE), ZONE, log, 512 * 1024, SLOTS,
                                    seed);
    CHECK(shm != NULL);
}


static ngx_uint_t
want_all(ngx_centrifugo_hub_t *hub, uint64_t channel)
{
    return hub->data == NULL || *(uint64_t *) hub->data == channel;
}


static ngx_inline void
enter(ngx_centrifugo_hub_t *hub)
{
    ngx_uint_t  slot;

    memset(hub, 0, sizeof(*hub));
    hub->shm = shm;
    hub->registry = reg;
    hub->wanted = want_all;
    hub->slot = NGX_CENTRIFUGO_NO_SLOT;

    slot = ngx_centrifugo_registry_claim(reg, SLOTS);
    CHECK(slot != NGX_CENTRIFUGO_NO_SLOT);
    ngx_centrifugo_hub_enter(hub, slot);
    ngx_centrifugo_registry_live(reg, slot);
}


static ngx_inline ngx_int_t
publish(ngx_centrifugo_hub_t *hub, const char *channel, const char *data)
{
    ngx_str_t  c, d, none = ngx_null_string;

    c = S(channel);
    d = S(data);

    return unit_publish(hub, &c, &none, &d, 1, 0);
}


static ngx_inline ngx_int_t
next(ngx_centrifugo_hub_t *hub, ngx_centrifugo_entry_t *e)
{
    ngx_int_t  rc;

    do {
        rc = ngx_centrifugo_hub_read(hub, e);
    } while (rc == NGX_AGAIN);

    return rc;
}


/*
 * Clears up after all that are gone.  Returns how many there were.
 */

static ngx_inline ngx_uint_t
reap_all(ngx_centrifugo_hub_t *me)
{
    uint64_t    cursor;
    ngx_uint_t  slot, dead;

    for (dead = 0; dead < 100; dead++) {
        slot = 0;

        if (ngx_centrifugo_registry_find_dead(reg, SLOTS, me->slot, &slot)
            != NGX_OK)
        {
            break;
        }

        cursor = 0;

        while (ngx_centrifugo_hub_reap(me, slot, &cursor) == NGX_AGAIN) {
            /* void */
        }

        ngx_centrifugo_registry_free(reg, slot);
    }

    return dead;
}


static ngx_inline ngx_int_t
unit_rejoin(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel, uint64_t *id)
{
    ngx_int_t              rc;
    ngx_centrifugo_join_t  join;

    memset(&join, 0, sizeof(join));
    rc = ngx_centrifugo_hub_resync_rejoin(hub, channel, &join);

    if (rc == NGX_OK) {
        *id = join.channel;
    }

    return rc;
}

#endif
