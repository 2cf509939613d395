#include "tests/bench/count.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "base/clock.h"
#include "base/log.h"

#define CLOCK_NS INT64_C(1000000000000)
#define CLOCK_MS INT64_C(1315921731000) /* 2011-09-13 13:48:51 */

static char dir[200];

__attribute__((noinline)) void count_call(void (*fn)(void *ctx), void *ctx)
{
    fn(ctx);
    __asm__ volatile(""); /* a call behind which it returns: no jump to fn */
}

const char *count_dir(void)
{
    return dir;
}

void count_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    exit(1);
}

/* ---- chance, the same each time (linked with --wrap) -------------------- */

static uint64_t drawn = 1;

uint64_t __wrap_random_u64(void);
void __wrap_random_bytes(void *out, size_t len);

uint64_t __wrap_random_u64(void)
{
    return drawn = drawn * UINT64_C(6364136223846793005) +
                   UINT64_C(1442695040888963407);
}

void __wrap_random_bytes(void *out, size_t len)
{
    for (uint8_t *at = out; len; len--)
        *at++ = (uint8_t)(__wrap_random_u64() >> 56);
}

/* ---- paths ---------------------------------------------------------------- */

static void walk(const struct count_path *p, void *ctx, unsigned times)
{
    char what[100];

    CALLGRIND_ZERO_STATS;
    for (unsigned i = 0; i < times; i++)
        p->once(ctx);
    snprintf(what, sizeof what, "%s %u", p->name, times);
    CALLGRIND_DUMP_STATS_AT(what);
}

static _Noreturn void count(const struct count_path *p)
{
    void *ctx;

    MUST(mkdir(dir, 0700) == 0);
    clock_fake(CLOCK_NS, CLOCK_MS);
    log_set_level(LOG_ERROR);
    ctx = p->begin(p->n);
    for (unsigned i = 0; i < COUNT_WARM; i++)
        p->once(ctx);
    walk(p, ctx, COUNT_FEW);
    walk(p, ctx, COUNT_MANY);
    _exit(0);
}

/* Whatever path came before: each begins in a process like the first. */
static bool counted(const struct count_path *p)
{
    pid_t child = fork();
    int status;

    MUST(child >= 0);
    if (child == 0)
        count(p);
    MUST(waitpid(child, &status, 0) == child);
    if (status != 0)
        fprintf(stderr, "%s: did not come to its end\n", p->name);
    return status == 0;
}

static bool wanted(const char *name, char **words)
{
    bool found = !*words;

    for (; *words; words++)
        found |= strstr(name, *words) != NULL;
    return found;
}

int main(int argc, char **argv)
{
    bool good = true;

    if (argc < 2) {
        fprintf(stderr, "usage: %s DIR [WORD...]\n", argv[0]);
        return 2;
    }
    for (const struct count_path *p = count_paths; p->name; p++) {
        snprintf(dir, sizeof dir, "%s/%02d", argv[1], (int)(p - count_paths));
        if (wanted(p->name, argv + 2))
            good &= counted(p);
    }
    return good ? 0 : 1;
}
