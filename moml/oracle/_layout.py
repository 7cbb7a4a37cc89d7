"""Who owns which parameter, verified against the graph, and how rows are formed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import Parameter

from moml.oracle._graph import reach
from moml.oracle._linear_leaves import linear_leaves, worth_it
from moml.oracle._rows import Plan, Row, Strategy, form_rows, plan_ghost, plan_rows


@dataclass(frozen=True)
class Features:
    """A representation: its tensors, and the tensors the losses were computed from.

    Attributes:
        outputs: Tensors with the encoder's graph.
        inputs: What the heads saw: detached leaves, or the outputs themselves.
        detached: Which of the two; a detached representation needs a backward pass in two stages.
        views: What each task's loss was computed from, where that is one view of one output; then
            one backward pass of all losses tells their gradients apart, and nothing is detached.
        sources: Of which output each view is.
    """

    outputs: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    detached: bool = False
    views: Mapping[str, Tensor] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def detach(cls, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Features]:
        """Cut the graph at the representation; one that needs no gradient is left as it is."""
        inputs = {
            name: f.detach().requires_grad_() if f.requires_grad else f
            for name, f in features.items()
        }
        cut = [(f, inputs[name]) for name, f in features.items() if f.requires_grad]
        return inputs, cls(tuple(f for f, _ in cut), tuple(x for _, x in cut), True)

    @classmethod
    def fan(cls, by_task: Mapping[str, Tensor]) -> Features:
        """A view for every task of the tensor it reads."""
        outputs = tuple(dict.fromkeys(by_task.values()))
        position = {f: i for i, f in enumerate(outputs)}
        return cls(
            outputs,
            outputs,
            views={task: f.view_as(f) for task, f in by_task.items()},
            sources={task: position[f] for task, f in by_task.items()},
        )

    @property
    def apart(self) -> bool:
        """Whether the losses' gradients on it can be had without those of the encoder."""
        return self.detached or bool(self.views)

    @property
    def backpropagates(self) -> bool:
        """Whether ``outputs`` have a graph down to the parameters."""
        return True

    def pull(self, cotangents: Sequence[Row], inputs: Sequence[Tensor], plan: Plan) -> list[Row]:
        """Gradients on ``inputs``, given each task's gradient on the representation."""
        return form_rows(self.outputs, inputs, cotangents, plan)


@dataclass(frozen=True)
class Layout:
    """Found at the first step, true for every step.

    Attributes:
        shared: Trainable shared parameters.
        private: Trainable private parameters per task.
        below: Positions in ``shared`` of parameters reached through the representation.
        beside: Positions in ``shared`` of parameters reached without it.
        plan: How many tasks a backward pass of the encoder serves.
        aside: Tasks that see shared parameters, but none through the representation.
    """

    shared: tuple[Parameter, ...]
    private: Mapping[str, tuple[Parameter, ...]]
    below: tuple[int, ...]
    beside: tuple[int, ...]
    plan: Plan
    aside: tuple[str, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether a parameter is reached on both ways."""
        return bool(set(self.below) & set(self.beside))


def trainable(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """The parameters that require gradients, each once, in order."""
    return tuple(dict.fromkeys(p for p in parameters if p.requires_grad))


def lay_out(
    losses: Mapping[str, Tensor],
    features: Features,
    shared: Iterable[Parameter],
    private: Mapping[str, Iterable[Parameter]],
    strategy: Strategy,
) -> Layout:
    """Verify the declared parameters and choose how rows are formed.

    Raises:
        ValueError: If a loss reaches a parameter declared private to another task, or one that is
            not declared at all (it would silently stay out of training).
    """
    common, own = trainable(shared), {task: trainable(p) for task, p in private.items()}
    heads = reach(list(losses.values()), stops=() if features.detached else features.outputs)
    encoder = reach(features.outputs)
    seen = [heads.leaves.get(x, 0) for x in features.inputs] if features.detached else heads.stops
    users = {p: mask for p, mask in heads.leaves.items() if p not in set(features.inputs)}
    for leaf, which in encoder.leaves.items():
        for k, mask in enumerate(seen):
            if which >> k & 1:
                users[leaf] = users.get(leaf, 0) | mask
    _verify(users, list(losses), common, own)
    below = tuple(i for i, p in enumerate(common) if p in encoder.leaves)
    beside = tuple(i for i, p in enumerate(common) if p in heads.leaves)
    numbers = sum(common[i].numel() for i in below)
    plan = plan_rows(strategy, encoder.nodes, features.outputs, numbers, len(losses))
    if strategy in ("auto", "ghost") and features.apart and len(losses) > 1:
        inputs = [common[i] for i in below]
        leaves = linear_leaves(features.outputs, inputs, elsewhere=heads.leaves)
        if strategy == "ghost" or worth_it(leaves, inputs, len(losses)):
            plan = plan_ghost(encoder.nodes, features.outputs, len(losses))
    around = 0
    for i in beside:
        around |= heads.leaves[common[i]]
    for mask in seen:
        around &= ~mask
    aside = tuple(name for i, name in enumerate(losses) if around >> i & 1)
    return Layout(common, own, below, beside, plan, aside)


def _verify(
    users: Mapping[Tensor, int],
    names: Sequence[str],
    shared: Sequence[Parameter],
    private: Mapping[str, Sequence[Parameter]],
) -> None:
    owner: dict[Tensor, str] = {p: task for task, own in private.items() for p in own}
    known = set(shared)
    for leaf, mask in users.items():
        if leaf in known:
            continue
        tasks = [name for i, name in enumerate(names) if mask >> i & 1]
        if leaf not in owner:
            raise ValueError(
                "Every trainable tensor the losses reach should be declared shared or private, "
                f"found one of shape {tuple(leaf.shape)} reached by {tasks}. "
                "Yield it from `shared_parameters` or `private_parameters`."
            )
        strangers = [task for task in tasks if task != owner[leaf]]
        if strangers:
            raise ValueError(
                f"`private_parameters('{owner[leaf]}')` should be reached by that task only, "
                f"found one of shape {tuple(leaf.shape)} reached by {strangers} too. "
                "Declare it shared."
            )
