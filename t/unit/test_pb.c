/*
 * Protobuf: the reader, the writers, and the codec of the client protocol.
 */

#include "unit.h"
#include "../../src/protocol/ngx_centrifugo_command.h"
#include "../../src/protocol/ngx_centrifugo_pb.h"

#include "client.pb-c.h"


static ngx_centrifugo_arena_t  arena;
static long                    fail_at;     /* 0: never */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);


void *
__wrap_malloc(size_t size)
{
    if (fail_at && --fail_at == 0) {
        return NULL;
    }

    return __real_malloc(size);
}


/* a copy that ends where its memory does */

static ngx_int_t
parse(const ProtobufCMessageDescriptor *type, const char *bytes, size_t len,
    ngx_centrifugo_json_t **root)
{
    static u_char  *copy;

    ngx_centrifugo_arena_reset(&arena);

    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);

    return ngx_centrifugo_pb_parse(&arena, type, copy, len, root);
}

#define STR_IS(s, text)                                                      \
    ((s).len == sizeof(text) - 1                                             \
     && memcmp((s).data, text, sizeof(text) - 1) == 0)

#define COMMAND(bytes)                                                       \
    parse(&centrifugo__client__command__descriptor, bytes,                   \
          sizeof(bytes) - 1, &root)
#define FILTER(bytes, len)                                                   \
    parse(&centrifugo__client__filter_node__descriptor, bytes, len, &root)


static void
varints(void)
{
    u_char                 *p, *end;
    uint64_t                n, i;
    ngx_centrifugo_buf_t    b;
    static const uint64_t   numbers[] = { 0, 1, 127, 128, 300, 16383, 16384,
                                          UINT32_MAX, 1ULL << 63,
                                          UINT64_MAX };

    memset(&b, 0, sizeof(b));

    for (i = 0; i < sizeof(numbers) / sizeof(uint64_t); i++) {
        ngx_centrifugo_buf_reset(&b);
        ngx_centrifugo_pb_append_varint(&b, numbers[i]);

        p = b.start;
        CHECK(ngx_centrifugo_pb_varint(&p, b.last, &n) == NGX_OK
              && n == numbers[i] && p == b.last);

        for (end = b.start; end < b.last; end++) {
            p = b.start;
            CHECK(ngx_centrifugo_pb_varint(&p, end, &n) == NGX_ERROR
                  && p == b.start);
        }
    }

    /* longer than it has to be, and too long */

    p = (u_char *) "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00";
    CHECK(ngx_centrifugo_pb_varint(&p, p + 10, &n) == NGX_OK && n == 0);
    p = (u_char *) "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
    CHECK(ngx_centrifugo_pb_varint(&p, p + 10, &n) == NGX_ERROR);
    p = (u_char *) "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00";
    CHECK(ngx_centrifugo_pb_varint(&p, p + 11, &n) == NGX_ERROR);

    ngx_centrifugo_buf_free(&b);
}


