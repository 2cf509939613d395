#include "router/replay.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "router/router.h"
#include "proto/frame_io.h"
#include "proto/marks.h"

struct msg_parts replay_parts(const struct record *rec)
{
    return (struct msg_parts){
        .format = rec->format,
        .flags = rec->flags,
        .seq = rec->seq,
        .offset = rec->offset,
        .ts_ms = rec->ts_ms,
        .id = rec->id,
        .from = rec->from,
        .kind = rec->kind,
        .key = rec->key,
        .data = rec->data,
    };
}

static void put_hole(struct link *l, const struct frame_hole *h)
{
    frame_write_hole(lane_frame(&l->lane, FRAME_HOLE), h);
    lane_frame_end(&l->lane);
}

static void put_damage(struct link *l, uint32_t ref, const struct damage *d)
{
    struct frame_hole h = {
        .ref = ref,
        .why = HOLE_DAMAGED,
        .from = d->first_offset,
        .to = d->last_offset,
        .seq = d->last_seq,
        .id = d->id,
    };

    stat_add(&l->router->stats, STAT_DAMAGED, 1);
    put_hole(l, &h);
}

/* ---- what trimming took ------------------------------------------------ */

/* An id of which a page has nothing: the messages that it had are not kept any
 * more, or nobody knows, for its record is damaged. */
struct trim {
    char *id;
    uint64_t offset, seq;
    bool damaged;
};

/* Those of one page, which reads what is above `after`. */
struct trims {
    struct trim *all;
    size_t count;
    uint64_t after, upto; /* the page is of what lies between them */
    struct marks in_page; /* ids that the page speaks of itself */
};

static void trims_free(struct trims *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->all[i].id);
    free(t->all);
    marks_fini(&t->in_page);
    *t = (struct trims){.after = 0};
}

/* What the list of ids says of these is later than the page. ERR_NOMEM. */
static int trims_begin(struct trims *t, const struct page *page)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < page->count; i++)
        rc = marks_raise(&t->in_page, page->records[i].id, 1);
    for (size_t i = 0; rc == 0 && i < page->trimmed_count; i++)
        rc = marks_raise(&t->in_page, page->trimmed[i].id, 1);
    for (size_t i = 0; rc == 0 && i < page->damaged_count; i++)
        rc = marks_raise(&t->in_page, page->damaged[i].id, 1);
    return rc;
}

/* ERR_NOMEM. Also what lies behind the page: of that nothing will come, and the
 * page's end is a cursor, too. */
static int trims_add(struct trims *t, const struct id_record *rec)
{
    struct trim *grown;
    char *id;

    if ((rec->trimmed_seq <= t->after && !rec->damaged) ||
        marks_of(&t->in_page, rec->id))
        return 0;
    if (marks_raise(&t->in_page, rec->id, 1) < 0) /* two patterns, one gap */
        return ERR_NOMEM;
    grown = realloc(t->all, (t->count + 1) * sizeof *grown);
    if (!grown)
        return ERR_NOMEM;
    t->all = grown;
    id = slice_dup(rec->id);
    if (!id)
        return ERR_NOMEM;
    t->all[t->count++] = rec->damaged
        ? (struct trim){id, 0, t->upto, true}
        : (struct trim){id, rec->trimmed_offset, rec->trimmed_seq, false};
    return 0;
}

/* Has anything above this seq been trimmed, as far as a page can know? */
static bool trimmed_since(struct router *r, uint64_t seq)
{
    return seq < MAX(r->replay.trimmed_seq, writer_trimmed_seq(r->writer));
}

/* Readers may be ahead of what the loop knows to be committed. What is told to
 * be gone must not be dispatched afterwards. */
static bool is_heard(const struct router *r, const struct trims *t,
                     const struct page *page)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->all[i].seq > r->stored_seq)
            return false;
    for (size_t i = 0; i < page->trimmed_count; i++)
        if (page->trimmed[i].last_seq > r->stored_seq)
            return false;
    return true;
}

