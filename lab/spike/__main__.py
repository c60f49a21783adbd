"""Replay a spike on a running stack: `python -m lab.spike`, or `make spike`.

Writes build/spike/report.json and build/spike/spike.png. Exit code 0: every published message was
finished, and every filter came back to its minimum; 1: some were lost, one was taken from a worker by
a scale-in, one was finished twice by workers that were neither killed nor lost the broker, or a filter
kept more workers than its minimum; 2: the stack does not run or the shape is wrong; 130: interrupted,
the report says so. Without Prometheus there is no picture, and 0 becomes 1.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from lab.load import events
from lab.publisher import PublishRefusedError
from lab.spike.picture import draw
from lab.spike.report import FilterFacts, filter_figures, total_figures, waits_of
from lab.spike.run import Course, LateScheduleError, replay
from lab.spike.shape import Shape
from lab.spike.view import View
from surge.cli.console import Refusal
from surge.cli.status import find
from surge.model import ProblemsError
from surge.stack_outputs import RunningStack

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "spike"
FAILED, REFUSED, INTERRUPTED = 1, 2, 130


def main() -> int:
    asked = _arguments()
    console = Console(stderr=True)
    try:
        shape = Shape.read(asked.shape)
        stack = find(ROOT, asked.stack)
        _require_filters(shape, stack)
        with View(shape.length_s) as view:
            course = replay(stack, shape, asked.seed, view.show)
    except ProblemsError as wrong:
        console.print("\n".join(wrong.problems), markup=False)
        return REFUSED
    except Refusal as refusal:
        console.print("\n".join(refusal.lines), markup=False)
        return REFUSED
    except (LateScheduleError, PublishRefusedError) as error:
        console.print(str(error), markup=False)
        return FAILED
    report = _report(stack, shape, course, asked)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    compared = [name for name in shape.busy if name.startswith("ghibli")] or list(shape.busy)
    _tell(report)
    try:
        draw(OUT / "spike.png", stack.endpoints["prometheus"], report, compared)
    except OSError as error:
        console.print(
            f"no picture: Prometheus at {stack.endpoints['prometheus']} does not answer ({error}). "
            "The report is whole. See what runs: make status",
            markup=False,
        )
        return _code(report) or FAILED
    return _code(report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.spike", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "lab" / "shapes" / "step.yaml"
    parser.add_argument("--shape", type=Path, default=default, help="file with base, growth, plateau, decay")
    parser.add_argument("--stack", default="local")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same arrivals")
    return parser.parse_args()


def _require_filters(shape: Shape, stack: RunningStack) -> None:
    unknown = sorted(set(shape.busy) - set(stack.filters))
    if unknown:
        raise ProblemsError(
            f"busy: {name}: no filter of stack {stack.name}; it has {', '.join(sorted(stack.filters))}"
            for name in unknown
        )


def _report(stack: RunningStack, shape: Shape, course: Course, asked: argparse.Namespace) -> dict[str, Any]:
    journal = events(Path(stack.directory))
    facts = {name: _facts(stack, shape, course, name, journal) for name in shape.busy}
    filters = {name: filter_figures(item, stack.time_factor) for name, item in facts.items()}
    waits = [wait for item in facts.values() for wait in waits_of(item, stack.time_factor)]
    return {
        "units": "model seconds",
        "time_factor": stack.time_factor,
        "hpa_sync_s": stack.hpa_sync_s,
        "shape": {"name": asked.shape.stem, **shape.model_dump()},
        "seed": asked.seed,
        "commit": _commit(),
        "started_at": datetime.fromtimestamp(course.start, UTC).isoformat(timespec="seconds"),
        "start": course.start,
        "end": course.end,
        "interrupted": course.interrupted,
        "publish_lag_s": round(course.lag_s * stack.time_factor, 3),
        "back_at_minimum": course.at_minimum,
        "total": total_figures(filters.values(), waits),
        "filters": filters,
    }


def _facts(
    stack: RunningStack, shape: Shape, course: Course, name: str, journal: list[dict[str, Any]]
) -> FilterFacts:
    summary = stack.filters[name]
    return FilterFacts(
        signal=summary["signal"],
        slots=int(summary["slots"]),
        slo_s=float(summary["slo_s"]),
        warmup_s=float(summary["warmup_s"]),
        hpa_sync_s=stack.hpa_sync_s,
        capacity=shape.factor * shape.busy[name],
        published={key: at for (of_filter, key), at in course.published.items() if of_filter == name},
        events=[event for event in journal if event["filter"] == name],
        spike_at=course.start + shape.base_s / stack.time_factor,
        start=course.start,
        end=course.end,
    )


def _commit() -> str | None:
    """None in a copy of the project that is no checkout."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _tell(report: dict[str, Any]) -> None:
    console = Console()
    total = report["total"]
    console.print(
        f"published {total['published']:.0f}, finished {total['finished']:.0f}, lost {total['lost']:.0f}, "
        f"finished twice {total['finished_twice']:.0f}, redelivered by a scale-in "
        f"{total['redelivered_by_scale_in']:.0f}"
    )
    for name, item in report["filters"].items():
        console.print(
            f"  {name} ({item['signal']}): late {100 * item['late_share']:.2f} %, "
            f"wait p99 {item['wait_p99_s']} s, {_capacity(item)}, peak {item['peak_workers']}, "
            f"{item['busy_victims']} of {item['victims']} scaled in while busy, "
            f"{item['worker_seconds'] / 3600:.1f} worker hours"
        )
    away = [name for name, back in report["back_at_minimum"].items() if not back]
    console.print(f"back at the minimum of workers: {'all but ' + ', '.join(away) if away else 'all'}")
    console.print("build/spike/report.json  build/spike/spike.png")


def _capacity(item: dict[str, Any]) -> str:
    """When a filter had workers for all of its load, beside the time that can be hoped for."""
    took_s, bound_s = item["time_to_capacity_s"], item["capacity_bound_s"]
    if took_s is None:
        return f"capacity never (bound {bound_s} s)"
    return f"capacity after {took_s} s ({'within' if took_s <= bound_s else 'beyond'} {bound_s} s)"


def _code(report: dict[str, Any]) -> int:
    if report["interrupted"]:
        return INTERRUPTED
    total = report["total"]
    wrong = ("lost", "redelivered_by_scale_in", "finished_twice_unexplained")
    failed = any(total[name] for name in wrong) or not all(report["back_at_minimum"].values())
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
