"""Fifteen small encoders that are not what they look like, in float64, from 6 numbers to 8."""

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


class Encoder(nn.Module):
    out_features = 8


class LayerDrop(Encoder):
    """The second layer is skipped in steps of the seed's choice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return x if self.training and torch.rand(()) < 0.5 else x + torch.tanh(self.second(x))


class TopOne(Encoder):
    """Each sample goes to the expert with the largest gate."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(6, 2)
        self.experts = nn.ModuleList(nn.Linear(6, 8) for _ in range(2))

    def forward(self, x):
        share, chosen = self.gate(x).softmax(-1).max(-1)
        outputs = torch.stack([torch.tanh(expert(x)) for expert in self.experts])
        picked = torch.nn.functional.one_hot(chosen, 2).to(x).T[..., None]
        return (outputs * picked).sum(0) * share[..., None]


class LoRA(nn.Linear):
    """A linear layer by class, whose weight is frozen and adapted beside."""

    def __init__(self, width_in, width_out):
        super().__init__(width_in, width_out)
        self.weight.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, width_in) / 3)
        self.up = nn.Parameter(torch.randn(width_out, 2) / 3)

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


class Masked(nn.Linear):
    """A linear layer by class, half of whose weights do not count."""

    def __init__(self, width_in, width_out):
        super().__init__(width_in, width_out)
        self.register_buffer("mask", (torch.arange(width_in) % 2).double().expand(width_out, -1))

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


def behind(first):
    def build():
        return nn.Sequential(first(), nn.Tanh(), nn.Linear(8, 8))

    return build


def hooked():
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
    network[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    network[2].weight.register_hook(lambda gradient: gradient * 0.5)
    return network


def patched():
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
    plain = network[2].forward
    network[2].forward = lambda x: plain(x) + x.sum(-1, keepdim=True)
    return network


class Tied(Encoder):
    """A weight used in both directions."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6) / 3)
        self.out = nn.Linear(6, 8)

    def forward(self, x):
        return self.out(torch.tanh(x @ self.weight.T) @ self.weight)


class Twice(Encoder):
    """A layer used twice, under one name and under another."""

    def __init__(self):
        super().__init__()
        self.first, self.layer = nn.Linear(6, 8), nn.Linear(8, 8)
        self.again = self.layer

    def forward(self, x):
        return self.again(torch.tanh(self.layer(torch.tanh(self.first(x)))))


class Checkpointed(Encoder):
    """Activations are computed a second time in the backward pass."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x):
        return checkpoint(self.second, torch.tanh(self.first(x)), use_reentrant=False)


class Plain(Encoder):
    """The same with activations kept."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Repeated(Plain):
    """`Twice` without the second name."""

    def __init__(self):
        Encoder.__init__(self)
        self.first, self.layer = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(torch.tanh(self.first(x)))))


class Compiled(Encoder):
    """A compiled part, by a backend that needs no compiler of C++."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
        self.compiled = torch.compile(self.layers.forward, backend="aot_eager")

    def forward(self, x):
        return self.compiled(x)


class Recurrent(Encoder):
    """Three steps of two numbers."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTM(2, 8, batch_first=True)

    def forward(self, x):
        return self.cell(x.unflatten(-1, (3, 2)))[0][:, -1]


class Attention(Encoder):
    """Three tokens of two numbers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.layer(self.embed(x.unflatten(-1, (3, 2)))).mean(1)


class Conditional(Encoder):
    """A branch that depends on a value."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x):
        return torch.tanh(self.first(x) if x.mean().item() > 0 else self.second(x))


NETWORKS = {
    "layers dropped at random": LayerDrop,
    "a mixture of experts routed to the best": TopOne,
    "LoRA as a subclass of Linear": behind(lambda: LoRA(6, 8)),
    "masked weights in a subclass of Linear": behind(lambda: Masked(6, 8)),
    "parametrised weights": behind(lambda: parametrizations.weight_norm(nn.Linear(6, 8))),
    "forward hooks and gradient hooks": hooked,
    "a patched forward method": patched,
    "a weight tied to its transpose": Tied,
    "a layer used twice": Twice,
    "activation checkpointing": Checkpointed,
    "a compiled network": Compiled,
    "a recurrent network": Recurrent,
    "a transformer": Attention,
    "dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 8)),
    "a branch that depends on a value": Conditional,
}
TWINS = {
    "activation checkpointing": lambda: Plain(),
    "a layer used twice": lambda: Repeated(),
}
"""The same functions without what `torch.func.functional_call` computes wrongly by itself."""
RANDOM = {"layers dropped at random", "dropout"}
"""Those that draw numbers."""


def build(name, *, twin=False):
    """The encoder, the same at every call; or its twin, if it has one."""
    torch.manual_seed(0)
    make = TWINS.get(name, NETWORKS[name]) if twin else NETWORKS[name]
    return make().double()
