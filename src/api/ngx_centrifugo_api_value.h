/*
 * Values of parameters, from JSON or Protobuf to what methods take.
 */

#ifndef _NGX_CENTRIFUGO_API_VALUE_H_INCLUDED_
#define _NGX_CENTRIFUGO_API_VALUE_H_INCLUDED_


#include "ngx_centrifugo_api.h"


/*
 * JSON or bytes as they came, or the bytes in base64, which win.  `json` tells
 * whether bytes are JSON; NULL: they have to be, and null is nothing.
 * NGX_DECLINED: they are not, or that is not base64; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_api_value_data(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *raw, ngx_centrifugo_json_t *base64,
    ngx_str_t *data, ngx_uint_t *json);

/*
 * Of an object or array that was checked, or NULL; nulls are empty strings.
 * NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_api_value_tags(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *map, ngx_str_t *packed);
ngx_int_t ngx_centrifugo_api_value_list(ngx_centrifugo_arena_t *arena,
    ngx_centrifugo_json_t *list, ngx_str_t **strings, ngx_uint_t *n);

/* {offset, epoch}, checked */
void ngx_centrifugo_api_value_position(ngx_centrifugo_json_t *map,
    ngx_centrifugo_position_t *position);


#endif /* _NGX_CENTRIFUGO_API_VALUE_H_INCLUDED_ */
