"""Writes tables from the catalog (README, docs); ``--check`` only says whether it would."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _pages import with_block

from moml.jobs import catalog

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "architectures.md")


def weightings() -> str:
    """All weightings with what they need, what is proven, and their paper."""
    lines = ["| name | what it does | needs | proven traits | paper |", "|---|---|---|---|---|"]
    for e in catalog.entries("weightings"):
        traits = ", ".join(trait.replace("_", " ") for trait in e.traits)
        lines.append(f"| `{e.name}` | {e.summary} | {e.needs} | {traits} | {e.paper} |")
    return "\n".join(lines)


def architectures() -> str:
    """All architectures with their traits and papers."""
    lines = ["| name | what it does | traits | paper |", "|---|---|---|---|"]
    for e in catalog.entries("architectures"):
        traits = ", ".join(trait.replace("_", " ") for trait in e.traits)
        lines.append(f"| `{e.name}` | {e.summary} | {traits} | {e.paper} |")
    return "\n".join(lines)


def suites(*, from_folder: bool) -> str:
    """The suites that bring their data, or those that read a folder; the few-shot ones last."""
    lines = ["| name | what it is |", "|---|---|"]
    for kind in ("suites", "few_shot_suites"):
        found = [e for e in catalog.entries(kind) if e.from_folder == from_folder]
        lines += [f"| `{e.name}` | {e.summary} |" for e in found]
    return "\n".join(lines)


def filled(text: str) -> str:
    """The text with all tables up to date."""
    tables = {
        "weightings": weightings(),
        "architectures": architectures(),
        "suites": suites(from_folder=False),
        "field": suites(from_folder=True),
    }
    for name, table in tables.items():
        if f"<!-- {name}: " in text:
            text = with_block(text, name, table)
    return text


def main() -> int:
    """Write the pages, or check that nothing would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    if check:
        return len(stale)
    for page in stale:
        page.write_text(filled(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
