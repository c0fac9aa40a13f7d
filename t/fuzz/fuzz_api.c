/*
 * Bodies of the server API in both dialects, or with FUZZ_GRPC messages of its
 * GRPC door: nothing is read outside of them, each command ends, whether answers
 * come at once or late, and answers are JSON, or Protobuf.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "api/ngx_centrifugo_api.h"
#include "broker/ngx_centrifugo_channels.h"
#include "client/ngx_centrifugo_worker.h"

#if (FUZZ_GRPC)
#include "api/ngx_centrifugo_grpc.h"
#include "protocol/ngx_centrifugo_pb.h"

#include "api.pb-c.h"
#endif


const ngx_centrifugo_error_t  ngx_centrifugo_error_internal =
    { 100, ngx_string("internal server error"), 1 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_channel =
    { 102, ngx_string("unknown channel"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_request =
    { 107, ngx_string("bad request"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_unavailable =
    { 108, ngx_string("not available"), 0 };

/* an answer that comes later */
typedef struct {
    ngx_centrifugo_completion_t          done;
    ngx_centrifugo_engine_rc_e           rc;
    ngx_centrifugo_engine_result_t       result;
    ngx_centrifugo_api_command_t        *command;
} late_t;


static ngx_centrifugo_channel_options_t  options, quiet;
static ngx_uint_t                        finished, published;

/* a ring of answers; all of a sequential batch are of one command */

#define LATE  8192

static late_t                            late[LATE];
static ngx_uint_t                        late_in, late_out, late_all;

volatile ngx_cycle_t  *ngx_cycle;


static void
touch(const ngx_str_t *s)
{
    size_t           i;
    volatile u_char  c;

    for (i = 0; i < s->len; i++) {
        c = s->data[i];
    }

    (void) c;
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    touch(channel);

    return channel->data[0] == 'u' ? NULL
           : channel->data[0] == 'q' ? &quiet : &options;
}


ngx_int_t
ngx_centrifugo_publication_check(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_channel_options_t *o, const ngx_str_t *data,
    ngx_uint_t json)
{
    touch(data);

    return data->len ? NGX_OK : NGX_DECLINED;
}


void
ngx_centrifugo_hub_add(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter, int64_t n)
{
}


void
ngx_centrifugo_worker_wake(ngx_centrifugo_hub_conf_t *hcf)
{
}


ngx_int_t
ngx_strncasecmp(u_char *a, u_char *b, size_t n)
{
    return strncasecmp((char *) a, (char *) b, n);
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


/* Answers at once, or the answer waits. */

static void
answer(const ngx_centrifugo_completion_t *done,
    const ngx_centrifugo_engine_result_t *result,
    ngx_centrifugo_api_command_t *cmd)
{
    late_t                          *l;
    ngx_centrifugo_engine_rc_e       rc;
    ngx_centrifugo_engine_result_t   copy;

    rc = (published++ % 5) ? NGX_CENTRIFUGO_ENGINE_OK
                           : published % 4;

    copy = *result;

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        copy.position.offset = published;
        memcpy(&copy.position.epoch, "abcdefgh", 8);
    }

    if (!late_all && published % 3) {
        done->handler(done->handle, rc, &copy);
        return;
    }

    if (cmd->batch && cmd->batch->active > cmd->batch->limit) {
        abort();
    }

    if (cmd->batch && cmd->batch->limit == 1 && late_in != late_out
        && late[late_out % LATE].command != cmd)
    {
        abort();
    }

    if (late_in - late_out == LATE) {
        done->handler(done->handle, rc, &copy);
        return;
    }

    l = &late[late_in++ % LATE];
    l->done = *done;
    l->rc = rc;
    l->result = copy;
    l->command = cmd;
}


static void
answer_late(void)
{
    late_t  l;

    while (late_out != late_in) {
        l = late[late_out++ % LATE];
        l.done.handler(l.done.handle, l.rc, &l.result);
    }
}


static ngx_centrifugo_api_command_t *
command(const ngx_centrifugo_completion_t *done)
{
    return (ngx_centrifugo_api_command_t *) (uintptr_t) done->handle;
}


