/*
 * The state machine of a client: its beginning and end, the order in which
 * commands are taken, and what is answered.
 */

#include "ngx_centrifugo_client.h"
#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"
#include "../core/ngx_centrifugo_text.h"


#define CLIENT_ARENA      8192
#define CLIENT_END_DELAY  5000      /* ms for the peer to close */
#define CLIENT_REPLIES    65536     /* bytes of replies in one frame, about */
#define CLIENT_TIME       5000000   /* ns for commands of one client in a turn
                                       of the event loop */


typedef struct {
    ngx_centrifugo_client_t  *client;       /* NULL: free */
    uint32_t                  generation;
    uint32_t                  next;         /* free one */
} client_handle_t;

/* a client whose next commands wait for the next turn */
typedef struct {
    ngx_event_t               event;
    uint64_t                  client;       /* handle */
} client_later_t;

/* in front of each message in client->input */
typedef struct {
    uint32_t                  len;
    uint32_t                  first;
} client_input_t;


static ngx_int_t client_handle_add(ngx_centrifugo_client_t *client);
static void client_handle_del(ngx_centrifugo_client_t *client);
static ngx_int_t client_input_add(ngx_centrifugo_client_t *client,
    u_char *data, size_t len, ngx_uint_t first);
static void client_input_free(ngx_centrifugo_client_t *client);
static void client_process(ngx_centrifugo_client_t *client, u_char *data,
    size_t len, ngx_uint_t first);
