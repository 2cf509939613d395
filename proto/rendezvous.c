#include "proto/rendezvous.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/secret.h"
#include "proto/bus.h"
#include "proto/frame.h"
#include "proto/frame_io.h"
#include "proto/join.h"
#include "proto/lane.h"
#include "proto/place.h"

enum {
    PROBE_MS = 5000,
    PROBE_STEPS = 10, /* of waiting for the answer to a probe */
    PROBE_STEP_MS = 100,
    PROBE_END_MS = 10 * 60 * 1000, /* NNG's; the steps are long over then */
    COMING_MAX = 256,    /* links offered that nobody has come to yet */
    ANSWERED_MAX = 1024, /* challenges answered well within CHALLENGE_AGE */
    KEY_BYTES = 32,
    URL_MAX = 80         /* leaves room for the names of the links */
};
#define CHALLENGE_AGE (10 * SECOND)
#define STRANGE_STAYS (2 * SECOND) /* who asks for so long keeps asking, */
#define STRANGE_PAUSE (5 * SECOND) /* with no longer pauses than this */

/* A link that was given out, for as long as its pipe is there. */
struct offer {
    struct list_node node; /* on rendezvous->offers */
    struct pipe *pipe;     /* the router's */
    uint64_t life;         /* of the peer */
    uint64_t session;
    uint8_t nonce[JOIN_NONCE]; /* of the JOIN it answered last */
    char address[BUS_URL_MAX]; /* what was answered */
};

/* A challenge that has been answered well, by which it is used up. */
struct answered {
    uint8_t challenge[JOIN_NONCE];
    int64_t at_ns; /* 0: none */
};

struct rendezvous {
    struct loop *loop;
    struct bus *bus;
    struct bus_server *server;
    struct place place;
    bool tcp;
    char *secret; /* NULL: none is asked for */
    uint64_t life;
    struct pipe_limits limits;
    const struct rendezvous_ops *ops;
    void *ctx;

    char url[BUS_URL_MAX];    /* where it listens */
    char public[BUS_URL_MAX]; /* what peers on this machine dial */
    char links[BUS_URL_MAX];  /* "ipc:///.../link-LIFE-" or "tcp://host:" */
    unsigned links_made;
    struct list_node offers;
    uint8_t challenge_key[KEY_BYTES];
    struct answered answered[ANSWERED_MAX]; /* a ring */
    unsigned next_answered;

    struct {
        uint64_t refused;
        int version;
        int64_t first_ns, last_ns; /* of one that keeps asking */
    } strange;

    struct loop_timer prober; /* the next probe, or the next step of one */
    struct bus_ask *probe;
    unsigned probe_steps; /* that this one has waited */
    unsigned probe_ms;
    uint64_t reopened;
};

/* ---- links ----------------------------------------------------------------- */

static void on_freed(void *ctx)
{
    struct offer *o = ctx;

    list_remove(&o->node);
    free(o);
}

static void on_nothing(void *ctx)
{
    UNUSED(ctx); /* the peer comes and asks when it wants a new line */
}

static const struct pipe_owner offer_owner = {
    .line_lost = on_nothing,
    .fallen = on_nothing,
    .freed = on_freed,
};

/* A line of its own for this offer. What a peer is told is the address as
 * seen from there: of tcp the port alone. */
static int listen_at(struct rendezvous *r, struct offer *o)
{
    char url[BUS_URL_MAX + 16];
    unsigned ports[2];
    int rc;

    if (r->tcp)
        snprintf(url, sizeof url, "%s0", r->links);
    else
        snprintf(url, sizeof url, "%s%u", r->links, ++r->links_made);
    rc = pipe_listen(o->pipe, o->session, url);
    if (rc < 0)
        return rc;
    pipe_ports(o->pipe, ports);
    if (r->tcp)
        snprintf(url, sizeof url, "tcp://:%u,%u", ports[0], ports[1]);
    snprintf(o->address, sizeof o->address, "%.*s", BUS_URL_MAX - 1, url);
    return 0;
}

static uint64_t new_session(void)
{
    uint64_t n;

    do
        n = random_u64();
    while (n == 0);
    return n;
}

