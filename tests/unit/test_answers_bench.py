"""The bench's client: what it counts as an answer."""

import asyncio

import pytest

from lab.bench.saturation.clients import Client


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


@pytest.fixture
def client() -> Client:
    client = Client("/v1/filters/a", "token")
    client.connection_made(Wire())
    return client


def test_an_answer_in_pieces_is_one_answer(client):
    client.ask(0.0)
    for piece in (b"HTTP/1.1 200 OK\r\n", b"content-length: 9\r\n\r\n", b'{"a":', b"1.5}"):
        assert len(client.latencies_s) == 0
        client.data_received(piece)
    assert len(client.latencies_s) == 1


def test_two_answers_in_one_piece_are_two(client):
    client.ask(0.0)
    client.ask(0.0)
    client.data_received(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}HTTP/1.1 200 OK\r\n\r\n{"a":2}')
    assert len(client.latencies_s) == 2
    assert not client.due


def test_flat_out_each_answer_asks_for_the_next(client):
    client.again = True
    client.ask(0.0)
    client.data_received(b"HTTP/1.1 200 OK\r\n\r\n{}")
    assert client.transport.sent == [client.request] * 2


def test_anything_but_an_answer_is_a_failure(client):
    client.ask(0.0)
    client.data_received(b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"error":"x"}')
    assert client.failure.startswith("want status 200, got b'HTTP/1.1 503")


def test_a_closed_connection_is_a_failure(client):
    client.connection_lost(None)
    assert client.failure == "the server closed a connection: None"
