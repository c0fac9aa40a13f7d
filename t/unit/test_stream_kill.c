/*
 * What a kill leaves of streams: what was answered is in the log once and in
 * the list, in order; every list and count is whole, and every item of every
 * page is either used or free.
 *   test_stream_kill [SECONDS]     of random kills; and then in all repairs
 */

#include "unit_stream.h"

#include <time.h>


#define LOG        (8 * 1024 * 1024)
#define FOLLOWED   3                    /* of the channels, by this process */
#define CHANNELS   5
#define KEYS       2000                 /* of an era, in which none expires */
#define ERAS       1000                 /* at most, of a zone */
#define IDS        (1 << 22)
#define BUF        (64 * 1024)

#define NOT_DONE   0xffffffff           /* of an answer: it was suppressed */


/* where a publication is, as its publisher or the log says */
typedef struct {
    uint32_t      offset;
    uint32_t      channel;              /* + 1 */
} place_t;

/* what the processes share */
typedef struct {
    uint64_t      clock;
    uint64_t      next_id;
    place_t       answer[IDS];
    uint32_t      key[IDS];             /* + 1, of all eras */
} shared_t;

static shared_t   *shared;
static place_t     seen[IDS];
static u_char      key_seen[FOLLOWED][KEYS * ERAS];
static uint64_t    last[FOLLOWED], epochs[FOLLOWED], ids[FOLLOWED];
static uint64_t    compared, wrong, start;
static ngx_uint_t  alone = 1;           /* no other has an older clock */
static const char *names[CHANNELS] = { "a", "bb", "ccc", "dddd", "eeeee" };


/* what is in a publication: its number and bytes that follow from it */

static size_t
make_data(u_char *buf, uint64_t id, size_t len)
{
    size_t  i;

    memcpy(buf, &id, 8);

    for (i = 8; i < len; i++) {
        buf[i] = (u_char) (id * 31 + i + len);
    }

    return len;
}


static uint64_t
check_data(const u_char *data, size_t len)
{
    size_t    i;
    uint64_t  id;

    CHECK(len >= 8);
    memcpy(&id, data, 8);

    for (i = 8; i < len; i++) {
        if (data[i] != (u_char) (id * 31 + i + len)) {
            CHECK(0);
            break;
        }
    }

    CHECK(id < IDS);

    return id % IDS;
}


static void
put(ngx_centrifugo_hub_t *w, ngx_uint_t c)
{
    char                              key[16];
    uint64_t                          id;
    ngx_int_t                         rc;
    ngx_uint_t                        k;
    static u_char                     buf[30000];
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  pub;
    static const ngx_uint_t           sizes[] = { 1, 5, 20, 50 };

    id = __atomic_fetch_add(&shared->next_id, 1, __ATOMIC_RELAXED);

    memset(&pub, 0, sizeof(pub));
    pub.channel = S(names[c]);
    pub.size = random() % 20 ? sizes[random() % 4] : 0;
    pub.ttl = 200 + random() % 800;
    pub.meta_ttl = 1000 + random() % 2000;
    pub.data.data = buf;
    pub.data.len = make_data(buf, id, 8 + random()
                                          % (random() % 30 ? 300 : 25000));

    if (random() % 4 == 0) {
        k = ngx_current_msec / NGX_CENTRIFUGO_RESULT_TTL % ERAS * KEYS
            + (ngx_uint_t) random() % KEYS;
        snprintf(key, sizeof(key), "%lu", (unsigned long) k);
        pub.key = S(key);
        shared->key[id] = (uint32_t) (k + 1);
    }

    if (random() % 16 == 0) {
        pub.version = 1 + random() % 5;
    }

    rc = ngx_centrifugo_hub_publish(w, &pub, &position);
    CHECK(rc == NGX_OK || rc == NGX_DONE || rc == NGX_DECLINED);

    shared->answer[id].offset = (rc == NGX_DONE) ? NOT_DONE
                                                 : (uint32_t) position.offset;

    /* with this it is there, a kill may come between the two */

    __atomic_store_n(&shared->answer[id].channel, (uint32_t) c + 1,
                     __ATOMIC_RELEASE);
}


static ngx_int_t
read_part(ngx_centrifugo_hub_t *w, const char *name,
    ngx_centrifugo_history_t *h)
{
    ngx_int_t        rc;
    static uint64_t  buf[BUF / 8];

    h->channel = S(name);
    h->buf = (u_char *) buf;
    h->size = BUF;
    h->limit = NGX_CENTRIFUGO_ALL;

    do {
        rc = ngx_centrifugo_hub_history(w, h);
    } while (rc == NGX_AGAIN && h->n == 0);

    CHECK(rc == NGX_OK || rc == NGX_AGAIN || rc == NGX_DECLINED);

    return rc;
}


