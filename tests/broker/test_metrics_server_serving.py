"""The serving side of a real saturation server in front of a real node: doors, bounds, rotation, its end."""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lab.broker import ScratchBroker
from tests.broker.saturation_server import TOKEN, Server, eventually
from tests.certificates import certify

pytestmark = pytest.mark.broker

BASE_PORT = 23_440
PORT = BASE_PORT + 10
FILTERS = ("one", "two")
PATH = "/v1/filters/one"
FRESH = "b-token-of-the-tests-9876543210"


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("node"), BASE_PORT) as node:
        node.declare(FILTERS)
        yield node


@pytest.fixture
def serve(tmp_path, node) -> Iterator[Callable[..., Server]]:
    """Start a server with these settings on top of the usual ones."""
    with ExitStack() as running:

        def serve(**settings: dict[str, Any]) -> Server:
            server = Server(tmp_path, PORT, node.prometheus_url, **settings)
            server.use(*FILTERS)
            server.start()
            running.callback(end, server)
            return server

        yield serve


def end(server: Server) -> None:
    if server.process is not None and server.process.poll() is None:
        assert server.stop() == 0


def trusting(client: Path | None = None) -> ssl.SSLContext:
    """A client's context that takes any server; `client`: its certificate, with its key beside it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if client is not None:
        context.load_cert_chain(client, client.with_suffix(".key"))
    return context


class Connection:
    """A kept-alive connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.http = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=10, context=context)
        self.http.connect()

    def get(self, path: str = PATH, token: str = TOKEN, **headers: str) -> int:
        self.http.request("GET", path, headers={"Authorization": f"Bearer {token}", **headers})
        answer = self.http.getresponse()
        answer.read()
        return answer.status

    @property
    def serial(self) -> int:
        """Of the server's certificate."""
        shown = self.http.sock.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).serial_number

    def close(self) -> None:
        self.http.close()


def status(context: ssl.SSLContext) -> int | str:
    """What one request on a new connection gets: its status or why there is none."""
    try:
        with closing(Connection(context)) as connection:
            return connection.get()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


def is_refused(context: ssl.SSLContext) -> bool:
    return isinstance(status(context), str)


