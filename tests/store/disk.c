#include "tests/store/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "tests/t/t.h"

enum {
    NAME_SIZE = 64,
    PATH_SIZE = 4200,
    NAMES = 64,      /* at one time */
    FILES = 1024,    /* ever */
    OPS = 1 << 17,
    SECTOR = 512,
};
#define ROOM ((size_t)1 << 30) /* of addresses: pages come when written to */

enum kind { WRITE, SIZE, GROW, SYNC, NAME, RENAME, UNLINK, SYNC_NAMES };

/* What was done. data: where its bytes lie in the record's room. */
struct op {
    enum kind kind;
    unsigned file;
    off_t at;  /* of a write; or the size */
    size_t len, data;
    char name[NAME_SIZE], gone[NAME_SIZE]; /* gone: what a rename takes */
};

struct name {
    char text[NAME_SIZE]; /* "": free */
    unsigned file;
};

/* Shared by all processes of the test. Files are numbered from 1. */
struct record {
    pthread_mutex_t lock;
    bool on;
    char dir[PATH_SIZE];
    ino_t folder;
    unsigned files, recorded; /* recorded: when it stopped */
    ino_t inodes[FILES];
    struct name names[NAMES];
    size_t count, used;
    struct op ops[OPS];
    uint8_t bytes[];
};

static struct record *rec;

/* Barriers that the replay knows nothing of. */
static struct {
    bool on;
    char name[NAME_SIZE];
    size_t at;
} left_out;

/* What lies behind barriers, as of moment `at`, and what does not. */
static struct {
    size_t at;
    struct buf files[FILES];
    struct name names[NAMES];
    struct name first[NAMES]; /* as of disk_begin() */
    struct buf first_files[FILES];
    size_t *loose; /* moments of what no barrier stands behind */
    size_t loose_count;
} dry;

/* --- names --- */

static const char *name_in(const char *path)
{
    size_t len = strlen(rec->dir);

    if (strncmp(path, rec->dir, len) != 0 || path[len] != '/'
        || strchr(path + len + 1, '/'))
        return NULL;
    path += len + 1;
    len = strlen(path);
    return len > 4 && strcmp(path + len - 4, "-shm") == 0 ? NULL : path;
}

static struct name *find(struct name *names, const char *text)
{
    for (int i = 0; i < NAMES; i++)
        if (strcmp(names[i].text, text) == 0)
            return &names[i];
    return NULL;
}

static void set(struct name *names, const char *text, unsigned file)
{
    struct name *n = find(names, text);

    n = n ? n : find(names, "");
    if (!n)
        test_fail(__FILE__, __LINE__, "more than %d names", NAMES);
    snprintf(n->text, sizeof n->text, "%s", text);
    n->file = file;
}

static void clear(struct name *names, const char *text)
{
    struct name *n = find(names, text);

    if (n)
        *n = (struct name){ .text = "" };
}

static void apply_name(struct name *names, const struct op *o)
{
    struct name *gone = o->gone[0] ? find(names, o->gone) : NULL;

    if (gone && gone->file == o->file)
        clear(names, o->gone);
    if (o->name[0])
        set(names, o->name, o->file);
}

static unsigned file_of(const struct stat *st)
{
    for (unsigned i = rec->files; i > 0; i--)
        if (rec->inodes[i] == st->st_ino)
            return i;
    return 0;
}

static unsigned new_file(const struct stat *st)
{
    EXPECT(rec->files + 1 < FILES);
    rec->inodes[++rec->files] = st->st_ino;
    return rec->files;
}

/* --- recording --- */

static struct op *add(enum kind kind, unsigned file)
{
    struct op *o = &rec->ops[rec->count];

    EXPECT(rec->count < OPS);
    *o = (struct op){ .kind = kind, .file = file };
    return o;
}

static void done(void)
{
    __atomic_store_n(&rec->count, rec->count + 1, __ATOMIC_RELEASE);
}

