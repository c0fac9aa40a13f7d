/*
 * What all engines share: this worker's table of the channels that its clients
 * are subscribed to, and the way from the broadcast log to them.
 */

#include "ngx_centrifugo_table.h"

#if (NGX_CENTRIFUGO_TEST)
#include "../test/ngx_centrifugo_test.h"
#endif


#define BROKER_LOOK  2048       /* channels looked at for a page */
#define BROKER_STEPS 300000     /* of a pattern, for a page */


static ngx_uint_t broker_wanted(ngx_centrifugo_hub_t *hub, uint64_t id);
static ngx_int_t broker_next(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log);
static void broker_publication(ngx_centrifugo_table_t *table,
    ngx_centrifugo_channel_t *ch);
static void broker_delivered(ngx_centrifugo_table_t *table);


const ngx_centrifugo_restore_t  *ngx_centrifugo_restore;


void
ngx_centrifugo_broker_restore(const ngx_centrifugo_restore_t *restore)
{
    ngx_centrifugo_restore = restore;
}


ngx_int_t
ngx_centrifugo_broker_init(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_centrifugo_table_t  *table;

    table = calloc(1, sizeof(ngx_centrifugo_table_t));
    if (table == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&table->by_id, &table->sentinel, ngx_rbtree_insert_value);
    ngx_rbtree_init(&table->by_name, &table->sentinel,
                    ngx_str_rbtree_insert_value);

    ngx_queue_init(&table->feeds);
    ngx_queue_init(&table->lost);
    ngx_queue_init(&table->ahead);

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
    ngx_centrifugo_table_t    *table;
    ngx_centrifugo_channel_t  *current, *catching;

    table = hcf->channels;
    current = table->current;
    catching = table->catching;

    table->current = NULL;
    table->catching = NULL;

    if (current) {
        ngx_centrifugo_table_release(current);
    }

    if (catching) {
        ngx_centrifugo_table_release(catching);
    }

    ngx_centrifugo_engine(hcf)->exit_worker(hcf);

    ngx_centrifugo_buf_free(&table->caught);
    free(table);
    hcf->channels = NULL;
}


ngx_centrifugo_channel_t *
ngx_centrifugo_broker_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *name)
{
    ngx_str_t                key;
    ngx_str_node_t          *node;
    ngx_centrifugo_table_t  *table;

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
    ngx_centrifugo_table_t    *table;
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

    table->n++;

    return ch;
}


void
ngx_centrifugo_broker_channel_free(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_table_t  *table;

    table = ch->hcf->channels;

    ngx_centrifugo_feed_drop(ch);

    ngx_rbtree_delete(&table->by_id, &ch->node);
    ngx_rbtree_delete(&table->by_name, &ch->name.node);

    table->n--;

    free(ch);
}


ngx_centrifugo_channel_t *
ngx_centrifugo_table_find(ngx_centrifugo_table_t *table, uint64_t id)
{
    ngx_rbtree_node_t  *node;

    node = table->by_id.root;

    while (node != table->by_id.sentinel) {

        if (node->key == id) {
            return ngx_rbtree_data(node, ngx_centrifugo_channel_t, node);
        }

        node = (id < node->key) ? node->left : node->right;
    }

    return NULL;
}


ngx_centrifugo_channel_t *
ngx_centrifugo_table_from(ngx_centrifugo_table_t *table, uint64_t id)
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


void
ngx_centrifugo_table_release(ngx_centrifugo_channel_t *ch)
{
    if (--ch->count == 0) {
        ngx_centrifugo_engine(ch->hcf)->unsubscribe(ch);
    }
}


ngx_msec_t
ngx_centrifugo_table_meta_ttl(ngx_centrifugo_channel_t *ch)
{
    ngx_centrifugo_channel_options_t  *options;

    options = ngx_centrifugo_conf_channel(ch->hcf, &ch->name.str);

    return options ? options->history_meta_ttl : 0;
}


