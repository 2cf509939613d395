#include "tools/flood/rules.h"

#include "proto/mark.h"

/* What stands behind key; an empty slice without a pointer: key is not there. */
static struct slice behind(struct slice text, struct slice key)
{
    const uint8_t *at = key.len ? memmem(text.ptr, text.len, key.ptr, key.len)
                                : NULL;

    return at ? slice_from(text, (size_t)(at - text.ptr) + key.len)
              : slice_make(NULL, 0);
}

static uint64_t number_behind(struct slice text, struct slice key)
{
    struct slice s = behind(text, key);
    uint64_t n = 0;
    size_t digits = 0;

    while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
        digits++;
    return slice_parse_u64(slice_head(s, digits), &n) == 0 ? n : 0;
}

static bool has(struct slice text, struct slice key)
{
    return key.len && memmem(text.ptr, text.len, key.ptr, key.len);
}

static bool begins(struct slice text, struct slice key)
{
    return key.len && slice_starts(text, key);
}

/* FNV-1a, folded. */
static uint16_t epoch_behind(struct slice text, struct slice key)
{
    struct slice s = behind(text, key);
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.len && s.ptr[i] != '"'; i++)
        h = (h ^ s.ptr[i]) * 16777619u;
    return s.ptr ? (uint16_t)((h ^ h >> 16) | 1) : 0;
}

static void judge_message(const struct rules *r, struct slice text,
                          struct item *i)
{
    struct mark m = { 0, 0 };
    bool marked = mark_find(text, &m);

    i->number = number_behind(text, r->number);
    i->message = i->number || marked || has(text, r->message);
    if (i->number)
        i->epoch = epoch_behind(text, r->epoch);
    else
        i->number = m.number;
    i->t_us = marked ? m.t_us
                     : (int64_t)(number_behind(text, r->time) * 1000);
}

struct item rules_judge(const struct rules *r, struct slice text)
{
    struct item i = { .ready = false };

    if (!slice_starts(text, r->prefix))
        return i;
    text = slice_trim(slice_from(text, r->prefix.len));
    i.ready = has(text, r->ready);
    i.refused = begins(text, r->refused);
    i.gap = begins(text, r->gap);
    if (i.gap)
        i.missed = number_behind(text, r->missed);
    else if (!begins(text, r->notice) && !i.refused)
        judge_message(r, text, &i);
    return i;
}
