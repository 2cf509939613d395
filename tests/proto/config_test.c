#include "proto/config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "proto/config_rows.h"
#include "tests/t/t.h"

static struct config *cfg;
static struct opt_error err;

/* Loads the text as a file (NULL: none) and the sets, which NULL ends. */
static int load(const char *text, const char *const *sets)
{
    struct config_source from = { .sets = sets, .dir = test_dir() };

    while (sets && sets[from.set_count])
        from.set_count++;
    if (text) {
        from.file = test_path("t.conf");
        test_write_file(from.file, slice_str(text));
    }
    config_free(cfg);
    cfg = NULL;
    return config_load(&cfg, &from, &err);
}

static const struct config_namespace *rules(const char *id)
{
    return config_namespace(cfg, slice_str(id));
}

TEST(without_a_file_everything_has_its_default)
{
    EXPECT_OK(load(NULL, NULL));
    EXPECT_INT(cfg->http.listen.count, 2);
    EXPECT_STR(cfg->http.listen.items[0], "127.0.0.1:8000");
    EXPECT_STR(cfg->http.listen.items[1], "[::1]:8000");
    EXPECT_STR(cfg->tcp.listen.items[0], "127.0.0.1:9999");
    EXPECT_STR(cfg->ws.listen.items[0], "127.0.0.1:8001");
    EXPECT_INT(cfg->http.instances, 1);
    EXPECT(cfg->ws.workers >= 1);
    EXPECT_INT(cfg->limits.message, 64 * KIB);
    EXPECT_INT(cfg->limits.ping, 25 * SECOND);
    EXPECT_INT(cfg->limits.accept_backlog, 65535);
    EXPECT_INT(cfg->limits.ring_total, 256 * MIB);
    EXPECT(cfg->limits.queue_total > 16 * MIB);
    EXPECT_INT(cfg->log.level, LOG_INFO);
    EXPECT_INT(cfg->token_count, 0);
    EXPECT_STR(cfg->dir, test_dir());
    EXPECT(config_edge(cfg, "ws") == &cfg->ws);
    EXPECT(!config_edge(cfg, "smtp"));
    config_free(cfg);
    config_free(NULL);
}

TEST(the_shipped_namespaces_are_those_of_the_design)
{
    EXPECT_OK(load(NULL, NULL));
    EXPECT_STR(rules("user/ana")->prefix, "");
    EXPECT_INT(rules("user/ana")->history, 1000);
    EXPECT_INT(rules("user/ana")->history_age, 1 * DAY);
    EXPECT(rules("user/ana")->history_bytes == SIZE_MAX);
    EXPECT_INT(rules("user/ana")->durability, DURABILITY_PROCESS);
    EXPECT_INT(rules("user/ana")->publish, PUBLISH_ANYONE);
    EXPECT_INT(rules("user/ana")->slow, SLOW_CUT);
    EXPECT(!rules("user/ana")->presence);
    EXPECT_INT(rules("room/lobby")->history, 1000);
    EXPECT(rules("room/lobby")->presence);
    EXPECT_INT(rules("room/lobby")->slow, SLOW_DROP_OLDEST);
    EXPECT(rules("match/1")->history == SIZE_MAX);
    EXPECT(rules("match/1")->history_age == INT64_MAX);
    EXPECT_INT(rules("match/1")->durability, DURABILITY_POWER);
    EXPECT_INT(rules("match/1")->publish, PUBLISH_LOOPBACK);
    EXPECT_INT(rules("match/1")->slow, SLOW_CONFLATE);
    EXPECT_INT(rules("team/elp")->durability, DURABILITY_POWER);
    EXPECT_INT(rules("volatile/x")->history, 0);
    EXPECT_INT(rules("volatile/x")->durability, DURABILITY_MEMORY);
    EXPECT_STR(rules("match")->prefix, "");
    EXPECT_STR(rules("")->prefix, "");
    config_free(cfg);
}

static bool compresses(const char *channel)
{
    return config_compresses(cfg, slice_str(channel));
}

TEST(only_what_everybody_reads_is_compressed_as_shipped)
{
    EXPECT_OK(load(NULL, NULL));
    EXPECT(compresses("match/1") && compresses("team/elp"));
    EXPECT(compresses("match/*") && compresses("match/**"));
    EXPECT(!compresses("match") && !compresses("user/ana"));
    EXPECT(!compresses("room/lobby") && !compresses("volatile/x"));
    EXPECT(!compresses("**") && !compresses("*/1") && !compresses("*"));
    EXPECT_OK(load("[namespace]\ncompress = yes\n"
                   "[namespace match/secret/]\ncompress = no\n", NULL));
    EXPECT(compresses("user/ana") && compresses("room/*"));
    EXPECT(compresses("match/1") && !compresses("match/secret/1"));
    EXPECT(!compresses("match/**") && !compresses("**"));
    EXPECT(compresses("team/**") && !compresses("match/secret/*"));
    config_free(cfg);
}

