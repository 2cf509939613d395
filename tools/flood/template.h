/* template.h - text with words in braces that are filled in for each client:
 *
 *     {id}     its id            {n}     its number, from 0
 *     {cursor} what it has seen up to, or 0
 *     {mark}   number and time of a message (proto/mark.h)
 *     {body}   the message       {size}  its length in bytes
 *     {idsize} the id's length in bytes
 *
 * Braces around anything but lower-case letters stand for themselves, as in
 * JSON. \r \n \t \\ \" \xHH are what they are in C.
 * Threads: made at the start; filling changes nothing. */
#ifndef TOUCHLINE_FLOOD_TEMPLATE_H
#define TOUCHLINE_FLOOD_TEMPLATE_H

#include "base/buf.h"
#include "base/opt.h"

#define TEMPLATE_WORDS(X) X(id) X(idsize) X(n) X(cursor) X(mark) X(body) \
                          X(size)

enum template_word {
    TEMPLATE_TEXT,
#define AS_WORD(name) TEMPLATE_##name,
    TEMPLATE_WORDS(AS_WORD)
#undef AS_WORD
};

struct template_piece {
    enum template_word word;
    size_t begin, len; /* of TEMPLATE_TEXT, in text */
};

struct template {
    struct buf text;
    struct template_piece *pieces;
    size_t count;
    bool in_url; /* what is filled in is percent-encoded, but for / */
};

struct template_values {
    struct slice id, cursor, mark, body;
    uint64_t n;
};

/* ERR_BAD, ERR_NOMEM, and why in *err. */
MUST_USE int template_init(struct template *t, struct slice text, bool in_url,
                           struct opt_error *err);
void template_fini(struct template *t);
bool template_has(const struct template *t, enum template_word word);
void template_fill(const struct template *t, const struct template_values *v,
                   struct buf *out);

/* Appends text with its escapes resolved. ERR_BAD as above. */
MUST_USE int template_unescape(struct buf *out, struct slice text,
                               struct opt_error *err);

#endif
