#include "proto/bus.h"

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

enum {
    SERVER_CONTEXTS = 4,
    DELIVERIES_A_TURN = 16, /* of one line; then the others get their share */
    REDIAL_MS = 10,
    REDIAL_MOST_MS = 200,
    CLOSER_STACK = 128 * 1024,
    PLUG_BYTES = 1
};

/* NNG 1.5 has a race between closing a connection and a transfer that is just
 * going on in the other direction, or on the other side of the same one: the
 * transfer is forgotten, and from then on every nng_close() of the process
 * hangs. NNG closes by itself when a read or a write fails. So a line has a
 * socket for each direction, and a plug in the unused one (put_plug). And when
 * we close, nobody reads: the receiver is called off, and after QUIET_NS
 * whatever was on its way has come to rest in NNG. */
#define QUIET_NS     (50 * MILLISECOND)
#define LINGER_NS    (100 * MILLISECOND)
#define CLOSER_NAP   (5 * MILLISECOND)
#define DROP_PATIENCE (1 * SECOND)
#define STUCK_NS     (5 * SECOND)
#define GUEST_IDLE   (1 * SECOND) /* who was silent for so long makes way */

/* What NNG's threads leave for the loop. Everybody who gets mail embeds one;
 * the node is on bus->mail, or on bus->closing when it is of no more use. */
struct post {
    struct list_node node;
    struct bus *bus;
    void (*deliver)(struct post *p);
    void (*destroy)(struct post *p); /* the closer's thread */
    bool closing;                    /* lock */
    bool gone;                       /* lock; the peer has closed all of it */
    int64_t close_at;                /* or earlier, when it is gone */
    unsigned delivering;             /* the loop's: it must not go now */
};

struct bus {
    struct loop *loop;
    unsigned refs;
    struct loop_wake wake;
    pthread_t closer;

    pthread_mutex_t lock; /* for all below, and for what says so elsewhere */
    pthread_cond_t news;  /* mail for bus_line_wait(), work for the closer */
    struct list_node mail;
    struct list_node closing;
    unsigned destroying; /* taken from closing, and not gone yet: 0 or 1 */
    int64_t destroying_since;
    bool waiting, over;
    uint64_t refused[BUS_REFUSALS];
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
        CHECK(pthread_cond_broadcast(&b->news) == 0);
}

/* The owner wants no more of it: no mail from here on. */
static void stop_mail(struct post *p)
{
    lock(p->bus);
    list_remove(&p->node);
    p->closing = true;
    unlock(p->bus);
}

static void hand_over(struct post *p)
{
    struct bus *b = p->bus;

    lock(b);
    list_add_tail(&b->closing, &p->node);
    CHECK(pthread_cond_broadcast(&b->news) == 0);
    unlock(b);
}

/* To the closer, now or when its delivery is over. */
static void retire(struct post *p, int64_t close_at)
{
    p->close_at = close_at;
    if (p->delivering == 0)
        hand_over(p);
}

static void begin_delivery(struct post *p)
{
    p->delivering++;
}

static void end_delivery(struct post *p)
{
    if (--p->delivering == 0 && p->closing)
        hand_over(p);
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
        begin_delivery(p);
        p->deliver(p);
        end_delivery(p);
        lock(b);
    }
    unlock(b);
    bus_drop(b);
}

static void post_init(struct post *p, struct bus *b,
                      void (*deliver)(struct post *),
                      void (*destroy)(struct post *))
{
    list_init(&p->node);
    p->bus = b;
    p->deliver = deliver;
    p->destroy = destroy;
}

/* ---- the closer: nng_close() takes milliseconds under load ---------------- */

static struct timespec monotonic_in(int64_t ns)
{
    struct timespec t;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    ns = MAX(ns, 0) + t.tv_nsec;
    t.tv_sec += (time_t)(ns / SECOND);
    t.tv_nsec = (long)(ns % SECOND);
    return t;
}

/* Lock held. */
static struct post *next_to_close(struct bus *b)
{
    int64_t now = clock_ns();

    LIST_FOREACH(p, &b->closing, struct post, node)
        if (p->gone || now >= p->close_at)
            return p;
    return NULL;
}

/* Lock held. */
static void nap(struct bus *b)
{
    struct timespec t = monotonic_in(CLOSER_NAP);

    if (list_empty(&b->closing))
        CHECK(pthread_cond_wait(&b->news, &b->lock) == 0);
    else
        (void)pthread_cond_timedwait(&b->news, &b->lock, &t);
}

