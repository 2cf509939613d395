#include "tools/router-ctl/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum {
    NUMBERS = 3,         /* that a setting consists of, at most */
    FILES_RESERVE = 256, /* of a process besides its clients */
    FILES_OTHERS = 8192, /* of all else on the machine */
    QUEUE_MOST = 65535,  /* the largest backlog that a listener asks for */
    THREADS_RESERVE = 64,
    CONNECTION_BYTES = 5 * 1024,
};

const char *doctor_state_text(enum doctor_state s)
{
    static const char *const texts[] = { "ok", "low", "note", "unknown" };

    return texts[s];
}

static struct doctor_finding *add(struct doctor *d, const char *setting,
                                  const char *why)
{
    static struct doctor_finding spare; /* without memory: nobody reads it */
    struct doctor_finding *f = d->findings;

    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 32;
        f = realloc(d->findings, d->room * sizeof *f);
        if (!f) {
            d->room = d->count;
            d->failed = true;
            return &spare;
        }
        d->findings = f;
    }
    f = &d->findings[d->count++];
    *f = (struct doctor_finding){ .state = DOCTOR_UNKNOWN, .why = why };
    snprintf(f->setting, sizeof f->setting, "%s", setting);
    return f;
}

/* ---- files -------------------------------------------------------------- */

/* The numbers in front of a file; how many, at most NUMBERS. "max" is a number
 * that nothing exceeds. */
static size_t read_numbers(const struct doctor *d, const char *path,
                           uint64_t ret[NUMBERS])
{
    char full[512], word[32];
    size_t count = 0;
    FILE *f;

    snprintf(full, sizeof full, "%s%s", d->root, path);
    f = fopen(full, "re");
    while (f && count < NUMBERS && fscanf(f, "%31s", word) == 1) {
        char *end;

        ret[count] = strtoull(word, &end, 10);
        if (strcmp(word, "max") == 0)
            ret[count] = UINT64_MAX;
        else if (end == word || *end)
            break;
        count++;
    }
    if (f)
        fclose(f);
    return count;
}

