/*
 * A process with a share of the clients: one epoll loop that connects,
 * subscribes, answers pings, lets clients come and go, and hands each
 * publication to verify.c.
 */

#include "client.h"
#include "presence.h"
#include "verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>


#define CLIENT_EVENTS      512
#define CLIENT_CONNECTING  256       /* at once, over all processes */
#define CLIENT_BACKOFF     200       /* ms, and as much again by chance */
#define CLIENT_CLOSE_WAIT  5000


static void client_begin(uint32_t n);
static int client_turn(uint32_t now);
static void client_connect(cf_client_t *c, uint32_t now);
static void client_second(uint32_t now);
static void client_churn(uint64_t now);
static void client_churn_one(void);
static void client_toggle(cf_client_t *c);
static void client_leave(cf_client_t *c, uint32_t now);
static void client_check_complete(void);
static void client_truth(void);
static void client_finish(void);
static void client_event(cf_client_t *c, uint32_t events);
static void client_end(cf_client_t *c, cf_end_e why);
static void client_wait(cf_client_t *c, uint32_t due);
static void client_settle(cf_client_t *c);


static uint32_t      client_count;
static uint32_t      client_head = CF_NO_CLIENT;
static uint32_t      client_tail = CF_NO_CLIENT;
static uint32_t      client_open;        /* being set up */
static uint32_t      client_cursor;      /* complete up to here */
static uint64_t      client_next;        /* ns, the next connect */
static uint64_t      client_next_churn;
static int           client_opened;      /* all may connect */
static int           client_epoll;

cf_worker_t  *cf_client_stats;
cf_client_t  *cf_client_all;
uint8_t      *cf_client_subs;
uint32_t      cf_client_first;


void
cf_client_process(uint32_t n)
{
    int                  i, got, phase, timeout, due;
    uint32_t             now, second;
    struct epoll_event   events[CLIENT_EVENTS];

    client_begin(n);
    second = cf_client_ms();

    for ( ;; ) {
        phase = atomic_load(&cf_shared->phase);

        if (phase == CF_PHASE_END) {
            break;
        }

        if (!client_opened && atomic_load(&cf_shared->opened)) {
            client_opened = 1;

            for (i = 0; i < (int) client_count; i++) {
                if (!cf_client_all[i].observer) {
                    client_wait(&cf_client_all[i], cf_client_ms());
                }
            }
        }

        now = cf_client_ms();
        due = 0;

        if (phase >= CF_PHASE_CONNECT) {
            due = client_turn(now);
        }

        timeout = due ? 1 : 20;

        if (phase == CF_PHASE_RUN) {

            if (cf_opt.churn > 0) {
                client_churn(cf_now());
                timeout = cf_min(timeout, 2);

            } else if (!due) {
                timeout = 100;
            }

        } else if (phase == CF_PHASE_SETTLE) {
            client_check_complete();

        } else if (phase == CF_PHASE_TRUTH) {
            client_truth();
        }

        if (cf_opt.presence && phase >= CF_PHASE_RUN) {
            timeout = cf_min(timeout, cf_presence_turn(phase));
        }

        if (now - second >= 1000) {
            second = now;
            client_second(now);
        }

        got = epoll_wait(client_epoll, events, CLIENT_EVENTS, timeout);

        for (i = 0; i < got; i++) {
            client_event(&cf_client_all[events[i].data.u32], events[i].events);
        }
    }

    client_finish();
}


void
cf_client_want(cf_client_t *c, int writing)
{
    struct epoll_event  ev;

    if (c->writing == (unsigned) writing) {
        return;
    }

    c->writing = (unsigned) writing;
    ev.events = EPOLLIN | (writing ? EPOLLOUT : 0);
    ev.data.u64 = 0;
    ev.data.u32 = cf_client_number(c);

    (void) epoll_ctl(client_epoll, EPOLL_CTL_MOD, c->fd, &ev);
}


