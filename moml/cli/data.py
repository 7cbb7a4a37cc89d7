"""``moml data``: what a suite reads, before any step is spent on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jsonargparse import Namespace
from torch import Tensor

from moml._support import checks
from moml._support.nesting import taken_apart, tensors_in
from moml.data import Batch, FewShotSuite, Source, Suite, loader_of
from moml.data.subset import named
from moml.data.suite import Split
from moml.jobs import catalog
from moml.jobs.check_data import sources_of
from moml.jobs.config import Parser, options_in

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
    parser.add_argument(
        "--full",
        type=bool,
        default=False,
        help="Read and check every sample, instead of the first few of each split.",
    )
    options = parser.instantiate(parser.parse(argv))
    given = options.suite
    suite = given if isinstance(given, FewShotSuite) else named(given)
    print(
        f"{type(given).__name__}: {getattr(given, 'found', 'made here, or read by its own code')}"
    )
    for split in _SPLITS:
        if isinstance(suite, FewShotSuite):
            lines = _episodes(suite, split)
        else:
            lines = _rows(suite, split, full=options.full)
        print(f"{split}:", *lines, sep="\n  ")
    return 0


def _rows(suite: Suite, split: Split, *, full: bool) -> list[str]:
    """Samples per source, and shapes and ranges in the first batch, checked; of all, in full."""
    sources_of(suite, split)  # or it says what they are instead
    sources = suite.sources(split)
    shared = isinstance(sources, Source)
    counts = {"samples": len(sources)} if isinstance(sources, Source) else {
        f"samples of {task}": len(source) for task, source in sources.items()
    }  # fmt: skip
    size = min(8, suite.defaults.batch_size)
    if full:
        _check_all(suite, split, sources)
    batch = suite.loader(split, batch_size=size).batch(0)
    _check(suite, batch, split)
    seen = max(counts.values()) if full else min(size, max(counts.values()))
    hint = "" if full else "; `--full true` looks at all"
    lines = [f"{name}: {count}" for name, count in counts.items()]
    lines.append(f"checked: {seen} of {max(counts.values())}{hint}; shapes and ranges of {size}:")
    if shared:
        lines.append(f"inputs: {_described(batch.inputs)}")
    for task in suite.tasks:
        own = "" if shared else f"inputs {_described(batch.inputs_of(task))}, "
        known = task in batch.targets
        found = _described(batch.targets[task]) if known else "none in the first batch"
        lines.append(f"{task}: {own}targets {found}")
    return lines


def _check_all(suite: Suite, split: Split, sources: Source | Mapping[str, Source]) -> None:
    """Read every sample once, in order.

    Raises:
        ValueError: If one cannot be read, or is wrong.
    """
    loader = loader_of(sources, suite.defaults.batch_size, train=False, seed=0)
    for number in range(loader.batches_per_epoch):
        where = f"{split}, samples from {number * suite.defaults.batch_size}"
        try:
            batch = loader.batch(number)
        except (EOFError, IndexError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"Data ({where}) should be readable, found {type(error).__name__}: "
                f"{checks.said(error)}"
            ) from error
        _check(suite, batch, where)


def _check(suite: Suite, batch: Batch, where: str) -> None:
    """Look at inputs and labels of a batch.

    Raises:
        ValueError: If inputs are not finite, targets are no task's, or labels do not fit a loss.
    """
    for x in tensors_in(batch.inputs):
        if x.is_floating_point() and not bool(x.isfinite().all()):
            bad = int((~x.isfinite()).sum())
            raise ValueError(
                f"Inputs ({where}) should be finite, found {bad} numbers that are NaN or infinite."
            )
    for task in batch.targets:
        if task not in suite.tasks:
            raise ValueError(
                f"Targets ({where}) should be named as tasks among {list(suite.tasks)}, found "
                f"'{task}'."
            )
    for task, spec in suite.tasks.items():
        if batch.has_labels(task):
            wrong = spec.loss.check(batch.labelled(task, batch.targets[task])[1])
            if wrong is not None:
                raise ValueError(f"Targets of task '{task}' ({where}) should be {wrong}.")


def _episodes(suite: FewShotSuite, split: Split) -> list[str]:
    """Shapes and ranges of an episode."""
    episode = suite.episodes(split, meta_batch_size=1, count=1).batch(0)
    return [
        "checked: 1 episode, drawn at random",
        *(f"{name}: {_described(batch.inputs)}"
        for name, batch in (("support", episode.support), ("query", episode.query))),
    ]  # fmt: skip


def _described(values: Any) -> str:
    """Shape without the batch, type and range; what is not finite is said."""
    if not isinstance(values, Tensor):
        parts = taken_apart(values, "")[0]
        return ", ".join(f"{name.strip('[]')} {_described(x)}" for name, x in parts.items())
    if values.numel() == 0:
        return f"{tuple(values.shape[1:])}, empty"
    kind = str(values.dtype).removeprefix("torch.")
    shape = "x".join(map(str, values.shape[1:])) or "one number"
    known = values[values.isfinite()] if values.is_floating_point() else values
    bad = values.numel() - known.numel()
    if known.numel() == 0:
        return f"{shape} {kind}, nothing finite"
    low, high = torch.aminmax(known)
    tail = f", {bad} not finite" if bad else ""
    return f"{shape} {kind} {low.item():.4g}..{high.item():.4g}{tail}"
