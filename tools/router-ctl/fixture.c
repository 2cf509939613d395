#include "tools/router-ctl/fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "proto/json.h"

enum { AT_ONCE = 256 }; /* questions without an answer */

void fixture_trouble(struct fixture *f, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list args;

    if (f->trouble)
        return;
    va_start(args, fmt);
    buf_addv(&b, fmt, args);
    va_end(args);
    f->trouble = slice_dup(buf_slice(&b));
    buf_fini(&b);
}

static const struct cup_team *team_of(const struct fixtures *fs,
                                      const struct fixture *f, int side)
{
    return &fs->cup->teams[f->match->team[side]];
}

/* ---- choosing ---------------------------------------------------------- */

#define NO_DAY INT64_MIN

/* Days since 1970, also before it; or NO_DAY. */
static int64_t day_of(const char *date)
{
    struct tm tm = { .tm_isdst = 0 };
    const char *end = strptime(date, "%Y-%m-%d", &tm);

    if (!end || *end || strlen(date) != CUP_DATE)
        return NO_DAY;
    return timegm(&tm) / 86400;
}

static void date_of(int64_t day, char out[CUP_DATE + 1])
{
    time_t t = (time_t)(day * 86400);
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(out, CUP_DATE + 1, "%Y-%m-%d", &tm))
        out[0] = '\0';
}

/* --date moves the first match of those chosen to that day, and the others as
 * many days behind it as they were. */
static int set_dates(struct fixtures *fs)
{
    const char *wanted = fs->ctl->opt.date;
    int64_t first = INT64_MAX, to = wanted ? day_of(wanted) : 0;

    if (to == NO_DAY)
        return ctl_usage(fs->ctl, "--date is a day, YYYY-MM-DD, not %s",
                         wanted);
    for (size_t i = 0; i < fs->count; i++) {
        int64_t day = day_of(fs->list[i].match->date);

        if (day != NO_DAY)
            first = MIN(first, day);
        else if (!wanted)
            return ctl_fail(fs->ctl, EXIT_FAILED, "match %d has no date; say "
                            "the day with --date", fs->list[i].match->number);
    }
    for (size_t i = 0; i < fs->count; i++) {
        struct fixture *f = &fs->list[i];
        int64_t day = day_of(f->match->date);

        if (wanted)
            date_of(to + (day == NO_DAY ? 0 : day - first), f->date);
        else
            memcpy(f->date, f->match->date, sizeof f->date);
        snprintf(f->id, sizeof f->id, "%s-%s-%.10s", team_of(fs, f, 0)->id,
                 team_of(fs, f, 1)->id, f->date);
    }
    return EXIT_DONE;
}

static int compare_fixtures(const void *a, const void *b)
{
    const struct fixture *const *x = a, *const *y = b;
    int order = strcmp((*x)->id, (*y)->id);

    return order ? order : (*x)->match->number - (*y)->match->number;
}

/* The same teams on the same day: one id cannot be two matches. */
static int check_twins(const struct fixtures *fs)
{
    const struct fixture **sorted = calloc(fs->count, sizeof *sorted);
    int code = EXIT_DONE;

    if (!sorted)
        return ctl_fail(fs->ctl, EXIT_FAILED, "out of memory");
    for (size_t i = 0; i < fs->count; i++)
        sorted[i] = &fs->list[i];
    qsort(sorted, fs->count, sizeof *sorted, compare_fixtures);
    for (size_t i = 1; i < fs->count && code == EXIT_DONE; i++)
        if (strcmp(sorted[i - 1]->id, sorted[i]->id) == 0)
            code = ctl_fail(fs->ctl, EXIT_REFUSED, "matches %d and %d are "
                            "both %s; choose one with --match",
                            sorted[i - 1]->match->number,
                            sorted[i]->match->number, sorted[i]->id);
    free(sorted);
    return code;
}

static int read_choice(const struct fixtures *fs, uint64_t *first,
                       uint64_t *count)
{
    const char *text = fs->ctl->opt.match;
    uint64_t all = (uint64_t)fs->cup->match_count;

    *first = 1;
    *count = all;
    if (!text || strcmp(text, "all") == 0)
        return EXIT_DONE;
    if (slice_parse_u64(slice_str(text), first) < 0 || *first == 0)
        return ctl_usage(fs->ctl, "--match is a number or all, not %s", text);
    if (*first > all)
        return ctl_fail(fs->ctl, EXIT_NOT_FOUND, "there is no match %s: the "
                        "file has %d", text, fs->cup->match_count);
    *count = 1;
    return EXIT_DONE;
}

