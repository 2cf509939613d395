#include "tools/flood/share.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/t/t.h"

TEST(the_last_of_an_audience_is_known_by_whoever_it_is)
{
    struct stage *s = stage_new(10);

    atomic_store(&s->audience[3], 3);
    EXPECT(!stage_is_last(s, 3, 1));
    EXPECT(!stage_is_last(s, 3, 2));
    EXPECT(!stage_is_last(s, 3, 1));
    EXPECT(stage_is_last(s, 3, 1));
    EXPECT(!stage_is_last(s, 3, 2));
    EXPECT(stage_is_last(s, 3, 2));
    atomic_store(&s->audience[4], 1);
    EXPECT(!stage_is_last(s, 4, 1)); /* alone is no last one */
}

TEST(processes_meet_in_it)
{
    struct stage *s = stage_new(10);
    struct share *w = share_new(2);
    int status;
    pid_t pid;

    atomic_store(&s->audience[1], 2);
    EXPECT(!stage_is_last(s, 1, 7));
    pid = fork();
    if (pid == 0) {
        share_add(&w[1], SHARE_received, 5);
        stage_saw(s, 1, 7);
        _exit(stage_is_last(s, 1, 7));
    }
    EXPECT_INT(waitpid(pid, &status, 0), pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    EXPECT_INT(share_get(&w[1], SHARE_received), 5);
    EXPECT_INT(atomic_load(&s->newest[1]), 7);
    stage_saw(s, 1, 6);
    stage_mark_end(s);
    stage_saw(s, 1, 9);
    EXPECT_INT(atomic_load(&s->upto[1]), 7);
}
