/*
 * Streams in the hub's shared memory, case by case: sizes, expiry, epochs, long
 * lists, readers while others publish, a full zone, a broken log, damage.
 */

#include "unit_stream.h"


#define BUF  (2 * 1024 * 1024)

static u_char                     data[LARGEST];
static uint64_t                   buf[BUF / 8];
static ngx_centrifugo_position_t  pos;      /* of the last publication */


static ngx_int_t
put_as(ngx_centrifugo_hub_t *hub, const char *channel, uint64_t number,
    size_t len, ngx_uint_t size, const char *key, uint64_t version)
{
    ngx_centrifugo_hub_publication_t  pub;

    content_fill(number, data, len);

    memset(&pub, 0, sizeof(pub));
    pub.channel = S(channel);
    pub.data.data = data;
    pub.data.len = len;
    pub.size = size;
    pub.ttl = 10000;
    pub.meta_ttl = 60000;
    pub.key = S(key);
    pub.version = version;

    return ngx_centrifugo_hub_publish(hub, &pub, &pos);
}


static ngx_int_t
put(ngx_centrifugo_hub_t *hub, const char *channel, uint64_t number,
    size_t len, ngx_uint_t size)
{
    return put_as(hub, channel, number, len, size, "", 0);
}


static void
ask(ngx_centrifugo_history_t *h, const char *channel)
{
    memset(h, 0, sizeof(*h));
    h->channel = S(channel);
    h->limit = NGX_CENTRIFUGO_ALL;
    h->buf = (u_char *) buf;
    h->size = BUF;
}


/* all of a history, each with the content of its offset; how many */

static ngx_uint_t
count(ngx_centrifugo_hub_t *hub, const char *channel, size_t len,
    ngx_centrifugo_position_t *position)
{
    size_t                    at;
    u_char                   *p;
    ngx_int_t                 rc;
    ngx_uint_t                n;
    ngx_centrifugo_stored_t   s;
    ngx_centrifugo_history_t  h;

    ask(&h, channel);
    n = 0;

    do {
        rc = ngx_centrifugo_hub_history(hub, &h);
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);

        for (at = 0; stored_next(&h, &at, &s, &p); n++) {
            CHECK(s.data_len == len && s.info_len == 0 && s.tags_len == 0);
            content_fill(s.offset, data, len);
            CHECK(memcmp(data, p, len) == 0);
        }
    } while (rc == NGX_AGAIN);

    if (position) {
        *position = h.position;
    }

    return n;
}


static ngx_int_t
follow(ngx_centrifugo_hub_t *hub, const char *channel, ngx_msec_t meta_ttl,
    ngx_centrifugo_position_t *position)
{
    ngx_int_t               rc;
    ngx_str_t               ch;
    ngx_centrifugo_join_t   join;

    ch = S(channel);
    memset(&join, 0, sizeof(join));
    join.meta_ttl = meta_ttl;
    rc = ngx_centrifugo_hub_join(hub, &ch, &join, NULL, NULL);

    if (position) {
        *position = join.position;
    }

    return rc;
}


static void
unfollow(ngx_centrifugo_hub_t *hub, const char *channel)
{
    ngx_str_t  ch;

    ch = S(channel);
    ngx_centrifugo_hub_leave(hub, &ch);
}


static void
expire(ngx_centrifugo_hub_t *hub, ngx_msec_t ms)
{
    ngx_int_t  rc;

    ngx_current_msec += ms;

    do {
        rc = ngx_centrifugo_hub_expire(hub);
    } while (rc == NGX_AGAIN);

    CHECK(rc == NGX_OK);
}


static ngx_centrifugo_stream_t *
stream_of(const char *channel)
{
    ngx_str_t                 ch;
    ngx_centrifugo_hub_t      hub;
    ngx_centrifugo_record_t  *rec;

    ch = S(channel);
    memset(&hub, 0, sizeof(hub));
    hub.shm = shm;

    rec = ngx_centrifugo_shard_find(&hub, shard_number(channel),
                                    shard_hash(channel), &ch);

    return rec ? ngx_centrifugo_shard_item(shm, rec->stream,
                                           NGX_CENTRIFUGO_ITEM_STREAM)
               : NULL;
}


/*
 * What is asked for makes nothing; epochs are letters, and come again only with
 * the same content.
 */

