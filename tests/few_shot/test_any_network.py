"""Few-shot learning on networks that are not what they look like, against plain autograd."""

import copy
import logging
import types

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import moml
from moml.bilevel import (
    Alternate,
    Bilevel,
    Compiled,
    InnerAdagrad,
    InnerAdam,
    InnerAdamW,
    InnerRMSprop,
    InnerSGD,
    Unrolled,
)
from moml.data import Batch, EpisodeBatch
from moml.few_shot import Clean, FewShot, Prototypes, adapted
from moml.losses import CrossEntropy
from moml.weighting import EW

WAYS, RATE, STEPS = 3, 0.5, 2


def episodes(shape=(6,), *, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def part(size):
        inputs = torch.randn(count, size, *shape, generator=generator, dtype=torch.float64)
        return Batch(inputs, {"class": torch.randint(WAYS, (count, size), generator=generator)})

    return EpisodeBatch(part(5), part(7))


def by_hand(net, batch, call=functional_call):
    """The meta-gradient of plain autograd, by name."""
    loss = nn.functional.cross_entropy
    start = {n: p for n, p in net.named_parameters() if p.requires_grad}
    total = 0.0
    for e in range(len(batch)):
        (support,), query = batch.episode(e).lower, batch.episode(e).upper
        theta = start
        for _ in range(STEPS):
            value = loss(call(net, theta, (support.inputs,)), support.targets["class"])
            slopes = torch.autograd.grad(
                value, list(theta.values()), create_graph=True, materialize_grads=True
            )
            theta = {n: t - RATE * g for (n, t), g in zip(theta.items(), slopes, strict=True)}
        total = total + loss(call(net, theta, (query.inputs,)), query.targets["class"]) / len(batch)
    return torch.autograd.grad(total, list(start.values()), materialize_grads=True)


def by_moml(problem, batch):
    oracle = Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled())
    row = oracle(problem, batch).jacobian[0]
    sizes = [p.numel() for p in problem.upper_parameters().values()]
    return row.split(sizes)


def check(net, batch, problem=None, call=functional_call):
    """Equal to plain autograd, and nothing of the network has changed."""
    before = {n: t.clone() for n, t in net.state_dict().items()}
    problem = problem or FewShot(net, CrossEntropy(WAYS))
    found = torch.cat(by_moml(problem, batch))
    after = net.state_dict()
    assert all(torch.equal(after[n], t) for n, t in before.items())
    expected = torch.cat([g.flatten() for g in by_hand(net, batch, call)])
    assert float((found - expected).norm()) <= 1e-8 * float(expected.norm())
    return problem


def mlp(middle=None):
    torch.manual_seed(0)
    middle = [] if middle is None else [middle]
    return nn.Sequential(nn.Linear(6, 6), nn.Tanh(), *middle, nn.Linear(6, WAYS)).double()


# Decisions by class name ------------------------------------------------------------------------


class ConstantLinear(nn.Linear):
    """Ignores its input."""

    def forward(self, x):
        return self.bias.expand(len(x), -1)


class LoRALinear(nn.Linear):
    """A frozen weight and two thin factors."""

    def __init__(self, n, m):
        super().__init__(n, m)
        self.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(2, n) / n)
        self.b = nn.Parameter(torch.randn(m, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.a.T @ self.b.T


class MaskedLinear(nn.Linear):
    def __init__(self, n, m):
        super().__init__(n, m)
        self.register_buffer("mask", (torch.rand(m, n) > 0.5).double())

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


@pytest.mark.supported
def test_few_shot_with_a_linear_layer_that_ignores_its_input():
    check(mlp(ConstantLinear(6, 6)), episodes())


@pytest.mark.supported
def test_few_shot_with_low_rank_adapters_as_linear_subclasses():
    net = mlp(LoRALinear(6, 6))
    problem = check(net, episodes())
    place = list(problem.upper_parameters()).index("network.2.a")
    assert by_moml(problem, episodes())[place].abs().sum() > 0


@pytest.mark.supported
def test_few_shot_with_masked_weights():
    check(mlp(MaskedLinear(6, 6)), episodes())


@pytest.mark.supported
def test_few_shot_with_parametrized_weights():
    check(mlp(parametrizations.weight_norm(nn.Linear(6, 6))), episodes())
    check(mlp(parametrizations.orthogonal(nn.Linear(6, 6).double())), episodes())


@pytest.mark.supported
def test_few_shot_with_old_style_weight_normalization():
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(6, 6))
    net = mlp(layer)
    plain = net[2].weight  # no parameter: the layer computes it from two
    by_moml(FewShot(net, CrossEntropy(WAYS)), episodes())
    assert net[2].weight is plain
    check(net, episodes())


@pytest.mark.supported
@pytest.mark.parametrize("norm", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_few_shot_with_spectral_normalization_keeps_norms_near_one(norm):
    """Its vectors follow the weights, with the lag of power iteration; else norms grow tenfold."""
    torch.manual_seed(0)
    net = nn.Sequential(norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3))
    inputs = torch.randn(2, 6, 4)
    batch = Batch(inputs, {"class": inputs[..., :3].argmax(-1)})
    problem = FewShot(net, CrossEntropy(3))
    oracle = Bilevel(InnerSGD(0.1, steps=1), Unrolled())
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    moml.fit(problem, oracle, EW(), optimizer, [EpisodeBatch(batch, batch)], steps=40)
    net.eval()(inputs[0])
    assert abs(torch.linalg.matrix_norm(net[0].weight.detach(), 2).item() - 1) < 0.3


@pytest.mark.supported
def test_few_shot_with_pruned_layers():
    layer = nn.Linear(6, 6)
    prune.random_unstructured(layer, "weight", amount=0.5)
    check(mlp(layer), episodes())


@pytest.mark.supported
def test_few_shot_with_forward_hooks():
    net = mlp()
    net[1].register_forward_hook(lambda module, inputs, output: 2 * output + net[2].bias.sum())
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0].sin(),))
    check(net, episodes())


