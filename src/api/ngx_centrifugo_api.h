/*
 * The server API: one set of methods, whatever door a call comes through.
 */

#ifndef _NGX_CENTRIFUGO_API_H_INCLUDED_
#define _NGX_CENTRIFUGO_API_H_INCLUDED_


#include "../client/ngx_centrifugo_order.h"
#include "../protocol/ngx_centrifugo_json.h"


/* numbers of the command dialect */
typedef enum {
    NGX_CENTRIFUGO_API_PUBLISH = 0,
    NGX_CENTRIFUGO_API_BROADCAST,
    NGX_CENTRIFUGO_API_UNSUBSCRIBE,
    NGX_CENTRIFUGO_API_DISCONNECT,
    NGX_CENTRIFUGO_API_PRESENCE,
    NGX_CENTRIFUGO_API_PRESENCE_STATS,
    NGX_CENTRIFUGO_API_HISTORY,
    NGX_CENTRIFUGO_API_HISTORY_REMOVE,
    NGX_CENTRIFUGO_API_CHANNELS,
    NGX_CENTRIFUGO_API_INFO,
    NGX_CENTRIFUGO_API_RPC,
    NGX_CENTRIFUGO_API_SUBSCRIBE,
    NGX_CENTRIFUGO_API_REFRESH,
    NGX_CENTRIFUGO_API_BATCH,           /* has none */
    NGX_CENTRIFUGO_API_UNKNOWN = 1000
} ngx_centrifugo_api_method_e;

/* bytes at most of an idempotency key and of the epoch of a version */
#define NGX_CENTRIFUGO_API_KEY_MAX      1024

/* bytes at most of the publications in all answers of a call */
#define NGX_CENTRIFUGO_API_HISTORY_MAX  (64 * 1024 * 1024)

typedef struct ngx_centrifugo_api_job_s      ngx_centrifugo_api_job_t;
typedef struct ngx_centrifugo_api_command_s  ngx_centrifugo_api_command_t;
typedef struct ngx_centrifugo_api_batch_s    ngx_centrifugo_api_batch_t;

/* one channel of a publish or broadcast */
typedef struct {
    ngx_centrifugo_api_command_t     *command;
    ngx_str_t                         channel;
    const ngx_centrifugo_error_t     *error;        /* NULL: done */
    ngx_centrifugo_position_t         position;     /* epoch 0: none */
} ngx_centrifugo_api_item_t;

/* what `info` tells of one NGINX instance */
typedef struct {
    u_char                            uid[NGX_CENTRIFUGO_ID_LEN];
    ngx_str_t                         name;
    uint64_t                          clients;
    uint64_t                          users;
    uint64_t                          channels;
    uint64_t                          subscriptions;
    uint64_t                          uptime;       /* seconds */
} ngx_centrifugo_api_node_t;

/* what presence, presence_stats, history, channels and info have found */
typedef struct {
    ngx_centrifugo_buf_t              list;         /* entries; freed with the
                                                       job */
    ngx_centrifugo_position_t         position;     /* of a history */
    uint32_t                          num_clients;
    uint32_t                          num_users;
    ngx_centrifugo_api_node_t         node;
} ngx_centrifugo_api_found_t;

struct ngx_centrifugo_api_command_s {
    ngx_centrifugo_api_job_t         *job;
    ngx_centrifugo_api_command_t     *next;
    ngx_uint_t                        method;
    uint32_t                          id;           /* 0: none */
    const ngx_centrifugo_error_t     *error;        /* of the whole command */
    ngx_uint_t                        nitems;
    ngx_centrifugo_api_item_t        *items;
    ngx_centrifugo_api_item_t         item;         /* if it is one */

    /* of other methods than publish and broadcast; for the log */
    ngx_str_t                         channel;
    ngx_str_t                         user;
    ngx_str_t                         client;
    ngx_centrifugo_api_found_t       *found;

    ngx_uint_t                        pending;      /* answers to come */
    ngx_centrifugo_api_batch_t       *batch;        /* that it is in, NULL:
                                                       none */
    ngx_centrifugo_api_batch_t       *commands;     /* of a batch */
    void                             *params;       /* in a batch: the door's
                                                       own */
};

/*
 * Commands that are begun one after the other, or many at a time.
 */
