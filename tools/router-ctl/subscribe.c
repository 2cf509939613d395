/* subscribe.c - messages as they come, over restarts of the router.
 *
 *   DOWN --link--> (no place yet)      LOGIN with snapshots --> LIVE
 *        --link--> READING, pages from its place --end--> LOGIN
 *                  --logged in at S--> CLOSING, pages up to S --end--> LIVE
 *
 * What is delivered between LOGIN and LIVE is held back: no more than comes
 * in the moment that the last page takes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/list.h"
#include "proto/id.h"
#include "tools/router-ctl/ctl.h"
#include "tools/router-ctl/place.h"
#include "proto/frame_io.h"

enum tail_state { TAIL_DOWN, TAIL_READING, TAIL_LOGIN, TAIL_CLOSING,
                  TAIL_LIVE };

struct channel {
    uint64_t last_offset; /* that was seen, or before the login */
};

struct held {
    struct list_node node;
    struct msg *msg;
};

struct tail {
    struct ctl *c;
    struct slice *ids;        /* sorted */
    struct channel *channels; /* in the order of ids */
    size_t count;
    enum tail_state state;
    bool placed, begun;  /* at is a place; the first notice has been shown */
    struct position at;  /* everything up to here has been shown */
    uint64_t began_at;   /* 0: all that is kept was asked for */
    uint64_t router_life;
    bool same_life;      /* as when the link went */
    size_t logins;       /* LOGGED_IN to come */
    uint64_t logged_in;  /* the link stood here at the last one */
    struct list_node held;
    struct buf out;
    struct loop_turn flush;
    struct loop_signal interrupt, terminate;
    bool done;
    int code;
};

static void stop(struct tail *t, int code)
{
    t->code = code;
    t->done = true;
}

/* ---- showing ----------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* NULL: it is heard through a pattern. */
static struct channel *channel_of(struct tail *t, struct slice id)
{
    struct slice *found = bsearch(&id, t->ids, t->count, sizeof id,
                                  compare_ids);

    return found ? &t->channels[found - t->ids] : NULL;
}

static void notice(struct tail *t, const char *what, struct slice id,
                   struct slice state, struct slice fields)
{
    struct show_notice n = {
        .what = what,
        .channel = id,
        .epoch = t->at.epoch,
        .seq = t->at.seq,
        .cursor = !fields.len,
        .state = state,
        .fields = fields,
    };

    show_notice(&t->out, &t->c->show, &n);
}

static void show(struct tail *t, const struct msg_parts *m)
{
    struct channel *ch = channel_of(t, m->id);
    char kind[16];

    t->at.seq = MAX(t->at.seq, m->seq);
    if (!(m->flags & MSG_NOTICE)) {
        if (ch)
            ch->last_offset = m->offset;
        show_message(&t->out, &t->c->show, &t->at.epoch, m);
        return;
    }
    snprintf(kind, sizeof kind, SLICE_FMT, SLICE_ARG(m->kind));
    if (slice_eq(m->kind, SLICE("snapshot")))
        notice(t, kind, m->id, m->data, SLICE(""));
    else
        notice(t, kind, m->id, SLICE(""), m->data);
}

static void flush(void *ctx)
{
    struct tail *t = ctx;

    if (t->out.len && show_out(&t->out) < 0)
        stop(t, EXIT_FAILED);
}

static void gap(struct tail *t, struct slice id, const char *why)
{
    place_show_gap(&t->out, &t->c->show, id, why);
}

static void gap_in_all(struct tail *t, const char *why)
{
    for (size_t i = 0; i < t->count; i++)
        gap(t, t->ids[i], why);
}

/* ---- holding back ------------------------------------------------------ */

static void hold(struct tail *t, const struct msg_parts *m)
{
    struct held *h = calloc(1, sizeof *h);

    if (!h || msg_new(&h->msg, m) < 0) {
        free(h);
        stop(t, ctl_fail(t->c, EXIT_FAILED, "out of memory"));
        return;
    }
    list_init(&h->node);
    list_add_tail(&t->held, &h->node);
}

/* show_them false: they come again out of the history. */
static void let_go(struct tail *t, bool show_them)
{
    struct list_node *n;

    while ((n = list_pop(&t->held))) {
        struct held *h = CONTAINER_OF(n, struct held, node);
        const struct msg *m = h->msg;
        struct msg_parts parts = {
            .format = m->format, .flags = m->flags, .seq = m->seq,
            .offset = m->offset, .ts_ms = m->ts_ms, .id = m->id,
            .from = m->from, .kind = m->kind, .key = m->key, .data = m->data,
        };

        if (show_them)
            show(t, &parts);
        msg_drop(h->msg);
        free(h);
    }
}

/* ---- catching up ------------------------------------------------------- */

static void fetch(struct tail *t);

static void on_row(void *ctx, const struct msg_parts *m)
{
    show(ctx, m);
}

