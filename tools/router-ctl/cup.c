#include "tools/router-ctl/cup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/utf8.h"
#include "proto/json.h"
#include "tools/router-ctl/cup_read.h"

/* As the router takes them. */
enum { NAME_MAX_BYTES = 100, PLAYER_NUMBER_MAX = 999 };

/* ---- values ------------------------------------------------------------ */

const cJSON *cup_get(const cJSON *object, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNull(v) ? NULL : v;
}

int cup_text(const cJSON *value, size_t max, char **ret)
{
    struct slice s = slice_str(cJSON_GetStringValue(value));
    char *copy = slice_dup(s);
    size_t len = 0;

    if (!copy)
        return ERR_NOMEM;
    while (s.len) {
        struct slice before = s;
        uint32_t c;

        if (utf8_next(&s, &c) < 0)
            break;
        if (len + (before.len - s.len) > max)
            break;
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == ' ') {
            if (len && copy[len - 1] != ' ')
                copy[len++] = ' ';
            continue;
        }
        memmove(copy + len, before.ptr, before.len - s.len);
        len += before.len - s.len;
    }
    while (len && copy[len - 1] == ' ')
        len--;
    copy[len] = '\0';
    if (len) {
        *ret = copy;
        return 0;
    }
    free(copy);
    return ERR_NOT_FOUND;
}

int cup_number(const cJSON *value, int most)
{
    uint64_t n;

    if (cJSON_IsNumber(value)) {
        double d = cJSON_GetNumberValue(value);

        if (d >= 0 && d <= most && d == (double)(int)d)
            return (int)d;
    } else if (cJSON_IsString(value)
               && slice_parse_u64(slice_str(value->valuestring), &n) == 0
               && n <= (uint64_t)most) {
        return (int)n;
    }
    return CUP_UNKNOWN;
}

/* ---- players ----------------------------------------------------------- */

static int find_player(const struct cup_team *t, const char *name)
{
    for (int i = 0; i < t->player_count; i++)
        if (strcmp(t->players[i].name, name) == 0)
            return i;
    return CUP_NOBODY;
}

static int add_player(struct cup_team *t, char *name, int *ret)
{
    size_t count = (size_t)t->player_count + 1;
    struct cup_player *more = realloc(t->players, count * sizeof *more);

    if (!more)
        return ERR_NOMEM;
    t->players = more;
    more[t->player_count] = (struct cup_player){ .name = name };
    *ret = t->player_count++;
    return 0;
}

int cup_player(struct cup_team *t, const cJSON *name, int number, int *ret)
{
    char *text;
    int rc = cup_text(name, NAME_MAX_BYTES, &text), at;

    *ret = CUP_NOBODY;
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    at = find_player(t, text);
    if (at != CUP_NOBODY) {
        free(text);
    } else if (add_player(t, text, &at) < 0) {
        free(text);
        return ERR_NOMEM;
    }
    if (number > 0 && !t->players[at].number)
        t->players[at].number = (uint16_t)number;
    *ret = at;
    return 0;
}

static bool number_taken(const struct cup_team *t, int number)
{
    for (int i = 0; i < t->player_count; i++)
        if (t->players[i].number == number)
            return true;
    return false;
}

/* Those whose number the file does not say get the free ones, in the order in
 * which it names them: the same ones in every match and at every reading. */
static void number_players(struct cup_team *t)
{
    int next = 1;

    for (int i = 0; i < t->player_count; i++) {
        if (t->players[i].number)
            continue;
        while (next < PLAYER_NUMBER_MAX && number_taken(t, next))
            next++;
        t->players[i].number = (uint16_t)next;
    }
}

/* ---- teams ------------------------------------------------------------- */

static int team_name(const cJSON *v, char **ret)
{
    static const char *const keys[] = { "name", "title", "code", "key" };
    int rc = cup_text(v, NAME_MAX_BYTES, ret);

    for (size_t i = 0; rc == ERR_NOT_FOUND && i < ARRAY_LEN(keys); i++)
        rc = cup_text(cup_get(v, keys[i]), NAME_MAX_BYTES, ret);
    return rc;
}

static bool id_taken(const struct cup *c, const char *id)
{
    for (int i = 0; i < c->team_count; i++)
        if (strcmp(c->teams[i].id, id) == 0)
            return true;
    return false;
}

/* The code, else the name, and a number behind it where another team has got
 * that already. */
static void make_id(const struct cup *c, struct cup_team *t, const cJSON *v)
{
    const char *code = cJSON_GetStringValue(cup_get(v, "code"));
    char stem[FOLD_MAX + 1];

    if (!code || !fold_name(slice_str(code), stem))
        if (!fold_name(slice_str(t->name), stem))
            memcpy(stem, "team", sizeof "team");
    memcpy(t->id, stem, sizeof stem);
    for (int n = 2; id_taken(c, t->id); n++) {
        char digits[12];
        int len = snprintf(digits, sizeof digits, "%d", n);

        snprintf(t->id, sizeof t->id, "%.*s%s", FOLD_MAX - len, stem, digits);
    }
}

