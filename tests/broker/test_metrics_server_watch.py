"""The second opinion over AMQP, in the name of a user that may do nothing, against a real node."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.broker import ScratchBroker
from metrics_server import Config, watch
from metrics_server.watch import Watch
from surge.policy.demand import WINDOWS_S
from tests.broker.saturation_filter import Filter
from tests.broker.saturation_server import eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_560
NOBODY = BASE_PORT + 9


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        node.control("add_user", "saturation", "of-the-tests")
        node.control("set_permissions", "-p", "surge", "saturation", "", "", "")
        yield node


@pytest.fixture
def config(tmp_path, node) -> Config:
    (tmp_path / "credentials").write_text("saturation:of-the-tests\n")
    unused = Path("unused")
    return Config(
        "127.0.0.1", 0, None, None, unused, ("http://127.0.0.1:1",), "surge", 2, 20, WINDOWS_S, unused,
        # The first one answers nobody: the next is tried.
        amqp=(f"amqp://127.0.0.1:{NOBODY}", f"amqp://127.0.0.1:{node.amqp_port}"),
        credentials_file=tmp_path / "credentials",
    )  # fmt: skip


@pytest.fixture
def fast(monkeypatch) -> None:
    monkeypatch.setattr(watch, "ROUND_S", 0.3)
    monkeypatch.setattr(watch, "AGAIN_S", 0.3)


def values(watching: Watch) -> dict[str, float]:
    return {
        "/".join([sample.name.removeprefix("surge_saturation_"), *sample.labels.values()]): sample.value
        for family in watching.collect()
        for sample in family.samples
    }


def until(watching: Watch, wanted: dict[str, float]) -> None:
    eventually(lambda: wanted == values(watching), f"{wanted}, now {values(watching)}")


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_consumers_that_the_served_numbers_do_not_have_are_drift(node, config, kind):
    work = Filter(node, f"watched-{kind}", kind)
    work.workers(2)
    served = {"here": 2.0, "gone": 7.0}
    queues = {"here": work.queue, "gone": "filter.not.there", "unknown": work.queue}
    watching = Watch(config, ssl.create_default_context(), lambda: queues, served.get)
    with watching.running():
        until(watching, {"watch_up": 1, "consumer_drift/here": 0, "missing_queues": 1})
        work.workers(3)
        until(watching, {"watch_up": 1, "consumer_drift/here": -3, "missing_queues": 1})
        served["here"] = 5.0
        until(watching, {"watch_up": 1, "consumer_drift/here": 0, "missing_queues": 1})
        del queues["gone"]
        until(watching, {"watch_up": 1, "consumer_drift/here": 0, "missing_queues": 0})
    work.leave()


@pytest.mark.usefixtures("fast")
def test_a_watch_that_lost_its_connection_knows_nothing_and_comes_back(node, config):
    work = Filter(node, "lost", "classic")
    served: Callable[[str], float | None] = {"here": 0.0}.get
    watching = Watch(config, ssl.create_default_context(), lambda: {"here": work.queue}, served)
    with watching.running():
        until(watching, {"watch_up": 1, "consumer_drift/here": 0, "missing_queues": 0})
        node.stop()
        until(watching, {"watch_up": 0, "missing_queues": 0})
        node.start()
        until(watching, {"watch_up": 1, "consumer_drift/here": 0, "missing_queues": 0})
