"""Which Pulumi engine runs, and the environment it runs in.

`official`: the user's own `pulumi`, its Python language host and providers. `bundled`: the CLI of
`make tools` with the plugins in toolchain/engine/bin.

Pulumi writes `encryptionsalt` into the stack file that it works with, and the committed
Pulumi.<stack>.yaml must stay clean. So operations read a copy, `.surge/Pulumi.<stack>.yaml`, which
keeps the salt: `stack_environment` refreshes it and names it in PULUMI_OPTION_CONFIG_FILE, which
the CLI takes for `--config-file`. `stack init` has no such flag: `create_stack` runs it in `.surge`,
on a project file that has the same project name.
"""

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from toolchain.official import foreign_path, missing_official

__all__ = [
    "BUNDLED",
    "EngineError",
    "create_stack",
    "ends_in_seconds",
    "engine_environment",
    "pulumi_command",
    "read_pulumi",
    "saves_at_the_end",
    "shell_exports",
    "stack_environment",
]

CHOICE = "SURGE_ENGINE"
# Of the SDK's version (toolchain/build.py).
BUNDLED = Path(".tools/bin/pulumi")
SALT = "encryptionsalt"
# What `told` may say: see __main__.py.
TOLD = ("surge:shards", "surge:shard")
# Nothing else of the user's environment has to be said again in a shell.
EXPORTED = ("PATH", "PULUMI_")
# Most operations wait, for workers to be warm: the engine's default, four a core, would have 300 of them
# take turns. As many as the kubernetes plugin keeps connections.
PARALLEL = "64"


class EngineError(Exception):
    """No engine can be used; says what was seen and the next command."""


