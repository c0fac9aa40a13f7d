/*
 * The broadcast log: a ring that publishers of all workers append to and every
 * worker reads without a lock.  Nothing in the ring is trusted, nobody waits
 * for a reader; the rules of order below are what a reader relies on.
 */

#include "ngx_centrifugo_hub_shm.h"


static ngx_int_t log_lock(ngx_centrifugo_hub_shm_t *shm);
static void log_interest(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec, uint64_t start, uint64_t pos);
static ngx_int_t log_header(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_log_header_t *h);
static ngx_int_t log_overrun(ngx_centrifugo_hub_t *hub);
static void log_done(ngx_centrifugo_hub_t *hub, uint64_t pos);


#define LOG_PASS  1024          /* unwanted entries looked at in one call */

#define log_byte(shm, pos)                                                   \
    ((u_char *) hub_at(shm, (shm)->log_at) + (pos) % (shm)->log_size)


size_t
ngx_centrifugo_hub_publication_max(size_t log)
{
    return log / 8 - sizeof(ngx_centrifugo_log_header_t);
}


ngx_int_t
ngx_centrifugo_log_append(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t shard,
    ngx_centrifugo_record_t *rec, uint64_t time, ngx_uint_t flags,
    const ngx_str_t *info, const ngx_str_t *data)
{
    u_char                       *p;
    size_t                        len;
    uint64_t                      start, pos, end, left;
    ngx_centrifugo_log_t         *log;
    ngx_centrifugo_log_header_t  *h;

    if (info->len + data->len
        > ngx_centrifugo_hub_publication_max(shm->log_size))
    {
        return NGX_ERROR;
    }

    len = sizeof(ngx_centrifugo_log_header_t) + info->len + data->len;
    len = ngx_align(len, NGX_CENTRIFUGO_LOG_UNIT);

    if (log_lock(shm) != NGX_OK) {
        return NGX_ERROR;
    }

    log = &shm->log;

    start = log->head;
    left = shm->log_size - start % shm->log_size;
    pos = (left < len) ? start + left : start;
    end = pos + len;

    log->lx_head = end;
    intent_store(&log->lx_by, (uint32_t) shard + 1);

    /* what is about to be overwritten is given up first */

    if (end > shm->log_size + log->tail) {
        __atomic_store_n(&log->tail, end - shm->log_size, __ATOMIC_RELAXED);
    }

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    if (pos != start) {
        h = (ngx_centrifugo_log_header_t *) log_byte(shm, start);
        h->pos = start;
        h->length = (uint32_t) left;
        h->type = NGX_CENTRIFUGO_LOG_PAD;
    }

    h = (ngx_centrifugo_log_header_t *) log_byte(shm, pos);

    ngx_memzero(h, sizeof(ngx_centrifugo_log_header_t));
    h->pos = pos;
    h->length = (uint32_t) len;
    h->type = NGX_CENTRIFUGO_LOG_PUBLICATION;
    h->flags = (uint16_t) flags;
    h->channel = rec->id;
    h->time = time;
    h->shard = (uint32_t) shard;
    h->info_len = (uint32_t) info->len;
    h->data_len = (uint32_t) data->len;

    p = (u_char *) (h + 1);

    if (info->len) {
        p = ngx_cpymem(p, info->data, info->len);
    }

    if (data->len) {
        ngx_memcpy(p, data->data, data->len);
    }

    log_interest(shm, rec, start, pos);

    /* the commit */

    __atomic_store_n(&log->head, end, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);

    intent_store(&hub_shard(shm, shard)->intent.logged, 1);
    intent_store(&log->lx_by, 0);

    ngx_centrifugo_lock_release(&log->lock);

    return NGX_OK;
}


static ngx_int_t
log_lock(ngx_centrifugo_hub_shm_t *shm)
{
    ngx_int_t              rc;
    ngx_centrifugo_log_t  *log;

    log = &shm->log;

    rc = ngx_centrifugo_lock_take(&log->lock, NGX_CENTRIFUGO_LOG_SPIN);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    log->repairs++;

    if (log->lx_by && log->lx_by <= shm->shards && log->head == log->lx_head) {
        intent_store(&hub_shard(shm, log->lx_by - 1)->intent.logged, 1);
    }

    intent_store(&log->lx_by, 0);

    return NGX_OK;
}


