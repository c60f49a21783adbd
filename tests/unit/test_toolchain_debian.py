"""Debian's packages, with an apt-get of our own on PATH."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolchain import debian

APT = """#!/bin/bash
echo "$@" >> "$ROOM/apt.log"
[ "$1" = install ] && [ "${@: -1}" != --download-only ] || exit 0
cp "$ROOM/policy-rc.d" "$ROOM/policy-seen" && [ -z "$APT_FAILS" ] || exit 100
touch "$ROOM/rabbitmq-server" "$ROOM/prometheus"
[ -z "$APT_SLOW" ] || { touch "$ROOM/slow"; sleep 1; touch "$ROOM/whole"; }
[ -n "$APT_LEAVES" ] || exit 0
"$ROOM/epmd" -c 'import time; time.sleep(60)' -daemon & echo $! > "$ROOM/left"
until [ "$(cat /proc/$!/comm)" = epmd ]; do sleep 0.01; done
"""


@dataclass(frozen=True)
class Room:
    """A stand-in for the parts of a Debian machine that matter."""

    path: Path

    def asked(self) -> list[str]:
        log = self.path / "apt.log"
        return log.read_text().splitlines() if log.exists() else []

    def lists(self, age_s: float) -> None:
        (self.path / "lists/partial").mkdir(parents=True)
        (self.path / "lists/main_Packages").touch()
        then = time.time() - age_s
        for folder in ("lists", "lists/partial"):
            os.utime(self.path / folder, (then, then))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text(APT)
    (tmp_path / "bin/apt-get").chmod(0o755)
    (tmp_path / "epmd").symlink_to(Path(sys.executable).resolve())
    (tmp_path / "debian_version").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("ROOM", str(tmp_path))
    names = ("rabbitmq-server", "prometheus")
    monkeypatch.setattr(debian, "PACKAGES", {name: str(tmp_path / name) for name in names})
    monkeypatch.setattr(debian, "DEBIAN", tmp_path / "debian_version")
    monkeypatch.setattr(debian, "LISTS", tmp_path / "lists")
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return Room(tmp_path)


def test_what_is_installed_is_not_asked_of_apt(room: Room) -> None:
    for name in ("rabbitmq-server", "prometheus"):
        (room.path / name).touch()
    debian.ready_packages()
    assert room.asked() == []


def test_without_tools_no_program_is_asked_for_but_what_makes_an_environment_is(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian.ready_packages(programs=False)
    assert room.asked() == []
    # As on a Debian without python3-venv, where this module is missing.
    monkeypatch.setattr(sys, "executable", "/bin/false")
    debian.ready_packages(programs=False)
    assert room.asked()[-1] == "install -y --no-install-recommends python3-venv"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(debian.PackagesError, match=r"run: sudo apt-get install -y .* python3-venv$"):
        debian.ready_packages(programs=False)


def test_without_lists_they_are_fetched_first(room: Room) -> None:
    debian.ready_packages()
    install = "install -y --no-install-recommends rabbitmq-server prometheus"
    assert room.asked() == ["update -q", f"{install} --download-only", install]


def test_old_lists_are_fetched_again_and_new_ones_are_not(room: Room) -> None:
    room.lists(age_s=3600)
    debian.ready_packages()
    assert "update -q" not in room.asked()
    (room.path / "prometheus").unlink()
    os.utime(room.path / "lists", (0, 0))
    os.utime(room.path / "lists/partial", (0, 0))
    debian.ready_packages()
    assert "update -q" in room.asked()


def test_elsewhere_than_on_debian_the_command_is_said_and_nothing_done(room: Room) -> None:
    (room.path / "debian_version").unlink()
    with pytest.raises(debian.PackagesError, match=r"not Debian.*apt-get install -y .*rabbitmq-server prom"):
        debian.ready_packages()
    assert room.asked() == []


def test_without_root_the_command_is_said_and_nothing_done(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(debian.PackagesError, match=r"run: sudo apt-get install -y .*rabbitmq-server prom"):
        debian.ready_packages()
    assert room.asked() == []


def test_no_service_starts_and_the_policy_is_as_before(room: Room) -> None:
    policy = room.path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o700)
    debian.ready_packages()
    assert (room.path / "policy-seen").read_bytes() == debian.NO_STARTS
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    assert policy.stat().st_mode & 0o777 == 0o700


def test_a_policy_that_a_killed_run_left_does_not_stay(room: Room) -> None:
    (room.path / "policy-rc.d").write_bytes(debian.NO_STARTS)
    debian.ready_packages()
    assert not (room.path / "policy-rc.d").exists()


def test_apts_failure_is_one_error_and_no_policy_stays(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APT_FAILS", "1")
    with pytest.raises(debian.PackagesError, match=r"this failed .*: apt-get install"):
        debian.ready_packages()
    assert not (room.path / "policy-rc.d").exists()


def test_the_packages_port_mapper_is_ended_and_one_of_others_is_not(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APT_LEAVES", "1")
    mine = subprocess.Popen([str(room.path / "epmd"), "-c", "import time; time.sleep(60)", "-daemon"])
    try:
        _until(lambda: mine.pid in debian._port_mappers())
        debian.ready_packages()
        left = int((room.path / "left").read_text())
        _until(lambda: left not in debian._port_mappers())
        assert mine.pid in debian._port_mappers()
    finally:
        mine.kill()
        mine.wait()


def test_a_stopped_install_ends_whole(room: Room) -> None:
    code = (
        "import os, sys; from pathlib import Path; from toolchain import debian, running\n"
        "room = Path(os.environ['ROOM']); os.geteuid = lambda: 0\n"
        "debian.PACKAGES = {n: str(room / n) for n in ('rabbitmq-server', 'prometheus')}\n"
        "debian.DEBIAN, debian.LISTS = room / 'debian_version', room / 'lists'\n"
        "debian.POLICY = room / 'policy-rc.d'\n"
        "running.end_like_ctrl_c()\n"
        "try: debian.ready_packages()\n"
        "except KeyboardInterrupt: sys.exit(130)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "APT_SLOW": "1"}, cwd=Path(__file__).parents[2]
    )
    _until(lambda: (room.path / "slow").exists() or run.poll() is not None)
    run.terminate()
    assert run.wait() == 130
    assert (room.path / "whole").exists()
    assert not (room.path / "policy-rc.d").exists()


def _until(holds) -> None:
    while not holds():
        time.sleep(0.02)
