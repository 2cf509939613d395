#include "proto/join.h"

#include <string.h>

#include "base/cursor.h"
#include "base/err.h"
#include "proto/frame.h"

/* ---- reading -------------------------------------------------------------- */

static int read_front(struct cursor *c, uint8_t *version, uint8_t *verb)
{
    uint8_t t = cursor_u8(c);
    uint8_t j = cursor_u8(c);

    *version = cursor_u8(c);
    *verb = cursor_u8(c);
    return c->failed || t != 'T' || j != 'J' ? ERR_FRAME : 0;
}

static bool name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Names end up in logs, paths and figures: nothing but plain letters. */
static void read_name(struct cursor *c, char *out, size_t size)
{
    struct slice s = cursor_str8(c);

    if (s.len >= size) {
        cursor_fail(c);
        return;
    }
    for (size_t i = 0; i < s.len; i++) {
        out[i] = (char)s.ptr[i];
        if (!name_byte(s.ptr[i]))
            cursor_fail(c);
    }
    out[s.len] = '\0';
}

/* Nothing at all, or so many bytes. */
static struct slice read_token(struct cursor *c, size_t len)
{
    struct slice s = cursor_str8(c);

    if (s.len != 0 && s.len != len)
        cursor_fail(c);
    return s;
}

void join_read_who(struct cursor *c, struct peer_id *ret)
{
    ret->kind = cursor_u8(c);
    ret->pid = cursor_u32(c);
    ret->life = cursor_u64(c);
    read_name(c, ret->name, sizeof ret->name);
    read_name(c, ret->edge, sizeof ret->edge);
    if (ret->kind >= PEER_KINDS)
        cursor_fail(c);
}

static void read_join(struct cursor *c, struct slice all,
                      struct join_request *r)
{
    struct slice nonce;

    join_read_who(c, &r->who);
    r->resume = cursor_u64(c);
    nonce = cursor_take(c, JOIN_NONCE);
    if (c->failed)
        return;
    memcpy(r->nonce, nonce.ptr, JOIN_NONCE);
    r->proven = slice_head(all, (size_t)(c->pos - all.ptr));
    r->challenge = read_token(c, JOIN_NONCE);
    r->proof = read_token(c, HMAC_BYTES);
}

int join_read_request(struct slice bytes, struct join_request *ret)
{
    struct cursor c = cursor_init(bytes);
    struct join_request r = {.version = 0};

    if (read_front(&c, &r.version, &r.verb) < 0)
        return ERR_FRAME;
    if (r.version == FRAME_VERSION) {
        if (r.verb == JOIN_JOIN)
            read_join(&c, bytes, &r);
        else if (r.verb != JOIN_PROBE)
            cursor_fail(&c);
        if (!cursor_all_read(&c))
            return ERR_FRAME;
    }
    *ret = r;
    return 0;
}

static void read_reply_body(struct cursor *c, struct slice all,
                            struct join_reply *r)
{
    switch (r->verb) {
    case JOIN_OFFER:
        r->session = cursor_u64(c);
        r->text = cursor_str16(c);
        if (c->failed)
            return;
        r->proven = slice_head(all, (size_t)(c->pos - all.ptr));
        r->proof = read_token(c, HMAC_BYTES);
        break;
    case JOIN_CHALLENGE:
        r->text = cursor_str8(c);
        if (r->text.len != JOIN_NONCE)
            cursor_fail(c);
        break;
    case JOIN_REFUSE:
        r->text = cursor_str16(c);
        break;
    case JOIN_ALIVE:
        r->session = cursor_u64(c);
        break;
    default:
        cursor_fail(c);
    }
}

int join_read_reply(struct slice bytes, struct join_reply *ret)
{
    struct cursor c = cursor_init(bytes);
    struct join_reply r = {.version = 0};

    if (read_front(&c, &r.version, &r.verb) < 0)
        return ERR_FRAME;
    if (r.version == FRAME_VERSION || r.verb == JOIN_REFUSE) {
        read_reply_body(&c, bytes, &r);
        if (!cursor_all_read(&c))
            return ERR_FRAME;
    }
    *ret = r;
    return 0;
}

/* ---- proofs --------------------------------------------------------------- */

