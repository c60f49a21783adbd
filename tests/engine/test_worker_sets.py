"""Pooled filters: one Deployment and one ScaledObject for a set, whatever the number of its members."""

from typing import Any

import pytest

from metrics_server.config import read_filters
from surge.model import WorkerSet, services
from tests.engine.fleet_program import fleet, settings
from tests.engine.recording import RecordingMonitor, record
from tests.engine.test_stack import DEPLOYMENT, SCALED_OBJECT, catalogue, root, stack
from worker.settings import read_members

__all__ = ["catalogue", "root", "stack"]


def made(stack: RecordingMonitor, token: str) -> dict[str, Any]:
    return stack.named(token, "trinkets").inputs


def test_members_add_no_workload_of_their_own(stack, catalogue):
    names = {item.name for item in stack.of(DEPLOYMENT)}
    assert "trinkets" in names
    assert not names & {"freckles", "sparkle"}
    [both] = [item for item in services(catalogue.filters) if isinstance(item, WorkerSet)]
    assert [each.name for each in both.members] == ["freckles", "sparkle"]
    few = record(fleet(both.members, settings()))
    assert len(few.of(DEPLOYMENT)) == len(few.of(SCALED_OBJECT)) == 1


def test_a_sets_worker_consumes_the_bell_and_knows_its_members_queues(stack):
    template = made(stack, DEPLOYMENT)["spec"]["template"]
    [container] = template["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert (environment["SURGE_FILTER"], environment["SURGE_QUEUE"]) == ("trinkets", "filter.trinkets")
    assert read_members(environment["SURGE_MEMBERS"]) == {
        "freckles": "filter.freckles",
        "sparkle": "filter.sparkle",
    }
    times = template["metadata"]["annotations"]
    quick, slow = (float(times[f"service-s.lab.surge.dev/{name}"]) for name in ("freckles", "sparkle"))
    assert slow == pytest.approx(2 * quick, rel=1e-3)


def test_its_objects_and_pods_are_found_by_a_members_name(stack):
    for labels in (
        made(stack, DEPLOYMENT)["metadata"]["labels"],
        made(stack, DEPLOYMENT)["spec"]["template"]["metadata"]["labels"],
        made(stack, SCALED_OBJECT)["metadata"]["labels"],
    ):
        assert {key for key in labels if key.startswith("members.")} == {
            "members.surge.dev/freckles",
            "members.surge.dev/sparkle",
        }
        assert labels["surge.dev/class"] == "pooled"
    assert made(stack, DEPLOYMENT)["spec"]["selector"] == {"matchLabels": {"surge.dev/filter": "trinkets"}}


def test_keda_reads_the_set(stack):
    [trigger] = made(stack, SCALED_OBJECT)["spec"]["triggers"]
    assert trigger["metadata"]["url"].endswith("/v1/filters/trinkets")
    assert made(stack, SCALED_OBJECT)["spec"]["minReplicaCount"] == 2


def test_the_broker_rings_for_each_member_and_the_server_knows_the_set(stack):
    topology = stack.named("surge:broker:Topology", "one-topology").inputs
    rings = [each["routing_key"] for each in topology["bindings"] if each["destination"] == "filter.trinkets"]
    assert sorted(rings) == ["freckles", "sparkle"]
    [text] = [
        files["filters.json"]
        for item in stack.resources.values()
        if "filters.json" in (files := item.inputs.get("live_files") or {})
    ]
    known = read_filters(text.encode())
    assert (known["trinkets"].queue, known["trinkets"].members) == (
        "filter.trinkets",
        ("freckles", "sparkle"),
    )
