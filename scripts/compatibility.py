"""Writes docs/compatibility.md from the names of tests; ``--check`` only says whether it would.

A test marked ``supported`` or ``refused("reason")`` is a situation of real use, and its name says
which: ``test_an_encoder_unfrozen_later_trains`` becomes a row of the page.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
AREAS = {
    "Networks": ("oracle", "test_networks", "test_replay", "architecture", "backbone"),
    "A loop of one's own": ("test_own_loop", "test_backward", "test_evaluation"),
    "Models, data, labels and optimizers": (
        "data", "test_loop", "test_missing", "test_check_data", "test_losses", "test_multitask",
        "optim", "tasks", "metrics",
    ),
    "Weightings": ("weighting",),
    "Few-shot learning and bi-level problems": ("few_shot", "bilevel", "domain_adaptation"),
    "Attacks": ("attack", "cli/test_attack", "cli/test_robustness"),
    "Architecture search": ("nas", "search_spaces", "cli/test_search", "front"),
    "Runs, files and the command line": ("cli", "extension", "jobs", "logging", "report", "test_"),
}  # fmt: skip
HEAD = """# Compatibility

What people bring, and what happens. Every row is a test of this name (`pytest -k` finds it): a row
that says *supported* has been seen to give the right numbers, and a row that says *refused* ends in
one sentence with the reason, before anything is written.

The page is written by `python scripts/compatibility.py`.
"""


@dataclass(frozen=True)
class Situation:
    """One row.

    Attributes:
        name: The test's name in words.
        file: Where it is, below ``tests/``.
        reason: Why it is refused; empty if it is supported.
    """

    name: str
    file: str
    reason: str

    @property
    def row(self) -> str:
        """For the table."""
        verdict = f"refused: {self.reason}" if self.reason else "supported"
        return f"| {self.name} | {verdict} | `{self.file}` |"


def situations() -> Iterator[Situation]:
    """All marked tests, in the order of files and lines."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT / "tests").as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    reason = _reason(mark)
                    if reason is not None:
                        yield Situation(_words(node.name), file, reason)


def _reason(mark: ast.expr) -> str | None:
    """Of ``refused``; empty for ``supported``; ``None`` for other decorators."""
    text = ast.unparse(mark)
    if text == "pytest.mark.supported":
        return ""
    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.refused":
        return str(ast.literal_eval(mark.args[0]))
    return None


def _words(name: str) -> str:
    words = name.removeprefix("test_").replace("_", " ")
    return words[0].upper() + words[1:]


def _area(file: str) -> str:
    """The area with the longest matching beginning."""
    matches = [
        (len(start), title)
        for title, starts in AREAS.items()
        for start in starts
        if file.startswith(start)
    ]
    return max(matches)[1]


def networks() -> list[str]:
    """Names of the networks of the gate."""
    tree = ast.parse((ROOT / "tests" / "networks.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NETWORKS":
            assert isinstance(node.value, ast.Dict)
            return [str(ast.literal_eval(key)) for key in node.value.keys if key is not None]
    raise AssertionError("tests/networks.py holds no NETWORKS")


def page() -> str:
    """The whole page."""
    found = list(situations())
    parts = [HEAD]
    for title in AREAS:
        rows = [s.row for s in found if _area(s.file) == title]
        if not rows:
            continue
        parts.append(f"## {title}\n")
        if title == "Networks":
            parts.append(_gate())
        parts.append("| situation | | test |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _gate() -> str:
    names = "; ".join(networks())
    return (
        "Fifteen networks that are not what they look like run through every way into the "
        "library (`moml.backward` with and without features, `fit` with rows formed in every way, "
        "gradients of the representation, batches in parts, processes, few-shot learning) with a "
        f"weighting of each level, against plain `torch.autograd`: {names}.\n"
    )


def main() -> int:
    """Write the page, or check that nothing would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    text = page()
    stale = not PAGE.exists() or PAGE.read_text() != text
    if not check:
        PAGE.write_text(text)
    return int(stale and check)


if __name__ == "__main__":
    sys.exit(main())
