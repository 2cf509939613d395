#include "gateways/http/packer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "gateways/common/gateway.h"

enum {
    TEXTS_MAX = 1024, /* of messages, kept for those behind them ... */
    TEXTS_BYTES = 1024 * KIB,
    ALIKES_MAX = 64, /* of others, with what they became */
    ALIKES_BYTES = 1024 * KIB,
};

/* The end of a message's text, for who is to be compressed behind it. */
struct text {
    struct map_node node; /* of packer->texts */
    struct list_node order;
    uint64_t name;
    size_t len;
    uint8_t bytes[];
};

/* Something that several are told, or ask for, within a short time. */
struct alike {
    struct list_node order; /* of packer->alikes, the one told last first */
    uint32_t hash;
    uint8_t *bytes; /* the text, and behind it the piece */
    size_t text, piece;
};

struct packer {
    struct gzip *gzip;
    struct map texts;
    struct list_node order; /* of texts, the next to go first */
    struct list_node alikes;
    size_t texts_bytes, alikes_bytes;
    unsigned alikes_count;
    uint64_t last; /* name given */
    struct buf before, piece;
};

/* In front of the chunk in the wire of a packed message, as memory. */
struct label {
    struct said behind; /* what is in view; text 0: nothing */
    uint64_t text;
    struct gzip_sum sum;
};

/* ---- made and freed ----------------------------------------------------- */

struct packer *packer_new(void)
{
    struct packer *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    map_init(&p->texts);
    list_init(&p->order);
    list_init(&p->alikes);
    p->gzip = gzip_new();
    if (p->gzip)
        return p;
    free(p);
    return NULL;
}

static void text_free(struct packer *p, struct text *t)
{
    map_remove(&p->texts, &t->node);
    list_remove(&t->order);
    p->texts_bytes -= sizeof *t + t->len;
    free(t);
}

static void alike_free(struct packer *p, struct alike *a)
{
    list_remove(&a->order);
    p->alikes_bytes -= a->text + a->piece;
    p->alikes_count--;
    free(a->bytes);
    free(a);
}

void packer_free(struct packer *p)
{
    struct list_node *n;

    if (!p)
        return;
    while ((n = list_first(&p->order)))
        text_free(p, CONTAINER_OF(n, struct text, order));
    while ((n = list_first(&p->alikes)))
        alike_free(p, CONTAINER_OF(n, struct alike, order));
    map_fini(&p->texts);
    gzip_free(p->gzip);
    buf_fini(&p->before);
    buf_fini(&p->piece);
    free(p);
}

struct packer *packer_of(struct gateway *g)
{
    struct packer *p = gateway_edge_state(g);

    if (!p) {
        p = packer_new();
        gateway_set_edge_state(g, p);
    }
    return p;
}

/* ---- texts in view ------------------------------------------------------ */

static bool text_is(const struct map_node *node, const void *key)
{
    return CONTAINER_OF(node, struct text, node)->name ==
           *(const uint64_t *)key;
}

/* Names are given in a row: their low bits are as good as a hash. */
static struct text *text_find(struct packer *p, uint64_t name)
{
    struct map_node *n = map_find(&p->texts, (uint32_t)name, text_is, &name);

    return n ? CONTAINER_OF(n, struct text, node) : NULL;
}

/* Without memory nothing will be compressed behind it, and that is all. */
static void keep_text(struct packer *p, uint64_t name, struct slice text)
{
    struct slice end = slice_from(text, text.len - MIN(text.len,
                                                       (size_t)GZIP_REACH));
    struct text *t = malloc(sizeof *t + end.len);

    if (!t)
        return;
    t->name = name;
    t->len = end.len;
    memcpy(t->bytes, end.ptr, end.len);
    if (map_add(&p->texts, &t->node, (uint32_t)name) < 0) {
        free(t);
        return;
    }
    list_init(&t->order);
    list_add_tail(&p->order, &t->order);
    p->texts_bytes += sizeof *t + t->len;
    while (map_count(&p->texts) > TEXTS_MAX || p->texts_bytes > TEXTS_BYTES)
        text_free(p, CONTAINER_OF(list_first(&p->order), struct text, order));
}

