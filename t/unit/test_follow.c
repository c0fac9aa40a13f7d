/*
 * Clients that follow streams, with all of what may happen to them in any
 * order: each checks by itself that it gets every publication once and in its
 * order, or is told that it does not.
 */

#include "unit_client.h"
#include "unit_delta.h"
#include "client/ngx_centrifugo_order.h"
#include "protocol/ngx_centrifugo_json.h"

#define CLIENTS   6
#define CHANNELS  3
#define POSTS     4000          /* of a channel, at most */
#define DATA      160


/* what a client knows of a channel */
typedef struct {
    ngx_uint_t   subscribed;
    ngx_uint_t   known;                 /* has a position */
    uint64_t     asked;                 /* the offset in its subscribe */
    ngx_uint_t   recover;
    uint64_t     offset;
    u_char       base[DATA];            /* the last data */
    size_t       base_len;
} follow_t;

/* local.client must be first: it is the client of the transport */
typedef struct {
    local_t      local;
    ngx_uint_t   open;
    ngx_uint_t   delta;
    ngx_uint_t   filter;
    ngx_uint_t   n;
    follow_t     follow[CHANNELS];
} follower_t;

static const char  *names[CHANNELS] = { "c0", "c1", "c2" };

/* what was published: at its offset */
static char         truth[CHANNELS][POSTS][DATA];
static ngx_uint_t   ntruth[CHANNELS];

static follower_t   followers[CLIENTS];
static ngx_uint_t   seen, lost, deltas, again;
static ngx_uint_t   hungry;             /* now and then there is no memory */


static ngx_uint_t
odd(ngx_uint_t k, uint64_t offset)
{
    return (offset * 7 + k) % 3 == 0;
}


static void
post(ngx_uint_t k)
{
    char                              *data;
    ngx_uint_t                         n;
    ngx_centrifugo_tag_t               tag;
    ngx_centrifugo_arena_t             arena;
    ngx_centrifugo_position_t          position;
    ngx_centrifugo_hub_publication_t   pub;

    n = ++ntruth[k];
    CHECK(n < POSTS);
    data = truth[k][n];
    snprintf(data, DATA, "{\"n\":%u,\"text\":\"%0100u %u\"}", (unsigned) n,
             (unsigned) k, (unsigned) rand() % 100);

    ngx_centrifugo_arena_init(&arena, 512);
    memset(&pub, 0, sizeof(pub));

    tag.key = S("t");
    tag.value = S(odd(k, n) ? "odd" : "even");
    CHECK(ngx_centrifugo_tags_pack(&arena, &tag, 1, &pub.tags) == NGX_OK);

    pub.channel = S(names[k]);
    pub.data = S(data);
    pub.flags = NGX_CENTRIFUGO_PUB_JSON | NGX_CENTRIFUGO_PUB_DELTA;
    pub.size = options.history_size;
    pub.ttl = options.history_ttl;
    pub.meta_ttl = options.history_meta_ttl;

    (void) ngx_centrifugo_hub_publish(&b.hub, &pub, &position);
    CHECK(position.offset == n);
    (void) ngx_centrifugo_broker_wake(&b);

    ngx_centrifugo_arena_free(&arena);
}


/* Whether one that is wanted lies between what it has and another. */

static ngx_uint_t
gap(follower_t *f, ngx_uint_t k, uint64_t to)
{
    uint64_t  i;

    for (i = f->follow[k].offset + 1; i < to; i++) {
        if (!f->filter || odd(k, i)) {
            return 1;
        }
    }

    return 0;
}


