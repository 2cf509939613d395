/* match_list.c - the answers to questions about matches. */
#include <stdlib.h>

#include "base/err.h"
#include "proto/json.h"
#include "router/types/match.h"

/* A match that nobody started still counts as next this long after its time:
 * a bare date means midnight, and the kick-off comes in the evening. */
#define LATE_MS (24 * INT64_C(3600000))

/* ---- the sorted list -------------------------------------------------- */

static int compare_starts(const void *a, const void *b)
{
    struct match *const *x = a, *const *y = b;
    int64_t at_x = match_committed(*x)->start_ms,
            at_y = match_committed(*y)->start_ms;

    if (at_x != at_y)
        return at_x < at_y ? -1 : 1;
    return slice_cmp(ledger_id(&(*x)->entry), ledger_id(&(*y)->entry));
}

/* Makes ms->sorted good. Cost: O(matches log matches) after a change. */
static int sort_matches(struct matches *ms)
{
    size_t room = map_count(&ms->ledger.entries);
    struct map_iter it = ledger_iter(&ms->ledger);
    struct ledger_entry *e;
    struct match **all;

    if (ms->sorted_good)
        return 0;
    all = realloc(ms->sorted, (room + 1) * sizeof *all);
    if (!all)
        return ERR_NOMEM;
    ms->sorted = all;
    ms->sorted_count = 0;
    while ((e = ledger_next(&it))) {
        struct match *m = CONTAINER_OF(e, struct match, entry);

        if (match_exists(match_committed(m)))
            all[ms->sorted_count++] = m;
    }
    qsort(all, ms->sorted_count, sizeof *all, compare_starts);
    ms->sorted_good = true;
    return 0;
}

/* ---- list, ids, get --------------------------------------------------- */

struct filter {
    struct slice date, team; /* ptr NULL: any */
    enum match_period period; /* MATCH_PERIODS: any */
};

static int read_filter(const cJSON *args, struct filter *ret, struct buf *why)
{
    static const char *const keys[] = { "date", "team", "period", NULL };
    const char *unknown = args_unknown(args, keys);
    const cJSON *period = args_get(args, "period"),
                *date = args_get(args, "date"), *team = args_get(args, "team");

    ret->date = args_text(date);
    ret->team = args_text(team);
    ret->period = MATCH_PERIODS;
    if (unknown)
        buf_addf(why, "matches are not listed by \"%.40s\"", unknown);
    else if (date && !when_is_date(ret->date))
        buf_add_str(why, "date must be a day, as YYYY-MM-DD");
    else if (team && !team_id_valid(ret->team))
        buf_add_str(why, "team must be a team's id");
    else if (period && match_period_find(args_text(period), &ret->period) < 0)
        buf_add_str(why, "period is none that a match can be in");
    else
        return 0;
    return ERR_BAD;
}

static bool passes(const struct filter *f, const struct match *m)
{
    const struct match_state *s = match_committed(m);
    char date[WHEN_TEXT_MAX];

    if (f->date.ptr && !slice_eq(f->date, match_date(m, date)))
        return false;
    if (f->period != MATCH_PERIODS && f->period != s->period)
        return false;
    return !f->team.ptr
           || slice_eq(f->team, slice_str(s->team[SIDE_HOME].id))
           || slice_eq(f->team, slice_str(s->team[SIDE_VISIT].id));
}

static int query_list(struct matches *ms, const cJSON *args, struct buf *out,
                      struct type_refusal *why)
{
    struct filter f;
    bool first = true;
    int rc = read_filter(args, &f, &ms->ctx->why);

    if (rc < 0)
        return plug_refuse(ms->ctx, why, rc, "match.filter");
    buf_add_str(out, "{\"matches\":[");
    for (size_t i = 0; i < ms->sorted_count; i++) {
        if (!passes(&f, ms->sorted[i]))
            continue;
        if (!first)
            buf_add_byte(out, ',');
        first = false;
        match_write(ms->sorted[i], false, out);
        buf_add_byte(out, '}');
    }
    buf_add_str(out, "]}");
    return 0;
}

