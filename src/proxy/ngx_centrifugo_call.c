/*
 * A call is a request without a client: a connection that has no descriptor, a
 * main request that is never answered, and one subrequest in memory to the
 * location.  NGINX does all the rest.
 */

#include "ngx_centrifugo_call.h"


#define CALL_POOL   256         /* of the connection: hardly anything uses it */
#define CALL_LOOK   1000        /* ms between looks at a call that is late */
#define CALL_HELD   1000        /* references no finalization gives back */


typedef struct {
    ngx_queue_t                  link;
    ngx_centrifugo_hub_conf_t   *hcf;
    ngx_centrifugo_called_t      done;

    ngx_connection_t             connection;
    ngx_event_t                  read;
    ngx_event_t                  write;
    ngx_log_t                    log;
    ngx_http_log_ctx_t           log_ctx;
    ngx_http_connection_t        hc;
    ngx_http_addr_conf_t         addr_conf;
    ngx_buf_t                    header_in;     /* empty */
    ngx_http_post_subrequest_t   post;

    ngx_http_request_t          *request;       /* NULL: freed */
    ngx_event_t                  timer;
    ngx_event_t                  end;           /* posted */

    ngx_centrifugo_call_rc_e     rc;
    ngx_uint_t                   status;
    ngx_str_t                    body;

    unsigned                     finished:1;    /* rc, status, body are set */
    unsigned                     told:1;        /* the caller knows */
    unsigned                     freeing:1;
} call_t;


static ngx_int_t call_connection(call_t *call,
    const ngx_centrifugo_call_client_t *client);
static ngx_int_t call_request(call_t *call,
    const ngx_centrifugo_call_t *args);
static ngx_int_t call_headers(ngx_http_request_t *r,
    const ngx_centrifugo_call_header_t *headers, ngx_uint_t n);
static ngx_int_t call_header(ngx_http_request_t *r, const ngx_str_t *name,
    const ngx_str_t *value);
static ngx_uint_t call_own_header(const ngx_str_t *name);
static void call_host(ngx_http_request_t *r, ngx_table_elt_t *h);
static ngx_int_t call_body(ngx_http_request_t *r, const ngx_str_t *body);
static ngx_int_t call_subrequest(call_t *call,
    const ngx_centrifugo_call_t *args);
static ngx_int_t call_subrequest_done(ngx_http_request_t *r, void *data,
    ngx_int_t rc);
static ngx_uint_t call_whole(ngx_http_request_t *r);
static void call_wake_handler(ngx_http_request_t *r);
static void call_end_handler(ngx_event_t *ev);
static void call_timer_handler(ngx_event_t *ev);
static void call_io_handler(ngx_event_t *ev);
static void call_tell(call_t *call, ngx_centrifugo_call_rc_e rc);
static void call_leave(call_t *call);
static void call_free(call_t *call);
static void call_pool_cleanup(void *data);
static void call_refuse(const ngx_centrifugo_called_t *done,
    ngx_centrifugo_call_rc_e rc);
static u_char *call_log_error(ngx_log_t *log, u_char *buf, size_t len);


static ngx_str_t  call_get = ngx_string("GET");
static ngx_str_t  call_post = ngx_string("POST");
static ngx_str_t  call_http = ngx_string("http");
static ngx_str_t  call_protocol = ngx_string("HTTP/1.1");
static ngx_str_t  call_localhost = ngx_string("localhost");
static ngx_str_t  call_address = ngx_string("127.0.0.1");
static ngx_str_t  call_host_name = ngx_string("Host");
static ngx_str_t  call_nothing = ngx_null_string;

/* made here, or of another connection */

static ngx_str_t  call_own_headers[] = {
    ngx_string("Host"),
    ngx_string("Connection"),
    ngx_string("Content-Length"),
    ngx_string("Transfer-Encoding"),
    ngx_string("TE"),
    ngx_string("Trailer"),
    ngx_string("Expect"),
    ngx_string("Upgrade"),
    ngx_string("Keep-Alive"),
    ngx_null_string
};

static ngx_queue_t         call_list;       /* of this worker */
static ngx_uint_t          call_count;
static ngx_uint_t          call_open;       /* between init and exit */
static ngx_listening_t     call_listening;
static struct sockaddr_in  call_sockaddr;   /* 127.0.0.1 */


