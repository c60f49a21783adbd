"""1,200 filters on a real local stack: up from empty, a preview without change, one entry changed.

Ours is `surge fleet`: shards, a stack each. The peer is the same program as one stack, by plain
`pulumi`, told to save its state at the end as the shards do: at the engine's default, a write of the
whole state at each step, it does not end within the hour (docs/adr/0011-shard-state.md).
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from lab.bench import Row
from lab.bench.fleet import catalogue
from lab.bench.fleet.meter import Cost, metered, requests_of_administrators, until_calm
from lab.checkout import Checkout, scratch_checkout
from lab.control_plane import TOOLS, write_private
from surge.engine import create_stack, engine_environment, pulumi_command, saves_at_the_end, stack_environment
from surge.stack_outputs import StackNotRunningError, running_stack

__all__ = ["Figures", "rows", "sharded", "whole"]

BASE_PORT = 26_000
STACK = "local"
PATIENCE_S = 1_800.0

Run = Callable[..., Cost]


# What each operation cost, in the runs that there were: up_1200 from empty, noop_1200 a preview without
# change, one_change another image for a filter at rest, one_running_change for one with a worker, which is
# waited for, one_max_change and one_new_entry, which change the stack itself too.
Figures = Mapping[str, Sequence[Cost]]


def rows() -> list[Row]:
    ours, peer = sharded(), whole()
    return [row for name in ours for row in _rows(name, ours[name], peer[name])]


def sharded(count: int = catalogue.COUNT) -> Figures:
    """The filters in shards, a stack each."""
    with _checkout(count, shards=None) as (checkout, document):
        surge = [str(checkout.root / "bin" / "surge"), "fleet"]
        run = _runner(checkout, checkout.environment)
        return _figures(
            checkout,
            document,
            up=lambda: run([*surge, "up", STACK, "--json"]),
            noop=lambda: run([*surge, "preview", STACK, "--json"]),
            versions=("2nd", "3rd", "4th"),
        )


def whole(count: int = catalogue.COUNT) -> Figures:
    """Every filter in the stack itself."""
    with _checkout(count, shards=1) as (checkout, document):
        environment = _engine(checkout)
        pulumi = [pulumi_command(environment), "--non-interactive", "--stack", STACK]
        run = _runner(checkout, environment)
        return _figures(
            checkout,
            document,
            up=lambda: run([*pulumi, "up", "--yes", "--skip-preview"]),
            noop=lambda: run([*pulumi, "preview", "--expect-no-changes"]),
            # Two minutes each, and much alike.
            versions=("2nd",),
        )


def _figures(
    checkout: Checkout,
    document: Mapping[str, Any],
    *,
    up: Callable[[], Cost],
    noop: Callable[[], Cost],
    versions: Sequence[str],
) -> Figures:
    def after(change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Cost:
        nonlocal document
        document = change(document)
        _write(checkout, document)
        return up()

    renewals = [partial(catalogue.renewed, version=version) for version in versions]
    running = partial(catalogue.renewed, version="2nd", running=True)
    first = _told("up", up)
    # After an update of all filters the cluster works on for minutes.
    print(f"fleet: at rest after {until_calm():.0f} s", flush=True)
    return {
        "up_1200": [first],
        "noop_1200": [_told("preview without change", noop)],
        "one_change": [_told("one change", partial(after, change)) for change in renewals],
        "one_running_change": [_told("one change of a running filter", partial(after, running))],
        "one_max_change": [_told("one max changed", partial(after, catalogue.widened))],
        "one_new_entry": [_told("one new entry", partial(after, catalogue.extended))],
    }


def _told(title: str, work: Callable[[], Cost]) -> Cost:
    cost = work()
    print(f"fleet: {title}: {cost}", flush=True)
    return cost


def _rows(name: str, ours: Sequence[Cost], peer: Sequence[Cost]) -> Iterator[Row]:
    keys = {"s": "wall_s", "cpu_s": "cpu_s", "rss_mib": "rss_mib", "api_calls": "api_calls"}
    units = {"s": "s", "cpu_s": "CPU s", "rss_mib": "MiB", "api_calls": "calls"}
    for key, field in keys.items():
        runs = [getattr(cost, field) for cost in ours]
        peers = [getattr(cost, field) for cost in peer]
        yield Row(name=f"{name}_{key}", unit=units[key], ours=median(runs), peer=median(peers), runs=runs)


@contextmanager
def _checkout(count: int, *, shards: int | None) -> Iterator[tuple[Checkout, dict[str, Any]]]:
    """shards: None for as many as surge chooses."""
    settings = dict(catalogue.SETTINGS) | ({} if shards is None else {"fleet": {"shards": shards}})
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as folder,
        scratch_checkout(Path(folder), base_port=BASE_PORT, settings=settings) as checkout,
    ):
        document = catalogue.document(count)
        _write(checkout, document)
        yield checkout, document
        # Its state, written for each of 3,800 resources that goes, would take longer than all of the above.
        quick = replace(checkout, environment=saves_at_the_end(checkout.environment))
        quick.surge("down", STACK, "--yes", timeout_s=PATIENCE_S)


def _write(checkout: Checkout, document: Mapping[str, Any]) -> None:
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    (checkout.root / "filters.yaml").write_text(text)


def _engine(checkout: Checkout) -> dict[str, str]:
    """What plain `pulumi` needs; makes the stack."""
    environment = engine_environment(checkout.root, environment=checkout.environment)
    environment = stack_environment(checkout.root, STACK, environment)
    create_stack(checkout.root, STACK, environment)
    return saves_at_the_end(environment)


def _runner(checkout: Checkout, environment: Mapping[str, str]) -> Callable[[Sequence[str]], Cost]:
    def run(command: Sequence[str]) -> Cost:
        return metered(
            command,
            folder=checkout.root,
            environment=environment,
            calls=lambda: _calls(checkout),
            timeout_s=PATIENCE_S,
        )

    return run


def _calls(checkout: Checkout) -> int:
    """Requests that the API server has answered to administrators; 0 as long as there is none."""
    try:
        running = running_stack(checkout.root, STACK)
    except StackNotRunningError:
        return 0
    kubeconfig = checkout.root / ".surge" / "bench-kubeconfig"
    write_private(kubeconfig, running.kubeconfig)
    command = [str(TOOLS / "kubectl"), f"--kubeconfig={kubeconfig}", "get", "--raw", "/metrics"]
    metrics = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return requests_of_administrators(metrics)
