"""Backbones of the field: sizes, stored weights, dilation, and text."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from moml.backbone import (
    DeepLabHead,
    ResNet,
    SegNet,
    SegNetDecoder,
    SegNetHead,
    TextCNN,
    ViT,
    hash_tokens,
)


def numbers(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_resnets_have_imagenets_parameters_less_the_classifier(depth, count):
    with torch.device("meta"):
        model, classifier = ResNet(depth), nn.Linear(2048 if depth == 50 else 512, 1000)
    assert numbers(model) + numbers(classifier) == count


def test_segnet_has_the_parameters_of_the_papers_code():
    """24 981 069 with the first task's head on NYUv2, of 13 classes: 1/1.7705 of MTAN's."""
    with torch.device("meta"):
        assert numbers(SegNet()) + numbers(SegNetHead(64, 13)) == 24_981_069


@pytest.mark.parametrize("depth", [18, 50])
def test_dilation_keeps_resolution_and_the_numbers_of_weights(depth):
    plain, dilated = ResNet(depth, pooled=False), ResNet(depth, dilated=True, pooled=False)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert plain(x).shape[2:] == (2, 3)
        assert dilated(x).shape[2:] == (8, 12)
    assert numbers(plain) == numbers(dilated)


def stored(depth=18):
    """A state dict as torchvision writes it: same names, with the classifier."""
    torch.manual_seed(3)
    state = {k: torch.rand_like(v.float()) for k, v in ResNet(depth).state_dict().items()}
    state = {k: v.long() if "num_batches" in k else v for k, v in state.items()}
    return {**state, "fc.weight": torch.rand(1000, 512), "fc.bias": torch.rand(1000)}


def test_the_names_are_torchvisions():
    """A few written down by hand: where a wrong mapping would put them is not where they are."""
    shapes = {k: tuple(v.shape) for k, v in ResNet(50).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["bn1.running_mean"] == (64,)
    assert shapes["layer1.0.conv3.weight"] == (256, 64, 1, 1)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer2.0.conv2.weight"] == (128, 128, 3, 3)
    assert shapes["layer4.2.bn3.weight"] == (2048,)
    shapes = {k: tuple(v.shape) for k, v in ResNet(18).state_dict().items()}
    assert shapes["layer1.1.conv2.weight"] == (64, 64, 3, 3)
    assert shapes["layer3.0.downsample.1.running_var"] == (256,)
    assert not [key for key in shapes if key.startswith(("layer1.0.downsample", "fc"))]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_come_from_a_file(suffix, tmp_path):
    state, file = stored(), tmp_path / f"resnet18{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    found = ResNet(18, weights=file).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    old = {k: v for k, v in state.items() if "num_batches" not in k}  # before PyTorch 0.4.1
    torch.save(old, tmp_path / "old.pth")
    assert torch.equal(ResNet(18, weights=tmp_path / "old.pth").conv1.weight, state["conv1.weight"])


def test_weights_that_do_not_fit_are_refused(tmp_path):
    torch.save(stored(34) | {"fc.bias": torch.zeros(1)}, tmp_path / "deep.pth")
    with pytest.raises(ValueError, match=r"`weights` should have the keys .* 0 missing .* unknown"):
        ResNet(18, weights=tmp_path / "deep.pth")
    torch.save(stored() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "gray.pth")
    with pytest.raises(ValueError, match=r"shape \(64, 3, 7, 7\) at 'conv1.weight', found \(64, 1"):
        ResNet(18, weights=tmp_path / "gray.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(ValueError, match="`weights` should be a file of tensors by name"):
        ResNet(18, weights=tmp_path / "text.pth")
    torch.save(ResNet(18), tmp_path / "pickled.pth")  # a module: reading it would run code
    with pytest.raises(ValueError, match="`weights` should be a file of tensors by name"):
        ResNet(18, weights=tmp_path / "pickled.pth")


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (DeepLabHead(6, 3, rates=(2, 4), hidden=8, upscale=4), (2, 3, 20, 28)),
        (SegNetHead(6, 3), (2, 3, 5, 7)),
        (SegNetDecoder(6, 3, widths=(8, 4)), (2, 3, 20, 28)),
    ],
)
def test_dense_heads(head, shape):
    prediction = head(torch.randn(2, 6, 5, 7))
    assert prediction.shape == shape
    prediction.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_segnet_takes_sizes_that_do_not_divide():
    assert SegNet(widths=(4, 8, 8))(torch.randn(2, 3, 37, 50)).shape == (2, 4, 37, 50)


def test_tokens_are_the_same_everywhere_and_padding_does_not_count():
    tokens = hash_tokens(["A cat, sat.", "a CAT , sat ."], length=8, buckets=100)
    assert torch.equal(tokens[0], tokens[1])
    assert tokens[0, 0] == 1 + 0xE8B7BE43 % 99  # CRC-32 of "a"
    assert tokens[0].count_nonzero() == 5
    encoder = TextCNN(100, embedding=4, channels=5)
    short, long = (hash_tokens(["a cat sat"], length=n, buckets=100) for n in (3, 20))
    torch.testing.assert_close(encoder(short), encoder(long))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ResNet(101), r"`depth` should be one of \(18, 34, 50\), found 101"),
        (lambda: SegNet(widths=(8,)), "`widths` should name at least two levels"),
        (lambda: ViT((30, 32)), r"`image_size` should be multiples of the patch \(4\)"),
        (lambda: ViT(width=10), r"`width` should be a multiple of `attention_heads` \(3\)"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