void
ngx_centrifugo_call_init(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_listening_t  *ls;

    ngx_queue_init(&call_list);
    call_count = 0;
    call_open = 1;

    ngx_memzero(&call_sockaddr, sizeof(struct sockaddr_in));
    call_sockaddr.sin_family = AF_INET;
    call_sockaddr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {
        if (ls[i].handler == ngx_http_init_connection
            && (ls[i].sockaddr->sa_family == AF_INET
#if (NGX_HAVE_INET6)
                || ls[i].sockaddr->sa_family == AF_INET6
#endif
                ))
        {
            call_sockaddr.sin_port = htons(ngx_inet_get_port(ls[i].sockaddr));
            break;
        }
    }

    ngx_memzero(&call_listening, sizeof(ngx_listening_t));
    call_listening.fd = (ngx_socket_t) -1;
    call_listening.sockaddr = (struct sockaddr *) &call_sockaddr;
    call_listening.socklen = sizeof(struct sockaddr_in);
    call_listening.addr_text = call_address;
    call_listening.type = SOCK_STREAM;
    call_listening.log = *cycle->log;
}


void
ngx_centrifugo_call_exit(void)
{
    call_t  *call;

    if (!call_open) {
        return;
    }

    call_open = 0;

    while (!ngx_queue_empty(&call_list)) {
        call = ngx_queue_data(ngx_queue_head(&call_list), call_t, link);

        call_leave(call);
        call_tell(call, call->finished ? call->rc : NGX_CENTRIFUGO_CALL_EXIT);
        call_free(call);
    }
}


void
ngx_centrifugo_call(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_call_t *args, const ngx_centrifugo_called_t *done)
{
    call_t             *call;
    ngx_connection_t   *c;

    if (!call_open) {
        call_refuse(done, NGX_CENTRIFUGO_CALL_EXIT);
        return;
    }

    if (hcf->server == NULL) {
        call_refuse(done, NGX_CENTRIFUGO_CALL_ERROR);
        return;
    }

    if (call_count >= NGX_CENTRIFUGO_CALLS) {
        call_refuse(done, NGX_CENTRIFUGO_CALL_BUSY);
        return;
    }

    call = calloc(1, sizeof(call_t));
    if (call == NULL) {
        call_refuse(done, NGX_CENTRIFUGO_CALL_ERROR);
        return;
    }

    call->hcf = hcf;
    call->done = *done;

    ngx_queue_insert_tail(&call_list, &call->link);
    call_count++;

    if (call_connection(call, args->client) != NGX_OK
        || call_request(call, args) != NGX_OK
        || call_subrequest(call, args) != NGX_OK)
    {
        call_leave(call);
        call_tell(call, NGX_CENTRIFUGO_CALL_ERROR);
        call_free(call);
        return;
    }

    /*
     * The timer keeps no worker alive: while there is something to wait for
     * the upstream's own timers do.
     */

    call->timer.cancelable = 1;
    ngx_add_timer(&call->timer, args->timeout);

    c = &call->connection;
    ngx_http_run_posted_requests(c);
}


const char *
ngx_centrifugo_call_reason(ngx_centrifugo_call_rc_e rc)
{
    switch (rc) {

    case NGX_CENTRIFUGO_CALL_OK:
        return "answered";

    case NGX_CENTRIFUGO_CALL_CUT:
        return "the answer is cut or larger than "
               "subrequest_output_buffer_size";

    case NGX_CENTRIFUGO_CALL_TIMEOUT:
        return "no answer in time";

    case NGX_CENTRIFUGO_CALL_BUSY:
        return "too many calls are under way";

    case NGX_CENTRIFUGO_CALL_EXIT:
        return "the worker ends";

    default:
        return "the call could not be made";
    }
}


/*
 * Nothing of it may reach the event module or a system call: both of its
 * events are what they become when there is nothing to wait for.
 */

