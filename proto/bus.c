#include "proto/bus.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

enum {
    SERVER_CONTEXTS = 4,
    DELIVERIES_A_TURN = 16, /* of one line; then the others get their share */
    REDIAL_MS = 10,
    REDIAL_MOST_MS = 200
};

#define LINGER_MOST  (100 * MILLISECOND)
#define LINGER_CHECK (5 * MILLISECOND)

/* What NNG's threads leave for the loop. Everybody who gets mail embeds one;
 * the node is on bus->mail, or on bus->closing when it is of no more use. */
struct post {
    struct list_node node;
    struct bus *bus;
    void (*deliver)(struct post *p);
    bool (*destroy)(struct post *p, bool now); /* false: not yet */
    bool closing;
};

struct bus {
    struct loop *loop;
    unsigned refs;
    struct loop_wake wake;
    struct loop_timer sweeper;
    struct list_node closing;

    pthread_mutex_t lock; /* for mail, and for what says so below */
    pthread_cond_t news;  /* for bus_line_wait() */
    struct list_node mail;
    bool waiting;
};

/* ---- mail ---------------------------------------------------------------- */

static void lock(struct bus *b)
{
    CHECK(pthread_mutex_lock(&b->lock) == 0);
}

static void unlock(struct bus *b)
{
    CHECK(pthread_mutex_unlock(&b->lock) == 0);
}

/* Any thread, lock held. */
static void put_mail(struct post *p)
{
    struct bus *b = p->bus;

    if (p->closing || list_linked(&p->node))
        return;
    list_add_tail(&b->mail, &p->node);
    loop_wake_post(&b->wake);
    if (b->waiting)
        CHECK(pthread_cond_signal(&b->news) == 0);
}

static void read_mail(void *ctx)
{
    struct bus *b = ctx;
    struct list_node batch; /* what comes meanwhile waits for the next turn */
    struct list_node *n;

    bus_hold(b);
    list_init(&batch);
    lock(b);
    list_splice_tail(&batch, &b->mail);
    while ((n = list_pop(&batch))) {
        struct post *p = CONTAINER_OF(n, struct post, node);

        unlock(b);
        p->deliver(p);
        lock(b);
    }
    unlock(b);
    bus_drop(b);
}

static void post_init(struct post *p, struct bus *b,
                      void (*deliver)(struct post *),
                      bool (*destroy)(struct post *, bool))
{
    list_init(&p->node);
    p->bus = b;
    p->deliver = deliver;
    p->destroy = destroy;
    p->closing = false;
}

/* The owner wants no more of it. NNG's sockets may not be closed inside a
 * callback, nor may their memory go while one of their deliveries runs. */
static void retire(struct post *p)
{
    struct bus *b = p->bus;

    lock(b);
    list_remove(&p->node);
    p->closing = true;
    unlock(b);
    list_add_tail(&b->closing, &p->node);
    loop_timer_set(&b->sweeper, 0);
}

static void sweep(void *ctx)
{
    struct bus *b = ctx;

    LIST_FOREACH_SAFE(p, tmp, &b->closing, struct post, node) {
        list_remove(&p->node);
        if (!p->destroy(p, false))
            list_add_before(&tmp->node, &p->node);
    }
    if (!list_empty(&b->closing))
        loop_timer_set(&b->sweeper, LINGER_CHECK);
}

/* ---- bus ----------------------------------------------------------------- */

static void init_sync(struct bus *b)
{
    pthread_condattr_t monotonic;

    CHECK(pthread_mutex_init(&b->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&b->news, &monotonic) == 0);
    CHECK(pthread_condattr_destroy(&monotonic) == 0);
}

int bus_new(struct bus **ret, struct loop *loop)
{
    struct bus *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return ERR_NOMEM;
    rc = loop_wake_start(&b->wake, loop, read_mail, b);
    if (rc < 0) {
        free(b);
        return rc;
    }
    b->loop = loop;
    b->refs = 1;
    list_init(&b->mail);
    list_init(&b->closing);
    loop_timer_init(&b->sweeper, loop, sweep, b);
    init_sync(b);
    *ret = b;
    return 0;
}

