#include "proto/endpoint.h"

#include "base/err.h"
#include "tests/t/t.h"

static struct endpoint e;
static const char *why;

TEST(addresses_are_read_and_written_back)
{
    static const char *const same[] = {
        "127.0.0.1:8000", "[::1]:0", "[2001:db8::1]:65535", "unix:/run/x.sock",
        "0.0.0.0:80", "unix:x",
    };
    char text[ENDPOINT_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        EXPECT_OK(endpoint_parse(slice_str(same[i]), &e, &why));
        endpoint_text(&e, text);
        EXPECT_STR(text, same[i]);
    }
    EXPECT_OK(endpoint_parse(SLICE("*:7"), &e, &why));
    endpoint_text(&e, text);
    EXPECT_STR(text, "[::]:7");
    EXPECT_OK(endpoint_parse(SLICE("LocalHost:7"), &e, &why));
    EXPECT_INT(endpoint_port(&e), 7);
    endpoint_set_port(&e, 9);
    endpoint_text(&e, text);
    EXPECT_STR(text, "127.0.0.1:9");
}

TEST(what_is_no_address_is_refused_with_a_reason)
{
    static const char *const bad[] = {
        "", "8000", ":8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:08", "::1:8000", "[::1]", "[127.0.0.1]:80",
        "example.org:80", "1.2.3:80", "unix:", "[::1]:80:80", " 127.0.0.1:80",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        why = NULL;
        EXPECT_ERR(endpoint_parse(slice_str(bad[i]), &e, &why), ERR_BAD);
        EXPECT(why);
    }
    EXPECT_ERR(endpoint_parse(SLICE("127.0.0.1\0:80"), &e, &why), ERR_BAD);
}

TEST(a_unix_path_may_be_107_bytes_long)
{
    char text[5 + 108 + 1] = "unix:";

    memset(text + 5, 'p', 108);
    EXPECT_ERR(endpoint_parse(slice_make(text, 5 + 108), &e, &why), ERR_BAD);
    EXPECT_OK(endpoint_parse(slice_make(text, 5 + 107), &e, &why));
}

static bool loopback(const char *text)
{
    EXPECT_OK(endpoint_parse(slice_str(text), &e, &why));
    return endpoint_is_loopback(&e);
}

TEST(loopback_is_what_only_this_machine_reaches)
{
    EXPECT(loopback("127.0.0.1:80") && loopback("127.9.9.9:80"));
    EXPECT(loopback("[::1]:80") && loopback("unix:/x"));
    EXPECT(loopback("[::ffff:127.0.0.1]:80"));
    EXPECT(!loopback("0.0.0.0:80") && !loopback("*:80"));
    EXPECT(!loopback("128.0.0.1:80") && !loopback("[::2]:80"));
}

static bool has(const char *network, const char *address)
{
    struct net n;

    EXPECT_OK(net_parse(slice_str(network), &n, &why));
    EXPECT_OK(endpoint_parse(slice_str(address), &e, &why));
    return net_has(&n, &e.addr.any);
}

TEST(a_network_has_the_addresses_that_share_its_bits)
{
    EXPECT(has("10.0.0.0/8", "10.255.0.1:1"));
    EXPECT(!has("10.0.0.0/8", "11.0.0.1:1"));
    EXPECT(has("10.1.2.3", "10.1.2.3:1"));
    EXPECT(!has("10.1.2.3", "10.1.2.2:1"));
    EXPECT(has("192.168.4.0/22", "192.168.7.255:1"));
    EXPECT(!has("192.168.4.0/22", "192.168.8.0:1"));
    EXPECT(has("0.0.0.0/0", "8.8.8.8:1"));
    EXPECT(!has("0.0.0.0/0", "[2001:db8::1]:1"));
    EXPECT(has("2001:db8::/33", "[2001:db8:7fff::1]:1"));
    EXPECT(!has("2001:db8::/33", "[2001:db8:8000::1]:1"));
    EXPECT(has("10.0.0.0/8", "[::ffff:10.1.1.1]:1"));
    EXPECT(has("::/0", "[2001:db8::1]:1") && !has("::/0", "8.8.8.8:1"));
    EXPECT(has("::1/128", "[::1]:1") && !has("::1/128", "[::2]:1"));
    EXPECT(has("10.1.2.3/32", "10.1.2.3:1") && !has("10.1.2.3/32", "10.1.2.2:1"));
    /* Bits behind the network's are not looked at. */
    EXPECT(has("10.1.2.3/24", "10.1.2.9:1") && has("10.1.2.3/31", "10.1.2.2:1"));
    EXPECT(has("2001:db8::7/127", "[2001:db8::6]:1"));
    /* A mapped address stands for IPv4, in a network, too. */
    EXPECT(has("::ffff:10.1.2.3", "10.1.2.3:1"));
    EXPECT(has("unix", "unix:/x"));
    EXPECT(!has("unix", "127.0.0.1:1"));
    EXPECT(!has("127.0.0.1", "unix:/x"));
}

TEST(what_is_no_network_is_refused)
{
    static const char *const bad[] = { "", "/8", "10.0.0.0/", "10.0.0.0/33",
                                       "::/129", "10.0.0/8", "*", "10.0.0.0/8x",
                                       "10.0.0.0/-1", "host" };
    struct net n;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        EXPECT_ERR(net_parse(slice_str(bad[i]), &n, &why), ERR_BAD);
}
