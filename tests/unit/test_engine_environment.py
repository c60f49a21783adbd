import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from surge.cli.host_processes import started_at
from surge.engine import (
    EngineError,
    ends_in_seconds,
    engine_environment,
    read_pulumi,
    shell_exports,
    stack_environment,
)

ROOT = Path(__file__).parents[2]
TOOLS = ("pulumi", "pulumi-language-python", "pulumi-resource-kubernetes", "pulumi-resource-random")


def executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    executable(checkout / ".tools/bin/pulumi")
    return checkout


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "usr")}


def test_without_an_official_engine_the_bundled_one_is_taken(root: Path, user: dict[str, str]) -> None:
    env = engine_environment(root, None, user)
    folders = env["PATH"].split(":")
    assert folders[:3] == [
        str(root / name) for name in ("providers/bin", "toolchain/engine/bin", ".tools/bin")
    ]
    assert env["PULUMI_HOME"] == str(root / ".tools/pulumi-home")
    assert env["PULUMI_BACKEND_URL"] == f"file://{root}/.surge/state"


def test_a_complete_official_engine_is_preferred(root: Path, user: dict[str, str], tmp_path: Path) -> None:
    for name in TOOLS:
        executable(tmp_path / "usr" / name)
    assert "PULUMI_HOME" not in engine_environment(root, None, user)


def test_plugins_in_the_users_pulumi_home_count_as_official(
    root: Path, user: dict[str, str], tmp_path: Path
) -> None:
    for name in TOOLS[:2]:
        executable(tmp_path / "usr" / name)
    for name in ("kubernetes", "random"):
        executable(tmp_path / f"home/.pulumi/plugins/resource-{name}-v4.0.0/pulumi-resource-{name}")
    assert "PULUMI_HOME" not in engine_environment(root, None, user)


def test_our_own_tools_on_path_are_not_mistaken_for_official_ones(root: Path, user: dict[str, str]) -> None:
    for name in TOOLS:
        executable(root / ".tools/bin" / name)
    user["PATH"] = f"{root}/.tools/bin:{user['PATH']}"
    with pytest.raises(EngineError, match="pulumi, pulumi-language-python"):
        engine_environment(root, "official", user)


def test_an_unknown_choice_names_the_choices(root: Path, user: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="official or bundled"):
        engine_environment(root, None, user | {"SURGE_ENGINE": "fast"})


def test_unbuilt_tools_name_the_command(tmp_path: Path, user: dict[str, str]) -> None:
    with pytest.raises(EngineError, match="make tools"):
        engine_environment(tmp_path / "empty", "bundled", user)


def test_the_passphrase_is_private_and_kept(root: Path, user: dict[str, str]) -> None:
    path = Path(engine_environment(root, None, user)["PULUMI_CONFIG_PASSPHRASE_FILE"])
    before = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    engine_environment(root, None, user)
    assert path.read_text() == before


def test_the_users_backend_and_passphrase_are_kept(root: Path, user: dict[str, str]) -> None:
    own = {"PULUMI_BACKEND_URL": "s3://states", "PULUMI_CONFIG_PASSPHRASE": "correct horse"}
    env = engine_environment(root, None, user | own)
    assert env["PULUMI_BACKEND_URL"] == "s3://states"
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in env
    assert "correct horse" not in shell_exports(env)


def test_the_copy_of_a_stack_file_follows_the_settings_and_keeps_its_salt(root: Path) -> None:
    committed = root / "Pulumi.local.yaml"
    committed.write_text("config: {a: 1}\n")
    copy = Path(stack_environment(root, "local", {})["PULUMI_OPTION_CONFIG_FILE"])
    copy.write_text(copy.read_text() + "encryptionsalt: salt\n")
    committed.write_text("config: {a: 2}\n")
    stack_environment(root, "local", {})
    assert yaml.safe_load(copy.read_text()) == {"config": {"a": 2}, "encryptionsalt": "salt"}
    assert "encryptionsalt" not in committed.read_text()


def test_a_new_shard_takes_the_salt_of_its_fleet_and_one_that_has_its_own_keeps_it(root: Path) -> None:
    (root / "Pulumi.local.yaml").write_text("config: {}")
    copies = root / ".surge"
    copies.mkdir(exist_ok=True)
    (copies / "Pulumi.local.yaml").write_text("encryptionsalt: of the fleet\n")
    (copies / "Pulumi.local-shard-01.yaml").write_text("encryptionsalt: its own\n")
    for shard in ("local-shard-00", "local-shard-01"):
        stack_environment(root, shard, {}, settings_of="local", told={})
    salts = [yaml.safe_load((copies / f"Pulumi.local-shard-0{n}.yaml").read_text()) for n in (0, 1)]
    assert [settings["encryptionsalt"] for settings in salts] == ["of the fleet", "its own"]


def test_a_shard_saves_its_state_at_the_end_and_a_stack_of_its_own_at_each_step(root: Path) -> None:
    (root / "Pulumi.local.yaml").write_text("config: {}")
    shard = stack_environment(root, "local-shard-00", {}, settings_of="local", told={})
    assert shard["PULUMI_SKIP_CHECKPOINTS"] == "true"
    assert "PULUMI_SKIP_CHECKPOINTS" not in stack_environment(root, "local", {}, settings_of="local", told={})


def test_an_engine_that_ends_in_seconds_collects_less_unless_the_user_says_how_much() -> None:
    assert ends_in_seconds({"A": "1"}) == {"A": "1", "GOGC": "400"}
    assert ends_in_seconds({"GOGC": "50"}) == {"GOGC": "50"}


def test_the_users_number_of_operations_side_by_side_is_kept(root: Path, user: dict[str, str]) -> None:
    assert int(engine_environment(root, None, user)["PULUMI_PARALLEL"]) > 8
    assert engine_environment(root, None, user | {"PULUMI_PARALLEL": "2"})["PULUMI_PARALLEL"] == "2"


def test_the_bundled_engine_writes_no_logs_but_those_of_before_stay(root: Path, user: dict[str, str]) -> None:
    logs = Path(engine_environment(root, None, user)["PULUMI_HOME"]) / "logs"
    assert logs.is_file()
    logs.unlink()
    logs.mkdir()
    engine_environment(root, None, user)
    assert logs.is_dir()


def pulumi(folder: Path, program: str) -> dict[str, str]:
    """An environment where `pulumi` is a Python program."""
    executable(folder / "pulumi")
    (folder / "pulumi").write_text(f"#!{sys.executable}\nimport os, pathlib, time\n{program}\n")
    return {"PATH": str(folder)}


def test_a_reading_of_the_engine_is_in_a_process_group_of_its_own(tmp_path: Path) -> None:
    environment = pulumi(tmp_path, "print(os.getpid() == os.getpgrp())")
    assert read_pulumi(tmp_path, environment, "stack", "ls").stdout == "True\n"


def test_an_interrupt_of_a_reading_leaves_no_engine_behind(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    environment = pulumi(
        tmp_path, f"pathlib.Path({str(noted)!r}).symlink_to(str(os.getpid())); time.sleep(200)"
    )
    program = (
        "import signal\nfrom pathlib import Path\nfrom surge.engine import *\n"
        # Whoever starts the tests in the background has them ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"read_pulumi(Path('/'), {environment})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    ) as reading:
        while not noted.is_symlink():
            assert reading.poll() is None
            time.sleep(0.05)
        reading.send_signal(signal.SIGINT)
    assert reading.returncode == -signal.SIGINT
    assert started_at(int(str(noted.readlink()))) is None
