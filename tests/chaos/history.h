/* history.h - the log in which clients say what they did and saw, and a driver
 * what it broke: the only thing that `check` reads.
 *
 * A line is an event: words split by one space, ended by LF. All lines begin
 *
 *   KIND TIME WHO
 *
 * TIME in nanoseconds of CLOCK_MONOTONIC, one clock for all; WHO a number, of
 * publishers and of subscribers apart, unique in the run. One file belongs to
 * one process, whose lines stand in the order in which they were; files are
 * read in any order. What a client does is written before it does it, what it
 * sees when it has seen it. "-" stands for what is not known or not there.
 *
 * Publishers. NUMBER counts the publications of one publisher, from 1. The text
 * that is published names itself (payload.h), so whoever sees it knows whose it
 * is. A publication that is tried again is invoked again, with its number.
 *
 *   I TIME PUBLISHER NUMBER CHANNEL LEVEL HASH KEY EVENT  about to be sent
 *   A TIME PUBLISHER NUMBER EPOCH SEQ OFFSET FLAGS  acknowledged; d: duplicate
 *   R TIME PUBLISHER NUMBER CODE                 refused: it did not happen
 *   U TIME PUBLISHER NUMBER CODE                 unknown: perhaps it did
 *
 * LEVEL is what the acknowledgement promises: memory, process or power. KEY is
 * the conflation key, EVENT what it says to a match or a team (event.h). SEQ and
 * OFFSET are "-" where an edge does not tell them.
 *
 * Subscribers. A subscriber is a chain of connections, CONN = 1, 2, 3 ..., of
 * which one is open at a time. A poll is a connection.
 *
 *   O TIME SUBSCRIBER CONN EDGE FORM             about to connect
 *   S TIME SUBSCRIBER CONN SINCE CHANNELS        about to subscribe
 *   B TIME SUBSCRIBER CONN                       all of it is in force
 *   M TIME SUBSCRIBER CONN CHANNEL EPOCH SEQ OFFSET HASH PUBLISHER NUMBER FLAGS
 *   N TIME SUBSCRIBER CONN WHAT CHANNELS EPOCH SEQ FROM TO COUNT WHY
 *   D TIME SUBSCRIBER CONN CHANNEL EPOCH FIRST LAST SEQ SUM
 *   P TIME SUBSCRIBER CONN CHANNEL EPOCH SEQ STATE  behind its N: the state
 *   H TIME SUBSCRIBER CONN little                its kernel takes little for it
 *   H TIME SUBSCRIBER CONN stops | reads         it reads nothing from now on
 *   E TIME SUBSCRIBER CONN WHO WHY               the connection has ended
 *
 * EDGE is http, tcp or ws, the kind of process that serves it; FORM how it is
 * read: ndjson sse poll test ws raw telnet; at other people's routers, whose
 * clients write what those tell (peers/, texts.h), mqtt as well. CHANNELS are channels and patterns
 * split by commas; SINCE a cursor, 0, or "-" for none. A second S on a
 * connection adds to it. M is a message: its numbers as told ("-" where the
 * form has none), the hash of the text that came, what the text says of itself;
 * FLAGS are "-", or r: it is marked as replayed. N is a notice; WHAT is
 * snapshot, resumed, gap, join, leave or closing; EPOCH and SEQ its cursor; or
 * cursor, when an answer ends in one: everything up to there has been told. D
 * stands for a run of messages of one channel that were seen without a hole,
 * in order: offsets FIRST to LAST, SEQ of the last, and the sum modulo 2^64 of
 * all their hashes. STATE is a match's in one word (event.h). E says WHO ended
 * it, `self` or `peer`, and WHY: a close code, an error's code, `end` (in order),
 * `cut` (in the middle) or `reset`.
 *
 * The driver, whose WHO is 0.
 *
 *   F TIME 0 ID start NAME HITS LOSES            see faults/__init__.py; HITS and
 *   F TIME 0 ID heal                             LOSES split by commas, or "-"
 *   V TIME 0 CHANNEL EPOCH SEQ OFFSET HASH PUBLISHER NUMBER  stored, at the end
 *   T TIME 0 CHANNEL FROM TO WHY                 the history has this hole
 *   K TIME 0 NAME VALUE                          a counter of the system
 *   C TIME 0 PREFIX POLICY                       what slow readers of PREFIX/...
 *                                                do without: cut, drop-oldest
 *                                                or conflate; else cut
 *   Q TIME 0 quiet | end                         all healed | the last message
 *                                                has had time to arrive
 *
 * What the store holds is read by paging through /v1/history when all is over:
 * a channel of which V or T tell anything is one with history, and what they do
 * not tell of it is not there. */
#ifndef TESTS_CHAOS_HISTORY_H
#define TESTS_CHAOS_HISTORY_H

/* Kinds of lines: the first byte. */
enum history_kind {
    HISTORY_INVOKE = 'I',
    HISTORY_ACK = 'A',
    HISTORY_REFUSED = 'R',
    HISTORY_UNKNOWN = 'U',
    HISTORY_OPEN = 'O',
    HISTORY_SUBSCRIBE = 'S',
    HISTORY_BEGUN = 'B',
    HISTORY_MESSAGE = 'M',
    HISTORY_NOTICE = 'N',
    HISTORY_RUN = 'D',
    HISTORY_STATE = 'P',
    HISTORY_HALT = 'H',
    HISTORY_POLICY = 'C',
    HISTORY_END = 'E',
    HISTORY_FAULT = 'F',
    HISTORY_STORED = 'V',
    HISTORY_HOLE = 'T',
    HISTORY_COUNTER = 'K',
    HISTORY_MARK = 'Q',
};

#endif