static void
client_begin(uint32_t n)
{
    uint32_t  i, last;

    cf_client_stats = &cf_shared->workers[n];

    cf_client_first = (uint32_t) ((uint64_t) cf_opt.clients * n / cf_opt.procs);
    last = (uint32_t) ((uint64_t) cf_opt.clients * (n + 1) / cf_opt.procs);
    client_count = last - cf_client_first;

    cf_client_all = cf_alloc(client_count * sizeof(cf_client_t));
    cf_client_subs = cf_alloc((size_t) client_count * cf_opt.subs);

    client_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (client_epoll == -1) {
        cf_die("epoll_create1(): %s", strerror(errno));
    }

    cf_ws_init();
    cf_verify_init(client_count * cf_opt.subs, cf_client_stats);

    if (cf_opt.presence) {
        cf_presence_init(client_count);
    }

    /* observers see all others come */

    for (i = 0; i < client_count; i++) {
        cf_client_all[i].fd = -1;

        if (cf_presence_observer(cf_client_first + i)) {
            cf_client_all[i].observer = 1;
            client_wait(&cf_client_all[i], cf_client_ms());
        }
    }

    atomic_store(&cf_client_stats->up, 1);
}


/*
 * Connects those whose turn it is; 1 if more are waiting for theirs.
 */

static int
client_turn(uint32_t now)
{
    uint64_t      ns, step;
    cf_client_t  *c;

    if (client_head == CF_NO_CLIENT) {
        return 0;
    }

    step = 0;
    ns = cf_now();

    if (cf_opt.rate > 0) {
        step = (uint64_t) (1e9 * cf_opt.procs / cf_opt.rate);

        /* a late turn is made up for, a long pause is not */

        client_next = cf_max(client_next, ns - 20000000);
    }

    while (client_head != CF_NO_CLIENT && client_next <= ns
           && client_open < cf_max(CLIENT_CONNECTING / cf_opt.procs, 16))
    {
        c = &cf_client_all[client_head];

        if ((int32_t) (c->due - now) > 0) {
            break;
        }

        client_head = c->next;

        if (client_head == CF_NO_CLIENT) {
            client_tail = CF_NO_CLIENT;
        }

        client_next += step;
        client_connect(c, now);
    }

    return 1;
}


static void
client_connect(cf_client_t *c, uint32_t now)
{
    uint32_t            source;
    struct epoll_event  ev;

    source = (cf_opt.sources > 1)
             ? 1 + (cf_client_first + cf_client_number(c)) % cf_opt.sources : 0;

    c->state = CF_CLIENT_TCP;
    c->due = now + (uint32_t) (cf_opt.timeout * 1000);
    c->nsubs = 0;
    c->ping = 0;
    c->pong = 0;
    client_open++;

    c->fd = cf_socket(&cf_opt.url, source, 0);

    if (c->fd == -1) {
        cf_ws_error = strerror(errno);
        client_end(c, CF_REFUSED_TCP);
        return;
    }

    c->writing = 1;
    ev.events = EPOLLIN | EPOLLOUT;
    ev.data.u64 = 0;
    ev.data.u32 = cf_client_number(c);

    if (epoll_ctl(client_epoll, EPOLL_CTL_ADD, c->fd, &ev) == -1) {
        cf_die("epoll_ctl(): %s", strerror(errno));
    }
}


/* Once a second: those whose time is over. */

static void
client_second(uint32_t now)
{
    uint32_t      i;
    cf_client_t  *c;

    for (i = 0; i < client_count; i++) {
        c = &cf_client_all[i];

        switch (c->state) {

        case CF_CLIENT_WAITING:
        case CF_CLIENT_DEAD:
            break;

        case CF_CLIENT_READY:

            if (c->ping && now - c->pinged > c->ping * 1000u + 10000) {
                cf_client_stats->no_ping++;
                c->pinged = now;
                cf_warn("client %u: no ping within %u s",
                        cf_client_first + i, c->ping + 10);
            }

            break;

        default:

            if ((int32_t) (now - c->due) > 0) {
                cf_ws_error = "timed out";
                client_end(c, CF_TIMEOUT);
            }
        }
    }
}


static void
client_churn(uint64_t now)
{
    uint32_t  i;
    uint64_t  step;

    if (client_count == 0) {
        return;
    }

    step = (uint64_t) (1e9 * cf_opt.procs / cf_opt.churn);
    client_next_churn = cf_max(client_next_churn, now - 100000000);

    for (i = 0; client_next_churn <= now && i < client_count; i++) {
        client_next_churn += step;
        client_churn_one();
    }
}


