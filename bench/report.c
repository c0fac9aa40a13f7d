/*
 * The result: one JSON object in one line.
 */

#include "cfload.h"

#include <stdlib.h>
#include <string.h>


static void report_config(void);
static void report_clients(const cf_worker_t *w, const cf_measures_t *m);
static void report_publications(const cf_worker_t *w, uint64_t api_errors);
static void report_presence(const cf_worker_t *w);
static void report_server(const cf_worker_t *w, const cf_measures_t *m);
static void report_memory(const char *name, const cf_memory_t *m);
static void report_latency(const char *name, const cf_hist_t *h);
static void report_codes(const char *name, const uint32_t *codes);
static void report_sum(cf_worker_t *sum);
static void report_per(const char *name, double value, uint64_t n);


int
cf_report(const cf_measures_t *m)
{
    int                 ok;
    uint64_t            api_errors;
    static cf_worker_t  w;

    report_sum(&w);
    api_errors = cf_shared->publisher.api_errors;

    ok = !m->interrupted
         && w.connected == cf_opt.clients
         && (w.attempts_failed == 0 || cf_opt.reconnect)
         && (w.broken == 0 || cf_opt.reconnect)
         && w.lost == 0 && w.doubled == 0 && w.reordered == 0
         && w.damaged == 0 && w.stray == 0 && w.protocol_errors == 0
         && w.no_ping == 0 && api_errors == 0
         && cf_shared->refused_lost == 0
         && w.disordered == 0 && w.misstated == 0 && w.strangers == 0
         && w.missing == 0 && w.surplus == 0 && w.twice == 0
         && w.miscounted == 0 && w.unanswered == 0;

    printf("{\"ok\":%s", ok ? "true" : "false");

    report_config();
    report_clients(&w, m);
    report_publications(&w, api_errors);

    if (cf_opt.presence) {
        report_presence(&w);
    }

    report_server(&w, m);

    printf("%s}\n", m->interrupted ? ",\"interrupted\":true" : "");

    return ok ? 0 : 1;
}


static void
report_config(void)
{
    printf(",\"config\":{\"clients\":%u,\"procs\":%u,\"sources\":%u,"
           "\"tls\":%s,\"token\":%s,\"rate\":%g,\"subs\":%u,"
           "\"channels\":%u,\"churn\":%g,\"churn_mode\":\"%s\","
           "\"reconnect\":%s,",
           cf_opt.clients, cf_opt.clients ? cf_opt.procs : 0, cf_opt.sources,
           cf_opt.url.tls ? "true" : "false",
           cf_opt.token ? "true" : "false", cf_opt.rate, cf_opt.subs,
           cf_channels, cf_opt.churn,
           cf_opt.churn_subs ? "subscribe"
           : cf_opt.churn_toggle ? "toggle" : "connect",
           cf_opt.reconnect ? "true" : "false");

    printf("\"publishers\":%u,\"pub_rate\":%g,\"batch\":%u,"
           "\"count\":%llu,\"duration\":%g,\"size\":%u,\"settle\":%g,"
           "\"idle\":%g}",
           cf_opt.publish ? cf_opt.publishers : 0, cf_opt.pub_rate,
           cf_opt.batch, (unsigned long long) cf_opt.count, cf_opt.duration,
           cf_opt.size, cf_opt.settle, cf_opt.idle);
}


static void
report_clients(const cf_worker_t *w, const cf_measures_t *m)
{
    printf(",\"connected\":%llu,\"failed\":%llu,\"failed_attempts\":%llu,"
           "\"subscriptions\":%llu,\"open_at_end\":%llu,\"churned\":%llu,"
           "\"reconnects\":%llu",
           (unsigned long long) w->connected,
           (unsigned long long) (cf_opt.clients - w->connected),
           (unsigned long long) w->attempts_failed,
           (unsigned long long) w->subscriptions,
           (unsigned long long) w->open,
           (unsigned long long) w->churned,
           (unsigned long long) w->reconnects);

    printf(",\"connect_seconds\":%.3f,\"connects_per_second\":%.0f",
           m->connect_seconds,
           m->connect_seconds > 0
           ? (double) w->connected / m->connect_seconds : 0);

    report_codes("closes", w->closes);
    report_codes("unsubscribes", w->unsubscribes);
    report_codes("errors", w->errors);

    printf(",\"broken\":%llu,\"closes_unanswered\":%llu,\"pings\":%llu,"
           "\"no_ping\":%llu,\"other_pushes\":%llu,\"protocol_errors\":%llu",
           (unsigned long long) w->broken,
           (unsigned long long) w->close_unanswered,
           (unsigned long long) w->pings,
           (unsigned long long) w->no_ping,
           (unsigned long long) w->other,
           (unsigned long long) w->protocol_errors);
}


