"""Data of two levels from a suite's training split."""

from __future__ import annotations

from moml._support import checks
from moml.bilevel_mtl.method._base import Setting
from moml.data import TwoLevels, hold_out, loader_of, prefetched
from moml.data.stream import LoaderStream


def two_level_stream(setting: Setting, held_out: float, *, whole: bool = False) -> LoaderStream:
    """The lower level's batches from one part of the training split, the upper one's from the rest.

    The validation split stays what weights are selected on, and nothing else.

    Args:
        setting: The run.
        held_out: Share of the training split for the upper level.
        whole: A second lower batch comes from the whole training split, for steps that are really
            taken.
    """
    sources = setting.suite.sources("train")
    rest, held = hold_out(sources, held_out, seed=setting.seed)
    parts = [rest, sources] if whole else [rest]
    size, seed = setting.batch_size, setting.seed
    lower = [loader_of(part, size, train=True, seed=seed) for part in parts]
    upper = loader_of(held, size, train=True, seed=seed + 1)
    batches = prefetched(TwoLevels(lower, upper), setting.workers)
    return LoaderStream(batches, device=setting.device)


def no_weighting(setting: Setting, method: str, why: str) -> None:
    """Refuse a weighting where the method has its own.

    Raises:
        ValueError: If there is one.
    """
    if setting.weighting is not None:
        raise ValueError(
            f"`weighting` should be left out with {method}, found "
            f"{type(setting.weighting).__name__}. {why} `MOML` takes any."
        )


def check_share(held_out: float) -> float:
    """The share itself.

    Raises:
        ValueError: If it does not lie between 0 and 1.
    """
    checks.number("held_out", held_out, above=0.0, below=1.0)
    return held_out


def check_rate(name: str, rate: float | None) -> float | None:
    """The rate itself.

    Raises:
        ValueError: If it is not positive.
    """
    return None if rate is None else checks.number(name, rate, above=0)