struct bus *bus_hold(struct bus *b)
{
    b->refs++;
    return b;
}

struct loop *bus_loop(const struct bus *b)
{
    return b->loop;
}

static void wait_ms(long ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000};

    (void)nanosleep(&t, NULL);
}

static void close_all(struct bus *b)
{
    int64_t until = clock_ns() + LINGER_MOST;

    for (;;) {
        sweep(b);
        if (list_empty(&b->closing) || clock_ns() >= until)
            break;
        wait_ms(1);
    }
    LIST_FOREACH_SAFE(p, tmp, &b->closing, struct post, node) {
        list_remove(&p->node);
        CHECK(p->destroy(p, true));
    }
}

void bus_drop(struct bus *b)
{
    if (!b || --b->refs > 0)
        return;
    close_all(b);
    CHECK(list_empty(&b->mail));
    loop_timer_stop(&b->sweeper);
    loop_wake_stop(&b->wake);
    CHECK(pthread_cond_destroy(&b->news) == 0);
    CHECK(pthread_mutex_destroy(&b->lock) == 0);
    free(b);
}

static int from_nng(int rv)
{
    switch (rv) {
    case 0:
        return 0;
    case NNG_ENOMEM:
        return ERR_NOMEM;
    case NNG_EADDRINUSE:
        return ERR_BUSY;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
    case NNG_ENOTSUP:
        return ERR_BAD;
    case NNG_EPERM:
        return ERR_DENIED;
    case NNG_ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

/* ---- line ---------------------------------------------------------------- */

struct slot {
    struct bus_line *line;
    nng_aio *aio;
    bool busy; /* lock */
};

struct bus_line {
    struct post post;
    nng_socket sock;
    bool open;
    unsigned port;
    nng_aio *receiver;
    struct slot slots[BUS_WINDOW];

    /* lock: */
    nng_msg *in[BUS_WINDOW]; /* received, not read yet */
    unsigned in_count;
    bool receiving; /* the receiver is with NNG */
    int peer;       /* NNG's pipe: the first one is the only one */
    bool met, lost, want_room;

    /* the loop's: */
    const struct bus_line_ops *ops;
    void *ctx;
    bool told_met, told_lost, paused;
    struct slot *draft_slot;
    nng_msg *draft;
    int64_t close_by;
};

static struct bus_line *line_of(struct post *p)
{
    return CONTAINER_OF(p, struct bus_line, post);
}

/* Lock held. Nobody but the first peer is listened to. */
static bool is_peer(struct bus_line *l, int pipe)
{
    if (l->peer == 0)
        l->peer = pipe;
    return l->peer == pipe;
}

/* Lock held. True: the caller gives the receiver to NNG after unlocking. */
static bool may_receive(struct bus_line *l)
{
    if (l->receiving || l->post.closing || l->lost ||
        l->in_count == BUS_WINDOW)
        return false;
    return l->receiving = true;
}

/* NNG's thread. */
static void on_received(void *arg)
{
    struct bus_line *l = arg;
    struct bus *b = l->post.bus;
    nng_msg *msg = NULL;
    bool again = false;

    if (nng_aio_result(l->receiver) == 0)
        msg = nng_aio_get_msg(l->receiver);
    lock(b);
    l->receiving = false;
    if (msg && !l->post.closing &&
        is_peer(l, nng_pipe_id(nng_msg_get_pipe(msg)))) {
        l->in[l->in_count++] = msg;
        msg = NULL;
        put_mail(&l->post);
    }
    if (nng_aio_result(l->receiver) == 0)
        again = may_receive(l);
    unlock(b);
    if (msg)
        nng_msg_free(msg);
    if (again)
        nng_recv_aio(l->sock, l->receiver);
}

/* NNG's thread. A send that completes is news only for who waits for it. */
static void on_sent(void *arg)
{
    struct slot *s = arg;
    struct bus_line *l = s->line;

    if (nng_aio_result(s->aio) != 0)
        nng_msg_free(nng_aio_get_msg(s->aio));
    lock(l->post.bus);
    s->busy = false;
    if (l->want_room)
        put_mail(&l->post);
    unlock(l->post.bus);
}

/* NNG's thread. A pair0 socket may see other pipes come and go after the
 * first: they were refused, or come for the next line. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct bus_line *l = arg;

    lock(l->post.bus);
    if (ev == NNG_PIPE_EV_ADD_POST && is_peer(l, nng_pipe_id(pipe)))
        l->met = true;
    else if (ev == NNG_PIPE_EV_REM_POST && l->peer == nng_pipe_id(pipe))
        l->lost = true;
    put_mail(&l->post);
    unlock(l->post.bus);
}

enum news { NEWS_NONE, NEWS_MET, NEWS_LOST, NEWS_ROOM, NEWS_MESSAGE };

static bool has_room(const struct bus_line *l)
{
    for (size_t i = 0; i < BUS_WINDOW; i++)
        if (!l->slots[i].busy)
            return true;
    return false;
}

/* Lock held. What came in before the loss is read before it is told. */
static enum news next_news(struct bus_line *l, nng_msg **msg)
{
    if (l->post.closing || l->told_lost)
        return NEWS_NONE;
    if ((l->met || l->in_count > 0) && !l->told_met) {
        l->told_met = true;
        return NEWS_MET;
    }
    if (l->in_count > 0 && !l->paused) {
        *msg = l->in[0];
        l->in_count--;
        memmove(l->in, l->in + 1, l->in_count * sizeof *l->in);
        return NEWS_MESSAGE;
    }
    if (l->lost && l->in_count == 0) {
        l->told_lost = true;
        return NEWS_LOST;
    }
    if (l->want_room && has_room(l)) {
        l->want_room = false;
        return NEWS_ROOM;
    }
    return NEWS_NONE;
}

static void tell(struct bus_line *l, enum news news, nng_msg *msg)
{
    switch (news) {
    case NEWS_MET:
        l->ops->met(l->ctx);
        break;
    case NEWS_LOST:
        l->ops->lost(l->ctx);
        break;
    case NEWS_ROOM:
        l->ops->room(l->ctx);
        break;
    case NEWS_MESSAGE:
        l->ops->received(l->ctx, slice_make(nng_msg_body(msg),
                                            nng_msg_len(msg)));
        nng_msg_free(msg);
        break;
    case NEWS_NONE:
        break;
    }
}

/* One thing that happened. False: nothing has. The line itself stays in
 * memory until the sweep, whatever the callback does. */
static bool line_step(struct bus_line *l)
{
    struct bus *b = l->post.bus;
    nng_msg *msg = NULL;
    enum news news;
    bool again;

    lock(b);
    news = next_news(l, &msg);
    again = news == NEWS_MESSAGE && may_receive(l);
    unlock(b);
    if (again)
        nng_recv_aio(l->sock, l->receiver);
    tell(l, news, msg);
    return news != NEWS_NONE;
}

static void line_deliver(struct post *p)
{
    struct bus_line *l = line_of(p);

    for (int i = 0; i < DELIVERIES_A_TURN; i++)
        if (!line_step(l))
            return;
    lock(p->bus);
    put_mail(p);
    unlock(p->bus);
}

static void line_free(struct bus_line *l)
{
    if (l->open)
        (void)nng_close(l->sock);
    nng_aio_free(l->receiver);
    for (size_t i = 0; i < BUS_WINDOW; i++)
        nng_aio_free(l->slots[i].aio);
    for (unsigned i = 0; i < l->in_count; i++)
        nng_msg_free(l->in[i]);
    if (l->draft)
        nng_msg_free(l->draft);
    free(l);
}

static bool line_destroy(struct post *p, bool now)
{
    struct bus_line *l = line_of(p);
    bool gone;

    lock(p->bus);
    gone = l->lost || (l->peer == 0 && !l->met);
    unlock(p->bus);
    if (!now && !gone && clock_ns() < l->close_by)
        return false;
    line_free(l);
    return true;
}

static int line_aios(struct bus_line *l)
{
    int rv = nng_aio_alloc(&l->receiver, on_received, l);

    for (size_t i = 0; i < BUS_WINDOW && rv == 0; i++) {
        l->slots[i].line = l;
        rv = nng_aio_alloc(&l->slots[i].aio, on_sent, &l->slots[i]);
    }
    return rv;
}

static int line_options(struct bus_line *l, size_t largest)
{
    int rv = nng_socket_set_size(l->sock, NNG_OPT_RECVMAXSZ, largest);

    if (rv == 0)
        rv = nng_socket_set_int(l->sock, NNG_OPT_SENDBUF, 0);
    if (rv == 0)
        rv = nng_socket_set_int(l->sock, NNG_OPT_RECVBUF, 0);
    if (rv == 0)
        rv = nng_pipe_notify(l->sock, NNG_PIPE_EV_ADD_POST, on_pipe, l);
    if (rv == 0)
        rv = nng_pipe_notify(l->sock, NNG_PIPE_EV_REM_POST, on_pipe, l);
    return rv;
}

static int line_new(struct bus_line **ret, struct bus *b, size_t largest,
                    const struct bus_line_ops *ops, void *ctx)
{
    struct bus_line *l = calloc(1, sizeof *l);
    int rv;

    if (!l)
        return NNG_ENOMEM;
    post_init(&l->post, b, line_deliver, line_destroy);
    l->ops = ops;
    l->ctx = ctx;
    rv = line_aios(l);
    if (rv == 0)
        rv = nng_pair0_open(&l->sock);
    l->open = rv == 0;
    if (rv == 0)
        rv = line_options(l, largest);
    if (rv != 0)
        line_free(l);
    else
        *ret = l;
    return rv;
}

static void line_start(struct bus_line *l)
{
    bool again;

    lock(l->post.bus);
    again = may_receive(l);
    unlock(l->post.bus);
    if (again)
        nng_recv_aio(l->sock, l->receiver);
}

/* Listens with what every listener of ours has; *port stays 0 but for tcp. */
static int start_listener(nng_socket sock, const char *url,
                          nng_listener *ret, unsigned *port)
{
    nng_listener l;
    int bound = 0;
    int rv = nng_listener_create(&l, sock, url);

    if (rv != 0)
        return rv;
    if (strncmp(url, "ipc:", 4) == 0)
        rv = nng_listener_set_int(l, NNG_OPT_IPC_PERMISSIONS, 0600);
    if (rv == 0)
        rv = nng_listener_start(l, 0);
    if (rv == 0 && strncmp(url, "tcp:", 4) == 0)
        rv = nng_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &bound);
    if (rv != 0) {
        (void)nng_listener_close(l);
        return rv;
    }
    *ret = l;
    *port = (unsigned)bound;
    return 0;
}

static int start_dialer(nng_socket sock, const char *url)
{
    nng_dialer d;
    int rv = nng_dialer_create(&d, sock, url);

    if (rv == 0)
        rv = nng_dialer_set_ms(d, NNG_OPT_RECONNMINT, REDIAL_MS);
    if (rv == 0)
        rv = nng_dialer_set_ms(d, NNG_OPT_RECONNMAXT, REDIAL_MOST_MS);
    if (rv == 0)
        rv = nng_dialer_start(d, NNG_FLAG_NONBLOCK);
    return rv;
}

int bus_line_listen(struct bus_line **ret, struct bus *b, const char *url,
                    size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    struct bus_line *l;
    nng_listener listener;
    int rv = line_new(&l, b, largest, ops, ctx);

    if (rv != 0)
        return from_nng(rv);
    rv = start_listener(l->sock, url, &listener, &l->port);
    if (rv != 0) {
        line_free(l);
        return from_nng(rv);
    }
    line_start(l);
    *ret = l;
    return 0;
}

int bus_line_dial(struct bus_line **ret, struct bus *b, const char *url,
                  size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    struct bus_line *l;
    int rv = line_new(&l, b, largest, ops, ctx);

    if (rv != 0)
        return from_nng(rv);
    rv = start_dialer(l->sock, url);
    if (rv != 0) {
        line_free(l);
        return from_nng(rv);
    }
    line_start(l);
    *ret = l;
    return 0;
}

unsigned bus_line_port(const struct bus_line *l)
{
    return l->port;
}

static struct slot *free_slot(struct bus_line *l)
{
    struct slot *slot = NULL;

    lock(l->post.bus);
    for (size_t i = 0; i < BUS_WINDOW && !slot; i++)
        if (!l->slots[i].busy)
            slot = &l->slots[i];
    l->want_room = !slot;
    unlock(l->post.bus);
    return slot;
}

bool bus_line_room(struct bus_line *l)
{
    return free_slot(l) != NULL;
}

int bus_line_begin(struct bus_line *l, size_t len, uint8_t **ret)
{
    CHECK(l->draft == NULL);
    l->draft_slot = free_slot(l);
    if (!l->draft_slot)
        return ERR_AGAIN;
    if (nng_msg_alloc(&l->draft, len) != 0)
        return ERR_NOMEM;
    *ret = nng_msg_body(l->draft);
    return 0;
}

void bus_line_commit(struct bus_line *l)
{
    struct slot *slot = l->draft_slot;

    lock(l->post.bus);
    slot->busy = true;
    unlock(l->post.bus);
    nng_aio_set_msg(slot->aio, l->draft);
    l->draft = NULL;
    nng_send_aio(l->sock, slot->aio);
}

void bus_line_pause(struct bus_line *l, bool paused)
{
    struct bus *b = l->post.bus;

    l->paused = paused;
    if (paused)
        return;
    lock(b);
    put_mail(&l->post);
    unlock(b);
}

static struct timespec monotonic_in(int64_t ns)
{
    struct timespec t;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    ns = MAX(ns, 0) + t.tv_nsec;
    t.tv_sec += (time_t)(ns / SECOND);
    t.tv_nsec = (long)(ns % SECOND);
    return t;
}

/* Lets this line's mail come first. The others' stays in the box, and the
 * loop has been told of it already. */
int bus_line_wait(struct bus_line *l, int64_t until)
{
    struct bus *b = l->post.bus;

    while (!line_step(l)) {
        struct timespec t = monotonic_in(until - clock_ns());
        int late = 0;

        if (clock_ns() >= until)
            return ERR_TIMEOUT;
        lock(b);
        b->waiting = true;
        list_remove(&l->post.node); /* read just now */
        while (!list_linked(&l->post.node) && late == 0)
            late = pthread_cond_timedwait(&b->news, &b->lock, &t);
        b->waiting = false;
        unlock(b);
    }
    return 0;
}

void bus_line_close(struct bus_line *l, int64_t linger_ns)
{
    if (!l)
        return;
    l->close_by = clock_ns() + MIN(linger_ns, LINGER_MOST);
    retire(&l->post);
}

/* ---- server -------------------------------------------------------------- */

struct answerer {
    struct bus_server *server;
    nng_ctx ctx;
    bool open;
    nng_aio *aio;
    bool answering; /* NNG's threads: what the aio is doing */
    nng_msg *request; /* lock: waits for the loop */
};

struct bus_server {
    struct post post;
    nng_socket sock;
    bool open;
    nng_listener listener;
    bool listening, delivering;
    unsigned port;
    bus_server_fn *fn;
    void *ctx;
    struct answerer answerers[SERVER_CONTEXTS];
};

/* NNG's thread: a request has come, or an answer has gone. */
static void on_answerer(void *arg)
{
    struct answerer *a = arg;
    struct bus_server *s = a->server;
    int rv = nng_aio_result(a->aio);

    if (rv != 0 && a->answering)
        nng_msg_free(nng_aio_get_msg(a->aio));
    if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
        return;
    if (rv == 0 && !a->answering) {
        lock(s->post.bus);
        a->request = nng_aio_get_msg(a->aio);
        put_mail(&s->post);
        unlock(s->post.bus);
        return;
    }
    a->answering = false;
    nng_ctx_recv(a->ctx, a->aio);
}

static nng_msg *take_request(struct answerer *a)
{
    struct bus *b = a->server->post.bus;
    nng_msg *msg;

    lock(b);
    msg = a->request;
    a->request = NULL;
    unlock(b);
    return msg;
}

static void answer(struct answerer *a, struct slice bytes)
{
    nng_msg *msg;

    if (bytes.len == 0 || nng_msg_alloc(&msg, bytes.len) != 0) {
        a->answering = false;
        nng_ctx_recv(a->ctx, a->aio);
        return;
    }
    memcpy(nng_msg_body(msg), bytes.ptr, bytes.len);
    nng_aio_set_msg(a->aio, msg);
    a->answering = true;
    nng_ctx_send(a->ctx, a->aio);
}

static void server_deliver(struct post *p)
{
    struct bus_server *s = CONTAINER_OF(p, struct bus_server, post);

    s->delivering = true;
    for (size_t i = 0; i < SERVER_CONTEXTS && !p->closing; i++) {
        struct answerer *a = &s->answerers[i];
        nng_msg *request = take_request(a);
        struct buf reply = BUF_INIT;

        if (!request)
            continue;
        s->fn(s->ctx,
              slice_make(nng_msg_body(request), nng_msg_len(request)),
              &reply);
        nng_msg_free(request);
        answer(a, reply.failed ? slice_make(NULL, 0) : buf_slice(&reply));
        buf_fini(&reply);
    }
    s->delivering = false;
}

static void server_free(struct bus_server *s)
{
    if (s->open)
        (void)nng_close(s->sock);
    for (size_t i = 0; i < SERVER_CONTEXTS; i++) {
        struct answerer *a = &s->answerers[i];

        nng_aio_free(a->aio);
        if (a->request)
            nng_msg_free(a->request);
    }
    free(s);
}

static bool server_destroy(struct post *p, bool now)
{
    UNUSED(now);
    server_free(CONTAINER_OF(p, struct bus_server, post));
    return true;
}

static int answerer_init(struct answerer *a, struct bus_server *s)
{
    int rv = nng_aio_alloc(&a->aio, on_answerer, a);

    a->server = s;
    if (rv == 0)
        rv = nng_ctx_open(&a->ctx, s->sock);
    return rv;
}

int bus_server_open(struct bus_server **ret, struct bus *b, const char *url,
                    size_t largest, bus_server_fn *fn, void *ctx)
{
    struct bus_server *s = calloc(1, sizeof *s);
    int rv;

    if (!s)
        return ERR_NOMEM;
    post_init(&s->post, b, server_deliver, server_destroy);
    s->fn = fn;
    s->ctx = ctx;
    rv = nng_rep0_open(&s->sock);
    s->open = rv == 0;
    if (rv == 0)
        rv = nng_socket_set_size(s->sock, NNG_OPT_RECVMAXSZ, largest);
    for (size_t i = 0; i < SERVER_CONTEXTS && rv == 0; i++)
        rv = answerer_init(&s->answerers[i], s);
    if (rv == 0)
        rv = start_listener(s->sock, url, &s->listener, &s->port);
    if (rv != 0) {
        server_free(s);
        return from_nng(rv);
    }
    s->listening = true;
    for (size_t i = 0; i < SERVER_CONTEXTS; i++)
        nng_ctx_recv(s->answerers[i].ctx, s->answerers[i].aio);
    *ret = s;
    return 0;
}

unsigned bus_server_port(const struct bus_server *s)
{
    return s->port;
}

int bus_server_reopen(struct bus_server *s, const char *url)
{
    int rv;

    if (s->listening)
        (void)nng_listener_close(s->listener);
    rv = start_listener(s->sock, url, &s->listener, &s->port);
    s->listening = rv == 0;
    return from_nng(rv);
}

void bus_server_close(struct bus_server *s)
{
    if (!s)
        return;
    if (s->delivering) {
        retire(&s->post);
        return;
    }
    lock(s->post.bus);
    list_remove(&s->post.node);
    s->post.closing = true;
    unlock(s->post.bus);
    server_free(s);
}

/* ---- ask ----------------------------------------------------------------- */

struct bus_ask {
    struct post post;
    nng_socket sock;
    bool open;
    nng_aio *aio;
    int timeout_ms;
    bus_ask_fn *fn;
    void *ctx;
    bool sending; /* NNG's threads: what the aio is doing */

    /* lock: */
    bool done;
    int rv;
    nng_msg *reply;
};

/* NNG's thread: the question has gone, or the answer has come. */
static void on_ask(void *arg)
{
    struct bus_ask *a = arg;
    int rv = nng_aio_result(a->aio);

    if (a->sending && rv == 0) {
        a->sending = false;
        nng_recv_aio(a->sock, a->aio);
        return;
    }
    if (a->sending)
        nng_msg_free(nng_aio_get_msg(a->aio));
    lock(a->post.bus);
    a->done = true;
    a->rv = rv;
    a->reply = rv == 0 ? nng_aio_get_msg(a->aio) : NULL;
    put_mail(&a->post);
    unlock(a->post.bus);
}

static void ask_deliver(struct post *p)
{
    struct bus_ask *a = CONTAINER_OF(p, struct bus_ask, post);
    nng_msg *reply;
    int rv;

    lock(p->bus);
    if (!a->done) {
        unlock(p->bus);
        return;
    }
    a->done = false;
    rv = a->rv;
    reply = a->reply;
    a->reply = NULL;
    unlock(p->bus);
    if (!reply) {
        a->fn(a->ctx, rv == 0 ? ERR_IO : from_nng(rv), slice_make(NULL, 0));
        return;
    }
    a->fn(a->ctx, 0, slice_make(nng_msg_body(reply), nng_msg_len(reply)));
    nng_msg_free(reply);
}

static void ask_free(struct bus_ask *a)
{
    if (a->open)
        (void)nng_close(a->sock);
    nng_aio_free(a->aio);
    if (a->reply)
        nng_msg_free(a->reply);
    free(a);
}

static bool ask_destroy(struct post *p, bool now)
{
    UNUSED(now);
    ask_free(CONTAINER_OF(p, struct bus_ask, post));
    return true;
}

int bus_ask_again(struct bus_ask *a, struct slice request)
{
    nng_msg *msg;

    if (nng_msg_alloc(&msg, request.len) != 0)
        return ERR_NOMEM;
    if (request.len > 0)
        memcpy(nng_msg_body(msg), request.ptr, request.len);
    nng_aio_set_msg(a->aio, msg);
    nng_aio_set_timeout(a->aio, a->timeout_ms);
    a->sending = true;
    nng_send_aio(a->sock, a->aio);
    return 0;
}

int bus_ask_open(struct bus_ask **ret, struct bus *b, const char *url,
                 struct slice request, int timeout_ms, bus_ask_fn *fn,
                 void *ctx)
{
    struct bus_ask *a = calloc(1, sizeof *a);
    int rv;

    if (!a)
        return ERR_NOMEM;
    post_init(&a->post, b, ask_deliver, ask_destroy);
    a->fn = fn;
    a->ctx = ctx;
    a->timeout_ms = timeout_ms;
    rv = nng_aio_alloc(&a->aio, on_ask, a);
    if (rv == 0)
        rv = nng_req0_open(&a->sock);
    a->open = rv == 0;
    if (rv == 0)
        rv = nng_socket_set_size(a->sock, NNG_OPT_RECVMAXSZ, 64 * KIB);
    if (rv == 0)
        rv = start_dialer(a->sock, url);
    if (rv == 0 && bus_ask_again(a, request) < 0)
        rv = NNG_ENOMEM;
    if (rv != 0) {
        ask_free(a);
        return from_nng(rv);
    }
    *ret = a;
    return 0;
}

void bus_ask_close(struct bus_ask *a)
{
    if (a)
        retire(&a->post);
}
