#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_timer.h"


#define DELIVERY_WRITES  512        /* of one turn of the event loop */


static ngx_centrifugo_frame_t *delivery_frame(
    const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_transport_t *transport,
    ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_publication_t *pub);


static ngx_queue_t           delivery_dirty;
static ngx_centrifugo_buf_t  delivery_buf;


void
ngx_centrifugo_delivery_init(void)
{
    ngx_queue_init(&delivery_dirty);
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
        ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_SLOW,
                               1);
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_slow,
                                    "its queue is over queue_max_size");
        return;
    }

    if (client->dirty.next == NULL) {
        ngx_queue_insert_tail(&delivery_dirty, &client->dirty);
    }
}


ngx_uint_t
ngx_centrifugo_delivery_publication(ngx_centrifugo_channel_t *channel,
    uint64_t pos, const ngx_centrifugo_publication_t *pub)
{
    ngx_uint_t                      n;
    ngx_queue_t                    *q, *next;
    ngx_centrifugo_frame_t         *frame;
    ngx_centrifugo_client_t        *client;
    const ngx_centrifugo_codec_t   *codec;
    ngx_centrifugo_subscription_t  *sub;

    n = 0;
    frame = NULL;
    codec = NULL;

    /* a client that is closed below may be the channel's last */

    channel->count++;

    for (q = ngx_queue_head(&channel->subscriptions);
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_channel);

        if (pos < sub->pos) {
            continue;
        }

        client = sub->client;

        if (client->codec->json && !pub->json) {
            ngx_centrifugo_client_close(client,
                                      &ngx_centrifugo_disconnect_protocol,
                                      "a publication that is not JSON");
            continue;
        }

        if (codec != client->codec) {

            if (frame) {
                ngx_centrifugo_frame_release(frame);
            }

            codec = client->codec;
            frame = delivery_frame(codec, client->transport, channel, pub);
        }

        if (frame == NULL) {
            ngx_centrifugo_client_close(client,
                                        &ngx_centrifugo_disconnect_internal,
                                        "no memory for a frame");
            continue;
        }

        ngx_centrifugo_delivery_append(client, frame);
        n++;
    }

    if (frame) {
        ngx_centrifugo_frame_release(frame);
    }

    ngx_centrifugo_hub_add(&channel->hcf->hub, NGX_CENTRIFUGO_COUNT_DELIVERED,
                           n);

    if (--channel->count == 0) {
        ngx_centrifugo_engine(channel->hcf)->unsubscribe(channel);
    }

    return n;
}


static ngx_centrifugo_frame_t *
delivery_frame(const ngx_centrifugo_codec_t *codec,
    const ngx_centrifugo_transport_t *transport,
    ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_publication_t *pub)
{
    ngx_centrifugo_frame_t  *frame;

    ngx_centrifugo_buf_reset(&delivery_buf);
    codec->push_publication(&delivery_buf, &channel->name.str, pub);

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
    ngx_uint_t                n;
    ngx_queue_t              *q;
    ngx_centrifugo_client_t  *client;

    for (n = 0; n < DELIVERY_WRITES; n++) {

        if (ngx_queue_empty(&delivery_dirty)) {
            return NGX_OK;
        }

        q = ngx_queue_head(&delivery_dirty);
        client = ngx_queue_data(q, ngx_centrifugo_client_t, dirty);

        ngx_centrifugo_delivery_send(client);
    }

    return ngx_queue_empty(&delivery_dirty) ? NGX_OK : NGX_AGAIN;
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
        ngx_centrifugo_client_gone(client, "write failed");
        client->transport->close(client, 0, NULL);
    }
}
