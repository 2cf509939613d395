#include "gateways/ws/url.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "gateways/ws/socket.h"
#include "proto/id.h"
#include "proto/names.h"

int url_bad(struct refusal *why, const char *code, const char *text)
{
    why->status = PUBLISHED_BAD;
    why->code = code;
    snprintf(why->text, sizeof why->text, "%s", text);
    return ERR_BAD;
}

static int read_start(struct query *q, struct subscribe *s,
                      struct refusal *why)
{
    struct slice since = query_get(q, "since");
    struct slice name = query_get(q, "name");

    if (name.ptr && !name_valid(name))
        return url_bad(why, "name.bad", "a name has " NAME_RULE);
    if (since.ptr && position_parse(since, &s->since) < 0)
        return url_bad(why, "cursor.bad", "since is no cursor");
    s->has_since = since.ptr;
    s->name = name;
    return 0;
}

/* Values of the key; at most max of them go to ret. */
static unsigned channels_of(struct query *q, struct slice *ret, unsigned max)
{
    struct slice channel;
    unsigned n = 0;

    for (size_t at = 0; n < max && query_next(q, &at, "channel", &channel);)
        ret[n++] = channel;
    return n;
}

int url_subscribe(struct conn *c, struct query *q, struct refusal *why)
{
    unsigned max = (unsigned)(q->raw.len / 2 + 1);
    struct slice *channels = calloc(max, sizeof *channels);
    struct subscribe s = { .channels = channels };
    int rc;

    if (!channels) {
        (void)url_bad(why, "server.memory", "the server is out of memory");
        why->status = PUBLISHED_UNAVAILABLE;
        return ERR_NOMEM;
    }
    s.count = channels_of(q, channels, max);
    rc = read_start(q, &s, why);
    if (rc == 0)
        rc = conn_subscribe(c, &s, why);
    for (unsigned i = 0; rc == 0 && i < s.count; i++)
        ws_of(c)->patterns |= id_is_pattern(channels[i]);
    free(channels);
    return rc;
}
