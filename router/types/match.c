/* match.c - `match/<home>-<visit>-<date>`: every message is an event. */
#include "router/types/match.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/opt.h"
#include "proto/json.h"
#include "router/types/team.h"

/* ---- life ------------------------------------------------------------- */

static struct match_state *state_of(struct ledger_state *s)
{
    return s ? CONTAINER_OF(s, struct match_state, in_ledger) : NULL;
}

static void free_state(struct ledger_state *s)
{
    match_state_free(state_of(s));
}

static void free_match(struct match *m)
{
    if (!m)
        return;
    match_log_fini(&m->log);
    free(m);
}

static void free_entry(struct ledger_entry *e)
{
    free_match(CONTAINER_OF(e, struct match, entry));
}

static struct match *new_match(void)
{
    struct match *m = calloc(1, sizeof *m);

    if (m)
        match_log_init(&m->log);
    return m;
}

struct match *match_find(const struct matches *ms, struct slice name)
{
    struct ledger_entry *e = ledger_find(&ms->ledger, name);

    return e ? CONTAINER_OF(e, struct match, entry) : NULL;
}

const struct match_state *match_committed(const struct match *m)
{
    return m ? state_of(m->entry.committed) : NULL;
}

struct slice match_date(const struct match *m, char room[WHEN_TEXT_MAX])
{
    const struct match_state *s = match_committed(m);
    struct slice id = ledger_id(&m->entry);

    if (!s->moved)
        return slice_from(id, id.len - WHEN_DATE);
    when_format(s->start_ms, room);
    return slice_make(room, WHEN_DATE);
}

void match_write(const struct match *m, bool lineups, struct buf *out)
{
    char date[WHEN_TEXT_MAX];

    buf_add_byte(out, '{');
    json_put_key(out, "id");
    json_put_string(out, ledger_id(&m->entry));
    match_state_write(match_committed(m), lineups, out);
    json_put_key(out, "date");
    json_put_string(out, match_date(m, date));
}

static void give_up_replay(struct matches *ms)
{
    free_match(ms->replay.match);
    match_state_free(ms->replay.state);
    ms->replay.match = NULL;
    ms->replay.state = NULL;
}

static int match_open(void **self, struct plug_ctx *ctx)
{
    struct matches *ms = calloc(1, sizeof *ms);

    if (!ms)
        return ERR_NOMEM;
    ms->ctx = ctx;
    ledger_init(&ms->ledger, free_state, free_entry);
    *self = ms;
    return 0;
}

static void match_close(void *self)
{
    struct matches *ms = self;

    if (!ms)
        return;
    ledger_fini(&ms->ledger);
    give_up_replay(ms);
    buf_fini(&ms->replay.id);
    free(ms->sorted);
    free(ms);
}

/* ---- judging ---------------------------------------------------------- */

/* An event under judgement, for and against. */
struct hearing {
    struct matches *ms;
    struct slice name; /* of the match: "elp-tig-2011-09-13" */
    int64_t ts_ms;
    struct match *match;                /* NULL: unknown */
    const struct match_state *standing; /* tentative; NULL: none */
    cJSON *tree;
    struct match_event event;
    struct match_state *next; /* the state if it is accepted */
    struct type_refusal *refusal;
};

static int refuse(struct hearing *h, int rc, const char *code)
{
    return plug_refuse(h->ms->ctx, h->refusal, rc, code);
}

static const char *nth_kind(const void *ctx, size_t i)
{
    UNUSED(ctx);
    return i < MATCH_KINDS ? match_kind_word((enum match_kind)i) : NULL;
}

/* With the nearest that there is, or all of them. */
static void put_no_kind(struct buf *why, struct slice word)
{
    const char *near = opt_nearest(word, nth_kind, NULL);

    buf_addf(why, "\"%.*s\" is no kind of event; ",
             (int)MIN(word.len, (size_t)40),
             word.ptr ? (const char *)word.ptr : "");
    if (near) {
        buf_addf(why, "did you mean %s?", near);
        return;
    }
    buf_add_str(why, "those are");
    for (size_t i = 0; i < MATCH_KINDS; i++)
        buf_addf(why, " %s", nth_kind(NULL, i));
}

