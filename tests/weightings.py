"""Every weighting there is, and the variants whose state differs."""

import inspect

import moml.weighting as room
from moml.weighting import (
    CRMOGM,
    DRUW,
    DWA,
    IMTL,
    MGDA,
    RLW,
    STCH,
    UW,
    CAGrad,
    Every,
    GradientNormalization,
    GradVac,
    Grouped,
    Scaled,
    Weighting,
    WeightSum,
)

WRAPPERS = (CRMOGM, Every, GradientNormalization, Grouped, Scaled, WeightSum)


def all_weightings():
    """Name to a function that makes a fresh one, found in the package."""
    found = {
        name: cls
        for name, cls in vars(room).items()
        if inspect.isclass(cls)
        and issubclass(cls, Weighting)
        and not inspect.isabstract(cls)
        and cls not in WRAPPERS
    }
    variants = {
        "DWA by window": lambda: DWA(window=2),
        "RLW by gradients": lambda: RLW(level="gradient"),
        "RLW drawn once": lambda: RLW(distribution="random_normal"),
        "MGDA every 3": lambda: Every(MGDA(), n=3),
        "MGDA of normalised gradients": lambda: GradientNormalization(MGDA(), by="loss+"),
        "UW summing to K": lambda: WeightSum(UW(), total="tasks"),
        "CAGrad on losses scaled by UW": lambda: Scaled(CAGrad(), scaling=UW()),
        "log-MGDA": lambda: Scaled(MGDA()),
        "MGDA smoothed": lambda: CRMOGM(MGDA()),
        "GradVac by layer": lambda: Grouped(GradVac(), groups=3),
        "IMTL on losses": lambda: IMTL(mode="loss"),
        "IMTL hybrid": lambda: IMTL(mode="hybrid"),
        "STCH after a warm-up": lambda: STCH(warmup=1),
        "DRUW by step": lambda: DRUW(window=1),
    }
    return {**found, **variants}
