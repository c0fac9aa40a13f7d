/*
 * The command line.
 */

#include "cfload.h"
#include "payload.h"

#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>


#define OPTIONS_FILES  64        /* of a process, beside its sockets */


typedef enum {
    OPT_URL = 1, OPT_API, OPT_KEY, OPT_TOKEN, OPT_SECRET, OPT_USERS,
    OPT_INFO, OPT_PRESENCE, OPT_OBSERVERS, OPT_PRESENCE_RATE, OPT_PAUSE,
    OPT_CHANNEL, OPT_CHANNELS,
    OPT_CHANNEL_COUNT, OPT_SUBS, OPT_CLIENTS, OPT_PROCS, OPT_SOURCES,
    OPT_RATE, OPT_CHURN, OPT_CHURN_MODE, OPT_RECONNECT, OPT_TIMEOUT,
    OPT_TLS_VERIFY, OPT_CA, OPT_DEFLATE, OPT_PROTOBUF, OPT_PUBLISHERS,
    OPT_PUB_RATE, OPT_BATCH, OPT_COUNT, OPT_DURATION, OPT_SIZE, OPT_SETTLE,
    OPT_IDLE, OPT_PID, OPT_HELP
} options_e;


static void options_set(int opt, const char *name, char *value);
static void options_check(void);
static void options_names(void);
static void options_url(const char *name, const char *text, const char *plain,
    const char *tls, cf_url_t *url);
static void options_plain(const char *name, const char *text);
static double options_number(const char *name, const char *text, double min,
    double max);
static uint32_t options_integer(const char *name, const char *text,
    uint32_t min, uint32_t max);
static void options_usage(FILE *f);


static const struct option  options_long[] = {
    { "url", required_argument, NULL, OPT_URL },
    { "api", required_argument, NULL, OPT_API },
    { "api-key", required_argument, NULL, OPT_KEY },
    { "token", required_argument, NULL, OPT_TOKEN },
    { "token-secret", required_argument, NULL, OPT_SECRET },
    { "users", required_argument, NULL, OPT_USERS },
    { "info", required_argument, NULL, OPT_INFO },
    { "presence", no_argument, NULL, OPT_PRESENCE },
    { "observers", required_argument, NULL, OPT_OBSERVERS },
    { "presence-rate", required_argument, NULL, OPT_PRESENCE_RATE },
    { "pause", no_argument, NULL, OPT_PAUSE },
    { "channel", required_argument, NULL, OPT_CHANNEL },
    { "channels", required_argument, NULL, OPT_CHANNELS },
    { "channel-count", required_argument, NULL, OPT_CHANNEL_COUNT },
    { "subs", required_argument, NULL, OPT_SUBS },
    { "clients", required_argument, NULL, OPT_CLIENTS },
    { "procs", required_argument, NULL, OPT_PROCS },
    { "sources", required_argument, NULL, OPT_SOURCES },
    { "rate", required_argument, NULL, OPT_RATE },
    { "churn", required_argument, NULL, OPT_CHURN },
    { "churn-mode", required_argument, NULL, OPT_CHURN_MODE },
    { "reconnect", no_argument, NULL, OPT_RECONNECT },
    { "timeout", required_argument, NULL, OPT_TIMEOUT },
    { "tls-verify", no_argument, NULL, OPT_TLS_VERIFY },
    { "ca", required_argument, NULL, OPT_CA },
    { "deflate", no_argument, NULL, OPT_DEFLATE },
    { "protobuf", no_argument, NULL, OPT_PROTOBUF },
    { "publishers", required_argument, NULL, OPT_PUBLISHERS },
    { "pub-rate", required_argument, NULL, OPT_PUB_RATE },
    { "batch", required_argument, NULL, OPT_BATCH },
    { "count", required_argument, NULL, OPT_COUNT },
    { "duration", required_argument, NULL, OPT_DURATION },
    { "size", required_argument, NULL, OPT_SIZE },
    { "settle", required_argument, NULL, OPT_SETTLE },
    { "idle", required_argument, NULL, OPT_IDLE },
    { "pid", required_argument, NULL, OPT_PID },
    { "help", no_argument, NULL, OPT_HELP },
    { NULL, 0, NULL, 0 }
};

