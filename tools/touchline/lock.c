#include "tools/touchline/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "proto/user.h"

enum { PASSES = 100, PASS_MS = 10 };

struct process {
    char name[32];
    pid_t pid;
    unsigned long long began; /* start time of the pid: pids are reused */
};

/* Field 22 of /proc/PID/stat. */
unsigned long long lock_start_time(pid_t pid)
{
    char path[40], text[1024];
    const char *at;
    unsigned long long began = 0;
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return 0;
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    at = strrchr(text, ')');
    if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                             "%*u %*u %*d %*d %*d %*d %*d %*d %llu",
                     &began) != 1)
        began = 0;
    return began;
}

static bool read_file(int fd, struct buf *text)
{
    enum { STEP = 4096 };
    ssize_t n = 1;

    while (n > 0) {
        uint8_t *to = buf_reserve(text, STEP);

        n = to ? pread(fd, to, STEP, (off_t)text->len) : -1;
        text->len += n > 0 ? (size_t)n : 0;
    }
    return n == 0;
}

static bool read_entry(struct slice line, struct process *p)
{
    char text[96];
    int pid;

    snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(line));
    if (sscanf(text, "%d %llu %31s", &pid, &p->began, p->name) != 3)
        return false;
    p->pid = pid;
    return lock_start_time(pid) == p->began;
}

/* Those of the list that live, in *ret, to be freed. ERR_IO, ERR_NOMEM. */
static int read_entries(int fd, struct process **ret, unsigned *count)
{
    struct buf text = BUF_INIT;
    struct slice rest;
    struct process *p = NULL;
    size_t lines = 0;
    int rc = read_file(fd, &text) ? 0 : ERR_IO;

    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    if (rc == 0)
        p = calloc(lines + 1, sizeof *p);
    *count = 0;
    rest = buf_slice(&text);
    for (size_t i = 0; p && i < lines; i++)
        *count += read_entry(slice_split(&rest, '\n'), &p[*count]);
    if (rc == 0 && !p)
        rc = ERR_NOMEM;
    *ret = p;
    buf_fini(&text);
    return rc;
}

/* Waits until the process is gone; false: not in time. */
static bool wait_gone(const struct process *p, int64_t until_ns)
{
    int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
    int64_t left = until_ns - clock_ns();
    int rc;

    if (pidfd < 0)
        return true;
    rc = poll(&pfd, 1, (int)(MAX(left, (int64_t)0) / MILLISECOND));
    close(pidfd);
    return rc > 0;
}

enum { DRAIN_PASSES = 3 };

static unsigned pass_of(const struct process *p)
{
    return strcmp(p->name, "router") == 0     ? 2
           : strcmp(p->name, "repeater") == 0 ? 1
                                              : 0;
}

static void drain(const struct process *p, unsigned count, int wait_ms)
{
    /* Gateways first: the router still answers what they have asked, through
     * what stands between. */
    for (unsigned pass = 0; pass < DRAIN_PASSES; pass++) {
        int64_t until = clock_ns() + wait_ms * MILLISECOND;

        for (unsigned i = 0; i < count; i++)
            if (pass_of(&p[i]) == pass)
                (void)kill(p[i].pid, SIGTERM);
        for (unsigned i = 0; i < count; i++)
            if (pass_of(&p[i]) == pass && !wait_gone(&p[i], until))
                (void)kill(p[i].pid, SIGKILL);
    }
    for (unsigned i = 0; i < count; i++)
        (void)wait_gone(&p[i], clock_ns() + SECOND);
}

static int refuse(const struct process *p, unsigned count, char *why,
                  size_t why_size)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(p[i].name, "touchline") == 0) {
            snprintf(why, why_size, "touchline is running there already "
                     "(pid %d); stop it, or give this one another --dir",
                     (int)p[i].pid);
            return ERR_BUSY;
        }
    return 0;
}

/* One pass: drains whom the list names, unless a supervisor is among them. */
static int drain_listed(int fd, int wait_ms, unsigned *drained, char *why,
                        size_t why_size)
{
    struct process *p;
    unsigned count;
    int rc = read_entries(fd, &p, &count);

    if (rc < 0)
        snprintf(why, why_size, "touchline.lock cannot be read: %s",
                 err_text(rc));
    else
        rc = refuse(p, count, why, why_size);
    if (rc == 0) {
        drain(p, count, wait_ms);
        *drained += count;
    }
    free(p);
    return rc;
}

/* Who was faster than we were writes its name in a moment. */
static int take_over(int fd, int wait_ms, unsigned *drained, char *why,
                     size_t why_size)
{
    for (unsigned pass = 0; pass < PASSES; pass++) {
        int rc = drain_listed(fd, wait_ms, drained, why, why_size);

        if (rc < 0)
            return rc;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        (void)poll(NULL, 0, PASS_MS);
    }
    snprintf(why, why_size, "touchline.lock is held by a process that it "
             "does not list");
    return ERR_BUSY;
}

/* A lock on a file that its last holder has removed meanwhile locks nobody
 * out. */
static bool is_there(int fd, const char *path)
{
    struct stat held, named;

    return fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

void lock_entry(struct buf *list, pid_t pid, unsigned long long began,
                const char *kind)
{
    buf_addf(list, "%d %llu %s\n", (int)pid, began, kind);
}

void lock_write(int fd, const struct buf *list)
{
    struct buf text = BUF_INIT;

    lock_entry(&text, getpid(), lock_start_time(getpid()), "touchline");
    buf_add(&text, buf_slice(list));
    if (!text.failed && !list->failed &&
        pwrite(fd, text.ptr, text.len, 0) == (ssize_t)text.len)
        (void)!ftruncate(fd, (off_t)text.len);
    buf_fini(&text);
}

static int open_lock(const char *dir, const char *path, char *why,
                     size_t why_size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), error = errno;
    char whose[USER_WHOSE_MAX];

    if (fd < 0)
        snprintf(why, why_size, "cannot open touchline.lock in %.200s: %s%s; "
                 "choose another directory with --dir DIR", dir,
                 strerror(error), user_whose(dir, whose));
    return fd;
}

/* The lock of an open file; closes it on errors. */
static int lock_file(int fd, int wait_ms, unsigned *drained, char *why,
                     size_t why_size)
{
    struct buf nobody = BUF_INIT;
    int rc = flock(fd, LOCK_EX | LOCK_NB) == 0
                 ? 0
                 : take_over(fd, wait_ms, drained, why, why_size);

    if (rc < 0)
        close(fd);
    else
        lock_write(fd, &nobody);
    return rc;
}

int lock_take(const char *dir, int wait_ms, int *ret, unsigned *drained,
              char *why, size_t why_size)
{
    char path[4096];
    int fd, rc;

    *drained = 0;
    snprintf(path, sizeof path, "%s/touchline.lock", dir);
    for (;;) {
        fd = open_lock(dir, path, why, why_size);
        if (fd < 0)
            return ERR_IO;
        rc = lock_file(fd, wait_ms, drained, why, why_size);
        if (rc < 0)
            return rc;
        if (is_there(fd, path))
            break;
        close(fd);
    }
    *ret = fd;
    return 0;
}

void lock_release(int fd, const char *dir)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/touchline.lock", dir);
    (void)unlink(path);
    close(fd);
}
