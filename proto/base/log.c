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

enum { NAME_MAX_LEN = 31, EVENTS = 128 };

/* How often an event came within the current second. Slots are found by the
 * event's hash; two that share one share its allowance, which is rare and
 * does no harm. */
struct allowance {
    uint32_t hash;
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
    struct allowance events[EVENTS];
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

/* May this line be written? *missed is how many were not before it. */
static bool allowed(const char *event, int64_t now_ns, unsigned *missed)
{
    uint32_t hash = event_hash(event);
    struct allowance *a = &log_state.events[hash % EVENTS];
    int64_t second = now_ns / SECOND;

    *missed = 0;
    if (a->second != second || a->hash != hash) {
        *missed = a->hash == hash ? a->suppressed : 0;
        *a = (struct allowance){ .hash = hash, .second = second };
    }
    if (a->lines == LOG_PER_SECOND) {
        a->suppressed++;
        return false;
    }
    a->lines++;
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

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    int saved_errno = errno;
    char words[LOG_LINE_MAX];
    struct line line = { .len = 0 };
    unsigned missed = 0;
    va_list args;

    if (!log_enabled(level))
        return;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    pthread_mutex_lock(&log_state.lock);
    if (level == LOG_DEBUG || allowed(event, clock_ns(), &missed)) {
        put_head(&line, level, event);
        if (missed)
            put(&line, " suppressed=%u", missed);
        if (words[0])
            put(&line, " ");
        put_escaped(&line, words);
        line.text[line.len] = '\n'; /* put() left room for a terminator */
        write_all(log_state.fd, line.text, line.len + 1);
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
