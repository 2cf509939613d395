#include "tools/router-ctl/census.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/report.h"

enum { FAMILY_MAX = 256 };

static const struct row {
    const char *metric, *label;
    bool counter;
} rows[CENSUS_COUNT] = {
#define GAUGE   false
#define COUNTER true
#define AS_ROW(id, column, kind, metric, label) { metric, label, kind },
    CENSUS_FIGURES(AS_ROW)
#undef AS_ROW
};

const char *const census_columns[CENSUS_COUNT] = {
#define AS_COLUMN(id, column, kind, metric, label) column,
    CENSUS_FIGURES(AS_COLUMN)
#undef AS_COLUMN
};

const bool census_is_rate[CENSUS_COUNT] = {
#define AS_KIND(id, column, kind, metric, label) kind,
    CENSUS_FIGURES(AS_KIND)
#undef AS_KIND
};

/* ---- who ----------------------------------------------------------------- */

static struct census_process *add(struct census *c, uint32_t pid)
{
    struct census_process *p = c->list;

    if (c->count == c->room) {
        size_t room = c->room ? c->room * 2 : 16;

        p = realloc(c->list, room * sizeof *p);
        if (!p) {
            c->failed = true;
            return NULL;
        }
        c->list = p;
        c->room = room;
    }
    p = &c->list[c->count++];
    memset(p, 0, sizeof *p);
    p->pid = pid;
    return p;
}

static struct census_process *find_pid(const struct census *c, uint32_t pid)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].pid == pid)
            return &c->list[i];
    return NULL;
}

static void put_text(char *to, size_t room, struct slice text)
{
    size_t len = MIN(text.len, room - 1);

    memcpy(to, text.ptr, len);
    to[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)to[i] < 0x21 || (unsigned char)to[i] > 0x7e
            || to[i] == ',' || to[i] == '"')
            to[i] = '?';
}

/* ---- figures ------------------------------------------------------------- */

struct sample { /* a row of `stats` or of `gateways` */
    struct slice gateway, edge, name, label, state;
    uint64_t pid, value;
};

static void take_field(struct sample *s, const struct report_field *f)
{
    if (slice_eq(f->key, SLICE("gateway")))
        s->gateway = f->text;
    else if (slice_eq(f->key, SLICE("edge")))
        s->edge = f->text;
    else if (slice_eq(f->key, SLICE("name")))
        s->name = f->text;
    else if (slice_eq(f->key, SLICE("label")))
        s->label = f->text;
    else if (slice_eq(f->key, SLICE("state")))
        s->state = f->text;
    else if (slice_eq(f->key, SLICE("pid")))
        s->pid = f->number;
    else if (slice_eq(f->key, SLICE("value")))
        s->value = f->number;
}

/* Of several workers the first one names the process. */
static struct census_process *process_of(struct census *c,
                                         const struct sample *s)
{
    struct census_process *p = find_pid(c, (uint32_t)s->pid);
    char name[sizeof p->name];

    if (!p)
        p = add(c, (uint32_t)s->pid);
    if (!p)
        return NULL;
    put_text(name, sizeof name, s->gateway);
    if (!*p->name || strcmp(name, p->name) < 0)
        memcpy(p->name, name, sizeof name);
    put_text(p->edge, sizeof p->edge, s->edge);
    return p;
}

static void take_sample(struct census *c, const struct sample *s)
{
    struct census_process *p;

    if (slice_eq(s->state, SLICE("missing")))
        return;
    p = process_of(c, s);
    for (size_t i = 0; p && i < CENSUS_COUNT; i++)
        if (slice_eq(s->name, slice_str(rows[i].metric))
            && (!rows[i].label
                || slice_eq(s->label, slice_str(rows[i].label))))
            p->figures[i] += s->value;
}

static void take_report(struct census *c, struct slice report)
{
    struct cursor cur = cursor_init(report);
    struct sample s = { .value = 0 };
    enum report_event event;
    struct report_field f;

    while (report_next(&cur, &event, &f) == 0 && event != REPORT_END)
        if (event == REPORT_ROW)
            s = (struct sample){ .value = 0 };
        else if (event == REPORT_FIELD)
            take_field(&s, &f);
        else if (event == REPORT_ROW_END)
            take_sample(c, &s);
}

