/*
 * Orders and lists of channels between workers: several of them in one
 * process, whose clients are no more than entries of a list.
 */

#include "unit.h"
#include "broker/ngx_centrifugo_channels.h"
#include "client/ngx_centrifugo_order.h"
#include "client/ngx_centrifugo_worker.h"
#include "core/ngx_centrifugo_text.h"
#include "stubs_event.h"

#define ZONE     (16 * 1024 * 1024)
#define LOG      (1024 * 1024)
#define SLOTS    64
#define WORKERS  12
#define CLIENTS  2000


typedef struct {
    ngx_centrifugo_client_t    client;          /* must be first */
    ngx_uint_t                 ordered;
} fake_t;

typedef struct {
    ngx_centrifugo_hub_conf_t  hcf;             /* must be first */
    ngx_centrifugo_user_t      user;            /* all are "u" */
    fake_t                    *clients;
    ngx_uint_t                 n;
    ngx_uint_t                 stopped;
    ngx_uint_t                 ordered;
    ngx_uint_t                 turn;            /* of this turn */
    ngx_uint_t                 longest;
} worker_t;


static ngx_centrifugo_registry_t         *reg;
static ngx_centrifugo_hub_shm_t          *shm;
static ngx_cycle_t                        cycle;
static ngx_log_t                          test_log;
static worker_t                           workers[WORKERS];
static ngx_uint_t                         nworkers;
static ngx_centrifugo_order_t             last;
static char                               last_channel[64];

/* what being ordered does: nothing, close this one, close others, too */
static ngx_uint_t                         closing;

static ngx_uint_t                         done;
static ngx_centrifugo_engine_rc_e         done_rc;
static ngx_centrifugo_buf_t               done_list;


/* the client layer */

static void
client_close(worker_t *w, ngx_uint_t i)
{
    ngx_centrifugo_client_t  *client;

    client = &w->clients[i].client;

    if (client->in_user.next) {
        ngx_queue_remove(&client->in_user);
        client->in_user.next = NULL;
        client->handle = 0;
        w->user.count--;
    }
}


ngx_centrifugo_user_t *
ngx_centrifugo_user_find(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *user)
{
    worker_t  *w;

    w = (worker_t *) hcf;

    return (user->len == 1 && user->data[0] == 'u' && w->user.count)
           ? &w->user : NULL;
}


ngx_centrifugo_client_t *
ngx_centrifugo_client_find(uint64_t handle)
{
    worker_t  *w;

    w = &workers[handle >> 32];
    handle &= 0xffffffff;

    return w->clients[handle - 1].client.handle
           ? &w->clients[handle - 1].client : NULL;
}


void
ngx_centrifugo_client_ordered(ngx_centrifugo_client_t *client,
    const struct ngx_centrifugo_order_s *order)
{
    worker_t    *w;
    ngx_uint_t   i;

    w = (worker_t *) client->hcf;
    i = (fake_t *) client - w->clients;

    CHECK(client->in_user.next != NULL);

    ((fake_t *) client)->ordered++;
    w->ordered++;
    w->turn++;
    last = *order;
    memcpy(last_channel, order->channel.data, order->channel.len);
    last_channel[order->channel.len] = '\0';

    if (closing) {
        client_close(w, i);
    }

    if (closing == 2) {
        client_close(w, (i + 1) % w->n);
        client_close(w, (i + 700) % w->n);
    }
}


ngx_uint_t
ngx_centrifugo_worker_ready(ngx_centrifugo_hub_conf_t *hcf)
{
    return 1;
}


void
ngx_centrifugo_worker_wake(ngx_centrifugo_hub_conf_t *hcf)
{
    (void) ngx_centrifugo_broker_wake(hcf);
}


void
ngx_centrifugo_worker_post(void)
{
}


/* the loop */

