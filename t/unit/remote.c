#include "remote.h"
#include "client/ngx_centrifugo_delivery.h"
#include "client/ngx_centrifugo_timer.h"
#include "client/ngx_centrifugo_worker.h"
#include "broker/ngx_centrifugo_request.h"


#define REMOTE_PIECE      16384     /* bytes of one message in the ring */
#define REMOTE_WINDOW     16384     /* for messages of the peer */
#define REMOTE_END_DELAY  5000      /* ms to get rid of what is queued */
#define REMOTE_PROBE      5000      /* ms of silence until a peer asks */
#define REMOTE_TIMEOUT    5000      /* ms for a session to be made */

/* messages for a live session are never too late */
#define REMOTE_DEADLINE   ((uint64_t) ngx_current_msec + (1ULL << 62))


/* kinds of requests; the request's id is the handle of the end it is for */
typedef enum {
    REMOTE_OPEN = 8,        /* to the session's worker */
    REMOTE_INPUT,
    REMOTE_CONSUMED,
    REMOTE_LEFT,
    REMOTE_OUTPUT,          /* to the peer's */
    REMOTE_TAKEN,
    REMOTE_CLOSE,
    REMOTE_GONE
} remote_kind_e;

/* how each message begins */
typedef struct {
    uint64_t                      from;     /* handle of the sender's end */
    uint64_t                      pos;      /* of the stream */
    uint32_t                      code;
    uint32_t                      last;     /* a frame or message ends */
} remote_head_t;

typedef struct {
    uint64_t                      from;
    uint64_t                      window;
} remote_open_t;

/* in front of each message in peer->in */
typedef struct {
    uint32_t                      len;
    uint32_t                      left;
} remote_input_t;


static ngx_centrifugo_frame_t *remote_frame(ngx_centrifugo_client_t *client,
    const u_char *data, size_t len);
static ngx_int_t remote_send(ngx_centrifugo_client_t *client);
static void remote_close(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const ngx_str_t *reason);
static void remote_resume(ngx_centrifugo_client_t *client);

static ngx_int_t remote_message(ngx_centrifugo_remote_end_t *end,
    ngx_uint_t kind, remote_head_t *head, const ngx_str_t *data);
static ngx_int_t remote_parse(ngx_centrifugo_request_t *request,
    remote_head_t *head, ngx_str_t *data);
static void remote_unknown(ngx_centrifugo_request_t *request,
    ngx_uint_t kind, uint64_t there);
static size_t remote_piece(ngx_centrifugo_hub_t *hub);

static void remote_on_open(ngx_centrifugo_request_t *request);
static void remote_on_input(ngx_centrifugo_request_t *request);
static void remote_on_consumed(ngx_centrifugo_request_t *request);
static void remote_on_left(ngx_centrifugo_request_t *request);
static ngx_centrifugo_remote_t *remote_session(
    ngx_centrifugo_request_t *request, remote_head_t *head, ngx_str_t *data);
static void remote_taken(ngx_centrifugo_remote_t *s);
static void remote_write(ngx_centrifugo_remote_t *s);
static void remote_end(ngx_centrifugo_remote_t *s, const char *why);
static void remote_destroy_handler(ngx_event_t *ev);

static void remote_on_output(ngx_centrifugo_request_t *request);
static void remote_on_taken(ngx_centrifugo_request_t *request);
static void remote_on_close(ngx_centrifugo_request_t *request);
static void remote_on_gone(ngx_centrifugo_request_t *request);
static ngx_centrifugo_remote_peer_t *remote_find(uint64_t handle);
static ngx_centrifugo_remote_peer_t *remote_peer(
    ngx_centrifugo_request_t *request, remote_head_t *head, ngx_str_t *data);
static void remote_opened(uint64_t handle, ngx_uint_t slot,
    const ngx_str_t *data);
static void remote_open_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc);
static void remote_input_send(ngx_centrifugo_remote_peer_t *peer);
static void remote_consumed_send(ngx_centrifugo_remote_peer_t *peer,
    ngx_uint_t all);
static void remote_peer_end(ngx_centrifugo_remote_peer_t *peer,
    ngx_uint_t code, const ngx_str_t *reason);


const ngx_centrifugo_transport_t  ngx_centrifugo_remote_transport = {
    ngx_string("remote"),
    remote_frame,
    remote_send,
    remote_close,
    remote_resume,
    NULL
};

