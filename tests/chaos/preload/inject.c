#include "tests/chaos/preload/inject.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 65536, ALWAYS = 1000000, NS = 1000000000 };
#define CALLER __builtin_return_address(0)

static struct inject_page *page; /* NULL: nothing is injected */
static uint64_t self;            /* enum inject_process */
/* Code: of the program itself, of NNG. */
static struct code {
    uintptr_t from, to;
} own, nng;
static _Atomic uint16_t kinds[FILES];
static struct edge {
    int set; /* + 1; 0: it waits for no edges */
    struct epoll_event event;
} edges[FILES];

/* ---- the C library's own ----------------------------------------------- */

/* Each is looked up when it is first called: libraries that are initialized in
 * front of this one call them, too. */
#define REAL(name) \
    ((__typeof__(&name))real((void *_Atomic *)&real_##name, #name))
#define DECLARE(name) static void *_Atomic real_##name

static void *real(void *_Atomic *at, const char *name)
{
    void *f = atomic_load(at);

    if (!f) {
        f = dlsym(RTLD_NEXT, name);
        if (!f)
            abort();
        atomic_store(at, f);
    }
    return f;
}

DECLARE(open);
DECLARE(open64);
DECLARE(close);
DECLARE(read);
DECLARE(write);
DECLARE(pread);
DECLARE(pread64);
DECLARE(pwrite);
DECLARE(pwrite64);
DECLARE(fsync);
DECLARE(fdatasync);
DECLARE(ftruncate);
DECLARE(ftruncate64);
DECLARE(fallocate);
DECLARE(recv);
DECLARE(recvmsg);
DECLARE(readv);
DECLARE(send);
DECLARE(sendmsg);
DECLARE(writev);
DECLARE(socket);
DECLARE(accept);
DECLARE(accept4);
DECLARE(epoll_ctl);
DECLARE(malloc);
DECLARE(calloc);
DECLARE(realloc);
DECLARE(reallocarray);
DECLARE(memalign);
DECLARE(posix_memalign);
DECLARE(aligned_alloc);
DECLARE(clock_gettime);
DECLARE(gettimeofday);
DECLARE(time);
DECLARE(pthread_create);

/* ---- the start --------------------------------------------------------- */

static uint64_t process_of(const char *name)
{
    static const struct {
        const char *name;
        uint64_t process;
    } known[] = {
        {"touchline", INJECT_SUPERVISOR}, {"touchline-router", INJECT_ROUTER},
        {"touchline-http", INJECT_HTTP},  {"touchline-tcp", INJECT_TCP},
        {"touchline-ws", INJECT_WS},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].process;
    return INJECT_OTHERS;
}

static struct code code_of(const struct dl_phdr_info *info)
{
    struct code c = {0, 0};

    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];

        if (h->p_type == PT_LOAD && (h->p_flags & PF_X)) {
            c.from = info->dlpi_addr + h->p_vaddr;
            c.to = c.from + h->p_memsz;
        }
    }
    return c;
}

/* The first object is the program. */
static int note_code(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (!own.to)
        own = code_of(info);
    else if (strstr(info->dlpi_name, "libnng.so"))
        nng = code_of(info);
    return 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("TOUCHLINE_INJECT");
    struct inject_page *at;
    int fd;

    self = process_of(program_invocation_short_name);
    (void)dl_iterate_phdr(note_code, NULL);
    if (!path)
        return;
    fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    at = mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)REAL(close)(fd);
    if (at != MAP_FAILED && at->magic == INJECT_MAGIC &&
        at->rule_size == sizeof at->rule[0] && at->rules == INJECT_RULES)
        page = at;
}

/* ---- which rule strikes ------------------------------------------------ */