static int compare_names(const void *a, const void *b)
{
    const struct census_process *x = a, *y = b;
    bool router = strcmp(x->edge, "router") == 0;

    if (router != (strcmp(y->edge, "router") == 0))
        return router ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* ---- the family ---------------------------------------------------------- */

/* A pid from another machine may be anybody's here. */
static bool is_ours(uint32_t pid, struct proc_who *who)
{
    return proc_who(pid, who) && strncmp(who->name, "touchline", 9) == 0;
}

static void add_relative(struct census *c, uint32_t pid)
{
    struct census_process *p;
    struct proc_who who;

    if (find_pid(c, pid) || !is_ours(pid, &who))
        return;
    p = add(c, pid);
    if (p)
        put_text(p->name, sizeof p->name, slice_str(who.name));
}

/* Whoever started the router, if it is one of us, and those whom it started
 * besides. */
static void add_family(struct census *c)
{
    uint32_t children[FAMILY_MAX];
    struct proc_who who, parent;
    size_t n;

    if (!c->count || !is_ours(c->list[0].pid, &who)
        || !is_ours(who.parent, &parent))
        return;
    add_relative(c, who.parent);
    n = proc_children(who.parent, children, FAMILY_MAX);
    for (size_t i = 0; i < n; i++)
        add_relative(c, children[i]);
}

static void measure(struct census_process *p)
{
    struct proc_who who;

    p->local = is_ours(p->pid, &who) && proc_memory(p->pid, &p->memory)
               && proc_cpu_ns(p->pid, &p->cpu_ns);
}

static void sum_up(struct census *c)
{
    struct census_process *all = &c->all;

    *all = (struct census_process){ .name = "all", .local = true };
    all->memory.exact = true;
    for (size_t i = 0; i < c->count; i++) {
        const struct census_process *p = &c->list[i];

        all->memory.exact &= !p->local || p->memory.exact;
        all->memory.private += p->memory.private;
        all->memory.pss += p->memory.pss;
        all->memory.rss += p->memory.rss;
        all->memory.heap += p->memory.heap;
        all->cpu_ns += p->cpu_ns;
        for (size_t k = 0; k < CENSUS_COUNT; k++)
            all->figures[k] += p->figures[k];
    }
}

void census_take(struct census *c, struct slice stats, struct slice gateways)
{
    *c = (struct census)CENSUS_EMPTY;
    take_report(c, stats);
    take_report(c, gateways);
    if (c->count)
        qsort(c->list, c->count, sizeof *c->list, compare_names);
    add_family(c);
    for (size_t i = 0; i < c->count; i++)
        measure(&c->list[i]);
    sum_up(c);
    c->at_ns = clock_ns();
    c->time_ms = clock_wall_ms();
}

void census_fini(struct census *c)
{
    free(c->list);
    *c = (struct census)CENSUS_EMPTY;
}

/* ---- rates --------------------------------------------------------------- */

static void compare(struct census_process *p, const struct census_process *was,
                    double seconds)
{
    for (size_t i = 0; i < CENSUS_COUNT; i++)
        if (!rows[i].counter)
            p->rates[i] = (double)p->figures[i];
        else if (was && p->figures[i] >= was->figures[i])
            p->rates[i] = (double)(p->figures[i] - was->figures[i]) / seconds;
    if (was && p->cpu_ns > was->cpu_ns)
        p->cpu = (double)(p->cpu_ns - was->cpu_ns) / (double)SECOND / seconds;
}

void census_compare(struct census *now, const struct census *before)
{
    double seconds = (double)MAX(now->at_ns - before->at_ns, MILLISECOND)
                     / (double)SECOND;
    struct census_process *all = &now->all;

    all->cpu = 0;
    memset(all->rates, 0, sizeof all->rates);
    for (size_t i = 0; i < now->count; i++) {
        struct census_process *p = &now->list[i];

        compare(p, find_pid(before, p->pid), seconds);
        all->cpu += p->cpu;
        for (size_t k = 0; k < CENSUS_COUNT; k++)
            all->rates[k] += p->rates[k];
    }
}

int census_ask(struct ctl *c, struct census *ret)
{
    struct buf stats = BUF_INIT, gateways = BUF_INIT;
    int code = ctl_query(c, "stats", SLICE(""), &stats);

    if (code == EXIT_DONE)
        code = ctl_query(c, "gateways", SLICE(""), &gateways);
    if (code == EXIT_DONE) {
        census_take(ret, buf_slice(&stats), buf_slice(&gateways));
        if (ret->failed) {
            census_fini(ret);
            code = ctl_fail(c, EXIT_FAILED, "out of memory");
        }
    }
    buf_fini(&stats);
    buf_fini(&gateways);
    return code;
}
