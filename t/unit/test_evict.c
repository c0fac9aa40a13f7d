/*
 * A zone that is full of history: publishing goes on, the oldest goes, what is
 * not history never lacks room, and in the end nothing is left of anything.
 *   test_evict [PUBLICATIONS]        of each kind of load
 */

#include <stddef.h>

static size_t  zone;

#define ZONE  zone

#include "unit_hub.h"
#include "unit_whole.h"

#include <time.h>


#define MB         (1024 * 1024)
#define CHANNELS   5000
#define KEPT       64               /* publications of one channel at most */
#define GUESTS     400              /* channels with subscribers at a time */


typedef struct {
    uint64_t    offset;
    uint64_t    seq;                /* of all publications */
    size_t      len;
} kept_t;

typedef struct {
    uint64_t    top;
    uint64_t    epoch;
    uint64_t    gone;               /* offset */
    kept_t      kept[KEPT];         /* by offset */
} channel_t;

typedef struct {
    size_t      zone;
    size_t      most;               /* bytes of one */
    ngx_uint_t  size;               /* of a history */
    ngx_uint_t  subscribed;         /* channels, of a hundred */
    ngx_uint_t  keys;               /* one of so many has one, 0: none */
} load_t;


static channel_t  channels[CHANNELS];
static u_char     bytes[300000];


static size_t
any_length(size_t most)
{
    size_t  top;

    /* as many of each order of magnitude */

    for (top = 40; top < most && random() % 3; top *= 4) { /* void */ }

    top = ngx_min(top, most);

    return 20 + random() % (top - 19);
}


static ngx_str_t
content(uint64_t seq, size_t len)
{
    ngx_str_t  s;

    s.data = bytes + seq * 7919 % 65536;
    s.len = len;

    return s;
}


static ngx_str_t
name_of(char *buf, const char *kind, uint64_t n)
{
    ngx_str_t  s;

    s.len = sprintf(buf, "%s%lu", kind, (unsigned long) n);
    s.data = (u_char *) buf;

    return s;
}


static ngx_int_t
store(ngx_centrifugo_hub_t *hub, load_t *load, ngx_uint_t c, uint64_t seq,
    size_t len, ngx_centrifugo_position_t *pos)
{
    char                              name[32], key[32];
    ngx_centrifugo_hub_publication_t  pub;

    memset(&pub, 0, sizeof(pub));
    pub.channel = name_of(name, "channel", c);
    pub.data = content(seq, len);
    pub.size = load->size;
    pub.ttl = 3600 * 1000;
    pub.meta_ttl = 7200 * 1000;

    if (load->keys && random() % load->keys == 0) {
        pub.key = name_of(key, "key", seq);
    }

    return ngx_centrifugo_hub_publish(hub, &pub, pos);
}


static ngx_int_t
put(ngx_centrifugo_hub_t *hub, load_t *load, ngx_uint_t c, uint64_t seq)
{
    size_t                      len;
    ngx_int_t                   rc;
    kept_t                     *kept;
    channel_t                  *ch;
    ngx_centrifugo_position_t   pos;

    ch = &channels[c];
    len = any_length(load->most);

    rc = store(hub, load, c, seq, len, &pos);

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        return rc;
    }

    CHECK(pos.epoch != 0);

    if (pos.epoch == ch->epoch) {
        CHECK(pos.offset == ch->top + 1);

    } else {
        CHECK(pos.offset == 1);
        memset(ch, 0, sizeof(*ch));
    }

    ch->epoch = pos.epoch;
    ch->top = pos.offset;

    kept = &ch->kept[pos.offset % KEPT];
    kept->offset = pos.offset;
    kept->seq = seq;
    kept->len = len;

    return rc;
}


/* Reads all that is left of a channel, which is the newest. */

