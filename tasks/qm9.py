"""QM9: eleven quantum-chemical properties of small molecules.

R. Ramakrishnan, P. Dral, M. Rupp, O. A. von Lilienfeld, "Quantum chemistry structures and
properties of 134 kilo molecules", Scientific Data 2014; as a multi-task benchmark A. Navon et al.,
"Multi-task learning as a bargaining game", ICML 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moml.backbone import MLPHead, MoleculeNet
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from moml.losses import MeanSquaredError
from tasks._files.layout import Found, Layout, find
from tasks._files.source import FileSource, Sample
from tasks._molecules import Structures, read_properties, read_uncharacterized
from tasks._references import references

if TYPE_CHECKING:
    from torchmetrics import Metric

HARTREE, KCAL = 27211.3825435, 43.36414  # in meV
# Column of the table, unit, and what the column is multiplied by to be in that unit.
TARGETS: dict[str, tuple[str, str, float]] = {
    "mu": ("mu", "D", 1.0),
    "alpha": ("alpha", "a0³", 1.0),
    "homo": ("homo", "meV", HARTREE),
    "lumo": ("lumo", "meV", HARTREE),
    "r2": ("r2", "a0²", 1.0),
    "zpve": ("zpve", "meV", HARTREE),
    "U0": ("u0_atom", "meV", KCAL),
    "U": ("u298_atom", "meV", KCAL),
    "H": ("h298_atom", "meV", KCAL),
    "G": ("g298_atom", "meV", KCAL),
    "Cv": ("cv", "cal/(mol K)", 1.0),
    "gap": ("gap", "meV", HARTREE),
}
USUAL = tuple(name for name in TARGETS if name != "gap")
HELD_OUT = 10_000  # molecules for testing, and as many for validation; at most a tenth
FILES = ("gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt")
LAYOUTS = [Layout("QM9 as published", FILES, inside=("raw", "qm9", "qm9/raw", "QM9/raw"))]


class QM9(Suite):
    """130,831 molecules of up to nine heavy atoms: eleven regressions on very different scales.

    Layout: ``gdb9.sdf``, ``gdb9.sdf.csv`` and ``uncharacterized.txt``, also in ``raw/``; molecules
    of the last are left out. Inputs are ``(29, 33)``: a row for each atom with its number, its
    place in Å and its bonds. Energies of atomization are called ``U0``, ``U``, ``H`` and ``G``.
    Targets are standardized over the training split; MAE is in the units that are published (D,
    a0³, meV, a0², cal/(mol K)), and lower is better.

    Args:
        root: Folder with the data.
        targets: Names of the properties, hence tasks; the usual eleven (all but ``gap``) if not
            given.
        seed: Seed of the split: 10,000 molecules for testing, 10,000 for validation.

    Raises:
        ValueError: If data are missing or damaged, or a target is unknown.
    """

    defaults = Defaults(
        steps=277_000, batch_size=120, learning_rate=1e-3, eval_every=4_600,
        learning_rates=(3e-4, 1e-3),
    )  # fmt: skip
    references = references("qm9")

    def __init__(self, root: Path, *, targets: Sequence[str] | None = None, seed: int = 0) -> None:
        self.targets = USUAL if targets is None else tuple(targets)
        unknown = [name for name in self.targets if name not in TARGETS]
        if unknown or not self.targets:
            raise ValueError(
                f"`targets` should be among {', '.join(TARGETS)}, "
                f"found {', '.join(unknown) or 'none'}."
            )
        self.found, self.seed = self.discover(root), seed
        sdf, table, left_out = (self.found.folder / name for name in FILES)
        self._structures = Structures(sdf)
        columns = {name: TARGETS[name][0] for name in self.targets}
        self._properties = read_properties(table, columns, len(self._structures))
        self._left_out = read_uncharacterized(left_out)

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("QM9", root, LAYOUTS)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One regression per property; scales are the deviations, in the property's unit."""
        return {
            name: TaskSpec(
                MeanSquaredError(), self._metrics(name), main="MAE", unit=TARGETS[name][1],
                scale=self._moments[name][1] * TARGETS[name][2],
            )
            for name in self.targets
        }  # fmt: skip

    def sources(self, split: Split) -> Source:
        """The molecules of this split, read from the file when a batch asks for them."""
        items = self._items[split]
        return FileSource(len(items), partial(self._read, items))

    def encoder(self) -> nn.Module:
        """Message passing between all atoms."""
        return MoleculeNet()

    def head(self, task: str, in_features: int) -> nn.Module:
        """A hidden layer and one number."""
        return MLPHead(in_features, 1)

    @cached_property
    def _items(self) -> dict[Split, Tensor]:
        kept = torch.ones(len(self._structures), dtype=torch.bool)
        kept[[i for i in self._left_out if i < len(kept)]] = False
        items = kept.nonzero().flatten()
        order = torch.randperm(len(items), generator=torch.Generator().manual_seed(self.seed))
        held = max(1, min(HELD_OUT, len(items) // 10))
        test, val, train = items[order].split([held, held, len(items) - 2 * held])
        return {"train": train, "val": val, "test": test}

    @cached_property
    def _moments(self) -> dict[str, tuple[float, float]]:
        """Mean and deviation of every property over the training split."""
        train = self._items["train"]
        values = {name: column[train] for name, column in self._properties.items()}
        return {name: (float(y.mean()), float(y.std())) for name, y in values.items()}

    def _metrics(self, name: str) -> Callable[[], dict[str, Metric]]:
        return partial(_metrics, self._moments[name][1] * TARGETS[name][2])

    @cached_property
    def _standardized(self) -> dict[str, Tensor]:
        moments = {name: self._moments[name] for name in self.targets}
        return {n: ((self._properties[n] - m) / std).float() for n, (m, std) in moments.items()}

    def _read(self, items: Tensor, i: int) -> Sample:
        number = int(items[i])
        return self._structures[number], {n: y[number] for n, y in self._standardized.items()}


def _metrics(scale: float) -> dict[str, Metric]:
    from moml.metrics import AbsoluteError

    return {"MAE": AbsoluteError(scale)}
