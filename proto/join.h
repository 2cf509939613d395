/* join.h - what is said at the rendezvous, byte for byte.
 *
 * Every message: u8 'T', u8 'J', u8 version, u8 verb. This front, and the
 * whole of REFUSE, are the same in all versions, so that a peer of another
 * version gets a refusal that it can read.
 *
 *     JOIN       u8 kind, u32 pid, u64 life, str8 name, str8 edge,
 *                u64 resume, 16 bytes nonce, str8 challenge, str8 proof
 *     PROBE
 *     OFFER      u64 session, str16 address, str8 proof
 *     CHALLENGE  str8 challenge
 *     REFUSE     str16 why
 *     ALIVE      u64 life of the router
 *
 * resume: the session that the peer wants a new line for, or 0. address:
 * where the link's line listens (bus.h); "tcp://:PORT,PORT" stands for these
 * ports of the host at which the rendezvous was found. Where a secret is asked for, a JOIN
 * without proof is answered with a CHALLENGE, and said again with it and
 *
 *     proof = HMAC-SHA256(secret, "touchline peer" + challenge +
 *                                 the JOIN up to its nonce, this included)
 *
 * and the router, so that nobody joins a false one, proves in turn
 *
 *     HMAC-SHA256(secret, "touchline router" + nonce + challenge +
 *                         the OFFER up to its address, this included)
 *
 * No I/O. Threads: any. */
#ifndef TOUCHLINE_PROTO_JOIN_H
#define TOUCHLINE_PROTO_JOIN_H

#include "base/buf.h"
#include "base/cursor.h"
#include "base/secret.h"
#include "proto/rendezvous.h"

enum { JOIN_NONCE = 16, JOIN_MESSAGE_MAX = 1024 };

enum join_verb {
    JOIN_JOIN = 1,
    JOIN_PROBE = 2,
    JOIN_OFFER = 0x81,
    JOIN_CHALLENGE = 0x82,
    JOIN_REFUSE = 0x83,
    JOIN_ALIVE = 0x84
};

struct join_request {
    uint8_t version;
    uint8_t verb; /* JOIN or PROBE; the rest is for JOIN */
    struct peer_id who;
    uint64_t resume;
    uint8_t nonce[JOIN_NONCE];
    struct slice challenge, proof; /* empty, or of full length */
    struct slice proven;           /* what the proof is about */
};
struct join_reply {
    uint8_t version;
    uint8_t verb;
    uint64_t session; /* of OFFER; of ALIVE: the router's life */
    struct slice text; /* address, challenge, or why */
    struct slice proof;
    struct slice proven;
};

/* Of another version only version is filled in, and of a reply the text of a
 * REFUSE. Slices borrow. ERR_FRAME. */
MUST_USE int join_read_request(struct slice bytes, struct join_request *ret);
MUST_USE int join_read_reply(struct slice bytes, struct join_reply *ret);

/* Who asks, as JOIN has it: kind, pid, life, name, edge. What is no name fails
 * the cursor. */
void join_read_who(struct cursor *c, struct peer_id *ret);
void join_write_who(struct buf *b, const struct peer_id *who);

/* secret: NULL, or as above; then challenge is of JOIN_NONCE bytes, and the
 * proof is made here. ERR_NOMEM. */
MUST_USE int join_write_join(struct buf *b, const struct peer_id *who,
                             uint64_t resume,
                             const uint8_t nonce[JOIN_NONCE],
                             struct slice challenge, const char *secret);
MUST_USE int join_write_offer(struct buf *b, uint64_t session,
                              struct slice address,
                              const struct join_request *answered,
                              const char *secret);
void join_write_probe(struct buf *b);
void join_write_challenge(struct buf *b, struct slice challenge);
void join_write_refuse(struct buf *b, struct slice why);
void join_write_alive(struct buf *b, uint64_t life);

/* Does the other side know the secret? */
bool join_proves_peer(const struct join_request *r, const char *secret);
bool join_proves_router(const struct join_reply *r, const char *secret,
                        const uint8_t nonce[JOIN_NONCE],
                        struct slice challenge);

#endif
