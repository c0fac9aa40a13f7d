/*
 * The hub's shared memory: log, words of interest, shards, repairs.  Processes
 * share a mapping as workers do, and some are killed.
 */

#include "unit_hub.h"


static void
basics(void)
{
    char                       name[32];
    ngx_str_t                  ch;
    ngx_uint_t                 i, slot;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_join_t      ja, jb, again;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_hub_stat_t  st;
    u_char                     id[16];
    uint32_t                   gen;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);
    CHECK(a.slot == 0 && b.slot == 1);

    /* nobody subscribed: nothing is stored */

    CHECK(publish(&a, "news", "x") == NGX_DECLINED);
    CHECK(next(&a, &e) == NGX_DONE);

    ch = S("news");
    CHECK(unit_join(&a, &ch, &ja) == NGX_OK);
    CHECK(unit_join(&b, &ch, &jb) == NGX_OK);
    CHECK(ja.channel == jb.channel && ja.channel != 0);

    CHECK(publish(&b, "news", "hello") == NGX_OK);
    CHECK(ngx_centrifugo_hub_wake(&b) == 1);
    CHECK(reg->slots[0].pending == 1 && reg->slots[1].pending == 0);
    CHECK(next(&a, &e) == NGX_OK && e.channel == ja.channel
          && e.flags == NGX_CENTRIFUGO_PUB_JSON
          && e.data.len == 5 && memcmp(e.data.data, "hello", 5) == 0
          && e.pos >= ja.pos);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(next(&b, &e) == NGX_OK && next(&b, &e) == NGX_DONE);

    /* a later subscription does not want what was before it */

    CHECK(unit_join(&a, &ch, &again) == NGX_OK
          && again.pos > e.pos);

    ngx_centrifugo_hub_leave(&a, &ch);
    CHECK(publish(&a, "news", "y") == NGX_OK);
    CHECK(next(&a, &e) == NGX_DONE && next(&b, &e) == NGX_OK);
    ngx_centrifugo_hub_leave(&b, &ch);
    ngx_centrifugo_hub_leave(&b, &ch);
    CHECK(publish(&a, "news", "z") == NGX_DECLINED);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == 0);

    /* many names of all sizes come and go; the memory is used again */

    for (i = 0; i < 30000; i++) {
        snprintf(name, sizeof(name), "ch:%lu", (unsigned long) i % 5000);
        ch = S(name);

        if (i / 5000 % 2 == 0) {
            CHECK(unit_join(&a, &ch, &ja) == NGX_OK);

        } else {
            ngx_centrifugo_hub_leave(&a, &ch);
        }
    }

    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == 0 && st.pages_free > 0
          && st.pages - st.pages_free < 200);

    /* a full zone says so, and is whole again afterwards */

    for (i = 0; /* void */ ; i++) {
        static u_char  long_name[1000];

        memset(long_name, 'n', sizeof(long_name));
        memcpy(long_name, &i, sizeof(i));
        ch.data = long_name;
        ch.len = sizeof(long_name);

        if (unit_join(&a, &ch, &ja) != NGX_OK) {
            break;
        }
    }

    CHECK(i > 1000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == i && st.pages_free == 0);

    ch.len = NGX_CENTRIFUGO_NAME_MAX + 1;
    CHECK(unit_join(&a, &ch, &ja) == NGX_ERROR);

    /* ids name their owner */

    CHECK(ngx_centrifugo_hub_make_id(&b, id) == NGX_OK);
    ngx_centrifugo_hub_id_owner(&a, id, &slot, &gen);
    CHECK(slot == 1 && gen == reg->slots[1].generation);
    CHECK((id[6] & 0xf0) == 0x40 && (id[8] & 0xc0) == 0x80);

    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * A reader that is too slow is told so, never given a torn or foreign entry.
 */

