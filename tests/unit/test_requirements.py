"""Every dependency is pinned, by hash, in one place that the others follow."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^ ;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text()))


def test_what_tests_need_is_what_users_get_and_more():
    users, developers = pins("requirements.txt"), pins("requirements-dev.txt")
    assert users.items() <= developers.items()
    assert "pytest" in developers.keys() - users.keys()


def test_every_declared_dependency_is_pinned():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {re.split(r"[\[<>=]", item)[0] for item in declared["project"]["dependencies"]}
    assert names <= pins("requirements.txt").keys()
    more = {re.split(r"[\[<>=]", item)[0] for item in declared["dependency-groups"]["dev"]}
    assert more <= pins("requirements-dev.txt").keys()


def test_the_saturation_servers_image_runs_what_was_tested():
    assert pins("metrics_server/requirements.txt").items() <= pins("requirements.txt").items()


def test_the_saturation_server_imports_nothing_that_its_image_lacks():
    said = "import metrics_server.__main__, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", said], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split()
    ours = [name for name in loaded if name.startswith(("surge.", "metrics_server."))]
    assert all(name.startswith(("surge.policy", "metrics_server.")) for name in ours)
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in ours]
    texts = [file.read_text() for file in files if file.exists()]
    roots = {name for text in texts for name in re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)}
    makers = packages_distributions()
    theirs = {maker for name in roots for maker in makers.get(name, [])}
    assert {"aiohttp", "starlette"} <= theirs
    assert {maker.replace("_", "-") for maker in theirs} <= pins("metrics_server/requirements.txt").keys()


def test_every_pin_has_a_hash_and_no_file_names_a_registry():
    for name in ("requirements.txt", "requirements-dev.txt", "metrics_server/requirements.txt"):
        text = (ROOT / name).read_text()
        assert len(PIN.findall(text)) > 5
        for block in re.split(r"\n(?=[a-z0-9])", text):
            assert not PIN.match(block) or "--hash=sha256:" in block, block[:80]
        assert "http" not in re.sub(r"(aiohttp|httptools|httpx|urllib3)", "", text)