static void
run(void)
{
    ngx_int_t   rc;
    ngx_uint_t  i, k, more;

    for (k = 0; k < 20000; k++) {
        more = 0;

        for (i = 0; i < nworkers; i++) {
            workers[i].turn = 0;

            if (workers[i].stopped) {
                continue;
            }

            ngx_centrifugo_registry_answer(reg, i);

            do {
                rc = ngx_centrifugo_request_poll(&workers[i].hcf, &test_log);
            } while (rc == NGX_AGAIN);

            (void) ngx_centrifugo_broker_wake(&workers[i].hcf);
        }

        more = stub_posted();

        for (i = 0; i < nworkers; i++) {
            if (workers[i].turn > workers[i].longest) {
                workers[i].longest = workers[i].turn;
            }

            if (!workers[i].stopped) {
                more += reg->slots[i].pending;
            }
        }

        if (more == 0 && k > 3) {
            return;
        }
    }

    CHECK(!"it comes to rest");
}


static void
tick(ngx_msec_t ms)
{
    ngx_uint_t  i;

    for ( /* void */ ; ms; ms -= 1000) {
        ngx_current_msec += 1000;
        ((ngx_time_t *) ngx_cached_time)->sec++;

        for (i = 0; i < nworkers; i++) {
            if (!workers[i].stopped) {
                ngx_centrifugo_registry_beat(reg, i);
                ngx_centrifugo_request_tick(&workers[i].hcf);
            }
        }

        run();
    }
}


