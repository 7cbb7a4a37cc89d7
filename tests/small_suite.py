"""A suite that costs nothing, known by class path."""

import torch

from moml.data import Suite, TaskSpec, TensorSource
from moml.losses import CrossEntropy

SIZES = {"train": 160, "val": 40, "test": 40}


def metrics():
    from torchmetrics.classification import MulticlassAccuracy

    return {"accuracy": MulticlassAccuracy(3, average="micro")}


class Small(Suite):
    """Three classes of six numbers, twice, for two tasks that disagree."""

    def __init__(self, *, multi_input: bool = False, missing: float = 0.0):
        self.multi_input, self.missing = multi_input, missing

    @property
    def tasks(self):
        return {t: TaskSpec(CrossEntropy(3), metrics, main="accuracy") for t in ("left", "right")}

    def _source(self, split, tasks, stream):
        draw = torch.Generator().manual_seed(10 * stream + len(split))
        maps = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(7))
        x = torch.randn(SIZES[split], 6, generator=draw)
        y = dict(zip(("left", "right"), (x @ maps).argmax(2), strict=True))
        known = torch.rand(len(x), generator=draw) >= self.missing
        present = dict.fromkeys(tasks, known) if self.missing and split == "train" else None
        return TensorSource(x, {t: y[t] for t in tasks}, present)

    def sources(self, split):
        if not self.multi_input:
            return self._source(split, ("left", "right"), 0)
        return {t: self._source(split, (t,), 1 + i) for i, t in enumerate(self.tasks)}

    def encoder(self):
        layers = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh()
        )
        layers.out_features = 8
        return layers

    def head(self, task, in_features):
        return torch.nn.Linear(in_features, 3)


class Deeper(Small):
    """The same with an encoder of two layers, which shows no example of its inputs."""

    def encoder(self):
        layers = torch.nn.Sequential(
            torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.ReLU()
        )
        layers.out_features = 8
        return layers


class Numbered(Small):
    """The same with integers for names of tasks."""

    @property
    def tasks(self):
        return dict(enumerate(super().tasks.values(), start=1))

    def sources(self, split):
        both = self._source(split, ("left", "right"), 0)
        return TensorSource(both.inputs, dict(enumerate(both.targets.values(), start=1)))
