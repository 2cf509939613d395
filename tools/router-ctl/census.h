/* census.h - all processes of a running Touchline at one moment: who they are,
 * what they have counted, what memory and processor time they take.
 *
 * Who they are is what the router says; the supervisor and its other children
 * are found by the kernel's family tree. Several workers of a process are one
 * entry under the first one's name. Processes on other machines have figures,
 * and no memory. Threads: one. Cost: two questions to the router and three
 * files of /proc for each process. */
#ifndef TOUCHLINE_TOOLS_CENSUS_H
#define TOUCHLINE_TOOLS_CENSUS_H

#include "proto/procfs.h"
#include "tools/router-ctl/ctl.h"

/* X(id, column, kind, metric, label): GAUGE as it is, COUNTER as a rate. label:
 * NULL: the sum over all. The router counts publications, all else gateways. */
#define CENSUS_FIGURES(X)                                                    \
    X(CONNECTIONS, "connections", GAUGE, "connections", NULL)                \
    X(OPENED, "opened", COUNTER, "accepted_total", NULL)                     \
    X(CLOSED, "closed", COUNTER, "closed_total", NULL)                       \
    X(PUBLISHED, "published", COUNTER, "published_total", NULL)              \
    X(RECEIVED, "received", COUNTER, "received_total", NULL)                 \
    X(DELIVERED, "delivered", COUNTER, "delivered_total", NULL)              \
    X(SENDS, "sends", COUNTER, "sends_total", NULL)                          \
    X(BYTES_OUT, "bytes_out", COUNTER, "client_bytes_total", "way=\"out\"")  \
    X(QUEUED, "queued_bytes", GAUGE, "queued_bytes", NULL)                   \
    X(RING, "ring_bytes", GAUGE, "ring_bytes", NULL)

enum {
#define CENSUS_AS_ENUM(id, column, kind, metric, label) CENSUS_##id,
    CENSUS_FIGURES(CENSUS_AS_ENUM)
#undef CENSUS_AS_ENUM
    CENSUS_COUNT
};

struct census_process {
    char name[40], edge[16]; /* edge: "router", "" of what has no link */
    uint32_t pid;
    bool local; /* it runs here: memory and cpu_ns are known */
    struct proc_memory memory;
    int64_t cpu_ns;
    uint64_t figures[CENSUS_COUNT];
    double rates[CENSUS_COUNT]; /* per second; of a gauge its value; 0 of a
                                   process that was not there before */
    double cpu;                 /* processors */
};

struct census {
    int64_t at_ns, time_ms; /* monotonic; Unix */
    struct census_process *list; /* router, gateways by name, others */
    size_t count, room;
    struct census_process all; /* sums; name "all" */
    bool failed; /* no memory */
};
#define CENSUS_EMPTY { .list = NULL }

/* What the router's answers to `stats` and `gateways` say, and the kernel. */
void census_take(struct census *c, struct slice stats, struct slice gateways);
/* Fills in the rates: since `before`, by name and pid. */
void census_compare(struct census *now, const struct census *before);
void census_fini(struct census *c);

extern const char *const census_columns[CENSUS_COUNT];
extern const bool census_is_rate[CENSUS_COUNT];

/* Asks the router and takes it. EXIT_DONE, or it has been said. */
int census_ask(struct ctl *c, struct census *ret);

#endif
