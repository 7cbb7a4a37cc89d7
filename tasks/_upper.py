"""Upper variables of the small bi-level problems."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import Parameter


class Upper(nn.Module):
    """Upper variables by name."""

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        self.values = nn.ParameterDict({name: Parameter(value) for name, value in values.items()})
