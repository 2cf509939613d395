#include "gateways/http/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/stat.h"
#include "proto/json.h"
#include "proto/report.h"

enum { ROW_FIELDS = 24 };

struct row {
    struct slice part; /* title of the part it stands in */
    unsigned count;
    struct report_field fields[ROW_FIELDS];
};

/* The next row. False: no more, or *rc says what is wrong. */
static bool next_row(struct cursor *c, struct row *row, int *rc)
{
    enum report_event event;
    struct report_field f;

    row->count = 0;
    while ((*rc = report_next(c, &event, &f)) == 0) {
        switch (event) {
        case REPORT_END:
            return false;
        case REPORT_PART:
            row->part = f.key;
            break;
        case REPORT_ROW:
            break;
        case REPORT_FIELD:
            if (row->count < ROW_FIELDS)
                row->fields[row->count++] = f;
            break;
        case REPORT_ROW_END:
            return true;
        }
    }
    return false;
}

static const struct report_field *field(const struct row *row,
                                        const char *key)
{
    static const struct report_field none = {.kind = REPORT_TEXT};

    for (unsigned i = 0; i < row->count; i++)
        if (slice_eq(row->fields[i].key, slice_str(key)))
            return &row->fields[i];
    return &none;
}

static void put_value(struct buf *b, const struct report_field *f)
{
    if (f->kind == REPORT_NUMBER)
        buf_add_u64(b, f->number);
    else if (f->kind == REPORT_BOOL)
        buf_add_str(b, f->number ? "true" : "false");
    else
        json_put_string(b, f->text);
}

static void put_row(struct buf *b, const struct row *row)
{
    buf_add_byte(b, '{');
    for (unsigned i = 0; i < row->count; i++) {
        if (i)
            buf_add_byte(b, ',');
        json_put_string(b, row->fields[i].key);
        buf_add_byte(b, ':');
        put_value(b, &row->fields[i]);
    }
    buf_add_byte(b, '}');
}

static void put_item(struct buf *list, const struct row *row)
{
    if (list->len)
        buf_add_byte(list, ',');
    put_row(list, row);
}

static bool in_part(const struct row *row, const char *title)
{
    return slice_eq(row->part, slice_str(title));
}

static int done(struct buf *out, struct buf *list, int rc)
{
    out->failed |= list->failed;
    buf_fini(list);
    return rc < 0 ? rc : out->failed ? ERR_NOMEM : 0;
}

int figures_presence(struct buf *out, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct buf names = BUF_INIT;
    struct row row = {.count = 0};
    uint64_t count = 0;
    int rc;

    while (next_row(&c, &row, &rc)) {
        if (in_part(&row, "presence"))
            count = field(&row, "count")->number;
        else if (in_part(&row, "names"))
            put_item(&names, &row);
    }
    buf_addf(out, "{\"count\":%" PRIu64 ",\"names\":[", count);
    buf_add(out, buf_slice(&names));
    buf_add_str(out, "]}");
    return done(out, &names, rc);
}

/* True: another page follows, after that name. */
static bool take_page(const struct row *row, struct buf *after)
{
    buf_add(after, field(row, "after")->text);
    return field(row, "more")->number;
}

int figures_channels(struct buf *out, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct buf list = BUF_INIT;
    struct row row = {.count = 0};
    struct buf after = BUF_INIT;
    bool more = false;
    int rc;

    while (next_row(&c, &row, &rc)) {
        if (in_part(&row, "channels"))
            put_item(&list, &row);
        else if (in_part(&row, "page"))
            more = take_page(&row, &after);
    }
    buf_add_str(out, "{\"channels\":[");
    buf_add(out, buf_slice(&list));
    buf_addf(out, "],\"more\":%s", more ? "true" : "false");
    if (after.len) {
        buf_add_str(out, ",\"after\":");
        json_put_string(out, buf_slice(&after));
    }
    buf_add_byte(out, '}');
    out->failed |= after.failed;
    buf_fini(&after);
    return done(out, &list, rc);
}

/* ---- stats -------------------------------------------------------------- */

/* One process's figures: a run of samples. */
struct source {
    char *gateway;
    char process[24];
    size_t first, count;
};

struct figures {
    struct source *sources;
    size_t source_count, source_room;
    struct stat_sample *samples;
    size_t sample_count, sample_room;
};

static void figures_fini(struct figures *f)
{
    for (size_t i = 0; i < f->source_count; i++)
        free(f->sources[i].gateway);
    for (size_t i = 0; i < f->sample_count; i++) {
        free((void *)(uintptr_t)f->samples[i].name);
        free((void *)(uintptr_t)f->samples[i].label);
        free((void *)(uintptr_t)f->samples[i].help);
    }
    free(f->sources);
    free(f->samples);
}

