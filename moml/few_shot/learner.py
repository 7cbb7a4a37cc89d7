"""What a few-shot problem trains: the network, and what is learnt beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml.backbone import norms
from moml.few_shot.step_statistics import StepStatistics

Rates = Literal["fixed", "variable", "layer", "layer_step"]
_NORMS = (
    *(nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm),
    *(norms.BatchNorm, norms.GroupNorm, norms.InstanceNorm, norms.LayerNorm),
)


class Learner(nn.Module):
    """A network, learnt learning rates, and normalisation parameters per lower step.

    Learnt rates are kept as multiples of the rate they start from. Adam moves what it trains by
    about its own rate, whatever the gradient: a rate of 0.01 trained with 0.001 would change by a
    tenth in every step, and the lower level diverge; its multiple changes by a thousandth.

    Args:
        network: Its parameters are the start of the lower level.
        adapted: Which parameters the lower level moves, by name.
        rates: How learnt rates are shared; see `FewShot`.
        inner_lr: Their initial value, of multiple 1; ``None`` if it is not known yet.
        steps: Number of lower steps they are kept for.
        step_norms: Keep normalisation parameters per lower step.
        step_statistics: Keep running statistics per lower step.
        generators: Random generators of the objectives, part of the state.

    Attributes:
        steps_done: Number of meta-steps done.
        statistics: The running statistics per lower step, if they are kept.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        adapted: Callable[[str], bool],
        rates: Rates,
        inner_lr: float | None,
        steps: int,
        step_norms: bool,
        step_statistics: bool = False,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        super().__init__()
        if rates not in get_args(Rates):
            raise ValueError(f"`rates` should be one of {get_args(Rates)}, found {rates!r}.")
        if inner_lr is not None:
            checks.number("inner_lr", inner_lr, above=0)
        self.network, self.kind, self.steps, self.inner_lr = network, rates, steps, inner_lr
        self.generators = list(generators)
        self.selected = adapted
        every = dict(network.named_parameters())
        named = {n: p for n, p in every.items() if p.requires_grad}
        norms = _norm_names(network) & named.keys() if step_norms else set()
        # Also of what is frozen now and may be unfrozen later: an optimizer is built only once.
        self.rates = nn.ParameterDict(
            {
                _key(n): _multiple(p, rates, steps)
                for n, p in every.items()
                if rates != "fixed" and adapted(n) and n not in norms
            }
        )
        self.norms = nn.ParameterDict(
            {
                _key(n): Parameter(p.detach().repeat(steps + 1, *[1] * p.dim()))
                for n, p in named.items()
                if n in norms
            }
        )
        for name in norms:
            named[name].requires_grad_(False)  # replaced by those of the steps
        self.statistics = StepStatistics(network, steps=steps) if step_statistics else None
        self.steps_done = 0
        self._split: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        if not self.adapted:
            raise ValueError(_NONE)

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of the parameters that the lower level moves: those that are trainable now."""
        return self._names(tuple(self.upper()))[0]

    def upper(self) -> dict[str, Parameter]:
        """What is learnt at present: nothing that is frozen, and no rate of it."""
        named = {n: p for n, p in self.named_parameters() if p.requires_grad}
        frozen = [f"rates.{k}" for k in self.rates if f"network.{_name(k)}" not in named]
        for name in frozen:
            del named[name]
        return named

    def start(self, omega: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The lower variables' learnt start, by their names in the network.

        Raises:
            ValueError: If nothing is left to adapt.
        """
        adapted, _ = self._names(tuple(omega))
        if not adapted:
            raise ValueError(_NONE)
        return {name: omega[f"network.{name}"] for name in adapted}

    def rest(self, omega: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Parameters the lower level uses but does not move."""
        _, others = self._names(tuple(omega))
        rest = {name: omega[f"network.{name}"] for name in others}
        for key in self.norms:
            rest[_name(key)] = omega[f"norms.{key}"][min(step, self.steps)]
        return rest

    def rates_at(self, omega: Mapping[str, Tensor], step: int) -> dict[str, Tensor] | None:
        """Learnt rates of the lower variables at a step; ``None`` without any."""
        if self.kind == "fixed":
            return None
        if self.inner_lr is None:
            raise ValueError(
                "`inner_lr` should be given where rates are learnt and the lower solver has no "
                "rate of its own, found neither."
            )
        adapted, _ = self._names(tuple(omega))
        rates = {n: self.inner_lr * omega[f"rates.{_key(n)}"] for n in adapted}
        if self.kind == "layer_step":
            return {name: rate[min(step, self.steps - 1)] for name, rate in rates.items()}
        return rates

    def _names(self, omega: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the network's parameters among the upper ones: adapted, and the others."""
        if omega not in self._split:
            own = [n.removeprefix("network.") for n in omega if n.startswith("network.")]
            per_step = {_name(key) for key in self.norms}
            adapted = tuple(n for n in own if self.selected(n) and n not in per_step)
            self._split[omega] = adapted, tuple(n for n in own if n not in adapted)
        return self._split[omega]

    def get_extra_state(self) -> dict[str, Any]:
        """Number of meta-steps done, and states of the objectives' generators."""
        generators = [generator.get_state() for generator in self.generators]
        return {
            "steps_done": self.steps_done,
            "generators": generators,
            "inner_lr": self.inner_lr,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.steps_done = state["steps_done"]
        if self.inner_lr is None:
            self.inner_lr = state.get("inner_lr")
        for generator, stored in zip(self.generators, state["generators"], strict=True):
            generator.set_state(stored)


_NONE = (
    "`adapt` should leave at least one trainable parameter to the lower level, found none. "
    "With 'head', the network needs a child of that name."
)


def _name(key: str) -> str:
    """The parameter's name of a dictionary's key."""
    return key.replace("/", ".")


def _key(name: str) -> str:
    """Parameter dictionaries take no dots."""
    return name.replace(".", "/")


def _multiple(parameter: Tensor, kind: Rates, steps: int) -> Parameter:
    like = parameter.detach()
    if kind == "variable":
        return Parameter(torch.ones_like(like))
    return Parameter(like.new_ones((steps,) if kind == "layer_step" else ()))


def _norm_names(network: nn.Module) -> set[str]:
    """Names of normalisation layers' parameters."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in network.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }
