/* A walk over all that a zone holds: everything is there, and once. */

#ifndef UNIT_WHOLE_H
#define UNIT_WHOLE_H

#include "unit_hub.h"


#define MUST(x)                                                              \
    do {                                                                     \
        if (!(x)) {                                                          \
            fprintf(stderr, "%s:%d: shard %lu: %s\n", __FILE__, __LINE__,    \
                    (unsigned long) n, #x);                                  \
            return 0;                                                        \
        }                                                                    \
    } while (0)


static ngx_inline ngx_uint_t
whole_chain(ngx_uint_t n, ngx_centrifugo_entrant_t *e, uint64_t *used)
{
    size_t                   len;
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_chain_t  *chain;

    len = ngx_min(e->item.len, 2032 - 64);

    for (ref = e->rest; ref; ref = chain->item.next) {
        chain = ngx_centrifugo_shard_item(shm, ref,
                                          NGX_CENTRIFUGO_ITEM_CHAIN);
        MUST(chain != NULL && chain->item.len != 0);
        MUST(ngx_centrifugo_page_holds(shm, n, ref));
        used[chain->item.class]++;
        len += chain->item.len;
        MUST(len <= e->item.len);
    }

    MUST(len == e->item.len);

    return 1;
}


static ngx_inline ngx_uint_t
whole_list(ngx_uint_t n, ngx_centrifugo_record_t *rec)
{
    uint64_t                   seq;
    uint32_t                   entries;
    ngx_centrifugo_ref_t       ref, newer;
    ngx_centrifugo_entrant_t  *e;

    newer = 0;
    entries = 0;
    seq = (uint64_t) -1;

    for (ref = rec->presence; ref; ref = e->older) {
        e = ngx_centrifugo_shard_item(shm, ref, NGX_CENTRIFUGO_ITEM_PRESENCE);
        MUST(e != NULL && e->channel == hub_ref(shm, rec));
        MUST(e->newer == newer && e->seq < seq);
        seq = e->seq;
        newer = ref;
        entries++;
    }

    MUST(entries == rec->entries);

    return 1;
}


/*
 * A stream's list has no holes, is linked both ways, and takes what is said.
 */

static ngx_inline ngx_uint_t
whole_stream(ngx_uint_t n, ngx_centrifugo_record_t *rec,
    ngx_centrifugo_counts_t *counts, uint64_t *used)
{
    size_t                          len;
    uint64_t                        bytes, offset;
    uint32_t                        count;
    ngx_centrifugo_ref_t            ref, older, more;
    ngx_centrifugo_kept_t          *kept;
    ngx_centrifugo_chain_t         *chain;
    ngx_centrifugo_stream_t        *stream;
    ngx_centrifugo_stream_state_t  *state;

    if (rec->stream == 0) {
        return 1;
    }

    MUST(ngx_centrifugo_page_holds(shm, n, rec->stream));
    stream = ngx_centrifugo_shard_item(shm, rec->stream,
                                       NGX_CENTRIFUGO_ITEM_STREAM);
    MUST(stream != NULL && stream->channel == hub_ref(shm, rec));
    MUST(stream->due.tick != 0);

    used[stream->due.item.class]++;
    counts->streams++;

    state = &stream->state;
    MUST(state->count <= state->top && state->floor <= state->top);

    bytes = 0;
    count = 0;
    older = 0;
    offset = state->top - state->count;

    for (ref = state->oldest; ref; ref = kept->newer) {
        MUST(ngx_centrifugo_page_holds(shm, n, ref));
        kept = ngx_centrifugo_shard_item(shm, ref,
                                         NGX_CENTRIFUGO_ITEM_PUBLICATION);
        MUST(kept != NULL && kept->stream == rec->stream);
        MUST(kept->older == older && kept->offset == ++offset);
        MUST(++count <= state->count);

        used[kept->item.class]++;
        bytes += ngx_centrifugo_page_class_size(kept->item.class);
        len = kept->item.len;

        for (more = kept->item.next; more; more = chain->item.next) {
            MUST(ngx_centrifugo_page_holds(shm, n, more));
            chain = ngx_centrifugo_shard_item(shm, more,
                                              NGX_CENTRIFUGO_ITEM_MORE);
            MUST(chain != NULL && chain->item.len != 0);
            MUST(chain->item.hash == ref);
            used[chain->item.class]++;
            bytes += ngx_centrifugo_page_class_size(chain->item.class);
            len += chain->item.len;
        }

        MUST(len == (size_t) kept->info_len + kept->tags_len
                    + kept->data_len);
        older = ref;
    }

    MUST(state->newest == older && count == state->count);
    MUST(bytes == state->bytes);

    counts->publications += count;
    counts->history += bytes;

    return 1;
}


/* all that expires is in the wheel, once */

static ngx_inline ngx_uint_t
whole_due(ngx_uint_t n, uint64_t items)
{
    size_t                 room;
    uint64_t               listed;
    ngx_uint_t             i;
    ngx_centrifugo_ref_t   ref, prev;
    ngx_centrifugo_due_t  *due;

    listed = 0;

    for (i = 0; i < NGX_CENTRIFUGO_DUE_LEVELS * NGX_CENTRIFUGO_DUE_TICKS; i++) {
        prev = 0;

        for (ref = hub_shard(shm, n)->due[i]; ref; ref = due->next) {
            MUST(ngx_centrifugo_page_holds(shm, n, ref));
            due = ngx_centrifugo_page_item(shm, ref, &room);
            MUST(due->item.type == NGX_CENTRIFUGO_ITEM_STREAM
                 || due->item.type == NGX_CENTRIFUGO_ITEM_RESULT);
            MUST(due->prev == prev && due->tick != 0);
            MUST(listed++ < items);
            prev = ref;
        }
    }

    MUST(listed == items);

    return 1;
}


static ngx_inline ngx_uint_t
whole_pages(ngx_uint_t n, const uint64_t *used)
{
    size_t                   room;
    uint64_t                 all[NGX_CENTRIFUGO_CLASSES];
    ngx_uint_t               i, c, empty[NGX_CENTRIFUGO_CLASSES];
    ngx_uint_t               pages[NGX_CENTRIFUGO_CLASSES], in, listed;
    ngx_centrifugo_ref_t     ref;
    ngx_centrifugo_page_t   *p;
    ngx_centrifugo_item_t   *item;
    ngx_centrifugo_shard_t  *shard;

    shard = hub_shard(shm, n);
    memset(all, 0, sizeof(all));
    memset(empty, 0, sizeof(empty));
    memset(pages, 0, sizeof(pages));

    for (i = 0; i < shm->pages; i++) {
        if (((u_char *) hub_at(shm, shm->owners_at))[i] != n + 1) {
            continue;
        }

        p = hub_at(shm, shm->pages_at + i * NGX_CENTRIFUGO_PAGE);
        c = p->class;
        MUST(c < NGX_CENTRIFUGO_CLASSES);

        in = (NGX_CENTRIFUGO_PAGE - sizeof(*p))
             / ngx_centrifugo_page_class_size(c);

        for (ref = p->free, listed = 0; ref; ref = item->next) {
            item = ngx_centrifugo_page_item(shm, ref, &room);
            MUST(item != NULL && listed++ < in);
            MUST(item->type == NGX_CENTRIFUGO_ITEM_FREE);
        }

        MUST(p->nfree == listed && p->linked == (listed != 0));
        all[c] += in - listed;
        empty[c] += (listed == in);
        pages[c] += p->linked;
    }

    for (c = 0; c < NGX_CENTRIFUGO_CLASSES; c++) {
        MUST(all[c] == used[c] && shard->used[c] == used[c]);

        /* an empty one is given back, but for the last of its class */

        MUST(empty[c] == 0 || pages[c] == 1 || empty[c] == 1);

        for (i = shard->avail[c]; i; i = p->next) {
            p = hub_at(shm, shm->pages_at + (i - 1) * NGX_CENTRIFUGO_PAGE);
            MUST(p->class == c && p->linked && pages[c] != 0);
            pages[c]--;
        }

        MUST(pages[c] == 0);
    }

    return 1;
}


static ngx_inline ngx_uint_t
whole_shard(ngx_uint_t n)
{
    size_t                     room;
    uint64_t                   used[NGX_CENTRIFUGO_CLASSES], hash, id;
    u_char                     key[24];
    ngx_uint_t                 b, i, mask, first;
    ngx_centrifugo_ref_t       ref, other;
    ngx_centrifugo_item_t     *item, *item2;
    ngx_centrifugo_shard_t    *shard;
    ngx_centrifugo_tally_t    *t, *t2;
    ngx_centrifugo_counts_t    counts;
    ngx_centrifugo_record_t   *rec;
    ngx_centrifugo_entrant_t  *e;
    uint64_t                   in_lists;
    ngx_centrifugo_result_t   *result;

    shard = hub_shard(shm, n);
    memset(used, 0, sizeof(used));
    memset(&counts, 0, sizeof(counts));
    in_lists = 0;

    for (b = 0; b < shm->buckets; b++) {
        for (ref = *hub_bucket(shm, n, b); ref; ref = item->next) {
            item = ngx_centrifugo_page_item(shm, ref, &room);
            MUST(item != NULL);
            MUST(ngx_centrifugo_page_holds(shm, n, ref));
            MUST(ngx_centrifugo_shard_item(shm, ref, item->type) != NULL);
            MUST(counts.records++ < 1000000);
            used[item->class]++;

            switch (item->type) {

            case NGX_CENTRIFUGO_ITEM_CHANNEL:
                rec = (ngx_centrifugo_record_t *) item;
                counts.channels++;
                in_lists += rec->entries;
                hash = ngx_centrifugo_hash(shm->seed,
                                           (u_char *) &rec->mask[1],
                                           item->len);
                MUST((hash & (shm->shards - 1)) == n);
                MUST(hub_bucket_of(shm, hash) == b
                     && item->hash == (uint32_t) hash);

                for (mask = 0, i = 0; i < shm->mask_words; i++) {
                    mask |= (rec->mask[i] != 0);
                }

                MUST(mask || rec->presence || rec->stream);

                if (!whole_list(n, rec)
                    || !whole_stream(n, rec, &counts, used))
                {
                    return 0;
                }

                break;

            case NGX_CENTRIFUGO_ITEM_PRESENCE:
                e = (ngx_centrifugo_entrant_t *) item;
                counts.presence++;
                rec = ngx_centrifugo_shard_item(shm, e->channel,
                                                NGX_CENTRIFUGO_ITEM_CHANNEL);
                MUST(rec != NULL && ngx_centrifugo_page_holds(shm, n,
                                                              e->channel));
                id = rec->id;
                memcpy(key, &id, 8);
                memcpy(key + 8, e->client, 16);
                hash = ngx_centrifugo_hash(shm->seed, key, 24);
                MUST(hub_bucket_of(shm, hash) == b
                     && item->hash == (uint32_t) hash);

                if (!whole_chain(n, e, used)) {
                    return 0;
                }

                break;

            case NGX_CENTRIFUGO_ITEM_TALLY:
                t = (ngx_centrifugo_tally_t *) item;
                first = (t->kind == NGX_CENTRIFUGO_TALLY_USER);
                MUST(t->count != 0);

                for (other = item->next; other; other = item2->next) {
                    item2 = ngx_centrifugo_page_item(shm, other, &room);
                    MUST(item2 != NULL);
                    t2 = (ngx_centrifugo_tally_t *) item2;

                    if (item2->type == NGX_CENTRIFUGO_ITEM_TALLY
                        && t2->kind == t->kind && item2->len == item->len
                        && memcmp(t2->key, t->key, item->len) == 0)
                    {
                        MUST(t2->slot != t->slot);
                        first = 0;
                    }
                }

                counts.users += first;
                break;

            case NGX_CENTRIFUGO_ITEM_RESULT:
                result = (ngx_centrifugo_result_t *) item;
                counts.results++;
                MUST(hub_bucket_of(shm, result->key) == b);
                MUST(result->due.tick != 0);
                break;

            default:
                MUST(0);
            }
        }
    }

    MUST(in_lists == counts.presence);
    MUST(memcmp(&counts, &shard->counts, sizeof(counts)) == 0);
    MUST(shard->intent.state == NGX_CENTRIFUGO_INTENT_NONE
         && shard->intent.chain == 0 && shard->intent.drop == 0
         && shard->intent.moving == 0 && shard->intent.list == 0
         && shard->intent.due == NGX_CENTRIFUGO_DUE_NONE);

    return whole_due(n, counts.streams + counts.results)
           && whole_pages(n, used);
}


/* after all locks were repaired: everything is where it belongs, once */

static ngx_inline ngx_uint_t
whole(ngx_centrifugo_hub_t *hub)
{
    ngx_uint_t  n, ok;

    ok = 1;

    for (n = 0; n < shm->shards; n++) {
        CHECK(ngx_centrifugo_shard_lock(hub, n) == NGX_OK);
        ok &= whole_shard(n);
        ngx_centrifugo_shard_unlock(hub, n);
    }

    return ok;
}

#endif
