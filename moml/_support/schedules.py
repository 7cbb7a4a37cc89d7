"""Learning rates over a whole run, also one that is made longer."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR


class Cosine(CosineAnnealingLR):
    """From the full rate down to zero along a cosine over all steps.

    A run that is resumed with more steps goes on where the longer cosine is by then.

    Args:
        optimizer: Whose rate.
        steps: Number of steps of the run.
    """

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        super().__init__(optimizer, T_max=steps)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position; the rates, too, if the number of steps is another."""
        steps = self.T_max
        super().load_state_dict(state_dict)
        if self.T_max == steps:
            return
        self.T_max = steps
        rates = self._get_closed_form_lr()  # the recursive form would stay at a rate of zero
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)