struct ngx_centrifugo_api_batch_s {
    ngx_centrifugo_api_command_t     *command;      /* the batch itself */
    ngx_centrifugo_api_command_t     *first;
    ngx_centrifugo_api_command_t    **last;
    ngx_centrifugo_api_command_t     *next;         /* to begin */
    ngx_uint_t                        active;       /* begun, not answered */
    ngx_uint_t                        limit;        /* of these */
    void                            (*begin)(
                                       ngx_centrifugo_api_command_t *cmd);
    unsigned                          running:1;
};

/*
 * The commands of one call.  It has its own memory, since an engine may answer
 * after the caller is gone.
 */
struct ngx_centrifugo_api_job_s {
    ngx_centrifugo_hub_conf_t        *hcf;
    ngx_log_t                        *log;          /* of the caller */
    ngx_centrifugo_arena_t            arena;
    ngx_centrifugo_api_command_t     *commands;
    ngx_centrifugo_api_command_t    **last;
    ngx_uint_t                        pending;      /* commands with answers to
                                                       come, and the caller */
    size_t                            history;      /* bytes in answers */
    void                            (*done)(ngx_centrifugo_api_job_t *job);
    void                             *data;         /* NULL: caller is gone */
    ngx_centrifugo_api_job_t         *next;         /* of those not in use */
    unsigned                          run:1;
    unsigned                          lists:1;      /* commands have some */
    unsigned                          failed:1;     /* one of them, or of their
                                                       channels */
};


extern const ngx_centrifugo_error_t  ngx_centrifugo_api_not_found;


/* Once in the master, and at the start of each worker. */
void ngx_centrifugo_api_init(void);
void ngx_centrifugo_api_init_worker(void);

/*
 * A job for one caller; `done` is called once, when all commands are answered
 * and ngx_centrifugo_api_run() was called, unless `data` is NULL by then.
 * NULL: no memory.
 */
ngx_centrifugo_api_job_t *ngx_centrifugo_api_create(
    ngx_centrifugo_hub_conf_t *hcf, ngx_log_t *log, void *data,
    void (*done)(ngx_centrifugo_api_job_t *job));

/*
 * The caller needs no answer any more: the job frees itself with its last
 * one.  To be called after `done`, or instead of it.
 */
void ngx_centrifugo_api_release(ngx_centrifugo_api_job_t *job);

/* A command at the end of the job, or of a batch in it.  NULL: no memory. */
ngx_centrifugo_api_command_t *ngx_centrifugo_api_command(
    ngx_centrifugo_api_job_t *job, ngx_centrifugo_api_batch_t *batch,
    ngx_uint_t method, uint32_t id);

/*
 * Whether the command dialect has a method of that number.  find: a method by
 * its name, in any case or exactly.  NGX_OK: it is there, perhaps without a
 * number; NGX_DECLINED: it exists but this hub does not offer it; NGX_ERROR:
 * there is no such method.
 */
#define ngx_centrifugo_api_offered(method)                                   \
    ((method) <= NGX_CENTRIFUGO_API_REFRESH)

ngx_int_t ngx_centrifugo_api_find(const ngx_str_t *name, ngx_uint_t any_case,
    ngx_uint_t *method);

/* The name of a method. */
const ngx_str_t *ngx_centrifugo_api_name(ngx_uint_t method);

/*
 * Begin what a body asks for: the parameters of one method, or one or many
 * commands.  The body stays until the job is released, that of a batch until
 * the job ends.  NGX_OK: all has begun, what a method does not like is its
 * command's error; NGX_ERROR: malformed, nothing has; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_api_method_json(ngx_centrifugo_api_job_t *job,
    ngx_uint_t method, ngx_str_t *body);
ngx_int_t ngx_centrifugo_api_commands_json(ngx_centrifugo_api_job_t *job,
    ngx_str_t *body);

/* Ends the beginning: wakes workers, once for all commands. */
void ngx_centrifugo_api_run(ngx_centrifugo_api_job_t *job);

/*
 * Publishes to `n` channels as one command; every string stays until the job is
 * released.  Of `pub` the caller sets data, json, tags, delta, idempotency key
 * and version; the rest comes from each channel.
 */
void ngx_centrifugo_api_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_str_t *channels, ngx_uint_t n, ngx_centrifugo_publish_t *pub,
    ngx_uint_t skip_history);

