/*
 * The control ring: messages from worker to worker.  Unlike the log it is
 * never overwritten for a slot that answers; a sender that finds it full is
 * told so.
 */

#include "ngx_centrifugo_hub_shm.h"


#define CONTROL_PASS  1024      /* messages for others looked at in one call */


static ngx_int_t control_append(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_control_header_t *h, const u_char *data);
static ngx_int_t control_room(ngx_centrifugo_hub_t *hub, uint64_t end);
static ngx_int_t control_lost(ngx_centrifugo_hub_t *hub);
static ngx_uint_t control_on(ngx_centrifugo_hub_t *hub, ngx_uint_t n);
static ngx_uint_t control_member(ngx_centrifugo_hub_t *hub, ngx_uint_t n);


void
ngx_centrifugo_control_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t slot)
{
    ngx_centrifugo_ring_t    *ring;
    ngx_centrifugo_member_t  *m;

    ring = &hub->shm->control;
    m = hub_member(hub->shm, slot);

    if (ngx_centrifugo_ring_lock(hub->shm, ring) != NGX_OK) {
        return;
    }

    /* both in one section: no message in between is lost or kept */

    __atomic_store_n(&m->control, ring->head, __ATOMIC_RELEASE);
    __atomic_store_n(&m->on, hub->registry->slots[slot].generation,
                     __ATOMIC_RELEASE);

    ngx_centrifugo_lock_release(&ring->lock);
}


void
ngx_centrifugo_control_leave(ngx_centrifugo_hub_t *hub, ngx_uint_t slot)
{
    ngx_centrifugo_ring_t  *ring;

    ring = &hub->shm->control;

    if (ngx_centrifugo_ring_lock(hub->shm, ring) != NGX_OK) {
        return;
    }

    __atomic_store_n(&hub_member(hub->shm, slot)->on, 0, __ATOMIC_RELEASE);

    ngx_centrifugo_lock_release(&ring->lock);
}


void
ngx_centrifugo_hub_members(ngx_centrifugo_hub_t *hub, uint64_t *mask)
{
    ngx_uint_t  i;

    ngx_memzero(mask, NGX_CENTRIFUGO_MASK_WORDS * sizeof(uint64_t));

    for (i = 0; i < hub->shm->slots; i++) {
        if (control_member(hub, i)) {
            mask[i / 64] |= 1ULL << (i % 64);
        }
    }
}


/*
 * Whether the slot's tenant has entered: in a zone that a reload has given up
 * the last word may be of one before it.
 */

static ngx_uint_t
control_on(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    uint32_t  on;

    on = __atomic_load_n(&hub_member(hub->shm, n)->on, __ATOMIC_ACQUIRE);

    return on && on == __atomic_load_n(&hub->registry->slots[n].generation,
                                       __ATOMIC_ACQUIRE);
}


/*
 * Whether the slot has a tenant that reads the rings.  One that was killed
 * while it entered is on, but its slot is free; one that is being reaped is
 * still on for a moment.
 */

static ngx_uint_t
control_member(ngx_centrifugo_hub_t *hub, ngx_uint_t n)
{
    uint32_t  state;

    state = __atomic_load_n(&hub->registry->slots[n].state, __ATOMIC_ACQUIRE);

    return control_on(hub, n)
           && (state == NGX_CENTRIFUGO_SLOT_LIVE
               || state == NGX_CENTRIFUGO_SLOT_DRAINING);
}


ngx_uint_t
ngx_centrifugo_hub_alive(ngx_centrifugo_hub_t *hub, ngx_uint_t slot,
    uint32_t generation)
{
    ngx_centrifugo_slot_t  *s;

    if (slot >= hub->shm->slots) {
        return 0;
    }

    s = &hub->registry->slots[slot];

    return control_member(hub, slot)
           && ((__atomic_load_n(&s->generation, __ATOMIC_ACQUIRE)
                ^ generation) & NGX_CENTRIFUGO_ID_GENERATION) == 0
           && !ngx_centrifugo_registry_silent(hub->registry, slot);
}


