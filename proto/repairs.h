/* repairs.h - what it took to keep links whole: rows for whoever counts it, and
 * a sum over pipes. Threads: the loop of the pipes. */
#ifndef PROTO_REPAIRS_H
#define PROTO_REPAIRS_H

#include "base/stat.h"
#include "proto/pipe.h"

#define LINK_REPAIR_STATS(X)                                                  \
    X(LINK_RESENT, COUNTER, "link_repairs_total", "what=\"resent\"",          \
      "batches sent again, missed, come twice or spoilt; lines replaced")     \
    X(LINK_HOLES, COUNTER, "link_repairs_total", "what=\"holes\"",            \
      "batches sent again, missed, come twice or spoilt; lines replaced")     \
    X(LINK_TWICE, COUNTER, "link_repairs_total", "what=\"duplicates\"",       \
      "batches sent again, missed, come twice or spoilt; lines replaced")     \
    X(LINK_SPOILT, COUNTER, "link_repairs_total", "what=\"rejected\"",        \
      "batches sent again, missed, come twice or spoilt; lines replaced")     \
    X(LINK_RECONNECTS, COUNTER, "link_repairs_total", "what=\"reconnects\"",  \
      "batches sent again, missed, come twice or spoilt; lines replaced")

struct link_repairs {
    uint64_t resent, holes, duplicates, rejected, reconnects;
};
void link_repairs_add(struct link_repairs *sum, const struct pipe *p);
/* Into the rows of s, of which LINK_RESENT is the `first`. */
void link_repairs_set(struct stats *s, unsigned first,
                      const struct link_repairs *sum);

#endif
