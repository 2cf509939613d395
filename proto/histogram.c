#include "proto/histogram.h"

#include <math.h>

#include "base/base.h"

/* A bucket above the exact ones keeps the upper eight bits of its values. */
enum { EXACT = 256, HALF = 128, KEPT = 8 };
#define LARGEST ((UINT64_C(1) << HISTOGRAM_BITS) - 1)

static size_t bucket(uint64_t value)
{
    unsigned shift;

    if (value < EXACT)
        return value;
    shift = 64 - KEPT - (unsigned)__builtin_clzll(value);
    return EXACT + (shift - 1) * HALF + ((value >> shift) - HALF);
}

uint64_t histogram_low(size_t i)
{
    uint64_t above = i - EXACT;

    return i < EXACT ? i : (HALF + above % HALF) << (above / HALF + 1);
}

uint64_t histogram_high(size_t i)
{
    return i < EXACT ? i
                     : histogram_low(i)
                           + ((UINT64_C(1) << ((i - EXACT) / HALF + 1)) - 1);
}

/* There is one writer: no locked instruction is needed. */
static uint64_t get(const _Atomic uint64_t *of)
{
    return atomic_load_explicit(of, memory_order_relaxed);
}

static void set(_Atomic uint64_t *of, uint64_t value)
{
    atomic_store_explicit(of, value, memory_order_relaxed);
}

static void more(_Atomic uint64_t *of, uint64_t by)
{
    set(of, get(of) + by);
}

void histogram_record(struct histogram *h, int64_t value)
{
    uint64_t v = MIN((uint64_t)MAX(value, 0), LARGEST);

    more(&h->count[bucket(v)], 1);
    more(&h->sum, v);
    if (v > get(&h->max))
        set(&h->max, v);
    more(&h->total, 1);
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        more(&to->count[i], get(&from->count[i]));
    more(&to->total, get(&from->total));
    more(&to->sum, get(&from->sum));
    set(&to->max, MAX(get(&to->max), get(&from->max)));
}

void histogram_subtract(struct histogram *from,
                        const struct histogram *before)
{
    uint64_t total = 0, max = 0;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t left = get(&from->count[i]) - get(&before->count[i]);

        set(&from->count[i], left);
        total += left;
        max = left ? histogram_high(i) : max;
    }
    set(&from->total, total);
    set(&from->sum, get(&from->sum) - get(&before->sum));
    set(&from->max, MIN(max, get(&from->max)));
}

uint64_t histogram_total(const struct histogram *h)
{
    return get(&h->total);
}

uint64_t histogram_max(const struct histogram *h)
{
    return get(&h->max);
}

double histogram_mean(const struct histogram *h)
{
    uint64_t total = get(&h->total);

    return total ? (double)get(&h->sum) / (double)total : 0;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t all = 0, seen = 0, rank;

    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        all += get(&h->count[i]);
    if (!all)
        return 0;
    rank = (uint64_t)ceil(q * (double)all);
    rank = MIN(MAX(rank, 1), all);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += get(&h->count[i]);
        if (seen >= rank)
            return MIN(histogram_high(i), get(&h->max));
    }
    return get(&h->max);
}