static ngx_queue_t        remote_sessions;
static ngx_rbtree_t       remote_tree;
static ngx_rbtree_node_t  remote_sentinel;
static ngx_queue_t        remote_peers;
static uint64_t           remote_next;


void
ngx_centrifugo_remote_init(void)
{
    ngx_queue_init(&remote_sessions);
    ngx_queue_init(&remote_peers);
    ngx_rbtree_init(&remote_tree, &remote_sentinel, ngx_rbtree_insert_value);

    ngx_centrifugo_request_handler(REMOTE_OPEN, remote_on_open);
    ngx_centrifugo_request_handler(REMOTE_INPUT, remote_on_input);
    ngx_centrifugo_request_handler(REMOTE_CONSUMED, remote_on_consumed);
    ngx_centrifugo_request_handler(REMOTE_LEFT, remote_on_left);
    ngx_centrifugo_request_handler(REMOTE_OUTPUT, remote_on_output);
    ngx_centrifugo_request_handler(REMOTE_TAKEN, remote_on_taken);
    ngx_centrifugo_request_handler(REMOTE_CLOSE, remote_on_close);
    ngx_centrifugo_request_handler(REMOTE_GONE, remote_on_gone);
}


ngx_uint_t
ngx_centrifugo_remote_count(void)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    n = 0;

    for (q = ngx_queue_head(&remote_sessions);
         q != ngx_queue_sentinel(&remote_sessions);
         q = ngx_queue_next(q))
    {
        n++;
    }

    for (q = ngx_queue_head(&remote_peers);
         q != ngx_queue_sentinel(&remote_peers);
         q = ngx_queue_next(q))
    {
        n++;
    }

    return n;
}


/*
 * A message is never larger than one part of the ring: it is there whole or
 * not at all.  NGX_OK; NGX_AGAIN: the ring is full; NGX_ERROR: nobody is
 * there.
 */

static ngx_int_t
remote_message(ngx_centrifugo_remote_end_t *end, ngx_uint_t kind,
    remote_head_t *head, const ngx_str_t *data)
{
    ngx_int_t      rc;
    ngx_str_t      message;
    static u_char  bytes[sizeof(remote_head_t) + REMOTE_PIECE];

    head->from = end->here;

    message.data = bytes;
    message.len = sizeof(remote_head_t);
    ngx_memcpy(bytes, head, sizeof(remote_head_t));

    if (data && data->len) {
        ngx_memcpy(bytes + message.len, data->data, data->len);
        message.len += data->len;
    }

    rc = ngx_centrifugo_control_send(&end->hcf->hub, end->slot,
                                     end->generation,
                                     NGX_CENTRIFUGO_CONTROL_REQUEST + kind,
                                     end->there, REMOTE_DEADLINE, &message);

    /* full or not: somebody has to read */

    ngx_centrifugo_worker_wake(end->hcf);

    return (rc == NGX_OK) ? NGX_OK : (rc == NGX_BUSY) ? NGX_AGAIN : NGX_ERROR;
}


static size_t
remote_piece(ngx_centrifugo_hub_t *hub)
{
    size_t  max;

    max = ngx_centrifugo_control_max(hub) / 4 - 128;

    return ngx_min(max, REMOTE_PIECE) - sizeof(remote_head_t);
}


static ngx_int_t
remote_parse(ngx_centrifugo_request_t *request, remote_head_t *head,
    ngx_str_t *data)
{
    if (request->data.len < sizeof(remote_head_t)) {
        return NGX_ERROR;
    }

    ngx_memcpy(head, request->data.data, sizeof(remote_head_t));

    data->data = request->data.data + sizeof(remote_head_t);
    data->len = request->data.len - sizeof(remote_head_t);

    return NGX_OK;
}


static void
remote_unknown(ngx_centrifugo_request_t *request, ngx_uint_t kind,
    uint64_t there)
{
    remote_head_t                head;
    ngx_centrifugo_remote_end_t  end;

    ngx_memzero(&head, sizeof(remote_head_t));
    ngx_memzero(&end, sizeof(ngx_centrifugo_remote_end_t));

    end.hcf = request->hcf;
    end.slot = request->from;
    end.generation = request->from_generation;
    end.here = request->id;
    end.there = there;

    (void) remote_message(&end, kind, &head, NULL);
}


/* the session's end */