static char      *options_text;      /* the names of all channels */
static uint32_t  *options_at;


void
cf_options(int argc, char **argv)
{
    int  opt, index;

    cf_opt.clients = 1;
    cf_opt.procs = 1;
    cf_opt.sources = 1;
    cf_opt.subs = 1;
    cf_opt.publishers = 1;
    cf_opt.batch = 1;
    cf_opt.size = 128;
    cf_opt.rate = 2000;
    cf_opt.settle = 5;
    cf_opt.timeout = 15;

    for ( ;; ) {
        index = 0;
        opt = getopt_long(argc, argv, "", options_long, &index);

        if (opt == -1) {
            break;
        }

        if (opt == '?') {
            exit(2);
        }

        options_set(opt, options_long[index].name, optarg);
    }

    if (argc == 1) {
        options_usage(stderr);
        exit(2);
    }

    if (optind < argc) {
        cf_die("what is \"%s\"? See --help", argv[optind]);
    }

    options_check();
    options_names();
}


const char *
cf_channel_name(uint32_t channel, size_t *len)
{
    *len = options_at[channel + 1] - options_at[channel] - 1;

    return options_text + options_at[channel];
}


/* Each process has its own limit, so more processes help. */

void
cf_check_files(void)
{
    rlim_t         need;
    struct rlimit  limit;

    need = (cf_opt.clients + cf_opt.procs - 1) / cf_opt.procs;
    need = cf_max(need, cf_opt.publishers) + OPTIONS_FILES;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur >= need) {
        return;
    }

    limit.rlim_cur = cf_min(need, limit.rlim_max);

    if (limit.rlim_cur >= need && setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return;
    }

    cf_die("a process needs %llu open files and may have %llu: use more "
           "--procs, or raise the limit (ulimit -Hn)",
           (unsigned long long) need, (unsigned long long) limit.rlim_max);
}


