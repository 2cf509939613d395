#include "tools/router-ctl/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/utf8.h"
#include "proto/base64.h"
#include "proto/json.h"
#include "proto/msg_json.h"
#include "proto/report.h"

enum { AUTO, ALWAYS, NEVER };
static size_t wanted;

bool show_want_colours(const char *when)
{
    static const char *const words[] = {
        [AUTO] = "auto", [ALWAYS] = "always", [NEVER] = "never"
    };

    wanted = AUTO;
    for (size_t i = 0; when && i < ARRAY_LEN(words); i++)
        if (strcmp(when, words[i]) == 0) {
            wanted = i;
            return true;
        }
    return !when;
}

bool show_colours(int fd)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    bool dumb = !term || strcmp(term, "dumb") == 0;

    if (wanted != AUTO)
        return wanted == ALWAYS;
    return !dumb && !(no && *no) && isatty(fd);
}

struct show show_make(bool json)
{
    return (struct show){ .json = json,
                          .colour = !json && show_colours(STDOUT_FILENO) };
}

/* ---- text -------------------------------------------------------------- */

static bool is_unsafe(uint32_t c)
{
    return utf8_is_control(c) || utf8_is_bidi(c) || c == '\\' || c == 0x2028
           || c == 0x2029 || c == 0xfeff;
}

static void put_escaped(struct buf *b, uint32_t c)
{
    if (c == '\n')
        buf_add_str(b, "\\n");
    else if (c == '\\')
        buf_add_str(b, "\\\\");
    else if (c < 0x80)
        buf_addf(b, "\\x%02x", c);
    else
        buf_addf(b, "\\u{%x}", c);
}

void show_text(struct buf *b, struct slice text)
{
    while (text.len) {
        struct slice before = text;
        uint32_t c;

        if (utf8_next(&text, &c) < 0) {
            buf_addf(b, "\\x%02x", text.ptr[0]);
            text = slice_from(text, 1);
        } else if (is_unsafe(c)) {
            put_escaped(b, c);
        } else {
            buf_add(b, slice_head(before, before.len - text.len));
        }
    }
}

void show_tone(struct buf *b, const struct show *s, enum show_tone tone)
{
    static const char *const codes[TONE_TONES] = {
        [TONE_PLAIN] = "\033[0m", [TONE_DIM] = "\033[2m",
        [TONE_GOOD] = "\033[32m", [TONE_WARN] = "\033[33m",
        [TONE_BAD] = "\033[31m",  [TONE_BOLD] = "\033[1m",
    };

    if (s->colour)
        buf_add_str(b, codes[tone]);
}

void show_toned(struct buf *b, const struct show *s, enum show_tone tone,
                struct slice text)
{
    show_tone(b, s, tone);
    show_text(b, text);
    show_tone(b, s, TONE_PLAIN);
}

void show_time(struct buf *b, int64_t ts_ms)
{
    time_t t = (time_t)(ts_ms / 1000);
    struct tm tm;
    char text[32];

    if (!gmtime_r(&t, &tm)
        || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm))
        snprintf(text, sizeof text, "%lld", (long long)ts_ms);
    buf_add_str(b, text);
}

/* ---- messages ---------------------------------------------------------- */

static void put_data(struct buf *b, const struct msg_parts *m)
{
    if (m->format != MSG_BYTES) {
        show_text(b, m->data);
        return;
    }
    buf_add_str(b, "base64:");
    base64_add(b, m->data);
}

static void put_line(struct buf *b, const struct show *s,
                     const struct msg_parts *m)
{
    show_tone(b, s, TONE_DIM);
    show_time(b, m->ts_ms);
    buf_add_byte(b, ' ');
    show_tone(b, s, TONE_PLAIN);
    show_toned(b, s, TONE_BOLD, m->id);
    buf_addf(b, " #%llu", (unsigned long long)m->offset);
    if (m->kind.len) {
        buf_add_byte(b, ' ');
        show_toned(b, s, TONE_GOOD, m->kind);
    }
    if (m->from.len) {
        buf_add_byte(b, ' ');
        show_text(b, m->from);
    }
    buf_add_str(b, ": ");
    put_data(b, m);
}

void show_message(struct buf *b, const struct show *s,
                  const struct epoch *epoch, const struct msg_parts *m)
{
    if (s->json)
        msg_json_write(b, epoch, m);
    else
        put_line(b, s, m);
    buf_add_byte(b, '\n');
}

/* ---- notices ----------------------------------------------------------- */

static void put_cursor(struct buf *b, const struct show_notice *n)
{
    char text[CURSOR_TEXT_MAX];

    buf_add(b, slice_make(text, position_format(text, &n->epoch, n->seq)));
}

static void put_or_null(struct buf *b, const char *key, uint64_t value)
{
    json_put_key(b, key);
    if (value)
        buf_add_u64(b, value);
    else
        buf_add_str(b, "null");
}

static uint64_t gap_count(const struct show_notice *n)
{
    return n->from && n->to >= n->from ? n->to - n->from + 1 : 0;
}

