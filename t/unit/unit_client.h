/*
 * The client layer over a transport that is neither connection nor request:
 * worker A holds the sessions, worker B their peers, and all between them goes
 * by the control ring.  A is the real worker without NGINX's event loop; the
 * clock and the loop are the test's.
 */

#ifndef UNIT_CLIENT_H
#define UNIT_CLIENT_H

#include "unit.h"
#include "unit_publish.h"
#include "remote.h"
#include "client/ngx_centrifugo_delivery.h"
#include "client/ngx_centrifugo_worker.h"
#include "broker/ngx_centrifugo_request.h"
#include "stubs_event.h"

#include <signal.h>

#define ZONE    (8 * 1024 * 1024)
#define LOG     (1024 * 1024)
#define RING    (512 * 1024)
#define SLOTS   64
#define WINDOW  16384


typedef struct {
    ngx_centrifugo_remote_peer_t  remote;       /* must be first */
    ngx_centrifugo_buf_t          out;          /* frames end with '|' */
    ngx_uint_t                    frames;
    size_t                        bytes;
    size_t                        unread;
    ngx_uint_t                    deaf;         /* reads nothing */
    ngx_uint_t                    ended;
    ngx_uint_t                    code;
    char                          reason[64];
    char                          id[NGX_CENTRIFUGO_ID_LEN + 1];
} peer_t;

/* an operation that is done when the test says so */
typedef enum {
    LATE_SUBSCRIBE = 1,
    LATE_PUBLISH = 2,
    LATE_PRESENCE = 4,
    LATE_HISTORY = 8
} late_e;

typedef struct {
    ngx_queue_t                      link;
    late_e                           kind;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_publish_t         pub;
    ngx_centrifugo_subscribe_wish_t  wish;
    ngx_centrifugo_presence_t        presence;
    ngx_centrifugo_history_wish_t    history;
    u_char                           client[16];
    u_char                           bytes[1];
} late_t;

/* a client of worker A itself, by a transport whose frames have a header */
typedef struct {
    ngx_centrifugo_client_t       client;       /* must be first */
    ngx_centrifugo_buf_t          out;
    ngx_uint_t                    code;
    ngx_uint_t                    resumed;
} local_t;


static ngx_centrifugo_registry_t         *reg;
static ngx_centrifugo_hub_shm_t          *shm;
static ngx_centrifugo_channel_options_t   options;
static ngx_centrifugo_hub_conf_t          a, b, *hubs[1];
static ngx_centrifugo_main_conf_t         mcf;
static ngx_cycle_t                        cycle;
static ngx_log_t                          test_log;
static ngx_uint_t                         b_stopped;    /* does nothing */
static ngx_queue_t                        late;
static ngx_uint_t                         late_kinds;   /* late_e */
static ngx_uint_t                         late_fail;    /* presences */
static ngx_uint_t                         nested;

static long                               fail_after = -1;
static ngx_uint_t                         fail_on;


void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);


static ngx_inline ngx_uint_t
fail(void)
{
    if (fail_after < 0) {
        return 0;
    }

    if (fail_after == 0) {

        /* this one, or all from here on */

        if (!fail_on) {
            fail_after = -1;
        }

        return 1;
    }

    fail_after--;

    return 0;
}


void *
__wrap_malloc(size_t size)
{
    return fail() ? NULL : __real_malloc(size);
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return fail() ? NULL : __real_calloc(n, size);
}


void *
__wrap_realloc(void *p, size_t size)
{
    return fail() ? NULL : __real_realloc(p, size);
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    ngx_str_t  name;

    ngx_centrifugo_channel_namespace(&hcf->syntax, channel, &name);

    return name.len ? NULL : hcf->options;
}


/* the engine that answers late */

static ngx_inline ngx_int_t
late_init(ngx_centrifugo_hub_conf_t *hcf)
{
    return NGX_OK;
}


static ngx_inline void
late_exit(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_centrifugo_engine_memory.exit_worker(hcf);
}


