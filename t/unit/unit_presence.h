/*
 * What the tests of presence have in common: clients whose info can be checked,
 * what the log tells of them, and a walk over all that a zone holds.
 */

#ifndef UNIT_PRESENCE_H
#define UNIT_PRESENCE_H

#define ZONE  (16 * 1024 * 1024)

#include "unit_hub.h"

#define LOG       (8 * 1024 * 1024)
#define CHANNELS  5             /* the last is not announced */
#define MARKS     (1 << 22)


/* what the log said of a client */

typedef struct {
    u_char                     in[MARKS];      /* 1 + channel */
    ngx_uint_t                 joins;
    ngx_uint_t                 leaves;
    ngx_uint_t                 wrong;
    uint64_t                   id[CHANNELS];
} marks_t;

static marks_t                 marks;
static uint32_t               *next_client;
static const char             *names[CHANNELS] = { "a", "bb", "ccc", "dddd",
                                                   "quiet" };


/*
 * Info of a client: its number, then bytes that follow from number and length.
 */

static ngx_inline ngx_str_t
make_info(u_char *buf, uint32_t client, size_t len)
{
    size_t     i;
    ngx_str_t  info;

    len = ngx_max(len, 4);
    memcpy(buf, &client, 4);

    for (i = 4; i < len; i++) {
        buf[i] = (u_char) (client * 31 + len + i);
    }

    info.data = buf;
    info.len = len;

    return info;
}


static ngx_inline uint32_t
check_info(const u_char *data, size_t len)
{
    size_t    i;
    uint32_t  client;

    CHECK(len >= 4);
    memcpy(&client, data, 4);

    for (i = 4; i < len; i++) {
        if (data[i] != (u_char) (client * 31 + len + i)) {
            CHECK(0);
            break;
        }
    }

    return client;
}


static ngx_inline void
make_id(u_char *id, uint32_t client)
{
    memset(id, 0x5a, 16);
    memcpy(id + 5, &client, 4);
}


static ngx_inline ngx_int_t
add(ngx_centrifugo_hub_t *hub, const char *channel, uint32_t client,
    size_t len, ngx_uint_t flags)
{
    char                       user[32];
    u_char                     id[16], buf[NGX_CENTRIFUGO_PRESENCE_MAX];
    ngx_centrifugo_presence_t  p;

    snprintf(user, sizeof(user), "user%u", client % 100);
    make_id(id, client);

    p.channel = S(channel);
    p.user = S(user);
    p.client = id;
    p.info = make_info(buf, client, len);
    p.flags = flags;

    return ngx_centrifugo_hub_presence_add(hub, &p, 7);
}


static ngx_inline ngx_int_t
take(ngx_centrifugo_hub_t *hub, const char *channel, uint32_t client)
{
    u_char     id[16];
    ngx_str_t  ch;

    ch = S(channel);
    make_id(id, client);

    return ngx_centrifugo_hub_presence_remove(hub, &ch, id, 8);
}


static ngx_inline ngx_int_t
join(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t              ch;
    ngx_centrifugo_join_t  j;

    ch = S(channel);

    return unit_join(hub, &ch, &j);
}


static ngx_inline void
leave(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t  ch;

    ch = S(channel);
    ngx_centrifugo_hub_leave(hub, &ch);
}


static ngx_inline ngx_int_t
tally(ngx_centrifugo_hub_t *hub, ngx_uint_t kind, const char *key,
    uint32_t count, uint32_t limit)
{
    ngx_str_t  k;

    k = S(key);

    return ngx_centrifugo_hub_tally_set(hub, kind, &k, count, limit);
}


/*
 * Calls `got` for each entry of a channel; returns how many there were.
 */