static void
start(ngx_uint_t n, size_t ring)
{
    u_char      seed[32] = "0123456789abcdef0123456789abcde";
    ngx_uint_t  i;
    worker_t   *w;

    ngx_current_msec = 1000;
    stub_init();
    test_log.log_level = NGX_LOG_INFO;
    cycle.log = &test_log;
    ngx_cycle = &cycle;

    reg = mmap(NULL, NGX_CENTRIFUGO_REGISTRY_SIZE, PROT_READ|PROT_WRITE,
               MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    CHECK(ngx_centrifugo_registry_init(reg) == NGX_OK);
    CHECK(ngx_centrifugo_registry_bells(reg, 16) == NGX_OK);

    shm = mmap(NULL, ZONE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
               0);
    CHECK(ngx_centrifugo_hub_format(shm, ZONE, LOG, ring, SLOTS, seed)
          == shm);

    nworkers = n;
    memset(workers, 0, sizeof(workers));
    closing = 0;

    for (i = 0; i < n; i++) {
        w = &workers[i];
        w->hcf.name = S("test");
        w->hcf.hub.shm = shm;
        w->hcf.hub.registry = reg;
        w->hcf.hub.slot = NGX_CENTRIFUGO_NO_SLOT;
        ngx_queue_init(&w->hcf.clients);
        CHECK(ngx_centrifugo_broker_init(&w->hcf) == NGX_OK);
        CHECK(ngx_centrifugo_registry_claim(reg, SLOTS) == i);
        ngx_centrifugo_hub_enter(&w->hcf.hub, i);
        ngx_centrifugo_registry_live(reg, i);
        ngx_queue_init(&w->user.clients);
    }

    ngx_centrifugo_order_init();
    ngx_centrifugo_channels_init();
}


static void
clients(ngx_uint_t i, ngx_uint_t n)
{
    worker_t                 *w;
    ngx_str_t                 user;
    ngx_uint_t                k;
    ngx_centrifugo_client_t  *client;

    w = &workers[i];
    user = S("u");
    free(w->clients);
    w->clients = calloc(n ? n : 1, sizeof(fake_t));
    w->n = n;
    ngx_queue_init(&w->user.clients);
    w->user.count = n;
    w->ordered = 0;
    w->longest = 0;

    for (k = 0; k < n; k++) {
        client = &w->clients[k].client;
        client->hcf = &w->hcf;
        client->handle = (uint64_t) i << 32 | (k + 1);
        client->user_node = &w->user;
        ngx_queue_insert_tail(&w->user.clients, &client->in_user);
        CHECK(ngx_centrifugo_hub_make_id(&w->hcf.hub, client->id) == NGX_OK);
    }

    CHECK(ngx_centrifugo_hub_tally_set(&w->hcf.hub, NGX_CENTRIFUGO_TALLY_USER,
                                       &user, n, 0)
          == NGX_OK);
}


static void
stop(void)
{
    ngx_uint_t  i;

    tick(10000);
    ngx_centrifugo_buf_free(&done_list);

    for (i = 0; i < nworkers; i++) {
        clients(i, 0);
        free(workers[i].clients);
        ngx_centrifugo_request_exit(&workers[i].hcf);
        ngx_centrifugo_broker_exit(&workers[i].hcf);
        ngx_centrifugo_registry_free(reg, i);
    }

    for (i = 0; i < reg->nbells; i++) {
        (void) close(reg->bells[i].rd);
    }

    munmap(reg, NGX_CENTRIFUGO_REGISTRY_SIZE);
    munmap(shm, ZONE);
}


static void
sent(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    CHECK(handle == 5 && result == NULL);
    done++;
    done_rc = rc;
}


static void
send_order(ngx_centrifugo_order_t *order)
{
    ngx_centrifugo_completion_t  completion = { sent, 5 };

    done = 0;
    ngx_centrifugo_order_send(&workers[0].hcf, order, &completion);
    ngx_centrifugo_worker_wake(&workers[0].hcf);
}


static ngx_centrifugo_order_t
order_of(ngx_centrifugo_order_e kind)
{
    ngx_centrifugo_order_t  order;

    memset(&order, 0, sizeof(order));
    order.kind = kind;
    order.user = S("u");

    return order;
}


static ngx_str_t
id_of(ngx_uint_t i, ngx_uint_t k)
{
    ngx_str_t        s;
    static char      ids[64][NGX_CENTRIFUGO_ID_LEN];
    static unsigned  n;

    s.data = (u_char *) ids[n++ % 64];
    s.len = NGX_CENTRIFUGO_ID_LEN;
    (void) ngx_centrifugo_id_print(s.data, workers[i].clients[k].client.id);

    return s;
}


/* the form in which they travel */

static void
codec(void)
{
    u_char                  *p;
    ngx_str_t                bytes, list[3];
    ngx_uint_t               i;
    ngx_centrifugo_buf_t     b;
    ngx_centrifugo_arena_t   arena;
    ngx_centrifugo_order_t   order, got;

    memset(&b, 0, sizeof(b));
    ngx_centrifugo_arena_init(&arena, 1024);

    order = order_of(NGX_CENTRIFUGO_ORDER_DISCONNECT);
    order.client = S("client");
    order.session = S("session");
    order.channel = S("ch");
    order.info = S("{\"a\":1}");
    order.data = S("[]");
    order.expire_at = -5;
    order.expired = 7;
    order.override.set = 0x1f;
    order.override.value = 0x11;
    order.code = 4999;
    order.reason = S("why");
    list[0] = S("one");
    list[1] = S("");
    list[2] = S("three");
    order.ticket = 1ULL << 40;
    order.recover = 1;
    order.since.offset = 1ULL << 41;
    order.since.epoch = 1ULL << 42;
    order.whitelist = list;
    order.nwhitelist = 3;

    ngx_centrifugo_order_encode(&b, &order);
    CHECK(!b.failed);

    bytes.data = b.start;
    bytes.len = ngx_centrifugo_buf_len(&b);
    CHECK(ngx_centrifugo_order_decode(&arena, &bytes, &got) == NGX_OK);
    CHECK(got.kind == NGX_CENTRIFUGO_ORDER_DISCONNECT);
    CHECK(got.user.len == 1 && got.client.len == 6 && got.session.len == 7);
    CHECK(got.channel.len == 2 && memcmp(got.channel.data, "ch", 2) == 0);
    CHECK(got.info.len == 7 && memcmp(got.info.data, "{\"a\":1}", 7) == 0);
    CHECK(got.data.len == 2 && got.expire_at == -5 && got.expired == 1);
    CHECK(got.override.set == 0x1f && got.override.value == 0x11);
    CHECK(got.code == 4999 && got.reason.len == 3);
    CHECK(got.ticket == 1ULL << 40);
    CHECK(got.recover == 1 && got.since.offset == 1ULL << 41);
    CHECK(got.since.epoch == 1ULL << 42);
    CHECK(got.nwhitelist == 3 && got.whitelist[1].len == 0);
    CHECK(got.whitelist[2].len == 5
          && memcmp(got.whitelist[2].data, "three", 5) == 0);

    /* cut anywhere, of its exact size: what looks behind it is found */

    for (i = 0; i < bytes.len; i++) {
        p = malloc(i ? i : 1);
        memcpy(p, b.start, i);
        bytes.data = p;
        bytes.len = i;
        CHECK(ngx_centrifugo_order_decode(&arena, &bytes, &got) != NGX_OK);
        bytes.len = ngx_centrifugo_buf_len(&b);
        free(p);
    }

    ngx_centrifugo_buf_byte(&b, 'x');
    bytes.data = b.start;
    bytes.len = ngx_centrifugo_buf_len(&b);
    CHECK(ngx_centrifugo_order_decode(&arena, &bytes, &got) == NGX_ERROR);

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_arena_free(&arena);
}


static void
whom(void)
{
    ngx_str_t               white[3];
    ngx_centrifugo_order_t  order;

    start(2, 64 * 1024);
    clients(0, 3);
    clients(1, 2);

    /* of a user, in both workers */

    order = order_of(NGX_CENTRIFUGO_ORDER_SUBSCRIBE);
    order.channel = S("news");
    send_order(&order);
    CHECK(done == 0);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(workers[0].ordered == 3 && workers[1].ordered == 2);
    CHECK(last.kind == NGX_CENTRIFUGO_ORDER_SUBSCRIBE);
    CHECK(strcmp(last_channel, "news") == 0);

    /* nobody of that name */

    order.user = S("x");
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(workers[0].ordered == 3 && workers[1].ordered == 2);

    /* one client */

    order.user = S("u");
    order.client = id_of(1, 1);
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(workers[0].ordered == 3 && workers[1].ordered == 3);
    CHECK(workers[1].clients[1].ordered == 2);

    /* of another user */

    order.user = S("x");
    send_order(&order);
    run();
    CHECK(done == 1 && workers[1].ordered == 3);
    order.user = S("u");

    /* no id, an id of a worker that is gone, a session: nobody is meant */

    order.client = S("nonsense");
    send_order(&order);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);

    order.client = id_of(1, 0);
    reg->slots[1].generation++;
    send_order(&order);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    reg->slots[1].generation--;

    ngx_str_null(&order.client);
    order.session = id_of(1, 0);
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);

    order.client = id_of(0, 0);
    send_order(&order);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(workers[0].ordered == 3 && workers[1].ordered == 3);

    /* some stay */

    clients(0, 3);
    clients(1, 2);
    closing = 1;
    order = order_of(NGX_CENTRIFUGO_ORDER_DISCONNECT);
    white[0] = id_of(1, 0);
    white[1] = S("nonsense");
    white[2] = id_of(0, 2);
    order.whitelist = white;
    order.nwhitelist = 3;
    order.code = 3503;
    order.reason = S("force disconnect");
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(workers[0].ordered == 2 && workers[1].ordered == 1);
    CHECK(workers[0].clients[2].ordered == 0);
    CHECK(workers[1].clients[0].ordered == 0);
    CHECK(last.code == 3503 && last.reason.len == 16);

    stop();
}


