#include "proto/rendezvous.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/bus.h"
#include "proto/frame.h"
#include "proto/join.h"
#include "proto/place.h"
#include "tests/proto/ends.h"
#include "tests/t/t.h"

enum { ROUTER_LIFE = 0x70c4 };

static const struct pipe_limits limits = {.batch = 4 * MIB, .queue = 8 * MIB};

/* A router that admits everybody but "nobody", and one gateway. */
struct world {
    struct loop *loop;
    struct rendezvous_options options;
    struct rendezvous *rendezvous;
    struct joiner *joiner;
    struct end links[16]; /* the router's ends, in the order of joining */
    unsigned joined;
    struct peer_id last;
    struct end gateway;
    char refused[200];
};

static void step(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 20 * MILLISECOND));
}

static const char *admit(void *ctx, const struct peer_id *who)
{
    UNUSED(ctx);
    return strcmp(who->name, "nobody") == 0 ? "nobody is not welcome" : NULL;
}

static void joined(void *ctx, const struct peer_id *who, struct pipe *p,
                   const struct pipe_ops **ops, void **pipe_ctx)
{
    struct world *w = ctx;
    struct end *e = &w->links[w->joined++];

    EXPECT(w->joined < ARRAY_LEN(w->links));
    e->pipe = p;
    w->last = *who;
    *ops = &end_ops;
    *pipe_ctx = e;
}

static const struct rendezvous_ops router_ops = {admit, joined};

static void refused(void *ctx, const char *why)
{
    struct end *e = ctx;
    struct world *w = CONTAINER_OF(e, struct world, gateway);

    snprintf(w->refused, sizeof w->refused, "%s", why);
}

static void router_up(struct world *w)
{
    const char *why = "";

    EXPECT_OK(rendezvous_open(&w->rendezvous, w->loop, &w->options,
                              &router_ops, w, &why));
}

/* As with kill -9, but for the files: those are put back where it matters. */
static void router_down(struct world *w)
{
    for (unsigned i = 0; i < w->joined; i++) {
        pipe_free(w->links[i].pipe);
        w->links[i].pipe = NULL;
    }
    rendezvous_close(w->rendezvous);
    w->rendezvous = NULL;
}

static void gateway_up(struct world *w, const char *name, const char *url,
                       const char *secret)
{
    struct joiner_options o = {
        .url = url, .dir = test_dir(), .secret = secret, .limits = limits,
        .who = {.edge = "http", .kind = PEER_GATEWAY, .pid = 42},
    };
    struct joiner_ops ops = {.pipe = end_ops, .refused = refused};

    snprintf(o.who.name, sizeof o.who.name, "%s", name);
    EXPECT_OK(joiner_open(&w->joiner, w->loop, &o, &ops, &w->gateway));
    w->gateway.pipe = joiner_pipe(w->joiner);
}

static void world_open(struct world *w, const char *url, const char *secret)
{
    *w = (struct world){.options = {
        .url = url, .dir = test_dir(), .secret = secret,
        .life = ROUTER_LIFE, .limits = limits,
    }};
    EXPECT_OK(loop_new(&w->loop));
    router_up(w);
}

static void world_close(struct world *w)
{
    joiner_close(w->joiner);
    router_down(w);
    loop_free(w->loop);
}

static struct end *last_link(struct world *w)
{
    return &w->links[w->joined - 1];
}

static void expect_link_works(struct world *w)
{
    EXPECT_SOON(w->joined && last_link(w)->ups && pipe_is_up(w->gateway.pipe),
                step(w));
    end_say_many(last_link(w), 10, 100);
    end_say_many(&w->gateway, 10, 100);
    EXPECT_SOON(w->gateway.heard == last_link(w)->said &&
                last_link(w)->heard == w->gateway.said, step(w));
    EXPECT_INT(w->gateway.wrong + last_link(w)->wrong, 0);
}

static void expect_mode(const char *path, mode_t mode)
{
    struct stat st;

    EXPECT_INT(stat(path, &st), 0);
    EXPECT_INT(st.st_mode & 0777, mode);
}

