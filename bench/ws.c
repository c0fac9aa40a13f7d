/*
 * WebSocket over TCP or TLS, the client's side.
 */

#include "client.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>


/*
 * One buffer for all clients of the process: a client has memory of its own
 * only while a part of a frame or of a message waits for the rest.
 */

#define WS_BUFFER   (8 << 20)
#define WS_READ     (256 << 10)
#define WS_SEND     (256 << 10)

#define WS_DEFLATED 0x40

#define WS_AGAIN    -1
#define WS_ENDED    -2


static cf_end_e ws_connected(cf_client_t *c);
static cf_end_e ws_tls(cf_client_t *c);
static cf_end_e ws_upgrade(cf_client_t *c);
static cf_end_e ws_read(cf_client_t *c);
static ssize_t ws_recv(cf_client_t *c, char *p, size_t size);
static cf_end_e ws_parse(cf_client_t *c, char **pos, char *end);
static cf_end_e ws_response(cf_client_t *c, char **pos, char *end);
static cf_end_e ws_frame(cf_client_t *c, unsigned head, const char *p,
    size_t len);
static cf_end_e ws_message(cf_client_t *c, unsigned deflated, const char *p,
    size_t len);
static cf_end_e ws_control(cf_client_t *c, unsigned opcode, const char *p,
    size_t len);
static void ws_keep(cf_buf_t **buf, const char *p, size_t len);
static cf_end_e ws_write(cf_client_t *c, const char *p, size_t len);
static cf_end_e ws_flush(cf_client_t *c);
static ssize_t ws_put(cf_client_t *c, const char *p, size_t len);


uint64_t     cf_ws_now;
uint32_t     cf_ws_code;
uint64_t     cf_ws_reads;
const char  *cf_ws_error = "";

static unsigned  ws_data;        /* opcode of messages */
static char     *ws_buffer;
static char     *ws_output;
static SSL_CTX  *ws_ctx;
static char      ws_key[32];
static char      ws_accept[32];


void
cf_ws_init(void)
{
    size_t         i;
    unsigned char  raw[16], digest[20];
    char           text[80];

    ws_buffer = malloc(WS_BUFFER);
    ws_output = malloc(WS_SEND + 16);

    if (ws_buffer == NULL || ws_output == NULL) {
        cf_die("no memory for buffers");
    }

    ws_data = cf_opt.protobuf ? CF_WS_BINARY : CF_WS_TEXT;

    /* one key for all connections of the process: it guards nothing */

    for (i = 0; i < sizeof(raw); i++) {
        raw[i] = (unsigned char) (cf_random() >> 32);
    }

    EVP_EncodeBlock((unsigned char *) ws_key, raw, sizeof(raw));
    snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
             ws_key);
    SHA1((unsigned char *) text, strlen(text), digest);
    EVP_EncodeBlock((unsigned char *) ws_accept, digest, sizeof(digest));

    if (!cf_opt.url.tls) {
        return;
    }

    ws_ctx = SSL_CTX_new(TLS_client_method());
    if (ws_ctx == NULL) {
        cf_die("OpenSSL: no context");
    }

    SSL_CTX_set_mode(ws_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                             | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                             | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ws_ctx, SSL_SESS_CACHE_OFF);

    if (!cf_opt.tls_verify) {
        return;
    }

    SSL_CTX_set_verify(ws_ctx, SSL_VERIFY_PEER, NULL);

    if (cf_opt.ca
        ? SSL_CTX_load_verify_locations(ws_ctx, cf_opt.ca, NULL) != 1
        : SSL_CTX_set_default_verify_paths(ws_ctx) != 1)
    {
        cf_die("no certificates to verify with%s%s",
               cf_opt.ca ? " in " : "", cf_opt.ca ? cf_opt.ca : "");
    }
}


