"""Any encoder in stages: the same numbers, wherever it is cut."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from moml.architecture import CrossStitch, Stages
from moml.architecture._split import balanced
from moml.architecture._stages import towers
from moml.backbone import (
    MLP,
    Conv4,
    DenseEncoder,
    MessagePassing,
    ResNet,
    ResNet8,
    SegNet,
    SmallCNN,
    TextCNN,
    ViT,
)


class Foreign(nn.Module):
    """Written the way torchvision's and timm's models are: functions, in-place, views, branches."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.layer1, self.layer2 = self.block(8, 8), self.block(8, 8)
        self.branch1, self.branch2 = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3, padding=1)
        self.drop, self.avgpool = nn.Dropout(0.5), nn.AdaptiveAvgPool2d((1, 1))
        self.out_features = 8

    def block(self, inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 2)
        x = self.layer1(x) + x
        x = x + self.layer2(x)
        x = torch.cat([self.branch1(x), self.branch2(x)], 1)
        x = self.drop(torch.flatten(self.avgpool(x), 1))
        return x.view(x.size(0), -1)


def images(*shape):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def graphs():
    x = (images(7, 7) > 0).float()
    return ((x + x.mT) > 0).float()


ENCODERS = {  # the encoder, inputs, and how many of four stages there is a way to cut
    "MLP": (lambda: MLP(6, hidden=(8, 8, 8)), images(6), 3),
    "SmallCNN": (SmallCNN, images(1, 10, 10), 4),
    "MessagePassing": (MessagePassing, graphs(), 4),
    "DenseEncoder": (lambda: DenseEncoder(widths=(8, 8, 16)), images(3, 16, 24), 2),
    "ResNet8": (ResNet8, images(3, 20, 20), 4),
    "Conv4": (Conv4, images(1, 28, 28), 4),
    "ResNet": (lambda: ResNet(18), images(3, 40, 40), 4),
    "ResNet50 dilated": (lambda: ResNet(50, dilated=True, pooled=False), images(3, 40, 40), 4),
    "SegNet": (lambda: SegNet(widths=(4, 8)), images(3, 12, 20), 4),
    "ViT": (lambda: ViT((16, 16), width=12, depth=3), images(3, 16, 16), 4),
    "TextCNN": (lambda: TextCNN(50, embedding=4, channels=4), torch.randint(50, (2, 9)), 2),
    "Foreign": (Foreign, images(3, 24, 24), 4),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_stages_compute_what_the_encoder_does_to_the_bit(name):
    make, inputs, number = ENCODERS[name]
    encoder = make()
    outputs = []
    for module in (encoder, stages := Stages.of(encoder)):
        torch.manual_seed(3)  # dropout
        encoder.zero_grad()
        buffers = [b.clone() for b in encoder.buffers()]
        y = module(inputs)
        y.square().sum().backward()
        after = [b.clone() for b in encoder.buffers()]
        for buffer, value in zip(encoder.buffers(), buffers, strict=True):
            buffer.copy_(value)
        outputs.append([y, *after, *(p.grad.clone() for p in encoder.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))
    assert len(stages) == number
    assert set(stages.parameters()) == set(encoder.parameters())
    assert all(next(piece.parameters(), None) is not None for piece in stages.pieces)


class Counted(TorchDispatchMode):
    """How many operations run."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ENCODERS)
def test_stages_do_not_an_operation_more(name):
    """Masks and degrees of graphs are made once, for all stages; the backward pass is the same."""
    make, inputs, _ = ENCODERS[name]
    encoder, numbers = make(), []
    for module in (encoder, Stages.of(encoder)):
        encoder.zero_grad()
        with Counted() as counted:
            module(inputs).sum().backward()
        numbers.append(counted.number)
    assert numbers[0] == numbers[1] > 10


@pytest.mark.parametrize("name", ENCODERS)
def test_shapes_are_those_of_the_features(name):
    make, inputs, _ = ENCODERS[name]
    encoder = make()
    encoder.example_input = inputs[:1]
    stages = Stages.of(encoder, at_most=3)
    assert encoder.training
    for k, features in enumerate(stages.walk(inputs)):
        assert features.shape[1:] == stages.shape(k)


def test_stages_hold_about_as_many_layers_each():
    assert balanced([1, 2, 3, 4, 5, 6, 7, 8], 4) == [1, 3, 5]
    assert balanced([1, 5, 6], 2) in ([0], [1])
    assert balanced([3], 4) == []
    assert balanced([1, 2, 3], 3) == [0, 1]


def test_copies_start_elsewhere_and_a_function_is_called_for_each():
    encoder = SmallCNN()
    first, second = towers(encoder, 2)
    assert {*first.parameters()} == {*encoder.parameters()}
    assert not torch.equal(first(images(1, 10, 10)), second(images(1, 10, 10)))
    stored = SmallCNN().state_dict()

    def pretrained():
        made = SmallCNN()
        made.load_state_dict(stored)
        return made

    first, second = towers(pretrained, 2)
    assert torch.equal(first(images(1, 10, 10)), second(images(1, 10, 10)))
    assert not {*first.parameters()} & {*second.parameters()}


def test_shapes_need_an_example():
    encoder = Foreign()
    with pytest.raises(ValueError, match=r"`encoder` should have an attribute `example_input`"):
        Stages.of(encoder).width(0)


class Shifted(nn.Module):
    """Reads its inputs through a weight of its own, above and below the first layer."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(3))
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        shifted = x + self.shift
        return self.two(self.one(shifted).relu()) + x


def test_what_is_ambient_has_no_weights():
    """A tower reads its own, and a piece taken alone has all that it needs."""
    encoder, inputs = Shifted(), images(3)
    stages = Stages.of(encoder)
    assert len(stages) == 2
    assert not stages.ambient.state_dict()
    assert torch.equal(stages(inputs), encoder(inputs))
    assert {*stages.parameters()} == {*encoder.parameters()}


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


class Thins(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return functional.dropout(self.layer(x), training=self.training)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Branches(), "`encoder` should be traceable by torch.fx or list its stages .* Branches"),
        (Thins(), "`encoder` should use modules for dropout, found a function in Thins"),
    ],
)
def test_what_cannot_be_cut_is_refused(encoder, message):
    with pytest.raises(ValueError, match=message):
        CrossStitch(encoder, {"a": nn.Linear(3, 1)})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SmallCNN", "MessagePassing"])
def test_stages_take_no_more_time(name):
    """A pass through the cut encoder within 3 % of the plain one's time: the median of pairs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        make, inputs, _ = ENCODERS[name]
        encoder, inputs = make(), inputs.repeat(32, *(1 for _ in inputs.shape[1:]))
        pair, ratios = [encoder, Stages.of(encoder)], []
        for turn in range(310):
            spent = {}
            for module in pair if turn % 2 else reversed(pair):
                start = time.process_time_ns()
                module(inputs).sum().backward()
                spent[module] = time.process_time_ns() - start
            ratios.append(spent[pair[1]] / spent[encoder])
        assert sorted(ratios[10:])[150] < 1.03
    finally:
        torch.set_num_threads(threads)