TEST(a_gateway_finds_its_router_by_the_directory)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    EXPECT_STR(w.last.name, "http1");
    EXPECT_STR(w.last.edge, "http");
    EXPECT_INT(w.last.pid, 42);
    EXPECT(w.last.life == joiner_who(w.joiner)->life && w.last.life != 0);
    world_close(&w);
}

TEST(only_the_owner_can_enter_where_the_sockets_are)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    expect_mode(test_path("link"), 0700);
    expect_mode(test_path("link/router"), 0600);
    world_close(&w);
}

/* Nothing is there but this one file and DIR/link. */
static void expect_only(const char *dir, const char *allowed)
{
    struct dirent *e;
    DIR *d = opendir(dir);

    EXPECT(d != NULL);
    while ((e = readdir(d)))
        EXPECT(e->d_name[0] == '.' || strcmp(e->d_name, allowed) == 0 ||
               strcmp(e->d_name, "link") == 0);
    closedir(d);
}

/* And the directory in which gateways will look for the next one: they could
 * not see another. */
TEST(a_closed_router_leaves_nothing_but_its_lock)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    world_close(&w);
    expect_only(test_dir(), "router.lock");
    expect_only(test_path("link"), "");
}

TEST(the_router_may_come_later)
{
    struct world w = {.options = {.dir = test_dir(), .life = ROUTER_LIFE,
                                  .limits = limits}};

    EXPECT_OK(loop_new(&w.loop));
    gateway_up(&w, "http1", NULL, NULL);
    EXPECT_SOON(joiner_trouble(w.joiner)[0], step(&w));
    EXPECT_CONTAINS(joiner_trouble(w.joiner), "no router has run in ");
    router_up(&w);
    expect_link_works(&w);
    world_close(&w);
}

TEST(a_router_that_begins_anew_is_found_again)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    router_down(&w);
    EXPECT_SOON(w.gateway.downs == 1, step(&w));
    router_up(&w);
    expect_link_works(&w);
    EXPECT_INT(w.gateway.ups, 2);
    world_close(&w);
}

static _Noreturn void be_a_router(int ready, int stop)
{
    struct world w;
    char c;

    world_open(&w, NULL, NULL);
    EXPECT_INT(write(ready, "r", 1), 1);
    for (;;) {
        struct timeval none = {0};
        fd_set fds;

        step(&w);
        FD_ZERO(&fds);
        FD_SET(stop, &fds);
        if (select(stop + 1, &fds, NULL, NULL, &none) > 0 &&
            read(stop, &c, 1) <= 0)
            _exit(0);
    }
}

/* The sockets, the url and the lock's file stay behind. */
TEST(a_killed_router_is_succeeded_by_the_next)
{
    struct world w;
    int ready[2], stop[2];
    pid_t child;
    char c;

    EXPECT(pipe(ready) == 0 && pipe(stop) == 0);
    child = fork();
    if (child == 0) {
        close(stop[1]);
        be_a_router(ready[1], stop[0]);
    }
    close(stop[0]);
    EXPECT_INT(read(ready[0], &c, 1), 1);
    w = (struct world){.options = {.dir = test_dir(), .life = ROUTER_LIFE,
                                   .limits = limits}};
    EXPECT_OK(loop_new(&w.loop));
    gateway_up(&w, "http1", NULL, NULL);
    EXPECT_SOON(w.gateway.ups == 1, step(&w));
    EXPECT(kill(child, SIGKILL) == 0);
    EXPECT(waitpid(child, NULL, 0) == child);
    EXPECT_INT(access(test_path("link/router"), F_OK), 0);
    EXPECT_INT(access(test_path("router.url"), F_OK), 0);
    router_up(&w);
    expect_link_works(&w);
    EXPECT_INT(w.gateway.downs, 1);
    EXPECT_CONTAINS(w.gateway.why, "anew");
    world_close(&w);
}

