/*
 * Bodies of the server API in both dialects: nothing is read outside of them,
 * each command ends, and answers are JSON.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "api/ngx_centrifugo_api.h"
#include "broker/ngx_centrifugo_channels.h"
#include "client/ngx_centrifugo_worker.h"


const ngx_centrifugo_error_t  ngx_centrifugo_error_internal =
    { 100, ngx_string("internal server error"), 1 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_channel =
    { 102, ngx_string("unknown channel"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_request =
    { 107, ngx_string("bad request"), 0 };

static ngx_centrifugo_channel_options_t  options, quiet;
static ngx_uint_t                        finished, published;

volatile ngx_cycle_t  *ngx_cycle;


static void
touch(const ngx_str_t *s)
{
    size_t           i;
    volatile u_char  c;

    for (i = 0; i < s->len; i++) {
        c = s->data[i];
    }

    (void) c;
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    touch(channel);

    return channel->data[0] == 'u' ? NULL
           : channel->data[0] == 'q' ? &quiet : &options;
}


ngx_int_t
ngx_centrifugo_publication_check(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_channel_options_t *o, const ngx_str_t *data,
    ngx_uint_t json)
{
    touch(data);

    return data->len ? NGX_OK : NGX_DECLINED;
}


void
ngx_centrifugo_hub_add(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter, int64_t n)
{
}


void
ngx_centrifugo_worker_wake(ngx_centrifugo_hub_conf_t *hcf)
{
}


ngx_int_t
ngx_strncasecmp(u_char *a, u_char *b, size_t n)
{
    return strncasecmp((char *) a, (char *) b, n);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


static void
publish(ngx_centrifugo_hub_conf_t *hcf, const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_arena_t  arena;

    touch(&pub->channel);
    touch(&pub->data);

    ngx_centrifugo_arena_init(&arena, 1024);

    if (pub->json
        && ngx_centrifugo_json_validate(&arena, pub->data.data, pub->data.len)
           != NGX_OK)
    {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);

    done->handler(done->handle, published++ % 5 ? NGX_CENTRIFUGO_ENGINE_OK
                                                : NGX_CENTRIFUGO_ENGINE_RETRY,
                  NULL);
}


static void
json(const ngx_str_t *s)
{
    ngx_centrifugo_arena_t  arena;

    ngx_centrifugo_arena_init(&arena, 1024);

    if (s->len && ngx_centrifugo_json_validate(&arena, s->data, s->len)
                  != NGX_OK)
    {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);
}


/* What is sent is what was checked; one of five workers does not answer. */

void
ngx_centrifugo_order_send(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order,
    const ngx_centrifugo_completion_t *done)
{
    ngx_uint_t  i;

    touch(&order->user);
    touch(&order->client);
    touch(&order->session);
    touch(&order->channel);
    touch(&order->reason);
    json(&order->info);
    json(&order->data);

    for (i = 0; i < order->nwhitelist; i++) {
        touch(&order->whitelist[i]);
    }

    switch (order->kind) {

    case NGX_CENTRIFUGO_ORDER_SUBSCRIBE:
        if (order->channel.len == 0 || order->expire_at < 0) {
            abort();
        }

        break;

    case NGX_CENTRIFUGO_ORDER_DISCONNECT:
        if (order->code < 3000 || order->code > 4999
            || order->reason.len > 123)
        {
            abort();
        }

        break;

    case NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE:
    case NGX_CENTRIFUGO_ORDER_REFRESH:
        break;

    default:
        abort();
    }

    done->handler(done->handle, published++ % 5 ? NGX_CENTRIFUGO_ENGINE_OK
                                                : NGX_CENTRIFUGO_ENGINE_RETRY,
                  NULL);
}


static void
presence(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    u_char                           entry[256], *p;
    uint32_t                         len;
    ngx_str_t                        packed;
    ngx_centrifugo_arena_t           arena;
    ngx_centrifugo_client_info_t     info;
    ngx_centrifugo_engine_result_t   result;

    touch(channel);

    memset(&info, 0, sizeof(info));
    memset(&result, 0, sizeof(result));

    info.client.data = (u_char *) "id";
    info.client.len = 2;
    info.user.data = channel->data;
    info.user.len = channel->len < 100 ? channel->len : 0;

    ngx_centrifugo_arena_init(&arena, 1024);
    (void) ngx_centrifugo_broker_pack_info(&arena, &info, &packed);

    len = (uint32_t) packed.len;
    p = ngx_cpymem(entry, &len, sizeof(len));
    p = ngx_cpymem(p, packed.data, packed.len);
    result.presence.data = entry;
    result.presence.len = p - entry;
    result.num_clients = 1;

    done->handler(done->handle, published++ % 5 ? NGX_CENTRIFUGO_ENGINE_OK
                                                : NGX_CENTRIFUGO_ENGINE_RETRY,
                  &result);
    ngx_centrifugo_arena_free(&arena);
}


