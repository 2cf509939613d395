#include "router/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "proto/report.h"
#include "router/router.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 1000, SCAN_MAX = 200000 };

/* A question; its answer may come later. */
struct query {
    struct list_node node; /* link->queries; router.orphans without a link */
    struct link *link;     /* NULL: nobody waits any more */
    struct read_job *job;
    uint32_t ref;
    struct slice pattern, after; /* of channels: in text */
    size_t limit;
    uint8_t text[];
};

/* ---- answers ----------------------------------------------------------- */

static void put_answer(struct link *l, uint32_t ref, enum publish_status st,
                       bool opaque, struct slice body)
{
    struct frame_answer f = {
        .ref = ref,
        .status = (uint8_t)st,
        .opaque = opaque,
        .body = body,
    };

    if (!l)
        return;
    stat_add(&l->router->stats, STAT_QUERIES, 1);
    frame_write_answer(pipe_frame(l->pipe, FRAME_ANSWER), &f);
    pipe_frame_end(l->pipe);
}

static void refuse(struct link *l, uint32_t ref, enum publish_status st,
                   const char *code, struct slice text)
{
    struct buf b = BUF_INIT;

    buf_addf(&b, "%s: ", code);
    buf_add(&b, text);
    put_answer(l, ref, st, false, buf_slice(&b));
    buf_fini(&b);
}

static void refuse_error(struct link *l, uint32_t ref, int rc)
{
    enum publish_status st = rc == ERR_NOT_FOUND ? PUBLISHED_NOT_FOUND
                             : rc == ERR_EXISTS  ? PUBLISHED_CONFLICT
                             : err_is_peers(rc)  ? PUBLISHED_BAD
                                                 : PUBLISHED_UNAVAILABLE;

    refuse(l, ref, st, st == PUBLISHED_UNAVAILABLE ? "store.failed"
                                                   : "request.bad",
           slice_str(err_text(rc)));
}

/* Takes the report. */
static void answer_report(struct link *l, uint32_t ref, struct buf *b)
{
    if (b->failed)
        refuse_error(l, ref, ERR_NOMEM);
    else
        put_answer(l, ref, PUBLISHED_OK, false, buf_slice(b));
    buf_fini(b);
}

/* The next word of the arguments; empty when there is none. */
static struct slice word(struct slice *args)
{
    return args->ptr ? slice_split(args, ' ') : SLICE("");
}

/* ---- status ------------------------------------------------------------ */

static const char *state_of(const struct router *r, const char **why)
{
    *why = "";
    if (r->draining) {
        *why = "the router goes down";
        return "DOWN";
    }
    if (r->publish.last_error)
        *why = r->publish.last_error == ERR_FULL
                   ? "the disk is full: stored channels take nothing"
                   : "the store fails: stored channels take nothing";
    else if (r->publish.paused)
        *why = "publications come faster than the disk takes them";
    else
        return "OK";
    return "DEGRADED";
}

static void number(struct buf *b, const struct router *r, const char *key,
                   unsigned stat)
{
    report_number(b, key, stat_get(&r->stats, stat));
}

static void query_status(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    struct writer_figures w;
    struct buf b = BUF_INIT;
    const char *why, *state = state_of(r, &why);

    UNUSED(args);
    router_gauges(r);
    writer_figures(r->writer, &w);
    report_part(&b, "status");
    report_row(&b);
    report_text(&b, "state", slice_str(state));
    report_text(&b, "why", slice_str(why));
    report_text(&b, "server", SLICE(ROUTER_SERVER));
    report_number(&b, "pid", (uint64_t)getpid());
    number(&b, r, "uptime_seconds", STAT_UPTIME);
    report_text(&b, "epoch", slice_str(r->epoch.text));
    report_number(&b, "seq", r->seq);
    number(&b, r, "links", STAT_LINKS);
    number(&b, r, "connections", STAT_CONNECTIONS);
    number(&b, r, "seats", STAT_SEATS);
    number(&b, r, "ids", STAT_IDS);
    number(&b, r, "patterns", STAT_PATTERNS);
    number(&b, r, "published", STAT_PUBLISHED);
    number(&b, r, "queued", STAT_QUEUED);
    report_text(&b, "store",
                r->publish.last_error
                    ? slice_str(err_text(r->publish.last_error))
                    : SLICE("ok"));
    number(&b, r, "commit_us", STAT_COMMIT_US);
    number(&b, r, "commit_max_us", STAT_COMMIT_MAX_US);
    report_number(&b, "wal_bytes", w.wal_bytes);
    report_row_end(&b);
    answer_report(l, ref, &b);
}

