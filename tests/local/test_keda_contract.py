"""What the real KEDA operator makes of the real server, over the real broker, with the objects that we ship.

The operator trusts no authority of ours, as on a cluster where nothing is mounted into it: the
ClusterTriggerAuthentication brings it.
"""

import json
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import pika
import pulumi
import pytest

from components.filter_service import Shared, scaled_object
from components.monitored import alert_rules
from components.saturation.keda import trigger_authentication
from components.saturation.settings import ServerSettings
from lab.broker import ScratchBroker
from lab.control_plane import scratch_control_plane
from lab.keda import ScratchKeda
from providers.surge import pki
from surge.model import Catalogue, Filter
from surge.policy.timescale import TimeScale
from surge.policy.topology import VHOST
from tests.engine.recording import record
from toolchain.build import KEDA_VERSION

pytestmark = [pytest.mark.local, pytest.mark.broker]

PLANE_PORT, BROKER_PORT, SERVER_PORT = 23_200, 23_310, 23_320
ROOT = Path(__file__).parents[2]
# Five minutes of samples, the server's longest window, are ten seconds.
SCALE = TimeScale(30)
OLD, NEW = "the-old-token-0123456789", "the-new-token-0123456789"
NAMES = ("steady", "ratio", "deaf", "stranger", "unarmed", "foreign", "forgotten")
DEMAND, RATIO, BACKLOG = (
    "s0-metric-api-desired_workers",
    "s0-metric-api-active_ratio",
    "s1-metric-api-ready",
)


def filters() -> dict[str, Filter]:
    catalogue = Catalogue.read(ROOT / "filters.yaml")
    usual = {"min": 1, "max": 8}
    made = {}
    for name in NAMES:
        kind = catalogue["ghibli-ratio" if name == "ratio" else "ghibli"]
        made[name] = kind.model_copy(update={"name": name, "queue": f"filter.{name}", **usual})
    return made


FILTERS = filters()


def issue(authority: pki.Issued, usage: str, **names: Any) -> pki.Issued:
    return pki.certificate(
        usage,
        authority_certificate=authority.certificate,
        authority_key=authority.private_key,
        validity_days=1,
        usages=[usage],
        **names,
    )


