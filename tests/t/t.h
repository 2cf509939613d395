/* t.h - the test runner: each test in a process of its own, with a deadline
 * and a directory that is gone afterwards.
 *
 *   TEST(a_slow_reader_delays_nobody)
 *   {
 *       EXPECT_INT(peer_missed(quick), 0);
 *   }
 *
 * The name is the claim. A failed EXPECT ends its test and prints where and
 * what. `x_test WORD...` runs the tests whose names contain a WORD;
 * T_DEADLINE=SECONDS (default 20, four times that under a sanitizer) is the
 * time each may take; T_NOFORK=1 runs them in one process, for a debugger. */
#ifndef TESTS_T_H
#define TESTS_T_H

#include <stdlib.h>

#include "base/slice.h"

typedef void test_fn(void);
void test_register(const char *name, test_fn *fn);

#define TEST(name)                                                        \
    static void test_##name(void);                                        \
    __attribute__((constructor)) static void register_##name(void)        \
    {                                                                     \
        test_register(#name, test_##name);                                \
    }                                                                     \
    static void test_##name(void)

#define EXPECT(cond) \
    ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #cond))

/* Signed or unsigned up to 63 bits; both sides are evaluated once. */
#define EXPECT_INT(got, want)                                             \
    test_expect_int(__FILE__, __LINE__, #got, (int64_t)(got),             \
                    (int64_t)(want))

/* Zero-terminated texts; NULL equals only NULL. */
#define EXPECT_STR(got, want) \
    test_expect_str(__FILE__, __LINE__, #got, (got), (want))

#define EXPECT_SLICE(got, want) \
    test_expect_slice(__FILE__, __LINE__, #got, (got), (want))

/* 0, or the name of the error it is. */
#define EXPECT_OK(rc) test_expect_err(__FILE__, __LINE__, #rc, (rc), 0)
#define EXPECT_ERR(rc, want) \
    test_expect_err(__FILE__, __LINE__, #rc, (rc), (want))

/* `needle` is somewhere in the text. */
#define EXPECT_CONTAINS(text, needle) \
    test_expect_contains(__FILE__, __LINE__, #text, (text), (needle))

/* Waits for cond to become true, running `step` (which should block for a
 * short while) in between; fails after ten seconds, forty under a sanitizer. */
#define EXPECT_SOON(cond, step)                                           \
    for (struct test_soon soon_ = test_soon(); !(cond);) {                \
        if (test_soon_over(&soon_))                                       \
            test_fail(__FILE__, __LINE__, "not in time: %s", #cond);      \
        step;                                                             \
    }

_Noreturn PRINTF_LIKE(3, 4)
void test_fail(const char *file, int line, const char *fmt, ...);
void test_expect_int(const char *file, int line, const char *what, int64_t got,
                     int64_t want);
void test_expect_str(const char *file, int line, const char *what,
                     const char *got, const char *want);
void test_expect_slice(const char *file, int line, const char *what,
                       struct slice got, struct slice want);
void test_expect_err(const char *file, int line, const char *what, int got,
                     int want);
void test_expect_contains(const char *file, int line, const char *what,
                          const char *text, const char *needle);

struct test_soon {
    int64_t until_ns;
};
struct test_soon test_soon(void);
bool test_soon_over(const struct test_soon *s);

/* This test's own directory, absolute, empty at its start. */
const char *test_dir(void);

/* "<test_dir>/<name>"; valid until the test ends. */
const char *test_path(const char *name);

/* A file of the shared test data ("conformance/utf8-cases.txt"): in
 * $TOUCHLINE_DATA, else in ../shared/data beside the source tree. Without it
 * the test fails: what is not there is not tested, and that must show. The
 * caller frees the bytes. */
char *test_data(const char *name, size_t *len);

/* The whole file at path, terminated; fails the test when it cannot. */
char *test_read_file(const char *path, size_t *len);
void test_write_file(const char *path, struct slice bytes);

/* A seeded pseudo-random number; the seed is printed when the test fails and
 * taken from T_SEED when that is set. */
uint64_t test_random(void);

/* After n more allocations of our own code (malloc, calloc, realloc,
 * reallocarray, strdup) the next one fails, once. So
 *     for (n = 0; test_fail_malloc_after(n), ...try...; n++)
 * until test_malloc_failed() says that none was left to fail tries every one.
 * Libraries keep their own. */
void test_fail_malloc_after(long n);

/* Has the failure asked for happened? Also calls it off. */
bool test_malloc_failed(void);

#endif
