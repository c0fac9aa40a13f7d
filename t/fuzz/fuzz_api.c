/*
 * Bodies of the server API in both dialects: nothing is read outside of them,
 * each command ends, and answers are JSON.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "api/ngx_centrifugo_api.h"
#include "client/ngx_centrifugo_client.h"
#include "client/ngx_centrifugo_worker.h"


const ngx_centrifugo_error_t  ngx_centrifugo_error_internal =
    { 100, ngx_string("internal server error"), 1 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_channel =
    { 102, ngx_string("unknown channel"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_request =
    { 107, ngx_string("bad request"), 0 };

static ngx_centrifugo_channel_options_t  options;
static ngx_uint_t                        finished, published;


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

    return channel->data[0] == 'u' ? NULL : &options;
}


ngx_int_t
ngx_centrifugo_publication_check(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *data)
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
    static ngx_centrifugo_engine_t  engine = {
        ngx_string("fuzz"), NULL, NULL, publish, NULL, NULL
    };

    memset(&hcf, 0, sizeof(hcf));
    memset(&log, 0, sizeof(log));
    memset(&b, 0, sizeof(b));
    hcf.engine = &engine;

    for (way = 0; way < 3; way++) {
        body.len = size;
        body.data = malloc(size ? size : 1);

        if (size) {
            memcpy(body.data, data, size);
        }

        finished = 0;
        published = 0;
        job = ngx_centrifugo_api_create(&hcf, &log, &hcf, done);

        rc = (way == 2) ? ngx_centrifugo_api_commands_json(job, &body)
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
