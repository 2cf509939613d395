"""Our gateway and the HTTP server of node agree on what a request is, or we can
say why not."""
import http_differential as differential
from http_differential import CLASSES, UNEXPLAINED
from http_lax import obliging, server
from world import World, check, equal

SLOW = True
TALKS = 2 * (215 + 1703 + 162 + 1244)


def unexplained(results):
    return [str(r) for r in results if r.name == UNEXPLAINED]


def test_every_disagreement_with_node_has_a_reason():
    with World() as w:
        results = differential.run(w.address("http"), differential.cases())
    print(*differential.report(results), sep="\n")
    equal(len(results), TALKS, "talks")
    equal(unexplained(results), [])
    equal({name for name, *_ in CLASSES} - {r.name for r in results}, set(),
          "reasons that nothing needs")


def test_a_server_that_takes_everything_disagrees_without_a_reason():
    with server(obliging) as address:
        results = differential.run(address, differential.cases()[::20])
    count = len(unexplained(results))
    check(count > len(results) / 2, f"only {count} of {len(results)}")