static int query_ids(struct matches *ms, const cJSON *args, struct buf *out,
                     struct type_refusal *why)
{
    UNUSED(args);
    UNUSED(why);
    buf_add_byte(out, '[');
    for (size_t i = 0; i < ms->sorted_count; i++) {
        if (i)
            buf_add_byte(out, ',');
        json_put_string(out, ledger_id(&ms->sorted[i]->entry));
    }
    buf_add_byte(out, ']');
    return 0;
}

static int query_get(struct matches *ms, const cJSON *args, struct buf *out,
                     struct type_refusal *why)
{
    struct match *m = match_find(ms, args_text(args_get(args, "id")));
    int rc;

    if (!match_committed(m))
        return plug_refusef(ms->ctx, why, ERR_NOT_FOUND, "match.unknown",
                            "there is no such match");
    match_write(m, true, out);
    json_put_key(out, "retracted");
    rc = match_log_write_retracted(&m->log, match_committed(m), out);
    buf_add_byte(out, '}');
    return rc;
}

/* ---- the current match ------------------------------------------------ */

/* How much a match is the one that people mean: the highest rank wins, and
 * among equals the greatest weight. */
struct claim {
    enum { CLAIM_LATEST, CLAIM_NEXT, CLAIM_IN_PLAY } rank;
    int64_t weight;
};

static struct claim claim_of(const struct match_state *s, int64_t now_ms)
{
    if (match_in_play(s))
        return (struct claim){ CLAIM_IN_PLAY, s->kickoff_ms };
    if (s->period == PERIOD_NOT_STARTED && s->start_ms >= now_ms - LATE_MS)
        return (struct claim){ CLAIM_NEXT, -s->start_ms };
    /* Of two at the same time, rather the one that may still begin. */
    return (struct claim){ CLAIM_LATEST, 2 * s->start_ms
                           + (s->period == PERIOD_NOT_STARTED) };
}

static bool beats(struct claim a, struct claim b)
{
    return a.rank != b.rank ? a.rank > b.rank : a.weight > b.weight;
}

static int query_current(struct matches *ms, int64_t now_ms, struct buf *out,
                         struct type_refusal *why)
{
    const struct match *best = NULL;
    struct claim claim = { CLAIM_LATEST, INT64_MIN };

    for (size_t i = 0; i < ms->sorted_count; i++) {
        struct match *m = ms->sorted[i];
        struct claim c = claim_of(match_committed(m), now_ms);

        if (!best || !beats(claim, c)) {
            best = m;
            claim = c;
        }
    }
    if (!best)
        return plug_refusef(ms->ctx, why, ERR_NOT_FOUND, "match.none",
                            "there is no match");
    buf_add_byte(out, '{');
    json_put_key(out, "id");
    json_put_string(out, ledger_id(&best->entry));
    buf_add_byte(out, '}');
    return 0;
}

/* ---- verbs ------------------------------------------------------------ */

static const struct verb {
    const char *name;
    int (*answer)(struct matches *ms, const cJSON *args, struct buf *out,
                  struct type_refusal *why);
} verbs[] = {
    { "list", query_list },
    { "ids", query_ids },
    { "get", query_get },
};

static int answer(struct matches *ms, struct slice verb, const cJSON *args,
                  struct buf *out, struct type_refusal *why)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_eq(verb, slice_str(verbs[i].name)))
            return verbs[i].answer(ms, args, out, why);
    return plug_refusef(ms->ctx, why, ERR_NOT_FOUND, "verb.unknown",
                        "of matches one can ask list, ids, get and current");
}

int match_query(void *self, struct slice verb, struct slice args,
                int64_t now_ms, struct buf *out, struct type_refusal *why)
{
    struct matches *ms = self;
    cJSON *tree = NULL;
    int rc = sort_matches(ms);

    if (rc < 0)
        return plug_refuse(ms->ctx, why, rc, "match.memory");
    if (slice_eq(verb, SLICE("current")))
        return query_current(ms, now_ms, out, why);
    if (args.len)
        rc = args_parse(&tree, args, ms->ctx->opt.message, &ms->ctx->why);
    if (rc < 0)
        return plug_refuse(ms->ctx, why, rc, "match.filter");
    rc = answer(ms, verb, tree, out, why);
    cJSON_Delete(tree);
    return rc;
}