/* ---- presence ---------------------------------------------------------- */

struct counted {
    struct slice name;
    uint64_t connections;
};

/* Counts under which names the seats of a topic watch. More names than there
 * is room for are not listed; their connections are in the count. */
struct names {
    struct counted list[PRESENCE_NAMES_MAX];
    uint16_t slots[2048]; /* 1 + index into list, by hash */
    size_t count;
};

static void names_add(struct names *n, struct slice name)
{
    uint32_t at = hash_bytes(name);

    for (;; at++) {
        uint16_t *slot = &n->slots[at % ARRAY_LEN(n->slots)];

        if (*slot && slice_eq(n->list[*slot - 1].name, name)) {
            n->list[*slot - 1].connections++;
            return;
        }
        if (*slot)
            continue;
        if (n->count == PRESENCE_NAMES_MAX)
            return;
        n->list[n->count++] = (struct counted){name, 1};
        *slot = (uint16_t)n->count;
        return;
    }
}

static void count_names(struct topic *t, struct names *n)
{
    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l)) {
        struct seat_iter it = seats_of_topic(&l->seats);
        struct seat *s;

        while (l->seats.count && (s = seat_next_of_topic(&it)))
            names_add(n, seat_name(s));
    }
}

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    if (x->connections != y->connections)
        return x->connections > y->connections ? -1 : 1;
    return slice_cmp(x->name, y->name);
}

static void report_names(struct buf *b, struct topic *t)
{
    struct names *n = t ? calloc(1, sizeof *n) : NULL;

    report_part(b, "names");
    if (!n)
        return;
    count_names(t, n);
    qsort(n->list, n->count, sizeof n->list[0], by_count);
    for (size_t i = 0; i < n->count; i++) {
        report_row(b);
        report_text(b, "name", n->list[i].name.len ? n->list[i].name
                                                   : SLICE("anon"));
        report_number(b, "connections", n->list[i].connections);
        report_row_end(b);
    }
    free(n);
}

static void query_presence(struct link *l, uint32_t ref, struct slice args)
{
    struct table *table = &l->router->table;
    struct slice id = word(&args);
    const char *problem = id_problem(id);
    struct topic *t = table_find(table, id);
    struct buf b = BUF_INIT;

    if (problem) {
        refuse(l, ref, PUBLISHED_BAD, "channel.bad", slice_str(problem));
        return;
    }
    report_part(&b, "presence");
    report_row(&b);
    report_text(&b, "channel", id);
    report_number(&b, "count", t ? table_reached(&t, 1) : 0);
    report_row_end(&b);
    report_names(&b, t);
    answer_report(l, ref, &b);
}

/* ---- channels ---------------------------------------------------------- */

/* The smallest ids above `after` that match, out of what comes unordered: a
 * heap with the largest on top. */
struct smallest {
    const struct topic **heap;
    size_t count, room;
    bool more;
};

static bool above(const struct topic *a, const struct topic *b)
{
    return slice_cmp(topic_id(a), topic_id(b)) > 0;
}

