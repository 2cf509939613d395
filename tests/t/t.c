#include "tests/t/t.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { DEADLINE_SECONDS = 80 };
#else
enum { DEADLINE_SECONDS = 20 };
#endif

enum { TESTS_MAX = 512 };

/* Sizes that cannot be had are refused, as without the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static struct {
    const char *name;
    test_fn *fn;
} tests[TESTS_MAX];
static size_t test_count;

static char dir[PATH_MAX];
static struct kept { /* until the end of the process, which is the test */
    struct kept *next;
    char *text;
} *kept;
static uint64_t seed, random_state;
static bool random_used;

void test_register(const char *name, test_fn *fn)
{
    if (test_count == TESTS_MAX)
        abort();
    tests[test_count].name = name;
    tests[test_count++].fn = fn;
}

/* --- expectations --- */

void test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list args;

    test_malloc_failed();
    printf("    %s:%d: ", file, line);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    if (random_used)
        printf("    again with T_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    _exit(1);
}

void test_expect_int(const char *file, int line, const char *what, int64_t got,
                     int64_t want)
{
    if (got != want)
        test_fail(file, line, "%s is %" PRId64 ", expected %" PRId64, what, got,
                  want);
}

void test_expect_str(const char *file, int line, const char *what,
                     const char *got, const char *want)
{
    if (got == want || (got && want && strcmp(got, want) == 0))
        return;
    test_fail(file, line, "%s is\n      \"%s\", expected\n      \"%s\"", what,
              got ? got : "(null)", want ? want : "(null)");
}

/* Readable where it is text, hexadecimal where it is not. */
static void print_bytes(struct slice s)
{
    printf("      (%zu) \"", s.len);
    for (size_t i = 0; i < MIN(s.len, (size_t)4096); i++)
        if (s.ptr[i] >= 0x20 && s.ptr[i] < 0x7f)
            putchar(s.ptr[i]);
        else
            printf("\\x%02X", s.ptr[i]);
    printf("\"%s\n", s.len > 4096 ? "..." : "");
}

void test_expect_slice(const char *file, int line, const char *what,
                       struct slice got, struct slice want)
{
    size_t at = 0;

    if (slice_eq(got, want))
        return;
    print_bytes(got);
    print_bytes(want);
    while (at < got.len && at < want.len && got.ptr[at] == want.ptr[at])
        at++;
    test_fail(file, line, "%s is the first, expected the second: they differ "
              "from byte %zu on", what, at);
}

void test_expect_err(const char *file, int line, const char *what, int got,
                     int want)
{
    if (got != want)
        test_fail(file, line, "%s gives %s (%d), expected %s", what,
                  err_name(got), got, err_name(want));
}

void test_expect_contains(const char *file, int line, const char *what,
                          const char *text, const char *needle)
{
    if (!text || !strstr(text, needle))
        test_fail(file, line, "%s is\n      \"%s\", which lacks\n      \"%s\"",
                  what, text ? text : "(null)", needle);
}

static int64_t real_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

struct test_soon test_soon(void)
{
    return (struct test_soon){ real_ns() + DEADLINE_SECONDS * SECOND / 2 };
}

bool test_soon_over(const struct test_soon *s)
{
    return real_ns() > s->until_ns;
}

/* --- files --- */

const char *test_dir(void)
{
    return dir;
}

const char *test_path(const char *name)
{
    struct kept *k = malloc(sizeof *k);

    if (!k || asprintf(&k->text, "%s/%s", dir, name) < 0)
        abort();
    k->next = kept;
    kept = k;
    return k->text;
}

char *test_read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t n = 0, room = 4096, more;

    if (!f)
        test_fail(path, 0, "cannot be read: %s", strerror(errno));
    do {
        text = realloc(text, (room *= 2) + 1);
        if (!text)
            abort();
        n += more = fread(text + n, 1, room - n, f);
    } while (more);
    if (ferror(f))
        test_fail(path, 0, "cannot be read: %s", strerror(errno));
    fclose(f);
    text[n] = '\0';
    *len = n;
    return text;
}

