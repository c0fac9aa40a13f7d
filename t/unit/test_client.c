/* Clients, their commands and their ends. */

#include "unit_client.h"


static void
basics(void)
{
    char        data[32], text[600];
    u_char      id[16], hex[33], *h;
    peer_t      p, q;
    uint32_t    gen;
    ngx_uint_t  i, slot;
    unsigned    byte;

    start(RING);

    peer_connect(&p, WINDOW);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 1
          && sum(NGX_CENTRIFUGO_GAUGE_CLIENTS) == 1);

    /* the id that the peer got leads to the worker of its session */

    for (h = hex, i = 0; i < NGX_CENTRIFUGO_ID_LEN; i++) {
        if (p.id[i] != '-') {
            *h++ = p.id[i];
        }
    }

    for (i = 0; i < 16; i++) {
        CHECK(sscanf((char *) &hex[2 * i], "%2x", &byte) == 1);
        id[i] = (u_char) byte;
    }

    ngx_centrifugo_hub_id_owner(&b.hub, id, &slot, &gen);
    CHECK(slot == a.hub.slot && gen == reg->slots[slot].generation);

    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    CHECK(got(&p.out, "{\"id\":2,\"subscribe\":{}}|"));
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS) == 1);

    /* what another worker publishes */

    publish("news", "\"hello\"", 7);
    run();
    CHECK(got(&p.out, "{\"push\":{\"channel\":\"news\",\"pub\":"
                      "{\"data\":\"hello\"}}}|"));

    /* in its order, one frame each */

    p.frames = 0;

    for (i = 0; i < 100; i++) {
        snprintf(data, sizeof(data), "%u", (unsigned) i);
        publish("news", data, strlen(data));
    }

    run();
    CHECK(p.frames == 100);

    for (i = 0, h = p.out.start; i < 100; i++) {
        snprintf(text, sizeof(text), "{\"push\":{\"channel\":\"news\",\"pub\":"
                 "{\"data\":%u}}}|", (unsigned) i);
        CHECK((size_t) (p.out.last - h) >= strlen(text)
              && memcmp(h, text, strlen(text)) == 0);
        h += strlen(text);
    }

    CHECK(h == p.out.last);
    ngx_centrifugo_buf_reset(&p.out);

    /* replies of one message are one frame, pushes come behind them */

    (void) peer_say(&p, "{\"id\":3,\"publish\":{\"channel\":\"news\","
                        "\"data\":{}}}\n"
                        "{\"id\":4,\"subscribe\":{\"channel\":\"news\"}}\n"
                        "{\"id\":5,\"rpc\":{}}\n"
                        "{\"id\":6,\"subscribe\":{\"channel\":\"no:x\"}}\n"
                        "{\"id\":7,\"unsubscribe\":{\"channel\":\"x\"}}");
    snprintf(text, sizeof(text),
             "{\"id\":3,\"publish\":{}}\n"
             "{\"id\":4,\"error\":{\"code\":105,"
             "\"message\":\"already subscribed\"}}\n"
             "{\"id\":5,\"error\":{\"code\":108,"
             "\"message\":\"not available\"}}\n"
             "{\"id\":6,\"error\":{\"code\":102,"
             "\"message\":\"unknown channel\"}}\n"
             "{\"id\":7,\"unsubscribe\":{}}|"
             "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":{},"
             "\"info\":{\"user\":\"\",\"client\":\"%s\"}}}}|", p.id);
    CHECK(got(&p.out, text));

    /* a second session; each gets what it subscribed */

    peer_connect(&q, WINDOW);
    (void) peer_say(&q, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n"
                        "{\"id\":3,\"subscribe\":{\"channel\":\"own\"}}");
    CHECK(got(&q.out, "{\"id\":2,\"subscribe\":{}}\n"
                      "{\"id\":3,\"subscribe\":{}}|"));

    (void) peer_say(&p, "{\"id\":8,\"unsubscribe\":{\"channel\":\"news\"}}");
    CHECK(got(&p.out, "{\"id\":8,\"unsubscribe\":{}}|"));

    publish("news", "1", 1);
    publish("own", "2", 1);
    run();
    CHECK(got(&p.out, ""));
    CHECK(got(&q.out, "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":1}}}|"
                      "{\"push\":{\"channel\":\"own\",\"pub\":"
                      "{\"data\":2}}}|"));

    /* both kinds of end */

    (void) peer_say(&p, "{\"id\":9,\"rpc\":{}}\nnonsense");
    CHECK(got(&p.out, "{\"id\":9,\"error\":{\"code\":108,"
                      "\"message\":\"not available\"}}|"));
    CHECK(p.ended == 1 && p.code == 3501
          && strcmp(p.reason, "bad request") == 0);
    CHECK(disconnects(3501) == 1);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 1);

    peer_leave(&p);
    peer_leave(&q);
    CHECK(q.code == 0 && sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);

    /* before the session is there */

    peer_open_at(&p, WINDOW, 17);
    CHECK(p.ended == 0 && !p.remote.open);
    advance(1000);
    CHECK(p.ended == 1 && p.code == 0);
    ngx_centrifugo_buf_free(&p.out);

    memset(&q, 0, sizeof(peer_t));
    q.remote.output = peer_output;
    q.remote.ended = peer_ended;
    ngx_centrifugo_remote_open(&q.remote, &b, 0, reg->slots[0].generation,
                               WINDOW);
    (void) ngx_centrifugo_remote_input(&q.remote,
                                       (u_char *) "{\"id\":1,\"connect\":{}}",
                                       21);
    run();
    peer_connected(&q);

    /* and one that is not wanted any more when it is */

    memset(&p, 0, sizeof(peer_t));
    p.remote.output = peer_output;
    p.remote.ended = peer_ended;
    ngx_centrifugo_remote_open(&p.remote, &b, 0, reg->slots[0].generation,
                               WINDOW);
    peer_leave(&p);
    peer_leave(&q);

    stop();
}


