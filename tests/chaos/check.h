/* check.h - judges a run by the logs of those who took part (history.h), and by
 * nothing else.
 *
 *   checker_add()   for each log; reads it once and collects what was published,
 *                   acknowledged, stored, seen: the versions
 *   checker_judge() puts the versions of each channel in order, judges these, then
 *                   walks each subscriber's chain of connections over them
 *
 * The passes, whose names stand in front of what is found:
 *
 *   log       the logs are whole: nothing seen on a closed connection, none
 *             opened while one is open, no answer without a question
 *   numbers   no (epoch, offset) of a channel, no seq is given twice; all agree on
 *             what they name; offsets grow with seq and are dense in the store
 *   acks      what was acknowledged is stored as acknowledged, or trimmed. Of a
 *             channel without history it may be lost with the router's life
 *   ghosts    what is delivered or stored was published, with this text, into this
 *             channel; what was refused is not there
 *   once      a publication is there once at most, however often it was tried;
 *             without history, once in a life of the router
 *   order     a connection sees seq grow over all its ids; no epoch changes
 *             unsaid; what was acknowledged before another was sent has the
 *             smaller seq
 *   whole     a connection sees each message of its ids once, none is missing
 *             that no notice in front of the next message told
 *   notices   what a notice tells is so: exactly that was missed; what is told to
 *             be trimmed is not stored; damage and other epochs only where a fault
 *             was their reason
 *   resume    who comes back with a cursor sees what comes after it
 *   cursor    whoever was given a cursor had been sent all up to it
 *   kept      what slow readers did without they may do without: nothing of
 *             `cut`, no goal, card or substitution, none that no newer one of its
 *             key or state makes up for
 *   state     a snapshot of a match is what its events make, up to its
 *             cursor; one comes where a state was left out
 *   reach     who stayed to the end has everything
 *   live      what is published after all is healed arrives soon
 *   isolation nobody is closed, or told to be slow, but by a fault of its own
 *             edge, or because it did not read
 *   counters  gaps that clients were told are in the system's counter
 *
 * Cost: linear in the bytes of the logs, but for one sort of the versions; 10
 * million lines take seconds and a gigabyte. Threads: one. */
#ifndef TESTS_CHAOS_CHECK_H
#define TESTS_CHAOS_CHECK_H

#include <stdio.h>

#include "base/slice.h"

enum check_pass { CHECK_LOG, CHECK_NUMBERS, CHECK_ACKS, CHECK_GHOSTS,
                  CHECK_ONCE, CHECK_ORDER, CHECK_WHOLE, CHECK_NOTICES,
                  CHECK_RESUME, CHECK_CURSOR, CHECK_KEPT, CHECK_STATE,
                  CHECK_REACH, CHECK_LIVE,
                  CHECK_ISOLATION, CHECK_COUNTERS, CHECK_PASSES };

struct check_options {
    FILE *out;        /* where violations are shown; NULL: nowhere */
    unsigned show;    /* at most so many of each pass */
    int64_t live_ns;  /* `live`: how soon */
    int64_t grace_ns; /* `isolation`: how long after a fault has healed */
};

struct check_figures {
    uint64_t lines, publications, versions, acked, refused, unknown;
    uint64_t stored, delivered, replayed, subscribers, connections, resumed;
    uint64_t gaps, missed, thinned, states, faults, closed_by_peer;
    int64_t slowest_ns; /* of `live` */
    uint64_t found[CHECK_PASSES];
};

struct checker;
struct texts_figures;
struct checker *checker_new(const struct check_options *options);
void checker_free(struct checker *c);
/* Borrows the bytes until the checker is freed. name: for reports. */
void checker_add(struct checker *c, const char *name, struct slice log);
/* Once, after all logs. Returns how many violations there are. */
uint64_t checker_judge(struct checker *c);
/* Instead: by texts alone (texts.h). */
void checker_texts(struct checker *c, struct texts_figures *ret);
const struct check_figures *checker_figures(const struct checker *c);
const char *check_pass_name(enum check_pass pass);

#endif