static int grow(void **array, size_t *room, size_t count, size_t item)
{
    size_t more = *room ? *room * 2 : 64;
    void *p;

    if (count < *room)
        return 0;
    p = realloc(*array, more * item);
    if (!p)
        return ERR_NOMEM;
    *array = p;
    *room = more;
    return 0;
}

/* The source of this row: rows of one process stand together. */
static int find_source(struct figures *f, const struct row *row)
{
    struct slice gateway = field(row, "gateway")->text;
    char process[24];
    struct source *s;
    void *list = f->sources;

    snprintf(process, sizeof process, "%" PRIu64, field(row, "pid")->number);
    s = f->source_count ? &f->sources[f->source_count - 1] : NULL;
    if (s && slice_eq(slice_str(s->gateway), gateway) &&
        slice_eq(slice_str(s->process), slice_str(process)))
        return 0;
    if (grow(&list, &f->source_room, f->source_count, sizeof *s) < 0)
        return ERR_NOMEM;
    f->sources = list;
    s = &f->sources[f->source_count];
    *s = (struct source){.gateway = slice_dup(gateway),
                         .first = f->sample_count};
    memcpy(s->process, process, sizeof process);
    f->source_count++;
    return s->gateway ? 0 : ERR_NOMEM;
}

static int add_sample(struct figures *f, const struct row *row)
{
    struct slice label = field(row, "label")->text;
    void *list = f->samples;
    struct stat_sample *s;

    if (grow(&list, &f->sample_room, f->sample_count, sizeof *s) < 0)
        return ERR_NOMEM;
    f->samples = list;
    s = &f->samples[f->sample_count++];
    *s = (struct stat_sample){
        .kind = field(row, "micros")->number  ? STAT_MICROS
                : field(row, "gauge")->number ? STAT_GAUGE
                                              : STAT_COUNTER,
        .name = slice_dup(field(row, "name")->text),
        .label = label.len ? slice_dup(label) : NULL,
        .help = slice_dup(field(row, "help")->text),
        .value = field(row, "value")->number,
    };
    f->sources[f->source_count - 1].count++;
    return s->name && s->help && (s->label || !label.len) ? 0 : ERR_NOMEM;
}

static int read_figures(struct figures *f, struct slice report)
{
    struct cursor c = cursor_init(report);
    struct row row = {.count = 0};
    int rc;

    while (next_row(&c, &row, &rc)) {
        if (!in_part(&row, "stats"))
            continue;
        rc = find_source(f, &row);
        if (rc == 0)
            rc = add_sample(f, &row);
        if (rc < 0)
            break;
    }
    return rc;
}

/* Of the parts beside the figures themselves: which, and whether it is a list. */
static const struct part {
    const char *title;
    bool list;
} parts[] = {{"time", false}, {"status", false}, {"gateways", true},
             {"warnings", true}};

/* A part that is no list is its row; without one it is null. */
static int put_part(struct buf *out, struct slice report, const struct part *p)
{
    struct cursor c = cursor_init(report);
    struct buf rows = BUF_INIT;
    struct row row = {.count = 0};
    int rc;

    while (next_row(&c, &row, &rc))
        if (in_part(&row, p->title) && (p->list || !rows.len))
            put_item(&rows, &row);
    buf_addf(out, "\"%s\":%s", p->title, p->list ? "[" : "");
    if (rows.len || p->list)
        buf_add(out, buf_slice(&rows));
    else
        buf_add_str(out, "null");
    buf_add_str(out, p->list ? "]," : ",");
    return done(out, &rows, rc);
}

typedef void put_sources(struct buf *out, const struct stat_source *sources,
                         size_t count);

static int put_figures(struct buf *out, struct slice report, put_sources *put)
{
    struct figures f = {.sources = NULL};
    struct stat_source *sources = NULL;
    int rc = read_figures(&f, report);

    if (rc < 0)
        goto fail;
    sources = calloc(f.source_count + 1, sizeof *sources);
    rc = ERR_NOMEM;
    if (!sources)
        goto fail;
    for (size_t i = 0; i < f.source_count; i++)
        sources[i] = (struct stat_source){
            .gateway = f.sources[i].gateway,
            .process = f.sources[i].process,
            .samples = f.samples + f.sources[i].first,
            .count = f.sources[i].count,
        };
    put(out, sources, f.source_count);
    rc = out->failed ? ERR_NOMEM : 0;
fail:
    free(sources);
    figures_fini(&f);
    return rc;
}

int figures_stats(struct buf *out, struct slice report)
{
    int rc = 0;

    buf_add_byte(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(parts) && rc == 0; i++)
        rc = put_part(out, report, &parts[i]);
    if (rc < 0)
        return rc;
    buf_add_str(out, "\"stats\":");
    rc = put_figures(out, report, stats_json);
    buf_add_byte(out, '}');
    return rc;
}

int figures_metrics(struct buf *out, struct slice report)
{
    return put_figures(out, report, stats_prometheus);
}
