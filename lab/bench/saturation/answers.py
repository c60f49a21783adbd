"""How fast the saturation server answers on one core, beside the same server as a GET-through proxy.

The server has core 0, the clients have core 1: 300 kept-alive TLS connections, as KEDA's, from one
process. Where the kernel lets us, the two are scheduled ahead of what else the machine does. The
broker runs where it likes, so the proxy's figures want a quiet machine.

Memory is that of a second server, as users have it: the watch and the broker's events, every queue with a
consumer, whole windows, every filter asked for, /metrics scraped, and all the clients as fast as they can.
"""

import http.client
import json
import os
import secrets
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench import Row
from lab.bench.saturation.crowd import NAMES, SAMPLE_S, consumers
from lab.broker import ScratchBroker
from providers.surge import pki
from surge.policy.demand import WINDOWS_S
from surge.policy.topology import VHOST

__all__ = ["figures", "run"]

ROOT = Path(__file__).resolve().parents[3]
BROKER_PORT, SERVER_PORT, PROXY_PORT = 24_520, 24_530, 24_531
CLIENTS, RUNS = 300, 3
SERVER_CORE, CLIENT_CORE = 0, 1
PACED_PER_S, PACED_S, FLAT_OUT_S = 300, 8.0, 2.0
# As many samples in each window as the settings have, in less time.
HASTE = 4.0
SETTLED = b'"settled":true'
PATIENCE_S = 240.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One value a run, of one server."""

    p99_ms: list[float]
    per_s: list[float]
    cpu_us: list[float]


def run() -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as folder,
        ScratchBroker(Path(folder) / "broker", BROKER_PORT) as broker,
        consumers(broker),
    ):
        return figures(broker, NAMES)


def figures(broker: ScratchBroker, filters: Sequence[str]) -> list[Row]:
    """Return the rows; `filters` have their queues on `broker`."""
    with tempfile.TemporaryDirectory(prefix="surge-bench-") as name:
        folder = Path(name)
        token = secrets.token_urlsafe(24)
        _certify(folder)
        paths = [f"/v1/filters/{each}" for each in filters[:CLIENTS]]
        job = {"paths": paths, "token": token, "authority": str(folder / "ca.crt")}
        settings = _settings(folder, broker, filters, token)
        ours = _measured(["metrics_server", "--config", settings], job | {"port": SERVER_PORT})
        settings = _proxy_settings(folder, broker, token)
        peer = _measured(["lab.bench.saturation.proxy", settings], job | {"port": PROXY_PORT})
        settings = _settings(folder, broker, filters, token, haste=HASTE)
        every = [*(f"/v1/filters/{each}" for each in filters), "/v1/filters", "/metrics"]
        most_mib = _most_mib(settings, job | {"port": SERVER_PORT}, every)
    return [
        _row("answers_per_s", "1/s on one core", ours.per_s, peer.per_s),
        _row("answer_p99_ms_at_300", "ms at 300/s", ours.p99_ms, peer.p99_ms),
        _row("answer_cpu_us", "µs of the server's CPU", ours.cpu_us, peer.cpu_us),
        _row("rss_mib", f"MiB at its peak, {len(filters)} filters, {CLIENTS} TLS clients", [most_mib]),
    ]


def _row(name: str, unit: str, ours: list[float], peer: list[float] | None = None) -> Row:
    instead = None if peer is None else round(statistics.median(peer), 2)
    return Row(name=name, unit=unit, ours=round(statistics.median(ours), 2), peer=instead, runs=ours)


def _measured(module: list[str], job: dict[str, Any]) -> Measured:
    p99_ms, per_s, cpu_us = [], [], []
    with _process(module, SERVER_CORE) as server:
        _wait(lambda: _asked(job, job["paths"][-1]), server)
        for _ in range(RUNS):
            seen = _clients(server.pid, job | {"rate": PACED_PER_S, "seconds": PACED_S})
            p99_ms.append(round(1000 * statistics.quantiles(seen["latencies_s"], n=100)[98], 3))
        for _ in range(RUNS):
            before = _cpu_s(server.pid)
            seen = _clients(server.pid, job | {"seconds": FLAT_OUT_S})
            per_s.append(round(seen["answers_per_s"]))
            # Handshakes included: a hundredth of it.
            cpu_us.append(round(1e6 * (_cpu_s(server.pid) - before) / seen["answers"], 1))
    return Measured(p99_ms, per_s, cpu_us)


def _most_mib(settings: str, job: dict[str, Any], every: Sequence[str]) -> float:
    """The most memory that a server with these settings has had, when its windows are whole."""
    with _process(["metrics_server", "--config", settings], SERVER_CORE) as server:
        _wait(lambda: SETTLED in b"".join(_asked(job, job["paths"][-1])), server)
        for _ in range(RUNS):
            _clients(server.pid, job | {"seconds": FLAT_OUT_S})
            _wait(lambda: _asked(job, *every), server)
        said = Path(f"/proc/{server.pid}/status").read_text()
    return round(int(said.partition("VmHWM:")[2].split()[0]) / 1024, 1)


def _clients(server: int, job: dict[str, Any]) -> dict[str, Any]:
    with (
        _process(["lab.bench.saturation.clients"], CLIENT_CORE) as clients,
        _undisturbed(server),
        _undisturbed(clients.pid),
    ):
        said, _ = clients.communicate(json.dumps(job).encode())
    if clients.returncode != 0:
        raise RuntimeError(f"the clients ended with {clients.returncode}: their error is above")
    return json.loads(said)


@contextmanager
def _process(module: list[str], core: int) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-m", *module], cwd=ROOT, stdin=pipe, stdout=pipe)
    os.sched_setaffinity(process.pid, {core % len(os.sched_getaffinity(0))})
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def _undisturbed(pid: int) -> Iterator[None]:
    with suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def _settings(
    folder: Path, broker: ScratchBroker, filters: Sequence[str], token: str, *, haste: float = 1.0
) -> str:
    law = {"slots": 1, "service_s": 8, "drain_s": 60, "lead_s": 63, "beta": 1.06}
    specs = [{"name": name, "queue": f"filter.{name}", **law} for name in filters]
    (folder / "filters.json").write_text(json.dumps({"filters": specs}))
    (folder / "tokens").write_text(token)
    _written(folder / "credentials", f"admin:{broker.admin_password}")
    listen = {"host": "127.0.0.1", "port": SERVER_PORT, "certificate": "tls.crt", "key": "tls.key"}
    return _written(
        folder / "config.json",
        {
            "listen": listen,
            "token_file": "tokens",
            "broker": {
                "nodes": [broker.prometheus_url],
                "vhost": VHOST,
                "amqp": [f"amqp://127.0.0.1:{broker.amqp_port}"],
                "events": True,
                "credentials_file": "credentials",
            },
            "sample_s": SAMPLE_S / haste,
            "windows_s": [window_s / haste for window_s in WINDOWS_S],
            "stale_s": 60,
            "filters_file": "filters.json",
        },
    )


def _proxy_settings(folder: Path, broker: ScratchBroker, token: str) -> str:
    return _written(
        folder / "proxy.json",
        {
            "port": PROXY_PORT,
            "certificate": str(folder / "tls.crt"),
            "key": str(folder / "tls.key"),
            "token": token,
            "management_url": broker.management_url,
            "user": "admin",
            "password": broker.admin_password,
        },
    )


def _written(file: Path, content: str | dict[str, Any]) -> str:
    file.touch(0o600)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def _certify(folder: Path) -> None:
    authority = pki.authority("surge-bench", validity_days=1)
    own = pki.certificate(
        "saturation",
        authority_certificate=authority.certificate,
        authority_key=authority.private_key,
        usages=["server"],
        validity_days=1,
        ip_addresses=["127.0.0.1"],
    )
    (folder / "ca.crt").write_text(authority.certificate)
    (folder / "tls.crt").write_text(own.certificate)
    (folder / "tls.key").touch(0o600)
    (folder / "tls.key").write_text(own.private_key)


def _asked(job: dict[str, Any], *paths: str) -> list[bytes]:
    """What is answered to each path on one connection; nothing at all unless all are 200."""
    context = ssl.create_default_context(cafile=job["authority"])
    seen = []
    with closing(http.client.HTTPSConnection("127.0.0.1", job["port"], context=context)) as connection:
        for path in paths:
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {job['token']}"})
                answer = connection.getresponse()
            except OSError:
                return []
            seen.append(answer.read())
            if answer.status != 200:
                return []
    return seen


def _wait(check: Callable[[], object], server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not check():
        if server.poll() is not None:
            raise RuntimeError(f"{server.args} ended with {server.returncode}: its log is above")
        if time.monotonic() > end:
            raise RuntimeError(f"waited {PATIENCE_S:g} s for an answer of {server.args}: its log is above")
        time.sleep(0.1)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