static int offer_new(struct offer **ret, struct rendezvous *r,
                     const struct peer_id *who)
{
    struct offer *o = calloc(1, sizeof *o);
    const struct pipe_limits limits = who->kind == PEER_REPEATER
                                          ? trunk_limits(&r->limits)
                                          : r->limits;
    int rc = ERR_NOMEM;

    if (!o)
        return ERR_NOMEM;
    list_init(&o->node);
    o->life = who->life;
    o->session = new_session();
    rc = pipe_new(&o->pipe, r->bus, &limits);
    if (rc == 0)
        rc = listen_at(r, o);
    if (rc < 0) {
        pipe_free(o->pipe);
        free(o);
        return rc;
    }
    pipe_set_owner(o->pipe, &offer_owner, o);
    list_add_tail(&r->offers, &o->node);
    *ret = o;
    return 0;
}

/* The offer that this JOIN is about already: it was sent twice, or wants a
 * new line for a stream that goes on. */
static struct offer *offer_of(struct rendezvous *r,
                              const struct join_request *q)
{
    LIST_FOREACH(o, &r->offers, struct offer, node) {
        if (o->life != q->who.life || pipe_session(o->pipe) != o->session)
            continue;
        if (memcmp(o->nonce, q->nonce, JOIN_NONCE) == 0 ||
            o->session == q->resume)
            return o;
    }
    return NULL;
}

static unsigned coming(const struct rendezvous *r)
{
    unsigned n = 0;

    LIST_FOREACH(o, &r->offers, struct offer, node)
        n += pipe_session(o->pipe) != 0 && !pipe_is_up(o->pipe);
    return n;
}

/* ---- a pipe that nobody hears of ------------------------------------------------ */

static int deaf_frame(void *ctx, uint8_t code, struct slice body)
{
    UNUSED(ctx);
    UNUSED(code);
    UNUSED(body);
    return ERR_NOMEM;
}

static void deaf(void *ctx)
{
    UNUSED(ctx);
}

static void deaf_batch_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx);
    UNUSED(seq);
}

static void deaf_down(void *pipe, const char *why)
{
    UNUSED(why);
    pipe_free(pipe);
}

const struct pipe_ops rendezvous_deaf = {
    .frame = deaf_frame,
    .batch_end = deaf_batch_end,
    .up = deaf,
    .down = deaf_down,
    .drained = deaf,
};

/* ---- answering --------------------------------------------------------------- */

static void refuse(struct buf *reply, const char *why)
{
    log_debug("rendezvous.refused", "why=%s",
              log_quote(slice_str(why)).text);
    join_write_refuse(reply, slice_str(why));
}

/* A challenge is the time at which it was given, and the head of a digest over
 * that and the JOIN's nonce: nothing has to be kept of it, so strangers who ask
 * for any number of them use up nothing. */
static int make_challenge(const struct rendezvous *r, int64_t given_ns,
                          const struct join_request *q,
                          uint8_t ret[JOIN_NONCE])
{
    enum { TIME = 8 };
    uint8_t digest[HMAC_BYTES];
    struct buf b = BUF_INIT;
    int rc = ERR_NOMEM;

    put_u64(&b, (uint64_t)given_ns);
    put_raw(&b, slice_make(q->nonce, JOIN_NONCE));
    if (!b.failed)
        rc = hmac_sha256(slice_make(r->challenge_key, KEY_BYTES),
                         buf_slice(&b), digest);
    if (rc == 0) {
        memcpy(ret, b.ptr, TIME);
        memcpy(ret + TIME, digest, JOIN_NONCE - TIME);
    }
    buf_fini(&b);
    return rc;
}

static void challenge(const struct rendezvous *r,
                      const struct join_request *q, struct buf *reply)
{
    uint8_t c[JOIN_NONCE];

    if (make_challenge(r, clock_ns(), q, c) == 0)
        join_write_challenge(reply, slice_make(c, sizeof c));
}

/* Did we give it, for this JOIN, and not long ago? */
static bool is_challenge(const struct rendezvous *r,
                         const struct join_request *q, int64_t now)
{
    struct cursor c = cursor_init(q->challenge);
    int64_t given_ns = (int64_t)cursor_u64(&c);
    uint8_t want[JOIN_NONCE];

    return given_ns <= now && given_ns > now - CHALLENGE_AGE &&
           make_challenge(r, given_ns, q, want) == 0 &&
           secret_equal(slice_make(want, sizeof want), q->challenge);
}

/* A challenge is good once. False: it has been used, or more than can be told
 * apart have. */
