"""Locks, ports, permissions and leftovers: what is ours, and what must be left alone."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from providers.surge.folders import claim
from surge.cli.abandoned import abandoned, end_abandoned
from surge.cli.console import Refusal
from surge.cli.host_processes import HostProcess, listeners, marked, port_is_free, stop, strangers
from surge.cli.interrupts import Interrupts
from surge.cli.locks import Lock, clear_stale, judge, locks_of
from surge.cli.preflight import (
    ROOM_BYTES,
    TOOLS,
    check,
    missing_tools,
    permission_problems,
    port_problems,
    room_problem,
    stranger_problems,
)
from surge.cli.teardown import forget, leftovers, remove_empty, sweep
from surge.policy.ports import Ports

ROOT = Path(__file__).parents[2]
PORTS = Ports(22_600)


def lock(tmp_path, **changes) -> Lock:
    return Lock(
        **{"path": tmp_path / "1.json", "pid": 7, "user": "me", "host": "here", "since": "now", **changes}
    )


@pytest.mark.parametrize(
    ("changes", "alive", "verdict"),
    [
        ({}, False, "stale"),
        ({}, True, "alive"),
        ({"user": "you"}, False, "foreign"),
        ({"host": "there"}, False, "foreign"),
        ({"pid": 0}, False, "unreadable"),
    ],
)
def test_only_a_lock_of_our_own_dead_engine_may_go(tmp_path, changes, alive, verdict):
    judged = judge(lock(tmp_path, **changes), host="here", user="me", engine_alive=lambda _: alive)
    assert judged == verdict


def write_lock(state, **changes):
    folder = state / ".pulumi" / "locks" / "organization" / "surge" / "local"
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pid": 2**22 + 1, "username": getpass.getuser(), "hostname": socket.gethostname()}
    path = folder / "1.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_a_lock_left_behind_is_removed_and_said(tmp_path):
    path = write_lock(tmp_path)
    [line] = clear_stale(tmp_path, "surge", "local")
    assert "left behind" in line
    assert not path.exists()
    assert locks_of(tmp_path, "surge", "local") == []


def test_a_half_written_lock_is_removed(tmp_path):
    path = write_lock(tmp_path)
    path.write_text('{"pid":')
    clear_stale(tmp_path, "surge", "local")
    assert not path.exists()


def test_a_pid_that_now_belongs_to_another_program_does_not_keep_the_lock(tmp_path):
    path = write_lock(tmp_path, pid=os.getpid())
    clear_stale(tmp_path, "surge", "local")
    assert not path.exists()


def test_a_lock_of_somebody_else_is_refused_with_the_way_out(tmp_path):
    path = write_lock(tmp_path, username="somebody-else")
    with pytest.raises(Refusal, match="locked by somebody-else") as refusal:
        clear_stale(tmp_path, "surge", "local")
    assert path.exists()
    assert str(path) in refusal.value.lines[-1]


def test_a_port_is_fine_when_free_or_ours_and_its_holder_is_named_otherwise():
    assert port_problems(PORTS, {}, own=[]) == []
    assert port_problems(PORTS, {PORTS.amqp: HostProcess(7, "beam.smp")}, own=[7]) == []
    [problem] = port_problems(PORTS, {PORTS.amqp: HostProcess(7, "nginx")}, own=[])
    assert f"port {PORTS.amqp} (amqp) is taken by nginx, process 7" in problem
    assert "kill 7" in problem
    [hidden] = port_problems(PORTS, {PORTS.epmd: None}, own=[7])
    assert "another user" in hidden
    assert "ss -ltnp" in hidden


def test_a_listener_is_found_with_its_process():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 22_690))
        server.listen()
        found = listeners([22_690, 22_691])
        assert not port_is_free(22_690)
    assert found[22_690] is not None
    assert found[22_690].pid == os.getpid()
    assert 22_691 not in found
    assert port_is_free(22_690)


def test_missing_tools_and_packages_come_with_the_command_that_installs_them(tmp_path):
    assert any("make tools" in problem for problem in missing_tools(tmp_path, str(tmp_path)))
    for name in TOOLS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert not any("make tools" in problem for problem in missing_tools(tmp_path, ""))


def test_a_full_disk_is_said_before_it_breaks_something(tmp_path):
    assert room_problem(ROOM_BYTES, tmp_path) == []
    [problem] = room_problem(ROOM_BYTES // 4, tmp_path)
    assert "0.5 GiB free" in problem
    assert "du -xsh" in problem


def test_a_file_where_our_folder_should_be_is_not_overwritten(tmp_path):
    (tmp_path / ".surge").write_text("not ours")
    [problem] = permission_problems(tmp_path, tmp_path / ".surge" / "clusters" / "local")
    assert "is a file" in problem


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    directory = tmp_path / ".surge" / "clusters" / "local"
    directory.mkdir(parents=True)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    problem = permission_problems(tmp_path, directory)[-1]
    assert f"belongs to user {owner}" in problem
    assert "chown" in problem


def sleeper(directory, ignores: str = "signal.signal(15,signal.SIG_IGN);") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "SURGE_PROCESS": f"{directory}:etcd"}
    program = f"import signal,time;{ignores}print(flush=True);time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_processes_are_found_by_their_marker_and_a_longer_name_is_another_cluster(tmp_path):
    ours, other = sleeper(tmp_path / "local"), sleeper(tmp_path / "local-2")
    try:
        assert [process.pid for process in marked(tmp_path / "local")] == [ours.pid]
        stop(marked(tmp_path / "local"), patience_s=0.3)
        assert ours.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_a_process_in_the_clusters_folder_that_is_not_ours_is_named_with_the_way_out(tmp_path):
    directory = tmp_path / "clusters" / "local"
    (directory / "logs").mkdir(parents=True)
    ours = sleeper(directory, ignores="import os;os.chdir(os.environ['SURGE_PROCESS'].split(':')[0]);")
    theirs = subprocess.Popen(["sleep", "60"], cwd=directory / "logs")
    beside = subprocess.Popen(["sleep", "60"], cwd=directory.parent)
    try:
        [problem] = stranger_problems(strangers(directory), tmp_path)
        assert problem.startswith(f"sleep, process {theirs.pid}, works in {directory}/logs")
        assert f"cd {tmp_path}" in problem
        assert f"kill {theirs.pid}" in problem
        assert problem in check(tmp_path, directory, PORTS)
        shutil.rmtree(directory)
        assert strangers(directory) == []
    finally:
        for process in (ours, theirs, beside):
            process.kill()
            process.wait()


def test_a_sweep_leaves_no_process_and_no_file_of_the_cluster(tmp_path):
    directory = tmp_path / ".surge" / "clusters" / "local"
    claim(directory)
    (directory / "etcd").mkdir()
    process = sleeper(directory, ignores="")
    assert any("still runs" in line for line in leftovers(tmp_path, "local", PORTS))
    try:
        done = sweep(tmp_path, "local")
    finally:
        process.kill()
        process.wait()
    assert len(done) == 2
    assert leftovers(tmp_path, "local", PORTS) == []


def test_a_folder_that_surge_did_not_make_is_left_alone_and_reported(tmp_path):
    directory = tmp_path / ".surge" / "clusters" / "local"
    directory.mkdir(parents=True)
    (directory / "thesis.tex").write_text("two years of work")
    assert sweep(tmp_path, "local") == []
    assert (directory / "thesis.tex").exists()
    assert not remove_empty(tmp_path)
    [line] = leftovers(tmp_path, "local", PORTS)
    assert "did not make" in line
    [problem] = permission_problems(tmp_path, directory)
    assert "thesis.tex" in problem


def state_of(root, stack):
    kept = root / ".surge" / "state" / ".pulumi"
    path = kept / "stacks" / "surge" / f"{stack}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{ damaged")
    (kept / "history" / "surge" / stack).mkdir(parents=True)
    for name in (f"Pulumi.{stack}.yaml", f"kubeconfig-{stack}", f"current-{stack}", f"facts-{stack}"):
        (root / ".surge" / name).touch()
    return path


def test_a_damaged_state_is_forgotten_without_touching_another_stack(tmp_path):
    local, burst = state_of(tmp_path, "local"), state_of(tmp_path, "burst-1")
    forget(tmp_path, "local")
    assert not local.exists()
    assert burst.exists()
    assert {path for path in tmp_path.rglob("*") if "burst-1" not in path.name and path.is_file()} == set()
    assert len(list((tmp_path / ".surge").glob("*burst-1*"))) == 4
    assert not remove_empty(tmp_path)
    forget(tmp_path, "burst-1")
    assert remove_empty(tmp_path)
    assert not (tmp_path / ".surge").exists()


def test_an_interrupt_reaches_the_engine_exactly_once():
    program = (
        "import signal,time\nseen=[]\nsignal.signal(2,lambda *a: seen.append(1))\nprint(flush=True)\n"
        "while not seen: time.sleep(0.01)\ntime.sleep(0.3)\nprint(len(seen))"
    )
    interrupts = Interrupts()
    with (
        interrupts.taken(),
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, process_group=0) as engine,
        interrupts.passed_to(engine.pid),
    ):
        assert engine.stdout is not None
        engine.stdout.readline()
        os.kill(os.getpid(), signal.SIGINT)
        assert engine.stdout.read() == b"1\n"
    assert interrupts.count == 1


def test_an_interrupt_reaches_every_engine_and_one_that_starts_late_exactly_once():
    program = (
        "import signal,sys,time\nseen=[]\nsignal.signal(2,lambda *a: seen.append(1))\nprint(flush=True)\n"
        "while not seen: time.sleep(0.01)\ntime.sleep(0.3)\nprint(len(seen))"
    )
    interrupts = Interrupts()

    def start(stack: ExitStack) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program]
        engine = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0))
        assert engine.stdout is not None
        engine.stdout.readline()
        stack.enter_context(interrupts.passed_to(engine.pid))
        return engine

    with interrupts.taken(), ExitStack() as stack:
        engines = [start(stack), start(stack)]
        os.kill(os.getpid(), signal.SIGINT)
        engines.append(start(stack))
        for engine in engines:
            assert engine.stdout is not None
            assert engine.stdout.read() == b"1\n"


PLUGIN = "import time; time.sleep(60)"
ENGINE = f"""
import pathlib, signal, subprocess, sys, time
plugin = subprocess.Popen([sys.executable, "-c", {PLUGIN!r}], process_group=0)
def interrupted(*_):
    pathlib.Path(sys.argv[1]).touch()
    plugin.kill()
    sys.exit()
