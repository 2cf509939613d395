#include "gateways/tcp/verbs.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/log.h"
#include "base/utf8.h"
#include "gateways/common/access.h"
#include "gateways/common/checks.h"
#include "gateways/common/gateway.h"
#include "gateways/tcp/print.h"
#include "gateways/tcp/session.h"
#include "proto/id.h"
#include "proto/json.h"
#include "proto/names.h"
#include "proto/report.h"

enum { CHANNEL_ROOM = ID_MAX + 8 }; /* with a prefix in front, to be checked */

/* ---- saying ------------------------------------------------------------ */

static void say(struct conn *c, const struct verb *v, struct slice what)
{
    struct buf *out = conn_out(c);

    buf_addf(out, "OK %s", v->name);
    if (what.len) {
        buf_add_byte(out, ' ');
        print_safe(out, what, "\n");
    }
    buf_add_str(out, "\r\n");
}

static void say_list_end(struct conn *c, const struct verb *v, unsigned lines)
{
    buf_addf(conn_out(c), "OK %s %u\r\n", v->name, lines);
}

static void say_refusal(struct conn *c, const struct refusal *why)
{
    tcp_refused(c, slice_str(why->code), slice_str(why->text));
}

/* The verb under way cannot be granted. */
static void refuse(struct conn *c, const struct refusal *why)
{
    say_refusal(c, why);
    session_done(c);
}

/* ---- arguments --------------------------------------------------------- */

static bool good_channel(struct conn *c, struct slice channel)
{
    const char *problem = id_problem(channel);

    if (problem)
        tcp_error(c, "channel.bad", "this is no channel: %s", problem);
    return !problem;
}

/* prefix and name, in memory that the caller lends. */
static struct slice joined(uint8_t room[CHANNEL_ROOM], struct slice prefix,
                           struct slice name)
{
    size_t len = MIN(name.len, CHANNEL_ROOM - prefix.len);

    memcpy(room, prefix.ptr, prefix.len);
    memcpy(room + prefix.len, name.ptr, len);
    return slice_make(room, prefix.len + len);
}

static struct slice room_channel(uint8_t room[CHANNEL_ROOM], struct slice name)
{
    return joined(room, SLICE("room/"), name);
}

static bool good_name(struct conn *c, struct slice name)
{
    bool good = name_valid(name);

    if (!good)
        tcp_error(c, "name.bad", "a name has " NAME_RULE);
    return good;
}

/* ---- subscribing ------------------------------------------------------- */

static void subscribe(const struct verb_call *call, struct slice channel,
                      const struct position *since)
{
    struct conn *c = call->conn;
    struct subscribe s = {
        .channels = &channel,
        .count = 1,
        .has_since = since != NULL,
        .name = session_name(c),
        .ref = session_begin(c, call->verb, channel),
    };
    struct refusal why;

    if (!s.ref)
        return;
    tcp_of(c)->session->subscribes = true;
    if (since)
        s.since = *since;
    if (conn_subscribe(c, &s, &why) < 0)
        refuse(c, &why);
}

static void run_sub(const struct verb_call *call)
{
    struct position since;

    if (call->count == 1)
        subscribe(call, call->arg[0], NULL);
    else if (position_parse(call->arg[1], &since) == 0)
        subscribe(call, call->arg[0], &since);
    else
        tcp_error(call->conn, "cursor.bad", "this is no cursor: 0, or what an "
                  "OK or a message showed");
}

static void run_join(const struct verb_call *call)
{
    uint8_t room[CHANNEL_ROOM];

    subscribe(call, room_channel(room, call->arg[0]), NULL);
}

void verbs_subscribed(struct conn *c, struct slice cursor)
{
    struct session *s = tcp_of(c)->session;
    struct buf *out = conn_out(c);

    buf_addf(out, "OK %s ", s->busy->name);
    buf_add(out, buf_slice(&s->subject));
    buf_add_byte(out, ' ');
    buf_add(out, cursor);
    buf_add_str(out, "\r\n");
    session_done(c);
}