void
ngx_centrifugo_channels(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *pattern, const ngx_centrifugo_channels_done_t *done)
{
    ngx_uint_t             steps;
    ngx_centrifugo_buf_t   list;
    ngx_centrifugo_glob_t  glob;

    memset(&list, 0, sizeof(list));

    if (pattern->len) {
        if (ngx_centrifugo_glob_compile(&glob, pattern) != NGX_OK) {
            abort();
        }

        (void) ngx_centrifugo_glob_match(&glob, pattern, &steps);
    }

    ngx_centrifugo_buf_append_uint(&list, 1234567890);
    done->handler(done->handle, published++ % 5, &list);

    if ((published - 1) % 5) {
        ngx_centrifugo_buf_free(&list);
    }
}


ngx_int_t
ngx_centrifugo_channels_next(ngx_str_t *list, ngx_str_t *name,
    uint32_t *count)
{
    if (list->len == 0) {
        return NGX_DONE;
    }

    *name = *list;
    *count = 1;
    list->len = 0;

    return NGX_OK;
}


void
ngx_centrifugo_channels_init(void)
{
}


void
ngx_centrifugo_order_init(void)
{
}


uint64_t
ngx_centrifugo_hub_sum(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter)
{
    return counter;
}


void
ngx_centrifugo_hub_stat(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_hub_stat_t *stat)
{
    memset(stat, 0, sizeof(ngx_centrifugo_hub_stat_t));
}


void
ngx_centrifugo_hub_node(ngx_centrifugo_hub_t *hub, u_char *uuid16)
{
    memset(uuid16, 7, 16);
}


static void
done(ngx_centrifugo_api_job_t *job)
{
    finished++;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t                       rc;
    ngx_str_t                       body;
    ngx_log_t                       log;
    ngx_uint_t                      way;
    ngx_centrifugo_buf_t            b;
    ngx_centrifugo_arena_t          arena;
    ngx_centrifugo_api_job_t       *job;
    ngx_centrifugo_hub_conf_t       hcf;
    ngx_centrifugo_api_command_t   *cmd;
    static ngx_cycle_t              cycle;
    static ngx_centrifugo_engine_t  engine = {
        ngx_string("fuzz"), NULL, NULL, publish, NULL, NULL, NULL, NULL, NULL,
        presence, presence
    };

    memset(&hcf, 0, sizeof(hcf));
    memset(&log, 0, sizeof(log));
    memset(&b, 0, sizeof(b));
    hcf.engine = &engine;
    hcf.name.data = (u_char *) "main";
    hcf.name.len = 4;
    options.presence = 1;
    cycle.hostname.data = (u_char *) "h\"o";
    cycle.hostname.len = 3;
    cycle.log = &log;
    log.log_level = NGX_LOG_INFO;
    ngx_cycle = &cycle;

    /* as the parameters of each method, then as commands */

    for (way = 0; way <= NGX_CENTRIFUGO_API_REFRESH + 1; way++) {

        if (way <= NGX_CENTRIFUGO_API_REFRESH
            && !ngx_centrifugo_api_offered(way))
        {
            continue;
        }

        body.len = size;
        body.data = malloc(size ? size : 1);

        if (size) {
            memcpy(body.data, data, size);
        }

        finished = 0;
        published = 0;
        job = ngx_centrifugo_api_create(&hcf, &log, &hcf, done);

        rc = (way > NGX_CENTRIFUGO_API_REFRESH)
             ? ngx_centrifugo_api_commands_json(job, &body)
                        : ngx_centrifugo_api_method_json(job, way, &body);

        if (rc != NGX_OK) {

            if (published) {
                abort();
            }

            ngx_centrifugo_api_release(job);
            free(body.data);
            continue;
        }

        ngx_centrifugo_api_run(job);

        if (finished != 1 || job->pending != 0) {
            abort();
        }

        ngx_centrifugo_arena_init(&arena, 1024);

        for (cmd = job->commands; cmd; cmd = cmd->next) {
            ngx_centrifugo_buf_reset(&b);
            ngx_centrifugo_buf_byte(&b, '{');
            ngx_centrifugo_api_result_json(&b, cmd);
            ngx_centrifugo_buf_byte(&b, '}');

            if (ngx_centrifugo_json_validate(&arena, b.start,
                                             ngx_centrifugo_buf_len(&b))
                != NGX_OK)
            {
                abort();
            }
        }

        ngx_centrifugo_arena_free(&arena);
        ngx_centrifugo_api_release(job);
        free(body.data);
    }

    ngx_centrifugo_buf_free(&b);

    return 0;
}
