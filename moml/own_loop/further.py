"""Further batches in a loop of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moml.gradients.task_gradients import Evaluation


class FurtherLosses:
    """Evaluates the losses of further batches, each when it is first asked for.

    Args:
        evaluate: Makes an evaluation of the losses of the i-th further batch; ``None`` where the
            user gave none.
        method: Name of the weighting, for errors.
    """

    def __init__(self, evaluate: Callable[[int], Evaluation] | None, method: str) -> None:
        self.evaluate, self.method = evaluate, method
        self._known: dict[int, Evaluation] = {}

    def further(self, i: int) -> Evaluation:
        """The losses of the i-th further batch.

        Raises:
            ValueError: If the user gave no further batches.
        """
        if self.evaluate is None:
            raise ValueError(
                f"`further` should give the losses of independent batches to {self.method}, found "
                "None. Pass a function of i that computes the losses of the i-th further batch "
                "(i = 1, 2, ...)."
            )
        if i not in self._known:
            self._known[i] = self.evaluate(i)
        return self._known[i]

    def again(self) -> Any:
        """Not to be had.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "`evaluation` should come from `moml.fit` where a batch is evaluated again, found one "
            "of `moml.backward`, which gets losses and no batch."
        )
