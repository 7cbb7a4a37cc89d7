"""Models as other libraries make them: keyword inputs, outputs in containers, sparse tables."""

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import moml
from moml.architecture import HPS
from moml.data import Batch, DatasetSource, Loader
from moml.oracle import Accumulated, Direct, Representation
from moml.weighting import EW, MGDA, PCGrad
from tests.helpers import flat_grad


class ModelOutput(OrderedDict):
    """A mapping whose entries are attributes and positions, too."""

    def __getattr__(self, name):
        return self[name]

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]


@dataclass
class Fields:
    last_hidden_state: Tensor
    pooler_output: Tensor
    hidden_states: tuple | None = None


Named = namedtuple("Named", ["last_hidden_state", "pooler_output"])
CONTAINERS = {
    "model output": ModelOutput,
    "dataclass": Fields,
    "named tuple": Named,
    "dictionary": dict,
}


class Transformer(nn.Module):
    """A tiny one with the usual arguments and outputs."""

    def __init__(self, container=ModelOutput, width=8):
        super().__init__()
        self.container = container
        self.table, self.places = nn.Embedding(30, width), nn.Embedding(7, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, input_ids=None, attention_mask=None, return_dict=True):
        places = torch.arange(input_ids.shape[1])
        made = self.table(input_ids) + self.places(places)
        made = self.layer(made, src_key_padding_mask=attention_mask == 0)
        return self.container(last_hidden_state=made, pooler_output=made[:, 0])


class Pooled(nn.Linear):
    def forward(self, output):
        made = output["pooler_output"] if isinstance(output, dict) else output.pooler_output
        return super().forward(made)


class Tokens(nn.Linear):
    """A prediction for every token, in a container of its own."""

    def forward(self, output):
        plain = type(output) is dict
        made = output["last_hidden_state"] if plain else output.last_hidden_state
        return {"logits": super().forward(made)}


def token_loss(output, target):
    return nn.functional.cross_entropy(output["logits"].transpose(1, 2), target)


def sentences(count=12):
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        length = int(torch.randint(2, 8, (), generator=draw))
        words = torch.randint(1, 30, (length,), generator=draw)
        found.append({"input_ids": words, "topic": words[0] % 3, "tokens": words % 2})
    return found


def padded(items):
    ids = pad_sequence([one["input_ids"] for one in items], batch_first=True)
    return {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "topic": torch.stack([one["topic"] for one in items]),
        "tokens": pad_sequence(
            [one["tokens"] for one in items], batch_first=True, padding_value=-100
        ),
    }


def transformer_problem(container=ModelOutput):
    torch.manual_seed(0)
    heads = {"topic": Pooled(8, 3), "tokens": Tokens(8, 2)}
    losses = {"topic": nn.CrossEntropyLoss(), "tokens": token_loss}
    return moml.MultiTask(HPS(Transformer(container), heads), losses)


@pytest.mark.supported
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("oracle", [Direct, Representation])
def test_a_transformer_with_keyword_inputs_and_outputs_in_a_container(container, oracle):
    one = transformer_problem(CONTAINERS[container])
    batch = one.as_batch(padded(sentences()))
    evaluation = oracle()(one, batch)
    model = one.architecture
    made = model.encoder(**batch.inputs)
    losses = [
        nn.functional.cross_entropy(model.heads["topic"](made), batch.targets["topic"]),
        token_loss(model.heads["tokens"](made), batch.targets["tokens"]),
    ]
    torch.testing.assert_close(evaluation.losses.float(), torch.stack(losses).detach())
    expected = torch.autograd.grad(2 * losses[0] + 3 * losses[1], list(model.parameters()))
    evaluation.apply(torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(
        flat_grad(model.parameters()), torch.cat([g.flatten() for g in expected])
    )


@pytest.mark.supported
@pytest.mark.parametrize("make", [EW, PCGrad])
def test_a_transformer_trained_on_a_loader_that_pads(make):
    one = transformer_problem()
    loader = DataLoader(sentences(), batch_size=4, collate_fn=padded)
    optimizer = torch.optim.Adam(one.module.parameters(), 0.02)
    history = moml.fit(one, Direct(), make(), optimizer, loader, steps=45)
    assert history.losses("topic")[-1] < 0.6 * history.losses("topic")[0]


@pytest.mark.supported
def test_a_source_of_samples_of_unequal_length_with_a_collate_function():
    source = DatasetSource(sentences(), ("topic", "tokens"), collate=padded)
    loader = Loader(source, 4, shuffle=True)
    one = transformer_problem()
    batch = loader.batch(0)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}
    optimizer = torch.optim.Adam(one.module.parameters(), 0.02)
    history = moml.fit(one, Direct(), EW(), optimizer, loader, steps=6)
    assert len(history.records) == 6