signal.signal(signal.SIGINT, interrupted if sys.argv[2] == "heeds" else signal.SIG_IGN)
print(flush=True)
time.sleep(60)
"""
COMMAND = f"""
import os, pathlib, subprocess, sys, time
from surge.cli.abandoned import mark
environment = {{**os.environ, **mark(pathlib.Path(sys.argv[1]).parent, "local")}}
subprocess.Popen([sys.executable, "-c", {ENGINE!r}, *sys.argv[1:]], env=environment, process_group=0)
time.sleep(60)
"""


@contextmanager
def command(noted: Path, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command whose engine, with a plugin, is at work on stack `local` of the folder that `noted` is in."""
    arguments = [sys.executable, "-c", COMMAND, str(noted), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()
            stop(abandoned(noted.parent, "local"), patience_s=0)


def test_an_engine_is_abandoned_only_when_its_command_is_gone(tmp_path):
    with command(tmp_path / "noted", "heeds") as process:
        assert abandoned(tmp_path, "local") == []
        process.kill()
        process.wait()
        assert len(abandoned(tmp_path, "local")) == 2
        assert abandoned(tmp_path, "local-shard-1") == []
        assert abandoned(tmp_path / "other", "local") == []


@pytest.mark.parametrize("how", ["heeds", "ignores"])
def test_an_abandoned_engine_is_interrupted_and_killed_when_that_does_not_help(tmp_path, how):
    said: list[str] = []
    with command(tmp_path / "noted", how) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        end_abandoned(tmp_path, "local", said.append, patience_s=5 if how == "heeds" else 0.3)
        assert abandoned(tmp_path, "local") == []
    assert (tmp_path / "noted").exists() == (how == "heeds")
    assert len(said) == 1
    end_abandoned(tmp_path, "local", said.append)
    assert len(said) == 1