static void
client_churn_one(void)
{
    uint32_t      i, k, slot;
    cf_client_t  *c;

    i = (uint32_t) ((cf_random() >> 32) % client_count);
    c = &cf_client_all[i];

    if (c->state != CF_CLIENT_READY || c->observer) {
        return;
    }

    if (cf_opt.churn_toggle) {
        client_toggle(c);
        return;
    }

    if (!cf_opt.churn_subs) {
        cf_client_stats->churned++;
        client_leave(c, cf_client_ms());
        return;
    }

    k = (uint32_t) ((cf_random() >> 32) % cf_opt.subs);
    slot = cf_client_slot(i, k);

    if (cf_client_subs[slot] != CF_SUB_ON) {
        return;
    }

    cf_client_stats->churned++;
    cf_client_subs[slot] = CF_SUB_LEAVE;
    cf_client_unsubscribe(c, k);
}


/*
 * A subscription ends, or is made again; now and then the connection goes,
 * with a close frame or without.
 */

static void
client_toggle(cf_client_t *c)
{
    uint32_t  k, n, slot, what;

    n = cf_client_number(c);
    what = (uint32_t) ((cf_random() >> 32) % 16);
    k = (uint32_t) ((cf_random() >> 32) % cf_opt.subs);
    slot = cf_client_slot(n, k);

    if (what == 0) {
        client_leave(c, cf_client_ms());

    } else if (what == 1) {
        c->state = CF_CLIENT_CLOSING;
        client_end(c, CF_CLOSED);

    } else if (cf_client_subs[slot] == CF_SUB_ON) {
        cf_client_subs[slot] = CF_SUB_LEAVE;
        cf_client_unsubscribe(c, k);

    } else if (cf_client_subs[slot] == CF_SUB_NONE) {

        /* what fails here is seen when the connection is read */

        (void) cf_client_subscribe(c, k, k + 1);

    } else {
        return;
    }

    cf_client_stats->churned++;
}


static void
client_leave(cf_client_t *c, uint32_t now)
{
    (void) cf_ws_send(c, CF_WS_CLOSE, "\x03\xe8", 2);

    c->state = CF_CLIENT_CLOSING;
    c->due = now + CLIENT_CLOSE_WAIT;
}


/* The cursor stays at what is missing, so this costs little in total. */

static void
client_check_complete(void)
{
    uint32_t      k, slot;
    cf_client_t  *c;

    for ( /* void */ ; client_cursor < client_count; client_cursor++) {
        c = &cf_client_all[client_cursor];

        if (c->state == CF_CLIENT_DEAD) {
            continue;
        }

        if (c->state != CF_CLIENT_READY) {
            return;
        }

        for (k = 0; k < cf_opt.subs; k++) {
            slot = cf_client_slot(client_cursor, k);

            if (cf_client_subs[slot] == CF_SUB_NONE) {
                continue;
            }

            if (cf_client_subs[slot] != CF_SUB_ON
                || !cf_verify_complete(slot,
                                       cf_client_channel(client_cursor, k)))
            {
                return;
            }
        }
    }

    atomic_store(&cf_client_stats->complete, 1);
}


/* Who is there, for all processes. */

static void
client_truth(void)
{
    uint32_t      i, k, slot;
    cf_client_t  *c;

    if (atomic_load(&cf_client_stats->truth)) {
        return;
    }

    for (i = 0; i < client_count; i++) {
        c = &cf_client_all[i];
        cf_shared->present[cf_client_first + i].ready
            = (c->state == CF_CLIENT_READY);

        for (k = 0; k < cf_opt.subs; k++) {
            slot = cf_client_slot(i, k);
            cf_shared->member[cf_client_slot(cf_client_first + i, k)]
                = (c->state == CF_CLIENT_READY
                   && cf_client_subs[slot] == CF_SUB_ON);
        }
    }

    atomic_store(&cf_client_stats->truth, 1);
}