/* {"kind","data"?} */
static int open_envelope(struct hearing *h, enum match_kind *kind,
                         const cJSON **data)
{
    static const char *const keys[] = { "kind", "data", NULL };
    struct buf *why = &h->ms->ctx->why;
    const char *unknown = args_unknown(h->tree, keys);
    struct slice word = args_text(args_get(h->tree, "kind"));

    *data = args_get(h->tree, "data");
    if (unknown)
        buf_addf(why, "beside kind and data an event has no \"%.40s\"",
                 unknown);
    else if (*data && !cJSON_IsObject(*data))
        buf_add_str(why, "data must be an object");
    else if (match_kind_find(word, kind) < 0)
        put_no_kind(why, word);
    else
        return 0;
    return refuse(h, ERR_BAD, "match.kind");
}

static int read_publication(struct hearing *h, const struct msg_parts *in)
{
    struct plug_ctx *ctx = h->ms->ctx;
    struct slice text = in->data.len || in->kind.len == 0 ? in->data
                                                          : SLICE("{}");
    enum match_kind kind = MATCH_KINDS;
    const cJSON *data;
    int rc;

    if (in->format == MSG_BYTES)
        return plug_refusef(ctx, h->refusal, ERR_BAD, "match.data",
                            "an event is JSON");
    rc = args_parse(&h->tree, text, ctx->opt.message, &ctx->why);
    if (rc < 0)
        return refuse(h, rc, "match.data");
    data = h->tree;
    if (!in->kind.len) {
        rc = open_envelope(h, &kind, &data);
        if (rc < 0)
            return rc;
    } else if (match_kind_find(in->kind, &kind) < 0) {
        put_no_kind(&ctx->why, in->kind);
        return refuse(h, ERR_BAD, "match.kind");
    }
    rc = match_event_read(&h->event, kind, data, &ctx->why);
    return rc < 0 ? refuse(h, rc, "match.data") : 0;
}

/* Is name home-visit-YYYY-MM-DD? The day is the one written when the match
 * was created, of which start_time tells only the instant: somewhere on earth
 * it is that day then. */
static bool names_match(struct slice name, const struct match_event *e)
{
    struct slice rest = name;
    struct slice home = slice_split(&rest, '-');
    struct slice visit = slice_split(&rest, '-');
    char day[WHEN_DATE];
    int64_t midnight_ms;

    return slice_eq(home, e->home) && slice_eq(visit, e->visit)
           && when_is_date(rest) && when_parse(rest, &midnight_ms, day) == 0
           && e->start_ms > midnight_ms - WHEN_DAY_MS
           && e->start_ms < midnight_ms + 2 * WHEN_DAY_MS;
}

static int check_creation(struct hearing *h)
{
    const struct match_event *e = &h->event;
    struct plug_ctx *ctx = h->ms->ctx;
    struct slice missing = teams_has(ctx->teams, e->home) ? e->visit : e->home;

    if (h->standing && match_exists(h->standing))
        return plug_refusef(ctx, h->refusal, ERR_CONFLICT, "match.exists",
                            "there is a match " SLICE_FMT " already",
                            SLICE_ARG(h->name));
    if (slice_eq(e->home, e->visit))
        return plug_refusef(ctx, h->refusal, ERR_BAD, "match.data",
                            "a team does not play against itself");
    if (!teams_has(ctx->teams, missing))
        return plug_refusef(ctx, h->refusal, ERR_NOT_FOUND, "team.unknown",
                            "there is no team " SLICE_FMT,
                            SLICE_ARG(missing));
    if (!names_match(h->name, e))
        return plug_refusef(ctx, h->refusal, ERR_BAD, "match.id",
                            "a match is named home-visit-YYYY-MM-DD, "
                            "after the day of its start_time");
    h->event.has |= 1u << FIELD_PERIOD;
    h->event.period = PERIOD_NOT_STARTED;
    return 0;
}

static int check_known(struct hearing *h)
{
    if (match_creates(&h->event))
        return check_creation(h);
    if (h->standing)
        return 0;
    return plug_refusef(h->ms->ctx, h->refusal, ERR_NOT_FOUND,
                        "match.unknown", "there is no match " SLICE_FMT,
                        SLICE_ARG(h->name));
}

