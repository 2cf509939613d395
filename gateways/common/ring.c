#include "gateways/common/ring.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

enum { RING_ROOM_FIRST = 64 };

/* What an entry stands for: the bytes, and about as much again once an edge
 * has encoded them. */
static size_t weight(const struct msg *m)
{
    return sizeof(struct ring_entry) + 2 * msg_size(m);
}

void ring_init(struct ring *r, size_t bytes_max)
{
    *r = (struct ring){.first = 1, .next = 1, .bytes_max = bytes_max};
}

void ring_fini(struct ring *r)
{
    while (r->first < r->next)
        ring_drop_first(r);
    free(r->entries);
    r->entries = NULL;
}

static int grow(struct ring *r)
{
    size_t room = r->entries ? (r->mask + 1) * 2 : RING_ROOM_FIRST;
    struct ring_entry *e = malloc(room * sizeof *e);

    if (!e)
        return ERR_NOMEM;
    for (uint64_t t = r->first; t < r->next; t++)
        e[t & (room - 1)] = r->entries[t & r->mask];
    free(r->entries);
    r->entries = e;
    r->mask = room - 1;
    return 0;
}

int ring_append(struct ring *r, struct topic *topic, struct msg *m,
                uint64_t previous, int64_t now_ns, uint64_t *tick)
{
    if (!r->entries || r->next - r->first > r->mask) {
        int rc = grow(r);

        if (rc < 0)
            return rc;
    }
    r->entries[r->next & r->mask] = (struct ring_entry){
        .msg = msg_hold(m),
        .topic = topic,
        .previous = previous,
        .came_ns = now_ns,
    };
    r->bytes += weight(m);
    *tick = r->next++;
    return 0;
}

struct ring_entry *ring_at(const struct ring *r, uint64_t tick)
{
    if (tick < r->first || tick >= r->next)
        return NULL;
    return &r->entries[tick & r->mask];
}

uint64_t ring_tick_of(const struct ring *r, uint64_t seq)
{
    uint64_t low = r->first, high = r->next; /* first entry above seq */

    while (low < high) {
        uint64_t mid = low + (high - low) / 2;

        if (r->entries[mid & r->mask].msg->seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low - 1;
}

struct ring_entry *ring_overdue(const struct ring *r, int64_t now_ns)
{
    struct ring_entry *e = ring_at(r, r->first);

    if (!e)
        return NULL;
    if (r->bytes > r->bytes_max ||
        now_ns - e->came_ns > RING_KEEP_MS * INT64_C(1000000))
        return e;
    return NULL;
}

/* Gives memory back after a crowd: at an eighth full, half the room. */
static void shrink(struct ring *r)
{
    size_t room = r->mask + 1, used = (size_t)(r->next - r->first);
    struct ring_entry *e;

    if (room <= RING_ROOM_FIRST || used > room / 8)
        return;
    e = malloc(room / 2 * sizeof *e);
    if (!e)
        return;
    room /= 2;
    for (uint64_t t = r->first; t < r->next; t++)
        e[t & (room - 1)] = r->entries[t & r->mask];
    free(r->entries);
    r->entries = e;
    r->mask = room - 1;
}

void ring_drop_first(struct ring *r)
{
    struct ring_entry *e = ring_at(r, r->first);

    CHECK(e != NULL);
    r->gone_seq = e->msg->seq;
    r->bytes -= weight(e->msg);
    msg_drop(e->msg);
    r->first++;
    shrink(r);
}
