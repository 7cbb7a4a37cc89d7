"""MTAN: its size, and hard sharing as a special case."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from moml.architecture import HPS, MTAN
from moml.backbone import ResNet, SegNet, SegNetHead
from tests.small_networks import cnn, count, dense, digits, linear_heads, set_to


def test_segnet_mtan_has_the_parameters_of_the_papers_code():
    """44 229 076 on NYUv2 with three uncertainty weights: measured on the published code."""
    heads = {t: SegNetHead(64, n) for t, n in (("seg", 13), ("depth", 1), ("normals", 3))}
    with torch.device("meta"):
        encoder = SegNet()
        model = MTAN(encoder, heads)
    assert count(model) + 3 == 44_229_076
    assert count(*model.attention.values()) == 8_953_728
    assert count(model.between, model.turns) == 10_220_160
    assert count(encoder) + 36_928 + 65 + 845 - 3 * 64 <= 24_981_069 + 195


@pytest.mark.parametrize(
    ("depth", "between", "attention", "whole"),
    [(50, 7_931_392, 12_527_808, 43_967_232), (18, 4_822_272, 3_138_432, 19_137_216)],
)
@pytest.mark.supported
def test_mtan_on_a_resnet_has_the_residual_blocks_of_the_papers_code(
    depth, between, attention, whole
):
    """Sizes as measured on the published code for three tasks, without heads."""
    with torch.device("meta"):
        model = MTAN(ResNet(depth, pooled=False), {t: nn.Identity() for t in "abc"})
    assert count(model.between) == between
    assert count(*model.attention.values()) == attention
    assert count(model) == whole


def test_mtan_pools_behind_the_residual_block():
    model = MTAN(ResNet(18, pooled=False), {"a": nn.Identity()}).eval()
    x = torch.rand(2, 3, 64, 64)
    before, after = zip(*model.trunk.levels(x), strict=True)
    attended = model.attention["a"][0](before[0]) * after[0]
    for j in (1, 2, 3):
        carried = model.between[j - 1](attended)
        if carried.shape[2:] != before[j].shape[2:]:
            carried = functional.max_pool2d(carried, 2)
        attended = model.attention["a"][j](torch.cat([before[j], carried], 1)) * after[j]
    torch.testing.assert_close(model(x)["a"], attended)


def test_mtan_with_open_masks_is_hard_sharing():
    for encoder, heads, x in (dense(), (cnn(), linear_heads(), digits())):
        model = MTAN(encoder, heads).eval()
        for modules in model.attention.values():
            set_to(modules[-1][-2].weight, 0.0)
            set_to(modules[-1][-2].bias, 100.0)  # the sigmoid's input: it is exactly one
        wanted = HPS(encoder, heads).eval()(x)
        assert all(torch.equal(y, wanted[task]) for task, y in model(x).items())


def test_mtan_shares_what_lies_between_levels():
    model = MTAN(*dense()[:2])
    shared = set(model.shared_parameters())
    assert {*model.between.parameters()} <= shared
    assert not {p for m in model.attention.values() for p in m.parameters()} & shared
