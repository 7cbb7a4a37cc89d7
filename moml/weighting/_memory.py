"""A vector of parameters' size per task, remembered from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """One row per task, whose columns belong to parameters; part of the state.

    Columns are known by their parameters' places, so that a parameter that is frozen for a while
    keeps its own, and one that comes later starts from zero. Rows are replaced and never
    overwritten: whoever holds the old tensor, as a training loop does until a step is known to be
    good, holds the old values, and no copy is made of them.

    Args:
        num_tasks: Number of tasks.
    """

    replaces = frozenset({"values", "places", "sizes"})
    values: Tensor
    counts: Tensor
    places: Tensor
    sizes: Tensor

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(num_tasks, 0))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.long))  # steps present
        self.register_buffer("places", torch.zeros(0, dtype=torch.long))
        self.register_buffer("sizes", torch.zeros(0, dtype=torch.long))
        self._arranged: tuple[list[int], list[int]] | None = None
        self._columns: Tensor | None = None  # of the present parameters; `None` for all

    def arrange(self, places: Sequence[int], sizes: Sequence[int]) -> None:
        """Say which parameters the next rows belong to.

        Args:
            places: Place of each parameter among all, in the order of a row's pieces.
            sizes: Number of entries of each.

        Raises:
            ValueError: If a parameter has another size than before.
        """
        asked = list(places), list(sizes)
        if asked == self._arranged:
            return
        known = dict(zip(self.places.tolist(), self.sizes.tolist(), strict=True))
        for place, size in zip(*asked, strict=True):
            if known.setdefault(place, size) != size:
                raise ValueError(
                    f"`jacobian` should have {known[place]} columns for a parameter as in the "
                    f"first step, found {size}. A method that remembers gradients needs parameters "
                    "of the same size in every step, and no gradients of a representation."
                )
        new = [size for place, size in known.items()][len(self.places) :]
        self.values = torch.cat([self.values, self.values.new_zeros(len(self.values), sum(new))], 1)
        self.places = torch.tensor(list(known), dtype=torch.long)
        self.sizes = torch.tensor(list(known.values()), dtype=torch.long)
        self._columns = None
        if asked[0] != list(known):
            starts = dict(zip(known, (self.sizes.cumsum(0) - self.sizes).tolist(), strict=True))
            pieces = [torch.arange(starts[p], starts[p] + n) for p, n in zip(*asked, strict=True)]
            self._columns = torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.long)
        self._arranged = asked

    def update(
        self, rows: Tensor, tasks: Tensor, rule: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Replace the rows of the tasks present and return them, ``(m, n)``.

        Args:
            rows: This step's, ``(m, n)``.
            tasks: Positions of the tasks present, ``(m,)``.
            rule: New values from the old ones ``(m, n)``, this step's rows and the number of times
                each task was present, this one included, ``(m, 1)``.

        Raises:
            ValueError: If rows have another length than was said to `arrange`, or than before.
        """
        if self._arranged is None or sum(self._arranged[1]) != rows.shape[1]:
            self.arrange([0], [rows.shape[1]])
        self.values, self.counts = self.values.to(rows), self.counts.to(tasks)
        self.counts[tasks] += 1
        counts = self.counts[tasks][:, None].to(rows)
        if self._columns is None and tasks.tolist() == list(range(len(self.values))):
            self.values = rule(self.values, rows, counts)
            return self.values
        where = tasks.to(self.values.device)
        if self._columns is None:
            new = rule(self.values[where], rows, counts)
            self.values = self.values.index_copy(0, where, new)
            return new
        columns = self._columns.to(self.values.device)
        new = rule(self.values[where[:, None], columns], rows, counts)
        self.values = self.values.index_put((where[:, None], columns), new)
        return new

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in sorted(self.replaces):  # of the stored sizes
            stored = state.get(f"{prefix}{name}")
            if stored is not None:
                setattr(self, name, torch.empty_like(stored))
        self._arranged = None
        super()._load_from_state_dict(state, prefix, *args)