int fixtures_choose(struct fixtures *fs, struct ctl *c,
                    const struct cup *cup)
{
    uint64_t first, count;
    int code;

    *fs = (struct fixtures){ .ctl = c, .cup = cup };
    code = read_choice(fs, &first, &count);
    if (code != EXIT_DONE)
        return code;
    fs->list = calloc((size_t)count, sizeof *fs->list);
    if (!fs->list)
        return ctl_fail(c, EXIT_FAILED, "out of memory");
    for (; fs->count < count; fs->count++) {
        struct fixture *f = &fs->list[fs->count];

        f->match = &cup->matches[first - 1 + fs->count];
        if (schedule_make(&f->schedule, cup, f->match) < 0)
            return ctl_fail(c, EXIT_FAILED, "out of memory");
    }
    code = set_dates(fs);
    return code == EXIT_DONE ? check_twins(fs) : code;
}

void fixtures_fini(struct fixtures *fs)
{
    for (size_t i = 0; i < fs->count; i++) {
        schedule_fini(&fs->list[i].schedule);
        free(fs->list[i].trouble);
    }
    free(fs->list);
    *fs = (struct fixtures){ .list = NULL };
}

/* ---- asking about many at once ------------------------------------------ */

/* Waits until no more than `most` questions are open. */
static int await(struct fixtures *fs, size_t most)
{
    while (peer_asked(fs->ctl->peer) > most) {
        int rc = loop_step(fs->ctl->loop, -1);

        if (rc < 0)
            return ctl_fail(fs->ctl, EXIT_FAILED, "cannot wait: %s",
                            err_text(rc));
    }
    return EXIT_DONE;
}

static int ask_get(struct fixtures *fs, struct fixture *f,
                   peer_answered_fn *fn)
{
    char args[FIXTURE_ID_MAX + 16];
    int rc, code = await(fs, AT_ONCE);

    if (code != EXIT_DONE)
        return code;
    snprintf(args, sizeof args, "{\"id\":\"%s\"}", f->id);
    rc = peer_query(fs->ctl->peer, "match.get", slice_str(args), fn, f);
    return rc < 0 ? ctl_fail(fs->ctl, EXIT_FAILED, "%s", err_text(rc))
                  : EXIT_DONE;
}

static int ask_all(struct fixtures *fs, peer_answered_fn *fn)
{
    int code = EXIT_DONE;

    for (size_t i = 0; i < fs->count && code == EXIT_DONE; i++)
        code = ask_get(fs, &fs->list[i], fn);
    return code == EXIT_DONE ? await(fs, 0) : code;
}

/* ---- creating ---------------------------------------------------------- */

static void on_state(void *ctx, const struct frame_answer *a)
{
    struct fixture *f = ctx;
    struct slice period;

    f->begun = a->status == PUBLISHED_OK
               && json_find(a->body, "period", &period) == 0
               && !json_is(period, SLICE("not_started"))
               && !json_is(period, SLICE("postponed"));
    if (a->status != PUBLISHED_OK && a->status != PUBLISHED_NOT_FOUND)
        fixture_trouble(f, SLICE_FMT, SLICE_ARG(a->body));
}

static int check_unplayed(struct fixtures *fs)
{
    struct buf names = BUF_INIT;
    size_t played = 0;
    int code = ask_all(fs, on_state);

    for (size_t i = 0; i < fs->count && code == EXIT_DONE; i++) {
        if (fs->list[i].trouble)
            code = ctl_fail(fs->ctl, EXIT_FAILED, "%s: %s", fs->list[i].id,
                            fs->list[i].trouble);
        if (fs->list[i].begun && ++played <= 5)
            buf_addf(&names, " %s", fs->list[i].id);
    }
    if (code == EXIT_DONE && played)
        code = ctl_fail(fs->ctl, EXIT_REFUSED, "played already:%s%s; choose "
                        "others with --match N, or play on another day with "
                        "--date DATE", buf_text(&names),
                        played > 5 ? " and others" : "");
    buf_fini(&names);
    return code;
}

