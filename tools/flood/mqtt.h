/* mqtt.h - as much of MQTT 3.1.1 as somebody needs who subscribes to one topic
 * at QoS 0, or publishes at QoS 1: a clean session, no keepalive.
 * Threads: any. Cost: a packet is looked at once, nothing is copied. */
#ifndef TOUCHLINE_FLOOD_MQTT_H
#define TOUCHLINE_FLOOD_MQTT_H

#include "base/buf.h"

/* Packets that a client says; each call adds one. name: the client's, which is
 * to be nobody else's: a server ends the connection of who had it before. */
void mqtt_add_connect(struct buf *out, struct slice name);
void mqtt_add_subscribe(struct buf *out, struct slice topic);
void mqtt_add_publish(struct buf *out, struct slice topic, struct slice body,
                      uint64_t number);

enum mqtt_kind {
    MQTT_CONNECTED,
    MQTT_SUBSCRIBED,
    MQTT_PUBLISHED, /* one of ours has been taken */
    MQTT_MESSAGE,
    MQTT_REFUSED,   /* CONNACK or SUBACK, with a code that says no */
    MQTT_OTHER,
};

struct mqtt_packet {
    enum mqtt_kind kind;
    struct slice body; /* of MQTT_MESSAGE; points into what was read */
};

/* The packet at the front of `in`: its length, or 0: it is not all there.
 * ERR_BAD: this is no packet of a server. */
MUST_USE int mqtt_read(struct slice in, struct mqtt_packet *ret);

#endif
