/*
 * The claims of a token: their types first, and what they mean when the
 * signature has been checked.
 */

#include "ngx_centrifugo_claims.h"

#include <math.h>


#define claims_is(value, t)  ((value)->type == NGX_CENTRIFUGO_JSON_##t)

#define claims_member(map, name)                                             \
    ngx_centrifugo_json_get(map, name, sizeof(name) - 1)

#define claims_string(map, name, s)                                          \
    ngx_centrifugo_json_string(map, name, sizeof(name) - 1, s)

#define claims_time(map, name, t)                                            \
    claims_time_member(map, name, sizeof(name) - 1, t)


static const char *claims_registered(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_json_t *root, ngx_centrifugo_claims_t *claims);
static const char *claims_connection(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *root, ngx_centrifugo_claims_t *claims,
    ngx_uint_t *nomem);
static const char *claims_channels(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *list, ngx_centrifugo_claims_t *claims,
    ngx_uint_t *nomem);
static const char *claims_subs(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_centrifugo_claims_t *claims,
    ngx_uint_t *nomem);
static ngx_centrifugo_claims_sub_t *claims_add(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_claims_t *claims, ngx_centrifugo_token_sub_t ***last,
    const ngx_str_t *channel);
static const char *claims_options(ngx_centrifugo_json_t *map,
    ngx_uint_t with_data, ngx_centrifugo_claims_sub_t *sub);
static const char *claims_override(ngx_centrifugo_json_t *map,
    ngx_centrifugo_override_t *override);
static ngx_int_t claims_time_member(ngx_centrifugo_json_t *map,
    const char *name, size_t len, double *t);
static ngx_int_t claims_base64(ngx_centrifugo_arena_t *arena, ngx_str_t *b64,
    ngx_str_t *text);


static const struct {
    const char    *name;
    ngx_uint_t     bit;
} claims_overrides[] = {
    { "presence", NGX_CENTRIFUGO_OVERRIDE_PRESENCE },
    { "join_leave", NGX_CENTRIFUGO_OVERRIDE_JOIN_LEAVE },
    { "force_push_join_leave", NGX_CENTRIFUGO_OVERRIDE_PUSH },
    { "force_recovery", NGX_CENTRIFUGO_OVERRIDE_RECOVERY },
    { "force_positioning", NGX_CENTRIFUGO_OVERRIDE_POSITIONING }
};


ngx_centrifugo_token_rc_e
ngx_centrifugo_claims_read(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_token_kind_e kind, ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *root, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result)
{
    ngx_uint_t   nomem;
    const char  *reason;

    ngx_memzero(claims, sizeof(ngx_centrifugo_claims_t));
    nomem = 0;

    reason = claims_registered(verifier, root, claims);

    if (reason == NULL) {
        reason = claims_options(root,
                                kind == NGX_CENTRIFUGO_TOKEN_SUBSCRIPTION,
                                &claims->self);
    }

    if (reason == NULL) {

        if (kind == NGX_CENTRIFUGO_TOKEN_CONNECTION) {
            reason = claims_connection(arena, root, claims, &nomem);

        } else if (claims_string(root, "client", &claims->client)
                   == NGX_ERROR)
        {
            reason = "client of its token is not a string";
        }
    }

    if (nomem) {
        return ngx_centrifugo_token_no_memory(result);
    }

    return reason ? ngx_centrifugo_token_invalid(result, reason)
                  : NGX_CENTRIFUGO_TOKEN_OK;
}


static const char *
claims_registered(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_json_t *root, ngx_centrifugo_claims_t *claims)
{
    ngx_int_t               rc;
    ngx_str_t               sub;
    ngx_centrifugo_json_t  *child;

    if (claims_string(root, "sub", &sub) == NGX_ERROR) {
        return "sub of its token is not a string";
    }

    claims->user = verifier->user_id_claim.len
                   ? ngx_centrifugo_json_get(root,
                                   (char *) verifier->user_id_claim.data,
                                   verifier->user_id_claim.len)
                   : claims_member(root, "sub");

    if (claims_string(root, "iss", &claims->iss) == NGX_ERROR) {
        return "iss of its token is not a string";
    }

    claims->aud = claims_member(root, "aud");

    if (claims->aud && claims_is(claims->aud, ARRAY)) {

        for (child = claims->aud->child; child; child = child->next) {
            if (!claims_is(child, STRING)) {
                return "aud of its token has other things than strings";
            }
        }

    } else if (claims->aud && !claims_is(claims->aud, STRING)) {
        return "aud of its token is neither a string nor a list";
    }

    if (claims_string(root, "channel", &claims->channel) == NGX_ERROR) {
        return "channel of its token is not a string";
    }

    rc = claims_time(root, "exp", &claims->exp);
    claims->has_exp = (rc == NGX_OK);

    if (rc == NGX_ERROR
        || claims_time(root, "nbf", &claims->nbf) == NGX_ERROR)
    {
        return "exp or nbf of its token is no time";
    }

    rc = claims_time(root, "expire_at", &claims->expire_at);
    claims->has_expire_at = (rc == NGX_OK);

    return (rc == NGX_ERROR) ? "expire_at of its token is no time" : NULL;
}


