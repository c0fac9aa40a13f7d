/*
 * Presence and tallies in the hub's shared memory, and what a kill leaves of
 * them: joins minus leaves in the log are the entries, every list and count is
 * whole, every item of every page is either used or free.
 */

#define ZONE  (16 * 1024 * 1024)

#include "unit_hub.h"

#include <time.h>

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
static u_char                  big[NGX_CENTRIFUGO_PRESENCE_MAX + 1];
static const char             *names[CHANNELS] = { "a", "bb", "ccc", "dddd",
                                                   "quiet" };


/*
 * Info of a client: its number, then bytes that follow from number and length.
 */

static ngx_str_t
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


static uint32_t
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


static void
make_id(u_char *id, uint32_t client)
{
    memset(id, 0x5a, 16);
    memcpy(id + 5, &client, 4);
}


static ngx_int_t
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


static ngx_int_t
take(ngx_centrifugo_hub_t *hub, const char *channel, uint32_t client)
{
    u_char     id[16];
    ngx_str_t  ch;

    ch = S(channel);
    make_id(id, client);

    return ngx_centrifugo_hub_presence_remove(hub, &ch, id, 8);
}


static ngx_int_t
join(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t              ch;
    ngx_centrifugo_join_t  j;

    ch = S(channel);

    return ngx_centrifugo_hub_join(hub, &ch, &j);
}


static void
leave(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t  ch;

    ch = S(channel);
    ngx_centrifugo_hub_leave(hub, &ch);
}


static ngx_int_t
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

static ngx_uint_t
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

static void
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

static void
see(uint32_t client, size_t len)
{
    CHECK(client < MARKS && !seen[client]);
    seen[client] = (u_char) (seen_channel + 1);
}


/* the entries are those that the log tells of */

static ngx_uint_t
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


static ngx_uint_t
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


static ngx_uint_t
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


static ngx_uint_t
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


static ngx_uint_t
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

static ngx_uint_t
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


static void
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
        CHECK(ngx_centrifugo_hub_join(me, &ch, &j) == NGX_OK);
        marks.id[i] = j.channel;
    }
}