static void put_gap(struct buf *b, const struct show_notice *n)
{
    put_or_null(b, "from", n->from);
    put_or_null(b, "to", n->to);
    put_or_null(b, "count", gap_count(n));
    json_put_key(b, "why");
    json_put_string(b, slice_str(n->why));
}

/* The members of an object, behind those that are there. */
static void put_members(struct buf *b, struct slice object)
{
    if (object.len <= 2 || object.ptr[0] != '{')
        return;
    buf_add_byte(b, ',');
    json_one_line(b, slice_make(object.ptr + 1, object.len - 2));
}

static void notice_json(struct buf *b, const struct show_notice *n)
{
    struct buf o = BUF_INIT; /* keys know what is in front of them */

    buf_add_byte(&o, '{');
    json_put_key(&o, "notice");
    json_put_string(&o, slice_str(n->what));
    if (n->channel.len) {
        json_put_key(&o, "channel");
        json_put_string(&o, n->channel);
    }
    if (n->cursor) {
        json_put_key(&o, "cursor");
        buf_add_byte(&o, '"');
        put_cursor(&o, n);
        buf_add_byte(&o, '"');
    }
    if (strcmp(n->what, "snapshot") == 0) {
        json_put_key(&o, "state");
        json_one_line(&o, n->state.len ? n->state : SLICE("null"));
    }
    if (n->why)
        put_gap(&o, n);
    put_members(&o, n->fields);
    buf_add_byte(&o, '}');
    b->failed = b->failed || o.failed;
    buf_add(b, buf_slice(&o));
    buf_fini(&o);
}

static void notice_line(struct buf *b, const struct show *s,
                        const struct show_notice *n)
{
    uint64_t count = gap_count(n);

    show_tone(b, s, n->why ? TONE_WARN : TONE_DIM);
    buf_addf(b, "-- %s", n->what);
    if (n->channel.len) {
        buf_add_byte(b, ' ');
        show_text(b, n->channel);
    }
    if (n->why && count)
        buf_addf(b, " %llu missed", (unsigned long long)count);
    if (n->why)
        buf_addf(b, " (%s)", n->why);
    if (n->cursor) {
        buf_add_str(b, " at ");
        put_cursor(b, n);
    }
    if (n->state.len || n->fields.len) {
        buf_add_byte(b, ' ');
        show_text(b, n->state.len ? n->state : n->fields);
    }
    show_tone(b, s, TONE_PLAIN);
}

void show_notice(struct buf *b, const struct show *s,
                 const struct show_notice *n)
{
    if (s->json)
        notice_json(b, n);
    else
        notice_line(b, s, n);
    buf_add_byte(b, '\n');
}

/* ---- reports ----------------------------------------------------------- */

enum { COLUMNS_MAX = 32 };

struct cell {
    size_t at, len, width; /* in table.text */
    bool number;
};

/* The rows of one part; each has as many cells as the first. */
struct table {
    struct slice title;
    struct slice keys[COLUMNS_MAX];
    size_t columns, rows, cells, room;
    struct cell *cell;
    size_t column; /* of the cell that comes next */
    struct buf text;
    int failed;
};

static void table_reset(struct table *t, struct slice title)
{
    t->title = title;
    t->columns = t->rows = t->cells = t->column = 0;
    buf_reset(&t->text);
}

static void table_fini(struct table *t)
{
    free(t->cell);
    buf_fini(&t->text);
}

static size_t width_of(struct slice text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.len; i++)
        width += (text.ptr[i] & 0xc0) != 0x80;
    return width;
}

static struct cell *table_cell(struct table *t)
{
    if (t->cells == t->room) {
        size_t room = t->room * 2 + 64;
        struct cell *more = realloc(t->cell, room * sizeof *more);

        if (!more) {
            t->failed = ERR_NOMEM;
            return NULL;
        }
        t->cell = more;
        t->room = room;
    }
    return &t->cell[t->cells++];
}

static void table_add(struct table *t, const struct report_field *f)
{
    struct cell *c;

    if (t->column >= COLUMNS_MAX || (t->rows && t->column >= t->columns))
        return;
    c = table_cell(t);
    if (!c)
        return;
    if (t->rows == 0)
        t->keys[t->columns++] = f->key;
    t->column++;
    c->at = t->text.len;
    c->number = f->kind == REPORT_NUMBER;
    if (f->kind == REPORT_TEXT)
        show_text(&t->text, f->text.len ? f->text : SLICE("-"));
    else if (f->kind == REPORT_BOOL)
        buf_add_str(&t->text, f->number ? "yes" : "no");
    else
        buf_add_u64(&t->text, f->number);
    c->len = t->text.len - c->at;
    c->width = width_of(slice_make(t->text.ptr + c->at, c->len));
}

/* A row with fewer fields than the first is filled up. */
static void table_row_end(struct table *t)
{
    struct report_field empty = { .kind = REPORT_TEXT };

    while (!t->failed && t->column < t->columns)
        table_add(t, &empty);
    t->column = 0;
    t->rows++;
}

static void pad(struct buf *b, size_t n)
{
    while (n--)
        buf_add_byte(b, ' ');
}

static struct slice cell_text(const struct table *t, const struct cell *c)
{
    return slice_make(t->text.ptr + c->at, c->len);
}