TEST(a_second_router_in_the_directory_is_refused_by_name)
{
    struct world w;
    struct rendezvous *second;
    const char *why = "";
    char pid[32];

    world_open(&w, NULL, NULL);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    EXPECT_ERR(rendezvous_open(&second, w.loop, &w.options, &router_ops, &w,
                               &why), ERR_BUSY);
    EXPECT_CONTAINS(why, pid);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w); /* the first one has not noticed */
    world_close(&w);
}

TEST(an_address_in_use_is_an_error_in_words)
{
    struct world w;
    struct rendezvous *second;
    struct rendezvous_options o;
    const char *why = "";

    world_open(&w, "tcp://127.0.0.1:0", NULL);
    o = w.options;
    o.dir = NULL;
    o.url = rendezvous_url(w.rendezvous);
    EXPECT_ERR(rendezvous_open(&second, w.loop, &o, &router_ops, &w, &why),
               ERR_BUSY);
    EXPECT_CONTAINS(why, "somebody else");
    world_close(&w);
}

TEST(an_address_that_is_none_is_refused_in_words)
{
    static const char *const urls[] = {
        "http://127.0.0.1:1", "tcp://", "tcp://127.0.0.1", "ipc://relative",
        "", "inproc://x",
    };
    struct world w = {.options = {.dir = test_dir(), .limits = limits}};
    const char *why = "";

    EXPECT_OK(loop_new(&w.loop));
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        w.options.url = urls[i];
        EXPECT_ERR(rendezvous_open(&w.rendezvous, w.loop, &w.options,
                                   &router_ops, &w, &why), ERR_BAD);
        EXPECT_CONTAINS(why, "no address");
    }
    loop_free(w.loop);
}

TEST(an_address_that_is_not_local_needs_a_secret)
{
    static const char *const urls[] = {
        "tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0", "tcp://10.1.2.3:0",
        "tcp://127.evil.example:0",
    };
    struct world w = {.options = {.dir = test_dir(), .limits = limits}};
    const char *why = "";

    EXPECT_OK(loop_new(&w.loop));
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        w.options.url = urls[i];
        EXPECT_ERR(rendezvous_open(&w.rendezvous, w.loop, &w.options,
                                   &router_ops, &w, &why), ERR_DENIED);
        EXPECT_CONTAINS(why, "link.secret must be set");
    }
    loop_free(w.loop);
}

TEST(tcp_works_with_any_port_and_says_which)
{
    struct world w;

    world_open(&w, "tcp://127.0.0.1:0", NULL);
    EXPECT_CONTAINS(rendezvous_url(w.rendezvous), "tcp://127.0.0.1:");
    EXPECT(strcmp(rendezvous_url(w.rendezvous), "tcp://127.0.0.1:0") != 0);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    world_close(&w);
}

TEST(who_knows_the_secret_gets_in_from_anywhere)
{
    struct world w;

    world_open(&w, "tcp://0.0.0.0:0", "open sesame");
    gateway_up(&w, "http1", NULL, "open sesame");
    expect_link_works(&w);
    world_close(&w);
}

TEST(who_does_not_know_the_secret_is_told_so)
{
    static const char *const secrets[] = {"open barley", NULL};
    static const char *const answers[] = {"not the router's", "asked for"};
    struct world w;

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        world_open(&w, "tcp://0.0.0.0:0", "open sesame");
        gateway_up(&w, "http1", NULL, secrets[i]);
        EXPECT_SOON(w.refused[0], step(&w));
        EXPECT_CONTAINS(w.refused, answers[i]);
        EXPECT_CONTAINS(joiner_trouble(w.joiner), answers[i]);
        EXPECT_INT(w.joined, 0);
        world_close(&w);
    }
}

TEST(a_router_that_does_not_know_the_secret_is_not_joined)
{
    struct world w;

    world_open(&w, "tcp://127.0.0.1:0", NULL);
    gateway_up(&w, "http1", NULL, "open sesame");
    EXPECT_SOON(joiner_trouble(w.joiner)[0], step(&w));
    EXPECT_CONTAINS(joiner_trouble(w.joiner), "does not know link.secret");
    EXPECT_INT(w.gateway.ups, 0);
    world_close(&w);
}

