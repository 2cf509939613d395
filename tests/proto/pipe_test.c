#include "proto/pipe.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/err.h"
#include "proto/bus.h"
#include "tests/proto/ends.h"
#include "tests/proto/relay.h"
#include "tests/t/t.h"

enum { SESSION = 0x5e5510 };

static const struct pipe_limits limits = {.batch = 4 * MIB, .queue = 8 * MIB};

/* The one who listens is the router's end, and stands in for the rendezvous:
 * when the other end's line is lost it listens again. */
struct world {
    struct loop *loop;
    struct bus *bus;
    struct relay *up, *down; /* NULL: ipc, nothing in between */
    struct end router, gateway;
    bool mend;    /* give lost lines a new one */
    bool release; /* which is not held any more */
};

static void step(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 20 * MILLISECOND));
}

static void connect_ends(struct world *w, uint64_t session)
{
    static unsigned n;
    char url[BUS_URL_MAX];

    unsigned ports[2];

    if (w->up) {
        EXPECT_OK(pipe_listen(w->router.pipe, session,
                              "tcp://127.0.0.1:0"));
        pipe_ports(w->router.pipe, ports);
        snprintf(url, sizeof url, "tcp://127.0.0.1:%u,%u",
                 relay_target(w->up, ports[0]),
                 relay_target(w->down, ports[1]));
    } else {
        snprintf(url, sizeof url, "ipc://%.80s/line-%u", test_dir(), ++n);
        EXPECT_OK(pipe_listen(w->router.pipe, session, url));
    }
    EXPECT_OK(pipe_dial(w->gateway.pipe, session, url));
}

static void cut(struct world *w)
{
    relay_cut(w->up);
    relay_cut(w->down);
}

static void hold(struct world *w, bool hold)
{
    relay_hold(w->up, hold);
    relay_hold(w->down, hold);
}

/* Where it listens: where a stranger can come, and whether anybody can. */
static unsigned first_port(struct pipe *p)
{
    unsigned ports[2];

    pipe_ports(p, ports);
    return ports[0];
}

static void on_lost(void *ctx)
{
    struct world *w = ctx;

    w->gateway.lost++;
    if (w->release)
        hold(w, w->gateway.lost < 2);
    if (w->mend && pipe_session(w->router.pipe))
        connect_ends(w, SESSION);
}

static void on_nothing(void *ctx)
{
    UNUSED(ctx);
}

static const struct pipe_owner gateway_owner = {
    .line_lost = on_lost, .fallen = on_nothing, .freed = on_nothing,
};

static void world_open(struct world *w, const struct pipe_limits *l,
                       bool relayed, relay_fn *fn, void *ctx)
{
    *w = (struct world){.mend = true};
    EXPECT_OK(loop_new(&w->loop));
    EXPECT_OK(bus_new(&w->bus, w->loop));
    if (relayed) {
        w->up = relay_new(w->loop, fn, ctx);
        w->down = relay_new(w->loop, fn, ctx);
    }
    EXPECT_OK(pipe_new(&w->router.pipe, w->bus, l));
    EXPECT_OK(pipe_new(&w->gateway.pipe, w->bus, l));
    pipe_set_ops(w->router.pipe, &end_ops, &w->router);
    pipe_set_ops(w->gateway.pipe, &end_ops, &w->gateway);
    pipe_set_owner(w->gateway.pipe, &gateway_owner, w);
    connect_ends(w, SESSION);
    EXPECT_SOON(w->router.ups && w->gateway.ups, step(w));
}

static void world_close(struct world *w)
{
    pipe_free(w->router.pipe);
    pipe_free(w->gateway.pipe);
    relay_free(w->up);
    relay_free(w->down);
    bus_drop(w->bus);
    loop_free(w->loop);
}

static uint64_t heard_by_both(const struct world *w)
{
    return w->gateway.heard + w->router.heard;
}

