#include "tools/flood/source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "tests/t/t.h"

static struct endpoint at(const char *text)
{
    struct endpoint e;
    const char *why;

    EXPECT(endpoint_parse(slice_str(text), &e, &why) == 0);
    return e;
}

static void expect_bound(const struct source *s, uint64_t n, const char *want)
{
    struct endpoint to = at("127.0.0.1:1");
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    int fd = source_socket(s, &to, n);

    EXPECT(fd >= 0);
    EXPECT(getsockname(fd, (struct sockaddr *)&name, &len) == 0);
    EXPECT_STR(inet_ntoa(name.sin_addr), want);
    EXPECT_INT(name.sin_port, 0);
    close(fd);
}

TEST(on_loopback_there_are_as_many_addresses_as_needed)
{
    struct endpoint to = at("127.0.0.1:8000");
    struct opt_error err;
    struct source s;

    EXPECT_INT(source_init(&s, "", &to, 1000000, &err), 0);
    EXPECT(s.count >= 250);
    EXPECT(source_room(&s) >= 1000000);
    expect_bound(&s, 0, "127.0.0.1");
    expect_bound(&s, 249, "127.0.0.250");
    expect_bound(&s, 250, "127.0.0.1");
    EXPECT_INT(source_init(&s, "", &to, 10000000, &err), 0);
    expect_bound(&s, 253, "127.0.0.254");
    expect_bound(&s, 254, "127.0.1.1");
}

TEST(named_addresses_take_turns)
{
    struct endpoint to = at("127.0.0.1:8000");
    struct opt_error err;
    struct source s;

    EXPECT_INT(source_init(&s, "127.0.0.9, 127.7.0.0/30", &to, 10, &err), 0);
    EXPECT_INT(s.count, 5);
    expect_bound(&s, 0, "127.0.0.9");
    expect_bound(&s, 2, "127.7.0.1");
    expect_bound(&s, 5, "127.0.0.9");
}

TEST(elsewhere_the_kernel_chooses)
{
    struct endpoint to = at("10.1.2.3:8000"), six = at("[::1]:8000");
    struct opt_error err;
    struct source s;

    EXPECT_INT(source_init(&s, "", &to, 1000, &err), 0);
    EXPECT_INT(s.count, 0);
    EXPECT_INT(source_init(&s, "", &six, 1000, &err), 0);
    EXPECT_INT(s.count, 0);
}

TEST(a_wrong_address_is_said)
{
    struct endpoint to = at("127.0.0.1:8000");
    struct opt_error err;
    struct source s;

    EXPECT(source_init(&s, "127.0.0.x", &to, 10, &err) < 0);
    EXPECT(source_init(&s, "::1", &to, 10, &err) < 0);
    EXPECT_INT(source_init(&s, "192.0.2.1", &to, 10, &err), 0);
    EXPECT_INT(source_socket(&s, &to, 0), -EADDRNOTAVAIL);
}
