/*
 * Positions of subscriptions: who gets one, what is recovered, histories, and
 * what is done by those that have missed something.
 */

#include "unit_client.h"
#include "unit_delta.h"
#include "client/ngx_centrifugo_order.h"
#include "protocol/ngx_centrifugo_json.h"


/* options of an ordinary channel with a history */

static void
history_on(void)
{
    memset(&options, 0, sizeof(options));
    options.history_size = 10;
    options.history_ttl = 60000;
    options.history_meta_ttl = 600000;
    options.allow_subscribe_for_client = 1;
    options.allow_subscribe_for_anonymous = 1;
    options.force_recovery = 1;
}


static void
begin(void)
{
    start(RING);
    a.client_insecure = 0;
    a.anonymous = 1;
    history_on();
}


static void
post(const char *name, const char *data, const char *tag, ngx_uint_t flags)
{
    ngx_centrifugo_tag_t              tags[1];
    ngx_centrifugo_arena_t            arena;
    ngx_centrifugo_position_t         position;
    ngx_centrifugo_hub_publication_t  pub;

    ngx_centrifugo_arena_init(&arena, 512);
    memset(&pub, 0, sizeof(pub));

    if (tag) {
        tags[0].key = S("t");
        tags[0].value = S(tag);
        CHECK(ngx_centrifugo_tags_pack(&arena, tags, 1, &pub.tags) == NGX_OK);
    }

    pub.channel = S(name);
    pub.data = S(data);
    pub.flags = flags;
    pub.size = options.history_size;
    pub.ttl = options.history_ttl;
    pub.meta_ttl = options.history_meta_ttl;

    (void) ngx_centrifugo_hub_publish(&b.hub, &pub, &position);
    (void) ngx_centrifugo_broker_wake(&b);

    ngx_centrifugo_arena_free(&arena);
}


static void
posts(unsigned from, unsigned to)
{
    char  data[32];

    for ( /* void */ ; from <= to; from++) {
        snprintf(data, sizeof(data), "%u", from);
        post("c", data, NULL, NGX_CENTRIFUGO_PUB_JSON);
    }

    run();
}


/* Where the stream stands now. */

static ngx_centrifugo_position_t
top(const char *name)
{
    ngx_centrifugo_history_t  h;

    memset(&h, 0, sizeof(h));
    h.channel = S(name);
    CHECK(ngx_centrifugo_hub_history(&b.hub, &h) == NGX_OK);

    return h.position;
}


/* A text, in which @ stands for the epoch of "c" and % for that of "#u". */

static char *
epochs(const char *text)
{
    char                      *p;
    ngx_centrifugo_position_t  position;

    static char  out[65536];

    for (p = out; *text; text++) {
        if (*text == '@' || *text == '%') {
            position = top(*text == '@' ? "c" : "#u");
            p = (char *) ngx_cpymem(p, &position.epoch, 8);

        } else {
            *p++ = *text;
        }
    }

    *p = '\0';

    return out;
}


/* Whether `text` begins with what is wanted. */

static ngx_uint_t
alike(const char *text, const char *want)
{
    want = epochs(want);

    if (strncmp(text, want, strlen(want)) != 0) {
        fprintf(stderr, "got: %s\n", text);
        return 0;
    }

    return 1;
}


static ngx_uint_t
heard(ngx_centrifugo_buf_t *out, const char *want)
{
    return got(out, epochs(want));
}


static ngx_int_t
said(local_t *l, const char *text)
{
    ngx_int_t  rc;

    rc = local_say(l, epochs(text));
    run();

    return rc;
}


/* Says something and compares what comes back. */

static ngx_uint_t
says(local_t *l, const char *text, const char *want)
{
    (void) said(l, text);

    return heard(&l->out, want);
}


static void
local_connect(local_t *l)
{
    local_open(l);
    (void) local_say(l, "{\"id\":1,\"connect\":{}}");
    run();
    CHECK(l->client.state == NGX_CENTRIFUGO_CLIENT_CONNECTED);
    ngx_centrifugo_buf_reset(&l->out);
}


static ngx_centrifugo_subscription_t *
first(local_t *l)
{
    ngx_queue_t  *q;

    q = ngx_queue_head(&l->client.subscriptions);

    return ngx_queue_data(q, ngx_centrifugo_subscription_t, in_client);
}


/* Subscribes to "c" with these wishes, compares the result, and leaves it. */

static ngx_uint_t
result(local_t *l, const char *wishes, const char *want)
{
    char        text[1024], reply[1024];
    ngx_uint_t  ok;

    snprintf(text, sizeof(text), "{\"id\":2,\"subscribe\":{\"channel\":\"c\""
             "%s%s}}", *wishes ? "," : "", wishes);
    snprintf(reply, sizeof(reply), "#{\"id\":2,%s}", want);

    ok = says(l, text, reply);

    return ok & says(l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}",
                     "#{\"id\":3,\"unsubscribe\":{}}");
}


static void
order(local_t *l, ngx_centrifugo_order_e kind, const char *name,
    ngx_int_t since)
{
    ngx_centrifugo_order_t  o;

    memset(&o, 0, sizeof(o));
    o.kind = kind;
    o.channel = S(name);

    if (kind == NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE) {
        o.code = 2000;
        o.reason = S("server unsubscribe");
    }

    if (since >= 0) {
        o.recover = 1;
        o.since.offset = since;
        o.since.epoch = top(name).epoch;
    }

    ngx_centrifugo_client_ordered(&l->client, &o);
    run();
}


#define ERROR(code, text)                                                    \
    "\"error\":{\"code\":" code ",\"message\":\"" text "\"}"

#define EPOCH  "\"epoch\":\"@\""


/*
 * Who gets a position, and what else is granted.
 */

