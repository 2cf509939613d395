#include "proto/report.h"

#include "base/err.h"
#include "proto/json.h"
#include "proto/memory.h"

enum { TAG_ROW_END = 0, TAG_ROW = 1, TAG_PART = 2 };

/* ---- writing ------------------------------------------------------------ */

void report_part(struct buf *b, const char *title)
{
    put_u8(b, TAG_PART);
    put_str8(b, slice_str(title));
}

void report_row(struct buf *b)
{
    put_u8(b, TAG_ROW);
}

void report_row_end(struct buf *b)
{
    put_u8(b, TAG_ROW_END);
}

static void begin_field(struct buf *b, enum report_kind kind, const char *key)
{
    put_u8(b, (uint8_t)kind);
    put_str8(b, slice_str(key));
}

void report_number(struct buf *b, const char *key, uint64_t value)
{
    begin_field(b, REPORT_NUMBER, key);
    put_u64(b, value);
}

void report_text(struct buf *b, const char *key, struct slice value)
{
    begin_field(b, REPORT_TEXT, key);
    put_str32(b, value);
}

void report_bool(struct buf *b, const char *key, bool value)
{
    begin_field(b, REPORT_BOOL, key);
    put_u8(b, value);
}

void report_sample(struct buf *b, const struct stat_sample *s)
{
    report_text(b, "name", slice_str(s->name));
    report_text(b, "label", slice_str(s->label ? s->label : ""));
    report_text(b, "help", slice_str(s->help));
    report_bool(b, "gauge", s->kind != STAT_COUNTER);
    if (s->kind == STAT_MICROS)
        report_bool(b, "micros", true);
    report_number(b, "value", s->value);
}

void report_sample_row(struct buf *b, const struct stat_sample *s)
{
    report_row(b);
    report_sample(b, s);
    report_row_end(b);
}

void report_process_figures(struct buf *b)
{
    struct log_label label;
    struct stat_sample s;
    size_t at = 0;

    while (log_next_count(&at, &s, &label))
        report_sample_row(b, &s);
    at = 0;
    while (memory_next_figure(&at, &s))
        report_sample_row(b, &s);
}

void report_warning(struct buf *b, const struct log_warning *w)
{
    report_number(b, "number", w->number);
    report_number(b, "ts", (uint64_t)MAX(w->ts_ms, 0));
    report_text(b, "level", w->level == LOG_ERROR ? SLICE("error")
                                                  : SLICE("warn"));
    report_text(b, "event", slice_str(w->event));
    report_text(b, "text", slice_str(w->words));
}

void report_warnings(struct buf *b)
{
    struct log_warning w;
    uint64_t after = 0;

    while (log_next_warning(&after, &w)) {
        report_row(b);
        report_warning(b, &w);
        report_row_end(b);
    }
}

/* ---- reading ------------------------------------------------------------ */

static enum report_event read_field(struct cursor *c, uint8_t kind,
                                    struct report_field *f)
{
    f->kind = (enum report_kind)kind;
    f->key = cursor_str8(c);
    if (kind == REPORT_NUMBER)
        f->number = cursor_u64(c);
    else if (kind == REPORT_BOOL)
        f->number = cursor_u8(c);
    else
        f->text = cursor_str32(c);
    if (kind == REPORT_BOOL && f->number > 1)
        cursor_fail(c);
    return REPORT_FIELD;
}

int report_next(struct cursor *c, enum report_event *event,
                struct report_field *ret)
{
    struct report_field f = {.kind = REPORT_TEXT};
    enum report_event e = REPORT_END;
    uint8_t tag = 0;

    if (c->failed || cursor_left(c) > 0) {
        tag = cursor_u8(c);
        switch (tag) {
        case TAG_ROW_END:
            e = REPORT_ROW_END;
            break;
        case TAG_ROW:
            e = REPORT_ROW;
            break;
        case TAG_PART:
            e = REPORT_PART;
            f.key = cursor_str8(c);
            break;
        case REPORT_NUMBER:
        case REPORT_TEXT:
        case REPORT_BOOL:
            e = read_field(c, tag, &f);
            break;
        default:
            cursor_fail(c);
        }
    }
    if (c->failed)
        return ERR_FRAME;
    *event = e;
    *ret = f;
    return 0;
}

