/* list.h - intrusive doubly linked list; the head is a node of its own.
 * Threads: those of whoever owns the list. Cost: O(1), no allocation.
 *
 * A node is on no list when it points to itself: initialise nodes with
 * list_init(), and removing twice (or a node never added) is harmless. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/base.h"

struct list_node {
    struct list_node *prev;
    struct list_node *next;
};

/* For a head and for a node. */
static inline void list_init(struct list_node *n) { n->prev = n->next = n; }

static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}

/* Is this node on a list? */
static inline bool list_linked(const struct list_node *n)
{
    return n->next != n;
}

/* Puts n in front of `at`; n must be on no list. */
static inline void list_add_before(struct list_node *at, struct list_node *n)
{
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}

static inline void list_add_tail(struct list_node *head, struct list_node *n)
{
    list_add_before(head, n);
}

static inline void list_add_head(struct list_node *head, struct list_node *n)
{
    list_add_before(head->next, n);
}

/* Leaves n initialised, ready to be added elsewhere. */
static inline void list_remove(struct list_node *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* NULL when empty. */
static inline struct list_node *list_first(const struct list_node *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list_node *list_last(const struct list_node *head)
{
    return list_empty(head) ? NULL : head->prev;
}

/* Removes and returns the first node; NULL when empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
    struct list_node *n = list_first(head);

    if (n)
        list_remove(n);
    return n;
}

/* Moves all of `from` behind the last of `to`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list_node *to,
                                    struct list_node *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

/* for each element; the list must not change meanwhile. `var` is declared by
 * the loop and points to a `type` whose `member` is the node. */
#define LIST_FOREACH(var, head, type, member)                            \
    for (type *var = CONTAINER_OF((head)->next, type, member);           \
         &var->member != (head);                                         \
         var = CONTAINER_OF(var->member.next, type, member))

/* The same, but `var` itself may be removed and freed; no other may. */
#define LIST_FOREACH_SAFE(var, tmp, head, type, member)                  \
    for (type *var = CONTAINER_OF((head)->next, type, member),           \
              *tmp = CONTAINER_OF(var->member.next, type, member);       \
         &var->member != (head);                                         \
         var = tmp, tmp = CONTAINER_OF(tmp->member.next, type, member))

#endif
