#include "ngx_centrifugo_pb.h"
#include "ngx_centrifugo_utf8.h"


#define PB_VARINT   0
#define PB_FIXED64  1
#define PB_LEN      2
#define PB_START    3       /* of a group, which nothing here has */
#define PB_END      4
#define PB_FIXED32  5

#define PB_FIELD_MAX  ((1U << 29) - 1)
#define PB_DIGITS     20    /* of the largest number */


/* a value that has others in it */
typedef struct {
    ngx_centrifugo_json_t    value;
    ngx_centrifugo_json_t  **last;      /* where the next one goes */
} pb_list_t;

typedef struct {
    ngx_centrifugo_arena_t  *arena;
    ngx_int_t                rc;        /* what went wrong */
    ngx_uint_t               depth;
} pb_parser_t;


static ngx_int_t pb_message(pb_parser_t *parser,
    const ProtobufCMessageDescriptor *type, u_char *p, u_char *end,
    pb_list_t *map);
static ngx_int_t pb_field(pb_parser_t *parser,
    const ProtobufCFieldDescriptor *field, uint64_t n, u_char *data,
    pb_list_t *map);
static ngx_int_t pb_value(pb_parser_t *parser,
    const ProtobufCFieldDescriptor *field, uint64_t n, u_char *data,
    ngx_centrifugo_json_t *value);
static ngx_int_t pb_entry(pb_parser_t *parser,
    const ProtobufCMessageDescriptor *type, u_char *data, size_t len,
    pb_list_t *map);
static ngx_int_t pb_nested(pb_parser_t *parser,
    const ProtobufCMessageDescriptor *type, u_char *data, size_t len,
    pb_list_t *map);
static ngx_int_t pb_skip_group(u_char **pos, u_char *end, ngx_uint_t number);
static ngx_int_t pb_skip(u_char **pos, u_char *end, ngx_uint_t wire);
static ngx_uint_t pb_wire(const ProtobufCFieldDescriptor *field);
static ngx_uint_t pb_is_map(const ProtobufCFieldDescriptor *field);
static ngx_centrifugo_json_t *pb_find(pb_list_t *map,
    const ProtobufCFieldDescriptor *field);
static pb_list_t *pb_list(pb_parser_t *parser, pb_list_t *map,
    ngx_centrifugo_json_type_e type);
static ngx_centrifugo_json_t *pb_add(pb_parser_t *parser, pb_list_t *list,
    size_t size);
static void pb_name(ngx_centrifugo_json_t *value,
    const ProtobufCFieldDescriptor *field);
static ngx_int_t pb_number(pb_parser_t *parser, uint64_t n, ngx_uint_t minus,
    ngx_centrifugo_json_t *value);
static ngx_int_t pb_string(pb_parser_t *parser, u_char *data, size_t len,
    ngx_str_t *s);


ngx_int_t
ngx_centrifugo_pb_parse(ngx_centrifugo_arena_t *arena,
    const ProtobufCMessageDescriptor *type, u_char *data, size_t len,
    ngx_centrifugo_json_t **root)
{
    pb_list_t    *map;
    pb_parser_t   parser;

    parser.arena = arena;
    parser.rc = NGX_ERROR;
    parser.depth = 0;

    map = pb_list(&parser, NULL, NGX_CENTRIFUGO_JSON_MAP);

    if (map == NULL || pb_nested(&parser, type, data, len, map) != NGX_OK) {
        return parser.rc;
    }

    *root = &map->value;

    return NGX_OK;
}


static ngx_int_t
pb_nested(pb_parser_t *parser, const ProtobufCMessageDescriptor *type,
    u_char *data, size_t len, pb_list_t *map)
{
    ngx_int_t  rc;

    if (parser->depth == NGX_CENTRIFUGO_PB_MAX_DEPTH) {
        return NGX_ERROR;
    }

    parser->depth++;
    rc = pb_message(parser, type, data, data + len, map);
    parser->depth--;

    return rc;
}