static void
basics(void)
{
    size_t                            len;
    u_char                            buf[20000], id[16];
    uint32_t                          i;
    uint64_t                          users[300];
    ngx_int_t                         rc;
    ngx_str_t                         ch, info;
    ngx_uint_t                        n, got;
    ngx_centrifugo_hub_t              a, b;
    ngx_centrifugo_entry_t            e;
    ngx_centrifugo_hub_stat_t         st, base;
    ngx_centrifugo_presence_t         p;
    ngx_centrifugo_presence_cursor_t  cursor;
    static const size_t               sizes[] = { 4, 32, 33, 100, 1967, 1968,
                                                  1969, 1968 + 2020,
                                                  1968 + 2021, 8191, 8192 };

    begin(&a);
    enter(&b);

    /* nothing is created by asking, nobody enters what he has not joined */

    CHECK(read_all(&b, "nowhere", NULL) == 0);
    CHECK(take(&b, "nowhere", 1) == NGX_DECLINED);
    CHECK(take(&b, "a", 1) == NGX_DECLINED);
    CHECK(add(&b, "nowhere", 1, 10, 0) == NGX_ERROR);
    CHECK(add(&b, "a", 1, 10, 0) == NGX_ERROR);
    ngx_centrifugo_hub_stat(&a, &base);
    CHECK(base.channels == CHANNELS && base.presence == 0);

    memset(&p, 0, sizeof(p));
    p.channel = S("a");
    p.client = id;
    p.info.data = big;
    p.info.len = NGX_CENTRIFUGO_PRESENCE_MAX + 1;
    CHECK(ngx_centrifugo_hub_presence_add(&a, &p, 1) == NGX_ERROR);

    /* all sizes come, are changed into all others, and go */

    CHECK(join(&b, "a") == NGX_OK);

    for (i = 0; i < 11; i++) {
        CHECK(add(&b, "a", 1 + i, sizes[i], NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);
        CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_JOIN
              && e.info.len == sizes[i] && e.data.len == 0 && e.time == 7
              && check_info(e.info.data, e.info.len) == 1 + i);
        CHECK(next(&a, &e) == NGX_DONE);
        CHECK(ngx_centrifugo_hub_wake(&b) == 1);
        CHECK(reg->slots[a.slot].pending);

        for (n = 0; n < 11; n++) {
            CHECK(add(&b, "a", 1 + i, sizes[n],
                      NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
                  == NGX_OK);
            CHECK(whole(&a));
        }

        CHECK(next(&a, &e) == NGX_DONE);
        CHECK(add(&b, "a", 1 + i, sizes[10 - i],
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);
        CHECK(read_all(&a, "a", NULL) == i + 1);
    }

    *next_client = 20;
    memset(seen, 0, sizeof(seen));
    CHECK(read_all(&a, "a", see) == 11);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 11 && st.channels == CHANNELS);

    for (i = 0; i < 11; i++) {
        CHECK(take(&a, "a", 1 + (i * 7) % 11) == NGX_OK);
        CHECK(take(&a, "a", 1 + (i * 7) % 11) == NGX_DECLINED);
        CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_LEAVE
              && e.info.len == sizes[10 - (i * 7) % 11] && e.time == 8
              && check_info(e.info.data, e.info.len) == 1 + (i * 7) % 11);
        CHECK(next(&a, &e) == NGX_DONE && whole(&a));
        CHECK(read_all(&a, "a", NULL) == 10 - i);
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 0 && st.channel_bytes == base.channel_bytes);

    /* without announcement; quietly; an announcement without an entry */

    CHECK(add(&b, "a", 1, 10, 0) == NGX_OK);
    CHECK(take(&b, "a", 1) == NGX_OK);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(add(&b, "a", 1, 10, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE
                              |NGX_CENTRIFUGO_PRESENCE_QUIET) == NGX_OK);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(take(&b, "a", 1) == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_LEAVE);

    ch = S("a");
    info = S("who");
    CHECK(ngx_centrifugo_hub_announce(&b, &ch, NGX_CENTRIFUGO_ENTRY_JOIN,
                                      &info, 5) == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK && e.type == NGX_CENTRIFUGO_ENTRY_JOIN
          && e.info.len == 3 && e.time == 5 && e.channel == marks.id[0]);
    CHECK(publish(&b, "a", "x") == NGX_OK);
    CHECK(next(&a, &e) == NGX_OK
          && e.type == NGX_CENTRIFUGO_ENTRY_PUBLICATION);
    ch = S("nowhere");
    CHECK(ngx_centrifugo_hub_announce(&b, &ch, NGX_CENTRIFUGO_ENTRY_LEAVE,
                                      &info, 5) == NGX_DECLINED);

    /* a channel stays for those who are present, and goes with the last */

    CHECK(join(&b, "stays") == NGX_OK);
    CHECK(add(&b, "stays", 1, 10, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
    CHECK(add(&b, "stays", 2, 3000, 0) == NGX_OK);
    leave(&b, "stays");
    CHECK(whole(&a) && read_all(&a, "stays", NULL) == 2);
    CHECK(add(&b, "stays", 3, 10, 0) == NGX_ERROR);
    CHECK(take(&b, "stays", 2) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == CHANNELS + 1 && st.presence == 1);
    CHECK(take(&b, "stays", 1) == NGX_OK && whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == CHANNELS && st.channel_bytes == base.channel_bytes
          && st.presence == 0);

    /* hashes of users: equal for equal ones only */

    for (i = 0; i < 700; i++) {
        CHECK(add(&a, "bb", 1 + i, 10, 0) == NGX_OK);
    }

    ch = S("bb");
    memset(&cursor, 0, sizeof(cursor));
    got = 0;

    do {
        rc = ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, users, 300,
                                               &n);
        CHECK((rc == NGX_OK || rc == NGX_AGAIN) && n <= 256);

        for (i = 100; i < n; i++) {
            CHECK(users[i] == users[i - 100] && users[i] != users[i - 1]);
        }

        got += n;
    } while (rc == NGX_AGAIN);

    CHECK(got == 700);
    memset(&cursor, 0, sizeof(cursor));
    CHECK(ngx_centrifugo_hub_presence_users(&a, &ch, &cursor, users, 1, &n)
          == NGX_AGAIN && n == 1);

    /* who is gone is taken out by the reaper, with a leave for each */

    if (fork() == 0) {
        ngx_centrifugo_hub_t  dead;

        enter(&dead);
        CHECK(join(&dead, "ccc") == NGX_OK && join(&dead, "mine") == NGX_OK);

        for (i = 0; i < 300; i++) {
            CHECK(add(&dead, i % 3 ? "ccc" : "mine", 1000 + i, i * 20,
                      NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
        }

        CHECK(tally(&dead, 0, "u", 3, 0) == NGX_OK);
        CHECK(tally(&dead, 1, "u", 3, 0) == NGX_OK);
        _exit(unit_failed);
    }

    (void) wait(NULL);
    *next_client = 2000;
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 1 && st.presence == 1000);
    CHECK(read_all(&a, "ccc", NULL) == 200 && read_all(&a, "mine", NULL) == 100);
    CHECK(reap_all(&a) == 1 && whole(&a));
    read_log(&a);
    CHECK(marks.joins == 200 && marks.leaves == 200 && marks.wrong == 0);
    CHECK(ngx_centrifugo_hub_wake(&a) == 1);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 0 && st.presence == 700 && st.channels == CHANNELS);

    (void) ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                            sizeof(buf), &len);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


static void
tallies(void)
{
    char                       key[1100];
    uint64_t                   mask[NGX_CENTRIFUGO_MASK_WORDS];
    ngx_str_t                  k;
    ngx_uint_t                 i;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_hub_stat_t  st;

    begin(&a);
    enter(&b);

    CHECK(tally(&a, 0, "u", 0, 0) == NGX_OK);
    CHECK(tally(&a, 0, "u", 2, 3) == NGX_OK);
    CHECK(tally(&b, 0, "u", 2, 3) == NGX_DECLINED);
    CHECK(tally(&b, 0, "u", 1, 3) == NGX_OK);
    CHECK(tally(&b, 1, "u", 7, 7) == NGX_OK);
    CHECK(tally(&a, 0, "u", 3, 3) == NGX_DECLINED);
    CHECK(tally(&a, 0, "u", 3, 4) == NGX_OK);
    CHECK(tally(&a, 0, "u", 0xffffffff, 0xffffffff) == NGX_DECLINED);
    CHECK(tally(&b, 0, "v", 1, 1) == NGX_OK);
    CHECK(tally(&b, 0, "", 1, 1) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 3 && st.channels == CHANNELS && whole(&a));

    k = S("u");
    ngx_centrifugo_hub_tally_slots(&a, 0, &k, mask);
    CHECK(mask[0] == 3 && mask[1] == 0);
    ngx_centrifugo_hub_tally_slots(&a, 1, &k, mask);
    CHECK(mask[0] == 2);
    k = S("w");
    ngx_centrifugo_hub_tally_slots(&a, 0, &k, mask);
    CHECK(mask[0] == 0);

    CHECK(tally(&a, 0, "u", 0, 1) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 3);
    CHECK(tally(&b, 0, "u", 0, 0) == NGX_OK);
    CHECK(tally(&b, 0, "", 0, 0) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users == 1 && whole(&a));

    memset(key, 'k', sizeof(key));
    k.data = (u_char *) key;
    k.len = NGX_CENTRIFUGO_NAME_MAX + 1;
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 1, 0) == NGX_ERROR);
    k.len--;
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 1, 0) == NGX_OK);
    CHECK(ngx_centrifugo_hub_tally_set(&a, 0, &k, 0, 0) == NGX_OK);

    /* what was wiped is put back; until then everybody may have some */

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%lu", (unsigned long) i);
        CHECK(tally(&a, 0, key, 5, 0) == NGX_OK);
    }

    ngx_centrifugo_hub_test_wipe(&b, 1);
    CHECK(whole(&a) && ngx_centrifugo_hub_resync_check(&a) == 2);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users < 101 && st.users > 0);
    (void) ngx_centrifugo_hub_resync_begin(&a);

    for (i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%lu", (unsigned long) i);
        k = S(key);
        ngx_centrifugo_hub_tally_slots(&b, 0, &k, mask);
        CHECK(mask[0] == 1 || mask[0] == 3);

        if (ngx_centrifugo_hub_resync_tally(&a, 0, &k, 5) == NGX_OK) {
            CHECK(mask[0] == 3);
        }
    }

    (void) ngx_centrifugo_hub_resync_end(&a);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.users >= 100 && whole(&a));

    /* a full zone */

    for (i = 0; i < 1000000; i++) {
        snprintf(key, sizeof(key), "%1000lu", (unsigned long) i);
        if (tally(&b, 0, key, 1, 0) != NGX_OK) {
            CHECK(tally(&b, 0, key, 1, 0) == NGX_BUSY);
            break;
        }
    }

    CHECK(i > 1000 && i < 100000 && whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 1 && st.pages_free == 0);
    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * No page is left when some items of an entry were taken: nothing stays.
 */