static void
report_publications(const cf_worker_t *w, uint64_t api_errors)
{
    const cf_publisher_t  *p;

    p = &cf_shared->publisher;

    printf(",\"published\":%llu,\"acked\":%llu,\"requests\":%llu,"
           "\"api_errors\":%llu",
           (unsigned long long) p->published,
           (unsigned long long) p->acked,
           (unsigned long long) p->requests,
           (unsigned long long) api_errors);

    report_codes("api_error_codes", p->codes);

    printf(",\"deliveries\":%llu,\"expected\":%llu,\"lost\":%llu,"
           "\"explained\":%llu,\"doubled\":%llu,\"reordered\":%llu,"
           "\"damaged\":%llu,\"stray\":%llu",
           (unsigned long long) w->deliveries,
           (unsigned long long) w->expected,
           (unsigned long long) w->lost,
           (unsigned long long) w->explained,
           (unsigned long long) w->doubled,
           (unsigned long long) w->reordered,
           (unsigned long long) w->damaged,
           (unsigned long long) w->stray);

    report_latency("latency_us", &w->latency);
    report_latency("api_latency_us", &p->latency);

    printf(",\"publisher_late_max_us\":%.1f", (double) p->late_max / 1000);
}


/* Channels and users are counted by what the clients know. */

static void
report_presence(const cf_worker_t *w)
{
    uint8_t   *users, *channels;
    uint32_t   i, k, user, here, nusers, nchannels, ready, all;

    users = cf_alloc(cf_opt.clients + (size_t) cf_opt.users);
    channels = cf_alloc(cf_channels);
    here = nusers = nchannels = ready = all = 0;

    for (i = 0; i < cf_opt.clients; i++) {
        all += cf_presence_observer(i);

        if (!cf_shared->present[i].ready) {
            continue;
        }

        ready++;
        user = cf_presence_user(i);
        user = (user & CF_OBSERVER) ? cf_opt.users + (user & ~CF_OBSERVER)
                                    : user;
        nusers += !users[user];
        users[user] = 1;

        for (k = 0; k < cf_opt.subs; k++) {

            if (cf_shared->member[i * cf_opt.subs + k]) {
                here++;
                user = (i * cf_opt.subs + k) % cf_channels;
                nchannels += !channels[user];
                channels[user] = 1;
            }
        }
    }

    printf(",\"presence\":{\"clients\":%u,\"users\":%u,"
           "\"subscriptions\":%u,\"channels\":%u,"
           "\"observers\":%u,\"whole\":%llu",
           ready, nusers, here, nchannels, all,
           (unsigned long long) w->whole);

    printf(",\"joins\":%llu,\"leaves\":%llu,\"disordered\":%llu,"
           "\"misstated\":%llu,\"strangers\":%llu,\"replies\":%llu,"
           "\"missing\":%llu,\"surplus\":%llu,\"twice\":%llu,"
           "\"miscounted\":%llu,\"unanswered\":%llu}",
           (unsigned long long) w->joins, (unsigned long long) w->leaves,
           (unsigned long long) w->disordered,
           (unsigned long long) w->misstated,
           (unsigned long long) w->strangers,
           (unsigned long long) w->presences,
           (unsigned long long) w->missing,
           (unsigned long long) w->surplus,
           (unsigned long long) w->twice,
           (unsigned long long) w->miscounted,
           (unsigned long long) w->unanswered);

    free(users);
    free(channels);
}