/* Nothing is watched any more once its match is not held. */
static void unsubscribe(const struct verb_call *call, struct slice channel,
                        struct slice shown)
{
    struct conn *c = call->conn;
    struct tcp *t = tcp_of(c);

    if (conn_unsubscribe(c, channel) < 0 && channel.len) {
        tcp_error(c, "channel.unknown", "you are not subscribed to it");
        return;
    }
    if (t->watch && (!channel.len ||
                     slice_eq(channel, slice_make(t->watch->id,
                                                  t->watch->len)))) {
        free(t->watch);
        t->watch = NULL;
    }
    if (shown.len) /* an id that was held: fit for a terminal as it is */
        buf_addf(conn_out(c), "OK %s " SLICE_FMT "\r\n", call->verb->name,
                 SLICE_ARG(shown));
    else
        say(c, call->verb, shown);
}

static void run_unsub(const struct verb_call *call)
{
    unsubscribe(call, call->arg[0], slice_make(NULL, 0));
}

static void run_leave(const struct verb_call *call)
{
    uint8_t room[CHANNEL_ROOM];
    struct slice channel = room_channel(room, call->arg[0]);

    unsubscribe(call, channel, channel);
}

/* ---- publishing -------------------------------------------------------- */

static void publish(const struct verb_call *call, struct slice channel,
                    struct slice text)
{
    struct conn *c = call->conn;
    struct publish p = {
        .channel = channel,
        .from = session_name(c),
        .data = text,
        .format = utf8_valid(text) ? MSG_TEXT : MSG_BYTES,
    };
    uint32_t ref = session_publication(c, call->verb);
    struct refusal why;

    if (ref && conn_publish(c, &p, ref, &why) < 0)
        session_refused(c, ref, &why);
}

static void run_pub(const struct verb_call *call)
{
    publish(call, call->arg[0], call->arg[1]);
}

static void run_say(const struct verb_call *call)
{
    uint8_t room[CHANNEL_ROOM];

    publish(call, room_channel(room, call->arg[0]), call->arg[1]);
}

/* ---- asking ------------------------------------------------------------ */

static void query(struct conn *c, const struct verb *v, const char *verb,
                  struct slice channel, struct slice args)
{
    uint32_t ref = session_begin(c, v, channel);
    struct refusal why;

    if (ref && conn_query(c, verb, args, ref, &why) < 0)
        refuse(c, &why);
}

/* The router's answer to the verb under way is a refusal. */
static void say_failed(struct conn *c, enum publish_status status,
                       struct slice body)
{
    struct slice code = refusal_code(status, &body);

    tcp_refused(c, code, body.len ? body : SLICE("the router gave no answer"));
    session_done(c);
}

static void run_history(const struct verb_call *call)
{
    struct conn *c = call->conn;
    struct fetch f = {
        .mode = FETCH_LAST,
        .channels = &call->arg[0],
        .count = 1,
        .bytes = (uint32_t)conn_config(c)->limits.page_bytes,
    };
    uint64_t n = HISTORY_DEFAULT;
    uint32_t ref;
    struct refusal why;

    if (!good_channel(c, call->arg[0]))
        return;
    if (call->count > 1 && (slice_parse_u64(call->arg[1], &n) < 0 || n < 1 ||
                            n > HISTORY_MAX)) {
        tcp_error(c, "limit.bad", "how many: 1 to %d", HISTORY_MAX);
        return;
    }
    f.limit = (uint32_t)n;
    ref = session_begin(c, call->verb, call->arg[0]);
    if (ref && conn_fetch(c, &f, ref, &why) < 0)
        refuse(c, &why);
}

void verbs_row(struct conn *c, struct msg *m)
{
    print_message(conn_out(c), m, cursor_of(c, m));
    tcp_of(c)->session->rows++;
}

