/* handshake.h - the HTTP request that becomes a WebSocket (RFC 6455 4.2), and
 * the small HTTP answer to one that does not.
 * Threads: any. No I/O. */
#ifndef TOUCHLINE_WS_HANDSHAKE_H
#define TOUCHLINE_WS_HANDSHAKE_H

#include "base/buf.h"
#include "gateways/common/request.h"
#include "gateways/ws/extension.h"
#include "proto/config.h"

enum { HANDSHAKE_ACCEPT = 28 }; /* characters of Sec-WebSocket-Accept */

enum handshake_path { HANDSHAKE_WS, HANDSHAKE_RAW };

struct handshake {
    enum handshake_path path;
    char accept[HANDSHAKE_ACCEPT + 1];
    struct deflate_terms deflate; /* window 0: none was offered, or wanted */
};

/* Is it a handshake that this listener takes? 0, ERR_NOMEM, or ERR_BAD with
 * the answer in *why. at_loopback: as of conn_at_loopback(). */
MUST_USE int handshake_check(const struct request *r,
                             const struct config_edge *cfg, bool at_loopback,
                             struct handshake *ret, const struct fault **why);

/* Appends 101. */
void handshake_accept(struct buf *out, const char *accept,
                      const struct deflate_terms *deflate);

/* Appends a whole answer in JSON, after which the connection closes. r: what
 * has been read of the request, or NULL. retry_s: of 429 and 503. */
void handshake_refuse(struct buf *out, const struct request *r,
                      unsigned status, struct slice code, struct slice text,
                      unsigned retry_s);

#endif