size_t
ngx_centrifugo_control_max(ngx_centrifugo_hub_t *hub)
{
    return hub->shm->control.size / 2;
}


ngx_int_t
ngx_centrifugo_control_send(ngx_centrifugo_hub_t *hub, ngx_uint_t to,
    uint32_t generation, ngx_uint_t kind, uint64_t request, uint64_t deadline,
    const ngx_str_t *data)
{
    size_t                           max, part;
    ngx_int_t                        rc;
    ngx_uint_t                       i;
    uint64_t                         members[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_centrifugo_control_header_t  h;

    if (to != NGX_CENTRIFUGO_TO_ALL
        && !ngx_centrifugo_hub_alive(hub, to, generation))
    {
        return NGX_DECLINED;
    }

    if (data->len > ngx_centrifugo_control_max(hub)) {
        return NGX_ERROR;
    }

    ngx_memzero(&h, sizeof(ngx_centrifugo_control_header_t));

    h.ring.type = NGX_CENTRIFUGO_RING_CONTROL;
    h.to = (uint32_t) to;
    h.to_generation = generation & NGX_CENTRIFUGO_ID_GENERATION;
    h.kind = (uint32_t) kind;
    h.request = request;
    h.deadline = deadline;
    h.total = (uint32_t) data->len;
    h.from = (uint32_t) hub->slot;

    if (hub->slot != NGX_CENTRIFUGO_NO_SLOT) {
        h.from_generation = hub->registry->slots[hub->slot].generation
                            & NGX_CENTRIFUGO_ID_GENERATION;
    }

    max = hub->shm->control.size / 8 - sizeof(h);
    part = 0;

    do {
        h.part = (uint32_t) part;
        h.data_len = (uint32_t) ngx_min(data->len - part, max);

        rc = control_append(hub, &h, data->data + part);

        if (rc != NGX_OK) {
            return rc;
        }

        part += h.data_len;

    } while (part < data->len);

    if (to != NGX_CENTRIFUGO_TO_ALL) {
        hub->ring[to / 64] |= 1ULL << (to % 64);
        return NGX_OK;
    }

    ngx_centrifugo_hub_members(hub, members);

    for (i = 0; i < hub->shm->mask_words; i++) {
        hub->ring[i] |= members[i];
    }

    return NGX_OK;
}


static ngx_int_t
control_append(ngx_centrifugo_hub_t *hub, ngx_centrifugo_control_header_t *h,
    const u_char *data)
{
    ngx_centrifugo_ring_t     *ring;
    ngx_centrifugo_place_t     place;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    ring = &shm->control;

    if (ngx_centrifugo_ring_lock(shm, ring) != NGX_OK) {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(CONTROL_LOCKED);

    ngx_centrifugo_ring_place(ring, sizeof(*h) + h->data_len, &place);

    if (place.end > ring->size + ngx_centrifugo_ring_tail(ring)
        && control_room(hub, place.end) != NGX_OK)
    {
        ngx_centrifugo_lock_release(&ring->lock);
        return NGX_BUSY;
    }

    ngx_centrifugo_ring_open(shm, ring, &place, 0);

    h->ring.pos = place.pos;
    h->ring.length = (uint32_t) (place.end - place.pos);

    ngx_centrifugo_ring_write(shm, ring, place.pos, h, sizeof(*h));
    ngx_centrifugo_ring_write(shm, ring, place.pos + sizeof(*h), data,
                              h->data_len);

    ngx_centrifugo_ring_commit(shm, ring, &place, 0);

    ngx_centrifugo_lock_release(&ring->lock);

    return NGX_OK;
}


/*
 * The ring looks full: moves the tail to the smallest cursor of those who
 * still answer.  Those in the way are rung.
 */

static ngx_int_t
control_room(ngx_centrifugo_hub_t *hub, uint64_t end)
{
    uint64_t                   low, cursor;
    ngx_uint_t                 i;
    ngx_centrifugo_ring_t     *ring;
    ngx_centrifugo_member_t   *m;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    ring = &shm->control;
    low = ring->head;

    for (i = 0; i < shm->slots; i++) {
        m = hub_member(shm, i);

        /* who is just entering counts already: its cursor is set */

        if (!control_on(hub, i)
            || __atomic_load_n(&hub->registry->slots[i].state,
                               __ATOMIC_ACQUIRE)
               == NGX_CENTRIFUGO_SLOT_DEAD
            || ngx_centrifugo_registry_silent(hub->registry, i))
        {
            continue;
        }

        cursor = __atomic_load_n(&m->control, __ATOMIC_ACQUIRE);

        if (cursor < low) {
            low = cursor;
        }

        if (end > ring->size + cursor) {
            hub->ring[i / 64] |= 1ULL << (i % 64);
        }
    }

    /* never backwards: one that was silent may have come back */

    if (low > ngx_centrifugo_ring_tail(ring)) {
        ngx_centrifugo_ring_give_up(ring, low);
    }

    return (end > ring->size + low) ? NGX_BUSY : NGX_OK;
}


ngx_int_t
ngx_centrifugo_control_read(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_control_t *message)
{
    u_char                           *p;
    uint64_t                          head, cursor;
    ngx_int_t                         rc;
    ngx_uint_t                        passed;
    ngx_centrifugo_ring_t            *ring;
    ngx_centrifugo_member_t          *m;
    ngx_centrifugo_control_header_t   h;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return NGX_DONE;
    }

    ring = &hub->shm->control;
    m = hub_member(hub->shm, hub->slot);
    head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);

    for (passed = 0; passed < CONTROL_PASS; passed++) {

        cursor = m->control;

        if (cursor == head) {
            return NGX_DONE;
        }

        if (cursor > head) {
            return control_lost(hub);
        }

        rc = ngx_centrifugo_ring_header(hub->shm, ring, cursor, head, &h,
                                        sizeof(h));

        if (rc != NGX_OK
            || (h.ring.type != NGX_CENTRIFUGO_RING_PAD
                && (h.ring.type != NGX_CENTRIFUGO_RING_CONTROL
                    || sizeof(h) + (uint64_t) h.data_len > h.ring.length
                    || (uint64_t) h.part + h.data_len > h.total)))
        {
            return control_lost(hub);
        }

        if (h.ring.type == NGX_CENTRIFUGO_RING_PAD
            || (h.to != NGX_CENTRIFUGO_TO_ALL
                && (h.to != hub->slot
                    || h.to_generation
                       != (hub->registry->slots[hub->slot].generation
                           & NGX_CENTRIFUGO_ID_GENERATION))))
        {
            __atomic_store_n(&m->control, cursor + h.ring.length,
                             __ATOMIC_RELEASE);
            continue;
        }

        if (hub->control_size <= h.data_len) {
            p = realloc(hub->control_data, (size_t) h.data_len + 1);
            if (p == NULL) {
                return NGX_ERROR;
            }

            hub->control_data = p;
            hub->control_size = (size_t) h.data_len + 1;
        }

        if (ngx_centrifugo_ring_copy(hub->shm, ring, cursor,
                                     cursor + sizeof(h), hub->control_data,
                                     h.data_len)
            != NGX_OK)
        {
            return control_lost(hub);
        }

        message->kind = h.kind;
        message->from = h.from;
        message->from_generation = h.from_generation;
        message->request = h.request;
        message->deadline = h.deadline;
        message->total = h.total;
        message->part = h.part;
        message->data.data = hub->control_data;
        message->data.len = h.data_len;

        __atomic_store_n(&m->control, cursor + h.ring.length,
                         __ATOMIC_RELEASE);

        return NGX_OK;
    }

    return NGX_AGAIN;
}


static ngx_int_t
control_lost(ngx_centrifugo_hub_t *hub)
{
    __atomic_store_n(&hub_member(hub->shm, hub->slot)->control,
                     __atomic_load_n(&hub->shm->control.head,
                                     __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);

    return NGX_DECLINED;
}