static void sift_down(struct smallest *s)
{
    size_t at = 0;

    for (;;) {
        size_t big = at, left = 2 * at + 1, right = left + 1;
        const struct topic *swap = s->heap[at];

        if (left < s->count && above(s->heap[left], s->heap[big]))
            big = left;
        if (right < s->count && above(s->heap[right], s->heap[big]))
            big = right;
        if (big == at)
            return;
        s->heap[at] = s->heap[big];
        s->heap[big] = swap;
        at = big;
    }
}

static void sift_up(struct smallest *s)
{
    size_t at = s->count - 1;

    while (at && above(s->heap[at], s->heap[(at - 1) / 2])) {
        const struct topic *swap = s->heap[at];

        s->heap[at] = s->heap[(at - 1) / 2];
        s->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

static void smallest_add(struct smallest *s, const struct topic *t)
{
    if (s->count < s->room) {
        s->heap[s->count++] = t;
        sift_up(s);
        return;
    }
    s->more = true;
    if (!above(s->heap[0], t))
        return;
    s->heap[0] = t;
    sift_down(s);
}

/* Ids that somebody hears, or that have numbers, but that the store does not
 * list. Left out where there are so many that looking at all takes long. */
static void scan_unstored(struct router *r, const struct query *q,
                          struct smallest *s)
{
    struct map_iter it = map_iter(&r->table.topics);
    struct map_node *n;

    if (map_count(&r->table.topics) > SCAN_MAX)
        return;
    while (map_next(&it, &n)) {
        const struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if ((t->flags & TOPIC_PATTERN) ||
            ((t->flags & TOPIC_STORED) && t->past && t->past->last_seq))
            continue;
        if (q->after.len && slice_cmp(topic_id(t), q->after) <= 0)
            continue;
        if (!q->pattern.len || pattern_matches(q->pattern, topic_id(t)))
            smallest_add(s, t);
    }
}

static int by_id(const void *a, const void *b)
{
    return slice_cmp(topic_id(*(const struct topic *const *)a),
                     topic_id(*(const struct topic *const *)b));
}

static void report_channel(struct buf *b, struct router *r, struct slice id)
{
    struct topic *t = table_find(&r->table, id);
    const struct past *past = t ? t->past : NULL;

    report_row(b);
    report_text(b, "channel", id);
    report_number(b, "connections", t ? table_reached(&t, 1) : 0);
    report_number(b, "offset", past ? past->last_offset : 0);
    report_number(b, "seq", past ? past->last_seq : 0);
    report_row_end(b);
}

/* Merges what the store lists with what it does not. */
static void report_channels(struct buf *b, struct router *r,
                            const struct query *q, const struct id_list *list,
                            const struct smallest *s)
{
    size_t i = 0, k = 0, count = 0;
    bool more = list->more || s->more;

    report_part(b, "channels");
    while (count < q->limit && (i < list->count || k < s->count)) {
        bool stored = k == s->count ||
                      (i < list->count &&
                       slice_cmp(list->ids[i].id, topic_id(s->heap[k])) < 0);

        report_channel(b, r, stored ? list->ids[i].id
                                    : topic_id(s->heap[k]));
        stored ? i++ : k++;
        count++;
    }
    report_part(b, "page");
    report_row(b);
    report_bool(b, "more", more || i < list->count || k < s->count);
    report_row_end(b);
}

/* NULL: no memory. */
static struct query *query_new(struct link *l, uint32_t ref, struct slice a,
                               struct slice b)
{
    struct query *q = calloc(1, sizeof *q + a.len + b.len);

    if (!q)
        return NULL;
    q->link = l;
    q->ref = ref;
    if (a.len)
        memcpy(q->text, a.ptr, a.len);
    if (b.len)
        memcpy(q->text + a.len, b.ptr, b.len);
    q->pattern = slice_make(q->text, a.len);
    q->after = slice_make(q->text + a.len, b.len);
    list_init(&q->node);
    list_add_tail(&l->queries, &q->node);
    return q;
}

static void query_drop(struct query *q)
{
    list_remove(&q->node);
    free(q);
}

static void channels_listed(void *arg, struct id_list *list)
{
    struct query *q = arg;
    struct link *l = q->link;
    struct smallest s = {.room = q->limit};
    struct buf b = BUF_INIT;

    s.heap = calloc(q->limit, sizeof s.heap[0]);
    if (list->rc < 0 || !s.heap) {
        refuse_error(l, q->ref, list->rc < 0 ? list->rc : ERR_NOMEM);
    } else {
        scan_unstored(l->router, q, &s);
        qsort(s.heap, s.count, sizeof s.heap[0], by_id);
        report_channels(&b, l->router, q, list, &s);
        answer_report(l, q->ref, &b);
    }
    free(s.heap);
    id_list_free(list);
    query_drop(q);
}

static void query_channels(struct link *l, uint32_t ref, struct slice args)
{
    struct slice pattern = word(&args), after = word(&args);
    struct slice count = word(&args);
    uint64_t limit = LIST_DEFAULT;
    struct query *q;
    int rc;

    if ((pattern.len && pattern_problem(pattern)) ||
        (count.len && slice_parse_u64(count, &limit) < 0)) {
        refuse(l, ref, PUBLISHED_BAD, "request.bad",
               SLICE("channels [PATTERN [AFTER [LIMIT]]]"));
        return;
    }
    q = query_new(l, ref, pattern, after);
    if (!q) {
        refuse_error(l, ref, ERR_NOMEM);
        return;
    }
    q->limit = (size_t)MAX(1u, MIN(limit, (uint64_t)LIST_MAX));
    rc = reader_ids(l->router->readers, q->pattern, q->after, q->limit,
                    channels_listed, q, &q->job);
    if (rc < 0) {
        query_drop(q);
        refuse_error(l, ref, rc);
    }
}

/* ---- connections ------------------------------------------------------- */

static void report_conn(struct buf *b, const struct link *l, uint32_t number,
                        const struct seat_side *conn, struct slice name)
{
    char text[PEER_NAME_MAX + 24];
    int len = snprintf(text, sizeof text, "%s/%" PRIu32 ".%" PRIu32,
                       l->who.name, number, conn->flags);

    report_row(b);
    report_text(b, "connection", slice_make(text, (size_t)len));
    report_number(b, "channels", conn->count);
    report_text(b, "name", name);
    report_row_end(b);
}

static struct slice name_of_conn(struct seat_side *conn)
{
    struct seat_iter it = seats_of_conn(conn);
    struct seat *s = seat_next_of_conn(&it);

    return s ? seat_name(s) : SLICE("");
}

static void conns_of_link(struct buf *b, struct link *l, size_t *room)
{
    for (size_t p = 0; p < l->seats.page_count && *room; p++)
        for (size_t k = 0; k < TABLE_PAGE && l->seats.pages[p] && *room;
             k++) {
            struct conn *c = &l->seats.pages[p][k];

            if (c->seats.count == 0)
                continue;
            report_conn(b, l, (uint32_t)(p * TABLE_PAGE + k), &c->seats,
                        name_of_conn(&c->seats));
            --*room;
        }
}

static void conns_of_topic(struct buf *b, struct router *r, struct topic *t,
                           size_t *room)
{
    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l)) {
        struct link *link = r->links.by_number[leaf_link(l)];
        struct seat_iter it = seats_of_topic(&l->seats);
        struct seat *s;

        while (l->seats.count && *room && (s = seat_next_of_topic(&it))) {
            report_conn(b, link, table_conn_number(&link->seats, s->conn),
                        s->conn, seat_name(s));
            --*room;
        }
    }
}

