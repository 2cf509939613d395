#include "proto/id.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/map.h"
#include "base/utf8.h"

/* ---- grammar ----------------------------------------------------------- */

/* What is wrong with one comes with what one is like. */
#define ONE_IS "; a channel is like room/lobby or user/ana"
#define MANY_ARE "; one is like room/lobby, many are room/* or match/**"

static const char *character_problem(uint32_t c)
{
    if (c == ' ')
        return "it contains a space" ONE_IS;
    if (utf8_is_control(c))
        return "it contains a control character" ONE_IS;
    if (utf8_is_bidi(c))
        return "it contains a character that turns the direction of text"
               ONE_IS;
    return NULL;
}

/* Bytes at the front that are ASCII and graphic, as most are in all ids. */
static size_t graphic_run(struct slice id)
{
    size_t n = 0;

    while (n < id.len && id.ptr[n] > ' ' && id.ptr[n] < 0x7f)
        n++;
    return n;
}

static const char *text_problem(struct slice id)
{
    uint32_t c;

    if (id.len == 0)
        return "it is empty" ONE_IS;
    if (id.len > ID_MAX)
        return "it is longer than 200 bytes" ONE_IS;
    for (;;) {
        const char *problem;

        id = slice_from(id, graphic_run(id));
        if (id.len == 0)
            return NULL;
        if (utf8_next(&id, &c) < 0)
            return "it is not UTF-8" ONE_IS;
        problem = character_problem(c);
        if (problem)
            return problem;
    }
}

static bool has_star(struct slice s)
{
    return slice_find_byte(s, '*') < s.len;
}

static bool is_star(struct slice segment)
{
    return slice_eq(segment, SLICE("*"));
}

static bool is_deep(struct slice segment)
{
    return slice_eq(segment, SLICE("**"));
}

static const char *segment_problem(struct slice segment)
{
    if (segment.len == 0)
        return "it has an empty segment" ONE_IS;
    if (slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE("..")))
        return "it has a segment \".\" or \"..\"" ONE_IS;
    return NULL;
}

const char *pattern_problem(struct slice pattern)
{
    const char *problem = text_problem(pattern);

    for (struct slice rest = pattern; !problem && rest.ptr;) {
        struct slice segment = slice_split(&rest, '/');

        problem = segment_problem(segment);
        if (problem || !has_star(segment) || is_star(segment))
            continue;
        if (!is_deep(segment))
            problem = "\"*\" stands for a whole segment" MANY_ARE;
        else if (rest.ptr)
            problem = "\"**\" can only be the last segment" MANY_ARE;
    }
    return problem;
}

const char *id_problem(struct slice id)
{
    const char *problem = text_problem(id);

    for (struct slice rest = id; !problem && rest.ptr;)
        problem = segment_problem(slice_split(&rest, '/'));
    if (!problem && has_star(id))
        problem = "it contains \"*\", which only patterns do" ONE_IS;
    return problem;
}

bool id_valid(struct slice id)
{
    return id_problem(id) == NULL;
}

bool id_is_pattern(struct slice id)
{
    return has_star(id);
}

struct slice id_prefix(struct slice id)
{
    size_t slash = slice_find_byte(id, '/');

    return slice_head(id, slash < id.len ? slash + 1 : 0);
}

bool pattern_matches(struct slice pattern, struct slice id)
{
    while (pattern.ptr && id.ptr) {
        struct slice want = slice_split(&pattern, '/');
        struct slice have = slice_split(&id, '/');

        if (is_deep(want))
            return true;
        if (!is_star(want) && !slice_eq(want, have))
            return false;
    }
    return !pattern.ptr && !id.ptr;
}

/* ---- trie --------------------------------------------------------------
 * A node stands for a pattern's first segments. All edges of the trie live in
 * one map, keyed by (parent, segment), so that a node with 100,000 children is
 * as fast as one with two. */

struct node {
    struct map_node by_edge;
    struct node *parent;
    struct node *star, *deep; /* children "*" and "**", which ids never name */
    void *value;
    uint32_t children;
    bool used; /* a pattern ends here */
    uint8_t len;
    uint8_t segment[];
};

struct trie {
    struct map edges;
    struct node *root;
    size_t patterns;
};

struct edge_key {
    const struct node *parent;
    struct slice segment;
};

static uint32_t edge_hash(const struct edge_key *k)
{
    uint64_t parent = (uintptr_t)k->parent;

    parent *= UINT64_C(0x9e3779b97f4a7c15);
    return hash_bytes(k->segment) ^ (uint32_t)(parent >> 32);
}

