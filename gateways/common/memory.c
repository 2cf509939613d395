#include "gateways/common/memory.h"

#include "base/err.h"
#include "gateways/common/core.h"
#include "proto/frame.h"
#include "proto/frame_io.h"
#include "proto/memory.h"
#include "proto/pipe.h"

static void report_tables(const struct gateway *g, struct buf *b)
{
    const struct conns *cs = &g->conns;
    const struct ring *r = &g->ring;
    size_t entries = r->entries ? (r->mask + 1) * sizeof *r->entries : 0;

    memory_row(b, "connections", stat_get(&g->stats, STAT_CONNS),
               conns_bytes(cs));
    memory_row(b, "busy connections", cs->extras,
               g->moment.blocks.taken * BLOCK_BYTES);
    memory_row(b, "output", 0, stat_get(&g->stats, STAT_QUEUED));
    memory_row(b, "channels", g->topics.slabs.objects,
               g->topics.slabs.blocks.taken * BLOCK_BYTES);
    memory_row(b, "hash tables", map_count(&g->topics.by_id),
               map_bytes(&g->topics.by_id));
    memory_row(b, "seats in lists", 0, seats_bytes());
    memory_row(b, "recent messages", (uint64_t)(r->next - r->first),
               r->bytes + entries);
    memory_row(b, "pages of history", 0, g->pages.bytes);
    memory_row(b, "link", 0, pipe_queued(g->pipe));
    memory_row(b, "buffers", 2, READ_BUFFER + sizeof *g->out);
    /* The allocator is the process's: its first worker speaks of it. */
    if (g->first)
        memory_idle_row(b);
}

int gateway_asked(struct gateway *g, struct slice body)
{
    struct frame_query f;
    struct buf *b;
    int rc = frame_read_query(body, &f);

    if (rc < 0)
        return rc;
    b = pipe_frame(g->pipe, FRAME_TOLD);
    put_u32(b, f.ref);
    if (slice_eq(f.verb, SLICE(MEMORY_TABLES)))
        report_tables(g, b);
    else if (slice_eq(f.verb, SLICE(MEMORY_TRIM)) && g->first)
        memory_trim(b);
    pipe_frame_end(g->pipe);
    return 0;
}
