/* ledger.h - ids whose state is committed, or only accepted so far.
 *
 * An entry holds the committed state of an id and, in order, one state for
 * each event that was accepted behind it and is not committed yet. States
 * never change once accepted, so that a commit only moves a pointer and
 * cannot fail, and a rollback only frees. An entry without any state is gone.
 * Embed struct ledger_state and struct ledger_entry in your own.
 * Threads: the router's loop. Cost: O(1) each. */
#ifndef TOUCHLINE_ROUTER_TYPES_LEDGER_H
#define TOUCHLINE_ROUTER_TYPES_LEDGER_H

#include "base/base.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"

struct ledger_state {
    struct list_node link;
};

struct ledger_entry {
    struct map_node node;
    struct list_node dirty;   /* ledger->dirty while anything is pending */
    struct list_node pending; /* struct ledger_state, oldest first */
    struct ledger_state *committed; /* NULL: not yet */
    char *id;
    size_t id_len;
};

struct ledger {
    struct map entries;
    struct list_node dirty;
    void (*free_state)(struct ledger_state *s);
    void (*free_entry)(struct ledger_entry *e); /* states and id are gone */
};

void ledger_init(struct ledger *l, void (*free_state)(struct ledger_state *),
                 void (*free_entry)(struct ledger_entry *));
void ledger_fini(struct ledger *l);

struct ledger_entry *ledger_find(const struct ledger *l, struct slice id);
struct slice ledger_id(const struct ledger_entry *e);
/* Takes e on 0; the caller accepts or loads a state next. ERR_NOMEM. */
MUST_USE int ledger_add(struct ledger *l, struct ledger_entry *e,
                        struct slice id);

/* The newest accepted state, else the committed one. e may be NULL. */
struct ledger_state *ledger_tentative(const struct ledger_entry *e);
/* Takes s. */
void ledger_accept(struct ledger *l, struct ledger_entry *e,
                   struct ledger_state *s);
/* The oldest pending state becomes the committed one. */
void ledger_commit(struct ledger *l, struct ledger_entry *e);
/* Takes s as the committed state; nothing may be pending. */
void ledger_load(struct ledger *l, struct ledger_entry *e,
                 struct ledger_state *s);
/* The newest pending state goes, and e with it when it was the only one. */
void ledger_withdraw(struct ledger *l, struct ledger_entry *e);
/* All pending states go, and entries that never were committed. */
void ledger_rollback(struct ledger *l);

/* Walks the committed entries; the ledger must not change meanwhile. */
struct map_iter ledger_iter(struct ledger *l);
struct ledger_entry *ledger_next(struct map_iter *it); /* NULL: no more */

#endif