static void
publish(ngx_centrifugo_hub_conf_t *hcf, const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    ngx_str_t                        tags;
    ngx_uint_t                       n;
    ngx_centrifugo_tag_t             tag;
    ngx_centrifugo_arena_t           arena;
    ngx_centrifugo_engine_result_t   result;

    touch(&pub->channel);
    touch(&pub->data);
    touch(&pub->idempotency_key);
    touch(&pub->version_epoch);

    if (pub->idempotency_key.len > NGX_CENTRIFUGO_API_KEY_MAX
        || pub->version_epoch.len > NGX_CENTRIFUGO_API_KEY_MAX)
    {
        abort();
    }

    tags = pub->tags;

    for (n = 0; ngx_centrifugo_tags_next(&tags, &tag) == NGX_OK; n++) {
        touch(&tag.key);
        touch(&tag.value);
    }

    if (tags.len || (pub->tags.len && n == 0)) {
        abort();
    }

    ngx_centrifugo_arena_init(&arena, 1024);

    if (pub->json
        && ngx_centrifugo_json_validate(&arena, pub->data.data, pub->data.len)
           != NGX_OK)
    {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);

    memset(&result, 0, sizeof(result));
    answer(done, &result, ((ngx_centrifugo_api_item_t *) (uintptr_t)
                           done->handle)->command);
}


/* What it gives is in memory that stays, for late answers. */

static void
history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    static u_char                    publications[] = "123456789";
    ngx_centrifugo_engine_result_t   result;

    touch(&wish->channel);

    if (wish->reverse && wish->bounded && wish->since.offset == 0) {
        abort();
    }

    memset(&result, 0, sizeof(result));
    result.publications.data = publications;
    result.publications.len = ngx_min(wish->limit, 9);

    answer(done, &result, command(done));
}


static void
history_remove(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_result_t  result;

    touch(channel);

    memset(&result, 0, sizeof(result));
    answer(done, &result, command(done));
}


/* Each byte is a publication. */

ngx_int_t
ngx_centrifugo_broker_publication_next(ngx_str_t *publications,
    ngx_centrifugo_publication_t *pub, ngx_centrifugo_client_info_t *info)
{
    static ngx_centrifugo_arena_t  arena;
    static ngx_centrifugo_tag_t    tag = { ngx_string("\"k\n"),
                                           ngx_string("\001\\v") };

    if (publications->len == 0) {
        return NGX_DONE;
    }

    memset(pub, 0, sizeof(ngx_centrifugo_publication_t));
    memset(info, 0, sizeof(ngx_centrifugo_client_info_t));

    pub->data.data = publications->data;
    pub->data.len = 1;
    pub->offset = publications->data[0] - '0';
    pub->json = pub->offset % 2;

    if (pub->offset % 3 == 0) {
        pub->info = info;
        info->user = tag.key;
        info->conn_info = pub->data;
    }

    if (pub->offset % 4 == 0) {

        if (arena.size == 0) {
            ngx_centrifugo_arena_init(&arena, 1024);
        }

        ngx_centrifugo_arena_reset(&arena);
        (void) ngx_centrifugo_tags_pack(&arena, &tag, 1, &pub->tags);
    }

    publications->data++;
    publications->len--;

    return NGX_OK;
}


uint64_t
ngx_centrifugo_epoch(const ngx_str_t *s)
{
    uint64_t  epoch;

    touch(s);

    if (s->len != 8) {
        return s->len;
    }

    memcpy(&epoch, s->data, 8);

    return epoch;
}


static void
json(const ngx_str_t *s)
{
    ngx_centrifugo_arena_t  arena;

    ngx_centrifugo_arena_init(&arena, 1024);

    if (s->len && ngx_centrifugo_json_validate(&arena, s->data, s->len)
                  != NGX_OK)
    {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);
}


/* What is sent is what was checked; one of five workers does not answer. */

void
ngx_centrifugo_order_send(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_order_t *order,
    const ngx_centrifugo_completion_t *done)
{
    ngx_uint_t                       i;
    ngx_centrifugo_engine_result_t   result;

    touch(&order->user);
    touch(&order->client);
    touch(&order->session);
    touch(&order->channel);
    touch(&order->reason);
    json(&order->info);
    json(&order->data);

    for (i = 0; i < order->nwhitelist; i++) {
        touch(&order->whitelist[i]);
    }

    switch (order->kind) {

    case NGX_CENTRIFUGO_ORDER_SUBSCRIBE:
        if (order->channel.len == 0 || order->expire_at < 0) {
            abort();
        }

        break;

    case NGX_CENTRIFUGO_ORDER_DISCONNECT:
        if (order->code < 3000 || order->code > 4999
            || order->reason.len > 123)
        {
            abort();
        }

        break;

    case NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE:
    case NGX_CENTRIFUGO_ORDER_REFRESH:
        break;

    default:
        abort();
    }

    memset(&result, 0, sizeof(result));
    answer(done, &result, command(done));
}


