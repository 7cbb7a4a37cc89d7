"""NAS-Bench-201 and linear cells: counts, strings, costs."""

from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moml.nas import op_names
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
