/* report.h - figures and lists on their way from the router to people: rows
 * of named fields, which router-ctl prints as a table or as JSON and the HTTP
 * gateway as JSON. The router's core so needs no JSON.
 *
 * Wire: a row is `u8 1`, fields, `u8 0`; a field is `u8 kind, str8 key,
 * value`: u64 for a number, str32 for a text, u8 for a bool. A report may have
 * titled parts: `u8 2, str8 title` in front of each part's rows.
 * Threads: any. */
#ifndef TOUCHLINE_PROTO_REPORT_H
#define TOUCHLINE_PROTO_REPORT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/stat.h"

enum report_kind { REPORT_NUMBER = 3, REPORT_TEXT = 4, REPORT_BOOL = 5 };

void report_part(struct buf *b, const char *title);
void report_row(struct buf *b);     /* begins a row */
void report_row_end(struct buf *b);
void report_number(struct buf *b, const char *key, uint64_t value);
void report_text(struct buf *b, const char *key, struct slice value);
void report_bool(struct buf *b, const char *key, bool value);
/* The fields of a figure: name, label (may be empty), help, gauge, micros (only
 * where value is microseconds of a figure in seconds), value. */
void report_sample(struct buf *b, const struct stat_sample *s);
/* The same as a row. */
void report_sample_row(struct buf *b, const struct stat_sample *s);
/* What the process says of itself beside its counters, as such rows: how often
 * events of its log came, what memory it takes. */
void report_process_figures(struct buf *b);
/* The fields of a line of the log: number, ts (Unix ms), level, event, text. */
void report_warning(struct buf *b, const struct log_warning *w);
/* The warnings that the process has, each a row with only those fields. */
void report_warnings(struct buf *b);

enum report_event { REPORT_END, REPORT_PART, REPORT_ROW, REPORT_FIELD,
                    REPORT_ROW_END };
struct report_field {
    enum report_kind kind;
    struct slice key, text; /* of REPORT_PART: key is the title */
    uint64_t number;        /* and bool: 0 or 1 */
};
/* Reads the next event; what follows what is the reader's to check. ERR_FRAME
 * on anything malformed. */
MUST_USE int report_next(struct cursor *c, enum report_event *event,
                         struct report_field *ret);
/* The value of the first figure of this name (report_sample()); 0: there is none,
 * or the report is malformed. */
uint64_t report_figure(struct slice report, struct slice name);
/* The whole report as JSON: {"title":[{row},...],...}, or an array of rows
 * when it has no titles. ERR_FRAME when a row is not where it can be,
 * ERR_NOMEM; then out is as it was (but failed, when memory ran out). */
MUST_USE int report_to_json(struct buf *out, struct slice report);

#endif