TEST(the_longest_prefix_counts_and_takes_the_rest_from_the_next)
{
    EXPECT_OK(load("[namespace room/quiet/vip/]\nhistory = 5\n"
                   "[namespace room/quiet/]\npresence = no\n"
                   "[namespace]\nhistory_age = 2h\n"
                   "[namespace room/]\nslow = cut\n", NULL));
    EXPECT_STR(rules("room/quiet/vip/1")->prefix, "room/quiet/vip/");
    EXPECT_INT(rules("room/quiet/vip/1")->history, 5);
    EXPECT(!rules("room/quiet/vip/1")->presence);
    EXPECT_INT(rules("room/quiet/vip/1")->slow, SLOW_CUT);
    EXPECT_INT(rules("room/quiet/vip/1")->history_age, 2 * HOUR);
    EXPECT_INT(rules("room/quiet/1")->history, 1000);
    EXPECT(rules("room/loud")->presence);
    EXPECT_INT(rules("plain")->history_age, 2 * HOUR);
    EXPECT(rules("match/1")->history_age == INT64_MAX);
    config_free(cfg);
}

TEST(nothing_stored_has_one_form_only)
{
    EXPECT_OK(load("[namespace a/]\nhistory = 0\ndurability = power\n"
                   "[namespace b/]\ndurability = memory\n", NULL));
    EXPECT_INT(rules("a/1")->durability, DURABILITY_MEMORY);
    EXPECT_INT(rules("b/1")->history, 0);
    config_free(cfg);
}

TEST(a_set_overrides_the_file_and_the_last_one_wins)
{
    static const char *const sets[] = { "limits.queue=2M", "limits.queue=3M",
                                        "namespace a.b/c/.history=7",
                                        "http.listen=unix:/x", NULL };

    EXPECT_OK(load("[limits]\nqueue = 1M\npage = 10\n"
                   "[namespace a.b/c/]\nhistory = 6\n", sets));
    EXPECT_INT(cfg->limits.queue, 3 * MIB);
    EXPECT_INT(cfg->limits.page, 10);
    EXPECT_INT(rules("a.b/c/d")->history, 7);
    EXPECT_INT(cfg->http.listen.count, 1);
    config_free(cfg);
}

TEST(tokens_are_found_by_their_secret)
{
    EXPECT_OK(load("[token reporter]\nsecret = 0123456789abcdef\n"
                   "publish = match/, room/press\n"
                   "[token all]\nsecret = fedcba9876543210\npublish = /\n",
                   NULL));
    EXPECT_INT(cfg->token_count, 2);
    EXPECT_STR(config_token(cfg, SLICE("fedcba9876543210"))->name, "all");
    EXPECT_STR(config_token(cfg, SLICE("0123456789abcdef"))->name, "reporter");
    EXPECT(!config_token(cfg, SLICE("0123456789abcdee")));
    EXPECT(!config_token(cfg, SLICE("")));
    EXPECT(config_token_opens(&cfg->tokens[0], SLICE("match/1")));
    EXPECT(config_token_opens(&cfg->tokens[0], SLICE("room/press")));
    EXPECT(!config_token_opens(&cfg->tokens[0], SLICE("room/lobby")));
    EXPECT(config_token_opens(&cfg->tokens[1], SLICE("anything")));
    config_free(cfg);
}

TEST(what_is_wrong_is_said_with_its_place)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "[http]\nlisten = 8000\n", "t.conf:2: http.listen = 8000: expected" },
        { "[http]\nlistne = x\n", "unknown key http.listne; did you mean li" },
        { "[htp]\nlisten = x\n", "unknown section htp; did you mean http?" },
        { "[limits]\nmessage = 2M\n", "limits.message = 2M: it has to be 1K" },
        { "[http]\ntrusted_proxies = 10.0.0.0/40\n", "more bits" },
        { "[http x]\nlisten = x\n", "t.conf:2: [http x]: this section has no" },
        { "[token]\nsecret = 0123456789abcdef\n", "a token needs a name" },
        { "[token a]\nsecret = short\n", "token.secret = ...: a secret has" },
        { "[token a]\npublish = /\n", "[token a]: it has no secret" },
        { "[namespace room/*]\nhistory = 1\n", "without *" },
        { "[namespace]\nhistroy = 1\n", "did you mean history?" },
        { "[router]\nurl = http://x\n", "expected ipc://PATH or tcp://" },
        { "[router]\nurl = tcp://10.0.0.1:7000\n", "needs link.secret" },
        { "[link]\nurl = tcp://router.example:7000\n", "needs link.secret" },
        { "[limits]\nlink_queue = 4M\nlink_batch = 8M\n", "link_queue is smal" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EXPECT_ERR(load(cases[i].text, NULL), ERR_BAD);
        EXPECT_CONTAINS(err.text, cases[i].error);
    }
    EXPECT_OK(load("[router]\nurl = tcp://127.0.0.1:0\n", NULL));
    EXPECT_OK(load("[router]\nurl = tcp://10.0.0.1:7000\n"
                   "[link]\nsecret = 0123456789abcdef\n", NULL));
    config_free(cfg);
}