static ngx_inline ngx_uint_t
read_all(ngx_centrifugo_hub_t *hub, const char *channel,
    void (*got)(uint32_t client, size_t len))
{
    static u_char                      buf[20000];
    size_t                             len, at;
    uint32_t                           size;
    ngx_int_t                          rc;
    ngx_str_t                          ch;
    ngx_uint_t                         n;
    ngx_centrifugo_presence_cursor_t   cursor;

    ch = S(channel);
    memset(&cursor, 0, sizeof(cursor));
    n = 0;

    do {
        rc = ngx_centrifugo_hub_presence_read(hub, &ch, &cursor, buf,
                                              sizeof(buf), &len);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);

        for (at = 0; at < len; at += 4 + size) {
            memcpy(&size, buf + at, 4);
            CHECK(at + 4 + size <= len);

            if (got) {
                got(check_info(buf + at + 4, size), size);
            }

            n++;
        }

        CHECK(at == len);
    } while (rc == NGX_AGAIN);

    return n;
}


/*
 * Reads the log to its end: a join is of one who was not there, a leave of one
 * who was.
 */

static ngx_inline void
read_log(ngx_centrifugo_hub_t *hub)
{
    uint32_t                client;
    ngx_int_t               rc;
    ngx_uint_t              c;
    ngx_centrifugo_entry_t  e;

    while ((rc = next(hub, &e)) != NGX_DONE) {
        CHECK(rc == NGX_OK);

        if (rc != NGX_OK || e.type == NGX_CENTRIFUGO_ENTRY_PUBLICATION) {
            continue;
        }

        CHECK(e.data.len == 0);
        client = check_info(e.info.data, e.info.len);

        for (c = 0; c < CHANNELS && marks.id[c] != e.channel; c++) {
            /* void */
        }

        if (c == CHANNELS) {
            continue;
        }

        CHECK(c < CHANNELS - 1 && client < MARKS);

        if (e.type == NGX_CENTRIFUGO_ENTRY_JOIN) {
            marks.joins++;
            marks.wrong += (marks.in[client] != 0);
            marks.in[client] = (u_char) (c + 1);

        } else {
            marks.leaves++;
            marks.wrong += (marks.in[client] != c + 1);
            marks.in[client] = 0;
        }
    }
}


static u_char      seen[MARKS];
static ngx_uint_t  seen_channel;

static ngx_inline void
see(uint32_t client, size_t len)
{
    CHECK(client < MARKS && !seen[client]);
    seen[client] = (u_char) (seen_channel + 1);
}


/* the entries are those that the log tells of */

static ngx_inline ngx_uint_t
compare(ngx_centrifugo_hub_t *hub)
{
    uint32_t    i, max;
    ngx_uint_t  n, wrong;

    read_log(hub);
    max = *next_client + 1;
    memset(seen, 0, max);
    n = 0;
    wrong = marks.wrong;

    for (seen_channel = 0; seen_channel < CHANNELS; seen_channel++) {
        n += read_all(hub, names[seen_channel], see);
    }

    for (i = 0; i < max; i++) {
        if (seen[i] != CHANNELS) {
            wrong += (seen[i] != marks.in[i]);
        }
    }

    if (wrong) {
        printf("%lu joins, %lu leaves, %lu entries: %lu wrong\n",
               (unsigned long) marks.joins, (unsigned long) marks.leaves,
               (unsigned long) n, (unsigned long) wrong);
        CHECK(0);
        marks.wrong = 0;
        memcpy(marks.in, seen, max);
    }

    return n;
}


