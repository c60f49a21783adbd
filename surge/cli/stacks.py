"""Which stacks there are, what they are set to, and where their state lies."""

from pathlib import Path

from surge.cli.console import Refusal
from surge.engine import EngineError, engine_environment
from surge.model import Settings
from surge.model.problems import did_you_mean
from surge.model.yaml_reader import read_yaml

__all__ = [
    "PROJECT",
    "checkout",
    "cluster_directory",
    "is_kept_here",
    "kubeconfig_file",
    "own_backend",
    "read_settings",
    "require_stack",
    "stack_names",
    "state_directory",
    "state_file",
]

PROJECT = "surge"


def checkout() -> Path:
    """The folder of Pulumi.yaml."""
    return Path(__file__).resolve().parents[2]


def stack_names(root: Path) -> list[str]:
    """Every stack with a settings file `Pulumi.<name>.yaml`, sorted."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in root.glob("Pulumi.*.yaml")
    )


def require_stack(root: Path, name: str) -> None:
    """Raise Refusal when there is no such stack."""
    names = stack_names(root)
    if name not in names:
        listed = ", ".join(names) or "none"
        raise Refusal(
            f'there is no stack "{name}"{did_you_mean(name, names)}'
            if names
            else f'there is no stack "{name}".',
            f"A stack is a file Pulumi.<name>.yaml with its settings. Stacks here: {listed}",
        )


def read_settings(root: Path, name: str) -> Settings:
    """Return the settings in `Pulumi.<name>.yaml`. Raises ProblemsError, Refusal."""
    require_stack(root, name)
    path = root / f"Pulumi.{name}.yaml"
    document = read_yaml(path).value
    config = document.get("config") if isinstance(document, dict) else None
    given = config.get("surge:settings") if isinstance(config, dict) else None
    return Settings.parse(given)


def state_directory(root: Path) -> Path:
    """Of the engine's file backend."""
    return root / ".surge" / "state"


def own_backend(root: Path) -> bool:
    """Whether stacks are kept in this checkout; False when the user's own Pulumi backend keeps them."""
    if not (root / ".surge").exists():  # nothing was ever up from here; asking would make the folder
        return True
    try:
        backend = engine_environment(root).get("PULUMI_BACKEND_URL")
    except (EngineError, OSError):  # on a full disk it cannot make its passphrase
        return True
    return backend == f"file://{state_directory(root)}"


def is_kept_here(root: Path, name: str) -> bool:
    """Whether there is such a stack, and its state lies in this checkout."""
    return own_backend(root) and state_file(root, name).exists()


def state_file(root: Path, name: str) -> Path:
    return state_directory(root) / ".pulumi" / "stacks" / PROJECT / f"{name}.json"


def kubeconfig_file(root: Path, name: str) -> Path:
    """Of the administrator, mode 0600, while the stack is up."""
    return root / ".surge" / f"kubeconfig-{name}"


def cluster_directory(root: Path, cluster: str) -> Path:
    return root / ".surge" / "clusters" / cluster