void test_write_file(const char *path, struct slice bytes)
{
    FILE *f = fopen(path, "we");

    if (f) /* a buffer would leave a copy on the heap, where tests look for secrets */
        setvbuf(f, NULL, _IONBF, 0);
    if (!f || fwrite(bytes.ptr, 1, bytes.len, f) != bytes.len || fclose(f))
        test_fail(path, 0, "cannot be written: %s", strerror(errno));
}

char *test_data(const char *name, size_t *len)
{
    const char *root = getenv("TOUCHLINE_DATA");
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/data", name);
    if (access(path, R_OK) < 0)
        test_fail(path, 0, "test data is missing; TOUCHLINE_DATA says where "
                  "it is");
    return test_read_file(path, len);
}

uint64_t test_random(void)
{
    uint64_t z;

    if (!random_used) {
        const char *given = getenv("T_SEED");

        seed = given ? strtoull(given, NULL, 10) : (uint64_t)real_ns();
        random_state = seed;
        random_used = true;
    }
    /* splitmix64 */
    z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* --- running --- */

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    UNUSED(st), UNUSED(type), UNUSED(ftw);
    return remove(path);
}

static bool make_dir(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, sizeof dir, "%s/touchline-t.XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) != NULL;
}

static void remove_dir(void)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static long deadline(void)
{
    const char *given = getenv("T_DEADLINE");
    long seconds = given ? strtol(given, NULL, 10) : 0;

    return seconds > 0 ? seconds : DEADLINE_SECONDS;
}

/* The child is the leader of a group, so that whatever it has started goes
 * with it. Returns its wait status, or -1 when it took too long. */
static int wait_child(pid_t pid)
{
    int64_t until = real_ns() + deadline() * SECOND;
    sigset_t chld;
    int status;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        int64_t left = until - real_ns();
        struct timespec ts = { left / SECOND, left % SECOND };

        if (left <= 0) {
            kill(-pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -1;
        }
        sigtimedwait(&chld, NULL, &ts);
    }
    kill(-pid, SIGKILL);
    return status;
}

static _Noreturn void run_child(test_fn *fn)
{
    sigset_t none;

    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fn();
    fflush(stdout);
    exit(0); /* not _exit: the leak check runs at exit */
}

static bool run_forked(test_fn *fn)
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        abort();
    if (pid == 0)
        run_child(fn);
    setpgid(pid, pid);
    status = wait_child(pid);
    if (status < 0)
        printf("    deadline: not done in %ld s\n", deadline());
    else if (WIFSIGNALED(status))
        printf("    ended by signal: %s\n", strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) > 1)
        printf("    ended with exit code %d\n", WEXITSTATUS(status));
    return status == 0;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]))
            return true;
    return argc < 2;
}

static bool run(test_fn *fn)
{
    bool passed;

    if (!make_dir()) {
        printf("    no directory %s: %s\n", dir, strerror(errno));
        return false;
    }
    fflush(stdout);
    if (getenv("T_NOFORK")) {
        fn();
        passed = true;
    } else {
        passed = run_forked(fn);
    }
    remove_dir();
    return passed;
}

int main(int argc, char **argv)
{
    bool colour = isatty(STDOUT_FILENO);
    int passed = 0, failed = 0;
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    for (size_t i = 0; i < test_count; i++) {
        bool ok;

        if (!wanted(tests[i].name, argc, argv))
            continue;
        ok = run(tests[i].fn);
        passed += ok;
        failed += !ok;
        printf("%s%s%s %s\n", colour ? (ok ? "\033[32m" : "\033[31m") : "",
               ok ? "ok  " : "FAIL", colour ? "\033[0m" : "", tests[i].name);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}

/* NNG frees its dialers and listeners, and the connections that hang on them,
 * in a thread of its own some time after they were closed: what is left of
 * these when a test ends is no leak. Messages are no part of that: one that we
 * have not freed is told, be it ours or received. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:nng_dialer_create\n"
           "leak:nng_listener_create\n";
}
