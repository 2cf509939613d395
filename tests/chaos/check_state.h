/* check_state.h - what the checker knows of a run; between its own files.
 *
 *   check.c     reads lines, collects publications and versions, shows what is found
 *   versions.c  the versions of each channel in order, and what is to hold of them
 *   chains.c    subscribers, connection by connection
 *   left.c      what slow readers did without, and how matches stand (left.h)
 *   texts.c     instead: by what the texts say of themselves (texts.h) */
#ifndef TESTS_CHAOS_CHECK_STATE_H
#define TESTS_CHAOS_CHECK_STATE_H

#include "base/base.h"
#include "tests/chaos/check.h"
#include "tests/chaos/table.h"

enum { NONE = -1 };
#define NOBODY UINT32_MAX

/* A line: its file and where in it it begins; 0 is none. */
typedef uint64_t line_at;

struct publication {
    uint32_t publisher, number, channel;
    uint32_t version; /* NOBODY: it is nowhere */
    uint32_t invokes, refusals, unknowns, acks;
    struct slice key, event; /* empty: none */
    bool memory; /* its level */
    bool twice;  /* without history: said again by another life of the router */
    uint64_t hash;
    int64_t invoked_ns, acked_ns; /* first; INT64_MAX: never */
    line_at line, ack_line;
};

/* A message that got its numbers. */
struct version {
    uint32_t channel, epoch, publication;
    bool stored;
    uint64_t seq, offset; /* 0: not told */
    uint64_t hash;
    line_at line; /* where it was first told of */
};

/* The versions of a channel in one epoch, by seq. */
struct history {
    uint32_t channel, epoch, count;
    uint32_t *versions;
    uint64_t *sums; /* of the hashes of the first n; made when asked for */
};

struct hole {
    uint32_t channel;
    uint64_t from, to;
    bool damaged;
};

struct fault {
    uint64_t id;
    int64_t start_ns, heal_ns;
    unsigned hits; /* bits of enum edge_bit */
    bool memory, epoch, read, refuse, slow;
};
enum edge_bit { EDGE_BIT_HTTP = 1, EDGE_BIT_TCP = 2, EDGE_BIT_WS = 4 };

enum policy { POLICY_CUT, POLICY_DROP_OLDEST, POLICY_CONFLATE };
struct policy_row {
    struct slice prefix;
    enum policy policy;
};

struct log_file {
    const char *name;
    struct slice bytes;
};

struct checker {
    struct check_options options;
    struct check_figures figures;
    struct log_file *files;
    size_t file_count;
    struct names channels, epochs; /* channels: and patterns */
    bool *memory, *kept; /* by channel: it has no history; it has one */
    uint32_t last_epoch; /* of the store at the end, or of the last line */
    struct publication *publications;
    struct version *versions;
    struct history *histories;
    struct hole *holes;
    struct fault *faults;
    struct policy_row *policies;
    size_t policy_count;
    size_t publication_count, version_count, history_count, hole_count,
        fault_count;
    struct table by_name;   /* (publisher, number) -> publication */
    struct table by_seq;    /* (epoch, seq) -> version */
    struct table by_offset; /* (channel, epoch, offset) -> version */
    struct table by_line;   /* (channel, epoch) -> history */
    int64_t quiet_ns;       /* INT64_MAX: never said */
    int64_t gaps_counted;   /* NONE: not told */
    uint64_t leavers;
};

/* ---- lines ---- */
enum { WORDS_MAX = 13 };
struct words {
    struct slice word[WORDS_MAX];
    unsigned count;
    line_at line;
    int64_t ns;
    char kind;
};
/* Calls take for each well-formed line of a file. */
void check_lines(struct checker *c, size_t file,
                 void (*take)(struct checker *c, void *ctx,
                              const struct words *w), void *ctx);
/* UINT64_MAX for "-" and what is no number. */
uint64_t check_number(struct slice s);
uint64_t check_hex(struct slice s);

PRINTF_LIKE(5, 6)
void check_found(struct checker *c, enum check_pass pass, line_at a, line_at b,
                 const char *fmt, ...);
bool check_loses(const struct checker *c, bool (*which)(const struct fault *));
/* Of what slow readers of that channel do without. */
enum policy check_policy(const struct checker *c, uint32_t channel);
bool fault_memory(const struct fault *f);
bool fault_epoch(const struct fault *f);
bool fault_read(const struct fault *f);

/* ---- versions.c ---- */
/* After all is collected: puts versions in order. */
void versions_sort(struct checker *c);
/* numbers, acks, ghosts, once, order of what was published. */
void versions_judge(struct checker *c);
const struct history *history_of(const struct checker *c, uint32_t channel,
                                 uint32_t epoch);
/* How many versions have a seq of at most that. Cost: O(log n). */
uint32_t history_upto(const struct checker *c, const struct history *h,
                      uint64_t seq);
/* The sum of the hashes of offsets first to last; false: not all are known. */
bool history_sum(struct checker *c, const struct history *h, uint64_t first,
                 uint64_t last, uint64_t *sum);
/* The store says that it lacks this offset. */
bool versions_hole(const struct checker *c, uint32_t channel, uint64_t offset);
static inline const struct version *history_at(const struct checker *c,
                                               const struct history *h,
                                               uint32_t i)
{
    return &c->versions[h->versions[i]];
}

/* ---- chains.c ---- */
void chains_judge(struct checker *c);

#endif