static void
epochs(void)
{
    size_t                     i;
    char                       name[32], letters[8];
    uint64_t                   first;
    ngx_str_t                  s;
    ngx_uint_t                 n, seen[128];
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_history_t   h;
    ngx_centrifugo_hub_stat_t  st;
    ngx_centrifugo_position_t  p, q;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);

    CHECK(count(&a, "none", 0, &p) == 0 && p.offset == 0 && p.epoch != 0);
    CHECK(count(&b, "none", 0, &q) == 0 && q.epoch == p.epoch);
    s = S("none");
    CHECK(ngx_centrifugo_hub_history_remove(&a, &s) == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == 0 && st.streams == 0 && st.channel_bytes == 0);

    /* a stream gets that one; without publications it goes with the last */

    CHECK(follow(&a, "none", 1000, &q) == NGX_OK && q.offset == 0
          && q.epoch == p.epoch);
    CHECK(follow(&b, "none", 0, &q) == NGX_OK && q.epoch == 0);
    CHECK(put(&a, "other", 1, 10, 1) == NGX_OK);
    unfollow(&a, "none");
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.streams == 2 && st.channels == 2 && whole(&a));
    unfollow(&b, "none");
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.streams == 1 && st.channels == 1 && whole(&a));
    CHECK(count(&b, "none", 0, &q) == 0 && q.epoch == p.epoch);

    /* with publications it stays, and then never comes again */

    CHECK(follow(&a, "none", 1000, NULL) == NGX_OK);
    CHECK(put(&b, "none", 1, 10, 5) == NGX_OK && pos.offset == 1
          && pos.epoch == p.epoch);
    unfollow(&a, "none");
    CHECK(count(&b, "none", 10, &q) == 1 && q.offset == 1
          && q.epoch == p.epoch);
    ngx_current_msec += 60000;
    CHECK(count(&b, "none", 10, &q) == 0 && q.offset == 0
          && q.epoch != p.epoch);
    first = q.epoch;
    expire(&a, 0);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.streams == 0 && st.channels == 0 && st.expired[2] == 2);
    CHECK(count(&b, "none", 10, &q) == 0 && q.epoch == first);
    CHECK(put(&b, "none", 1, 10, 5) == NGX_OK && pos.epoch == first);
    ngx_current_msec += 60000;
    CHECK(put(&b, "none", 1, 10, 5) == NGX_OK && pos.epoch != first
          && pos.epoch != p.epoch && pos.offset == 1);

    /* nor after a wipe */

    first = pos.epoch;
    ngx_centrifugo_hub_test_wipe(&a, NGX_CENTRIFUGO_TO_ALL);
    CHECK(count(&b, "none", 10, &q) == 0 && q.epoch != first && q.offset == 0);

    memset(seen, 0, sizeof(seen));

    for (n = 0; n < 13000; n++) {
        snprintf(name, sizeof(name), "%lu", (unsigned long) n);
        ask(&h, name);
        CHECK(ngx_centrifugo_hub_history(&a, &h) == NGX_OK);
        memcpy(letters, &h.position.epoch, 8);

        for (i = 0; i < 8; i++) {
            CHECK(letters[i] > 0);
            seen[(size_t) letters[i] % 128]++;
        }
    }

    for (i = 0; i < 128; i++) {
        CHECK((i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z')
              ? seen[i] > 1700 && seen[i] < 2300 : seen[i] == 0);
    }

    s.data = (u_char *) letters;
    s.len = 8;
    CHECK(ngx_centrifugo_epoch(&s) == h.position.epoch);
    s.len = 7;
    CHECK(ngx_centrifugo_epoch(&s) != h.position.epoch
          && ngx_centrifugo_epoch(&s) != 0);
    s = S("ABCDEFGHI");
    first = ngx_centrifugo_epoch(&s);
    CHECK(first != 0);
    s.len = 8;
    CHECK(ngx_centrifugo_epoch(&s) != first);
    s.len = 0;
    CHECK(ngx_centrifugo_epoch(&s) == 0);
    memset(letters, 0, 8);
    s.data = (u_char *) letters;
    s.len = 8;
    CHECK(ngx_centrifugo_epoch(&s) == first);

    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


static void
expiry(void)
{
    ngx_str_t                  ch;
    u_char                     id[16];
    ngx_uint_t                 i;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_history_t   h;
    ngx_centrifugo_hub_stat_t  st;
    ngx_centrifugo_presence_t  presence;
    ngx_centrifugo_position_t  p, q;

    fresh(1024 * 1024);
    enter(&a);

    for (i = 1; i <= 20; i++) {
        CHECK(put(&a, "c", i, 100, 10) == NGX_OK && pos.offset == i);
        ngx_current_msec += 1000;
    }

    /* the whole list, so long after the last publication */

    p = pos;
    CHECK(count(&a, "c", 100, &q) == 10 && q.offset == 20
          && q.epoch == p.epoch);
    ngx_current_msec += 8999;
    CHECK(count(&a, "c", 100, NULL) == 10);
    ngx_current_msec += 1;
    CHECK(count(&a, "c", 100, &q) == 0 && q.offset == 20
          && q.epoch == p.epoch);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 10);

    CHECK(put(&a, "c", 21, 100, 10) == NGX_OK && pos.offset == 21);
    CHECK(count(&a, "c", 100, NULL) == 1 && whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 1);

    /* the housekeeper frees them; a reader prolongs the rest */

    expire(&a, 12000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 0 && st.history_bytes == 0 && st.streams == 1);
    ask(&h, "c");
    h.meta_ttl = 60000;
    h.limit = 0;
    CHECK(ngx_centrifugo_hub_history(&a, &h) == NGX_OK
          && h.position.offset == 21);
    expire(&a, 59000);
    CHECK(count(&a, "c", 100, &q) == 0 && q.offset == 21
          && q.epoch == p.epoch);

    /* with a subscriber, and with somebody present, it is never over */

    CHECK(follow(&a, "c", 0, NULL) == NGX_OK);
    expire(&a, 1000000);
    CHECK(count(&a, "c", 100, &q) == 0 && q.epoch == p.epoch);
    ch = S("c");
    memset(&presence, 0, sizeof(presence));
    memset(id, 1, sizeof(id));
    presence.channel = ch;
    presence.client = id;
    presence.info = S("info");
    CHECK(ngx_centrifugo_hub_presence_add(&a, &presence, 1) == NGX_OK);
    unfollow(&a, "c");
    expire(&a, 1000000);
    CHECK(count(&a, "c", 100, &q) == 0 && q.epoch == p.epoch);
    CHECK(ngx_centrifugo_hub_presence_remove(&a, &ch, id, 1) == NGX_OK);
    CHECK(count(&a, "c", 100, &q) == 0 && q.epoch != p.epoch);
    CHECK(follow(&a, "c", 1000, &p) == NGX_OK && p.epoch == q.epoch);
    unfollow(&a, "c");
    expire(&a, 100000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.streams == 0 && st.channels == 0 && st.wipes == 0 && whole(&a));

    /* answers, too; the same key is another one in another channel */

    CHECK(put_as(&a, "c", 1, 10, 5, "key", 0) == NGX_OK);
    p = pos;
    CHECK(put_as(&a, "c", 2, 10, 5, "key", 0) == NGX_DONE
          && pos.offset == 1 && pos.epoch == p.epoch);
    CHECK(put_as(&a, "d", 3, 10, 5, "key", 0) == NGX_OK);
    CHECK(put_as(&a, "c", 3, 10, 0, "keys", 0) == NGX_DECLINED
          && pos.offset == 0);
    CHECK(put_as(&a, "c", 3, 10, 5, "keys", 0) == NGX_DONE
          && pos.offset == 0 && pos.epoch == 0);
    CHECK(put_as(&a, "nobody", 3, 10, 0, "keys", 0) == NGX_DECLINED);
    CHECK(put_as(&a, "nobody", 3, 10, 0, "keys", 0) == NGX_DONE);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.results == 4 && st.channels == 2 && whole(&a));
    ngx_current_msec += NGX_CENTRIFUGO_RESULT_TTL - 1;
    CHECK(put_as(&a, "c", 2, 10, 5, "key", 0) == NGX_DONE);
    ngx_current_msec += 1;
    CHECK(put_as(&a, "c", 2, 10, 5, "key", 0) == NGX_OK);
    CHECK(put_as(&a, "c", 2, 10, 5, "key", 0) == NGX_DONE && pos.offset == 1);
    expire(&a, 10000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.results == 1 && st.expired[0] == 4 && whole(&a));

    /* versions */

    CHECK(put_as(&a, "v", 1, 10, 5, "", 7) == NGX_OK);
    CHECK(put_as(&a, "v", 2, 10, 5, "k", 7) == NGX_DONE && pos.offset == 1);
    CHECK(put_as(&a, "v", 2, 10, 5, "k", 8) == NGX_OK && pos.offset == 2);
    CHECK(put_as(&a, "v", 2, 10, 5, "k", 9) == NGX_DONE && pos.offset == 2);
    CHECK(put_as(&a, "v", 3, 10, 5, "", 0) == NGX_OK);
    CHECK(put_as(&a, "v", 4, 10, 5, "", 1) == NGX_OK && pos.offset == 4);
    ngx_centrifugo_hub_exit(&a);
}


