/*
 * Expiry: histories, streams and results go in their time, not before and not
 * long after; and how much fits into a zone.
 */

#define ZONE  (256 * 1024 * 1024UL)

#include "unit_hub.h"
#include "unit_whole.h"


#define CHANNELS  300


typedef struct {
    ngx_uint_t  subscribed;
    uint64_t    expire;             /* of the history, 0: has none */
    uint64_t    meta;               /* of the stream, 0: there is none */
    uint64_t    top;
    uint64_t    floor;              /* what went because the list was full, or
                                       expired */
    uint64_t    epoch;
    uint64_t    left;               /* when the last subscriber did */
} channel_t;


static channel_t             channels[CHANNELS];
static ngx_centrifugo_hub_t  hub;


static ngx_str_t
name_of(char *buf, ngx_uint_t c)
{
    ngx_str_t  s;

    s.len = sprintf(buf, "channel-%08lu", (unsigned long) c);
    s.data = (u_char *) buf;

    return s;
}


static ngx_int_t
put(ngx_uint_t c, size_t len, ngx_msec_t ttl, ngx_msec_t meta_ttl,
    ngx_uint_t size, const char *key, ngx_centrifugo_position_t *pos)
{
    char                              name[32];
    static u_char                     data[3000];
    ngx_centrifugo_hub_publication_t  pub;

    memset(&pub, 0, sizeof(pub));
    pub.channel = name_of(name, c);
    pub.data.data = data;
    pub.data.len = len;
    pub.size = size;
    pub.ttl = ttl;
    pub.meta_ttl = meta_ttl;
    pub.key = S(key);

    return ngx_centrifugo_hub_publish(&hub, &pub, pos);
}


/* what a reader finds: how many publications, and where the stream stands */

static ngx_uint_t
visible(ngx_uint_t c, ngx_centrifugo_position_t *pos)
{
    char                       name[32];
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    static uint64_t            buf[30000];
    ngx_centrifugo_history_t   h;

    memset(&h, 0, sizeof(h));
    h.channel = name_of(name, c);
    h.limit = NGX_CENTRIFUGO_ALL;
    h.buf = (u_char *) buf;
    h.size = sizeof(buf);
    n = 0;

    do {
        rc = ngx_centrifugo_hub_history(&hub, &h);
        n += h.n;
    } while (rc == NGX_AGAIN);

    CHECK(rc == NGX_OK);
    *pos = h.position;

    return n;
}


static ngx_centrifugo_stream_t *
stream_of(ngx_uint_t c, ngx_uint_t *known)
{
    char                      name[32];
    uint64_t                  hash;
    ngx_str_t                 s;
    ngx_centrifugo_record_t  *rec;

    s = name_of(name, c);
    hash = ngx_centrifugo_hash(shm->seed, s.data, s.len);
    rec = ngx_centrifugo_shard_find(&hub, hub_shard_of(shm, hash), hash, &s);
    *known = (rec != NULL);

    return rec ? ngx_centrifugo_stream_find(&hub, hub_shard_of(shm, hash),
                                            rec)
               : NULL;
}


static ngx_uint_t
expire(void)
{
    ngx_int_t                  rc;
    ngx_uint_t                 calls;
    ngx_centrifugo_hub_stat_t  before, after;

    calls = 0;

    do {
        ngx_centrifugo_hub_stat(&hub, &before);
        rc = ngx_centrifugo_hub_expire(&hub);
        ngx_centrifugo_hub_stat(&hub, &after);
        calls++;

        /* one that is the last of a section may be in it and the next */

        CHECK(before.publications - after.publications <= 16 * 256);
        CHECK(before.streams - after.streams
              + before.results - after.results <= 16 * 256);
    } while (rc == NGX_AGAIN);

    CHECK(rc == NGX_OK && after.wipes == 0);

    return calls;
}