void verbs_page_end(struct conn *c, int err)
{
    struct session *s = tcp_of(c)->session;

    if (err == ERR_BUSY)
        tcp_error(c, "router.away", "the router cannot be reached just now");
    else if (err)
        tcp_error(c, "store.failed", "history cannot be read: %s",
                  err_text(err));
    else
        say_list_end(c, s->busy, s->rows);
    session_done(c);
}

static void run_who(const struct verb_call *call)
{
    if (good_channel(call->conn, call->arg[0]))
        query(call->conn, call->verb, "presence", call->arg[0], call->arg[0]);
}

/* The values of an object come raw; an absent one is empty. */
static struct slice value_of(struct slice object, const char *key)
{
    struct slice raw;

    return json_find(object, key, &raw) < 0 ? slice_make(NULL, 0) : raw;
}

static int64_t integer(struct slice raw)
{
    int64_t n = 0;

    return raw.len && json_integer(raw, &n) == 0 ? n : 0;
}

/* A string, or "-": one word. */
static void print_word(struct buf *b, struct slice raw)
{
    struct buf text = BUF_INIT;

    if (!raw.len || json_unescape(&text, raw) < 0 || text.len == 0)
        buf_add_byte(b, '-');
    print_safe(b, buf_slice(&text), " \n");
    b->failed |= text.failed;
    buf_fini(&text);
}

static void print_name(struct buf *b, struct slice who)
{
    print_word(b, value_of(who, "name"));
    buf_addf(b, " %lld\r\n", (long long)integer(value_of(who, "connections")));
}

/* The router names those without a name, too, but not more than some. */
static void answered_who(struct conn *c, struct slice body)
{
    struct session *s = tcp_of(c)->session;
    struct slice names, presence, key, who;
    struct json_iter it;
    int64_t left = 0;

    if (json_find(body, "presence", &presence) == 0) {
        it = json_iter(presence);
        if (json_next(&it, &key, &who))
            left = integer(value_of(who, "count"));
    }
    if (json_find(body, "names", &names) < 0)
        names = slice_make(NULL, 0);
    it = json_iter(names);
    for (; json_next(&it, &key, &who); s->rows++) {
        print_name(conn_out(c), who);
        left -= integer(value_of(who, "connections"));
    }
    if (left > 0) {
        buf_addf(conn_out(c), "... %lld\r\n", (long long)left);
        s->rows++;
    }
    say_list_end(c, s->busy, s->rows);
    session_done(c);
}

static void run_matches(const struct verb_call *call)
{
    query(call->conn, call->verb, "match.list", slice_make(NULL, 0),
          SLICE("{}"));
}

enum match_field { ID, PERIOD, HOME, VISIT, START, HOME_SCORE, VISIT_SCORE };
static const char *const match_fields[] = {
    "id", "period", "home", "visit", "start_time", "home_score",
    "visit_score",
};
struct match_line {
    struct slice raw[ARRAY_LEN(match_fields)];
};

/* In one pass: there are many of them. */
static struct match_line read_match(struct slice match)
{
    struct match_line line = { .raw = { { NULL, 0 } } };
    struct json_iter it = json_iter(match);
    struct slice key, value;

    while (json_next(&it, &key, &value))
        for (size_t i = 0; i < ARRAY_LEN(match_fields); i++)
            if (json_is(key, slice_str(match_fields[i])))
                line.raw[i] = value;
    return line;
}

/* elp-tig-2011-09-13 first elp 1-0 tig 2011-09-13T13:00:00Z */
static void print_match(struct buf *b, struct slice match)
{
    struct match_line line = read_match(match);

    print_word(b, line.raw[ID]);
    buf_add_byte(b, ' ');
    print_word(b, line.raw[PERIOD]);
    buf_add_byte(b, ' ');
    print_word(b, line.raw[HOME]);
    buf_addf(b, " %lld-%lld ", (long long)integer(line.raw[HOME_SCORE]),
             (long long)integer(line.raw[VISIT_SCORE]));
    print_word(b, line.raw[VISIT]);
    buf_add_byte(b, ' ');
    print_word(b, line.raw[START]);
    buf_add_str(b, "\r\n");
}