static void client_dispatch(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
static ngx_uint_t client_turn(ngx_centrifugo_client_t *client);
static void client_later(ngx_centrifugo_client_t *client);
static void client_later_handler(ngx_event_t *ev);
static void client_pong(ngx_centrifugo_client_t *client);
static void client_end(ngx_centrifugo_client_t *client);


const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_shutdown =
    { 3001, ngx_string("shutdown") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_internal =
    { 3004, ngx_string("internal server error") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_expired =
    { 3005, ngx_string("connection expired") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_sub_expired =
    { 3006, ngx_string("subscription expired") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_slow =
    { 3008, ngx_string("slow") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_write =
    { 3009, ngx_string("write error") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_state =
    { 3010, ngx_string("insufficient state") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_no_pong =
    { 3012, ngx_string("no pong") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_token =
    { 3500, ngx_string("invalid token") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_request =
    { 3501, ngx_string("bad request") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_stale =
    { 3502, ngx_string("stale") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_forced =
    { 3503, ngx_string("force disconnect") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_connections =
    { 3504, ngx_string("connection limit") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_channels =
    { 3505, ngx_string("channel limit") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_protocol =
    { 3506, ngx_string("inappropriate protocol") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_denied =
    { 3507, ngx_string("permission denied") };
const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_unavailable =
    { 3508, ngx_string("not available") };

const ngx_centrifugo_error_t  ngx_centrifugo_error_internal =
    { 100, ngx_string("internal server error"), 1 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_channel =
    { 102, ngx_string("unknown channel"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_denied =
    { 103, ngx_string("permission denied"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_subscribed =
    { 105, ngx_string("already subscribed"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_limit =
    { 106, ngx_string("limit exceeded"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_request =
    { 107, ngx_string("bad request"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_unavailable =
    { 108, ngx_string("not available"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_token_expired =
    { 109, ngx_string("token expired"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_expired =
    { 110, ngx_string("expired"), 0 };
const ngx_centrifugo_error_t  ngx_centrifugo_error_position =
    { 112, ngx_string("unrecoverable position"), 0 };


/* in the order of their counters */

static const ngx_centrifugo_disconnect_t  *client_disconnects[] = {
    &ngx_centrifugo_disconnect_shutdown,
    &ngx_centrifugo_disconnect_internal,
    &ngx_centrifugo_disconnect_expired,
    &ngx_centrifugo_disconnect_slow,
    &ngx_centrifugo_disconnect_write,
    &ngx_centrifugo_disconnect_no_pong,
    &ngx_centrifugo_disconnect_token,
    &ngx_centrifugo_disconnect_request,
    &ngx_centrifugo_disconnect_stale,
    &ngx_centrifugo_disconnect_protocol,
    &ngx_centrifugo_disconnect_unavailable,
    &ngx_centrifugo_disconnect_sub_expired,
    &ngx_centrifugo_disconnect_state,
    &ngx_centrifugo_disconnect_forced,
    &ngx_centrifugo_disconnect_connections,
    &ngx_centrifugo_disconnect_channels,
    &ngx_centrifugo_disconnect_denied,
    NULL                                /* those of applications */
};

/* of this worker */

static client_handle_t         *client_handles;
static uint32_t                 client_nhandles;
static uint32_t                 client_free = NGX_MAX_UINT32_VALUE;
static ngx_centrifugo_arena_t   client_arena;
static ngx_uint_t               client_depth;   /* messages in hand */
static ngx_centrifugo_buf_t     client_replies;
static ngx_centrifugo_client_t *client_replier; /* whose they are */
static ngx_centrifugo_buf_t     client_push;

static uint64_t                 client_turn_of; /* handle */
static ngx_msec_t               client_turn_msec;
static int64_t                  client_turn_end;


ngx_int_t
ngx_centrifugo_client_init(ngx_centrifugo_client_t *client)
{
    ngx_queue_init(&client->subscriptions);
    client->start = ngx_current_msec;

    if (ngx_centrifugo_hub_make_id(&client->hcf->hub, client->id) != NGX_OK
        || client_handle_add(client) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&client->hcf->clients, &client->link);

    client->state = NGX_CENTRIFUGO_CLIENT_NEW;

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_STALE,
                             client->hcf->stale_close_delay);

    return NGX_OK;
}


void
ngx_centrifugo_client_destroy(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_client_gone(client, 1006, "its connection ended");
    ngx_centrifugo_session_log(client);

    if (client->dirty.next) {
        ngx_queue_remove(&client->dirty);
        client->dirty.next = NULL;
    }

    ngx_centrifugo_timer_del(client);
    ngx_centrifugo_queue_drop(&client->queue, 0);
    client_handle_del(client);

    client_input_free(client);

    if (client->address) {
        ngx_centrifugo_address_leave(client->hcf, client->address);
    }

    free(client->user.data);
    free(client->command_channel.data);

    ngx_queue_remove(&client->link);
    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_GAUGE_SESSIONS,
                           -1);
}


ngx_int_t
ngx_centrifugo_client_message(ngx_centrifugo_client_t *client, u_char *data,
    size_t len)
{
    if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED
        || client->state == NGX_CENTRIFUGO_CLIENT_UNUSABLE)
    {
        return NGX_OK;
    }

    client->messages_in++;
    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_BYTES_IN,
                           len);

    if (!client->waiting) {
        client_process(client, data, len, 1);

    } else if (len == client->codec->pong.len
               && ngx_memcmp(data, client->codec->pong.data, len) == 0)
    {

        /* a pong needs no turn */

        client_pong(client);

    } else if (client_input_add(client, data, len, 1) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for its input");
    }

    return (client->input
            && ngx_centrifugo_buf_len(client->input)
               > client->hcf->message_size_limit)
           ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
client_input_add(ngx_centrifugo_client_t *client, u_char *data, size_t len,
    ngx_uint_t first)
{
    client_input_t  head;

    if (client->input == NULL) {
        client->input = calloc(1, sizeof(ngx_centrifugo_buf_t));
        if (client->input == NULL) {
            return NGX_ERROR;
        }
    }

    head.len = (uint32_t) len;
    head.first = (uint32_t) first;

    ngx_centrifugo_buf_append(client->input, &head, sizeof(client_input_t));
    ngx_centrifugo_buf_append(client->input, data, len);

    return client->input->failed ? NGX_ERROR : NGX_OK;
}


static void
client_input_free(ngx_centrifugo_client_t *client)
{
    if (client->input) {
        ngx_centrifugo_buf_free(client->input);
        free(client->input);
        client->input = NULL;
    }
}


/*
 * The commands of one message, or what is left of it.  Replies are gathered
 * and become one frame.
 */

static void
client_process(ngx_centrifugo_client_t *client, u_char *data, size_t len,
    ngx_uint_t first)
{
    u_char                    *pos, *end;
    ngx_int_t                  rc;
    ngx_str_t                  bytes;
    ngx_centrifugo_arena_t    *arena;
    ngx_centrifugo_command_t   cmd;

    arena = ngx_centrifugo_client_arena();
    pos = data;
    end = data + len;

    client->dispatching = 1;
    client_depth++;

    (void) client_turn(client);

    for ( ;; ) {
        rc = client->codec->next(&pos, end, first, &bytes);

        if (rc == NGX_DONE) {
            break;
        }

        first = 0;

        if (rc == NGX_OK) {

            if (client->state == NGX_CENTRIFUGO_CLIENT_UNUSABLE) {
                ngx_centrifugo_client_close(client,
                                          &ngx_centrifugo_disconnect_request,
                                          "a command after a failed connect");
                break;
            }

            rc = (bytes.len > client->hcf->message_size_limit) ? NGX_ERROR
                 : client->codec->decode(arena, &bytes, &cmd);
        }

        if (rc == NGX_ABORT) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_internal,
                                        "no memory for a command");
            break;
        }

        if (rc != NGX_OK) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_request,
                                        "malformed command");
            break;
        }

        client_dispatch(client, &cmd);

        if (ngx_centrifugo_buf_len(&client_replies) > CLIENT_REPLIES) {

            /*
             * A small message may ask for very much, such as presence many
             * times: what is answered counts for queue_max_size at once.
             */

            ngx_centrifugo_client_flush(client);
            ngx_centrifugo_delivery_send(client);
        }

        if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
            break;
        }

        if (!client->waiting && client_turn(client)) {
            client_later(client);
        }

        if (client->waiting) {

            if (pos < end
                && client_input_add(client, pos, end - pos, 0) != NGX_OK)
            {
                ngx_centrifugo_client_close(client,
                                          &ngx_centrifugo_disconnect_internal,
                                          "no memory for its input");
            }

            break;
        }
    }

    client->dispatching = 0;

    ngx_centrifugo_client_flush(client);

    if (--client_depth == 0) {
        ngx_centrifugo_arena_reset(arena);
    }

    ngx_centrifugo_delivery_send(client);
    ngx_centrifugo_worker_wake(client->hcf);
}


/*
 * Whether commands of this client, of whatever messages, have had their time in
 * this turn of the event loop.
 */

static ngx_uint_t
client_turn(ngx_centrifugo_client_t *client)
{
    if (client_turn_of != client->handle
        || client_turn_msec != ngx_current_msec)
    {
        client_turn_of = client->handle;
        client_turn_msec = ngx_current_msec;
        client_turn_end = ngx_centrifugo_delivery_now() + CLIENT_TIME;

        return 0;
    }

    return ngx_centrifugo_delivery_now() >= client_turn_end;
}


/*
 * The next commands wait, as if this one was answered in the next turn.
 */

static void
client_later(ngx_centrifugo_client_t *client)
{
    client_later_t  *later;

    later = calloc(1, sizeof(client_later_t));

    if (later == NULL) {
        return;
    }

    later->client = client->handle;
    later->event.handler = client_later_handler;
    later->event.data = later;
    later->event.log = ngx_cycle->log;

    client->waiting = 1;

    ngx_post_event(&later->event, &ngx_posted_next_events);
}


static void
client_later_handler(ngx_event_t *ev)
{
    client_later_t           *later;
    ngx_centrifugo_client_t  *client;

    later = ev->data;
    client = ngx_centrifugo_client_pending(later->client);

    free(later);

    if (client) {
        ngx_centrifugo_client_answered(client);
    }
}


static void
client_dispatch(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_COMMANDS,
                           1);

    if (client->state == NGX_CENTRIFUGO_CLIENT_NEW
        && cmd->method != NGX_CENTRIFUGO_CMD_CONNECT)
    {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a command before connect");
        return;
    }

    if (cmd->id == 0 && !cmd->send) {
        client_pong(client);
        return;
    }

    if (cmd->id == 0 && cmd->method != NGX_CENTRIFUGO_CMD_SEND) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a command without an id");
        return;
    }

    switch (cmd->method) {

    case NGX_CENTRIFUGO_CMD_CONNECT:
        ngx_centrifugo_client_connect(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_SUBSCRIBE:
        ngx_centrifugo_client_subscribe(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_UNSUBSCRIBE:
        ngx_centrifugo_client_unsubscribe(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_PUBLISH:
        ngx_centrifugo_client_publish(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_REFRESH:
        ngx_centrifugo_client_refresh(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_SUB_REFRESH:
        ngx_centrifugo_client_sub_refresh(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_PRESENCE:
    case NGX_CENTRIFUGO_CMD_PRESENCE_STATS:
        ngx_centrifugo_client_presence(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_HISTORY:
        ngx_centrifugo_client_history(client, cmd);
        break;

    case NGX_CENTRIFUGO_CMD_RPC:
        ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                    &ngx_centrifugo_error_unavailable,
                                    &cmd->channel, "not offered by this hub");
        break;

    case NGX_CENTRIFUGO_CMD_SEND:
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_unavailable,
                                    "an async message");
        break;

    default:
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a command without a known payload");
    }
}


static void
client_pong(ngx_centrifugo_client_t *client)
{
    if (!client->pinged || client->own_pings) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_request,
                                    "a pong without a ping");
        return;
    }

    ngx_centrifugo_client_ponged(client);
}


void
ngx_centrifugo_client_ponged(ngx_centrifugo_client_t *client)
{
    /* the timer finds nothing due when it comes */

    client->pinged = 0;
    client->due[NGX_CENTRIFUGO_DUE_PONG] = 0;
}


ngx_int_t
ngx_centrifugo_client_begin(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd)
{
    u_char  *p;

    p = NULL;

    if (cmd->channel.len) {
        p = malloc(cmd->channel.len);

        if (p == NULL) {
            ngx_centrifugo_client_error(client, cmd->id, cmd->method,
                                        &ngx_centrifugo_error_internal,
                                        &cmd->channel, "no memory");
            return NGX_ERROR;
        }

        ngx_memcpy(p, cmd->channel.data, cmd->channel.len);
    }

    client->command_id = cmd->id;
    client->command_channel.data = p;
    client->command_channel.len = cmd->channel.len;
    client->waiting = 1;

    return NGX_OK;
}


ngx_centrifugo_client_t *
ngx_centrifugo_client_pending(uint64_t handle)
{
    ngx_centrifugo_client_t  *client;

    client = ngx_centrifugo_client_find(handle);

    if (client == NULL || client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        return NULL;
    }

    return client;
}


void
ngx_centrifugo_client_answered(ngx_centrifugo_client_t *client)
{
    u_char                *p, *end;
    client_input_t         head;
    ngx_centrifugo_buf_t  *input;

    client->waiting = 0;

    free(client->command_channel.data);
    client->command_channel.data = NULL;

    if (client->dispatching) {
        return;
    }

    ngx_centrifugo_client_flush(client);
    ngx_centrifugo_delivery_send(client);

    input = client->input;

    if (input == NULL) {
        ngx_centrifugo_worker_wake(client->hcf);
        return;
    }

    /* what still waits after this comes into a new buffer, in its order */

    client->input = NULL;
    p = input->start;
    end = input->last;

    while (p < end && client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {

        ngx_memcpy(&head, p, sizeof(client_input_t));
        p += sizeof(client_input_t);

        if (client->state == NGX_CENTRIFUGO_CLIENT_UNUSABLE && head.first) {

            /* messages behind a failed connect are not heard */

            break;
        }

        if (client->waiting) {
            if (client_input_add(client, p, head.len, head.first) != NGX_OK) {
                ngx_centrifugo_client_close(client,
                                          &ngx_centrifugo_disconnect_internal,
                                          "no memory for its input");
            }

        } else {
            client_process(client, p, head.len, head.first);
        }

        p += head.len;
    }

    ngx_centrifugo_buf_free(input);
    free(input);

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED
        && (client->input == NULL
            || ngx_centrifugo_buf_len(client->input)
               <= client->hcf->message_size_limit))
    {
        client->transport->resume(client);
    }
}


void
ngx_centrifugo_client_close(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_disconnect_t *disconnect, const char *why)
{
    u_char      id[NGX_CENTRIFUGO_ID_LEN];
    ngx_uint_t  i;

    if (client->dispatching) {

        /* what was answered goes first; the queue may be full of it */

        ngx_centrifugo_client_flush(client);
    }

    if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        return;
    }

    (void) ngx_centrifugo_client_id(client, id);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %*s of user \"%V\" disconnected with "
                  "%ui \"%V\": %s", (size_t) NGX_CENTRIFUGO_ID_LEN, id,
                  ngx_centrifugo_log_str(&client->user), disconnect->code,
                  ngx_centrifugo_log_str(&disconnect->reason), why);

    for (i = 0; client_disconnects[i]; i++) {
        if (client_disconnects[i]->code == disconnect->code) {
            break;
        }
    }

    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_COUNT_DISCONNECTS + i, 1);

    client->code = (uint16_t) disconnect->code;
    client->reason = client_disconnects[i]
                     ? (const char *) client_disconnects[i]->reason.data
                     : "closed by the application";

    client_end(client);

    if (disconnect->code == ngx_centrifugo_disconnect_slow.code
        || disconnect->code == ngx_centrifugo_disconnect_write.code)
    {
        ngx_centrifugo_queue_drop(&client->queue, 1);
    }

    client->transport->close(client, disconnect->code, &disconnect->reason);

    /* the peer's part of the close is still to be read */

    client->transport->resume(client);
}


const ngx_centrifugo_disconnect_t *
ngx_centrifugo_client_disconnect(ngx_uint_t i)
{
    return client_disconnects[i];
}


void
ngx_centrifugo_client_drain(ngx_centrifugo_hub_conf_t *hcf, ngx_msec_t span)
{
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    for (q = ngx_queue_head(&hcf->clients);
         q != ngx_queue_sentinel(&hcf->clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, link);

        if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
            ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_DRAIN,
                                     1 + ngx_centrifugo_timer_jitter(span));
        }
    }
}


void
ngx_centrifugo_client_gone(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const char *why)
{
    u_char  id[NGX_CENTRIFUGO_ID_LEN];

    if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        return;
    }

    (void) ngx_centrifugo_client_id(client, id);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %*s of user \"%V\" left: %s",
                  (size_t) NGX_CENTRIFUGO_ID_LEN, id,
                  ngx_centrifugo_log_str(&client->user), why);

    client->code = (uint16_t) code;
    client->reason = why;

    client_end(client);
}


void
ngx_centrifugo_client_abandon(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    for (q = ngx_queue_head(&hcf->clients);
         q != ngx_queue_sentinel(&hcf->clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, link);

        if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
            client->code = 1006;
            client->reason = "its worker ended";
        }

        ngx_centrifugo_session_log(client);
    }
}


static void
client_end(ngx_centrifugo_client_t *client)
{
    if (client->nsubscriptions) {
        ngx_centrifugo_client_unsubscribe_all(client);
    }

    ngx_centrifugo_user_leave(client);

    if (client->state == NGX_CENTRIFUGO_CLIENT_CONNECTED) {
        ngx_centrifugo_hub_add(&client->hcf->hub,
                               NGX_CENTRIFUGO_GAUGE_CLIENTS, -1);
    }

    client->state = NGX_CENTRIFUGO_CLIENT_CLOSED;

    client_input_free(client);

    ngx_memzero(client->due, sizeof(client->due));
    ngx_centrifugo_timer_del(client);
}


void
ngx_centrifugo_client_error(ngx_centrifugo_client_t *client, uint32_t id,
    ngx_centrifugo_method_e method, const ngx_centrifugo_error_t *err,
    const ngx_str_t *channel, const char *why)
{
    u_char  uuid[NGX_CENTRIFUGO_ID_LEN];

    (void) ngx_centrifugo_client_id(client, uuid);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %*s of user \"%V\": %V of channel \"%V\" "
                  "failed with %ui \"%V\": %s",
                  (size_t) NGX_CENTRIFUGO_ID_LEN, uuid,
                  ngx_centrifugo_log_str(&client->user),
                  ngx_centrifugo_method_name(method),
                  ngx_centrifugo_log_str(channel), err->code,
                  &err->message, why);

    ngx_centrifugo_hub_add(&client->hcf->hub,
                           NGX_CENTRIFUGO_COUNT_REPLY_ERRORS, 1);

    client->codec->error(ngx_centrifugo_client_reply(client), id, err);

    if (client->state == NGX_CENTRIFUGO_CLIENT_NEW) {

        /* the peer is expected to close; it is not heard any more */

        client->state = NGX_CENTRIFUGO_CLIENT_UNUSABLE;

        ngx_centrifugo_client_unsubscribe_all(client);
        ngx_centrifugo_user_leave(client);
        client->due[NGX_CENTRIFUGO_DUE_EXPIRE] = 0;
        client->due[NGX_CENTRIFUGO_DUE_SUBSCRIPTION] = 0;

        ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_END,
                                 CLIENT_END_DELAY);
    }
}


ngx_centrifugo_buf_t *
ngx_centrifugo_client_reply(ngx_centrifugo_client_t *client)
{
    if (client_replier && client_replier != client) {

        /* another's command is answered while this one's is in hand */

        ngx_centrifugo_client_flush(client_replier);
    }

    client_replier = client;

    if (ngx_centrifugo_buf_len(&client_replies)) {
        client->codec->part(&client_replies);
    }

    return &client_replies;
}


void
ngx_centrifugo_client_flush(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_frame_t  *frame;

    if (client_replier != client) {
        return;
    }

    client_replier = NULL;

    frame = client_replies.failed ? NULL
            : client->transport->frame(client, client_replies.start,
                                   ngx_centrifugo_buf_len(&client_replies));

    ngx_centrifugo_buf_reset(&client_replies);

    if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {

        /* the close frame is behind what was queued before it */

        if (frame) {
            ngx_centrifugo_frame_release(frame);
        }

        return;
    }

    if (frame == NULL) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for a reply");
        return;
    }

    ngx_centrifugo_delivery_append(client, frame);
    ngx_centrifugo_frame_release(frame);
}


size_t
ngx_centrifugo_client_room(ngx_centrifugo_client_t *client)
{
    size_t  taken;

    taken = client->queue.bytes;

    if (client_replier == client) {
        taken += ngx_centrifugo_buf_len(&client_replies);
    }

    return (taken < client->hcf->queue_max_size)
           ? client->hcf->queue_max_size - taken : 0;
}


ngx_centrifugo_buf_t *
ngx_centrifugo_client_push_begin(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_buf_reset(&client_push);

    return &client_push;
}


void
ngx_centrifugo_client_push_end(ngx_centrifugo_client_t *client,
    ngx_centrifugo_buf_t *b)
{
    ngx_centrifugo_frame_t  *frame;

    /* what was answered goes first */

    ngx_centrifugo_client_flush(client);

    if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        return;
    }

    frame = b->failed ? NULL
            : client->transport->frame(client, b->start,
                                       ngx_centrifugo_buf_len(b));
    if (frame == NULL) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for a push");
        return;
    }

    ngx_centrifugo_delivery_append(client, frame);
    ngx_centrifugo_frame_release(frame);

    if (!client->dispatching) {
        ngx_centrifugo_delivery_send(client);
    }
}


u_char *
ngx_centrifugo_client_id(ngx_centrifugo_client_t *client, u_char *p)
{
    return ngx_centrifugo_id_print(p, client->id);
}


ngx_centrifugo_arena_t *
ngx_centrifugo_client_arena(void)
{
    if (client_arena.size == 0) {
        ngx_centrifugo_arena_init(&client_arena, CLIENT_ARENA);
    }

    return &client_arena;
}


ngx_centrifugo_client_t *
ngx_centrifugo_client_find(uint64_t handle)
{
    uint32_t          i;
    client_handle_t  *h;

    i = (uint32_t) handle;

    if (i >= client_nhandles) {
        return NULL;
    }

    h = &client_handles[i];

    return (h->generation == handle >> 32) ? h->client : NULL;
}


static ngx_int_t
client_handle_add(ngx_centrifugo_client_t *client)
{
    uint32_t          i, n;
    client_handle_t  *h;

    if (client_free == NGX_MAX_UINT32_VALUE) {

        n = client_nhandles ? client_nhandles * 2 : 64;

        h = realloc(client_handles, n * sizeof(client_handle_t));
        if (h == NULL) {
            return NGX_ERROR;
        }

        client_handles = h;

        for (i = client_nhandles; i < n; i++) {
            h[i].client = NULL;
            h[i].generation = 0;
            h[i].next = client_free;
            client_free = i;
        }

        client_nhandles = n;
    }

    i = client_free;
    h = &client_handles[i];
    client_free = h->next;

    h->client = client;
    client->handle = (uint64_t) h->generation << 32 | i;

    return NGX_OK;
}


static void
client_handle_del(ngx_centrifugo_client_t *client)
{
    uint32_t          i;
    client_handle_t  *h;

    i = (uint32_t) client->handle;
    h = &client_handles[i];

    h->client = NULL;
    h->generation++;
    h->next = client_free;
    client_free = i;
}
