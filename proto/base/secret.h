/* secret.h - random bytes, digests, comparing secrets; libcrypto stays behind
 * it, and is loaded with the first digest: ERR_IO when it is not there.
 * Threads: any. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/slice.h"

enum { HMAC_BYTES = 32, SHA1_BYTES = 20 };

/* From the kernel; waits for its pool once after boot, never fails. */
void random_bytes(void *out, size_t len);

/* A random number, all 64 bits. */
uint64_t random_u64(void);

/* HMAC-SHA256 of data under key. ERR_NOMEM, ERR_IO. */
MUST_USE int hmac_sha256(struct slice key, struct slice data,
                         uint8_t ret[HMAC_BYTES]);

/* For the WebSocket handshake, which protects nothing. ERR_NOMEM, ERR_IO. */
MUST_USE int sha1(struct slice data, uint8_t ret[SHA1_BYTES]);

/* Equal? The time depends on the lengths only, not on the bytes. */
bool secret_equal(struct slice a, struct slice b);

/* Overwrites in a way the compiler does not drop. */
void secret_wipe(void *ptr, size_t len);

#endif