/* Makes h->next: the standing state with the event folded in. */
static int fold_next(struct hearing *h)
{
    struct buf *why = &h->ms->ctx->why;
    bool undo = h->event.kind == MATCH_RETRACT;
    int rc;

    if (undo) {
        match_event_write(&h->event, &h->ms->ctx->data);
        rc = match_log_undo(&h->match->log, h->standing, h->event.offset,
                            &h->next, why);
        return rc < 0 ? refuse(h, rc, "match.retract") : 0;
    }
    h->next = h->standing ? match_state_copy(h->standing) : match_state_new();
    if (!h->next)
        return refuse(h, ERR_NOMEM, "match.memory");
    match_complete(h->next, &h->event);
    /* Names that it completed are the state's, which moves them as it grows. */
    match_event_write(&h->event, &h->ms->ctx->data);
    rc = match_fold(h->next, &h->event, h->ts_ms, why);
    return rc < 0 ? refuse(h, rc, "match.rule") : 0;
}

/* From here on nothing is refused but for want of room. */
static int accept_next(struct hearing *h)
{
    struct plug_ctx *ctx = h->ms->ctx;
    struct match *m = h->match ? h->match : new_match();
    int rc = m ? 0 : ERR_NOMEM;

    if (rc == 0)
        rc = ctx->data.failed ? ERR_NOMEM
             : h->next->events >= MATCH_EVENTS_MAX ? ERR_FULL
             : match_log_append(&m->log, h->next, h->event.kind, h->ts_ms,
                                buf_slice(&ctx->data));
    if (rc == 0 && !h->match)
        rc = ledger_add(&h->ms->ledger, &m->entry, h->name);
    if (rc < 0) {
        if (!h->match)
            free_match(m);
        if (rc != ERR_FULL)
            return refuse(h, rc, "match.memory");
        buf_add_str(&ctx->why, "the match has too many events");
        return refuse(h, ERR_CONFLICT, "match.full");
    }
    ledger_accept(&h->ms->ledger, &m->entry, &h->next->in_ledger);
    h->match = m;
    return 0;
}

static int match_judge(void *self, const struct msg_parts *in,
                       struct type_verdict *ret)
{
    struct matches *ms = self;
    struct hearing h = { .ms = ms, .refusal = &ret->refusal,
                         .ts_ms = in->ts_ms,
                         .name = plug_name(&match_type, in->id) };
    int rc;

    h.match = match_find(ms, h.name);
    h.standing = h.match ? state_of(ledger_tentative(&h.match->entry)) : NULL;
    rc = read_publication(&h, in);
    if (rc == 0)
        rc = check_known(&h);
    if (rc == 0)
        rc = fold_next(&h);
    if (rc == 0)
        rc = accept_next(&h);
    cJSON_Delete(h.tree);
    if (rc < 0) {
        match_state_free(h.next);
        return rc;
    }
    ret->event = *in;
    ret->event.format = MSG_JSON;
    ret->event.kind = slice_str(match_kind_word(h.event.kind));
    ret->event.data = buf_slice(&ms->ctx->data);
    if (h.event.kind == MATCH_RETRACT)
        ret->event.flags |= MSG_RESNAPSHOT;
    ret->record = match_log_record(&h.match->log, h.next);
    return 0;
}

/* The score, who was shown a card and who plays: each is an event that people
 * wait for. What moves the match on is in the newest state; no state knows of
 * the rest. */
static unsigned match_weight(const struct msg_parts *event)
{
    enum match_kind kind;

    return match_kind_find(event->kind, &kind) == 0 ? match_kind_weight(kind)
                                                    : WEIGHT_KEPT;
}

/* ---- what became of it ------------------------------------------------ */

static bool match_commit(void *self, const struct msg *msg)
{
    struct matches *ms = self;
    struct match *m = match_find(ms, plug_name(&match_type, msg->id));

    if (NEVER(!m))
        return false;
    ledger_commit(&ms->ledger, &m->entry);
    m->log.base = msg->offset - match_committed(m)->events + 1;
    ms->sorted_good = false;
    return slice_eq(msg->kind, slice_str(match_kind_word(MATCH_RETRACT)));
}

static void match_rollback(void *self)
{
    struct matches *ms = self;

    ledger_rollback(&ms->ledger);
}