static void answered_matches(struct conn *c, struct slice body)
{
    struct session *s = tcp_of(c)->session;
    struct slice matches, key, match;
    struct json_iter it;

    if (json_find(body, "matches", &matches) < 0)
        matches = slice_make(NULL, 0);
    it = json_iter(matches);
    for (; json_next(&it, &key, &match); s->rows++)
        print_match(conn_out(c), match);
    say_list_end(c, s->busy, s->rows);
    session_done(c);
}

/* ---- watching ---------------------------------------------------------- */

static bool may_watch(struct conn *c)
{
    if (tcp_of(c)->watch)
        tcp_error(c, "match.watching", "you watch a match already; UNSUB "
                  "leaves it");
    return !tcp_of(c)->watch;
}

/* Errors end the verb under way. */
static void watch(struct conn *c, struct slice match)
{
    uint8_t room[CHANNEL_ROOM];
    struct slice channel = joined(room, SLICE("match/"), match);
    struct tcp *t = tcp_of(c);
    struct subscribe s = { .channels = &channel, .count = 1 };
    struct refusal why;

    if (!good_channel(c, channel)) {
        session_done(c);
        return;
    }
    t->watch = calloc(1, sizeof *t->watch + channel.len);
    if (!t->watch) {
        tcp_error(c, "server.memory", "the server is out of memory");
        session_done(c);
        return;
    }
    t->watch->held = conn_holds(c, channel);
    t->watch->len = (uint8_t)channel.len;
    memcpy(t->watch->id, channel.ptr, channel.len);
    s.ref = t->session->busy_ref;
    if (conn_subscribe(c, &s, &why) == 0)
        return;
    free(t->watch);
    t->watch = NULL;
    refuse(c, &why);
}

static void count_visit(struct conn *c, struct slice name)
{
    gateway_count(conn_gateway(c), STAT_VISITS);
    log_debug("tcp.visit", "conn=%s name=%s", conn_text(c),
              log_quote(name).text);
}

static void run_watch_current(const struct verb_call *call)
{
    struct conn *c = call->conn;

    if (!may_watch(c) || !good_name(c, call->arg[0]))
        return;
    count_visit(c, call->arg[0]);
    query(c, call->verb, "match.current", slice_make(NULL, 0), SLICE("{}"));
}

static void answered_current(struct conn *c, struct slice body)
{
    struct buf id = BUF_INIT;
    struct slice raw;

    if (json_find(body, "id", &raw) == 0 && json_unescape(&id, raw) == 0)
        watch(c, buf_slice(&id));
    else
        say_failed(c, PUBLISHED_NOT_FOUND, slice_make(NULL, 0));
    buf_fini(&id);
}

/* <name>:MATCH:<match>, behind VERSION:1:CONNECT: */
static void run_watch_match(const struct verb_call *call)
{
    struct conn *c = call->conn;
    struct slice match = call->arg[0];
    struct slice name = slice_split(&match, ':');
    struct slice word = slice_split(&match, ':');

    if (!match.len || !slice_eq_nocase(word, SLICE("MATCH"))) {
        tcp_error(c, "line.bad", "write it as %s", call->verb->example);
        return;
    }
    if (may_watch(c) && good_name(c, name) &&
        session_begin(c, call->verb, slice_make(NULL, 0))) {
        count_visit(c, name);
        watch(c, match);
    }
}

/* ---- the connection itself --------------------------------------------- */

static void run_nick(const struct verb_call *call)
{
    struct slice name = call->arg[0];
    struct session *s;

    if (!good_name(call->conn, name))
        return;
    s = session_get(call->conn);
    if (!s)
        return;
    memcpy(s->name, name.ptr, name.len);
    s->name_len = (uint8_t)name.len;
    say(call->conn, call->verb, name);
}