static void
remote_on_open(ngx_centrifugo_request_t *request)
{
    ngx_str_t                 answer;
    remote_open_t             open;
    ngx_centrifugo_remote_t  *s;

    ngx_str_null(&answer);

    if (request->data.len != sizeof(remote_open_t)) {
        return;
    }

    ngx_memcpy(&open, request->data.data, sizeof(remote_open_t));

    s = calloc(1, sizeof(ngx_centrifugo_remote_t));

    if (s == NULL) {
        ngx_centrifugo_request_answer(request, &answer);
        return;
    }

    s->client.transport = &ngx_centrifugo_remote_transport;
    s->client.codec = &ngx_centrifugo_codec_json;
    s->client.hcf = request->hcf;
    s->client.log = ngx_cycle->log;

    (void) ngx_centrifugo_hub_take(&request->hcf->hub,
                                   NGX_CENTRIFUGO_GAUGE_SESSIONS, 0);

    if (ngx_centrifugo_client_init(&s->client) != NGX_OK) {
        ngx_centrifugo_hub_add(&request->hcf->hub,
                               NGX_CENTRIFUGO_GAUGE_SESSIONS, -1);
        free(s);
        ngx_centrifugo_request_answer(request, &answer);
        return;
    }

    s->end.hcf = request->hcf;
    s->end.slot = request->from;
    s->end.generation = request->from_generation;
    s->end.here = s->client.handle;
    s->end.there = open.from;
    s->end.heard = ngx_current_msec;
    s->window = open.window;

    s->destroy.handler = remote_destroy_handler;
    s->destroy.data = s;
    s->destroy.log = s->client.log;

    ngx_queue_insert_tail(&remote_sessions, &s->link);

    answer.data = (u_char *) &s->end.here;
    answer.len = sizeof(uint64_t);

    ngx_centrifugo_request_answer(request, &answer);
}


/*
 * The session a message is for; NULL: it is gone, and the other end is told.
 */

static ngx_centrifugo_remote_t *
remote_session(ngx_centrifugo_request_t *request, remote_head_t *head,
    ngx_str_t *data)
{
    ngx_centrifugo_client_t  *client;
    ngx_centrifugo_remote_t  *s;

    if (remote_parse(request, head, data) != NGX_OK) {
        return NULL;
    }

    client = ngx_centrifugo_client_find(request->id);
    s = (ngx_centrifugo_remote_t *) client;

    if (client == NULL
        || client->transport != &ngx_centrifugo_remote_transport
        || s->ended || s->end.there != head->from
        || s->end.slot != request->from
        || ((s->end.generation ^ request->from_generation)
            & NGX_CENTRIFUGO_ID_GENERATION))
    {
        remote_unknown(request, REMOTE_GONE, head->from);
        return NULL;
    }

    s->end.heard = ngx_current_msec;

    return s;
}


static void
remote_on_input(ngx_centrifugo_request_t *request)
{
    ngx_int_t                 rc;
    ngx_str_t                 data;
    remote_head_t             head;
    ngx_centrifugo_remote_t  *s;

    s = remote_session(request, &head, &data);

    if (s == NULL) {
        return;
    }

    if (head.pos != s->end.got) {
        ngx_centrifugo_client_close(&s->client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "a message from its worker was lost");
        return;
    }

    s->end.got += data.len;

    if (s->client.state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
        remote_taken(s);
        return;
    }

    if (head.last && ngx_centrifugo_buf_len(&s->message) == 0) {
        rc = ngx_centrifugo_client_message(&s->client, data.data, data.len);

    } else {
        ngx_centrifugo_buf_append(&s->message, data.data, data.len);

        if (s->message.failed
            || ngx_centrifugo_buf_len(&s->message)
               > s->client.hcf->message_size_limit)
        {
            ngx_centrifugo_client_close(&s->client, s->message.failed
                                        ? &ngx_centrifugo_disconnect_internal
                                        : &ngx_centrifugo_disconnect_request,
                                        "no room for its message");
            ngx_centrifugo_buf_free(&s->message);
            return;
        }

        rc = NGX_OK;

        if (head.last) {
            rc = ngx_centrifugo_client_message(&s->client, s->message.start,
                                       ngx_centrifugo_buf_len(&s->message));
            ngx_centrifugo_buf_free(&s->message);
        }
    }

    /* what is under way still comes, but no acknowledgement makes room */

    if (rc == NGX_AGAIN) {
        s->paused = 1;
    }

    remote_taken(s);
}


/*
 * Tells the peer's worker how much was taken, in steps of a part of the
 * window.
 */

