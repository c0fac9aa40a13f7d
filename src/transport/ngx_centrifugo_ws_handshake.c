/*
 * The handshake, and the way from an NGINX request to a session of its own:
 * the 101 goes through NGINX's header filter, then request and buffers are
 * freed and only the connection is left.
 */

#include "ngx_centrifugo_ws.h"
#include "ngx_centrifugo_ws_extension.h"
#include "ngx_centrifugo_cors.h"
#include "../client/ngx_centrifugo_worker.h"


typedef struct {
    ngx_str_t        upgrade;
    ngx_str_t        connection;
    ngx_str_t        key;
    ngx_str_t        version;
    ngx_str_t        protocol;
    ngx_str_t        extensions;
    ngx_str_t        origin;            /* data NULL: absent */
    ngx_uint_t       keys;
} handshake_t;

typedef struct {
    ngx_event_t                 event;
    ngx_http_request_t         *request;
    ngx_centrifugo_loc_conf_t  *lcf;
} handshake_detach_t;


static void handshake_warn(ngx_http_request_t *r);
static void handshake_read(ngx_http_request_t *r, handshake_t *h);
static void handshake_join(ngx_http_request_t *r, ngx_str_t *field,
    ngx_str_t *value);
static ngx_uint_t handshake_has_token(const ngx_str_t *list,
    const char *token, size_t len);
static ngx_int_t handshake_next_token(ngx_str_t *list, ngx_str_t *token);
static void handshake_protocol(ngx_http_request_t *r, const handshake_t *h,
    ngx_str_t *protocol, ngx_centrifugo_admission_t *admission);
static ngx_uint_t handshake_arg(ngx_http_request_t *r, const char *name,
    const char *value);
static ngx_int_t handshake_refuse(ngx_http_request_t *r, ngx_uint_t status,
    const char *name, const char *value, const char *text);
static ngx_int_t handshake_accept(ngx_http_request_t *r, u_char *accept,
    ngx_str_t *protocol, const char *extension);
static void handshake_write_handler(ngx_http_request_t *r);
static ngx_int_t handshake_post(ngx_http_request_t *r);
static void handshake_detach_cleanup(void *data);
static void handshake_detach_handler(ngx_event_t *ev);
static void handshake_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);


static const ngx_str_t  handshake_json = ngx_string("centrifuge-json");
static const ngx_str_t  handshake_protobuf =
                                       ngx_string("centrifuge-protobuf");


