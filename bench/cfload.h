/*
 * cfload: a load generator that checks every publication it receives.
 *
 * One process coordinates and measures (cfload.c), one publishes (publish.c),
 * the others hold the clients (client.c). They share the structure below.
 */

#ifndef CFLOAD_H_INCLUDED
#define CFLOAD_H_INCLUDED


#define _GNU_SOURCE

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>


#define CF_CODES       5000
#define CF_REFUSED     (1 << 20)
#define CF_MAX_PROCS   64
#define CF_HIST_SIZE   2560
#define CF_INFO_MAX    16384
#define CF_OBSERVER    0x80000000u


#define cf_min(a, b)   ((a) < (b) ? (a) : (b))
#define cf_max(a, b)   ((a) > (b) ? (a) : (b))


typedef struct {
    char                     host[256];
    char                     port[8];
    const char              *path;
    int                      tls;
    struct sockaddr_storage  addr;
    socklen_t                addr_len;
} cf_url_t;


typedef struct {
    const char  *url_arg;
    const char  *api_arg;
    const char  *api_key;
    const char  *token;
    const char  *token_secret;
    const char  *channel;
    const char  *channels;
    const char  *ca;
    cf_url_t     url;
    cf_url_t     api;
    uint32_t     clients;
    uint32_t     procs;
    uint32_t     sources;
    uint32_t     users;
    uint32_t     info;
    uint32_t     observers;
    uint32_t     subs;
    uint32_t     channel_count;
    uint32_t     publishers;
    uint32_t     batch;
    uint32_t     size;
    uint64_t     count;
    double       rate;
    double       pub_rate;
    double       churn;
    double       presence_rate;
    double       duration;
    double       idle;
    double       settle;
    double       timeout;
    pid_t        pid;
    unsigned     churn_subs:1;
    unsigned     churn_toggle:1;
    unsigned     presence:1;
    unsigned     pause:1;
    unsigned     reconnect:1;
    unsigned     tls_verify:1;
    unsigned     deflate:1;
    unsigned     protobuf:1;
    unsigned     publish:1;
} cf_options_t;


typedef enum {
    CF_PHASE_START = 0,
    CF_PHASE_CONNECT,
    CF_PHASE_RUN,
    CF_PHASE_SETTLE,
    CF_PHASE_TRUTH,              /* of presence: who is there is written ... */
    CF_PHASE_ASK,                /* ... and asked for */
    CF_PHASE_END
} cf_phase_e;


/*
 * Values are in nanoseconds: exact up to 64, then 64 steps to each power of
 * two, which is an error of at most 1.6 %.
 */

typedef struct {
    uint64_t     count;
    uint64_t     max;
    uint64_t     n[CF_HIST_SIZE];
} cf_hist_t;


/* What one process with clients has seen; only that process writes it. */

typedef struct {
    _Atomic uint32_t  up;            /* has forked and is ready to begin */
    _Atomic uint32_t  settled;       /* clients ready, or given up */
    _Atomic uint32_t  complete;      /* nothing is missing any more */
    _Atomic uint32_t  observing;     /* observers that are settled */
    _Atomic uint32_t  truth;         /* who is there is written down */
    _Atomic uint32_t  asked;         /* all observers were answered */

    uint64_t          connected;     /* clients that were ready once */
    uint64_t          open;          /* clients that are ready at the end */
    uint64_t          subscriptions;
    uint64_t          attempts_failed;
    uint64_t          reconnects;
    uint64_t          churned;
    uint64_t          close_unanswered;
    uint64_t          broken;        /* ended without a close frame */
    uint64_t          no_ping;
    uint64_t          pings;
    uint64_t          other;         /* pushes that are no publications */
    uint64_t          protocol_errors;

    uint64_t          deliveries;
    uint64_t          expected;
    uint64_t          lost;
    uint64_t          explained;
    uint64_t          doubled;
    uint64_t          reordered;
    uint64_t          damaged;
    uint64_t          stray;

    uint64_t          joins;         /* what all observers got */
    uint64_t          leaves;
    uint64_t          disordered;    /* no join after a leave, and so on */
    uint64_t          misstated;     /* last event is not what is the case */
    uint64_t          whole;         /* observers that never went away */
    uint64_t          strangers;     /* ids or users that are nobody's */
    uint64_t          presences;     /* replies, and what is wrong in them */
    uint64_t          missing;
    uint64_t          surplus;
    uint64_t          twice;
    uint64_t          miscounted;    /* of presence_stats */
    uint64_t          unanswered;

    uint64_t          last_ready;    /* when, of the first connects */
    uint64_t          reads;
    uint64_t          deflated;      /* messages that came compressed */

    uint32_t          closes[CF_CODES];
    uint32_t          unsubscribes[CF_CODES];
    uint32_t          errors[CF_CODES];
    cf_hist_t         latency;
} cf_worker_t;


