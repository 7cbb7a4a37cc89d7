"""Effective, efficient and robust search, in its later form."""

from __future__ import annotations

from moml.bilevel import FiniteDifference, Hypergradient
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.objective import AdversarialLoss, CleanLoss, Flops, SearchObjective, SizeTarget
from moml.weighting import MGDA
from moml.weighting.wrappers import GradientNormalization


class E2RNAS(GradientMethod):
    r"""Accuracy, robustness, size and operations as upper objectives, traded off by MGDA.

    Yue, Lin, Zhang & Liang, IJCNN 2022, the later form of `Effective, Efficient and Robust Neural
    Architecture Search <https://arxiv.org/abs/2011.09820>`_: validation loss, the same under
    attack, :math:`|n(\alpha) - L|`, floating point operations; gradients of unit length; weights
    from the objectives' direct gradients, then one finite-difference product for their sum. Sizes
    are the exact expectation. Out-of-distribution data, which the paper has too, are left out.

    This is a baseline: with a size objective MGDA prefers cells without weights (13 of 16 edges of
    the published cells carry none). docs/nas.md has it beside searches that train.

    Args:
        target: Number of parameters L; the expected number of a uniform mixture unless given.
        hypergradient: How the virtual step is differentiated.
        adversarial_training: Train the weights on perturbed samples.
    """

    paper = "Yue et al., Effective, Efficient and Robust Neural Architecture Search, IJCNN 2022"

    def __init__(
        self,
        target: float | None = None,
        *,
        hypergradient: Hypergradient | None = None,
        adversarial_training: bool = True,
    ) -> None:
        self.target, self.hypergradient = target, hypergradient
        self.adversarial_training = adversarial_training

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Four objectives, MGDA on unit gradients."""
        target = self.target or uniform_size(setting)
        objectives: dict[str, SearchObjective] = {
            "clean": CleanLoss(),
            "adversarial": AdversarialLoss(),
            "size": SizeTarget(target),
            "flops": Flops(),
        }
        return composed(
            setting,
            objectives,
            GradientNormalization(MGDA(), by="l2"),
            hypergradient=self.hypergradient or FiniteDifference(),
            adversarial_training=self.adversarial_training,
            direct_rows=True,
        )


def uniform_size(setting: SearchSetting) -> float:
    """Expected parameters of a uniform mixture."""
    import torch

    uniform = {
        name: torch.full((len(cell.edges), len(cell.ops)), 1 / len(cell.ops), dtype=torch.float64)
        for name, cell in setting.space.spec.cells
    }
    return float(setting.space.expected_parameters(uniform))