static void on_hole(void *ctx, const struct frame_hole *f)
{
    struct tail *t = ctx;

    if (t->began_at || f->why != HOLE_TRIMMED)
        place_show_hole(&t->out, &t->c->show, f);
}

static void go_live(struct tail *t)
{
    t->state = TAIL_LIVE;
    t->at.seq = MAX(t->at.seq, t->logged_in);
    if (!t->begun)
        notice(t, "resumed", SLICE(""), SLICE(""), SLICE(""));
    t->begun = true;
    t->began_at = t->at.seq;
    let_go(t, true);
}

static void log_in(struct tail *t)
{
    t->logins = (t->count + PEER_IDS_PER_FRAME - 1) / PEER_IDS_PER_FRAME;
    t->state = TAIL_LOGIN;
    peer_login(t->c->peer, t->ids, t->count, !t->placed, t->begun);
}

static void on_page_end(void *ctx, int rc, const struct frame_page_end *f)
{
    struct tail *t = ctx;

    if (rc == ERR_CLOSED || rc == ERR_TIMEOUT)
        return; /* up() goes on from where it stands */
    if (rc < 0) {
        stop(t, ctl_fail(t->c, EXIT_FAILED, "history cannot be read: %s",
                         err_text(rc)));
        return;
    }
    t->at.seq = MAX(t->at.seq, f->upto);
    if (f->more)
        fetch(t);
    else if (t->state == TAIL_READING)
        log_in(t);
    else
        go_live(t);
}

static void fetch(struct tail *t)
{
    static const struct peer_page_ops ops = { on_row, on_hole, on_page_end };
    struct frame_fetch f = {
        .mode = FETCH_SINCE,
        .after = t->at.seq,
        .upto = t->state == TAIL_CLOSING ? t->logged_in : 0,
    };
    int rc = peer_fetch(t->c->peer, &f, t->ids, t->count, &ops, t);

    if (rc < 0)
        stop(t, ctl_fail(t->c, EXIT_FAILED, "%s", err_text(rc)));
}

/* ---- the link ---------------------------------------------------------- */

static void lose_place(struct tail *t, const char *why)
{
    gap_in_all(t, why);
    t->placed = false;
}

static void on_up(void *ctx, const struct frame_welcome *w)
{
    struct tail *t = ctx;
    const struct epoch *epoch = peer_epoch(t->c->peer);

    if (t->placed && t->at.epoch.text[0]
        && !epoch_equal(&t->at.epoch, epoch))
        lose_place(t, "epoch");
    else if (t->placed && !t->begun && t->at.seq > w->seq)
        lose_place(t, "future");
    t->at.epoch = *epoch;
    t->same_life = t->router_life == w->life;
    t->router_life = w->life;
    if (!t->placed) {
        t->at.seq = 0;
        log_in(t);
        return;
    }
    t->state = TAIL_READING;
    fetch(t);
}

static void on_down(void *ctx)
{
    struct tail *t = ctx;

    t->state = TAIL_DOWN;
    let_go(t, false);
}

/* What was missed of a channel without history is gone. */
static void check_volatile(struct tail *t, const struct logged_in_id *i,
                           struct channel *ch)
{
    struct show_notice n = { .what = "gap", .channel = i->id,
                             .why = "volatile" };
    bool whole = t->begun
        ? t->same_life && i->last_offset == ch->last_offset
        : i->last_seq && i->last_seq <= t->at.seq;

    if (!whole) {
        if (t->begun && t->same_life && i->last_offset > ch->last_offset) {
            n.from = ch->last_offset + 1;
            n.to = i->last_offset;
        }
        show_notice(&t->out, &t->c->show, &n);
    }
}

static void logged_in_id(struct tail *t, const struct logged_in_id *i)
{
    struct channel *ch = channel_of(t, i->id);

    if (i->flags & ID_REFUSED) {
        stop(t, ctl_fail(t->c, EXIT_REFUSED, SLICE_FMT ": " SLICE_FMT,
                         SLICE_ARG(i->id), SLICE_ARG(i->state)));
        return;
    }
    if (!ch)
        return;
    if (t->placed && (i->flags & ID_VOLATILE) && !id_is_pattern(i->id))
        check_volatile(t, i, ch);
    ch->last_offset = i->last_offset;
    /* A state too long for this answer follows in a SNAPSHOT. */
    if (!t->placed && ((i->flags & ID_SNAPSHOT)
                       || !(i->flags & ID_STATEFUL)))
        notice(t, "snapshot", i->id, i->state, SLICE(""));
}

static void on_logged_in(void *ctx, struct frame_logged_in *f)
{
    struct tail *t = ctx;
    struct logged_in_id i;

    if (t->state != TAIL_LOGIN)
        return;
    t->logged_in = f->seq;
    if (!t->placed)
        t->at.seq = MAX(t->at.seq, f->seq);
    for (unsigned k = 0; k < f->count && !t->done; k++) {
        if (frame_next_logged_in(f, &i) < 0)
            return;
        logged_in_id(t, &i);
    }
    if (--t->logins)
        return;
    if (t->placed) {
        t->state = TAIL_CLOSING;
        fetch(t);
    } else {
        t->placed = t->begun = true;
        go_live(t);
    }
}

