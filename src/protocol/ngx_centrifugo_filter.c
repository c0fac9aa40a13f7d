/*
 * A condition becomes a list of items: one that joins others stands before
 * them and knows where they end, so that the rest of them can be passed over.
 */

#include "ngx_centrifugo_filter.h"
#include "ngx_centrifugo_tags.h"


typedef enum {
    FILTER_AND = 0,
    FILTER_OR,
    FILTER_NOT,
    FILTER_EQ,
    FILTER_NEQ,
    FILTER_IN,
    FILTER_NIN,
    FILTER_EX,
    FILTER_NEX,
    FILTER_SW,
    FILTER_EW,
    FILTER_CT,
    FILTER_LT,
    FILTER_LTE,
    FILTER_GT,
    FILTER_GTE
} filter_op_e;

/* what a leaf has beside its key */
typedef enum {
    FILTER_VAL,
    FILTER_VALS,
    FILTER_NEITHER
} filter_has_e;

typedef struct {
    ngx_str_t            name;
    filter_op_e          op;
    filter_has_e         has;
} filter_cmp_t;

/* without zeroes that do not count; neither part has any digits: 0 */
typedef struct {
    ngx_str_t            whole;
    ngx_str_t            fraction;
    unsigned             negative:1;
    unsigned             valid:1;
} filter_decimal_t;

typedef struct {
    filter_op_e          op;
    uint32_t             end;       /* index of what stands behind it and what
                                       it joins */
    ngx_str_t            key;
    ngx_str_t            val;
    ngx_str_t           *vals;
    ngx_uint_t           nvals;
    filter_decimal_t     number;    /* that val is */
} filter_item_t;

struct ngx_centrifugo_filter_s {
    uint32_t             n;
    filter_item_t        items[];
};

/* what is needed for a condition, and then what is taken of it */
typedef struct {
    ngx_uint_t           items;
    ngx_uint_t           vals;
    size_t               bytes;
} filter_size_t;

typedef struct {
    filter_item_t       *item;
    ngx_str_t           *val;
    u_char              *byte;
} filter_room_t;


static const char *filter_check(const ngx_centrifugo_filter_node_t *node,
    ngx_uint_t depth, filter_size_t *size);
static const char *filter_check_leaf(const ngx_centrifugo_filter_node_t *node);
static const filter_cmp_t *filter_cmp(const ngx_str_t *name);
static ngx_int_t filter_op(const ngx_str_t *name, filter_op_e *op);
static void filter_build(ngx_centrifugo_filter_t *filter,
    const ngx_centrifugo_filter_node_t *node, filter_room_t *room);
static void filter_copy(filter_room_t *room, ngx_str_t *to,
    const ngx_str_t *from);
static ngx_uint_t filter_meets(const ngx_centrifugo_filter_t *filter,
    uint32_t *pos, const ngx_str_t *tags);
static ngx_uint_t filter_leaf(const filter_item_t *item,
    const ngx_str_t *tags);
static ngx_uint_t filter_number(const filter_item_t *item,
    const ngx_str_t *value);
static void filter_decimal(const ngx_str_t *s, filter_decimal_t *d);
static ngx_int_t filter_decimal_compare(const filter_decimal_t *one,
    const filter_decimal_t *two);
static ngx_uint_t filter_among(const filter_item_t *item,
    const ngx_str_t *value);
static ngx_uint_t filter_equal(const ngx_str_t *one, const ngx_str_t *two);


static const filter_cmp_t  filter_cmps[] = {
    { ngx_string("eq"), FILTER_EQ, FILTER_VAL },
    { ngx_string("neq"), FILTER_NEQ, FILTER_VAL },
    { ngx_string("in"), FILTER_IN, FILTER_VALS },
    { ngx_string("nin"), FILTER_NIN, FILTER_VALS },
    { ngx_string("ex"), FILTER_EX, FILTER_NEITHER },
    { ngx_string("nex"), FILTER_NEX, FILTER_NEITHER },
    { ngx_string("sw"), FILTER_SW, FILTER_VAL },
    { ngx_string("ew"), FILTER_EW, FILTER_VAL },
    { ngx_string("ct"), FILTER_CT, FILTER_VAL },
    { ngx_string("lt"), FILTER_LT, FILTER_VAL },
    { ngx_string("lte"), FILTER_LTE, FILTER_VAL },
    { ngx_string("gt"), FILTER_GT, FILTER_VAL },
    { ngx_string("gte"), FILTER_GTE, FILTER_VAL },
    { ngx_null_string, FILTER_AND, FILTER_NEITHER }
};


