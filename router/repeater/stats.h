/* stats.h - what a repeater counts.
 * Threads: written by its loop, read by any. */
#ifndef TOUCHLINE_REPEATER_STATS_H
#define TOUCHLINE_REPEATER_STATS_H

#include "base/stat.h"
#include "proto/daemon.h"
#include "proto/repairs.h"

#define REPEATER_STATS(X)                                                     \
    DAEMON_STATS(X)                                                           \
    X(LINKED, GAUGE, "linked", NULL, "1 while the router can be reached")     \
    X(LINK_LOST, COUNTER, "link_lost_total", NULL,                            \
      "times that the link to the router was lost")                           \
    X(LANES, GAUGE, "repeater_lanes", NULL,                                   \
      "gateways and tools behind this repeater now")                          \
    X(CAME, COUNTER, "repeater_lanes_total", NULL,                            \
      "gateways and tools that have come to this repeater")                   \
    X(CUT, COUNTER, "repeater_cut_total", NULL,                               \
      "links that the router has closed")                                     \
    X(FRAMES_IN, COUNTER, "repeater_frames_total", "way=\"in\"",              \
      "frames from the router, and those that they became")                   \
    X(FRAMES_OUT, COUNTER, "repeater_frames_total", "way=\"out\"",            \
      "frames from the router, and those that they became")                   \
    X(PAUSES, COUNTER, "repeater_pauses_total", NULL,                         \
      "times that gateways were not read because the router did not keep up") \
    X(QUEUED, GAUGE, "repeater_queued_bytes", NULL,                           \
      "bytes that wait to be acknowledged, up and down")                      \
    X(UP_BYTES, COUNTER, "repeater_bytes_total", "link=\"router\"",           \
      "bytes that have come from the router, and gone to the peers")          \
    X(DOWN_BYTES, COUNTER, "repeater_bytes_total", "link=\"peers\"",          \
      "bytes that have come from the router, and gone to the peers")          \
    LINK_REPAIR_STATS(X)

enum { REPEATER_STATS(STAT_AS_ENUM) REPEATER_STAT_COUNT };

#endif
