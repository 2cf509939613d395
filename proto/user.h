/* user.h - who a process is: root until its ports are bound, never afterwards.
 *
 * A process that was not started as root is whom it was started as; all this
 * then costs nothing and changes nothing but ambient capabilities, which are
 * given up with the rest.
 * Threads: start-up only, before there is a second one. */
#ifndef TOUCHLINE_PROTO_USER_H
#define TOUCHLINE_PROTO_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/base.h"

enum { USER_WHY_MAX = 1024, USER_NAME_MAX = 64, USER_WHOSE_MAX = 192 };

struct user {
    uid_t uid;
    gid_t gid;
    char name[USER_NAME_MAX]; /* as people know it; a number without a name */
    bool known;   /* the system knows the name: it has groups */
    bool changes; /* this process is root, and will be this one */
    bool is_root; /* this process is root, and stays it */
    bool asked;   /* somebody has said so, in as many words */
};

/* Whom to become. wanted: a name or number, as process.user; "": the owner of
 * dir; or `touchline`, when there is such a user and dir is new or empty and
 * can be reached by it; else whoever we are. ERR_NOT_FOUND, and *why says in
 * words what is wrong. */
MUST_USE int user_choose(struct user *ret, const char *wanted, const char *dir,
                         char why[USER_WHY_MAX]);

/* Sees to it that dir is there (0700), u's, and can be reached by u. What is
 * there already and another's is never taken from it, unless it is empty and
 * root's. Nothing when u does not change. ERR_DENIED, ERR_IO with *why. */
MUST_USE int user_own_dir(const struct user *u, const char *dir,
                          char why[USER_WHY_MAX]);

/* "; it belongs to root, and this is ana", to be put behind what could not be
 * done in dir; empty when dir is ours, or not there. Returns ret. */
const char *user_whose(const char *dir, char ret[USER_WHOSE_MAX]);

/* For a while: files are opened and signals sent as u, without a way for u to
 * lead root astray. And back, to bind. ERR_DENIED. */
MUST_USE int user_step_down(const struct user *u);
MUST_USE int user_step_up(const struct user *u);

/* For good: user, groups, capabilities; tries that nothing can be regained.
 * ERR_DENIED with *why; the process must end then. */
MUST_USE int user_become(const struct user *u, char why[USER_WHY_MAX]);

/* All of it, for a process that needs to be root no more: choose, own the
 * directory (unless only_look), become. *why on errors as above. */
MUST_USE int user_settle(struct user *ret, const char *wanted, const char *dir,
                         bool only_look, char why[USER_WHY_MAX]);

#endif
