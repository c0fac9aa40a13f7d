/*
 * The configuration: hubs with their namespaces, and the locations that lead
 * to them.
 */

#ifndef _NGX_CENTRIFUGO_CONF_H_INCLUDED_
#define _NGX_CENTRIFUGO_CONF_H_INCLUDED_


#include "ngx_centrifugo_compat.h"
#include "../hub/ngx_centrifugo_hub.h"
#include "../auth/ngx_centrifugo_auth.h"


/* contexts of directives; bits that neither NGINX nor its http module uses */

#define NGX_CENTRIFUGO_HUB_CONF        0x00020000
#define NGX_CENTRIFUGO_NAMESPACE_CONF  0x00040000

/* the structures that directives of these blocks write to */

#define NGX_CENTRIFUGO_HUB_OFFSET      NGX_HTTP_SRV_CONF_OFFSET
#define NGX_CENTRIFUGO_OPTIONS_OFFSET  NGX_HTTP_LOC_CONF_OFFSET


/* what data a publication may have */
typedef enum {
    NGX_CENTRIFUGO_DATA_SOME = 0,       /* anything but nothing */
    NGX_CENTRIFUGO_DATA_JSON,
    NGX_CENTRIFUGO_DATA_OBJECT,
    NGX_CENTRIFUGO_DATA_BINARY          /* also nothing */
} ngx_centrifugo_data_e;

/* force_recovery_mode */
typedef enum {
    NGX_CENTRIFUGO_RECOVERY_STREAM = 0,
    NGX_CENTRIFUGO_RECOVERY_CACHE
} ngx_centrifugo_recovery_e;

/* options of a channel: of a namespace, or of channels without one */
typedef struct {
    ngx_flag_t                          presence;
    ngx_flag_t                          join_leave;
    ngx_flag_t                          force_push_join_leave;
    ngx_flag_t                          allow_subscribe_for_client;
    ngx_flag_t                          allow_subscribe_for_anonymous;
    ngx_flag_t                          allow_publish_for_client;
    ngx_flag_t                          allow_publish_for_subscriber;
    ngx_flag_t                          allow_publish_for_anonymous;
    ngx_flag_t                          allow_presence_for_client;
    ngx_flag_t                          allow_presence_for_subscriber;
    ngx_flag_t                          allow_presence_for_anonymous;
    ngx_flag_t                          allow_history_for_client;
    ngx_flag_t                          allow_history_for_subscriber;
    ngx_flag_t                          allow_history_for_anonymous;
    ngx_flag_t                          allow_user_limited_channels;
    ngx_uint_t                          history_size;   /* 0: no history */
    ngx_msec_t                          history_ttl;
    ngx_msec_t                          history_meta_ttl;
    ngx_flag_t                          force_positioning;
    ngx_flag_t                          allow_positioning;
    ngx_flag_t                          force_recovery;
    ngx_flag_t                          allow_recovery;
    ngx_uint_t                          recover;    /* how:
                                                 ngx_centrifugo_recovery_e */
    ngx_flag_t                          auto_cache_recover;
    ngx_flag_t                          delta_fossil;   /* allowed */
    ngx_flag_t                          delta_publish;
    ngx_flag_t                          allow_tags_filter;
    ngx_uint_t                          data;   /* ngx_centrifugo_data_e */
#if (NGX_PCRE)
    ngx_regex_t                        *regex;  /* NULL: none */
#endif
    ngx_str_t                           channel_regex;
} ngx_centrifugo_channel_options_t;

typedef struct {
    ngx_str_t                           name;
    ngx_centrifugo_channel_options_t   *options;
} ngx_centrifugo_namespace_t;

/* where the API says that a method has failed */
typedef enum {
    NGX_CENTRIFUGO_ERRORS_BODY = 0,
    NGX_CENTRIFUGO_ERRORS_TRANSPORT     /* by the status, too */
} ngx_centrifugo_errors_e;

