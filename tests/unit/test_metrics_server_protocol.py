"""Bytes in, bytes out: one connection to the server's protocol, with neither a socket nor TLS under it."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from metrics_server.api import Shortcut, build_app
from metrics_server.config import Limits
from metrics_server.protocol import Bounded
from metrics_server.snapshot import Row
from tests.unit.test_metrics_server_api import TOKENS, Server

A, B = "/v1/filters/a", "/v1/filters/b"
# Names the same filter; the shortcut leaves what is escaped to the application.
A_ESCAPED = "/v1/filters/%61"
PATIENCE_S = 20.0


def request(
    path: str = A, method: str = "GET", *more: str, token: bytes = TOKENS[0], version: str = "1.1"
) -> bytes:
    lines = [
        f"{method} {path} HTTP/{version}",
        "Host: saturation",
        f"Authorization: Bearer {token.decode()}",
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def filter(self) -> str:
        return json.loads(self.body)["filter"]


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def answers(self, *methods: str) -> list[Answer]:
        """Whole ones; `methods` of the requests where not all were GET."""
        rest, seen, unanswered = b"".join(self.written), [], list(methods)
        while rest:
            head, _, rest = rest.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            bare = unanswered and unanswered.pop(0) == "HEAD"
            size = 0 if bare else int(headers["content-length"])
            seen.append(Answer(int(first.split()[1]), headers, rest[:size]))
            rest = rest[size:]
        return seen


class Connection:
    """To be made where a loop runs. `shortcut`: False for a server in which every request is a task's."""

    def __init__(self, server: Server, *, shortcut: bool = True, keep_alive_s: int = 120) -> None:
        at_once = Shortcut(server.app, server.sampler) if shortcut else lambda *_: None
        config = uvicorn.Config(
            server.app,
            http=Bounded,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=keep_alive_s,
        )
        config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"Mon, 30 Nov 2026 10:00:00 GMT")]
        self.protocol = Bounded(
            limits=Limits(), at_once=at_once, config=config, server_state=self.state, app_state={}
        )
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    async def settled(self) -> None:
        """Return when everything is answered that will be."""
        async with asyncio.timeout(PATIENCE_S):
            while self.state.tasks:
                await asyncio.wait(set(self.state.tasks))

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.protocol.connection_lost(None)


def asked(server: Server, *parts: bytes, shortcut: bool = True, patient: bool = False) -> Wire:
    """The wire after these bytes on one connection; a `patient` client waits after each part."""

    async def scenario() -> Wire:
        async with Connection(server, shortcut=shortcut) as connection:
            for part in parts:
                connection.protocol.data_received(part)
                if patient:
                    await connection.settled()
            await connection.settled()
            return connection.wire

    return asyncio.run(scenario())


def one(server: Server, data: bytes, *methods: str) -> Answer:
    [answer] = asked(server, data).answers(*methods)
    return answer


@pytest.fixture
def server() -> Server:
    return fed()


@pytest.fixture(scope="module")
def lasting() -> Server:
    return fed()


def fed() -> Server:
    server = Server()
    server.fed(a=(4, 7, 10), b=(0, 0, 0))
    return server


def test_a_filters_numbers_are_one_write_before_the_loop_has_another_turn(server):
    async def scenario() -> None:
        async with Connection(server) as connection:
            connection.protocol.data_received(request())
            [written] = connection.wire.written
            assert written.startswith(b"HTTP/1.1 200 OK\r\n")
            assert connection.wire.answers()[0].filter == "a"
            assert not connection.state.tasks
            assert connection.state.total_requests == 1

    asyncio.run(scenario())


def test_the_shortcut_and_the_application_say_the_same(server):
    assert one(server, request(A)) == one(server, request(A_ESCAPED))
    assert server.app.answers.by_status[200] == 2


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (A, "HEAD", 200),
        (A, "POST", 405),
        (f"{A}?b=c", "GET", 200),
        (f"http://saturation{A}", "GET", 200),
        (f"{A}/explain", "GET", 200),
        ("/v1/filters", "GET", 200),
        ("/v1/filters/", "GET", 307),
        ("/v1/filters/c", "GET", 404),
        ("/v1/filters/a%00", "GET", 404),
        ("/v1/filters/" + "x" * 5_000, "GET", 414),
        ("/healthz", "GET", 200),
    ],
)
def test_whatever_else_is_asked_for_is_the_applications(server, path, method, status):
    answer = one(server, request(path, method), method)
    assert answer.status == status


def test_a_stale_filter_is_503(server):
    server.clock.now += 20.1
    assert one(server, request()).status == 503


def test_a_wrong_token_is_refused_counted_and_taken_from_the_bucket_once(server):
    wrong = request(token=b"wrong-token-01234567")
    seen = asked(server, *[wrong] * 21, request()).answers()
    assert [each.status for each in seen] == [401] * 20 + [429, 200]
    assert server.app.answers.by_status == {200: 1, 401: 20, 404: 0, 429: 1, 503: 0}