static void
remote_taken(ngx_centrifugo_remote_t *s)
{
    remote_head_t  head;

    if (s->paused || s->ended) {
        return;
    }

    s->end.taken = s->end.got;

    if (s->end.taken - s->end.told < REMOTE_WINDOW / 4) {
        return;
    }

    ngx_memzero(&head, sizeof(remote_head_t));
    head.pos = s->end.taken;

    switch (remote_message(&s->end, REMOTE_TAKEN, &head, NULL)) {

    case NGX_OK:
        s->end.told = s->end.taken;
        break;

    case NGX_AGAIN:
        s->blocked = 1;
        break;

    default:
        remote_end(s, "the worker of its peer is gone");
    }
}


static void
remote_on_consumed(ngx_centrifugo_request_t *request)
{
    ngx_str_t                 data;
    remote_head_t             head;
    ngx_centrifugo_remote_t  *s;

    s = remote_session(request, &head, &data);

    if (s == NULL) {
        return;
    }

    if (head.pos > s->end.sent || head.pos < s->end.acked) {
        return;
    }

    s->end.acked = head.pos;
    remote_write(s);
}


static void
remote_on_left(ngx_centrifugo_request_t *request)
{
    ngx_str_t                 data;
    remote_head_t             head;
    ngx_centrifugo_remote_t  *s;

    if (remote_parse(request, &head, &data) != NGX_OK
        || ngx_centrifugo_client_find(request->id) == NULL)
    {
        return;
    }

    s = remote_session(request, &head, &data);

    if (s) {
        s->told = 1;
        remote_end(s, "its peer left");
    }
}


static ngx_centrifugo_frame_t *
remote_frame(ngx_centrifugo_client_t *client, const u_char *data, size_t len)
{
    return ngx_centrifugo_frame_create(data, len);
}


static ngx_int_t
remote_send(ngx_centrifugo_client_t *client)
{
    size_t                    room, len;
    uint64_t                  ahead;
    ngx_int_t                 rc;
    ngx_str_t                 data;
    remote_head_t             head;
    ngx_centrifugo_queue_t   *queue;
    ngx_centrifugo_frame_t   *frame;
    ngx_centrifugo_remote_t  *s;

    s = (ngx_centrifugo_remote_t *) client;
    queue = &client->queue;

    if (s->ended) {
        ngx_centrifugo_queue_drop(queue, 0);
        return NGX_OK;
    }

    ngx_memzero(&head, sizeof(remote_head_t));

    for ( ;; ) {
        frame = ngx_centrifugo_queue_first(queue);

        if (frame == NULL) {
            break;
        }

        len = ngx_centrifugo_frame_size(frame) - queue->sent;
        ahead = s->end.sent - s->end.acked;
        room = (ahead < s->window) ? s->window - ahead : 0;

        if (s->code && queue->sent) {

            /* what comes last must not stand inside of a frame */

            room = len;
        }

        if (room == 0) {
            return NGX_AGAIN;
        }

        data.data = ngx_centrifugo_frame_start(frame) + queue->sent;
        data.len = ngx_min(len, room);
        data.len = ngx_min(data.len, remote_piece(&client->hcf->hub));

        head.pos = s->end.sent;
        head.last = (data.len == len);

        rc = remote_message(&s->end, REMOTE_OUTPUT, &head, &data);

        if (rc != NGX_OK) {
            s->blocked = (rc == NGX_AGAIN);
            return rc;
        }

        s->end.sent += data.len;
        ngx_centrifugo_queue_sent(queue, data.len);
        ngx_centrifugo_hub_add(&client->hcf->hub,
                               NGX_CENTRIFUGO_COUNT_BYTES_OUT, data.len);
    }

    if (s->code == 0) {
        return NGX_OK;
    }

    head.pos = s->end.sent;
    head.last = 1;
    head.code = (uint32_t) s->code;

    rc = remote_message(&s->end, REMOTE_CLOSE, &head, &s->reason);

    if (rc == NGX_AGAIN) {
        s->blocked = 1;
        return NGX_AGAIN;
    }

    s->told = 1;
    remote_end(s, "its session ended");

    return NGX_OK;
}


static void
remote_write(ngx_centrifugo_remote_t *s)
{
    if (s->code == 0) {
        ngx_centrifugo_delivery_send(&s->client);
        return;
    }

    if (remote_send(&s->client) == NGX_ERROR) {
        remote_end(s, "the worker of its peer is gone");
    }
}


