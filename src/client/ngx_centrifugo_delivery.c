#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"
#include "../protocol/ngx_centrifugo_delta.h"

#include <time.h>


#define DELIVERY_WRITES  512        /* of one turn of the event loop */
#define DELIVERY_TIME    5000000    /* ns, of the same */
#define DELIVERY_CHECK   16         /* writes between two looks at the clock */
#define DELIVERY_FORMS   24         /* frames of one publication at a time */
#define DELIVERY_HELD    4          /* entries, at first */
#define DELIVERY_PAYLOAD 1024       /* bytes that a base may take for nothing */
#define DELIVERY_SPARE   65536      /* bytes of a buffer between two uses */


/* a frame for all subscribers that get a publication in the same way */
typedef struct {
    const ngx_centrifugo_codec_t      *codec;
    const ngx_centrifugo_transport_t  *transport;
    ngx_centrifugo_frame_t            *frame;
    ngx_centrifugo_form_e              form;
    ngx_uint_t                         compact;
} delivery_form_t;

typedef struct {
    ngx_uint_t                         n;
    delivery_form_t                    form[DELIVERY_FORMS];
    const delivery_form_t             *common;  /* one of them: plain, with the
                                                   name; NULL: none yet */
} delivery_forms_t;

typedef struct {
    ngx_centrifugo_frame_t            *frame;       /* NULL: filtered */
    ngx_centrifugo_position_t          position;    /* offset 0: none */
    ngx_uint_t                         other;       /* join or leave */
} delivery_entry_t;

struct ngx_centrifugo_held_s {
    ngx_uint_t                         n;
    ngx_uint_t                         size;
    size_t                             bytes;
    ngx_uint_t                         lost;
    delivery_entry_t                   entries[];
};

/* the last delta that was made, for who comes in a later turn */
typedef struct {
    uint64_t                           channel;
    uint64_t                           offset;
    uint64_t                           epoch;
    const ngx_centrifugo_codec_t      *codec;
    ngx_int_t                          rc;
    ngx_centrifugo_buf_t               base;
    ngx_centrifugo_buf_t               target;
    ngx_centrifugo_buf_t               delta;
} delivery_last_t;


static ngx_int_t delivery_wanted(ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_publication_t *pub);
static ngx_int_t delivery_follow(ngx_centrifugo_subscription_t *sub,
    uint64_t offset, uint64_t epoch);
static ngx_uint_t delivery_late(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publication_t *pub);
static ngx_centrifugo_frame_t *delivery_frame(delivery_forms_t *forms,
    ngx_centrifugo_channel_t *channel, ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_publication_t *pub, ngx_uint_t *budget);
static ngx_int_t delivery_delta(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_publication_t *pub);
static void delivery_keep(ngx_centrifugo_feed_t *feed,
    const ngx_centrifugo_publication_t *pub);
static void delivery_spare(ngx_centrifugo_buf_t *b);
static void delivery_hold(ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_frame_t *frame, const ngx_centrifugo_publication_t *pub);
static void delivery_free(ngx_centrifugo_held_t *held);
static void delivery_slow(ngx_centrifugo_client_t *client, const char *why);


static ngx_queue_t           delivery_dirty;
static ngx_centrifugo_buf_t  delivery_buf;
static size_t                delivery_memory;   /* for all frames */
static ngx_uint_t            delivery_held;     /* until all are written */
static delivery_last_t       delivery_last;


void
ngx_centrifugo_delivery_init(size_t memory)
{
    ngx_queue_init(&delivery_dirty);
    delivery_memory = memory;
}


void
ngx_centrifugo_delivery_exit(void)
{
    ngx_centrifugo_buf_free(&delivery_buf);
    ngx_centrifugo_buf_free(&delivery_last.base);
    ngx_centrifugo_buf_free(&delivery_last.target);
    ngx_centrifugo_buf_free(&delivery_last.delta);
    delivery_last.offset = 0;
}


ngx_uint_t
ngx_centrifugo_delivery_over(void)
{
    return ngx_centrifugo_frame_bytes() > delivery_memory;
}


void
ngx_centrifugo_delivery_append(ngx_centrifugo_client_t *client,
    ngx_centrifugo_frame_t *frame)
{
    if (ngx_centrifugo_queue_push(&client->queue, frame) != NGX_OK) {
        ngx_centrifugo_client_close(client,
                                    &ngx_centrifugo_disconnect_internal,
                                    "no memory for the queue");
        return;
    }

    if (client->queue.bytes > client->hcf->queue_max_size) {
        delivery_slow(client, "its queue is over queue_max_size");
        return;
    }

    if (client->dirty.next == NULL) {
        ngx_queue_insert_tail(&delivery_dirty, &client->dirty);
    }

    if (ngx_centrifugo_delivery_over()) {

        /* its turn ends with a look at who has the most */

        ngx_centrifugo_worker_post();
    }
}


