"""What the papers say of their architectures, and what they are at the ends of their ranges."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from moml.architecture import (
    CGC,
    HPS,
    LTB,
    MTAN,
    NDDR,
    PLE,
    CrossStitch,
    DenseExchange,
    DSelectK,
    MMoE,
    SafeMTL,
    SharingTable,
)
from moml.architecture._cross_task import CrossTask
from moml.architecture._stages import Stages
from moml.architecture.dselect_k import smooth_step
from moml.backbone import DenseEncoder, DenseHead, SegNet, SegNetHead, SmallCNN
from moml.oracle._graph import reach

TASKS = ("a", "b", "c")
EVERY = (
    CGC, HPS, LTB, MTAN, NDDR, PLE, CrossStitch, DenseExchange, DSelectK, MMoE, SafeMTL,
    SharingTable,
)  # fmt: skip


def cnn(seed=0):
    torch.manual_seed(seed)
    return SmallCNN((8, 8), channels=8, out_features=12)


def linear_heads(tasks=TASKS):
    torch.manual_seed(1)
    return {task: nn.Linear(12, 3) for task in tasks}


def digits(size=4):
    return torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def dense():
    torch.manual_seed(0)
    heads = {task: DenseHead(8, 2, hidden=4) for task in TASKS}
    return DenseEncoder(widths=(8, 8, 16)), heads, digits()[:, :, :8].expand(-1, 3, -1, -1)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def set_to(parameter, values):
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values, dtype=parameter.dtype).expand_as(parameter))


@pytest.mark.parametrize("kind", EVERY)
def test_no_loss_reaches_what_belongs_to_another_task(kind):
    model = kind(cnn(), linear_heads())
    loss = model(digits())["a"].square().sum()
    for other in ("b", "c"):
        private = model.private_parameters(other)
        assert private
        found = torch.autograd.grad(loss, private, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in found)
    owned = [*model.shared_parameters(), *(p for t in TASKS for p in model.private_parameters(t))]
    assert len(owned) == len(set(owned)) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_declared_private_is_what_one_loss_alone_reaches(kind):
    model = kind(cnn(), linear_heads())
    masks = reach([y.sum() for y in model(digits()).values()]).leaves
    for i, task in enumerate(TASKS):
        alone = {p for p in model.parameters() if masks[p] == 1 << i}
        assert alone == set(model.private_parameters(task))


@pytest.mark.parametrize("kind", EVERY)
def test_tasks_can_be_asked_for_and_may_have_inputs_of_their_own(kind):
    """What is predicted for an input depends neither on who else asks nor on how it came."""
    model = kind(cnn(), linear_heads()).eval()
    x = digits()
    alone, together = model(x, ["b"]), model(x)
    assert list(alone) == ["b"]
    assert list(together) == list(TASKS)
    separate = model({"a": x, "b": x})
    assert list(separate) == ["a", "b"]
    for task, prediction in (alone | separate).items():
        torch.testing.assert_close(prediction, together[task], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", EVERY)
def test_a_single_task_is_a_network_like_any_other(kind):
    model = kind(cnn(), linear_heads(["a"]))
    assert model(digits())["a"].shape == (4, 3)


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


def test_tables_make_hard_sharing_branches_and_separate_networks():
    x = digits()
    size, heads = count(cnn()), count(*linear_heads().values())
    shared = SharingTable(cnn(), linear_heads(), table={task: [0, 0, 0, 0] for task in TASKS})
    wanted = HPS(cnn(), linear_heads())(x)
    assert all(torch.equal(y, wanted[task]) for task, y in shared(x).items())
    assert count(shared) == size + heads
    apart = {task: [i] * 4 for i, task in enumerate(TASKS)}
    separate = SharingTable(cnn(), linear_heads(), table=apart)
    assert count(separate) == 3 * size + heads
    assert not separate.shared_parameters()
    last = count(Stages.of(cnn()).pieces[-1])
    assert count(SharingTable(cnn(), linear_heads())) == size + 2 * last + heads


def test_a_task_may_leave_early():
    heads = {"a": nn.Linear(12, 3), "b": nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 3))}
    model = SharingTable(cnn(), heads, table={"a": [0, 0, 0, 0], "b": [0]})
    loss = model(digits())["b"].sum()
    reached = torch.autograd.grad(loss, list(model.stages[1].parameters()), allow_unused=True)
    assert all(gradient is None for gradient in reached)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [0], "b": [0]}, r"`table` should have the tasks \['a', 'b', 'c'\]"),
        ({"a": [0], "b": [0], "c": [-1]}, r"`table` should number copies from 0, found \[-1\]"),
        ({"a": [0] * 9, "b": [0], "c": [0]}, "`table` should have 1 to 4 stages per task"),
    ],
)
def test_wrong_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        SharingTable(cnn(), linear_heads(), table=table)


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (9, 7)])
def test_cross_task_attention_is_scaled_dot_product_attention(size):
    """Against the formula, written out: softmax over the source's positions."""
    torch.manual_seed(0)
    block = CrossTask(6, scale=2).double()
    target, source = torch.randn(2, 2, 6, *size, dtype=torch.float64)
    y = functional.max_pool2d(block.extract(source), 2)
    asked = functional.interpolate(target, size=y.shape[2:])
    q, k, v = (m(z).flatten(2) for m, z in zip(block.maps, (asked, y, y), strict=True))
    attention = (torch.einsum("bcn,bcm->bnm", q, k) / 6**0.5).softmax(2)
    found = torch.einsum("bnm,bcm->bcn", attention, v).view_as(y)
    wanted = functional.interpolate(found, size=size)
    torch.testing.assert_close(block._attended(target, block.extract(source)), wanted)


