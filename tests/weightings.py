"""Every weighting there is, and the variants whose state differs."""

import inspect

import moml.weighting as room
from moml.weighting import DWA, MGDA, RLW, UW, Every, GradientNormalization, Weighting, WeightSum


def all_weightings():
    """Name to a function that makes a fresh one, found in the package."""
    found = {
        name: cls
        for name, cls in vars(room).items()
        if inspect.isclass(cls)
        and issubclass(cls, Weighting)
        and not inspect.isabstract(cls)
        and cls not in (Every, GradientNormalization, WeightSum)
    }
    variants = {
        "DWA by window": lambda: DWA(window=2),
        "RLW by gradients": lambda: RLW(level="gradient"),
        "RLW drawn once": lambda: RLW(distribution="random_normal"),
        "MGDA every 3": lambda: Every(MGDA(), n=3),
        "MGDA of normalised gradients": lambda: GradientNormalization(MGDA(), by="loss+"),
        "UW summing to K": lambda: WeightSum(UW(), total="tasks"),
    }
    return {**found, **variants}
