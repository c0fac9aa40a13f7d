/*
 * Presence: who is in a channel.  Entries are records of the channel's shard
 * and form its list, the newest first.  An entry comes and goes in one section
 * with its join and leave in the log: whether that is in the log decides what
 * a repair makes of an entry.
 */

#include "ngx_centrifugo_hub_shm.h"


static ngx_int_t presence_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    uint64_t hash, const ngx_centrifugo_presence_t *presence, uint64_t time);
static ngx_int_t presence_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_presence_t *presence,
    ngx_centrifugo_entrant_t **entrant);
static ngx_int_t presence_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, uint64_t hash, const u_char *client,
    ngx_centrifugo_entrant_t **entrant);
static uint64_t presence_hash(ngx_centrifugo_hub_shm_t *shm,
    ngx_centrifugo_record_t *rec, const u_char *client);
static ngx_int_t presence_append(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_entry_e type,
    const ngx_str_t *channel, const ngx_str_t *info, uint64_t time);


ngx_int_t
ngx_centrifugo_hub_announce(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
    const ngx_str_t *info, uint64_t time)
{
    uint64_t                  hash;
    ngx_int_t                 rc;
    ngx_uint_t                n;
    ngx_centrifugo_record_t  *rec;

    if (info->len
        > ngx_centrifugo_hub_publication_max(hub->shm->log.size))
    {
        return NGX_ERROR;
    }

    if (channel->len > NGX_CENTRIFUGO_NAME_MAX) {
        return NGX_DECLINED;
    }

    hash = ngx_centrifugo_hash(hub->shm->seed, channel->data, channel->len);
    n = hub_shard_of(hub->shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);
    rc = presence_append(hub, n, rec, type, channel, info, time);

    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}


ngx_int_t
ngx_centrifugo_hub_presence_add(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_presence_t *presence, uint64_t time)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n, tries;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;

    if (hub->slot == NGX_CENTRIFUGO_NO_SLOT
        || presence->channel.len > NGX_CENTRIFUGO_NAME_MAX
        || presence->info.len > NGX_CENTRIFUGO_PRESENCE_MAX
        || presence->info.len
           > ngx_centrifugo_hub_publication_max(shm->log.size))
    {
        return NGX_ERROR;
    }

    hash = ngx_centrifugo_hash(shm->seed, presence->channel.data,
                               presence->channel.len);
    n = hub_shard_of(shm, hash);
    tries = 0;

    do {
        if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = presence_enter(hub, n, hash, presence, time);

        if (ngx_centrifugo_shard_settle(shm, n) != NGX_OK) {
            ngx_centrifugo_shard_wipe(hub, n);
            rc = NGX_ERROR;
        }

        ngx_centrifugo_shard_unlock(hub, n);

    } while (rc == NGX_DECLINED && tries++ < NGX_CENTRIFUGO_EVICT_TRIES
             && ngx_centrifugo_evict(hub, n,
                                     sizeof(ngx_centrifugo_entrant_t)
                                     + presence->info.len)
                == NGX_OK);

    return rc;
}


/*
 * What it leaves on the intent's chain is freed by the caller: the new record
 * when it failed, the old one when that was replaced.
 */

