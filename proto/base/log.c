#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

enum { NAME_MAX_LEN = 31 };

/* An event: how often it came in all, and within the current second. */
struct event {
    const char *name;
    uint64_t count;
    unsigned lines;
    unsigned suppressed;
    int64_t second;
};

static struct {
    pthread_mutex_t lock;
    char name[NAME_MAX_LEN + 1];
    char *path;
    int fd;
    atomic_int level;
    struct event events[LOG_EVENTS + 1]; /* hashed by name; the last: others */
    struct log_warning warnings[LOG_WARNINGS]; /* a ring */
    uint64_t warned;                           /* lines that it ever had */
} log_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .fd = STDERR_FILENO,
    .level = LOG_INFO,
};

static int open_log(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

static void use_fd(int fd)
{
    if (log_state.fd != STDERR_FILENO)
        close(log_state.fd);
    log_state.fd = fd;
}

int log_init(const char *name, enum log_level level, const char *file)
{
    char *path = NULL;
    int fd = STDERR_FILENO;

    if (file && file[0]) {
        path = slice_dup(slice_str(file));
        fd = path ? open_log(path) : -1;
        if (fd < 0) {
            free(path);
            return ERR_IO;
        }
    }
    pthread_mutex_lock(&log_state.lock);
    use_fd(fd);
    free(log_state.path);
    log_state.path = path;
    snprintf(log_state.name, sizeof log_state.name, "%s", name);
    pthread_mutex_unlock(&log_state.lock);
    log_set_level(level);
    return 0;
}

int log_reopen(void)
{
    int rc = 0;

    pthread_mutex_lock(&log_state.lock);
    if (log_state.path) {
        int fd = open_log(log_state.path);

        if (fd >= 0)
            use_fd(fd);
        else
            rc = ERR_IO;
    }
    pthread_mutex_unlock(&log_state.lock);
    return rc;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_state.level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level
           <= atomic_load_explicit(&log_state.level, memory_order_relaxed);
}

static uint32_t event_hash(const char *event)
{
    uint32_t h = 2166136261u; /* FNV-1a: events are our own literals */

    for (; *event; event++)
        h = (h ^ (uint8_t)*event) * 16777619u;
    return h;
}

/* Never NULL. Events are few: a free place is near, or there is none. */
static struct event *event_of(const char *name)
{
    uint32_t hash = event_hash(name);

    for (uint32_t i = 0; i < LOG_EVENTS; i++) {
        struct event *e = &log_state.events[(hash + i) % LOG_EVENTS];

        if (!e->name)
            e->name = name;
        if (e->name == name || strcmp(e->name, name) == 0)
            return e;
    }
    return &log_state.events[LOG_EVENTS];
}

bool log_next_count(size_t *at, struct stat_sample *ret,
                    struct log_label *label)
{
    const struct event *e = NULL;

    pthread_mutex_lock(&log_state.lock);
    while (*at <= LOG_EVENTS && !e) {
        e = &log_state.events[(*at)++];
        if (!e->count)
            e = NULL;
    }
    if (e) {
        snprintf(label->text, sizeof label->text, "event=\"%s\"",
                 e->name ? e->name : "other");
        *ret = (struct stat_sample){
            .kind = STAT_COUNTER,
            .name = "log_events_total",
            .label = label->text,
            .help = "events of the log, also those without a line",
            .value = e->count,
        };
    }
    pthread_mutex_unlock(&log_state.lock);
    return e != NULL;
}

/* May this line be written? *missed is how many were not before it. */
static bool allowed(struct event *e, int64_t now_ns, unsigned *missed)
{
    int64_t second = now_ns / SECOND;

    *missed = 0;
    if (e->second != second) {
        *missed = e->suppressed;
        e->second = second;
        e->lines = e->suppressed = 0;
    }
    if (e->lines == LOG_PER_SECOND) {
        e->suppressed++;
        return false;
    }
    e->lines++;
    return true;
}

/* A line under construction; what does not fit is dropped. */
struct line {
    char text[LOG_LINE_MAX];
    size_t len;
};

PRINTF_LIKE(2, 3) static void put(struct line *l, const char *fmt, ...)
{
    size_t room = sizeof l->text - l->len;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(l->text + l->len, room, fmt, args);
    va_end(args);
    if (n > 0)
        l->len += MIN((size_t)n, room - 1);
}

static void put_head(struct line *l, enum log_level level, const char *event)
{
    static const char *const levels[] = { "error", "warn", "info", "debug" };
    int64_t ms = clock_wall_ms();
    time_t seconds = (time_t)(ms / 1000);
    char when[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    put(l, "%s.%03dZ %s %s %s", when, (int)(ms % 1000), levels[level],
        log_state.name[0] ? log_state.name : "-", event);
}

/* Control bytes would let an argument begin a line of its own. */
static void put_escaped(struct line *l, const char *text)
{
    for (; *text; text++)
        if ((uint8_t)*text < 0x20 || *text == 0x7f)
            put(l, "\\x%02X", (unsigned)(uint8_t)*text);
        else
            put(l, "%c", *text);
}

static void write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* a full disk must not stop the process */
        text += n;
        len -= (size_t)n;
    }
}

