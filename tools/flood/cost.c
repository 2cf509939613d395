#include "tools/flood/cost.h"

#include "base/err.h"
#include "proto/procfs.h"

static bool is_watched(const struct cost *c, uint32_t pid)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->pids[i] == pid)
            return true;
    return false;
}

static void add(struct cost *c, uint32_t pid)
{
    if (c->count < COST_PIDS_MAX && !is_watched(c, pid))
        c->pids[c->count++] = pid;
}

/* Those behind pids[0] grow while they are looked at. */
static void add_children(struct cost *c)
{
    for (size_t i = 0; i < c->count; i++) {
        uint32_t children[COST_PIDS_MAX];
        size_t n = proc_children(c->pids[i], children, COST_PIDS_MAX);

        for (size_t k = 0; k < n; k++)
            add(c, children[k]);
    }
}

int cost_init(struct cost *c, const char *text, struct opt_error *err)
{
    struct slice rest = slice_str(text);

    *c = (struct cost){ .count = 0 };
    while (rest.len) {
        struct slice word = slice_trim(slice_split(&rest, ','));
        struct proc_who who;
        uint64_t pid;

        if (slice_parse_u64(word, &pid) < 0 || pid > UINT32_MAX
            || !proc_who((uint32_t)pid, &who)) {
            opt_error_set(err, "'" SLICE_FMT "' is no process that runs",
                          SLICE_ARG(word));
            return ERR_BAD;
        }
        add(c, (uint32_t)pid);
    }
    add_children(c);
    return 0;
}

static int64_t cpu(struct cost *c)
{
    int64_t sum = 0, ns;

    for (size_t i = 0; i < c->count; i++)
        if (proc_cpu_ns(c->pids[i], &ns))
            sum += ns;
        else
            c->gone = true;
    return sum;
}

static int64_t memory(struct cost *c)
{
    struct proc_memory m;
    int64_t sum = 0;

    c->exact = true;
    for (size_t i = 0; i < c->count; i++)
        if (proc_memory(c->pids[i], &m)) {
            sum += (int64_t)m.pss;
            c->exact = c->exact && m.exact;
        } else {
            c->gone = true;
        }
    return sum;
}

void cost_cpu_begin(struct cost *c)
{
    c->cpu_ns -= cpu(c);
}

void cost_cpu_end(struct cost *c)
{
    c->cpu_ns += cpu(c);
}

void cost_memory_begin(struct cost *c)
{
    c->memory -= memory(c);
}

void cost_memory_end(struct cost *c)
{
    c->memory += memory(c);
}