static void
overrun(void)
{
    static u_char           data[100000];
    size_t                  k;
    ngx_str_t               ch, d, none = ngx_null_string;
    ngx_int_t               rc;
    ngx_uint_t              i, got, lost;
    ngx_centrifugo_hub_t    a, b;
    ngx_centrifugo_join_t   j;
    ngx_centrifugo_entry_t  e;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);
    ch = S("c");
    CHECK(unit_join(&a, &ch, &j) == NGX_OK);
    srandom(5);
    got = lost = 0;

    for (i = 0; i < 20000; i++) {
        d.data = data;
        d.len = 1 + random() % (i % 50 ? 3000 : 90000);
        memset(data, (int) (d.len * 7), d.len);
        CHECK(unit_publish(&b, &ch, &none, &d, 1, 0) == NGX_OK);

        if (random() % 400) {
            continue;
        }

        while ((rc = ngx_centrifugo_hub_read(&a, &e)) != NGX_DONE) {
            if (rc == NGX_DECLINED) {
                lost++;

            } else if (rc == NGX_OK) {
                got++;

                for (k = 0; k < e.data.len; k++) {
                    if (e.data.data[k] != (u_char) (e.data.len * 7)) {
                        CHECK(0);
                        break;
                    }
                }
            }
        }
    }

    CHECK(got > 100 && lost > 0);

    d.len = ngx_centrifugo_hub_publication_max(1024 * 1024) + 1;
    d.data = map(d.len);
    CHECK(unit_publish(&b, &ch, &none, &d, 1, 0) == NGX_ERROR);
    d.len--;
    CHECK(unit_publish(&b, &ch, &none, &d, 1, 0) == NGX_OK);

    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * Any bytes in the ring: no crash, no read outside of it.
 */

static void
garbage(void)
{
    u_char                  *ring;
    size_t                   k;
    ngx_str_t                ch;
    ngx_uint_t               i;
    ngx_centrifugo_hub_t     a;
    ngx_centrifugo_join_t    j;
    ngx_centrifugo_entry_t   e;
    ngx_centrifugo_member_t *m;

    fresh(1024 * 1024);
    enter(&a);
    ch = S("c");
    CHECK(unit_join(&a, &ch, &j) == NGX_OK);
    ring = hub_at(shm, shm->log.at);
    m = hub_member(shm, a.slot);
    srandom(11);

    for (i = 0; i < 20000; i++) {
        publish(&a, "c", "some data that is long enough");

        for (k = 0; k < 6; k++) {
            ring[(m->cursor + random() % 100) % shm->log.size]
                = (u_char) random();
        }

        while (ngx_centrifugo_hub_read(&a, &e) != NGX_DONE) { /* void */ }
    }

    CHECK(m->cursor == shm->log.head);
    ngx_centrifugo_hub_exit(&a);
}


/*
 * Writers are killed at random moments; those who live on find every lock
 * free, every count right and every publication whole and in order.
 */