/*
 * A command that waits stops those behind it and nothing else.
 */

static void
suspended(void)
{
    char        text[4000];
    peer_t      p;
    ngx_uint_t  i, n;

    start(RING);
    peer_connect(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    CHECK(got(&p.out, "{\"id\":2,\"subscribe\":{}}|"));

    a.engine = &late_engine;
    late_kinds |= LATE_PUBLISH;

    (void) peer_say(&p, "{\"id\":3,\"rpc\":{}}\n"
                        "{\"id\":4,\"subscribe\":{\"channel\":\"one\"}}\n"
                        "{\"id\":5,\"unsubscribe\":{\"channel\":\"one\"}}\n"
                        "{\"id\":6,\"publish\":{\"channel\":\"news\","
                        "\"data\":1}}");
    (void) peer_say(&p, "{\"id\":7,\"unsubscribe\":{\"channel\":\"x\"}}");
    CHECK(got(&p.out, "{\"id\":3,\"error\":{\"code\":108,"
                      "\"message\":\"not available\"}}|"));

    publish("news", "2", 1);
    run();
    CHECK(got(&p.out, "{\"push\":{\"channel\":\"news\",\"pub\":"
                      "{\"data\":2}}}|"));

    /* ping and pong, too */

    CHECK(pinged(&p));
    (void) peer_say(&p, "{}");
    advance(9000);
    CHECK(p.ended == 0);
    CHECK(got(&p.out, ""));

    CHECK(late_run());
    run();
    CHECK(got(&p.out, "{\"id\":4,\"subscribe\":{}}|"
                      "{\"id\":5,\"unsubscribe\":{}}|"));
    CHECK(late_run());
    run();
    snprintf(text, sizeof(text),
             "{\"id\":6,\"publish\":{}}|{\"id\":7,\"unsubscribe\":{}}|"
             "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":1,"
             "\"info\":{\"user\":\"\",\"client\":\"%s\"}}}}|", p.id);
    CHECK(got(&p.out, text));
    CHECK(!late_run());

    /* what waits is bounded, and all of it is answered in the end */

    a.message_size_limit = 4096;
    p.frames = 0;
    memset(text, ' ', sizeof(text));
    n = 0;

    for (i = 0; i < 200; i++) {
        n = snprintf(text, sizeof(text), "{\"id\":%u,\"publish\":"
                     "{\"channel\":\"quiet\",\"data\":1}}",
                     (unsigned) (i + 10));
        text[n] = ' ';

        if (ngx_centrifugo_remote_input(&p.remote, (u_char *) text, 1000)
            == NGX_AGAIN)
        {
            break;
        }

        run();
    }

    n = i;
    CHECK(n > 10 && n < 60);
    CHECK(ngx_centrifugo_buf_len(peer_client(&p)->input)
          < 4096 + 20000 + 1100);

    for (i = 0; i < n + 1; i++) {
        CHECK(late_run());
        run();
    }

    CHECK(!late_run());
    CHECK(p.frames == n + 1);
    CHECK(ngx_centrifugo_remote_input(&p.remote, NULL, 0) == NGX_OK);
    ngx_centrifugo_buf_reset(&p.out);

    peer_leave(&p);
    stop();
}


/*
 * Ends of all kinds while a command waits; its late answer finds nobody.
 */

static void
gone(void)
{
    char        text[100], want[200];
    peer_t      p, q;
    local_t     l;
    ngx_uint_t  i;

    start(RING);
    a.engine = &late_engine;

    for (i = 0; i < 8; i++) {
        peer_connect(&p, WINDOW);
        (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"one\"}}");
        (void) peer_say(&p, "{\"id\":3,\"subscribe\":{\"channel\":\"two\"}}");

        if (i & 1) {

            /* the second one waits instead */

            CHECK(late_run());
            run();
            CHECK(got(&p.out, "{\"id\":2,\"subscribe\":{}}|"));
        }

        switch (i / 2) {

        case 0:
            peer_leave(&p);
            break;

        case 1:
            ngx_centrifugo_client_close(peer_client(&p),
                                        &ngx_centrifugo_disconnect_shutdown,
                                        "a test");
            run();
            CHECK(p.ended == 1 && p.code == 3001);
            break;

        case 2:
            ngx_centrifugo_client_drain(&a, 1000);
            advance(1200);
            CHECK(p.ended == 1 && p.code == 3001);
            break;

        default:

            /* a pong that nobody asked for */

            (void) peer_say(&p, "{}");
            CHECK(p.ended == 1 && p.code == 3501);
        }

        CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
        CHECK(late_run());
        run();
        CHECK(!late_run());
        CHECK(sum(NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS) == 0);
        CHECK(got(&p.out, ""));
        ngx_centrifugo_buf_free(&p.out);
    }

    /*
     * The answer makes commands run that end the very subscription, or the
     * session.
     */

    peer_connect(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"one\"}}\n"
                        "{\"id\":3,\"unsubscribe\":{\"channel\":\"one\"}}");
    CHECK(late_run());
    run();
    CHECK(got(&p.out, "{\"id\":2,\"subscribe\":{}}|"
                      "{\"id\":3,\"unsubscribe\":{}}|"));

    (void) peer_say(&p, "{\"id\":4,\"subscribe\":{\"channel\":\"one\"}}\n"
                        "{\"id\":0,\"connect\":{}}\n"
                        "{\"id\":5,\"connect\":{}}");
    CHECK(late_run());
    run();
    CHECK(got(&p.out, "{\"id\":4,\"subscribe\":{}}|"));
    CHECK(p.ended == 1 && p.code == 3501);
    peer_leave(&p);

    /* as does a queue that its reply makes overflow */

    peer_connect(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"one\"}}");
    a.queue_max_size = 4;
    CHECK(late_run());
    run();
    a.queue_max_size = 1024 * 1024;
    CHECK(p.ended == 1 && p.code == 3008);
    peer_leave(&p);

    /*
     * An engine may complete one command within the call for another: replies
     * go to whom they belong, and in order.
     */

    peer_connect(&p, WINDOW);
    peer_connect(&q, WINDOW);
    nested = 1;
    (void) peer_say(&p, "{\"id\":20,\"subscribe\":{\"channel\":\"one\"}}\n"
                        "{\"id\":21,\"unsubscribe\":{\"channel\":\"one\"}}");
    (void) peer_say(&q, "{\"id\":30,\"rpc\":{}}\n"
                        "{\"id\":31,\"publish\":{\"channel\":\"c\","
                        "\"data\":\"d\"}}\n"
                        "{\"id\":32,\"unsubscribe\":{\"channel\":\"c\"}}");
    CHECK(got(&p.out, "{\"id\":20,\"subscribe\":{}}|"
                      "{\"id\":21,\"unsubscribe\":{}}|"));
    CHECK(got(&q.out, "{\"id\":30,\"error\":{\"code\":108,"
                      "\"message\":\"not available\"}}|"
                      "{\"id\":31,\"publish\":{}}\n"
                      "{\"id\":32,\"unsubscribe\":{}}|"));
    nested = 0;
    peer_leave(&p);
    peer_leave(&q);

    /* a transport that stopped reading is told when the session ends */

    local_open(&l);
    (void) local_say(&l, "{\"id\":1,\"connect\":{}}");
    a.message_size_limit = 100;
    snprintf(text, sizeof(text), "{\"id\":2,\"subscribe\":"
             "{\"channel\":\"one\"}}");
    CHECK(local_say(&l, text) == NGX_OK);
    CHECK(local_say(&l, text) == NGX_OK);
    CHECK(local_say(&l, text) == NGX_OK);
    CHECK(local_say(&l, text) == NGX_AGAIN);
    ngx_centrifugo_client_close(&l.client,
                                &ngx_centrifugo_disconnect_shutdown, "a test");
    CHECK(l.code == 3001 && l.resumed == 1 && l.client.input == NULL);
    local_end(&l);
    CHECK(late_run());

    /* destroyed by the transport itself */

    local_open(&l);
    (void) local_say(&l, "{\"id\":1,\"connect\":{}}");
    CHECK(local_say(&l, text) == NGX_OK);
    CHECK(local_say(&l, text) == NGX_OK);
    local_end(&l);
    CHECK(late_run() && !late_run());

    /* frames of one encoding differ by transport */

    a.message_size_limit = 65536;
    a.engine = &ngx_centrifugo_engine_memory;
    strcpy(text, "{\"id\":2,\"subscribe\":{\"channel\":\"one\"}}");
    peer_connect(&p, WINDOW);
    (void) peer_say(&p, text);
    local_open(&l);
    (void) local_say(&l, "{\"id\":1,\"connect\":{}}");
    (void) local_say(&l, text);
    peer_connect(&q, WINDOW);
    (void) peer_say(&q, text);
    ngx_centrifugo_buf_reset(&p.out);
    ngx_centrifugo_buf_reset(&l.out);
    ngx_centrifugo_buf_reset(&q.out);
    publish("one", "5", 1);
    run();
    strcpy(want, "{\"push\":{\"channel\":\"one\",\"pub\":{\"data\":5}}}|");
    CHECK(got(&p.out, want));
    CHECK(got(&q.out, want));
    CHECK(got(&l.out, "#{\"push\":{\"channel\":\"one\",\"pub\":"
                      "{\"data\":5}}}"));
    local_end(&l);
    peer_leave(&p);
    peer_leave(&q);

    stop();
}


/*
 * More than a window, than a part of the ring, than the ring.
 */

static void
large(void)
{
    char                     *data;
    peer_t                    p;
    size_t                    len, i, k, n;
    ngx_centrifugo_client_t  *client;
    static const size_t       windows[] = { 1, 100, 1024, 16384, 1 << 20 };
    static const char         begin[] = "{\"push\":{\"channel\":\"news\","
                                        "\"pub\":{\"data\":\"";

    len = 60000;
    data = __real_malloc(len);

    for (i = 0; i < len; i++) {
        data[i] = 'a' + i * 7 % 23;
    }

    data[0] = '"';
    data[len - 1] = '"';

    start(64 * 1024);

    for (k = 0; k < sizeof(windows) / sizeof(windows[0]); k++) {
        peer_connect(&p, windows[k]);
        (void) peer_say(&p, "{\"id\":2,\"subscribe\":"
                            "{\"channel\":\"news\"}}");
        CHECK(got(&p.out, "{\"id\":2,\"subscribe\":{}}|"));
        p.frames = 0;

        n = windows[k] < 100 ? 1 : 10;

        for (i = 0; i < n; i++) {
            publish("news", data, windows[k] < 100 ? 3000 : len);

            if (windows[k] < 100) {
                break;
            }
        }

        run();
        advance(3000);
        CHECK(p.frames == n);

        for (i = 0; windows[k] >= 100 && i < n; i++) {
            CHECK(memcmp(p.out.start + i * (sizeof(begin) + len + 2),
                         begin, sizeof(begin) - 1) == 0);
            CHECK(memcmp(p.out.start + i * (sizeof(begin) + len + 2)
                         + sizeof(begin) - 1, data + 1, len - 1) == 0);
        }

        ngx_centrifugo_buf_reset(&p.out);
        client = peer_client(&p);
        CHECK(client->queue.bytes == 0);
        CHECK(client->due[NGX_CENTRIFUGO_DUE_WRITE] == 0);

        peer_leave(&p);
    }

    /* the same the other way */

    peer_connect(&p, WINDOW);
    {
        char  *text;

        text = __real_malloc(len + 100);
        n = sprintf(text, "{\"id\":2,\"publish\":{\"channel\":\"n\","
                          "\"data\":");
        memcpy(text + n, data, len);
        memcpy(text + n + len, "}}", 3);

        for (i = 0; i < 20; i++) {
            (void) peer_say(&p, text);
        }

        advance(1000);
        CHECK(sum(NGX_CENTRIFUGO_COUNT_PUBLISHED) == 20);
        CHECK(p.ended == 0);

        /* beyond message_size_limit */

        a.message_size_limit = 50000;
        (void) peer_say(&p, text);
        advance(1000);
        CHECK(p.ended == 1 && p.code == 3501);

        free(text);
    }

    peer_leave(&p);
    stop();
    free(data);
}


static void
flood(void)
{
    char        data[64];
    u_char     *h;
    peer_t      p[3];
    ngx_uint_t  i, k, n, seen;

    start(RING);

    for (k = 0; k < 3; k++) {
        peer_connect(&p[k], 512);
        (void) peer_say(&p[k], "{\"id\":2,\"subscribe\":"
                               "{\"channel\":\"news\"}}");
        ngx_centrifugo_buf_reset(&p[k].out);
        p[k].frames = 0;
    }

    /* one of them is slow: it reads a little now and then */

    p[2].deaf = 1;
    n = 4000;

    for (i = 0; i < n; i++) {
        snprintf(data, sizeof(data), "%u", (unsigned) i);
        publish("news", data, strlen(data));

        if (i % 50 == 0) {
            run();
            peer_read(&p[2], 300);
        }
    }

    run();
    CHECK(p[0].frames == n && p[1].frames == n && p[2].frames < n);
    CHECK(peer_client(&p[0])->queue.bytes == 0
          && peer_client(&p[2])->queue.bytes > 0);
    CHECK(p[2].unread <= 512);

    p[2].deaf = 0;
    peer_read(&p[2], p[2].unread);
    CHECK(p[2].frames == n && peer_client(&p[2])->queue.bytes == 0);

    for (k = 0; k < 3; k++) {
        seen = 0;

        for (h = p[k].out.start; h < p[k].out.last; h++) {
            if (*h == '|') {
                *h = '\0';
            }
        }

        for (h = p[k].out.start; h < p[k].out.last; h += strlen((char *) h)
                                                         + 1)
        {
            snprintf(data, sizeof(data), "{\"push\":{\"channel\":\"news\","
                     "\"pub\":{\"data\":%u}}}", (unsigned) seen++);
            CHECK(strcmp((char *) h, data) == 0);
        }

        CHECK(seen == n);
        peer_leave(&p[k]);
    }

    stop();
}


/*
 * A peer that does not read.
 */

static void
slow(void)
{
    char                     *data;
    peer_t                    p;
    ngx_uint_t                i;
    ngx_centrifugo_client_t  *client;

    data = __real_malloc(30000);
    memset(data, '1', 30000);

    start(RING);

    /* never: the rest of the frame that was begun still comes, then 3009 */

    peer_connect(&p, 8192);
    p.deaf = 1;
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    client = peer_client(&p);

    publish("news", data, 5000);
    publish("news", data, 5000);
    publish("news", data, 5000);
    run();
    CHECK(p.frames == 2 && p.unread == 8192);
    CHECK(client->queue.bytes > 5000
          && client->due[NGX_CENTRIFUGO_DUE_WRITE] != 0);

    advance(9000);
    CHECK(p.ended == 0);

    /* any progress counts */

    peer_read(&p, 4096);
    advance(9000);
    CHECK(p.ended == 0);
    advance(2000);
    CHECK(p.ended == 1 && p.code == 3009
          && strcmp(p.reason, "write error") == 0);
    CHECK(p.frames == 4 && p.unread > 8192 && p.unread < 8192 + 5100);
    CHECK(disconnects(3009) == 1);
    peer_leave(&p);

    /* 3008: what was not begun is thrown away at once */

    peer_connect(&p, 8192);
    p.deaf = 1;
    a.queue_max_size = 100000;
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    p.frames = 0;

    for (i = 0; i < 10 && p.ended == 0; i++) {
        publish("news", data, 30000);
        run();
    }

    CHECK(i == 4);
    CHECK(p.ended == 1 && p.code == 3008 && strcmp(p.reason, "slow") == 0);
    CHECK(p.frames == 1 && p.out.last[-1] == '|');
    CHECK(disconnects(3008) == 1 && sum(NGX_CENTRIFUGO_COUNT_SLOW) == 1);
    CHECK(ngx_centrifugo_queue_bytes() == 0);
    peer_leave(&p);

    /* several at once, in the midst of a delivery to others */

    {
        peer_t  q[5];

        for (i = 0; i < 5; i++) {
            peer_connect(&q[i], 1024);
            q[i].deaf = i & 1 ? 0 : 1;
            (void) peer_say(&q[i], "{\"id\":2,\"subscribe\":"
                                   "{\"channel\":\"news\"}}");
            q[i].frames = 0;
        }

        for (i = 0; i < 6; i++) {
            publish("news", data, 30000);

            /* the queues of those that read are empty in between */

            run();
        }

        for (i = 0; i < 5; i++) {
            CHECK(q[i].ended == !(i & 1));
            CHECK(q[i].ended ? q[i].code == 3008 : q[i].frames == 6);
            peer_leave(&q[i]);
        }
    }

    /* closed by the server with much in the queue: it goes first */

    a.queue_max_size = 1024 * 1024;
    peer_connect(&p, 8192);
    p.deaf = 1;
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    p.frames = 0;
    publish("news", data, 30000);
    publish("news", data, 30000);
    run();
    CHECK(p.frames == 0);
    ngx_centrifugo_client_drain(&a, 100);
    advance(400);
    CHECK(p.ended == 0 && p.frames == 1);
    p.deaf = 0;
    peer_read(&p, p.unread);
    CHECK(p.ended == 1 && p.code == 3001 && p.frames == 2);
    peer_leave(&p);

    /* or not, when nobody takes it in time */

    peer_connect(&p, 8192);
    p.deaf = 1;
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    publish("news", data, 30000);
    publish("news", data, 30000);
    run();
    ngx_centrifugo_client_close(peer_client(&p),
                                &ngx_centrifugo_disconnect_shutdown, "a test");
    run();
    advance(4000);
    CHECK(p.ended == 0 && sum(NGX_CENTRIFUGO_GAUGE_CLIENTS) == 0);
    advance(2000);
    CHECK(p.ended == 1 && p.code == 0);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
    peer_leave(&p);

    stop();
    free(data);
}


static void
times(void)
{
    peer_t      p;
    ngx_uint_t  i;

    start(RING);

    /* no connect */

    peer_open(&p, WINDOW);
    CHECK(p.remote.open);
    advance(9000);
    CHECK(p.ended == 0);
    advance(2000);
    CHECK(p.ended == 1 && p.code == 3502 && strcmp(p.reason, "stale") == 0);
    peer_leave(&p);

    /* ping and pong */

    peer_connect(&p, WINDOW);

    for (i = 0; i < 5; i++) {
        CHECK(pinged(&p));
        CHECK(peer_client(&p)->pinged);
        (void) peer_say(&p, "{}");
        CHECK(!peer_client(&p)->pinged && p.ended == 0);
    }

    CHECK(pinged(&p));
    advance(7000);
    CHECK(p.ended == 0);
    advance(2000);
    CHECK(p.ended == 1 && p.code == 3012 && disconnects(3012) == 1);
    peer_leave(&p);

    /* a connect that fails leaves a session that nobody hears */

    a.client_insecure = 0;
    a.verifier.hmac_secret_key = S("secret");
    peer_open(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":1,\"connect\":{\"token\":\"x\"}}");
    CHECK(p.ended == 1 && p.code == 3500);
    peer_leave(&p);

    peer_open(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":1,\"connect\":{}}");
    CHECK(p.ended == 1 && p.code == 3501);
    peer_leave(&p);

    a.anonymous = 1;
    peer_connect(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    CHECK(got(&p.out, "{\"id\":2,\"error\":{\"code\":103,"
                      "\"message\":\"permission denied\"}}|"));
    peer_leave(&p);

    stop();
}


/*
 * A third worker does not read the ring, until it is full.
 */

static void
full(void)
{
    char                  data[200], want[300];
    u_char               *h;
    peer_t                p, q;
    ngx_int_t             rc;
    ngx_str_t             filler;
    ngx_uint_t            i, n, slot, seen;
    ngx_centrifugo_hub_t  c;
    ngx_centrifugo_control_t  message;

    start(64 * 1024);
    a.ping_interval = 1000 * 1000;
    peer_connect(&p, 4096);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    ngx_centrifugo_buf_reset(&p.out);
    p.frames = 0;

    peer_connect(&q, 4096);

    memset(&c, 0, sizeof(c));
    c.shm = shm;
    c.registry = reg;
    c.slot = NGX_CENTRIFUGO_NO_SLOT;
    slot = ngx_centrifugo_registry_claim(reg, SLOTS);
    ngx_centrifugo_hub_enter(&c, slot);
    ngx_centrifugo_registry_live(reg, slot);

    memset(data, 'x', sizeof(data));
    data[0] = '"';
    data[100] = '"';

    /* until the peer gets no more: the ring is full */

    for (n = 0; n < 2000; n++) {
        memcpy(&data[1], "0000", 4);
        i = snprintf(want, sizeof(want), "%04u", (unsigned) n);
        memcpy(&data[1], want, i);
        publish("news", data, 101);
        run();

        if (p.frames != n + 1 && n > 700) {
            break;
        }
    }

    CHECK(n < 2000 && p.frames < n);
    CHECK(peer_client(&p)->queue.bytes > 0);

    filler.data = (u_char *) data;
    filler.len = 100;
    rc = ngx_centrifugo_control_send(&b.hub, slot,
                                     reg->slots[slot].generation, 1, 0, 0,
                                     &filler);
    CHECK(rc == NGX_BUSY);

    /* nothing is lost meanwhile in the other direction either */

    (void) peer_say(&p, "{\"id\":3,\"unsubscribe\":{\"channel\":\"x\"}}");

    /* a close that finds no room waits, too */

    ngx_centrifugo_client_close(peer_client(&q),
                                &ngx_centrifugo_disconnect_shutdown, "a test");
    run();
    CHECK(q.ended == 0);

    advance(3000);
    CHECK(p.frames < n && p.ended == 0 && q.ended == 0);

    /* now it reads */

    while (ngx_centrifugo_control_read(&c, &message) != NGX_DONE) {
        /* void */
    }

    for (i = 0; i < 20; i++) {
        advance(1000);
        ngx_centrifugo_registry_beat(reg, slot);

        while (ngx_centrifugo_control_read(&c, &message) != NGX_DONE) {
            /* void */
        }
    }

    CHECK(q.ended == 1 && q.code == 3001);
    CHECK(p.ended == 0 && p.frames == n + 2);

    for (h = p.out.start; h < p.out.last; h++) {
        if (*h == '|') {
            *h = '\0';
        }
    }

    for (seen = 0, h = p.out.start;
         h < p.out.last;
         h += strlen((char *) h) + 1)
    {
        if (strcmp((char *) h, "{\"id\":3,\"unsubscribe\":{}}") == 0) {
            continue;
        }

        snprintf(want, sizeof(want), "\"%04u", (unsigned) seen++);
        CHECK(strstr((char *) h, want) != NULL);
    }

    CHECK(seen == n + 1);

    ngx_centrifugo_buf_free(&q.out);
    peer_leave(&p);
    CHECK(p.ended == 1);

    ngx_centrifugo_hub_exit(&c);
    ngx_centrifugo_registry_free(reg, slot);

    {
        uint64_t  cursor = 0;

        while (ngx_centrifugo_hub_reap(&a.hub, slot, &cursor) == NGX_AGAIN) {
            /* void */
        }
    }

    stop();
}


/*
 * One of the two workers goes away.
 */

static void
workers(void)
{
    int                     fd[2], status;
    char                    c;
    pid_t                   pid;
    peer_t                  p, q;
    ngx_uint_t              i, slot;
    ngx_centrifugo_slot_t  *s;
    static const char       both[] = "{\"id\":1,\"connect\":{}}\n"
                                     "{\"id\":2,\"subscribe\":"
                                     "{\"channel\":\"x\"}}";

    start(RING);

    /* B ends and begins anew: its slot has another tenant */

    peer_connect(&p, WINDOW);
    (void) peer_say(&p, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    slot = b.hub.slot;
    b_leave();
    b_enter();
    CHECK(b.hub.slot == slot);
    publish("news", "1", 1);
    run();
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
    CHECK(p.ended == 0);
    advance(6000);
    CHECK(p.ended == 1 && p.code == 0);
    peer_leave(&p);

    /* the same without anything to send: the tick finds out */

    peer_connect(&p, WINDOW);
    b_leave();
    b_enter();
    advance(1000);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
    advance(6000);
    peer_leave(&p);

    /* B stands still for too long; it learns about that when it is back */

    peer_connect(&p, WINDOW);
    b_stopped = 1;
    advance(20000);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 1);
    advance(12000);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0 && p.ended == 0);
    b_stopped = 0;
    advance(10000);
    CHECK(p.ended == 1);
    peer_leave(&p);

    /* the session is gone, and what told it was lost */

    peer_connect(&p, WINDOW);
    peer_client(&p)->transport->close(peer_client(&p), 0, NULL);
    ((ngx_centrifugo_remote_t *) peer_client(&p))->told = 1;
    run();
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0 && p.ended == 0);
    advance(7000);
    CHECK(p.ended == 1 && p.code == 0);
    peer_leave(&p);

    /* A has another generation */

    peer_connect(&p, WINDOW);
    peer_connect(&q, WINDOW);
    s = &reg->slots[a.hub.slot];
    s->generation++;
    ngx_centrifugo_remote_tick(&b);
    CHECK(p.ended == 1 && q.ended == 1 && p.code == 0);
    s->generation--;
    advance(100);
    ngx_centrifugo_buf_free(&p.out);
    ngx_centrifugo_buf_free(&q.out);
    advance(40000);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);

    /* B is killed */

    b_leave();
    CHECK(pipe(fd) == 0);
    pid = fork();

    if (pid == 0) {
        alarm(20);
        b_enter();
        memset(&q, 0, sizeof(peer_t));
        q.remote.output = peer_output;
        q.remote.ended = peer_ended;
        ngx_centrifugo_remote_open(&q.remote, &b, 0,
                                   reg->slots[0].generation, WINDOW);
        (void) ngx_centrifugo_remote_input(&q.remote,
                            (u_char *) both, sizeof(both) - 1);

        while (q.frames == 0) {
            reg->slots[b.hub.slot].pending = 1;
            (void) b_run();
            usleep(1000);
        }

        (void) !write(fd[1], "x", 1);
        pause();
    }

    for (i = 0; sum(NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS) == 0 && i < 5000;
         i++)
    {
        (void) a_run();
        usleep(1000);
    }

    CHECK(read(fd[0], &c, 1) == 1);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    advance(3000);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS) == 0);
    CHECK(reg->slots[1].state == NGX_CENTRIFUGO_SLOT_FREE);

    /* A is killed: a second worker of its kind has the session */

    pid = fork();

    if (pid == 0) {
        alarm(20);

        /* what belongs to the first is the parent's */

        memset(&a.hub, 0, sizeof(a.hub));
        stub_init();
        hub_conf(&a);

        if (ngx_centrifugo_worker_init(&cycle, &mcf) != NGX_OK) {
            _exit(1);
        }

        (void) !write(fd[1], "y", 1);

        for ( ;; ) {
            (void) a_run();
            usleep(1000);
        }
    }

    CHECK(read(fd[0], &c, 1) == 1 && c == 'y');
    b_enter();
    CHECK(b.hub.slot == 2);
    peer_open_at(&q, WINDOW, 1);
    (void) peer_say(&q, "{\"id\":1,\"connect\":{}}\n"
                        "{\"id\":2,\"subscribe\":{\"channel\":\"x\"}}");

    for (i = 0; q.frames == 0 && i < 5000; i++) {
        run();
        usleep(1000);
    }

    CHECK(q.frames == 1 && sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    CHECK(q.ended == 0);
    advance(3000);
    CHECK(q.ended == 1 && q.code == 0);
    CHECK(sum(NGX_CENTRIFUGO_GAUGE_SESSIONS) == 0);
    peer_leave(&q);

    (void) close(fd[0]);
    (void) close(fd[1]);

    stop();
}


