#include "gateways/common/topic.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

struct snapshot *snapshot_new(uint64_t seq, uint64_t tick, uint64_t told,
                              struct slice state)
{
    struct snapshot *s = malloc(sizeof *s + state.len);

    if (!s)
        return NULL;
    s->refs = 1;
    s->seq = seq;
    s->tick = tick;
    s->told = told;
    s->len = state.len;
    if (state.len)
        memcpy(s->state, state.ptr, state.len);
    return s;
}

struct snapshot *snapshot_hold(struct snapshot *s)
{
    s->refs++;
    return s;
}

void snapshot_drop(struct snapshot *s)
{
    if (s && --s->refs == 0)
        free(s);
}

int seat_set_name(struct seat **s, struct slice name)
{
    void *before = seat_name_kept(*s);
    uint8_t *kept;

    CHECK(name.len <= UINT8_MAX);
    kept = malloc(name.len + 1);
    if (!kept)
        return ERR_NOMEM;
    kept[0] = (uint8_t)name.len;
    memcpy(kept + 1, name.ptr, name.len);
    if (seat_keep_name(s, kept) < 0) {
        free(kept);
        return ERR_NOMEM;
    }
    free(before);
    return 0;
}

struct slice seat_name(const struct seat *s)
{
    const uint8_t *kept = seat_name_kept(s);

    return kept ? slice_make(kept + 1, kept[0]) : slice_make(NULL, 0);
}

void seat_drop_name(struct seat *s)
{
    free(seat_name_kept(s));
    (void)!seat_keep_name(&s, NULL);
}

int topics_init(struct topics *t)
{
    slabs_init(&t->slabs);
    map_init(&t->by_id);
    return trie_new(&t->patterns);
}

struct topic_past *topic_past_make(struct topic *t)
{
    if (!t->past_)
        t->past_ = calloc(1, sizeof *t->past_);
    return t->past_;
}

void topic_begin_anew(struct topic *t, uint64_t seq)
{
    t->floor = t->seats.flags & TOPIC_WATCHED ? seq : 0;
    topic_drop_snapshot(t);
    if (t->past_)
        *t->past_ = (struct topic_past){.newest = t->past_->newest,
                                        .fanout = t->past_->fanout};
}

int topic_set_snapshot(struct topic *t, struct snapshot *s)
{
    struct topic_past *past = s ? topic_past_make(t) : NULL;

    if (!past) {
        snapshot_drop(s);
        return ERR_NOMEM;
    }
    snapshot_drop(past->snapshot);
    past->snapshot = s;
    return 0;
}

void topic_drop_snapshot(struct topic *t)
{
    if (!t->past_)
        return;
    snapshot_drop(t->past_->snapshot);
    t->past_->snapshot = NULL;
}

bool topic_snapshot_is_fresh(const struct topic *t, uint64_t told)
{
    const struct snapshot *s = topic_past(t)->snapshot;

    if (s && (t->seats.flags & TOPIC_PRESENCE) && s->told < told)
        return false;
    return s && topic_past(t)->newest <= s->tick;
}

static void topic_free(struct topic *t)
{
    CHECK(!topic_has_fanout(t) && t->seats.count == 0);
    topic_drop_snapshot(t);
    free(t->past_);
    slab_give(t);
}

void topics_fini(struct topics *t)
{
    struct map_iter it = map_iter(&t->by_id);
    struct map_node *n;

    while (map_next(&it, &n)) {
        map_iter_remove(&it, n);
        topic_free(CONTAINER_OF(n, struct topic, by_id));
    }
    slabs_fini(&t->slabs);
    map_fini(&t->by_id);
    trie_free(t->patterns);
    t->patterns = NULL;
}

static bool same_id(const struct map_node *n, const void *key)
{
    return slice_eq(topic_id(CONTAINER_OF(n, struct topic, by_id)),
                    *(const struct slice *)key);
}

struct topic *topics_find(const struct topics *t, struct slice id)
{
    struct map_node *n = map_find(&t->by_id, hash_bytes(id), same_id, &id);

    return n ? CONTAINER_OF(n, struct topic, by_id) : NULL;
}

/* Enters a pattern into the trie. Its past, which messages of others do not
 * make, is there before they come. */
static int enter_pattern(struct topics *t, struct topic *topic)
{
    void **slot = topic_past_make(topic)
                      ? trie_slot(t->patterns, topic_id(topic), true)
                      : NULL;

    if (!slot)
        return ERR_NOMEM;
    *slot = topic;
    topic->seats.flags |= TOPIC_PATTERN;
    return 0;
}

int topics_get(struct topics *t, struct slice id, struct topic **ret)
{
    struct topic *topic = topics_find(t, id);
    int rc;

    if (topic) {
        *ret = topic;
        return 0;
    }
    CHECK(id.len > 0 && id.len <= ID_MAX);
    topic = slab_take(&t->slabs, offsetof(struct topic, id) + id.len);
    if (!topic)
        return ERR_NOMEM;
    topic->id_len = (uint8_t)id.len;
    memcpy(topic->id, id.ptr, id.len);
    rc = map_add(&t->by_id, &topic->by_id, hash_bytes(id));
    if (rc < 0) {
        topic_free(topic);
        return rc;
    }
    if (id_is_pattern(id) && (rc = enter_pattern(t, topic)) < 0) {
        topics_forget(t, topic);
        return rc;
    }
    *ret = topic;
    return 0;
}

void topics_forget(struct topics *t, struct topic *topic)
{
    CHECK(topic->seats.count == 0 && topic_past(topic)->newest == 0);
    if (topic->seats.flags & TOPIC_PATTERN)
        trie_remove(t->patterns, topic_id(topic));
    map_remove(&t->by_id, &topic->by_id);
    topic_free(topic);
}
