/* config.h - the configuration of all binaries, with every default filled in.
 * Threads: read by any; never changes. Who reads the file again makes another
 * one (proto/reload.h).
 *
 * What each field means, its bounds and its default: proto/options.def and
 * proto/limits.h. Sizes are bytes, durations nanoseconds, strings never NULL
 * ("" is "not set"). */
#ifndef PROTO_CONFIG_H
#define PROTO_CONFIG_H

#include "base/log.h"
#include "base/opt.h"
#include "proto/limits.h"

enum durability { DURABILITY_MEMORY, DURABILITY_PROCESS, DURABILITY_POWER };
enum publish_by { PUBLISH_ANYONE, PUBLISH_LOOPBACK, PUBLISH_NOBODY,
                  PUBLISH_TOKEN };
enum proxy_protocol { PROXY_AUTO, PROXY_ALWAYS, PROXY_NEVER };
enum sandbox { SANDBOX_AUTO, SANDBOX_ON, SANDBOX_OFF };
enum environment { ENVIRONMENT_LIVE, ENVIRONMENT_STAGING, ENVIRONMENT_DEV };
enum slow_policy { SLOW_CUT, SLOW_DROP_OLDEST, SLOW_CONFLATE };

/* One edge; tcp has no origins, hosts; admin is http's. */
struct config_edge {
    struct opt_list listen;          /* each is valid for endpoint_parse() */
    size_t instances;
    size_t workers;                  /* at least 1 once loaded */
    struct opt_list origins;
    struct opt_list hosts;
    struct opt_list trusted_proxies; /* each is valid for net_parse() */
    int proxy_protocol;              /* enum proxy_protocol */
    struct opt_list admin;
    char *public_url;                /* of ws only; "" or no slash at its end */
    bool deflate;                    /* of ws alone */
    bool websocket;                  /* of http alone */
    bool gzip;                       /* of http alone */
};

struct config_limits {
#define FIELD_SIZE     size_t
#define FIELD_COUNT    size_t
#define FIELD_DURATION int64_t
#define LIMIT_AS_FIELD(X, name, key, type, ...) FIELD_##type key;
    LIMITS(LIMIT_AS_FIELD, )
#undef LIMIT_AS_FIELD
#undef FIELD_SIZE
#undef FIELD_COUNT
#undef FIELD_DURATION
};

/* The rules for ids that start with prefix. Keys that its section does not
 * set are those of the next shorter prefix: room/quiet/ is like room/. */
struct config_namespace {
    char *prefix;          /* "" is the one for all others */
    size_t history;        /* messages per id; SIZE_MAX: all; 0: none */
    int64_t history_age;   /* INT64_MAX: for ever */
    size_t history_bytes;  /* per id; SIZE_MAX: no bound */
    int durability;        /* enum durability; MEMORY is history == 0 */
    int publish;           /* enum publish_by */
    bool presence;
    int slow;              /* enum slow_policy */
    bool compress;
};

struct config_token {
    char *name;
    char *secret;
    struct opt_list publish; /* prefixes of ids; "/" is all */
};

struct config {
    char *dir; /* absolute; database, sockets and logs live there */
    struct {
        char *url;
    } router;
    struct {
        char *url;
        char *secret;
        char *through; /* directory of a repeater, or "" */
    } link;
    struct {
        char *url;
        size_t instances;
    } repeater;
    struct config_edge http, tcp, ws;
    struct {
        char *file; /* for config_path() */
        size_t readers;
        size_t ballast;
        char *backup_dir; /* absolute, or "" */
    } store;
    struct {
        char *user;  /* a name, a number, or "" */
        int sandbox; /* enum sandbox */
        int environment; /* enum environment */
        int64_t canary, canary_wait, canary_restart;
    } process;
    struct {
        int level;  /* enum log_level */
        char *file; /* for config_path(), or "" for standard error */
    } log;
    struct config_limits limits;
    struct config_namespace *namespaces; /* longest prefix first, "" last */
    size_t namespace_count;
    struct config_token *tokens;
    size_t token_count;
};

/* Where it comes from; each later one overrides the earlier. */
struct config_source {
    const char *file;        /* NULL: none */
    const struct slice *text; /* what stands in it; NULL: it is opened */
    const char *const *sets; /* "SECTION.KEY=VALUE", as after --set */
    size_t set_count;
    const char *dir;         /* NULL: ./var */
};

/* ERR_BAD (unknown key, bad value, keys that contradict each other), ERR_IO
 * (a file that cannot be read), ERR_NOMEM; *err says where and what. */
MUST_USE int config_load(struct config **ret, const struct config_source *from,
                         struct opt_error *err);
void config_free(struct config *cfg); /* NULL is fine; wipes the secrets */

/* Wipes link.secret and those of the tokens: for one that only passes the
 * configuration on, and need not keep them. */
void config_forget_secrets(struct config *cfg);

/* Opens the log as the configuration says, with lines that carry name. ERR_IO
 * with errno, ERR_NOMEM. */
MUST_USE int config_log_init(const struct config *cfg, const char *name);

/* A path of the configuration as one that can be opened: a relative one starts
 * in dir. The caller frees it; NULL when out of memory. */
MUST_USE char *config_path(const struct config *cfg, const char *path);

/* Where the router is found, or the repeater that stands in front of it: at the
 * url, or where it is NULL at the one that is written down in the directory, a
 * path that the caller frees (NULL: out of memory). */
const char *config_above_url(const struct config *cfg);
MUST_USE char *config_above_dir(const struct config *cfg);

/* The rules for an id: those of the longest prefix. Never NULL.
 * O(number of namespaces). */
const struct config_namespace *config_namespace(const struct config *cfg,
                                                struct slice id);

/* May what is said on this channel, or on any that this pattern matches, be
 * compressed? Cost: as of config_namespace(). */
bool config_compresses(const struct config *cfg, struct slice channel);

/* The token with this secret, NULL when there is none. All are compared, each
 * in constant time. */
const struct config_token *config_token(const struct config *cfg,
                                        struct slice secret);

/* May the holder publish to this id? */
bool config_token_opens(const struct config_token *t, struct slice id);

/* Keys that are fine alone and wrong together: ERR_BAD, and which. */
MUST_USE int config_check_together(const struct config *cfg,
                                   struct opt_error *err);

/* Makes [namespace PREFIX], with the rules that its ids have anyway, or finds
 * it. NULL: no memory. */
struct config_namespace *config_own_namespace(struct config *cfg,
                                              const char *prefix);

/* The section of an edge, "http", "tcp" or "ws"; NULL for another name. */
const struct config_edge *config_edge(const struct config *cfg,
                                      const char *name);

/* Appends every key, its value and its meaning as a file that config_load()
 * reads back to the same configuration, but for secrets, which are left out. */
void config_print(struct buf *out, const struct config *cfg);

/* Appends the manual of all options, in Markdown. */
void config_print_manual(struct buf *out);

/* Appends a file to begin with: every key as a comment, with its meaning and
 * its default; shipped is a configuration nobody has changed. */
void config_print_sample(struct buf *out, const struct config *shipped);

#endif
