"""Networks that change between steps: every step's gradients are those of the network as it is."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import moml
from moml.architecture import HPS
from moml.gradients.task_gradients import Evaluation
from moml.oracle import Accumulated, Direct, Representation
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import DBMTL, EW, MGDA, ExcessMTL, GradDrop, MoCo
from tests.helpers import TASKS, batch, flat_gradients, problem

WEIGHTS = torch.tensor([0.2, 0.5, 1.7], dtype=torch.float64)


def heads(width=8):
    return {t: nn.Linear(width, 3).double() for t in TASKS}


class Switched(nn.Module):
    """Four layers, of which a step uses those that are switched on."""

    out_features = 8

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8).double()
        self.layers = nn.ModuleList(nn.Linear(8, 8).double() for _ in range(4))
        self.on = {0}

    def forward(self, x):
        x = torch.tanh(self.first(x))
        for i, layer in enumerate(self.layers):
            if i in self.on:
                x = x + torch.tanh(layer(x))
        return x


class Routed(nn.Module):
    """A mixture of which each sample takes its best expert: small batches leave experts out."""

    out_features = 8

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(6, 3).double()
        self.experts = nn.ModuleList(nn.Linear(6, 8).double() for _ in range(3))

    def forward(self, x):
        share, chosen = self.gate(x).softmax(1).max(1)
        out = x.new_zeros(len(x), 8)
        for i, expert in enumerate(self.experts):
            if (where := chosen == i).any():
                out[where] = torch.tanh(expert(x[where]))
        return out * share[:, None]


def agree(oracle, task_problem, data):
    """Rows, Gramian and combined gradient of a step against plain autograd."""
    shared = [p for p in task_problem.shared_parameters() if p.requires_grad]
    losses = task_problem.losses(data)
    rows = [
        flat_gradients(loss, shared) if shared else loss.new_zeros(0) for loss in losses.values()
    ]
    expected = torch.stack(rows)
    evaluation = oracle(task_problem, data)
    torch.testing.assert_close(evaluation.gramian, expected @ expected.T)
    torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)
    torch.testing.assert_close(evaluation.jacobian, expected)


def direct(rows):
    return Direct(rows=rows)


ORACLES = {
    **{rows: lambda rows=rows: Direct(rows=rows) for rows in ("auto", "ghost", "vmap", "layers")},
    "accumulated": lambda: Accumulated(Direct(), parts=2),
}


@pytest.mark.supported
@pytest.mark.parametrize("oracle", ORACLES)
def test_layers_skipped_in_the_first_step_train_later(oracle):
    torch.manual_seed(0)
    encoder, compute = Switched(), ORACLES[oracle]()
    task_problem = problem(HPS(encoder, heads()))
    for on in ({0}, {1, 2}, set(), {0, 1, 2, 3}, {0}):
        encoder.on = on
        agree(compute, task_problem, batch())


@pytest.mark.supported
@pytest.mark.parametrize("method", [MGDA, MoCo, GradDrop])
def test_a_run_with_layers_dropped_at_random_trains_every_layer(method):
    torch.manual_seed(0)
    encoder = Switched()
    model = HPS(encoder, heads())
    before = copy.deepcopy(model.state_dict())
    draw = torch.Generator().manual_seed(1)

    class Drop(Callback):
        def before_step(self):
            encoder.on = {i for i in range(4) if torch.rand((), generator=draw) < 0.5}

        def after_step(self, training):
            self.before_step()

    encoder.on = {0}
    moml.fit(
        problem(model), Direct(), method(), torch.optim.SGD(model.parameters(), lr=0.1),
        [batch()], steps=8, callbacks=[Drop()],
    )  # fmt: skip
    for name, value in model.state_dict().items():
        assert not torch.equal(value, before[name]), f"{name} has not moved"


@pytest.mark.supported
@pytest.mark.parametrize("oracle", ORACLES)
def test_a_mixture_of_experts_routed_by_the_best_gate(oracle):
    torch.manual_seed(0)
    task_problem, compute = problem(HPS(Routed(), heads())), ORACLES[oracle]()
    for size in (1, 2, 5, 1, 16):
        agree(compute, task_problem, batch(size=size, seed=size))


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["auto", "ghost", "loop"])
def test_an_encoder_frozen_and_unfrozen_by_turns(rows):
    torch.manual_seed(0)
    model, compute = HPS(Switched(), heads()), Direct(rows=rows)
    task_problem = problem(model)
    for frozen in (["first"], [], ["layers"], ["first", "layers"], []):
        for name, parameter in model.encoder.named_parameters():
            parameter.requires_grad_(name.split(".")[0] not in frozen)
        agree(compute, task_problem, batch())


@pytest.mark.supported
@pytest.mark.parametrize("method", [MoCo, DBMTL, ExcessMTL])
def test_methods_that_remember_gradients_where_parameters_are_frozen_for_a_while(method):
    """What is remembered of a parameter stays its own: no other's, even of the same size."""

    def weighting(columns):
        made = method()
        made.setup(TASKS)
        for step, on in enumerate(columns):
            rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(step)).double()
            pieces = [rows[:, 4 * k : 4 * k + 4] for k in (0, 1)]
            held = [nn.Parameter(torch.zeros(4, dtype=torch.float64)) for _ in on]
            evaluation = Evaluation.from_jacobian(
                torch.cat([pieces[k] for k in on], 1), torch.ones(3), names=TASKS, parameters=held
            )
            type(evaluation).places = property(lambda _, on=tuple(on): on)
            try:
                made.update(evaluation)
            finally:
                del type(evaluation).places
        memory = next(m for m in made.modules() if hasattr(m, "arrange"))
        return dict(zip(memory.places.tolist(), memory.values.split(4, 1), strict=True))

    whole, first, turns = (
        weighting([(0, 1)]),
        weighting([(0,), (0,)]),
        weighting([(0,), (1,), (0,)]),
    )
    torch.testing.assert_close(weighting([(1, 0)])[0], whole[0])
    assert set(turns) == {0, 1}
    assert not torch.equal(turns[0], first[0])
    skipped = weighting([(0,), (1,)])
    torch.testing.assert_close(skipped[0], weighting([(0,)])[0])  # kept while it is frozen


