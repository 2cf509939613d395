#include "gateways/common/proxy_header.h"

#include "base/err.h"

enum { LINE_MAX_V1 = 107 }; /* with CR LF */

static const struct slice begins1 = SLICE_INIT("PROXY ");
static const struct slice begins2 =
    SLICE_INIT("\r\n\r\n\0\r\nQUIT\n");

/* ---- version 1, a line --------------------------------------------------- */

/* Finds CR LF. 0: *line is what stands in front of it. */
static int find_line(struct slice in, struct slice *line)
{
    struct slice most = slice_head(in, LINE_MAX_V1);
    size_t end = slice_find_byte(most, '\r');

    if (end + 1 >= most.len)
        return in.len < LINE_MAX_V1 ? ERR_AGAIN : ERR_BAD;
    if (most.ptr[end + 1] != '\n')
        return ERR_BAD;
    *line = slice_head(most, end);
    return 0;
}

static bool is_port(struct slice s)
{
    uint64_t n;

    return s.len <= 5 && slice_parse_u64(s, &n) == 0 && n <= UINT16_MAX;
}

/* An address as it is, without brackets or port. */
static int read_address(struct slice s, int family, struct address *ret)
{
    struct address a;
    bool six = slice_find_byte(s, ':') < s.len;

    if (six != (family == AF_INET6) || slice_find_byte(s, '[') < s.len ||
        address_parse(s, &a) < 0)
        return ERR_BAD;
    *ret = a;
    return 0;
}

/* "192.0.2.1 192.0.2.9 56324 443" */
static int read_addresses(struct slice rest, int family, struct address *ret)
{
    struct slice from = slice_split(&rest, ' ');
    struct slice to = slice_split(&rest, ' ');
    struct slice from_port = slice_split(&rest, ' ');
    struct address client, server;

    if (read_address(from, family, &client) < 0 ||
        read_address(to, family, &server) < 0 || !is_port(from_port) ||
        !is_port(rest))
        return ERR_BAD;
    *ret = client;
    return 0;
}

static int read_v1(struct slice in, struct proxy_header *ret)
{
    struct proxy_header h = {.len = 0};
    struct slice line = {0}, protocol;
    int rc = find_line(in, &line);

    if (rc < 0)
        return rc;
    h.len = line.len + 2;
    line = slice_from(line, begins1.len);
    protocol = slice_split(&line, ' ');
    if (slice_eq(protocol, SLICE("TCP4")))
        rc = read_addresses(line, AF_INET, &h.client);
    else if (slice_eq(protocol, SLICE("TCP6")))
        rc = read_addresses(line, AF_INET6, &h.client);
    else if (!slice_eq(protocol, SLICE("UNKNOWN")))
        rc = ERR_BAD;
    if (rc == 0)
        *ret = h;
    return rc;
}

/* ---- version 2, binary --------------------------------------------------- */

enum {
    HEAD_V2 = 16,
    VERSION_2 = 2,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    TCP_OVER_IPV4 = 0x11,
    TCP_OVER_IPV6 = 0x21,
};

/* body: what the length covers. */
static int read_body(struct slice body, unsigned family, struct address *ret)
{
    bool four = family == TCP_OVER_IPV4;

    if (!four && family != TCP_OVER_IPV6)
        return 0;
    if (body.len < (four ? 12 : 36))
        return ERR_BAD;
    *ret = address_make(four ? AF_INET : AF_INET6, body.ptr);
    return 0;
}

static int read_v2(struct slice in, struct proxy_header *ret)
{
    struct proxy_header h = {.len = 0};
    unsigned command;
    size_t len;
    int rc = 0;

    if (in.len < HEAD_V2)
        return ERR_AGAIN;
    command = in.ptr[12] & 0xf;
    len = (size_t)in.ptr[14] << 8 | in.ptr[15];
    if (in.ptr[12] >> 4 != VERSION_2 || command > COMMAND_PROXY ||
        len > PROXY_HEADER_MAX - HEAD_V2)
        return ERR_BAD;
    if (in.len - HEAD_V2 < len)
        return ERR_AGAIN;
    h.len = HEAD_V2 + len;
    if (command != COMMAND_LOCAL)
        rc = read_body(slice_make(in.ptr + HEAD_V2, len), in.ptr[13],
                       &h.client);
    if (rc == 0)
        *ret = h;
    return rc;
}

/* ---- which one ----------------------------------------------------------- */

int proxy_header_read(struct slice in, struct proxy_header *ret)
{
    if (slice_starts(in, begins1))
        return read_v1(in, ret);
    if (slice_starts(in, begins2))
        return read_v2(in, ret);
    return slice_starts(begins1, in) || slice_starts(begins2, in)
               ? ERR_AGAIN : ERR_NOT_FOUND;
}
