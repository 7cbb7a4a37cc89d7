"""Who owns which parameter, verified against the graph, and how rows are formed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor
from torch.nn import Parameter

from moml.gradients.features import Features
from moml.gradients.graph import Walk, is_leaf, nested, reach
from moml.gradients.linear_layers import LinearLayer, linear_layers, worth_it
from moml.gradients.rows import Operations, Plan, Strategy, plan_ghost, plan_rows

_REENTRANT = "CheckpointFunction"
_UNKNOWN = Operations(batched=False, compiled=False)


@dataclass(frozen=True)
class Layout:
    """The parameters of one step's graph, and how rows are formed from it.

    Attributes:
        shared: Trainable shared parameters.
        private: Trainable private parameters per task.
        below: Positions in ``shared`` of parameters reached through the representation.
        beside: Positions in ``shared`` of parameters reached without it.
        plan: How many tasks a backward pass of the encoder serves.
        aside: Tasks that see shared parameters, but none through the representation.
        linear: Linear layers of the encoder.
        operations: The encoder's.
        others: Per task, places in the walk of leaves that it reaches and nobody declared.
        around: A representation depends on another one, or a parameter is reached on both ways.
        hidden: Parameters may be out of sight, in a part that is computed again when it is needed.
        places: Positions of ``shared`` among all declared shared parameters, frozen ones too; all
            of them unless given.
    """

    shared: tuple[Parameter, ...]
    private: Mapping[str, tuple[Parameter, ...]]
    below: tuple[int, ...]
    beside: tuple[int, ...]
    plan: Plan
    aside: tuple[str, ...] = ()
    linear: tuple[LinearLayer, ...] = ()
    operations: Operations = _UNKNOWN
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    around: bool = False
    hidden: bool = False
    places: tuple[int, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether a parameter is reached on both ways."""
        return bool(set(self.below) & set(self.beside))

    @property
    def numbers(self) -> int:
        """Numbers in a row, of what is reached through the representation."""
        return sum(self.shared[i].numel() for i in self.below)

    def planned(
        self, strategy: Strategy, features: Features, samples: Sequence[int], tasks: int
    ) -> Layout:
        """The same with a plan for tensors of these sizes.

        Args:
            strategy: What the user asked for.
            features: The representation.
            samples: Rows of the inputs of ``linear``.
            tasks: Number of rows.
        """
        chosen: Strategy = strategy
        if not features.outputs or (strategy == "layers" and not features.apart):
            chosen = "loop"
        plan = plan_rows(chosen, self.operations, features.outputs, self.numbers, tasks)
        possible = strategy in ("auto", "ghost") and features.apart and tasks > 1
        if possible and (strategy == "ghost" or worth_it(self.linear, samples, tasks)):
            plan = plan_ghost(self.operations, tasks)
        return replace(self, plan=plan)


def trainable(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """The parameters that require gradients, each once, in order."""
    return tuple(dict.fromkeys(p for p in parameters if p.requires_grad))


def places(parameters: Iterable[Parameter]) -> tuple[int, ...]:
    """Positions of the parameters that require gradients, each once, in order."""
    return tuple(i for i, p in enumerate(dict.fromkeys(parameters)) if p.requires_grad)


def lay_out(
    losses: Mapping[str, Tensor],
    features: Features,
    shared: Iterable[Parameter],
    private: Mapping[str, Iterable[Parameter]],
    walked: Walk,
    *,
    verify: bool = True,
) -> Layout:
    """Verify the declared parameters against one step's graph; the plan is still a plain loop.

    Args:
        losses: Task name to scalar.
        features: The representation.
        shared: Declared shared parameters.
        private: Declared private parameters per task.
        walked: The step's graph.
        verify: Refuse leaves that nobody declared; otherwise they are `Layout.others`.

    Raises:
        ValueError: If a loss reaches a parameter declared private to another task, or one that is
            not declared at all (it would silently stay out of training).
    """
    shared = list(shared)
    common, own = trainable(shared), {task: trainable(p) for task, p in private.items()}
    heads = reach(list(losses.values()), stops=() if features.detached else features.outputs)
    encoder = reach(features.outputs)
    seen = [heads.leaves.get(x, 0) for x in features.inputs] if features.detached else heads.stops
    users = {p: mask for p, mask in heads.leaves.items() if p not in set(features.inputs)}
    for leaf, which in encoder.leaves.items():
        for k, mask in enumerate(seen):
            if which >> k & 1:
                users[leaf] = users.get(leaf, 0) | mask
    others: Mapping[str, tuple[int, ...]] = {}
    if verify:
        _verify(users, list(losses), common, own)
    else:
        others = _others(users, list(losses), common, own, walked)
    below = tuple(i for i, p in enumerate(common) if p in encoder.leaves)
    beside = tuple(i for i, p in enumerate(common) if p in heads.leaves)
    inputs = [common[i] for i in below]
    linear: tuple[LinearLayer, ...] = ()
    if features.apart:
        linear = linear_layers(features.outputs, walked.nodes, inputs, elsewhere=heads.leaves)
    return Layout(
        common,
        own,
        below,
        beside,
        Plan(1),
        _aside([heads.leaves[common[i]] for i in beside], seen, list(losses)),
        linear,
        Operations.of(encoder.nodes, features.outputs),
        others,
        not features.detached and (nested(features.outputs) or bool(set(below) & set(beside))),
        any(name.startswith(_REENTRANT) for name in (*heads.nodes, *encoder.nodes)),
        places(shared),
    )


def _aside(around: Sequence[int], seen: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Tasks that are in a mask of the first and in none of the second."""
    found = 0
    for mask in around:
        found |= mask
    for mask in seen:
        found &= ~mask
    return tuple(name for i, name in enumerate(names) if found >> i & 1)


def _others(
    users: Mapping[Tensor, int],
    names: Sequence[str],
    shared: Sequence[Parameter],
    private: Mapping[str, Sequence[Parameter]],
    walked: Walk,
) -> dict[str, tuple[int, ...]]:
    """Places in the walk of leaves that each task reaches and that nobody declared."""
    declared = {*shared, *(p for own in private.values() for p in own)}
    found: dict[str, tuple[int, ...]] = {}
    for place, node in enumerate(walked.nodes):
        if is_leaf(node) and (leaf := node.variable) not in declared:  # type: ignore[attr-defined]
            for i, name in enumerate(names):
                if users.get(leaf, 0) >> i & 1:
                    found[name] = (*found.get(name, ()), place)
    return found


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
            if not isinstance(leaf, Parameter):
                continue  # an input that a loss is differentiated by, as in physics-informed losses
            raise ValueError(
                "Every trainable parameter that the losses reach should be declared shared or "
                f"private, found one of shape {tuple(leaf.shape)} reached by {tasks}. "
                "Yield it from `shared_parameters` or `private_parameters`."
            )
        strangers = [task for task in tasks if task != owner[leaf]]
        if strangers:
            raise ValueError(
                f"`private_parameters('{owner[leaf]}')` should be reached by that task only, "
                f"found one of shape {tuple(leaf.shape)} reached by {strangers} too. "
                "Declare it shared."
            )


def plain_leaves(layout: Layout) -> set[int]:
    """``id`` of the declared tensors that are no `torch.nn.Parameter`."""
    declared = [*layout.shared, *(p for own in layout.private.values() for p in own)]
    return {id(p) for p in declared if p.__class__ is Tensor}
