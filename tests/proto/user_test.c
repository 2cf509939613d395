#include "proto/user.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/t/t.h"

/* Root is needed to give root up: without it the tests hold the other half,
 * that nothing changes. */
static bool am_root(void)
{
    return geteuid() == 0;
}

enum { SOMEBODY = 61234 };

static struct user choose(const char *wanted, const char *dir)
{
    char why[USER_WHY_MAX] = "";
    struct user u;

    EXPECT_OK(user_choose(&u, wanted, dir, why));
    EXPECT_INT(u.changes, am_root() && u.uid != 0);
    return u;
}

TEST(a_number_needs_no_name)
{
    struct user u = choose("61234", test_path("new"));

    if (!am_root())
        return;
    EXPECT_INT(u.uid, SOMEBODY);
    EXPECT_INT(u.gid, SOMEBODY);
    EXPECT_STR(u.name, "61234");
}

TEST(a_user_that_there_is_not_is_named)
{
    char why[USER_WHY_MAX] = "";
    struct user u;
    int rc = user_choose(&u, "no-such-user", test_dir(), why);

    EXPECT_INT(rc, am_root() ? ERR_NOT_FOUND : 0);
    if (am_root())
        EXPECT_STR(why, "process.user: there is no user no-such-user; "
                   "make it with adduser, or name another");
}

TEST(an_owner_who_cannot_get_there_is_nobody_to_become)
{
    EXPECT(mkdir(test_path("theirs"), 0700) == 0);
    EXPECT(!am_root() || chown(test_path("theirs"), SOMEBODY, SOMEBODY) == 0);
    EXPECT(chmod(test_dir(), 0700) == 0);
    EXPECT_INT(choose("", test_path("theirs")).uid, geteuid());
    EXPECT_INT(geteuid(), getuid());
    EXPECT_INT(getegid(), getgid());
}

TEST(the_owner_of_the_directory_is_the_one_to_become)
{
    EXPECT(chmod(test_dir(), 0755) == 0);
    EXPECT(mkdir(test_path("theirs"), 0700) == 0);
    EXPECT(!am_root() || chown(test_path("theirs"), SOMEBODY, SOMEBODY) == 0);
    EXPECT_INT(choose("", test_path("theirs")).uid,
               am_root() ? SOMEBODY : geteuid());
}

TEST(a_directory_of_root_with_something_in_it_stays_root_s)
{
    struct user u;

    test_write_file(test_path("touchline.db"), SLICE("x"));
    u = choose("", test_dir());
    EXPECT_INT(u.uid, geteuid());
    EXPECT_INT(u.is_root, am_root());
    EXPECT(!u.asked);
}

TEST(what_belongs_to_another_is_not_taken)
{
    char why[USER_WHY_MAX] = "";
    struct user u = choose("61234", test_dir());
    struct stat st;

    test_write_file(test_path("a"), SLICE("x"));
    EXPECT_INT(user_own_dir(&u, test_dir(), why), am_root() ? ERR_DENIED : 0);
    EXPECT(stat(test_dir(), &st) == 0 && st.st_uid == geteuid());
    if (am_root())
        EXPECT_CONTAINS(why, "does not belong to 61234; `chown -R 61234 ");
}

TEST(a_link_to_another_s_directory_is_not_given_away)
{
    char why[USER_WHY_MAX] = "";
    struct user u = choose("61234", test_path("link"));
    struct stat st;

    EXPECT(mkdir(test_path("empty"), 0700) == 0);
    EXPECT(symlink("empty", test_path("link")) == 0);
    EXPECT_INT(user_own_dir(&u, test_path("link"), why),
               am_root() ? ERR_IO : 0);
    EXPECT(stat(test_path("empty"), &st) == 0 && st.st_uid == geteuid());
}

TEST(a_directory_that_cannot_be_reached_is_named)
{
    char why[USER_WHY_MAX] = "";
    struct user u;

    EXPECT(mkdir(test_path("closed"), 0700) == 0);
    u = choose("61234", test_path("closed/var"));
    EXPECT_INT(user_own_dir(&u, test_path("closed/var"), why),
               am_root() ? ERR_DENIED : 0);
    EXPECT_INT(geteuid(), getuid());
    if (am_root())
        EXPECT_CONTAINS(why, "61234 cannot use ");
}

TEST(root_is_given_up_for_good)
{
    char why[USER_WHY_MAX] = "";
    struct user u;
    gid_t groups[64];

    EXPECT(chmod(test_dir(), 0755) == 0);
    u = choose("61234", test_path("var"));
    EXPECT_OK(user_own_dir(&u, test_path("var"), why));
    EXPECT_OK(user_become(&u, why));
    if (!am_root() && getuid() != SOMEBODY)
        return;
    EXPECT_INT(getuid(), SOMEBODY);
    EXPECT_INT(geteuid(), SOMEBODY);
    EXPECT_INT(getegid(), SOMEBODY);
    EXPECT_INT(getgroups((int)ARRAY_LEN(groups), groups), 0);
    EXPECT(setuid(0) < 0);
    EXPECT(seteuid(0) < 0);
    EXPECT(setgid(0) < 0);
    EXPECT(access("/etc/shadow", R_OK) < 0);
}

TEST(stepping_down_is_for_a_while)
{
    struct user u = choose("61234", test_path("var"));
    uid_t before = geteuid();

    EXPECT_OK(user_step_down(&u));
    EXPECT_INT(geteuid(), u.changes ? SOMEBODY : before);
    EXPECT_OK(user_step_up(&u));
    EXPECT_INT(geteuid(), before);
    EXPECT_INT(getegid(), getgid());
}

TEST(whose_a_directory_is_is_said_when_it_is_another_ones)
{
    char said[USER_WHOSE_MAX] = "?";

    EXPECT_STR(user_whose(test_dir(), said), "");
    EXPECT_STR(user_whose(test_path("not-there"), said), "");
    if (!am_root())
        return;
    EXPECT(chown(test_dir(), SOMEBODY, SOMEBODY) == 0);
    EXPECT_STR(user_whose(test_dir(), said),
               "; it belongs to 61234, and this is root");
}

/* The list of whom to end lies in a directory that is not root's. */
TEST(who_has_stepped_down_signals_nobody_of_root_s)
{
    struct user u = choose("61234", test_path("var"));
    pid_t pid = fork();

    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    EXPECT_OK(user_step_down(&u));
    EXPECT_INT(kill(pid, 0) < 0, u.changes);
    EXPECT_OK(user_step_up(&u));
    EXPECT(kill(pid, SIGKILL) == 0);
    EXPECT_INT(waitpid(pid, NULL, 0), pid);
    EXPECT_INT(getuid(), geteuid());
}