static ngx_int_t
pb_message(pb_parser_t *parser, const ProtobufCMessageDescriptor *type,
    u_char *p, u_char *end, pb_list_t *map)
{
    u_char                          *data;
    uint64_t                         tag, n;
    ngx_uint_t                       wire;
    const ProtobufCFieldDescriptor  *field;

    while (p < end) {

        if (ngx_centrifugo_pb_varint(&p, end, &tag) != NGX_OK
            || tag >> 3 == 0 || tag >> 3 > PB_FIELD_MAX)
        {
            return NGX_ERROR;
        }

        wire = tag & 7;
        field = protobuf_c_message_descriptor_get_field(type,
                                                        (unsigned) (tag >> 3));

        if (wire == PB_START) {

            if (pb_skip_group(&p, end, (ngx_uint_t) (tag >> 3)) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (field == NULL || pb_wire(field) != wire) {

            if (pb_skip(&p, end, wire) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (ngx_centrifugo_pb_varint(&p, end, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        data = p;

        if (wire == PB_LEN) {

            if (n > (size_t) (end - p)) {
                return NGX_ERROR;
            }

            p += n;
        }

        if (pb_field(parser, field, n, data, map) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A field again: of a single one the last value counts, messages are joined.
 */

static ngx_int_t
pb_field(pb_parser_t *parser, const ProtobufCFieldDescriptor *field,
    uint64_t n, u_char *data, pb_list_t *map)
{
    pb_list_t              *list;
    ngx_uint_t              nested, repeated;
    ngx_centrifugo_json_t  *value;

    value = pb_find(map, field);
    repeated = (field->label == PROTOBUF_C_LABEL_REPEATED);
    nested = (field->type == PROTOBUF_C_TYPE_MESSAGE);

    if (!nested && !repeated) {

        if (value == NULL) {
            value = pb_add(parser, map, sizeof(ngx_centrifugo_json_t));

            if (value == NULL) {
                return NGX_ERROR;
            }

            pb_name(value, field);
        }

        return pb_value(parser, field, n, data, value);
    }

    list = (pb_list_t *) value;

    if (list == NULL) {
        list = pb_list(parser, map, repeated && !pb_is_map(field)
                                    ? NGX_CENTRIFUGO_JSON_ARRAY
                                    : NGX_CENTRIFUGO_JSON_MAP);
        if (list == NULL) {
            return NGX_ERROR;
        }

        pb_name(&list->value, field);
    }

    if (!repeated) {
        return pb_nested(parser, field->descriptor, data, (size_t) n, list);
    }

    if (pb_is_map(field)) {
        return pb_entry(parser, field->descriptor, data, (size_t) n, list);
    }

    if (nested) {
        list = pb_list(parser, list, NGX_CENTRIFUGO_JSON_MAP);

        return list ? pb_nested(parser, field->descriptor, data, (size_t) n,
                                list)
                    : NGX_ERROR;
    }

    value = pb_add(parser, list, sizeof(ngx_centrifugo_json_t));

    return value ? pb_value(parser, field, n, data, value) : NGX_ERROR;
}


static ngx_int_t
pb_value(pb_parser_t *parser, const ProtobufCFieldDescriptor *field,
    uint64_t n, u_char *data, ngx_centrifugo_json_t *value)
{
    int64_t  i;

    switch (field->type) {

    case PROTOBUF_C_TYPE_BYTES:
        value->type = NGX_CENTRIFUGO_JSON_BYTES;
        value->raw.data = data;
        value->raw.len = (size_t) n;
        return NGX_OK;

    case PROTOBUF_C_TYPE_STRING:
        value->type = NGX_CENTRIFUGO_JSON_STRING;
        return pb_string(parser, data, (size_t) n, &value->str);

    case PROTOBUF_C_TYPE_BOOL:
        value->type = n ? NGX_CENTRIFUGO_JSON_TRUE : NGX_CENTRIFUGO_JSON_FALSE;
        return NGX_OK;

    case PROTOBUF_C_TYPE_UINT32:
        return pb_number(parser, (uint32_t) n, 0, value);

    case PROTOBUF_C_TYPE_UINT64:
        return pb_number(parser, n, 0, value);

    case PROTOBUF_C_TYPE_INT32:
        i = (int32_t) (uint32_t) n;
        break;

    default: /* PROTOBUF_C_TYPE_INT64 */
        i = (int64_t) n;
    }

    return pb_number(parser, i < 0 ? 0 - (uint64_t) i : (uint64_t) i, i < 0,
                     value);
}


/*
 * An entry of a map becomes a member: with nothing in it, it is "" and the
 * value that has its default.
 */

static ngx_int_t
pb_entry(pb_parser_t *parser, const ProtobufCMessageDescriptor *type,
    u_char *data, size_t len, pb_list_t *map)
{
    pb_list_t                        entry, *list;
    ngx_centrifugo_json_t           *key, *value, *member;
    const ProtobufCFieldDescriptor  *field;

    ngx_memzero(&entry, sizeof(pb_list_t));
    entry.last = &entry.value.child;

    if (pb_nested(parser, type, data, len, &entry) != NGX_OK) {
        return NGX_ERROR;
    }

    key = pb_find(&entry, protobuf_c_message_descriptor_get_field(type, 1));
    field = protobuf_c_message_descriptor_get_field(type, 2);
    value = pb_find(&entry, field);

    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        list = pb_list(parser, map, NGX_CENTRIFUGO_JSON_MAP);

        if (list == NULL) {
            return NGX_ERROR;
        }

        member = &list->value;

        if (value) {
            member->child = value->child;
        }

    } else {
        member = pb_add(parser, map, sizeof(ngx_centrifugo_json_t));

        if (member == NULL) {
            return NGX_ERROR;
        }

        member->type = NGX_CENTRIFUGO_JSON_STRING;
        member->str.data = data;

        if (value) {
            member->str = value->str;
        }
    }

    member->key.data = data;

    if (key) {
        member->key = key->str;
    }

    return NGX_OK;
}


/* The wire type that a field has, if it is one of those that are used. */

static ngx_uint_t
pb_wire(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {

    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PB_LEN;

    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_INT64:
        return PB_VARINT;

    default:
        return PB_END;
    }
}


/* protoc names the type of a map's entries so, and nothing else here. */

static ngx_uint_t
pb_is_map(const ProtobufCFieldDescriptor *field)
{
    size_t                             len;
    const ProtobufCMessageDescriptor  *type;

    if (field->label != PROTOBUF_C_LABEL_REPEATED
        || field->type != PROTOBUF_C_TYPE_MESSAGE)
    {
        return 0;
    }

    type = field->descriptor;
    len = ngx_strlen(type->short_name);

    return len > 5 && ngx_strcmp(type->short_name + len - 5, "Entry") == 0;
}


static ngx_int_t
pb_skip(u_char **pos, u_char *end, ngx_uint_t wire)
{
    uint64_t  n;

    switch (wire) {

    case PB_VARINT:
        return ngx_centrifugo_pb_varint(pos, end, &n);

    case PB_FIXED64:
        n = 8;
        break;

    case PB_FIXED32:
        n = 4;
        break;

    case PB_LEN:

        if (ngx_centrifugo_pb_varint(pos, end, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    default:
        return NGX_ERROR;
    }

    if (n > (size_t) (end - *pos)) {
        return NGX_ERROR;
    }

    *pos += n;

    return NGX_OK;
}


static ngx_int_t
pb_skip_group(u_char **pos, u_char *end, ngx_uint_t number)
{
    uint64_t    tag;
    ngx_uint_t  depth, open[NGX_CENTRIFUGO_PB_MAX_DEPTH];

    open[0] = number;
    depth = 1;

    while (depth) {

        if (ngx_centrifugo_pb_varint(pos, end, &tag) != NGX_OK
            || tag >> 3 == 0 || tag >> 3 > PB_FIELD_MAX)
        {
            return NGX_ERROR;
        }

        switch (tag & 7) {

        case PB_START:

            if (depth == NGX_CENTRIFUGO_PB_MAX_DEPTH) {
                return NGX_ERROR;
            }

            open[depth++] = (ngx_uint_t) (tag >> 3);
            break;

        case PB_END:

            if (open[--depth] != tag >> 3) {
                return NGX_ERROR;
            }

            break;

        default:

            if (pb_skip(pos, end, tag & 7) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_centrifugo_json_t *
pb_find(pb_list_t *map, const ProtobufCFieldDescriptor *field)
{
    ngx_centrifugo_json_t  *value;

    for (value = map->value.child; value; value = value->next) {
        if (value->key.data == (u_char *) field->name) {
            return value;
        }
    }

    return NULL;
}


static pb_list_t *
pb_list(pb_parser_t *parser, pb_list_t *map, ngx_centrifugo_json_type_e type)
{
    pb_list_t  *list;

    list = (pb_list_t *) pb_add(parser, map, sizeof(pb_list_t));

    if (list) {
        list->value.type = type;

        /* without members, a reader of JSON may want to look at its text */

        if (type == NGX_CENTRIFUGO_JSON_MAP) {
            ngx_str_set(&list->value.raw, "{}");
        }

        list->last = &list->value.child;
    }

    return list;
}


static ngx_centrifugo_json_t *
pb_add(pb_parser_t *parser, pb_list_t *list, size_t size)
{
    ngx_centrifugo_json_t  *value;

    value = ngx_centrifugo_arena_alloc(parser->arena, size);

    if (value == NULL) {
        parser->rc = NGX_ABORT;
        return NULL;
    }

    ngx_memzero(value, size);

    if (list) {
        *list->last = value;
        list->last = &value->next;
    }

    return value;
}


static void
pb_name(ngx_centrifugo_json_t *value, const ProtobufCFieldDescriptor *field)
{
    value->key.data = (u_char *) field->name;
    value->key.len = ngx_strlen(field->name);
}


/* As text: whoever reads numbers reads them so. */

static ngx_int_t
pb_number(pb_parser_t *parser, uint64_t n, ngx_uint_t minus,
    ngx_centrifugo_json_t *value)
{
    u_char  *p, *end;

    p = ngx_centrifugo_arena_alloc(parser->arena, PB_DIGITS + 1);

    if (p == NULL) {
        parser->rc = NGX_ABORT;
        return NGX_ERROR;
    }

    end = p + PB_DIGITS + 1;
    p = end;

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    if (minus) {
        *--p = '-';
    }

    value->type = NGX_CENTRIFUGO_JSON_NUMBER;
    value->raw.data = p;
    value->raw.len = end - p;

    return NGX_OK;
}


static ngx_int_t
pb_string(pb_parser_t *parser, u_char *data, size_t len, ngx_str_t *s)
{
    if (ngx_centrifugo_utf8_validate(data, len) != NGX_OK) {
        return NGX_ERROR;
    }

    s->data = data;
    s->len = len;

    return NGX_OK;
}


ngx_int_t
ngx_centrifugo_pb_varint(u_char **pos, u_char *end, uint64_t *n)
{
    u_char      *p;
    uint64_t     value;
    ngx_uint_t   shift;

    value = 0;

    for (p = *pos, shift = 0; p < end; shift += 7) {

        if (shift == 63 && *p > 1) {
            return NGX_ERROR;
        }

        value |= (uint64_t) (*p & 0x7f) << shift;

        if (*p++ < 0x80) {
            *pos = p;
            *n = value;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


void
ngx_centrifugo_pb_append_varint(ngx_centrifugo_buf_t *b, uint64_t n)
{
    while (n > 0x7f) {
        ngx_centrifugo_buf_byte(b, (u_char) (n | 0x80));
        n >>= 7;
    }

    ngx_centrifugo_buf_byte(b, (u_char) n);
}


void
ngx_centrifugo_pb_append_uint(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    uint64_t n)
{
    if (n) {
        ngx_centrifugo_pb_append_varint(b, field << 3 | PB_VARINT);
        ngx_centrifugo_pb_append_varint(b, n);
    }
}


void
ngx_centrifugo_pb_append_bytes(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_str_t *s)
{
    if (s->len) {
        ngx_centrifugo_pb_append_message(b, field, s);
    }
}


void
ngx_centrifugo_pb_append_message(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_str_t *s)
{
    ngx_centrifugo_pb_append_varint(b, field << 3 | PB_LEN);
    ngx_centrifugo_pb_append_varint(b, s->len);
    ngx_centrifugo_buf_append(b, s->data, s->len);
}


size_t
ngx_centrifugo_pb_begin(ngx_centrifugo_buf_t *b, ngx_uint_t field)
{
    if (field) {
        ngx_centrifugo_pb_append_varint(b, field << 3 | PB_LEN);
    }

    ngx_centrifugo_buf_byte(b, 0);

    return ngx_centrifugo_buf_len(b);
}


void
ngx_centrifugo_pb_end(ngx_centrifugo_buf_t *b, size_t mark)
{
    u_char  *p;
    size_t   len, rest, more;

    if (b->failed) {
        return;
    }

    len = ngx_centrifugo_buf_len(b) - mark;

    /* most lengths are of one byte, for which there is room */

    for (more = 0, rest = len >> 7; rest; rest >>= 7) {
        more++;
    }

    if (more) {

        if (ngx_centrifugo_buf_reserve(b, more) != NGX_OK) {
            return;
        }

        p = b->start + mark;
        ngx_memmove(p + more, p, len);
        b->last += more;
    }

    p = b->start + mark - 1;

    for ( /* void */ ; more; more--) {
        *p++ = (u_char) (len | 0x80);
        len >>= 7;
    }

    *p = (u_char) len;
}


void
ngx_centrifugo_pb_append_entry(ngx_centrifugo_buf_t *b, ngx_uint_t field,
    const ngx_str_t *key, const ngx_str_t *value)
{
    size_t  mark;

    mark = ngx_centrifugo_pb_begin(b, field);
    ngx_centrifugo_pb_append_bytes(b, 1, key);
    ngx_centrifugo_pb_append_bytes(b, 2, value);
    ngx_centrifugo_pb_end(b, mark);
}
