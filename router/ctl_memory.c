/* ctl_memory.c - mem, trim: what all processes keep in memory. */
#include "router/memory.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/frame_io.h"
#include "proto/memory.h"
#include "router/ctl_verb.h"
#include "store/writer.h"

/* A question that gateways have been asked for. */
struct gathering {
    struct list_node node; /* memory_questions.list */
    struct router *router;
    struct ctl_question *question; /* frees itself with the answer */
    uint32_t number;
    struct buf report;
    struct loop_timer late;
    size_t waiting; /* links without an answer */
    struct link *links[];
};

static void report_process(struct buf *b, const char *gateway,
                           const char *edge, uint64_t pid)
{
    report_text(b, "gateway", slice_str(gateway));
    report_text(b, "edge", slice_str(edge));
    report_number(b, "pid", pid);
}

/* Rows, each with its origin in front; false: they make no sense, and those
 * that do are there. */
static bool report_rows(struct buf *b, struct slice rows, const char *gateway,
                        const char *edge, uint64_t pid)
{
    struct cursor c = cursor_init(rows);
    enum report_event event;
    struct report_field f;
    struct slice table = SLICE("");
    uint64_t count = 0, bytes = 0;
    int rc;

    while ((rc = report_next(&c, &event, &f)) == 0 && event != REPORT_END) {
        if (event == REPORT_ROW)
            table = SLICE(""), count = bytes = 0;
        else if (event == REPORT_FIELD && slice_eq(f.key, SLICE("table")))
            table = f.text;
        else if (event == REPORT_FIELD && slice_eq(f.key, SLICE("count")))
            count = f.number;
        else if (event == REPORT_FIELD && slice_eq(f.key, SLICE("bytes")))
            bytes = f.number;
        if (event != REPORT_ROW_END)
            continue;
        report_row(b);
        report_process(b, gateway, edge, pid);
        report_text(b, "table", table);
        report_number(b, "count", count);
        report_number(b, "bytes", bytes);
        report_row_end(b);
    }
    return rc == 0;
}

/* ---- the router's own ---------------------------------------------------- */

struct links_memory {
    uint64_t count, connections, pages, warm, queued;
};

static struct links_memory links_memory(const struct router *r)
{
    struct links_memory m = {0};

    LIST_FOREACH(l, &r->links.all, struct link, node) {
        m.count++;
        m.connections += l->seats.conns;
        m.pages += l->seats.blocks.taken * BLOCK_BYTES +
                   l->seats.page_count * sizeof *l->seats.pages;
        m.warm += l->seats.warm_room * sizeof *l->seats.warm;
        m.queued += lane_held(&l->lane) + l->figures.cap;
    }
    return m;
}

static void report_tables(const struct router *r, struct buf *b)
{
    const struct table *t = &r->table;
    struct links_memory m = links_memory(r);

    memory_row(b, "channels", t->slabs.objects,
               t->slabs.blocks.taken * BLOCK_BYTES);
    memory_row(b, "hash tables", map_count(&t->topics) + map_count(&t->names),
               map_bytes(&t->topics) + map_bytes(&t->names));
    memory_row(b, "what channels had", t->pasts,
               t->pasts * sizeof(struct past));
    memory_row(b, "connections", m.connections, m.pages);
    memory_row(b, "seats in lists", 0, seats_bytes());
    memory_row(b, "channels kept warm", 0, m.warm);
    memory_row(b, "links", m.count, m.queued);
    memory_row(b, "store", 0, writer_memory());
    memory_idle_row(b);
}

static void answer_own(struct gathering *g, const char *verb)
{
    struct buf rows = BUF_INIT;

    if (slice_eq(slice_str(verb), SLICE(MEMORY_TRIM))) {
        memory_trim(&rows);
    } else {
        report_tables(g->router, &rows);
    }
    report_part(&g->report, "memory");
    (void)!report_rows(&g->report, buf_slice(&rows), "router", "router",
                       (uint64_t)getpid());
    g->report.failed |= rows.failed;
    buf_fini(&rows);
}

