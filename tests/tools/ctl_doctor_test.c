/* What the doctor makes of a machine that lies in a folder. */
#include "tools/router-ctl/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "tests/t/t.h"

/* Each test has a machine of its own. */
static const char *root(void)
{
    return test_dir();
}

static void put(const char *path, const char *text)
{
    char full[256];
    FILE *f;

    snprintf(full, sizeof full, "%s%s", root(), path);
    for (char *c = full; (c = strchr(c, '/')); c++) {
        *c = '\0';
        (void)mkdir(full, 0700);
        *c = '/';
    }
    f = fopen(full, "w");
    EXPECT(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void good_machine(void)
{
    put("/proc/sys/fs/file-max", "4000000\n");
    put("/proc/sys/fs/nr_open", "2097152\n");
    put("/proc/sys/fs/epoll/max_user_watches", "5000000\n");
    put("/proc/sys/net/core/somaxconn", "65535\n");
    put("/proc/sys/net/core/netdev_max_backlog", "65536\n");
    put("/proc/sys/net/ipv4/tcp_max_syn_backlog", "65535\n");
    put("/proc/sys/net/ipv4/tcp_mem", "1000000\t1500000\t2000000\n");
    put("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    put("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n");
    put("/proc/sys/net/ipv4/tcp_migrate_req", "1\n");
    put("/proc/sys/net/ipv4/tcp_syncookies", "1\n");
    put("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1000000\n");
    put("/proc/sys/net/ipv4/tcp_max_orphans", "1000000\n");
    put("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
    put("/proc/sys/vm/max_map_count", "2000000\n");
    put("/proc/meminfo", "MemTotal: 24000000 kB\nMemAvailable: 20000000 kB\n");
}

static struct doctor look(uint64_t connections,
                          const struct doctor_process *p, size_t count)
{
    struct doctor d = { .root = root(), .connections = connections,
                        .processes = p, .process_count = count };

    (void)doctor_look(&d);
    EXPECT(!d.failed);
    return d;
}

static const struct doctor_finding *of(const struct doctor *d,
                                       const char *setting)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->findings[i].setting, setting) == 0)
            return &d->findings[i];
    return NULL;
}

static size_t lows(const struct doctor *d)
{
    size_t n = 0;

    for (size_t i = 0; i < d->count; i++)
        n += d->findings[i].state == DOCTOR_LOW;
    return n;
}

/* 57 instances of 20,000 files. */
static struct doctor_process *gateways(size_t count, uint64_t files)
{
    struct doctor_process *p = calloc(count, sizeof *p);

    for (size_t i = 0; i < count; i++)
        p[i] = (struct doctor_process){ .name = "http", .pid = (uint32_t)i + 1,
                                        .clients = true, .files_known = true,
                                        .files = files, .files_most = files };
    return p;
}

TEST(a_machine_that_has_all_lacks_nothing_for_a_million)
{
    struct doctor_process *p = gateways(57, 20000);
    struct doctor d;

    good_machine();
    d = look(1000000, p, 57);
    for (size_t i = 0; i < d.count; i++)
        EXPECT(d.findings[i].state == DOCTOR_OK);
    EXPECT(d.count > 14);
    doctor_fini(&d);
    free(p);
}

TEST(what_is_too_small_comes_with_the_command_that_mends_it)
{
    struct doctor d;

    good_machine();
    put("/proc/sys/net/core/somaxconn", "4096\n");
    put("/proc/sys/net/ipv4/tcp_mem", "1000\t2000\t3000\n");
    put("/proc/sys/net/ipv4/tcp_migrate_req", "0\n");
    d = look(50000, NULL, 0);
    EXPECT_INT(lows(&d), 2);
    EXPECT_INT(of(&d, "net.core.somaxconn")->state, DOCTOR_LOW);
    EXPECT_STR(of(&d, "net.core.somaxconn")->cure,
               "sysctl -w net.core.somaxconn=50000");
    EXPECT_STR(of(&d, "net.ipv4.tcp_mem")->value, "1000 2000 3000");
    EXPECT_STR(of(&d, "net.ipv4.tcp_mem")->cure,
               "sysctl -w net.ipv4.tcp_mem='1000 2000 50000'");
    EXPECT_INT(of(&d, "net.ipv4.tcp_migrate_req")->state, DOCTOR_NOTE);
    EXPECT_INT(of(&d, "RLIMIT_NOFILE")->state, DOCTOR_UNKNOWN);
    doctor_fini(&d);
    d = look(4000, NULL, 0);
    EXPECT_INT(of(&d, "net.core.somaxconn")->state, DOCTOR_OK);
    doctor_fini(&d);
}

TEST(files_are_counted_over_all_gateways)
{
    struct doctor_process *p = gateways(2, 1024);
    struct doctor d;

    good_machine();
    d = look(1500, p, 2);
    EXPECT_INT(of(&d, "RLIMIT_NOFILE")->state, DOCTOR_OK);
    doctor_fini(&d);
    d = look(2000, p, 2);
    EXPECT_INT(of(&d, "RLIMIT_NOFILE")->state, DOCTOR_LOW);
    EXPECT_STR(of(&d, "RLIMIT_NOFILE")->value, "1536");
    EXPECT_STR(of(&d, "RLIMIT_NOFILE")->cure,
               "http.instances = 3 (or tcp, ws) with LimitNOFILE=1024");
    doctor_fini(&d);
    p[0].files_most = p[1].files_most = 4096;
    d = look(2000, p, 2);
    EXPECT_STR(of(&d, "RLIMIT_NOFILE")->cure,
               "LimitNOFILE=1256 in the unit, or: ulimit -n 1256");
    doctor_fini(&d);
    free(p);
}

TEST(connection_tracking_counts_where_it_is_at_work)
{
    struct doctor d;

    good_machine();
    d = look(1000000, NULL, 0);
    EXPECT(of(&d, "net.netfilter.nf_conntrack_max") == NULL);
    doctor_fini(&d);
    put("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    put("/proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    d = look(1000000, NULL, 0);
    EXPECT_INT(of(&d, "net.netfilter.nf_conntrack_max")->state, DOCTOR_NOTE);
    doctor_fini(&d);
    put("/proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    d = look(1000000, NULL, 0);
    EXPECT_INT(of(&d, "net.netfilter.nf_conntrack_max")->state, DOCTOR_LOW);
    EXPECT_STR(of(&d, "net.netfilter.nf_conntrack_max")->cure,
               "sysctl -w net.netfilter.nf_conntrack_max=1250000");
    doctor_fini(&d);
}

TEST(limits_of_the_group_and_of_those_above_it_are_looked_at_once)
{
    struct doctor_process p[2] = {
        { .name = "router", .cgroup = "/system.slice/touchline.service" },
        { .name = "http1", .clients = true, .files_known = true,
          .files = 100000, .files_most = 100000,
          .cgroup = "/system.slice/touchline.service" },
    };
    struct doctor d;

    good_machine();
    put("/sys/fs/cgroup/system.slice/touchline.service/memory.max",
        "100000000\n");
    put("/sys/fs/cgroup/system.slice/touchline.service/memory.current",
        "40000000\n");
    put("/sys/fs/cgroup/system.slice/touchline.service/pids.max", "max\n");
    put("/sys/fs/cgroup/system.slice/pids.max", "100\n");
    put("/sys/fs/cgroup/system.slice/pids.current", "80\n");
    d = look(20000, p, 2);
    EXPECT_INT(lows(&d), 2);
    EXPECT_STR(of(&d, "memory.max of /system.slice/touchline.service")->cure,
               "MemoryMax=142400000");
    EXPECT_STR(of(&d, "pids.max of /system.slice")->value, "20");
    EXPECT_STR(of(&d, "pids.max of /system.slice")->cure, "TasksMax=224");
    doctor_fini(&d);
}

static uint64_t loss(const struct doctor_loss *l, const char *name)
{
    for (size_t i = 0; i < DOCTOR_LOSSES; i++)
        if (strcmp(l[i].name, name) == 0 && l[i].known)
            return l[i].count;
    return UINT64_MAX;
}

TEST(losses_are_found_by_name_wherever_they_stand)
{
    struct doctor_loss l[DOCTOR_LOSSES];

    put("/proc/net/netstat",
        "TcpExt: SyncookiesSent ListenOverflows Other ListenDrops\n"
        "TcpExt: 1 22 3 44\n"
        "IpExt: InNoRoutes TCPReqQFullDrop\nIpExt: 5 6\n");
    put("/proc/net/softnet_stat", "00000001 00000002 0\n0000000f 00000010 0\n");
    doctor_losses(root(), l);
    EXPECT_INT(loss(l, "ListenOverflows"), 22);
    EXPECT_INT(loss(l, "ListenDrops"), 44);
    EXPECT_INT(loss(l, "TCPReqQFullDrop"), 6);
    EXPECT_INT(loss(l, "SoftnetDrops"), 18);
    EXPECT(loss(l, "TCPBacklogDrop") == UINT64_MAX);
}
