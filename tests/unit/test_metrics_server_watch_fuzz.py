"""The watch against a broker on loopback whose replies to passive declares are damaged at random."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pika import frame, spec

from metrics_server import Config, watch
from metrics_server.watch import Watch
from surge.policy.demand import WINDOWS_S
from tests.broker.saturation_server import eventually

QUEUES = {"a": "filter.a", "ü.b": "filter.ü/b", "c": "filter.c c"}
CONSUMERS = 3
PROPERTIES: dict[str, Any] = {"capabilities": {}}


def declared(queue: str, channel: int) -> bytes:
    return frame.Method(channel, spec.Queue.DeclareOk(queue, 5, CONSUMERS)).marshal()


def closed(code: int, text: str) -> Callable[[bytes, int], bytes]:
    return lambda _, channel: frame.Method(channel, spec.Channel.Close(code, text, 50, 10)).marshal()


# Each gives what is sent for a reply. None of them can be told as a true count of another number.
DAMAGES: st.SearchStrategy[Callable[[bytes, int], bytes]] = st.one_of(
    st.integers(0, 200).map(lambda end: lambda reply, _: reply[:end] + b"end"),
    st.binary(min_size=8, max_size=300).map(lambda noise: lambda reply, _: noise),
    st.binary(min_size=1, max_size=40).map(lambda noise: lambda reply, _: reply[:-1] + noise),
    st.integers(0, 2**32 - 1).map(
        lambda method: lambda reply, _: reply[:7] + struct.pack(">I", method) + reply[11:]
    ),
    st.integers(0, 2**32 - 1).map(
        lambda size: lambda reply, _: reply[:3] + struct.pack(">I", size) + reply[7:]
    ),
    st.integers(2, 2**16 - 1).map(
        lambda other: lambda reply, _: reply[:1] + struct.pack(">H", other) + reply[3:]
    ),
    st.sampled_from([8, 4, 2, 3, 0, 255]).map(lambda kind: lambda reply, _: bytes([kind]) + reply[1:]),
    st.sampled_from(["filter.other", "filter.a", "", "ñ" * 100]).map(
        lambda queue: lambda _, channel: declared(queue + "?", channel)
    ),
    st.just(lambda reply, _: reply[:12] + b"\xff\xfe" + reply[14:]),
    st.just(lambda reply, _: reply + reply),
    st.just(lambda _, __: b""),
    st.tuples(st.integers(0, 2**16 - 1), st.text(max_size=50)).map(lambda reason: closed(*reason)),
)


class Broker:
    """Speaks as much of AMQP 0-9-1 as the watch asks for; each of `damages` spoils one reply."""

    def __init__(self, damages: list[Callable[[bytes, int], bytes]]) -> None:
        self._damages = list(damages)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @contextmanager
    def running(self) -> Iterator["Broker"]:
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    client.settimeout(5)
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.recv(8)
        client.sendall(_method(0, spec.Connection.Start(server_properties=PROPERTIES)))
        heard = b""
        while piece := client.recv(65_536):
            heard += piece
            while heard:
                size, told = frame.decode_frame(heard)
                if not size:
                    break
                heard = heard[size:]
                if isinstance(told, frame.Method) and not self._answer(client, told):
                    return

    def _answer(self, client: socket.socket, told: Any) -> bool:
        """Return whether the connection goes on."""
        method = told.method
        if isinstance(method, spec.Queue.Declare):
            reply = declared(method.queue, told.channel_number)
            if self._damages:
                reply = self._damages.pop()(reply, told.channel_number)
                client.sendall(reply)
                # What waits for the rest of a reply would wait for ever.
                return _ends_the_wait(reply, method.queue, told.channel_number)
            client.sendall(reply)
        elif type(method) in REPLIES:
            client.sendall(_method(told.channel_number, REPLIES[type(method)]()))
        return not isinstance(method, spec.Connection.Close)


REPLIES: dict[type, Callable[[], Any]] = {
    spec.Connection.StartOk: lambda: spec.Connection.Tune(100, 131_072, 0),
    spec.Connection.Open: spec.Connection.OpenOk,
    spec.Connection.Close: spec.Connection.CloseOk,
    spec.Channel.Open: spec.Channel.OpenOk,
    spec.Channel.Close: spec.Channel.CloseOk,
}


def _ends_the_wait(sent: bytes, queue: str, channel: int) -> bool:
    """Whether a client that asked for this queue on this channel can go on after these bytes."""
    with suppress(Exception):
        while sent:
            size, told = frame.decode_frame(sent)
            if not size:
                return False
            method = getattr(told, "method", None)
            if getattr(told, "channel_number", None) == channel and (
                isinstance(method, spec.Channel.Close) or getattr(method, "queue", None) == queue
            ):
                return True
            sent = sent[size:]
    return False


def _method(channel: int, method: Any) -> bytes:
    return frame.Method(channel, method).marshal()


@pytest.fixture
def config(tmp_path) -> Callable[[int], Config]:
    (tmp_path / "credentials").write_text("saturation:of-the-tests\n")
    unused = Path("unused")
    return lambda port: Config(
        "127.0.0.1", 0, None, None, unused, ("http://127.0.0.1:1",), "surge", 2, 20, WINDOWS_S, unused,
        amqp=(f"amqp://127.0.0.1:{port}",), credentials_file=tmp_path / "credentials",
    )  # fmt: skip


def shown(over: Watch) -> dict[str, float]:
    return {
        "/".join([sample.name.removeprefix("surge_saturation_"), *sample.labels.values()]): sample.value
        for family in over.collect()
        for sample in family.samples
    }


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages=st.lists(DAMAGES, min_size=1, max_size=6))
def test_no_reply_ends_the_watch_or_is_told_as_a_wrong_number(config, damages):
    whole = {"watch_up": 1, "missing_queues": 0, **{f"consumer_drift/{name}": 1 for name in QUEUES}}
    with pytest.MonkeyPatch.context() as patch, Broker(damages).running() as broker:
        patch.setattr(watch, "ROUND_S", 0.03)
        patch.setattr(watch, "AGAIN_S", 0.005)
        over = Watch(
            config(broker.port), ssl.create_default_context(), lambda: QUEUES, lambda _: CONSUMERS + 1
        )
        wrong = []

        def healed() -> bool:
            seen = shown(over)
            wrong.extend(item for item in seen.items() if "drift" in item[0] and item[1] != 1)
            return seen == whole

        with over.running():
            eventually(healed, f"{whole}, now {shown(over)}")
        assert wrong == []


def test_a_fault_of_our_own_is_told_and_the_watch_begins_anew(config, monkeypatch):
    monkeypatch.setattr(watch, "ROUND_S", 0.03)
    monkeypatch.setattr(watch, "AGAIN_S", 0.3)
    said: list[str] = []
    monkeypatch.setattr(watch, "log", SimpleNamespace(info=lambda *_, **__: None, exception=said.append))
    faults = [ArithmeticError("of the test")] * 2

    def sampled(_: str) -> float:
        if faults:
            raise faults.pop()
        return CONSUMERS

    with Broker([]).running() as broker:
        over = Watch(config(broker.port), ssl.create_default_context(), lambda: QUEUES, sampled)
        with over.running():
            eventually(lambda: not faults and shown(over)["watch_up"] == 0, "the end of the second try")
            assert "consumer_drift/a" not in shown(over)
            eventually(lambda: shown(over).get("consumer_drift/a") == 0, "a round")
    assert said == ["watch failed, it begins anew"] * 2