/* However much it is: what must not take long is the next of it. */
static void expect_all_heard(struct world *w)
{
    while (heard_by_both(w) < w->router.said + w->gateway.said) {
        uint64_t before = heard_by_both(w);

        EXPECT_SOON(heard_by_both(w) != before, step(w));
    }
    EXPECT_INT(w->gateway.heard, w->router.said);
    EXPECT_INT(w->router.heard, w->gateway.said);
    EXPECT_INT(w->gateway.wrong, 0);
    EXPECT_INT(w->router.wrong, 0);
    EXPECT_INT(w->gateway.downs, 0);
    EXPECT_INT(w->router.downs, 0);
}

TEST(frames_go_both_ways_in_order)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    end_say_many(&w.router, 1000, 100);
    end_say_many(&w.gateway, 1000, 10);
    expect_all_heard(&w);
    world_close(&w);
}

TEST(what_is_said_in_one_turn_leaves_in_one_batch)
{
    struct world w;
    struct pipe_figures before, after;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_figures(w.router.pipe, &before);
    end_say_many(&w.router, 100, 50);
    expect_all_heard(&w);
    pipe_figures(w.router.pipe, &after);
    EXPECT(after.batches_out - before.batches_out <= 2); /* and a heartbeat */
    world_close(&w);
}

/* --- frames that may wait --- */

static bool may_wait;

static bool gathers(void *ctx, uint8_t code)
{
    UNUSED(ctx);
    return may_wait && code == ENDS_FRAME;
}

static struct pipe_ops gathering_ops(void)
{
    struct pipe_ops ops = end_ops;

    ops.gathers = gathers;
    may_wait = true;
    return ops;
}

static uint64_t batches_out(const struct pipe *p)
{
    struct pipe_figures f;

    pipe_figures(p, &f);
    return f.batches_out;
}

/* Each is said in a turn of its own; as many batches as times to wait went by. */
TEST(frames_that_may_wait_gather_and_the_first_does_not_wait)
{
    struct pipe_ops ops = gathering_ops();
    struct world w;
    int64_t begun;
    uint64_t before, waits;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_set_ops(w.gateway.pipe, &ops, &w.gateway);
    before = batches_out(w.gateway.pipe);
    begun = clock_ns();
    for (int i = 0; i < 50; i++) {
        end_say(&w.gateway, 10);
        EXPECT_OK(loop_step(w.loop, 0));
        EXPECT(batches_out(w.gateway.pipe) > before);
    }
    expect_all_heard(&w);
    waits = (uint64_t)((clock_ns() - begun) / (PIPE_GATHER_MS * MILLISECOND));
    /* and a word that is due, or a heartbeat */
    EXPECT(batches_out(w.gateway.pipe) - before <= 2 + 2 * (waits + 1));
    world_close(&w);
}

TEST(what_may_not_wait_takes_along_what_does)
{
    struct pipe_ops ops = gathering_ops();
    struct world w;
    uint64_t before;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_set_ops(w.gateway.pipe, &ops, &w.gateway);
    end_say(&w.gateway, 10);
    EXPECT_OK(loop_step(w.loop, 0));
    end_say(&w.gateway, 10);
    may_wait = false;
    before = batches_out(w.gateway.pipe);
    end_say(&w.gateway, 10);
    EXPECT_OK(loop_step(w.loop, 0));
    EXPECT(batches_out(w.gateway.pipe) > before);
    expect_all_heard(&w);
    world_close(&w);
}

TEST(what_waits_is_sent_before_an_end_that_waits_for_nothing)
{
    struct pipe_ops ops = gathering_ops();
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_set_ops(w.gateway.pipe, &ops, &w.gateway);
    end_say(&w.gateway, 10);
    EXPECT_OK(loop_step(w.loop, 0));
    end_say(&w.gateway, 10);
    pipe_flush(w.gateway.pipe, 0);
    EXPECT_SOON(w.router.heard == 2, step(&w));
    world_close(&w);
}

TEST(a_frame_larger_than_a_batch_travels_alone)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    end_say(&w.router, 100);
    end_say(&w.router, 1 * MIB);
    end_say(&w.router, 100);
    end_say(&w.router, 40 * 1024);
    expect_all_heard(&w);
    world_close(&w);
}

