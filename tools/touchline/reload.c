#include "tools/touchline/reload.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "base/err.h"
#include "base/log.h"
#include "proto/reload.h"

/* ---- the end ------------------------------------------------------------- */

static void begin(struct reload *r, struct control_asker *asker);

static void next(struct reload *r)
{
    struct control_asker *asker = NULL;

    if (r->waiting_count) {
        asker = r->waiting[0];
        r->waiting_count--;
        memmove(r->waiting, r->waiting + 1,
                r->waiting_count * sizeof *r->waiting);
    } else if (r->again) {
        r->again = 0;
    } else {
        return;
    }
    begin(r, asker);
}

static void finish(struct reload *r, int code)
{
    loop_timer_stop(&r->patience);
    r->under_way = false;
    control_answer(r->asker, buf_slice(&r->text), code);
    buf_fini(&r->text);
    r->over(r->ctx);
    next(r);
}

static void signal_children(struct reload *r)
{
    for (size_t i = 0; i < r->plan->count; i++)
        if (r->plan->members[i].child.ready)
            child_signal(&r->plan->members[i].child, SIGHUP);
}

static void refuse(struct reload *r, const char *why, int code)
{
    log_error("config.refused", "why=%s action=keep_the_old_one",
              log_quote(slice_str(why)).text);
    buf_reset(&r->text);
    buf_addf(&r->text, "%s\nnothing has changed\n", why);
    sheet_refuse(&r->plan->sheet);
    signal_children(r);
    finish(r, code);
}

/* ---- what children say --------------------------------------------------- */

static bool is_behind(const struct reload *r, const struct member *m)
{
    return m->child.pid && m->confirmed != r->plan->sheet.edition;
}

static unsigned count_behind(const struct reload *r)
{
    unsigned n = 0;

    for (size_t i = 0; i < r->plan->count; i++)
        n += is_behind(r, &r->plan->members[i]);
    return n;
}

static void finish_when_all_follow(struct reload *r)
{
    if (!r->under_way || count_behind(r))
        return;
    log_info("config.reloaded", "edition=%" PRIu64 " changed=%u unchanged=%u",
             r->plan->sheet.edition, r->changed, r->left);
    finish(r, EXIT_DONE);
}

static void lose_patience(void *ctx)
{
    struct reload *r = ctx;

    for (size_t i = 0; i < r->plan->count; i++) {
        const struct member *m = &r->plan->members[i];

        if (!is_behind(r, m))
            continue;
        log_warn("config.unconfirmed", "name=\"%s\" edition=%" PRIu64, m->name,
                 r->plan->sheet.edition);
        buf_addf(&r->text, "%s has not confirmed it yet\n", m->name);
    }
    finish(r, EXIT_FAILED);
}

static void give_up(struct reload *r)
{
    buf_addf(&r->text, "touchline goes down\n");
    finish(r, EXIT_FAILED);
}

bool reload_heard(struct reload *r, struct member *m, struct slice line)
{
    uint64_t edition;

    if (!slice_starts(line, SLICE("reloaded ")) ||
        slice_parse_u64(slice_from(line, strlen("reloaded ")), &edition) < 0)
        return false;
    m->confirmed = edition;
    finish_when_all_follow(r);
    return true;
}

/* It may have read the sheet in front of the last edition, and had no ear for
 * the signal yet. */
void reload_ready(struct reload *r, struct member *m)
{
    if (r->plan->sheet.edition > 1)
        child_signal(&m->child, SIGHUP);
    else
        m->confirmed = r->plan->sheet.edition;
}

void reload_gone(struct reload *r)
{
    if (!r->stopping)
        finish_when_all_follow(r);
}

void reload_stop(struct reload *r)
{
    r->stopping = true;
    r->again = 0;
    if (r->under_way)
        give_up(r);
}

/* ---- reading it ---------------------------------------------------------- */