static void match_withdraw(void *self, struct slice id)
{
    struct matches *ms = self;
    struct match *m = match_find(ms, plug_name(&match_type, id));

    if (!NEVER(!m))
        ledger_withdraw(&ms->ledger, &m->entry);
}

/* ---- starting --------------------------------------------------------- */

/* Takes m and s, both on success only. */
static int enter(struct matches *ms, struct slice id, struct match *m,
                 struct match_state *s)
{
    struct slice name = plug_name(&match_type, id);
    int rc;

    if (name.len < WHEN_DATE
        || !when_is_date(slice_from(name, name.len - WHEN_DATE)))
        return ERR_DAMAGED;
    rc = ledger_add(&ms->ledger, &m->entry, name);
    if (rc < 0)
        return rc;
    ledger_load(&ms->ledger, &m->entry, &s->in_ledger);
    ms->sorted_good = false;
    return 0;
}

static int match_load(void *self, struct slice id, struct slice record,
                      uint64_t last_offset)
{
    struct matches *ms = self;
    struct match *m = new_match();
    struct match_state *s = NULL;
    int rc = ERR_NOMEM;

    if (!m)
        goto fail;
    rc = match_find(ms, plug_name(&match_type, id)) ? ERR_EXISTS : 0;
    if (rc == 0)
        rc = match_log_load(&m->log, record, last_offset, &s);
    if (rc == 0)
        rc = enter(ms, id, m, s);
    if (rc == 0)
        return 0;
fail:
    match_state_free(s);
    free_match(m);
    return rc;
}

static int begin_replay(struct matches *ms, const struct msg_parts *first)
{
    give_up_replay(ms);
    buf_reset(&ms->replay.id);
    buf_add(&ms->replay.id, first->id);
    ms->replay.match = new_match();
    ms->replay.state = match_state_new();
    if (!ms->replay.match || !ms->replay.state || ms->replay.id.failed) {
        give_up_replay(ms);
        return ERR_NOMEM;
    }
    ms->replay.match->log.base = first->offset;
    return 0;
}

/* Offsets that are missing in between leave void entries. */
static int replay_entry(struct match_log *log, struct match_state *s,
                        const struct msg_parts *in)
{
    enum match_kind kind;
    int rc = 0;

    while (rc == 0 && log->base + s->events < in->offset)
        rc = match_log_append_void(log, s);
    if (rc < 0)
        return rc;
    if (match_kind_find(in->kind, &kind) < 0)
        return match_log_append_void(log, s);
    return match_log_append(log, s, kind, in->ts_ms, in->data);
}

static int match_replay(void *self, const struct msg_parts *in)
{
    struct matches *ms = self;
    int rc = 0;

    if (!ms->replay.match || !slice_eq(in->id, buf_slice(&ms->replay.id)))
        rc = begin_replay(ms, in);
    if (rc == 0)
        rc = replay_entry(&ms->replay.match->log, ms->replay.state, in);
    if (rc < 0)
        give_up_replay(ms);
    return rc;
}

static int match_replayed(void *self, struct slice id)
{
    struct matches *ms = self;
    struct match *m = ms->replay.match;
    struct match_state *s = NULL;
    int rc = ERR_DAMAGED;

    if (!m || !slice_eq(id, buf_slice(&ms->replay.id)))
        goto fail;
    rc = match_log_refold(&m->log, ms->replay.state, &s);
    if (rc == 0 && !s->team[SIDE_HOME].id[0])
        rc = ERR_DAMAGED;
    if (rc == 0)
        rc = enter(ms, id, m, s);
    if (rc < 0)
        goto fail;
    ms->replay.match = NULL; /* the ledger's now */
    give_up_replay(ms);
    return 0;
fail:
    match_state_free(s);
    give_up_replay(ms);
    return rc;
}

static int match_snapshot(void *self, struct slice id, struct buf *out)
{
    struct matches *ms = self;
    struct match *m = match_find(ms, plug_name(&match_type, id));

    if (!match_committed(m)) {
        buf_add_str(out, "null");
        return 0;
    }
    match_write(m, true, out);
    buf_add_byte(out, '}');
    return 0;
}

/* ---- acts ------------------------------------------------------------- */

static int give_act(struct matches *ms, struct slice name,
                    struct type_act *ret)
{
    struct plug_ctx *ctx = ms->ctx;