/* one step of what workers do */

static ngx_uint_t
work(ngx_centrifugo_hub_t *w)
{
    char                      name[32];
    ngx_int_t                 rc, got;
    ngx_str_t                 ch;
    ngx_uint_t                c;
    ngx_centrifugo_join_t     join;
    ngx_centrifugo_history_t  h;

    ngx_current_msec = __atomic_load_n(&shared->clock, __ATOMIC_RELAXED);
    c = random() % CHANNELS;

    switch (random() % 24) {

    case 0:
        __atomic_add_fetch(&shared->clock, random() % 300, __ATOMIC_RELAXED);

        if (alone && random() % 10 == 0) {
            __atomic_add_fetch(&shared->clock, NGX_CENTRIFUGO_RESULT_TTL,
                               __ATOMIC_RELAXED);
        }

        ngx_current_msec = __atomic_load_n(&shared->clock, __ATOMIC_RELAXED);

        do {
            rc = ngx_centrifugo_hub_expire(w);
        } while (rc == NGX_AGAIN);

        CHECK(rc == NGX_OK);
        break;

    case 1:
        ch = S(names[c]);

        if (random() % 4 == 0) {
            CHECK(ngx_centrifugo_hub_history_remove(w, &ch) == NGX_OK);
        }

        break;

    case 2:
    case 3:

        /* a channel of one's own, which goes when it is left */

        snprintf(name, sizeof(name), "own%lu", (unsigned long) w->slot);
        ch = S(name);
        memset(&join, 0, sizeof(join));
        join.meta_ttl = 1000;
        CHECK(ngx_centrifugo_hub_join(w, &ch, &join, NULL, NULL) == NGX_OK);
        CHECK(join.position.epoch != 0 && join.position.offset == 0);
        ngx_centrifugo_hub_leave(w, &ch);
        break;

    case 4:
        ch = S(names[c]);
        memset(&join, 0, sizeof(join));
        memset(&h, 0, sizeof(h));
        join.meta_ttl = random() % 2 * 2000;
        h.channel = ch;
        CHECK(ngx_centrifugo_hub_join(w, &ch, &join, &h, &got) == NGX_OK);
        break;

    case 5:
        ch = S(names[c]);
        ngx_centrifugo_hub_leave(w, &ch);
        break;

    case 6:
    case 7:
        memset(&h, 0, sizeof(h));

        do {
            rc = read_part(w, names[c], &h);
        } while (rc == NGX_AGAIN);

        break;

    default:
        put(w, c);
    }

    return unit_failed == 0;
}


/* Reads the log to its end: each channel's offsets come in order, once. */

static void
read_log(ngx_centrifugo_hub_t *me)
{
    uint64_t                id;
    ngx_int_t               rc;
    ngx_uint_t              c;
    ngx_centrifugo_entry_t  e;

    while ((rc = next(me, &e)) != NGX_DONE) {
        CHECK(rc == NGX_OK);

        for (c = 0; c < FOLLOWED && ids[c] != e.channel; c++) { /* void */ }

        if (rc != NGX_OK || c == FOLLOWED) {
            continue;
        }

        id = check_data(e.data.data, e.data.len);
        wrong += (seen[id].channel != 0);
        seen[id].channel = (uint32_t) c + 1;
        seen[id].offset = (uint32_t) e.position.offset;

        if (shared->key[id]) {
            wrong += key_seen[c][shared->key[id] - 1];
            key_seen[c][shared->key[id] - 1] = 1;
        }

        if (e.position.offset) {
            wrong += (e.position.epoch != epochs[c]
                      || e.position.offset != last[c] + 1);
            last[c] = e.position.offset;
        }
    }
}


/* What was answered is in the log, and the lists are what the log tells. */

static ngx_uint_t
compare(ngx_centrifugo_hub_t *me)
{
    size_t                    at;
    u_char                   *p;
    uint64_t                  id, end;
    ngx_int_t                 rc;
    ngx_uint_t                c, kept;
    place_t                  *a;
    ngx_centrifugo_stored_t   s;
    ngx_centrifugo_history_t  h;

    ngx_current_msec = shared->clock;
    read_log(me);
    end = shared->next_id;
    kept = 0;

    for ( /* void */ ; compared < end; compared++) {
        a = &shared->answer[compared];

        if (a->channel == 0 || a->channel > FOLLOWED) {
            continue;
        }

        wrong += (a->offset == NOT_DONE)
                 ? seen[compared].channel != 0
                 : seen[compared].channel != a->channel
                   || seen[compared].offset != a->offset;
    }

    for (c = 0; c < CHANNELS; c++) {
        memset(&h, 0, sizeof(h));

        do {
            rc = read_part(me, names[c], &h);
            CHECK(rc != NGX_DECLINED);

            for (at = 0; stored_next(&h, &at, &s, &p); kept++) {
                id = check_data(p, s.data_len);

                if (c < FOLLOWED) {
                    wrong += (seen[id].channel != c + 1
                              || seen[id].offset != s.offset);
                    continue;
                }

                a = &shared->answer[id];
                wrong += (a->channel && (a->channel != c + 1
                                         || a->offset != s.offset));
            }
        } while (rc == NGX_AGAIN);

        if (c < FOLLOWED) {
            wrong += (h.position.offset != last[c]
                      || h.position.epoch != epochs[c]);
        }
    }

    if (wrong) {
        printf("%lu wrong\n", (unsigned long) wrong);
        CHECK(0);
        wrong = 0;
    }

    return kept;
}


