/*
 * What only the test build has: late answers, small rings, kills, wipes,
 * fetches, and an echo for WebSocket compliance suites.
 */

#ifndef _NGX_CENTRIFUGO_TEST_H_INCLUDED_
#define _NGX_CENTRIFUGO_TEST_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


#define NGX_CENTRIFUGO_ECHO_LIMIT  (16 * 1024 * 1024)

#define NGX_CENTRIFUGO_TEST_COMMANDS                                         \
                                                                             \
    { ngx_string("centrifugo_test_kill"),                                    \
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,                                     \
      ngx_centrifugo_test_kill, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL },        \
                                                                             \
    HUB_TIME("test_engine_delay", test_engine_delay,                         \
             &ngx_centrifugo_drain_bounds),                                  \
    HUB_TIME("test_handshake_delay", test_handshake_delay,                   \
             &ngx_centrifugo_drain_bounds),                                  \
    HUB_TIME("test_auth_delay", verifier.delay,                              \
             &ngx_centrifugo_drain_bounds),                                  \
    HUB_SIZE("test_log", test_log, &ngx_centrifugo_test_ring_bounds),        \
    HUB_SIZE("test_control", test_control,                                   \
             &ngx_centrifugo_test_ring_bounds),                              \
                                                                             \
    LOCATION("centrifugo_test_wipe", &ngx_centrifugo_test_wipe_endpoint),    \
    LOCATION("centrifugo_test_ask", &ngx_centrifugo_test_ask_endpoint),      \
    LOCATION("centrifugo_test_fetch", &ngx_centrifugo_test_fetch_endpoint),  \
    LOCATION("centrifugo_test_call", &ngx_centrifugo_test_call_endpoint),    \
    LOCATION("centrifugo_ws_echo", &ngx_centrifugo_test_echo_endpoint),


extern ngx_centrifugo_bounds_t    ngx_centrifugo_test_ring_bounds;
extern ngx_centrifugo_endpoint_t  ngx_centrifugo_test_wipe_endpoint;
extern ngx_centrifugo_endpoint_t  ngx_centrifugo_test_ask_endpoint;
extern ngx_centrifugo_endpoint_t  ngx_centrifugo_test_echo_endpoint;
extern ngx_centrifugo_endpoint_t  ngx_centrifugo_test_fetch_endpoint;
extern ngx_centrifugo_endpoint_t  ngx_centrifugo_test_call_endpoint;


/* centrifugo_test_kill POINT N: the Nth of all workers that passes it. */
char *ngx_centrifugo_test_kill(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Defaults of a hub's test directives, after its block was read. */
void ngx_centrifugo_test_init_hub(ngx_centrifugo_hub_conf_t *hcf);

/* Arms the kill and takes requests, at the start of a worker. */
void ngx_centrifugo_test_init_worker(ngx_centrifugo_main_conf_t *mcf);

/* The hub's engine behind a delay, if one is configured. */
const void *ngx_centrifugo_test_engine(ngx_centrifugo_hub_conf_t *hcf,
    const void *engine);


#endif /* _NGX_CENTRIFUGO_TEST_H_INCLUDED_ */
