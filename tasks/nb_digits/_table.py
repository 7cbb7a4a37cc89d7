"""A table of trained networks as a file: it grows cell by cell and is its own checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = ("val", "test")
MISSING = -1


@dataclass
class Table:
    """Counts of images classified right, for every cell, seed, split and measure.

    Args:
        cells: Strings of the cells, as NAS-Bench-201 writes them.
        parameters: Their numbers of parameters, ``(cells,)``.
        flops: Their floating point operations per image, ``(cells,)``.
        right: Counts ``(cells, seeds, splits, measures)``, `MISSING` where not trained.
        seconds: Processor time of training and attacks, ``(cells, seeds)``, zero where not trained.
        about: The space, the protocol, numbers of images, measures, versions.
    """

    cells: list[str]
    parameters: np.ndarray
    flops: np.ndarray
    right: np.ndarray
    seconds: np.ndarray
    about: Mapping[str, Any]

    def trained(self) -> np.ndarray:
        """Which cells have been trained with which seeds, ``(cells, seeds)`` bools."""
        return self.right[..., 0, 0] != MISSING

    def accuracies(self) -> np.ndarray:
        """Shares of images, shaped like `right`, NaN where not trained."""
        totals = np.array([self.about["images"][split] for split in SPLITS])[:, None]
        return np.where(self.right == MISSING, np.nan, self.right / totals)

    def save(self, path: Path) -> None:
        """Write the compressed file, by way of a temporary one."""
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(
            temporary,
            cells=np.array(self.cells),
            parameters=self.parameters,
            flops=self.flops,
            right=self.right,
            seconds=self.seconds,
            about=np.array(json.dumps(self.about)),
        )
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                cells=file["cells"].tolist(),
                parameters=file["parameters"],
                flops=file["flops"],
                right=file["right"],
                seconds=file["seconds"],
                about=json.loads(str(file["about"])),
            )