/*
 * Tells the slots of the channel where to look, before head moves.  `start` is
 * the head before this append: a pad belongs to what follows it.
 */

static void
log_interest(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_record_t *rec,
    uint64_t start, uint64_t pos)
{
    uint64_t                  bits;
    ngx_uint_t                i, n;
    ngx_centrifugo_member_t  *m;

    for (i = 0; i < shm->mask_words; i++) {

        for (bits = rec->mask[i]; bits; bits &= bits - 1) {
            n = i * 64 + __builtin_ctzll(bits);

            if (n >= shm->slots) {
                break;
            }

            m = hub_member(shm, n);

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
    u_char                       *p;
    size_t                        len;
    uint64_t                      cursor, first;
    ngx_int_t                     rc;
    ngx_uint_t                    passed;
    ngx_centrifugo_hub_shm_t     *shm;
    ngx_centrifugo_member_t      *m;
    ngx_centrifugo_log_header_t   h;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return NGX_DONE;
    }

    shm = hub->shm;
    m = hub_member(shm, hub->slot);

    if (!hub->reading) {

        /* head FIRST: every entry below it is covered by the words after */

        hub->read_head = __atomic_load_n(&shm->log.head, __ATOMIC_ACQUIRE);
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
    }

    passed = 0;

    while (hub->read_pos < hub->read_head && hub->read_pos <= hub->read_last) {

        if (passed++ == LOG_PASS) {
            return NGX_AGAIN;
        }

        rc = log_header(hub, &h);

        if (rc != NGX_OK) {
            return rc;
        }

        if (h.type == NGX_CENTRIFUGO_LOG_PAD
            || !hub->wanted(hub, h.channel))
        {
            hub->read_pos += h.length;
            continue;
        }

        len = (size_t) h.info_len + h.data_len;

        if (hub->scratch_size < len) {
            p = realloc(hub->scratch, len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            hub->scratch = p;
            hub->scratch_size = len;
        }

        ngx_memcpy(hub->scratch, log_byte(shm, hub->read_pos)
                                 + sizeof(ngx_centrifugo_log_header_t), len);

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

        if (__atomic_load_n(&shm->log.tail, __ATOMIC_RELAXED)
            > hub->read_pos)
        {
            return log_overrun(hub);
        }

        entry->pos = h.pos;
        entry->channel = h.channel;
        entry->offset = h.offset;
        entry->time = h.time;
        entry->json = (h.flags & NGX_CENTRIFUGO_LOG_JSON) != 0;
        entry->info.data = hub->scratch;
        entry->info.len = h.info_len;
        entry->data.data = hub->scratch + h.info_len;
        entry->data.len = h.data_len;

        hub->read_pos += h.length;

        return NGX_OK;
    }

    log_done(hub, hub->read_head);

    return NGX_AGAIN;
}


/*
 * Copies the header at the reader's position; it is looked at only after the
 * check that it was not overwritten meanwhile.
 */

static ngx_int_t
log_header(ngx_centrifugo_hub_t *hub, ngx_centrifugo_log_header_t *h)
{
    uint64_t                   left;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = shm->log_size - hub->read_pos % shm->log_size;

    ngx_memzero(h, sizeof(ngx_centrifugo_log_header_t));
    ngx_memcpy(h, log_byte(shm, hub->read_pos),
               ngx_min(sizeof(ngx_centrifugo_log_header_t), left));

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    if (__atomic_load_n(&shm->log.tail, __ATOMIC_RELAXED) > hub->read_pos) {
        return log_overrun(hub);
    }

    if (h->pos == hub->read_pos
        && h->length != 0
        && h->length % NGX_CENTRIFUGO_LOG_UNIT == 0
        && h->length <= left
        && h->length <= hub->read_head - hub->read_pos)
    {
        if (h->type == NGX_CENTRIFUGO_LOG_PAD) {
            return NGX_OK;
        }

        if (h->type == NGX_CENTRIFUGO_LOG_PUBLICATION
            && sizeof(ngx_centrifugo_log_header_t) + h->info_len + h->data_len
               <= h->length)
        {
            return NGX_OK;
        }
    }

    /* damaged: nothing from here to the head can be trusted */

    return log_overrun(hub);
}


static ngx_int_t
log_overrun(ngx_centrifugo_hub_t *hub)
{
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
