/*
 * What a kill leaves of presence and tallies: joins minus leaves in the log are
 * the entries, every list and count is whole, every item of every page is
 * either used or free.
 *   test_presence_kill [SECONDS]     of random kills; and then in all repairs
 */

#include "unit_presence.h"

#include <time.h>


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

        if ((point >= NGX_CENTRIFUGO_POINT_STREAM_NEW
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
 * A repair is killed, too: at each (`step` 1) or some points while it repairs
 * what a kill at another left.
 */

static void
twice(ngx_uint_t step)
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

        if (first >= NGX_CENTRIFUGO_POINT_STREAM_NEW
            && first <= NGX_CENTRIFUGO_POINT_WIPE_EMPTY)
        {
            continue;
        }

        for (point = first % step; point <= NGX_CENTRIFUGO_POINT_RING_LOGGED;
             point += step)
        {
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
 * A publication is committed, its writer dies before the log knows that it is
 * done with; the next dies in the append of a join, or of a leave.  What the
 * log's repair says of the publication must not be taken for the join.
 */

static void
stale(void)
{
    int                        status;
    pid_t                      pid;
    uint64_t                  *cell;
    ngx_uint_t                 i, point;
    ngx_centrifugo_hub_t       me, w;
    ngx_centrifugo_hub_stat_t  base;

    cell = map(4096);
    ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);

    for (point = NGX_CENTRIFUGO_POINT_RING_LOCKED;
         point <= NGX_CENTRIFUGO_POINT_RING_LOGGED;
         point++)
    {
        begin(&me);
        ngx_centrifugo_hub_stat(&me, &base);
        *next_client = 10;
        CHECK(add(&me, "a", 5, 3000, NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
              == NGX_OK);

        for (i = 0; i < 4; i++) {
            *cell = 0;
            pid = fork();

            if (pid == 0) {
                enter(&w);
                (void) join(&w, "a");

                if (i % 2 == 0) {
                    ngx_centrifugo_fault_arm(
                                   NGX_CENTRIFUGO_POINT_RING_COMMIT, 1, cell);
                    (void) publish(&w, "a", "x");

                } else {
                    ngx_centrifugo_fault_arm(point, 1, cell);
                    (void) (i == 1 ? add(&w, "a", 6, 3000,
                                         NGX_CENTRIFUGO_PRESENCE_ANNOUNCE)
                                   : take(&w, "a", 5));
                }

                _exit(0);
            }

            CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));

            if (i % 2) {
                CHECK(whole(&me));
                (void) compare(&me);
            }
        }

        (void) take(&me, "a", 5);
        CHECK(after(&me, &base));
        ngx_centrifugo_hub_exit(&me);
    }
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

    stale();
    points();
    twice(argc > 1 ? 1 : 5);
    kills(argc > 1 ? strtoul(argv[1], NULL, 10) : 5);

    return UNIT_END();
}
