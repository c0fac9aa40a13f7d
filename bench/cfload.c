/*
 * The process that starts the others, leads them through the phases of a
 * run, and measures.
 */

#include "cfload.h"
#include "proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>


/* how long late doubles are waited for when nothing is missing any more */

#define MAIN_STRAYS  200000000

#define MAIN_STEP    10000


static void main_share(void);
static void main_fork(void);
static pid_t main_spawn(int publisher, uint32_t n);
static void main_wait_up(void);
static void main_connect(cf_measures_t *m);
static void main_run(cf_measures_t *m);
static void main_hold(double seconds);
static int main_published(void);
static void main_settle(void);
static void main_presence(void);
static void main_pause(void);
static uint32_t main_sum(size_t field);
static int main_compare(const void *one, const void *two);
static void main_end(void);
static int main_all(size_t field, uint64_t enough);
static void main_step(void);
static void main_signal(int signo);


cf_options_t    cf_opt;
cf_shared_t    *cf_shared;
uint32_t        cf_channels;
uint32_t        cf_lanes;

static pid_t    main_workers[CF_MAX_PROCS];
static pid_t    main_publisher;
static uint32_t main_nworkers;

static volatile sig_atomic_t  main_signaled;


int
main(int argc, char **argv)
{
    cf_measures_t  m;

    memset(&m, 0, sizeof(m));

    cf_options(argc, argv);
    cf_check_files();

    if (cf_opt.pid && kill(cf_opt.pid, 0) == -1 && errno == ESRCH) {
        cf_die("--pid %d: no such process", (int) cf_opt.pid);
    }

    signal(SIGPIPE, SIG_IGN);
    main_share();
    main_fork();
    main_wait_up();

    main_connect(&m);
    main_run(&m);
    main_end();

    m.interrupted = main_signaled;

    return cf_report(&m);
}


static void
main_share(void)
{
    size_t  lanes;

    lanes = (size_t) cf_channels * cf_lanes * sizeof(uint32_t);

    cf_shared = cf_share(sizeof(cf_shared_t));
    cf_shared->sent = cf_share(lanes);
    cf_shared->acked = cf_share(lanes);
    cf_shared->present = cf_share(cf_max(cf_opt.clients, 1)
                                  * sizeof(cf_present_t));
    cf_shared->member = cf_share(cf_max((size_t) cf_opt.clients
                                        * cf_opt.subs, 1));
    cf_shared->refused = cf_share(CF_REFUSED * sizeof(cf_refused_t));
}


static void
main_fork(void)
{
    uint32_t  i;

    main_nworkers = cf_opt.clients ? cf_opt.procs : 0;

    for (i = 0; i < main_nworkers; i++) {
        main_workers[i] = main_spawn(0, i);
    }

    if (cf_opt.publish) {
        main_publisher = main_spawn(1, 0);
    }

    signal(SIGINT, main_signal);
    signal(SIGTERM, main_signal);
}


static pid_t
main_spawn(int publisher, uint32_t n)
{
    pid_t  pid, parent;

    parent = getpid();
    pid = fork();

    if (pid == -1) {
        cf_die("fork(): %s", strerror(errno));
    }

    if (pid) {
        return pid;
    }

    /* an interrupt of the terminal is for the parent, which ends us well */

    signal(SIGINT, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);

    if (getppid() != parent) {
        _exit(2);
    }

    if (publisher) {
        cf_publish_process();

    } else {
        cf_client_process(n);
    }

    _exit(0);
}


static void
main_wait_up(void)
{
    while (!main_all(offsetof(cf_worker_t, up), 1)
           || (cf_opt.publish && !atomic_load(&cf_shared->publisher.up)))
    {
        main_step();
    }
}


/*
 * The memory before is read when all processes of this program run: what
 * libraries they share with the server does not change later.
 */

static void
main_connect(cf_measures_t *m)
{
    uint32_t  i;
    uint64_t  ready;

    if (cf_opt.pid) {
        cf_proc_memory(cf_opt.pid, &m->before);
    }

    cf_shared->started = cf_now();
    atomic_store(&cf_shared->phase, CF_PHASE_CONNECT);

    while (main_sum(offsetof(cf_worker_t, observing)) < cf_opt.observers
           && !main_signaled)
    {
        main_step();
    }

    atomic_store(&cf_shared->opened, 1);

    while (main_sum(offsetof(cf_worker_t, settled)) < cf_opt.clients
           && !main_signaled)
    {
        main_step();
    }

    ready = cf_shared->started;

    for (i = 0; i < main_nworkers; i++) {
        ready = cf_max(ready, cf_shared->workers[i].last_ready);
    }

    m->connect_seconds = (double) (ready - cf_shared->started) / 1e9;

    if (main_nworkers) {

        /* the server may still free what only the handshakes needed */

        main_hold(0.3);
    }

    if (cf_opt.pid) {
        cf_proc_memory(cf_opt.pid, &m->after);
    }
}