/* "key: N ..." or "key N"; false: it is not there. */
static bool read_named(const struct doctor *d, const char *path,
                       const char *key, uint64_t *ret)
{
    char full[512], line[256], name[64];
    bool found = false;
    FILE *f;

    snprintf(full, sizeof full, "%s%s", d->root, path);
    f = fopen(full, "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, "%63[^: ]%*[: ]%" SCNu64, name, ret) == 2
                && strcmp(name, key) == 0;
    if (f)
        fclose(f);
    return found;
}

/* ---- sysctl -------------------------------------------------------------- */

static uint64_t clamp(uint64_t n, uint64_t least, uint64_t most)
{
    return n < least ? least : n > most ? most : n;
}

static uint64_t all_files(uint64_t n) { return n + n / 10 + FILES_OTHERS; }
static uint64_t watches(uint64_t n) { return n + n / 10 + FILES_OTHERS; }
static uint64_t at_once(uint64_t n) { return clamp(n, 128, QUEUE_MOST); }
static uint64_t packets(uint64_t n) { return clamp(n / 10, 1000, QUEUE_MOST); }
static uint64_t ports(uint64_t n) { return clamp(n, 1, 64512); }
static uint64_t pages(uint64_t n) { return n; }
static uint64_t page(uint64_t n) { UNUSED(n); return 4096; }
static uint64_t one(uint64_t n) { UNUSED(n); return 1; }
static uint64_t tracked(uint64_t n) { return n + n / 4; }
static uint64_t ended(uint64_t n) { return clamp(n, 4096, 1000000); }

static const struct setting {
    const char *name;
    unsigned which; /* of its numbers */
    bool note;      /* less matters in a case only */
    uint64_t (*needed)(uint64_t connections);
    const char *why;
} settings[] = {
    { "fs.file-max", 0, false, all_files,
      "files of the whole machine: one for each connection" },
    { "fs.epoll.max_user_watches", 0, false, watches,
      "one for each connection" },
    { "net.core.somaxconn", 0, false, at_once,
      "who comes while the gateway is busy waits here; what does not fit is "
      "lost, and comes again after a second" },
    { "net.ipv4.tcp_max_syn_backlog", 0, false, at_once,
      "the same before the handshake is done" },
    { "net.ipv4.tcp_mem", 2, false, pages,
      "pages of all socket buffers: a broadcast puts one into each socket" },
    { "net.ipv4.tcp_rmem", 0, false, page,
      "bytes that a socket may receive even when memory is short" },
    { "net.ipv4.tcp_wmem", 0, false, page,
      "bytes that a socket may send even when memory is short" },
    { "net.core.netdev_max_backlog", 0, true, packets,
      "packets that wait for the kernel: when all come at once, or on "
      "loopback" },
    { "net.ipv4.tcp_migrate_req", 0, true, one,
      "with several instances or workers: who waits at one that ends is "
      "taken by another" },
    { "net.ipv4.tcp_syncookies", 0, true, one,
      "when more come than tcp_max_syn_backlog: they are served all the "
      "same" },
    { "net.ipv4.tcp_max_tw_buckets", 0, true, ended,
      "with short connections: those that ended a minute ago" },
    { "net.ipv4.tcp_max_orphans", 0, true, ended,
      "when a gateway ends: its connections say goodbye" },
};

/* "sysctl -w net.ipv4.tcp_mem='1 2 3'", the numbers behind never below. */
static void say_sysctl(struct doctor_finding *f, const struct setting *s,
                       const uint64_t numbers[], size_t count)
{
    struct buf b = BUF_INIT;

    buf_addf(&b, "sysctl -w %s=%s", s->name, count > 1 ? "'" : "");
    for (size_t i = 0; i < count; i++) {
        uint64_t n = numbers[i];

        if (i >= s->which)
            n = MAX(n, f->needed);
        buf_addf(&b, "%s%" PRIu64, i ? " " : "", n);
    }
    if (count > 1)
        buf_add_byte(&b, '\'');
    snprintf(f->cure, sizeof f->cure, "%s", buf_text(&b));
    buf_fini(&b);
}

static void sysctl_path(const char *name, char *ret, size_t room)
{
    size_t front = (size_t)snprintf(ret, room, "/proc/sys/");

    snprintf(ret + front, room - front, "%s", name);
    for (char *c = ret + front; *c; c++)
        if (*c == '.')
            *c = '/';
}

static void say_numbers(struct doctor_finding *f, const uint64_t numbers[],
                        size_t count)
{
    size_t at = 0;

    for (size_t i = 0; i < count && at < sizeof f->value; i++)
        at += (size_t)snprintf(f->value + at, sizeof f->value - at,
                               "%s%" PRIu64, i ? " " : "", numbers[i]);
}

static void look_at_setting(struct doctor *d, const struct setting *s)
{
    struct doctor_finding *f = add(d, s->name, s->why);
    uint64_t numbers[NUMBERS];
    char path[128];
    size_t count;

    sysctl_path(s->name, path, sizeof path);
    count = read_numbers(d, path, numbers);
    f->needed = s->needed(d->connections);
    if (count <= s->which)
        return;
    say_numbers(f, numbers, count);
    f->state = numbers[s->which] >= f->needed ? DOCTOR_OK
               : s->note                      ? DOCTOR_NOTE
                                              : DOCTOR_LOW;
    if (f->state != DOCTOR_OK)
        say_sysctl(f, s, numbers, count);
}

/* ---- settings with a rule of their own ----------------------------------- */

static void look_at_ports(struct doctor *d)
{
    struct doctor_finding *f =
        add(d, "net.ipv4.ip_local_port_range",
            "where a proxy or a load tool on this machine connects to us: "
            "connections from one of its addresses");
    uint64_t range[NUMBERS];
    size_t count = read_numbers(d, "/proc/sys/net/ipv4/ip_local_port_range",
                                range);

    f->needed = ports(d->connections);
    if (count < 2 || range[1] < range[0])
        return;
    say_numbers(f, range, 2);
    f->state = range[1] - range[0] + 1 >= f->needed ? DOCTOR_OK : DOCTOR_NOTE;
    if (f->state != DOCTOR_OK)
        snprintf(f->cure, sizeof f->cure,
                 "sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
}

/* Compiled in almost everywhere; counts only where a rule needs it. */
static void look_at_conntrack(struct doctor *d)
{
    static const char name[] = "net.netfilter.nf_conntrack_max";
    uint64_t most[NUMBERS], now[NUMBERS] = { 0 };
    struct doctor_finding *f;
    char path[128];

    sysctl_path(name, path, sizeof path);
    if (!read_numbers(d, path, most))
        return; /* not there, not needed */
    f = add(d, name, "with firewall rules that track connections: who finds "
                     "no room is dropped without a word");
    f->needed = tracked(d->connections);
    say_numbers(f, most, 1);
    sysctl_path("net.netfilter.nf_conntrack_count", path, sizeof path);
    (void)read_numbers(d, path, now);
    f->state = most[0] >= f->needed ? DOCTOR_OK
               : now[0]             ? DOCTOR_LOW
                                    : DOCTOR_NOTE;
    if (f->state != DOCTOR_OK)
        snprintf(f->cure, sizeof f->cure, "sysctl -w %s=%" PRIu64, name,
                 f->needed);
}

static size_t serving(const struct doctor *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->process_count; i++)
        n += d->processes[i].clients;
    return n;
}

/* Connections of one process when all have the same. */
static uint64_t share(const struct doctor *d)
{
    size_t n = MAX(serving(d), (size_t)1);

    return (d->connections + n - 1) / n;
}

static void look_at_nr_open(struct doctor *d)
{
    struct doctor_finding *f =
        add(d, "fs.nr_open", "what LimitNOFILE may be at most: a file for "
                             "each connection of a process");
    uint64_t n[NUMBERS];

    f->needed = share(d) + FILES_RESERVE;
    if (!read_numbers(d, "/proc/sys/fs/nr_open", n))
        return;
    say_numbers(f, n, 1);
    f->state = n[0] >= f->needed ? DOCTOR_OK : DOCTOR_LOW;
    if (f->state != DOCTOR_OK)
        snprintf(f->cure, sizeof f->cure, "sysctl -w fs.nr_open=%" PRIu64,
                 f->needed);
}

static void look_at_maps(struct doctor *d)
{
    struct doctor_finding *f =
        add(d, "vm.max_map_count", "pieces of memory of one process: with "
            "slow readers each may have one");
    uint64_t n[NUMBERS];

    f->needed = share(d) + 1024;
    if (!read_numbers(d, "/proc/sys/vm/max_map_count", n))
        return;
    say_numbers(f, n, 1);
    f->state = n[0] >= f->needed ? DOCTOR_OK : DOCTOR_NOTE;
    if (f->state != DOCTOR_OK)
        snprintf(f->cure, sizeof f->cure,
                 "sysctl -w vm.max_map_count=%" PRIu64, f->needed);
}

/* ---- processes ----------------------------------------------------------- */

static uint64_t room_of(const struct doctor_process *p)
{
    return p->files > FILES_RESERVE ? p->files - FILES_RESERVE : 0;
}

/* How many processes of this size hold all; the line that says so. */
static void say_files(const struct doctor *d, struct doctor_finding *f,
                      uint64_t most)
{
    uint64_t each = most > FILES_RESERVE ? most - FILES_RESERVE : 1;
    uint64_t want = share(d) + FILES_RESERVE;

    if (most >= want)
        snprintf(f->cure, sizeof f->cure, "LimitNOFILE=%" PRIu64 " in the "
                 "unit, or: ulimit -n %" PRIu64, want, want);
    else
        snprintf(f->cure, sizeof f->cure, "http.instances = %" PRIu64
                 " (or tcp, ws) with LimitNOFILE=%" PRIu64,
                 (d->connections + each - 1) / each, most);
}

static void look_at_files(struct doctor *d)
{
    struct doctor_finding *f =
        add(d, "RLIMIT_NOFILE", "clients for whom the gateways have files, "
            "all processes together");
    uint64_t sum = 0, most = UINT64_MAX;

    f->needed = d->connections;
    for (size_t i = 0; i < d->process_count; i++) {
        const struct doctor_process *p = &d->processes[i];

        if (!p->clients)
            continue;
        if (!p->files_known)
            return;
        sum = sum + room_of(p) < sum ? UINT64_MAX : sum + room_of(p);
        most = MIN(most, p->files_most);
    }
    if (serving(d) == 0)
        return;
    snprintf(f->value, sizeof f->value, "%" PRIu64, sum);
    f->state = sum >= f->needed ? DOCTOR_OK : DOCTOR_LOW;
    if (f->state == DOCTOR_LOW)
        say_files(d, f, most);
}

static void look_at_memory(struct doctor *d)
{
    struct doctor_finding *f = add(d, "memory available", "bytes: 5 KiB for "
                                   "each idle connection, kernel included");
    uint64_t kib;

    f->needed = d->connections * CONNECTION_BYTES;
    if (!read_named(d, "/proc/meminfo", "MemAvailable", &kib))
        return;
    snprintf(f->value, sizeof f->value, "%" PRIu64, kib * 1024);
    f->state = kib * 1024 >= f->needed ? DOCTOR_OK : DOCTOR_LOW;
    if (f->state == DOCTOR_LOW)
        snprintf(f->cure, sizeof f->cure, "more memory, or fewer connections "
                 "on this machine");
}

/* ---- control groups ------------------------------------------------------ */

/* A limit of the group, and what is used of it. False: there is none. */
static bool read_group(const struct doctor *d, const char *group,
                       const char *limit, const char *used, uint64_t *left,
                       uint64_t *most)
{
    uint64_t a[NUMBERS], b[NUMBERS];
    char path[400];

    snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group, limit);
    if (!read_numbers(d, path, a) || a[0] == UINT64_MAX)
        return false;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group, used);
    if (!read_numbers(d, path, b))
        return false;
    *most = a[0];
    *left = a[0] > b[0] ? a[0] - b[0] : 0;
    return true;
}

