/* base.h - the few macros that every file may use.
 * Threads: any. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The struct of `type` whose `member` is at `ptr`. The conditional makes a
 * pointer of another type a compiler warning; ptr is evaluated once. */
#define CONTAINER_OF(ptr, type, member)                    \
    ((type *)(void *)((char *)(uintptr_t)(1 ? (ptr)        \
                          : &((type *)0)->member)          \
                      - offsetof(type, member)))

/* Elements of a true array; not for pointers. */
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Arguments are evaluated twice: keep them free of side effects. */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* A parameter that this implementation of an interface does not need. */
#define UNUSED(x) ((void)(x))

/* The caller has to look at the result. */
#define MUST_USE __attribute__((warn_unused_result))

/* Argument `fmt` is a printf format for the arguments from `first` on. */
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/* Text of a macro's value, as in STRINGIFY(__LINE__). */
#define STRINGIFY(x)  STRINGIFY_(x)
#define STRINGIFY_(x) #x

#define KIB (INT64_C(1) << 10)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

/* Durations are nanoseconds in an int64_t everywhere but on the wire. */
#define MICROSECOND (INT64_C(1000))
#define MILLISECOND (INT64_C(1000000))
#define SECOND      (INT64_C(1000000000))
#define MINUTE      (60 * SECOND)
#define HOUR        (60 * MINUTE)
#define DAY         (24 * HOUR)

#endif
