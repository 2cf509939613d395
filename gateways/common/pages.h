/* pages.h - pages of the store, each read once for all who need it.
 *
 * After an outage a crowd comes back with cursors that the ring does not
 * cover: all for the same few sets of channels, most with a cursor of their
 * own. A shelf is one such set. Its pages are what the store has of the set in
 * a range of seqs, (after, upto], whole and for good: history does not change
 * within an epoch, so whoever stands within the range may read the page from
 * there on. Of each shelf one page is on its way at a time, from the oldest
 * position of those who wait up to the next page that is there already; the
 * others wait for it. So n clients that missed m messages cost the store about
 * m / limits.page pages, however many they are and whatever their cursors.
 *
 * A page stays for RING_KEEP_MS behind its coming, and at most as long as the
 * ring and all pages together are within limits.ring_total; one that is being
 * read stays until then. Its messages keep the forms that edges made of them.
 *
 * A hole stands where it is missing: in front of the first row behind it. What was
 * trimmed is missing for whoever stands in front of its last message, which is the
 * hole's seq. A page with damage in it, or that something was trimmed out of while
 * it was read, is read from its beginning only: which part of such a hole somebody
 * within it misses nobody can say.
 * Threads: the gateway's loop. Cost: to wait and to take a page O(pages of the
 * shelf); for each page asked O(who waits there). */
#ifndef TOUCHLINE_GATEWAYS_PAGES_H
#define TOUCHLINE_GATEWAYS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "proto/frame.h"
#include "proto/msg.h"

struct gateway;
struct start;

struct shelf; /* pages of one set of channels */

/* A message, or a hole. */
struct page_item {
    struct msg *msg; /* of a hole: only its id; an empty one: of any channel */
    uint64_t seq;
    bool hole;
    uint8_t why; /* enum gap_why */
    uint64_t from, to;
};

struct page {
    struct list_node node;    /* pages.kept, oldest first; or .coming */
    struct list_node on_shelf;
    struct shelf *shelf;
    uint64_t number;          /* of the question; 0: it has come */
    uint64_t after, upto;     /* upto: of one that has come */
    struct page_item *items;  /* in seq order; holes where they are missing */
    size_t count, room;
    size_t bytes;             /* of its messages; once it has come, of all */
    uint32_t asked_bytes;
    uint32_t readers;
    bool kept;                /* for those to come */
    bool broken; /* read from its beginning only */
    int64_t came_ns;
};

struct pages {
    struct map shelves;       /* by their channels */
    struct list_node coming;  /* pages that have been asked for */
    struct list_node kept;    /* pages that have come, oldest first */
    struct list_node asking;  /* shelves whose turn to ask has not come */
    struct list_node served;  /* starts that look again whether a page is there */
    unsigned under_way;
    size_t bytes;             /* of kept pages */
};

void pages_init(struct pages *p);
/* Nobody reads or waits any more. */
void pages_fini(struct gateway *g);

/* The shelf of these channels (sorted here); held until shelf_drop(). NULL: no
 * memory. */
struct shelf *shelf_get(struct gateway *g, struct slice *channels,
                        unsigned count);
void shelf_drop(struct gateway *g, struct shelf *f); /* NULL is fine */

/* A page of s->shelf in which s->paged lies: held. NULL: none is there; s waits
 * on the shelf, and catchup_served() follows, or catchup_unread(). */
struct page *pages_take(struct start *s);
struct page *page_hold(struct page *p);
void page_drop(struct gateway *g, struct page *p); /* NULL is fine */
/* What of a page's memory stands for one of its readers. */
size_t page_share(const struct page *p);

/* ---- what the link brings; number: the question's ---- */
/* Takes m. */
void pages_row(struct gateway *g, uint64_t number, struct msg *m);
void pages_hole(struct gateway *g, uint64_t number,
                const struct frame_hole *h);
/* err: the read failed, for all who wait there. */
void pages_end(struct gateway *g, uint64_t number, int err, bool more,
               uint64_t upto);
/* The link has gone: what has come of a page will come again. */
void pages_link_down(struct gateway *g);
/* Another epoch: no page is worth anything. */
void pages_forget(struct gateway *g);

/* Each turn, behind all that begins: some of those whose page has come are told;
 * when all have been, pages are asked for those that still wait. */
void pages_turn(struct gateway *g);
/* Old pages go; each second. */
void pages_expire(struct gateway *g, int64_t now_ns);

#endif
