#include "proto/notify.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/t/t.h"

/* Who listens at address, as systemd would: a path, or @NAME. */
static int listener(const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(address);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    memcpy(un.sun_path, address, len);
    if (address[0] == '@')
        un.sun_path[0] = '\0';
    CHECK(bind(fd, (const struct sockaddr *)&un,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0);
    return fd;
}

/* The next datagram; "" when there is none. */
static const char *heard(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);

    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static struct notify notify_of(const char *address, const char *usec,
                               const char *pid)
{
    struct notify n;

    if (address)
        setenv("NOTIFY_SOCKET", address, 1);
    if (usec)
        setenv("WATCHDOG_USEC", usec, 1);
    if (pid)
        setenv("WATCHDOG_PID", pid, 1);
    notify_open(&n);
    return n;
}

TEST(it_speaks_to_a_path_and_to_an_abstract_name)
{
    char name[64];
    const char *at[] = {test_path("notify"), name};

    snprintf(name, sizeof name, "@touchline-test-%d", (int)getpid());
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        int fd = listener(at[i]);
        struct notify n = notify_of(at[i], NULL, NULL);

        notify_tell(&n, "STATUS=%s %d", "waiting for", 3);
        EXPECT_STR(heard(fd), "STATUS=waiting for 3");
        notify_close(&n);
        notify_tell(&n, "READY=1");
        EXPECT_STR(heard(fd), "");
        close(fd);
    }
}

TEST(children_do_not_inherit_it)
{
    struct notify n = notify_of("/nowhere", "5", "1");

    EXPECT(!getenv("NOTIFY_SOCKET"));
    EXPECT(!getenv("WATCHDOG_USEC"));
    EXPECT(!getenv("WATCHDOG_PID"));
    notify_close(&n);
}

TEST(an_address_that_is_none_is_nobody)
{
    char longest[200];
    const char *const bad[] = {"", "@", "/", "relative", "vsock:2:1", longest};

    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct notify n = notify_of(bad[i], NULL, NULL);

        EXPECT_INT(n.fd, -1);
        notify_tell(&n, "READY=1");
    }
}

TEST(the_watchdogs_time_is_that_of_this_process)
{
    char mine[16];

    snprintf(mine, sizeof mine, "%d", (int)getpid());
    EXPECT_INT(notify_of(NULL, "2000000", NULL).watchdog_ns, 2 * SECOND);
    EXPECT_INT(notify_of(NULL, "2000000", mine).watchdog_ns, 2 * SECOND);
    EXPECT_INT(notify_of(NULL, "2000000", "1").watchdog_ns, 0);
    EXPECT_INT(notify_of(NULL, "-2", NULL).watchdog_ns, 0);
    EXPECT_INT(notify_of(NULL, "2s", NULL).watchdog_ns, 0);
    EXPECT_INT(notify_of(NULL, "", NULL).watchdog_ns, 0);
    EXPECT_INT(notify_of(NULL, "9223372036854775807", NULL).watchdog_ns, 0);
}

/* As much as the listener's queue holds. */
static void fill(const struct notify *n)
{
    while (send(n->fd, "x", 1, 0) == 1)
        ;
}

TEST(a_state_waits_until_the_listener_has_room)
{
    int fd = listener(test_path("notify")), status;
    struct notify n = notify_of(test_path("notify"), NULL, NULL);
    pid_t reader;

    fill(&n);
    reader = fork();
    if (reader == 0) {
        const char *text;

        (void)fcntl(fd, F_SETFL, 0);
        alarm(10);
        while (strcmp(text = heard(fd), "READY=1") != 0)
            ;
        _exit(0);
    }
    notify_tell(&n, "READY=1");
    CHECK(waitpid(reader, &status, 0) == reader);
    EXPECT_INT(status, 0);
    notify_close(&n);
    close(fd);
}

TEST(a_listener_that_never_reads_is_given_up)
{
    int fd = listener(test_path("notify"));
    struct notify n = notify_of(test_path("notify"), NULL, NULL);

    fill(&n);
    notify_tell(&n, "READY=1");
    notify_close(&n);
    close(fd);
}