static const char *
claims_connection(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *root,
    ngx_centrifugo_claims_t *claims, ngx_uint_t *nomem)
{
    const char             *reason;
    ngx_centrifugo_json_t  *value, *subs;

    value = claims_member(root, "meta");

    if (value) {

        if (!claims_is(value, MAP)) {
            return "meta of its token is not an object";
        }

        claims->meta = value->raw;
    }

    subs = claims_member(root, "subs");

    if (subs && !claims_is(subs, MAP)) {
        return "subs of its token is not an object";
    }

    /* the types of what is not used have to be right all the same */

    value = claims_member(root, "channels");

    if (value) {
        reason = claims_channels(arena, value,
                                 (subs && subs->child) ? NULL : claims, nomem);

        if (reason) {
            return reason;
        }
    }

    return subs ? claims_subs(arena, subs, claims, nomem) : NULL;
}


static const char *
claims_channels(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *list,
    ngx_centrifugo_claims_t *claims, ngx_uint_t *nomem)
{
    ngx_centrifugo_json_t        *child;
    ngx_centrifugo_token_sub_t  **last;

    if (!claims_is(list, ARRAY)) {
        return "channels of its token is not a list";
    }

    last = claims ? &claims->subs : NULL;

    for (child = list->child; child; child = child->next) {

        if (!claims_is(child, STRING) && !claims_is(child, NULL)) {
            return "channels of its token are not strings";
        }

        if (claims && child->str.len
            && claims_add(arena, claims, &last, &child->str) == NULL)
        {
            *nomem = 1;
            return NULL;
        }
    }

    return NULL;
}


static const char *
claims_subs(ngx_centrifugo_arena_t *arena, ngx_centrifugo_json_t *map,
    ngx_centrifugo_claims_t *claims, ngx_uint_t *nomem)
{
    ngx_int_t                      rc;
    const char                    *reason;
    ngx_centrifugo_json_t         *child, *value;
    ngx_centrifugo_token_sub_t   **last;
    ngx_centrifugo_claims_sub_t   *sub, unnamed;

    last = &claims->subs;

    for (child = map->child; child; child = child->next) {

        if (!claims_is(child, MAP) && !claims_is(child, NULL)) {
            return "subs of its token are not objects";
        }

        sub = &unnamed;

        if (child->key.len) {
            sub = claims_add(arena, claims, &last, &child->key);

            if (sub == NULL) {
                *nomem = 1;
                return NULL;
            }
        }

        if (claims_is(child, NULL)) {
            continue;
        }

        value = child;

        if (value->child == NULL && value->raw.len > 2) {

            /* of a channel named data or info the reader has kept no members */

            rc = ngx_centrifugo_json_parse(arena, child->raw.data,
                                           child->raw.len, 0, &value);
            if (rc != NGX_OK) {
                *nomem = 1;
                return NULL;
            }
        }

        reason = claims_options(value, 1, sub);

        if (reason) {
            return reason;
        }
    }

    return NULL;
}


static ngx_centrifugo_claims_sub_t *
claims_add(ngx_centrifugo_arena_t *arena, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_sub_t ***last, const ngx_str_t *channel)
{
    ngx_centrifugo_claims_sub_t  *sub;

    sub = ngx_centrifugo_arena_alloc(arena,
                                     sizeof(ngx_centrifugo_claims_sub_t));
    if (sub == NULL) {
        return NULL;
    }

    ngx_memzero(sub, sizeof(ngx_centrifugo_claims_sub_t));
    sub->sub.channel = *channel;

    **last = &sub->sub;
    *last = &sub->sub.next;
    claims->nsubs++;

    return sub;
}


