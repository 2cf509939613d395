#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "gateways/common/forwarded.h"
#include "tests/t/t.h"

/* Ten are proxies of ours, so is a unix socket, and 2001:db8:1::/48. */
static char *nets[] = {(char[]){"10.0.0.0/8"}, (char[]){"unix"},
                       (char[]){"2001:db8:1::/48"}};
static const struct config_edge ours = {
    .trusted_proxies = {.items = nets, .count = ARRAY_LEN(nets)},
};

/* Who asks in a request with these lines; "two": it cannot be said. */
static const char *asks(const char *lines)
{
    static char text[ADDRESS_TEXT_MAX];
    char head[4096];
    int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", lines);
    const struct fault *why = NULL;
    struct request r;
    struct address client = {.family = 99};

    CHECK(n > 0 && (size_t)n < sizeof head);
    if (request_parse(&r, slice_make(head, (size_t)n), &why) < 0)
        return why->code;
    if (forwarded_client(&r, &ours, &client) < 0)
        return client.family == 99 ? "two" : "touched";
    address_text(&client, text);
    return text;
}

#define XFF(list) asks("X-Forwarded-For: " list "\r\n")
#define RFC(list) asks("Forwarded: " list "\r\n")

TEST(the_client_is_the_last_that_is_no_proxy)
{
    EXPECT_STR(XFF("192.0.2.7"), "192.0.2.7");
    EXPECT_STR(XFF("192.0.2.7, 10.0.0.1"), "192.0.2.7");
    EXPECT_STR(XFF("192.0.2.7, 10.0.0.1,10.9.9.9 ,  10.0.0.2"), "192.0.2.7");
    EXPECT_STR(XFF("2001:db8::7, 2001:db8:1::1"), "2001:db8::7");
}

TEST(what_a_client_writes_in_front_counts_for_nothing)
{
    EXPECT_STR(XFF("127.0.0.1, 192.0.2.7"), "192.0.2.7");
    EXPECT_STR(XFF("10.0.0.9, 192.0.2.7, 10.0.0.1"), "192.0.2.7");
    EXPECT_STR(XFF("<script>, \", 192.0.2.7"), "192.0.2.7");
    EXPECT_STR(RFC("for=127.0.0.1, for=192.0.2.7"), "192.0.2.7");
    /* Quotes that are never closed, and that seem to be. */
    EXPECT_STR(RFC("for=\"evil, for=192.0.2.7"), "192.0.2.7");
    EXPECT_STR(RFC("for=\"evil\\, for=192.0.2.7"), "192.0.2.7");
    EXPECT_STR(RFC("x=\"a, for=\"[2001:db8::7]:80\""), "2001:db8::7");
}

TEST(when_all_are_proxies_it_is_the_first)
{
    EXPECT_STR(XFF("10.0.0.3, 10.0.0.2, 10.0.0.1"), "10.0.0.3");
    EXPECT_STR(RFC("for=10.0.0.3, for=10.0.0.2"), "10.0.0.3");
}

TEST(what_is_no_address_ends_the_walk)
{
    EXPECT_STR(XFF("unknown"), "unknown");
    EXPECT_STR(XFF("192.0.2.7, nonsense"), "unknown");
    EXPECT_STR(XFF("192.0.2.7, nonsense, 10.0.0.1"), "10.0.0.1");
    EXPECT_STR(XFF("192.0.2.7, 10.0.0.1:x, 10.0.0.2"), "10.0.0.2");
    EXPECT_STR(RFC("for=192.0.2.7, for=unknown"), "unknown");
    EXPECT_STR(RFC("for=192.0.2.7, for=_hidden"), "unknown");
    EXPECT_STR(RFC("for=192.0.2.7, by=10.0.0.1"), "unknown");
    EXPECT_STR(XFF(""), "unknown");
    EXPECT_STR(asks("Via: 1.1 x\r\nX-Real-IP: 192.0.2.7\r\n"), "unknown");
}

TEST(lines_of_a_field_are_one_list)
{
    EXPECT_STR(asks("X-Forwarded-For: 192.0.2.7\r\nVia: 1.1 x\r\n"
                    "x-forwarded-for: 10.0.0.1\r\nHost: a\r\n"), "192.0.2.7");
    EXPECT_STR(asks("X-Forwarded-For: 192.0.2.7\r\n"
                    "X-Forwarded-For: 192.0.2.8, 10.0.0.2\r\n"
                    "X-Forwarded-For:\r\n"
                    "X-Forwarded-For: 10.0.0.1\r\n"), "192.0.2.8");
    EXPECT_STR(asks("Forwarded: for=192.0.2.7\r\nForwarded: for=10.0.0.1\r\n"),
               "192.0.2.7");
    /* One of another name is none of them. */
    EXPECT_STR(asks("X_Forwarded_For: 192.0.2.7\r\n"
                    "X-Forwarded-For2: 192.0.2.7\r\n"
                    "X-Forwarded-For: 10.0.0.1\r\n"), "10.0.0.1");
}

