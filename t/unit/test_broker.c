/*
 * The memory engine: what is recovered, what of a history is read, also while
 * others publish; lists of publications.
 */

#include "unit_broker.h"
#include "protocol/ngx_centrifugo_tags.h"

#define MOST  600


/* a stream as it should be */
typedef struct {
    char                        name[32];
    ngx_uint_t                  size;
    uint64_t                    top;
    uint64_t                    first;          /* that is kept */
    ngx_centrifugo_position_t   position;
    size_t                      stored[MOST + 1];
} stream_t;


static u_char                       bytes[200000];
static stream_t                     stream;
static ngx_centrifugo_arena_t       arena;

/* by offset: the same always */
static ngx_str_t                    infos[MOST + 1], tags[MOST + 1];
static ngx_uint_t                   large;      /* one of so many is */


const void *
ngx_centrifugo_test_engine(ngx_centrifugo_hub_conf_t *hcf, const void *engine)
{
    return engine;
}


static size_t
length(uint64_t offset)
{
    if (large && offset % large == 0) {
        return 70000 + offset * 11 % 5000;
    }

    return offset * 37 % 600;
}


static u_char
content(uint64_t offset, size_t i)
{
    return (u_char) ('a' + (offset * 5 + i) % 26);
}


static void
set(uint64_t offset, ngx_centrifugo_publish_t *pub)
{
    size_t                         i;
    ngx_centrifugo_tag_t           tag;
    ngx_centrifugo_client_info_t   info;

    memset(pub, 0, sizeof(*pub));

    pub->channel = S(stream.name);
    pub->data.data = bytes;
    pub->data.len = length(offset);

    for (i = 0; i < pub->data.len; i++) {
        bytes[i] = content(offset, i);
    }

    if (infos[offset].data == NULL) {
        memset(&info, 0, sizeof(info));
        info.user = S("user");
        info.client = S("client");
        CHECK(ngx_centrifugo_broker_pack_info(&arena, &info, &infos[offset])
              == NGX_OK);

        tag.key = S("key");
        tag.value = S("value");
        CHECK(ngx_centrifugo_tags_pack(&arena, &tag, 1, &tags[offset])
              == NGX_OK);
    }

    if (offset % 3 == 0) {
        pub->info = infos[offset];
    }

    if (offset % 5 == 0) {
        pub->tags = tags[offset];
    }

    pub->json = offset % 2;
    pub->delta = offset % 7 == 0;
    pub->history_size = stream.size;
    pub->history_ttl = META_TTL;
    pub->history_meta_ttl = META_TTL;
}


