/* figures.h - reports of the router (proto/report.h) in the forms that HTTP
 * promises. Each appends to out, whose failure sticks, and returns 0,
 * ERR_FRAME for a report that makes no sense, or ERR_NOMEM.
 * Threads: any. */
#ifndef TOUCHLINE_HTTP_FIGURES_H
#define TOUCHLINE_HTTP_FIGURES_H

#include "base/buf.h"

/* {"count":connections,"names":[{"name","connections"}]} */
MUST_USE int figures_presence(struct buf *out, struct slice report);
/* {"channels":[...],"more":bool,"after":id}; after only when there is more */
MUST_USE int figures_channels(struct buf *out, struct slice report);
/* Of an overview: {"time":{"ts"},"status":{"state","why",...},
 * "gateways":[...],"warnings":[...],
 * "stats":[{"gateway","process","values":{...}}]} */
MUST_USE int figures_stats(struct buf *out, struct slice report);
/* Prometheus text. */
MUST_USE int figures_metrics(struct buf *out, struct slice report);

#endif
