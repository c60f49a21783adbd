"""What is printed at the end of `surge up`: what runs, where, and what to try next."""

from collections.abc import Mapping
from pathlib import Path

from surge.cli.loop import Closing
from surge.cli.state import Snapshot, health
from surge.cli.tables import FILTER_COLUMNS, PROCESS_COLUMNS, as_json, filter_rows, plain, process_rows
from surge.stack_outputs import RunningStack

__all__ = ["as_text", "next_steps", "up_json"]


def as_text(stack: RunningStack, closing: Closing, kubeconfig: Path) -> str:
    snapshot = closing.snapshot
    state = f"loop closed after {closing.took_s:.0f} s" if closing.closed else "loop still open"
    parts = [
        plain(PROCESS_COLUMNS, process_rows(snapshot.processes)),
        plain(FILTER_COLUMNS, filter_rows(snapshot.filters)),
        f"{stack.name}: {state}",
        next_steps(kubeconfig),
    ]
    return "\n\n".join(parts)


def next_steps(kubeconfig: Path) -> str:
    return "\n".join(
        [
            "Try next:",
            "  make spike      seven times the load; ends with build/spike/spike.png",
            "  surge watch     the same table, live",
            f"  KUBECONFIG={kubeconfig} .tools/bin/kubectl get hpa,deployment -n filters",
            "  make down       stop everything",
        ]
    )


def up_json(stack: RunningStack, closing: Closing) -> Mapping[str, object]:
    snapshot: Snapshot = closing.snapshot
    return {
        "stack": stack.name,
        "closed": closing.closed,
        "took_s": round(closing.took_s, 1),
        "code": health(snapshot),
        "endpoints": dict(stack.endpoints),
        "directory": stack.directory,
        **as_json(snapshot),
    }
