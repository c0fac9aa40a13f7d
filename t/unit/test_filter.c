/* Tags filters: what is valid, and what they let through. */

#include "unit.h"
#include "protocol/ngx_centrifugo_protocol.h"


static ngx_centrifugo_arena_t  arena;


/* the condition of a subscribe request */

static ngx_centrifugo_filter_node_t *
decode(const char *text)
{
    char                      *p;
    ngx_str_t                  s;
    ngx_centrifugo_command_t   cmd;

    p = ngx_centrifugo_arena_alloc(&arena, strlen(text) + 64);
    s.data = (u_char *) p;
    s.len = sprintf(p, "{\"id\":1,\"subscribe\":{\"tf\":%s}}", text);

    return ngx_centrifugo_codec_json.decode(&arena, &s, &cmd) == NGX_OK
           ? cmd.filter : NULL;
}


/* "k=v,k=v" as packed tags */

static ngx_str_t
tags(const char *text)
{
    char                  *p, *end;
    ngx_str_t              packed;
    ngx_uint_t             n;
    ngx_centrifugo_tag_t   list[8];

    p = ngx_centrifugo_arena_alloc(&arena, strlen(text) + 1);
    strcpy(p, text);

    for (n = 0; *p; n++) {
        end = strchr(p, '=');
        list[n].key.data = (u_char *) p;
        list[n].key.len = end - p;
        p = end + 1;
        list[n].value.data = (u_char *) p;
        list[n].value.len = strcspn(p, ",");
        p += list[n].value.len;
        p += (*p == ',');
    }

    CHECK(ngx_centrifugo_tags_pack(&arena, list, n, &packed) == NGX_OK);

    return packed;
}


/* 1, 0, or -1: the condition is not valid */

static int
meets(const char *text, const char *with)
{
    int                            rc;
    ngx_str_t                      packed;
    const char                    *why;
    ngx_centrifugo_filter_t       *filter;
    ngx_centrifugo_filter_node_t  *node;

    ngx_centrifugo_arena_reset(&arena);

    node = decode(text);

    if (node == NULL) {
        return -2;
    }

    switch (ngx_centrifugo_filter_compile(node, &filter, &why)) {

    case NGX_OK:
        packed = tags(with);
        rc = (int) ngx_centrifugo_filter_match(filter, &packed);
        free(filter);
        return (why == NULL) ? rc : -2;

    case NGX_DECLINED:
        return (why && *why) ? -1 : -2;

    default:
        return -2;
    }
}


#define LEAF(cmp, val)   "{\"key\":\"k\",\"cmp\":\"" cmp "\","               \
                         "\"val\":\"" val "\"}"
#define IN(cmp, vals)    "{\"key\":\"k\",\"cmp\":\"" cmp "\",\"vals\":" vals "}"
#define OP(op, nodes)    "{\"op\":\"" op "\",\"nodes\":[" nodes "]}"
#define YES              "{\"cmp\":\"nex\",\"key\":\"never\"}"
#define NO               "{\"cmp\":\"ex\",\"key\":\"never\"}"