uint64_t report_figure(struct slice report, struct slice name)
{
    struct cursor c = cursor_init(report);
    enum report_event event;
    struct report_field f;
    bool here = false;

    while (report_next(&c, &event, &f) == 0 && event != REPORT_END) {
        if (event == REPORT_ROW)
            here = false;
        else if (event == REPORT_FIELD && slice_eq(f.key, SLICE("name")))
            here = slice_eq(f.text, name);
        else if (here && event == REPORT_FIELD &&
                 slice_eq(f.key, SLICE("value")))
            return f.number;
    }
    return 0;
}

/* ---- as JSON ------------------------------------------------------------ */

/* Where the writer stands in the text. */
struct json_place {
    bool titled, in_part, in_row;
    unsigned rows, fields; /* written so far in this part, in this row */
};

static void json_value(struct buf *out, const struct report_field *f)
{
    if (f->kind == REPORT_NUMBER)
        buf_add_u64(out, f->number);
    else if (f->kind == REPORT_BOOL)
        buf_add_str(out, f->number ? "true" : "false");
    else
        json_put_string(out, f->text);
}

static int json_part(struct buf *out, struct json_place *at,
                     struct slice title)
{
    if (at->in_row || (!at->titled && at->in_part))
        return ERR_FRAME;
    buf_add_str(out, at->in_part ? "]," : "{");
    json_put_string(out, title);
    buf_add_str(out, ":[");
    *at = (struct json_place){.titled = true, .in_part = true};
    return 0;
}

static int json_row(struct buf *out, struct json_place *at)
{
    if (at->in_row)
        return ERR_FRAME;
    if (!at->in_part)
        buf_add_byte(out, '[');
    buf_add_str(out, at->rows++ ? ",{" : "{");
    at->in_part = at->in_row = true;
    at->fields = 0;
    return 0;
}

static int json_field(struct buf *out, struct json_place *at,
                      const struct report_field *f)
{
    if (!at->in_row)
        return ERR_FRAME;
    if (at->fields++)
        buf_add_byte(out, ',');
    json_put_string(out, f->key);
    buf_add_byte(out, ':');
    json_value(out, f);
    return 0;
}

static int json_row_end(struct buf *out, struct json_place *at)
{
    if (!at->in_row)
        return ERR_FRAME;
    buf_add_byte(out, '}');
    at->in_row = false;
    return 0;
}

static int json_end(struct buf *out, const struct json_place *at)
{
    if (at->in_row)
        return ERR_FRAME;
    buf_add_str(out, at->in_part ? "]" : "[]");
    if (at->titled)
        buf_add_byte(out, '}');
    return 0;
}

static int json_event(struct buf *out, struct json_place *at,
                      enum report_event event, const struct report_field *f)
{
    switch (event) {
    case REPORT_PART:
        return json_part(out, at, f->key);
    case REPORT_ROW:
        return json_row(out, at);
    case REPORT_FIELD:
        return json_field(out, at, f);
    case REPORT_ROW_END:
        return json_row_end(out, at);
    case REPORT_END:
        return json_end(out, at);
    }
    return ERR_FRAME;
}

int report_to_json(struct buf *out, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct json_place at = {.titled = false};
    size_t before = out->len;
    enum report_event event = REPORT_ROW;
    struct report_field field;
    int rc = 0;

    while (rc == 0 && event != REPORT_END) {
        rc = report_next(&c, &event, &field);
        if (rc == 0)
            rc = json_event(out, &at, event, &field);
    }
    if (rc == 0 && out->failed)
        rc = ERR_NOMEM;
    if (rc < 0)
        buf_truncate(out, before);
    return rc;
}