static void query_conns(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    struct slice id = word(&args);
    struct topic *t = table_find(&r->table, id);
    struct buf b = BUF_INIT;
    size_t room = LIST_MAX;

    report_part(&b, "connections");
    if (t)
        conns_of_topic(&b, r, t, &room);
    else if (!id.len)
        LIST_FOREACH(link, &r->links.all, struct link, node)
            conns_of_link(&b, link, &room);
    report_part(&b, "page");
    report_row(&b);
    report_bool(&b, "more", room == 0);
    report_row_end(&b);
    answer_report(l, ref, &b);
}

static void kick_one(struct link *l, uint32_t conn, uint32_t gen)
{
    struct frame_kick f = {conn, gen, SLICE("an operator closed it")};

    frame_write_kick(pipe_frame(l->pipe, FRAME_KICK), &f);
    pipe_frame_end(l->pipe);
}

static size_t kick_topic(struct router *r, struct topic *t)
{
    size_t count = 0;

    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l)) {
        struct link *link = r->links.by_number[leaf_link(l)];
        struct seat_iter it = seats_of_topic(&l->seats);
        struct seat *s;

        while (l->seats.count && (s = seat_next_of_topic(&it))) {
            kick_one(link, table_conn_number(&link->seats, s->conn),
                     s->conn->flags);
            count++;
        }
    }
    return count;
}

