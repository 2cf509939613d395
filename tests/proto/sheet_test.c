#include "proto/sheet.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "tests/t/t.h"

static void forget(struct sheet_text *t)
{
    opt_forget(&t->first);
    opt_forget(&t->now);
}

TEST(a_child_reads_what_was_first_and_what_is_now)
{
    struct sheet s;
    struct sheet_text t;

    EXPECT_OK(sheet_new(&s, SLICE("one")));
    EXPECT_OK(sheet_read(s.handed, &t));
    EXPECT_INT(t.edition, 1);
    EXPECT(slice_eq(t.first, SLICE("one")) && !t.now.ptr);
    forget(&t);
    EXPECT_OK(sheet_write(&s, SLICE("the second")));
    EXPECT_OK(sheet_write(&s, SLICE("3")));
    sheet_refuse(&s);
    EXPECT_OK(sheet_read(s.handed, &t));
    EXPECT_INT(t.edition, 3);
    EXPECT_INT(t.refused, 1);
    EXPECT(slice_eq(t.first, SLICE("one")) && slice_eq(t.now, SLICE("3")));
    forget(&t);
    EXPECT_OK(sheet_write(&s, SLICE("")));
    EXPECT_OK(sheet_read(s.handed, &t));
    EXPECT(t.now.ptr && t.now.len == 0);
    forget(&t);
    sheet_fini(&s);
}

TEST(who_reads_a_sheet_cannot_write_it)
{
    struct sheet s;

    EXPECT_OK(sheet_new(&s, SLICE("one")));
    EXPECT_INT(pwrite(s.handed, "x", 1, 0), -1);
    EXPECT(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, s.handed, 0) ==
           MAP_FAILED);
    EXPECT_INT(ftruncate(s.handed, 0), -1);
    sheet_fini(&s);
}

/* As one could who has taken over a gateway: the rights of its file are its
 * owner's. Writing fails however it was opened. */
TEST(nor_does_it_help_to_open_it_anew)
{
    struct sheet s;
    struct sheet_text t;
    char path[64];
    int fd;

    EXPECT_OK(sheet_new(&s, SLICE("one")));
    snprintf(path, sizeof path, "/proc/self/fd/%d", s.handed);
    fd = open(path, O_RDWR | O_CLOEXEC);
    EXPECT_INT(pwrite(fd, "x", 1, 0), -1);
    EXPECT(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    EXPECT_INT(ftruncate(fd, 0), -1);
    EXPECT_INT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                         4096), -1);
    if (fd >= 0)
        close(fd);
    EXPECT_OK(sheet_write(&s, SLICE("two")));
    EXPECT_OK(sheet_read(s.handed, &t));
    EXPECT(slice_eq(t.now, SLICE("two")));
    forget(&t);
    sheet_fini(&s);
}

TEST(what_is_no_sheet_is_refused)
{
    struct sheet_text t;
    int fd = memfd_create("x", MFD_CLOEXEC);
    char nothing[4096] = {0};

    EXPECT_INT(sheet_read(fd, &t), ERR_IO);
    EXPECT_INT(write(fd, nothing, sizeof nothing), sizeof nothing);
    EXPECT_INT(sheet_read(fd, &t), ERR_BAD);
    close(fd);
}

static atomic_bool stop;

/* Texts of one letter, of many lengths. */
static void *write_on(void *arg)
{
    struct sheet *s = arg;
    static char text[256 * 1024];

    for (unsigned i = 0; !atomic_load(&stop); i++) {
        size_t len = 1 + (i * 7919u) % sizeof text;

        memset(text, 'a' + (int)(i % 26), len);
        CHECK(sheet_write(s, slice_make(text, len)) == 0);
    }
    return NULL;
}

TEST(nobody_reads_half_of_an_edition)
{
    struct sheet s;
    struct sheet_text t;
    pthread_t thread;
    uint64_t last = 0;

    CHECK(sheet_new(&s, SLICE("one")) == 0);
    CHECK(pthread_create(&thread, NULL, write_on, &s) == 0);
    for (unsigned i = 0; i < 300; i++) {
        EXPECT_OK(sheet_read(s.handed, &t));
        EXPECT(t.edition >= last);
        last = t.edition;
        for (size_t k = 1; k < t.now.len; k++)
            if (t.now.ptr[k] != t.now.ptr[0])
                test_fail(__FILE__, __LINE__, "a mixture at %zu", k);
        forget(&t);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    sheet_fini(&s);
}