static void
main_run(cf_measures_t *m)
{
    uint32_t          i;
    uint64_t          start, clients, publisher;
    static cf_cpu_t   before, after;

    clients = 0;
    publisher = 0;

    for (i = 0; i < main_nworkers; i++) {
        clients += cf_proc_cpu_of(main_workers[i]);
    }

    if (cf_opt.publish) {
        publisher = cf_proc_cpu_of(main_publisher);
    }

    if (cf_opt.pid) {
        cf_proc_cpu(cf_opt.pid, &before);
    }

    m->segments = cf_proc_segments();
    start = cf_now();

    atomic_store(&cf_shared->phase, CF_PHASE_RUN);

    if (cf_opt.pause) {
        fputs("cfload: run\n", stderr);
    }

    if (cf_opt.publish) {

        while (!main_published()) {
            main_step();
        }

    } else {
        main_hold(cf_max(cf_opt.idle, cf_opt.duration));
    }

    atomic_store(&cf_shared->phase, CF_PHASE_SETTLE);
    main_settle();

    if (cf_opt.presence) {
        main_presence();
    }

    if (cf_opt.pause) {
        main_pause();
    }

    m->seconds = (double) (cf_now() - start) / 1e9;
    m->segments = cf_proc_segments() - m->segments;

    if (cf_opt.pid) {
        cf_proc_cpu(cf_opt.pid, &after);
        m->server_cpu = cf_proc_spent(&before, &after, &m->exited);
    }

    for (i = 0; i < main_nworkers; i++) {
        m->client_cpu += cf_proc_cpu_of(main_workers[i]);
    }

    m->client_cpu -= clients;

    if (cf_opt.publish) {
        m->publisher_cpu = cf_proc_cpu_of(main_publisher) - publisher;
    }
}


static void
main_hold(double seconds)
{
    uint64_t  end;

    end = cf_now() + (uint64_t) (seconds * 1e9);

    while (cf_now() < end && !main_signaled) {
        main_step();
    }
}


static int
main_published(void)
{
    if (main_signaled) {
        atomic_store(&cf_shared->stop, 1);
    }

    return (int) atomic_load(&cf_shared->publisher.done);
}


static void
main_settle(void)
{
    uint64_t  now, end, strays;

    if (main_nworkers == 0) {
        return;
    }

    now = cf_now();
    end = now + (uint64_t) (cf_opt.settle * 1e9);
    strays = 0;

    while (now < end) {

        if (main_all(offsetof(cf_worker_t, complete), 1)) {

            if (!cf_opt.publish) {
                break;
            }

            strays = strays ? strays : now + MAIN_STRAYS;

            if (now >= strays) {
                break;
            }
        }

        main_step();
        now = cf_now();
    }
}


/*
 * All are still when the last who comes back is back: from then on there is
 * a time for what is on its way, then it is looked who is there.
 */

static void
main_presence(void)
{
    uint64_t  end;

    end = cf_now() + (uint64_t) (cf_opt.timeout * 1e9);

    while (!main_all(offsetof(cf_worker_t, complete), 1) && cf_now() < end) {
        main_step();
    }

    main_hold(cf_opt.settle);

    atomic_store(&cf_shared->phase, CF_PHASE_TRUTH);

    while (!main_all(offsetof(cf_worker_t, truth), 1)) {
        main_step();
    }

    atomic_store(&cf_shared->phase, CF_PHASE_ASK);

    end = cf_now() + (uint64_t) (cf_opt.timeout * 1e9);

    while (!main_all(offsetof(cf_worker_t, asked), 1) && cf_now() < end) {
        main_step();
    }
}


/* Whoever started this looks at the server meanwhile. */

static void
main_pause(void)
{
    char           text[64];
    struct pollfd  fd;

    fputs("cfload: pause\n", stderr);

    fd.fd = STDIN_FILENO;
    fd.events = POLLIN;

    while (!main_signaled
           && (poll(&fd, 1, 0) != 1 || read(fd.fd, text, sizeof(text)) > 0))
    {
        main_step();
    }
}


/* The list of refusals is complete now, and the workers want it sorted. */

static int
main_compare(const void *one, const void *two)
{
    const cf_refused_t  *a = one;
    const cf_refused_t  *b = two;

    if (a->lane != b->lane) {
        return a->lane < b->lane ? -1 : 1;
    }

    return a->seq < b->seq ? -1 : a->seq > b->seq;
}


static void
main_end(void)
{
    uint32_t  i;

    qsort(cf_shared->refused, atomic_load(&cf_shared->nrefused),
          sizeof(cf_refused_t), main_compare);

    atomic_store(&cf_shared->phase, CF_PHASE_END);

    for (i = 0; i < main_nworkers; i++) {
        (void) waitpid(main_workers[i], NULL, 0);
    }

    if (cf_opt.publish) {
        (void) waitpid(main_publisher, NULL, 0);
    }
}


static uint32_t
main_sum(size_t field)
{
    char      *w;
    uint32_t   i, n;

    n = 0;

    for (i = 0; i < main_nworkers; i++) {
        w = (char *) &cf_shared->workers[i];
        n += atomic_load((_Atomic uint32_t *) (w + field));
    }

    return n;
}


/* Whether a counter has reached its mark in all processes with clients. */

static int
main_all(size_t field, uint64_t enough)
{
    char      *w;
    uint32_t   i;

    for (i = 0; i < main_nworkers; i++) {
        w = (char *) &cf_shared->workers[i];

        if (atomic_load((_Atomic uint32_t *) (w + field)) < enough) {
            return 0;
        }
    }

    return 1;
}


/* A child that ends too early has said why. */

static void
main_step(void)
{
    int    status;
    pid_t  pid;

    usleep(MAIN_STEP);

    pid = waitpid(-1, &status, WNOHANG);

    if (pid <= 0) {
        return;
    }

    if (WIFSIGNALED(status)) {
        cf_die("process %d ended with signal %d", (int) pid,
               WTERMSIG(status));
    }

    exit(2);
}


static void
main_signal(int signo)
{
    (void) signo;

    main_signaled = 1;
}
