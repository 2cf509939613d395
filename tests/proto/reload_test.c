#include "proto/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/t/t.h"

static struct opt_error err;
static char told[2048];

static struct config *load(const char *text)
{
    struct slice bytes = slice_str(text);
    struct config_source from = { .file = "t.conf", .text = &bytes,
                                  .dir = test_dir() };
    struct config *cfg;

    if (config_load(&cfg, &from, &err) < 0)
        test_fail(__FILE__, __LINE__, "%s", err.text);
    return cfg;
}

static void note(void *ctx, const struct config_change *c)
{
    struct buf key = BUF_INIT;
    size_t len = strlen(told);

    UNUSED(ctx);
    config_change_key(&key, c);
    snprintf(told + len, sizeof told - len, "%s%s%s", len ? ", " : "",
             c->waits ? "-" : "+", buf_text(&key));
    buf_fini(&key);
}

/* What the second one is behind the first. */
static struct config *adopted(const char *before, const char *after,
                              bool starting)
{
    struct config *now = load(before), *next = load(after);

    told[0] = '\0';
    EXPECT_OK(config_adopt(next, now, starting, note, NULL, &err));
    config_free(now);
    return next;
}

static const struct config_namespace *rules(const struct config *cfg,
                                            const char *id)
{
    return config_namespace(cfg, slice_str(id));
}

TEST(the_same_once_more_changes_nothing)
{
    const char *text = "[http]\norigins = a, b\n[token t]\n"
                       "secret = 0123456789abcdef\npublish = /\n";
    struct config *cfg = adopted(text, text, false);

    EXPECT_STR(told, "");
    config_free(cfg);
}

TEST(a_key_counts_or_keeps_the_value_that_is_in_force)
{
    struct config *cfg = adopted(
        "[http]\nworkers = 2\nlisten = 127.0.0.1:1\n[limits]\nmessage = 2K\n",
        "[http]\nworkers = 3\nlisten = 127.0.0.1:2, 127.0.0.1:3\n"
        "origins = x\n[limits]\nmessage = 4K\nlink_queue = 16M\n", false);

    EXPECT_STR(told, "-http.listen, -http.workers, +http.origins, "
                     "+limits.message, -limits.link_queue");
    EXPECT_INT(cfg->http.workers, 2);
    EXPECT_INT(cfg->http.listen.count, 1);
    EXPECT_STR(cfg->http.listen.items[0], "127.0.0.1:1");
    EXPECT_STR(cfg->http.origins.items[0], "x");
    EXPECT_INT(cfg->limits.message, 4 * KIB);
    EXPECT_INT(cfg->limits.link_queue, 8 * MIB);
    config_free(cfg);
}

TEST(what_a_process_settles_counts_when_it_starts)
{
    struct config *cfg = adopted("[store]\nreaders = 2\n",
                                 "[store]\nreaders = 3\nfile = x.db\n", true);

    EXPECT_STR(told, "-store.file, +store.readers");
    EXPECT_INT(cfg->store.readers, 3);
    EXPECT_STR(cfg->store.file, "touchline.db");
    config_free(cfg);
}

TEST(rules_of_a_namespace_count_at_once_even_where_it_is_new_or_gone)
{
    struct config *cfg = adopted(
        "[namespace a/]\npublish = nobody\nhistory = 5\n",
        "[namespace b/]\nhistory = 7\ndurability = power\n", false);

    EXPECT_STR(told, "+namespace a/.history, +namespace a/.publish, "
                     "+namespace b/.history, +namespace b/.durability");
    EXPECT_INT(rules(cfg, "a/x")->history, 1000);
    EXPECT_INT(rules(cfg, "a/x")->publish, PUBLISH_ANYONE);
    EXPECT_INT(rules(cfg, "b/x")->history, 7);
    EXPECT_INT(rules(cfg, "b/x")->durability, DURABILITY_POWER);
    config_free(cfg);
}

TEST(whether_anything_is_kept_and_presence_wait_for_the_router)
{
    struct config *cfg = adopted(
        "[namespace a/]\nhistory = 0\n[namespace c/]\npresence = yes\n",
        "[namespace a/]\nhistory = 5\npublish = nobody\n"
        "[namespace b/]\nhistory = 0\n[namespace c/]\npresence = no\n", false);

    EXPECT_STR(told, "-namespace a/.history, -namespace a/.durability, "
                     "+namespace a/.publish, -namespace b/.history, "
                     "-namespace b/.durability, -namespace c/.presence");
    EXPECT_INT(rules(cfg, "a/x")->history, 0);
    EXPECT_INT(rules(cfg, "a/x")->durability, DURABILITY_MEMORY);
    EXPECT_INT(rules(cfg, "a/x")->publish, PUBLISH_NOBODY);
    EXPECT_INT(rules(cfg, "b/x")->history, 1000);
    EXPECT_INT(rules(cfg, "b/x")->durability, DURABILITY_PROCESS);
    EXPECT(rules(cfg, "c/x")->presence);
    config_free(cfg);
}

