/*
 * The process that publishes: connections that are kept alive, each with one
 * request at a time, so that what it publishes in a channel has an order.
 */

#include "cfload.h"
#include "parse.h"
#include "payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>


#define PUBLISH_TIMEOUT   10000000000ull
#define PUBLISH_ATTEMPTS  500        /* to connect, 10 ms apart */

/* refusals of other kinds than the errors of the API, beside HTTP's */

#define PUBLISH_BAD_REPLY  1
#define PUBLISH_NO_REPLY   2


typedef struct {
    int        fd;
    int        writing;          /* EPOLLOUT is on */
    uint32_t   number;
    uint32_t   next;             /* channel */
    uint32_t   batch;            /* publications in the request */
    uint64_t   bodies;           /* requests so far */
    uint64_t   begun;            /* ns, 0 if idle */
    char      *out;
    size_t     out_len;
    size_t     out_pos;
    char      *in;
    size_t     in_len;
    size_t     in_size;
    uint32_t  *lanes;            /* what is in the request */
    uint32_t  *seqs;
} publish_t;


static void publish_begin(void);
static int publish_due(publish_t *p, uint64_t now, uint64_t *wait);
static void publish_request(publish_t *p, uint64_t now, uint64_t due);
static uint64_t publish_schedule(publish_t *p);
static int publish_open(publish_t *p);
static void publish_write(publish_t *p);
static void publish_event(publish_t *p, uint32_t events);
static int publish_response(publish_t *p);
static void publish_answer(publish_t *p, const char *body, size_t len);
static void publish_refuse(publish_t *p, uint32_t i, uint32_t code);
static void publish_failed(publish_t *p, uint32_t code);
static void publish_close(publish_t *p);


static publish_t       *publish_all;
static cf_publisher_t  *publish_stats;
static uint64_t         publish_left;
static uint64_t         publish_started;
static uint64_t         publish_until;
static size_t           publish_room;
static char            *publish_body;
static int              publish_epoll;


void
cf_publish_process(void)
{
    int                  i, n, over, busy;
    uint32_t             p;
    uint64_t             now, wait;
    struct epoll_event   events[64];

    publish_begin();

    while (atomic_load(&cf_shared->phase) < CF_PHASE_RUN) {
        usleep(1000);
    }

    publish_started = cf_now();
    publish_until = cf_opt.duration
                    ? publish_started + (uint64_t) (cf_opt.duration * 1e9)
                    : UINT64_MAX;

    do {
        now = cf_now();
        wait = 50000000;
        over = publish_left == 0 || now >= publish_until
               || atomic_load(&cf_shared->stop)
               || atomic_load(&cf_shared->phase) > CF_PHASE_RUN;
        busy = 0;

        for (p = 0; p < cf_opt.publishers; p++) {

            if (publish_all[p].begun == 0) {

                if (!over && publish_due(&publish_all[p], now, &wait)) {
                    over = (publish_left == 0);
                }

            } else if (now - publish_all[p].begun > PUBLISH_TIMEOUT) {
                publish_failed(&publish_all[p], PUBLISH_NO_REPLY);
            }

            busy |= (publish_all[p].begun != 0);
        }

        /* epoll_wait() counts in ms: the rest is waited for more exactly */

        n = epoll_wait(publish_epoll, events, 64, (int) (wait / 1000000));

        if (n <= 0 && wait < 1000000 && !over) {
            usleep((useconds_t) (wait / 1000));
            n = epoll_wait(publish_epoll, events, 64, 0);
        }

        for (i = 0; i < n; i++) {
            publish_event(&publish_all[events[i].data.u32],
                          events[i].events);
        }

    } while (!over || busy);

    atomic_store(&publish_stats->done, 1);

    while (atomic_load(&cf_shared->phase) < CF_PHASE_END) {
        usleep(20000);
    }
}


static void
publish_begin(void)
{
    size_t      name;
    uint32_t    i;
    publish_t  *p;

    publish_stats = &cf_shared->publisher;
    publish_left = cf_opt.count ? cf_opt.count : UINT64_MAX;

    name = strlen(cf_opt.channels ? cf_opt.channels : cf_opt.channel) + 10;
    publish_room = (cf_opt.size + name + 80) * cf_opt.batch;
    publish_body = cf_alloc(publish_room);

    publish_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (publish_epoll == -1) {
        cf_die("epoll_create1(): %s", strerror(errno));
    }

    publish_all = cf_alloc(cf_opt.publishers * sizeof(publish_t));

    for (i = 0; i < cf_opt.publishers; i++) {
        p = &publish_all[i];
        p->fd = -1;
        p->number = i;
        p->next = (cf_lanes == 1) ? i : 0;
        p->in_size = 4096 + 128 * cf_opt.batch;
        p->in = cf_alloc(p->in_size + 1);
        p->out = cf_alloc(publish_room + 2048);
        p->lanes = cf_alloc(cf_opt.batch * sizeof(uint32_t));
        p->seqs = cf_alloc(cf_opt.batch * sizeof(uint32_t));
    }

    atomic_store(&publish_stats->up, 1);
}