static void
begin(ngx_centrifugo_hub_t *me)
{
    ngx_str_t              ch;
    ngx_uint_t             c;
    ngx_centrifugo_join_t  join;

    ngx_current_msec = shared->clock;
    fresh(LOG);
    enter(me);

    memset(key_seen, 0, sizeof(key_seen));
    start = shared->clock;
    memset(last, 0, sizeof(last));
    compared = shared->next_id;

    for (c = 0; c < FOLLOWED; c++) {
        ch = S(names[c]);
        memset(&join, 0, sizeof(join));
        join.meta_ttl = 1000;
        CHECK(ngx_centrifugo_hub_join(me, &ch, &join, NULL, NULL) == NGX_OK);
        ids[c] = join.channel;
        epochs[c] = join.position.epoch;
    }
}


/* everything expires, nothing stays */

static void
end(ngx_centrifugo_hub_t *me)
{
    ngx_str_t                  ch;
    ngx_uint_t                 c, i;
    ngx_centrifugo_hub_stat_t  st;

    for (c = 0; c < FOLLOWED; c++) {
        ch = S(names[c]);
        ngx_centrifugo_hub_leave(me, &ch);
    }

    for (i = 0; i < 40; i++) {
        ngx_current_msec += 10000;
        while (ngx_centrifugo_hub_expire(me) == NGX_AGAIN) { /* void */ }
    }

    CHECK(whole(me));
    ngx_centrifugo_hub_stat(me, &st);
    CHECK(st.channels == 0 && st.streams == 0 && st.results == 0
          && st.publications == 0 && st.wipes == 0);
    shared->clock = ngx_current_msec;
    ngx_centrifugo_hub_exit(me);
}


static ngx_uint_t
after(ngx_centrifugo_hub_t *me)
{
    ngx_uint_t                 ok;
    ngx_centrifugo_hub_stat_t  st;

    /* before the dead one is even noticed */

    ok = whole(me);
    (void) compare(me);
    put(me, 0);
    CHECK(reap_all(me) <= 6);
    ok &= whole(me);
    (void) compare(me);

    ngx_centrifugo_hub_stat(me, &st);

    return ok && st.wipes == 0;
}


static void
busy(uint64_t *cell, ngx_uint_t point, ngx_uint_t nth)
{
    ngx_uint_t            i;
    ngx_centrifugo_hub_t  w;

    unit_failed = 0;
    ngx_centrifugo_fault_arm(point, nth, cell);
    enter(&w);
    srandom(point * 100 + nth);

    for (i = 0; i < 900; i++) {
        if (!work(&w)) {
            _exit(1);
        }
    }

    _exit(unit_failed ? 1 : 0);
}


/* those that streams pass */

static ngx_uint_t
passed(ngx_uint_t point)
{
    return (point <= NGX_CENTRIFUGO_POINT_RECORD_UNLINKED
            && point != NGX_CENTRIFUGO_POINT_PAGE_EMPTY
            && point != NGX_CENTRIFUGO_POINT_PAGE_GIVEN)
           || (point >= NGX_CENTRIFUGO_POINT_CHAIN_ITEM
               && point <= NGX_CENTRIFUGO_POINT_CHAIN_FREED)
           || (point >= NGX_CENTRIFUGO_POINT_STREAM_NEW
               && point <= NGX_CENTRIFUGO_POINT_HISTORY_READ)
           || (point >= NGX_CENTRIFUGO_POINT_RING_LOCKED
               && point <= NGX_CENTRIFUGO_POINT_RING_LOGGED)
           || (point >= NGX_CENTRIFUGO_POINT_DUE_LINK
               && point <= NGX_CENTRIFUGO_POINT_EXPIRE_ITEM);
}