TEST(a_frame_larger_than_the_limit_takes_the_pipe_down)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    end_say(&w.router, 4 * MIB + 1);
    EXPECT(!pipe_is_up(w.router.pipe));
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    EXPECT_CONTAINS(w.router.why, "larger than a batch");
    EXPECT_CONTAINS(w.gateway.why, "left");
    world_close(&w);
}

TEST(acknowledgements_empty_the_queue)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    end_say_many(&w.router, 1000, 1000);
    EXPECT(pipe_queued(w.router.pipe) >= 1000 * 1000);
    EXPECT_SOON(pipe_queued(w.router.pipe) == 0, step(&w));
    world_close(&w);
}

TEST(a_peer_that_takes_nothing_fills_the_queue_and_draining_is_told)
{
    static const struct pipe_limits small = {.batch = MIB, .queue = 512 * 1024};
    struct world w;

    world_open(&w, &small, false, NULL, NULL);
    pipe_pause(w.gateway.pipe, true);
    while (!pipe_full(w.router.pipe)) {
        end_say(&w.router, 1000);
        EXPECT_OK(loop_step(w.loop, 0));
    }
    EXPECT(w.gateway.heard < w.router.said);
    EXPECT_INT(w.router.drains, 0);
    pipe_pause(w.gateway.pipe, false);
    EXPECT_SOON(w.router.drains == 1, step(&w));
    expect_all_heard(&w);
    world_close(&w);
}

TEST(who_ignores_the_full_queue_loses_the_pipe_at_twice_the_limit)
{
    static const struct pipe_limits small = {.batch = MIB, .queue = 128 * 1024};
    struct world w;

    world_open(&w, &small, false, NULL, NULL);
    pipe_pause(w.gateway.pipe, true);
    while (pipe_is_up(w.router.pipe)) {
        end_say(&w.router, 1000);
        EXPECT(pipe_queued(w.router.pipe) < 4 * small.queue);
    }
    EXPECT_SOON(w.router.downs == 1, step(&w));
    EXPECT_CONTAINS(w.router.why, "does not take");
    world_close(&w);
}

TEST(seq_travels_with_the_batches_and_the_heartbeats)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_set_seq(w.router.pipe, 7);
    end_say(&w.router, 10);
    EXPECT_SOON(w.gateway.seq == 7, step(&w));
    EXPECT_INT(w.gateway.heard_at_seq, 1);
    pipe_set_seq(w.router.pipe, 9); /* nothing to deliver below it */
    EXPECT_SOON(w.gateway.seq == 9, step(&w));
    world_close(&w);
}

TEST(a_quiet_pipe_stays_up_by_heartbeats)
{
    struct world w;
    int64_t until;

    world_open(&w, &limits, false, NULL, NULL);
    until = clock_ns() + (PIPE_DEAD_MS + PIPE_HEARTBEAT_MS) * MILLISECOND;
    while (clock_ns() < until)
        step(&w);
    EXPECT(pipe_is_up(w.router.pipe) && pipe_is_up(w.gateway.pipe));
    world_close(&w);
}

TEST(a_cut_line_is_mended_without_a_frame_lost)
{
    struct world w;
    struct pipe_figures f;

    world_open(&w, &limits, true, NULL, NULL);
    for (int round = 0; round < 5; round++) {
        end_say_many(&w.router, 3000, 200);
        end_say_many(&w.gateway, 500, 200);
        step(&w);
        cut(&w);
    }
    end_say(&w.router, 8);
    expect_all_heard(&w);
    pipe_figures(w.gateway.pipe, &f);
    EXPECT(f.reconnects >= 1);
    EXPECT_INT(w.router.ups, 1);
    EXPECT_INT(w.gateway.ups, 1);
    world_close(&w);
}

