/*
 * Who may connect, and which names a channel may have.  No connection, no
 * client: plain data in, a verdict out.
 */

#ifndef _NGX_CENTRIFUGO_AUTH_H_INCLUDED_
#define _NGX_CENTRIFUGO_AUTH_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


/* what a token, a proxy or the API sets instead of a namespace's option */
#define NGX_CENTRIFUGO_OVERRIDE_PRESENCE      0x01
#define NGX_CENTRIFUGO_OVERRIDE_JOIN_LEAVE    0x02
#define NGX_CENTRIFUGO_OVERRIDE_PUSH          0x04  /* force_push_join_leave */
#define NGX_CENTRIFUGO_OVERRIDE_RECOVERY      0x08  /* force_recovery */
#define NGX_CENTRIFUGO_OVERRIDE_POSITIONING   0x10  /* force_positioning */

typedef struct {
    ngx_uint_t         set;             /* bits above that are given */
    ngx_uint_t         value;           /* their values */
} ngx_centrifugo_override_t;


typedef enum {
    NGX_CENTRIFUGO_TOKEN_CONNECTION = 0,
    NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION
} ngx_centrifugo_token_kind_e;

typedef enum {
    NGX_CENTRIFUGO_TOKEN_OK = 0,
    NGX_CENTRIFUGO_TOKEN_INVALID,       /* 3500 for connections, 103 */
    NGX_CENTRIFUGO_TOKEN_EXPIRED,       /* 109 */
    NGX_CENTRIFUGO_TOKEN_CHANNEL,       /* unknown namespace in it: 102 */
    NGX_CENTRIFUGO_TOKEN_ERROR          /* no memory, no room to wait for keys,
                                           or bad b64info of a connection
                                           token: 100 */
} ngx_centrifugo_token_rc_e;

typedef struct ngx_centrifugo_token_sub_s  ngx_centrifugo_token_sub_t;

/* a server-side subscription of a connection token */
struct ngx_centrifugo_token_sub_s {
    ngx_str_t                     channel;
    ngx_str_t                     info;     /* raw JSON, len 0: none */
    ngx_str_t                     data;
    ngx_centrifugo_override_t     override;
    ngx_centrifugo_token_sub_t   *next;
};

/*
 * What a token says.  Strings point into the arena or the token.
 */
typedef struct {
    ngx_str_t                     user;     /* len 0: anonymous */
    ngx_str_t                     info;     /* raw JSON, len 0: none */
    int64_t                       expire_at;    /* unix seconds, 0: never */
    const char                   *reason;   /* why it was refused, for the
                                               log */

    /* of a connection */
    ngx_str_t                     meta;     /* raw JSON object, len 0: none */
    ngx_centrifugo_token_sub_t   *subs;     /* of `subs`, or of `channels` */
    ngx_uint_t                    nsubs;

    /* of a subscription */
    ngx_str_t                     channel;
    ngx_str_t                     client;   /* len 0: any */
    ngx_str_t                     data;     /* raw JSON, len 0: none */
    ngx_centrifugo_override_t     override;
} ngx_centrifugo_token_t;


/*
 * Called exactly once with the verdict, perhaps before the check returns; the
 * token's strings are there until it returns.  `handle` is the caller's own.
 */
typedef struct {
    void             (*handler)(uint64_t handle,
                           ngx_centrifugo_token_rc_e rc,
                           ngx_centrifugo_token_t *token);
    uint64_t           handle;
} ngx_centrifugo_verified_t;

/*
 * How a verifier gets a document: a GET of `uri` (a path with arguments), that
 * ends by calling the handler exactly once, perhaps before fetch() returns.
 * NGX_OK: the answer was 200 and is whole; NGX_ERROR: anything else.  `uri` is
 * there until fetch() returns, `body` until the handler does.
 */
typedef struct {
    void             (*handler)(void *data, ngx_int_t rc,
                           const ngx_str_t *body);
    void              *data;
} ngx_centrifugo_fetched_t;

typedef void (*ngx_centrifugo_fetch_pt)(void *data, const ngx_str_t *uri,
    const ngx_centrifugo_fetched_t *done);

typedef struct ngx_centrifugo_verifier_s  ngx_centrifugo_verifier_t;

/*
 * Keys and rules for one kind of token.  What is configured comes first;
 * ngx_centrifugo_verifier_prepare() makes the rest of it.
 */
struct ngx_centrifugo_verifier_s {
    const char        *prefix;              /* of its directives: "token_" or
                                               "subscription_token_" */
    ngx_str_t          hmac_secret_key;     /* len 0: not configured */
    ngx_str_t          hmac_previous_secret_key;
    time_t             hmac_previous_valid_until;   /* 0: for ever */
    ngx_str_t          rsa_public_key;      /* PEM, or a file's name */
    ngx_str_t          ecdsa_public_key;
    ngx_str_t          jwks_endpoint;       /* path of an internal location */
    ngx_str_t          audience;
    ngx_str_t          issuer;
    ngx_str_t          audience_regex;
    ngx_str_t          issuer_regex;
    ngx_str_t          user_id_claim;
    ngx_flag_t         skip_jwks_check;
    ngx_flag_t         skip_signature;      /* for development */