static void put_trim(struct link *l, uint32_t ref, const struct trim *t)
{
    struct frame_hole h = {
        .ref = ref,
        .why = t->damaged ? HOLE_DAMAGED : HOLE_TRIMMED,
        .to = t->offset,
        .seq = t->seq,
        .id = slice_str(t->id),
    };

    stat_add(&l->router->stats, STAT_DAMAGED, t->damaged);
    put_hole(l, &h);
}

static void put_trimmed(struct link *l, uint32_t ref, const struct trimmed *t)
{
    struct frame_hole h = {
        .ref = ref,
        .why = HOLE_TRIMMED,
        .from = t->from,
        .to = t->to,
        .seq = t->last_seq,
        .id = t->id,
    };

    put_hole(l, &h);
}

/* ---- resync ------------------------------------------------------------ */

/* An id whose snapshot is due when the link is whole. */
struct replay_due {
    struct replay_due *next;
    uint8_t len;
    uint8_t id[];
};

struct resync {
    struct link *link;
    struct read_job *job; /* NULL: waits for room on the link, or to hear */
    struct page *page;    /* has come; being completed by trims */
    struct trims trims;
    struct marks told;    /* offsets up to which trimming behind a page's end has
                             been told: no more of these ids up to there */
    uint64_t upto;
};

static void resync_free(struct resync *s)
{
    if (!s)
        return;
    if (s->job)
        reader_cancel(s->link->router->readers, s->job);
    page_free(s->page);
    trims_free(&s->trims);
    marks_fini(&s->told);
    s->link->resync = NULL;
    free(s);
}

static void forget_due(struct link *l)
{
    while (l->due) {
        struct replay_due *d = l->due;

        l->due = d->next;
        free(d);
    }
}

int replay_owe_snapshot(struct link *l, struct slice id)
{
    struct replay_due *d;

    for (d = l->due; d; d = d->next)
        if (slice_eq(slice_make(d->id, d->len), id))
            return 0;
    d = malloc(sizeof *d + id.len);
    if (!d)
        return ERR_NOMEM;
    d->len = (uint8_t)id.len;
    memcpy(d->id, id.ptr, id.len);
    d->next = l->due;
    l->due = d;
    return 0;
}

int replay_resnapshot(struct link *l, unsigned flags, struct slice id)
{
    return (flags & MSG_RESNAPSHOT) && l->resync ? replay_owe_snapshot(l, id)
                                                 : 0;
}

static void resync_end(struct resync *s)
{
    struct link *l = s->link;

    for (struct replay_due *d = l->due; d; d = d->next)
        if (snapshots_tell_link(l, slice_make(d->id, d->len)) < 0) {
            link_gone(l, "out of memory");
            return;
        }
    forget_due(l);
    resync_free(s);
    link_live(l);
}

static void resync_page(void *arg, struct page *page);
static void resync_trims(void *arg, struct id_list *list);

static void resync_read(struct resync *s)
{
    struct link *l = s->link;
    struct router *r = l->router;
    struct slice all = SLICE("**");
    struct page_request q = {
        .patterns = &all,
        .pattern_count = 1,
        .after_seq = l->position,
        .upto_seq = r->stored_seq,
        .max_count = r->config->limits.page,
        .max_bytes = r->config->limits.page_bytes,
    };

    s->upto = q.upto_seq;
    if (reader_page(r->readers, &q, resync_page, s, &s->job) < 0)
        link_gone(l, "out of memory");
}

/* The link listens to patterns, too: which ids there are is in the store. */
static void resync_ids(struct resync *s, struct slice after)
{
    if (reader_ids(s->link->router->readers, SLICE(""), after, PAGE_COUNT_MAX,
                   resync_trims, s, &s->job) < 0)
        link_gone(s->link, "out of memory");
}

static void resync_put(struct resync *s);

/* The next page, or the end. */
static void resync_step(struct resync *s)
{
    struct link *l = s->link;
    struct router *r = l->router;

    if (s->job)
        return;
    if (s->page) {
        if (is_heard(r, &s->trims, s->page))
            resync_put(s);
        return;
    }
    if (lane_full(&l->lane))
        return;
    if (repeater_catch_up(r, l))
        resync_end(s);
    else
        resync_read(s);
}

