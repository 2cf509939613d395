/* team.c - `team/<id>`: the newest message is the team. */
#include "router/types/team.h"

#include <stdlib.h>

#include "base/err.h"
#include "proto/json.h"
#include "router/types/args.h"
#include "router/types/ledger.h"
#include "router/types/match_event.h"
#include "router/types/plug.h"

enum { TEAM_NAME_MAX = 100, TEAM_DIVISION_MAX = 100 };

struct team_state {
    struct ledger_state in_ledger;
    char *data; /* {"name","division"} as stored: the record, too */
    size_t len;
};

struct team {
    struct ledger_entry entry;
};

struct teams {
    struct plug_ctx *ctx;
    struct ledger ledger;
};

static struct team_state *state_of(struct ledger_state *s)
{
    return s ? CONTAINER_OF(s, struct team_state, in_ledger) : NULL;
}

static void free_state(struct ledger_state *s)
{
    struct team_state *t = state_of(s);

    free(t->data);
    free(t);
}

static void free_team(struct ledger_entry *e)
{
    free(CONTAINER_OF(e, struct team, entry));
}

static int team_open(void **self, struct plug_ctx *ctx)
{
    struct teams *t = malloc(sizeof *t);

    if (!t)
        return ERR_NOMEM;
    t->ctx = ctx;
    ledger_init(&t->ledger, free_state, free_team);
    ctx->teams = t;
    *self = t;
    return 0;
}

static void team_close(void *self)
{
    struct teams *t = self;

    if (!t)
        return;
    ledger_fini(&t->ledger);
    free(t);
}

bool teams_has(const struct teams *t, struct slice team)
{
    return ledger_tentative(ledger_find(&t->ledger, team)) != NULL;
}

/* ---- publishing ------------------------------------------------------- */

struct team_data {
    struct slice name, division; /* division: empty when there is none */
};

static int read_team(const cJSON *o, struct team_data *ret, struct buf *why)
{
    static const char *const keys[] = { "name", "division", NULL };
    const char *unknown = args_unknown(o, keys);
    const cJSON *division = args_get(o, "division");
    int rc;

    if (unknown) {
        buf_addf(why, "a team has no \"%.40s\"", unknown);
        return ERR_BAD;
    }
    rc = args_line(args_get(o, "name"), "name", TEAM_NAME_MAX, false,
                   &ret->name, why);
    ret->division = slice_make(NULL, 0);
    if (rc == 0 && division)
        rc = args_line(division, "division", TEAM_DIVISION_MAX, false,
                       &ret->division, why);
    return rc;
}

static void write_team(const struct team_data *t, struct buf *out)
{
    buf_add_byte(out, '{');
    json_put_key(out, "name");
    json_put_string(out, t->name);
    if (t->division.len) {
        json_put_key(out, "division");
        json_put_string(out, t->division);
    }
    buf_add_byte(out, '}');
}

static struct team_state *new_state(struct slice data)
{
    struct team_state *s = malloc(sizeof *s);

    if (!s)
        return NULL;
    s->data = slice_dup(data);
    s->len = data.len;
    if (!s->data) {
        free(s);
        return NULL;
    }
    return s;
}

/* The entry of a team, and a state for it; neither is joined yet. */
static int prepare(struct teams *t, struct slice id, struct slice data,
                   struct ledger_entry **entry, struct team_state **state)
{
    struct ledger_entry *e = ledger_find(&t->ledger, id);
    struct team_state *s = new_state(data);
    struct team *made = NULL;

    if (!s)
        return ERR_NOMEM;
    if (!e) {
        made = malloc(sizeof *made);
        if (!made || ledger_add(&t->ledger, &made->entry, id) < 0) {
            free(made);
            free_state(&s->in_ledger);
            return ERR_NOMEM;
        }
        e = &made->entry;
    }
    *entry = e;
    *state = s;
    return 0;
}