static ngx_inline late_t *
late_add(late_e kind, size_t len, const ngx_centrifugo_completion_t *done)
{
    late_t  *l;

    l = __real_calloc(1, sizeof(late_t) + len);
    l->kind = kind;
    l->done = *done;
    ngx_queue_insert_tail(&late, &l->link);

    return l;
}


static ngx_inline u_char *
late_copy(u_char *p, ngx_str_t *dst, const ngx_str_t *src)
{
    dst->data = p;
    dst->len = src->len;

    return src->len ? ngx_cpymem(p, src->data, src->len) : p;
}


static ngx_inline ngx_uint_t
late_run(void)
{
    late_t  *l;

    if (ngx_queue_empty(&late)) {
        return 0;
    }

    l = ngx_queue_data(ngx_queue_head(&late), late_t, link);
    ngx_queue_remove(&l->link);

    switch (l->kind) {

    case LATE_PUBLISH:
        ngx_centrifugo_engine_memory.publish(&a, &l->pub, &l->done);
        break;

    case LATE_SUBSCRIBE:
        ngx_centrifugo_engine_memory.subscribe(&a, &l->wish, &l->done);
        break;

    case LATE_HISTORY:
        ngx_centrifugo_engine_memory.history(&a, &l->history, &l->done);
        break;

    default:

        if (late_fail) {
            l->done.handler(l->done.handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
            break;
        }

        ngx_centrifugo_engine_memory.presence_add(&a, &l->presence, &l->done);
    }

    free(l);
    ngx_centrifugo_worker_wake(&a);

    return 1;
}


static ngx_inline void
late_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    u_char  *p;
    late_t  *l;

    if (nested) {

        /* something else is done meanwhile */

        (void) late_run();
    }

    if (!(late_kinds & LATE_PUBLISH)) {
        ngx_centrifugo_engine_memory.publish(hcf, pub, done);
        return;
    }

    l = late_add(LATE_PUBLISH,
                 pub->channel.len + pub->data.len + pub->info.len, done);
    l->pub = *pub;
    p = late_copy(l->bytes, &l->pub.channel, &pub->channel);
    p = late_copy(p, &l->pub.data, &pub->data);
    (void) late_copy(p, &l->pub.info, &pub->info);
}


static ngx_inline void
late_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    late_t  *l;

    if (!(late_kinds & LATE_SUBSCRIBE)) {
        ngx_centrifugo_engine_memory.subscribe(hcf, wish, done);
        return;
    }

    l = late_add(LATE_SUBSCRIBE, wish->channel.len, done);
    l->wish = *wish;
    (void) late_copy(l->bytes, &l->wish.channel, &wish->channel);
}


static ngx_inline void
late_unsubscribe(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_engine_memory.unsubscribe(ch);
}


static ngx_inline void
late_presence_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence,
    const ngx_centrifugo_completion_t *done)
{
    u_char  *p;
    late_t  *l;

    if (!(late_kinds & LATE_PRESENCE)) {
        ngx_centrifugo_engine_memory.presence_add(hcf, presence, done);
        return;
    }

    l = late_add(LATE_PRESENCE, presence->channel.len + presence->user.len
                                + presence->info.len, done);
    l->presence = *presence;
    ngx_memcpy(l->client, presence->client, 16);
    l->presence.client = l->client;
    p = late_copy(l->bytes, &l->presence.channel, &presence->channel);
    p = late_copy(p, &l->presence.user, &presence->user);
    (void) late_copy(p, &l->presence.info, &presence->info);
}


static ngx_inline void
late_presence_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence)
{
    ngx_centrifugo_engine_memory.presence_remove(hcf, presence);
}


static ngx_inline void
late_announce(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    ngx_centrifugo_entry_e type, const ngx_str_t *info)
{
    ngx_centrifugo_engine_memory.announce(hcf, channel, type, info);
}


static ngx_inline void
late_presence(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_memory.presence(hcf, channel, done);
}


static ngx_inline void
late_presence_stats(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_memory.presence_stats(hcf, channel, done);
}


