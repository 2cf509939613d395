/* options.h - what a crowd is told to be (crowd_main.c --help says how). */
#ifndef TESTS_CHAOS_OPTIONS_H
#define TESTS_CHAOS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum edge { EDGE_HTTP, EDGE_TCP, EDGE_WS, EDGES };
enum sub_form { SUB_NDJSON, SUB_SSE, SUB_POLL, SUB_TEST, SUB_WS, SUB_RAW,
                SUB_TELNET, SUB_FORMS };
enum pub_form { PUB_POST, PUB_BATCH, PUB_WS, PUB_RAW, PUB_TELNET, PUB_REPORT,
                PUB_FORMS };

enum { SPACES_MAX = 12, PATTERNS_MAX = 40, PARTS_MAX = 3, ITEMS_MAX = 4 };

/* A namespace that the crowd uses: channels PREFIX/1 ... PREFIX/COUNT; of
 * match and team as event.h names them. */
struct space {
    char prefix[24];
    char level[12]; /* memory, process, power */
    char slow[16];  /* what slow readers do without: cut, drop-oldest, conflate */
    unsigned count;
    bool trims; /* keeps only so many */
};

struct options {
    uint16_t port[EDGES];
    const char *dir; /* of the logs */
    uint64_t seed;
    unsigned processes;
    unsigned subs[SUB_FORMS], pubs[PUB_FORMS]; /* of all processes */
    double rate;                               /* publications a second */
    unsigned size_min, size_max;               /* of a text */
    struct space spaces[SPACES_MAX];
    unsigned space_count;
    bool patterns;  /* subscribe to patterns as well */
    bool keys;      /* publishers have idempotency keys */
    bool dense;     /* runs, not messages, are logged */
    int64_t stay_ms; /* mean time until a subscriber leaves; 0: for ever */
    double die;     /* share of publications whose publisher dies */
    int64_t backoff_ms; /* longest wait before coming back */
    bool zero;      /* some begin with cursor 0 */
    unsigned lazy;  /* so many of the subscribers do not read at times */
    uint32_t first; /* number of the first client; 0: as the process says */
    const char *name;  /* of the log, without ".log"; NULL: crowd-PROCESS */
    bool again; /* its log is of one that was killed: goes on with its work */
    bool pieces;    /* what is said leaves in small pieces, lines at once */
    const char *dump; /* a file: only read the store into it */
    double seconds;  /* 0: words on standard input */
    double open_rate; /* first connections a second, each process; 0: at once */
};

#endif
