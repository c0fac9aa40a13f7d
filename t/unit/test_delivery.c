/*
 * The way of one publication to the subscribers of a channel: in which form
 * each gets it, what positions and filters make of it, what is held.
 */

#include "unit_client.h"
#include "unit_delta.h"
#include "protocol/ngx_centrifugo_json.h"

#define CLIENTS  12
#define TEXT     "\"0123456789abcdefghijklmnopqrstuvwxyz"


static local_t                       l[CLIENTS];
static ngx_centrifugo_publication_t  pub;           /* the next one */
static char                          data[256];


/* a stream of one publication; who subscribes is at its end */

static void
begin(void)
{
    ngx_str_t                         epoch;
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  first;

    start(RING);
    a.client_insecure = 0;
    a.anonymous = 1;
    late_kinds = 0;

    options.history_size = 10;
    options.history_ttl = 60000;
    options.history_meta_ttl = 600000;
    options.allow_subscribe_for_client = 1;
    options.allow_subscribe_for_anonymous = 1;
    options.allow_tags_filter = 1;
    options.delta_fossil = 1;
    options.force_recovery = 1;
    a.channel_compaction = 1;

    memset(&first, 0, sizeof(first));
    first.channel = S("c");
    first.data = S("1");
    first.flags = NGX_CENTRIFUGO_PUB_JSON;
    first.size = options.history_size;
    first.ttl = options.history_ttl;
    first.meta_ttl = options.history_meta_ttl;

    (void) ngx_centrifugo_hub_publish(&b.hub, &first, &position);
    epoch.data = (u_char *) &position.epoch;
    epoch.len = 8;

    memset(&pub, 0, sizeof(pub));
    pub.epoch = ngx_centrifugo_epoch(&epoch);
    pub.offset = 2;
    pub.json = 1;
    pub.delta = 1;
    pub.data = S("2");
}


static void
join(ngx_uint_t i, const char *wishes)
{
    char  text[256];

    if (l[i].client.state != NGX_CENTRIFUGO_CLIENT_CONNECTED) {
        local_open(&l[i]);
        (void) local_say(&l[i], "{\"id\":1,\"connect\":{}}");
        run();
    }

    snprintf(text, sizeof(text), "{\"id\":2,\"subscribe\":{\"channel\":\"c\"%s"
             "%s}}", *wishes ? "," : "", wishes);
    (void) local_say(&l[i], text);
    run();
    ngx_centrifugo_buf_reset(&l[i].out);
}


static void
end(ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        local_end(&l[i]);
        memset(&l[i], 0, sizeof(local_t));
    }

    stop();
}


static ngx_centrifugo_channel_t *
channel(void)
{
    ngx_str_t  name = ngx_string("c");

    return ngx_centrifugo_broker_channel(&a, &name);
}


static ngx_centrifugo_subscription_t *
sub(ngx_uint_t i)
{
    return ngx_queue_data(ngx_queue_head(&l[i].client.subscriptions),
                          ngx_centrifugo_subscription_t, in_client);
}


/* Delivers what is in `pub`, `step` subscribers at a time; does not write. */

static ngx_uint_t
queue(ngx_uint_t step)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n, budget;
    ngx_queue_t                mark;
    ngx_centrifugo_channel_t  *ch;

    ch = channel();
    ch->count++;
    mark.next = NULL;
    n = 0;

    do {
        budget = step;
        rc = ngx_centrifugo_delivery_publication(ch, UINT64_MAX, &pub, &mark,
                                                 &budget);
        n++;
        CHECK(rc == NGX_OK || rc == NGX_AGAIN);
        CHECK((rc == NGX_AGAIN) == (mark.next != NULL));
    } while (rc == NGX_AGAIN);

    if (--ch->count == 0) {
        ngx_centrifugo_engine_memory.unsubscribe(ch);
    }

    return n;
}


static void
deliver(const char *text)
{
    pub.data = S(text);
    (void) queue(1000);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    pub.offset++;
}


