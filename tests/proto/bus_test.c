#include "proto/bus.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "tests/t/t.h"

enum { LARGEST = 1024 * 1024, CHUNK = 32 * 1024 };

struct end {
    struct bus_line *line;
    unsigned met, lost, got, rooms;
    size_t bytes;
};

static void on_met(void *ctx)
{
    ((struct end *)ctx)->met++;
}

static void on_lost(void *ctx)
{
    ((struct end *)ctx)->lost++;
}

static void on_received(void *ctx, struct slice bytes)
{
    struct end *e = ctx;

    e->got++;
    e->bytes += bytes.len;
}

static void on_room(void *ctx)
{
    ((struct end *)ctx)->rooms++;
}

static const struct bus_line_ops ops = {on_met, on_lost, on_received,
                                        on_room};

struct world {
    struct loop *loop;
    struct bus *bus;
    struct end a, b; /* a listens, b dials */
};

static void step(struct world *w)
{
    EXPECT_OK(loop_step(w->loop, 10 * MILLISECOND));
}

static const char *url(int n)
{
    static char text[BUS_URL_MAX];

    snprintf(text, sizeof text, "ipc://%.90s/l%d", test_dir(), n);
    return text;
}

static void world_open(struct world *w)
{
    *w = (struct world){.loop = NULL};
    EXPECT_OK(loop_new(&w->loop));
    EXPECT_OK(bus_new(&w->bus, w->loop));
}

static void connect_ends(struct world *w, int n)
{
    w->a = w->b = (struct end){.line = NULL};
    EXPECT_OK(bus_line_listen(&w->a.line, w->bus, url(n), LARGEST, &ops,
                              &w->a));
    EXPECT_OK(bus_line_dial(&w->b.line, w->bus, url(n), LARGEST, &ops,
                            &w->b));
}

/* Closing that hangs in NNG shows here: the bus then waits its full second
 * for what is never let go. */
static void world_close(struct world *w)
{
    int64_t from = clock_ns();

    bus_drop(w->bus);
    EXPECT(clock_ns() - from < 900 * MILLISECOND);
    loop_free(w->loop);
}

/* As many as it takes. */
static void send_all(struct end *e, size_t len)
{
    uint8_t *at;

    while (bus_line_begin(e->line, len, &at) == 0) {
        memset(at, 'x', len);
        bus_line_commit(e->line);
    }
}

