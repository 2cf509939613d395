#include "base/err.h"

#include <errno.h>

#include "tests/t/t.h"

TEST(every_error_has_a_name_and_a_text)
{
    for (int err = -1; err >= ERR_USAGE; err--) {
        EXPECT(strncmp(err_name(err), "ERR_", 4) == 0);
        EXPECT(strcmp(err_name(err), "ERR_UNKNOWN") != 0);
        EXPECT(err_text(err)[0] != '\0');
    }
    EXPECT_STR(err_name(ERR_DAMAGED), "ERR_DAMAGED");
}

TEST(a_number_that_is_no_error_is_unknown)
{
    EXPECT_STR(err_name(0), "OK");
    EXPECT_STR(err_name(1), "ERR_UNKNOWN");
    EXPECT_STR(err_name(ERR_USAGE - 1), "ERR_UNKNOWN");
    EXPECT_STR(err_name(INT32_MIN), "ERR_UNKNOWN");
    EXPECT(!err_is_peers(0));
    EXPECT(!err_is_peers(INT32_MIN));
}

TEST(a_full_disk_is_not_the_peers_doing)
{
    EXPECT_ERR(err_from_errno(ENOSPC), ERR_FULL);
    EXPECT(!err_is_peers(ERR_FULL));
    EXPECT(err_is_peers(ERR_TOO_BIG));
    EXPECT_ERR(err_from_errno(0), ERR_IO);
}