static void
presence(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    u_char                           entry[256], *p;
    uint32_t                         len;
    ngx_str_t                        packed;
    ngx_centrifugo_arena_t           arena;
    ngx_centrifugo_client_info_t     info;
    ngx_centrifugo_engine_result_t   result;

    touch(channel);

    memset(&info, 0, sizeof(info));
    memset(&result, 0, sizeof(result));

    info.client.data = (u_char *) "id";
    info.client.len = 2;
    info.user.data = channel->data;
    info.user.len = channel->len < 100 ? channel->len : 0;

    ngx_centrifugo_arena_init(&arena, 1024);
    (void) ngx_centrifugo_broker_pack_info(&arena, &info, &packed);

    len = (uint32_t) packed.len;
    p = ngx_cpymem(entry, &len, sizeof(len));
    p = ngx_cpymem(p, packed.data, packed.len);
    result.presence.data = entry;
    result.presence.len = p - entry;
    result.num_clients = 1;

    done->handler(done->handle, published++ % 5 ? NGX_CENTRIFUGO_ENGINE_OK
                                                : NGX_CENTRIFUGO_ENGINE_RETRY,
                  &result);
    ngx_centrifugo_arena_free(&arena);
}


void
ngx_centrifugo_channels(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *pattern, const ngx_centrifugo_channels_done_t *done)
{
    ngx_uint_t             steps;
    ngx_centrifugo_buf_t   list;
    ngx_centrifugo_glob_t  glob;

    memset(&list, 0, sizeof(list));

    if (pattern->len) {
        if (ngx_centrifugo_glob_compile(&glob, pattern) != NGX_OK) {
            abort();
        }

        (void) ngx_centrifugo_glob_match(&glob, pattern, &steps);
    }

    ngx_centrifugo_buf_append_uint(&list, 1234567890);
    done->handler(done->handle, published++ % 5, &list);

    if ((published - 1) % 5) {
        ngx_centrifugo_buf_free(&list);
    }
}


ngx_int_t
ngx_centrifugo_channels_next(ngx_str_t *list, ngx_str_t *name,
    uint32_t *count)
{
    if (list->len == 0) {
        return NGX_DONE;
    }

    *name = *list;
    *count = 1;
    list->len = 0;

    return NGX_OK;
}


void
ngx_centrifugo_channels_init(void)
{
}


void
ngx_centrifugo_order_init(void)
{
}


uint64_t
ngx_centrifugo_hub_sum(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_counter_e counter)
{
    return counter;
}


void
ngx_centrifugo_hub_stat(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_hub_stat_t *stat)
{
    memset(stat, 0, sizeof(ngx_centrifugo_hub_stat_t));
}


void
ngx_centrifugo_hub_node(ngx_centrifugo_hub_t *hub, u_char *uuid16)
{
    memset(uuid16, 7, 16);
}


static void
done(ngx_centrifugo_api_job_t *job)
{
    finished++;
}


#if (FUZZ_GRPC)

#define WAYS   (NGX_CENTRIFUGO_API_BATCH + 1)
#define LIMIT  (256 * 1024)