static int read_team(struct cup *c, const cJSON *v, int *ret)
{
    struct cup_team *t = &c->teams[c->team_count];
    char *name;
    int rc = team_name(v, &name);

    if (rc < 0)
        return rc;
    for (int i = 0; i < c->team_count; i++)
        if (strcmp(c->teams[i].name, name) == 0) {
            free(name);
            *ret = i;
            return 0;
        }
    t->name = name;
    make_id(c, t, v);
    *ret = c->team_count++;
    return 0;
}

/* ---- the file ---------------------------------------------------------- */

static int read_match(struct cup *c, const cJSON *o, char *why)
{
    static const char *const keys[] = { "team1", "team2" };
    struct cup_match *m = &c->matches[c->match_count];

    m->number = ++c->match_count;
    for (int side = 0; side < 2; side++) {
        int rc = read_team(c, cup_get(o, keys[side]), &m->team[side]);

        if (rc == ERR_NOT_FOUND) {
            snprintf(why, CUP_WHY_MAX, "match %d has no name in %s",
                     m->number, keys[side]);
            return ERR_BAD;
        }
        if (rc < 0)
            return rc;
    }
    if (m->team[0] == m->team[1]) {
        snprintf(why, CUP_WHY_MAX, "in match %d, %s plays against itself",
                 m->number, c->teams[m->team[0]].name);
        return ERR_BAD;
    }
    return cup_read_match(c, m, o);
}

static int count_matches(const cJSON *root)
{
    const cJSON *round;
    int n = cJSON_GetArraySize(cup_get(root, "matches"));

    cJSON_ArrayForEach(round, cup_get(root, "rounds"))
        n += cJSON_GetArraySize(cup_get(round, "matches"));
    return n;
}

static int read_list(struct cup *c, const cJSON *list, char *why)
{
    const cJSON *o;
    int rc = 0;

    cJSON_ArrayForEach(o, list)
        if (rc == 0)
            rc = read_match(c, o, why);
    return rc;
}

static int read_file(struct cup *c, const cJSON *root, char *why)
{
    size_t room = (size_t)count_matches(root);
    const cJSON *round;
    int rc;

    if (room == 0) {
        snprintf(why, CUP_WHY_MAX, "there are no matches in it: an "
                 "openfootball file has \"matches\", or \"rounds\" with "
                 "\"matches\"");
        return ERR_BAD;
    }
    c->matches = calloc(room, sizeof *c->matches);
    c->teams = calloc(2 * room, sizeof *c->teams);
    if (!c->matches || !c->teams)
        return ERR_NOMEM;
    rc = cup_text(cup_get(root, "name"), NAME_MAX_BYTES, &c->name);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = read_list(c, cup_get(root, "matches"), why);
    cJSON_ArrayForEach(round, cup_get(root, "rounds"))
        if (rc == 0)
            rc = read_list(c, cup_get(round, "matches"), why);
    for (int i = 0; i < c->team_count; i++)
        number_players(&c->teams[i]);
    return rc;
}

/* cJSON takes more than JSON is. */
static int parse(struct slice text, cJSON **ret, char *why)
{
    size_t at = 0;
    int rc;

    if (slice_starts(text, SLICE("\xef\xbb\xbf")))
        text = slice_from(text, 3);
    rc = json_check(text, JSON_DEPTH_COMMAND, &at);
    if (rc < 0) {
        snprintf(why, CUP_WHY_MAX, "it is not JSON: byte %zu", at);
        return rc;
    }
    *ret = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    return *ret ? 0 : ERR_NOMEM;
}

int cup_read(struct cup **ret, struct slice text, char why[CUP_WHY_MAX])
{
    struct cup *c = calloc(1, sizeof *c);
    cJSON *root = NULL;
    int rc = ERR_NOMEM;

    if (!c)
        goto fail;
    rc = parse(text, &root, why);
    if (rc == 0)
        rc = read_file(c, root, why);
    if (rc < 0)
        goto fail;
    cJSON_Delete(root);
    *ret = c;
    return 0;
fail:
    cJSON_Delete(root);
    cup_free(c);
    return rc;
}

static void free_team(struct cup_team *t)
{
    for (int i = 0; i < t->player_count; i++)
        free(t->players[i].name);
    free(t->players);
    free(t->name);
}

static void free_match(struct cup_match *m)
{
    free(m->stadium);
    free(m->goals);
    free(m->cards);
    free(m->subs);
    free(m->kicks);
    free(m->lineup[0].players);
    free(m->lineup[1].players);
}

void cup_free(struct cup *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->team_count; i++)
        free_team(&c->teams[i]);
    for (int i = 0; i < c->match_count; i++)
        free_match(&c->matches[i]);
    free(c->teams);
    free(c->matches);
    free(c->name);
    free(c);
}

void cup_start_time(const struct cup_match *m, const char *date,
                    char out[CUP_START_MAX])
{
    int zone = m->zone < 0 ? -m->zone : m->zone;

    if (m->hour == CUP_UNKNOWN)
        snprintf(out, CUP_START_MAX, "%.10s", date);
    else
        snprintf(out, CUP_START_MAX, "%.10sT%02d:%02d:00%c%02d:%02d", date,
                 m->hour % 24, m->minute % 60, m->zone < 0 ? '-' : '+',
                 zone / 60 % 24, zone % 60);
}
