#include "base/opt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"

void opt_error_set(struct opt_error *e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
}

/* --- reading files and command lines --- */

struct reader {
    const char *path;
    unsigned line;
    struct buf section, name; /* of the section we are in */
    bool in_section;
    opt_assign_fn *fn;
    void *ctx;
    struct opt_error *err;
};

static int syntax_error(struct reader *r, const char *what)
{
    opt_error_set(r->err, "%s:%u: %s", r->path, r->line, what);
    return ERR_BAD;
}

static int read_section(struct reader *r, struct slice line)
{
    struct slice name;

    if (line.ptr[line.len - 1] != ']')
        return syntax_error(r, "a section has to end in ]");
    name = slice_trim(slice_make(line.ptr + 1, line.len - 2));
    buf_reset(&r->section);
    buf_reset(&r->name);
    buf_add(&r->section, slice_split(&name, ' '));
    buf_add(&r->name, slice_trim(name));
    if (r->section.failed || r->name.failed)
        return ERR_NOMEM;
    if (r->section.len == 0)
        return syntax_error(r, "a section needs a name");
    r->in_section = true;
    return 0;
}

/* Where a comment begins: behind a blank, or s.len. */
static size_t find_comment(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] == '#' || s.ptr[i] == ';')
            && (i == 0 || s.ptr[i - 1] == ' ' || s.ptr[i - 1] == '\t'))
            return i;
    return s.len;
}

/* Takes a value in double quotes apart into out. */
static int unquote(struct reader *r, struct slice s, struct buf *out)
{
    struct slice behind;
    size_t i;

    for (i = 1; i < s.len && s.ptr[i] != '"'; i++) {
        if (s.ptr[i] == '\\' && i + 1 < s.len)
            i++;
        buf_add_byte(out, s.ptr[i]);
    }
    if (i >= s.len)
        return syntax_error(r, "a quote without its end");
    behind = slice_trim(slice_from(s, i + 1));
    if (find_comment(behind) != 0 && behind.len)
        return syntax_error(r, "text behind the closing quote");
    return out->failed ? ERR_NOMEM : 0;
}

static int read_value(struct reader *r, struct slice s, struct buf *out)
{
    s = slice_trim(s);
    if (s.len && s.ptr[0] == '"')
        return unquote(r, s, out);
    buf_add(out, slice_trim(slice_head(s, find_comment(s))));
    return out->failed ? ERR_NOMEM : 0;
}

static int read_assignment(struct reader *r, struct slice line)
{
    struct opt_assign a;
    struct buf value = BUF_INIT, where = BUF_INIT;
    size_t eq = slice_find_byte(line, '=');
    int rc;

    if (eq == line.len)
        return syntax_error(r, "neither [section] nor key = value");
    if (!r->in_section)
        return syntax_error(r, "a key before the first [section]");
    rc = read_value(r, slice_from(line, eq + 1), &value);
    if (rc < 0)
        goto out;
    buf_addf(&where, "%s:%u", r->path, r->line);
    a.where = buf_text(&where);
    a.section = buf_slice(&r->section);
    a.name = buf_slice(&r->name);
    a.key = slice_trim(slice_head(line, eq));
    a.value = buf_slice(&value);
    rc = where.failed ? ERR_NOMEM : r->fn(r->ctx, &a, r->err);
out:
    buf_fini(&value);
    buf_fini(&where);
    return rc;
}

static int read_line(struct reader *r, struct slice line)
{
    if (line.len && line.ptr[line.len - 1] == '\n')
        line.len--;
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (r->line == 1 && slice_starts(line, SLICE("\xef\xbb\xbf")))
        line = slice_from(line, 3);
    line = slice_trim(line);
    if (slice_find_byte(line, '\0') < line.len)
        return syntax_error(r, "a NUL byte");
    if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
        return 0;
    return line.ptr[0] == '[' ? read_section(r, line)
                              : read_assignment(r, line);
}

/* With its line feed, if it has one. */
static struct slice take_line(struct slice *rest)
{
    size_t len = slice_find_byte(*rest, '\n');
    struct slice line = slice_head(*rest, len + (len < rest->len));

    *rest = slice_from(*rest, line.len);
    return line;
}

int opt_read_text(const char *path, struct slice text, opt_assign_fn *fn,
                  void *ctx, struct opt_error *err)
{
    struct reader r = { .path = path, .fn = fn, .ctx = ctx, .err = err };
    int rc = 0;

    while (rc == 0 && text.len) {
        struct slice line = take_line(&text);

        r.line++;
        rc = read_line(&r, line);
    }
    buf_fini(&r.section);
    buf_fini(&r.name);
    return rc;
}

int opt_read_file(const char *path, opt_assign_fn *fn, void *ctx,
                  struct opt_error *err)
{
    struct slice text;
    int rc = opt_slurp(path, &text, err);

    if (rc < 0)
        return rc;
    rc = opt_read_text(path, text, fn, ctx, err);
    opt_forget(&text);
    return rc;
}

/* What the file holds, up to room bytes; -1 with errno. */
static ssize_t read_all(int fd, uint8_t *at, size_t room)
{
    size_t len = 0;
    ssize_t n = 1;

    while (len < room && n != 0) {
        n = read(fd, at + len, room - len);
        if (n < 0 && errno != EINTR)
            return -1;
        len += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)len;
}

/* What helps against this error when a file is opened. */
static const char *cure_of(int error)
{
    switch (error) {
    case ENOENT:
        return "; --print-config prints one to begin with";
    case EACCES:
    case EPERM:
        return "; `chmod +r` it, or start as its owner";
    default:
        return "";
    }
}