static void on_deliver(void *ctx, const struct msg_parts *m)
{
    struct tail *t = ctx;

    if (t->state == TAIL_LIVE || !t->placed)
        show(t, m);
    else
        hold(t, m);
}

static void on_snapshot(void *ctx, const struct frame_snapshot *f)
{
    notice(ctx, "snapshot", f->id, f->state, SLICE(""));
}

/* Another history from here on; the messages go on. */
static void on_epoch(void *ctx, const struct frame_epoch *f)
{
    struct tail *t = ctx;

    gap_in_all(t, "epoch");
    t->at.epoch = *peer_epoch(t->c->peer);
    t->at.seq = f->seq;
    for (size_t i = 0; i < t->count; i++)
        if (!id_is_pattern(t->ids[i]))
            peer_snap(t->c->peer, &t->ids[i], 1);
}

static void on_kicked(void *ctx, struct slice reason)
{
    struct tail *t = ctx;

    stop(t, ctl_fail(t->c, EXIT_FAILED, "closed: " SLICE_FMT,
                     SLICE_ARG(reason)));
}

static void on_batch_end(void *ctx, uint64_t seq)
{
    struct tail *t = ctx;

    if (t->state == TAIL_LIVE)
        t->at.seq = MAX(t->at.seq, seq);
}

/* ---- life -------------------------------------------------------------- */

static void on_signal(void *ctx)
{
    stop(ctx, EXIT_DONE);
}

/* How to go on later, for whoever sits in front of it. */
static void say_place(const struct tail *t)
{
    char cursor[CURSOR_TEXT_MAX];
    size_t len;

    if (!t->begun || t->c->show.json || !isatty(STDERR_FILENO))
        return;
    len = position_format(cursor, &t->at.epoch, t->at.seq);
    fprintf(stderr, "\nto go on from here: --since %.*s\n", (int)len, cursor);
}

static int take_ids(struct tail *t)
{
    struct ctl *c = t->c;

    t->ids = calloc((size_t)c->arg_count, sizeof *t->ids);
    t->channels = calloc((size_t)c->arg_count, sizeof *t->channels);
    if (!t->ids || !t->channels)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    for (int i = 0; i < c->arg_count; i++) {
        if (!ctl_is_id(c, c->args[i], true))
            return EXIT_USAGE;
        t->ids[i] = slice_str(c->args[i]);
    }
    qsort(t->ids, (size_t)c->arg_count, sizeof *t->ids, compare_ids);
    for (int i = 0; i < c->arg_count; i++)
        if (!t->count || !slice_eq(t->ids[i], t->ids[t->count - 1]))
            t->ids[t->count++] = t->ids[i];
    return EXIT_DONE;
}

static int take_since(struct tail *t)
{
    const char *since = t->c->opt.since;

    if (!since)
        return EXIT_DONE;
    if (position_parse(slice_str(since), &t->at) < 0)
        return ctl_usage(t->c, "\"%s\" is no cursor; one is EPOCH-SEQ, as "
                         "publish prints it, or 0: all that is kept", since);
    t->placed = true;
    t->began_at = t->at.seq;
    return EXIT_DONE;
}

static int run(struct tail *t)
{
    static const struct peer_ops ops = {
        .up = on_up, .down = on_down, .logged_in = on_logged_in,
        .deliver = on_deliver, .snapshot = on_snapshot, .kicked = on_kicked,
        .epoch = on_epoch, .batch_end = on_batch_end,
    };
    struct loop *l = t->c->loop;
    int rc = loop_signal_start(&t->interrupt, l, SIGINT, on_signal, t);

    if (rc == 0)
        rc = loop_signal_start(&t->terminate, l, SIGTERM, on_signal, t);
    if (rc < 0)
        return ctl_fail(t->c, EXIT_FAILED, "%s", err_text(rc));
    loop_turn_start(&t->flush, l, flush, t);
    peer_listen(t->c->peer, &ops, t);
    rc = ctl_wait(t->c, &t->done);
    flush(t);
    say_place(t);
    return rc != EXIT_DONE ? rc : t->code;
}

int verb_subscribe(struct ctl *c)
{
    struct tail t = { .c = c, .out = BUF_INIT };
    int code;

    list_init(&t.held);
    code = take_ids(&t);
    if (code == EXIT_DONE)
        code = take_since(&t);
    if (code == EXIT_DONE)
        code = run(&t);
    loop_turn_stop(&t.flush);
    loop_signal_stop(&t.interrupt);
    loop_signal_stop(&t.terminate);
    peer_listen(c->peer, NULL, NULL);
    let_go(&t, false);
    buf_fini(&t.out);
    free(t.ids);
    free(t.channels);
    return code;
}
