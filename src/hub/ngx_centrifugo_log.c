/*
 * The broadcast log: all workers append to it, every worker
 * reads what it has subscribers for.  Nobody waits for a reader.
 */

#include "ngx_centrifugo_hub_shm.h"


static void log_interest(ngx_centrifugo_hub_shm_t *shm,
    const uint64_t *mask, uint64_t start, uint64_t pos);
static ngx_int_t log_begin(ngx_centrifugo_hub_t *hub);
static ngx_int_t log_entry(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_log_header_t *h, ngx_centrifugo_entry_t *entry);
static ngx_int_t log_overrun(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_entry_t *entry);
static void log_done(ngx_centrifugo_hub_t *hub, uint64_t pos);


#define LOG_PASS  1024          /* unwanted entries looked at in one call */

#define log_type(h)  ((h)->ring.flags >> NGX_CENTRIFUGO_LOG_TYPE)


size_t
ngx_centrifugo_hub_publication_max(size_t log)
{
    return log / 8 - sizeof(ngx_centrifugo_log_header_t);
}


ngx_int_t
ngx_centrifugo_log_append(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_entry_e type,
    const ngx_centrifugo_hub_publication_t *pub,
    const ngx_centrifugo_position_t *position)
{
    uint64_t                      at, mask[NGX_CENTRIFUGO_MASK_WORDS], any,
                                  resync;
    ngx_uint_t                    i;
    ngx_centrifugo_ring_t        *log;
    ngx_centrifugo_place_t        place;
    ngx_centrifugo_shard_t       *shard;
    ngx_centrifugo_hub_shm_t     *shm;
    ngx_centrifugo_log_header_t   h;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    any = 0;
    resync = 0;

    for (i = 0; i < shm->mask_words; i++) {
        mask[i] = (rec ? rec->mask[i] : 0) | shard->resync[i];
        resync |= shard->resync[i];
        any |= mask[i];
    }

    if (any == 0) {
        return NGX_DECLINED;
    }

    ngx_memzero(&h, sizeof(ngx_centrifugo_log_header_t));

    h.ring.type = NGX_CENTRIFUGO_RING_PUBLICATION;
    h.ring.flags = (uint16_t) (pub->flags | type << NGX_CENTRIFUGO_LOG_TYPE);
    h.channel = rec ? rec->id : 0;
    h.time = pub->time;
    h.shard = (uint32_t) n;
    h.info_len = (uint32_t) pub->info.len;
    h.tags_len = (uint32_t) pub->tags.len;
    h.data_len = (uint32_t) pub->data.len;

    if (position) {
        h.offset = position->offset;
        h.epoch = position->epoch;
    }

    /* who has not put its channels back yet knows an id no more */

    h.name_len = resync ? (uint32_t) pub->channel.len : 0;

    log = &shm->log;

    if (ngx_centrifugo_ring_lock(shm, log) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_centrifugo_ring_place(log, sizeof(h) + h.name_len + h.info_len
                                   + h.tags_len + h.data_len, &place);
    ngx_centrifugo_ring_open(shm, log, &place, n + 1);

    h.ring.pos = place.pos;
    h.ring.length = (uint32_t) (place.end - place.pos);

    at = place.pos;
    ngx_centrifugo_ring_write(shm, log, at, &h, sizeof(h));
    at += sizeof(h);
    ngx_centrifugo_ring_write(shm, log, at, pub->channel.data, h.name_len);
    at += h.name_len;
    ngx_centrifugo_ring_write(shm, log, at, pub->info.data, h.info_len);
    at += h.info_len;
    ngx_centrifugo_ring_write(shm, log, at, pub->tags.data, h.tags_len);
    at += h.tags_len;
    ngx_centrifugo_ring_write(shm, log, at, pub->data.data, h.data_len);

    log_interest(shm, mask, place.start, place.pos);

    ngx_centrifugo_ring_commit(shm, log, &place, n + 1);

    ngx_centrifugo_lock_release(&log->lock);

    for (i = 0; i < shm->mask_words; i++) {
        hub->ring[i] |= mask[i];
    }

    return NGX_OK;
}


/*
 * Tells the slots of the channel where to look, before head moves.  `start` is
 * the head before this append: a pad belongs to what follows it.
 */

static void
log_interest(ngx_centrifugo_hub_shm_t *shm, const uint64_t *mask,
    uint64_t start, uint64_t pos)
{
    uint64_t                  bits;
    ngx_uint_t                i, n;
    ngx_centrifugo_member_t  *m;

    for (i = 0; i < shm->mask_words; i++) {

        for (bits = mask[i]; bits; bits &= bits - 1) {
            n = i * 64 + __builtin_ctzll(bits);

            if (n >= shm->slots) {
                break;
            }

            m = hub_member(shm, n);

            NGX_CENTRIFUGO_POINT(LOG_INTEREST);

            if (m->last < __atomic_load_n(&m->cursor, __ATOMIC_ACQUIRE)) {
                __atomic_store_n(&m->first, start, __ATOMIC_RELEASE);
            }

            __atomic_store_n(&m->last, pos, __ATOMIC_RELEASE);
        }
    }
}


ngx_int_t
ngx_centrifugo_hub_read(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_entry_t *entry)
{
    ngx_int_t                     rc;
    ngx_uint_t                    passed;
    ngx_centrifugo_log_header_t   h;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return NGX_DONE;
    }

    if (!hub->reading && log_begin(hub) != NGX_OK) {
        return NGX_DONE;
    }

    passed = 0;

    while (hub->read_pos < hub->read_head && hub->read_pos <= hub->read_last) {

        if (passed++ == LOG_PASS) {
            return NGX_AGAIN;
        }

        rc = ngx_centrifugo_ring_header(hub->shm, &hub->shm->log,
                                        hub->read_pos, hub->read_head, &h,
                                        sizeof(h));
        if (rc != NGX_OK) {

            /* or damaged: nothing up to the head can be trusted */

            return log_overrun(hub, entry);
        }

        if (h.ring.type == NGX_CENTRIFUGO_RING_PAD) {
            hub->read_pos += h.ring.length;
            continue;
        }

        if (h.ring.type != NGX_CENTRIFUGO_RING_PUBLICATION
            || log_type(&h) > NGX_CENTRIFUGO_ENTRY_LEAVE
            || sizeof(h) + (uint64_t) h.name_len + h.info_len + h.tags_len
               + h.data_len
               > h.ring.length)
        {
            return log_overrun(hub, entry);
        }

        if (h.name_len == 0 && !hub->wanted(hub, h.channel)) {
            hub->read_pos += h.ring.length;
            continue;
        }

        rc = log_entry(hub, &h, entry);

        if (rc == NGX_OK) {
            hub->read_pos += h.ring.length;
        }

        return rc;
    }

    log_done(hub, hub->read_head);

    return NGX_AGAIN;
}


