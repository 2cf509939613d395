#include "tools/flood/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { IDS_MAX = 100000000 };

static int bad(struct opt_error *err, const char *what, const char *text)
{
    opt_error_set(err, "%s: '%s'", what, text);
    return ERR_BAD;
}

static int read_spread(struct ids *ids, const char *text,
                       struct opt_error *err)
{
    double exponent = 1;
    char *end;

    if (strcmp(text, "each") == 0) {
        ids->spread = SPREAD_EACH;
    } else if (strcmp(text, "uniform") == 0) {
        ids->spread = SPREAD_UNIFORM;
    } else if (strncmp(text, "zipf", 4) == 0) {
        if (text[4] == ':')
            exponent = strtod(text + 5, &end);
        if ((text[4] != '\0' && text[4] != ':')
            || (text[4] && (end == text + 5 || *end)) || !(exponent > 0)
            || exponent > 10)
            return bad(err, "zipf:S has an exponent above 0, at most 10",
                       text);
        ids->spread = SPREAD_ZIPF;
        zipf_init(&ids->zipf, ids->count, exponent);
    } else {
        return bad(err, "a spread is each, uniform, zipf or zipf:S", text);
    }
    return 0;
}

/* Mapped, for it may be large, and all processes read it. */
static int map_file(struct slice *ret, const char *path, struct opt_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *at = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &st) == 0)
        at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        opt_error_set(err, "%s: %s", path,
                      errno == EINVAL ? "it is empty" : strerror(errno));
    if (fd >= 0)
        close(fd);
    if (at == MAP_FAILED)
        return ERR_IO;
    *ret = slice_make(at, (size_t)st.st_size);
    return 0;
}

static struct slice next_line(struct slice *rest)
{
    struct slice line = slice_split(rest, '\n');

    if (slice_ends(line, SLICE("\r")))
        line.len--;
    return slice_trim(line);
}

static int read_file(struct ids *ids, const char *path, struct opt_error *err)
{
    struct slice rest, line;
    uint64_t n = 0;
    int rc = map_file(&ids->text, path, err);

    if (rc < 0)
        return rc;
    for (rest = ids->text; rest.ptr;)
        n += next_line(&rest).len > 0;
    if (!n)
        return bad(err, "there is no id in", path);
    ids->lines = calloc(n, sizeof *ids->lines);
    if (!ids->lines)
        return ERR_NOMEM;
    for (rest = ids->text; rest.ptr;) {
        line = next_line(&rest);
        if (line.len)
            ids->lines[ids->count++] = line;
    }
    return 0;
}

/* "user/1..100": what is in front of the digits is the prefix. */
static int read_range(struct ids *ids, const char *text, struct opt_error *err)
{
    const char *dots = strstr(text, ".."), *digits = dots;
    uint64_t last;

    while (digits && digits > text && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    if (!dots) {
        ids->count = 1;
        ids->prefix = strdup(text);
        return ids->prefix ? 0 : ERR_NOMEM;
    }
    if (slice_parse_u64(slice_make(digits, (size_t)(dots - digits)),
                        &ids->first) < 0
        || slice_parse_u64(slice_str(dots + 2), &last) < 0
        || last < ids->first || last - ids->first >= IDS_MAX)
        return bad(err, "a range is like user/1..1000, of at most 100 million",
                   text);
    ids->numbered = true;
    ids->count = last - ids->first + 1;
    ids->prefix = strndup(text, (size_t)(digits - text));
    return ids->prefix ? 0 : ERR_NOMEM;
}

int ids_init(struct ids *ids, const char *text, const char *spread,
             struct opt_error *err)
{
    int rc;

    *ids = (struct ids){ .spread = SPREAD_EACH };
    rc = !*text          ? bad(err, "an id is wanted", text)
         : *text == '@' ? read_file(ids, text + 1, err)
                        : read_range(ids, text, err);
    if (rc == 0)
        rc = read_spread(ids, spread, err);
    if (rc < 0)
        ids_fini(ids);
    return rc;
}

void ids_fini(struct ids *ids)
{
    free(ids->prefix);
    free(ids->lines);
    if (ids->text.ptr)
        munmap((void *)(uintptr_t)ids->text.ptr, ids->text.len);
    *ids = (struct ids){ .count = 0 };
}

uint64_t ids_pick(const struct ids *ids, struct chance *c, uint64_t n)
{
    switch (ids->spread) {
    case SPREAD_EACH:
        return n % ids->count;
    case SPREAD_UNIFORM:
        return chance_below(c, ids->count);
    case SPREAD_ZIPF:
        break;
    }
    return zipf_pick(&ids->zipf, c);
}

struct slice ids_name(const struct ids *ids, uint64_t i, struct buf *hold)
{
    if (ids->lines)
        return ids->lines[i];
    buf_reset(hold);
    buf_add_str(hold, ids->prefix);
    if (ids->numbered)
        buf_add_u64(hold, ids->first + i);
    return buf_slice(hold);
}