static void
grants(void)
{
    local_t     l, m;
    ngx_uint_t  i;

    static const char  wishes[] = "\"positioned\":true,\"recoverable\":true";
    static const char  recover[] = "\"recover\":true";
    static const char  both[] = "\"subscribe\":{\"recoverable\":true," EPOCH
                                ",\"positioned\":true}";
    static const char  one[] = "\"subscribe\":{" EPOCH ",\"positioned\":true}";
    static const char  none[] = "\"subscribe\":{}";

    begin();
    local_connect(&l);

    /* without a history there is none, whatever is asked for */

    options.history_size = 0;
    options.force_positioning = 1;
    options.allow_recovery = 1;
    options.allow_history_for_client = 1;
    CHECK(result(&l, wishes, none));
    CHECK(result(&l, recover, "\"subscribe\":{\"was_recovering\":true}"));

    history_on();
    CHECK(result(&l, "", both));

    options.force_recovery = 0;
    CHECK(result(&l, wishes, none));
    CHECK(result(&l, recover, "\"subscribe\":{\"was_recovering\":true}"));

    options.force_positioning = 1;
    CHECK(result(&l, wishes, one));
    CHECK(result(&l, recover, "\"subscribe\":{" EPOCH ",\"positioned\":true,"
                              "\"was_recovering\":true}"));

    /* wishes */

    options.force_positioning = 0;
    options.allow_positioning = 1;
    CHECK(result(&l, "", none));
    CHECK(result(&l, "\"positioned\":true", one));
    CHECK(result(&l, "\"recoverable\":true", none));

    options.allow_positioning = 0;
    options.allow_recovery = 1;
    CHECK(result(&l, "", none));
    CHECK(result(&l, "\"positioned\":true", none));
    CHECK(result(&l, "\"recoverable\":true", both));

    /* who may read the history may have both */

    for (i = 0; i < 4; i++) {
        history_on();
        options.force_recovery = 0;

        switch (i) {

        case 0:
            options.allow_history_for_client = 1;
            CHECK(result(&l, wishes, none));
            options.allow_history_for_anonymous = 1;
            break;

        case 1:
            options.allow_history_for_subscriber = 1;
            CHECK(result(&l, wishes, none));
            options.allow_history_for_anonymous = 1;
            break;

        case 2:
            a.client_insecure = 1;
            break;

        default:
            a.client_insecure = 0;
            CHECK(result(&l, wishes, none));
            continue;
        }

        CHECK(result(&l, wishes, both));
        CHECK(result(&l, "\"positioned\":true", one));
    }

    /* texts even without a position, deltas with one */

    CHECK(result(&l, "\"delta\":\"fossil\"", none));
    options.delta_fossil = 1;
    CHECK(result(&l, "\"delta\":\"fossil\"",
                 "\"subscribe\":{\"delta\":true}"));
    options.force_positioning = 1;
    CHECK(result(&l, "\"delta\":\"fossil\"",
                 "\"subscribe\":{" EPOCH ",\"positioned\":true,"
                 "\"delta\":true}"));
    options.delta_fossil = 0;
    CHECK(result(&l, "\"delta\":\"fossil\"", one));

    /* numbers */

    CHECK(result(&l, "\"flag\":1", one));
    a.channel_compaction = 1;
    CHECK(result(&l, "\"flag\":2", one));
    CHECK(result(&l, "\"flag\":1", "\"subscribe\":{" EPOCH ","
                                   "\"positioned\":true,\"id\":1}"));
    CHECK(result(&l, "\"flag\":1", "\"subscribe\":{" EPOCH ","
                                   "\"positioned\":true,\"id\":2}"));
    options.force_positioning = 0;
    CHECK(result(&l, "\"flag\":3", "\"subscribe\":{\"id\":3}"));

    /* who follows no stream leaves the position to the one that does */

    local_connect(&m);
    (void) said(&m, "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"flag\":1}}");
    posts(1, 2);
    options.force_positioning = 1;
    CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}",
               "#{\"id\":2,\"subscribe\":{" EPOCH ",\"offset\":2,"
               "\"positioned\":true}}"));
    CHECK(first(&l)->channel->feed->position.offset == 2
          && first(&l)->channel->feed->position.epoch == top("c").epoch);
    local_end(&m);
    (void) said(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l.out);
    options.force_positioning = 0;

    /* filters; who may not subscribe is told that first */

    CHECK(result(&l, "\"tf\":{\"cmp\":\"eq\",\"key\":\"t\",\"val\":\"1\"}",
                 ERROR("107", "bad request")));
    options.allow_tags_filter = 1;
    CHECK(result(&l, "\"tf\":{\"cmp\":\"eq\",\"key\":\"t\",\"val\":\"1\"}",
                 none));
    CHECK(result(&l, "\"tf\":{\"cmp\":\"like\",\"key\":\"t\",\"val\":\"1\"}",
                 ERROR("107", "bad request")));
    options.allow_subscribe_for_client = 0;
    CHECK(result(&l, "\"tf\":{\"cmp\":\"like\",\"key\":\"t\",\"val\":\"1\"}",
                 ERROR("103", "permission denied")));

    local_end(&l);
    stop();
}


/* a peer that takes nothing */

static ngx_int_t
stuck_send(ngx_centrifugo_client_t *client)
{
    return NGX_AGAIN;
}


static const ngx_centrifugo_transport_t  stuck = {
    ngx_string("stuck"),
    local_frame,
    stuck_send,
    local_close,
    local_resume,
    NULL
};


/*
 * What the reply says of a position, and what it holds.
 */