static void
take(follower_t *f, ngx_uint_t k, ngx_centrifugo_json_t *pub)
{
    long                    len;
    u_char                  text[DATA];
    uint64_t                offset;
    follow_t               *fw;
    ngx_uint_t              delta;
    ngx_centrifugo_json_t  *data;

    fw = &f->follow[k];
    offset = 0;
    delta = 0;

    CHECK(ngx_centrifugo_json_uint(pub, "offset", 6, UINT64_MAX, &offset)
          == NGX_OK);
    CHECK(offset > fw->offset && offset <= ntruth[k]);
    CHECK(!gap(f, k, offset));
    CHECK(!f->filter || odd(k, offset));

    (void) ngx_centrifugo_json_bool(pub, "delta", 5, &delta);
    data = ngx_centrifugo_json_get(pub, "data", 4);

    if (data == NULL || offset >= POSTS) {
        CHECK(!"a publication");
        return;
    }

    if (!f->delta) {
        CHECK(!delta && data->raw.len == strlen(truth[k][offset])
              && memcmp(data->raw.data, truth[k][offset], data->raw.len)
                 == 0);

    } else {
        len = data->str.len;

        if (delta) {
            deltas++;
            len = undelta(fw->base, fw->base_len, data->str.data,
                          data->str.len, text, sizeof(text));

        } else if (len <= DATA) {
            memcpy(text, data->str.data, len);
        }

        CHECK(len == (long) strlen(truth[k][offset])
              && memcmp(text, truth[k][offset], len) == 0);

        if (len > 0 && len <= DATA) {
            memcpy(fw->base, text, len);
            fw->base_len = len;
        }
    }

    fw->offset = offset;
    seen++;
}


static void
position(follow_t *fw, ngx_centrifugo_json_t *map)
{
    ngx_str_t  epoch;

    CHECK(ngx_centrifugo_json_string(map, "epoch", 5, &epoch) == NGX_OK);

    fw->offset = 0;
    (void) ngx_centrifugo_json_uint(map, "offset", 6, UINT64_MAX,
                                    &fw->offset);
    fw->known = 1;
    fw->subscribed = 1;
    fw->base_len = 0;
}


static void
reply(follower_t *f, ngx_centrifugo_json_t *root, uint64_t id)
{
    follow_t               *fw;
    ngx_uint_t              k, recovered;
    ngx_centrifugo_json_t  *map, *list;

    k = id % 10;
    fw = &f->follow[k];

    if (ngx_centrifugo_json_get(root, "unsubscribe", 11)) {
        fw->subscribed = 0;
        return;
    }

    map = ngx_centrifugo_json_get(root, "subscribe", 9);

    if (map == NULL) {
        return;
    }

    CHECK(!fw->subscribed);

    recovered = 0;
    (void) ngx_centrifugo_json_bool(map, "recovered", 9, &recovered);
    position(fw, map);

    if (!fw->recover) {
        CHECK(!recovered);
        return;
    }

    if (!recovered) {
        CHECK(ngx_centrifugo_json_get(map, "publications", 12) == NULL);
        lost++;
        return;
    }

    CHECK(fw->offset == fw->asked);
    again++;

    list = ngx_centrifugo_json_get(map, "publications", 12);

    for (list = list ? list->child : NULL; list; list = list->next) {
        take(f, k, list);
    }
}


static void
push(follower_t *f, ngx_centrifugo_json_t *map)
{
    ngx_str_t               name;
    ngx_uint_t              k;
    ngx_centrifugo_json_t  *what;

    CHECK(ngx_centrifugo_json_string(map, "channel", 7, &name) == NGX_OK);
    k = name.data[1] - '0';

    what = ngx_centrifugo_json_get(map, "unsubscribe", 11);

    if (what) {
        f->follow[k].subscribed = 0;
        return;
    }

    what = ngx_centrifugo_json_get(map, "subscribe", 9);

    if (what) {
        if (what->child) {
            CHECK(!f->follow[k].subscribed);
            position(&f->follow[k], what);
        }

        return;
    }

    what = ngx_centrifugo_json_get(map, "pub", 3);

    if (what) {
        CHECK(f->follow[k].subscribed);
        take(f, k, what);
    }
}


/* Looks at all that a client has got. */

