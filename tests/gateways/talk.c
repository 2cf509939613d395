#include "tests/gateways/talk.h"

#include "base/check.h"

enum { PENDING_MAX = 512 };

static uint32_t state;
static const struct fake_call *pending[PENDING_MAX];
static unsigned count;

void talk_begin(uint32_t number)
{
    state = number * 2654435761u | 1;
    count = 0;
}

uint32_t talk_chance(uint32_t of)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % of;
}

void talk_ask(const struct fake_call *k)
{
    CHECK(count < PENDING_MAX);
    pending[count++] = k;
}

unsigned talk_pending(void)
{
    return count;
}

const struct fake_call *talk_question(unsigned i)
{
    CHECK(i < count);
    return pending[i];
}

void talk_forget(unsigned i)
{
    CHECK(i < count);
    pending[i] = pending[--count];
}
