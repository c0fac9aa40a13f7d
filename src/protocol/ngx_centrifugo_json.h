/*
 * One strict reader of JSON (RFC 8259) for everything that comes from outside:
 * client commands, API bodies, token claims.  One pass, no recursion, memory
 * from an arena; what it takes and refuses is compared with yajl by a fuzz
 * target, which costs ten times as much for the payloads that only have to be
 * validated.  Values of the members named data and info stay unparsed slices
 * of the input.
 */

#ifndef _NGX_CENTRIFUGO_JSON_H_INCLUDED_
#define _NGX_CENTRIFUGO_JSON_H_INCLUDED_


#include "../core/ngx_centrifugo_buf.h"


#define NGX_CENTRIFUGO_JSON_MAX_DEPTH  512


typedef enum {
    NGX_CENTRIFUGO_JSON_NULL = 0,
    NGX_CENTRIFUGO_JSON_FALSE,
    NGX_CENTRIFUGO_JSON_TRUE,
    NGX_CENTRIFUGO_JSON_NUMBER,
    NGX_CENTRIFUGO_JSON_STRING,
    NGX_CENTRIFUGO_JSON_MAP,
    NGX_CENTRIFUGO_JSON_ARRAY,
    NGX_CENTRIFUGO_JSON_BYTES       /* of Protobuf: `raw` may be anything */
} ngx_centrifugo_json_type_e;

/*
 * Members and elements of a map or array are a list: `child` is the first,
 * `next` the sibling.  `raw` is the value's text in the input; `str` of a
 * string its decoded bytes; `key` the decoded name of a map's member.
 */
typedef struct ngx_centrifugo_json_s  ngx_centrifugo_json_t;

struct ngx_centrifugo_json_s {
    ngx_centrifugo_json_type_e   type;
    ngx_str_t                    key;
    ngx_str_t                    raw;
    ngx_str_t                    str;
    ngx_centrifugo_json_t       *child;
    ngx_centrifugo_json_t       *next;
};


/*
 * Parses exactly one JSON value (white space around it is allowed), or with
 * `many` any number of values one behind the other, which are then siblings.
 * The input must stay as long as the result is used; `*root` is NULL when
 * `many` and the input is blank.  Refuses what is not UTF-8 and nesting deeper
 * than NGX_CENTRIFUGO_JSON_MAX_DEPTH; an escaped half of a surrogate pair is
 * read as U+FFFD.
 * NGX_OK; NGX_ERROR: malformed; NGX_ABORT: no memory.
 * Members whose name is "data" or "info" keep only `type` and `raw` (and
 * `str` of a string): no children are stored for them.
 */
ngx_int_t ngx_centrifugo_json_parse(ngx_centrifugo_arena_t *arena,
    u_char *data, size_t len, ngx_uint_t many, ngx_centrifugo_json_t **root);

/*
 * The last member of that name, or NULL when there is none or it is null.
 */
ngx_centrifugo_json_t *ngx_centrifugo_json_get(ngx_centrifugo_json_t *map,
    const char *name, size_t len);

/* The same, but null is a value too. */
ngx_centrifugo_json_t *ngx_centrifugo_json_find(ngx_centrifugo_json_t *map,
    const char *name, size_t len);

/*
 * Typed members of a map.  NGX_OK: stored; NGX_DECLINED: absent or null,
 * nothing stored; NGX_ERROR: another type, not an integer, or out of range.
 */
ngx_int_t ngx_centrifugo_json_string(ngx_centrifugo_json_t *map,
    const char *name, size_t len, ngx_str_t *value);
ngx_int_t ngx_centrifugo_json_bool(ngx_centrifugo_json_t *map,
    const char *name, size_t len, ngx_uint_t *value);
ngx_int_t ngx_centrifugo_json_uint(ngx_centrifugo_json_t *map,
    const char *name, size_t len, uint64_t max, uint64_t *value);
ngx_int_t ngx_centrifugo_json_int(ngx_centrifugo_json_t *map,
    const char *name, size_t len, int64_t min, int64_t max, int64_t *value);

/* The number of a value.  NGX_OK or NGX_ERROR as above. */
ngx_int_t ngx_centrifugo_json_to_uint(ngx_centrifugo_json_t *value,
    uint64_t max, uint64_t *n);
ngx_int_t ngx_centrifugo_json_to_int(ngx_centrifugo_json_t *value,
    int64_t min, int64_t max, int64_t *n);

/*
 * Appends a string with quotes and escapes.
 */
void ngx_centrifugo_json_append_string(ngx_centrifugo_buf_t *b,
    const ngx_str_t *s);

/*
 * Appends raw JSON without its raw CR and LF bytes (white space in valid
 * JSON), since replies are parted by lines.  text: the same, as a string.
 */
void ngx_centrifugo_json_append_raw(ngx_centrifugo_buf_t *b,
    const ngx_str_t *raw);
void ngx_centrifugo_json_append_text(ngx_centrifugo_buf_t *b,
    const ngx_str_t *raw);

/*
 * NGX_OK when the bytes are exactly one valid JSON value.
 */
ngx_int_t ngx_centrifugo_json_validate(ngx_centrifugo_arena_t *arena,
    u_char *data, size_t len);


#endif /* _NGX_CENTRIFUGO_JSON_H_INCLUDED_ */
