#include "tools/router-ctl/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 64, NAME_ROOM = 48 };

const struct chart charts[] = {
    { "memory", "private memory by process", "MB", 1e-6, false, true,
      { "private" } },
    { "latency", "latency", "ms", 1e-3, true, false,
      { "p50_us", "p90_us", "p99_us", "p999_us", "max_us" } },
    { "connections", "connections", "open", 1, false, false,
      { "connections", "active" } },
    { "opened", "connections per second", "per second", 1, false, false,
      { "opened", "closed", "failed" } },
    { "delivered", "messages per second", "per second", 1, false, false,
      { "delivered", "received", "published", "acknowledged", "lost",
        "duplicates" } },
    { "cpu", "processor time by process", "processors", 1, false, true,
      { "cpu" } },
};
const size_t chart_count = ARRAY_LEN(charts);

/* ---- reading ------------------------------------------------------------- */

struct file {
    struct slice header, rows;
    int time, process; /* columns; -1: none */
};

static struct slice next_line(struct slice *rest)
{
    return slice_trim(slice_split(rest, '\n'));
}

static int column_of(struct slice header, const char *name)
{
    for (int i = 0; header.ptr; i++)
        if (slice_eq(slice_trim(slice_split(&header, ',')), slice_str(name)))
            return i;
    return -1;
}

static struct slice nth_cell(struct slice row, int n)
{
    struct slice cell = SLICE("");

    for (int i = 0; i <= n; i++) {
        if (!row.ptr)
            return SLICE("");
        cell = slice_split(&row, ',');
    }
    return slice_trim(cell);
}

static bool number(struct slice cell, double *ret)
{
    char text[64], *end;

    if (!cell.len || cell.len >= sizeof text)
        return false;
    memcpy(text, cell.ptr, cell.len);
    text[cell.len] = '\0';
    *ret = strtod(text, &end);
    return !*end && isfinite(*ret);
}

static struct file read_file(struct slice text)
{
    struct file f = { .rows = text };

    f.header = next_line(&f.rows);
    f.time = column_of(f.header, "time");
    f.process = column_of(f.header, "process");
    return f;
}

const char *chart_problem(struct slice text)
{
    struct file f = read_file(text);

    if (f.time < 0)
        return "its first line names no column `time`";
    for (size_t i = 0; i < chart_count; i++)
        for (size_t k = 0; k < ARRAY_LEN(charts[i].columns)
                           && charts[i].columns[k]; k++)
            if (column_of(f.header, charts[i].columns[k]) >= 0)
                return f.rows.len ? NULL : "it has no rows yet";
    return "it has none of the columns that could be drawn";
}

/* ---- lines --------------------------------------------------------------- */

struct line {
    char name[NAME_ROOM];
    struct slice process; /* only rows with this one; empty: all */
    int column;
};

static void name_line(struct line *l, struct slice name)
{
    size_t len = MIN(name.len, sizeof l->name - 1);

    for (size_t i = 0; i < len; i++) {
        char c = (char)name.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
                     || (c >= 'A' && c <= 'Z') || strchr("_-./:", c);

        l->name[i] = plain && c ? c : '?';
    }
    l->name[len] = '\0';
}

static size_t lines_by_process(struct line lines[], const struct file *f,
                               int column)
{
    struct slice rows = f->rows;
    size_t count = 0, i;

    while (rows.ptr && count < LINES_MAX) {
        struct slice name = nth_cell(next_line(&rows), f->process);

        for (i = 0; i < count && !slice_eq(lines[i].process, name); i++)
            ;
        if (i < count || !name.len)
            continue;
        lines[count] = (struct line){ .process = name, .column = column };
        name_line(&lines[count++], name);
    }
    return count;
}

static size_t lines_of(struct line lines[], const struct chart *c,
                       const struct file *f)
{
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(c->columns) && c->columns[i]; i++) {
        int column = column_of(f->header, c->columns[i]);

        if (column < 0)
            continue;
        if (c->by_process && f->process >= 0)
            return lines_by_process(lines, f, column);
        lines[count] = (struct line){ .column = column };
        if (f->process >= 0)
            lines[count].process = SLICE("all");
        name_line(&lines[count++], slice_str(c->columns[i]));
    }
    return count;
}

/* The points of a line as a block of data; how many. Time begins at 0. */
static size_t put_points(struct buf *out, const struct chart *c,
                         const struct file *f, const struct line *l,
                         double begun)
{
    struct slice rows = f->rows;
    size_t count = 0;
    double t, v;

    while (rows.ptr) {
        struct slice row = next_line(&rows);

        if (l->process.len
            && !slice_eq(nth_cell(row, f->process), l->process))
            continue;
        if (!number(nth_cell(row, f->time), &t)
            || !number(nth_cell(row, l->column), &v)
            || (c->logarithmic && v <= 0))
            continue;
        buf_addf(out, "%.3f %.6g\n", t - begun, v * c->scale);
        count++;
    }
    return count;
}

static bool first_time(const struct file *f, double *ret)
{
    struct slice rows = f->rows;

    while (rows.ptr)
        if (number(nth_cell(next_line(&rows), f->time), ret))
            return true;
    return false;
}

/* ---- the program --------------------------------------------------------- */

/* Within single quotes gnuplot knows nothing but a doubled quote. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_add_byte(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_byte(out, '\'');
        buf_add_byte(out, (uint8_t)*text);
    }
    buf_add_byte(out, '\'');
}

static void put_frame(struct buf *out, const struct chart *c,
                      const char *picture)
{
    buf_add_str(out, "reset\nset terminal pngcairo noenhanced size 1000,560\n"
                "set output ");
    put_quoted(out, picture);
    buf_addf(out, "\nset title '%s'\nset xlabel 'seconds'\n"
             "set ylabel '%s'\nset grid\nset key outside right top\n"
             "set style data lines\n", c->title, c->unit);
    buf_add_str(out, c->logarithmic ? "set logscale y\n"
                                    : "set yrange [0:0.01<*]\n");
}

bool chart_program(struct buf *out, const struct chart *c, struct slice text,
                   const char *picture)
{
    struct file f = read_file(text);
    struct line lines[LINES_MAX];
    size_t count, drawn = 0, mark = out->len;
    struct buf plot = BUF_INIT;
    double begun;

    if (f.time < 0 || !first_time(&f, &begun))
        return false;
    count = lines_of(lines, c, &f);
    for (size_t i = 0; i < count; i++) {
        size_t before = out->len;

        buf_addf(out, "$line%zu << EOD\n", i);
        if (put_points(out, c, &f, &lines[i], begun) == 0) {
            buf_truncate(out, before);
            continue;
        }
        buf_add_str(out, "EOD\n");
        buf_addf(&plot, "%s$line%zu title '%s' lw 2", drawn ? ", " : "plot ",
                 i, lines[i].name);
        drawn++;
    }
    if (drawn == 0) {
        buf_truncate(out, mark);
    } else {
        put_frame(out, c, picture);
        buf_add(out, buf_slice(&plot));
        buf_add_byte(out, '\n');
    }
    out->failed |= plot.failed;
    buf_fini(&plot);
    return drawn > 0;
}
