/*
 * What this worker keeps of a channel whose stream its subscribers follow.
 */

#include "ngx_centrifugo_broker.h"


ngx_centrifugo_feed_t *
ngx_centrifugo_feed_take(ngx_centrifugo_channel_t *ch,
    const ngx_centrifugo_position_t *position)
{
    ngx_centrifugo_feed_t  *feed;

    feed = ch->feed;

    if (feed == NULL) {
        feed = calloc(1, sizeof(ngx_centrifugo_feed_t));
        if (feed == NULL) {
            return NULL;
        }

        feed->channel = ch;
        feed->position = *position;
        feed->checked = ngx_current_msec;
        feed->looked = ngx_current_msec;

        ngx_queue_insert_tail(ngx_centrifugo_broker_feeds(ch->hcf),
                              &feed->link);
        ch->feed = feed;
    }

    feed->users++;

    return feed;
}


void
ngx_centrifugo_feed_give(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_feed_t  *feed;

    feed = ch->feed;

    if (--feed->users) {
        return;
    }

    ch->feed = NULL;

    ngx_queue_remove(&feed->link);
    ngx_centrifugo_buf_free(&feed->payload);
    free(feed);
}


uint64_t
ngx_centrifugo_feed_id(ngx_centrifugo_channel_t *ch)
{
    if (ch->feed->id == 0) {
        ch->feed->id = ngx_centrifugo_broker_number(ch->hcf);
    }

    return ch->feed->id;
}
