/* Patterns of channel names, and text for logs. */

#include "unit.h"
#include "core/ngx_centrifugo_glob.h"
#include "core/ngx_centrifugo_text.h"


static const struct {
    const char  *pattern;
    const char  *name;
    int          match;         /* -1: the pattern is wrong */
} rows[] = {
    { "", "", 1 },
    { "", "a", 0 },
    { "a", "a", 1 },
    { "a", "", 0 },
    { "a", "b", 0 },
    { "a", "aa", 0 },
    { "aa", "a", 0 },
    { "*", "", 1 },
    { "*", "chat:index", 1 },
    { "**", "a/b.c", 1 },
    { "chat:*", "chat:", 1 },
    { "chat:*", "chat:index", 1 },
    { "chat:*", "chat", 0 },
    { "chat:*", "xchat:index", 0 },
    { "*index", "chat:index", 1 },
    { "*index", "chat:index2", 0 },
    { "*a*b*c*", "xxaxxbxxcxx", 1 },
    { "*a*b*c*", "xxaxxcxxbxx", 0 },
    { "a*b", "ab", 1 },
    { "a*b", "aXbXb", 1 },
    { "a*b", "aXbX", 0 },
    { "?", "a", 1 },
    { "?", "", 0 },
    { "?", "\xe2\x82\xac", 1 },
    { "??", "\xe2\x82\xac", 0 },
    { "\xe2\x82\xac*", "\xe2\x82\xac" "5", 1 },
    { "a?c", "abc", 1 },
    { "a?c", "ac", 0 },
    { "[abc]", "b", 1 },
    { "[abc]", "d", 0 },
    { "[abc]", "", 0 },
    { "[a-c]x", "bx", 1 },
    { "[a-c]x", "dx", 0 },
    { "[!a-c]", "d", 1 },
    { "[!a-c]", "b", 0 },
    { "[!a]", "", 0 },
    { "[a-z0-9_]", "_", 1 },
    { "[a-z0-9_]", "7", 1 },
    { "[a-z0-9_]", "-", 0 },
    { "[-a]", "-", 1 },
    { "[a-]", "-", 1 },
    { "[a-]", "b", 0 },
    { "[\\]]", "]", 1 },
    { "[\\\\]", "\\", 1 },
    { "[\\-a]", "-", 1 },
    { "[*?{]", "*", 1 },
    { "[*?{]", "a", 0 },
    { "[\xd0\xb0-\xd1\x8f]", "\xd0\xb6", 1 },
    { "[\xd0\xb0-\xd1\x8f]", "z", 0 },
    { "{a,b}", "a", 1 },
    { "{a,b}", "b", 1 },
    { "{a,b}", "ab", 0 },
    { "{a,b}", "", 0 },
    { "{a,}", "", 1 },
    { "{}", "", 1 },
    { "{}x", "x", 1 },
    { "x{a,b,cd}y", "xcdy", 1 },
    { "x{a,b,cd}y", "xcy", 0 },
    { "{chat,news}:*", "news:1", 1 },
    { "{chat,news}:*", "nope:1", 0 },
    { "{a*,*b}c", "xxbc", 1 },
    { "{a*,*b}c", "axxc", 1 },
    { "{a*,*b}c", "xxc", 0 },
    { "{a,{b,c}d}e", "cde", 1 },
    { "{a,{b,c}d}e", "ae", 1 },
    { "{a,{b,c}d}e", "ade", 0 },
    { "{[ab],?x}", "qx", 1 },
    { "\\*", "*", 1 },
    { "\\*", "a", 0 },
    { "\\{a,b\\}", "{a,b}", 1 },
    { "a,b", "a,b", 1 },
    { "a}b]", "a}b]", 1 },
    { "[", "", -1 },
    { "[]", "", -1 },
    { "[!]", "", -1 },
    { "[a", "", -1 },
    { "[z-a]", "", -1 },
    { "[a\\]", "", -1 },
    { "{", "", -1 },
    { "{a", "", -1 },
    { "{a,b", "", -1 },
    { "{a,{b}", "", -1 },
    { "\\", "", -1 },
    { "a\\", "", -1 },
    { "{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}", "a", -1 },
    { "{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}", "a", 1 }
};