static void
options_set(int opt, const char *name, char *value)
{
    switch (opt) {

    case OPT_URL:
        cf_opt.url_arg = value;
        break;

    case OPT_API:
        cf_opt.api_arg = value;
        break;

    case OPT_KEY:
        options_plain(name, value);
        cf_opt.api_key = value;
        break;

    case OPT_TOKEN:
        options_plain(name, value);
        cf_opt.token = value;
        break;

    case OPT_SECRET:
        cf_opt.token_secret = value;
        break;

    case OPT_USERS:
        cf_opt.users = options_integer(name, value, 1, 1000000);
        break;

    case OPT_INFO:
        cf_opt.info = options_integer(name, value, 12, CF_INFO_MAX);
        break;

    case OPT_PRESENCE:
        cf_opt.presence = 1;
        break;

    case OPT_OBSERVERS:
        cf_opt.observers = options_integer(name, value, 1, 100000);
        break;

    case OPT_PRESENCE_RATE:
        cf_opt.presence_rate = options_number(name, value, 0, 1e4);
        break;

    case OPT_PAUSE:
        cf_opt.pause = 1;
        break;

    case OPT_CHANNEL:
        options_plain(name, value);
        cf_opt.channel = value;
        break;

    case OPT_CHANNELS:
        options_plain(name, value);
        cf_opt.channels = value;
        break;

    case OPT_CHANNEL_COUNT:
        cf_opt.channel_count = options_integer(name, value, 1, 10000000);
        break;

    case OPT_SUBS:
        cf_opt.subs = options_integer(name, value, 0, 1000);
        break;

    case OPT_CLIENTS:
        cf_opt.clients = options_integer(name, value, 0, 1000000);
        break;

    case OPT_PROCS:
        cf_opt.procs = options_integer(name, value, 1, CF_MAX_PROCS);
        break;

    case OPT_SOURCES:
        cf_opt.sources = options_integer(name, value, 1, 250);
        break;

    case OPT_RATE:
        cf_opt.rate = options_number(name, value, 0, 1e6);
        break;

    case OPT_CHURN:
        cf_opt.churn = options_number(name, value, 0, 1e6);
        break;

    case OPT_CHURN_MODE:

        if (strcmp(value, "subscribe") == 0) {
            cf_opt.churn_subs = 1;

        } else if (strcmp(value, "toggle") == 0) {
            cf_opt.churn_toggle = 1;

        } else if (strcmp(value, "connect") != 0) {
            cf_die("--churn-mode is connect, subscribe or toggle");
        }

        break;

    case OPT_RECONNECT:
        cf_opt.reconnect = 1;
        break;

    case OPT_TIMEOUT:
        cf_opt.timeout = options_number(name, value, 1, 3600);
        break;

    case OPT_TLS_VERIFY:
        cf_opt.tls_verify = 1;
        break;

    case OPT_CA:
        cf_opt.ca = value;
        cf_opt.tls_verify = 1;
        break;

    case OPT_DEFLATE:
        cf_opt.deflate = 1;
        break;

    case OPT_PROTOBUF:
        cf_opt.protobuf = 1;
        break;

    case OPT_PUBLISHERS:
        cf_opt.publishers = options_integer(name, value, 1, 1000);
        break;

    case OPT_PUB_RATE:
        cf_opt.pub_rate = options_number(name, value, 0, 1e7);
        break;

    case OPT_BATCH:
        cf_opt.batch = options_integer(name, value, 1, 10000);
        break;

    case OPT_COUNT:
        cf_opt.count = options_integer(name, value, 1, 1u << 30);
        break;

    case OPT_DURATION:
        cf_opt.duration = options_number(name, value, 0.01, 1e6);
        break;

    case OPT_SIZE:
        cf_opt.size = options_integer(name, value, CF_PAYLOAD_MIN, 4 << 20);
        break;

    case OPT_SETTLE:
        cf_opt.settle = options_number(name, value, 0, 3600);
        break;

    case OPT_IDLE:
        cf_opt.idle = options_number(name, value, 0, 1e6);
        break;

    case OPT_PID:
        cf_opt.pid = (pid_t) options_integer(name, value, 1, 1u << 30);
        break;

    default:
        options_usage(stdout);
        exit(0);
    }
}


static void
options_check(void)
{
    if (cf_opt.clients) {

        if (cf_opt.url_arg == NULL) {
            cf_die("--url is missing");
        }

        options_url("url", cf_opt.url_arg, "ws://", "wss://", &cf_opt.url);
    }

    if (cf_opt.api_arg) {
        options_url("api", cf_opt.api_arg, "http://", NULL, &cf_opt.api);

        if (!cf_opt.count && !cf_opt.duration) {
            cf_die("--api needs --count or --duration");
        }

        if (cf_opt.idle) {
            cf_die("--idle is without --api");
        }

        cf_opt.publish = 1;

    } else if (cf_opt.count || cf_opt.pub_rate) {
        cf_die("--api is missing: nobody could publish");
    }

    if (cf_opt.clients == 0 && !cf_opt.publish) {
        cf_die("neither --clients nor --api: nothing to do");
    }

    if (cf_opt.channel && cf_opt.channels) {
        cf_die("--channel and --channels exclude each other");
    }

    if (cf_opt.channel == NULL && cf_opt.channels == NULL) {
        cf_opt.channel = "bench";
    }

    if (cf_opt.channel && cf_opt.subs > 1) {
        cf_die("more --subs than one need --channels");
    }

    if (cf_opt.channels && strstr(cf_opt.channels, "%d") == NULL) {
        cf_die("--channels needs a %%d for the number");
    }

    if ((cf_opt.churn_subs || cf_opt.churn_toggle) && cf_opt.subs == 0) {
        cf_die("this --churn-mode needs --subs");
    }

    if (cf_opt.info && cf_opt.token_secret == NULL) {
        cf_die("--info is in tokens: it needs --token-secret");
    }

    if (cf_opt.token && cf_opt.token_secret) {
        cf_die("--token and --token-secret exclude each other");
    }

    if (cf_opt.presence) {

        if (cf_opt.clients == 0 || cf_opt.subs == 0) {
            cf_die("--presence needs --clients and --subs");
        }

        cf_opt.observers = cf_max(cf_opt.observers, 1);
        cf_opt.users = cf_opt.users ? cf_opt.users : cf_opt.clients;

        if (cf_opt.observers > cf_opt.clients) {
            cf_die("more --observers than --clients");
        }

    } else if (cf_opt.observers || cf_opt.presence_rate > 0) {
        cf_die("--observers and --presence-rate need --presence");
    }

    if (cf_opt.sources > 1 && cf_opt.clients
        && cf_opt.url.addr.ss_family != AF_INET)
    {
        cf_die("--sources is for IPv4 on this machine");
    }

    cf_opt.procs = cf_max(cf_min(cf_opt.procs, cf_opt.clients), 1);
}


