"""The saturation server against a real node, real queues of both types and real consumers."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pika.exceptions
import pytest

from lab.broker import ScratchBroker
from lab.link import Link
from tests.broker.saturation_filter import Filter
from tests.broker.saturation_server import TOKEN, Server, eventually

pytestmark = pytest.mark.broker

BASE_PORT = 23_420
TYPES = ("classic", "quorum")


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        yield node


@pytest.fixture
def server(tmp_path, node) -> Iterator[Server]:
    server = Server(tmp_path, BASE_PORT + 10, node.prometheus_url)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            assert server.stop() == 0


@pytest.fixture
def make(node) -> Iterator:
    made: list[Filter] = []

    def make(name: str, kind: str) -> Filter:
        made.append(Filter(node, name, kind))
        return made[-1]

    yield make
    for each in made:
        # A test that stopped the broker leaves a connection that does not know it is dead.
        with suppress(pika.exceptions.AMQPConnectionError):
            each.leave()


@pytest.mark.parametrize("kind", TYPES)
def test_the_ratio_is_the_truth(server, make, kind):
    name = f"truth-{kind}"
    server.use(name)
    work = make(name, kind)
    work.workers(10)
    server.shows(name, unacked=0, ready=0, consumers=10, active_ratio=0, desired_workers=10)
    work.publish(7)
    work.hold(7)
    server.shows(name, unacked=7, ready=0, consumers=10, active_ratio=0.7, active_ratio_raw=0.7)
    work.publish(8)
    work.hold(10)
    server.shows(name, unacked=10, ready=5, consumers=10, active_ratio=1)
    work.finish(10)
    work.hold(5)
    server.shows(name, unacked=5, ready=0, consumers=10, active_ratio=0.5)


@pytest.mark.parametrize(("kind", "consumers", "raw"), [("classic", 6, 1.667), ("quorum", 10, 1.0)])
def test_draining_workers_never_push_the_ratio_above_one(server, make, kind, consumers, raw):
    name = f"drain-{kind}"
    server.use(name)
    work = make(name, kind)
    work.workers(10)
    work.publish(10)
    work.hold(10)
    work.cancel(4)
    server.shows(name, unacked=10, consumers=consumers, active_ratio=1, active_ratio_raw=raw)


@pytest.mark.parametrize("kind", TYPES)
def test_work_that_waits_without_any_worker_wakes_the_filter(server, make, kind):
    name = f"wake-{kind}"
    server.use(name)
    work = make(name, kind)
    server.shows(name, consumers=0, ready=0, active_ratio=0, desired_workers=0)
    work.publish(1)
    assert server.shows(name, consumers=0, ready=1, active_ratio=1)["desired_workers"] >= 1


@pytest.mark.parametrize("kind", TYPES)
def test_workers_that_vanish_leave_their_messages_ready(server, make, kind):
    name = f"gone-{kind}"
    server.use(name)
    work = make(name, kind)
    work.workers(4)
    work.publish(4)
    work.hold(4)
    server.shows(name, unacked=4, consumers=4)
    work.leave()
    assert server.shows(name, unacked=0, ready=4, consumers=0, active_ratio=1)["desired_workers"] >= 1


def test_a_deleted_queue_is_503_and_its_neighbour_is_not(server, make):
    server.use("doomed", "neighbour")
    doomed, _ = make("doomed", "quorum"), make("neighbour", "quorum")
    server.shows("doomed", ready=0)
    doomed.main.queue_delete(doomed.queue)
    eventually(lambda: server.get("/v1/filters/doomed")[0] == 503, "503 for the deleted queue")
    server.shows("neighbour", ready=0)


def test_filters_come_and_go_with_the_file_and_kept_ones_keep_their_history(server, make):
    make("kept", "quorum")
    make("new", "quorum")
    server.use("kept")
    server.shows("kept", ready=0)
    assert server.get("/v1/filters/new")[0] == 404
    before = server.get("/v1/filters/kept")[1]["window_s"]
    server.use("kept", "new")
    server.shows("new", ready=0)
    assert server.get("/v1/filters/kept")[1]["window_s"] > before
    (server.folder / "filters.json").write_text('{"filters": [')
    eventually(
        lambda: any("file refused" in line["event"] for line in server.log()), "the refusal in the log"
    )
    server.shows("new", ready=0)
    server.use("new")
    eventually(lambda: server.get("/v1/filters/kept")[0] == 404, "404 for the removed filter")


def test_a_broker_that_stops_is_503_and_comes_back_without_help(server, make, node):
    server.use("restart")
    work = make("restart", "quorum")
    work.workers(3)
    work.publish(5)
    work.hold(3)
    server.shows("restart", unacked=3, ready=2)
    node.stop()
    eventually(lambda: server.get("/v1/filters/restart")[0] == 503, "503 while the broker is down")
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200
    node.start()
    back = server.shows("restart", unacked=0, ready=5, consumers=0, active_ratio=1)
    assert back["desired_workers"] >= 1
    assert server.get("/readyz")[0] == 200
    events = [line["event"] for line in server.log() if "broker node" in line["event"]]
    assert events == ["broker node answers", "broker node does not answer", "broker node answers"]


def test_a_server_that_starts_before_its_broker_waits_for_it_and_recovers(tmp_path, node, make):
    make("early", "quorum")
    server = Server(tmp_path, BASE_PORT + 11, f"http://127.0.0.1:{BASE_PORT + 12}")
    server.use("early")
    server.start()
    paths = ("/healthz", "/readyz", "/v1/filters/early")
    try:
        assert [server.get(path)[0] for path in paths] == [200, 503, 503]
        with Link(BASE_PORT + 12, int(node.prometheus_url.rpartition(":")[2])):
            server.shows("early", ready=0, consumers=0)
            assert [server.get(path)[0] for path in paths] == [200, 200, 200]
    finally:
        assert server.stop() == 0


def test_only_tls_and_a_token_open_the_door_and_tokens_rotate_without_a_gap(server, make):
    make("secret", "quorum")
    server.use("secret")
    server.shows("secret", ready=0)
    assert server.get("/v1/filters/secret", token=None)[0] == 401
    assert server.get("/v1/filters/secret", token="x" * 30)[0] == 401
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"https://127.0.0.1:{server.port}/readyz", timeout=5)
    with pytest.raises(OSError, match=r"(?i)reset|closed|EOF|BadStatus|disconnected"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
    fresh = "b-token-of-the-tests-9876543210"
    (server.folder / "tokens").write_text(f"{fresh}\n{TOKEN}\n")
    eventually(lambda: server.get("/v1/filters/secret", token=fresh)[0] == 200, "the new token")
    assert server.get("/v1/filters/secret")[0] == 200
    (server.folder / "tokens").write_text(f"{fresh}\n")
    eventually(lambda: server.get("/v1/filters/secret")[0] == 401, "the end of the old token")
    said = (server.folder / "server.log").read_text()
    assert TOKEN not in said
    assert fresh not in said


def test_sigterm_makes_it_unready_then_deaf_then_gone(server, make):
    make("leaving", "quorum")
    server.use("leaving")
    server.shows("leaving", ready=0)
    codes: list[int] = []
    ending = threading.Thread(target=lambda: codes.append(server.stop()))
    ending.start()
    eventually(lambda: server.get("/readyz")[0] == 503, "unready", 5)
    assert server.get("/v1/filters/leaving")[0] == 200
    ending.join(20)
    assert codes == [0]
    with pytest.raises(OSError, match="refused"):
        server.get("/readyz")
    assert [line["event"] for line in server.log()][-2:] == ["draining", "ended"]


def test_the_age_is_never_above_what_the_settings_allow(server, make):
    make("age", "quorum")
    server.use("age")
    server.shows("age", ready=0)
    ages = []
    for _ in range(20):
        ages.append(server.get("/v1/filters/age")[1]["age_s"])
        time.sleep(0.05)
    assert 0 <= min(ages) <= max(ages) < 2.5
