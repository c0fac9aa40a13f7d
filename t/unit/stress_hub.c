/*
 * The real code of log, words of interest, control ring and doorbell, used by
 * threads that stand for workers: each has its own view of the hub, its own
 * slot and bell.  The rings are tiny, so they wrap and overrun all the time.
 *
 * Nobody has a tick.  After each round of publications all readers must have
 * read what is theirs: who sleeps over an entry has lost a wake-up.  Every
 * entry that no reported overrun explains must come once, in order and whole.
 *
 * With the points of the test build the threads pause between any two steps;
 * without them this is the code as it is shipped.
 */

#include "hub/ngx_centrifugo_hub_shm.h"
#include "unit_publish.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <time.h>

#define ZONE      (8 * 1024 * 1024)
#define LOG       4096
#define CONTROL   2048
#define SLOTS     130
#define HELD      61            /* slots of nobody: the rest lie on both sides
                                   of a mask's word */
#define WRITERS   3
#define READERS   4
#define CHANNELS  4
#define STAMPS    (1024 * 1024)
#define PATIENCE  3000          /* ms */

#define load(p)      __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)  __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* how a publication and a message begin; pattern bytes follow */

typedef struct {
    uint32_t               writer;
    uint32_t               about;       /* channel, or reader + 1, or 0: all */
    uint64_t               seq;
} head_t;

/* the next number that may come: one, or any of a range after an overrun */

typedef struct {
    uint64_t               low;
    uint64_t               high;
} range_t;

typedef struct {
    pthread_t              thread;
    ngx_uint_t             n;
    ngx_centrifugo_hub_t   hub;
    uint64_t               count;
    uint64_t               overruns;
    uint64_t               wakes;

    uint64_t               all;         /* messages sent */
    uint64_t               to[READERS];

    /* of a reader */
    uint64_t               pos;
    uint64_t               id[CHANNELS];        /* 0: not subscribed */
    uint64_t               join[CHANNELS];
    ngx_uint_t             left;                /* channel + 1 */
    uint64_t               limit[WRITERS];
    range_t                want[CHANNELS][WRITERS];
    uint64_t               messages;            /* heard */
    uint64_t               heard_all[WRITERS];
    uint64_t               heard[WRITERS];
} worker_t;


static void *writer(void *data);
static void *reader(void *data);


static ngx_centrifugo_registry_t  *reg;
static ngx_centrifugo_hub_shm_t   *shm;
static worker_t                    writers[WRITERS], readers[READERS];
static pthread_barrier_t           entered, begin, end;
static ngx_str_t                   names[CHANNELS] = {
    ngx_string("a"), ngx_string("b"), ngx_string("c"), ngx_string("d")
};

static ngx_uint_t                  plan[WRITERS];       /* of a round */
static ngx_uint_t                  over;
static ngx_uint_t                  stop;                /* asked by main */
static uint64_t                    rounds;

/* what each writer began and ended to publish to each channel */
static uint64_t                    begun[WRITERS][CHANNELS];
static uint64_t                    ended[WRITERS][CHANNELS];

static uint64_t                    told[READERS];       /* messages */

/* plain memory, ordered by the rings alone: ThreadSanitizer sees if it is */
static uint32_t                    stamps[WRITERS][STAMPS];


static __thread uint64_t           seed;


#if (NGX_CENTRIFUGO_TSAN)

const char *
__tsan_default_options(void)
{
    return "halt_on_error=1:detect_deadlocks=0:report_signal_unsafe=0";
}

#endif


static uint32_t
rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (uint32_t) (seed >> 16);
}


static void
delay(ngx_uint_t often)
{
    uint32_t         r;
    ngx_uint_t       n;
    struct timespec  ts = { 0, 20000 };

    r = rnd();

    if (r % 64 >= often) {
        return;
    }

    r = (r >> 6) % 128;

    if (r == 0) {
        (void) nanosleep(&ts, NULL);

    } else if (r < 32) {
        (void) sched_yield();

    } else {
        for (n = rnd() % 512; n; n--) {
            ngx_cpu_pause();
        }
    }
}


#if (NGX_CENTRIFUGO_TEST)

void
ngx_centrifugo_fault_point(ngx_centrifugo_point_e point)
{
    switch (point) {

    case NGX_CENTRIFUGO_POINT_RING_TAIL:
    case NGX_CENTRIFUGO_POINT_RING_COPIED:
    case NGX_CENTRIFUGO_POINT_LOG_HEAD:
    case NGX_CENTRIFUGO_POINT_BELL_PENDING:
    case NGX_CENTRIFUGO_POINT_BELL_EMPTIED:
        delay(8);
        return;

    default:
        delay(1);
    }
}

