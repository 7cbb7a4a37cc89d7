"""Pareto multi-task learning: descent on all tasks within the cone around a preferred ray."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, even, single
from moml.weighting._min_norm import min_norm_weights
from moml.weighting._preference import Preference, given_per_task, preference_of, rows


class PMTL(GramianWeighting):
    r"""Weights of a common descent direction that stays, or gets, near the preferred ray.

    Lin, Zhen, Li, Zhang & Kwong, `Pareto Multi-Task Learning <https://arxiv.org/abs/1912.12854>`_,
    NeurIPS 2019. The losses belong to the preference with which they have the largest inner
    product (unit vectors u). For every other preference j that is as near, :math:`(u_j - u)^\top L
    \ge 0`, that constraint's gradient joins the tasks' in the minimum-norm problem of `MGDA`; while
    losses are outside the cone, only the violated constraints' gradients do. It ends anywhere on
    the front inside the cone, not on the ray.

    Args:
        preference: The ray; losses are to be proportional to it. Equal unless given.
        others: The other rays, which bound the cone; the tasks' own axes unless given.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"scale_invariant"})
    paper = "Lin et al., Pareto Multi-Task Learning, NeurIPS 2019"
    preference_is = "ray"
    preference: Tensor
    cone: Tensor

    def __init__(
        self, *, preference: Preference = None, others: Sequence[Sequence[float]] | None = None
    ) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.others = others
        if others is not None:
            what = "several preferences, each a number per task"
            checks.instance("others", others, Sequence, what)
            self.others = [checks.numbers("others", other, what) for other in others]

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        others = torch.eye(num_tasks).tolist() if self.others is None else self.others
        rays = torch.stack([preference_of(other, self.names) for other in others])
        self.register_buffer("preference", preference, persistent=False)
        self.register_buffer("cone", rays, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights of the direction, ``(m,)``; negative where a loss should rise.

        Raises:
            ValueError: If losses are missing.
        """
        self._check_bound()
        gramian = single(gramian, "PMTL")
        if losses is None:
            raise ValueError("`losses` should be given to PMTL, found None. It steers by them.")
        losses = losses.detach().double()
        ray = _unit(rows(self.preference, tasks))
        cone = _unit(self.cone if tasks is None else self.cone[:, tasks])
        normals = (cone - ray)[((cone - ray).abs() > 1e-12).any(1)]  # (c, m)
        excess = normals @ losses
        active = excess >= 0.0
        inside = not bool((excess > 0.0).any())
        parts = [torch.eye(len(losses), dtype=torch.float64)] if inside else []
        stacked = torch.cat([*parts, normals[active]])  # (a, m) gradients as weights
        found = min_norm_weights(_products(stacked, gramian))
        return torch.from_numpy(even(gramian.numpy(), found @ stacked.numpy()))


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-300)


def _products(stacked: Tensor, gramian: Tensor) -> Array:
    products = (stacked @ gramian @ stacked.T).numpy()
    return np.asarray(0.5 * (products + products.T))
