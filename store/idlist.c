#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/arena.h"
#include "store/readjob.h"

enum { LIST_STEP = 64 };

struct list_box {
    struct id_list list;
    struct arena arena;
};

struct list_job {
    struct read_job job;
    struct list_box *box;
    id_list_done *done;
    void *arg;
    struct slice pattern; /* in the box's arena */
    struct buf after;     /* the last id looked at */
    size_t limit, room, looked;
    bool end;
};

void id_list_free(struct id_list *l)
{
    struct list_box *box;

    if (!l)
        return;
    box = CONTAINER_OF(l, struct list_box, list);
    arena_fini(&box->arena);
    free(box->list.ids);
    free(box);
}

struct slice pattern_prefix(struct slice pattern)
{
    return slice_head(pattern, slice_find_byte(pattern, '*'));
}

struct slice names_from(struct slice pattern, struct slice seen)
{
    struct slice prefix = pattern_prefix(pattern);

    return slice_cmp(seen, prefix) > 0 ? seen : prefix;
}

static int add(struct list_job *l, const struct id_record *r)
{
    struct id_list *list = &l->box->list;
    struct slice id;
    int rc = arena_copy(&l->box->arena, r->id, &id);

    if (rc < 0)
        return rc;
    if (list->count == l->room) {
        size_t room = l->room ? 2 * l->room : LIST_STEP;
        struct id_record *more = realloc(list->ids, room * sizeof *more);

        if (!more)
            return ERR_NOMEM;
        list->ids = more;
        l->room = room;
    }
    list->ids[list->count] = *r;
    list->ids[list->count].id = id;
    list->count++;
    return 0;
}

/* The record of an id whose name the index has. */
static int find_record(struct list_job *l, struct read_conn *c, int64_t idn)
{
    const struct id_record unread = {
        .id = buf_slice(&l->after), .damaged = true};
    sqlite3_stmt *s = c->st[RD_ID_OF];
    struct id_record r = unread;
    int64_t unused;
    int rc;

    db_bind_i64(s, 1, idn);
    rc = db_step(s);
    if (rc > 0 && (ids_read(s, &r, &unused, &unused) < 0 ||
                   !slice_eq(r.id, unread.id)))
        r = unread;
    if (rc >= 0)
        rc = add(l, &r);
    sqlite3_reset(s);
    return rc;
}

/* s stands on the next name. */
static int take(struct list_job *l, struct read_conn *c, sqlite3_stmt *s)
{
    struct id_list *list = &l->box->list;
    struct slice id = db_bytes(s, 1);
    bool wanted = !l->pattern.len || l->job.match(l->pattern, id);

    if (slice_eq(id, buf_slice(&l->after)))
        return 0;
    if (!slice_starts(id, pattern_prefix(l->pattern)))
        l->end = true;
    else if ((wanted && list->count == l->limit) ||
             l->looked == ID_LIST_LOOKS)
        l->end = list->more = true;
    if (l->end)
        return 0;
    l->looked++;
    buf_reset(&l->after);
    buf_add(&l->after, id);
    if (l->after.failed)
        return ERR_NOMEM;
    return wanted ? find_record(l, c, db_i64(s, 0)) : 0;
}

static int slice(struct read_job *j, struct read_conn *c)
{
    struct list_job *l = CONTAINER_OF(j, struct list_job, job);
    sqlite3_stmt *s = c->st[RD_IDS];
    size_t before = l->box->list.count;
    bool spent = false;
    unsigned seen = 0;
    int rc;

    db_bind_text(s, 1, names_from(l->pattern, buf_slice(&l->after)));
    db_bind_i64(s, 2, -1);
    while (!spent && (rc = db_step(s)) > 0 && !l->end) {
        rc = take(l, c, s);
        if (rc < 0)
            break;
        spent = ++seen % NAMES_A_LOOKUP == 0 &&
                read_conn_spent(c, COST_LOOKUP);
    }
    c->found += (unsigned)(l->box->list.count - before);
    sqlite3_reset(s);
    if (rc >= 0 && (!spent || l->end))
        rc = arena_copy(&l->box->arena, buf_slice(&l->after),
                        &l->box->list.last);
    return rc < 0 ? rc : spent && !l->end;
}

static void failed(struct read_job *j, int rc)
{
    struct list_job *l = CONTAINER_OF(j, struct list_job, job);

    l->box->list.rc = rc;
    l->box->list.count = 0;
}

static void deliver(struct read_job *j)
{
    struct list_job *l = CONTAINER_OF(j, struct list_job, job);
    struct id_list *list = &l->box->list;

    l->box = NULL;
    l->done(l->arg, list);
}

static void destroy(struct read_job *j)
{
    struct list_job *l = CONTAINER_OF(j, struct list_job, job);

    if (l->box)
        id_list_free(&l->box->list);
    buf_fini(&l->after);
    free(l);
}

int list_job_new(struct read_job **ret, struct slice pattern,
                 struct slice after, size_t limit, id_list_done *done,
                 void *arg)
{
    struct list_job *l = calloc(1, sizeof *l);

    if (!l)
        return ERR_NOMEM;
    l->job = (struct read_job){
        .slice = slice, .failed = failed, .deliver = deliver,
        .destroy = destroy,
    };
    list_init(&l->job.node);
    l->job.searches = pattern.len > 0;
    l->limit = limit;
    l->done = done;
    l->arg = arg;
    buf_add(&l->after, after);
    l->box = calloc(1, sizeof *l->box);
    if (!l->box || l->after.failed
        || arena_copy(&l->box->arena, pattern, &l->pattern) < 0) {
        destroy(&l->job);
        return ERR_NOMEM;
    }
    *ret = &l->job;
    return 0;
}