bool replay_told(const struct link *l, const struct msg *m)
{
    return l->resync && m->offset <= marks_of(&l->resync->told, m->id);
}

static void resync_damage(struct link *l, const struct page *page, size_t *at,
                          uint64_t before)
{
    for (; *at < page->damaged_count; ++*at) {
        const struct damage *d = &page->damaged[*at];

        if (d->first_seq >= before)
            return;
        if (d->id.len == 0 || repeater_wanted(l->router, l, d->id))
            put_damage(l, 0, d);
    }
}

static void resync_trimmed(struct resync *s, size_t *at, uint64_t before)
{
    struct link *l = s->link;
    const struct page *page = s->page;

    for (; *at < page->trimmed_count; ++*at) {
        const struct trimmed *t = &page->trimmed[*at];

        if (t->behind_seq >= before)
            return;
        if (t->to > marks_of(&s->told, t->id) &&
            repeater_wanted(l->router, l, t->id))
            put_trimmed(l, 0, t);
    }
}

static int resync_rows(struct resync *s)
{
    struct link *l = s->link;
    const struct page *page = s->page;
    size_t damage = 0, trimmed = 0;

    for (size_t i = 0; i < page->count; i++) {
        struct msg_parts parts = replay_parts(&page->records[i]);

        resync_damage(l, page, &damage, parts.seq);
        resync_trimmed(s, &trimmed, parts.seq);
        if (!repeater_wanted(l->router, l, parts.id))
            continue;
        if (replay_resnapshot(l, parts.flags, parts.id) < 0)
            return ERR_NOMEM;
        frame_write_deliver(lane_frame(&l->lane, FRAME_DELIVER), &parts);
        lane_frame_end(&l->lane);
        l->delivered++;
        stat_add(&l->router->stats, STAT_ROWS, 1);
    }
    resync_damage(l, page, &damage, UINT64_MAX);
    resync_trimmed(s, &trimmed, UINT64_MAX);
    return 0;
}

/* History cannot be read: going on with a hole that is told beats gateways
 * without a router. Without memory nothing is known to be lost: it is read again
 * when the gateway comes back. */
static void resync_unread(struct resync *s, int rc)
{
    struct link *l = s->link;
    struct damage lost = {.first_seq = l->position + 1,
                          .last_seq = l->router->stored_seq};

    if (rc == ERR_NOMEM) {
        link_gone(l, "out of memory");
        return;
    }
    log_error("resync.unread", "link=%s after=%" PRIu64 " error=%s "
              "action=tell_gap", l->who.name, l->position, err_name(rc));
    put_damage(l, 0, &lost);
    l->position = l->router->stored_seq;
    resync_end(s);
}

static void resync_trims(void *arg, struct id_list *list)
{
    struct resync *s = arg;
    struct link *l = s->link;
    int rc = list->rc;

    s->job = NULL;
    for (size_t i = 0; rc == 0 && i < list->count; i++)
        if (repeater_wanted(l->router, l, list->ids[i].id))
            rc = trims_add(&s->trims, &list->ids[i]);
    if (rc < 0)
        resync_unread(s, rc);
    else if (list->more)
        resync_ids(s, list->last);
    else
        resync_step(s);
    id_list_free(list);
}

/* Up to where trimming behind the page's end will have been told. ERR_NOMEM. */
static int resync_tells(struct resync *s, uint64_t end)
{
    const struct page *page = s->page;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->trims.count; i++) {
        const struct trim *t = &s->trims.all[i];

        if (t->seq > end)
            rc = marks_raise(&s->told, slice_str(t->id), t->offset);
    }
    for (size_t i = 0; rc == 0 && i < page->trimmed_count; i++)
        if (page->trimmed[i].last_seq > end)
            rc = marks_raise(&s->told, page->trimmed[i].id,
                             page->trimmed[i].to);
    return rc;
}

