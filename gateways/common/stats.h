/* stats.h - what a gateway counts; each row becomes a metric of its name.
 * Threads: see base/stat.h. */
#ifndef TOUCHLINE_GATEWAYS_STATS_H
#define TOUCHLINE_GATEWAYS_STATS_H

#include "base/stat.h"
#include "proto/daemon.h"
#include "proto/limits.h"
#include "proto/memory.h"
#include "proto/repairs.h"
#include "proto/spread.h"

#define GATEWAY_STATS(X)                                                      \
    DAEMON_STATS(X)                                                           \
    MEMORY_STATS(X)                                                           \
    X(TOKENS_LOST, COUNTER, "tokens_lost_total", NULL,                        \
      "connections whose token was taken out of the configuration")           \
    X(CONNS, GAUGE, "connections", NULL, "client sockets open now")           \
    X(ACCEPTED, COUNTER, "accepted_total", NULL, "client sockets accepted")   \
    X(TAKEN_OVER, COUNTER, "taken_over_total", NULL,                          \
      "clients that a predecessor handed over in an upgrade")                 \
    X(PASSED_ON, COUNTER, "passed_total", "way=\"on\"",                       \
      "WebSockets that came to the HTTP gateway's port")                      \
    X(PASSED_IN, COUNTER, "passed_total", "way=\"in\"",                       \
      "WebSockets that came to the HTTP gateway's port")                      \
    X(ACCEPT_REFUSED, COUNTER, "accept_refused_total", "why=\"files\"",       \
      "clients turned away at the door")                                      \
    X(ACCEPT_ADDRESS, COUNTER, "accept_refused_total", "why=\"address\"",     \
      "clients turned away at the door")                                      \
    X(ACCEPT_PAUSED, COUNTER, "accept_paused_total", NULL,                    \
      "times that accepting stopped for want of files")                       \
    X(ACCEPT_LEFT, COUNTER, "accept_left_total", NULL,                        \
      "times that the port was left to other instances")                      \
    X(ACCEPT_AWAY, GAUGE, "accept_away", NULL,                                \
      "1 while the port is left to other instances")                          \
    X(LISTEN_FAILED, COUNTER, "listen_failed_total", NULL,                    \
      "times that a socket could not listen again")                           \
    X(BYTES_IN, COUNTER, "client_bytes_total", "way=\"in\"",                  \
      "bytes exchanged with clients")                                         \
    X(BYTES_OUT, COUNTER, "client_bytes_total", "way=\"out\"",                \
      "bytes exchanged with clients")                                         \
    X(SENDS, COUNTER, "sends_total", NULL,                                    \
      "system calls that sent to clients")                                    \
    X(DELIVERED, COUNTER, "delivered_total", NULL,                            \
      "messages written for a connection")                                    \
    X(RECEIVED, COUNTER, "received_total", NULL,                              \
      "messages that came over the link")                                     \
    X(PUBLISHED, COUNTER, "publish_total", "result=\"taken\"",                \
      "publications by clients")                                              \
    X(PUBLISH_REFUSED, COUNTER, "publish_total", "result=\"refused\"",        \
      "publications by clients")                                              \
    X(PUBLISH_UNKNOWN, COUNTER, "publish_total", "result=\"unknown\"",        \
      "publications by clients")                                              \
    SPREAD_STATS(X, PUBLISH_SPREAD, "publish_seconds",                        \
      "how long clients' publications waited for the router's answer")        \
    X(PUBLISH_RESENT, COUNTER, "publish_resent_total", NULL,                  \
      "publications sent again after the router had gone")                    \
    X(SUBSCRIBE_REFUSED, COUNTER, "subscribe_refused_total", NULL,            \
      "subscriptions that a limit or the router refused")                     \
    X(ADMITTED, COUNTER, "admitted_total", NULL,                              \
      "clients let in within limits.admit_rate")                              \
    X(STARTS_RING, COUNTER, "starts_total", "from=\"ring\"",                  \
      "subscriptions begun, by where they began")                             \
    X(STARTS_STORE, COUNTER, "starts_total", "from=\"store\"",                \
      "subscriptions begun, by where they began")                             \
    X(STARTS_NOW, COUNTER, "starts_total", "from=\"now\"",                    \
      "subscriptions begun, by where they began")                             \
    X(PAGES_ASKED, COUNTER, "pages_asked_total", NULL,                        \
      "pages of the store that the router was asked for")                     \
    X(PAGES_TAKEN, COUNTER, "pages_taken_total", NULL,                        \
      "pages read by clients, most of them by several")                       \
    X(GAPS_TRIMMED, COUNTER, "gaps_total", "why=\"trimmed\"",                 \
      "gap notices told to clients")                                          \
    X(GAPS_EPOCH, COUNTER, "gaps_total", "why=\"epoch\"",                     \
      "gap notices told to clients")                                          \
    X(GAPS_FUTURE, COUNTER, "gaps_total", "why=\"future\"",                   \
      "gap notices told to clients")                                          \
    X(GAPS_SLOW, COUNTER, "gaps_total", "why=\"slow\"",                       \
      "gap notices told to clients")                                          \
    X(GAPS_CONFLATED, COUNTER, "gaps_total", "why=\"conflated\"",             \
      "gap notices told to clients")                                          \
    X(GAPS_DAMAGED, COUNTER, "gaps_total", "why=\"damaged\"",                 \
      "gap notices told to clients")                                          \
    X(GAPS_VOLATILE, COUNTER, "gaps_total", "why=\"volatile\"",               \
      "gap notices told to clients")                                          \
    X(CUT_QUEUE, COUNTER, "cut_total", "why=\"queue\"",                       \
      "slow readers cut: too much was waiting")                               \
    X(CUT_AGE, COUNTER, "cut_total", "why=\"age\"",                           \
      "slow readers cut: it waited too long")                                 \
    X(CUT_TOTAL, COUNTER, "cut_total", "why=\"queue_total\"",                 \
      "slow readers cut: all queues together were too big")                   \
    X(CUT_UPGRADE, COUNTER, "cut_total", "why=\"upgrade\"",                   \
      "slow readers cut: a successor could not take them over")               \
    X(LEFT_OUT, COUNTER, "left_out_total", "policy=\"drop-oldest\"",          \
      "messages that slow readers did without")                               \
    X(LEFT_OUT_CONFLATED, COUNTER, "left_out_total",                          \
      "policy=\"conflate\"", "messages that slow readers did without")        \
    X(THINNED, COUNTER, "thinned_total", NULL,                                \
      "times that a slow reader's messages were thinned out")                 \
    X(LAGGING, GAUGE, "lagging_connections", NULL,                            \
      "connections that are behind the newest message")                       \
    X(STALLED, GAUGE, "stalled_connections", NULL,                            \
      "connections whose socket takes no more just now")                      \
    X(QUEUED, GAUGE, "queued_bytes", NULL,                                    \
      "bytes kept for connections of their own")                              \
    X(RING_BYTES, GAUGE, "ring_bytes", NULL,                                  \
      "memory that the ring of recent messages stands for")                   \
    X(RING_ENTRIES, GAUGE, "ring_messages", NULL, "messages in the ring")     \
    X(PAGES_BYTES, GAUGE, "pages_bytes", NULL,                                \
      "memory of pages of the store that are kept for others")                \
    X(TOPICS, GAUGE, "gateway_ids", NULL, "ids known in the gateway")         \
    X(DEFLATED, COUNTER, "deflate_total", "result=\"compressed\"",            \
      "messages for WebSockets with compression, each made once")             \
    X(DEFLATE_PLAIN, COUNTER, "deflate_total", "result=\"plain\"",            \
      "messages for WebSockets with compression, each made once")             \
    X(DEFLATE_BEFORE, COUNTER, "deflate_bytes_total", "way=\"before\"",       \
      "bytes of the compressed ones, before and after")                       \
    X(DEFLATE_AFTER, COUNTER, "deflate_bytes_total", "way=\"after\"",         \
      "bytes of the compressed ones, before and after")                       \
    X(INFLATED, COUNTER, "inflate_total", NULL,                               \
      "compressed messages taken from clients")                               \
    X(INFLATE_TOO_BIG, COUNTER, "inflate_refused_total", "why=\"size\"",      \
      "compressed messages of clients that were refused")                     \
    X(INFLATE_TOO_MUCH, COUNTER, "inflate_refused_total", "why=\"ratio\"",    \
      "compressed messages of clients that were refused")                     \
    X(INFLATE_BLOCKS, COUNTER, "inflate_refused_total", "why=\"blocks\"",     \
      "compressed messages of clients that were refused")                     \
    X(INFLATE_BROKEN, COUNTER, "inflate_refused_total", "why=\"broken\"",     \
      "compressed messages of clients that were refused")                     \
    X(GZIP_STREAMS, COUNTER, "gzip_streams_total", NULL,                      \
      "HTTP streams that were begun gzipped")                                 \
    X(GZIP_MESSAGES, COUNTER, "gzip_total", "what=\"message\"",               \
      "texts that were gzipped, each for all who take it")                    \
    X(GZIP_TEXTS, COUNTER, "gzip_total", "what=\"other\"",                    \
      "texts that were gzipped, each for all who take it")                    \
    X(GZIP_AGAIN, COUNTER, "gzip_again_total", NULL,                          \
      "other texts that had been gzipped before")                             \
    X(GZIP_BEFORE, COUNTER, "gzip_bytes_total", "way=\"before\"",             \
      "bytes of the texts that were gzipped, before and after")               \
    X(GZIP_AFTER, COUNTER, "gzip_bytes_total", "way=\"after\"",               \
      "bytes of the texts that were gzipped, before and after")               \
    SPREAD_STATS(X, CANARY_SPREAD, "canary_trip_seconds",                     \
      "how long canaries took through the router and back")                   \
    X(CANARY_TOOK, MICROS, "canary_seconds", "what=\"took\"",                 \
      "through the router and back: the last one, and for how long none")     \
    X(CANARY_AWAY, MICROS, "canary_seconds", "what=\"away\"",                 \
      "through the router and back: the last one, and for how long none")     \
    X(CANARY_LATE, COUNTER, "canary_late_total", NULL,                        \
      "times that no canary came back within process.canary_wait")            \
    X(MUTE_RESTARTS, COUNTER, "mute_restarts_total", NULL,                    \
      "times that touchline replaced this process because it was mute")       \
    X(NNG_STUCK, GAUGE, "nng_stuck", NULL,                                    \
      "1 while NNG does not come back from closing a socket")                 \
    X(LINKED, GAUGE, "linked", NULL, "1 while the router can be reached")     \
    X(REQUESTS, COUNTER, "requests_total", NULL,                              \
      "HTTP requests, also those refused, and what was none")                 \
    X(VISITS, COUNTER, "visits_total", NULL,                                  \
      "times that somebody began to watch the current match over telnet")     \
    X(PROXIED, COUNTER, "proxy_headers_total", NULL,                          \
      "PROXY headers taken from trusted proxies")                             \
    X(PROXY_UNNAMED, COUNTER, "proxy_unnamed_total", NULL,                    \
      "requests whose trusted proxy named no client")                         \
    X(LINK_LOST, COUNTER, "link_lost_total", NULL,                            \
      "times that the link to the router broke")                              \
    LINK_REPAIR_STATS(X)                                                      \
    LIMIT_STATS(X)

enum { GATEWAY_STATS(STAT_AS_ENUM) GATEWAY_STAT_COUNT };

#endif