/* Very many, in turns, each once, whatever happens to the others meanwhile. */

static void
many(void)
{
    ngx_uint_t              i, n;
    ngx_centrifugo_order_t  order;

    start(2, 64 * 1024);

    for (closing = 0; closing < 3; closing++) {
        clients(0, CLIENTS);
        clients(1, 10);

        order = order_of(NGX_CENTRIFUGO_ORDER_DISCONNECT);
        send_order(&order);
        run();
        CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
        CHECK(workers[0].longest <= 512 && workers[0].longest > 100);

        n = 0;

        for (i = 0; i < CLIENTS; i++) {
            CHECK(workers[0].clients[i].ordered <= 1);
            n += workers[0].clients[i].ordered;
        }

        CHECK(n == workers[0].ordered);

        if (closing < 2) {
            CHECK(n == CLIENTS && workers[1].ordered == 10);
        }

        CHECK(closing == 0 || workers[0].user.count == 0);
    }

    /* one of them is found, and two orders go in their order */

    clients(0, CLIENTS);
    closing = 0;
    order.client = id_of(0, CLIENTS - 1);
    send_order(&order);
    run();
    CHECK(done == 1 && workers[0].ordered == 1);
    CHECK(workers[0].clients[CLIENTS - 1].ordered == 1);

    order = order_of(NGX_CENTRIFUGO_ORDER_SUBSCRIBE);
    order.channel = S("first");
    send_order(&order);
    order.kind = NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE;
    order.channel = S("second");
    done = 0;
    {
        ngx_centrifugo_completion_t  completion = { sent, 5 };

        ngx_centrifugo_order_send(&workers[0].hcf, &order, &completion);
        ngx_centrifugo_worker_wake(&workers[0].hcf);
    }
    run();
    CHECK(done == 2 && strcmp(last_channel, "second") == 0);

    stop();
}