static ngx_uint_t
read_channel(ngx_centrifugo_hub_t *hub, ngx_uint_t c)
{
    char                       name[32];
    size_t                     at;
    u_char                    *data;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    uint64_t                   expected;
    kept_t                    *kept;
    channel_t                 *ch;
    ngx_str_t                  s;
    ngx_centrifugo_stored_t   *p;
    ngx_centrifugo_history_t   h;
    static uint64_t            buf[40000];

    ch = &channels[c];
    memset(&h, 0, sizeof(h));
    h.channel = name_of(name, "channel", c);
    h.limit = NGX_CENTRIFUGO_ALL;
    h.buf = (u_char *) buf;
    h.size = sizeof(buf);
    n = 0;
    expected = 0;

    do {
        rc = ngx_centrifugo_hub_history(hub, &h);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);

        if (h.position.epoch != ch->epoch) {

            /* the stream itself is gone */

            CHECK(h.n == 0);
            return 0;
        }

        CHECK(h.position.offset == ch->top);

        for (at = 0; at < h.len; ) {
            p = (ngx_centrifugo_stored_t *) (h.buf + at);
            data = (u_char *) (p + 1);
            at += ngx_centrifugo_stored_size(p->info_len, p->tags_len,
                                             p->data_len);

            CHECK(expected == 0 || p->offset == expected);
            expected = p->offset + 1;

            kept = &ch->kept[p->offset % KEPT];
            s = content(kept->seq, kept->len);
            CHECK(kept->offset == p->offset && p->data_len == s.len
                  && memcmp(data, s.data, s.len) == 0);

            n++;
        }

    } while (rc == NGX_AGAIN && unit_failed == 0);

    CHECK(n == 0 || expected == ch->top + 1);

    return n;
}


/*
 * What has gone since the last time, but not because its list was full: how old
 * it was, in publications.
 */

static void
lost(ngx_centrifugo_hub_t *hub, load_t *load, uint64_t seq, uint64_t young,
    uint64_t *n)
{
    char                      name[32];
    kept_t                   *kept;
    uint64_t                  hash, offset, gone;
    ngx_str_t                 s;
    ngx_uint_t                c, shard;
    ngx_centrifugo_record_t  *rec;
    ngx_centrifugo_stream_t  *stream;

    for (c = 0; c < CHANNELS; c++) {
        s = name_of(name, "channel", c);
        hash = ngx_centrifugo_hash(shm->seed, s.data, s.len);
        shard = hub_shard_of(shm, hash);

        CHECK(ngx_centrifugo_shard_lock(hub, shard) == NGX_OK);
        rec = ngx_centrifugo_shard_find(hub, shard, hash, &s);
        stream = rec ? ngx_centrifugo_stream_find(hub, shard, rec) : NULL;
        gone = stream ? stream->state.top - stream->state.count
                      : channels[c].top;
        ngx_centrifugo_shard_unlock(hub, shard);

        for (offset = channels[c].gone + 1; offset <= gone; offset++) {
            kept = &channels[c].kept[offset % KEPT];

            if (kept->offset == offset
                && channels[c].top - offset < load->size)
            {
                n[0]++;
                n[1] += (seq - kept->seq < young);
            }
        }

        channels[c].gone = gone;
    }
}


/*
 * How many publications would be left if the very oldest had gone each time;
 * and how much of what is left is older.
 */

static uint64_t
newest(load_t *load, uint64_t seq, const size_t *lens, size_t *sum)
{
    uint64_t    cut;
    ngx_uint_t  c, k;
    size_t      left;

    *sum = 0;

    for (c = 0; c < CHANNELS; c++) {
        for (k = 1; k <= channels[c].top - channels[c].gone; k++) {
            *sum += channels[c].kept[(channels[c].gone + k) % KEPT].len;
        }
    }

    left = *sum;

    for (cut = seq; cut > 0 && left > lens[cut - 1]; cut--) {
        left -= lens[cut - 1];
    }

    left = 0;

    for (c = 0; c < CHANNELS; c++) {
        for (k = 1; k <= channels[c].top - channels[c].gone; k++) {
            if (channels[c].kept[(channels[c].gone + k) % KEPT].seq < cut) {
                left += channels[c].kept[(channels[c].gone + k) % KEPT].len;
            }
        }
    }

    *sum = left * 100 / ngx_max(*sum, 1);

    return seq - cut;
}


