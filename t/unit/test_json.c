/* UTF-8, the JSON reader, and the codec of protocol v2. */

#include "unit.h"
#include "protocol/ngx_centrifugo_json.h"
#include "protocol/ngx_centrifugo_protocol.h"
#include "protocol/ngx_centrifugo_utf8.h"

#include <time.h>


static ngx_centrifugo_arena_t  arena;


static ngx_centrifugo_json_t *
parse(const char *text, ngx_uint_t many)
{
    ngx_int_t               rc;
    u_char                 *p;
    ngx_centrifugo_json_t  *root;

    p = ngx_centrifugo_arena_alloc(&arena, strlen(text) + 1);
    memcpy(p, text, strlen(text));

    rc = ngx_centrifugo_json_parse(&arena, p, strlen(text), many, &root);

    return rc == NGX_OK ? root : NULL;
}


static int
is(ngx_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


static void
utf8(void)
{
    size_t       i;
    const char  *good[] = { "", "abc", "\xc2\x80", "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf", "0123456789\xe2\x82\xac" "0123456789" };
    const char  *bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82",
        "12345678\xe2\x82", "\xe2\x28\xa1", "\xf0\x90\x80" };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK(ngx_centrifugo_utf8_validate((u_char *) good[i],
                                           strlen(good[i])) == NGX_OK);
    }

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(ngx_centrifugo_utf8_validate((u_char *) bad[i],
                                           strlen(bad[i])) == NGX_ERROR);
    }
}


static void
reader(void)
{
    size_t                  i;
    char                    deep[3000];
    int64_t                 n;
    uint64_t                u;
    ngx_str_t               s;
    ngx_uint_t              b;
    ngx_centrifugo_json_t  *root, *v;
    const char             *bad[] = { "", " ", "{", "{}x", "{}{}", "[1,]",
        "{\"a\":1,}", "{a:1}", "nul", "01", "1.", "+1", "'a'", "\"\x01\"",
        "\"\\x\"", "{\"a\" 1}", "// c\n1", "1\v", "[1\f]", "\"\xed\xa0\x80\"",
        "\xef\xbb\xbf{}", "NaN" };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(parse(bad[i], 0) == NULL);
    }

    root = parse(" { \"a\" : 1 , \"b\":\"x\\u00e9\\\"y\",\"data\": { \"k\" :"
                 " [1, 2.50 ] } ,\"a\":-7, \"n\":null,\"t\":true} ", 0);
    CHECK(root && root->type == NGX_CENTRIFUGO_JSON_MAP);
    CHECK(ngx_centrifugo_json_int(root, "a", 1, INT64_MIN, INT64_MAX, &n)
          == NGX_OK && n == -7);
    CHECK(ngx_centrifugo_json_uint(root, "a", 1, 9, &u) == NGX_ERROR);
    CHECK(ngx_centrifugo_json_string(root, "b", 1, &s) == NGX_OK
          && is(s, "x\xc3\xa9\"y"));
    v = ngx_centrifugo_json_get(root, "data", 4);
    CHECK(v && v->child == NULL && is(v->raw, "{ \"k\" : [1, 2.50 ] }"));
    CHECK(ngx_centrifugo_json_get(root, "n", 1) == NULL);
    CHECK(ngx_centrifugo_json_bool(root, "t", 1, &b) == NGX_OK && b);
    CHECK(ngx_centrifugo_json_bool(root, "zz", 2, &b) == NGX_DECLINED);
    CHECK(ngx_centrifugo_json_string(root, "t", 1, &s) == NGX_ERROR);

    root = parse("{\"o\":{\"p\":[{\"q\":\"\"},3]},\"z\":9}", 0);
    v = ngx_centrifugo_json_get(root, "o", 1)->child;
    CHECK(is(v->key, "p") && is(v->raw, "[{\"q\":\"\"},3]")
          && is(v->child->raw, "{\"q\":\"\"}") && is(v->child->next->raw, "3"));
    CHECK(is(ngx_centrifugo_json_get(root, "z", 1)->raw, "9"));

    /* numbers: the whole range, nothing beyond */

    root = parse("[18446744073709551615,18446744073709551616,1.0,1e2,-1,"
                 "9223372036854775807,-9223372036854775808,"
                 "-9223372036854775809]", 0);
    CHECK(root != NULL);

    {
        const char *maps[] = { "18446744073709551615", "18446744073709551616",
                               "1.0", "1e2", "-1", "-9223372036854775808",
                               "-9223372036854775809" };
        ngx_int_t   urc[] = { NGX_OK, NGX_ERROR, NGX_ERROR, NGX_ERROR,
                              NGX_ERROR, NGX_ERROR, NGX_ERROR };
        ngx_int_t   irc[] = { NGX_ERROR, NGX_ERROR, NGX_ERROR, NGX_ERROR,
                              NGX_OK, NGX_OK, NGX_ERROR };
        char        text[64];

        for (i = 0; i < 7; i++) {
            sprintf(text, "{\"n\":%s}", maps[i]);
            root = parse(text, 0);
            CHECK(ngx_centrifugo_json_uint(root, "n", 1, UINT64_MAX, &u)
                  == urc[i]);
            CHECK(ngx_centrifugo_json_int(root, "n", 1, INT64_MIN, INT64_MAX,
                                          &n) == irc[i]);
        }
    }

    /* many values */

    root = parse("{\"a\":1}{}\n[2] 3 \"x\" 4", 1);
    CHECK(root && is(root->raw, "{\"a\":1}") && is(root->next->raw, "{}")
          && is(root->next->next->raw, "[2]")
          && is(root->next->next->next->next->next->raw, "4"));
    CHECK(parse("{} {x}", 1) == NULL);
    CHECK(parse("{} {", 1) == NULL);
    CHECK(parse("7 ", 0) && is(parse("7 ", 0)->raw, "7"));

    /* depth */

    memset(deep, '[', 512);
    memset(deep + 512, ']', 512);
    deep[1024] = '\0';
    CHECK(parse(deep, 0) != NULL);
    memset(deep, '[', 513);
    memset(deep + 513, ']', 513);
    deep[1026] = '\0';
    CHECK(parse(deep, 0) == NULL);
}


