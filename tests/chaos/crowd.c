#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "tests/chaos/crowd.h"

uint64_t crowd_random(struct crowd *c)
{
    c->random ^= c->random >> 12;
    c->random ^= c->random << 25;
    c->random ^= c->random >> 27;
    return c->random * 0x2545f4914f6cdd1du;
}

uint64_t crowd_below(struct crowd *c, uint64_t n)
{
    return n ? (crowd_random(c) >> 11) % n : 0;
}

bool crowd_chance(struct crowd *c, double p)
{
    return (double)(crowd_random(c) >> 11) < p * 0x1p53;
}

/* The number of `12` or `h12-v12-...`; of a team two for each number. */
static unsigned number_of(struct slice name, bool team)
{
    size_t at = name.len && (name.ptr[0] == 'h' || name.ptr[0] == 'v');
    unsigned k = 0;

    for (size_t i = at; i < name.len && name.ptr[i] >= '0' &&
         name.ptr[i] <= '9'; i++)
        k = k * 10 + (unsigned)(name.ptr[i] - '0');
    return team && k ? 2 * k - 1 + (name.ptr[0] == 'v') : k;
}

int crowd_channel(const struct crowd *c, struct slice name)
{
    unsigned first = 0, k;

    for (unsigned i = 0; i < c->options->space_count; i++) {
        const struct space *s = &c->options->spaces[i];
        size_t n = strlen(s->prefix);

        if (slice_starts(name, slice_make(s->prefix, n)) && name.len > n + 1 &&
            name.ptr[n] == '/') {
            k = number_of(slice_from(name, n + 1), event_is_team(name));
            return k >= 1 && k <= s->count ? (int)(first + k - 1) : -1;
        }
        first += s->count;
    }
    return -1;
}

void crowd_say(struct crowd *c, char kind, const char *fmt, ...)
{
    va_list args;

    fprintf(c->log, "%c %ld ", kind, clock_ns());
    va_start(args, fmt);
    vfprintf(c->log, fmt, args);
    va_end(args);
    fputc('\n', c->log);
}