static void
trouble(void)
{
    ngx_str_t               data;
    ngx_uint_t              i, warnings;
    ngx_centrifugo_order_t  order;

    /* one that stands still: the others carry out, the asker is told */

    start(3, 64 * 1024);
    clients(0, 2);
    clients(1, 2);
    clients(2, 2);
    workers[1].stopped = 1;
    warnings = stub_warnings;

    order = order_of(NGX_CENTRIFUGO_ORDER_REFRESH);
    send_order(&order);
    run();
    CHECK(done == 0);
    CHECK(workers[0].ordered == 2 && workers[2].ordered == 2);
    tick(4000);
    CHECK(done == 0);
    tick(2000);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_RETRY);
    CHECK(stub_warnings == warnings + 1);

    /* too late: it is not done afterwards */

    workers[1].stopped = 0;
    run();
    CHECK(workers[1].ordered == 0);

    /* silent for so long that it counts as gone for others: still concerned */

    workers[1].stopped = 1;
    tick(32000);
    order.client = id_of(1, 0);
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_RETRY);
    workers[1].stopped = 0;
    tick(1000);

    /* one that dies before it answers: its clients are gone with it */

    ngx_str_null(&order.client);
    workers[2].stopped = 1;
    send_order(&order);
    run();
    CHECK(done == 0);
    reg->slots[2].generation++;
    tick(1000);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    reg->slots[2].generation--;
    workers[2].stopped = 0;
    run();

    /* an answer that finds the ring full is sent by a tick */

    clients(1, 2);
    send_order(&order);
    ngx_centrifugo_registry_answer(reg, 1);
    CHECK(ngx_centrifugo_request_poll(&workers[1].hcf, &test_log) == NGX_OK);

    data.data = calloc(1, 4000);

    for (data.len = 4000, i = 0; i < 1000; i++) {
        if (ngx_centrifugo_control_send(&workers[1].hcf.hub, 2,
                                        reg->slots[2].generation, 99, 1, 0,
                                        &data)
            == NGX_BUSY)
        {
            if (data.len == 0) {
                break;
            }

            data.len = 0;
        }
    }

    CHECK(i < 1000);
    (void) stub_posted();
    CHECK(done == 0);
    run();
    CHECK(done == 0 && workers[1].ordered == 2);
    tick(1000);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);

    /* too large */

    free(data.data);
    data.data = calloc(1, 40000);
    data.len = 40000;
    order.info = data;
    send_order(&order);
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_REFUSED);
    free(data.data);

    stop();

    /* so many that all get one message */

    start(WORKERS, 64 * 1024);

    for (i = 0; i < WORKERS; i++) {
        clients(i, i % 3);
    }

    order = order_of(NGX_CENTRIFUGO_ORDER_REFRESH);
    send_order(&order);
    run();
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);

    for (i = 0; i < WORKERS; i++) {
        CHECK(workers[i].ordered == i % 3);
    }

    stop();
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    return NULL;
}


/* lists of channels */

static void
subscribed(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    CHECK(rc == NGX_CENTRIFUGO_ENGINE_OK);

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        result->channel->count += handle;
    }
}


