/* crowd_main - many clients on all edges, who write down what they did and saw.
 * `crowd --help` says how; crowd.h what they are; history.h what they write. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/chaos/crowd.h"

static const char help[] =
"crowd --http PORT --tcp PORT --ws PORT --log DIR [OPTION...]\n"
"\n"
"Subscribers and publishers on all edges of a Touchline at 127.0.0.1. They\n"
"write what they did and saw to DIR/crowd-N.log (tests/chaos/history.h), one\n"
"file for each process, for tests/chaos/check to judge.\n"
"\n"
"  --subs FORM=N,...     subscribers in all: ndjson sse poll test ws raw telnet\n"
"  --pubs FORM=N,...     publishers in all: post batch ws raw telnet; report:\n"
"                        each makes a match of its own and reports it\n"
"  --spaces PREFIX:LEVEL:COUNT,...  channels PREFIX/1 to PREFIX/COUNT; LEVEL is\n"
"                        the durability of the namespace (plain:process:4);\n"
"                        behind it, each with a colon: trims, history is\n"
"                        bounded; drop-oldest or conflate, what slow readers do\n"
"                        without. match and team have matches and their teams\n"
"  --rate N              publications a second, of all together (100)\n"
"  --size MIN-MAX        bytes of a text (40-400); mostly small ones\n"
"  --processes N         a process may open only so many files (1)\n"
"  --seed N              of all chance (1)\n"
"  --stay MS             mean time until a subscriber leaves and comes back\n"
"                        with its cursor (0: it stays)\n"
"  --backoff MS          longest wait before coming back, from 50 ms doubling,\n"
"                        beside what the server says (2000)\n"
"  --open-rate N         first connections a second of each process (2000)\n"
"  --die SHARE           of publications whose publisher resets its connection\n"
"                        right after sending, and tries again with its key (0)\n"
"  --zero                some subscribers begin with cursor 0\n"
"  --lazy N              subscribers who at times do not read (0)\n"
"  --pieces              what is said leaves in small pieces, and log lines at\n"
"                        once: who is killed is killed in the middle\n"
"  --first NUMBER        of the first client of this process\n"
"  --as NAME             of the log: DIR/NAME.log, with one process\n"
"  --again               the one publisher goes on in the log of one that was\n"
"                        killed: says again what had no answer, with its keys\n"
"  --no-patterns         subscribe to channels only\n"
"  --no-keys             publish without idempotency keys\n"
"  --dense               log runs of messages instead of each (D lines): for\n"
"                        tens of thousands; what is out of order is logged whole\n"
"  --dump FILE           only read what the store holds of --spaces, to FILE\n"
"  --seconds N           run so long, then calm, stop, drained, end\n"
"\n"
"Without --seconds it obeys words on standard input, a line each, and answers\n"
"each with a line that begins with the word, and figures of all processes:\n"
"\n"
"  status    at once\n"
"  ready     when all subscribers are subscribed\n"
"  calm      nobody leaves or dies any more; when all are subscribed\n"
"  stop      nothing new is published; when everything is answered\n"
"  drained   when for two seconds nobody got a message\n"
"  end       all leave, the logs are whole; then it ends\n";

static const char *const sub_names[SUB_FORMS] = { "ndjson", "sse", "poll",
                                                  "test", "ws", "raw",
                                                  "telnet" };
static const char *const pub_names[PUB_FORMS] = { "post", "batch", "ws", "raw",
                                                  "telnet", "report" };

_Noreturn static void usage(const char *what)
{
    fprintf(stderr, "crowd: %s; --help shows what there is\n", what);
    exit(2);
}

/* ---- options ------------------------------------------------------------------ */

/* FORM=N,... */
static void read_counts(char *text, const char *const *names, unsigned n,
                        unsigned *counts)
{
    for (char *w = strtok(text, ","); w; w = strtok(NULL, ",")) {
        char *eq = strchr(w, '=');
        unsigned i = 0;

        if (!eq)
            usage("FORM=N is wanted");
        *eq = '\0';
        while (i < n && strcmp(names[i], w) != 0)
            i++;
        if (i == n)
            usage("there is no such form");
        counts[i] = (unsigned)atoi(eq + 1);
    }
}

