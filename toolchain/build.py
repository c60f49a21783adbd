"""Builds the pinned tools from their Go modules into `.tools/`; builds only what is missing."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolchain.running import FULL_DISK, alone, end_like_ctrl_c, explain, running

__all__ = [
    "KEDA_VERSION",
    "MODULES",
    "OWN_GO",
    "BuildError",
    "Module",
    "Tool",
    "build",
    "build_seconds",
    "find_go",
    "main",
    "module_hash",
    "wanted_go",
    "workspace",
]

ROOT = Path(__file__).resolve().parent.parent
OWN_GO = Path(".tools/go/go/bin/go")
WORKSPACE = "toolchain/go.work"
# In a module's folder: how long its build took.
SECONDS = "seconds"
KUBERNETES_VERSION = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in {
        "gitVersion": "v1.36.3", "gitMajor": "1", "gitMinor": "36", "gitTreeState": "clean",
    }.items()
)  # fmt: skip
# KEDA's source says `main`; etcd, kwok and actionlint know their own version.
KEDA_VERSION = "-X github.com/kedacore/keda/v2/version.Version=2.21.0"
PULUMI_VERSION = "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.259.0"


class BuildError(Exception):
    """A tool cannot be built; the text says what was seen and the next command."""


@dataclass(frozen=True)
class Tool:
    """One executable: its name in `.tools/bin` and its Go package."""

    name: str
    package: str


@dataclass(frozen=True)
class Module:
    """A folder of `toolchain/` with a go.mod, what is built of it and which folders are copied."""

    name: str
    tools: tuple[Tool, ...]
    ldflags: str = ""
    source: str = ""
    copies: tuple[str, ...] = ()
    copies_root: str = ""
    link: str = ""


MODULES = (
    Module("actionlint", (Tool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),)),
    Module("pulumi", (Tool("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"),), PULUMI_VERSION),
    Module(
        "etcd",
        (Tool("etcd", "go.etcd.io/etcd/server/v3"), Tool("etcdctl", "go.etcd.io/etcd/etcdctl/v3")),
    ),
    Module(
        "kubernetes",
        tuple(
            Tool(name, f"k8s.io/kubernetes/cmd/{name}")
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        ),
        KUBERNETES_VERSION,
    ),
    Module(
        "kwok", (Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
        source="sigs.k8s.io/kwok", copies_root="kustomize/stage", copies=(".",), link="kwok-stages",
    ),
    Module(
        "keda",
        (
            Tool("keda-operator", "github.com/kedacore/keda/v2/cmd/operator"),
            Tool("keda-adapter", "github.com/kedacore/keda/v2/cmd/adapter"),
        ),
        KEDA_VERSION,
        source="github.com/kedacore/keda/v2", copies_root="config", link="keda",
        copies=("crd/bases", "general", "service_account", "rbac", "metrics-server"),
    ),
)  # fmt: skip


def build(root: Path, go: str, names: list[str] | None = None) -> int:
    """Build the modules that hold `names` (all by default); return how many were built.

    The caller holds `.tools` alone: what killed builds left half made is removed. Raises BuildError.
    """
    known = {tool.name for module in MODULES for tool in module.tools}
    if unknown := sorted(set(names or ()) - known):
        raise BuildError(f"no such tool: {', '.join(unknown)}. Tools: {', '.join(sorted(known))}")
    version = _output([go, "version"], root, _environment(root))
    _sweep(root)
    built = 0
    for module in MODULES:
        if names and not {tool.name for tool in module.tools} & set(names):
            continue
        folder = root / ".tools" / f"{module.name}-{module_hash(root, module, version)}"
        if not folder.is_dir():
            _build_module(root, go, module, folder)
            built += 1
        _link(root, module, folder)
        _remove_old(module, folder)
    return built


def build_seconds(root: Path) -> dict[str, float] | None:
    """Seconds that each module's build took, by its name; None when a module does not tell.

    Downloads are in them where they had to be made, and Go's own cache has helped with what it held.
    """
    took = {}
    for module in MODULES:
        file = (root / ".tools/bin" / module.tools[0].name).resolve().parents[1] / SECONDS
        if not file.is_file():
            return None
        took[module.name] = float(file.read_text())
    return took


def find_go(root: Path) -> str:
    """The `go` to build with, as new as the modules want it: from PATH, else bootstrap.py's in `.tools`."""
    wanted, seen = wanted_go(root), "no go on PATH"
    for go in (shutil.which("go"), str(root / OWN_GO)):
        if go is None or not Path(go).exists():
            continue
        seen = _output([go, "version"], root, _environment(root))
        if _go_version(seen) >= wanted:
            return go
    version = "Go " + ".".join(map(str, wanted))
    raise BuildError(
        f"{version} or newer is needed to build the tools; seen: {seen}.\n"
        f"Install it from the pinned package: python3 toolchain/bootstrap.py; or put {version} on PATH"
    )


def wanted_go(root: Path) -> tuple[int, ...]:
    """The highest `go` line of the modules, three numbers: an older Go refuses to build that module."""
    files = sorted((root / "toolchain").glob("*/go.mod"))
    lines = (re.search(r"^go \S+$", file.read_text(), re.MULTILINE) for file in files)
    return max(_go_version(line[0]) for line in lines if line)