static void
recovery(void)
{
    char        want[1024];
    local_t     l;
    ngx_uint_t  i, n;

#define RECOVER(offset)                                                      \
    "\"recover\":true,\"epoch\":\"@\",\"offset\":" offset
#define REPLY(offset)                                                        \
    "\"subscribe\":{\"recoverable\":true," EPOCH "," offset                  \
    "\"positioned\":true,"
#define LOST(top)                                                            \
    "\"subscribe\":{\"recoverable\":true," EPOCH ",\"offset\":" top          \
    ",\"positioned\":true,\"was_recovering\":true}"

    begin();
    local_connect(&l);
    posts(1, 4);

    /* not asked for */

    CHECK(result(&l, "", "\"subscribe\":{\"recoverable\":true," EPOCH ","
                         "\"offset\":4,\"positioned\":true}"));
    CHECK(sum(NGX_CENTRIFUGO_COUNT_RECOVERED_YES) == 0
          && sum(NGX_CENTRIFUGO_COUNT_RECOVERED_NO) == 0);

    /* a part, nothing, all; the epoch is in the first publication */

    CHECK(result(&l, RECOVER("2"),
                 "\"subscribe\":{\"recoverable\":true," EPOCH ","
                 "\"publications\":[{\"data\":3,\"offset\":3},"
                 "{\"data\":4,\"offset\":4}],\"recovered\":true,"
                 "\"offset\":2,\"positioned\":true,"
                 "\"was_recovering\":true}"));
    CHECK(result(&l, RECOVER("4"),
                 "\"subscribe\":{\"recoverable\":true," EPOCH ","
                 "\"recovered\":true,\"offset\":4,\"positioned\":true,"
                 "\"was_recovering\":true}"));
    CHECK(result(&l, "\"recover\":true",
                 "\"subscribe\":{\"recoverable\":true," EPOCH ","
                 "\"publications\":[{\"data\":1,\"offset\":1,\"epoch\":\"@\"},"
                 "{\"data\":2,\"offset\":2},{\"data\":3,\"offset\":3},"
                 "{\"data\":4,\"offset\":4}],\"recovered\":true,"
                 "\"positioned\":true,\"was_recovering\":true}"));
    CHECK(sum(NGX_CENTRIFUGO_COUNT_RECOVERED_YES) == 3
          && sum(NGX_CENTRIFUGO_COUNT_RECOVERED_PUBLICATIONS) == 6);

    /* not: beyond the top, of another stream, or what is no epoch */

    CHECK(result(&l, RECOVER("5"), LOST("4")));
    CHECK(result(&l, "\"recover\":true,\"epoch\":\"AAAAAAAA\",\"offset\":2",
                 LOST("4")));
    CHECK(result(&l, "\"recover\":true,\"epoch\":\"x\",\"offset\":2",
                 LOST("4")));

    /* nor more than is kept, or than the limits allow */

    posts(5, 11);
    CHECK(result(&l, RECOVER("0"), LOST("11")));
    a.recovery_max_publication_limit = 9;
    CHECK(result(&l, RECOVER("1"), LOST("11")));
    CHECK(sum(NGX_CENTRIFUGO_COUNT_RECOVERED_NO) == 5);

    a.recovery_max_publication_limit = 10;
    n = snprintf(want, sizeof(want), "\"subscribe\":{\"recoverable\":true,"
                 EPOCH ",\"publications\":[");

    for (i = 2; i <= 11; i++) {
        n += snprintf(want + n, sizeof(want) - n,
                      "%s{\"data\":%u,\"offset\":%u}", i == 2 ? "" : ",",
                      (unsigned) i, (unsigned) i);
    }

    snprintf(want + n, sizeof(want) - n, "],\"recovered\":true,\"offset\":1,"
             "\"positioned\":true,\"was_recovering\":true}");
    CHECK(result(&l, RECOVER("1"), want));

    /* a reply larger than the queue may be, or what is left of it */

    a.queue_max_size = 700;
    CHECK(result(&l, RECOVER("1"), LOST("11")));
    a.queue_max_size = 900;
    CHECK(result(&l, RECOVER("1"), want));

    l.client.transport = &stuck;

    for (i = 0; i < 3; i++) {
        (void) said(&l, "{\"id\":1,\"rpc\":{}}");
    }

    (void) said(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\","
                    "\"recover\":true,\"offset\":1}}");
    CHECK(heard(&l.out, ""));
    l.client.transport = &local_transport;
    ngx_centrifugo_delivery_send(&l.client);
    ngx_centrifugo_buf_byte(&l.out, '\0');
    CHECK(strstr((char *) l.out.start, "\"offset\":11,\"positioned\"")
          && !strstr((char *) l.out.start, "\"recovered\""));
    ngx_centrifugo_buf_reset(&l.out);
    CHECK(says(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}",
               "#{\"id\":3,\"unsubscribe\":{}}"));

    /* who does not want to be without it is not subscribed at all */

    options.presence = 1;
    CHECK(result(&l, RECOVER("12") ",\"flag\":2",
                 ERROR("112", "unrecoverable position")));
    CHECK(l.client.nsubscriptions == 0);
    a.queue_max_size = 700;
    CHECK(result(&l, RECOVER("1") ",\"flag\":2",
                 ERROR("112", "unrecoverable position")));
    CHECK(l.client.nsubscriptions == 0);
    a.queue_max_size = 1024 * 1024;
    CHECK(result(&l, RECOVER("1") ",\"flag\":2", want));
    CHECK(result(&l, "\"flag\":2", "\"subscribe\":{\"recoverable\":true,"
                                   EPOCH ",\"offset\":11,"
                                   "\"positioned\":true}"));

    /* what comes next is what follows */

    CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\","
                   RECOVER("10") "}}",
               "#{\"id\":2,\"subscribe\":{\"recoverable\":true," EPOCH ","
               "\"publications\":[{\"data\":11,\"offset\":11}],"
               "\"recovered\":true,\"offset\":10,\"positioned\":true,"
               "\"was_recovering\":true}}"));
    posts(12, 12);
    CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":12,"
                        "\"offset\":12}}}"));

    /* a JSON client can't be told what is not JSON */

    (void) said(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l.out);
    post("c", "[", NULL, 0);
    CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\","
                   RECOVER("12") "}}", ""));
    CHECK(l.code == 3506);
    local_end(&l);

    stop();
}


/*
 * The newest publication instead of all.
 */

static void
cache(void)
{
    local_t  l;

#define CACHED(offset, more)                                                 \
    "\"subscribe\":{\"recoverable\":true," EPOCH ",\"publications\":"        \
    "[{\"data\":3,\"offset\":3}],\"recovered\":true," offset                 \
    "\"positioned\":true" more "}"

    begin();
    options.recover = NGX_CENTRIFUGO_RECOVERY_CACHE;
    local_connect(&l);

    CHECK(result(&l, "\"recover\":true",
                 "\"subscribe\":{\"recoverable\":true," EPOCH ","
                 "\"positioned\":true,\"was_recovering\":true}"));

    posts(1, 3);
    CHECK(result(&l, "\"recover\":true",
                 CACHED("", ",\"was_recovering\":true")));
    CHECK(result(&l, RECOVER("1"),
                 CACHED("\"offset\":1,", ",\"was_recovering\":true")));
    CHECK(result(&l, RECOVER("3"),
                 "\"subscribe\":{\"recoverable\":true," EPOCH ","
                 "\"recovered\":true,\"offset\":3,\"positioned\":true,"
                 "\"was_recovering\":true}"));
    CHECK(result(&l, "\"recover\":true,\"epoch\":\"AAAAAAAA\",\"offset\":3",
                 CACHED("\"offset\":3,", ",\"was_recovering\":true")));

    /* only when it is asked for, or always */

    CHECK(result(&l, "", "\"subscribe\":{\"recoverable\":true," EPOCH ","
                         "\"offset\":3,\"positioned\":true}"));
    options.auto_cache_recover = 1;
    CHECK(result(&l, "", CACHED("", "")));

    order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
    CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"subscribe\":"
                        "{\"recoverable\":true,\"epoch\":\"@\","
                        "\"offset\":3,\"positioned\":true}}}"));
    (void) said(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l.out);

    options.recover = NGX_CENTRIFUGO_RECOVERY_STREAM;
    CHECK(result(&l, "", "\"subscribe\":{\"recoverable\":true," EPOCH ","
                         "\"offset\":3,\"positioned\":true}"));

    local_end(&l);
    stop();
}


/* The publications of a reply to subscribe: how many, with these in `list`. */