static void
remote_close(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const ngx_str_t *reason)
{
    ngx_centrifugo_remote_t  *s;

    s = (ngx_centrifugo_remote_t *) client;

    if (s->ended || s->code) {

        if (code == 0) {
            remote_end(s, "its session ended");
        }

        return;
    }

    if (code == 0) {
        remote_end(s, "its session ended");
        return;
    }

    s->code = code;
    s->reason.data = s->text;
    s->reason.len = ngx_min(reason->len, sizeof(s->text));
    ngx_memcpy(s->text, reason->data, s->reason.len);

    ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_END,
                             REMOTE_END_DELAY);
    remote_write(s);
}


static void
remote_resume(ngx_centrifugo_client_t *client)
{
    ngx_centrifugo_remote_t  *s;

    s = (ngx_centrifugo_remote_t *) client;

    if (s->paused) {
        s->paused = 0;
        remote_taken(s);
    }
}


/*
 * Ends the session from anywhere; it is destroyed by the next event.
 */

static void
remote_end(ngx_centrifugo_remote_t *s, const char *why)
{
    if (s->ended) {
        return;
    }

    s->ended = 1;

    ngx_centrifugo_client_gone(&s->client, 1006, why);
    ngx_post_event(&s->destroy, &ngx_posted_events);
}


static void
remote_destroy_handler(ngx_event_t *ev)
{
    remote_head_t             head;
    ngx_centrifugo_remote_t  *s;

    s = ev->data;

    if (!s->told) {

        /* a peer that does not get it asks some day */

        ngx_memzero(&head, sizeof(remote_head_t));
        (void) remote_message(&s->end, REMOTE_GONE, &head, NULL);
    }

    ngx_queue_remove(&s->link);
    ngx_centrifugo_buf_free(&s->message);
    ngx_centrifugo_client_destroy(&s->client);

    free(s);
}


/* the peer's end */

void
ngx_centrifugo_remote_open(ngx_centrifugo_remote_peer_t *peer,
    ngx_centrifugo_hub_conf_t *hcf, ngx_uint_t slot, uint32_t generation,
    size_t window)
{
    ngx_str_t               data;
    remote_open_t           open;
    ngx_centrifugo_asker_t  asker;

    peer->end.hcf = hcf;
    peer->end.slot = slot;
    peer->end.generation = generation;
    peer->end.here = ++remote_next;
    peer->end.heard = ngx_current_msec;

    peer->node.key = peer->end.here;
    ngx_rbtree_insert(&remote_tree, &peer->node);
    ngx_queue_insert_tail(&remote_peers, &peer->link);

    open.from = peer->end.here;
    open.window = window;

    data.data = (u_char *) &open;
    data.len = sizeof(remote_open_t);

    asker.answer = remote_opened;
    asker.done = remote_open_done;
    asker.handle = peer->end.here;

    ngx_centrifugo_request_send(hcf, slot, generation, REMOTE_OPEN, &data,
                                REMOTE_TIMEOUT, &asker);
    ngx_centrifugo_worker_wake(hcf);
}


static ngx_centrifugo_remote_peer_t *
remote_find(uint64_t handle)
{
    ngx_rbtree_node_t  *node;

    for (node = remote_tree.root; node != &remote_sentinel;
         node = (handle < node->key) ? node->left : node->right)
    {
        if (node->key == handle) {
            return ngx_rbtree_data(node, ngx_centrifugo_remote_peer_t, node);
        }
    }

    return NULL;
}


static void
remote_opened(uint64_t handle, ngx_uint_t slot, const ngx_str_t *data)
{
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_find(handle);

    if (peer == NULL || data->len != sizeof(uint64_t)) {
        return;
    }

    ngx_memcpy(&peer->end.there, data->data, sizeof(uint64_t));
    peer->open = 1;
}


static void
remote_open_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc)
{
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_find(handle);

    if (peer == NULL) {
        return;
    }

    if (!peer->open) {

        /* perhaps from within the open: told by the next tick */

        peer->done = 1;
        return;
    }

    if (!peer->leaving) {
        remote_input_send(peer);
    }
}


/*
 * The peer a message is for; NULL: it is gone, and the session is told.
 */

