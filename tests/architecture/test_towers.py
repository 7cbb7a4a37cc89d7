"""Towers mixed after every stage: cross-stitch, NDDR, and the tree of learning to branch."""

import pytest
import torch

from moml.architecture import LTB, NDDR, CrossStitch
from tests.small_networks import TASKS, cnn, count, digits, linear_heads, set_to


def test_cross_stitch_starts_convex_and_with_own_one_is_separate_networks():
    model, x = CrossStitch(cnn(), linear_heads()), digits()
    for stitch in model.stitches:
        torch.testing.assert_close(stitch.sum(1), torch.ones(3))
        torch.testing.assert_close(stitch.diagonal(), torch.full((3,), 0.9))
    assert len(model.stitches) == len(model.towers[0]) == 4
    apart = CrossStitch(cnn(), linear_heads(), own=1.0)
    for task, tower in zip(TASKS, apart.towers, strict=True):
        torch.testing.assert_close(apart(x)[task], apart.heads[task](tower(x)))


def test_nddr_starts_as_a_sum_of_towers():
    model, x = NDDR(cnn(), linear_heads()), digits()
    states = [tower.step(0, x, tower.ambient(x)) for tower in model.towers]
    found = model.fusions[0]["b"][0](torch.cat(states, 1))
    torch.testing.assert_close(found, 0.05 * states[0] + 0.9 * states[1] + 0.05 * states[2])


def test_ltb_is_deterministic_in_evaluation_and_exports_its_tree():
    model, x = LTB(cnn(), linear_heads(), seed=0), digits()
    generator = torch.Generator().manual_seed(2)
    for logits in model.branches:
        set_to(logits, torch.randn(3, 3, generator=generator))
    assert not torch.equal(model(x)["a"], model(x)["a"])
    state = model.generator.get_state()
    model.eval()
    assert torch.equal(model(x)["a"], model(x)["a"])
    assert torch.equal(model.generator.get_state(), state)
    tree = model.export()
    assert count(tree) < count(model)
    for task, y in tree(x).items():
        torch.testing.assert_close(y, model(x)[task])


def test_ltb_cools_to_where_it_was_told():
    model = LTB(cnn(), linear_heads(), temperature=8.0, final_temperature=0.5)
    model.after_step(50, 100)
    assert float(model.temperature) == pytest.approx(2.0)
    model.after_step(100, 100)
    assert float(model.temperature) == pytest.approx(0.5)
    assert "temperature" in model.state_dict()
