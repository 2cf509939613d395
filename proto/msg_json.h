/* msg_json.h - a message as clients see it: one JSON object in one line,
 * {"channel","epoch","seq","offset","ts","from"?,"kind"?,"key"?,"data"}.
 * Data that came as JSON stands in it byte for byte, but for CR and LF, which
 * become spaces; text is a JSON string, bytes are {"base64":"..."}.
 * Threads: any. Cost: one pass over the bytes. */
#ifndef TOUCHLINE_PROTO_MSG_JSON_H
#define TOUCHLINE_PROTO_MSG_JSON_H

#include "base/buf.h"
#include "proto/msg.h"
#include "proto/position.h"

/* Appends the object; JSON data must have been checked. */
void msg_json_write(struct buf *out, const struct epoch *epoch,
                    const struct msg_parts *m);
/* Its two halves, for objects that carry more: the members up to data, without
 * brace or trailing comma, and the value of data. */
void msg_json_write_head(struct buf *out, const struct epoch *epoch,
                         const struct msg_parts *m);
void msg_json_write_data(struct buf *out, uint8_t format, struct slice data);

#endif