#define TYPE(name)                                                           \
    { &centrifugal__centrifugo__api__ ## name ## request__descriptor,        \
      &centrifugal__centrifugo__api__ ## name ## response__descriptor }

static const struct {
    const ProtobufCMessageDescriptor  *request;
    const ProtobufCMessageDescriptor  *response;
} types[WAYS] = {
    TYPE(publish_), TYPE(broadcast_), TYPE(unsubscribe_), TYPE(disconnect_),
    TYPE(presence_), TYPE(presence_stats_), TYPE(history_),
    TYPE(history_remove_), TYPE(channels_), TYPE(info_), TYPE(rpc),
    TYPE(subscribe_), TYPE(refresh_), TYPE(batch_)
};


static ngx_int_t
begin(ngx_centrifugo_api_job_t *job, ngx_uint_t method, ngx_str_t *body)
{
    ngx_str_t                      message;
    ngx_uint_t                     compressed;
    ngx_centrifugo_json_t         *params;
    ngx_centrifugo_api_command_t  *cmd;

    if (ngx_centrifugo_grpc_message(body, &message, &compressed) != NGX_OK) {

        /* most inputs are a message without what is in front of it */

        message = *body;
        compressed = 0;
    }

    if (compressed
        && ngx_centrifugo_grpc_gunzip(&job->arena, &message, LIMIT, &message)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (message.len > LIMIT
        || ngx_centrifugo_pb_parse(&job->arena, types[method].request,
                                   message.data, message.len, &params)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmd = ngx_centrifugo_api_command(job, NULL, method, 0);

    if ((method == NGX_CENTRIFUGO_API_BATCH
         ? ngx_centrifugo_api_batch_params(cmd, params)
         : ngx_centrifugo_api_params(cmd, method, params))
        != NGX_OK)
    {
        /* descriptors give each its type */

        abort();
    }

    return NGX_OK;
}


static void
check(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    ProtobufCMessage  *m;

    ngx_centrifugo_buf_reset(b);
    ngx_centrifugo_api_result_pb(b, cmd);

    m = protobuf_c_message_unpack(types[cmd->method].response, NULL,
                                  ngx_centrifugo_buf_len(b), b->start);
    if (m == NULL || m->n_unknown_fields) {
        abort();
    }

    protobuf_c_message_free_unpacked(m, NULL);
}

#else

/* methods by their numbers, and commands */

#define WAYS  (NGX_CENTRIFUGO_API_BATCH + 2)


static ngx_int_t
begin(ngx_centrifugo_api_job_t *job, ngx_uint_t method, ngx_str_t *body)
{
    return (method == WAYS - 1)
           ? ngx_centrifugo_api_commands_json(job, body)
           : ngx_centrifugo_api_method_json(job, method, body);
}


static void
check(ngx_centrifugo_buf_t *b, ngx_centrifugo_api_command_t *cmd)
{
    ngx_centrifugo_arena_t  arena;

    ngx_centrifugo_arena_init(&arena, 1024);
    ngx_centrifugo_buf_reset(b);
    ngx_centrifugo_buf_byte(b, '{');
    ngx_centrifugo_api_result_json(b, cmd);
    ngx_centrifugo_buf_byte(b, '}');

    if (ngx_centrifugo_json_validate(&arena, b->start,
                                     ngx_centrifugo_buf_len(b))
        != NGX_OK)
    {
        abort();
    }

    ngx_centrifugo_arena_free(&arena);
}

#endif


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                         *text;
    ngx_int_t                       rc;
    ngx_str_t                       body;
    ngx_log_t                       log;
    ngx_uint_t                      way, method;
    ngx_centrifugo_buf_t            b;
    ngx_centrifugo_api_job_t       *job;
    ngx_centrifugo_hub_conf_t       hcf;
    ngx_centrifugo_api_command_t   *cmd;
    static ngx_cycle_t              cycle;
    static ngx_centrifugo_engine_t  engine = {
        ngx_string("fuzz"), NULL, NULL, publish, NULL, NULL, NULL, NULL, NULL,
        presence, presence, history, history_remove
    };

    memset(&hcf, 0, sizeof(hcf));
    memset(&log, 0, sizeof(log));
    memset(&b, 0, sizeof(b));
    hcf.engine = &engine;
    hcf.name.data = (u_char *) "main";
    hcf.name.len = 4;
    options.presence = 1;
    options.history_size = 10;
    cycle.hostname.data = (u_char *) "h\"o";
    cycle.hostname.len = 3;
    cycle.log = &log;
    log.log_level = NGX_LOG_INFO;
    ngx_cycle = &cycle;

    /*
     * As the parameters of each method, then as commands; the caller stays or
     * leaves before late answers.
     */

    for (way = 0; way < 2 * WAYS; way++) {

        late_all = (way >= WAYS);
        method = way % WAYS;
        finished = 0;
        published = 0;
        job = ngx_centrifugo_api_create(&hcf, &log, &hcf, done);

        text = malloc(size ? size : 1);

        if (size) {
            memcpy(text, data, size);
        }

        body.len = size;
        body.data = text;

        if (method == NGX_CENTRIFUGO_API_BATCH) {
            body.data = ngx_centrifugo_arena_alloc(&job->arena, size + 1);
            memcpy(body.data, text, size);
        }

        rc = begin(job, method, &body);

        if (rc != NGX_OK) {

            if (published) {
                abort();
            }

            ngx_centrifugo_api_release(job);
            free(text);
            continue;
        }

        ngx_centrifugo_api_run(job);

        if (late_all && size % 2) {

            if (finished == (late_in != late_out)) {
                abort();
            }

            ngx_centrifugo_api_release(job);
            free(text);
            answer_late();
            continue;
        }

        answer_late();

        if (finished != 1 || job->pending != 0) {
            abort();
        }

        for (cmd = job->commands; cmd; cmd = cmd->next) {
            check(&b, cmd);
        }

        ngx_centrifugo_api_release(job);
        free(text);
    }

    ngx_centrifugo_buf_free(&b);

    return 0;
}
