/* inject.h - faults in a process that knows nothing of them: a library that is
 * loaded in front of the C library (LD_PRELOAD) and, between a call and its
 * answer, does what a rule says: an error, fewer bytes, another clock, death.
 *
 * The rules lie in a file, TOUCHLINE_INJECT, which every process maps when it
 * starts, in front of its cage, and the driver maps, too: so a fault begins and
 * ends in processes that run, and what it did can be read while it lasts.
 * tests/chaos/inject.py is the driver's side and knows this layout by heart.
 *
 * What is done could have been the kernel: who waits for an edge of epoll and
 * was given less than there is gets another edge, as it would.
 *
 * Threads: any. Cost: a look at 32 rules for a call that they may be about. */
#ifndef TESTS_CHAOS_INJECT_H
#define TESTS_CHAOS_INJECT_H

#include <stdatomic.h>
#include <stdint.h>

#define INJECT_MAGIC UINT64_C(0x31544345464e49) /* "INJECT1", near enough */
enum { INJECT_RULES = 32, INJECT_SHORT_MAX = 64 };

/* Who: bits of a rule's `process`, by the name of the program. */
enum inject_process {
    INJECT_SUPERVISOR = 1,
    INJECT_ROUTER = 2,
    INJECT_HTTP = 4,
    INJECT_TCP = 8,
    INJECT_WS = 16,
    INJECT_OTHERS = 32
};

/* What: bits of `calls`. */
enum inject_call {
    INJECT_OPEN = 1,
    INJECT_READ = 2,      /* of files: pread, read */
    INJECT_WRITE = 4,     /* of files: pwrite, write */
    INJECT_SYNC = 8,      /* fsync, fdatasync */
    INJECT_RESIZE = 16,   /* ftruncate */
    INJECT_ALLOCATE = 32, /* fallocate */
    INJECT_RECV = 64,     /* of sockets: recv, recvmsg, readv */
    INJECT_SEND = 128,    /* of sockets: send, sendmsg, writev */
    INJECT_ACCEPT = 256,
    INJECT_MEMORY = 512,  /* malloc and its kind */
    INJECT_CLOCK = 1024,  /* the time of day; not the clock that only grows */
    INJECT_THREAD = 2048, /* pthread_create */
    INJECT_NNG_CLOSE = 4096
};

/* On what: bits of `kinds`; 0: on anything. A file is known by the name under
 * which it was opened, a socket by who made it. */
enum inject_kind {
    INJECT_OTHER = 1,
    INJECT_DB = 2,
    INJECT_WAL = 4,
    INJECT_SHM = 8,
    INJECT_GUARD = 16,
    INJECT_BALLAST = 32,
    INJECT_LOG = 64,
    INJECT_CLIENT = 128, /* accepted by Touchline's own code */
    INJECT_LINK = 256    /* made or accepted by a library: NNG */
};

/* Whose call: of memory, threads and accept. */
enum inject_caller { INJECT_ANYBODY, INJECT_OWN, INJECT_LIBRARY, INJECT_NNG };

enum inject_act {
    INJECT_FAIL,       /* with the error `arg`; nothing is done */
    INJECT_SHORT,      /* 1 to `arg` bytes at most, INJECT_SHORT_MAX */
    INJECT_KILL,       /* SIGKILL in front of the call */
    INJECT_TEAR,       /* half of what is to be written, then SIGKILL */
    INJECT_KILL_AFTER, /* the call, then SIGKILL */
    INJECT_SHIFT,      /* the time of day is `arg` ns later */
    INJECT_HANG        /* in front of nng_close(), while the rule is armed */
};

/* Counted are the calls that the rule is about while it is armed, by all
 * processes together; it strikes at numbers first to last, from 1, with a
 * chance of so many millionths, which a hash of seed and number decides. */
struct inject_rule {
    _Atomic uint64_t armed;
    uint64_t process, calls, kinds, caller;
    uint64_t pid; /* of this one only; 0: of all */
    uint64_t first, last, millionths, seed;
    uint64_t act;
    int64_t arg;
    _Atomic uint64_t seen, struck;
};

struct inject_page {
    uint64_t magic, rule_size, rules;
    struct inject_rule rule[INJECT_RULES];
};

#endif