cf_end_e
cf_ws_event(cf_client_t *c, uint32_t events)
{
    cf_end_e  rc;

    if (c->state == CF_CLIENT_TCP) {
        return ws_connected(c);
    }

    if (c->state == CF_CLIENT_TLS) {
        return ws_tls(c);
    }

    if (events & EPOLLOUT) {
        rc = ws_flush(c);

        if (rc != CF_OK) {
            return rc;
        }
    }

    return (events & ~(uint32_t) EPOLLOUT) ? ws_read(c) : CF_OK;
}


cf_end_e
cf_ws_send(cf_client_t *c, int opcode, const char *data, size_t len)
{
    char      *p, mask[4];
    size_t     i;
    uint32_t   bits;

    if (opcode == CF_WS_TEXT && cf_opt.protobuf) {
        data = cf_protobuf_encode(data, len, &len);
        opcode = CF_WS_BINARY;
    }

    if (len > WS_SEND || len > 65535) {
        cf_die("a command of %zu bytes: less --subs or shorter names", len);
    }

    p = ws_output;
    *p++ = (char) (0x80 | opcode);

    if (len < 126) {
        *p++ = (char) (0x80 | len);

    } else {
        *p++ = (char) (0x80 | 126);
        *p++ = (char) (len >> 8);
        *p++ = (char) len;
    }

    bits = (uint32_t) (cf_random() >> 32);
    memcpy(mask, &bits, 4);
    memcpy(p, mask, 4);
    p += 4;

    for (i = 0; i < len; i++) {
        *p++ = (char) (data[i] ^ mask[i & 3]);
    }

    return ws_write(c, ws_output, (size_t) (p - ws_output));
}


void
cf_ws_free(cf_client_t *c)
{
    if (c->ssl) {
        SSL_free(c->ssl);
        c->ssl = NULL;
    }

    if (c->fd != -1) {
        close(c->fd);
        c->fd = -1;
    }

    free(c->in);
    free(c->fragment);
    free(c->out);

    c->in = NULL;
    c->fragment = NULL;
    c->out = NULL;
    c->fragmented = 0;
    c->writing = 0;
}


static cf_end_e
ws_connected(cf_client_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = errno;
    }

    if (err) {
        cf_ws_error = strerror(err);
        return CF_REFUSED_TCP;
    }

    if (!cf_opt.url.tls) {
        return ws_upgrade(c);
    }

    c->ssl = SSL_new(ws_ctx);

    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        cf_die("OpenSSL: no connection");
    }

    SSL_set_tlsext_host_name(c->ssl, cf_opt.url.host);

    if (cf_opt.tls_verify && SSL_set1_host(c->ssl, cf_opt.url.host) != 1) {
        cf_die("OpenSSL: no host name");
    }

    SSL_set_connect_state(c->ssl);
    c->state = CF_CLIENT_TLS;

    return ws_tls(c);
}


static cf_end_e
ws_tls(cf_client_t *c)
{
    int  rc;

    ERR_clear_error();
    rc = SSL_do_handshake(c->ssl);

    if (rc == 1) {
        return ws_upgrade(c);
    }

    switch (SSL_get_error(c->ssl, rc)) {

    case SSL_ERROR_WANT_READ:
        cf_client_want(c, 0);
        return CF_OK;

    case SSL_ERROR_WANT_WRITE:
        cf_client_want(c, 1);
        return CF_OK;

    default:
        cf_ws_error = ERR_reason_error_string(ERR_peek_error());

        if (cf_ws_error == NULL) {
            cf_ws_error = "the connection was closed";
        }

        return CF_REFUSED_TLS;
    }
}


static cf_end_e
ws_upgrade(cf_client_t *c)
{
    int   n;
    char  text[2048], query[64];

    query[0] = '\0';

    if (cf_opt.users && cf_opt.token_secret == NULL) {
        snprintf(query, sizeof(query), "%cuser=%s",
                 strchr(cf_opt.url.path, '?') ? '&' : '?', cf_client_user(c));
    }

    n = snprintf(text, sizeof(text),
                 "GET %s%s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
                 "Sec-WebSocket-Version: 13\r\n%s%s\r\n",
                 cf_opt.url.path, query, cf_opt.url.host, cf_opt.url.port, ws_key,
                 cf_opt.deflate
                 ? "Sec-WebSocket-Extensions: permessage-deflate; "
                   "server_no_context_takeover; client_no_context_takeover\r\n"
                 : "",
                 cf_opt.protobuf
                 ? "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n" : "");

    if (n >= (int) sizeof(text)) {
        cf_die("--url is too long");
    }

    c->state = CF_CLIENT_UPGRADE;
    cf_client_want(c, 0);

    return ws_write(c, text, (size_t) n);
}


