/*
 * The methods that tell sessions what to do: subscribe, unsubscribe,
 * disconnect, refresh.
 */

#include "ngx_centrifugo_api.h"
#include "../core/ngx_centrifugo_text.h"


#define API_CODE_MIN   3000     /* of a disconnect, as a close frame has it */
#define API_CODE_MAX   4999
#define API_REASON     123      /* bytes that fit into a close frame */


static const ngx_centrifugo_error_t *api_order_check(
    ngx_centrifugo_api_command_t *cmd, ngx_centrifugo_order_t *order,
    const char **why);
static const ngx_centrifugo_error_t *api_order_channel(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const char **why);
static void api_order_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);


void
ngx_centrifugo_api_order(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_order_t *order)
{
    const char                    *why;
    const ngx_centrifugo_error_t  *error;
    ngx_centrifugo_completion_t    done;

    cmd->channel = order->channel;
    cmd->user = order->user;
    cmd->client = order->client;

    error = api_order_check(cmd, order, &why);

    if (error) {
        ngx_centrifugo_api_fail(cmd, error, why);
        return;
    }

    ngx_centrifugo_api_ask(cmd);

    done.handler = api_order_done;
    done.handle = (uint64_t) (uintptr_t) cmd;

    ngx_centrifugo_order_send(cmd->job->hcf, order, &done);
}


/* What is wrong with an order, or NULL; sets what was not given. */

static const ngx_centrifugo_error_t *
api_order_check(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_order_t *order, const char **why)
{
    ngx_uint_t                     past;
    const ngx_centrifugo_error_t  *error;

    past = (order->expire_at != 0 && order->expire_at <= (int64_t) ngx_time());

    switch (order->kind) {

    case NGX_CENTRIFUGO_ORDER_SUBSCRIBE:

        error = api_order_channel(cmd->job->hcf, &order->channel, why);

        if (error) {
            return error;
        }

        *why = "its expire_at is in the past";

        return past ? &ngx_centrifugo_error_internal : NULL;

    case NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE:

        order->code = 2000;
        ngx_str_set(&order->reason, "server unsubscribe");

        /* without a channel it is for all of them */

        return order->channel.len
               ? api_order_channel(cmd->job->hcf, &order->channel, why)
               : NULL;

    case NGX_CENTRIFUGO_ORDER_DISCONNECT:

        if (order->code == 0) {
            order->code = 3503;

            if (order->reason.len == 0) {
                ngx_str_set(&order->reason, "force disconnect");
            }
        }

        if (order->code < API_CODE_MIN || order->code > API_CODE_MAX) {
            *why = "its code is not from 3000 to 4999";
            return &ngx_centrifugo_error_request;
        }

        order->reason.len = ngx_centrifugo_utf8_cut(&order->reason,
                                                    API_REASON);
        return NULL;

    case NGX_CENTRIFUGO_ORDER_REFRESH:

        if (past) {
            order->expired = 1;
        }

        return NULL;
    }

    *why = "there is no such order";

    return &ngx_centrifugo_error_request;
}


static const ngx_centrifugo_error_t *
api_order_channel(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const char **why)
{
    if (channel->len == 0) {
        *why = "no channel";
        return &ngx_centrifugo_error_request;
    }

    if (channel->len > NGX_CENTRIFUGO_NAME_MAX) {
        *why = "nobody can be subscribed to a name of that length";
        return &ngx_centrifugo_error_request;
    }

    *why = "its namespace is not configured";

    return ngx_centrifugo_conf_channel(hcf, channel)
           ? NULL : &ngx_centrifugo_error_channel;
}


static void
api_order_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_api_answered_by(
        (ngx_centrifugo_api_command_t *) (uintptr_t) handle, rc);
}
