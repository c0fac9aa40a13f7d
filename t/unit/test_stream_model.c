/*
 * Streams in the hub's shared memory against a simple model: what is kept and
 * for how long, what readers get of it, versions and idempotency keys.
 *   test_stream_model [OPERATIONS]
 */

#include "unit_stream.h"

#define CHANNELS  24


/* what a channel should be */

typedef struct {
    char                       name[32];
    uint64_t                   number;      /* of its content, with offset */
    ngx_uint_t                 exists;      /* as a stream */
    uint64_t                   epoch;
    uint64_t                   top;
    uint64_t                   floor;
    uint64_t                   expire;
    uint64_t                   meta_expire;
    uint64_t                   version;
    ngx_uint_t                 version_epoch;
    ngx_uint_t                 joined[2];
} model_t;

typedef struct {
    ngx_uint_t                 channel;
    ngx_uint_t                 key;
    uint64_t                   expire;
    ngx_centrifugo_position_t  position;
} answer_t;

#define ANSWERS  4096

static model_t     models[CHANNELS];
static answer_t    answers[ANSWERS];
static ngx_uint_t  nanswers;
static uint64_t    numbers;
static u_char      big[LARGEST];


static void
advance(ngx_msec_t ms)
{
    ngx_current_msec += ms;
}


static void
model_reset(void)
{
    ngx_uint_t  i;

    memset(models, 0, sizeof(models));
    nanswers = 0;
    memset(answers, 0, sizeof(answers));

    for (i = 0; i < CHANNELS; i++) {
        snprintf(models[i].name, sizeof(models[i].name), "channel%lu",
                 (unsigned long) i);
    }
}


static ngx_uint_t
model_interest(model_t *m)
{
    return m->joined[0] || m->joined[1];
}


/* a stream that has expired and that nobody wants is none */

static ngx_uint_t
model_there(model_t *m)
{
    if (m->exists && ngx_current_msec >= m->meta_expire && !model_interest(m)) {
        return 0;
    }

    return m->exists;
}


static uint64_t
model_first(model_t *m)
{
    return (ngx_current_msec >= m->expire) ? m->top + 1 : m->floor + 1;
}


/* it is made, or made again */

static void
model_make(model_t *m, uint64_t epoch, ngx_msec_t meta_ttl)
{
    if (!model_there(m)) {
        CHECK(epoch != m->epoch || m->top == 0);
        m->exists = 1;
        m->epoch = epoch;
        m->number = ++numbers << 24;
        m->top = m->floor = m->version = m->version_epoch = 0;
        m->expire = 0;
        m->meta_expire = ngx_current_msec + meta_ttl;
    }

    CHECK(epoch == m->epoch);
}


static uint64_t
content_number(model_t *m, uint64_t offset)
{
    return m->number + offset;
}


static void
model_publish(ngx_centrifugo_hub_t *hub, ngx_uint_t c)
{
    char                              key[32];
    model_t                          *m;
    answer_t                         *a;
    ngx_int_t                         rc;
    ngx_uint_t                        i, k, old, vepoch;
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  pub;
    static const char                *vepochs[] = { "", "one", "two" };
    static const ngx_uint_t           sizes[] = { 1, 3, 10, 10, 10, 40, 100 };

    m = &models[c];
    memset(&pub, 0, sizeof(pub));
    pub.channel = S(m->name);
    pub.time = 1;
    pub.size = random() % 20 ? sizes[random() % 7] : 0;
    pub.ttl = 1000 + random() % 4000;
    pub.meta_ttl = 3000 + random() % 10000;
    vepoch = 0;

    if (random() % 8 == 0) {
        pub.version = 1 + random() % 10;
        vepoch = random() % 3;
        pub.version_epoch = S(vepochs[vepoch]);
    }

    k = 0;
    a = NULL;

    if (random() % 6 == 0) {
        k = 1 + random() % 20;
        snprintf(key, sizeof(key), "key%lu", (unsigned long) k);
        pub.key = S(key);

        for (i = 0; i < nanswers; i++) {
            if (answers[i].channel == c && answers[i].key == k
                && ngx_current_msec < answers[i].expire)
            {
                a = &answers[i];
            }
        }
    }

    /* its content is that of the offset that it will have */

    if (model_there(m)) {
        content_set(content_number(m, m->top + 1), &pub, big);

    } else {
        content_set(((numbers + 1) << 24) + 1, &pub, big);
    }

    old = (pub.size && model_there(m) && pub.version
           && m->version >= pub.version
           && (vepoch == 0 || vepoch == m->version_epoch));

    rc = ngx_centrifugo_hub_publish(hub, &pub, &position);

    if (a) {
        CHECK(rc == NGX_DONE && position.offset == a->position.offset
              && position.epoch == a->position.epoch);
        return;
    }

    if (old) {
        CHECK(rc == NGX_DONE && position.offset == m->top
              && position.epoch == m->epoch);
        return;
    }

    if (pub.size == 0) {
        CHECK(rc == (model_interest(m) ? NGX_OK : NGX_DECLINED));
        CHECK(position.offset == 0 && position.epoch == 0);

    } else {
        CHECK(rc == NGX_OK);
        model_make(m, position.epoch, pub.meta_ttl);

        m->floor = model_first(m) - 1;
        m->top++;

        if (m->top > pub.size && m->floor < m->top - pub.size) {
            m->floor = m->top - pub.size;
        }

        m->version = pub.version;
        m->version_epoch = pub.version ? vepoch : 0;
        m->expire = ngx_current_msec + pub.ttl;
        m->meta_expire = ngx_current_msec + pub.meta_ttl;
        CHECK(position.offset == m->top);
    }

    if (k) {

        for (i = 0; i < nanswers && ngx_current_msec < answers[i].expire; i++) {
            /* void */
        }

        CHECK(i < ANSWERS);
        nanswers = ngx_max(nanswers, i + 1);
        answers[i].channel = c;
        answers[i].key = k;
        answers[i].expire = ngx_current_msec + NGX_CENTRIFUGO_RESULT_TTL;
        answers[i].position = position;
    }
}


