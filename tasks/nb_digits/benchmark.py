"""Look up what a small cell reaches instead of training it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from moml.nas import CellSpec, Genotype, cell_key, from_nb201
from tasks.nb_digits._protocol import RADII
from tasks.nb_digits._table import SPLITS, Table

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Accuracies:
    """Shares of a split's images that are classified right; higher is better.

    Args:
        clean: As they are.
        fgsm: After one signed gradient step of 0.1.
        pgd: After ten steps of projected gradient descent, by radius (maximum norm, pixels in
            [0, 1]).
    """

    clean: float
    fgsm: float
    pgd: tuple[tuple[float, float], ...]

    def at(self, radius: float) -> float:
        """Accuracy under the attack of this radius.

        Raises:
            ValueError: If it was not measured.
        """
        if radius not in dict(self.pgd):
            raise ValueError(f"`radius` should be among {RADII}, found {radius}.")
        return dict(self.pgd)[radius]


@dataclass(frozen=True)
class Record:
    """What one cell reaches.

    Args:
        cell: The cell that was trained, which computes the same function as the one asked for.
        seeds: Seeds that are averaged.
        parameters: Parameters of the network.
        flops: Floating point operations per image.
        val: Accuracies on 397 images for selection.
        test: Accuracies on 400 images for the last word.
        seconds: Mean processor time of one training and its attacks.
    """

    cell: str
    seeds: tuple[int, ...]
    parameters: int
    flops: int
    val: Accuracies
    test: Accuracies
    seconds: float


class NBDigits:
    """A tabular benchmark for robust multi-objective architecture search that needs no download.

    Cells of `search_spaces.NBDigits`, trained adversarially on scikit-learn's handwritten digits by
    `scripts/build_nb_digits.py`; `docs/nas.md` says with how many seeds, and how reliable that is.
    Cells that compute the same function share a record.

    Args:
        table: ``"digits"``, four nodes and ``none, skip, conv1, conv3``; ``"digits3"``, three nodes
            and ``avg3`` as well: all 59 cells; ``"glyphs"``, cells like those of ``"digits"`` on
            views of ten printed letters, in fonts that training did not see.

    Raises:
        ValueError: If there is no such table.
    """

    def __init__(self, table: Literal["digits", "digits3", "glyphs"] = "digits") -> None:
        path = FOLDER / f"{table}.npz"
        if not path.exists():
            known = sorted(file.stem for file in FOLDER.glob("*.npz"))
            raise ValueError(f"`table` should be among {known}, found '{table}'.")
        self.table = Table.load(path)
        about = self.table.about
        self.space, self.version = str(about["space"]), int(about["version"])
        self.cell = CellSpec.dense(1, int(about["nodes"]) - 1, about["ops"])

    def query(self, genotype: Genotype, *, seed: int | None = None) -> Record:
        """What this genotype reaches, on average over the seeds it was trained with.

        Args:
            genotype: Of the table's space.
            seed: One seed instead of all.

        Raises:
            ValueError: If the genotype is of another space or not connected, or was not trained
                (with this seed).
        """
        if (genotype.space, genotype.version) != (self.space, self.version):
            raise ValueError(
                f"`genotype` should be of the space '{self.space}', version {self.version}, "
                f"found '{genotype.space}', version {genotype.version}."
            )
        choice = genotype.by_name["cell"]
        self.cell.check(choice)
        row = self._rows.get(cell_key(self.cell, choice)) if self.cell.connected(choice) else None
        if row is None:
            raise ValueError(
                f"`genotype` should lead from the input to the output, found {choice}."
            )
        known = self._trained[row]
        seeds = known if seed is None else tuple(s for s in known if s == seed)
        if not seeds:
            raise ValueError(
                f"`genotype` should be one that was trained, found '{self.table.cells[row]}' "
                f"with seeds {known}. `genotypes` lists those there are."
            )
        return self._record(row, seeds)

    def genotypes(self, *, seeds: int = 1) -> Iterator[Genotype]:
        """Those that were trained with at least so many seeds."""
        for text, known in zip(self.table.cells, self._trained, strict=True):
            if len(known) >= seeds:
                yield Genotype(self.space, self.version, (("cell", from_nb201(text, self.cell)),))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {
            cell_key(self.cell, from_nb201(text, self.cell)): row
            for row, text in enumerate(self.table.cells)
        }

    @cached_property
    def _trained(self) -> list[tuple[int, ...]]:
        return [tuple(np.flatnonzero(row).tolist()) for row in self.table.trained()]

    @cached_property
    def _accuracies(self) -> np.ndarray:
        return self.table.accuracies()

    def _record(self, row: int, seeds: tuple[int, ...]) -> Record:
        chosen = list(seeds)
        means = self._accuracies[row, chosen].mean(0)  # (splits, measures)
        val, test = (
            Accuracies(
                clean=float(means[s, 0]),
                fgsm=float(means[s, 1]),
                pgd=tuple(zip(RADII, means[s, 2:].tolist(), strict=True)),
            )
            for s in range(len(SPLITS))
        )
        return Record(
            cell=self.table.cells[row],
            seeds=seeds,
            parameters=int(self.table.parameters[row]),
            flops=int(self.table.flops[row]),
            val=val,
            test=test,
            seconds=float(self.table.seconds[row, chosen].mean()),
        )
