#include "router/restore.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "router/router.h"

/* Of publications that gateways may still hold. How long ago that was no clock
 * can say: it may have jumped since. */
enum { NAMES_MAX = 100000 };

/* ---- ids --------------------------------------------------------------- */

static int read_id(void *arg, const struct id_record *rec)
{
    struct router *r = arg;
    struct topic *t;
    struct past *past;
    int rc = table_make(&r->table, rec->id, &t);

    if (rc < 0)
        return rc;
    if (!(t->flags & TOPIC_STORED)) { /* its namespace keeps nothing now */
        table_tidy(&r->table, t);
        return 0;
    }
    past = table_past(&r->table, t);
    if (!past) {
        table_tidy(&r->table, t);
        return ERR_NOMEM;
    }
    past->last_offset = rec->last_offset;
    past->last_seq = rec->last_seq;
    past->trimmed_offset = rec->trimmed_offset;
    past->trimmed_seq = rec->trimmed_seq;
    r->replay.trimmed_seq = MAX(r->replay.trimmed_seq, rec->trimmed_seq);
    return 0;
}

/* ---- records ----------------------------------------------------------- */

static bool keeps_records(const struct router *r, const struct topic *t)
{
    return (t->flags & TOPIC_TYPED) && t->past &&
           (types_flags(r->types, topic_id(t)) & TYPE_RECORDS);
}

static int read_state(void *arg, struct slice id, uint64_t offset,
                      struct slice state)
{
    struct router *r = arg;
    struct topic *t = table_find(&r->table, id);
    int rc;

    if (!t || !keeps_records(r, t) || t->past->last_offset != offset)
        return 0;
    rc = types_load(r->types, id, state, offset);
    if (rc == 0)
        t->flags |= TOPIC_LOADED;
    else if (rc != ERR_NOMEM)
        log_warn("restore.record", "id=%s error=%s action=fold_log",
                 log_quote(id).text, err_name(rc));
    return rc == ERR_NOMEM ? rc : 0;
}

/* ---- names of publications --------------------------------------------- */

/* What was answered to an act follows from its message: the first one of an id
 * created it. */
static int read_name(void *arg, const struct record *rec)
{
    struct router *r = arg;
    struct answers *answers = &r->publish.answers;
    struct answer_room room;
    struct buf body = BUF_INIT;
    int rc;
    struct answer a = {
        .number = rec->number,
        .seq = rec->seq,
        .offset = rec->offset,
        .ts_ms = rec->ts_ms,
        .at_ns = clock_ns(),
        .created = rec->offset == 1,
    };

    types_act_answer(r->types, rec->id, &body);
    rc = body.failed ? ERR_NOMEM
                     : answers_reserve(answers, rec->session,
                                       rec->id.len + body.len, &room);
    if (rc == 0)
        answers_note(answers, &room, &a, rec->id, buf_slice(&body));
    buf_fini(&body);
    return rc;
}

int restore_read(struct router *r, struct history *h)
{
    size_t limit = r->table.limit;
    int rc;

    r->table.limit = 0; /* what is there is there, whatever is allowed now */
    r->forgotten = history_forgotten(h);
    rc = history_ids(h, read_id, r);
    r->table.limit = limit;
    if (rc == 0)
        rc = history_states(h, read_state, r);
    if (rc == 0)
        rc = history_recent_names(h, INT64_MIN, NAMES_MAX, read_name, r);
    answers_restored(&r->publish.answers);
    r->publish.gone_seq = MAX(r->replay.trimmed_seq, r->forgotten.seq);
    if (rc == 0)
        rc = presence_read(r, h);
    return rc;
}

/* ---- folding a log ----------------------------------------------------- */

struct fold {
    struct router *router;
    struct slice id;
    uint64_t after;
    bool waiting, more;
    int rc;
};

static void fold_page(void *arg, struct page *page)
{
    struct fold *f = arg;

    f->waiting = false;
    f->rc = page->rc;
    for (size_t i = 0; f->rc == 0 && i < page->count; i++) {
        struct msg_parts m = replay_parts(&page->records[i]);

        f->rc = types_replay(f->router->types, &m);
    }
    f->more = page->more;
    f->after = page->upto_seq;
    page_free(page);
}

static int fold_read(struct fold *f)
{
    struct router *r = f->router;
    struct page_request q = {
        .ids = &f->id,
        .id_count = 1,
        .after_seq = f->after,
        .upto_seq = r->stored_seq,
        .max_count = r->config->limits.page,
        .max_bytes = r->config->limits.page_bytes,
    };
    int rc;

    f->waiting = true;
    rc = reader_page(r->readers, &q, fold_page, f, NULL);
    while (rc == 0 && f->waiting)
        rc = loop_step(r->loop, 100 * MILLISECOND);
    return rc < 0 ? rc : f->rc;
}

/* An id that cannot be folded is served without state. */
static int fold(struct router *r, struct slice id)
{
    struct fold f = {.router = r, .id = id, .more = true};
    int rc = 0;

    while (rc == 0 && f.more)
        rc = fold_read(&f);
    if (rc == 0)
        rc = types_replayed(r->types, id);
    log_info("restore.folded", "id=%s result=%s", log_quote(id).text,
             rc < 0 ? err_name(rc) : "OK");
    return rc == ERR_NOMEM ? rc : 0;
}

int restore_fold(struct router *r)
{
    struct map_iter it = map_iter(&r->table.topics);
    struct map_node *n;
    int rc = 0;

    while (rc == 0 && map_next(&it, &n)) {
        struct topic *t = CONTAINER_OF(n, struct topic, by_id);

        if (!keeps_records(r, t))
            continue;
        if (!(t->flags & TOPIC_LOADED))
            rc = fold(r, topic_id(t));
        t->flags &= (uint8_t)~TOPIC_LOADED;
    }
    return rc;
}
