"""surge:local:Process under the real engine: inline programs, a file backend, real processes."""

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import pulumi
import pytest
from pulumi import automation
from supervisor.states import ProcessStates

from providers.surge import orphans
from providers.surge.resources import Process, ProcessArgs, Ready
from providers.surge.supervisor import ALIVE, Supervisor

pytestmark = pytest.mark.local

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".tools"
PORT, OTHER_PORT = 23300, 23301
TEXT = "hunter2-and-more"
SERVE = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


class Stack:
    def __init__(self, root):
        self.root = Path(root)
        self.directory = self.root / "cluster"
        backend = f"file://{root}/state"
        (self.root / "state").mkdir()
        (self.root / "workspace").mkdir()
        options = automation.LocalWorkspaceOptions(
            work_dir=str(self.root / "workspace"),
            pulumi_home=str(TOOLS / "pulumi-home"),
            pulumi_command=automation.PulumiCommand(root=str(TOOLS), skip_version_check=True),
            project_settings=automation.ProjectSettings(
                "processes", "python", backend=automation.ProjectBackend(backend)
            ),
            env_vars={
                "PULUMI_BACKEND_URL": backend,
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
            },
        )
        self.stack = automation.create_or_select_stack("dev", "processes", lambda: None, opts=options)

    def declares(self, *processes):
        """processes: (name, arguments) of each; a function when outputs are among them."""

        def program():
            for name, arguments in processes:
                known = arguments() if callable(arguments) else arguments
                Process(name, ProcessArgs(directory=str(self.directory), **known))

        self.stack.workspace.program = program

    def up(self):
        return self.stack.up().summary.resource_changes

    def refresh(self):
        return self.stack.refresh().summary.resource_changes

    def destroy(self):
        return self.stack.destroy().summary.resource_changes

    def pids(self, name):
        return orphans.marked(orphans.PROCESS_MARKER, f"{self.directory}:{name}")

    def state_of(self, name):
        """As its supervisor calls it: of ProcessStates."""
        return Supervisor(str(self.directory)).see(name).state

    def supervisors(self):
        return orphans.marked(orphans.SUPERVISOR_MARKER, str(self.directory))

    def state(self):
        return next((self.root / "state").rglob("stacks/**/dev.json")).read_text()


