"""The fast gradient (sign) method: a single step to the surface of the ball."""

from __future__ import annotations

from torch import Tensor

from moml.attack._ascent import Ascent
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Objective
from moml.attack._region import Region
from moml.attack.ball import Ball
from moml.attack.pgd import PGD


class FGSM(Attack):
    """`PGD` with one step of length ``eps`` from the clean sample.

    Goodfellow, Shlens, Szegedy, `Explaining and harnessing adversarial examples
    <https://arxiv.org/abs/1412.6572>`_, ICLR 2015; here in any ball. Cheap, and too weak to judge
    a model by.

    Args:
        ball: Where perturbations may lie.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks.
        eot: Forward passes averaged, for models that are random.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        eot: int = 1,
    ) -> None:
        super().__init__(ball, bounds=bounds, ascent=ascent, eot=eot)
        self._pgd = PGD(
            ball, steps=1, step_size=ball.eps, random_start=False, bounds=bounds, ascent=ascent
        )

    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs, see `Attack.perturb_within`."""
        return self._pgd.perturb_within(goal, region)
