#include "proto/owner.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TCP_LISTEN_STATE = 0x0a };

/* Inode of the socket that listens on port, by one of the kernel's tables;
 * 0: none. */
static unsigned long inode_in(const char *table, uint16_t port)
{
    FILE *f = fopen(table, "re");
    char line[512];
    unsigned long found = 0;

    if (!f)
        return 0;
    while (!found && fgets(line, sizeof line, f)) {
        unsigned at, state;
        unsigned long inode;

        if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x "
                         "%*x:%*x %*x:%*x %*x %*u %*u %lu",
                   &at, &state, &inode) == 3 &&
            at == port && state == TCP_LISTEN_STATE)
            found = inode;
    }
    fclose(f);
    return found;
}

static int holds_socket(const char *pid, const char *link)
{
    char dir[64], path[384], to[64];
    DIR *d;
    struct dirent *e;
    int found = 0;

    snprintf(dir, sizeof dir, "/proc/%.20s/fd", pid);
    d = opendir(dir);
    if (!d)
        return 0;
    while (!found && (e = readdir(d))) {
        ssize_t n;

        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        n = readlink(path, to, sizeof to - 1);
        if (n < 0)
            continue;
        to[n] = '\0';
        found = strcmp(to, link) == 0;
    }
    closedir(d);
    return found;
}

static void name_process(const char *pid, char *out, size_t size)
{
    char path[64], name[64] = "process";
    FILE *f;

    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    f = fopen(path, "re");
    if (f) {
        if (fgets(name, sizeof name, f))
            name[strcspn(name, "\n")] = '\0';
        fclose(f);
    }
    snprintf(out, size, "%s (pid %s)", name, pid);
}

void port_owner(uint16_t port, char *out, size_t size)
{
    unsigned long inode = inode_in("/proc/net/tcp", port);
    char link[64];
    struct dirent *e;
    DIR *d;

    if (size)
        out[0] = '\0';
    if (!inode)
        inode = inode_in("/proc/net/tcp6", port);
    d = inode ? opendir("/proc") : NULL;
    if (!d)
        return;
    snprintf(link, sizeof link, "socket:[%lu]", inode);
    while ((e = readdir(d)))
        if (isdigit((unsigned char)e->d_name[0]) &&
            holds_socket(e->d_name, link)) {
            name_process(e->d_name, out, size);
            break;
        }
    closedir(d);
}
