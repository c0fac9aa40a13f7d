/*
 * Positions of subscriptions: what a subscriber is told of its own and of what
 * it missed, and the end of one that has missed too much.
 */

#include "ngx_centrifugo_client.h"
#include "../core/ngx_centrifugo_text.h"
#include "../protocol/ngx_centrifugo_delta.h"


/* the recovered publications as they are written */
typedef struct {
    const ngx_centrifugo_codec_t  *codec;
    ngx_centrifugo_buf_t          *list;
    ngx_uint_t                     n;
    uint64_t                       last;        /* offset */

    /* for one with deltas: payloads, in turn; the last one; a delta */
    ngx_uint_t                     delta;
    ngx_centrifugo_buf_t           payloads[2];
    ngx_str_t                      base;
    ngx_centrifugo_buf_t           text;
} recovery_list_t;


static ngx_int_t recovery_publications(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_subscription_t *sub, size_t room, recovery_list_t *rl);
static void recovery_publication(recovery_list_t *rl,
    ngx_centrifugo_publication_t *pub);


ngx_int_t
ngx_centrifugo_recovery_result(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_subscription_t *sub, size_t room,
    ngx_centrifugo_buf_t *list, ngx_centrifugo_subscribe_result_t *result)
{
    ngx_int_t                rc;
    recovery_list_t          rl;
    ngx_centrifugo_hub_t    *hub;
    ngx_centrifugo_grant_t  *grant;

    grant = &op->grant;

    result->was_recovering = grant->recover;
    result->delta = sub->delta;
    result->id = sub->compact ? ngx_centrifugo_feed_id(sub->channel) : 0;

    if (!sub->positioned) {
        return NGX_OK;
    }

    result->positioned = 1;
    result->recoverable = grant->recoverable;
    result->offset = op->position.offset;
    ngx_centrifugo_position_epoch(&op->position, &result->epoch);

    if (!grant->recoverable || !(grant->recover || grant->automatic)) {
        return NGX_OK;
    }

    ngx_memzero(&rl, sizeof(recovery_list_t));
    rl.codec = sub->client->codec;
    rl.list = list;
    rl.delta = sub->delta;

    rc = op->recovered ? NGX_OK : NGX_ERROR;

    if (op->recovered && list) {
        rc = recovery_publications(op, sub, room, &rl);
    }

    ngx_centrifugo_buf_free(&rl.payloads[0]);
    ngx_centrifugo_buf_free(&rl.payloads[1]);
    ngx_centrifugo_buf_free(&rl.text);

    if (rc == NGX_DECLINED) {
        return NGX_DECLINED;
    }

    hub = &op->hcf->hub;

    if (rc != NGX_OK) {
        ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_RECOVERED_NO, 1);
        return NGX_OK;
    }

    ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_RECOVERED_YES, 1);
    ngx_centrifugo_hub_add(hub, NGX_CENTRIFUGO_COUNT_RECOVERED_PUBLICATIONS,
                           rl.n);

    /* from where it was the client comes to the top by what it gets here */

    result->recovered = 1;
    result->offset = grant->since.offset;

    if (rl.n) {
        result->publications = list;
    }

    /*
     * It has the base of the next delta if it has the last publication; what is
     * held for it goes on from here.
     */

    sub->based = sub->delta && rl.n && rl.last == op->position.offset;

    return NGX_OK;
}


/*
 * NGX_ERROR: they take more than there is room or memory for; NGX_DECLINED: one
 * is not JSON.
 */

