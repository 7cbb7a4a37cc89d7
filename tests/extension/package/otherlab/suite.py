"""Two questions about handwritten digits: which one, and is it large."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from moml.data import Defaults, Suite, TaskSpec, TensorSource
from moml.losses import CrossEntropy


def accuracy(classes):
    return lambda: {"accuracy": MulticlassAccuracy(classes, average="micro")}


class TwoQuestions(Suite):
    """Images of 8×8 numbers from 0 to 1."""

    defaults = Defaults(steps=60, batch_size=32, learning_rate=5e-3, eval_every=30)
    bounds = (0.0, 1.0)

    @property
    def tasks(self):
        return {
            "digit": TaskSpec(CrossEntropy(10), accuracy(10), main="accuracy"),
            "large": TaskSpec(CrossEntropy(2), accuracy(2), main="accuracy"),
        }

    def sources(self, split):
        images, labels = load_digits(return_X_y=True)
        part = {"train": slice(0, 1000), "val": slice(1000, 1400), "test": slice(1400, None)}[split]
        x = torch.tensor(images[part] / 16, dtype=torch.float32)
        y = torch.tensor(labels[part])
        return TensorSource(x, {"digit": y, "large": (y > 4).long()})

    def encoder(self):
        made = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        made.out_features = 32
        return made

    def head(self, task, in_features):
        return nn.Linear(in_features, 10 if task == "digit" else 2)
