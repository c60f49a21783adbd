"""surge:local:Process as the engine sees it: check, diff, state."""

from typing import TYPE_CHECKING, Any

from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue

from . import folders, process
from .problems import PartialError, ProblemError
from .process_spec import ProcessSpec
from .values import UNKNOWN, changed, failures, has_unknown, plain, wrap

if TYPE_CHECKING:
    from .provider import Properties, Work

__all__ = ["LocalProcess"]

INPUTS = tuple(ProcessSpec.model_fields)
REPLACES = {"directory", "process"}
OUTPUTS = ("running", "log")
IN_ARGV = (
    "{} holds a secret: everyone on the machine could read it in the list of processes. "
    "Put it in files, or in environment"
)


class LocalProcess:
    def check(self, name: str, news: "Properties") -> tuple["Properties", list[tuple[str, str]]]:
        inputs = {key: value for key, value in news.items() if key not in OUTPUTS and value.value is not None}
        inputs.setdefault("process", PropertyValue(name))
        problems = failures(ProcessSpec, {key: plain(value) for key, value in inputs.items()})
        shown = {name: inputs[name] for name in ("command", "ready") if name in inputs}
        problems += [(name, IN_ARGV.format(name)) for name, value in shown.items() if value.contains_secret()]
        return inputs, problems

    def diff(self, olds: "Properties", news: "Properties") -> api.DiffResponse:
        names = changed(olds, news, INPUTS)
        kinds = api.PropertyDiffKind
        shown = {
            name: api.PropertyDiff(kinds.UPDATE_REPLACE if name in REPLACES else kinds.UPDATE, True)
            for name in names
        }
        if "running" in olds and olds["running"].value is False:
            shown["running"] = api.PropertyDiff(kinds.UPDATE, False)
        replaces = sorted(REPLACES & set(names))
        return api.DiffResponse(
            changes=bool(shown),
            replaces=replaces,
            # Two of them would want the same ports.
            delete_before_replace=bool(replaces),
            diffs=list(shown),
            detailed_diff=shown,
        )

    def create(self, name: str, news: "Properties", work: "Work") -> tuple[str, "Properties"]:
        del name
        if work.preview:
            _demand_ours(news)
            return "", _state(news, UNKNOWN)
        spec = _spec(news)
        self._put(spec, news, [], work)
        return spec.marker, _state(news, True)

    def read(self, identifier: str, state: "Properties") -> "Properties | None":
        del identifier
        return _state(state, process.is_running(_spec(state)))

    def update(self, identifier: str, olds: "Properties", news: "Properties", work: "Work") -> "Properties":
        del identifier
        if work.preview:
            _demand_ours(news)
            return _state(news, UNKNOWN if _restarts(olds, news) else True)
        spec, old = _spec(news), _spec(olds)
        stale = sorted({*old.files, *old.live_files} - {*spec.files, *spec.live_files})
        if _restarts(olds, news) or not process.is_running(spec):
            self._put(spec, news, stale, work)
        else:
            process.write_live_files(spec, stale=stale)
        return _state(news, True)

    def delete(self, identifier: str, state: "Properties") -> None:
        del identifier
        process.delete(_spec(state))

    def _put(self, spec: ProcessSpec, news: "Properties", stale: list[str], work: "Work") -> None:
        try:
            process.put(spec, stale=stale, cancelled=work.cancelled, tell=work.tell)
        except process.NotReadyError as error:
            raise PartialError(str(error), spec.marker, _state(news, False)) from error


def _restarts(olds: "Properties", news: "Properties") -> bool:
    dead = "running" in olds and olds["running"].value is not True
    return dead or any(name != "live_files" for name in changed(olds, news, INPUTS))


def _demand_ours(news: "Properties") -> None:
    directory = plain(news["directory"])
    if not has_unknown(directory):
        folders.demand_ours(folders.Path(directory))


def _spec(values: "Properties") -> ProcessSpec:
    """From inputs or from a state, whichever of its fields are there."""
    known: dict[str, Any] = {name: plain(values[name]) for name in INPUTS if name in values}
    problems = failures(ProcessSpec, known)
    if problems:
        raise ProblemError("; ".join(reason for _, reason in problems))
    return ProcessSpec.model_validate(known)


def _state(values: "Properties", running: Any) -> "Properties":
    state = {name: values[name] for name in INPUTS if name in values}
    place = plain(values["directory"]), plain(values["process"])
    log = UNKNOWN if has_unknown(list(place)) else "{}/logs/{}.log".format(*place)
    return {**state, "running": wrap(running), "log": wrap(log)}
