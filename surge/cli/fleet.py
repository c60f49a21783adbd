"""`surge fleet`: a fleet whose filters are spread over shards, one stack each, as one thing."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from providers.surge.folders import write
from surge.cli.arguments import Json, StackName
from surge.cli.console import Refusal, out
from surge.cli.fleet_display import RUN_COLUMNS, run_rows
from surge.cli.fleet_job import FleetJob, Work
from surge.cli.fleet_plan import NOTHING
from surge.cli.fleet_runs import Run
from surge.cli.operation import INTERRUPTED, Session
from surge.cli.preflight import refuse_unless_possible
from surge.cli.reshard import reshard
from surge.cli.revival import show_dead
from surge.cli.stacks import kubeconfig_file
from surge.cli.state import NOT_RUNNING
from surge.cli.tables import plain, table
from surge.stack_outputs import StackNotRunningError

__all__ = ["register"]

PARALLEL = min(8, os.cpu_count() or 1)
STATUS_COLUMNS = ("stack", "filters", "to do")

Every = Annotated[bool, typer.Option("--all", help="Also what is unchanged: the stack itself, shards.")]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, help="Shards at work at a time; each takes a core and 300 MB.")
]

fleet = typer.Typer(no_args_is_help=True, help="A fleet in shards, a stack each, as one thing.")


def register(app: typer.Typer) -> None:
    fleet.command()(reshard)
    app.add_typer(fleet, name="fleet")


@fleet.command()
def up(
    stack: StackName = "local", every: Every = False, parallel: Parallel = PARALLEL, json: Json = False
) -> None:
    """Build or update a fleet: first the stack itself, if it changes, then the shards that do.

    A shard that fails stops no other. Ctrl-C ends all of them cleanly; the same command goes on from there.
    """
    job = FleetJob.read(stack, "up", quiet=json)
    if job.settings.stack_kind == "local":
        refuse_unless_possible(job.root, job.settings)
    runs = _run(job, lambda work: _up(job, work), every=every, parallel=parallel)
    if job.settings.stack_kind == "local" and runs[0].state == "done":
        write(kubeconfig_file(job.root, stack), job.outputs.get().kubeconfig)
    _finish(job, runs, json=json)


@fleet.command()
def preview(
    stack: StackName = "local", every: Every = False, parallel: Parallel = PARALLEL, json: Json = False
) -> None:
    """Show what `surge fleet up` would change, stack by stack, without doing it."""
    job = FleetJob.read(stack, "preview", quiet=json)
    _finish(job, _run(job, _preview, every=every, parallel=parallel), json=json)


@fleet.command()
def status(stack: StackName = "local", json: Json = False) -> None:
    """Show how many filters each stack of a fleet holds, and what the next `surge fleet up` would do.

    Exit code 0: nothing; 1: something; 2: not up.
    """
    job = FleetJob.read(stack, "status", quiet=True)
    if job.state.base is None:
        raise Refusal(f"stack {stack} is not up. Start it: surge fleet up {stack}", code=NOT_RUNNING)
    try:
        parts = job.parts()
    except StackNotRunningError as error:
        raise Refusal(str(error), code=NOT_RUNNING) from error
    base = job.base_is_current()
    rows = [(part.stack, len(part.filters), part.to_do) for part in parts]
    rows = [(stack, 0, NOTHING if base else "look at it"), *rows] if rows else []
    if json:
        stacks = [dict(zip(("stack", "filters", "to_do"), row, strict=True)) for row in rows]
        out.print_json(data={"stack": stack, "stacks": stacks})
    elif rows:
        out.print(plain(STATUS_COLUMNS, [tuple(map(str, row)) for row in rows]), markup=False)
    else:
        out.print(f"the fleet of {stack} is one stack. See: surge status {stack}", markup=False)
    raise typer.Exit(int(any(to_do != NOTHING for *_, to_do in rows)))


def _up(job: FleetJob, work: Session) -> None:
    if work.stack.name == job.stack:
        show_dead(work, job.settings)
    work.up()


def _preview(work: Session) -> None:
    try:
        work.perform(work.stack.preview, **work.options)
    finally:
        work.remove_if_empty()


def _run(job: FleetJob, work: Work, *, every: bool, parallel: int) -> list[Run]:
    with job.interrupts.taken():
        base = job.base(work, every=every)
        if base.state not in {"done", "current"}:
            return [base, *job.not_begun()]
        return [base, *job.shards(work, every=every, parallel=parallel)]


def _finish(job: FleetJob, runs: Sequence[Run], *, json: bool) -> None:
    """Print the one summary; raises Refusal unless every stack is as it should be."""
    if json:
        out.print_json(
            data={"stack": job.stack, "shards": job.count, "runs": [run.as_json() for run in runs]}
        )
    elif out.is_terminal:
        out.print(table(RUN_COLUMNS, run_rows(runs)))
    else:
        out.print(plain(RUN_COLUMNS, run_rows(runs)), markup=False)
    if job.interrupts.count:
        raise Refusal(
            "interrupted: all that was done is recorded",
            f"Go on where it stopped: {job.again}",
            code=INTERRUPTED,
        )
    failed = [run for run in runs if run.state == "failed"]
    if failed:
        said = [f"{run.stack}: {line}" for run in failed for line in run.said]
        raise Refusal(
            *said, f"{len(failed)} of {len(runs)} stacks failed. Then, for what is left: {job.again}"
        )
