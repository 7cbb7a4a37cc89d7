"""Further evaluations of a training step: other batches, or the same one again."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from moml._support.nesting import tensors_in
from moml._support.replay import buffers_kept
from moml.data.batch import Batch
from moml.data.stream import Stream
from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation
from moml.oracle import Oracle
from moml.problem import Objectives


class Draws:
    """Evaluates what a step asks for beyond its own batch; nothing is computed before that.

    Further batches come from the training stream, whose position is in the checkpoint, so a resumed
    run draws the same ones. Running statistics (batch normalisation) see the step's own batch only.

    Args:
        problem: The problem.
        oracle: How it is differentiated.
        batch: The step's own batch.
        stream: Where further batches come from.
    """

    def __init__(self, problem: Objectives, oracle: Oracle, batch: Any, stream: Stream) -> None:
        self.problem, self.oracle, self.batch, self.stream = problem, oracle, batch, stream
        self._further: list[Evaluation] = []

    def further(self, i: int) -> Evaluation:
        """The losses of the i-th batch after the step's own."""
        while len(self._further) < i:
            self._further.append(self._evaluate(self.problem.as_batch(next(self.stream))))
        return self._further[i - 1]

    def again(self) -> Evaluation:
        """The losses of the step's own batch at the parameters as they are now."""
        return self._evaluate(self.batch)

    def _evaluate(self, batch: Any) -> Evaluation:
        with buffers_kept(self.problem.module):
            evaluation = self.oracle(self.problem, batch)
        finite_losses(evaluation, batch)
        return evaluation


def finite_losses(evaluation: Evaluation, batch: Any = None) -> None:
    """Raise a `NonFiniteError` that names the tasks whose loss is NaN or infinite.

    With the batch, the error also says where it holds such numbers.
    """
    pairs = zip(evaluation.names, evaluation.losses.tolist(), strict=True)
    if bad := [name for name, loss in pairs if not math.isfinite(loss)]:
        error = NonFiniteError("loss", bad)
        raise error.with_message(f"{error}{_held_by(batch, bad)}")


def _held_by(batch: Any, tasks: list[str]) -> str:
    """Sentences on NaN and infinity in a batch; nothing of batches of other types."""
    if not isinstance(batch, Batch):
        return ""
    found = ""
    if not all(map(_is_finite, tensors_in(batch.inputs))):
        found += " The inputs of this batch hold NaN or infinity."
    spoilt = [t for t in tasks if t in batch.targets and not _is_finite(batch.targets[t])]
    if spoilt:
        found += (
            f" The targets of {', '.join(map(repr, spoilt))} hold NaN or infinity: a loss with "
            "`undefined=float('nan')`, as `moml.losses.MeanSquaredError`, leaves NaN out."
        )
    return found


def _is_finite(values: Tensor) -> bool:
    return bool(values.isfinite().all())
