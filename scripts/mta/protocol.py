"""What is compared: methods, settings, sizes, seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moml.weighting import EW, MGDA, RLW, CAGrad, PCGrad, Weighting, WeightSum


WEIGHTINGS: dict[str, Callable[[], Weighting]] = {
    "EW": EW,
    "RLW": lambda: WeightSum(RLW()),
    "MGDA": lambda: WeightSum(MGDA()),
    "PCGrad": PCGrad,
    "CAGrad": lambda: WeightSum(CAGrad()),
}
SEPARATE, MATCHED = "GAP, one per task", "GAP, size-matched"
METHODS = (*(f"MTA {name}" for name in WEIGHTINGS), SEPARATE, MATCHED)
ATTRIBUTES = ("digit", "parity", "high", "loop")  # attacked with one perturbation
VALIDATION_SEED = 100
TUNED = ("base", "cross-entropy", "opposing targets")  # each with rates of its own, and all seeds


@dataclass(frozen=True)
class Scale:
    """How much is computed."""

    name: str
    size: int
    domains: tuple[str, ...]
    victim_steps: int
    steps: int
    batch_size: int
    seeds: int
    other_seeds: int
    methods: tuple[str, ...]
    rates: tuple[float, ...]
    settings: tuple[str, ...]
    images: int
    hardening: float


@dataclass(frozen=True)
class Setting:
    """One point of the design; everything but one field is the base's."""

    eps: float = 0.15
    universal: bool = False
    targeted: bool = False
    loss: str = "margin"
    opposing: bool = False
    domains: tuple[str, ...] = ()


SETTINGS = {
    "base": Setting(),
    "universal": Setting(universal=True),
    "targeted": Setting(targeted=True),
    "eps 0.10": Setting(eps=0.10),
    "eps 0.20": Setting(eps=0.20),
    "cross-entropy": Setting(loss="cross-entropy"),
    "opposing targets": Setting(opposing=True, targeted=True, eps=0.20),
    "five domains": Setting(domains=("plain", "photo", "turned", "noisy", "edges")),
}
DESCRIPTIONS = {
    "base": "three domains, an own victim each, per instance, non-targeted, eps 0.15, margin loss",
    "universal": "one fixed perturbation per task",
    "targeted": "every digit should become the next one",
    "eps 0.10": "a smaller budget",
    "eps 0.20": "a larger budget",
    "cross-entropy": "minus cross-entropy instead of the bounded margin",
    "opposing targets": "three victims see the same image, each with another target class",
    "five domains": "five tasks instead of three",
}
FULL = Scale(
    "full", 16, ("plain", "photo", "turned"), 300, 300, 32, 5, 2, METHODS, (1e-3, 3e-3, 1e-2),
    tuple(SETTINGS), 256, 0.04,
)  # fmt: skip
SMOKE = Scale(
    "smoke", 8, ("plain", "turned"), 100, 40, 32, 1, 1, ("MTA EW", "MTA MGDA", SEPARATE, MATCHED),
    (3e-3,), ("base",), 64, 0.0,
)  # fmt: skip


def seeds_of(scale: Scale, setting: str) -> range:
    """Reported seeds of a setting."""
    return range(scale.seeds if setting in TUNED else scale.other_seeds)
