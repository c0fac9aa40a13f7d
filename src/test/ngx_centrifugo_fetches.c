/*
 * Calls to a backend, made and judged for a test.
 */

#include "ngx_centrifugo_test.h"
#include "../api/ngx_centrifugo_http.h"
#include "../proxy/ngx_centrifugo_call.h"
#include "../proxy/ngx_centrifugo_fetch.h"


typedef struct {
    ngx_http_request_t           *r;
    ngx_centrifugo_hub_conf_t    *hcf;
    ngx_str_t                     uri;
    ngx_uint_t                    all;      /* to be made */
    ngx_uint_t                    begun;
    ngx_uint_t                    ended;
    ngx_uint_t                    ok;
    ngx_uint_t                    busy;
    size_t                        bytes;    /* of the last body */
    ngx_uint_t                    status;
    ngx_centrifugo_call_rc_e      rc;
    ngx_str_t                     body;
    ngx_msec_t                    start;
    ngx_event_t                   next;     /* posted */
    ngx_uint_t                    in_line;  /* one after another */
    ngx_uint_t                    broken;   /* the client is gone */
} fetches_t;


static ngx_int_t fetches_handler(ngx_http_request_t *r);
static void fetches_cleanup(void *data);
static void fetches_next(ngx_event_t *ev);
static void fetches_fetched(void *data, ngx_int_t rc, const ngx_str_t *body);
static void fetches_ended(fetches_t *f);
static ngx_int_t fetches_call_handler(ngx_http_request_t *r);
static void fetches_called(void *data, ngx_centrifugo_call_rc_e rc,
    ngx_uint_t status, const ngx_str_t *body);
static fetches_t *fetches_create(ngx_http_request_t *r);
static void fetches_answer(fetches_t *f, u_char *text, size_t len);
static ngx_int_t fetches_number(ngx_http_request_t *r, const char *name,
    ngx_int_t value);


ngx_centrifugo_endpoint_t  ngx_centrifugo_test_fetch_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_TEST, fetches_handler
};

ngx_centrifugo_endpoint_t  ngx_centrifugo_test_call_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_TEST, fetches_call_handler
};


/*
 * Fetches ?uri=..., &n=N times at once, or one after another with &line=1.
 * Answers "N good, bytes of the last, ms".
 */

static ngx_int_t
fetches_handler(ngx_http_request_t *r)
{
    fetches_t  *f;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_ERROR;
    }

    f = fetches_create(r);
    if (f == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    f->all = fetches_number(r, "n", 1);
    f->in_line = fetches_number(r, "line", 0);

    r->main->count++;
    ngx_post_event(&f->next, &ngx_posted_events);

    return NGX_DONE;
}


static fetches_t *
fetches_create(ngx_http_request_t *r)
{
    u_char                     *src, *dst;
    ngx_str_t                   value;
    fetches_t                  *f;
    ngx_http_cleanup_t         *cln;
    ngx_centrifugo_loc_conf_t  *lcf;

    if (ngx_http_arg(r, (u_char *) "uri", 3, &value) != NGX_OK) {
        ngx_str_null(&value);
    }

    /* not of the request's pool: the client may go before its fetches end */

    f = calloc(1, sizeof(fetches_t) + value.len);
    if (f == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        free(f);
        return NULL;
    }

    cln->handler = fetches_cleanup;
    cln->data = f;

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    f->r = r;
    f->hcf = lcf->hub;
    f->start = ngx_current_msec;
    f->next.handler = fetches_next;
    f->next.data = f;
    f->next.log = ngx_cycle->log;

    f->uri.data = (u_char *) (f + 1);
    dst = f->uri.data;
    src = value.data;
    ngx_unescape_uri(&dst, &src, value.len, 0);
    f->uri.len = dst - f->uri.data;

    return f;
}


static void
fetches_cleanup(void *data)
{
    fetches_t *f = data;

    f->broken = 1;
    f->r = NULL;

    if (f->next.posted) {
        ngx_delete_posted_event(&f->next);
    }

    if (f->ended == f->begun) {
        free(f);
    }
}


static void
fetches_next(ngx_event_t *ev)
{
    fetches_t                 *f;
    ngx_uint_t                 n;
    ngx_centrifugo_fetched_t   done;

    f = ev->data;

    done.handler = fetches_fetched;
    done.data = f;

    n = f->in_line ? 1 : f->all;

    /* some end at once, and the last of all ends the rest */

    f->begun += n;

    while (n--) {
        ngx_centrifugo_fetch(f->hcf, &f->uri, &done);
    }
}


static void
fetches_fetched(void *data, ngx_int_t rc, const ngx_str_t *body)
{
    fetches_t *f = data;

    f->ended++;
    f->bytes = body->len;

    if (rc == NGX_OK) {
        f->ok++;
    }

    if (f->broken) {
        if (f->ended == f->begun) {
            free(f);
        }

        return;
    }

    if (f->ended == f->all) {
        fetches_ended(f);

    } else if (f->in_line) {
        ngx_post_event(&f->next, &ngx_posted_next_events);
    }
}