/* Three loops in one thread, which turn when they are told to. */
enum { LOOPS = 3 };
struct life {
    int fd;
    struct notify n;
    struct heart heart;
    struct pulse pulse[LOOPS];
    struct loop *loop[LOOPS];
};

static void life_init(struct life *l, const char *usec)
{
    clock_fake(1000 * SECOND, 0);
    l->fd = listener(test_path("notify"));
    l->n = notify_of(test_path("notify"), usec, NULL);
    heart_init(&l->heart, &l->n, LOOPS);
    for (unsigned i = 0; i < LOOPS; i++) {
        EXPECT_OK(loop_new(&l->loop[i]));
        pulse_start(&l->pulse[i], &l->heart, l->loop[i]);
    }
}

static void life_fini(struct life *l)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        pulse_stop(&l->pulse[i]);
        loop_free(l->loop[i]);
    }
    notify_close(&l->n);
    close(l->fd);
}

static void turn(struct life *l, unsigned i)
{
    EXPECT_OK(loop_step(l->loop[i], 0));
}

TEST(a_heart_beats_when_all_loops_turn)
{
    struct life l;

    life_init(&l, "5000000");
    turn(&l, 0);
    turn(&l, 1);
    EXPECT_STR(heard(l.fd), "");
    turn(&l, 2);
    EXPECT_STR(heard(l.fd), "WATCHDOG=1");
    EXPECT_STR(heard(l.fd), "");
    clock_fake_advance(SECOND);
    turn(&l, 2);
    turn(&l, 0);
    turn(&l, 1);
    EXPECT_STR(heard(l.fd), "WATCHDOG=1");
    life_fini(&l);
}

TEST(one_loop_that_hangs_silences_it)
{
    struct life l;

    life_init(&l, "5000000");
    for (unsigned i = 0; i < LOOPS; i++)
        turn(&l, i);
    EXPECT_STR(heard(l.fd), "WATCHDOG=1");
    for (unsigned i = 0; i < 20; i++) {
        clock_fake_advance(SECOND);
        turn(&l, 0);
        turn(&l, 2);
        EXPECT_STR(heard(l.fd), "");
    }
    turn(&l, 1); /* it was a long wait only */
    EXPECT_STR(heard(l.fd), "WATCHDOG=1");
    life_fini(&l);
}

TEST(without_a_watchdog_nothing_beats)
{
    struct life l;

    life_init(&l, "0");
    for (unsigned i = 0; i < 3 * LOOPS; i++) {
        clock_fake_advance(SECOND);
        turn(&l, i % LOOPS);
    }
    EXPECT_STR(heard(l.fd), "");
    life_fini(&l);
}

TEST(a_beat_does_not_wait)
{
    struct life l;
    int64_t began;

    life_init(&l, "5000000");
    fill(&l.n);
    clock_real();
    began = clock_ns();
    for (unsigned i = 0; i < LOOPS; i++)
        turn(&l, i);
    EXPECT(clock_ns() - began < NOTIFY_WAIT_MS * MILLISECOND);
    life_fini(&l);
}

TEST(a_voice_that_is_not_heard_knows_it_and_does_not_wait)
{
    struct life l;
    struct voice v = {.notify = &l.n}, none = {.notify = NULL};

    life_init(&l, "0");
    EXPECT(voice_say(&none, "x"));
    for (unsigned i = 0; i < 5; i++) {
        EXPECT(voice_say(&v, "X_CANARY_MS=%u", i));
        EXPECT_CONTAINS(heard(l.fd), "X_CANARY_MS=");
    }
    /* The first is sent and stays there, the others are not said. */
    for (unsigned i = 0; i < VOICE_LOST; i++)
        EXPECT(voice_say(&v, "again"));
    for (unsigned i = 0; i < 100; i++)
        EXPECT(!voice_say(&v, "again"));
    EXPECT_STR(heard(l.fd), "again");
    EXPECT_STR(heard(l.fd), "");
    EXPECT(voice_say(&v, "back"));
    EXPECT_STR(heard(l.fd), "back");
    life_fini(&l);
}
