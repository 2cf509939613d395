#include "proto/handover.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "tests/t/t.h"

struct ends {
    struct handover a, b;
};

static void open_ends(struct ends *e)
{
    int fds[2];

    CHECK(handover_pair(fds) == 0);
    handover_init(&e->a, fds[0]);
    handover_init(&e->b, fds[1]);
}

static void close_ends(struct ends *e)
{
    handover_fini(&e->a);
    handover_fini(&e->b);
}

static int64_t soon(void)
{
    return clock_ns() + 10 * SECOND;
}

static int count_open(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

TEST(a_message_arrives_as_it_was_with_its_descriptors)
{
    struct handover_message m;
    struct ends e;
    int pipes[2], got;
    char c;

    open_ends(&e);
    CHECK(pipe(pipes) == 0);
    EXPECT_INT(handover_send(&e.a, 7, SLICE("hello"), &pipes[1], 1, 0), 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), 0);
    EXPECT_INT(m.kind, 7);
    EXPECT(slice_eq(m.body, SLICE("hello")));
    EXPECT_INT(m.file_count, 1);
    got = handover_take(&e.b, 0);
    EXPECT(got >= 0 && got != pipes[1]);
    EXPECT(fcntl(got, F_GETFD) & FD_CLOEXEC);
    EXPECT_INT(handover_take(&e.b, 0), -1);
    EXPECT_INT(handover_take(&e.b, 1), -1);
    EXPECT_INT(write(got, "x", 1), 1);
    EXPECT_INT(read(pipes[0], &c, 1), 1);
    close(got);
    close(pipes[0]);
    close(pipes[1]);
    close_ends(&e);
}

TEST(an_empty_message_is_one)
{
    struct handover_message m;
    struct ends e;

    open_ends(&e);
    EXPECT_INT(handover_send(&e.a, 1, SLICE(""), NULL, 0, 0), 0);
    EXPECT_INT(handover_send(&e.a, 2, SLICE(""), NULL, 0, 0), 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), 0);
    EXPECT_INT(m.kind, 1);
    EXPECT_INT(m.body.len, 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), 0);
    EXPECT_INT(m.kind, 2);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_AGAIN);
    EXPECT_INT(handover_receive(&e.b, clock_ns() + MILLISECOND, &m),
              ERR_TIMEOUT);
    close_ends(&e);
}

/* The other thread's part. */
static void *send_big(void *ctx)
{
    struct ends *e = ctx;
    size_t len = 3 * 1024 * 1024 + 5;
    uint8_t *bytes = malloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 31 >> 3);
    CHECK(handover_send(&e->a, 9, slice_make(bytes, len), NULL, 0, soon()) == 0);
    CHECK(handover_send(&e->a, 10, SLICE("next"), NULL, 0, soon()) == 0);
    free(bytes);
    return NULL;
}

TEST(a_long_message_travels_in_pieces)
{
    struct handover_message m;
    pthread_t other;
    struct ends e;
    bool same = true;

    open_ends(&e);
    CHECK(pthread_create(&other, NULL, send_big, &e) == 0);
    EXPECT_INT(handover_receive(&e.b, soon(), &m), 0);
    EXPECT_INT(m.kind, 9);
    EXPECT_INT(m.body.len, 3 * 1024 * 1024 + 5);
    for (size_t i = 0; i < m.body.len; i++)
        same &= m.body.ptr[i] == (uint8_t)(i * 31 >> 3);
    EXPECT(same);
    EXPECT_INT(handover_receive(&e.b, soon(), &m), 0);
    EXPECT(slice_eq(m.body, SLICE("next")));
    CHECK(pthread_join(other, NULL) == 0);
    close_ends(&e);
}