static uint64_t mix(uint64_t seed, uint64_t number)
{
    uint64_t x = seed + number * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool is_within(struct code c, const void *caller)
{
    return (uintptr_t)caller >= c.from && (uintptr_t)caller < c.to;
}

static bool is_caller(uint64_t whose, const void *caller)
{
    switch (whose) {
    case INJECT_OWN:
        return is_within(own, caller);
    case INJECT_LIBRARY:
        return !is_within(own, caller);
    case INJECT_NNG:
        return is_within(nng, caller);
    default:
        return true;
    }
}

static bool is_about(const struct inject_rule *r, uint64_t call, uint64_t kind,
                     const void *caller)
{
    return (r->calls & call) && (r->process & self) &&
           (!r->kinds || (r->kinds & kind)) &&
           is_caller(r->caller, caller) &&
           (!r->pid || r->pid == (uint64_t)getpid());
}

/* What is to be done, and the number of the call for whoever throws dice. */
struct strike {
    const struct inject_rule *rule; /* NULL: nothing */
    uint64_t number;
};

static struct strike strike(uint64_t call, uint64_t kind, const void *caller)
{
    for (unsigned i = 0; page && i < INJECT_RULES; i++) {
        struct inject_rule *r = &page->rule[i];
        uint64_t n;

        if (!atomic_load_explicit(&r->armed, memory_order_acquire) ||
            !is_about(r, call, kind, caller))
            continue;
        n = atomic_fetch_add(&r->seen, 1) + 1;
        if (n < r->first || n > r->last ||
            mix(r->seed, n) % ALWAYS >= r->millionths)
            continue;
        atomic_fetch_add(&r->struck, 1);
        return (struct strike){r, n};
    }
    return (struct strike){NULL, 0};
}

/* The one signal that the cage lets through, to oneself. */
static void die(void)
{
    (void)raise(SIGKILL);
}

/* False: the call has failed, errno says how. Of a call that cannot be cut. */
static bool may_call(struct strike s)
{
    if (!s.rule)
        return true;
    if (s.rule->act == INJECT_KILL || s.rule->act == INJECT_TEAR)
        die();
    if (s.rule->act != INJECT_FAIL)
        return true;
    errno = (int)s.rule->arg;
    return false;
}

static void end_call(struct strike s)
{
    if (s.rule && s.rule->act == INJECT_KILL_AFTER)
        die();
}

/* ---- files by name ----------------------------------------------------- */

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

static uint16_t kind_of_name(const char *name)
{
    static const struct {
        const char *end;
        uint16_t kind;
    } known[] = {
        {".db", INJECT_DB},           {".db-wal", INJECT_WAL},
        {".db-shm", INJECT_SHM},      {".db-guard", INJECT_GUARD},
        {".db-ballast", INJECT_BALLAST}, {".log", INJECT_LOG},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (ends_in(name, known[i].end))
            return known[i].kind;
    return INJECT_OTHER;
}

static uint16_t kind_of(int fd)
{
    uint16_t kind = fd >= 0 && fd < FILES ? atomic_load(&kinds[fd]) : 0;

    return kind ? kind : INJECT_OTHER;
}

static int note(int fd, uint16_t kind)
{
    if (fd >= 0 && fd < FILES)
        atomic_store(&kinds[fd], kind);
    return fd;
}

int open(const char *name, int flags, ...)
{
    uint16_t kind = kind_of_name(name);
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!may_call(strike(INJECT_OPEN, kind, CALLER)))
        return -1;
    return note(REAL(open)(name, flags, mode), kind);
}

int open64(const char *name, int flags, ...)
{
    uint16_t kind = kind_of_name(name);
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (!may_call(strike(INJECT_OPEN, kind, CALLER)))
        return -1;
    return note(REAL(open64)(name, flags, mode), kind);
}

int close(int fd)
{
    if (fd >= 0 && fd < FILES) {
        atomic_store(&kinds[fd], 0);
        edges[fd].set = 0;
    }
    return REAL(close)(fd);
}

/* ---- what is in files -------------------------------------------------- */

/* A name by another in the 64-bit interface: both are called. */
#define READ_AT(name)                                                    \
    ssize_t name(int fd, void *to, size_t len, off_t at)                 \
    {                                                                    \
        if (!may_call(strike(INJECT_READ, kind_of(fd), CALLER)))         \
            return -1;                                                   \
        return REAL(name)(fd, to, len, at);                              \
    }
READ_AT(pread)
READ_AT(pread64)

#define WRITE_AT(name)                                                   \
    ssize_t name(int fd, const void *from, size_t len, off_t at)         \
    {                                                                    \
        struct strike s = strike(INJECT_WRITE, kind_of(fd), CALLER);     \
        ssize_t n;                                                       \
                                                                         \
        if (s.rule && s.rule->act == INJECT_TEAR)                        \
            (void)!REAL(name)(fd, from, len / 2, at);                    \
        if (!may_call(s))                                                \
            return -1;                                                   \
        n = REAL(name)(fd, from, len, at);                               \
        end_call(s);                                                     \
        return n;                                                        \
    }
WRITE_AT(pwrite)
WRITE_AT(pwrite64)

#define ON_A_FILE(name, call, parameters, arguments)                     \
    int name parameters                                                  \
    {                                                                    \
        struct strike s = strike(call, kind_of(fd), CALLER);             \
        int rc;                                                          \
                                                                         \
        if (!may_call(s))                                                \
            return -1;                                                   \
        rc = REAL(name) arguments;                                       \
        end_call(s);                                                     \
        return rc;                                                       \
    }
ON_A_FILE(fsync, INJECT_SYNC, (int fd), (fd))
ON_A_FILE(fdatasync, INJECT_SYNC, (int fd), (fd))
ON_A_FILE(ftruncate, INJECT_RESIZE, (int fd, off_t len), (fd, len))
ON_A_FILE(ftruncate64, INJECT_RESIZE, (int fd, off_t len), (fd, len))
ON_A_FILE(fallocate, INJECT_ALLOCATE,
          (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))

/* Pipes and eventfds come here as well, as INJECT_OTHER. */
ssize_t read(int fd, void *to, size_t len)
{
    if (!may_call(strike(INJECT_READ, kind_of(fd), CALLER)))
        return -1;
    return REAL(read)(fd, to, len);
}

ssize_t write(int fd, const void *from, size_t len)
{
    if (!may_call(strike(INJECT_WRITE, kind_of(fd), CALLER)))
        return -1;
    return REAL(write)(fd, from, len);
}

/* ---- sockets ----------------------------------------------------------- */

/* The set is told again of what there is: the kernel would, when it gave less
 * than it had. */
static void owe_an_edge(int fd)
{
    int error = errno;

    if (fd >= 0 && fd < FILES && edges[fd].set)
        (void)REAL(epoll_ctl)(edges[fd].set - 1, EPOLL_CTL_MOD, fd,
                              &edges[fd].event);
    errno = error;
}

int epoll_ctl(int set, int op, int fd, struct epoll_event *event)
{
    if (fd >= 0 && fd < FILES) {
        bool waits = op != EPOLL_CTL_DEL && event &&
                     (event->events & EPOLLET);

        edges[fd].set = waits ? set + 1 : 0;
        if (waits)
            edges[fd].event = *event;
    }
    return REAL(epoll_ctl)(set, op, fd, event);
}

/* How much of len a call may carry; -1: it has failed. */
static ssize_t allowance(struct strike s, int fd, size_t len)
{
    size_t most;

    if (!s.rule)
        return (ssize_t)len;
    if (!may_call(s)) {
        if (errno == EAGAIN)
            owe_an_edge(fd);
        return -1;
    }
    if (s.rule->act != INJECT_SHORT || s.rule->arg < 1)
        return (ssize_t)len;
    most = 1 + mix(s.rule->seed + 1, s.number) %
                   (uint64_t)(s.rule->arg < INJECT_SHORT_MAX
                                  ? s.rule->arg : INJECT_SHORT_MAX);
    if (most >= len)
        return (ssize_t)len;
    owe_an_edge(fd);
    return (ssize_t)most;
}

static size_t total(const struct iovec *v, size_t count)
{
    size_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += v[i].iov_len;
    return sum;
}

/* The first `most` bytes of v, of at most INJECT_SHORT_MAX. */
static size_t cut(struct iovec ret[INJECT_SHORT_MAX], const struct iovec *v,
                  size_t count, size_t most)
{
    size_t n = 0;

    for (size_t i = 0; i < count && most > 0; i++) {
        if (v[i].iov_len == 0)
            continue;
        ret[n] = v[i];
        if (ret[n].iov_len > most)
            ret[n].iov_len = most;
        most -= ret[n++].iov_len;
    }
    return n;
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    ssize_t most = allowance(strike(INJECT_RECV, kind_of(fd), CALLER), fd,
                             len);

    return most < 0 ? -1 : REAL(recv)(fd, to, (size_t)most, flags);
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
    ssize_t most = allowance(strike(INJECT_SEND, kind_of(fd), CALLER), fd,
                             len);

    return most < 0 ? -1 : REAL(send)(fd, from, (size_t)most, flags);
}

#define MESSAGE(name, call, message)                                     \
    ssize_t name(int fd, message *m, int flags)                          \
    {                                                                    \
        size_t len = total(m->msg_iov, m->msg_iovlen);                   \
        ssize_t most = allowance(strike(call, kind_of(fd), CALLER), fd,  \
                                 len);                                   \
        struct iovec v[INJECT_SHORT_MAX];                                \
        struct msghdr part = *m;                                         \
                                                                         \
        if (most < 0)                                                    \
            return -1;                                                   \
        if ((size_t)most == len)                                         \
            return REAL(name)(fd, m, flags);                             \
        part.msg_iovlen = cut(v, m->msg_iov, m->msg_iovlen,              \
                              (size_t)most);                             \
        part.msg_iov = v;                                                \
        return REAL(name)(fd, &part, flags);                             \
    }
MESSAGE(recvmsg, INJECT_RECV, struct msghdr)
MESSAGE(sendmsg, INJECT_SEND, const struct msghdr)

#define VECTOR(name, call)                                               \
    ssize_t name(int fd, const struct iovec *iov, int count)             \
    {                                                                    \
        size_t len = total(iov, (size_t)count);                          \
        ssize_t most = allowance(strike(call, kind_of(fd), CALLER), fd,  \
                                 len);                                   \
        struct iovec v[INJECT_SHORT_MAX];                                \
                                                                         \
        if (most < 0)                                                    \
            return -1;                                                   \
        if ((size_t)most == len)                                         \
            return REAL(name)(fd, iov, count);                           \
        return REAL(name)(fd, v, (int)cut(v, iov, (size_t)count,         \
                                          (size_t)most));                \
    }
VECTOR(readv, INJECT_RECV)
VECTOR(writev, INJECT_SEND)

static uint16_t maker(const void *caller)
{
    return is_within(own, caller) ? INJECT_CLIENT : INJECT_LINK;
}

int socket(int domain, int type, int protocol)
{
    int fd = REAL(socket)(domain, type, protocol);

    return is_within(own, CALLER) ? fd : note(fd, INJECT_LINK);
}

int accept(int fd, struct sockaddr *at, socklen_t *len)
{
    if (!may_call(strike(INJECT_ACCEPT, maker(CALLER), CALLER)))
        return -1;
    return note(REAL(accept)(fd, at, len), maker(CALLER));
}

int accept4(int fd, struct sockaddr *at, socklen_t *len, int flags)
{
    if (!may_call(strike(INJECT_ACCEPT, maker(CALLER), CALLER)))
        return -1;
    return note(REAL(accept4)(fd, at, len, flags), maker(CALLER));
}

/* ---- memory ------------------------------------------------------------ */

static bool may_have_memory(const void *caller)
{
    return !page || may_call(strike(INJECT_MEMORY, INJECT_OTHER, caller));
}

#define MEMORY(name, parameters, arguments)                              \
    void *name parameters                                                \
    {                                                                    \
        if (!may_have_memory(CALLER))                                    \
            return NULL;                                                 \
        return REAL(name) arguments;                                     \
    }
void *memalign(size_t to, size_t n);
MEMORY(malloc, (size_t n), (n))
MEMORY(calloc, (size_t n, size_t size), (n, size))
MEMORY(realloc, (void *old, size_t n), (old, n))
MEMORY(reallocarray, (void *old, size_t n, size_t size), (old, n, size))
MEMORY(memalign, (size_t to, size_t n), (to, n))
MEMORY(aligned_alloc, (size_t to, size_t n), (to, n))

int posix_memalign(void **ret, size_t to, size_t n)
{
    if (!may_have_memory(CALLER))
        return ENOMEM;
    return REAL(posix_memalign)(ret, to, n);
}

/* ---- threads ----------------------------------------------------------- */

int pthread_create(pthread_t *ret, const pthread_attr_t *how,
                   void *(*run)(void *), void *arg)
{
    if (page && !may_call(strike(INJECT_THREAD, INJECT_OTHER, CALLER)))
        return errno;
    return REAL(pthread_create)(ret, how, run, arg);
}

/* ---- NNG --------------------------------------------------------------- */

struct nng_socket { /* as in nng.h, which is not everybody's */
    uint32_t id;
};
int nng_close(struct nng_socket s);
DECLARE(nng_close);

int nng_close(struct nng_socket s)
{
    const struct inject_rule *r =
        strike(INJECT_NNG_CLOSE, INJECT_OTHER, CALLER).rule;

    while (r && r->act == INJECT_HANG && atomic_load(&r->armed))
        (void)nanosleep(&(struct timespec){0, NS / 100}, NULL);
    return REAL(nng_close)(s);
}

/* ---- the time of day --------------------------------------------------- */

static int64_t shift(const void *caller)
{
    struct strike s = strike(INJECT_CLOCK, INJECT_OTHER, caller);

    return s.rule && s.rule->act == INJECT_SHIFT ? s.rule->arg : 0;
}

int clock_gettime(clockid_t which, struct timespec *ret)
{
    int rc = REAL(clock_gettime)(which, ret);

    if (rc == 0 &&
        (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)ret->tv_sec * NS + ret->tv_nsec + shift(CALLER);

        *ret = (struct timespec){ns / NS, ns % NS};
    }
    return rc;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    int rc = REAL(gettimeofday)(ret, zone);

    if (rc == 0)
        ret->tv_sec += shift(CALLER) / NS;
    return rc;
}

time_t time(time_t *ret)
{
    time_t now = REAL(time)(NULL) + shift(CALLER) / NS;

    if (ret)
        *ret = now;
    return now;
}
