/* log.h - one line per event, for people and for grep.
 * Threads: any; a line is written with one write(2) under a lock.
 * Cost: a lock; a line written also formatting and a system call. Debug lines
 * below the level: a comparison.
 *
 *   2026-11-20T13:48:51.007Z warn http1 conn.slow conn=http1/42.7 queued=4096
 *
 * `event` is a stable name (a string literal, module.what: it is kept), the rest key=value.
 * Control bytes are escaped as \xHH whatever the arguments hold; text from
 * strangers goes through log_quote(). Lines of more than LOG_LINE_MAX bytes
 * are cut. base and proto log at debug only: who decides is who logs. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"
#include "base/stat.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum {
    LOG_LINE_MAX = 2048,
    LOG_PER_SECOND = 20, /* lines of one event; debug is not limited */
};

/* Lines carry `name` (copied, up to 31 bytes) and go to the end of `file`,
 * made with mode 0640, or to standard error when it is NULL or "". Before the
 * first call: level info, standard error, no name. ERR_IO when the file cannot
 * be opened (errno says why); then nothing has changed. */
MUST_USE int log_init(const char *name, enum log_level level,
                      const char *file);

/* Opens the file anew after somebody has moved it away. ERR_IO: the old one
 * stays in use. */
MUST_USE int log_reopen(void);

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* How often each event above debug came, whether or not its line was written:
 * figures named log_events_total with the label event="<name>". Walks over
 * them: *at begins at 0, false: no more. `label` is where the sample's label is
 * written. At most LOG_EVENTS names; those behind count as "other". */
enum { LOG_EVENTS = 256 };
struct log_label {
    char text[96];
};
bool log_next_count(size_t *at, struct stat_sample *ret,
                    struct log_label *label);

/* The newest lines of levels warn and error, for whoever does not read the log:
 * those with a number above *after, which 0 stands in front of, in their order.
 * False: no more. The event is a literal. */
enum { LOG_WARNINGS = 8, LOG_WORDS = 240 };
struct log_warning {
    uint64_t number; /* 1, 2, ... of this process */
    int64_t ts_ms;   /* Unix */
    enum log_level level;
    const char *event;
    char words[LOG_WORDS + 1]; /* escaped as in the log, and cut */
};
bool log_next_warning(uint64_t *after, struct log_warning *ret);

/* An event that comes more than LOG_PER_SECOND times within a second is
 * counted, and the first line of a later second says suppressed=N. `fmt` may
 * be "" for an event that needs no more words. */
#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                        \
    (log_enabled(LOG_DEBUG)                          \
         ? log_line(LOG_DEBUG, event, __VA_ARGS__)   \
         : (void)0)

PRINTF_LIKE(3, 4)
void log_line(enum log_level level, const char *event, const char *fmt, ...);

/* Text of a stranger as a value: in double quotes, with quotes, backslashes,
 * control bytes and bytes above 0x7e escaped, cut with "..." at 200.
 *     log_info("http.bad", "host=%s", log_quote(host).text); */
struct log_text {
    char text[256];
};
struct log_text log_quote(struct slice s);

#endif