static ngx_uint_t
broker_wanted(ngx_centrifugo_hub_t *hub, uint64_t id)
{
    ngx_centrifugo_hub_conf_t  *hcf;

    hcf = hub->data;

    return ngx_centrifugo_table_find(hcf->channels, id) != NULL;
}


ngx_int_t
ngx_centrifugo_broker_poll(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_deliver_pt deliver, ngx_uint_t budget, ngx_log_t *log)
{
    ngx_int_t                rc;
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;

    while (budget) {

        if (table->current == NULL) {
            budget--;

            if (ngx_centrifugo_table_lost(table)) {
                rc = ngx_centrifugo_feed_catch_up(hcf, &budget);

                if (rc == NGX_OK) {
                    broker_publication(table, table->catching);
                }

            } else {
                rc = broker_next(hcf, log);
            }

            if (rc == NGX_BUSY) {
                return NGX_OK;
            }

            if (rc == NGX_DONE) {
                ngx_centrifugo_feed_even(hcf);

                rc = ngx_centrifugo_rejoin(hcf, log);
                return (rc == NGX_OK) ? ngx_centrifugo_feed_check(hcf) : rc;
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
    ngx_centrifugo_table_t    *table;
    ngx_centrifugo_entry_t    *entry;
    ngx_centrifugo_channel_t  *ch;

    table = hcf->channels;
    entry = &table->entry;

    rc = ngx_centrifugo_hub_read(&hcf->hub, entry);

    if (rc == NGX_DECLINED) {
        ngx_centrifugo_feed_overrun(hcf, log);
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ch = entry->name.len ? ngx_centrifugo_broker_channel(hcf, &entry->name)
                         : ngx_centrifugo_table_find(table, entry->channel);

    if (ch == NULL) {
        return NGX_AGAIN;
    }

    if (entry->position.offset && ch->feed
        && entry->position.offset <= ch->feed->caught.offset
        && entry->position.epoch == ch->feed->caught.epoch)
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
broker_publication(ngx_centrifugo_table_t *table, ngx_centrifugo_channel_t *ch)
{
    ch->count++;
    table->current = ch;
    table->mark.next = NULL;
}


static void
broker_delivered(ngx_centrifugo_table_t *table)
{
    ngx_centrifugo_channel_t  *ch;

    ch = table->current;
    table->current = NULL;

    if (ch->feed && table->pub.offset) {
        ngx_centrifugo_feed_delivered(ch->feed, table->entry.pos, &table->pub);
    }

    ngx_centrifugo_table_release(ch);
}


ngx_int_t
ngx_centrifugo_broker_channels_page(ngx_centrifugo_hub_conf_t *hcf,
    uint64_t *cursor, const ngx_centrifugo_glob_t *glob,
    ngx_centrifugo_buf_t *b, size_t max)
{
    size_t                           size;
    ngx_uint_t                       n, steps, count;
    ngx_centrifugo_table_t          *table;
    ngx_rbtree_node_t               *node;
    ngx_centrifugo_channel_t        *ch;
    ngx_centrifugo_channel_entry_t   entry;

    table = hcf->channels;
    size = 0;
    steps = 0;

    ch = ngx_centrifugo_table_from(table, *cursor);

    for (n = 0; ch; n++) {

        if (n == BROKER_LOOK || steps > BROKER_STEPS) {
            return NGX_AGAIN;
        }

        /* what is being delivered or read again holds its channel, too */

        count = ch->count - (ch == table->current) - (ch == table->catching);

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
    ngx_uint_t               own;
    ngx_centrifugo_table_t  *table;

    table = hcf->channels;
    own = ngx_centrifugo_hub_wake(&hcf->hub);

    /*
     * A wipe that this worker just saw: its next turn puts back its own.  One
     * that found no room waits for the tick.  An answer that came late lets it
     * go on with what was lost.
     */

    if (table == NULL) {
        return own;
    }

    return own || (hcf->hub.resync && !table->walk_failed)
           || (ngx_centrifugo_table_lost(table) && !table->asking);
}


uint64_t
ngx_centrifugo_broker_time(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}
