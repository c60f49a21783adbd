"""Inputs of a process, its files, its section for the supervisor."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from providers.surge import folders, orphans, ports
from providers.surge.problems import ProblemError
from providers.surge.process_resource import LocalProcess
from providers.surge.process_spec import ProcessSpec
from providers.surge.values import UNKNOWN, failures, plain, wrap

BASE = {"directory": "/tmp/cluster", "process": "web", "command": ["serve", "{dir}", "{root}"]}


def spec(**changes):
    return ProcessSpec.model_validate({**BASE, **changes})


@pytest.mark.parametrize(
    ("changes", "property_"),
    [
        ({"directory": "relative"}, "directory"),
        ({"directory": "/a/../b"}, "directory"),
        ({"command": []}, "command"),
        ({"files": {"../escape": ""}}, "files"),
        ({"files": {"/etc/passwd": ""}}, "files"),
        ({"environment": {"A=B": ""}}, "environment"),
        ({"ports": [70000]}, "ports"),
        ({"restart": "sometimes"}, "restart"),
        ({"stop_signal": "HOP"}, "stop_signal"),
        ({"process": "logs"}, "process"),
        ({"ready": {"http": "http://a", "tcp": "a:1"}}, "ready"),
        ({"ready": {}}, "ready"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_input_is_named(changes, property_):
    assert [name for name, _ in failures(ProcessSpec, {**BASE, **changes})] == [property_]


def test_an_unknown_input_passes_until_it_is_known():
    assert failures(ProcessSpec, {**BASE, "directory": UNKNOWN, "files": {"a": UNKNOWN}}) == []


def test_placeholders_are_filled_in_arguments_environment_and_files():
    program = json.loads(spec(environment={"HOME": "{dir}"}).program())
    assert program["command"] == ["serve", "/tmp/cluster/web", "/tmp/cluster"]
    assert program["environment"] == {"HOME": "/tmp/cluster/web", "SURGE_PROCESS": "/tmp/cluster:web"}


def test_the_supervisors_section_holds_neither_environment_nor_arguments():
    section = spec(environment={"PASSWORD": "hunter2"}, files={"f": "hunter2"}).section("/p.json")
    assert "hunter2" not in section
    assert "serve" not in section


@pytest.mark.parametrize(
    ("restart", "autorestart", "retries"),
    [("always", "true", 20), ("on-failure", "unexpected", 20), ("never", "false", 0)],
)
def test_what_ends_within_three_seconds_has_failed_to_start(restart, autorestart, retries):
    lines = spec(restart=restart).section("/p.json").splitlines()
    assert {"startsecs=3", f"autorestart={autorestart}", f"startretries={retries}", "exitcodes=0"} <= set(
        lines
    )


def test_a_secret_in_the_command_is_refused():
    news = {key: wrap(value) for key, value in BASE.items()}
    news["command"] = PropertyValue([PropertyValue("serve"), PropertyValue("hunter2", is_secret=True)])
    _, problems = LocalProcess().check("web", news)
    assert [name for name, _ in problems] == ["command"]
    assert "hunter2" not in str(problems)


def test_only_directory_and_name_replace_and_a_dead_process_is_a_change():
    olds = {**{key: wrap(value) for key, value in BASE.items()}, "running": wrap(True)}
    assert LocalProcess().diff(olds, olds).changes is False
    moved = LocalProcess().diff(olds, {**olds, "directory": wrap("/tmp/other")})
    assert (moved.replaces, moved.delete_before_replace) == (["directory"], True)
    changed = LocalProcess().diff(olds, {**olds, "command": wrap(["other"])})
    assert (changed.changes, changed.replaces) == (True, [])
    assert LocalProcess().diff({**olds, "running": wrap(False)}, olds).changes is True


def test_an_unknown_survives_the_way_through_property_values():
    assert plain(PropertyValue(rpc.UNKNOWN)) is UNKNOWN
    assert wrap(UNKNOWN).value == rpc.UNKNOWN


def test_files_are_private_and_a_symbolic_link_does_not_lead_out(tmp_path):
    folder = tmp_path / "web"
    folders.write_all(folder, {"a/b": "text"})
    assert (folder / "a" / "b").stat().st_mode & 0o777 == 0o600
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(ProblemError, match="symbolic link"):
        folders.write_all(folder, {"out/escaped": "text"})
    assert not (tmp_path / "escaped").exists()


def test_a_full_disk_is_one_clear_line_and_leaves_nothing_half_made(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(ProblemError, match=r"No space left on device.*df -h"):
        folders.write_all(tmp_path / "web", {"a": "text"})
    assert not (tmp_path / "web").exists()


def test_a_foreign_directory_is_refused_and_an_empty_one_is_claimed(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    with pytest.raises(ProblemError, match=r"holds thesis\.tex"):
        folders.claim(tmp_path / "foreign")
    (tmp_path / "empty").mkdir()
    folders.claim(tmp_path / "empty")
    folders.release(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_the_holder_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ProblemError, match=rf"port {port} is taken by pid {os.getpid()}"):
            ports.demand_free([port])
    ports.demand_free([port])


@pytest.mark.parametrize("closes", [True, False])
def test_a_port_whose_holder_is_not_seen_is_waited_for_a_moment(closes, monkeypatch):
    monkeypatch.setattr(ports, "holder", lambda _: None)
    monkeypatch.setattr(ports, "CLOSING_S", 30.0 if closes else 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if closes:
            threading.Timer(0.2, server.close).start()
            ports.demand_free([port])
        else:
            with pytest.raises(ProblemError, match=rf"port {port} is taken by a process of another user"):
                ports.demand_free([port])


def test_only_the_marked_process_is_ended_even_when_it_ignores_the_signal(tmp_path):
    ignore = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    environment = {**os.environ, orphans.PROCESS_MARKER: f"{tmp_path}:web"}
    other = {**os.environ, orphans.PROCESS_MARKER: f"{tmp_path}:web2"}
    command = [sys.executable, "-c", ignore]
    marked = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    bystander = subprocess.Popen(command, env=other, stdout=subprocess.PIPE)
    try:
        for process in (marked, bystander):
            process.stdout.readline()
        orphans.end(lambda: orphans.marked(orphans.PROCESS_MARKER, f"{tmp_path}:web"), timeout_s=0.2)
        assert marked.wait(10) == -signal.SIGKILL
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        bystander.stdout.close()
        marked.stdout.close()
