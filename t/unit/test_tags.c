/* Packed tags. */

#include "unit.h"
#include "protocol/ngx_centrifugo_tags.h"


static ngx_centrifugo_arena_t  arena;


static int
is(ngx_str_t s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}


static void
order(void)
{
    ngx_str_t             packed, rest, value, key;
    ngx_centrifugo_tag_t  tag;
    ngx_centrifugo_tag_t  tags[] = {
        { ngx_string("b"), ngx_string("1") },
        { ngx_string("ab"), ngx_string("2") },
        { ngx_string("b"), ngx_string("3") },
        { ngx_null_string, ngx_string("4") },
        { ngx_string("a"), ngx_null_string },
        { ngx_string("b"), ngx_string("5") }
    };

    CHECK(ngx_centrifugo_tags_pack(&arena, tags, 6, &packed) == NGX_OK);

    rest = packed;
    CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK);
    CHECK(is(tag.key, "") && is(tag.value, "4"));
    CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK);
    CHECK(is(tag.key, "a") && is(tag.value, ""));
    CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK);
    CHECK(is(tag.key, "ab") && is(tag.value, "2"));
    CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK);
    CHECK(is(tag.key, "b") && is(tag.value, "5"));
    CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_DONE);

    key = S("ab");
    CHECK(ngx_centrifugo_tags_find(&packed, &key, &value) == NGX_OK);
    CHECK(is(value, "2"));

    key = S("aa");
    CHECK(ngx_centrifugo_tags_find(&packed, &key, &value) == NGX_DECLINED);
    key = S("c");
    CHECK(ngx_centrifugo_tags_find(&packed, &key, &value) == NGX_DECLINED);

    CHECK(ngx_centrifugo_tags_pack(&arena, NULL, 0, &packed) == NGX_OK);
    CHECK(packed.len == 0);
    CHECK(ngx_centrifugo_tags_find(&packed, &key, &value) == NGX_DECLINED);
}


/* lengths around the one from which a length takes more bytes */

static void
lengths(void)
{
    size_t                i, n;
    u_char                bytes[2][300];
    ngx_str_t             packed, rest, value;
    ngx_centrifugo_tag_t  tag;

    memset(bytes[0], 'k', 300);
    memset(bytes[1], 'v', 300);

    for (n = 0; n < 300; n++) {
        tag.key.data = bytes[0];
        tag.key.len = n;
        tag.value.data = bytes[1];
        tag.value.len = 299 - n;

        CHECK(ngx_centrifugo_tags_pack(&arena, &tag, 1, &packed) == NGX_OK);
        CHECK(ngx_centrifugo_tags_find(&packed, &tag.key, &value) == NGX_OK);
        CHECK(value.len == 299 - n && memcmp(value.data, bytes[1], 299 - n)
                                      == 0);

        rest = packed;
        CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK);
        CHECK(tag.key.len == n && rest.len == 0);

        /* what is cut is no tag */

        for (i = 0; i < packed.len; i += 1 + i / 8) {
            rest.data = packed.data;
            rest.len = i;
            CHECK(ngx_centrifugo_tags_next(&rest, &tag) == NGX_DONE);
        }
    }
}


/* any number, in any order, against the same in the order of keys */

static void
many(void)
{
    char                 (*keys)[8], seen[1000];
    size_t                 i, j, n, different;
    ngx_str_t              packed, rest, value;
    ngx_centrifugo_tag_t  *tags, tag;

    keys = malloc(1000 * 8);
    tags = malloc(1000 * sizeof(ngx_centrifugo_tag_t));

    for (n = 1; n <= 1000; n += 1 + n / 3) {

        for (i = 0; i < n; i++) {
            keys[i][0] = (char) ('0' + i / 100);
            keys[i][1] = (char) ('0' + i / 10 % 10);
            keys[i][2] = (char) ('0' + i % 10);
            keys[i][3] = '\0';
        }

        memset(seen, 0, sizeof(seen));
        different = 0;

        for (i = 0; i < n; i++) {
            j = i * 7919 % 1009 % n;
            different += !seen[j];
            seen[j] = 1;
            tags[i].key = S(keys[j]);
            tags[i].value = S(keys[n - 1 - j]);
        }

        CHECK(ngx_centrifugo_tags_pack(&arena, tags, n, &packed) == NGX_OK);

        rest = packed;
        value = S("");

        for (j = 0; ngx_centrifugo_tags_next(&rest, &tag) == NGX_OK; j++) {
            i = (tag.key.data[0] - '0') * 100 + (tag.key.data[1] - '0') * 10
                + tag.key.data[2] - '0';
            CHECK(is(tag.value, keys[n - 1 - i]));
            CHECK(value.len == 0 || memcmp(value.data, tag.key.data, 3) < 0);
            value = tag.key;
        }

        CHECK(j == different && rest.len == 0);
        ngx_centrifugo_arena_reset(&arena);
    }

    free(keys);
    free(tags);
}


int
main(void)
{
    ngx_centrifugo_arena_init(&arena, 4096);

    order();
    lengths();
    many();

    ngx_centrifugo_arena_free(&arena);

    return UNIT_END();
}