static ngx_uint_t
recovered(local_t *l, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t **list)
{
    ngx_uint_t              n;
    ngx_centrifugo_json_t  *root, *pub;

    CHECK(ngx_centrifugo_json_parse(arena, l->out.start + 1,
                                    ngx_centrifugo_buf_len(&l->out) - 1, 0,
                                    &root)
          == NGX_OK);

    root = ngx_centrifugo_json_get(root, "subscribe", 9);
    root = root ? ngx_centrifugo_json_get(root, "publications", 12) : NULL;
    *list = root ? root->child : NULL;

    for (n = 0, pub = *list; pub; pub = pub->next) {
        n++;
    }

    return n;
}


/*
 * A filter leaves out what does not meet it, deltas go from one to the next of
 * what is left.
 */

static void
forms(void)
{
    long                      len;
    char                      data[4][400];
    local_t                   l;
    u_char                    base[400], text[400];
    size_t                    base_len;
    ngx_str_t                 info = ngx_string("{}");
    ngx_uint_t                i, flag;
    ngx_centrifugo_json_t    *pub;
    ngx_centrifugo_arena_t    arena;

    begin();
    options.allow_tags_filter = 1;
    options.delta_fossil = 1;
    options.delta_publish = 1;
    local_connect(&l);

    for (i = 0; i < 4; i++) {
        memset(data[i], 'a', sizeof(data[i]));
        snprintf(data[i], sizeof(data[i]), "{\"number\":%u,\n\"text\":\"\\n%0*d"
                 "\"}", (unsigned) i, 300, 7);
        post("c", data[i], (i & 1) ? "odd" : "even",
             NGX_CENTRIFUGO_PUB_JSON);
    }

    for (i = 0; i < 3; i++) {
        ngx_centrifugo_arena_init(&arena, 4096);

        (void) said(&l, i == 2
            ? "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"recover\":true,"
              "\"offset\":4,\"delta\":\"fossil\"}}"
            : i == 1
            ? "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"recover\":true,"
              "\"tf\":{\"cmp\":\"eq\",\"key\":\"t\",\"val\":\"odd\"},"
              "\"delta\":\"fossil\"}}"
            : "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"recover\":true,"
              "\"tf\":{\"cmp\":\"eq\",\"key\":\"t\",\"val\":\"even\"},"
              "\"delta\":\"fossil\"}}");

        CHECK(recovered(&l, &arena, &pub) == (i == 2 ? 0 : 2));

        if (i < 2) {

            /* the first is whole, without its line feed */

            CHECK(ngx_centrifugo_json_bool(pub, "delta", 5, &flag)
                  == NGX_DECLINED);
            pub = pub->next;
            CHECK(ngx_centrifugo_json_bool(pub, "delta", 5, &flag) == NGX_OK
                  && flag);

            base_len = strlen(data[i]);
            memcpy(base, data[i], base_len);
            memmove(strchr((char *) base, '\n'),
                    strchr((char *) base, '\n') + 1,
                    base_len - (strchr((char *) base, '\n') - (char *) base)
                    - 1);
            base_len--;

            pub = ngx_centrifugo_json_get(pub, "data", 4);
            CHECK(pub->str.len < base_len / 4);
            len = undelta(base, base_len, pub->str.data, pub->str.len, text,
                          sizeof(text));

            base[10] = '2' + i;
            CHECK(len == (long) base_len && memcmp(base, text, len) == 0);
        }

        /* it has the base of what follows if it got what is at the top */

        CHECK(first(&l)->based == (i == 1));

        ngx_centrifugo_arena_free(&arena);
        (void) said(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
        ngx_centrifugo_buf_reset(&l.out);
    }

    /* a filter stays when the subscription is renewed */

    (void) said(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\",\"tf\":"
                    "{\"cmp\":\"eq\",\"key\":\"t\",\"val\":\"odd\"}}}");
    CHECK(ngx_centrifugo_subscription_renew(first(&l), 1800000000, &info)
          == NGX_OK);
    ngx_centrifugo_buf_reset(&l.out);
    post("c", "1", "even", NGX_CENTRIFUGO_PUB_JSON);
    run();
    CHECK(heard(&l.out, ""));
    post("c", "2", "odd", NGX_CENTRIFUGO_PUB_JSON);
    run();
    CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":2,"
                        "\"offset\":6,\"tags\":{\"t\":\"odd\"}}}}"));

    local_end(&l);
    stop();
}


/*
 * Where it was in server-side subscriptions is in the command connect.
 */

