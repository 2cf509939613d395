#include "tools/flood/share.h"

#include <sys/mman.h>

/* A count of so many bits behind the tag in a slot. */
enum { COUNT_BITS = 24 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

static void *shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

struct share *share_new(size_t n)
{
    return shared(n * sizeof(struct share));
}

struct stage *stage_new(uint64_t ids)
{
    struct stage *s = shared(sizeof *s);

    if (!s)
        return NULL;
    s->newest = shared(ids * sizeof *s->newest);
    s->upto = shared(ids * sizeof *s->upto);
    s->audience = shared(ids * sizeof *s->audience);
    s->ids = ids;
    return s->newest && s->upto && s->audience ? s : NULL;
}

static uint64_t mix(uint64_t id, uint64_t number)
{
    uint64_t h = id * UINT64_C(0x9e3779b97f4a7c15) + number;

    h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

bool stage_is_last(struct stage *s, uint64_t id, uint64_t number)
{
    uint32_t all = atomic_load_explicit(&s->audience[id],
                                        memory_order_relaxed);
    uint64_t hash = mix(id, number), tag = hash & ~COUNT_MASK;
    _Atomic uint64_t *slot = &s->slots[hash % STAGE_SLOTS];
    uint64_t was, now;

    if (all < 2)
        return false;
    was = atomic_load_explicit(slot, memory_order_relaxed);
    do {
        now = (was & ~COUNT_MASK) == tag ? was + 1 : tag + 1;
    } while (!atomic_compare_exchange_weak_explicit(slot, &was, now,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return (now & COUNT_MASK) == all;
}

void stage_saw(struct stage *s, uint64_t id, uint64_t number)
{
    uint64_t was = atomic_load_explicit(&s->newest[id], memory_order_relaxed);

    while (was < number
           && !atomic_compare_exchange_weak_explicit(&s->newest[id], &was,
                                                     number,
                                                     memory_order_relaxed,
                                                     memory_order_relaxed))
        ;
}

void stage_mark_end(struct stage *s)
{
    for (uint64_t i = 0; i < s->ids; i++) {
        uint64_t newest = atomic_load_explicit(&s->newest[i],
                                               memory_order_relaxed);

        if (newest)
            atomic_store_explicit(&s->upto[i], newest, memory_order_relaxed);
    }
}
