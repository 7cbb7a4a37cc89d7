"""A loop of one's own: situations of real use around ``moml.backward``."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.losses import MeanSquaredError
from moml.oracle import Direct
from moml.weighting import (
    DBMTL,
    EW,
    MGDA,
    RLW,
    UW,
    CAGrad,
    ConFIG,
    ExcessMTL,
    FairGrad,
    GradDrop,
    MoCo,
    NashMTL,
    PCGrad,
    UPGrad,
)
from tests.helpers import flat_grad, flat_gradients
from tests.own_loop_memory import LiveBytes
from tests.weightings import all_weightings

TASKS = ("a", "b", "c")
RandomGradients = partial(RLW, level="gradient")  # heads by their own losses


class Trunk(nn.Module):
    """An encoder and three heads."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(8, 1) for task in TASKS})
        self.to(dtype)

    def losses(self, x, tasks=TASKS):
        z = self.encoder(x)
        return self.heads_losses(z, tasks)

    def heads_losses(self, z, tasks=TASKS):
        targets = {"a": 1.0, "b": -2.0, "c": 0.5}
        return {t: (self.heads[t](z) - targets[t]).square().mean() for t in tasks}


def inputs(seed=1, dtype=torch.float64):
    return torch.randn(16, 4, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def gradients(model, losses):
    shared = list(model.encoder.parameters())
    return torch.stack([flat_gradients(loss, shared) for loss in losses.values()])


# Tasks that come and go ---------------------------------------------------------------------


@pytest.mark.supported
@pytest.mark.parametrize("method", [MoCo, DBMTL, ExcessMTL])
def test_losses_in_another_order_in_every_step(method):
    """A method with a number per parameter entry keeps them in their places."""

    def train(orders):
        model, weighting = Trunk(), method().setup(TASKS)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed, order in enumerate(orders):
            optimizer.zero_grad()
            losses = model.losses(inputs(seed))
            weights = moml.backward({task: losses[task] for task in order}, weighting)
            if weights is not None:
                assert len(weights) == len(order)
            optimizer.step()
        return flat_grad(list(model.parameters()))

    expected = train(["abc", "abc", "abc"])
    torch.testing.assert_close(train(["abc", "cba", "bca"]), expected)


@pytest.mark.supported
def test_weights_come_in_the_order_of_the_losses():
    model, weighting = Trunk(), MGDA().setup(TASKS)
    losses = model.losses(inputs())
    forward = moml.backward(losses, weighting, retain_graph=True)
    turned = moml.backward({task: losses[task] for task in "cab"}, weighting)
    torch.testing.assert_close(turned, forward[[2, 0, 1]])


@pytest.mark.supported
@pytest.mark.parametrize("method", [MoCo, DBMTL, ExcessMTL, MGDA, UW])
def test_tasks_that_are_absent_in_some_steps(method):
    """Shared parameters stay shared, in their places, where one task is alone in a step."""
    model, weighting = Trunk(), method().setup(TASKS)
    for seed, tasks in enumerate(["abc", "b", "ca", "abc"]):
        model.zero_grad()
        losses = model.losses(inputs(seed), tasks)
        moml.backward(losses, weighting)
        for task in TASKS:
            assert (model.heads[task].weight.grad is not None) == (task in tasks)
        assert all(p.grad is not None for p in model.encoder.parameters())


@pytest.mark.refused("name every task before the first step by `setup`")
def test_task_first_seen_in_a_later_step():
    model, weighting = Trunk(), MGDA()
    moml.backward(model.losses(inputs(), "ab"), weighting)
    with pytest.raises(ValueError, match=r"`losses` should name .*found \['c'\].*setup"):
        moml.backward(model.losses(inputs()), weighting)


@pytest.mark.supported
def test_task_first_seen_in_a_later_step_but_named_by_setup():
    model, weighting = Trunk(), MoCo().setup(TASKS)
    for tasks in ("ab", "abc"):
        moml.backward(model.losses(inputs(), tasks), weighting)


@pytest.mark.refused("pass a mapping from task to loss where tasks come and go")
def test_list_of_losses_of_another_length():
    model, weighting = Trunk(), MGDA()
    moml.backward(list(model.losses(inputs()).values()), weighting)
    with pytest.raises(ValueError, match=r"in a list should be the 3 losses .* pass a mapping"):
        moml.backward(list(model.losses(inputs(), "bc").values()), weighting)


@pytest.mark.supported
def test_list_of_losses_after_setup_goes_by_the_order_of_the_names():
    model, weighting = Trunk(), UW().setup(TASKS)
    moml.backward(list(model.losses(inputs()).values()), weighting)
    assert weighting.log_variances.grad.shape == (3,)


# What counts as shared ----------------------------------------------------------------------


def physics(model, x):
    """Losses with derivatives by the inputs, as physics-informed networks have them."""
    u = model.heads["a"](model.encoder(x))
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    return {"equation": (slope - 1).square().mean(), "border": 10 * u[:3].square().mean()}


@pytest.mark.supported
@pytest.mark.parametrize("method", [ConFIG, NashMTL, CAGrad, MGDA])
@pytest.mark.parametrize("named", [False, True])
def test_inputs_that_losses_are_differentiated_by_have_no_say(method, named):
    model = Trunk()
    parameters = [*model.encoder.parameters(), *model.heads["a"].parameters()]
    if not named:
        parameters.pop()  # the last bias, which the equation does not see
    weighting = method()
    for seed in range(2):  # fresh inputs in every step
        x = inputs(seed).requires_grad_()
        losses = physics(model, x)
        rows = torch.stack([flat_gradients(loss, parameters) for loss in losses.values()])
        by_inputs = torch.stack([flat_gradients(loss, [x]) for loss in losses.values()])
        model.zero_grad()
        weights = moml.backward(losses, weighting, shared=parameters if named else None)
        expected = method().setup(list(losses)).weights(rows @ rows.T)
        torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(flat_grad(parameters), weights @ rows)
        torch.testing.assert_close(x.grad.flatten(), weights @ by_inputs)  # as `backward` gives


@pytest.mark.supported
@pytest.mark.parametrize("method", [MGDA, EW, GradDrop])
def test_inputs_argument_keeps_all_other_leaves_untouched(method):
    model, x = Trunk(), inputs().requires_grad_()
    moml.backward(physics(model, x), method(), inputs=model.encoder.parameters())
    assert x.grad is None
    assert model.heads["a"].weight.grad is None
    assert all(p.grad is not None for p in model.encoder.parameters())


@pytest.mark.supported
def test_trunk_parameter_that_one_loss_reaches_is_declared_shared():
    """An adapter before one head that belongs to the trunk."""
    model = Trunk()
    adapter = nn.Linear(8, 8).double()
    z = model.encoder(inputs())
    losses = {
        "a": (model.heads["a"](adapter(z)) - 1).square().mean(),
        "b": model.heads["b"](z).square().mean(),
    }
    trunk = [*model.encoder.parameters(), *adapter.parameters()]
    rows = torch.stack([flat_gradients(loss, trunk) for loss in losses.values()])
    weights = moml.backward(losses, MGDA(), shared=trunk)
    torch.testing.assert_close(weights, MGDA().weights(rows @ rows.T), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat_grad(trunk), weights @ rows)


@pytest.mark.supported
def test_plain_tensors_as_parameters():
    w = torch.ones(3, requires_grad=True)
    for _ in range(2):
        weights = moml.backward({"a": w.sum(), "b": w.square().sum()}, MGDA())
    assert w.grad is not None
    assert weights.sum() == pytest.approx(1)


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, NashMTL, FairGrad, ConFIG, PCGrad, GradDrop, MoCo])
def test_nothing_shared_as_with_a_frozen_encoder(method):
    """Every head trains by its own loss."""
    model = Trunk().requires_grad_(False)
    model.heads.requires_grad_(True)
    losses = model.losses(inputs())
    heads = list(model.heads.parameters())
    expected = torch.stack([flat_gradients(loss, heads) for loss in losses.values()]).sum(0)
    weights = moml.backward(losses, method())
    torch.testing.assert_close(flat_grad(heads), expected)
    assert weights.tolist() == [1.0] * 3