/* subscribers come to new channels and go */

static ngx_uint_t
guests(ngx_centrifugo_hub_t *hub, uint64_t n)
{
    char                   name[32];
    ngx_str_t              ch;
    ngx_centrifugo_join_t  j;

    if (n >= GUESTS) {
        ch = name_of(name, "a guest's channel ", n - GUESTS);
        ngx_centrifugo_hub_leave(hub, &ch);
    }

    ch = name_of(name, "a guest's channel ", n);
    memset(&j, 0, sizeof(j));
    j.meta_ttl = (n % 2) ? 60000 : 0;

    return ngx_centrifugo_hub_join(hub, &ch, &j, NULL, NULL) != NGX_OK;
}


static void
expire(ngx_centrifugo_hub_t *hub)
{
    while (ngx_centrifugo_hub_expire(hub) == NGX_AGAIN) { /* void */ }
}


/* everybody leaves, all expires: nothing is left, and no memory is lost */

static void
empty(ngx_centrifugo_hub_t *hub)
{
    uint64_t                   cursor;
    ngx_uint_t                 i;
    ngx_centrifugo_hub_stat_t  st;

    cursor = 0;

    while (ngx_centrifugo_hub_reap(hub, hub->slot, &cursor) == NGX_AGAIN) {
        /* void */
    }

    /* a stream that somebody was subscribed to is looked at once a minute */

    for (i = 0; i < 3; i++) {
        ngx_current_msec += 8000 * 1000;
        expire(hub);
    }

    CHECK(whole(hub));
    ngx_centrifugo_hub_stat(hub, &st);

    CHECK(st.channels == 0 && st.streams == 0 && st.publications == 0
          && st.results == 0 && st.presence == 0 && st.users == 0
          && st.history_bytes == 0 && st.item_bytes == 0
          && st.channel_bytes == 0);
    CHECK(st.pages - st.pages_free <= shm->shards * NGX_CENTRIFUGO_CLASSES);
    CHECK(st.wipes == 0);
}


static void
begin(ngx_centrifugo_hub_t *hub, size_t size)
{
    zone = size;
    memset(channels, 0, sizeof(channels));
    fresh(zone / 4);
    enter(hub);
}


static void
end(ngx_centrifugo_hub_t *hub)
{
    ngx_centrifugo_hub_exit(hub);
    munmap(shm, zone);
    shm = NULL;
}