/* Publishes if it is time to; else *wait is at most the time until then. */

static int
publish_due(publish_t *p, uint64_t now, uint64_t *wait)
{
    uint64_t  due;

    due = now;

    if (cf_opt.pub_rate > 0) {
        due = publish_schedule(p);

        if (due > now) {
            *wait = cf_min(*wait, due - now);
            return 0;
        }
    }

    publish_request(p, now, due);

    if (p->begun == 0) {
        *wait = 0;
    }

    return 1;
}


/* The publishers take turns, evenly spaced. */

static uint64_t
publish_schedule(publish_t *p)
{
    double  n;

    n = (double) (p->bodies * cf_opt.publishers + p->number);

    return publish_started
           + (uint64_t) (n * cf_opt.batch / cf_opt.pub_rate * 1e9);
}


static void
publish_request(publish_t *p, uint64_t now, uint64_t due)
{
    int            n;
    char          *body;
    size_t         len;
    uint32_t       i, lane;
    const char    *name;
    cf_payload_t   payload;

    for (i = 0; p->fd == -1 && publish_open(p) != 0; i++) {

        if (i == PUBLISH_ATTEMPTS) {
            cf_die("no connection to --api: %s", strerror(errno));
        }

        usleep(10000);
    }

    publish_stats->late_max = cf_max(publish_stats->late_max, now - due);

    p->batch = (uint32_t) cf_min(publish_left, cf_opt.batch);
    publish_left -= p->batch;
    p->bodies++;

    payload.publisher = p->number;
    payload.time = cf_now();
    body = publish_body;

    for (i = 0; i < p->batch; i++) {
        lane = p->next * cf_lanes + (cf_lanes > 1 ? p->number : 0);
        payload.channel = p->next;
        payload.seq = atomic_load(&cf_shared->sent[lane]) + 1;

        p->lanes[i] = lane;
        p->seqs[i] = payload.seq;

        p->next += (cf_lanes > 1) ? 1 : cf_opt.publishers;

        if (p->next >= cf_channels) {
            p->next = (cf_lanes > 1) ? 0 : p->number;
        }

        name = cf_channel_name(payload.channel, &len);

        body += sprintf(body, "%s%s{\"channel\":\"%s\",\"data\":",
                        i ? "\n" : "",
                        cf_opt.batch > 1
                        ? "{\"method\":\"publish\",\"params\":" : "",
                        name);
        cf_payload_write(body, cf_opt.size, &payload);
        body += cf_opt.size;
        *body++ = '}';

        if (cf_opt.batch > 1) {
            *body++ = '}';
        }

        /* from here on subscribers may see it */

        atomic_store(&cf_shared->sent[lane], payload.seq);
    }

    len = (size_t) (body - publish_body);

    n = snprintf(p->out, 2048,
                 "POST %s%s HTTP/1.1\r\nHost: %s:%s\r\n%s%s%s"
                 "Content-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 cf_opt.api.path, cf_opt.batch > 1 ? "" : "/publish",
                 cf_opt.api.host, cf_opt.api.port,
                 cf_opt.api_key ? "X-API-Key: " : "",
                 cf_opt.api_key ? cf_opt.api_key : "",
                 cf_opt.api_key ? "\r\n" : "", len);

    if (n >= 2048) {
        cf_die("--api or --api-key is too long");
    }

    memcpy(p->out + n, publish_body, len);
    p->out_len = (size_t) n + len;
    p->out_pos = 0;
    p->in_len = 0;
    p->begun = payload.time;

    publish_stats->published += p->batch;
    publish_stats->requests++;

    publish_write(p);
}


static int
publish_open(publish_t *p)
{
    struct epoll_event  ev;

    p->fd = cf_socket(&cf_opt.api, 0, 1);

    if (p->fd == -1) {
        return -1;
    }

    p->writing = 0;
    (void) fcntl(p->fd, F_SETFL, O_NONBLOCK);

    ev.events = EPOLLIN;
    ev.data.u64 = 0;
    ev.data.u32 = p->number;

    return epoll_ctl(publish_epoll, EPOLL_CTL_ADD, p->fd, &ev);
}


static void
publish_write(publish_t *p)
{
    int                 rest;
    ssize_t             n;
    struct epoll_event  ev;

    n = send(p->fd, p->out + p->out_pos, p->out_len - p->out_pos,
             MSG_NOSIGNAL);

    if (n == -1 && errno != EAGAIN && errno != EINTR) {
        publish_failed(p, PUBLISH_NO_REPLY);
        return;
    }

    p->out_pos += (n > 0) ? (size_t) n : 0;
    rest = p->out_pos < p->out_len;

    if (p->writing == rest) {
        return;
    }

    p->writing = rest;
    ev.events = EPOLLIN | (rest ? EPOLLOUT : 0);
    ev.data.u64 = 0;
    ev.data.u32 = p->number;

    (void) epoll_ctl(publish_epoll, EPOLL_CTL_MOD, p->fd, &ev);
}


