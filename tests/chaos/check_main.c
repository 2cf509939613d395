/* check_main - judges the logs of a run (check.h). Says what it found, line by
 * line, and a summary; exit 1 when anything is wrong. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/chaos/check.h"
#include "tests/chaos/texts.h"

static const char help[] =
"check [OPTION...] LOG...\n"
"\n"
"Judges a run by the logs of its clients, driver and store (history.h): what\n"
"is wrong, pass by pass (check.h), with the lines that show it.\n"
"\n"
"  --live SECONDS   how soon what is published after the last fault has to\n"
"                   reach everybody (10)\n"
"  --grace SECONDS  how long after a fault has healed a client of its edge may\n"
"                   be closed (20)\n"
"  --show N         violations of each pass that are printed (10)\n"
"  --texts          only count what messages say of themselves, as of systems\n"
"                   without offsets and cursors (texts.h); exit 0\n";

static struct slice map_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    void *bytes;

    if (fd < 0 || fstat(fd, &st) < 0) {
        perror(path);
        exit(2);
    }
    if (st.st_size == 0) {
        close(fd);
        return slice_make(NULL, 0);
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    return slice_make(bytes, (size_t)st.st_size);
}

static void summary(const struct check_figures *f)
{
    printf("lines=%lu publications=%lu versions=%lu stored=%lu acked=%lu "
           "refused=%lu unknown=%lu delivered=%lu replayed=%lu "
           "subscribers=%lu connections=%lu resumed=%lu gaps=%lu missed=%lu "
           "thinned=%lu states=%lu "
           "faults=%lu closed_by_peer=%lu slowest_ms=%ld", f->lines,
           f->publications, f->versions, f->stored, f->acked, f->refused,
           f->unknown, f->delivered, f->replayed, f->subscribers,
           f->connections, f->resumed, f->gaps, f->missed, f->thinned,
           f->states, f->faults,
           f->closed_by_peer, f->slowest_ns / MILLISECOND);
    for (unsigned i = 0; i < CHECK_PASSES; i++)
        printf(" %s=%lu", check_pass_name(i), f->found[i]);
    printf("\n");
}

static int by_texts(struct checker *c)
{
    struct texts_figures f;

    checker_texts(c, &f);
    printf("acked=%lu due=%lu lost=%lu lost_messages=%lu told=%lu gaps=%lu "
           "duplicated=%lu retried=%lu disordered=%lu ghosts=%lu "
           "subscribers=%lu connections=%lu broken_lines=%lu\n", f.acked,
           f.due, f.lost, f.lost_messages, f.told, f.gaps, f.duplicated,
           f.retried, f.disordered, f.ghosts, f.subscribers, f.connections,
           checker_figures(c)->found[CHECK_LOG]);
    checker_free(c);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        { "live", 1, NULL, 'l' }, { "grace", 1, NULL, 'g' },
        { "show", 1, NULL, 's' }, { "help", 0, NULL, 'h' },
        { "texts", 0, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    struct check_options o = { .out = stdout, .show = 10,
                               .live_ns = 10 * SECOND,
                               .grace_ns = 20 * SECOND };
    struct checker *c;
    uint64_t wrong;
    bool texts = false;
    int which;

    while ((which = getopt_long(argc, argv, "", rows, NULL)) != -1) {
        if (which == 'l')
            o.live_ns = (int64_t)(atof(optarg) * 1e9);
        else if (which == 'g')
            o.grace_ns = (int64_t)(atof(optarg) * 1e9);
        else if (which == 's')
            o.show = (unsigned)atoi(optarg);
        else if (which == 't')
            texts = true;
        else {
            fputs(help, which == 'h' ? stdout : stderr);
            return which == 'h' ? 0 : 2;
        }
    }
    if (optind == argc) {
        fputs(help, stderr);
        return 2;
    }
    c = checker_new(&o);
    for (int i = optind; i < argc; i++)
        checker_add(c, argv[i], map_file(argv[i]));
    if (texts)
        return by_texts(c);
    wrong = checker_judge(c);
    summary(checker_figures(c));
    checker_free(c);
    return wrong ? 1 : 0;
}