@pytest.mark.supported
def test_few_shot_with_a_patched_forward():
    net = mlp()
    plain = net[0].forward
    net[0].forward = lambda x: 3 * plain(x)
    net[2].forward = types.MethodType(lambda self, x: x @ self.weight.T, net[2])
    check(net, episodes())


@pytest.mark.supported
def test_few_shot_with_linear_layers_on_sequences():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(12, WAYS)).double()
    problem = check(net, episodes((3, 2)))
    assert len(problem.episodes(episodes((3, 2)))) == 1


@pytest.mark.supported
def test_few_shot_with_tied_weights():
    net = mlp(nn.Linear(6, 6))
    net[2].weight = net[0].weight
    check(net, episodes())
    shared = nn.Linear(6, 6)
    net = nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(6, WAYS)).double()

    def call(net, theta, x):  # torch's functional_call leaves modules used twice changed
        first = theta["0.weight"], theta["0.bias"]
        linear = nn.functional.linear
        hidden = linear(linear(x[0], *first).tanh(), *first)
        return linear(hidden, theta["3.weight"], theta["3.bias"])

    check(net, episodes(), call=call)


@pytest.mark.supported
def test_few_shot_with_a_subclass_of_a_known_network():
    from moml.backbone import MLP

    class Skipping(MLP):
        def forward(self, x):
            return super().forward(x) + x

    torch.manual_seed(0)
    check(nn.Sequential(Skipping(6, hidden=(6, 6)), nn.Linear(6, WAYS)).double(), episodes())


# Networks that change --------------------------------------------------------------------------


class Scaled(nn.Module):
    """Reads attributes of every kind in its forward pass."""

    def __init__(self):
        super().__init__()
        self.body, self.drop = mlp(), nn.Dropout(0.0)
        self.temperature, self.shift = 1.0, torch.zeros(WAYS, dtype=torch.float64)
        self.register_buffer("scale", torch.ones(WAYS, dtype=torch.float64))

    def forward(self, x):
        y = self.drop(self.body(x)) / self.temperature * self.scale + self.shift
        return y if self.training else y.sin()


@pytest.mark.supported
def test_few_shot_network_whose_attributes_change_between_steps():
    net, batch = Scaled(), episodes()
    problem = check(net, batch)
    net.temperature = 0.1
    check(net, batch, problem)
    net.shift = torch.arange(WAYS, dtype=torch.float64)
    check(net, batch, problem)
    net.scale = torch.arange(1.0, WAYS + 1, dtype=torch.float64)
    check(net, batch, problem)
    net.eval()
    check(net, batch, problem)
    net.train()
    net.body[1] = nn.ReLU()
    check(net, batch, problem)


@pytest.mark.supported
def test_compiled_few_shot_network_whose_attributes_change_between_steps():
    net, batch = Scaled(), episodes(count=2)
    problem = FewShot(net, CrossEntropy(WAYS))
    oracle = Compiled(Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled()), backend=None)
    for temperature in (1.0, 2.0):
        net.temperature = temperature
        expected = torch.cat([g.flatten() for g in by_hand(net, batch)])
        torch.testing.assert_close(oracle(problem, batch).jacobian[0], expected)
    net.body[0].requires_grad_(False)
    expected = torch.cat([g.flatten() for g in by_hand(net, batch)])
    torch.testing.assert_close(oracle(problem, batch).jacobian[0], expected)


