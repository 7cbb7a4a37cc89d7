"""An architecture as data: which operation every edge of every cell carries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moml.nas.cell import Choice


@dataclass(frozen=True)
class Genotype:
    """One architecture of a search space.

    What its edges mean is known to the space alone; two genotypes are equal if they say the same,
    and `SearchSpace.key` tells whether they do the same.

    Args:
        space: Name of the space.
        version: Version of the space.
        cells: For each kind of cell its name and ``((source, target), operation)`` of every edge.
    """

    space: str
    version: int
    cells: tuple[tuple[str, Choice], ...]

    @property
    def by_name(self) -> Mapping[str, Choice]:
        """What the edges carry, by the cell's name."""
        return dict(self.cells)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that are the same on every machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """One line of JSON; equal genotypes give equal text."""
        cells = {
            name: [[source, target, op] for (source, target), op in choice]
            for name, choice in self.cells
        }
        return json.dumps({"space": self.space, "version": self.version, "cells": cells})

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """The genotype that `to_json` wrote.

        Raises:
            ValueError: If the text is something else.
        """
        try:
            content: Any = json.loads(text)
            cells = tuple(
                (name, tuple(((int(i), int(j)), str(op)) for i, j, op in edges))
                for name, edges in content["cells"].items()
            )
            return cls(str(content["space"]), int(content["version"]), cells)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                "A genotype should be JSON with `space`, `version` and `cells`, each cell a list "
                f"of [source, target, operation], found {text[:80]!r}."
            ) from error
