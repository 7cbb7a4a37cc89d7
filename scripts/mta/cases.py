"""Data and aims of one setting and seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mta.protocol import Scale, Setting
from mta.victims import victim_of
from torch import Tensor

from moml.attack import Victim, margin
from moml.attack.generator import Aim
from moml.data import Batch, Loader, MultiLoader, TensorSource
from tasks import OfficeDigits


def bounded_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin until the prediction is wrong by 1: no sample is attacked further than needed."""
    return margin(logits, labels).clamp(max=1.0)


def bounded_toward(logits: Tensor, labels: Tensor) -> Tensor:
    """The same for targeted attacks, where the margin is lowered."""
    return margin(logits, labels).clamp(min=-1.0)


@dataclass(frozen=True)
class Case:
    """Data and aims of one setting and seed."""

    aims: dict[str, Aim]
    sources: dict[str, TensorSource] | TensorSource
    val: Batch
    test: Batch


def case_of(setting: Setting, scale: Scale, out: Path, seed: int) -> Case:
    """Victims, data and aims."""
    if setting.opposing:
        tasks = tuple(f"victim {i}" for i in range(3))
        models = [victim_of(scale, out, "plain", seed, copy=i) for i in range(3)]
        domains = ["plain"] * 3
    else:
        tasks = domains = list(setting.domains or scale.domains)
        models = [victim_of(scale, out, domain, seed) for domain in domains]
    aims = {}
    for i, (task, model) in enumerate(zip(tasks, models, strict=True)):
        if setting.loss == "cross-entropy":
            aim = Aim(Victim(model))
        else:
            aim = Aim(Victim(model), loss=bounded_toward if setting.targeted else bounded_margin)
        shift = 1 + 3 * i if setting.opposing else 1
        aims[task] = aim.towards(partial(next_digit, shift=shift)) if setting.targeted else aim
    suite = OfficeDigits(domains=list(dict.fromkeys(domains)), size=scale.size, seed=seed)
    parts: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        found = suite.sources(split)  # type: ignore[arg-type]
        if setting.opposing:
            plain = found["plain"]
            parts[split] = TensorSource(plain.inputs, dict.fromkeys(tasks, plain.targets["plain"]))
        else:
            parts[split] = found
    return Case(aims, parts["train"], whole(parts["val"]), whole(parts["test"]))


def next_digit(labels: Tensor, *, shift: int) -> Tensor:
    """The target class of a targeted attack."""
    return (labels + shift) % 10


def whole(source: dict[str, TensorSource] | TensorSource) -> Batch:
    """A split as one batch."""
    if isinstance(source, TensorSource):
        return source.batch(torch.arange(len(source)))
    inputs = {task: one.inputs for task, one in source.items()}
    return Batch(inputs, {task: one.targets[task] for task, one in source.items()})


def loader_of(sources: Any, batch_size: int, seed: int) -> Loader | MultiLoader:
    """Shuffled training batches."""

    def one(source: TensorSource, number: int) -> Loader:
        return Loader(source, batch_size, shuffle=True, drop_last=True, seed=1000 * seed + number)

    if isinstance(sources, TensorSource):
        return one(sources, 0)
    return MultiLoader({task: one(source, i) for i, (task, source) in enumerate(sources.items())})