ngx_int_t
ngx_centrifugo_filter_compile(const ngx_centrifugo_filter_node_t *node,
    ngx_centrifugo_filter_t **filter, const char **why)
{
    size_t                    len;
    filter_room_t             room;
    filter_size_t             size;
    ngx_centrifugo_filter_t  *f;

    ngx_memzero(&size, sizeof(filter_size_t));

    *why = filter_check(node, 1, &size);

    if (*why) {
        return NGX_DECLINED;
    }

    len = sizeof(ngx_centrifugo_filter_t) + size.items * sizeof(filter_item_t)
          + size.vals * sizeof(ngx_str_t) + size.bytes;

    f = malloc(len);
    if (f == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(f, len);

    room.item = f->items;
    room.val = (ngx_str_t *) &f->items[size.items];
    room.byte = (u_char *) &room.val[size.vals];

    filter_build(f, node, &room);

    *filter = f;

    return NGX_OK;
}


/*
 * NULL: it is valid.  The recursion ends at the greatest depth of a filter.
 */

static const char *
filter_check(const ngx_centrifugo_filter_node_t *node, ngx_uint_t depth,
    filter_size_t *size)
{
    ngx_uint_t                           i;
    const char                          *why;
    filter_op_e                          op;
    const ngx_centrifugo_filter_node_t  *child;

    if (depth > NGX_CENTRIFUGO_FILTER_DEPTH) {
        return "the filter is too deep";
    }

    size->items++;

    if (node->op.len == 0) {
        why = filter_check_leaf(node);

        if (why) {
            return why;
        }

        size->vals += node->nvals;
        size->bytes += node->key.len + node->val.len;

        for (i = 0; i < node->nvals; i++) {
            size->bytes += node->vals[i].len;
        }

    } else if (filter_op(&node->op, &op) != NGX_OK) {
        return "an op of the filter is unknown";

    } else if (node->nodes == NULL) {
        return "an op of the filter has no nodes";

    } else if (op == FILTER_NOT && node->nodes->next) {
        return "a not of the filter has several nodes";
    }

    if (size->items + size->vals > NGX_CENTRIFUGO_FILTER_NODES) {
        return "the filter has too many nodes and values";
    }

    if (size->bytes > NGX_CENTRIFUGO_FILTER_BYTES) {
        return "the filter is too long";
    }

    if (node->op.len) {
        for (child = node->nodes; child; child = child->next) {
            why = filter_check(child, depth + 1, size);

            if (why) {
                return why;
            }
        }
    }

    return NULL;
}


static const char *
filter_check_leaf(const ngx_centrifugo_filter_node_t *node)
{
    const filter_cmp_t  *cmp;

    cmp = filter_cmp(&node->cmp);

    if (cmp == NULL) {
        return "a cmp of the filter is missing or unknown";
    }

    if (node->key.len == 0 && cmp->has != FILTER_NEITHER) {
        return "a cmp of the filter has no key";
    }

    if ((node->val.len != 0) != (cmp->has == FILTER_VAL)) {
        return "a cmp of the filter needs a val, or must not have one";
    }

    if ((node->nvals != 0) != (cmp->has == FILTER_VALS)) {
        return "a cmp of the filter needs vals, or must not have any";
    }

    return NULL;
}


static const filter_cmp_t *
filter_cmp(const ngx_str_t *name)
{
    const filter_cmp_t  *cmp;

    for (cmp = filter_cmps; cmp->name.len; cmp++) {
        if (filter_equal(&cmp->name, name)) {
            return cmp;
        }
    }

    return NULL;
}


static ngx_int_t
filter_op(const ngx_str_t *name, filter_op_e *op)
{
    static const ngx_str_t  names[] = {
        ngx_string("and"), ngx_string("or"), ngx_string("not")
    };

    for (*op = FILTER_AND; *op <= FILTER_NOT; (*op)++) {
        if (filter_equal(&names[*op], name)) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static void
filter_build(ngx_centrifugo_filter_t *filter,
    const ngx_centrifugo_filter_node_t *node, filter_room_t *room)
{
    ngx_uint_t                           i;
    filter_item_t                       *item;
    const ngx_centrifugo_filter_node_t  *child;

    item = room->item++;

    if (node->op.len == 0) {
        item->op = filter_cmp(&node->cmp)->op;

        filter_copy(room, &item->key, &node->key);
        filter_copy(room, &item->val, &node->val);
        filter_decimal(&item->val, &item->number);

        item->vals = room->val;
        item->nvals = node->nvals;
        room->val += node->nvals;

        for (i = 0; i < node->nvals; i++) {
            filter_copy(room, &item->vals[i], &node->vals[i]);
        }

    } else {
        (void) filter_op(&node->op, &item->op);

        for (child = node->nodes; child; child = child->next) {
            filter_build(filter, child, room);
        }
    }

    item->end = (uint32_t) (room->item - filter->items);
}


static void
filter_copy(filter_room_t *room, ngx_str_t *to, const ngx_str_t *from)
{
    to->data = room->byte;
    to->len = from->len;

    if (from->len) {
        room->byte = ngx_cpymem(room->byte, from->data, from->len);
    }
}


ngx_uint_t
ngx_centrifugo_filter_match(const ngx_centrifugo_filter_t *filter,
    const ngx_str_t *tags)
{
    uint32_t  pos;

    pos = 0;

    return filter_meets(filter, &pos, tags);
}


/*
 * The item at *pos, which is moved behind it.
 */

static ngx_uint_t
filter_meets(const ngx_centrifugo_filter_t *filter, uint32_t *pos,
    const ngx_str_t *tags)
{
    ngx_uint_t            meets;
    const filter_item_t  *item;

    item = &filter->items[(*pos)++];

    switch (item->op) {

    case FILTER_AND:
        meets = 1;

        while (meets && *pos < item->end) {
            meets = filter_meets(filter, pos, tags);
        }

        break;

    case FILTER_OR:
        meets = 0;

        while (!meets && *pos < item->end) {
            meets = filter_meets(filter, pos, tags);
        }

        break;

    case FILTER_NOT:
        meets = !filter_meets(filter, pos, tags);
        break;

    default:
        meets = filter_leaf(item, tags);
    }

    *pos = item->end;

    return meets;
}


static ngx_uint_t
filter_leaf(const filter_item_t *item, const ngx_str_t *tags)
{
    ngx_str_t         value;
    ngx_uint_t        found;
    const ngx_str_t  *val;

    val = &item->val;
    ngx_str_null(&value);

    found = ngx_centrifugo_tags_find(tags, &item->key, &value) == NGX_OK;

    switch (item->op) {

    case FILTER_EX:
        return found;

    case FILTER_NEX:
        return !found;

    /* these take a tag that is not there for an empty one */

    case FILTER_IN:
        return filter_among(item, &value);

    case FILTER_NIN:
        return !filter_among(item, &value);

    case FILTER_NEQ:
        return !found || !filter_equal(&value, val);

    default:
        break;
    }

    if (!found) {
        return 0;
    }

    switch (item->op) {

    case FILTER_EQ:
        return filter_equal(&value, val);

    case FILTER_SW:
        return value.len >= val->len
               && ngx_memcmp(value.data, val->data, val->len) == 0;

    case FILTER_EW:
        return value.len >= val->len
               && ngx_memcmp(value.data + (value.len - val->len), val->data,
                             val->len)
                  == 0;

    case FILTER_CT:
        return memmem(value.data, value.len, val->data, val->len) != NULL;

    default:
        return filter_number(item, &value);
    }
}


static ngx_uint_t
filter_number(const filter_item_t *item, const ngx_str_t *value)
{
    ngx_int_t         order;
    filter_decimal_t  number;

    filter_decimal(value, &number);

    if (!number.valid || !item->number.valid) {
        return 0;
    }

    order = filter_decimal_compare(&number, &item->number);

    switch (item->op) {

    case FILTER_LT:
        return order < 0;

    case FILTER_LTE:
        return order <= 0;

    case FILTER_GT:
        return order > 0;

    default: /* FILTER_GTE */
        return order >= 0;
    }
}


/*
 * A sign or none, digits, and perhaps a point and more digits.
 */

static void
filter_decimal(const ngx_str_t *s, filter_decimal_t *d)
{
    u_char  *p, *end, *digits;

    ngx_memzero(d, sizeof(filter_decimal_t));

    if (s->len == 0) {
        return;
    }

    p = s->data;
    end = p + s->len;

    if (*p == '+' || *p == '-') {
        d->negative = (*p == '-');
        p++;
    }

    digits = p;

    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }

    d->whole.data = digits;
    d->whole.len = p - digits;

    if (d->whole.len == 0) {
        return;
    }

    if (p < end) {

        if (*p != '.') {
            return;
        }

        digits = ++p;

        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }

        d->fraction.data = digits;
        d->fraction.len = p - digits;

        if (d->fraction.len == 0 || p < end) {
            return;
        }
    }

    d->valid = 1;

    while (d->whole.len && d->whole.data[0] == '0') {
        d->whole.data++;
        d->whole.len--;
    }

    while (d->fraction.len
           && d->fraction.data[d->fraction.len - 1] == '0')
    {
        d->fraction.len--;
    }

    if (d->whole.len == 0 && d->fraction.len == 0) {
        d->negative = 0;
    }
}


static ngx_int_t
filter_decimal_compare(const filter_decimal_t *one,
    const filter_decimal_t *two)
{
    size_t     len;
    ngx_int_t  order;

    if (one->negative != two->negative) {
        return one->negative ? -1 : 1;
    }

    order = (one->whole.len > two->whole.len)
            - (one->whole.len < two->whole.len);

    if (order == 0 && one->whole.len) {
        order = ngx_memcmp(one->whole.data, two->whole.data, one->whole.len);
    }

    if (order == 0) {
        len = ngx_min(one->fraction.len, two->fraction.len);

        if (len) {
            order = ngx_memcmp(one->fraction.data, two->fraction.data, len);
        }
    }

    if (order == 0) {
        order = (one->fraction.len > two->fraction.len)
                - (one->fraction.len < two->fraction.len);
    }

    return one->negative ? -order : order;
}


static ngx_uint_t
filter_among(const filter_item_t *item, const ngx_str_t *value)
{
    ngx_uint_t  i;

    for (i = 0; i < item->nvals; i++) {
        if (filter_equal(&item->vals[i], value)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
filter_equal(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && (one->len == 0
               || ngx_memcmp(one->data, two->data, one->len) == 0);
}