/* PREFIX:LEVEL:COUNT[:WORD]... */
static void read_space(struct space *s, char *text)
{
    char *word, *rest = NULL;
    unsigned n = 0;

    *s = (struct space){ .slow = "cut" };
    for (word = strtok_r(text, ":", &rest); word;
         word = strtok_r(NULL, ":", &rest), n++) {
        if (n == 0)
            snprintf(s->prefix, sizeof s->prefix, "%s", word);
        else if (n == 1)
            snprintf(s->level, sizeof s->level, "%s", word);
        else if (n == 2)
            s->count = (unsigned)atoi(word);
        else if (strcmp(word, "trims") == 0)
            s->trims = true;
        else
            snprintf(s->slow, sizeof s->slow, "%s", word);
    }
    if (n < 3)
        usage("PREFIX:LEVEL:COUNT is wanted");
}

static void read_spaces(struct options *o, char *text)
{
    char *rest = NULL;

    o->space_count = 0;
    for (char *w = strtok_r(text, ",", &rest); w;
         w = strtok_r(NULL, ",", &rest)) {
        if (o->space_count == SPACES_MAX)
            usage("there are too many namespaces");
        read_space(&o->spaces[o->space_count++], w);
    }
}

enum { HTTP = 256, TCP, WS, LOG, SUBS, PUBS, SPACES, RATE, SIZE, PROCESSES,
       SEED, STAY, BACKOFF, OPEN_RATE, DIE, ZERO, NO_PATTERNS, NO_KEYS, DENSE,
       SECONDS, DUMP, LAZY, PIECES, FIRST, AS, AGAIN, HELP };

static const struct option rows[] = {
    { "http", 1, NULL, HTTP }, { "tcp", 1, NULL, TCP }, { "ws", 1, NULL, WS },
    { "log", 1, NULL, LOG }, { "subs", 1, NULL, SUBS },
    { "pubs", 1, NULL, PUBS }, { "spaces", 1, NULL, SPACES },
    { "rate", 1, NULL, RATE }, { "size", 1, NULL, SIZE },
    { "processes", 1, NULL, PROCESSES }, { "seed", 1, NULL, SEED },
    { "stay", 1, NULL, STAY }, { "backoff", 1, NULL, BACKOFF },
    { "open-rate", 1, NULL, OPEN_RATE }, { "die", 1, NULL, DIE },
    { "zero", 0, NULL, ZERO }, { "no-patterns", 0, NULL, NO_PATTERNS },
    { "no-keys", 0, NULL, NO_KEYS }, { "dense", 0, NULL, DENSE },
    { "seconds", 1, NULL, SECONDS }, { "dump", 1, NULL, DUMP },
    { "lazy", 1, NULL, LAZY }, { "pieces", 0, NULL, PIECES },
    { "first", 1, NULL, FIRST }, { "as", 1, NULL, AS },
    { "again", 0, NULL, AGAIN }, { "help", 0, NULL, HELP },
    { NULL, 0, NULL, 0 },
};

static void read_option(struct options *o, int which, char *value)
{
    switch (which) {
    case HTTP:
    case TCP:
    case WS:
        o->port[which - HTTP] = (uint16_t)atoi(value);
        break;
    case LOG: o->dir = value; break;
    case SUBS: read_counts(value, sub_names, SUB_FORMS, o->subs); break;
    case PUBS: read_counts(value, pub_names, PUB_FORMS, o->pubs); break;
    case SPACES: read_spaces(o, value); break;
    case RATE: o->rate = atof(value); break;
    case SIZE:
        if (sscanf(value, "%u-%u", &o->size_min, &o->size_max) != 2 ||
            o->size_min > o->size_max)
            usage("MIN-MAX is wanted");
        break;
    case PROCESSES: o->processes = (unsigned)MAX(atoi(value), 1); break;
    case SEED: o->seed = strtoull(value, NULL, 0); break;
    case STAY: o->stay_ms = atol(value); break;
    case BACKOFF: o->backoff_ms = atol(value); break;
    case OPEN_RATE: o->open_rate = atof(value); break;
    case DIE: o->die = atof(value); break;
    case ZERO: o->zero = true; break;
    case NO_PATTERNS: o->patterns = false; break;
    case NO_KEYS: o->keys = false; break;
    case DENSE: o->dense = true; break;
    case DUMP: o->dump = value; break;
    case LAZY: o->lazy = (unsigned)atoi(value); break;
    case PIECES: o->pieces = true; break;
    case FIRST: o->first = (uint32_t)atoi(value); break;
    case AS: o->name = value; break;
    case AGAIN: o->again = true; break;
    case SECONDS: o->seconds = atof(value); break;
    case HELP: fputs(help, stdout); exit(0);
    default: usage("that is no option");
    }
}

/* ---- one process ----------------------------------------------------------------- */

