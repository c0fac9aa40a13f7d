/*
 * Time, memory, histograms, sockets.
 */

#include "cfload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>


#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT  24
#endif


void
cf_die(const char *fmt, ...)
{
    va_list  args;

    fputs("cfload: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);

    exit(2);
}


/* The first few only: ten thousand clients may all have the same trouble. */

void
cf_warn(const char *fmt, ...)
{
    va_list          args;
    static unsigned  n;

    if (++n > 10) {
        return;
    }

    fputs("cfload: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs(n == 10 ? " (further warnings are left out)\n" : "\n", stderr);
}


uint64_t
cf_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


uint64_t
cf_random(void)
{
    static uint64_t  state;

    if (state == 0) {
        state = cf_now() ^ (uint64_t) getpid() << 40;
    }

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return state * 0x2545f4914f6cdd1dull;
}


void *
cf_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size ? size : 1);
    if (p == NULL) {
        cf_die("no memory for %zu bytes", size);
    }

    return p;
}


void *
cf_share(size_t size)
{
    void  *p;

    p = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        cf_die("no memory for %zu shared bytes", size);
    }

    return p;
}


void
cf_hist_add(cf_hist_t *h, uint64_t value)
{
    uint32_t  e, i;

    h->count++;
    h->max = cf_max(h->max, value);

    if (value < 64) {
        h->n[value]++;
        return;
    }

    e = 63 - (uint32_t) __builtin_clzll(value);
    i = (e - 5) * 64 + (uint32_t) (value >> (e - 6) & 63);

    h->n[cf_min(i, CF_HIST_SIZE - 1)]++;
}


void
cf_hist_merge(cf_hist_t *to, const cf_hist_t *from)
{
    uint32_t  i;

    to->count += from->count;
    to->max = cf_max(to->max, from->max);

    for (i = 0; i < CF_HIST_SIZE; i++) {
        to->n[i] += from->n[i];
    }
}


/* The middle of the step that the quantile falls into. */

double
cf_hist_us(const cf_hist_t *h, double quantile)
{
    double    v;
    uint32_t  i, e;
    uint64_t  rank, seen;

    rank = (uint64_t) ((double) h->count * quantile);
    rank = cf_min(rank + 1, h->count);
    seen = 0;

    for (i = 0; i < CF_HIST_SIZE; i++) {
        seen += h->n[i];

        if (seen < rank || seen == 0) {
            continue;
        }

        if (i < 64) {
            return (double) i / 1000;
        }

        e = i / 64 + 5;
        v = (double) (64 + i % 64) + 0.5;
        v *= (double) (1ull << (e - 6));

        return cf_min(v, (double) h->max) / 1000;
    }

    return 0;
}


/*
 * A socket that is connected, or connecting if it does not block; -1 with
 * errno. Source 0 is the system's choice, others are 127.0.0.2 and up.
 */

int
cf_socket(const cf_url_t *url, uint32_t source, int blocking)
{
    int                 fd, on;
    struct sockaddr_in  sin;

    on = 1;

    fd = socket(url->addr.ss_family,
                SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK),
                0);
    if (fd == -1) {
        return -1;
    }

    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));

    if (source) {

        /* the port is chosen by connect(), which knows the whole tuple */

        (void) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
                          sizeof(int));

        memset(&sin, 0, sizeof(sin));
        sin.sin_family = AF_INET;
        sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);

        if (bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
            goto failed;
        }
    }

    if (connect(fd, (const struct sockaddr *) &url->addr, url->addr_len) == 0
        || (!blocking && errno == EINPROGRESS))
    {
        return fd;
    }

failed:

    on = errno;
    close(fd);
    errno = on;

    return -1;
}
