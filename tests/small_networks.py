"""Small networks for the tests of architectures."""

import torch
from torch import nn

from moml.backbone import DenseEncoder, DenseHead, SmallCNN

TASKS = ("a", "b", "c")


def cnn(seed=0):
    torch.manual_seed(seed)
    return SmallCNN((8, 8), channels=8, out_features=12)


def linear_heads(tasks=TASKS):
    torch.manual_seed(1)
    return {task: nn.Linear(12, 3) for task in tasks}


def digits(size=4):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def dense():
    torch.manual_seed(0)
    heads = {task: DenseHead(8, 2, hidden=4) for task in TASKS}
    return DenseEncoder(widths=(8, 8, 16)), heads, digits()[:, :, :8].expand(-1, 3, -1, -1)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def set_to(parameter, values):
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype).expand_as(parameter))
