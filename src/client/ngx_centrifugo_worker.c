#include "ngx_centrifugo_worker.h"
#include "ngx_centrifugo_delivery.h"
#include "ngx_centrifugo_order.h"
#include "ngx_centrifugo_timer.h"
#include "../broker/ngx_centrifugo_request.h"
#include "../proxy/ngx_centrifugo_fetch.h"
#include "../core/ngx_centrifugo_fault.h"


#define WORKER_TICK     1000        /* ms */
#define WORKER_POLL     20          /* ms, of a slot without a bell */
#define WORKER_APPENDS  16384       /* of one turn: a millisecond or two */
#define WORKER_EXPIRE   2000000     /* ns, after which a turn ends */
#define WORKER_REPLACED 5000        /* ms, when its zone was made anew */
#define WORKER_CLOSE    1500        /* ms, after drain_time for the peers' part
                                       of the close */
#define WORKER_LOST     1000        /* ms, within which clients of a worker
                                       that missed commands are sent away */


typedef struct {
    ngx_cycle_t                  *cycle;
    ngx_centrifugo_main_conf_t   *mcf;
    ngx_uint_t                    slot;
    ngx_connection_t             *bell;
    ngx_event_t                   turn;     /* posted: read and write */
    ngx_event_t                   tick;
    ngx_event_t                   poll;     /* instead of a bell */
    ngx_event_t                   reap;     /* posted: the next step */
    ngx_uint_t                    reaping;  /* slot, or NO_SLOT */
    ngx_uint_t                    reap_hub;
    uint64_t                      reap_cursor;
    ngx_uint_t                    housekeeper;
    ngx_event_t                   expire;   /* posted: the next step */
    ngx_uint_t                    expire_hub;
    time_t                        warned;
    ngx_msec_t                    drain;    /* since when it ends, or 0 */
    time_t                        shed;     /* when that was logged */
} worker_t;


static void worker_claim(void);
static ngx_int_t worker_open_bell(void);
static void worker_bell_handler(ngx_event_t *ev);
static void worker_turn_handler(ngx_event_t *ev);
static void worker_tick_handler(ngx_event_t *ev);
static void worker_poll_handler(ngx_event_t *ev);
static void worker_housekeeper(ngx_uint_t wanted);
static void worker_expire(void);
static void worker_expire_handler(ngx_event_t *ev);
static void worker_find_dead(void);
static void worker_reap_handler(ngx_event_t *ev);
static void worker_gauges(void);
static void worker_shed(void);


static worker_t  worker;

static const ngx_centrifugo_restore_t  worker_restore = {
    ngx_centrifugo_presence_restore,
    ngx_centrifugo_user_resync,
    ngx_centrifugo_channel_insufficient
};