static void
table(void)
{
    u_char                 *p;
    ngx_str_t               pattern, name;
    ngx_int_t               rc;
    ngx_uint_t              i, steps, match;
    ngx_centrifugo_glob_t   glob;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        /* of its exact size: what looks behind it is found */

        pattern = S(rows[i].pattern);
        p = malloc(pattern.len + 1) ;
        p = realloc(p, pattern.len ? pattern.len : 1);
        memcpy(p, pattern.data, pattern.len);
        pattern.data = p;

        name = S(rows[i].name);
        steps = 0;

        rc = ngx_centrifugo_glob_compile(&glob, &pattern);
        match = (rc == NGX_OK) ? ngx_centrifugo_glob_match(&glob, &name,
                                                           &steps)
                               : 0;

        if ((rc == NGX_OK) != (rows[i].match >= 0)
            || match != (rows[i].match == 1))
        {
            fprintf(stderr, "\"%s\" \"%s\": %d %u\n", rows[i].pattern,
                    rows[i].name, (int) rc, (unsigned) match);
            CHECK(0);
        }

        CHECK(rc != NGX_OK || steps > 0);
        free(p);
    }
}


/* The worst patterns cost no more than both lengths allow. */

static void
bounded(void)
{
    u_char                  text[NGX_CENTRIFUGO_GLOB_MAX + 1], name[1024];
    ngx_str_t               pattern, str;
    ngx_uint_t              i, k, steps;
    ngx_centrifugo_glob_t   glob;
    static const char      *parts[] = { "*", "*a", "*?", "{*,a}", "{,}",
                                        "[!b]", "a", "{a,", "*[a-ce-g]" };

    memset(name, 'a', sizeof(name));
    str.data = name;
    str.len = sizeof(name);

    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {

        pattern.data = text;
        pattern.len = 0;

        while (pattern.len + strlen(parts[i]) < NGX_CENTRIFUGO_GLOB_MAX) {
            memcpy(text + pattern.len, parts[i], strlen(parts[i]));
            pattern.len += strlen(parts[i]);
        }

        text[pattern.len++] = 'b';

        if (ngx_centrifugo_glob_compile(&glob, &pattern) != NGX_OK) {
            continue;
        }

        CHECK(glob.nstates <= sizeof(glob.states) / sizeof(glob.states[0]));

        steps = 0;
        CHECK(!ngx_centrifugo_glob_match(&glob, &str, &steps));
        CHECK(steps < 1025 * 4 * NGX_CENTRIFUGO_GLOB_MAX);
    }

    memset(text, 'a', sizeof(text));
    pattern.len = sizeof(text);
    CHECK(ngx_centrifugo_glob_compile(&glob, &pattern) == NGX_ERROR);

    /* anything */

    srand(1);

    for (i = 0; i < 200000; i++) {
        pattern.len = rand() % 12;
        str.len = rand() % 8;

        for (k = 0; k < pattern.len; k++) {
            text[k] = "ab*?[]{},\\-!\xc3\xa4"[rand() % 14];
        }

        for (k = 0; k < str.len; k++) {
            name[k] = "ab[\xc3\xa4"[rand() % 5];
        }

        if (ngx_centrifugo_glob_compile(&glob, &pattern) == NGX_OK) {
            (void) ngx_centrifugo_glob_match(&glob, &str, &steps);
        }
    }
}


static ngx_uint_t
logged(const char *in, size_t len, const char *out)
{
    ngx_str_t  s, *line;

    s.data = (u_char *) in;
    s.len = len;
    line = ngx_centrifugo_log_str(&s);

    return line->len == strlen(out)
           && memcmp(line->data, out, line->len) == 0;
}