@pytest.mark.supported
def test_encoder_unfrozen_after_some_steps_in_a_loop_of_ones_own():
    model, weighting = Trunk(), MGDA()
    model.encoder[0].requires_grad_(False)
    moml.backward(model.losses(inputs()), weighting)
    model.encoder.requires_grad_(True)
    model.zero_grad()
    losses = model.losses(inputs())
    rows = gradients(model, losses)
    weights = moml.backward(losses, weighting)
    torch.testing.assert_close(weights, MGDA().weights(rows @ rows.T), atol=1e-9, rtol=0)
    shared = flat_grad(list(model.encoder.parameters()))
    torch.testing.assert_close(shared, weights @ rows)


# Features -----------------------------------------------------------------------------------


@pytest.mark.supported
@pytest.mark.parametrize("representation", [False, True])
def test_feature_named_twice(representation):
    model = Trunk()
    z = model.encoder(inputs())
    losses = model.heads_losses(z)
    rows = gradients(model, losses)
    weights = moml.backward(losses, MGDA(), features=[z, z], representation=representation)
    torch.testing.assert_close(flat_grad(list(model.encoder.parameters())), weights @ rows)


@pytest.mark.supported
@pytest.mark.parametrize("split", ["chunk", "split", "unbind"])
def test_features_that_are_outputs_of_one_operation(split):
    model = Trunk()
    z = model.encoder(inputs())
    parts = {
        "chunk": lambda: z.chunk(2, dim=1),
        "split": lambda: z.split([3, 5], dim=1),
        "unbind": lambda: z.view(16, 2, 4).unbind(1),
    }[split]()
    losses = {"a": parts[0].square().mean() + parts[1].mean(), "b": (parts[1] - 1).square().mean()}
    cotangents = [
        torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True)
        for loss in losses.values()
    ]
    flat = torch.stack(
        [torch.cat([(torch.zeros_like(p) if g is None else g).flatten()
         for g, p in zip(row, parts, strict=True)]) for row in cotangents]
    )  # fmt: skip
    rows = gradients(model, losses)
    weights = moml.backward(losses, MGDA(), features=parts, representation=True)
    torch.testing.assert_close(weights, MGDA().weights(flat @ flat.T), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat_grad(list(model.encoder.parameters())), weights @ rows)