/* Everything that can happen to a message, by a seeded die. */
/* ctx: bool, true once the line shall be good again. */
static enum relay_fate mishap(void *ctx, bool to_server, uint64_t number)
{
    const bool *calm = ctx;

    UNUSED(to_server);
    if (number < 4 || *calm)
        return RELAY_PASS;
    switch (test_random() % 48) {
    case 0:
    case 1:
        return RELAY_LOSE;
    case 2:
        return RELAY_TWICE;
    case 3:
        return RELAY_SPOIL;
    default:
        return RELAY_PASS;
    }
}

TEST(lost_repeated_and_spoilt_batches_are_repaired)
{
    struct world w;
    struct pipe_figures r, g;
    bool calm = false;

    world_open(&w, &limits, true, mishap, &calm);
    for (int i = 0; i < 60; i++) {
        end_say_many(&w.router, 50, 1000);
        end_say_many(&w.gateway, 10, 500);
        EXPECT_OK(loop_step(w.loop, MILLISECOND));
    }
    calm = true;
    expect_all_heard(&w);
    pipe_figures(w.gateway.pipe, &g);
    pipe_figures(w.router.pipe, &r);
    EXPECT(r.resent + g.resent > 0);
    EXPECT(r.holes + g.holes + r.rejected + g.rejected > 0);
    world_close(&w);
}

static enum relay_fate lose_the_second_word(void *ctx, bool to_server,
                                            uint64_t number)
{
    bool *armed = ctx;

    UNUSED(number);
    if (to_server || !*armed)
        return RELAY_PASS;
    *armed = false;
    return RELAY_LOSE;
}

TEST(a_lost_last_batch_is_found_by_the_next_heartbeat)
{
    struct world w;
    bool armed = false;

    world_open(&w, &limits, true, lose_the_second_word, &armed);
    end_say(&w.router, 10);
    expect_all_heard(&w);
    armed = true;
    end_say(&w.router, 10);
    expect_all_heard(&w);
    EXPECT(!armed);
    EXPECT_INT(w.gateway.lost, 0); /* on the same line */
    world_close(&w);
}

TEST(a_peer_silent_for_three_seconds_is_dead)
{
    struct world w;
    int64_t from;

    world_open(&w, &limits, true, NULL, NULL);
    w.mend = false;
    hold(&w, true);
    from = clock_ns();
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    EXPECT(clock_ns() - from >= (PIPE_DEAD_MS - 1100) * MILLISECOND);
    EXPECT_CONTAINS(w.router.why, "silent");
    world_close(&w);
}

TEST(a_line_that_nobody_mends_takes_the_pipe_down)
{
    struct world w;

    world_open(&w, &limits, true, NULL, NULL);
    w.mend = false;
    cut(&w);
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    EXPECT_INT(w.gateway.lost, 1);
    world_close(&w);
}

/* The first loss is told; that the next line brings nothing is found out. */
TEST(a_line_that_never_brings_a_word_is_given_up_for_another)
{
    struct world w;

    world_open(&w, &limits, true, NULL, NULL);
    w.release = true;
    hold(&w, true);
    cut(&w);
    end_say(&w.router, 10);
    end_say(&w.gateway, 10);
    expect_all_heard(&w);
    EXPECT(w.gateway.lost >= 2);
    world_close(&w);
}

TEST(a_line_that_falls_silent_is_replaced_before_the_peer_is_dead)
{
    struct world w;

    world_open(&w, &limits, true, NULL, NULL);
    w.release = true;
    w.gateway.lost = 1;
    hold(&w, true);
    end_say(&w.router, 10);
    end_say(&w.gateway, 10);
    expect_all_heard(&w);
    EXPECT(w.gateway.lost >= 2);
    world_close(&w);
}

TEST(a_goodbye_takes_the_other_end_down)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    pipe_free(w.router.pipe);
    w.router.pipe = NULL;
    EXPECT_SOON(w.gateway.downs == 1, step(&w));
    EXPECT_CONTAINS(w.gateway.why, "left");
    world_close(&w);
}

