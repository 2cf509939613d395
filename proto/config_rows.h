/* config_rows.h - the rows of options.def, for those who load and print them.
 * Threads: any; constants. */
#ifndef PROTO_CONFIG_ROWS_H
#define PROTO_CONFIG_ROWS_H

#include "proto/config.h"

extern const struct opt_row config_rows[];
extern const size_t config_row_count;

bool config_is_section(const struct opt_row *row, const char *section);

/* Of a section that there may be several of, each with a name: its offset is
 * one in struct config_namespace or config_token, not in struct config. */
bool config_is_plural(const struct opt_row *row);

#endif
