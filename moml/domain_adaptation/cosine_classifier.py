"""An encoder and a classifier by angle, with a passage that turns gradients around."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from moml._support import checks


class CosineClassifier(nn.Module):
    """Logits from the cosine between features and a prototype per class, divided by a temperature.

    The network of minimax entropy (Saito et al., ICCV 2019).

    Args:
        encoder: A module whose ``out_features`` says how many features a sample has.
        classes: Number of classes.
        temperature: 0.05 in the paper.
    """

    def __init__(self, encoder: nn.Module, classes: int, *, temperature: float = 0.05) -> None:
        super().__init__()
        width = getattr(encoder, "out_features", None)
        if not isinstance(width, int):
            raise ValueError(
                f"`encoder` should have an integer attribute `out_features`, found {width!r} on "
                f"{type(encoder).__name__}."
            )
        checks.number("temperature", temperature, above=0)
        self.encoder, self.temperature = encoder, temperature
        self.prototypes = nn.Linear(width, classes, bias=False)

    def forward(self, inputs: Tensor, *, adversarial: bool = False) -> Tensor:
        """Logits ``(B, C)``.

        Args:
            inputs: ``(B, ...)``.
            adversarial: The encoder gets the negative of the gradient that reaches the features.
        """
        features = self.encoder(inputs).flatten(1)  # (B, F)
        if adversarial:
            features = reverse_gradient(features)
        logits: Tensor = self.prototypes(functional.normalize(features))
        return logits / self.temperature


def reverse_gradient(x: Tensor) -> Tensor:
    """The same values with the negative derivative: for first derivatives.

    A second derivative is that of the chain rule through this function, not the negative of the
    second derivative: a step along a reversed gradient that is itself differentiated needs
    `moml.bilevel.BilevelProblem.ascends` instead.
    """
    return 2.0 * x.detach() - x  # exact: doubling is, and so is the difference


def adversarial_entropy(logits: Tensor) -> Tensor:
    """Minus the mean entropy of predictions ``(B, C)``, in nats."""
    log_p = logits.log_softmax(1)
    return (log_p.exp() * log_p).sum(1).mean()
