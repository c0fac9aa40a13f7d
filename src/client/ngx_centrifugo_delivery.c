#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_timer.h"
#include "ngx_centrifugo_worker.h"

#include <time.h>


#define DELIVERY_WRITES  512        /* of one turn of the event loop */
#define DELIVERY_TIME    5000000    /* ns, of the same */
#define DELIVERY_CHECK   16         /* writes between two looks at the clock */


static ngx_centrifugo_frame_t *delivery_frame(
    const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_transport_t *transport,
    ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_publication_t *pub);


static void delivery_slow(ngx_centrifugo_client_t *client, const char *why);


static ngx_queue_t           delivery_dirty;
static ngx_centrifugo_buf_t  delivery_buf;
static size_t                delivery_memory;   /* for all frames */
static ngx_uint_t            delivery_held;     /* until all are written */


void
ngx_centrifugo_delivery_init(size_t memory)
{
    ngx_queue_init(&delivery_dirty);
    delivery_memory = memory;
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
    if (frame->head == 0) {
        client->transport->seal(frame);
    }

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
    ngx_uint_t                         n;
    ngx_queue_t                       *q, *next;
    ngx_centrifugo_frame_t            *frame;
    ngx_centrifugo_client_t           *client;
    const ngx_centrifugo_codec_t      *codec;
    ngx_centrifugo_subscription_t     *sub;
    const ngx_centrifugo_transport_t  *transport;

    n = 0;
    frame = NULL;
    codec = NULL;
    transport = NULL;

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

        if (pos < sub->pos || sub->pending
            || (pub->type != NGX_CENTRIFUGO_PUSH_PUBLICATION && !sub->push))
        {
            continue;
        }

        client = sub->client;

        if (client->codec->json && !pub->json && pub->data.len
            && pub->type == NGX_CENTRIFUGO_PUSH_PUBLICATION)
        {
            ngx_centrifugo_client_close(client,
                                      &ngx_centrifugo_disconnect_protocol,
                                      "a publication that is not JSON");
            continue;
        }

        if (codec != client->codec || transport != client->transport) {

            if (frame) {
                ngx_centrifugo_frame_release(frame);
            }

            codec = client->codec;
            transport = client->transport;
            frame = delivery_frame(codec, transport, channel, pub);

            if (ngx_centrifugo_delivery_over()) {

                /* what is made already is to be written first */

                *budget = 0;
            }
        }

        if (frame == NULL) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_internal,
                                        "no memory for a frame");
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

    if (frame) {
        ngx_centrifugo_frame_release(frame);
    }

    ngx_centrifugo_hub_add(&channel->hcf->hub, NGX_CENTRIFUGO_COUNT_DELIVERED,
                           n);

    return mark->next ? NGX_AGAIN : NGX_OK;
}


static ngx_centrifugo_frame_t *
delivery_frame(const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_transport_t *transport,
    ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_centrifugo_frame_t  *frame;

    ngx_centrifugo_buf_reset(&delivery_buf);
    codec->push_publication(&delivery_buf, &channel->name.str, 0, pub,
                            NGX_CENTRIFUGO_FORM_PLAIN);

    if (delivery_buf.failed) {
        return NULL;
    }

    frame = ngx_centrifugo_frame_create(delivery_buf.start,
                                     ngx_centrifugo_buf_len(&delivery_buf));
    if (frame) {
        transport->seal(frame);
    }

    return frame;
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
