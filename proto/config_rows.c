#include "proto/config_rows.h"

#include "base/err.h"
#include "proto/endpoint.h"

enum { SECRET_MIN = 16 };

/* --- the rows, and what they check --- */

static int check_endpoint(struct slice text, const char **why)
{
    struct endpoint unused;

    return endpoint_parse(text, &unused, why);
}

static int check_net(struct slice text, const char **why)
{
    struct net unused;

    return net_parse(text, &unused, why);
}

static int check_link_url(struct slice text, const char **why)
{
    struct slice host = slice_from(text, strlen("tcp://"));

    *why = "expected ipc://PATH or tcp://ADDRESS:PORT";
    if (slice_starts(text, SLICE("tcp://")))
        return slice_find_byte(host, ':') < host.len ? 0 : ERR_BAD;
    return slice_starts(text, SLICE("ipc:///")) ? 0 : ERR_BAD;
}

/* A path is put behind it. */
static int check_ws_url(struct slice text, const char **why)
{
    struct slice rest = text, scheme = slice_split(&rest, ':');

    *why = "expected wss://NAME, wss://NAME:PORT, or the same with ws";
    return (slice_eq(scheme, SLICE("ws")) || slice_eq(scheme, SLICE("wss"))) &&
                   slice_starts(rest, SLICE("//")) && rest.len > 2 &&
                   !slice_ends(rest, SLICE("/")) &&
                   slice_find_byte(rest, '"') == rest.len ? 0 : ERR_BAD;
}

static int check_link_secret(struct slice text, const char **why)
{
    *why = "a secret has at least 16 bytes";
    return text.len >= SECRET_MIN ? 0 : ERR_BAD;
}

static int check_token_secret(struct slice text, const char **why)
{
    *why = "a secret has at least 16 bytes, none of them a space";
    return text.len >= SECRET_MIN && slice_find_byte(text, ' ') == text.len
               ? 0
               : ERR_BAD;
}

static int check_absolute(struct slice text, const char **why)
{
    *why = "expected a path from / on";
    return slice_starts(text, SLICE("/")) ? 0 : ERR_BAD;
}

const struct opt_row config_rows[] = {
#define NUMBER(section, key, type, of, member, def, least, most, users,       \
               change, help)                                                  \
    { section, key, OPT_##type, offsetof(struct of, member), def, NULL,       \
      least, most, users, CHANGE_##change, help, NULL },
#define TEXT(section, key, type, of, member, def, check, users, change,       \
             help)                                                            \
    { section, key, OPT_##type, offsetof(struct of, member), def, NULL, 0, 0, \
      users, CHANGE_##change, help, check },
#define WORD(section, key, of, member, def, words, users, change, help)       \
    { section, key, OPT_ENUM, offsetof(struct of, member), def, words, 0, 0,  \
      users, CHANGE_##change, help, NULL },
#define YESNO(section, key, of, member, def, users, change, help)             \
    { section, key, OPT_BOOL, offsetof(struct of, member), def, NULL, 0, 0,   \
      users, CHANGE_##change, help, NULL },
#include "proto/options.def"
#undef NUMBER
#undef TEXT
#undef WORD
#undef YESNO
};

const size_t config_row_count = ARRAY_LEN(config_rows);

bool config_is_section(const struct opt_row *row, const char *section)
{
    return strcmp(row->section, section) == 0;
}

bool config_is_plural(const struct opt_row *row)
{
    return config_is_section(row, "namespace")
           || config_is_section(row, "token");
}
