/*
 * Calls to the application backend: HTTP requests to a location of the same
 * server, which may have no client of their own.  The location decides where
 * they go: proxy_pass, fastcgi_pass, a file, `return`.
 */

#ifndef _NGX_CENTRIFUGO_CALL_H_INCLUDED_
#define _NGX_CENTRIFUGO_CALL_H_INCLUDED_


#include "../core/ngx_centrifugo_conf.h"


/* calls of a worker under way, those included that nobody waits for */
#define NGX_CENTRIFUGO_CALLS  512


typedef enum {
    NGX_CENTRIFUGO_CALL_OK = 0,         /* a whole answer, of any status */
    NGX_CENTRIFUGO_CALL_CUT,            /* its end is missing, or it does not
                                           fit subrequest_output_buffer_size */
    NGX_CENTRIFUGO_CALL_TIMEOUT,
    NGX_CENTRIFUGO_CALL_BUSY,           /* too many calls are under way */
    NGX_CENTRIFUGO_CALL_EXIT,           /* the worker ends */
    NGX_CENTRIFUGO_CALL_ERROR           /* no memory, no server, a bad URI */
} ngx_centrifugo_call_rc_e;

typedef struct {
    ngx_str_t                               name;
    ngx_str_t                               value;
} ngx_centrifugo_call_header_t;

/* a client on whose behalf a call is made */
typedef struct {
    struct sockaddr                        *sockaddr;
    socklen_t                               socklen;
    ngx_str_t                               addr;       /* as text */
    ngx_str_t                               host;       /* len 0: server's */
    const ngx_centrifugo_call_header_t     *headers;
    ngx_uint_t                              nheaders;
} ngx_centrifugo_call_client_t;

/*
 * What is asked; all of it is copied.  Headers about the connection and the
 * body's length are made here, those of the lists are left out; of one that
 * comes twice variables have the first.
 */
typedef struct {
    ngx_uint_t                              method;     /* NGX_HTTP_GET or
                                                           NGX_HTTP_POST */
    ngx_str_t                               uri;        /* escaped, with
                                                           arguments */
    const ngx_centrifugo_call_header_t     *headers;
    ngx_uint_t                              nheaders;
    const ngx_str_t                        *body;       /* NULL: none */
    const ngx_centrifugo_call_client_t     *client;     /* NULL: none, then
                                                           127.0.0.1 */
    ngx_msec_t                              timeout;
} ngx_centrifugo_call_t;

/*
 * Called exactly once, before ngx_centrifugo_call() returns if the call can't
 * even begin.  `status` is 0 when there is none; `body` is there until the
 * handler returns, and empty unless rc is NGX_CENTRIFUGO_CALL_OK.
 */
typedef struct {
    void         (*handler)(void *data, ngx_centrifugo_call_rc_e rc,
                       ngx_uint_t status, const ngx_str_t *body);
    void          *data;
} ngx_centrifugo_called_t;


/* At the start and before the end of a worker's life with hubs. */
void ngx_centrifugo_call_init(ngx_cycle_t *cycle);
void ngx_centrifugo_call_exit(void);

/*
 * Makes a call in the server that has the hub's first client location.  When
 * its time is over the caller is told; the request goes on unheeded.
 */
void ngx_centrifugo_call(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_call_t *call, const ngx_centrifugo_called_t *done);

/* What a result means, for the log. */
const char *ngx_centrifugo_call_reason(ngx_centrifugo_call_rc_e rc);


#endif /* _NGX_CENTRIFUGO_CALL_H_INCLUDED_ */
