"""What is attacked."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mta.protocol import Scale
from torch import nn

from moml.attack import PGD, Linf, Victim, cross_entropy
from moml.backbone import SmallCNN
from moml.data import TensorSource
from tasks import OfficeDigits


def classifier(size: int, classes: int = 10) -> nn.Module:
    """A small victim."""
    encoder = SmallCNN((size, size), channels=16, out_features=64)
    return nn.Sequential(encoder, nn.Linear(encoder.out_features, classes))


def train_victim(
    source: TensorSource, task: str, *, classes: int, steps: int, size: int, seed: int, eps: float
) -> nn.Module:
    """A classifier; for ``eps > 0`` the last third of its steps see perturbed inputs."""
    torch.manual_seed(seed)
    model, draw = classifier(size, classes), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1.5e-3)
    harden = PGD(Linf(eps), steps=3, step_size=eps / 2, early_stop=False) if eps else None
    for step in range(steps):
        chosen = torch.randint(len(source), (64,), generator=draw)
        x, y = source.inputs[chosen], source.targets[task][chosen]
        if harden is not None and step >= 0.7 * steps:
            x = harden.perturb(Victim(model).objective(y, loss=cross_entropy), x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def victim_of(scale: Scale, out: Path, domain: str, seed: int, copy: int = 0) -> nn.Module:
    """The victim of a domain, trained once per seed."""
    path = out / "victims" / f"{scale.name} {domain} {seed} {copy}.pt"
    model = classifier(scale.size)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    source = OfficeDigits(domains=[domain], size=scale.size, seed=seed).sources("train")[domain]
    assert isinstance(source, TensorSource)
    model = train_victim(
        source, domain, classes=10, steps=scale.victim_steps, size=scale.size,
        seed=1000 * copy + seed, eps=0.0,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(f".{os.getpid()}")
    torch.save(model.state_dict(), partial_path)
    partial_path.replace(path)
    return model
