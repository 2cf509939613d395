#include "tools/touchline/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

enum { ENTRIES_MAX = 256 };

struct process {
    char name[32];
    pid_t pid;
    unsigned long long began; /* start time of the pid: pids are reused */
};

/* Field 22 of /proc/PID/stat; 0 when there is no such process. */
static unsigned long long start_time(pid_t pid)
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

static unsigned read_entries(int fd, struct process *p)
{
    char text[16 * 1024];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    unsigned count = 0;

    if (n <= 0)
        return 0;
    text[n] = '\0';
    for (char *line = strtok(text, "\n"); line && count < ENTRIES_MAX;
         line = strtok(NULL, "\n")) {
        int pid;

        if (sscanf(line, "%d %llu %31s", &pid, &p[count].began,
                   p[count].name) != 3)
            continue;
        p[count].pid = pid;
        if (start_time(p[count].pid) == p[count].began)
            count++;
    }
    return count;
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

static void drain(const struct process *p, unsigned count, int wait_ms)
{
    int64_t until = clock_ns() + wait_ms * MILLISECOND;

    /* Gateways first: the router still answers what they have asked. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < count; i++)
            if ((strcmp(p[i].name, "router") == 0) == (pass == 1))
                (void)kill(p[i].pid, SIGTERM);
        for (unsigned i = 0; i < count; i++)
            if ((strcmp(p[i].name, "router") == 0) == (pass == 1) &&
                !wait_gone(&p[i], until))
                (void)kill(p[i].pid, SIGKILL);
    }
    for (unsigned i = 0; i < count; i++)
        (void)wait_gone(&p[i], clock_ns() + SECOND);
}

static int take_over(int fd, int wait_ms, unsigned *drained, char *why,
                     size_t why_size)
{
    struct process p[ENTRIES_MAX];
    unsigned count = read_entries(fd, p);

    for (unsigned i = 0; i < count; i++)
        if (strcmp(p[i].name, "touchline") == 0) {
            snprintf(why, why_size, "touchline is running there already "
                     "(pid %d)", (int)p[i].pid);
            return ERR_BUSY;
        }
    *drained = count;
    drain(p, count, wait_ms);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    snprintf(why, why_size, "touchline.lock is held by a process that it "
             "does not list");
    return ERR_BUSY;
}

int lock_take(const char *dir, int wait_ms, int *ret, unsigned *drained,
              char *why, size_t why_size)
{
    char path[4096];
    int fd, rc;

    *drained = 0;
    snprintf(path, sizeof path, "%s/touchline.lock", dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
        return ERR_IO;
    }
    rc = flock(fd, LOCK_EX | LOCK_NB) == 0
             ? 0
             : take_over(fd, wait_ms, drained, why, why_size);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *ret = fd;
    return 0;
}

void lock_write(int fd, const struct lock_entry *entries, size_t count)
{
    char text[16 * 1024];
    size_t len;

    len = (size_t)snprintf(text, sizeof text, "%d %llu touchline\n",
                           (int)getpid(), start_time(getpid()));
    for (size_t i = 0; i < count; i++) {
        if (entries[i].pid <= 0 || len + 128 > sizeof text)
            continue;
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "%d %llu %s\n", (int)entries[i].pid,
                                start_time(entries[i].pid), entries[i].name);
    }
    if (pwrite(fd, text, len, 0) == (ssize_t)len)
        (void)!ftruncate(fd, (off_t)len);
}

void lock_release(int fd, const char *dir)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/touchline.lock", dir);
    (void)unlink(path);
    close(fd);
}
