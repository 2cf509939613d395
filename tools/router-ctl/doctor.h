/* doctor.h - is this machine fit for so many connections? Each setting of the
 * kernel that matters, what stands there, what is needed, and the command that
 * changes it.
 *
 * What is needed is arithmetic over the number of connections: a file and an
 * epoll watch each, a place in the queues of those who come at once, 5 KiB of
 * memory (4 of the kernel's for an idle TCP socket, 1 of ours), a page of
 * socket buffers while a broadcast is under way.
 *
 * Threads: any. Reads files only, below a root, so that tests have their own. */
#ifndef TOUCHLINE_TOOLS_DOCTOR_H
#define TOUCHLINE_TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_LOW,    /* less than is needed */
    DOCTOR_NOTE,   /* less, but it matters in the case that `why` names */
    DOCTOR_UNKNOWN /* not there, or not for us to read: older kernel, container */
};

struct doctor_finding {
    char setting[192]; /* "net.core.somaxconn" */
    char value[64];   /* as it stands there; empty: unknown */
    uint64_t needed;
    enum doctor_state state;
    char cure[192]; /* a command, or a line of a unit; empty: it is well */
    const char *why;
};

/* A running gateway, or the router. */
struct doctor_process {
    char name[40]; /* "http1" */
    uint32_t pid;
    bool clients;        /* connections come to it */
    bool files_known;
    uint64_t files;      /* RLIMIT_NOFILE, soft */
    uint64_t files_most; /* hard */
    uint32_t threads;
    char cgroup[256]; /* below sys/fs/cgroup; empty: none */
};

struct doctor {
    const char *root; /* in front of /proc and /sys: "" but in tests */
    uint64_t connections;
    const struct doctor_process *processes;
    size_t process_count;

    struct doctor_finding *findings; /* doctor_fini() */
    size_t count, room;
    bool failed; /* no memory */
};

/* Fills in the findings; how many are DOCTOR_LOW. */
size_t doctor_look(struct doctor *d);
void doctor_fini(struct doctor *d);
const char *doctor_state_text(enum doctor_state s);

/* What the kernel has turned away or lost since it started. */
enum { DOCTOR_LOSSES = 10 };
struct doctor_loss {
    const char *name; /* "ListenOverflows" */
    const char *why;
    bool known;
    uint64_t count;
};
void doctor_losses(const char *root, struct doctor_loss ret[DOCTOR_LOSSES]);

#endif
