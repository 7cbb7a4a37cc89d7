"""Attacks: inputs near the clean ones, within a ball, at which the losses of a model are high.

A loss closure and a ball are all that an attack needs. A `Victim` adds what a bare function cannot:
normalisation inside, evaluation mode, goals from the same forward pass.

>>> import torch
>>> from moml.attack import PGD, Linf, Victim, cross_entropy, misclassified
>>> model = torch.nn.Linear(2, 2, bias=False)
>>> _ = model.weight.data.copy_(torch.eye(2))
>>> x, labels = torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([0, 0])
>>> goal = Victim(model).objective(labels, loss=cross_entropy, success=misclassified)
>>> x_adv = PGD(Linf(0.15), steps=5).perturb(goal, x)
>>> goal.reached(x_adv)
tensor([ True, False])
"""

from moml.attack._ascent import Ascent, TotalLoss, input_gradient
from moml.attack._base import Attack, Bounds, check_bounds, inside
from moml.attack._judge import Judge, find_judges
from moml.attack._model_objective import ModelObjective
from moml.attack._objective import Measured, Objective
from moml.attack._region import Region
from moml.attack.apgd import APGD
from moml.attack.ball import L1, L2, Ball, Linf
from moml.attack.card import Card, MaskedGradients, robustness_card
from moml.attack.fab import FAB
from moml.attack.fgsm import FGSM
from moml.attack.generator import MTA
from moml.attack.objectives import (
    classified_as,
    cross_entropy,
    dlr,
    ignoring,
    loss_above,
    margin,
    misclassified,
    mostly_misclassified,
    standardized,
    targeted,
    targeted_dlr,
    targeted_margin,
    yes_no,
)
from moml.attack.one_delta import OneDelta
from moml.attack.pgd import PGD
from moml.attack.square import Square
from moml.attack.uap import UAP
from moml.attack.victim import Victim
from moml.attack.worst_case import each_target, worst_case

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "L1",
    "L2",
    "MTA",
    "PGD",
    "UAP",
    "Ascent",
    "Attack",
    "Ball",
    "Bounds",
    "Card",
    "Judge",
    "Linf",
    "MaskedGradients",
    "Measured",
    "ModelObjective",
    "Objective",
    "OneDelta",
    "Region",
    "Square",
    "TotalLoss",
    "Victim",
    "check_bounds",
    "classified_as",
    "cross_entropy",
    "dlr",
    "each_target",
    "find_judges",
    "ignoring",
    "input_gradient",
    "inside",
    "loss_above",
    "margin",
    "misclassified",
    "mostly_misclassified",
    "robustness_card",
    "standardized",
    "targeted",
    "targeted_dlr",
    "targeted_margin",
    "worst_case",
    "yes_no",
]