/* The page as a whole, and what is missing in it. */
static void resync_put(struct resync *s)
{
    struct link *l = s->link;
    uint64_t end = s->page->more ? s->page->upto_seq : s->upto;

    for (size_t i = 0; i < s->trims.count; i++)
        if (s->trims.all[i].damaged ||
            s->trims.all[i].offset >
            marks_of(&s->told, slice_str(s->trims.all[i].id)))
            put_trim(l, 0, &s->trims.all[i]);
    if (resync_rows(s) < 0 || resync_tells(s, end) < 0) {
        link_gone(l, "out of memory");
        return;
    }
    l->position = end;
    lane_set_seq(&l->lane, end);
    page_free(s->page);
    s->page = NULL;
    trims_free(&s->trims);
    resync_step(s);
}

static void resync_page(void *arg, struct page *page)
{
    struct resync *s = arg;
    struct link *l = s->link;
    bool lists = page->rc == 0 && trimmed_since(l->router, l->position);
    int rc = page->rc;

    s->job = NULL;
    s->page = page;
    s->trims.after = l->position;
    s->trims.upto = s->upto;
    stat_add(&l->router->stats, STAT_PAGES, 1);
    if (lists)
        rc = trims_begin(&s->trims, page);
    if (rc < 0)
        resync_unread(s, rc);
    else if (lists)
        resync_ids(s, SLICE(""));
    else
        resync_step(s);
}

void replay_resync(struct link *l)
{
    struct resync *s = calloc(1, sizeof *s);

    if (!s) {
        link_gone(l, "out of memory");
        return;
    }
    s->link = l;
    l->resync = s;
    link_become(l, LINK_READING);
    stat_add(&l->router->stats, STAT_LINKS_RESYNC, 1);
    log_info("link.resync", "link=%s after=%" PRIu64 " upto=%" PRIu64,
             l->who.name, l->position, l->router->stored_seq);
    resync_step(s);
}

/* ---- pages that were asked for ----------------------------------------- */

struct fetch {
    struct list_node node; /* link->fetches, in the order asked */
    struct link *link;
    uint32_t ref;
    uint8_t mode;
    uint64_t after, upto;
    uint32_t limit, bytes;
    struct slice *ids;     /* in ids_bytes; patterns behind the ids */
    size_t id_count, pattern_count;
    bool started;
    int failed;            /* an error instead of a page */
    struct read_job *job;
    struct page *page;     /* has come; being sent, or completed by trims */
    bool ready;            /* to be sent */
    size_t pattern;        /* whose trims are being looked for */
    struct trims trims;
    size_t next_trim, next_trimmed, next_damage, next_row;
    uint8_t bytes_kept[];
};

static void fetch_free(struct fetch *f)
{
    if (f->job)
        reader_cancel(f->link->router->readers, f->job);
    trims_free(&f->trims);
    free(f->ids);
    page_free(f->page);
    list_remove(&f->node);
    free(f);
}

static void put_page_end(struct link *l, uint32_t ref, int rc, bool more,
                         uint64_t upto)
{
    struct frame_page_end f = {
        .ref = ref,
        .more = more,
        .status = (uint8_t)-rc,
        .upto = upto,
    };

    frame_write_page_end(lane_frame(&l->lane, FRAME_PAGE_END), &f);
    lane_frame_end(&l->lane);
}

static void fetch_start_next(struct link *l);

/* The answer will be an error. */
static void fetch_fail(struct fetch *f, int rc)
{
    f->failed = rc;
    f->ready = true;
    loop_again(f->link->router->loop);
}

static void fetch_end(struct fetch *f)
{
    struct link *l = f->link;
    const struct page *page = f->page;
    bool more = !f->failed && page->more;
    uint64_t upto = f->failed ? f->after : f->upto;

    if (more && f->mode == FETCH_SINCE)
        upto = page->upto_seq;
    put_page_end(l, f->ref, f->failed, more, upto);
    fetch_free(f);
    fetch_start_next(l);
}

static void trims_of_pattern(void *arg, struct id_list *list);

/* Patterns name no ids, so the store is asked which ones there are; only when
 * anything at all was trimmed since. */
static int next_pattern(struct fetch *f, struct slice after)
{
    struct router *r = f->link->router;
    bool needed = f->mode == FETCH_SINCE && f->after &&
                  trimmed_since(r, f->after);

    if (!needed || f->pattern == f->pattern_count) {
        f->ready = true;
        loop_again(r->loop);
        return 0;
    }
    return reader_ids(r->readers, f->ids[f->id_count + f->pattern], after,
                      PAGE_COUNT_MAX, trims_of_pattern, f, &f->job);
}

