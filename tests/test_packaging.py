"""What is installed, and that one file holds one public class."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from moml.jobs import catalog

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_exactly_the_three_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = (top for top in tops if top.endswith(".dist-info"))
    assert tops - {info} == {"moml", "search_spaces", "tasks"}
    inside = {n for n in wheel.namelist() if not n.startswith(info)}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for package in ("moml", "search_spaces", "tasks")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == on_disk


def test_the_wheel_is_typed_licensed_and_has_a_command(wheel):
    names = wheel.namelist()
    assert {"moml/py.typed", "tasks/py.typed", "search_spaces/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "moml = moml.__main__:main" in wheel.read(entry).decode()
    assert any(name.startswith("moml/recipes/") and name.endswith(".yaml") for name in names)


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_public_class_is_exported_and_has_a_file_of_its_own(kind):
    module = __import__(catalog._ROOMS[kind], fromlist=["__all__"])
    entries = catalog.entries(kind)
    assert entries
    for entry in entries:
        assert entry.name in module.__all__
        assert entry.summary.endswith((".", ":")), entry.name
    if kind in ("weightings", "architectures", "suites"):
        for file in Path(module.__path__[0]).glob("[a-z]*.py"):
            classes = [
                node.name
                for node in ast.parse(file.read_text()).body
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
            ]
            assert len(classes) == 1, f"{file.name} should hold one public class, found {classes}"


def test_weightings_say_what_they_need_and_where_they_come_from():
    for entry in catalog.entries("weightings"):
        assert entry.needs, entry.name
        assert entry.paper, entry.name


@pytest.mark.slow  # `make lint`, which CI runs beside the suite
@pytest.mark.parametrize("tool", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]])
def test_linters_and_types(tool):
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
