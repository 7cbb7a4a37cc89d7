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
        (DenseHead(8, 1, output="positive"), torch.randn(2, 8, 5, 7), (2, 1, 10, 14)),
        (DenseHead(8, 3, output="direction"), torch.randn(2, 8, 5, 7), (2, 3, 10, 14)),
    ],
)
def test_heads(head, features, shape):
    assert isinstance(head, nn.Module)
    assert head(features).shape == shape


def test_positive_outputs_are_positive_and_near_what_is_typical():
    head = DenseHead(8, 1, output="positive", typical=3.0)
    features = torch.randn(4, 8, 6, 6)
    assert (head(10 * features) > 0).all()
    torch.testing.assert_close(head(features) / 3, DenseHead.forward(as_real(head), features).exp())
    nn.init.zeros_(head.layers[2].weight)
    nn.init.zeros_(head.layers[2].bias)
    assert (head(features) == 3).all()


def as_real(head):
    real = DenseHead(8, 1)
    real.load_state_dict(head.state_dict())
    return real


def test_directions_have_length_one_along_the_channels():
    vectors = DenseHead(8, 3, output="direction")(torch.randn(4, 8, 6, 6))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4, 12, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "negative"}, "`output` should be one of .* found 'negative'"),
        ({"output": "positive", "typical": 0.0}, "`typical` should be positive, found 0.0"),
    ],
)
def test_bad_dense_head(options, message):
    with pytest.raises(ValueError, match=message):
        DenseHead(8, 1, **options)


def test_dense_encoder_sees_the_whole_image_and_keeps_detail():
    encoder = DenseEncoder().eval()
    image = torch.zeros(1, 3, 64, 96)
    spot = image.clone()
    spot[..., :2, :2] = 1
    change = (encoder(spot) - encoder(image)).abs().amax(1)[0]  # (32, 48)
    assert change[-1, -1] > 0
    assert change[:2, :2].max() > 2 * change[16:, 24:].max()


@pytest.mark.parametrize("size", [(16, 24), (18, 22), (34, 50)])
def test_dense_encoder_takes_sizes_that_do_not_divide(size):
    features = DenseEncoder()(torch.randn(2, 3, *size))
    assert features.shape[2:] == (size[0] // 2, size[1] // 2)


def test_dense_encoder_needs_two_levels():
    with pytest.raises(ValueError, match="`widths` should name at least two levels"):
        DenseEncoder(widths=(32,))


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
