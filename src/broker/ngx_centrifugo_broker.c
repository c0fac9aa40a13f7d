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

    /* putting channels back after a wipe */
    uint64_t             walk_id;
    uint64_t             walk_limit;
    ngx_msec_t           walk_again;    /* not before */
    unsigned             walk_failed:1;
} broker_table_t;


static ngx_centrifugo_channel_t *broker_find(ngx_centrifugo_hub_conf_t *hcf,
    uint64_t id);
static ngx_uint_t broker_wanted(ngx_centrifugo_hub_t *hub, uint64_t id);
static ngx_int_t broker_next(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log);
static void broker_delivered(broker_table_t *table);
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
    ngx_centrifugo_engine(hcf)->exit_worker(hcf);

    free(hcf->channels);
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

            rc = broker_next(hcf, log);

            if (rc == NGX_DONE) {
                return broker_resync(hcf, log);
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

    /* the channel stays, even if it loses its last subscription meanwhile */

    ch->count++;
    table->current = ch;
    table->mark.next = NULL;

    return NGX_OK;
}


static void
broker_delivered(broker_table_t *table)
{
    ngx_centrifugo_channel_t  *ch;

    ch = table->current;
    table->current = NULL;

    if (--ch->count == 0) {
        ngx_centrifugo_engine(ch->hcf)->unsubscribe(ch);
    }
}


static void
broker_overrun(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_uint_t          n;
    broker_table_t     *table;
    ngx_rbtree_node_t  *node;

    table = hcf->channels;

    /* which channels lost something is not known: each may have */

    n = 0;

    if (table->by_id.root != table->by_id.sentinel) {
        for (node = ngx_rbtree_min(table->by_id.root, table->by_id.sentinel);
             node;
             node = ngx_rbtree_next(&table->by_id, node))
        {
            n++;
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
 * After a shard was wiped: enters this worker's channels again, in steps.  The
 * log is read up to where it stood when the wipe was seen, so no entry with an
 * old id is left when ids change.
 */

static ngx_int_t
broker_resync(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    uint64_t                   id;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    broker_table_t            *table;
    ngx_centrifugo_hub_t      *hub;
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

        rc = ngx_centrifugo_hub_resync_rejoin(hub, &ch->name.str, &id);

        if (rc == NGX_ERROR) {

            /*
             * No room: publications go on coming by name, since this worker
             * has not ended its walk.
             */

            broker_no_room(hcf, &ch->name.str, log);

            return NGX_OK;
        }

        if (rc == NGX_OK && id != ch->node.key) {
            ngx_rbtree_delete(&table->by_id, &ch->node);
            ch->node.key = id;
            ngx_rbtree_insert(&table->by_id, &ch->node);
        }

        if (rc == NGX_OK && broker_restore) {
            broker_restore->channel(ch);
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
