/*
 * Results of the API as JSON.
 */

#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"


static void api_json_broadcast(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_presence(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_channels(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_info(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_node_t *node);
static void api_json_error(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_error_t *err);


void
ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    if (cmd->error) {
        api_json_error(b, cmd->error);
        return;
    }

    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_PUBLISH:

        if (cmd->items[0].error) {
            api_json_error(b, cmd->items[0].error);
            return;
        }

        break;

    case NGX_CENTRIFUGO_API_BROADCAST:
        api_json_broadcast(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_PRESENCE:
        api_json_presence(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_PRESENCE_STATS:
        ngx_centrifugo_buf_literal(b, "\"result\":{\"num_clients\":");
        ngx_centrifugo_buf_append_uint(b, cmd->num_clients);
        ngx_centrifugo_buf_literal(b, ",\"num_users\":");
        ngx_centrifugo_buf_append_uint(b, cmd->num_users);
        ngx_centrifugo_buf_byte(b, '}');
        return;

    case NGX_CENTRIFUGO_API_CHANNELS:
        api_json_channels(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_INFO:
        api_json_info(b, cmd->node);
        return;
    }

    ngx_centrifugo_buf_literal(b, "\"result\":{}");
}


static void
api_json_broadcast(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    ngx_uint_t  i;

    ngx_centrifugo_buf_literal(b, "\"result\":{\"responses\":[");

    for (i = 0; i < cmd->nitems; i++) {

        if (i) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_buf_byte(b, '{');

        if (cmd->items[i].error) {
            api_json_error(b, cmd->items[i].error);

        } else {
            ngx_centrifugo_buf_literal(b, "\"result\":{}");
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    ngx_centrifugo_buf_literal(b, "]}");
}


static void
api_json_presence(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    ngx_str_t                      entries;
    ngx_uint_t                     n;
    ngx_centrifugo_client_info_t   info;

    entries.data = cmd->list.start;
    entries.len = ngx_centrifugo_buf_len(&cmd->list);

    ngx_centrifugo_buf_literal(b, "\"result\":{\"presence\":{");

    for (n = 0;
         ngx_centrifugo_broker_presence_next(&entries, &info) == NGX_OK;
         n++)
    {
        if (n) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &info.client);
        ngx_centrifugo_buf_literal(b, ":{\"user\":");
        ngx_centrifugo_json_append_string(b, &info.user);
        ngx_centrifugo_buf_literal(b, ",\"client\":");
        ngx_centrifugo_json_append_string(b, &info.client);

        if (info.conn_info.len) {
            ngx_centrifugo_buf_literal(b, ",\"conn_info\":");
            ngx_centrifugo_json_append_raw(b, &info.conn_info);
        }

        if (info.chan_info.len) {
            ngx_centrifugo_buf_literal(b, ",\"chan_info\":");
            ngx_centrifugo_json_append_raw(b, &info.chan_info);
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
api_json_channels(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    uint32_t    count;
    ngx_str_t   list, name;
    ngx_uint_t  n;

    list.data = cmd->list.start;
    list.len = ngx_centrifugo_buf_len(&cmd->list);

    ngx_centrifugo_buf_literal(b, "\"result\":{\"channels\":{");

    for (n = 0;
         ngx_centrifugo_channels_next(&list, &name, &count) == NGX_OK;
         n++)
    {
        if (n) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &name);
        ngx_centrifugo_buf_literal(b, ":{\"num_clients\":");
        ngx_centrifugo_buf_append_uint(b, count);
        ngx_centrifugo_buf_byte(b, '}');
    }

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
api_json_info(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_node_t *node)
{
    ngx_centrifugo_buf_literal(b, "\"result\":{\"nodes\":[{\"uid\":\"");
    ngx_centrifugo_buf_append(b, node->uid, NGX_CENTRIFUGO_ID_LEN);
    ngx_centrifugo_buf_literal(b, "\",\"name\":");
    ngx_centrifugo_json_append_string(b, &node->name);
    ngx_centrifugo_buf_literal(b, ",\"version\":\"" NGX_CENTRIFUGO_VERSION
                                  "\",\"num_clients\":");
    ngx_centrifugo_buf_append_uint(b, node->clients);
    ngx_centrifugo_buf_literal(b, ",\"num_users\":");
    ngx_centrifugo_buf_append_uint(b, node->users);
    ngx_centrifugo_buf_literal(b, ",\"num_channels\":");
    ngx_centrifugo_buf_append_uint(b, node->channels);

    if (node->uptime) {
        ngx_centrifugo_buf_literal(b, ",\"uptime\":");
        ngx_centrifugo_buf_append_uint(b, node->uptime);
    }

    ngx_centrifugo_buf_literal(b, ",\"num_subs\":");
    ngx_centrifugo_buf_append_uint(b, node->subscriptions);
    ngx_centrifugo_buf_literal(b, "}]}");
}


static void
api_json_error(ngx_centrifugo_buf_t *b, const ngx_centrifugo_error_t *err)
{
    ngx_centrifugo_buf_literal(b, "\"error\":{\"code\":");
    ngx_centrifugo_buf_append_uint(b, err->code);
    ngx_centrifugo_buf_literal(b, ",\"message\":");
    ngx_centrifugo_json_append_string(b, &err->message);
    ngx_centrifugo_buf_byte(b, '}');
}
