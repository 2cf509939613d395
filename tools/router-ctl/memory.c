/* memory.c - the verbs `mem` and `trim`: where the memory of all processes is,
 * and giving back what they have free.
 *
 * What tables say of themselves is set against what the kernel says that the
 * process alone has. What is left is shown as "other": code and its data, stacks,
 * allocations of libraries, the room that the allocator rounds up to. So the rows
 * of a process always make up its private memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "proto/memory.h"
#include "proto/report.h"
#include "tools/router-ctl/census.h"

enum { TABLE_NAME = 32, ROWS_MAX = 4096 };

/* A table of a process, all of its workers together. */
struct entry {
    uint32_t pid;
    char table[TABLE_NAME];
    uint64_t count, bytes;
};

struct tables {
    struct entry *list;
    size_t count, room;
    bool failed;
};

static struct entry *find(struct tables *t, uint32_t pid, const char *table)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->list[i].pid == pid && strcmp(t->list[i].table, table) == 0)
            return &t->list[i];
    return NULL;
}

static struct entry *make(struct tables *t, uint32_t pid, const char *table)
{
    struct entry *e = find(t, pid, table);

    if (e || t->failed)
        return e;
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        e = t->room > ROWS_MAX ? NULL
                               : realloc(t->list, t->room * sizeof *e);
        if (!e) {
            t->failed = true;
            return NULL;
        }
        t->list = e;
    }
    e = &t->list[t->count++];
    *e = (struct entry){ .pid = pid };
    snprintf(e->table, sizeof e->table, "%s", table);
    return e;
}

/* ---- the router's answer -------------------------------------------------- */

struct told { /* a row */
    uint64_t pid, count, bytes;
    char table[TABLE_NAME];
};

static void take_field(struct told *r, const struct report_field *f)
{
    if (slice_eq(f->key, SLICE("pid")))
        r->pid = f->number;
    else if (slice_eq(f->key, SLICE("count")))
        r->count = f->number;
    else if (slice_eq(f->key, SLICE("bytes")))
        r->bytes = f->number;
    else if (slice_eq(f->key, SLICE("table")))
        snprintf(r->table, sizeof r->table, SLICE_FMT, SLICE_ARG(f->text));
}

static void take_rows(struct tables *t, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct told r = { .pid = 0 };
    enum report_event event;
    struct report_field f;

    while (report_next(&c, &event, &f) == 0 && event != REPORT_END) {
        struct entry *e;

        if (event == REPORT_ROW)
            r = (struct told){ .pid = 0 };
        else if (event == REPORT_FIELD)
            take_field(&r, &f);
        if (event != REPORT_ROW_END)
            continue;
        e = make(t, (uint32_t)r.pid, r.table);
        if (e) {
            e->count += r.count;
            e->bytes += r.bytes;
        }
    }
}

/* Asks, and takes the rows apart by process. */
static int ask(struct ctl *c, const char *verb, struct tables *t)
{
    struct buf body = BUF_INIT;
    int code = ctl_query(c, verb, SLICE(""), &body);

    if (code == EXIT_DONE) {
        take_rows(t, buf_slice(&body));
        if (t->failed)
            code = ctl_fail(c, EXIT_FAILED, "out of memory");
    }
    buf_fini(&body);
    return code;
}

/* ---- mem ------------------------------------------------------------------ */

static void report_entry(struct buf *b, const struct census_process *p,
                         const char *table, uint64_t count, uint64_t bytes)
{
    uint64_t clients = p->figures[CENSUS_CONNECTIONS];

    report_row(b);
    report_text(b, "process", slice_str(p->name));
    report_text(b, "memory", slice_str(table));
    report_number(b, "count", count);
    report_number(b, "bytes", bytes);
    report_number(b, "per_connection", clients ? bytes / clients : 0);
    report_row_end(b);
}

/* The rows of a process. What the allocator has free need not be in memory: it
 * is no more than what tables leave over. */
