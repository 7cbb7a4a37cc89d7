"""QM9's files: structures (SDF, V2000), a table of properties, and what is to be left out."""

from __future__ import annotations

import csv
import mmap
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MOST_ATOMS = 29
NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
END = re.compile(rb"\$\$\$\$\r?\n?")


class Structures:
    """Molecules of an SDF file by number; the file is mapped, and a molecule read when asked for.

    Args:
        path: The file.

    Raises:
        ValueError: If it is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise ValueError(f"'{path}' should hold molecules, found an empty file.")
        with path.open("rb") as file:
            self.text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        ends = [found.end() for found in END.finditer(self.text)]
        self.bounds = list(zip([0, *ends], ends, strict=False))

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, index: int) -> Tensor:
        """``(29, 4 + 29)``: atomic number, place in Å, orders of bonds; rows of zeros for no atom.

        Raises:
            ValueError: If it is no V2000 block of at most 29 atoms H, C, N, O, F.
        """
        low, high = self.bounds[index]
        lines = self.text[low:high].decode("ascii", "replace").splitlines()
        molecule = np.zeros((MOST_ATOMS, 4 + MOST_ATOMS), np.float32)
        try:
            atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
            if not 1 <= atoms <= MOST_ATOMS:
                raise ValueError(f"{atoms} atoms")
            for i, line in enumerate(lines[4 : 4 + atoms]):
                molecule[i, 0] = NUMBERS[line[31:34].strip()]
                molecule[i, 1:4] = [float(line[10 * k : 10 * k + 10]) for k in range(3)]
            block = lines[4 + atoms : 4 + atoms + bonds]
            if len(block) != bonds:
                raise ValueError(f"{len(block)} of {bonds} bonds")
            for line in block:
                a, b, order = (int(line[3 * k : 3 * k + 3]) for k in range(3))
                molecule[a - 1, 3 + b] = molecule[b - 1, 3 + a] = order
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(
                f"Molecule {index + 1} of '{self.path}' should be a V2000 block of at most 29 "
                f"atoms H, C, N, O or F, found something else: {error}."
            ) from error
        return torch.from_numpy(molecule)


def read_properties(path: Path, columns: dict[str, str], count: int) -> dict[str, Tensor]:
    """Columns of the table, ``(count,)`` each.

    Args:
        path: The table, with a header.
        columns: Header of the column, by the name it gets.
        count: Number of molecules.

    Raises:
        ValueError: If a column is missing, a value is no number, or rows are not as many.
    """
    with path.open(newline="") as lines:
        reader = csv.DictReader(lines)
        absent = [name for name in columns.values() if name not in (reader.fieldnames or ())]
        if absent:
            raise ValueError(f"'{path}' should have the column {absent[0]}, found none.")
        try:
            rows = [[float(row[name]) for name in columns.values()] for row in reader]
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{path}' should hold numbers: {error}.") from error
    if len(rows) != count:
        raise ValueError(
            f"'{path}' should have a row for each of the {count} molecules, found {len(rows)}."
        )
    table = torch.tensor(rows, dtype=torch.float64)
    return dict(zip(columns, table.unbind(1), strict=True))


def read_uncharacterized(path: Path) -> list[int]:
    """Numbers of the molecules that failed their authors' consistency check, counted from 0."""
    lines = path.read_text().splitlines()
    return [int(m[1]) - 1 for line in lines if (m := re.match(r"\s*(\d+)\s+\S*[A-Z]\S*\s", line))]