TEST(who_is_not_admitted_hears_why)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "nobody", NULL, NULL);
    EXPECT_SOON(w.refused[0], step(&w));
    EXPECT_STR(w.refused, "nobody is not welcome");
    world_close(&w);
}

TEST(nobody_at_the_address_is_trouble_in_words)
{
    struct world w = {.options = {.limits = limits}};
    char url[BUS_URL_MAX];

    snprintf(url, sizeof url, "ipc://%.90s/nobody", test_dir());
    EXPECT_OK(loop_new(&w.loop));
    gateway_up(&w, "http1", url, NULL);
    EXPECT_SOON(joiner_trouble(w.joiner)[0], step(&w));
    EXPECT_CONTAINS(joiner_trouble(w.joiner), "no router answers at ipc://");
    joiner_close(w.joiner);
    loop_free(w.loop);
}

/* ---- raw words at the rendezvous ---------------------------------------- */

struct heard {
    struct buf reply;
    int rc;
    bool done;
};

static void on_heard(void *ctx, int rc, struct slice reply)
{
    struct heard *h = ctx;

    h->rc = rc;
    buf_add(&h->reply, reply);
    h->done = true;
}

static void ask(struct world *w, struct heard *h, struct slice words)
{
    struct bus *bus;
    struct bus_ask *a;

    buf_reset(&h->reply);
    h->done = false;
    EXPECT_OK(bus_new(&bus, w->loop));
    EXPECT_OK(bus_ask_open(&a, bus, rendezvous_url(w->rendezvous), words,
                           2000, on_heard, h));
    EXPECT_SOON(h->done, step(w));
    bus_ask_close(a);
    bus_drop(bus);
}

TEST(another_version_is_refused_in_words_it_can_read)
{
    struct world w;
    struct heard h = {.done = false};
    struct join_reply reply;
    char later[] = "TJ?\x01 whatever it says by then", wanted[64];

    world_open(&w, NULL, NULL);
    later[2] = FRAME_VERSION + 1;
    snprintf(wanted, sizeof wanted, "speaks link version %d, this router %d",
             FRAME_VERSION + 1, FRAME_VERSION);
    ask(&w, &h, slice_str(later));
    EXPECT_OK(h.rc);
    EXPECT_OK(join_read_reply(buf_slice(&h.reply), &reply));
    EXPECT_INT(reply.verb, JOIN_REFUSE);
    EXPECT_SLICE(reply.text, slice_str(wanted));
    EXPECT_INT(rendezvous_strange(w.rendezvous, clock_ns()).refused, 1);
    EXPECT_INT(rendezvous_strange(w.rendezvous, clock_ns()).version, 0);
    buf_fini(&h.reply);
    world_close(&w);
}

TEST(noise_at_the_rendezvous_is_answered_and_harms_nobody)
{
    static const struct slice noise[] = {
        SLICE_INIT(""), SLICE_INIT("T"), SLICE_INIT("GET / HTTP/1.1\r\n"),
        SLICE_INIT("TJ\x02\x01"), SLICE_INIT("TJ\x02\x7f"),
        SLICE_INIT("TJ\x02\x02too much"),
    };
    struct world w;
    struct heard h = {.done = false};

    world_open(&w, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        struct join_reply reply;

        ask(&w, &h, noise[i]);
        EXPECT_OK(h.rc);
        EXPECT_OK(join_read_reply(buf_slice(&h.reply), &reply));
        EXPECT_INT(reply.verb, JOIN_REFUSE);
    }
    buf_fini(&h.reply);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    world_close(&w);
}