/* What is in view; empty: nothing is kept of it. Of a text that has been
 * followed little more will be asked: it is the first to go, so that one busy
 * channel does not drive out the texts of quiet ones. */
static struct slice in_view(struct packer *p, unsigned form,
                            const struct said *behind)
{
    struct text *t = behind->text ? text_find(p, behind->text) : NULL;

    if (!t)
        return slice_make(NULL, 0);
    list_remove(&t->order);
    list_add_head(&p->order, &t->order);
    buf_reset(&p->before);
    buf_add(&p->before, slice_make(t->bytes, t->len));
    for (unsigned i = 0; i < behind->pings; i++)
        buf_add(&p->before, form_ping(form));
    return p->before.failed ? slice_make(NULL, 0) : buf_slice(&p->before);
}

/* ---- messages ----------------------------------------------------------- */

static struct label label_of(const struct wire *w)
{
    struct label l;

    memcpy(&l, w->bytes, sizeof l);
    return l;
}

static bool is_behind(const struct label *l, const struct said *behind)
{
    return l->behind.text == behind->text &&
           l->behind.pings == (behind->text ? behind->pings : 0);
}

static void fill(struct packed *ret, const struct wire *w)
{
    struct label l = label_of(w);

    ret->wire = w;
    ret->from = sizeof l;
    ret->len = w->len - sizeof l;
    ret->sum = l.sum;
    ret->text = l.text;
}

/* The kinds of a message that there are: the one that fits, else the one that
 * fits everybody, else NULL; *first names the text, *count how many. */
static const struct wire *find_kind(const struct wire *w,
                                    const struct said *behind, bool *fits,
                                    unsigned *count)
{
    const struct wire *lone = NULL;

    *fits = false;
    *count = 0;
    for (; w; w = w->next) {
        struct label l = label_of(w);

        *fits = is_behind(&l, behind);
        if (*fits)
            return w;
        if (l.behind.text == 0)
            lone = w;
        else
            ++*count;
    }
    return lone;
}

static struct wire *make_kind(struct packer *p, struct slice text,
                              const struct label *label, struct slice before)
{
    char head[24];
    struct wire *w;
    size_t len;
    uint8_t *at;

    buf_reset(&p->piece);
    gzip_pack(p->gzip, text, before, &p->piece);
    if (p->piece.failed)
        return NULL;
    len = (size_t)snprintf(head, sizeof head, "%zx\r\n", p->piece.len);
    w = wire_new(sizeof *label + len + p->piece.len + 2);
    if (!w)
        return NULL;
    at = w->bytes;
    memcpy(at, label, sizeof *label);
    memcpy(at += sizeof *label, head, len);
    memcpy(at += len, p->piece.ptr, p->piece.len);
    memcpy(at + p->piece.len, "\r\n", 2);
    return w;
}

static void count_made(struct packer *p, struct gateway *g, unsigned stat,
                       size_t text)
{
    gateway_count(g, stat);
    gateway_add(g, STAT_GZIP_BEFORE, text);
    gateway_add(g, STAT_GZIP_AFTER, p->piece.len);
}

/* One more kind, behind those that there are. */
static int add_kind(struct packer *p, struct conn *c, unsigned form,
                    struct msg *m, const struct said *behind,
                    struct slice before, struct packed *ret)
{
    struct wire *plain = form_wire(c, form & ~1u, m);
    struct wire **at = &m->forms[form_packed(form)];
    struct label label = {.text = ++p->last};
    struct slice text;
    struct wire *w;