static int
decodes(const char *text, ngx_centrifugo_command_t *cmd)
{
    ngx_int_t  rc;
    ngx_str_t  s;

    s.len = strlen(text);
    s.data = ngx_centrifugo_arena_alloc(&arena, s.len + 1);
    memcpy(s.data, text, s.len);

    rc = ngx_centrifugo_codec_json.decode(&arena, &s, cmd);

    return rc == NGX_OK;
}


static void
commands(void)
{
    size_t                    i;
    ngx_centrifugo_command_t  c;
    const char               *bad[] = { "[]", "1", "{\"id\":-1}",
        "{\"id\":4294967296}", "{\"id\":1.0}", "{\"id\":\"1\"}",
        "{\"id\":1,\"connect\":[]}", "{\"id\":1,\"connect\":{\"token\":1}}",
        "{\"id\":1,\"connect\":{\"headers\":{\"a\":1}}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"recover\":1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"offset\":-1}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"tf\":[]}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"op\":1}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"key\":{}}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"cmp\":true}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"val\":1.5}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"vals\":\"a\"}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"vals\":[\"a\",1]}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"nodes\":{}}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"nodes\":[{},null]}}}",
        "{\"id\":1,\"subscribe\":{\"tf\":{\"nodes\":[{\"nodes\":[1]}]}}}",
        "{\"id\":1,\"connect\":{\"subs\":[]}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"a\":1}}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"a\":{\"recover\":1}}}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"data\":{\"epoch\":1}}}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"a\":{\"offset\":-1}}}}",
        "{\"id\":1,\"connect\":{\"subs\":{\"a\":{\"tf\":[]}}}}",
        "{\"id\":1,\"history\":{\"since\":{\"offset\":\"1\"}}}",
        "{\"id\":1,\"history\":{\"since\":1}}",
        "{\"id\":1,\"history\":{\"limit\":2147483648}}",
        "{\"id\":1,\"publish\":{\"channel\":null,\"data\":}}" };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(!decodes(bad[i], &c));
    }

    CHECK(decodes("{}", &c) && c.method == NGX_CENTRIFUGO_CMD_NONE);
    CHECK(decodes("{\"id\":1,\"ping\":{}}", &c)
          && c.method == NGX_CENTRIFUGO_CMD_NONE && c.id == 1);
    CHECK(decodes("{\"send\":{}}", &c) && c.send
          && c.method == NGX_CENTRIFUGO_CMD_SEND);
    CHECK(decodes("{\"refresh\":{},\"publish\":{},\"id\":1,\"id\":2}", &c)
          && c.method == NGX_CENTRIFUGO_CMD_PUBLISH && c.id == 2);
    CHECK(decodes("{\"id\":3,\"subscribe\":{\"channel\":\"a\\u0000b\","
                  "\"recover\":true,\"offset\":18446744073709551615,"
                  "\"type\":-1,\"tf\":{}}}", &c)
          && c.channel.len == 3 && c.recover && c.offset == UINT64_MAX
          && c.type == -1 && c.filter);
    CHECK(decodes("{\"id\":4,\"publish\":{\"channel\":\"c\",\"data\":null}}",
                  &c) && is(c.data, "null"));
    CHECK(decodes("{\"id\":4,\"publish\":{\"channel\":\"c\"}}", &c)
          && c.data.data == NULL);
}