TEST(a_join_said_twice_is_one_link)
{
    struct world w;
    struct heard first = {.done = false}, second = {.done = false};
    struct peer_id who = {.name = "http1", .edge = "http", .life = 7};
    uint8_t nonce[JOIN_NONCE] = {1, 2, 3};
    struct buf b = BUF_INIT;

    world_open(&w, NULL, NULL);
    EXPECT_OK(join_write_join(&b, &who, 0, nonce, slice_make(NULL, 0), NULL));
    ask(&w, &first, buf_slice(&b));
    ask(&w, &second, buf_slice(&b));
    EXPECT_SLICE(buf_slice(&first.reply), buf_slice(&second.reply));
    EXPECT_INT(w.joined, 1);
    buf_fini(&b);
    buf_fini(&first.reply);
    buf_fini(&second.reply);
    world_close(&w);
}

/* A JOIN from where a secret is asked for, with or without its proof. */
struct entrance {
    struct world w;
    struct heard h;
    struct buf join;
    uint8_t challenge[JOIN_NONCE];
};

static void write_entrance(struct entrance *e, struct slice challenge)
{
    static const struct peer_id who = {.name = "http1", .edge = "http",
                                       .life = 7};
    static const uint8_t nonce[JOIN_NONCE] = {1};

    EXPECT_OK(join_write_join(&e->join, &who, 0, nonce, challenge,
                              "open sesame"));
}

static struct join_reply ask_to_enter(struct entrance *e)
{
    struct join_reply reply;

    ask(&e->w, &e->h, buf_slice(&e->join));
    EXPECT_OK(join_read_reply(buf_slice(&e->h.reply), &reply));
    return reply;
}

static void entrance_open(struct entrance *e)
{
    struct join_reply reply;

    *e = (struct entrance){.join = BUF_INIT};
    world_open(&e->w, "tcp://127.0.0.1:0", "open sesame");
    write_entrance(e, slice_make(NULL, 0));
    reply = ask_to_enter(e);
    EXPECT_INT(reply.verb, JOIN_CHALLENGE);
    memcpy(e->challenge, reply.text.ptr, JOIN_NONCE);
}

static void entrance_close(struct entrance *e)
{
    buf_fini(&e->join);
    buf_fini(&e->h.reply);
    world_close(&e->w);
}

TEST(a_proof_is_good_once_and_for_what_it_was_made_for)
{
    struct entrance e;
    struct join_reply reply;

    entrance_open(&e);
    write_entrance(&e, slice_make(e.challenge, JOIN_NONCE));
    e.join.ptr[10] ^= 1; /* another life */
    EXPECT_INT(ask_to_enter(&e).verb, JOIN_REFUSE);
    e.join.ptr[10] ^= 1;
    EXPECT_INT(ask_to_enter(&e).verb, JOIN_OFFER);
    reply = ask_to_enter(&e); /* right, but that challenge has been used */
    EXPECT_INT(reply.verb, JOIN_REFUSE);
    EXPECT_SLICE(reply.text, SLICE("the challenge has been used"));
    EXPECT_INT(e.w.joined, 1);
    entrance_close(&e);
}

TEST(a_challenge_that_the_router_did_not_give_is_not_taken)
{
    struct entrance e;

    entrance_open(&e);
    e.challenge[JOIN_NONCE - 1] ^= 1;
    write_entrance(&e, slice_make(e.challenge, JOIN_NONCE));
    EXPECT_SLICE(ask_to_enter(&e).text,
                 SLICE("the challenge is out of date"));
    EXPECT_INT(e.w.joined, 0);
    entrance_close(&e);
}

/* Asks the same again and again, and heeds no answer. */
struct stranger {
    struct bus_ask *ask;
    struct slice words;
    unsigned times;
};

static void ask_once_more(void *ctx, int rc, struct slice reply)
{
    struct stranger *s = ctx;

    UNUSED(reply);
    EXPECT_OK(rc);
    if (++s->times < 300)
        EXPECT_OK(bus_ask_again(s->ask, s->words));
}