static const char *
claims_options(ngx_centrifugo_json_t *map, ngx_uint_t with_data,
    ngx_centrifugo_claims_sub_t *sub)
{
    ngx_centrifugo_json_t  *value;

    value = claims_member(map, "info");

    if (value) {
        sub->sub.info = value->raw;
    }

    if (claims_string(map, "b64info", &sub->b64info) == NGX_ERROR) {
        return "b64info of its token is not a string";
    }

    if (!with_data) {
        return NULL;
    }

    value = claims_member(map, "data");

    if (value) {
        sub->sub.data = value->raw;
    }

    if (claims_string(map, "b64data", &sub->b64data) == NGX_ERROR) {
        return "b64data of its token is not a string";
    }

    value = claims_member(map, "override");

    return value ? claims_override(value, &sub->sub.override) : NULL;
}


static const char *
claims_override(ngx_centrifugo_json_t *map,
    ngx_centrifugo_override_t *override)
{
    ngx_uint_t              i, on;
    ngx_centrifugo_json_t  *value;

    if (!claims_is(map, MAP)) {
        return "override of its token is not an object";
    }

    for (i = 0; i < sizeof(claims_overrides) / sizeof(claims_overrides[0]);
         i++)
    {
        value = ngx_centrifugo_json_get(map, claims_overrides[i].name,
                                        ngx_strlen(claims_overrides[i].name));
        if (value == NULL) {
            continue;
        }

        on = 0;

        if (!claims_is(value, MAP)
            || ngx_centrifugo_json_bool(value, "value", 5, &on) == NGX_ERROR)
        {
            return "override of its token is not {\"value\":true|false}";
        }

        override->set |= claims_overrides[i].bit;
        override->value |= on ? claims_overrides[i].bit : 0;
    }

    return NULL;
}


/*
 * A number or a numeric string, in seconds, perhaps with a fraction.
 */

static ngx_int_t
claims_time_member(ngx_centrifugo_json_t *map, const char *name, size_t len,
    double *t)
{
    char                    text[40], *end;
    double                  d;
    ngx_str_t               s;
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_json_get(map, name, len);

    if (value == NULL) {
        return NGX_DECLINED;
    }

    if (claims_is(value, NUMBER)) {
        s = value->raw;

    } else if (claims_is(value, STRING)) {
        s = value->str;

    } else {
        return NGX_ERROR;
    }

    if (s.len == 0 || s.len >= sizeof(text)
        || !((s.data[0] >= '0' && s.data[0] <= '9') || s.data[0] == '-'))
    {
        return NGX_ERROR;
    }

    ngx_memcpy(text, s.data, s.len);
    text[s.len] = '\0';

    d = strtod(text, &end);

    if (end != text + s.len || !isfinite(d)) {
        return NGX_ERROR;
    }

    /* beyond any date there is no difference */

    *t = ngx_max(ngx_min(d, 1e15), -1e15);

    return NGX_OK;
}


