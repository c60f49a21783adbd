"""1,200 filters on a real local stack: up from empty, a preview without change, one entry changed."""

import copy
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.bench.fleet import catalogue
from lab.bench.fleet.meter import Cost, metered, requests_of_administrators
from lab.checkout import Checkout, scratch_checkout
from lab.control_plane import TOOLS, write_private
from surge.engine import create_stack, engine_environment, pulumi_command, stack_environment
from surge.stack_outputs import StackNotRunningError, running_stack

__all__ = ["Figures", "whole"]

BASE_PORT = 26_000
STACK = "local"


@dataclass(frozen=True)
class Figures:
    """What each of the three updates cost."""

    up: Cost
    noop: Cost
    one_change: Cost


def whole(count: int = catalogue.COUNT, *, timeout_s: float = 900) -> Figures:
    """Every filter in the stack itself."""
    with _checkout(count) as (checkout, document):
        environment = _engine(checkout)
        pulumi = pulumi_command(environment)

        def run(*arguments: str) -> Cost:
            command = [pulumi, "--non-interactive", *arguments, "--stack", STACK]
            return metered(
                command,
                folder=checkout.root,
                environment=environment,
                calls=lambda: _calls(checkout),
                timeout_s=timeout_s,
            )

        up = run("up", "--yes", "--skip-preview")
        noop = run("preview", "--expect-no-changes")
        _write(checkout, catalogue.changed(document))
        return Figures(up, noop, run("up", "--yes", "--skip-preview"))


@contextmanager
def _checkout(count: int) -> Iterator[tuple[Checkout, dict[str, Any]]]:
    settings = copy.deepcopy(dict(catalogue.SETTINGS))
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as folder,
        scratch_checkout(Path(folder), base_port=BASE_PORT, settings=settings) as checkout,
    ):
        document = catalogue.document(count)
        _write(checkout, document)
        yield checkout, document


def _write(checkout: Checkout, document: dict[str, Any]) -> None:
    text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
    (checkout.root / "filters.yaml").write_text(text)


def _engine(checkout: Checkout) -> dict[str, str]:
    environment = engine_environment(checkout.root, environment=checkout.environment)
    environment = stack_environment(checkout.root, STACK, environment)
    create_stack(checkout.root, STACK, environment)
    return environment


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