static void *close_posts(void *arg)
{
    struct bus *b = arg;

    lock(b);
    while (!b->over || !list_empty(&b->closing)) {
        struct post *p = next_to_close(b);

        if (!p) {
            nap(b);
            continue;
        }
        list_remove(&p->node);
        b->destroying++;
        b->destroying_since = clock_ns();
        unlock(b);
        p->destroy(p);
        lock(b);
        b->destroying--;
        CHECK(pthread_cond_broadcast(&b->news) == 0);
    }
    unlock(b);
    return NULL;
}

static int start_closer(struct bus *b)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setstacksize(&attr, CLOSER_STACK) == 0);
    rc = pthread_create(&b->closer, &attr, close_posts, b);
    CHECK(pthread_attr_destroy(&attr) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return rc == 0 ? 0 : ERR_NOMEM;
}

/* Waits until all is closed. False: NNG does not let go of something. */
static bool all_closed(struct bus *b)
{
    struct timespec t = monotonic_in(DROP_PATIENCE);
    bool closed;

    lock(b);
    CHECK(list_empty(&b->mail));
    b->over = true;
    CHECK(pthread_cond_broadcast(&b->news) == 0);
    while ((b->destroying || !list_empty(&b->closing)) &&
           pthread_cond_timedwait(&b->news, &b->lock, &t) == 0)
        ;
    closed = !b->destroying && list_empty(&b->closing);
    unlock(b);
    return closed;
}

/* ---- bus ----------------------------------------------------------------- */

/* NNG begins with the first thing that is made of it. A second thread that comes
 * then sees that it has begun, but nothing orders it behind what was begun: so
 * it is done here, once, and all are behind it. Without memory it begins later. */
static void begin_nng(void)
{
    nng_aio *aio;

    if (nng_aio_alloc(&aio, NULL, NULL) == 0)
        nng_aio_free(aio);
}

static void init_sync(struct bus *b)
{
    pthread_condattr_t monotonic;

    CHECK(pthread_mutex_init(&b->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&monotonic) == 0);
    CHECK(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&b->news, &monotonic) == 0);
    CHECK(pthread_condattr_destroy(&monotonic) == 0);
}

static void bus_free(struct bus *b)
{
    loop_wake_stop(&b->wake);
    CHECK(pthread_cond_destroy(&b->news) == 0);
    CHECK(pthread_mutex_destroy(&b->lock) == 0);
    free(b);
}

