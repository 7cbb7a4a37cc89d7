"""One call of `moml.backward`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moml._support.collectives import Processes
from moml.errors import NonFiniteError
from moml.gradients.features import Features
from moml.gradients.layouts import Found
from moml.gradients.live import Live, ParameterRows, RepresentationRows
from moml.gradients.rows import Strategy, combine_rows
from moml.gradients.task_gradients import Evaluation, Heads
from moml.oracle.distributed import Combined, OfRepresentation
from moml.own_loop.arguments import by_name
from moml.own_loop.freeing import free
from moml.own_loop.further import FurtherLosses
from moml.own_loop.memory import KnownParameters
from moml.own_loop.parallel import Agreement, Leaves
from moml.own_loop.rescaled import Rescaled
from moml.weighting import Weighting

_LOG = logging.getLogger("moml")


class Step:
    """Evaluates losses, lets the weighting act on them, and cleans up.

    Args:
        weighting: The weighting, set up.
        shared: The shared parameters; found from the graph unless given.
        inputs: The leaves that may get gradients; all unless given.
        representation: Rows are gradients with respect to the features.
        heads: As for `moml.oracle.Direct`.
        rows: As for `moml.oracle.Direct`.
        retain_graph: The graph stays alive.
        factor: Of what is written.
        further: Computes losses of further batches.
        processes: Those that train together; ``None`` for one alone.
    """

    def __init__(
        self,
        weighting: Weighting,
        *,
        shared: list[Tensor] | None,
        inputs: list[Tensor] | None,
        representation: bool,
        heads: Heads,
        rows: Strategy,
        retain_graph: bool,
        factor: float,
        further: Callable[[int], Any] | None,
        processes: Processes | None,
    ) -> None:
        self.weighting, self.memory = weighting, KnownParameters.of(weighting)
        self.shared, self.inputs, self.representation = shared, inputs, representation
        self.heads, self.rows, self.retain_graph = heads, rows, retain_graph
        self.factor, self.further, self.processes = factor, further, processes
        self._lives: list[Live] = []

    def evaluate(self, losses: Mapping[Any, Tensor], outputs: Sequence[Tensor]) -> Evaluation:
        """The losses as the weighting sees them.

        Args:
            losses: Loss by task.
            outputs: Tensors of the representation.
        """
        method, own = type(self.weighting).__name__, None
        if self.further is not None:
            compute = self.further
            if self.representation:
                raise ValueError(
                    "`further` should be left out with `representation=True`, found both: "
                    "representations of other batches cannot be compared."
                )

            def own(i: int) -> Evaluation:
                named = by_name(compute(i), self.weighting, argument="further")
                return self._evaluation(named, [])

        evaluation = self._evaluation(losses, outputs)
        evaluation.source = FurtherLosses(own, method)
        return evaluation if self.factor == 1.0 else Rescaled(evaluation, self.factor)

    def _evaluation(self, losses: Mapping[Any, Tensor], outputs: Sequence[Tensor]) -> Evaluation:
        names = [name for name in self.weighting.names if name in losses]
        ordered = {name: losses[name] for name in names}
        if self.processes is not None:
            return self._combined(ordered, outputs)
        return self._live(ordered, outputs, self.shared)

    def _live(
        self,
        losses: Mapping[Any, Tensor],
        outputs: Sequence[Tensor],
        shared: Sequence[Tensor] | None,
    ) -> Live:
        features = Features(tuple(outputs), tuple(outputs))
        if self.factor != 1.0:
            losses = {name: loss * self.factor for name, loss in losses.items()}

        def find() -> Found:
            return self.memory.find(
                losses,
                features,
                tasks=len(self.weighting.names),
                shared=shared,
                inputs=self.inputs,
                rows=self.rows,
            )

        everyone = self.weighting.names
        tasks = torch.tensor([everyone.index(name) for name in losses], dtype=torch.long)
        kind = RepresentationRows if self.representation else ParameterRows
        live = kind(losses, features, find, tasks, heads=self.heads)
        live.keeps = self.retain_graph
        if self.inputs is not None:
            live.only = self.inputs
        if self.representation and not live.found.features.outputs:
            raise ValueError(
                "`features` should be the only way from the losses to the parameters below them, "
                "and not depend on one another; found a path around. Use `representation=False`."
            )
        self._lives.append(live)
        return live

    def _combined(self, losses: Mapping[Any, Tensor], outputs: Sequence[Tensor]) -> Combined:
        """The losses of all processes."""
        assert self.processes is not None
        assert self.inputs is not None
        together = Agreement(self.processes, self.weighting.names, self.inputs)
        if not self.memory.started:
            together.start(self.weighting)
            self.memory.started = True
        shares = together.meet(losses)
        shared = self.shared
        if shared is None:
            shared = together.shared(losses, self.memory)
        live = None
        if losses:
            parts = {name: loss * shares[name] for name, loss in losses.items()}
            live = self._live(parts, outputs, shared)
        everything: Any = Leaves(self.weighting.names, shared, self.inputs)
        kind = OfRepresentation if self.representation else Combined
        return kind(live, together.present, everything, self.processes)

    def take(self, evaluation: Evaluation) -> Tensor | None:
        """Let the weighting learn and write, and free the graph.

        Raises:
            NonFiniteError: If a loss or gradient is not finite.
        """
        retained = [f for live in self._lives for f in live.features.outputs if f.retains_grad]
        before = [f.grad for f in retained]
        bad = ~torch.isfinite(evaluation.losses)
        if bad.any():
            raise NonFiniteError("loss", [evaluation.names[i] for i in bad.nonzero().flatten()])
        self._learn(evaluation)
        weights = self._update(evaluation)
        self._correct(retained, before, weights)
        self._free()
        return weights

    def _update(self, evaluation: Evaluation) -> Tensor | None:
        if self.weighting.needs == "losses" or self._anything_shared():
            return self.weighting.update(evaluation)
        _LOG.info("No parameter is shared: every task's parameters get its own gradient.")
        weights = torch.ones(len(evaluation.names), dtype=torch.float64)
        evaluation.apply(weights)
        return weights

    def _anything_shared(self) -> bool:
        if self.processes is not None:
            return True
        self._lives[0].refuse_hidden()
        layout = self._lives[0].layout
        return bool(layout.below or layout.beside)

    def _learn(self, evaluation: Evaluation) -> None:
        """Gradients of the method's own parameters, on the scale of all others."""
        own = list(self.weighting.parameters())
        before = [p.grad for p in own]
        if self.factor != 1.0:
            for parameter in own:
                parameter.grad = None
        self.weighting.learn(evaluation.losses, tasks=evaluation.tasks)
        if self.factor != 1.0:
            for parameter, old in zip(own, before, strict=True):
                if parameter.grad is not None:
                    parameter.grad *= self.factor
                    parameter.grad += 0 if old is None else old
                else:
                    parameter.grad = old

    def overflow(self, evaluation: Evaluation) -> None:
        """Write gradients that are not finite, so that a gradient scaler skips the step."""
        base = evaluation.base if isinstance(evaluation, Rescaled) else evaluation
        base.apply(torch.full((len(base.names),), torch.inf, dtype=torch.float64))
        self._free()

    def _correct(
        self, retained: Sequence[Tensor], before: Sequence[Tensor | None], weights: Tensor | None
    ) -> None:
        """Bring ``.grad`` of a representation from one task's after another to the weighted sum."""
        for feature, old in zip(retained, before, strict=True):
            for live in self._lives:
                places = [i for i, f in enumerate(live.features.outputs) if f is feature]
                if not live.formed or not places:
                    continue
                place = places[0]
                factors = torch.ones(len(live.names)) if weights is None else weights
                rows = [[row[place]] for row, _, _ in live.through_heads]
                (gradient,) = combine_rows(rows, factors)
                feature.grad = old if gradient is None else gradient + (0 if old is None else old)

    def _free(self) -> None:
        lives, self._lives = self._lives, []  # a cycle would keep their rows for long
        for live in lives:
            if live.formed and not self.retain_graph:
                free(live.found.nodes)