static void run_auth(const struct verb_call *call)
{
    struct conn *c = call->conn;
    const struct config_token *t = access_token(conn_config(c), call->arg[0]);

    if (!t) {
        tcp_error(c, "token.unknown", ACCESS_UNKNOWN);
        return;
    }
    conn_set_token(c, t);
    say(c, call->verb, slice_str(t->name));
}

static void run_ping(const struct verb_call *call)
{
    say(call->conn, call->verb, slice_make(NULL, 0));
}

static void run_quit(const struct verb_call *call)
{
    say(call->conn, call->verb, slice_make(NULL, 0));
    conn_close(call->conn, "quit");
}

static void run_help(const struct verb_call *call);

static const struct verb verbs[] = {
    { "V:2:", NULL, "<your-name>", 1, 1, true, false, run_watch_current,
      answered_current, "watch the current match", "V:2:ana" },
    { "VERSION:1:CONNECT:", NULL, "<your-name>:MATCH:<match>", 1, 1, true,
      false, run_watch_match, NULL, "watch that match",
      "VERSION:1:CONNECT:ana:MATCH:elp-tig-2011-09-13" },
    { "MATCHES", NULL, "", 0, 0, false, false, run_matches, answered_matches,
      "list the matches", "MATCHES" },
    { "SUB", "LOGIN", "<channel> [<cursor>]", 1, 2, false, false, run_sub,
      NULL, "hear what is said there, from a cursor on", "SUB match/*" },
    { "UNSUB", "LOGOUT", "[<channel>]", 0, 1, false, false, run_unsub, NULL,
      "hear it no more; without a channel, nothing at all", "UNSUB match/*" },
    { "PUB", "SEND", "<channel> <text>", 2, 2, true, true, run_pub, NULL,
      "say it to all who listen there", "PUB user/ana hello" },
    { "NICK", NULL, "<name>", 1, 1, false, false, run_nick, NULL,
      "be called so from now on", "NICK ana" },
    { "JOIN", NULL, "<room>", 1, 1, false, false, run_join, NULL,
      "enter a chat room", "JOIN lobby" },
    { "LEAVE", NULL, "<room>", 1, 1, false, false, run_leave, NULL,
      "leave it", "LEAVE lobby" },
    { "SAY", NULL, "<room> <text>", 2, 2, true, true, run_say, NULL,
      "say it in a room", "SAY lobby hello everybody" },
    { "HISTORY", NULL, "<channel> [<n>]", 1, 2, false, false, run_history,
      NULL, "the newest messages, oldest first", "HISTORY room/lobby 20" },
    { "WHO", NULL, "<channel>", 1, 1, false, false, run_who, answered_who,
      "names there, and how many connections each has", "WHO room/lobby" },
    { "AUTH", NULL, "<token>", 1, 1, false, false, run_auth, NULL,
      "show a token that opens channels for publishing", "AUTH secret" },
    { "PING", NULL, "", 0, 0, false, false, run_ping, NULL,
      "hear whether anybody is there", "PING" },
    { "HELP", NULL, "", 0, 0, false, false, run_help, NULL, "this list",
      "HELP" },
    { "QUIT", NULL, "", 0, 0, false, false, run_quit, NULL, "good bye",
      "QUIT" },
};

static void run_help(const struct verb_call *call)
{
    struct buf *out = conn_out(call->conn);

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        const struct verb *v = &verbs[i];
        bool joins = v->name[strlen(v->name) - 1] == ':';

        buf_addf(out, "%s%s%s: %s", v->name, joins || !*v->args ? "" : " ",
                 v->args, v->help);
        if (v->also)
            buf_addf(out, " (also %s)", v->also);
        buf_addf(out, ", as in: %s\r\n", v->example);
    }
    say_list_end(call->conn, call->verb, ARRAY_LEN(verbs));
}

