#include "tools/touchline/reload.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/cli.h"
#include "tests/t/t.h"

enum { ROUTER, HTTP, ALL };

/* A supervisor of two children that say what the test lets them say. Signals
 * for them come to this process, which ignores them. */
static struct member members[ALL] = {{.name = "router"}, {.name = "http1"}};
static struct plan plan = {.members = members, .count = ALL};
static struct cli cli = {.binary = "touchline", .about = "a test",
                         .keeps_text = true};
static struct loop *loop;
static struct control control;
static struct control_asker asker = {.control = &control};
static struct reload reload;
static unsigned over;
static char path[256];
static int heard; /* our end of the asker's socket */

static void on_over(void *ctx)
{
    UNUSED(ctx);
    over++;
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");

    EXPECT(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void begin(void)
{
    char *argv[] = {"touchline", "--config", path, "--dir",
                    (char *)(uintptr_t)test_dir(), NULL};

    signal(SIGHUP, SIG_IGN);
    clock_fake(1000 * SECOND, 0);
    snprintf(path, sizeof path, "%s/touchline.conf", test_dir());
    write_file("[limits]\nmessage = 8K\n");
    EXPECT_INT(cli_parse(&cli, 5, argv), -1);
    EXPECT_INT(sheet_new(&plan.sheet, cli.text), 0);
    EXPECT_INT(loop_new(&loop), 0);
    control.loop = loop;
    for (int i = 0; i < ALL; i++) {
        members[i].child.pid = getpid();
        members[i].child.ready = true;
        members[i].confirmed = 1;
    }
    reload_init(&reload, &cli, &plan, loop, on_over, NULL);
}

static void ask(void)
{
    int ends[2];

    EXPECT_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    asker.fd = ends[0];
    heard = ends[1];
    reload_begin(&reload, &asker);
}

static const char *answer(void)
{
    static char text[4096];
    ssize_t n = recv(heard, text, sizeof text - 1, MSG_DONTWAIT);

    close(heard);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void says(int who, const char *line)
{
    EXPECT(reload_heard(&reload, &members[who], slice_str(line)));
}

static void wait_long(void)
{
    clock_fake_advance(RELOAD_WAIT + SECOND);
    EXPECT_INT(loop_step(loop, 0), 0);
}

static void end(void)
{
    reload_fini(&reload);
    sheet_fini(&plan.sheet);
    loop_free(loop);
    cli_fini(&cli);
}

TEST(it_is_done_when_all_children_follow)
{
    begin();
    write_file("[limits]\nmessage = 4K\n");
    ask();
    says(ROUTER, "reloaded 2");
    EXPECT_INT(over, 0);
    says(HTTP, "reloaded 2");
    EXPECT_INT(over, 1);
    EXPECT_STR(answer(), "changed limits.message: at once\nexit 0\n");
    end();
}

TEST(who_has_not_confirmed_it_is_named)
{
    begin();
    write_file("[limits]\nmessage = 4K\n");
    ask();
    says(ROUTER, "reloaded 2");
    wait_long();
    EXPECT_STR(answer(), "changed limits.message: at once\n"
                         "http1 has not confirmed it yet\nexit 1\n");
    end();
}

TEST(nobody_waits_for_a_child_that_has_ended)
{
    begin();
    write_file("[limits]\nmessage = 4K\n");
    ask();
    says(ROUTER, "reloaded 2");
    members[HTTP].child.pid = 0; /* and is started anew a while later */
    members[HTTP].child.ready = false;
    reload_gone(&reload);
    EXPECT_INT(over, 1);
    EXPECT_STR(answer(), "changed limits.message: at once\nexit 0\n");
    end();
}

TEST(a_child_that_is_started_anew_at_once_is_waited_for)
{
    begin();
    write_file("[limits]\nmessage = 4K\n");
    ask();
    says(ROUTER, "reloaded 2");
    members[HTTP].child.ready = false;
    members[HTTP].confirmed = 0;
    reload_gone(&reload);
    EXPECT_INT(over, 0);
    members[HTTP].child.ready = true;
    reload_ready(&reload, &members[HTTP]);
    says(HTTP, "reloaded 2");
    EXPECT_STR(answer(), "changed limits.message: at once\nexit 0\n");
    end();
}

TEST(who_asks_while_it_goes_down_is_told_that)
{
    begin();
    write_file("[limits]\nmessage = 4K\n");
    ask();
    reload_stop(&reload);
    EXPECT_STR(answer(), "changed limits.message: at once\n"
                         "touchline goes down\nexit 1\n");
    members[HTTP].child.pid = members[ROUTER].child.pid = 0;
    reload_gone(&reload);
    wait_long();
    EXPECT_INT(over, 1);
    ask();
    EXPECT_STR(answer(), "touchline goes down\nexit 1\n");
    end();
}
