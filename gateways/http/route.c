#include "gateways/http/route.h"

#include "gateways/http/api.h"
#include "gateways/http/comet.h"
#include "gateways/http/history.h"
#include "gateways/http/match.h"
#include "gateways/http/pages.h"
#include "gateways/http/publish.h"

static const struct route routes[] = {
    {METHOD_GET, SLICE_INIT("/"), pages_root, BODY_NONE, 0},
    {METHOD_POST, SLICE_INIT("/"), api_echo, BODY_ECHO, 0},
    {METHOD_GET, SLICE_INIT("/score.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/late.css"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/app.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/chat.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/shared.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/report"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/report.css"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/report.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/report-worker.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/lineup.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/outbox.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/play.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/sheets.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/touchline.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/touchline-match.js"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/icon.svg"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/favicon.ico"), pages_file, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/test/**"), comet_test, BODY_NONE, ROUTE_STAR},
    {METHOD_GET, SLICE_INIT("/v1/stream"), comet_stream, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/v1/poll"), comet_poll, BODY_NONE, 0},
    {METHOD_POST, SLICE_INIT("/v1/publish/**"), publish_channel, BODY_MESSAGE,
     ROUTE_STAR | ROUTE_PIPELINED},
    {METHOD_POST, SLICE_INIT("/v1/publish"), publish_list, BODY_BATCH, 0},
    {METHOD_GET, SLICE_INIT("/v1/history/**"), history_channel, BODY_NONE,
     ROUTE_STAR},
    {METHOD_GET, SLICE_INIT("/v1/presence/**"), api_presence, BODY_NONE,
     ROUTE_STAR},
    {METHOD_GET, SLICE_INIT("/v1/channels"), api_channels, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/v1/teams"), match_teams, BODY_NONE,
     ROUTE_MATCHES},
    {METHOD_GET, SLICE_INIT("/v1/teams/*"), match_team, BODY_NONE,
     ROUTE_STAR | ROUTE_MATCHES},
    {METHOD_PUT, SLICE_INIT("/v1/teams/*"), match_put_team, BODY_MESSAGE,
     ROUTE_STAR},
    {METHOD_GET, SLICE_INIT("/v1/matches"), match_list, BODY_NONE,
     ROUTE_MATCHES},
    {METHOD_POST, SLICE_INIT("/v1/matches"), match_create, BODY_MESSAGE, 0},
    {METHOD_GET, SLICE_INIT("/v1/matches/*"), match_show, BODY_NONE,
     ROUTE_STAR | ROUTE_MATCHES},
    {METHOD_DELETE, SLICE_INIT("/v1/matches/*"), match_cancel, BODY_NONE,
     ROUTE_STAR},
    {METHOD_GET, SLICE_INIT("/v1/matches/*/events"), match_events, BODY_NONE,
     ROUTE_STAR},
    {METHOD_POST, SLICE_INIT("/v1/matches/*/events"), match_event,
     BODY_MESSAGE, ROUTE_STAR | ROUTE_PIPELINED},
    {METHOD_GET, SLICE_INIT("/1/matches"), match_old_list, BODY_NONE,
     ROUTE_MATCHES},
    {METHOD_GET, SLICE_INIT("/1/match/*"), match_old_show, BODY_NONE,
     ROUTE_STAR | ROUTE_MATCHES},
    {METHOD_GET, SLICE_INIT("/1/match/*/history"), match_old_history,
     BODY_NONE, ROUTE_STAR | ROUTE_MATCHES},
    {METHOD_GET, SLICE_INIT("/1/checkin"), match_checkin, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/v1/ws"), api_websocket, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/v1/raw"), api_websocket, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/healthz"), api_healthz, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/readyz"), api_readyz, BODY_NONE, 0},
    {METHOD_GET, SLICE_INIT("/admin"), pages_file, BODY_NONE, ROUTE_ADMIN},
    {METHOD_GET, SLICE_INIT("/admin.css"), pages_file, BODY_NONE, ROUTE_ADMIN},
    {METHOD_GET, SLICE_INIT("/admin.js"), pages_file, BODY_NONE, ROUTE_ADMIN},
    {METHOD_GET, SLICE_INIT("/metrics"), api_metrics, BODY_NONE, ROUTE_ADMIN},
    {METHOD_GET, SLICE_INIT("/v1/stats"), api_stats, BODY_NONE, ROUTE_ADMIN},
};

/* Segment by segment; the pattern's star takes one, two stars all the rest. */
static bool matches(struct slice pattern, struct slice path,
                    struct slice *tail)
{
    struct slice found = slice_make(NULL, 0);

    while (pattern.ptr && path.ptr) {
        struct slice want = slice_split(&pattern, '/');
        struct slice have;

        if (slice_eq(want, SLICE("**"))) {
            *tail = path;
            return path.len > 0;
        }
        have = slice_split(&path, '/');
        if (slice_eq(want, SLICE("*")) && have.len)
            found = have;
        else if (!slice_eq(want, have))
            return false;
    }
    if (pattern.ptr || path.ptr)
        return false;
    *tail = found;
    return true;
}

/* What stands in front of its first star begins all that a pattern matches. */
static bool may_match(struct slice pattern, struct slice path)
{
    size_t i = 0, n = MIN(pattern.len, path.len);

    while (i < n && pattern.ptr[i] == path.ptr[i])
        i++;
    return i < pattern.len && pattern.ptr[i] == '*';
}

static bool serves(const struct route *r, struct slice path,
                   struct slice *tail)
{
    if (r->flags & ROUTE_STAR)
        return may_match(r->pattern, path) && matches(r->pattern, path, tail);
    *tail = slice_make(NULL, 0);
    return slice_eq(r->pattern, path);
}

static void add_allowed(struct buf *allow, const struct route *r)
{
    buf_addf(allow, "%s%s", allow->len ? ", " : "", method_text(r->method));
    if (r->method == METHOD_GET)
        buf_add_str(allow, ", HEAD");
}

const struct route *route_find(enum method method, struct slice path,
                               bool admin, struct slice *tail,
                               struct buf *allow)
{
    enum method wanted = method == METHOD_HEAD ? METHOD_GET : method;
    struct slice found;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *r = &routes[i];

        if (!serves(r, path, &found) || ((r->flags & ROUTE_ADMIN) && !admin))
            continue;
        if (r->method == wanted) {
            *tail = found;
            return r;
        }
        add_allowed(allow, r);
    }
    if (allow->len)
        buf_add_str(allow, ", OPTIONS");
    return NULL;
}