static ngx_int_t
recovery_publications(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_subscription_t *sub, size_t room, recovery_list_t *rl)
{
    ngx_str_t                      publications;
    ngx_centrifugo_publication_t   pub;
    ngx_centrifugo_client_info_t   info;

    publications = op->publications;

    while (ngx_centrifugo_broker_publication_next(&publications, &pub, &info)
           == NGX_OK)
    {
        if (sub->extra && sub->extra->filter
            && !ngx_centrifugo_filter_match(sub->extra->filter, &pub.tags))
        {
            continue;
        }

        if (rl->codec->json && !pub.json && pub.data.len) {
            return NGX_DECLINED;
        }

        pub.epoch = op->position.epoch;
        recovery_publication(rl, &pub);

        if (rl->list->failed || ngx_centrifugo_buf_len(rl->list) > room) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
recovery_publication(recovery_list_t *rl, ngx_centrifugo_publication_t *pub)
{
    ngx_str_t                target;
    ngx_centrifugo_buf_t    *payload;
    ngx_centrifugo_form_e    form;

    form = NGX_CENTRIFUGO_FORM_PLAIN;

    if (rl->delta) {
        form = NGX_CENTRIFUGO_FORM_TEXT;

        payload = &rl->payloads[rl->n % 2];
        ngx_centrifugo_buf_reset(payload);
        rl->codec->payload(payload, pub, &target);

        ngx_centrifugo_buf_reset(&rl->text);

        if (payload->failed) {

            /* the next one has no base, either */

            ngx_str_null(&target);

        } else if (rl->n && rl->base.data
                   && ngx_centrifugo_delta(&rl->text, &rl->base, &target,
                                           rl->codec->json)
                      == NGX_OK)
        {
            form = NGX_CENTRIFUGO_FORM_DELTA;
            pub->data.data = rl->text.start;
            pub->data.len = ngx_centrifugo_buf_len(&rl->text);
        }

        rl->base = target;
    }

    rl->codec->publication(rl->list, rl->n++, pub, form);
    rl->last = pub->offset;
}


void
ngx_centrifugo_position_epoch(ngx_centrifugo_position_t *position,
    ngx_str_t *epoch)
{
    epoch->data = (u_char *) &position->epoch;
    epoch->len = position->epoch ? NGX_CENTRIFUGO_EPOCH_LEN : 0;
}


void
ngx_centrifugo_subscription_insufficient(ngx_centrifugo_subscription_t *sub)
{
    u_char                    id[NGX_CENTRIFUGO_ID_LEN];
    ngx_str_t                 epoch;
    ngx_centrifugo_client_t  *client;

    client = sub->client;

    (void) ngx_centrifugo_client_id(client, id);
    ngx_centrifugo_position_epoch(&sub->position[0], &epoch);

    ngx_log_error(NGX_LOG_INFO, client->log, 0,
                  "centrifugo client %*s of user \"%V\" has missed "
                  "publications of channel \"%V\" behind %uL of epoch \"%V\"",
                  (size_t) NGX_CENTRIFUGO_ID_LEN, id,
                  ngx_centrifugo_log_str(&client->user),
                  ngx_centrifugo_log_str(&sub->channel->name.str),
                  sub->position[0].offset, &epoch);

    ngx_centrifugo_hub_add(&client->hcf->hub, NGX_CENTRIFUGO_COUNT_INSUFFICIENT,
                           1);

    if (sub->server_side) {
        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_state,
                                    "a server-side subscription has missed "
                                    "publications");

    } else if (sub->pending) {

        /* there is nothing yet that could be unsubscribed */

        ngx_centrifugo_client_close(client, &ngx_centrifugo_disconnect_state,
                                    "a subscription has missed publications "
                                    "before it was answered");

    } else {
        ngx_centrifugo_subscription_revoke(sub, 2500,
                                &ngx_centrifugo_disconnect_state.reason);
    }
}


void
ngx_centrifugo_channel_insufficient(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_position_t *top)
{
    ngx_queue_t                    *q, *next;
    ngx_centrifugo_subscription_t  *sub;

    /* it stays, even if it loses its last subscription meanwhile */

    channel->count++;

    for (q = ngx_queue_head(&channel->subscriptions);
         q != ngx_queue_sentinel(&channel->subscriptions);
         q = next)
    {
        next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_centrifugo_subscription_t, in_channel);

        /* one that is further has joined since */

        if (sub->positioned
            && (sub->position[0].epoch != top->epoch
                || sub->position[0].offset < top->offset))
        {
            ngx_centrifugo_subscription_insufficient(sub);
        }
    }

    if (--channel->count == 0) {
        ngx_centrifugo_engine(channel->hcf)->unsubscribe(channel);
    }
}