ngx_int_t
ngx_centrifugo_worker_init(ngx_cycle_t *cycle, ngx_centrifugo_main_conf_t *mcf)
{
    ngx_uint_t                    i;
    ngx_centrifugo_hub_conf_t   **hcf;

    ngx_memzero(&worker, sizeof(worker_t));

    worker.cycle = cycle;
    worker.mcf = mcf;
    worker.slot = NGX_CENTRIFUGO_NO_SLOT;
    worker.reaping = NGX_CENTRIFUGO_NO_SLOT;

    worker.turn.handler = worker_turn_handler;
    worker.turn.log = cycle->log;
    worker.turn.data = &worker;

    worker.reap.handler = worker_reap_handler;
    worker.reap.log = cycle->log;
    worker.reap.data = &worker;

    worker.expire.handler = worker_expire_handler;
    worker.expire.log = cycle->log;
    worker.expire.data = &worker;

    worker.tick.handler = worker_tick_handler;
    worker.tick.log = cycle->log;
    worker.tick.data = &worker;
    worker.tick.cancelable = 1;

    worker.poll.handler = worker_poll_handler;
    worker.poll.log = cycle->log;
    worker.poll.data = &worker;
    worker.poll.cancelable = 1;

    ngx_centrifugo_order_init();
    ngx_centrifugo_broker_restore(&worker_restore);
    ngx_centrifugo_timer_init(cycle->log);
    ngx_centrifugo_delivery_init(mcf->queue_memory);

    hcf = mcf->hubs.elts;

    for (i = 0; i < mcf->hubs.nelts; i++) {
        hcf[i]->hub.registry = mcf->registry;
        hcf[i]->verifier.fetch = ngx_centrifugo_fetch;
        hcf[i]->subscription_verifier.fetch = ngx_centrifugo_fetch;

        if (ngx_centrifugo_broker_init(hcf[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    worker_claim();

    ngx_add_timer(&worker.tick, WORKER_TICK);

    return NGX_OK;
}


static void
worker_claim(void)
{
    ngx_uint_t                    i, limit;
    ngx_centrifugo_hub_conf_t   **hcf;

    hcf = worker.mcf->hubs.elts;
    limit = NGX_CENTRIFUGO_SLOTS;

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        limit = ngx_min(limit, ngx_centrifugo_hub_slots(hcf[i]->hub.shm));
    }

    worker.slot = ngx_centrifugo_registry_claim(worker.mcf->registry, limit);

    if (worker.slot == NGX_CENTRIFUGO_NO_SLOT) {

        if (worker.warned == 0 || ngx_time() - worker.warned >= 60) {
            worker.warned = ngx_time();

            ngx_log_error(NGX_LOG_ERR, worker.cycle->log, 0,
                          "centrifugo: no free slot for this worker among "
                          "%ui, its locations answer 503", limit);
        }

        return;
    }

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        ngx_centrifugo_hub_enter(&hcf[i]->hub, worker.slot);
    }

    ngx_centrifugo_registry_live(worker.mcf->registry, worker.slot);

    if (worker_open_bell() != NGX_OK) {
        ngx_add_timer(&worker.poll, WORKER_POLL);
    }
}


static ngx_int_t
worker_open_bell(void)
{
    ngx_connection_t           *c;
    ngx_centrifugo_registry_t  *reg;

    reg = worker.mcf->registry;

    if (worker.slot >= reg->nbells) {
        ngx_log_error(NGX_LOG_WARN, worker.cycle->log, 0,
                      "centrifugo: no doorbell for slot %ui, this worker "
                      "polls; restart to raise their number", worker.slot);
        return NGX_DECLINED;
    }

    c = ngx_get_connection(reg->bells[worker.slot].rd, worker.cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->read->handler = worker_bell_handler;
    c->read->log = worker.cycle->log;
    c->write->log = worker.cycle->log;
    c->read->channel = 1;       /* not a client: may stay open at the exit */

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        return NGX_ERROR;
    }

    worker.bell = c;

    return NGX_OK;
}


void
ngx_centrifugo_worker_exit(ngx_cycle_t *cycle)
{
    uint64_t                      cursor;
    ngx_uint_t                    i;
    ngx_centrifugo_hub_conf_t   **hcf;

    if (worker.mcf == NULL) {
        return;
    }

    if (worker.tick.timer_set) {
        ngx_del_timer(&worker.tick);
    }

    if (worker.poll.timer_set) {
        ngx_del_timer(&worker.poll);
    }

    ngx_centrifugo_timer_exit();

    if (worker.bell) {
        if (worker.bell->read->active) {
            (void) ngx_del_event(worker.bell->read, NGX_READ_EVENT, 0);
        }

        ngx_free_connection(worker.bell);
        worker.bell->fd = (ngx_socket_t) -1;
        worker.bell = NULL;
    }

    hcf = worker.mcf->hubs.elts;

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        ngx_centrifugo_client_abandon(hcf[i]);
    }

    if (worker.slot != NGX_CENTRIFUGO_NO_SLOT) {

        worker_housekeeper(0);

        for (i = 0; i < worker.mcf->hubs.nelts; i++) {
            ngx_centrifugo_request_exit(hcf[i]);
        }

        /* a clean exit reaps itself; a kill meanwhile leaves it to others */

        for (i = 0; i < worker.mcf->hubs.nelts; i++) {
            cursor = 0;

            while (ngx_centrifugo_hub_reap(&hcf[i]->hub, worker.slot, &cursor)
                   == NGX_AGAIN)
            {
                /* void */
            }

            /* there may be leaves */

            (void) ngx_centrifugo_broker_wake(hcf[i]);
        }

        ngx_centrifugo_registry_free(worker.mcf->registry, worker.slot);
    }

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        hcf[i]->hub.slot = NGX_CENTRIFUGO_NO_SLOT;
        ngx_centrifugo_verifier_exit(&hcf[i]->verifier);
        ngx_centrifugo_verifier_exit(&hcf[i]->subscription_verifier);

        /* what is under way in the engine is told, and may end clients */

        ngx_centrifugo_broker_exit(hcf[i]);
        ngx_centrifugo_user_exit(hcf[i]);
    }

    ngx_centrifugo_delivery_exit();

    worker.mcf = NULL;
}


