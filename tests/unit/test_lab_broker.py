"""A broker for tests never mixes with one that is already there."""

import socket

import pytest

from lab.broker import ScratchBroker


def test_a_port_that_somebody_holds_is_named_and_nothing_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is taken; see who holds it: ss -ltnp"):
            ScratchBroker(tmp_path, port).start()
    assert not (tmp_path / "node.log").exists()