/* all sizes, in items of all kinds; a buffer that is too small says so */

static void
sizes(void)
{
    size_t                     len, max;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_stored_t    s;
    ngx_centrifugo_history_t   h;
    ngx_centrifugo_hub_stat_t  st;

    fresh(4 * 1024 * 1024);
    enter(&a);
    max = ngx_centrifugo_hub_publication_max(4 * 1024 * 1024);
    CHECK(max < LARGEST && max > 500000);

    for (n = 1, len = 0; len <= max; n++) {
        CHECK(put(&a, "c", n, len, 3) == NGX_OK);

        ask(&h, "c");
        h.reverse = 1;
        h.limit = 1;
        h.size = ngx_centrifugo_stored_size(0, 0, len) - 1;
        CHECK(ngx_centrifugo_hub_history(&a, &h) == NGX_BUSY && h.n == 0);
        CHECK(h.need == ngx_centrifugo_stored_size(0, 0, len));
        h.size = h.need;
        CHECK(ngx_centrifugo_hub_history(&a, &h) == NGX_OK && h.n == 1
              && h.len == h.need);
        memcpy(&s, h.buf, sizeof(s));
        CHECK(s.offset == n && s.data_len == len);
        content_fill(n, data, len);
        CHECK(memcmp(data, h.buf + sizeof(s), len) == 0);

        if (len % 64 == 0) {
            CHECK(whole(&a));
        }

        /* all small ones, some, and the largest */

        len += (len < 8300) ? 1 : (len < max - 7777 || len == max) ? 7777
                                                                   : max - len;
    }

    CHECK(put(&a, "c", 1, max + 1, 3) == NGX_ERROR);
    CHECK(whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 3 && st.wipes == 0);

    /* 64 in a section, or 64 KB */

    for (n = 1; n <= 100; n++) {
        CHECK(put(&a, "small", n, 10, 100) == NGX_OK);
        CHECK(put(&a, "large", n, 10000, 20) == NGX_OK);
    }

    ask(&h, "small");
    rc = ngx_centrifugo_hub_history(&a, &h);
    CHECK(rc == NGX_AGAIN && h.n == 64);
    CHECK(ngx_centrifugo_hub_history(&a, &h) == NGX_OK && h.n == 36);
    ask(&h, "large");
    rc = ngx_centrifugo_hub_history(&a, &h);
    CHECK(rc == NGX_AGAIN && h.n == 6);
    CHECK(count(&a, "large", 10000, NULL) == 20);

    /* the table of classes is that of sizes */

    for (len = 0; len <= NGX_CENTRIFUGO_ITEM_MAX + 1; len++) {
        n = ngx_centrifugo_page_class(len);
        CHECK(n == NGX_CENTRIFUGO_SIZES ? len > NGX_CENTRIFUGO_ITEM_MAX
              : len <= ngx_centrifugo_page_class_size(n)
                && (n == 0 || len > ngx_centrifugo_page_class_size(n - 1)));
    }

    ngx_centrifugo_hub_exit(&a);
}