static ngx_inline void
late_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    late_t  *l;

    if (!(late_kinds & LATE_HISTORY)) {
        ngx_centrifugo_engine_memory.history(hcf, wish, done);
        return;
    }

    l = late_add(LATE_HISTORY, wish->channel.len, done);
    l->history = *wish;
    (void) late_copy(l->bytes, &l->history.channel, &wish->channel);
}


static ngx_inline void
late_history_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    ngx_centrifugo_engine_memory.history_remove(hcf, channel, done);
}


static const ngx_centrifugo_engine_t  late_engine = {
    ngx_string("late"),
    late_init,
    late_exit,
    late_publish,
    late_subscribe,
    late_unsubscribe,
    late_presence_add,
    late_presence_remove,
    late_announce,
    late_presence,
    late_presence_stats,
    late_history,
    late_history_remove
};


/* the transport in worker A */

static ngx_inline ngx_centrifugo_frame_t *
local_frame(ngx_centrifugo_client_t *client, const u_char *data, size_t len)
{
    ngx_centrifugo_frame_t  *frame;

    frame = ngx_centrifugo_frame_create(data, len);

    if (frame) {
        frame->head = 1;
        frame->data[-1] = '#';
    }

    return frame;
}


static ngx_inline ngx_int_t
local_send(ngx_centrifugo_client_t *client)
{
    long                     fail;
    u_char                  *p;
    size_t                   n;
    local_t                 *l;
    ngx_centrifugo_frame_t  *frame;

    /* what the test itself keeps does not fail */

    fail = fail_after;
    fail_after = -1;

    l = (local_t *) client;

    while ((frame = ngx_centrifugo_queue_first(&client->queue)) != NULL) {
        p = ngx_centrifugo_frame_start(frame);
        n = ngx_centrifugo_frame_size(frame);

        ngx_centrifugo_buf_append(&l->out, p, n);
        ngx_centrifugo_queue_sent(&client->queue, n);
    }

    fail_after = fail;

    return NGX_OK;
}


static ngx_inline void
local_close(ngx_centrifugo_client_t *client, ngx_uint_t code,
    const ngx_str_t *reason)
{
    ((local_t *) client)->code = code;
}


static ngx_inline void
local_resume(ngx_centrifugo_client_t *client)
{
    ((local_t *) client)->resumed++;
}


static const ngx_centrifugo_transport_t  local_transport = {
    ngx_string("local"),
    local_frame,
    local_send,
    local_close,
    local_resume,
    NULL
};


static ngx_inline void
local_open(local_t *l)
{
    memset(l, 0, sizeof(local_t));
    l->client.transport = &local_transport;
    l->client.codec = &ngx_centrifugo_codec_json;
    l->client.hcf = &a;
    l->client.log = &test_log;

    CHECK(ngx_centrifugo_hub_take(&a.hub, NGX_CENTRIFUGO_GAUGE_SESSIONS, 0)
          == NGX_OK);
    CHECK(ngx_centrifugo_client_init(&l->client) == NGX_OK);
}


static ngx_inline ngx_int_t
local_say(local_t *l, const char *text)
{
    u_char     *p;
    size_t      len;
    ngx_int_t   rc;

    /* of its exact size: what looks behind it is found */

    len = strlen(text);
    p = __real_malloc(len);
    memcpy(p, text, len);
    rc = ngx_centrifugo_client_message(&l->client, p, len);
    free(p);

    return rc;
}


static ngx_inline ngx_uint_t
got(ngx_centrifugo_buf_t *out, const char *text)
{
    ngx_uint_t  same;

    same = ngx_centrifugo_buf_len(out) == strlen(text)
           && (*text == '\0'
               || memcmp(out->start, text, strlen(text)) == 0);

    if (!same) {
        fprintf(stderr, "got: %.*s\n", (int) ngx_centrifugo_buf_len(out),
                (char *) out->start);
    }

    ngx_centrifugo_buf_reset(out);

    return same;
}


static ngx_inline void
local_end(local_t *l)
{
    ngx_centrifugo_client_destroy(&l->client);
    ngx_centrifugo_buf_free(&l->out);
}


