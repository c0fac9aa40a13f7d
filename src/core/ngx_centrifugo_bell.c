#include "ngx_centrifugo_bell.h"
#include "ngx_centrifugo_fault.h"

#include <fcntl.h>
#include <unistd.h>

#if (NGX_HAVE_SYS_EVENTFD_H && !NGX_CENTRIFUGO_BELL_PIPE)
#define NGX_CENTRIFUGO_BELL_EVENTFD  1
#include <sys/eventfd.h>
#endif


ngx_int_t
ngx_centrifugo_bell_create(ngx_centrifugo_bell_t *bell)
{
#if (NGX_CENTRIFUGO_BELL_EVENTFD)

    bell->rd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);
    bell->wr = bell->rd;

    return (bell->rd == -1) ? NGX_ERROR : NGX_OK;

#else

    int         fds[2];
    ngx_uint_t  i;

    if (pipe(fds) == -1) {
        return NGX_ERROR;
    }

    for (i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFL, O_NONBLOCK) == -1
            || fcntl(fds[i], F_SETFD, FD_CLOEXEC) == -1)
        {
            (void) close(fds[0]);
            (void) close(fds[1]);
            return NGX_ERROR;
        }
    }

    bell->rd = fds[0];
    bell->wr = fds[1];

    return NGX_OK;

#endif
}


void
ngx_centrifugo_bell_ring(ngx_centrifugo_bell_t *bell, uint32_t *pending)
{
    ssize_t   n;
    uint64_t  one;

    if (__atomic_exchange_n(pending, 1, __ATOMIC_SEQ_CST) != 0) {
        return;
    }

    NGX_CENTRIFUGO_POINT(BELL_PENDING);

    if (bell->wr == -1) {
        return;
    }

    one = 1;

    do {
        n = write(bell->wr, &one, sizeof(uint64_t));
    } while (n == -1 && errno == EINTR);

    /* EAGAIN: the descriptor is readable already, which is all it is for */
}


void
ngx_centrifugo_bell_answer(ngx_centrifugo_bell_t *bell, uint32_t *pending)
{
    ssize_t   n;
    uint64_t  drain[32];

    if (bell->rd != -1) {
        do {
            n = read(bell->rd, drain, sizeof(drain));
        } while ((n == -1 && errno == EINTR) || n == (ssize_t) sizeof(drain));
    }

    NGX_CENTRIFUGO_POINT(BELL_EMPTIED);
    (void) __atomic_exchange_n(pending, 0, __ATOMIC_SEQ_CST);
}
