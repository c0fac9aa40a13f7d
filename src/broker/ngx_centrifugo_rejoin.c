/*
 * After a shard was wiped: enters this worker's channels again, in steps.  The
 * log is read up to where it stood when the wipe was seen, so no entry with an
 * old id is left when ids change.
 */

#include "ngx_centrifugo_table.h"
#include "../core/ngx_centrifugo_text.h"


#define REJOIN_WALK  256        /* channels put back in one turn */


static void rejoin_no_room(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *what, ngx_log_t *log);


ngx_int_t
ngx_centrifugo_rejoin(ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log)
{
    ngx_int_t                  rc;
    ngx_uint_t                 n;
    ngx_centrifugo_table_t    *table;
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

    for (n = 0; n < REJOIN_WALK; n++) {

        ch = ngx_centrifugo_table_from(table, table->walk_id);

        /* an id beyond the limit was given in this walk */

        if (ch == NULL || ch->node.key >= table->walk_limit) {

            rc = ngx_centrifugo_restore ? ngx_centrifugo_restore->rest(hcf)
                                        : NGX_OK;

            if (rc == NGX_AGAIN) {
                return NGX_AGAIN;
            }

            if (rc == NGX_ERROR) {
                rejoin_no_room(hcf, &hcf->name, log);
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
            join.meta_ttl = ngx_centrifugo_table_meta_ttl(ch);
        }

        rc = ngx_centrifugo_hub_resync_rejoin(hub, &ch->name.str, &join);

        if (rc == NGX_ERROR) {

            /*
             * No room: publications go on coming by name, since this worker
             * has not ended its walk.
             */

            rejoin_no_room(hcf, &ch->name.str, log);

            return NGX_OK;
        }

        if (rc == NGX_OK && join.channel != ch->node.key) {
            ngx_rbtree_delete(&table->by_id, &ch->node);
            ch->node.key = join.channel;
            ngx_rbtree_insert(&table->by_id, &ch->node);
        }

        if (rc == NGX_OK && ngx_centrifugo_restore) {
            ngx_centrifugo_restore->channel(ch);
        }

        /* one that is in the new stream already goes on by its entries */

        if (rc == NGX_OK && join.meta_ttl
            && join.position.epoch != ch->feed->position.epoch)
        {
            ngx_centrifugo_feed_insufficient(ch, &join.position);
        }
    }

    return NGX_AGAIN;
}


static void
rejoin_no_room(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *what,
    ngx_log_t *log)
{
    ngx_centrifugo_table_t  *table;

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "centrifugo: no room in the zone of hub \"%V\" to put "
                  "\"%V\" back, trying again", &hcf->name,
                  ngx_centrifugo_log_str(what));

    table = hcf->channels;

    hcf->hub.walk = 0;
    table->walk_failed = 1;
    table->walk_again = ngx_current_msec + 1000;
}
