/*
 * One client: a state machine that is fed messages and fills a queue of
 * frames.  It knows no socket and no HTTP; a transport carries it.
 */

#ifndef _NGX_CENTRIFUGO_CLIENT_H_INCLUDED_
#define _NGX_CENTRIFUGO_CLIENT_H_INCLUDED_


#include "../core/ngx_centrifugo_wheel.h"
#include "../broker/ngx_centrifugo_broker.h"
#include "../protocol/ngx_centrifugo_frame.h"
#include "ngx_centrifugo_queue.h"


#define NGX_CENTRIFUGO_VERSION  "0.1.0"
#define NGX_CENTRIFUGO_ID_LEN   36      /* printed */


typedef struct ngx_centrifugo_client_s       ngx_centrifugo_client_t;
typedef struct ngx_centrifugo_subscribing_s  ngx_centrifugo_subscribing_t;

typedef struct {
    ngx_str_t     name;                 /* "websocket" */

    /*
     * Makes a frame with its header of a payload, which all clients of a hub
     * share that have this transport and the codec of this one.  NULL: no
     * memory.
     */
    ngx_centrifugo_frame_t
                *(*frame)(ngx_centrifugo_client_t *client, const u_char *data,
                    size_t len);

    /*
     * Writes what is in client->queue.  NGX_OK: all; NGX_AGAIN: the rest when
     * the connection takes it, the transport sees to that; NGX_ERROR: the
     * connection is dead, the caller ends the client.
     */
    ngx_int_t   (*send)(ngx_centrifugo_client_t *client);

    /*
     * Puts the end with its code and reason behind what is in the queue; the
     * client is closed already and is destroyed by the transport later, but
     * never within this call.  Code 0: the connection just ends.
     */
    void        (*close)(ngx_centrifugo_client_t *client, ngx_uint_t code,
                    const ngx_str_t *reason);

    /* Takes up reading where a full input buffer had stopped it. */
    void        (*resume)(ngx_centrifugo_client_t *client);

    /* Sends a ping of its own, for a client with own_pings; else NULL. */
    void        (*ping)(ngx_centrifugo_client_t *client);
} ngx_centrifugo_transport_t;

typedef enum {
    NGX_CENTRIFUGO_CLIENT_NEW = 0,
    NGX_CENTRIFUGO_CLIENT_CONNECTED,
    NGX_CENTRIFUGO_CLIENT_UNUSABLE,     /* connect failed, nothing is read */
    NGX_CENTRIFUGO_CLIENT_CLOSED
} ngx_centrifugo_client_state_e;

/* what a client waits for; each is a time of ngx_current_msec or 0 */
typedef enum {
    NGX_CENTRIFUGO_DUE_STALE = 0,       /* no successful connect */
    NGX_CENTRIFUGO_DUE_PING,
    NGX_CENTRIFUGO_DUE_PONG,
    NGX_CENTRIFUGO_DUE_EXPIRE,
    NGX_CENTRIFUGO_DUE_SUBSCRIPTION,    /* the first that expires */
    NGX_CENTRIFUGO_DUE_DRAIN,
    NGX_CENTRIFUGO_DUE_WRITE,           /* no progress of a write */
    NGX_CENTRIFUGO_DUE_END,             /* the peer's part of the close */
    NGX_CENTRIFUGO_DUE_N
} ngx_centrifugo_due_e;

/* connected clients of this worker that have the same user id */
typedef struct {
    ngx_str_node_t                     name;
    ngx_queue_t                        link;    /* of all users */
    ngx_queue_t                        clients;
    uint32_t                           count;
} ngx_centrifugo_user_t;

struct ngx_centrifugo_client_s {
    const ngx_centrifugo_transport_t  *transport;
    const ngx_centrifugo_codec_t      *codec;
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_log_t                         *log;

    ngx_queue_t                        link;    /* hcf->clients */
    ngx_queue_t                        dirty;   /* next NULL: is not */
    ngx_queue_t                        in_user; /* next NULL: is not */
    ngx_centrifugo_user_t             *user_node;
    ngx_centrifugo_user_t             *address;     /* NULL: not counted */
    uint64_t                           ticket;  /* among connections of its
                                                   user; 0: none yet */
    ngx_queue_t                        subscriptions;
    ngx_centrifugo_subscribing_t      *subscribing; /* those on their way */
    ngx_centrifugo_wheel_node_t        timer;
    ngx_msec_t                         due[NGX_CENTRIFUGO_DUE_N];