static void trims_of_pattern(void *arg, struct id_list *list)
{
    struct fetch *f = arg;
    int rc = list->rc;

    f->job = NULL;
    for (size_t i = 0; rc == 0 && i < list->count; i++)
        rc = trims_add(&f->trims, &list->ids[i]);
    if (rc == 0 && list->more) {
        rc = next_pattern(f, list->last);
    } else if (rc == 0) {
        f->pattern++;
        rc = next_pattern(f, SLICE(""));
    }
    id_list_free(list);
    if (rc < 0)
        fetch_fail(f, rc);
}

static void fetched(void *arg, struct page *page)
{
    struct fetch *f = arg;
    int rc = page->rc;

    f->job = NULL;
    f->page = page;
    stat_add(&f->link->router->stats, STAT_PAGES, 1);
    if (rc == 0 && f->pattern_count)
        rc = trims_begin(&f->trims, page);
    if (rc == 0)
        rc = next_pattern(f, SLICE(""));
    if (rc < 0)
        fetch_fail(f, rc);
}

/* ---- asking ------------------------------------------------------------ */

/* The last seq that the page may hold. */
static uint64_t last_wanted(const struct fetch *f)
{
    uint64_t here = f->link->router->seq;

    if (f->mode == FETCH_BEFORE)
        return f->upto ? MIN(f->upto - 1, here) : 0;
    return f->upto ? MIN(f->upto, here) : here;
}

static int fetch_start(struct fetch *f)
{
    struct router *r = f->link->router;
    struct page_request q = {
        .ids = f->ids,
        .id_count = f->id_count,
        .patterns = f->ids + f->id_count,
        .pattern_count = f->pattern_count,
        .after_seq = f->after,
        .max_count = f->limit,
        .max_bytes = f->bytes,
        .newest = f->mode != FETCH_SINCE,
    };

    f->started = true;
    f->upto = q.upto_seq = last_wanted(f);
    f->trims.upto = MIN(f->upto, f->link->router->stored_seq);
    return reader_page(r->readers, &q, fetched, f, &f->job);
}

static void fetch_start_next(struct link *l)
{
    unsigned running = 0;

    LIST_FOREACH(f, &l->fetches, struct fetch, node) {
        int rc = 0;

        if (++running > FETCHES_AT_ONCE)
            return;
        if (!f->started)
            rc = fetch_start(f);
        if (rc < 0)
            fetch_fail(f, rc);
    }
}

static bool fetch_bad(struct link *l, const struct frame_fetch *q)
{
    struct frame_fetch walk = *q;
    struct slice id;

    for (unsigned i = 0; i < q->count; i++)
        if (frame_next_fetch_id(&walk, &id) < 0 || pattern_problem(id)) {
            put_page_end(l, q->ref, ERR_BAD, false, q->after);
            return true;
        }
    if (q->count > 0 && q->count <= PAGE_IDS_MAX)
        return false;
    put_page_end(l, q->ref, ERR_BAD, false, q->after);
    return true;
}

/* Ids to the front, patterns to the end. */
static void fetch_keep_ids(struct fetch *f, struct frame_fetch walk)
{
    uint8_t *at = f->bytes_kept;
    struct slice id;

    for (unsigned i = 0; i < walk.count; i++) {
        size_t place;

        if (frame_next_fetch_id(&walk, &id) < 0)
            return;
        place = id_is_pattern(id) ? walk.count - ++f->pattern_count
                                  : f->id_count++;
        memcpy(at, id.ptr, id.len);
        f->ids[place] = slice_make(at, id.len);
        at += id.len;
    }
}

