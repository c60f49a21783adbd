"""Every alert says what was seen and what to type, and has a case where it fires and one where not."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from surge.model.settings import Saturation

ALERTS = Path(__file__).parents[2] / "alerts"


def read(file: str) -> dict[str, Any]:
    return yaml.safe_load((ALERTS / file).read_text())


FILES = sorted(file.name for file in ALERTS.glob("*.yaml"))
RULES = {rule["alert"]: rule for file in FILES for group in read(file)["groups"] for rule in group["rules"]}
CASES = [
    case for file in FILES for test in read(f"tests/{file}")["tests"] for case in test["alert_rule_test"]
]


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_was_seen_and_the_next_command(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert re.search(r"\. Next: kubectl \S", rule["annotations"]["description"])


@pytest.mark.parametrize("name", RULES)
def test_an_alert_is_tested_to_fire_and_to_stay_quiet(name):
    assert {bool(case["exp_alerts"]) for case in CASES if case["alertname"] == name} == {True, False}


def test_a_sample_is_told_to_be_old_while_it_is_still_served():
    rule = RULES["SaturationSampleOld"]
    limit = float(rule["expr"].rpartition(">")[2])
    assert "for" not in rule
    assert Saturation().sample_s * 3 < limit < Saturation().stale_s
    assert f"from {Saturation().stale_s:g} s on" in rule["annotations"]["description"]
