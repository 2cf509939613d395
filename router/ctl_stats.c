/* ctl_stats.c - gateways, stats, overview: figures of the router and of its gateways. */
#include <unistd.h>

#include "base/clock.h"
#include "router/ctl_verb.h"

/* ---- gateways, figures ------------------------------------------------- */

static void report_gateway(struct buf *b, const struct link *l)
{
    struct pipe_figures f;

    lane_figures(&l->lane, &f);
    report_row(b);
    report_text(b, "gateway", slice_str(l->who.name));
    report_text(b, "edge", slice_str(l->who.edge));
    report_number(b, "pid", l->who.pid);
    report_text(b, "state", slice_str(link_state_name(l->state)));
    report_number(b, "connections", l->seats.conns);
    report_number(b, "seats", l->seats.seats);
    report_number(b, "queued_bytes", lane_queued(&l->lane));
    report_number(b, "delivered", l->delivered);
    report_number(b, "batches_out", f.batches_out);
    report_number(b, "batches_in", f.batches_in);
    report_number(b, "resent", f.resent);
    report_number(b, "holes", f.holes);
    report_text(b, "via", slice_str(l->via ? l->via->who.name : "router"));
    report_row_end(b);
}

static void report_missing(struct buf *b, const struct missing_gateway *g)
{
    report_row(b);
    report_text(b, "gateway", slice_str(g->who.name));
    report_text(b, "edge", slice_str(g->who.edge));
    report_number(b, "pid", g->who.pid);
    report_text(b, "state", SLICE("missing"));
    report_row_end(b);
}

static void put_gateways(struct router *r, struct buf *b)
{
    report_part(b, "gateways");
    LIST_FOREACH(link, &r->links.all, struct link, node)
        if (link->who.kind != PEER_CTL)
            report_gateway(b, link);
    missing_expire(&r->missing, clock_ns());
    LIST_FOREACH(g, &r->missing.list, struct missing_gateway, node)
        report_missing(b, g);
}

void ctl_gateways(struct link *l, uint32_t ref, struct slice args)
{
    struct buf b = BUF_INIT;

    UNUSED(args);
    put_gateways(l->router, &b);
    ctl_answer_report(l, ref, &b);
}

/* Whose rows they are. */
struct origin {
    const char *gateway, *edge;
    uint64_t pid;
};

/* What of a process is told. */
enum wanted {
    FIGURES,
    BRIEF_FIGURES, /* those that say something new (is_news()), without what
                      people read */
    WARNINGS,
};

static void report_origin(struct buf *b, const struct origin *of,
                          enum wanted wanted)
{
    report_text(b, "gateway", slice_str(of->gateway));
    if (wanted != BRIEF_FIGURES)
        report_text(b, "edge", slice_str(of->edge));
    report_number(b, "pid", of->pid);
}

/* The router's, as gateways report theirs. */
static void report_own(struct buf *b, const struct router *r)
{
    struct tally_label label;
    struct stat_sample s;
    size_t at = 0;

    for (size_t i = 0; i < ROUTER_STAT_COUNT; i++) {
        s = stat_sample(&r->stats, i);
        report_sample_row(b, &s);
    }
    while (tally_next(&r->refused, &at, &s, &label))
        report_sample_row(b, &s);
    report_process_figures(b);
    report_warnings(b);
}

static void report_field_again(struct buf *b, const struct report_field *f)
{
    char key[64];
    size_t len = MIN(f->key.len, sizeof key - 1);

    memcpy(key, f->key.ptr, len);
    key[len] = '\0';
    if (f->kind == REPORT_TEXT)
        report_text(b, key, f->text);
    else if (f->kind == REPORT_BOOL)
        report_bool(b, key, f->number != 0);
    else
        report_number(b, key, f->number);
}

/* A row as far as it has been read. */
struct row {
    size_t mark; /* where it begins */
    bool warning;
    struct slice name, label;
    uint64_t value;
};

