#include "gateways/common/pass.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "gateways/common/core.h"
#include "gateways/common/guest.h"
#include "proto/listen.h"

enum { PASS_WEBSOCKET = 1 }; /* the kind of a message */
enum { TAKEN_AT_ONCE = 16 }; /* then others of this process have their turn */
enum { LET_AT_ONCE = 64 };   /* try again when there is room */

/* ---- out ----------------------------------------------------------------- */

bool conn_can_pass(const struct conn *c)
{
    return c->gw->passing.may_send;
}

static struct guest guest_of(const struct conn *c, struct slice bytes)
{
    struct guest guest = {
        .flags = (uint16_t)((c->flags & CONN_LOOPBACK ? GUEST_LOOPBACK : 0) |
                            (c->flags & CONN_AT_LOOPBACK ? GUEST_AT_LOOPBACK
                                                         : 0) |
                            (c->flags & CONN_INPUT_END ? GUEST_INPUT_END : 0)),
        .in = bytes,
    };

    /* Who asked before on a connection of a proxy's is not who asks now. */
    if (conn_busy(c)) {
        guest.proxied = conn_busy(c)->proxied;
        guest.share = address_known(&conn_busy(c)->forwarded) ? conn_busy(c)->proxied
                                                          : conn_busy(c)->share;
    }
    return guest;
}

/* Whoever waits, by a name that can be told stale. */
struct name {
    uint32_t number, gen;
};

/* Their input comes again, with which they try again: the first `most`. */
static void let_try(struct gateway *g, size_t most)
{
    struct buf *waiting = &g->passing.waiting;
    size_t n = MIN(most, waiting->len / sizeof(struct name));

    for (size_t i = 0; i < n; i++) {
        struct name name;
        struct conn *c;

        memcpy(&name, waiting->ptr + i * sizeof name, sizeof name);
        c = conn_by_name(g, name.number, name.gen);
        if (c && c->state == CONN_OPEN)
            conn_pause_input(c, false);
    }
    buf_drop_front(waiting, n * sizeof(struct name));
    if (waiting->len)
        return;
    loop_fd_stop(&g->passing.room);
    buf_fini(waiting);
}

static void on_room(void *ctx, unsigned ready)
{
    UNUSED(ready);
    let_try(ctx, LET_AT_ONCE);
}

void pass_retry(struct gateway *g)
{
    if (g->passing.waiting.len)
        let_try(g, SIZE_MAX);
}

/* ERR_FULL: it has waited, or cannot. */
static int wait_for_room(struct conn *c)
{
    struct passing *p = &c->gw->passing;
    struct name name = {c->number, conn_gen(c)};
    int64_t now_ns = loop_now(c->gw->loop);
    bool first = p->waiting.len == 0;

    if (!conn_make_busy(c))
        return ERR_FULL;
    if (!conn_busy(c)->pass_ns)
        conn_busy(c)->pass_ns = now_ns;
    if (now_ns - conn_busy(c)->pass_ns >= PASS_WAIT) {
        conn_busy(c)->pass_ns = 0;
        return ERR_FULL;
    }
    buf_add(&p->waiting, slice_make(&name, sizeof name));
    if (p->waiting.failed) {
        p->waiting.failed = false;
        return ERR_FULL;
    }
    /* Without the watch it is tried again each second. */
    if (first)
        (void)!loop_fd_start(&p->room, c->gw->loop, p->out.fd, LOOP_WRITE,
                             on_room, c->gw);
    conn_pause_input(c, true);
    return ERR_AGAIN;
}

static int send_guest(struct conn *c, struct slice bytes)
{
    struct guest guest = guest_of(c, bytes);
    struct buf b = BUF_INIT;
    int rc;

    guest_write(&b, &guest);
    rc = b.failed                 ? ERR_NOMEM
         : b.len > HANDOVER_PIECE ? ERR_TOO_BIG /* others write there, too */
                                  : handover_send(&c->gw->passing.out,
                                                  PASS_WEBSOCKET,
                                                  buf_slice(&b), &c->fd, 1, 0);
    buf_fini(&b);
    return rc;
}