static void
filters(void)
{
    ngx_centrifugo_command_t       c;
    ngx_centrifugo_filter_node_t  *f;

    CHECK(decodes("{\"id\":1,\"subscribe\":{\"tf\":{\"op\":\"and\","
                  "\"nodes\":[{\"key\":\"k\\u0000\",\"cmp\":\"in\","
                  "\"vals\":[\"\",\"b\"]},{\"op\":\"not\",\"val\":null,"
                  "\"vals\":null,\"nodes\":[{\"val\":\"v\"}]},{}]}}}", &c));

    f = c.filter;
    CHECK(f && is(f->op, "and") && f->next == NULL && f->nvals == 0
          && f->key.data == NULL);

    f = f->nodes;
    CHECK(f && f->op.len == 0 && f->key.len == 2 && is(f->cmp, "in")
          && f->nvals == 2 && is(f->vals[0], "") && is(f->vals[1], "b")
          && f->nodes == NULL);

    f = f->next;
    CHECK(f && is(f->op, "not") && f->val.data == NULL && f->nvals == 0);
    CHECK(f->nodes && is(f->nodes->val, "v") && f->nodes->next == NULL);

    f = f->next;
    CHECK(f && f->op.len == 0 && f->next == NULL);

    CHECK(decodes("{\"id\":1,\"subscribe\":{\"tf\":null}}", &c)
          && c.filter == NULL);
}


static void
positions(void)
{
    ngx_centrifugo_command_t       c;
    ngx_centrifugo_command_sub_t  *sub;

    CHECK(decodes("{\"id\":1,\"connect\":{\"subs\":{\"a\":{\"recover\":true,"
                  "\"offset\":7,\"epoch\":\"abcdefgh\"},\"b\":null,\"c\":{},"
                  "\"data\":{\"recover\":true,\"offset\":9},"
                  "\"info\":{ }}}}", &c));

    sub = c.subs;
    CHECK(sub && is(sub->channel, "a") && sub->recover && sub->offset == 7
          && is(sub->epoch, "abcdefgh"));

    sub = sub->next;
    CHECK(sub && is(sub->channel, "b") && !sub->recover && sub->offset == 0
          && sub->epoch.data == NULL);

    sub = sub->next;
    CHECK(sub && is(sub->channel, "c") && !sub->recover);

    sub = sub->next;
    CHECK(sub && is(sub->channel, "data") && sub->recover && sub->offset == 9);

    sub = sub->next;
    CHECK(sub && is(sub->channel, "info") && !sub->recover && !sub->next);

    CHECK(!c.recover && c.offset == 0);

    CHECK(decodes("{\"id\":1,\"history\":{\"channel\":\"a\",\"limit\":-1,"
                  "\"since\":{\"offset\":3,\"epoch\":\"e\"},"
                  "\"reverse\":true}}", &c)
          && c.since && c.reverse && c.limit == -1 && c.offset == 3
          && is(c.epoch, "e"));
    CHECK(decodes("{\"id\":1,\"history\":{\"since\":{}}}", &c) && c.since
          && c.offset == 0 && !c.reverse);
    CHECK(decodes("{\"id\":1,\"history\":{}}", &c) && !c.since);
}


