/* fold.h - ids of teams, made from their names: letters without their accents,
 * in lower case, and digits; nothing else.
 * Threads: any. */
#ifndef TOUCHLINE_TOOLS_FOLD_H
#define TOUCHLINE_TOOLS_FOLD_H

#include <stddef.h>

#include "base/slice.h"

enum { FOLD_MAX = 24 };

/* "Côte d'Ivoire" -> "cotedivoire". Writes the NUL, too; returns the length,
 * which is 0 for a name without any Latin letter or digit. */
size_t fold_name(struct slice name, char out[FOLD_MAX + 1]);

#endif
