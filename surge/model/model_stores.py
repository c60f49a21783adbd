"""Does the stack know where each filter's model lies?"""

from collections.abc import Iterable

from surge.model.filter import Filter
from surge.model.problems import Path, did_you_mean
from surge.model.settings import Settings
from surge.model.workers import Models

__all__ = ["NAS", "model_store_problems", "share_and_folder"]

NAS = "nas://"


def share_and_folder(model: str) -> tuple[str, str] | None:
    """("models", "style/v3") for nas://models/style/v3, None for an object."""
    if not model.startswith(NAS):
        return None
    share, _, folder = model.removeprefix(NAS).partition("/")
    return share, folder


def model_store_problems(filters: Iterable[Filter], settings: Settings) -> list[tuple[Path, str]]:
    """Return (path in the catalogue, which setting is missing) of the filters that run on the stack."""
    found: list[tuple[Path, str]] = []
    for each in filters:
        if each.model is None or not each.runs_at(settings.place):
            continue
        if (text := _missing(each.model, settings.workers.models)) is not None:
            found.append((("filters", each.name, "model"), text))
    return found


def _missing(model: str, models: Models) -> str | None:
    place = share_and_folder(model)
    if place is None:
        if models.puller is not None:
            return None
        return f"{model} is an object, and nothing pulls it: set workers.models.puller of the stack"
    share, _ = place
    if share in models.shares:
        return None
    hint = did_you_mean(share, models.shares) if models.shares else ""
    return f'unknown share "{share}"{hint}; or set workers.models.shares.{share} of the stack'
