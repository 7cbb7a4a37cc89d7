"""A vector of parameters' size per task, remembered from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """One row per task, whose length is known at the first step only; part of the state.

    Rows are replaced and never overwritten: whoever holds the old tensor, as a training loop does
    until a step is known to be good, holds the old values, and no copy is made of them.

    Args:
        num_tasks: Number of tasks.
    """

    replaces = frozenset({"values"})
    values: Tensor
    counts: Tensor

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(num_tasks, 0))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.long))  # steps present

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
            ValueError: If rows have another length than before.
        """
        n = rows.shape[1]
        if self.values.shape[1] == 0 and not self.counts.any():
            self.values = rows.new_zeros(len(self.values), n)
        if self.values.shape[1] != n:
            raise ValueError(
                f"`jacobian` should have {self.values.shape[1]} columns as in the first step, "
                f"found {n}. A method that remembers gradients needs the same shared parameters in "
                "every step: none frozen or unfrozen, and no gradients of a representation."
            )
        self.values, self.counts = self.values.to(rows), self.counts.to(tasks)
        self.counts[tasks] += 1
        counts = self.counts[tasks][:, None].to(rows)
        if tasks.tolist() == list(range(len(self.values))):
            self.values = rule(self.values, rows, counts)
            return self.values
        where = tasks.to(self.values.device)
        new = rule(self.values[where], rows, counts)
        self.values = self.values.index_copy(0, where, new)
        return new

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        stored = state.get(f"{prefix}values")
        if stored is not None:
            self.values = torch.empty_like(stored)  # the stored rows' length
        super()._load_from_state_dict(state, prefix, *args)
