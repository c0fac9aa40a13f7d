#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../core/ngx_centrifugo_text.h"


#define API_ARENA  4096
#define API_SPARE  16           /* jobs kept for the next calls */


static void api_publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static const ngx_centrifugo_error_t *api_publish_check(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_str_t *data, ngx_uint_t json);
static void api_item_failed(ngx_centrifugo_api_item_t *item);
static ngx_log_t *api_log(ngx_centrifugo_api_job_t *job);
static void api_answered(ngx_centrifugo_api_job_t *job);
static void api_destroy(ngx_centrifugo_api_job_t *job);


/* the place of a name is its number, where the dialect has numbers */

static ngx_str_t  api_names[] = {
    ngx_string("publish"),
    ngx_string("broadcast"),
    ngx_string("unsubscribe"),
    ngx_string("disconnect"),
    ngx_string("presence"),
    ngx_string("presence_stats"),
    ngx_string("history"),
    ngx_string("history_remove"),
    ngx_string("channels"),
    ngx_string("info"),
    ngx_string("rpc"),
    ngx_string("subscribe"),
    ngx_string("refresh"),
    ngx_string("batch"),
    ngx_string("connections"),
    ngx_string("map_publish"),
    ngx_string("map_remove"),
    ngx_string("map_read_state"),
    ngx_string("map_read_stream"),
    ngx_string("map_stats"),
    ngx_string("map_clear"),
    ngx_string("shared_poll_publish"),
    ngx_null_string
};


const ngx_centrifugo_error_t  ngx_centrifugo_api_not_found =
    { 104, ngx_string("not found"), 0 };


static ngx_centrifugo_api_job_t  *api_spare;
static ngx_uint_t                 api_spares;


ngx_centrifugo_api_job_t *
ngx_centrifugo_api_create(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log,
    void *data, void (*done)(ngx_centrifugo_api_job_t *job))
{
    ngx_centrifugo_api_job_t  *job;

    job = api_spare;

    if (job) {
        api_spare = job->next;
        api_spares--;

    } else {
        job = malloc(sizeof(ngx_centrifugo_api_job_t));
        if (job == NULL) {
            return NULL;
        }

        ngx_centrifugo_arena_init(&job->arena, API_ARENA);
    }

    job->commands = NULL;
    job->next = NULL;
    job->run = 0;
    job->lists = 0;

    job->hcf = hcf;
    job->log = log;
    job->data = data;
    job->done = done;
    job->last = &job->commands;
    job->pending = 1;

    return job;
}


void
ngx_centrifugo_api_release(ngx_centrifugo_api_job_t *job)
{
    job->data = NULL;

    if (!job->run) {
        ngx_centrifugo_api_run(job);
        return;
    }

    if (job->pending == 0) {
        api_destroy(job);
    }
}


static void
api_destroy(ngx_centrifugo_api_job_t *job)
{
    ngx_centrifugo_api_command_t  *cmd;

    if (job->lists) {
        for (cmd = job->commands; cmd; cmd = cmd->next) {
            ngx_centrifugo_buf_free(&cmd->list);
        }
    }

    if (api_spares < API_SPARE) {
        ngx_centrifugo_arena_reset(&job->arena);

        job->next = api_spare;
        api_spare = job;
        api_spares++;
        return;
    }

    ngx_centrifugo_arena_free(&job->arena);
    free(job);
}


ngx_centrifugo_api_command_t *
ngx_centrifugo_api_command(ngx_centrifugo_api_job_t *job, ngx_uint_t method,
    uint32_t id)
{
    ngx_centrifugo_api_command_t  *cmd;

    cmd = ngx_centrifugo_arena_alloc(&job->arena,
                                     sizeof(ngx_centrifugo_api_command_t));
    if (cmd == NULL) {
        return NULL;
    }

    ngx_memzero(cmd, sizeof(ngx_centrifugo_api_command_t));

    cmd->job = job;
    cmd->method = method;
    cmd->id = id;

    *job->last = cmd;
    job->last = &cmd->next;

    ngx_centrifugo_hub_add(&job->hcf->hub, NGX_CENTRIFUGO_COUNT_API_COMMANDS,
                           1);

    return cmd;
}


ngx_uint_t
ngx_centrifugo_api_offered(ngx_uint_t method)
{
    return method <= NGX_CENTRIFUGO_API_REFRESH
           && method != NGX_CENTRIFUGO_API_HISTORY
           && method != NGX_CENTRIFUGO_API_HISTORY_REMOVE;
}


ngx_int_t
ngx_centrifugo_api_find(const ngx_str_t *name, ngx_uint_t any_case,
    ngx_uint_t *method)
{
    ngx_uint_t  i;

    for (i = 0; api_names[i].len; i++) {

        if (api_names[i].len != name->len
            || (any_case ? ngx_strncasecmp(api_names[i].data, name->data,
                                           name->len)
                         : ngx_strncmp(api_names[i].data, name->data,
                                       name->len))
               != 0)
        {
            continue;
        }

        *method = i;

        return ngx_centrifugo_api_offered(i) ? NGX_OK : NGX_DECLINED;
    }

    return NGX_ERROR;
}


