"""Mixtures of experts: MMoE, CGC, PLE and DSelect-k."""

import pytest
import torch

from moml.architecture import CGC, PLE, DSelectK, MMoE
from moml.architecture.dselect_k import smooth_step
from tests.small_networks import TASKS, cnn, count, digits, linear_heads, set_to


def test_mmoe_mixes_by_weights_that_sum_to_one():
    model, x = MMoE(cnn(), linear_heads(), experts=3), digits()
    for expert in model.experts[1:]:
        expert.load_state_dict(model.experts[0].state_dict())
    wanted = model.heads["a"](model.experts[0].run(model.stem(x), model.stem.ambient(x)))
    torch.testing.assert_close(model(x)["a"], wanted)


def test_gates_read_features_of_images_vectors_tokens_and_graphs():
    from moml.architecture._gate import pooled

    assert pooled(torch.ones(2, 5, 3, 4)).shape == pooled(torch.ones(2, 7, 5)).shape == (2, 5)
    assert pooled(torch.ones(2, 5)).shape == (2, 5)


def test_ple_shares_lower_experts_through_its_shared_gate_and_none_in_the_last_level():
    model = PLE(cnn(), linear_heads(), levels=2)
    assert len(model.levels) == 2
    lower, last = model.levels
    assert lower.shared_gate is not None
    assert last.shared_gate is None
    loss = model(digits())["a"].sum()
    below = torch.autograd.grad(loss, list(lower.own["b"].parameters()), retain_graph=True)
    assert all(gradient.abs().sum() > 0 for gradient in below)
    shared = set(model.shared_parameters())
    assert {*lower.own.parameters(), *lower.shared_gate.parameters()} <= shared
    assert not {*last.own.parameters()} & shared


def test_ple_of_one_level_is_cgc():
    torch.manual_seed(0)
    one = PLE(cnn(), linear_heads(), levels=1)
    other = CGC(cnn(), linear_heads())
    assert count(one) == count(other)
    other.load_state_dict({k.replace("levels.0", "level"): v for k, v in one.state_dict().items()})
    for task, y in one(digits()).items():
        torch.testing.assert_close(y, other(digits())[task])


def test_the_smooth_step_has_slope_where_gamma_says():
    t = torch.tensor([-1.1, -1.0, 0.0, 1.0, 1.1], dtype=torch.float64, requires_grad=True)
    y = smooth_step(t, 2.0)
    assert y.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert torch.autograd.grad(y.sum(), t)[0].tolist() == [0.0, 0.0, 0.75, 0.0, 0.0]


@pytest.mark.parametrize("static", [False, True])
def test_dselect_k_ends_with_that_many_experts(static):
    model, x = DSelectK(cnn(), linear_heads(), experts=8, selected=2, static=static), digits()
    read = model.represent(x, TASKS)["gate"]
    weights = model.gates["a"](read)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(x)))
    assert (weights > 0.01).all()
    gate = model.gates["a"]
    set_to(gate.constant, torch.tensor([0.0, 9.0, -9.0, 9.0, 0.0, -9.0, 9.0, -9.0]))
    chosen = gate(read).nonzero()[:, 1].tolist()
    assert set(chosen) == {0b101, 0b010}


def test_the_entropy_of_dselect_k_trains_its_gates_and_nothing_else():
    model = DSelectK(cnn(), linear_heads(), entropy=0.5)
    assert model.penalty() is None  # nothing seen yet
    loss = sum(y.sum() for y in model(digits()).values())
    penalty = model.penalty()
    loss.backward()
    model.zero_grad()
    penalty.backward()  # the losses' graph is gone: it does not need it
    gates = {p for gate in model.gates.values() for p in gate.parameters()}
    for parameter in model.parameters():
        assert (parameter.grad is not None) == (parameter in gates)
    entropy = 3 * 2 * torch.tensor(4.0).log()  # tasks, selectors, a choice of four
    torch.testing.assert_close(penalty, 0.5 * entropy, rtol=1e-2, atol=0)


def test_the_entropy_of_dselect_k_is_that_of_the_last_pass():
    model = DSelectK(cnn(), linear_heads(), entropy=0.5)
    alone = [model(digits(), ["a"]) and model.penalty() for _ in range(2)]
    model(digits(), ["b"])  # seen, and never asked for
    model(digits(), ["a"])
    torch.testing.assert_close(model.penalty(), alone[1])


def test_the_entropy_of_dselect_k_makes_up_its_mind():
    model = DSelectK(cnn(), linear_heads(), entropy=1.0)
    optimizer = torch.optim.SGD([p for g in model.gates.values() for p in g.parameters()], lr=0.3)
    for _ in range(40):
        model(digits())
        optimizer.zero_grad()
        penalty = model.penalty()
        penalty.backward()
        optimizer.step()
    assert float(penalty.detach()) == 0
    weights = model.gates["a"](model.represent(digits(), TASKS)["gate"])
    assert ((weights == 0).sum(1) >= 2).all()
