import math

import networkx as nx
import numpy as np
import pytest
import torch

from tasks import GraphAtlas
from tasks._invariants import TARGETS, atlas, invariants

SPLITS = ("train", "val", "test")
COUNTS = [600, 100, 292]

# By hand: complete graph, path and star on four nodes, ring on six.
KNOWN = {
    "K4": (
        nx.complete_graph(4),
        {
            "diameter": 1,
            "radius": 1,
            "mean_distance": 1,
            "clustering": 1,
            "triangles": 4,
            "algebraic_connectivity": 4,
            "laplacian_radius": 4,
            "spectral_radius": 3,
            "log_spanning_trees": math.log(16),  # Cayley: n^(n - 2)
            "clique_number": 4,
            "energy": 6,
        },
    ),
    "P4": (
        nx.path_graph(4),
        {
            "diameter": 3,
            "radius": 2,
            "mean_distance": (3 * 1 + 2 * 2 + 1 * 3) / 6,
            "clustering": 0,
            "triangles": 0,
            "algebraic_connectivity": 2 - math.sqrt(2),
            "laplacian_radius": 2 + math.sqrt(2),
            "spectral_radius": (1 + math.sqrt(5)) / 2,
            "log_spanning_trees": 0,
            "clique_number": 2,
            "energy": 2 * math.sqrt(5),
        },
    ),
    "star": (
        nx.star_graph(3),
        {
            "diameter": 2,
            "radius": 1,
            "mean_distance": 1.5,
            "clustering": 0,
            "triangles": 0,
            "algebraic_connectivity": 1,
            "laplacian_radius": 4,
            "spectral_radius": math.sqrt(3),
            "log_spanning_trees": 0,
            "clique_number": 2,
            "energy": 2 * math.sqrt(3),
        },
    ),
    "C6": (
        nx.cycle_graph(6),
        {
            "diameter": 3,
            "radius": 3,
            "mean_distance": 9 / 5,
            "clustering": 0,
            "triangles": 0,
            "algebraic_connectivity": 1,
            "laplacian_radius": 4,
            "spectral_radius": 2,
            "log_spanning_trees": math.log(6),
            "clique_number": 2,
            "energy": 8,
        },
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_hand_known_graphs(name):
    graph, expected = KNOWN[name]
    found = invariants(graph)
    assert list(found) == list(TARGETS) == list(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-12), key


def test_own_distances_and_triangles_agree_with_networkx():
    graph = nx.lollipop_graph(4, 3)
    found = invariants(graph)
    assert found["diameter"] == nx.diameter(graph)
    assert found["radius"] == nx.radius(graph)
    assert found["mean_distance"] == pytest.approx(nx.average_shortest_path_length(graph))
    assert found["triangles"] == sum(nx.triangles(graph).values()) / 3
    assert found["log_spanning_trees"] == pytest.approx(
        math.log(nx.number_of_spanning_trees(graph))
    )


def test_atlas_rows_belong_together():
    adjacency, targets = atlas()
    assert adjacency.shape == (992, 7, 7)
    assert torch.equal(adjacency, adjacency.transpose(1, 2))
    sizes = (adjacency.sum(-1) > 0).sum(-1)
    assert [int((sizes == n).sum()) for n in (4, 5, 6, 7)] == [6, 21, 112, 853]  # OEIS A001349
    largest = np.linalg.eigvalsh(adjacency.double().numpy())[:, -1]
    np.testing.assert_allclose(targets["spectral_radius"][:, 0], largest, rtol=1e-5)


def test_splits_share_no_graph():
    _, targets = atlas()
    assert all(len(y) == 992 for y in targets.values())
    rows = {s: GraphAtlas(seed=4).sources(s).inputs.flatten(1) for s in SPLITS}
    assert [len(rows[s]) for s in SPLITS] == COUNTS
    together = torch.cat(list(rows.values()))
    assert len(together.unique(dim=0)) == 992  # the atlas has no two isomorphic graphs


def test_raw_targets_are_those_of_the_graph():
    source = GraphAtlas(standardize=False).sources("val")
    for i in (0, 17):
        nodes = int((source.inputs[i].sum(0) > 0).sum())
        expected = invariants(nx.from_numpy_array(source.inputs[i, :nodes, :nodes].numpy()))
        for name, value in expected.items():
            assert source.targets[name][i].item() == pytest.approx(value, rel=1e-5, abs=1e-6)


def test_standardized_by_the_training_split():
    suite = GraphAtlas(standardize=True)
    raw, scaled = (GraphAtlas(standardize=s).sources("test") for s in (False, True))
    train = GraphAtlas(standardize=False).sources("train")
    for name in TARGETS:
        y = suite.sources("train").targets[name]
        assert y.mean().item() == pytest.approx(0, abs=1e-5)
        assert y.std().item() == pytest.approx(1, rel=1e-4)
        back = scaled.targets[name] * train.targets[name].std() + train.targets[name].mean()
        torch.testing.assert_close(back, raw.targets[name], rtol=1e-4, atol=1e-4)


def test_data_depend_on_the_seed_alone():
    one, again, other = (GraphAtlas(seed=s).loader("train").batch(5) for s in (0, 0, 1))
    assert torch.equal(one.inputs, again.inputs)
    assert not torch.equal(one.inputs, other.inputs)


def test_chosen_targets():
    suite = GraphAtlas(targets=("energy", "radius"))
    assert list(suite.tasks) == ["energy", "radius"]
    assert list(suite.loader("val").batch(0).targets) == ["energy", "radius"]
    with pytest.raises(ValueError, match=r"`targets` should name some of diameter.*found girth"):
        GraphAtlas(targets=["girth"])
    with pytest.raises(ValueError, match="found none"):
        GraphAtlas(targets=[])


def test_missing_labels_of_the_training_split():
    suite = GraphAtlas(missing=0.5)
    train = suite.sources("train")
    assert {int(mask.sum()) for mask in train.present.values()} == {COUNTS[0] // 2}
    assert not torch.equal(train.present["radius"], train.present["diameter"])
    assert not suite.sources("test").present


def test_networks_and_metrics_fit():
    suite = GraphAtlas()
    batch = suite.loader("val").batch(0)
    encoder = suite.encoder()
    features = encoder(batch.inputs)
    for task, spec in suite.tasks.items():
        target = batch.targets[task]
        assert spec.loss.check(target) is None
        prediction = suite.head(task, encoder.out_features)(features)
        assert prediction.shape == target.shape
        metrics = spec.metrics()
        assert metrics["R2"].higher_is_better is True
        assert metrics["MAE"].higher_is_better is False


def test_r2_over_the_set():
    metric = GraphAtlas().tasks["radius"].metrics()["R2"]
    metric.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [3.0]]))
    metric.update(torch.tensor([[5.0]]), torch.tensor([[5.0]]))
    assert metric.compute().item() == pytest.approx(1 - 1 / 8)
