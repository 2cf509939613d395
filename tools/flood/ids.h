/* ids.h - which ids there are, and who gets which.
 * Threads: made at the start, read by all processes then. */
#ifndef TOUCHLINE_FLOOD_IDS_H
#define TOUCHLINE_FLOOD_IDS_H

#include "base/buf.h"
#include "base/opt.h"
#include "proto/chance.h"

enum ids_spread { SPREAD_EACH, SPREAD_UNIFORM, SPREAD_ZIPF };

struct ids {
    uint64_t count; /* at least 1 */
    char *prefix;   /* one id, or what stands in front of a range's numbers */
    bool numbered;  /* it is a range */
    uint64_t first; /* its first number */
    struct slice text;   /* a file, mapped */
    struct slice *lines; /* of it, one id each; NULL: there is no file */
    enum ids_spread spread;
    struct zipf zipf;
};

/* text: "news/today", "user/1..100000" or "@FILE". spread: "each" (the n-th
 * client has the n-th id, beginning again behind the last), "uniform", "zipf"
 * or "zipf:1.2". ERR_BAD, ERR_IO, ERR_NOMEM, and why in *err. */
MUST_USE int ids_init(struct ids *ids, const char *text, const char *spread,
                      struct opt_error *err);
void ids_fini(struct ids *ids);

/* The id of the n-th pick: 0 to count-1. */
uint64_t ids_pick(const struct ids *ids, struct chance *c, uint64_t n);

/* Its name; in `hold` or the file's text, until hold changes. */
struct slice ids_name(const struct ids *ids, uint64_t i, struct buf *hold);

#endif