/* How many were kicked: by a connection's name, else by an id. */
static size_t kick(struct router *r, struct slice what)
{
    struct topic *t = table_find(&r->table, what);
    struct link *link;
    uint32_t conn, gen;
    struct conn *c;

    if (links_parse_conn(r, what, &link, &conn, &gen) == 0) {
        c = table_conn(&link->seats, conn);
        if (c && c->seats.flags == gen) {
            kick_one(link, conn, gen);
            return 1;
        }
    }
    return t ? kick_topic(r, t) : 0;
}

static void query_kick(struct link *l, uint32_t ref, struct slice args)
{
    struct slice what = word(&args);
    size_t count = what.len ? kick(l->router, what) : 0;
    struct buf b = BUF_INIT;

    if (!count) {
        refuse(l, ref, PUBLISHED_NOT_FOUND, "connection.none",
               SLICE("no such connection, and nobody on such a channel"));
        return;
    }
    log_info("ctl.kick", "what=%s connections=%zu", log_quote(what).text,
             count);
    report_part(&b, "kicked");
    report_row(&b);
    report_number(&b, "count", count);
    report_row_end(&b);
    answer_report(l, ref, &b);
}

/* ---- gateways, figures ------------------------------------------------- */

static void report_gateway(struct buf *b, const struct link *l)
{
    struct pipe_figures f;

    pipe_figures(l->pipe, &f);
    report_row(b);
    report_text(b, "gateway", slice_str(l->who.name));
    report_text(b, "edge", slice_str(l->who.edge));
    report_number(b, "pid", l->who.pid);
    report_text(b, "state", slice_str(link_state_name(l->state)));
    report_number(b, "connections", l->seats.conns);
    report_number(b, "seats", l->seats.seats);
    report_number(b, "queued_bytes", pipe_queued(l->pipe));
    report_number(b, "delivered", l->delivered);
    report_number(b, "batches_out", f.batches_out);
    report_number(b, "batches_in", f.batches_in);
    report_number(b, "resent", f.resent);
    report_number(b, "holes", f.holes);
    report_row_end(b);
}

static void query_gateways(struct link *l, uint32_t ref, struct slice args)
{
    struct buf b = BUF_INIT;

    UNUSED(args);
    report_part(&b, "gateways");
    LIST_FOREACH(link, &l->router->links.all, struct link, node)
        if (link->who.kind != PEER_CTL)
            report_gateway(&b, link);
    answer_report(l, ref, &b);
}

static void report_origin(struct buf *b, const char *gateway,
                          const char *edge, uint64_t pid)
{
    report_text(b, "gateway", slice_str(gateway));
    report_text(b, "edge", slice_str(edge));
    report_number(b, "pid", pid);
}