static void
kills(void)
{
    enum { WORKERS = 4, ROUNDS = 150 };
    int                        status;
    pid_t                      pid[WORKERS];
    char                       name[32], data[32];
    uint64_t                   cursor, last[WORKERS], n, who;
    ngx_str_t                  ch;
    ngx_int_t                  rc;
    ngx_uint_t                 i, k, slot, dead, seen;
    ngx_centrifugo_hub_t       me, w;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_hub_stat_t  st;

    fresh(1024 * 1024);
    enter(&me);
    ch = S("kept");
    CHECK(unit_join(&me, &ch, &j) == NGX_OK);
    me.data = &j.channel;
    seen = 0;

    for (i = 0; i < ROUNDS; i++) {

        for (k = 0; k < WORKERS; k++) {
            pid[k] = fork();

            if (pid[k] == 0) {
                enter(&w);
                srandom(getpid());

                for (n = 1; /* void */ ; n++) {
                    snprintf(name, sizeof(name), "c%ld", random() % 400);
                    ch = S(name);

                    if (random() % 2) {
                        (void) unit_join(&w, &ch, &j);

                    } else {
                        ngx_centrifugo_hub_leave(&w, &ch);
                    }

                    snprintf(data, sizeof(data), "%lu %lu",
                             (unsigned long) k, (unsigned long) n);

                    if (publish(&w, "kept", data) != NGX_OK) {
                        _exit(1);
                    }

                    (void) ngx_centrifugo_hub_wake(&w);
                }
            }
        }

        usleep(1000 + random() % 4000);

        for (k = 0; k < WORKERS; k++) {
            kill(pid[k], SIGKILL);
        }

        for (k = 0; k < WORKERS; k++) {
            CHECK(waitpid(pid[k], &status, 0) == pid[k]);
            CHECK(WIFSIGNALED(status));
        }

        /* what was published before the kill is whole and in order */

        memset(last, 0, sizeof(last));

        while ((rc = ngx_centrifugo_hub_read(&me, &e)) != NGX_DONE) {
            if (rc != NGX_OK) {
                memset(last, 0, sizeof(last));
                continue;
            }

            memcpy(data, e.data.data, e.data.len);
            data[e.data.len] = '\0';
            CHECK(sscanf(data, "%lu %lu", &who, &n) == 2 && who < WORKERS);
            CHECK(last[who] == 0 || n == last[who] + 1);
            last[who] = n;
            seen++;
        }

        /* the dead are cleared up */

        for (dead = 0; dead < 100; dead++) {
            slot = 0;

            if (ngx_centrifugo_registry_find_dead(reg, SLOTS, me.slot, &slot)
                != NGX_OK)
            {
                break;
            }

            cursor = 0;

            while (ngx_centrifugo_hub_reap(&me, slot, &cursor) == NGX_AGAIN) {
                /* void */
            }

            ngx_centrifugo_registry_free(reg, slot);
        }

        CHECK(dead <= WORKERS);
        ngx_centrifugo_hub_stat(&me, &st);
        CHECK(st.channels == 1);
    }

    CHECK(seen > 1000);

    for (i = 0; i < SLOTS; i++) {
        CHECK((reg->slots[i].state == NGX_CENTRIFUGO_SLOT_FREE)
              == (i != me.slot));
    }

    printf("  %lu publications seen, %lu repairs\n", (unsigned long) seen,
           (unsigned long) (st.repairs[0] + st.repairs[1]
                            + st.repairs[2]));
    CHECK(st.wipes == 0);
    ngx_centrifugo_hub_exit(&me);
}


/* what a worker of the test does for its life: passes every point */

static void
busy(uint64_t *cell, ngx_uint_t point, ngx_uint_t nth)
{
    char                       name[300];
    uint64_t                   cursor;
    ngx_str_t                  ch, data;
    ngx_uint_t                 i, k, slot;
    ngx_centrifugo_hub_t       w;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_control_t   c;

    ngx_centrifugo_fault_arm(point, nth, cell);
    enter(&w);

    for (k = 0; k < 8; k++) {

        for (i = 0; i < 300; i++) {
            memset(name, 'a' + i % 20, sizeof(name));
            ch.data = (u_char *) name;
            ch.len = 20 + snprintf(name, sizeof(name), "c%lu.",
                                   (unsigned long) i)
                     + (i % 4 ? 250 : i % 250);
            name[strlen(name)] = '.';

            if (k % 2 == 0) {
                CHECK(unit_join(&w, &ch, &j) == NGX_OK);

            } else {
                ngx_centrifugo_hub_leave(&w, &ch);
            }
        }

        ch = S("kept");
        (void) unit_join(&w, &ch, &j);
        publish(&w, "kept", "x");
        (void) ngx_centrifugo_hub_wake(&w);
        ngx_centrifugo_hub_leave(&w, &ch);

        data = S("message");
        (void) ngx_centrifugo_control_send(&w, NGX_CENTRIFUGO_TO_ALL, 0,
                                           NGX_CENTRIFUGO_CONTROL_REQUEST, 1,
                                           1, &data);

        while (next(&w, &e) != NGX_DONE) { /* void */ }
        while (ngx_centrifugo_control_read(&w, &c) != NGX_DONE) { /* void */ }

        /* another's slot, left behind */

        if (fork() == 0) {
            ngx_centrifugo_hub_t  dead;

            ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
            enter(&dead);
            (void) unit_join(&dead, &ch, &j);
            _exit(0);
        }

        (void) wait(NULL);
        (void) reap_all(&w);

        if (point >= NGX_CENTRIFUGO_POINT_WIPE_BEGUN
            && (point <= NGX_CENTRIFUGO_POINT_WIPE_EMPTY
                || point == NGX_CENTRIFUGO_POINT_RESYNC_WALK
                || point == NGX_CENTRIFUGO_POINT_RESYNC_END))
        {
            for (i = 0; i < shm->shards; i++) {
                CHECK(ngx_centrifugo_shard_lock(&w, i) == NGX_OK);
                ngx_centrifugo_shard_wipe(&w, i);
                ngx_centrifugo_shard_unlock(&w, i);
            }

            (void) ngx_centrifugo_hub_resync_begin(&w);
            (void) unit_rejoin(&w, &ch, &cursor);
            (void) ngx_centrifugo_hub_resync_end(&w);
            ngx_centrifugo_hub_leave(&w, &ch);
        }
    }

    /* a clean exit */

    slot = w.slot;
    cursor = 0;

    while (ngx_centrifugo_hub_reap(&w, slot, &cursor) == NGX_AGAIN) {
        /* void */
    }

    ngx_centrifugo_registry_free(reg, slot);
    _exit(unit_failed ? 1 : 0);
}


