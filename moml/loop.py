"""The one loop that runs every job: problem, oracle, weighting, updater."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from moml._support.replay import draws_of, kept_state, overwrite, restore_draws
from moml._support.signals import StopSignals
from moml.data.stream import Stream
from moml.errors import NoLabelsError, NonFiniteError
from moml.gradients.task_gradients import Evaluation
from moml.optim import Updater, as_updater
from moml.oracle import Oracle
from moml.problem import Objectives
from moml.training.arguments import check_arguments
from moml.training.callback import Callback, History, StepRecord, Training
from moml.training.checkpoint import Checkpoint
from moml.training.finite import finite_gradients
from moml.training.further_batches import Draws, finite_losses
from moml.training.held_parameters import HeldParameters
from moml.training.run_state import made_of, restore, state_of
from moml.weighting import Weighting

__all__ = ["History", "fit"]

_log = logging.getLogger("moml")


def fit(
    problem: Objectives,
    oracle: Oracle,
    weighting: Weighting,
    updater: Updater | Optimizer | Sequence[Updater | Optimizer],
    batches: Stream | Iterable[Any],
    *,
    steps: int,
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train until ``steps`` optimizer steps are done.

    With a checkpoint, a run that is killed and called again with ``resume=True`` ends with the same
    bits as an unbroken one, and SIGINT or SIGTERM finish the step, save and return.

    Args:
        problem: What is minimised.
        oracle: How it is differentiated.
        weighting: Which trade-off; bound to the problem's tasks here. Its own parameters join the
            updater's.
        updater: An updater or any PyTorch optimizer, or several of them for different parameters.
        batches: A stream, a loader, or any re-iterable of what the problem takes as a batch, such
            as a `torch.utils.data.DataLoader` (`moml.data.as_batch`). A batch in which no task has
            a label is left out and counted (`History.skipped`).
        steps: Total number of steps, including those a resumed run has done.
        callbacks: Called in order; those with state resume too, in the same order.
        checkpoint: Where and how often to save.

    Returns:
        The steps done by this call, and why it stopped if early.

    Raises:
        NonFiniteError: If a loss or gradient is NaN or infinite; names the task and the step. The
            state before that step has been saved.
        ValueError: If a trainable parameter of the problem is missing from the updater.
    """
    check_arguments(problem, oracle, weighting, steps, callbacks, checkpoint)
    weighting.setup(problem.tasks)
    updater = as_updater(updater)
    updater.adopt(weighting.parameters())
    held = HeldParameters(problem, updater)
    training = Training(problem, oracle, weighting, updater, Stream.of(batches), steps)
    training.history.tasks = tuple(problem.tasks)
    training.made_of = made_of(problem, updater)
    state = oracle.from_first(None if checkpoint is None else checkpoint.load())
    if state is not None:
        own = checkpoint is not None and checkpoint.writes
        restore(training, callbacks if own else None, state)
    training.looked_at_tasks = training.step > 0  # other steps may have seen them
    for callback in callbacks:
        callback.start(training)
    with StopSignals(active=checkpoint is not None) as signals:
        try:
            while training.step < steps and not oracle.anywhere(bool(signals.received)):
                held.check(training.stream.epoch)
                _step(training, callbacks, checkpoint)
                if checkpoint is not None and training.step % checkpoint.every == 0:
                    _save(training, callbacks, checkpoint)
            if checkpoint is not None and training.step % checkpoint.every != 0:
                _save(training, callbacks, checkpoint)
        finally:
            for callback in callbacks:
                callback.finish(training)
    if not training.looked_at_tasks:
        _say_untrained(training)
    if training.step < steps:
        why = signals.received or "a signal to another process"
        training.history.stopped = f"{why} after step {training.step} of {steps}"
    return training.history