static void on_created(void *ctx, const struct frame_published *f)
{
    char **trouble = ctx;
    struct buf b = BUF_INIT;

    if (f->status <= PUBLISHED_DUPLICATE
        || slice_eq(f->code, SLICE("match.exists")) || *trouble)
        return;
    buf_addf(&b, SLICE_FMT ": " SLICE_FMT, SLICE_ARG(f->code),
             SLICE_ARG(f->text));
    *trouble = slice_dup(buf_slice(&b));
    buf_fini(&b);
}

static int act(struct fixtures *fs, const char *verb, struct buf *args,
               char **trouble)
{
    int code = await(fs, AT_ONCE), rc;

    if (code != EXIT_DONE)
        return code;
    rc = args->failed ? ERR_NOMEM
                      : peer_act(fs->ctl->peer, verb, buf_slice(args),
                                 on_created, trouble);
    return rc < 0 ? ctl_fail(fs->ctl, EXIT_FAILED, "%s", err_text(rc))
                  : EXIT_DONE;
}

/* A team that is there already keeps its name. */
static bool has_team(const cJSON *list, const char *id)
{
    const cJSON *t;

    cJSON_ArrayForEach(t, cJSON_GetObjectItemCaseSensitive(list, "teams")) {
        const cJSON *have = cJSON_GetObjectItemCaseSensitive(t, "id");

        if (cJSON_IsString(have) && strcmp(have->valuestring, id) == 0)
            return true;
    }
    return false;
}

static void put_text(struct buf *b, const char *key, const char *text)
{
    json_put_key(b, key);
    json_put_string(b, slice_str(text));
}

static int create_team(struct fixtures *fs, const struct cup_team *t,
                       char **trouble)
{
    struct buf args = BUF_INIT;
    int code;

    buf_add_byte(&args, '{');
    put_text(&args, "id", t->id);
    put_text(&args, "name", t->name);
    if (fs->cup->name)
        put_text(&args, "division", fs->cup->name);
    buf_add_byte(&args, '}');
    code = act(fs, "team.put", &args, trouble);
    buf_fini(&args);
    return code;
}

static int create_teams(struct fixtures *fs, char **trouble)
{
    bool *done = calloc((size_t)fs->cup->team_count, sizeof *done);
    struct buf body = BUF_INIT;
    int code = ctl_query(fs->ctl, "team.list", SLICE(""), &body);
    cJSON *list = cJSON_ParseWithLength((const char *)body.ptr, body.len);

    if (code == EXIT_DONE && (!done || !list))
        code = ctl_fail(fs->ctl, EXIT_FAILED, "out of memory");
    for (size_t i = 0; i < 2 * fs->count && code == EXIT_DONE; i++) {
        int t = fs->list[i / 2].match->team[i % 2];

        if (!done[t] && !has_team(list, fs->cup->teams[t].id))
            code = create_team(fs, &fs->cup->teams[t], trouble);
        done[t] = true;
    }
    cJSON_Delete(list);
    buf_fini(&body);
    free(done);
    return code;
}

static int create_match(struct fixtures *fs, struct fixture *f,
                        char **trouble)
{
    char start[CUP_START_MAX];
    struct buf args = BUF_INIT;
    int code;

    cup_start_time(f->match, f->date, start);
    buf_add_byte(&args, '{');
    put_text(&args, "home", team_of(fs, f, 0)->id);
    put_text(&args, "visit", team_of(fs, f, 1)->id);
    put_text(&args, "start_time", start);
    if (f->match->stadium)
        put_text(&args, "stadium", f->match->stadium);
    buf_add_byte(&args, '}');
    code = act(fs, "match.new", &args, trouble);
    buf_fini(&args);
    return code;
}

int fixtures_create(struct fixtures *fs)
{
    char *trouble = NULL;
    int code = check_unplayed(fs);

    if (code == EXIT_DONE)
        code = create_teams(fs, &trouble);
    for (size_t i = 0; i < fs->count && code == EXIT_DONE; i++)
        code = create_match(fs, &fs->list[i], &trouble);
    if (code == EXIT_DONE)
        code = await(fs, 0);
    if (code == EXIT_DONE && trouble)
        code = ctl_fail(fs->ctl, EXIT_FAILED, "%s", trouble);
    free(trouble);
    return code;
}

/* ---- the end ------------------------------------------------------------ */

static int64_t number_in(struct slice object, const char *key)
{
    struct slice raw;
    int64_t n;

    if (json_find(object, key, &raw) < 0 || json_integer(raw, &n) < 0)
        return CUP_UNKNOWN;
    return n;
}

