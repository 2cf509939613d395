/* settings.h - what the command line says, as values.
 * Threads: start-up only. */
#ifndef TOUCHLINE_FLOOD_SETTINGS_H
#define TOUCHLINE_FLOOD_SETTINGS_H

#include "proto/cli.h"

struct settings {
#define FIELD_ENUM     int
#define FIELD_STRING   char *
#define FIELD_COUNT    size_t
#define FIELD_SIZE     size_t
#define FIELD_DURATION int64_t
#define SETTING(name, type, ...) FIELD_##type name;
#include "tools/flood/settings.def"
#undef SETTING
#undef FIELD_ENUM
#undef FIELD_STRING
#undef FIELD_COUNT
#undef FIELD_SIZE
#undef FIELD_DURATION
    bool reset, quiet; /* flags */
    const char *serve; /* NULL: be no server */
};

/* Reads the command line; -1: go on; else the code to exit with, and it has
 * been said why. settings_fini() in any case. */
MUST_USE int settings_init(struct settings *s, struct cli *cli, int argc,
                           char **argv);
void settings_fini(struct settings *s, struct cli *cli);

#endif