int bus_new(struct bus **ret, struct loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct bus *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return ERR_NOMEM;
    CHECK(pthread_once(&once, begin_nng) == 0);
    b->loop = loop;
    b->refs = 1;
    list_init(&b->mail);
    list_init(&b->closing);
    init_sync(b);
    rc = loop_wake_start(&b->wake, loop, read_mail, b);
    if (rc == 0)
        rc = start_closer(b);
    if (rc < 0) {
        bus_free(b);
        return rc;
    }
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

bool bus_is_stuck(struct bus *b)
{
    bool stuck;

    lock(b);
    stuck = b->destroying && clock_ns() - b->destroying_since > STUCK_NS;
    unlock(b);
    return stuck;
}

uint64_t bus_refused(struct bus *b, enum bus_refusal why)
{
    uint64_t n;

    lock(b);
    n = b->refused[why];
    unlock(b);
    return n;
}

/* What NNG never lets go of is left to it, and the memory with it. */
void bus_drop(struct bus *b)
{
    if (!b || --b->refs > 0)
        return;
    if (!all_closed(b)) {
        log_debug("bus.stuck", "action=left_behind");
        loop_wake_stop(&b->wake);
        CHECK(pthread_detach(b->closer) == 0);
        return;
    }
    CHECK(pthread_join(b->closer, NULL) == 0);
    bus_free(b);
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

/* NNG's thread. Who connects to a socket file must be the user that we are, or
 * root: where the directory does not keep others away, this does. NNG knows no
 * user of a tcp connection. */
static bool is_stranger(nng_pipe pipe)
{
    uint64_t uid = 0;
    int rv = nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid);

    return rv != NNG_ENOTSUP &&
           (rv != 0 || (uid != 0 && uid != (uint64_t)geteuid()));
}

/* ---- line ---------------------------------------------------------------- */

struct slot {
    struct bus_line *line;
    nng_aio *aio;
    bool busy; /* lock */
};

/* One direction: a pair0 socket that is used one way only. */
struct half {
    struct bus_line *line;
    nng_socket sock;
    bool open, listens;
    unsigned port;
    int peer;       /* lock; NNG's pipe: the first one is the only one */
    bool met, lost; /* lock */
};

struct bus_line {
    struct post post;
    struct half in, out;
    nng_aio *receiver, *plugger;
    struct slot slots[BUS_WINDOW];

    /* lock: */
    nng_msg *inbox[BUS_WINDOW]; /* received, not read yet */
    unsigned in_count;
    bool receiving; /* the receiver is with NNG */
    bool want_room;

    /* the loop's: */
    const struct bus_line_ops *ops;
    void *ctx;
    bool told_met, told_lost, paused;
    struct slot *draft_slot;
    nng_msg *draft;
};

static struct bus_line *line_of(struct post *p)
{
    return CONTAINER_OF(p, struct bus_line, post);
}

/* Lock held. Nobody but the first peer is listened to. */
static bool is_peer(const struct half *h, int pipe)
{
    return h->peer == pipe;
}

/* Lock held. True: the caller gives the receiver to NNG after unlocking. */
static bool may_receive(struct bus_line *l)
{
    if (l->receiving || l->post.closing || l->in.lost ||
        l->in_count == BUS_WINDOW)
        return false;
    return l->receiving = true;
}

/* NNG's thread. */
static void on_received(void *arg)
{
    struct bus_line *l = arg;
    struct bus *b = l->post.bus;
    bool ok = nng_aio_result(l->receiver) == 0;
    nng_msg *msg = ok ? nng_aio_get_msg(l->receiver) : NULL;
    bool again;

    lock(b);
    l->receiving = false;
    if (msg && !l->post.closing &&
        is_peer(&l->in, nng_pipe_id(nng_msg_get_pipe(msg)))) {
        l->inbox[l->in_count++] = msg;
        msg = NULL;
        put_mail(&l->post);
    }
    again = ok && may_receive(l);
    unlock(b);
    if (msg)
        nng_msg_free(msg);
    if (again)
        nng_recv_aio(l->in.sock, l->receiver);
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

/* NNG's thread. */
static void on_plugged(void *arg)
{
    struct bus_line *l = arg;

    if (nng_aio_result(l->plugger) != 0)
        nng_msg_free(nng_aio_get_msg(l->plugger));
}

/* NNG's threads, one for what comes and one for what goes: of a connection
 * that breaks at once the end may be told before the beginning, so it counts
 * from before it begins. A pair0 socket may see other pipes come and go after
 * the first: they were refused, or come for the next line. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct half *h = arg;
    struct bus_line *l = h->line;
    struct bus *b = l->post.bus;
    bool stranger = ev == NNG_PIPE_EV_ADD_PRE && h->listens &&
                    is_stranger(pipe);

    lock(b);
    if (stranger)
        b->refused[BUS_REFUSED_USER]++;
    else if (ev == NNG_PIPE_EV_ADD_PRE && h->peer == 0)
        h->peer = nng_pipe_id(pipe);
    if (is_peer(h, nng_pipe_id(pipe))) {
        h->met |= ev == NNG_PIPE_EV_ADD_POST;
        h->lost |= ev == NNG_PIPE_EV_REM_POST;
    }
    l->post.gone = l->in.lost && l->out.lost;
    put_mail(&l->post);
    unlock(b);
    if (stranger)
        (void)nng_pipe_close(pipe);
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
    if (((l->in.met && l->out.met) || l->in_count > 0) && !l->told_met) {
        l->told_met = true;
        return NEWS_MET;
    }
    if (l->in_count > 0 && !l->paused) {
        *msg = l->inbox[0];
        l->in_count--;
        memmove(l->inbox, l->inbox + 1, l->in_count * sizeof *l->inbox);
        return NEWS_MESSAGE;
    }
    if ((l->in.lost || l->out.lost) && l->in_count == 0) {
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
 * memory until the closer has it, which waits for what is under way. */
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
        nng_recv_aio(l->in.sock, l->receiver);
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
    if (l->out.open)
        (void)nng_close(l->out.sock);
    if (l->in.open)
        (void)nng_close(l->in.sock);
    nng_aio_free(l->receiver);
    nng_aio_free(l->plugger);
    for (size_t i = 0; i < BUS_WINDOW; i++)
        nng_aio_free(l->slots[i].aio);
    for (unsigned i = 0; i < l->in_count; i++)
        nng_msg_free(l->inbox[i]);
    if (l->draft)
        nng_msg_free(l->draft);
    free(l);
}

static void line_destroy(struct post *p)
{
    line_free(line_of(p));
}

static int line_aios(struct bus_line *l)
{
    int rv = nng_aio_alloc(&l->receiver, on_received, l);

    if (rv == 0)
        rv = nng_aio_alloc(&l->plugger, on_plugged, l);
    for (size_t i = 0; i < BUS_WINDOW && rv == 0; i++) {
        l->slots[i].line = l;
        rv = nng_aio_alloc(&l->slots[i].aio, on_sent, &l->slots[i]);
    }
    return rv;
}

static int half_open(struct half *h, struct bus_line *l, size_t largest)
{
    int rv = nng_pair0_open(&h->sock);

    h->line = l;
    h->open = rv == 0;
    if (rv == 0)
        rv = nng_socket_set_size(h->sock, NNG_OPT_RECVMAXSZ, largest);
    if (rv == 0)
        rv = nng_socket_set_int(h->sock, NNG_OPT_SENDBUF, 0);
    if (rv == 0)
        rv = nng_socket_set_int(h->sock, NNG_OPT_RECVBUF, 0);
    for (int ev = NNG_PIPE_EV_ADD_PRE; ev <= NNG_PIPE_EV_REM_POST; ev++)
        if (rv == 0)
            rv = nng_pipe_notify(h->sock, (nng_pipe_ev)ev, on_pipe, h);
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
        rv = half_open(&l->in, l, largest);
    if (rv == 0)
        rv = half_open(&l->out, l, PLUG_BYTES);
    if (rv != 0)
        line_free(l);
    else
        *ret = l;
    return rv;
}

/* One byte against the direction of our receiving half. The other end never
 * takes it, and so NNG never reads from that connection again: only a write
 * can find out there that it is broken. */
static int put_plug(struct bus_line *l)
{
    nng_msg *msg;
    int rv = nng_msg_alloc(&msg, PLUG_BYTES);

    if (rv != 0)
        return rv;
    memset(nng_msg_body(msg), 0, PLUG_BYTES);
    nng_aio_set_msg(l->plugger, msg);
    nng_send_aio(l->in.sock, l->plugger);
    return 0;
}

static void line_start(struct bus_line *l)
{
    bool again;

    lock(l->post.bus);
    again = may_receive(l);
    unlock(l->post.bus);
    if (again)
        nng_recv_aio(l->in.sock, l->receiver);
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

/* The two addresses behind one: PATH-1 and PATH-2, or the two ports of
 * host:PORT,PORT; a single port stands for both. */
static int half_url(const char *url, int which, char out[BUS_URL_MAX])
{
    const char *colon = strrchr(url, ':');
    const char *comma = strrchr(url, ',');
    int n;

    if (strncmp(url, "ipc:", 4) == 0)
        n = snprintf(out, BUS_URL_MAX, "%s-%d", url, which);
    else if (!colon || !comma || comma < colon)
        n = snprintf(out, BUS_URL_MAX, "%s", url);
    else if (which == 1)
        n = snprintf(out, BUS_URL_MAX, "%.*s", (int)(comma - url), url);
    else
        n = snprintf(out, BUS_URL_MAX, "%.*s%s", (int)(colon + 1 - url), url,
                     comma + 1);
    return n < 0 || n >= BUS_URL_MAX ? NNG_EADDRINVAL : 0;
}

static int half_listen(struct half *h, const char *url, int which)
{
    char at[BUS_URL_MAX];
    nng_listener ignored;
    int rv = half_url(url, which, at);

    h->listens = true;
    return rv == 0 ? start_listener(h->sock, at, &ignored, &h->port) : rv;
}

static int half_dial(struct half *h, const char *url, int which)
{
    char at[BUS_URL_MAX];
    int rv = half_url(url, which, at);

    return rv == 0 ? start_dialer(h->sock, at) : rv;
}

/* The first half carries what the dialer says, the second the answers. */
static int line_open(struct bus_line **ret, struct bus *b, const char *url,
                     size_t largest, const struct bus_line_ops *ops,
                     void *ctx, bool listen)
{
    struct bus_line *l;
    int rv = line_new(&l, b, largest, ops, ctx);

    if (rv != 0)
        return from_nng(rv);
    rv = listen ? half_listen(&l->in, url, 1) : half_dial(&l->out, url, 1);
    if (rv == 0)
        rv = listen ? half_listen(&l->out, url, 2)
                    : half_dial(&l->in, url, 2);
    if (rv == 0)
        rv = put_plug(l);
    if (rv != 0) {
        bus_line_close(l, BUS_END_NOW);
        return from_nng(rv);
    }
    line_start(l);
    *ret = l;
    return 0;
}

int bus_line_listen(struct bus_line **ret, struct bus *b, const char *url,
                    size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    return line_open(ret, b, url, largest, ops, ctx, true);
}

int bus_line_dial(struct bus_line **ret, struct bus *b, const char *url,
                  size_t largest, const struct bus_line_ops *ops, void *ctx)
{
    return line_open(ret, b, url, largest, ops, ctx, false);
}

void bus_line_ports(const struct bus_line *l, unsigned ports[2])
{
    ports[0] = l->in.port;
    ports[1] = l->out.port;
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

/* Straight into the socket when it takes it: this saves a lone message the
 * wake-up of one of NNG's threads, which would only say that it has gone. */
void bus_line_commit(struct bus_line *l)
{
    struct slot *slot = l->draft_slot;
    nng_msg *msg = l->draft;

    l->draft = NULL;
    if (nng_sendmsg(l->out.sock, msg, NNG_FLAG_NONBLOCK) == 0)
        return;
    lock(l->post.bus);
    slot->busy = true;
    unlock(l->post.bus);
    nng_aio_set_msg(slot->aio, msg);
    nng_send_aio(l->out.sock, slot->aio);
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

/* Lock held. False: too late. */
static bool wait_for_mail(struct bus *b, const struct post *p, int64_t until)
{
    struct timespec t = monotonic_in(until - clock_ns());
    int late = 0;

    b->waiting = true;
    while (!list_linked(&p->node) && late == 0)
        late = pthread_cond_timedwait(&b->news, &b->lock, &t);
    b->waiting = false;
    return list_linked(&p->node);
}

/* Lets this line's mail come first. The others' stays in the box, and the
 * loop has been told of it already. */
int bus_line_wait(struct bus_line *l, int64_t until)
{
    struct post *p = &l->post;
    bool came = true;
    bool done = false;

    begin_delivery(p);
    while (came && !done) {
        lock(p->bus);
        list_remove(&p->node); /* it is read here */
        unlock(p->bus);
        done = line_step(l);
        if (done || p->closing)
            break;
        lock(p->bus);
        came = wait_for_mail(p->bus, p, until);
        unlock(p->bus);
    }
    if (done && !p->closing)
        line_deliver(p);
    end_delivery(p);
    return came ? 0 : ERR_TIMEOUT;
}

void bus_line_close(struct bus_line *l, enum bus_end how)
{
    static const int64_t delays[] = {
        [BUS_END_QUIET] = QUIET_NS,
        [BUS_END_LINGER] = LINGER_NS,
        [BUS_END_NOW] = 0,
    };

    if (!l)
        return;
    stop_mail(&l->post);
    nng_aio_cancel(l->receiver);
    nng_aio_cancel(l->plugger);
    for (size_t i = 0; i < BUS_WINDOW && how != BUS_END_LINGER; i++)
        nng_aio_cancel(l->slots[i].aio);
    retire(&l->post, clock_ns() + delays[how]);
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

/* Somebody who is connected. */
struct guest {
    int pipe;         /* NNG's; 0: nobody */
    int64_t heard_ns; /* when it came, or asked last */
};

struct bus_server {
    struct post post;
    nng_socket sock;
    bool open;
    nng_listener listener;
    bool listening;
    unsigned port;
    bus_server_fn *fn;
    void *ctx;
    struct answerer answerers[SERVER_CONTEXTS];
    struct guest guests[BUS_GUESTS_MAX]; /* lock */
};

/* Lock held. The guest with this pipe, 0: a free place; else NULL. */
static struct guest *guest_of(struct bus_server *s, int pipe)
{
    for (size_t i = 0; i < BUS_GUESTS_MAX; i++)
        if (s->guests[i].pipe == pipe)
            return &s->guests[i];
    return NULL;
}

/* Lock held. The one who has been silent longest, if that is long. */
static struct guest *idle_guest(struct bus_server *s, int64_t now)
{
    struct guest *g = &s->guests[0];

    for (size_t i = 1; i < BUS_GUESTS_MAX; i++)
        if (s->guests[i].heard_ns < g->heard_ns)
            g = &s->guests[i];
    return now - g->heard_ns >= GUEST_IDLE ? g : NULL;
}

/* Lock held. Lets a pipe in; the pipe that has to go for it, or 0. */
static int seat_guest(struct bus_server *s, int pipe, int64_t now)
{
    struct guest *g = guest_of(s, 0);
    int out = 0;

    if (!g) {
        s->post.bus->refused[BUS_REFUSED_CROWD]++;
        g = idle_guest(s, now);
        if (!g)
            return pipe;
        out = g->pipe;
    }
    *g = (struct guest){ pipe, now };
    return out;
}

/* NNG's thread: somebody comes, before anything is read of it, or goes. */
static void on_guest(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct bus_server *s = arg;
    struct bus *b = s->post.bus;
    int id = nng_pipe_id(pipe), out = 0;
    bool comes = ev == NNG_PIPE_EV_ADD_PRE;
    bool stranger = comes && is_stranger(pipe);
    struct guest *g;

    lock(b);
    if (stranger) {
        b->refused[BUS_REFUSED_USER]++;
        out = id;
    } else if (comes) {
        out = seat_guest(s, id, clock_ns());
    } else if ((g = guest_of(s, id))) {
        *g = (struct guest){ .pipe = 0 };
    }
    unlock(b);
    if (out)
        (void)nng_pipe_close((nng_pipe){ .id = (uint32_t)out });
}

/* Lock held. */
static void note_request(struct bus_server *s, nng_msg *request)
{
    struct guest *g = guest_of(s, nng_pipe_id(nng_msg_get_pipe(request)));

    if (g)
        g->heard_ns = clock_ns();
}

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
        note_request(s, a->request);
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

static void server_destroy(struct post *p)
{
    server_free(CONTAINER_OF(p, struct bus_server, post));
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
    if (rv == 0)
        rv = nng_pipe_notify(s->sock, NNG_PIPE_EV_ADD_PRE, on_guest, s);
    if (rv == 0)
        rv = nng_pipe_notify(s->sock, NNG_PIPE_EV_REM_POST, on_guest, s);
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
    if (s->listening)
        (void)nng_listener_close(s->listener);
    stop_mail(&s->post);
    retire(&s->post, clock_ns() + QUIET_NS);
}

/* ---- ask ----------------------------------------------------------------- */

struct bus_ask {
    struct post post;
    nng_socket sock;
    bool open;
    nng_aio *aio;
    int64_t timeout_ns;
    /* NNG's own timeouts go by the wall clock: when that is put back, they
     * wait for as long again. */
    struct loop_timer deadline;
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
    if (!a->done || !a->deadline.pending) {
        unlock(p->bus);
        return;
    }
    loop_timer_stop(&a->deadline);
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

/* What comes behind it is too late, and freed with the ask. */
static void on_deadline(void *ctx)
{
    struct bus_ask *a = ctx;

    nng_aio_cancel(a->aio);
    a->fn(a->ctx, ERR_TIMEOUT, slice_make(NULL, 0));
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

static void ask_destroy(struct post *p)
{
    ask_free(CONTAINER_OF(p, struct bus_ask, post));
}

int bus_ask_again(struct bus_ask *a, struct slice request)
{
    nng_msg *msg;

    if (nng_msg_alloc(&msg, request.len) != 0)
        return ERR_NOMEM;
    if (request.len > 0)
        memcpy(nng_msg_body(msg), request.ptr, request.len);
    nng_aio_set_msg(a->aio, msg);
    nng_aio_set_timeout(a->aio, NNG_DURATION_INFINITE);
    a->sending = true;
    nng_send_aio(a->sock, a->aio);
    loop_timer_set(&a->deadline, a->timeout_ns);
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
    a->timeout_ns = timeout_ms * MILLISECOND;
    loop_timer_init(&a->deadline, bus_loop(b), on_deadline, a);
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
    if (!a)
        return;
    stop_mail(&a->post);
    loop_timer_stop(&a->deadline);
    nng_aio_cancel(a->aio);
    retire(&a->post, clock_ns() + QUIET_NS);
}
