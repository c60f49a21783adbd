"""Processes under a real supervisor: how they are shown, and how they go when it was killed."""

import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from providers.surge.process import put
from providers.surge.process_spec import ProcessSpec
from surge.cli.console import errors
from surge.cli.display import Display
from surge.cli.host_processes import marked
from surge.cli.interrupts import Interrupts
from surge.cli.operation import Session
from surge.cli.processes import process_states
from surge.cli.revival import PROCESSES, dead_processes, show_dead
from surge.cli.stacks import cluster_directory
from surge.cli.state import ProcessState
from surge.cli.teardown import leftovers, sweep
from surge.model import Settings
from surge.policy.ports import Ports

PORT = 22_605
SETTINGS = Settings.parse({"stack-kind": "local", "cluster": {"name": "local"}})
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
    kill_the_supervisor(directory)
    [shown], _ = process_states(str(directory))
    assert not shown.runs
    assert sweep(root, "local")
    assert leftovers(root, "local", Ports(22_600)) == []


def test_a_directory_without_any_process_says_so(tmp_path):
    states, problems = process_states(str(tmp_path))
    assert states == []
    assert "no process is recorded" in problems[0]


def kill_the_supervisor(directory) -> None:
    [supervisor] = [process for process in marked(directory) if not process.role]
    os.kill(supervisor.pid, signal.SIGKILL)


class Engine:
    """What was asked of a stack."""

    name = "local"

    def __init__(self) -> None:
        self.refreshed: list[Any] = []

    def refresh(self, *, target: list[str], **options: Any) -> None:
        self.refreshed.append(target)

    def session(self, root, *, new: bool = False) -> Session:
        any_workspace: Any = None
        stack: Any = self
        display = Display(errors, "test", quiet=True)
        return Session(
            root, stack, any_workspace, Interrupts(), display, new, "make up", shard=False, options={}
        )


def test_an_update_is_shown_the_processes_that_nobody_starts_again_and_nothing_else(cluster):
    root, directory = cluster
    engine = Engine()
    show_dead(engine.session(root), SETTINGS)
    assert (dead_processes(root, SETTINGS), engine.refreshed) == ([], [])
    kill_the_supervisor(directory)
    show_dead(engine.session(root), SETTINGS)
    assert (dead_processes(root, SETTINGS), engine.refreshed) == (["listener"], [[PROCESSES]])


def test_a_new_stack_has_nothing_recorded_that_could_be_dead(cluster):
    root, directory = cluster
    kill_the_supervisor(directory)
    engine = Engine()
    show_dead(engine.session(root, new=True), SETTINGS)
    assert engine.refreshed == []


@pytest.mark.parametrize("state", ["FATAL", "EXITED", "STOPPED", "UNSUPERVISED", "UNKNOWN"])
def test_a_process_that_was_given_up_is_not_kept_and_one_that_backs_off_is(state):
    assert not ProcessState(name="etcd", state=state).kept
    assert ProcessState(name="etcd", state="BACKOFF").kept
