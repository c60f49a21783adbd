"""Run the scenes that show the wanted clauses, and put the verdicts in order."""

from collections.abc import Collection

from surge.contract.clauses import CLAUSES, Verdict
from surge.contract.scenes import SCENES
from surge.contract.stage import Options
from surge.contract.subject import Subject

__all__ = ["Subject", "check"]


async def check(subject: Subject, options: Options, clauses: Collection[int] = ()) -> list[Verdict]:
    """One verdict for each of `clauses`; of all ten without any.

    Raises ScratchError when the broker cannot serve, OSError when the command cannot be started.
    """
    wanted = sorted(clauses or (clause.number for clause in CLAUSES))
    found: dict[int, Verdict] = {}
    for scene, shown in SCENES.items():
        if not set(shown).intersection(wanted):
            continue
        seen = await scene(subject, options)
        found |= {verdict.clause: verdict for verdict in seen}
        if len(seen) < len(shown):  # it never consumed: another start would wait in vain, and as long
            break
    early = next((verdict for verdict in found.values() if verdict.state == "broken"), None)
    why = (
        f"the worker did not come so far: clause {early.clause} is broken"
        if early
        else "nothing was seen of it"
    )
    return [found.get(number, Verdict(number, "not checked", why)) for number in wanted]
