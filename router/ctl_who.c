/* ctl_who.c - presence, conns, kick: who is there. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "router/ctl_verb.h"
#include "proto/frame_io.h"

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

/* Whoever gives no name and whoever calls himself so are the same. */
static void names_add(struct names *n, struct slice name)
{
    uint32_t at;

    if (!name.len)
        name = SLICE("anon");
    for (at = hash_bytes(name);; at++) {
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

/* How many seats were looked at. */
static size_t count_names(struct topic *t, struct names *n)
{
    size_t looked = 0;

    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l)) {
        struct seat_iter it = seats_of_topic(&l->seats);
        struct seat *s;

        for (; (s = seat_next(&it)); looked++)
            names_add(n, seat_name(s));
    }
    return looked;
}

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    if (x->connections != y->connections)
        return x->connections > y->connections ? -1 : 1;
    return slice_cmp(x->name, y->name);
}

static void report_names(struct buf *b, struct link *l, struct topic *t)
{
    struct names *n = t ? calloc(1, sizeof *n) : NULL;

    report_part(b, "names");
    if (!n)
        return;
    ctl_charge(l, count_names(t, n));
    qsort(n->list, n->count, sizeof n->list[0], by_count);
    for (size_t i = 0; i < n->count; i++) {
        report_row(b);
        report_text(b, "name", n->list[i].name);
        report_number(b, "connections", n->list[i].connections);
        report_row_end(b);
    }
    free(n);
}

void ctl_presence(struct link *l, uint32_t ref, struct slice args)
{
    struct table *table = &l->router->table;
    struct slice id = ctl_word(&args);
    const char *problem = id_problem(id);
    struct topic *t = table_find(table, id);
    struct buf b = BUF_INIT;

    if (problem) {
        ctl_refuse(l, ref, PUBLISHED_BAD, "channel.bad", slice_str(problem));
        return;
    }
    report_part(&b, "presence");
    report_row(&b);
    report_text(&b, "channel", id);
    report_number(&b, "count", t ? table_reached(&t, 1) : 0);
    report_row_end(&b);
    report_names(&b, l, t);
    ctl_answer_report(l, ref, &b);
}

/* ---- connections ------------------------------------------------------- */

static void report_conn(struct buf *b, const struct link *l, uint32_t number,
                        const struct conn_seats *conn, struct slice name)
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

static struct slice name_of_conn(struct conn_seats *conn)
{
    struct seat_iter it = seats_of_conn(conn);
    struct seat *s = seat_next(&it);

    return s ? seat_name(s) : SLICE("");
}

static void conns_of_link(struct buf *b, struct link *l, size_t *room)
{
    for (size_t p = 0; p < l->seats.page_count && *room; p++)
        for (size_t k = 0; k < TABLE_PAGE && l->seats.pages[p] && *room;
             k++) {
            struct conn *c = &l->seats.pages[p]->conns[k];

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

        while (*room && (s = seat_next(&it))) {
            const struct conn_seats *c = seat_conn(s);

            report_conn(b, link, table_conn_number(c), c,
                        seat_name(s));
            --*room;
        }
    }
}

void ctl_conns(struct link *l, uint32_t ref, struct slice args)
{
    struct router *r = l->router;
    struct slice id = ctl_word(&args);
    struct topic *t = table_find(&r->table, id);
    struct buf b = BUF_INIT;
    size_t room = CTL_LIST_MAX;

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
    ctl_answer_report(l, ref, &b);
}

static void kick_one(struct link *l, uint32_t conn, uint32_t gen)
{
    struct frame_kick f = {conn, gen, SLICE("an operator closed it")};

    frame_write_kick(lane_frame(&l->lane, FRAME_KICK), &f);
    lane_frame_end(&l->lane);
}

static size_t kick_topic(struct router *r, struct topic *t)
{
    size_t count = 0;

    for (struct leaf *l = topic_leaves(t); l; l = leaf_next(l)) {
        struct link *link = r->links.by_number[leaf_link(l)];
        struct seat_iter it = seats_of_topic(&l->seats);
        struct seat *s;

        while ((s = seat_next(&it))) {
            const struct conn_seats *c = seat_conn(s);

            kick_one(link, table_conn_number(c), c->flags);
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

void ctl_kick(struct link *l, uint32_t ref, struct slice args)
{
    struct slice what = ctl_word(&args);
    size_t count = what.len ? kick(l->router, what) : 0;
    struct buf b = BUF_INIT;

    if (!count) {
        ctl_refuse(l, ref, PUBLISHED_NOT_FOUND, "connection.none",
                   SLICE("no such connection, and nobody on such a channel"));
        return;
    }
    log_info("ctl.kick", "what=%s connections=%zu", log_quote(what).text,
             count);
    report_part(&b, "kicked");
    report_row(&b);
    report_number(&b, "count", count);
    report_row_end(&b);
    ctl_answer_report(l, ref, &b);
}
