"""A learned mask of the shared features for every task."""

import torch
from torch import nn

from moml.architecture import PerInput, head_dict


class Mask(nn.Module):
    """A factor between 0 and 1 for every feature."""

    def __init__(self, width):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(width))

    def forward(self, features):
        return features * self.logits.sigmoid()


class GatedHeads(PerInput):
    """Each head sees the encoder's features times a sigmoid of its own."""

    paper = "Otherlab, An Example, 2026"

    def __init__(self, encoder, heads):
        super().__init__()
        self.encoder, self.heads = encoder, head_dict(heads)
        self.tasks = tuple(self.heads)
        width = next(iter(self.heads.values())).in_features
        self.masks = head_dict({task: Mask(width) for task in self.tasks})

    def represent(self, x, tasks):
        return {"shared": self.encoder(x)}

    def predict(self, features, tasks):
        shared = features["shared"]
        return {t: self.heads[t](self.masks[t](shared)) for t in tasks}

    def private_modules(self, task):
        return [self.heads[task], self.masks[task]]