static ngx_int_t
call_connection(call_t *call, const ngx_centrifugo_call_client_t *client)
{
    u_char              *p;
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;

    call->end.handler = call_end_handler;
    call->end.data = call;
    call->end.log = ngx_cycle->log;

    call->timer.handler = call_timer_handler;
    call->timer.data = call;
    call->timer.log = ngx_cycle->log;

    c = &call->connection;

    c->pool = ngx_create_pool(CALL_POOL, ngx_cycle->log);
    if (c->pool == NULL) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = call_pool_cleanup;
    cln->data = call;

    c->fd = (ngx_socket_t) -1;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->start_time = ngx_current_msec;
    c->type = SOCK_STREAM;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->sndlowat = 1;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    c->listening = &call_listening;
    c->local_sockaddr = (struct sockaddr *) &call_sockaddr;
    c->local_socklen = sizeof(struct sockaddr_in);

    if (client && client->sockaddr) {
        p = ngx_palloc(c->pool, client->socklen + client->addr.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        c->sockaddr = (struct sockaddr *) p;
        c->socklen = client->socklen;
        c->addr_text.data = ngx_cpymem(p, client->sockaddr, client->socklen);
        c->addr_text.len = client->addr.len;

        if (client->addr.len) {
            ngx_memcpy(c->addr_text.data, client->addr.data,
                       client->addr.len);
        }

    } else {
        c->sockaddr = (struct sockaddr *) &call_sockaddr;
        c->socklen = sizeof(struct sockaddr_in);
        c->addr_text = call_address;
    }

    call->log = *ngx_cycle->log;
    call->log.connection = c->number;
    call->log.handler = call_log_error;
    call->log.data = &call->log_ctx;
    call->log.action = NULL;
    call->log_ctx.connection = c;

    c->log = &call->log;
    c->pool->log = c->log;
    c->log_error = NGX_ERROR_INFO;

    call->read.data = c;
    call->read.log = c->log;
    call->read.handler = call_io_handler;
    call->read.index = NGX_INVALID_INDEX;
    call->read.active = 1;

    call->write.data = c;
    call->write.log = c->log;
    call->write.handler = call_io_handler;
    call->write.index = NGX_INVALID_INDEX;
    call->write.write = 1;
    call->write.ready = 1;
    call->write.active = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? 1 : 0;

    c->read = &call->read;
    c->write = &call->write;

    call->addr_conf.default_server = call->hcf->server;
    call->hc.addr_conf = &call->addr_conf;
    call->hc.conf_ctx = call->hcf->server->ctx;

    c->buffer = &call->header_in;
    c->data = &call->hc;

    return NGX_OK;
}


static ngx_int_t
call_request(call_t *call, const ngx_centrifugo_call_t *args)
{
    u_char              *p;
    ngx_str_t            host;
    ngx_http_request_t  *r;

    r = ngx_http_create_request(&call->connection);
    if (r == NULL) {
        return NGX_ERROR;
    }

    call->request = r;
    call->connection.data = r;

#if (NGX_STAT_STUB)

    /* it is no client that sends its request */

    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    r->stat_reading = 0;

#endif

    r->logged = 1;
    r->read_event_handler = ngx_http_request_empty_handler;
    r->write_event_handler = call_wake_handler;

    r->method = args->method;
    r->method_name = (args->method == NGX_HTTP_POST) ? call_post : call_get;
    r->http_version = NGX_HTTP_VERSION_11;
    r->http_major = 1;
    r->http_minor = 1;
    r->http_protocol = call_protocol;
    r->schema = call_http;

    p = ngx_pnalloc(r->pool, r->method_name.len + 1 + args->uri.len + 1
                             + call_protocol.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    r->request_line.data = p;
    p = ngx_sprintf(p, "%V %V %V", &r->method_name, &args->uri,
                    &call_protocol);
    r->request_line.len = p - r->request_line.data;

    r->unparsed_uri.data = r->request_line.data + r->method_name.len + 1;
    r->unparsed_uri.len = args->uri.len;
    r->uri = r->unparsed_uri;

    if (ngx_list_init(&r->headers_in.headers, r->pool,
                      8 + args->nheaders
                      + (args->client ? args->client->nheaders : 0),
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (args->client && args->client->host.len) {
        host = args->client->host;

    } else {
        host = call->hcf->server->server_name;

        if (host.len == 0) {
            host = call_localhost;
        }
    }

    if (call_header(r, &call_host_name, &host) != NGX_OK
        || call_headers(r, args->headers, args->nheaders) != NGX_OK
        || (args->client
            && call_headers(r, args->client->headers, args->client->nheaders)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    return args->body ? call_body(r, args->body) : NGX_OK;
}


static ngx_int_t
call_headers(ngx_http_request_t *r,
    const ngx_centrifugo_call_header_t *headers, ngx_uint_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < n; i++) {
        if (!call_own_header(&headers[i].name)
            && call_header(r, &headers[i].name, &headers[i].value) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
call_own_header(const ngx_str_t *name)
{
    ngx_str_t  *own;

    for (own = call_own_headers; own->len; own++) {
        if (own->len == name->len
            && ngx_strncasecmp(own->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * NGINX's handlers of known headers finalize a request in which one comes
 * twice, and check a host: they see the first of each, and never the host.
 */

static ngx_int_t
call_header(ngx_http_request_t *r, const ngx_str_t *name,
    const ngx_str_t *value)
{
    void                       *field;
    u_char                     *p;
    ngx_table_elt_t            *h;
    ngx_http_header_t          *hh;
    ngx_http_core_main_conf_t  *cmcf;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* upstream modules read a zero behind a value */

    p = ngx_pnalloc(r->pool, 2 * name->len + value->len + 2);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h->lowcase_key = p;
    h->hash = ngx_hash_strlow(p, name->data, name->len);
    p += name->len;

    h->key.data = p;
    h->key.len = name->len;
    p = ngx_cpymem(p, name->data, name->len);
    *p++ = '\0';

    h->value.data = p;
    h->value.len = value->len;

    if (value->len) {
        p = ngx_cpymem(p, value->data, value->len);
    }

    *p = '\0';

    ngx_centrifugo_header_next(h);

    if (name == &call_host_name) {
        call_host(r, h);
        return NGX_OK;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    hh = ngx_hash_find(&cmcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);
    if (hh == NULL) {
        return NGX_OK;
    }

    field = *(void **) ((char *) &r->headers_in + hh->offset);

    return field ? NGX_OK : hh->handler(r, h, hh->offset);
}


/*
 * The name of the host is in front of its port.
 */

static void
call_host(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    u_char  *p, *last;

    r->headers_in.host = h;
    r->headers_in.server = h->value;

    last = h->value.data + h->value.len;

    p = ngx_strlchr(h->value.data, last, ']');
    p = ngx_strlchr(p ? p : h->value.data, last, ':');

    if (p) {
        r->headers_in.server.len = p - h->value.data;
    }
}


static ngx_int_t
call_body(ngx_http_request_t *r, const ngx_str_t *body)
{
    ngx_buf_t                *b;
    ngx_http_request_body_t  *rb;

    r->headers_in.content_length_n = body->len;

    rb = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    if (rb == NULL) {
        return NGX_ERROR;
    }

    r->request_body = rb;

    if (body->len == 0) {
        return NGX_OK;
    }

    b = ngx_create_temp_buf(r->pool, body->len);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, body->data, body->len);

    rb->bufs = ngx_alloc_chain_link(r->pool);
    if (rb->bufs == NULL) {
        return NGX_ERROR;
    }

    rb->bufs->buf = b;
    rb->bufs->next = NULL;
    rb->buf = b;

    return NGX_OK;
}


static ngx_int_t
call_subrequest(call_t *call, const ngx_centrifugo_call_t *args)
{
    ngx_str_t            uri, query;
    ngx_uint_t           flags;
    ngx_http_request_t  *r, *sr;

    r = call->request;
    uri = r->unparsed_uri;
    ngx_str_null(&query);
    flags = NGX_HTTP_LOG_UNSAFE;

    if (uri.len == 0 || uri.data[0] != '/'
        || ngx_http_parse_unsafe_uri(r, &uri, &query, &flags) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->uri = uri;
    r->args = query;

    call->post.handler = call_subrequest_done;
    call->post.data = call;

    if (ngx_http_subrequest(r, &uri, &query, &sr, &call->post,
                            NGX_HTTP_SUBREQUEST_IN_MEMORY)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sr->method = r->method;
    sr->method_name = r->method_name;

    return NGX_OK;
}


/*
 * Comes again if the subrequest was not at its end: a file is still read, or
 * a filter holds something back.
 */

static ngx_int_t
call_subrequest_done(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    call_t *call = data;

    ngx_connection_t  *c;

    c = r->connection;

    if ((rc == NGX_OK || rc == NGX_AGAIN) && !c->error
        && (r->buffered || r->postponed))
    {
        return NGX_OK;
    }

    if (!call->finished) {
        call->finished = 1;
        call->rc = NGX_CENTRIFUGO_CALL_OK;

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_HTTP_CREATED
            || rc == NGX_HTTP_NO_CONTENT)
        {
            /* NGINX's own answer, whose page was not made */

            call->status = rc;

        } else {
            call->status = r->headers_out.status;

            if (r->out) {
                call->body.data = r->out->buf->pos;
                call->body.len = r->out->buf->last - r->out->buf->pos;
            }

            if (rc != NGX_OK || c->error || !call_whole(r)) {
                call->rc = NGX_CENTRIFUGO_CALL_CUT;
            }
        }
    }

    /*
     * Whatever it was, the subrequest ends well for NGINX, which would close
     * the connection otherwise; nothing that a filter still has is waited for.
     */

    c->error = 0;
    c->timedout = 0;

    if (r->main->blocked == 0) {
        r->buffered = 0;
        r->postponed = NULL;
    }

    return NGX_OK;
}


/*
 * An answer of a backend that was cut off ends as well as a whole one.  The
 * length in its header does not count: a filter may have changed the body.
 */

static ngx_uint_t
call_whole(ngx_http_request_t *r)
{
    ngx_event_pipe_t     *p;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u == NULL || !u->header_sent || r->header_only) {
        return 1;
    }

#if (NGX_HTTP_CACHE)

    if (r->cached) {
        return 1;
    }

#endif

    if (!u->buffering) {

        /* without a length its end looks like an error */

        return u->length == 0;
    }

    p = u->pipe;

    return p->upstream_done
           || (p->upstream_eof && p->length == -1 && !p->upstream_error);
}


/*
 * The main request is woken: the subrequest is over.  The handlers that are
 * running go on to use both.
 */

static void
call_wake_handler(ngx_http_request_t *r)
{
    call_t            *call;
    ngx_connection_t  *c;

    c = r->connection;
    call = (call_t *) ((u_char *) c - offsetof(call_t, connection));

    ngx_post_event(&call->end, &ngx_posted_events);
}


static void
call_end_handler(ngx_event_t *ev)
{
    call_t  *call;

    call = ev->data;

    call_leave(call);
    call_tell(call, call->finished ? call->rc : NGX_CENTRIFUGO_CALL_ERROR);
    call_free(call);
}


static void
call_timer_handler(ngx_event_t *ev)
{
    call_t  *call;

    call = ev->data;

    if (call->end.posted) {
        return;
    }

    call_tell(call, NGX_CENTRIFUGO_CALL_TIMEOUT);

    /*
     * The backend may finish what it does, but not keep a worker alive whose
     * time is over.
     */

    if (ngx_exiting && call->request && call->request->blocked == 0) {
        call_leave(call);
        call_free(call);
        return;
    }

    ngx_add_timer(ev, CALL_LOOK);
}


/*
 * For a handler that NGINX has set as if there were a client: a file that was
 * read meanwhile, or a timer.
 */

static void
call_io_handler(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_set_log_request(c->log, r);

    /* the time of a delay is over, as of limit_req */

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


static void
call_tell(call_t *call, ngx_centrifugo_call_rc_e rc)
{
    if (call->told) {
        return;
    }

    call->told = 1;

    call->done.handler(call->done.data, rc, call->status,
                       rc == NGX_CENTRIFUGO_CALL_OK ? &call->body
                                                    : &call_nothing);
}


static void
call_leave(call_t *call)
{
    ngx_queue_remove(&call->link);
    call_count--;

    if (call->timer.timer_set) {
        ngx_del_timer(&call->timer);
    }

    if (call->end.posted) {
        ngx_delete_posted_event(&call->end);
    }
}


/*
 * The request may be at work: its cleanups then close what it has open, as
 * they do when a client goes away.
 */

static void
call_free(call_t *call)
{
    ngx_connection_t  *c;

    c = &call->connection;
    call->freeing = 1;

    if (call->request) {
        c->timedout = 0;

        /* an upstream that ends must not end the request as well */

        call->request->count += CALL_HELD;

        ngx_http_free_request(call->request, 0);
    }

    if (call->read.timer_set) {
        ngx_del_timer(&call->read);
    }

    if (call->write.timer_set) {
        ngx_del_timer(&call->write);
    }

    if (call->read.posted) {
        ngx_delete_posted_event(&call->read);
    }

    if (call->write.posted) {
        ngx_delete_posted_event(&call->write);
    }

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    free(call);
}


/*
 * NGINX has closed the connection itself, which happens without memory only.
 */

static void
call_pool_cleanup(void *data)
{
    call_t *call = data;

    if (call->freeing) {
        return;
    }

    call->request = NULL;
    call->connection.pool = NULL;

    ngx_post_event(&call->end, &ngx_posted_events);
}


static void
call_refuse(const ngx_centrifugo_called_t *done, ngx_centrifugo_call_rc_e rc)
{
    done->handler(done->data, rc, 0, &call_nothing);
}


static u_char *
call_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    call_t              *call;
    ngx_http_request_t  *r;

    p = buf;
    call = (call_t *) ((u_char *) log->data - offsetof(call_t, log_ctx));

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
    }

    p = ngx_snprintf(p, len - (p - buf), ", call of hub \"%V\"",
                     &call->hcf->name);

    r = call->log_ctx.request;

    return r ? r->log_handler(r, call->log_ctx.current_request, p,
                              len - (p - buf))
             : p;
}