/*
 * Reads a part of it, or all, while others publish and remove: what is read is
 * what was published there, without a hole.
 */

static void
model_read(ngx_centrifugo_hub_t *hub, ngx_uint_t c)
{
    size_t                    at;
    u_char                   *p;
    model_t                  *m, was;
    uint64_t                  expect, first, got;
    ngx_int_t                 rc;
    ngx_uint_t                changes, calls;
    static uint64_t           buf[80000 / 8];
    ngx_centrifugo_stored_t   s;
    ngx_centrifugo_history_t  h;

    m = &models[c];
    memset(&h, 0, sizeof(h));
    h.channel = S(m->name);
    h.buf = (u_char *) buf;
    h.size = sizeof(buf) - (random() % 3 ? 0 : 73800 - random() % 3000);
    h.reverse = random() % 4 == 0;
    h.strict = random() % 3 == 0;
    h.bounded = random() % 3 != 0;
    h.since = m->top + 2 - ngx_min(m->top + 2, (uint64_t) random() % 60);
    h.limit = random() % 3 ? NGX_CENTRIFUGO_ALL : (ngx_uint_t) random() % 12;
    h.meta_ttl = random() % 4 ? 0 : 2000 + random() % 8000;
    changes = random() % 4 == 0;
    got = 0;
    was = *m;

    for (calls = 0; /* void */ ; calls++) {
        rc = ngx_centrifugo_hub_history(hub, &h);

        if (calls == 0) {

            if (!model_there(m)) {
                CHECK(h.position.offset == 0 && h.position.epoch != 0);
                CHECK(h.n == 0 && (rc == NGX_OK || (h.strict && h.since)));
                CHECK(m->top == 0 || h.position.epoch != m->epoch);
                return;
            }

            CHECK(h.position.offset == m->top && h.position.epoch == m->epoch);
        }

        if (h.meta_ttl && model_there(m)
            && m->meta_expire < ngx_current_msec + h.meta_ttl)
        {
            m->meta_expire = ngx_current_msec + h.meta_ttl;
        }

        first = model_first(m);

        if (calls == 0) {
            was = *m;
            expect = h.reverse ? m->top : first;

            if (h.bounded && h.reverse && h.since <= m->top) {
                expect = h.since ? h.since - 1 : 0;
            }

            if (h.bounded && !h.reverse) {

                if (h.strict && (h.since > m->top || h.since + 1 < first)) {
                    CHECK(h.limit == 0 ? rc == NGX_OK || rc == NGX_DECLINED
                                       : rc == NGX_DECLINED);
                    CHECK(h.n == 0);
                    return;
                }

                expect = ngx_max(expect, ngx_min(h.since, m->top) + 1);
            }
        }

        if (rc == NGX_DECLINED) {
            CHECK(calls > 0 && changes && h.n == 0);
            CHECK(m->epoch != was.epoch || !model_there(m)
                  || (!h.reverse && expect < first));
            return;
        }

        CHECK(rc == NGX_OK || rc == NGX_AGAIN);
        CHECK(h.n <= 64 && h.len <= h.size);
        at = 0;

        while (stored_next(&h, &at, &s, &p)) {
            CHECK(s.offset == expect && s.offset >= first
                  && s.offset <= was.top);
            CHECK(content_is(content_number(m, s.offset), &s, p));
            expect += h.reverse ? -1 : 1;
            got++;
        }

        CHECK(got <= h.limit);

        if (rc == NGX_OK) {
            CHECK(got == h.limit
                  || (h.reverse ? expect < first : expect == was.top + 1));
            return;
        }

        CHECK(h.n > 0 && calls < 1000);

        if (changes) {
            do {
                switch (random() % 16) {
                case 0:
                    advance(random() % 1500);
                    break;
                case 1:
                    CHECK(ngx_centrifugo_hub_history_remove(hub, &h.channel)
                          == NGX_OK);
                    m->floor = m->top;
                    break;
                default:
                    model_publish(hub, c);
                }
            } while (random() % 8);
        }
    }
}


