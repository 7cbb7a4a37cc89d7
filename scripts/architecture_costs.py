"""Parameters and multiply-adds of every architecture on the bundled suites, as Markdown.

    python scripts/architecture_costs.py

The numbers of ``docs/architectures.md``; defaults of everything, as ``moml describe`` gives them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

import moml.architecture
import tasks
from moml.jobs import catalog
from moml.data import Suite
from moml.report.anatomy import Anatomy, anatomy

SUITES = (tasks.TwoDigits(), tasks.OfficeDigits(), tasks.GraphAtlas(), tasks.Rooms(val=4))


def measured(name: str, suite: Suite) -> Anatomy:
    """An architecture on a suite's default encoder and heads."""
    torch.manual_seed(0)
    encoder = suite.encoder()
    model = getattr(moml.architecture, name)(encoder, suite.heads(encoder.out_features))
    return anatomy(model, next(iter(suite.loader("val", batch_size=4))).inputs)


def main() -> None:
    """Print one line per architecture."""
    names = [type(suite).__name__ for suite in SUITES]
    titles = [f"{name}: {what}" for name in names for what in ("parameters", "multiply-adds")]
    print("| architecture | " + " | ".join(titles) + " |")
    print("|---|" + "---:|" * len(titles))
    for entry in catalog.entries("architectures"):
        cells = []
        for suite in SUITES:
            found = measured(entry.name, suite)
            cells += [f"{found.parameters / 1e3:,.0f} k", f"{found.together / 1e6:,.2f} M"]
        print(f"| `{entry.name}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
