/*
 * The state of a hub as Prometheus text.
 */

#include "ngx_centrifugo_http.h"
#include "../client/ngx_centrifugo_client.h"


typedef struct {
    const char                *name;
    const char                *type;
    const char                *labels;      /* besides hub */
    ngx_centrifugo_counter_e   counter;
} metrics_row_t;


static void metrics_line(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    const char *name, const char *type, const char *labels, uint64_t value);
static void metrics_value(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    const char *name, const char *labels, uint64_t value);
static void metrics_disconnects(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_hub_conf_t *hcf);
static void metrics_streams(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    ngx_centrifugo_hub_stat_t *stat);
static void metrics_workers(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_hub_conf_t *hcf);
static void metrics_locks(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    ngx_centrifugo_hub_stat_t *stat);


static metrics_row_t  metrics_rows[] = {
    { "centrifugo_node_num_clients", "gauge", "",
      NGX_CENTRIFUGO_GAUGE_CLIENTS },
    { "centrifugo_node_num_subscriptions", "gauge", "",
      NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS },
    { "centrifugo_node_messages_sent_count", "counter",
      ",type=\"publication\",channel_namespace=\"\"",
      NGX_CENTRIFUGO_COUNT_PUBLISHED },
    { "centrifugo_node_client_connection_limit", "counter", "",
      NGX_CENTRIFUGO_COUNT_REFUSED },
    { "centrifugo_client_connections_accepted", "counter",
      ",transport=\"websocket\"", NGX_CENTRIFUGO_COUNT_CONNECTIONS },
    { "centrifugo_client_subscriptions_accepted", "counter", "",
      NGX_CENTRIFUGO_COUNT_SUBSCRIBES },
    { "centrifugo_client_recover", "counter", ",recovered=\"yes\"",
      NGX_CENTRIFUGO_COUNT_RECOVERED_YES },
    { "centrifugo_client_recover", "counter", ",recovered=\"no\"",
      NGX_CENTRIFUGO_COUNT_RECOVERED_NO },
    { "centrifugo_broker_publish_suppressed_count", "counter",
      ",reason=\"idempotency\"", NGX_CENTRIFUGO_COUNT_SUPPRESSED_KEY },
    { "centrifugo_broker_publish_suppressed_count", "counter",
      ",reason=\"version\"", NGX_CENTRIFUGO_COUNT_SUPPRESSED_VERSION },
    { "centrifugo_hub_recovered_publications_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_RECOVERED_PUBLICATIONS },
    { "centrifugo_hub_insufficient_state_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_INSUFFICIENT },
    { "centrifugo_hub_sessions", "gauge", "", NGX_CENTRIFUGO_GAUGE_SESSIONS },
    { "centrifugo_hub_queued_bytes", "gauge", "",
      NGX_CENTRIFUGO_GAUGE_QUEUED_BYTES },
    { "centrifugo_hub_frame_bytes", "gauge", "",
      NGX_CENTRIFUGO_GAUGE_FRAME_BYTES },
    { "centrifugo_hub_delivered_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_DELIVERED },
    { "centrifugo_hub_bytes_in_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_BYTES_IN },
    { "centrifugo_hub_bytes_out_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_BYTES_OUT },
    { "centrifugo_hub_commands_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_COMMANDS },
    { "centrifugo_hub_reply_errors_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_REPLY_ERRORS },
    { "centrifugo_hub_slow_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_SLOW },
    { "centrifugo_hub_api_commands_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_API_COMMANDS },
    { "centrifugo_hub_api_errors_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_API_ERRORS },
    { "centrifugo_hub_log_overruns_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_OVERRUNS },
    { "centrifugo_hub_log_lost_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_LOG_LOST },
    { "centrifugo_hub_wakes_total", "counter", "",
      NGX_CENTRIFUGO_COUNT_WAKES }
};


ngx_int_t
ngx_centrifugo_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    uint64_t                     value;
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    metrics_row_t               *row;
    ngx_centrifugo_buf_t         b;
    ngx_centrifugo_hub_t        *hub;
    ngx_centrifugo_hub_stat_t    stat;
    ngx_centrifugo_loc_conf_t   *lcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    hub = &lcf->hub->hub;
    name = &lcf->hub->name;

    ngx_memzero(&b, sizeof(ngx_centrifugo_buf_t));
    ngx_centrifugo_hub_stat(hub, &stat);

    metrics_line(&b, name, "centrifugo_node_build", "gauge",
                 ",version=\"" NGX_CENTRIFUGO_VERSION "\"", 1);
    metrics_line(&b, name, "centrifugo_node_num_nodes", "gauge", "", 1);
    metrics_line(&b, name, "centrifugo_node_num_channels", "gauge", "",
                 stat.channels);
    metrics_line(&b, name, "centrifugo_node_num_users", "gauge", "",
                 stat.users);
    metrics_line(&b, name, "centrifugo_hub_presence_entries", "gauge", "",
                 stat.presence);

    for (i = 0; i < sizeof(metrics_rows) / sizeof(metrics_row_t); i++) {
        row = &metrics_rows[i];
        value = ngx_centrifugo_hub_sum(hub, row->counter);

        /* values of one name stand together */

        if (i && ngx_strcmp(row->name, row[-1].name) == 0) {
            metrics_value(&b, name, row->name, row->labels, value);

        } else {
            metrics_line(&b, name, row->name, row->type, row->labels, value);
        }
    }

    metrics_disconnects(&b, lcf->hub);
    metrics_streams(&b, name, &stat);

    metrics_line(&b, name, "centrifugo_hub_zone_bytes", "gauge", "",
                 stat.zone);
    metrics_line(&b, name, "centrifugo_hub_zone_pages", "gauge",
                 ",state=\"used\"", stat.pages - stat.pages_free);
    metrics_value(&b, name, "centrifugo_hub_zone_pages", ",state=\"free\"",
                  stat.pages_free);
    metrics_line(&b, name, "centrifugo_hub_log_size_bytes", "gauge", "",
                 stat.log);
    metrics_line(&b, name, "centrifugo_hub_log_written_bytes_total",
                 "counter", "", stat.head);
    metrics_line(&b, name, "centrifugo_hub_log_tail_bytes", "gauge", "",
                 stat.tail);
    metrics_line(&b, name, "centrifugo_hub_zone_used_bytes", "gauge",
                 ",kind=\"log\"", stat.log);
    metrics_value(&b, name, "centrifugo_hub_zone_used_bytes",
                  ",kind=\"control\"", stat.control);
    metrics_value(&b, name, "centrifugo_hub_zone_used_bytes",
                  ",kind=\"tables\"", stat.tables);
    metrics_value(&b, name, "centrifugo_hub_zone_used_bytes",
                  ",kind=\"channels\"", stat.channel_bytes);
    metrics_value(&b, name, "centrifugo_hub_zone_used_bytes",
                  ",kind=\"history\"", stat.item_bytes);
    metrics_line(&b, name, "centrifugo_hub_zone_free_bytes", "gauge", "",
                 stat.pages_free * NGX_CENTRIFUGO_PAGE);
    metrics_line(&b, name, "centrifugo_hub_control_written_bytes_total",
                 "counter", "", stat.control_head);
    metrics_line(&b, name, "centrifugo_hub_shard_repairs", "counter", "",
                 stat.repairs[0]);
    metrics_line(&b, name, "centrifugo_hub_shard_wipes", "counter", "",
                 stat.wipes);
    metrics_line(&b, name, "centrifugo_hub_resync_pending", "gauge", "",
                 stat.resync);
    metrics_line(&b, name, "centrifugo_hub_repairs_total", "counter",
                 ",lock=\"pages\"", stat.repairs[1]);
    metrics_value(&b, name, "centrifugo_hub_repairs_total", ",lock=\"log\"",
                  stat.repairs[2]);
    metrics_value(&b, name, "centrifugo_hub_repairs_total",
                  ",lock=\"control\"", stat.repairs[3]);
    metrics_workers(&b, lcf->hub);
    metrics_locks(&b, name, &stat);

    rc = b.failed ? NGX_HTTP_INTERNAL_SERVER_ERROR
         : ngx_centrifugo_http_respond(r, NGX_HTTP_OK,
                                       "text/plain; version=0.0.4",
                                       b.start, ngx_centrifugo_buf_len(&b));

    ngx_centrifugo_buf_free(&b);

    return rc;
}


static void
metrics_disconnects(ngx_centrifugo_buf_t *b, ngx_centrifugo_hub_conf_t *hcf)
{
    u_char                              labels[sizeof(",code=\"65535\"")];
    uint64_t                            n;
    ngx_uint_t                          i;
    const ngx_centrifugo_disconnect_t  *disconnect;
    static const char
        name[] = "centrifugo_client_num_server_disconnects";

    i = 0;

    do {
        disconnect = ngx_centrifugo_client_disconnect(i);

        if (disconnect) {
            *ngx_sprintf(labels, ",code=\"%ui\"", disconnect->code) = '\0';

        } else {
            *ngx_sprintf(labels, ",code=\"other\"") = '\0';
        }

        n = ngx_centrifugo_hub_sum(&hcf->hub,
                                   NGX_CENTRIFUGO_COUNT_DISCONNECTS + i);

        if (i == 0) {
            metrics_line(b, &hcf->name, name, "counter", (char *) labels, n);

        } else {
            metrics_value(b, &hcf->name, name, (char *) labels, n);
        }

        i++;

    } while (disconnect);
}


static void
metrics_streams(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    ngx_centrifugo_hub_stat_t *stat)
{
    ngx_uint_t          i;
    static const char   evicted[] = "centrifugo_hub_evicted_total";
    static const char   expired[] = "centrifugo_hub_expired_total";
    static const char  *kinds[] = {
        ",kind=\"result\"", ",kind=\"publication\"",
        ",kind=\"subscribed_publication\"", ",kind=\"stream\""
    };
    static const char  *what[] = {
        ",kind=\"result\"", ",kind=\"history\"", ",kind=\"stream\""
    };

    metrics_line(b, hub, "centrifugo_hub_streams", "gauge", "",
                 stat->streams);
    metrics_line(b, hub, "centrifugo_hub_publications", "gauge", "",
                 stat->publications);
    metrics_line(b, hub, "centrifugo_hub_history_bytes", "gauge", "",
                 stat->history_bytes);
    metrics_line(b, hub, "centrifugo_hub_results", "gauge", "",
                 stat->results);

    for (i = 0; i < 4; i++) {
        if (i == 0) {
            metrics_line(b, hub, evicted, "counter", kinds[i],
                         stat->evicted[i]);

        } else {
            metrics_value(b, hub, evicted, kinds[i], stat->evicted[i]);
        }
    }

    for (i = 0; i < 3; i++) {
        if (i == 0) {
            metrics_line(b, hub, expired, "counter", what[i],
                         stat->expired[i]);

        } else {
            metrics_value(b, hub, expired, what[i], stat->expired[i]);
        }
    }
}


/*
 * The slots: how many are held in which state, and who does what is done once.
 */

static void
metrics_workers(ngx_centrifugo_buf_t *b, ngx_centrifugo_hub_conf_t *hcf)
{
    uint32_t                    state;
    uint64_t                    n[4];
    ngx_uint_t                  i;
    ngx_centrifugo_registry_t  *reg;
    static const char          *labels[] = {
        "", ",state=\"live\"", ",state=\"draining\"", ",state=\"dead\""
    };

    reg = hcf->hub.registry;
    ngx_memzero(n, sizeof(n));

    for (i = 0; i < ngx_centrifugo_hub_slots(hcf->hub.shm); i++) {
        state = __atomic_load_n(&reg->slots[i].state, __ATOMIC_RELAXED);
        n[state & 3]++;
    }

    for (i = 1; i < 4; i++) {
        if (i == 1) {
            metrics_line(b, &hcf->name, "centrifugo_hub_workers", "gauge",
                         labels[i], n[i]);

        } else {
            metrics_value(b, &hcf->name, "centrifugo_hub_workers", labels[i],
                          n[i]);
        }
    }

    metrics_line(b, &hcf->name, "centrifugo_hub_housekeeper_slot", "gauge",
                 "", __atomic_load_n(&reg->housekeeper_slot,
                                     __ATOMIC_RELAXED));
}


static void
metrics_locks(ngx_centrifugo_buf_t *b, ngx_str_t *hub,
    ngx_centrifugo_hub_stat_t *stat)
{
    ngx_uint_t          i, k;
    uint64_t            value[4];
    static const char  *locks[] = {
        ",lock=\"shard\"", ",lock=\"pages\"", ",lock=\"log\"",
        ",lock=\"control\""
    };
    static const char  *names[] = {
        "centrifugo_hub_lock_takes_total",
        "centrifugo_hub_lock_contended_total",
        "centrifugo_hub_lock_wait_nanoseconds_total",
        "centrifugo_hub_lock_longest_wait_nanoseconds"
    };
    static const char  *types[] = { "counter", "counter", "counter", "gauge" };

    for (k = 0; k < 4; k++) {

        for (i = 0; i < 4; i++) {
            value[0] = stat->locks[i].takes;
            value[1] = stat->locks[i].contended;
            value[2] = stat->locks[i].wait_ns;
            value[3] = stat->locks[i].longest_ns;

            if (i == 0) {
                metrics_line(b, hub, names[k], types[k], locks[i], value[k]);

            } else {
                metrics_value(b, hub, names[k], locks[i], value[k]);
            }
        }
    }
}


static void
metrics_line(ngx_centrifugo_buf_t *b, ngx_str_t *hub, const char *name,
    const char *type, const char *labels, uint64_t value)
{
    ngx_centrifugo_buf_literal(b, "# TYPE ");
    ngx_centrifugo_buf_append(b, name, ngx_strlen(name));
    ngx_centrifugo_buf_byte(b, ' ');
    ngx_centrifugo_buf_append(b, type, ngx_strlen(type));
    ngx_centrifugo_buf_byte(b, '\n');

    metrics_value(b, hub, name, labels, value);
}


static void
metrics_value(ngx_centrifugo_buf_t *b, ngx_str_t *hub, const char *name,
    const char *labels, uint64_t value)
{
    ngx_centrifugo_buf_append(b, name, ngx_strlen(name));
    ngx_centrifugo_buf_literal(b, "{hub=\"");
    ngx_centrifugo_buf_append(b, hub->data, hub->len);
    ngx_centrifugo_buf_byte(b, '"');
    ngx_centrifugo_buf_append(b, labels, ngx_strlen(labels));
    ngx_centrifugo_buf_literal(b, "} ");
    ngx_centrifugo_buf_append_uint(b, value);
    ngx_centrifugo_buf_byte(b, '\n');
}