static void
text(void)
{
    u_char     big[1000], id[16], printed[36];
    ngx_str_t  s, *a, *b, *line;

    CHECK(logged("", 0, ""));
    CHECK(logged(NULL, 0, ""));
    CHECK(logged("chat:index", 10, "chat:index"));
    CHECK(logged("a\nb", 3, "a\\x0ab"));
    CHECK(logged("\" \\ \x7f", 5, "\\x22 \\x5c \\x7f"));
    CHECK(logged("\0\x1b[31m", 6, "\\x00\\x1b[31m"));
    CHECK(logged("\xe2\x82\xac", 3, "\xe2\x82\xac"));
    CHECK(logged("\xc2\x85" "a", 3, "\\xc2\x85" "a"));
    CHECK(logged("\xc2\xa9", 2, "\xc2\xa9"));
    CHECK(logged("\xc2", 1, "\\xc2"));

    memset(big, 'x', sizeof(big));
    s.data = big;
    s.len = sizeof(big);
    line = ngx_centrifugo_log_str(&s);
    CHECK(line->len == NGX_CENTRIFUGO_LOG_STR);
    CHECK(memcmp(line->data + line->len - 4, "x...", 4) == 0);

    s.len = NGX_CENTRIFUGO_LOG_STR - 3;
    CHECK(ngx_centrifugo_log_str(&s)->len == s.len);

    memset(big, '\n', sizeof(big));
    s.len = sizeof(big);
    CHECK(ngx_centrifugo_log_str(&s)->len <= NGX_CENTRIFUGO_LOG_STR);

    memset(big, 'x', sizeof(big));
    memcpy(big + NGX_CENTRIFUGO_LOG_STR - 4, "\xe2\x82\xac", 3);
    line = ngx_centrifugo_log_str(&s);
    CHECK(line->len == NGX_CENTRIFUGO_LOG_STR - 1);
    CHECK(memcmp(line->data + line->len - 4, "x...", 4) == 0);

    s = S("one");
    a = ngx_centrifugo_log_str(&s);
    s = S("two");
    b = ngx_centrifugo_log_str(&s);
    CHECK(a->data[0] == 'o' && b->data[0] == 't');

    s = S("a\xe2\x82\xac");
    CHECK(ngx_centrifugo_utf8_cut(&s, 4) == 4);
    CHECK(ngx_centrifugo_utf8_cut(&s, 3) == 1);
    CHECK(ngx_centrifugo_utf8_cut(&s, 2) == 1);
    CHECK(ngx_centrifugo_utf8_cut(&s, 1) == 1);
    CHECK(ngx_centrifugo_utf8_cut(&s, 0) == 0);

    s = S("00112233-4455-4677-8899-aAbBcCdDeEfF");
    CHECK(ngx_centrifugo_id_parse(&s, id) == NGX_OK);
    CHECK(id[0] == 0 && id[1] == 0x11 && id[9] == 0x99 && id[15] == 0xff);
    CHECK(ngx_centrifugo_id_print(printed, id) == printed + 36);
    CHECK(memcmp(printed, "00112233-4455-4677-8899-aabbccddeeff", 36) == 0);
    s = S("00112233-4455-4677-8899-aabbccddeef");
    CHECK(ngx_centrifugo_id_parse(&s, id) == NGX_DECLINED);
    s = S("00112233+4455-4677-8899-aabbccddeeff");
    CHECK(ngx_centrifugo_id_parse(&s, id) == NGX_DECLINED);
    s = S("0011223g-4455-4677-8899-aabbccddeeff");
    CHECK(ngx_centrifugo_id_parse(&s, id) == NGX_DECLINED);
    s = S("");
    CHECK(ngx_centrifugo_id_parse(&s, id) == NGX_DECLINED);
}


int
main(void)
{
    table();
    bounded();
    text();

    return UNIT_END();
}