static struct slice printed(struct buf *out)
{
    buf_reset(out);
    config_print(out, cfg);
    EXPECT(!out->failed);
    return buf_slice(out);
}

TEST(the_printed_configuration_reads_back_to_the_same)
{
    struct buf first = BUF_INIT, second = BUF_INIT;

    EXPECT_OK(load("[http]\norigins = a.example, b.example\nhosts = \"#x\"\n"
                   "[namespace chat/]\nslow = conflate\nhistory_bytes = 10M\n"
                   "[token reporter]\nsecret = 0123456789abcdef\n"
                   "[limits]\nqueue_age = 1500ms\n"
                   "[store]\nfile = x.db\n", NULL));
    printed(&first);
    EXPECT_CONTAINS(buf_text(&first), "# [token reporter]\n");
    EXPECT_CONTAINS(buf_text(&first), "# secret is not shown\n");
    EXPECT(!strstr(buf_text(&first), "0123456789abcdef"));
    EXPECT_OK(load(buf_text(&first), NULL));
    EXPECT_STR(cfg->http.hosts.items[0], "#x");
    EXPECT_INT(cfg->limits.queue_age, 1500 * MILLISECOND);
    EXPECT_INT(rules("chat/1")->history_bytes, 10 * MIB);
    EXPECT_INT(cfg->token_count, 0);
    printed(&second);
    EXPECT(first.len > second.len);
    EXPECT_SLICE(buf_slice(&second), slice_head(buf_slice(&first), second.len));
    buf_fini(&first);
    buf_fini(&second);
    config_free(cfg);
}

TEST(the_printed_configuration_has_every_key_with_its_meaning)
{
    struct buf out = BUF_INIT, manual = BUF_INIT;
    struct slice rest;
    size_t width = 0;

    EXPECT_OK(load(NULL, NULL));
    printed(&out);
    EXPECT_CONTAINS(buf_text(&out), "# longest line a telnet client may send "
                                    "(512 to 2M; default 4K; changes at\n"
                                    "# once)\nline = 4K\n");
    EXPECT_CONTAINS(buf_text(&out), "[namespace match/]\nhistory = all\n");
    for (rest = buf_slice(&out); rest.ptr;)
        width = MAX(width, slice_split(&rest, '\n').len);
    EXPECT(width <= 80 || strlen(test_dir()) > 20);
    config_print_manual(&manual);
    EXPECT_CONTAINS(buf_text(&manual), "## [namespace PREFIX]");
    EXPECT_CONTAINS(buf_text(&manual), "| `queue_total` | `25%` | 1M or more");
    buf_fini(&out);
    buf_fini(&manual);
    config_free(cfg);
}

/* The sample with every key in force: "#key = value" without its mark. */
static void uncomment(struct buf *out, struct slice sample)
{
    for (struct slice line; sample.ptr;) {
        line = slice_split(&sample, '\n');
        if (slice_starts(line, SLICE("#[token")))
            break;
        if (line.len > 1 && line.ptr[0] == '#' && line.ptr[1] != ' ')
            line = slice_from(line, 1);
        buf_add(out, line);
        buf_add_byte(out, '\n');
    }
}

TEST(the_sample_changes_nothing_and_has_every_key_with_its_default)
{
    struct buf wanted = BUF_INIT, got = BUF_INIT, sample = BUF_INIT;
    struct buf active = BUF_INIT;

    EXPECT_OK(load(NULL, NULL));
    config_print_sample(&sample, cfg);
    EXPECT(!sample.failed);
    printed(&wanted);
    EXPECT_OK(load(buf_text(&sample), NULL));
    EXPECT_SLICE(printed(&got), buf_slice(&wanted));
    uncomment(&active, buf_slice(&sample));
    EXPECT_CONTAINS(buf_text(&active), "\nqueue_total = 25%\n");
    EXPECT_OK(load(buf_text(&active), NULL));
    EXPECT_SLICE(printed(&got), buf_slice(&wanted));
    for (size_t i = 0; i < config_row_count; i++) {
        struct buf key = BUF_INIT;

        buf_addf(&key, "\n#%s =", config_rows[i].key);
        EXPECT_CONTAINS(buf_text(&sample), buf_text(&key));
        buf_fini(&key);
    }
    buf_fini(&wanted);
    buf_fini(&got);
    buf_fini(&sample);
    buf_fini(&active);
    config_free(cfg);
}

