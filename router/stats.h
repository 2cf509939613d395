/* stats.h - what the router counts.
 * Threads: written by the router's loop, read by any. */
#ifndef TOUCHLINE_ROUTER_STATS_H
#define TOUCHLINE_ROUTER_STATS_H

#include "base/stat.h"
#include "proto/daemon.h"
#include "proto/limits.h"
#include "proto/memory.h"
#include "proto/repairs.h"
#include "proto/spread.h"

#define ROUTER_STATS(X)                                                       \
    DAEMON_STATS(X)                                                           \
    MEMORY_STATS(X)                                                           \
    X(UPTIME, GAUGE, "uptime_seconds", NULL, "age of the process")            \
    X(LINKS, GAUGE, "links", NULL, "gateways and tools joined now")           \
    X(MISSING, GAUGE, "gateways_missing", NULL,                               \
      "gateways that went without a goodbye and are not back")                \
    X(MUTE, GAUGE, "gateways_mute", NULL,                                     \
      "gateways that are linked and whose canary does not come back")         \
    X(STUCK, MICROS, "store_stuck_seconds", NULL,                             \
      "age of the oldest canary that waits for the store")                    \
    X(MUTE_RESTARTS, COUNTER, "mute_restarts_total", NULL,                    \
      "times that touchline replaced this process because it was mute")       \
    X(NNG_STUCK, GAUGE, "nng_stuck", NULL,                                    \
      "1 while NNG does not come back from closing a socket")                 \
    X(LINKS_STALE, COUNTER, "link_stale_total", NULL,                         \
      "times that a link's queue was full and it had to be repaired")         \
    X(LINKS_RESYNC, COUNTER, "link_resync_total", NULL,                       \
      "times that a link was repaired from the store")                        \
    X(LINK_FAULTS, COUNTER, "link_fault_total", NULL,                         \
      "links ended because the peer broke the protocol")                      \
    X(LISTENER_CURED, COUNTER, "listener_reopened_total", NULL,               \
      "times that the rendezvous had stopped answering")                      \
    X(STRANGERS, COUNTER, "link_refused_total", "why=\"user\"",               \
      "connections to the router's sockets that were turned away")            \
    X(CROWD, COUNTER, "link_refused_total", "why=\"crowd\"",                  \
      "connections to the router's sockets that were turned away")            \
    X(STRANGE, COUNTER, "link_refused_total", "why=\"version\"",              \
      "connections to the router's sockets that were turned away")            \
    X(IDS, GAUGE, "ids", NULL, "ids and patterns known")                      \
    X(PATTERNS, GAUGE, "patterns", NULL, "patterns subscribed to")            \
    X(SEATS, GAUGE, "seats", NULL, "pairs of id and connection")              \
    X(CONNECTIONS, GAUGE, "router_connections", NULL,                         \
      "connections that hold a seat")                                         \
    X(LOGINS, COUNTER, "logins_total", NULL, "seats made")                    \
    X(LOGIN_REFUSED, COUNTER, "login_refused_total", NULL,                    \
      "logins refused for want of room")                                      \
    X(PUBLISHED, COUNTER, "published_total", NULL,                            \
      "publications taken, numbered and sent")                                \
    X(DUPLICATES, COUNTER, "publish_duplicate_total", NULL,                   \
      "publications answered as taken before")                                \
    X(DELIVERS, COUNTER, "delivers_total", NULL, "messages put on links")     \
    X(REACHED, COUNTER, "reached_total", NULL,                                \
      "connections that messages were meant for")                             \
    X(NOTICES, COUNTER, "notices_total", NULL,                                \
      "joins, leaves and snapshots sent behind messages")                     \
    X(BATCHES, COUNTER, "commit_batches_total", NULL, "batches committed")    \
    X(BATCH_FAILURES, COUNTER, "commit_failures_total", NULL,                 \
      "batches that failed")                                                  \
    X(COMMIT_US, GAUGE, "commit_latency_us", NULL,                            \
      "duration of the last commit, there and back")                          \
    X(COMMIT_MAX_US, GAUGE, "commit_latency_max_us", NULL,                    \
      "duration of the slowest commit so far")                                \
    X(COMMIT_SUM_US, COUNTER, "commit_us_total", NULL,                        \
      "time that commits took together")                                      \
    SPREAD_STATS(X, COMMIT_SPREAD, "commit_seconds",                          \
      "how long commits took, there and back")                                \
    X(STORE_DATABASE, GAUGE, "store_bytes", "file=\"database\"",              \
      "size of the database's files")                                         \
    X(STORE_WAL, GAUGE, "store_bytes", "file=\"wal\"",                        \
      "size of the database's files")                                         \
    X(STORE_FREE, GAUGE, "store_free_bytes", NULL,                            \
      "room that the disk of the database has left")                          \
    X(SYNCS, COUNTER, "store_syncs_total", NULL,                              \
      "commits that waited for the disk")                                     \
    X(REOPENED, COUNTER, "store_reopen_total", "result=\"done\"",             \
      "times that the database was opened again after an error of the disk")  \
    X(REOPEN_FAILED, COUNTER, "store_reopen_total", "result=\"failed\"",      \
      "times that the database was opened again after an error of the disk")  \
    X(UNTRIMMED, GAUGE, "store_untrimmed_ids", NULL,                          \
      "ids that trimming passes by until the next start: damaged")            \
    X(QUEUED, GAUGE, "publish_queued", NULL,                                  \
      "publications that wait for their commit")                              \
    X(STORE_FAILING, GAUGE, "store_failing", NULL,                            \
      "1 while the last commit failed")                                       \
    X(PAGES, COUNTER, "pages_total", NULL, "pages of history read")           \
    X(ROWS, COUNTER, "rows_total", NULL, "messages sent out of history")      \
    X(DAMAGED, COUNTER, "damaged_total", NULL,                                \
      "stored messages that could not be read")                               \
    X(TRIMMED, COUNTER, "trimmed_total", NULL, "times that an id was trimmed") \
    X(FORGOTTEN, COUNTER, "forgotten_total", NULL,                            \
      "ids forgotten after seven days without use")                           \
    X(EPOCHS, COUNTER, "epochs_total", NULL, "new epochs made while running") \
    X(QUERIES, COUNTER, "queries_total", NULL, "questions answered")          \
    X(QUESTIONS_WAITED, COUNTER, "questions_waited_total", NULL,              \
      "questions that waited, because those before had looked at much")       \
    X(QUESTIONS_REFUSED, COUNTER, "questions_refused_total", NULL,            \
      "questions refused, because too many waited")                           \
    X(SEARCH_RESTS, COUNTER, "store_search_rests_total", NULL,                \
      "times that searches by pattern rested, having looked at much")         \
    X(SNAPSHOTS, COUNTER, "snapshots_total", NULL, "snapshots made")          \
    LINK_REPAIR_STATS(X)                                                      \
    LIMIT_STATS(X)

enum { ROUTER_STATS(STAT_AS_ENUM) ROUTER_STAT_COUNT };

#endif