TEST(empty_elements_are_none)
{
    EXPECT_STR(XFF(", 192.0.2.7, ,, 10.0.0.1 ,"), "192.0.2.7");
    EXPECT_STR(RFC("for=192.0.2.7, , for=10.0.0.1,"), "192.0.2.7");
}

TEST(ports_brackets_and_quotes_are_read)
{
    EXPECT_STR(XFF("192.0.2.7:4000, 10.0.0.1:80"), "192.0.2.7");
    EXPECT_STR(XFF("[2001:db8::7]:4000"), "2001:db8::7");
    EXPECT_STR(XFF("::ffff:192.0.2.7, ::ffff:10.0.0.1"), "192.0.2.7");
    EXPECT_STR(RFC("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
    EXPECT_STR(RFC("by=10.0.0.1;FOR=192.0.2.60;proto=http"), "192.0.2.60");
    EXPECT_STR(RFC("for=\"192.0.2.43:_port\" ; host=\"a,b;c\""), "192.0.2.43");
    EXPECT_STR(RFC("for=\"192\\.0.2.4\\3\""), "192.0.2.43");
    EXPECT_STR(RFC("for=\"\\\"192.0.2.7\\\"\""), "unknown");
}

TEST(a_host_that_a_client_made_up_is_within_quotes)
{
    EXPECT_STR(RFC("for=192.0.2.7;host=\"a;for=192.0.2.8\";proto=https"),
               "192.0.2.7");
    EXPECT_STR(RFC("host=\"a;for=192.0.2.8\";for=192.0.2.7"), "192.0.2.7");
    EXPECT_STR(RFC("for=192.0.2.7;host=\"a, for=192.0.2.8\""), "192.0.2.7");
    EXPECT_STR(RFC("for=192.0.2.7;host=\"\\\", for=192.0.2.8;x=\\\"\""),
               "192.0.2.7");
    EXPECT_STR(RFC("host=\"\\\\\";for=192.0.2.7"), "192.0.2.7");
}

TEST(a_broken_element_of_a_proxy_names_nobody)
{
    EXPECT_STR(RFC("for="), "unknown");
    EXPECT_STR(RFC("for"), "unknown");
    EXPECT_STR(RFC("for=\""), "unknown");
    EXPECT_STR(RFC("for=\"192.0.2.7"), "unknown");
    EXPECT_STR(RFC("for=192.0.2.7\""), "unknown");
    EXPECT_STR(RFC("for=\"192.0.2.7\"x"), "unknown");
    EXPECT_STR(RFC("for=192.0.2.7;for=192.0.2.8"), "unknown");
    EXPECT_STR(RFC("xfor=192.0.2.7"), "unknown");
    EXPECT_STR(RFC("for=\"0000000000000000000000000000000000000000000000000000"
                   "000000000000000000000000000000000000000192.0.2.7\""),
               "unknown");
}

TEST(a_unix_socket_is_a_proxy_when_listed)
{
    const struct config_edge four = {
        .trusted_proxies = {.items = nets, .count = 1}};
    static const char head[] = "GET / HTTP/1.1\r\n"
                               "X-Forwarded-For: 192.0.2.7, unix:\r\n\r\n";
    const struct fault *why;
    struct request r;
    struct address client;

    EXPECT_STR(XFF("192.0.2.7, unix:"), "192.0.2.7");
    EXPECT_STR(XFF("unix:, 10.0.0.1"), "10.0.0.1");
    EXPECT_INT(request_parse(&r, slice_str(head), &why), 0);
    EXPECT_INT(forwarded_client(&r, &four, &client), 0);
    EXPECT(!address_known(&client));
}

TEST(two_fields_must_name_the_same)
{
    EXPECT_STR(asks("X-Forwarded-For: 192.0.2.7\r\n"
                    "Forwarded: for=\"192.0.2.7:80\"\r\n"), "192.0.2.7");
    EXPECT_STR(asks("X-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n"
                    "Forwarded: for=192.0.2.7\r\n"), "192.0.2.7");
    EXPECT_STR(asks("X-Forwarded-For: unknown\r\nForwarded: for=_x\r\n"),
               "unknown");
    EXPECT_STR(asks("X-Forwarded-For: 192.0.2.7\r\nForwarded: for=127.0.0.1\r\n"),
               "two");
    EXPECT_STR(asks("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 127.0.0.1\r\n"),
               "two");
    EXPECT_STR(asks("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: x\r\n"), "two");
}