static void
model_join(ngx_centrifugo_hub_t *hub, ngx_uint_t which, ngx_uint_t c)
{
    model_t                *m;
    ngx_str_t               ch;
    ngx_uint_t              there;
    ngx_centrifugo_join_t   join;

    m = &models[c];
    ch = S(m->name);
    memset(&join, 0, sizeof(join));
    join.meta_ttl = random() % 3 ? 3000 + random() % 10000 : 0;
    there = model_there(m);

    CHECK(ngx_centrifugo_hub_join(hub, &ch, &join, NULL, NULL) == NGX_OK);

    if (join.meta_ttl) {
        model_make(m, join.position.epoch, join.meta_ttl);
        m->meta_expire = ngx_max(m->meta_expire,
                                 ngx_current_msec + join.meta_ttl);
        CHECK(join.position.offset == m->top);

    } else {
        CHECK(join.position.offset == 0 && join.position.epoch == 0);
        m->exists = there;
    }

    m->joined[which] = 1;
}


static void
model_leave(ngx_centrifugo_hub_t *hub, ngx_uint_t which, ngx_uint_t c)
{
    model_t    *m;
    ngx_str_t   ch;

    m = &models[c];
    ch = S(m->name);
    ngx_centrifugo_hub_leave(hub, &ch);

    if (m->joined[which]) {
        m->joined[which] = 0;

        if (m->exists && m->top == 0 && !model_interest(m)) {
            m->exists = 0;
        }
    }
}


/* many operations, on channels of which most have few */

static void
against_model(ngx_uint_t operations)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, c, w, channels, there, kept;
    ngx_centrifugo_hub_t       hubs[2];
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_hub_stat_t  st;

    fresh(8 * 1024 * 1024);
    enter(&hubs[0]);
    enter(&hubs[1]);
    model_reset();
    srandom(7);
    ngx_current_msec = 1000000;

    for (i = 0; i < operations && unit_failed == 0; i++) {
        c = random() % (random() % 3 ? 4 : CHANNELS);
        w = random() % 2;

        switch (random() % 32) {

        case 0:
            model_join(&hubs[w], w, c);
            break;

        case 1:
        case 2:
            model_leave(&hubs[w], w, c);
            break;

        case 3: {
            ngx_str_t  ch = S(models[c].name);

            if (random() % 4 == 0) {
                CHECK(ngx_centrifugo_hub_history_remove(&hubs[w], &ch)
                      == NGX_OK);
                models[c].floor = models[c].top;
            }

            break;
        }

        case 4:
            advance(random() % (random() % 10 ? 100 : 20000));
            break;

        case 5:
            if (random() % 10 == 0) {
                do {
                    rc = ngx_centrifugo_hub_expire(&hubs[w]);
                } while (rc == NGX_AGAIN);

                CHECK(rc == NGX_OK);
            }

            break;

        case 6: case 7: case 8: case 9: case 10: case 11: case 12:
            model_read(&hubs[w], c);
            break;

        default:
            model_publish(&hubs[w], c);
        }

        while (ngx_centrifugo_hub_read(&hubs[w], &e) != NGX_DONE) {
            /* void */
        }

        if (i % 20000 == 0) {
            CHECK(whole(&hubs[0]));
            ngx_centrifugo_hub_stat(&hubs[0], &st);
            CHECK(st.wipes == 0);
        }
    }

    /* and nothing stays for ever */

    CHECK(whole(&hubs[0]));

    for (there = 0, kept = 0, c = 0; c < CHANNELS; c++) {
        there += models[c].exists;
        kept += models[c].top - model_first(&models[c]) + 1;
        model_leave(&hubs[0], 0, c);
        model_leave(&hubs[1], 1, c);
    }

    ngx_centrifugo_hub_stat(&hubs[0], &st);
    CHECK(st.publications >= kept);

    for (i = 0; i < 50; i++) {
        advance(10000);
        while (ngx_centrifugo_hub_expire(&hubs[0]) == NGX_AGAIN) {
            /* void */
        }
    }

    CHECK(whole(&hubs[0]));
    ngx_centrifugo_hub_stat(&hubs[0], &st);
    CHECK(st.channels == 0 && st.streams == 0 && st.publications == 0
          && st.results == 0 && st.history_bytes == 0
          && st.channel_bytes == 0);
    channels = 0;

    for (c = 0; c < CHANNELS; c++) {
        channels += models[c].exists;
    }

    printf("  %lu operations, %lu channels made %lu times\n",
           (unsigned long) operations, (unsigned long) channels,
           (unsigned long) numbers);
    ngx_centrifugo_hub_exit(&hubs[0]);
    ngx_centrifugo_hub_exit(&hubs[1]);
}


int
main(int argc, char **argv)
{
    against_model(argc > 1 ? strtoul(argv[1], NULL, 10) : 2000000);

    return UNIT_END();
}