static void check_score(struct fixture *f, struct slice state)
{
    const struct schedule *s = &f->schedule;
    int64_t home = number_in(state, "home_score"),
            visit = number_in(state, "visit_score"),
            home_p = number_in(state, "home_shootout"),
            visit_p = number_in(state, "visit_shootout");
    struct slice period = SLICE("");

    if (s->count == 0)
        return;
    if (home != s->score.of[0] || visit != s->score.of[1])
        fixture_trouble(f, "it ended %lld-%lld, the file says %d-%d",
                        (long long)home, (long long)visit, s->score.of[0],
                        s->score.of[1]);
    if (home_p != s->shootout.of[0] || visit_p != s->shootout.of[1])
        fixture_trouble(f, "the shoot-out ended %lld-%lld, the file says "
                        "%d-%d", (long long)home_p, (long long)visit_p,
                        s->shootout.of[0], s->shootout.of[1]);
    if (json_find(state, "period", &period) < 0
        || !json_is(period, SLICE("ended")))
        fixture_trouble(f, "it has not ended: period " SLICE_FMT,
                        SLICE_ARG(period));
}

static void on_final(void *ctx, const struct frame_answer *a)
{
    struct fixture *f = ctx;

    if (a->status == PUBLISHED_OK)
        check_score(f, a->body);
    else
        fixture_trouble(f, SLICE_FMT, SLICE_ARG(a->body));
}

int fixtures_check(struct fixtures *fs)
{
    return ask_all(fs, on_final);
}

static void put_json(struct buf *b, const struct fixtures *fs,
                     const struct fixture *f)
{
    const struct schedule *s = &f->schedule;
    struct buf o = BUF_INIT;

    buf_add_byte(&o, '{');
    put_text(&o, "id", f->id);
    put_text(&o, "home", team_of(fs, f, 0)->id);
    put_text(&o, "visit", team_of(fs, f, 1)->id);
    buf_addf(&o, ",\"played\":%s", s->count ? "true" : "false");
    if (s->count)
        buf_addf(&o, ",\"home_score\":%d,\"visit_score\":%d", s->score.of[0],
                 s->score.of[1]);
    if (s->count && cup_known(s->shootout))
        buf_addf(&o, ",\"home_shootout\":%d,\"visit_shootout\":%d",
                 s->shootout.of[0], s->shootout.of[1]);
    if (f->trouble)
        put_text(&o, "trouble", f->trouble);
    buf_add_str(&o, "}\n");
    b->failed = b->failed || o.failed;
    buf_add(b, buf_slice(&o));
    buf_fini(&o);
}

static void put_line(struct buf *b, const struct fixtures *fs,
                     const struct fixture *f)
{
    const struct show *show = &fs->ctl->show;
    const struct schedule *s = &f->schedule;

    show_toned(b, show, f->trouble ? TONE_BAD : TONE_GOOD,
               f->trouble ? SLICE("BAD ") : SLICE("ok  "));
    buf_addf(b, "%-28s ", f->id);
    show_text(b, slice_str(team_of(fs, f, 0)->name));
    if (s->count)
        buf_addf(b, " %d-%d ", s->score.of[0], s->score.of[1]);
    else
        buf_add_str(b, " - ");
    show_text(b, slice_str(team_of(fs, f, 1)->name));
    if (s->count && cup_known(s->shootout))
        buf_addf(b, " (%d-%d on penalties)", s->shootout.of[0],
                 s->shootout.of[1]);
    if (!s->count)
        buf_add_str(b, " (no score in the file: created, not started)");
    if (s->left_out)
        buf_addf(b, " (goals that the score does not have: %d)",
                 s->left_out);
    if (f->trouble) {
        buf_add_str(b, ": ");
        show_text(b, slice_str(f->trouble));
    }
    buf_add_byte(b, '\n');
}

int fixtures_print(struct fixtures *fs)
{
    struct buf b = BUF_INIT;
    int code = EXIT_DONE;

    for (size_t i = 0; i < fs->count; i++) {
        if (fs->list[i].trouble)
            code = EXIT_FAILED;
        if (fs->ctl->show.json)
            put_json(&b, fs, &fs->list[i]);
        else
            put_line(&b, fs, &fs->list[i]);
    }
    if (show_out(&b) < 0)
        code = EXIT_FAILED;
    buf_fini(&b);
    return code;
}
