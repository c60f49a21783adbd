"""`python -m lab.numbers [TABLE...]` prints the tables of the pages in docs/, from the functions that run.

A page names the command, and the table stands below it; `--write` brings all of them up to date.
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from components.saturation.settings import SCHEDULING_S
from lab.catalogue_tables import class_rows, key_rows, selector_rows
from surge.model import Settings
from surge.policy.demand import BETA, desired_workers, staffed, wait_probability
from surge.policy.history import Sample
from surge.policy.signal import active_ratio, active_ratio_raw
from surge.policy.target import GROWTH_PER_S, erlang_c, servers_for, target_ratio
from surge.twin import Scenario, simulate
from surge.twin.hpa import Trigger, hpa_wanted
from surge.twin.laws import CaseStudy, Demanded, Law, QueueLength

__all__ = ["PAGES", "TABLES", "refreshed"]

PAGES = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
PLACE = re.compile(r"(`python -m lab\.numbers (\w+)`:\n\n)(?:\|.*\n)*")

SERVICE_S, DRAIN_S, WARMUP_S = 8.0, 60.0, 60.0
LEAD_S = WARMUP_S + SCHEDULING_S
HISTORY_S, SAMPLE_S, STEP_S = 300, 2, 10
RATIO = Trigger("Value", 0.7)
# Who takes KEDA's default instead of `Value`.
AVERAGED = Trigger("AverageValue", 0.7)
DEMAND = Trigger("AverageValue", 1.0)
LENGTH = QueueLength(SERVICE_S).trigger

# A fleet of the case study's size, the load under which a filter is tiny, the members of a set.
FLEET, FLEET_BUSY, TINY, SET = 1200, 490.0, 0.2, 20
SEEDS = (101, 102, 103, 104, 105)


def signals() -> str:
    """Five minutes of the same counts, or ten seconds of a step after them, and what each signal asks for."""
    steady = [(10, 3, 0), (10, 7, 0), (10, 9, 0), (10, 10, 0), (10, 10, 40), (0, 0, 5)]
    rows = [_asked(f"{c} workers, {u} busy, {b} wait", _steady(c, u, b)) for c, u, b in steady]
    rows.insert(5, _asked("10 workers, 7 busy; 10 s ago arrivals rose to 7x", _step(10, 7, 7)))
    head = [
        "for five minutes",
        f"queue length, {LENGTH.target:.3g} a worker",
        "`active_ratio`",
        "`Value`, 0.7",
        "`AverageValue`, 0.7",
        "`desired_workers`",
        "`AverageValue`, 1",
    ]
    return _table(head, rows)


def _steady(consumers: int, unacked: int, ready: int) -> list[Sample]:
    times = range(0, HISTORY_S + SAMPLE_S, SAMPLE_S)
    return [Sample(float(at), unacked, ready, consumers) for at in times]


def _step(consumers: int, busy: int, factor: int) -> list[Sample]:
    """`busy` for five minutes, then arrivals of `factor` times as much: what is in the system grows."""
    before = _steady(consumers, busy, 0)
    growth = (factor - 1) * busy / SERVICE_S
    after = []
    for passed in range(SAMPLE_S, STEP_S + SAMPLE_S, SAMPLE_S):
        unacked = min(float(consumers), busy + growth * passed)
        idle_s = (consumers - busy) / growth
        rate = factor * busy / SERVICE_S - consumers / SERVICE_S
        ready = max(0.0, rate * (passed - idle_s))
        after.append(Sample(float(HISTORY_S + passed), unacked, round(ready), consumers))
    return before + after


def _asked(what: str, samples: Sequence[Sample]) -> list[str]:
    last = samples[-1]
    need = desired_workers(samples, service_s=SERVICE_S, drain_s=DRAIN_S, lead_s=LEAD_S).desired_workers
    ratio = active_ratio(last.unacked, int(last.consumers), last.ready)

    def asked(metric: float, trigger: Trigger) -> str:
        workers = int(last.consumers)
        return str(hpa_wanted(metric, trigger, replicas=max(1, workers), ready=workers))

    return [
        what,
        asked(last.unacked + last.ready, LENGTH),
        f"{ratio:.3f}",
        asked(ratio, RATIO),
        asked(ratio, AVERAGED),
        f"{need:.3f}",
        asked(need, DEMAND),
    ]


def target() -> str:
    """What a filter of each size needs, and which ratio that is."""
    waiting = wait_probability(BETA["interactive"])
    rows = []
    for busy in (1, 2, 5, 10, 20, 50, 100, 500):
        exact = servers_for(busy, waiting)
        fixed = ceil(busy / RATIO.target)
        rows.append(
            [
                str(busy),
                str(exact),
                f"{busy / exact:.2f}",
                f"{target_ratio(busy, growth_per_s=0, lead_s=LEAD_S):.2f}",
                f"{target_ratio(busy, growth_per_s=GROWTH_PER_S, lead_s=LEAD_S):.2f}",
                str(fixed),
                _percent(erlang_c(fixed, busy)),
            ]
        )
    head = [
        "busy on average",
        f"workers so that {100 * waiting:.0f} % wait (Erlang C)",
        "that is a ratio of",
        "T by the square-root rule",
        "T when growing 7x in an hour",
        "workers at 0.7",
        "then wait",
    ]
    return _table(head, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-5 else "under 0.001 %"


def clamp() -> str:
    """The ratio where workers drain, take several messages, or are not there."""
    cases = {
        "10 workers, all busy, nothing waits": (10, 10, 0, 1),
        "10 workers, all busy, 500 wait": (10, 10, 500, 1),
        "20 workers, all busy, 8 of them drain (classic queue)": (20, 12, 0, 1),
        "10 workers with `slots: 4`, 20 messages in work": (20, 10, 0, 4),
        "no worker, a message waits": (0, 0, 1, 1),
        "no worker, nothing waits": (0, 0, 0, 1),
    }
    rows = [
        [
            what,
            f"{active_ratio_raw(unacked, consumers, ready):.3f}" if consumers else "",
            f"{active_ratio(unacked, consumers, ready, slots):.3f}",
        ]
        for what, (unacked, consumers, ready, slots) in cases.items()
    ]
    return _table(["what happens", "unacked / consumers", "`active_ratio`"], rows)


def band() -> str:
    """At which number of busy workers an HPA at 0.7 moves, with its tolerance of a tenth."""
    rows = []
    for workers in (1, 2, 3, 4, 5, 7, 10, 20, 50, 100):
        wanted = {
            busy: hpa_wanted(active_ratio(busy, workers, 0), RATIO, replicas=workers, ready=workers)
            for busy in range(workers + 1)
        }
        still = [busy for busy, count in wanted.items() if count == workers]
        more = [busy for busy, count in wanted.items() if count > workers]
        stays = f"{still[0]} to {still[-1]}" if len(still) > 1 else str(still[0]) if still else "never"
        rows.append([str(workers), stays, f"{more[0]}", f"{wanted[more[0]]}", f"{wanted[workers]}"])
    head = ["workers", "busy: it stays", "busy: it grows from", "then to", "all busy: to"]
    return _table(head, rows)


def _shipped() -> Settings:
    return Settings.parse({"stack-kind": "onprem", "cluster": {"name": "docs"}})


def chain() -> str:
    """From a request that finds all workers busy to a worker more, as the settings are shipped."""
    shipped = _shipped()
    delays = {
        "the broker emits a queue's counts": (shipped.broker.statistics_s, "`broker.statistics-s`"),
        "the server reads them": (shipped.saturation.sample_s, "`saturation.sample-s`"),
        "the HPA looks; KEDA reads the server then": (shipped.cluster.hpa_sync_s, "`cluster.hpa-sync-s`"),
    }
    rows = [[what, f"{s:g} s", f"{s / 2:g} s", setting] for what, (s, setting) in delays.items()]
    certain = {"the scheduler and the node": SCHEDULING_S, "the worker loads its model": WARMUP_S}
    rows += [[what, f"{s:g} s", f"{s:g} s", ""] for what, s in certain.items()]
    rows[-1][-1] = "the image; say it in `warmup-s`"
    worst = sum(s for s, _ in delays.values())
    sure = sum(certain.values())
    rows.append(["**in all**", f"**{worst + sure:g} s**", f"**{worst / 2 + sure:g} s**", ""])
    return _table(["delay", "at worst", "on average", "setting"], rows)


def speed() -> str:
    """A step to seven times 70 busy workers in the twin, with one delay changed at a time."""
    changes: dict[str, dict[str, Any]] = {
        "as shipped": {},
        "broker emits every 5 s (its default)": {"emit_s": 5.0},
        "server reads every 10 s": {"sample_s": 10.0},
        "numbers 15 s older (KEDA's `useCachedMetrics`, on average)": {"age_s": 17.0},
        "HPA looks every 5 s": {"sync_s": 5.0},
        "HPA looks every 30 s": {"sync_s": 30.0},
        "warm-up 30 s": {"lead_s": 33.0},
        "warm-up 120 s": {"lead_s": 123.0},
    }
    shipped = _shipped()
    usual = {"emit_s": shipped.broker.statistics_s, "sample_s": shipped.saturation.sample_s}
    laws = (lambda given: Demanded(given.service_s, lead_s=given.lead_s), lambda _: CaseStudy())
    rows = [
        [what, *(cell for law in laws for cell in _late(usual | change, law))]
        for what, change in changes.items()
    ]
    return _table(["setting", "demand: p99 wait", "late", "ratio 0.7: p99 wait", "late"], rows)


def _late(change: dict[str, Any], law: Callable[[Scenario], Law]) -> list[str]:
    scenarios = [Scenario(busy=70, shape="step", seed=seed, **change) for seed in SEEDS]
    outcomes = [simulate(each, law) for each in scenarios]
    wait = statistics.fmean(outcome.wait_p99_s for outcome in outcomes)
    late = statistics.fmean(outcome.late_share for outcome in outcomes)
    return [f"{wait:.0f} s", f"{100 * late:.2f} %"]


def _head_and_rows(lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return lines[0], lines[1:]


def pooling() -> str:
    """Warm workers of filters that are hardly asked for: each for itself, and in worker sets."""
    harmonic = sum(1 / rank for rank in range(1, FLEET + 1))
    zipf = [FLEET_BUSY / harmonic / rank for rank in range(1, FLEET + 1)]
    tail = [busy for busy in zipf if busy < TINY]
    fleets = {
        "20 filters, 0.02 busy each": [0.02] * 20,
        "20 filters, 0.1 busy each": [0.1] * 20,
        "100 filters, 0.1 busy each": [0.1] * 100,
        f"{len(tail)} of {FLEET:,} filters by Zipf's law, under {TINY} busy": tail,
    }
    rows = []
    for what, loads in fleets.items():
        apart = sum(_warm(load) for load in loads)
        pooled = sum(_warm(sum(loads[at : at + SET])) for at in range(0, len(loads), SET))
        saved = f"{apart - pooled} ({_percent((apart - pooled) / apart)})"
        rows.append([what, f"{sum(loads):.3g}", str(apart), str(pooled), str(_warm(sum(loads))), saved])
    head = [
        "filters",
        "busy together",
        "a worker each",
        f"in sets of {SET}",
        "in one set",
        f"saved by sets of {SET}",
    ]
    return _table(head, rows)


def _warm(load: float) -> int:
    return max(1, ceil(staffed(load, 0.0, SERVICE_S, DRAIN_S, BETA["pooled"])))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    "signals": signals,
    "target": target,
    "band": band,
    "clamp": clamp,
    "chain": chain,
    "speed": speed,
    "catalogue_keys": lambda: _table(*_head_and_rows(key_rows())),
    "catalogue_classes": lambda: _table(*_head_and_rows(class_rows())),
    "catalogue_selectors": lambda: _table(*_head_and_rows(selector_rows())),
    "pooling": pooling,
}


def refreshed(page: str) -> str:
    """Return the text of a page with its tables as they are today."""
    return PLACE.sub(lambda found: found[1] + TABLES[found[2]](), page)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.numbers", description="Print the tables of docs/.")
    parser.add_argument("table", nargs="*", help=f"of {', '.join(TABLES)}; all of them without a name")
    parser.add_argument("--write", action="store_true", help="put them into the pages instead")
    options = parser.parse_args()
    if unknown := [name for name in options.table if name not in TABLES]:
        parser.error(f"there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    if options.write:
        for page in PAGES:
            page.write_text(refreshed(page.read_text()))
        return 0
    sys.stdout.write("\n".join(TABLES[name]() for name in options.table or TABLES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
