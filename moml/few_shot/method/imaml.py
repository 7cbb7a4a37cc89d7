"""iMAML: adapt to the end, differentiate the end alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from moml._support import checks
from moml.bilevel import ConjugateGradient
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class IMAML(MetaMethod):
    """MAML whose lower level stays near the start and is differentiated implicitly.

    Rajeswaran, Finn, Kakade & Levine, `Meta-Learning with Implicit Gradients
    <https://arxiv.org/abs/1909.04630>`_, NeurIPS 2019. Memory does not grow with the number of
    lower steps. Right near a stationary point of a lower loss that is convex there: raise
    ``proximal`` or ``inner_steps`` where it warns.

    Args:
        proximal: Factor of half the squared distance to the start, λ in the paper. The lower
            level moves by about the gradient over λ: tune it, 2 can leave nothing to learn.
        inner_steps: Lower steps, in training and evaluation, instead of the run's own.
        rounds: Rounds of conjugate gradients.
        on_invalid: See `moml.bilevel.ConjugateGradient`.
    """

    paper = "Rajeswaran et al., Meta-Learning with Implicit Gradients, NeurIPS 2019"

    def __init__(
        self,
        *,
        proximal: float = 2.0,
        inner_steps: int = 16,
        rounds: int = 5,
        on_invalid: Literal["warn", "raise", "ignore"] = "warn",
    ) -> None:
        checks.number("proximal", proximal, above=0)
        self.proximal, self.inner_steps = proximal, inner_steps
        self.rounds, self.on_invalid = rounds, on_invalid

    def compose(self, setup: Setup) -> FewShotComposition:
        """A proximal lower level, and linear systems by conjugate gradients."""
        setup = replace(setup, inner_steps=self.inner_steps, eval_inner_steps=self.inner_steps)
        method = ConjugateGradient(self.rounds, on_invalid=self.on_invalid)
        return by_gradient(setup, method, proximal=self.proximal)
