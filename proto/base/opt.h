/* opt.h - the engine behind all options: a row per option gives the file
 * syntax, the check, the printed form and the manual.
 * Threads: start-up only. Cost: nobody cares.
 *
 * What the options are is no business of this file: proto/config.h. */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include "base/buf.h"

/* How text becomes a value, and the type of the field it is put in. */
enum opt_type {
    OPT_SIZE,     /* size_t, bytes: 4096, 64K, 1M, 2G; 25% is of memory */
    OPT_COUNT,    /* size_t: 100, 10K, 1M (thousands, millions) */
    OPT_DURATION, /* int64_t, ns: 25 is seconds; 500ms, 10s, 5m, 1h, 1d */
    OPT_BOOL,     /* bool: yes no on off true false */
    OPT_ENUM,     /* int: index into the row's words */
    OPT_STRING,   /* char *, owned, never NULL */
    OPT_SECRET,   /* the same, never printed */
    OPT_LIST,     /* struct opt_list: items separated by commas */
};

/* When a value that was changed in the file is in force. */
enum opt_change {
    CHANGE_NOW,       /* once the configuration is read again */
    CHANGE_NEXT,      /* then, for connections that come later */
    CHANGE_PROCESS,   /* when its users are started again, or upgraded */
    CHANGE_TOUCHLINE, /* when everything is */
    CHANGE_KINDS
};

struct opt_list {
    char **items; /* owned */
    size_t count;
};

/* As a row's max: no bound, and the word `all` is allowed; it is the largest
 * value of the field (SIZE_MAX, INT64_MAX). */
#define OPT_ALL INT64_MAX

struct opt_row {
    const char *section;
    const char *key;
    enum opt_type type;
    size_t offset;     /* of the field in the struct it belongs to */
    const char *def;   /* default, as a user would write it */
    const char *words; /* OPT_ENUM: "memory|process|power"; else NULL */
    int64_t min, max;  /* numbers: bounds; texts and lists: ignored */
    const char *users; /* who reads it, for the manual */
    enum opt_change change;
    const char *help;  /* what it means */
    /* Texts and each list item: 0, or ERR_BAD with a reason in *why. */
    int (*check)(struct slice text, const char **why);
};

struct opt_error {
    char text[512]; /* "touchline.conf:12: ..." */
};

PRINTF_LIKE(2, 3) void opt_error_set(struct opt_error *e, const char *fmt, ...);

/* One assignment as found. Slices live during the call only. */
struct opt_assign {
    const char *where;    /* "touchline.conf:12" or "--set" */
    struct slice section; /* "http", "namespace" */
    struct slice name;    /* of [namespace room/]: "room/"; else empty */
    struct slice key;
    struct slice value;
};
typedef int opt_assign_fn(void *ctx, const struct opt_assign *a,
                          struct opt_error *err);

/* Reads an INI file: [section] or [section name], key = value; a line that
 * starts with # or ; is a comment, as is what follows a space and one of these
 * behind a value; a value in double quotes keeps both (\" and \\ inside).
 * Calls fn for each assignment, stops at its first error. Errors: ERR_IO (not
 * readable), ERR_BAD (syntax), ERR_NOMEM, fn's own; the text is in *err. */
MUST_USE int opt_read_file(const char *path, opt_assign_fn *fn, void *ctx,
                           struct opt_error *err);
/* The same for what stands in a file of this name. */
MUST_USE int opt_read_text(const char *path, struct slice text,
                           opt_assign_fn *fn, void *ctx,
                           struct opt_error *err);

/* A file of at most OPT_FILE_MAX bytes, in memory; opt_forget() wipes and
 * frees it, for there may be secrets in it. ERR_IO, ERR_NOMEM, and why in
 * *err. */
enum { OPT_FILE_MAX = 1024 * 1024 };
MUST_USE int opt_slurp(const char *path, struct slice *ret,
                       struct opt_error *err);
/* One that has been read before. Never waits, and ERR_IO for what is no regular
 * file: a pipe has been read to its end, and would be empty now. */
MUST_USE int opt_slurp_again(const char *path, struct slice *ret,
                             struct opt_error *err);
void opt_forget(struct slice *text);

/* The same for the text "SECTION.KEY=VALUE" or "SECTION NAME.KEY=VALUE" of a
 * command line; the key starts behind the last dot before the first '='. */
MUST_USE int opt_read_set(const char *text, opt_assign_fn *fn, void *ctx,
                          struct opt_error *err);

/* NULL when there is none; then *err names the nearest known section or key. */
const struct opt_row *opt_find(const struct opt_row *rows, size_t count,
                               const struct opt_assign *a,
                               struct opt_error *err);

/* Puts the value into its field in the struct at base; an old string or list
 * is freed. ERR_BAD and a text with a->where, or ERR_NOMEM; then the field is
 * as it was. */
MUST_USE int opt_put(const struct opt_row *row, void *base,
                     const struct opt_assign *a, struct opt_error *err);

/* Puts the row's default. ERR_NOMEM; a default that is not valid is a CHECK. */
MUST_USE int opt_put_default(const struct opt_row *row, void *base);

/* Frees what the field owns and empties it. */
void opt_clear(const struct opt_row *row, void *base);

/* Do both have the same value? */
bool opt_equal(const struct opt_row *row, const void *a, const void *b);

/* Puts what from has into to, whose own is freed. ERR_NOMEM: to is as it
 * was. */
MUST_USE int opt_copy(const struct opt_row *row, void *to, const void *from);

/* Appends the field as it would be written in a file (a secret as ""). */
void opt_print(struct buf *out, const struct opt_row *row, const void *base);

/* What it means, in a few words: "at once". */
const char *opt_change_text(enum opt_change change);

/* Appends the allowed values in words: "1K to 1M", "one of a, b". */
void opt_print_range(struct buf *out, const struct opt_row *row);

/* The candidate with the fewest edits from text, or NULL when all are farther
 * than a third of its length. candidate(ctx, i) ends the list with NULL. */
const char *opt_nearest(struct slice text,
                        const char *(*candidate)(const void *ctx, size_t i),
                        const void *ctx);

#endif
