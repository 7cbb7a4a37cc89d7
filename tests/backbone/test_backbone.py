"""What every encoder promises: its feature width, and gradients for every parameter."""

import pytest
import torch
from torch import nn

from moml.backbone import MLP, DenseEncoder, DenseHead, LinearHead, MLPHead, ResNet8, SmallCNN
from moml.backbone.message_passing import MessagePassing


def ring(nodes=5, size=7):
    adjacency = torch.zeros(size, size)
    for i in range(nodes):
        j = (i + 1) % nodes
        adjacency[i, j] = adjacency[j, i] = 1
    return adjacency


ENCODERS = {
    "MLP": (MLP(12, hidden=(8, 6)), torch.randn(4, 3, 4), (4, 6)),
    "SmallCNN": (SmallCNN(), torch.randn(4, 1, 10, 10), (4, 128)),
    "SmallCNN 8x8": (SmallCNN((8, 8), out_features=32), torch.randn(4, 1, 8, 8), (4, 32)),
    "MessagePassing": (MessagePassing(), torch.stack([ring(n) for n in (4, 5, 6, 7)]), (4, 128)),
    "DenseEncoder": (DenseEncoder(), torch.randn(2, 3, 32, 48), (2, 32, 16, 24)),
    "DenseEncoder odd": (
        DenseEncoder(widths=(8, 16, 24)),
        torch.randn(2, 3, 36, 42),
        (2, 8, 18, 21),
    ),
    "ResNet8": (ResNet8(), torch.randn(2, 3, 32, 32), (2, 64)),
    "ResNet8 one channel": (ResNet8(1), torch.randn(2, 1, 20, 24), (2, 64)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_features_have_the_promised_width_and_reach_every_parameter(name):
    encoder, inputs, shape = ENCODERS[name]
    features = encoder(inputs)
    assert features.shape == shape
    assert features.shape[1] == encoder.out_features
    features.pow(2).sum().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(
    ("head", "features", "shape"),
    [
        (LinearHead(6, 3), torch.randn(4, 6), (4, 3)),
        (MLPHead(6, 1), torch.randn(4, 6), (4, 1)),
        (DenseHead(8, 3), torch.randn(2, 8, 5, 7), (2, 3, 10, 14)),
        (DenseHead(8, 3, upscale=1), torch.randn(2, 8, 5, 7), (2, 3, 5, 7)),
    ],
)
def test_heads(head, features, shape):
    assert isinstance(head, nn.Module)
    assert head(features).shape == shape


def test_graph_features_do_not_depend_on_the_order_of_nodes():
    encoder = MessagePassing().eval()
    adjacency = ring(5)
    adjacency[0, 2] = adjacency[2, 0] = 1
    order = torch.tensor([6, 3, 0, 5, 2, 4, 1])  # padding moves, too
    moved = adjacency[order][:, order]
    both = encoder(torch.stack([adjacency, moved]))
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-5)


def test_graph_features_tell_a_path_from_a_ring_but_ignore_padding():
    encoder = MessagePassing().eval()
    path = ring(5)
    path[0, 4] = path[4, 0] = 0
    features = encoder(torch.stack([ring(5), path]))
    assert (features[0] - features[1]).abs().max() > 1e-3
    torch.testing.assert_close(encoder(ring(5, size=5)[None])[0], features[0])


def test_small_cnn_knows_where_a_stroke_is():
    encoder = SmallCNN().eval()
    image = torch.zeros(1, 1, 10, 10)
    image[0, 0, 2:4, 2:4] = 1
    moved = image.roll(4, dims=-1)
    assert (encoder(image) - encoder(moved)).abs().max() > 1e-3


def test_mlp_needs_a_width():
    with pytest.raises(ValueError, match="`hidden` should name at least one width"):
        MLP(3, hidden=())
