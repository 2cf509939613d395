#include "proto/msg.h"

#include "base/err.h"
#include "tests/t/t.h"

static const struct msg_parts parts = {
    .format = MSG_TEXT,
    .flags = MSG_STORED,
    .seq = 7,
    .offset = 3,
    .ts_ms = -5,
    .id = SLICE_INIT("room/lobby"),
    .from = SLICE_INIT("ana"),
    .kind = SLICE_INIT("say"),
    .key = SLICE_INIT("k"),
    .data = SLICE_INIT("hello"),
};

TEST(a_message_has_copies_of_all_its_parts)
{
    char id[] = "room/a", data[] = "x";
    struct msg_parts p = parts;
    struct msg *m;

    p.id = slice_str(id);
    p.data = slice_str(data);
    EXPECT_OK(msg_new(&m, &p));
    id[5] = 'b';
    data[0] = 'y';
    EXPECT_SLICE(m->id, SLICE("room/a"));
    EXPECT_SLICE(m->data, SLICE("x"));
    EXPECT_SLICE(m->from, parts.from);
    EXPECT_SLICE(m->kind, parts.kind);
    EXPECT_SLICE(m->key, parts.key);
    EXPECT_INT(m->format, MSG_TEXT);
    EXPECT_INT(m->flags, MSG_STORED);
    EXPECT_INT(m->seq, 7);
    EXPECT_INT(m->offset, 3);
    EXPECT_INT(m->ts_ms, -5);
    EXPECT_INT(m->refs, 1);
    msg_drop(m);
}

TEST(a_message_lives_until_its_last_holder_drops_it)
{
    struct wire *w = wire_new(4);
    struct msg *m;

    EXPECT_OK(msg_new(&m, &parts));
    m->forms[0] = wire_hold(w);
    EXPECT(msg_hold(m) == m);
    msg_drop(m);
    EXPECT_SLICE(m->data, SLICE("hello"));
    EXPECT_INT(w->refs, 2);
    msg_drop(m); /* with its forms */
    EXPECT_INT(w->refs, 1);
    EXPECT_INT(w->len, 4);
    wire_drop(w);
    msg_drop(NULL);
    wire_drop(NULL);
}

TEST(the_size_counts_struct_and_bytes)
{
    struct msg *m;

    EXPECT_OK(msg_new(&m, &(struct msg_parts){.id = SLICE("x")}));
    EXPECT_INT(msg_size(m), sizeof *m + 1);
    EXPECT_INT(m->data.len, 0);
    msg_drop(m);
    EXPECT_OK(msg_new(&m, &parts));
    EXPECT_INT(msg_size(m), sizeof *m + 10 + 3 + 3 + 1 + 5);
    msg_drop(m);
}

TEST(without_memory_there_is_no_message)
{
    struct msg *m = NULL;

    test_fail_malloc_after(0);
    EXPECT_ERR(msg_new(&m, &parts), ERR_NOMEM);
    EXPECT(test_malloc_failed());
    EXPECT(m == NULL);
    test_fail_malloc_after(0);
    EXPECT(wire_new(1) == NULL);
    EXPECT(test_malloc_failed());
}