/*
 * A list of which no section can see the whole: readers find their place in it,
 * also when the one they stood at has become another, and stop at the top of
 * their first part.
 */

static void
longest(void)
{
    enum { KEPT = 5000 };
    size_t                     at;
    u_char                    *p;
    uint64_t                   expect;
    ngx_int_t                  rc, got;
    ngx_str_t                  ch;
    ngx_uint_t                 i, calls, empty;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_join_t      join;
    ngx_centrifugo_stored_t    s;
    ngx_centrifugo_history_t   h, late;
    ngx_centrifugo_hub_stat_t  st;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);
    ch = S("long");

    for (i = 1; i <= KEPT; i++) {
        CHECK(put(&a, "long", i, 50, KEPT) == NGX_OK);
    }

    /* in one section with the subscription, and then the rest */

    ask(&h, "long");
    memset(&join, 0, sizeof(join));
    join.meta_ttl = 60000;
    h.bounded = 1;
    h.strict = 1;
    h.since = KEPT / 2;
    h.size = 64 * 80;
    got = NGX_ERROR;
    CHECK(ngx_centrifugo_hub_join(&b, &ch, &join, &h, &got) == NGX_OK);
    CHECK(join.position.offset == KEPT && got == NGX_AGAIN
          && h.position.offset == KEPT
          && h.position.epoch == join.position.epoch);

    expect = KEPT / 2 + 1;
    empty = 0;
    rc = got;

    for (calls = 0; rc == NGX_AGAIN; calls++) {
        for (at = 0; stored_next(&h, &at, &s, &p); expect++) {
            CHECK(s.offset == expect);
            content_fill(expect, data, 50);
            CHECK(memcmp(data, p, 50) == 0);
        }

        empty += (h.n == 0);

        /* of each other place it loses track */

        if (calls % 2) {
            h.ref = calls % 4 == 1 ? 0 : (uint32_t) random();
        }

        CHECK(put(&a, "long", KEPT + calls + 1, 50, KEPT) == NGX_OK);
        rc = ngx_centrifugo_hub_history(&b, &h);
        CHECK(rc == NGX_AGAIN || rc == NGX_OK);
    }

    CHECK(expect + h.n == KEPT + 1 && calls > 40 && empty > 20);
    CHECK(next(&b, &(ngx_centrifugo_entry_t) { 0 }) == NGX_OK);

    /* what it wants next is the oldest, and then gone: a newer one's place */

    i = KEPT + calls + 1;
    ask(&h, "long");
    h.bounded = 1;
    h.since = i - KEPT + 100;
    h.size = 64 * 80;
    CHECK(ngx_centrifugo_hub_history(&b, &h) == NGX_AGAIN && h.n == 64);
    late = h;

    for ( /* void */ ; late.next + KEPT > i; i++) {
        CHECK(put(&a, "long", i, 50, KEPT) == NGX_OK);
    }

    CHECK(ngx_centrifugo_hub_history(&b, &h) == NGX_AGAIN && h.n == 64);
    memcpy(&s, h.buf, sizeof(s));
    CHECK(s.offset == late.next);
    CHECK(put(&a, "long", i++, 50, KEPT) == NGX_OK);
    h = late;
    CHECK(ngx_centrifugo_hub_history(&b, &h) == NGX_DECLINED && h.n == 0);

    /* backwards it is the end */

    ask(&h, "long");
    h.reverse = 1;
    h.bounded = 1;
    h.since = i - KEPT + 300;
    expect = h.since - 1;

    while ((rc = ngx_centrifugo_hub_history(&a, &h)) == NGX_AGAIN
           && h.n == 0) { /* void */ }

    CHECK(h.n == 64);
    memcpy(&s, h.buf, sizeof(s));
    CHECK(s.offset == expect);

    for (calls = 0; calls < 200; calls++) {
        CHECK(put(&a, "long", i++, 50, KEPT) == NGX_OK);
    }

    do {
        expect -= h.n;
        rc = ngx_centrifugo_hub_history(&a, &h);
    } while (rc == NGX_AGAIN);

    CHECK(rc == NGX_OK && expect - h.n == i - 1 - KEPT);

    /* shorter at once for readers, and little by little in memory */

    CHECK(put(&a, "long", i++, 50, 10) == NGX_OK);
    CHECK(count(&b, "long", 50, NULL) == 10);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == KEPT - 16 + 1);

    CHECK(ngx_centrifugo_hub_history_remove(&a, &ch) == NGX_OK);
    CHECK(count(&b, "long", 50, NULL) == 0);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == KEPT - 16 + 1 - NGX_CENTRIFUGO_STREAM_TRIM);
    CHECK(whole(&a));
    expire(&a, 2000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 0 && st.streams == 1);

    /* a stream that is over goes with all of it, whoever comes next */

    for (i = 0; i < 2; i++) {

        for (calls = 0; calls < 1000; calls++) {
            CHECK(put(&a, "over", calls + 1, 50, 2000) == NGX_OK);
        }

        CHECK(stream_of("over")->state.count == 1000);
        expect = pos.epoch;
        ngx_current_msec += 60000;

        if (i) {
            CHECK(put(&a, "over", 1, 50, 2000) == NGX_OK && pos.offset == 1);

        } else {
            CHECK(follow(&a, "over", 1000, &pos) == NGX_OK
                  && pos.offset == 0);
            unfollow(&a, "over");
        }

        CHECK(pos.epoch != expect && whole(&a));
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * A zone that is full of what may not go: who publishes is told so, what was
 * made for it does not stay, and who has a full list goes on.
 */

static void
full(void)
{
    char                       name[1000];
    uint64_t                   written;
    ngx_int_t                  rc;
    ngx_uint_t                 i, n;
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_page_t     *page;
    ngx_centrifugo_stream_t   *stream;
    ngx_centrifugo_hub_stat_t  st, before;

    fresh(1024 * 1024);
    enter(&a);

    for (i = 1; i <= 100; i++) {
        CHECK(put(&a, "hot", i, 200, 100) == NGX_OK);
    }

    for (i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "%999lu", (unsigned long) i);

        if (follow(&a, name, 0, NULL) != NGX_OK) {
            break;
        }
    }

    /* no page is left: what was hot went, too */

    ngx_centrifugo_hub_stat(&a, &before);
    CHECK(before.pages_free == 0 && before.publications == 0 && i < 100000);

    for (n = 0; n < 300; n++) {
        snprintf(name, sizeof(name), "new%lu", (unsigned long) n);
        rc = put_as(&a, name, 1, 20000, 10, n % 2 ? "k" : "", 0);
        CHECK(rc == NGX_BUSY);
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.publications == 0 && st.streams <= 1 && st.results == 0
          && st.channels <= before.channels);
    CHECK(whole(&a));

    /* what has a little room replaces its own */

    for (n = 0; n < 2000; n++) {
        snprintf(name, sizeof(name), "%999lu", (unsigned long) --i);
        unfollow(&a, name);
    }

    for (n = 1; n <= 2000; n++) {
        CHECK(put(&a, "hot", n, 3000, 3) == NGX_OK);
    }

    CHECK(whole(&a));
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 0);

    /* its pages are as young as what is in them */

    stream = stream_of("hot");
    CHECK(stream != NULL);
    CHECK(put(&a, "same", 1, 100, 1) == NGX_OK);
    stream = stream_of("same");
    ref = stream->state.newest;
    page = hub_at(shm, (uint64_t) ref * 16 / NGX_CENTRIFUGO_PAGE
                       * NGX_CENTRIFUGO_PAGE);
    written = page->written;
    ngx_current_msec += 1000;
    CHECK(put(&a, "same", 2, 100, 1) == NGX_OK);
    CHECK(stream->state.newest == ref && page->written == written + 1000);
    ngx_centrifugo_hub_exit(&a);
}


