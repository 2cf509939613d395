#include <netinet/in.h>
#include <string.h>

#include "base/err.h"
#include "gateways/common/address.h"
#include "tests/t/t.h"

static void reads(const char *text, const char *as)
{
    struct address a, again;
    char out[ADDRESS_TEXT_MAX];
    struct endpoint e;

    EXPECT_INT(address_parse(slice_str(text), &a), 0);
    address_text(&a, out);
    EXPECT_STR(out, as);
    e = address_endpoint(&a);
    again = address_of(&e.addr.any);
    EXPECT(address_equal(&a, &again));
}

TEST(an_address_is_read_as_proxies_write_it)
{
    reads("192.0.2.1", "192.0.2.1");
    reads("192.0.2.1:8000", "192.0.2.1");
    reads("2001:db8::1", "2001:db8::1");
    reads("[2001:db8::1]", "2001:db8::1");
    reads("[2001:db8::1]:8000", "2001:db8::1");
    reads("::1", "::1");
    reads("192.0.2.1:0", "192.0.2.1");
    reads("192.0.2.1:65535", "192.0.2.1");
    reads("192.0.2.1:_hidden", "192.0.2.1");
    reads("[2001:db8::1]:_hidden", "2001:db8::1");
}

TEST(a_mapped_address_is_the_one_it_stands_for)
{
    reads("::ffff:192.0.2.1", "192.0.2.1");
    reads("[::ffff:192.0.2.1]:80", "192.0.2.1");
}

TEST(what_is_no_address_is_refused)
{
    static const struct slice bad[] = {
        SLICE_INIT(""), SLICE_INIT("unknown"), SLICE_INIT("_hidden"),
        SLICE_INIT("192.0.2"), SLICE_INIT("[192.0.2.1"), SLICE_INIT("[]"),
        SLICE_INIT("]"), SLICE_INIT(":"), SLICE_INIT("192.0.2.1\0x"),
        SLICE_INIT("192.0.2.1:"), SLICE_INIT("192.0.2.1:http"),
        SLICE_INIT("192.0.2.1:65536"), SLICE_INIT("192.0.2.1:-1"),
        SLICE_INIT("[192.0.2.1]"), SLICE_INIT("[192.0.2.1]:80"),
        SLICE_INIT("[2001:db8::1]80"), SLICE_INIT("[2001:db8::1]:"),
        SLICE_INIT("[2001:db8::1]]"), SLICE_INIT("[2001:db8::1"),
        SLICE_INIT("fe80::1%eth0"), SLICE_INIT("[fe80::1%eth0]:80"),
        SLICE_INIT(" 192.0.2.1"), SLICE_INIT("192.0.2.1, 192.0.2.2"),
        SLICE_INIT("0192.0.2.1"), SLICE_INIT("unix:"), SLICE_INIT("unknown:80"),
        SLICE_INIT("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"),
    };
    struct address a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_INT(address_parse(bad[i], &a), ERR_BAD);
}

TEST(who_has_no_address_is_nobody)
{
    struct sockaddr sa = {.sa_family = AF_UNIX};
    struct address a = address_of(&sa);
    char out[ADDRESS_TEXT_MAX];

    EXPECT(!address_known(&a));
    address_text(&a, out);
    EXPECT_STR(out, "unknown");
}