/*
 * A worker is killed at each point in turn, as the first, second, ... that
 * passes it: whoever comes after finds every lock free, every count right, all
 * memory there, and is heard by those who live.
 */

static void
points(void)
{
    int                        status;
    pid_t                      pid;
    uint64_t                   id, *cell;
    ngx_int_t                  rc;
    ngx_str_t                  ch, data;
    ngx_uint_t                 point, nth, killed, i, wiped, got;
    ngx_centrifugo_hub_t       me;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_control_t   c;
    ngx_centrifugo_hub_stat_t  st, base;
    static const ngx_uint_t    turns[] = { 1, 2, 7, 40, 301 };

    cell = map(4096);
    killed = 0;

    for (point = 0; point < NGX_CENTRIFUGO_POINT_N; point++) {

        /* the layers above have it, and the tests of their parts those */

        if (point == NGX_CENTRIFUGO_POINT_HOUSEKEEPER
            || (point >= NGX_CENTRIFUGO_POINT_DUE_LINK
                && point <= NGX_CENTRIFUGO_POINT_EVICT_ITEM)
            || (point >= NGX_CENTRIFUGO_POINT_CHAIN_ITEM
                && point <= NGX_CENTRIFUGO_POINT_HISTORY_READ))
        {
            continue;
        }

        fresh(1024 * 1024);
        ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
        enter(&me);
        ch = S("kept");
        CHECK(unit_join(&me, &ch, &j) == NGX_OK);
        ngx_centrifugo_hub_stat(&me, &base);

        for (nth = 0; nth < 5; nth++) {

            *cell = 0;
            pid = fork();

            if (pid == 0) {
                busy(cell, point, turns[nth]);
            }

            CHECK(waitpid(pid, &status, 0) == pid);

            if (WIFSIGNALED(status)) {
                CHECK(WTERMSIG(status) == SIGKILL);
                killed++;

            } else {
                CHECK(WEXITSTATUS(status) == 0);
                CHECK(nth > 0);
                break;
            }

            /* before the dead one is even noticed */

            if (publish(&me, "kept", "after") != NGX_OK) {
                printf("point %s turn %lu\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turns[nth]);
                CHECK(0);
            }

            publish(&me, "another", "after");
            CHECK(reap_all(&me) <= 2);

            ngx_centrifugo_hub_stat(&me, &st);
            wiped = (st.wipes != 0);
            CHECK(!wiped || (point >= NGX_CENTRIFUGO_POINT_WIPE_BEGUN
                             && (point <= NGX_CENTRIFUGO_POINT_WIPE_EMPTY
                                 || point == NGX_CENTRIFUGO_POINT_RESYNC_WALK
                                 || point
                                    == NGX_CENTRIFUGO_POINT_RESYNC_END)));

            got = 0;

            while ((rc = next(&me, &e)) != NGX_DONE) {
                CHECK(rc == NGX_OK);
                got += e.data.len == 5 && memcmp(e.data.data, "after", 5) == 0
                       && (wiped || e.channel == j.channel);
            }

            if (got != 1 && !wiped) {
                printf("point %s turn %lu: got %lu\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turns[nth], (unsigned long) got);
            }

            CHECK(got == 1 || (wiped && got == 2));

            while (ngx_centrifugo_control_read(&me, &c) == NGX_OK) {
                /* void */
            }

            if (ngx_centrifugo_hub_resync_check(&me)) {
                CHECK(wiped);

                do {
                    (void) ngx_centrifugo_hub_resync_begin(&me);
                    CHECK(ngx_centrifugo_hub_resync_ready(&me));
                    (void) unit_rejoin(&me, &ch, &id);
                } while (ngx_centrifugo_hub_resync_end(&me) != NGX_OK);
            }

            CHECK(ngx_centrifugo_hub_resync_check(&me) == 0);

            ngx_centrifugo_hub_stat(&me, &st);

            if (st.channels != 1 || st.channel_bytes != base.channel_bytes
                || st.resync != 0
                || st.pages - st.pages_free
                   > shm->shards * NGX_CENTRIFUGO_SIZES)
            {
                printf("point %s turn %lu: %lu channels, %lu bytes, %lu to "
                       "resync, %lu pages\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turns[nth],
                       (unsigned long) st.channels,
                       (unsigned long) st.channel_bytes,
                       (unsigned long) st.resync,
                       (unsigned long) (st.pages - st.pages_free));
                CHECK(0);
            }

            /* a message to all is heard; the ring has not stayed locked */

            data = S("still here");
            CHECK(ngx_centrifugo_control_send(&me, NGX_CENTRIFUGO_TO_ALL, 0,
                                              NGX_CENTRIFUGO_CONTROL_REQUEST,
                                              7, 0, &data)
                  == NGX_OK);
            CHECK(ngx_centrifugo_control_read(&me, &c) == NGX_OK
                  && c.request == 7);

            for (i = 0; i < SLOTS; i++) {
                CHECK((reg->slots[i].state == NGX_CENTRIFUGO_SLOT_FREE)
                      == (i != me.slot));
            }
        }

        ngx_centrifugo_hub_exit(&me);
    }

    printf("  %lu points, %lu kills\n",
           (unsigned long) NGX_CENTRIFUGO_POINT_N, (unsigned long) killed);
}


/*
 * A damaged shard is emptied; nobody is deaf before, while and after the
 * channels are put back.
 */

static void
wipe(void)
{
    char                       name[32];
    uint64_t                   hash, id, ids[100];
    ngx_str_t                  ch;
    ngx_uint_t                 i, n, got;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_join_t      j;
    ngx_centrifugo_entry_t     e;
    ngx_centrifugo_control_t   c;
    ngx_centrifugo_hub_stat_t  st;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "w%lu", (unsigned long) i);
        ch = S(name);
        CHECK(unit_join(&a, &ch, &j) == NGX_OK);
        ids[i] = j.channel;
    }

    CHECK(ngx_centrifugo_hub_resync_check(&a) == 0);
    publish(&b, "w7", "before");

    /* a wild store into the bucket of w7 */

    ch = S("w7");
    hash = ngx_centrifugo_hash(shm->seed, ch.data, ch.len);
    n = hash & (shm->shards - 1);
    *hub_bucket(shm, n, (hash >> 32) & (shm->buckets - 1)) = 0xfffffff0;

    CHECK(publish(&b, "w7", "during") == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 1 && st.resync == 2);
    CHECK(ngx_centrifugo_control_read(&a, &c) == NGX_OK
          && c.kind == NGX_CENTRIFUGO_CONTROL_RESYNC && c.data.data[0] == n);
    CHECK(ngx_centrifugo_hub_resync_check(&a) == 1ULL << n);

    /* its name would be in the log, which is smaller than that */

    {
        u_char     *text;
        ngx_str_t   long_name, x = ngx_string("x"), none = ngx_null_string;

        long_name.len = shm->log.size + 65536;
        text = malloc(long_name.len + 20);
        memset(text, 'n', long_name.len);
        long_name.data = text;

        /* one for each shard, the wiped one among them */

        for (i = 0; i < 200; i++) {
            sprintf((char *) text, "%lu", (unsigned long) i);
            CHECK(unit_publish(&b, &long_name, &none, &x, 1, 0)
                  == NGX_DECLINED);
        }

        free(text);
    }

    /* a wipe while it walks: all again */

    (void) ngx_centrifugo_hub_resync_begin(&a);
    CHECK(!ngx_centrifugo_hub_resync_ready(&a));

    got = 0;

    while (next(&a, &e) != NGX_DONE) {
        got++;
        CHECK(got == 1 ? e.name.len == 0 && e.channel == ids[7]
                       : e.name.len == 2 && memcmp(e.name.data, "w7", 2) == 0);
    }

    CHECK(got == 2 && ngx_centrifugo_hub_resync_ready(&a));
    CHECK(unit_rejoin(&a, &ch, &id) == NGX_OK
          && id > ids[99]);

    CHECK(ngx_centrifugo_shard_lock(&b, n) == NGX_OK);
    ngx_centrifugo_shard_wipe(&b, n);
    ngx_centrifugo_shard_unlock(&b, n);
    CHECK(ngx_centrifugo_hub_resync_end(&a) == NGX_AGAIN);

    (void) ngx_centrifugo_hub_resync_begin(&a);

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "w%lu", (unsigned long) i);
        ch = S(name);
        (void) unit_rejoin(&a, &ch, &ids[i]);
    }

    CHECK(ngx_centrifugo_hub_resync_end(&a) == NGX_OK);

    /* b has nothing to put back, but has to say so */

    CHECK(ngx_centrifugo_hub_resync_check(&b) == 1ULL << n);
    (void) ngx_centrifugo_hub_resync_begin(&b);
    CHECK(ngx_centrifugo_hub_resync_end(&b) == NGX_OK);

    for (i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "w%lu", (unsigned long) i);
        CHECK(publish(&b, name, "x") == NGX_OK);
        CHECK(next(&a, &e) == NGX_OK && e.name.len == 0
              && e.channel == ids[i]);
        ch = S(name);
        ngx_centrifugo_hub_leave(&a, &ch);
    }

    /* a record chain that runs in a circle ends, too */

    ch = S("round");
    CHECK(unit_join(&a, &ch, &j) == NGX_OK);
    hash = ngx_centrifugo_hash(shm->seed, ch.data, ch.len);
    n = hash & (shm->shards - 1);

    {
        size_t                    room;
        ngx_centrifugo_ref_t     *ref;
        ngx_centrifugo_record_t  *rec;

        ref = hub_bucket(shm, n, (hash >> 32) & (shm->buckets - 1));
        rec = ngx_centrifugo_page_item(shm, *ref, &room);
        rec->item.next = *ref;
        rec->item.hash++;
    }

    CHECK(publish(&b, "round", "x") == NGX_OK);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.wipes == 3);

    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * The control ring: nothing is lost for who answers, a full ring is told and
 * does not stay full, who was silent notices.
 */

