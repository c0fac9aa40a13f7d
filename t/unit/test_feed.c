/*
 * Followed streams: what the log loses is read again, in order and once;
 * positions that nothing confirms are asked for; a wipe ends what was.
 */

#include "unit_broker.h"

#define LOG       (16 * 1024)
#define CHANNELS  400
#define SUBS      800
#define LARGEST   600


typedef struct {
    ngx_queue_t                  link;          /* must be first */
    ngx_centrifugo_channel_t    *channel;       /* NULL: there is none */
    ngx_uint_t                   of;
    uint64_t                     pos;
    ngx_centrifugo_position_t    position;
    ngx_uint_t                   positioned;
    ngx_uint_t                   feed;
    uint64_t                     last;          /* number that it got */
    ngx_uint_t                   got;
    ngx_uint_t                   missed;        /* was told that it has */
} sub_t;

/* a history that is answered when the test says so */
typedef struct {
    ngx_queue_t                      link;      /* must be first */
    ngx_centrifugo_history_wish_t    wish;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_engine_rc_e       rc;
    ngx_centrifugo_engine_result_t   result;
    ngx_uint_t                       known;     /* result is */
    char                             name[32];
} late_t;


static struct {
    char        name[32];
    ngx_uint_t  size;
    uint64_t    n;                              /* published */
} channels[CHANNELS];

static sub_t                       subs[SUBS];
static ngx_queue_t                 late;
static ngx_uint_t                  is_late;
static ngx_uint_t                  broken;      /* by what was delivered */
static ngx_uint_t                  told;
static ngx_uint_t                  ending;      /* who gets something leaves,
                                                   one of so many */
static ngx_centrifugo_position_t   told_top;


static ngx_int_t late_init(ngx_centrifugo_hub_conf_t *hcf);
static void late_exit(ngx_centrifugo_hub_conf_t *hcf);
static void late_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *ended);


const void *
ngx_centrifugo_test_engine(ngx_centrifugo_hub_conf_t *hcf, const void *engine)
{
    static ngx_centrifugo_engine_t  late_engine;

    if (!is_late || hcf != &a) {
        return engine;
    }

    late_engine = *(const ngx_centrifugo_engine_t *) engine;
    late_engine.init_worker = late_init;
    late_engine.exit_worker = late_exit;
    late_engine.history = late_history;
    ngx_queue_init(&late);

    return &late_engine;
}


static ngx_int_t
late_init(ngx_centrifugo_hub_conf_t *hcf)
{
    return NGX_OK;
}


static void
late_known(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    late_t  *l;

    l = (late_t *) (uintptr_t) handle;
    l->rc = rc;
    l->result = *result;
    l->known = 1;
    l->result.publications.data = malloc(result->publications.len + 1);

    if (result->publications.len) {
        memcpy(l->result.publications.data, result->publications.data,
               result->publications.len);
    }
}


static void
late_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *ended)
{
    late_t                       *l;
    ngx_centrifugo_completion_t   known;

    l = calloc(1, sizeof(late_t));
    l->wish = *wish;
    l->done = *ended;
    memcpy(l->name, wish->channel.data, wish->channel.len);
    l->wish.channel.data = (u_char *) l->name;
    ngx_queue_insert_tail(&late, &l->link);

    /* some know the answer at once, and tell it later */

    if (number(2)) {
        known.handler = late_known;
        known.handle = (uint64_t) (uintptr_t) l;
        ngx_centrifugo_engine_memory.history(hcf, wish, &known);
    }
}


static void
late_run(ngx_centrifugo_engine_rc_e rc)
{
    late_t  *l;

    l = (late_t *) ngx_queue_head(&late);
    ngx_queue_remove(&l->link);

    if (rc != NGX_CENTRIFUGO_ENGINE_OK) {
        l->done.handler(l->done.handle, rc, NULL);

    } else if (l->known) {
        l->done.handler(l->done.handle, l->rc, &l->result);

    } else {
        ngx_centrifugo_engine_memory.history(&a, &l->wish, &l->done);
    }

    free(l->result.publications.data);
    free(l);
}


static void
late_exit(ngx_centrifugo_hub_conf_t *hcf)
{
    while (!ngx_queue_empty(&late)) {
        late_run(NGX_CENTRIFUGO_ENGINE_RETRY);
    }

    ngx_centrifugo_engine_memory.exit_worker(hcf);
}


