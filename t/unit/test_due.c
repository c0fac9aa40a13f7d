/*
 * The wheel of what expires, against a model: items with any times, a clock
 * that runs or jumps, and kills at each step of a list.
 */

#include "unit_hub.h"


#define ITEMS  700


typedef struct {
    ngx_centrifugo_ref_t  ref;
    uint64_t              at;           /* 0: in no list */
    uint64_t              since;        /* when that was set */
} model_t;


static model_t   items[ITEMS];
static uint64_t  now;                   /* ms */


static ngx_centrifugo_due_t *
due_of(ngx_uint_t i)
{
    size_t  room;

    return ngx_centrifugo_page_item(shm, items[i].ref, &room);
}


/* items that are in no list, and of shard 1 all */

static void
make(ngx_centrifugo_hub_t *me, uint64_t start)
{
    ngx_uint_t               i;
    ngx_centrifugo_item_t   *item;
    ngx_centrifugo_shard_t  *shard;

    now = start;
    ngx_current_msec = start;
    fresh(1024 * 1024);
    enter(me);
    shard = hub_shard(shm, 1);

    for (i = 0; i < ITEMS; i++) {
        CHECK(ngx_centrifugo_shard_take(me, 1,
                                        sizeof(ngx_centrifugo_result_t),
                                        NGX_CENTRIFUGO_ITEM_RESULT, &item)
              == NGX_OK);
        shard->intent.state = NGX_CENTRIFUGO_INTENT_NONE;
        items[i].ref = hub_ref(shm, item);
        items[i].at = 0;
        due_of(i)->tick = 0;
    }
}


/* every list is whole, and holds exactly what it should */

static void
whole(void)
{
    ngx_uint_t               i, k;
    ngx_centrifugo_ref_t     ref, prev;
    ngx_centrifugo_due_t    *due;
    ngx_centrifugo_shard_t  *shard;
    static u_char            seen[ITEMS];

    shard = hub_shard(shm, 1);
    memset(seen, 0, sizeof(seen));

    for (i = 0; i < NGX_CENTRIFUGO_DUE_LEVELS * NGX_CENTRIFUGO_DUE_TICKS;
         i++)
    {
        prev = 0;

        for (ref = shard->due[i]; ref; ref = due->next) {

            for (k = 0; k < ITEMS && items[k].ref != ref; k++) { /* void */ }

            if (k == ITEMS || seen[k]) {
                CHECK(0);
                return;
            }

            seen[k] = 1;
            due = due_of(k);
            CHECK(due->prev == prev && due->tick > shard->due_tick);
            CHECK(items[k].at != 0
                  && due->tick - 1 <= ngx_max(items[k].at / 1000 + 1,
                                              shard->due_tick));
            prev = ref;
        }
    }

    for (k = 0; k < ITEMS; k++) {
        CHECK((items[k].at != 0) == seen[k] && seen[k] == !!due_of(k)->tick);
    }
}


static uint64_t
any_time(void)
{
    static const uint64_t  spans[] = {
        1, 900, 3000, 64000, 65000, 300000, 4096000, 5000000, 86400000,
        270000000, 2592000000
    };

    return now + (uint64_t) random() % spans[random() % 11];
}


/*
 * What is looked at is due, or is moved on; nothing that is due stays, and
 * nothing comes more often than a list of each level asks.
 */

static uint64_t
look(void)
{
    uint64_t               looks;
    ngx_int_t              rc;
    ngx_uint_t             k;
    ngx_centrifugo_due_t  *due;

    for (looks = 0; ; looks++) {
        rc = ngx_centrifugo_due_next(shm, 1, now, &due);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK) {
            CHECK(0);
            break;
        }

        for (k = 0; items[k].ref != hub_ref(shm, due); k++) { /* void */ }

        if (items[k].at <= now) {
            items[k].at = 0;
            CHECK(ngx_centrifugo_due_unset(shm, 1, due) == NGX_OK);

        } else {
            CHECK(ngx_centrifugo_due_move(shm, 1, due, items[k].at)
                  == NGX_OK);
        }
    }

    CHECK(hub_shard(shm, 1)->due_tick == now / 1000 + 1);

    for (k = 0; k < ITEMS; k++) {
        CHECK(items[k].at == 0
              || items[k].at / 1000 + 1 > now / 1000);
    }

    return looks;
}


static void
model(ngx_uint_t turns)
{
    uint64_t              at, looks, sets;
    ngx_uint_t            i, k;
    ngx_centrifugo_hub_t  me;
    static const uint64_t  starts[] = { 0, 63999, 4095500, 262143999,
                                        987654321987 };
    static const uint64_t  jumps[] = { 0, 1, 500, 1000, 5000, 64000, 700000,
                                       9000000, 300000000, 5000000000 };

    looks = 0;
    sets = 0;

    for (i = 0; i < turns; i++) {

        if (i % (turns / 5) == 0) {
            make(&me, starts[i / (turns / 5) % 5]);
            CHECK(hub_shard(shm, 1)->due_tick == now / 1000);
        }

        k = random() % ITEMS;

        switch (random() % 8) {

        case 0:
            CHECK(ngx_centrifugo_due_unset(shm, 1, due_of(k)) == NGX_OK);
            items[k].at = 0;
            break;

        case 1:

            /* what is not told to the wheel is found when it looks */

            if (items[k].at) {
                items[k].at += random() % 100000;
            }

            break;

        case 2:
            now += (uint64_t) random() % 2000;
            looks += look();
            break;

        case 3:
            if (random() % 20 == 0) {
                now += jumps[random() % 10] + random() % 64000;
                looks += look();
            }
            break;

        default:
            at = any_time();

            if (items[k].at == 0 || random() % 2 == 0) {
                items[k].at = at;
                sets++;

            } else {

                /* later than it is */

                items[k].at += at - now;
            }

            CHECK(ngx_centrifugo_due_set(shm, 1, due_of(k), items[k].at)
                  == NGX_OK);
        }

        if (i % 50 == 0) {
            whole();
        }

        if (unit_failed) {
            printf("turn %lu\n", (unsigned long) i);
            return;
        }
    }

    printf("  %lu set, %lu looked at\n", (unsigned long) sets,
           (unsigned long) looks);
    CHECK(looks < 4 * sets && hub_shard(shm, 1)->wipes == 0);
}


