/* json.h - JSON as bytes: is it JSON, where in it is this key, how is this
 * text written as a string. No tree, no numbers, no allocation but the buf's.
 *
 * A "raw" value is the slice of the document that holds it: `{"a": 1}`, `"x"`
 * with its quotes, `-1.5e3`. What clients sent is passed on as raw values,
 * byte for byte, never parsed and printed again.
 *
 * Grammar: RFC 8259, strictly, in UTF-8 without byte order mark. Two values
 * of one key are JSON (the RFC allows them), but json_find() refuses to pick.
 * Threads: any. Cost: O(bytes), also for hostile input; no recursion. */
#ifndef TOUCHLINE_PROTO_JSON_H
#define TOUCHLINE_PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/slice.h"

enum {
    JSON_DEPTH_MAX = 512,   /* nesting in what is only passed on */
    JSON_DEPTH_COMMAND = 32 /* nesting in what we act on */
};

/* Is text exactly one JSON value, with white space around it at most?
 * max_depth: arrays and objects within each other, at most JSON_DEPTH_MAX.
 * ERR_BAD with the offending offset in *at (may be NULL). */
MUST_USE int json_check(struct slice text, unsigned max_depth, size_t *at);

enum json_kind { JSON_NONE, JSON_OBJECT, JSON_ARRAY, JSON_STRING,
                 JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL };
/* Of a checked value, by its first byte. JSON_NONE: there is none. */
enum json_kind json_kind(struct slice raw);

/* The value of a key of the top level of an object: *raw is trimmed. The text
 * need not have been checked; only what is read is. ERR_NOT_FOUND; ERR_BAD: no
 * object, malformed, or the key is there twice. */
MUST_USE int json_find(struct slice object, const char *key,
                       struct slice *raw);

/* Walks a checked object or array; of anything else, nothing. */
struct json_iter {
    struct slice rest;
    bool object;
};
struct json_iter json_iter(struct slice container);
/* key: raw string, empty in an array. False: no more. */
bool json_next(struct json_iter *it, struct slice *key, struct slice *value);

/* Appends the text of a raw string, without quotes and escapes, as UTF-8;
 * half a surrogate pair becomes U+FFFD, \u0000 a zero byte. Of a checked
 * value it reserves no more than raw.len: who has reserved the length of the
 * document may unescape all its strings, and what is in out stays in place.
 * ERR_BAD: no string, or malformed; out then holds what was before. */
MUST_USE int json_unescape(struct buf *out, struct slice raw);
/* Is raw a string with this text? */
bool json_is(struct slice raw, struct slice text);
/* An integer without fraction and exponent. ERR_BAD, ERR_TOO_BIG. */
MUST_USE int json_integer(struct slice raw, int64_t *ret);

/* Appends text as a string with quotes. Bytes that are not UTF-8 become
 * U+FFFD each: the result always is JSON. */
void json_put_string(struct buf *out, struct slice text);
/* Appends `"key":` and, with a comma in front, all but the first of an
 * object; the object must begin with a '{' in out. */
void json_put_key(struct buf *out, const char *key);

/* Appends a checked value, CR and LF as spaces: in JSON they stand between
 * tokens only, so the value stays what it is. */
void json_one_line(struct buf *out, struct slice raw);

#endif
