"""A scratch control plane for tests: real etcd and kube-apiserver in a folder of their own.

With `workloads` also the controller-manager, the scheduler and KWOK, which plays the nodes.
Own PKI, own ports, everything on loopback; children end with the `with` block.
"""

import contextlib
import datetime
import json
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from surge.policy import control_plane
from surge.policy.ports import Ports

__all__ = ["ScratchControlPlane", "scratch_control_plane"]

TOOLS = Path(__file__).parent.parent / ".tools" / "bin"
START_S = 60
STOP_S = 20
# What a control plane uses of its block: etcd (2), apiserver, controller-manager, scheduler, KWOK.
PORTS = 6

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class ScratchControlPlane:
    """kubeconfig: YAML (JSON) text of an administrator; kubeconfig_path: the same in a file of mode 0600."""

    ports: Ports
    directory: Path
    workloads: bool
    kubeconfig: str = field(init=False, repr=False)
    _children: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)

    @property
    def kubeconfig_path(self) -> Path:
        return self.directory / "kubeconfig"

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.ports.apiserver}"

    def start(self) -> None:
        """Raises RuntimeError, with the end of its log, when a part does not come up within 60 s."""
        self._pki = _Pki(self.directory)
        self.kubeconfig = json.dumps(self._kubeconfig("admin", ["system:masters"]))
        _write(self.kubeconfig_path, self.kubeconfig)
        tools = str(TOOLS)
        self._start("etcd", [*control_plane.etcd(tools, self.ports), "--unsafe-no-fsync"])
        self.start_apiserver()
        if not self.workloads:
            return
        manager = control_plane.controller_manager(tools, self.ports, hpa_sync_s=2, hpa_down_window_s=10)
        self._start("controller-manager", manager, user="system:kube-controller-manager")
        self._start("scheduler", control_plane.scheduler(tools, self.ports), user="system:kube-scheduler")
        _write(
            self._folder("kwok") / "stages.yaml",
            (Path(__file__).parent / "control_plane_stages.yaml").read_text(),
        )
        self._start("kwok", control_plane.kwok(tools, self.ports), user="kwok", groups=["system:masters"])

    def start_apiserver(self) -> None:
        folder = self._folder("apiserver")
        self._pki.server_files(folder)
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

    def rss_mib(self) -> dict[str, int]:
        """Resident MiB of each part."""
        return {name: _rss_mib(child.pid) for name, child in self._children.items()}

    def _kubeconfig(self, user: str, groups: list[str]) -> dict[str, Any]:
        certificate, key = self._pki.issue(user, groups)
        ca, *client = (b64encode(pem).decode() for pem in (self._pki.ca_pem, certificate, key))
        return control_plane.kubeconfig(self.server, ca, *client, name=user)

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        return folder

    def _start(
        self, name: str, command: list[str], *, user: str = "", groups: list[str] | None = None
    ) -> None:
        folder = self._folder(name)
        if user:
            _write(folder / "kubeconfig", json.dumps(self._kubeconfig(user, groups or [])))
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


@contextlib.contextmanager
def scratch_control_plane(base_port: int, *, workloads: bool = False) -> Iterator[ScratchControlPlane]:
    """A running control plane, on the first free ports from base_port on. Its folder goes away with it."""
    base_port = _free(base_port)
    directory = Path(tempfile.mkdtemp(prefix="surge-control-plane-"))
    plane = ScratchControlPlane(Ports(base_port), directory, workloads)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(directory)


def _free(base_port: int) -> int:
    """The first of ten places, PORTS apart, where nobody listens: two runs of the tests do not meet."""
    for place in range(base_port, base_port + 10 * PORTS, PORTS):
        with contextlib.ExitStack() as held:
            try:
                for port in range(place, place + PORTS):
                    listener = held.enter_context(socket.socket())
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return place
    raise RuntimeError(f"ports {base_port} to {base_port + 10 * PORTS} are taken: see `ss -ltnp`")


class _Pki:
    """A CA for clients and the server, another one for the aggregation layer."""

    def __init__(self, directory: Path) -> None:
        self._key, self._ca = _authority("surge-scratch")
        self._front_key, self._front_ca = _authority("surge-scratch-front-proxy")
        self.ca_pem = _pem(self._ca)
        certificate, key = self.issue("probe", ["system:masters"])
        files = directory / "probe"
        _write(files, (certificate + key).decode())
        self.client_context = ssl.create_default_context(cadata=self.ca_pem.decode())
        self.client_context.load_cert_chain(files)
        files.unlink()

    def issue(self, user: str, groups: list[str]) -> tuple[bytes, bytes]:
        return _leaf(self._ca, self._key, user, groups, [])

    def server_files(self, folder: Path) -> None:
        names = [*control_plane.API_SERVER_NAMES, "127.0.0.1", "10.96.0.1"]
        tls, key = _leaf(self._ca, self._key, "kube-apiserver", [], names)
        proxy, proxy_key = _leaf(self._front_ca, self._front_key, "front-proxy-client", [], [])
        files = {
            "tls.crt": tls,
            "tls.key": key,
            "ca.crt": self.ca_pem,
            "front-proxy-ca.crt": _pem(self._front_ca),
            "front-proxy-client.crt": proxy,
            "front-proxy-client.key": proxy_key,
        }
        if not (folder / "service-accounts.key").exists():
            accounts = rsa.generate_private_key(65537, 2048)
            public = accounts.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            files |= {"service-accounts.key": _key_pem(accounts), "service-accounts.crt": public}
        for name, content in files.items():
            _write(folder / name, content.decode())
        for other in ("controller-manager",):
            (folder.parent / other).mkdir(exist_ok=True)
            for name in ("service-accounts.key", "ca.crt"):
                _write(folder.parent / other / name, (folder / name).read_text())


def _authority(name: str) -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def _leaf(
    ca: x509.Certificate, ca_key: Key, user: str, groups: list[str], names: list[str]
) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(subject, ca.subject, key).add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if names:
        alternatives = [
            x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _pem(builder.sign(ca_key, hashes.SHA256())), _key_pem(key)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=7))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content)


def _rss_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024
