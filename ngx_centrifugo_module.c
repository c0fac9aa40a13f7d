/*
 * ngx_centrifugo_module: a real-time messaging server inside NGINX.
 *
 * Tables of directives and hooks of the life cycle, nothing else.
 */

#include "src/core/ngx_centrifugo_conf.h"
#include "src/client/ngx_centrifugo_worker.h"
#include "src/proxy/ngx_centrifugo_call.h"
#include "src/transport/ngx_centrifugo_ws.h"
#include "src/transport/ngx_centrifugo_ws_deflate.h"
#include "src/api/ngx_centrifugo_api.h"
#include "src/api/ngx_centrifugo_http.h"

#if (NGX_CENTRIFUGO_TEST)
#include "src/test/ngx_centrifugo_test.h"
#endif


#define hub_field(f)      offsetof(ngx_centrifugo_hub_conf_t, f)
#define options_field(f)  offsetof(ngx_centrifugo_channel_options_t, f)

#define HUB_FLAG(name, field)                                                \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_flag, NGX_CENTRIFUGO_HUB_OFFSET,                   \
      hub_field(field), NULL }

#define HUB_TIME(name, field, bounds)                                        \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_time, NGX_CENTRIFUGO_HUB_OFFSET,                   \
      hub_field(field), bounds }

#define HUB_SIZE(name, field, bounds)                                        \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_size, NGX_CENTRIFUGO_HUB_OFFSET,                   \
      hub_field(field), bounds }

#define HUB_NUMBER(name, field, bounds)                                      \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_number, NGX_CENTRIFUGO_HUB_OFFSET,                 \
      hub_field(field), bounds }

#define HUB_STRING(name, field, hint)                                        \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_string, NGX_CENTRIFUGO_HUB_OFFSET,                 \
      hub_field(field), hint }

#define HUB_MARK(name, field)                                                \
    { ngx_string(name), NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,              \
      ngx_centrifugo_conf_mark, NGX_CENTRIFUGO_HUB_OFFSET,                   \
      hub_field(field), NULL }

/* the same directives for both kinds of tokens */

#define HUB_TOKEN(prefix, v)                                                 \
    HUB_STRING(prefix "hmac_secret_key", v.hmac_secret_key, HINT_SECRET),    \
    HUB_STRING(prefix "hmac_previous_secret_key",                            \
               v.hmac_previous_secret_key, HINT_SECRET),                     \
    { ngx_string(prefix "hmac_previous_secret_key_valid_until"),             \
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1, ngx_centrifugo_conf_seconds,   \
      NGX_CENTRIFUGO_HUB_OFFSET, hub_field(v.hmac_previous_valid_until),     \
      NULL },                                                                \
    HUB_STRING(prefix "rsa_public_key", v.rsa_public_key, HINT_KEY),         \
    HUB_STRING(prefix "ecdsa_public_key", v.ecdsa_public_key, HINT_KEY),     \
    HUB_STRING(prefix "jwks_public_endpoint", v.jwks_endpoint,               \
               HINT_ENDPOINT),                                               \
    HUB_STRING(prefix "audience", v.audience, HINT_TEXT),                    \
    HUB_STRING(prefix "issuer", v.issuer, HINT_TEXT),                        \
    HUB_STRING(prefix "audience_regex", v.audience_regex, HINT_REGEX),       \
    HUB_STRING(prefix "issuer_regex", v.issuer_regex, HINT_REGEX),           \
    HUB_STRING(prefix "user_id_claim", v.user_id_claim, HINT_CLAIM),         \
    HUB_FLAG(prefix "insecure_skip_jwks_endpoint_safety_check",              \
             v.skip_jwks_check)

#define HINT_SECRET    "a long random string"
#define HINT_KEY       "a PEM public key, or the path of its file"
#define HINT_ENDPOINT  "the path of an internal location, such as /jwks"
#define HINT_TEXT      "the text that tokens have"
#define HINT_REGEX     "a regular expression"
#define HINT_CLAIM     "the name of a claim, such as user_id"
#define HINT_INFO      "one variable, such as $auth_info, whose value is JSON"
#define HINT_NS        "the name of a namespace of this hub"

