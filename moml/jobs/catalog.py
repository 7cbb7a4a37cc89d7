"""What there is, found by reading the packages' files; nothing is imported, so it is fast."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from moml._support.hints import hint

_ROOMS = {
    "weightings": "moml.weighting",
    "wrappers": "moml.weighting.wrappers",
    "methods": "moml.bilevel_mtl.method",
    "architectures": "moml.architecture",
    "suites": "tasks",
    "few_shot_suites": "tasks",
    "meta_methods": "moml.few_shot.method",
    "backbones": "moml.backbone",
    "problems": "moml.front.problems",
    "spaces": "search_spaces",
    "search_methods": "moml.nas.method",
}
_BASES = {"suites": "Suite", "few_shot_suites": "FewShotSuite"}  # of kinds that share a room
_NEEDS = {
    "LossWeighting": "losses",
    "GramianWeighting": "Gramian",
    "JacobianAggregator": "Jacobian",
}


@dataclass(frozen=True)
class Entry:
    """One public class.

    Attributes:
        name: Its name on the command line.
        summary: First sentence of its docstring.
        needs: What a weighting looks at.
        traits: Properties the conformance test proves.
        paper: Authors, title, venue and year.
        path: Its class path.
        from_folder: Whether a suite reads data that its user has.
    """

    name: str
    summary: str
    needs: str
    traits: tuple[str, ...]
    paper: str
    path: str
    from_folder: bool = False


def kinds() -> list[str]:
    """What can be listed."""
    return list(_ROOMS)


def entries(kind: str) -> list[Entry]:
    """All public classes of a kind, by name.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind not in _ROOMS:
        raise ValueError(f"`kind` should be among {kinds()}, found '{kind}'.{hint(kind, kinds())}")
    package = _ROOMS[kind]
    folder = _folder(package)
    if folder is None:
        return []
    classes: dict[str, ast.ClassDef] = {}
    public = []
    for file in sorted(folder.glob("*.py")):
        made = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.ClassDef)]
        classes |= {node.name: node for node in made}
        if not file.stem.startswith("_"):
            public += [node for node in made if not node.name.startswith("_")]
    found = []
    for node in public:
        line = _line(node, classes)
        if kind not in _BASES or any(_BASES[kind] in _bases(one) for one in line):
            found.append(_entry(node, package, from_folder=any(map(_discovers, line))))
    return sorted(found, key=lambda entry: entry.name.lower())


def load(package: str) -> ModuleType:
    """Import a package that comes with moml, also where a file of the user's has its name.

    Args:
        package: ``tasks`` or ``search_spaces``.
    """
    folder = _folder(package)
    known = sys.modules.get(package)
    if folder is None or (known is not None and _is_in(known, folder)):
        return import_module(package)
    spec = spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return module


def _folder(package: str) -> Path | None:
    """The folder of a package: beside moml if it is there, else wherever it is found."""
    beside = Path(__file__).parents[2].joinpath(*package.split("."))
    if (beside / "__init__.py").exists():
        return beside
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _is_in(module: ModuleType, folder: Path) -> bool:
    return any(
        Path(place).resolve() == folder.resolve() for place in getattr(module, "__path__", ())
    )


def names(kind: str) -> list[str]:
    """Names of a kind's classes."""
    return [entry.name for entry in entries(kind)]


def _line(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """A class, and those that it inherits from within its package."""
    bases = [classes[base] for base in _bases(node) if base in classes]
    return [node, *(one for base in bases for one in _line(base, classes))]


def _discovers(node: ast.ClassDef) -> bool:
    return any(isinstance(d, ast.FunctionDef) and d.name == "discover" for d in node.body)


def _entry(node: ast.ClassDef, package: str, *, from_folder: bool) -> Entry:
    doc = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    needs = next((_NEEDS[base] for base in _bases(node) if base in _NEEDS), "")
    values: dict[str, object] = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = _literal(statement.value)
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            values[statement.target.id] = _literal(statement.value) if statement.value else None
    own = values.get("needs")
    needs = {"gramian": "Gramian", "jacobian": "Jacobian"}.get(str(own), needs)
    traits = values.get("traits") or ()
    return Entry(
        name=node.name,
        summary=doc,
        needs=needs,
        traits=tuple(sorted(traits)) if isinstance(traits, set | tuple) else (),
        paper=str(values.get("paper") or ""),
        path=f"{package}.{node.name}",
        from_folder=from_folder,
    )


def _bases(node: ast.ClassDef) -> list[str]:
    return [base.id for base in node.bases if isinstance(base, ast.Name)]


def _literal(value: ast.expr) -> object:
    if isinstance(value, ast.Call) and value.args:  # frozenset({...})
        value = value.args[0]
    try:
        return ast.literal_eval(value)
    except ValueError:
        return None
