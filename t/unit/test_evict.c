/*
 * A zone that is full of history: publishing goes on, the oldest goes, what is
 * not history never lacks room, and in the end nothing is left of anything.
 *   test_evict [PUBLICATIONS]
 */

#ifndef ZONE
#define ZONE  (8 * 1024 * 1024)
#endif

#include "unit_hub.h"

#include <time.h>


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
    kept_t      kept[KEPT];         /* by offset */
} channel_t;

typedef struct {
    ngx_uint_t  publications;
    size_t      most;               /* bytes of one */
    ngx_uint_t  size;               /* of a history */
    ngx_uint_t  subscribed;         /* channels, of a hundred */
    ngx_uint_t  keys;               /* one of so many has one, 0: none */
} load_t;


static channel_t  channels[CHANNELS];
static u_char     bytes[65536];


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

    s.data = bytes + seq * 7919 % 32768;
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
put(ngx_centrifugo_hub_t *hub, load_t *load, ngx_uint_t c, uint64_t seq)
{
    char                              name[32], key[32];
    size_t                            len;
    ngx_int_t                         rc;
    kept_t                           *kept;
    channel_t                        *ch;
    ngx_centrifugo_position_t         pos;
    ngx_centrifugo_hub_publication_t  pub;

    ch = &channels[c];
    len = any_length(load->most);

    memset(&pub, 0, sizeof(pub));
    pub.channel = name_of(name, "channel", c);
    pub.data = content(seq, len);
    pub.size = load->size;
    pub.ttl = 3600 * 1000;
    pub.meta_ttl = 7200 * 1000;

    if (load->keys && random() % load->keys == 0) {
        pub.key = name_of(key, "key", seq);
    }

    rc = ngx_centrifugo_hub_publish(hub, &pub, &pos);

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


/*
 * Reads all that is left of a channel, which is the newest; returns how many,
 * and adds what they are to `found`.
 */

typedef struct {
    ngx_uint_t  n;
    size_t      bytes;
    uint64_t   *seqs;
    size_t     *lens;
} found_t;

static ngx_uint_t
read_channel(ngx_centrifugo_hub_t *hub, ngx_uint_t c, found_t *found)
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
    static uint64_t            buf[16384];

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

            if (found) {
                found->seqs[found->n] = kept->seq;
                found->lens[found->n++] = kept->len;
                found->bytes += kept->len;
            }

            n++;
        }

    } while (rc == NGX_AGAIN && unit_failed == 0);

    CHECK(n == 0 || expected == ch->top + 1);

    return n;
}


static int
newest_first(const void *a, const void *b)
{
    uint64_t  x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x < y) - (x > y);
}


/*
 * How much older the survivors are than those that would be left if the very
 * oldest had gone each time.
 */

static double
ages(ngx_centrifugo_hub_t *hub, load_t *load, uint64_t seq, size_t *lens)
{
    size_t      sum, old;
    uint64_t    cut;
    found_t     found;
    ngx_uint_t  c;

    found.seqs = malloc(CHANNELS * load->size * sizeof(uint64_t));
    found.lens = malloc(CHANNELS * load->size * sizeof(size_t));
    found.n = 0;
    found.bytes = 0;

    for (c = 0; c < CHANNELS; c++) {
        (void) read_channel(hub, c, &found);
    }

    qsort(found.seqs, found.n, sizeof(uint64_t), newest_first);

    for (cut = seq, sum = 0; cut > 0 && sum < found.bytes; ) {
        sum += lens[--cut];
    }

    for (c = 0, old = 0; c < found.n; c++) {
        old += (found.seqs[c] < cut) ? lens[found.seqs[c]] : 0;
    }

    printf("    %lu kept, %lu bytes; the last %lu would be, %.1f%% of these "
           "are in older ones; ages of the half %lu, of 90%% %lu, of all %lu\n",
           (unsigned long) found.n, (unsigned long) found.bytes,
           (unsigned long) (seq - cut), old * 100.0 / ngx_max(found.bytes, 1),
           (unsigned long) (seq - found.seqs[found.n / 2]),
           (unsigned long) (seq - found.seqs[found.n * 9 / 10]),
           (unsigned long) (seq - found.seqs[found.n - 1]));

    free(found.seqs);
    free(found.lens);

    return old * 100.0 / ngx_max(found.bytes, 1);
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


static void
full(const char *what, load_t load)
{
    char                       name[32];
    size_t                    *lens;
    double                     old;
    uint64_t                   seq;
    ngx_str_t                  ch;
    ngx_int_t                  rc;
    ngx_uint_t                 c, failed, refused, joins;
    struct timespec            a, b;
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_hub_stat_t  st;

    memset(channels, 0, sizeof(channels));
    fresh(ZONE / 4);
    enter(&hub);
    lens = malloc(load.publications * sizeof(size_t));
    failed = 0;
    refused = 0;
    joins = 0;

    for (c = 0; c < CHANNELS; c++) {
        if (c % 100 < load.subscribed) {
            ch = name_of(name, "channel", c);
            CHECK(unit_join(&hub, &ch, &j) == NGX_OK);
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &a);

    for (seq = 0; seq < load.publications && unit_failed == 0; seq++) {
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
    }

    clock_gettime(CLOCK_MONOTONIC, &b);
    ngx_centrifugo_hub_stat(&hub, &st);

    printf("  %s: %lu publications, %.2f us each, %lu failed; %lu joins, %lu "
           "refused\n    pages %lu of %lu free; %lu streams, %lu publications,"
           " evicted %lu results %lu %lu publications %lu streams\n", what,
           (unsigned long) seq,
           ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / 1000 / seq,
           (unsigned long) failed, (unsigned long) joins,
           (unsigned long) refused, (unsigned long) st.pages_free,
           (unsigned long) st.pages, (unsigned long) st.streams,
           (unsigned long) st.publications, (unsigned long) st.evicted[0],
           (unsigned long) st.evicted[1], (unsigned long) st.evicted[2],
           (unsigned long) st.evicted[3]);

    old = ages(&hub, &load, seq, lens);
    (void) old;
    CHECK(st.wipes == 0 && refused == 0);

    free(lens);
    ngx_centrifugo_hub_exit(&hub);
}


int
main(int argc, char **argv)
{
    ngx_uint_t  n, i;

    setvbuf(stdout, NULL, _IONBF, 0);
    srandom(5);
    n = argc > 1 ? strtoul(argv[1], NULL, 10) : 60000;

    for (i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (u_char) random();
    }

    ngx_current_msec = 100000;

    full("all sizes", (load_t) { n, 20480, 10, 0, 0 });
    full("half subscribed", (load_t) { n, 20480, 10, 50, 0 });
    full("all subscribed", (load_t) { n, 20480, 10, 100, 0 });
    full("small ones", (load_t) { n, 200, 60, 20, 0 });
    full("keys", (load_t) { n, 2000, 10, 20, 2 });

    return UNIT_END();
}