/* the client layer */

static void
leave(sub_t *sub)
{
    ngx_centrifugo_channel_t  *ch;

    ch = sub->channel;
    sub->channel = NULL;
    ngx_queue_remove(&sub->link);

    if (sub->feed) {
        ch->feed->positioned -= sub->positioned;
        ngx_centrifugo_feed_give(ch);
    }

    if (--ch->count == 0) {
        ngx_centrifugo_engine(&a)->unsubscribe(ch);
    }
}


static void
joined(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    sub_t                         *sub;
    ngx_str_t                      list;
    ngx_centrifugo_client_info_t   info;
    ngx_centrifugo_publication_t   pub;

    sub = &subs[handle];
    CHECK(rc == NGX_CENTRIFUGO_ENGINE_OK);

    sub->channel = result->channel;
    sub->pos = result->pos;
    sub->last = 0;

    if (sub->positioned && result->recovered) {

        for (list = result->publications;
             ngx_centrifugo_broker_publication_next(&list, &pub, &info)
             == NGX_OK;
             sub->position.offset++)
        {
            CHECK(pub.offset == sub->position.offset + 1);
        }

        CHECK(sub->position.offset == result->position.offset);
    }

    sub->position = result->position;

    if (sub->feed) {
        CHECK(ngx_centrifugo_feed_take(result->channel, result)
              == result->channel->feed);
        result->channel->feed->positioned += sub->positioned;
    }

    ngx_queue_insert_tail(&result->channel->subscriptions, &sub->link);
    result->channel->count++;
}


/* kind: 0 plain, 1 with a feed, 2 positioned, 3 recovers */

static void
join(ngx_uint_t i, ngx_uint_t of, ngx_uint_t kind)
{
    sub_t                            *sub;
    ngx_centrifugo_completion_t       ended;
    ngx_centrifugo_subscribe_wish_t   wish;

    sub = &subs[i];

    memset(&wish, 0, sizeof(wish));
    wish.channel = S(channels[of].name);

    if (kind == 3 && sub->of == of) {
        wish.recover = NGX_CENTRIFUGO_RECOVER_STREAM;
        wish.since = sub->position;
        wish.limit = NGX_CENTRIFUGO_ALL;
        wish.max = 1 << 30;
    }

    if (kind >= 2) {
        wish.meta_ttl = options.history_meta_ttl;
    }

    sub->of = of;
    sub->positioned = kind >= 2;
    sub->feed = kind >= 1;
    sub->got = 0;
    sub->missed = 0;

    ended.handler = joined;
    ended.handle = i;

    ngx_centrifugo_engine(&a)->subscribe(&a, &wish, &ended);
}


