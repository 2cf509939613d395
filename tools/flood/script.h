/* script.h - what each client does once it is up: steps, one behind the other.
 *
 *     delay(1000, 0.1)    waits 1000 ms, give or take a tenth by chance
 *     receive(3)          waits until three more messages have come
 *     request             asks its question again, waits for the answer (HTTP)
 *     send("PING\r\n")    sends this text; a template (template.h)
 *     repeat(10)          from the beginning, ten times in all; repeat: always
 *
 * Behind the last step the client closes, and a new one takes its place.
 * Spaces, newlines and ; stand between steps.
 * Threads: made at the start, only read then. */
#ifndef TOUCHLINE_FLOOD_SCRIPT_H
#define TOUCHLINE_FLOOD_SCRIPT_H

#include "proto/chance.h"
#include "tools/flood/template.h"

enum script_verb { SCRIPT_DELAY, SCRIPT_RECEIVE, SCRIPT_REQUEST, SCRIPT_SEND,
                   SCRIPT_REPEAT };

struct script_step {
    enum script_verb verb;
    uint32_t count;   /* ms of a delay; messages; repeats, 0: always */
    double deviation; /* of a delay: 0 to 1 */
    struct template text; /* of a send */
};

enum { SCRIPT_STEPS_MAX = 250 }; /* a place in it is one byte */

struct script {
    struct script_step *steps;
    size_t count; /* 0: clients stay */
};

/* ERR_BAD, ERR_NOMEM, and why in *err. A script that repeats for ever without
 * ever waiting is ERR_BAD. */
MUST_USE int script_init(struct script *s, struct slice text,
                         struct opt_error *err);
void script_fini(struct script *s);

/* How long this delay is, this time. */
int64_t script_delay_ns(const struct script_step *s, struct chance *c);

#endif