static void add_channel(struct crowd *c, unsigned space, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
static void add_channel(struct crowd *c, unsigned space, const char *fmt, ...)
{
    struct channel *ch = &c->channels[c->item_count++];
    va_list args;

    va_start(args, fmt);
    vsnprintf(ch->name, sizeof ch->name, fmt, args);
    va_end(args);
    ch->space = space;
}

/* The k-th of its namespace, from 1 on. */
static void add_one(struct crowd *c, unsigned space, unsigned k)
{
    const char *prefix = c->options->spaces[space].prefix;

    if (strcmp(prefix, "match") == 0)
        add_channel(c, space, "match/h%u-v%u-2026-06-01", k, k);
    else if (strcmp(prefix, "team") == 0)
        add_channel(c, space, "team/%c%u", k % 2 ? 'h' : 'v', (k + 1) / 2);
    else
        add_channel(c, space, "%s/%u", prefix, k);
}

/* Patterns: of one namespace, of all, and across them. */
static void make_channels(struct crowd *c)
{
    const struct options *o = c->options;
    unsigned all = PATTERNS_MAX;

    for (unsigned i = 0; i < o->space_count; i++)
        all += o->spaces[i].count;
    c->channels = calloc(all, sizeof *c->channels);
    for (unsigned i = 0; i < o->space_count; i++)
        for (unsigned k = 1; k <= o->spaces[i].count; k++)
            add_one(c, i, k);
    c->channel_count = c->item_count;
    for (unsigned i = 0; i < o->space_count; i++) {
        add_channel(c, SPACES_MAX, "%s/*", o->spaces[i].prefix);
        add_channel(c, SPACES_MAX, "%s/**", o->spaces[i].prefix);
    }
    add_channel(c, SPACES_MAX, "*/1");
    add_channel(c, SPACES_MAX, "**");
}

/* This process' part of n. */
static unsigned part_of(const struct crowd *c, unsigned n)
{
    unsigned of = c->options->processes;

    return n / of + (c->process < n % of);
}

static void make_clients(struct crowd *c, int64_t now_ns)
{
    const struct options *o = c->options;
    uint32_t base = o->first ? o->first : 1 + c->process * 1000000;
    double between = o->open_rate > 0 ? 1e9 / o->open_rate : 0;
    unsigned subs = 0, pubs = 0;

    for (unsigned f = 0; f < SUB_FORMS; f++)
        subs += part_of(c, o->subs[f]);
    for (unsigned f = 0; f < PUB_FORMS; f++)
        pubs += part_of(c, o->pubs[f]);
    c->subs = calloc(subs + 1, sizeof *c->subs);
    c->pubs = calloc(pubs + 1, sizeof *c->pubs);
    for (unsigned f = 0; f < SUB_FORMS; f++)
        for (unsigned k = 0; k < part_of(c, o->subs[f]); k++, c->sub_count++)
            sub_init(c, &c->subs[c->sub_count], base + c->sub_count, f);
    for (unsigned f = 0; f < PUB_FORMS; f++)
        for (unsigned k = 0; k < part_of(c, o->pubs[f]); k++, c->pub_count++)
            pub_init(c, &c->pubs[c->pub_count], base + c->pub_count, f);
    for (unsigned i = 0; i < c->sub_count; i++)
        c->subs[i].due_ns = now_ns + (int64_t)(between * i);
    for (unsigned i = 0; i < c->pub_count; i++)
        c->pubs[i].due_ns = now_ns + (int64_t)crowd_below(c, 500000000);
}

static void on_events(struct crowd *c)
{
    struct epoll_event events[256];
    int n = epoll_wait(c->poll_fd, events, 256, 5);
    int64_t now_ns = clock_ns();

    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;

        if (!p)
            continue; /* a word from the parent; see words() */
        if (p->is_sub)
            sub_event(c, CONTAINER_OF(p, struct sub, peer), events[i].events,
                      now_ns);
        else
            pub_event(c, CONTAINER_OF(p, struct pub, peer), events[i].events,
                      now_ns);
    }
}

static void on_time(struct crowd *c, int64_t now_ns)
{
    for (unsigned i = 0; i < c->sub_count; i++) {
        if (c->subs[i].due_ns <= now_ns)
            sub_due(c, &c->subs[i], now_ns);
        if (c->subs[i].turns_ns <= now_ns)
            sub_turn(c, &c->subs[i], now_ns);
    }
    for (unsigned i = 0; i < c->pub_count; i++)
        if (c->pubs[i].due_ns <= now_ns)
            pub_due(c, &c->pubs[i], now_ns);
}

/* ---- words of the parent ----------------------------------------------------------- */

