"""What the event loop reads and writes through the server's TLS, in memory."""

import ssl
import tracemalloc
from pathlib import Path

import pytest

from metrics_server.tls import RECORD, Rotating
from tests.certificates import certify

# What uvloop asks for at a time.
ASKED = 256 * 1024


class Pair:
    """A client and the server after their handshake."""

    def __init__(self, folder: Path) -> None:
        certify(folder)
        trust = ssl.create_default_context(cafile=folder / "tls.crt")
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = trust.wrap_bio(down, up, server_hostname="127.0.0.1")
        self.server = Rotating(folder / "tls.crt", folder / "tls.key", None).wrap_bio(
            up, down, server_side=True
        )
        shaking = [self.client, self.server]
        while shaking:
            side = shaking.pop(0)
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                shaking.append(side)


@pytest.fixture
def pair(tmp_path) -> Pair:
    return Pair(tmp_path)


def test_what_came_in_several_records_is_read_whole_a_record_at_a_time(pair):
    sent = bytes(range(256)) * 200
    pair.client.write(sent)
    seen = []
    while sum(map(len, seen)) < len(sent):
        seen.append(pair.server.read(ASKED))
    assert b"".join(seen) == sent
    assert max(map(len, seen)) <= RECORD


def test_a_small_request_is_not_read_into_a_buffer_of_what_the_loop_asks_for(pair):
    pair.client.write(b"GET / HTTP/1.1\r\n\r\n")
    tracemalloc.start()
    try:
        assert pair.server.read(ASKED) == b"GET / HTTP/1.1\r\n\r\n"
        assert tracemalloc.get_traced_memory()[1] < 2 * RECORD
    finally:
        tracemalloc.stop()


def test_a_buffer_of_the_callers_is_filled_as_well(pair):
    pair.client.write(b"hello")
    buffer = bytearray(9)
    assert pair.server.read(len(buffer), buffer) == 5
    assert buffer == b"hello\0\0\0\0"