#define MUST(x)                                                              \
    do {                                                                     \
        if (!(x)) {                                                          \
            fprintf(stderr, "%s:%d: shard %lu: %s\n", __FILE__, __LINE__,    \
                    (unsigned long) n, #x);                                  \
            return 0;                                                        \
        }                                                                    \
    } while (0)


static ngx_inline ngx_uint_t
whole_chain(ngx_uint_t n, ngx_centrifugo_entrant_t *e, uint64_t *used)
{
    size_t                   len;
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_chain_t  *chain;

    len = ngx_min(e->item.len, 2032 - 64);

    for (ref = e->rest; ref; ref = chain->item.next) {
        chain = ngx_centrifugo_shard_item(shm, ref,
                                          NGX_CENTRIFUGO_ITEM_CHAIN);
        MUST(chain != NULL && chain->item.len != 0);
        MUST(ngx_centrifugo_page_holds(shm, n, ref));
        used[chain->item.class]++;
        len += chain->item.len;
        MUST(len <= e->item.len);
    }

    MUST(len == e->item.len);

    return 1;
}


static ngx_inline ngx_uint_t
whole_list(ngx_uint_t n, ngx_centrifugo_record_t *rec)
{
    uint64_t                   seq;
    uint32_t                   entries;
    ngx_centrifugo_ref_t       ref, newer;
    ngx_centrifugo_entrant_t  *e;

    newer = 0;
    entries = 0;
    seq = (uint64_t) -1;

    for (ref = rec->presence; ref; ref = e->older) {
        e = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_PRESENCE);
        MUST(e != NULL && e->channel == hub_ref(shm, rec));
        MUST(e->newer == newer && e->seq < seq);
        seq = e->seq;
        newer = ref;
        entries++;
    }

    MUST(entries == rec->entries);

    return 1;
}


static ngx_inline ngx_uint_t
whole_pages(ngx_uint_t n, const uint64_t *used)
{
    size_t                   room;
    uint64_t                 all[NGX_CENTRIFUGO_CLASSES];
    ngx_uint_t               i, c, empty[NGX_CENTRIFUGO_CLASSES];
    ngx_uint_t               pages[NGX_CENTRIFUGO_CLASSES], in, listed;
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_page_t   *p;
    ngx_centrifugo_item_t   *item;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);
    memset(all, 0, sizeof(all));
    memset(empty, 0, sizeof(empty));
    memset(pages, 0, sizeof(pages));

    for (i = 0; i < shm->pages; i++) {
        if (((u_char *) hub_at(shm, shm->owners_at))[i] != n + 1) {
            continue;
        }

        p = hub_at(shm, shm->pages_at + i * NGX_CENTRIFUGO_PAGE);
        c = p->class;
        MUST(c < NGX_CENTRIFUGO_CLASSES);

        in = (NGX_CENTRIFUGO_PAGE - sizeof(*p))
             / ngx_centrifugo_page_class_size(c);

        for (ref = p->free, listed = 0; ref; ref = item->next) {
            item = ngx_centrifugo_page_item(shm, ref, &room);
            MUST(item != NULL && listed++ < in);
            MUST(item->type == NGX_CENTRIFUGO_ITEM_FREE);
        }

        MUST(p->nfree == listed && p->linked == (listed != 0));
        all[c] += in - listed;
        empty[c] += (listed == in);
        pages[c] += p->linked;
    }

    for (c = 0; c < NGX_CENTRIFUGO_CLASSES; c++) {
        MUST(all[c] == used[c] && shard->used[c] == used[c]);

        /* an empty one is given back, but for the last of its class */

        MUST(empty[c] == 0 || pages[c] == 1 || empty[c] == 1);

        for (i = shard->avail[c]; i; i = p->next) {
            p = hub_at(shm, shm->pages_at + (i - 1) * NGX_CENTRIFUGO_PAGE);
            MUST(p->class == c && p->linked && pages[c] != 0);
            pages[c]--;
        }

        MUST(pages[c] == 0);
    }

    return 1;
}