/* The file that fd stands for; 0: not of this folder. */
static unsigned written_file(int fd)
{
    char link[32], path[4200];
    struct stat st;
    ssize_t n;

    if (!rec || !rec->on || fstat(fd, &st) < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return name_in(path) ? file_of(&st) : 0;
}

void disk_lock(void)
{
    if (rec && pthread_mutex_lock(&rec->lock) == EOWNERDEAD)
        pthread_mutex_consistent(&rec->lock); /* see disk_exit() */
}

void disk_unlock(void)
{
    if (rec)
        pthread_mutex_unlock(&rec->lock);
}

void disk_exit(void)
{
    disk_lock();
    _exit(0);
}

/* Names are followed also when nothing is recorded. */
static void note_name(enum kind kind, unsigned file, const char *gone,
                      const char *name)
{
    struct op o = { .kind = kind, .file = file };

    snprintf(o.gone, sizeof o.gone, "%s", gone);
    snprintf(o.name, sizeof o.name, "%s", name);
    apply_name(rec->names, &o);
    if (!rec->on)
        return;
    *add(kind, file) = o;
    done();
}

void disk_opened(const char *path, int fd)
{
    const char *name = rec ? name_in(path) : NULL;
    struct stat st;

    if (name && fd >= 0 && !find(rec->names, name) && fstat(fd, &st) == 0
        && !S_ISDIR(st.st_mode))
        note_name(NAME, new_file(&st), "", name);
}

void disk_wrote(int fd, const void *bytes, size_t len, off_t at)
{
    unsigned file = written_file(fd);
    struct op *o;

    if (!file)
        return;
    o = add(WRITE, file);
    o->at = at;
    o->len = len;
    o->data = rec->used;
    EXPECT(len <= ROOM - rec->used);
    memcpy(rec->bytes + rec->used, bytes, len);
    rec->used += len;
    done();
}

static void note_size(enum kind kind, int fd, off_t size)
{
    unsigned file = written_file(fd);

    if (!file)
        return;
    add(kind, file)->at = size;
    done();
}

void disk_sized(int fd, off_t size)
{
    note_size(SIZE, fd, size);
}

void disk_grown(int fd, off_t size)
{
    note_size(GROW, fd, size);
}

void disk_synced(int fd)
{
    struct stat st;
    unsigned file;

    if (!rec || !rec->on || fstat(fd, &st) < 0)
        return;
    file = st.st_ino == rec->folder ? 0 : written_file(fd);
    if (!file && st.st_ino != rec->folder)
        return;
    add(file ? SYNC : SYNC_NAMES, file);
    done();
}

void disk_linked(const char *path, const char *name)
{
    struct name *n = rec && name_in(path) ? find(rec->names, name_in(path))
                                          : NULL;

    if (n && name_in(name))
        note_name(NAME, n->file, "", name_in(name));
}

void disk_unlinked(const char *path)
{
    const char *name = rec ? name_in(path) : NULL;
    struct name *n = name ? find(rec->names, name) : NULL;

    if (n)
        note_name(UNLINK, n->file, name, "");
}

void disk_renamed(const char *path, const char *name)
{
    const char *from = rec ? name_in(path) : NULL;
    struct name *n = from ? find(rec->names, from) : NULL;

    if (n && name_in(name))
        note_name(RENAME, n->file, from, name_in(name));
}

uint64_t disk_inode(const char *path)
{
    const char *name = rec ? name_in(path) : NULL;
    struct name *n;
    uint64_t number;

    disk_lock();
    n = name ? find(rec->names, name) : NULL;
    number = n ? n->file : 0;
    disk_unlock();
    return number;
}

/* --- the record --- */

size_t disk_now(void)
{
    return __atomic_load_n(&rec->count, __ATOMIC_ACQUIRE);
}

/* By whatever name it has or had. */
static const char *any_name(unsigned file)
{
    for (size_t i = 0; i < rec->count; i++)
        if (rec->ops[i].file == file && rec->ops[i].name[0])
            return rec->ops[i].name;
    for (int i = 0; i < NAMES; i++)
        if (rec->names[i].text[0] && rec->names[i].file == file)
            return rec->names[i].text;
    return "?";
}

const char *disk_text(size_t at)
{
    static const char *const kinds[] = {
        [WRITE] = "write",   [SIZE] = "size", [GROW] = "grow",
        [SYNC] = "sync",     [NAME] = "name", [RENAME] = "rename",
        [UNLINK] = "unlink", [SYNC_NAMES] = "sync the folder",
    };
    static char text[300];
    const struct op *o = &rec->ops[at];

    if (at >= rec->count)
        return "the end";
    snprintf(text, sizeof text, "%s %s%s%s at=%lld len=%zu", kinds[o->kind],
             any_name(o->file), o->gone[0] ? " from " : "", o->gone,
             (long long)o->at, o->len);
    return text;
}

const char *disk_cut_name(enum disk_cut how)
{
    static const char *const names[CUT_KINDS] = {
        [CUT_NOTHING] = "nothing", [CUT_ALL] = "all", [CUT_DATA] = "data",
        [CUT_NAMES] = "names",     [CUT_FIRST] = "first",
        [CUT_SOME] = "some",       [CUT_TORN] = "torn",
    };

    return names[how];
}

/* --- what is there --- */

static void fill(struct buf *b, size_t size)
{
    size_t have = b->len;

    if (size <= have)
        return;
    EXPECT(buf_reserve(b, size - have));
    memset(b->ptr + have, 0, size - have);
    b->len = size;
}

static void write_part(struct buf *b, const struct op *o, size_t from,
                       size_t to)
{
    fill(b, (size_t)o->at + to);
    memcpy(b->ptr + (size_t)o->at + from, rec->bytes + o->data + from,
           to - from);
}

static void apply_data(struct buf *b, const struct op *o)
{
    switch (o->kind) {
    case WRITE:
        write_part(b, o, 0, o->len);
        return;
    case SIZE:
        fill(b, (size_t)o->at);
        buf_truncate(b, (size_t)o->at);
        return;
    case GROW:
        fill(b, (size_t)o->at);
        return;
    default:
        return;
    }
}

static bool is_data(const struct op *o)
{
    return o->kind == WRITE || o->kind == SIZE || o->kind == GROW;
}

/* --- behind barriers --- */

static bool settles(const struct op *barrier, const struct op *o)
{
    return barrier->kind == SYNC ? is_data(o) && o->file == barrier->file
                                 : !is_data(o);
}

static void settle(const struct op *barrier)
{
    size_t left = 0;

    for (size_t i = 0; i < dry.loose_count; i++) {
        const struct op *o = &rec->ops[dry.loose[i]];

        if (!settles(barrier, o))
            dry.loose[left++] = dry.loose[i];
        else if (is_data(o))
            apply_data(&dry.files[o->file], o);
        else
            apply_name(dry.names, o);
    }
    dry.loose_count = left;
}

static void copy(struct buf *to, const struct buf *from)
{
    buf_reset(to);
    buf_add(to, buf_slice(from));
    EXPECT(!to->failed);
}

static void rewind_to_begin(void)
{
    for (unsigned i = 0; i < FILES; i++)
        copy(&dry.files[i], &dry.first_files[i]);
    memcpy(dry.names, dry.first, sizeof dry.names);
    dry.loose_count = 0;
    dry.at = 0;
}

static bool is_barrier(const struct op *o)
{
    return o->kind == SYNC || o->kind == SYNC_NAMES;
}

static bool is_sync_of(const struct op *o, const char *name)
{
    return o->kind == SYNC_NAMES ? !*name
                                 : o->kind == SYNC
                                       && strcmp(any_name(o->file), name) == 0;
}

size_t disk_sync_before(const char *name, size_t at)
{
    while (at-- > 0)
        if (is_sync_of(&rec->ops[at], name))
            return at;
    return SIZE_MAX;
}

void disk_leave_out(const char *name, size_t at)
{
    left_out.on = true;
    left_out.at = at;
    snprintf(left_out.name, sizeof left_out.name, "%s", name);
    rewind_to_begin();
}

static bool is_left_out(size_t at)
{
    return left_out.on && (left_out.at == SIZE_MAX || left_out.at == at)
           && is_sync_of(&rec->ops[at], left_out.name);
}

static void go_to(size_t at)
{
    if (at < dry.at)
        rewind_to_begin();
    for (; dry.at < at; dry.at++) {
        if (!is_barrier(&rec->ops[dry.at]))
            dry.loose[dry.loose_count++] = dry.at;
        else if (!is_left_out(dry.at))
            settle(&rec->ops[dry.at]);
    }
}

/* --- cutting --- */

struct chance {
    uint64_t state;
    uint64_t of_256; /* how much is kept */
    size_t first;    /* so many of what is loose */
};

static uint64_t draw(struct chance *c)
{
    uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool kept(struct chance *c)
{
    return draw(c) % 256 < c->of_256;
}

static bool is_kept(struct chance *c, enum disk_cut how, const struct op *o,
                    size_t number)
{
    switch (how) {
    case CUT_NOTHING:
        return false;
    case CUT_DATA:
        return is_data(o);
    case CUT_NAMES:
        return !is_data(o);
    case CUT_FIRST:
        return number < c->first;
    case CUT_SOME:
        return kept(c);
    case CUT_TORN:
        return o->kind == WRITE || kept(c);
    default:
        return true;
    }
}

/* A sector is what a disk writes or does not; some write eight at a time. */
static void tear(struct buf *b, const struct op *o, struct chance *c)
{
    size_t step = draw(c) % 2 ? SECTOR : 8 * SECTOR;
    size_t from = 0, to;

    for (; from < o->len; from = to) {
        size_t end = ((size_t)o->at + from) / step * step + step;

        to = MIN(o->len, end - (size_t)o->at);
        if (kept(c))
            write_part(b, o, from, to);
    }
}

static void write_file(const char *name, const struct buf *b)
{
    char path[PATH_SIZE + NAME_SIZE];
    size_t at = 0;
    int fd;

    snprintf(path, sizeof path, "%.4000s/%.64s", rec->dir, name);
    fd = (int)syscall(SYS_openat, AT_FDCWD, path,
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    EXPECT(fd >= 0);
    while (at < b->len) {
        long n = syscall(SYS_pwrite64, fd, b->ptr + at, b->len - at, at);

        EXPECT(n > 0);
        at += (size_t)n;
    }
    close(fd);
}

/* One of the names before this one, of the same file. */
static const char *other_name(const struct name *names, int i)
{
    for (int j = 0; j < i; j++)
        if (names[j].text[0] && names[j].file == names[i].file)
            return names[j].text;
    return NULL;
}

static void link_file(const char *from, const char *to)
{
    int fd = open(rec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    EXPECT(fd >= 0);
    EXPECT_OK((int)syscall(SYS_linkat, fd, from, fd, to, 0));
    close(fd);
}

static void empty_folder(void)
{
    DIR *d = opendir(rec->dir);
    struct dirent *e;

    EXPECT(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            EXPECT_OK((int)syscall(SYS_unlinkat, dirfd(d), e->d_name, 0));
    closedir(d);
}

/* The folder is what names say; each file gets the bytes that are left. */
static void lay_out(const struct name *names, enum disk_cut how,
                    struct chance c)
{
    struct buf b = BUF_INIT;

    empty_folder();
    for (int i = 0; i < NAMES; i++) {
        struct chance same = c; /* for each name of a file */

        if (!names[i].text[0])
            continue;
        if (other_name(names, i)) {
            link_file(other_name(names, i), names[i].text);
            continue;
        }
        copy(&b, &dry.files[names[i].file]);
        for (size_t j = 0; j < dry.loose_count; j++) {
            const struct op *o = &rec->ops[dry.loose[j]];
            bool keep = is_kept(&same, how, o, j);

            if (!keep || !is_data(o) || o->file != names[i].file)
                continue;
            if (how == CUT_TORN && o->kind == WRITE)
                tear(&b, o, &same);
            else
                apply_data(&b, o);
        }
        write_file(names[i].text, &b);
    }
    buf_fini(&b);
}

void disk_cut(size_t at, enum disk_cut how, uint64_t seed)
{
    static const uint64_t shares[] = { 16, 128, 240 };
    struct chance c = { .state = seed }, same;
    struct name names[NAMES];

    disk_stop();
    go_to(at);
    c.of_256 = shares[draw(&c) % ARRAY_LEN(shares)];
    c.first = draw(&c) % (dry.loose_count + 1);
    memcpy(names, dry.names, sizeof names);
    same = c;
    for (size_t j = 0; j < dry.loose_count; j++) {
        const struct op *o = &rec->ops[dry.loose[j]];
        bool keep = is_kept(&same, how, o, j);

        if (keep && !is_data(o))
            apply_name(names, o);
    }
    lay_out(names, how, c);
    memcpy(rec->names, names, sizeof names);
    rec->files = rec->recorded;
}

/* --- beginning --- */

static void make_record(void)
{
    pthread_mutexattr_t shared;

    rec = mmap(NULL, sizeof *rec + ROOM, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(rec != MAP_FAILED);
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&rec->lock, &shared);
    if (!dry.loose)
        dry.loose = calloc(OPS, sizeof *dry.loose);
    EXPECT(dry.loose);
}

static void take_over(struct name *before, const char *name)
{
    struct name *known;
    char path[PATH_SIZE + NAME_SIZE];
    struct stat st;
    unsigned file;
    size_t len;
    char *text;

    snprintf(path, sizeof path, "%.4000s/%.64s", rec->dir, name);
    if (!name_in(path))
        return;
    EXPECT_OK(lstat(path, &st));
    known = before ? find(before, name) : NULL;
    file = known ? known->file : new_file(&st);
    rec->inodes[file] = st.st_ino;
    set(rec->names, name, file);
    text = test_read_file(path, &len);
    buf_reset(&dry.first_files[file]);
    buf_add(&dry.first_files[file], slice_make(text, len));
    free(text);
}

void disk_begin(const char *dir)
{
    struct record *old = rec;
    struct dirent *e;
    struct stat st;
    DIR *d = opendir(dir);

    EXPECT(d && fstat(dirfd(d), &st) == 0);
    make_record();
    snprintf(rec->dir, sizeof rec->dir, "%s", dir);
    rec->folder = st.st_ino;
    rec->files = old ? old->files : 0;
    for (unsigned i = 0; i < FILES; i++)
        buf_reset(&dry.first_files[i]);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            take_over(old ? old->names : NULL, e->d_name);
    closedir(d);
    memcpy(dry.first, rec->names, sizeof dry.first);
    rewind_to_begin();
    rec->on = true;
}

void disk_stop(void)
{
    if (rec->on)
        rec->recorded = rec->files;
    rec->on = false;
}