ngx_int_t
ngx_centrifugo_ws_handler(ngx_http_request_t *r)
{
    u_char                      accept[28];
    ngx_int_t                   rc;
    ngx_str_t                   protocol;
    handshake_t                 h;
    const char                 *why, *extension;
    ngx_centrifugo_hub_conf_t  *hcf;
    ngx_centrifugo_loc_conf_t  *lcf;
    ngx_centrifugo_admission_t *admission;

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    hcf = lcf->hub;

    if (r->method == NGX_HTTP_OPTIONS) {
        return ngx_centrifugo_cors_preflight(r, hcf, "GET, OPTIONS");
    }

    if (r->method != NGX_HTTP_GET) {
        return handshake_refuse(r, NGX_HTTP_NOT_ALLOWED, "Allow", "GET",
                                "A WebSocket handshake is a GET request.\n");
    }

    if (r->http_version != NGX_HTTP_VERSION_11 || r != r->main) {
        return handshake_refuse(r, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                               "A WebSocket handshake needs HTTP/1.1.\n");
    }

    handshake_read(r, &h);

    if (!handshake_has_token(&h.upgrade, "websocket", 9)) {
        return handshake_refuse(r, 426, "Upgrade", "websocket",
                                "This location speaks WebSocket only.\n");
    }

    if (!handshake_has_token(&h.connection, "upgrade", 7)) {
        return handshake_refuse(r, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                "The Connection header lacks \"upgrade\".\n");
    }

    if (h.keys != 1 || ngx_centrifugo_ws_accept(&h.key, accept) != NGX_OK) {
        return handshake_refuse(r, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                "Sec-WebSocket-Key is not the base64 form of "
                                "16 bytes.\n");
    }

    if (h.version.len != 2 || ngx_strncmp(h.version.data, "13", 2) != 0) {
        return handshake_refuse(r, 426, "Sec-WebSocket-Version", "13",
                                "Only version 13 of WebSocket is spoken "
                                "here.\n");
    }

    if (ngx_centrifugo_origin_check(hcf->allowed_origins,
                                    h.origin.data ? &h.origin : NULL)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "centrifugo: origin \"%V\" is not among "
                      "allowed_origins of hub \"%V\"", &h.origin, &hcf->name);

        return handshake_refuse(r, NGX_HTTP_FORBIDDEN, NULL, NULL,
                                "Pages of this origin may not connect.\n");
    }

    extension = NULL;

    if (hcf->websocket_compression && h.extensions.len
        && ngx_centrifugo_ws_deflate_offered(&h.extensions, &extension)
           == NGX_ERROR)
    {
        return handshake_refuse(r, NGX_HTTP_BAD_REQUEST, NULL, NULL,
                                "Sec-WebSocket-Extensions is not a list of "
                                "extensions.\n");
    }

    rc = ngx_centrifugo_admit(r, lcf, &admission, &why);

    if (rc != NGX_OK) {
        return handshake_refuse(r, rc, NULL, NULL, why);
    }

    ngx_http_set_ctx(r, admission, ngx_centrifugo_module);

    handshake_protocol(r, &h, &protocol, admission);
    admission->deflate = (extension != NULL);

    rc = handshake_accept(r, accept, &protocol, extension);

    if (rc != NGX_OK) {
        return rc;
    }

    handshake_warn(r);

    r->main->count++;

    if (r->connection->buffered) {

        /* the response waits for the socket, and the session with it */

        r->write_event_handler = handshake_write_handler;

        if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
            r->main->count--;
            return NGX_ERROR;
        }

        return NGX_DONE;
    }

    if (handshake_post(r) != NGX_OK) {
        r->main->count--;
        return NGX_ERROR;
    }

    return NGX_DONE;
}


/*
 * limit_conn counts a request until it ends, which is now.
 */

static void
handshake_warn(ngx_http_request_t *r)
{
    static ngx_uint_t  warned;

    if (warned || r->limit_conn_status == 0) {
        return;
    }

    warned = 1;

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "centrifugo: limit_conn does not count WebSocket sessions, "
                  "use connection_limit of the hub");
}


static void
handshake_read(ngx_http_request_t *r, handshake_t *h)
{
    ngx_uint_t        i;
    ngx_str_t        *field;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *elt;

    ngx_memzero(h, sizeof(handshake_t));

    part = &r->headers_in.headers.part;
    elt = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            elt = part->elts;
            i = 0;
        }

        field = NULL;

        switch (elt[i].key.len) {

        case 6:
            if (ngx_strncmp(elt[i].lowcase_key, "origin", 6) == 0) {
                field = &h->origin;
            }
            break;

        case 7:
            if (ngx_strncmp(elt[i].lowcase_key, "upgrade", 7) == 0) {
                field = &h->upgrade;
            }
            break;

        case 10:
            if (ngx_strncmp(elt[i].lowcase_key, "connection", 10) == 0) {
                field = &h->connection;
            }
            break;

        case 17:
            if (ngx_strncmp(elt[i].lowcase_key, "sec-websocket-key", 17)
                == 0)
            {
                field = &h->key;
                h->keys++;
            }
            break;

        case 21:
            if (ngx_strncmp(elt[i].lowcase_key, "sec-websocket-version", 21)
                == 0)
            {
                field = &h->version;
            }
            break;

        case 22:
            if (ngx_strncmp(elt[i].lowcase_key, "sec-websocket-protocol", 22)
                == 0)
            {
                field = &h->protocol;
            }
            break;

        case 24:
            if (ngx_strncmp(elt[i].lowcase_key, "sec-websocket-extensions",
                            24)
                == 0)
            {
                field = &h->extensions;
            }
            break;
        }

        if (field == NULL) {
            continue;
        }

        if (field->data == NULL) {
            *field = elt[i].value;

        } else if (field == &h->connection || field == &h->protocol
                   || field == &h->extensions)
        {
            handshake_join(r, field, &elt[i].value);
        }
    }
}


