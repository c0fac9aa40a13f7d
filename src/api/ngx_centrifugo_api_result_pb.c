/*
 * Results of the API as Protobuf: the messages of proto/api.proto.
 */

#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"
#include "../protocol/ngx_centrifugo_pb.h"


/* fields of each XResponse */
#define API_PB_ERROR   1
#define API_PB_RESULT  2

/* of BatchResponse, and of its replies */
#define API_PB_REPLIES      1
#define API_PB_REPLY_ERROR  2


static void api_pb_replies(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_batch_t *batch);
static void api_pb_error(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_error_t *error);
static void api_pb_result(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    ngx_centrifugo_api_command_t *cmd);
static void api_pb_position(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_position_t *position);
static void api_pb_broadcast(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_pb_presence(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_pb_client(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_client_info_t *info);
static void api_pb_history(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_pb_publication(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub);
static void api_pb_channels(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_pb_info(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_node_t *node);
static void api_pb_epoch(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    uint64_t epoch);


/* the field of a method's result in a reply of a batch */

static const uint8_t  api_pb_methods[] = {
    4,      /* publish */
    5,      /* broadcast */
    7,      /* unsubscribe */
    8,      /* disconnect */
    9,      /* presence */
    10,     /* presence_stats */
    11,     /* history */
    12,     /* history_remove */
    16,     /* channels */
    13,     /* info */
    14,     /* rpc */
    6,      /* subscribe */
    15      /* refresh */
};


void
ngx_centrifugo_api_result_pb(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    const ngx_centrifugo_error_t  *error;

    error = ngx_centrifugo_api_error(cmd);

    if (error) {
        api_pb_error(b, API_PB_ERROR, error);

    } else if (cmd->method == NGX_CENTRIFUGO_API_BATCH) {
        api_pb_replies(b, cmd->commands);

    } else {
        api_pb_result(b, API_PB_RESULT, cmd);
    }
}


static void
api_pb_replies(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_batch_t *batch)
{
    size_t                         mark;
    ngx_centrifugo_api_command_t  *cmd;
    const ngx_centrifugo_error_t  *error;

    for (cmd = batch->first; cmd; cmd = cmd->next) {
        mark = ngx_centrifugo_pb_begin(b, API_PB_REPLIES);
        error = ngx_centrifugo_api_error(cmd);

        if (error) {
            api_pb_error(b, API_PB_REPLY_ERROR, error);

        } else {
            api_pb_result(b, api_pb_methods[cmd->method], cmd);
        }

        ngx_centrifugo_pb_end(b, mark);
    }
}


static void
api_pb_error(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_error_t *error)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(b, field);
    ngx_centrifugo_pb_append_uint(b, 1, error->code);
    ngx_centrifugo_pb_append_bytes(b, 2, &error->message);
    ngx_centrifugo_pb_end(b, mark);
}


static void
api_pb_result(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    ngx_centrifugo_api_command_t *cmd)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(b, field);

    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_PUBLISH:
        api_pb_position(b, &cmd->items[0].position);
        break;

    case NGX_CENTRIFUGO_API_BROADCAST:
        api_pb_broadcast(b, cmd);
        break;

    case NGX_CENTRIFUGO_API_PRESENCE:
        api_pb_presence(b, cmd);
        break;

    case NGX_CENTRIFUGO_API_PRESENCE_STATS:
        ngx_centrifugo_pb_append_uint(b, 1, cmd->found->num_clients);
        ngx_centrifugo_pb_append_uint(b, 2, cmd->found->num_users);
        break;

    case NGX_CENTRIFUGO_API_HISTORY:
        api_pb_history(b, cmd);
        break;

    case NGX_CENTRIFUGO_API_CHANNELS:
        api_pb_channels(b, cmd);
        break;

    case NGX_CENTRIFUGO_API_INFO:
        api_pb_info(b, &cmd->found->node);
        break;
    }

    ngx_centrifugo_pb_end(b, mark);
}


static void
api_pb_position(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_position_t *position)
{
    if (position->epoch) {
        ngx_centrifugo_pb_append_uint(b, 1, position->offset);
        api_pb_epoch(b, 2, position->epoch);
    }
}


static void
api_pb_broadcast(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    size_t      response, result;
    ngx_uint_t  i;

    for (i = 0; i < cmd->nitems; i++) {
        response = ngx_centrifugo_pb_begin(b, 1);

        if (cmd->items[i].error) {
            api_pb_error(b, API_PB_ERROR, cmd->items[i].error);

        } else {
            result = ngx_centrifugo_pb_begin(b, API_PB_RESULT);
            api_pb_position(b, &cmd->items[i].position);
            ngx_centrifugo_pb_end(b, result);
        }

        ngx_centrifugo_pb_end(b, response);
    }
}


static void
api_pb_presence(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    size_t                         mark;
    ngx_str_t                      entries;
    ngx_centrifugo_client_info_t   info;

    entries.data = cmd->found->list.start;
    entries.len = ngx_centrifugo_buf_len(&cmd->found->list);

    while (ngx_centrifugo_broker_presence_next(&entries, &info) == NGX_OK) {
        mark = ngx_centrifugo_pb_begin(b, 1);
        ngx_centrifugo_pb_append_bytes(b, 1, &info.client);
        api_pb_client(b, 2, &info);
        ngx_centrifugo_pb_end(b, mark);
    }
}


static void
api_pb_client(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_centrifugo_client_info_t *info)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(b, field);
    ngx_centrifugo_pb_append_bytes(b, 1, &info->user);
    ngx_centrifugo_pb_append_bytes(b, 2, &info->client);
    ngx_centrifugo_pb_append_bytes(b, 3, &info->conn_info);
    ngx_centrifugo_pb_append_bytes(b, 4, &info->chan_info);
    ngx_centrifugo_pb_end(b, mark);
}