/* what an asker was told */

static ngx_uint_t  asked, answered;


static void
ask_answer(uint64_t handle, ngx_uint_t slot, const ngx_str_t *data)
{
    answered++;
}


static void
ask_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc)
{
    CHECK(handle == 77);
    asked = 100 + rc;
}


static void
asked_for(ngx_centrifugo_request_t *request)
{
    ngx_str_t  *data;

    data = &request->data;
    answered += (data->len > 0 && data->data[0] == 'q'
                 && data->data[data->len - 1] == 'q') ? 10 : 1000;
    ngx_centrifugo_request_answer(request, &request->data);
}


static ngx_int_t
ask_again(const ngx_str_t *data)
{
    return ngx_centrifugo_control_send(&b.hub, 0, reg->slots[0].generation,
                                       NGX_CENTRIFUGO_CONTROL_REQUEST, 5,
                                       (uint64_t) 1 << 40, data);
}


static void
requests(void)
{
    u_char                  *big;
    ngx_str_t                data;
    ngx_uint_t               i;
    ngx_centrifugo_asker_t   asker = { ask_answer, ask_done, 77 };

    start(64 * 1024);
    ngx_centrifugo_request_handler(0, asked_for);

    big = __real_malloc(64 * 1024);
    memset(big, 'q', 64 * 1024);

    data.data = big;
    data.len = 1;
    answered = 0;
    ngx_centrifugo_request_send(&b, 0, reg->slots[0].generation, 0, &data,
                                1000, &asker);
    ngx_centrifugo_worker_wake(&b);
    CHECK(asked == 0);
    run();
    CHECK(asked == 100 && answered == 11);

    /* all, the asker too */

    asked = 0;
    answered = 0;
    ngx_centrifugo_request_send(&b, NGX_CENTRIFUGO_TO_ALL, 0, 0, &data, 1000,
                                &asker);
    ngx_centrifugo_worker_wake(&b);
    reg->slots[b.hub.slot].pending = 1;
    run();
    reg->slots[b.hub.slot].pending = 1;
    run();
    CHECK(asked == 100 && answered == 22);

    /* in parts */

    asked = 0;
    answered = 0;
    data.len = 30000;
    ngx_centrifugo_request_send(&b, 0, reg->slots[0].generation, 0, &data,
                                1000, &asker);
    ngx_centrifugo_worker_wake(&b);
    run();
    CHECK(asked == 100 && answered == 11);

    /* nobody there, too large, too late */

    asked = 0;
    ngx_centrifugo_request_send(&b, 9, 1, 0, &data, 1000, &asker);
    CHECK(asked == 100 + NGX_CENTRIFUGO_ENGINE_RETRY);

    asked = 0;
    data.len = 64 * 1024;
    ngx_centrifugo_request_send(&b, 0, reg->slots[0].generation, 0, &data,
                                1000, &asker);
    CHECK(asked == 100 + NGX_CENTRIFUGO_ENGINE_REFUSED);

    asked = 0;
    answered = 0;
    data.len = 10;
    ngx_centrifugo_request_send(&b, 0, reg->slots[0].generation, 0, &data,
                                500, &asker);
    ngx_current_msec += 600;
    ngx_centrifugo_worker_wake(&b);
    run();
    CHECK(asked == 0 && answered == 0);
    b_tick();
    CHECK(asked == 100 + NGX_CENTRIFUGO_ENGINE_RETRY);
    ngx_current_msec += 400;

    /*
     * A message of which the ring took a part only is sent again: the new one
     * counts, not the rest of the old.
     */

    data.len = 25000;

    for (i = 0; i < 2; i++) {
        CHECK(ask_again(&data) == NGX_OK);
    }

    CHECK(ask_again(&data) == NGX_BUSY);
    ngx_centrifugo_registry_ring(reg, 0);
    run();
    answered = 0;
    CHECK(ask_again(&data) == NGX_OK);
    ngx_centrifugo_registry_ring(reg, 0);
    run();
    CHECK(answered == 10);

    ngx_centrifugo_request_handler(0, NULL);
    free(big);
    advance(1000);
    stop();
}