@pytest.mark.refused("a compiled step is a function of its tensors alone")
def test_compiled_few_shot_network_with_dropout():
    problem = FewShot(mlp(nn.Dropout(0.5)), CrossEntropy(WAYS))
    with pytest.raises(ValueError, match="traced step should give the numbers of the plain"):
        Compiled(Bilevel(InnerSGD(RATE), Unrolled()), backend=None)(problem, episodes())


@pytest.mark.supported
def test_few_shot_network_whose_dropout_is_switched_off():
    net, batch = mlp(nn.Dropout(0.5)), episodes()
    problem = FewShot(net, CrossEntropy(WAYS))
    by_moml(problem, batch)
    net[2].p = 0.0
    check(net, batch, problem)
    net[2].p = 0.5
    net[2].eval()
    check(net, batch, problem)


@pytest.mark.supported
@pytest.mark.parametrize("rates", ["fixed", "variable"])
def test_few_shot_network_that_is_frozen_and_unfrozen_between_steps(rates):
    net, batch = mlp(), episodes()
    net[2].requires_grad_(False)
    problem = FewShot(net, CrossEntropy(WAYS), rates=rates, inner_lr=RATE)
    optimizer = torch.optim.SGD(problem.module.parameters(), 0.1)
    oracle = Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled())
    for frozen, moving in ((net[2], net[0]), (net[0], net[2])):
        net.requires_grad_(True)
        frozen.requires_grad_(False)
        before = copy.deepcopy(frozen.state_dict()), copy.deepcopy(moving.state_dict())
        oracle(problem, batch).apply(torch.ones(1))
        optimizer.step()
        optimizer.zero_grad()
        assert all(torch.equal(t, before[0][n]) for n, t in frozen.state_dict().items())
        assert not any(torch.equal(t, before[1][n]) for n, t in moving.state_dict().items())
    if rates == "fixed":
        check(net, batch, problem)


@pytest.mark.supported
def test_few_shot_network_that_writes_to_its_buffers():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()
            self.register_buffer("mean", torch.zeros(6, dtype=torch.float64))

        def forward(self, x):
            self.mean.mul_(0.5).add_(x.detach().mean(0))
            return self.body(x)

    net = Counting()
    by_moml(FewShot(net, CrossEntropy(WAYS)), episodes())
    assert torch.equal(net.mean, torch.zeros(6, dtype=torch.float64))


# Layers that cannot be vectorised ---------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = kind(2, 5, batch_first=True), nn.Linear(5, WAYS)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


@pytest.mark.supported
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_few_shot_with_recurrent_layers(kind):
    net, batch = Recurrent(kind).double(), episodes((3, 2))
    check(net, batch)
    copy.deepcopy(net)


class Choosing(nn.Module):
    """What plain Python does with values."""

    def __init__(self, way):
        super().__init__()
        self.body, self.way = mlp(), way

    def forward(self, x):
        y = self.body(x)
        if self.way == "if":
            return y if x.mean() > 0 else -y
        if self.way == "item":
            return y * y.detach().abs().max().item()
        if self.way == "assignment":
            z = y.clone()
            z[z < 0] = 0.0
            return z
        if self.way == "checkpoint":
            return checkpoint(self.body, x, use_reentrant=False)
        if self.way == "reentrant checkpoint":
            return checkpoint(self.body, x, use_reentrant=True)
        return Cube.apply(y)


