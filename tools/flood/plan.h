/* plan.h - the settings, understood: what each client dials, says and expects.
 * Threads: made at the start, only read then, by all processes. */
#ifndef TOUCHLINE_FLOOD_PLAN_H
#define TOUCHLINE_FLOOD_PLAN_H

#include "tools/flood/ids.h"
#include "tools/flood/rules.h"
#include "tools/flood/script.h"
#include "tools/flood/settings.h"
#include "tools/flood/source.h"

enum carrier { CARRIER_HTTP, CARRIER_WS, CARRIER_LINES, CARRIER_MQTT };
enum ready_when { READY_ITEM, READY_HEAD, READY_CONNECT, READY_ANSWER };
/* What an item is. POLL: each element of the answer's `messages`. */
enum split { SPLIT_LINE, SPLIT_CHUNK, SPLIT_PARAGRAPH, SPLIT_FRAME, SPLIT_POLL,
             SPLIT_NONE };

enum publish_how { PUBLISH_POST, PUBLISH_LINE, PUBLISH_MQTT };

enum { TARGETS_MAX = 64 };
struct targets {
    struct endpoint at[TARGETS_MAX];
    size_t count;
};

struct plan {
    const struct settings *settings;
    const char *edge;
    enum carrier carrier;
    enum ready_when ready_when;
    enum split split;
    bool asks_again; /* by itself, after each answer */
    struct targets targets, publish_targets;
    struct template path, next_path, header, line, body;
    struct template publish_path, publish_header, publish_line, publish_hello;
    struct buf reply_to, reply; /* lines: what begins so is answered so */
    struct buf texts[4];        /* that rules point into */
    struct buf publish_ready, publish_answer;
    struct rules rules;
    struct ids ids;
    struct source source, publish_source;
    struct script script, probe;
    bool publishes;
    enum publish_how publish_how;
};

/* Borrows s and config, which must outlive it. ERR_BAD: usage; ERR_IO;
 * ERR_NOMEM; and why in *err. plan_fini() in any case. */
MUST_USE int plan_init(struct plan *p, const struct settings *s,
                       const struct config *config, struct opt_error *err);
void plan_fini(struct plan *p);

#endif