static void
semantics(void)
{
    size_t  i;

    static const struct {
        const char  *filter;
        const char  *tags;
        int          rc;
    } t[] = {
        { LEAF("eq", "v"), "k=v", 1 },
        { LEAF("eq", "v"), "k=vv", 0 },
        { LEAF("eq", "v"), "k=", 0 },
        { LEAF("eq", "v"), "j=v,l=v", 0 },
        { LEAF("eq", "v"), "", 0 },
        { LEAF("neq", "v"), "k=v", 0 },
        { LEAF("neq", "v"), "k=w", 1 },
        { LEAF("neq", "v"), "", 1 },
        { LEAF("neq", "v"), "j=v", 1 },

        { IN("in", "[\"a\",\"b\"]"), "k=b", 1 },
        { IN("in", "[\"a\",\"b\"]"), "k=c", 0 },
        { IN("in", "[\"a\",\"b\"]"), "", 0 },
        { IN("in", "[\"a\",\"\"]"), "", 1 },
        { IN("in", "[\"a\",\"\"]"), "k=", 1 },
        { IN("nin", "[\"a\",\"b\"]"), "k=b", 0 },
        { IN("nin", "[\"a\",\"b\"]"), "k=c", 1 },
        { IN("nin", "[\"a\",\"b\"]"), "", 1 },
        { IN("nin", "[\"a\",\"\"]"), "", 0 },

        { "{\"key\":\"k\",\"cmp\":\"ex\"}", "k=", 1 },
        { "{\"key\":\"k\",\"cmp\":\"ex\"}", "j=", 0 },
        { "{\"key\":\"k\",\"cmp\":\"nex\"}", "k=", 0 },
        { "{\"key\":\"k\",\"cmp\":\"nex\"}", "", 1 },
        { "{\"cmp\":\"ex\"}", "k=v", 0 },
        { "{\"cmp\":\"ex\"}", "=v", 1 },
        { "{\"cmp\":\"nex\"}", "k=v", 1 },

        { LEAF("sw", "ab"), "k=abc", 1 },
        { LEAF("sw", "ab"), "k=ab", 1 },
        { LEAF("sw", "ab"), "k=a", 0 },
        { LEAF("sw", "ab"), "k=xab", 0 },
        { LEAF("sw", "ab"), "", 0 },
        { LEAF("ew", "ab"), "k=cab", 1 },
        { LEAF("ew", "ab"), "k=ab", 1 },
        { LEAF("ew", "ab"), "k=b", 0 },
        { LEAF("ew", "ab"), "k=abx", 0 },
        { LEAF("ct", "ab"), "k=xaby", 1 },
        { LEAF("ct", "ab"), "k=axb", 0 },
        { LEAF("ct", "ab"), "k=", 0 },
        { LEAF("ct", "ab"), "", 0 },

        { LEAF("lt", "10"), "k=9.99", 1 },
        { LEAF("lt", "10"), "k=10", 0 },
        { LEAF("lte", "10"), "k=10.000", 1 },
        { LEAF("lte", "10"), "k=10.001", 0 },
        { LEAF("gt", "9"), "k=10", 1 },
        { LEAF("gt", "9"), "k=9", 0 },
        { LEAF("gte", "9"), "k=9.0", 1 },
        { LEAF("gte", "9"), "k=8", 0 },
        { LEAF("gt", "-1.5"), "k=-1.4", 1 },
        { LEAF("gt", "-1.5"), "k=-1.51", 0 },
        { LEAF("lt", "-1"), "k=-10", 1 },
        { LEAF("lt", "0"), "k=-0.0001", 1 },
        { LEAF("gte", "0"), "k=-0", 1 },
        { LEAF("lte", "-0.0"), "k=+000", 1 },
        { LEAF("gte", "+1"), "k=0001.10", 1 },
        { LEAF("gt", "0.1"), "k=0.01", 0 },
        { LEAF("gt", "0.09"), "k=0.1", 1 },

        /* where floats would take them for the same */
        { LEAF("gt", "9007199254740992"), "k=9007199254740993", 1 },
        { LEAF("lt", "0.1000000000000000000000000000000000000002"),
          "k=0.1000000000000000000000000000000000000001", 1 },
        { LEAF("gt", "99999999999999999999999999999999999999999999999999"),
          "k=100000000000000000000000000000000000000000000000000", 1 },

        /* what is no decimal is neither more nor less */
        { LEAF("gte", "1"), "k=1e3", 0 },
        { LEAF("lt", "1"), "k=1e3", 0 },
        { LEAF("lt", "1"), "k=", 0 },
        { LEAF("lt", "1"), "k=-", 0 },
        { LEAF("lt", "1"), "k=.5", 0 },
        { LEAF("lt", "1"), "k=0.", 0 },
        { LEAF("lt", "1"), "k=0.5.", 0 },
        { LEAF("lt", "1"), "k= 0", 0 },
        { LEAF("lt", "1"), "k=0x", 0 },
        { LEAF("lt", "1"), "", 0 },
        { LEAF("lt", "one"), "k=0", 0 },
        { LEAF("gte", "one"), "k=2", 0 },

        { OP("and", YES), "", 1 },
        { OP("and", YES "," NO), "", 0 },
        { OP("and", NO "," YES), "", 0 },
        { OP("and", YES "," YES "," YES), "", 1 },
        { OP("or", NO), "", 0 },
        { OP("or", NO "," YES), "", 1 },
        { OP("or", YES "," NO), "", 1 },
        { OP("not", YES), "", 0 },
        { OP("not", NO), "", 1 },
        { OP("not", LEAF("lt", "1")), "k=x", 1 },

        /* what is passed over, and what stands behind it */
        { OP("and", OP("or", YES "," NO) "," OP("or", YES "," NO) "," NO), "",
          0 },
        { OP("and", OP("or", YES "," NO) "," OP("not", OP("and", NO "," YES))
             "," YES), "", 1 },
        { OP("or", OP("and", NO "," YES "," YES) "," OP("and", YES "," YES)),
          "", 1 },
        { OP("or", OP("and", NO "," OP("or", YES "," YES)) ","
             OP("not", OP("or", YES "," NO)) "," NO), "", 0 },
        { OP("and", LEAF("eq", "a") ",{\"key\":\"j\",\"cmp\":\"eq\","
             "\"val\":\"b\"}"), "k=a,j=b", 1 },

        /* an op has no use for the rest, a leaf none for nodes */
        { "{\"op\":\"and\",\"key\":\"k\",\"cmp\":\"no\",\"nodes\":[" YES "]}",
          "", 1 },
        { "{\"cmp\":\"nex\",\"key\":\"k\",\"nodes\":[{\"op\":\"no\"}]}",
          "", 1 },
    };

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        CHECK(meets(t[i].filter, t[i].tags) == t[i].rc);

        if (meets(t[i].filter, t[i].tags) != t[i].rc) {
            fprintf(stderr, "    %s with %s\n", t[i].filter, t[i].tags);
        }
    }
}