static void
exact(void)
{
    uint64_t                   epoch;
    ngx_uint_t                 i, known;
    ngx_centrifugo_hub_stat_t  st;
    ngx_centrifugo_position_t  pos, first;

    ngx_current_msec = 7300;
    fresh(1024 * 1024);
    enter(&hub);
    expire();

    for (i = 0; i < 5; i++) {
        CHECK(put(0, 100, 3000, 10000, 100, "", &first) == NGX_OK);
    }

    epoch = first.epoch;
    ngx_current_msec += 2999;
    expire();
    CHECK(visible(0, &pos) == 5 && pos.offset == 5 && pos.epoch == epoch);

    /* readers look at the clock, memory is freed with the next tick */

    ngx_current_msec += 1;
    CHECK(visible(0, &pos) == 0 && pos.offset == 5 && pos.epoch == epoch);
    ngx_current_msec += 1000;
    expire();
    ngx_centrifugo_hub_stat(&hub, &st);
    CHECK(st.publications == 0 && st.history_bytes == 0 && st.streams == 1);
    CHECK(st.expired[1] == 1 && st.expired[2] == 0);

    ngx_current_msec = 7300 + 9999;
    expire();
    CHECK(visible(0, &pos) == 0 && pos.offset == 5 && pos.epoch == epoch);
    ngx_current_msec += 1;
    CHECK(visible(0, &pos) == 0 && pos.offset == 0 && pos.epoch != epoch);
    first = pos;
    ngx_current_msec += 1000;
    expire();
    CHECK(stream_of(0, &known) == NULL && !known);
    ngx_centrifugo_hub_stat(&hub, &st);
    CHECK(st.streams == 0 && st.channels == 0 && st.expired[2] == 1);

    /* what a reader was told holds */

    CHECK(put(0, 100, 3000, 10000, 100, "", &pos) == NGX_OK);
    CHECK(pos.offset == 1 && pos.epoch == first.epoch);

    /* a later publication prolongs it all, a reader the position */

    for (i = 0; i < 20; i++) {
        ngx_current_msec += 2500;
        expire();
        CHECK(put(0, 100, 3000, 4000, 100, "", &pos) == NGX_OK);
        CHECK(visible(0, &pos) == i + 2);
    }

    ngx_centrifugo_hub_exit(&hub);
}


/* many at once, and a long one */

static void
many(void)
{
    char                       key[32];
    ngx_uint_t                 i, calls;
    ngx_centrifugo_hub_stat_t  st;
    ngx_centrifugo_position_t  pos, again;

    ngx_current_msec = 50000;
    fresh(1024 * 1024);
    enter(&hub);

    for (i = 0; i < 20000; i++) {
        sprintf(key, "k%lu", (unsigned long) i);
        CHECK(put(i % 6000, i % 300, 60000, 120000, i % 2 ? 1000 : 0,
                  i % 3 ? key : "", &pos)
              != NGX_ERROR);
        CHECK(put(7, 200, 20000, 120000, 100000, "", &pos) == NGX_OK);
    }

    CHECK(put(8, 10, 60000, 120000, 100, "once", &pos) == NGX_OK);
    ngx_current_msec += 299999;
    CHECK(put(8, 10, 60000, 120000, 100, "once", &again) == NGX_DONE
          && again.offset == pos.offset && again.epoch == pos.epoch);
    ngx_current_msec += 1;
    CHECK(put(8, 10, 60000, 120000, 100, "once", &again) == NGX_OK);

    ngx_current_msec += 2000;
    calls = expire();
    CHECK(calls >= 5);
    CHECK(whole(&hub));
    ngx_centrifugo_hub_stat(&hub, &st);
    CHECK(st.publications == 1 && st.streams == 1 && st.results == 1);
    CHECK(st.expired[0] == 13334 && st.expired[2] >= 3000);

    ngx_current_msec += 400000;
    expire();
    ngx_centrifugo_hub_stat(&hub, &st);
    CHECK(st.streams == 0 && st.channels == 0 && st.results == 0
          && st.item_bytes == 0 && st.channel_bytes == 0);

    ngx_centrifugo_hub_exit(&hub);
}


/*
 * Channels of any times, with subscribers that come and go, and a clock that
 * runs or jumps.
 */

static void
check(ngx_uint_t c, uint64_t looked)
{
    uint64_t                    now;
    ngx_uint_t                  n, known;
    channel_t                  *ch;
    ngx_centrifugo_position_t   pos;
    ngx_centrifugo_stream_t    *stream;

    ch = &channels[c];
    now = ngx_current_msec;

    /* who asks sees what is right at this moment */

    n = visible(c, &pos);

    if (ch->meta && (now < ch->meta || ch->subscribed)) {
        CHECK(pos.offset == ch->top && pos.epoch == ch->epoch);
        CHECK(n == (now < ch->expire ? ch->top - ch->floor : 0));

    } else {
        CHECK(pos.offset == 0 && n == 0);
    }

    /* and it is not kept for long, once somebody has looked */

    stream = stream_of(c, &known);
    CHECK(known || !ch->subscribed);

    if (stream == NULL) {
        CHECK(ch->meta == 0 || (now >= ch->meta && !ch->subscribed));

    } else {
        CHECK(looked < ch->expire + 1000 || stream->state.count == 0);
        CHECK(ch->subscribed || looked < ch->meta + 1000
              || looked < ch->left + 61000);
    }
}


