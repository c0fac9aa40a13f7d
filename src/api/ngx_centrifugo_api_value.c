/*
 * Values of parameters, as JSON or Protobuf has them, as methods take them.
 */

#include "ngx_centrifugo_api_value.h"


static ngx_int_t api_value_json(ngx_centrifugo_arena_t *arena,
    const ngx_str_t *data, ngx_uint_t *json);


ngx_int_t
ngx_centrifugo_api_value_data(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *raw, ngx_centrifugo_json_t *base64,
    ngx_str_t *data, ngx_uint_t *json)
{
    size_t      len;
    ngx_str_t  *b64;

    if (json) {
        *json = 1;
    }

    if (base64 == NULL || base64->str.len == 0) {

        if (raw && raw->type == NGX_CENTRIFUGO_JSON_BYTES && raw->raw.len) {
            *data = raw->raw;
            return api_value_json(arena, data, json);
        }

        if (raw && (json || raw->type != NGX_CENTRIFUGO_JSON_NULL)) {
            *data = raw->raw;

        } else {
            ngx_str_null(data);
        }

        return NGX_OK;
    }

    b64 = &base64->str;

    /* ngx_decode_base64() ignores what follows the first "=" */

    for (len = b64->len;
         len && b64->len - len < 2 && b64->data[len - 1] == '=';
         len--)
    { /* void */ }

    if (b64->len % 4 || memchr(b64->data, '=', len)) {
        return NGX_DECLINED;
    }

    data->data = ngx_centrifugo_arena_alloc(arena,
                                        ngx_base64_decoded_length(b64->len));
    if (data->data == NULL) {
        return NGX_ABORT;
    }

    if (ngx_decode_base64(data, b64) != NGX_OK) {
        return NGX_DECLINED;
    }

    return api_value_json(arena, data, json);
}


static ngx_int_t
api_value_json(ngx_centrifugo_arena_t *arena, const ngx_str_t *data,
    ngx_uint_t *json)
{
    ngx_int_t  rc;

    rc = ngx_centrifugo_json_validate(arena, data->data, data->len);

    if (rc == NGX_ABORT) {
        return NGX_ABORT;
    }

    if (json) {
        *json = (rc == NGX_OK);
        return NGX_OK;
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_centrifugo_api_value_tags(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_str_t *packed)
{
    ngx_uint_t              n;
    ngx_centrifugo_tag_t   *tags;
    ngx_centrifugo_json_t  *value;

    n = 0;

    for (value = map ? map->child : NULL; value; value = value->next) {
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    tags = ngx_centrifugo_arena_alloc(arena, n * sizeof(ngx_centrifugo_tag_t));
    if (tags == NULL) {
        return NGX_ABORT;
    }

    n = 0;

    for (value = map->child; value; value = value->next) {
        tags[n].key = value->key;
        tags[n++].value = value->str;
    }

    return (ngx_centrifugo_tags_pack(arena, tags, n, packed) == NGX_OK)
           ? NGX_OK : NGX_ABORT;
}


ngx_int_t
ngx_centrifugo_api_value_list(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *list, ngx_str_t **strings, ngx_uint_t *n)
{
    ngx_centrifugo_json_t  *value;

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        (*n)++;
    }

    *strings = ngx_centrifugo_arena_alloc(arena, *n * sizeof(ngx_str_t));
    if (*strings == NULL) {
        return NGX_ABORT;
    }

    *n = 0;

    for (value = list ? list->child : NULL; value; value = value->next) {
        (*strings)[(*n)++] = value->str;
    }

    return NGX_OK;
}


void
ngx_centrifugo_api_value_position(ngx_centrifugo_json_t *map,
    ngx_centrifugo_position_t *position)
{
    ngx_str_t  epoch;

    ngx_str_null(&epoch);

    (void) ngx_centrifugo_json_uint(map, "offset", 6, UINT64_MAX,
                                    &position->offset);
    (void) ngx_centrifugo_json_string(map, "epoch", 5, &epoch);

    position->epoch = ngx_centrifugo_epoch(&epoch);
}