enum word { STATUS, READY, CALM, STOP, DRAINED, END, WORDS };
static const char *const words[WORDS] = { "status", "ready", "calm", "stop",
                                          "drained", "end" };

static bool all_begun(const struct crowd *c)
{
    for (unsigned i = 0; i < c->sub_count; i++)
        if (!c->subs[i].begun)
            return false;
    return true;
}

static bool all_answered(const struct crowd *c)
{
    for (unsigned i = 0; i < c->pub_count; i++)
        if (c->pubs[i].count)
            return false;
    return true;
}

static void take_word(struct crowd *c, enum word w)
{
    c->calm |= w == CALM;
    c->stopped |= w == STOP;
    for (unsigned i = 0; w == CALM && i < c->sub_count; i++)
        sub_turn(c, &c->subs[i], 0);
    for (unsigned i = 0; w == CALM && i < c->sub_count; i++)
        if (c->subs[i].begun && c->subs[i].form != SUB_POLL)
            c->subs[i].due_ns = INT64_MAX;
    for (unsigned i = 0; w == END && i < c->sub_count; i++)
        sub_end(c, &c->subs[i]);
    for (unsigned i = 0; w == END && i < c->pub_count; i++)
        pub_end(c, &c->pubs[i]);
}

static bool word_done(const struct crowd *c, enum word w, int64_t now_ns)
{
    switch (w) {
    case READY:
    case CALM: return all_begun(c);
    case STOP: return all_answered(c);
    case DRAINED: return c->last_message_ns + 2 * SECOND < now_ns;
    default: return true;
    }
}

static void answer(const struct crowd *c, enum word w, int to)
{
    const struct figures *f = &c->figures;
    unsigned begun = 0, unanswered = 0;

    for (unsigned i = 0; i < c->sub_count; i++)
        begun += c->subs[i].begun;
    for (unsigned i = 0; i < c->pub_count; i++)
        unanswered += c->pubs[i].count;
    fflush(c->log);
    dprintf(to, "%s subscribers=%u subscribed=%u publishers=%u unanswered=%u "
            "opened=%lu closed_by_peer=%lu refused_connects=%lu messages=%lu "
            "notices=%lu gaps=%lu missed=%lu invoked=%lu acked=%lu "
            "duplicates=%lu refused=%lu unknown=%lu\n", words[w], c->sub_count,
            begun, c->pub_count, unanswered, f->opened, f->closed_by_peer,
            f->refused_connects, f->messages, f->notices, f->gaps, f->missed,
            f->invoked, f->acked, f->duplicates, f->refused, f->unknown);
}

/* The loop of one process, until the word is `end`. from: a pipe. */
static void serve(struct crowd *c, int from, int to)
{
    struct pollfd in = { .fd = from, .events = POLLIN };
    int64_t due_ns = 0;
    int word = -1;
    uint8_t next;

    for (;;) {
        int64_t now_ns;

        on_events(c);
        now_ns = clock_ns();
        if (now_ns >= due_ns) {
            on_time(c, now_ns);
            due_ns = now_ns + 5 * MILLISECOND;
        }
        if (word < 0 && poll(&in, 1, 0) == 1) {
            if (read(from, &next, 1) != 1)
                next = END;
            word = next;
            take_word(c, (enum word)word);
        }
        if (word >= 0 && word_done(c, (enum word)word, now_ns)) {
            answer(c, (enum word)word, to);
            if (word == END)
                return;
            word = -1;
        }
    }
}

static void open_crowd(struct crowd *c, const char *path)
{
    c->random = (c->options->seed + c->process) * 0x9e3779b97f4a7c15u | 1;
    c->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->log = fopen(path, c->options->again ? "a" : "w");
    if (!c->log || c->poll_fd < 0) {
        perror(path);
        exit(1);
    }
    setvbuf(c->log, NULL, c->options->pieces ? _IOLBF : _IOFBF, 1 << 20);
    make_channels(c);
}

_Noreturn static void run_dump(const struct options *o)
{
    struct crowd c = { .options = o };
    bool whole;

    open_crowd(&c, o->dump);
    whole = dump_store(&c);
    if (!whole)
        fprintf(stderr, "crowd: the history cannot be read\n");
    exit(fclose(c.log) == 0 && whole ? 0 : 1);
}

