#include "tests/gateways/ws_peer.h"

#include "tests/t/t.h"

static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };

bool peer_unpacks;

void peer_handshake(struct buf *b, const char *target)
{
    peer_handshake_with(b, target, "User-Agent: peer");
}

void peer_handshake_with(struct buf *b, const char *target, const char *line)
{
    buf_addf(b, "GET %s HTTP/1.1\r\nHost: localhost:8001\r\n"
             "Upgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: " PEER_KEY "\r\n"
             "Sec-WebSocket-Version: 13\r\n%s\r\n\r\n", target, line);
}

static void add_number(struct buf *b, unsigned bytes, uint64_t v)
{
    while (bytes--)
        buf_add_byte(b, (uint8_t)(v >> 8 * bytes));
}

void peer_header(struct buf *b, uint8_t first, uint64_t len)
{
    buf_add_byte(b, first);
    if (len < 126) {
        buf_add_byte(b, (uint8_t)(0x80 | len));
    } else if (len < 65536) {
        buf_add_byte(b, 0x80 | 126);
        add_number(b, 2, len);
    } else {
        buf_add_byte(b, 0x80 | 127);
        add_number(b, 8, len);
    }
    buf_add(b, slice_make(mask, sizeof mask));
}

void peer_data(struct buf *b, struct slice payload, uint64_t at)
{
    for (size_t i = 0; i < payload.len; i++)
        buf_add_byte(b, payload.ptr[i] ^ mask[(at + i) & 3]);
}

void peer_frame(struct buf *b, uint8_t first, struct slice payload)
{
    peer_header(b, first, payload.len);
    peer_data(b, payload, 0);
}

void peer_close(struct buf *b, unsigned code, struct slice reason)
{
    struct buf payload = BUF_INIT;

    if (code)
        add_number(&payload, 2, code);
    buf_add(&payload, reason);
    peer_frame(b, PEER_FIN | 8, buf_slice(&payload));
    buf_fini(&payload);
}

static uint64_t number_at(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    while (bytes--)
        v = v << 8 | *p++;
    return v;
}

bool peer_next(struct slice *in, struct peer_in *ret)
{
    unsigned more;
    uint64_t len;

    if (in->len < 2)
        return false;
    EXPECT((in->ptr[0] & (peer_unpacks ? 0x30 : 0x70)) == 0);
    EXPECT((in->ptr[1] & 0x80) == 0);
    len = in->ptr[1];
    more = len == 127 ? 8 : len == 126 ? 2 : 0;
    if (in->len < 2 + more)
        return false;
    if (more)
        len = number_at(in->ptr + 2, more);
    EXPECT(more != 2 || len >= 126);
    EXPECT(more != 8 || len >= 65536);
    if (in->len - 2 - more < len)
        return false;
    ret->op = in->ptr[0] & 15;
    ret->fin = in->ptr[0] & 0x80;
    ret->compressed = in->ptr[0] & 0x40;
    EXPECT(!ret->compressed || ret->op == 1 || ret->op == 2);
    ret->payload = slice_make(in->ptr + 2 + more, (size_t)len);
    *in = slice_from(*in, 2 + more + (size_t)len);
    return true;
}