@pytest.mark.supported
def test_a_head_unfrozen_later_trains():
    torch.manual_seed(0)
    model, compute = HPS(Switched(), heads()), Direct()
    model.heads["b"].requires_grad_(False)
    for trains in (False, True):
        model.heads["b"].requires_grad_(trains)
        MGDA().update(compute(problem(model), batch()))
        assert (model.heads["b"].weight.grad is not None) is trains


@pytest.mark.supported
def test_parameters_replaced_between_two_runs_train():
    torch.manual_seed(0)
    model, compute = HPS(Switched(), heads()), Direct()
    for _ in range(2):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = copy.deepcopy(model.encoder.first.state_dict())
        moml.fit(problem(model), compute, MGDA(), optimizer, [batch()], steps=2)
        assert not torch.equal(model.encoder.first.weight, before["weight"])
        model.encoder.first = nn.Linear(6, 8).double()


@pytest.mark.supported
def test_a_representation_of_a_network_with_skipped_layers():
    torch.manual_seed(0)
    encoder, compute = Switched(), Representation()
    task_problem = problem(HPS(encoder, heads()))
    shared = [p for p in task_problem.shared_parameters() if p.requires_grad]
    for on in ({0}, {1, 2}, {3}):
        encoder.on = on
        losses = task_problem.losses(batch())
        rows = torch.stack([flat_gradients(loss, shared) for loss in losses.values()])
        evaluation = compute(task_problem, batch())
        _ = evaluation.gramian
        torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ rows)


