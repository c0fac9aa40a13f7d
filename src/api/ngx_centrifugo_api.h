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
    NGX_CENTRIFUGO_API_REFRESH
} ngx_centrifugo_api_method_e;

typedef struct ngx_centrifugo_api_job_s      ngx_centrifugo_api_job_t;
typedef struct ngx_centrifugo_api_command_s  ngx_centrifugo_api_command_t;

/* one channel of a publish or broadcast */
typedef struct {
    ngx_centrifugo_api_command_t     *command;
    ngx_str_t                         channel;
    const ngx_centrifugo_error_t     *error;        /* NULL: done */
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

struct ngx_centrifugo_api_command_s {
    ngx_centrifugo_api_job_t         *job;
    ngx_centrifugo_api_command_t     *next;
    ngx_uint_t                        method;
    uint32_t                          id;           /* 0: none */
    const ngx_centrifugo_error_t     *error;        /* of the whole command */
    ngx_uint_t                        nitems;
    ngx_centrifugo_api_item_t        *items;

    /* of other methods than publish and broadcast */
    ngx_str_t                         channel;      /* for the log */
    ngx_str_t                         user;
    ngx_centrifugo_buf_t              list;         /* entries of presence or
                                                       channels; freed with
                                                       the job */
    uint32_t                          num_clients;
    uint32_t                          num_users;
    ngx_centrifugo_api_node_t        *node;
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
    ngx_uint_t                        pending;      /* answers to come, and one
                                                       for the caller */
    void                            (*done)(ngx_centrifugo_api_job_t *job);
    void                             *data;         /* NULL: caller is gone */
    ngx_centrifugo_api_job_t         *next;         /* of those not in use */
    unsigned                          run:1;
    unsigned                          lists:1;      /* commands have some */
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

/* A command at the end of the job, or NULL: no memory. */
ngx_centrifugo_api_command_t *ngx_centrifugo_api_command(
    ngx_centrifugo_api_job_t *job, ngx_uint_t method, uint32_t id);

/*
 * Whether a method of that number is built.  find: by its name, in any case
 * or exactly.  NGX_OK: it is built; NGX_DECLINED: it exists but this hub does
 * not offer it; NGX_ERROR: there is no such method.
 */
ngx_uint_t ngx_centrifugo_api_offered(ngx_uint_t method);
ngx_int_t ngx_centrifugo_api_find(const ngx_str_t *name, ngx_uint_t any_case,
    ngx_uint_t *method);

/*
 * Begin what a body asks for: the parameters of one method, or one or many
 * commands.  NGX_OK: all has begun, what a method does not like is its
 * command's error; NGX_ERROR: malformed, nothing has; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_api_method_json(ngx_centrifugo_api_job_t *job,
    ngx_uint_t method, ngx_str_t *body);
ngx_int_t ngx_centrifugo_api_commands_json(ngx_centrifugo_api_job_t *job,
    ngx_str_t *body);

/* Ends the beginning: wakes workers, once for all commands. */
void ngx_centrifugo_api_run(ngx_centrifugo_api_job_t *job);

/*
 * Publishes `data` to `n` channels as one command; every string stays until
 * the job ends.  `json` says that the data is valid JSON.
 */
void ngx_centrifugo_api_publish(ngx_centrifugo_api_command_t *cmd,
    ngx_str_t *channels, ngx_uint_t n, const ngx_str_t *data,
    ngx_uint_t json);

/*
 * Other methods; strings stay until the job ends.  What a method does not like
 * becomes its command's error.
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

/* `"result":{...}` or `"error":{...}` of a command that is answered */
void ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);


/* within the API */

/* The whole command has failed: counts and logs it. */
void ngx_centrifugo_api_fail(ngx_centrifugo_api_command_t *cmd,
    const ngx_centrifugo_error_t *error);

/*
 * An engine or a worker is asked on account of the command, and has answered;
 * with an error, if it is not OK.
 */
void ngx_centrifugo_api_ask(ngx_centrifugo_api_command_t *cmd);
void ngx_centrifugo_api_answered(ngx_centrifugo_api_command_t *cmd,
    ngx_centrifugo_engine_rc_e rc);


#endif /* _NGX_CENTRIFUGO_API_H_INCLUDED_ */