    buf_addf(&ctx->id, "%s" SLICE_FMT, match_type.prefix, SLICE_ARG(name));
    buf_add_byte(&ctx->body, '{');
    json_put_key(&ctx->body, "id");
    json_put_string(&ctx->body, name);
    buf_add_byte(&ctx->body, '}');
    if (ctx->id.failed || ctx->body.failed || ctx->data.failed)
        return plug_refuse(ctx, &ret->refusal, ERR_NOMEM, "match.memory");
    ret->event = (struct msg_parts){
        .format = MSG_JSON,
        .id = buf_slice(&ctx->id),
        .kind = slice_str(match_kind_word(MATCH_STATUS)),
        .data = buf_slice(&ctx->data),
    };
    ret->body = buf_slice(&ctx->body);
    return 0;
}

static int act_new(struct matches *ms, const cJSON *args,
                   struct type_act *ret)
{
    static const char *const keys[] = { "home", "visit", "start_time",
                                        "stadium", NULL };
    struct plug_ctx *ctx = ms->ctx;
    const char *unknown = args_unknown(args, keys);
    struct match_event e;
    struct buf name = BUF_INIT;
    int rc;

    if (unknown)
        return plug_refusef(ctx, &ret->refusal, ERR_BAD, "match.data",
                            "a new match has no \"%.40s\"", unknown);
    rc = match_event_read(&e, MATCH_STATUS, args, &ctx->why);
    if (rc == 0 && !match_creates(&e)) {
        buf_add_str(&ctx->why, "home, visit and start_time are needed");
        rc = ERR_BAD;
    }
    if (rc < 0)
        return plug_refuse(ctx, &ret->refusal, rc, "match.data");
    match_event_write(&e, &ctx->data);
    buf_addf(&name, SLICE_FMT "-" SLICE_FMT "-%.10s", SLICE_ARG(e.home),
             SLICE_ARG(e.visit), e.date);
    rc = give_act(ms, buf_slice(&name), ret);
    buf_fini(&name);
    ret->created = true;
    return rc;
}

static int act_cancel(struct matches *ms, const cJSON *args,
                      struct type_act *ret)
{
    struct slice name = args_text(args_get(args, "id"));
    struct match *m = match_find(ms, name);
    const struct match_state *s = m
        ? state_of(ledger_tentative(&m->entry)) : NULL;

    if (!s)
        return plug_refusef(ms->ctx, &ret->refusal, ERR_NOT_FOUND,
                            "match.unknown", "there is no such match");
    if (s->cancelled)
        return plug_refusef(ms->ctx, &ret->refusal, ERR_CONFLICT,
                            "match.cancelled", "it was cancelled before");
    if (!match_not_begun(s))
        return plug_refusef(ms->ctx, &ret->refusal, ERR_CONFLICT,
                            "match.begun", "the match has begun: its period "
                            "is %s", match_period_word(s->period));
    buf_add_str(&ms->ctx->data, "{\"comment\":\"cancelled\"}");
    return give_act(ms, name, ret);
}

static int match_act(void *self, struct slice verb, struct slice args,
                     struct type_act *ret)
{
    struct matches *ms = self;
    bool new = slice_eq(verb, SLICE("new"));
    cJSON *tree;
    int rc;

    if (!new && !slice_eq(verb, SLICE("cancel")))
        return plug_refusef(ms->ctx, &ret->refusal, ERR_NOT_FOUND,
                            "verb.unknown", "a match knows new and cancel");
    rc = args_parse(&tree, args, ms->ctx->opt.message, &ms->ctx->why);
    if (rc < 0)
        return plug_refuse(ms->ctx, &ret->refusal, rc, "match.data");
    rc = new ? act_new(ms, tree, ret) : act_cancel(ms, tree, ret);
    cJSON_Delete(tree);
    return rc;
}

const struct type match_type = {
    .name = "match",
    .prefix = "match/",
    .flags = TYPE_STATEFUL | TYPE_RECORDS,
    .open = match_open,
    .close = match_close,
    .judge = match_judge,
    .weight = match_weight,
    .commit = match_commit,
    .rollback = match_rollback,
    .withdraw = match_withdraw,
    .load = match_load,
    .replay = match_replay,
    .replayed = match_replayed,
    .snapshot = match_snapshot,
    .act = match_act,
    .query = match_query,
};