static void
look(follower_t *f)
{
    u_char                  *p, *end, *next;
    uint64_t                 id;
    ngx_centrifugo_buf_t    *out;
    ngx_centrifugo_json_t   *root, *map;
    ngx_centrifugo_arena_t   arena;

    out = &f->local.out;
    ngx_centrifugo_arena_init(&arena, 65536);

    for (p = out->start; p < out->last; p = next) {

        for (end = p; end < out->last && *end != '#' && *end != '\n'; end++) {
            /* void */
        }

        next = end + 1;

        if (end == p) {
            continue;
        }

        ngx_centrifugo_arena_reset(&arena);
        CHECK(ngx_centrifugo_json_parse(&arena, p, end - p, 0, &root)
              == NGX_OK);

        map = ngx_centrifugo_json_get(root, "push", 4);

        if (map) {
            push(f, map);

        } else if (ngx_centrifugo_json_uint(root, "id", 2, 1000, &id)
                   == NGX_OK)
        {
            reply(f, root, id);
        }
    }

    ngx_centrifugo_arena_free(&arena);
    ngx_centrifugo_buf_reset(out);

    if (f->local.code) {
        CHECK(f->local.code == 3010 || (hungry && f->local.code == 3004));
        local_end(&f->local);
        f->open = 0;
    }
}


static void
look_all(void)
{
    ngx_uint_t  i;

    run();
    fail_after = -1;

    for (i = 0; i < CLIENTS; i++) {
        if (followers[i].open) {
            look(&followers[i]);
        }
    }
}


/* One of the allocations from here to the next look fails, perhaps. */

static void
starve(void)
{
    if (hungry && rand() % 3 == 0) {
        fail_after = rand() % 12;
    }
}


static void
enter(follower_t *f)
{
    ngx_uint_t  k;

    local_open(&f->local);
    (void) local_say(&f->local, "{\"id\":100,\"connect\":{}}");
    f->open = 1;

    for (k = 0; k < CHANNELS; k++) {
        f->follow[k].subscribed = 0;
    }
}


static void
subscribe(follower_t *f, ngx_uint_t k)
{
    int                         n;
    char                        text[512];
    follow_t                   *fw;
    ngx_str_t                   name;
    ngx_centrifugo_history_t    h;

    fw = &f->follow[k];

    /* what it asks for depends on what it has got */

    look(f);

    if (!f->open || f->local.client.waiting) {
        return;
    }

    name = S(names[k]);
    memset(&h, 0, sizeof(h));
    h.channel = name;
    CHECK(ngx_centrifugo_hub_history(&b.hub, &h) == NGX_OK);

    fw->recover = fw->known && rand() % 4;
    fw->asked = fw->offset;

    n = snprintf(text, sizeof(text), "{\"id\":1%u,\"subscribe\":"
                 "{\"channel\":\"%s\"", (unsigned) k, names[k]);

    if (fw->recover) {
        n += snprintf(text + n, sizeof(text) - n, ",\"recover\":true,"
                      "\"offset\":%u,\"epoch\":\"%.8s\"",
                      (unsigned) fw->offset, (char *) &h.position.epoch);
    }

    if (f->delta) {
        n += snprintf(text + n, sizeof(text) - n, ",\"delta\":\"fossil\"");
    }

    if (f->filter) {
        n += snprintf(text + n, sizeof(text) - n, ",\"tf\":{\"cmp\":\"eq\","
                      "\"key\":\"t\",\"val\":\"odd\"}");
    }

    snprintf(text + n, sizeof(text) - n, "}}");
    starve();
    (void) local_say(&f->local, text);
}


static void
ordered(follower_t *f, ngx_uint_t k, ngx_centrifugo_order_e kind)
{
    ngx_centrifugo_order_t  o;

    /* the API's have no filters and deltas: these would see another stream */

    if (f->delta || f->filter) {
        return;
    }

    memset(&o, 0, sizeof(o));
    o.kind = kind;
    o.channel = S(names[k]);
    o.code = 2000;
    o.reason = S("server unsubscribe");

    starve();
    ngx_centrifugo_client_ordered(&f->local.client, &o);
}


