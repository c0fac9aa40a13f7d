/*
 * A condition in the first line, tags in those behind it, KEY=VALUE each: what
 * is compiled lets the same through as the condition itself, read again at each
 * evaluation.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include "protocol/ngx_centrifugo_protocol.h"


#define TAGS  32


static ngx_centrifugo_tag_t  tags[TAGS];
static ngx_uint_t            ntags;


static int
is(const ngx_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


static int
same(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && (one->len == 0 || memcmp(one->data, two->data, one->len) == 0);
}


/* a decimal as digits that can be compared: 1, or 0 if it is none */

static int
digits(const ngx_str_t *s, char *to, size_t before, size_t behind, int *sign)
{
    size_t  i, point, n;

    i = 0;
    *sign = 1;

    if (s->len && (s->data[0] == '-' || s->data[0] == '+')) {
        *sign = s->data[0] == '-' ? -1 : 1;
        i = 1;
    }

    point = i;

    while (point < s->len && s->data[point] != '.') {
        point++;
    }

    if (point == i || point + 1 == s->len) {
        return 0;
    }

    for (n = i; n < s->len; n++) {
        if (n != point && (s->data[n] < '0' || s->data[n] > '9')) {
            return 0;
        }
    }

    memset(to, '0', before + behind);
    memcpy(to + before - (point - i), s->data + i, point - i);

    if (point < s->len) {
        memcpy(to + before, s->data + point + 1, s->len - point - 1);
    }

    return 1;
}


static int
number(const ngx_str_t *cmp, const ngx_str_t *value, const ngx_str_t *val)
{
    int      rc, order, one_sign, two_sign;
    char    *one, *two, *zero;
    size_t   n;

    n = ngx_max(value->len, val->len) + 1;
    one = malloc(2 * n);
    two = malloc(2 * n);
    zero = malloc(2 * n);
    memset(zero, '0', 2 * n);
    rc = 0;

    if (digits(value, one, n, n, &one_sign)
        && digits(val, two, n, n, &two_sign))
    {
        if (memcmp(one, zero, 2 * n) == 0) {
            one_sign = 0;
        }

        if (memcmp(two, zero, 2 * n) == 0) {
            two_sign = 0;
        }

        order = one_sign != two_sign ? one_sign - two_sign
                                     : one_sign * memcmp(one, two, 2 * n);

        rc = is(cmp, "lt") ? order < 0 : is(cmp, "lte") ? order <= 0
             : is(cmp, "gt") ? order > 0 : order >= 0;
    }

    free(one);
    free(two);
    free(zero);

    return rc;
}


static int
meets(const ngx_centrifugo_filter_node_t *node)
{
    int                                  n;
    size_t                               i;
    const ngx_str_t                     *value;
    const ngx_str_t                     *val = &node->val;
    const ngx_str_t                     *cmp = &node->cmp;
    const ngx_centrifugo_filter_node_t  *child;

    if (node->op.len) {
        n = 0;

        for (child = node->nodes; child; child = child->next) {

            if (is(&node->op, "or") ? meets(child) : !meets(child)) {
                n++;
            }
        }

        return is(&node->op, "and") ? n == 0 : n != 0;
    }

    value = NULL;

    for (i = 0; i < ntags; i++) {
        if (same(&tags[i].key, &node->key)) {
            value = &tags[i].value;
        }
    }

    if (is(cmp, "ex") || is(cmp, "nex")) {
        return (value != NULL) == is(cmp, "ex");
    }

    if (is(cmp, "in") || is(cmp, "nin")) {
        n = 0;

        for (i = 0; i < node->nvals; i++) {
            n += value ? same(value, &node->vals[i]) : node->vals[i].len == 0;
        }

        return (n != 0) == is(cmp, "in");
    }

    if (value == NULL) {
        return is(cmp, "neq");
    }

    if (is(cmp, "eq") || is(cmp, "neq")) {
        return same(value, val) == is(cmp, "eq");
    }

    if (cmp->len > 2 || cmp->data[0] == 'l' || cmp->data[0] == 'g') {
        return number(cmp, value, val);
    }

    for (i = 0; i + val->len <= value->len; i++) {

        if (memcmp(value->data + i, val->data, val->len) == 0
            && (is(cmp, "ct") || (is(cmp, "sw") && i == 0)
                || (is(cmp, "ew") && i + val->len == value->len)))
        {
            return 1;
        }
    }

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                    *in, *p, *end, *line, *eq;
    ngx_int_t                  rc;
    ngx_str_t                  bytes, packed;
    const char                *why;
    ngx_centrifugo_tag_t       list[TAGS];
    ngx_centrifugo_arena_t     arena;
    ngx_centrifugo_command_t   cmd;
    ngx_centrifugo_filter_t   *filter;

    static const char  head[] = "{\"id\":1,\"subscribe\":{\"tf\":";

    ngx_centrifugo_arena_init(&arena, 1024);

    in = malloc(size + sizeof(head) + 2);
    p = memchr(data, '\n', size);
    end = (u_char *) data + size;
    line = p ? p : end;

    memcpy(in, head, sizeof(head) - 1);
    memcpy(in + sizeof(head) - 1, data, line - data);
    bytes.data = in;
    bytes.len = sizeof(head) - 1 + (line - data);
    bytes.data[bytes.len++] = '}';
    bytes.data[bytes.len++] = '}';

    for (ntags = 0; line < end && ntags < TAGS; line = p) {
        line++;
        p = memchr(line, '\n', end - line);
        p = p ? p : end;
        eq = memchr(line, '=', p - line);

        if (eq) {
            tags[ntags].key.data = line;
            tags[ntags].key.len = eq - line;
            tags[ntags].value.data = eq + 1;
            tags[ntags].value.len = p - eq - 1;
            ntags++;
        }
    }

    memcpy(list, tags, sizeof(list));

    if (ngx_centrifugo_codec_json.decode(&arena, &bytes, &cmd) == NGX_OK
        && cmd.filter
        && ngx_centrifugo_tags_pack(&arena, list, ntags, &packed) == NGX_OK)
    {
        rc = ngx_centrifugo_filter_compile(cmd.filter, &filter, &why);

        if (rc == NGX_OK) {

            /* it needs nothing of what it was made of */

            rc = meets(cmd.filter);
            memset(in, 'x', bytes.len);

            if ((int) ngx_centrifugo_filter_match(filter, &packed) != rc) {
                abort();
            }

            free(filter);

        } else if (rc != NGX_DECLINED || why == NULL) {
            abort();
        }
    }

    ngx_centrifugo_arena_free(&arena);
    free(in);

    return 0;
}
