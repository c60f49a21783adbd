"""`surge worker check`: does somebody's worker keep the contract?"""

import asyncio
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.markup import escape

from surge.cli.arguments import Json
from surge.cli.console import Refusal, errors, out
from surge.cli.stacks import checkout
from surge.cli.status import find
from surge.contract import CLAUSES, Options, ScratchError, Subject, Verdict, check
from surge.contract.subject import container_engine
from surge.policy.topology import VHOST

__all__ = ["register"]

worker = typer.Typer(no_args_is_help=True, help="Workers that teams bring: docs/bring-your-own-worker.md.")
STYLES = {"kept": "green", "broken": "red", "not checked": "yellow"}


def register(app: typer.Typer) -> None:
    app.add_typer(worker, name="worker")


@worker.command("check")
def check_worker(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND...", help="Starts the worker; with --image, its arguments. Put -- before."
        ),
    ] = None,
    *,
    image: Annotated[str, typer.Option(help="Check a container of this image, with docker or podman.")] = "",
    amqp_url_file: Annotated[
        Path | None, typer.Option(help="File with the AMQP URL of a broker where queues may be declared.")
    ] = None,
    stack: Annotated[
        str, typer.Option(help="Without a URL: the running local stack whose broker is used.")
    ] = "local",
    slots: Annotated[int, typer.Option(min=1, max=64, help="SURGE_SLOTS of the worker.")] = 2,
    job_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds the job of --message takes; a second or more shows most."),
    ] = None,
    ready_s: Annotated[
        float, typer.Option(min=1, help="Seconds it may take to be Ready, three times over.")
    ] = 120,
    grace_s: Annotated[int, typer.Option(min=1, help="SURGE_GRACE_S of the worker.")] = 30,
    message: Annotated[Path | None, typer.Option(help="File with the body of a job that goes well.")] = None,
    poison: Annotated[
        Path | None, typer.Option(help="File with one that fails; an empty body without.")
    ] = None,
    clause: Annotated[
        list[int] | None, typer.Option(min=1, max=len(CLAUSES), help="Only this clause; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Run the worker contract against a command or an image, on scratch queues, clause by clause.

    The worker is started up to three times. Exit code 1 when a clause is broken; a clause that could
    not be checked says why, and breaks nothing.
    """
    if job_s is not None and job_s > grace_s:
        raise Refusal(
            f"a job of {job_s:g} s cannot be done in a grace of {grace_s} s: clause 10 would look broken.",
            f"Give more: --grace-s {ceil(job_s) + 30}",
        )
    options = Options(
        url=_url(amqp_url_file, stack),
        slots=slots,
        job_s=job_s,
        ready_s=ready_s,
        grace_s=grace_s,
        message=_body(message, Options.message),
        poison=_body(poison, Options.poison),
    )
    subject = _subject(command or [], image)
    errors.print("checking on scratch queues; this takes three starts of the worker and some jobs")
    try:
        verdicts = asyncio.run(check(subject, options, clause or ()))
    except ScratchError as error:
        raise Refusal(
            str(error),
            "It declares, fills and deletes queues filter.check-*: want a user with all rights on its vhost",
        ) from error
    except OSError as error:
        raise Refusal(f"{subject.command[0]} cannot be started: {error.strerror}") from error
    if json:
        out.print_json(data=_as_json(verdicts))
    else:
        _print(verdicts)
    raise typer.Exit(any(verdict.state == "broken" for verdict in verdicts))


def _subject(command: Sequence[str], image: str) -> Subject:
    if not image:
        if not command:
            raise Refusal(
                "nothing to check: want a command or --image. For example:",
                "surge worker check --job-s 1 -- python -m worker.example --job-s 1",
            )
        return Subject(command)
    engine = container_engine()
    if engine is None:
        raise Refusal(
            "no docker or podman answers here, so no container can be checked.",
            "Start one of them, or check the command inside the image: surge worker check -- COMMAND",
        )
    return Subject([image, *command], engine)


def _url(file: Path | None, stack: str) -> str:
    if file is None:
        running = find(checkout(), stack)
        password = quote(running.access["admin_password"], safe="")
        return f"amqp://admin:{password}@{running.endpoints['amqp']}/{VHOST}"
    url = _read(file).decode(errors="replace").strip()
    if not url.startswith(("amqp://", "amqps://")):
        raise Refusal(f"{file} holds no amqp:// or amqps:// URL")
    return url


def _body(file: Path | None, default: bytes) -> bytes:
    return default if file is None else _read(file)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}") from error


def _as_json(verdicts: Sequence[Verdict]) -> dict[str, object]:
    return {
        "kept": all(verdict.state != "broken" for verdict in verdicts),
        "clauses": [
            {
                "number": clause.number,
                "text": clause.text,
                "checked": clause.checked,
                "state": verdict.state,
                "seen": verdict.seen,
                "mend": clause.mend if verdict.state == "broken" else None,
            }
            for verdict in verdicts
            for clause in [CLAUSES[verdict.clause - 1]]
        ],
    }


def _print(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        clause = CLAUSES[verdict.clause - 1]
        style = STYLES[verdict.state]
        out.print(f"{clause.number:>2}  [{style}]{verdict.state:<11}[/]  {escape(clause.text)}")
        out.print(f"{'':17}seen: {escape(verdict.seen)}")
        if verdict.state == "broken":
            out.print(f"{'':17}mend: {escape(clause.mend)}")
    counted = [sum(verdict.state == state for verdict in verdicts) for state in STYLES]
    out.print(", ".join(f"{count} {state}" for count, state in zip(counted, STYLES, strict=True) if count))
    if counted[1]:
        errors.print("The contract, and how the check reads: docs/bring-your-own-worker.md")