static bool use_challenge(struct rendezvous *r, struct slice challenge,
                          int64_t now)
{
    struct answered *a = &r->answered[r->next_answered];

    for (size_t i = 0; i < ANSWERED_MAX; i++) {
        const struct answered *b = &r->answered[i];

        if (b->at_ns && slice_eq(slice_make(b->challenge, JOIN_NONCE),
                                 challenge))
            return false;
    }
    if (a->at_ns && now - a->at_ns <= CHALLENGE_AGE)
        return false;
    memcpy(a->challenge, challenge.ptr, JOIN_NONCE);
    a->at_ns = now;
    r->next_answered = (r->next_answered + 1) % ANSWERED_MAX;
    return true;
}

static void write_offer(struct rendezvous *r, struct offer *o,
                        const struct join_request *q, struct buf *reply)
{
    memcpy(o->nonce, q->nonce, JOIN_NONCE);
    if (join_write_offer(reply, o->session, slice_str(o->address), q,
                         r->secret) < 0)
        buf_reset(reply);
}

/* True when an answer has been written. */
static bool answer_again(struct rendezvous *r, const struct join_request *q,
                         struct buf *reply)
{
    struct offer *o = offer_of(r, q);

    if (!o)
        return false;
    if (memcmp(o->nonce, q->nonce, JOIN_NONCE) != 0 && listen_at(r, o) < 0)
        refuse(reply, "the router has no address for the link");
    else
        write_offer(r, o, q, reply);
    return true;
}

static void answer_join(struct rendezvous *r, const struct join_request *q,
                        struct buf *reply)
{
    const struct pipe_ops *ops = NULL;
    void *ctx = NULL;
    const char *no;
    struct offer *o;

    if (answer_again(r, q, reply))
        return;
    no = r->ops->admit ? r->ops->admit(r->ctx, &q->who) : NULL;
    if (!no && coming(r) >= COMING_MAX)
        no = "too many are joining at once";
    if (!no && offer_new(&o, r, &q->who) < 0)
        no = "the router has no room for another link";
    if (no) {
        refuse(reply, no);
        return;
    }
    write_offer(r, o, q, reply);
    r->ops->joined(r->ctx, &q->who, o->pipe, &ops, &ctx);
    pipe_set_ops(o->pipe, ops, ctx);
}

static void answer_stranger(struct rendezvous *r,
                            const struct join_request *q, struct buf *reply)
{
    int64_t now = clock_ns();

    if (q->proof.len == 0 || q->challenge.len == 0)
        challenge(r, q, reply);
    else if (!is_challenge(r, q, now))
        refuse(reply, "the challenge is out of date");
    else if (!join_proves_peer(q, r->secret))
        refuse(reply, "link.secret is not the router's");
    else if (!use_challenge(r, q->challenge, now))
        refuse(reply, "the challenge has been used");
    else
        answer_join(r, q, reply);
}

/* A stranger where a secret is asked for may say what he likes. */
static void note_strange(struct rendezvous *r, int version, int64_t now_ns)
{
    r->strange.refused++;
    if (r->secret)
        return;
    if (r->strange.version != version ||
        now_ns - r->strange.last_ns > STRANGE_PAUSE)
        r->strange.first_ns = now_ns;
    r->strange.version = version;
    r->strange.last_ns = now_ns;
}

static void refuse_version(struct rendezvous *r, int version,
                           struct buf *reply)
{
    char why[64];

    note_strange(r, version, clock_ns());
    snprintf(why, sizeof why, "speaks link version %d, this router %d",
             version, FRAME_VERSION);
    refuse(reply, why);
}

static void on_request(void *ctx, struct slice request, struct buf *reply)
{
    struct rendezvous *r = ctx;
    struct join_request q;

    if (join_read_request(request, &q) < 0) {
        refuse(reply, "not understood");
    } else if (q.version != FRAME_VERSION) {
        refuse_version(r, q.version, reply);
    } else if (q.verb == JOIN_PROBE) {
        join_write_alive(reply, r->life);
    } else if (r->secret) {
        answer_stranger(r, &q, reply);
    } else {
        answer_join(r, &q, reply);
    }
}

/* ---- the probe ----------------------------------------------------------------- */

static void plan_probe(struct rendezvous *r)
{
    loop_timer_set(&r->prober, r->probe_ms * MILLISECOND);
}

static void reopen(struct rendezvous *r)
{
    int rc = bus_server_reopen(r->server, r->url);

    r->reopened++;
    log_debug("rendezvous.reopened", "url=%s result=%s", r->url,
              rc < 0 ? err_name(rc) : "ok");
}

static void end_probe(struct rendezvous *r, bool healthy)
{
    bus_ask_close(r->probe);
    r->probe = NULL;
    if (!healthy)
        reopen(r);
    plan_probe(r);
}