static void
subscribe(ngx_uint_t i, const char *name, ngx_uint_t n)
{
    ngx_centrifugo_completion_t      completion = { subscribed, n };
    ngx_centrifugo_subscribe_wish_t  wish;

    memset(&wish, 0, sizeof(wish));
    wish.channel = S(name);
    ngx_centrifugo_engine_memory.subscribe(&workers[i].hcf, &wish,
                                           &completion);
}


static void
listed(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_buf_t *list)
{
    done++;
    done_rc = rc;
    ngx_centrifugo_buf_free(&done_list);

    if (rc == NGX_CENTRIFUGO_ENGINE_OK) {
        done_list = *list;
    }
}


static void
list(const char *pattern)
{
    ngx_str_t                       s;
    ngx_centrifugo_channels_done_t  completion = { listed, 1 };

    done = 0;
    s = S(pattern);
    ngx_centrifugo_channels(&workers[0].hcf, &s, &completion);
    ngx_centrifugo_worker_wake(&workers[0].hcf);
    run();
}


static ngx_uint_t
names(ngx_uint_t *clients, const char *find, uint32_t *of)
{
    uint32_t    count;
    ngx_str_t   rest, name;
    ngx_uint_t  n;

    rest.data = done_list.start;
    rest.len = ngx_centrifugo_buf_len(&done_list);
    *clients = 0;
    *of = 0;

    for (n = 0;
         ngx_centrifugo_channels_next(&rest, &name, &count) == NGX_OK;
         n++)
    {
        *clients += count;

        if (name.len == strlen(find)
            && memcmp(name.data, find, name.len) == 0)
        {
            CHECK(*of == 0);
            *of = count;
        }
    }

    return n;
}


static void
lists(ngx_uint_t n, size_t ring)
{
    char                        name[300];
    uint32_t                    of;
    ngx_str_t                   str;
    ngx_uint_t                  i, k, count;
    ngx_centrifugo_channel_t   *ch;

    start(n, ring);
    list("");
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(names(&count, "", &of) == 0);

    for (k = 0; k < 6000; k++) {
        snprintf(name, sizeof(name), "%s:%u", k % 3 ? "chat" : "news",
                 (unsigned) k);
        subscribe(k % n, name, 1);

        if (k % 4 == 0) {
            subscribe((k + 1) % n, name, 2);
        }
    }

    list("");
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(names(&count, "news:24", &of) == 6000);
    CHECK(count == 6000 + 3000 && of == 3);

    list("news:*");
    CHECK(names(&count, "news:24", &of) == 2000 && of == 3);
    list("news:2{4,7}");
    CHECK(names(&count, "news:24", &of) == 2 && of == 3 && count == 4);
    list("none*");
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(names(&count, "", &of) == 0);
    list("*?*?*?*?*?*?*?*x");
    CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(names(&count, "", &of) == 0);

    /* a worker that stands still */

    if (n > 1) {
        workers[n - 1].stopped = 1;
        list("");
        CHECK(done == 0);
        tick(6000);
        CHECK(done == 1 && done_rc == NGX_CENTRIFUGO_ENGINE_RETRY);
        workers[n - 1].stopped = 0;
        run();
    }

    list("news:24");
    CHECK(done == 1 && names(&count, "news:24", &of) == 1 && of == 3);

    for (i = 0; i < n; i++) {
        for (k = 0; k < 6000; k++) {
            snprintf(name, sizeof(name), "%s:%u", k % 3 ? "chat" : "news",
                     (unsigned) k);
            str = S(name);
            ch = ngx_centrifugo_broker_channel(&workers[i].hcf, &str);

            if (ch) {
                ngx_centrifugo_engine_memory.unsubscribe(ch);
            }
        }
    }

    stop();
}


int
main(void)
{
    codec();
    whom();
    many();
    trouble();
    lists(1, 64 * 1024);
    lists(2, 64 * 1024);
    lists(WORKERS, 64 * 1024);
    lists(2, 512 * 1024);
    lists(3, 16 * 1024);

    return UNIT_END();
}
