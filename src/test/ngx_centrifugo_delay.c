/*
 * An engine and an authenticator that answer late, by the real ones.
 */

#include "ngx_centrifugo_test.h"
#include "../broker/ngx_centrifugo_broker.h"
#include "../client/ngx_centrifugo_worker.h"


typedef enum {
    DELAY_PUBLISH = 0,
    DELAY_SUBSCRIBE,
    DELAY_PRESENCE_ADD,
    DELAY_PRESENCE,
    DELAY_PRESENCE_STATS,
    DELAY_HISTORY,
    DELAY_HISTORY_REMOVE
} delay_what_e;

typedef struct {
    ngx_event_t                   event;
    ngx_queue_t                   link;
    ngx_centrifugo_hub_conf_t    *hcf;
    ngx_centrifugo_verifier_t    *verifier;
    ngx_centrifugo_publish_t      pub;
    ngx_centrifugo_subscribe_wish_t  wish;
    ngx_centrifugo_history_wish_t    history;
    ngx_centrifugo_completion_t   done;
    ngx_centrifugo_verified_t     verified;
    ngx_centrifugo_token_kind_e   kind;
    delay_what_e                  what;
    ngx_centrifugo_presence_t     presence;
    u_char                        client[16];
    ngx_str_t                     text;     /* channel or token */
    u_char                        bytes[1];
} delay_t;


static ngx_int_t delay_init_worker(ngx_centrifugo_hub_conf_t *hcf);
static void delay_exit_worker(ngx_centrifugo_hub_conf_t *hcf);
static void delay_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done);
static void delay_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done);
static void delay_unsubscribe(ngx_centrifugo_channel_t *channel);
static void delay_presence_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence,
    const ngx_centrifugo_completion_t *done);
static void delay_presence_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence);
static void delay_announce(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, ngx_centrifugo_entry_e type,
    const ngx_str_t *info);
static void delay_presence(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void delay_presence_stats(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void delay_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done);
static void delay_history_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void delay_named(ngx_centrifugo_hub_conf_t *hcf, delay_what_e what,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done);
static void delay_unknown(const ngx_centrifugo_verified_t *done,
    const char *why);
static delay_t *delay_add(ngx_msec_t delay, size_t size);
static u_char *delay_copy(u_char *p, ngx_str_t *dst, const ngx_str_t *src);
static void delay_handler(ngx_event_t *ev);


static const ngx_centrifugo_engine_t  delay_engine = {
    ngx_string("delay"),
    delay_init_worker,
    delay_exit_worker,
    delay_publish,
    delay_subscribe,
    delay_unsubscribe,
    delay_presence_add,
    delay_presence_remove,
    delay_announce,
    delay_presence,
    delay_presence_stats,
    delay_history,
    delay_history_remove
};

static ngx_queue_t  delay_list;


const void *
ngx_centrifugo_test_engine(ngx_centrifugo_hub_conf_t *hcf, const void *engine)
{
    if (delay_list.next == NULL) {
        ngx_queue_init(&delay_list);
    }

    return hcf->test_engine_delay ? &delay_engine : engine;
}


static ngx_int_t
delay_init_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    return ngx_centrifugo_engine_memory.init_worker(hcf);
}


static void
delay_exit_worker(ngx_centrifugo_hub_conf_t *hcf)
{
    delay_t      *d;
    ngx_queue_t  *q, *next;

    /* what is under way is told, once */

    for (q = ngx_queue_head(&delay_list);
         q != ngx_queue_sentinel(&delay_list);
         q = next)
    {
        next = ngx_queue_next(q);
        d = ngx_queue_data(q, delay_t, link);

        if (d->hcf != hcf && d->verifier != &hcf->verifier) {
            continue;
        }

        ngx_queue_remove(&d->link);
        ngx_del_timer(&d->event);

        if (d->verifier) {
            delay_unknown(&d->verified, "the worker ends");

        } else {
            d->done.handler(d->done.handle, NGX_CENTRIFUGO_ENGINE_RETRY,
                            NULL);
        }

        free(d);
    }

    ngx_centrifugo_engine_memory.exit_worker(hcf);
}


