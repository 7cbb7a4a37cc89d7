"""What one bi-level step sees: data of the lower level and of the upper level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class BilevelBatch:
    """Data of the two levels.

    Attributes:
        lower: What lower-level steps are computed on, one batch a step; repeated from the start if
            there are more steps than batches.
        upper: What the upper objectives are computed on.
    """

    lower: Sequence[Any]
    upper: Any

    def to(self, device: torch.device | str) -> BilevelBatch:
        """Copy to ``device``."""
        return BilevelBatch(tuple(one.to(device) for one in self.lower), self.upper.to(device))
