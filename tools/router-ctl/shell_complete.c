/* shell_complete.c - what may stand where the cursor is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/router-ctl/shell.h"

#define PATIENCE (2 * SECOND)
enum { LISTED_MOST = 60, COLUMNS = 78 };

/* The line up to the cursor. */
struct place {
    const struct verb *verb; /* NULL: not said yet */
    const char *words[3];    /* its first arguments */
    int count;               /* of its arguments in front of the cursor */
    bool value;              /* an option's value is being typed */
};

/* What goes on from `typed`. */
struct offers {
    struct slice typed;
    size_t count, common; /* of bytes that all have alike */
    struct buf first, list; /* list: as many as are shown */
};

static void offer(struct offers *o, struct slice word)
{
    size_t n = 0;

    if (!word.len || !slice_starts(word, o->typed))
        return;
    if (o->count++ == 0) {
        buf_add(&o->first, word);
        o->common = word.len;
    }
    while (n < o->common && n < word.len && o->first.ptr[n] == word.ptr[n])
        n++;
    o->common = n;
    if (o->count <= LISTED_MOST) {
        buf_add(&o->list, word);
        buf_add_byte(&o->list, '\n');
    }
}

static void offer_text(struct offers *o, const char *word)
{
    offer(o, slice_str(word));
}

static void offer_verbs(struct offers *o, bool ends)
{
    for (size_t i = 0; i < verb_count; i++) {
        offer_text(o, verbs[i].name);
        if (verbs[i].alias)
            offer_text(o, verbs[i].alias);
    }
    if (ends) {
        offer_text(o, "exit");
        offer_text(o, "quit");
    }
}

static void offer_options(struct offers *o, const struct verb *v)
{
    const char *name;
    char word[64];
    bool value;

    for (size_t i = 0; (name = ctl_option(i, v, &value)); i++) {
        snprintf(word, sizeof word, "--%s", name);
        if (*name)
            offer_text(o, word);
    }
}

/* The first column of an answer, without its title. */
static void offer_answer(struct offers *o, const struct shell *s, int count,
                         const char *const words[])
{
    struct buf out = BUF_INIT;
    struct slice rest;

    (void)shell_ask(s, count, words, PATIENCE, &out);
    rest = buf_slice(&out);
    (void)slice_split(&rest, '\n');
    while (rest.len) {
        struct slice line = slice_split(&rest, '\n');

        offer(o, slice_split(&line, ' '));
    }
    buf_fini(&out);
}

static void offer_of_match(struct offers *o, const struct shell *s,
                           const struct place *p)
{
    static const char *const matches[] = { "match", "list" };
    static const char *const teams[] = { "match", "teams" };
    const char *word = p->count ? p->words[0] : "";

    for (size_t i = 0; p->count == 0 && ctl_match_word(i); i++)
        offer_text(o, ctl_match_word(i));
    if (strcmp(word, "new") == 0 ? p->count < 3
                                 : strcmp(word, "teams") == 0 && p->count == 1)
        offer_answer(o, s, 2, teams);
    else if (p->count == 1)
        offer_answer(o, s, 2, matches);
}

/* Where its usage says so, and for as many as it takes. */
static bool takes_channel(const struct place *p)
{
    return (strstr(p->verb->usage, "CHANNEL") ||
            strstr(p->verb->usage, "PATTERN")) &&
           (p->count == 0 || p->verb->most < 0);
}

static void gather(struct offers *o, const struct shell *s,
                   const struct place *p)
{
    static const char *const channels[] = { "channels" };

    if (slice_starts(o->typed, SLICE("-")))
        offer_options(o, p->verb);
    else if (p->value)
        return;
    else if (!p->verb)
        offer_verbs(o, true);
    else if (p->verb->run == verb_help)
        offer_verbs(o, false);
    else if (p->verb->run == verb_match)
        offer_of_match(o, s, p);
    else if (takes_channel(p))
        offer_answer(o, s, 1, channels);
}

static bool has_value(const char *word)
{
    const char *name;
    bool value;

    for (size_t i = 0; (name = ctl_option(i, NULL, &value)); i++)
        if (strcmp(word + 2, name) == 0)
            return value;
    return false;
}

static void find_place(struct place *p, int count, const char *const *words)
{
    *p = (struct place){ .verb = NULL };
    for (int i = 0; i < count; i++) {
        p->value = false;
        if (strncmp(words[i], "--", 2) == 0) {
            p->value = has_value(words[i]) && i + 1 == count;
            i += has_value(words[i]);
        } else if (!p->verb) {
            p->verb = verb_find(words[i]);
        } else {
            if (p->count < (int)ARRAY_LEN(p->words))
                p->words[p->count] = words[i];
            p->count++;
        }
    }
}

/* ---- on the line ---------------------------------------------------------- */

/* What names have that the shell would take for its own. */
static void put_quoted(struct buf *b, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("'\"\\", text.ptr[i]))
            buf_add_byte(b, '\\');
        buf_add_byte(b, text.ptr[i]);
    }
}

static bool insert(EditLine *edit, const struct offers *o)
{
    struct slice more = slice_from(slice_head(buf_slice(&o->first), o->common),
                                   o->typed.len);
    struct buf b = BUF_INIT;
    bool done = false;

    put_quoted(&b, more);
    if (o->count == 1)
        buf_add_byte(&b, ' ');
    if (b.len && !b.failed)
        done = el_insertstr(edit, buf_text(&b)) == 0;
    buf_fini(&b);
    return done;
}

static void list(const struct offers *o)
{
    struct slice rest = buf_slice(&o->list);
    size_t column = 0;

    putchar('\n');
    while (rest.len) {
        struct slice word = slice_split(&rest, '\n');

        if (column && column + word.len + 2 > COLUMNS) {
            putchar('\n');
            column = 0;
        }
        printf("%s" SLICE_FMT, column ? "  " : "", SLICE_ARG(word));
        column += word.len + 2;
    }
    if (o->count > LISTED_MOST)
        printf("\nand %zu others", o->count - LISTED_MOST);
    putchar('\n');
    fflush(stdout);
}

static unsigned char answer(EditLine *edit, const struct offers *o)
{
    if (!o->count || o->first.failed || o->list.failed)
        return CC_ERROR;
    if (insert(edit, o))
        return CC_REFRESH;
    list(o);
    return CC_REDISPLAY;
}

unsigned char shell_complete(EditLine *edit, wint_t key)
{
    LineInfo line = *el_line(edit);
    struct offers o = { .count = 0 };
    struct shell *s = shell_of(edit);
    struct place p;
    const char **words;
    int count, at, offset;
    unsigned char done;

    UNUSED(key);
    line.lastchar = line.cursor;
    tok_reset(s->words);
    if (tok_line(s->words, &line, &count, &words, &at, &offset) != 0)
        return CC_ERROR;
    find_place(&p, at, words);
    o.typed = slice_str(at < count ? words[at] : "");
    gather(&o, s, &p);
    done = answer(edit, &o);
    buf_fini(&o.first);
    buf_fini(&o.list);
    return done;
}
