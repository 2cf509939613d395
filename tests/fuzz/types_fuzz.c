/* The first byte chooses what happens, the rest is what a stranger says: to a
 * match in play, to a team, as the arguments of a verb, as a record. What
 * comes out is JSON, whatever went in. */
#include "base/check.h"
#include "proto/json.h"
#include "router/type.h"

#define M "match/elp-tig-2011-09-13"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static uint64_t offset;

static void publish(struct types *ts, const char *id, struct slice data)
{
    struct msg_parts in = { .format = MSG_JSON, .id = slice_str(id),
                            .data = data };
    struct type_verdict v;
    struct msg *m;

    if (types_judge(ts, &in, &v) < 0) {
        CHECK(v.refusal.code && v.refusal.text.len);
        return;
    }
    CHECK(json_check(v.event.data, JSON_DEPTH_COMMAND, NULL) == 0);
    CHECK(msg_new(&m, &v.event) == 0);
    m->offset = ++offset;
    types_commit(ts, m);
    msg_drop(m);
}

static struct types *make_types(void)
{
    struct types_options o = { .message = 65536, .room_memory = 65536 };
    struct types *ts;

    CHECK(types_new(&ts, &o) == 0);
    publish(ts, "team/elp", SLICE("{\"name\":\"E\"}"));
    publish(ts, "team/tig", SLICE("{\"name\":\"T\"}"));
    offset = 0;
    publish(ts, M, SLICE("{\"kind\":\"status\",\"data\":{\"home\":\"elp\","
                         "\"visit\":\"tig\",\"start_time\":\"2011-09-13\"}}"));
    publish(ts, M, SLICE("{\"kind\":\"start\",\"data\":{\"home_players\":"
                         "{\"7\":\"Luna\",\"8\":\"Sol\"}}}"));
    publish(ts, M, SLICE("{\"kind\":\"goal\",\"data\":{\"team\":\"elp\","
                         "\"player\":7}}"));
    return ts;
}

static void ask(struct types *ts, const char *verb, struct slice args)
{
    struct buf out = BUF_INIT;
    struct type_refusal why;

    if (types_query(ts, slice_str(verb), args, 0, &out, &why) == 0)
        CHECK(json_check(buf_slice(&out), JSON_DEPTH_COMMAND, NULL) == 0);
    buf_fini(&out);
}

/* Lines, so that one input can tell a whole match. */
static void tell_match(struct types *ts, struct slice text)
{
    while (text.ptr)
        publish(ts, M, slice_split(&text, '\n'));
}

static void act(struct types *ts, const char *verb, struct slice args)
{
    struct type_act a;

    if (types_act(ts, slice_str(verb), args, SLICE(""), 0, &a) < 0)
        CHECK(a.refusal.code && a.refusal.text.len);
    else
        CHECK(json_check(a.body, 1, NULL) == 0);
}

static void load(struct types *ts, struct slice record)
{
    struct slice id = SLICE("match/tig-elp-2011-09-13");
    struct buf out = BUF_INIT;

    if (types_load(ts, id, record, 1000) == 0) {
        CHECK(types_snapshot(ts, id, &out) == 0);
        CHECK(json_check(buf_slice(&out), JSON_DEPTH_COMMAND, NULL) == 0);
    }
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice said;
    struct types *ts;

    if (!len)
        return 0;
    said = slice_make(bytes + 1, len - 1);
    ts = make_types();
    switch (bytes[0] % 6) {
    case 0: tell_match(ts, said); break;
    case 1: publish(ts, "team/elp", said); break;
    case 2: act(ts, "match.new", said); break;
    case 3: act(ts, "team.put", said); break;
    case 4: ask(ts, "match.list", said); break;
    case 5: load(ts, said); break;
    }
    ask(ts, "match.get", SLICE("{\"id\":\"elp-tig-2011-09-13\"}"));
    ask(ts, "team.list", SLICE(""));
    types_free(ts);
    return 0;
}