def _step(training: Training, callbacks: Sequence[Callback], checkpoint: Checkpoint | None) -> None:
    """One step: draw, evaluate, weigh, update."""
    before = None if checkpoint is None else _snapshot(training)
    training.updater.zero_grad()
    try:
        batch, evaluation = _evaluated(training)
        evaluation.step, evaluation.epoch = training.step, training.stream.epoch
        evaluation.source = Draws(training.problem, training.oracle, batch, training.stream)
        finite_losses(evaluation, batch)
        training.evaluation = evaluation
        for callback in callbacks:
            callback.before_update(training)
        training.updater.prepare(evaluation)
        penalty = training.problem.penalty()
        training.weighting.learn(evaluation.losses, tasks=evaluation.tasks)
        training.weights = training.weighting.update(evaluation)
        training.oracle.add_penalty(training.problem, penalty)
        finite_gradients(training, evaluation, batch, before and before["draws"])
    except NonFiniteError as error:
        training.updater.zero_grad()
        message = f"Step {training.step + 1}: {error}"
        if checkpoint is not None and before is not None:
            _undo(training, before)
            _save(training, callbacks, checkpoint)
            message += f" The state before this step is in '{checkpoint.last}'."
        raise error.with_message(message) from error
    training.updater.step(evaluation, training.weights)
    try:
        training.oracle.advance(training.problem)
    except NonFiniteError as error:  # in a lower level's own move, on data of its own
        raise error.with_message(f"Step {training.step + 1}: {error}") from error
    training.step += 1
    training.problem.after_step(training.step, training.steps)
    training.record = _record(training, evaluation)
    training.history.records.append(training.record)
    if training.stream.epoch > 0 and not training.looked_at_tasks:
        _say_untrained(training)
    for callback in callbacks:
        callback.after_step(training)
    training.evaluation = None  # lets go of the graph before the next one is built


def _evaluated(training: Training) -> tuple[Any, Evaluation]:
    """The next batch in which a task has a label, and its losses; others are counted.

    Raises:
        ValueError: If no batch of a whole epoch has one.
    """
    first, skipped = training.stream.epoch, 0
    while True:
        batch = training.problem.as_batch(next(training.stream))
        try:
            return batch, training.oracle(training.problem, batch)
        except NoLabelsError as error:
            skipped += 1
            training.history.skipped += 1
            if training.history.skipped == 1:
                _log.warning(
                    "Step %d: a batch without any label was left out; `History.skipped` counts "
                    "such batches.",
                    training.step + 1,
                )
            if training.stream.epoch > first + 1:
                raise ValueError(
                    f"`batches` should have labels of {list(error.tasks)}, found none in {skipped} "
                    "batches, more than a whole epoch."
                ) from error


def _say_untrained(training: Training) -> None:
    """Name the tasks that had a label in no step of the first epoch."""
    training.looked_at_tasks = True
    records = training.history.records
    seen = {task for record in records for task in record.losses}
    missing = [task for task in training.problem.tasks if task not in seen]
    if missing and records:
        _log.warning(
            "Tasks %s had no label in %d steps and were not trained. Look at the names of the "
            "targets.",
            ", ".join(map(repr, missing)),
            len(records),
        )


def _save(training: Training, callbacks: Sequence[Callback], checkpoint: Checkpoint) -> None:
    """Save, unless a gradient that no method looked at has spoilt the parameters."""
    bad = [n for n, p in training.problem.module.named_parameters() if not torch.isfinite(p).all()]
    if bad:
        error = NonFiniteError("gradient", training.problem.tasks)
        raise error.with_message(
            f"Step {training.step}: The parameters should be finite, found NaN or infinity in "
            f"{', '.join(bad[:3])}: a gradient was not. The last good checkpoint stays in "
            f"'{checkpoint.folder}'."
        )
    checkpoint.save(state_of(training, callbacks))


def _record(training: Training, evaluation: Evaluation) -> StepRecord:
    weights = {}
    if training.weights is not None:
        weights = dict(zip(evaluation.names, training.weights.tolist(), strict=True))
    losses = dict(zip(evaluation.names, evaluation.losses.tolist(), strict=True))
    curves = training.problem.curves()
    return StepRecord(training.step, evaluation.epoch, losses, weights, curves)


def _snapshot(training: Training) -> dict[str, Any]:
    """What computing an evaluation may change, besides gradients."""
    module = training.problem.module
    return {
        "buffers": {n: b.clone() for n, b in module.named_buffers()},
        "draws": draws_of(module),
        "weighting": kept_state(training.weighting),
        "stream": training.stream.state_dict(),
    }


def _undo(training: Training, before: dict[str, Any]) -> None:
    """Return to the state before the step, none of whose updates was applied."""
    for name, buffer in training.problem.module.named_buffers():
        overwrite(buffer, before["buffers"][name])
    training.weighting.load_state_dict(before["weighting"])
    training.stream.load_state_dict(before["stream"])
    restore_draws(training.problem.module, before["draws"])
