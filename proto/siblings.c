#include "proto/siblings.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

/* A slot: how much room, whether it listens, whose it is. 0: nobody's. */
enum { NO_PLACE, FEW_PLACES, MANY_PLACES, LEVEL = 3, LISTENS = 4 };
enum { PID_SHIFT = 3 }; /* a process id has 22 bits on Linux */
enum {
    FEW_PART = 8,  /* few are an eighth of the room ... */
    FEW_MOST = 64, /* ... or so many */
    NOBODY = -1,   /* less than any level */
};

struct siblings {
    _Atomic uint32_t *slots;
    unsigned count;
    _Atomic uint32_t *mine; /* NULL: the supervisor's */
    int table, bell;
    pthread_mutex_t lock; /* judgements of this process, one at a time */
    bool withdrawn;
};

/* ---- made and freed ---------------------------------------------------- */

static int map_slots(struct siblings *s)
{
    size_t size = s->count * sizeof *s->slots;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->table,
                    0);

    if (at == MAP_FAILED)
        return ERR_NOMEM;
    s->slots = at;
    return 0;
}

/* Takes both files, also when it fails. */
static int make(struct siblings **ret, int table, int bell, unsigned count)
{
    struct siblings *s = calloc(1, sizeof *s);
    int rc = s ? 0 : ERR_NOMEM;

    if (rc == 0) {
        s->table = table;
        s->bell = bell;
        s->count = count;
        rc = map_slots(s);
    }
    if (rc == 0 && pthread_mutex_init(&s->lock, NULL)) {
        (void)munmap((void *)s->slots, count * sizeof *s->slots);
        rc = ERR_NOMEM;
    }
    if (rc == 0) {
        *ret = s;
        return 0;
    }
    free(s);
    close(table);
    close(bell);
    return rc;
}

int siblings_new(struct siblings **ret, unsigned count)
{
    off_t size = (off_t)(count * sizeof(_Atomic uint32_t));
    int table = memfd_create("touchline-siblings", MFD_CLOEXEC);
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (table >= 0 && bell >= 0 && ftruncate(table, size) == 0)
        return make(ret, table, bell, count);
    if (table >= 0)
        close(table);
    if (bell >= 0)
        close(bell);
    return ERR_IO;
}

static void say(struct siblings *s, uint32_t what)
{
    atomic_store(s->mine, (uint32_t)getpid() << PID_SHIFT | what);
}

static void ring(const struct siblings *s)
{
    uint64_t once = 1;

    (void)!write(s->bell, &once, sizeof once);
}

int siblings_join(struct siblings **ret, int table, int bell, unsigned index)
{
    struct siblings *s;
    struct stat st;
    int rc;

    if (fstat(table, &st) < 0 || st.st_size < 0 ||
        index >= (uint64_t)st.st_size / sizeof *s->slots) {
        close(table);
        close(bell);
        return ERR_BAD;
    }
    rc = make(&s, table, bell,
              (unsigned)((size_t)st.st_size / sizeof *s->slots));
    if (rc < 0)
        return rc;
    s->mine = &s->slots[index];
    say(s, MANY_PLACES);
    ring(s);
    *ret = s;
    return 0;
}

void siblings_free(struct siblings *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    (void)munmap((void *)s->slots, s->count * sizeof *s->slots);
    close(s->table);
    close(s->bell);
    free(s);
}

int siblings_table(const struct siblings *s)
{
    return s->table;
}

int siblings_bell(const struct siblings *s)
{
    return s->bell;
}

/* ---- judging ----------------------------------------------------------- */

/* Between few and many it is what it was. */
static uint32_t level_of(uint32_t before, uint32_t places, uint32_t room)
{
    uint32_t few = MIN(room / FEW_PART, (uint32_t)FEW_MOST);

    if (places == 0)
        return NO_PLACE;
    if (places > 2 * few)
        return MANY_PLACES;
    return places > few && before == MANY_PLACES ? MANY_PLACES : FEW_PLACES;
}

static bool is_there(uint32_t slot)
{
    return kill((pid_t)(slot >> PID_SHIFT), 0) == 0 || errno != ESRCH;
}

/* The level of the listening sibling with most room, or NOBODY. */
static int best_of_others(const struct siblings *s)
{
    int best = NOBODY;

    for (unsigned i = 0; i < s->count; i++) {
        uint32_t slot = atomic_load(&s->slots[i]);

        if (&s->slots[i] != s->mine && (slot & LISTENS) && is_there(slot))
            best = MAX(best, (int)(slot & LEVEL));
    }
    return best;
}

/* Two that leave at the same time, each because the other listens, would leave
 * nobody: so first it says that it goes, then looks whether they are still
 * there. Of two one at least sees the other's word. */
static bool leave(struct siblings *s, uint32_t level)
{
    say(s, level);
    if (best_of_others(s) > (int)level)
        return true;
    say(s, level | LISTENS);
    return false;
}

static bool judge(struct siblings *s, uint32_t level, bool listened)
{
    int best = best_of_others(s);

    if (listened) {
        say(s, level | LISTENS);
        return best <= (int)level || !leave(s, level);
    }
    say(s, level);
    return best == NOBODY || (level != NO_PLACE && best <= (int)level);
}

bool siblings_due(const struct siblings *s, uint32_t places, uint32_t room)
{
    uint32_t level = atomic_load(s->mine) & LEVEL;

    return level_of(level, places, room) < level;
}

bool siblings_easy(const struct siblings *s)
{
    return (atomic_load(s->mine) & LEVEL) == MANY_PLACES;
}

bool siblings_judge(struct siblings *s, uint32_t places, uint32_t room)
{
    uint32_t before;
    bool listens = false;

    pthread_mutex_lock(&s->lock);
    if (!s->withdrawn) {
        before = atomic_load(s->mine);
        listens = judge(s, level_of(before & LEVEL, places, room),
                        before & LISTENS);
        if (atomic_load(s->mine) != before)
            ring(s);
    }
    pthread_mutex_unlock(&s->lock);
    return listens;
}

void siblings_listening(struct siblings *s)
{
    uint32_t before;

    pthread_mutex_lock(&s->lock);
    before = atomic_load(s->mine);
    if (!s->withdrawn && !(before & LISTENS)) {
        say(s, (before & LEVEL) | LISTENS);
        ring(s);
    }
    pthread_mutex_unlock(&s->lock);
}

static void clear(struct siblings *s, _Atomic uint32_t *slot)
{
    atomic_store(slot, 0);
    ring(s);
}

void siblings_withdraw(struct siblings *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->withdrawn)
        clear(s, s->mine);
    s->withdrawn = true;
    pthread_mutex_unlock(&s->lock);
}

void siblings_gone(struct siblings *s, unsigned index)
{
    clear(s, &s->slots[index]);
}