/*
 * No memory at any of the allocations, once or from there on.
 */

static ngx_uint_t
starve(long at, ngx_uint_t on)
{
    peer_t       p, q;
    ngx_uint_t   reached;
    static char  data[2000];

    memset(data, '1', sizeof(data));

    start(RING);
    a.anonymous = 1;

    memset(&p, 0, sizeof(peer_t));
    memset(&q, 0, sizeof(peer_t));

    p.remote.output = peer_output;
    p.remote.ended = peer_ended;
    q.remote.output = peer_output;
    q.remote.ended = peer_ended;

    fail_after = at;
    fail_on = on;

    ngx_centrifugo_remote_open(&p.remote, &b, 0, reg->slots[0].generation,
                               1000);
    ngx_centrifugo_remote_open(&q.remote, &b, 0, reg->slots[0].generation,
                               1000);
    run();
    (void) peer_say(&p, "{\"id\":1,\"connect\":{}}\n"
                        "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}");
    (void) peer_say(&q, "{\"id\":1,\"connect\":{}}");
    a.engine = &late_engine;
    (void) peer_say(&q, "{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n"
                        "{\"id\":3,\"subscribe\":{\"channel\":\"two\"}}");
    (void) peer_say(&q, "{\"id\":4,\"publish\":{\"channel\":\"two\","
                        "\"data\":{\"a\":[1,2,{\"b\":null}]}}}");
    (void) late_run();
    run();
    (void) late_run();
    run();
    a.engine = &ngx_centrifugo_engine_memory;

    if (sum(NGX_CENTRIFUGO_GAUGE_SUBSCRIPTIONS)) {
        ngx_str_t  c = ngx_string("news"), d, none = ngx_null_string;

        d.data = (u_char *) data;
        d.len = sizeof(data);
        (void) unit_publish(&b.hub, &c, &none, &d, 1, 0);
        (void) ngx_centrifugo_broker_wake(&b);
    }

    run();
    (void) peer_say(&p, "{\"id\":4,\"unsubscribe\":{\"channel\":\"news\"}}");

    reached = (fail_after <= 0 && (on ? fail_after == 0 : 1));
    fail_after = -1;
    run();

    if (!p.ended) {
        ngx_centrifugo_remote_leave(&p.remote);
    }

    if (!q.ended) {
        ngx_centrifugo_remote_leave(&q.remote);
    }

    advance(45000);
    CHECK(p.ended == 1 && q.ended == 1);
    ngx_centrifugo_buf_free(&p.out);
    ngx_centrifugo_buf_free(&q.out);
    stop();

    return reached;
}


