#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../core/ngx_centrifugo_text.h"


#define API_ARENA  4096
#define API_SPARE  16           /* jobs kept for the next calls */


static void api_keep(ngx_centrifugo_api_job_t *job);
static void api_keep_str(ngx_centrifugo_arena_t *arena, ngx_str_t *s);
static void api_answered(ngx_centrifugo_api_job_t *job);
static void api_destroy(ngx_centrifugo_api_job_t *job);
static void api_free_lists(ngx_centrifugo_api_command_t *cmd);
static ngx_log_t *api_log(ngx_centrifugo_api_job_t *job);


/* the place of a name is its number, where the dialect has numbers */

static const ngx_str_t  api_names[] = {
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
    job->failed = 0;
    job->history = 0;

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

    if (job->run && job->pending == 0) {
        api_destroy(job);
        return;
    }

    api_keep(job);

    if (!job->run) {
        ngx_centrifugo_api_run(job);
    }
}


/*
 * Answers that are still to come may have to be logged with names that are in
 * the caller's memory.  A batch has its body in the job's.
 */

static void
api_keep(ngx_centrifugo_api_job_t *job)
{
    ngx_uint_t                     i;
    ngx_centrifugo_api_command_t  *cmd;

    for (cmd = job->commands; cmd; cmd = cmd->next) {

        api_keep_str(&job->arena, &cmd->channel);
        api_keep_str(&job->arena, &cmd->user);
        api_keep_str(&job->arena, &cmd->client);

        for (i = 0; i < cmd->nitems; i++) {
            api_keep_str(&job->arena, &cmd->items[i].channel);
        }
    }
}


static void
api_keep_str(ngx_centrifugo_arena_t *arena, ngx_str_t *s)
{
    u_char  *p;

    if (s->len == 0) {
        return;
    }

    p = ngx_centrifugo_arena_alloc(arena, s->len);

    if (p == NULL) {
        s->len = 0;
        return;
    }

    ngx_memcpy(p, s->data, s->len);
    s->data = p;
}


static void
api_destroy(ngx_centrifugo_api_job_t *job)
{
    ngx_centrifugo_api_command_t  *cmd;

    if (job->lists) {
        for (cmd = job->commands; cmd; cmd = cmd->next) {
            api_free_lists(cmd);
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


static void
api_free_lists(ngx_centrifugo_api_command_t *cmd)
{
    if (cmd->found) {
        ngx_centrifugo_buf_free(&cmd->found->list);
    }

    if (cmd->commands) {
        for (cmd = cmd->commands->first; cmd; cmd = cmd->next) {
            api_free_lists(cmd);
        }
    }
}


ngx_centrifugo_api_command_t *
ngx_centrifugo_api_command(ngx_centrifugo_api_job_t *job,
    ngx_centrifugo_api_batch_t *batch, ngx_uint_t method, uint32_t id)
{
    ngx_centrifugo_api_command_t  *cmd, ***last;

    cmd = ngx_centrifugo_arena_alloc(&job->arena,
                                     sizeof(ngx_centrifugo_api_command_t));
    if (cmd == NULL) {
        return NULL;
    }

    cmd->job = job;
    cmd->next = NULL;
    cmd->method = method;
    cmd->id = id;
    cmd->error = NULL;
    cmd->nitems = 0;
    cmd->channel.len = 0;
    cmd->user.len = 0;
    cmd->client.len = 0;
    cmd->found = NULL;
    cmd->pending = 0;
    cmd->batch = batch;
    cmd->commands = NULL;

    last = batch ? &batch->last : &job->last;

    **last = cmd;
    *last = &cmd->next;

    /* of a batch its commands count */

    if (method != NGX_CENTRIFUGO_API_BATCH) {
        ngx_centrifugo_hub_add(&job->hcf->hub,
                               NGX_CENTRIFUGO_COUNT_API_COMMANDS, 1);
    }

    return cmd;
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

        return (i <= NGX_CENTRIFUGO_API_BATCH) ? NGX_OK : NGX_DECLINED;
    }

    return NGX_ERROR;
}


const ngx_str_t *
ngx_centrifugo_api_name(ngx_uint_t method)
{
    static const ngx_str_t  unknown = ngx_string("unknown");

    return (method < sizeof(api_names) / sizeof(ngx_str_t) - 1)
           ? &api_names[method] : &unknown;
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
ngx_centrifugo_api_fail(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_error_t *error, const char *why)
{
    ngx_centrifugo_api_job_t  *job;

    job = cmd->job;
    job->failed = 1;
    cmd->error = error;

    ngx_log_error(NGX_LOG_INFO, api_log(job), 0,
                  "centrifugo: API command \"%V\" of hub \"%V\" with channel "
                  "\"%V\", user \"%V\", client \"%V\" failed with %ui \"%V\": "
                  "%s", ngx_centrifugo_api_name(cmd->method), &job->hcf->name,
                  ngx_centrifugo_log_str(&cmd->channel),
                  ngx_centrifugo_log_str(&cmd->user),
                  ngx_centrifugo_log_str(&cmd->client), error->code,
                  &error->message, why);

    ngx_centrifugo_hub_add(&job->hcf->hub, NGX_CENTRIFUGO_COUNT_API_ERRORS,
                           1);
}


void
ngx_centrifugo_api_item_fail(ngx_centrifugo_api_item_t *item,
    const ngx_centrifugo_error_t *error, const char *why)
{
    ngx_centrifugo_api_job_t  *job;

    job = item->command->job;
    job->failed = 1;
    item->error = error;

    ngx_log_error(NGX_LOG_INFO, api_log(job), 0,
                  "centrifugo: publish to channel \"%V\" of hub \"%V\" failed "
                  "with %ui \"%V\": %s", ngx_centrifugo_log_str(&item->channel),
                  &job->hcf->name, error->code, &error->message, why);

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
ngx_centrifugo_api_all_answered(ngx_centrifugo_api_command_t *cmd)
{
    if (cmd->batch) {
        ngx_centrifugo_api_batch_answered(cmd->batch);
    }

    api_answered(cmd->job);
}


void
ngx_centrifugo_api_answered_by(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_rc_e rc)
{
    switch (rc) {

    case NGX_CENTRIFUGO_ENGINE_OK:
        break;

    case NGX_CENTRIFUGO_ENGINE_RETRY:
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "no room or no answer now, it may work later");
        break;

    case NGX_CENTRIFUGO_ENGINE_REFUSED:
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "it is too large");
        break;

    default:
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "the hub is not available");
    }

    ngx_centrifugo_api_answered(cmd);
}


ngx_int_t
ngx_centrifugo_api_found(ngx_centrifugo_api_command_t *cmd)
{
    cmd->found = ngx_centrifugo_arena_alloc(&cmd->job->arena,
                                          sizeof(ngx_centrifugo_api_found_t));
    if (cmd->found == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "no memory");
        return NGX_ERROR;
    }

    ngx_memzero(cmd->found, sizeof(ngx_centrifugo_api_found_t));
    cmd->job->lists = 1;

    return NGX_OK;
}


void
ngx_centrifugo_api_init_worker(void)
{
    ngx_centrifugo_order_init();
    ngx_centrifugo_channels_init();
}