static void
delay_publish(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_publish_t *pub,
    const ngx_centrifugo_completion_t *done)
{
    u_char   *p;
    delay_t  *d;

    d = delay_add(hcf->test_engine_delay,
                  pub->channel.len + pub->data.len + pub->info.len
                  + pub->tags.len + pub->idempotency_key.len
                  + pub->version_epoch.len);
    if (d == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    d->hcf = hcf;
    d->done = *done;
    d->pub = *pub;

    p = delay_copy(d->bytes, &d->pub.channel, &pub->channel);
    p = delay_copy(p, &d->pub.data, &pub->data);
    p = delay_copy(p, &d->pub.info, &pub->info);
    p = delay_copy(p, &d->pub.tags, &pub->tags);
    p = delay_copy(p, &d->pub.idempotency_key, &pub->idempotency_key);
    (void) delay_copy(p, &d->pub.version_epoch, &pub->version_epoch);
}


static void
delay_subscribe(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_subscribe_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    delay_t  *d;

    d = delay_add(hcf->test_engine_delay, wish->channel.len);
    if (d == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    d->hcf = hcf;
    d->done = *done;
    d->what = DELAY_SUBSCRIBE;
    d->wish = *wish;
    (void) delay_copy(d->bytes, &d->wish.channel, &wish->channel);
}


/*
 * An operation that takes the name of a channel only.
 */

static void
delay_named(ngx_centrifugo_hub_conf_t *hcf, delay_what_e what,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    delay_t  *d;

    d = delay_add(hcf->test_engine_delay, channel->len);
    if (d == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    d->hcf = hcf;
    d->done = *done;
    d->what = what;
    (void) delay_copy(d->bytes, &d->text, channel);
}


static void
delay_presence_add(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence,
    const ngx_centrifugo_completion_t *done)
{
    u_char   *p;
    delay_t  *d;

    d = delay_add(hcf->test_engine_delay, presence->channel.len
                                    + presence->user.len + presence->info.len);
    if (d == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    d->hcf = hcf;
    d->done = *done;
    d->what = DELAY_PRESENCE_ADD;
    d->presence.flags = presence->flags;
    d->presence.client = d->client;
    ngx_memcpy(d->client, presence->client, sizeof(d->client));

    p = delay_copy(d->bytes, &d->presence.channel, &presence->channel);
    p = delay_copy(p, &d->presence.user, &presence->user);
    (void) delay_copy(p, &d->presence.info, &presence->info);
}


static void
delay_presence_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_presence_t *presence)
{
    ngx_centrifugo_engine_memory.presence_remove(hcf, presence);
}


static void
delay_announce(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    ngx_centrifugo_entry_e type, const ngx_str_t *info)
{
    ngx_centrifugo_engine_memory.announce(hcf, channel, type, info);
}


static void
delay_presence(ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    const ngx_centrifugo_completion_t *done)
{
    delay_named(hcf, DELAY_PRESENCE, channel, done);
}


static void
delay_presence_stats(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    delay_named(hcf, DELAY_PRESENCE_STATS, channel, done);
}


static void
delay_history(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_history_wish_t *wish,
    const ngx_centrifugo_completion_t *done)
{
    delay_t  *d;

    d = delay_add(hcf->test_engine_delay, wish->channel.len);
    if (d == NULL) {
        done->handler(done->handle, NGX_CENTRIFUGO_ENGINE_RETRY, NULL);
        return;
    }

    d->hcf = hcf;
    d->done = *done;
    d->what = DELAY_HISTORY;
    d->history = *wish;
    (void) delay_copy(d->bytes, &d->history.channel, &wish->channel);
}


static void
delay_history_remove(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel, const ngx_centrifugo_completion_t *done)
{
    delay_named(hcf, DELAY_HISTORY_REMOVE, channel, done);
}


static void
delay_unsubscribe(ngx_centrifugo_channel_t *channel)
{
    ngx_centrifugo_engine_memory.unsubscribe(channel);
}


static void
delay_unknown(const ngx_centrifugo_verified_t *done, const char *why)
{
    ngx_centrifugo_token_t  none;

    ngx_memzero(&none, sizeof(ngx_centrifugo_token_t));
    none.reason = why;

    done->handler(done->handle, NGX_CENTRIFUGO_TOKEN_ERROR, &none);
}


static void
delay_check(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, const ngx_centrifugo_verified_t *done)
{
    delay_t  *d;

    d = delay_add(verifier->delay, token->len);
    if (d == NULL) {
        delay_unknown(done, "no memory");
        return;
    }

    d->verifier = verifier;
    d->kind = kind;
    d->verified = *done;
    (void) delay_copy(d->bytes, &d->text, token);
}


void
ngx_centrifugo_test_init_hub(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_conf_init_msec_value(hcf->test_engine_delay, 0);
    ngx_conf_init_msec_value(hcf->test_handshake_delay, 0);
    ngx_conf_init_msec_value(hcf->verifier.delay, 0);
    ngx_conf_init_size_value(hcf->test_log, 0);
    ngx_conf_init_size_value(hcf->test_control, 0);

    if (hcf->verifier.delay) {
        hcf->verifier.check = delay_check;
    }

    if (hcf->test_log) {
        hcf->log = hcf->test_log;
    }
}


static delay_t *
delay_add(ngx_msec_t delay, size_t size)
{
    delay_t  *d;

    d = calloc(1, sizeof(delay_t) + size);
    if (d == NULL) {
        return NULL;
    }

    d->event.handler = delay_handler;
    d->event.data = d;
    d->event.log = ngx_cycle->log;
    d->event.cancelable = 1;

    ngx_queue_insert_tail(&delay_list, &d->link);
    ngx_add_timer(&d->event, delay);

    return d;
}


static u_char *
delay_copy(u_char *p, ngx_str_t *dst, const ngx_str_t *src)
{
    dst->data = p;
    dst->len = src->len;

    return src->len ? ngx_cpymem(p, src->data, src->len) : p;
}


static void
delay_handler(ngx_event_t *ev)
{
    delay_t                        *d;
    ngx_centrifugo_arena_t          arena;
    const ngx_centrifugo_engine_t  *engine;

    d = ev->data;
    ngx_queue_remove(&d->link);

    if (d->verifier) {
        ngx_centrifugo_arena_init(&arena, 4096);
        ngx_centrifugo_token_check(d->verifier, d->kind, &arena, &d->text,
                                   &d->verified);
        ngx_centrifugo_arena_free(&arena);

    } else {
        engine = &ngx_centrifugo_engine_memory;

        switch (d->what) {

        case DELAY_PUBLISH:
            engine->publish(d->hcf, &d->pub, &d->done);
            break;

        case DELAY_SUBSCRIBE:
            engine->subscribe(d->hcf, &d->wish, &d->done);
            break;

        case DELAY_PRESENCE_ADD:
            engine->presence_add(d->hcf, &d->presence, &d->done);
            break;

        case DELAY_PRESENCE:
            engine->presence(d->hcf, &d->text, &d->done);
            break;

        case DELAY_PRESENCE_STATS:
            engine->presence_stats(d->hcf, &d->text, &d->done);
            break;

        case DELAY_HISTORY:
            engine->history(d->hcf, &d->history, &d->done);
            break;

        case DELAY_HISTORY_REMOVE:
            engine->history_remove(d->hcf, &d->text, &d->done);
            break;
        }

        /* nobody else does it when the one who asked is gone */

        ngx_centrifugo_worker_wake(d->hcf);
    }

    free(d);
}