static void
client_finish(void)
{
    uint32_t      i, k, slot;
    cf_client_t  *c;

    for (i = 0; i < client_count; i++) {
        c = &cf_client_all[i];

        cf_client_stats->open += (c->state == CF_CLIENT_READY);

        for (k = 0; k < cf_opt.subs; k++) {
            slot = cf_client_slot(i, k);

            if (cf_client_subs[slot] == CF_SUB_ON
                && c->state != CF_CLIENT_CLOSING)
            {
                cf_verify_tail(slot, cf_client_channel(i, k));

            } else if (cf_client_subs[slot] >= CF_SUB_ON) {
                cf_verify_end(slot, 0);
            }
        }
    }

    cf_verify_finish();
    cf_client_stats->reads = cf_ws_reads;
}


static void
client_event(cf_client_t *c, uint32_t events)
{
    cf_end_e  rc;

    if (c->fd == -1) {
        return;
    }

    rc = cf_ws_event(c, events);

    if (rc != CF_OK) {
        client_end(c, rc);
    }
}


void
cf_client_ready(cf_client_t *c)
{
    c->state = CF_CLIENT_READY;
    client_open--;

    if (c->connected) {
        cf_client_stats->reconnects++;

    } else {
        c->connected = 1;
        cf_client_stats->connected++;
        cf_client_stats->last_ready = cf_now();
    }

    client_settle(c);
}


static void
client_end(cf_client_t *c, cf_end_e why)
{
    int       setup, again;
    uint32_t  k, n, slot;

    n = cf_client_number(c);
    setup = (c->state < CF_CLIENT_READY);
    again = cf_opt.reconnect;

    if (setup) {
        client_open--;
    }

    for (k = 0; k < cf_opt.subs; k++) {
        slot = cf_client_slot(n, k);

        if (cf_client_subs[slot] >= CF_SUB_ON) {
            cf_verify_end(slot, c->state != CF_CLIENT_CLOSING);
        }

        cf_client_subs[slot] = CF_SUB_NONE;
    }

    if (c->observer) {
        cf_presence_end(c);
    }

    cf_ws_free(c);

    if (why == CF_PROTOCOL) {
        cf_client_stats->protocol_errors++;
        cf_warn("client %u: %s", cf_client_first + n, cf_ws_error);

    } else if (c->state == CF_CLIENT_CLOSING) {

        /* it went by itself, and comes back */

        cf_client_stats->close_unanswered += (why != CF_CLOSED);
        client_wait(c, cf_client_ms());
        return;

    } else if (why == CF_CLOSED) {
        cf_client_stats->closes[cf_ws_code]++;

        /* the protocol has terminal codes */

        if (cf_ws_code % 1000 >= 500 && cf_ws_code >= 3000) {
            again = 0;
        }
    }

    if (setup) {
        cf_client_stats->attempts_failed++;

        if (why == CF_CLOSED) {
            cf_warn("client %u was closed with %u before it was ready",
                    cf_client_first + n, cf_ws_code);

        } else if (why != CF_PROTOCOL) {
            cf_warn("client %u could not connect: %s", cf_client_first + n,
                    why == CF_EOF ? "the connection was lost" : cf_ws_error);
        }

    } else if (why != CF_CLOSED && why != CF_PROTOCOL) {
        cf_client_stats->broken++;
        cf_warn("client %u: %s", cf_client_first + n,
                why == CF_EOF ? "the connection was lost" : cf_ws_error);
    }

    if (again) {
        client_wait(c, cf_client_ms() + CLIENT_BACKOFF
                       + (uint32_t) (cf_random() >> 32) % CLIENT_BACKOFF);
        return;
    }

    c->state = CF_CLIENT_DEAD;
    client_settle(c);
}


static void
client_wait(cf_client_t *c, uint32_t due)
{
    c->state = CF_CLIENT_WAITING;
    c->due = due;
    c->next = CF_NO_CLIENT;

    if (client_tail == CF_NO_CLIENT) {
        client_head = cf_client_number(c);

    } else {
        cf_client_all[client_tail].next = cf_client_number(c);
    }

    client_tail = cf_client_number(c);
}


static void
client_settle(cf_client_t *c)
{
    if (!c->settled) {
        c->settled = 1;
        atomic_fetch_add(&cf_client_stats->settled, 1);

        if (c->observer) {
            atomic_fetch_add(&cf_client_stats->observing, 1);
        }
    }
}


uint32_t
cf_client_ms(void)
{
    return (uint32_t) (cf_now() / 1000000);
}
