#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "gateways/common/doorstep.h"
#include "proto/limits.h"
#include "tests/t/t.h"

static struct {
    struct loop *loop;
    struct doorstep d;
} w;

static void begin(unsigned places)
{
    clock_fake(1000 * SECOND, 0);
    CHECK(loop_new(&w.loop) == 0);
    doorstep_init(&w.d, w.loop, places);
}

static void end(void)
{
    doorstep_fini(&w.d);
    loop_free(w.loop);
}

static void turn(void)
{
    for (unsigned i = 0; i < 4; i++)
        CHECK(loop_step(w.loop, 0) == 0);
}

/* The client's end of one that is turned away. */
static int turned_away(void)
{
    int ends[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    CHECK(write(ends[1], "GET / ", 6) == 6);
    doorstep_turn_away(&w.d, ends[0], SLICE("busy\n"));
    return ends[1];
}

static void hears_it_all(int fd)
{
    char text[32];

    EXPECT_INT(read(fd, text, sizeof text), 5);
    EXPECT_INT(memcmp(text, "busy\n", 5), 0);
    EXPECT_INT(read(fd, text, sizeof text), 0);
}

/* A write to a closed socket fails. */
static bool closed(int fd)
{
    return send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE;
}

TEST(who_is_turned_away_hears_why_though_it_goes_on_talking)
{
    int fd;

    begin(4);
    fd = turned_away();
    turn();
    EXPECT(!closed(fd));
    hears_it_all(fd);
    close(fd);
    turn();
    EXPECT_INT(w.d.count, 0);
    end();
}

TEST(who_does_not_leave_is_let_go_after_a_second)
{
    int fd;

    begin(4);
    fd = turned_away();
    clock_fake_advance(CLOSE_DRAIN_WAIT / 2);
    turn();
    EXPECT_INT(w.d.count, 1);
    clock_fake_advance(CLOSE_DRAIN_WAIT / 2);
    turn();
    EXPECT_INT(w.d.count, 0);
    EXPECT(closed(fd));
    close(fd);
    end();
}

TEST(who_finds_no_place_pushes_the_oldest_off)
{
    int first, second, third;

    begin(2);
    first = turned_away();
    second = turned_away();
    EXPECT(doorstep_is_full(&w.d));
    third = turned_away();
    EXPECT_INT(w.d.count, 2);
    EXPECT(closed(first));
    EXPECT(!closed(second) && !closed(third));
    close(first);
    close(second);
    close(third);
    end();
}