static void
framing(void)
{
    u_char     *p, *end;
    ngx_str_t   cmd;
    u_char      text[] = "ab\ncd\n\n";

    p = text;
    end = text + 6;
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 1, &cmd) == NGX_OK
          && is(cmd, "ab"));
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 0, &cmd) == NGX_OK
          && is(cmd, "cd"));
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 0, &cmd) == NGX_DONE);
    p = text + 3;
    end = text + 7;
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 1, &cmd) == NGX_OK);
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 0, &cmd) == NGX_ERROR);
    p = end;
    CHECK(ngx_centrifugo_codec_json.next(&p, end, 1, &cmd) == NGX_ERROR);
}


#define OUT(call, text)                                                      \
    do {                                                                     \
        ngx_str_t  got;                                                      \
        ngx_centrifugo_buf_reset(&b);                                        \
        call;                                                                \
        got.data = b.start;                                                  \
        got.len = ngx_centrifugo_buf_len(&b);                                \
        CHECK(is(got, text));                                                \
    } while (0)


static void
replies(void)
{
    ngx_str_t                           ch = S("a\"b\x01\n");
    ngx_str_t                           reason = S("why");
    ngx_centrifugo_buf_t                b;
    ngx_centrifugo_error_t              err = { 100, S("no"), 1 };
    ngx_centrifugo_publication_t        pub;
    ngx_centrifugo_client_info_t        info;
    ngx_centrifugo_connect_result_t     con;
    ngx_centrifugo_subscribe_result_t   sub;
    const ngx_centrifugo_codec_t       *c = &ngx_centrifugo_codec_json;

    memset(&b, 0, sizeof(b));
    memset(&con, 0, sizeof(con));
    memset(&sub, 0, sizeof(sub));
    memset(&pub, 0, sizeof(pub));
    memset(&info, 0, sizeof(info));

    OUT(c->ping(&b), "{}");
    OUT(c->error(&b, 7, &err),
        "{\"id\":7,\"error\":{\"code\":100,\"message\":\"no\","
        "\"temporary\":true}}");
    OUT(c->done(&b, 3, NGX_CENTRIFUGO_CMD_UNSUBSCRIBE),
        "{\"id\":3,\"unsubscribe\":{}}");
    OUT(c->refresh(&b, 5, NGX_CENTRIFUGO_CMD_REFRESH, 1, 600),
        "{\"id\":5,\"refresh\":{\"expires\":true,\"ttl\":600}}");
    OUT(c->refresh(&b, 5, NGX_CENTRIFUGO_CMD_REFRESH, 0, 0), "{\"id\":5,\"refresh\":{}}");
    OUT(c->subscribe(&b, 2, &sub), "{\"id\":2,\"subscribe\":{}}");
    sub.recoverable = sub.positioned = sub.recovered = 1;
    sub.was_recovering = 1;
    sub.epoch = S("xyzt");
    sub.offset = 41;
    OUT(c->subscribe(&b, 2, &sub),
        "{\"id\":2,\"subscribe\":{\"recoverable\":true,\"epoch\":\"xyzt\","
        "\"recovered\":true,\"offset\":41,\"positioned\":true,"
        "\"was_recovering\":true}}");
    con.client = S("id");
    con.version = S("1 OSS");
    con.ping = 25;
    con.pong = 1;
    OUT(c->connect(&b, 1, &con),
        "{\"id\":1,\"connect\":{\"client\":\"id\",\"version\":\"1 OSS\","
        "\"ping\":25,\"pong\":true}}");
    pub.data = S("{\r\n\"x\":\r1\n}");
    OUT(c->push_publication(&b, &ch, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN),
        "{\"push\":{\"channel\":\"a\\\"b\\u0001\\n\","
        "\"pub\":{\"data\":{\"x\":1}}}}");
    info.conn_info = S("{\"n\":1}");
    pub.info = &info;
    pub.offset = 9;
    OUT(c->push_publication(&b, &reason, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN),
        "{\"push\":{\"channel\":\"why\",\"pub\":{\"data\":{\"x\":1},\"info\":"
        "{\"user\":\"\",\"client\":\"\",\"conn_info\":{\"n\":1}},"
        "\"offset\":9}}}");
    OUT(c->push_unsubscribe(&b, &reason, 2500, &reason),
        "{\"push\":{\"channel\":\"why\",\"unsubscribe\":{\"code\":2500,"
        "\"reason\":\"why\"}}}");

    ngx_centrifugo_buf_free(&b);
}


