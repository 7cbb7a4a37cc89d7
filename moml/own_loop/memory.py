"""What `moml.backward` remembers of a weighting's earlier calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.nn import Parameter
from torch.utils.weak import WeakIdKeyDictionary

from moml.gradients.features import Features
from moml.gradients.graph import reach
from moml.gradients.layouts import Found, Layouts
from moml.gradients.rows import Strategy
from moml.weighting import Weighting

_LOG = logging.getLogger("moml")
_JOINED = (
    "Several losses come from one compiled function: all its parameters count as shared, heads "
    "inside it too. Compile the encoder alone, or name the shared parameters by `shared=`."
)
_MEMORIES: WeakKeyDictionary[Weighting, KnownParameters] = WeakKeyDictionary()


class KnownParameters:
    """The shared parameters met so far, in an order that stays, and the layouts of graphs.

    Methods with a number per parameter entry (`moml.weighting.MoCo`) rely on the order. It follows
    from the graph of the losses in the order of `Weighting.setup`, whatever order they come in, and
    whichever are absent later: a parameter that was shared once stays shared, in its place.

    Attributes:
        started: Several processes agreed on where they start from.
    """

    def __init__(self) -> None:
        self.started = False
        self._order = WeakIdKeyDictionary()
        self._layouts: Layouts | None = None
        self._given: tuple[object, ...] = ()
        self._said = False

    @classmethod
    def of(cls, weighting: Weighting) -> KnownParameters:
        """The memory that goes with a weighting."""
        return _MEMORIES.setdefault(weighting, cls())

    def find(
        self,
        losses: Mapping[str, Tensor],
        features: Features,
        *,
        tasks: int,
        shared: Sequence[Tensor] | None,
        inputs: Sequence[Tensor] | None,
        rows: Strategy,
    ) -> Found:
        """The layout of this call's graph.

        Args:
            losses: Task name to scalar.
            features: The representation.
            tasks: Number of tasks that the weighting was set up for.
            shared: The shared parameters; found from the graph unless given.
            inputs: The leaves that may get gradients; all unless given.
            rows: How rows are formed.
        """
        given = (
            rows,
            None if shared is None else tuple(map(id, shared)),
            None if inputs is None else tuple(map(id, inputs)),
        )
        if self._layouts is None or given != self._given:
            self._layouts, self._given = Layouts(rows, verify=False), given
        layouts = self._layouts

        def declared() -> tuple[list[Parameter], dict[str, list[Parameter]]]:
            reached, joined = parameters_reached(losses, shared, inputs)
            if shared is None:
                self.notice(joined)
            common = self.shared(reached, tasks, len(losses)) if shared is None else list(shared)
            return common, _private(reached, list(losses), common)  # type: ignore[return-value]

        before = len(self._order)
        found = layouts.find(losses, features, declared)
        if len(self._order) > before:  # older layouts take for private what is shared now
            layouts.clear()
            found = layouts.find(losses, features, declared)
        if found.layout.around:
            return layouts.find(losses, Features(), declared)
        return found

    def notice(self, joined: bool) -> None:
        """Say once that heads inside a compiled function cannot be told from shared layers.

        Args:
            joined: As `moml.gradients.graph.Reach.joined`.
        """
        if joined and not self._said:
            self._said = True
            _LOG.warning(_JOINED)

    def shared(self, reached: Mapping[Tensor, int], tasks: int, present: int) -> list[Tensor]:
        """Leaves that at least two losses reach or reached; all where there is one task.

        Args:
            reached: Bit mask of losses by leaf.
            tasks: Number of all tasks.
            present: Number of losses.
        """
        for leaf, mask in reached.items():
            if tasks == 1 or mask & (mask - 1):
                self._order.setdefault(leaf, None)
        if present == 1 and not len(self._order):  # before any step with two of the tasks
            return list(reached)
        return [leaf for leaf in self._order if leaf.requires_grad]


def parameters_reached(
    losses: Mapping[str, Tensor],
    shared: Sequence[Tensor] | None,
    inputs: Sequence[Tensor] | None,
) -> tuple[dict[Tensor, int], bool]:
    """Leaves that count as parameters, which losses reach them, and `Reach.joined`.

    Those are the ones named by the user, `torch.nn.Parameter`, and plain tensors where no loss
    reaches any of these.
    """
    found = reach(list(losses.values()))
    reached = found.leaves
    if inputs is not None:  # in the user's order
        return {leaf: reached[leaf] for leaf in inputs if leaf in reached}, found.joined
    named = set(shared or ())
    own = {
        leaf: mask for leaf, mask in reached.items() if isinstance(leaf, Parameter) or leaf in named
    }
    return own or reached, found.joined


def _private(
    reached: Mapping[Tensor, int], names: Sequence[str], shared: Sequence[Tensor]
) -> dict[str, list[Tensor]]:
    """Leaves that one loss alone reaches, per task."""
    known = set(shared)
    private: dict[str, list[Tensor]] = {name: [] for name in names}
    for leaf, mask in reached.items():
        if leaf not in known and not mask & (mask - 1):
            private[names[mask.bit_length() - 1]].append(leaf)
    return private