static ngx_centrifugo_remote_peer_t *
remote_peer(ngx_centrifugo_request_t *request, remote_head_t *head,
    ngx_str_t *data)
{
    ngx_centrifugo_remote_peer_t  *peer;

    if (remote_parse(request, head, data) != NGX_OK) {
        return NULL;
    }

    peer = remote_find(request->id);

    if (peer == NULL || peer->end.hcf != request->hcf || peer->done
        || !peer->open || peer->end.there != head->from
        || peer->end.slot != request->from)
    {
        remote_unknown(request, REMOTE_LEFT, head->from);
        return NULL;
    }

    if (peer->leaving) {
        return NULL;
    }

    peer->end.heard = ngx_current_msec;

    return peer;
}


static void
remote_on_output(ngx_centrifugo_request_t *request)
{
    ngx_str_t                      data;
    remote_head_t                  head;
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_peer(request, &head, &data);

    if (peer == NULL) {
        return;
    }

    if (head.pos != peer->end.got) {
        ngx_centrifugo_remote_leave(peer);
        return;
    }

    peer->end.got += data.len;
    peer->output(peer, &data, head.last);
}


static void
remote_on_taken(ngx_centrifugo_request_t *request)
{
    ngx_str_t                      data;
    remote_head_t                  head;
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_peer(request, &head, &data);

    if (peer && head.pos <= peer->end.sent && head.pos >= peer->end.acked) {
        peer->end.acked = head.pos;
        remote_input_send(peer);
    }
}


static void
remote_on_close(ngx_centrifugo_request_t *request)
{
    ngx_str_t                      data;
    remote_head_t                  head;
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_find(request->id);

    if (peer == NULL || peer->leaving) {
        return;
    }

    peer = remote_peer(request, &head, &data);

    if (peer) {
        remote_peer_end(peer, (head.pos == peer->end.got) ? head.code : 0,
                        &data);
    }
}


static void
remote_on_gone(ngx_centrifugo_request_t *request)
{
    ngx_str_t                      none = ngx_null_string;
    ngx_centrifugo_remote_peer_t  *peer;

    peer = remote_find(request->id);

    if (peer && peer->end.hcf == request->hcf
        && peer->end.slot == request->from && peer->open)
    {
        remote_peer_end(peer, 0, &none);
    }
}


ngx_int_t
ngx_centrifugo_remote_input(ngx_centrifugo_remote_peer_t *peer,
    const u_char *data, size_t len)
{
    remote_input_t  head;

    if (peer->leaving || peer->done) {
        return NGX_OK;
    }

    if (len) {
        head.len = (uint32_t) len;
        head.left = (uint32_t) len;

        ngx_centrifugo_buf_append(&peer->in, &head, sizeof(remote_input_t));
        ngx_centrifugo_buf_append(&peer->in, data, len);

        if (peer->in.failed) {
            return NGX_ERROR;
        }
    }

    if (peer->open) {
        remote_input_send(peer);
    }

    return (ngx_centrifugo_buf_len(&peer->in) - peer->in_pos > REMOTE_WINDOW)
           ? NGX_AGAIN : NGX_OK;
}


static void
remote_input_send(ngx_centrifugo_remote_peer_t *peer)
{
    u_char          *p;
    size_t           room;
    uint64_t         ahead;
    ngx_int_t        rc;
    ngx_str_t        data;
    remote_head_t    head;
    remote_input_t   input;

    ngx_memzero(&head, sizeof(remote_head_t));

    while (peer->in_pos < ngx_centrifugo_buf_len(&peer->in)) {

        p = peer->in.start + peer->in_pos;
        ngx_memcpy(&input, p, sizeof(remote_input_t));

        ahead = peer->end.sent - peer->end.acked;
        room = (ahead < REMOTE_WINDOW) ? REMOTE_WINDOW - ahead : 0;

        if (room == 0) {
            return;
        }

        data.data = p + sizeof(remote_input_t) + input.len - input.left;
        data.len = ngx_min(input.left, room);
        data.len = ngx_min(data.len, remote_piece(&peer->end.hcf->hub));

        head.pos = peer->end.sent;
        head.last = (data.len == input.left);

        rc = remote_message(&peer->end, REMOTE_INPUT, &head, &data);

        if (rc == NGX_ERROR) {
            peer->done = 1;
        }

        if (rc != NGX_OK) {
            return;
        }

        peer->end.sent += data.len;
        input.left -= (uint32_t) data.len;
        ngx_memcpy(p, &input, sizeof(remote_input_t));

        if (input.left == 0) {
            peer->in_pos += sizeof(remote_input_t) + input.len;
        }
    }

    ngx_centrifugo_buf_free(&peer->in);
    peer->in_pos = 0;
}