@pytest.fixture
def stack(monkeypatch):
    monkeypatch.setenv("PATH", f"{ROOT / 'providers' / 'bin'}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory() as root:
        made = Stack(root)
        yield made
        with contextlib.suppress(automation.CommandError):
            made.stack.destroy()
        leftover = [*made.supervisors(), *made.pids("web"), *made.pids("other")]
        for pid in leftover:
            os.kill(pid, signal.SIGKILL)


def web(port=PORT, **changes):
    return {
        "command": [*SERVE, "--directory", "{dir}", str(port)],
        "files": {"index.html": "hello from {dir}"},
        "ports": [port],
        "ready": Ready(http=f"http://127.0.0.1:{port}/index.html", timeout_s=30),
        **changes,
    }


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_process_comes_up_stays_restarts_once_on_change_and_leaves_nothing(stack):
    stack.declares(("web", web()), ("other", web(OTHER_PORT)))
    assert stack.stack.preview().change_summary == {"create": 3}
    assert not stack.directory.exists()
    assert stack.up() == {"create": 3}
    first, other = stack.pids("web"), stack.pids("other")
    assert len(first) == len(other) == 1
    assert (stack.directory / "web" / "index.html").read_text() == f"hello from {stack.directory}/web"
    assert (stack.directory / "web" / "index.html").stat().st_mode & 0o777 == 0o600
    assert stack.stack.preview().change_summary == {"same": 3}
    assert stack.up() == {"same": 3}
    assert stack.refresh() == {"same": 3}
    assert stack.pids("web") == first

    stack.declares(("web", web(files={"index.html": "new"})), ("other", web(OTHER_PORT)))
    assert stack.up() == {"same": 2, "update": 1}
    assert stack.pids("web") != first
    assert stack.pids("other") == other
    assert stack.destroy() == {"delete": 3}
    assert stack.pids("web") + stack.pids("other") + stack.supervisors() == []
    assert not listens(PORT)
    assert not stack.directory.exists()


def test_a_live_file_changes_without_a_restart(stack):
    stack.declares(("web", web(live_files={"list.json": "[1]"})))
    stack.up()
    first = stack.pids("web")
    stack.declares(("web", web(live_files={"list.json": "[2]"})))
    assert stack.up() == {"same": 1, "update": 1}
    assert (stack.directory / "web" / "list.json").read_text() == "[2]"
    assert stack.pids("web") == first


def test_the_supervisor_restarts_what_was_killed_and_that_is_no_drift(stack):
    stack.declares(("web", web()))
    stack.up()
    first = stack.pids("web")
    os.kill(first[0], signal.SIGKILL)
    while stack.pids("web") in ([], first):
        time.sleep(0.05)
    assert stack.refresh() == {"same": 2}


def test_refresh_finds_a_dead_process_and_the_next_up_revives_it(stack):
    stack.declares(("web", web(restart="never")))
    stack.up()
    os.kill(stack.pids("web")[0], signal.SIGKILL)
    while stack.state_of("web") in ALIVE:
        time.sleep(0.05)
    assert stack.refresh() == {"same": 1, "update": 1}
    assert stack.stack.preview().change_summary == {"same": 1, "update": 1}
    assert stack.up() == {"same": 1, "update": 1}
    assert listens(PORT)
    assert stack.up() == {"same": 2}


def test_what_fails_is_started_again_on_failure_and_what_ends_well_is_not(stack):
    ends_well = (
        "import signal,sys,time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit()); time.sleep(600)"
    )
    stack.declares(("web", {"command": [sys.executable, "-c", ends_well], "restart": "on-failure"}))
    stack.up()
    [first] = stack.pids("web")
    os.kill(first, signal.SIGKILL)
    while stack.pids("web") in ([], [first]) or stack.state_of("web") != ProcessStates.RUNNING:
        time.sleep(0.05)
    os.kill(stack.pids("web")[0], signal.SIGUSR1)
    while stack.state_of("web") in ALIVE:
        time.sleep(0.05)
    assert stack.pids("web") == []
    assert stack.refresh() == {"same": 1, "update": 1}


def test_what_ends_soon_after_each_start_waits_ever_longer_and_is_never_called_running(stack):
    dies = ["/bin/sh", "-c", "date +%s.%N >> starts; sleep 1.5; exit 1"]
    stack.declares(("web", {"command": dies, "ready": Ready(exec=["test", "-f", "{dir}/starts"])}))
    stack.up()
    starts, seen = [], set()
    while len(starts) < 4:
        seen.add(stack.state_of("web"))
        starts = [float(line) for line in (stack.directory / "web" / "starts").read_text().split()]
        time.sleep(0.05)
    assert seen == {ProcessStates.STARTING, ProcessStates.BACKOFF}
    assert starts[1] - starts[0] < starts[3] - starts[2]


def test_a_command_says_when_the_process_is_ready(stack):
    probe = ["/bin/sh", "-c", '[ "$HOME" = "{dir}" ] && [ -f "$HOME/up" ]']
    slow = ["/bin/sh", "-c", "sleep 1; touch up; exec sleep 600"]
    stack.declares(("web", {"command": slow, "environment": {"HOME": "{dir}"}, "ready": Ready(exec=probe)}))
    stack.up()
    assert (stack.directory / "web" / "up").exists()


def test_a_command_that_does_not_succeed_says_why_it_is_not_ready(stack):
    probe = Ready(exec=["/bin/sh", "-c", "echo the model is not there >&2; exit 7"], timeout_s=1)
    stack.declares(("web", {"command": ["sleep", "600"], "ready": probe}))
    with pytest.raises(automation.CommandError, match="exit status 7: the model is not there"):
        stack.up()


def test_a_log_is_rotated_and_two_old_ones_are_kept(stack):
    talks = (
        "import time\n"
        "for n in range(400): print(f'line {n:040}', flush=True); time.sleep(0.005)\n"
        "time.sleep(600)"
    )
    said_all = Ready(exec=["grep", "-qr", f"line {399:040}", "{root}/logs"])
    command = [sys.executable, "-c", talks]
    stack.declares(("web", {"command": command, "ready": said_all, "log_max_bytes": 1000}))
    stack.up()
    logs = stack.directory / "logs"
    assert sorted(log.name for log in logs.iterdir()) == ["web.log", "web.log.1", "web.log.2"]
    assert all(log.stat().st_size < 5000 for log in logs.iterdir())
    stack.destroy()
    assert not logs.exists()


def test_after_the_supervisor_was_killed_the_orphan_is_replaced(stack):
    stack.declares(("web", web()))
    stack.up()
    first = stack.pids("web")
    os.kill(stack.supervisors()[0], signal.SIGKILL)
    assert stack.refresh() == {"same": 1, "update": 1}
    assert stack.up() == {"same": 1, "update": 1}
    assert len(stack.pids("web")) == 1
    assert stack.pids("web") != first


def test_destroy_works_after_the_supervisor_was_killed(stack):
    stack.declares(("web", web()))
    stack.up()
    os.kill(stack.supervisors()[0], signal.SIGKILL)
    assert stack.destroy() == {"delete": 2}
    assert not stack.pids("web")
    assert not stack.directory.exists()


def test_destroy_works_when_the_directory_is_gone(stack):
    stack.declares(("web", web()))
    stack.up()
    stack.directory.rename(stack.root / "moved")
    assert stack.destroy() == {"delete": 2}
    assert stack.pids("web") + stack.supervisors() == []


def test_a_directory_that_is_not_ours_is_refused_and_left_alone(stack):
    stack.directory.mkdir()
    (stack.directory / "thesis.tex").write_text("years of work")
    stack.declares(("web", web()))
    with pytest.raises(automation.CommandError, match=r"holds thesis\.tex"):
        stack.stack.preview()
    with pytest.raises(automation.CommandError, match=r"holds thesis\.tex"):
        stack.up()
    assert [item.name for item in stack.directory.iterdir()] == ["thesis.tex"]


def test_a_taken_port_names_who_holds_it(stack):
    with socket.create_server(("127.0.0.1", PORT)):
        stack.declares(("web", web()))
        with pytest.raises(automation.CommandError, match=rf"port {PORT} is taken by pid {os.getpid()}"):
            stack.up()
    assert not stack.supervisors()


def test_a_process_that_ends_early_is_reported_with_its_last_lines_and_can_be_mended(stack):
    failing = web(command=["/bin/sh", "-c", "echo no such model; exit 3"])
    stack.declares(("web", failing))
    with pytest.raises(automation.CommandError, match=r"(?s)ended before it was ready.*\| no such model"):
        stack.up()
    stack.declares(("web", web()))
    assert stack.up() == {"same": 1, "update": 1}
    assert listens(PORT)


def test_a_process_that_never_gets_ready_can_be_destroyed(stack):
    stack.declares(("web", web(ready=Ready(tcp=f"127.0.0.1:{OTHER_PORT}", timeout_s=1))))
    with pytest.raises(automation.CommandError, match=r"is not ready after 1 s"):
        stack.up()
    assert stack.destroy() == {"delete": 2}
    assert not stack.pids("web")


def test_secrets_reach_the_process_and_neither_argv_nor_the_supervisor_nor_the_state(stack):
    show = (
        "import os,time; print(os.environ['PASSWORD'] == open('secret').read(), flush=True); time.sleep(600)"
    )

    def arguments():
        secret = pulumi.Output.secret(TEXT)
        return {
            "command": [sys.executable, "-c", show],
            "environment": {"PASSWORD": secret},
            "files": {"secret": secret},
        }

    stack.declares(("web", arguments))
    stack.up()
    assert "True" in (stack.directory / "logs" / "web.log").read_text()
    assert TEXT not in stack.state()
    for pid in [*stack.pids("web"), *stack.supervisors()]:
        assert TEXT.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert TEXT.encode() not in Path(f"/proc/{stack.supervisors()[0]}/environ").read_bytes()
    holding = [
        path for path in stack.directory.rglob("*") if path.is_file() and TEXT in path.read_text("latin-1")
    ]
    assert holding
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}