TEST(a_pipe_comes_up_again_under_another_session)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    end_say_many(&w.router, 10, 10);
    expect_all_heard(&w);
    pipe_break(w.router.pipe, "begun anew");
    EXPECT_INT(w.router.downs, 0);
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    connect_ends(&w, SESSION + 1);
    EXPECT_SOON(w.router.ups == 2 && w.gateway.ups == 2, step(&w));
    w.router.downs = w.gateway.downs = 0;
    end_say_many(&w.router, 10, 10);
    expect_all_heard(&w);
    world_close(&w);
}

TEST(a_bad_frame_is_the_peers_fault)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    (void)pipe_frame(w.gateway.pipe, ENDS_BAD);
    pipe_frame_end(w.gateway.pipe);
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    EXPECT_CONTAINS(w.router.why, "bad");
    world_close(&w);
}

TEST(a_frame_there_is_no_memory_for_is_not_the_peers_fault)
{
    struct world w;

    world_open(&w, &limits, false, NULL, NULL);
    (void)pipe_frame(w.gateway.pipe, ENDS_NO_ROOM);
    pipe_frame_end(w.gateway.pipe);
    EXPECT_SOON(w.router.downs && w.gateway.downs, step(&w));
    EXPECT_CONTAINS(w.router.why, "out of memory");
    world_close(&w);
}

TEST(flush_waits_for_the_acknowledgement)
{
    struct world w;
    int status;
    pid_t child;
    int from_child[2];
    char url[BUS_URL_MAX];

    /* The other end is a process of its own: flush does not turn the loop. */
    EXPECT(pipe(from_child) == 0);
    snprintf(url, sizeof url, "ipc://%.80s/flush", test_dir());
    child = fork();
    if (child == 0) {
        w = (struct world){.mend = false};
        EXPECT_OK(loop_new(&w.loop));
        EXPECT_OK(bus_new(&w.bus, w.loop));
        EXPECT_OK(pipe_new(&w.gateway.pipe, w.bus, &limits));
        pipe_set_ops(w.gateway.pipe, &end_ops, &w.gateway);
        EXPECT_OK(pipe_dial(w.gateway.pipe, SESSION, url));
        EXPECT_SOON(w.gateway.downs, step(&w));
        EXPECT_INT(write(from_child[1], &w.gateway.heard,
                         sizeof w.gateway.heard), sizeof w.gateway.heard);
        world_close(&w);
        _exit(0);
    }
    w = (struct world){.mend = false};
    EXPECT_OK(loop_new(&w.loop));
    EXPECT_OK(bus_new(&w.bus, w.loop));
    EXPECT_OK(pipe_new(&w.router.pipe, w.bus, &limits));
    pipe_set_ops(w.router.pipe, &end_ops, &w.router);
    EXPECT_OK(pipe_listen(w.router.pipe, SESSION, url));
    EXPECT_SOON(w.router.ups, step(&w));
    end_say_many(&w.router, 5000, 300);
    pipe_flush(w.router.pipe, 5000);
    EXPECT_INT(pipe_queued(w.router.pipe), 0);
    world_close(&w);
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT_INT(status, 0);
    uint64_t heard = 0;
    EXPECT_INT(read(from_child[0], &heard, sizeof heard), sizeof heard);
    EXPECT_INT(heard, 5000);
}

TEST(flush_gives_up)
{
    struct world w;
    int64_t from;

    world_open(&w, &limits, true, NULL, NULL);
    hold(&w, true);
    end_say_many(&w.router, 10, 10);
    from = clock_ns();
    pipe_flush(w.router.pipe, 200);
    EXPECT(clock_ns() - from >= 200 * MILLISECOND);
    EXPECT(pipe_queued(w.router.pipe) > 0);
    world_close(&w);
}

