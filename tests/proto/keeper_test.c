#include "proto/keeper.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

struct desk {
    struct loop *loop;
    struct keeper keeper;
    char text[256], error[256];
    unsigned told;
};

static void told(void *ctx, struct slice text, const char *error)
{
    struct desk *d = ctx;

    d->told++;
    snprintf(d->text, sizeof d->text, SLICE_FMT, SLICE_ARG(text));
    snprintf(d->error, sizeof d->error, "%s", error ? error : "");
}

static void open_desk(struct desk *d, const char *path)
{
    *d = (struct desk){.told = 0};
    CHECK(keeper_start(&d->keeper, path, SANDBOX_AUTO) == 0);
    CHECK(loop_new(&d->loop) == 0);
    CHECK(keeper_watch(&d->keeper, d->loop, told, d) == 0);
}

static void close_desk(struct desk *d)
{
    keeper_stop(&d->keeper);
    loop_free(d->loop);
    EXPECT_INT(waitpid(d->keeper.pid, NULL, 0), d->keeper.pid);
}

static void ask(struct desk *d, unsigned upto)
{
    keeper_ask(&d->keeper);
    EXPECT_SOON(d->told == upto, CHECK(loop_step(d->loop, MILLISECOND) == 0));
}

TEST(a_keeper_says_what_is_in_the_file_by_then)
{
    const char *path = test_path("c.conf");
    struct desk d;

    test_write_file(path, SLICE("one"));
    open_desk(&d, path);
    ask(&d, 1);
    EXPECT_STR(d.text, "one");
    test_write_file(test_path("new"), SLICE("another one"));
    EXPECT_OK(rename(test_path("new"), path));
    ask(&d, 2);
    EXPECT_STR(d.text, "another one");
    EXPECT_OK(unlink(path));
    ask(&d, 3);
    EXPECT_STR(d.text, "");
    EXPECT(strstr(d.error, "c.conf: No such file"));
    close_desk(&d);
}

TEST(what_is_too_long_is_refused_and_what_is_long_comes_whole)
{
    const char *path = test_path("c.conf");
    static char text[OPT_FILE_MAX + 1];
    struct desk d;

    memset(text, '#', sizeof text);
    test_write_file(path, slice_make(text, sizeof text));
    open_desk(&d, path);
    ask(&d, 1);
    EXPECT(strstr(d.error, "larger than 1 MiB"));
    test_write_file(path, slice_make(text, OPT_FILE_MAX));
    ask(&d, 2);
    EXPECT_STR(d.error, "");
    EXPECT_INT(strlen(d.text), sizeof d.text - 1);
    close_desk(&d);
}

/* It would be empty, and all that was set back to what it is without a file. */
TEST(a_pipe_is_not_read_twice_nor_waited_for)
{
    const char *path = test_path("pipe");
    struct desk d;

    EXPECT_OK(mkfifo(path, 0600));
    open_desk(&d, path);
    ask(&d, 1);
    EXPECT(strstr(d.error, "no regular file"));
    close_desk(&d);
}

TEST(who_asks_while_an_answer_comes_gets_another_one)
{
    const char *path = test_path("c.conf");
    struct desk d;

    test_write_file(path, SLICE("one"));
    open_desk(&d, path);
    keeper_ask(&d.keeper);
    keeper_ask(&d.keeper);
    keeper_ask(&d.keeper);
    EXPECT_SOON(d.told == 2, CHECK(loop_step(d.loop, MILLISECOND) == 0));
    EXPECT_STR(d.text, "one");
    close_desk(&d);
}

TEST(a_keeper_that_was_killed_is_an_error_and_no_more)
{
    const char *path = test_path("c.conf");
    struct desk d;

    test_write_file(path, SLICE("one"));
    open_desk(&d, path);
    EXPECT_OK(kill(d.keeper.pid, SIGKILL));
    EXPECT_INT(poll(&(struct pollfd){.fd = d.keeper.fd, .events = POLLIN}, 1,
                    -1), 1); /* it is gone */
    keeper_ask(&d.keeper);
    EXPECT_SOON(d.told == 1, CHECK(loop_step(d.loop, MILLISECOND) == 0));
    EXPECT(d.error[0]);
    keeper_ask(&d.keeper);
    EXPECT_INT(d.told, 2);
    close_desk(&d);
}
