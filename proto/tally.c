#include "proto/tally.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"

int tally_init(struct tally *t, const char *name, const char *label,
               const char *help, const char *const *words, size_t count)
{
    CHECK(count <= TALLY_WORDS);
    for (size_t i = 1; i < count; i++)
        CHECK(slice_cmp(slice_str(words[i - 1]), slice_str(words[i])) < 0);
    *t = (struct tally){
        .name = name,
        .label = label,
        .help = help,
        .words = words,
        .count = count,
        .counts = calloc(count + 1, sizeof *t->counts),
    };
    return t->counts ? 0 : ERR_NOMEM;
}

void tally_fini(struct tally *t)
{
    free(t->counts);
    *t = (struct tally){ .counts = NULL };
}

/* Its place; count when it is not listed. */
static size_t find(const struct tally *t, struct slice word)
{
    size_t from = 0, to = t->count;

    while (from < to) {
        size_t mid = (from + to) / 2;
        int cmp = slice_cmp(word, slice_str(t->words[mid]));

        if (cmp == 0)
            return mid;
        if (cmp < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return t->count;
}

void tally_add(struct tally *t, struct slice word)
{
    t->counts[find(t, word)]++;
}

uint64_t tally_get(const struct tally *t, struct slice word)
{
    return t->counts[find(t, word)];
}

bool tally_next(const struct tally *t, size_t *at, struct stat_sample *ret,
                struct tally_label *label)
{
    while (*at <= t->count && t->counts[*at] == 0)
        ++*at;
    if (*at > t->count)
        return false;
    snprintf(label->text, sizeof label->text, "%s=\"%s\"", t->label,
             *at < t->count ? t->words[*at] : "other");
    *ret = (struct stat_sample){
        .kind = STAT_COUNTER,
        .name = t->name,
        .label = label->text,
        .help = t->help,
        .value = t->counts[(*at)++],
    };
    return true;
}

static const char *const codes[] = {
#define CODE(word) word,
#include "proto/codes.def"
#undef CODE
};

int tally_init_codes(struct tally *t, const char *name, const char *help)
{
    return tally_init(t, name, "code", help, codes, ARRAY_LEN(codes));
}