static void
fetches_ended(fetches_t *f)
{
    u_char  *p, text[128];

    ngx_time_update();

    p = ngx_sprintf(text, "%ui %uz %M\n", f->ok, f->bytes,
                    ngx_current_msec - f->start);

    fetches_answer(f, text, p - text);
}


static void
fetches_answer(fetches_t *f, u_char *text, size_t len)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = f->r;
    c = r->connection;

    ngx_http_finalize_request(r, ngx_centrifugo_http_respond(r, NGX_HTTP_OK,
                                                             "text/plain",
                                                             text, len));
    ngx_http_run_posted_requests(c);
}


/*
 * A POST of ?body=N bytes (GET without) to ?uri=..., &client=1 on behalf of a
 * made-up client, &ms=N.  Answers "rc status bytes", and the body behind it.
 */

static ngx_int_t
fetches_call_handler(ngx_http_request_t *r)
{
    u_char                         bytes[8192];
    ngx_int_t                      size;
    ngx_str_t                      body;
    fetches_t                     *f;
    struct sockaddr_in             sin;
    ngx_centrifugo_call_t          call;
    ngx_centrifugo_called_t        called;
    ngx_centrifugo_call_client_t   client;

    static ngx_centrifugo_call_header_t  headers[] = {
        { ngx_string("Content-Type"), ngx_string("application/json") },
        { ngx_string("X-Call"), ngx_string("one") },
        { ngx_string("Content-Length"), ngx_string("7") }
    };

    static ngx_centrifugo_call_header_t  of_client[] = {
        { ngx_string("Cookie"), ngx_string("a=b") },
        { ngx_string("Cookie"), ngx_string("c=d") },
        { ngx_string("Authorization"), ngx_string("Bearer x") },
        { ngx_string("Authorization"), ngx_string("Bearer y") },
        { ngx_string("X-Forwarded-For"), ngx_string("192.0.2.7") },
        { ngx_string("User-Agent"), ngx_string("Mozilla/5.0") },
        { ngx_string("hOsT"), ngx_string("evil.example") },
        { ngx_string("Upgrade"), ngx_string("websocket") },
        { ngx_string("X-Empty"), ngx_null_string }
    };

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_ERROR;
    }

    f = fetches_create(r);
    if (f == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    f->all = 1;
    f->begun = 1;

    ngx_memzero(&call, sizeof(ngx_centrifugo_call_t));

    call.method = NGX_HTTP_GET;
    call.uri = f->uri;
    call.headers = headers;
    call.nheaders = 3;
    call.timeout = fetches_number(r, "ms", 2000);

    size = fetches_number(r, "body", -1);

    if (size >= 0) {
        body.len = ngx_min((size_t) size, sizeof(bytes));
        body.data = bytes;
        ngx_memset(bytes, 'b', body.len);

        call.method = NGX_HTTP_POST;
        call.body = &body;
    }

    if (fetches_number(r, "client", 0)) {
        ngx_memzero(&sin, sizeof(struct sockaddr_in));
        sin.sin_family = AF_INET;
        sin.sin_port = htons(4321);
        sin.sin_addr.s_addr = htonl(0xc0000201);

        client.sockaddr = (struct sockaddr *) &sin;
        client.socklen = sizeof(struct sockaddr_in);
        ngx_str_set(&client.addr, "192.0.2.1");
        ngx_str_set(&client.host, "chat.example.com:8443");
        client.headers = of_client;
        client.nheaders = sizeof(of_client) / sizeof(of_client[0]);

        call.client = &client;
    }

    called.handler = fetches_called;
    called.data = f;

    r->main->count++;

    ngx_centrifugo_call(f->hcf, &call, &called);

    return NGX_DONE;
}


static void
fetches_called(void *data, ngx_centrifugo_call_rc_e rc, ngx_uint_t status,
    const ngx_str_t *body)
{
    fetches_t *f = data;

    u_char  *p, *text;

    f->ended = 1;

    if (f->broken) {
        free(f);
        return;
    }

    text = ngx_pnalloc(f->r->pool, 64 + body->len);
    if (text == NULL) {
        return;
    }

    p = ngx_sprintf(text, "%i %ui %uz\n%V", (ngx_int_t) rc, status, body->len,
                    body);

    fetches_answer(f, text, p - text);
}


static ngx_int_t
fetches_number(ngx_http_request_t *r, const char *name, ngx_int_t value)
{
    ngx_int_t  n;
    ngx_str_t  arg;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) != NGX_OK) {
        return value;
    }

    n = ngx_atoi(arg.data, arg.len);

    return (n == NGX_ERROR) ? value : n;
}