static void
publish(ngx_uint_t n)
{
    ngx_centrifugo_publish_t  pub;

    while (n--) {
        set(++stream.top, &pub);
        answer.n = 0;
        ngx_centrifugo_engine_memory.publish(&b, &pub, &done);

        CHECK(answer.n == 1 && answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
        CHECK(answer.result.position.offset == stream.top);
        CHECK(answer.result.position.epoch != 0);
        CHECK(stream.top == 1
              || answer.result.position.epoch == stream.position.epoch);

        stream.position = answer.result.position;
        stream.stored[stream.top]
            = ngx_centrifugo_stored_size(pub.info.len, pub.tags.len,
                                         pub.data.len);

        if (stream.top >= stream.first + stream.size) {
            stream.first = stream.top - stream.size + 1;
        }
    }
}


static void
begin(const char *name, ngx_uint_t size, ngx_uint_t n)
{
    memset(&stream, 0, sizeof(stream));
    snprintf(stream.name, sizeof(stream.name), "%s", name);
    stream.size = size;
    stream.first = 1;
    publish(n);
}


/* The list of an answer are those, in this direction. */

static ngx_uint_t
is_list(uint64_t first, ngx_uint_t n, ngx_int_t step)
{
    uint64_t                       offset;
    ngx_str_t                      list;
    ngx_centrifugo_publish_t       is;
    ngx_centrifugo_client_info_t   info;
    ngx_centrifugo_publication_t   pub;

    list = answer.result.publications;
    offset = first;

    if (answer.result.npublications != n) {
        return 0;
    }

    while (n--) {
        if (ngx_centrifugo_broker_publication_next(&list, &pub, &info)
            != NGX_OK)
        {
            return 0;
        }

        set(offset, &is);

        if (pub.offset != offset || pub.epoch != 0
            || pub.type != NGX_CENTRIFUGO_PUSH_PUBLICATION
            || pub.json != is.json || pub.delta != is.delta
            || pub.data.len != is.data.len
            || memcmp(pub.data.data, is.data.data, is.data.len) != 0
            || (pub.info == NULL) != (is.info.len == 0)
            || (pub.info && (pub.info != &info || info.user.len != 4
                             || memcmp(info.client.data, "client", 6) != 0))
            || pub.tags.len != is.tags.len
            || (pub.tags.len && memcmp(pub.tags.data, is.tags.data,
                                       pub.tags.len) != 0))
        {
            return 0;
        }

        offset += step;
    }

    return list.len == 0
           && ngx_centrifugo_broker_publication_next(&list, &pub, &info)
              == NGX_DONE;
}


static size_t
size_of(uint64_t first, uint64_t last)
{
    size_t  size;

    for (size = 0; first <= last; first++) {
        size += stream.stored[first];
    }

    return size;
}


static void
subscribe(ngx_centrifugo_recover_e recover, uint64_t offset, uint64_t epoch,
    ngx_uint_t limit, size_t max)
{
    ngx_centrifugo_subscribe_wish_t  wish;

    memset(&wish, 0, sizeof(wish));
    wish.channel = S(stream.name);
    wish.recover = recover;
    wish.since.offset = offset;
    wish.since.epoch = epoch;
    wish.limit = limit;
    wish.max = max;
    wish.meta_ttl = META_TTL;

    answer.n = 0;
    ngx_centrifugo_engine_memory.subscribe(&a, &wish, &done);
    CHECK(answer.n == 1 && answer.rc == NGX_CENTRIFUGO_ENGINE_OK);

    /* nobody took it */

    CHECK(ngx_centrifugo_broker_channel(&a, &wish.channel) == NULL);
}


static ngx_uint_t
at_top(void)
{
    return answer.result.position.offset == stream.top
           && answer.result.position.epoch == stream.position.epoch;
}


/* Recovered, with those from `first` on up to the top, or not at all. */

static ngx_uint_t
got(ngx_uint_t recovered, uint64_t first)
{
    if (!recovered) {
        return at_top() && !answer.result.recovered
               && answer.result.publications.len == 0 && is_list(0, 0, 1);
    }

    return at_top() && answer.result.recovered
           && is_list(first, stream.top + 1 - first, 1);
}


static void
recovery_rules(void)
{
    uint64_t         epoch, other;
    ngx_str_t        text;
    const size_t     much = 1 << 30;
    const ngx_uint_t all = NGX_CENTRIFUGO_ALL;

    const ngx_centrifugo_recover_e  by_stream = NGX_CENTRIFUGO_RECOVER_STREAM,
                                    by_cache = NGX_CENTRIFUGO_RECOVER_CACHE;

    start(1024 * 1024);

    /* 11 to 20 are kept */

    begin("c", 10, 20);
    epoch = stream.position.epoch;
    text = S("otherone");
    other = ngx_centrifugo_epoch(&text);

    subscribe(NGX_CENTRIFUGO_RECOVER_NO, 15, epoch, all, much);
    CHECK(got(0, 0));

    subscribe(by_stream, 10, epoch, all, much);
    CHECK(got(1, 11));
    subscribe(by_stream, 9, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 0, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 19, epoch, all, much);
    CHECK(got(1, 20));
    subscribe(by_stream, 20, epoch, all, much);
    CHECK(got(1, 21));
    subscribe(by_stream, 21, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, UINT64_MAX, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, UINT64_MAX, 0, all, much);
    CHECK(got(0, 0));

    subscribe(by_stream, 15, 0, all, much);
    CHECK(got(1, 16));
    subscribe(by_stream, 15, other, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 20, other, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 20, 0, all, much);
    CHECK(got(1, 21));

    subscribe(by_stream, 15, epoch, 5, much);
    CHECK(got(1, 16));
    subscribe(by_stream, 15, epoch, 4, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 20, epoch, 0, 0);
    CHECK(got(1, 21));
    subscribe(by_stream, 15, epoch, all, size_of(16, 20));
    CHECK(got(1, 16));
    subscribe(by_stream, 15, epoch, all, size_of(16, 20) - 1);
    CHECK(got(0, 0));

    subscribe(by_cache, 0, 0, all, much);
    CHECK(got(1, 20));
    subscribe(by_cache, 19, epoch, 1, much);
    CHECK(got(1, 20));
    subscribe(by_cache, 20, epoch, all, much);
    CHECK(got(1, 21));
    subscribe(by_cache, 20, other, all, much);
    CHECK(got(1, 20));
    subscribe(by_cache, 20, 0, all, much);
    CHECK(got(1, 20));
    subscribe(by_cache, 25, epoch, all, much);
    CHECK(got(1, 20));
    subscribe(by_cache, 3, epoch, all, size_of(20, 20));
    CHECK(got(1, 20));
    subscribe(by_cache, 3, epoch, all, size_of(20, 20) - 1);
    CHECK(got(0, 0));
    subscribe(by_cache, 20, epoch, all, 0);
    CHECK(got(1, 21));

    /* nothing is left of it but the position */

    answer.n = 0;
    text = S("c");
    ngx_centrifugo_engine_memory.history_remove(&a, &text, &done);
    CHECK(answer.n == 1 && answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
    stream.first = 21;

    subscribe(by_stream, 19, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 20, epoch, all, much);
    CHECK(got(1, 21));
    subscribe(by_cache, 20, epoch, all, much);
    CHECK(got(1, 21));
    subscribe(by_cache, 19, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_cache, 0, 0, all, much);
    CHECK(got(0, 0));

    publish(1);
    subscribe(by_stream, 20, epoch, all, much);
    CHECK(got(1, 21));
    subscribe(by_stream, 19, epoch, all, much);
    CHECK(got(0, 0));

    /* a stream that nobody has published to: the position is made */

    begin("new", 10, 0);
    subscribe(by_stream, 0, 0, all, much);
    CHECK(answer.result.position.offset == 0);
    CHECK(answer.result.position.epoch != 0 && answer.result.recovered);
    stream.position = answer.result.position;
    epoch = stream.position.epoch;

    subscribe(by_stream, 0, epoch, all, much);
    CHECK(got(1, 1));
    subscribe(by_stream, 0, other, all, much);
    CHECK(got(0, 0));
    subscribe(by_stream, 1, epoch, all, much);
    CHECK(got(0, 0));
    subscribe(by_cache, 0, epoch, all, much);
    CHECK(got(0, 0));

    end();
}


/*
 * All wishes for streams of all kinds, against the rules themselves.
 */

static void
recovery_any(void)
{
    char                       name[32];
    size_t                     max;
    uint64_t                   since, epoch;
    ngx_uint_t                 i, k, limit, n, is;
    ngx_centrifugo_recover_e   recover;

    static const ngx_uint_t    sizes[] = { 1, 2, 10, 64, 65, 130, 500 };
    static const ngx_uint_t    limits[] = { 0, 1, 5, 64, 100, 300 };

    for (i = 0; i < 60; i++) {

        if (i % 10 == 0) {
            if (i) {
                end();
            }

            start(1024 * 1024);
        }

        /* no section takes one of those that are large, with others */

        large = i % 3 ? 0 : 3 + number(20);
        snprintf(name, sizeof(name), "c%u", (unsigned) i);
        begin(name, sizes[number(large ? 3 : 7)], 0);
        publish(1 + number(i % 2 ? MOST : 30));

        if (number(6) == 0) {
            ngx_centrifugo_engine_memory.history_remove(&b, &(ngx_str_t) {
                strlen(name), (u_char *) name }, &done);
            stream.first = stream.top + 1;
            publish(stream.top < MOST ? number(2) : 0);
        }

        for (k = 0; k < 40; k++) {

            since = number(4) ? stream.first - 1
                                + number(stream.top - stream.first + 3)
                              : number(stream.top + 4);
            epoch = number(3) ? stream.position.epoch : number(2);
            limit = number(2) ? NGX_CENTRIFUGO_ALL : limits[number(6)];
            max = 1 << 30;
            recover = number(4) ? NGX_CENTRIFUGO_RECOVER_STREAM
                                : NGX_CENTRIFUGO_RECOVER_CACHE;

            if (recover == NGX_CENTRIFUGO_RECOVER_CACHE) {
                n = ngx_max(stream.first, stream.top);

                if (n == stream.top && number(4) == 0) {
                    max = size_of(n, n) - number(2);
                }

                is = n == stream.top && size_of(n, n) <= max;

                if (since && since == stream.top
                    && epoch == stream.position.epoch)
                {
                    n = stream.top + 1;
                    is = 1;
                }

            } else {
                n = since + 1;
                is = (epoch == 0 || epoch == stream.position.epoch)
                     && since <= stream.top
                     && (since == stream.top || since + 1 >= stream.first)
                     && stream.top - since <= limit;

                if (is && since < stream.top && number(4) == 0) {
                    max = size_of(n, stream.top) - number(2);
                    is = size_of(n, stream.top) <= max;
                }
            }

            subscribe(recover, since, epoch, limit, max);
            CHECK(got(is, n));
        }
    }

    large = 0;
    end();
}


static ngx_centrifugo_engine_rc_e
history(uint64_t since, ngx_uint_t bounded, ngx_uint_t reverse,
    ngx_uint_t limit, size_t max)
{
    ngx_centrifugo_history_wish_t  wish;

    memset(&wish, 0, sizeof(wish));
    wish.channel = S(stream.name);
    wish.since.offset = since;
    wish.bounded = bounded;
    wish.reverse = reverse;
    wish.limit = limit;
    wish.max = max;
    wish.meta_ttl = META_TTL;

    answer.n = 0;
    ngx_centrifugo_engine_memory.history(&a, &wish, &done);
    CHECK(answer.n == 1);

    return answer.rc;
}


static void
history_any(void)
{
    char                        name[32];
    size_t                      max, size;
    uint64_t                    since, first, last;
    ngx_uint_t                  i, k, limit, n, bounded, reverse;
    ngx_centrifugo_engine_rc_e  rc;

    start(1024 * 1024);

    for (i = 0; i < 20; i++) {
        large = i % 3 ? 0 : 3 + number(20);
        snprintf(name, sizeof(name), "c%u", (unsigned) i);
        begin(name, large ? 1 + number(12) : 1 + number(300), 0);
        publish(1 + number(i % 2 ? MOST : 30));

        for (k = 0; k < 40; k++) {
            since = number(stream.top + 3);
            bounded = number(3) != 0;
            reverse = number(2);
            limit = number(3) ? NGX_CENTRIFUGO_ALL : number(150);

            first = stream.first;
            last = stream.top;

            if (bounded && !reverse) {
                first = ngx_max(first, since + 1);

            } else if (bounded) {
                last = since ? ngx_min(last, since - 1) : 0;
            }

            n = first <= last ? last + 1 - first : 0;
            n = ngx_min(n, limit);

            if (reverse) {
                first = last + 1 - n;

            } else {
                last = first + n - 1;
            }

            size = n ? size_of(first, last) : 0;
            max = number(3) || n == 0 ? 1 << 30 : size - number(2);

            rc = history(since, bounded, reverse, limit, max);

            if (size > max) {
                CHECK(rc == NGX_CENTRIFUGO_ENGINE_REFUSED);

            } else {
                CHECK(rc == NGX_CENTRIFUGO_ENGINE_OK);
                CHECK(is_list(reverse ? last : first, n, reverse ? -1 : 1));
            }

            CHECK(at_top());
        }
    }

    large = 0;
    end();
}


/* one of a list is asked for by whoever has another one in hand */

static void
nested_answered(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_engine_result_t  outer;

    outer = *result;

    CHECK(history(0, 0, 1, 100, 1 << 30) == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(is_list(stream.top, 100, -1));

    answered(7, rc, &outer);
}


static void
history_nested(void)
{
    ngx_centrifugo_completion_t    nested = { nested_answered, 0 };
    ngx_centrifugo_history_wish_t  wish;

    start(1024 * 1024);
    begin("c", 200, 150);

    memset(&wish, 0, sizeof(wish));
    wish.channel = S("c");
    wish.limit = NGX_CENTRIFUGO_ALL;
    wish.max = 1 << 30;

    ngx_centrifugo_engine_memory.history(&a, &wish, &nested);
    CHECK(is_list(1, 150, 1));

    end();
}


/* what others do between two parts */

static ngx_uint_t  hook_at, hook_publish, hook_remove;


static void
hook_between(ngx_uint_t n)
{
    ngx_str_t  name;
    answer_t   kept;

    if (n != hook_at && hook_at != NGX_CENTRIFUGO_ALL) {
        return;
    }

    /* not what this answers */

    kept = answer;
    memset(&answer, 0, sizeof(answer));

    publish(hook_publish);

    if (hook_remove) {
        name = S(stream.name);
        ngx_centrifugo_engine_memory.history_remove(&b, &name, &done);
        stream.first = stream.top + 1;
    }

    free(answer.list);
    answer = kept;
}


static void
between(ngx_uint_t at, ngx_uint_t n, ngx_uint_t removed)
{
    hook = hook_between;
    hook_n = 0;
    hook_at = at;
    hook_publish = n;
    hook_remove = removed;
}


static void
changes(void)
{
    uint64_t    epoch;
    ngx_uint_t  i;

    start(1024 * 1024);

    /*
     * A subscription ends at the top of its own section, whatever comes until
     * all is read.
     */

    begin("c", 500, 200);
    epoch = stream.position.epoch;

    between(NGX_CENTRIFUGO_ALL, 1, 0);
    subscribe(NGX_CENTRIFUGO_RECOVER_STREAM, 0, epoch, 300, 1 << 30);
    hook = NULL;

    CHECK(hook_n >= 3 && stream.top == 200 + hook_n);
    CHECK(answer.result.recovered && is_list(1, 200, 1));
    CHECK(answer.result.position.offset == 200);
    CHECK(answer.result.position.epoch == epoch);

    /* what it has not read yet has gone */

    for (i = 0; i < 2; i++) {
        begin(i ? "gone" : "removed", 200, 200);

        between(1, i ? 200 : 0, !i);
        subscribe(NGX_CENTRIFUGO_RECOVER_STREAM, 0, 0, 300, 1 << 30);
        hook = NULL;

        CHECK(hook_n == 2 && !answer.result.recovered);
        CHECK(is_list(0, 0, 1) && answer.result.publications.len == 0);
        CHECK(answer.result.position.offset == 200);
    }

    /* a history is read from its start once more */

    begin("again", 200, 200);
    between(1, 200, 0);
    CHECK(history(0, 0, 0, NGX_CENTRIFUGO_ALL, 1 << 30)
          == NGX_CENTRIFUGO_ENGINE_OK);
    hook = NULL;
    CHECK(at_top() && stream.top == 400 && is_list(201, 200, 1));

    begin("again2", 200, 200);
    between(1, 0, 1);
    CHECK(history(0, 0, 0, NGX_CENTRIFUGO_ALL, 1 << 30)
          == NGX_CENTRIFUGO_ENGINE_OK);
    hook = NULL;
    CHECK(at_top() && is_list(0, 0, 1));

    /* but not for ever */

    begin("never", 65, 65);
    between(NGX_CENTRIFUGO_ALL, 65, 0);
    CHECK(history(0, 0, 0, NGX_CENTRIFUGO_ALL, 1 << 30)
          == NGX_CENTRIFUGO_ENGINE_RETRY);
    hook = NULL;
    CHECK(hook_n == 4);

    end();
}


static void
publishes(void)
{
    ngx_str_t                    name;
    ngx_uint_t                   i;
    ngx_centrifugo_publish_t     pub;
    ngx_centrifugo_position_t    position;

    static const struct {
        ngx_int_t                    forced;
        ngx_centrifugo_engine_rc_e   rc;
        ngx_uint_t                   counts;
    } ends[] = {
        { NGX_DECLINED, NGX_CENTRIFUGO_ENGINE_OK, 1 },
        { NGX_DONE, NGX_CENTRIFUGO_ENGINE_OK, 0 },
        { NGX_BUSY, NGX_CENTRIFUGO_ENGINE_RETRY, 0 },
        { NGX_ERROR, NGX_CENTRIFUGO_ENGINE_UNAVAILABLE, 0 }
    };

    start(1024 * 1024);
    begin("c", 10, 3);
    position = stream.position;
    CHECK(ngx_centrifugo_hub_sum(&b.hub, NGX_CENTRIFUGO_COUNT_PUBLISHED) == 3);

    /* all that it can say goes on */

    set(1, &pub);
    pub.idempotency_key = S("key");
    pub.version = 5;
    pub.version_epoch = S("v");
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(answer.result.position.offset == 4);

    pub.version = 9;
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(answer.result.position.offset == 4);

    pub.idempotency_key = S("other");
    pub.version = 4;
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(answer.result.position.offset == 4);

    pub.version_epoch = S("w");
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(answer.result.position.offset == 5);
    CHECK(answer.result.position.epoch == position.epoch);
    CHECK(ngx_centrifugo_hub_sum(&b.hub, NGX_CENTRIFUGO_COUNT_PUBLISHED) == 5);

    /* without history it is of no stream */

    name = S("none");
    CHECK(put(&name, &name, 0) == NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(answer.result.position.offset == 0);
    CHECK(answer.result.position.epoch == 0);

    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        forced = ends[i].forced;
        CHECK(put(&name, &name, 1) == ends[i].rc);
        forced = NGX_OK;
        CHECK(ngx_centrifugo_hub_sum(&b.hub, NGX_CENTRIFUGO_COUNT_PUBLISHED)
              == 7);
    }

    name.data = bytes;
    name.len = ngx_centrifugo_hub_publication_max(1024 * 1024);
    set(1, &pub);
    pub.info.len = 0;
    pub.data = name;
    pub.tags.data = bytes;
    pub.tags.len = 1;
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_REFUSED);
    pub.data.len--;
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.rc == NGX_CENTRIFUGO_ENGINE_OK);

    end();
}


/* who reads a history keeps the position for longer, and a join does */

static void
prolongs(void)
{
    ngx_uint_t  i;

    start(1024 * 1024);

    for (i = 0; i < 3; i++) {
        begin(i == 0 ? "read" : i == 1 ? "joined" : "left", 10, 5);

        ngx_current_msec += META_TTL - 1000;

        if (i == 0) {
            CHECK(history(0, 0, 0, 0, 0) == NGX_CENTRIFUGO_ENGINE_OK);
            CHECK(at_top() && is_list(0, 0, 1));

        } else if (i == 1) {
            subscribe(NGX_CENTRIFUGO_RECOVER_NO, 0, 0, 0, 0);
            CHECK(at_top());
        }

        ngx_current_msec += META_TTL - 1000;

        CHECK(history(0, 0, 0, 0, 0) == NGX_CENTRIFUGO_ENGINE_OK);
        CHECK(at_top() == (i < 2));
    }

    end();
}


/* A list that is cut, or has lengths that are none, ends before that. */

static void
lists(void)
{
    size_t                         len, i;
    u_char                        *p;
    ngx_str_t                      list, packed;
    ngx_uint_t                     n, k;
    ngx_centrifugo_stored_t        stored;
    ngx_centrifugo_publication_t   pub;
    ngx_centrifugo_client_info_t   info;

    start(1024 * 1024);
    begin("c", 10, 3);
    CHECK(history(0, 0, 0, 3, 1 << 30) == NGX_CENTRIFUGO_ENGINE_OK);
    len = answer.result.publications.len;
    CHECK(len == size_of(1, 3));

    for (i = 0; i <= len; i++) {
        p = malloc(i ? i : 1);
        memcpy(p, answer.list, i);
        list.data = p;
        list.len = i;

        for (n = 0;
             ngx_centrifugo_broker_publication_next(&list, &pub, &info)
             == NGX_OK;
             n++)
        {
            CHECK(pub.data.data + pub.data.len <= p + i);
        }

        CHECK(n == (ngx_uint_t) (i >= size_of(1, 1)) + (i >= size_of(1, 2))
                   + (i == len));
        free(p);
    }

    for (k = 0; k < 4; k++) {
        memset(&stored, 0, sizeof(stored));
        stored.info_len = k == 0 || k == 3 ? UINT32_MAX : 0;
        stored.tags_len = k == 1 || k == 3 ? UINT32_MAX : 0;
        stored.data_len = k == 2 || k == 3 ? UINT32_MAX : 0;
        list.data = (u_char *) &stored;
        list.len = sizeof(stored);
        CHECK(ngx_centrifugo_broker_publication_next(&list, &pub, &info)
              == NGX_DONE);
    }

    /* an identity that nobody packed */

    set(3, &(ngx_centrifugo_publish_t) { .json = 0 });
    packed = infos[3];
    p = calloc(1, ngx_centrifugo_stored_size(packed.len, 0, 0));

    for (k = 0; k < 2; k++) {
        memset(&stored, 0, sizeof(stored));
        stored.offset = 9;
        stored.info_len = packed.len - k;
        memcpy(p, &stored, sizeof(stored));
        memcpy(p + sizeof(stored), packed.data, packed.len);
        list.data = p;
        list.len = ngx_centrifugo_stored_size(packed.len - k, 0, 0);

        CHECK(ngx_centrifugo_broker_publication_next(&list, &pub, &info)
              == NGX_OK);
        CHECK(pub.offset == 9 && (pub.info != NULL) == (k == 0));
    }

    free(p);
    end();
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);

    recovery_rules();
    recovery_any();
    history_any();
    history_nested();
    changes();
    publishes();
    prolongs();
    lists();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