static void
report_server(const cf_worker_t *w, const cf_measures_t *m)
{
    double  cpu;

    printf(",\"seconds\":%.3f", m->seconds);

    if (m->seconds > 0) {
        printf(",\"deliveries_per_second\":%.0f"
               ",\"publications_per_second\":%.0f",
               (double) w->deliveries / m->seconds,
               (double) cf_shared->publisher.published / m->seconds);
    }

    if (cf_opt.pid) {
        cpu = (double) m->server_cpu / 1000;

        printf(",\"server\":{\"processes\":%u,\"exited\":%u",
               m->after.processes, m->exited);

        report_memory("pss_before", &m->before);
        report_memory("pss_after", &m->after);

        /* with no clients it may only be noise, which is not divided */

        if (w->connected) {
            printf(",\"pss_per_connection\":%.0f",
                   ((double) m->after.total - (double) m->before.total)
                   / (double) w->connected);
            printf(",\"pss_anon_per_connection\":%.0f",
                   ((double) m->after.anon - (double) m->before.anon)
                   / (double) w->connected);
            printf(",\"pss_shmem_per_connection\":%.0f",
                   ((double) m->after.shmem - (double) m->before.shmem)
                   / (double) w->connected);
        }

        printf(",\"cpu_us\":%.0f", cpu);
        report_per("cpu_us_per_delivery", cpu, w->deliveries);
        report_per("cpu_us_per_publication", cpu,
                   cf_shared->publisher.published);

        if (m->seconds > 0 && w->connected) {
            report_per("cpu_us_per_client_second", cpu / m->seconds,
                       w->connected);
        }

        printf("}");
    }

    cpu = (double) m->client_cpu / 1000;

    printf(",\"own\":{\"clients_cpu_us\":%.0f,\"publishers_cpu_us\":%.0f",
           cpu, (double) m->publisher_cpu / 1000);
    report_per("cpu_us_per_delivery", cpu, w->deliveries);
    report_per("deliveries_per_read", (double) w->deliveries, w->reads);

    printf("},\"deflated\":%llu,\"tcp_segments\":%llu",
           (unsigned long long) w->deflated, (unsigned long long) m->segments);
    report_per("tcp_segments_per_delivery", (double) m->segments,
               w->deliveries);
}


static void
report_memory(const char *name, const cf_memory_t *m)
{
    printf(",\"%s\":{\"total\":%llu,\"anon\":%llu,\"file\":%llu,"
           "\"shmem\":%llu}", name,
           (unsigned long long) m->total, (unsigned long long) m->anon,
           (unsigned long long) m->file, (unsigned long long) m->shmem);
}


static void
report_latency(const char *name, const cf_hist_t *h)
{
    printf(",\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
           "\"p999\":%.1f,\"max\":%.1f}", name,
           cf_hist_us(h, 0.5), cf_hist_us(h, 0.9), cf_hist_us(h, 0.99),
           cf_hist_us(h, 0.999), (double) h->max / 1000);
}


static void
report_codes(const char *name, const uint32_t *codes)
{
    uint32_t     i;
    const char  *comma;

    printf(",\"%s\":{", name);
    comma = "";

    for (i = 0; i < CF_CODES; i++) {

        if (codes[i]) {
            printf("%s\"%u\":%u", comma, i, codes[i]);
            comma = ",";
        }
    }

    printf("}");
}


static void
report_per(const char *name, double value, uint64_t n)
{
    if (n) {
        printf(",\"%s\":%.4f", name, value / (double) n);
    }
}


static void
report_sum(cf_worker_t *sum)
{
    uint32_t            i, j;
    const cf_worker_t  *w;

#define report_add(field)  sum->field += w->field

    for (i = 0; i < cf_opt.procs; i++) {
        w = &cf_shared->workers[i];

        report_add(connected);
        report_add(open);
        report_add(subscriptions);
        report_add(attempts_failed);
        report_add(reconnects);
        report_add(churned);
        report_add(close_unanswered);
        report_add(broken);
        report_add(no_ping);
        report_add(pings);
        report_add(other);
        report_add(protocol_errors);
        report_add(deliveries);
        report_add(expected);
        report_add(lost);
        report_add(explained);
        report_add(doubled);
        report_add(reordered);
        report_add(damaged);
        report_add(stray);
        report_add(reads);
        report_add(deflated);
        report_add(joins);
        report_add(leaves);
        report_add(disordered);
        report_add(misstated);
        report_add(whole);
        report_add(strangers);
        report_add(presences);
        report_add(missing);
        report_add(surplus);
        report_add(twice);
        report_add(miscounted);
        report_add(unanswered);

        for (j = 0; j < CF_CODES; j++) {
            report_add(closes[j]);
            report_add(unsubscribes[j]);
            report_add(errors[j]);
        }

        cf_hist_merge(&sum->latency, &w->latency);
    }
}
