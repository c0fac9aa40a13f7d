/*
 * The method batch: the next command begins when the one before is answered,
 * or with `parallel` when fewer than a limit are not.
 */

#include "ngx_centrifugo_api.h"
#include "../client/ngx_centrifugo_worker.h"


#define API_BATCH_PARALLEL  1024


static void api_batch_begin(ngx_centrifugo_api_batch_t *batch);


ngx_centrifugo_api_batch_t *
ngx_centrifugo_api_batch_create(ngx_centrifugo_api_command_t *cmd,
    ngx_uint_t parallel, void (*begin)(ngx_centrifugo_api_command_t *cmd))
{
    ngx_centrifugo_api_batch_t  *batch;

    batch = ngx_centrifugo_arena_alloc(&cmd->job->arena,
                                       sizeof(ngx_centrifugo_api_batch_t));
    if (batch == NULL) {
        return NULL;
    }

    ngx_memzero(batch, sizeof(ngx_centrifugo_api_batch_t));

    batch->command = cmd;
    batch->last = &batch->first;
    batch->limit = parallel ? API_BATCH_PARALLEL : 1;
    batch->begin = begin;

    cmd->commands = batch;

    return batch;
}


void
ngx_centrifugo_api_batch_run(ngx_centrifugo_api_batch_t *batch)
{
    batch->next = batch->first;

    ngx_centrifugo_api_ask(batch->command);

    api_batch_begin(batch);
}


static void
api_batch_begin(ngx_centrifugo_api_batch_t *batch)
{
    ngx_centrifugo_api_command_t  *cmd;

    batch->running = 1;

    while (batch->next && batch->active < batch->limit) {
        cmd = batch->next;
        batch->next = cmd->next;

        /* one answer is this function's, others may come at once or later */

        batch->active++;
        ngx_centrifugo_api_ask(cmd);

        batch->begin(cmd);

        ngx_centrifugo_api_answered(cmd);
    }

    batch->running = 0;

    if (batch->next == NULL && batch->active == 0) {
        ngx_centrifugo_api_answered(batch->command);
    }
}


void
ngx_centrifugo_api_batch_answered(ngx_centrifugo_api_batch_t *batch)
{
    batch->active--;

    if (batch->running) {
        return;
    }

    api_batch_begin(batch);

    ngx_centrifugo_worker_wake(batch->command->job->hcf);
}
