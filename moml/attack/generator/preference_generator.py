"""One network for the whole trade-off between tasks: it is told how much each of them matters.

Conditioning by an affine map of the features: E. Perez, F. Strub, H. de Vries, V. Dumoulin,
A. Courville, "FiLM: visual reasoning with a general conditioning layer", AAAI 2018. Learning a
trade-off as a function of preferences: A. Navon, A. Shamsian, G. Chechik, E. Fetaya, "Learning the
Pareto front with hypernetworks", ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moml.attack._base import Bounds
from moml.attack.ball import Ball
from moml.attack.generator.generator import add_inside


class PreferenceGenerator(nn.Module):
    """One perturbation for all tasks, from an input and a preference between them.

    A preference that is learnt well leads along the front: at its ends the perturbation serves one
    task alone.

    Args:
        tasks: Task names, in the order of the preference's entries.
        encoder: From inputs to features ``(B, out_features, ...)``.
        decoder: From features to a raw perturbation at least as large as the inputs.
        ball: Where perturbations lie, in the units of the data.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.

    Raises:
        ValueError: If there are fewer than two tasks.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        ball: Ball,
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        if len(tasks) < 2:
            raise ValueError(f"`tasks` should hold at least two tasks, found {list(tasks)}.")
        self.tasks, self.ball, self.bounds = tuple(tasks), ball, bounds
        self.encoder, self.decoder = encoder, decoder
        width = encoder.out_features
        assert isinstance(width, int)
        self.condition = nn.Linear(len(tasks), 2 * width)

    def forward(self, inputs: Tensor, preference: Tensor) -> Tensor:
        """Perturbed inputs.

        Args:
            inputs: ``(B, ...)``.
            preference: Weights on the simplex, ``(T,)`` for all samples or ``(B, T)``.

        Raises:
            ValueError: If there is not one weight a task.
        """
        if preference.shape[-1] != len(self.tasks):
            raise ValueError(
                f"`preference` should have one weight for each of {list(self.tasks)}, "
                f"found shape {tuple(preference.shape)}."
            )
        features = self.encoder(inputs)  # (B, F, ...)
        preference = preference.to(features).expand(len(features), -1)
        scale, shift = self.condition(preference)[..., *[None] * (features.dim() - 2)].chunk(2, 1)
        features = torch.relu((1 + scale) * features + shift)
        return add_inside(self.decoder(features), inputs, self.ball, self.bounds)
