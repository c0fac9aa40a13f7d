/*
 * What this worker keeps of a channel whose stream its subscribers follow, and
 * how it finds out that something of it has not come.
 */

#include "ngx_centrifugo_table.h"


#define FEED_CHECK  128         /* positions looked at in one turn */
#define FEED_ASK    64          /* of a budget, for one history */


/* the position of a channel was asked for, when its feed was at `position` */
typedef struct {
    ngx_centrifugo_hub_conf_t     *hcf;
    uint64_t                       id;
    ngx_centrifugo_position_t      position;
} feed_check_t;


static void feed_free(ngx_centrifugo_feed_t *feed);
static void feed_ask(ngx_centrifugo_feed_t *feed);
static void feed_caught(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static ngx_int_t feed_caught_all(ngx_centrifugo_table_t *table,
    ngx_centrifugo_engine_result_t *result);
static void feed_check(ngx_centrifugo_feed_t *feed);
static void feed_checked(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static ngx_uint_t feed_at(ngx_centrifugo_feed_t *feed,
    const ngx_centrifugo_position_t *position);


ngx_centrifugo_feed_t *
ngx_centrifugo_feed_take(ngx_centrifugo_channel_t *ch,
    const ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_feed_t   *feed;
    ngx_centrifugo_table_t  *table;

    feed = ch->feed;

    if (feed == NULL) {
        feed = calloc(1, sizeof(ngx_centrifugo_feed_t));
        if (feed == NULL) {
            return NULL;
        }

        feed->channel = ch;
        feed->checked = ngx_current_msec;
        feed->looked = ngx_current_msec;

        table = ch->hcf->channels;
        ngx_queue_insert_tail(&table->feeds, &feed->link);
        ch->feed = feed;
    }

    if (feed->positioned == 0 && result->position.epoch) {

        /* others that have it follow no stream */

        feed->position = result->position;
        feed->pos = result->pos;
    }

    feed->users++;

    return feed;
}


void
ngx_centrifugo_feed_give(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_feed_t  *feed;

    feed = ch->feed;

    if (--feed->users == 0) {
        feed_free(feed);
    }
}


void
ngx_centrifugo_feed_drop(ngx_centrifugo_channel_t *ch)
{
    if (ch->feed) {
        feed_free(ch->feed);
    }
}


static void
feed_free(ngx_centrifugo_feed_t *feed)
{
    feed->channel->feed = NULL;

    if (feed->lost.next) {
        ngx_queue_remove(&feed->lost);
    }

    ngx_queue_remove(&feed->link);
    ngx_centrifugo_buf_free(&feed->payload);
    free(feed);
}


uint64_t
ngx_centrifugo_feed_id(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_table_t  *table;

    if (ch->feed->id == 0) {
        table = ch->hcf->channels;
        ch->feed->id = ++table->number;
    }

    return ch->feed->id;
}


void
ngx_centrifugo_feed_delivered(ngx_centrifugo_feed_t *feed, uint64_t pos,
    const ngx_centrifugo_publication_t *pub)
{
    if (pos < feed->pos && !pub->caught) {

        /* perhaps of a stream that was there before */

        return;
    }

    feed->checked = ngx_current_msec;

    if (feed->position.epoch != pub->epoch) {
        feed->position.epoch = pub->epoch;
        feed->position.offset = pub->offset;

    } else if (feed->position.offset < pub->offset) {
        feed->position.offset = pub->offset;
    }
}


void
ngx_centrifugo_feed_insufficient(ngx_centrifugo_channel_t *ch,
    const ngx_centrifugo_position_t *top)
{
    ngx_centrifugo_feed_t  *feed;

    ch->count++;

    if (ngx_centrifugo_restore) {
        ngx_centrifugo_restore->insufficient(ch, top);
    }

    feed = ch->feed;

    if (feed) {
        feed->position = *top;
        feed->last.offset = 0;
        feed->checked = ngx_current_msec;
    }

    ngx_centrifugo_table_release(ch);
}


void
ngx_centrifugo_feed_overrun(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_centrifugo_feed_t   *feed;
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;
    n = table->n;

    ngx_centrifugo_feed_even(hcf);

    /* which channels lost something is not known: each may have */

    for (q = ngx_queue_head(&table->feeds);
         q != ngx_queue_sentinel(&table->feeds);
         q = ngx_queue_next(q))
    {
        feed = ngx_queue_data(q, ngx_centrifugo_feed_t, link);

        if (feed->positioned) {
            ngx_queue_insert_tail(&table->lost, &feed->lost);
            n--;
        }
    }

    ngx_centrifugo_hub_add(&hcf->hub, NGX_CENTRIFUGO_COUNT_LOG_LOST, n);

    if (table->warned != ngx_time()) {
        table->warned = ngx_time();

        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "centrifugo: this worker fell behind the log of hub "
                      "\"%V\", publications to up to %ui channels may be lost; "
                      "a larger \"log=\" in \"zone\" gives it more time",
                      &hcf->name, n);
    }
}


/*
 * Channels that followed a stream when the log was overrun read its history
 * since then, one after the other, before the log is read on.
 */

ngx_int_t
ngx_centrifugo_feed_catch_up(ngx_centrifugo_hub_conf_t *hcf,
    ngx_uint_t *budget)
{
    ngx_queue_t               *q;
    ngx_centrifugo_feed_t     *feed;
    ngx_centrifugo_table_t    *table;
    ngx_centrifugo_channel_t  *ch;

    table = hcf->channels;
    ch = table->catching;

    if (table->asking) {
        return NGX_BUSY;
    }

    if (ch == NULL) {
        q = ngx_queue_head(&table->lost);
        ngx_queue_remove(q);

        feed = ngx_queue_data(q, ngx_centrifugo_feed_t, lost);
        feed->lost.next = NULL;

        *budget -= ngx_min(*budget, FEED_ASK);
        feed_ask(feed);

        return NGX_AGAIN;
    }

    feed = ch->feed;

    if (feed
        && ngx_centrifugo_broker_publication_next(&table->rest, &table->pub,
                                                  &table->info)
           == NGX_OK)
    {
        table->pub.epoch = table->since.epoch;

        /* table->entry still says from where on something was lost */

        table->pub.caught = 1;

        feed->caught.offset = table->pub.offset;
        feed->caught.epoch = table->pub.epoch;

        if (feed->lost.next == NULL) {
            feed->users++;
            ngx_queue_insert_tail(&table->ahead, &feed->lost);
        }

        return NGX_OK;
    }

    table->catching = NULL;

    if (ngx_queue_empty(&table->lost)) {
        ngx_centrifugo_buf_free(&table->caught);
    }

    ngx_centrifugo_table_release(ch);

    return NGX_AGAIN;
}


void
ngx_centrifugo_feed_even(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_queue_t             *q;
    ngx_centrifugo_feed_t   *feed;
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;

    while (!ngx_queue_empty(&table->ahead)) {
        q = ngx_queue_head(&table->ahead);
        ngx_queue_remove(q);

        feed = ngx_queue_data(q, ngx_centrifugo_feed_t, lost);
        feed->lost.next = NULL;

        ngx_centrifugo_feed_give(feed->channel);
    }
}


static void
feed_ask(ngx_centrifugo_feed_t *feed)
{
    ngx_centrifugo_table_t          *table;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_history_wish_t    wish;

    ch = feed->channel;
    table = ch->hcf->channels;

    /* it stays, even if it loses its last subscription meanwhile */

    ch->count++;

    table->catching = ch;
    table->since = feed->position;
    table->asking = 1;
    table->rest.len = 0;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
    wish.channel = ch->name.str;
    wish.since = feed->position;
    wish.bounded = 1;
    wish.limit = NGX_CENTRIFUGO_ALL;
    wish.max = ch->hcf->queue_max_size;
    wish.meta_ttl = ngx_centrifugo_table_meta_ttl(ch);

    done.handler = feed_caught;
    done.handle = (uint64_t) (uintptr_t) ch->hcf;

    ngx_centrifugo_engine(ch->hcf)->history(ch->hcf, &wish, &done);
}


static void
feed_caught(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    ngx_centrifugo_table_t     *table;
    ngx_centrifugo_channel_t   *ch;
    ngx_centrifugo_position_t   top;
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = (ngx_centrifugo_hub_conf_t *) (uintptr_t) handle;
    table = hcf->channels;
    table->asking = 0;
    ch = table->catching;

    /*
     * The worker ends, or who had lost something has left, and others have come
     * after that.
     */

    if (ch == NULL || ch->feed == NULL || !feed_at(ch->feed, &table->since)) {
        return;
    }

    if (rc == NGX_CENTRIFUGO_ENGINE_OK
        && feed_caught_all(table, result) == NGX_OK)
    {
        ch->feed->checked = ngx_current_msec;
        return;
    }

    /* without a position nobody is at the top */

    ngx_memzero(&top, sizeof(ngx_centrifugo_position_t));

    ngx_centrifugo_feed_insufficient(ch, result ? &result->position : &top);
}


/*
 * Whether what was read goes from the feed's position up to the top; then it is
 * kept.
 */

static ngx_int_t
feed_caught_all(ngx_centrifugo_table_t *table,
    ngx_centrifugo_engine_result_t *result)
{
    uint64_t                       first, last;
    ngx_str_t                      list;
    ngx_centrifugo_client_info_t   info;
    ngx_centrifugo_publication_t   pub;

    list = result->publications;
    first = 0;
    last = 0;

    while (ngx_centrifugo_broker_publication_next(&list, &pub, &info)
           == NGX_OK)
    {
        first = first ? first : pub.offset;
        last = pub.offset;
    }

    if (!ngx_centrifugo_broker_recovered(&table->since, &result->position,
                                         result->npublications, first, last))
    {
        return NGX_DECLINED;
    }

    ngx_centrifugo_buf_reset(&table->caught);
    ngx_centrifugo_buf_append(&table->caught, result->publications.data,
                              result->publications.len);

    if (table->caught.failed) {
        return NGX_ERROR;
    }

    table->rest.data = table->caught.start;
    table->rest.len = ngx_centrifugo_buf_len(&table->caught);

    return NGX_OK;
}


void
ngx_centrifugo_broker_tick(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;
    table->check = 1;
}


/*
 * Positions that nothing has confirmed for a while are compared with the
 * stream's.
 */

ngx_int_t
ngx_centrifugo_feed_check(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t               n;
    ngx_msec_t               delay;
    ngx_centrifugo_feed_t   *feed;
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;

    if (!table->check) {
        return NGX_OK;
    }

    delay = hcf->channel_position_check_delay;

    for (n = 0; !ngx_queue_empty(&table->feeds); n++) {

        feed = ngx_queue_data(ngx_queue_head(&table->feeds),
                              ngx_centrifugo_feed_t, link);

        /* it is looked at twice within the delay, so that is kept nearly */

        if ((ngx_msec_t) (ngx_current_msec - feed->looked) < delay / 2) {
            break;
        }

        if (n == FEED_CHECK) {
            return NGX_AGAIN;
        }

        feed->looked = ngx_current_msec;

        ngx_queue_remove(&feed->link);
        ngx_queue_insert_tail(&table->feeds, &feed->link);

        if (feed->positioned
            && (ngx_msec_t) (ngx_current_msec - feed->checked) >= delay)
        {
            feed_check(feed);
        }
    }

    table->check = 0;

    return NGX_OK;
}


static void
feed_check(ngx_centrifugo_feed_t *feed)
{
    feed_check_t                    *check;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_history_wish_t    wish;

    ch = feed->channel;

    check = malloc(sizeof(feed_check_t));
    if (check == NULL) {
        return;
    }

    check->hcf = ch->hcf;
    check->id = ch->node.key;
    check->position = feed->position;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
    wish.channel = ch->name.str;
    wish.meta_ttl = ngx_centrifugo_table_meta_ttl(ch);

    done.handler = feed_checked;
    done.handle = (uint64_t) (uintptr_t) check;

    ngx_centrifugo_engine(ch->hcf)->history(ch->hcf, &wish, &done);
}


static void
feed_checked(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    feed_check_t                check;
    ngx_centrifugo_table_t     *table;
    ngx_centrifugo_channel_t   *ch;
    ngx_centrifugo_hub_conf_t  *hcf;

    check = *(feed_check_t *) (uintptr_t) handle;
    free((feed_check_t *) (uintptr_t) handle);

    hcf = check.hcf;
    table = hcf->channels;
    ch = ngx_centrifugo_table_find(table, check.id);

    if (ch == NULL || ch->feed == NULL || rc != NGX_CENTRIFUGO_ENGINE_OK) {
        return;
    }

    /* an entry that has come meanwhile tells more than a late answer */

    if (!feed_at(ch->feed, &check.position)) {
        return;
    }

    if (feed_at(ch->feed, &result->position)) {
        ch->feed->checked = ngx_current_msec;
        return;
    }

    /*
     * What this worker lacks may be on its way, or has come to a part of the
     * subscribers by now: the next look tells.
     */

    if (!ngx_centrifugo_table_lost(table) && table->current != ch
        && !ngx_centrifugo_hub_unread(&hcf->hub))
    {
        ngx_centrifugo_feed_insufficient(ch, &result->position);
    }
}


static ngx_uint_t
feed_at(ngx_centrifugo_feed_t *feed, const ngx_centrifugo_position_t *position)
{
    return feed->position.offset == position->offset
           && feed->position.epoch == position->epoch;
}