TEST(who_cannot_send_all_sends_the_same_again_and_nothing_comes_twice)
{
    struct handover_message m;
    struct ends e;
    uint8_t *bytes = calloc(1, 8 * 1024 * 1024);
    struct slice body = slice_make(bytes, 8 * 1024 * 1024);
    unsigned again = 0;
    int sent, got = ERR_AGAIN;

    open_ends(&e);
    while ((sent = handover_send(&e.a, 3, body, NULL, 0, 0)) == ERR_AGAIN) {
        again++;
        got = handover_receive(&e.b, 0, &m);
        EXPECT_INT(got, ERR_AGAIN);
    }
    EXPECT_INT(sent, 0);
    EXPECT(again > 10);
    EXPECT_INT(handover_receive(&e.b, soon(), &m), 0);
    EXPECT_INT(m.body.len, body.len);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_AGAIN);
    free(bytes);
    close_ends(&e);
}

TEST(nobody_reads_and_the_deadline_comes)
{
    struct ends e;
    uint8_t *bytes = calloc(1, 1024 * 1024);
    int rc;

    open_ends(&e);
    rc = handover_send(&e.a, 3, slice_make(bytes, 1024 * 1024), NULL, 0,
                       clock_ns() + 20 * MILLISECOND);
    EXPECT_INT(rc, ERR_TIMEOUT);
    free(bytes);
    close_ends(&e);
}

/* One that was cut short is not followed by another: where that would begin,
 * nobody could tell. */
TEST(nothing_is_said_behind_a_message_that_was_cut_short)
{
    struct handover_message m;
    struct ends e;
    uint8_t *bytes = calloc(1, 1024 * 1024);

    open_ends(&e);
    EXPECT_INT(handover_send(&e.a, 3, slice_make(bytes, 1024 * 1024), NULL, 0,
                             clock_ns() + 20 * MILLISECOND), ERR_TIMEOUT);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_AGAIN); /* there is room */
    EXPECT_INT(handover_send(&e.a, 4, SLICE("sorry"), NULL, 0, soon()),
               ERR_CLOSED);
    EXPECT_INT(handover_send(&e.b, 5, SLICE("well?"), NULL, 0, soon()), 0);
    EXPECT_INT(handover_receive(&e.a, 0, &m), 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_AGAIN);
    handover_fini(&e.a);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_CLOSED);
    handover_fini(&e.b);
    free(bytes);
}

TEST(what_was_said_is_read_before_the_end_is_noticed)
{
    struct handover_message m;
    struct ends e;

    open_ends(&e);
    EXPECT_INT(handover_send(&e.a, 5, SLICE("last"), NULL, 0, 0), 0);
    handover_fini(&e.a);
    EXPECT_INT(handover_receive(&e.b, soon(), &m), 0);
    EXPECT(slice_eq(m.body, SLICE("last")));
    EXPECT_INT(handover_receive(&e.b, soon(), &m), ERR_CLOSED);
    EXPECT_INT(handover_send(&e.b, 5, SLICE("x"), NULL, 0, soon()), ERR_CLOSED);
    handover_fini(&e.b);
}

TEST(descriptors_that_nobody_takes_are_closed)
{
    struct handover_message m;
    struct ends e;
    int files[HANDOVER_FILES], before;

    open_ends(&e);
    before = count_open();
    for (unsigned i = 0; i < HANDOVER_FILES; i++)
        files[i] = STDOUT_FILENO;
    EXPECT_INT(handover_send(&e.a, 1, SLICE("a"), files, HANDOVER_FILES, 0), 0);
    EXPECT_INT(handover_send(&e.a, 2, SLICE("b"), files, 3, 0), 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), 0);
    EXPECT_INT(m.file_count, HANDOVER_FILES);
    EXPECT_INT(count_open(), before + HANDOVER_FILES);
    EXPECT_INT(handover_receive(&e.b, 0, &m), 0);
    EXPECT_INT(m.file_count, 3);
    EXPECT_INT(count_open(), before + 3);
    close_ends(&e);
    EXPECT_INT(count_open(), before - 2);
}