/* the peers in worker B */

static ngx_inline void
peer_output(ngx_centrifugo_remote_peer_t *remote, const ngx_str_t *data,
    ngx_uint_t last)
{
    peer_t  *p;

    p = (peer_t *) remote;
    ngx_centrifugo_buf_append(&p->out, data->data, data->len);
    p->bytes += data->len;

    if (last) {
        p->frames++;
        ngx_centrifugo_buf_byte(&p->out, '|');
    }

    if (p->deaf) {
        p->unread += data->len;
        return;
    }

    ngx_centrifugo_remote_consumed(remote, data->len);
}


static ngx_inline void
peer_ended(ngx_centrifugo_remote_peer_t *remote, ngx_uint_t code,
    const ngx_str_t *reason)
{
    peer_t  *p;

    p = (peer_t *) remote;
    p->ended++;
    p->code = code;
    ngx_memzero(p->reason, sizeof(p->reason));

    if (reason->len && reason->len < sizeof(p->reason)) {
        memcpy(p->reason, reason->data, reason->len);
    }
}


static ngx_inline ngx_uint_t
b_run(void)
{
    ngx_int_t  rc;

    if (b_stopped || b.hub.slot == NGX_CENTRIFUGO_NO_SLOT
        || reg->slots[b.hub.slot].pending == 0)
    {
        return 0;
    }

    ngx_centrifugo_registry_answer(reg, b.hub.slot);

    do {
        rc = ngx_centrifugo_request_poll(&b, &test_log);

        if (rc == NGX_DECLINED) {
            ngx_centrifugo_remote_lost(&b);
        }
    } while (rc != NGX_OK && !(rc == NGX_AGAIN && fail_after == 0));

    return 1;
}


static ngx_inline ngx_uint_t
a_run(void)
{
    ngx_uint_t  n;

    n = 0;

    if (stub_bell && reg->slots[a.hub.slot].pending) {
        stub_bell->read->handler(stub_bell->read);
        n++;
    }

    return n + stub_posted();
}


static ngx_inline void
run(void)
{
    ngx_uint_t  i, n;

    for (i = 0; i < 100000; i++) {
        n = a_run();
        n += b_run();

        /* without memory what can't be read is tried again and again */

        if (n == 0 || (fail_after == 0 && i == 50)) {
            return;
        }
    }

    CHECK(!"it comes to rest");
}


static ngx_inline void
b_tick(void)
{
    if (b_stopped || b.hub.slot == NGX_CENTRIFUGO_NO_SLOT) {
        return;
    }

    ngx_centrifugo_registry_beat(reg, b.hub.slot);
    ngx_centrifugo_request_tick(&b);
    reg->slots[b.hub.slot].pending = 1;
    (void) b_run();
    ngx_centrifugo_remote_tick(&b);
}


static ngx_inline void
advance(ngx_msec_t ms)
{
    ngx_time_t  *tp;

    for ( /* void */ ; ms >= 100; ms -= 100) {
        ngx_current_msec += 100;

        tp = (ngx_time_t *) ngx_cached_time;
        tp->sec = 1700000000 + ngx_current_msec / 1000;
        tp->msec = ngx_current_msec % 1000;

        stub_timers();

        if (ngx_current_msec % 1000 == 0) {

            if (a.hub.slot != NGX_CENTRIFUGO_NO_SLOT) {
                ngx_centrifugo_remote_tick(&a);
            }

            b_tick();
        }

        run();
    }
}


