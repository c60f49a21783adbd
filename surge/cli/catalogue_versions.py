"""The catalogue as it was: at a commit, or in another file."""

import io
import subprocess
import tempfile
import zipfile
from pathlib import Path

from surge.cli.console import Refusal
from surge.model import Catalogue, ProblemsError

__all__ = ["catalogue_at"]


def catalogue_at(root: Path, path: str, against: str) -> Catalogue:
    """Return the catalogue in the file or folder `against`, else the one that `path` was at that commit.

    Raises Refusal when there is neither, or what is there is not valid.
    """
    other = Path(against)
    try:
        if other.exists():
            return Catalogue.read(other)
        with tempfile.TemporaryDirectory(prefix="surge-catalogue-") as folder:
            _check_out(root, path, against, Path(folder))
            return Catalogue.read(Path(folder) / path)
    except ProblemsError as error:
        raise Refusal(
            f"the catalogue of {against} is not valid by today's rules, so nothing can be compared with it:",
            *error.problems,
            "Compare with another one: surge filter diff --against REF",
        ) from error


def _check_out(root: Path, path: str, reference: str, folder: Path) -> None:
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    if commit is None:
        raise Refusal(
            f'"{reference}" is neither a file nor a commit of this checkout',
            "Name one: surge filter diff --against HEAD~1, or --against other/filters.yaml",
        )
    packed = _git(root, "archive", "--format=zip", commit.decode().strip(), "--", path)
    if packed is None:
        raise Refusal(
            f"{path} was not there at {reference}, so there is nothing to compare with",
            "Name another commit, or a file: surge filter diff --against filters.yaml",
        )
    # Not tar: what keeps a hostile one in its folder came with Python 3.11.4, and Debian 12 has 3.11.2.
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(folder)


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise Refusal(
            "git is not installed, so no commit can be read",
            "Compare with a file: surge filter diff --against FILE",
        ) from None
    return done.stdout if done.returncode == 0 else None