class Cube(torch.autograd.Function):
    """Without a rule for vmap."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


@pytest.mark.supported
@pytest.mark.parametrize("way", ["if", "item", "assignment", "function"])
def test_few_shot_with_a_forward_pass_that_looks_at_values(way, caplog):
    net, batch = Choosing(way), episodes()
    with caplog.at_level(logging.WARNING, "moml"):
        problem = check(net, batch)
        check(net, batch, problem)
    assert len(problem.episodes(batch)) == len(batch)
    assert [r.message[:40] for r in caplog.records] == ["Episodes are computed one after the othe"]


@pytest.mark.supported
@pytest.mark.parametrize("way", ["checkpoint", "reentrant checkpoint"])
def test_few_shot_with_activation_checkpointing(way):
    check(Choosing(way), episodes(), call=lambda net, theta, x: functional_call(
        net.body, {n.removeprefix("body."): t for n, t in theta.items()}, x))  # fmt: skip


@pytest.mark.supported
@pytest.mark.parametrize("training", [True, False])
def test_few_shot_with_transformer_layers(training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    net = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, WAYS)).double().train(training)
    batch = episodes((3, 4), count=2)
    with sdpa_kernel(SDPBackend.MATH):  # plain autograd's own second derivatives need it
        problem = check(net, batch)
    by_moml(problem, batch)
    inner = InnerSGD(RATE, steps=1)
    with torch.no_grad():  # where evaluation takes the layer's fast path
        found = [q.prediction for q in adapted(problem, inner, batch)]
        slow = FewShot(net, CrossEntropy(WAYS), stacked=False)
        expected = [q.prediction for q in adapted(slow, inner, batch)]
    torch.testing.assert_close(torch.cat(found), torch.cat(expected))


@pytest.mark.supported
def test_few_shot_with_random_layers_between_known_ones():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    problem = FewShot(mlp(Noisy()), CrossEntropy(WAYS))
    assert len(problem.episodes(episodes())) == 3  # draws are not those of one by one


def test_stacking_is_turned_off():
    problem = FewShot(mlp(), CrossEntropy(WAYS), stacked=False)
    assert len(problem.episodes(episodes())) == 3
    assert len(FewShot(mlp(), CrossEntropy(WAYS)).episodes(episodes())) == 1


# Outputs ----------------------------------------------------------------------------------------


class Answering(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.body, self.make = mlp(), make

    def forward(self, x):
        return self.make(self.body(x))


@pytest.mark.supported
@pytest.mark.parametrize("stacked", [None, False])
@pytest.mark.parametrize(
    ("make", "output"),
    [
        (lambda y: {"class": y, "features": y.sin()}, None),
        (lambda y: {"logits": y, "features": y.sin()}, "logits"),
        (lambda y: (y.sin(), y), 1),
        (lambda y: types.SimpleNamespace(logits=y), "logits"),
    ],
)
def test_few_shot_network_that_returns_a_mapping_or_tuple(make, output, stacked):
    net, batch = Answering(make), episodes()
    problem = FewShot(net, CrossEntropy(WAYS), output=output, stacked=stacked)
    expected = by_hand(mlp(), batch)
    for found, wanted in zip(by_moml(problem, batch), expected, strict=True):
        torch.testing.assert_close(found, wanted.flatten(), rtol=1e-9, atol=1e-11)


@pytest.mark.refused("which entry is the prediction is said by `output`")
def test_few_shot_network_that_returns_a_mapping_without_the_targets_name():
    net = Answering(lambda y: {"logits": y})
    with pytest.raises(ValueError, match=r"`output` should say .*dict with \['logits'\]"):
        by_moml(FewShot(net, CrossEntropy(WAYS)), episodes())


# Said twice -------------------------------------------------------------------------------------


@pytest.mark.refused("the lower solver's rate is said once")
def test_few_shot_inner_rate_that_contradicts_the_solver():
    for rates in ("fixed", "layer"):
        problem = FewShot(mlp(), CrossEntropy(WAYS), inner_lr=5.0, rates=rates)
        with pytest.raises(ValueError, match=r"`inner_lr` .* found 5.0 and InnerSGD with 0.1"):
            Bilevel(InnerSGD(0.1), Unrolled())(problem, episodes())
    problem = FewShot(mlp(), CrossEntropy(WAYS), inner_steps=2)
    with pytest.raises(ValueError, match=r"`inner_steps` .* found 2 and InnerSGD with 3"):
        Bilevel(InnerSGD(0.1, steps=3), Unrolled())(problem, episodes())


def test_learnt_rates_start_at_the_solvers():
    problem = FewShot(mlp(), CrossEntropy(WAYS), rates="layer")
    rows = by_moml(problem, episodes())
    plain = by_moml(FewShot(mlp(), CrossEntropy(WAYS)), episodes())
    for name, row in zip(problem.upper_parameters(), rows, strict=True):
        if name.startswith("network."):
            torch.testing.assert_close(row, plain[list(problem.upper_parameters()).index(name)])
    state = problem.module.state_dict()
    resumed = FewShot(mlp(), CrossEntropy(WAYS), rates="layer")
    resumed.module.load_state_dict(state)
    assert resumed.learner.inner_lr == RATE


# Gaps -------------------------------------------------------------------------------------------


@pytest.mark.supported
def test_few_shot_where_the_lower_level_moves_chosen_layers_by_name():
    net, batch = mlp(nn.Linear(6, 6)), episodes()
    problem, slow = (
        FewShot(net, CrossEntropy(WAYS), adapt=["2", "3.bias"], stacked=stacked)
        for stacked in (None, False)
    )
    assert problem.learner.adapted == ("2.weight", "2.bias", "3.bias")
    for found, expected in zip(by_moml(problem, batch), by_moml(slow, batch), strict=True):
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="parts or parameters, found 'tail'"):
        FewShot(mlp(), CrossEntropy(WAYS), adapt=["tail"])


@pytest.mark.supported
@pytest.mark.parametrize("make", [InnerSGD, InnerAdam, InnerAdamW, InnerRMSprop, InnerAdagrad])
def test_few_shot_with_clipped_inner_gradients(make):
    rows = [
        Bilevel(make(0.1, steps=2, clip_norm=0.05), Unrolled())(
            FewShot(mlp(), CrossEntropy(WAYS), stacked=stacked), episodes()
        ).jacobian
        for stacked in (True, False)
    ]
    torch.testing.assert_close(*rows)


def test_inner_clipping_is_that_of_pytorch():
    net, batch = mlp(), episodes(count=1)
    problem = FewShot(net, CrossEntropy(WAYS))
    (query,) = adapted(problem, InnerSGD(RATE, clip_norm=0.05), batch)
    support = batch.episode(0).lower[0]
    nn.functional.cross_entropy(net(support.inputs), support.targets["class"]).backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), 0.05)
    assert norm > 0.05
    for name, p in net.named_parameters():
        torch.testing.assert_close(query.theta[name][0], (p - RATE * p.grad).detach())


@pytest.mark.supported
def test_few_shot_episodes_of_unequal_sizes():
    first, second = episodes(count=1, seed=1), episodes(count=2, seed=2)
    one, two = first.episode(0), second.episode(1)
    short = Batch(two.upper.inputs[:3], {"class": two.upper.targets["class"][:3]})
    problem = FewShot(mlp(), CrossEntropy(WAYS))
    rows = [
        torch.cat(by_moml(problem, pairs))
        for pairs in (
            [(one.lower[0], one.upper), (two.lower[0], short)],
            [(one.lower[0], one.upper)],
            [(two.lower[0], short)],
        )
    ]
    torch.testing.assert_close(rows[0], (rows[1] + rows[2]) / 2)
    torch.testing.assert_close(rows[1], torch.cat(by_moml(problem, first)))


@pytest.mark.supported
def test_few_shot_evaluation_under_inference_mode():
    problem, batch = FewShot(mlp(), CrossEntropy(WAYS)), episodes()
    (expected,) = [q.prediction.detach() for q in adapted(problem, InnerSGD(RATE), batch)]
    with torch.inference_mode():
        (found,) = [q.prediction for q in adapted(problem, InnerSGD(RATE), batch)]
    torch.testing.assert_close(found, expected)


@pytest.mark.supported
def test_prototypes_of_classes_with_gaps_between_their_labels():
    net, batch = mlp(), episodes()
    objectives = {"clean": Clean()}

    def labelled(classes):
        parts = []
        for one in (batch.support, batch.query):
            labels = torch.tensor(classes)[torch.arange(one.inputs.shape[1]) % 2]
            parts.append(Batch(one.inputs, {"class": labels.expand(len(one.inputs), -1)}))
        return EpisodeBatch(*parts)

    gap, dense = labelled([0, 2]), labelled([0, 1])
    losses = [
        Prototypes(net, CrossEntropy(WAYS), objectives=objectives).losses(b)["clean"]
        for b in (gap, dense)
    ]
    torch.testing.assert_close(*losses)
    (slope,) = torch.autograd.grad(losses[0], [net[0].weight])
    assert slope.isfinite().all()


@pytest.mark.refused("a class without an example has no prototype")
def test_prototypes_of_a_class_that_the_support_set_lacks():
    batch = episodes()
    lacking = Batch(batch.support.inputs, {"class": batch.support.targets["class"] * 0})
    problem = Prototypes(mlp(), CrossEntropy(WAYS), objectives={"clean": Clean()})
    with pytest.raises(ValueError, match="classes of the support set only"):
        problem.losses(EpisodeBatch(lacking, batch.query))


@pytest.mark.refused("LBFGS evaluates the loss itself")
def test_lower_variables_moved_by_lbfgs():
    from tasks import QuadraticBilevel

    oracle = Bilevel(InnerSGD(0.1), Unrolled(), alternate=Alternate(torch.optim.LBFGS))
    problem = QuadraticBilevel()
    oracle(problem, None)
    with pytest.raises(ValueError, match="found LBFGS"):
        oracle.advance(problem)