static ngx_int_t
deliver(ngx_centrifugo_channel_t *channel, uint64_t pos,
    const ngx_centrifugo_publication_t *pub, ngx_queue_t *mark,
    ngx_uint_t *budget)
{
    char           text[64];
    sub_t         *sub;
    unsigned       of;
    ngx_queue_t   *q, *next;
    unsigned long  n;

    memcpy(text, pub->data.data, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK(sscanf(text, "%u %lu ", &of, &n) == 2);
    CHECK(channel->name.str.len == strlen(channels[of].name)
          && memcmp(channel->name.str.data, channels[of].name,
                    channel->name.str.len) == 0);
    CHECK(pub->offset == 0 || channels[of].size);

    q = ngx_queue_head(&channel->subscriptions);

    if (mark->next) {
        q = ngx_queue_next(mark);
        ngx_queue_remove(mark);
        mark->next = NULL;
    }

    for ( /* void */ ;
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = next)
    {
        if (*budget == 0) {
            ngx_queue_insert_tail(q, mark);
            return NGX_AGAIN;
        }

        (*budget)--;
        next = ngx_queue_next(q);
        sub = (sub_t *) q;

        if (pos < sub->pos && !(pub->caught && sub->positioned)) {
            continue;
        }

        if (sub->positioned && pub->offset) {

            if (pub->epoch != sub->position.epoch
                || pub->offset > sub->position.offset + 1)
            {
                broken++;
                sub->missed = 1;
                leave(sub);
                continue;
            }

            if (pub->offset <= sub->position.offset) {
                continue;
            }

            sub->position.offset = pub->offset;
        }

        CHECK(sub->of == of);
        CHECK(n > sub->last);
        sub->last = n;
        sub->got++;

        if (ending && number(ending) == 0) {
            leave(sub);
        }
    }

    return NGX_OK;
}


static void
insufficient(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_position_t *top)
{
    sub_t        *sub;
    ngx_queue_t  *q, *next;

    told++;
    told_top = *top;

    for (q = ngx_queue_head(&channel->subscriptions);
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = (sub_t *) q;

        if (sub->positioned
            && (sub->position.epoch != top->epoch
                || sub->position.offset < top->offset))
        {
            sub->missed = 1;
            leave(sub);
        }
    }
}


static void
back(ngx_centrifugo_channel_t *channel)
{
}


static ngx_int_t
rest(ngx_centrifugo_hub_conf_t *hcf)
{
    return NGX_OK;
}


static void
begin(size_t log, ngx_uint_t with_late)
{
    static const ngx_centrifugo_restore_t  restore = {
        back, rest, insufficient
    };

    is_late = with_late;
    start(log);
    ngx_centrifugo_broker_restore(&restore);

    memset(channels, 0, sizeof(channels));
    memset(subs, 0, sizeof(subs));
    broken = 0;
    told = 0;
    ending = 0;
    hook_n = 0;
    stub_warnings = 0;
}


static void
finish(void)
{
    ngx_uint_t  i;

    for (i = 0; i < SUBS; i++) {
        if (subs[i].channel) {
            leave(&subs[i]);
        }
    }

    end();
}


static void
publish(ngx_uint_t of, ngx_uint_t n, size_t size)
{
    char        text[LARGEST + 64];
    size_t      len;
    ngx_str_t   name, data;

    name = S(channels[of].name);
    memset(text, ' ', sizeof(text));

    while (n--) {
        channels[of].n++;
        len = sprintf(text, "%u %lu ", (unsigned) of,
                      (unsigned long) channels[of].n);
        text[len] = ' ';
        data.data = (u_char *) text;
        data.len = 64 + size;

        CHECK(put(&name, &data, channels[of].size)
              == NGX_CENTRIFUGO_ENGINE_OK);
    }
}


static void
name(ngx_uint_t of, ngx_uint_t size)
{
    sprintf(channels[of].name, "channel%u", (unsigned) of);
    channels[of].size = size;
}


static ngx_int_t
poll(ngx_uint_t budget)
{
    return ngx_centrifugo_broker_poll(&a, deliver, budget, &test_log);
}


/* Until there is nothing more to do. */

static void
run(void)
{
    ngx_uint_t  n;

    for (n = 0; n < 100000; n++) {

        (void) ngx_centrifugo_registry_answer(reg, a.hub.slot);

        if (ngx_centrifugo_broker_wake(&a)) {
            (void) poll(100);
            continue;
        }

        if (poll(4096) == NGX_AGAIN) {
            continue;
        }

        if (!is_late || ngx_queue_empty(&late)) {
            return;
        }

        late_run(NGX_CENTRIFUGO_ENGINE_OK);
    }

    CHECK(!"it comes to rest");
}


static void
seconds(ngx_uint_t n)
{
    while (n--) {
        ngx_current_msec += 1000;
        ngx_centrifugo_broker_tick(&a);
        run();
    }
}


static ngx_centrifugo_position_t
top(ngx_uint_t of)
{
    ngx_centrifugo_history_t  h;

    memset(&h, 0, sizeof(h));
    h.channel = S(channels[of].name);
    CHECK(__real_ngx_centrifugo_hub_history(&b.hub, &h) == NGX_OK);

    return h.position;
}


static ngx_uint_t
same(const ngx_centrifugo_position_t *one, ngx_centrifugo_position_t two)
{
    return one->offset == two.offset && one->epoch == two.epoch;
}


/* What the list of channels says about one. */

static ngx_uint_t
listed(ngx_uint_t of)
{
    u_char                          *p;
    uint64_t                         cursor;
    ngx_uint_t                       count;
    ngx_centrifugo_buf_t             list;
    ngx_centrifugo_channel_entry_t   entry;

    memset(&list, 0, sizeof(list));
    cursor = 0;
    count = 0;
    CHECK(ngx_centrifugo_broker_channels_page(&a, &cursor, NULL, &list,
                                              1 << 20)
          == NGX_OK);

    for (p = list.start; p < list.last; p += sizeof(entry) + entry.len) {
        memcpy(&entry, p, sizeof(entry));

        if (entry.len == strlen(channels[of].name)
            && memcmp(p + sizeof(entry), channels[of].name, entry.len) == 0)
        {
            count += entry.count;
        }
    }

    ngx_centrifugo_buf_free(&list);

    return count;
}


static void
feeds(void)
{
    uint64_t                         one, two;
    ngx_centrifugo_feed_t           *feed;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_engine_result_t   result;

    begin(1024 * 1024, 0);
    name(0, 10);
    name(1, 10);
    publish(0, 3, 1);

    /* its position is that of the first who follows the stream */

    join(0, 0, 1);
    ch = subs[0].channel;
    feed = ch->feed;
    CHECK(feed->users == 1 && feed->positioned == 0);

    publish(0, 2, 1);
    join(1, 0, 2);
    CHECK(ch->feed == feed && feed->users == 2 && feed->positioned == 1);
    CHECK(same(&feed->position, top(0)) && feed->position.offset == 5);

    /* what is in the log from before is none of its stream */

    poll(1);
    publish(0, 2, 1);
    join(2, 0, 2);
    CHECK(feed->position.offset == 5 && subs[2].position.offset == 7);
    run();
    CHECK(feed->position.offset == 7 && subs[1].got == 2 && subs[2].got == 0);
    CHECK(subs[0].got == 4);

    /* numbers are given when they are asked for, and only once */

    CHECK(feed->id == 0);
    one = ngx_centrifugo_feed_id(ch);
    CHECK(one == 1 && ngx_centrifugo_feed_id(ch) == 1);

    leave(&subs[2]);
    leave(&subs[1]);
    CHECK(ch->feed == feed && feed->positioned == 0);
    leave(&subs[0]);
    CHECK(ngx_centrifugo_broker_channel(&a, &(ngx_str_t) {
          8, (u_char *) "channel0" }) == NULL);

    join(0, 0, 1);
    join(1, 1, 1);
    two = ngx_centrifugo_feed_id(subs[0].channel);
    CHECK(two == 2);
    CHECK(ngx_centrifugo_feed_id(subs[1].channel) == 3);

    /* an entry that is older than a feed, of the stream before */

    memset(&result, 0, sizeof(result));
    result.position.offset = 1;
    result.position.epoch = 77;
    result.pos = UINT64_MAX - 1;
    ch = subs[1].channel;
    CHECK(ngx_centrifugo_feed_take(ch, &result) == ch->feed);
    publish(1, 3, 1);
    run();
    CHECK(subs[1].got == 3);
    CHECK(ch->feed->position.epoch == 77 && ch->feed->position.offset == 1);
    ngx_centrifugo_feed_give(ch);

    finish();
}


/* what others do while this worker reads a history */

static void
publish_any(ngx_uint_t n)
{
    publish(number(12), number(4), number(100));
}


/*
 * Publishes, polls, joins and leaves at random, with a log that is overrun all
 * the time.
 */

static void
overruns(ngx_uint_t with_late, ngx_uint_t size, ngx_uint_t must_keep)
{
    ngx_uint_t  i, n, of, missed, was, rejoined, kind;

    begin(LOG, with_late);
    ending = must_keep ? 0 : 500;
    hook = publish_any;
    missed = 0;
    rejoined = 0;
    n = 12;

    for (i = 0; i < n; i++) {
        name(i, i % 4 == 3 ? 0 : size);
    }

    for (i = 0; i < 40; i++) {
        join(i, i % n, channels[i % n].size ? i / n % 3 : 0);
    }

    for (i = 0; i < 10000; i++) {

        of = number(n);
        publish(of, 1 + number(number(40) ? 3 : 70), number(LARGEST / 2));

        if (number(i / 100 % 3 ? 25 : 3) == 0) {
            poll(1 + number(60));
        }

        if (with_late && !ngx_queue_empty(&late) && number(2)) {
            late_run(number(50) || must_keep ? NGX_CENTRIFUGO_ENGINE_OK
                                             : NGX_CENTRIFUGO_ENGINE_RETRY);
        }

        if (number(60) == 0) {
            run();
        }

        if (number(30) == 0) {
            was = number(40);

            if (subs[was].channel == NULL) {
                of = number(2) ? subs[was].of : number(n);
                kind = channels[of].size ? number(4) : 0;

                missed += subs[was].missed;
                rejoined++;
                join(was, of, kind);

            } else if (!subs[was].positioned || !must_keep) {
                leave(&subs[was]);
            }
        }
    }

    hook = NULL;
    run();

    for (i = 0; i < 40; i++) {
        missed += subs[i].missed;

        if (subs[i].channel && subs[i].positioned) {
            CHECK(same(&subs[i].position, top(subs[i].of)));
            CHECK(subs[i].position.offset == channels[subs[i].of].n);
            CHECK(same(&subs[i].channel->feed->position, top(subs[i].of)));
        }

        if (must_keep && i / n == 2 && channels[i % n].size) {

            /* it was there all the time, and has all */

            CHECK(subs[i].channel && subs[i].got == channels[i % n].n);
        }
    }

    CHECK(broken == 0 && rejoined > 20);
    CHECK(ngx_centrifugo_hub_sum(&a.hub, NGX_CENTRIFUGO_COUNT_OVERRUNS) > 100);

    if (must_keep) {
        CHECK(missed == 0 && told == 0);

    } else {
        CHECK(missed > 3 && told > 3);
    }

    finish();
}


/* One overrun, step by step. */

static void
overrun(void)
{
    ngx_uint_t                 i, n, before;
    ngx_centrifugo_channel_t  *ch;

    begin(LOG, 0);

    for (i = 0; i < CHANNELS; i++) {
        name(i, i % 4 == 3 ? 0 : 1000);
        join(i, i, i % 4 < 2 ? 2 : i % 4 == 2);
    }

    /* the subscriptions without position lose it */

    for (i = 0; i < CHANNELS; i++) {
        publish(i, 2, LARGEST);
    }

    hook_n = 0;
    hook = NULL;
    before = ngx_centrifugo_hub_sum(&a.hub, NGX_CENTRIFUGO_COUNT_LOG_LOST);
    CHECK(before == 0 && stub_warnings == 0);

    CHECK(poll(1) == NGX_AGAIN);
    CHECK(ngx_centrifugo_hub_sum(&a.hub, NGX_CENTRIFUGO_COUNT_LOG_LOST)
          == CHANNELS / 2);
    CHECK(stub_warnings == 1);
    CHECK(ngx_centrifugo_broker_wake(&a) == 1);

    /* a turn asks for some dozens, and goes on where it was */

    for (n = 0; n < 20; n++) {
        before = 0;

        for (i = 0; i < CHANNELS; i++) {
            before += subs[i].got;
        }

        if (poll(2000) == NGX_OK) {
            break;
        }

        for (i = 0; i < CHANNELS; i++) {
            before -= subs[i].got;
        }

        CHECK(0 - before <= 64);
    }

    CHECK(n > 5 && n < 20);
    CHECK(told == 0 && broken == 0);

    for (i = 0; i < CHANNELS; i++) {
        CHECK(i % 4 >= 2 || subs[i].got == 2);
        CHECK(subs[i].channel->feed == NULL
              || subs[i].channel->feed->lost.next == NULL);
    }

    finish();

    /* what is told when it is gone: the top, from which the feed goes on */

    begin(LOG, 0);
    name(0, 10);
    join(0, 0, 2);
    join(1, 0, 1);
    publish(0, 300, LARGEST);
    ch = subs[0].channel;
    join(2, 0, 2);
    run();

    CHECK(told == 1 && same(&told_top, top(0)) && broken == 0);
    CHECK(subs[0].channel == NULL && subs[0].missed);
    CHECK(subs[2].channel == ch && subs[2].got == 0);
    CHECK(same(&ch->feed->position, top(0)));
    publish(0, 1, 1);
    run();
    CHECK(subs[2].got == 1 && subs[1].got >= 1 && told == 1);

    /* more than a queue can have */

    channels[0].size = 1000;
    a.queue_max_size = 100000;
    publish(0, 300, LARGEST);
    run();
    CHECK(told == 2 && subs[2].missed && same(&told_top, top(0)));

    a.queue_max_size = 1024 * 1024;
    join(2, 0, 2);
    publish(0, 300, LARGEST);
    run();
    CHECK(told == 2 && subs[2].got == 300 && broken == 0);

    finish();
}


/* While the engine is asked, others come and go. */

static void
overrun_late(void)
{
    ngx_uint_t                 i, was;
    ngx_centrifugo_channel_t  *ch;

    for (i = 0; i < 6; i++) {
        begin(LOG, 1);
        name(0, 1000);
        name(1, 1000);
        join(0, 0, 2);
        join(1, 1, 2);
        publish(0, 300, LARGEST);
        publish(1, 200, LARGEST);

        CHECK(poll(4096) == NGX_OK);
        CHECK(!ngx_queue_empty(&late));
        CHECK(ngx_centrifugo_broker_wake(&a) == 0);
        CHECK(listed(0) == 1 && listed(1) == 1);

        ch = subs[0].channel;
        was = subs[0].got;
        CHECK(was == 0);

        switch (i) {

        case 0:
            /* it has an answer: the rest follows without a tick */

            late_run(NGX_CENTRIFUGO_ENGINE_OK);
            CHECK(ngx_centrifugo_broker_wake(&a) == 1);

            /* between two of them */

            CHECK(poll(5) == NGX_AGAIN && subs[0].got > 0);
            CHECK(listed(0) == 1);
            run();
            CHECK(subs[0].got == 300 && subs[1].got == 200);
            CHECK(told == 0);
            break;

        case 1:
            /* nobody is left */

            leave(&subs[0]);
            CHECK(listed(0) == 0);
            run();
            CHECK(subs[1].got == 200);
            CHECK(ngx_centrifugo_broker_channel(&a, &(ngx_str_t) {
                  8, (u_char *) "channel0" }) == NULL);
            break;

        case 2:
            /* another one has come, who has missed nothing */

            leave(&subs[0]);
            publish(0, 3, 1);
            join(2, 0, 2);
            publish(0, 3, 1);
            CHECK(subs[2].channel == ch);
            run();
            CHECK(subs[2].got == 3 && subs[1].got == 200 && told == 0);
            CHECK(subs[2].channel != NULL);
            break;

        case 3:
            /* it has no answer */

            join(2, 0, 2);
            late_run(NGX_CENTRIFUGO_ENGINE_UNAVAILABLE);
            CHECK(told == 1 && told_top.epoch == 0 && told_top.offset == 0);
            CHECK(subs[0].missed && subs[2].missed);
            run();
            CHECK(subs[1].got == 200 && told == 1);
            join(0, 0, 2);
            publish(0, 1, 1);
            run();
            CHECK(subs[0].got == 1);
            break;

        case 4:
            /* the worker ends */

            leave(&subs[0]);
            leave(&subs[1]);
            break;

        case 5:
            /* in the middle of a list, too */

            late_run(NGX_CENTRIFUGO_ENGINE_OK);
            CHECK(poll(5) == NGX_AGAIN && subs[0].got > 0);
            join(2, 0, 2);
            join(3, 0, 2);
            (void) poll(2);
            break;
        }

        CHECK(broken == 0);
        finish();
    }
}


static ngx_uint_t  turn, most;


static void
count(ngx_uint_t n)
{
    turn++;
    most = ngx_max(most, turn);
}


/* publishes to another channel while the position is read */

static ngx_uint_t  beside;

static void
publish_beside(ngx_uint_t n)
{
    answer_t  kept;

    kept = answer;
    memset(&answer, 0, sizeof(answer));
    publish(beside, 1, 1);
    free(answer.list);
    answer = kept;
}


/* B's publications do not reach A any more. */

static void
deafen(ngx_uint_t of)
{
    ngx_str_t  channel;

    channel = S(channels[of].name);
    ngx_centrifugo_hub_leave(&a.hub, &channel);
}


static void
checks(void)
{
    ngx_uint_t                 i, n;
    ngx_centrifugo_channel_t  *ch;

    begin(1024 * 1024, 0);

    for (i = 0; i < CHANNELS; i++) {
        name(i, 10);
        publish(i, 2, 1);
        join(i, i, i < CHANNELS / 2 ? 2 : i % 2);
    }

    /* nobody is asked before it is time, then each once, some at a time */

    hook = count;
    turn = 0;
    seconds(39);
    CHECK(turn == 0);

    publish(7, 1, 1);
    run();
    CHECK(subs[7].got == 1);

    most = 0;

    for (i = 0; i < 23; i++) {
        ngx_current_msec += 1000;
        ngx_centrifugo_broker_tick(&a);
        n = 0;

        do {
            turn = 0;
            (void) ngx_centrifugo_broker_wake(&a);
        } while (poll(4096) == NGX_AGAIN && ++n < 100);
    }

    CHECK(most > 50 && most <= 128);
    CHECK(told == 0);

    turn = 0;
    hook_n = 0;
    seconds(15);
    CHECK(told == 0);

    /* those with a position, without that which had an entry, once a delay */

    hook_n = 0;
    seconds(400);
    n = hook_n;
    CHECK(n >= 6 * CHANNELS / 2 && n <= 10 * CHANNELS / 2);
    CHECK(told == 0);

    /* one that has gone on without this worker */

    join(CHANNELS, 3, 1);
    ch = subs[3].channel;
    deafen(3);
    publish(3, 4, 1);
    seconds(62);
    CHECK(told == 1 && same(&told_top, top(3)) && subs[3].missed);
    CHECK(ch->feed && same(&ch->feed->position, top(3)));

    join(CHANNELS + 1, 3, 2);
    publish(3, 1, 1);
    seconds(62);
    CHECK(told == 1 && subs[CHANNELS + 1].got == 1);

    /* what is missing may be in the log: then it is looked at again */

    beside = 9;
    hook = publish_beside;
    deafen(4);
    publish(4, 1, 1);
    seconds(62);
    CHECK(told == 1);
    hook = NULL;
    seconds(42);
    CHECK(told == 2 && same(&told_top, top(4)) && subs[4].missed);

    /* but what is there for others does not matter */

    beside = CHANNELS - 1;
    leave(&subs[CHANNELS - 1]);
    hook = publish_beside;
    deafen(5);
    publish(5, 1, 1);
    seconds(62);
    CHECK(told == 3 && same(&told_top, top(5)) && subs[5].missed);
    hook = NULL;

    /* another stream at the same offset */

    ch = subs[6].channel;
    ch->feed->position.epoch++;
    seconds(62);
    CHECK(told == 4 && same(&told_top, top(6)) && !subs[6].missed);

    CHECK(broken == 0);
    finish();
}


static void
checks_late(void)
{
    begin(1024 * 1024, 1);
    name(0, 10);
    publish(0, 1, 1);
    join(0, 0, 2);

    /* no answer tells nothing */

    deafen(0);
    publish(0, 2, 1);
    ngx_current_msec += 41000;
    ngx_centrifugo_broker_tick(&a);
    (void) poll(100);
    CHECK(!ngx_queue_empty(&late));
    late_run(NGX_CENTRIFUGO_ENGINE_RETRY);
    CHECK(told == 0 && ngx_queue_empty(&late));

    /* it is asked again later */

    seconds(22);
    CHECK(told == 1 && subs[0].missed);

    /* an answer that is older than the last entry */

    join(0, 0, 2);
    ngx_current_msec += 41000;
    ngx_centrifugo_broker_tick(&a);
    (void) poll(100);
    CHECK(!ngx_queue_empty(&late));
    publish(0, 1, 1);
    (void) poll(100);
    CHECK(subs[0].got == 1);
    subs[0].channel->feed->checked = 1;
    late_run(NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(told == 1 && subs[0].channel->feed->checked == 1);

    /* one that is for nobody any more */

    ngx_current_msec += 41000;
    ngx_centrifugo_broker_tick(&a);
    (void) poll(100);
    CHECK(!ngx_queue_empty(&late));
    leave(&subs[0]);
    late_run(NGX_CENTRIFUGO_ENGINE_OK);
    CHECK(told == 1);

    /* and one that finds the log lost: reading it again tells more */

    join(0, 0, 2);
    ngx_current_msec += 41000;
    ngx_centrifugo_broker_tick(&a);
    (void) poll(100);
    CHECK(!ngx_queue_empty(&late));
    finish();
}


/* Whoever follows a stream keeps its position for those that come back. */

static void
keeps(void)
{
    ngx_uint_t                  i;
    ngx_centrifugo_publish_t    pub;
    ngx_centrifugo_position_t   positions[2];

    begin(1024 * 1024, 0);
    options.history_meta_ttl = 100000;

    for (i = 0; i < 2; i++) {
        name(i, 10);
        memset(&pub, 0, sizeof(pub));
        pub.channel = S(channels[i].name);
        pub.data = S("0 1                                                    "
                     "               ");
        pub.history_size = 10;
        pub.history_ttl = 5000;
        pub.history_meta_ttl = 100000;
        ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
        join(i, i, i ? 1 : 2);
        positions[i] = top(i);
        CHECK(positions[i].offset == 1);
    }

    for (i = 0; i < 600; i++) {
        seconds(1);

        while (ngx_centrifugo_hub_expire(&b.hub) == NGX_AGAIN) {
            /* void */
        }
    }

    CHECK(told == 0 && subs[0].channel && subs[1].channel);
    leave(&subs[0]);
    leave(&subs[1]);

    CHECK(same(&positions[0], top(0)));
    CHECK(!same(&positions[1], top(1)));

    finish();
}


static void
wipes(void)
{
    ngx_uint_t                  i;
    ngx_centrifugo_position_t   before;

    begin(1024 * 1024, 0);

    for (i = 0; i < 4; i++) {
        name(i, 10);
        publish(i, 3, 1);
        join(i, i, i == 3 ? 1 : 2);
    }

    join(4, 0, 1);
    before = top(0);

    /* nothing is published: what is told is where the new stream begins */

    ngx_centrifugo_hub_test_wipe(&b.hub, NGX_CENTRIFUGO_TO_ALL);
    (void) ngx_centrifugo_hub_resync_check(&a.hub);
    (void) ngx_centrifugo_hub_resync_check(&b.hub);
    run();

    CHECK(broken == 0 && told == 3);
    CHECK(subs[0].missed && subs[1].missed && subs[2].missed);
    CHECK(!subs[3].missed && subs[3].channel && subs[4].channel);
    CHECK(!same(&told_top, before));
    CHECK(subs[4].channel->feed->position.epoch != before.epoch);
    CHECK(same(&subs[4].channel->feed->position, top(0)));

    for (i = 0; i < 3; i++) {
        channels[i].n = 0;
        join(i, i, 2);
    }

    publish(0, 2, 1);
    publish(1, 2, 1);
    run();
    CHECK(subs[0].got == 2 && subs[1].got == 2 && subs[4].got == 2);
    CHECK(subs[0].position.offset == 2 && told == 3 && broken == 0);

    /*
     * Something is, before this worker has seen it: its entries tell, and who
     * has come after the wipe stays.
     */

    ngx_centrifugo_hub_test_wipe(&b.hub, NGX_CENTRIFUGO_TO_ALL);

    for (i = 0; i < 4; i++) {
        channels[i].n = 0;
        subs[4].last = 0;
    }

    publish(0, 2, 1);
    join(5, 0, 2);
    publish(0, 2, 1);
    (void) ngx_centrifugo_hub_resync_check(&a.hub);
    (void) ngx_centrifugo_hub_resync_check(&b.hub);
    run();

    CHECK(broken == 1 && subs[0].missed);
    CHECK(subs[5].channel && subs[5].got == 2 && subs[4].got == 6);
    CHECK(subs[1].missed && subs[2].missed && told == 5);
    CHECK(same(&subs[5].channel->feed->position, top(0)));
    CHECK(subs[5].position.offset == 4);

    publish(0, 1, 1);
    run();
    CHECK(subs[5].got == 3 && broken == 1 && told == 5);

    /* once back, nobody is told by the next check */

    seconds(100);
    CHECK(broken == 1 && told == 5);

    finish();
}


int
main(void)
{
    ngx_uint_t  i;

    feeds();
    overrun();
    overrun_late();

    for (i = 0; i < 12; i++) {
        seed = i;
        overruns(i % 2, i % 4 < 2 ? 5000 : 20 + 4 * i, i % 4 < 2);
    }

    checks();
    checks_late();
    keeps();
    wipes();

    return UNIT_END();
}