@pytest.mark.refused("operations on nested tensors are few; the gradient is the same without")
def test_features_that_are_a_nested_tensor():
    encoder, head = nn.Linear(4, 8), nn.Linear(8, 1)
    parts = [torch.randn(2, 4), torch.randn(3, 4)]
    z = encoder(torch.nested.nested_tensor(parts, layout=torch.jagged)).relu()
    made = head(z).values()
    losses = {"a": made.square().mean(), "b": (made - 1).abs().mean()}
    with pytest.raises(ValueError, match="`features` should be dense tensors, found a nested one"):
        moml.backward(losses, MGDA(), features=z)


@pytest.mark.supported
@pytest.mark.parametrize("representation", [False, True])
def test_feature_that_no_loss_uses(representation):
    model = Trunk()
    z = model.encoder(inputs())
    unused = torch.tanh(model.encoder[0](inputs(2)))
    losses = model.heads_losses(z)
    rows = gradients(model, losses)
    weights = moml.backward(losses, MGDA(), features=[z, unused], representation=representation)
    torch.testing.assert_close(flat_grad(list(model.encoder.parameters())), weights @ rows)


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["vmap", "chunk", "ghost", "layers", "loop"])
@pytest.mark.parametrize("with_features", [False, True])
def test_every_way_to_form_rows_gives_the_same_step(rows, with_features):
    model = Trunk()
    z = model.encoder(inputs())
    losses = model.heads_losses(z)
    expected = gradients(model, losses)
    weights = moml.backward(losses, MGDA(), features=z if with_features else None, rows=rows)
    torch.testing.assert_close(weights, MGDA().weights(expected @ expected.T), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat_grad(list(model.encoder.parameters())), weights @ expected)


# Memory -------------------------------------------------------------------------------------