int replay_fetch(struct link *l, const struct frame_fetch *q)
{
    const struct config_limits *limits = &l->router->config->limits;
    struct fetch *f;

    if (fetch_bad(l, q))
        return 0;
    f = calloc(1, sizeof *f + cursor_left(&q->items));
    if (!f)
        return ERR_NOMEM;
    list_init(&f->node);
    f->link = l;
    f->ids = calloc(q->count, sizeof *f->ids);
    if (!f->ids) {
        fetch_free(f);
        return ERR_NOMEM;
    }
    f->ref = q->ref;
    f->mode = q->mode;
    f->after = q->after;
    f->upto = q->upto;
    f->trims.after = q->after;
    f->limit = (uint32_t)(q->limit ? MIN(q->limit, limits->page)
                                   : limits->page);
    f->bytes = (uint32_t)(q->bytes ? MIN(q->bytes, limits->page_bytes)
                                   : limits->page_bytes);
    fetch_keep_ids(f, *q);
    list_add_tail(&l->fetches, &f->node);
    fetch_start_next(l);
    return 0;
}

/* ---- sending ----------------------------------------------------------- */

static void put_trims(struct fetch *f)
{
    for (; f->next_trim < f->trims.count; f->next_trim++)
        put_trim(f->link, f->ref, &f->trims.all[f->next_trim]);
}

static void put_damages(struct fetch *f, uint64_t before)
{
    const struct page *page = f->page;

    for (; f->next_damage < page->damaged_count; f->next_damage++) {
        if (page->damaged[f->next_damage].first_seq >= before)
            return;
        put_damage(f->link, f->ref, &page->damaged[f->next_damage]);
    }
}

/* What is missing in front of this seq. */
static void put_holes(struct fetch *f, uint64_t before)
{
    const struct page *page = f->page;

    put_damages(f, before);
    for (; f->next_trimmed < page->trimmed_count; f->next_trimmed++) {
        if (page->trimmed[f->next_trimmed].behind_seq >= before)
            return;
        put_trimmed(f->link, f->ref, &page->trimmed[f->next_trimmed]);
    }
}

/* Some rows of a page. True: it is through, and f is gone. */
static bool send_some(struct fetch *f, unsigned *budget)
{
    struct link *l = f->link;
    const struct page *page = f->page;
    unsigned most = MIN((unsigned)REPLAY_ROWS_PER_PASS, *budget);

    if (f->failed) {
        fetch_end(f);
        return true;
    }
    put_trims(f);
    for (; most && f->next_row < page->count; f->next_row++, most--) {
        struct msg_parts parts = replay_parts(&page->records[f->next_row]);

        if (lane_full(&l->lane))
            return false;
        put_holes(f, parts.seq);
        frame_write_row(lane_frame(&l->lane, FRAME_ROW), f->ref, &parts);
        lane_frame_end(&l->lane);
        stat_add(&l->router->stats, STAT_ROWS, 1);
        --*budget;
    }
    if (f->next_row < page->count)
        return false;
    put_holes(f, UINT64_MAX);
    fetch_end(f);
    return true;
}

static bool is_ready(const struct fetch *f)
{
    return f->ready &&
           (f->failed || is_heard(f->link->router, &f->trims, f->page));
}

/* One pass over a link's pages. False: nothing could be sent. */
static bool send_pass(struct link *l, unsigned *budget)
{
    unsigned before = *budget;
    bool any = false;

    LIST_FOREACH_SAFE(f, next, &l->fetches, struct fetch, node) {
        if (!*budget || lane_full(&l->lane))
            break;
        if (is_ready(f))
            any = send_some(f, budget) || any;
    }
    return any || *budget < before;
}

void replay_turn(struct router *r)
{
    unsigned budget = REPLAY_ROWS_PER_TURN;
    bool sent = true;

    while (budget && sent) {
        sent = false;
        LIST_FOREACH(l, &r->links.all, struct link, node)
            sent = send_pass(l, &budget) || sent;
    }
    if (!budget)
        loop_again(r->loop);
    LIST_FOREACH_SAFE(l, next, &r->links.all, struct link, node)
        if (l->resync)
            resync_step(l->resync);
}

void replay_link_gone(struct link *l)
{
    struct list_node *n;

    resync_free(l->resync);
    forget_due(l);
    while ((n = list_first(&l->fetches)))
        fetch_free(CONTAINER_OF(n, struct fetch, node));
}
