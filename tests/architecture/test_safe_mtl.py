"""Safe multi-task learning: the ends of its gates, and hard gates."""

import pytest
import torch

from moml.architecture import HPS, SafeMTL
from tests.small_networks import TASKS, cnn, count, digits, linear_heads, set_to


def test_safe_mtl_is_hard_sharing_at_one_end_and_separate_networks_at_the_other():
    model, x = SafeMTL(cnn(), linear_heads()), digits()
    for gate in model.gates.values():
        assert gate().tolist() == [0.5, 0.5]
        set_to(gate.logits, [100.0, -100.0])
    wanted = HPS(model.public, model.heads)(x)
    assert all(torch.equal(y, wanted[task]) for task, y in model(x).items())
    for gate in model.gates.values():
        set_to(gate.logits, [-100.0, 100.0])
    for task, y in model(x).items():
        assert torch.equal(y, model.heads[task](model.private[task](x)))


@pytest.mark.parametrize("where", ["encoder", "decoder"])
def test_hard_gates_are_sure_in_evaluation_and_export_one_encoder(where):
    model, x = SafeMTL(cnn(), linear_heads(), gate="hard", where=where, seed=3), digits()
    for share, gate in zip((0.3, -0.3, 0.3), model.gates.values(), strict=True):
        set_to(gate.logit, share)
    model.eval()
    first, second = model(x), model(x)
    small = model.export()
    assert model.private_shares()["b"] < 0.5 < model.private_shares()["a"]
    for task in TASKS:
        assert torch.equal(first[task], second[task])
        assert torch.equal(first[task], small(x)[task])
    assert count(small) == 3 * count(cnn()) + count(*linear_heads().values())
    model.train()
    drawn = [gate().tolist() for _ in range(20) for gate in model.gates.values()]
    assert all(sorted(pair) == [0.0, 1.0] for pair in drawn)
    assert len({tuple(pair) for pair in drawn}) == 2


def test_soft_gates_do_not_export():
    with pytest.raises(ValueError, match="`gate` should be 'hard' to export"):
        SafeMTL(cnn(), linear_heads()).export()
