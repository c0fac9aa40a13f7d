/* The doorbell; built a second time for systems without eventfd. */

#include "unit.h"
#include "core/ngx_centrifugo_bell.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>


static int
rings(int fd)
{
    struct pollfd  p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}


int
main(void)
{
    int                     i, fd, low, status;
    pid_t                   pid;
    u_char                  bytes[4096];
    uint32_t                pending;
    ngx_centrifugo_bell_t   bell, none = { -1, -1 };
    struct rlimit           limit, few;

    CHECK(ngx_centrifugo_bell_create(&bell) == NGX_OK);

#if (NGX_CENTRIFUGO_BELL_PIPE)
    CHECK(bell.rd != bell.wr);
#else
    CHECK(bell.rd == bell.wr);
#endif

    CHECK(fcntl(bell.rd, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(bell.wr, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(bell.rd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(bell.wr, F_GETFL) & O_NONBLOCK);

    /* many rings are one; an answer, also of a silent bell, does not block */

    pending = 0;
    CHECK(!rings(bell.rd));

    for (i = 0; i < 3; i++) {
        ngx_centrifugo_bell_ring(&bell, &pending);
        ngx_centrifugo_bell_ring(&bell, &pending);
        CHECK(pending == 1 && rings(bell.rd));

        ngx_centrifugo_bell_answer(&bell, &pending);
        CHECK(pending == 0 && !rings(bell.rd));

        ngx_centrifugo_bell_answer(&bell, &pending);
        CHECK(pending == 0 && !rings(bell.rd));
    }

    /* tenants that died in between left more than one */

    for (i = 0; i < 100; i++) {
        pending = 0;
        ngx_centrifugo_bell_ring(&bell, &pending);
    }

    ngx_centrifugo_bell_answer(&bell, &pending);
    CHECK(pending == 0 && !rings(bell.rd));

    /* a writer that died between word and descriptor: an answer repairs */

    pending = 1;
    ngx_centrifugo_bell_ring(&bell, &pending);
    CHECK(!rings(bell.rd));
    ngx_centrifugo_bell_answer(&bell, &pending);
    ngx_centrifugo_bell_ring(&bell, &pending);
    CHECK(rings(bell.rd));

    /* a full descriptor does not block the writer and is emptied whole */

#if (NGX_CENTRIFUGO_BELL_PIPE)
    memset(bytes, 1, sizeof(bytes));
    while (write(bell.wr, bytes, sizeof(bytes)) > 0) { /* void */ }
    while (write(bell.wr, bytes, 1) > 0) { /* void */ }
#else
    memset(bytes, 0xff, sizeof(bytes));
    bytes[0] = 0xfe;                    /* as a number the largest */
    ngx_centrifugo_bell_answer(&bell, &pending);
    CHECK(write(bell.wr, bytes, 8) == 8);
#endif

    pending = 0;
    ngx_centrifugo_bell_ring(&bell, &pending);
    CHECK(pending == 1 && rings(bell.rd));
    ngx_centrifugo_bell_answer(&bell, &pending);
    CHECK(pending == 0 && !rings(bell.rd));

    /* it wakes another process */

    pid = fork();

    if (pid == 0) {
        pending = 0;
        ngx_centrifugo_bell_ring(&bell, &pending);
        _exit(0);
    }

    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(rings(bell.rd));

    /* a slot without a descriptor has the word alone */

    pending = 0;
    ngx_centrifugo_bell_ring(&none, &pending);
    CHECK(pending == 1);
    ngx_centrifugo_bell_answer(&none, &pending);
    CHECK(pending == 0);

    /* no descriptors left: an error, and none is lost */

    fd = dup(bell.rd);
    CHECK(fd != -1 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    few = limit;
    few.rlim_cur = fd + 2;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);

    low = dup(bell.rd);                 /* the last but one, or the last */
    CHECK(low == fd + 1);
    CHECK(ngx_centrifugo_bell_create(&none) == NGX_ERROR);
    close(low);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(dup(bell.rd) == low);

    return UNIT_END();
}
