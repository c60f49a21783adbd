"""A real saturation server for the tests beside this file, on loopback and behind TLS."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.certificates import certify

__all__ = ["TOKEN", "Server", "eventually"]

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-tests-0123456789"


def eventually(check: Callable[[], Any], what: str, patience_s: float = 30.0) -> Any:
    """Return the first true answer of `check`."""
    end, seen = time.monotonic() + patience_s, None
    while time.monotonic() < end:
        seen = check()
        if seen:
            return seen
        time.sleep(0.1)
    raise AssertionError(f"never seen: {what}; last: {seen!r}")


class Resources(NamedTuple):
    """What a process holds."""

    rss_mib: float
    descriptors: int


class Server:
    """`python -m metrics_server` in a process of its own, behind TLS."""

    def __init__(
        self,
        folder: Path,
        port: int,
        node_url: str,
        *,
        sample_s: float = 0.25,
        stale_s: float = 2.5,
        **settings: dict[str, Any],
    ) -> None:
        self.folder, self.port, self.stale_s = folder, port, stale_s
        certify(folder)
        (folder / "tokens").write_text(TOKEN + "\n")
        self.use()
        config: dict[str, Any] = {
            "listen": {"host": "127.0.0.1", "port": port, "certificate": "tls.crt", "key": "tls.key"},
            "token_file": "tokens",
            "broker": {"nodes": [node_url], "vhost": "surge"},
            "sample_s": sample_s,
            "stale_s": stale_s,
            "windows_s": [2, 8, 40],
            "filters_file": "filters.json",
        }
        for key, values in settings.items():
            config[key] = config.get(key, {}) | values
        (folder / "config.json").write_text(json.dumps(config))
        self.context = ssl.create_default_context(cafile=folder / "tls.crt")
        self.process: subprocess.Popen[bytes] | None = None

    def use(self, *names: str, sets: Sequence[Mapping[str, Any]] = (), slots: int = 1) -> None:
        """Replace the filters file."""
        law = {"slots": slots, "service_s": 1, "drain_s": 8, "beta": 1.06}
        entries = [{"name": name, "queue": f"filter.{name}", **law} for name in names]
        fresh = self.folder / "filters.json.new"
        fresh.write_text(json.dumps({"filters": entries, "sets": list(sets)}))
        fresh.rename(self.folder / "filters.json")

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "metrics_server", "--config", str(self.folder / "config.json")]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        eventually(lambda: _listens(self.port), "the server")

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def resources(self) -> Resources:
        assert self.process is not None
        folder = Path(f"/proc/{self.process.pid}")
        pages = int((folder / "statm").read_text().split()[1])
        return Resources(
            rss_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            descriptors=len(list((folder / "fd").iterdir())),
        )

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let the process sleep while the block runs, as a machine that is paused does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "server.log").read_text().splitlines()]

    def get(self, path: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Return the status and the JSON of `path`."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5, context=self.context) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def samples(self, name: str) -> dict[str, float]:
        """Return the metric's values by filter; of one without labels by the empty name."""
        url = f"https://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=5, context=self.context) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            sample.labels.get("filter", ""): sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"surge_saturation_{name}"
        }

    def shows(self, name: str, **wanted: float) -> dict[str, Any]:
        """Return the filter's answer once it has the wanted numbers."""

        def check() -> dict[str, Any] | None:
            status, body = self.get(f"/v1/filters/{name}")
            return body if status == 200 and wanted.items() <= body.items() else None

        return eventually(check, f"{name} with {wanted}, now {self.get(f'/v1/filters/{name}')}", 15)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