    if (!plain)
        return ERR_NOMEM;
    text = slice_make(plain->bytes, plain->len);
    if (before.len)
        label.behind = *behind;
    if (*at) {
        label.text = label_of(*at).text;
        label.sum = label_of(*at).sum;
    } else {
        gzip_sum_text(&label.sum, text);
    }
    w = make_kind(p, text, &label, before);
    if (!w)
        return ERR_NOMEM;
    count_made(p, conn_gateway(c), STAT_GZIP_MESSAGES, text.len);
    if (!*at)
        keep_text(p, label.text, text);
    while (*at)
        at = &(*at)->next;
    *at = w;
    fill(ret, w);
    return 0;
}

int packer_message(struct packer *p, struct conn *c, unsigned form,
                   struct msg *m, const struct said *behind,
                   struct packed *ret)
{
    struct slice before = slice_make(NULL, 0);
    const struct wire *w;
    unsigned count;
    bool fits;

    w = find_kind(m->forms[form_packed(form)], behind, &fits, &count);
    if (!fits && count < PACKED_KINDS)
        before = in_view(p, form, behind);
    if (w && !before.len) {
        fill(ret, w);
        return 0;
    }
    return add_kind(p, c, form, m, behind, before, ret);
}

void packer_add(struct packer *p, struct gzip_sum *said,
                const struct packed *more)
{
    gzip_sum_part(p->gzip, said, &more->sum);
}

/* ---- texts that many are told alike ------------------------------------- */

static struct alike *alike_find(struct packer *p, struct slice text,
                                uint32_t hash)
{
    LIST_FOREACH(a, &p->alikes, struct alike, order) {
        if (a->hash != hash || a->text != text.len ||
            memcmp(a->bytes, text.ptr, text.len) != 0)
            continue;
        list_remove(&a->order);
        list_add_head(&p->alikes, &a->order);
        return a;
    }
    return NULL;
}

/* The piece becomes one that is found again; without memory it does not. */
static void alike_keep(struct packer *p, struct slice text, uint32_t hash)
{
    struct alike *a = calloc(1, sizeof *a);

    if (a)
        a->bytes = malloc(text.len + p->piece.len);
    if (!a || !a->bytes) {
        free(a);
        return;
    }
    a->hash = hash;
    a->text = text.len;
    a->piece = p->piece.len;
    memcpy(a->bytes, text.ptr, text.len);
    memcpy(a->bytes + text.len, p->piece.ptr, p->piece.len);
    list_init(&a->order);
    list_add_head(&p->alikes, &a->order);
    p->alikes_bytes += a->text + a->piece;
    p->alikes_count++;
    while (p->alikes_count > ALIKES_MAX || p->alikes_bytes > ALIKES_BYTES)
        alike_free(p, CONTAINER_OF(list_last(&p->alikes), struct alike, order));
}

void packer_text(struct packer *p, struct gateway *g, struct slice text,
                 struct buf *out)
{
    uint32_t hash;
    struct alike *a;

    if (text.len < PACKED_LEAST || text.len > PACKED_MOST) {
        gzip_store(text, out);
        return;
    }
    hash = hash_bytes(text);
    a = alike_find(p, text, hash);
    if (a) {
        gateway_count(g, STAT_GZIP_AGAIN);
        buf_add(out, slice_make(a->bytes + a->text, a->piece));
        return;
    }
    buf_reset(&p->piece);
    gzip_pack(p->gzip, text, slice_make(NULL, 0), &p->piece);
    if (p->piece.failed) {
        out->failed = true;
        return;
    }
    count_made(p, g, STAT_GZIP_TEXTS, text.len);
    buf_add(out, buf_slice(&p->piece));
    alike_keep(p, text, hash);
}

void packer_whole(struct packer *p, struct gateway *g, struct slice text,
                  struct buf *out)
{
    struct gzip_sum sum = {0, 0};

    gzip_sum_text(&sum, text);
    gzip_begin(out);
    packer_text(p, g, text, out);
    gzip_end(&sum, out);
}