static void
api_pb_history(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    size_t                         mark;
    ngx_str_t                      list;
    ngx_centrifugo_client_info_t   info;
    ngx_centrifugo_publication_t   pub;

    list.data = cmd->found->list.start;
    list.len = ngx_centrifugo_buf_len(&cmd->found->list);

    while (ngx_centrifugo_broker_publication_next(&list, &pub, &info)
           == NGX_OK)
    {
        mark = ngx_centrifugo_pb_begin(b, 1);
        api_pb_publication(b, &pub);
        ngx_centrifugo_pb_end(b, mark);
    }

    api_pb_epoch(b, 2, cmd->found->position.epoch);
    ngx_centrifugo_pb_append_uint(b, 3, cmd->found->position.offset);
}


static void
api_pb_publication(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_str_t             rest;
    ngx_centrifugo_tag_t  tag;

    ngx_centrifugo_pb_append_bytes(b, 2, &pub->data);

    if (pub->info) {
        api_pb_client(b, 3, pub->info);
    }

    ngx_centrifugo_pb_append_uint(b, 4, pub->offset);

    rest = pub->tags;

    while (ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK) {
        ngx_centrifugo_pb_append_entry(b, 5, &tag.key, &tag.value);
    }
}


static void
api_pb_channels(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    size_t     entry, value;
    uint32_t   count;
    ngx_str_t  list, name;

    list.data = cmd->found->list.start;
    list.len = ngx_centrifugo_buf_len(&cmd->found->list);

    while (ngx_centrifugo_channels_next(&list, &name, &count) == NGX_OK) {
        entry = ngx_centrifugo_pb_begin(b, 1);
        ngx_centrifugo_pb_append_bytes(b, 1, &name);

        value = ngx_centrifugo_pb_begin(b, 2);
        ngx_centrifugo_pb_append_uint(b, 1, count);
        ngx_centrifugo_pb_end(b, value);

        ngx_centrifugo_pb_end(b, entry);
    }
}


static void
api_pb_info(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_node_t *node)
{
    size_t            mark;
    ngx_str_t         uid;
    static ngx_str_t  version = ngx_string(NGX_CENTRIFUGO_VERSION);

    uid.data = node->uid;
    uid.len = NGX_CENTRIFUGO_ID_LEN;

    mark = ngx_centrifugo_pb_begin(b, 1);
    ngx_centrifugo_pb_append_bytes(b, 1, &uid);
    ngx_centrifugo_pb_append_bytes(b, 2, &node->name);
    ngx_centrifugo_pb_append_bytes(b, 3, &version);
    ngx_centrifugo_pb_append_uint(b, 4, node->clients);
    ngx_centrifugo_pb_append_uint(b, 5, node->users);
    ngx_centrifugo_pb_append_uint(b, 6, node->channels);
    ngx_centrifugo_pb_append_uint(b, 7, node->uptime);
    ngx_centrifugo_pb_append_uint(b, 10, node->subscriptions);
    ngx_centrifugo_pb_end(b, mark);
}


static void
api_pb_epoch(ngx_centrifugo_buf_t *b, ngx_uint_t field, uint64_t epoch)
{
    ngx_str_t  s;

    if (epoch) {
        s.data = (u_char *) &epoch;
        s.len = NGX_CENTRIFUGO_EPOCH_LEN;

        ngx_centrifugo_pb_append_bytes(b, field, &s);
    }
}