/* A figure that is 0 says nothing, nor does a bound that no more is within than
 * within the one before it. */
static bool is_news(const struct row *row, const struct row *before)
{
    if (slice_starts(row->label, SLICE("le=")) &&
        slice_eq(row->name, before->name))
        return row->value != before->value;
    return row->value != 0;
}

static void row_begin(struct row *row, struct buf *b, const struct origin *of,
                      enum wanted wanted)
{
    *row = (struct row){.mark = b->len};
    report_row(b);
    report_origin(b, of, wanted);
}

static void row_field(struct row *row, struct buf *b,
                      const struct report_field *f, enum wanted wanted)
{
    if (slice_eq(f->key, SLICE("event")))
        row->warning = true;
    else if (slice_eq(f->key, SLICE("name")))
        row->name = f->text;
    else if (slice_eq(f->key, SLICE("label")))
        row->label = f->text;
    else if (slice_eq(f->key, SLICE("value")))
        row->value = f->number;
    if (wanted != BRIEF_FIGURES || !slice_eq(f->key, SLICE("help")))
        report_field_again(b, f);
}

static void row_end(struct row *row, const struct row *before, struct buf *b,
                    enum wanted wanted)
{
    bool out = row->warning != (wanted == WARNINGS) ||
               (wanted == BRIEF_FIGURES && !is_news(row, before));

    report_row_end(b);
    if (out)
        buf_truncate(b, row->mark);
    row->mark = b->len;
}

/* The rows that are wanted of a process's own report, each with its origin in
 * front. */
static void tell(struct buf *b, const struct origin *of, struct slice report,
                 enum wanted wanted)
{
    struct cursor c = cursor_init(report);
    enum report_event event;
    struct report_field f;
    struct row row = {.mark = b->len}, before = row;

    while (report_next(&c, &event, &f) == 0 && event != REPORT_END) {
        if (event == REPORT_ROW) {
            before = row;
            row_begin(&row, b, of, wanted);
        } else if (event == REPORT_FIELD) {
            row_field(&row, b, &f, wanted);
        } else if (event == REPORT_ROW_END) {
            row_end(&row, &before, b, wanted);
        }
    }
    buf_truncate(b, row.mark); /* a row cut short is left out */
}

static void tell_all(struct buf *b, const struct router *r, struct slice own,
                     enum wanted wanted)
{
    tell(b, &(struct origin){"router", "router", (uint64_t)getpid()}, own,
         wanted);
    LIST_FOREACH(l, &r->links.all, struct link, node)
        if (l->figures.len && !l->figures.failed)
            tell(b, &(struct origin){l->who.name, l->who.edge, l->who.pid},
                 buf_slice(&l->figures), wanted);
}

void ctl_stats(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    struct buf b = BUF_INIT, own = BUF_INIT;

    UNUSED(args);
    router_gauges(r);
    report_own(&own, r);
    report_part(&b, "stats");
    tell_all(&b, r, buf_slice(&own), FIGURES);
    b.failed |= own.failed;
    buf_fini(&own);
    ctl_answer_report(l, ref, &b);
}

static void put_time(struct buf *b)
{
    report_part(b, "time");
    report_row(b);
    report_number(b, "ts", (uint64_t)MAX(clock_wall_ms(), 0));
    report_row_end(b);
}

void ctl_overview(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    bool brief = slice_eq(ctl_word(&args), SLICE("brief"));
    struct buf b = BUF_INIT, own = BUF_INIT;

    put_time(&b);
    ctl_put_status(r, &b); /* sets the gauges */
    put_gateways(r, &b);
    report_own(&own, r);
    report_part(&b, "warnings");
    tell_all(&b, r, buf_slice(&own), WARNINGS);
    report_part(&b, "stats");
    tell_all(&b, r, buf_slice(&own), brief ? BRIEF_FIGURES : FIGURES);
    b.failed |= own.failed;
    buf_fini(&own);
    ctl_answer_report(l, ref, &b);
}