TEST(too_many_descriptors_or_bytes_are_refused_and_nothing_is_sent)
{
    struct handover_message m;
    struct ends e;
    int files[HANDOVER_FILES + 1] = {0};

    open_ends(&e);
    EXPECT_INT(handover_send(&e.a, 1, SLICE("a"), files, HANDOVER_FILES + 1, 0),
              ERR_TOO_BIG);
    EXPECT_INT(handover_send(&e.a, 1,
                            slice_make(NULL, HANDOVER_LARGEST + (size_t)1),
                            NULL, 0, 0), ERR_TOO_BIG);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_AGAIN);
    close_ends(&e);
}

TEST(who_has_no_room_for_descriptors_says_so_and_keeps_none)
{
    struct rlimit before, low;
    struct handover_message m;
    struct ends e;
    int files[20], had;

    open_ends(&e);
    for (unsigned i = 0; i < ARRAY_LEN(files); i++)
        files[i] = STDOUT_FILENO;
    EXPECT_INT(handover_send(&e.a, 1, SLICE("a"), files, ARRAY_LEN(files), 0),
              0);
    had = count_open();
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    low = before;
    low.rlim_cur = (rlim_t)had + 5;
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    EXPECT_INT(handover_receive(&e.b, 0, &m), ERR_FULL);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    close_ends(&e);
    EXPECT_INT(count_open(), had - 2);
}

/* The end of who dies within a message is no other end. */
TEST(half_a_message_is_dropped_with_its_descriptors_when_the_other_end_goes)
{
    struct ends e;
    struct handover_message m;
    uint8_t *bytes = calloc(1, 1024 * 1024);
    int out = STDOUT_FILENO, had;

    open_ends(&e);
    had = count_open();
    EXPECT_INT(handover_send(&e.a, 3, slice_make(bytes, 1024 * 1024), &out, 1,
                             0), ERR_AGAIN);
    handover_fini(&e.a);
    EXPECT_INT(handover_receive(&e.b, soon(), &m), ERR_CLOSED);
    handover_fini(&e.b);
    EXPECT_INT(count_open(), had - 2);
    free(bytes);
}

/* ---- who speaks otherwise ------------------------------------------------ */

static void expect_refused(const void *bytes, size_t len)
{
    struct handover_message m;
    int fds[2];
    struct handover h;

    CHECK(handover_pair(fds) == 0);
    handover_init(&h, fds[0]);
    EXPECT_INT(send(fds[1], bytes, len, 0), (ssize_t)len);
    EXPECT_INT(handover_receive(&h, 0, &m), ERR_FRAME);
    handover_fini(&h);
    close(fds[1]);
}

TEST(what_is_no_piece_of_a_message_is_refused)
{
    static const uint8_t strange[] = {0x55, 1, 3, 0, 'x'};
    static const uint8_t middle[] = {0x54, 1, 0, 0, 'x'};
    static const uint8_t flags[] = {0x54, 1, 7, 0, 'x'};
    static const uint8_t files[] = {0x54, 1, 3, 2, 'x'};
    static const uint8_t cut[] = {0x54, 1, 3};

    expect_refused(strange, sizeof strange);
    expect_refused(middle, sizeof middle);
    expect_refused(flags, sizeof flags);
    expect_refused(files, sizeof files);
    expect_refused(cut, sizeof cut);
}

TEST(a_piece_of_another_message_within_one_is_refused)
{
    static const uint8_t first[] = {0x54, 1, 1, 0, 'x'};
    static const uint8_t other[] = {0x54, 2, 2, 0, 'y'};
    static const uint8_t again[] = {0x54, 1, 3, 0, 'y'};
    const uint8_t *second[] = {other, again};

    for (unsigned i = 0; i < 2; i++) {
        struct handover_message m;
        struct handover h;
        int fds[2];

        CHECK(handover_pair(fds) == 0);
        handover_init(&h, fds[0]);
        EXPECT_INT(send(fds[1], first, sizeof first, 0), 5);
        EXPECT_INT(handover_receive(&h, 0, &m), ERR_AGAIN);
        EXPECT_INT(send(fds[1], second[i], 5, 0), 5);
        EXPECT_INT(handover_receive(&h, 0, &m), ERR_FRAME);
        handover_fini(&h);
        close(fds[1]);
    }
}
