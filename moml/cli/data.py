"""``moml data``: what a suite reads, before any step is spent on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor

from moml import catalog
from moml.cli.parser import Parser, options_in
from moml.data import Batch, FewShotSuite, Source, Suite
from moml.data.suite import Split

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class DataParser(Parser):
    """Options of a suite of either kind."""

    classes = {"suite": "suites"}  # noqa: RUF012 - as in the base class

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse, after looking for a misspelt name among suites of both kinds.

        Raises:
            ValueError: If an argument is wrong.
        """
        known = catalog.names("suites") + catalog.names("few_shot_suites")
        for key, name in options_in(argv):
            if key == "suite" and re.fullmatch(r"\w+", str(name)) and name not in known:
                raise ValueError(
                    f"`suite` should be among {', '.join(known)}, or a class path, found "
                    f"'{name}'.{catalog.hint(name, known)}"
                )
        self.given = argv
        return self.parse_args(list(argv))


def run(argv: Sequence[str]) -> int:
    """Print the layout found, and per split how many samples there are and what the first is.

    Raises:
        ValueError: If something is missing or damaged, or labels do not fit their losses.
    """
    catalog.load("tasks")  # at run time only: makes the suites known by name
    parser = DataParser(prog="moml data", description="Look at the data a suite reads.")
    parser.add_argument("--suite", type=Suite | FewShotSuite, required=True)
    suite = parser.instantiate(parser.parse(argv)).suite
    print(f"{type(suite).__name__}: {getattr(suite, 'found', 'made here, no files')}")
    for split in _SPLITS:
        lines = _episodes(suite, split) if isinstance(suite, FewShotSuite) else _rows(suite, split)
        print(f"{split}:", *lines, sep="\n  ")
    return 0


def _rows(suite: Suite, split: Split) -> list[str]:
    """Samples per source, and shapes and ranges in the first batch, checked."""
    sources = suite.sources(split)
    shared = isinstance(sources, Source)
    counts = {"samples": len(sources)} if isinstance(sources, Source) else {
        f"samples of {task}": len(source) for task, source in sources.items()
    }  # fmt: skip
    batch = suite.loader(split, batch_size=min(8, suite.defaults.batch_size)).batch(0)
    lines = [f"{name}: {count}" for name, count in counts.items()]
    if shared:
        lines.append(f"inputs: {_described(batch.inputs)}")
    for task, spec in suite.tasks.items():
        target = batch.targets[task]
        wrong = spec.loss.check(batch.labelled(task, target)[1])
        if wrong is not None:
            raise ValueError(f"Targets of task '{task}' ({split}) should be {wrong}.")
        own = "" if shared else f"inputs {_described(_inputs(batch, task))}, "
        lines.append(f"{task}: {own}targets {_described(target)}")
    return lines


def _episodes(suite: FewShotSuite, split: Split) -> list[str]:
    """Shapes and ranges of an episode."""
    episode = suite.episodes(split, meta_batch_size=1, count=1).batch(0)
    return [
        f"{name}: {_described(batch.inputs)}"
        for name, batch in (("support", episode.support), ("query", episode.query))
    ]


def _inputs(batch: Batch, task: str) -> Tensor:
    return batch.inputs_of(task)


def _described(values: Any) -> str:
    """Shape without the batch, type and range; what is not finite is said."""
    assert isinstance(values, Tensor)
    kind = str(values.dtype).removeprefix("torch.")
    shape = "x".join(map(str, values.shape[1:])) or "one number"
    known = values[values.isfinite()] if values.is_floating_point() else values
    bad = values.numel() - known.numel()
    if known.numel() == 0:
        return f"{shape} {kind}, nothing finite"
    low, high = torch.aminmax(known)
    tail = f", {bad} not finite" if bad else ""
    return f"{shape} {kind} {low.item():.4g}..{high.item():.4g}{tail}"
