"""Options around a weighting, and whether they go with a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from moml.bilevel_mtl.method import Method
from moml.gradients.rows import Strategy
from moml.gradients.task_gradients import Heads
from moml.jobs.preflight import positive
from moml.oracle import Accumulated, Direct, Oracle, Representation
from moml.weighting import Every, GradientNormalization, Normalization, Weighting, WeightSum

Gradients = Literal["parameters", "representation"]


def check_method(
    method: Method,
    weighting: Weighting | None,
    *,
    ordinary: Mapping[str, Any],
    wrappers: Mapping[str, Any],
) -> None:
    """Whether options of weightings were left alone where a method does without.

    Raises:
        ValueError: If one was not.
    """
    name = type(method).__name__
    usual = {
        "gradients": "parameters", "heads": "weighted", "rows": "auto", "accumulate": 1,
        "precision": "float32",
    }  # fmt: skip
    usual_wrappers = {"normalize": "none", "weight_sum": "as_is", "update_every": 1}
    for key, value in ordinary.items():
        if value != usual[key]:
            raise ValueError(
                f"`{key}` should be left out with a method, found {value!r}. {name} says itself "
                "how gradients are formed."
            )
    for key, value in wrappers.items():
        if weighting is None and value != usual_wrappers[key]:
            raise ValueError(
                f"`{key}` should come with `weighting` where there is a method, found {value!r} "
                f"alone. {name}'s own weighting is used as it is."
            )


def wrap(
    weighting: Weighting,
    normalize: Normalization,
    weight_sum: Literal["as_is", "one", "tasks"],
    update_every: int,
) -> Weighting:
    """Put the wrappers asked for around a weighting, the rarest update outermost."""
    if normalize != "none":
        weighting = GradientNormalization(weighting, by=normalize)
    if weight_sum != "as_is":
        weighting = WeightSum(weighting, total=weight_sum)
    if update_every != 1:
        weighting = Every(weighting, n=positive("update_every", update_every))
    return weighting


def oracle_of(gradients: Gradients, heads: Heads, rows: Strategy, accumulate: int) -> Oracle:
    """The oracle asked for.

    Raises:
        ValueError: If representation gradients are to be accumulated over parts of a batch.
    """
    if gradients == "representation":
        if accumulate > 1:
            raise ValueError(
                f"`accumulate` should be 1 with gradients='representation', found {accumulate}. "
                "A representation's gradient is as long as the batch: there is nothing to add."
            )
        return Representation(heads=heads)
    direct = Direct(heads=heads, rows=rows)
    return direct if accumulate == 1 else Accumulated(direct, parts=accumulate)
