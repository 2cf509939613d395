#include "base/list.h"

#include "tests/t/t.h"

struct item {
    int value;
    struct list_node node;
};

static int sum_in_order(struct list_node *head)
{
    int n = 0;

    LIST_FOREACH(it, head, struct item, node)
        n = n * 10 + it->value;
    return n;
}

TEST(nodes_keep_the_order_they_are_added_in)
{
    struct list_node head;
    struct item items[4] = { { 1, { 0 } }, { 2, { 0 } }, { 3, { 0 } },
                             { 4, { 0 } } };

    list_init(&head);
    EXPECT(list_empty(&head));
    EXPECT(!list_first(&head) && !list_last(&head) && !list_pop(&head));
    list_add_tail(&head, &items[1].node);
    list_add_tail(&head, &items[2].node);
    list_add_head(&head, &items[0].node);
    list_add_before(&items[1].node, &items[3].node);
    EXPECT_INT(sum_in_order(&head), 1423);
    EXPECT(list_first(&head) == &items[0].node);
    EXPECT(list_last(&head) == &items[2].node);
    EXPECT(list_pop(&head) == &items[0].node);
    EXPECT_INT(sum_in_order(&head), 423);
}

TEST(removing_twice_does_no_harm)
{
    struct list_node head;
    struct item a = { .value = 1 }, b = { .value = 2 };

    list_init(&head);
    list_init(&a.node);
    list_remove(&a.node);
    list_add_tail(&head, &a.node);
    list_add_tail(&head, &b.node);
    EXPECT(list_linked(&a.node));
    list_remove(&a.node);
    list_remove(&a.node);
    EXPECT(!list_linked(&a.node));
    EXPECT_INT(sum_in_order(&head), 2);
}

TEST(elements_may_be_freed_while_walking)
{
    struct list_node head;

    list_init(&head);
    for (int i = 0; i < 5; i++) {
        struct item *it = calloc(1, sizeof *it);

        it->value = i;
        list_add_tail(&head, &it->node);
    }
    LIST_FOREACH_SAFE(it, next, &head, struct item, node) {
        list_remove(&it->node);
        free(it);
    }
    EXPECT(list_empty(&head));
}

TEST(a_list_is_appended_to_another_whole)
{
    struct list_node to, from;
    struct item items[3] = { { 1, { 0 } }, { 2, { 0 } }, { 3, { 0 } } };

    list_init(&to);
    list_init(&from);
    list_splice_tail(&to, &from);
    EXPECT(list_empty(&to));
    list_add_tail(&to, &items[0].node);
    list_add_tail(&from, &items[1].node);
    list_add_tail(&from, &items[2].node);
    list_splice_tail(&to, &from);
    EXPECT_INT(sum_in_order(&to), 123);
    EXPECT(list_empty(&from));
    EXPECT(list_last(&to) == &items[2].node);
}
