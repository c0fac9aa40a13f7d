#include "ngx_centrifugo_test.h"
#include "../core/ngx_centrifugo_fault.h"
#include "../api/ngx_centrifugo_http.h"
#include "../broker/ngx_centrifugo_request.h"
#include "../client/ngx_centrifugo_worker.h"
#include "../transport/ngx_centrifugo_ws.h"


#define TEST_ECHO     0         /* kind of request */
#define TEST_TIMEOUT  2000      /* ms */


typedef struct {
    ngx_http_request_t         *r;
    ngx_uint_t                  answers;
    ngx_uint_t                  same;
    ngx_str_t                   data;
} test_ask_t;


static ngx_int_t test_wipe_handler(ngx_http_request_t *r);
static ngx_int_t test_ask_handler(ngx_http_request_t *r);
static void test_ask_answer(uint64_t handle, ngx_uint_t slot,
    const ngx_str_t *data);
static void test_ask_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc);
static void test_echo(ngx_centrifugo_request_t *request);
static ngx_int_t test_argument(ngx_http_request_t *r, const char *name);


ngx_centrifugo_bounds_t  ngx_centrifugo_test_ring_bounds = {
    4096, 64 * 1024 * 1024, "a size from 4k", 0
};

ngx_centrifugo_endpoint_t  ngx_centrifugo_test_wipe_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_TEST, test_wipe_handler
};

ngx_centrifugo_endpoint_t  ngx_centrifugo_test_ask_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_TEST, test_ask_handler
};

ngx_centrifugo_endpoint_t  ngx_centrifugo_test_echo_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_ECHO, ngx_centrifugo_ws_handler
};


static ngx_uint_t  test_point = NGX_CENTRIFUGO_POINT_N;
static ngx_int_t   test_nth;


char *
ngx_centrifugo_test_kill(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 0; ngx_centrifugo_fault_name(i); i++) {
        if (ngx_strcmp(ngx_centrifugo_fault_name(i), value[1].data) == 0) {
            break;
        }
    }

    test_nth = ngx_atoi(value[2].data, value[2].len);

    if (i == NGX_CENTRIFUGO_POINT_N || test_nth == NGX_ERROR) {
        return "has an unknown point or no number";
    }

    test_point = i;

    return NGX_CONF_OK;
}


void
ngx_centrifugo_test_init_worker(ngx_centrifugo_main_conf_t *mcf)
{
    ngx_centrifugo_request_handler(TEST_ECHO, test_echo);

    ngx_centrifugo_fault_arm(test_point, test_nth, &mcf->registry->test);
}


/*
 * ?shard=N is wiped; without it all are.
 */

static ngx_int_t
test_wipe_handler(ngx_http_request_t *r)
{
    ngx_int_t                   shard;
    ngx_centrifugo_loc_conf_t  *lcf;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_ERROR;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    shard = test_argument(r, "shard");

    ngx_centrifugo_hub_test_wipe(&lcf->hub->hub,
                                 shard == NGX_ERROR ? NGX_CENTRIFUGO_TO_ALL
                                                    : (ngx_uint_t) shard);
    ngx_centrifugo_worker_wake(lcf->hub);

    return ngx_centrifugo_http_respond(r, NGX_HTTP_OK, "text/plain",
                                       (u_char *) "ok\n", 3);
}


/*
 * Asks all workers to send ?size=N bytes back; answers "OK|RETRY answers".
 */

static ngx_int_t
test_ask_handler(ngx_http_request_t *r)
{
    ngx_int_t                   size;
    ngx_uint_t                  i;
    test_ask_t                 *ask;
    ngx_centrifugo_asker_t      asker;
    ngx_centrifugo_loc_conf_t  *lcf;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_ERROR;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    size = test_argument(r, "size");
    size = ngx_max(size, 0);

    ask = ngx_pcalloc(r->pool, sizeof(test_ask_t) + size);
    if (ask == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ask->r = r;
    ask->data.data = (u_char *) (ask + 1);
    ask->data.len = size;

    for (i = 0; i < ask->data.len; i++) {
        ask->data.data[i] = (u_char) (i * 7);
    }

    asker.answer = test_ask_answer;
    asker.done = test_ask_done;
    asker.handle = (uint64_t) (uintptr_t) ask;

    r->main->count++;

    ngx_centrifugo_request_send(lcf->hub, NGX_CENTRIFUGO_TO_ALL, 0, TEST_ECHO,
                                &ask->data, TEST_TIMEOUT, &asker);
    ngx_centrifugo_worker_wake(lcf->hub);

    return NGX_DONE;
}


static void
test_ask_answer(uint64_t handle, ngx_uint_t slot, const ngx_str_t *data)
{
    test_ask_t  *ask;

    ask = (test_ask_t *) (uintptr_t) handle;
    ask->answers++;

    if (data->len == ask->data.len
        && ngx_memcmp(data->data, ask->data.data, data->len) == 0)
    {
        ask->same++;
    }
}


static void
test_ask_done(uint64_t handle, ngx_centrifugo_engine_rc_e rc)
{
    u_char            *p, text[64];
    test_ask_t        *ask;
    ngx_connection_t  *c;

    ask = (test_ask_t *) (uintptr_t) handle;
    c = ask->r->connection;

    p = ngx_sprintf(text, "%s %ui %ui\n",
                    rc == NGX_CENTRIFUGO_ENGINE_OK ? "OK" : "RETRY",
                    ask->answers, ask->same);

    ngx_http_finalize_request(ask->r,
                              ngx_centrifugo_http_respond(ask->r, NGX_HTTP_OK,
                                                          "text/plain", text,
                                                          p - text));
    ngx_http_run_posted_requests(c);
}


static void
test_echo(ngx_centrifugo_request_t *request)
{
    ngx_centrifugo_request_answer(request, &request->data);
}


static ngx_int_t
test_argument(ngx_http_request_t *r, const char *name)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_atoi(value.data, value.len);
}