class Server:
    """`python -m metrics_server` on the component's own settings, with a certificate of our own authority.

    It lets in whom that authority has signed, and nobody else.
    """

    def __init__(self, folder: Path, broker: ScratchBroker) -> None:
        self.folder = folder
        self.authority = pki.authority("contract", validity_days=1)
        serving = issue(self.authority, "server", ip_addresses=["127.0.0.1"])
        self.client = issue(self.authority, "client")
        settings = ServerSettings(
            filters=list(FILTERS.values()),
            nodes=[broker.prometheus_url],
            vhost=VHOST,
            sample_s=7.5,
            stale_s=60,
            scale=SCALE,
            amqp=[f"amqp://127.0.0.1:{broker.amqp_port}"],
        )
        config = json.loads(settings.config(host="127.0.0.1", port=SERVER_PORT, grace_s=0))
        config["listen"]["client_ca"] = "ca.crt"
        files = {
            "config.json": json.dumps(config),
            "filters.json": settings.filters_file(),
            "ca.crt": self.authority.certificate,
            "tls.crt": serving.certificate,
            "tls.key": serving.private_key,
            "client.crt": self.client.certificate,
            "client.key": self.client.private_key,
            "credentials": f"admin:{broker.admin_password}\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        self.accept(OLD)
        self.context = ssl.create_default_context(cadata=self.authority.certificate)
        self.context.load_cert_chain(folder / "client.crt", folder / "client.key")
        command = [sys.executable, "-m", "metrics_server", "--config", str(folder / "config.json")]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def accept(self, *tokens: str) -> None:
        fresh = self.folder / "tokens.new"
        fresh.write_text("\n".join(tokens))
        fresh.rename(self.folder / "tokens")

    def metrics(self) -> str:
        url = f"https://127.0.0.1:{SERVER_PORT}/metrics"
        with urllib.request.urlopen(url, timeout=5, context=self.context) as answer:
            return answer.read().decode()

    def status(self, name: str, token: str = OLD) -> int:
        url = f"https://127.0.0.1:{SERVER_PORT}/v1/filters/{name}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5, context=self.context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@dataclass(frozen=True)
class Lab:
    broker: ScratchBroker
    server: Server
    keda: ScratchKeda

    def authentication(self, name: str, **parameters: str) -> None:
        """Apply the component's objects under `name`, with `parameters` in place of the right ones."""
        right = {
            "token": OLD,
            "ca": self.server.authority.certificate,
            "cert": self.server.client.certificate,
            "key": self.server.client.private_key,
        }
        made = record(
            lambda: trigger_authentication("one", {**right, **parameters}, opts=pulumi.ResourceOptions())
        )
        objects = [item.inputs for item in made.resources.values() if item.token.startswith("kubernetes:")]
        text = json.dumps(objects).replace('"saturation', f'"{name}')
        self.keda.apply(*json.loads(text, object_hook=lambda item: item.get("value", item)))

    def scale(self, name: str, authentication: str, *, modes: str = "bearer,tls", **changes: Any) -> None:
        """A Deployment, and the ScaledObject that the filter's component makes for it."""
        saturation = SimpleNamespace(
            url=f"https://127.0.0.1:{SERVER_PORT}", authentication=authentication, auth_modes=modes
        )
        cluster = SimpleNamespace(version=(1, 34))
        shared = cast(Shared, SimpleNamespace(saturation=saturation, scale=SCALE, cluster=cluster))
        metadata = {"name": name, "namespace": "filters"}
        labels = {"app": name}
        pod = {"containers": [{"name": "worker", "image": "worker"}]}
        self.keda.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
            {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": metadata,
                "spec": {**scaled_object(FILTERS[name], shared), **changes},
            },
        )

    def value(self, name: str, metric: str) -> float | str:
        """What the HPA reads, or what is said instead of a number."""
        try:
            return self.keda.external_metric("filters", name, metric)
        except OSError as error:
            return str(error)

    def replicas(self, name: str) -> int:
        return json.loads(self.get("deployment", name))["spec"]["replicas"]

    def complaints(self, name: str) -> str:
        """What KEDA's events say of the ScaledObject."""
        events = json.loads(self.get("events"))["items"]
        return "\n".join(item["message"] for item in events if item["involvedObject"]["name"] == name)

    def get(self, *what: str) -> str:
        return self.keda.kubectl("-n", "filters", "get", *what, "-o", "json")

    def errors(self, name: str) -> float:
        """The operator's own count of failed reads, which the alerts ask for."""
        return sum(
            float(line.rpartition(" ")[2])
            for line in self.keda.operator_metrics().splitlines()
            if line.startswith("keda_scaler_detail_errors_total{")
            and f'scaledObject="{name}"' in line
            and 'metric="s0-metric-api-' in line
        )


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("server")
    with (
        ScratchBroker(tmp_path_factory.mktemp("broker"), BROKER_PORT) as broker,
        scratch_control_plane(PLANE_PORT, workloads=True, kind=ScratchKeda) as keda,
    ):
        broker.declare(list(NAMES))
        keda.kubectl("create", "namespace", "filters")
        keda.apply(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "node", "annotations": {"kwok.x-k8s.io/node": "fake"}},
            }
        )
        server = Server(folder, broker)
        try:
            # Of the errors of a trigger KEDA tells the first alone: none may come before the server.
            eventually(lambda: server.status("steady"), 200, "the server")
            made = Lab(broker, server, keda)
            made.authentication("saturation")
            yield made
        finally:
            server.process.terminate()
            server.process.wait(30)


@pytest.fixture(scope="module")
def workers(lab) -> Iterator[None]:
    """Of both: four consumers, three of them busy for ever."""
    url = pika.URLParameters(f"{lab.broker.amqp_url}?heartbeat=0")
    with pika.BlockingConnection(url) as connection:
        for name in ("steady", "ratio"):
            for _ in range(4):
                channel = connection.channel()
                channel.basic_qos(prefetch_count=1)
                channel.basic_consume(f"filter.{name}", lambda *_: None)
            publish(lab, name, 3)
        connection.process_data_events(0.5)
        yield


def publish(lab: Lab, name: str, messages: int) -> None:
    with pika.BlockingConnection(pika.URLParameters(lab.broker.amqp_url)) as connection:
        for _ in range(messages):
            connection.channel().basic_publish("", f"filter.{name}", b"photo")


def eventually(read: Callable[[], Any], wanted: Any, what: str, patience_s: float = 60) -> None:
    """Wait until `read` gives `wanted`; a predicate may stand for it."""
    end = time.monotonic() + patience_s
    while not (wanted(seen := read()) if callable(wanted) else (seen := read()) == wanted):
        assert time.monotonic() < end, f"never seen: {what}; last: {seen!r}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def steady(lab, workers) -> float:
    """Three busy of four: 3 + 1.06·√3."""
    lab.scale("steady", "saturation")
    eventually(lambda: lab.value("steady", DEMAND), 4.836, "the demand of three busy workers")
    return 4.836


def test_the_operator_says_the_version_that_was_built(lab):
    [told] = re.findall(
        r"^keda_build_info\{.*\bversion=\"([^\"]*)\"", lab.keda.operator_metrics(), re.MULTILINE
    )
    assert told == KEDA_VERSION.rpartition("=")[2]