ngx_int_t
ngx_centrifugo_delivery_publication(ngx_centrifugo_channel_t *channel,
    uint64_t pos, const ngx_centrifugo_publication_t *pub, ngx_queue_t *mark,
    ngx_uint_t *budget)
{
    ngx_int_t                       rc;
    ngx_uint_t                      n, push, text;
    ngx_queue_t                    *q, *next;
    delivery_forms_t                forms;
    const delivery_form_t          *common;
    ngx_centrifugo_frame_t         *frame;
    ngx_centrifugo_client_t        *client;
    ngx_centrifugo_subscription_t  *sub;

    n = 0;
    forms.n = 0;
    forms.common = NULL;

    push = (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION);
    text = (pub->json || pub->data.len == 0 || push);

    if (mark->next) {
        q = ngx_queue_next(mark);
        ngx_queue_remove(mark);
        mark->next = NULL;

    } else {
        q = ngx_queue_head(&channel->subscriptions);
    }

    for ( /* void */ ;
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = next)
    {
        if (*budget == 0) {
            ngx_queue_insert_tail(q, mark);
            break;
        }

        (*budget)--;

        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_channel);

        if (pos < sub->pos && !(pub->caught && sub->positioned)) {
            continue;
        }

        if (push) {

            if (!sub->push) {
                continue;
            }

        } else if (sub->positioned || sub->extra) {

            rc = delivery_wanted(sub, pub);

            if (rc == NGX_DECLINED) {
                continue;
            }

            if (rc != NGX_OK) {
                ngx_centrifugo_subscription_insufficient(sub);
                continue;
            }
        }

        client = sub->client;

        if (!text && client->codec->json) {
            ngx_centrifugo_client_close(client,
                                      &ngx_centrifugo_disconnect_protocol,
                                      "a publication that is not JSON");
            continue;
        }

        common = forms.common;

        if (common && !sub->delta && !sub->compact
            && common->codec == client->codec
            && common->transport == client->transport)
        {
            frame = common->frame;

        } else {
            frame = delivery_frame(&forms, channel, sub, pub, budget);
        }

        if (frame == NULL) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_internal,
                                        "no memory for a frame");
            continue;
        }

        if (sub->pending) {
            delivery_hold(sub, frame, pub);
            continue;
        }

        ngx_centrifugo_delivery_append(client, frame);

        if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
            continue;
        }

        n++;

        if (client->queue.bytes > client->hcf->queue_max_size / 2
            && client->due[NGX_CENTRIFUGO_DUE_WRITE] == 0)
        {
            /* nobody has tried yet to write to it: it must not count as slow */

            delivery_held = 1;
            *budget = 0;
        }
    }

    while (forms.n) {
        ngx_centrifugo_frame_release(forms.form[--forms.n].frame);
    }

    ngx_centrifugo_hub_add(&channel->hcf->hub, NGX_CENTRIFUGO_COUNT_DELIVERED,
                           n);

    if (mark->next) {
        return NGX_AGAIN;
    }

    if (channel->feed && pub->offset) {
        delivery_keep(channel->feed, pub);
    }

    return NGX_OK;
}


/*
 * Whether a subscription that has a position or a filter gets a publication:
 * NGX_OK; NGX_DECLINED: it does not, but has seen it; NGX_ERROR: something is
 * missing before it.
 */