/* F5, F6: this process is stopped for longer than a peer may be silent. */
TEST(who_was_stopped_hears_first_and_judges_then)
{
    struct world w = {.mend = false};
    int ready[2], status;
    char url[BUS_URL_MAX], c;
    pid_t child;

    EXPECT(pipe(ready) == 0);
    snprintf(url, sizeof url, "ipc://%.80s/stopped", test_dir());
    child = fork();
    if (child == 0) { /* stops itself; its peer goes on for as long */
        bool stopped = false;

        EXPECT_OK(loop_new(&w.loop));
        EXPECT_OK(bus_new(&w.bus, w.loop));
        EXPECT_OK(pipe_new(&w.gateway.pipe, w.bus, &limits));
        pipe_set_ops(w.gateway.pipe, &end_ops, &w.gateway);
        EXPECT_OK(pipe_dial(w.gateway.pipe, SESSION, url));
        EXPECT_SOON(w.gateway.ups, step(&w));
        EXPECT_INT(write(ready[1], "u", 1), 1);
        while (w.gateway.heard < 2) {
            if (!stopped) {
                stopped = true;
                raise(SIGSTOP);
            }
            step(&w);
        }
        _exit(w.gateway.downs == 0 ? 0 : 1);
    }
    EXPECT_OK(loop_new(&w.loop));
    EXPECT_OK(bus_new(&w.bus, w.loop));
    EXPECT_OK(pipe_new(&w.router.pipe, w.bus, &limits));
    pipe_set_ops(w.router.pipe, &end_ops, &w.router);
    EXPECT_OK(pipe_listen(w.router.pipe, SESSION, url));
    EXPECT_SOON(w.router.ups, step(&w));
    EXPECT_INT(read(ready[0], &c, 1), 1);
    EXPECT(waitpid(child, &status, WUNTRACED) == child);
    EXPECT(WIFSTOPPED(status));
    /* Not deaf itself: it only does not judge. */
    pipe_pause(w.router.pipe, true);
    end_say(&w.router, 10);
    for (int64_t until = clock_ns() + 4 * SECOND; clock_ns() < until;)
        step(&w);
    EXPECT_INT(w.router.downs, 0);
    end_say(&w.router, 10);
    step(&w);
    EXPECT(kill(child, SIGCONT) == 0);
    pipe_pause(w.router.pipe, false);
    for (status = -1; waitpid(child, &status, WNOHANG) == 0;)
        step(&w);
    EXPECT_INT(status, 0);
    pipe_free(w.router.pipe);
    bus_drop(w.bus);
    loop_free(w.loop);
}

static int dial_tcp(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* Valid NNG, and nothing of ours: a header of the wrong session, noise, a
 * length beyond every limit, half a message and no more. */
struct garbage {
    struct slice bytes;
    bool no_more;
};

static int send_garbage(unsigned port, const struct garbage *g)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x10, 0, 0};
    int fd = dial_tcp(port);

    EXPECT_INT(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), 8);
    EXPECT_INT(send(fd, g->bytes.ptr, g->bytes.len, MSG_NOSIGNAL),
               g->bytes.len);
    if (g->no_more)
        EXPECT(shutdown(fd, SHUT_WR) == 0);
    return fd;
}

