/*
 * What all engines share: this worker's table of the channels that its clients
 * are subscribed to, and the way from the broadcast log to them.
 */

#include "ngx_centrifugo_broker.h"
#include "../core/ngx_centrifugo_text.h"

#if (NGX_CENTRIFUGO_TEST)
#include "../test/ngx_centrifugo_test.h"
#endif


#define BROKER_WALK  256        /* channels put back in one turn */
#define BROKER_CHECK 128        /* positions asked for in one turn */
#define BROKER_LOOK  2048       /* channels looked at for a page */
#define BROKER_STEPS 300000     /* of a pattern, for a page */


typedef struct {
    ngx_rbtree_t         by_id;
    ngx_rbtree_t         by_name;
    ngx_rbtree_node_t    sentinel;
    time_t               warned;

    /* the publication that is being delivered */
    ngx_centrifugo_channel_t      *current;     /* NULL: none */
    ngx_queue_t                    mark;        /* in its subscriptions */
    ngx_centrifugo_entry_t         entry;
    ngx_centrifugo_publication_t   pub;
    ngx_centrifugo_client_info_t   info;

    ngx_queue_t          feeds;         /* by when they were looked at */
    uint64_t             number;        /* the last that was given */

    /* reading again what the log has lost */
    ngx_centrifugo_channel_t      *catching;    /* NULL: none */
    ngx_centrifugo_buf_t           caught;
    ngx_str_t                      rest;        /* of it */

    /* putting channels back after a wipe */
    uint64_t             walk_id;
    uint64_t             walk_limit;
    ngx_msec_t           walk_again;    /* not before */
    unsigned             walk_failed:1;

    unsigned             lost:1;        /* feeds have lost entries */
    unsigned             asking:1;      /* for those of one */
    unsigned             check:1;       /* positions are due */
} broker_table_t;

/* the position of a channel is asked for */
typedef struct {
    ngx_centrifugo_hub_conf_t     *hcf;
    uint64_t                       id;
} broker_check_t;


static ngx_centrifugo_channel_t *broker_find(ngx_centrifugo_hub_conf_t *hcf,
    uint64_t id);
static ngx_uint_t broker_wanted(ngx_centrifugo_hub_t *hub, uint64_t id);
static ngx_int_t broker_next(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log);
static void broker_publication(broker_table_t *table,
    ngx_centrifugo_channel_t *ch);
static void broker_delivered(broker_table_t *table);
static void broker_release(ngx_centrifugo_channel_t *ch);
static void broker_insufficient(ngx_centrifugo_channel_t *ch,
    const ngx_centrifugo_position_t *top);