static void
connects(void)
{
    char       *text, *subs;
    local_t     l;
    ngx_str_t   user = ngx_string("u"), none = ngx_null_string;
    ngx_uint_t  i, n;

    static const char *positions[] = {
        "\"c\":{\"recover\":true,\"epoch\":\"@\",\"offset\":2}",
        "\"c\":{\"recover\":true,\"epoch\":\"AAAAAAAA\",\"offset\":2}",
        "\"c\":{}",
        "\"c\":{\"recover\":true,\"offset\":3},\"#u\":{\"recover\":true}",
        "\"c\":{\"recover\":true,\"offset\":1},\"c\":{\"offset\":2}"
    };
    static const char *results[] = {
        "{\"#u\":{\"recoverable\":true,\"epoch\":\"%\",\"positioned\":true},"
        "\"c\":{\"recoverable\":true,\"epoch\":\"@\",\"publications\":"
        "[{\"data\":3,\"offset\":3}],\"recovered\":true,\"offset\":2,"
        "\"positioned\":true,\"was_recovering\":true}}",
        "{\"#u\":{\"recoverable\":true,\"epoch\":\"%\",\"positioned\":true},"
        "\"c\":{\"recoverable\":true,\"epoch\":\"@\",\"offset\":3,"
        "\"positioned\":true,\"was_recovering\":true}}",
        "{\"#u\":{\"recoverable\":true,\"epoch\":\"%\",\"positioned\":true},"
        "\"c\":{\"recoverable\":true,\"epoch\":\"@\",\"offset\":3,"
        "\"positioned\":true}}",
        "{\"#u\":{\"recoverable\":true,\"epoch\":\"%\",\"recovered\":true,"
        "\"positioned\":true,\"was_recovering\":true},"
        "\"c\":{\"recoverable\":true,\"epoch\":\"@\",\"recovered\":true,"
        "\"offset\":3,\"positioned\":true,\"was_recovering\":true}}",
        "{\"#u\":{\"recoverable\":true,\"epoch\":\"%\",\"positioned\":true},"
        "\"c\":{\"recoverable\":true,\"epoch\":\"@\",\"offset\":3,"
        "\"positioned\":true}}"
    };

    begin();
    a.personal = 1;
    posts(1, 3);

    for (i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        local_open(&l);
        CHECK(ngx_centrifugo_client_identity(&l.client, &user, &none)
              == NGX_OK);
        l.client.identified = 1;

        text = __real_malloc(1000);
        snprintf(text, 1000, "{\"id\":1,\"connect\":{\"subs\":{%s}}}",
                 positions[i]);
        CHECK(said(&l, text) == NGX_OK);
        free(text);

        ngx_centrifugo_buf_byte(&l.out, '\0');
        subs = strstr((char *) l.out.start, "\"subs\":");
        CHECK(subs && alike(subs + 7, results[i]));

        CHECK(l.client.nsubscriptions == 2);
        ngx_centrifugo_buf_reset(&l.out);

        posts(4 + i, 4 + i);
        CHECK(ngx_centrifugo_buf_len(&l.out) != 0);
        local_end(&l);

        /* as it was */

        stop();
        begin();
        a.personal = 1;
        posts(1, 3);
    }

    /* all of what is recovered has to fit into the one reply */

    for (i = 0; i < 200; i++) {
        post("d", "\"0123456789012345678901234567890123456789\"", NULL,
             NGX_CENTRIFUGO_PUB_JSON);
        post("e", "\"0123456789012345678901234567890123456789\"", NULL,
             NGX_CENTRIFUGO_PUB_JSON);
    }

    for (n = 0; n < 3; n++) {
        a.queue_max_size = 2100 + n * 500;
        local_open(&l);
        CHECK(local_say(&l, "{\"id\":1,\"connect\":{\"subs\":{"
                            "\"d\":{\"recover\":true,\"offset\":190},"
                            "\"e\":{\"recover\":true,\"offset\":190}}}}")
              == NGX_OK);
        run();
        CHECK(l.code == 0 && l.client.nsubscriptions == 2);
        ngx_centrifugo_buf_byte(&l.out, '\0');

        for (i = 0, text = (char *) l.out.start;
             (text = strstr(text, "\"recovered\"")) != NULL;
             text++)
        {
            i++;
        }

        CHECK(i == n);
        local_end(&l);
    }

    a.queue_max_size = 1024 * 1024;

    /* very many, of which each is looked up */

    a.channel_limit = 4000;
    text = __real_malloc(200000);
    n = sprintf(text, "{\"id\":1,\"connect\":{\"subs\":{");

    for (i = 0; i < 2000; i++) {
        n += sprintf(text + n, "\"n%u\":{\"recover\":true},", (unsigned) i);
    }

    for (i = 0; i < 2000; i++) {
        n += sprintf(text + n, "\"n%u\":{\"recover\":true,\"offset\":1}%s",
                     (unsigned) i, i == 1999 ? "}}}" : ",");
    }

    a.message_size_limit = 200000;
    local_open(&l);
    CHECK(local_say(&l, text) == NGX_OK);
    CHECK(l.client.nsubscriptions == 2000);
    CHECK(sum(NGX_CENTRIFUGO_COUNT_RECOVERED_NO) == 2000 + 3);
    local_end(&l);

    for (i = 0; i < 2; i++) {
        a.channel_limit = 1999 + i;
        local_open(&l);
        CHECK(local_say(&l, text) == NGX_OK);
        CHECK(l.code == (i ? 0 : 3505));
        local_end(&l);
    }

    free(text);

    stop();
}


#define SUBSCRIBED                                                           \
    "#{\"push\":{\"channel\":\"c\",\"subscribe\":{}}}"
#define UNSUBSCRIBED                                                         \
    "#{\"push\":{\"channel\":\"c\",\"unsubscribe\":{\"code\":2000,"          \
    "\"reason\":\"server unsubscribe\"}}}"
#define PUBLISHED(data, offset)                                              \
    "#{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":" data ",\"offset\":"   \
    offset "}}}"


/*
 * What the API orders, alone and while something else is under way.
 */

static void
orders(void)
{
    local_t     l;
    ngx_uint_t  i;

    begin();
    local_connect(&l);
    posts(1, 3);

    /* what is recovered is not pushed, where it was is told */

    order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", 1);
    CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"subscribe\":"
                        "{\"recoverable\":true,\"epoch\":\"@\","
                        "\"offset\":1,\"positioned\":true}}}"));
    posts(4, 4);
    CHECK(heard(&l.out, PUBLISHED("4", "4")));
    order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", 1);
    CHECK(heard(&l.out, SUBSCRIBED));
    order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
    CHECK(heard(&l.out, UNSUBSCRIBED));

    /* not recovered, or not asked to be: where it is */

    for (i = 0; i < 2; i++) {
        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", i ? 9 : -1);
        CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"subscribe\":"
                            "{\"recoverable\":true,\"epoch\":\"@\","
                            "\"offset\":4,\"positioned\":true}}}"));
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
        CHECK(heard(&l.out, UNSUBSCRIBED));
    }

    CHECK(sum(NGX_CENTRIFUGO_COUNT_RECOVERED_YES) == 1
          && sum(NGX_CENTRIFUGO_COUNT_RECOVERED_NO) == 1);

    /*
     * An engine that is late with the subscription itself, or only with its
     * presence: an unsubscribe waits for the answer.
     */

    history_on();
    options.force_recovery = 0;
    options.presence = 1;
    a.engine = &late_engine;

    for (i = 0; i < 2; i++) {
        late_kinds = i ? LATE_PRESENCE : LATE_SUBSCRIBE;

        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "d", -1);
        CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"d\",\"unsubscribe\":"
                            "{\"code\":2000,\"reason\":"
                            "\"server unsubscribe\"}}}"));
        CHECK(late_run());
        run();
        CHECK(heard(&l.out, SUBSCRIBED UNSUBSCRIBED));

        /* from all, the client's own too */

        CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}", ""));
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "", -1);
        CHECK(late_run());
        run();
        CHECK(heard(&l.out, "#{\"id\":2,\"subscribe\":{}}" UNSUBSCRIBED));

        /* which is refused meanwhile */

        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
        CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}",
                   "#{\"id\":2," ERROR("105", "already subscribed") "}"));
        CHECK(late_run());
        run();
        CHECK(heard(&l.out, SUBSCRIBED));
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
        CHECK(heard(&l.out, UNSUBSCRIBED));

        /* the client does not want it: it hears no more of it */

        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
        CHECK(says(&l, "{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}",
                   "#{\"id\":2,\"unsubscribe\":{}}"));
        CHECK(late_run());
        run();
        CHECK(heard(&l.out, ""));
        CHECK(l.client.nsubscriptions == 0 && l.client.subscribing == NULL);

        /* nor of one that fails, but that it is not subscribed */

        if (i) {
            late_fail = 1;
            order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
            order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
            CHECK(late_run());
            run();
            CHECK(heard(&l.out, "") && l.code == 3004);
            late_fail = 0;
            local_end(&l);
            local_connect(&l);
        }

        /* both at once: the second finds the first */

        CHECK(says(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}", ""));
        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);

        if (i == 0) {
            CHECK(heard(&l.out, ""));
            order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
            CHECK(late_run());
            run();
            CHECK(heard(&l.out, "#{\"id\":2,\"subscribe\":{}}" UNSUBSCRIBED));
            CHECK(late_run());
            run();
            CHECK(heard(&l.out, SUBSCRIBED UNSUBSCRIBED));

        } else {
            CHECK(heard(&l.out, SUBSCRIBED));
            CHECK(late_run());
            run();
            CHECK(heard(&l.out, "#{\"id\":2,\"subscribe\":{}}"));
            CHECK(says(&l, "{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}",
                       "#{\"id\":2,\"unsubscribe\":{}}"));
        }

        CHECK(l.client.nsubscriptions == 0 && l.client.subscribing == NULL);

        /* it leaves in the midst of that */

        order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
        order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
        local_end(&l);
        CHECK(late_run() && !late_run());
        local_connect(&l);
    }

    a.engine = &ngx_centrifugo_engine_memory;
    local_end(&l);
    stop();
}