def test_the_exchange_trains_once_the_attention_has_faded_in():
    encoder, heads, x = dense()
    model = DenseExchange(encoder, heads, scale=2)
    assert all(not pair.fade.any() for r in model.exchange.values() for pair in r.pairs.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(y.square().mean() for y in model(x).values()).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in model.exchange["a"].parameters())


def test_only_attention_moves_what_lies_elsewhere():
    """A label that is the source's value at a shuffled place, told by a code on every place."""

    def error(attention):
        torch.manual_seed(0)
        block, readout = CrossTask(8, scale=1, attention=attention), nn.Conv2d(8, 1, 1)
        optimizer = torch.optim.Adam([*block.parameters(), *readout.parameters()], lr=2e-2)
        where, codes = torch.randperm(9), torch.randn(1, 6, 9).expand(16, -1, -1)
        losses = []
        for _ in range(120):
            value = torch.randn(16, 2, 9)
            source = torch.cat([codes, value], 1).unflatten(2, (3, 3))
            target = torch.cat([codes[:, :, where], 0 * value], 1).unflatten(2, (3, 3))
            found = readout(block(target, source)).flatten(1)
            loss = (found - value[:, 0, where]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return sum(losses[-20:]) / 20

    assert error(True) < 0.5 * error(False)


def test_an_architecture_can_be_copied():
    for kind in EVERY:
        model = kind(cnn(), linear_heads()).eval()
        twin = copy.deepcopy(model)
        assert all(torch.equal(y, twin(digits())[task]) for task, y in model(digits()).items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e, h: MMoE(e, h, experts=0), "`experts` should be at least 1, found 0"),
        (lambda e, h: MMoE(e, h, stem=2), "`stem` should be at least 1 and leave a stage"),
        (lambda e, h: DSelectK(e, h, experts=6), "`experts` should be a power of two, found 6"),
        (lambda e, h: DSelectK(e, h, selected=9), "`selected` should be from 1 to 4, found 9"),
        (lambda e, h: CrossStitch(e, h, own=2.0), "`own` should be between 0 and 1, found 2.0"),
        (lambda e, h: CrossStitch(e, h, stages=0), "`stages` should be at least 1, found 0"),
        (lambda e, h: SafeMTL(e, h, gate="firm"), "`gate` should be one of .* found 'firm'"),
        (lambda e, h: LTB(e, h, final_temperature=0.0), "both positive, found 10.0 and 0.0"),
        (lambda e, h: HPS(e, {}), "`heads` should hold at least one task"),
        (lambda e, h: DenseExchange(e, h, scale=0), "`scale` should be at least 1, found 0"),
        (lambda e, h: PLE(e, h, own=0), "should be at least 1, found 1, 0 and 2"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(cnn(), linear_heads())