/* an hour, a month and a year without a look are made up for at once */

static void
idle(void)
{
    ngx_uint_t            i;
    struct timespec       a, b;
    ngx_centrifugo_hub_t  me;

    make(&me, 5000);

    for (i = 0; i < 3; i++) {
        items[i].at = now + 40000000ULL * (i + 1);
        CHECK(ngx_centrifugo_due_set(shm, 1, due_of(i), items[i].at)
              == NGX_OK);
    }

    clock_gettime(CLOCK_MONOTONIC, &a);
    now += 3600 * 1000;
    CHECK(look() == 0);
    now += 30ULL * 86400 * 1000;
    CHECK(look() == 3);
    whole();
    now += 360ULL * 86400 * 1000;
    CHECK(look() == 0);
    clock_gettime(CLOCK_MONOTONIC, &b);

    CHECK((b.tv_sec - a.tv_sec) * 1000000
          + (b.tv_nsec - a.tv_nsec) / 1000 < 20000);
}


/* one step, by a worker that may die of it; returns whether it did */

static ngx_uint_t
step(ngx_uint_t point, uint64_t *cell, ngx_uint_t k, uint64_t at)
{
    int                   status;
    pid_t                 pid;
    ngx_centrifugo_hub_t  w;

    *cell = 0;
    pid = fork();

    if (pid == 0) {
        ngx_centrifugo_fault_arm(point, 1, cell);
        enter(&w);

        if (ngx_centrifugo_shard_lock(&w, 1) != NGX_OK) {
            _exit(1);
        }

        if (point == NGX_CENTRIFUGO_POINT_DUE_TICK) {
            hub_shard(shm, 1)->due_tick--;
            look();
        }

        (void) (at ? ngx_centrifugo_due_move(shm, 1, due_of(k), at)
                   : ngx_centrifugo_due_unset(shm, 1, due_of(k)));

        ngx_centrifugo_shard_unlock(&w, 1);
        _exit(0);
    }

    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

    return WIFSIGNALED(status) ? 1 : 0;
}


/*
 * A worker dies at each point of each of the things that are done to lists,
 * whoever repairs it dies too; then it is done, or it is not and can be done
 * again, and all lists are whole.
 */

static void
points(void)
{
    uint64_t              *cell, at;
    ngx_uint_t             point, turn, k, n, killed;
    ngx_centrifugo_hub_t   me;
    static const ngx_uint_t  ps[] = {
        NGX_CENTRIFUGO_POINT_DUE_LINK, NGX_CENTRIFUGO_POINT_DUE_LINKED,
        NGX_CENTRIFUGO_POINT_DUE_UNLINK, NGX_CENTRIFUGO_POINT_DUE_UNLINKED
    };

    cell = map(4096);
    killed = 0;

    for (point = NGX_CENTRIFUGO_POINT_DUE_LINK;
         point <= NGX_CENTRIFUGO_POINT_DUE_TICK;
         point++)
    {
        n = 0;

        for (turn = 0; turn < 60; turn++) {

            if (turn % 20 == 0) {
                ngx_centrifugo_fault_arm(NGX_CENTRIFUGO_POINT_N, 0, cell);
                make(&me, 5000);

                for (k = 0; k < 30; k++) {
                    items[k].at = any_time();
                    CHECK(ngx_centrifugo_due_set(shm, 1, due_of(k),
                                                 items[k].at)
                          == NGX_OK);
                }
            }

            /* one is new, moves or goes: the first, the last or another */

            k = random() % 40;
            at = (turn % 3 == 0) ? any_time()
                 : (turn % 3 == 1) ? now + 1 + random() % 2000 : 0;

            n += step(point, cell, k, at);
            killed += step(ps[random() % 4], cell, k, at);

            CHECK(ngx_centrifugo_shard_lock(&me, 1) == NGX_OK);

            /* who dies in it has it done again by its own repair */

            CHECK((at ? ngx_centrifugo_due_set(shm, 1, due_of(k), at)
                      : ngx_centrifugo_due_unset(shm, 1, due_of(k)))
                  == NGX_OK);

            items[k].at = at;
            whole();
            CHECK(hub_shard(shm, 1)->wipes == 0);
            ngx_centrifugo_shard_unlock(&me, 1);
            (void) reap_all(&me);

            if (unit_failed) {
                printf("point %s turn %lu\n",
                       ngx_centrifugo_fault_name(point),
                       (unsigned long) turn);
                return;
            }
        }

        killed += n;
        CHECK(n > 0);
    }

    printf("  %lu kills\n", (unsigned long) killed);
}


int
main(void)
{
    srandom(7);

    model(200000);
    idle();
    points();

    return UNIT_END();
}
