#include "proto/contention.h"

#include <sys/resource.h>

#include "base/base.h"

#define SOONEST  (20 * MILLISECOND)
#define OUTDATED (1 * SECOND)
#define STAYS    (1 * SECOND)
enum { LEAST = 4 };

bool contention_of(long given_up, long taken)
{
    return taken >= LEAST && taken >= given_up / 4 * 3;
}

bool contention_found(struct contention *c, int64_t now_ns)
{
    int64_t elapsed = now_ns - c->since_ns;
    struct rusage now;

    if (elapsed < SOONEST || getrusage(RUSAGE_THREAD, &now) < 0)
        return now_ns < c->until_ns;
    if (elapsed < OUTDATED && contention_of(now.ru_nvcsw - c->given_up,
                                            now.ru_nivcsw - c->taken))
        c->until_ns = now_ns + STAYS;
    c->since_ns = now_ns;
    c->given_up = now.ru_nvcsw;
    c->taken = now.ru_nivcsw;
    return now_ns < c->until_ns;
}