    ngx_centrifugo_queue_t             queue;
    ngx_centrifugo_buf_t              *input;   /* messages behind a command
                                                   that waits; NULL: none */

    ngx_str_t                          user;    /* one block with info */
    ngx_str_t                          info;
    uint64_t                           handle;
    uint32_t                           nsubscriptions;

    /* the one command that may be under way in an engine */
    uint32_t                           command_id;
    ngx_str_t                          command_channel;     /* owned */

    /* for the session log */
    ngx_msec_t                         start;
    ngx_str_t                         *addr;    /* of the peer; the
                                                   transport's */
    const char                        *reason;  /* why it ended */
    uint64_t                           bytes_in;
    uint64_t                           bytes_out;
    uint32_t                           messages_in;
    uint32_t                           messages_out;
    uint16_t                           code;    /* it ended with */

    u_char                             id[16];
    ngx_centrifugo_client_state_e      state:8;

    unsigned                           identified:1;    /* by NGINX */
    unsigned                           informed:1;      /* its info, too */
    unsigned                           waiting:1;   /* a command is */
    unsigned                           dispatching:1;
    unsigned                           pinged:1;    /* a pong is due */
    unsigned                           own_pings:1; /* of its transport */
};

/* what few subscriptions have */
typedef struct {
    int64_t                            expire_at;   /* unix seconds, 0: never */
    ngx_centrifugo_filter_t           *filter;  /* of tags, NULL: none; owned */
    ngx_str_t                          info;    /* chan_info, behind this */
} ngx_centrifugo_subscription_extra_t;

/*
 * What came for a subscription that is not answered yet: goes into the queue
 * behind the reply.
 */
typedef struct ngx_centrifugo_held_s  ngx_centrifugo_held_t;

/* each takes memory per client and channel: keep it small */
typedef struct {
    ngx_queue_t                        in_channel;
    ngx_queue_t                        in_client;
    ngx_centrifugo_channel_t          *channel;
    ngx_centrifugo_client_t           *client;
    uint64_t                           pos;     /* where it begins */
    ngx_centrifugo_subscription_extra_t  *extra;    /* NULL: none */
    ngx_centrifugo_held_t             *held;    /* NULL: none */

    unsigned                           pending:1;   /* not answered yet, what
                                                       comes is held */
    unsigned                           positioned:1;    /* has a position */
    unsigned                           feed:1;      /* uses the channel's */
    unsigned                           delta:1;     /* negotiated: payloads are
                                                       texts, and deltas if it
                                                       has a position */
    unsigned                           based:1;     /* the client has the base
                                                       of the next delta */
    unsigned                           compact:1;   /* gets the feed's id */
    unsigned                           server_side:1;
    unsigned                           token:1;     /* of a connection token */
    unsigned                           present:1;   /* in presence */
    unsigned                           announced:1; /* its end is a leave */
    unsigned                           push:1;      /* gets joins, leaves */
    unsigned                           serial:21;   /* of those of a client in
                                                       a channel */

    ngx_centrifugo_position_t          position[];  /* one, if it has one: of
                                                       the last publication
                                                       that it got or that was
                                                       filtered */
} ngx_centrifugo_subscription_t;

/* what a client may have: the outcome of options, a token or the API */
typedef struct {
    ngx_str_t                          channel;
    ngx_str_t                          info;    /* raw JSON, len 0: none */
    ngx_str_t                          data;    /* for the reply, the same */
    int64_t                            expire_at;
    unsigned                           server_side:1;
    unsigned                           token:1;
    unsigned                           presence:1;
    unsigned                           join_leave:1;
    unsigned                           push:1;
    unsigned                           positioned:1;
    unsigned                           recoverable:1;
    unsigned                           cache:1;     /* how it is recovered */
    unsigned                           automatic:1; /* also unasked */
    unsigned                           recover:1;   /* asked for, `since` */
    unsigned                           reject:1;    /* 112 if it can't be */
    unsigned                           delta:1;
    unsigned                           compact:1;
    ngx_msec_t                         meta_ttl;    /* of the position */
    ngx_centrifugo_position_t          since;
    ngx_centrifugo_filter_t           *filter;      /* NULL: none; becomes the
                                                       subscription's */
} ngx_centrifugo_grant_t;

/* why a session ends; clients know it by its number */
typedef struct {
    ngx_uint_t                         code;
    ngx_str_t                          reason;
} ngx_centrifugo_disconnect_t;


extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_shutdown;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_internal;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_expired;
extern const ngx_centrifugo_disconnect_t
    ngx_centrifugo_disconnect_sub_expired;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_slow;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_write;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_state;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_no_pong;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_token;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_request;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_stale;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_forced;
extern const ngx_centrifugo_disconnect_t
    ngx_centrifugo_disconnect_connections;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_channels;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_protocol;
extern const ngx_centrifugo_disconnect_t  ngx_centrifugo_disconnect_denied;
extern const ngx_centrifugo_disconnect_t
    ngx_centrifugo_disconnect_unavailable;

extern const ngx_centrifugo_error_t  ngx_centrifugo_error_internal;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_channel;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_denied;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_subscribed;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_limit;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_request;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_unavailable;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_token_expired;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_expired;
extern const ngx_centrifugo_error_t  ngx_centrifugo_error_position;


/*
 * Makes a zeroed structure (embedded in the transport's session) a client.
 * Set before: transport, codec, hcf, log; and the session was counted in
 * NGX_CENTRIFUGO_GAUGE_SESSIONS, which its end gives back.  NGX_ERROR: no
 * memory or no random bytes; nothing is left behind, it is still counted.
 */
ngx_int_t ngx_centrifugo_client_init(ngx_centrifugo_client_t *client);

/*
 * The connection is gone: ends the session if it is not closed yet and frees
 * everything but the structure itself.
 */
void ngx_centrifugo_client_destroy(ngx_centrifugo_client_t *client);

/*
 * One whole message from the peer.  `data` may be changed.  NGX_OK: taken;
 * NGX_AGAIN: taken, but stop reading until transport->resume(), since commands
 * before it still wait for their answers.
 */
ngx_int_t ngx_centrifugo_client_message(ngx_centrifugo_client_t *client,
    u_char *data, size_t len);

/* The answer to a ping of its transport. */
void ngx_centrifugo_client_ponged(ngx_centrifugo_client_t *client);

/*
 * Ends the session: the code and reason go to the peer behind what is queued.
 * Does nothing when it is closed already.  `why` is for the log.
 */
void ngx_centrifugo_client_close(ngx_centrifugo_client_t *client,
    const ngx_centrifugo_disconnect_t *disconnect, const char *why);

/*
 * The disconnect that NGX_CENTRIFUGO_COUNT_DISCONNECTS + i counts, or NULL
 * behind the last.
 */
const ngx_centrifugo_disconnect_t *ngx_centrifugo_client_disconnect(
    ngx_uint_t i);

/*
 * Sends all clients of a hub in this worker away with 3001, at random moments
 * within `span` ms.
 */
void ngx_centrifugo_client_drain(ngx_centrifugo_hub_conf_t *hcf,
    ngx_msec_t span);

/*
 * The peer has ended the session, or its connection has died: the code of its
 * close frame, or ours for what it did wrong, or 1006 for none.
 */
void ngx_centrifugo_client_gone(ngx_centrifugo_client_t *client,
    ngx_uint_t code, const char *why);

/*
 * The process ends at once with all sessions of a hub: they get their lines in
 * the session log, what is shared is cleared by the reaper.
 */
void ngx_centrifugo_client_abandon(ngx_centrifugo_hub_conf_t *hcf);

/* src/client/ngx_centrifugo_session_log.c: writes the line of one that ended */
void ngx_centrifugo_session_log(ngx_centrifugo_client_t *client);

/* Writes the client's id as a UUID: NGX_CENTRIFUGO_ID_LEN bytes. */
u_char *ngx_centrifugo_client_id(ngx_centrifugo_client_t *client,
    u_char *p);

/*
 * All connected clients of this worker with that user id, in the list
 * `clients` (by client->in_user); NULL: there are none.
 */
ngx_centrifugo_user_t *ngx_centrifugo_user_find(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *user);

/*
 * Carries out what an order says for one client; it may be closed by that.
 */
struct ngx_centrifugo_order_s;
void ngx_centrifugo_client_ordered(ngx_centrifugo_client_t *client,
    const struct ngx_centrifugo_order_s *order);

/* The client of a handle, or NULL when it is gone. */
ngx_centrifugo_client_t *ngx_centrifugo_client_find(uint64_t handle);


/* within the client layer */

/*
 * The worker's memory for one message; reset when the outermost message is
 * done.
 */
