/* What a unit test needs: a check that names its place, and a summary. */

#ifndef UNIT_H
#define UNIT_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <sys/mman.h>

static int  unit_checks, unit_failed;

#define CHECK(x)                                                             \
    do {                                                                     \
        unit_checks++;                                                       \
        if (!(x)) {                                                          \
            unit_failed++;                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);          \
        }                                                                    \
    } while (0)

#define UNIT_END()                                                           \
    (printf("%s: %d checks, %d failed\n", __FILE__, unit_checks,             \
            unit_failed), unit_failed != 0)

static ngx_inline ngx_str_t
S(const char *s)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = strlen(s);

    return str;
}

#endif
