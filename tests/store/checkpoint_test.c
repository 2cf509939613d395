#include "store/checkpoint.h"

#include <sqlite3.h>

#include "base/err.h"
#include "tests/store/shelf.h"

enum { WAL = 1 << 20 };

static char big[50000];

static struct shelf small_wal(void)
{
    struct shelf s = shelf_init("db");

    memset(big, 'x', sizeof big - 1);
    s.opt.wal_size = WAL;
    shelf_open(&s);
    return s;
}

static uint64_t wal_bytes(struct shelf *s)
{
    struct writer_figures f;

    writer_figures(s->writer, &f);
    return f.wal_bytes;
}

/* --- readers of ours that never rest --- */

struct busy {
    struct shelf *s;
    size_t pages;
    bool enough;
};

static void read_on(struct busy *b);

static void got_page(void *arg, struct page *page)
{
    struct busy *b = arg;

    EXPECT_OK(page->rc);
    page_free(page);
    b->pages++;
    if (!b->enough)
        read_on(b);
}

static void read_on(struct busy *b)
{
    struct slice id = SLICE("room/a");
    struct page_request q = {
        .ids = &id, .id_count = 1, .upto_seq = 1 << 20,
        .max_count = 200, .max_bytes = 1 << 24,
    };

    EXPECT_OK(reader_page(b->s->readers, &q, got_page, b, NULL));
}

TEST(the_wal_is_bounded_though_readers_never_rest)
{
    struct shelf s = small_wal();
    struct busy b = { .s = &s };
    uint64_t before = 0, now;
    int cuts = 0;

    for (int i = 0; i < 4; i++)
        read_on(&b);
    EXPECT_SOON(cuts > 5 && b.pages > 0, {
        shelf_put(&s, "room/a", big);
        now = wal_bytes(&s);
        cuts += now < before;
        before = now;
        EXPECT(now < 16 * WAL);
    });
    b.enough = true;
    shelf_close(&s);
}

/* --- a reader that is not ours, and stays --- */

TEST(a_reader_that_stays_does_not_hold_up_every_commit)
{
    struct shelf s = small_wal();
    struct writer_figures f;
    sqlite3 *other;

    shelf_put(&s, "room/a", big);
    other = shelf_pin(&s);
    for (int i = 0; i < 200; i++)
        shelf_put(&s, "room/a", big);
    writer_figures(s.writer, &f);
    EXPECT(f.wal_bytes > 8 * WAL);
    EXPECT(f.checkpoints < 50);
    sqlite3_close(other);
    EXPECT_SOON(wal_bytes(&s) < WAL, {
        shelf_put(&s, "room/a", "x");
        shelf_turn(&s);
    });
    shelf_close(&s);
}

static uint64_t checkpoints(struct shelf *s)
{
    struct writer_figures f;

    writer_figures(s->writer, &f);
    return f.checkpoints;
}

TEST(a_cut_is_not_put_off_by_pieces_that_were_in_vain)
{
    struct shelf s = small_wal();
    sqlite3 *other;

    shelf_put(&s, "room/a", "x");
    other = shelf_pin(&s);
    EXPECT_SOON(checkpoints(&s) >= 5, {
        shelf_put(&s, "room/a", "x");
        for (int i = 0; i < 5; i++)
            shelf_turn(&s);
    });
    EXPECT(wal_bytes(&s) < WAL);
    sqlite3_close(other);
    for (int i = 0; i < 60; i++) {
        shelf_put(&s, "room/a", big);
        EXPECT(wal_bytes(&s) < 2 * WAL);
    }
    shelf_close(&s);
}
