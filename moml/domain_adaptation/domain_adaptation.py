"""Semi-supervised domain adaptation as several objectives of an adapted network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import Parameter, functional

from moml._support import checks
from moml._support.substitution import substituted
from moml.bilevel import BilevelProblem, Params
from moml.data import Batch, TaskInputs
from moml.domain_adaptation.cosine_classifier import CosineClassifier, adversarial_entropy
from moml.problem import Losses

SOURCE, TARGET, UNLABELLED = "source", "target_labelled", "target_unlabelled"


class DomainAdaptation(BilevelProblem):
    r"""Learns weights from which one step of minimax entropy leads to a good target classifier.

    The semi-supervised experiment of Ye et al., `Multi-Objective Meta Learning
    <https://arxiv.org/abs/2102.07121>`_, NeurIPS 2021, as in the released code. The upper variables
    are the network's weights themselves. The lower level starts from them (MAML) and takes a step
    on the adversarial entropy of unlabelled target samples (Saito et al., `Semi-supervised Domain
    Adaptation via Minimax Entropy <https://arxiv.org/abs/1904.06487>`_, ICCV 2019): prototypes
    raise the entropy of predictions, the encoder lowers it. Objectives: ``source`` and ``target``,
    the cross-entropy of labelled samples at the adapted weights, and ``entropy``, the adversarial
    entropy at the weights themselves. Any weighting combines them; the released code takes MGDA of
    gradients divided by their norms.

    The entropy step is a game's, not a descent on one function: differentiate it by
    `moml.bilevel.Unrolled` or `FirstOrder`, not by an implicit method. Running statistics of the
    network follow the labelled samples at the adapted weights.

    A batch is a `moml.data.Batch` with inputs ``source``, ``target_labelled`` and
    ``target_unlabelled``, the first two with targets of the same names (`tasks.FontAdaptation`).

    Args:
        model: The network.
        entropy: Factor of the adversarial entropy; 0.1 in both papers.
    """

    def __init__(self, model: CosineClassifier, *, entropy: float = 0.1) -> None:
        self.model, self.entropy = model, check_entropy(entropy)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The three objectives."""
        return ("source", "target", "entropy")

    @property
    def module(self) -> CosineClassifier:
        """The network."""
        return self.model

    def upper_parameters(self) -> dict[str, Parameter]:
        """The network's trainable weights."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: object, previous: Params | None
    ) -> Params:
        """The weights themselves."""
        return dict(omega)

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The entropy that prototypes raise and the encoder, which `ascends`, lowers."""
        return self._entropy(theta, batch, adversarial=False)

    def ascends(self) -> frozenset[str]:
        """The encoder's weights.

        Turning the gradient around inside of the loss, as a step that is not differentiated may,
        would change the sign of second derivatives across encoder and prototypes.
        """
        return frozenset(n for n in self.upper_parameters() if n.startswith("encoder."))

    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Cross-entropies at the adapted weights, entropy at those it started from."""

        def cross_entropy(domain: str) -> Tensor:
            with substituted(self.model, theta, isolated=False):  # running statistics follow
                logits = self.model(_inputs(batch, domain))
            return functional.cross_entropy(logits, batch.targets[domain])

        return {
            "source": cross_entropy(SOURCE),
            "target": cross_entropy(TARGET),
            "entropy": self._entropy(dict(omega), batch, adversarial=True),
        }

    def _entropy(self, theta: Params, batch: Batch, *, adversarial: bool) -> Tensor:
        """The adversarial entropy of the unlabelled samples."""
        with substituted(self.model, theta):
            logits = self.model(_inputs(batch, UNLABELLED), adversarial=adversarial)
        return self.entropy * adversarial_entropy(logits)


def check_entropy(entropy: float) -> float:
    """The factor itself.

    Raises:
        ValueError: If it is not positive.
    """
    checks.number("entropy", entropy, above=0)
    return entropy


def _inputs(batch: Batch, domain: str) -> Tensor:
    if not isinstance(batch.inputs, TaskInputs) or domain not in batch.inputs:
        found = sorted(batch.inputs) if isinstance(batch.inputs, TaskInputs) else "one tensor"
        raise ValueError(f"`batch.inputs` should have '{domain}', found {found}.")
    return batch.inputs[domain]