/* Whether the output is this; behind a frame's head @ is the epoch. */

static ngx_uint_t
hears(ngx_uint_t i, const char *text)
{
    char  want[1024], *p;

    for (p = want; *text; text++) {
        if (*text == '@') {
            p = (char *) ngx_cpymem(p, &pub.epoch, 8);

        } else {
            *p++ = *text;
        }
    }

    *p = '\0';

    return got(&l[i].out, want);
}


static void
joins(void)
{
    uint64_t                      offset;
    ngx_centrifugo_client_info_t  info;

    memset(&info, 0, sizeof(info));
    info.user = S("u");
    info.client = S("id");

    offset = pub.offset;
    pub.type = NGX_CENTRIFUGO_PUSH_JOIN;
    pub.info = &info;
    pub.offset = 0;
    deliver("");
    pub.type = NGX_CENTRIFUGO_PUSH_PUBLICATION;
    pub.info = NULL;
    pub.offset = offset;
}


#define JOIN(name)                                                           \
    "#{\"push\":{" name ",\"join\":{\"info\":{\"user\":\"u\","               \
    "\"client\":\"id\"}}}}"
#define PLAIN(data, offset)                                                  \
    "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":" data ",\"offset\":"   \
    offset "}}}"
#define NUMBER(id, data, offset)                                             \
    "#{\"push\":{\"id\":" id ",\"pub\":{\"data\":" data ",\"offset\":"       \
    offset "}}}"
#define ENDED                                                                \
    "#{\"push\":{\"channel\":\"c\",\"unsubscribe\":{\"code\":2500,"          \
    "\"reason\":\"insufficient state\"}}}"


/*
 * A subscriber gets what comes next in the stream, not again what it has, and
 * ends when something is missing.
 */

static void
positions(void)
{
    uint64_t    epoch;
    ngx_uint_t  i;

    begin();

    options.force_recovery = 0;
    join(0, "");                        /* has none */
    options.force_recovery = 1;
    join(1, "");
    join(2, "");
    join(3, "");

    sub(2)->position[0].offset = 0;     /* misses one */
    sub(3)->position[0].offset = 2;     /* has it already */

    deliver("2");
    CHECK(hears(0, PLAIN("2", "2")));
    CHECK(hears(1, PLAIN("2", "2")));
    CHECK(hears(2, ENDED));
    CHECK(hears(3, ""));
    CHECK(l[2].client.nsubscriptions == 0 && l[2].code == 0);
    CHECK(sub(1)->position[0].offset == 2 && sub(3)->position[0].offset == 2);

    /* of no stream: all get it, and stay where they are */

    pub.offset = 0;
    deliver("0");
    CHECK(hears(0, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":0}}}"));
    CHECK(hears(3, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":0}}}"));
    CHECK(sub(3)->position[0].offset == 2);
    ngx_centrifugo_buf_reset(&l[1].out);

    /* another stream */

    epoch = pub.epoch;
    pub.epoch++;
    pub.offset = 3;
    sub(3)->server_side = 1;
    deliver("3");
    CHECK(hears(0, PLAIN("3", "3")));
    CHECK(hears(1, ENDED));
    CHECK(l[3].code == 3010 && l[3].client.nsubscriptions == 0);
    CHECK(channel()->count == 1);
    pub.epoch = epoch;

    /* too old */

    advance(2000);
    join(2, "");
    sub(2)->position[0].offset = 3;
    a.channel_position_max_time_lag = 1000;
    pub.time = ngx_centrifugo_broker_time() - 1000;
    deliver("4");
    CHECK(hears(2, PLAIN("4", "4")));
    pub.time--;
    deliver("5");
    CHECK(hears(2, ENDED));
    CHECK(l[2].client.nsubscriptions == 0);
    ngx_centrifugo_buf_reset(&l[0].out);

    /* the epoch is told with the first one only */

    pub.offset = 1;
    deliver("1");
    CHECK(hears(0, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":1,"
                   "\"offset\":1,\"epoch\":\"@\"}}}"));

    for (i = 0; i < 4; i++) {
        CHECK(ngx_centrifugo_buf_len(&l[i].out) == 0);
    }

    end(4);
}


