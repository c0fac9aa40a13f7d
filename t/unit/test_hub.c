/*
 * The hub's shared memory: log, words of interest, shards, repairs.  Processes
 * share a mapping as workers do, and some are killed.
 */

#include "unit.h"
#include "hub/ngx_centrifugo_hub_shm.h"

#include <signal.h>
#include <sys/time.h>

#define ZONE   (8 * 1024 * 1024)
#define SLOTS  64


static ngx_centrifugo_registry_t  *reg;
static ngx_centrifugo_hub_shm_t   *shm;


static void *
map(size_t size)
{
    return mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
}


static void
fresh(size_t log)
{
    u_char  seed[32] = "0123456789abcdef0123456789abcde";

    reg = map(NGX_CENTRIFUGO_REGISTRY_SIZE);
    CHECK(ngx_centrifugo_registry_init(reg) == NGX_OK);
    CHECK(ngx_centrifugo_registry_bells(reg, 8) == NGX_OK);

    shm = ngx_centrifugo_hub_format(map(ZONE), ZONE, log, SLOTS, seed);
    CHECK(shm != NULL);
}


static ngx_uint_t
want_all(ngx_centrifugo_hub_t *hub, uint64_t channel)
{
    return hub->data == NULL || *(uint64_t *) hub->data == channel;
}


static void
enter(ngx_centrifugo_hub_t *hub)
{
    ngx_uint_t  slot;

    memset(hub, 0, sizeof(*hub));
    hub->shm = shm;
    hub->registry = reg;
    hub->wanted = want_all;
    hub->slot = NGX_CENTRIFUGO_NO_SLOT;

    slot = ngx_centrifugo_registry_claim(reg, SLOTS);
    CHECK(slot != NGX_CENTRIFUGO_NO_SLOT);
    ngx_centrifugo_hub_enter(hub, slot);
    ngx_centrifugo_registry_live(reg, slot);
}


static ngx_int_t
publish(ngx_centrifugo_hub_t *hub, const char *channel, const char *data)
{
    ngx_str_t  c, d, none = ngx_null_string;

    c = S(channel);
    d = S(data);

    return ngx_centrifugo_hub_publish(hub, &c, &none, &d, 1, 0);
}


static ngx_int_t
next(ngx_centrifugo_hub_t *hub, ngx_centrifugo_entry_t *e)
{
    ngx_int_t  rc;

    do {
        rc = ngx_centrifugo_hub_read(hub, e);
    } while (rc == NGX_AGAIN);

    return rc;
}


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
    CHECK(ngx_centrifugo_hub_join(&a, &ch, &ja) == NGX_OK);
    CHECK(ngx_centrifugo_hub_join(&b, &ch, &jb) == NGX_OK);
    CHECK(ja.channel == jb.channel && ja.channel != 0);

    CHECK(publish(&b, "news", "hello") == NGX_OK);
    CHECK(ngx_centrifugo_hub_wake(&b) == 1);
    CHECK(reg->slots[0].pending == 1 && reg->slots[1].pending == 0);
    CHECK(next(&a, &e) == NGX_OK && e.channel == ja.channel && e.json
          && e.data.len == 5 && memcmp(e.data.data, "hello", 5) == 0
          && e.pos >= ja.pos);
    CHECK(next(&a, &e) == NGX_DONE);
    CHECK(next(&b, &e) == NGX_OK && next(&b, &e) == NGX_DONE);

    /* a later subscription does not want what was before it */

    CHECK(ngx_centrifugo_hub_join(&a, &ch, &again) == NGX_OK
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
            CHECK(ngx_centrifugo_hub_join(&a, &ch, &ja) == NGX_OK);

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

        if (ngx_centrifugo_hub_join(&a, &ch, &ja) != NGX_OK) {
            break;
        }
    }

    CHECK(i > 1000);
    ngx_centrifugo_hub_stat(&a, &st);
    CHECK(st.channels == i && st.pages_free == 0);

    ch.len = NGX_CENTRIFUGO_NAME_MAX + 1;
    CHECK(ngx_centrifugo_hub_join(&a, &ch, &ja) == NGX_ERROR);

    /* ids name their owner */

    CHECK(ngx_centrifugo_hub_make_id(&b, id) == NGX_OK);
    ngx_centrifugo_hub_id_owner(&a, id, &slot, &gen);
    CHECK(slot == 1 && gen == reg->slots[1].generation);
    CHECK((id[6] & 0xf0) == 0x40 && (id[8] & 0xc0) == 0x80);

    free(a.scratch);
    free(b.scratch);
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
    CHECK(ngx_centrifugo_hub_join(&a, &ch, &j) == NGX_OK);
    srandom(5);
    got = lost = 0;

    for (i = 0; i < 20000; i++) {
        d.data = data;
        d.len = 1 + random() % (i % 50 ? 3000 : 90000);
        memset(data, (int) (d.len * 7), d.len);
        CHECK(ngx_centrifugo_hub_publish(&b, &ch, &none, &d, 1, 0) == NGX_OK);

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
    CHECK(ngx_centrifugo_hub_publish(&b, &ch, &none, &d, 1, 0) == NGX_ERROR);
    d.len--;
    CHECK(ngx_centrifugo_hub_publish(&b, &ch, &none, &d, 1, 0) == NGX_OK);

    free(a.scratch);
    free(b.scratch);
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
    CHECK(ngx_centrifugo_hub_join(&a, &ch, &j) == NGX_OK);
    ring = hub_at(shm, shm->log_at);
    m = hub_member(shm, a.slot);
    srandom(11);

    for (i = 0; i < 20000; i++) {
        publish(&a, "c", "some data that is long enough");

        for (k = 0; k < 6; k++) {
            ring[(m->cursor + random() % 100) % shm->log_size]
                = (u_char) random();
        }

        while (ngx_centrifugo_hub_read(&a, &e) != NGX_DONE) { /* void */ }
    }

    CHECK(m->cursor == shm->log.head);
    free(a.scratch);
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
    CHECK(ngx_centrifugo_hub_join(&me, &ch, &j) == NGX_OK);
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
                        (void) ngx_centrifugo_hub_join(&w, &ch, &j);

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
    free(me.scratch);
}


int
main(void)
{
    /* a reader that runs beside a writer races with it by design */

    basics();
    overrun();
    garbage();
    kills();

    return UNIT_END();
}
