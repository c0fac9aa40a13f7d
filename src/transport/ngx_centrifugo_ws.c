/*
 * A WebSocket session: bytes of the socket to messages of the client, frames
 * of the client to the socket, and both directions of the close.
 */

#include "ngx_centrifugo_ws.h"
#include "ngx_centrifugo_ws_deflate.h"
#include "ngx_centrifugo_ws_output.h"
#include "../client/ngx_centrifugo_delivery.h"
#include "../client/ngx_centrifugo_timer.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../protocol/ngx_centrifugo_utf8.h"

#if (NGX_CENTRIFUGO_TEST)
#include "../test/ngx_centrifugo_test.h"
#endif


#define WS_READ_SIZE   (32 * 1024)
#define WS_INFLATED    (WS_READ_SIZE * WS_READS)    /* of one event, or so */
#define WS_READS       8            /* of one event */
#define WS_WRITES      64
#define WS_END_DELAY   5000         /* ms, for the peer's close frame */
#define WS_LOST_DELAY  2000         /* ms, when its frame was not read whole */


static ngx_centrifugo_frame_t *ws_make(ngx_centrifugo_client_t *client,
    const u_char *data, size_t len);
static ngx_centrifugo_frame_t *ws_make_deflated(
    ngx_centrifugo_client_t *client, const u_char *data, size_t len);
static ngx_int_t ws_send(ngx_centrifugo_client_t *client);
static void ws_close(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const ngx_str_t *reason);
static void ws_resume(ngx_centrifugo_client_t *client);
static void ws_ping(ngx_centrifugo_client_t *client);

static void ws_read_handler(ngx_event_t *rev);
static void ws_write_handler(ngx_event_t *wev);
static void ws_read(ngx_centrifugo_ws_t *ws);
static ngx_int_t ws_input(ngx_centrifugo_ws_t *ws, u_char *p, u_char *last);
static size_t ws_limit(ngx_centrifugo_ws_t *ws);
static ngx_int_t ws_frames(ngx_centrifugo_ws_t *ws, u_char **pos, u_char *end);
static ngx_int_t ws_frame(ngx_centrifugo_ws_t *ws,
    ngx_centrifugo_ws_frame_t *frame);
static ngx_int_t ws_message(ngx_centrifugo_ws_t *ws, u_char *data,
    size_t len);
static ngx_uint_t ws_inflate(ngx_centrifugo_ws_t *ws, u_char **data,
    size_t *len);
static ngx_int_t ws_peer_close(ngx_centrifugo_ws_t *ws,
    ngx_centrifugo_ws_frame_t *frame);
#if (NGX_CENTRIFUGO_TEST)
static void ws_echo(ngx_centrifugo_ws_t *ws, u_char *data, size_t len);
#endif
static void ws_fail(ngx_centrifugo_ws_t *ws, ngx_uint_t code);
static void ws_control(ngx_centrifugo_ws_t *ws, ngx_uint_t opcode,
    u_char *data, size_t len);
static void ws_close_frame(ngx_centrifugo_ws_t *ws, ngx_uint_t code,
    const ngx_str_t *reason);
static void ws_close_send(ngx_centrifugo_ws_t *ws);
static void ws_drain(ngx_centrifugo_ws_t *ws);
static void ws_end(ngx_centrifugo_ws_t *ws);
static void ws_destroy(ngx_centrifugo_ws_t *ws);


static const ngx_centrifugo_transport_t  ws_transport = {
    ngx_string("websocket"),
    ws_make,
    ws_send,
    ws_close,
    ws_resume,
    ws_ping
};

/* another one, so that its clients have frames of their own */

static const ngx_centrifugo_transport_t  ws_transport_deflate = {
    ngx_string("websocket"),
    ws_make_deflated,
    ws_send,
    ws_close,
    ws_resume,
    ws_ping
};


/* of this worker: no session has buffers while it is idle */

static u_char  ws_read_buf[WS_READ_SIZE];
static size_t  ws_inflated;     /* bytes, by the event that runs */