static void
control(void)
{
    static u_char              big[300000];
    size_t                     got;
    uint64_t                   n, seen;
    ngx_int_t                  rc;
    ngx_str_t                  d;
    ngx_uint_t                 i;
    uint32_t                   gen;
    ngx_centrifugo_hub_t       a, b;
    ngx_centrifugo_control_t   c;

    fresh(1024 * 1024);
    enter(&a);
    enter(&b);
    gen = reg->slots[b.slot].generation;

    /* in parts, to one only */

    for (i = 0; i < sizeof(big); i++) {
        big[i] = (u_char) (i * 31);
    }

    d.data = big;
    d.len = 200000;
    CHECK(ngx_centrifugo_control_send(&a, b.slot, gen,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 5, 99,
                                      &d)
          == NGX_OK);

    for (got = 0; got < d.len; got += c.data.len) {
        CHECK(ngx_centrifugo_control_read(&b, &c) == NGX_OK);
        CHECK(c.part == got && c.total == d.len && c.request == 5
              && c.deadline == 99 && c.from == a.slot
              && c.from_generation == reg->slots[a.slot].generation
              && c.data.len <= 65536
              && memcmp(c.data.data, big + got, c.data.len) == 0);

        if (c.data.len == 0) {
            break;
        }
    }

    CHECK(ngx_centrifugo_control_read(&b, &c) == NGX_DONE);
    CHECK(ngx_centrifugo_control_read(&a, &c) == NGX_DONE);

    d.len = sizeof(big);
    CHECK(ngx_centrifugo_control_send(&a, b.slot, gen,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 5, 99,
                                      &d)
          == NGX_ERROR);

    /* a generation that is gone */

    d = S("x");
    CHECK(ngx_centrifugo_control_send(&a, b.slot, gen + 1,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 5, 99,
                                      &d)
          == NGX_DECLINED);
    CHECK(ngx_centrifugo_control_send(&a, 17, 0,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 5, 99,
                                      &d)
          == NGX_DECLINED);

    /* full, and free again as soon as the laggard reads */

    d.data = big;
    n = 0;
    seen = 0;

    for (i = 0; i < 40; i++) {

        for ( ;; ) {
            d.len = random() % 3000;
            rc = ngx_centrifugo_control_send(&a, NGX_CENTRIFUGO_TO_ALL, 0,
                                             NGX_CENTRIFUGO_CONTROL_REQUEST,
                                             n + 1, 0, &d);
            if (rc != NGX_OK) {
                break;
            }

            n++;

            while (ngx_centrifugo_control_read(&a, &c) == NGX_OK) {
                /* void */
            }
        }

        CHECK(rc == NGX_BUSY);
        CHECK(a.ring[0] & 1ULL << b.slot);

        for (got = 1 + random() % 120; got; got--) {
            rc = ngx_centrifugo_control_read(&b, &c);

            if (rc != NGX_OK) {
                break;
            }

            CHECK(c.request == ++seen);
        }
    }

    while ((rc = ngx_centrifugo_control_read(&b, &c)) == NGX_OK) {
        CHECK(c.request == ++seen);
    }

    CHECK(rc == NGX_DONE && seen == n);

    /* silent for 30 s: nobody waits; it notices */

    ngx_current_msec += NGX_CENTRIFUGO_SILENCE + 1;
    ngx_centrifugo_registry_beat(reg, a.slot);

    for (i = 0; i < 2000; i++) {
        d.len = 1000;
        CHECK(ngx_centrifugo_control_send(&a, NGX_CENTRIFUGO_TO_ALL, 0,
                                          NGX_CENTRIFUGO_CONTROL_REQUEST, i,
                                          0, &d)
              == NGX_OK);
        CHECK(ngx_centrifugo_control_read(&a, &c) == NGX_OK);
    }

    d.len = 10;
    CHECK(ngx_centrifugo_control_send(&a, b.slot, gen,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 1, 0,
                                      &d)
          == NGX_DECLINED);
    CHECK(ngx_centrifugo_control_read(&b, &c) == NGX_DECLINED);
    CHECK(ngx_centrifugo_control_read(&b, &c) == NGX_DONE);
    ngx_centrifugo_registry_beat(reg, b.slot);
    CHECK(ngx_centrifugo_control_send(&a, b.slot, gen,
                                      NGX_CENTRIFUGO_CONTROL_REQUEST, 1, 0,
                                      &d)
          == NGX_OK);
    CHECK(ngx_centrifugo_control_read(&b, &c) == NGX_OK);

    /* any bytes in the ring */

    for (i = 0; i < 20000; i++) {
        (void) ngx_centrifugo_control_send(&a, NGX_CENTRIFUGO_TO_ALL, 0,
                                           NGX_CENTRIFUGO_CONTROL_REQUEST, i,
                                           0, &d);
        ((u_char *) hub_at(shm, shm->control.at))
            [(hub_member(shm, b.slot)->control + random() % 130)
             % shm->control.size] = (u_char) random();

        while (ngx_centrifugo_control_read(&b, &c) != NGX_DONE) { /* void */ }
        while (ngx_centrifugo_control_read(&a, &c) != NGX_DONE) { /* void */ }
    }

    ngx_centrifugo_hub_exit(&a);
    ngx_centrifugo_hub_exit(&b);
}


