"""Spaces of small cells: classes, costs and expectations."""

from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from moml.nas import Genotype
from search_spaces import NBDigits

FIVE = ("none", "skip", "conv1", "conv3", "avg3")
SPACES = {
    "4 nodes": NBDigits(),
    "3 nodes": NBDigits(3, FIVE),
    "28x28": NBDigits(image=(1, 28, 28), stages=3, channels=4, num_classes=25),
    "5 ops": NBDigits(ops=FIVE),
}


def drawn(space, number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [space.sample(generator) for _ in range(number)]


@pytest.mark.parametrize(("name", "number"), [("3 nodes", 59), ("4 nodes", 1010), ("5 ops", 5043)])
def test_so_many_classes(name, number):
    assert len(list(SPACES[name].enumerate())) == number


def test_canonical_form():
    space = SPACES["4 nodes"]
    representatives = set(space.enumerate())
    for genotype in drawn(space, 300):
        form = space.canonical(genotype)
        assert form in representatives
        assert space.canonical(form) == form and space.key(form) == space.key(genotype)
        assert space.num_parameters(form) == space.num_parameters(genotype)
        assert space.num_flops(form) == space.num_flops(genotype)
        assert space.from_string(space.to_string(form)) == form


@pytest.mark.parametrize("name", ["4 nodes", "5 ops"])
def test_equivalent_genotypes_are_equal_functions(name):
    """All operations of a kind have the same weights; then equal keys must give equal outputs."""
    space = SPACES[name]
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs, met = {}, 0
    for genotype in drawn(space, 200):
        network = space.network(genotype)
        for m in network.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.running_var.fill_(2.0)
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
            y = network.double().eval()(x)
        key = space.key(genotype)
        if key in outputs:
            torch.testing.assert_close(y, outputs[key], rtol=1e-9, atol=1e-9)
            met += 1
        outputs[key] = y
    assert met > 20


def test_a_result_used_twice_is_not_two_results():
    space = SPACES["4 nodes"]
    shared = space.from_string("|conv3~0|+|none~0|skip~1|+|none~0|conv1~1|conv1~2|")
    apart = space.from_string("|conv3~0|+|conv3~0|none~1|+|none~0|conv1~1|conv1~2|")
    assert space.num_parameters(shared) < space.num_parameters(apart)
    assert space.key(shared) != space.key(apart)
    flat = space.from_string("|conv3~0|+|conv1~0|skip~1|+|none~0|none~1|skip~2|")
    other = space.from_string("|conv3~0|+|none~0|none~1|+|conv1~0|skip~1|none~2|")
    assert space.key(flat) == space.key(other)


@pytest.mark.parametrize("name", ["28x28", pytest.param("4 nodes", marks=pytest.mark.slow)])
def test_costs_are_those_of_the_network(name):
    space = SPACES[name]
    for i, genotype in enumerate(drawn(space, 1000 if name == "4 nodes" else 50)):
        network = space.network(genotype)
        counted = sum(p.numel() for p in network.parameters())
        assert space.num_parameters(genotype) == counted
        if i % 20 == 0:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(torch.rand(1, *space.image))
            assert space.num_flops(genotype) == counter.get_total_flops()


def test_expected_costs_are_those_of_all_genotypes():
    space = SPACES["4 nodes"]
    cell = space.cell
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(1).requires_grad_()
    parameters = flops = 0.0
    for picks in product(range(4), repeat=6):
        choice = tuple((e, cell.ops[o]) for e, o in zip(cell.edges, picks, strict=True))
        genotype = space.genotype({"cell": choice})
        p = float(probabilities.detach()[range(6), picks].prod())
        parameters += p * space.num_parameters(genotype)
        flops += p * space.num_flops(genotype)
    expected = space.expected_parameters({"cell": probabilities})
    assert expected.item() == pytest.approx(parameters, rel=1e-9)
    assert space.expected_flops({"cell": probabilities}).item() == pytest.approx(flops, rel=1e-9)
    (gradient,) = torch.autograd.grad(expected, probabilities)
    assert gradient.isfinite().all() and gradient[:, 3].gt(0).all()
    assert torch.autograd.gradcheck(
        lambda p: space.expected_parameters({"cell": p}), (probabilities,)
    )


def test_mutants_are_neighbours():
    space, generator = SPACES["4 nodes"], torch.Generator().manual_seed(0)
    for genotype in drawn(space, 50):
        mutant = space.mutate(genotype, generator)
        pairs = zip(genotype.by_name["cell"], mutant.by_name["cell"], strict=True)
        assert sum(a != b for a, b in pairs) == 1 and space.connected(mutant)


def test_networks_are_seeded():
    space = SPACES["4 nodes"]
    (genotype,) = drawn(space, 1)
    before = torch.get_rng_state()
    one, two = space.network(genotype, seed=3), space.network(genotype, seed=3)
    assert torch.get_rng_state().equal(before)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert a.equal(b)


def test_what_does_not_belong():
    space = SPACES["4 nodes"]
    with pytest.raises(ValueError, match="should be of the space"):
        space.network(drawn(SPACES["5 ops"], 1)[0])
    dead = space.from_string("|none~0|+|none~0|none~1|+|none~0|conv3~1|conv3~2|")
    with pytest.raises(ValueError, match="lead from the input"):
        space.network(dead)
    with pytest.raises(ValueError, match="lead from the input"):
        space.canonical(dead)
    with pytest.raises(ValueError, match="`cells` should be"):
        space.genotype({})
    with pytest.raises(ValueError, match="to be listed"):
        NBDigits(5).enumerate()
    with pytest.raises(ValueError, match="shape"):
        space.expected_parameters({"cell": torch.ones(2, 2)})
    assert isinstance(drawn(NBDigits(5), 1)[0], Genotype)


@pytest.mark.parametrize(("flat", "classes", "mixed"), [(False, 1083, 161), (True, 870, 137)])
def test_nested_expressions_merge_cells_of_different_sizes(flat, classes, mixed):
    """What docs/nas.md says of comparing expressions: a result used twice is written twice."""
    space, sizes = SPACES["4 nodes"], {}
    for ops in product(space.cell.ops, repeat=6):
        live = space.cell.live(tuple(zip(space.cell.edges, ops, strict=True)))
        terms = {0: ["x"]}
        for node in range(1, 4):
            terms[node] = []
            for source, op in [(edge[0], op) for edge, op in live if edge[1] == node]:
                inside = terms[source]
                if op == "skip" and (flat or len(inside) == 1):
                    terms[node] += inside
                else:
                    terms[node].append(f"{op}({'+'.join(inside)})")
            terms[node].sort()
        if live:
            convolutions = tuple(sorted(op for _, op in live if op.startswith("conv")))
            sizes.setdefault("+".join(terms[3]), set()).add(convolutions)
    assert len(sizes) == classes
    assert sum(len(different) > 1 for different in sizes.values()) == mixed
