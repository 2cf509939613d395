/* envelope.h - the JSON that clients see: messages, notices, errors.
 *
 * Written by hand, field by field: the data of a JSON message travels as it
 * was sent, so no JSON library touches it. No line feed at the end, none
 * inside. Functions append to b, whose failure sticks.
 * Threads: any. */
#ifndef TOUCHLINE_GATEWAYS_ENVELOPE_H
#define TOUCHLINE_GATEWAYS_ENVELOPE_H

#include "base/buf.h"
#include "gateways/common/edge.h"

/* {"channel","epoch","seq","offset","ts","from"?,"kind"?,"key"?,"data"}, with
 * "replay":true in front of data when flags has PUT_REPLAY. */
void envelope_message(struct buf *b, const struct msg *m,
                      const struct epoch *epoch, unsigned flags);
/* What is told of a hole in a page of history; its channel borrows h->id. */
struct notice notice_of_hole(const struct frame_hole *h);
/* {"notice":"gap",...}. */
void envelope_notice(struct buf *b, const struct notice *n);
/* {"code":"channel.bad","text":"..."} */
void envelope_error(struct buf *b, struct slice code, struct slice text);
/* The same, and "retry_ms": when to come again; 0: not said. */
void envelope_error_until(struct buf *b, struct slice code, struct slice text,
                          uint32_t retry_ms);
/* The fields of an answer to publish: "channel":...,"reached":3 and, when it
 * is one, "duplicate":true; without braces. */
void envelope_published(struct buf *b, const struct published *p,
                        const struct epoch *epoch);
/* data alone: JSON as sent, text as a string, bytes as {"base64":"..."}. */
void envelope_data(struct buf *b, enum msg_format format, struct slice data);

#endif