/* All names are made once, before the processes part. */

static void
options_names(void)
{
    size_t       size;
    uint64_t     n;
    uint32_t     i;
    const char  *format, *mark;

    n = 1;
    format = cf_opt.channel;
    mark = NULL;

    if (cf_opt.channels) {
        format = cf_opt.channels;
        mark = strstr(format, "%d");
        n = cf_opt.channel_count ? cf_opt.channel_count
            : cf_max((uint64_t) cf_opt.clients * cf_opt.subs, 1);

        if (n > 10000000) {
            cf_die("%llu channels are too many", (unsigned long long) n);
        }

        if (n < cf_opt.subs) {
            cf_die("fewer channels than --subs of one client");
        }
    }

    cf_channels = (uint32_t) n;

    /* with few channels all publish everywhere, else each in its share */

    cf_lanes = (cf_channels >= cf_opt.publishers) ? 1 : cf_opt.publishers;

    size = n * (strlen(format) + 10);
    if (size > UINT32_MAX) {
        cf_die("the names of the channels are too long");
    }

    options_text = cf_alloc(size);
    options_at = cf_alloc((n + 1) * sizeof(uint32_t));

    for (i = 0; i < cf_channels; i++) {
        options_at[i + 1] = options_at[i] + 1;
        options_at[i + 1] += mark
            ? (uint32_t) sprintf(options_text + options_at[i], "%.*s%u%s",
                                 (int) (mark - format), format, i, mark + 2)
            : (uint32_t) sprintf(options_text + options_at[i], "%s", format);
    }
}


static void
options_url(const char *name, const char *text, const char *plain,
    const char *tls, cf_url_t *url)
{
    int               rc;
    char             *port;
    size_t            len;
    const char       *p;
    struct addrinfo   hints, *res;

    if (strncmp(text, plain, strlen(plain)) == 0) {
        p = text + strlen(plain);

    } else if (tls && strncmp(text, tls, strlen(tls)) == 0) {
        p = text + strlen(tls);
        url->tls = 1;

    } else {
        cf_die("--%s begins with %s%s%s", name, plain, tls ? " or " : "",
               tls ? tls : "");
    }

    options_plain(name, text);

    len = strcspn(p, "/");
    url->path = p[len] ? p + len : tls ? "/" : "";

    if (len == 0 || len >= sizeof(url->host)) {
        cf_die("--%s has no right host", name);
    }

    memcpy(url->host, p, len);
    strcpy(url->port, url->tls ? "443" : "80");
    port = strrchr(url->host, ':');

    if (port && strchr(port, ']') == NULL) {
        *port++ = '\0';
        snprintf(url->port, sizeof(url->port), "%u",
                 options_integer("url: the port", port, 1, 65535));
    }

    len = strlen(url->host);

    if (url->host[0] == '[' && url->host[len - 1] == ']') {
        url->host[len - 1] = '\0';
        memmove(url->host, url->host + 1, len - 1);
    }

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;

    rc = getaddrinfo(url->host, url->port, &hints, &res);
    if (rc != 0) {
        cf_die("--%s: %s: %s", name, url->host, gai_strerror(rc));
    }

    memcpy(&url->addr, res->ai_addr, res->ai_addrlen);
    url->addr_len = res->ai_addrlen;

    freeaddrinfo(res);
}


