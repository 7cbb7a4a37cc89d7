"""A network with many sets of parameters at once: one per episode of a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from moml.bilevel._chain import Link, chain
from moml.bilevel._fingerprint import fingerprint
from moml.bilevel._trial import disagreement, first_line
from moml.bilevel._ways import one_by_one, vectorised
from moml.bilevel.functional import Functional

_LOOPED = (nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
Params = Mapping[str, Tensor]


class Stacked:
    """Calls a network on ``(E, B, ...)`` inputs with parameters ``(E, ...)``, one set per episode.

    Derivatives are taken outside, by plain autograd on the stacked tensors, whose values for one
    episode depend on that episode's parameters only: whole lower levels of many episodes run as
    one. Three ways, of which the first that is right is taken:

    - Chains of linear layers and element-wise functions become batched matrix products: only where
      every part is exactly a type whose stacked form is known, without hooks, parametrizations or
      a forward pass of its own.
    - Other networks are vectorised by `torch.func.vmap`, if that gives the numbers of one call
      after the other, derivatives included. This is tried once, and again when the network's
      modes, attributes, hooks or modules have changed.
    - One call after the other, which is said once in the log.

    Args:
        function: The network.
        products: Look for chains.
    """

    def __init__(self, function: Functional, *, products: bool = True) -> None:
        self.function, self.products = function, products
        self._trusted: dict[Hashable, bool] = {}
        self._said: set[str] = set()

    def __call__(
        self, params: Params, inputs: Tensor, *, batched: frozenset[str] | None = None
    ) -> Tensor:
        """Outputs ``(E, B, ...)``.

        Args:
            params: Parameters by name.
            inputs: ``(E, B, ...)``.
            batched: Names of the parameters that have an episode dimension; all unless given.
        """
        links = self._chain(inputs)
        if links is not None:
            for link in links:
                inputs = link(params, inputs)
            return self.function.chosen(inputs)
        if not self._vectorises(params, inputs, batched):
            return one_by_one(self.function, params, inputs, batched)
        try:
            return vectorised(self.function, params, inputs, batched)
        except Exception as error:  # of torch, where no gradient is needed, say
            output = one_by_one(self.function, params, inputs, batched)  # raises what is its own
            self._say(f"torch.func.vmap cannot run it: {first_line(error)}")
            return output

    def proven(
        self, params: Callable[[], Params], inputs: Tensor, *, batched: frozenset[str] | None = None
    ) -> bool:
        """Whether there is a faster way than one call after the other.

        Args:
            params: Gives parameters as for a call; asked where the network has to be tried.
            inputs: As for a call.
            batched: As for a call.
        """
        if self._chain(inputs) is not None:
            return True
        return self._vectorises(params(), inputs, batched)

    def _chain(self, inputs: Tensor) -> list[Link] | None:
        return chain(self.function.network) if self.products and inputs.dim() > 2 else None

    def _vectorises(self, params: Params, inputs: Tensor, batched: frozenset[str] | None) -> bool:
        key = fingerprint(self.function.network), torch.is_grad_enabled(), inputs.dim(), batched
        if key not in self._trusted:
            if isinstance(inputs, FakeTensor):
                return True  # traced: compared as a whole by whoever traces
            reason = disagreement(self.function, params, inputs, batched)
            self._trusted[key] = reason is None
            if reason is not None:
                self._say(reason)
        return self._trusted[key]

    def _say(self, reason: str) -> None:
        """Once per reason."""
        if reason not in self._said:
            self._said.add(reason)
            logging.getLogger("moml").warning(
                "Episodes are computed one after the other: %s is not the same when stacked (%s).",
                type(self.function.network).__name__,
                reason,
            )


def worth_stacking(network: nn.Module) -> bool:
    """Whether many sets of parameters at once are faster than one after the other on a CPU.

    Matrix products are launched together; grouped convolutions and their second derivatives are
    slower than single ones and take many times the memory. A matter of speed alone, decided by the
    kinds of layers, so that the same network always takes the same way.
    """
    tracked = any(getattr(m, "track_running_stats", False) for m in network.modules())
    return not tracked and not any(isinstance(m, _LOOPED) for m in network.modules())