TEST(strangers_who_ask_for_challenges_keep_nobody_out)
{
    struct entrance e;
    struct stranger s = {.times = 0};
    struct bus *bus;

    entrance_open(&e);
    s.words = buf_slice(&e.join);
    EXPECT_OK(bus_new(&bus, e.w.loop));
    EXPECT_OK(bus_ask_open(&s.ask, bus, rendezvous_url(e.w.rendezvous),
                           s.words, 2000, ask_once_more, &s));
    EXPECT_SOON(s.times == 300, step(&e.w));
    bus_ask_close(s.ask);
    bus_drop(bus);
    write_entrance(&e, slice_make(e.challenge, JOIN_NONCE));
    EXPECT_INT(ask_to_enter(&e).verb, JOIN_OFFER);
    entrance_close(&e);
}

/* ---- what NNG does to listeners ------------------------------------------ */

static void stray(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof to.sun_path, "%.100s", path);
    (void)!connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
}

/* Upstream issue 1518: after one of these the listener is deaf. */
TEST(strays_that_close_at_once_do_not_keep_gateways_out)
{
    struct world w = {.options = {.dir = test_dir(), .life = ROUTER_LIFE,
                                  .limits = limits, .probe_ms = 200}};

    EXPECT_OK(loop_new(&w.loop));
    router_up(&w);
    for (int i = 0; i < 50; i++) {
        stray(test_path("link/router"));
        EXPECT_OK(loop_step(w.loop, MILLISECOND));
    }
    EXPECT_SOON(rendezvous_reopened(w.rendezvous) > 0, step(&w));
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    world_close(&w);
}

TEST(a_healthy_listener_is_left_alone)
{
    struct world w = {.options = {.dir = test_dir(), .life = ROUTER_LIFE,
                                  .limits = limits, .probe_ms = 20}};
    int64_t until = clock_ns() + 500 * MILLISECOND;

    EXPECT_OK(loop_new(&w.loop));
    router_up(&w);
    while (clock_ns() < until)
        step(&w);
    EXPECT_INT(rendezvous_reopened(w.rendezvous), 0);
    world_close(&w);
}

/* poll() stands for what keeps the process from running: a signal, a busy
 * machine, for longer than a probe is waited for. */
TEST(a_router_that_was_stopped_does_not_blame_its_listener)
{
    struct world w = {.options = {.dir = test_dir(), .life = ROUTER_LIFE,
                                  .limits = limits, .probe_ms = 20}};

    EXPECT_OK(loop_new(&w.loop));
    router_up(&w);
    for (int stops = 0; stops < 3; stops++) {
        EXPECT_OK(loop_step(w.loop, 25 * MILLISECOND)); /* a probe begins */
        (void)poll(NULL, 0, 1200);
        EXPECT_OK(loop_step(w.loop, 0));
    }
    EXPECT_INT(rendezvous_reopened(w.rendezvous), 0);
    world_close(&w);
}

/* JOINs as `life` and returns the session that is offered. */
static uint64_t join_as(struct world *w, uint64_t life, uint64_t resume)
{
    struct heard h = {.done = false};
    struct peer_id who = {.name = "http9", .edge = "http", .life = life};
    struct join_reply reply;
    uint8_t nonce[JOIN_NONCE] = {9};
    struct buf b = BUF_INIT;

    EXPECT_OK(join_write_join(&b, &who, resume, nonce, slice_make(NULL, 0),
                              NULL));
    ask(w, &h, buf_slice(&b));
    EXPECT_OK(join_read_reply(buf_slice(&h.reply), &reply));
    EXPECT_INT(reply.verb, JOIN_OFFER);
    buf_fini(&b);
    buf_fini(&h.reply);
    return reply.session;
}

TEST(an_offer_that_nobody_comes_to_is_taken_back)
{
    struct world w;
    uint64_t session;

    world_open(&w, NULL, NULL);
    session = join_as(&w, 7, 0);
    EXPECT_SOON(w.links[0].downs == 1, step(&w));
    EXPECT_CONTAINS(w.links[0].why, "did not come");
    EXPECT_INT(w.links[0].ups, 0);
    EXPECT(join_as(&w, 7, session) != session);
    EXPECT_INT(w.joined, 2);
    world_close(&w);
}

