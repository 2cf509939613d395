#include "router/table.h"

#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

/* What the hooks were told. */
struct heard {
    unsigned left, deserted, dropped;
    char name[64];
};

static unsigned classify(void *ctx, struct slice id)
{
    UNUSED(ctx);
    if (slice_starts(id, SLICE("room/")))
        return TOPIC_PRESENCE | TOPIC_STORED;
    return slice_starts(id, SLICE("volatile/")) ? 0 : TOPIC_STORED;
}

static void left(void *ctx, const struct topic *t, struct slice name)
{
    struct heard *h = ctx;

    UNUSED(t);
    h->left++;
    snprintf(h->name, sizeof h->name, SLICE_FMT, SLICE_ARG(name));
}

static void deserted(void *ctx, struct topic *t)
{
    struct heard *h = ctx;

    UNUSED(t);
    h->deserted++;
}

static void dropped(void *ctx, const struct topic *t)
{
    struct heard *h = ctx;

    UNUSED(t);
    h->dropped++;
}

static void begin(struct table *t, struct heard *h, size_t limit)
{
    *h = (struct heard){0};
    EXPECT_OK(table_init(t, limit, &(struct table_hooks){
                                       classify, left, deserted, dropped, h}));
}

static int login_as(struct table *t, struct table_link *tl, uint32_t conn,
                    const char *id, const char *name)
{
    struct seat *s;

    return table_login(t, tl, conn, 1, slice_str(id), slice_str(name), &s);
}

static int login(struct table *t, struct table_link *tl, uint32_t conn,
                 const char *id)
{
    return login_as(t, tl, conn, id, "");
}

static uint32_t reached(struct table *t, const char *id)
{
    size_t count;
    struct topic *const *topics = table_match(t, slice_str(id), &count);

    return table_reached(topics, count);
}

static void end_link(struct table *t, struct table_link *tl)
{
    table_link_drop(t, tl);
    table_link_fini(tl);
}

TEST(login_and_logout_decide_who_is_reached)
{
    struct table t;
    struct table_link tl;
    struct heard h;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    EXPECT_OK(login(&t, &tl, 5, "user/ana"));
    EXPECT_ERR(login(&t, &tl, 5, "user/ana"), ERR_EXISTS);
    EXPECT_OK(login(&t, &tl, 6, "user/ana"));
    EXPECT_INT(reached(&t, "user/ana"), 2);
    EXPECT_INT(reached(&t, "user/bob"), 0);
    EXPECT_OK(table_logout(&t, &tl, 5, 1, SLICE("user/ana")));
    EXPECT_ERR(table_logout(&t, &tl, 5, 1, SLICE("user/ana")), ERR_NOT_FOUND);
    EXPECT_INT(reached(&t, "user/ana"), 1);
    EXPECT_INT(t.conns, 1);
    end_link(&t, &tl);
    EXPECT_INT(t.seats, 0);
    EXPECT_INT(map_count(&t.topics), 0);
    table_fini(&t);
}

TEST(a_connection_is_reached_once_however_many_of_its_patterns_match)
{
    struct table t;
    struct table_link one, two;
    struct heard h;

    begin(&t, &h, 0);
    table_link_init(&one, 1);
    table_link_init(&two, 2);
    EXPECT_OK(login(&t, &one, 1, "match/a"));
    EXPECT_OK(login(&t, &one, 1, "match/*"));
    EXPECT_OK(login(&t, &one, 1, "**"));
    EXPECT_OK(login(&t, &one, 2, "match/*"));
    EXPECT_OK(login(&t, &two, 1, "match/**"));
    EXPECT_OK(login(&t, &two, 2, "match/b"));
    EXPECT_INT(reached(&t, "match/a"), 3);
    EXPECT_INT(reached(&t, "match/b"), 4);
    EXPECT_INT(reached(&t, "match/a/x"), 2);
    EXPECT_INT(reached(&t, "room/a"), 1);
    end_link(&t, &one);
    EXPECT_INT(reached(&t, "match/a"), 1);
    end_link(&t, &two);
    EXPECT_INT(trie_count(t.patterns), 0);
    table_fini(&t);
}

