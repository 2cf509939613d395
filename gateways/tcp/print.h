/* print.h - what strangers wrote, as lines that a terminal can stand.
 *
 * Whatever is in a message, a line that leaves here is UTF-8 without C0 and C1
 * controls, DEL and the controls that turn the direction of text; so it has
 * no 0xff either, and no telnet command. Functions append to b, whose failure
 * sticks. Threads: any. */
#ifndef TOUCHLINE_TCP_PRINT_H
#define TOUCHLINE_TCP_PRINT_H

#include "base/buf.h"
#include "gateways/common/edge.h"

/* Text as it is; a line feed as \n, other unsafe characters and those of
 * `more` (ASCII; with "\n" in it line feeds, too) as \xHH, above U+007F as
 * \u{H}; a byte that is not UTF-8 as \xHH. So that no text looks like another
 * one, a backslash in front of n, x or u is \x5c; all others are themselves. */
void print_safe(struct buf *b, struct slice text, const char *more);

/* A checked value as it was sent, CR and LF as spaces, unsafe characters as
 * \xHH and \u{H}, which are no escapes of JSON. */
void print_json(struct buf *b, struct slice raw);

/* <channel> <cursor> <from or ->: <text> CR LF. cursor: empty prints "-"; from
 * "-" prints \x2d.
 * JSON stands in the line as it was sent, with a kind as
 * {"kind":...,"data":...}, the form that publishes it. */
void print_message(struct buf *b, const struct msg *m, struct slice cursor);

/* NOTICE <what> <channel> <cursor> key=value ... CR LF, one line for each of
 * the notice's channels; the keys of a state are those of the JSON object. */
void print_notice(struct buf *b, const struct notice *n);

#endif
