/*
 * Replies and pushes of protocol v2 as JSON, one object per line.
 */

#include "ngx_centrifugo_command.h"


static ngx_int_t codec_next(u_char **pos, u_char *end, ngx_uint_t first,
    ngx_str_t *cmd);
static ngx_int_t codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd);
static void codec_part(ngx_centrifugo_buf_t *b);
static void codec_ping(ngx_centrifugo_buf_t *b);
static void codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err);
static void codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result);
static void codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl);
static void codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n);
static void codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id,
    uint32_t clients, uint32_t users);
static void codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method);
static void codec_publication(ngx_centrifugo_buf_t *list, ngx_uint_t n,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_publication_data(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_tags(ngx_centrifugo_buf_t *b, const ngx_str_t *packed);
static void codec_payload(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_str_t *bytes);
static void codec_history(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_buf_t *list, const ngx_str_t *epoch,
    uint64_t offset);
static void codec_list(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_buf_t *list);
static void codec_push_publication(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, uint64_t id,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form);
static void codec_push_subscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result);
static void codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires,
    uint32_t ttl);
static void codec_push_unsubscribe(ngx_centrifugo_buf_t *b,
    const ngx_str_t *channel, ngx_uint_t code, const ngx_str_t *reason);
static void codec_reply(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_str_t *name);
static void codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    uint64_t id, const char *name);
static void codec_key(ngx_centrifugo_buf_t *b, const char *name);
static void codec_true(ngx_centrifugo_buf_t *b, const char *name,
    ngx_uint_t value);
static void codec_uint(ngx_centrifugo_buf_t *b, const char *name,
    uint64_t value);


const ngx_centrifugo_codec_t  ngx_centrifugo_codec_json = {
    ngx_string("json"),
    ngx_string("{}"),
    1,
    codec_next,
    codec_decode,
    codec_part,
    codec_ping,
    codec_error,
    codec_connect,
    codec_subscribe,
    codec_refresh,
    codec_presence,
    codec_presence_stats,
    codec_done,
    codec_publication,
    codec_history,
    codec_push_publication,
    codec_payload,
    codec_push_subscribe,
    codec_push_unsubscribe,
    codec_push_refresh
};


