"""Eleven exact invariants of small graphs: many regression tasks on very different scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from moml.backbone import MessagePassing, MLPHead
from moml.data import Defaults, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from moml.losses import MeanSquaredError
from tasks._invariants import MAX_NODES, TARGETS, atlas
from tasks._labels import check_share, present_labels

if TYPE_CHECKING:
    from torchmetrics import Metric

ITEMS: dict[Split, slice] = {
    "train": slice(0, 600),
    "val": slice(600, 700),
    "test": slice(700, 992),
}


class GraphAtlas(Suite):
    """Exact invariants of all 992 connected graphs with 4 to 7 nodes: up to eleven regressions.

    Source: the graph atlas of R. C. Read and R. J. Wilson that networkx carries (BSD-3-Clause); the
    targets are computed, not measured. No two graphs are isomorphic, so a split by graph (600 for
    training, 100 for validation, 292 for testing) leaks nothing. Inputs are adjacency matrices
    ``(7, 7)``, padded with zeros. R2: higher is better, MAE: lower is better.

    Targets are standardized unless told otherwise. On their own scales variances run from 0.05
    (mean distance) to 19 (triangles), and equal weights leave the small ones behind: R2 0.80 for
    the radius against 0.90. That is a problem worth giving a weighting, so ask for it by
    ``standardize=False``; as the default it would say more about units than about methods.

    Args:
        targets: Names of the invariants to predict; all if not given.
        standardize: Scale targets to zero mean and unit variance over the training split. MAE is
            then in standard deviations; R2 does not change.
        missing: Share of each task's labels dropped from the training split.
        seed: Seed of the split and of the dropped labels.
    """

    defaults = Defaults(
        steps=4000, batch_size=64, learning_rate=2e-3, eval_every=200, learning_rates=(1e-3, 2e-3)
    )

    def __init__(
        self,
        *,
        targets: Sequence[str] | None = None,
        standardize: bool = True,
        missing: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_share(missing)
        names = TARGETS if targets is None else tuple(targets)
        unknown = [name for name in names if name not in TARGETS]
        if unknown or not names:
            raise ValueError(
                f"`targets` should name some of {', '.join(TARGETS)}, "
                f"found {', '.join(unknown) or 'none'}."
            )
        self.targets, self.standardize = names, standardize
        self.missing, self.seed = missing, seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One regression per invariant."""
        return {name: TaskSpec(MeanSquaredError(), _metrics, main="R2") for name in self.targets}

    def sources(self, split: Split) -> TensorSource:
        """The graphs of this split only."""
        adjacency, targets = atlas()
        order = torch.randperm(len(adjacency), generator=torch.Generator().manual_seed(self.seed))
        train, items = order[ITEMS["train"]], order[ITEMS[split]]
        chosen = {name: targets[name] for name in self.targets}
        if self.standardize:
            chosen = {name: (y - y[train].mean()) / y[train].std() for name, y in chosen.items()}
        present = None
        if split == "train":
            seed = 7_919 * (self.seed + 1)
            present = present_labels(self.targets, len(items), missing=self.missing, seed=seed)
        return TensorSource(adjacency[items], {k: y[items] for k, y in chosen.items()}, present)

    def encoder(self) -> nn.Module:
        """Message passing from the nodes' degrees."""
        return MessagePassing(MAX_NODES)

    def head(self, task: str, in_features: int) -> nn.Module:
        """A hidden layer and one number."""
        return MLPHead(in_features, 1)


def _metrics() -> dict[str, Metric]:
    from torchmetrics.regression import MeanAbsoluteError, R2Score

    return {"R2": R2Score(), "MAE": MeanAbsoluteError()}