/*
 * A header that comes twice is one list.
 */

static void
handshake_join(ngx_http_request_t *r, ngx_str_t *field, ngx_str_t *value)
{
    u_char  *p;
    size_t   len;

    len = field->len + 1 + value->len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return;
    }

    ngx_sprintf(p, "%V,%V", field, value);

    field->data = p;
    field->len = len;
}


/*
 * Whether a comma-separated list holds a token, in any case.
 */

static ngx_uint_t
handshake_has_token(const ngx_str_t *list, const char *token, size_t len)
{
    ngx_str_t  rest, next;

    rest = *list;

    while (handshake_next_token(&rest, &next) == NGX_OK) {
        if (next.len == len
            && ngx_strncasecmp(next.data, (u_char *) token, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
handshake_next_token(ngx_str_t *list, ngx_str_t *token)
{
    u_char  *p, *end, *last;

    p = list->data;
    end = p + list->len;

    while (p < end && (*p == ' ' || *p == '\t' || *p == ',')) {
        p++;
    }

    if (p == end) {
        return NGX_DONE;
    }

    token->data = p;

    while (p < end && *p != ',') {
        p++;
    }

    last = p;

    while (last > token->data && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    token->len = last - token->data;

    list->data = p;
    list->len = end - p;

    return NGX_OK;
}


/*
 * The first subprotocol that is known is the answer, and the encoding, unless
 * the query wants Protobuf.
 */

static void
handshake_protocol(ngx_http_request_t *r, const handshake_t *h,
    ngx_str_t *protocol, ngx_centrifugo_admission_t *admission)
{
    ngx_str_t   rest, token;
    ngx_uint_t  protobuf;

    rest = h->protocol;
    protobuf = 0;

    ngx_str_null(protocol);

    while (handshake_next_token(&rest, &token) == NGX_OK) {

        if (token.len == handshake_json.len
            && ngx_memcmp(token.data, handshake_json.data, token.len) == 0)
        {
            *protocol = handshake_json;
            break;
        }

        if (token.len == handshake_protobuf.len
            && ngx_memcmp(token.data, handshake_protobuf.data, token.len) == 0)
        {
            *protocol = handshake_protobuf;
            protobuf = 1;
            break;
        }
    }

    if (protobuf || handshake_arg(r, "format", "protobuf")
        || handshake_arg(r, "cf_protocol", "protobuf"))
    {
        admission->codec = &ngx_centrifugo_codec_protobuf;
    }

    admission->frame_pings = handshake_arg(r, "cf_ws_frame_ping_pong", "true");
}


static ngx_uint_t
handshake_arg(ngx_http_request_t *r, const char *name, const char *value)
{
    ngx_str_t  arg;

    return ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) == NGX_OK
           && arg.len == ngx_strlen(value)
           && ngx_memcmp(arg.data, value, arg.len) == 0;
}


static ngx_int_t
handshake_refuse(ngx_http_request_t *r, ngx_uint_t status, const char *name,
    const char *value, const char *text)
{
    ngx_int_t                   rc;
    ngx_buf_t                  *b;
    ngx_chain_t                 out;
    ngx_centrifugo_loc_conf_t  *lcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);

    if (ngx_centrifugo_cors(r, lcf->hub) == NGX_ERROR
        || (name
            && ngx_centrifugo_cors_header(r, name, (u_char *) value,
                                          ngx_strlen(value))
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = status;

    if (status == 426) {
        ngx_str_set(&r->headers_out.status_line, "426 Upgrade Required");
    }

    ngx_str_set(&r->headers_out.content_type, "text/plain");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_length_n = ngx_strlen(text);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) text;
    b->last = b->pos + ngx_strlen(text);
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
handshake_accept(ngx_http_request_t *r, u_char *accept, ngx_str_t *protocol,
    const char *extension)
{
    u_char     *p;
    ngx_int_t   rc;

    p = ngx_pnalloc(r->pool, 28);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(p, accept, 28);

    if (ngx_centrifugo_cors_header(r, "Upgrade", (u_char *) "websocket", 9)
        != NGX_OK
        || ngx_centrifugo_cors_header(r, "Sec-WebSocket-Accept", p, 28)
           != NGX_OK
        || (protocol->len
            && ngx_centrifugo_cors_header(r, "Sec-WebSocket-Protocol",
                                          protocol->data, protocol->len)
               != NGX_OK)
        || (extension
            && ngx_centrifugo_cors_header(r, "Sec-WebSocket-Extensions",
                                          (u_char *) extension,
                                          ngx_strlen(extension))
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    ngx_str_set(&r->headers_out.status_line, "101 Switching Protocols");
    r->keepalive = 0;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    rc = ngx_http_send_special(r, NGX_HTTP_FLUSH);

    return (rc == NGX_AGAIN) ? NGX_OK : rc;
}


static void
handshake_write_handler(ngx_http_request_t *r)
{
    ngx_connection_t          *c;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;

    if (c->write->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (c->buffered) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ngx_add_timer(c->write, clcf->send_timeout);

        if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (handshake_post(r) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


/*
 * The handler that is running goes on to use the request after it returns, so
 * the request is freed from an event of its own.  NGINX may end the request
 * before that: worker_shutdown_timeout comes between them.  The block is of
 * the request's pool, so it is there as long as anything points to it.
 */

static ngx_int_t
handshake_post(ngx_http_request_t *r)
{
    handshake_detach_t  *d;
    ngx_http_cleanup_t  *cln;

    cln = ngx_http_cleanup_add(r, sizeof(handshake_detach_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    d = cln->data;
    ngx_memzero(d, sizeof(handshake_detach_t));

    cln->handler = handshake_detach_cleanup;

    d->request = r;
    d->lcf = ngx_http_get_module_loc_conf(r, ngx_centrifugo_module);
    d->event.handler = handshake_detach_handler;
    d->event.data = d;
    d->event.log = r->connection->log;

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_post_event(&d->event, &ngx_posted_events);

#if (NGX_CENTRIFUGO_TEST)
    if (d->lcf->hub->test_handshake_delay) {
        ngx_msleep(d->lcf->hub->test_handshake_delay);
    }
#endif

    return NGX_OK;
}


/*
 * The request ends: by the event, which is not posted any more then, or
 * before it.
 */

static void
handshake_detach_cleanup(void *data)
{
    handshake_detach_t *d = data;

    if (d->event.posted) {
        ngx_delete_posted_event(&d->event);
    }
}


static void
handshake_detach_handler(ngx_event_t *ev)
{
    ngx_str_t                   early, addr;
    ngx_connection_t           *c;
    handshake_detach_t         *d;
    ngx_http_request_t         *r;
    ngx_http_connection_t      *hc;
    ngx_centrifugo_loc_conf_t  *lcf;
    ngx_centrifugo_admission_t *admission;

    d = ev->data;
    r = d->request;
    lcf = d->lcf;

    c = r->connection;
    hc = r->http_connection;

    early.len = r->header_in->last - r->header_in->pos;
    early.data = NULL;

    if (early.len) {
        early.data = malloc(early.len);

        if (early.data == NULL) {
            ngx_http_free_request(r, 0);
            ngx_http_close_connection(c);
            return;
        }

        ngx_memcpy(early.data, r->header_in->pos, early.len);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    admission = ngx_http_get_module_ctx(r, ngx_centrifugo_module);
    ngx_centrifugo_admission_take(r, admission);

    /* realip takes back the address it has found, whose text stays */

    addr = c->addr_text;
    ngx_http_free_request(r, 0);
    c->addr_text = addr;

    c->destroyed = 0;
    c->log->action = NULL;

    handshake_free_buffers(c, hc);

    ngx_centrifugo_ws_start(c, lcf, admission, &early);

    free(early.data);
}


static void
handshake_free_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl, *lists[2];
    ngx_uint_t    i;

    lists[0] = hc->free;
    lists[1] = hc->busy;

    for (i = 0; i < 2; i++) {
        for (cl = lists[i]; cl; cl = cl->next) {
            (void) ngx_pfree(c->pool, cl->buf->start);
        }
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

    if (c->buffer) {
        (void) ngx_pfree(c->pool, c->buffer->start);
        c->buffer = NULL;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}