static int prove(const char *secret, const char *role, struct slice nonce,
                 struct slice challenge, struct slice said,
                 uint8_t ret[HMAC_BYTES])
{
    struct buf b = BUF_INIT;
    int rc = ERR_NOMEM;

    buf_add_str(&b, role);
    buf_add(&b, nonce);
    buf_add(&b, challenge);
    buf_add(&b, said);
    if (!b.failed)
        rc = hmac_sha256(slice_str(secret), buf_slice(&b), ret);
    buf_fini(&b);
    return rc;
}

static int prove_peer(const char *secret, struct slice challenge,
                      struct slice said, uint8_t ret[HMAC_BYTES])
{
    return prove(secret, "touchline peer", slice_make(NULL, 0), challenge,
                 said, ret);
}

static int prove_router(const char *secret, const uint8_t nonce[JOIN_NONCE],
                        struct slice challenge, struct slice said,
                        uint8_t ret[HMAC_BYTES])
{
    return prove(secret, "touchline router", slice_make(nonce, JOIN_NONCE),
                 challenge, said, ret);
}

bool join_proves_peer(const struct join_request *r, const char *secret)
{
    uint8_t want[HMAC_BYTES];

    return r->challenge.len == JOIN_NONCE &&
           prove_peer(secret, r->challenge, r->proven, want) == 0 &&
           secret_equal(slice_make(want, sizeof want), r->proof);
}

bool join_proves_router(const struct join_reply *r, const char *secret,
                        const uint8_t nonce[JOIN_NONCE],
                        struct slice challenge)
{
    uint8_t want[HMAC_BYTES];

    return prove_router(secret, nonce, challenge, r->proven, want) == 0 &&
           secret_equal(slice_make(want, sizeof want), r->proof);
}

/* ---- writing -------------------------------------------------------------- */

static void write_front(struct buf *b, enum join_verb verb)
{
    put_u8(b, 'T');
    put_u8(b, 'J');
    put_u8(b, FRAME_VERSION);
    put_u8(b, (uint8_t)verb);
}

/* On top of what b holds, which is what has been proven. */
static int finish(struct buf *b, int rc, const uint8_t proof[HMAC_BYTES],
                  size_t len)
{
    if (rc < 0)
        return rc;
    put_str8(b, slice_make(proof, len));
    return b->failed ? ERR_NOMEM : 0;
}

void join_write_who(struct buf *b, const struct peer_id *who)
{
    put_u8(b, who->kind);
    put_u32(b, who->pid);
    put_u64(b, who->life);
    put_str8(b, slice_str(who->name));
    put_str8(b, slice_str(who->edge));
}

int join_write_join(struct buf *b, const struct peer_id *who, uint64_t resume,
                    const uint8_t nonce[JOIN_NONCE], struct slice challenge,
                    const char *secret)
{
    uint8_t proof[HMAC_BYTES];
    int rc = 0;

    buf_reset(b);
    write_front(b, JOIN_JOIN);
    join_write_who(b, who);
    put_u64(b, resume);
    put_raw(b, slice_make(nonce, JOIN_NONCE));
    if (secret && challenge.len)
        rc = prove_peer(secret, challenge, buf_slice(b), proof);
    put_str8(b, challenge);
    return finish(b, rc, proof, secret && challenge.len ? HMAC_BYTES : 0);
}

int join_write_offer(struct buf *b, uint64_t session, struct slice address,
                     const struct join_request *answered, const char *secret)
{
    uint8_t proof[HMAC_BYTES];
    int rc = 0;

    buf_reset(b);
    write_front(b, JOIN_OFFER);
    put_u64(b, session);
    put_str16(b, address);
    if (secret)
        rc = prove_router(secret, answered->nonce, answered->challenge,
                          buf_slice(b), proof);
    return finish(b, rc, proof, secret ? HMAC_BYTES : 0);
}

void join_write_probe(struct buf *b)
{
    write_front(b, JOIN_PROBE);
}

void join_write_challenge(struct buf *b, struct slice challenge)
{
    write_front(b, JOIN_CHALLENGE);
    put_str8(b, challenge);
}

void join_write_refuse(struct buf *b, struct slice why)
{
    write_front(b, JOIN_REFUSE);
    put_str16(b, why);
}

void join_write_alive(struct buf *b, uint64_t life)
{
    write_front(b, JOIN_ALIVE);
    put_u64(b, life);
}
