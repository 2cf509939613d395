#include "tools/flood/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"

/* Files of a process that are no clients. */
enum { SPARE = 32, REACH_MS = 5000 };

static uint64_t files_of_a_process(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return 1024;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_max == RLIM_INFINITY ? UINT32_MAX : files.rlim_max;
}

static uint64_t files_of_the_machine(void)
{
    uint64_t used, unused, most = UINT64_MAX;
    FILE *f = fopen("/proc/sys/fs/file-nr", "re");

    if (f) {
        if (fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &used, &unused,
                   &most) != 3)
            most = UINT64_MAX;
        fclose(f);
    }
    return most;
}

static bool has_ports(const struct plan *p, struct opt_error *err)
{
    uint64_t wanted = p->settings->connections;
    uint64_t room = source_room(&p->source) * p->targets.count;

    if (p->targets.at[0].addr.any.sa_family == AF_UNIX || room >= wanted)
        return true;
    opt_error_set(err, "%" PRIu64 " connections need more than the %" PRIu64
                  " ports of %" PRIu64 " addresses: name %" PRIu64
                  " with --from, or widen net.ipv4.ip_local_port_range (it has "
                  "%" PRIu64 ")", wanted, room, MAX(p->source.count, 1),
                  wanted / p->source.ports + 1, p->source.ports);
    return false;
}

size_t limits_processes(const struct plan *p, struct opt_error *err)
{
    uint64_t wanted = p->settings->connections;
    uint64_t files = files_of_a_process(), machine = files_of_the_machine();
    uint64_t each = files > 2 * SPARE ? files - SPARE : 0;
    uint64_t processes = p->settings->processes;

    if (machine < wanted) {
        opt_error_set(err, "%" PRIu64 " connections need more files than the "
                      "machine allows: sysctl -w fs.file-max=%" PRIu64
                      " (it is %" PRIu64 ")", wanted, 4 * wanted, machine);
        return 0;
    }
    if (!each || (processes && (wanted + processes - 1) / processes > each)) {
        opt_error_set(err, "a process may open %" PRIu64 " files: use "
                      "--processes %" PRIu64 " (or leave it out), or raise the "
                      "limit: ulimit -n %" PRIu64 ", LimitNOFILE=", files,
                      each ? (wanted + each - 1) / each : wanted,
                      (processes ? wanted / processes : wanted) + 1 + SPARE);
        return 0;
    }
    if (!has_ports(p, err))
        return 0;
    return (size_t)(processes ? processes : (wanted + each - 1) / each);
}

static int finish(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    int error = 0;
    socklen_t len = sizeof error;

    if (poll(&poll_fd, 1, REACH_MS) == 0)
        return ETIMEDOUT;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

int limits_reach(const struct plan *p, struct opt_error *err)
{
    const struct endpoint *to = &p->targets.at[0];
    char at[ENDPOINT_TEXT_MAX];
    int fd = source_socket(&p->source, to, 0), error = 0;

    endpoint_text(to, at);
    if (fd < 0) {
        opt_error_set(err, "%s: no connection can be made from here: %s; are "
                      "the addresses of --from this machine's?", at,
                      strerror(-fd));
        return ERR_IO;
    }
    if (connect(fd, &to->addr.any, to->len) < 0)
        error = errno == EINPROGRESS ? finish(fd) : errno;
    close(fd);
    if (!error)
        return 0;
    opt_error_set(err, "%s: %s: start the server (touchline), or say where it "
                  "listens: --target ADDRESS:PORT", at, strerror(error));
    return ERR_CLOSED;
}
