/* With a Landlock of before: the wall of files is this test's own. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/err.h"
#include "proto/cage.h"
#include "proto/cage_walls.h"
#include "tests/t/t.h"

static int version;

int wall_files(const struct cage *c, bool read_all)
{
    UNUSED(c);
    UNUSED(read_all);
    return version;
}

static struct cage_report enter(int with, enum sandbox sandbox, int wanted)
{
    struct config *cfg;
    struct opt_error err;
    struct config_source from = {.dir = test_path("var")};
    struct cage_report r;
    struct cage c;

    (void)mkdir(test_path("var"), 0700);
    version = with;
    EXPECT_OK(config_load(&cfg, &from, &err));
    EXPECT_OK(cage_plan(&c, CAGE_GATEWAY, cfg, "http", false));
    EXPECT_INT(cage_enter(&c, sandbox, &r), wanted);
    config_free(cfg);
    return r;
}

TEST(rules_that_an_old_landlock_does_not_have_are_named)
{
    struct cage_report r = enter(2, SANDBOX_AUTO, 0);

    EXPECT_INT(r.landlock, 2);
    EXPECT_STR(r.missing, "landlock for truncation (version 2), landlock for "
               "TCP (version 2), landlock for signals and abstract sockets "
               "(version 2)");
}

TEST(a_landlock_without_scopes_is_not_all_of_it)
{
    EXPECT_STR(enter(5, SANDBOX_ON, ERR_DENIED).missing,
               "landlock for signals and abstract sockets (version 5)");
}

TEST(a_landlock_of_today_misses_nothing)
{
    EXPECT_STR(enter(6, SANDBOX_ON, 0).missing, "");
}
