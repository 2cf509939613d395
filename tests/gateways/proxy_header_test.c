#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "gateways/common/proxy_header.h"
#include "tests/t/t.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4 "\xc0\x00\x02\x07\x0a\x00\x00\x01\x0f\xa0\x01\xbb" /* 12 bytes */
#define TCP6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" \
             "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x0f\xa0\x01\xbb"

/* Every shorter piece of it needs more; then it names the client, and what
 * follows is not touched. */
static void names(struct slice whole, const char *client)
{
    struct proxy_header h;
    char text[ADDRESS_TEXT_MAX];
    uint8_t more[256] = {0};

    for (size_t len = 0; len < whole.len; len++)
        EXPECT_INT(proxy_header_read(slice_head(whole, len), &h), ERR_AGAIN);
    memcpy(more, whole.ptr, whole.len);
    EXPECT_INT(proxy_header_read(slice_make(more, whole.len + 20), &h), 0);
    EXPECT_INT(h.len, whole.len);
    address_text(&h.client, text);
    EXPECT_STR(text, client);
}

static int read_it(struct slice in)
{
    struct proxy_header h;

    return proxy_header_read(in, &h);
}

static void bad(struct slice in)
{
    EXPECT_INT(read_it(in), ERR_BAD);
}

TEST(a_line_names_the_client_however_it_is_cut)
{
    names(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 4000 443\r\n"), "192.0.2.7");
    names(SLICE("PROXY TCP6 2001:db8::1 2001:db8::2 4000 443\r\n"),
          "2001:db8::1");
    names(SLICE("PROXY TCP6 ::ffff:192.0.2.7 ::1 0 65535\r\n"), "192.0.2.7");
}

TEST(a_line_may_name_nobody)
{
    names(SLICE("PROXY UNKNOWN\r\n"), "unknown");
    names(SLICE("PROXY UNKNOWN ffff::1 whatever 1\r\n"), "unknown");
}

TEST(a_binary_header_names_the_client_however_it_is_cut)
{
    names(SLICE(SIGNATURE "\x21\x11\0\x0c" TCP4), "192.0.2.7");
    names(SLICE(SIGNATURE "\x21\x21\0\x24" TCP6), "2001:db8::1");
    /* What follows the addresses is skipped. */
    names(SLICE(SIGNATURE "\x21\x11\0\x10" TCP4 "\x04\0\1x"), "192.0.2.7");
}

TEST(a_binary_header_may_name_nobody)
{
    names(SLICE(SIGNATURE "\x20\x00\0\0"), "unknown");
    names(SLICE(SIGNATURE "\x20\x11\0\x0c" TCP4), "unknown");
    names(SLICE(SIGNATURE "\x21\x00\0\0"), "unknown");
    names(SLICE(SIGNATURE "\x21\x12\0\x0c" TCP4), "unknown");
    names(SLICE(SIGNATURE "\x21\x22\0\x24" TCP6), "unknown");
    names(SLICE(SIGNATURE "\x21\x31\0\x03/tm"), "unknown"); /* AF_UNIX */
    names(SLICE(SIGNATURE "\x21\x00\0\x03\x04\0\0"), "unknown");
}

TEST(what_begins_otherwise_is_none)
{
    EXPECT_INT(read_it(SLICE("")), ERR_AGAIN);
    EXPECT_INT(read_it(SLICE("G")), ERR_NOT_FOUND);
    EXPECT_INT(read_it(SLICE("POST / HTTP/1.1\r\n")), ERR_NOT_FOUND);
    EXPECT_INT(read_it(SLICE("proxy TCP4")), ERR_NOT_FOUND);
    EXPECT_INT(read_it(SLICE("PROXY\r\n")), ERR_NOT_FOUND);
    EXPECT_INT(read_it(SLICE("\r\n\r\nGET")), ERR_NOT_FOUND);
    EXPECT_INT(read_it(SLICE("\r\n\r\n")), ERR_AGAIN);
}

TEST(a_broken_line_is_refused)
{
    bad(SLICE("PROXY \r\n"));
    bad(SLICE("PROXY TCP5 192.0.2.7 10.0.0.1 4000 443\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 4000\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 4000 443 \r\n"));
    bad(SLICE("PROXY TCP4  192.0.2.7 10.0.0.1 4000 443\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 4000 65536\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n"));
    bad(SLICE("PROXY TCP4 2001:db8::1 10.0.0.1 4000 443\r\n"));
    bad(SLICE("PROXY TCP6 192.0.2.7 ::1 4000 443\r\n"));
    bad(SLICE("PROXY TCP6 [::1] ::1 4000 443\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7\0x 10.0.0.1 4000 443\r\n"));
    bad(SLICE("PROXY TCP4 192.0.2.7 10.0.0.1 4000 443\rGET"));
}

TEST(a_line_without_an_end_is_refused_at_its_longest)
{
    char line[200];

    memset(line, ' ', sizeof line);
    memcpy(line, "PROXY UNKNOWN", 13);
    EXPECT_INT(read_it(slice_make(line, 106)), ERR_AGAIN);
    bad(slice_make(line, 107));
    bad(slice_make(line, sizeof line));
    memcpy(line + 105, "\r\n", 2);
    EXPECT_INT(read_it(slice_make(line, 107)), 0);
    memcpy(line + 105, " \r\n", 3);
    bad(slice_make(line, sizeof line));
}

TEST(a_broken_binary_header_is_refused)
{
    bad(SLICE(SIGNATURE "\x11\x11\0\x0c" TCP4)); /* version 1 */
    bad(SLICE(SIGNATURE "\x22\x11\0\x0c" TCP4)); /* no such command */
    bad(SLICE(SIGNATURE "\x21\x11\0\x0b" TCP4)); /* too short */
    bad(SLICE(SIGNATURE "\x21\x21\0\x23" TCP6));
    bad(SLICE(SIGNATURE "\x21\x11\x10\x00" TCP4)); /* endless */
    EXPECT_INT(read_it(SLICE(SIGNATURE "\x21\x11\x0f\xf0" TCP4)), ERR_AGAIN);
}