TEST(a_line_carries_messages_both_ways)
{
    struct world w;
    uint8_t *at;

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_SOON(w.a.met && w.b.met, step(&w));
    EXPECT_OK(bus_line_begin(w.a.line, 3, &at));
    memcpy(at, "abc", 3);
    bus_line_commit(w.a.line);
    EXPECT_OK(bus_line_begin(w.b.line, 5, &at));
    memcpy(at, "abcde", 5);
    bus_line_commit(w.b.line);
    EXPECT_SOON(w.a.got && w.b.got, step(&w));
    EXPECT_INT(w.a.bytes, 5);
    EXPECT_INT(w.b.bytes, 3);
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

TEST(a_full_line_says_when_there_is_room_again)
{
    struct world w;
    uint8_t *at;

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_SOON(w.a.met && w.b.met, step(&w));
    bus_line_pause(w.b.line, true);
    for (int i = 0; i < 1000 && bus_line_room(w.a.line); i++)
        send_all(&w.a, CHUNK);
    EXPECT_SOON(!bus_line_room(w.a.line), send_all(&w.a, CHUNK));
    EXPECT_ERR(bus_line_begin(w.a.line, 1, &at), ERR_AGAIN);
    EXPECT_INT(w.b.got, 0);
    bus_line_pause(w.b.line, false);
    EXPECT_SOON(w.a.rooms > 0 && w.b.got > 0, step(&w));
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

TEST(a_message_above_the_limit_ends_the_line)
{
    struct world w;
    uint8_t *at;

    world_open(&w);
    connect_ends(&w, 1);
    send_all(&w.a, 1);
    send_all(&w.b, 1);
    EXPECT_SOON(w.a.got && w.b.got, step(&w));
    EXPECT_OK(bus_line_begin(w.a.line, LARGEST + 1, &at));
    bus_line_commit(w.a.line);
    EXPECT_SOON(w.b.lost, step(&w));
    EXPECT(w.b.bytes < LARGEST);
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

TEST(a_line_is_for_one_peer_only)
{
    struct world w;
    struct end second = {.line = NULL};

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_SOON(w.a.met && w.b.met, step(&w));
    EXPECT_OK(bus_line_dial(&second.line, w.bus, url(1), LARGEST, &ops,
                            &second));
    EXPECT_SOON(second.lost, step(&w));
    send_all(&w.a, 10);
    EXPECT_SOON(w.b.got, step(&w));
    EXPECT_INT(w.a.lost + w.b.lost, 0);
    bus_line_close(second.line, BUS_END_QUIET);
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

/* Comes, exchanges NNG's first word, and goes. */
static void come_and_go(unsigned port)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x10, 0, 0};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    EXPECT_INT(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL), 8);
    EXPECT_INT(recv(fd, (char[8]){0}, 8, MSG_WAITALL), 8);
    close(fd);
}

/* NNG may tell the end of such a connection before its beginning. */
TEST(a_peer_that_goes_at_once_is_lost)
{
    enum { PEERS = 400, AT_ONCE = 10 };
    struct end ends[AT_ONCE];
    struct world w;
    unsigned ports[2];

    world_open(&w);
    for (int i = 0; i < PEERS; i++) {
        struct end *e = &ends[i % AT_ONCE];

        if (i >= AT_ONCE) {
            EXPECT_SOON(e->lost, step(&w));
            bus_line_close(e->line, BUS_END_NOW);
        }
        *e = (struct end){.line = NULL};
        EXPECT_OK(bus_line_listen(&e->line, w.bus, "tcp://127.0.0.1:0",
                                  LARGEST, &ops, e));
        bus_line_ports(e->line, ports);
        come_and_go(ports[0]);
    }
    for (int i = 0; i < AT_ONCE; i++) {
        EXPECT_SOON(ends[i].lost, step(&w));
        bus_line_close(ends[i].line, BUS_END_NOW);
    }
    world_close(&w);
}

/* What NNG 1.5 does not survive by itself: see QUIET_NS in bus.c. */
TEST(a_line_can_be_closed_while_both_sides_talk)
{
    struct world w;

    world_open(&w);
    for (int round = 0; round < 60; round++) {
        connect_ends(&w, round);
        EXPECT_SOON(w.b.got >= (unsigned)(test_random() % 20), {
            send_all(&w.a, CHUNK);
            send_all(&w.b, CHUNK);
            step(&w);
        });
        bus_line_close(round % 2 ? w.a.line : w.b.line, BUS_END_QUIET);
        bus_line_close(round % 2 ? w.b.line : w.a.line, BUS_END_QUIET);
    }
    world_close(&w);
}

static _Noreturn void talk_for_ever(int round)
{
    struct world w;

    world_open(&w);
    EXPECT_OK(bus_line_dial(&w.b.line, w.bus, url(round), LARGEST, &ops,
                            &w.b));
    for (;;) {
        send_all(&w.b, CHUNK);
        step(&w);
    }
}

/* All peers are there before NNG is: it does not bear a fork. */
TEST(a_peer_may_be_killed_while_both_sides_talk)
{
    enum { ROUNDS = 12 };
    pid_t peers[ROUNDS];
    struct world w;

    for (int i = 0; i < ROUNDS; i++) {
        peers[i] = fork();
        if (peers[i] == 0)
            talk_for_ever(i);
    }
    world_open(&w);
    for (int i = 0; i < ROUNDS; i++) {
        w.a = (struct end){.line = NULL};
        EXPECT_OK(bus_line_listen(&w.a.line, w.bus, url(i), LARGEST, &ops,
                                  &w.a));
        EXPECT_SOON(w.a.got > test_random() % 40, {
            send_all(&w.a, CHUNK);
            step(&w);
        });
        EXPECT(kill(peers[i], SIGKILL) == 0);
        EXPECT_SOON(w.a.lost, {
            send_all(&w.a, CHUNK);
            step(&w);
        });
        bus_line_close(w.a.line, BUS_END_QUIET);
        EXPECT(waitpid(peers[i], NULL, 0) == peers[i]);
    }
    world_close(&w);
}

TEST(what_was_said_last_arrives_when_the_line_lingers)
{
    struct world w;
    uint8_t *at;

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_SOON(w.a.met && w.b.met, step(&w));
    EXPECT_OK(bus_line_begin(w.a.line, 3, &at));
    memcpy(at, "bye", 3);
    bus_line_commit(w.a.line);
    bus_line_close(w.a.line, BUS_END_LINGER);
    EXPECT_SOON(w.b.got == 1, step(&w));
    bus_line_close(w.b.line, BUS_END_NOW);
    world_close(&w);
}

TEST(waiting_without_the_loop_sees_its_line_only)
{
    struct world w;
    int64_t from;

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_SOON(w.a.met && w.b.met, step(&w));
    send_all(&w.a, 10);
    EXPECT_SOON(w.b.got > 0,
                EXPECT_OK(bus_line_wait(w.b.line, clock_ns() + SECOND)));
    EXPECT_INT(w.a.rooms, 0);
    while (bus_line_wait(w.b.line, clock_ns() + 50 * MILLISECOND) == 0)
        ;
    from = clock_ns();
    EXPECT_ERR(bus_line_wait(w.b.line, from + 50 * MILLISECOND),
               ERR_TIMEOUT);
    EXPECT(clock_ns() - from >= 50 * MILLISECOND);
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

TEST(an_address_that_is_taken_or_none_is_told)
{
    struct world w;
    struct end e = {.line = NULL};

    world_open(&w);
    connect_ends(&w, 1);
    EXPECT_ERR(bus_line_listen(&e.line, w.bus, url(1), LARGEST, &ops, &e),
               ERR_BUSY);
    EXPECT_ERR(bus_line_dial(&e.line, w.bus, "carrier pigeon", LARGEST, &ops,
                             &e), ERR_BAD);
    EXPECT(e.line == NULL);
    bus_line_close(w.a.line, BUS_END_QUIET);
    bus_line_close(w.b.line, BUS_END_QUIET);
    world_close(&w);
}

/* ---- server and ask --------------------------------------------------------- */

static void shout(void *ctx, struct slice request, struct buf *reply)
{
    unsigned *asked = ctx;

    (*asked)++;
    buf_add(reply, request);
    buf_add_byte(reply, '!');
}

struct heard {
    struct buf text;
    struct bus_ask *ask;
    unsigned times;
    int rc;
};

static void on_heard(void *ctx, int rc, struct slice reply)
{
    struct heard *h = ctx;

    h->rc = rc;
    buf_add(&h->text, reply);
    if (rc == 0 && ++h->times == 1)
        EXPECT_OK(bus_ask_again(h->ask, SLICE("again")));
}

TEST(a_server_answers_and_can_be_asked_again)
{
    struct world w;
    struct bus_server *s;
    struct heard h = {.rc = 0};
    unsigned asked = 0;

    world_open(&w);
    EXPECT_OK(bus_server_open(&s, w.bus, url(1), 1000, shout, &asked));
    EXPECT_OK(bus_ask_open(&h.ask, w.bus, url(1), SLICE("ho"), 2000,
                           on_heard, &h));
    EXPECT_SOON(h.times == 2, step(&w));
    EXPECT_INT(asked, 2);
    EXPECT_SLICE(buf_slice(&h.text), SLICE("ho!again!"));
    buf_fini(&h.text);
    bus_ask_close(h.ask);
    bus_server_close(s);
    world_close(&w);
}

TEST(nobody_who_answers_is_a_timeout)
{
    struct world w;
    struct heard h = {.rc = 0};

    world_open(&w);
    EXPECT_OK(bus_ask_open(&h.ask, w.bus, url(1), SLICE("ho"), 100, on_heard,
                           &h));
    EXPECT_SOON(h.rc < 0, step(&w));
    EXPECT_ERR(h.rc, ERR_TIMEOUT);
    bus_ask_close(h.ask);
    world_close(&w);
}

/* How far the wall clock is set forward, for NNG too. */
static atomic_int wall_ahead_s;

int clock_gettime(clockid_t which, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, which, t);

    if (which == CLOCK_REALTIME)
        t->tv_sec += atomic_load(&wall_ahead_s);
    return rc;
}

TEST(a_timeout_does_not_wait_for_a_wall_clock_that_was_put_back)
{
    struct world w;
    struct heard h = {.rc = 0};

    world_open(&w);
    atomic_store(&wall_ahead_s, 3600);
    EXPECT_OK(bus_ask_open(&h.ask, w.bus, url(1), SLICE("ho"), 100, on_heard,
                           &h));
    atomic_store(&wall_ahead_s, 0);
    EXPECT_SOON(h.rc < 0, step(&w));
    EXPECT_ERR(h.rc, ERR_TIMEOUT);
    bus_ask_close(h.ask);
    world_close(&w);
}

TEST(a_request_above_the_limit_is_not_answered)
{
    static const uint8_t request[2000];
    struct world w;
    struct bus_server *s;
    struct heard h = {.rc = 0};
    unsigned asked = 0;

    world_open(&w);
    EXPECT_OK(bus_server_open(&s, w.bus, url(1), 1000, shout, &asked));
    EXPECT_OK(bus_ask_open(&h.ask, w.bus, url(1),
                           slice_make(request, sizeof request), 300,
                           on_heard, &h));
    EXPECT_SOON(h.rc < 0, step(&w));
    EXPECT_INT(asked, 0);
    bus_ask_close(h.ask);
    bus_server_close(s);
    world_close(&w);
}

TEST(a_closed_server_gives_its_address_back)
{
    struct world w;
    struct bus_server *s;
    unsigned asked = 0;

    world_open(&w);
    for (int i = 0; i < 20; i++) {
        EXPECT_OK(bus_server_open(&s, w.bus, url(1), 1000, shout, &asked));
        EXPECT_OK(bus_server_reopen(s, url(1)));
        bus_server_close(s);
    }
    world_close(&w);
}

/* A connection that says who it is, as NNG does, and then nothing. */
static int idle_connection(unsigned port)
{
    static const uint8_t req0[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    EXPECT(fd >= 0);
    EXPECT_INT(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    EXPECT_INT(write(fd, req0, sizeof req0), sizeof req0);
    return fd;
}

static unsigned closed_among(const int *fds, size_t count)
{
    unsigned n = 0;
    char bytes[64];

    for (size_t i = 0; i < count; i++)
        while (1) {
            ssize_t got = recv(fds[i], bytes, sizeof bytes, MSG_DONTWAIT);

            n += got == 0 || (got < 0 && errno == ECONNRESET);
            if (got <= 0)
                break;
        }
    return n;
}

TEST(a_crowd_that_asks_nothing_makes_way)
{
    enum { EXTRA = 20, CROWD = BUS_GUESTS_MAX + EXTRA };
    struct world w;
    struct bus_server *s;
    struct heard h = {.rc = 0};
    unsigned asked = 0;
    int fds[CROWD];
    char at[64];

    world_open(&w);
    EXPECT_OK(bus_server_open(&s, w.bus, "tcp://127.0.0.1:0", 1000, shout,
                              &asked));
    for (size_t i = 0; i < CROWD; i++)
        fds[i] = idle_connection(bus_server_port(s));
    EXPECT_SOON(closed_among(fds, CROWD) >= EXTRA, step(&w));
    EXPECT(bus_refused(w.bus, BUS_REFUSED_CROWD) >= EXTRA);
    snprintf(at, sizeof at, "tcp://127.0.0.1:%u", bus_server_port(s));
    EXPECT_OK(bus_ask_open(&h.ask, w.bus, at, SLICE("ho"), 8000, on_heard,
                           &h));
    EXPECT_SOON(h.times == 2, step(&w));
    for (size_t i = 0; i < CROWD; i++)
        close(fds[i]);
    buf_fini(&h.text);
    bus_ask_close(h.ask);
    bus_server_close(s);
    world_close(&w);
}

/* In a process of its own, begun before NNG is: as nobody, at these paths,
 * when a byte has come. Its exit code says how many let it in and kept it. */
static pid_t nobody_connects(int when, const char *const *paths, size_t count)
{
    pid_t pid = fork();
    int kept = 0;
    char c;

    if (pid)
        return pid;
    if (setgid(65534) < 0 || setuid(65534) < 0 || read(when, &c, 1) != 1)
        _exit(100);
    for (size_t i = 0; i < count; i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        struct timeval most = {.tv_sec = 10};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        static const uint8_t sp[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
        char greeting[8];

        snprintf(to.sun_path, sizeof to.sun_path, "%.100s", paths[i]);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
            _exit(101);
        (void)!write(fd, sp, sizeof sp);
        while (recv(fd, greeting, sizeof greeting, 0) > 0)
            ;
        kept += errno == EAGAIN || errno == EWOULDBLOCK;
    }
    _exit(kept);
}

TEST(another_user_is_turned_away_though_the_socket_lets_him_in)
{
    const char *paths[] = {test_path("server")};
    struct world w;
    struct bus_server *s;
    unsigned asked = 0;
    int when[2], status = -1;
    char at[BUS_URL_MAX];
    pid_t child;

    if (geteuid() != 0) {
        printf("     skipped: only root can become another user\n");
        return;
    }
    EXPECT_INT(pipe(when), 0);
    child = nobody_connects(when[0], paths, 1);
    world_open(&w);
    snprintf(at, sizeof at, "ipc://%.100s", paths[0]);
    EXPECT_OK(bus_server_open(&s, w.bus, at, 1000, shout, &asked));
    EXPECT_INT(chmod(paths[0], 0666), 0);
    EXPECT_INT(chmod(test_dir(), 0711), 0);
    EXPECT_INT(write(when[1], "!", 1), 1);
    EXPECT_SOON(waitpid(child, &status, WNOHANG) == child, step(&w));
    EXPECT_INT(status, 0);
    EXPECT_INT(bus_refused(w.bus, BUS_REFUSED_USER), 1);
    EXPECT_INT(asked, 0);
    bus_server_close(s);
    world_close(&w);
}

/* ---- threads ------------------------------------------------------------------- */

/* Nothing else is between the two: one that is seen by chance orders nothing. */
static atomic_bool first_has_begun;

static void on_nothing(void *ctx, int rc, struct slice reply)
{
    UNUSED(ctx);
    UNUSED(rc);
    UNUSED(reply);
}

static void ask_nobody(void)
{
    char nobody[BUS_URL_MAX];
    struct bus_ask *ask;
    struct loop *loop;
    struct bus *bus;

    snprintf(nobody, sizeof nobody, "ipc://%.90s/nobody", test_dir());
    EXPECT_OK(loop_new(&loop));
    EXPECT_OK(bus_new(&bus, loop));
    EXPECT_OK(bus_ask_open(&ask, bus, nobody, SLICE("ho"), 1000, on_nothing,
                           NULL));
    atomic_store_explicit(&first_has_begun, true, memory_order_relaxed);
    bus_ask_close(ask);
    bus_drop(bus);
    loop_free(loop);
}

static void *begin_second(void *arg)
{
    UNUSED(arg);
    EXPECT_SOON(atomic_load_explicit(&first_has_begun, memory_order_relaxed),
                (void)sched_yield());
    ask_nobody();
    return NULL;
}

/* As the workers of a gateway do. ThreadSanitizer sees what is wrong with it,
 * others have bad luck, one day. */
TEST(a_second_thread_may_begin_when_it_likes)
{
    pthread_t second;

    EXPECT_OK(pthread_create(&second, NULL, begin_second, NULL));
    ask_nobody();
    EXPECT_OK(pthread_join(second, NULL));
}
