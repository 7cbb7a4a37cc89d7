"""Attacks that hurt some tasks while the others stay right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from moml.attack._model_objective import ModelObjective
from moml.attack.objectives import cross_entropy, margin, misclassified, targeted
from moml.attack.victim import Victim


def stealth(
    victim: Victim,
    target: Mapping[str, Tensor],
    *,
    hurt: Sequence[str],
    keep: Sequence[str],
    slack: float = 0.5,
) -> ModelObjective:
    """What to raise, and when to stop, so that only some of a victim's tasks notice.

    For `PGD` with `OneDelta`, whose goal mask makes it a constrained attack: a task to be kept has
    no say while it is right by ``slack``, and pulls back when it is not. Every sample stops as soon
    as all is as it should be.

    Args:
        victim: A model with logits by task name.
        target: Right classes by task name, ``(B,)`` each.
        hurt: Tasks whose predictions should become wrong.
        keep: Tasks whose predictions should stay right.
        slack: How far the right logit of those should stay ahead.

    Raises:
        ValueError: If nothing is to be hurt, or a task should be both.
    """
    both = set(hurt) & set(keep)
    if both or not hurt:
        raise ValueError(
            "`hurt` should name at least one task, and none of `keep`, "
            f"found {list(hurt)} and {list(keep)}."
        )

    def safe(logits: Tensor, labels: Tensor) -> Tensor:
        return margin(logits, labels) <= -slack

    return victim.objective(
        target,
        loss=dict.fromkeys(hurt, cross_entropy) | dict.fromkeys(keep, targeted(margin)),
        success=dict.fromkeys(hurt, misclassified) | dict.fromkeys(keep, safe),
    )
