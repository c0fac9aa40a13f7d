/*
 * The server API: one set of methods, whatever door a call comes through.
 */

#ifndef _NGX_CENTRIFUGO_API_H_INCLUDED_
#define _NGX_CENTRIFUGO_API_H_INCLUDED_


#include "../broker/ngx_centrifugo_broker.h"
#include "../protocol/ngx_centrifugo_json.h"


/* numbers of the command dialect */
typedef enum {
    NGX_CENTRIFUGO_API_PUBLISH = 0,
    NGX_CENTRIFUGO_API_BROADCAST = 1
} ngx_centrifugo_api_method_e;

typedef struct ngx_centrifugo_api_job_s      ngx_centrifugo_api_job_t;
typedef struct ngx_centrifugo_api_command_s  ngx_centrifugo_api_command_t;

/* one channel of a publish or broadcast */
typedef struct {
    ngx_centrifugo_api_command_t     *command;
    ngx_str_t                         channel;
    const ngx_centrifugo_error_t     *error;        /* NULL: done */
} ngx_centrifugo_api_item_t;

struct ngx_centrifugo_api_command_s {
    ngx_centrifugo_api_job_t         *job;
    ngx_centrifugo_api_command_t     *next;
    ngx_uint_t                        method;
    uint32_t                          id;           /* 0: none */
    const ngx_centrifugo_error_t     *error;        /* of the whole command */
    ngx_uint_t                        nitems;
    ngx_centrifugo_api_item_t        *items;
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
};


extern const ngx_centrifugo_error_t  ngx_centrifugo_api_not_found;


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
 * Finds a method by its name, in any case or exactly.  NGX_OK: it is built;
 * NGX_DECLINED: it exists but this hub does not offer it; NGX_ERROR: there is
 * no such method.
 */
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

/* `"result":{...}` or `"error":{...}` of a command that is answered */
void ngx_centrifugo_api_result_json(ngx_centrifugo_buf_t *b,
    ngx_centrifugo_api_command_t *cmd);


#endif /* _NGX_CENTRIFUGO_API_H_INCLUDED_ */