static void look_at_group(struct doctor *d, const char *group)
{
    uint64_t left, most;
    struct doctor_finding *f;
    char name[192];

    if (read_group(d, group, "memory.max", "memory.current", &left, &most)) {
        snprintf(name, sizeof name, "memory.max of %.160s",
                 *group ? group : "/");
        f = add(d, name, "bytes left within the limit of the unit or "
                "container; sockets count, too");
        f->needed = d->connections * CONNECTION_BYTES;
        snprintf(f->value, sizeof f->value, "%" PRIu64, left);
        f->state = left >= f->needed ? DOCTOR_OK : DOCTOR_LOW;
        if (f->state == DOCTOR_LOW)
            snprintf(f->cure, sizeof f->cure, "MemoryMax=%" PRIu64,
                     most - left + f->needed);
    }
    if (read_group(d, group, "pids.max", "pids.current", &left, &most)) {
        snprintf(name, sizeof name, "pids.max of %.160s",
                 *group ? group : "/");
        f = add(d, name, "threads that may still be started there: an "
                "upgrade starts all of them a second time");
        f->needed = most - left + THREADS_RESERVE;
        snprintf(f->value, sizeof f->value, "%" PRIu64, left);
        f->state = left >= f->needed ? DOCTOR_OK : DOCTOR_LOW;
        if (f->state == DOCTOR_LOW)
            snprintf(f->cure, sizeof f->cure, "TasksMax=%" PRIu64,
                     most - left + f->needed);
    }
}