METHODS = (EW, UW, RandomGradients, MGDA, CAGrad, MoCo, GradDrop, UPGrad)


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_features", [False, True])
def test_graph_is_freed_as_backward_frees_it(method, with_features):
    model, weighting = Trunk(), method().setup(TASKS)
    z = model.encoder(inputs())
    losses = model.heads_losses(z)
    moml.backward(losses, weighting, features=z if with_features else None)
    for loss in losses.values():
        with pytest.raises(RuntimeError, match="graph"):
            loss.backward()


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_features", [False, True])
def test_retained_graph_gives_the_same_gradient_again(method, with_features):
    model, weighting = Trunk(), method().setup(TASKS)
    z = model.encoder(inputs())
    losses = model.heads_losses(z)
    features = z if with_features else None
    moml.backward(losses, weighting, features=features, retain_graph=True)
    sum(losses.values()).backward()


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["loop", "ghost", "layers", "vmap"])
@pytest.mark.parametrize("method", [EW, MGDA])
def test_memory_of_a_step_is_that_of_fit(rows, method):
    names = [str(i) for i in range(8)]

    def build():
        torch.manual_seed(0)
        layers = [m for _ in range(4) for m in (nn.Linear(128, 128), nn.Tanh())]
        encoder = nn.Sequential(*layers)
        encoder.out_features = 128
        return HPS(encoder, {t: nn.Sequential(nn.Linear(128, 1), nn.Flatten(0)) for t in names})

    x, y = torch.randn(16, 128), torch.randn(16)
    model = build()
    task_problem = moml.MultiTask(model, {t: MeanSquaredError() for t in names})
    with LiveBytes() as fit:
        evaluation = Direct(rows=rows)(task_problem, Batch(x, dict.fromkeys(names, y)))
        method().setup(names).update(evaluation)
        del evaluation
    model.zero_grad()
    assert fit.now < 1.1 * sum(p.nbytes for p in model.parameters())  # no wait for the collector
    with LiveBytes() as own:
        z = model.encoder(x)
        losses = {t: (model.heads[t](z) - y).square().mean() for t in names}
        moml.backward(losses, method(), features=z, rows=rows)
    assert own.peak == pytest.approx(fit.peak, rel=0.02)
    both = sum(p.nbytes + p.grad.nbytes for p in model.parameters())
    assert own.now < 1.1 * both  # the losses and the features are still here


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, MoCo])
@pytest.mark.parametrize("with_features", [False, True])
def test_activations_are_let_go_of_while_losses_and_features_are_held(method, with_features):
    model, weighting = Trunk(), method().setup(TASKS)
    z = model.encoder(inputs())
    losses = model.heads_losses(z)
    held, todo = [], [loss.grad_fn for loss in losses.values()]
    while todo:
        node = todo.pop()
        todo += [child for child, _ in node.next_functions if child is not None]
        names = [n for n in ("_saved_self", "_saved_result", "_saved_mat1") if hasattr(node, n)]
        held += [(node, name) for name in names if getattr(node, name) is not None]
    assert len(held) > 10
    moml.backward(losses, weighting, features=z if with_features else None)
    for node, name in held:
        with pytest.raises(RuntimeError):
            getattr(node, name)


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, MoCo])
@pytest.mark.parametrize("rows", ["loop", "ghost", "layers"])
def test_retained_gradient_of_features_is_the_weighted_one(method, rows):
    model, weighting = Trunk(), method().setup(TASKS)
    z = model.encoder(inputs())
    copy = z.detach().requires_grad_()
    expected = [torch.autograd.grad(x, copy)[0] for x in model.heads_losses(copy).values()]
    z.retain_grad()
    weights = moml.backward(model.heads_losses(z), weighting, features=z, rows=rows)
    factors = [1.0] * 3 if weights is None else weights.tolist()
    torch.testing.assert_close(z.grad, sum(w * g for w, g in zip(factors, expected, strict=True)))


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, GradDrop, MoCo])
def test_optimizer_in_hooks_after_accumulation(method):
    """The gradient of a parameter is used, and gone, as soon as it is complete."""

    def train(hooked):
        model, weighting = Trunk(), method().setup(TASKS)
        optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

        def use(p):
            optimizers[p].step()
            optimizers[p].zero_grad()

        if hooked:
            for p in model.parameters():
                p.register_post_accumulate_grad_hook(use)
        for seed in range(2):
            torch.manual_seed(seed)
            moml.backward(model.losses(inputs(seed)), weighting)
            if not hooked:
                for p in model.parameters():
                    use(p)
            assert all(p.grad is None for p in model.parameters())
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    torch.testing.assert_close(train(True), train(False))


def recomputed(model, x, *, reentrant):
    return checkpoint(model.encoder, x.requires_grad_(), use_reentrant=reentrant)


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, MoCo])
def test_checkpointed_encoder_without_reentrance(method):
    model = Trunk()
    plain = moml.backward(model.losses(inputs()), method())
    expected = flat_grad(list(model.parameters()))
    model.zero_grad()
    z = recomputed(model, inputs(), reentrant=False)
    weights = moml.backward(model.heads_losses(z), method(), features=z)
    torch.testing.assert_close(flat_grad(list(model.parameters())), expected)
    assert (weights is None) == (plain is None)