TEST(a_session_is_resumed_by_the_peer_whose_it_is)
{
    struct world w;
    uint64_t session;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    session = pipe_session(w.gateway.pipe);
    EXPECT(join_as(&w, 7, session) != session);
    EXPECT_INT(w.joined, 2);
    w.joined = 1;
    expect_link_works(&w);
    EXPECT_INT(w.gateway.downs, 0);
    w.joined = 2;
    world_close(&w);
}

/* The gateway's process is another one from now on; `frames` of each end are
 * under way meanwhile, and what the old one had not read yet is not lost. */
static void gateway_moves(struct world *w, const char *name, unsigned frames)
{
    struct buf b = BUF_INIT;
    struct cursor c;

    end_say_many(&w->gateway, frames, 5000);
    end_say_many(last_link(w), frames, 5000);
    joiner_freeze(w->joiner, &b);
    EXPECT(!b.failed);
    joiner_part(w->joiner);
    joiner_close(w->joiner);
    gateway_up(w, name, NULL, NULL);
    c = cursor_init(buf_slice(&b));
    EXPECT_OK(joiner_thaw(w->joiner, &c));
    EXPECT(cursor_all_read(&c));
    EXPECT(pipe_is_up(w->gateway.pipe));
    buf_fini(&b);
}

TEST(another_process_goes_on_with_the_stream_and_the_router_hears_no_end_of_it)
{
    struct world w;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    for (unsigned i = 0; i < 3; i++) {
        gateway_moves(&w, "http1", i * 20);
        expect_link_works(&w);
    }
    EXPECT_INT(w.joined, 1);
    EXPECT_INT(w.links[0].ups, 1);
    EXPECT_INT(w.links[0].downs + w.gateway.downs, 0);
    EXPECT_INT(w.gateway.ups, 1);
    world_close(&w);
}

TEST(a_stream_that_was_cut_short_or_is_another_ones_is_not_gone_on_with)
{
    struct world w;
    struct buf b = BUF_INIT;
    struct cursor c;

    world_open(&w, NULL, NULL);
    gateway_up(&w, "http1", NULL, NULL);
    expect_link_works(&w);
    end_say_many(&w.gateway, 3, 100);
    joiner_freeze(w.joiner, &b);
    joiner_part(w.joiner);
    joiner_close(w.joiner);
    gateway_up(&w, "http1", NULL, NULL);
    for (size_t i = 0; i < b.len; i += 7) {
        c = cursor_init(slice_make(b.ptr, i));
        EXPECT_ERR(joiner_thaw(w.joiner, &c), ERR_FRAME);
        EXPECT(!pipe_is_up(w.gateway.pipe));
    }
    joiner_close(w.joiner);
    gateway_up(&w, "http2", NULL, NULL);
    c = cursor_init(buf_slice(&b));
    EXPECT_ERR(joiner_thaw(w.joiner, &c), ERR_FRAME);
    buf_fini(&b);
    world_close(&w);
}

/* A router whose lines lead nowhere: what dials them is let in and never
 * hears a word. */
struct hole {
    char address[BUS_URL_MAX];
    unsigned resumed; /* JOINs that want another line for the stream */
};

static void offer_the_hole(void *ctx, struct slice request, struct buf *reply)
{
    struct hole *hole = ctx;
    struct join_request q;

    EXPECT_OK(join_read_request(request, &q));
    hole->resumed += q.resume == ROUTER_LIFE;
    EXPECT_OK(join_write_offer(reply, ROUTER_LIFE, slice_str(hole->address),
                               &q, NULL));
}

/* The port of somebody who listens and says nothing. */
static unsigned mute_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    EXPECT(listen(fd, 8) == 0);
    EXPECT(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    return ntohs(at.sin_port);
}