TEST(a_namespace_that_is_gone_stays_as_far_as_its_channels_are_settled)
{
    struct config *cfg = adopted("[namespace a/]\nhistory = 0\npublish = nobody\n",
                                 "", false);

    EXPECT_STR(told, "-namespace a/.history, -namespace a/.durability, "
                     "+namespace a/.publish");
    EXPECT_INT(rules(cfg, "a/x")->history, 0);
    EXPECT_INT(rules(cfg, "a/x")->publish, PUBLISH_ANYONE);
    EXPECT_INT(rules(cfg, "b/x")->history, 1000);
    EXPECT_INT(rules(cfg, "")->history, 1000);
    config_free(cfg);
}

TEST(a_token_is_the_same_with_name_and_secret)
{
    static const char *const before =
        "[token a]\nsecret = aaaaaaaaaaaaaaaa\npublish = x/\n"
        "[token b]\nsecret = bbbbbbbbbbbbbbbb\npublish = x/\n"
        "[token c]\nsecret = cccccccccccccccc\npublish = x/\n";
    static const char *const after =
        "[token a]\nsecret = aaaaaaaaaaaaaaaa\npublish = y/\n"
        "[token b]\nsecret = dddddddddddddddd\npublish = x/\n"
        "[token e]\nsecret = cccccccccccccccc\npublish = x/\n";
    struct config *now = load(before), *next = adopted(before, after, false);
    const struct config_token *a = config_same_token(next, &now->tokens[0]);

    EXPECT_STR(told, "+token a.publish, +token b.secret, +token e.secret, "
                     "+token e.publish, +token c.secret, +token c.publish");
    EXPECT(a && config_token_opens(a, SLICE("y/1")));
    EXPECT(!config_same_token(next, &now->tokens[1]));
    EXPECT(!config_same_token(next, &now->tokens[2]));
    config_free(now);
    config_free(next);
}

TEST(what_contradicts_a_value_that_stays_is_refused)
{
    struct config *now = load(""), *next = load("[limits]\nlink_queue = 64M\n"
                                                "link_batch = 32M\n");

    EXPECT_OK(config_adopt(next, now, false, NULL, NULL, &err));
    EXPECT_INT(next->limits.link_batch, 4 * MIB);
    config_free(next);
    next = load("[router]\nurl = tcp://192.0.2.1:1\n[link]\n"
                "secret = 0123456789abcdef\n");
    EXPECT_OK(config_adopt(next, now, false, NULL, NULL, &err));
    EXPECT_STR(next->router.url, "");
    config_free(next);
    config_free(now);
}

/* A larger batch than the other end takes would break the link again and again;
 * who expects a canary more often than it is sent calls its sender mute. */
TEST(what_both_ends_of_a_link_go_by_waits_for_a_start_of_both)
{
    struct config *now = load("");
    struct config *next = adopted("", "[limits]\nlink_batch = 6M\n"
                                      "[process]\ncanary = 20s\n", true);

    EXPECT_INT(next->limits.link_batch, now->limits.link_batch);
    EXPECT_INT(next->process.canary, now->process.canary);
    config_free(next);
    config_free(now);
}

TEST(who_reads_a_key_is_who_is_concerned)
{
    struct config *now = load(""), *next = load("[http]\norigins = x\n");
    struct opt_row row = { .section = "s", .key = "k", .users = "router http" };
    struct config_change c = { .row = &row };

    EXPECT(config_change_concerns(&c, "http"));
    EXPECT(config_change_concerns(&c, "router"));
    EXPECT(!config_change_concerns(&c, "ws"));
    row.users = "all";
    EXPECT(config_change_concerns(&c, "ws"));
    EXPECT_STR(config_change_text(&c).text, "key=\"s.k\" changes=\"at once\"");
    config_free(now);
    config_free(next);
}

TEST(whatever_fails_to_be_allocated_is_no_memory)
{
    struct config *now = load("[http]\nlisten = 127.0.0.1:1\n"
                              "[namespace a/]\nhistory = 0\n");

    for (long n = 0;; n++) {
        struct config *next = load("[http]\nlisten = 127.0.0.1:2\n");
        bool failed;
        int rc;

        test_fail_malloc_after(n);
        rc = config_adopt(next, now, false, NULL, NULL, &err);
        failed = test_malloc_failed();
        config_free(next);
        if (!failed)
            break;
        EXPECT_INT(rc, ERR_NOMEM);
    }
    config_free(now);
}
