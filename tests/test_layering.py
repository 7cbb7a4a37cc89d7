"""The arrow between packages, found by reading imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "moml": {"tasks", "search_spaces", "tests", "scripts"},
    "tasks": {"search_spaces", "tests", "scripts"},
    "search_spaces": {"tasks", "tests", "scripts"},
}
BELOW_THE_LOOP = {
    "evaluation", "problem", "oracle", "weighting", "optim", "architecture", "losses",
    "bilevel", "meta",
}  # fmt: skip
ABOVE = {
    "trainer", "run", "cli", "report", "logging", "sweep", "catalog", "validation",
    "meta_goals", "meta_trainer",
}  # fmt: skip


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_import_against_the_arrow(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        for module in imports(file):
            top = module.split(".")[0]
            assert top not in FORBIDDEN[package], f"{name} imports {module}"


def test_the_core_does_not_know_the_trainer():
    for room in BELOW_THE_LOOP:
        path = ROOT / "moml" / room
        for file in path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
            for module in imports(file):
                parts = module.split(".")
                if parts[0] == "moml" and len(parts) > 1:
                    assert parts[1] not in ABOVE, f"{file.name} imports {module}"


def fresh(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()


def test_importing_moml_is_light():
    assert (
        fresh("import sys, moml; print(*[m for m in sys.modules if m in ('torch', 'numpy')])") == []
    )


@pytest.mark.parametrize(
    "names", ["moml.fit, moml.backward", "moml.weighting", "__import__('tasks').TwoDigits"]
)
def test_heavy_packages_wait_until_they_are_used(names):
    heavy = [
        "matplotlib",
        "rich",
        "tensorboard",
        "torchmetrics",
        "jsonargparse",
        "sklearn",
        "networkx",
    ]
    code = f"import sys, moml; {names}; print(*[m for m in {heavy} if m in sys.modules])"
    assert fresh(code) == []


def test_listing_does_not_import_torch():
    code = (
        "import sys; from moml.__main__ import main; main(['list', 'weightings']);"
        "print('torch' in sys.modules)"
    )
    assert fresh(code)[-1] == "False"


def test_a_shadowed_tasks_package_does_not_break_moml(tmp_path):
    (tmp_path / "tasks.py").write_text("raise RuntimeError('not ours')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import moml; moml.fit; print('ok')"
    assert fresh(code) == ["ok"]