static ngx_int_t
codec_next(u_char **pos, u_char *end, ngx_uint_t first, ngx_str_t *cmd)
{
    u_char  *p, *last;

    p = *pos;

    if (p == end) {
        return first ? NGX_ERROR : NGX_DONE;
    }

    last = memchr(p, '\n', end - p);

    if (last == NULL) {
        last = end;
        *pos = end;

    } else {
        *pos = last + 1;
    }

    cmd->data = p;
    cmd->len = last - p;

    return cmd->len ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
codec_decode(ngx_centrifugo_arena_t *arena, ngx_str_t *bytes,
    ngx_centrifugo_command_t *cmd)
{
    ngx_int_t               rc;
    ngx_centrifugo_json_t  *root;

    rc = ngx_centrifugo_json_parse(arena, bytes->data, bytes->len, 0, &root);

    return (rc == NGX_OK) ? ngx_centrifugo_command_read(arena, root, cmd) : rc;
}


static void
codec_part(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_byte(b, '\n');
}


static void
codec_ping(ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_buf_literal(b, "{}");
}


static void
codec_error(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_error_t *err)
{
    static const ngx_str_t  name = ngx_string("error");

    codec_reply(b, id, &name);

    ngx_centrifugo_buf_literal(b, "\"code\":");
    ngx_centrifugo_buf_append_uint(b, err->code);
    ngx_centrifugo_buf_literal(b, ",\"message\":");
    ngx_centrifugo_json_append_string(b, &err->message);
    codec_true(b, "temporary", err->temporary);

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_connect(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_connect_result_t *result)
{
    ngx_uint_t  i;

    codec_reply(b, id,
                ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_CONNECT));

    ngx_centrifugo_buf_literal(b, "\"client\":");
    ngx_centrifugo_json_append_string(b, &result->client);
    codec_key(b, "version");
    ngx_centrifugo_json_append_string(b, &result->version);
    codec_true(b, "expires", result->expires);
    codec_uint(b, "ttl", result->ttl);

    if (result->data.len) {
        codec_key(b, "data");
        ngx_centrifugo_json_append_raw(b, &result->data);
    }

    if (result->nsubs) {
        codec_key(b, "subs");
        ngx_centrifugo_buf_byte(b, '{');

        for (i = 0; i < result->nsubs; i++) {

            if (i) {
                ngx_centrifugo_buf_byte(b, ',');
            }

            ngx_centrifugo_json_append_string(b, &result->subs[i].channel);
            ngx_centrifugo_buf_literal(b, ":{");
            codec_subscribe_result(b, &result->subs[i].result);
            ngx_centrifugo_buf_byte(b, '}');
        }

        ngx_centrifugo_buf_byte(b, '}');
    }

    codec_uint(b, "ping", result->ping);
    codec_true(b, "pong", result->pong);

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_subscribe(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_reply(b, id,
                ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_SUBSCRIBE));
    codec_subscribe_result(b, result);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_subscribe_result(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_true(b, "expires", result->expires);
    codec_uint(b, "ttl", result->ttl);
    codec_true(b, "recoverable", result->recoverable);

    if (result->epoch.len) {
        codec_key(b, "epoch");
        ngx_centrifugo_json_append_string(b, &result->epoch);
    }

    if (result->publications && ngx_centrifugo_buf_len(result->publications)) {
        codec_key(b, "publications");
        codec_list(b, result->publications);
    }

    codec_true(b, "recovered", result->recovered);
    codec_uint(b, "offset", result->offset);
    codec_true(b, "positioned", result->positioned);

    if (result->data.len) {
        codec_key(b, "data");
        ngx_centrifugo_json_append_raw(b, &result->data);
    }

    codec_true(b, "was_recovering", result->was_recovering);
    codec_true(b, "delta", result->delta);
    codec_uint(b, "id", result->id);
}


static void
codec_refresh(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method, ngx_uint_t expires, uint32_t ttl)
{
    codec_reply(b, id, ngx_centrifugo_method_name(method));
    codec_true(b, "expires", expires);
    codec_uint(b, "ttl", ttl);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_presence(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_client_info_t *infos, ngx_uint_t n)
{
    ngx_uint_t  i;

    codec_reply(b, id,
                ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_PRESENCE));
    ngx_centrifugo_buf_literal(b, "\"presence\":{");

    for (i = 0; i < n; i++) {

        if (i) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &infos[i].client);
        ngx_centrifugo_buf_byte(b, ':');
        ngx_centrifugo_json_append_info(b, &infos[i]);
    }

    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_presence_stats(ngx_centrifugo_buf_t *b, uint32_t id, uint32_t clients,
    uint32_t users)
{
    codec_reply(b, id,
              ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_PRESENCE_STATS));
    ngx_centrifugo_buf_literal(b, "\"num_clients\":");
    ngx_centrifugo_buf_append_uint(b, clients);
    ngx_centrifugo_buf_literal(b, ",\"num_users\":");
    ngx_centrifugo_buf_append_uint(b, users);
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_done(ngx_centrifugo_buf_t *b, uint32_t id,
    ngx_centrifugo_method_e method)
{
    codec_reply(b, id, ngx_centrifugo_method_name(method));
    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_publication(ngx_centrifugo_buf_t *list, ngx_uint_t n,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form)
{
    ngx_str_t  epoch;

    if (n) {
        ngx_centrifugo_buf_byte(list, ',');
    }

    ngx_centrifugo_buf_byte(list, '{');
    codec_publication_data(list, pub, form);

    if (pub->info) {
        codec_key(list, "info");
        ngx_centrifugo_json_append_info(list, pub->info);
    }

    codec_uint(list, "offset", pub->offset);

    if (pub->tags.len) {
        codec_key(list, "tags");
        codec_tags(list, &pub->tags);
    }

    codec_true(list, "delta", form == NGX_CENTRIFUGO_FORM_DELTA);

    if (pub->offset == 1 && pub->epoch && form == NGX_CENTRIFUGO_FORM_PLAIN) {
        epoch.data = (u_char *) &pub->epoch;
        epoch.len = sizeof(uint64_t);

        codec_key(list, "epoch");
        ngx_centrifugo_json_append_string(list, &epoch);
    }

    ngx_centrifugo_buf_byte(list, '}');
}


static void
codec_publication_data(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_centrifugo_form_e form)
{
    switch (form) {

    case NGX_CENTRIFUGO_FORM_PLAIN:

        if (pub->data.len) {
            ngx_centrifugo_buf_literal(b, "\"data\":");
            ngx_centrifugo_json_append_raw(b, &pub->data);
        }

        break;

    case NGX_CENTRIFUGO_FORM_TEXT:
        ngx_centrifugo_buf_literal(b, "\"data\":");
        ngx_centrifugo_json_append_text(b, &pub->data);
        break;

    case NGX_CENTRIFUGO_FORM_DELTA:
        ngx_centrifugo_buf_literal(b, "\"data\":");
        ngx_centrifugo_json_append_string(b, &pub->data);
        break;
    }
}


static void
codec_tags(ngx_centrifugo_buf_t *b, const ngx_str_t *packed)
{
    ngx_str_t             rest;
    ngx_uint_t            n;
    ngx_centrifugo_tag_t  tag;

    ngx_centrifugo_buf_byte(b, '{');

    rest = *packed;
    n = 0;

    while (ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK) {

        if (n++) {
            ngx_centrifugo_buf_byte(b, ',');
        }

        ngx_centrifugo_json_append_string(b, &tag.key);
        ngx_centrifugo_buf_byte(b, ':');
        ngx_centrifugo_json_append_string(b, &tag.value);
    }

    ngx_centrifugo_buf_byte(b, '}');
}


static void
codec_payload(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_publication_t *pub, ngx_str_t *bytes)
{
    size_t  before;

    *bytes = pub->data;

    if (pub->data.len == 0
        || (memchr(pub->data.data, '\n', pub->data.len) == NULL
            && memchr(pub->data.data, '\r', pub->data.len) == NULL))
    {
        return;
    }

    before = ngx_centrifugo_buf_len(b);
    ngx_centrifugo_json_append_raw(b, &pub->data);

    bytes->data = b->start + before;
    bytes->len = ngx_centrifugo_buf_len(b) - before;
}


static void
codec_history(ngx_centrifugo_buf_t *b, uint32_t id,
    const ngx_centrifugo_buf_t *list, const ngx_str_t *epoch, uint64_t offset)
{
    codec_reply(b, id,
                ngx_centrifugo_method_name(NGX_CENTRIFUGO_CMD_HISTORY));

    ngx_centrifugo_buf_literal(b, "\"publications\":");
    codec_list(b, list);
    codec_key(b, "epoch");
    ngx_centrifugo_json_append_string(b, epoch);
    codec_key(b, "offset");
    ngx_centrifugo_buf_append_uint(b, offset);

    ngx_centrifugo_buf_literal(b, "}}");
}


static void
codec_list(ngx_centrifugo_buf_t *b, const ngx_centrifugo_buf_t *list)
{
    ngx_centrifugo_buf_byte(b, '[');
    ngx_centrifugo_buf_append(b, list->start, ngx_centrifugo_buf_len(list));
    ngx_centrifugo_buf_byte(b, ']');
}


static void
codec_push_publication(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    uint64_t id, const ngx_centrifugo_publication_t *pub,
    ngx_centrifugo_form_e form)
{
    if (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION) {
        codec_push(b, channel, id, pub->type == NGX_CENTRIFUGO_PUSH_JOIN
                                   ? "join" : "leave");
        ngx_centrifugo_buf_literal(b, "{\"info\":");
        ngx_centrifugo_json_append_info(b, pub->info);
        ngx_centrifugo_buf_literal(b, "}}}");
        return;
    }

    codec_push(b, channel, id, "pub");
    codec_publication(b, 0, pub, form);
    ngx_centrifugo_buf_literal(b, "}}");
}


void
ngx_centrifugo_json_append_info(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_client_info_t *info)
{
    ngx_centrifugo_buf_literal(b, "{\"user\":");
    ngx_centrifugo_json_append_string(b, &info->user);
    codec_key(b, "client");
    ngx_centrifugo_json_append_string(b, &info->client);

    if (info->conn_info.len) {
        codec_key(b, "conn_info");
        ngx_centrifugo_json_append_raw(b, &info->conn_info);
    }

    if (info->chan_info.len) {
        codec_key(b, "chan_info");
        ngx_centrifugo_json_append_raw(b, &info->chan_info);
    }

    ngx_centrifugo_buf_byte(b, '}');
}


static void
codec_push_subscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    const ngx_centrifugo_subscribe_result_t *result)
{
    codec_push(b, channel, 0, "subscribe");
    ngx_centrifugo_buf_byte(b, '{');
    codec_subscribe_result(b, result);
    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_push_refresh(ngx_centrifugo_buf_t *b, ngx_uint_t expires, uint32_t ttl)
{
    ngx_centrifugo_buf_literal(b, "{\"push\":{\"refresh\":{");
    codec_true(b, "expires", expires);
    codec_uint(b, "ttl", ttl);
    ngx_centrifugo_buf_literal(b, "}}}");
}


static void
codec_push_unsubscribe(ngx_centrifugo_buf_t *b, const ngx_str_t *channel,
    ngx_uint_t code, const ngx_str_t *reason)
{
    codec_push(b, channel, 0, "unsubscribe");

    ngx_centrifugo_buf_literal(b, "{\"code\":");
    ngx_centrifugo_buf_append_uint(b, code);
    codec_key(b, "reason");
    ngx_centrifugo_json_append_string(b, reason);
    ngx_centrifugo_buf_literal(b, "}}}");
}


/*
 * {"id":ID,"NAME":{
 */

static void
codec_reply(ngx_centrifugo_buf_t *b, uint32_t id, const ngx_str_t *name)
{
    ngx_centrifugo_buf_byte(b, '{');

    if (id) {
        ngx_centrifugo_buf_literal(b, "\"id\":");
        ngx_centrifugo_buf_append_uint(b, id);
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_byte(b, '"');
    ngx_centrifugo_buf_append(b, name->data, name->len);
    ngx_centrifugo_buf_literal(b, "\":{");
}


/*
 * {"push":{"channel":"CHANNEL","NAME": or {"push":{"id":ID,"NAME":
 */

static void
codec_push(ngx_centrifugo_buf_t *b, const ngx_str_t *channel, uint64_t id,
    const char *name)
{
    ngx_centrifugo_buf_literal(b, "{\"push\":{");

    if (id) {
        codec_uint(b, "id", id);

    } else {
        codec_key(b, "channel");
        ngx_centrifugo_json_append_string(b, channel);
    }

    codec_key(b, name);
}


/*
 * "NAME": with a comma when something stands before it in its object
 */

static void
codec_key(ngx_centrifugo_buf_t *b, const char *name)
{
    if (b->last > b->start && b->last[-1] != '{') {
        ngx_centrifugo_buf_byte(b, ',');
    }

    ngx_centrifugo_buf_byte(b, '"');
    ngx_centrifugo_buf_append(b, name, ngx_strlen(name));
    ngx_centrifugo_buf_literal(b, "\":");
}


static void
codec_true(ngx_centrifugo_buf_t *b, const char *name, ngx_uint_t value)
{
    if (value) {
        codec_key(b, name);
        ngx_centrifugo_buf_literal(b, "true");
    }
}


static void
codec_uint(ngx_centrifugo_buf_t *b, const char *name, uint64_t value)
{
    if (value) {
        codec_key(b, name);
        ngx_centrifugo_buf_append_uint(b, value);
    }
}