void
ngx_centrifugo_remote_consumed(ngx_centrifugo_remote_peer_t *peer, size_t n)
{
    peer->end.taken += n;

    if (peer->open && !peer->leaving && !peer->done) {
        remote_consumed_send(peer, 0);
    }
}


/*
 * Half of what is under way is told at once, the rest by the tick.
 */

static void
remote_consumed_send(ngx_centrifugo_remote_peer_t *peer, ngx_uint_t all)
{
    ngx_int_t      rc;
    remote_head_t  head;

    if (!all && (peer->end.taken - peer->end.told) * 2
                < peer->end.got - peer->end.told)
    {
        return;
    }

    ngx_memzero(&head, sizeof(remote_head_t));
    head.pos = peer->end.taken;

    rc = remote_message(&peer->end, REMOTE_CONSUMED, &head, NULL);

    if (rc == NGX_OK) {
        peer->end.told = peer->end.taken;

    } else if (rc == NGX_ERROR) {
        peer->done = 1;
    }
}


void
ngx_centrifugo_remote_leave(ngx_centrifugo_remote_peer_t *peer)
{
    remote_head_t  head;

    if (peer->done) {
        return;
    }

    peer->leaving = 1;

    if (!peer->open) {
        return;
    }

    ngx_memzero(&head, sizeof(remote_head_t));

    if (remote_message(&peer->end, REMOTE_LEFT, &head, NULL) != NGX_AGAIN) {
        peer->done = 1;
    }
}


static void
remote_peer_end(ngx_centrifugo_remote_peer_t *peer, ngx_uint_t code,
    const ngx_str_t *reason)
{
    ngx_rbtree_delete(&remote_tree, &peer->node);
    ngx_queue_remove(&peer->link);
    ngx_centrifugo_buf_free(&peer->in);

    peer->ended(peer, code, reason);
}


void
ngx_centrifugo_remote_tick(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_str_t                      none = ngx_null_string;
    ngx_queue_t                   *q, *next;
    ngx_centrifugo_remote_t       *s;
    ngx_centrifugo_remote_end_t   *end;
    ngx_centrifugo_remote_peer_t  *peer;

    for (q = ngx_queue_head(&remote_sessions);
         q != ngx_queue_sentinel(&remote_sessions);
         q = ngx_queue_next(q))
    {
        s = ngx_queue_data(q, ngx_centrifugo_remote_t, link);

        if (s->end.hcf != hcf || s->ended) {
            continue;
        }

        if (!ngx_centrifugo_hub_alive(&hcf->hub, s->end.slot,
                                      s->end.generation))
        {
            s->told = 1;
            remote_end(s, "the worker of its peer is gone");
            continue;
        }

        if (s->blocked) {
            s->blocked = 0;
            remote_taken(s);
            remote_write(s);
        }
    }

    for (q = ngx_queue_head(&remote_peers);
         q != ngx_queue_sentinel(&remote_peers);
         q = next)
    {
        next = ngx_queue_next(q);
        peer = ngx_queue_data(q, ngx_centrifugo_remote_peer_t, link);
        end = &peer->end;

        if (end->hcf != hcf) {
            continue;
        }

        if (!peer->done && peer->leaving) {
            ngx_centrifugo_remote_leave(peer);
        }

        if (peer->done
            || !ngx_centrifugo_hub_alive(&hcf->hub, end->slot,
                                         end->generation))
        {
            remote_peer_end(peer, 0, &none);
            continue;
        }

        if (!peer->open || peer->leaving) {
            continue;
        }

        remote_input_send(peer);

        if (end->told != end->taken
            || (ngx_msec_int_t) (ngx_current_msec - end->heard)
               >= REMOTE_PROBE)
        {
            end->heard = ngx_current_msec;
            remote_consumed_send(peer, 1);
        }
    }
}


void
ngx_centrifugo_remote_lost(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_queue_t                   *q;
    ngx_centrifugo_remote_peer_t  *peer;

    for (q = ngx_queue_head(&remote_peers);
         q != ngx_queue_sentinel(&remote_peers);
         q = ngx_queue_next(q))
    {
        peer = ngx_queue_data(q, ngx_centrifugo_remote_peer_t, link);

        if (peer->end.hcf == hcf) {
            ngx_centrifugo_remote_leave(peer);
        }
    }
}