/* Any answer of ours will do: it came through the listener. */
static void on_probed(void *ctx, int rc, struct slice reply)
{
    struct rendezvous *r = ctx;
    struct join_reply a;

    end_probe(r, rc == 0 && join_read_reply(reply, &a) == 0 &&
                     a.verb == JOIN_ALIVE && a.session == r->life);
}

static void begin_probe(struct rendezvous *r)
{
    struct buf b = BUF_INIT;

    join_write_probe(&b);
    r->probe_steps = 0;
    if (bus_ask_open(&r->probe, r->bus, r->public, buf_slice(&b),
                     PROBE_END_MS, on_probed, r) == 0)
        loop_timer_set(&r->prober, PROBE_STEP_MS * MILLISECOND);
    else
        plan_probe(r);
    buf_fini(&b);
}

/* The patience is counted in turns of this loop, not by the clock: a process
 * that was stopped, or came late to the processor, was late to answer itself,
 * which says nothing about the listener; and to reopen one takes along the
 * peers who are just asking. */
static void on_prober(void *ctx)
{
    struct rendezvous *r = ctx;

    if (r->probe && ++r->probe_steps < PROBE_STEPS)
        loop_timer_set(&r->prober, PROBE_STEP_MS * MILLISECOND);
    else if (r->probe)
        end_probe(r, false);
    else if (bus_is_stuck(r->bus))
        plan_probe(r); /* each would cost a descriptor */
    else
        begin_probe(r);
}

/* ---- opening -------------------------------------------------------------------- */

static bool is_address(struct slice host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.ptr[i] != '.' && (host.ptr[i] < '0' || host.ptr[i] > '9'))
            return false;
    return true;
}

static bool is_local(struct slice host)
{
    return (slice_starts(host, SLICE("127.")) && is_address(host)) ||
           slice_eq(host, SLICE("localhost")) ||
           slice_eq(host, SLICE("[::1]"));
}

static bool is_any(struct slice host)
{
    return host.len == 0 || slice_eq(host, SLICE("*")) ||
           slice_eq(host, SLICE("0.0.0.0")) || slice_eq(host, SLICE("[::]"));
}

/* The host of tcp://host:port; an empty one with NULL when there is no port. */
static struct slice host_of(const char *url)
{
    const char *host = url + strlen("tcp://");
    const char *colon = strrchr(host, ':');

    return slice_make(colon ? host : NULL, colon ? (size_t)(colon - host) : 0);
}

static int check_url(struct rendezvous *r, const char *url,
                     const char *secret, char why[PLACE_WHY_MAX])
{
    struct slice host;

    r->tcp = strncmp(url, "tcp://", 6) == 0;
    if ((!r->tcp && strncmp(url, "ipc:///", 7) != 0) ||
        strlen(url) > URL_MAX || (r->tcp && !host_of(url).ptr)) {
        snprintf(why, PLACE_WHY_MAX, "no address for a rendezvous: %.100s "
                 "(ipc:///path or tcp://host:port)", url);
        return ERR_BAD;
    }
    host = r->tcp ? host_of(url) : SLICE("localhost");
    if (is_local(host) || secret)
        return 0;
    snprintf(why, PLACE_WHY_MAX, "%.100s is not a local address: "
             "link.secret must be set for it", url);
    return ERR_DENIED;
}

/* Where it listens, where its links will. */
static int choose_urls(struct rendezvous *r, const char *url,
                       char why[PLACE_WHY_MAX])
{
    struct slice host;

    if (!url && !r->place.dir) {
        snprintf(why, PLACE_WHY_MAX, "neither an address nor a directory");
        return ERR_BAD;
    }
    if (url)
        snprintf(r->url, sizeof r->url, "%s", url);
    else
        snprintf(r->url, sizeof r->url, "ipc://%.110s/router",
                 r->place.links);
    host = r->tcp ? host_of(r->url) : SLICE("");
    if (r->tcp)
        snprintf(r->links, sizeof r->links, "tcp://" SLICE_FMT ":",
                 SLICE_ARG(host));
    else if (r->place.dir)
        snprintf(r->links, sizeof r->links, "ipc://%.100s/link-%08x-",
                 r->place.links, (unsigned)r->life);
    else
        snprintf(r->links, sizeof r->links, "%.100s.link-%08x-", r->url,
                 (unsigned)r->life);
    return 0;
}