/* Each group once, and those above it, where limits may stand as well. */
static bool seen_before(const struct doctor *d, size_t upto, const char *group)
{
    size_t len = strlen(group);

    for (size_t i = 0; i < upto; i++) {
        const char *other = d->processes[i].cgroup;

        if (strncmp(other, group, len) == 0
            && (other[len] == '\0' || other[len] == '/'))
            return true;
    }
    return false;
}

static void look_at_groups(struct doctor *d)
{
    for (size_t i = 0; i < d->process_count; i++) {
        char group[sizeof d->processes[i].cgroup];
        char *slash = group;

        snprintf(group, sizeof group, "%s", d->processes[i].cgroup);
        while (slash && group[0] == '/') {
            if (!seen_before(d, i, group))
                look_at_group(d, strcmp(group, "/") == 0 ? "" : group);
            slash = strrchr(group, '/');
            if (slash)
                *slash = '\0';
        }
    }
}

size_t doctor_look(struct doctor *d)
{
    size_t low = 0;

    look_at_files(d);
    look_at_nr_open(d);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        look_at_setting(d, &settings[i]);
    look_at_ports(d);
    look_at_conntrack(d);
    look_at_maps(d);
    look_at_memory(d);
    look_at_groups(d);
    for (size_t i = 0; i < d->count; i++)
        low += d->findings[i].state == DOCTOR_LOW;
    return low;
}