@pytest.mark.refused("its parameters are out of sight: use `use_reentrant=False`")
@pytest.mark.parametrize("method", [MGDA, MoCo])
@pytest.mark.parametrize("with_features", [False, True])
def test_checkpointed_encoder_with_reentrance_and_gradients_of_single_tasks(method, with_features):
    model = Trunk()
    z = recomputed(model, inputs(), reentrant=True)
    with pytest.raises(ValueError, match="Checkpointed parts should be without re-entrance"):
        moml.backward(model.heads_losses(z), method(), features=z if with_features else None)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.refused("autograd cannot restrict such parts: use `use_reentrant=False`")
@pytest.mark.parametrize("options", [{"inputs": True}, {"heads": "unit"}], ids=["inputs", "unit"])
def test_checkpointed_encoder_with_reentrance_and_some_parameters_only(options):
    model, weighting = Trunk(), UW().setup(TASKS)
    z = recomputed(model, inputs(), reentrant=True)
    chosen = {"inputs": list(model.parameters())} if "inputs" in options else options
    with pytest.raises(ValueError, match="without re-entrance"):
        moml.backward(model.heads_losses(z), weighting, **chosen)


@pytest.mark.supported
def test_checkpointed_encoder_with_reentrance_and_a_method_on_losses():
    model, weighting = Trunk(), UW().setup(TASKS)
    moml.backward(model.heads_losses(recomputed(model, inputs(), reentrant=True)), weighting)
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.refused("a generator is empty once it was read: pass a list")
@pytest.mark.parametrize("argument", ["shared", "inputs"])
def test_generator_of_parameters_that_was_read_before(argument):
    body, heads = nn.Linear(4, 3), [nn.Linear(3, 1) for _ in range(2)]
    generator, weighting = body.parameters(), moml.weighting.MGDA()

    def step():
        z = body(torch.ones(2, 4)).tanh()
        losses = {k: head(z).square().mean() for k, head in zip("ab", heads, strict=True)}
        return moml.backward(losses, weighting, **{argument: generator})

    step()
    with pytest.raises(ValueError, match="hold at least one parameter"):
        step()


@pytest.mark.supported
def test_further_batches_through_other_layers():
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
    heads, method = nn.ModuleList(nn.Linear(6, 1) for _ in range(2)), moml.weighting.MoDo()

    def losses(on):
        z = torch.randn(8, 6)
        for i in on:
            z = z + layers[i](z).tanh()
        return {k: head(z).square().mean() for k, head in zip("ab", heads, strict=True)}

    for on, other in (((0,), (0, 1)), ((0, 2), (0,)), ((0, 1, 2), (1,))):
        weights = moml.backward(losses(on), method, further=lambda i, o=other: losses(o))
        assert torch.isfinite(weights).all()


@pytest.mark.supported
def test_weighting_inside_a_module_that_is_cast():
    """Decisions stay in double precision whatever the network around computes in."""
    for name, make in all_weightings().items():
        method = make().setup(["a", "b"])
        before = {k: b.dtype for k, b in method.named_buffers()}
        nn.ModuleList([method]).float().bfloat16()
        doubles = [k for k, dtype in before.items() if dtype == torch.float64]
        after = dict(method.named_buffers())
        assert all(after[k].dtype == torch.float64 for k in doubles), name


@pytest.mark.supported
@pytest.mark.parametrize(
    "make",
    [
        moml.weighting.MoCo,
        moml.weighting.DBMTL,
        moml.weighting.GradDrop,
        moml.weighting.TrimmedMean,
        lambda: moml.weighting.Grouped(MGDA(), groups=2),
    ],
)
@pytest.mark.parametrize("heads", ["weighted", "unit"])
def test_heads_of_methods_without_weights_train_by_their_own_unweighted_loss(make, heads):
    torch.manual_seed(0)
    encoder, left, right = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)
    x = torch.randn(8, 3)

    def losses():
        made = encoder(x).tanh()
        return {"left": 30 * left(made).square().mean(), "right": (right(made) + 2).abs().mean()}

    assert moml.backward(losses(), make(), heads=heads) is None
    for head, loss in ((left, losses()["left"]), (right, losses()["right"])):
        (own,) = torch.autograd.grad(loss, head.weight)
        torch.testing.assert_close(head.weight.grad, own)