#endif


static void
fail(const char *format, ...)
{
    va_list  args;

    va_start(args, format);
    fprintf(stderr, "stress_hub: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, ", in round %lu\n", (unsigned long) load(&rounds));
    va_end(args);

    _exit(1);
}


static uint64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void *
map(size_t size)
{
    return mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
}


static u_char
pattern(head_t *h, size_t i)
{
    return (u_char) ((h->seq + h->writer) * 31 + i * 7);
}


static void
fill(u_char *p, head_t *h, size_t len)
{
    size_t  i;

    memcpy(p, h, sizeof(head_t));

    for (i = sizeof(head_t); i < len; i++) {
        p[i] = pattern(h, i);
    }
}


static void
whole(u_char *p, size_t len, head_t *h, const char *what)
{
    size_t  i;

    if (len < sizeof(head_t)) {
        fail("%s of %lu bytes", what, (unsigned long) len);
    }

    memcpy(h, p, sizeof(head_t));

    if (h->writer >= WRITERS) {
        fail("%s of nobody", what);
    }

    for (i = sizeof(head_t); i < len; i++) {
        if (p[i] != pattern(h, i)) {
            fail("%s is damaged", what);
        }
    }
}


static ngx_uint_t
wanted(ngx_centrifugo_hub_t *hub, uint64_t channel)
{
    worker_t    *w = hub->data;
    ngx_uint_t   c;

    for (c = 0; c < CHANNELS; c++) {
        if (w->id[c] == channel) {
            return 1;
        }
    }

    return 0;
}


static void
enter(worker_t *w)
{
    ngx_uint_t  slot;

    w->hub.shm = shm;
    w->hub.registry = reg;
    w->hub.wanted = wanted;
    w->hub.data = w;
    w->hub.slot = NGX_CENTRIFUGO_NO_SLOT;

    slot = ngx_centrifugo_registry_claim(reg, SLOTS);

    if (slot == NGX_CENTRIFUGO_NO_SLOT) {
        fail("no slot");
    }

    ngx_centrifugo_hub_enter(&w->hub, slot);
    ngx_centrifugo_registry_live(reg, slot);
}


static void
leave(worker_t *w)
{
    uint64_t  cursor;

    cursor = 0;

    while (ngx_centrifugo_hub_reap(&w->hub, w->hub.slot, &cursor)
           == NGX_AGAIN) { /* void */ }

    ngx_centrifugo_registry_free(reg, w->hub.slot);
    ngx_centrifugo_hub_exit(&w->hub);
}


/* the control ring */

static void
hear(worker_t *w)
{
    head_t                    h;
    uint64_t                 *next;
    ngx_int_t                 rc;
    ngx_centrifugo_control_t  m;

    while ((rc = ngx_centrifugo_control_read(&w->hub, &m)) != NGX_DONE) {

        if (rc == NGX_AGAIN) {
            continue;
        }

        if (rc != NGX_OK) {
            fail("slot %lu lost messages", (unsigned long) w->hub.slot);
        }

        whole(m.data.data, m.data.len, &h, "a message");

        if (h.about != 0 && h.about != w->n + 1) {
            fail("a message for another");
        }

        next = h.about ? &w->heard[h.writer] : &w->heard_all[h.writer];

        if (h.seq != *next) {
            fail("message %lu came as number %lu", (unsigned long) h.seq,
                 (unsigned long) *next);
        }

        (*next)++;
        store(&w->messages, w->messages + 1);

        if (h.about == 0 && h.seq < STAMPS
            && stamps[h.writer][h.seq] != (uint32_t) h.seq + 1)
        {
            fail("a message came before what was done for it");
        }
    }
}


static void
tell(worker_t *w, ngx_uint_t about)
{
    u_char                 data[256];
    head_t                 h;
    uint64_t               since;
    ngx_int_t              rc;
    ngx_str_t              s;
    ngx_uint_t             i, to;
    ngx_centrifugo_slot_t  *slot;

    h.writer = w->n;
    h.about = about;

    if (about) {
        to = readers[about - 1].hub.slot;
        slot = &reg->slots[to];
        h.seq = w->to[about - 1]++;

    } else {
        to = NGX_CENTRIFUGO_TO_ALL;
        slot = &reg->slots[0];
        h.seq = w->all++;

        if (h.seq < STAMPS) {
            stamps[w->n][h.seq] = (uint32_t) h.seq + 1;
        }
    }

    s.data = data;
    s.len = sizeof(head_t) + rnd() % 128;
    fill(data, &h, s.len);
    since = 0;

    for ( ;; ) {
        rc = ngx_centrifugo_control_send(&w->hub, to, slot->generation, 100,
                                         1, 0, &s);
        if (rc == NGX_OK) {
            break;
        }

        if (rc != NGX_BUSY) {
            fail("a message can't be sent: %ld", (long) rc);
        }

        /* full: the laggards are rung */

        (void) ngx_centrifugo_hub_wake(&w->hub);
        (void) sched_yield();

        since = since ? since : now();

        if (now() - since > PATIENCE) {
            fail("the control ring stays full");
        }
    }

    for (i = 0; i < READERS; i++) {
        if (about == 0 || about == i + 1) {
            (void) __atomic_fetch_add(&told[i], 1, __ATOMIC_RELAXED);
        }
    }
}


static void
publish(worker_t *w)
{
    u_char       data[512];
    head_t       h;
    ngx_int_t    rc;
    ngx_str_t    name, info, s;
    ngx_uint_t   c;

    c = rnd() % CHANNELS;
    name = names[c];

    h.writer = w->n;
    h.about = c;
    h.seq = begun[w->n][c] + 1;

    info.data = data;
    info.len = rnd() % (sizeof(head_t) + 1);
    s.data = data;
    s.len = sizeof(head_t) + rnd() % (rnd() % 4 ? 64 : 350);
    fill(data, &h, s.len);

    store(&begun[w->n][c], h.seq);

    rc = unit_publish(&w->hub, &name, &info, &s, 1, h.seq);

    if (rc != NGX_OK && rc != NGX_DECLINED) {
        fail("a publication failed");
    }

    store(&ended[w->n][c], h.seq);

    w->count++;
}


/*
 * All readers have what is theirs, soon and without a tick.
 */

static void
settled(void)
{
    uint64_t                  since;
    ngx_uint_t                i;
    ngx_centrifugo_member_t  *m;

    since = 0;

    for (i = 0; i < READERS; /* void */ ) {
        m = hub_member(shm, readers[i].hub.slot);

        if (load(&m->last) < load(&m->cursor)
            && load(&readers[i].messages) == load(&told[i]))
        {
            i++;
            continue;
        }

        (void) sched_yield();

        since = since ? since : now();

        if (now() - since > PATIENCE) {
            fail("slot %lu sleeps over an entry: last %lu, cursor %lu, "
                 "messages %lu of %lu, pending %u",
                 (unsigned long) readers[i].hub.slot,
                 (unsigned long) load(&m->last),
                 (unsigned long) load(&m->cursor),
                 (unsigned long) load(&readers[i].messages),
                 (unsigned long) load(&told[i]),
                 load(&reg->slots[readers[i].hub.slot].pending));
        }
    }
}


static void
round_plan(void)
{
    ngx_uint_t  i, r;

    over = load(&stop);
    store(&rounds, rounds + 1);

    for (i = 0; i < WRITERS; i++) {
        plan[i] = 0;
    }

    r = rnd() % 16;

    if (r < 10) {
        plan[rnd() % WRITERS] = 1 + rnd() % 3;

    } else {
        for (i = 0; i < WRITERS; i++) {
            plan[i] = rnd() % (r < 14 ? 8 : 100);
        }
    }
}


static void *
writer(void *data)
{
    worker_t    *w = data;

    ngx_uint_t   i, each;

    seed = 0x9e3779b97f4a7c15 * (w->n + 1);
    enter(w);

    /* it waits for others between rounds and must not hold up the ring */

    ngx_centrifugo_control_leave(&w->hub, w->hub.slot);
    pthread_barrier_wait(&entered);

    for ( ;; ) {

        if (w->n == 0) {
            settled();
            round_plan();
        }

        pthread_barrier_wait(&begin);

        if (over) {
            break;
        }

        each = rnd() % 4;

        for (i = 0; i < plan[w->n]; i++) {

            publish(w);

            if (rnd() % 8 == 0) {
                tell(w, rnd() % (READERS + 1));
            }

            if (each) {
                (void) ngx_centrifugo_hub_wake(&w->hub);
                delay(rnd() % 64);
            }
        }

        if (plan[w->n] && rnd() % 2) {
            tell(w, 0);
        }

        (void) ngx_centrifugo_hub_wake(&w->hub);

        pthread_barrier_wait(&end);
    }

    leave(w);

    return NULL;
}


static void
entry(worker_t *w, ngx_centrifugo_entry_t *e)
{
    head_t       h;
    range_t     *want;
    ngx_uint_t   c;

    for (c = 0; c < CHANNELS && w->id[c] != e->channel; c++) { /* void */ }

    if (c == CHANNELS) {
        fail("an entry of a channel that is not wanted");
    }

    if (e->pos <= w->pos) {
        fail("an entry came twice");
    }

    w->pos = e->pos;

    whole(e->data.data, e->data.len, &h, "an entry");

    if (h.about != c || e->time != h.seq || e->info.len > sizeof(head_t)
        || memcmp(e->info.data, e->data.data, e->info.len) != 0)
    {
        fail("an entry's header is not its own");
    }

    /* what comes after it left comes only where it passes anyway */

    if (e->pos < w->join[c]
        || (w->left == c + 1 && h.seq > w->limit[h.writer]))
    {
        return;
    }

    want = &w->want[c][h.writer];

    if (h.seq < want->low) {
        fail("publication %lu came again or too late",
             (unsigned long) h.seq);
    }

    if (h.seq > want->high) {
        fail("publication %lu of writer %u is lost, %lu came",
             (unsigned long) want->high, h.writer, (unsigned long) h.seq);
    }

    want->low = h.seq + 1;
    want->high = h.seq + 1;

    w->count++;
}


static void
consume(worker_t *w, ngx_uint_t strict)
{
    uint64_t                e[CHANNELS][WRITERS];
    ngx_int_t               rc;
    ngx_uint_t              c, i, subscribed;
    ngx_centrifugo_entry_t  en;

    subscribed = 0;

    for (c = 0; c < CHANNELS; c++) {
        subscribed |= (w->id[c] != 0);

        for (i = 0; strict && i < WRITERS; i++) {
            e[c][i] = load(&ended[i][c]);
        }
    }

    while ((rc = ngx_centrifugo_hub_read(&w->hub, &en)) != NGX_DONE) {

        if (rc == NGX_OK) {
            entry(w, &en);
            delay(1);
            continue;
        }

        if (rc == NGX_AGAIN) {
            continue;
        }

        if (rc != NGX_DECLINED) {
            fail("reading failed");
        }

        if (!subscribed) {
            fail("an overrun of a reader without interest");
        }

        if (load(&shm->log.tail) <= w->hub.read_pos) {
            fail("an overrun though the tail is at %lu, the reader at %lu",
                 (unsigned long) load(&shm->log.tail),
                 (unsigned long) w->hub.read_pos);
        }

        w->overruns++;

        for (c = 0; c < CHANNELS; c++) {
            for (i = 0; i < WRITERS; i++) {
                w->want[c][i].high = load(&begun[i][c]) + 1;
            }
        }
    }

    for (c = 0; strict && c < CHANNELS; c++) {
        for (i = 0; w->id[c] && i < WRITERS; i++) {
            if (w->want[c][i].high <= e[c][i]) {
                fail("publication %lu of writer %lu never came",
                     (unsigned long) w->want[c][i].high, (unsigned long) i);
            }
        }
    }
}


static void
churn(worker_t *w, ngx_uint_t c)
{
    ngx_str_t               name;
    ngx_uint_t              i;
    ngx_centrifugo_join_t   join;

    name = names[c];

    for (i = 0; i < WRITERS; i++) {
        w->limit[i] = load(&ended[i][c]);
    }

    if (w->id[c] == 0) {

        if (unit_join(&w->hub, &name, &join) != NGX_OK) {
            fail("a join failed");
        }

        w->id[c] = join.channel;
        w->join[c] = join.pos;

        for (i = 0; i < WRITERS; i++) {
            w->want[c][i].low = w->limit[i] + 1;
            w->want[c][i].high = load(&begun[i][c]) + 1;
        }

        return;
    }

    ngx_centrifugo_hub_leave(&w->hub, &name);
    w->left = c + 1;
    consume(w, 0);
    w->left = 0;

    for (i = 0; i < WRITERS; i++) {
        if (w->want[c][i].high <= w->limit[i]) {
            fail("publication %lu of writer %lu never came before the end",
                 (unsigned long) w->want[c][i].high, (unsigned long) i);
        }
    }

    w->id[c] = 0;
}


static void *
reader(void *data)
{
    worker_t       *w = data;

    ngx_uint_t      c, idle;
    struct pollfd   pfd;

    seed = 0xd1342543de82ef95 * (w->n + 1);
    enter(w);
    pthread_barrier_wait(&entered);

    pfd.fd = reg->bells[w->hub.slot].rd;
    pfd.events = POLLIN;
    idle = 0;

    for ( ;; ) {

        while (poll(&pfd, 1, -1) != 1) { /* void */ }

        w->wakes++;

        if (load(&stop) == 2) {
            break;
        }

        ngx_centrifugo_registry_answer(reg, w->hub.slot);
        hear(w);

        /* without interest it need not look, and then was not overrun */

        if (idle) {
            idle--;
            continue;
        }

        /* not each time: this orders what only the rings should */

        consume(w, rnd() % 4 == 0);

        if (rnd() % 4) {
            continue;
        }

        c = rnd() % CHANNELS;
        churn(w, c);

        for (c = 0; c < CHANNELS && w->id[c] == 0; c++) { /* void */ }

        if (c == CHANNELS) {
            consume(w, 0);
            idle = rnd() % 16;
        }
    }

    leave(w);

    return NULL;
}


int
main(int argc, char **argv)
{
    u_char                     key[32] = "0123456789abcdef0123456789abcde";
    char                      *name;
    uint64_t                   until, published, received, overruns, wakes;
    ngx_uint_t                 i;
    struct timespec            ts = { 0, 20000000 };
    ngx_centrifugo_hub_t       hub;
    ngx_centrifugo_hub_stat_t  st;

    until = now() + 1000 * (argc > 1 ? strtoul(argv[1], NULL, 10) : 8);

    reg = map(NGX_CENTRIFUGO_REGISTRY_SIZE);

    if (ngx_centrifugo_registry_init(reg) != NGX_OK
        || ngx_centrifugo_registry_bells(reg, HELD + READERS + WRITERS)
           != NGX_OK)
    {
        fail("no registry");
    }

    shm = ngx_centrifugo_hub_format(map(ZONE), ZONE, LOG, CONTROL, SLOTS, key);

    if (shm == NULL) {
        fail("no zone");
    }

    for (i = 0; i < HELD; i++) {
        ngx_centrifugo_registry_live(reg,
                                 ngx_centrifugo_registry_claim(reg, SLOTS));
    }

    pthread_barrier_init(&begin, NULL, WRITERS);
    pthread_barrier_init(&end, NULL, WRITERS);

    /* all are there before the first round */

    pthread_barrier_init(&entered, NULL, WRITERS + READERS);

    for (i = 0; i < READERS; i++) {
        readers[i].n = i;
        pthread_create(&readers[i].thread, NULL, reader, &readers[i]);
    }

    for (i = 0; i < WRITERS; i++) {
        writers[i].n = i;
        pthread_create(&writers[i].thread, NULL, writer, &writers[i]);
    }

    hub.shm = shm;

    while (now() < until) {
        (void) nanosleep(&ts, NULL);
        ngx_centrifugo_hub_stat(&hub, &st);
    }

    store(&stop, 1);

    for (i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
    }

    store(&stop, 2);

    for (i = 0; i < READERS; i++) {
        store(&reg->slots[readers[i].hub.slot].pending, 0);
        ngx_centrifugo_registry_ring(reg, readers[i].hub.slot);
        pthread_join(readers[i].thread, NULL);
    }

    published = received = overruns = wakes = 0;

    for (i = 0; i < WRITERS; i++) {
        published += writers[i].count;
    }

    for (i = 0; i < READERS; i++) {
        received += readers[i].count;
        overruns += readers[i].overruns;
        wakes += readers[i].wakes;
    }

    ngx_centrifugo_hub_stat(&hub, &st);
    name = strrchr(argv[0], '/');

    printf("%s: %lu rounds, %lu published, %lu received, %lu overruns, %lu "
           "wake-ups\n", name ? name + 1 : argv[0], (unsigned long) rounds,
           (unsigned long) published, (unsigned long) received,
           (unsigned long) overruns, (unsigned long) wakes);

    if (received == 0 || overruns == 0 || st.channels != 0 || st.wipes != 0
        || st.repairs[0] + st.repairs[1] + st.repairs[2] + st.repairs[3] != 0)
    {
        fail("nothing was tested, or something was damaged");
    }

    return 0;
}