class Late(nn.Module):
    """A head that uses the encoder's parameters too, in some steps."""

    def __init__(self, encoder):
        super().__init__()
        self.own, self.borrowed, self.on = nn.Linear(8, 3).double(), [encoder.first], False

    def forward(self, x):
        out = self.own(x)
        return out + self.borrowed[0].weight.sum() if self.on else out


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["auto", "ghost", "layers"])
def test_a_path_around_the_representation_that_opens_later(rows):
    torch.manual_seed(0)
    encoder = Switched()
    late = Late(encoder)
    model, compute = HPS(encoder, heads() | {"b": late}), Direct(rows=rows)
    for on in (False, True, True, False):
        late.on = on
        agree(compute, problem(model), batch())


@pytest.mark.supported
def test_a_step_of_another_size_does_not_decide_how_rows_are_formed():
    torch.manual_seed(0)
    model = problem(HPS(nn.Sequential(nn.Linear(6, 64), nn.Linear(64, 8)).double(), heads()))
    long, oracle = batch(size=300), Direct()
    plan = Direct()(model, long).layout.plan
    _ = oracle(model, batch(size=2))
    assert oracle(model, long).layout.plan == plan
    assert oracle(model, batch(size=2)).layout.plan != plan


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, MoCo])
def test_a_run_with_dropped_layers_resumes_to_the_same_bits(method, tmp_path):
    def run(steps, folder, resume=False):
        torch.manual_seed(0)
        encoder = Switched()
        model = HPS(encoder, heads())

        class Drop(Callback):
            def after_step(self, training):
                encoder.on = {i for i in range(4) if training.step >> i & 1}

            def start(self, training):
                self.after_step(training)

        moml.fit(
            problem(model), Direct(), method(), torch.optim.Adam(model.parameters()), [batch()],
            steps=steps, callbacks=[Drop()],
            checkpoint=Checkpoint(folder, every=2, resume=resume),
        )  # fmt: skip
        return model.state_dict()

    whole = run(8, tmp_path / "whole")
    run(4, tmp_path / "parts")
    for name, value in run(8, tmp_path / "parts", resume=True).items():
        assert torch.equal(value, whole[name]), name