/*
 * Subscriptions end in the midst of a walk, in which it stops and goes on at
 * any place.
 */

static void
walks(void)
{
    ngx_uint_t  i, ends, step;

    for (ends = 0; ends < 1 << 5; ends++) {

        for (step = 1; step < 4; step++) {
            begin();

            for (i = 0; i < 5; i++) {
                join(i, "");

                if (ends & (1 << i)) {
                    sub(i)->position[0].offset = 0;
                    sub(i)->server_side = i & 1;
                }
            }

            CHECK(queue(step) == 5 / step + (5 % step != 0));
            CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);

            for (i = 0; i < 5; i++) {

                if (!(ends & (1 << i))) {
                    CHECK(hears(i, PLAIN("2", "2")));
                    continue;
                }

                CHECK(l[i].client.nsubscriptions == 0);
                CHECK(i & 1 ? l[i].code == 3010 : hears(i, ENDED));
            }

            CHECK((channel() == NULL) == (ends == (1 << 5) - 1));
            end(5);
        }
    }

    /* who waits for the walk to go on, or stood beside the place, leaves */

    for (ends = 0; ends < 5; ends++) {
        ngx_int_t                  rc;
        ngx_uint_t                 budget;
        ngx_queue_t                mark;
        ngx_centrifugo_channel_t  *ch;

        begin();

        for (i = 0; i < 5; i++) {
            join(i, "");
        }

        ch = channel();
        mark.next = NULL;
        budget = 3;
        rc = ngx_centrifugo_delivery_publication(ch, UINT64_MAX, &pub, &mark,
                                                 &budget);
        CHECK(rc == NGX_AGAIN && budget == 0);

        ngx_centrifugo_subscription_end(sub(ends));

        budget = 1000;
        rc = ngx_centrifugo_delivery_publication(ch, UINT64_MAX, &pub, &mark,
                                                 &budget);
        CHECK(rc == NGX_OK && budget == 1000 - (ends < 3 ? 2 : 1));
        CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);

        for (i = 0; i < 5; i++) {
            CHECK(hears(i, i == ends && ends >= 3 ? "" : PLAIN("2", "2")));
        }

        end(5);
    }
}


/* One frame for all who get the same. */

static void
forms(void)
{
    ngx_uint_t               i, k;
    ngx_centrifugo_frame_t  *frame[CLIENTS];

    begin();

    for (i = 0; i < CLIENTS; i++) {
        k = i % 6;
        options.force_recovery = (k != 1);
        join(i, k == 2 ? "\"flag\":1"
                : k == 3 ? "\"delta\":\"fossil\""
                : k == 4 ? "\"delta\":\"fossil\",\"flag\":1"
                : k == 5 ? "\"tf\":{\"key\":\"k\",\"cmp\":\"nex\"}" : "");
    }

    CHECK(channel()->feed->deltas == 4 && channel()->feed->positioned == 10);

    pub.data = S("[\"x\",\n1]");
    (void) queue(1000);

    for (i = 0; i < CLIENTS; i++) {
        frame[i] = ngx_centrifugo_queue_first(&l[i].client.queue);
        CHECK(frame[i] == frame[i < 6 ? i : i - 6]);
    }

    CHECK(frame[1] == frame[0] && frame[5] == frame[0]);
    CHECK(frame[2] != frame[0] && frame[3] != frame[0]);
    CHECK(frame[4] != frame[0] && frame[4] != frame[2]
          && frame[4] != frame[3]);
    CHECK(frame[0]->refs == 6 && frame[4]->refs == 2);

    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(hears(0, PLAIN("[\"x\",1]", "2")));
    CHECK(hears(2, NUMBER("1", "[\"x\",1]", "2")));
    CHECK(hears(3, PLAIN("\"[\\\"x\\\",1]\"", "2")));
    CHECK(hears(4, NUMBER("1", "\"[\\\"x\\\",1]\"", "2")));

    /* joins and leaves are the same for all, with a name or a number */

    for (i = 0; i < CLIENTS; i++) {
        ngx_centrifugo_buf_reset(&l[i].out);
        sub(i)->push = (i != 6);
    }

    joins();
    CHECK(hears(0, JOIN("\"channel\":\"c\"")));
    CHECK(hears(2, JOIN("\"id\":1")));
    CHECK(hears(3, JOIN("\"channel\":\"c\"")));
    CHECK(hears(4, JOIN("\"id\":1")));
    CHECK(hears(6, ""));
    CHECK(sub(3)->based && sub(3)->position[0].offset == 2);

    /* a JSON client can't be told what is not JSON; nothing at all it can */

    pub.json = 0;
    pub.offset = 3;
    ngx_centrifugo_buf_reset(&l[0].out);
    ngx_centrifugo_buf_reset(&l[3].out);
    deliver("");
    CHECK(hears(0, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"offset\":3}}}"));
    CHECK(hears(3, PLAIN("\"\"", "3")));
    deliver("[");

    for (i = 0; i < CLIENTS; i++) {
        CHECK(l[i].code == 3506);
    }

    CHECK(channel() == NULL);
    end(CLIENTS);
}


