"""Other people's routers under the faults that ours is under, by the same judge.

run.py        the rounds and the table; `make chaos-peers`
crowd.py      clients that write the log of ../history.h; publishers that try again
              until they are answered, subscribers that leave and resume
nchan.py      nginx with Nchan: HTTP POST; EventSource, long poll, WebSocket
mosquitto.py  MQTT 3.1.1, QoS 1, sessions that outlive their connections
touchline.py  ours, with the crowd of ../crowd.h in the same size
lies.py       the judge itself is shown logs in which one thing is wrong

A peer is a class with `name`, `setting`, `version()`, `start()`, `kill()`,
`signal()`, `close()`, `crashes()`, `stall()` (a client that does not read), `publisher()` and
`subscriber()`."""