static void
publications(void)
{
    ngx_str_t                           name = S("ch");
    ngx_str_t                           epoch = S("abcdefgh");
    ngx_str_t                           bytes;
    ngx_centrifugo_buf_t                b, list;
    ngx_centrifugo_tag_t                tags[2];
    ngx_centrifugo_publication_t        pub;
    ngx_centrifugo_client_info_t        info;
    ngx_centrifugo_subscribe_result_t   sub;
    const ngx_centrifugo_codec_t       *c = &ngx_centrifugo_codec_json;

    memset(&b, 0, sizeof(b));
    memset(&list, 0, sizeof(list));
    memset(&pub, 0, sizeof(pub));
    memset(&info, 0, sizeof(info));
    memset(&sub, 0, sizeof(sub));

    tags[0].key = S("z\"");
    tags[0].value = S("1");
    tags[1].key = S("a");
    tags[1].value = S("");
    CHECK(ngx_centrifugo_tags_pack(&arena, tags, 2, &pub.tags) == NGX_OK);

    info.user = S("u");
    info.client = S("c");
    pub.data = S("{\"a\":\r\n\"\xc3\xa9\\n\"}");
    pub.info = &info;
    pub.offset = 1;
    memcpy(&pub.epoch, "abcdefgh", 8);

    /* all there is, in the order of the numbers in the protocol */

    OUT(c->publication(&b, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN),
        "{\"data\":{\"a\":\"\xc3\xa9\\n\"},\"info\":{\"user\":\"u\","
        "\"client\":\"c\"},\"offset\":1,\"tags\":{\"a\":\"\","
        "\"z\\\"\":\"1\"},\"epoch\":\"abcdefgh\"}");

    /* a string has no raw line feeds, and what was escaped stays so */

    pub.info = NULL;
    pub.tags.len = 0;
    OUT(c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_TEXT),
        "{\"push\":{\"channel\":\"ch\",\"pub\":{\"data\":"
        "\"{\\\"a\\\":\\\"\xc3\xa9\\\\n\\\"}\",\"offset\":1}}}");

    pub.data = S("2\n1:x12;");
    OUT(c->push_publication(&b, &name, 7, &pub, NGX_CENTRIFUGO_FORM_DELTA),
        "{\"push\":{\"id\":7,\"pub\":{\"data\":\"2\\n1:x12;\","
        "\"offset\":1,\"delta\":true}}}");

    pub.data.len = 0;
    pub.offset = 0;
    OUT(c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN),
        "{\"push\":{\"channel\":\"ch\",\"pub\":{}}}");
    OUT(c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_TEXT),
        "{\"push\":{\"channel\":\"ch\",\"pub\":{\"data\":\"\"}}}");

    pub.type = NGX_CENTRIFUGO_PUSH_JOIN;
    pub.info = &info;
    OUT(c->push_publication(&b, &name, 7, &pub, NGX_CENTRIFUGO_FORM_PLAIN),
        "{\"push\":{\"id\":7,\"join\":{\"info\":{\"user\":\"u\","
        "\"client\":\"c\"}}}}");
    OUT(c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_TEXT),
        "{\"push\":{\"channel\":\"ch\",\"join\":{\"info\":{\"user\":\"u\","
        "\"client\":\"c\"}}}}");

    /* lists of them; the epoch is told with the first of a stream only */

    pub.type = NGX_CENTRIFUGO_PUSH_PUBLICATION;
    pub.info = NULL;
    OUT(c->history(&b, 3, &list, &epoch, 0),
        "{\"id\":3,\"history\":{\"publications\":[],"
        "\"epoch\":\"abcdefgh\",\"offset\":0}}");
    sub.publications = &list;
    OUT(c->subscribe(&b, 2, &sub), "{\"id\":2,\"subscribe\":{}}");

    pub.data = S("1");
    pub.offset = 1;
    c->publication(&list, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN);
    pub.offset = 2;
    c->publication(&list, 1, &pub, NGX_CENTRIFUGO_FORM_PLAIN);

    epoch.len = 0;
    OUT(c->history(&b, 3, &list, &epoch, 2),
        "{\"id\":3,\"history\":{\"publications\":[{\"data\":1,\"offset\":1,"
        "\"epoch\":\"abcdefgh\"},{\"data\":1,\"offset\":2}],"
        "\"epoch\":\"\",\"offset\":2}}");

    ngx_centrifugo_buf_reset(&list);
    c->publication(&list, 0, &pub, NGX_CENTRIFUGO_FORM_TEXT);

    sub.expires = sub.recoverable = sub.positioned = sub.recovered = 1;
    sub.was_recovering = sub.delta = 1;
    sub.ttl = 5;
    sub.epoch = S("abcdefgh");
    sub.offset = 1;
    sub.id = 12;
    sub.data = S("{}");
    OUT(c->subscribe(&b, 2, &sub),
        "{\"id\":2,\"subscribe\":{\"expires\":true,\"ttl\":5,"
        "\"recoverable\":true,\"epoch\":\"abcdefgh\","
        "\"publications\":[{\"data\":\"1\",\"offset\":2}],"
        "\"recovered\":true,\"offset\":1,\"positioned\":true,\"data\":{},"
        "\"was_recovering\":true,\"delta\":true,\"id\":12}}");

    /* what clients get of data: the same bytes where nothing is dropped */

    pub.data = S("[1]");
    ngx_centrifugo_buf_reset(&b);
    c->payload(&b, &pub, &bytes);
    CHECK(bytes.data == pub.data.data && bytes.len == 3);
    CHECK(ngx_centrifugo_buf_len(&b) == 0);

    ngx_centrifugo_buf_literal(&b, "before");
    pub.data = S("[\n1,\r2]");
    c->payload(&b, &pub, &bytes);
    CHECK(is(bytes, "[1,2]") && bytes.data == b.start + 6);

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_buf_free(&list);
}