/* What is put into JSON or HTTP as it is must not need any escapes. */

static void
options_plain(const char *name, const char *text)
{
    const char  *p;

    for (p = text; *p; p++) {

        if ((unsigned char) *p <= ' ' || *p == '"' || *p == '\\') {
            cf_die("--%s may have no blanks, quotes or backslashes", name);
        }
    }
}


static double
options_number(const char *name, const char *text, double min, double max)
{
    char    *end;
    double   v;

    v = strtod(text, &end);

    if (end == text || *end || !(v >= min && v <= max)) {
        cf_die("--%s is a number from %g to %g", name, min, max);
    }

    return v;
}


static uint32_t
options_integer(const char *name, const char *text, uint32_t min,
    uint32_t max)
{
    char                *end;
    unsigned long long   v;

    v = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || v < min || v > max) {
        cf_die("--%s is a whole number from %u to %u", name, min, max);
    }

    return (uint32_t) v;
}


static void
options_usage(FILE *f)
{
    fputs(
"usage: cfload --url ws[s]://HOST:PORT/PATH --clients N [options]\n"
"\n"
"clients:\n"
"  --clients N          how many (1)\n"
"  --procs N            processes they are spread over (1)\n"
"  --sources N          connect from 127.0.0.2 and the N-1 after it, when\n"
"                       one address has too few ports\n"
"  --rate R             connects per second, 0: as fast as it goes (2000)\n"
"  --token JWT          sent in the connect command (none)\n"
"  --token-secret KEY   each client makes a token of its own (HS256)\n"
"  --users N            the clients are N users: the tokens say which, without\n"
"                       --token-secret the argument \"user\" of the URL does\n"
"  --info BYTES         of info in each token (none)\n"
"  --channel NAME       one channel for all (bench)\n"
"  --channels NAME%d    numbered channels; each client has its own ...\n"
"  --channel-count M    ... unless there are only M of them\n"
"  --subs K             subscriptions of each client (1)\n"
"  --churn N            per second, that many clients go and come back\n"
"  --churn-mode M       connect (default), or subscribe: only a subscription\n"
"                       is ended and made again, or toggle: it is ended, or\n"
"                       made again if it was, and some connections end\n"
"  --reconnect          come back also when the server has ended it\n"
"  --timeout S          of one connect with its subscriptions (15)\n"
"  --tls-verify         check the server's certificate\n"
"  --ca FILE            certificates to check it with\n"
"  --deflate            negotiate permessage-deflate; a server that does not\n"
"                       agree has refused the connection\n"
"  --protobuf           clients speak Protobuf\n"
"\n"
"publishing:\n"
"  --api URL            of the server API, as http://HOST:PORT/api\n"
"  --api-key KEY\n"
"  --publishers N       connections that publish (1)\n"
"  --pub-rate R         publications per second in total, 0: each one as\n"
"                       soon as the last is answered (0)\n"
"  --batch B            publications in one request (1)\n"
"  --count N            publications in total\n"
"  --duration S         or how long\n"
"  --size BYTES         of the data of each (128)\n"
"  --settle S           how long to wait for the last ones (5)\n"
"\n"
"presence:\n"
"  --presence           check who is there, who comes and who goes\n"
"  --observers N        of the clients, that many stay and are told (1)\n"
"  --presence-rate R    presence commands per second while it runs (0)\n"
"\n"
"measuring:\n"
"  --idle S             hold the connections for S seconds, do not publish\n"
"  --pause              tell on stderr when it runs, and when all is over but\n"
"                       the clients are there; go on when stdin ends\n"
"  --pid PID            the server: memory and CPU time of this process and\n"
"                       of all below it\n", f);
}
