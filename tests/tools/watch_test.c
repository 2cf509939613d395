#include "tools/touchline/watch.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/t/t.h"

#define TIME (8 * SECOND) /* a look each second, patience for four */

/* A supervisor with two children, which are processes that only wait. */
struct family {
    struct loop *loop;
    struct member members[2];
    struct plan plan;
    struct watch watch;
    struct config config;
    unsigned well;
};

static void on_well(void *ctx)
{
    struct family *f = ctx;

    f->well++;
}

static pid_t sleeper(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    CHECK(pid > 0);
    return pid;
}

static void family_init(struct family *f, int64_t time_ns)
{
    *f = (struct family){.plan = {.count = 2},
                         .members = {{.kind = "router"},
                                     {.kind = "http",
                                      .role = MEMBER_GATEWAY}}};
    clock_fake(1000 * SECOND, 0);
    f->plan.members = f->members;
    EXPECT_OK(loop_new(&f->loop));
    for (unsigned i = 0; i < 2; i++)
        f->members[i].child.pid = sleeper();
    f->config.process.canary_wait = 5 * SECOND;
    f->config.process.canary_restart = 30 * SECOND;
    EXPECT_OK(watch_start(&f->watch, &f->plan, f->loop, time_ns, &f->config,
                          on_well, f));
}

static int end_of(struct family *f, unsigned i)
{
    int status = 0;

    CHECK(waitpid(f->members[i].child.pid, &status, 0) > 0);
    f->members[i].child.pid = 0;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void family_fini(struct family *f)
{
    for (unsigned i = 0; i < 2; i++)
        if (f->members[i].child.pid) {
            kill(f->members[i].child.pid, SIGKILL);
            (void)end_of(f, i);
        }
    watch_stop(&f->watch);
    loop_free(f->loop);
}

static void says(struct family *f, unsigned i, const char *text)
{
    watch_heard(&f->watch, f->members[i].child.pid, slice_str(text),
                clock_ns());
}

/* The next look, a second later. */
static bool look(struct family *f)
{
    clock_fake_advance(SECOND);
    return watch_look(&f->watch, clock_ns());
}

TEST(who_falls_silent_is_told_to_abort)
{
    struct family f;

    family_init(&f, TIME);
    says(&f, 0, "WATCHDOG=1");
    for (unsigned i = 0; i < 4; i++) {
        says(&f, 1, "STATUS=fine\nWATCHDOG=1");
        EXPECT(look(&f));
    }
    says(&f, 1, "WATCHDOG=1");
    EXPECT(!look(&f));
    EXPECT_INT(end_of(&f, 0), SIGABRT);
    EXPECT(look(&f)); /* it is gone: the supervisor's matter */
    family_fini(&f);
}

TEST(who_does_not_abort_is_killed_and_nobody_is_well_meanwhile)
{
    struct family f;
    int status;

    family_init(&f, TIME);
    says(&f, 0, "WATCHDOG=1");
    kill(f.members[0].child.pid, SIGSTOP); /* which keeps SIGABRT waiting */
    CHECK(waitpid(f.members[0].child.pid, &status, WUNTRACED) > 0);
    for (unsigned i = 0; i < 4; i++)
        EXPECT(look(&f));
    EXPECT(!look(&f));
    EXPECT_INT(waitpid(f.members[0].child.pid, &status, WNOHANG), 0);
    EXPECT(!look(&f));
    EXPECT_INT(end_of(&f, 0), SIGKILL);
    family_fini(&f);
}

TEST(who_has_not_spoken_yet_or_is_about_to_end_is_left_alone)
{
    struct family f;

    family_init(&f, TIME);
    says(&f, 1, "WATCHDOG=1");
    says(&f, 1, "STOPPING=1");
    for (unsigned i = 0; i < 30; i++)
        EXPECT(look(&f));
    EXPECT_INT(waitpid(-1, NULL, WNOHANG), 0);
    family_fini(&f);
}

TEST(a_machine_that_stood_still_is_nobodys_fault)
{
    struct family f;

    family_init(&f, TIME);
    says(&f, 0, "WATCHDOG=1");
    EXPECT(look(&f));
    clock_fake_advance(3600 * SECOND);
    EXPECT(look(&f));
    for (unsigned i = 0; i < 4; i++)
        EXPECT(look(&f));
    EXPECT(!look(&f));
    family_fini(&f);
}

/* Sends from a process of its own, which ends. */
static pid_t send_from_child(const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    pid_t pid = fork();
    int fd;

    if (pid)
        return pid;
    memcpy(un.sun_path, address, strlen(address));
    un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    _exit(sendto(fd, "WATCHDOG=1", 10, 0, (const struct sockaddr *)&un,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                             strlen(address))) == 10
              ? 0 : 1);
}

TEST(only_a_childs_own_word_counts)
{
    struct family f;
    struct child *c;
    int status;
    pid_t pid;

    family_init(&f, TIME);
    c = &f.members[0].child;
    pid = send_from_child(f.watch.address);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT_OK(loop_step(f.loop, 0));
    EXPECT_INT(c->heard_ns, 0);
    kill(c->pid, SIGKILL);
    (void)end_of(&f, 0);
    c->pid = send_from_child(f.watch.address);
    EXPECT_INT(end_of(&f, 0), 0);
    c->pid = 0;
    EXPECT_OK(loop_step(f.loop, 0));
    EXPECT_INT(c->heard_ns, 0); /* of one who is gone */
    c->pid = send_from_child(f.watch.address);
    EXPECT_SOON(c->heard_ns == clock_ns(),
                EXPECT_OK(loop_step(f.loop, 10 * MILLISECOND)));
    family_fini(&f);
}

static void mute_second(struct family *f, unsigned store_ms)
{
    clock_fake_advance(SECOND);
    says(f, 0, store_ms ? "X_STORE_MS=9000" : "X_STORE_MS=0");
    says(f, 1, "X_CANARY_MS=9000");
    EXPECT_OK(loop_step(f->loop, 0));
}

TEST(who_is_mute_is_told_to_abort_and_then_killed)
{
    struct family f;
    int status;

    family_init(&f, 0);
    f.members[0].child.ready = f.members[1].child.ready = true;
    kill(f.members[0].child.pid, SIGSTOP);
    CHECK(waitpid(f.members[0].child.pid, &status, WUNTRACED) > 0);
    for (unsigned i = 0; i < 60; i++)
        mute_second(&f, 1); /* the store hangs: nobody */
    for (unsigned i = 0; i < 30; i++)
        mute_second(&f, 0);
    EXPECT_INT(f.members[0].child.mute_restarts, 0);
    mute_second(&f, 0);
    EXPECT_INT(f.members[0].child.mute_restarts, 1);
    EXPECT_INT(waitpid(f.members[0].child.pid, &status, WNOHANG), 0);
    mute_second(&f, 0);
    EXPECT_INT(end_of(&f, 0), SIGKILL);
    EXPECT_INT(f.members[1].child.mute_restarts, 0);
    family_fini(&f);
}

TEST(a_supervisor_that_nobody_watches_sees_no_hangs)
{
    struct family f;

    family_init(&f, 0);
    EXPECT_INT(watch_child_usec(&f.watch), 0);
    clock_fake_advance(TIME);
    EXPECT_OK(loop_step(f.loop, 0));
    EXPECT_INT(f.well, 0);
    family_fini(&f);
    family_init(&f, TIME);
    EXPECT_INT(watch_child_usec(&f.watch), 4000000);
    clock_fake_advance(TIME);
    EXPECT_OK(loop_step(f.loop, 0));
    EXPECT_INT(f.well, 1);
    family_fini(&f);
}