static ngx_int_t broker_catch_up(ngx_centrifugo_hub_conf_t *hcf);
static ngx_int_t broker_catch(ngx_centrifugo_channel_t *ch);
static void broker_caught(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static ngx_int_t broker_caught_all(ngx_centrifugo_feed_t *feed,
    ngx_centrifugo_engine_result_t *result, ngx_centrifugo_buf_t *b);
static ngx_int_t broker_check(ngx_centrifugo_hub_conf_t *hcf);
static void broker_check_feed(ngx_centrifugo_feed_t *feed);
static void broker_checked(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result);
static ngx_msec_t broker_meta_ttl(ngx_centrifugo_channel_t *ch);
static void broker_overrun(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log);
static ngx_int_t broker_resync(ngx_centrifugo_hub_conf_t *hcf,
    ngx_log_t *log);
static void broker_no_room(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *what, ngx_log_t *log);
static ngx_centrifugo_channel_t *broker_from(broker_table_t *table,
    uint64_t id);


static const ngx_centrifugo_restore_t  *broker_restore;


void
ngx_centrifugo_broker_restore(const ngx_centrifugo_restore_t *restore)
{
    broker_restore = restore;
}


ngx_int_t
ngx_centrifugo_broker_init(ngx_centrifugo_hub_conf_t *hcf)
{
    broker_table_t  *table;

    table = calloc(1, sizeof(broker_table_t));
    if (table == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&table->by_id, &table->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&table->by_name, &table->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&table->feeds);

    hcf->channels = table;
    hcf->engine = &ngx_centrifugo_engine_memory;
#if (NGX_CENTRIFUGO_TEST)
    hcf->engine = ngx_centrifugo_test_engine(hcf, hcf->engine);
#endif

    hcf->hub.wanted = broker_wanted;
    hcf->hub.data = hcf;

    return ngx_centrifugo_engine(hcf)->init_worker(hcf);
}


void
ngx_centrifugo_broker_exit(ngx_centrifugo_hub_conf_t *hcf)
{
    broker_table_t  *table;

    ngx_centrifugo_engine(hcf)->exit_worker(hcf);

    table = hcf->channels;
    ngx_centrifugo_buf_free(&table->caught);
    free(table);
    hcf->channels = NULL;
}


ngx_centrifugo_channel_t *
ngx_centrifugo_broker_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *name)
{
    ngx_str_t        key;
    ngx_str_node_t  *node;
    broker_table_t  *table;

    table = hcf->channels;
    key = *name;

    node = ngx_str_rbtree_lookup(&table->by_name, &key,
                                 ngx_crc32_long(key.data, key.len));

    return node ? ngx_rbtree_data(&node->node, ngx_centrifugo_channel_t,
                                  name.node)
                : NULL;
}


ngx_centrifugo_channel_t *
ngx_centrifugo_broker_channel_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *name, uint64_t id)
{
    broker_table_t            *table;
    ngx_centrifugo_channel_t  *ch;

    table = hcf->channels;
    ch = ngx_centrifugo_broker_channel(hcf, name);

    if (ch != NULL) {
        return ch;
    }

    ch = malloc(sizeof(ngx_centrifugo_channel_t) + name->len);
    if (ch == NULL) {
        return NULL;
    }

    ch->hcf = hcf;
    ch->count = 0;
    ch->feed = NULL;
    ngx_queue_init(&ch->subscriptions);

    ch->name.str.len = name->len;
    ch->name.str.data = (u_char *) (ch + 1);
    ngx_memcpy(ch->name.str.data, name->data, name->len);

    ch->name.node.key = ngx_crc32_long(name->data, name->len);
    ngx_rbtree_insert(&table->by_name, &ch->name.node);

    ch->node.key = id;
    ngx_rbtree_insert(&table->by_id, &ch->node);

    return ch;
}


void
ngx_centrifugo_broker_channel_free(ngx_centrifugo_channel_t *ch)
{
    broker_table_t  *table;

    table = ch->hcf->channels;

    ngx_rbtree_delete(&table->by_id, &ch->node);
    ngx_rbtree_delete(&table->by_name, &ch->name.node);

    free(ch);
}


static ngx_centrifugo_channel_t *
broker_find(ngx_centrifugo_hub_conf_t *hcf, uint64_t id)
{
    broker_table_t     *table;
    ngx_rbtree_node_t  *node, *sentinel;

    table = hcf->channels;
    node = table->by_id.root;
    sentinel = table->by_id.sentinel;

    while (node != sentinel) {

        if (node->key == id) {
            return ngx_rbtree_data(node, ngx_centrifugo_channel_t, node);
        }

        node = (id < node->key) ? node->left : node->right;
    }

    return NULL;
}


static ngx_uint_t
broker_wanted(ngx_centrifugo_hub_t *hub, uint64_t id)
{
    return broker_find(hub->data, id) != NULL;
}


