#include <stdlib.h>

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
    struct slice pattern, after; /* in the box's arena; after moves on */
    size_t limit, room;
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

static int add(struct list_job *l, const struct id_record *r)
{
    struct id_list *list = &l->box->list;

    if (list->count == l->room) {
        size_t room = l->room ? 2 * l->room : LIST_STEP;
        struct id_record *more = realloc(list->ids, room * sizeof *more);

        if (!more)
            return ERR_NOMEM;
        list->ids = more;
        l->room = room;
    }
    list->ids[list->count] = *r;
    list->ids[list->count].id = l->after;
    list->count++;
    return 0;
}

static int take(struct list_job *l, sqlite3_stmt *s)
{
    struct id_list *list = &l->box->list;
    struct id_record r;
    int64_t unused;
    int rc, skip = ids_read(s, &r, &unused, &unused);

    if (!slice_starts(r.id, pattern_prefix(l->pattern))) {
        l->end = true;
        return 0;
    }
    if (l->pattern.len && !l->job.match(l->pattern, r.id))
        skip = ERR_NOT_FOUND;
    else if (list->count == l->limit)
        l->end = list->more = true;
    if (l->end)
        return 0;
    rc = arena_copy(&l->box->arena, r.id, &l->after);
    return rc == 0 && skip == 0 ? add(l, &r) : rc;
}

static int slice(struct read_job *j, struct read_conn *c)
{
    struct list_job *l = CONTAINER_OF(j, struct list_job, job);
    sqlite3_stmt *s = c->st[RD_IDS];
    int found = 0, rc;

    db_bind_text(s, 1, l->after);
    db_bind_text(s, 2, pattern_prefix(l->pattern));
    db_bind_i64(s, 3, LIST_STEP);
    for (rc = db_step(s); rc > 0 && !l->end; rc = db_step(s)) {
        rc = take(l, s);
        if (rc < 0)
            break;
        found++;
    }
    sqlite3_reset(s);
    return rc < 0 ? rc : !l->end && found == LIST_STEP;
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
    l->limit = limit;
    l->done = done;
    l->arg = arg;
    l->box = calloc(1, sizeof *l->box);
    if (!l->box || arena_copy(&l->box->arena, pattern, &l->pattern) < 0
        || arena_copy(&l->box->arena, after, &l->after) < 0) {
        destroy(&l->job);
        return ERR_NOMEM;
    }
    *ret = &l->job;
    return 0;
}