/* ---- gathering ----------------------------------------------------------- */

static void gathering_free(struct gathering *g)
{
    list_remove(&g->node);
    loop_timer_stop(&g->late);
    buf_fini(&g->report);
    free(g);
}

static void finish(void *ctx)
{
    struct gathering *g = ctx;
    struct ctl_question *q = g->question;

    if (q->link)
        ctl_answer_report(q->link, q->ref, &g->report);
    ctl_question_drop(q);
    gathering_free(g);
}

static void ask(struct gathering *g, struct link *l, const char *verb)
{
    const struct frame_query f = {.ref = g->number, .verb = slice_str(verb)};

    frame_write_query(lane_frame(&l->lane, FRAME_ASK), &f);
    lane_frame_end(&l->lane);
    g->links[g->waiting++] = l;
}

/* Who has said who it is, and takes what it is sent. */
static bool can_be_asked(const struct link *l)
{
    return l->who.kind != PEER_CTL && l->state == LINK_LIVE &&
           !lane_full(&l->lane);
}

static void gather(struct link *l, uint32_t ref, const char *verb)
{
    struct router *r = l->router;
    size_t count = 0;
    struct gathering *g;

    LIST_FOREACH(other, &r->links.all, struct link, node)
        count++;
    g = calloc(1, sizeof *g + count * sizeof g->links[0]);
    if (g)
        g->question = ctl_question_new(l, ref, SLICE(""), SLICE(""));
    if (!g || !g->question) {
        free(g);
        ctl_refuse_error(l, ref, ERR_NOMEM);
        return;
    }
    g->router = r;
    g->number = r->memory.next++;
    list_add_tail(&r->memory.list, &g->node);
    loop_timer_init(&g->late, r->loop, finish, g);
    LIST_FOREACH(other, &r->links.all, struct link, node)
        if (can_be_asked(other))
            ask(g, other, verb);
    answer_own(g, verb);
    loop_timer_set(&g->late, g->waiting ? MEMORY_WAIT : 0);
}

void ctl_mem(struct link *l, uint32_t ref, struct slice args)
{
    UNUSED(args);
    gather(l, ref, MEMORY_TABLES);
}

void ctl_trim(struct link *l, uint32_t ref, struct slice args)
{
    UNUSED(args);
    gather(l, ref, MEMORY_TRIM);
}

/* It waits for l no more. False: it did not. */
static bool stop_waiting(struct gathering *g, const struct link *l)
{
    for (size_t i = 0; i < g->waiting; i++)
        if (g->links[i] == l) {
            g->links[i] = g->links[--g->waiting];
            if (g->waiting == 0)
                loop_timer_set(&g->late, 0);
            return true;
        }
    return false;
}

int memory_told(struct link *l, struct slice body)
{
    struct cursor c = cursor_init(body);
    uint32_t number = cursor_u32(&c);
    struct slice rows = cursor_rest(&c);

    if (c.failed)
        return ERR_FRAME;
    LIST_FOREACH(g, &l->router->memory.list, struct gathering, node)
        if (g->number == number && stop_waiting(g, l))
            return report_rows(&g->report, rows, l->who.name, l->who.edge,
                               l->who.pid)
                       ? 0
                       : ERR_FRAME;
    return 0;
}

void memory_link_gone(struct link *l)
{
    LIST_FOREACH(g, &l->router->memory.list, struct gathering, node)
        (void)stop_waiting(g, l);
}

void memory_init(struct router *r)
{
    list_init(&r->memory.list);
    r->memory.next = 1;
}

void memory_fini(struct router *r)
{
    struct list_node *n;

    while ((n = list_first(&r->memory.list)))
        gathering_free(CONTAINER_OF(n, struct gathering, node));
}