/*
 * One read of a plain socket: epoll reports it again if there is more. TLS
 * may hold back bytes that epoll does not know, so it is read to the end.
 */

static cf_end_e
ws_read(cf_client_t *c)
{
    char      *pos;
    size_t     have;
    ssize_t    n;
    cf_end_e   rc;

    do {
        have = 0;

        if (c->in) {
            have = c->in->len;

            if (have >= WS_BUFFER - WS_READ) {
                cf_ws_error = "a frame is too large";
                return CF_PROTOCOL;
            }

            memcpy(ws_buffer, c->in->data, have);
        }

        n = ws_recv(c, ws_buffer + have, WS_READ);

        if (n == WS_AGAIN) {
            return CF_OK;
        }

        if (n == WS_ENDED) {
            return CF_EOF;
        }

        cf_ws_now = cf_now();
        cf_ws_reads++;

        pos = ws_buffer;
        rc = ws_parse(c, &pos, ws_buffer + have + n);

        if (rc != CF_OK) {
            return rc;
        }

        have = (size_t) (ws_buffer + have + n - pos);

        if (c->in) {
            c->in->len = 0;
        }

        if (have) {
            ws_keep(&c->in, pos, have);

        } else if (c->in) {
            free(c->in);
            c->in = NULL;
        }

    } while (c->ssl);

    return CF_OK;
}