static ngx_inline ngx_uint_t
whole_shard(ngx_uint_t n)
{
    size_t                     room;
    uint64_t                   used[NGX_CENTRIFUGO_CLASSES], hash, id;
    u_char                     key[24];
    ngx_uint_t                 b, i, mask, first;
    ngx_centrifugo_ref_t       ref, other;
    ngx_centrifugo_item_t     *item, *item2;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_tally_t    *t, *t2;
    ngx_centrifugo_counts_t    counts;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e;
    uint64_t                   in_lists;

    shard = hub_shard(shm, n);
    memset(used, 0, sizeof(used));
    memset(&counts, 0, sizeof(counts));
    in_lists = 0;

    for (b = 0; b < shm->buckets; b++) {
        for (ref = *hub_bucket(shm, n, b); ref; ref = item->next) {
            item = ngx_centrifugo_page_item(shm, ref, &room);
            MUST(item != NULL);
            MUST(ngx_centrifugo_page_holds(shm, n, ref));
            MUST(ngx_centrifugo_shard_item(shm, ref, item->type) != NULL);
            MUST(counts.records++ < 1000000);
            used[item->class]++;

            switch (item->type) {

            case NGX_CENTRIFUGO_ITEM_CHANNEL:
                rec = (ngx_centrifugo_record_t *) item;
                counts.channels++;
                in_lists += rec->entries;
                hash = ngx_centrifugo_hash(shm->seed,
                                           (u_char *) &rec->mask[1],
                                           item->len);
                MUST((hash & (shm->shards - 1)) == n);
                MUST(hub_bucket_of(shm, hash) == b
                     && item->hash == (uint32_t) hash);

                for (mask = 0, i = 0; i < shm->mask_words; i++) {
                    mask |= (rec->mask[i] != 0);
                }

                MUST(mask || rec->presence);

                if (!whole_list(n, rec)) {
                    return 0;
                }

                break;

            case NGX_CENTRIFUGO_ITEM_PRESENCE:
                e = (ngx_centrifugo_entrant_t *) item;
                counts.presence++;
                rec = ngx_centrifugo_shard_item(shm, e->channel,
                                                NGX_CENTRIFUGO_ITEM_CHANNEL);
                MUST(rec != NULL && ngx_centrifugo_page_holds(shm, n,
                                                              e->channel));
                id = rec->id;
                memcpy(key, &id, 8);
                memcpy(key + 8, e->client, 16);
                hash = ngx_centrifugo_hash(shm->seed, key, 24);
                MUST(hub_bucket_of(shm, hash) == b
                     && item->hash == (uint32_t) hash);

                if (!whole_chain(n, e, used)) {
                    return 0;
                }

                break;

            case NGX_CENTRIFUGO_ITEM_TALLY:
                t = (ngx_centrifugo_tally_t *) item;
                first = (t->kind == NGX_CENTRIFUGO_TALLY_USER);
                MUST(t->count != 0);

                for (other = item->next; other; other = item2->next) {
                    item2 = ngx_centrifugo_page_item(shm, other, &room);
                    MUST(item2 != NULL);
                    t2 = (ngx_centrifugo_tally_t *) item2;

                    if (item2->type == NGX_CENTRIFUGO_ITEM_TALLY
                        && t2->kind == t->kind && item2->len == item->len
                        && memcmp(t2->key, t->key, item->len) == 0)
                    {
                        MUST(t2->slot != t->slot);
                        first = 0;
                    }
                }

                counts.users += first;
                break;

            default:
                MUST(0);
            }
        }
    }

    MUST(in_lists == counts.presence);
    MUST(memcmp(&counts, &shard->counts, sizeof(counts)) == 0);
    MUST(shard->intent.state == NGX_CENTRIFUGO_INTENT_NONE
         && shard->intent.chain == 0 && shard->intent.drop == 0
         && shard->intent.moving == 0 && shard->intent.list == 0);

    return whole_pages(n, used);
}


/* after all locks were repaired: everything is where it belongs, once */

static ngx_inline ngx_uint_t
whole(ngx_centrifugo_hub_t *hub)
{
    ngx_uint_t  n, ok;

    ok = 1;

    for (n = 0; n < shm->shards; n++) {
        CHECK(ngx_centrifugo_shard_lock(hub, n) == NGX_OK);
        ok &= whole_shard(n);
        ngx_centrifugo_shard_unlock(hub, n);
    }

    return ok;
}


static ngx_inline void
begin(ngx_centrifugo_hub_t *me)
{
    ngx_str_t              ch;
    ngx_uint_t             i;
    ngx_centrifugo_join_t  j;

    fresh(LOG);
    enter(me);
    memset(&marks, 0, sizeof(marks));
    *next_client = 1;

    for (i = 0; i < CHANNELS; i++) {
        ch = S(names[i]);
        CHECK(unit_join(me, &ch, &j) == NGX_OK);
        marks.id[i] = j.channel;
    }
}

#endif
