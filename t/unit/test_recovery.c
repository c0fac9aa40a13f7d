/*
 * Positions of subscriptions: who gets one, what is recovered, histories, and
 * what is done by those that have missed something.
 */

#include "unit_client.h"
#include "client/ngx_centrifugo_order.h"


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


/* Whether the output is this text, in which @ stands for the epoch of "c". */

static ngx_uint_t
heard(ngx_centrifugo_buf_t *out, const char *text)
{
    static char                want[65536];
    char                      *p;
    ngx_centrifugo_position_t  position;

    position = top("c");

    for (p = want; *text; text++) {
        if (*text == '@') {
            memcpy(p, &position.epoch, 8);
            p += 8;

        } else {
            *p++ = *text;
        }
    }

    *p = '\0';

    return got(out, want);
}


/* Says something, in which @ is the same, and compares what comes back. */

static ngx_uint_t
says(local_t *l, const char *text, const char *want)
{
    char                       said[4096], *p;
    ngx_centrifugo_position_t  position;

    position = top("c");

    for (p = said; *text; text++) {
        if (*text == '@') {
            memcpy(p, &position.epoch, 8);
            p += 8;

        } else {
            *p++ = *text;
        }
    }

    *p = '\0';

    (void) local_say(l, said);
    run();

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


#define ERROR(code, text)                                                    \
    "\"error\":{\"code\":" code ",\"message\":\"" text "\"}"

#define EPOCH  "\"epoch\":\"@\""


/*
 * Who gets a position, and what else is granted.
 */

static void
grants(void)
{
    local_t     l;
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

    /* deltas go with a position */

    CHECK(result(&l, "\"delta\":\"fossil\"", none));
    options.delta_fossil = 1;
    CHECK(result(&l, "\"delta\":\"fossil\"", none));
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

    (void) local_say(&l, "{\"id\":1,\"rpc\":{}}\n{\"id\":1,\"rpc\":{}}\n"
                         "{\"id\":1,\"rpc\":{}}\n{\"id\":2,\"subscribe\":"
                         "{\"channel\":\"c\",\"recover\":true,\"offset\":1}}");
    CHECK(ngx_strnstr(l.out.start, "\"recovered\"",
                      ngx_centrifugo_buf_len(&l.out)) == NULL);
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

    (void) local_say(&l, "{\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}");
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

    options.recover = NGX_CENTRIFUGO_RECOVERY_STREAM;
    CHECK(result(&l, "", "\"subscribe\":{\"recoverable\":true," EPOCH ","
                         "\"offset\":3,\"positioned\":true}"));

    local_end(&l);
    stop();
}


int
main(void)
{
    grants();
    recovery();
    cache();

    return UNIT_END();
}