def engine_environment(
    root: Path, choose: str | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment for `pulumi` on this checkout; makes .surge/passphrase when there is none.

    choose: "official" or "bundled"; default $SURGE_ENGINE, else official where it is complete.
    Raises EngineError for another choice, or for an engine that is not there.
    """
    given = dict(os.environ if environment is None else environment)
    engine = _choice(root, choose or given.get(CHOICE), given)
    chosen = _paths(root, engine, given)
    chosen |= {"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
    if engine == "bundled":
        chosen["PULUMI_HOME"] = str(_home(root))
    merged = {"PULUMI_PARALLEL": PARALLEL, **given, **chosen}
    merged.pop("PULUMI_IGNORE_AMBIENT_PLUGINS", None)  # our own plugins are on PATH
    if not given.get("PULUMI_BACKEND_URL") and not (engine == "official" and _logged_in(given)):
        (root / ".surge" / "state").mkdir(parents=True, exist_ok=True)
        merged["PULUMI_BACKEND_URL"] = f"file://{root}/.surge/state"
    if "PULUMI_CONFIG_PASSPHRASE" not in given and not given.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        merged["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase(root))
    return merged


def stack_environment(
    root: Path,
    stack: str,
    environment: Mapping[str, str],
    *,
    settings_of: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the environment for operations on one stack; copies its settings, and keeps its salt.

    settings_of: the stack whose settings file it is, for a shard that has none of its own; a new one takes
    its salt too, as the engine derives a key for each salt that it meets, a quarter of a second. told: what
    the program is told beside the settings, as `surge:<key>`; None keeps what it was told last. A shard
    saves its state at the end.
    """
    copy = _copy(root, stack)
    settings = yaml.safe_load((root / f"Pulumi.{settings_of or stack}.yaml").read_text()) or {}
    kept = _read(copy)
    if salt := kept.get(SALT) or (_read(_copy(root, settings_of)).get(SALT) if settings_of else None):
        settings.setdefault(SALT, salt)
    before = {key: value for key, value in (kept.get("config") or {}).items() if key in TOLD}
    now = before if told is None else {f"surge:{key}": value for key, value in told.items()}
    if now:
        settings["config"] = {**(settings.get("config") or {}), **now}
    copy.parent.mkdir(exist_ok=True)
    _write_private(copy, yaml.safe_dump(settings, sort_keys=False))
    found = {**environment, "PULUMI_OPTION_CONFIG_FILE": str(copy)}
    return found if settings_of in {None, stack} else saves_at_the_end(found)


def read_pulumi(
    root: Path, environment: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `pulumi ARGUMENTS` without a terminal, and return what it printed, whatever its exit code.

    A Ctrl-C does not reach it by itself: as a KeyboardInterrupt here it ends it.
    """
    return subprocess.run(
        [pulumi_command(environment), "--non-interactive", *arguments],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        process_group=0,
    )


def saves_at_the_end(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a stack whose state is written once, and not at each step.

    Only where a killed update loses nothing: see docs/adr/0011-shard-state.md.
    """
    return {**environment, "PULUMI_SKIP_CHECKPOINTS": "true"}


def ends_in_seconds(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for an engine that does little: its heap may grow fivefold before it is walked.

    A tenth of the processor's time of an update of one filter, for some 60 MiB.
    """
    return {"GOGC": "400", **environment}


def create_stack(root: Path, stack: str, environment: Mapping[str, str]) -> None:
    """Create the stack, with its salt in .surge alone. Raises CalledProcessError (has stderr)."""
    project = yaml.safe_load((root / "Pulumi.yaml").read_text())
    folder = root / ".surge"
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": project["name"], "runtime": "python"}))
    command = [pulumi_command(environment), "--non-interactive", "stack", "init", stack, "--no-select"]
    plain = {name: value for name, value in environment.items() if name != "PULUMI_OPTION_CONFIG_FILE"}
    subprocess.run(command, cwd=folder, env=plain, check=True, capture_output=True, text=True)


def pulumi_command(environment: Mapping[str, str]) -> str:
    """The path of the CLI in an environment of `engine_environment`. Raises EngineError."""
    found = shutil.which("pulumi", path=environment.get("PATH"))
    if found is None:
        raise EngineError("there is no pulumi on PATH and none in .tools/bin. Build it: make tools")
    return found


def shell_exports(environment: Mapping[str, str]) -> str:
    """`export` lines for what differs from a plain shell; never a secret's value."""
    names = sorted(
        name
        for name in environment
        if name.startswith(EXPORTED) and name not in _SECRET and environment[name]
    )
    return "\n".join(f"export {name}={shlex.quote(environment[name])}" for name in names)


_SECRET = {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN"}


def _copy(root: Path, stack: str) -> Path:
    return root / ".surge" / f"Pulumi.{stack}.yaml"


def _read(file: Path) -> dict[str, Any]:
    return (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}


def _choice(root: Path, wanted: str | None, given: Mapping[str, str]) -> str:
    if wanted not in {None, "", "official", "bundled"}:
        raise EngineError(f"{CHOICE} is {wanted!r}; set it to official or bundled, or unset {CHOICE}")
    missing = missing_official(root, given)
    if wanted == "official" and missing:
        raise EngineError(
            f"the official engine was asked for, but these are missing: {', '.join(missing)}. "
            f"Install them, or use the bundled engine: unset {CHOICE}"
        )
    if wanted == "official" or (not wanted and not missing):
        return "official"
    if not os.access(root / BUNDLED, os.X_OK):
        raise EngineError(
            f"the bundled engine is not built ({root / BUNDLED} is missing), and without it nothing "
            "can be created. Build it: make tools"
        )
    return "bundled"


def _paths(root: Path, engine: str, given: Mapping[str, str]) -> dict[str, str]:
    own = [root / "providers" / "bin"]
    if engine == "bundled":
        own += [root / "toolchain" / "engine" / "bin", root / ".tools" / "bin"]
    return {"PATH": os.pathsep.join([*map(str, own), foreign_path(root, given)])}


def _home(root: Path) -> Path:
    """The bundled engine's folder. A file where its logs would go keeps it from writing any.

    They are every property of every resource, as encrypted JSON: two fifths of the time of an update
    without changes. `pulumi --logtostderr -v=9` still tells all.
    """
    home = root / ".tools" / "pulumi-home"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "logs").exists():
        (home / "logs").touch()
    return home


def _logged_in(given: Mapping[str, str]) -> bool:
    home = given.get("PULUMI_HOME") or str(Path(given.get("HOME", "~")).expanduser() / ".pulumi")
    return (Path(home) / "credentials.json").exists()


def _passphrase(root: Path) -> Path:
    path = root / ".surge" / "passphrase"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(path, secrets.token_urlsafe(32))
    return path


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    part.replace(path)
