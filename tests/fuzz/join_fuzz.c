/* Whatever the bytes at the rendezvous: names are plain, proofs are whole or
 * absent, and a JOIN that is understood says again what it said. */
#include "base/check.h"
#include "proto/frame.h"
#include "proto/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool plain(const char *name)
{
    for (; *name; name++)
        if (*name <= ' ' || *name > '~' || *name == '/')
            return false;
    return true;
}

static void try_request(struct slice in)
{
    struct buf b = BUF_INIT;
    struct join_request r;

    if (join_read_request(in, &r) < 0 || r.version != FRAME_VERSION ||
        r.verb != JOIN_JOIN)
        return;
    CHECK(plain(r.who.name) && plain(r.who.edge));
    CHECK(r.challenge.len == 0 || r.challenge.len == JOIN_NONCE);
    CHECK(r.proof.len == 0 || r.proof.len == HMAC_BYTES);
    CHECK(join_write_join(&b, &r.who, r.resume, r.nonce, r.challenge,
                          NULL) == 0);
    CHECK(slice_starts(buf_slice(&b), r.proven));
    CHECK(!join_proves_peer(&r, "a secret that no input knows"));
    buf_fini(&b);
}

static void try_reply(struct slice in)
{
    struct join_reply r;

    if (join_read_reply(in, &r) < 0 || r.version != FRAME_VERSION)
        return;
    CHECK(r.verb != JOIN_CHALLENGE || r.text.len == JOIN_NONCE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    try_request(slice_make(bytes, len));
    try_reply(slice_make(bytes, len));
    return 0;
}
