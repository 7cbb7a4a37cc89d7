"""MTAN: its size, and hard sharing as a special case."""

import torch

from moml.architecture import HPS, MTAN
from moml.backbone import SegNet, SegNetHead
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