    /*
     * Whether the namespace of a channel is configured; `data` is the hub.
     */
    ngx_uint_t       (*known)(void *data, const ngx_str_t *channel);
    ngx_centrifugo_fetch_pt   fetch;        /* set by the worker */
    void              *data;

    /* made of these */
    void              *keys;
    ngx_uint_t         algorithms;          /* bits */

    /*
     * Verifies a token, now or later; `token` is read before it returns, the
     * arena is for a verdict that comes at once.
     */
    void             (*check)(ngx_centrifugo_verifier_t *verifier,
                           ngx_centrifugo_token_kind_e kind,
                           ngx_centrifugo_arena_t *arena,
                           const ngx_str_t *token,
                           const ngx_centrifugo_verified_t *done);
#if (NGX_CENTRIFUGO_TEST)
    ngx_msec_t         delay;
#endif
};


/*
 * Loads keys and compiles expressions when the configuration is read; memory
 * is of cf->pool, keys are freed with it.  NGX_ERROR: logged, with what to
 * write instead.
 */
ngx_int_t ngx_centrifugo_verifier_prepare(ngx_conf_t *cf,
    ngx_centrifugo_verifier_t *verifier);

/* 1 when any key is configured, wherever it comes from */
ngx_uint_t ngx_centrifugo_verifier_has_keys(
    const ngx_centrifugo_verifier_t *verifier);

/* Frees the keys that were fetched, when the worker exits. */
void ngx_centrifugo_verifier_exit(ngx_centrifugo_verifier_t *verifier);

/* verifier->check for all kinds of keys; keys of a JWKS may come later. */
void ngx_centrifugo_token_check(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, const ngx_centrifugo_verified_t *done);

/*
 * Verifies a token with the keys that are at hand, at the time `now` (unix
 * seconds).  The algorithm in its header must be one of the configured kinds
 * of key; `none`, PS*, a `crit` member and an empty signature are refused.
 */
ngx_centrifugo_token_rc_e ngx_centrifugo_token_verify(
    ngx_centrifugo_verifier_t *verifier, ngx_centrifugo_token_kind_e kind,
    ngx_centrifugo_arena_t *arena, const ngx_str_t *token, time_t now,
    ngx_centrifugo_token_t *result);


/*
 * Origin patterns (ngx_str_t elements, lower case): none refuses every request
 * that has an Origin, the single "*" allows all, otherwise globs where `*`
 * stands for any characters.  `origin` is NULL when the header is absent,
 * which is always allowed.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_centrifugo_origin_check(const ngx_array_t *patterns,
    const ngx_str_t *origin);


/* bytes with a meaning in names of channels; 0: the feature is off */
typedef struct {
    ngx_uint_t         private_prefix;      /* `$` */
    ngx_uint_t         namespace_boundary;  /* `:` */
    ngx_uint_t         user_boundary;       /* `#` */
    ngx_uint_t         user_separator;      /* `,` */
} ngx_centrifugo_channel_syntax_t;

/*
 * The namespace part of a channel: the text between an optional leading `$`
 * and the first `:`; len 0 when there is none.
 */
void ngx_centrifugo_channel_namespace(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel,
    ngx_str_t *name);

/* 1 for a name with a leading `$` */
ngx_uint_t ngx_centrifugo_channel_private(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel);

/* NGX_OK when all bytes of a channel name are ASCII, else NGX_DECLINED */
ngx_int_t ngx_centrifugo_channel_ascii(const ngx_str_t *channel);

/*
 * The rest of a name that a channel_regex is applied to: what is behind the
 * first `:`, or the whole name when there is none.
 */
void ngx_centrifugo_channel_rest(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel,
    ngx_str_t *rest);

/*
 * Users of a user-limited channel are behind its last `#`, parted by `,`.
 * limited: 1 when it has a `#`.  user: 1 when `user` is one of them.
 */
ngx_uint_t ngx_centrifugo_channel_limited(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel);
ngx_uint_t ngx_centrifugo_channel_user(
    const ngx_centrifugo_channel_syntax_t *syntax, const ngx_str_t *channel,
    const ngx_str_t *user);

/* NGX_OK for a valid namespace name: [-a-zA-Z0-9_.]{2,} */
ngx_int_t ngx_centrifugo_namespace_valid(const ngx_str_t *name);

/*
 * Compares two secrets in a time that depends on the length of `given` only.
 * Returns 1 when they are equal.
 */
ngx_uint_t ngx_centrifugo_secret_equal(const ngx_str_t *secret,
    const ngx_str_t *given);


#endif /* _NGX_CENTRIFUGO_AUTH_H_INCLUDED_ */
