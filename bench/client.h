#ifndef CFLOAD_CLIENT_H_INCLUDED
#define CFLOAD_CLIENT_H_INCLUDED


#include "cfload.h"

#include <openssl/ssl.h>


#define CF_WS_TEXT    1
#define CF_WS_BINARY  2
#define CF_WS_CLOSE   8
#define CF_WS_PING    9
#define CF_WS_PONG    10

#define CF_NO_CLIENT  0xffffffffu


typedef enum {
    CF_CLIENT_WAITING = 0,       /* for its turn to connect */
    CF_CLIENT_TCP,
    CF_CLIENT_TLS,
    CF_CLIENT_UPGRADE,
    CF_CLIENT_CONNECT,
    CF_CLIENT_SUBSCRIBE,
    CF_CLIENT_READY,
    CF_CLIENT_CLOSING,           /* has sent a close frame by itself */
    CF_CLIENT_DEAD
} cf_client_state_e;


typedef struct {
    uint32_t   len;
    uint32_t   size;
    char       data[];
} cf_buf_t;


typedef struct {
    int        fd;
    uint32_t   next;             /* of those that wait */
    uint32_t   due;              /* ms: turn, or end of patience */
    uint32_t   pinged;           /* ms */
    uint32_t   nsubs;
    uint16_t   ping;             /* s, 0 if there are none */
    uint8_t    state;
    unsigned   pong:1;
    unsigned   settled:1;
    unsigned   connected:1;
    unsigned   writing:1;        /* EPOLLOUT is on */
    unsigned   fragmented:1;
    unsigned   deflated:1;       /* the message that is in fragments */
    unsigned   observer:1;
    SSL       *ssl;
    cf_buf_t  *in;               /* begin of a frame */
    cf_buf_t  *fragment;         /* begin of a message */
    cf_buf_t  *out;
} cf_client_t;


/*
 * Why a connection ends; what has an error text leaves it in cf_ws_error.
 */

typedef enum {
    CF_OK = 0,
    CF_EOF,                      /* without a close frame */
    CF_CLOSED,                   /* with one: cf_ws_code */
    CF_PROTOCOL,
    CF_REFUSED_TCP,
    CF_REFUSED_TLS,
    CF_REFUSED_HTTP,
    CF_REFUSED_COMMAND,
    CF_TIMEOUT
} cf_end_e;


/* ws.c */

extern uint64_t     cf_ws_now;   /* when the last bytes were read */
extern uint32_t     cf_ws_code;
extern uint64_t     cf_ws_reads;
extern const char  *cf_ws_error;

void cf_ws_init(void);
cf_end_e cf_ws_event(cf_client_t *c, uint32_t events);
cf_end_e cf_ws_send(cf_client_t *c, int opcode, const char *data,
    size_t len);
void cf_ws_free(cf_client_t *c);

/* deflate.c */

const char *cf_inflate(const char *p, size_t len, size_t *size);

/* protobuf.c: commands that were written as JSON, and replies to be read so */

const char *cf_protobuf_encode(const char *text, size_t len, size_t *size);
const char *cf_protobuf_decode(const char *p, size_t len, size_t *size);

/* client.c: the clients of this process */

typedef enum {
    CF_SUB_NONE = 0,
    CF_SUB_WAIT,
    CF_SUB_ON,
    CF_SUB_LEAVE
} cf_sub_e;

#define cf_client_number(c)   ((uint32_t) ((c) - cf_client_all))
#define cf_client_slot(n, k)  ((n) * cf_opt.subs + (k))

extern cf_worker_t  *cf_client_stats;
extern cf_client_t  *cf_client_all;
extern uint8_t      *cf_client_subs;     /* cf_sub_e of each slot */
extern uint32_t      cf_client_first;    /* number of cf_client_all[0] */

void cf_client_want(cf_client_t *c, int writing);
void cf_client_ready(cf_client_t *c);
uint32_t cf_client_ms(void);

/* reply.c */

cf_end_e cf_client_subscribe(cf_client_t *c, uint32_t from, uint32_t to);
cf_end_e cf_client_ask(cf_client_t *c, uint32_t k, uint32_t stats);
void cf_client_unsubscribe(cf_client_t *c, uint32_t k);
uint32_t cf_client_channel(uint32_t n, uint32_t k);
uint32_t cf_client_find(cf_client_t *c, const char *channel, size_t len);
const char *cf_client_user(cf_client_t *c);
cf_end_e cf_client_upgraded(cf_client_t *c);
cf_end_e cf_client_message(cf_client_t *c, const char *p, size_t len);


#endif /* CFLOAD_CLIENT_H_INCLUDED */