/* Once the port is known: url for the next listener, public for everybody. */
static void settle_urls(struct rendezvous *r)
{
    unsigned port = bus_server_port(r->server);
    struct slice host;
    char known[BUS_URL_MAX];

    snprintf(r->public, sizeof r->public, "%s", r->url);
    if (!r->tcp)
        return;
    snprintf(known, sizeof known, "%s", r->url);
    host = host_of(known);
    snprintf(r->url, sizeof r->url, "tcp://" SLICE_FMT ":%u",
             SLICE_ARG(host), port);
    if (is_any(host))
        host = slice_eq(host, SLICE("[::]")) ? SLICE("[::1]")
                                             : SLICE("127.0.0.1");
    snprintf(r->public, sizeof r->public, "tcp://" SLICE_FMT ":%u",
             SLICE_ARG(host), port);
}

static int start(struct rendezvous *r, char why[PLACE_WHY_MAX])
{
    int rc = bus_new(&r->bus, r->loop);

    if (rc == 0)
        rc = bus_server_open(&r->server, r->bus, r->url, JOIN_MESSAGE_MAX,
                             on_request, r);
    if (rc < 0) {
        snprintf(why, PLACE_WHY_MAX, "cannot listen at %s: %s", r->url,
                 rc == ERR_BUSY ? "somebody else does" : err_text(rc));
        return rc;
    }
    settle_urls(r);
    if (r->place.dir && place_announce(&r->place, r->public) < 0) {
        snprintf(why, PLACE_WHY_MAX, "cannot write router.url in %.200s",
                 r->place.dir);
        return ERR_IO;
    }
    plan_probe(r);
    return 0;
}

static int prepare(struct rendezvous *r, const struct rendezvous_options *o,
                   char why[PLACE_WHY_MAX])
{
    int rc = o->url ? check_url(r, o->url, o->secret, why) : 0;

    if (rc < 0)
        return rc;
    /* The directory of an ipc socket admits nobody who would have to prove
     * anything. */
    if (o->secret && r->tcp && !(r->secret = strdup(o->secret))) {
        snprintf(why, PLACE_WHY_MAX, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    if (o->dir)
        rc = place_open(&r->place, o->dir, why);
    return rc < 0 ? rc : choose_urls(r, o->url, why);
}

int rendezvous_open(struct rendezvous **ret, struct loop *loop,
                    const struct rendezvous_options *options,
                    const struct rendezvous_ops *ops, void *ctx,
                    const char **why)
{
    static _Thread_local char text[PLACE_WHY_MAX];
    struct rendezvous *r = calloc(1, sizeof *r);
    int rc;

    *why = text;
    if (!r) {
        snprintf(text, sizeof text, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    r->loop = loop;
    r->life = options->life;
    r->limits = options->limits;
    r->ops = ops;
    r->ctx = ctx;
    r->probe_ms = options->probe_ms ? options->probe_ms : PROBE_MS;
    random_bytes(r->challenge_key, sizeof r->challenge_key);
    list_init(&r->offers);
    loop_timer_init(&r->prober, loop, on_prober, r);
    rc = prepare(r, options, text);
    if (rc == 0)
        rc = start(r, text);
    if (rc < 0) {
        rendezvous_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

const char *rendezvous_url(const struct rendezvous *r)
{
    return r->public;
}

uint64_t rendezvous_reopened(const struct rendezvous *r)
{
    return r->reopened;
}

uint64_t rendezvous_refused(const struct rendezvous *r, enum bus_refusal why)
{
    return bus_refused(r->bus, why);
}

struct rendezvous_strange rendezvous_strange(const struct rendezvous *r,
                                             int64_t now_ns)
{
    bool stays = r->strange.last_ns - r->strange.first_ns >= STRANGE_STAYS &&
                 now_ns - r->strange.last_ns <= STRANGE_PAUSE;

    return (struct rendezvous_strange){r->strange.refused,
                                       stays ? r->strange.version : 0};
}

bool rendezvous_is_stuck(const struct rendezvous *r)
{
    return bus_is_stuck(r->bus);
}

void rendezvous_close(struct rendezvous *r)
{
    struct list_node *n;

    if (!r)
        return;
    while ((n = list_pop(&r->offers))) {
        struct offer *o = CONTAINER_OF(n, struct offer, node);

        pipe_set_owner(o->pipe, NULL, NULL);
        free(o);
    }
    loop_timer_stop(&r->prober);
    bus_ask_close(r->probe);
    bus_server_close(r->server);
    bus_drop(r->bus);
    place_close(&r->place);
    if (r->secret)
        secret_wipe(r->secret, strlen(r->secret));
    free(r->secret);
    free(r);
}
