"""The builder and the bootstrap, with a stand-in for Go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from toolchain import bootstrap
from toolchain.build import MODULES, BuildError, build, find_go, module_hash

ETCD = next(module for module in MODULES if module.name == "etcd")
GO = """#!/bin/sh
[ "$1" = version ] && { echo "go version go1.26.8 linux/amd64"; exit; }
echo "$@" >> "$LOG"
[ -n "$BROKEN" ] && { echo "no such package"; exit 1; }
mkdir -p "$(dirname "$6")" && echo tool > "$6"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toolchain/etcd"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module m\n")
    (folder / "go.sum").write_text("")
    (tmp_path / "go").write_text(GO)
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path


def test_other_flags_give_another_hash(root: Path) -> None:
    assert module_hash(root, ETCD, "1") != module_hash(root, replace(ETCD, ldflags="-X a=b"), "1")


def test_what_is_present_is_not_built_again(root: Path) -> None:
    assert build(root, str(root / "go"), ["etcd"]) == 1
    calls = (root / "log").read_text()
    assert build(root, str(root / "go"), ["etcdctl"]) == 0
    assert (root / "log").read_text() == calls
    assert (root / ".tools/bin/etcd").read_text() == "tool\n"


def test_a_failed_build_leaves_nothing_and_says_how_to_retry(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(BuildError, match="no such package\nTry again: make tools TOOLS=etcd"):
        build(root, str(root / "go"), ["etcd"])
    assert list((root / ".tools").iterdir()) == []


def test_missing_go_gives_the_instruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="no go on PATH"):
        find_go(tmp_path)


def test_a_venv_with_more_is_kept(tmp_path: Path) -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".tools/venv").mkdir(parents=True)
    digest = bootstrap._digest(tmp_path / "requirements-dev.txt")
    (tmp_path / ".tools/venv/surge-requirements").write_text(digest)
    assert not bootstrap.ready_venv(tmp_path, dev=False)
    assert not bootstrap.ready_venv(tmp_path, dev=True)
