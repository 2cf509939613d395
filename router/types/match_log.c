#include "router/types/match_log.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/err.h"

enum { VOID_ENTRY = 0xff, ENTRY_HEAD = 1 + 8 + 4, NOTHING = -1 };

struct entry {
    uint8_t kind; /* enum match_kind or VOID_ENTRY */
    int64_t ts_ms;
    struct slice data;
    size_t at; /* in the log's bytes */
};

void match_log_init(struct match_log *l)
{
    buf_init(&l->bytes);
    l->base = 0;
}

void match_log_fini(struct match_log *l)
{
    buf_fini(&l->bytes);
}

/* ---- entries ---------------------------------------------------------- */

static int append(struct match_log *l, struct match_state *s, uint8_t kind,
                  int64_t ts_ms, struct slice data)
{
    size_t len = MAX(s->log_len, (size_t)1);

    if (len + ENTRY_HEAD + data.len > MATCH_LOG_MAX)
        return ERR_FULL;
    if (!l->bytes.len)
        put_u8(&l->bytes, MATCH_LOG_VERSION);
    else
        buf_truncate(&l->bytes, len);
    put_u8(&l->bytes, kind);
    put_i64(&l->bytes, ts_ms);
    put_str32(&l->bytes, data);
    if (l->bytes.failed) {
        l->bytes.failed = false;
        return ERR_NOMEM;
    }
    s->log_len = l->bytes.len;
    s->events++;
    return 0;
}

int match_log_append(struct match_log *l, struct match_state *s,
                     enum match_kind kind, int64_t ts_ms, struct slice data)
{
    return append(l, s, (uint8_t)kind, ts_ms, data);
}

int match_log_append_void(struct match_log *l, struct match_state *s)
{
    return append(l, s, VOID_ENTRY, 0, slice_make(NULL, 0));
}

struct slice match_log_record(const struct match_log *l,
                              const struct match_state *s)
{
    return slice_make(l->bytes.ptr, s->log_len);
}

struct walk {
    const struct match_log *log;
    struct cursor c;
    uint32_t next; /* index of the entry that comes next */
};

/* Over the entries that led to s. */
static struct walk walk_entries(const struct match_log *l,
                                const struct match_state *s)
{
    struct walk w = { l, cursor_init(match_log_record(l, s)), 0 };

    if (s->log_len)
        cursor_u8(&w.c);
    return w;
}

static bool next_entry(struct walk *w, struct entry *ret)
{
    if (!cursor_left(&w->c))
        return false;
    ret->at = (size_t)(w->c.pos - w->log->bytes.ptr);
    ret->kind = cursor_u8(&w->c);
    ret->ts_ms = cursor_i64(&w->c);
    ret->data = cursor_str32(&w->c);
    w->next++;
    return !w->c.failed;
}

/* Reads an entry's event; *tree holds its texts. ERR_DAMAGED, ERR_NOMEM. */
static int read_entry(const struct entry *en, cJSON **tree,
                      struct match_event *e)
{
    struct buf why = BUF_INIT;
    int rc = ERR_BAD;

    if (en->kind < MATCH_KINDS)
        rc = args_parse(tree, en->data, MATCH_LOG_MAX, &why);
    if (rc == 0) {
        rc = match_event_read(e, (enum match_kind)en->kind, *tree, &why);
        if (rc < 0)
            cJSON_Delete(*tree);
    }
    buf_fini(&why);
    return rc == ERR_BAD ? ERR_DAMAGED : rc;
}

/* ---- retracted -------------------------------------------------------- */

/* Index of the entry at an offset, or NOTHING. */
static int64_t index_of(const struct match_log *l,
                        const struct match_state *s, int64_t offset)
{
    uint64_t o = (uint64_t)offset;

    if (offset < 1 || !l->base || o < l->base || o - l->base >= s->events)
        return NOTHING;
    return (int64_t)(o - l->base);
}

/* One byte for each entry: was it retracted? The caller frees *ret. */
static int find_retracted(const struct match_log *l,
                          const struct match_state *s, uint8_t **ret)
{
    uint8_t *gone = calloc(s->events + 1u, 1);
    struct walk w = walk_entries(l, s);
    struct entry en;
    int rc = gone ? 0 : ERR_NOMEM;

    while (rc == 0 && next_entry(&w, &en)) {
        struct match_event e;
        cJSON *tree;
        int64_t i;

        if (en.kind != MATCH_RETRACT)
            continue;
        rc = read_entry(&en, &tree, &e);
        if (rc < 0)
            break;
        i = index_of(l, s, e.offset);
        if (i != NOTHING)
            gone[i] = 1;
        cJSON_Delete(tree);
    }
    if (rc < 0) {
        free(gone);
        return rc;
    }
    *ret = gone;
    return 0;
}

/* ---- folding ---------------------------------------------------------- */

static int fold_entry(struct match_state *to, const struct entry *en,
                      struct buf *why)
{
    struct match_event e;
    cJSON *tree;
    int rc = read_entry(en, &tree, &e);

    if (rc < 0)
        return rc;
    rc = match_fold(to, &e, en->ts_ms, why);
    cJSON_Delete(tree);
    return rc;
}

/* The first entry that could not be folded. */
struct misfit {
    uint32_t index;
    struct entry entry;
};

/* Folds the entries of s that are not gone into a new state. At the first
 * that does not go: ERR_CONFLICT, ERR_DAMAGED with *misfit. */
static int fold_all(const struct match_log *l, const struct match_state *s,
                    const uint8_t *gone, struct match_state **ret,
                    struct misfit *misfit, struct buf *why)
{
    struct match_state *to = match_state_new();
    struct walk w = walk_entries(l, s);
    struct entry en;
    int rc = to ? 0 : ERR_NOMEM;

