"""Tiny programs through the real engine and the bundled language host."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pulumi.automation import LocalWorkspaceOptions, PulumiCommand, create_or_select_stack

from surge.engine import create_stack, engine_environment, stack_environment

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.local
Pulumi = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "backend").mkdir()
    own = {
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/backend",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_HOME": str(tmp_path / "home"),
    }
    return {**engine_environment(ROOT, "bundled", {**os.environ, **own}), **own}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder, str(ROOT / ".tools/venv"), "import pulumi\npulumi.export('answer', 42)\nprint('said')\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  tiny:size: '3'\n")
    return folder


def write(folder: Path, virtualenv: str, program: str) -> None:
    options = {"name": "python", "options": {"virtualenv": virtualenv}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "tiny", "runtime": options}))
    (folder / "__main__.py").write_text(program)


@pytest.fixture
def pulumi(project: Path, env: dict[str, str]) -> Pulumi:
    create_stack(project, "dev", env)
    env = stack_environment(project, "dev", env)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", "--non-interactive", *arguments]
        return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)

    return run


def program(project: Path, text: str) -> None:
    (project / "__main__.py").write_text(text)


def test_a_stack_lives_from_preview_to_destroy_and_its_file_stays_clean(
    pulumi: Pulumi, project: Path
) -> None:
    before = (project / "Pulumi.dev.yaml").read_text()
    for command in (["preview"], ["up", "--yes"], ["up", "--yes", "--expect-no-changes"]):
        result = pulumi(*command, "--stack", "dev")
        assert result.returncode == 0, result.stdout + result.stderr
        assert "said" in result.stdout
    assert json.loads(pulumi("stack", "output", "--json", "--stack", "dev").stdout) == {"answer": 42}
    for command in (["refresh"], ["refresh", "--run-program"], ["destroy", "--run-program"]):
        result = pulumi(*command, "--yes", "--stack", "dev")
        assert result.returncode == 0, result.stdout + result.stderr
    assert (project / "Pulumi.dev.yaml").read_text() == before


def test_about_names_the_programs_python(pulumi: Pulumi) -> None:
    about = json.loads(pulumi("about", "--json", "--stack", "dev").stdout)
    assert about["runtime"]["executable"] == str(ROOT / ".tools/venv/bin/python")


def test_secret_configuration_reaches_the_program_as_a_secret(
    pulumi: Pulumi, project: Path, tmp_path: Path
) -> None:
    assert pulumi("config", "set", "--secret", "word", "sesame", "--stack", "dev").returncode == 0
    text = "import pulumi\nc = pulumi.Config()\n"
    program(
        project,
        text + "pulumi.export('word', c.require_secret('word'))\npulumi.export('n', c.get_int('size'))\n",
    )
    result = pulumi("up", "--yes", "--stack", "dev")
    assert result.returncode == 0, result.stdout
    assert "sesame" not in result.stdout
    state = tmp_path / "backend/.pulumi/stacks/tiny/dev.json"
    assert "sesame" not in state.read_text()
    assert (
        '"word": "sesame"' in pulumi("stack", "output", "--json", "--show-secrets", "--stack", "dev").stdout
    )


def test_an_exception_is_told_once_with_the_programs_own_lines(pulumi: Pulumi, project: Path) -> None:
    program(project, "def broken():\n    raise LookupError('no such filter')\nbroken()\n")
    result = pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    diagnostics = result.stdout.split("Diagnostics:")[1]
    assert result.returncode != 0
    assert diagnostics.count("LookupError: no such filter") == 1
    assert "in broken" in diagnostics
    assert "runpy" not in diagnostics


@pytest.mark.parametrize(("code", "fails"), [("0", False), ("3", True), ("'no quota'", True)])
def test_the_exit_code_of_the_program_decides(pulumi: Pulumi, project: Path, code: str, fails: bool) -> None:
    program(project, f"import sys\nsys.exit({code})\n")
    result = pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert (result.returncode != 0) is fails, result.stdout
    if code == "'no quota'":
        assert "no quota" in result.stdout
    elif fails:
        assert "exited with code 3" in result.stdout + result.stderr


def test_a_missing_virtual_environment_names_the_command(pulumi: Pulumi, project: Path) -> None:
    write(project, "nowhere", "")
    result = pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert result.returncode != 0
    assert "make tools" in result.stdout + result.stderr


def test_ctrl_c_leaves_no_process_behind(pulumi: Pulumi, project: Path, env: dict[str, str]) -> None:
    program(
        project,
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)\n",
    )
    env = stack_environment(project, "dev", env)
    command = ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", "dev"]
    with subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, process_group=0) as process:
        pid = wait_for_pid(project / "pid")
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not Path(f"/proc/{pid}").exists()


def wait_for_pid(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, "the program did not start"
        time.sleep(0.1)
    return int(path.read_text())


def test_stacks_of_a_local_program_run_side_by_side(project: Path, env: dict[str, str]) -> None:
    def up(name: str) -> tuple[int, int]:
        (project / f"Pulumi.{name}.yaml").write_text("config: {}\n")
        events = []
        options = LocalWorkspaceOptions(env_vars=env, pulumi_command=PulumiCommand(str(project / "tools")))
        stack = create_or_select_stack(name, work_dir=str(project), opts=options)
        result = stack.up(on_event=events.append)
        return result.outputs["answer"].value, len(events)

    (project / "tools").mkdir()
    (project / "tools/bin").symlink_to(ROOT / ".tools/bin")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(up, ["one", "two"]))
    assert all(answer == 42 and events for answer, events in results)


def test_a_stack_reads_the_outputs_of_another(pulumi: Pulumi, project: Path, env: dict[str, str]) -> None:
    assert pulumi("up", "--yes", "--skip-preview", "--stack", "dev").returncode == 0
    text = "import pulumi\nother = pulumi.StackReference('organization/tiny/dev')\n"
    program(project, text + "pulumi.export('seen', other.get_output('answer'))\n")
    (project / "Pulumi.two.yaml").write_text("config: {}\n")
    create_stack(project, "two", env)
    second = stack_environment(project, "two", env)
    command = ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", "two"]
    result = subprocess.run(command, cwd=project, env=second, capture_output=True, text=True, check=True)
    assert "seen: 42" in result.stdout
