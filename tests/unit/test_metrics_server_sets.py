"""A worker set is served like a filter: sums of its members, once for all of them."""

import json

import pytest

from metrics_server.config import ConfigError, read_filters
from tests.unit.test_metrics_server_api import NODE, Server

OTHER = "http://127.0.0.1:2"


def entry(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "queue": f"filter.{name}", "slots": 1, "drain_s": 60, "beta": 1.06, **more}


def catalogue(*sets: dict[str, object]) -> bytes:
    filters = [entry("a", service_s=2), entry("b", service_s=10), entry("c", service_s=4)]
    return json.dumps({"filters": filters, "sets": list(sets)}).encode()


WARM = entry("warm", members=["a", "b"])


def pooled(nodes: tuple[str, ...] = (NODE,)) -> Server:
    server = Server(nodes)
    server.sampler.use(read_filters(catalogue(WARM)))
    return server


def steady(server: Server, seconds: int = 302, **counts: tuple[int, int, int]) -> None:
    for _ in range(0, seconds, 2):
        server.clock.now += 2
        server.fed(**counts)


def test_a_set_is_the_sum_of_its_members_and_the_consumers_of_its_bell():
    server = pooled()
    steady(server, a=(1, 3, 3), b=(2, 1, 1), c=(5, 5, 5), warm=(3, 4, 8))
    answer = server.json("/v1/filters/warm")
    assert (answer["unacked"], answer["ready"], answer["consumers"]) == (4, 3, 8)
    assert answer["active_ratio"] == 0.5
    assert answer["offered_load"] == pytest.approx(4)
    assert answer["settled"] is True


def test_it_is_staffed_once_for_the_sum():
    server = pooled()
    steady(server, a=(0, 2, 2), b=(0, 2, 2), c=(0, 0, 0), warm=(0, 4, 8))
    workers = {name: server.json(f"/v1/filters/{name}")["desired_workers"] for name in ("a", "b", "warm")}
    assert workers["warm"] == pytest.approx(4 + 1.06 * 2, abs=0.01)
    assert workers["a"] + workers["b"] == pytest.approx(4 + 2 * 1.06 * 2**0.5, abs=0.01)


def test_members_keep_answers_of_their_own():
    server = pooled()
    steady(server, 2, a=(1, 3, 3), b=(2, 1, 1), c=(0, 0, 0), warm=(3, 4, 8))
    answer = server.json("/v1/filters/b")
    assert (answer["unacked"], answer["ready"], answer["active_ratio"]) == (1, 2, 1.0)


@pytest.mark.parametrize("missing", ["a", "b", "warm"])
def test_without_one_member_or_its_bell_a_set_is_unknown_and_the_rest_is_not(missing):
    server = pooled()
    queues = {"a": (1, 3, 3), "b": (2, 1, 1), "c": (0, 0, 0), "warm": (3, 4, 8)}
    steady(server, 4, **queues)
    del queues[missing]
    steady(server, 2, **queues)
    assert server.get("/v1/filters/warm")[0] == 503
    assert server.get("/v1/filters/c")[0] == 200
    steady(server, 2, **queues, **{missing: (0, 0, 0)})
    assert server.get("/v1/filters/warm")[0] == 200


def test_a_set_is_as_old_as_its_oldest_member():
    server = pooled((NODE, OTHER))
    server.fed(0, a=(0, 1, 1), warm=(0, 2, 4))
    server.clock.now += 1
    server.fed(1, b=(0, 1, 1))
    server.clock.now += 15
    server.fed(0, a=(0, 1, 1), warm=(0, 2, 4))
    assert server.json("/v1/filters/warm")["age_s"] == 15
    server.clock.now += 6
    server.fed(0, a=(0, 1, 1), warm=(0, 2, 4))
    assert server.get("/v1/filters/warm")[0] == 503
    assert server.get("/v1/filters/a")[0] == 200


def test_the_explanation_of_a_set_names_its_members_and_adds_up():
    server = pooled()
    steady(server, a=(1, 3, 3), b=(2, 1, 1), c=(0, 0, 0), warm=(3, 4, 8))
    answer = server.json("/v1/filters/warm/explain")
    assert answer["queue"] == "filter.warm"
    assert answer["why"][0].startswith("a set of 2 filters: U and B are their sums, S = 4 s")
    assert answer["why"][-1] == f"desired workers = {answer['desired_workers']:g}"
    assert answer["members"]["b"] == {"unacked": 1, "ready": 2, "service_s": 10, "offered_load": 1}
    assert "members" not in server.json("/v1/filters/a/explain")


def test_a_set_has_gauges_like_a_filter():
    server = pooled()
    steady(server, 2, a=(1, 3, 3), b=(2, 1, 1), c=(0, 0, 0), warm=(3, 4, 8))
    text = server.get("/metrics", None)[2].decode()
    assert 'surge_saturation_unacked{filter="warm"} 4.0' in text
    assert "surge_saturation_filters 4.0" in text


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        ([entry("warm", members=[])], "set 'warm': members \\[\\]: want names of filters of this file"),
        ([entry("warm", members=["a", "z"])], "set 'warm': members \\['a', 'z'\\]"),
        ([WARM, entry("hot", members=["b", "c"])], "filter 'b' is twice in a set, or in 'warm' and 'hot'"),
        ([entry("warm", members=["a", "a"])], "filter 'a' is twice in a set, or in 'warm' and 'warm'"),
        ([entry("a", members=["b"])], "two filters or sets share a name or a queue"),
        ([{"name": "warm", "members": ["a"]}], "key 'slots' is missing"),
    ],
)
def test_a_wrong_set_is_refused(sets, told):
    with pytest.raises(ConfigError, match=told):
        read_filters(catalogue(*sets))
