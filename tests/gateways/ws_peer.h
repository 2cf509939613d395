/* ws_peer.h - the client's half of RFC 6455, for tests: masked frames out,
 * the server's frames in. */
#ifndef TESTS_WS_PEER_H
#define TESTS_WS_PEER_H

#include "base/buf.h"

#define PEER_KEY "dGhlIHNhbXBsZSBub25jZQ==" /* of RFC 6455 1.3 */

enum { PEER_FIN = 0x80 };

/* The handshake's request for this target ("/v1/ws?channel=a"). */
void peer_handshake(struct buf *b, const char *target);
/* The same with one more line, or several with CR LF between. */
void peer_handshake_with(struct buf *b, const char *target, const char *line);

/* A masked frame; first: FIN, RSV bits and opcode. */
void peer_frame(struct buf *b, uint8_t first, struct slice payload);
/* The same in its two parts, for payloads that come in pieces. */
void peer_header(struct buf *b, uint8_t first, uint64_t len);
void peer_data(struct buf *b, struct slice payload, uint64_t at);
/* code 0: without one. */
void peer_close(struct buf *b, unsigned code, struct slice reason);

/* A server's frame, as it lies in front of *in, which goes behind it. False:
 * it is not all there. Fails the test on anything a server must not send,
 * which is a compressed message, too, but for who has set peer_unpacks. */
extern bool peer_unpacks;
struct peer_in {
    uint8_t op;
    bool fin, compressed;
    struct slice payload;
};
bool peer_next(struct slice *in, struct peer_in *ret);

#endif
