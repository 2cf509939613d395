/* ctl.h - what can be asked of a running router: the verbs of QUERY.
 *
 * Arguments are words, separated by single spaces; an empty word is left out
 * ("channels  user/ana 100"). Answers are reports (proto/report.h), in titled
 * parts. A refusal is "code: text for people".
 *
 *   status                     state OK, DEGRADED or DOWN and why; figures
 *   presence ID                who is there: presence {channel, count}, names
 *                              {name, connections}, up to 1,000
 *   channels [PATTERN [AFTER [LIMIT]]]
 *                              channels {channel, connections, offset, seq} in
 *                              byte order, page {more}
 *   conns [ID]                 connections {connection, channels, name}
 *   gateways                   gateways {gateway, edge, pid, state, ...}
 *   stats                      stats {gateway, edge, pid, name, label, help,
 *                              gauge, value}, of the router and all gateways
 *   overview [brief]           what there is to see at a glance, at one moment:
 *                              time {ts}, status and gateways as above,
 *                              warnings {gateway, edge, pid, number, ts, level,
 *                              event, text}, the newest lines of that kind in
 *                              each log, and stats; brief: stats without edge
 *                              and help, and without those that are 0 and
                              bounds (le) as full as the one before
 *   kick CONNECTION|ID         kicked {count}
 *   backup FILE                backup {file}, once the copy is whole
 *   mem                        memory {gateway, edge, pid, table, count, bytes}
 *   trim                       the same, a row for each process (memory.h)
 *
 * presence and channels look at every seat of an id, or every id, for an answer
 * that may be short. When gateways ask, what is looked at pays a toll;
 * router.busy refuses it when very many wait, or when it has waited for long.
 *
 * A verb with a dot is a type's (type.h): its arguments and its answer are
 * passed through unread.
 * Threads: the router's loop. */
#ifndef TOUCHLINE_ROUTER_CTL_H
#define TOUCHLINE_ROUTER_CTL_H

#include "proto/frame.h"

struct link;
struct router;

/* On a zeroed router; fini comes after the store has ended. */
void ctl_init(struct router *r);
void ctl_fini(struct router *r);

/* The answer goes to l as ANSWER, now or later. */
void ctl_query(struct link *l, const struct frame_query *f);
void ctl_link_gone(struct link *l); /* nobody waits for its answers */

#endif
