/* share.h - what the processes of a run have in common: each worker writes its
 * own figures, which the first process adds up; where a run stands, and what
 * is known of each id, all write.
 * Threads: processes, over shared memory; all figures are atomic. */
#ifndef TOUCHLINE_FLOOD_SHARE_H
#define TOUCHLINE_FLOOD_SHARE_H

#include <stdatomic.h>

#include "base/base.h"
#include "proto/histogram.h"

/* COUNTER(name): since the start. */
#define SHARE_COUNTERS(COUNTER)                                             \
    COUNTER(dialled)    /* begun to open */                                 \
    COUNTER(opened)     /* connected */                                     \
    COUNTER(up)         /* had their first frame */                         \
    COUNTER(closed)     /* had been up, and ended, whoever ended it */      \
    COUNTER(failed)     /* never came up, or were dropped */                \
    COUNTER(settled)    /* places of which the first try is over */         \
    COUNTER(finished)   /* came to the end of their script */               \
    COUNTER(received)   /* messages */                                      \
    COUNTER(lost)                                                           \
    COUNTER(duplicates)                                                     \
    COUNTER(reordered)                                                      \
    COUNTER(gaps)       /* that the server told of */                       \
    COUNTER(told)       /* messages that these were said to be */           \
    COUNTER(silent)     /* clients that got nothing though others did */    \
    COUNTER(answers)    /* behind the first one */                          \
    COUNTER(bytes)      /* received */

enum share_counter {
#define AS_ENUM(name) SHARE_##name,
    SHARE_COUNTERS(AS_ENUM)
#undef AS_ENUM
    SHARE_COUNT
};

/* HIST(name, text): microseconds. */
#define SHARE_HISTOGRAMS(HIST)                                              \
    HIST(connect, "connect")      /* dialled to connected */                \
    HIST(welcome, "welcome")      /* dialled to the first byte */           \
    HIST(first, "first frame")    /* dialled to up */                       \
    HIST(answer, "answer")        /* asked to answered, from the second on */\
    HIST(latency, "latency")      /* published to received */               \
    HIST(last, "last watcher")    /* the same, of the last of an id */

enum share_histogram {
#define AS_ENUM(name, text) SHARE_HIST_##name,
    SHARE_HISTOGRAMS(AS_ENUM)
#undef AS_ENUM
    SHARE_HISTS
};

/* Why a client failed: FAIL(name, text, cure). */
#define SHARE_FAILS(FAIL)                                                   \
    FAIL(refused, "refused", "nobody listens there")                        \
    FAIL(timeout, "timed out", "nothing came within --wait")                \
    FAIL(reset, "reset", "the server reset them")                           \
    FAIL(closed, "closed early", "the server closed before the first frame")\
    FAIL(dropped, "dropped", "the server closed what was up")               \
    FAIL(answer, "refused in words", "see the sample")                      \
    FAIL(words, "not understood", "is it the right --edge for this server?")\
    FAIL(address, "without a port", "name more addresses with --from, or "  \
         "widen net.ipv4.ip_local_port_range")                              \
    FAIL(files, "without a file", "raise ulimit -n and fs.file-max, or use "\
         "more --processes")                                                \
    FAIL(other, "failed otherwise", "see the sample")

enum share_fail {
#define AS_ENUM(name, text, cure) SHARE_FAIL_##name,
    SHARE_FAILS(AS_ENUM)
#undef AS_ENUM
    SHARE_FAIL_KINDS
};

enum { SHARE_SAMPLE_MAX = 200 };

/* One process'. */
struct share {
    _Atomic uint64_t counters[SHARE_COUNT];
    _Atomic uint64_t fails[SHARE_FAIL_KINDS];
    struct histogram hists[SHARE_HISTS];
    char sample[SHARE_SAMPLE_MAX]; /* of the first failure that said something */
    atomic_bool sampled;           /* it is there */
    _Atomic int64_t settled_ns;    /* when the last place was (clock_ns()) */
};

static inline uint64_t share_get(const struct share *s, enum share_counter c)
{
    return atomic_load_explicit(&s->counters[c], memory_order_relaxed);
}

/* By its one writer. */
static inline void share_add(struct share *s, enum share_counter c,
                             uint64_t by)
{
    atomic_store_explicit(&s->counters[c], share_get(s, c) + by,
                          memory_order_relaxed);
}

static inline uint64_t share_active(const struct share *s)
{
    uint64_t closed = share_get(s, SHARE_closed), up = share_get(s, SHARE_up);

    return up > closed ? up - closed : 0;
}

/* DRAIN: nothing is published any more, what is under way arrives. */
enum stage_phase { PHASE_OPEN, PHASE_HOLD, PHASE_DRAIN, PHASE_CLOSE,
                   PHASE_END };

/* A message that several clients of an id get: who is the last? */
enum { STAGE_SLOTS = 1 << 16 };

/* All processes'. */
struct stage {
    _Atomic int phase;
    /* the publisher's */
    _Atomic uint64_t published, due, answered, refused, late_us;
    _Atomic uint64_t publishing_us; /* from the beginning until the last one */
    atomic_bool published_all, publishing_failed;
    _Atomic uint64_t slots[STAGE_SLOTS]; /* a message's tag, and how many */
    uint64_t ids;
    _Atomic uint64_t *newest;   /* by id: largest number seen */
    _Atomic uint64_t *upto;     /* the same when draining was over */
    _Atomic uint32_t *audience; /* by id: clients that are up */
};

/* NULL: out of memory; errno says more. For `ids` ids. */
struct stage *stage_new(uint64_t ids);
/* n shares, all zero; NULL as above. */
struct share *share_new(size_t n);

static inline enum stage_phase stage_phase(const struct stage *s)
{
    return (enum stage_phase)atomic_load_explicit(&s->phase,
                                                  memory_order_relaxed);
}

/* Somebody of the id has got the message. True: that was the last of them.
 * Of few messages that collide in the table it is not known. */
bool stage_is_last(struct stage *s, uint64_t id, uint64_t number);

void stage_saw(struct stage *s, uint64_t id, uint64_t number);
/* What has been seen by now everybody is to have at the end. */
void stage_mark_end(struct stage *s);

#endif