/* Normalises in->data into ctx->data. */
static int normalise(struct teams *t, const struct msg_parts *in)
{
    struct team_data data;
    cJSON *tree;
    int rc;

    if (in->format == MSG_BYTES) {
        buf_add_str(&t->ctx->why, "a team is JSON");
        return ERR_BAD;
    }
    rc = args_parse(&tree, in->data, t->ctx->opt.message, &t->ctx->why);
    if (rc < 0)
        return rc;
    rc = read_team(tree, &data, &t->ctx->why);
    if (rc == 0)
        write_team(&data, &t->ctx->data);
    cJSON_Delete(tree);
    return rc == 0 && t->ctx->data.failed ? ERR_NOMEM : rc;
}

/* The newest message is the team. */
static unsigned team_weight(const struct msg_parts *event)
{
    UNUSED(event);
    return WEIGHT_STATE;
}

static int team_judge(void *self, const struct msg_parts *in,
                      struct type_verdict *ret)
{
    struct teams *t = self;
    struct slice id = plug_name(&team_type, in->id);
    struct ledger_entry *entry;
    struct team_state *state;
    int rc;

    if (!team_id_valid(id))
        return plug_refusef(t->ctx, &ret->refusal, ERR_BAD, "team.id",
                            "a team's id is 1 to 24 of a-z and 0-9");
    rc = normalise(t, in);
    if (rc == 0)
        rc = prepare(t, id, buf_slice(&t->ctx->data), &entry, &state);
    if (rc < 0)
        return plug_refuse(t->ctx, &ret->refusal, rc, "team.data");
    ledger_accept(&t->ledger, entry, &state->in_ledger);
    ret->event = *in;
    ret->event.format = MSG_JSON;
    ret->event.data = ret->record = slice_make(state->data, state->len);
    return 0;
}

static bool team_commit(void *self, const struct msg *m)
{
    struct teams *t = self;
    struct ledger_entry *e = ledger_find(&t->ledger,
                                         plug_name(&team_type, m->id));

    if (e)
        ledger_commit(&t->ledger, e);
    return false;
}

static void team_rollback(void *self)
{
    struct teams *t = self;

    ledger_rollback(&t->ledger);
}

static void team_withdraw(void *self, struct slice id)
{
    struct teams *t = self;
    struct ledger_entry *e = ledger_find(&t->ledger,
                                         plug_name(&team_type, id));

    if (e)
        ledger_withdraw(&t->ledger, e);
}

static int team_load(void *self, struct slice id, struct slice record,
                     uint64_t last_offset)
{
    struct teams *t = self;
    struct ledger_entry *entry;
    struct team_state *state;
    int rc;

    UNUSED(last_offset);
    id = plug_name(&team_type, id);
    if (!team_id_valid(id)
        || json_check(record, JSON_DEPTH_COMMAND, NULL) < 0
        || json_kind(record) != JSON_OBJECT)
        return ERR_DAMAGED;
    rc = prepare(t, id, record, &entry, &state);
    if (rc < 0)
        return rc;
    ledger_load(&t->ledger, entry, &state->in_ledger);
    return 0;
}

/* The newest message is all there is to know. */
static int team_replay(void *self, const struct msg_parts *m)
{
    int rc = team_load(self, m->id, m->data, m->offset);

    return rc == ERR_DAMAGED ? 0 : rc;
}

/* ---- verbs ------------------------------------------------------------ */

/* {"id", name, division}: stored data is `{"name"...}`. */
static void write_with_id(const struct ledger_entry *e,
                          const struct team_state *s, struct buf *out)
{
    buf_add_byte(out, '{');
    json_put_key(out, "id");
    json_put_string(out, ledger_id(e));
    buf_add_byte(out, ',');
    buf_add(out, slice_from(slice_make(s->data, s->len), 1));
}