def test_demand_reaches_the_hpa_which_rounds_up_to_workers(lab, steady):
    eventually(lambda: lab.replicas("steady"), 5, "five workers")
    [metric] = json.loads(lab.get("hpa", "keda-hpa-steady"))["spec"]["metrics"]
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "1"}


@pytest.mark.usefixtures("workers")
def test_the_ratio_reaches_the_hpa_as_a_value_and_the_backlog_beside_it(lab):
    lab.scale("ratio", "saturation")
    eventually(lambda: lab.value("ratio", RATIO), 0.75, "three of four busy")
    assert lab.value("ratio", BACKLOG) == 0
    publish(lab, "ratio", 3)
    eventually(lambda: lab.value("ratio", BACKLOG), 2, "two that wait")
    assert lab.value("ratio", RATIO) == 1
    ratio, _ = json.loads(lab.get("hpa", "keda-hpa-ratio"))["spec"]["metrics"]
    assert ratio["external"]["target"] == {"type": "Value", "value": "700m"}


@cache
def wrong() -> dict[str, str]:
    """A parameter of KEDA's access each that proves nothing to this server."""
    authority = pki.authority("other", validity_days=1)
    client = issue(authority, "client")
    return {
        "token": NEW,
        "ca": authority.certificate,
        "cert": client.certificate,
        "key": client.private_key,
    }


@pytest.mark.parametrize(
    ("name", "parameters", "modes", "complaint"),
    [
        ("deaf", ("token",), "bearer,tls", "api returned 401"),
        ("stranger", ("ca",), "bearer,tls", "certificate signed by unknown authority"),
        # The event loop hangs up where TLS would tell why.
        ("foreign", ("cert", "key"), "bearer,tls", r"connection reset by peer|: EOF"),
        ("unarmed", (), "bearer", "certificate signed by unknown authority"),
    ],
    ids=[
        "wrong token",
        "wrong authority",
        "certificate of another authority",
        "authority not used in mode bearer alone",
    ],
)
def test_what_does_not_prove_itself_is_an_error_that_says_why(lab, name, parameters, modes, complaint):
    lab.authentication(name, **{each: wrong()[each] for each in parameters})
    lab.scale(name, name, modes=modes)
    told = re.compile(complaint).search
    eventually(lambda: lab.complaints(name), lambda seen: told(seen) is not None, f"{complaint}, of {name}")
    eventually(lambda: lab.errors(name), lambda seen: seen > 0, "counted by the operator")
    assert lab.replicas(name) == 1


def test_a_503_holds_the_fleet_and_then_falls_back_and_others_do_not_notice(lab, steady):
    fallback = {"failureThreshold": 2, "replicas": 3, "behavior": "currentReplicasIfHigher"}
    lab.scale("forgotten", "saturation", fallback=fallback)
    eventually(lambda: lab.value("forgotten", DEMAND), 0, "an idle filter")
    errors = lab.errors("steady")
    with pika.BlockingConnection(pika.URLParameters(lab.broker.amqp_url)) as connection:
        connection.channel().queue_delete("filter.forgotten")
    eventually(lambda: lab.server.status("forgotten"), 503, "a filter without a queue")
    eventually(lambda: lab.replicas("forgotten"), 3, "the fallback's workers")
    assert (lab.value("steady", DEMAND), lab.errors("steady")) == (steady, errors)


def test_a_token_is_rotated_without_one_failed_read(lab, steady):
    errors, failed, done = lab.errors("steady"), [], Event()

    def read() -> None:
        while not done.wait(0.1):
            if (seen := lab.value("steady", DEMAND)) != steady:
                failed.append(seen)

    reader = Thread(target=read)
    reader.start()
    try:
        lab.server.accept(OLD, NEW)
        eventually(lambda: lab.server.status("steady", NEW), 200, "the new token beside the old")
        assert lab.server.status("steady", OLD) == 200
        lab.authentication("saturation", token=NEW)
        lab.server.accept(NEW)
        eventually(lambda: lab.server.status("steady", OLD), 401, "the old token gone")
        # KEDA keeps what it has until a 401, and then reads its Secret again within the same call.
        time.sleep(5)
    finally:
        done.set()
        reader.join()
    assert not failed
    assert lab.errors("steady") == errors


def test_every_number_that_an_alert_asks_for_is_told(lab, steady):
    asked = set(re.findall(r"\b(?:surge_saturation|keda)_\w+", alert_rules("saturation").read_text()))
    assert len(asked) > 5

    def untold() -> set[str]:
        told = f"\n{lab.server.metrics()}\n{lab.keda.operator_metrics()}"
        return {name for name in asked if not re.search(rf"\n{name}[{{ ]", told)}

    eventually(untold, set(), "every number; some come with the watch's first round")