static ngx_inline void
hub_conf(ngx_centrifugo_hub_conf_t *hcf)
{
    memset(hcf, 0, sizeof(ngx_centrifugo_hub_conf_t));

    hcf->name = S("test");
    hcf->client_insecure = 1;
    hcf->ping_interval = 25000;
    hcf->pong_timeout = 8000;
    hcf->stale_close_delay = 10000;
    hcf->expired_close_delay = 25000;
    hcf->write_timeout = 10000;
    hcf->channel_limit = 128;
    hcf->channel_max_length = 255;
    hcf->message_size_limit = 65536;
    hcf->publication_max_size = 65536;
    hcf->queue_max_size = 1024 * 1024;
    hcf->options = &options;
    hcf->presence_info_max = 4096;
    hcf->history_max_publication_limit = 300;
    hcf->recovery_max_publication_limit = 300;
    hcf->channel_position_check_delay = 40000;
    hcf->syntax.private_prefix = '$';
    hcf->syntax.namespace_boundary = ':';
    hcf->syntax.user_boundary = '#';
    hcf->syntax.user_separator = ',';
    hcf->verifier.check = ngx_centrifugo_token_check;
    hcf->hub.shm = shm;
    hcf->hub.registry = reg;
    hcf->hub.slot = NGX_CENTRIFUGO_NO_SLOT;
    ngx_queue_init(&hcf->clients);
}


static ngx_inline void
b_enter(void)
{
    ngx_uint_t  slot;

    slot = ngx_centrifugo_registry_claim(reg, SLOTS);
    CHECK(slot != NGX_CENTRIFUGO_NO_SLOT);

    ngx_centrifugo_hub_enter(&b.hub, slot);
    ngx_centrifugo_registry_live(reg, slot);
    b_stopped = 0;
}


static ngx_inline void
b_leave(void)
{
    uint64_t  cursor;

    ngx_centrifugo_request_exit(&b);
    cursor = 0;

    while (ngx_centrifugo_hub_reap(&b.hub, b.hub.slot, &cursor) == NGX_AGAIN) {
        /* void */
    }

    ngx_centrifugo_registry_free(reg, b.hub.slot);
    b.hub.slot = NGX_CENTRIFUGO_NO_SLOT;
}


static ngx_inline void
start(size_t ring)
{
    u_char  seed[32] = "0123456789abcdef0123456789abcde";

    ngx_current_msec = 1000;

    reg = mmap(NULL, NGX_CENTRIFUGO_REGISTRY_SIZE, PROT_READ|PROT_WRITE,
               MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    CHECK(ngx_centrifugo_registry_init(reg) == NGX_OK);
    CHECK(ngx_centrifugo_registry_bells(reg, 8) == NGX_OK);

    shm = mmap(NULL, ZONE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
               0);
    CHECK(ngx_centrifugo_hub_format(shm, ZONE, LOG, ring, SLOTS, seed)
          == shm);

    stub_init();
    cycle.log = &test_log;
    ngx_cycle = &cycle;
    ngx_queue_init(&late);
    late_kinds = LATE_SUBSCRIBE;
    late_fail = 0;
    nested = 0;
    memset(&options, 0, sizeof(options));

    hub_conf(&a);
    hub_conf(&b);

    hubs[0] = &a;
    mcf.hubs.elts = hubs;
    mcf.hubs.nelts = 1;
    mcf.registry = reg;
    mcf.queue_memory = 64 * 1024 * 1024;

    CHECK(ngx_centrifugo_worker_init(&cycle, &mcf) == NGX_OK);
    CHECK(a.hub.slot == 0 && stub_bell != NULL);
    ngx_centrifugo_remote_init();

    b_enter();
}


static ngx_inline void
stop(void)
{
    ngx_uint_t                 i;
    ngx_centrifugo_hub_stat_t  st;

    advance(1000);

    while (late_run()) { /* void */ }

    for (i = 0; i < NGX_CENTRIFUGO_GAUGE_COUNT; i++) {
        CHECK(ngx_centrifugo_hub_sum(&a.hub, i) == 0);
    }

    CHECK(ngx_queue_empty(&a.clients));
    CHECK(ngx_centrifugo_remote_count() == 0);
    CHECK(ngx_centrifugo_frame_bytes() == 0);
    CHECK(ngx_centrifugo_queue_bytes() == 0);

    ngx_centrifugo_hub_stat(&a.hub, &st);

    /* nobody is in a channel, only streams are left */

    CHECK(st.channels == st.streams);

    if (b.hub.slot != NGX_CENTRIFUGO_NO_SLOT) {
        b_leave();
    }

    ngx_centrifugo_hub_exit(&b.hub);
    free(b.requests);
    b.requests = NULL;

    ngx_centrifugo_worker_exit(&cycle);
    CHECK(!stub_timers_left());
    CHECK(reg->slots[0].state == NGX_CENTRIFUGO_SLOT_FREE);

    for (i = 0; i < reg->nbells; i++) {
        (void) close(reg->bells[i].rd);
    }

    munmap(reg, NGX_CENTRIFUGO_REGISTRY_SIZE);
    munmap(shm, ZONE);
}


static ngx_inline void
peer_open_at(peer_t *p, size_t window, ngx_uint_t slot)
{
    memset(p, 0, sizeof(peer_t));
    p->remote.output = peer_output;
    p->remote.ended = peer_ended;

    ngx_centrifugo_remote_open(&p->remote, &b, slot,
                               reg->slots[slot].generation, window);
    run();
}


static ngx_inline void
peer_open(peer_t *p, size_t window)
{
    peer_open_at(p, window, a.hub.slot);
}


static ngx_inline ngx_int_t
peer_say(peer_t *p, const char *text)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_remote_input(&p->remote, (u_char *) text,
                                     strlen(text));
    run();

    return rc;
}


