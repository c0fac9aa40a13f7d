/*
 * Any bytes in the rings and any words around them: the readers of log and
 * control ring end, and read nothing outside of the rings.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "hub/ngx_centrifugo_hub_shm.h"
#include "broker/ngx_centrifugo_broker.h"


#define ZONE   (4 * 1024 * 1024)
#define RING   4096
#define SLOTS  64


static u_char                    *zone;
static ngx_centrifugo_registry_t  reg;


static ngx_uint_t
wanted(ngx_centrifugo_hub_t *hub, uint64_t channel)
{
    return channel & 1;
}


static uint64_t
word(const uint8_t **p, const uint8_t *end)
{
    uint64_t  w;

    w = 0;

    if (end - *p >= 3) {
        w = (*p)[1] | (*p)[2] << 8;

        /* near the ring's size, small, or wild */

        w = ((*p)[0] & 3) == 0 ? RING + w % (2 * RING)
            : ((*p)[0] & 3) == 1 ? w : w << ((*p)[0] >> 2);
        *p += 3;
    }

    return w;
}


static uint64_t
unit(uint64_t w)
{
    return w - w % NGX_CENTRIFUGO_RING_UNIT;
}


static void
inside(ngx_str_t *s, u_char *mem, size_t size)
{
    size_t           i;
    volatile u_char  c;

    if (s->len == 0) {
        return;
    }

    if (s->data < mem || s->data + s->len > mem + size) {
        abort();
    }

    for (i = 0; i < s->len; i++) {
        c = s->data[i];
    }

    (void) c;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                         n, guard;
    uint64_t                       w;
    ngx_int_t                      rc;
    ngx_uint_t                     i;
    const uint8_t                 *p, *end;
    ngx_centrifugo_hub_t           hub;
    ngx_centrifugo_entry_t         entry;
    ngx_centrifugo_member_t       *m;
    ngx_centrifugo_control_t       message;
    ngx_centrifugo_hub_shm_t      *shm;
    ngx_centrifugo_client_info_t   info;
    static u_char                  seed[32];

    p = data;
    end = data + size;

    if (zone == NULL) {
        zone = aligned_alloc(NGX_CENTRIFUGO_PAGE, ZONE);
        memset(zone, 0, ZONE);
        ngx_centrifugo_registry_init(&reg);

        if (ngx_centrifugo_hub_format(zone, ZONE, RING, RING, SLOTS, seed)
            == NULL)
        {
            abort();
        }
    }

    shm = (ngx_centrifugo_hub_shm_t *) zone;

    memset(&hub, 0, sizeof(hub));
    hub.shm = shm;
    hub.registry = &reg;
    hub.wanted = wanted;
    hub.slot = 0;
    m = hub_member(shm, 0);

    /* a head is what writers store: whole units; the rest is anybody's */

    shm->log.head = unit(word(&p, end));
    shm->log.tail = word(&p, end);
    w = unit(word(&p, end));
    m->cursor = ngx_min(w, shm->log.head);
    m->first = unit(word(&p, end));
    m->last = word(&p, end);
    shm->control.head = unit(word(&p, end));
    shm->control.tail = word(&p, end);
    w = unit(word(&p, end));
    m->control = ngx_min(w, shm->control.head);

    /* the same bytes from where each reader begins, and all over the ring */

    memset(hub_at(shm, shm->log.at), 0, RING);
    memset(hub_at(shm, shm->control.at), 0, RING);

    for (n = 0; p + n < end && n < RING; n++) {
        ((u_char *) hub_at(shm, shm->log.at))
            [(ngx_max(m->first, m->cursor) + n) % RING] = p[n];
        ((u_char *) hub_at(shm, shm->control.at))[(m->control + n) % RING]
            = p[n];
    }

    for (i = 0; /* void */ ; i++) {
        rc = ngx_centrifugo_hub_read(&hub, &entry);

        if (rc == NGX_DONE) {
            break;
        }

        guard = (shm->log.head - m->cursor) / NGX_CENTRIFUGO_RING_UNIT;

        if (i > guard + 10000) {
            abort();
        }

        if (rc != NGX_OK) {
            continue;
        }

        inside(&entry.name, hub.scratch, hub.scratch_size);
        inside(&entry.info, hub.scratch, hub.scratch_size);
        inside(&entry.data, hub.scratch, hub.scratch_size);

        if (entry.info.len
            && ngx_centrifugo_broker_unpack_info(&entry.info, &info) == NGX_OK)
        {
            inside(&info.user, entry.info.data, entry.info.len);
            inside(&info.client, entry.info.data, entry.info.len);
            inside(&info.conn_info, entry.info.data, entry.info.len);
            inside(&info.chan_info, entry.info.data, entry.info.len);
        }
    }

    for (i = 0; /* void */ ; i++) {
        rc = ngx_centrifugo_control_read(&hub, &message);

        if (rc == NGX_DONE) {
            break;
        }

        if (i > 100000) {
            abort();
        }

        if (rc == NGX_OK) {
            inside(&message.data, hub.control_data, hub.control_size);

            if (message.part + message.data.len > message.total) {
                abort();
            }
        }
    }

    ngx_centrifugo_hub_exit(&hub);

    return 0;
}