int conn_pass_on(struct conn *c, struct slice bytes)
{
    int rc = conn_can_pass(c) ? send_guest(c, bytes) : ERR_CLOSED;

    if (rc == 0) {
        stat_add(&c->gw->stats, STAT_PASSED_ON, 1);
        conn_abort(c, "passed");
        return 0;
    }
    if (rc == ERR_AGAIN || rc == ERR_FULL)
        rc = wait_for_room(c);
    return rc == ERR_TOO_BIG || rc == ERR_AGAIN ? rc : ERR_FULL;
}

/* ---- in ------------------------------------------------------------------ */

static void take_guest(struct gateway *g, int fd, struct slice body)
{
    struct cursor c = cursor_init(body);
    struct guest guest;

    guest_read(&c, &guest);
    if (fd < 0 || !cursor_all_read(&c)) {
        log_error("pass.broken", "action=close");
        if (fd >= 0)
            close(fd);
        return;
    }
    stat_add(&g->stats, STAT_PASSED_IN, 1);
    accept_guest(g, fd, &guest);
}

/* After an error one is of no use; another is a copy of the same. */
static void drop_end(struct gateway *g)
{
    loop_fd_stop(&g->passing.watch);
    g->passing.attends = false;
    handover_fini(&g->passing.in);
    g->passing.may_take = false;
}

static void on_guests(void *ctx, unsigned ready)
{
    struct gateway *g = ctx;
    struct handover_message m;
    int rc = 0;

    UNUSED(ready);
    for (unsigned i = 0; rc == 0 && i < TAKEN_AT_ONCE; i++) {
        rc = handover_receive(&g->passing.in, 0, &m);
        if (rc == 0 && m.kind == PASS_WEBSOCKET)
            take_guest(g, handover_take(&g->passing.in, 0), m.body);
        pass_attend(g);
        if (!g->passing.attends)
            return;
    }
    if (rc == 0 || rc == ERR_AGAIN)
        return;
    log_error("pass.failed", "error=%s action=open_again", err_name(rc));
    drop_end(g);
    pass_attend(g);
}

static int take_end(struct handover *h, const char *name, bool *has)
{
    int handed = listen_handed(name);
    int fd = handed < 0 ? -1 : fcntl(handed, F_DUPFD_CLOEXEC, 0);

    if (handed < 0 || *has)
        return 0;
    if (fd < 0)
        return ERR_IO;
    handover_init(h, fd);
    *has = true;
    return 0;
}

/* Is it this worker's to take clients just now? */
static bool attends(const struct gateway *g)
{
    return !g->draining && !g->still && !g->accepting.left;
}

void pass_attend(struct gateway *g)
{
    struct passing *p = &g->passing;
    bool wanted = attends(g);

    if (wanted == p->attends ||
        (wanted && (take_end(&p->in, PASS_IN, &p->may_take) < 0 ||
                    !p->may_take)))
        return;
    if (!wanted)
        loop_fd_stop(&p->watch);
    else if (loop_fd_start(&p->watch, g->loop, p->in.fd, LOOP_READ, on_guests,
                           g) < 0)
        return; /* the next second tries again */
    p->attends = wanted;
}

int pass_start(struct gateway *g)
{
    int rc = take_end(&g->passing.out, PASS_OUT, &g->passing.may_send);

    if (rc == 0)
        pass_attend(g);
    if (rc == 0 && g->first && g->edge_config->websocket &&
        !g->passing.may_send)
        log_warn("pass.none", "why=\"touchline has not started both\" "
                 "action=answer_426");
    return rc;
}

void pass_stop(struct gateway *g)
{
    struct passing *p = &g->passing;

    loop_fd_stop(&p->watch);
    loop_fd_stop(&p->room);
    buf_fini(&p->waiting);
    if (p->may_send)
        handover_fini(&p->out);
    if (p->may_take)
        handover_fini(&p->in);
    *p = (struct passing){.may_send = false};
}
