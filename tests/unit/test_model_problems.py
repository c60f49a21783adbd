"""Every invalid file in tests/unit/invalid says in its first comments which problems it must show."""

from pathlib import Path

import pytest

from surge.model import Catalogue, ProblemsError, Settings
from surge.model.problems import MOST_LINES
from surge.model.yaml_reader import read_yaml

INVALID = Path(__file__).parent / "invalid"
POOLS = {
    "shared": {"kind": "shared", "nodes": 1},
    "pairs": {"kind": "pairs", "nodes": 2, "slots": 4},
}
SHARES = {"models": {"server": "nas.example", "path": "/export/models"}}
LOCAL = Settings.parse(
    {
        "stack-kind": "local",
        "cluster": {"name": "local", "pools": POOLS},
        "workers": {"models": {"shares": SHARES}},
    }
)


def expected(file: Path) -> list[str]:
    mark = "# problem: "
    return [line.removeprefix(mark) for line in file.read_text().splitlines() if line.startswith(mark)]


def without_the_file(file: Path, problems: list[str]) -> list[str]:
    return [problem.removeprefix(f"{file.name}:").removeprefix(" ") for problem in problems]


@pytest.mark.parametrize("file", sorted(INVALID.glob("filters.*.yaml")), ids=lambda file: file.stem)
def test_a_wrong_catalogue_shows_exactly_its_problems(file: Path):
    with pytest.raises(ProblemsError) as seen:
        Catalogue.read(file, LOCAL)
    assert without_the_file(file, seen.value.problems) == expected(file) != []


@pytest.mark.parametrize("file", sorted(INVALID.glob("settings.*.yaml")), ids=lambda file: file.stem)
def test_wrong_settings_show_exactly_their_problems(file: Path):
    with pytest.raises(ProblemsError) as seen:
        Settings.parse(read_yaml(file).value)
    assert without_the_file(file, seen.value.problems) == expected(file) != []


def test_there_are_at_least_40_named_invalid_catalogues():
    assert len(list(INVALID.glob("filters.*.yaml"))) >= 40


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a: \x07", "this is not YAML"),
        (b"x" * (4 * 2**20 + 1), "larger than 4 MiB"),
        (b"filters: &" + b"a" * 5000, "anchors, aliases and merges are refused"),
    ],
)
def test_a_file_that_is_no_catalogue_at_all_is_one_line(tmp_path: Path, content: bytes, problem: str):
    file = tmp_path / "filters.yaml"
    file.write_bytes(content)
    with pytest.raises(ProblemsError, match=problem) as seen:
        Catalogue.read(file)
    assert len(seen.value.problems) == 1


def test_a_missing_file_is_named_with_its_path(tmp_path: Path):
    with pytest.raises(ProblemsError, match=r"nowhere\.yaml: cannot be read: No such file"):
        Catalogue.read(tmp_path / "nowhere.yaml")


def test_a_hostile_key_cannot_break_a_line_or_fill_a_terminal(tmp_path: Path):
    file = tmp_path / "filters.yaml"
    file.write_text('filters:\n  "' + "a" * 900 + '\\n\\e[31m": 3\n')
    with pytest.raises(ProblemsError) as seen:
        Catalogue.read(file)
    [line] = seen.value.problems
    assert line.isprintable()
    assert len(line) < 200


def test_thousands_of_problems_end_in_a_count(tmp_path: Path):
    file = tmp_path / "filters.yaml"
    file.write_text("filters:\n" + "".join(f"  f{i}: 1\n" for i in range(3_000)))
    with pytest.raises(ProblemsError) as seen:
        Catalogue.read(file)
    assert len(seen.value.problems) == MOST_LINES + 1
    assert seen.value.problems[-1] == f"... and {3_000 - MOST_LINES} more problems"
