/* history.c - what is kept of a channel, page by page. */
#include "base/err.h"
#include "tools/router-ctl/ctl.h"
#include "tools/router-ctl/place.h"

enum { LAST_DEFAULT = 100, LAST_MAX = 1000 };

struct history {
    struct ctl *c;
    struct slice id;
    struct frame_fetch want;
    bool all;       /* begins at 0: what was trimmed is not asked for */
    struct buf out; /* of the page under way */
    bool page_done, more;
    int rc;
    uint64_t upto;
};

static void on_row(void *ctx, const struct msg_parts *m)
{
    struct history *h = ctx;

    show_message(&h->out, &h->c->show, peer_epoch(h->c->peer), m);
}

static void on_hole(void *ctx, const struct frame_hole *f)
{
    struct history *h = ctx;

    if (!(h->all && f->why == HOLE_TRIMMED))
        place_show_hole(&h->out, &h->c->show, f);
}

static void on_end(void *ctx, int rc, const struct frame_page_end *f)
{
    struct history *h = ctx;

    h->page_done = true;
    h->rc = rc;
    h->more = f->more && h->want.mode == FETCH_SINCE;
    h->upto = f->upto;
}

static int read_page(struct history *h)
{
    static const struct peer_page_ops ops = { on_row, on_hole, on_end };
    int code = EXIT_DONE;

    do {
        int rc;

        buf_reset(&h->out);
        h->page_done = false;
        rc = peer_fetch(h->c->peer, &h->want, &h->id, 1, &ops, h);
        if (rc < 0)
            return ctl_fail(h->c, EXIT_FAILED, "%s", err_text(rc));
        code = ctl_wait(h->c, &h->page_done);
    } while (code == EXIT_DONE && h->rc == ERR_CLOSED);
    if (code != EXIT_DONE)
        return code;
    if (h->rc == ERR_TIMEOUT)
        return ctl_fail(h->c, EXIT_NO_ROUTER, "the router went away");
    if (h->rc < 0)
        return ctl_fail(h->c, EXIT_FAILED, "history cannot be read: %s",
                        err_text(h->rc));
    return show_out(&h->out) < 0 ? EXIT_FAILED : EXIT_DONE;
}

static int read_all(struct history *h)
{
    int code;

    do {
        code = read_page(h);
        h->want.after = h->upto;
    } while (code == EXIT_DONE && h->more);
    return code;
}

/* A cursor that cannot be gone on from is told like a gap, and all that is
 * kept follows. */
static int take_cursor(struct history *h, const char *text, uint64_t *seq)
{
    struct position at;
    const char *why;

    if (position_parse(slice_str(text), &at) < 0)
        return ctl_usage(h->c, "\"%s\" is no cursor; one is EPOCH-SEQ, as "
                         "publish prints it, or 0: all that is kept", text);
    why = place_problem(&at, h->c->peer);
    if (why) {
        place_show_gap(&h->out, &h->c->show, h->id, why);
        if (show_out(&h->out) < 0)
            return EXIT_FAILED;
        if (h->want.mode == FETCH_BEFORE)
            h->want.mode = FETCH_LAST;
        at.seq = 0;
    }
    *seq = at.seq;
    return EXIT_DONE;
}

static int read_wish(struct history *h)
{
    const struct ctl_options *o = &h->c->opt;
    uint64_t last = LAST_DEFAULT;

    if (o->since && (o->before || o->last))
        return ctl_usage(h->c, "--since goes on to the end; it does not go "
                         "with --before and --last");
    if (o->last && (slice_parse_u64(slice_str(o->last), &last) < 0
                    || last < 1 || last > LAST_MAX))
        return ctl_usage(h->c, "--last is a number from 1 to %d", LAST_MAX);
    h->want.limit = (uint32_t)last;
    h->want.mode = o->since ? FETCH_SINCE
                   : o->before ? FETCH_BEFORE : FETCH_LAST;
    if (o->since) {
        h->want.limit = 0;
        return take_cursor(h, o->since, &h->want.after);
    }
    return o->before ? take_cursor(h, o->before, &h->want.upto) : EXIT_DONE;
}

int ctl_history(struct ctl *c, struct slice id)
{
    struct history h = { .c = c, .id = id, .all = true, .out = BUF_INIT };
    int code = read_all(&h);

    buf_fini(&h.out);
    return code;
}

int verb_history(struct ctl *c)
{
    struct history h = { .c = c, .id = slice_str(c->args[0]),
                         .out = BUF_INIT };
    int code = ctl_is_id(c, c->args[0], false) ? read_wish(&h) : EXIT_USAGE;

    h.all = h.want.after == 0;
    if (code == EXIT_DONE)
        code = read_all(&h);
    buf_fini(&h.out);
    return code;
}