static void
history(void)
{
    local_t     l;
    ngx_uint_t  i, k;

#define HISTORY(more)  "{\"id\":2,\"history\":{\"channel\":\"c\"" more "}}"
#define PAGE(list, top)                                                      \
    "#{\"id\":2,\"history\":{\"publications\":[" list "],\"epoch\":\"@\","   \
    "\"offset\":" top "}}"
#define P(n)  "{\"data\":" #n ",\"offset\":" #n "}"
#define P1    "{\"data\":1,\"offset\":1,\"epoch\":\"@\"}"

    begin();
    local_connect(&l);

    /* in the order of the checks */

    CHECK(says(&l, "{\"id\":2,\"history\":{\"channel\":\"x:y\"}}",
               "#{\"id\":2," ERROR("102", "unknown channel") "}"));
    CHECK(says(&l, "{\"id\":2,\"history\":{\"channel\":\"\xc3\xa9\"}}",
               "#{\"id\":2," ERROR("107", "bad request") "}"));
    options.history_size = 0;
    CHECK(says(&l, HISTORY(""),
               "#{\"id\":2," ERROR("108", "not available") "}"));
    options.history_size = 10;
    CHECK(says(&l, HISTORY(",\"reverse\":true,\"since\":{\"offset\":0}"),
               "#{\"id\":2," ERROR("103", "permission denied") "}"));
    options.allow_history_for_subscriber = 1;
    options.allow_history_for_anonymous = 1;
    CHECK(says(&l, HISTORY(""),
               "#{\"id\":2," ERROR("103", "permission denied") "}"));
    (void) said(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l.out);
    CHECK(says(&l, HISTORY(""), PAGE("", "0")));
    (void) said(&l, "{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l.out);
    options.allow_history_for_client = 1;
    CHECK(says(&l, HISTORY(",\"reverse\":true,\"since\":{\"offset\":0}"),
               "#{\"id\":2," ERROR("107", "bad request") "}"));

    /* at once and late */

    posts(1, 4);

    for (i = 0; i < 2; i++) {
        a.engine = i ? &late_engine : &ngx_centrifugo_engine_memory;
        late_kinds = LATE_HISTORY;

        static const char *asked[][2] = {
            { HISTORY(""), PAGE("", "4") },
            { HISTORY(",\"limit\":-1"), PAGE(P1 "," P(2) "," P(3) "," P(4),
                                            "4") },
            { HISTORY(",\"limit\":2"), PAGE(P1 "," P(2), "4") },
            { HISTORY(",\"limit\":2,\"reverse\":true"),
              PAGE(P(4) "," P(3), "4") },
            { HISTORY(",\"limit\":9,\"since\":{\"offset\":2}"),
              PAGE(P(3) "," P(4), "4") },
            { HISTORY(",\"limit\":9,\"since\":{\"offset\":2,"
                      "\"epoch\":\"@\"}"), PAGE(P(3) "," P(4), "4") },
            { HISTORY(",\"limit\":9,\"since\":{\"offset\":9}"),
              PAGE("", "4") },
            { HISTORY(",\"limit\":9,\"since\":{\"offset\":3},"
                      "\"reverse\":true"), PAGE(P(2) "," P1, "4") },
            { HISTORY(",\"limit\":9,\"since\":{\"epoch\":\"AAAAAAAA\"}"),
              "#{\"id\":2," ERROR("112", "unrecoverable position") "}" },
            { HISTORY(",\"limit\":9,\"since\":{\"epoch\":\"a\"}"),
              "#{\"id\":2," ERROR("112", "unrecoverable position") "}" }
        };

        for (k = 0; k < sizeof(asked) / sizeof(asked[0]); k++) {
            (void) said(&l, asked[k][0]);

            if (i) {
                CHECK(heard(&l.out, ""));
                CHECK(late_run());
                run();
            }

            CHECK(heard(&l.out, asked[k][1]));
        }
    }

    /* the limit, and what is too large for one reply */

    a.engine = &ngx_centrifugo_engine_memory;
    a.history_max_publication_limit = 3;
    CHECK(says(&l, HISTORY(",\"limit\":-1"),
               PAGE(P1 "," P(2) "," P(3), "4")));
    CHECK(says(&l, HISTORY(",\"limit\":100,\"reverse\":true"),
               PAGE(P(4) "," P(3) "," P(2), "4")));

    for (i = 20; i < 200; i += 20) {
        a.queue_max_size = i;
        (void) said(&l, HISTORY(",\"limit\":3"));

        if (i < 80) {
            CHECK(l.code == 3008
                  || heard(&l.out, "#{\"id\":2,"
                                   ERROR("106", "limit exceeded") "}"));
        }

        if (i == 180) {
            CHECK(heard(&l.out, PAGE(P1 "," P(2) "," P(3), "4")));
        }

        a.queue_max_size = 1024 * 1024;

        if (l.code) {
            local_end(&l);
            local_connect(&l);
        }

        ngx_centrifugo_buf_reset(&l.out);
    }

    /* gone meanwhile; a reply that JSON can't say */

    a.engine = &late_engine;
    (void) said(&l, HISTORY(",\"limit\":3"));
    local_end(&l);
    CHECK(late_run());
    run();

    a.engine = &ngx_centrifugo_engine_memory;
    post("c", "[", NULL, 0);
    local_connect(&l);
    CHECK(says(&l, HISTORY(",\"limit\":1,\"reverse\":true"), ""));
    CHECK(l.code == 3506);
    local_end(&l);

    local_connect(&l);
    CHECK(says(&l, "{\"id\":2,\"history\":{}}", ""));
    CHECK(l.code == 3501);
    local_end(&l);

    stop();
}


/*
 * What a client publishes is kept as the channel's options say.
 */

static ngx_centrifugo_publish_t    got_publish;
static ngx_centrifugo_engine_rc_e  publish_rc;

static void
spy_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    got_publish = *pub;
    done->handler(done->handle, publish_rc, NULL);
}