def test_a_secret_in_the_command_is_refused(stack):
    stack.declares(("web", lambda: {"command": ["sleep", pulumi.Output.secret(TEXT)]}))
    with pytest.raises(automation.CommandError, match="command holds a secret") as refused:
        stack.up()
    assert TEXT not in str(refused.value)


def test_an_interrupt_while_waiting_ends_the_wait_and_nothing_is_orphaned(stack):
    never = Ready(tcp=f"127.0.0.1:{OTHER_PORT}", timeout_s=200)
    stack.declares(("web", web(ready=never)))
    failures = []

    def up():
        try:
            stack.up()
        except automation.CommandError as error:
            failures.append(str(error))

    thread = threading.Thread(target=up)
    thread.start()
    while not listens(PORT):
        time.sleep(0.1)
    assert _interrupt_engine()
    thread.join(60)
    assert not thread.is_alive()
    assert "stopped waiting at the interrupt" in failures[0]
    stack.declares(("web", web()))
    assert stack.up() == {"same": 1, "update": 1}
    assert len(stack.pids("web")) == 1


def test_a_directory_with_a_long_path_gets_its_socket_elsewhere(stack):
    stack.directory = stack.root / ("d" * 100) / "cluster"
    stack.declares(("web", web()))
    stack.up()
    assert stack.refresh() == {"same": 2}
    assert stack.destroy() == {"delete": 2}
    assert not stack.supervisors()


def _interrupt_engine():
    """Send SIGINT to the engine that this process started."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"pulumi" in (entry / "cmdline").read_bytes().split(b"\0")[0]:
                os.kill(int(entry.name), signal.SIGINT)
                return True
    return False
