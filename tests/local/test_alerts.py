"""The alert rules in the real rule engine: each fires on what it is for, and on nothing else."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.local

ALERTS = Path(__file__).parents[2] / "alerts"


FILES = sorted(file.name for file in ALERTS.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES)
def test_the_rules_are_valid(file):
    promtool("check", "rules", file)


@pytest.mark.parametrize("file", FILES)
def test_every_alert_fires_when_it_should_and_only_then(file):
    promtool("test", "rules", f"tests/{file}")


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=ALERTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