/* What path names, of which fd (-1 with errno) is open; closes it. */
static int slurp(const char *path, int fd, struct slice *ret,
                 struct opt_error *err)
{
    uint8_t *text = fd < 0 ? NULL : malloc(OPT_FILE_MAX + 1);
    ssize_t n = text ? read_all(fd, text, OPT_FILE_MAX + 1) : -1;
    int rc = fd < 0 || text ? ERR_IO : ERR_NOMEM;

    if (n < 0)
        opt_error_set(err, "%s: %s%s", path,
                      rc == ERR_IO ? strerror(errno) : err_text(ERR_NOMEM),
                      rc == ERR_IO ? cure_of(errno) : "");
    else if (n > OPT_FILE_MAX)
        opt_error_set(err, "%s: larger than 1 MiB", path);
    else
        rc = 0;
    if (fd >= 0)
        close(fd);
    *ret = slice_make(text, n < 0 ? 0 : (size_t)n);
    if (rc < 0)
        opt_forget(ret);
    return rc;
}

int opt_slurp(const char *path, struct slice *ret, struct opt_error *err)
{
    return slurp(path, open(path, O_RDONLY | O_CLOEXEC), ret, err);
}

int opt_slurp_again(const char *path, struct slice *ret, struct opt_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
        return slurp(path, fd, ret, err);
    close(fd);
    opt_error_set(err, "%s: no regular file, and cannot be read twice", path);
    *ret = slice_make(NULL, 0);
    return ERR_IO;
}

void opt_forget(struct slice *text)
{
    void *at = (void *)(uintptr_t)text->ptr;

    if (at)
        secret_wipe(at, text->len);
    free(at);
    *text = slice_make(NULL, 0);
}

int opt_read_set(const char *text, opt_assign_fn *fn, void *ctx,
                 struct opt_error *err)
{
    struct slice all = slice_str(text);
    size_t eq = slice_find_byte(all, '='), dot = eq;
    struct opt_assign a = { .where = "--set" };
    struct slice left;

    while (dot > 0 && all.ptr[dot - 1] != '.')
        dot--;
    if (eq == all.len || dot < 2) {
        opt_error_set(err, "--set %s: expected SECTION.KEY=VALUE", text);
        return ERR_BAD;
    }
    left = slice_head(all, dot - 1);
    a.key = slice_trim(slice_make(all.ptr + dot, eq - dot));
    a.value = slice_trim(slice_from(all, eq + 1));
    a.section = slice_split(&left, ' ');
    a.name = slice_trim(left);
    return fn(ctx, &a, err);
}

/* --- finding rows --- */

enum { NEAREST_MAX = 48 };

/* Edits that turn a into b: insert, drop, replace, swap two neighbours. */
static size_t distance(struct slice a, struct slice b)
{
    size_t row[3][NEAREST_MAX + 1];

    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3],
               *up2 = row[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = a.ptr[i - 1] == b.ptr[j - 1];

            now[j] = MIN(MIN(now[j - 1], up[j]) + 1, up[j - 1] + !same);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2]
                && a.ptr[i - 2] == b.ptr[j - 1])
                now[j] = MIN(now[j], up2[j - 2] + 1);
        }
    }
    return row[a.len % 3][b.len];
}

const char *opt_nearest(struct slice text,
                        const char *(*candidate)(const void *ctx, size_t i),
                        const void *ctx)
{
    const char *best = NULL, *word;
    size_t least = text.len / 3 + 2;

    if (text.len > NEAREST_MAX)
        return NULL;
    for (size_t i = 0; (word = candidate(ctx, i)); i++) {
        struct slice w = slice_str(word);
        size_t d = w.len > NEAREST_MAX ? least : distance(text, w);

        if (d < least) {
            least = d;
            best = word;
        }
    }
    return best;
}

struct candidates {
    const struct opt_row *rows;
    size_t count;
    struct slice section;
};

static const char *nth_section(const void *ctx, size_t i)
{
    const struct candidates *c = ctx;

    return i < c->count ? c->rows[i].section : NULL;
}

static const char *nth_key(const void *ctx, size_t n)
{
    const struct candidates *c = ctx;

    for (size_t i = 0; i < c->count; i++)
        if (slice_eq(slice_str(c->rows[i].section), c->section) && n-- == 0)
            return c->rows[i].key;
    return NULL;
}

static void name_nearest(const struct candidates *c, const struct opt_assign *a,
                         struct opt_error *err)
{
    bool known = nth_key(c, 0) != NULL; /* the section */
    struct slice wrong = known ? a->key : a->section;
    const char *near = opt_nearest(wrong, known ? nth_key : nth_section, c);
    char hint[128] = "--print-config lists all";

    if (near)
        snprintf(hint, sizeof hint, "did you mean %s?", near);
    if (known)
        opt_error_set(err, "%s: unknown key " SLICE_FMT "." SLICE_FMT "; %s",
                      a->where, SLICE_ARG(a->section), SLICE_ARG(wrong), hint);
    else
        opt_error_set(err, "%s: unknown section " SLICE_FMT "; %s", a->where,
                      SLICE_ARG(wrong), hint);
}

const struct opt_row *opt_find(const struct opt_row *rows, size_t count,
                               const struct opt_assign *a,
                               struct opt_error *err)
{
    struct candidates c = { rows, count, a->section };

    for (size_t i = 0; i < count; i++)
        if (slice_eq(slice_str(rows[i].section), a->section)
            && slice_eq(slice_str(rows[i].key), a->key))
            return &rows[i];
    name_nearest(&c, a, err);
    return NULL;
}