static void
model(ngx_uint_t turns)
{
    char                        name[32];
    uint64_t                    now, looked, ttl, meta, size;
    ngx_str_t                   s;
    ngx_int_t                   rc;
    ngx_uint_t                  i, c;
    channel_t                  *ch;
    ngx_centrifugo_join_t       j;
    ngx_centrifugo_position_t   pos;

    ngx_current_msec = 123456;
    fresh(1024 * 1024);
    enter(&hub);
    memset(channels, 0, sizeof(channels));
    looked = 0;

    for (i = 0; i < turns && unit_failed == 0; i++) {
        c = random() % CHANNELS;
        ch = &channels[c];
        now = ngx_current_msec;
        s = name_of(name, c);

        switch (random() % 8) {

        case 0:
            ngx_current_msec += random() % (random() % 50 ? 3000 : 1000000);
            break;

        case 1:
        case 2:
            expire();
            looked = now;
            break;

        case 3:
            if (ch->subscribed) {
                ngx_centrifugo_hub_leave(&hub, &s);
                ch->subscribed = 0;
                ch->left = now;

                if (ch->top == 0) {
                    ch->meta = 0;
                }

                break;
            }

            memset(&j, 0, sizeof(j));
            j.meta_ttl = (random() % 2) ? 30000 : 0;
            CHECK(ngx_centrifugo_hub_join(&hub, &s, &j, NULL, NULL)
                  == NGX_OK);

            /* one that is over goes at once */

            if (now >= ch->meta) {
                memset(ch, 0, sizeof(*ch));
                ch->epoch = j.position.epoch;
            }

            if (j.meta_ttl) {
                CHECK(j.position.offset == ch->top
                      && (j.position.epoch == ch->epoch || ch->meta == 0));
                ch->epoch = j.position.epoch;
                ch->meta = ngx_max(ch->meta, now + j.meta_ttl);
            }

            ch->subscribed = 1;
            break;

        case 4:
            check(c, looked);
            break;

        default:
            ttl = 1 + random() % (random() % 2 ? 5000 : 200000);
            meta = 1 + random() % (random() % 2 ? 20000 : 600000);
            size = 1 + random() % 20;

            rc = put(c, random() % 100, ttl, meta, size, "", &pos);
            CHECK(rc == NGX_OK);

            if (ch->meta == 0 || (now >= ch->meta && !ch->subscribed)) {
                CHECK(pos.offset == 1
                      && (pos.epoch != ch->epoch || ch->top == 0));
                ch->top = 0;
                ch->floor = 0;
                ch->expire = 0;
                ch->epoch = pos.epoch;
            }

            CHECK(pos.offset == ch->top + 1 && pos.epoch == ch->epoch);

            if (now >= ch->expire) {
                ch->floor = ch->top;
            }

            ch->top++;
            ch->floor = ngx_max(ch->floor,
                                ch->top - ngx_min(ch->top, size));
            ch->expire = now + ttl;
            ch->meta = now + meta;
        }

        if (i % 5000 == 0) {
            CHECK(whole(&hub));
        }
    }

    CHECK(whole(&hub));
    ngx_centrifugo_hub_exit(&hub);
}


/* what the zone has room for */

static void
capacity(void)
{
    double                     bytes, free;
    ngx_uint_t                 i, k;
    ngx_centrifugo_hub_stat_t  st, empty;
    ngx_centrifugo_position_t  pos;

    ngx_current_msec = 1000;
    fresh(32 * 1024 * 1024);
    enter(&hub);
    ngx_centrifugo_hub_stat(&hub, &empty);

    for (k = 0; k < 10; k++) {
        for (i = 0; i < 100000; i++) {
            if (put(i, 64, 300000, 600000, 10, "", &pos) != NGX_OK) {
                break;
            }
        }

        CHECK(i == 100000);

        if (k == 0) {
            ngx_centrifugo_hub_stat(&hub, &empty);
        }
    }

    ngx_centrifugo_hub_stat(&hub, &st);
    bytes = (double) (st.pages - st.pages_free) * NGX_CENTRIFUGO_PAGE;
    free = (double) (empty.pages_free - st.pages_free) * NGX_CENTRIFUGO_PAGE;

    printf("  100000 channels with 10 publications of 64 bytes in %.1f of %.1f "
           "MB: %.0f bytes for a channel, %.1f for a publication, %.0f for "
           "channel and stream\n", bytes / 1048576,
           st.pages * NGX_CENTRIFUGO_PAGE / 1048576.0, bytes / 100000,
           free / 900000, bytes / 100000 - free / 90000);

    CHECK(st.publications == 1000000 && st.evicted[1] == 0);
    CHECK(free / 900000 <= 64 * 1.125 + 64);

    ngx_current_msec += 700000;
    expire();
    ngx_centrifugo_hub_stat(&hub, &st);
    CHECK(st.channels == 0 && st.channel_bytes == 0 && st.item_bytes == 0);
    ngx_centrifugo_hub_exit(&hub);
}


int
main(void)
{
    srandom(11);

    exact();
    many();
    model(300000);
    capacity();

    return UNIT_END();
}
