/* Plain ids: taken as they come, no state, nothing to remember. */
#include "base/err.h"
#include "stage.h"

TEST(a_plain_id_takes_anything_as_it_is)
{
    struct stage *s = stage_new();
    struct msg_parts in = { .format = MSG_BYTES, .id = SLICE("user/ana"),
                            .kind = SLICE("k"), .key = SLICE("y"),
                            .from = SLICE("f"), .data = SLICE("\xff\x00{") };
    const struct msg *m;

    EXPECT_OK(stage_judge_parts(s, &in));
    m = s->log[0];
    EXPECT_INT(m->format, MSG_BYTES);
    EXPECT_SLICE(m->data, in.data);
    EXPECT_SLICE(m->kind, in.kind);
    EXPECT_SLICE(m->key, in.key);
    EXPECT_SLICE(m->from, in.from);
    EXPECT_INT(s->record.len, 0);
    stage_commit_all(s);
    EXPECT(!s->resnapshot);
    stage_free(s);
}

TEST(a_plain_id_has_no_state_and_no_presence)
{
    static const char *const ids[] = {
        "123", "match", "team", "room", "matches/a", "volatile/room/a",
    };
    struct stage *s = stage_new();

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        EXPECT_INT(types_flags(s->types, slice_str(ids[i])), 0);
        EXPECT_STR(stage_snapshot(s, ids[i]), "null");
        EXPECT_OK(types_joined(s->types, slice_str(ids[i]), SLICE("ana"), 0));
        types_left(s->types, slice_str(ids[i]), SLICE("ana"), 0);
    }
    EXPECT_INT(types_due_ns(s->types), INT64_MAX);
    EXPECT_ERR(types_load(s->types, SLICE("123"), SLICE("x"), 1),
               ERR_DAMAGED);
    stage_free(s);
}