def raw(*parts: bytes, until_closed: bool = True) -> bytes:
    """Send these bytes over TLS; return what comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", PORT), 10) as tcp, trusting().wrap_socket(tcp) as tls:
        seen = b""
        try:
            for part in parts:
                tls.sendall(part)
            while until_closed and (more := tls.recv(65_536)):
                seen += more
        except (ConnectionError, ssl.SSLError):
            pass
        return seen


def said(server: Server, event: str) -> Callable[[], bool]:
    return lambda: any(line["event"] == event for line in server.log())


def test_a_rotated_certificate_is_shown_to_new_connections_and_open_ones_live_on(serve):
    server = serve()
    server.shows("one", ready=0)
    with closing(Connection(trusting())) as kept:
        first = kept.serial
        fresh = certify(server.folder, "fresh")
        (server.folder / "fresh.crt").rename(server.folder / "tls.crt")
        eventually(said(server, "file refused, the last good one stays"), "the refusal of half a pair")
        assert kept.get() == 200
        with closing(Connection(trusting())) as meanwhile:
            assert meanwhile.serial == first
        (server.folder / "fresh.key").rename(server.folder / "tls.key")
        eventually(said(server, "certificate reloaded"), "the new pair")
        with closing(Connection(trusting())) as new:
            assert new.serial == fresh != first
            assert new.get() == 200
        assert (kept.get(), kept.serial) == (200, first)


def test_only_certificates_of_the_clients_authority_are_let_in_and_it_rotates_too(serve, tmp_path):
    for name in ("ours", "theirs"):
        certify(tmp_path, name)
    ours, theirs = trusting(tmp_path / "ours.crt"), trusting(tmp_path / "theirs.crt")
    authority = tmp_path / "authority.crt"
    authority.write_bytes((tmp_path / "ours.crt").read_bytes())
    server = serve(listen={"client_ca": "authority.crt"})
    eventually(lambda: status(ours) == 200, "an answer")
    assert is_refused(trusting())
    assert is_refused(theirs)
    with closing(Connection(ours)) as kept:
        assert kept.get() == 200
        authority.write_bytes((tmp_path / "theirs.crt").read_bytes())
        eventually(said(server, "certificate reloaded"), "the new authority")
        assert status(theirs) == 200
        assert is_refused(ours)
        assert kept.get() == 200


@pytest.mark.parametrize(("version", "let_in"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_starts_at_1_2(serve, version, let_in):
    serve()
    context = trusting()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert is_refused(context) is not let_in


def test_tokens_rotate_without_a_failed_poll(serve):
    server = serve()
    server.shows("one", ready=0)
    token, seen, stop = [TOKEN], [], threading.Event()

    def poll() -> None:
        with closing(Connection(trusting())) as connection:
            while not stop.is_set():
                seen.append(connection.get(token=token[0]))

    def replace(*tokens: str) -> None:
        before = server.log()
        (server.folder / "tokens").write_text("\n".join(tokens))
        eventually(
            lambda: sum(line["event"] == "tokens reloaded" for line in server.log()[len(before) :]) == 1,
            "the new tokens",
        )

    polling = threading.Thread(target=poll)
    polling.start()
    replace(TOKEN, FRESH)
    token[0] = FRESH
    count = len(seen)
    eventually(lambda: len(seen) > count + 1, "a poll with the new token")
    replace(FRESH)
    count = len(seen)
    eventually(lambda: len(seen) > count + 1, "a poll after the old one's end")
    stop.set()
    polling.join()
    assert set(seen) == {200}
    assert server.get(PATH)[0] == 401


def test_a_head_a_path_or_a_body_that_is_too_much_is_refused_and_the_server_lives(serve):
    server = serve()
    server.shows("one", ready=0)
    get = f"GET {PATH} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    assert raw(get, b"X: ", b"x" * 20_000, b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert raw(get, *[b"X: y\r\n"] * 4_000).startswith(b"HTTP/1.1 431 ")
    assert raw(b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(
        b"HTTP/1.1 414 "
    )
    body = b"hello"
    assert raw(get, b"Content-Length: 5\r\n\r\n", body).startswith(b"HTTP/1.1 413 ")
    assert raw(get, b"Transfer-Encoding: chunked\r\n\r\n5\r\n", body).startswith(b"HTTP/1.1 413 ")
    assert raw(b"\x00\x01\x02 rubbish\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    answer = raw(
        f"HEAD {PATH} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert server.get(PATH)[0] == 200


def test_a_flood_of_wrong_tokens_is_429_and_keda_does_not_feel_it(serve):
    server = serve(limits={"refusals_per_s": 1})
    server.shows("one", ready=0)
    seen = []
    for _ in range(30):
        seen.append(server.get(PATH, token="c" * 30)[0])
        assert server.get(PATH)[0] == 200
    assert set(seen) == {401, 429}


def test_one_connection_too_many_is_closed_and_the_others_are_served(serve):
    server = serve(limits={"connections": 3})
    with ExitStack() as closing_all:
        held = [closing_all.enter_context(closing(Connection(trusting()))) for _ in range(3)]
        eventually(lambda: held[0].get() == 200, "an answer")
        assert is_refused(trusting())
        assert [each.get() for each in held] == [200] * 3
        eventually(said(server, "connection closed, there are too many"), "a line about it")
        held[0].close()
        eventually(lambda: status(trusting()) == 200, "the free place")


def test_connections_that_stay_silent_shut_nobody_out_and_are_closed(serve):
    server = serve(limits={"connections": 3})
    server.shows("one", ready=0)
    with ExitStack() as closing_all:
        kept = closing_all.enter_context(closing(Connection(trusting())))
        assert kept.get() == 200
        silent = [
            closing_all.enter_context(socket.create_connection(("127.0.0.1", PORT), 30)) for _ in range(20)
        ]
        assert status(trusting()) == 200
        assert kept.get() == 200
        assert [each.recv(1) for each in silent] == [b""] * 20
        assert kept.get() == 200


def test_no_request_that_was_accepted_fails_while_the_server_leaves(serve):
    server = serve()
    server.shows("one", ready=0)
    answers, failures = [], []

    def poll() -> None:
        while True:
            try:
                connection = Connection(trusting())
            except OSError:
                return
            try:
                while connection.http.sock is not None:
                    answers.append(connection.get())
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                return

    polling = [threading.Thread(target=poll) for _ in range(8)]
    for each in polling:
        each.start()
    eventually(lambda: len(answers) > 200, "load")
    assert server.stop() == 0
    for each in polling:
        each.join()
    assert (set(answers), failures) == ({200}, [])
    assert [line["event"] for line in server.log()][-2:] == ["draining", "ended"]


def test_no_token_and_no_key_is_ever_written(serve):
    server = serve()
    server.shows("one", ready=0)
    for path in (PATH, f"{PATH}/explain", f"/v1/filters/{TOKEN}", f"/{TOKEN}", "/metrics"):
        server.get(path, token=FRESH) if path != "/metrics" else None
        server.get(path) if path != "/metrics" else None
    raw(f"GET {PATH} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n".encode())
    raw(f"{TOKEN} {TOKEN} {TOKEN}\r\n\r\n".encode())
    (server.folder / "tokens").write_text(f"{TOKEN}\n{FRESH}\n{FRESH}x\n")
    (server.folder / "tls.key").write_text(TOKEN)
    eventually(
        lambda: {"tokens", "certificate"} <= {line.get("what") for line in server.log()}, "two refusals"
    )
    assert server.stop() == 0
    text = (server.folder / "server.log").read_text()
    assert not re.search(f"{TOKEN}|{FRESH}|PRIVATE|Traceback", text)
