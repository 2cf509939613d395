#include "proto/listen.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "proto/config.h"
#include "proto/endpoint.h"
#include "tests/t/t.h"

static void open_list(struct listen_set *set, const char *address, bool admin)
{
    char *items[] = {(char *)(uintptr_t)address};
    struct opt_list list = {.items = items, .count = 1};
    char why[128];

    EXPECT_INT(listen_open(set, &list, admin, 8, why, sizeof why), 0);
}

TEST(another_worker_gets_sockets_of_the_shared_addresses_alone)
{
    struct listen_set first = {.count = 0}, more = {.count = 0};

    open_list(&first, "127.0.0.1:0", false);
    open_list(&first, "127.0.0.1:0", true);
    EXPECT_INT(first.count, 2);
    EXPECT_INT(listen_again(&more, &first, 8), 0);
    EXPECT_INT(more.count, 1);
    EXPECT_STR(more.at[0].text, first.at[0].text);
    EXPECT(more.at[0].fd != first.at[0].fd && !more.at[0].admin);
    listen_close(&more);
    listen_close(&first);
}

TEST(a_taken_port_is_told_with_its_key_and_what_to_do)
{
    struct listen_set first = {.count = 0}, mine = {.count = 0};
    struct config_edge edge = {.workers = 1};
    char *taken[1], *free_one[] = {(char *)(uintptr_t)"127.0.0.1:0"};
    char why[256];

    open_list(&first, "127.0.0.1:0", false);
    taken[0] = first.at[0].text;
    edge.listen = (struct opt_list){.items = taken, .count = 1};
    EXPECT_INT(listen_edge(&mine, &edge, "http", 8, why, sizeof why),
               ERR_BUSY);
    EXPECT(strstr(why, "; end that, or choose another with http.listen"));
    edge.listen.items = free_one;
    edge.admin = (struct opt_list){.items = taken, .count = 1};
    EXPECT_INT(listen_edge(&mine, &edge, "http", 8, why, sizeof why),
               ERR_BUSY);
    EXPECT(strstr(why, "; end that, or choose another with http.admin"));
    listen_close(&mine);
    mine.count = 0;
    edge.admin.count = 0;
    EXPECT_INT(listen_edge(&mine, &edge, "http", 8, why, sizeof why), 0);
    listen_close(&mine);
    listen_close(&first);
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof value;

    EXPECT_INT(getsockopt(fd, IPPROTO_TCP, name, &value, &len), 0);
    return value;
}

TEST(who_is_silent_is_probed_several_times_before_he_is_given_up)
{
    struct listen_set set = {.count = 0};
    int fd, first, last;

    open_list(&set, "127.0.0.1:0", false);
    fd = set.at[0].fd;
    first = option(fd, TCP_KEEPIDLE);
    last = option(fd, TCP_USER_TIMEOUT) / 1000;
    EXPECT_INT(last, 35);
    EXPECT(first + 4 * option(fd, TCP_KEEPINTVL) < last);
    listen_close(&set);
}

/* A connection is made to this address, or refused. */
static bool reachable(const char *text)
{
    struct endpoint e;
    const char *why;
    int fd, rc;

    CHECK(endpoint_parse(slice_str(text), &e, &why) == 0);
    fd = socket(e.addr.any.sa_family, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    rc = connect(fd, &e.addr.any, e.len);
    CHECK(rc == 0 || errno == ECONNREFUSED);
    close(fd);
    return rc == 0;
}

static unsigned waiting(int fd)
{
    unsigned n = 0;

    for (int c; (c = accept(fd, NULL, NULL)) >= 0; n++)
        close(c);
    return n;
}

/* What a gateway at its files limit relies on, of the kernel as well. */
static void leaves_and_comes_back(const char *address)
{
    struct listen_set first = {.count = 0}, more = {.count = 0};
    const char *text = first.at[0].text;

    open_list(&first, address, false);
    EXPECT_INT(listen_again(&more, &first, 128), 0);
    EXPECT_INT(shutdown(first.at[0].fd, SHUT_RD), 0);
    for (unsigned i = 0; i < 64; i++)
        EXPECT(reachable(text));
    EXPECT_INT(waiting(first.at[0].fd), 0);
    EXPECT_INT(waiting(more.at[0].fd), 64);
    EXPECT_INT(listen(first.at[0].fd, 128), 0);
    EXPECT_INT(shutdown(more.at[0].fd, SHUT_RD), 0);
    EXPECT(reachable(text));
    EXPECT_INT(waiting(first.at[0].fd), 1);
    EXPECT_INT(shutdown(first.at[0].fd, SHUT_RD), 0);
    EXPECT(!reachable(text));
    listen_close(&more);
    listen_close(&first);
}

TEST(a_listener_leaves_its_port_to_the_others_and_comes_back)
{
    leaves_and_comes_back("127.0.0.1:0");
}

TEST(a_listener_of_ipv6_leaves_and_comes_back_as_well)
{
    leaves_and_comes_back("[::1]:0");
}

TEST(what_is_handed_over_beside_sockets_is_found_by_name)
{
    char pid[24];

    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "main:admin:bell", 1);
    EXPECT_INT(listen_handed("bell"), 5);
    EXPECT_INT(listen_handed("main"), 3);
    EXPECT_INT(listen_handed("be"), -1);
    setenv("LISTEN_PID", "1", 1);
    EXPECT_INT(listen_handed("bell"), -1);
}