ngx_uint_t
ngx_centrifugo_hub_unread(ngx_centrifugo_hub_t *hub)
{
    uint64_t                  head;
    ngx_centrifugo_member_t  *m;

    if (hub->reading) {
        return 1;
    }

    m = hub_member(hub->shm, hub->slot);
    head = __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE);

    return m->cursor != head
           && __atomic_load_n(&m->last, __ATOMIC_ACQUIRE) >= m->cursor;
}


static ngx_int_t
log_begin(ngx_centrifugo_hub_t *hub)
{
    uint64_t                  cursor, first;
    ngx_centrifugo_member_t  *m;

    m = hub_member(hub->shm, hub->slot);

    /* head FIRST: every entry below it is covered by the words after */

    hub->read_head = __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE);
    NGX_CENTRIFUGO_POINT(LOG_HEAD);
    cursor = m->cursor;

    if (cursor == hub->read_head) {
        return NGX_DONE;
    }

    hub->read_last = __atomic_load_n(&m->last, __ATOMIC_ACQUIRE);
    first = __atomic_load_n(&m->first, __ATOMIC_ACQUIRE);

    if (hub->read_last < cursor || first >= hub->read_head) {
        log_done(hub, hub->read_head);
        return NGX_DONE;
    }

    hub->read_pos = ngx_max(first, cursor);
    hub->reading = 1;

    return NGX_OK;
}


static ngx_int_t
log_entry(ngx_centrifugo_hub_t *hub, ngx_centrifugo_log_header_t *h,
    ngx_centrifugo_entry_t *entry)
{
    u_char  *p;
    size_t   len;

    len = (size_t) h->name_len + h->info_len + h->tags_len + h->data_len;

    if (hub->scratch_size <= len) {
        p = realloc(hub->scratch, len + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        hub->scratch = p;
        hub->scratch_size = len + 1;
    }

    if (ngx_centrifugo_ring_copy(hub->shm, &hub->shm->log, hub->read_pos,
                                 hub->read_pos + sizeof(*h), hub->scratch,
                                 len)
        != NGX_OK)
    {
        return log_overrun(hub, entry);
    }

    entry->pos = h->ring.pos;
    entry->type = log_type(h);
    entry->channel = h->channel;
    entry->position.offset = h->offset;
    entry->position.epoch = h->epoch;
    entry->time = h->time;
    entry->flags = h->ring.flags & ((1 << NGX_CENTRIFUGO_LOG_TYPE) - 1);

    entry->name.data = hub->scratch;
    entry->name.len = h->name_len;
    entry->info.data = entry->name.data + h->name_len;
    entry->info.len = h->info_len;
    entry->tags.data = entry->info.data + h->info_len;
    entry->tags.len = h->tags_len;
    entry->data.data = entry->tags.data + h->tags_len;
    entry->data.len = h->data_len;

    return NGX_OK;
}


static ngx_int_t
log_overrun(ngx_centrifugo_hub_t *hub, ngx_centrifugo_entry_t *entry)
{
    entry->pos = hub->read_pos;

    /* the cursor moves first, what is published from here on is not lost */

    log_done(hub, __atomic_load_n(&hub->shm->log.head, __ATOMIC_ACQUIRE));

    ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_OVERRUNS, 1);

    return NGX_DECLINED;
}


static void
log_done(ngx_centrifugo_hub_t *hub, uint64_t pos)
{
    hub->reading = 0;

    __atomic_store_n(&hub_member(hub->shm, hub->slot)->cursor, pos,
                     __ATOMIC_RELEASE);
}