static void
full(void)
{
    char                       name[1000];
    ngx_int_t                  rc;
    ngx_uint_t                 i, free, ok, declined;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_hub_stat_t  st, before;

    begin(&a);
    ok = declined = 0;

    for (i = 0; /* void */ ; i++) {
        snprintf(name, sizeof(name), "%999lu", (unsigned long) i);

        if (join(&a, name) != NGX_OK) {
            break;
        }
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.pages_free == 0);

    for (free = 0; free < 12; free++) {

        ngx_centrifugo_hub_stat(&a, &st);

        while (st.pages_free < free) {
            snprintf(name, sizeof(name), "%999lu", (unsigned long) --i);
            leave(&a, name);
            ngx_centrifugo_hub_stat(&a, &st);
        }

        CHECK(whole(&a));
        ngx_centrifugo_hub_stat(&a, &before);
        rc = add(&a, names[free % 4], 100 + free, 8192 - free * 40,
                 NGX_CENTRIFUGO_PRESENCE_ANNOUNCE);
        CHECK(rc == NGX_OK || rc == NGX_DECLINED);
        CHECK(whole(&a));
        ngx_centrifugo_hub_stat(&a, &st);

        if (rc == NGX_DECLINED) {
            declined++;
            CHECK(st.channel_bytes == before.channel_bytes
                  && st.presence == before.presence);

        } else {
            ok++;

            /* of a replacement the old one stays */

            while (st.pages_free) {
                snprintf(name, sizeof(name), "%999lu", (unsigned long) i);

                if (join(&a, name) == NGX_OK) {
                    i++;

                } else {
                    break;
                }

                ngx_centrifugo_hub_stat(&a, &st);
            }

            rc = add(&a, names[free % 4], 100 + free, 8192, 0);
            CHECK(rc == NGX_OK || rc == NGX_DECLINED);
            CHECK(read_all(&a, names[free % 4], NULL) == 1);
            CHECK(take(&a, names[free % 4], 100 + free) == NGX_OK);
        }

        CHECK(whole(&a));
    }

    CHECK(ok > 0 && declined > 1);
    *next_client = 1000;
    CHECK(compare(&a) == 0);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * Entries come and go while they are read, those where the reader stands
 * above all: who is there all the time is read once.
 */

static ngx_uint_t  times[4000];

static void
reading(void)
{
    enum { KEPT = 900, ALL = 4000 };
    static u_char                      buf[8196], there[ALL];
    size_t                             len, at;
    uint32_t                           size, c, last;
    ngx_int_t                          rc;
    ngx_str_t                          ch;
    ngx_uint_t                         i, k, round, calls;
    ngx_centrifugo_hub_t               a;
    ngx_centrifugo_hub_stat_t          st;
    ngx_centrifugo_presence_cursor_t   cursor;

    begin(&a);
    *next_client = ALL;
    srandom(3);
    ch = S("a");
    memset(there, 0, sizeof(there));

    /* every fourth stays */

    for (i = 0; i < KEPT * 4; i++) {
        if (i % 4 == 0 || random() % 2) {
            CHECK(add(&a, "a", i, random() % 60 ? random() % 200
                                                : random() % 8000, 0)
                  == NGX_OK);
            there[i] = 1;
        }
    }

    for (round = 0; round < 12; round++) {
        memset(&cursor, 0, sizeof(cursor));
        memset(times, 0, sizeof(times));
        calls = 0;
        last = 0;

        do {
            rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                                  sizeof(buf), &len);
            CHECK(rc == NGX_OK || rc == NGX_AGAIN);

            for (at = 0; at < len; at += 4 + size) {
                memcpy(&size, buf + at, 4);
                last = check_info(buf + at + 4, size);
                CHECK(last < ALL);
                times[last]++;
            }

            /* new ones, changed ones, and the one it stands at is gone */

            for (i = 0; i < 40 + round * 40; i++) {
                c = random() % (KEPT * 4);

                if (c % 4 == 0) {
                    CHECK(add(&a, "a", c, random() % 300, 0) == NGX_OK);

                } else if (there[c]) {
                    CHECK(take(&a, "a", c) == NGX_OK);
                    there[c] = 0;

                } else {
                    CHECK(add(&a, "a", c, random() % 300, 0) == NGX_OK);
                    there[c] = 1;
                }
            }

            if (last % 4 && there[last]) {
                CHECK(take(&a, "a", last) == NGX_OK);
                there[last] = 0;

                /* its memory may be another entry's at once */

                if (random() % 2) {
                    CHECK(add(&a, random() % 2 ? "a" : "bb", last,
                              random() % 100, 0) == NGX_OK);
                    (void) take(&a, "bb", last);
                    there[last] = (take(&a, "a", last) == NGX_OK);

                    if (there[last]) {
                        CHECK(add(&a, "a", last, 50, 0) == NGX_OK);
                    }
                }
            }

            calls++;
        } while (rc == NGX_AGAIN && calls < 10000);

        CHECK(calls < 10000);

        for (k = 0; k < KEPT; k++) {
            if (times[k * 4] != 1) {
                printf("entry %lu read %lu times\n", (unsigned long) k * 4,
                       (unsigned long) times[k * 4]);
                CHECK(0);
            }
        }
    }

    CHECK(whole(&a));

    /* a cursor of anything */

    for (i = 0; i < 20000; i++) {
        cursor.begun = 1;
        cursor.seq = random() % 20000;
        cursor.ref = (uint32_t) (i % 2 ? (uint64_t) random()
                                       : shm->pages_at / 16
                                         + random() % (shm->pages * 256));
        rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                              sizeof(buf), &len);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * A wipe takes entries without a leave; they are put back without a join.
 */

static void
wipe(void)
{
    size_t                            room;
    uint64_t                          id;
    ngx_str_t                         ch;
    ngx_uint_t                        i, n;
    ngx_centrifugo_hub_t              a;
    ngx_centrifugo_entrant_t         *e;
    ngx_centrifugo_record_t          *rec;
    ngx_centrifugo_hub_stat_t         st;

    begin(&a);
    *next_client = 100;

    for (i = 0; i < 20; i++) {
        CHECK(add(&a, names[i % 4], 1 + i, 100 + i * 200,
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE) == NGX_OK);
    }

    CHECK(compare(&a) == 20);
    ngx_centrifugo_hub_test_wipe(&a, NGX_CENTRIFUGO_TO_ALL);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.presence == 0 && st.channels == 0 && st.channel_bytes == 0
          && st.pages_free == st.pages && whole(&a));
    CHECK(take(&a, "a", 1) == NGX_DECLINED);

    (void) ngx_centrifugo_hub_resync_check(&a);
    (void) ngx_centrifugo_hub_resync_begin(&a);

    for (i = 0; i < CHANNELS; i++) {
        ch = S(names[i]);
        CHECK(ngx_centrifugo_hub_resync_rejoin(&a, &ch, &id) == NGX_OK);
        marks.id[i] = id;
    }

    for (i = 0; i < 20; i++) {
        CHECK(add(&a, names[i % 4], 1 + i, 100 + i * 200,
                  NGX_CENTRIFUGO_PRESENCE_ANNOUNCE
                  |NGX_CENTRIFUGO_PRESENCE_QUIET) == NGX_OK);
    }

    CHECK(ngx_centrifugo_hub_resync_end(&a) == NGX_OK);
    CHECK(compare(&a) == 20 && marks.joins == 20 && whole(&a));

    for (i = 0; i < 20; i++) {
        CHECK(take(&a, names[i % 4], 1 + i) == NGX_OK);
    }

    CHECK(compare(&a) == 0 && marks.leaves == 20 && whole(&a));

    /* what is damaged is noticed, never followed */

    for (i = 0; i < 6; i++) {
        ch = S("a");
        CHECK(join(&a, "a") == NGX_OK);
        CHECK(add(&a, "a", 1, 5000, 0) == NGX_OK);
        CHECK(add(&a, "a", 2, 100, 0) == NGX_OK);
        n = ngx_centrifugo_hash(shm->seed, ch.data, ch.len)
            & (shm->shards - 1);
        CHECK(ngx_centrifugo_shard_lock(&a, n) == NGX_OK);
        rec = ngx_centrifugo_shard_find(&a, n,
                                        ngx_centrifugo_hash(shm->seed,
                                                            ch.data, ch.len),
                                        &ch);
        CHECK(rec != NULL);
        e = ngx_centrifugo_page_item(shm, rec->presence, &room);

        switch (i) {
        case 0:
            e->older = rec->presence;
            break;
        case 1:
            e->older = 0xfffffff0;
            break;
        case 2:
            e->older = hub_ref(shm, rec);
            break;
        case 3:
            e = ngx_centrifugo_page_item(shm, e->older, &room);
            e->rest = 0;
            break;
        case 4:
            e->item.len = 9000;
            break;
        case 5:
            e = ngx_centrifugo_page_item(shm, e->older, &room);
            e = ngx_centrifugo_page_item(shm, e->rest, &room);
            e->item.next = hub_ref(shm, e);
            break;
        }

        ngx_centrifugo_shard_unlock(&a, n);
        ngx_centrifugo_hub_stat(&a, &st);
        id = st.wipes;

        {
            static u_char                     buf[20000];
            size_t                            len;
            ngx_int_t                         rc;
            ngx_centrifugo_presence_cursor_t  cursor;

            memset(&cursor, 0, sizeof(cursor));

            do {
                rc = ngx_centrifugo_hub_presence_read(&a, &ch, &cursor, buf,
                                                      sizeof(buf), &len);
            } while (rc == NGX_AGAIN);

            CHECK(rc == NGX_ERROR);
        }

        ngx_centrifugo_hub_stat(&a, &st);
        CHECK(st.wipes == id + 1 && whole(&a));
    }

    ngx_centrifugo_hub_exit(&a);
}


