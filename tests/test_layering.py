"""The arrow between packages, found by reading imports."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "moml": {"tasks", "search_spaces", "tests", "scripts"},
    "tasks": {"search_spaces", "tests", "scripts"},
    "search_spaces": {"tasks", "tests", "scripts"},
}
# Rooms by floor: a room imports rooms of lower floors only.
FLOORS = (
    ("_support", "errors", "metrics"),
    ("backbone", "gradients", "losses"),
    ("data", "optim", "weighting"),
    ("problem",),
    ("architecture", "oracle"),
    ("bilevel", "multitask", "own_loop", "training"),
    ("attack", "bilevel_mtl", "domain_adaptation", "logging", "loop"),
    ("few_shot", "report"),
    ("front", "nas"),
    ("jobs",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(p for p in file.relative_to(ROOT).with_suffix("").parts if p != "__init__"): file
    for file in (ROOT / "moml").rglob("*.py")
}


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


def names_used(module, *, run_only=False):
    """Every name that a file imports, with its whole path."""
    tree = ast.parse(MODULES[module].read_text())
    branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    guards = [node for node in branches if "TYPE_CHECKING" in ast.dump(node.test)]
    not_run = {node for guard in guards for node in ast.walk(guard)}
    for node in set(ast.walk(tree)) - (not_run if run_only else set()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name):
    return [*name.split("."), ""][1]


def test_every_room_has_a_floor():
    assert {room_of(module) for module in MODULES} - {""} == set(FLOOR)


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_a_room_imports_lower_floors_only(room):
    for module in (m for m in MODULES if room_of(m) == room):
        for name in names_used(module):
            other = room_of(name)
            if name.startswith("moml.") and other in FLOOR and other != room:
                assert FLOOR[other] < FLOOR[room], f"{module} imports {name}"


def test_no_private_imports_across_rooms():
    for module in MODULES:
        package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
        for name in names_used(module):
            parts = name.split(".")
            private = [i for i, part in enumerate(parts) if re.match(r"_(?!_|support$)", part)]
            if parts[0] == "moml" and private:
                owner = ".".join(parts[: private[0]])
                assert f"{package}.".startswith(f"{owner}."), f"{module} imports {name}"


def test_no_cycles_between_files():
    """An ``__init__`` hands names on; what it hands on is imported from the file itself."""
    graph = {
        module: {
            name if name in MODULES else name.rpartition(".")[0]
            for name in names_used(module, run_only=True)
            if name.startswith("moml.")
        }
        - {module, "moml"}
        for module in MODULES
        if module != "moml"
    }
    TopologicalSorter(graph).prepare()  # raises a `CycleError` with the files


# A search is a method by the name that its proposals have: one line of `moml.nas.method` each.
TWICE = {"NSGA2", "ParetoSearch", "RandomSearch", "RegularizedEvolution", "StratifiedSearch"}


def test_public_classes_have_a_name_of_their_own():
    found = Counter(
        node.name
        for file in MODULES.values()
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, number in found.items() if number > 1} == TWICE


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
