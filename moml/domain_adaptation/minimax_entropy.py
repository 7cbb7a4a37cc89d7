"""Minimax entropy and its base, supervised learning on both domains, as ordinary problems."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn import Parameter, functional

from moml.data import Batch, TaskInputs
from moml.domain_adaptation.cosine_classifier import CosineClassifier, adversarial_entropy
from moml.domain_adaptation.domain_adaptation import SOURCE, TARGET, UNLABELLED, check_entropy
from moml.problem import Losses, Problem


class MinimaxEntropy(Problem):
    """Cross-entropy on both domains and adversarial entropy of unlabelled target samples (MME).

    Saito, Kim, Sclaroff, Darrell & Saenko, `Semi-supervised Domain Adaptation via Minimax Entropy
    <https://arxiv.org/abs/1904.06487>`_, ICCV 2019, in one step where the released code takes two.
    Without the entropy it is the baseline called S+T.

    Args:
        model: The network.
        entropy: Factor of the adversarial entropy; ``None`` to leave it out.
    """

    def __init__(self, model: CosineClassifier, *, entropy: float | None = 0.1) -> None:
        self.model = model
        self.entropy = None if entropy is None else check_entropy(entropy)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Cross-entropies, and the entropy if there is one."""
        return ("source", "target") if self.entropy is None else ("source", "target", "entropy")

    @property
    def module(self) -> CosineClassifier:
        """The network."""
        return self.model

    def shared_parameters(self) -> Iterable[Parameter]:
        """All of the network."""
        return self.model.parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return ()

    def losses(self, batch: Batch) -> Losses:
        """The two or three losses."""
        assert isinstance(batch.inputs, TaskInputs)
        losses: dict[str, Tensor] = {
            name: functional.cross_entropy(self.model(batch.inputs[domain]), batch.targets[domain])
            for name, domain in (("source", SOURCE), ("target", TARGET))
        }
        if self.entropy is not None:
            logits = self.model(batch.inputs[UNLABELLED], adversarial=True)
            losses["entropy"] = self.entropy * adversarial_entropy(logits)
        return losses
