"""QM9: molecules and properties as written, and a network that sees molecules, not files."""

import csv

import pytest
import torch

from moml.backbone import MoleculeNet
from moml.metrics import AbsoluteError
from tasks import QM9
from tests.trees import qm9


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return qm9(tmp_path_factory.mktemp("qm9"))


def table(root):
    with (root / "raw/gdb9.sdf.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_molecules_are_those_of_the_file(root):
    suite = QM9(root)
    molecule = suite._structures[4]  # three atoms
    assert molecule.shape == (29, 33)
    assert (molecule[:, 0] > 0).sum() == 3
    torch.testing.assert_close(molecule[:3, 1], torch.tensor([0.0, 1.5, 3.0]))
    torch.testing.assert_close(molecule[:3, 2], torch.tensor([0.4, 0.4, 0.4]))
    bonds = molecule[:, 4:]
    assert bonds[:3, :3].tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    assert bonds.sum() == 6


def test_targets_are_standardized_and_errors_in_published_units(root):
    suite, rows = QM9(root), table(root)
    for name, column, factor in (
        ("mu", "mu", 1.0), ("homo", "homo", 27211.3825435), ("U0", "u0_atom", 43.36414),
        ("Cv", "cv", 1.0),
    ):  # fmt: skip
        train = suite.sources("train").batch(torch.arange(16)).targets[name]
        assert train.mean() == pytest.approx(0, abs=1e-6)
        assert train.std() == pytest.approx(1, abs=1e-6)
        items = suite._items["test"]
        values = torch.tensor([float(rows[i][column]) for i in items.tolist()]) * factor
        metric = suite.tasks[name].metrics()["MAE"]
        target = suite.sources("test").batch(torch.arange(len(items))).targets[name]
        metric.update(torch.zeros(len(items), 1), target)
        mean = torch.tensor([float(rows[i][column]) for i in suite._items["train"].tolist()]).mean()
        error = (values - mean * factor).abs().mean()
        assert metric.compute() == pytest.approx(error.item(), rel=1e-4)


def test_errors_are_means_over_the_set():
    metric = AbsoluteError(10.0)
    metric.update(torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 0.0]))
    metric.update(torch.tensor([3.0]), torch.tensor([9.0]))
    assert metric.compute() == pytest.approx(30.0)


def test_uncharacterized_molecules_are_left_out(root):
    items = QM9(root)._items
    assert sorted(torch.cat(list(items.values())).tolist()) == sorted(set(range(22)) - {2, 11})
    assert {split: len(part) for split, part in items.items()} == {"train": 16, "val": 2, "test": 2}


def test_some_targets(root):
    assert list(QM9(root, targets=["gap", "mu"]).tasks) == ["gap", "mu"]
    with pytest.raises(ValueError, match=r"`targets` should be among mu, .*, found spin"):
        QM9(root, targets=["spin"])


def edited(root, file, old, new):
    path = qm9(root) / "raw" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return root


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("gdb9.sdf", "M  END\n$$$$\n", "M  END\n", "row for each of the 21 molecules, found 22"),
        ("gdb9.sdf.csv", ",mu,", ",dipole,", "should have the column mu, found none"),
        ("gdb9.sdf.csv", "gdb_1,0.", "gdb_1,x.", "never"),
    ],
)
def test_damaged_tables(file, old, new, message, tmp_path):
    edited(tmp_path, file, old, new)
    if message == "never":  # a column that nobody asked for
        QM9(tmp_path)
        return
    with pytest.raises(ValueError, match=message):
        QM9(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  2  1  0  0  0  0  0", " 99  1  0  0  0  0  0", "found something else: 99 atoms"),
        ("  1  2  2  0  0\nM", "M", "found something else"),
        ("   0.0000    0.0000    0.0000", "   0.00x0    0.0000    0.0000", "Molecule 1 of '.*sdf'"),
    ],
)
def test_damaged_molecules(old, new, message, tmp_path):
    suite = QM9(edited(tmp_path, "gdb9.sdf", old, new))
    with pytest.raises(ValueError, match=message):
        _ = suite._structures[0]


@pytest.fixture(scope="module")
def molecules(root):
    return torch.stack([QM9(root)._structures[i] for i in range(6)]).double()


def permuted(molecules, order):
    head, bonds = molecules[:, order, :4], molecules[:, order][:, :, 4 + order]
    return torch.cat([head, bonds], -1)


def test_features_do_not_depend_on_order_place_or_padding(molecules):
    network = MoleculeNet(width=8, hidden=6).double()
    plain = network(molecules)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(permuted(molecules, order)), plain)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    moved = molecules.clone()
    moved[..., 1:4] = molecules[..., 1:4] @ turn + 5
    torch.testing.assert_close(network(moved), plain)
    short = torch.cat([molecules[:, :10, :4], molecules[:, :10, 4:14]], -1)
    torch.testing.assert_close(network(short), plain)
    changed = molecules.clone()
    changed[:, 1, 1] += 0.3
    assert (network(changed) - plain).abs().amax(1).min() > 1e-6


def test_messages_are_those_of_edge_matrices(molecules):
    """One round against the definition: the matrix of every edge, built and multiplied."""
    network = MoleculeNet(width=4, hidden=3, rounds=1).double()
    kept = {}
    network.update.register_forward_hook(lambda m, inputs, out: kept.update(messages=inputs[0]))
    network.start.register_forward_hook(lambda m, inputs, out: kept.update(start=out))
    network(molecules)
    mix = network.mix.weight.view(4, 3, 4).permute(1, 0, 2)  # (K, out, in)
    for b, molecule in enumerate(molecules):
        atoms = int((molecule[:, 0] > 0).sum())
        states = kept["start"].relu()[b]
        for i in range(atoms):
            total = torch.zeros(4, dtype=torch.float64)
            for j in set(range(atoms)) - {i}:
                order = [float(molecule[i, 4 + j] == o) for o in (1, 2, 3, 4)]
                distance = (molecule[i, 1:4] - molecule[j, 1:4]).norm()
                gate = network.edge(torch.tensor([*order, distance]).double()).relu()
                matrix = (gate[:, None, None] * mix).sum(0) + network.between.weight
                total += matrix @ states[j] / (atoms - 1)
            expected = (total + network.own(states[i])).relu()
            torch.testing.assert_close(kept["messages"].view(len(molecules), 29, 4)[b, i], expected)
