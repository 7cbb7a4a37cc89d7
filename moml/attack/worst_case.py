"""The worst case over several attacks and losses: each takes on what the others left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from moml.attack._assess import assess
from moml.attack._base import Attack
from moml.attack._labels import in_classes
from moml.attack._objective import Objective
from moml.attack.objectives import misclassified, targeted_dlr
from moml.attack.victim import Victim


def worst_case(attacks: Iterable[tuple[Attack, Objective]], x: Tensor) -> Tensor:
    """Perturbed inputs, those that reach their goal wherever one attack managed.

    Croce and Hein (ICML 2020) judge robustness by such an ensemble, since every single attack has
    models that it fails on. Samples whose goal is reached already, by a wrong prediction say, stay
    as they are; where no attack succeeds, the last one's inputs are given.

    Args:
        attacks: Attacks and what each of them raises, from the cheapest to the dearest. All should
            have the same goal.
        x: Clean inputs ``(B, ...)``.

    Raises:
        ValueError: If an objective has no goal.
    """
    result, kept = x.detach().clone(), torch.arange(len(x), device=x.device)
    first = True
    for attack, objective in attacks:
        if first:
            kept, first = kept[~_done(objective, x)], False
        if len(kept) == 0:
            break
        part = objective.select(kept)
        found = attack.among(x, kept).perturb(part, x[kept])
        result[kept] = found
        kept = kept[~_done(part, found)]
    return result


def each_target(
    victim: Victim,
    labels: Tensor,
    x: Tensor,
    *,
    num_targets: int = 9,
    loss: Callable[[Tensor, Mapping[str, Tensor]], Tensor] = targeted_dlr,
) -> list[Objective]:
    """Objectives towards the likeliest wrong classes, one after another: for APGD-T and FAB-T.

    The goal is any wrong prediction. There are at most ``C - 1`` of them, so tasks of two and three
    classes and a single yes/no logit work too.

    Args:
        victim: The model under attack, with logits ``(B, C)``; ``(B,)`` or ``(B, 1)`` for yes/no.
        labels: Right classes; negative where there is none.
        x: Clean inputs, which say what is likely.
        num_targets: Wrong classes to try.
        loss: `targeted_dlr` for APGD-T, `targeted_margin` for FAB-T.
    """
    with torch.no_grad():
        logits, classes = in_classes(victim(x), labels)
    others = logits.scatter(1, classes.clamp(min=0)[:, None], float("-inf"))
    ranked = others.argsort(1, descending=True)[:, :-1]  # the last one is the label
    return [
        victim.objective({"label": classes, "towards": towards}, loss=loss, success=_wrong_label)
        for towards in ranked.unbind(1)[:num_targets]
    ]


@torch.no_grad()
def _done(objective: Objective, x: Tensor) -> Tensor:
    reached = assess(objective, x).reached
    if reached is None:
        raise ValueError("`attacks` should have objectives with a goal, found one without.")
    return reached.all(1)


def _wrong_label(logits: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    return misclassified(logits, labels["label"])
