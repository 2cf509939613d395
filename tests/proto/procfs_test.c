#include "proto/procfs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/t/t.h"

static uint32_t self(void)
{
    return (uint32_t)getpid();
}

TEST(memory_that_is_written_to_is_seen)
{
    enum { BYTES = 16 * 1024 * 1024 };
    struct proc_memory before, after;
    char *room = malloc(BYTES);

    EXPECT(proc_memory(self(), &before));
    memset(room, 1, BYTES);
    __asm__ volatile("" : : "r"(room) : "memory");
    EXPECT(proc_memory(self(), &after));
    EXPECT(after.pss > before.pss + BYTES / 2);
    EXPECT(after.private > before.private + BYTES / 2);
    free(room);
}

TEST(processor_time_grows_with_work)
{
    int64_t before, now;

    EXPECT(proc_cpu_ns(self(), &before));
    do
        EXPECT(proc_cpu_ns(self(), &now));
    while (now < before + 20 * MILLISECOND);
}

TEST(a_child_is_known_by_its_parent_and_gone_when_it_is_over)
{
    int hold[2];
    uint32_t found[8];
    struct proc_who who;
    struct proc_memory memory;
    pid_t child;

    EXPECT_INT(pipe(hold), 0);
    child = fork();
    if (child == 0) {
        char byte;

        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    EXPECT_INT(proc_children(self(), found, ARRAY_LEN(found)), 1);
    EXPECT_INT(found[0], child);
    EXPECT(proc_who((uint32_t)child, &who));
    EXPECT_INT(who.parent, self());
    close(hold[1]);
    waitpid(child, NULL, 0);
    EXPECT_INT(proc_children(self(), found, ARRAY_LEN(found)), 0);
    EXPECT(!proc_who((uint32_t)child, &who));
    EXPECT(!proc_memory((uint32_t)child, &memory));
}
