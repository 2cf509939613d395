/* types.c - the set of types: finds the one an id, or a verb, belongs to. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/err.h"
#include "proto/json.h"
#include "router/types/plug.h"

/* Opened in this order: matches ask teams. */
static const struct type *const known[] = {
    &team_type,
    &match_type,
    &room_type,
};

struct types {
    struct plug_ctx ctx;
    void *self[ARRAY_LEN(known)];
};

/* ---- life ------------------------------------------------------------- */

int types_new(struct types **ret, const struct types_options *o)
{
    struct types *ts = calloc(1, sizeof *ts);
    int rc = ts ? 0 : ERR_NOMEM;

    if (ts)
        ts->ctx.opt = *o;
    for (size_t i = 0; i < ARRAY_LEN(known) && rc == 0; i++)
        rc = known[i]->open(&ts->self[i], &ts->ctx);
    if (rc < 0) {
        types_free(ts);
        return rc;
    }
    *ret = ts;
    return 0;
}

void types_free(struct types *ts)
{
    if (!ts)
        return;
    for (size_t i = ARRAY_LEN(known); i-- > 0;)
        known[i]->close(ts->self[i]);
    buf_fini(&ts->ctx.id);
    buf_fini(&ts->ctx.data);
    buf_fini(&ts->ctx.body);
    buf_fini(&ts->ctx.why);
    free(ts);
}

void types_set_epoch(struct types *ts, const struct epoch *epoch)
{
    ts->ctx.epoch = *epoch;
}

void types_set_message(struct types *ts, size_t bytes)
{
    ts->ctx.opt.message = bytes;
}

/* ---- finding ---------------------------------------------------------- */

/* A type and what it keeps; NULL: plain. */
struct found {
    const struct type *type;
    void *self;
};

static struct found find_type(const struct types *ts, struct slice id)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (slice_starts(id, slice_str(known[i]->prefix)))
            return (struct found){ known[i], ts->self[i] };
    return (struct found){ NULL, NULL };
}

/* "match.list": leaves "list" in *verb. */
static struct found find_verb(const struct types *ts, struct slice *verb)
{
    struct slice rest = *verb;
    struct slice name = slice_split(&rest, '.');

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (slice_eq(name, slice_str(known[i]->name))) {
            *verb = rest;
            return (struct found){ known[i], ts->self[i] };
        }
    return (struct found){ NULL, NULL };
}

static void forget_answers(struct types *ts)
{
    buf_reset(&ts->ctx.id);
    buf_reset(&ts->ctx.data);
    buf_reset(&ts->ctx.body);
    buf_reset(&ts->ctx.why);
}

unsigned types_flags(const struct types *ts, struct slice id)
{
    const struct type *t = find_type(ts, id).type;

    return t ? t->flags : 0;
}

/* ---- refusing --------------------------------------------------------- */

int plug_refuse(struct plug_ctx *ctx, struct type_refusal *ret, int rc,
                const char *code)
{
    ret->code = code;
    ret->text = ctx->why.len ? buf_slice(&ctx->why) : slice_str(err_text(rc));
    return rc;
}

int plug_refusef(struct plug_ctx *ctx, struct type_refusal *ret, int rc,
                 const char *code, const char *fmt, ...)
{
    va_list args;

    buf_reset(&ctx->why);
    va_start(args, fmt);
    buf_addv(&ctx->why, fmt, args);
    va_end(args);
    return plug_refuse(ctx, ret, rc, code);
}

static int unknown_verb(struct types *ts, struct type_refusal *ret)
{
    return plug_refusef(&ts->ctx, ret, ERR_NOT_FOUND, "verb.unknown",
                        "there is no such verb");
}

/* ---- publishing ------------------------------------------------------- */

int types_judge(struct types *ts, const struct msg_parts *in,
                struct type_verdict *ret)
{
    struct found f = find_type(ts, in->id);
    struct type_verdict v = { .event = *in };
    int rc = 0;

    forget_answers(ts);
    if (f.type && f.type->judge)
        rc = f.type->judge(f.self, in, &v);
    if (rc == 0 && f.type && f.type->weight)
        v.event.flags |= (uint8_t)f.type->weight(&v.event);
    *ret = v;
    return rc;
}