static ngx_int_t
delivery_wanted(ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_int_t  rc;

    if (sub->positioned && pub->offset && !sub->pending) {
        rc = delivery_follow(sub, pub->offset, pub->epoch);

        if (rc != NGX_OK) {
            return rc;
        }

        if (delivery_late(sub->client->hcf, pub)) {
            return NGX_ERROR;
        }
    }

    if (sub->extra && sub->extra->filter
        && !ngx_centrifugo_filter_match(sub->extra->filter, &pub->tags))
    {
        if (sub->pending) {
            delivery_hold(sub, NULL, pub);

        } else {
            sub->based = 0;
        }

        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
delivery_follow(ngx_centrifugo_subscription_t *sub, uint64_t offset,
    uint64_t epoch)
{
    ngx_centrifugo_position_t  *position;

    position = &sub->position[0];

    if (epoch != position->epoch || offset > position->offset + 1) {
        return NGX_ERROR;
    }

    if (offset <= position->offset) {
        return NGX_DECLINED;
    }

    position->offset = offset;

    return NGX_OK;
}


static ngx_uint_t
delivery_late(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publication_t *pub)
{
    return hcf->channel_position_max_time_lag && pub->time
           && ngx_centrifugo_broker_time()
              > pub->time + hcf->channel_position_max_time_lag;
}


/*
 * The frame of a publication for a subscriber, made when the first one needs
 * it in its form; it is the list's.
 */

static ngx_centrifugo_frame_t *
delivery_frame(delivery_forms_t *forms, ngx_centrifugo_channel_t *channel,
    ngx_centrifugo_subscription_t *sub,
    const ngx_centrifugo_publication_t *pub, ngx_uint_t *budget)
{
    ngx_uint_t                     i;
    delivery_form_t               *f;
    ngx_centrifugo_form_e          form;
    ngx_centrifugo_frame_t        *frame;
    ngx_centrifugo_client_t       *client;
    ngx_centrifugo_publication_t   delta;

    client = sub->client;
    form = NGX_CENTRIFUGO_FORM_PLAIN;

    if (sub->delta && pub->type == NGX_CENTRIFUGO_PUSH_PUBLICATION) {
        form = NGX_CENTRIFUGO_FORM_TEXT;

        /* of what is held nobody knows yet what the client has before it */

        if (!sub->pending) {

            if (sub->based && sub->positioned && pub->delta
                && delivery_delta(channel, client->codec, pub) == NGX_OK)
            {
                form = NGX_CENTRIFUGO_FORM_DELTA;
            }

            /* what is of no stream is no base of the next in it */

            sub->based = (pub->offset != 0);
        }
    }

    for (i = 0; i < forms->n; i++) {
        f = &forms->form[i];

        if (f->codec == client->codec && f->transport == client->transport
            && f->form == form && f->compact == sub->compact)
        {
            return f->frame;
        }
    }

    if (form == NGX_CENTRIFUGO_FORM_DELTA) {
        delta = *pub;
        delta.data.data = delivery_last.delta.start;
        delta.data.len = ngx_centrifugo_buf_len(&delivery_last.delta);
        pub = &delta;
    }

    ngx_centrifugo_buf_reset(&delivery_buf);
    client->codec->push_publication(&delivery_buf, &channel->name.str,
                                    sub->compact
                                    ? ngx_centrifugo_feed_id(channel) : 0,
                                    pub, form);

    if (delivery_buf.failed) {
        return NULL;
    }

    frame = client->transport->frame(client, delivery_buf.start,
                                     ngx_centrifugo_buf_len(&delivery_buf));
    if (frame == NULL) {
        return NULL;
    }

    if (forms->n == DELIVERY_FORMS) {
        ngx_centrifugo_frame_release(forms->form[--forms->n].frame);
    }

    f = &forms->form[forms->n++];
    f->codec = client->codec;
    f->transport = client->transport;
    f->form = form;
    f->compact = sub->compact;
    f->frame = frame;

    if (!sub->delta && !sub->compact) {
        forms->common = f;

    } else if (forms->common == f) {

        /* that was in its place */

        forms->common = NULL;
    }

    if (ngx_centrifugo_delivery_over()) {

        /* what is made already is to be written first */

        *budget = 0;
    }

    return frame;
}


/*
 * The delta of a publication against the one before it, made once for all
 * subscribers of a codec.  NGX_OK: it is in delivery_last; NGX_DECLINED: there
 * is none.
 */

static ngx_int_t
delivery_delta(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_str_t                      base, target;
    ngx_centrifugo_feed_t         *feed;
    ngx_centrifugo_publication_t   before;

    feed = channel->feed;

    if (feed == NULL || feed->last.offset == 0
        || feed->last.offset + 1 != pub->offset
        || feed->last.epoch != pub->epoch)
    {
        return NGX_DECLINED;
    }

    if (delivery_last.epoch == pub->epoch
        && delivery_last.offset == pub->offset
        && delivery_last.channel == channel->node.key
        && delivery_last.codec == codec)
    {
        return delivery_last.rc;
    }

    delivery_last.epoch = pub->epoch;
    delivery_last.offset = pub->offset;
    delivery_last.channel = channel->node.key;
    delivery_last.codec = codec;

    before = *pub;
    before.data.data = feed->payload.start;
    before.data.len = ngx_centrifugo_buf_len(&feed->payload);

    ngx_centrifugo_buf_reset(&delivery_last.base);
    ngx_centrifugo_buf_reset(&delivery_last.target);
    ngx_centrifugo_buf_reset(&delivery_last.delta);

    codec->payload(&delivery_last.base, &before, &base);
    codec->payload(&delivery_last.target, pub, &target);

    delivery_last.rc = NGX_DECLINED;

    if (!delivery_last.base.failed && !delivery_last.target.failed
        && ngx_centrifugo_delta(&delivery_last.delta, &base, &target,
                                codec->json)
           == NGX_OK)
    {
        delivery_last.rc = NGX_OK;
    }

    return delivery_last.rc;
}


/*
 * The base of the next delta: only while somebody gets deltas.
 */

static void
delivery_keep(ngx_centrifugo_feed_t *feed,
    const ngx_centrifugo_publication_t *pub)
{
    feed->last.offset = 0;

    if (feed->deltas == 0) {

        if (feed->payload.start) {
            ngx_centrifugo_buf_free(&feed->payload);
        }

        return;
    }

    /* all have the delta; one large publication must not take memory forever */

    delivery_spare(&delivery_last.base);
    delivery_spare(&delivery_last.target);
    delivery_spare(&delivery_last.delta);

    if (delivery_last.delta.start == NULL) {
        delivery_last.offset = 0;
    }

    if ((size_t) (feed->payload.end - feed->payload.start) / 4
        > pub->data.len + DELIVERY_PAYLOAD)
    {
        ngx_centrifugo_buf_free(&feed->payload);
    }

    ngx_centrifugo_buf_reset(&feed->payload);
    ngx_centrifugo_buf_append(&feed->payload, pub->data.data, pub->data.len);

    if (!feed->payload.failed) {
        feed->last.offset = pub->offset;
        feed->last.epoch = pub->epoch;
    }
}


static void
delivery_spare(ngx_centrifugo_buf_t *b)
{
    if (b->end - b->start > DELIVERY_SPARE) {
        ngx_centrifugo_buf_free(b);
    }
}


/*
 * Keeps a frame (NULL: the filter passed over it) until the subscription is
 * answered, as long as all of them fit into a queue.
 */

static void
delivery_hold(ngx_centrifugo_subscription_t *sub,
    ngx_centrifugo_frame_t *frame, const ngx_centrifugo_publication_t *pub)
{
    size_t                  bytes;
    ngx_uint_t              size;
    delivery_entry_t       *entry;
    ngx_centrifugo_held_t  *held;

    held = sub->held;
    bytes = sizeof(delivery_entry_t)
            + (frame ? ngx_centrifugo_frame_size(frame) : 0);

    if (held && (held->lost || held->bytes + bytes
                               > sub->client->hcf->queue_max_size))
    {
        held->lost = 1;
        return;
    }

    if (held == NULL || held->n == held->size) {
        size = held ? held->size * 2 : DELIVERY_HELD;

        held = realloc(held, sizeof(ngx_centrifugo_held_t)
                             + size * sizeof(delivery_entry_t));
        if (held == NULL) {

            if (sub->held) {
                sub->held->lost = 1;

            } else {
                ngx_centrifugo_client_close(sub->client,
                                            &ngx_centrifugo_disconnect_internal,
                                            "no memory for what it waits for");
            }

            return;
        }

        if (sub->held == NULL) {
            ngx_memzero(held, sizeof(ngx_centrifugo_held_t));
        }

        held->size = size;
        sub->held = held;
    }

    if (frame) {
        frame->refs++;
    }

    entry = &held->entries[held->n++];
    entry->frame = frame;
    entry->position.offset = pub->offset;
    entry->position.epoch = pub->epoch;
    entry->other = (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION);
    held->bytes += bytes;
}


void
ngx_centrifugo_delivery_answered(ngx_centrifugo_subscription_t *sub)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    delivery_entry_t         *entry;
    ngx_centrifugo_held_t    *held;
    ngx_centrifugo_client_t  *client;

    held = sub->held;

    if (held == NULL) {
        return;
    }

    client = sub->client;
    sub->held = NULL;
    n = 0;
    rc = NGX_OK;

    for (i = 0; i < held->n; i++) {
        entry = &held->entries[i];
        rc = NGX_OK;

        if (sub->positioned && entry->position.offset) {
            rc = delivery_follow(sub, entry->position.offset,
                                 entry->position.epoch);

            if (rc == NGX_ERROR) {
                break;
            }
        }

        if (rc != NGX_OK) {
            continue;
        }

        if (!entry->other) {
            sub->based = (entry->frame && entry->position.offset);
        }

        if (entry->frame) {
            ngx_centrifugo_delivery_append(client, entry->frame);

            if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED) {
                break;
            }

            n++;
        }
    }

    if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED && sub->positioned
        && (rc == NGX_ERROR || held->lost))
    {
        ngx_centrifugo_subscription_insufficient(sub);
    }

    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_DELIVERED,
                           n);
    delivery_free(held);
}


