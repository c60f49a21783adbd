"""Processes under a real supervisor: how they are shown, and how they go when it was killed."""

import os
import signal
import sys
import threading
import time

import pytest

from providers.surge.process import put
from providers.surge.process_spec import ProcessSpec
from surge.cli.host_processes import marked
from surge.cli.processes import process_states
from surge.cli.stacks import cluster_directory
from surge.cli.teardown import leftovers, sweep
from surge.policy.ports import Ports

PORT = 23_605
LISTENER = (
    "import socket,time\n"
    f"s=socket.socket(); s.setsockopt(1,2,1); s.bind(('127.0.0.1',{PORT})); s.listen(); time.sleep(300)"
)


@pytest.fixture
def cluster(tmp_path):
    """A directory with one listening process under its supervisor."""
    directory = cluster_directory(tmp_path, "local")
    spec = ProcessSpec.model_validate(
        {
            "directory": str(directory),
            "process": "listener",
            "command": [sys.executable, "-c", LISTENER],
            "environment": {},
            "files": {},
            "live_files": {},
            "ports": [PORT],
            "ready": {"tcp": f"127.0.0.1:{PORT}"},
            "restart": "always",
            "stop_signal": "TERM",
            "stop_timeout_s": 5,
            "log_max_bytes": 1_000_000,
        }
    )
    try:
        put(spec, stale=[], cancelled=threading.Event(), tell=lambda _: None)
        yield tmp_path, directory
    finally:
        sweep(tmp_path, "local")


def test_a_process_is_shown_with_its_state_and_where_it_really_listens(cluster):
    _, directory = cluster
    # For its first second the supervisor calls it starting.
    for _ in range(100):
        [shown], problems = process_states(str(directory))
        if shown.runs:
            break
        time.sleep(0.1)
    assert problems == []
    assert (shown.name, shown.runs, list(shown.ports)) == ("listener", True, [PORT])


def test_after_a_kill_of_the_supervisor_nothing_is_called_running_and_all_of_it_can_go(cluster):
    root, directory = cluster
    [supervisor] = [process for process in marked(directory) if not process.role]
    os.kill(supervisor.pid, signal.SIGKILL)
    [shown], _ = process_states(str(directory))
    assert not shown.runs
    assert sweep(root, "local")
    assert leftovers(root, "local", Ports(23_600)) == []


def test_a_directory_without_any_process_says_so(tmp_path):
    states, problems = process_states(str(tmp_path))
    assert states == []
    assert "no process is recorded" in problems[0]
