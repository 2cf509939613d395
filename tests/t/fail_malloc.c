/* The link says --wrap=malloc and so on: our code's calls come here. */
#include <errno.h>
#include <stdatomic.h>

#include "tests/t/t.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t n);
void *__real_memalign(size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t n);
void *__wrap_reallocarray(void *ptr, size_t n, size_t size);
void *__wrap_memalign(size_t alignment, size_t n);
char *__wrap_strdup(const char *text);

enum { OFF = -1 };
static atomic_long left = OFF;

void test_fail_malloc_after(long n)
{
    atomic_store(&left, n);
}

bool test_malloc_failed(void)
{
    return atomic_exchange(&left, OFF) == OFF;
}

static bool fails_now(void)
{
    long n = atomic_load(&left);

    while (n != OFF)
        if (atomic_compare_exchange_weak(&left, &n, n - 1)) {
            errno = ENOMEM;
            return n == 0; /* and off from here on: n - 1 is OFF */
        }
    return false;
}

void *__wrap_malloc(size_t n)
{
    return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *ptr, size_t n)
{
    return fails_now() ? NULL : __real_realloc(ptr, n);
}

void *__wrap_reallocarray(void *ptr, size_t n, size_t size)
{
    size_t bytes;

    if (fails_now() || __builtin_mul_overflow(n, size, &bytes))
        return NULL;
    return __real_realloc(ptr, bytes);
}

void *__wrap_memalign(size_t alignment, size_t n)
{
    return fails_now() ? NULL : __real_memalign(alignment, n);
}

char *__wrap_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = fails_now() ? NULL : __real_malloc(n);

    return copy ? memcpy(copy, text, n) : NULL;
}
