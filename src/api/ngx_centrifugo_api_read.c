/*
 * The methods that tell how things are: presence, presence_stats, channels,
 * info; and rpc, for which there is no handler yet.
 */

#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"
#include "../core/ngx_centrifugo_text.h"


static void api_presence_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static void api_channels_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_buf_t *list);


static time_t  api_start;


void
ngx_centrifugo_api_init(void)
{
    /* a reload is no start */

    if (api_start == 0) {
        api_start = ngx_time();
    }
}


void
ngx_centrifugo_api_presence(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *channel)
{
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_completion_t        done;
    ngx_centrifugo_channel_options_t  *options;

    hcf = cmd->job->hcf;
    cmd->channel = *channel;

    if (channel->len == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "no channel");
        return;
    }

    options = ngx_centrifugo_conf_channel(hcf, channel);

    if (options == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_channel,
                                "its namespace is not configured");
        return;
    }

    if (!options->presence) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_unavailable,
                                "presence is off");
        return;
    }

    if (ngx_centrifugo_api_found(cmd) != NGX_OK) {
        return;
    }

    ngx_centrifugo_api_ask(cmd);

    done.handler = api_presence_done;
    done.handle = (uint64_t) (uintptr_t) cmd;

    if (cmd->method == NGX_CENTRIFUGO_API_PRESENCE) {
        ngx_centrifugo_engine(hcf)->presence(hcf, channel, &done);

    } else {
        ngx_centrifugo_engine(hcf)->presence_stats(hcf, channel, &done);
    }
}


static void
api_presence_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_command_t  *cmd;

    cmd = (ngx_centrifugo_api_command_t *) (uintptr_t) handle;

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {

        cmd->found->num_clients = result->num_clients;
        cmd->found->num_users = result->num_users;

        if (cmd->method == NGX_CENTRIFUGO_API_PRESENCE) {
            ngx_centrifugo_buf_append(&cmd->found->list,
                                      result->presence.data,
                                      result->presence.len);
            if (cmd->found->list.failed) {
                rc = NGX_CENTRIFUGO_ENGINE_RETRY;
            }
        }
    }

    ngx_centrifugo_api_answered_by(cmd, rc);
}


void
ngx_centrifugo_api_channels(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *pattern)
{
    ngx_centrifugo_glob_t           glob;
    ngx_centrifugo_channels_done_t  done;

    cmd->channel = *pattern;

    /* the reference's code for it */

    if (pattern->len
        && ngx_centrifugo_glob_compile(&glob, pattern) != NGX_OK)
    {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "it is no pattern, or too long");
        return;
    }

    if (ngx_centrifugo_api_found(cmd) != NGX_OK) {
        return;
    }

    ngx_centrifugo_api_ask(cmd);

    done.handler = api_channels_done;
    done.handle = (uint64_t) (uintptr_t) cmd;

    ngx_centrifugo_channels(cmd->job->hcf, pattern, &done);
}


static void
api_channels_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_buf_t *list)
{
    ngx_centrifugo_api_command_t  *cmd;

    cmd = (ngx_centrifugo_api_command_t *) (uintptr_t) handle;

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        cmd->found->list = *list;

    } else if (rc == NGX_CENTRIFUGO_ENGINE_REFUSED) {

        /* nothing is wrong with the request */

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "centrifugo: the list of channels of hub \"%V\" is "
                      "longer than %uz bytes, ask for a part of it by a "
                      "pattern", &cmd->job->hcf->name,
                      (size_t) NGX_CENTRIFUGO_CHANNELS_MAX);

        rc = NGX_CENTRIFUGO_ENGINE_RETRY;
    }

    ngx_centrifugo_api_answered_by(cmd, rc);
}


/*
 * All workers of an instance are one node, since they share the hub; its name
 * is that of the host and of the hub.
 */

void
ngx_centrifugo_api_info(ngx_centrifugo_api_command_t *cmd)
{
    u_char                     *p, id[16];
    ngx_centrifugo_hub_t       *hub;
    ngx_centrifugo_api_job_t   *job;
    ngx_centrifugo_hub_stat_t   stat;
    ngx_centrifugo_api_node_t  *node;

    job = cmd->job;
    hub = &job->hcf->hub;

    if (ngx_centrifugo_api_found(cmd) != NGX_OK) {
        return;
    }

    node = &cmd->found->node;
    node->name.data = ngx_centrifugo_arena_alloc(&job->arena,
                                                 ngx_cycle->hostname.len + 1
                                                 + job->hcf->name.len);
    if (node->name.data == NULL) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_internal,
                                "no memory");
        return;
    }

    ngx_centrifugo_hub_node(hub, id);
    (void) ngx_centrifugo_id_print(node->uid, id);

    p = ngx_cpymem(node->name.data, ngx_cycle->hostname.data,
                   ngx_cycle->hostname.len);
    *p++ = '_';
    p = ngx_cpymem(p, job->hcf->name.data, job->hcf->name.len);
    node->name.len = p - node->name.data;

    ngx_centrifugo_hub_stat(hub, &stat);

    node->clients = ngx_centrifugo_hub_sum(hub, NGX_CENTRIFUGO_GAUGE_CLIENTS);
    node->subscriptions = ngx_centrifugo_hub_sum(hub,
                                           NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS);
    node->users = stat.users;
    node->channels = stat.channels;
    node->uptime = (api_start && ngx_time() > api_start)
                   ? (uint64_t) (ngx_time() - api_start) : 0;
}


void
ngx_centrifugo_api_rpc(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *method)
{
    if (method->len == 0) {
        ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_error_request,
                                "no method");
        return;
    }

    ngx_centrifugo_api_fail(cmd, &ngx_centrifugo_api_not_found,
                            "there is no handler for the method");
}