static void
follow(unsigned seed)
{
    char                       text[100];
    follower_t                *f;
    uint64_t                   told;
    ngx_str_t                  name;
    ngx_uint_t                 i, k, n;
    ngx_centrifugo_channel_t  *ch;
    ngx_centrifugo_position_t  nowhere = { 0, 1 };

    start(RING);
    told = 0;
    srand(seed);

    options.history_size = 12;
    options.history_ttl = 600000;
    options.history_meta_ttl = 6000000;
    options.force_recovery = 1;
    options.delta_fossil = 1;
    options.allow_tags_filter = 1;
    options.presence = seed % 2;
    options.join_leave = seed % 3 == 0;

    a.engine = &late_engine;
    a.ping_interval = 1000 * 1000;
    a.recovery_max_publication_limit = 10;

    memset(followers, 0, sizeof(followers));
    memset(ntruth, 0, sizeof(ntruth));

    for (i = 0; i < CLIENTS; i++) {
        followers[i].filter = (i % 3 == 1);
        followers[i].delta = (i % 3 == 2 || i == 4);
        enter(&followers[i]);
    }

    for (i = 0; i < 4000; i++) {
        f = &followers[rand() % CLIENTS];
        k = rand() % CHANNELS;
        late_kinds = rand() % 16;
        fail_after = -1;

        if (!f->open) {
            enter(f);
        }

        switch (rand() % 14) {

        case 0:
        case 1:
        case 2:
            subscribe(f, k);
            break;

        case 3:
            snprintf(text, sizeof(text), "{\"id\":2%u,\"unsubscribe\":"
                     "{\"channel\":\"%s\"}}", (unsigned) k, names[k]);
            starve();
            (void) local_say(&f->local, text);
            break;

        case 4:
            ordered(f, k, NGX_CENTRIFUGO_ORDER_SUBSCRIBE);
            break;

        case 5:
            ordered(f, k, NGX_CENTRIFUGO_ORDER_UNSUBSCRIBE);
            break;

        case 6:
        case 7:
        case 8:
        case 9:
            for (n = rand() % 4; n; n--) {
                post(k);
            }

            break;

        case 10:
        case 11:
            starve();
            (void) late_run();
            break;

        case 12:
            if (rand() % 10 == 0) {

                /* as if something had gone wrong with the stream */

                name = S(names[k]);
                ch = ngx_centrifugo_broker_channel(&a, &name);

                look_all();
                starve();
                told -= sum(NGX_CENTRIFUGO_COUNT_INSUFFICIENT);

                if (ch && ngx_centrifugo_broker_channel(&a, &name) == ch) {
                    ngx_centrifugo_channel_insufficient(ch, &nowhere);
                }

                told += sum(NGX_CENTRIFUGO_COUNT_INSUFFICIENT);
            }

            break;

        default:
            if (rand() % 10 == 0) {
                look(f);

                if (f->open) {
                    local_end(&f->local);
                    f->open = 0;
                }

            } else {
                advance(100);
            }
        }

        if (rand() % 3) {
            look_all();
        }
    }

    /* all comes to rest, and each has all of what it follows */

    CHECK(hungry || told == sum(NGX_CENTRIFUGO_COUNT_INSUFFICIENT));
    late_kinds = 0;
    fail_after = -1;

    do {
        look_all();
    } while (late_run());

    for (i = 0; i < CLIENTS; i++) {
        f = &followers[i];

        if (!f->open) {
            continue;
        }

        for (k = 0; k < CHANNELS; k++) {
            name = S(names[k]);
            CHECK((ngx_centrifugo_client_subscription(&f->local.client, &name)
                   != NULL)
                  == f->follow[k].subscribed);
            CHECK(!f->follow[k].subscribed
                  || !gap(f, k, ntruth[k] + 1));
        }

        CHECK(f->local.client.subscribing == NULL);
        local_end(&f->local);
    }

    stop();
}


int
main(void)
{
    unsigned  seed;

    for (seed = 1; seed <= 30; seed++) {
        hungry = seed > 20;
        follow(seed);

        if (unit_failed) {
            fprintf(stderr, "seed %u\n", seed);
            break;
        }
    }

    /* it was about something */

    CHECK(seen > 10000 && deltas > 1000 && lost > 100 && again > 1000);

    printf("%u publications, %u by deltas, %u recovered, %u not\n",
           (unsigned) seen, (unsigned) deltas, (unsigned) again,
           (unsigned) lost);

    return UNIT_END();
}