/* the log's lock is damaged: nothing of a publication stays */

static void
broken(void)
{
    ngx_uint_t                 i;
    pthread_mutex_t            was;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_hub_stat_t  before, st;

    fresh(1024 * 1024);
    enter(&a);
    CHECK(follow(&a, "c", 1000, NULL) == NGX_OK);

    for (i = 1; i <= 10; i++) {
        CHECK(put(&a, "c", i, 100, 20) == NGX_OK);
    }

    was = shm->log.lock.mutex;
    memset(&shm->log.lock.mutex, 0xff, sizeof(was));
    CHECK(pthread_mutex_trylock(&shm->log.lock.mutex) == EINVAL);
    ngx_centrifugo_hub_stat(&a, &before);

    CHECK(put(&a, "c", 11, 100, 20) == NGX_ERROR);
    CHECK(put_as(&a, "c", 11, 5000, 20, "key", 0) == NGX_ERROR);
    CHECK(put_as(&a, "c", 11, 5000, 0, "key", 0) == NGX_ERROR);
    CHECK(whole(&a) && count(&a, "c", 100, &pos) == 10 && pos.offset == 10);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channel_bytes == before.channel_bytes && st.results == 0
          && st.history_bytes == before.history_bytes);

    /* a full list may lose the oldest of it */

    CHECK(put(&a, "c", 11, 100, 10) == NGX_ERROR);
    CHECK(whole(&a) && count(&a, "c", 100, &pos) == 9 && pos.offset == 10);

    shm->log.lock.mutex = was;
    CHECK(put_as(&a, "c", 11, 100, 10, "key", 0) == NGX_OK);
    CHECK(whole(&a) && count(&a, "c", 100, &pos) == 10 && pos.offset == 11);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * Any words in the pages of a shard: what is damaged is noticed or not, never
 * followed out of the zone or for ever.
 */