static bool edge_eq(const struct map_node *n, const void *key)
{
    const struct node *node = CONTAINER_OF(n, struct node, by_edge);
    const struct edge_key *k = key;

    return node->parent == k->parent &&
           slice_eq(slice_make(node->segment, node->len), k->segment);
}

static struct node *child(const struct trie *t, const struct node *parent,
                          struct slice segment)
{
    struct edge_key key = {parent, segment};
    struct map_node *n = map_find(&t->edges, edge_hash(&key), edge_eq, &key);

    return n ? CONTAINER_OF(n, struct node, by_edge) : NULL;
}

static struct node *node_new(struct node *parent, struct slice segment)
{
    struct node *n = calloc(1, sizeof *n + segment.len);

    if (!n)
        return NULL;
    n->parent = parent;
    n->len = (uint8_t)segment.len;
    if (segment.len)
        memcpy(n->segment, segment.ptr, segment.len);
    return n;
}

/* Where the parent keeps a child of its two special kinds; else NULL. */
static struct node **special(struct node *parent, struct slice segment)
{
    if (is_star(segment))
        return &parent->star;
    return is_deep(segment) ? &parent->deep : NULL;
}

static struct node *child_make(struct trie *t, struct node *parent,
                               struct slice segment)
{
    struct edge_key key = {parent, segment};
    struct node **slot = special(parent, segment);
    struct node *n = node_new(parent, segment);

    if (!n)
        return NULL;
    if (map_add(&t->edges, &n->by_edge, edge_hash(&key)) < 0) {
        free(n);
        return NULL;
    }
    if (slot)
        *slot = n;
    parent->children++;
    return n;
}

/* Takes away n and those above it that nothing needs any more. */
static void prune(struct trie *t, struct node *n)
{
    while (n->parent && !n->used && n->children == 0) {
        struct node *parent = n->parent;
        struct node **slot = special(parent, slice_make(n->segment, n->len));

        if (slot)
            *slot = NULL;
        map_remove(&t->edges, &n->by_edge);
        parent->children--;
        free(n);
        n = parent;
    }
}

int trie_new(struct trie **ret)
{
    struct trie *t = calloc(1, sizeof *t);

    if (!t)
        return ERR_NOMEM;
    map_init(&t->edges);
    t->root = node_new(NULL, SLICE(""));
    if (!t->root) {
        trie_free(t);
        return ERR_NOMEM;
    }
    *ret = t;
    return 0;
}

void trie_free(struct trie *t)
{
    struct map_node *n;
    struct map_iter it;

    if (!t)
        return;
    it = map_iter(&t->edges);
    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        free(CONTAINER_OF(n, struct node, by_edge));
    }
    map_fini(&t->edges);
    free(t->root);
    free(t);
}

void **trie_slot(struct trie *t, struct slice pattern, bool create)
{
    struct node *at = t->root;

    for (struct slice rest = pattern; rest.ptr;) {
        struct slice segment = slice_split(&rest, '/');
        struct node *next = child(t, at, segment);

        if (!next && create)
            next = child_make(t, at, segment);
        if (!next) {
            prune(t, at);
            return NULL;
        }
        at = next;
    }
    if (!at->used && !create)
        return NULL;
    if (!at->used) {
        at->used = true;
        t->patterns++;
    }
    return &at->value;
}

void trie_remove(struct trie *t, struct slice pattern)
{
    struct node *at = t->root;

    for (struct slice rest = pattern; at && rest.ptr;)
        at = child(t, at, slice_split(&rest, '/'));
    if (!at || !at->used)
        return;
    at->used = false;
    at->value = NULL;
    t->patterns--;
    prune(t, at);
}

struct match {
    const struct trie *trie;
    void (*found)(void *ctx, void *value);
    void *ctx;
};

/* Everything below `at` that matches rest. Each node is visited at most once,
 * since it stands at one depth; the depth is bounded by ID_SEGMENTS_MAX. */
static void match(const struct match *m, const struct node *at,
                  struct slice rest)
{
    struct slice segment;
    const struct node *exact;

    if (!rest.ptr) {
        if (at->used)
            m->found(m->ctx, at->value);
        return;
    }
    if (at->children == 0)
        return;
    if (at->deep) /* ends a pattern, always */
        m->found(m->ctx, at->deep->value);
    segment = slice_split(&rest, '/');
    if (at->star)
        match(m, at->star, rest);
    exact = child(m->trie, at, segment);
    if (exact)
        match(m, exact, rest);
}

void trie_match(const struct trie *t, struct slice id,
                void (*found)(void *ctx, void *value), void *ctx)
{
    struct match m = {t, found, ctx};

    match(&m, t->root, id);
}

size_t trie_count(const struct trie *t)
{
    return t->patterns;
}