/*
 * A wipe is cut off after the shard's pages were given back: they are another
 * shard's when it is done again, and nothing of them may be touched.
 */

static void
wipe_again(void)
{
    char                         name[32];
    pid_t                        pid;
    uint32_t                     page;
    ngx_str_t                    ch;
    ngx_uint_t                   i, n, other;
    ngx_centrifugo_hub_t         a;
    ngx_centrifugo_join_t        j;
    ngx_centrifugo_page_t       *p, before;
    ngx_centrifugo_intent_t     *intent;

    fresh(1024 * 1024);
    enter(&a);
    ch = S("first");
    CHECK(unit_join(&a, &ch, &j) == NGX_OK);
    n = ngx_centrifugo_hash(shm->seed, ch.data, ch.len) & (shm->shards - 1);

    for (i = 0; hub_shard(shm, n)->avail[i] == 0; i++) { /* void */ }

    page = hub_shard(shm, n)->avail[i] - 1;
    pid = fork();

    if (pid == 0) {
        CHECK(ngx_centrifugo_shard_lock(&a, n) == NGX_OK);
        intent = &hub_shard(shm, n)->intent;
        intent->list = NGX_CENTRIFUGO_LIST_UNLINK;
        intent->list_class = 7;
        intent->list_page = page + 1;
        intent->list_prev = 0;
        intent->list_next = 0;
        intent->moving = page + 1;
        intent->state = NGX_CENTRIFUGO_INTENT_WIPE;
        ngx_centrifugo_page_drop(shm, n);
        _exit(0);
    }

    CHECK(waitpid(pid, NULL, 0) == pid);

    /* another shard gets the page */

    for (i = 0; ((u_char *) hub_at(shm, shm->owners_at))[page] == 0; i++) {
        snprintf(name, sizeof(name), "n%lu", (unsigned long) i);
        ch = S(name);
        other = ngx_centrifugo_hash(shm->seed, ch.data, ch.len)
                & (shm->shards - 1);

        if (other != n) {
            CHECK(unit_join(&a, &ch, &j) == NGX_OK);
        }
    }

    p = hub_at(shm, shm->pages_at + (uint64_t) page * NGX_CENTRIFUGO_PAGE);
    before = *p;
    CHECK(p->linked);

    ch = S("first");
    CHECK(publish(&a, "first", "x") == NGX_OK);
    CHECK(hub_shard(shm, n)->wipes == 1 && hub_shard(shm, n)->counts.channels == 0);
    CHECK(memcmp(&before, p, sizeof(before)) == 0);
    CHECK(((u_char *) hub_at(shm, shm->owners_at))[page] != n + 1);

    ngx_centrifugo_hub_exit(&a);
}


