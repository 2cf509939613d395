#include "tools/touchline/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/t/t.h"
#include "proto/cli.h"

static struct loop *loop;
static struct control control;
static struct control_asker *askers[CONTROL_ASKERS];
static unsigned asked;

static void on_asked(void *ctx, struct control_asker *a, struct slice verb)
{
    UNUSED(ctx);
    UNUSED(verb);
    askers[asked++] = a;
}

static void open_it(void)
{
    EXPECT_INT(loop_new(&loop), 0);
    EXPECT_INT(control_open(&control, test_dir()), 0);
    EXPECT_INT(control_watch(&control, loop, on_asked, NULL), 0);
}

static void turn(void)
{
    EXPECT_INT(loop_step(loop, 0), 0);
}

static void close_it(void)
{
    control_close(&control);
    loop_free(loop);
}

static int ask(const char *line)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(at.sun_path, sizeof at.sun_path, "%s/touchline.sock",
             test_dir());
    EXPECT_INT(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    (void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
    return fd;
}

/* All that comes, up to the end; the loop turns meanwhile. */
static void hear(int fd, struct buf *text)
{
    struct test_soon soon = test_soon();
    char bytes[4096];
    ssize_t n = -1;

    while (n != 0) {
        EXPECT(!test_soon_over(&soon));
        turn();
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            buf_add(text, slice_make(bytes, (size_t)n));
        else if (n < 0 && errno != EAGAIN)
            break;
    }
    close(fd);
}

TEST(an_answer_that_the_socket_does_not_take_at_once_comes_whole)
{
    enum { LINES = 40000 };
    struct buf text = BUF_INIT, heard = BUF_INIT;
    int fd;

    open_it();
    fd = ask("reload\n");
    EXPECT_SOON(asked == 1, turn());
    for (unsigned i = 0; i < LINES; i++)
        buf_addf(&text, "changed namespace n%u/.history: now\n", i);
    control_answer(askers[0], buf_slice(&text), EXIT_DONE);
    hear(fd, &heard);
    buf_add_str(&text, "exit 0\n");
    EXPECT(slice_eq(buf_slice(&heard), buf_slice(&text)));
    buf_fini(&text);
    buf_fini(&heard);
    close_it();
}

TEST(who_does_not_wait_for_its_answer_keeps_nobody)
{
    struct buf text = BUF_INIT;
    int fd;

    open_it();
    fd = ask("reload\n");
    EXPECT_SOON(asked == 1, turn());
    for (unsigned i = 0; i < 40000; i++)
        buf_addf(&text, "changed namespace n%u/.history: now\n", i);
    control_answer(askers[0], buf_slice(&text), EXIT_DONE);
    EXPECT(askers[0]->fd >= 0); /* some of it waits */
    close(fd);
    EXPECT_SOON(askers[0]->fd < 0, turn());
    buf_fini(&text);
    close_it();
}

TEST(one_who_asks_too_many_is_told_so)
{
    struct buf heard = BUF_INIT;
    int fds[CONTROL_ASKERS];

    open_it();
    for (unsigned i = 0; i < CONTROL_ASKERS; i++)
        fds[i] = ask("reload\n");
    EXPECT_SOON(asked == CONTROL_ASKERS, turn());
    hear(ask("reload\n"), &heard);
    EXPECT_STR(buf_text(&heard), "too many ask at once: try again\nexit 1\n");
    for (unsigned i = 0; i < CONTROL_ASKERS; i++)
        close(fds[i]);
    buf_fini(&heard);
    close_it();
}