static void write_line(enum log_level level, const char *event,
                       unsigned missed, const char *words)
{
    struct line line = { .len = 0 };

    put_head(&line, level, event);
    if (missed)
        put(&line, " suppressed=%u", missed);
    if (words[0])
        put(&line, " ");
    put_escaped(&line, words);
    line.text[line.len] = '\n'; /* put() left room for a terminator */
    write_all(log_state.fd, line.text, line.len + 1);
}

static void keep_warning(enum log_level level, const char *event,
                         const char *words)
{
    struct log_warning *w = &log_state.warnings[log_state.warned % LOG_WARNINGS];
    struct line line = { .len = 0 };

    put_escaped(&line, words);
    *w = (struct log_warning){ .number = ++log_state.warned,
                               .ts_ms = clock_wall_ms(),
                               .level = level,
                               .event = event };
    memcpy(w->words, line.text, MIN(line.len, (size_t)LOG_WORDS));
}

bool log_next_warning(uint64_t *after, struct log_warning *ret)
{
    uint64_t next = *after + 1, oldest;
    bool found;

    pthread_mutex_lock(&log_state.lock);
    oldest = log_state.warned - MIN(log_state.warned, (uint64_t)LOG_WARNINGS);
    next = MAX(next, oldest + 1);
    found = next <= log_state.warned;
    if (found)
        *ret = log_state.warnings[(next - 1) % LOG_WARNINGS];
    pthread_mutex_unlock(&log_state.lock);
    if (found)
        *after = next;
    return found;
}

/* Counts the event. May its line be written? */
static bool noted(enum log_level level, const char *event, unsigned *missed)
{
    struct event *e;

    if (level == LOG_DEBUG)
        return true;
    e = event_of(event);
    e->count++;
    return log_enabled(level) && allowed(e, clock_ns(), missed);
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    int saved_errno = errno;
    char words[LOG_LINE_MAX];
    unsigned missed = 0;
    va_list args;

    pthread_mutex_lock(&log_state.lock);
    if (noted(level, event, &missed)) {
        va_start(args, fmt);
        vsnprintf(words, sizeof words, fmt, args);
        va_end(args);
        write_line(level, event, missed, words);
        if (level <= LOG_WARN)
            keep_warning(level, event, words);
    }
    pthread_mutex_unlock(&log_state.lock);
    errno = saved_errno;
}

struct log_text log_quote(struct slice s)
{
    static const char hex[] = "0123456789ABCDEF";
    struct log_text t;
    size_t at = 0;

    t.text[at++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];

        if (at > 200) {
            memcpy(t.text + at, "...", 3);
            at += 3;
            break;
        }
        if (c == '"' || c == '\\') {
            t.text[at++] = '\\';
            t.text[at++] = (char)c;
        } else if (c < 0x20 || c > 0x7e) {
            t.text[at++] = '\\';
            t.text[at++] = 'x';
            t.text[at++] = hex[c >> 4];
            t.text[at++] = hex[c & 15];
        } else {
            t.text[at++] = (char)c;
        }
    }
    t.text[at++] = '"';
    t.text[at] = '\0';
    return t;
}