/*
 * Raw CR and LF are dropped, in time that grows with the length alone: a
 * hundred times as many take a hundred times as long, not ten thousand.
 */

static void
raw_lines(void)
{
    size_t                i, n;
    u_char               *data;
    clock_t               begin;
    ngx_str_t             s = ngx_string("[1,\r\n2\r,\n\n3\r\r]\n");
    ngx_centrifugo_buf_t  b;

    memset(&b, 0, sizeof(b));
    ngx_centrifugo_json_append_raw(&b, &s);
    CHECK(ngx_centrifugo_buf_len(&b) == 7
          && memcmp(b.start, "[1,2,3]", 7) == 0);

    n = 1000000;
    data = malloc(n);

    for (i = 0; i < n; i++) {
        data[i] = (i % 1000 == 7) ? 'x' : '\r';
    }

    s.data = data;
    s.len = n;
    ngx_centrifugo_buf_reset(&b);
    begin = clock();
    ngx_centrifugo_json_append_raw(&b, &s);
    CHECK(ngx_centrifugo_buf_len(&b) == n / 1000);
    CHECK(clock() - begin < CLOCKS_PER_SEC);

    ngx_centrifugo_buf_free(&b);
    free(data);
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);

    utf8();
    reader();
    raw_lines();
    commands();
    filters();
    positions();
    framing();
    replies();
    publications();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
