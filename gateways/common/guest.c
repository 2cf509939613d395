#include "gateways/common/guest.h"

#include <string.h>

enum { IPV4_BYTES = 4, IPV6_BYTES = 16 };

static size_t address_bytes(int family)
{
    return family == AF_INET ? IPV4_BYTES : family == AF_INET6 ? IPV6_BYTES : 0;
}

/* The length says the family. */
static void write_address(struct buf *b, const struct address *a)
{
    put_str8(b, slice_make(a->bytes, address_bytes(a->family)));
}

static void read_address(struct cursor *c, struct address *a)
{
    struct slice bytes = cursor_str8(c);

    *a = (struct address){0};
    if (bytes.len == IPV4_BYTES)
        *a = address_make(AF_INET, bytes.ptr);
    else if (bytes.len == IPV6_BYTES)
        *a = address_make(AF_INET6, bytes.ptr);
    else if (bytes.len)
        cursor_fail(c);
}

void guest_write(struct buf *b, const struct guest *g)
{
    put_u16(b, g->flags);
    put_u8(b, g->listener);
    write_address(b, &g->share);
    write_address(b, &g->proxied);
    write_address(b, &g->forwarded);
    put_str32(b, g->in);
}

void guest_read(struct cursor *c, struct guest *g)
{
    *g = (struct guest){.flags = cursor_u16(c), .listener = cursor_u8(c)};
    if (g->flags & ~(unsigned)GUEST_FLAGS)
        cursor_fail(c);
    read_address(c, &g->share);
    read_address(c, &g->proxied);
    read_address(c, &g->forwarded);
    g->in = cursor_str32(c);
}
