/* ctl_stats.c - gateways, stats: figures of the router and of its gateways. */
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
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

void ctl_gateways(struct link *l, uint32_t ref, struct slice args)
{
    struct buf b = BUF_INIT;

    UNUSED(args);
    report_part(&b, "gateways");
    LIST_FOREACH(link, &l->router->links.all, struct link, node)
        if (link->who.kind != PEER_CTL)
            report_gateway(&b, link);
    missing_expire(&l->router->missing, clock_ns());
    LIST_FOREACH(g, &l->router->missing.list, struct missing_gateway, node)
        report_missing(&b, g);
    ctl_answer_report(l, ref, &b);
}

static void report_origin(struct buf *b, const char *gateway,
                          const char *edge, uint64_t pid)
{
    report_text(b, "gateway", slice_str(gateway));
    report_text(b, "edge", slice_str(edge));
    report_number(b, "pid", pid);
}

static void report_own_row(struct buf *b, const struct stat_sample *s)
{
    report_row(b);
    report_origin(b, "router", "router", (uint64_t)getpid());
    report_sample(b, s);
    report_row_end(b);
}

static void report_own(struct buf *b, const struct router *r)
{
    struct tally_label label;
    struct log_label event;
    struct stat_sample s;
    size_t at = 0;

    for (size_t i = 0; i < ROUTER_STAT_COUNT; i++) {
        s = stat_sample(&r->stats, i);
        report_own_row(b, &s);
    }
    while (tally_next(&r->refused, &at, &s, &label))
        report_own_row(b, &s);
    at = 0;
    while (log_next_count(&at, &s, &event))
        report_own_row(b, &s);
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

/* The rows of a gateway's own report, each with its origin in front. */
static void report_figures(struct buf *b, const struct link *l)
{
    struct cursor c = cursor_init(buf_slice(&l->figures));
    enum report_event event;
    struct report_field f;
    size_t mark = b->len;

    while (report_next(&c, &event, &f) == 0 && event != REPORT_END) {
        if (event == REPORT_ROW) {
            mark = b->len;
            report_row(b);
            report_origin(b, l->who.name, l->who.edge, l->who.pid);
        } else if (event == REPORT_FIELD) {
            report_field_again(b, &f);
        } else if (event == REPORT_ROW_END) {
            report_row_end(b);
            mark = b->len;
        }
    }
    buf_truncate(b, mark); /* a row cut short is left out */
}

void ctl_stats(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    struct buf b = BUF_INIT;

    UNUSED(args);
    router_gauges(r);
    report_part(&b, "stats");
    report_own(&b, r);
    LIST_FOREACH(link, &r->links.all, struct link, node)
        if (link->figures.len && !link->figures.failed)
            report_figures(&b, link);
    ctl_answer_report(l, ref, &b);
}