TEST(a_slot_used_again_is_another_connection)
{
    struct table t;
    struct table_link tl;
    struct heard h;
    struct seat *s;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    EXPECT_OK(table_login(&t, &tl, 3, 7, SLICE("a"), SLICE(""), &s));
    EXPECT_OK(table_login(&t, &tl, 3, 8, SLICE("b"), SLICE(""), &s));
    EXPECT_INT(reached(&t, "a"), 0);
    EXPECT_INT(reached(&t, "b"), 1);
    table_close(&t, &tl, 3, 7); /* late news of the one before */
    EXPECT_INT(reached(&t, "b"), 1);
    EXPECT_ERR(table_logout(&t, &tl, 3, 7, SLICE("b")), ERR_NOT_FOUND);
    EXPECT_INT(table_conn_number(seat_conn(s)), 3);
    table_close(&t, &tl, 3, 8);
    EXPECT_INT(reached(&t, "b"), 0);
    EXPECT(table_conn(&tl, 3) == NULL);
    EXPECT_ERR(table_login(&t, &tl, TABLE_CONNS_MAX, 1, SLICE("a"), SLICE(""),
                           &s), ERR_BAD);
    end_link(&t, &tl);
    table_fini(&t);
}

TEST(pages_of_connections_go_with_the_last_of_them)
{
    enum { CROWD = 3 * TABLE_PAGE };
    struct table t;
    struct table_link tl;
    struct heard h;
    struct seat *s;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    for (uint32_t i = 0; i < CROWD; i++)
        EXPECT_OK(table_login(&t, &tl, i, 1, SLICE("a"), SLICE(""), &s));
    EXPECT_INT(tl.blocks.taken, 3);
    for (uint32_t i = 0; i < CROWD; i++)
        if (i != TABLE_PAGE)
            table_close(&t, &tl, i, 1);
    EXPECT_INT(tl.blocks.taken, 1);
    EXPECT_INT(tl.conns, 1);
    EXPECT_OK(table_logout(&t, &tl, TABLE_PAGE, 1, SLICE("a")));
    EXPECT_INT(tl.blocks.taken, 0);
    EXPECT(table_conn(&tl, 0) == NULL);
    EXPECT_OK(table_login(&t, &tl, 5, 2, SLICE("b"), SLICE(""), &s));
    EXPECT_INT(table_conn_number(seat_conn(s)), 5);
    table_unseat(&t, &tl, s);
    EXPECT_INT(tl.blocks.taken, 0);
    table_link_drop(&t, &tl);
    table_link_fini(&tl);
    table_fini(&t);
}

TEST(a_leaf_without_seats_stays_until_the_gateway_releases_it)
{
    struct table t;
    struct table_link tl;
    struct heard h;
    struct topic *topic;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    EXPECT_OK(login(&t, &tl, 1, "match/a"));
    table_release(&t, &tl, SLICE("match/a")); /* it has a seat: no */
    EXPECT_INT(reached(&t, "match/a"), 1);
    table_close(&t, &tl, 1, 1);
    topic = table_find(&t, SLICE("match/a"));
    EXPECT(topic && table_leaf_on(topic, 1));
    EXPECT_INT(h.deserted, 0);
    EXPECT_OK(login(&t, &tl, 2, "match/a")); /* warm, in use again */
    EXPECT_INT(reached(&t, "match/a"), 1);
    table_close(&t, &tl, 2, 1);
    table_release(&t, &tl, SLICE("match/a"));
    EXPECT_INT(h.deserted, 1);
    EXPECT(table_find(&t, SLICE("match/a")) == NULL);
    EXPECT_INT(t.leaves, 0);
    end_link(&t, &tl);
    table_fini(&t);
}

TEST(what_is_stored_outlives_those_who_listen)
{
    struct table t;
    struct table_link tl;
    struct heard h;
    struct topic *topic;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    EXPECT_OK(login(&t, &tl, 1, "match/a"));
    topic = table_find(&t, SLICE("match/a"));
    table_past(&t, topic)->last_offset = 4;
    end_link(&t, &tl);
    EXPECT(table_find(&t, SLICE("match/a")) == topic);
    table_forget(&t, topic);
    EXPECT_INT(map_count(&t.topics), 0);
    table_fini(&t);
}

TEST(of_ids_without_history_only_so_many_are_remembered)
{
    struct table t;
    struct heard h;
    char id[32];

    begin(&t, &h, 0);
    for (unsigned i = 0; i < TABLE_IDLE_MAX + 10; i++) {
        struct topic *topic;

        snprintf(id, sizeof id, "volatile/%u", i);
        EXPECT_OK(table_make(&t, slice_str(id), &topic));
        table_past(&t, topic)->last_offset = 1;
    }
    EXPECT_INT(h.dropped, 10);
    EXPECT_INT(map_count(&t.topics), TABLE_IDLE_MAX);
    EXPECT(table_find(&t, SLICE("volatile/9")) == NULL);
    EXPECT(table_find(&t, SLICE("volatile/10")) != NULL);
    table_fini(&t);
}