void
ngx_centrifugo_worker_leave(void)
{
    ngx_uint_t                    i;
    ngx_centrifugo_hub_conf_t   **hcf;

    if (worker.mcf == NULL) {
        return;
    }

    hcf = worker.mcf->hubs.elts;

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        ngx_centrifugo_verifier_exit(&hcf[i]->verifier);
        ngx_centrifugo_verifier_exit(&hcf[i]->subscription_verifier);
    }
}


ngx_uint_t
ngx_centrifugo_worker_ready(ngx_centrifugo_hub_conf_t *hcf)
{
    return hcf->hub.slot != NGX_CENTRIFUGO_NO_SLOT;
}


void
ngx_centrifugo_worker_drain(ngx_centrifugo_hub_conf_t *hcf, ngx_msec_t *span,
    ngx_msec_t *left)
{
    ngx_msec_t        all, gone;
    ngx_core_conf_t  *ccf;

    if (worker.drain == 0) {
        worker.drain = ngx_max(ngx_current_msec, 1);
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(worker.cycle->conf_ctx,
                                           ngx_core_module);
    all = hcf->drain_time;

    if (ngx_centrifugo_hub_replaced(&hcf->hub)) {
        all = ngx_min(all, WORKER_REPLACED);
    }

    if (ccf->shutdown_timeout && ccf->shutdown_timeout < all + WORKER_CLOSE) {

        /* NGINX cuts connections then */

        all = (ccf->shutdown_timeout > 2 * WORKER_CLOSE)
              ? ccf->shutdown_timeout - WORKER_CLOSE
              : ccf->shutdown_timeout / 2;
    }

    gone = ngx_current_msec - worker.drain;

    *span = (gone < all) ? all - gone : 0;
    *left = (gone < all + WORKER_CLOSE) ? all + WORKER_CLOSE - gone : 0;
}


void
ngx_centrifugo_worker_wake(ngx_centrifugo_hub_conf_t *hcf)
{
    if (ngx_centrifugo_broker_wake(hcf)) {
        ngx_centrifugo_worker_post();
    }
}


void
ngx_centrifugo_worker_post(void)
{
    ngx_post_event(&worker.turn, &ngx_posted_events);
}


static void
worker_bell_handler(ngx_event_t *ev)
{
    ngx_centrifugo_registry_answer(worker.mcf->registry, worker.slot);

    worker_turn_handler(ev);
}


/*
 * One turn: appends from the logs, then one write for each client that got
 * something; the rest in the next turn, after other events.
 */

static void
worker_turn_handler(ngx_event_t *ev)
{
    ngx_uint_t                    i, more;
    ngx_centrifugo_hub_conf_t   **hcf;

    hcf = worker.mcf->hubs.elts;
    more = 0;

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {

        switch (ngx_centrifugo_request_poll(hcf[i], worker.cycle->log)) {

        case NGX_AGAIN:
            more = 1;
            break;

        case NGX_DECLINED:
            ngx_centrifugo_client_drain(hcf[i], WORKER_LOST);
            more = 1;
            break;
        }

        /* answers were written perhaps */

        if (ngx_centrifugo_broker_wake(hcf[i])) {
            more = 1;
        }

        if (ngx_centrifugo_delivery_held()
            || ngx_centrifugo_broker_poll(hcf[i],
                                          ngx_centrifugo_delivery_publication,
                                          WORKER_APPENDS, worker.cycle->log)
               == NGX_AGAIN)
        {
            more = 1;
        }
    }

    if (ngx_centrifugo_delivery_flush() == NGX_AGAIN) {
        more = 1;
    }

    if (ngx_centrifugo_delivery_over()) {
        worker_shed();
    }

    if (more) {
        ngx_post_event(&worker.turn, &ngx_posted_next_events);
    }
}


static void
worker_poll_handler(ngx_event_t *ev)
{
    ngx_centrifugo_registry_answer(worker.mcf->registry, worker.slot);
    worker_turn_handler(ev);

    ngx_add_timer(&worker.poll, WORKER_POLL);
}


static void
worker_tick_handler(ngx_event_t *ev)
{
    ngx_uint_t                    i;
    ngx_centrifugo_slot_t        *slot;
    ngx_centrifugo_hub_conf_t   **hcf;

    if (worker.slot == NGX_CENTRIFUGO_NO_SLOT) {
        worker_claim();

    } else {
        slot = &worker.mcf->registry->slots[worker.slot];
        hcf = worker.mcf->hubs.elts;

        ngx_centrifugo_registry_beat(worker.mcf->registry, worker.slot);

        for (i = 0; i < worker.mcf->hubs.nelts; i++) {
            (void) ngx_centrifugo_hub_resync_check(&hcf[i]->hub);
            ngx_centrifugo_request_tick(hcf[i]);
            ngx_centrifugo_broker_tick(hcf[i]);
        }

        if ((ngx_exiting || ngx_terminate)
            && slot->state == NGX_CENTRIFUGO_SLOT_LIVE)
        {
            __atomic_store_n(&slot->state, NGX_CENTRIFUGO_SLOT_DRAINING,
                             __ATOMIC_RELEASE);
        }

        /*
         * A writer killed between the word and the descriptor leaves the bell
         * dead: the tick does all that an answer does.
         */

        ngx_centrifugo_registry_answer(worker.mcf->registry, worker.slot);
        worker_turn_handler(ev);
        worker_gauges();

        worker_housekeeper(slot->state == NGX_CENTRIFUGO_SLOT_LIVE);
        worker_expire();

        if (!ngx_exiting) {
            worker_find_dead();
        }
    }

    ngx_add_timer(&worker.tick, WORKER_TICK);
}


/*
 * Frames take more memory than they may: those clients leave that have the
 * most waiting, by halves of the longest queue, until there is room.
 */

static void
worker_shed(void)
{
    size_t                        longest;
    ngx_uint_t                    i, n;
    ngx_centrifugo_hub_conf_t   **hcf;

    hcf = worker.mcf->hubs.elts;
    n = 0;

    while (ngx_centrifugo_delivery_over()) {

        longest = 0;

        for (i = 0; i < worker.mcf->hubs.nelts; i++) {
            longest = ngx_max(longest,
                              ngx_centrifugo_delivery_longest(hcf[i]));
        }

        if (longest == 0) {
            break;
        }

        for (i = 0; i < worker.mcf->hubs.nelts; i++) {
            n += ngx_centrifugo_delivery_shed(hcf[i], longest / 2 + 1);
        }
    }

    if (n && worker.shed != ngx_time()) {
        worker.shed = ngx_time();

        ngx_log_error(NGX_LOG_WARN, worker.cycle->log, 0,
                      "centrifugo: messages waiting for clients of this "
                      "worker take more than centrifugo_queue_memory, the "
                      "%ui slowest are disconnected", n);
    }
}


static void
worker_gauges(void)
{
    ngx_uint_t                    i;
    ngx_centrifugo_hub_conf_t   **hcf;

    /* of the whole worker, so they stand in the first hub only */

    hcf = worker.mcf->hubs.elts;

    for (i = 0; i < worker.mcf->hubs.nelts; i++) {
        ngx_centrifugo_hub_set(&hcf[i]->hub,
                               NGX_CENTRIFUGO_GAUGE_QUEUED_BYTES,
                               i ? 0 : ngx_centrifugo_queue_bytes());
        ngx_centrifugo_hub_set(&hcf[i]->hub, NGX_CENTRIFUGO_GAUGE_FRAME_BYTES,
                               i ? 0 : ngx_centrifugo_frame_bytes());
    }
}


/*
 * One worker of all does what is done once: it holds a lock for as long as it
 * is live, so another takes over when it drains or dies.
 */

static void
worker_housekeeper(ngx_uint_t wanted)
{
    ngx_int_t                   rc;
    ngx_centrifugo_registry_t  *reg;

    reg = worker.mcf->registry;

    if (wanted == worker.housekeeper) {
        return;
    }

    if (!wanted) {
        worker.housekeeper = 0;
        ngx_centrifugo_lock_release(&reg->housekeeper);
        return;
    }

    rc = ngx_centrifugo_lock_try(&reg->housekeeper);

    if (rc == NGX_OK || rc == NGX_DECLINED) {
        worker.housekeeper = 1;
        __atomic_store_n(&reg->housekeeper_slot, (uint32_t) worker.slot,
                         __ATOMIC_RELAXED);
        NGX_CENTRIFUGO_POINT(HOUSEKEEPER);
    }
}


/*
 * What has expired in the hubs, in turns between other events; a pass that
 * takes longer than until the next tick goes on.
 */

static void
worker_expire(void)
{
    if (worker.housekeeper && !worker.expire.posted) {
        worker.expire_hub = 0;
        ngx_post_event(&worker.expire, &ngx_posted_next_events);
    }
}


static void
worker_expire_handler(ngx_event_t *ev)
{
    int64_t                       end;
    ngx_int_t                     rc;
    ngx_centrifugo_hub_conf_t   **hcf;

    hcf = worker.mcf->hubs.elts;
    end = ngx_centrifugo_delivery_now() + WORKER_EXPIRE;

    while (worker.housekeeper && worker.expire_hub < worker.mcf->hubs.nelts) {

        if (ngx_centrifugo_delivery_now() >= end) {
            ngx_post_event(&worker.expire, &ngx_posted_next_events);
            break;
        }

        rc = ngx_centrifugo_hub_expire(&hcf[worker.expire_hub]->hub);

        /* a damaged shard was found and emptied, perhaps */

        ngx_centrifugo_worker_wake(hcf[worker.expire_hub]);

        if (rc == NGX_OK) {
            worker.expire_hub++;
        }
    }
}


/*
 * Slots of workers that were killed: what they left is cleared in steps
 * between other events.  The dead one's lock is held until all is clear, so if
 * this worker dies too the next begins again.
 */

static void
worker_find_dead(void)
{
    ngx_uint_t  slot;

    if (worker.reaping != NGX_CENTRIFUGO_NO_SLOT) {
        return;
    }

    slot = 0;

    if (ngx_centrifugo_registry_find_dead(worker.mcf->registry,
                                          NGX_CENTRIFUGO_SLOTS, worker.slot,
                                          &slot)
        != NGX_OK)
    {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, worker.cycle->log, 0,
                  "centrifugo: the worker of slot %ui is gone, clearing up "
                  "after it", slot);

    worker.reaping = slot;
    worker.reap_hub = 0;
    worker.reap_cursor = 0;

    ngx_post_event(&worker.reap, &ngx_posted_next_events);
}


static void
worker_reap_handler(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_centrifugo_hub_conf_t  **hcf;

    hcf = worker.mcf->hubs.elts;

    if (worker.reap_hub < worker.mcf->hubs.nelts) {

        rc = ngx_centrifugo_hub_reap(&hcf[worker.reap_hub]->hub,
                                     worker.reaping, &worker.reap_cursor);

        /* there are leaves, or a damaged shard was found and emptied */

        ngx_centrifugo_worker_wake(hcf[worker.reap_hub]);

        if (rc == NGX_OK) {
            worker.reap_hub++;
            worker.reap_cursor = 0;
        }

        ngx_post_event(&worker.reap, &ngx_posted_next_events);
        return;
    }

    ngx_centrifugo_registry_free(worker.mcf->registry, worker.reaping);
    worker.reaping = NGX_CENTRIFUGO_NO_SLOT;

    if (!ngx_exiting) {

        /* many may have died since the last tick */

        worker_find_dead();
    }
}
