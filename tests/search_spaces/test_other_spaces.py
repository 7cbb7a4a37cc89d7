"""NAS-Bench-201 and linear cells: counts, strings, costs."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moml.nas import CellSpec, get_op, op_names
from search_spaces import DARTS, LinearCells, NASBench201, NBDigits

SMALL = {
    "darts": lambda: DARTS(channels=4, layers=4, image=(3, 9, 9)),
    "nas_bench_201": lambda: NASBench201(channels=4, cells=2, image=(3, 9, 9)),
    "linear": lambda: LinearCells(channels=4),
}


def test_nas_bench_201_has_15625_strings():
    space = NASBench201()
    assert space.num_strings == 15625
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    genotype = space.from_string(text)
    assert space.to_string(genotype) == text
    assert dict(genotype.by_name["cell"])[0, 3] == "skip"
    widest = space.from_string("|conv3~0|+|conv3~0|conv3~1|+|conv3~0|conv3~1|conv3~2|")
    assert space.num_parameters(widest) == sum(
        p.numel() for p in space.network(widest).parameters()
    )


@pytest.mark.slow
def test_nas_bench_201_has_5043_classes():
    assert len(list(NASBench201().enumerate())) == 5043


@pytest.mark.parametrize("name", SMALL)
def test_costs_are_those_of_the_networks(name):
    space = SMALL[name]()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        genotype = space.sample(generator)
        network = space.network(genotype, seed=0).eval()
        assert sum(p.numel() for p in network.parameters()) == space.num_parameters(genotype)
        with FlopCounterMode(display=False) as counter:
            network(torch.rand(1, *space.image))
        assert counter.get_total_flops() == space.num_flops(genotype)


def test_linear_cells_do_not_flatten_sums():
    space = LinearCells(3, ("none", "skip", "linear1"))
    chain = space.from_string("|skip~0|+|none~0|skip~1|")
    direct = space.from_string("|none~0|+|skip~0|none~1|")
    assert space.key(chain) != space.key(direct)  # a normalisation and a ReLU lie between


def test_operations_are_registered():
    assert {"sep_conv_3x3", "dil_conv_5x5", "max_pool_3x3", "linear5"} <= set(op_names())


@pytest.mark.supported
def test_every_nas_bench_201_string_is_written_as_the_benchmark_reads_it():
    space, names = NASBench201(), ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3",
                                   "avg_pool_3x3")  # fmt: skip
    for six in product(names, repeat=6):
        a, b, c, d, e, f = six
        text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        assert space.to_string(space.from_string(text)) == text


def test_an_operation_of_the_space_keeps_its_own_meaning():
    space = NBDigits(3, ("none", "skip", "avg_pool_3x3"))  # a benchmark's name, too
    genotype = space.from_string("|avg_pool_3x3~0|+|skip~0|none~1|")
    assert dict(genotype.by_name["cell"])[0, 1] == "avg_pool_3x3"


def benchmark_cell(six, channels):
    """All six edges of a cell, alive or not, as the benchmark sums them."""
    edges = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    modules = [get_op(op).build(channels) for op in six]

    def run(x):
        nodes = [x]
        for target in (1, 2, 3):
            ending = [(s, m) for (s, t), m in zip(edges, modules, strict=True) if t == target]
            nodes.append(sum(m(nodes[source]) for source, m in ending))
        return nodes[3]

    return modules, run


@pytest.mark.supported
def test_nas_bench_201_cells_with_dead_edges_are_the_benchmarks_networks_in_exact_mode():
    space, plain = NASBench201(exact=True), NASBench201()
    names = ("none", "skip", "conv1", "conv3", "avg3")
    larger = refused = 0
    for six in product(names, repeat=6):
        text = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*six)
        genotype = space.from_string(text)
        # 15 cells of 16, 32 and 64 channels; fixed are 73,306 of a network with ten classes
        counted = 73_306 + sum(
            5 * sum(k * c * c + 2 * c for c in (16, 32, 64))
            for k in ({"conv1": 1, "conv3": 9}.get(op) for op in six)
            if k
        )
        assert space.num_parameters(genotype) == counted
        same = replace(genotype, space=plain.spec.name)
        alive, connected = plain.num_parameters(same), plain.connected(same)
        refused += not connected
        larger += connected and alive != counted
    assert (larger, refused) == (3976, 341)


@pytest.mark.parametrize(
    "six",
    [
        ("none", "conv3", "conv1", "skip", "conv3", "conv1"),  # convolutions of nothing
        ("conv3", "none", "none", "skip", "avg3", "none"),
        ("conv3", "skip", "none", "none", "conv1", "none"),  # a node that nothing leaves
        ("none", "none", "conv1", "none", "conv3", "skip"),  # its input is not looked at
        ("none",) * 6,
    ],
)
@pytest.mark.supported
def test_a_nas_bench_201_cell_in_exact_mode_sums_what_dead_edges_bring(six):
    space = NASBench201(exact=True, channels=4, cells=1, image=(3, 8, 8))
    genotype = space.from_string("|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*six))
    network = space.network(genotype, seed=0)
    assert sum(p.numel() for p in network.parameters()) == space.num_parameters(genotype)
    cell = network.stages[0][0]
    modules, reference = benchmark_cell(six, 4)
    theirs = [m for m, op in zip(modules, six, strict=True) if op != "none"]
    draw = torch.Generator().manual_seed(1)
    for ours, other in zip(cell.ops, theirs, strict=True):
        for p, q in zip(ours.parameters(), other.parameters(), strict=True):
            p.data = torch.randn(p.shape, generator=draw)
            q.data = p.data.clone()
    x = torch.randn(6, 4, 8, 8, generator=draw)
    for mode in (True, False):
        cell.train(mode)
        for m in modules:
            m.train(mode)
        torch.testing.assert_close(cell(x), reference(x))
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def test_expected_sizes_count_dead_edges_in_exact_mode():
    space = NASBench201(exact=True, channels=2, cells=1)
    p = {"cell": torch.full((6, 5), 0.2, dtype=torch.float64)}
    conv = sum(10 * c * c + 4 * c for c in (2, 4, 8))
    expected = space.fixed().parameters + 6 * 0.2 * conv
    assert float(space.expected_parameters(p)) == pytest.approx(expected)


def test_equal_keys_have_equal_sizes_in_exact_mode():
    space, sizes = NASBench201(exact=True), {}
    draw = torch.Generator().manual_seed(0)
    for _ in range(400):
        genotype = space.sample(draw)
        size = sizes.setdefault(space.key(genotype), space.num_parameters(genotype))
        assert size == space.num_parameters(genotype)
    with pytest.raises(ValueError, match="`builds_dead` should be False"):
        CellSpec.dense(2, 3, ("skip",), builds_dead=True)