void
ngx_centrifugo_api_run(ngx_centrifugo_api_job_t *job)
{
    job->run = 1;

    ngx_centrifugo_worker_wake(job->hcf);

    api_answered(job);
}


static void
api_answered(ngx_centrifugo_api_job_t *job)
{
    if (--job->pending) {
        return;
    }

    if (job->data) {
        job->done(job);
        return;
    }

    api_destroy(job);
}


void
ngx_centrifugo_api_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_str_t *channels, ngx_uint_t n, const ngx_str_t *data, ngx_uint_t json)
{
    ngx_uint_t                    i;
    ngx_centrifugo_publish_t      pub;
    ngx_centrifugo_api_job_t     *job;
    ngx_centrifugo_api_item_t    *item;
    ngx_centrifugo_completion_t   done;

    job = cmd->job;

    cmd->items = ngx_centrifugo_arena_alloc(&job->arena,
                                       n * sizeof(ngx_centrifugo_api_item_t));
    if (cmd->items == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal);
        return;
    }

    cmd->nitems = n;

    ngx_memzero(&pub, sizeof(ngx_centrifugo_publish_t));
    pub.data = *data;
    pub.json = json;

    done.handler = api_publish_done;

    for (i = 0; i < n; i++) {
        item = &cmd->items[i];
        item->command = cmd;
        item->channel = channels[i];
        item->error = api_publish_check(job->hcf, &channels[i], data, json);

        if (item->error) {
            api_item_failed(item);
            continue;
        }

        job->pending++;

        pub.channel = channels[i];
        done.handle = (uint64_t) (uintptr_t) item;

        ngx_centrifugo_engine(job->hcf)->publish(job->hcf, &pub, &done);
    }
}


static const ngx_centrifugo_error_t *
api_publish_check(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_str_t *data, ngx_uint_t json)
{
    ngx_centrifugo_channel_options_t  *options;

    if (channel->len == 0) {
        return &ngx_centrifugo_error_request;
    }

    options = ngx_centrifugo_conf_channel(hcf, channel);

    if (options == NULL) {
        return &ngx_centrifugo_error_channel;
    }

    if (ngx_centrifugo_publication_check(hcf, options, data, json) != NGX_OK)
    {
        return &ngx_centrifugo_error_request;
    }

    return NULL;
}


static void
api_publish_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_item_t  *item;

    item = (ngx_centrifugo_api_item_t *) (uintptr_t) handle;

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        item->error = (rc == NGX_CENTRIFUGO_ENGINE_REFUSED)
                      ? &ngx_centrifugo_error_request
                      : &ngx_centrifugo_error_internal;

        api_item_failed(item);
    }

    api_answered(item->command->job);
}


static void
api_item_failed(ngx_centrifugo_api_item_t *item)
{
    ngx_centrifugo_api_job_t  *job;

    job = item->command->job;

    ngx_log_error(NGX_LOG_INFO, api_log(job), 0,
                  "centrifugo: publish to channel \"%V\" of hub \"%V\" failed "
                  "with %ui \"%V\"", ngx_centrifugo_log_str(&item->channel),
                  &job->hcf->name, item->error->code, &item->error->message);

    ngx_centrifugo_hub_add(&job->hcf->hub, NGX_CENTRIFUGO_COUNT_API_ERRORS,
                           1);
}


void
ngx_centrifugo_api_fail(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_error_t *error)
{
    ngx_str_t                 *name;
    ngx_centrifugo_api_job_t  *job;
    static ngx_str_t           unknown = ngx_string("unknown");

    job = cmd->job;
    cmd->error = error;

    name = (cmd->method < sizeof(api_names) / sizeof(ngx_str_t) - 1)
           ? &api_names[cmd->method] : &unknown;

    ngx_log_error(NGX_LOG_INFO, api_log(job), 0,
                  "centrifugo: API command \"%V\" of hub \"%V\" with channel "
                  "\"%V\" and user \"%V\" failed with %ui \"%V\"", name,
                  &job->hcf->name, ngx_centrifugo_log_str(&cmd->channel),
                  ngx_centrifugo_log_str(&cmd->user), error->code,
                  &error->message);

    ngx_centrifugo_hub_add(&job->hcf->hub, NGX_CENTRIFUGO_COUNT_API_ERRORS,
                           1);
}


/* The caller's log is gone with it. */

static ngx_log_t *
api_log(ngx_centrifugo_api_job_t *job)
{
    return job->data ? job->log : ngx_cycle->log;
}


void
ngx_centrifugo_api_ask(ngx_centrifugo_api_command_t *cmd)
{
    cmd->job->pending++;
}


void
ngx_centrifugo_api_answered(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_rc_e rc)
{
    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        ngx_centrifugo_api_fail(cmd, rc == NGX_CENTRIFUGO_ENGINE_REFUSED
                                     ? &ngx_centrifugo_error_request
                                     : &ngx_centrifugo_error_internal);
    }

    api_answered(cmd->job);
}


void
ngx_centrifugo_api_init_worker(void)
{
    ngx_centrifugo_order_init();
    ngx_centrifugo_channels_init();
}