@pytest.mark.refused("samples of unequal length need `collate`")
def test_samples_of_unequal_length_without_a_collate_function():
    items = [(one["input_ids"], {"topic": one["topic"]}) for one in sentences()]
    with pytest.raises(ValueError, match="`collate`"):
        DatasetSource(items, ("topic",)).batch(torch.arange(4))


class Pyramid(nn.Module):
    """Feature maps of several sizes, as backbones for dense tasks return them."""

    def __init__(self, container=list):
        super().__init__()
        self.container = container
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)

    def forward(self, x):
        first = self.first(x).tanh()
        return self.container([first, self.second(first).tanh()])


class Fine(nn.Conv2d):
    def forward(self, maps):
        return super().forward(maps[0])


class Coarse(nn.Linear):
    def forward(self, maps):
        return super().forward(maps[1].mean((2, 3)))


@pytest.mark.supported
@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("make", [MGDA, PCGrad])
def test_a_backbone_that_returns_a_list_of_feature_maps(container, make):
    torch.manual_seed(0)
    model = HPS(Pyramid(container), {"dense": Fine(4, 2, 1), "label": Coarse(8, 3)})
    losses = {"dense": nn.CrossEntropyLoss(), "label": nn.CrossEntropyLoss()}
    x = torch.randn(6, 3, 8, 8)
    batch = Batch(x, {"dense": torch.randint(2, (6, 8, 8)), "label": torch.randint(3, (6,))})
    one = moml.MultiTask(model, losses)
    ways = [o(one, batch) for o in (Direct(), Accumulated(Direct(), parts=3), Representation())]
    torch.testing.assert_close(ways[0].jacobian, ways[1].jacobian)
    torch.testing.assert_close(
        ways[0].pullback(torch.ones(2).double()), ways[2].pullback(torch.ones(2).double())
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    moml.fit(one, Direct(), make(), optimizer, [batch], steps=2)


def test_an_encoder_that_returns_no_tensor():
    class Text(nn.Module):
        def forward(self, x):
            return "features"

    one = moml.MultiTask(HPS(Text(), {"a": nn.Linear(1, 1)}), {"a": nn.MSELoss()})
    with pytest.raises(ValueError, match=r"`encoder` should return .* found str"):
        one.losses(Batch(torch.zeros(2), {"a": torch.zeros(2)}))


@pytest.mark.supported
def test_a_prediction_of_several_tensors_for_a_loss_of_ones_own():
    """Mean and logarithm of the variance, partly labelled."""

    class Normal(nn.Linear):
        def forward(self, x):
            return tuple(super().forward(x).unbind(1))

    def likelihood(prediction, target):
        mean, log = prediction
        return 0.5 * (log + (mean - target).square() * (-log).exp()).mean()

    torch.manual_seed(0)
    model = HPS(nn.Linear(4, 8), {"value": Normal(8, 2)})
    one = moml.MultiTask(model, {"value": likelihood})
    x, y, known = torch.randn(6, 4), torch.randn(6), torch.arange(6) < 4
    y[4:] = torch.nan
    loss = one.losses(Batch(x, {"value": y}, {"value": known}))["value"]
    expected = likelihood(model(x[:4])["value"], y[:4])
    torch.testing.assert_close(loss, expected)


@pytest.mark.supported
def test_words_in_a_dictionary_of_another_type():
    one = transformer_problem()
    batch = padded(sentences())
    targets = {t: batch.pop(t) for t in ("topic", "tokens")}
    plain = one.losses(Batch(batch, targets))
    assert one.losses(Batch(UserDict(batch), targets)) == plain


@pytest.mark.supported
@pytest.mark.parametrize("make", [EW, MGDA, PCGrad])
def test_sparse_embeddings_in_fit(make):
    """As dense ones: rows of the table that no word of the batch uses do not move."""
    ends = []
    for sparse in (True, False):
        torch.manual_seed(0)
        table = nn.EmbeddingBag(20, 8, mode="mean", sparse=sparse)
        model = HPS(table, {"a": nn.Linear(8, 3), "b": nn.Linear(8, 3)})
        one = moml.MultiTask(model, dict.fromkeys(("a", "b"), nn.CrossEntropyLoss()))
        draw = torch.Generator().manual_seed(1)
        words = torch.randint(10, (6, 5), generator=draw)
        targets = {t: torch.randint(3, (6,), generator=draw) for t in ("a", "b")}
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        before = table.weight.detach().clone()
        moml.fit(one, Direct(), make(), optimizer, [Batch(words, targets)], steps=3)
        assert torch.equal(table.weight[10:], before[10:])
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*ends)