static void
damage(void)
{
    char                       key[16];
    uint32_t                  *words;
    ngx_int_t                  rc;
    ngx_str_t                  ch;
    ngx_uint_t                 i, k, n, page, wipes;
    ngx_centrifugo_hub_t       a;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_history_t   h;
    ngx_centrifugo_hub_stat_t  st;
    static const char         *names[] = { "a", "bb", "ccc", "dddd" };

    fresh(1024 * 1024);
    enter(&a);
    srandom(9);
    wipes = 0;

    for (i = 0; i < 60000; i++) {
        ch = S(names[random() % 4]);

        switch (random() % 12) {

        case 0:

            /* a word of a page's head, or of how an item begins */

            page = random() % 40;
            n = ((u_char *) hub_at(shm, shm->owners_at))[page];

            if (n == 0) {
                break;
            }

            words = hub_at(shm, shm->pages_at + page * NGX_CENTRIFUGO_PAGE);
            k = random() % 5;

            if (random() % 8) {
                words = (uint32_t *) ngx_centrifugo_page_nth(shm, n - 1, page,
                                                           random() % 30);
                k = random() % 30;
            }

            if (words == NULL
                || (k >= 12 && ((ngx_centrifugo_item_t *) words)->type
                               != NGX_CENTRIFUGO_ITEM_STREAM))
            {
                break;
            }

            switch (random() % 4) {
            case 0:
                words[k] = (uint32_t) random();
                break;
            case 1:
                words[k] = words[random() % 12];
                break;
            case 2:
                words[k] += 1 + random() % 3;
                break;
            case 3:
                words[k] ^= 1U << random() % 32;
            }

            break;

        case 1:
            (void) follow(&a, (char *) ch.data, random() % 2 * 1000, NULL);
            break;

        case 2:
            ngx_centrifugo_hub_leave(&a, &ch);
            break;

        case 3:
            (void) ngx_centrifugo_hub_history_remove(&a, &ch);
            break;

        case 4:
            ngx_current_msec += random() % 4000;

            for (k = 0; k < 100 && ngx_centrifugo_hub_expire(&a) == NGX_AGAIN;
                 k++) { /* void */ }

            CHECK(k < 100);
            break;

        case 5:
        case 6:
            ask(&h, (char *) ch.data);
            h.reverse = random() % 2;
            h.bounded = random() % 2;
            h.since = random() % 300;
            k = 0;

            do {
                rc = ngx_centrifugo_hub_history(&a, &h);
                CHECK(h.len <= h.size);
            } while (rc == NGX_AGAIN && k++ < 1000);

            break;

        case 7:
            (void) ngx_centrifugo_evict(&a, random() % shm->shards, 100);
            break;

        default:
            snprintf(key, sizeof(key), "%ld", random() % 30);
            (void) put_as(&a, (char *) ch.data, 1, random() % 20
                                                   ? (size_t) random() % 300
                                                   : (size_t) random() % 9000,
                          random() % 10 ? 30 : 0, random() % 4 ? "" : key, 0);
        }

        while (ngx_centrifugo_hub_read(&a, &e) != NGX_DONE) { /* void */ }

        /* a small harm may lie there for long: now and then all is new */

        if (i % 1000 == 999) {
            ngx_centrifugo_hub_stat(&a, &st);
            wipes += st.wipes;
            ngx_centrifugo_hub_exit(&a);
            fresh(1024 * 1024);
            enter(&a);
        }
    }

    printf("  %lu wipes\n", (unsigned long) wipes);
    CHECK(wipes > 100);
    ngx_centrifugo_hub_exit(&a);
}


int
main(void)
{
    ngx_current_msec = 1000000;

    epochs();
    expiry();
    sizes();
    longest();
    full();
    broken();
    damage();

    return UNIT_END();
}
