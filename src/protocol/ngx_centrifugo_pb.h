/*
 * Protobuf, read and written by the descriptors that protoc-c makes of the
 * files in proto/.  A message becomes the same values that the JSON reader
 * makes, so whatever takes parameters takes them from both.
 *
 * What protobuf-c has to read messages with is not used: it follows nesting as
 * deep as a peer likes, cuts strings at a zero byte, and takes strings that
 * are not UTF-8.
 */

#ifndef _NGX_CENTRIFUGO_PB_H_INCLUDED_
#define _NGX_CENTRIFUGO_PB_H_INCLUDED_


#include "ngx_centrifugo_json.h"

#include <protobuf-c/protobuf-c.h>


#define NGX_CENTRIFUGO_PB_MAX_DEPTH  64
#define NGX_CENTRIFUGO_PB_VARINT     10     /* bytes of the longest */


/*
 * Reads one message of a type: *root is a map of the fields that are there, by
 * their names.  Strings and bytes point into the input, which must stay as
 * long as the result is used; fields of type bytes are of
 * NGX_CENTRIFUGO_JSON_BYTES, of which nobody knows what they hold.  Repeated
 * fields are arrays, maps are maps.  Unknown fields, and known ones of another
 * wire type, are passed over.
 *
 * NGX_OK; NGX_ERROR: cut off, malformed, a string that is not UTF-8, or nested
 * deeper than NGX_CENTRIFUGO_PB_MAX_DEPTH; NGX_ABORT: no memory.
 */
ngx_int_t ngx_centrifugo_pb_parse(ngx_centrifugo_arena_t *arena,
    const ProtobufCMessageDescriptor *type, u_char *data, size_t len,
    ngx_centrifugo_json_t **root);

/*
 * A varint in [*pos, end).  NGX_OK, *pos is behind it; NGX_ERROR: it is cut
 * off, or has more than 64 bits.
 */
ngx_int_t ngx_centrifugo_pb_varint(u_char **pos, u_char *end, uint64_t *n);


/*
 * Writers append a field; what is zero, false or empty is left out, as in
 * proto3.
 */
void ngx_centrifugo_pb_append_varint(ngx_centrifugo_buf_t *b, uint64_t n);
void ngx_centrifugo_pb_append_uint(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    uint64_t n);
void ngx_centrifugo_pb_append_bytes(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_str_t *s);

/* A message as a field, also if nothing is in it. */
void ngx_centrifugo_pb_append_message(ngx_centrifugo_buf_t *b,
    ngx_uint_t field, const ngx_str_t *s);

/*
 * A message as a field (0: only behind its length): what is appended between
 * begin and end is in it.  begin returns what end has to be given.
 */
size_t ngx_centrifugo_pb_begin(ngx_centrifugo_buf_t *b, ngx_uint_t field);
void ngx_centrifugo_pb_end(ngx_centrifugo_buf_t *b, size_t mark);

/* An entry of a map of strings. */
void ngx_centrifugo_pb_append_entry(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_str_t *key, const ngx_str_t *value);


#endif /* _NGX_CENTRIFUGO_PB_H_INCLUDED_ */
