"""Bayesian search with the gradients of one supernet as a prior."""

from __future__ import annotations

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from moml.nas.gates import GateGradients
from moml.nas.method._base import SearchComposition, SearchMethod, SearchSetting
from moml.nas.outer import OuterSearch, ParetoSearch
from moml.nas.supernet import SuperNet
from moml.optim import GradientStep
from moml.oracle import Direct
from moml.weighting import EW


class GatedSearch(SearchMethod):
    """`ParetoSearch` whose Gaussian processes also see what `moml.nas.GateGradients` says.

    The steps of the search train one supernet; the scores of clean and adversarial loss are
    features, and the marginal likelihood decides whether they count. On spaces that can be listed
    the plain search is as good without that cost (docs/nas.md).

    Args:
        prior_cost: What the supernet cost, in trainings of one network; charged to the budget.
    """

    def __init__(self, *, prior_cost: float = 0.0) -> None:
        self.prior_cost = prior_cost

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Random mixtures of one supernet."""
        supernet = SuperNet(setting.space, executor=setting.cells(), seed=setting.seed)
        supernet = supernet.to(setting.device)
        problem = GateGradients(
            supernet,
            loss=setting.suite.tasks[setting.task].loss,
            task=setting.task,
            ball=setting.ball,
            bounds=setting.bounds,
            seed=setting.seed,
        )
        optimizer = torch.optim.SGD(
            supernet.parameters(), setting.learning_rate, momentum=0.9, weight_decay=3e-4
        )
        updater = GradientStep(
            optimizer, scheduler=lambda o: CosineAnnealingLR(o, setting.steps), clip_norm=5.0
        )
        return SearchComposition(problem, Direct(), EW(), updater, setting.whole_stream())

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> OuterSearch:
        """The Bayesian search."""
        assert learnt is not None
        assert isinstance(learnt.problem, GateGradients)
        return ParetoSearch(
            setting.space,
            seed=setting.seed,
            prior=learnt.problem.scores,
            prior_cost=self.prior_cost,
        )
