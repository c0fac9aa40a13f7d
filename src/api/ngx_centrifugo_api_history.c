/*
 * The methods history and history_remove.
 */

#include "ngx_centrifugo_api.h"
#include "../core/ngx_centrifugo_text.h"


static ngx_centrifugo_channel_options_t *api_history_channel(
    ngx_centrifugo_api_command_t *cmd, const ngx_str_t *channel);
static size_t api_history_room(ngx_centrifugo_api_job_t *job);
static void api_history_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static ngx_int_t api_history_found(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_result_t *result);
static void api_history_large(ngx_centrifugo_api_command_t *cmd);
static void api_history_remove_done(uint64_t handle,
    ngx_centrifugo_engine_rc_e rc, ngx_centrifugo_engine_result_t *result);


static const ngx_centrifugo_error_t  api_unrecoverable =
    { 112, ngx_string("unrecoverable position"), 0 };


void
ngx_centrifugo_api_history(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_api_history_t *history)
{
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_completion_t        done;
    ngx_centrifugo_history_wish_t      wish;
    ngx_centrifugo_channel_options_t  *options;

    hcf = cmd->job->hcf;

    options = api_history_channel(cmd, &history->channel);

    if (options == NULL) {
        return;
    }

    /* the reference's code for it */

    if (history->reverse && history->bounded && history->since.offset == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "nothing is before since.offset 0");
        return;
    }

    if (ngx_centrifugo_api_found(cmd) != NGX_OK) {
        return;
    }

    /* until the answer, what it is compared with */

    cmd->found->position = history->since;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
    wish.channel = history->channel;
    wish.since = history->since;
    wish.limit = (history->limit < 0) ? NGX_CENTRIFUGO_ALL
                                      : (ngx_uint_t) history->limit;
    wish.max = api_history_room(cmd->job);
    wish.meta_ttl = options->history_meta_ttl;
    wish.bounded = history->bounded;
    wish.reverse = history->reverse;

    ngx_centrifugo_api_ask(cmd);

    done.handler = api_history_done;
    done.handle = (uint64_t) (uintptr_t) cmd;

    ngx_centrifugo_engine(hcf)->history(hcf, &wish, &done);
}


/* The options of a channel that has a history, or the command's error. */

static ngx_centrifugo_channel_options_t *
api_history_channel(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *channel)
{
    ngx_centrifugo_channel_options_t  *options;

    cmd->channel = *channel;

    if (channel->len == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "no channel");
        return NULL;
    }

    options = ngx_centrifugo_conf_channel(cmd->job->hcf, channel);

    if (options == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_channel,
                                "its namespace is not configured");
        return NULL;
    }

    if (options->history_size == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_unavailable,
                                "history_size is 0");
        return NULL;
    }

    return options;
}


/* What answers of a call may have together is left for this one. */

static size_t
api_history_room(ngx_centrifugo_api_job_t *job)
{
    return NGX_CENTRIFUGO_API_HISTORY_MAX - job->history;
}


static void
api_history_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_command_t  *cmd;

    cmd = (ngx_centrifugo_api_command_t *) (uintptr_t) handle;

    if (rc == NGX_CENTRIFUGO_ENGINE_REFUSED) {
        api_history_large(cmd);
        ngx_centrifugo_api_answered(cmd);
        return;
    }

    if (rc == NGX_CENTRIFUGO_ENGINE_OK
        && api_history_found(cmd, result) != NGX_OK)
    {
        ngx_centrifugo_api_answered(cmd);
        return;
    }

    ngx_centrifugo_api_answered_by(cmd, rc);
}


/* NGX_DECLINED: the command has failed. */

static ngx_int_t
api_history_found(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_result_t *result)
{
    uint64_t                     epoch;
    ngx_centrifugo_api_found_t  *found;

    found = cmd->found;
    epoch = found->position.epoch;

    if (epoch && epoch != result->position.epoch) {
        ngx_centrifugo_api_fail(cmd, &api_unrecoverable,
                                "the stream has another epoch than since");
        return NGX_DECLINED;
    }

    /* others of a batch may have been answered meanwhile */

    if (result->publications.len > api_history_room(cmd->job)) {
        api_history_large(cmd);
        return NGX_DECLINED;
    }

    found->position = result->position;

    ngx_centrifugo_buf_append(&found->list, result->publications.data,
                              result->publications.len);

    if (found->list.failed) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "no memory");
        return NGX_DECLINED;
    }

    cmd->job->history += result->publications.len;

    return NGX_OK;
}


/* Nothing is wrong with the request. */

static void
api_history_large(ngx_centrifugo_api_command_t *cmd)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "centrifugo: the history of channel \"%V\" of hub \"%V\" "
                  "does not fit into the %uz bytes of an answer, ask for a "
                  "part of it by limit and since",
                  ngx_centrifugo_log_str(&cmd->channel), &cmd->job->hcf->name,
                  (size_t) NGX_CENTRIFUGO_API_HISTORY_MAX);

    ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                            "it is too large for an answer");
}


void
ngx_centrifugo_api_history_remove(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *channel)
{
    ngx_centrifugo_hub_conf_t    *hcf;
    ngx_centrifugo_completion_t   done;

    if (api_history_channel(cmd, channel) == NULL) {
        return;
    }

    ngx_centrifugo_api_ask(cmd);

    done.handler = api_history_remove_done;
    done.handle = (uint64_t) (uintptr_t) cmd;

    hcf = cmd->job->hcf;

    ngx_centrifugo_engine(hcf)->history_remove(hcf, channel, &done);
}


static void
api_history_remove_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_answered_by(
        (ngx_centrifugo_api_command_t *) (uintptr_t) handle, rc);
}