def module_hash(root: Path, module: Module, go_version: str) -> str:
    """16 hex digits over everything that decides what a module's folder holds."""
    digest = hashlib.sha256()
    for file in _pins(root, module):
        digest.update(file.read_bytes())
    digest.update(repr((module, go_version)).encode())
    return digest.hexdigest()[:16]


def workspace(root: Path) -> list[str]:
    """The modules that go.work lists: they are built with one version of each dependency."""
    return re.findall(r"^\t\./(\S+)$", (root / WORKSPACE).read_text(), re.MULTILINE)


def _pins(root: Path, module: Module) -> list[Path]:
    """The files that decide its dependencies: in the workspace each member's have a say."""
    members = workspace(root)
    shared = module.name in members
    names = members if shared else [module.name]
    files = [f"toolchain/{name}/{file}" for name in names for file in ("go.mod", "go.sum")]
    if shared:
        files += [WORKSPACE, f"{WORKSPACE}.sum"]
    return [root / file for file in files]


def _build_module(root: Path, go: str, module: Module, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=folder.parent))
    made = temporary / "made"
    start = time.monotonic()
    made.mkdir()
    (temporary / "scratch").mkdir()
    try:
        for tool in module.tools:
            _compile(root, go, module, tool, temporary)
        if module.source:
            source = root / "toolchain" / module.name
            wanted = [go, "list", "-m", "-f", "{{.Dir}}", module.source]
            directory = _output(wanted, source, _environment(root, module))
            for part in module.copies:
                _copy_yaml(Path(directory) / module.copies_root / part, made / "config" / part)
        (made / SECONDS).write_text(f"{time.monotonic() - start:.1f}\n")
        made.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _compile(root: Path, go: str, module: Module, tool: Tool, temporary: Path) -> None:
    output = temporary / "made" / "bin" / tool.name
    flags = f"-s -w {module.ldflags}".strip()
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(output), tool.package]
    # A compiler that is ended leaves its work behind: here it is swept. It lives for seconds, and need not
    # collect as often as a server: 6 % less CPU for the tools.
    environment = {"GOGC": "400", **_environment(root, module), "GOTMPDIR": str(temporary / "scratch")}
    print(f"{tool.name}: building", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        source = root / "toolchain" / module.name
        with running(command, cwd=source, environment=environment, output=log) as process:
            _wait(process, tool.name, start)
        if process.returncode:
            log.seek(0)
            raise BuildError(_failure(tool, log.read().decode(errors="replace")))
    print(f"{tool.name}: {time.monotonic() - start:.0f} s", flush=True)


def _failure(tool: Tool, said: str) -> str:
    if "no space left on device" in said.lower():
        return f"{tool.name} cannot be built: {FULL_DISK}"
    tail = "\n".join(said.splitlines()[-20:])
    return f"{tool.name} does not build:\n{tail}\nTry again: make tools TOOLS={tool.name}"


def _wait(process: subprocess.Popen[bytes], name: str, start: float) -> None:
    while True:
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if sys.stdout.isatty():
                print(f"\r{name}: {time.monotonic() - start:.0f} s", end="", flush=True)
        else:
            if sys.stdout.isatty():
                print("\r", end="")
            return


def _copy_yaml(source: Path, target: Path) -> None:
    for file in sorted(source.rglob("*.yaml")):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())


def _link(root: Path, module: Module, folder: Path) -> None:
    links = {root / ".tools/bin" / tool.name: folder / "bin" / tool.name for tool in module.tools}
    if module.link:
        links[root / ".tools" / module.link] = folder / "config"
    for link, target in links.items():
        relative = os.path.relpath(target, link.parent)
        if link.is_symlink() and str(link.readlink()) == relative:
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            old = link.rename(link.with_name(f".{link.name}-old-{os.getpid()}"))
        else:
            old = None
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.symlink_to(relative)
        fresh.replace(link)
        if old:
            shutil.rmtree(old)


def _sweep(root: Path) -> None:
    """Remove what a killed build has left half made."""
    for module in MODULES:
        for left in (root / ".tools").glob(f".{module.name}-*"):
            shutil.rmtree(left, ignore_errors=True)


def _remove_old(module: Module, folder: Path) -> None:
    for old in folder.parent.glob(f"{module.name}-*"):
        if old != folder and re.fullmatch(rf"{module.name}-[0-9a-f]{{16}}", old.name):
            shutil.rmtree(old)


def _go_version(text: str) -> tuple[int, ...]:
    """The first version in `text`, such as `go version go1.26.8 linux/amd64`; zeros where there is none."""
    found = re.search(r"go ?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)


def _environment(root: Path, module: Module | None = None) -> dict[str, str]:
    """The user's, but for what would make another tool of the same pins."""
    member = module is not None and module.name in workspace(root)
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": str(root / WORKSPACE) if member else "off",
    }


def _output(command: list[str], cwd: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"`{' '.join(command)}` in {cwd} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every tool is there, 1 with one clear error, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", nargs="*", help="names of tools; all by default")
    names = parser.parse_args(arguments).tools
    end_like_ctrl_c()
    try:
        go = find_go(ROOT)
        (ROOT / ".tools").mkdir(exist_ok=True)
        with alone(ROOT / ".tools", "tools"):
            built = build(ROOT, go, names)
    except (BuildError, OSError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"tools: {built} modules built" if built else "tools: all present, nothing to build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