    while (rc == 0 && next_entry(&w, &en)) {
        if (gone[w.next - 1] || en.kind == VOID_ENTRY)
            continue;
        rc = fold_entry(to, &en, why);
        if (rc < 0)
            *misfit = (struct misfit){ w.next - 1, en };
    }
    if (rc < 0) {
        match_state_free(to);
        return rc;
    }
    to->events = s->events;
    to->log_len = s->log_len;
    *ret = to;
    return 0;
}

int match_log_refold(struct match_log *l, const struct match_state *s,
                     struct match_state **ret)
{
    struct buf why = BUF_INIT;
    struct misfit misfit;
    uint8_t *gone;
    int rc = find_retracted(l, s, &gone);

    if (rc < 0)
        return rc;
    while ((rc = fold_all(l, s, gone, ret, &misfit, &why)) == ERR_CONFLICT
           || rc == ERR_DAMAGED) {
        l->bytes.ptr[misfit.entry.at] = VOID_ENTRY;
        buf_reset(&why);
    }
    free(gone);
    buf_fini(&why);
    return rc;
}

/* ---- undo ------------------------------------------------------------- */

static int cannot(struct buf *why, int64_t offset, const char *text)
{
    buf_addf(why, "offset %lld %s", (long long)offset, text);
    return ERR_CONFLICT;
}

static bool get_entry(const struct match_log *l, const struct match_state *s,
                      int64_t index, struct entry *ret)
{
    struct walk w = walk_entries(l, s);

    while (next_entry(&w, ret))
        if (w.next - 1 == index)
            return true;
    return false;
}

static bool is_creation(const struct entry *en)
{
    struct match_event e;
    cJSON *tree;
    bool yes;

    if (en->kind != MATCH_STATUS || read_entry(en, &tree, &e) < 0)
        return false;
    yes = match_creates(&e);
    cJSON_Delete(tree);
    return yes;
}

/* May this entry be undone at all, whatever came after it? */
static int check_undo(const struct match_log *l, const struct match_state *s,
                      int64_t offset, const uint8_t *gone, struct buf *why)
{
    int64_t i = index_of(l, s, offset);
    struct entry en;

    if (i == NOTHING || !get_entry(l, s, i, &en) || en.kind == VOID_ENTRY)
        return cannot(why, offset, "is no event of this match");
    if (gone[i])
        return cannot(why, offset, "was retracted before");
    if (en.kind == MATCH_RETRACT)
        return cannot(why, offset, "is a retract, which stays: say the event "
                      "again");
    if (is_creation(&en))
        return cannot(why, offset, "created the match: it can be cancelled, "
                      "not retracted");
    return 0;
}

/* Says which later event stands in the way; why holds what is wrong with it. */
static int name_misfit(const struct match_log *l, const struct misfit *misfit,
                       int64_t offset, struct buf *why)
{
    struct buf reason = *why;

    buf_init(why);
    buf_addf(why, "without offset %lld the later event at offset %llu (%s) "
             "would be impossible: ", (long long)offset,
             (unsigned long long)(l->base + misfit->index),
             match_kind_word((enum match_kind)misfit->entry.kind));
    buf_add(why, buf_slice(&reason));
    buf_fini(&reason);
    return ERR_CONFLICT;
}

int match_log_undo(struct match_log *l, const struct match_state *s,
                   int64_t offset, struct match_state **ret, struct buf *why)
{
    struct misfit misfit;
    uint8_t *gone;
    int rc = find_retracted(l, s, &gone);

    if (rc < 0)
        return rc;
    rc = check_undo(l, s, offset, gone, why);
    if (rc == 0) {
        gone[index_of(l, s, offset)] = 1;
        rc = fold_all(l, s, gone, ret, &misfit, why);
        if (rc == ERR_CONFLICT)
            rc = name_misfit(l, &misfit, offset, why);
    }
    free(gone);
    return rc;
}

int match_log_write_retracted(const struct match_log *l,
                              const struct match_state *s, struct buf *out)
{
    bool first = true;
    uint8_t *gone;
    int rc = find_retracted(l, s, &gone);

    if (rc < 0)
        return rc;
    buf_add_byte(out, '[');
    for (uint32_t i = 0; i < s->events; i++) {
        if (!gone[i])
            continue;
        if (!first)
            buf_add_byte(out, ',');
        first = false;
        buf_add_u64(out, l->base + i);
    }
    buf_add_byte(out, ']');
    free(gone);
    return 0;
}

/* ---- records ---------------------------------------------------------- */

static int count_entries(const struct match_log *l, struct match_state *s)
{
    struct walk w = walk_entries(l, s);
    struct entry en;

    while (next_entry(&w, &en))
        ;
    if (!cursor_all_read(&w.c) || !w.next)
        return ERR_DAMAGED;
    s->events = w.next;
    return 0;
}

int match_log_load(struct match_log *l, struct slice record,
                   uint64_t last_offset, struct match_state **ret)
{
    struct match_state whole = { .log_len = record.len };
    struct match_state *s;
    int rc;

    if (!record.len || record.len > MATCH_LOG_MAX
        || record.ptr[0] != MATCH_LOG_VERSION)
        return ERR_DAMAGED;
    buf_reset(&l->bytes);
    buf_add(&l->bytes, record);
    if (l->bytes.failed)
        return ERR_NOMEM;
    rc = count_entries(l, &whole);
    if (rc < 0)
        return rc;
    if (last_offset < whole.events)
        return ERR_DAMAGED;
    l->base = last_offset - whole.events + 1;
    rc = match_log_refold(l, &whole, &s);
    if (rc < 0)
        return rc;
    if (!s->team[SIDE_HOME].id[0]) {
        match_state_free(s);
        return ERR_DAMAGED;
    }
    *ret = s;
    return 0;
}