static void
points(void)
{
    int                      status;
    pid_t                    pid;
    uint64_t                *cell;
    ngx_uint_t               point, nth, killed;
    ngx_centrifugo_hub_t     me;
    static const ngx_uint_t  turns[] = { 1, 2, 3, 9, 24, 61, 140 };

    cell = map(4096);
    killed = 0;

    for (point = 0; point < NGX_CENTRIFUGO_POINT_N; point++) {

        if (!passed(point)) {
            continue;
        }

        ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
        begin(&me);

        for (nth = 0; nth < 7; nth++) {
            *cell = 0;
            pid = fork();

            if (pid == 0) {
                busy(cell, point, turns[nth]);
            }

            CHECK(waitpid(pid, &status, 0) == pid);
            CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

            if (!after(&me)) {
                printf("point %s turn %lu\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turns[nth]);
                CHECK(0);
            }

            if (!WIFSIGNALED(status)) {
                if (nth < 2) {
                    printf("point %s is not passed\n",
                           ngx_centrifugo_fault_name(point));
                    CHECK(0);
                }

                break;
            }

            killed++;
        }

        end(&me);
    }

    printf("  %lu kills at points\n", (unsigned long) killed);
}


/*
 * A repair is killed, too: at each (`step` 1) or some points while it repairs
 * what a kill at another left.
 */

static void
twice(ngx_uint_t step)
{
    int                   status;
    pid_t                 pid;
    uint64_t             *cell, killed;
    ngx_uint_t            first, point, n;
    ngx_centrifugo_hub_t  me, w;

    cell = map(4096);
    killed = 0;
    ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
    begin(&me);

    for (first = 0; first < NGX_CENTRIFUGO_POINT_N; first++) {

        if (!passed(first)) {
            continue;
        }

        for (point = first % step; point < NGX_CENTRIFUGO_POINT_N;
             point += step)
        {
            if (!passed(point)) {
                continue;
            }

            *cell = 0;
            pid = fork();

            if (pid == 0) {
                busy(cell, first, 2 + point % 7);
            }

            CHECK(waitpid(pid, &status, 0) == pid);

            if (!WIFSIGNALED(status)) {
                CHECK(WEXITSTATUS(status) == 0);
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

                _exit(0);
            }

            CHECK(waitpid(pid, &status, 0) == pid);
            killed += WIFSIGNALED(status);

            if (!after(&me)) {
                printf("point %s, then %s\n",
                       ngx_centrifugo_fault_name(first),
                       ngx_centrifugo_fault_name(point));
                CHECK(0);
            }
        }

        (void) after(&me);
    }

    CHECK(killed > 0);
    printf("  %lu kills of who repairs\n", (unsigned long) killed);
    end(&me);
}


/* Four workers do anything and are killed at any moment, again and again. */

static void
kills(ngx_uint_t seconds)
{
    enum { WORKERS = 4 };
    int                        status;
    pid_t                      pid[WORKERS];
    time_t                     stop;
    ngx_uint_t                 k, round;
    ngx_centrifugo_hub_t       me, w;
    ngx_centrifugo_hub_stat_t  st;

    alone = 0;
    begin(&me);
    stop = time(NULL) + seconds;

    for (round = 0;
         time(NULL) < stop && shared->next_id < IDS - 400000
         && shared->clock - start < (ERAS - 100) * NGX_CENTRIFUGO_RESULT_TTL;
         round++)
    {
        for (k = 0; k < WORKERS; k++) {
            pid[k] = fork();

            if (pid[k]) {
                continue;
            }

            unit_failed = 0;
            srandom(getpid());
            usleep(random() % 1000);
            enter(&w);

            while (work(&w)) {

                if (random() % 100 == 0) {
                    (void) reap_all(&w);
                }

                /* nothing may be lost: the test wants to read it all */

                while (shm->log.head - hub_member(shm, me.slot)->cursor
                       > LOG / 2)
                {
                    usleep(100);
                }
            }

            _exit(1);
        }

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

        CHECK(whole(&me));
        (void) compare(&me);
        CHECK(reap_all(&me) <= WORKERS + 1);
        CHECK(whole(&me));
        ngx_centrifugo_hub_stat(&me, &st);
        CHECK(st.wipes == 0);

        if (unit_failed) {
            break;
        }

        if (round % 4 == 0) {
            shared->clock += NGX_CENTRIFUGO_RESULT_TTL;
        }
    }

    printf("  %lu rounds, %lu publications, %lu repairs\n",
           (unsigned long) round, (unsigned long) shared->next_id,
           (unsigned long) (st.repairs[0] + st.repairs[1] + st.repairs[2]));
    CHECK(round > 0 && st.repairs[0] > 0);
    end(&me);
}


int
main(int argc, char **argv)
{
    shared = map(sizeof(shared_t));
    shared->clock = 1000000;

    points();
    twice(argc > 1 ? 1 : 5);
    kills(argc > 1 ? strtoul(argv[1], NULL, 10) : 5);

    return UNIT_END();
}
