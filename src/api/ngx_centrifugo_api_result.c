/*
 * Results of the API as JSON.
 */

#include "ngx_centrifugo_api.h"
#include "../broker/ngx_centrifugo_channels.h"


static void api_json_result(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_replies(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_batch_t *batch);
static void api_json_position(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_position_t *position);
static void api_json_broadcast(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_presence(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_history(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_publication(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub);
static void api_json_base64(ngx_centrifugo_buf_t *b, const ngx_str_t *data);
static void api_json_tags(ngx_centrifugo_buf_t *b, const ngx_str_t *packed);
static void api_json_channels(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);
static void api_json_info(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_node_t *node);
static void api_json_epoch(ngx_centrifugo_buf_t *b, uint64_t epoch);


const ngx_centrifugo_error_t *
ngx_centrifugo_api_error(ngx_centrifugo_api_command_t *cmd)
{
    if (cmd->error == NULL && cmd->method == NGX_CENTRIFUGO_API_PUBLISH) {
        return cmd->items[0].error;
    }

    return cmd->error;
}


void
ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    const ngx_centrifugo_error_t  *error;

    error = ngx_centrifugo_api_error(cmd);

    if (error) {
        ngx_centrifugo_buf_literal(b, "\"error\":");
        ngx_centrifugo_api_error_json(b, error);
        return;
    }

    if (cmd->method == NGX_CENTRIFUGO_API_BATCH) {
        api_json_replies(b, cmd->commands);
        return;
    }

    if (cmd->method == NGX_CENTRIFUGO_API_PUBLISH
        && cmd->items[0].position.epoch == 0)
    {
        /* nearly always */

        ngx_centrifugo_buf_literal(b, "\"result\":{}");
        return;
    }

    ngx_centrifugo_buf_literal(b, "\"result\":");
    api_json_result(b, cmd);
}


/* The keys of replies are the methods; no replies are no key. */

static void
api_json_replies(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_batch_t *batch)
{
    const ngx_str_t               *name;
    const ngx_centrifugo_error_t  *error;
    ngx_centrifugo_api_command_t  *cmd;

    if (batch->first == NULL) {
        return;
    }

    ngx_centrifugo_buf_literal(b, "\"replies\":[");

    for (cmd = batch->first; cmd; cmd = cmd->next) {

        if (cmd != batch->first) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        error = ngx_centrifugo_api_error(cmd);

        if (error) {
            ngx_centrifugo_buf_literal(b, "{\"error\":");
            ngx_centrifugo_api_error_json(b, error);

        } else {
            name = ngx_centrifugo_api_name(cmd->method);

            ngx_centrifugo_buf_literal(b, "{\"");
            ngx_centrifugo_buf_append(b, name->data, name->len);
            ngx_centrifugo_buf_literal(b, "\":");
            api_json_result(b, cmd);
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    ngx_centrifugo_buf_byte(b, ']');
}


static void
api_json_result(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    switch (cmd->method) {

    case NGX_CENTRIFUGO_API_PUBLISH:
        api_json_position(b, &cmd->items[0].position);
        return;

    case NGX_CENTRIFUGO_API_BROADCAST:
        api_json_broadcast(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_PRESENCE:
        api_json_presence(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_PRESENCE_STATS:
        ngx_centrifugo_buf_literal(b, "{\"num_clients\":");
        ngx_centrifugo_buf_append_uint(b, cmd->found->num_clients);
        ngx_centrifugo_buf_literal(b, ",\"num_users\":");
        ngx_centrifugo_buf_append_uint(b, cmd->found->num_users);
        ngx_centrifugo_buf_byte(b, '}');
        return;

    case NGX_CENTRIFUGO_API_HISTORY:
        api_json_history(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_CHANNELS:
        api_json_channels(b, cmd);
        return;

    case NGX_CENTRIFUGO_API_INFO:
        api_json_info(b, &cmd->found->node);
        return;
    }

    ngx_centrifugo_buf_literal(b, "{}");
}


/* Where a publication stands in its stream, or {}: in none. */

static void
api_json_position(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_position_t *position)
{
    if (position->epoch == 0) {
        ngx_centrifugo_buf_literal(b, "{}");
        return;
    }

    ngx_centrifugo_buf_byte(b, '{');

    if (position->offset) {
        ngx_centrifugo_buf_literal(b, "\"offset\":");
        ngx_centrifugo_buf_append_uint(b, position->offset);
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_literal(b, "\"epoch\":");
    api_json_epoch(b, position->epoch);
    ngx_centrifugo_buf_byte(b, '}');
}


static void
api_json_broadcast(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd)
{
    ngx_uint_t  i;

    ngx_centrifugo_buf_literal(b, "{\"responses\":[");

    for (i = 0; i < cmd->nitems; i++) {

        if (i) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        if (cmd->items[i].error) {
            ngx_centrifugo_buf_literal(b, "{\"error\":");
            ngx_centrifugo_api_error_json(b, cmd->items[i].error);

        } else if (cmd->items[i].position.epoch == 0) {
            ngx_centrifugo_buf_literal(b, "{\"result\":{}}");
            continue;

        } else {
            ngx_centrifugo_buf_literal(b, "{\"result\":");
            api_json_position(b, &cmd->items[i].position);
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

    entries.data = cmd->found->list.start;
    entries.len = ngx_centrifugo_buf_len(&cmd->found->list);

    ngx_centrifugo_buf_literal(b, "{\"presence\":{");

    for (n = 0;
         ngx_centrifugo_broker_presence_next(&entries, &info) == NGX_OK;
         n++)
    {
        if (n) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &info.client);
        ngx_centrifugo_buf_byte(b, ':');
        ngx_centrifugo_json_append_info(b, &info);
    }

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
api_json_history(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    ngx_str_t                      list;
    ngx_uint_t                     n;
    ngx_centrifugo_client_info_t   info;
    ngx_centrifugo_publication_t   pub;

    list.data = cmd->found->list.start;
    list.len = ngx_centrifugo_buf_len(&cmd->found->list);

    ngx_centrifugo_buf_literal(b, "{\"publications\":[");

    for (n = 0;
         ngx_centrifugo_broker_publication_next(&list, &pub, &info) == NGX_OK;
         n++)
    {
        if (n) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        api_json_publication(b, &pub);
    }

    ngx_centrifugo_buf_literal(b, "],\"epoch\":");
    api_json_epoch(b, cmd->found->position.epoch);
    ngx_centrifugo_buf_literal(b, ",\"offset\":");
    ngx_centrifugo_buf_append_uint(b, cmd->found->position.offset);
    ngx_centrifugo_buf_byte(b, '}');
}


static void
api_json_publication(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_centrifugo_buf_byte(b, '{');

    if (pub->data.len == 0) {
        /* void */

    } else if (pub->json) {
        ngx_centrifugo_buf_literal(b, "\"data\":");
        ngx_centrifugo_json_append_raw(b, &pub->data);
        ngx_centrifugo_buf_byte(b, ',');

    } else {

        /* as it can be published */

        ngx_centrifugo_buf_literal(b, "\"b64data\":");
        api_json_base64(b, &pub->data);
        ngx_centrifugo_buf_byte(b, ',');
    }

    if (pub->info) {
        ngx_centrifugo_buf_literal(b, "\"info\":");
        ngx_centrifugo_json_append_info(b, pub->info);
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_literal(b, "\"offset\":");
    ngx_centrifugo_buf_append_uint(b, pub->offset);

    if (pub->tags.len) {
        ngx_centrifugo_buf_literal(b, ",\"tags\":");
        api_json_tags(b, &pub->tags);
    }

    ngx_centrifugo_buf_byte(b, '}');
}


static void
api_json_base64(ngx_centrifugo_buf_t *b, const ngx_str_t *data)
{
    ngx_str_t  src, dst;

    if (ngx_centrifugo_buf_reserve(b, ngx_base64_encoded_length(data->len) + 2)
        != NGX_OK)
    {
        return;
    }

    src = *data;
    dst.data = b->last + 1;

    ngx_encode_base64(&dst, &src);

    b->last[0] = '"';
    b->last += 1 + dst.len;
    *b->last++ = '"';
}


static void
api_json_tags(ngx_centrifugo_buf_t *b, const ngx_str_t *packed)
{
    ngx_str_t             rest;
    ngx_uint_t            n;
    ngx_centrifugo_tag_t  tag;

    rest = *packed;

    ngx_centrifugo_buf_byte(b, '{');

    for (n = 0; ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK; n++) {

        if (n) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &tag.key);
        ngx_centrifugo_buf_byte(b, ':');
        ngx_centrifugo_json_append_string(b, &tag.value);
    }

    ngx_centrifugo_buf_byte(b, '}');
}


static void
api_json_channels(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    uint32_t    count;
    ngx_str_t   list, name;
    ngx_uint_t  n;

    list.data = cmd->found->list.start;
    list.len = ngx_centrifugo_buf_len(&cmd->found->list);

    ngx_centrifugo_buf_literal(b, "{\"channels\":{");

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
    ngx_centrifugo_buf_literal(b, "{\"nodes\":[{\"uid\":\"");
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


/* An empty string, if there is none. */

static void
api_json_epoch(ngx_centrifugo_buf_t *b, uint64_t epoch)
{
    ngx_centrifugo_buf_byte(b, '"');

    if (epoch) {
        ngx_centrifugo_buf_append(b, &epoch, NGX_CENTRIFUGO_EPOCH_LEN);
    }

    ngx_centrifugo_buf_byte(b, '"');
}


void
ngx_centrifugo_api_error_json(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_error_t *error)
{
    ngx_centrifugo_buf_literal(b, "{\"code\":");
    ngx_centrifugo_buf_append_uint(b, error->code);
    ngx_centrifugo_buf_literal(b, ",\"message\":");
    ngx_centrifugo_json_append_string(b, &error->message);
    ngx_centrifugo_buf_byte(b, '}');
}