TEST(presence_is_told_under_which_name_somebody_left)
{
    struct table t;
    struct table_link tl;
    struct heard h;
    struct seat *s;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    EXPECT_OK(login_as(&t, &tl, 1, "room/a", "ana"));
    EXPECT_OK(login_as(&t, &tl, 2, "room/a", "ana"));
    EXPECT_OK(login_as(&t, &tl, 2, "user/x", "ana"));
    EXPECT_INT(map_count(&t.names), 1);
    table_close(&t, &tl, 2, 1);
    EXPECT_INT(h.left, 1);
    EXPECT_STR(h.name, "ana");
    EXPECT_OK(table_login(&t, &tl, 3, 1, SLICE("room/a"), SLICE("bob"), &s));
    EXPECT_SLICE(seat_name(s), SLICE("bob"));
    table_unseat(&t, &tl, s); /* its coming was not told */
    EXPECT_INT(h.left, 1);
    end_link(&t, &tl);
    EXPECT_INT(h.left, 2);
    table_fini(&t);
}

TEST(the_limit_on_channels_holds)
{
    struct table t;
    struct table_link tl;
    struct heard h;

    begin(&t, &h, 2);
    table_link_init(&tl, 1);
    EXPECT_OK(login(&t, &tl, 1, "a"));
    EXPECT_OK(login(&t, &tl, 1, "b"));
    EXPECT_ERR(login(&t, &tl, 1, "c"), ERR_FULL);
    EXPECT_OK(login(&t, &tl, 2, "b"));
    EXPECT_INT(t.seats, 3);
    end_link(&t, &tl);
    table_fini(&t);
}

TEST(a_login_that_runs_out_of_memory_leaves_nothing_behind)
{
    struct table t;
    struct table_link tl;
    struct heard h;

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    for (long n = 0;; n++) {
        int rc;

        test_fail_malloc_after(n);
        rc = login_as(&t, &tl, 1, "room/*", "ana");
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            break;
        }
        if (rc == 0) { /* a table that could not grow works on */
            table_link_drop(&t, &tl);
            continue;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
        EXPECT_INT(t.seats, 0);
        EXPECT_INT(t.leaves, 0);
        EXPECT_INT(map_count(&t.topics), 0);
        EXPECT_INT(map_count(&t.names), 0);
    }
    end_link(&t, &tl);
    table_fini(&t);
}

/* ---- sizes ------------------------------------------------------------- */

TEST(one_connection_holds_ten_thousand_ids_and_one_id_a_hundred_thousand)
{
    enum { IDS = 10000, CONNS = 100000 };
    struct table t;
    struct table_link tl;
    struct heard h;
    char id[32];

    begin(&t, &h, 0);
    table_link_init(&tl, 1);
    for (unsigned i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "user/%u", i);
        EXPECT_OK(login(&t, &tl, 0, id));
    }
    for (uint32_t c = 1; c < CONNS; c++)
        EXPECT_OK(login(&t, &tl, c, "user/0"));
    EXPECT_INT(reached(&t, "user/0"), CONNS);
    EXPECT_INT(reached(&t, "user/1"), 1);
    for (unsigned i = 0; i < 1000; i++) {
        EXPECT_OK(table_logout(&t, &tl, 0, 1, SLICE("user/0")));
        EXPECT_OK(login(&t, &tl, 0, "user/0"));
    }
    table_close(&t, &tl, 0, 1);
    EXPECT_INT(reached(&t, "user/0"), CONNS - 1);
    EXPECT_INT(reached(&t, "user/1"), 0);
    end_link(&t, &tl);
    EXPECT_INT(t.leaves, 0);
    table_fini(&t);
}

TEST(an_idle_id_with_its_connection_stays_within_its_budget)
{
    EXPECT(offsetof(struct topic, text) <= 50);
    EXPECT(sizeof(struct conn) <= 24);
}

/* ---- the model --------------------------------------------------------- */

enum { LINKS = 4, CONNS = 10, IDS = 24, STEPS = 1000000 };

static const char *const ids[IDS] = {
    "a", "b", "c/1", "c/2", "c/3", "c/d/1", "c/d/2", "e/1/x", "e/2/x",
    "room/1", "room/2", "volatile/1", "volatile/2", "f", "g", "h/i/j/k",
    /* patterns */
    "*", "**", "c/*", "c/**", "c/d/*", "e/*/x", "room/*", "h/**",
};

struct model {
    bool seat[LINKS][CONNS][IDS];
    bool leaf[LINKS][IDS];
    bool match[IDS][IDS]; /* [of what was subscribed][of what is sent] */
    uint32_t gen[LINKS][CONNS];
};

