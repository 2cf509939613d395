#include "base/check.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/t/t.h"

static volatile int *nowhere;

static void fail_check(void)
{
    int three = 3;

    CHECK(three == 4);
}

static void crash(void)
{
    check_report_signals("crasher");
    raise(SIGSEGV);
}

/* What fn writes to standard error before it ends, and by which signal. */
static int dying_words(void (*fn)(void), char *words, size_t room)
{
    int fds[2], status;
    size_t len = 0;
    ssize_t n;
    pid_t pid;

    EXPECT_INT(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        fn();
        _exit(0);
    }
    close(fds[1]);
    while ((n = read(fds[0], words + len, room - len - 1)) > 0)
        len += (size_t)n;
    words[len] = '\0';
    EXPECT_INT(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(a_failed_check_says_what_and_where_and_aborts)
{
    char words[16384];

    EXPECT_INT(dying_words(fail_check, words, sizeof words), SIGABRT);
    EXPECT_CONTAINS(words, "CHECK failed: three == 4, at tests/proto/check_t");
    EXPECT_CONTAINS(words, "check_test");
}

TEST(a_crash_says_which_signal_and_ends_by_it)
{
    char words[16384];

    EXPECT_INT(dying_words(crash, words, sizeof words), SIGSEGV);
    EXPECT_CONTAINS(words, "crasher: fatal signal: SEGV");
    EXPECT_CONTAINS(words, "backtrace");
}

TEST(a_check_that_holds_evaluates_once_and_goes_on)
{
    int n = 0;

    CHECK(++n == 1);
    EXPECT_INT(n, 1);
    EXPECT(!NEVER(nowhere != NULL));
}