TEST(garbage_is_dropped_and_counted_and_the_peer_gets_in)
{
    static const uint8_t noise[8 + 48] = {0, 0, 0, 0, 0, 0, 0, 48, 'T', 'L'};
    static const uint8_t endless[8] = {0x7f, 0xff};
    static const uint8_t half[8 + 2] = {0, 0, 0, 0, 0, 0, 0, 48, 'T', 'L'};
    static const uint8_t empty[8] = {0};
    static const struct garbage garbage[] = {
        {{noise, sizeof noise}, false}, {{endless, sizeof endless}, false},
        {{half, sizeof half}, true}, {{empty, sizeof empty}, false},
    };
    struct world w = {.mend = false};
    struct pipe_figures f;
    char url[BUS_URL_MAX];
    unsigned ports[2];

    EXPECT_OK(loop_new(&w.loop));
    EXPECT_OK(bus_new(&w.bus, w.loop));
    EXPECT_OK(pipe_new(&w.router.pipe, w.bus, &limits));
    EXPECT_OK(pipe_new(&w.gateway.pipe, w.bus, &limits));
    pipe_set_ops(w.router.pipe, &end_ops, &w.router);
    pipe_set_ops(w.gateway.pipe, &end_ops, &w.gateway);
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        int fd;

        EXPECT_OK(pipe_listen(w.router.pipe, SESSION, "tcp://127.0.0.1:0"));
        fd = send_garbage(first_port(w.router.pipe), &garbage[i]);
        EXPECT_SOON(first_port(w.router.pipe) == 0, step(&w)); /* dropped */
        EXPECT_INT(w.router.ups + w.router.downs, 0);
        close(fd);
    }
    pipe_figures(w.router.pipe, &f);
    EXPECT_INT(f.rejected, 2); /* the whole messages */
    EXPECT_OK(pipe_listen(w.router.pipe, SESSION, "tcp://127.0.0.1:0"));
    pipe_ports(w.router.pipe, ports);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%u,%u", ports[0], ports[1]);
    EXPECT_OK(pipe_dial(w.gateway.pipe, SESSION, url));
    EXPECT_SOON(w.router.ups && w.gateway.ups, step(&w));
    world_close(&w);
}

TEST(a_mute_stranger_on_the_line_keeps_nobody_out)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x10, 0, 0};
    struct world w;
    unsigned ports[2];
    int fd;

    world_open(&w, &limits, true, NULL, NULL);
    EXPECT_OK(pipe_listen(w.router.pipe, SESSION, "tcp://127.0.0.1:0"));
    pipe_ports(w.router.pipe, ports);
    fd = dial_tcp(ports[0]);
    EXPECT_INT(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), 8);
    EXPECT_INT(recv(fd, (char[8]){0}, 8, MSG_WAITALL), 8);
    relay_target(w.up, ports[0]); /* taken */
    relay_target(w.down, ports[1]);
    cut(&w);
    end_say(&w.router, 10);
    expect_all_heard(&w);
    close(fd);
    world_close(&w);
}

TEST(nobody_comes)
{
    struct world w = {.mend = false};

    EXPECT_OK(loop_new(&w.loop));
    EXPECT_OK(bus_new(&w.bus, w.loop));
    EXPECT_OK(pipe_new(&w.router.pipe, w.bus, &limits));
    pipe_set_ops(w.router.pipe, &end_ops, &w.router);
    EXPECT_OK(pipe_listen(w.router.pipe, SESSION, "tcp://127.0.0.1:0"));
    EXPECT_SOON(w.router.downs == 1, step(&w));
    EXPECT_CONTAINS(w.router.why, "did not come");
    EXPECT_INT(w.router.ups, 0);
    pipe_free(w.router.pipe);
    bus_drop(w.bus);
    loop_free(w.loop);
}

/* A callback may free the pipe that calls it. */
static void free_in_down(void *ctx, const char *why)
{
    struct world *w = ctx;

    UNUSED(why);
    pipe_free(w->gateway.pipe);
    w->gateway.pipe = NULL;
}

static void ignore_end(void *ctx, uint64_t seq)
{
    UNUSED(ctx);
    UNUSED(seq);
}

static int free_in_frame(void *ctx, uint8_t code, struct slice body)
{
    UNUSED(code);
    UNUSED(body);
    free_in_down(ctx, "");
    return 0;
}

static const struct pipe_ops freeing_ops = {
    .frame = free_in_frame, .batch_end = ignore_end, .up = on_nothing,
    .down = free_in_down,
};

TEST(a_callback_may_free_its_pipe)
{
    struct world w;

    for (int in_frame = 0; in_frame < 2; in_frame++) {
        world_open(&w, &limits, false, NULL, NULL);
        pipe_set_ops(w.gateway.pipe, &freeing_ops, &w);
        if (in_frame)
            end_say_many(&w.router, 3, 10);
        else
            pipe_break(w.router.pipe, "for the test");
        EXPECT_SOON(w.gateway.pipe == NULL, step(&w));
        world_close(&w);
    }
}