static void
invalid(void)
{
    size_t       i;
    const char  *t[] = {
        "{}", "{\"key\":\"k\"}", "{\"key\":\"k\",\"cmp\":\"\"}",
        "{\"key\":\"k\",\"cmp\":\"EQ\",\"val\":\"v\"}",
        "{\"key\":\"k\",\"cmp\":\"e\",\"val\":\"v\"}",
        "{\"cmp\":\"eq\",\"val\":\"v\"}",
        "{\"cmp\":\"in\",\"vals\":[\"v\"]}",
        "{\"key\":\"\",\"cmp\":\"gt\",\"val\":\"1\"}",
        LEAF("eq", ""), LEAF("neq", ""), LEAF("sw", ""), LEAF("ew", ""),
        LEAF("ct", ""), LEAF("lt", ""), LEAF("lte", ""), LEAF("gt", ""),
        LEAF("gte", ""),
        IN("eq", "[\"v\"]"), LEAF("in", "v"), LEAF("nin", "v"),
        IN("in", "[]"), IN("nin", "[]"),
        "{\"key\":\"k\",\"cmp\":\"eq\",\"val\":\"v\",\"vals\":[\"w\"]}",
        "{\"key\":\"k\",\"cmp\":\"in\",\"val\":\"v\",\"vals\":[\"w\"]}",
        LEAF("ex", "v"), LEAF("nex", "v"), IN("ex", "[\"v\"]"),
        IN("nex", "[\"v\"]"),
        OP("and", ""), OP("or", ""), OP("not", ""), OP("not", YES "," YES),
        OP("xor", YES), OP("AND", YES), "{\"op\":\"and\"}",
        OP("and", YES "," LEAF("eq", "")), OP("not", OP("or", YES "," "{}"))
    };

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        CHECK(meets(t[i], "") == -1);

        if (meets(t[i], "") != -1) {
            fprintf(stderr, "    %s\n", t[i]);
        }
    }
}


/* a filter as large as it may be, and larger */

static void
limits(void)
{
    char    *text, *p;
    size_t   i, n;

    text = malloc(64 * 1024);

    for (n = NGX_CENTRIFUGO_FILTER_DEPTH - 1;
         n <= NGX_CENTRIFUGO_FILTER_DEPTH + 1; n++)
    {
        p = text;

        for (i = 1; i < n; i++) {
            p += sprintf(p, "{\"op\":\"not\",\"nodes\":[");
        }

        p += sprintf(p, YES);

        for (i = 1; i < n; i++) {
            p += sprintf(p, "]}");
        }

        CHECK(meets(text, "") == (n <= NGX_CENTRIFUGO_FILTER_DEPTH
                                  ? (int) (n % 2) : -1));
    }

    /* the JSON itself may be deeper */

    p = text;

    for (i = 0; i < 200; i++) {
        p += sprintf(p, "{\"op\":\"not\",\"nodes\":[");
    }

    p += sprintf(p, YES);

    for (i = 0; i < 200; i++) {
        p += sprintf(p, "]}");
    }

    CHECK(meets(text, "") == -1);

    for (n = NGX_CENTRIFUGO_FILTER_NODES - 1;
         n <= NGX_CENTRIFUGO_FILTER_NODES + 1; n++)
    {
        p = text + sprintf(text, "{\"op\":\"and\",\"nodes\":[" YES);

        for (i = 2; i < n; i++) {
            p += sprintf(p, "," YES);
        }

        strcpy(p, "]}");
        CHECK(meets(text, "")
              == (n <= NGX_CENTRIFUGO_FILTER_NODES ? 1 : -1));

        p = text + sprintf(text, "{\"key\":\"k\",\"cmp\":\"in\","
                                 "\"vals\":[\"a\"");

        for (i = 2; i < n; i++) {
            p += sprintf(p, ",\"v%zu\"", i);
        }

        strcpy(p, "]}");
        CHECK(meets(text, "k=v254")
              == (n <= NGX_CENTRIFUGO_FILTER_NODES ? 1 : -1));
    }

    for (n = NGX_CENTRIFUGO_FILTER_BYTES - 1;
         n <= NGX_CENTRIFUGO_FILTER_BYTES + 1; n++)
    {
        p = text + sprintf(text, "{\"key\":\"k\",\"cmp\":\"neq\",\"val\":\"");
        memset(p, 'v', n - 1);
        strcpy(p + n - 1, "\"}");
        CHECK(meets(text, "k=v")
              == (n <= NGX_CENTRIFUGO_FILTER_BYTES ? 1 : -1));
    }

    free(text);
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);

    semantics();
    invalid();
    limits();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