ngx_centrifugo_token_rc_e
ngx_centrifugo_claims_channels(const ngx_centrifugo_verifier_t *verifier,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result)
{
    size_t                        i;
    ngx_uint_t                    size, n, key;
    ngx_centrifugo_token_sub_t   *sub, *next, **last, **table, **place;

    if (claims->nsubs == 0) {
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    for (size = 4; size < claims->nsubs * 2; size *= 2) { /* void */ }

    table = ngx_centrifugo_arena_alloc(arena, size * sizeof(void *));
    if (table == NULL) {
        return ngx_centrifugo_token_no_memory(result);
    }

    ngx_memzero(table, size * sizeof(void *));

    /*
     * The last of a name counts, as in any JSON object.  Who could choose
     * names that collide has the key.
     */

    last = &result->subs;

    for (sub = claims->subs; sub; sub = next) {
        next = sub->next;
        key = 0;

        for (i = 0; i < sub->channel.len; i++) {
            key = ngx_hash(key, sub->channel.data[i]);
        }

        for (n = key; /* void */ ; n++) {
            place = &table[n & (size - 1)];

            if (*place == NULL
                || ((*place)->channel.len == sub->channel.len
                    && ngx_memcmp((*place)->channel.data, sub->channel.data,
                                  sub->channel.len) == 0))
            {
                break;
            }
        }

        if (*place) {
            sub->next = (*place)->next;
            *(ngx_centrifugo_claims_sub_t *) *place
                                      = *(ngx_centrifugo_claims_sub_t *) sub;
            continue;
        }

        if (verifier->known
            && !verifier->known(verifier->data, &sub->channel))
        {
            return ngx_centrifugo_token_refuse(result,
                                NGX_CENTRIFUGO_TOKEN_CHANNEL,
                                "its token names a channel of an unknown "
                                "namespace");
        }

        *place = sub;
        *last = sub;
        last = &sub->next;
        *last = NULL;
        result->nsubs++;
    }

    return NGX_CENTRIFUGO_TOKEN_OK;
}


ngx_centrifugo_token_rc_e
ngx_centrifugo_claims_base64(ngx_centrifugo_token_kind_e kind,
    ngx_centrifugo_arena_t *arena, ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result)
{
    ngx_int_t                     rc;
    ngx_centrifugo_token_sub_t   *sub;
    ngx_centrifugo_claims_sub_t  *raw;

    for (sub = result->subs; sub; sub = sub->next) {
        raw = (ngx_centrifugo_claims_sub_t *) sub;

        rc = claims_base64(arena, &raw->b64info, &sub->info);

        if (rc == NGX_OK) {
            rc = claims_base64(arena, &raw->b64data, &sub->data);
        }

        if (rc == NGX_ABORT) {
            return ngx_centrifugo_token_no_memory(result);
        }

        if (rc != NGX_OK) {
            return ngx_centrifugo_token_invalid(result,
                                "b64info or b64data in subs of its token is "
                                "not base64 of JSON");
        }
    }

    raw = &claims->self;
    rc = claims_base64(arena, &raw->b64info, &raw->sub.info);

    if (rc == NGX_ERROR) {
        return ngx_centrifugo_token_refuse(result,
                                kind == NGX_CENTRIFUGO_TOKEN_CONNECTION
                                ? NGX_CENTRIFUGO_TOKEN_ERROR
                                : NGX_CENTRIFUGO_TOKEN_INVALID,
                                "b64info of its token is not base64 of JSON");
    }

    if (rc == NGX_OK) {
        rc = claims_base64(arena, &raw->b64data, &raw->sub.data);
    }

    if (rc == NGX_ABORT) {
        return ngx_centrifugo_token_no_memory(result);
    }

    if (rc != NGX_OK) {
        return ngx_centrifugo_token_invalid(result,
                                "b64data of its token is not base64 of JSON");
    }

    result->info = raw->sub.info;
    result->data = raw->sub.data;
    result->override = raw->sub.override;

    return NGX_CENTRIFUGO_TOKEN_OK;
}


/*
 * What is given in base64 replaces what is given as JSON.  NGX_ERROR: not
 * base64 of JSON; NGX_ABORT: no memory.
 */

static ngx_int_t
claims_base64(ngx_centrifugo_arena_t *arena, ngx_str_t *b64, ngx_str_t *text)
{
    size_t     i;
    ngx_int_t  rc;

    if (b64->len == 0) {
        return NGX_OK;
    }

    /* the decoder takes what comes behind a "=" for nothing */

    for (i = 0; i + 2 < b64->len && b64->data[i] != '='; i++) { /* void */ }

    if (b64->len % 4 || i + 2 != b64->len
        || (b64->data[i] == '=' && b64->data[i + 1] != '='))
    {
        return NGX_ERROR;
    }

    text->data = ngx_centrifugo_arena_alloc(arena,
                                         ngx_base64_decoded_length(b64->len));
    if (text->data == NULL) {
        return NGX_ABORT;
    }

    if (ngx_decode_base64(text, b64) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_centrifugo_json_validate(arena, text->data, text->len);

    return rc;
}


ngx_centrifugo_token_rc_e
ngx_centrifugo_claims_user(ngx_centrifugo_claims_t *claims,
    ngx_centrifugo_token_t *result)
{
    ngx_centrifugo_json_t  *value;

    value = claims->user;

    if (value == NULL) {
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    if (claims_is(value, STRING)) {
        result->user = value->str;
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    /* a claim of one's own may be a number, an id of a database */

    if (claims_is(value, NUMBER)) {
        result->user = value->raw;
        return NGX_CENTRIFUGO_TOKEN_OK;
    }

    return ngx_centrifugo_token_invalid(result,
                                "the user id claim of its token is neither a "
                                "string nor a number");
}