static void
publishes(void)
{
    local_t                  l;
    ngx_uint_t               i;
    ngx_centrifugo_engine_t  spy;

    static const char  text[] = "{\"id\":2,\"publish\":{\"channel\":\"c\","
                                "\"data\":5}}";

    begin();
    options.allow_publish_for_client = 1;
    options.allow_publish_for_anonymous = 1;
    local_connect(&l);

    CHECK(says(&l, text, "#{\"id\":2,\"publish\":{}}"));
    CHECK(top("c").offset == 1);

    spy = late_engine;
    spy.publish = spy_publish;
    a.engine = &spy;

    for (i = 0; i < 2; i++) {
        options.delta_publish = i;
        options.history_size = i ? 7 : 0;
        publish_rc = i ? NGX_CENTRIFUGO_ENGINE_RETRY : NGX_CENTRIFUGO_ENGINE_OK;

        (void) said(&l, text);
        CHECK(got_publish.delta == i && got_publish.history_size == i * 7);
        CHECK(got_publish.history_ttl == 60000
              && got_publish.history_meta_ttl == 600000);
        CHECK(got_publish.tags.len == 0 && got_publish.version == 0
              && got_publish.idempotency_key.len == 0);
    }

    CHECK(heard(&l.out, "#{\"id\":2,\"publish\":{}}"
                        "#{\"id\":2,\"error\":{\"code\":100,\"message\":"
                        "\"internal server error\",\"temporary\":true}}"));

    a.engine = &ngx_centrifugo_engine_memory;
    local_end(&l);
    stop();
}


/*
 * Who has missed something is told to come again.
 */

