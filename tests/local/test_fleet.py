"""The lab's fleet as a process of its own, between a real API server and a real broker."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pika
import pytest
from kubernetes import client, config

from lab.broker import ScratchBroker
from lab.control_plane import ScratchControlPlane, scratch_control_plane
from lab.load import events

pytestmark = [pytest.mark.local, pytest.mark.broker]

BASE_PORT, BROKER_PORT, METRICS_PORT = 23_500, 23_570, 23_590
NAMESPACE = "filters"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), BROKER_PORT) as node:
        yield node


@pytest.fixture(scope="module")
def plane(broker) -> Iterator[ScratchControlPlane]:
    with scratch_control_plane(BASE_PORT) as running:
        core = api(running)
        core.create_namespace({"metadata": {"name": NAMESPACE}})
        core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": "default"}})
        url = base64.b64encode(broker.amqp_url.encode()).decode()
        core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": "broker"}, "data": {"url": url}})
        yield running


@pytest.fixture
def folder(tmp_path, plane) -> Path:
    """A cluster's folder, as the journal's readers expect it."""
    (tmp_path / "fleet").mkdir()
    settings = {
        "kubeconfig": str(plane.kubeconfig_path),
        "namespace": NAMESPACE,
        "events": str(tmp_path / "fleet" / "events.ndjson"),
        "metrics_port": METRICS_PORT,
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.fixture
def fleet(folder) -> Iterator[subprocess.Popen[bytes]]:
    process = start(folder)
    yield process
    process.terminate()
    assert process.wait(30) == 0, (folder / "log").read_text()


@pytest.fixture
def core(plane) -> Iterator[client.CoreV1Api]:
    core = api(plane)
    yield core
    core.delete_collection_namespaced_pod(NAMESPACE, grace_period_seconds=0)


@pytest.fixture
def queue(broker, request) -> str:
    name = request.node.name.replace("_", "-")[5:45].strip("-")
    broker.declare([name])
    return name


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.fleet", "--config", str(folder / "config.json")],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )


def api(plane: ScratchControlPlane) -> client.CoreV1Api:
    return client.CoreV1Api(config.new_client_from_config(str(plane.kubeconfig_path)))


def make(
    core: client.CoreV1Api, queue: str, *, service_s: float = 0.01, grace_s: int = 30, warmup_s: float = 0.2
) -> str:
    """A pod that the scheduler has placed already."""
    times = {"service-s": service_s, "warmup-s": warmup_s, "longest-job-s": max(service_s, 0.02)}
    facts = {"SURGE_QUEUE": f"filter.{queue}", "SURGE_SLOTS": "1", "SURGE_PRIORITY": "10"}
    pod = {
        "metadata": {
            "generateName": "worker-",
            "labels": {"surge.dev/filter": queue},
            "annotations": {f"lab.surge.dev/{key}": str(value) for key, value in times.items()},
        },
        "spec": {
            "nodeName": "gpu-0",
            "terminationGracePeriodSeconds": grace_s,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "worker",
                    "image": "worker",
                    "env": [{"name": key, "value": value} for key, value in facts.items()],
                }
            ],
            "volumes": [{"name": "broker", "secret": {"secretName": "broker"}}],
        },
    }
    return core.create_namespaced_pod(NAMESPACE, pod).metadata.name


def publish(broker: ScratchBroker, queue: str, *ids: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for one in ids:
            headers = {"published-at-us": int(time.time() * 1e6)}
            properties = pika.BasicProperties(message_id=one, delivery_mode=2, headers=headers)
            channel.basic_publish("filters", queue, b"photo", properties, mandatory=True)


def is_ready(core: client.CoreV1Api, name: str) -> bool:
    conditions = core.read_namespaced_pod(name, NAMESPACE).status.conditions or []
    return any(item.type == "Ready" and item.status == "True" for item in conditions)


def exists(core: client.CoreV1Api, name: str) -> bool:
    listed = core.list_namespaced_pod(NAMESPACE, field_selector=f"metadata.name={name}")
    return bool(listed.items)


def seen(folder: Path, worker: str) -> list[str]:
    if not (folder / "fleet" / "events.ndjson").exists():
        return []
    return [event["event"] for event in events(folder) if event["worker"] == worker]


def eventually(check: Callable[[], Any], what: str, patience_s: float = 60) -> None:
    end = time.monotonic() + patience_s
    while not check():
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.1)


def test_a_scheduled_pod_warms_up_becomes_ready_works_drains_and_goes(core, broker, queue, folder, fleet):
    name = make(core, queue)
    eventually(lambda: is_ready(core, name), "Ready")
    publish(broker, queue, "1", "2", "3")
    eventually(lambda: seen(folder, name).count("finished") == 3, "three jobs finished")
    core.delete_namespaced_pod(name, NAMESPACE)
    eventually(lambda: not exists(core, name), "the pod gone")
    told = [event for event in seen(folder, name) if event not in {"started", "finished"}]
    assert told == ["warming", "ready", "draining", "drained"]
    with urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=5) as answer:
        assert f'surge_lab_jobs_finished_total{{filter="{queue}"}} 3.0' in answer.read().decode()


def test_a_job_in_hand_is_finished_before_a_deleted_pod_goes(core, broker, queue, folder, fleet):
    name = make(core, queue, service_s=3)
    eventually(lambda: is_ready(core, name), "Ready")
    publish(broker, queue, "1")
    eventually(lambda: "started" in seen(folder, name), "the job")
    core.delete_namespaced_pod(name, NAMESPACE)
    eventually(lambda: not exists(core, name), "the pod gone")
    heir = make(core, queue)
    eventually(lambda: is_ready(core, heir), "another worker")
    assert seen(folder, name) == ["warming", "ready", "started", "draining", "finished", "drained"]
    assert "started" not in seen(folder, heir)


def test_past_its_grace_a_pod_is_killed_and_its_message_goes_to_another(core, broker, queue, folder, fleet):
    name = make(core, queue, service_s=600, grace_s=3)
    eventually(lambda: is_ready(core, name), "Ready")
    publish(broker, queue, "1")
    eventually(lambda: "started" in seen(folder, name), "the job")
    core.delete_namespaced_pod(name, NAMESPACE)
    eventually(lambda: not exists(core, name), "the pod gone")
    heir = make(core, queue)
    eventually(lambda: "finished" in seen(folder, heir), "the job done by another")
    assert seen(folder, name)[-3:] == ["draining", "abandoned", "killed"]
    [lost] = [event for event in events(folder) if event["event"] == "abandoned"]
    assert (lost["message_id"], lost["reason"]) == ("1", "scale_in")
    [again] = [event for event in events(folder) if event["event"] == "finished"]
    assert again["redelivered"]


def test_a_pod_removed_by_force_drops_its_message_without_a_word(core, broker, queue, folder, fleet):
    name = make(core, queue, service_s=600)
    eventually(lambda: is_ready(core, name), "Ready")
    publish(broker, queue, "1")
    eventually(lambda: "started" in seen(folder, name), "the job")
    core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0)
    heir = make(core, queue)
    eventually(lambda: "finished" in seen(folder, heir), "the job done by another")
    assert seen(folder, name)[-2:] == ["abandoned", "killed"]


def test_a_ready_condition_that_somebody_flips_is_set_right(core, queue, fleet):
    name = make(core, queue)
    eventually(lambda: is_ready(core, name), "Ready")
    flipped = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    core.patch_namespaced_pod_status(name, NAMESPACE, flipped)
    eventually(lambda: is_ready(core, name), "Ready again")


@pytest.mark.usefixtures("fleet")
def test_an_outage_of_the_api_server_costs_no_job(core, plane, broker, queue, folder):
    name = make(core, queue)
    eventually(lambda: is_ready(core, name), "Ready")
    plane.stop_apiserver()
    publish(broker, queue, "1")
    eventually(lambda: "finished" in seen(folder, name), "a job done meanwhile")
    plane.start_apiserver()
    later = make(core, queue)
    eventually(lambda: is_ready(core, later), "a pod made after the outage")
    assert is_ready(core, name)
    assert "unready" not in seen(folder, name)


def test_an_outage_of_the_broker_shows_as_unready_and_heals(core, broker, queue, folder, fleet):
    name = make(core, queue)
    eventually(lambda: is_ready(core, name), "Ready")
    broker.stop()
    eventually(lambda: not is_ready(core, name), "un-Ready")
    broker.start()
    publish(broker, queue, "1")
    eventually(lambda: "finished" in seen(folder, name), "a job after the outage")
    eventually(lambda: is_ready(core, name), "Ready again")


def test_a_killed_fleet_takes_its_pods_up_again(core, broker, queue, folder):
    first = start(folder)
    name = make(core, queue)
    eventually(lambda: is_ready(core, name), "Ready")
    first.kill()
    first.wait()
    publish(broker, queue, "1")
    second = start(folder)
    try:
        eventually(lambda: "finished" in seen(folder, name), "a job done by the second fleet")
        assert seen(folder, name).count("warming") == 2
    finally:
        second.terminate()
        second.wait(30)