static int act_put(struct teams *t, cJSON *args, struct type_act *ret)
{
    struct plug_ctx *ctx = t->ctx;
    struct slice id = args_text(args_get(args, "id"));
    struct team_data data;
    int rc;

    if (!team_id_valid(id))
        return plug_refusef(ctx, &ret->refusal, ERR_BAD, "team.id",
                            "a team's id is 1 to 24 of a-z and 0-9");
    buf_addf(&ctx->id, "%s" SLICE_FMT, team_type.prefix, SLICE_ARG(id));
    buf_addf(&ctx->body, "{\"id\":\"" SLICE_FMT "\"}", SLICE_ARG(id));
    ret->created = !teams_has(t, id);
    cJSON_DeleteItemFromObjectCaseSensitive(args, "id");
    rc = read_team(args, &data, &ctx->why);
    if (rc < 0)
        return plug_refuse(ctx, &ret->refusal, rc, "team.data");
    write_team(&data, &ctx->data);
    ret->event = (struct msg_parts){
        .format = MSG_JSON,
        .id = buf_slice(&ctx->id),
        .data = buf_slice(&ctx->data),
    };
    ret->body = buf_slice(&ctx->body);
    return 0;
}

static int team_act(void *self, struct slice verb, struct slice args,
                    struct type_act *ret)
{
    struct teams *t = self;
    cJSON *tree;
    int rc;

    if (!slice_eq(verb, SLICE("put")))
        return plug_refusef(t->ctx, &ret->refusal, ERR_NOT_FOUND,
                            "verb.unknown", "teams can be put, only");
    rc = args_parse(&tree, args, t->ctx->opt.message, &t->ctx->why);
    if (rc < 0)
        return plug_refuse(t->ctx, &ret->refusal, rc, "team.data");
    rc = act_put(t, tree, ret);
    cJSON_Delete(tree);
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    struct ledger_entry *const *x = a, *const *y = b;

    return slice_cmp(ledger_id(*x), ledger_id(*y));
}

static int query_list(struct teams *t, struct buf *out)
{
    size_t room = map_count(&t->ledger.entries), n = 0;
    struct ledger_entry **all = calloc(room + 1, sizeof *all), *e;
    struct map_iter it = ledger_iter(&t->ledger);

    if (!all)
        return ERR_NOMEM;
    while ((e = ledger_next(&it)))
        all[n++] = e;
    qsort(all, n, sizeof *all, compare_ids);
    buf_add_str(out, "{\"teams\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_byte(out, ',');
        write_with_id(all[i], state_of(all[i]->committed), out);
    }
    buf_add_str(out, "]}");
    free(all);
    return 0;
}

static int query_get(struct teams *t, struct slice args, struct buf *out,
                     struct type_refusal *why)
{
    struct ledger_entry *e = NULL;
    cJSON *tree;
    int rc = args_parse(&tree, args, t->ctx->opt.message, &t->ctx->why);

    if (rc < 0)
        return plug_refuse(t->ctx, why, rc, "team.data");
    e = ledger_find(&t->ledger, args_text(args_get(tree, "id")));
    cJSON_Delete(tree);
    if (!e || !e->committed)
        return plug_refusef(t->ctx, why, ERR_NOT_FOUND, "team.unknown",
                            "there is no such team");
    write_with_id(e, state_of(e->committed), out);
    return 0;
}

static int team_query(void *self, struct slice verb, struct slice args,
                      int64_t now_ms, struct buf *out,
                      struct type_refusal *why)
{
    struct teams *t = self;

    UNUSED(now_ms);
    if (slice_eq(verb, SLICE("list")))
        return query_list(t, out);
    if (slice_eq(verb, SLICE("get")))
        return query_get(t, args, out, why);
    return plug_refusef(t->ctx, why, ERR_NOT_FOUND, "verb.unknown",
                        "of teams one can ask list and get");
}

const struct type team_type = {
    .name = "team",
    .prefix = "team/",
    .flags = TYPE_RECORDS,
    .open = team_open,
    .close = team_close,
    .judge = team_judge,
    .weight = team_weight,
    .commit = team_commit,
    .rollback = team_rollback,
    .withdraw = team_withdraw,
    .load = team_load,
    .replay = team_replay,
    .act = team_act,
    .query = team_query,
};