/* More of them than are kept at a time. */

static void
many_forms(void)
{
    ngx_uint_t                  i;
    ngx_centrifugo_transport_t  transport[9];

    begin();

    for (i = 0; i < 10; i++) {
        join(i, i == 8 ? "\"flag\":1" : "");
        transport[ngx_min(i, 8)] = local_transport;
        l[i].client.transport = &transport[ngx_min(i, 8)];
    }

    /* the ninth takes the place of the eighth; the tenth is as that was */

    deliver("2");

    for (i = 0; i < 10; i++) {
        CHECK(hears(i, i == 8 ? NUMBER("1", "2", "2") : PLAIN("2", "2")));
    }

    end(10);
}


/* what a client with deltas has in the end */
static u_char  base[4096];
static size_t  base_len;


/* The data of the push, as a client understands it: 'f'ull, 'd'elta, or 0. */

static int
understands(ngx_uint_t i, const char *want)
{
    long                     len;
    char                     kind;
    u_char                   text[4096];
    ngx_uint_t               delta;
    ngx_centrifugo_json_t   *root, *value;
    ngx_centrifugo_arena_t   arena;

    kind = 0;
    ngx_centrifugo_arena_init(&arena, 4096);

    if (ngx_centrifugo_buf_len(&l[i].out)
        && ngx_centrifugo_json_parse(&arena, l[i].out.start + 1,
                                     ngx_centrifugo_buf_len(&l[i].out) - 1, 0,
                                     &root)
           == NGX_OK)
    {
        root = ngx_centrifugo_json_get(root, "push", 4);
        root = ngx_centrifugo_json_get(root, "pub", 3);
        value = ngx_centrifugo_json_get(root, "data", 4);
        delta = 0;
        (void) ngx_centrifugo_json_bool(root, "delta", 5, &delta);

        if (delta) {
            kind = 'd';
            len = undelta(base, base_len, value->str.data, value->str.len,
                          text, sizeof(text));
            CHECK(len > 0);

        } else {
            kind = 'f';
            len = value->str.len;
            memcpy(text, value->str.data, len);
        }

        memcpy(base, text, len);
        base_len = len;
        CHECK(base_len == strlen(want) && memcmp(base, want, len) == 0);
    }

    ngx_centrifugo_buf_reset(&l[i].out);
    ngx_centrifugo_arena_free(&arena);

    return kind;
}


static char *
text(unsigned n)
{
    snprintf(data, sizeof(data), TEXT "%u\"", n);

    return data;
}


/*
 * A delta when the client has the base, and it is shorter and allowed.
 */

