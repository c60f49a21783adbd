"""Parts of large packages without what those packages import for everybody."""

import sys
from importlib.util import find_spec, module_from_spec

__all__ = ["bare"]


def bare(*packages: str) -> None:
    """Have modules of these packages imported without the packages' own code; outer packages first.

    A plugin starts with every update, and needs little of Pulumi's SDK and of Kubernetes' client: the rest
    was a third of its start. What is imported already stays as it is.
    """
    for package in packages:
        spec = find_spec(package)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        sys.modules.setdefault(package, module_from_spec(spec))
