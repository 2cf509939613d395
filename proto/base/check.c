#include "base/check.h"

#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

static const char *process_name = "touchline";

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return; /* nowhere left to complain */
}

static void backtrace_out(void)
{
    void *frames[48];
    int n = backtrace(frames, (int)ARRAY_LEN(frames));

    say("backtrace (resolve with addr2line -e BINARY ADDRESS):\n");
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

_Noreturn void check_failed(const char *what, const char *cond,
                            const char *file, int line)
{
    char text[512];

    snprintf(text, sizeof text, "%s[%ld]: %s failed: %s, at %s:%d\n",
             process_name, (long)getpid(), what, cond, file, line);
    say(text);
    backtrace_out();
    abort();
}

static void on_fatal(int signo)
{
    say(process_name);
    say(": fatal signal: ");
    say(sigabbrev_np(signo) ? sigabbrev_np(signo) : "?");
    say("\n");
    backtrace_out();
    raise(signo); /* SA_RESETHAND: the default action, with its core */
}

void check_report_signals(const char *name)
{
    static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    struct sigaction sa = { .sa_handler = on_fatal,
                            .sa_flags = (int)SA_RESETHAND | SA_NODEFER };
    void *warm[1];

    process_name = name;
    backtrace(warm, 1); /* loads its library now, not while crashing */
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        sigaction(fatal[i], &sa, NULL);
}