static void
full(const char *what, load_t load, ngx_uint_t publications)
{
    char                       name[32];
    size_t                    *lens, older;
    uint64_t                   seq, ideal, n[2];
    ngx_str_t                  ch;
    ngx_int_t                  rc;
    ngx_uint_t                 c, failed, refused, joins, left;
    struct timespec            a, b;
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_hub_stat_t  st;

    begin(&hub, load.zone);
    lens = malloc(publications * sizeof(size_t));
    failed = 0;
    refused = 0;
    joins = 0;
    ideal = 0;
    n[0] = 0;
    n[1] = 0;

    for (c = 0; c < CHANNELS; c++) {
        if (c % 100 < load.subscribed) {
            ch = name_of(name, "channel", c);
            CHECK(unit_join(&hub, &ch, &j) == NGX_OK);
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &a);

    for (seq = 0; seq < publications && unit_failed == 0; seq++) {
        ngx_current_msec++;

        /* some channels more than others */

        c = random() % (random() % 2 ? CHANNELS : CHANNELS / 10);

        rc = put(&hub, &load, c, seq);
        lens[seq] = channels[c].kept[channels[c].top % KEPT].len;

        if (rc != NGX_OK && rc != NGX_DECLINED) {
            failed++;
            lens[seq] = 0;
            CHECK(rc == NGX_BUSY);
        }

        if (seq % 3 == 0) {
            refused += guests(&hub, joins++);
        }

        if (seq % 1000 == 0) {
            expire(&hub);
        }

        if (seq == publications / 2) {
            lost(&hub, &load, seq, 0, n);
            ideal = newest(&load, seq, lens, &older);
            n[0] = 0;
            n[1] = 0;

        } else if (ideal && seq % (ideal / 10 + 1) == 0) {

            /* what is lost was among the older half of what there is room
               for */

            lost(&hub, &load, seq, ideal / 2, n);
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &b);
    ngx_centrifugo_hub_stat(&hub, &st);

    lost(&hub, &load, seq, 0, n);
    ideal = newest(&load, seq, lens, &older);

    printf("  %s: %lu publications, %.2f us each, %lu failed; %lu joins, %lu "
           "refused\n    room for %lu, %lu%% is older; of %lu lost %lu were "
           "young\n    %lu of %lu pages free, %lu streams, %lu kept, evicted "
           "%lu results, %lu + %lu, %lu streams\n", what,
           (unsigned long) seq,
           ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / 1000 / seq,
           (unsigned long) failed, (unsigned long) joins,
           (unsigned long) refused, (unsigned long) ideal,
           (unsigned long) older, (unsigned long) n[0], (unsigned long) n[1],
           (unsigned long) st.pages_free, (unsigned long) st.pages,
           (unsigned long) st.streams, (unsigned long) st.publications,
           (unsigned long) st.evicted[0], (unsigned long) st.evicted[1],
           (unsigned long) st.evicted[2], (unsigned long) st.evicted[3]);

    CHECK(refused == 0 && failed == 0);
    CHECK(st.evicted[1] + st.evicted[2] > 1000 && st.evicted[3] == 0);

    /* with both kinds what nobody wants goes sooner */

    if (load.subscribed == 0 || load.subscribed == 100) {
        CHECK(n[1] * 100 <= n[0] && older < 50);
    }

    /* history leaves the spare pages alone */

    CHECK(st.pages_free + 4 >= st.pages / NGX_CENTRIFUGO_SPARE
          && st.pages_free < st.pages / 8);

    left = 0;

    for (c = 0; c < CHANNELS; c++) {
        left += read_channel(&hub, c);
    }

    CHECK(left == st.publications && whole(&hub));

    empty(&hub);
    free(lens);
    end(&hub);
}


static ngx_int_t
present(ngx_centrifugo_hub_t *hub, const ngx_str_t *channel, uint32_t n)
{
    u_char                     id[16];
    ngx_centrifugo_presence_t  p;

    memset(&p, 0, sizeof(p));
    memset(id, 0, sizeof(id));
    memcpy(id, &n, sizeof(n));

    p.channel = *channel;
    p.user = S("user");
    p.client = id;
    p.info.data = bytes;
    p.info.len = 100 + n % 2000;
    p.flags = NGX_CENTRIFUGO_PRESENCE_ANNOUNCE;

    return ngx_centrifugo_hub_presence_add(hub, &p, 1);
}


/*
 * History has filled all it may: clients come until nothing else is left; none
 * of them is refused before.  Then history has nothing, and who publishes
 * without it does not notice.
 */

static void
reserve(void)
{
    char                       name[64];
    uint64_t                   seq;
    ngx_str_t                  ch, data, none = ngx_null_string;
    ngx_int_t                  rc;
    ngx_uint_t                 i, busy;
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_hub_stat_t  st, before;
    load_t                     load = { 4 * MB, 3000, 20, 0, 0 };

    begin(&hub, load.zone);
    data = S("data");

    for (seq = 0; seq < 10000; seq++) {
        ngx_current_msec++;
        CHECK(put(&hub, &load, random() % 500, seq) == NGX_OK);
    }

    ngx_centrifugo_hub_stat(&hub, &before);
    CHECK(before.pages_free <= before.pages / NGX_CENTRIFUGO_SPARE + 4
          && before.pages_free + 4 >= before.pages / NGX_CENTRIFUGO_SPARE);

    busy = 0;

    for (i = 0; ; i++) {
        ngx_current_msec++;
        ch = name_of(name, "some channel with a longer name ", i);
        memset(&j, 0, sizeof(j));
        j.meta_ttl = (i % 4 == 0) ? 60000 : 0;

        if (ngx_centrifugo_hub_join(&hub, &ch, &j, NULL, NULL) != NGX_OK
            || present(&hub, &ch, (uint32_t) i) != NGX_OK
            || ngx_centrifugo_hub_tally_set(&hub, NGX_CENTRIFUGO_TALLY_USER,
                                            &ch, 1, 0)
               != NGX_OK)
        {
            break;
        }

        CHECK(unit_publish(&hub, &ch, &none, &data, 0, 1) == NGX_OK);

        if (i % 10 == 0) {
            rc = put(&hub, &load, random() % 500, seq++);
            CHECK(rc == NGX_OK || rc == NGX_BUSY);
            busy += (rc != NGX_OK);
        }
    }

    ngx_centrifugo_hub_stat(&hub, &st);

    printf("  %lu clients in %lu pages, %lu of %lu publications found no room; "
           "%lu are left, and %lu streams, evicted %lu and %lu streams\n",
           (unsigned long) i,
           (unsigned long) (st.pages - st.pages_free), (unsigned long) busy,
           (unsigned long) (i / 10), (unsigned long) st.publications,
           (unsigned long) st.streams,
           (unsigned long) st.evicted[1], (unsigned long) st.evicted[3]);

    CHECK(st.wipes == 0 && whole(&hub));
    CHECK(i * 1300 > st.pages * NGX_CENTRIFUGO_PAGE * 8 / 10);
    CHECK(st.publications == 0 && st.streams <= i / 4 + 50);
    CHECK(busy <= 5);

    /* with the last one's place there is room for a client again */

    CHECK(put(&hub, &load, 1, seq) == NGX_BUSY);
    ch = name_of(name, "some channel with a longer name ", 7);
    CHECK(unit_publish(&hub, &ch, &none, &data, 0, 1) == NGX_OK);

    empty(&hub);
    end(&hub);
}


/*
 * Channels that are published to only once: their streams do not take all, the
 * oldest of them go.
 */

static void
once(ngx_uint_t channels)
{
    char                              name[32];
    uint64_t                          oldest;
    ngx_uint_t                        i, failed, young;
    struct timespec                   a, b;
    ngx_centrifugo_hub_t              hub;
    ngx_centrifugo_history_t          h;
    ngx_centrifugo_position_t         pos;
    ngx_centrifugo_hub_stat_t         st;
    ngx_centrifugo_hub_publication_t  pub;

    begin(&hub, 8 * MB);
    clock_gettime(CLOCK_MONOTONIC, &a);
    failed = 0;

    for (i = 0; i < channels; i++) {
        ngx_current_msec++;
        memset(&pub, 0, sizeof(pub));
        pub.channel = name_of(name, "once", i);
        pub.data = content(i, 100 + i % 100);
        pub.size = 10;
        pub.ttl = 3600 * 1000;
        pub.meta_ttl = 7200 * 1000;

        failed += (ngx_centrifugo_hub_publish(&hub, &pub, &pos) != NGX_OK);
    }

    clock_gettime(CLOCK_MONOTONIC, &b);
    ngx_centrifugo_hub_stat(&hub, &st);
    oldest = channels;
    young = 0;

    for (i = channels; i-- > 0; ) {
        memset(&h, 0, sizeof(h));
        h.channel = name_of(name, "once", i);
        CHECK(ngx_centrifugo_hub_history(&hub, &h) == NGX_OK);

        if (h.position.offset) {
            oldest = i;
            young += (channels - i <= st.streams * 3 / 2);
        }
    }

    printf("  %lu channels, %.2f us each, %lu failed; %lu are left, the oldest "
           "of the last %lu, %lu%% of the last %lu; %lu publications\n",
           (unsigned long) channels,
           ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / 1000
           / channels, (unsigned long) failed, (unsigned long) st.streams,
           (unsigned long) (channels - oldest),
           (unsigned long) (young * 100 / st.streams),
           (unsigned long) (st.streams * 3 / 2),
           (unsigned long) st.publications);

    CHECK(failed == 0 && st.wipes == 0 && whole(&hub));
    CHECK(st.streams > 10000 && st.publications > 5000);
    CHECK(channels - oldest < st.streams * 3 && young > st.streams * 3 / 4);

    empty(&hub);
    end(&hub);
}


/* a worker in a full zone, until it dies of it */

static void
busy(ngx_uint_t point, ngx_uint_t nth, uint64_t *cell)
{
    ngx_uint_t                 i, c;
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_position_t  pos;
    load_t                     load = { 4 * MB, 20480, 10, 0, 5 };

    srandom((unsigned) (point * 100 + nth));
    enter(&hub);
    ngx_centrifugo_fault_arm(point, nth, cell);

    for (i = 0; i < 3000; i++) {
        ngx_current_msec += 5;
        cell[1] = ngx_current_msec;
        c = random() % (random() % 2 ? CHANNELS : 20);

        (void) store(&hub, &load, c, random(), any_length(load.most), &pos);

        if (i % 4 == 0) {
            (void) guests(&hub, GUESTS * nth + i / 4);
        }

        if (i % 50 == 0) {
            if (i == 100) {
                ngx_current_msec += 4000 * 1000;
                cell[1] = ngx_current_msec;
            }

            expire(&hub);
        }

        (void) ngx_centrifugo_hub_wake(&hub);
    }

    _exit(0);
}


/*
 * Killed at each point that an eviction or an expiry passes: what is left is
 * whole, and whoever comes next goes on with it.
 */

static void
points(void)
{
    int                        status;
    pid_t                      pid;
    uint64_t                  *cell;
    ngx_uint_t                 point, i, killed, n;
    ngx_centrifugo_hub_t       me;
    ngx_centrifugo_position_t  pos;
    ngx_centrifugo_hub_stat_t  st;
    load_t                     load = { 4 * MB, 20480, 10, 0, 5 };
    static const ngx_uint_t    turns[] = { 1, 4, 33, 250 };
    static const ngx_uint_t    range[][2] = {
        { NGX_CENTRIFUGO_POINT_PAGE_NAMED, NGX_CENTRIFUGO_POINT_LIST_STORED },
        { NGX_CENTRIFUGO_POINT_RECORD_LINK,
          NGX_CENTRIFUGO_POINT_RECORD_UNLINKED },
        { NGX_CENTRIFUGO_POINT_CHAIN_ITEM, NGX_CENTRIFUGO_POINT_CHAIN_FREED },
        { NGX_CENTRIFUGO_POINT_STREAM_CLEAR,
          NGX_CENTRIFUGO_POINT_STREAM_CLEAR },
        { NGX_CENTRIFUGO_POINT_TRIM_BEGUN, NGX_CENTRIFUGO_POINT_REMOVE_DONE },
        { NGX_CENTRIFUGO_POINT_DUE_LINK, NGX_CENTRIFUGO_POINT_EVICT_ITEM }
    };

    cell = map(4096);
    killed = 0;
    begin(&me, load.zone);

    for (i = 0; i < 5000; i++) {
        ngx_current_msec++;
        CHECK(store(&me, &load, random() % CHANNELS, i,
                    any_length(load.most), &pos)
              == NGX_OK);
    }

    for (n = 0; n < sizeof(range) / sizeof(range[0]); n++) {
        for (point = range[n][0]; point <= range[n][1]; point++) {
            for (i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
                *cell = 0;
                pid = fork();

                if (pid == 0) {
                    busy(point, turns[i], cell);
                }

                CHECK(waitpid(pid, &status, 0) == pid);
                CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

                if (i == 0 && !WIFSIGNALED(status)) {
                    printf("point %s is not passed\n",
                           ngx_centrifugo_fault_name(point));
                    CHECK(0);
                }

                killed += WIFSIGNALED(status) ? 1 : 0;
                ngx_current_msec = cell[1];

                CHECK(whole(&me));
                (void) reap_all(&me);
                ngx_centrifugo_hub_stat(&me, &st);

                if (st.wipes || unit_failed) {
                    printf("point %s turn %lu\n",
                           ngx_centrifugo_fault_name(point),
                           (unsigned long) turns[i]);
                    CHECK(0);
                    return;
                }
            }
        }
    }

    printf("  %lu kills, %lu publications and %lu streams evicted, %lu "
           "histories and %lu streams expired\n", (unsigned long) killed,
           (unsigned long) (st.evicted[1] + st.evicted[2]),
           (unsigned long) st.evicted[3], (unsigned long) st.expired[1],
           (unsigned long) st.expired[2]);

    CHECK(st.evicted[1] > 1000 && st.expired[1] > 1000);

    empty(&me);
    end(&me);
}


/*
 * Several at once, each of which is killed at any moment; their clocks are not
 * the same either.
 */

static void
kills(ngx_uint_t rounds)
{
    enum { WORKERS = 3 };
    int                        status;
    pid_t                      pid[WORKERS];
    uint64_t                  *cell;
    ngx_uint_t                 i, k;
    ngx_centrifugo_hub_t       me;
    ngx_centrifugo_hub_stat_t  st;

    cell = map(4096);
    begin(&me, 4 * MB);
    cell[1] = ngx_current_msec;

    for (i = 0; i < rounds; i++) {

        for (k = 0; k < WORKERS; k++) {
            pid[k] = fork();

            if (pid[k] == 0) {
                ngx_current_msec = cell[1] + k * 1500;
                busy(NGX_CENTRIFUGO_POINT_N, i * WORKERS + k, cell);
            }
        }

        usleep(20000 + random() % 60000);

        for (k = 0; k < WORKERS; k++) {
            usleep(random() % 3000);
            kill(pid[k], SIGKILL);
        }

        for (k = 0; k < WORKERS; k++) {
            CHECK(waitpid(pid[k], &status, 0) == pid[k]);
            CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        }

        CHECK(whole(&me));
        (void) reap_all(&me);
        ngx_centrifugo_hub_stat(&me, &st);
        CHECK(st.wipes == 0);

        if (unit_failed) {
            break;
        }
    }

    printf("  %lu rounds, %lu repairs, %lu evicted\n", (unsigned long) i,
           (unsigned long) st.repairs[0],
           (unsigned long) (st.evicted[1] + st.evicted[2]));

    ngx_current_msec = cell[1] + 10000;
    empty(&me);
    end(&me);
}


int
main(int argc, char **argv)
{
    ngx_uint_t  n, i;

    setvbuf(stdout, NULL, _IONBF, 0);
    srandom(5);
    n = argc > 1 ? strtoul(argv[1], NULL, 10) : 40000;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (u_char) random();
    }

    ngx_current_msec = 100000;

    full("all sizes", (load_t) { 8 * MB, 20480, 10, 0, 0 }, n);
    full("half of them subscribed", (load_t) { 8 * MB, 20480, 10, 50, 0 }, n);
    full("all subscribed, 4m", (load_t) { 4 * MB, 20480, 10, 100, 0 }, n);
    full("small ones", (load_t) { 8 * MB, 200, 60, 20, 0 }, n * 2);
    full("with keys", (load_t) { 8 * MB, 2000, 10, 20, 2 }, n);
    full("huge ones", (load_t) { 8 * MB, 200000, 10, 20, 0 }, n / 4);

    reserve();
    once(2 * n);
    points();
    kills(argc > 1 ? n / 100 : 12);

    return UNIT_END();
}