ngx_int_t
ngx_centrifugo_broker_poll(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_deliver_pt deliver, ngx_uint_t budget, ngx_log_t *log)
{
    ngx_int_t        rc;
    broker_table_t  *table;

    table = hcf->channels;

    while (budget) {

        if (table->current == NULL) {
            budget--;

            /* what was lost comes before what is left */

            rc = table->lost ? broker_catch_up(hcf) : broker_next(hcf, log);

            if (rc == NGX_BUSY) {
                return NGX_OK;
            }

            if (rc == NGX_DONE) {
                rc = broker_resync(hcf, log);
                return (rc == NGX_OK) ? broker_check(hcf) : rc;
            }

            if (rc == NGX_ERROR) {
                return NGX_AGAIN;
            }

            if (rc == NGX_AGAIN || budget == 0) {
                continue;
            }
        }

        rc = deliver(table->current, table->entry.pos, &table->pub,
                     &table->mark, &budget);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        broker_delivered(table);
    }

    return NGX_AGAIN;
}


/*
 * The next publication for a channel of this worker becomes the current one:
 * NGX_OK.  NGX_AGAIN: that was nothing to deliver; NGX_DONE: nothing is left;
 * NGX_ERROR: no memory, the entry stays in the log.
 */

static ngx_int_t
broker_next(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_int_t                  rc;
    broker_table_t            *table;
    ngx_centrifugo_entry_t    *entry;
    ngx_centrifugo_channel_t  *ch;

    table = hcf->channels;
    entry = &table->entry;

    rc = ngx_centrifugo_hub_read(&hcf->hub, entry);

    if (rc == NGX_DECLINED) {
        broker_overrun(hcf, log);
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ch = entry->name.len ? ngx_centrifugo_broker_channel(hcf, &entry->name)
                         : broker_find(hcf, entry->channel);

    if (ch == NULL) {
        return NGX_AGAIN;
    }

    if (entry->position.offset && ch->feed
        && entry->position.offset <= ch->feed->caught
        && entry->position.epoch == ch->feed->position.epoch)
    {
        return NGX_AGAIN;
    }

    ngx_memzero(&table->pub, sizeof(ngx_centrifugo_publication_t));

    switch (entry->type) {

    case NGX_CENTRIFUGO_ENTRY_JOIN:
        table->pub.type = NGX_CENTRIFUGO_PUSH_JOIN;
        break;

    case NGX_CENTRIFUGO_ENTRY_LEAVE:
        table->pub.type = NGX_CENTRIFUGO_PUSH_LEAVE;
        break;

    default:
        table->pub.type = NGX_CENTRIFUGO_PUSH_PUBLICATION;
    }

    table->pub.data = entry->data;
    table->pub.json = (entry->flags & NGX_CENTRIFUGO_PUB_JSON) != 0;
    table->pub.delta = (entry->flags & NGX_CENTRIFUGO_PUB_DELTA) != 0;
    table->pub.offset = entry->position.offset;
    table->pub.epoch = entry->position.epoch;
    table->pub.time = entry->time;
    table->pub.tags = entry->tags;

    if (entry->info.len
        && ngx_centrifugo_broker_unpack_info(&entry->info, &table->info)
           == NGX_OK)
    {
        table->pub.info = &table->info;
    }

    if (table->pub.info == NULL
        && table->pub.type != NGX_CENTRIFUGO_PUSH_PUBLICATION)
    {
        return NGX_AGAIN;
    }

    broker_publication(table, ch);

    return NGX_OK;
}


/*
 * What is in table->pub is delivered next.  The channel stays, even if it loses
 * its last subscription meanwhile.
 */

static void
broker_publication(broker_table_t *table, ngx_centrifugo_channel_t *ch)
{
    ch->count++;
    table->current = ch;
    table->mark.next = NULL;
}


static void
broker_delivered(broker_table_t *table)
{
    ngx_centrifugo_feed_t     *feed;
    ngx_centrifugo_channel_t  *ch;

    ch = table->current;
    feed = ch->feed;
    table->current = NULL;

    if (feed && table->pub.offset) {
        feed->checked = ngx_current_msec;

        if (feed->position.epoch != table->pub.epoch) {
            feed->caught = 0;
            feed->position.epoch = table->pub.epoch;
            feed->position.offset = table->pub.offset;

        } else if (feed->position.offset < table->pub.offset) {
            feed->position.offset = table->pub.offset;
        }
    }

    broker_release(ch);
}


static void
broker_release(ngx_centrifugo_channel_t *ch)
{
    if (--ch->count == 0) {
        ngx_centrifugo_engine(ch->hcf)->unsubscribe(ch);
    }
}


/*
 * The stream has gone on in a way that this worker can't follow.
 */

static void
broker_insufficient(ngx_centrifugo_channel_t *ch,
    const ngx_centrifugo_position_t *top)
{
    ngx_centrifugo_feed_t  *feed;

    ch->count++;

    if (broker_restore && broker_restore->insufficient) {
        broker_restore->insufficient(ch, top);
    }

    feed = ch->feed;

    if (feed) {
        feed->position = *top;
        feed->caught = 0;
        feed->last.offset = 0;
        feed->checked = ngx_current_msec;
    }

    broker_release(ch);
}


static void
broker_overrun(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_uint_t                 n;
    ngx_queue_t               *q;
    broker_table_t            *table;
    ngx_rbtree_node_t         *node;
    ngx_centrifugo_feed_t     *feed;
    ngx_centrifugo_channel_t  *ch;

    table = hcf->channels;

    /* which channels lost something is not known: each may have */

    for (q = ngx_queue_head(&table->feeds);
         q != ngx_queue_sentinel(&table->feeds);
         q = ngx_queue_next(q))
    {
        feed = ngx_queue_data(q, ngx_centrifugo_feed_t, link);

        if (feed->positioned) {
            feed->lost = 1;
            table->lost = 1;
        }
    }

    n = 0;

    if (table->by_id.root != table->by_id.sentinel) {
        for (node = ngx_rbtree_min(table->by_id.root, table->by_id.sentinel);
             node;
             node = ngx_rbtree_next(&table->by_id, node))
        {
            ch = ngx_rbtree_data(node, ngx_centrifugo_channel_t, node);

            if (ch->feed == NULL || !ch->feed->lost) {
                n++;
            }
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
 * since then, one after the other, before the log is read on.  NGX_OK: a
 * publication is to be delivered; NGX_AGAIN: call again; NGX_BUSY: the engine
 * has not answered yet.
 */

static ngx_int_t
broker_catch_up(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_queue_t            *q;
    broker_table_t         *table;
    ngx_centrifugo_feed_t  *feed;

    table = hcf->channels;

    if (table->asking) {
        return NGX_BUSY;
    }

    if (table->catching) {
        return broker_catch(table->catching);
    }

    for (q = ngx_queue_head(&table->feeds);
         q != ngx_queue_sentinel(&table->feeds);
         q = ngx_queue_next(q))
    {
        feed = ngx_queue_data(q, ngx_centrifugo_feed_t, link);

        if (feed->lost) {
            feed->channel->count++;
            table->catching = feed->channel;

            return broker_catch(feed->channel);
        }
    }

    table->lost = 0;

    return NGX_AGAIN;
}


static ngx_int_t
broker_catch(ngx_centrifugo_channel_t *ch)
{
    broker_table_t                  *table;
    ngx_centrifugo_feed_t           *feed;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_history_wish_t    wish;

    table = ch->hcf->channels;
    feed = ch->feed;

    if (feed && feed->lost) {

        /* not asked yet; whoever has overrun it meanwhile asks anew */

        feed->lost = 0;
        feed->caught = 0;
        table->asking = 1;
        table->rest.len = 0;
        ngx_centrifugo_buf_reset(&table->caught);

        ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
        wish.channel = ch->name.str;
        wish.since = feed->position;
        wish.bounded = 1;
        wish.limit = NGX_CENTRIFUGO_ALL;
        wish.max = ch->hcf->queue_max_size;
        wish.meta_ttl = broker_meta_ttl(ch);

        done.handler = broker_caught;
        done.handle = (uint64_t) (uintptr_t) ch->hcf;

        ngx_centrifugo_engine(ch->hcf)->history(ch->hcf, &wish, &done);

        return NGX_AGAIN;
    }

    if (feed
        && ngx_centrifugo_broker_publication_next(&table->rest, &table->pub,
                                                  &table->info)
           == NGX_OK)
    {
        /* nobody began behind it: who did has its offset */

        table->entry.pos = UINT64_MAX;
        table->pub.epoch = feed->position.epoch;

        feed->caught = table->pub.offset;

        broker_publication(table, ch);

        return NGX_OK;
    }

    table->catching = NULL;
    broker_release(ch);

    return NGX_AGAIN;
}


static void
broker_caught(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    broker_table_t             *table;
    ngx_centrifugo_feed_t      *feed;
    ngx_centrifugo_position_t   top;
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = (ngx_centrifugo_hub_conf_t *) (uintptr_t) handle;
    table = hcf->channels;
    table->asking = 0;

    feed = table->catching->feed;

    if (feed == NULL) {
        return;
    }

    if (rc == NGX_CENTRIFUGO_ENGINE_OK
        && broker_caught_all(feed, result, &table->caught) == NGX_OK)
    {
        table->rest.data = table->caught.start;
        table->rest.len = ngx_centrifugo_buf_len(&table->caught);
        return;
    }

    /* without a position nobody is at the top */

    ngx_memzero(&top, sizeof(ngx_centrifugo_position_t));

    broker_insufficient(table->catching, result ? &result->position : &top);
}


/*
 * Whether what was read goes from the feed's position up to the top; then it is
 * kept.
 */

static ngx_int_t
broker_caught_all(ngx_centrifugo_feed_t *feed,
    ngx_centrifugo_engine_result_t *result, ngx_centrifugo_buf_t *b)
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

    if (!ngx_centrifugo_broker_recovered(&feed->position, &result->position,
                                         result->npublications, first, last))
    {
        return NGX_DECLINED;
    }

    ngx_centrifugo_buf_append(b, result->publications.data,
                              result->publications.len);

    return b->failed ? NGX_ERROR : NGX_OK;
}


void
ngx_centrifugo_broker_tick(ngx_centrifugo_hub_conf_t *hcf)
{
    broker_table_t  *table;

    table = hcf->channels;
    table->check = 1;
}


/*
 * Positions that nothing has confirmed for a while are compared with the
 * stream's, when this worker has read all of the log.  NGX_AGAIN: call again.
 */

static ngx_int_t
broker_check(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t              n;
    ngx_msec_t              delay;
    broker_table_t         *table;
    ngx_centrifugo_feed_t  *feed;

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

        if (n == BROKER_CHECK) {
            return NGX_AGAIN;
        }

        feed->looked = ngx_current_msec;

        ngx_queue_remove(&feed->link);
        ngx_queue_insert_tail(&table->feeds, &feed->link);

        if (feed->positioned
            && (ngx_msec_t) (ngx_current_msec - feed->checked) >= delay)
        {
            broker_check_feed(feed);
        }
    }

    table->check = 0;

    return NGX_OK;
}


static void
broker_check_feed(ngx_centrifugo_feed_t *feed)
{
    broker_check_t                  *check;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_completion_t      done;
    ngx_centrifugo_history_wish_t    wish;

    ch = feed->channel;

    check = malloc(sizeof(broker_check_t));
    if (check == NULL) {
        return;
    }

    check->hcf = ch->hcf;
    check->id = ch->node.key;

    ngx_memzero(&wish, sizeof(ngx_centrifugo_history_wish_t));
    wish.channel = ch->name.str;
    wish.meta_ttl = broker_meta_ttl(ch);

    done.handler = broker_checked;
    done.handle = (uint64_t) (uintptr_t) check;

    ngx_centrifugo_engine(ch->hcf)->history(ch->hcf, &wish, &done);
}


static void
broker_checked(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    broker_check_t             *check;
    broker_table_t             *table;
    ngx_centrifugo_feed_t      *feed;
    ngx_centrifugo_channel_t   *ch;
    ngx_centrifugo_hub_conf_t  *hcf;

    check = (broker_check_t *) (uintptr_t) handle;
    hcf = check->hcf;
    table = hcf->channels;
    ch = broker_find(hcf, check->id);
    free(check);

    if (ch == NULL || ch->feed == NULL || rc != NGX_CENTRIFUGO_ENGINE_OK) {
        return;
    }

    feed = ch->feed;

    if (feed->position.epoch == result->position.epoch
        && feed->position.offset >= result->position.offset)
    {
        feed->checked = ngx_current_msec;
        return;
    }

    /*
     * What this worker lacks may be on its way, or has come to a part of the
     * subscribers by now: the next look tells.
     */

    if (!feed->lost && !ngx_centrifugo_hub_unread(&hcf->hub)
        && table->current != ch && table->catching != ch)
    {
        broker_insufficient(ch, &result->position);
    }
}


static ngx_msec_t
broker_meta_ttl(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_channel_options_t  *options;

    options = ngx_centrifugo_conf_channel(ch->hcf, &ch->name.str);

    return options ? options->history_meta_ttl : 0;
}


ngx_queue_t *
ngx_centrifugo_broker_feeds(ngx_centrifugo_hub_conf_t *hcf)
{
    broker_table_t  *table;

    table = hcf->channels;

    return &table->feeds;
}


uint64_t
ngx_centrifugo_broker_number(ngx_centrifugo_hub_conf_t *hcf)
{
    broker_table_t  *table;

    table = hcf->channels;

    return ++table->number;
}


/*
 * After a shard was wiped: enters this worker's channels again, in steps.  The
 * log is read up to where it stood when the wipe was seen, so no entry with an
 * old id is left when ids change.
 */

static ngx_int_t
broker_resync(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    broker_table_t            *table;
    ngx_centrifugo_hub_t      *hub;
    ngx_centrifugo_join_t      join;
    ngx_centrifugo_channel_t  *ch;

    hub = &hcf->hub;
    table = hcf->channels;

    if (hub->resync == 0 || hub->slot == NGX_CENTRIFUGO_NO_SLOT) {
        return NGX_OK;
    }

    if (hub->walk == 0) {

        if (table->walk_failed
            && (ngx_msec_int_t) (table->walk_again - ngx_current_msec) > 0)
        {
            return NGX_OK;
        }

        table->walk_failed = 0;
        table->walk_id = 0;
        table->walk_limit = ngx_centrifugo_hub_resync_begin(hub);

        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "centrifugo: a damaged part of the zone of hub \"%V\" "
                      "was emptied, this worker puts its channels back",
                      &hcf->name);

        return NGX_AGAIN;
    }

    if (!ngx_centrifugo_hub_resync_ready(hub)) {
        return NGX_AGAIN;
    }

    for (n = 0; n < BROKER_WALK; n++) {

        ch = broker_from(table, table->walk_id);

        /* an id beyond the limit was given in this walk */

        if (ch == NULL || ch->node.key >= table->walk_limit) {

            rc = broker_restore ? broker_restore->rest(hcf) : NGX_OK;

            if (rc == NGX_AGAIN) {
                return NGX_AGAIN;
            }

            if (rc == NGX_ERROR) {
                broker_no_room(hcf, &hcf->name, log);
                return NGX_OK;
            }

            if (ngx_centrifugo_hub_resync_end(hub) != NGX_OK) {

                /* wiped again meanwhile, or a lock that is none any more */

                table->walk_failed = 1;
                table->walk_again = ngx_current_msec + 100;
            }

            return NGX_OK;
        }

        table->walk_id = ch->node.key + 1;

        ngx_memzero(&join, sizeof(ngx_centrifugo_join_t));

        if (ch->feed && ch->feed->positioned) {
            join.meta_ttl = broker_meta_ttl(ch);
        }

        rc = ngx_centrifugo_hub_resync_rejoin(hub, &ch->name.str, &join);

        if (rc == NGX_ERROR) {

            /*
             * No room: publications go on coming by name, since this worker
             * has not ended its walk.
             */

            broker_no_room(hcf, &ch->name.str, log);

            return NGX_OK;
        }

        if (rc == NGX_OK && join.channel != ch->node.key) {
            ngx_rbtree_delete(&table->by_id, &ch->node);
            ch->node.key = join.channel;
            ngx_rbtree_insert(&table->by_id, &ch->node);
        }

        if (rc == NGX_OK && broker_restore) {
            broker_restore->channel(ch);
        }

        if (rc == NGX_OK && join.meta_ttl) {
            broker_insufficient(ch, &join.position);
        }
    }

    return NGX_AGAIN;
}


static void
broker_no_room(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *what,
    ngx_log_t *log)
{
    broker_table_t  *table;

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "centrifugo: no room in the zone of hub \"%V\" to put "
                  "\"%V\" back, trying again", &hcf->name,
                  ngx_centrifugo_log_str(what));

    table = hcf->channels;

    hcf->hub.walk = 0;
    table->walk_failed = 1;
    table->walk_again = ngx_current_msec + 1000;
}


