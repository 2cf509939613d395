/* limits.h - every bound: what it protects, what a user may set it to, and the
 * counter that shows it was hit.
 * Threads: any; constants only.
 *
 * A row of LIMITS is a key of section `limits`: it becomes a field of struct
 * limits, a row of the options and, through LIMIT_STATS, the counter
 *     touchline_limit_reached_total{limit="<key>"}
 * of whoever enforces it:
 *     stat_add(&stats, STAT_LIMIT_QUEUE, 1);
 * Where the least value is 0, 0 switches the limit off. */
/* gcc's <limits.h> finds this file when it looks for the system's. */
#ifdef _GCC_NEXT_LIMITS_H
#include_next <limits.h>
#elif !defined PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include "base/base.h"

/* What no configuration can exceed, for buffers of fixed size. */
#define MOST_MESSAGE   (1 * MIB)
#define MOST_BATCH     4096
#define MOST_HEADERS   256
#define MOST_CHANNELS  10000 /* channels of one connection, ids of a page */
#define MOST_PATTERNS  256   /* patterns of one connection */
#define MOST_PAGE      1000  /* messages read from the store at a time */
#define MOST_SLICE     (1 << 20) /* clients that a turn sends to */

/* F(X, NAME, key, type, default, least, most, users, change, meaning);
 * change: when a reload puts it in force, an opt_change without CHANGE_ */
#define LIMITS(F, X)                                                          \
    F(X, MESSAGE, message, SIZE, "64K", 1 * KIB, MOST_MESSAGE,                \
      "router http tcp ws", NOW, "largest body of a message")                 \
    F(X, BATCH, batch, COUNT, "256", 1, MOST_BATCH, "http", NOW,              \
      "most messages in one POST /v1/publish")                                \
    F(X, BATCH_BYTES, batch_bytes, SIZE, "1M", 4 * KIB, 64 * MIB, "http", NOW, \
      "largest body of one POST /v1/publish")                                 \
    F(X, REQUEST_LINE, request_line, SIZE, "8K", 256, 64 * KIB, "http ws",    \
      NOW, "longest request line")                                            \
    F(X, HEADER_BLOCK, header_block, SIZE, "16K", 1 * KIB, 256 * KIB,         \
      "http ws", NOW, "longest request line and headers together")            \
    F(X, HEADERS, headers, COUNT, "100", 8, MOST_HEADERS, "http ws", NOW,     \
      "most header lines in a request")                                       \
    F(X, HEADER_WAIT, header_wait, DURATION, "5s", 100 * MILLISECOND,         \
      5 * MINUTE, "http tcp", NOW,                                            \
      "time for a request's headers, or a PROXY header, to arrive in all")    \
    F(X, BODY_RATE, body_rate, SIZE, "500", 0, 1 * GIB, "http", NOW,          \
      "slowest request body, in bytes a second")                              \
    F(X, REQUESTS_PER_CONNECTION, requests_per_connection, COUNT, "1000000",  \
      0, OPT_ALL, "http", NOW, "requests after which a connection is closed") \
    F(X, LINE, line, SIZE, "4K", 512, 2 * MIB, "tcp", NOW,                    \
      "longest line a telnet client may send")                                \
    F(X, FRAGMENTS, fragments, COUNT, "1024", 1, 1 << 20, "ws", NOW,          \
      "most fragments of one WebSocket message")                              \
    F(X, CONTROL_FRAMES, control_frames_per_second, COUNT, "20", 0, 1 << 20,  \
      "ws", NOW,                                                              \
      "most WebSocket pings and pongs a client may send in a second")         \
    F(X, HANDSHAKE_WAIT, handshake_wait, DURATION, "5s", 100 * MILLISECOND,   \
      5 * MINUTE, "ws", NOW,                                                  \
      "time for a WebSocket handshake to arrive in all")                      \
    F(X, PING, ping, DURATION, "25s", 0, 1 * DAY, "http ws", NOW,             \
      "time between signs of life on a quiet stream")                         \
    F(X, CHANNELS_PER_CONNECTION, channels_per_connection, COUNT, "10000", 1, \
      MOST_CHANNELS, "http tcp ws", NOW, "most channels of one connection")   \
    F(X, PATTERNS_PER_CONNECTION, patterns_per_connection, COUNT, "16", 1,    \
      MOST_PATTERNS, "http tcp ws", NOW, "most patterns of one connection")   \
    F(X, CHANNELS, channels, COUNT, "10000000", 0, OPT_ALL, "router", NOW,    \
      "most channels the router knows at a time")                             \
    F(X, CONNECTIONS_PER_ADDRESS, connections_per_address, COUNT, "0", 0,     \
      OPT_ALL, "http tcp ws", NEXT,                                           \
      "most connections from one address to one gateway process")             \
    F(X, PUBLISH_RATE, publish_rate, COUNT, "0", 0, 1000000, "http tcp ws",   \
      NOW,                                                                    \
      "most publications a second from one address to one gateway process")   \
    F(X, ADMIT_RATE, admit_rate, COUNT, "5000", 0, 1000000, "http tcp ws",    \
      NOW,                                                                    \
      "clients that a gateway begins to serve in a second, after a quiet "    \
      "time twice as many at once, but for resumes that its ring covers; "    \
      "who is too many is told when to come again")                           \
    F(X, QUEUE, queue, SIZE, "1M", 4 * KIB, 1 * GIB, "http tcp ws", NOW,      \
      "most bytes that may wait for one slow reader")                         \
    F(X, QUEUE_AGE, queue_age, DURATION, "10s", 0, 1 * DAY, "http tcp ws",    \
      NOW, "longest time that something may wait for a slow reader")          \
    F(X, QUEUE_TOTAL, queue_total, SIZE, "25%", 1 * MIB, OPT_ALL,             \
      "http tcp ws", NOW,                                                     \
      "most bytes that may wait for all readers of a gateway process")        \
    F(X, PAGE, page, COUNT, "1000", 1, MOST_PAGE, "router http tcp ws", NOW,  \
      "most messages read from the store at a time")                          \
    F(X, PAGE_BYTES, page_bytes, SIZE, "1M", 64 * KIB, 4 * MIB,               \
      "router http tcp ws", NOW, "most bytes read from the store at a time")  \
    F(X, ACCEPT_BACKLOG, accept_backlog, COUNT, "65535", 1, 65535,            \
      "http tcp ws", TOUCHLINE,                                               \
      "connections the kernel may keep ready to be accepted")                 \
    F(X, LINK_BATCH, link_batch, SIZE, "4M", 2 * MIB, 64 * MIB,               \
      "router http tcp ws", TOUCHLINE, "largest batch of frames on a link")   \
    F(X, LINK_QUEUE, link_queue, SIZE, "8M", 4 * MIB, 4 * GIB,                \
      "router http tcp ws", PROCESS,                                          \
      "most bytes not yet acknowledged on a link")                            \
    F(X, PUBLISH_WAIT, publish_wait, DURATION, "5s", 0, 5 * MINUTE,           \
      "http tcp ws", NOW,                                                     \
      "time a publication waits for a router that is away")                   \
    F(X, RING_TOTAL, ring_total, SIZE, "256M", 1 * MIB, OPT_ALL,              \
      "http tcp ws", NOW, "most bytes of recent messages a gateway keeps")    \
    F(X, FANOUT_SLICE, fanout_slice, COUNT, "512", 1, MOST_SLICE,             \
      "http tcp ws", NOW,                                                     \
      "clients of large channels that a worker sends to before it looks "     \
      "after others, and at most 512 KiB: more is quicker through, and "      \
      "others wait longer")                                                   \
    F(X, COMMIT_GROUP, commit_group, COUNT, "256", 1, MOST_BATCH, "router",   \
      NOW, "most publications committed together; 1: each by itself; those "  \
      "of one POST always are, and no more than 1 MiB else")                  \
    F(X, DRAIN_WAIT, drain_wait, DURATION, "10s", 0, 1 * HOUR,                \
      "touchline router http tcp ws", NOW, "time for an orderly end")

