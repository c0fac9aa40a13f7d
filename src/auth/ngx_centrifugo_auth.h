/*
 * Who may connect, and which names a channel may have.  No connection, no
 * client: plain data in, a verdict out.
 */

#ifndef _NGX_CENTRIFUGO_AUTH_H_INCLUDED_
#define _NGX_CENTRIFUGO_AUTH_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


typedef enum {
    NGX_CENTRIFUGO_TOKEN_OK = 0,
    NGX_CENTRIFUGO_TOKEN_INVALID,
    NGX_CENTRIFUGO_TOKEN_EXPIRED,
    NGX_CENTRIFUGO_TOKEN_ERROR          /* no memory, or bad b64info: 100 */
} ngx_centrifugo_token_rc_e;


typedef struct {
    ngx_str_t          user;            /* sub; len 0: anonymous */
    ngx_str_t          info;            /* raw JSON, len 0: none; points into
                                           the arena, like all strings here */
    int64_t            expire_at;       /* unix seconds, 0: never */
    const char        *reason;          /* why it was refused, for the log */
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

typedef struct ngx_centrifugo_verifier_s  ngx_centrifugo_verifier_t;

/* keys of one verifier; more kinds of key come with their own members */
struct ngx_centrifugo_verifier_s {
    ngx_str_t          hmac_secret_key;     /* len 0: not configured */

    /*
     * Verifies a token, now or later; `token` is read before it returns, the
     * arena is for a verdict that comes at once.
     */
    void             (*check)(ngx_centrifugo_verifier_t *verifier,
                           ngx_centrifugo_arena_t *arena,
                           const ngx_str_t *token,
                           const ngx_centrifugo_verified_t *done);
#if (NGX_CENTRIFUGO_TEST)
    ngx_msec_t         delay;
#endif
};


/* The check for keys that are all at hand. */
void ngx_centrifugo_token_check(ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_arena_t *arena, const ngx_str_t *token,
    const ngx_centrifugo_verified_t *done);

/*
 * Verifies a connection token at the time `now` (unix seconds).  The algorithm
 * in its header must be one of the configured kinds of key; `none`, PS*, a
 * `crit` member and an empty signature are refused.  Order of checks: three
 * parts, claims, signature, no `channel` claim, nbf and exp.
 */
ngx_centrifugo_token_rc_e ngx_centrifugo_token_verify(
    const ngx_centrifugo_verifier_t *verifier, ngx_centrifugo_arena_t *arena,
    const ngx_str_t *token, time_t now, ngx_centrifugo_token_t *result);


/*
 * Origin patterns (ngx_str_t elements, lower case): none refuses every request
 * that has an Origin, the single "*" allows all, otherwise globs where `*`
 * stands for any characters.  `origin` is NULL when the header is absent,
 * which is always allowed.  NGX_OK or NGX_DECLINED.
 */
ngx_int_t ngx_centrifugo_origin_check(const ngx_array_t *patterns,
    const ngx_str_t *origin);


/*
 * The namespace part of a channel: the text between an optional leading `$`
 * and the first `:`; len 0 when there is none.
 */
void ngx_centrifugo_channel_namespace(const ngx_str_t *channel,
    ngx_str_t *name);

/* NGX_OK when all bytes of a channel name are ASCII, else NGX_DECLINED */
ngx_int_t ngx_centrifugo_channel_ascii(const ngx_str_t *channel);

/* NGX_OK for a valid namespace name: [-a-zA-Z0-9_.]{2,} */
ngx_int_t ngx_centrifugo_namespace_valid(const ngx_str_t *name);

/*
 * Compares two secrets in a time that depends on the length of `given` only.
 * Returns 1 when they are equal.
 */
ngx_uint_t ngx_centrifugo_secret_equal(const ngx_str_t *secret,
    const ngx_str_t *given);


#endif /* _NGX_CENTRIFUGO_AUTH_H_INCLUDED_ */
