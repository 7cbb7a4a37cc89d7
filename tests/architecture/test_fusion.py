"""Progressive decoder fusion: who is alike, who shares, and what that changes."""

import copy

import pytest
import torch
from torch import nn

from moml.architecture import SharingTable
from moml.architecture._cka import debiased_cka

TASKS = ("a", "b", "c")


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_alike_up_to_rotation_scale_and_shift():
    x = normal(100, 8)
    rotation = torch.linalg.qr(normal(8, 8, seed=1))[0]
    assert debiased_cka(x, 3 * x @ rotation + 1) == pytest.approx(1, abs=1e-5)


def test_independent_features_are_not_alike_however_many():
    """The plain estimate of these is 0.8 and more."""
    found = [debiased_cka(normal(50, 200, seed=i), normal(50, 200, seed=99 - i)) for i in range(20)]
    assert abs(sum(found) / len(found)) < 0.02


def test_against_the_definition_as_a_sum_over_distinct_samples():
    """The U-statistic of Song et al., by brute force."""
    from itertools import permutations

    x, y = normal(6, 3).double(), normal(6, 2, seed=1).double()
    x, y = x - x.mean(0), y - y.mean(0)

    def criterion(k, l):  # noqa: E741
        pairs = list(permutations(range(6), 2))
        triples, quadruples = list(permutations(range(6), 3)), list(permutations(range(6), 4))
        return (
            sum(k[i, j] * l[i, j] for i, j in pairs) / len(pairs)
            + sum(k[i, j] * l[q, r] for i, j, q, r in quadruples) / len(quadruples)
            - 2 * sum(k[i, j] * l[i, q] for i, j, q in triples) / len(triples)
        )

    k, l = x @ x.T, y @ y.T  # noqa: E741
    wanted = criterion(k, l) / (criterion(k, k) * criterion(l, l)).sqrt()
    assert debiased_cka(x, y) == pytest.approx(float(wanted), abs=1e-10)


def network():
    """Separate networks of two stages; b's first stage is a's, turned, and c's is its own."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.Identity(), nn.Linear(8, 8), nn.Tanh())
    table = {task: [i, i] for i, task in enumerate(TASKS)}
    model = SharingTable(encoder, {task: nn.Linear(8, 2) for task in TASKS}, table=table)
    a, b, c = (list(stage.parameters()) for stage in model.stages[0].values())
    turn = torch.linalg.qr(normal(8, 8, seed=5))[0]
    with torch.no_grad():
        b[0].copy_(turn @ a[0])
        c[0].copy_(torch.diag(torch.tensor([9.0, 0, 0, 0, 0, 0, 0, 0])) @ normal(8, 6, seed=8))
    return model


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_those_alike_share_and_the_first_of_them_predicts_what_it_did():
    model, x = network(), normal(200, 6, seed=3)
    similar = model.similarities(x, 0)
    assert similar[0, 1] > 0.999
    assert similar[0, 2] < 0.9
    before = copy.deepcopy(model)(x)
    fused = model.fused(x, stage=0)
    assert fused.table == {"a": (0, 0), "b": (0, 1), "c": (2, 2)}
    assert count(fused) == count(model) - (6 * 8 + 8)
    after = fused(x)
    assert torch.equal(after["a"], before["a"])
    assert torch.equal(after["c"], before["c"])
    sum(y.square().sum() for y in after.values()).backward()
    assert all(p.grad.abs().sum() > 0 for p in fused.parameters())
    assert set(fused.stages[0]["0"].parameters()) == set(fused.shared_parameters())


def test_a_threshold_of_minus_one_shares_everything_up_to_the_stage():
    model, x = network(), normal(50, 6)
    assert set(model.fused(x, stage=1, threshold=-2.0).table.values()) == {(0, 0)}


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`stage` should be one that every task passes, found 2"):
        network().similarities(normal(9, 6), 2)
    with pytest.raises(ValueError, match="`inputs` should be four samples or more, found 3"):
        network().fused(normal(3, 6), stage=0)