static void report_process(struct buf *b, struct tables *t,
                           const struct census_process *p)
{
    const struct entry *idle = find(t, p->pid, MEMORY_IDLE);
    uint64_t sum = 0, left, free_bytes;

    for (size_t i = 0; i < t->count; i++) {
        const struct entry *e = &t->list[i];

        if (e->pid != p->pid || e == idle || e->bytes == 0)
            continue;
        sum += e->bytes;
        report_entry(b, p, e->table, e->count, e->bytes);
    }
    if (!p->local)
        return;
    left = p->memory.private > sum ? p->memory.private - sum : 0;
    free_bytes = idle ? MIN(idle->bytes, left) : 0;
    if (free_bytes)
        report_entry(b, p, MEMORY_IDLE, idle->count, free_bytes);
    report_entry(b, p, "other", 0, left - free_bytes);
    report_entry(b, p, "= private", p->figures[CENSUS_CONNECTIONS],
                 p->memory.private);
}

/* All clients of all gateways, and what all processes have for them. */
static void report_sums(struct buf *b, const struct census *census)
{
    uint64_t clients = census->all.figures[CENSUS_CONNECTIONS];
    uint64_t bytes = census->all.memory.private;

    report_part(b, "all");
    report_row(b);
    report_number(b, "connections", clients);
    report_number(b, "private", bytes);
    report_number(b, "per_connection", clients ? bytes / clients : 0);
    report_bool(b, "exact", census->all.memory.exact);
    report_row_end(b);
}

static int print(struct ctl *c, struct buf *report)
{
    struct buf out = BUF_INIT;
    int code = EXIT_DONE;

    if (report->failed || show_report(&out, &c->show, buf_slice(report)) < 0
        || show_out(&out) < 0)
        code = ctl_fail(c, EXIT_FAILED, "the answer cannot be written");
    buf_fini(&out);
    return code;
}

int verb_mem(struct ctl *c)
{
    struct census census = CENSUS_EMPTY;
    struct tables tables = { .list = NULL };
    struct buf report = BUF_INIT;
    int code = ask(c, MEMORY_TABLES, &tables);

    if (code == EXIT_DONE)
        code = census_ask(c, &census);
    if (code == EXIT_DONE) {
        report_part(&report, "memory");
        for (size_t i = 0; i < census.count; i++)
            report_process(&report, &tables, &census.list[i]);
        report_sums(&report, &census);
        code = print(c, &report);
    }
    buf_fini(&report);
    free(tables.list);
    census_fini(&census);
    return code;
}

/* ---- trim ----------------------------------------------------------------- */

static const struct census_process *by_pid(const struct census *c,
                                           uint32_t pid)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].pid == pid)
            return &c->list[i];
    return NULL;
}

static void report_trimmed(struct buf *b, const char *name, uint64_t before,
                           uint64_t after, const struct entry *e)
{
    report_row(b);
    report_text(b, "process", slice_str(name));
    report_number(b, "before", before);
    report_number(b, "after", after);
    report_number(b, "given_back", before > after ? before - after : 0);
    if (e)
        report_number(b, "held_us", e->count);
    report_row_end(b);
}

static void report_all_trimmed(struct buf *b, const struct census *before,
                               const struct census *after, struct tables *t)
{
    report_part(b, "trimmed");
    for (size_t i = 0; i < after->count; i++) {
        const struct census_process *p = &after->list[i];
        const struct census_process *was = by_pid(before, p->pid);
        const struct entry *e = find(t, p->pid, MEMORY_TRIMMED);

        if (was && e)
            report_trimmed(b, p->name, was->memory.private,
                           p->memory.private, e);
    }
    report_trimmed(b, "all", before->all.memory.private,
                   after->all.memory.private, NULL);
}

int verb_trim(struct ctl *c)
{
    struct census before = CENSUS_EMPTY, after = CENSUS_EMPTY;
    struct tables tables = { .list = NULL };
    struct buf report = BUF_INIT;
    int code = census_ask(c, &before);

    if (code == EXIT_DONE)
        code = ask(c, MEMORY_TRIM, &tables);
    if (code == EXIT_DONE)
        code = census_ask(c, &after);
    if (code == EXIT_DONE) {
        report_all_trimmed(&report, &before, &after, &tables);
        code = print(c, &report);
    }
    buf_fini(&report);
    free(tables.list);
    census_fini(&before);
    census_fini(&after);
    return code;
}