void
ngx_centrifugo_delivery_drop(ngx_centrifugo_subscription_t *sub)
{
    if (sub->held) {
        delivery_free(sub->held);
        sub->held = NULL;
    }
}


static void
delivery_free(ngx_centrifugo_held_t *held)
{
    ngx_uint_t  i;

    for (i = 0; i < held->n; i++) {
        if (held->entries[i].frame) {
            ngx_centrifugo_frame_release(held->entries[i].frame);
        }
    }

    free(held);
}


ngx_int_t
ngx_centrifugo_delivery_flush(void)
{
    int64_t                   end;
    ngx_uint_t                n;
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    end = 0;

    for (n = 0; n < DELIVERY_WRITES; n++) {

        if (ngx_queue_empty(&delivery_dirty)) {
            break;
        }

        if (n % DELIVERY_CHECK == DELIVERY_CHECK - 1) {

            /* few writes are not worth a look at the clock */

            if (end == 0) {
                end = ngx_centrifugo_delivery_now() + DELIVERY_TIME;

            } else if (ngx_centrifugo_delivery_now() >= end) {
                break;
            }
        }

        q = ngx_queue_head(&delivery_dirty);
        client = ngx_queue_data(q, ngx_centrifugo_client_t, dirty);

        ngx_centrifugo_delivery_send(client);
    }

    if (!ngx_queue_empty(&delivery_dirty)) {
        return NGX_AGAIN;
    }

    delivery_held = 0;

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_delivery_held(void)
{
    return delivery_held;
}


size_t
ngx_centrifugo_delivery_longest(ngx_centrifugo_hub_conf_t *hcf)
{
    size_t                    longest;
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    longest = 0;

    for (q = ngx_queue_head(&hcf->clients);
         q != ngx_queue_sentinel(&hcf->clients);
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, link);

        if (client->state != NGX_CENTRIFUGO_CLIENT_CLOSED) {
            longest = ngx_max(longest, client->queue.bytes);
        }
    }

    return longest;
}