void doctor_fini(struct doctor *d)
{
    free(d->findings);
    d->findings = NULL;
    d->count = d->room = 0;
}

/* ---- losses -------------------------------------------------------------- */

static const struct doctor_loss losses[] = {
    { "ListenOverflows", "the queue of a listener was full: somaxconn",
      false, 0 },
    { "ListenDrops", "connections lost at a listener, for any reason",
      false, 0 },
    { "TCPReqQFullDoCookies", "the SYN queue was full, cookies helped: "
      "tcp_max_syn_backlog", false, 0 },
    { "TCPReqQFullDrop", "the SYN queue was full: tcp_max_syn_backlog",
      false, 0 },
    { "TCPBacklogDrop", "packets for a socket that was busy", false, 0 },
    { "TCPMemoryPressures", "socket buffers were short: tcp_mem", false, 0 },
    { "TCPAbortOnMemory", "connections ended for want of memory: tcp_mem, "
      "tcp_max_orphans", false, 0 },
    { "TCPTimeWaitOverflow", "tcp_max_tw_buckets was met", false, 0 },
    { "TCPMigrateReqFailure", "connections lost when an instance left the "
      "port", false, 0 },
    { "SoftnetDrops", "packets that found no room: netdev_max_backlog",
      false, 0 },
};
_Static_assert(ARRAY_LEN(losses) == DOCTOR_LOSSES, "the header says how many");

static void take_loss(struct doctor_loss ret[], const char *name,
                      uint64_t count)
{
    for (size_t i = 0; i < DOCTOR_LOSSES; i++)
        if (strcmp(ret[i].name, name) == 0) {
            ret[i].known = true;
            ret[i].count += count;
        }
}

/* Two lines for each part: the names, and the numbers in the same order. */
static void read_netstat(FILE *f, struct doctor_loss ret[])
{
    char *names = NULL, *numbers = NULL, *a, *b, *name, *number;
    size_t room[2] = { 0, 0 };

    while (getline(&names, &room[0], f) > 0
           && getline(&numbers, &room[1], f) > 0) {
        name = strtok_r(names, " \n", &a);
        number = strtok_r(numbers, " \n", &b);
        while (name && number) {
            take_loss(ret, name, strtoull(number, NULL, 10));
            name = strtok_r(NULL, " \n", &a);
            number = strtok_r(NULL, " \n", &b);
        }
    }
    free(names);
    free(numbers);
}

/* A line for each processor; its second number, in hex. */
static void read_softnet(FILE *f, struct doctor_loss ret[])
{
    char line[512];
    unsigned long long dropped;

    while (fgets(line, sizeof line, f))
        if (sscanf(line, "%*x %llx", &dropped) == 1)
            take_loss(ret, "SoftnetDrops", dropped);
}

void doctor_losses(const char *root, struct doctor_loss ret[DOCTOR_LOSSES])
{
    char path[512];
    FILE *f;

    memcpy(ret, losses, sizeof losses);
    snprintf(path, sizeof path, "%s/proc/net/netstat", root);
    f = fopen(path, "re");
    if (f) {
        read_netstat(f, ret);
        fclose(f);
    }
    snprintf(path, sizeof path, "%s/proc/net/softnet_stat", root);
    f = fopen(path, "re");
    if (f) {
        read_softnet(f, ret);
        fclose(f);
    }
}