static void
fields(void)
{
    int64_t                 i;
    uint64_t                n;
    ngx_str_t               s;
    ngx_uint_t              t;
    ngx_centrifugo_json_t  *root, *v, *sub;

    CHECK(COMMAND("") == NGX_OK && root->type == NGX_CENTRIFUGO_JSON_MAP
          && root->child == NULL);

    CHECK(COMMAND("\x08\x07\x3a\x0c\x0a\x02" "ch" "\x12\x02" "{}" "\x18\x05")
          == NGX_ERROR);
    CHECK(COMMAND("\x08\x07\x3a\x0a\x0a\x02" "ch" "\x12\x02" "{}" "\x18\x05")
          == NGX_OK);
    CHECK(ngx_centrifugo_json_uint(root, "id", 2, 100, &n) == NGX_OK
          && n == 7);

    v = ngx_centrifugo_json_get(root, "publish", 7);
    CHECK(v && v->type == NGX_CENTRIFUGO_JSON_MAP);
    CHECK(ngx_centrifugo_json_string(v, "channel", 7, &s) == NGX_OK
          && STR_IS(s, "ch"));
    sub = ngx_centrifugo_json_get(v, "data", 4);
    CHECK(sub && sub->type == NGX_CENTRIFUGO_JSON_BYTES
          && STR_IS(sub->raw, "{}"));
    CHECK(ngx_centrifugo_json_int(v, "type", 4, INT32_MIN, INT32_MAX, &i)
          == NGX_OK && i == 5);

    /* bytes are no string where one has to be */

    CHECK(ngx_centrifugo_json_string(v, "data", 4, &s) == NGX_ERROR);

    /* the last of a field, and messages joined */

    CHECK(COMMAND("\x08\x01\x08\x02") == NGX_OK);
    CHECK(ngx_centrifugo_json_uint(root, "id", 2, 100, &n) == NGX_OK
          && n == 2);
    CHECK(COMMAND("\x3a\x04\x0a\x02" "ch" "\x3a\x04\x12\x02" "{}")
          == NGX_OK);
    v = ngx_centrifugo_json_get(root, "publish", 7);
    CHECK(ngx_centrifugo_json_string(v, "channel", 7, &s) == NGX_OK
          && ngx_centrifugo_json_get(v, "data", 4) != NULL
          && root->child->next == NULL);

    /* numbers below zero: ten bytes, of an int32 the low half counts */

    CHECK(COMMAND("\x52\x0b\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
          == NGX_OK);
    v = ngx_centrifugo_json_get(root, "history", 7);
    CHECK(ngx_centrifugo_json_int(v, "limit", 5, INT32_MIN, INT32_MAX, &i)
          == NGX_OK && i == -1);
    CHECK(COMMAND("\x52\x06\x38\x80\x80\x80\x80\x08") == NGX_OK);
    v = ngx_centrifugo_json_get(root, "history", 7);
    CHECK(ngx_centrifugo_json_int(v, "limit", 5, INT32_MIN, INT32_MAX, &i)
          == NGX_OK && i == INT32_MIN);
    CHECK(COMMAND("\x22\x0b\x38\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
          == NGX_OK);
    v = ngx_centrifugo_json_get(root, "connect", 7);
    CHECK(ngx_centrifugo_json_int(v, "flag", 4, INT64_MIN, INT64_MAX, &i)
          == NGX_OK && i == INT64_MIN);
    CHECK(COMMAND("\x2a\x0b\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
          == NGX_OK);
    v = ngx_centrifugo_json_get(root, "subscribe", 9);
    CHECK(ngx_centrifugo_json_uint(v, "offset", 6, UINT64_MAX, &n) == NGX_OK
          && n == UINT64_MAX);

    /* any number but 0 is true */

    CHECK(COMMAND("\x2a\x04\x18\x80\x02\x18") == NGX_ERROR);
    CHECK(COMMAND("\x2a\x03\x18\x80\x02") == NGX_OK);
    v = ngx_centrifugo_json_get(root, "subscribe", 9);
    CHECK(ngx_centrifugo_json_bool(v, "recover", 7, &t) == NGX_OK && t == 1);
    CHECK(COMMAND("\x2a\x02\x18\x00") == NGX_OK);
    v = ngx_centrifugo_json_get(root, "subscribe", 9);
    CHECK(ngx_centrifugo_json_bool(v, "recover", 7, &t) == NGX_OK && t == 0);

    /* a zero byte is a character like others */

    CHECK(COMMAND("\x32\x05\x0a\x03" "a\0b") == NGX_OK);
    v = ngx_centrifugo_json_get(root, "unsubscribe", 11);
    CHECK(ngx_centrifugo_json_string(v, "channel", 7, &s) == NGX_OK
          && s.len == 3 && memcmp(s.data, "a\0b", 3) == 0);

    CHECK(COMMAND("\x32\x04\x0a\x02\xc3\x28") == NGX_ERROR);
    CHECK(COMMAND("\x32\x04\x0a\x02\xc3\xa4") == NGX_OK);
}


static void
maps(void)
{
    uint64_t                n;
    ngx_centrifugo_json_t  *root, *v, *m;

    CHECK(COMMAND("\x22\x19"
                  "\x1a\x07\x0a\x01" "a" "\x12\x02\x38\x05"
                  "\x22\x01" "n"
                  "\x1a\x03\x0a\x01" "b"
                  "\x1a\x04\x12\x02\x38\x07"
                  "\x1a\x00")
          == NGX_OK);

    v = ngx_centrifugo_json_get(root, "connect", 7);
    v = ngx_centrifugo_json_get(v, "subs", 4);
    CHECK(v && v->type == NGX_CENTRIFUGO_JSON_MAP);

    m = v->child;
    CHECK(STR_IS(m->key, "a") && m->type == NGX_CENTRIFUGO_JSON_MAP
          && ngx_centrifugo_json_uint(m, "offset", 6, 9, &n) == NGX_OK
          && n == 5);
    m = m->next;
    CHECK(STR_IS(m->key, "b") && m->child == NULL && STR_IS(m->raw, "{}"));
    m = m->next;
    CHECK(m->key.len == 0 && m->key.data
          && ngx_centrifugo_json_uint(m, "offset", 6, 9, &n) == NGX_OK
          && n == 7);
    m = m->next;
    CHECK(m->key.len == 0 && m->child == NULL && m->next == NULL);

    CHECK(COMMAND("\x22\x0d\x32\x06\x0a\x01" "k" "\x12\x01" "v"
                  "\x32\x03\x0a\x01" "x") == NGX_OK);
    v = ngx_centrifugo_json_get(root, "connect", 7);
    m = ngx_centrifugo_json_get(v, "headers", 7)->child;
    CHECK(STR_IS(m->key, "k") && STR_IS(m->str, "v")
          && m->type == NGX_CENTRIFUGO_JSON_STRING);
    m = m->next;
    CHECK(STR_IS(m->key, "x") && m->str.len == 0 && m->next == NULL);
}


static void
strange(void)
{
    char                    deep[1024], *p;
    size_t                  i, n, len;
    ngx_centrifugo_json_t  *root;

    /* unknown fields of each wire type, and a known one of another */

    CHECK(COMMAND("\xa0\x06\x01" "\xa1\x06" "12345678" "\xa2\x06\x02" "xy"
                  "\xa5\x06" "1234" "\x0a\x01" "x" "\x08\x09") == NGX_OK);
    CHECK(root->child && STR_IS(root->child->key, "id")
          && root->child->next == NULL);

    CHECK(COMMAND("\xa1\x06" "1234567") == NGX_ERROR);
    CHECK(COMMAND("\xa5\x06" "123") == NGX_ERROR);
    CHECK(COMMAND("\xa2\x06\x03" "xy") == NGX_ERROR);
    CHECK(COMMAND("\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
          == NGX_ERROR);
    CHECK(COMMAND("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
          == NGX_ERROR);
    CHECK(COMMAND("\xa6\x06\x00") == NGX_ERROR);
    CHECK(COMMAND("\xa7\x06\x00") == NGX_ERROR);
    CHECK(COMMAND("\x00\x00") == NGX_ERROR);
    CHECK(COMMAND("\x08") == NGX_ERROR);
    CHECK(COMMAND("\x88") == NGX_ERROR);
    CHECK(COMMAND("\x88\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00")
          == NGX_ERROR);

    /* a number that no field can have, and the largest */

    CHECK(COMMAND("\xf8\xff\xff\xff\x0f\x00") == NGX_OK);
    CHECK(COMMAND("\x80\x80\x80\x80\x10\x00") == NGX_ERROR);

    /* groups */

    CHECK(COMMAND("\xa3\x06\x08\x01\x13\x14\xa4\x06\x08\x03") == NGX_OK
          && STR_IS(root->child->raw, "3"));
    CHECK(COMMAND("\xa3\x06\x08\x01") == NGX_ERROR);
    CHECK(COMMAND("\xa3\x06\x0c") == NGX_ERROR);
    CHECK(COMMAND("\x0c") == NGX_ERROR);

    for (n = 60; n < 70; n++) {
        for (i = 0; i < n; i++) {
            deep[i] = '\x13';
            deep[n + i] = '\x14';
        }

        CHECK(parse(&centrifugo__client__command__descriptor, deep, 2 * n,
                    &root)
              == (n <= NGX_CENTRIFUGO_PB_MAX_DEPTH ? NGX_OK : NGX_ERROR));
    }

    /* nodes within nodes */

    for (n = 60; n < 70; n++) {
        p = deep + sizeof(deep);
        len = 0;

        for (i = 0; i < n; i++) {

            if (len > 127) {
                *--p = (char) (len >> 7);
                *--p = (char) (len | 0x80);
                len += 2;

            } else {
                *--p = (char) len++;
            }

            *--p = '\x32';
            len++;
        }

        CHECK(FILTER(p, len)
              == (n < NGX_CENTRIFUGO_PB_MAX_DEPTH ? NGX_OK : NGX_ERROR));
    }
}


/* Each failure of malloc in turn is said, and nothing else is wrong. */

static void
memory(void)
{
    long                    n;
    u_char                 *p;
    size_t                  i, len;
    ngx_int_t               rc;
    ngx_centrifugo_json_t  *root;

    len = 2 * 4000;
    p = __real_malloc(len);

    for (i = 0; i < len; i += 2) {
        p[i] = 0x2a;
        p[i + 1] = 0;
    }

    for (n = 1; /* void */ ; n++) {
        ngx_centrifugo_arena_free(&arena);
        ngx_centrifugo_arena_init(&arena, 256);
        fail_at = n;
        rc = ngx_centrifugo_pb_parse(&arena,
                                 &centrifugo__client__filter_node__descriptor,
                                 p, len, &root);
        if (fail_at) {
            fail_at = 0;
            break;
        }

        CHECK(rc == NGX_ABORT);

        if (n > 40) {
            n += 97;
        }
    }

    CHECK(rc == NGX_OK && n > 100);
    free(p);
}


static void
writers(void)
{
    size_t                  i, j, mark, inner;
    u_char                 *pos;
    uint64_t                n;
    ngx_str_t               s;
    ngx_centrifugo_buf_t    b;
    static const size_t     sizes[] = { 0, 1, 125, 126, 127, 128, 129, 16379,
                                        16380, 16381, 16384, 2097150,
                                        2097152 };

    memset(&b, 0, sizeof(b));

    for (i = 0; i < sizeof(sizes) / sizeof(size_t); i++) {
        ngx_centrifugo_buf_free(&b);
        ngx_centrifugo_buf_byte(&b, '!');

        mark = ngx_centrifugo_pb_begin(&b, 0);
        inner = ngx_centrifugo_pb_begin(&b, 3);

        for (j = 0; j < sizes[i]; j++) {
            ngx_centrifugo_buf_byte(&b, (u_char) j);
        }

        ngx_centrifugo_pb_end(&b, inner);
        ngx_centrifugo_pb_end(&b, mark);

        pos = b.start + 1;
        CHECK(b.start[0] == '!');
        CHECK(ngx_centrifugo_pb_varint(&pos, b.last, &n) == NGX_OK
              && n == (uint64_t) (b.last - pos));
        CHECK(*pos++ == 0x1a);
        CHECK(ngx_centrifugo_pb_varint(&pos, b.last, &n) == NGX_OK
              && n == sizes[i] && n == (uint64_t) (b.last - pos));

        for (j = 0; j < sizes[i] && pos[j] == (u_char) j; j++) { /* void */ }

        CHECK(j == sizes[i]);
    }

    /* what is nothing takes nothing */

    ngx_centrifugo_buf_reset(&b);
    ngx_str_null(&s);
    ngx_centrifugo_pb_append_uint(&b, 1, 0);
    ngx_centrifugo_pb_append_bytes(&b, 1, &s);
    CHECK(ngx_centrifugo_buf_len(&b) == 0);
    ngx_centrifugo_pb_append_message(&b, 1, &s);
    CHECK(ngx_centrifugo_buf_len(&b) == 2);

    /* large numbers of fields take two bytes */

    ngx_centrifugo_buf_reset(&b);
    ngx_centrifugo_pb_append_uint(&b, 16, 1);
    CHECK(ngx_centrifugo_buf_len(&b) == 3
          && memcmp(b.start, "\x80\x01\x01", 3) == 0);

    ngx_centrifugo_buf_free(&b);
}


static void
framing(void)
{
    u_char                        *pos;
    ngx_str_t                      cmd;
    const ngx_centrifugo_codec_t  *c = &ngx_centrifugo_codec_protobuf;

#define NEXT(bytes, first)                                                   \
    (pos = (u_char *) bytes,                                                 \
     c->next(&pos, (u_char *) bytes + sizeof(bytes) - 1, first, &cmd))

    static char  two[] = "\x02\x08\x01\x00\x02\x08";

    CHECK(NEXT("", 1) == NGX_ERROR);
    CHECK(NEXT("", 0) == NGX_DONE);
    CHECK(NEXT("\x80", 1) == NGX_ERROR);
    CHECK(NEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1) == NGX_ERROR);

    CHECK(NEXT(two, 1) == NGX_OK && cmd.len == 2);
    CHECK(c->next(&pos, (u_char *) two + 6, 0, &cmd) == NGX_OK
          && cmd.len == 0);
    CHECK(c->next(&pos, (u_char *) two + 6, 0, &cmd) == NGX_ERROR);
}


/* One message behind its length, read by protobuf-c itself. */

static Centrifugo__Client__Reply *
reply(ngx_centrifugo_buf_t *b)
{
    u_char                     *pos;
    uint64_t                    n;
    Centrifugo__Client__Reply  *r;

    pos = b->start;
    n = 0;

    CHECK(ngx_centrifugo_pb_varint(&pos, b->last, &n) == NGX_OK
          && n == (uint64_t) (b->last - pos));

    r = centrifugo__client__reply__unpack(NULL, (size_t) n, pos);
    CHECK(r && r->base.n_unknown_fields == 0);

    if (r == NULL) {
        exit(1);
    }

    return r;
}


static void
replies(void)
{
    ngx_str_t                            name, epoch;
    ngx_centrifugo_buf_t                 b, list;
    ngx_centrifugo_error_t               err;
    ngx_centrifugo_client_info_t         info;
    ngx_centrifugo_publication_t         pub;
    Centrifugo__Client__Reply           *r;
    Centrifugo__Client__Publication     *p;
    Centrifugo__Client__SubscribeResult *sr;
    ngx_centrifugo_subscribe_result_t    result;
    ngx_centrifugo_connect_sub_t         sub;
    ngx_centrifugo_connect_result_t      connect;
    const ngx_centrifugo_codec_t        *c = &ngx_centrifugo_codec_protobuf;
    ngx_centrifugo_tag_t                 tags[2];

    memset(&b, 0, sizeof(b));
    memset(&list, 0, sizeof(list));

#define FREE()                                                               \
    do {                                                                     \
        centrifugo__client__reply__free_unpacked(r, NULL);                   \
        ngx_centrifugo_buf_reset(&b);                                        \
    } while (0)

    c->ping(&b);
    r = reply(&b);
    CHECK(r && r->id == 0 && r->push == NULL && r->base.n_unknown_fields == 0);
    FREE();

    err.code = 103;
    ngx_str_set(&err.message, "permission denied");
    err.temporary = 1;
    c->error(&b, 7, &err);
    r = reply(&b);
    CHECK(r->id == 7 && r->error->code == 103 && r->error->temporary
          && strcmp(r->error->message, "permission denied") == 0);
    FREE();

    memset(&info, 0, sizeof(info));
    ngx_str_set(&info.user, "u");
    ngx_str_set(&info.client, "c");
    ngx_str_set(&info.conn_info, "{\"a\":1}");
    ngx_str_set(&info.chan_info, "[]");

    memset(&pub, 0, sizeof(pub));
    ngx_str_set(&pub.data, "{\n}");
    pub.offset = 1;
    memcpy(&pub.epoch, "abcdefgh", 8);
    pub.info = &info;
    ngx_str_set(&tags[0].key, "k");
    ngx_str_set(&tags[0].value, "v");
    ngx_str_set(&tags[1].key, "");
    ngx_str_set(&tags[1].value, "");
    CHECK(ngx_centrifugo_tags_pack(&arena, tags, 2, &pub.tags) == NGX_OK);

    ngx_str_set(&name, "news");
    c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN);
    r = reply(&b);
    p = r->push->pub;
    CHECK(r->id == 0 && strcmp(r->push->channel, "news") == 0
          && p->offset == 1 && strcmp(p->epoch, "abcdefgh") == 0
          && p->data.len == 3 && memcmp(p->data.data, "{\n}", 3) == 0
          && p->n_tags == 2 && !p->delta);
    CHECK(strcmp(p->info->user, "u") == 0 && p->info->chan_info.len == 2
          && p->info->conn_info.len == 7);
    FREE();

    c->push_publication(&b, &name, 9, &pub, NGX_CENTRIFUGO_FORM_DELTA);
    r = reply(&b);
    CHECK(r->push->id == 9 && r->push->channel[0] == '\0'
          && r->push->pub->delta && r->push->pub->epoch[0] == '\0');
    FREE();

    pub.type = NGX_CENTRIFUGO_PUSH_JOIN;
    c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN);
    r = reply(&b);
    CHECK(r->push->join && strcmp(r->push->join->info->client, "c") == 0);
    FREE();
    pub.type = NGX_CENTRIFUGO_PUSH_LEAVE;
    c->push_publication(&b, &name, 0, &pub, NGX_CENTRIFUGO_FORM_PLAIN);
    r = reply(&b);
    CHECK(r->push->leave && !r->push->join);
    FREE();
    pub.type = NGX_CENTRIFUGO_PUSH_PUBLICATION;

    c->publication(&list, 0, &pub, NGX_CENTRIFUGO_FORM_TEXT);
    pub.offset = 2;
    pub.info = NULL;
    pub.data.len = 0;
    pub.tags.len = 0;
    c->publication(&list, 1, &pub, NGX_CENTRIFUGO_FORM_PLAIN);

    ngx_str_set(&epoch, "abcdefgh");
    c->history(&b, 3, &list, &epoch, 2);
    r = reply(&b);
    CHECK(r->history && r->history->n_publications == 2
          && r->history->publications[0]->info
          && r->history->publications[1]->offset == 2
          && r->history->offset == 2
          && strcmp(r->history->epoch, "abcdefgh") == 0);
    FREE();

    memset(&result, 0, sizeof(result));
    result.expires = 1;
    result.ttl = 600;
    result.recoverable = result.recovered = result.positioned = 1;
    result.was_recovering = result.delta = 1;
    result.epoch = epoch;
    result.offset = 300;
    result.id = 5;
    ngx_str_set(&result.data, "7");
    result.publications = &list;

    c->subscribe(&b, 4, &result);
    r = reply(&b);
    sr = r->subscribe;
    CHECK(sr->expires && sr->ttl == 600 && sr->recoverable && sr->recovered
          && sr->positioned && sr->was_recovering && sr->delta
          && sr->offset == 300 && sr->id == 5 && sr->data.len == 1
          && sr->n_publications == 2 && sr->publications[0]->offset == 1);
    FREE();

    memset(&connect, 0, sizeof(connect));
    sub.channel = name;
    sub.result = result;
    connect.client = info.client;
    ngx_str_set(&connect.version, "1");
    connect.ping = 25;
    connect.pong = 1;
    connect.subs = &sub;
    connect.nsubs = 1;
    c->connect(&b, 1, &connect);
    r = reply(&b);
    CHECK(r->connect->ping == 25 && r->connect->pong
          && r->connect->n_subs == 1
          && strcmp(r->connect->subs[0]->key, "news") == 0
          && r->connect->subs[0]->value->n_publications == 2);
    FREE();

    c->refresh(&b, 5, NGX_CENTRIFUGO_CMD_REFRESH, 1, 60);
    r = reply(&b);
    CHECK(r->refresh->expires && r->refresh->ttl == 60);
    FREE();
    c->refresh(&b, 5, NGX_CENTRIFUGO_CMD_SUB_REFRESH, 1, 60);
    r = reply(&b);
    CHECK(r->sub_refresh->expires && r->sub_refresh->ttl == 60);
    FREE();

    c->presence(&b, 6, &info, 1);
    r = reply(&b);
    CHECK(r->presence->n_presence == 1
          && strcmp(r->presence->presence[0]->key, "c") == 0
          && strcmp(r->presence->presence[0]->value->user, "u") == 0);
    FREE();
    c->presence_stats(&b, 6, 3, 2);
    r = reply(&b);
    CHECK(r->presence_stats->num_clients == 3
          && r->presence_stats->num_users == 2);
    FREE();

    c->done(&b, 8, NGX_CENTRIFUGO_CMD_PUBLISH);
    r = reply(&b);
    CHECK(r->id == 8 && r->publish);
    FREE();
    c->done(&b, 8, NGX_CENTRIFUGO_CMD_UNSUBSCRIBE);
    r = reply(&b);
    CHECK(r->unsubscribe && !r->publish);
    FREE();

    c->push_subscribe(&b, &name, &result);
    r = reply(&b);
    CHECK(r->push->subscribe->recoverable && r->push->subscribe->positioned
          && r->push->subscribe->offset == 300
          && r->push->subscribe->data.len == 1);
    FREE();
    c->push_unsubscribe(&b, &name, 2500, &err.message);
    r = reply(&b);
    CHECK(r->push->unsubscribe->code == 2500
          && strcmp(r->push->unsubscribe->reason, "permission denied") == 0);
    FREE();
    c->push_refresh(&b, 1, 9);
    r = reply(&b);
    CHECK(r->push->refresh->expires && r->push->refresh->ttl == 9);
    FREE();

    ngx_centrifugo_buf_free(&b);
    ngx_centrifugo_buf_free(&list);
}


/* Commands that protobuf-c has written. */

static void
commands(void)
{
    u_char                                        bytes[1024];
    ngx_str_t                                     s;
    ngx_centrifugo_command_t                      cmd;
    Centrifugo__Client__Command                   c =
        CENTRIFUGO__CLIENT__COMMAND__INIT;
    Centrifugo__Client__SubscribeRequest          sub =
        CENTRIFUGO__CLIENT__SUBSCRIBE_REQUEST__INIT;
    Centrifugo__Client__FilterNode                node =
        CENTRIFUGO__CLIENT__FILTER_NODE__INIT;
    Centrifugo__Client__FilterNode                leaf =
        CENTRIFUGO__CLIENT__FILTER_NODE__INIT;
    Centrifugo__Client__ConnectRequest            connect =
        CENTRIFUGO__CLIENT__CONNECT_REQUEST__INIT;
    Centrifugo__Client__ConnectRequest__SubsEntry entry =
        CENTRIFUGO__CLIENT__CONNECT_REQUEST__SUBS_ENTRY__INIT;
    Centrifugo__Client__SendRequest               send =
        CENTRIFUGO__CLIENT__SEND_REQUEST__INIT;
    Centrifugo__Client__ConnectRequest__SubsEntry  *entries[1] = { &entry };
    Centrifugo__Client__FilterNode                *nodes[1] = { &leaf };
    char                                          *vals[2] = { "a", "" };
    const ngx_centrifugo_codec_t                  *codec =
        &ngx_centrifugo_codec_protobuf;

#define DECODE()                                                             \
    (s.data = bytes,                                                         \
     s.len = centrifugo__client__command__pack(&c, bytes),                   \
     codec->decode(&arena, &s, &cmd))

    CHECK(DECODE() == NGX_OK && cmd.id == 0
          && cmd.method == NGX_CENTRIFUGO_CMD_NONE);

    c.id = 12;
    c.subscribe = &sub;
    CHECK(DECODE() == NGX_OK && cmd.id == 12
          && cmd.method == NGX_CENTRIFUGO_CMD_SUBSCRIBE
          && cmd.channel.len == 0);

    sub.channel = "ch";
    sub.token = "t";
    sub.recover = sub.positioned = sub.recoverable = sub.join_leave = 1;
    sub.epoch = "e";
    sub.offset = 9;
    sub.delta = "fossil";
    sub.flag = 3;
    sub.type = -1;
    sub.tf = &node;
    node.op = "and";
    node.n_nodes = 1;
    node.nodes = nodes;
    leaf.key = "k";
    leaf.cmp = "in";
    leaf.n_vals = 2;
    leaf.vals = vals;
    CHECK(DECODE() == NGX_OK && STR_IS(cmd.channel, "ch")
          && STR_IS(cmd.token, "t") && cmd.recover && cmd.positioned
          && cmd.recoverable && cmd.join_leave && STR_IS(cmd.epoch, "e")
          && cmd.offset == 9 && STR_IS(cmd.delta, "fossil") && cmd.flag == 3
          && cmd.type == -1);
    CHECK(cmd.filter && STR_IS(cmd.filter->op, "and") && cmd.filter->nodes
          && cmd.filter->nodes->nvals == 2
          && STR_IS(cmd.filter->nodes->vals[0], "a")
          && cmd.filter->nodes->vals[1].len == 0);

    c.subscribe = NULL;
    c.connect = &connect;
    connect.name = "js";
    connect.n_subs = 1;
    connect.subs = entries;
    entry.key = "data";
    CHECK(DECODE() == NGX_OK && cmd.method == NGX_CENTRIFUGO_CMD_CONNECT
          && STR_IS(cmd.name, "js") && cmd.subs
          && STR_IS(cmd.subs->channel, "data") && cmd.subs->offset == 0);
    entry.value = &sub;
    CHECK(DECODE() == NGX_OK && cmd.subs->offset == 9 && cmd.subs->recover
          && STR_IS(cmd.subs->epoch, "e"));

    /* the first of several counts */

    c.send = &send;
    CHECK(DECODE() == NGX_OK && cmd.method == NGX_CENTRIFUGO_CMD_CONNECT
          && cmd.send);
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);

    varints();
    fields();
    maps();
    strange();
    writers();
    framing();
    commands();
    replies();
    memory();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