static void on_difference(void *ctx, const struct config_change *c)
{
    struct reload *r = ctx;

    if (c->waits)
        log_warn("config.unchanged", "%s", config_change_text(c).text);
    else
        log_info("config.changed", "%s", config_change_text(c).text);
    buf_add_str(&r->text, c->waits ? "unchanged " : "changed ");
    config_change_key(&r->text, c);
    buf_addf(&r->text, ": %s\n", config_change_when(c));
    r->changed += !c->waits;
    r->left += c->waits;
}

/* What is in force: what this one keeps of it has no secrets any more. */
static int load_now(const struct reload *r, struct config **ret,
                    struct opt_error *err)
{
    struct config *first = NULL;
    struct sheet_text t;
    int rc = sheet_read(r->plan->sheet.handed, &t);

    if (rc < 0) {
        opt_error_set(err, "%s", err_text(rc));
        return rc;
    }
    *ret = NULL;
    rc = cli_load_again(r->cli, t.first, &first, err);
    if (rc == 0 && t.now.ptr) {
        rc = cli_load_again(r->cli, t.now, ret, err);
        if (rc == 0)
            rc = config_adopt(*ret, first, false, NULL, NULL, err);
        config_free(first);
    } else {
        *ret = first;
    }
    opt_forget(&t.first);
    opt_forget(&t.now);
    return rc;
}

/* The next configuration, compared with the one in force. */
static int judge(struct reload *r, struct slice text, struct opt_error *err)
{
    struct config *now = NULL, *next_one = NULL;
    int rc = cli_load_again(r->cli, text, &next_one, err);

    if (rc == 0)
        rc = load_now(r, &now, err);
    if (rc == 0)
        rc = config_adopt(next_one, now, false, on_difference, r, err);
    if (rc == 0)
        rc = sheet_write(&r->plan->sheet, text);
    if (rc == 0) {
        log_set_level((enum log_level)next_one->log.level);
        r->cli->config->limits.drain_wait = next_one->limits.drain_wait;
    }
    config_free(now);
    config_free(next_one);
    return rc;
}

static void tell_children(struct reload *r)
{
    signal_children(r);
    loop_timer_set(&r->patience, RELOAD_WAIT);
    finish_when_all_follow(r);
}

static void begin(struct reload *r, struct control_asker *asker)
{
    struct opt_error err = {.text = "out of memory"};
    struct slice text = SLICE("");
    int rc;

    r->under_way = true;
    r->asker = asker;
    r->changed = r->left = 0;
    if (r->stopping) {
        give_up(r);
        return;
    }
    if (!r->cli->config_file || r->plan->sheet.handed < 0) {
        signal_children(r); /* who open their logs again, too */
        buf_add_str(&r->text,
                    r->cli->config_file
                        ? "there is no shared memory for the file: each "
                          "process reads it by itself, and logs what it finds\n"
                        : "it was started without --config: there is no file "
                          "to read\n");
        finish(r, EXIT_FAILED);
        return;
    }
    rc = opt_slurp_again(r->cli->config_file, &text, &err);
    if (rc == 0)
        rc = judge(r, text, &err);
    opt_forget(&text);
    if (rc < 0)
        refuse(r, err.text, rc == ERR_BAD ? EXIT_USAGE : EXIT_FAILED);
    else
        tell_children(r);
}

void reload_begin(struct reload *r, struct control_asker *asker)
{
    if (!r->under_way)
        begin(r, asker);
    else if (!asker)
        r->again++;
    else if (r->waiting_count < CONTROL_ASKERS)
        r->waiting[r->waiting_count++] = asker;
}

/* ---- life ---------------------------------------------------------------- */

void reload_init(struct reload *r, struct cli *cli, struct plan *plan,
                 struct loop *loop, loop_fn *over, void *ctx)
{
    *r = (struct reload){.cli = cli, .plan = plan, .over = over, .ctx = ctx};
    buf_init(&r->text);
    loop_timer_init(&r->patience, loop, lose_patience, r);
}

void reload_fini(struct reload *r)
{
    if (!r->cli)
        return;
    loop_timer_stop(&r->patience);
    buf_fini(&r->text);
}
