#include "stage.h"

#include "base/err.h"
#include "proto/json.h"

struct stage *stage_new(void)
{
    struct stage *s = calloc(1, sizeof *s);
    struct types_options o = { .message = 65536, .room_memory = 1 << 20 };
    struct epoch epoch = { "test" };

    EXPECT(s != NULL);
    EXPECT_OK(types_new(&s->types, &o));
    types_set_epoch(s->types, &epoch);
    s->now_ms = INT64_C(1315921731000); /* 2011-09-13 13:48:51 */
    return s;
}

void stage_free(struct stage *s)
{
    types_free(s->types);
    for (size_t i = 0; i < s->accepted; i++)
        msg_drop(s->log[i]);
    buf_fini(&s->record);
    buf_fini(&s->text);
    buf_fini(&s->why);
    free(s);
}

static void check_json(struct slice text)
{
    size_t at = 0;

    if (json_check(text, JSON_DEPTH_MAX, &at) < 0)
        test_fail(__FILE__, __LINE__, "no JSON at byte %zu: " SLICE_FMT, at,
                  SLICE_ARG(text));
}

static const char *give(struct stage *s, struct slice text)
{
    buf_reset(&s->text);
    buf_add(&s->text, text);
    return buf_text(&s->text);
}

static int refused(struct stage *s, int rc, const struct type_refusal *why)
{
    s->refusal = *why;
    buf_reset(&s->why);
    buf_add(&s->why, why->text);
    return rc;
}

uint64_t stage_last_offset(const struct stage *s, struct slice id)
{
    for (size_t i = s->accepted; i-- > 0;)
        if (slice_eq(s->log[i]->id, id))
            return s->log[i]->offset;
    return 0;
}

int stage_judge_parts(struct stage *s, const struct msg_parts *in)
{
    struct type_verdict v;
    struct msg *m;
    int rc = types_judge(s->types, in, &v);

    if (rc < 0)
        return refused(s, rc, &v.refusal);
    EXPECT(s->accepted < STAGE_LOG_MAX);
    if (v.event.format == MSG_JSON)
        check_json(v.event.data);
    buf_reset(&s->record);
    buf_add(&s->record, v.record);
    EXPECT_OK(msg_new(&m, &v.event));
    m->seq = ++s->seq;
    m->offset = stage_last_offset(s, m->id) + 1;
    s->log[s->accepted++] = m;
    return 0;
}

int stage_judge(struct stage *s, const char *id, const char *json)
{
    struct msg_parts in = {
        .format = MSG_JSON,
        .id = slice_str(id),
        .data = slice_str(json),
        .ts_ms = s->now_ms += 1000,
    };

    return stage_judge_parts(s, &in);
}

void stage_commit(struct stage *s, size_t n)
{
    EXPECT(s->committed + n <= s->accepted);
    for (; n; n--)
        s->resnapshot = types_commit(s->types, s->log[s->committed++]);
}

void stage_commit_all(struct stage *s)
{
    stage_commit(s, s->accepted - s->committed);
}

static void forget_newest(struct stage *s)
{
    EXPECT(s->accepted > s->committed);
    msg_drop(s->log[--s->accepted]);
    s->seq--;
}

void stage_fail(struct stage *s)
{
    while (s->accepted > s->committed)
        forget_newest(s);
    types_rollback(s->types);
}

void stage_withdraw(struct stage *s)
{
    types_withdraw(s->types, s->log[s->accepted - 1]->id);
    forget_newest(s);
}

uint64_t stage_say(struct stage *s, const char *id, const char *json)
{
    int rc = stage_judge(s, id, json);

    if (rc < 0)
        test_fail(__FILE__, __LINE__, "%s: refused: %s: %s", json,
                  s->refusal.code, buf_text(&s->why));
    stage_commit_all(s);
    return s->log[s->accepted - 1]->offset;
}

const char *stage_refused(struct stage *s, const char *id, const char *json,
                          int err, const char *code)
{
    EXPECT_ERR(stage_judge(s, id, json), err);
    EXPECT_STR(s->refusal.code, code);
    return buf_text(&s->why);
}

int stage_act_judge(struct stage *s, const char *verb, const char *args,
                    bool *created)
{
    struct type_act act;
    struct msg *m;
    struct msg_parts in;
    int rc = types_act(s->types, slice_str(verb), slice_str(args),
                       SLICE("tester"), s->now_ms += 1000, &act);

    if (rc < 0)
        return refused(s, rc, &act.refusal);
    check_json(act.body);
    give(s, act.body);
    *created = act.created;
    EXPECT_SLICE(act.event.from, SLICE("tester"));
    EXPECT_OK(msg_new(&m, &act.event));
    in = act.event;
    in.id = m->id;
    in.kind = m->kind;
    in.data = m->data;
    rc = stage_judge_parts(s, &in);
    msg_drop(m);
    return rc;
}

const char *stage_act(struct stage *s, const char *verb, const char *args,
                      bool created)
{
    bool is_created;
    int rc = stage_act_judge(s, verb, args, &is_created);

    if (rc < 0)
        test_fail(__FILE__, __LINE__, "%s %s: refused: %s: %s", verb, args,
                  s->refusal.code, buf_text(&s->why));
    stage_commit_all(s);
    EXPECT_INT(is_created, created);
    return buf_text(&s->text);
}

const char *stage_act_refused(struct stage *s, const char *verb,
                              const char *args, int err, const char *code)
{
    bool created;

    EXPECT_ERR(stage_act_judge(s, verb, args, &created), err);
    EXPECT_STR(s->refusal.code, code);
    return buf_text(&s->why);
}

static int query(struct stage *s, const char *verb, const char *args)
{
    struct type_refusal why = { NULL, { NULL, 0 } };
    int rc;

    buf_reset(&s->text);
    rc = types_query(s->types, slice_str(verb), slice_str(args), s->now_ms,
                     &s->text, &why);
    return rc < 0 ? refused(s, rc, &why) : 0;
}

const char *stage_query(struct stage *s, const char *verb, const char *args)
{
    int rc = query(s, verb, args);

    if (rc < 0)
        test_fail(__FILE__, __LINE__, "%s %s: refused: %s: %s", verb, args,
                  s->refusal.code, buf_text(&s->why));
    check_json(buf_slice(&s->text));
    return buf_text(&s->text);
}

const char *stage_query_refused(struct stage *s, const char *verb,
                                const char *args, int err, const char *code)
{
    EXPECT_ERR(query(s, verb, args), err);
    EXPECT_STR(s->refusal.code, code);
    return buf_text(&s->why);
}

const char *stage_snapshot(struct stage *s, const char *id)
{
    buf_reset(&s->text);
    EXPECT_OK(types_snapshot(s->types, slice_str(id), &s->text));
    check_json(buf_slice(&s->text));
    return buf_text(&s->text);
}

const char *stage_data(struct stage *s)
{
    EXPECT(s->accepted > 0);
    return give(s, s->log[s->accepted - 1]->data);
}

const char *stage_kind(struct stage *s)
{
    EXPECT(s->accepted > 0);
    return give(s, s->log[s->accepted - 1]->kind);
}

unsigned stage_weight(const struct stage *s)
{
    EXPECT(s->accepted > 0);
    return s->log[s->accepted - 1]->flags & MSG_WEIGHT;
}