/*
 * Other methods; strings stay until the job is released.  What a method does
 * not like becomes its command's error.
 */
void ngx_centrifugo_api_order(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_order_t *order);
void ngx_centrifugo_api_presence(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *channel);
void ngx_centrifugo_api_channels(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *pattern);
void ngx_centrifugo_api_info(ngx_centrifugo_api_command_t *cmd);
void ngx_centrifugo_api_rpc(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *method);

/* what is asked of a history */
typedef struct {
    ngx_str_t                         channel;
    int32_t                           limit;        /* 0: only the position,
                                                       below it: all */
    ngx_centrifugo_position_t         since;        /* of ngx_centrifugo_epoch()
                                                       */
    unsigned                          bounded:1;    /* by `since` */
    unsigned                          reverse:1;
} ngx_centrifugo_api_history_t;

void ngx_centrifugo_api_history(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_api_history_t *history);
void ngx_centrifugo_api_history_remove(ngx_centrifugo_api_command_t *cmd,
    const ngx_str_t *channel);

/*
 * A batch: create makes it in its command, NULL: no memory; then the door adds
 * commands, in which it keeps what it knows of their parameters; run begins
 * them by `begin`, which does what the door does with a single command.
 */
ngx_centrifugo_api_batch_t *ngx_centrifugo_api_batch_create(
    ngx_centrifugo_api_command_t *cmd, ngx_uint_t parallel,
    void (*begin)(ngx_centrifugo_api_command_t *cmd));
void ngx_centrifugo_api_batch_run(ngx_centrifugo_api_batch_t *batch);

/*
 * What a command that is answered says, without the braces: "result" or
 * "error", of a batch "replies".
 */
void ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);

/* The same as the message that answers the method, of proto/api.proto. */
void ngx_centrifugo_api_result_pb(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);

/* The error of a command that consists of nothing but it, or NULL. */
const ngx_centrifugo_error_t *ngx_centrifugo_api_error(
    ngx_centrifugo_api_command_t *cmd);

/* {"code":..,"message":".."} */
void ngx_centrifugo_api_error_json(ngx_centrifugo_buf_t *b,
    const ngx_centrifugo_error_t *error);


/* within the API */

/*
 * The whole command, or one channel of it, has failed: counts and logs it,
 * `why` is for the log.
 */
void ngx_centrifugo_api_fail(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_error_t *error, const char *why);
void ngx_centrifugo_api_item_fail(ngx_centrifugo_api_item_t *item,
    const ngx_centrifugo_error_t *error, const char *why);

/*
 * An engine or a worker is asked on account of the command, and has answered;
 * _by fails the command, if it is not OK.
 */
#define ngx_centrifugo_api_ask(cmd)                                          \
    do { if ((cmd)->pending++ == 0) (cmd)->job->pending++; } while (0)
#define ngx_centrifugo_api_answered(cmd)                                     \
    do {                                                                     \
        if (--(cmd)->pending == 0) ngx_centrifugo_api_all_answered(cmd);     \
    } while (0)

void ngx_centrifugo_api_all_answered(ngx_centrifugo_api_command_t *cmd);
void ngx_centrifugo_api_answered_by(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_rc_e rc);

/* Room for what the method finds, or NGX_ERROR: the command has failed. */
ngx_int_t ngx_centrifugo_api_found(ngx_centrifugo_api_command_t *cmd);

/*
 * Takes the parameters of the method (a map, of JSON or Protobuf, or NULL for
 * none) and begins the command, or with NULL for it only checks them; what the
 * method does not like becomes the command's error.  NGX_ERROR: a parameter
 * has a wrong type, nothing has begun; NGX_ABORT: no memory, nothing has begun.
 */
ngx_int_t ngx_centrifugo_api_params(ngx_centrifugo_api_command_t *cmd,
    ngx_uint_t method, ngx_centrifugo_json_t *params);

/* The same, where all that is wrong is the command's error. */
void ngx_centrifugo_api_begin(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params);

/* The same of a batch: nothing has begun when one of its commands is wrong. */
ngx_int_t ngx_centrifugo_api_batch_params(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_json_t *params);

/* One of a batch's commands is answered. */
void ngx_centrifugo_api_batch_answered(ngx_centrifugo_api_batch_t *batch);


#endif /* _NGX_CENTRIFUGO_API_H_INCLUDED_ */