static void run_process(const struct options *o, unsigned process, int from,
                        int to)
{
    struct crowd c = { .options = o, .process = process };
    char path[512];

    if (o->name)
        snprintf(path, sizeof path, "%s/%s.log", o->dir, o->name);
    else
        snprintf(path, sizeof path, "%s/crowd-%u.log", o->dir, process);
    open_crowd(&c, path);
    for (unsigned i = 0; i < o->space_count && process == 0 && !o->again;
         i++)
        crowd_say(&c, 'C', "0 %s %s", o->spaces[i].prefix, o->spaces[i].slow);
    make_clients(&c, clock_ns());
    if (o->again && !pub_again(&c, &c.pubs[0], path)) {
        perror(path);
        exit(1);
    }
    serve(&c, from, to);
    exit(fclose(c.log) == 0 ? 0 : 1);
}

/* ---- the parent ---------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int to;
    FILE *from;
};

static struct child start_child(const struct options *o, unsigned process)
{
    int down[2], up[2];
    struct child child;

    if (pipe(down) < 0 || pipe(up) < 0 || (child.pid = fork()) < 0) {
        perror("crowd");
        exit(1);
    }
    if (child.pid == 0) {
        close(down[1]);
        close(up[0]);
        run_process(o, process, down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    child.to = down[1];
    child.from = fdopen(up[0], "r");
    return child;
}

enum { FIGURES_MAX = 32 };

/* Adds the figures of one answer; they come in the same order from all. */
static void add_figures(char *line, char names[][24], uint64_t *sums,
                        unsigned *count)
{
    unsigned i = 0;

    strtok(line, " \n");
    for (char *w; (w = strtok(NULL, " \n")) && i < FIGURES_MAX; i++) {
        char *eq = strchr(w, '=');

        snprintf(names[i], 24, "%.*s", (int)(eq - w), w);
        sums[i] += strtoull(eq + 1, NULL, 10);
    }
    *count = i;
}

static void ask_all(struct child *children, unsigned n, enum word w)
{
    char names[FIGURES_MAX][24], line[1024];
    uint64_t sums[FIGURES_MAX] = { 0 };
    unsigned count = 0;
    uint8_t byte = (uint8_t)w;

    for (unsigned i = 0; i < n; i++)
        if (write(children[i].to, &byte, 1) != 1)
            perror("crowd");
    for (unsigned i = 0; i < n; i++) {
        if (!fgets(line, sizeof line, children[i].from)) {
            fprintf(stderr, "crowd: process %u has died\n", i);
            exit(1);
        }
        add_figures(line, names, sums, &count);
    }
    printf("%s", words[w]);
    for (unsigned i = 0; i < count; i++)
        printf(" %s=%lu", names[i], sums[i]);
    printf("\n");
    fflush(stdout);
}

static void obey(struct child *children, unsigned n)
{
    char line[64];

    while (fgets(line, sizeof line, stdin)) {
        unsigned w = 0;

        line[strcspn(line, "\n")] = '\0';
        while (w < WORDS && strcmp(words[w], line) != 0)
            w++;
        if (w == WORDS)
            printf("unknown %s\n", line), fflush(stdout);
        else
            ask_all(children, n, (enum word)w);
        if (w == END)
            return;
    }
    ask_all(children, n, END);
}

static void run_for(struct child *children, unsigned n, double seconds)
{
    int64_t until_ns = clock_ns() + (int64_t)(seconds * 1e9);

    ask_all(children, n, READY);
    while (clock_ns() < until_ns) {
        poll(NULL, 0, 1000);
        ask_all(children, n, STATUS);
    }
    for (unsigned w = CALM; w < WORDS; w++)
        ask_all(children, n, (enum word)w);
}

int main(int argc, char **argv)
{
    struct options o = { .seed = 1, .rate = 100, .size_min = 40,
                         .size_max = 400, .processes = 1, .backoff_ms = 2000,
                         .open_rate = 2000, .patterns = true, .keys = true,
                         .spaces = { { .prefix = "plain",
                                       .level = "process", .slow = "cut",
                                       .count = 4 } },
                         .space_count = 1 };
    struct child *children;
    struct rlimit files;
    int which, status, worst = 0;

    while ((which = getopt_long(argc, argv, "", rows, NULL)) != -1)
        read_option(&o, which, optarg);
    if ((!o.dir && !o.dump) || optind != argc)
        usage("--log DIR is wanted");
    if (o.dump)
        run_dump(&o);
    mkdir(o.dir, 0777);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    children = calloc(o.processes, sizeof *children);
    for (unsigned i = 0; i < o.processes; i++)
        children[i] = start_child(&o, i);
    if (o.seconds > 0)
        run_for(children, o.processes, o.seconds);
    else
        obey(children, o.processes);
    for (unsigned i = 0; i < o.processes; i++)
        if (waitpid(children[i].pid, &status, 0) < 0 || status != 0)
            worst = 1;
    return worst;
}