TEST(the_manual_of_options_is_up_to_date)
{
    struct buf manual = BUF_INIT;
    size_t len;
    char *text = test_read_file("docs/options.md", &len);

    config_print_manual(&manual); /* made by `make docs` */
    EXPECT_SLICE(slice_make(text, len), buf_slice(&manual));
    free(text);
    buf_fini(&manual);
}

TEST(paths_start_in_the_directory_which_is_absolute)
{
    struct config_source from = { .dir = "./some/where" };
    char cwd[4096], *path;
    char *want = NULL;

    EXPECT(getcwd(cwd, sizeof cwd));
    EXPECT_OK(config_load(&cfg, &from, &err));
    EXPECT(asprintf(&want, "%s/some/where/touchline.db", cwd) > 0);
    path = config_path(cfg, cfg->store.file);
    EXPECT_STR(path, want);
    free(path);
    free(want);
    path = config_path(cfg, "/a/b");
    EXPECT_STR(path, "/a/b");
    free(path);
    config_free(cfg);
    from.dir = NULL;
    EXPECT_OK(config_load(&cfg, &from, &err));
    EXPECT(strlen(cfg->dir) == strlen(cwd) + strlen("/var"));
    config_free(cfg);
}

TEST(a_folder_that_is_gone_is_named_as_the_reason)
{
    struct config_source from = { .dir = NULL };

    EXPECT_OK(mkdir("gone", 0700));
    EXPECT_OK(chdir("gone"));
    EXPECT_OK(rmdir("../gone"));
    EXPECT_ERR(config_load(&cfg, &from, &err), ERR_IO);
    EXPECT(strstr(err.text, "No such file") && strstr(err.text, "--dir"));
    from.dir = "/some/where";
    EXPECT_OK(config_load(&cfg, &from, &err));
    config_free(cfg);
}

TEST(without_memory_loading_fails_and_leaks_nothing)
{
    static const char text[] = "[namespace a/]\nhistory = 1\n"
                               "[token t]\nsecret = 0123456789abcdef\n";
    long n = 0;

    for (;; n++) {
        struct config *got = NULL;
        struct config_source from = { .file = test_path("m.conf"),
                                      .dir = "/x" };
        int rc;

        test_write_file(from.file, slice_str(text));
        test_fail_malloc_after(n);
        rc = config_load(&got, &from, &err);
        if (!test_malloc_failed()) {
            EXPECT_OK(rc);
            config_free(got);
            break;
        }
        EXPECT_ERR(rc, ERR_NOMEM);
        EXPECT(!got);
    }
    EXPECT(n > 50);
}

/* ---- secrets ----------------------------------------------------------- */

/* How often these bytes are on the heap; looks without using it. */
static unsigned found_on_heap(struct slice what)
{
    static char maps[65536];
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    uintptr_t from = 0, to = 0;
    unsigned found = 0;
    size_t len = 0;
    ssize_t n;
    char *line;

    while ((n = read(fd, maps + len, sizeof maps - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    line = strstr(maps, "[heap]");
    if (!line) /* a sanitizer has a heap of its own */
        return 0;
    while (line > maps && line[-1] != '\n')
        line--;
    EXPECT_INT(sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to), 2);
    for (const char *at = (const char *)from, *end = (const char *)to;
         (at = memmem(at, (size_t)(end - at), what.ptr, what.len)); at++)
        found++;
    return found;
}

TEST(who_forgets_the_secrets_has_none_left)
{
    struct config_source from = {.file = test_path("c")};
    static char text[4096];

    /* At the far end of what is read in one piece, where nothing that comes
     * later writes over it by chance. */
    for (int i = 0; i < 3800; i++)
        text[i] = i % 50 == 49 ? '\n' : '#';
    strcat(text, "\n[link]\nsecret = canary-of-the-link\n"
                 "[token a]\nsecret = canary-of-a-token\n");
    test_write_file(test_path("c"), slice_str(text));
    EXPECT_OK(config_load(&cfg, &from, &err));
#ifndef DEBUG
    EXPECT_INT(found_on_heap(SLICE("canary-of-")), 2);
#endif
    config_forget_secrets(cfg);
    EXPECT_INT(found_on_heap(SLICE("canary-of-")), 0);
    EXPECT_STR(cfg->link.secret, "");
    EXPECT_STR(cfg->tokens[0].secret, "");
    config_free(cfg);
}