static ngx_int_t
presence_enter(ngx_centrifugo_hub_t *hub, ngx_uint_t n, uint64_t hash,
    const ngx_centrifugo_presence_t *presence, uint64_t time)
{
    ngx_int_t                  rc;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *entrant, *old;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

    rec = ngx_centrifugo_shard_find(hub, n, hash, &presence->channel);

    if (rec == NULL
        || !(rec->mask[hub->slot / 64] & 1ULL << (hub->slot % 64)))
    {
        return NGX_ERROR;
    }

    hash = presence_hash(shm, rec, presence->client);

    if (presence_find(hub, n, rec, hash, presence->client, &old) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = presence_build(hub, n, presence, &entrant);

    if (rc != NGX_OK) {
        return rc;
    }

    entrant->item.hash = (uint32_t) hash;
    entrant->channel = hub_ref(shm, rec);
    entrant->slot = (uint16_t) hub->slot;

    intent->bucket = hub_bucket_of(shm, hash);
    intent->counts = shard->counts;
    intent->entries = rec->entries;

    if (old) {

        /* in its place: who reads the list has read it or will */

        entrant->newer = old->newer;
        entrant->older = old->older;
        entrant->seq = old->seq;

        intent->old = hub_ref(shm, old);
        intent->next = old->item.next;
        intent->logged = 1;

    } else {
        entrant->newer = 0;
        entrant->older = rec->presence;
        entrant->seq = __atomic_fetch_add(&shm->next_seq, 1,
                                          __ATOMIC_RELAXED);

        intent->old = 0;
        intent->next = *hub_bucket(shm, n, intent->bucket);
        intent->counts.records++;
        intent->counts.presence++;
        intent->entries++;
        intent->logged = ((presence->flags
                           & (NGX_CENTRIFUGO_PRESENCE_ANNOUNCE
                              |NGX_CENTRIFUGO_PRESENCE_QUIET))
                          != NGX_CENTRIFUGO_PRESENCE_ANNOUNCE);
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_FILLED);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_ENTER);
    NGX_CENTRIFUGO_POINT(PRESENCE_ENTER);

    if (!intent->logged) {
        rc = presence_append(hub, n, rec, NGX_CENTRIFUGO_ENTRY_JOIN,
                             &presence->channel, &presence->info, time);
        if (rc == NGX_ERROR) {
            intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
            return NGX_ERROR;
        }

        intent_store(&intent->logged, 1);
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_JOINED);

    if (ngx_centrifugo_presence_entered(shm, n) != NGX_OK) {
        ngx_centrifugo_shard_wipe(hub, n);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The new entry with all of its info; it hangs on the intent's chain, with
 * what it points to.
 */

static ngx_int_t
presence_build(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    const ngx_centrifugo_presence_t *presence,
    ngx_centrifugo_entrant_t **entrant)
{
    size_t                     first;
    ngx_int_t                  rc;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_entrant_t  *e;

    first = ngx_min(presence->info.len, NGX_CENTRIFUGO_ENTRANT_INFO);

    rc = ngx_centrifugo_chain_build(hub, n, &presence->info, 1, first,
                                    NGX_CENTRIFUGO_ITEM_CHAIN);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_centrifugo_shard_take(hub, n,
                                   sizeof(ngx_centrifugo_entrant_t) + first,
                                   NGX_CENTRIFUGO_ITEM_PRESENCE, &item);
    if (rc != NGX_OK) {
        return rc;
    }

    e = (ngx_centrifugo_entrant_t *) item;

    item->len = (uint16_t) presence->info.len;
    e->rest = hub_shard(hub->shm, n)->intent.chain;
    e->flags = (uint16_t) (presence->flags
                           & NGX_CENTRIFUGO_PRESENCE_ANNOUNCE);
    e->user = ngx_centrifugo_hash(hub->shm->seed, presence->user.data,
                                  presence->user.len);
    ngx_memcpy(e->client, presence->client, sizeof(e->client));
    ngx_memcpy(e->info, presence->info.data, first);

    ngx_centrifugo_chain_push(hub->shm, n, item);

    *entrant = e;

    return NGX_OK;
}


/*
 * Puts the entry of the intent where it belongs; used by the one who began it
 * and by the repair.  What it stores is the entry's and the intent's, so it
 * may be done again.
 */

ngx_int_t
ngx_centrifugo_presence_entered(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_ref_t       ref;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e, *old, *newer, *older;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    ref = intent->item;
    rec = NULL;
    old = newer = older = NULL;

    e = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_PRESENCE);

    if (e != NULL) {
        rec = ngx_centrifugo_shard_item(shm, e->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
        newer = ngx_centrifugo_shard_item(shm, e->newer,
                                          NGX_CENTRIFUGO_ITEM_PRESENCE);
        older = ngx_centrifugo_shard_item(shm, e->older,
                                          NGX_CENTRIFUGO_ITEM_PRESENCE);
        old = ngx_centrifugo_shard_item(shm, intent->old,
                                        NGX_CENTRIFUGO_ITEM_PRESENCE);
    }

    if (rec == NULL || intent->bucket >= shm->buckets
        || (e->newer && newer == NULL) || (e->older && older == NULL)
        || (intent->old && old == NULL))
    {
        return NGX_ERROR;
    }

    intent_store(&e->item.next, intent->next);

    if (old == NULL) {
        intent_store(hub_bucket(shm, n, intent->bucket), ref);

    } else if (ngx_centrifugo_shard_detach(shm, n, intent->old, ref)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_LINKED);

    if (older) {
        older->newer = ref;
    }

    if (newer) {
        newer->older = ref;

    } else {
        rec->presence = ref;
    }

    rec->entries = intent->entries;
    ngx_centrifugo_shard_counts(shard);
    NGX_CENTRIFUGO_POINT(PRESENCE_COUNTED);

    if (old) {
        old->item.next = old->rest;
    }

    intent_store(&intent->chain, intent->old);
    NGX_CENTRIFUGO_POINT(PRESENCE_SWAPPED);

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_hub_presence_remove(ngx_centrifugo_hub_t *hub,
    const ngx_str_t *channel, const u_char *client, uint64_t time)
{
    uint64_t                   hash;
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *entrant;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;

    hash = ngx_centrifugo_hash(shm->seed, channel->data, channel->len);
    n = hub_shard_of(shm, hash);

    if (ngx_centrifugo_shard_lock(hub, n) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = NGX_DECLINED;
    rec = ngx_centrifugo_shard_find(hub, n, hash, channel);

    if (rec != NULL) {
        rc = presence_find(hub, n, rec, presence_hash(shm, rec, client),
                           client, &entrant);

        if (rc == NGX_OK) {
            rc = entrant ? ngx_centrifugo_presence_leave(hub, n, entrant,
                                                         time)
                         : NGX_DECLINED;
        }
    }

    ngx_centrifugo_shard_unlock(hub, n);

    return rc;
}


ngx_int_t
ngx_centrifugo_presence_leave(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_entrant_t *entrant, uint64_t time)
{
    u_char                     buf[NGX_CENTRIFUGO_PRESENCE_MAX];
    ngx_int_t                  rc;
    ngx_str_t                  name, info;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    shard = hub_shard(shm, n);
    intent = &shard->intent;

    rec = ngx_centrifugo_shard_item(shm, entrant->channel,
                                    NGX_CENTRIFUGO_ITEM_CHANNEL);

    if (rec == NULL
        || ngx_centrifugo_shard_item(shm, hub_ref(shm, entrant),
                                     NGX_CENTRIFUGO_ITEM_PRESENCE)
           == NULL)
    {
        goto damaged;
    }

    info.data = entrant->info;
    info.len = entrant->item.len;

    if (entrant->rest) {

        if (ngx_centrifugo_presence_info(shm, entrant, buf) != NGX_OK) {
            goto damaged;
        }

        info.data = buf;
    }

    intent->item = hub_ref(shm, entrant);
    intent->class = entrant->item.class;
    intent->bucket = hub_bucket_of(shm, presence_hash(shm, rec,
                                                      entrant->client));
    intent->counts = shard->counts;
    intent->counts.records--;
    intent->counts.presence--;
    intent->entries = rec->entries - 1;
    intent->logged = !(entrant->flags & NGX_CENTRIFUGO_PRESENCE_ANNOUNCE);
    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_LEAVE);
    NGX_CENTRIFUGO_POINT(PRESENCE_LEAVE);

    if (!intent->logged) {
        name.data = (u_char *) &rec->mask[shm->mask_words];
        name.len = rec->item.len;

        rc = presence_append(hub, n, rec, NGX_CENTRIFUGO_ENTRY_LEAVE, &name,
                             &info, time);
        if (rc == NGX_ERROR) {
            intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);
            return NGX_ERROR;
        }

        intent_store(&intent->logged, 1);
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_LEFT);

    if (ngx_centrifugo_presence_left(shm, n) == NGX_OK
        && ngx_centrifugo_shard_settle(shm, n) == NGX_OK)
    {
        return NGX_OK;
    }

damaged:

    ngx_centrifugo_shard_wipe(hub, n);

    return NGX_ERROR;
}


/*
 * Takes the entry of the intent out and hangs it on the chain of what is to be
 * freed; may be done again.
 */

ngx_int_t
ngx_centrifugo_presence_left(ngx_centrifugo_hub_shm_t *shm, ngx_uint_t n)
{
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_intent_t   *intent;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e, *newer, *older;

    shard = hub_shard(shm, n);
    intent = &shard->intent;
    rec = NULL;
    newer = older = NULL;

    e = ngx_centrifugo_shard_item(shm, intent->item,
                                  NGX_CENTRIFUGO_ITEM_PRESENCE);
    if (e != NULL) {
        rec = ngx_centrifugo_shard_item(shm, e->channel,
                                        NGX_CENTRIFUGO_ITEM_CHANNEL);
        newer = ngx_centrifugo_shard_item(shm, e->newer,
                                          NGX_CENTRIFUGO_ITEM_PRESENCE);
        older = ngx_centrifugo_shard_item(shm, e->older,
                                          NGX_CENTRIFUGO_ITEM_PRESENCE);
    }

    if (rec == NULL || (e->newer && newer == NULL)
        || (e->older && older == NULL)
        || ngx_centrifugo_shard_detach(shm, n, intent->item, e->item.next)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (older) {
        older->newer = e->newer;
    }

    if (newer) {
        newer->older = e->older;

    } else {
        rec->presence = e->older;
    }

    NGX_CENTRIFUGO_POINT(PRESENCE_UNLINKED);

    rec->entries = intent->entries;
    ngx_centrifugo_shard_counts(shard);

    if (rec->presence == 0) {
        intent->drop = e->channel;
    }

    e->item.next = e->rest;
    intent_store(&intent->chain, intent->item);
    NGX_CENTRIFUGO_POINT(PRESENCE_GONE);

    intent_store(&intent->state, NGX_CENTRIFUGO_INTENT_NONE);

    return NGX_OK;
}


/* *entrant is NULL when there is none; NGX_ERROR: the shard was wiped */

static ngx_int_t
presence_find(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, uint64_t hash, const u_char *client,
    ngx_centrifugo_entrant_t **entrant)
{
    size_t                     room;
    uint64_t                   left;
    ngx_centrifugo_ref_t       ref, channel;
    ngx_centrifugo_item_t     *item;
    ngx_centrifugo_entrant_t  *e;
    ngx_centrifugo_hub_shm_t  *shm;

    shm = hub->shm;
    left = hub_shard(shm, n)->counts.records;
    ref = *hub_bucket(shm, n, hub_bucket_of(shm, hash));
    channel = hub_ref(shm, rec);

    for ( /* void */ ; ref; ref = item->next) {
        item = ngx_centrifugo_page_item(shm, ref, &room);

        if (item == NULL || left-- == 0) {
            ngx_centrifugo_shard_wipe(hub, n);
            return NGX_ERROR;
        }

        if (item->hash != (uint32_t) hash
            || item->type != NGX_CENTRIFUGO_ITEM_PRESENCE)
        {
            continue;
        }

        e = (ngx_centrifugo_entrant_t *) item;

        if (e->channel == channel
            && ngx_memcmp(e->client, client, sizeof(e->client)) == 0)
        {
            *entrant = e;
            return NGX_OK;
        }
    }

    *entrant = NULL;

    return NGX_OK;
}


static uint64_t
presence_hash(ngx_centrifugo_hub_shm_t *shm, ngx_centrifugo_record_t *rec,
    const u_char *client)
{
    u_char  key[sizeof(uint64_t) + 16];

    ngx_memcpy(key, &rec->id, sizeof(uint64_t));
    ngx_memcpy(key + sizeof(uint64_t), client, 16);

    return ngx_centrifugo_hash(shm->seed, key, sizeof(key));
}


/* A join or leave goes into the log. */

static ngx_int_t
presence_append(ngx_centrifugo_hub_t *hub, ngx_uint_t n,
    ngx_centrifugo_record_t *rec, ngx_centrifugo_entry_e type,
    const ngx_str_t *channel, const ngx_str_t *info, uint64_t time)
{
    ngx_centrifugo_hub_publication_t  pub;

    ngx_memzero(&pub, sizeof(ngx_centrifugo_hub_publication_t));
    pub.channel = *channel;
    pub.info = *info;
    pub.time = time;

    return ngx_centrifugo_log_append(hub, n, rec, type, &pub, NULL);
}
