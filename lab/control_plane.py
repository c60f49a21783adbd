"""A scratch control plane for tests: real etcd and kube-apiserver in a folder of their own.

With `workloads` also the controller-manager, the scheduler and KWOK, which plays the nodes.
Own PKI, own ports, everything on loopback; children end with the `with` block.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from providers.surge import pki
from surge.policy import control_plane
from surge.policy.ports import Ports

__all__ = ["TOOLS", "ScratchControlPlane", "scratch_control_plane", "write_private"]

TOOLS = Path(__file__).parent.parent / ".tools" / "bin"
START_S = 60
STOP_S = 20
DAYS = 7


@dataclass
class ScratchControlPlane:
    """kubeconfig: YAML (JSON) text of an administrator; kubeconfig_path: the same in a file of mode 0600."""

    # What it uses of its block: etcd (2), apiserver, controller-manager, scheduler, KWOK.
    PORTS: ClassVar[int] = 6

    ports: Ports
    directory: Path
    workloads: bool
    kubeconfig: str = field(init=False, repr=False)
    _children: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    @property
    def kubeconfig_path(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def hami(self) -> str | None:
        """The address of an extender that its scheduler shall ask."""
        return None

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports.apiserver}"

    def start(self) -> None:
        """Raises RuntimeError, with the end of its log, when a part does not come up within 60 s."""
        self._pki = _Pki(self.directory)
        self.kubeconfig = json.dumps(self._kubeconfig("admin", ["system:masters"]))
        write_private(self.kubeconfig_path, self.kubeconfig)
        tools = str(TOOLS)
        for name, content in self._pki.etcd_files().items():
            write_private(self._folder("etcd") / name, content)
        self._start("etcd", [*control_plane.etcd(tools, self.ports), "--unsafe-no-fsync"])
        self.start_apiserver()
        if self.workloads:
            self.start_workloads()

    def start_workloads(self, *, hpa_sync_s: float = 2.0) -> None:
        """The controller-manager, the scheduler and KWOK. They learn of a kind made later after 30 s."""
        tools = str(TOOLS)
        for name, content in self._pki.controller_files().items():
            write_private(self._folder("controller-manager") / name, content)
        manager = control_plane.controller_manager(
            tools, self.ports, hpa_sync_s=hpa_sync_s, hpa_down_window_s=10
        )
        self._start("controller-manager", manager, user="system:kube-controller-manager")
        write_private(
            self._folder("scheduler") / "config.json", control_plane.scheduler_configuration(self.hami)
        )
        self._start("scheduler", control_plane.scheduler(tools, self.ports), user="system:kube-scheduler")
        write_private(
            self._folder("kwok") / "stages.yaml",
            (Path(__file__).parent / "control_plane_stages.yaml").read_text(),
        )
        self._start("kwok", control_plane.kwok(tools, self.ports), user="kwok", groups=["system:masters"])

    def start_apiserver(self) -> None:
        folder = self._folder("apiserver")
        for name, content in self._pki.server_files().items():
            write_private(folder / name, content)
        self._start("apiserver", control_plane.apiserver(str(TOOLS), self.ports))
        self._until(lambda: self.get("/readyz") == b"ok", "apiserver")

    def stop_apiserver(self) -> None:
        """The apiserver alone, as in an outage; `start_apiserver` brings it back with all its objects."""
        self._end("apiserver")

    def stop(self) -> None:
        """Clients first: an apiserver that still has watches takes its time to go."""
        for name in [name for name in self._children if name not in {"apiserver", "etcd"}]:
            self._end(name)
        for name in ("apiserver", "etcd"):
            self._end(name)

    def get(self, path: str) -> bytes:
        """The body of a GET as administrator. Raises OSError."""
        request = urllib.request.Request(self.server + path)  # noqa: S310
        with urllib.request.urlopen(request, context=self._pki.client_context, timeout=5) as answer:  # noqa: S310
            return answer.read()

    def kubeconfig_of(self, user: str) -> str:
        """Text of the kubeconfig of a user without any group."""
        return json.dumps(self._kubeconfig(user, []))

    def rss_mib(self) -> dict[str, int]:
        """Resident MiB of each part."""
        return {name: _rss_mib(child.pid) for name, child in self._children.items()}

    def _kubeconfig(self, user: str, groups: list[str]) -> dict[str, Any]:
        issued = self._pki.issue(user, groups)
        parts = (self._pki.ca, issued.certificate, issued.private_key)
        ca, certificate, key = (b64encode(pem.encode()).decode() for pem in parts)
        return control_plane.kubeconfig(self.server, ca, certificate, key, name=user)

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        return folder

    def _start(
        self,
        name: str,
        command: list[str],
        *,
        user: str = "",
        groups: list[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder = self._folder(name)
        if user:
            write_private(folder / "kubeconfig", json.dumps(self._kubeconfig(user, groups or [])))
        with (folder / "log").open("ab") as log:
            arguments = [
                part.replace("{dir}", str(folder)).replace("{root}", str(self.directory)) for part in command
            ]
            # pdeathsig: a test that is killed takes its control plane with it.
            self._children[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **(environment or {})},
            )

    def _end(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _until(self, ready: Any, name: str) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if ready():
                    return
            dead = [part for part, child in self._children.items() if child.poll() is not None]
            if dead:
                name = dead[0]
                break
            time.sleep(0.1)
        tail = (self.directory / name / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{name} did not come up within {START_S} s; the end of its log:\n{tail}")


Plane = TypeVar("Plane", bound=ScratchControlPlane)


@contextlib.contextmanager
def scratch_control_plane(
    base_port: int, *, workloads: bool = False, kind: type[Plane] = ScratchControlPlane
) -> Iterator[Plane]:
    """A running control plane, on the first free ports from base_port on. Its folder goes away with it."""
    directory = Path(tempfile.mkdtemp(prefix="surge-control-plane-"))
    plane = kind(Ports(_free(base_port, kind.PORTS)), directory, workloads)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(directory)


def _free(base_port: int, ports: int) -> int:
    """The first of ten places, `ports` apart, where nobody listens: two runs of the tests do not meet."""
    for place in range(base_port, base_port + 10 * ports, ports):
        with contextlib.ExitStack() as held:
            try:
                for port in range(place, place + ports):
                    listener = held.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return place
    raise RuntimeError(f"ports {base_port} to {base_port + 10 * ports} are taken: see `ss -ltnp`")


class _Pki:
    """A CA for clients and the server, one each for aggregation and etcd, a key for service accounts."""

    def __init__(self, directory: Path) -> None:
        self._ca = pki.authority("surge-scratch", validity_days=DAYS)
        self._front_ca = pki.authority("surge-scratch-front-proxy", validity_days=DAYS)
        self._etcd_ca = pki.authority("surge-scratch-etcd", validity_days=DAYS)
        self._accounts = pki.authority("service-accounts", validity_days=DAYS, key_algorithm="rsa-2048")
        probe, files = self.issue("probe", ["system:masters"]), directory / "probe"
        write_private(files, probe.certificate + probe.private_key)
        self.client_context = ssl.create_default_context(cadata=self._ca.certificate)
        self.client_context.load_cert_chain(files)
        files.unlink()

    @property
    def ca(self) -> str:
        return self._ca.certificate

    def issue(self, user: str, groups: list[str]) -> pki.Issued:
        return _signed(self._ca, user, organizations=groups, usages=["client"])

    def serve(self, names: list[str]) -> pki.Issued:
        """For both ends of a pair that shows its certificate to each other."""
        return _signed(
            self._ca, names[0], usages=["server", "client"], dns_names=names, ip_addresses=["127.0.0.1"]
        )

    def etcd_files(self) -> dict[str, str]:
        tls = _signed(self._etcd_ca, "etcd", usages=["server", "client"], ip_addresses=["127.0.0.1"])
        return {"tls.crt": tls.certificate, "tls.key": tls.private_key, "ca.crt": self._etcd_ca.certificate}

    def server_files(self) -> dict[str, str]:
        names = control_plane.API_SERVER_NAMES
        addresses = ["127.0.0.1", "10.96.0.1"]
        tls = _signed(self._ca, "apiserver", usages=["server"], dns_names=names, ip_addresses=addresses)
        proxy = _signed(self._front_ca, "front-proxy-client", usages=["client"])
        etcd = _signed(self._etcd_ca, "kube-apiserver", usages=["client"])
        return {
            "etcd-ca.crt": self._etcd_ca.certificate,
            "etcd-client.crt": etcd.certificate,
            "etcd-client.key": etcd.private_key,
            "tls.crt": tls.certificate,
            "tls.key": tls.private_key,
            "front-proxy-ca.crt": self._front_ca.certificate,
            "front-proxy-client.crt": proxy.certificate,
            "front-proxy-client.key": proxy.private_key,
            "service-accounts.crt": self._accounts.certificate,
            **self.controller_files(),
        }

    def controller_files(self) -> dict[str, str]:
        return {"ca.crt": self.ca, "service-accounts.key": self._accounts.private_key}


def _signed(authority: pki.Issued, common_name: str, **request: Any) -> pki.Issued:
    return pki.certificate(
        common_name,
        authority_certificate=authority.certificate,
        authority_key=authority.private_key,
        validity_days=DAYS,
        **request,
    )


def write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


def _rss_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024