typedef struct {
    _Atomic uint32_t  up;
    _Atomic uint32_t  done;

    uint64_t          published;
    uint64_t          acked;
    uint64_t          requests;
    uint64_t          api_errors;
    uint64_t          late_max;
    uint32_t          codes[CF_CODES];   /* of replies; HTTP statuses, too */
    cf_hist_t         latency;
} cf_publisher_t;


/* A publication that was not acknowledged, so that nobody has to get it. */

typedef struct {
    uint32_t          lane;
    uint32_t          seq;
} cf_refused_t;


/*
 * A lane is a channel with one of its publishers: what is published in it
 * has the numbers 1, 2, 3, ... "sent" grows before a publication is written
 * to the socket, "acked" when the answer has come.
 */

typedef struct {
    unsigned char     id[16];
    uint32_t          ready;
} cf_present_t;


typedef struct {
    _Atomic int       phase;
    _Atomic int       stop;
    _Atomic int       opened;        /* not only observers may connect */
    uint64_t          started;       /* ns, begin of CF_PHASE_CONNECT */

    _Atomic uint32_t  nrefused;
    uint32_t          refused_lost;  /* did not fit into the list */
    cf_refused_t     *refused;

    cf_present_t     *present;       /* each client's */
    uint8_t          *member;        /* each client's subscriptions: 1 */

    _Atomic uint32_t *sent;
    _Atomic uint32_t *acked;

    cf_publisher_t    publisher;
    cf_worker_t       workers[CF_MAX_PROCS];
} cf_shared_t;


extern cf_options_t   cf_opt;
extern cf_shared_t   *cf_shared;
extern uint32_t       cf_channels;   /* how many there are */
extern uint32_t       cf_lanes;      /* publishers of each channel */


/* options.c */

void cf_options(int argc, char **argv);
const char *cf_channel_name(uint32_t channel, size_t *len);
void cf_check_files(void);

/* util.c */

void cf_die(const char *fmt, ...)
    __attribute__ ((noreturn, format(printf, 1, 2)));
void cf_warn(const char *fmt, ...) __attribute__ ((format(printf, 1, 2)));
uint64_t cf_now(void);
uint64_t cf_random(void);
void *cf_alloc(size_t size);
void *cf_share(size_t size);
void cf_hist_add(cf_hist_t *h, uint64_t value);
void cf_hist_merge(cf_hist_t *to, const cf_hist_t *from);
double cf_hist_us(const cf_hist_t *h, double quantile);
int cf_socket(const cf_url_t *url, uint32_t source, int blocking);

/* client.c */

void cf_client_process(uint32_t n);

/* presence.c */

int cf_presence_observer(uint32_t client);
uint32_t cf_presence_user(uint32_t client);

/* publish.c */

void cf_publish_process(void);

/* report.c */

typedef struct {
    uint64_t     total;
    uint64_t     anon;
    uint64_t     file;
    uint64_t     shmem;
    uint32_t     processes;
} cf_memory_t;

typedef struct {
    double       connect_seconds;
    double       seconds;
    uint64_t     server_cpu;
    uint64_t     client_cpu;
    uint64_t     publisher_cpu;
    uint64_t     segments;
    uint32_t     exited;
    int          interrupted;
    cf_memory_t  before;
    cf_memory_t  after;
} cf_measures_t;

int cf_report(const cf_measures_t *m);


#endif /* CFLOAD_H_INCLUDED */