def test_both_tokens_are_let_in_and_no_other_scheme(server):
    basic = request().replace(b"Bearer", b"Basic")
    seen = asked(server, request(), request(token=TOKENS[1]), basic).answers()
    assert [each.status for each in seen] == [200, 200, 401]


@pytest.mark.parametrize(
    "body", ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello"]
)
def test_a_body_is_refused_and_the_connection_with_it(server, body):
    wire = asked(server, request() + request()[:-2] + body.encode())
    first, second = wire.answers()
    assert first.status == 200
    assert (second.status, second.headers["connection"]) == (413, "close")
    assert wire.closed


def test_rubbish_behind_a_request_takes_nothing_from_its_answer(server):
    wire = asked(server, request() + b"\x00\r\n\r\n")
    assert [each.status for each in wire.answers()] == [200, 400]
    assert wire.closed


@pytest.mark.parametrize(
    ("method", "version", "more"),
    [
        ("GET", "1.1", ["Connection: close"]),
        ("HEAD", "1.1", ["Connection: close"]),
        ("GET", "1.0", []),
        ("GET", "1.0", ["Connection: keep-alive"]),
    ],
)
def test_a_client_that_leaves_after_its_answer_is_told_so(server, method, version, more):
    wire = asked(server, request(), request(A, method, *more, version=version) + request(B))
    first, second = wire.answers("GET", method)
    assert "connection" not in first.headers
    assert (second.status, second.headers["connection"]) == (200, "close")
    assert wire.closed


def test_while_draining_each_answer_ends_its_connection(server):
    server.life.draining = True
    wire = asked(server, request())
    assert [(each.status, each.headers["connection"]) for each in wire.answers()] == [(200, "close")]
    assert wire.closed


def test_what_cannot_be_computed_is_500_and_in_the_log(server, monkeypatch, caplog):
    def broken(*_: object) -> bytes:
        raise ArithmeticError("of the test")

    monkeypatch.setattr(Row, "answer", broken)
    assert one(server, request()).status == 500
    assert "of the test" in caplog.text
    assert server.app.answers.by_status[200] == 0


def test_a_request_behind_one_that_takes_time_waits_for_its_turn(server):
    for parts in ([request("/metrics") + request()], [request("/metrics"), request()]):
        metrics, numbers = asked(server, *parts).answers()
        assert metrics.body.startswith(b"# HELP")
        assert numbers.filter == "a"


def test_a_client_that_does_not_read_is_written_no_more(server):
    async def scenario() -> None:
        async with Connection(server) as connection:
            connection.protocol.pause_writing()
            connection.protocol.data_received(request() + request(B))
            await asyncio.sleep(0)
            assert not connection.wire.written
            connection.protocol.resume_writing()
            await connection.settled()
            assert [each.filter for each in connection.wire.answers()] == ["a", "b"]

    asyncio.run(scenario())


def test_a_connection_stays_after_an_answer_for_as_long_as_is_set(server):
    async def scenario() -> None:
        async with Connection(server, keep_alive_s=0) as connection:
            for _ in range(3):
                connection.protocol.data_received(request())
            assert not connection.wire.closed
            async with asyncio.timeout(PATIENCE_S):
                while not connection.wire.closed:  # noqa: ASYNC110 - the transport tells nobody
                    await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_connection_whose_requests_are_all_answered_is_closed_when_the_server_leaves(server):
    async def scenario() -> None:
        async with Connection(server) as connection:
            connection.protocol.data_received(request())
            connection.protocol.shutdown()
            assert connection.wire.closed

    asyncio.run(scenario())


SENT = st.sampled_from(
    [
        request(A),
        request(B),
        request(A_ESCAPED),
        request("/v1/filters/c"),
        request("/healthz"),
        request("/readyz"),
        request(A, "POST"),
        request(A, "GET", "Content-Length: 0"),
        request(A, "GET", "Content-Length: 2") + b"{}",
        request(A, "GET", "Connection: close"),
        request(A, "GET", "Connection: keep-alive", "Expect: 100-continue"),
        request(B, version="1.0"),
        request(B, token=b"wrong-token-01234567"),
    ]
)


@given(
    requests=st.lists(SENT, max_size=8),
    cuts=st.lists(st.integers(0, 1_500), max_size=6),
    patient=st.booleans(),
)
def test_in_whatever_pieces_requests_come_each_is_answered_in_its_turn_as_without_the_shortcut(
    lasting, requests, cuts, patient
):
    def seen(*, shortcut: bool) -> tuple[list[Answer], bool, dict[int, int]]:
        lasting.app = build_app(lasting.sampler, lasting.life)
        wire = asked(lasting, *pieces(b"".join(requests), cuts), shortcut=shortcut, patient=patient)
        return wire.answers(), wire.closed, lasting.app.answers.by_status

    assert seen(shortcut=True) == seen(shortcut=False)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]
