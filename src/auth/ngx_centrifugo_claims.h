/*
 * What is in a token, as it is needed inside of src/auth.
 */

#ifndef _NGX_CENTRIFUGO_CLAIMS_H_INCLUDED_
#define _NGX_CENTRIFUGO_CLAIMS_H_INCLUDED_


#include "ngx_centrifugo_auth.h"
#include "../protocol/ngx_centrifugo_json.h"


/* a server-side subscription, before its base64 is decoded */
typedef struct {
    ngx_centrifugo_token_sub_t    sub;
    ngx_str_t                     b64info;
    ngx_str_t                     b64data;
} ngx_centrifugo_claims_sub_t;

/*
 * Claims with the right types.  `user` is the claim that names the user, or
 * NULL; a `subs` that has members makes `channels` unused.
 */
typedef struct {
    ngx_str_t                     iss;
    ngx_centrifugo_json_t        *aud;      /* string, list or NULL */
    ngx_centrifugo_json_t        *user;
    double                        exp;
    double                        nbf;
    double                        expire_at;
    unsigned                      has_exp:1;
    unsigned                      has_expire_at:1;

    ngx_str_t                     channel;
    ngx_str_t                     client;
    ngx_str_t                     meta;

    ngx_centrifugo_claims_sub_t   self;     /* info, data and override of the
                                               token itself */
    ngx_centrifugo_token_sub_t   *subs;     /* in ngx_centrifugo_claims_sub_t,
                                               perhaps with duplicates */
    ngx_uint_t                    nsubs;
} ngx_centrifugo_claims_t;


/*
 * Each returns a verdict and, unless it is OK, sets result->reason.
 */

/* The types of all claims that a token of this kind may have. */
ngx_centrifugo_token_rc_e ngx_centrifugo_claims_read(
    const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *root, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result);

/* One element of each channel, in result->subs; namespaces are known. */
ngx_centrifugo_token_rc_e ngx_centrifugo_claims_channels(
    const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result);

/* Decodes base64 of the token and its subs. */
ngx_centrifugo_token_rc_e ngx_centrifugo_claims_base64(
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_claims_t *claims, ngx_centrifugo_token_t *result);

/* The user's id. */
ngx_centrifugo_token_rc_e ngx_centrifugo_claims_user(
    ngx_centrifugo_claims_t *claims, ngx_centrifugo_token_t *result);


static ngx_inline ngx_centrifugo_token_rc_e
ngx_centrifugo_token_refuse(ngx_centrifugo_token_t *result,
    ngx_centrifugo_token_rc_e rc, const char *reason)
{
    result->reason = reason;

    return rc;
}

#define ngx_centrifugo_token_invalid(result, reason)                         \
    ngx_centrifugo_token_refuse(result, NGX_CENTRIFUGO_TOKEN_INVALID, reason)

#define ngx_centrifugo_token_no_memory(result)                               \
    ngx_centrifugo_token_refuse(result, NGX_CENTRIFUGO_TOKEN_ERROR,          \
                                "no memory for its token")


#endif /* _NGX_CENTRIFUGO_CLAIMS_H_INCLUDED_ */