typedef struct {
    ngx_str_t                           name;

    size_t                              zone;
    size_t                              log;
    ngx_shm_zone_t                     *shm_zone;
    ngx_uint_t                          slots;      /* asked for */
    ngx_cycle_t                        *cycle;
    ngx_http_core_srv_conf_t           *server;     /* of its first client
                                                       location */

    ngx_str_t                           api_key;
    ngx_array_t                        *allowed_origins;    /* ngx_str_t */
    ngx_open_file_t                    *session_log;    /* NULL: off */
    ngx_flag_t                          session_log_set;
    ngx_flag_t                          client_insecure;
    ngx_flag_t                          api_insecure;
    ngx_flag_t                          anonymous;
    ngx_flag_t                          no_anonymous_tokens;
    ngx_flag_t                          skip_signature;
    ngx_flag_t                          subscription_token;     /* has its own
                                                                   verifier */
    ngx_flag_t                          personal;
    ngx_flag_t                          single_connection;
    ngx_str_t                           personal_namespace;
    ngx_http_complex_value_t           *user;               /* NULL: none */
    ngx_http_complex_value_t           *connection_info;
    ngx_msec_t                          ping_interval;
    ngx_msec_t                          pong_timeout;
    ngx_msec_t                          stale_close_delay;
    ngx_msec_t                          expired_close_delay;
    ngx_msec_t                          expired_sub_close_delay;
    ngx_msec_t                          write_timeout;
    ngx_msec_t                          drain_time;
    ngx_uint_t                          channel_limit;
    ngx_uint_t                          channel_max_length;
    ngx_uint_t                          connection_limit;
    ngx_uint_t                          connection_limit_per_address;
    ngx_uint_t                          connection_rate_limit;
    ngx_uint_t                          user_connection_limit;
    ngx_uint_t                          history_max_publication_limit;
    ngx_uint_t                          recovery_max_publication_limit;
    ngx_msec_t                          channel_position_check_delay;
    ngx_msec_t                          channel_position_max_time_lag;
                                                /* 0: any */
    ngx_flag_t                          channel_compaction;
    ngx_uint_t                          api_error_mode;
                                                /* ngx_centrifugo_errors_e */
    size_t                              presence_info_max;
    ngx_uint_t                          data;   /* of namespaces that do not
                                                   say; ngx_centrifugo_data_e */
    ngx_centrifugo_channel_syntax_t     syntax;
    ngx_flag_t                          websocket_compression;
    ngx_uint_t                          websocket_compression_level;
    size_t                              websocket_compression_min_size;
    size_t                              message_size_limit;
    size_t                              publication_max_size;
    size_t                              queue_max_size;

    ngx_centrifugo_verifier_t           verifier;
    ngx_centrifugo_verifier_t           subscription_verifier;
    ngx_centrifugo_channel_options_t   *options;
    ngx_array_t                         namespaces;
                                        /* ngx_centrifugo_namespace_t */

    ngx_centrifugo_hub_t                hub;        /* this process's view */
    const void                         *engine;     /* both of the broker */
    void                               *channels;
    void                               *requests;
    ngx_queue_t                         clients;    /* of this worker */
    void                               *users[2];   /* by user, by address */
    ngx_uint_t                          index;

#if (NGX_CENTRIFUGO_TEST)
    ngx_msec_t                          test_engine_delay;
    ngx_msec_t                          test_handshake_delay;
    size_t                              test_log;
    size_t                              test_control;
#endif
} ngx_centrifugo_hub_conf_t;

typedef enum {
    NGX_CENTRIFUGO_ENDPOINT_NONE = 0,
    NGX_CENTRIFUGO_ENDPOINT_CLIENT,
    NGX_CENTRIFUGO_ENDPOINT_API,
    NGX_CENTRIFUGO_ENDPOINT_GRPC,
    NGX_CENTRIFUGO_ENDPOINT_HEALTH,
    NGX_CENTRIFUGO_ENDPOINT_METRICS
#if (NGX_CENTRIFUGO_TEST)
    ,
    NGX_CENTRIFUGO_ENDPOINT_TEST,
    NGX_CENTRIFUGO_ENDPOINT_ECHO
#endif
} ngx_centrifugo_endpoint_e;

/* cmd->post of a directive that makes a location an endpoint */
typedef struct {
    ngx_centrifugo_endpoint_e           kind;
    ngx_http_handler_pt                 handler;
} ngx_centrifugo_endpoint_t;

/* cmd->post of a directive with a bounded value */
typedef struct {
    ngx_uint_t                          min;
    ngx_uint_t                          max;
    const char                         *hint;       /* what to write instead */
    ngx_msec_t                          step;       /* of a time, 0: any */
} ngx_centrifugo_bounds_t;