#define CHANNEL_FLAG(name, field)                                            \
    { ngx_string(name),                                                      \
      NGX_CENTRIFUGO_HUB_CONF|NGX_CENTRIFUGO_NAMESPACE_CONF                  \
      |NGX_CONF_TAKE1,                                                       \
      ngx_centrifugo_conf_flag, NGX_CENTRIFUGO_OPTIONS_OFFSET,               \
      options_field(field), NULL }

#define CHANNEL(name, handler, field, post)                                  \
    { ngx_string(name),                                                      \
      NGX_CENTRIFUGO_HUB_CONF|NGX_CENTRIFUGO_NAMESPACE_CONF                  \
      |NGX_CONF_TAKE1,                                                       \
      handler, NGX_CENTRIFUGO_OPTIONS_OFFSET, options_field(field), post }

#define LOCATION(name, endpoint)                                             \
    { ngx_string(name), NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,    \
      ngx_centrifugo_conf_location, NGX_HTTP_LOC_CONF_OFFSET, 0, endpoint }


static ngx_int_t ngx_centrifugo_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_centrifugo_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_centrifugo_init_process(ngx_cycle_t *cycle);
static void ngx_centrifugo_exit_process(ngx_cycle_t *cycle);


static ngx_centrifugo_bounds_t  ngx_centrifugo_ping_bounds = {
    1000, 86400000, "a time from 1s to 24h, such as 25s", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_delay_bounds = {
    100, 86400000, "a time from 100ms to 24h, such as 10s", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_drain_bounds = {
    0, 86400000, "a time up to 24h, such as 30s", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_level_bounds = {
    1, 9, "a level from 1, the fastest, to 9", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_compressed_bounds = {
    0, 64 * 1024 * 1024, "a size up to 64m, such as 256", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_message_bounds = {
    128, 64 * 1024 * 1024, "a size from 128 to 64m, such as 64k", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_publication_bounds = {
    1, 64 * 1024 * 1024, "a size from 1 to 64m, such as 512k", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_queue_bounds = {
    4096, 1024 * 1024 * 1024, "a size from 4k to 1024m, such as 1m", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_memory_bounds = {
    1024 * 1024, (ngx_uint_t) 1 << 40, "a size from 1m, such as 256m", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_limit_bounds = {
    1, 1000000, "a number from 1 to 1000000, such as 128", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_length_bounds = {
    1, NGX_CENTRIFUGO_NAME_MAX,
    "a number of bytes from 1 to 1024, such as 255", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_connection_bounds = {
    0, NGX_MAX_INT32_VALUE, "a number, or 0 for no limit", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_rate_bounds = {
    0, 1000000, "a number of connections a second, or 0 for no limit", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_presence_bounds = {
    0, 4096, "a size up to 4k", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_history_bounds = {
    0, 1000000, "a number of publications up to 1000000, such as 100", 0
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_ttl_bounds = {
    0, 31536000000, "a time in whole seconds up to a year, such as 10m", 1000
};

static ngx_centrifugo_bounds_t  ngx_centrifugo_meta_bounds = {
    1000, 315360000000, "a time in whole seconds from 1s to ten years, such as "
    "720h", 1000
};

static ngx_str_t  ngx_centrifugo_data_words[] = {
    ngx_string(""),
    ngx_string("json"),
    ngx_string("json_object"),
    ngx_string("binary"),
    ngx_null_string
};

static ngx_centrifugo_choice_t  ngx_centrifugo_data_formats = {
    ngx_centrifugo_data_words,
    "\"json\", \"json_object\", \"binary\", or \"\" for anything but nothing"
};

static ngx_str_t  ngx_centrifugo_recovery_words[] = {
    ngx_string("stream"),
    ngx_string("cache"),
    ngx_null_string
};

static ngx_centrifugo_choice_t  ngx_centrifugo_recovery_modes = {
    ngx_centrifugo_recovery_words, "\"stream\" or \"cache\""
};

static ngx_str_t  ngx_centrifugo_error_words[] = {
    ngx_string(""),
    ngx_string("transport"),
    ngx_null_string
};

static ngx_centrifugo_choice_t  ngx_centrifugo_error_modes = {
    ngx_centrifugo_error_words,
    "\"transport\", or leave it out for errors in the body"
};

static ngx_centrifugo_endpoint_t  ngx_centrifugo_websocket_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_CLIENT, ngx_centrifugo_ws_handler
};

static ngx_centrifugo_endpoint_t  ngx_centrifugo_api_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_API, ngx_centrifugo_api_handler
};

static ngx_centrifugo_endpoint_t  ngx_centrifugo_grpc_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_GRPC, ngx_centrifugo_grpc_handler
};

static ngx_centrifugo_endpoint_t  ngx_centrifugo_health_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_HEALTH, ngx_centrifugo_health_handler
};

static ngx_centrifugo_endpoint_t  ngx_centrifugo_metrics_endpoint = {
    NGX_CENTRIFUGO_ENDPOINT_METRICS, ngx_centrifugo_metrics_handler
};


static ngx_command_t  ngx_centrifugo_commands[] = {

    { ngx_string("centrifugo_hub"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_hub,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("centrifugo_queue_memory"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_centrifugo_main_conf_t, queue_memory),
      &ngx_centrifugo_memory_bounds },

    { ngx_string("namespace"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_namespace,
      NGX_CENTRIFUGO_HUB_OFFSET,
      0,
      NULL },

    /* the http module's own `include` is not known in these blocks */

    { ngx_string("include"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CENTRIFUGO_NAMESPACE_CONF|NGX_CONF_TAKE1,
      ngx_conf_include,
      NGX_CENTRIFUGO_HUB_OFFSET,
      0,
      NULL },

    { ngx_string("zone"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE12,
      ngx_centrifugo_conf_zone,
      NGX_CENTRIFUGO_HUB_OFFSET,
      0,
      NULL },

    { ngx_string("allowed_origins"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_1MORE,
      ngx_centrifugo_conf_origins,
      NGX_CENTRIFUGO_HUB_OFFSET,
      0,
      NULL },

    { ngx_string("session_log"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_session_log,
      NGX_CENTRIFUGO_HUB_OFFSET,
      0,
      NULL },

    HUB_TOKEN("token_", verifier),
    HUB_TOKEN("subscription_token_", subscription_verifier),
    HUB_FLAG("subscription_token_enabled", subscription_token),
    HUB_FLAG("insecure_skip_token_signature_verify", skip_signature),
    HUB_FLAG("disallow_anonymous_connection_tokens", no_anonymous_tokens),

    { ngx_string("user"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_value,
      NGX_CENTRIFUGO_HUB_OFFSET,
      hub_field(user),
      NULL },

    { ngx_string("user"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_centrifugo_loc_conf_t, user),
      NULL },

    { ngx_string("connection_info"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_value,
      NGX_CENTRIFUGO_HUB_OFFSET,
      hub_field(connection_info),
      HINT_INFO },

    { ngx_string("connection_info"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_centrifugo_loc_conf_t, connection_info),
      HINT_INFO },

    HUB_FLAG("subscribe_to_user_personal_channel", personal),
    HUB_STRING("personal_channel_namespace", personal_namespace, HINT_NS),
    HUB_FLAG("single_connection", single_connection),

    HUB_STRING("api_key", api_key, HINT_SECRET),

    HUB_FLAG("client_insecure", client_insecure),
    HUB_FLAG("api_insecure", api_insecure),
    HUB_FLAG("allow_anonymous_connect_without_token", anonymous),

    HUB_TIME("ping_interval", ping_interval, &ngx_centrifugo_ping_bounds),
    HUB_TIME("pong_timeout", pong_timeout, &ngx_centrifugo_delay_bounds),
    HUB_TIME("stale_close_delay", stale_close_delay,
             &ngx_centrifugo_delay_bounds),
    HUB_TIME("expired_close_delay", expired_close_delay,
             &ngx_centrifugo_drain_bounds),
    HUB_TIME("expired_sub_close_delay", expired_sub_close_delay,
             &ngx_centrifugo_drain_bounds),
    HUB_TIME("write_timeout", write_timeout, &ngx_centrifugo_delay_bounds),
    HUB_TIME("drain_time", drain_time, &ngx_centrifugo_drain_bounds),

    HUB_NUMBER("channel_limit", channel_limit, &ngx_centrifugo_limit_bounds),
    HUB_NUMBER("channel_max_length", channel_max_length,
               &ngx_centrifugo_length_bounds),
    HUB_NUMBER("connection_limit", connection_limit,
               &ngx_centrifugo_connection_bounds),

    HUB_NUMBER("connection_limit_per_address", connection_limit_per_address,
               &ngx_centrifugo_connection_bounds),
    HUB_NUMBER("connection_rate_limit", connection_rate_limit,
               &ngx_centrifugo_rate_bounds),
    HUB_NUMBER("user_connection_limit", user_connection_limit,
               &ngx_centrifugo_connection_bounds),

    HUB_MARK("channel_private_prefix", syntax.private_prefix),
    HUB_MARK("channel_namespace_boundary", syntax.namespace_boundary),
    HUB_MARK("channel_user_boundary", syntax.user_boundary),
    HUB_MARK("channel_user_separator", syntax.user_separator),

    HUB_SIZE("presence_info_max", presence_info_max,
             &ngx_centrifugo_presence_bounds),
    HUB_FLAG("websocket_compression", websocket_compression),
    HUB_NUMBER("websocket_compression_level", websocket_compression_level,
               &ngx_centrifugo_level_bounds),
    HUB_SIZE("websocket_compression_min_size", websocket_compression_min_size,
             &ngx_centrifugo_compressed_bounds),
    HUB_SIZE("message_size_limit", message_size_limit,
             &ngx_centrifugo_message_bounds),
    HUB_SIZE("publication_max_size", publication_max_size,
             &ngx_centrifugo_publication_bounds),
    HUB_SIZE("queue_max_size", queue_max_size, &ngx_centrifugo_queue_bounds),

    HUB_NUMBER("history_max_publication_limit", history_max_publication_limit,
               &ngx_centrifugo_limit_bounds),
    HUB_NUMBER("recovery_max_publication_limit",
               recovery_max_publication_limit, &ngx_centrifugo_limit_bounds),
    HUB_TIME("channel_position_check_delay", channel_position_check_delay,
             &ngx_centrifugo_ping_bounds),
    HUB_TIME("channel_position_max_time_lag", channel_position_max_time_lag,
             &ngx_centrifugo_drain_bounds),
    HUB_FLAG("channel_compaction", channel_compaction),

    { ngx_string("api_error_mode"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_choice,
      NGX_CENTRIFUGO_HUB_OFFSET,
      hub_field(api_error_mode),
      &ngx_centrifugo_error_modes },

    { ngx_string("channel_publication_data_format"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_choice,
      NGX_CENTRIFUGO_HUB_OFFSET,
      hub_field(data),
      &ngx_centrifugo_data_formats },

    CHANNEL("publication_data_format", ngx_centrifugo_conf_choice, data,
            &ngx_centrifugo_data_formats),
    CHANNEL("history_size", ngx_centrifugo_conf_number, history_size,
            &ngx_centrifugo_history_bounds),
    CHANNEL("history_ttl", ngx_centrifugo_conf_time, history_ttl,
            &ngx_centrifugo_ttl_bounds),
    CHANNEL("history_meta_ttl", ngx_centrifugo_conf_time, history_meta_ttl,
            &ngx_centrifugo_meta_bounds),
    CHANNEL("force_recovery_mode", ngx_centrifugo_conf_choice, recover,
            &ngx_centrifugo_recovery_modes),
    CHANNEL("allowed_delta_types", ngx_centrifugo_conf_deltas, delta_fossil,
            NULL),

    { ngx_string("channel_regex"),
      NGX_CENTRIFUGO_HUB_CONF|NGX_CENTRIFUGO_NAMESPACE_CONF|NGX_CONF_TAKE1,
      ngx_centrifugo_conf_regex,
      NGX_CENTRIFUGO_OPTIONS_OFFSET,
      0,
      NULL },

    CHANNEL_FLAG("presence", presence),
    CHANNEL_FLAG("join_leave", join_leave),
    CHANNEL_FLAG("force_push_join_leave", force_push_join_leave),
    CHANNEL_FLAG("allow_subscribe_for_client", allow_subscribe_for_client),
    CHANNEL_FLAG("allow_subscribe_for_anonymous",
                 allow_subscribe_for_anonymous),
    CHANNEL_FLAG("allow_publish_for_client", allow_publish_for_client),
    CHANNEL_FLAG("allow_publish_for_subscriber",
                 allow_publish_for_subscriber),
    CHANNEL_FLAG("allow_publish_for_anonymous", allow_publish_for_anonymous),
    CHANNEL_FLAG("allow_presence_for_client", allow_presence_for_client),
    CHANNEL_FLAG("allow_presence_for_subscriber",
                 allow_presence_for_subscriber),
    CHANNEL_FLAG("allow_presence_for_anonymous",
                 allow_presence_for_anonymous),
    CHANNEL_FLAG("allow_history_for_client", allow_history_for_client),
    CHANNEL_FLAG("allow_history_for_subscriber",
                 allow_history_for_subscriber),
    CHANNEL_FLAG("allow_history_for_anonymous", allow_history_for_anonymous),
    CHANNEL_FLAG("allow_user_limited_channels", allow_user_limited_channels),
    CHANNEL_FLAG("force_positioning", force_positioning),
    CHANNEL_FLAG("allow_positioning", allow_positioning),
    CHANNEL_FLAG("force_recovery", force_recovery),
    CHANNEL_FLAG("allow_recovery", allow_recovery),
    CHANNEL_FLAG("auto_cache_recover", auto_cache_recover),
    CHANNEL_FLAG("delta_publish", delta_publish),
    CHANNEL_FLAG("allow_tags_filter", allow_tags_filter),

    LOCATION("centrifugo_websocket", &ngx_centrifugo_websocket_endpoint),
    LOCATION("centrifugo_api", &ngx_centrifugo_api_endpoint),
    LOCATION("centrifugo_grpc_api", &ngx_centrifugo_grpc_endpoint),
    LOCATION("centrifugo_health", &ngx_centrifugo_health_endpoint),
    LOCATION("centrifugo_metrics", &ngx_centrifugo_metrics_endpoint),

#if (NGX_CENTRIFUGO_TEST)
    NGX_CENTRIFUGO_TEST_COMMANDS
#endif

      ngx_null_command
};


static ngx_http_module_t  ngx_centrifugo_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_centrifugo_postconfiguration,      /* postconfiguration */

    ngx_centrifugo_conf_create_main,       /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_centrifugo_conf_create_loc,        /* create location configuration */
    ngx_centrifugo_conf_merge_loc          /* merge location configuration */
};


ngx_module_t  ngx_centrifugo_module = {
    NGX_MODULE_V1,
    &ngx_centrifugo_module_ctx,            /* module context */
    ngx_centrifugo_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_centrifugo_init_module,            /* init module */
    ngx_centrifugo_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_centrifugo_exit_process,           /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_centrifugo_postconfiguration(ngx_conf_t *cf)
{
    ngx_centrifugo_main_conf_t  *mcf;

    if (ngx_centrifugo_conf_finish(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_centrifugo_module);

    if (mcf->grpc) {
        ngx_centrifugo_grpc_filter_init();
    }

    return NGX_OK;
}


static ngx_int_t
ngx_centrifugo_init_module(ngx_cycle_t *cycle)
{
    ngx_centrifugo_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_centrifugo_module);

    if (mcf == NULL || mcf->registry == NULL || ngx_test_config) {
        return NGX_OK;
    }

    ngx_centrifugo_zones_bells(cycle, mcf);
    ngx_centrifugo_zones_replace(cycle, mcf);
    ngx_centrifugo_api_init();

    return NGX_OK;
}


static ngx_int_t
ngx_centrifugo_init_process(ngx_cycle_t *cycle)
{
    ngx_centrifugo_main_conf_t  *mcf;

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_centrifugo_module);

    if (mcf == NULL || mcf->hubs.nelts == 0
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

#if (NGX_CENTRIFUGO_TEST)
    ngx_centrifugo_test_init_worker(mcf);
#endif

    ngx_centrifugo_api_init_worker();
    ngx_centrifugo_call_init(cycle);

    return ngx_centrifugo_worker_init(cycle, mcf);
}


static void
ngx_centrifugo_exit_process(ngx_cycle_t *cycle)
{
    ngx_centrifugo_worker_leave();
    ngx_centrifugo_call_exit();
    ngx_centrifugo_worker_exit(cycle);
    ngx_centrifugo_ws_deflate_exit();
}