void verbs_answered(struct conn *c, enum publish_status status, bool json,
                    struct slice body)
{
    const struct verb *v = tcp_of(c)->session->busy;
    struct buf b = BUF_INIT;

    if (NEVER(!v->answered))
        return;
    if (status != PUBLISHED_OK)
        say_failed(c, status, body);
    else if (json)
        v->answered(c, body);
    else if (report_to_json(&b, body) == 0)
        v->answered(c, buf_slice(&b));
    else
        say_failed(c, PUBLISHED_UNAVAILABLE,
                   SLICE("the router's answer makes no sense"));
    buf_fini(&b);
}

/* ---- a line ------------------------------------------------------------ */

/* The next word off *rest, with the spaces in front of it. */
static struct slice take_word(struct slice *rest)
{
    while (rest->len && rest->ptr[0] == ' ')
        *rest = slice_from(*rest, 1);
    return slice_split(rest, ' ');
}

static bool names(const struct verb *v, struct slice word)
{
    return slice_eq_nocase(word, slice_str(v->name)) ||
           (v->also && slice_eq_nocase(word, slice_str(v->also)));
}

const struct verb *verb_named(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_eq(name, slice_str(verbs[i].name)))
            return &verbs[i];
    return NULL;
}

/* The verb of a line, and what is behind it. */
static const struct verb *find_verb(struct slice line, struct slice *rest)
{
    struct slice behind = line, whole = slice_trim(line);
    struct slice word = take_word(&behind);

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        const struct verb *v = &verbs[i];
        struct slice name = slice_str(v->name);

        if (name.ptr[name.len - 1] == ':' &&
            slice_eq_nocase(slice_head(whole, name.len), name)) {
            *rest = slice_from(whole, name.len);
            return v;
        }
        if (names(v, word)) {
            *rest = behind;
            return v;
        }
    }
    return NULL;
}

/* False: too few arguments, or too many. */
static bool take_args(struct verb_call *call, struct slice rest)
{
    const struct verb *v = call->verb;

    while (call->count < v->most && rest.ptr) {
        bool last = call->count + 1 == v->most;
        struct slice arg;

        if (v->text && last) {
            arg = rest;
            rest = slice_make(NULL, 0);
        } else {
            arg = take_word(&rest);
            if (!arg.len)
                break;
        }
        call->arg[call->count++] = arg;
    }
    return call->count >= v->least && slice_trim(rest).len == 0;
}

static bool understood(struct verb_call *call, struct slice line)
{
    struct slice rest = slice_make(NULL, 0);

    call->verb = find_verb(line, &rest);
    return call->verb && take_args(call, rest);
}

static void say_not_understood(const struct verb_call *call)
{
    const struct verb *v = call->verb;

    if (v)
        tcp_error(call->conn, "line.bad", "write it as: %s", v->example);
    else
        tcp_error(call->conn, "verb.unknown", "there is no such verb; HELP "
                  "shows what there is");
}

/* What follows was not typed here: none of it may be obeyed. */
static void refuse_foreign(struct conn *c)
{
    tcp_error(c, "line.foreign", "this port speaks telnet; HTTP and WebSocket "
              "have ports of their own");
    conn_close(c, "foreign");
}

void verbs_take(struct conn *c, enum line_event event, struct slice line)
{
    struct verb_call call = { .conn = c };
    bool good = event == LINE_TEXT && understood(&call, line);

    if (event == LINE_TEXT && slice_trim(line).len == 0)
        return;
    if (!(good && call.verb->pipelined) && session_hold(c, event, line))
        return;
    if (event == LINE_FOREIGN || (!good && line_is_http(line))) {
        refuse_foreign(c);
    } else if (event == LINE_LONG) {
        gateway_limit(conn_gateway(c), LIMIT_LINE);
        tcp_error(c, "line.long", "a line has at most %zu bytes; this one "
                  "was dropped", conn_config(c)->limits.line);
    } else if (good) {
        call.verb->run(&call);
    } else {
        say_not_understood(&call);
    }
}
