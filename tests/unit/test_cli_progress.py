"""From hand-written sequences of engine events to what a person reads."""

import pytest
from pulumi.automation.events import EngineEvent

from surge.cli.diagnostics import readable
from surge.cli.progress import Steps, totals
from surge.cli.redaction import redacted

STACK = "urn:pulumi:local::surge::pulumi:pulumi:Stack::surge-local"


def step(
    kind: str, op: str, name: str = "local-etcd", type_: str = "surge:local:Process", **more
) -> EngineEvent:
    urn = f"urn:pulumi:local::surge::{type_}::{name}"
    state = {
        "type": type_,
        "urn": urn,
        "id": "1",
        "parent": "",
        "provider": "",
        "custom": more.pop("custom", True),
        "inputs": {},
        "outputs": {},
    }
    metadata = {
        "op": op,
        "urn": urn,
        "type": type_,
        "provider": "",
        "old": None if op == "create" else state,
        "new": None if op == "delete" else state,
        **{key: more.pop(key) for key in ("diffs", "detailedDiff") if key in more},
    }
    body = {"metadata": metadata, **more}
    if kind == "resOpFailedEvent":
        body |= {"status": 0, "steps": 1}
    return EngineEvent.from_json({"sequence": 0, "timestamp": 0, kind: body})


def said(message: str, severity: str = "error", **more) -> EngineEvent:
    body = {"message": message, "color": "never", "severity": severity, **more}
    return EngineEvent.from_json({"sequence": 0, "timestamp": 0, "diagnosticEvent": body})


def test_a_step_is_one_line_when_it_is_done_with_the_time_it_took():
    steps = Steps()
    assert steps.take(step("resourcePreEvent", "create"), 1.0) is None
    assert steps.running == {"Process local-etcd": ("creating", 1.0)}
    line = steps.take(step("resOutputsEvent", "create"), 3.5)
    assert line is not None
    assert line.text.split() == ["created", "Process", "local-etcd", "2.5", "s"]
    assert not steps.running
    assert steps.finished == 1


@pytest.mark.parametrize("event", ["resourcePreEvent", "resOutputsEvent"])
def test_what_stays_the_same_and_what_only_groups_is_silent(event):
    steps = Steps()
    assert steps.take(step(event, "same"), 0) is None
    assert steps.take(step(event, "create", "local", "surge:cluster:Local", custom=False), 0) is None
    assert steps.take(step(event, "create", "surge-local", "pulumi:pulumi:Stack"), 0) is None
    assert not steps.running


def test_a_replacement_is_told_as_its_two_halves():
    steps = Steps()
    lines = [
        steps.take(step(kind, op), at)
        for op, at in (("create-replacement", 1.0), ("replace", 2.0), ("delete-replaced", 3.0))
        for kind in ("resourcePreEvent", "resOutputsEvent")
    ]
    assert [line.text.split(" Process")[0].strip() for line in lines if line] == [
        "created anew",
        "deleted the old",
    ]


def test_a_preview_says_what_would_be_done_and_counts_nothing_as_done():
    steps = Steps()
    line = steps.take(step("resourcePreEvent", "update", planning=True), 0)
    assert line is not None
    assert (line.kind, line.text.split()[:3]) == ("plan", ["would", "be", "updated"])
    assert steps.take(step("resOutputsEvent", "update", planning=True), 1) is None
    assert (steps.running, steps.finished) == ({}, 0)


def test_a_refresh_speaks_of_drift_only():
    steps = Steps()
    assert steps.take(step("resOutputsEvent", "refresh"), 0) is None
    drift = steps.take(step("resOutputsEvent", "refresh", diffs=["running"]), 0)
    assert drift is not None
    assert drift.text.startswith("changed outside")


def test_a_failed_step_says_what_failed_and_its_reason_names_the_resource_once():
    steps = Steps()
    steps.take(step("resourcePreEvent", "create"), 1.0)
    failed = steps.take(step("resOpFailedEvent", "create"), 4.0)
    assert failed is not None
    assert failed.text == "failed creating Process local-etcd  3.0 s"
    urn = "urn:pulumi:local::surge::surge:local:Process::local-etcd"
    reason = steps.take(said("<{%reset%}>port 21000 is taken<{%reset%}>\n", urn=urn), 4.1)
    assert reason is not None
    assert reason.text == "local-etcd: port 21000 is taken"
    assert steps.take(said("port 21000 is taken", urn=urn), 4.2) is None
    assert steps.problems == ["local-etcd: port 21000 is taken"]


def test_a_refusal_of_the_program_is_shown_as_it_was_written():
    line = Steps().take(
        said("error: a stack of kind aws is not available yet: EKS is missing.", urn=STACK), 0
    )
    assert line is not None
    assert line.text == "a stack of kind aws is not available yet: EKS is missing."


def test_passing_remarks_and_repetitions_are_dropped():
    steps = Steps()
    assert steps.take(said("still waiting", "info", ephemeral=True), 0) is None
    assert steps.take(said("update failed"), 0) is None
    assert steps.take(said("registering resource: name=local-etcd", "debug"), 0) is None
    assert steps.take(said("using pulumi-resource-surge from $PATH at /bin/x", "warning"), 0) is None
    assert steps.take(said("  \n", "info#err"), 0) is None
    assert steps.problems == []


def test_of_a_traceback_the_reason_and_our_own_line_are_left():
    text = readable(
        "error: Program failed with an unhandled exception:\nTraceback (most recent call last):\n"
        '  File "/p/components/stack.py", line 12, in build\n    x()\n'
        '  File "/p/.tools/venv/lib/python3.11/site-packages/pulumi/a.py", line 3, in y\n    z()\n'
        "KeyError: 'amqp'\n"
    )
    assert text == "KeyError: 'amqp'\n(at /p/components/stack.py, line 12, in build)"


def test_the_total_names_only_what_happened():
    assert totals({"create": 4, "delete": 1, "same": 60}, 12.4) == "created 4, deleted 1, 60 unchanged, 12 s"
    assert totals({"same": 64}, 1.2) == "nothing to do, 64 unchanged, 1 s"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach amqp://worker:hunter22@127.0.0.1:21011/surge", "hunter22"),
        ("GET /v1 Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----", "MHcCAQ"),
        ('{"admin_password": "opensesame"}', "opensesame"),
        ("saturation_token=sesame12", "sesame12"),
        ("users: client-key-data: LS0tLS1C", "LS0tLS1C"),
    ],
)
def test_no_secret_passes(text, secret):
    assert secret not in redacted(text)


def test_a_message_without_a_secret_is_left_alone():
    text = "https://127.0.0.1:21002/api: secret broker not found; see docs/cli.md: section 2"
    assert redacted(text) == text
