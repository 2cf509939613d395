#include "proto/msg.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

static struct slice keep(uint8_t **at, struct slice s)
{
    struct slice kept = {*at, s.len};

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

int msg_new(struct msg **ret, const struct msg_parts *p)
{
    size_t bytes = p->id.len + p->from.len + p->kind.len + p->key.len +
                   p->data.len;
    struct msg *m = malloc(sizeof *m + bytes);
    uint8_t *at;

    if (!m)
        return ERR_NOMEM;
    at = (uint8_t *)(m + 1);
    *m = (struct msg){
        .refs = 1,
        .format = p->format,
        .flags = p->flags,
        .seq = p->seq,
        .offset = p->offset,
        .ts_ms = p->ts_ms,
    };
    m->id = keep(&at, p->id);
    m->from = keep(&at, p->from);
    m->kind = keep(&at, p->kind);
    m->key = keep(&at, p->key);
    m->data = keep(&at, p->data);
    *ret = m;
    return 0;
}

struct msg *msg_hold(struct msg *m)
{
    CHECK(m->refs > 0);
    m->refs++;
    return m;
}

void msg_drop(struct msg *m)
{
    if (!m)
        return;
    CHECK(m->refs > 0);
    if (--m->refs)
        return;
    for (size_t i = 0; i < MSG_FORMS; i++)
        wire_drop(m->forms[i]);
    free(m);
}

size_t msg_size(const struct msg *m)
{
    return sizeof *m + m->id.len + m->from.len + m->kind.len + m->key.len +
           m->data.len;
}

struct wire *wire_new(size_t len)
{
    struct wire *w;

    if (len > UINT32_MAX)
        return NULL;
    w = malloc(sizeof *w + len);
    if (!w)
        return NULL;
    w->refs = 1;
    w->len = (uint32_t)len;
    w->next = NULL;
    return w;
}

struct wire *wire_hold(struct wire *w)
{
    CHECK(w->refs > 0);
    w->refs++;
    return w;
}

void wire_drop(struct wire *w)
{
    while (w) {
        struct wire *next = w->next;

        CHECK(w->refs > 0);
        if (--w->refs)
            return;
        free(w);
        w = next;
    }
}