class Doubled(torch.autograd.Function):
    """A function of one's own, without a batched form."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        assert float(gradient.sum()) == float(gradient.sum())  # looks at a value
        return 2 * gradient


class Recurrent(nn.Module):
    out_features = 8

    def __init__(self, kind):
        super().__init__()
        self.cell = kind(2, 8, batch_first=True).double()

    def forward(self, x):
        return self.cell(x.unflatten(1, (3, 2)))[0][:, -1]


def checkpointed(reentrant):
    class Checkpointed(nn.Module):
        out_features = 8

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 8).double(), nn.Linear(8, 8).double()

        def forward(self, x):
            hidden = torch.tanh(self.first(x))
            return checkpoint(self.second, hidden, use_reentrant=reentrant)

    return Checkpointed()


class Ours(nn.Module):
    out_features = 8

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 8).double()

    def forward(self, x):
        return Doubled.apply(self.linear(x))


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["auto", "loop", "vmap", "chunk", "ghost", "layers"])
@pytest.mark.parametrize(
    "encoder",
    [
        lambda: Recurrent(nn.LSTM), lambda: Recurrent(nn.GRU), lambda: Recurrent(nn.RNN),
        Ours, lambda: checkpointed(False),
    ],
    ids=["LSTM", "GRU", "RNN", "autograd function", "checkpoint"],
)  # fmt: skip
def test_encoders_whose_backward_pass_cannot_be_vectorised(encoder, rows):
    torch.manual_seed(0)
    agree(Direct(rows=rows), problem(HPS(encoder(), heads())), batch())


def test_a_failed_vectorised_pass_is_said_once_per_graph(caplog):
    torch.manual_seed(0)
    task_problem, oracle = problem(HPS(Ours(), heads())), Direct(rows="vmap")
    for _ in range(3):
        _ = oracle(task_problem, batch()).gramian
    assert caplog.text.count("Rows are formed one task at a time") == 1


def hooked_weight(model):
    model.encoder[0].weight.register_hook(lambda gradient: gradient * 0.5)


def hooked_output(model):
    model.encoder[0].register_forward_hook(
        lambda module, inputs, output: output.register_hook(lambda g: g * 3.0) and None
    )


def hooked_module(model):
    model.encoder[2].register_full_backward_hook(lambda module, above, below: (above[0] * 2.0,))


@pytest.mark.supported
@pytest.mark.parametrize("hook", [hooked_weight, hooked_output, hooked_module])
@pytest.mark.parametrize("rows", ["auto", "vmap", "ghost", "layers"])
def test_hooks_that_change_gradients_count_in_every_way_to_form_rows(rows, hook):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 8)).double()
    model = HPS(encoder, heads())
    hook(model)
    agree(Direct(rows=rows), problem(model), batch(size=4))


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["auto", "vmap", "ghost", "layers"])
def test_complex_weights(rows):
    """Inner products count the imaginary parts."""

    class Fourier(nn.Module):
        out_features = 8

        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.randn(6, 4, dtype=torch.complex128))

        def forward(self, x):
            return torch.view_as_real(x.to(torch.complex128) @ self.mix).flatten(1)

    torch.manual_seed(0)
    task_problem, data = problem(HPS(Fourier(), heads())), batch()
    shared = list(task_problem.shared_parameters())
    rows_ = []
    for loss in task_problem.losses(data).values():
        found = torch.autograd.grad(loss, shared, retain_graph=True)
        rows_.append(torch.cat([torch.view_as_real(g).flatten() for g in found]))
    expected = torch.stack(rows_)
    evaluation = Direct(rows=rows)(task_problem, data)
    torch.testing.assert_close(evaluation.gramian, expected @ expected.T)
    torch.testing.assert_close(evaluation.jacobian, expected)
    torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)
    evaluation.assign(expected[0])
    written = torch.cat([torch.view_as_real(p.grad).flatten() for p in shared])
    torch.testing.assert_close(written, expected[0])


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, MGDA, MoCo])
def test_sparse_gradients_of_an_embedding(method):
    class Words(nn.Module):
        out_features = 8

        def __init__(self, sparse):
            super().__init__()
            torch.manual_seed(0)
            self.table = nn.Embedding(12, 8, sparse=sparse).double()

        def forward(self, x):
            return self.table((x.abs() * 4).long().clamp(max=11)).mean(1)

    trained = []
    for sparse in (False, True):
        torch.manual_seed(1)
        model = HPS(Words(sparse), heads())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        moml.fit(problem(model), Direct(), method(), optimizer, [batch()], steps=3)
        trained.append(model.state_dict())
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value)


@pytest.mark.supported
def test_inputs_that_require_gradients_are_not_shared():
    """A physics-informed loss differentiates by its input: data, not a parameter."""

    class Physics(moml.Problem):
        tasks = ("slope", "value")
        module = None

        def __init__(self):
            torch.manual_seed(0)
            self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()

        def losses(self, data):
            x = data.clone().requires_grad_()
            y = self.module(x)
            (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            return {"slope": (slope - x).square().mean(), "value": y.square().mean()}

        def shared_parameters(self):
            return self.module.parameters()

        def private_parameters(self, task):
            return []

    task, data = Physics(), torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    oracle = Direct()
    for _ in range(3):
        losses = task.losses(data)
        rows = torch.stack([
            flat_gradients(loss, list(task.shared_parameters())) for loss in losses.values()
        ])  # fmt: skip
        torch.testing.assert_close(oracle(task, data).gramian, rows @ rows.T)
    assert len(oracle._layouts._graphs) == 1  # fresh inputs are no new graph


@pytest.mark.supported
def test_nothing_shared_gives_rows_without_entries():
    torch.manual_seed(0)
    model = HPS(nn.Identity(), heads(6))
    evaluation = Direct()(problem(model), batch())
    assert evaluation.jacobian.shape == (3, 0)
    assert torch.equal(evaluation.gramian, torch.zeros(3, 3, dtype=torch.float64))
    assert evaluation.pullback(WEIGHTS).shape == (0,)
    evaluation.assign(torch.zeros(0))
    assert all(head.weight.grad.any() for head in model.heads.values())
