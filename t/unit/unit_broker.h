/*
 * Two workers of a hub in one process, without clients: A has subscriptions
 * that are entries of a list, B publishes.
 */

#ifndef UNIT_BROKER_H
#define UNIT_BROKER_H

#include "unit.h"
#include "broker/ngx_centrifugo_broker.h"
#include "test/ngx_centrifugo_test.h"
#include "stubs_event.h"

#define ZONE      (16 * 1024 * 1024)
#define SLOTS     64
#define META_TTL  600000


/* what an operation was answered */
typedef struct {
    ngx_uint_t                       n;         /* times */
    ngx_centrifugo_engine_rc_e       rc;
    ngx_centrifugo_engine_result_t   result;
    u_char                          *list;      /* with no byte to spare */
} answer_t;


static ngx_centrifugo_registry_t         *reg;
static ngx_centrifugo_hub_shm_t          *shm;
static ngx_centrifugo_hub_conf_t          a, b;
static ngx_centrifugo_channel_options_t   options;
static ngx_cycle_t                        cycle;
static ngx_log_t                          test_log;
static answer_t                           answer;
static uint64_t                           seed = 1;

/* called before each part of a history but the first of a subscription */
static void                             (*hook)(ngx_uint_t n);
static ngx_uint_t                         hook_n;

/* what publishing ends with, NGX_OK: as it does */
static ngx_int_t                          forced;


ngx_int_t __real_ngx_centrifugo_hub_history(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_history_t *h);
ngx_int_t __real_ngx_centrifugo_hub_publish(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position);


ngx_int_t
__wrap_ngx_centrifugo_hub_history(ngx_centrifugo_hub_t *hub,
    ngx_centrifugo_history_t *h)
{
    if (hook) {
        hook(hook_n++);
    }

    return __real_ngx_centrifugo_hub_history(hub, h);
}


ngx_int_t
__wrap_ngx_centrifugo_hub_publish(ngx_centrifugo_hub_t *hub,
    const ngx_centrifugo_hub_publication_t *pub,
    ngx_centrifugo_position_t *position)
{
    return forced != NGX_OK ? forced
           : __real_ngx_centrifugo_hub_publish(hub, pub, position);
}


ngx_centrifugo_channel_options_t *
ngx_centrifugo_conf_channel(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *channel)
{
    return channel->data[0] == '?' ? NULL : &options;
}


static ngx_inline uint64_t
number(uint64_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;

    return (seed >> 33) % n;
}


static ngx_inline void
worker(ngx_centrifugo_hub_conf_t *hcf)
{
    ngx_uint_t  slot;

    memset(hcf, 0, sizeof(*hcf));
    hcf->name = S("test");
    hcf->hub.shm = shm;
    hcf->hub.registry = reg;
    hcf->hub.slot = NGX_CENTRIFUGO_NO_SLOT;
    hcf->queue_max_size = 1024 * 1024;
    hcf->channel_position_check_delay = 40000;
    CHECK(ngx_centrifugo_broker_init(hcf) == NGX_OK);

    slot = ngx_centrifugo_registry_claim(reg, SLOTS);
    CHECK(slot < SLOTS);
    ngx_centrifugo_hub_enter(&hcf->hub, slot);
    ngx_centrifugo_registry_live(reg, slot);
}


static ngx_inline void
start(size_t log)
{
    u_char  key[32] = "0123456789abcdef0123456789abcde";

    ngx_current_msec = 1000;
    ((ngx_time_t *) ngx_cached_time)->sec = 1;
    stub_init();
    test_log.log_level = NGX_LOG_INFO;
    cycle.log = &test_log;
    ngx_cycle = &cycle;

    memset(&options, 0, sizeof(options));
    options.history_meta_ttl = META_TTL;

    reg = mmap(NULL, NGX_CENTRIFUGO_REGISTRY_SIZE, PROT_READ|PROT_WRITE,
               MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    CHECK(ngx_centrifugo_registry_init(reg) == NGX_OK);
    CHECK(ngx_centrifugo_registry_bells(reg, 8) == NGX_OK);

    shm = mmap(NULL, ZONE, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
               0);
    CHECK(ngx_centrifugo_hub_format(shm, ZONE, log, 64 * 1024, SLOTS, key)
          == shm);

    worker(&a);
    worker(&b);
}


static ngx_inline void
end(void)
{
    ngx_uint_t  i;

    free(answer.list);
    answer.list = NULL;

    ngx_centrifugo_broker_exit(&a);
    ngx_centrifugo_broker_exit(&b);
    ngx_centrifugo_registry_free(reg, a.hub.slot);
    ngx_centrifugo_registry_free(reg, b.hub.slot);

    for (i = 0; i < reg->nbells; i++) {
        (void) close(reg->bells[i].rd);
    }

    munmap(reg, NGX_CENTRIFUGO_REGISTRY_SIZE);
    munmap(shm, ZONE);
}


static ngx_inline void
answered(uint64_t handle, ngx_centrifugo_engine_rc_e rc,
    ngx_centrifugo_engine_result_t *result)
{
    size_t  len;

    CHECK(handle == 7);

    free(answer.list);
    answer.list = NULL;
    answer.n++;
    answer.rc = rc;
    memset(&answer.result, 0, sizeof(answer.result));

    if (result) {
        answer.result = *result;
        len = result->publications.len;
        answer.list = malloc(len ? len : 1);

        if (len) {
            memcpy(answer.list, result->publications.data, len);
        }

        answer.result.publications.data = answer.list;
    }
}


static ngx_centrifugo_completion_t  done = { answered, 7 };


/* A publication of a stream that keeps so many. */

static ngx_inline ngx_centrifugo_engine_rc_e
put(const ngx_str_t *channel, const ngx_str_t *data, ngx_uint_t size)
{
    ngx_centrifugo_publish_t  pub;

    memset(&pub, 0, sizeof(pub));
    pub.channel = *channel;
    pub.data = *data;
    pub.json = 1;
    pub.history_size = size;
    pub.history_ttl = META_TTL;
    pub.history_meta_ttl = META_TTL;

    answer.n = 0;
    ngx_centrifugo_engine_memory.publish(&b, &pub, &done);
    CHECK(answer.n == 1);

    return answer.rc;
}

#endif