static void
deltas(void)
{
    ngx_uint_t              n;
    ngx_str_t               packed;
    ngx_centrifugo_tag_t    tag;
    ngx_centrifugo_feed_t  *feed;
    ngx_centrifugo_arena_t  arena;

    begin();
    join(0, "");
    feed = NULL;

    /* nothing is kept for nobody */

    deliver(text(2));
    CHECK(channel()->feed->payload.start == NULL);
    CHECK(hears(0, PLAIN(TEXT "2\"", "2")));

    join(1, "\"delta\":\"fossil\",\"tf\":{\"key\":\"t\",\"cmp\":\"nex\"}");
    sub(1)->position[0].offset = 2;
    feed = channel()->feed;

    CHECK(feed->last.offset == 0);
    deliver(text(3));
    CHECK(understands(1, text(3)) == 'f');
    CHECK(feed->last.offset == 3 && feed->last.epoch == pub.epoch);
    CHECK(ngx_centrifugo_buf_len(&feed->payload) == strlen(data));

    deliver(text(4));
    CHECK(understands(1, text(4)) == 'd');
    deliver(text(5));
    CHECK(understands(1, text(5)) == 'd');

    /* not if the publisher did not ask for one; what follows has its base */

    pub.delta = 0;
    deliver(text(6));
    CHECK(understands(1, text(6)) == 'f');
    pub.delta = 1;
    deliver(text(7));
    CHECK(understands(1, text(7)) == 'd');

    /* not if it were longer */

    deliver("[\"something else\"]");
    CHECK(understands(1, "[\"something else\"]") == 'f');
    deliver(text(9));
    CHECK(understands(1, text(9)) == 'f');
    deliver(text(10));
    CHECK(understands(1, text(10)) == 'd');

    /* line feeds are part of neither */

    deliver("[\n" TEXT "\"\r\n,1]");
    CHECK(understands(1, "[" TEXT "\",1]") != 0);
    deliver("[\r" TEXT "\",\r2]");
    CHECK(understands(1, "[" TEXT "\",2]") == 'd');

    /* behind one of no stream */

    n = pub.offset;
    pub.offset = 0;
    deliver(text(0));
    CHECK(understands(1, text(0)) == 'f');
    pub.offset = n;
    deliver(text(13));
    CHECK(understands(1, text(13)) == 'f');
    deliver(text(14));
    CHECK(understands(1, text(14)) == 'd');

    /* behind one that the filter took out */

    ngx_centrifugo_arena_init(&arena, 256);
    tag.key = S("t");
    tag.value = S("v");
    CHECK(ngx_centrifugo_tags_pack(&arena, &tag, 1, &packed) == NGX_OK);
    pub.tags = packed;
    deliver(text(15));
    ngx_str_null(&pub.tags);
    ngx_centrifugo_arena_free(&arena);
    CHECK(understands(1, "") == 0);
    CHECK(sub(1)->position[0].offset == 15);
    deliver(text(16));
    CHECK(understands(1, text(16)) == 'f');
    deliver(text(17));
    CHECK(understands(1, text(17)) == 'd');

    /* one who recovered has the base, one who is new does not */

    join(2, "\"delta\":\"fossil\"");
    join(3, "\"delta\":\"fossil\"");
    sub(2)->position[0].offset = 17;
    sub(2)->based = 1;
    sub(3)->position[0].offset = 17;
    n = base_len;
    deliver(text(18));
    CHECK(understands(2, text(18)) == 'd');
    memcpy(base, text(17), n);
    CHECK(understands(1, text(18)) == 'd');
    CHECK(understands(3, text(18)) == 'f');

    /* a large one does not take memory for all time, nor does the last */

    {
        char  *large;

        large = __real_malloc(300001);
        memset(large, 'x', 300000);
        large[0] = large[299999] = '"';
        large[300000] = '\0';
        deliver(large);
        CHECK(feed->payload.end - feed->payload.start >= 300000);
        large[1] = 'y';
        deliver(large);
        free(large);

        ngx_centrifugo_buf_free(&l[0].out);
        ngx_centrifugo_buf_reset(&l[1].out);
        ngx_centrifugo_buf_reset(&l[2].out);
        ngx_centrifugo_buf_reset(&l[3].out);

        deliver(text(21));
        CHECK(feed->payload.end - feed->payload.start < 5000);
    }

    for (n = 1; n < 4; n++) {
        (void) local_say(&l[n],
                         "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
    }

    run();
    deliver(text(22));
    CHECK(feed == channel()->feed && feed->deltas == 0);
    CHECK(feed->payload.start == NULL && feed->last.offset == 0);

    end(4);
}


/*
 * What comes before the answer goes behind it, whatever was recovered.
 */

static void
held(void)
{
    size_t                          bytes;
    ngx_uint_t                      i;
    ngx_centrifugo_subscription_t  *s;

    begin();
    join(0, "");
    join(1, "\"delta\":\"fossil\"");
    s = sub(1);

    /* some of it is known already; the rest is no base before it is there */

    s->pending = 1;
    deliver(text(2));
    CHECK(hears(1, "") && hears(0, PLAIN(TEXT "2\"", "2")));
    CHECK(s->held != NULL && s->based == 0 && s->position[0].offset == 1);
    deliver(text(3));
    deliver(text(4));
    ngx_centrifugo_buf_reset(&l[0].out);
    CHECK(s->based == 0);

    s->position[0].offset = 3;
    s->pending = 0;
    ngx_centrifugo_delivery_answered(s);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(s->held == NULL && s->position[0].offset == 4 && s->based);
    CHECK(understands(1, text(4)) == 'f');
    deliver(text(5));
    CHECK(understands(1, text(5)) == 'd');

    /* all of it is: the base is what was recovered, or none; a join is none */

    s->push = 1;

    for (i = 0; i < 2; i++) {
        s->pending = 1;
        deliver(text(6 + i));
        joins();
        CHECK(hears(1, ""));
        s->position[0].offset = 6 + i;
        s->pending = 0;
        s->based = i;
        ngx_centrifugo_delivery_answered(s);
        CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
        CHECK(hears(1, JOIN("\"channel\":\"c\"")) && s->based == i);
    }

    s->push = 0;

    /* one of no stream, or one that is filtered, comes last: no base */

    s->pending = 1;
    deliver(text(8));
    i = pub.offset;
    pub.offset = 0;
    deliver(text(0));
    pub.offset = i;
    s->pending = 0;
    s->based = 1;
    ngx_centrifugo_delivery_answered(s);
    CHECK(s->based == 0 && s->position[0].offset == 8);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    ngx_centrifugo_buf_reset(&l[0].out);
    ngx_centrifugo_buf_reset(&l[1].out);

    join(2, "\"delta\":\"fossil\",\"tf\":{\"key\":\"t\",\"cmp\":\"ex\"}");
    sub(2)->position[0].offset = 8;
    sub(2)->pending = 1;
    sub(2)->based = 1;
    deliver(text(9));
    CHECK(understands(1, text(9)) == 'f');
    sub(2)->pending = 0;
    ngx_centrifugo_delivery_answered(sub(2));
    CHECK(sub(2)->based == 0 && sub(2)->position[0].offset == 9);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(hears(2, ""));

    /* something is missing before it */

    s->pending = 1;
    deliver(text(10));
    s->position[0].offset = 8;
    s->pending = 0;
    ngx_centrifugo_delivery_answered(s);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(hears(1, ENDED) && l[1].client.nsubscriptions == 0);

    /* more than a queue may hold: who has a position finds out */

    a.queue_max_size = 2000;
    bytes = ngx_centrifugo_frame_bytes();
    options.force_recovery = 0;
    join(3, "");
    sub(2)->pending = 1;
    sub(3)->pending = 1;
    sub(2)->position[0].offset = 10;
    sub(2)->delta = 0;
    free(sub(2)->extra->filter);
    sub(2)->extra->filter = NULL;

    for (i = 0; i < 30; i++) {
        deliver(text(11 + i));
        ngx_centrifugo_buf_reset(&l[0].out);
    }

    CHECK(ngx_centrifugo_frame_bytes() > bytes
          && ngx_centrifugo_frame_bytes() < bytes + 2000);

    sub(3)->pending = 0;
    ngx_centrifugo_delivery_answered(sub(3));
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(ngx_centrifugo_buf_len(&l[3].out) > 500
          && ngx_centrifugo_buf_len(&l[3].out) < 2000);
    CHECK(l[3].client.nsubscriptions == 1);

    s = sub(2);
    s->pending = 0;
    ngx_centrifugo_delivery_answered(s);
    CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
    CHECK(l[2].client.nsubscriptions == 0
          && ngx_centrifugo_buf_len(&l[2].out) > strlen(ENDED)
          && memcmp(l[2].out.last - strlen(ENDED), ENDED, strlen(ENDED)) == 0);
    CHECK(ngx_centrifugo_frame_bytes() == bytes);

    /* too much for the queue it goes to; one that ends with it */

    sub(3)->pending = 1;
    deliver(text(41));
    deliver(text(42));
    a.queue_max_size = 100;
    sub(3)->pending = 0;
    ngx_centrifugo_delivery_answered(sub(3));
    CHECK(l[3].code == 3008 && l[3].client.nsubscriptions == 0);

    a.queue_max_size = 2000;
    sub(0)->pending = 1;
    deliver(text(43));
    CHECK(sub(0)->held != NULL);
    ngx_centrifugo_client_close(&l[0].client,
                                &ngx_centrifugo_disconnect_forced, "test");

    end(4);
}


/*
 * Without memory at any place nobody gets a wrong text, and nothing is lost
 * silently: who is not sent away understands all.
 */

static void
no_memory(void)
{
    long        at;
    ngx_uint_t  i, left, failed;

    for (failed = 1, at = 0; failed; at++) {
        begin();
        join(0, "");
        join(1, "\"delta\":\"fossil\"");
        join(2, "\"delta\":\"fossil\"");
        join(3, "\"delta\":\"fossil\",\"flag\":1");

        deliver(text(2));
        ngx_centrifugo_buf_reset(&l[0].out);
        ngx_centrifugo_buf_reset(&l[1].out);
        ngx_centrifugo_buf_reset(&l[2].out);
        CHECK(understands(3, text(2)) == 'f');
        sub(3)->pending = 1;

        /* with all buffers as they are at first */

        ngx_centrifugo_delivery_exit();

        pub.data = S(text(3));
        fail_after = at;
        (void) queue(1000);
        failed = (fail_after == -1);
        fail_after = -1;
        pub.offset++;

        CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);

        for (i = 0, left = 0; i < 4; i++) {

            if (l[i].code) {
                CHECK(l[i].code == 3004 && l[i].client.nsubscriptions == 0);
                left++;
            }
        }

        CHECK(left <= failed);
        CHECK(l[0].code || hears(0, PLAIN(TEXT "3\"", "3")));

        for (i = 1; i < 3; i++) {
            base_len = strlen(text(2));
            memcpy(base, data, base_len);
            CHECK(l[i].code || understands(i, text(3)) != 0);
        }

        if (l[3].code == 0) {
            sub(3)->pending = 0;
            ngx_centrifugo_delivery_answered(sub(3));
            CHECK(ngx_centrifugo_delivery_flush() == NGX_OK);
            CHECK(understands(3, text(3)) == 'f');
        }

        /* and goes on with it */

        pub.data = S(text(4));
        deliver(text(4));

        for (i = 1; i < 4; i++) {
            base_len = strlen(text(3));
            memcpy(base, data, base_len);
            CHECK(l[i].code || understands(i, text(4)) != 0);
        }

        end(4);
    }

    CHECK(at > 5);
}


int
main(void)
{
    positions();
    walks();
    forms();
    many_forms();
    deltas();
    held();
    no_memory();

    return UNIT_END();
}