enum limit {
#define LIMIT_AS_ENUM(X, name, ...) LIMIT_##name,
    LIMITS(LIMIT_AS_ENUM, )
#undef LIMIT_AS_ENUM
    LIMIT_KINDS
};

/* Rows for a folder's STATS list (base/stat.h): a counter for each limit. */
#define LIMIT_STATS(X) LIMITS(LIMIT_AS_STAT, X)
#define LIMIT_AS_STAT(X, name, key, ...)                                      \
    X(LIMIT_##name, COUNTER, "limit_reached_total", "limit=\"" #key "\"",     \
      "times that a limit turned something down")

/* --- bounds that are part of the public surface: not configurable --------- */

#define ADMIN_LISTEN "127.0.0.1:8002" /* where http.listen is not local */
#define NUMBER_MAX ((UINT64_C(1) << 53) - 1) /* exact in a JSON number */

enum {
    PERSON_NAME_MAX = 64,       /* bytes of a name in a room */
    IDEMPOTENCY_KEY_MAX = 128,
    CONFLATION_KEY_MAX = 200,
    PIPELINE_MAX = 128,         /* unanswered requests of one connection */
    HISTORY_DEFAULT = 100,
    HISTORY_MAX = 1000,
    PRESENCE_NAMES_MAX = 1000,
    ROOM_SNAPSHOT_NAMES = 100,
    ROOM_SNAPSHOT_MESSAGES = 50,
    ROOM_NOTICE_NAMES = 20,     /* in one join or leave */
    ACCEPT_RESERVE = 64,        /* descriptors kept to turn clients away */
    TCP_PROBE_AFTER_S = 25,     /* of silence */
    TCP_PROBE_EVERY_S = 2,      /* while it is not answered */
    TCP_USER_TIMEOUT_MS = 35000,
};

#define POLL_WAIT_DEFAULT (25 * SECOND)
#define POLL_WAIT_MAX     (60 * SECOND)
#define PONG_WAIT         (10 * SECOND) /* silent for longer: dead */
#define CLOSE_DRAIN_WAIT  (1 * SECOND)  /* input thrown away after an error */
#define LAST_OUTPUT_WAIT  (10 * SECOND) /* for who closes, without queue_age */
#define PASS_WAIT         (2 * SECOND)  /* for the WebSocket gateway to have room */
#define ROOM_NOTICE_EVERY (1 * SECOND)
#define ROOM_LEAVE_DELAY  (10 * SECOND)
#define RING_LINGER       (30 * SECOND) /* kept longer than the last seat */
#define LINK_HEARTBEAT    (1 * SECOND)
#define LINK_SILENCE      (3 * SECOND)  /* then a link is dead */
#define SLOW_TURN         (50 * MILLISECOND) /* of a loop: counted, and logged */
#define LINK_BATCH_SEAL   (32 * KIB)    /* a batch this big leaves at once */

#endif