bool types_commit(struct types *ts, const struct msg *m)
{
    struct found f = find_type(ts, m->id);

    return f.type && f.type->commit && f.type->commit(f.self, m);
}

void types_rollback(struct types *ts)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i]->rollback)
            known[i]->rollback(ts->self[i]);
}

void types_withdraw(struct types *ts, struct slice id)
{
    struct found f = find_type(ts, id);

    if (f.type && f.type->withdraw)
        f.type->withdraw(f.self, id);
}

int types_load(struct types *ts, struct slice id, struct slice record,
               uint64_t last_offset)
{
    struct found f = find_type(ts, id);

    if (!f.type || !f.type->load)
        return ERR_DAMAGED;
    return f.type->load(f.self, id, record, last_offset);
}

int types_replay(struct types *ts, const struct msg_parts *m)
{
    struct found f = find_type(ts, m->id);

    return f.type && f.type->replay ? f.type->replay(f.self, m) : 0;
}

int types_replayed(struct types *ts, struct slice id)
{
    struct found f = find_type(ts, id);

    return f.type && f.type->replayed ? f.type->replayed(f.self, id) : 0;
}

/* ---- newcomers -------------------------------------------------------- */

int types_snapshot(struct types *ts, struct slice id, struct buf *out)
{
    struct found f = find_type(ts, id);

    if (f.type && f.type->snapshot)
        return f.type->snapshot(f.self, id, out);
    buf_add_str(out, "null");
    return 0;
}

void types_fill(struct types *ts, const struct msg_parts *m)
{
    struct found f = find_type(ts, m->id);

    if (f.type && f.type->fill)
        f.type->fill(f.self, m);
}

void types_filled(struct types *ts, struct slice id)
{
    struct found f = find_type(ts, id);

    if (f.type && f.type->filled)
        f.type->filled(f.self, id);
}

/* ---- verbs ------------------------------------------------------------ */

int types_act(struct types *ts, struct slice verb, struct slice args,
              struct slice from, int64_t now_ms, struct type_act *ret)
{
    struct found f = find_verb(ts, &verb);
    struct type_act act = { .created = false };
    int rc;

    forget_answers(ts);
    rc = f.type && f.type->act ? f.type->act(f.self, verb, args, &act)
                               : unknown_verb(ts, &act.refusal);
    act.event.from = from;
    act.event.ts_ms = now_ms;
    *ret = act;
    return rc;
}

void types_act_answer(const struct types *ts, struct slice id,
                      struct buf *out)
{
    const struct type *t = find_type(ts, id).type;

    if (!t || !t->act)
        return;
    buf_add_byte(out, '{');
    json_put_key(out, "id");
    json_put_string(out, plug_name(t, id));
    buf_add_byte(out, '}');
}

int types_query(struct types *ts, struct slice verb, struct slice args,
                int64_t now_ms, struct buf *out, struct type_refusal *why)
{
    struct found f = find_verb(ts, &verb);

    forget_answers(ts);
    if (f.type && f.type->query)
        return f.type->query(f.self, verb, args, now_ms, out, why);
    return unknown_verb(ts, why);
}

/* ---- presence --------------------------------------------------------- */

int types_joined(struct types *ts, struct slice id, struct slice name,
                 int64_t now_ns)
{
    struct found f = find_type(ts, id);

    if (!f.type || !f.type->joined)
        return 0;
    return f.type->joined(f.self, id, name, now_ns);
}

void types_left(struct types *ts, struct slice id, struct slice name,
                int64_t now_ns)
{
    struct found f = find_type(ts, id);

    if (f.type && f.type->left)
        f.type->left(f.self, id, name, now_ns);
}

int types_known(struct types *ts, struct slice id, struct slice name,
                int64_t now_ns)
{
    struct found f = find_type(ts, id);

    return f.type && f.type->known ? f.type->known(f.self, id, name, now_ns)
                                   : 0;
}

void types_tick(struct types *ts, int64_t now_ns,
                const struct types_ears *ears)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i]->tick)
            known[i]->tick(ts->self[i], now_ns, ears);
}

int64_t types_due_ns(const struct types *ts)
{
    int64_t due = INT64_MAX;

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i]->due_ns)
            due = MIN(due, known[i]->due_ns(ts->self[i]));
    return due;
}
