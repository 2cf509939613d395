#include "gateways/tcp/watch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateways/tcp/print.h"
#include "proto/json.h"

enum { MS_PER_S = 1000 };

enum shape {
    SHAPE_PLAIN,   /* strings as <<"...">>, numbers bare */
    SHAPE_WORD,    /* a string that is a word of ours: bare */
    SHAPE_PLAYER,  /* {"7":"Luna"} */
    SHAPE_PLAYERS, /* {"1":"Albil","7":"Luna"} */
    SHAPE_TIME,    /* RFC 3339 */
};

/* In the order of a frame. */
static const struct detail {
    const char *key;
    enum shape shape;
} details[] = {
    { "home", SHAPE_PLAIN },
    { "home_players", SHAPE_PLAYERS },
    { "home_score", SHAPE_PLAIN },
    { "visit", SHAPE_PLAIN },
    { "visit_players", SHAPE_PLAYERS },
    { "visit_score", SHAPE_PLAIN },
    { "period", SHAPE_WORD },
    { "player_out", SHAPE_PLAYER },
    { "player", SHAPE_PLAYER },
    { "card", SHAPE_WORD },
    { "team", SHAPE_PLAIN },
    { "player_in", SHAPE_PLAYER },
    { "player_team", SHAPE_PLAIN },
    { "minute", SHAPE_PLAIN },
    { "stadium", SHAPE_PLAIN },
    { "start_time", SHAPE_TIME },
    { "comment", SHAPE_PLAIN },
    { "offset", SHAPE_PLAIN },
};

/* ---- values ---- */

static void print_string(struct buf *b, struct slice raw, const char *more)
{
    struct buf text = BUF_INIT;

    if (json_unescape(&text, raw) == 0)
        print_safe(b, buf_slice(&text), more);
    b->failed |= text.failed;
    buf_fini(&text);
}

static void print_plain(struct buf *b, struct slice raw)
{
    if (json_kind(raw) != JSON_STRING) {
        print_json(b, raw);
        return;
    }
    buf_add_str(b, "<<\"");
    print_string(b, raw, "\"\\\n");
    buf_add_str(b, "\">>");
}

/* Words are ours and not quoted; anything else is somebody's string. */
static void print_word(struct buf *b, struct slice raw)
{
    for (size_t i = 1; i + 1 < raw.len; i++) {
        uint8_t c = raw.ptr[i];

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') {
            print_plain(b, raw);
            return;
        }
    }
    if (json_kind(raw) == JSON_STRING && raw.len > 2)
        buf_add(b, slice_make(raw.ptr + 1, raw.len - 2));
    else
        print_plain(b, raw);
}

static void print_player(struct buf *b, struct slice number, struct slice name)
{
    size_t before = b->len;

    print_string(b, name, "\n");
    buf_add_str(b, b->len > before ? " (" : "(");
    print_string(b, number, "\n");
    buf_add_str(b, ") ");
}

static void print_one_player(struct buf *b, struct slice raw)
{
    struct json_iter it = json_iter(raw);
    struct slice number, name;

    if (it.object && json_next(&it, &number, &name))
        print_player(b, number, name);
    else
        print_plain(b, raw);
}

static void print_players(struct buf *b, struct slice raw)
{
    struct json_iter it = json_iter(raw);
    struct slice number, name;

    while (it.object && json_next(&it, &number, &name)) {
        buf_add_str(b, "\n\t\t ");
        print_player(b, number, name);
    }
}

/* RFC 3339 with any offset to UTC; false for anything else. */
static bool parse_time(struct slice text, int64_t *ret_s)
{
    char copy[40];
    struct tm tm = { .tm_year = 0 };
    long offset;
    const char *rest;

    snprintf(copy, sizeof copy, SLICE_FMT, SLICE_ARG(text));
    rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!rest || !*rest || (rest = strptime(rest, "%z", &tm)) == NULL || *rest)
        return false;
    offset = tm.tm_gmtoff; /* which timegm() overwrites */
    *ret_s = timegm(&tm) - offset;
    return true;
}

static void print_time(struct buf *b, int64_t s)
{
    time_t t = (time_t)s;
    struct tm utc = { .tm_year = 0 };

    gmtime_r(&t, &utc);
    buf_addf(b, "%04d-%02d-%02d %02d:%02d:%02d", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
             utc.tm_sec);
}

static void print_start_time(struct buf *b, struct slice raw)
{
    struct buf text = BUF_INIT;
    int64_t s = 0;

    if (json_unescape(&text, raw) == 0 && parse_time(buf_slice(&text), &s))
        print_time(b, s);
    else
        print_plain(b, raw);
    buf_fini(&text);
}

/* ---- frames ---- */

static void print_detail(struct buf *b, const struct detail *d,
                         struct slice raw)
{
    buf_addf(b, "\t%s:", d->key);
    if (d->shape != SHAPE_PLAYERS)
        buf_add_byte(b, ' ');
    switch (d->shape) {
    case SHAPE_PLAIN: print_plain(b, raw); break;
    case SHAPE_WORD: print_word(b, raw); break;
    case SHAPE_PLAYER: print_one_player(b, raw); break;
    case SHAPE_PLAYERS: print_players(b, raw); break;
    case SHAPE_TIME: print_start_time(b, raw); break;
    }
    buf_add_byte(b, '\n');
}

static void print_frame(struct buf *b, int64_t ts_ms, struct slice kind,
                        struct slice data)
{
    print_time(b, ts_ms / MS_PER_S);
    buf_add_str(b, ": ");
    print_safe(b, kind, "\n");
    buf_add_str(b, ":\n");
    for (size_t i = 0; i < ARRAY_LEN(details); i++) {
        struct slice raw;

        if (json_find(data, details[i].key, &raw) == 0 &&
            json_kind(raw) != JSON_NULL)
            print_detail(b, &details[i], raw);
    }
    buf_add_str(b, "\r\n");
}

void watch_print_event(struct buf *b, const struct msg *m)
{
    print_frame(b, m->ts_ms, m->kind, m->data);
}

void watch_print_status(struct buf *b, struct slice state, int64_t now_ms)
{
    print_frame(b, now_ms, SLICE("status"), state);
}

static bool is_over(struct slice period)
{
    return json_is(period, SLICE("ended")) ||
           json_is(period, SLICE("postponed")) ||
           json_is(period, SLICE("abandoned"));
}

bool watch_in_play(struct slice state)
{
    struct slice period;

    return json_find(state, "period", &period) == 0 && !is_over(period) &&
           !json_is(period, SLICE("not_started"));
}

bool watch_is_last(const struct msg *m)
{
    struct slice period;

    if (slice_eq(m->kind, SLICE("stop")))
        return true;
    return slice_eq(m->kind, SLICE("status")) &&
           json_find(m->data, "period", &period) == 0 && is_over(period);
}
