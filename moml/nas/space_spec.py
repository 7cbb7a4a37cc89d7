"""A search space as data: its cells, and how they follow one another in the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from moml.nas.cell import CellSpec


@dataclass(frozen=True)
class SpaceSpec:
    """Name, cells and macro-architecture.

    Args:
        name: Under which genotypes know the space.
        version: Raised when the same genotype would mean another network.
        cells: Name of each kind of cell, and what it may look like.
        macro: What the network consists of, in order: names of cells, and of fixed parts, such as
            ``("stem", "cell", "reduction", "cell", "classifier")``.

    Raises:
        ValueError: If a cell is never used or two have one name.
    """

    name: str
    version: int
    cells: tuple[tuple[str, CellSpec], ...]
    macro: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.cells]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`cells` should have different names, at least one, found {names}.")
        unused = sorted(set(names) - set(self.macro))
        if unused:
            raise ValueError(
                f"`macro` should name every cell, found {self.macro} without {unused}."
            )

    @property
    def by_name(self) -> Mapping[str, CellSpec]:
        """The cells by name."""
        return MappingProxyType(dict(self.cells))
