"""1,200 filters on a real local stack: up from empty, a preview without change, one entry changed.

Ours is `surge fleet`: shards, a stack each. The peer is the same program as one stack, by plain
`pulumi`, told to save its state at the end as the shards do: at the engine's default, a write of the
whole state at each step, it does not end within the hour (docs/adr/0011-shard-state.md).
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.bench import Row
from lab.bench.fleet import catalogue
from lab.bench.fleet.meter import Cost, metered, requests_of_administrators
from lab.checkout import Checkout, scratch_checkout
from lab.control_plane import TOOLS, write_private
from surge.engine import create_stack, engine_environment, pulumi_command, saves_at_the_end, stack_environment
from surge.stack_outputs import StackNotRunningError, running_stack

__all__ = ["Figures", "rows", "sharded", "whole"]

BASE_PORT = 26_000
STACK = "local"
PATIENCE_S = 1_800.0

Run = Callable[..., Cost]


@dataclass(frozen=True)
class Figures:
    """What each of the three updates cost; one_change: the median of three."""

    up: Cost
    noop: Cost
    one_change: Cost


def rows() -> list[Row]:
    ours, peer = sharded(), whole()
    return [
        *_rows("up_1200", ours.up, peer.up),
        *_rows("noop_1200", ours.noop, peer.noop),
        *_rows("one_change", ours.one_change, peer.one_change),
    ]


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
        )


def _figures(
    checkout: Checkout, document: Mapping[str, Any], *, up: Callable[[], Cost], noop: Callable[[], Cost]
) -> Figures:
    first, none = up(), noop()
    changes: list[Cost] = []
    for version in ("second", "third", "fourth"):
        _write(checkout, catalogue.changed(document, version))
        changes.append(up())
    return Figures(first, none, sorted(changes, key=lambda cost: cost.wall_s)[1])


def _rows(name: str, ours: Cost, peer: Cost) -> list[Row]:
    figures = {
        "s": ("s", ours.wall_s, peer.wall_s),
        "cpu_s": ("CPU s", ours.cpu_s, peer.cpu_s),
        "rss_mib": ("MiB", ours.rss_mib, peer.rss_mib),
        "api_calls": ("calls", ours.api_calls, peer.api_calls),
    }
    return [
        Row(name=f"{name}_{key}", unit=unit, ours=of_ours, peer=of_peer, runs=[of_ours])
        for key, (unit, of_ours, of_peer) in figures.items()
    ]


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
