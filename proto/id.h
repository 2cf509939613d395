/* id.h - the grammar of ids and patterns, and the trie that matches them.
 *
 * An id is 1-200 bytes of UTF-8, segments split by '/': no byte below 0x21,
 * no 0x7f, no C1 or bidi control, no empty, "." or ".." segment, no '*'.
 * A pattern is an id in which the last segment may be "**" (everything below,
 * at least one segment) and any segment may be "*" (that one segment).
 * Threads: any; a trie belongs to one loop. */
#ifndef TOUCHLINE_PROTO_ID_H
#define TOUCHLINE_PROTO_ID_H

#include <stdbool.h>

#include "base/base.h"
#include "base/slice.h"

enum { ID_MAX = 200, ID_SEGMENTS_MAX = 100 };

/* NULL when it is one; else what is wrong and what one is like, fit to be shown
 * to the client. */
const char *id_problem(struct slice id);
const char *pattern_problem(struct slice pattern); /* plain ids pass, too */
bool id_valid(struct slice id);
/* True for a text with a '*' in it: where a subscription may be either. */
bool id_is_pattern(struct slice id);
/* Both must be valid. Cost: O(length). */
bool pattern_matches(struct slice pattern, struct slice id);
/* The first segment with its slash ("room/"), empty when there is no slash. */
struct slice id_prefix(struct slice id);

/* A set of patterns, each with one value. Lookup visits at most 2^k nodes for
 * ids of k segments, in practice the few that are there. */
struct trie;
MUST_USE int trie_new(struct trie **ret);
void trie_free(struct trie *t); /* values are the caller's */
/* Where the value of this pattern stands, made (as NULL) when absent and
 * create is set. NULL: absent, or no memory. Valid until the next change. */
void **trie_slot(struct trie *t, struct slice pattern, bool create);
void trie_remove(struct trie *t, struct slice pattern);
/* Calls found for each pattern that matches id. It must not change t. */
void trie_match(const struct trie *t, struct slice id,
                void (*found)(void *ctx, void *value), void *ctx);
size_t trie_count(const struct trie *t);

#endif