/* workers that take places at once: there are never more than the limit */

static void
takes(void)
{
    enum { WORKERS = 4 };

    int                       status;
    pid_t                     pid[WORKERS];
    uint64_t                 *cell;
    ngx_uint_t                i, k, n;
    ngx_centrifugo_hub_t      w;
    ngx_centrifugo_counter_e  gauge;

    cell = map(4096);
    gauge = NGX_CENTRIFUGO_GAUGE_SESSIONS;

    fresh(1024 * 1024);
    enter(&w);

    for (i = 0; i < 3; i++) {
        CHECK(ngx_centrifugo_hub_take(&w, gauge, 3) == NGX_OK);
    }

    CHECK(ngx_centrifugo_hub_take(&w, gauge, 3) == NGX_DECLINED);
    CHECK(ngx_centrifugo_hub_take(&w, gauge, 0) == NGX_OK);
    CHECK(ngx_centrifugo_hub_sum(&w, gauge) == 4);

    ngx_centrifugo_hub_add(&w, gauge, -4);

    for (k = 0; k < WORKERS; k++) {
        pid[k] = fork();

        if (pid[k] == 0) {
            enter(&w);

            for (i = 0; i < 200000; i++) {
                if (ngx_centrifugo_hub_take(&w, gauge, 1) != NGX_OK) {
                    continue;
                }

                /* alone: nobody else may have the only place */

                if (__atomic_exchange_n(cell, 1, __ATOMIC_SEQ_CST)) {
                    _exit(2);
                }

                for (n = 0; n < 50; n++) {
                    ngx_cpu_pause();
                }

                cell[1]++;
                __atomic_store_n(cell, 0, __ATOMIC_SEQ_CST);
                ngx_centrifugo_hub_add(&w, gauge, -1);
            }

            _exit(0);
        }
    }

    for (k = 0; k < WORKERS; k++) {
        CHECK(waitpid(pid[k], &status, 0) == pid[k]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }

    CHECK(cell[1] > 0 && ngx_centrifugo_hub_sum(&w, gauge) == 0);

    ngx_centrifugo_hub_exit(&w);
}


int
main(void)
{
    /* a reader that runs beside a writer races with it by design */

    basics();
    overrun();
    garbage();
    wipe();
    wipe_again();
    control();
    takes();
    points();
    kills();

    return UNIT_END();
}