static void
publish_event(publish_t *p, uint32_t events)
{
    ssize_t  n;

    if (p->fd == -1) {
        return;
    }

    if (events & EPOLLOUT && p->begun) {
        publish_write(p);
    }

    if (p->fd == -1 || !(events & ~(uint32_t) EPOLLOUT)) {
        return;
    }

    n = recv(p->fd, p->in + p->in_len, p->in_size - p->in_len, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0 || p->begun == 0) {

        /* an idle connection may be closed at any time */

        if (p->begun) {
            publish_failed(p, PUBLISH_NO_REPLY);

        } else {
            publish_close(p);
        }

        return;
    }

    p->in_len += (size_t) n;

    if (publish_response(p) != 0) {
        publish_failed(p, PUBLISH_BAD_REPLY);

    } else if (p->in_len == p->in_size) {

        /* the answer is longer than expected: an error page, maybe */

        p->in_size *= 2;
        p->in = realloc(p->in, p->in_size + 1);

        if (p->in == NULL) {
            cf_die("no memory for an answer");
        }
    }
}


/* -1 if what has come is not the begin of an HTTP response with a length. */

static int
publish_response(publish_t *p)
{
    int           last;
    char         *head, *eol, *end;
    uint32_t      i, status;
    long long     len;

    end = memmem(p->in, p->in_len, "\r\n\r\n", 4);

    if (end == NULL) {
        return 0;
    }

    if (end - p->in < 12 || memcmp(p->in, "HTTP/1.1 ", 9) != 0) {
        return -1;
    }

    status = (uint32_t) strtoul(p->in + 9, NULL, 10);
    len = -1;
    last = 0;

    for (head = p->in; head < end; head = eol + 2) {
        eol = memmem(head, (size_t) (end + 2 - head), "\r\n", 2);

        if (strncasecmp(head, "content-length:", 15) == 0) {
            len = strtoll(head + 15, NULL, 10);

        } else if (strncasecmp(head, "connection: close", 17) == 0) {
            last = 1;
        }
    }

    end += 4;

    if (len < 0 || len > 1 << 24) {
        return -1;
    }

    if (p->in + p->in_len - end < len) {
        return 0;
    }

    cf_hist_add(&publish_stats->latency, cf_now() - p->begun);

    if (p->in + p->in_len - end != len) {
        return -1;
    }

    if (status == 200) {
        publish_answer(p, end, (size_t) len);

    } else {

        for (i = 0; i < p->batch; i++) {
            publish_refuse(p, i, cf_min(status, CF_CODES - 1));
        }
    }

    p->begun = 0;
    p->in_len = 0;

    if (last) {
        publish_close(p);
    }

    return 0;
}


/* A line for each publication. */

static void
publish_answer(publish_t *p, const char *body, size_t len)
{
    int          code;
    uint32_t     i;
    const char  *end, *eol;

    end = body + len;

    for (i = 0; i < p->batch; i++) {

        if (body >= end) {
            publish_refuse(p, i, PUBLISH_BAD_REPLY);
            continue;
        }

        eol = memchr(body, '\n', (size_t) (end - body));
        eol = eol ? eol : end;
        code = cf_parse_api(body, eol);
        body = eol + 1;

        if (code != 0) {
            publish_refuse(p, i, code < 0 ? PUBLISH_BAD_REPLY
                                 : (uint32_t) cf_min(code, CF_CODES - 1));
            continue;
        }

        publish_stats->acked++;
        atomic_store(&cf_shared->acked[p->lanes[i]], p->seqs[i]);
    }
}


/* Not acknowledged, so nobody has to get it; who does is not wrong. */

static void
publish_refuse(publish_t *p, uint32_t i, uint32_t code)
{
    uint32_t  n;

    publish_stats->api_errors++;

    if (publish_stats->codes[code]++ == 0) {
        cf_warn(code == PUBLISH_NO_REPLY ? "a publish got no answer"
                : code == PUBLISH_BAD_REPLY ? "a publish got no right answer"
                : "a publish was refused with %u", code);
    }

    n = atomic_load(&cf_shared->nrefused);

    if (n == CF_REFUSED) {
        cf_shared->refused_lost++;
        return;
    }

    cf_shared->refused[n].lane = p->lanes[i];
    cf_shared->refused[n].seq = p->seqs[i];
    atomic_store(&cf_shared->nrefused, n + 1);
}


static void
publish_failed(publish_t *p, uint32_t code)
{
    uint32_t  i;

    for (i = 0; i < p->batch; i++) {
        publish_refuse(p, i, code);
    }

    p->begun = 0;
    publish_close(p);
}


static void
publish_close(publish_t *p)
{
    if (p->fd != -1) {
        close(p->fd);
        p->fd = -1;
    }
}