static ngx_inline ngx_centrifugo_client_t *
peer_client(peer_t *p)
{
    return ngx_centrifugo_client_find(p->remote.end.there);
}


static ngx_inline void
peer_read(peer_t *p, size_t n)
{
    n = ngx_min(n, p->unread);
    p->unread -= n;
    ngx_centrifugo_remote_consumed(&p->remote, n);
    run();
}


static ngx_inline void
peer_connected(peer_t *p)
{
    static const char  begin[] = "{\"id\":1,\"connect\":{\"client\":\"";

    CHECK(p->frames == 1);
    ngx_centrifugo_buf_byte(&p->out, '\0');
    CHECK(strncmp((char *) p->out.start, begin, sizeof(begin) - 1) == 0);
    memcpy(p->id, p->out.start + sizeof(begin) - 1, NGX_CENTRIFUGO_ID_LEN);
    CHECK(strstr((char *) p->out.start, "\"pong\":true}}|"));
    ngx_centrifugo_buf_reset(&p->out);
    p->frames = 0;
    p->bytes = 0;
}


static ngx_inline void
peer_connect(peer_t *p, size_t window)
{
    peer_open(p, window);
    (void) peer_say(p, "{\"id\":1,\"connect\":{}}");
    peer_connected(p);
}


static ngx_inline void
peer_leave(peer_t *p)
{
    if (!p->ended) {
        ngx_centrifugo_remote_leave(&p->remote);
        run();
        advance(2000);
    }

    CHECK(p->ended == 1);
    ngx_centrifugo_buf_free(&p->out);
}


static ngx_inline ngx_uint_t
pinged(peer_t *p)
{
    ngx_uint_t  i;

    for (i = 0; i < 260 && ngx_centrifugo_buf_len(&p->out) == 0; i++) {
        advance(100);
    }

    return got(&p->out, "{}|");
}


static ngx_inline void
publish(const char *channel, const char *data, size_t len)
{
    ngx_str_t  c, d, none = ngx_null_string;

    c = S(channel);
    d.data = (u_char *) data;
    d.len = len;

    CHECK(unit_publish(&b.hub, &c, &none, &d, 1, 0) == NGX_OK);
    (void) ngx_centrifugo_broker_wake(&b);
}


static ngx_inline uint64_t
sum(ngx_centrifugo_counter_e counter)
{
    return ngx_centrifugo_hub_sum(&a.hub, counter);
}


static ngx_inline uint64_t
disconnects(ngx_uint_t code)
{
    ngx_uint_t  i;

    for (i = 0; ngx_centrifugo_client_disconnect(i)->code != code; i++) {
        /* void */
    }

    return sum(NGX_CENTRIFUGO_COUNT_DISCONNECTS + i);
}

#endif
