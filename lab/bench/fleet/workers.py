"""The lab's fleet with 300 workers under load: its memory, its CPU, how long a burst of pods takes."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client, config

from lab.bench import Row
from lab.broker import ScratchBroker
from lab.control_plane import scratch_control_plane
from lab.load import Load, events

__all__ = ["rows"]

ROOT = Path(__file__).resolve().parents[3]
BASE_PORT, BROKER_PORT, METRICS_PORT = 23_500, 23_570, 23_590
NAMESPACE, FILTER = "filters", "ghibli"
WORKERS, BURST = 300, 60
# Of the default catalogue at the default time factor: 3 s of work and 60 s of warm-up.
SERVICE_S, WARMUP_S, BUSY = 0.4, 8.0, 0.7
WATCHED_S, PATIENCE_S = 30.0, 180.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def rows() -> list[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="surge-bench-")))
        broker = stack.enter_context(ScratchBroker(folder / "broker", BROKER_PORT))
        broker.declare([FILTER])
        plane = stack.enter_context(scratch_control_plane(BASE_PORT))
        core = client.CoreV1Api(config.new_client_from_config(str(plane.kubeconfig_path)))
        _furnish(core, broker.amqp_url)
        pid = stack.enter_context(_fleet(folder, plane.kubeconfig_path))
        first = _burst(core, folder, BURST, total=BURST)
        _burst(core, folder, WORKERS - BURST, total=WORKERS)
        with Load(broker.amqp_url, FILTER, BUSY * WORKERS / SERVICE_S):
            before, done_before = _cpu_s(pid), _count(folder, "finished")
            time.sleep(WATCHED_S)
            cpu, rss = _cpu_s(pid) - before, _rss_mib(pid)
            done = _count(folder, "finished") - done_before
    percent = round(100 * cpu / WATCHED_S, 1)
    return [
        Row(name="fleet_300_rss_mib", unit="MiB", ours=round(rss, 1), runs=[rss]),
        Row(name="fleet_300_cpu_percent", unit="% of a core", ours=percent, runs=[percent]),
        Row(name="fleet_300_jobs_per_s", unit="1/s", ours=round(done / WATCHED_S, 1)),
        Row(name="fleet_60_pods_ready_beyond_warmup_s", unit="s", ours=round(first - WARMUP_S, 2)),
    ]


def _furnish(core: client.CoreV1Api, url: str) -> None:
    namespace: Any = {"metadata": {"name": NAMESPACE}}
    core.create_namespace(namespace)
    data = {"url": base64.b64encode(url.encode()).decode()}
    secret: Any = {"metadata": {"name": "broker"}, "data": data}
    core.create_namespaced_secret(NAMESPACE, secret)


@contextmanager
def _fleet(folder: Path, kubeconfig: Path) -> Iterator[int]:
    settings = {
        "kubeconfig": str(kubeconfig),
        "namespace": NAMESPACE,
        "events": str(folder / "fleet" / "events.ndjson"),
        "metrics_port": METRICS_PORT,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    with (folder / "fleet.log").open("wb") as log:
        command = [sys.executable, "-m", "lab.fleet", "--config", str(path)]
        process = subprocess.Popen(
            command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _burst(core: client.CoreV1Api, folder: Path, count: int, *, total: int) -> float:
    """Make `count` pods; the seconds from the last one made until `total` workers are Ready."""
    for _ in range(count):
        core.create_namespaced_pod(NAMESPACE, _pod())
    began = time.monotonic()
    _until(lambda: _count(folder, "ready") >= total, f"{total} workers Ready")
    return time.monotonic() - began


def _pod() -> Any:
    facts = {"SURGE_QUEUE": f"filter.{FILTER}", "SURGE_SLOTS": "1", "SURGE_PRIORITY": "10"}
    times = {"service-s": SERVICE_S, "warmup-s": WARMUP_S, "longest-job-s": 10 * SERVICE_S}
    env = [{"name": name, "value": value} for name, value in facts.items()]
    return {
        "metadata": {
            "generateName": f"{FILTER}-",
            "labels": {"surge.dev/filter": FILTER},
            "annotations": {f"lab.surge.dev/{name}": str(value) for name, value in times.items()},
        },
        "spec": {
            "nodeName": "gpu-0",
            "automountServiceAccountToken": False,
            "containers": [{"name": "worker", "image": "worker", "env": env}],
            "volumes": [{"name": "broker", "secret": {"secretName": "broker"}}],
        },
    }


def _count(folder: Path, event: str) -> int:
    if not (folder / "fleet" / "events.ndjson").exists():
        return 0
    return sum(item["event"] == event for item in events(folder))


def _until(check: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(0.25)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
