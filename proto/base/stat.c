#include "base/stat.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"

int stats_init(struct stats *s, const struct stat_row *rows, size_t count)
{
    _Atomic uint64_t *values = calloc(MAX(count, (size_t)1), sizeof *values);

    if (!values)
        return ERR_NOMEM;
    *s = (struct stats){ rows, count, values };
    return 0;
}

void stats_fini(struct stats *s)
{
    free(s->values);
    *s = (struct stats){ 0 };
}

struct stat_sample stat_sample(const struct stats *s, size_t i)
{
    const struct stat_row *r = &s->rows[i];

    return (struct stat_sample){ r->kind, r->name, r->label, r->help,
                                 stat_get(s, (unsigned)i) };
}

/* --- Prometheus: the samples of one name stand together, so all samples of
 * all sources are sorted by name, then source, then row --- */

struct ref {
    const struct stat_sample *sample;
    const struct stat_source *source;
};

static int by_name(const void *pa, const void *pb)
{
    const struct ref *a = pa, *b = pb;
    int c = strcmp(a->sample->name, b->sample->name);

    if (c == 0)
        c = (a->source > b->source) - (a->source < b->source);
    if (c == 0)
        c = (a->sample > b->sample) - (a->sample < b->sample);
    return c;
}

/* A label's value: the format knows these three escapes. */
static void add_value(struct buf *out, const char *value)
{
    for (; *value; value++)
        switch (*value) {
        case '\\':
            buf_add_str(out, "\\\\");
            break;
        case '"':
            buf_add_str(out, "\\\"");
            break;
        case '\n':
            buf_add_str(out, "\\n");
            break;
        default:
            buf_add_byte(out, (uint8_t)*value);
        }
}

static void add_family(struct buf *out, const struct stat_sample *s)
{
    static const char *const kinds[] = { "counter", "gauge", "gauge" };

    buf_addf(out, "# HELP touchline_%s %s\n# TYPE touchline_%s %s\n", s->name,
             s->help, s->name, kinds[s->kind]);
}

static void add_number(struct buf *out, const struct stat_sample *s)
{
    if (s->kind == STAT_MICROS)
        buf_addf(out, "%" PRIu64 ".%06" PRIu64, s->value / 1000000,
                 s->value % 1000000);
    else
        buf_add_u64(out, s->value);
}

static void add_sample(struct buf *out, const struct ref *r)
{
    buf_addf(out, "touchline_%s{gateway=\"", r->sample->name);
    add_value(out, r->source->gateway);
    buf_add_str(out, "\",process=\"");
    add_value(out, r->source->process);
    buf_add_byte(out, '"');
    if (r->sample->label)
        buf_addf(out, ",%s", r->sample->label);
    buf_add_str(out, "} ");
    add_number(out, r->sample);
    buf_add_byte(out, '\n');
}

static struct ref *make_refs(const struct stat_source *sources, size_t count,
                             size_t *total)
{
    struct ref *refs;
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += sources[i].count;
    refs = calloc(MAX(n, (size_t)1), sizeof *refs);
    if (!refs)
        return NULL;
    *total = n;
    n = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < sources[i].count; j++)
            refs[n++] = (struct ref){ &sources[i].samples[j], &sources[i] };
    return refs;
}

void stats_prometheus(struct buf *out, const struct stat_source *sources,
                      size_t count)
{
    size_t total;
    struct ref *refs = make_refs(sources, count, &total);

    if (!refs) {
        out->failed = true;
        return;
    }
    qsort(refs, total, sizeof *refs, by_name);
    for (size_t i = 0; i < total; i++) {
        if (i == 0 || strcmp(refs[i].sample->name, refs[i - 1].sample->name))
            add_family(out, refs[i].sample);
        add_sample(out, &refs[i]);
    }
    free(refs);
}

/* --- JSON --- */

static void add_json_text(struct buf *out, const char *text)
{
    buf_add_byte(out, '"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            buf_addf(out, "\\%c", *text);
        else if ((uint8_t)*text < 0x20)
            buf_addf(out, "\\u%04x", (unsigned)*text);
        else
            buf_add_byte(out, (uint8_t)*text);
    buf_add_byte(out, '"');
}

/* cut_total, label why="slow" -> cut_total{why=slow} */
static void add_json_name(struct buf *out, const struct stat_sample *s)
{
    buf_addf(out, "\"%s", s->name);
    if (s->label) {
        buf_add_byte(out, '{');
        for (const char *at = s->label; *at; at++)
            if (*at != '"')
                buf_add_byte(out, (uint8_t)*at);
        buf_add_byte(out, '}');
    }
    buf_add_str(out, "\":");
}

static void add_json_source(struct buf *out, const struct stat_source *s)
{
    buf_add_str(out, "{\"gateway\":");
    add_json_text(out, s->gateway);
    buf_add_str(out, ",\"process\":");
    add_json_text(out, s->process);
    buf_add_str(out, ",\"values\":{");
    for (size_t i = 0; i < s->count; i++) {
        if (i)
            buf_add_byte(out, ',');
        add_json_name(out, &s->samples[i]);
        add_number(out, &s->samples[i]);
    }
    buf_add_str(out, "}}");
}

void stats_json(struct buf *out, const struct stat_source *sources,
                size_t count)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_add_byte(out, ',');
        add_json_source(out, &sources[i]);
    }
    buf_add_byte(out, ']');
}
