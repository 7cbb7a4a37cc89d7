"""What a forward pass changes is undone, whatever kind of buffer it is."""

import pytest
import torch
from torch import nn

from moml._support.replay import buffers_kept, overwrite


class Counting(nn.Module):
    """Writes to one buffer, replaces another, and holds one whose entries share their memory."""

    def __init__(self):
        super().__init__()
        self.register_buffer("written", torch.zeros(3))
        self.register_buffer("replaced", torch.zeros(3))
        self.register_buffer("mask", torch.arange(3.0).expand(4, 3))

    def forward(self, x):
        self.written += 1
        self.replaced = self.replaced + 1
        return x


@pytest.mark.supported
def test_buffers_that_a_forward_pass_replaces_are_restored():
    module = Counting()
    before = [buffer for _, buffer in module.named_buffers()]
    with buffers_kept(module):
        module(torch.zeros(1))
        assert float(module.replaced.sum()) == 3.0
    assert all(a is b for a, b in zip(module.buffers(), before, strict=True))
    assert float(module.written.sum()) == float(module.replaced.sum()) == 0.0
    assert module.mask.tolist() == [[0.0, 1.0, 2.0]] * 4


def test_an_expanded_tensor_is_written_once():
    whole = torch.zeros(3).expand(4, 3)
    overwrite(whole, torch.arange(3.0).expand(4, 3))
    assert whole.tolist() == [[0.0, 1.0, 2.0]] * 4
