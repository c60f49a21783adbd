"""What the user's own Pulumi lacks of a whole engine. Standard library only: the bootstrap asks too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

__all__ = ["foreign_path", "missing_official"]

PROGRAMS = ("pulumi", "pulumi-language-python")
PLUGINS = ("pulumi-resource-kubernetes", "pulumi-resource-random")


def missing_official(root: Path, given: Mapping[str, str]) -> list[str]:
    """Names of the programs and plugins that are neither on PATH nor in the user's PULUMI_HOME."""
    path = foreign_path(root, given)
    home = given.get("PULUMI_HOME") or str(Path(given.get("HOME", "~")).expanduser() / ".pulumi")
    plugins = Path(home) / "plugins"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    for name in PLUGINS:
        installed = plugins.glob(f"{name.removeprefix('pulumi-')}-v*/{name}")
        if not shutil.which(name, path=path) and not any(installed):
            missing.append(name)
    return missing


def foreign_path(root: Path, given: Mapping[str, str]) -> str:
    """PATH without what is ours: .tools/bin/pulumi is not the official one."""
    folders = given.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(
        item for item in folders if item and not Path(item).resolve().is_relative_to(root.resolve())
    )