TEST(a_line_that_leads_nowhere_is_changed_for_another_of_the_same_stream)
{
    struct world w = {.options = {.limits = limits}};
    struct hole hole = {.resumed = 0};
    struct bus_server *s;
    struct bus *bus;
    char url[BUS_URL_MAX];
    unsigned port = mute_port();

    snprintf(hole.address, sizeof hole.address, "tcp://127.0.0.1:%u,%u", port,
             port);
    snprintf(url, sizeof url, "ipc://%.90s/hole", test_dir());
    EXPECT_OK(loop_new(&w.loop));
    EXPECT_OK(bus_new(&bus, w.loop));
    EXPECT_OK(bus_server_open(&s, bus, url, JOIN_MESSAGE_MAX, offer_the_hole,
                              &hole));
    gateway_up(&w, "http1", url, NULL);
    EXPECT_SOON(hole.resumed > 0, step(&w));
    EXPECT_INT(w.gateway.downs, 0);
    joiner_close(w.joiner);
    bus_server_close(s);
    bus_drop(bus);
    loop_free(w.loop);
}

/* ---- places ---------------------------------------------------------------- */

TEST(a_directory_too_long_for_sockets_gets_a_private_one)
{
    struct world w;
    char dir[PATH_MAX], url[BUS_URL_MAX], links[BUS_URL_MAX];

    snprintf(dir, sizeof dir, "%s/%0100d/%0100d", test_dir(), 1, 2);
    EXPECT(setenv("XDG_RUNTIME_DIR", test_dir(), 1) == 0);
    w = (struct world){.options = {.dir = dir, .life = ROUTER_LIFE,
                                   .limits = limits}};
    EXPECT_OK(loop_new(&w.loop));
    router_up(&w);
    EXPECT_OK(place_read_url(dir, url));
    EXPECT_STR(url, rendezvous_url(w.rendezvous));
    EXPECT_CONTAINS(url, "/touchline-");
    snprintf(links, sizeof links, "%.*s",
             (int)(strrchr(url, '/') - url) - 6, url + 6);
    expect_mode(links, 0700);
    gateway_up(&w, "http1", url, NULL);
    expect_link_works(&w);
    world_close(&w);
    EXPECT_INT(access(links, F_OK), -1);
    EXPECT_ERR(place_read_url(dir, url), ERR_NOT_FOUND);
}

TEST(a_link_planted_where_the_url_is_written_is_not_followed)
{
    struct world w;
    char url[BUS_URL_MAX];
    char *text;
    size_t len;

    test_write_file(test_path("precious"), SLICE("keep"));
    EXPECT(symlink(test_path("precious"), test_path("router.url.new")) == 0);
    world_open(&w, NULL, NULL);
    EXPECT_OK(place_read_url(test_dir(), url));
    EXPECT_STR(url, rendezvous_url(w.rendezvous));
    text = test_read_file(test_path("precious"), &len);
    EXPECT_SLICE(slice_make(text, len), SLICE("keep"));
    free(text);
    world_close(&w);
}

TEST(a_directory_that_cannot_be_made_is_an_error_in_words)
{
    struct world w = {.options = {.limits = limits}};
    const char *why = "";

    test_write_file(test_path("file"), SLICE("x"));
    w.options.dir = test_path("file/below");
    EXPECT_OK(loop_new(&w.loop));
    EXPECT(rendezvous_open(&w.rendezvous, w.loop, &w.options, &router_ops,
                           &w, &why) < 0);
    EXPECT_CONTAINS(why, "cannot make the directory");
    loop_free(w.loop);
}

TEST(a_url_file_of_nonsense_is_trouble_in_words)
{
    struct world w = {.options = {.limits = limits}};

    test_write_file(test_path("router.url"), SLICE("nonsense\n"));
    EXPECT_OK(loop_new(&w.loop));
    gateway_up(&w, "http1", NULL, NULL);
    EXPECT_SOON(joiner_trouble(w.joiner)[0], step(&w));
    EXPECT_CONTAINS(joiner_trouble(w.joiner), "no address for a router");
    joiner_close(w.joiner);
    loop_free(w.loop);
}