static void
insufficient(void)
{
    local_t                    l[6];
    ngx_str_t                  name = ngx_string("c");
    ngx_uint_t                 i;
    ngx_centrifugo_channel_t  *ch;
    ngx_centrifugo_position_t  position;

#define AGAIN                                                                \
    "#{\"push\":{\"channel\":\"c\",\"unsubscribe\":{\"code\":2500,"          \
    "\"reason\":\"insufficient state\"}}}"

    begin();

    /* its own subscription, one by the server, one that is not answered yet */

    local_connect(&l[0]);
    (void) said(&l[0], "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_buf_reset(&l[0].out);
    ngx_centrifugo_subscription_insufficient(first(&l[0]));
    CHECK(heard(&l[0].out, AGAIN));
    CHECK(l[0].code == 0 && l[0].client.nsubscriptions == 0);

    order(&l[0], NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);
    ngx_centrifugo_buf_reset(&l[0].out);
    ngx_centrifugo_subscription_insufficient(first(&l[0]));
    CHECK(heard(&l[0].out, "") && l[0].code == 3010);
    local_end(&l[0]);

    local_connect(&l[0]);
    options.presence = 1;
    a.engine = &late_engine;
    late_kinds = LATE_PRESENCE;
    (void) said(&l[0], "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}");
    ngx_centrifugo_subscription_insufficient(first(&l[0]));
    CHECK(heard(&l[0].out, "") && l[0].code == 3010);
    CHECK(late_run());
    local_end(&l[0]);
    options.presence = 0;
    a.engine = &ngx_centrifugo_engine_memory;

    CHECK(sum(NGX_CENTRIFUGO_COUNT_INSUFFICIENT) == 3
          && disconnects(3010) == 2);

    /* of a channel: those that are behind, or in another stream */

    posts(1, 5);

    for (i = 0; i < 6; i++) {
        options.force_recovery = (i != 3);
        local_connect(&l[i]);

        if (i == 4) {
            order(&l[i], NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", -1);

        } else {
            (void) said(&l[i], "{\"id\":2,\"subscribe\":"
                               "{\"channel\":\"c\"}}");
        }

        CHECK(first(&l[i])->positioned == (i != 3));
        ngx_centrifugo_buf_reset(&l[i].out);
    }

    ch = first(&l[0])->channel;
    CHECK(ch->count == 6 && ch->feed->positioned == 5);

    first(&l[1])->position[0].offset = 4;
    first(&l[2])->position[0].epoch++;
    first(&l[4])->position[0].offset = 4;
    first(&l[5])->position[0].offset = 6;

    position = top("c");
    ngx_centrifugo_channel_insufficient(ch, &position);

    for (i = 0; i < 6; i++) {
        CHECK(heard(&l[i].out, (i == 1 || i == 2) ? AGAIN : ""));
        CHECK(l[i].client.nsubscriptions == (i == 0 || i == 3 || i == 5));
        CHECK(l[i].code == (i == 4 ? 3010 : 0));
    }

    CHECK(ch->count == 3 && ch->feed->positioned == 2);
    CHECK(sum(NGX_CENTRIFUGO_COUNT_INSUFFICIENT) == 6);

    /* the last of them takes the channel with it */

    local_end(&l[3]);
    position.epoch++;
    ngx_centrifugo_channel_insufficient(ch, &position);
    CHECK(heard(&l[0].out, AGAIN) && heard(&l[5].out, AGAIN));
    CHECK(ngx_centrifugo_broker_channel(&a, &name) == NULL);

    for (i = 0; i < 6; i++) {
        if (i != 3) {
            local_end(&l[i]);
        }
    }

    stop();
}


/*
 * A subscription is kept small.
 */

static void
sizes(void)
{
    /* what malloc() takes for it: 8 bytes more, in steps of 16 */

    CHECK(sizeof(ngx_centrifugo_subscription_t) <= 88);
    CHECK(sizeof(ngx_centrifugo_subscription_t)
          + sizeof(ngx_centrifugo_position_t) <= 104);
    CHECK(sizeof(ngx_centrifugo_subscription_t)
          + sizeof(ngx_centrifugo_channel_t) + 16 + 16 <= 256);
}


/*
 * What comes while presence is on its way is behind the answer, and decides
 * what the next delta is made of.
 */

static void
held(void)
{
    char        text[200];
    local_t     l;
    ngx_uint_t  i;

    static const char  data[] = "{\"n\":1,\"text\":"
                                "\"0123456789012345678901234567890123456789\"}";

    begin();
    options.presence = 1;
    options.delta_fossil = 1;
    options.allow_tags_filter = 1;
    a.engine = &late_engine;
    late_kinds = LATE_PRESENCE;
    local_connect(&l);

    posts(1, 2);
    (void) said(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\","
                    "\"recover\":true,\"epoch\":\"@\",\"offset\":1}}");
    posts(3, 4);
    CHECK(heard(&l.out, ""));
    CHECK(late_run());
    run();
    CHECK(heard(&l.out, "#{\"id\":2,\"subscribe\":{\"recoverable\":true,"
                        EPOCH ",\"publications\":[{\"data\":2,\"offset\":2}],"
                        "\"recovered\":true,\"offset\":1,\"positioned\":true,"
                        "\"was_recovering\":true}}"
                        PUBLISHED("3", "3") PUBLISHED("4", "4")));
    CHECK(first(&l)->held == NULL);

    /* a push, and the reply to connect, are the same */

    CHECK(says(&l, "{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}",
               "#{\"id\":2,\"unsubscribe\":{}}"));
    order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "c", 3);
    posts(5, 5);
    CHECK(heard(&l.out, ""));
    CHECK(late_run());
    run();
    CHECK(heard(&l.out, "#{\"push\":{\"channel\":\"c\",\"subscribe\":"
                        "{\"recoverable\":true,\"epoch\":\"@\",\"offset\":3,"
                        "\"positioned\":true}}}" PUBLISHED("5", "5")));
    local_end(&l);

    local_open(&l);
    (void) said(&l, "{\"id\":1,\"connect\":{\"subs\":{\"c\":{\"recover\":true,"
                    "\"epoch\":\"@\",\"offset\":4}}}}");
    posts(6, 6);
    CHECK(heard(&l.out, ""));
    CHECK(late_run());
    run();
    ngx_centrifugo_buf_byte(&l.out, '\0');
    CHECK(strstr((char *) l.out.start, "\"publications\":[{\"data\":5,"
                                       "\"offset\":5}],\"recovered\":true,"));
    CHECK(l.out.last - l.out.start > 70
          && strcmp((char *) l.out.last - sizeof(PUBLISHED("6", "6")),
                    PUBLISHED("6", "6")) == 0);
    local_end(&l);

    /* what the filter passes over has no base for the next one */

    for (i = 0; i < 2; i++) {
        local_connect(&l);
        post("c", data, "yes", NGX_CENTRIFUGO_PUB_JSON
                               | NGX_CENTRIFUGO_PUB_DELTA);
        run();
        snprintf(text, sizeof(text), "{\"id\":2,\"subscribe\":{\"channel\":"
                 "\"c\",\"recover\":true,\"epoch\":\"@\",\"offset\":%u,"
                 "\"delta\":\"fossil\",\"tf\":{\"cmp\":\"eq\",\"key\":\"t\","
                 "\"val\":\"yes\"}}}", (unsigned) top("c").offset - 1);
        (void) said(&l, text);
        post("c", data, i ? "yes" : "no", NGX_CENTRIFUGO_PUB_JSON
                                          | NGX_CENTRIFUGO_PUB_DELTA);
        run();
        CHECK(late_run());
        run();
        ngx_centrifugo_buf_reset(&l.out);
        post("c", data, "yes", NGX_CENTRIFUGO_PUB_JSON
                               | NGX_CENTRIFUGO_PUB_DELTA);
        run();
        ngx_centrifugo_buf_byte(&l.out, '\0');
        CHECK((strstr((char *) l.out.start, "\"delta\":true") != NULL) == i);
        local_end(&l);
    }

    /* nothing is left of those that end before they are answered */

    for (i = 0; i < 2; i++) {
        local_connect(&l);
        (void) said(&l, "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}");
        posts(1, 2);
        CHECK(first(&l)->held != NULL);

        if (i) {
            ngx_centrifugo_client_close(&l.client,
                                        &ngx_centrifugo_disconnect_shutdown,
                                        "a test");
        }

        local_end(&l);
        CHECK(late_run());
    }

    a.engine = &ngx_centrifugo_engine_memory;
    stop();
}


/*
 * No memory at any of the allocations, once or from there on.
 */

static ngx_uint_t
hunger(long at, ngx_uint_t on)
{
    local_t     l;
    ngx_uint_t  reached;
    ngx_str_t   user = ngx_string("u"), none = ngx_null_string;

    begin();
    options.presence = 1;
    options.delta_fossil = 1;
    options.allow_tags_filter = 1;
    options.allow_history_for_client = 1;
    a.personal = 1;
    a.engine = &late_engine;
    late_kinds = LATE_PRESENCE | LATE_HISTORY;
    posts(1, 3);

    local_open(&l);
    CHECK(ngx_centrifugo_client_identity(&l.client, &user, &none) == NGX_OK);
    l.client.identified = 1;

    fail_after = at;
    fail_on = on;

    (void) said(&l, "{\"id\":1,\"connect\":{\"subs\":{\"c\":{\"recover\":true,"
                    "\"offset\":1},\"#u\":{\"recover\":true}}}}");
    posts(4, 4);

    while (late_run()) {
        run();
    }

    (void) said(&l, "{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}");
    (void) said(&l, "{\"id\":3,\"subscribe\":{\"channel\":\"c\","
                    "\"recover\":true,\"delta\":\"fossil\",\"tf\":"
                    "{\"op\":\"not\",\"nodes\":[{\"cmp\":\"ex\","
                    "\"key\":\"t\"}]}}}");
    posts(5, 6);
    order(&l, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE, "c", -1);
    order(&l, NGX_CENTRIFUGO_ORDER_SUBSCRIBE, "d", 0);
    (void) late_run();
    run();
    (void) said(&l, "{\"id\":4,\"history\":{\"channel\":\"c\",\"limit\":3}}");

    while (late_run()) {
        run();
    }

    posts(7, 7);

    reached = (fail_after <= 0 && (on ? fail_after == 0 : 1));
    fail_after = -1;

    run();
    local_end(&l);

    while (late_run()) { /* void */ }

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
                on = hunger(at, on);
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

        CHECK(at > 40 && at < 500);
    }
}


int
main(void)
{
    memory();
    grants();
    recovery();
    cache();
    forms();
    connects();
    orders();
    history();
    publishes();
    insufficient();
    held();
    sizes();

    return UNIT_END();
}