ngx_centrifugo_arena_t *ngx_centrifugo_client_arena(void);

/* Where replies of the message in hand are gathered, one per line. */
ngx_centrifugo_buf_t *ngx_centrifugo_client_reply(
    ngx_centrifugo_client_t *client);

void ngx_centrifugo_client_error(ngx_centrifugo_client_t *client,
    uint32_t id, ngx_centrifugo_method_e method,
    const ngx_centrifugo_error_t *err, const ngx_str_t *channel,
    const char *why);

/*
 * Remembers a command that is answered now or later, by its client's handle:
 * the commands behind it wait for that.  NGX_ERROR: no memory, the command got
 * its error.  pending: the client whose command it is, or NULL when it is gone
 * or closed meanwhile.
 */
ngx_int_t ngx_centrifugo_client_begin(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
ngx_centrifugo_client_t *ngx_centrifugo_client_pending(uint64_t handle);

/* The command under way is answered: takes up the commands behind it. */
void ngx_centrifugo_client_answered(ngx_centrifugo_client_t *client);

/*
 * What was answered goes into the queue, which may close the client.  room: the
 * bytes of queue_max_size that are left beside it.
 */
void ngx_centrifugo_client_flush(ngx_centrifugo_client_t *client);
size_t ngx_centrifugo_client_room(ngx_centrifugo_client_t *client);

/* Handlers of commands; what they answer goes to the reply buffer. */
void ngx_centrifugo_client_connect(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_refresh(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_subscribe(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_unsubscribe(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_publish(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);

void ngx_centrifugo_client_sub_refresh(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_presence(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);
void ngx_centrifugo_client_history(ngx_centrifugo_client_t *client,
    ngx_centrifugo_command_t *cmd);

/*
 * The identity that NGINX gives a client before its connect; user may be
 * empty.  Also replaces both later.  NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t ngx_centrifugo_client_identity(ngx_centrifugo_client_t *client,
    const ngx_str_t *user, const ngx_str_t *info);

/* Sets when the connection expires (0: never); returns the seconds left. */
uint32_t ngx_centrifugo_client_expire(ngx_centrifugo_client_t *client,
    int64_t expire_at);

/* seconds from now until then, which may have passed meanwhile */
#define ngx_centrifugo_ttl(expire_at)                                        \
    ((uint32_t) ngx_max(ngx_min((expire_at) - ngx_time(),                    \
                                (int64_t) NGX_MAX_UINT32_VALUE), 0))

/*
 * A push: begin gives a buffer for it, end sends it behind what the client has
 * been answered already.
 */
ngx_centrifugo_buf_t *ngx_centrifugo_client_push_begin(
    ngx_centrifugo_client_t *client);
void ngx_centrifugo_client_push_end(ngx_centrifugo_client_t *client,
    ngx_centrifugo_buf_t *b);


/* src/client/ngx_centrifugo_user.c */

/*
 * Enters the client under its user id; with `limit` (0: none) NGX_DECLINED
 * when that many of all workers have it.  NGX_OK; NGX_ERROR: no memory, or
 * the zone is full.  leave: does nothing when it is not entered.
 */
ngx_int_t ngx_centrifugo_user_enter(ngx_centrifugo_client_t *client,
    ngx_uint_t limit);
void ngx_centrifugo_user_leave(ngx_centrifugo_client_t *client);

/*
 * The same for the binary address of a connection, which is counted from its
 * handshake on.
 */
ngx_int_t ngx_centrifugo_address_enter(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_str_t *address, ngx_uint_t limit,
    ngx_centrifugo_user_t **entered);
void ngx_centrifugo_address_leave(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_user_t *entered);

/*
 * Puts users and addresses back into wiped shards, a part of them in each
 * call.  NGX_OK: all are; NGX_AGAIN: call again; NGX_ERROR: no room, all has to
 * be begun again.
 */
ngx_int_t ngx_centrifugo_user_resync(ngx_centrifugo_hub_conf_t *hcf);

/* Frees the tables, when the worker exits. */
void ngx_centrifugo_user_exit(ngx_centrifugo_hub_conf_t *hcf);


/* src/client/ngx_centrifugo_permission.c */

/*
 * What a client may do with a channel, by options alone (tokens come before
 * them).  NULL: allowed; else the error, and in *why a reason for the log.
 */
const ngx_centrifugo_error_t *ngx_centrifugo_permission_name(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel,
    ngx_centrifugo_channel_options_t **options, const char **why);
const ngx_centrifugo_error_t *ngx_centrifugo_permission_subscribe(
    ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    ngx_centrifugo_channel_options_t *options, const char **why);
const ngx_centrifugo_error_t *ngx_centrifugo_permission_publish(
    ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    ngx_centrifugo_channel_options_t *options, const char **why);

/* `subscribed`: it counts as a subscriber of the channel */
const ngx_centrifugo_error_t *ngx_centrifugo_permission_presence(
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options, ngx_uint_t subscribed,
    const char **why);
const ngx_centrifugo_error_t *ngx_centrifugo_permission_history(
    ngx_centrifugo_client_t *client,
    ngx_centrifugo_channel_options_t *options, ngx_uint_t subscribed,
    const char **why);

/*
 * The one check of data that is to be published: publication_max_size, and
 * publication_data_format of the channel's options.  NGX_OK or NGX_DECLINED
 * (error 107).
 */
ngx_int_t ngx_centrifugo_publication_check(ngx_centrifugo_hub_conf_t *hcf,
    const ngx_centrifugo_channel_options_t *options, const ngx_str_t *data,
    ngx_uint_t json);

/* A grant by the options of the channel and what overrides them. */
void ngx_centrifugo_grant_options(ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_channel_options_t *options,
    const ngx_centrifugo_override_t *override);


/* src/client/ngx_centrifugo_subscribing.c */

/* a subscription on its way, whoever asked for it */
struct ngx_centrifugo_subscribing_s {
    ngx_centrifugo_subscribing_t      *next;    /* of its client */
    uint64_t                           client;  /* handle */
    u_char                             id[16];  /* of the client */
    ngx_centrifugo_hub_conf_t         *hcf;
    ngx_centrifugo_grant_t             grant;   /* its strings are copies */

    /*
     * Called once; `sub` waits for ngx_centrifugo_subscription_answered().
     * `client` is NULL when it is gone or closed.  `err` says why there is no
     * subscription.  Frees nothing: that is done after it.
     */
    void                             (*done)(
                                         ngx_centrifugo_subscribing_t *op,
                                         ngx_centrifugo_client_t *client,
                                         ngx_centrifugo_subscription_t *sub,
                                         const ngx_centrifugo_error_t *err,
                                         const char *why);
    void                              *data;

    /* what the engine found, until `done` */
    ngx_centrifugo_position_t          position;        /* the top */
    ngx_str_t                          publications;    /* packed */
    u_char                            *copy;            /* of them */

    /* an unsubscribe that came meanwhile is carried out after `done` */
    ngx_uint_t                         code;            /* 0: none */
    ngx_str_t                          reason;

    /* of the command subscribe */
    const char                        *refused;         /* by 107 when it is
                                                           allowed otherwise;
                                                           NULL: is not */
    unsigned                           join_leave:1;    /* are wished for */
    unsigned                           positioned:1;
    unsigned                           recoverable:1;
    unsigned                           delta:1;

    unsigned                           recovered:1;
    unsigned                           cancelled:1;     /* by the client */
    unsigned                           serial:21;       /* of the
                                                           subscription */
};

/*
 * create: takes the grant's filter; NULL: no memory.  start: frees it in the
 * end; free: one that was not started.
 */
ngx_centrifugo_subscribing_t *ngx_centrifugo_subscribing_create(
    ngx_centrifugo_client_t *client, ngx_centrifugo_grant_t *grant);
void ngx_centrifugo_subscribing_start(ngx_centrifugo_subscribing_t *op);
void ngx_centrifugo_subscribing_free(ngx_centrifugo_subscribing_t *op);

/*
 * The first that is on its way to a channel, or NULL.  unsubscribe: all of them
 * (channel NULL: to any) are to end once they are answered, and to be told so;
 * NGX_ERROR: no memory.  cancel: the client does not want them any more.
 */
ngx_centrifugo_subscribing_t *ngx_centrifugo_subscribing_find(
    ngx_centrifugo_client_t *client, const ngx_str_t *channel);
ngx_int_t ngx_centrifugo_subscribing_unsubscribe(
    ngx_centrifugo_client_t *client, const ngx_str_t *channel,
    ngx_uint_t code, const ngx_str_t *reason);
void ngx_centrifugo_subscribing_cancel(ngx_centrifugo_client_t *client,
    const ngx_str_t *channel);


/* src/client/ngx_centrifugo_recovery.c */

/*
 * Within `done`: what the subscriber is told of its position, and in `list`
 * (zeroed before, to be freed; NULL: that is not told) what it missed.  When
 * that takes more than `room` bytes it is not recovered.  The rest of result
 * is left as it is; strings point into `op`.  NGX_OK; NGX_DECLINED: a JSON
 * client has missed something that is not JSON (3506).
 */
ngx_int_t ngx_centrifugo_recovery_result(ngx_centrifugo_subscribing_t *op,
    ngx_centrifugo_subscription_t *sub, size_t room,
    ngx_centrifugo_buf_t *list, ngx_centrifugo_subscribe_result_t *result);

/* The epoch of a position as it is told; len 0: none. */
void ngx_centrifugo_position_epoch(ngx_centrifugo_position_t *position,
    ngx_str_t *epoch);

/*
 * The client has missed something that it can't be given any more: it is told
 * to come again, by an unsubscribe (2500) or a disconnect (3010).  channel: all
 * positioned ones that have not come to `top`.
 */
void ngx_centrifugo_subscription_insufficient(
    ngx_centrifugo_subscription_t *sub);
void ngx_centrifugo_channel_insufficient(ngx_centrifugo_channel_t *channel,
    const ngx_centrifugo_position_t *top);


/* src/client/ngx_centrifugo_subscription.c */

/*
 * Attaches a new subscription, which waits to be answered, to its client and to
 * the channel that the engine found; takes the grant's filter.  NULL: no
 * memory, nothing has changed.  answered: what was said of it is in the reply
 * buffer or in the queue, behind it comes what was held; may close the client.
 */
ngx_centrifugo_subscription_t *ngx_centrifugo_subscription_create(
    ngx_centrifugo_client_t *client, ngx_centrifugo_grant_t *grant,
    const ngx_centrifugo_engine_result_t *result);
void ngx_centrifugo_subscription_answered(ngx_centrifugo_subscription_t *sub);

ngx_centrifugo_subscription_t *ngx_centrifugo_client_subscription(
    ngx_centrifugo_client_t *client, const ngx_str_t *channel);

/* Ends a subscription, or all; nothing is pushed to the client. */
void ngx_centrifugo_subscription_end(ngx_centrifugo_subscription_t *sub);
void ngx_centrifugo_client_unsubscribe_all(ngx_centrifugo_client_t *client);

/* Ends it and tells the client by a push. */
void ngx_centrifugo_subscription_revoke(ngx_centrifugo_subscription_t *sub,
    ngx_uint_t code, const ngx_str_t *reason);

/*
 * Replaces expiry and info, also in presence.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_centrifugo_subscription_renew(
    ngx_centrifugo_subscription_t *sub, int64_t expire_at,
    const ngx_str_t *info);

/*
 * What presence, joins and leaves say of the client; NGX_ERROR: no memory.
 * absent: a presence came late and is taken back, unless `sub` (NULL: none) has
 * one or may get one.
 */
ngx_int_t ngx_centrifugo_subscription_identity(
    ngx_centrifugo_subscription_t *sub, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_presence_t *presence);
void ngx_centrifugo_subscription_absent(ngx_centrifugo_hub_conf_t *hcf,
    ngx_centrifugo_subscription_t *sub, const ngx_str_t *channel, u_char *id);

/*
 * Whether presence_info_max allows the client an info and a chan_info, another
 * chan_info of a subscription, and another info in all of its subscriptions.
 */
ngx_uint_t ngx_centrifugo_info_fits(ngx_centrifugo_client_t *client,
    const ngx_str_t *info, const ngx_str_t *chan_info);
ngx_uint_t ngx_centrifugo_subscription_fits(
    ngx_centrifugo_subscription_t *sub, const ngx_str_t *chan_info);
ngx_uint_t ngx_centrifugo_presence_fits(ngx_centrifugo_client_t *client,
    const ngx_str_t *info);

/* Ends those that have expired, and sets the client's timer for the next. */
void ngx_centrifugo_subscription_expire(ngx_centrifugo_client_t *client);

/*
 * Enters the presence of all subscriptions of the client again: its info has
 * changed.  channel: of all clients of a channel, after a wipe.
 */
void ngx_centrifugo_presence_renew(ngx_centrifugo_client_t *client);
void ngx_centrifugo_presence_restore(ngx_centrifugo_channel_t *channel);


#endif /* _NGX_CENTRIFUGO_CLIENT_H_INCLUDED_ */