static void report_own(struct buf *b, const struct router *r)
{
    for (size_t i = 0; i < ROUTER_STAT_COUNT; i++) {
        struct stat_sample s = stat_sample(&r->stats, i);

        report_row(b);
        report_origin(b, "router", "router", (uint64_t)getpid());
        report_text(b, "name", slice_str(s.name));
        report_text(b, "label", slice_str(s.label));
        report_text(b, "help", slice_str(s.help));
        report_bool(b, "gauge", s.kind == STAT_GAUGE);
        report_number(b, "value", s.value);
        report_row_end(b);
    }
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

static void query_stats(struct link *l, uint32_t ref, struct slice args)
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
    answer_report(l, ref, &b);
}

/* ---- backup ------------------------------------------------------------ */

static void backup_done(void *arg, int rc)
{
    struct query *q = arg;
    struct buf b = BUF_INIT;

    log_info("ctl.backup", "file=%s result=%s", log_quote(q->pattern).text,
             rc < 0 ? err_name(rc) : "OK");
    if (q->link && rc < 0) {
        refuse_error(q->link, q->ref, rc);
    } else if (q->link) {
        report_part(&b, "backup");
        report_row(&b);
        report_text(&b, "file", q->pattern);
        report_row_end(&b);
        answer_report(q->link, q->ref, &b);
    }
    query_drop(q);
}

static void query_backup(struct link *l, uint32_t ref, struct slice args)
{
    struct query *q;
    char *file;
    int rc;

    if (args.len == 0 || args.ptr[0] != '/') {
        refuse(l, ref, PUBLISHED_BAD, "request.bad",
               SLICE("backup FILE, an absolute path"));
        return;
    }
    q = query_new(l, ref, args, SLICE(""));
    file = slice_dup(args);
    rc = q && file ? writer_backup(l->router->writer, file, backup_done, q)
                   : ERR_NOMEM;
    free(file);
    if (rc == 0)
        return;
    if (q)
        query_drop(q);
    refuse_error(l, ref, rc);
}

/* ---- rows -------------------------------------------------------------- */

static const struct verb {
    const char *name;
    void (*run)(struct link *l, uint32_t ref, struct slice args);
} verbs[] = {
    {"status", query_status},     {"presence", query_presence},
    {"channels", query_channels}, {"conns", query_conns},
    {"gateways", query_gateways}, {"stats", query_stats},
    {"kick", query_kick},         {"backup", query_backup},
};

static void query_type(struct link *l, const struct frame_query *f)
{
    struct type_refusal why = {.code = NULL};
    struct buf b = BUF_INIT;
    int rc = types_query(l->router->types, f->verb, f->args, clock_wall_ms(),
                         &b, &why);

    if (rc == 0 && b.failed)
        rc = ERR_NOMEM;
    if (rc == 0)
        put_answer(l, f->ref, PUBLISHED_OK, true, buf_slice(&b));
    else if (!why.code || rc == ERR_NOMEM)
        refuse_error(l, f->ref, rc);
    else
        refuse(l, f->ref,
               rc == ERR_NOT_FOUND  ? PUBLISHED_NOT_FOUND
               : rc == ERR_CONFLICT ? PUBLISHED_CONFLICT
                                    : PUBLISHED_BAD,
               why.code, why.text);
    buf_fini(&b);
}

void ctl_query(struct link *l, const struct frame_query *f)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_eq(f->verb, slice_str(verbs[i].name))) {
            verbs[i].run(l, f->ref, f->args);
            return;
        }
    query_type(l, f);
}

void ctl_link_gone(struct link *l)
{
    struct list_node *n;

    while ((n = list_pop(&l->queries))) {
        struct query *q = CONTAINER_OF(n, struct query, node);

        if (q->job) {
            reader_cancel(l->router->readers, q->job);
            free(q);
        } else {
            q->link = NULL;
            list_add_tail(&l->router->orphans, n);
        }
    }
}

void ctl_fini(struct router *r)
{
    struct list_node *n;

    while ((n = list_first(&r->orphans)))
        query_drop(CONTAINER_OF(n, struct query, node));
}