static void model_init(struct model *m)
{
    for (size_t i = 0; i < IDS; i++)
        for (size_t k = 0; k < IDS; k++)
            m->match[i][k] = pattern_matches(slice_str(ids[i]),
                                             slice_str(ids[k]));
}

static void model_close(struct model *m, size_t l, size_t c)
{
    for (size_t i = 0; i < IDS; i++)
        m->seat[l][c][i] = false;
}

static bool model_hears(const struct model *m, size_t l, size_t c, size_t sent)
{
    for (size_t i = 0; i < IDS; i++)
        if (m->seat[l][c][i] && m->match[i][sent])
            return true;
    return false;
}

static void check_send(struct table *t, const struct model *m, size_t sent)
{
    uint32_t expected = 0;
    size_t count;
    struct topic *const *topics;

    for (size_t l = 0; l < LINKS; l++)
        for (size_t c = 0; c < CONNS; c++)
            expected += model_hears(m, l, c, sent);
    topics = table_match(t, slice_str(ids[sent]), &count);
    EXPECT_INT(table_reached(topics, count), expected);
    for (size_t l = 0; l < LINKS; l++) {
        bool wanted = false, found = false;

        for (size_t i = 0; i < IDS; i++)
            wanted |= m->leaf[l][i] && m->match[i][sent];
        for (size_t i = 0; i < count; i++)
            found |= table_leaf_on(topics[i], (uint32_t)l + 1) != NULL;
        EXPECT_INT(found, wanted);
    }
}

static void check_counts(const struct table *t, const struct model *m)
{
    size_t seats = 0, leaves = 0, conns = 0;

    for (size_t l = 0; l < LINKS; l++)
        for (size_t c = 0; c < CONNS; c++) {
            size_t before = seats;

            for (size_t i = 0; i < IDS; i++)
                seats += m->seat[l][c][i];
            conns += seats > before;
        }
    for (size_t l = 0; l < LINKS; l++)
        for (size_t i = 0; i < IDS; i++)
            leaves += m->leaf[l][i];
    EXPECT_INT(t->seats, seats);
    EXPECT_INT(t->conns, conns);
    EXPECT_INT(t->leaves, leaves);
}

static void model_step(struct table *t, struct table_link *links,
                       struct model *m)
{
    size_t l = test_random() % LINKS, c = test_random() % CONNS;
    size_t i = test_random() % IDS, used = 0;
    struct table_link *tl = &links[l];
    struct slice id = slice_str(ids[i]);
    uint32_t number = (uint32_t)(c * 100), gen = m->gen[l][c];
    uint64_t dice = test_random() % 1000;
    struct seat *s;

    if (dice < 400) {
        EXPECT_INT(table_login(t, tl, number, gen, id, id, &s),
                   m->seat[l][c][i] ? ERR_EXISTS : 0);
        m->seat[l][c][i] = m->leaf[l][i] = true;
    } else if (dice < 700) {
        EXPECT_INT(table_logout(t, tl, number, gen, id),
                   m->seat[l][c][i] ? 0 : ERR_NOT_FOUND);
        m->seat[l][c][i] = false;
    } else if (dice < 740) {
        table_close(t, tl, number, gen);
        model_close(m, l, c);
        m->gen[l][c] += (uint32_t)(test_random() % 2);
    } else if (dice < 840) {
        table_release(t, tl, id);
        for (size_t k = 0; k < CONNS; k++)
            used += m->seat[l][k][i];
        m->leaf[l][i] = m->leaf[l][i] && used;
    } else if (dice < 842) {
        table_link_drop(t, tl);
        for (size_t k = 0; k < CONNS; k++)
            model_close(m, l, k);
        for (size_t k = 0; k < IDS; k++)
            m->leaf[l][k] = false;
    } else if (i < 16) {
        check_send(t, m, i);
    }
}

TEST(a_million_random_operations_agree_with_a_naive_model)
{
    static struct model m;
    struct table_link links[LINKS];
    struct table t;
    struct heard h;

    begin(&t, &h, 0);
    model_init(&m);
    for (uint32_t l = 0; l < LINKS; l++)
        table_link_init(&links[l], l + 1);
    for (unsigned step = 0; step < STEPS; step++) {
        model_step(&t, links, &m);
        if (step % 1000 == 0)
            check_counts(&t, &m);
    }
    for (size_t l = 0; l < LINKS; l++)
        end_link(&t, &links[l]);
    EXPECT_INT(t.seats, 0);
    EXPECT_INT(t.leaves, 0);
    EXPECT_INT(map_count(&t.topics), 0);
    EXPECT_INT(trie_count(t.patterns), 0);
    EXPECT_INT(map_count(&t.names), 0);
    table_fini(&t);
}