ngx_uint_t
ngx_centrifugo_delivery_shed(ngx_centrifugo_hub_conf_t *hcf, size_t least)
{
    ngx_uint_t                n;
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    n = 0;

    for (q = ngx_queue_head(&hcf->clients);
         q != ngx_queue_sentinel(&hcf->clients)
         && ngx_centrifugo_delivery_over();
         q = ngx_queue_next(q))
    {
        client = ngx_queue_data(q, ngx_centrifugo_client_t, link);

        if (client->state == NGX_CENTRIFUGO_CLIENT_CLOSED
            || client->queue.bytes < least)
        {
            continue;
        }

        delivery_slow(client, "queues of its worker are over "
                              "centrifugo_queue_memory");
        n++;
    }

    return n;
}


static void
delivery_slow(ngx_centrifugo_client_t *client, const char *why)
{
    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_SLOW, 1);
    ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_slow, why);
}


int64_t
ngx_centrifugo_delivery_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}


void
ngx_centrifugo_delivery_send(ngx_centrifugo_client_t *client)
{
    size_t  before;

    if (client->dirty.next) {
        ngx_queue_remove(&client->dirty);
        client->dirty.next = NULL;
    }

    before = client->queue.bytes;

    if (before == 0) {
        return;
    }

    switch (client->transport->send(client)) {

    case NGX_OK:

        if (client->due[NGX_CENTRIFUGO_DUE_WRITE]) {
            ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_WRITE, 0);
        }

        break;

    case NGX_AGAIN:

        /* any progress gives the peer the whole time anew */

        if (client->due[NGX_CENTRIFUGO_DUE_WRITE] == 0
            || client->queue.bytes < before)
        {
            ngx_centrifugo_timer_set(client, NGX_CENTRIFUGO_DUE_WRITE,
                                     client->hcf->write_timeout);
        }

        break;

    default:
        ngx_centrifugo_client_gone(client, 1006, "write failed");
        client->transport->close(client, 0, NULL);
    }
}
