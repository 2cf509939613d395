#include "gateways/common/doorstep.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/limits.h"

enum {
    READ_PIECE = 4096,
    READS_PER_EVENT = 8, /* then others get their turn */
};

struct leaver {
    struct list_node node;
    struct doorstep *doorstep;
    struct loop_fd watch;
    int fd;
    int64_t until_ns;
};

static struct leaver *oldest(struct doorstep *d)
{
    struct list_node *n = list_first(&d->waiting);

    return n ? CONTAINER_OF(n, struct leaver, node) : NULL;
}

static void let_go(struct leaver *l)
{
    loop_fd_stop(&l->watch);
    close(l->fd);
    list_remove(&l->node);
    l->doorstep->count--;
    free(l);
}

static void on_time(void *ctx)
{
    struct doorstep *d = ctx;
    struct leaver *l;

    while ((l = oldest(d)) && l->until_ns <= clock_ns())
        let_go(l);
    if (l)
        loop_timer_set_at(&d->oldest, l->until_ns);
}

/* What it sends is thrown away; its end is what is waited for. */
static void on_input(void *ctx, unsigned ready)
{
    struct leaver *l = ctx;
    char nowhere[READ_PIECE];
    ssize_t n = 0;

    (void)ready;
    for (unsigned i = 0; i < READS_PER_EVENT; i++) {
        n = recv(l->fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
        if (n < (ssize_t)sizeof nowhere)
            break;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK &&
                   errno != EINTR))
        let_go(l);
}

void doorstep_init(struct doorstep *d, struct loop *loop, unsigned places)
{
    *d = (struct doorstep){.loop = loop, .places = places};
    list_init(&d->waiting);
    loop_timer_init(&d->oldest, loop, on_time, d);
}

void doorstep_fini(struct doorstep *d)
{
    struct leaver *l;

    if (!d->loop)
        return;
    loop_timer_stop(&d->oldest);
    while ((l = oldest(d)))
        let_go(l);
}

bool doorstep_is_full(const struct doorstep *d)
{
    return d->count >= d->places;
}

static bool wait_for(struct doorstep *d, int fd)
{
    struct leaver *l = calloc(1, sizeof *l);

    if (!l)
        return false;
    l->doorstep = d;
    l->fd = fd;
    l->until_ns = clock_ns() + CLOSE_DRAIN_WAIT;
    if (loop_fd_start(&l->watch, d->loop, fd, LOOP_READ, on_input, l) < 0) {
        free(l);
        return false;
    }
    if (list_empty(&d->waiting))
        loop_timer_set_at(&d->oldest, l->until_ns);
    list_add_tail(&d->waiting, &l->node);
    d->count++;
    return true;
}

void doorstep_turn_away(struct doorstep *d, int fd, struct slice words)
{
    (void)!send(fd, words.ptr, words.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (shutdown(fd, SHUT_WR) < 0) {
        close(fd);
        return;
    }
    if (doorstep_is_full(d))
        let_go(oldest(d));
    if (!wait_for(d, fd))
        close(fd);
}
