#include "gateways/http/zstream.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

/* What has been put in the visit under way: where the stream stands behind each
 * message. */
static _Thread_local struct zstream places[OUTVEC_MARKS];

static void put_chunk(struct conn *c, struct buf *piece)
{
    struct buf *out = conn_out(c);

    if (piece->failed) {
        conn_abort(c, "memory");
    } else if (piece->len) {
        buf_addf(out, "%zx\r\n", piece->len);
        buf_add(out, buf_slice(piece));
        buf_add_str(out, "\r\n");
    }
    buf_fini(piece);
}

static void add_text(struct zstream *z, struct conn *c, struct slice text,
                     struct buf *piece)
{
    struct gateway *g = conn_gateway(c);
    struct packer *p = packer_of(g);

    z->text = 0;
    z->pings = 0;
    gzip_sum_text(&z->sum, text);
    if (p)
        packer_text(p, g, text, piece);
    else
        gzip_store(text, piece);
}

struct zstream *zstream_new(struct conn *c, unsigned form, struct slice text)
{
    struct zstream *z = calloc(1, sizeof *z);
    struct buf piece = BUF_INIT;

    if (!z) {
        conn_abort(c, "memory");
        return NULL;
    }
    z->form = (uint8_t)form;
    gzip_begin(&piece);
    add_text(z, c, text, &piece);
    put_chunk(c, &piece);
    return z;
}

void zstream_say(struct zstream *z, struct conn *c, struct slice text)
{
    struct buf piece = BUF_INIT;

    add_text(z, c, text, &piece);
    put_chunk(c, &piece);
}

void zstream_ping(struct zstream *z, struct conn *c)
{
    struct slice text = form_ping(z->form);
    struct buf piece = BUF_INIT;

    gzip_sum_text(&z->sum, text);
    gzip_store(text, &piece);
    if (z->pings < PACKED_PINGS)
        z->pings++;
    else
        z->text = 0;
    put_chunk(c, &piece);
}

enum put_result zstream_put(struct zstream *z, struct conn *c, struct msg *m,
                            struct outvec *v)
{
    unsigned n = outvec_messages(v);
    const struct zstream *from = n ? &places[n - 1] : z;
    struct said said = {from->text, from->pings};
    struct packer *p = packer_of(conn_gateway(c));
    struct packed packed;

    if (NEVER(n >= OUTVEC_MARKS))
        return PUT_FULL;
    if (!p || packer_message(p, c, z->form, m, &said, &packed) < 0) {
        conn_abort(c, "memory");
        return PUT_FULL;
    }
    places[n] = *from;
    places[n].text = packed.text;
    places[n].pings = 0;
    packer_add(p, &places[n].sum, &packed);
    outvec_part(v, packed.wire, packed.from, packed.len);
    return PUT_OK;
}

void zstream_taken(struct zstream *z, unsigned messages)
{
    if (!NEVER(messages == 0 || messages > OUTVEC_MARKS))
        *z = places[messages - 1];
}

void zstream_end(const struct zstream *z, struct conn *c)
{
    struct buf piece = BUF_INIT;

    gzip_end(&z->sum, &piece);
    put_chunk(c, &piece);
}

/* ---- a successor takes over --------------------------------------------- */

FROZEN_SIZE(struct zstream, 24);

void zstream_freeze(const struct zstream *z, struct buf *b)
{
    put_u32(b, z->sum.crc);
    put_u32(b, z->sum.len);
}

int zstream_thaw(struct zstream **ret, unsigned form, struct cursor *in)
{
    struct zstream *z = calloc(1, sizeof *z);

    if (!z)
        return ERR_NOMEM;
    z->form = (uint8_t)form;
    z->sum.crc = cursor_u32(in);
    z->sum.len = cursor_u32(in);
    *ret = z;
    return 0;
}