/* one step of what workers do */

static ngx_uint_t
work(ngx_centrifugo_hub_t *w, uint32_t *own, ngx_uint_t nown, size_t most)
{
    char        key[32];
    size_t      len;
    ngx_uint_t  k, c, flags;

    k = random() % nown;
    c = k % CHANNELS;
    flags = (c == CHANNELS - 1) ? 0 : NGX_CENTRIFUGO_PRESENCE_ANNOUNCE;
    len = random() % (random() % 8 ? 300 : most);

    snprintf(key, sizeof(key), "%s%ld", random() % 2 ? "key" : "k",
             random() % 60);

    switch (random() % 8) {

    case 0:
    case 1:
    case 2:

        if (own[k]) {
            CHECK(take(w, names[c], own[k]) == NGX_OK);
            own[k] = 0;
            break;
        }

        own[k] = __atomic_fetch_add(next_client, 1, __ATOMIC_RELAXED);
        CHECK(add(w, names[c], own[k], len, flags) == NGX_OK);
        break;

    case 3:

        if (own[k]) {
            CHECK(add(w, names[c], own[k], len, flags) == NGX_OK);
        }

        break;

    case 4:
        CHECK(read_all(w, names[c], NULL) < 100000);
        break;

    case 5:

        /* a channel of one's own, which goes with its last entry */

        snprintf(key, sizeof(key), "own%lu", (unsigned long) w->slot);
        CHECK(join(w, key) == NGX_OK);
        CHECK(add(w, key, 0, len, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);

        if (random() % 2) {
            leave(w, key);
            CHECK(take(w, key, 0) == NGX_OK);

        } else {
            CHECK(take(w, key, 0) == NGX_OK);
            leave(w, key);
        }

        break;

    default:
        k = random() % 8 ? 0 : 3;
        CHECK(tally(w, random() % 2, key, random() % 3, k) != NGX_ERROR);
    }

    return unit_failed == 0;
}


/*
 * A worker is killed at each point in turn; before anybody clears up, and
 * after it, the log tells of the entries.
 */

static void
busy(uint64_t *cell, ngx_uint_t point, ngx_uint_t nth)
{
    uint32_t              own[40], i;
    ngx_uint_t            k, c;
    ngx_centrifugo_hub_t  w;

    unit_failed = 0;
    ngx_centrifugo_fault_arm(point, nth, cell);
    enter(&w);
    srandom(point * 100 + nth);
    memset(own, 0, sizeof(own));

    for (c = 0; c < CHANNELS; c++) {
        CHECK(join(&w, names[c]) == NGX_OK);
    }

    for (k = 0; k < 12; k++) {

        for (i = 0; i < 60; i++) {
            if (!work(&w, own, 40, 8000)) {
                _exit(1);
            }
        }

        CHECK(publish(&w, "a", "x") == NGX_OK);

        if (k % 4 == 0) {

            /* another's slot, left behind */

            if (fork() == 0) {
                ngx_centrifugo_hub_t  dead;

                ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
                enter(&dead);
                memset(own, 0, sizeof(own));

                for (c = 0; c < CHANNELS; c++) {
                    CHECK(join(&dead, names[c]) == NGX_OK);
                }

                for (i = 0; i < 30; i++) {
                    (void) work(&dead, own, 40, 8000);
                }

                _exit(0);
            }

            (void) wait(NULL);
            (void) reap_all(&w);
        }
    }

    _exit(unit_failed ? 1 : 0);
}


static ngx_uint_t
after(ngx_centrifugo_hub_t *me, ngx_centrifugo_hub_stat_t *base)
{
    ngx_uint_t                 ok;
    ngx_centrifugo_hub_stat_t  st;

    /* before the dead one is even noticed */

    ok = whole(me);
    (void) compare(me);

    CHECK(publish(me, "bb", "after") == NGX_OK);
    CHECK(reap_all(me) <= 6);

    ok &= whole(me) && compare(me) == 0;
    ngx_centrifugo_hub_stat(me, &st);
    ok &= (st.wipes == 0 && st.presence == 0 && st.users == 0
           && st.channels == CHANNELS
           && st.channel_bytes == base->channel_bytes
           && st.pages - st.pages_free
              <= shm->shards * NGX_CENTRIFUGO_CLASSES);

    return ok;
}


static void
points(void)
{
    int                        status;
    pid_t                      pid;
    uint64_t                  *cell;
    ngx_uint_t                 point, nth, killed;
    ngx_centrifugo_hub_t       me;
    ngx_centrifugo_hub_stat_t  base;
    static const ngx_uint_t    turns[] = { 1, 2, 3, 9, 24, 61, 140 };

    cell = map(4096);
    killed = 0;

    for (point = 0; point <= NGX_CENTRIFUGO_POINT_REAP_SHARD; point++) {

        if ((point >= NGX_CENTRIFUGO_POINT_WIPE_BEGUN
             && point <= NGX_CENTRIFUGO_POINT_WIPE_EMPTY)
            || point == NGX_CENTRIFUGO_POINT_BELL_PENDING
            || point == NGX_CENTRIFUGO_POINT_CONTROL_LOCKED
            || point == NGX_CENTRIFUGO_POINT_CLAIM_GENERATION)
        {
            continue;
        }

        ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
        begin(&me);
        ngx_centrifugo_hub_stat(&me, &base);

        for (nth = 0; nth < 7; nth++) {
            *cell = 0;
            pid = fork();

            if (pid == 0) {
                busy(cell, point, turns[nth]);
            }

            CHECK(waitpid(pid, &status, 0) == pid);
            CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

            if (!after(&me, &base)) {
                printf("point %s turn %lu\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turns[nth]);
                CHECK(0);
            }

            if (!WIFSIGNALED(status)) {
                if (nth == 0) {
                    printf("point %s is not passed\n",
                           ngx_centrifugo_fault_name(point));
                    CHECK(0);
                }

                break;
            }

            killed++;
        }

        CHECK(marks.joins > 0 && marks.leaves == marks.joins);
        ngx_centrifugo_hub_exit(&me);
    }

    printf("  %lu kills at points\n", (unsigned long) killed);
}


/*
 * A repair is killed, too: at each point while it repairs what a kill at
 * another left.
 */

static void
twice(void)
{
    int                        status;
    pid_t                      pid;
    uint64_t                  *cell, killed;
    ngx_uint_t                 first, point, n;
    ngx_centrifugo_hub_t       me, w;
    ngx_centrifugo_hub_stat_t  base;

    cell = map(4096);
    killed = 0;
    ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
    begin(&me);
    ngx_centrifugo_hub_stat(&me, &base);

    for (first = 0; first <= NGX_CENTRIFUGO_POINT_RING_LOGGED; first++) {

        if (first >= NGX_CENTRIFUGO_POINT_WIPE_BEGUN
            && first <= NGX_CENTRIFUGO_POINT_WIPE_EMPTY)
        {
            continue;
        }

        for (point = 0; point <= NGX_CENTRIFUGO_POINT_RING_LOGGED; point++) {
            *cell = 0;
            pid = fork();

            if (pid == 0) {
                busy(cell, first, 5 + point % 7);
            }

            CHECK(waitpid(pid, &status, 0) == pid);

            if (!WIFSIGNALED(status)) {
                break;
            }

            /* who comes next may die in what is left */

            *cell = 0;
            pid = fork();

            if (pid == 0) {
                enter(&w);
                ngx_centrifugo_fault_arm(point, 1, cell);

                for (n = 0; n < shm->shards; n++) {
                    if (ngx_centrifugo_shard_lock(&w, n) == NGX_OK) {
                        ngx_centrifugo_shard_unlock(&w, n);
                    }
                }

                (void) reap_all(&w);
                _exit(0);
            }

            CHECK(waitpid(pid, &status, 0) == pid);
            killed += WIFSIGNALED(status);

            if (!after(&me, &base)) {
                printf("point %s, then %s\n",
                       ngx_centrifugo_fault_name(first),
                       ngx_centrifugo_fault_name(point));
                CHECK(0);
            }
        }

        (void) after(&me, &base);
    }

    printf("  %lu kills of who repairs\n", (unsigned long) killed);
    ngx_centrifugo_hub_exit(&me);
}


/*
 * Four workers do anything and are killed at any moment, again and again.
 */

static void
kills(ngx_uint_t seconds)
{
    enum { WORKERS = 4 };
    int                        status;
    pid_t                      pid[WORKERS];
    time_t                     end;
    uint32_t                   own[40];
    ngx_uint_t                 c, k, round, kept, left;
    ngx_centrifugo_hub_t       me, w;
    ngx_centrifugo_hub_stat_t  st;

    begin(&me);
    end = time(NULL) + seconds;
    kept = 0;

    for (round = 0; time(NULL) < end; round++) {

        for (k = 0; k < WORKERS; k++) {
            pid[k] = fork();

            if (pid[k]) {
                continue;
            }

            srandom(getpid());
            usleep(random() % 1000);
            enter(&w);
            memset(own, 0, sizeof(own));

            for (c = 0; c < CHANNELS; c++) {
                CHECK(join(&w, names[c]) == NGX_OK);
            }

            for (c = 0; work(&w, own, 40, 3000); c++) {

                if (random() % 20 == 0) {
                    (void) publish(&w, "ccc", "x");
                }

                if (random() % 50 == 0) {
                    (void) reap_all(&w);
                }

                (void) ngx_centrifugo_hub_wake(&w);

                /* nothing may be lost: the test wants to read it all */

                while (shm->log.head - hub_member(shm, me.slot)->cursor
                       > LOG / 2)
                {
                    usleep(100);
                }
            }

            _exit(1);
        }

        /* one after the other, at any moment; who lives reaps */

        for (k = 0; k < WORKERS; k++) {
            usleep(random() % 8000);
            read_log(&me);
            CHECK(waitpid(pid[k], &status, WNOHANG) == 0);
            kill(pid[k], SIGKILL);
        }

        for (k = 0; k < WORKERS; k++) {
            CHECK(waitpid(pid[k], &status, 0) == pid[k]);
            CHECK(WIFSIGNALED(status));
        }

        if (!whole(&me)) {
            CHECK(0);
        }

        kept += compare(&me);
        left = reap_all(&me);
        CHECK(left <= WORKERS + 1);

        CHECK(whole(&me) && compare(&me) == 0);
        ngx_centrifugo_hub_stat(&me, &st);
        CHECK(st.wipes == 0 && st.presence == 0 && st.users == 0);
        CHECK(st.channels == CHANNELS);

        if (unit_failed) {
            break;
        }
    }

    printf("  %lu rounds, %lu joins, %lu entries left by the dead, "
           "%lu repairs\n", (unsigned long) round,
           (unsigned long) marks.joins, (unsigned long) kept,
           (unsigned long) (st.repairs[0] + st.repairs[1] + st.repairs[2]));
    CHECK(marks.joins > 100 && marks.joins == marks.leaves && kept > 0);
    ngx_centrifugo_hub_exit(&me);
}


int
main(int argc, char **argv)
{
    next_client = map(4096);

    basics();
    tallies();
    full();
    reading();
    wipe();
    points();
    twice();
    kills(argc > 1 ? strtoul(argv[1], NULL, 10) : 5);

    return UNIT_END();
}