static ssize_t
ws_recv(cf_client_t *c, char *p, size_t size)
{
    int      rc;
    ssize_t  n;

    if (c->ssl == NULL) {

        do {
            n = recv(c->fd, p, size, 0);
        } while (n == -1 && errno == EINTR);

        if (n > 0) {
            return n;
        }

        return (n == -1 && errno == EAGAIN) ? WS_AGAIN : WS_ENDED;
    }

    ERR_clear_error();
    rc = SSL_read(c->ssl, p, (int) size);

    if (rc > 0) {
        return rc;
    }

    rc = SSL_get_error(c->ssl, rc);

    return (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
           ? WS_AGAIN : WS_ENDED;
}


static cf_end_e
ws_parse(cf_client_t *c, char **pos, char *end)
{
    size_t         head;
    uint64_t       len;
    cf_end_e       rc;
    unsigned       i;
    unsigned char *p;

    if (c->state == CF_CLIENT_UPGRADE) {
        rc = ws_response(c, pos, end);

        if (rc != CF_OK || c->state == CF_CLIENT_UPGRADE) {
            return rc;
        }
    }

    while (end - *pos >= 2) {
        p = (unsigned char *) *pos;

        if (p[1] & 0x80
            || (p[0] & 0x70
                && ((p[0] & 0x7f) != (WS_DEFLATED | ws_data)
                    || !cf_opt.deflate)))
        {
            cf_ws_error = "a frame with reserved bits or a mask";
            return CF_PROTOCOL;
        }

        len = p[1];
        head = (len < 126) ? 2 : (len == 126) ? 4 : 10;

        if ((size_t) (end - *pos) < head) {
            break;
        }

        if (head > 2) {

            for (len = 0, i = 2; i < head; i++) {
                len = len << 8 | p[i];
            }

            if (len < (head == 4 ? 126 : 65536) || p[0] & 0x08) {
                cf_ws_error = "a frame with a wrong length";
                return CF_PROTOCOL;
            }
        }

        if (len > WS_BUFFER - WS_READ - head) {
            cf_ws_error = "a frame is too large";
            return CF_PROTOCOL;
        }

        if ((size_t) (end - *pos) - head < len) {
            break;
        }

        *pos += head + len;
        rc = ws_frame(c, p[0], (char *) p + head, (size_t) len);

        if (rc != CF_OK) {
            return rc;
        }
    }

    return CF_OK;
}


static cf_end_e
ws_response(cf_client_t *c, char **pos, char *end)
{
    int          accepted, deflate;
    char        *p, *last, *eol;
    size_t       name, extension;
    static char  status[64];

    name = sizeof("sec-websocket-accept:") - 1;
    extension = sizeof("sec-websocket-extensions:") - 1;
    last = memmem(*pos, (size_t) (end - *pos), "\r\n\r\n", 4);

    if (last == NULL) {
        if (end - *pos > 16384) {
            cf_ws_error = "an endless HTTP response";
            return CF_REFUSED_HTTP;
        }

        return CF_OK;
    }

    if (last - *pos < 12 || memcmp(*pos, "HTTP/1.1 101", 12) != 0) {
        snprintf(status, sizeof(status), "\"%.*s\" instead of HTTP 101",
                 (int) cf_min(strcspn(*pos, "\r"), 30u), *pos);
        cf_ws_error = status;
        return CF_REFUSED_HTTP;
    }

    accepted = 0;
    deflate = 0;

    for (p = *pos; p < last; p = eol + 2) {
        eol = memmem(p, (size_t) (last + 2 - p), "\r\n", 2);

        if ((size_t) (eol - p) > name
            && strncasecmp(p, "sec-websocket-accept:", name) == 0)
        {
            p += name;
            p += strspn(p, " \t");
            accepted = (size_t) (eol - p) >= strlen(ws_accept)
                       && memcmp(p, ws_accept, strlen(ws_accept)) == 0;

        } else if ((size_t) (eol - p) > extension
                   && strncasecmp(p, "sec-websocket-extensions:", extension)
                      == 0)
        {
            deflate = memmem(p, (size_t) (eol - p),
                             "server_no_context_takeover", 26)
                      != NULL;
        }
    }

    if (!accepted) {
        cf_ws_error = "a wrong Sec-WebSocket-Accept";
        return CF_REFUSED_HTTP;
    }

    if (deflate != (int) cf_opt.deflate) {
        cf_ws_error = deflate ? "permessage-deflate that was not offered"
                              : "no permessage-deflate";
        return CF_REFUSED_HTTP;
    }

    *pos = last + 4;
    c->state = CF_CLIENT_CONNECT;

    return cf_client_upgraded(c);
}


static cf_end_e
ws_frame(cf_client_t *c, unsigned head, const char *p, size_t len)
{
    int        fin;
    cf_end_e   rc;
    unsigned   opcode;
    cf_buf_t  *message;

    opcode = head & 0x0f;
    fin = (head & 0x80) != 0;

    if (fin && opcode == ws_data && !c->fragmented) {
        return ws_message(c, head & WS_DEFLATED, p, len);
    }

    if (opcode >= CF_WS_CLOSE) {

        if (!fin) {
            cf_ws_error = "a control frame in fragments";
            return CF_PROTOCOL;
        }

        return ws_control(c, opcode, p, len);
    }

    if (opcode != (c->fragmented ? 0 : ws_data)) {
        cf_ws_error = "a data frame that is not the one to come";
        return CF_PROTOCOL;
    }

    if ((c->fragment ? c->fragment->len : 0) + len > WS_BUFFER) {
        cf_ws_error = "a message is too large";
        return CF_PROTOCOL;
    }

    if (opcode) {
        c->deflated = (head & WS_DEFLATED) != 0;
    }

    ws_keep(&c->fragment, p, len);
    c->fragmented = !fin;

    if (!fin) {
        return CF_OK;
    }

    message = c->fragment;
    c->fragment = NULL;
    rc = ws_message(c, c->deflated, message->data, message->len);
    free(message);

    return rc;
}


static cf_end_e
ws_message(cf_client_t *c, unsigned deflated, const char *p, size_t len)
{
    if (deflated) {
        cf_client_stats->deflated++;
        p = cf_inflate(p, len, &len);

        if (p == NULL) {
            cf_ws_error = "a compressed message that is damaged";
            return CF_PROTOCOL;
        }
    }

    if (cf_opt.protobuf) {
        p = cf_protobuf_decode(p, len, &len);

        if (p == NULL) {
            cf_ws_error = "a message that is not Protobuf of the protocol";
            return CF_PROTOCOL;
        }
    }

    return cf_client_message(c, p, len);
}


static cf_end_e
ws_control(cf_client_t *c, unsigned opcode, const char *p, size_t len)
{
    switch (opcode) {

    case CF_WS_PING:
        return (c->state == CF_CLIENT_CLOSING)
               ? CF_OK : cf_ws_send(c, CF_WS_PONG, p, len);

    case CF_WS_PONG:
        return CF_OK;

    case CF_WS_CLOSE:
        cf_ws_code = 1005;

        if (len >= 2) {
            cf_ws_code = (uint32_t) ((unsigned char) p[0] << 8
                                     | (unsigned char) p[1]);
        }

        if (len == 1 || cf_ws_code < 1000 || cf_ws_code >= CF_CODES) {
            cf_ws_error = "a close frame without a right code";
            return CF_PROTOCOL;
        }

        if (c->state != CF_CLIENT_CLOSING) {
            (void) cf_ws_send(c, CF_WS_CLOSE, p, cf_min(len, 2));
        }

        return CF_CLOSED;

    default:
        cf_ws_error = "an unknown frame";
        return CF_PROTOCOL;
    }
}


/* Appends to a buffer that is made or grows as needed. */

static void
ws_keep(cf_buf_t **buf, const char *p, size_t len)
{
    size_t     need;
    cf_buf_t  *b;

    b = *buf;
    need = (b ? b->len : 0) + len;

    if (b == NULL || need > b->size) {
        need = cf_max(need, b ? b->size * 2 : 0);
        b = realloc(b, sizeof(cf_buf_t) + need);

        if (b == NULL) {
            cf_die("no memory for %zu bytes", need);
        }

        if (*buf == NULL) {
            b->len = 0;
        }

        b->size = (uint32_t) need;
        *buf = b;
    }

    memcpy(b->data + b->len, p, len);
    b->len += (uint32_t) len;
}


static cf_end_e
ws_write(cf_client_t *c, const char *p, size_t len)
{
    ssize_t  n;

    if (c->out == NULL) {
        n = ws_put(c, p, len);

        if (n == WS_ENDED) {

            /* what the server has said before is read first */

            return CF_OK;
        }

        if (n == (ssize_t) len) {
            return CF_OK;
        }

        if (n > 0) {
            p += n;
            len -= (size_t) n;
        }

        cf_client_want(c, 1);
    }

    ws_keep(&c->out, p, len);

    return CF_OK;
}


static cf_end_e
ws_flush(cf_client_t *c)
{
    ssize_t  n;

    if (c->out) {
        n = ws_put(c, c->out->data, c->out->len);

        if (n == WS_AGAIN) {
            return CF_OK;
        }

        if (n != WS_ENDED && (uint32_t) n < c->out->len) {
            c->out->len -= (uint32_t) n;
            memmove(c->out->data, c->out->data + n, c->out->len);
            return CF_OK;
        }

        free(c->out);
        c->out = NULL;
    }

    cf_client_want(c, 0);

    return CF_OK;
}


static ssize_t
ws_put(cf_client_t *c, const char *p, size_t len)
{
    int      rc;
    ssize_t  n;

    if (c->ssl == NULL) {

        do {
            n = send(c->fd, p, len, MSG_NOSIGNAL);
        } while (n == -1 && errno == EINTR);

        if (n >= 0) {
            return n;
        }

        return (errno == EAGAIN) ? WS_AGAIN : WS_ENDED;
    }

    ERR_clear_error();
    rc = SSL_write(c->ssl, p, (int) len);

    if (rc > 0) {
        return rc;
    }

    rc = SSL_get_error(c->ssl, rc);

    return (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
           ? WS_AGAIN : WS_ENDED;
}