/* The channel with the smallest id that is not below `id`. */

static ngx_centrifugo_channel_t *
broker_from(broker_table_t *table, uint64_t id)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = table->by_id.root;

    while (node != table->by_id.sentinel) {

        if (node->key >= id) {
            found = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return found ? ngx_rbtree_data(found, ngx_centrifugo_channel_t, node)
                 : NULL;
}


ngx_int_t
ngx_centrifugo_broker_channels_page(ngx_centrifugo_hub_conf_t *hcf,
    uint64_t *cursor, const ngx_centrifugo_glob_t *glob,
    ngx_centrifugo_buf_t *b, size_t max)
{
    size_t                           size;
    ngx_uint_t                       n, steps, count;
    broker_table_t                  *table;
    ngx_rbtree_node_t               *node;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_channel_entry_t   entry;

    table = hcf->channels;
    size = 0;
    steps = 0;

    ch = broker_from(table, *cursor);

    for (n = 0; ch; n++) {

        if (n == BROKER_LOOK || steps > BROKER_STEPS) {
            return NGX_AGAIN;
        }

        /* what is being delivered holds its channel, too */

        count = ch->count - (ch == table->current);

        if (count && (glob == NULL
                      || ngx_centrifugo_glob_match(glob, &ch->name.str,
                                                   &steps)))
        {
            size += sizeof(ngx_centrifugo_channel_entry_t) + ch->name.str.len;

            if (size > max) {
                return NGX_AGAIN;
            }

            entry.id = ch->node.key;
            entry.count = (uint32_t) count;
            entry.len = (uint32_t) ch->name.str.len;

            ngx_centrifugo_buf_append(b, &entry, sizeof(entry));
            ngx_centrifugo_buf_append(b, ch->name.str.data, ch->name.str.len);
        }

        *cursor = ch->node.key + 1;

        node = ngx_rbtree_next(&table->by_id, &ch->node);
        ch = node ? ngx_rbtree_data(node, ngx_centrifugo_channel_t, node)
                  : NULL;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_centrifugo_broker_wake(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t       own;
    broker_table_t  *table;

    table = hcf->channels;
    own = ngx_centrifugo_hub_wake(&hcf->hub);

    /*
     * A wipe that this worker just saw: its next turn puts back its own.  One
     * that found no room waits for the tick.
     */

    return own || (hcf->hub.resync && !table->walk_failed);
}


uint64_t
ngx_centrifugo_broker_time(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}
