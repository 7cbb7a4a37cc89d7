"""Train and attack every cell of a small search space; the table is its own checkpoint.

python scripts/build_nb_digits.py --table digits --seeds 1              # all 1010 cells once
python scripts/build_nb_digits.py --table digits --seeds 3 --cells front:300
python scripts/build_nb_digits.py --table digits --report               # how reliable it is
python scripts/build_nb_digits.py --docs                               # all of that, in docs/nas.md

A run that was stopped goes on where it was: what is in the file is not trained again. Every
training is a function of the cell and the seed alone, whatever the order and the processes.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from _pages import fill
from scipy.stats import spearmanr

from moml._support.files import versions
from search_spaces import NBDigits
from tasks.nb_digits._data import Images, digit_images, glyph_images
from tasks.nb_digits._protocol import MEASURES, Protocol, measure
from tasks.nb_digits._table import MISSING, SPLITS, Table

DOCS = Path(__file__).parent.parent / "docs" / "nas.md"
FOLDER = Path(__file__).parent.parent / "tasks" / "nb_digits"
MOST_SEEDS = 3
SAVE_EVERY = 10
Job = tuple[str, int, int]  # table, cell, seed


def space_of(table: str) -> NBDigits:
    """The search space of a table."""
    if table == "digits3":
        return NBDigits(3, ("none", "skip", "conv1", "conv3", "avg3"))
    return NBDigits()


@cache
def images_of(table: str) -> Images:
    """The images of a table, once per process."""
    return glyph_images() if table == "glyphs" else digit_images()


@cache
def cells_of(table: str) -> list[str]:
    """The cells of a table in an order drawn once, so that any first part is a random sample."""
    space = space_of(table)
    cells = [space.to_string(genotype) for genotype in space.enumerate()]
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    return [cells[i] for i in order.tolist()]


def protocol_of(table: str) -> Protocol:
    """How the networks of a table are trained."""
    return Protocol()


def empty(table: str) -> Table:
    """The table without a single training."""
    space, cells, images = space_of(table), cells_of(table), images_of(table)
    genotypes = [space.from_string(cell) for cell in cells]
    shape = (len(cells), MOST_SEEDS, len(SPLITS), len(MEASURES))
    return Table(
        cells=cells,
        parameters=np.array([space.num_parameters(g) for g in genotypes], np.int32),
        flops=np.array([space.num_flops(g) for g in genotypes], np.int64),
        right=np.full(shape, MISSING, np.int16),
        seconds=np.zeros(shape[:2], np.float32),
        about={
            "table": table,
            "space": space.spec.name,
            "version": space.spec.version,
            "nodes": space.cell.size,
            "ops": list(space.cell.ops),
            "measures": list(MEASURES),
            "images": {split: len(getattr(images, split)[1]) for split in SPLITS},
            "protocol": asdict(protocol_of(table)),
            "versions": versions(),
        },
    )


def trained(job: Job) -> tuple[Job, np.ndarray, float]:
    """Counts of images classified right ``(splits, measures)``, and processor seconds."""
    table, cell, seed = job
    torch.set_num_threads(1)
    space, images = space_of(table), images_of(table)
    start = time.process_time()
    network = space.network(space.from_string(cells_of(table)[cell]), seed=seed)
    protocol_of(table).train(network, *images.train, seed=seed)
    both = [torch.cat(parts) for parts in zip(images.val, images.test, strict=True)]
    right = measure(network, *both)
    counts = [
        part.sum(0).numpy() for part in right.split([len(images.val[1]), len(images.test[1])])
    ]
    return job, np.stack(counts), time.process_time() - start


def wanted(table: Table, which: str) -> list[int]:
    """Cells that are to be trained, by their place in the table.

    Args:
        table: The table as far as it is.
        which: ``all``, a number (so many at random), or ``front:N``: those near the front of clean
            and attacked validation error and size, on average over the seeds they have, and N at
            random. More seeds move that front, so that a second run may find a few more.
    """
    if which == "all":
        return list(range(len(table.cells)))
    if not which.startswith("front:"):
        return list(range(int(which)))
    number = int(which.removeprefix("front:"))
    once = np.flatnonzero(table.trained()[:, 0])
    errors = 1 - np.nanmean(table.accuracies()[once, :, 0], axis=1)  # validation
    points = np.column_stack([errors[:, 0], errors[:, 3], table.parameters[once] / 1e9])
    slack = np.array([0.02, 0.02, 0.0])  # about a seed's standard deviation
    beaten = [np.any(np.all(points + slack <= p, axis=1)) for p in points]
    near = once[~np.array(beaten)]
    return [*near.tolist(), *(i for i in range(number) if i not in set(near.tolist()))]


def results(jobs: list[Job], processes: int) -> Iterator[tuple[Job, np.ndarray, float]]:
    """Results in the order of the jobs."""
    if processes == 1:
        yield from map(trained, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(trained, jobs)


def build(path: Path, table: Table, jobs: list[Job], processes: int) -> None:
    """Train what is missing, and save now and then."""
    start = time.time()
    try:
        for number, (job, counts, seconds) in enumerate(results(jobs, processes), start=1):
            _, cell, seed = job
            table.right[cell, seed], table.seconds[cell, seed] = counts, seconds
            if number % SAVE_EVERY == 0:
                table.save(path)
                each = (time.time() - start) / number
                mean = table.seconds[table.seconds > 0].mean()
                print(
                    f"{number} of {len(jobs)}: {each:.2f} s each ({mean:.2f} s of processor time), "
                    f"{each * (len(jobs) - number) / 60:.0f} min to go",
                    flush=True,
                )
    finally:
        table.save(path)


def report(table: Table) -> list[str]:
    """How much is trained, how far apart cells and seeds are, and how well seeds agree on ranks.

    The rank correlation of two seeds is that of single trainings; Spearman and Brown's formula
    ``k r / (1 + (k - 1) r)`` gives that of means of k. Only cells at random count: the first ones
    of the table's order, as far as all have two seeds, not those chosen near the front.
    """
    done, accuracies = table.trained(), table.accuracies()
    cells = [int((done.sum(1) >= k).sum()) for k in (1, 2, 3)]
    both = np.logical_and.accumulate(done[:, :2].all(1))
    lines = [
        f"**{table.about['table']}**: {cells[0]} of {len(table.cells)} cells are trained, "
        f"{cells[1]} of them with two seeds and {cells[2]} with three; "
        f"{table.seconds[done].mean():.1f} s of processor time each.",
        "",
        "| accuracy, validation | mean | std over cells | rank correlation with size "
        "| of two seeds | mean difference of two seeds | reliability of 2 | of 3 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for m, name in enumerate(MEASURES):
        values = accuracies[done[:, 0], 0, 0, m]
        size = spearmanr(values, table.parameters[done[:, 0]])[0]
        row = [name, f"{values.mean():.3f}", f"{values.std():.3f}", f"{size:.2f}", *["–"] * 4]
        if both.sum() > 2:
            one, other = accuracies[both, 0, 0, m], accuracies[both, 1, 0, m]
            r = spearmanr(one, other)[0]
            row[4:6] = [f"{r:.2f} ({both.sum()} cells)", f"{np.abs(one - other).mean():.3f}"]
            row[6:] = [f"{k * r / (1 + (k - 1) * r):.2f}" for k in (2, 3)]
        lines.append("| " + " | ".join(row) + " |")
    return [*lines, ""]


def write_docs(folder: Path) -> None:
    """Put the reports of all tables into docs/nas.md, and how alike two of them are."""
    tables = {path.stem: Table.load(path) for path in sorted(folder.glob("*.npz"))}
    lines = [line for table in tables.values() for line in report(table)]
    if {"digits", "glyphs"} <= set(tables):
        one, other = tables["digits"], tables["glyphs"]
        both = one.trained()[:, 0] & other.trained()[:, 0]
        r = [spearmanr(*(t.accuracies()[both, 0, 0, m] for t in (one, other)))[0] for m in (0, 3)]
        lines += [
            f"The {both.sum()} cells that are in both rank alike on digits and on glyphs: "
            f"correlation {r[0]:.2f} clean, {r[1]:.2f} under PGD-10 of radius 0.1.",
            "",
        ]
    fill(DOCS, "coverage", "\n".join(lines))


def main() -> None:
    """Build, or report on, one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=["digits", "digits3", "glyphs"], default="digits")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cells", default="all", help="all, a number, or front:N")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--docs", action="store_true", help="reports of all into docs/nas.md")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / f"{options.table}.npz"
    table = Table.load(path) if path.exists() else empty(options.table)
    if options.report or options.docs:
        print("\n".join(report(table)))
        if options.docs:
            write_docs(options.folder)
        return
    done, cells = table.trained(), wanted(table, options.cells)
    jobs = [
        (options.table, cell, seed)
        for seed in range(options.seeds)
        for cell in cells
        if not done[cell, seed]
    ]
    build(path, table, jobs, options.processes)


if __name__ == "__main__":
    main()