static void put_cell(struct buf *b, const struct table *t,
                     const struct cell *c, size_t width, bool last)
{
    if (c->number)
        pad(b, width - c->width);
    buf_add(b, cell_text(t, c));
    if (!c->number && !last)
        pad(b, width - c->width);
    if (!last)
        buf_add_str(b, "  ");
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t width = t->keys[column].len;

    for (size_t i = column; i < t->cells; i += t->columns)
        width = MAX(width, t->cell[i].width);
    return width;
}

static void put_table(struct buf *b, const struct show *s,
                      const struct table *t)
{
    size_t widths[COLUMNS_MAX];

    show_tone(b, s, TONE_BOLD);
    for (size_t k = 0; k < t->columns; k++) {
        bool last = k + 1 == t->columns;

        widths[k] = column_width(t, k);
        if (t->cell[k].number)
            pad(b, widths[k] - t->keys[k].len);
        show_text(b, t->keys[k]);
        if (!t->cell[k].number && !last)
            pad(b, widths[k] - t->keys[k].len);
        if (!last)
            buf_add_str(b, "  ");
    }
    show_tone(b, s, TONE_PLAIN);
    buf_add_byte(b, '\n');
    for (size_t i = 0; i < t->cells; i++) {
        size_t k = i % t->columns;
        bool last = k + 1 == t->columns;

        put_cell(b, t, &t->cell[i], widths[k], last);
        if (last)
            buf_add_byte(b, '\n');
    }
}

/* One row: names and values below each other. */
static void put_list(struct buf *b, const struct show *s,
                     const struct table *t)
{
    size_t width = 0;

    for (size_t k = 0; k < t->columns; k++)
        width = MAX(width, t->keys[k].len);
    for (size_t k = 0; k < t->columns; k++) {
        if (slice_eq(cell_text(t, &t->cell[k]), SLICE("-")))
            continue;
        show_tone(b, s, TONE_DIM);
        show_text(b, t->keys[k]);
        show_tone(b, s, TONE_PLAIN);
        pad(b, width - t->keys[k].len + 2);
        buf_add(b, cell_text(t, &t->cell[k]));
        buf_add_byte(b, '\n');
    }
}

static bool is_one_of(struct slice title, const char *const titles[])
{
    for (; *titles; titles++)
        if (slice_eq(title, slice_str(*titles)))
            return true;
    return false;
}

static void put_part(struct buf *b, const struct show *s,
                     const struct table *t)
{
    static const char *const of_programs[] = { "page", NULL };
    static const char *const lists[] = { "status", "presence", "kicked",
                                         "backup", "match", "gen", NULL };

    if (t->columns == 0 || is_one_of(t->title, of_programs))
        return;
    if (t->rows == 1 && is_one_of(t->title, lists))
        put_list(b, s, t);
    else
        put_table(b, s, t);
}

static int put_parts(struct buf *b, const struct show *s, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct table t = { .failed = 0 };
    enum report_event event;
    struct report_field f;
    int rc;

    do {
        rc = report_next(&c, &event, &f);
        if (rc < 0)
            break;
        if (event == REPORT_FIELD)
            table_add(&t, &f);
        else if (event == REPORT_ROW_END)
            table_row_end(&t);
        else if (event != REPORT_ROW) {
            put_part(b, s, &t);
            table_reset(&t, f.key);
        }
    } while (event != REPORT_END);
    if (rc == 0 && (t.failed || t.text.failed || b->failed))
        rc = ERR_NOMEM;
    table_fini(&t);
    return rc;
}

int show_report(struct buf *b, const struct show *s, struct slice report)
{
    int rc;

    if (!s->json)
        return put_parts(b, s, report);
    rc = report_to_json(b, report);
    buf_add_byte(b, '\n');
    return rc;
}

struct slice show_field(struct slice report, const char *key)
{
    struct cursor c = cursor_init(report);
    enum report_event event;
    struct report_field f;

    while (report_next(&c, &event, &f) == 0 && event != REPORT_END)
        if (event == REPORT_FIELD && f.kind == REPORT_TEXT
            && slice_eq(f.key, slice_str(key)))
            return f.text;
    return SLICE("");
}

void show_guard(struct buf *b)
{
    struct slice text = buf_slice(b);
    struct buf guarded = BUF_INIT;

    while (text.len) {
        struct slice before = text;
        uint32_t c = 0;

        if (utf8_next(&text, &c) < 0)
            text = slice_from(text, 1);
        if (c >= 0x7f && is_unsafe(c))
            buf_addf(&guarded, "\\u%04x", (unsigned)c);
        else
            buf_add(&guarded, slice_head(before, before.len - text.len));
    }
    guarded.failed |= b->failed;
    buf_fini(b);
    *b = guarded;
}

int show_out(struct buf *b)
{
    bool good;

    if (isatty(STDOUT_FILENO))
        show_guard(b);
    good = !b->failed
           && (!b->len || fwrite(b->ptr, 1, b->len, stdout) == b->len)
           && fflush(stdout) == 0;

    buf_reset(b);
    return good ? 0 : ERR_IO;
}
