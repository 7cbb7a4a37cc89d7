"""DARTS' strings, published cells, costs."""

from itertools import combinations, product

import pytest
import torch

from moml.nas import Genotype, get_op
from search_spaces import DARTS
from search_spaces.darts import PUBLISHED


def small(**options):
    return DARTS(channels=4, layers=3, image=(3, 8, 8), **options)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_build_and_come_back(name):
    space = small()
    genotype = space.published(name)
    network = space.network(genotype, seed=0)
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in network.parameters()) == space.num_parameters(genotype)
    assert space.from_string(space.to_string(genotype)) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype


def free_edges(space, genotype):
    cells = space.spec.by_name
    return sum(
        get_op(op).parameters(16, stride=cells[name].stride(edge)) == 0
        for name, choice in genotype.cells
        for edge, op in choice
    )


def test_most_edges_of_the_published_e2rnas_cell_have_no_parameters():
    space = small()
    assert free_edges(space, space.published("E2RNAS")) == 13
    assert free_edges(space, space.published("RACL")) == 4
    assert free_edges(space, space.published("ADVRUSH")) == 3


def test_expected_parameters_are_the_mean_over_all_genotypes():
    space = DARTS(2, ("none", "skip", "sep_conv_3x3"), channels=2, layers=3, image=(1, 8, 8))
    draw = torch.Generator().manual_seed(0)
    p = {
        name: torch.rand(
            len(cell.edges), len(cell.ops), generator=draw, dtype=torch.float64
        ).requires_grad_()
        for name, cell in space.spec.cells
    }
    probabilities = {name: t / t.sum(1, keepdim=True) for name, t in p.items()}
    expected = space.expected_parameters(probabilities)
    total = space.fixed().parameters
    for name, cell in space.spec.cells:
        other = next(n for n, _ in space.spec.cells if n != name)
        fixed_choice = space.sample(draw).by_name[other]
        mean = 0.0
        groups = [list(combinations(cell.into(t), 2)) for t in range(cell.inputs, cell.size)]
        number = len(list(product(*groups)))
        for kept in product(*groups):
            edges = [edge for group in kept for edge in group]
            for ops in product(("skip", "sep_conv_3x3"), repeat=len(edges)):
                genotype = space.genotype(
                    {name: tuple(zip(edges, ops, strict=True)), other: fixed_choice}
                )
                weight = 1.0 / number
                for edge, op in zip(edges, ops, strict=True):
                    row = probabilities[name].detach()[cell.edges.index(edge)]
                    weight *= float(row[cell.ops.index(op)] / row[1:].sum())
                mean += weight * space.num_parameters(genotype)
        choices = {name: tuple((e, "skip") for g in groups for e in g[0]), other: fixed_choice}
        own = sum(
            float(space._parameter_table[name][cell.edges.index(e), cell.ops.index(op)])
            for e, op in choices[name]
        )
        base = space.num_parameters(space.genotype(choices)) - own
        total += mean - base
    assert abs(expected.item() - total) <= 1e-6 * total
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(expected, list(p.values())))


@pytest.mark.parametrize("number", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_formulas_are_those_of_random_networks(number):
    space = DARTS(channels=2, layers=3, image=(1, 4, 4))
    generator = torch.Generator().manual_seed(1)
    for _ in range(number):
        genotype = space.sample(generator)
        with torch.device("meta"):  # shapes only
            network = space.network(genotype)
        assert sum(p.numel() for p in network.parameters()) == space.num_parameters(genotype)


@pytest.mark.parametrize(
    "text",
    ["", "Genotype(normal=3)", "__import__('os')", "Genotype(normal=[('what', 0)], reduce=[])"],
)
def test_bad_strings_are_refused(text):
    with pytest.raises(ValueError, match="should"):
        small().from_string(text)


def test_a_published_name_is_known():
    with pytest.raises(ValueError, match="Did you mean 'E2RNAS'"):
        small().published("E2RNA")


V1 = """Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0),
    ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),
    ('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),
    ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0),
    ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))"""


@pytest.mark.parametrize("before", ["", "genotype = ", "DARTS_V1 = ", "03/11 11:05 AM genotype = "])
@pytest.mark.supported
def test_a_genotype_pasted_from_a_python_file_or_a_log_is_read(before):
    space = small()
    assert space.from_string(before + V1) == space.published("DARTS_V1")
    positional = V1
    for name in ("normal=", "normal_concat=", "reduce=", "reduce_concat="):
        positional = positional.replace(name, "")
    assert space.from_string(before + positional) == space.published("DARTS_V1")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("DARTS_V1", 3_169_414),
        ("DARTS_V2", 3_349_342),
        ("PDARTS", 3_433_798),
        ("PC_DARTS", 3_634_678),
        ("PC_DARTS_IMAGENET", 3_721_510),
    ],
)
@pytest.mark.supported
def test_published_cells_have_the_sizes_that_the_code_of_darts_gives_them(name, number):
    space = DARTS(channels=36, layers=20)  # as they are trained on CIFAR-10
    assert space.num_parameters(space.published(name)) == number
