#include "proto/listen.h"

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