static void
memory(void)
{
    int         status;
    long        at;
    pid_t       pid;
    ngx_uint_t  on;

    /* each in a process of its own: what a worker keeps is not there yet */

    for (on = 0; on < 2; on++) {
        for (at = 0; at < 500; at++) {
            pid = fork();

            if (pid == 0) {
                unit_failed = 0;
                alarm(30);
                on = starve(at, on);
                exit(unit_failed ? 2 : on ? 0 : 3);
            }

            waitpid(pid, &status, 0);

            if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
                break;
            }

            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                fprintf(stderr, "allocation %ld (%u) failed\n", at,
                        (unsigned) on);
            }

            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }

        CHECK(at > 20 && at < 500);
    }
}


/*
 * Anything in any order, by a fixed seed: what is left in the end is nothing.
 */

static void
mixed(unsigned seed)
{
    char        text[200];
    peer_t      p[6];
    ngx_uint_t  i, k, n;

    start(64 * 1024);
    a.engine = &late_engine;
    a.queue_max_size = 20000;
    a.write_timeout = 2000;
    a.ping_interval = 5000;
    a.pong_timeout = 1000;
    srand(seed);

    for (k = 0; k < 6; k++) {
        peer_open(&p[k], 200 << k);
        (void) peer_say(&p[k], "{\"id\":1,\"connect\":{}}");
    }

    for (i = 0; i < 3000; i++) {
        k = rand() % 6;
        n = rand() % 4;
        late_kinds = LATE_SUBSCRIBE | (rand() % 2 ? LATE_PUBLISH : 0);
        nested = rand() % 2;

        switch (rand() % 12) {

        case 0:
        case 1:
            snprintf(text, sizeof(text), "{\"id\":2,\"subscribe\":"
                     "{\"channel\":\"c%u\"}}", (unsigned) n);
            break;

        case 2:
            snprintf(text, sizeof(text), "{\"id\":3,\"unsubscribe\":"
                     "{\"channel\":\"c%u\"}}\n{\"id\":4,\"subscribe\":"
                     "{\"channel\":\"c%u\"}}\n{\"id\":5,\"unsubscribe\":"
                     "{\"channel\":\"c%u\"}}", (unsigned) n, (unsigned) n,
                     (unsigned) n);
            break;

        case 3:
        case 4:
        case 5:
            snprintf(text, sizeof(text), "{\"id\":6,\"publish\":"
                     "{\"channel\":\"c%u\",\"data\":\"%0*u\"}}\n"
                     "{\"id\":7,\"rpc\":{}}", (unsigned) n, rand() % 90, 1);
            break;

        case 6:
            strcpy(text, "{}");
            break;

        case 7:
            p[k].deaf = rand() % 4 == 0;
            /* fall through */

        case 8:
            if (!p[k].ended) {
                peer_read(&p[k], 1 + rand() % 3000);
            }

            advance(100 * (rand() % 8));
            continue;

        case 9:
            if (rand() % 10 == 0 && !p[k].ended) {
                ngx_centrifugo_remote_leave(&p[k].remote);
            }

            continue;

        case 10:
            if (rand() % 20 == 0) {
                ngx_centrifugo_client_drain(&a, 1000);
            }

            continue;

        default:
            (void) late_run();
            run();
            continue;
        }

        if (p[k].ended) {
            ngx_centrifugo_buf_free(&p[k].out);
            peer_open(&p[k], 200 << k);
            (void) peer_say(&p[k], "{\"id\":1,\"connect\":{}}");
        }

        (void) ngx_centrifugo_remote_input(&p[k].remote, (u_char *) text,
                                           strlen(text));

        if (rand() % 3) {
            run();
        }
    }

    run();
    nested = 0;

    while (late_run()) {
        run();
    }

    for (k = 0; k < 6; k++) {
        if (!p[k].ended) {
            ngx_centrifugo_remote_leave(&p[k].remote);
        }
    }

    advance(20000);

    for (k = 0; k < 6; k++) {
        CHECK(p[k].ended == 1);
        ngx_centrifugo_buf_free(&p[k].out);
    }

    stop();
}


int
main(void)
{
    unsigned  seed;

    memory();
    basics();
    suspended();
    gone();
    large();
    flood();
    slow();
    times();
    full();
    workers();
    requests();

    for (seed = 1; seed <= 20; seed++) {
        mixed(seed);
    }

    return UNIT_END();
}
