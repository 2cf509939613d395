#include "proto/procfs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static FILE *open_file(uint32_t pid, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "/proc/%" PRIu32 "/%s", pid, name);
    return fopen(path, "re");
}

/* ---- memory ------------------------------------------------------------ */

/* "Pss:    123 kB" of the file, added to where its name belongs. */
struct line {
    const char *name;
    uint64_t *to;
};

static bool read_lines(uint32_t pid, const char *file,
                       const struct line *lines, size_t count)
{
    FILE *f = open_file(pid, file);
    char text[256], name[64];
    uint64_t kib;
    size_t found = 0;

    if (!f)
        return false;
    while (fgets(text, sizeof text, f))
        if (sscanf(text, "%63[^:]: %" SCNu64 " kB", name, &kib) == 2)
            for (size_t i = 0; i < count; i++)
                if (strcmp(name, lines[i].name) == 0) {
                    *lines[i].to += kib * 1024;
                    found++;
                }
    fclose(f);
    return found > 0;
}

bool proc_memory(uint32_t pid, struct proc_memory *ret)
{
    struct proc_memory m = { .exact = true };
    const struct line rollup[] = {
        { "Private_Clean", &m.private }, { "Private_Dirty", &m.private },
        { "Pss", &m.pss }, { "Rss", &m.rss }, { "Pss_Anon", &m.heap },
    };
    const struct line status[] = {
        { "RssAnon", &m.private }, { "RssAnon", &m.heap },
        { "VmRSS", &m.rss }, { "VmRSS", &m.pss },
    };

    if (!read_lines(pid, "smaps_rollup", rollup, ARRAY_LEN(rollup))) {
        m = (struct proc_memory){ .exact = false };
        if (!read_lines(pid, "status", status, ARRAY_LEN(status)))
            return false;
    }
    *ret = m;
    return true;
}

/* ---- who, how long ------------------------------------------------------ */

/* What stands behind the name, which may hold anything. */
static bool read_stat(uint32_t pid, char *text, size_t room, char **behind)
{
    FILE *f = open_file(pid, "stat");
    size_t len;

    if (!f)
        return false;
    len = fread(text, 1, room - 1, f);
    fclose(f);
    text[len] = '\0';
    *behind = strrchr(text, ')');
    return *behind != NULL;
}

bool proc_cpu_ns(uint32_t pid, int64_t *ret)
{
    char text[1024], *behind;
    unsigned long long user, system;
    long hz = sysconf(_SC_CLK_TCK);

    if (!read_stat(pid, text, sizeof text, &behind) || hz <= 0
        || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                  "%llu %llu", &user, &system) != 2)
        return false;
    *ret = (int64_t)((user + system) * (uint64_t)(SECOND / hz));
    return true;
}

bool proc_who(uint32_t pid, struct proc_who *ret)
{
    char text[1024], *behind, *name;
    struct proc_who w = { .parent = 0 };

    if (!read_stat(pid, text, sizeof text, &behind)
        || !(name = strchr(text, '(')) || name > behind
        || sscanf(behind + 1, " %*c %" SCNu32 " %*d %*d %*d %*d %*u %*u %*u "
                  "%*u %*u %*u %*u %*d %*d %*d %*d %" SCNu32, &w.parent,
                  &w.threads) != 2)
        return false;
    *behind = '\0';
    snprintf(w.name, sizeof w.name, "%s", name + 1);
    for (char *c = w.name; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    *ret = w;
    return true;
}

/* ---- limits, children, group -------------------------------------------- */

static bool limit_value(const char *word, uint64_t *ret)
{
    char *end;

    if (strcmp(word, "unlimited") == 0) {
        *ret = UINT64_MAX;
        return true;
    }
    *ret = strtoull(word, &end, 10);
    return end != word && !*end;
}

bool proc_files(uint32_t pid, uint64_t *soft, uint64_t *hard)
{
    FILE *f = open_file(pid, "limits");
    char text[256], low[32], high[32];
    bool found = false;

    while (f && !found && fgets(text, sizeof text, f))
        found = sscanf(text, "Max open files %31s %31s", low, high) == 2
                && limit_value(low, soft) && limit_value(high, hard);
    if (f)
        fclose(f);
    return found;
}

size_t proc_children(uint32_t pid, uint32_t *ret, size_t room)
{
    char name[64];
    size_t count = 0;
    FILE *f;

    snprintf(name, sizeof name, "task/%" PRIu32 "/children", pid);
    f = open_file(pid, name);
    while (f && count < room && fscanf(f, "%" SCNu32, &ret[count]) == 1)
        count++;
    if (f)
        fclose(f);
    return count;
}

bool proc_cgroup(uint32_t pid, char *ret, size_t room)
{
    FILE *f = open_file(pid, "cgroup");
    char text[512];
    bool found = false;

    while (f && !found && fgets(text, sizeof text, f)) {
        text[strcspn(text, "\n")] = '\0';
        found = strncmp(text, "0::", 3) == 0 && strlen(text + 3) < room;
        if (found)
            memcpy(ret, text + 3, strlen(text + 3) + 1);
    }
    if (f)
        fclose(f);
    return found;
}
