"""The same work for Touchline, for others' servers, and for one that does nothing.

run.py      the rounds: `make bench-peers`
servers.py  who is compared: how each is started, what it is told, what it does not do
rows.py     what is measured: a row is a run of touchline-flood and the figures it gives
ends.py     interrupts, that leave no process behind
render.py   build/bench-peers.json made into docs/benchmarks.md and its pictures

A run is one server, started for it, and one touchline-flood, which has all clients and
publishes; figures of a run come from its report alone."""
