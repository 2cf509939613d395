/* screen.h - the terminal as a screen: its other page, without echo and cursor,
 * and as it was again on every way out: the end, signals that end or stop the
 * process, a crash.
 * Threads: one; one screen in a process. */
#ifndef TOUCHLINE_TOOLS_SCREEN_H
#define TOUCHLINE_TOOLS_SCREEN_H

#include <stdbool.h>

#include "base/buf.h"

/* Standard output and input are a terminal that can do it. */
bool screen_possible(void);

/* ERR_IO: it will not; nothing has changed. */
MUST_USE int screen_begin(void);
void screen_end(void); /* harmless when it has not begun */

/* Columns and rows now; 80 by 24 where nobody says. */
void screen_size(unsigned *columns, unsigned *rows);

/* Puts a frame in place of the last one: its lines, each at most as wide as the
 * screen and as many as it is high; the rest is left out. Text is UTF-8 of which
 * each character takes a column, and may hold SGR sequences. ERR_IO. */
MUST_USE int screen_show(struct slice text);

#endif