/* the same of one that is a word: the field gets the place in the list */
typedef struct {
    const ngx_str_t                    *words;      /* the last has data NULL */
    const char                         *hint;
} ngx_centrifugo_choice_t;

typedef struct {
    ngx_array_t                         hubs;
                                        /* ngx_centrifugo_hub_conf_t * */
    ngx_array_t                         locations;
                                        /* ngx_centrifugo_loc_conf_t * */
    ngx_shm_zone_t                     *registry_zone;
    ngx_centrifugo_registry_t          *registry;
    size_t                              queue_memory;   /* of a worker */
    ngx_uint_t                          grpc;           /* a location is */
} ngx_centrifugo_main_conf_t;

typedef struct {
    ngx_centrifugo_hub_conf_t          *hub;
    const ngx_centrifugo_endpoint_t    *endpoint;
    ngx_str_t                           directive;
    ngx_str_t                           hub_name;
    ngx_str_t                           file;       /* of the directive */
    ngx_uint_t                          line;
    ngx_http_core_loc_conf_t           *clcf;
    ngx_http_complex_value_t           *user;       /* before the hub's */
    ngx_http_complex_value_t           *connection_info;
    ngx_http_core_srv_conf_t           *cscf;
    unsigned                            merged:1;   /* from around it */
} ngx_centrifugo_loc_conf_t;


extern ngx_module_t  ngx_centrifugo_module;


/* handlers of directives; see the tables in ngx_centrifugo_module.c */

char *ngx_centrifugo_conf_hub(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_centrifugo_conf_namespace(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_origins(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_session_log(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_string(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_seconds(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_choice(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_deltas(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_regex(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_mark(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_value(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_flag(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_time(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_centrifugo_conf_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Logs a wrong value and what to write instead; returns NGX_CONF_ERROR. */
char *ngx_centrifugo_conf_bad_value(ngx_conf_t *cf, ngx_command_t *cmd,
    const char *hint);

void *ngx_centrifugo_conf_create_main(ngx_conf_t *cf);
void *ngx_centrifugo_conf_create_loc(ngx_conf_t *cf);
char *ngx_centrifugo_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child);

/* Resolves the hubs of all locations and checks what depends on both. */
ngx_int_t ngx_centrifugo_conf_finish(ngx_conf_t *cf);


/* src/core/ngx_centrifugo_conf_options.c: options of channels */

ngx_centrifugo_channel_options_t *ngx_centrifugo_conf_options_create(
    ngx_conf_t *cf);

/* Sets defaults and checks what is only right together; logs what is not. */
ngx_int_t ngx_centrifugo_conf_options_finish(ngx_conf_t *cf,
    ngx_centrifugo_hub_conf_t *hcf);

/*
 * The options of a channel's namespace, or NULL when it is not configured.
 */
ngx_centrifugo_channel_options_t *ngx_centrifugo_conf_channel(
    ngx_centrifugo_hub_conf_t *hcf, const ngx_str_t *channel);


/* src/core/ngx_centrifugo_zones.c: the shared zones of the configuration */

/* Adds the registry's zone (once) and that of a hub to the configuration. */
ngx_int_t ngx_centrifugo_zones_add(ngx_conf_t *cf,
    ngx_centrifugo_main_conf_t *mcf, ngx_centrifugo_hub_conf_t *hcf);

/*
 * Refuses a reload with hubs in one process: NGINX would unmap zones from
 * under the sessions it serves.  NGX_OK or NGX_ERROR, which is logged.
 */
ngx_int_t ngx_centrifugo_zones_check(ngx_conf_t *cf,
    ngx_centrifugo_main_conf_t *mcf);

/*
 * Marks the zones of the old cycle that this one made anew, when nothing can
 * fail any more: who is still in them leaves soon.
 */
void ngx_centrifugo_zones_replace(ngx_cycle_t *cycle,
    ngx_centrifugo_main_conf_t *mcf);

/*
 * Makes the doorbells at the first start with a hub; a start without enough
 * descriptors goes on with fewer and says so.  They are closed with the last
 * cycle that has a hub.
 */
void ngx_centrifugo_zones_bells(ngx_cycle_t *cycle,
    ngx_centrifugo_main_conf_t *mcf);

/* The slots a configuration needs for its workers. */
ngx_uint_t ngx_centrifugo_zones_slots(ngx_cycle_t *cycle);


#endif /* _NGX_CENTRIFUGO_CONF_H_INCLUDED_ */