void
ngx_centrifugo_ws_start(ngx_connection_t *c, ngx_centrifugo_loc_conf_t *lcf,
    ngx_centrifugo_admission_t *admission, const ngx_str_t *early)
{
    ngx_centrifugo_ws_t  *ws;

    ws = calloc(1, sizeof(ngx_centrifugo_ws_t));

    if (ws == NULL) {
        ngx_centrifugo_admission_release(admission);
        ngx_http_close_connection(c);
        return;
    }

    ws->connection = c;
    ws->deflate = admission->deflate;
    ws->client.transport = ws->deflate ? &ws_transport_deflate
                                       : &ws_transport;
    ws->client.codec = admission->codec;
    ws->client.own_pings = admission->frame_pings;
    ws->client.hcf = lcf->hub;
    ws->client.log = c->log;
    ws->client.addr = &c->addr_text;

    if (ngx_centrifugo_client_init(&ws->client) != NGX_OK) {
        ngx_centrifugo_admission_release(admission);
        free(ws);
        ngx_http_close_connection(c);
        return;
    }

    (void) ngx_tcp_nodelay(c);

#if (NGX_HTTP_SSL)
    if (c->ssl) {

        /* a write that waits is tried again from another buffer */

        SSL_set_mode(c->ssl->connection, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
#endif

#if (NGX_CENTRIFUGO_TEST)
    if (lcf->endpoint->kind == NGX_CENTRIFUGO_ENDPOINT_ECHO) {
        ws->echo = 1;
        ngx_centrifugo_timer_set(&ws->client, NGX_CENTRIFUGO_DUE_STALE, 0);
    }
#endif

    if (ngx_centrifugo_admission_use(admission, &ws->client) != NGX_OK) {
        ngx_centrifugo_client_destroy(&ws->client);
        free(ws);
        ngx_http_close_connection(c);
        return;
    }

    c->data = ws;
    c->read->handler = ws_read_handler;
    c->write->handler = ws_write_handler;
    c->idle = 1;

    if (ngx_exiting) {

        /* NGINX asks idle connections to end once, and has done so */

        ws_drain(ws);
    }

    ws->client.bytes_in += early->len;

    if (early->len && ws_input(ws, early->data, early->data + early->len)
                      == NGX_ERROR)
    {
        ws_end(ws);
        return;
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ws_read_handler(ngx_event_t *rev)
{
    ngx_connection_t     *c;
    ngx_centrifugo_ws_t  *ws;

    c = rev->data;
    ws = c->data;

    if (ws->ended || c->error) {
        ws_destroy(ws);
        return;
    }

    if (c->close && !ws->draining) {
        ws_drain(ws);
    }

    ws_read(ws);
}


static void
ws_read(ngx_centrifugo_ws_t *ws)
{
    ssize_t            n;
    ngx_uint_t         i;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ws->connection;
    rev = c->read;

    ws_inflated = 0;

    if (ws->resumed) {
        ws->resumed = 0;

        if (ws_input(ws, ws_read_buf, ws_read_buf) != NGX_OK) {
            ws_destroy(ws);
            return;
        }

        if (ws->ended) {
            return;
        }
    }

    for (i = 0;
         i < WS_READS && rev->ready && !ws->paused && !ws->resumed;
         i++)
    {

        n = c->recv(c, ws_read_buf, WS_READ_SIZE);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_centrifugo_client_gone(&ws->client, 1006,
                                       n ? "its connection failed"
                                         : "it closed the connection");
            ws_destroy(ws);
            return;
        }

        ws->client.bytes_in += n;

        if (ws_input(ws, ws_read_buf, ws_read_buf + n) != NGX_OK) {
            ws_destroy(ws);
            return;
        }

        if (ws->ended) {
            return;
        }
    }

    if (rev->ready && !ws->paused) {
        ngx_post_event(rev, &ngx_posted_next_events);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_centrifugo_client_gone(&ws->client, 1006, "its event failed");
        ws_destroy(ws);
        return;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}


/*
 * Bytes of the socket, perhaps behind those of an incomplete frame.  What is
 * left over is kept in memory that grows with what really came.
 * NGX_ERROR: the session is over.
 */

static ngx_int_t
ws_input(ngx_centrifugo_ws_t *ws, u_char *p, u_char *last)
{
    size_t      rest;
    ngx_int_t   rc;
    ngx_uint_t  own;

    if (ws->skip) {
        rest = ngx_min(ws->skip, (size_t) (last - p));
        p += rest;

        if (ws->skip != NGX_MAX_SIZE_T_VALUE) {
            ws->skip -= rest;
        }

        if (p == last) {
            return NGX_OK;
        }
    }

    own = (ngx_centrifugo_buf_len(&ws->in) != 0);

    if (own) {
        ngx_centrifugo_buf_append(&ws->in, p, last - p);

        if (ws->in.failed) {
            ngx_centrifugo_client_gone(&ws->client, 1006,
                                       "no memory for its input");
            return NGX_ERROR;
        }

        p = ws->in.start;
        last = ws->in.last;
    }

    rc = ws_frames(ws, &p, last);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    rest = last - p;

    if (rest == 0) {
        ngx_centrifugo_buf_free(&ws->in);
        return NGX_OK;
    }

    if (own) {
        ngx_memmove(ws->in.start, p, rest);
        ws->in.last = ws->in.start + rest;
        return NGX_OK;
    }

    ngx_centrifugo_buf_append(&ws->in, p, rest);

    if (ws->in.failed) {
        ngx_centrifugo_client_gone(&ws->client, 1006,
                                       "no memory for its input");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* Bytes that a message may have. */

static size_t
ws_limit(ngx_centrifugo_ws_t *ws)
{
#if (NGX_CENTRIFUGO_TEST)
    if (ws->echo) {
        return NGX_CENTRIFUGO_ECHO_LIMIT;
    }
#endif

    return ws->client.hcf->message_size_limit;
}


/*
 * All whole frames in [*pos, end).  NGX_OK: *pos is behind the last one taken;
 * NGX_ERROR: the session is over.
 */

static ngx_int_t
ws_frames(ngx_centrifugo_ws_t *ws, u_char **pos, u_char *end)
{
    size_t                      need, limit;
    ngx_int_t                   rc;
    ngx_uint_t                  code, state;
    ngx_centrifugo_ws_frame_t   frame;

    limit = ws_limit(ws);

    if (ws->deflate) {
        limit = NGX_CENTRIFUGO_WS_DEFLATED(limit);
    }

    while (*pos < end && !ws->paused && !ws->ended) {

        if (ws_inflated >= WS_INFLATED) {

            /* few bytes may be much work: others have their turn, too */

            ws->resumed = 1;
            ngx_post_event(ws->connection->read, &ngx_posted_next_events);
            return NGX_OK;
        }

        state = (ws->fragmented ? NGX_CENTRIFUGO_WS_OPEN : 0)
                | (ws->deflate ? NGX_CENTRIFUGO_WS_EXTENDED : 0);

        rc = ngx_centrifugo_ws_parse(pos, end, state,
                                     ngx_centrifugo_buf_len(&ws->message),
                                     limit, &frame, &need, &code);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc == NGX_ERROR) {

            /*
             * Too long a message is passed over to find the answer to the
             * close; after anything else no byte can be trusted.
             */

            ws->skip = (code == 1009) ? need - ngx_min(need,
                                                       (size_t) (end - *pos))
                                      : NGX_MAX_SIZE_T_VALUE;

            *pos = (code == 1009 && need < (size_t) (end - *pos))
                   ? *pos + need : end;

            ws_fail(ws, code);
            continue;
        }

        if (ws_frame(ws, &frame) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (ws->ended) {
        *pos = end;
    }

    return NGX_OK;
}


static ngx_int_t
ws_frame(ngx_centrifugo_ws_t *ws, ngx_centrifugo_ws_frame_t *frame)
{
    ngx_int_t  rc;

    switch (frame->opcode) {

    case NGX_CENTRIFUGO_WS_PING:

        if (!ws->closing) {
            ws_control(ws, NGX_CENTRIFUGO_WS_PONG, frame->payload, frame->len);
        }

        return NGX_OK;

    case NGX_CENTRIFUGO_WS_PONG:

        if (ws->client.own_pings) {
            ngx_centrifugo_client_ponged(&ws->client);
        }

        return NGX_OK;

    case NGX_CENTRIFUGO_WS_CLOSE:
        return ws_peer_close(ws, frame);

    case NGX_CENTRIFUGO_WS_CONT:
        break;

    default:
        ws->text = (frame->opcode == NGX_CENTRIFUGO_WS_TEXT);
        ws->compressed = frame->compressed;
    }

    if (frame->fin && !ws->fragmented) {
        return ws_message(ws, frame->payload, frame->len);
    }

    ws->fragmented = 1;
    ngx_centrifugo_buf_append(&ws->message, frame->payload, frame->len);

    if (ws->message.failed) {
        ngx_centrifugo_client_gone(&ws->client, 1006,
                                   "no memory for its message");
        return NGX_ERROR;
    }

    if (!frame->fin) {
        return NGX_OK;
    }

    ws->fragmented = 0;

    rc = ws_message(ws, ws->message.start,
                    ngx_centrifugo_buf_len(&ws->message));

    ngx_centrifugo_buf_free(&ws->message);

    return rc;
}


static ngx_int_t
ws_message(ngx_centrifugo_ws_t *ws, u_char *data, size_t len)
{
    if (ws->closing) {
        return NGX_OK;
    }

    if (ws->deflate && !ws_inflate(ws, &data, &len)) {
        return NGX_OK;
    }

    if (ws->text && ngx_centrifugo_utf8_validate(data, len) != NGX_OK) {
        ws_fail(ws, 1007);
        return NGX_OK;
    }

#if (NGX_CENTRIFUGO_TEST)
    if (ws->echo) {
        ws_echo(ws, data, len);
        return NGX_OK;
    }
#endif

    if (ngx_centrifugo_client_message(&ws->client, data, len) == NGX_AGAIN) {
        ws->paused = 1;
    }

    return NGX_OK;
}


/*
 * The message that came, if it is compressed; 0: it was wrong, which the peer
 * is told.
 */

static ngx_uint_t
ws_inflate(ngx_centrifugo_ws_t *ws, u_char **data, size_t *len)
{
    size_t     limit;
    ngx_str_t  message;

    limit = ws_limit(ws);

    if (!ws->compressed) {

        /* frames were let through as if they were */

        if (*len <= limit) {
            return 1;
        }

        ws_fail(ws, 1009);
        return 0;
    }

    switch (ngx_centrifugo_ws_inflate(*data, *len, limit, &message)) {

    case NGX_OK:
        *data = message.data;
        *len = message.len;
        ws_inflated += message.len;
        return 1;

    case NGX_DECLINED:
        ws_fail(ws, 1009);
        return 0;

    case NGX_ERROR:
        ws_fail(ws, 1007);
        return 0;

    default:
        ws_fail(ws, 1011);
        return 0;
    }
}


#if (NGX_CENTRIFUGO_TEST)

static void
ws_echo(ngx_centrifugo_ws_t *ws, u_char *data, size_t len)
{
    ngx_uint_t               opcode;
    ngx_centrifugo_frame_t  *frame;

    opcode = ws->text ? NGX_CENTRIFUGO_WS_TEXT : NGX_CENTRIFUGO_WS_BINARY;

    frame = ws->deflate
            ? ngx_centrifugo_ws_output_deflated(ws->client.hcf, opcode, data,
                                                len)
            : ngx_centrifugo_ws_output_frame(opcode, data, len);

    if (frame) {
        (void) ngx_centrifugo_queue_push(&ws->client.queue, frame);
        ngx_centrifugo_frame_release(frame);
        ngx_centrifugo_delivery_send(&ws->client);
    }
}

#endif


/*
 * The peer begins to close, or answers our close frame.
 */

static ngx_int_t
ws_peer_close(ngx_centrifugo_ws_t *ws, ngx_centrifugo_ws_frame_t *frame)
{
    ngx_str_t   reason;
    ngx_uint_t  code;

    if (ws->closing) {
        ws_end(ws);
        return NGX_OK;
    }

    /* the socket is closed when the answer is on its way */

    ws->peer_closed = 1;

    if (ngx_centrifugo_ws_parse_close(frame->payload, frame->len, &code,
                                      &reason)
        != NGX_OK)
    {
        ws_fail(ws, code);
        return NGX_OK;
    }

    ngx_centrifugo_client_gone(&ws->client, code, "it closed the session");

    ngx_str_null(&reason);
    ws_close_frame(ws, code, &reason);

    return NGX_OK;
}


/*
 * The peer broke RFC 6455.
 */

static void
ws_fail(ngx_centrifugo_ws_t *ws, ngx_uint_t code)
{
    ngx_str_t  none = ngx_null_string;

    if (ws->closing) {
        ws_end(ws);
        return;
    }

    ngx_centrifugo_client_gone(&ws->client, code,
                               code == 1009 ? "its message is larger than "
                                              "message_size_limit"
                               : code == 1007 ? "its text is not UTF-8, or a "
                                                "message badly compressed"
                               : code == 1011 ? "no memory for its message"
                               : "its frame is against RFC 6455");

    ws_close_frame(ws, code, &none);
}


static void
ws_control(ngx_centrifugo_ws_t *ws, ngx_uint_t opcode, u_char *data,
    size_t len)
{
    ngx_centrifugo_frame_t  *frame;

    frame = ngx_centrifugo_ws_output_frame(opcode, data, len);
    if (frame == NULL) {
        return;
    }

    ngx_centrifugo_delivery_append(&ws->client, frame);
    ngx_centrifugo_frame_release(frame);

    ngx_centrifugo_delivery_send(&ws->client);
}


/*
 * Queues the close frame; nothing follows it.  The client has ended already.
 */

static void
ws_close_frame(ngx_centrifugo_ws_t *ws, ngx_uint_t code,
    const ngx_str_t *reason)
{
    u_char                   payload[NGX_CENTRIFUGO_WS_MAX_CONTROL];
    size_t                   len;
    ngx_msec_t               delay, span, left;
    ngx_centrifugo_frame_t  *frame;

    ws->closing = 1;

    len = 0;

    if (code != 1005) {
        payload[0] = (u_char) (code >> 8);
        payload[1] = (u_char) code;

        len = ngx_min(reason->len, NGX_CENTRIFUGO_WS_MAX_CONTROL - 2);

        if (len) {
            ngx_memcpy(&payload[2], reason->data, len);
        }

        len += 2;
    }

    frame = ngx_centrifugo_ws_output_frame(NGX_CENTRIFUGO_WS_CLOSE, payload,
                                           len);

    if (frame) {
        frame->close = 1;

        if (ngx_centrifugo_queue_push(&ws->client.queue, frame) != NGX_OK) {
            ngx_centrifugo_frame_release(frame);
            frame = NULL;
        }
    }

    if (frame == NULL) {
        ws_end(ws);
        return;
    }

    ngx_centrifugo_frame_release(frame);

    delay = ws->skip ? WS_LOST_DELAY : WS_END_DELAY;

    if (ws->draining) {
        ngx_centrifugo_worker_drain(ws->client.hcf, &span, &left);
        delay = ngx_max(ngx_min(delay, left), 100);
    }

    ngx_centrifugo_timer_set(&ws->client, NGX_CENTRIFUGO_DUE_END, delay);

    ws_close_send(ws);
}


static void
ws_close_send(ngx_centrifugo_ws_t *ws)
{
    switch (ws_send(&ws->client)) {

    case NGX_OK:
        if (ws->peer_closed) {
            ws_end(ws);
        }

        break;

    case NGX_AGAIN:
        break;

    default:
        ws_end(ws);
    }
}


static ngx_centrifugo_frame_t *
ws_make(ngx_centrifugo_client_t *client, const u_char *data, size_t len)
{
    return ngx_centrifugo_ws_output_frame(client->codec->json
                                          ? NGX_CENTRIFUGO_WS_TEXT
                                          : NGX_CENTRIFUGO_WS_BINARY,
                                          data, len);
}


static ngx_centrifugo_frame_t *
ws_make_deflated(ngx_centrifugo_client_t *client, const u_char *data,
    size_t len)
{
    return ngx_centrifugo_ws_output_deflated(client->hcf,
                                             client->codec->json
                                             ? NGX_CENTRIFUGO_WS_TEXT
                                             : NGX_CENTRIFUGO_WS_BINARY,
                                             data, len);
}


static ngx_int_t
ws_send(ngx_centrifugo_client_t *client)
{
    ssize_t                  n;
    ngx_uint_t               i;
    ngx_connection_t        *c;
    ngx_centrifugo_ws_t     *ws;
    ngx_centrifugo_queue_t  *queue;

    ws = (ngx_centrifugo_ws_t *) client;
    c = ws->connection;
    queue = &client->queue;

    if (ws->ended) {
        ngx_centrifugo_queue_drop(queue, 0);
        return NGX_OK;
    }

    for (i = 0; i < WS_WRITES; i++) {

        if (queue->bytes == 0) {
            return NGX_OK;
        }

        if (!c->write->ready) {
            break;
        }

        n = ngx_centrifugo_ws_output(c, queue);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        client->bytes_out += n;
        client->messages_out += ngx_centrifugo_queue_sent(queue, n);
        ngx_centrifugo_hub_add(&client->hcf->hub,
                               NGX_CENTRIFUGO_COUNT_BYTES_OUT, n);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    if (c->write->ready) {
        ngx_post_event(c->write, &ngx_posted_next_events);
    }

    return NGX_AGAIN;
}


static void
ws_write_handler(ngx_event_t *wev)
{
    ngx_connection_t     *c;
    ngx_centrifugo_ws_t  *ws;

    c = wev->data;
    ws = c->data;

    if (ws->ended) {
        return;
    }

    if (ws->closing) {
        ws_close_send(ws);
        return;
    }

    ngx_centrifugo_delivery_send(&ws->client);
}


static void
ws_close(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const ngx_str_t *reason)
{
    ngx_centrifugo_ws_t  *ws;

    ws = (ngx_centrifugo_ws_t *) client;

    if (code == 0) {
        ws_end(ws);
        return;
    }

#if (NGX_HTTP_SSL)
    if (ws->connection->ssl && !ws->connection->write->ready) {

        /* OpenSSL wants to go on with exactly what it could not write */

        ws_end(ws);
        return;
    }
#endif

    ws_close_frame(ws, code, reason);
}


static void
ws_resume(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_ws_t  *ws;

    ws = (ngx_centrifugo_ws_t *) client;

    if (!ws->paused || ws->ended) {
        return;
    }

    /* frames may wait in ws->in, so the handler runs even without new bytes */

    ws->paused = 0;
    ws->resumed = 1;

    ngx_post_event(ws->connection->read, &ngx_posted_events);
}


static void
ws_ping(ngx_centrifugo_client_t *client)
{
    ws_control((ngx_centrifugo_ws_t *) client, NGX_CENTRIFUGO_WS_PING, NULL,
               0);
}


/*
 * The worker is about to end: sessions leave at random moments, so that their
 * clients do not come to the new workers all at once.
 */

static void
ws_drain(ngx_centrifugo_ws_t *ws)
{
    ngx_msec_t  span, left, rest;

    ws->draining = 1;
    ws->connection->idle = 0;

    ngx_centrifugo_worker_drain(ws->client.hcf, &span, &left);

    if (ws->client.state == NGX_CENTRIFUGO_CLIENT_CLOSED) {

        /* it is closing already, and has no longer for that than others */

        if (ws->client.due[NGX_CENTRIFUGO_DUE_END]) {
            rest = ws->client.due[NGX_CENTRIFUGO_DUE_END] - ngx_current_msec;

            if ((ngx_msec_int_t) rest > (ngx_msec_int_t) left) {
                ngx_centrifugo_timer_set(&ws->client, NGX_CENTRIFUGO_DUE_END,
                                         ngx_max(left, 100));
            }
        }

        return;
    }

    ngx_centrifugo_timer_set(&ws->client, NGX_CENTRIFUGO_DUE_DRAIN,
                             1 + ngx_centrifugo_timer_jitter(span));
}


/*
 * Ends the session from anywhere: what runs now may still look at it, so it is
 * destroyed by the next event.
 */

static void
ws_end(ngx_centrifugo_ws_t *ws)
{
    if (ws->ended) {
        return;
    }

    ws->ended = 1;

    ngx_centrifugo_client_gone(&ws->client, 1006, "its connection ended");
    ngx_post_event(ws->connection->read, &ngx_posted_events);
}


static void
ws_destroy(ngx_centrifugo_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    ngx_centrifugo_client_destroy(&ws->client);
    ngx_centrifugo_buf_free(&ws->in);
    ngx_centrifugo_buf_free(&ws->message);

    free(ws);

    ngx_http_close_connection(c);
}
