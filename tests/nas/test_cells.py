"""Cells, genotypes and strings."""

import networkx
import pytest
import torch

from moml.nas import CellSpec, Genotype, SpaceSpec, from_nb201, relabelled, to_nb201
from moml.nas.cell_picture import save_cells
from search_spaces import NBDigits

OPS = ("none", "skip", "conv1", "conv3")
CELL = CellSpec.dense(1, 3, OPS)
DARTS = CellSpec.dense(
    2, 4, ("skip", "conv1", "conv3"), keep_per_node=2, output="concat", reduction=True
)


def choices(cell, number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(number):
        drawn = torch.randint(len(cell.ops), (len(cell.edges),), generator=generator)
        yield tuple(zip(cell.edges, (cell.ops[i] for i in drawn), strict=True))


def test_live_edges_lie_on_paths():
    for choice in choices(CELL, 200):
        graph = CELL.graph(choice)
        reached = networkx.descendants(graph, 0) | {0}
        used = networkx.ancestors(graph, 3) | {3}
        expected = {(i, j) for i, j in graph.edges if i in reached and j in used}
        assert {edge for edge, _ in CELL.live(choice)} == expected
        assert CELL.connected(choice) == networkx.has_path(graph, 0, 3)
        pruned = CELL.pruned(choice)
        assert CELL.live(pruned) == CELL.live(choice) and CELL.pruned(pruned) == pruned


def test_relabelled_cells_meet_exactly_if_their_graphs_are_isomorphic():
    found = list(choices(CELL, 60))
    forms = [relabelled(CELL, choice) for choice in found]
    graphs = [CELL.graph(form) for form in forms]
    same = networkx.algorithms.isomorphism.categorical_edge_match("op", None)
    for graph in graphs:
        networkx.set_node_attributes(graph, {n: n if n in (0, 3) else -1 for n in graph}, "end")
    ends = networkx.algorithms.isomorphism.categorical_node_match("end", None)
    for a, first in enumerate(graphs):
        for b, second in enumerate(graphs[:a]):
            isomorphic = networkx.is_isomorphic(first, second, edge_match=same, node_match=ends)
            assert isomorphic == (forms[a] == forms[b])
    assert len(set(forms)) < len(set(map(CELL.pruned, found)))


def test_relabelled_keeps_what_a_node_chooses():
    choice = (
        ((0, 2), "skip"), ((1, 2), "conv3"), ((0, 3), "conv1"), ((1, 3), "conv1"),
        ((0, 4), "skip"), ((3, 4), "conv1"), ((0, 5), "skip"), ((1, 5), "skip"),
    )  # fmt: skip
    DARTS.check(choice)
    form = relabelled(DARTS, choice)
    DARTS.check(form)
    assert relabelled(DARTS, form) == form
    assert DARTS.stride((0, 4)) == 2 and DARTS.stride((3, 4)) == 1


def test_nb201_strings():
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    cell = CellSpec.dense(1, 3, (*OPS, "avg3"))
    choice = from_nb201(text, cell)
    assert dict(choice)[2, 3] == "conv1" and dict(choice)[1, 2] == "avg3"
    assert to_nb201(choice) == text
    own = to_nb201(choice, own_names=True)
    assert own.startswith("|conv3~0|+") and from_nb201(own, cell) == choice
    with pytest.raises(ValueError, match="should read like"):
        from_nb201("|conv3-0|", cell)
    with pytest.raises(ValueError, match="edges should be"):
        from_nb201("|conv3~0|", cell)


def test_genotypes_are_data():
    cells = (("cell", next(choices(CELL, 1))),)
    genotype = Genotype("space", 2, cells)
    again = Genotype.from_json(genotype.to_json())
    assert again == genotype and hash(again) == hash(genotype)
    assert again.digest == genotype.digest == "a61ce23a9779c6cf"
    for text in ("", "[]", '{"space": "x"}', '{"space": "x", "version": 1, "cells": [1]}'):
        with pytest.raises(ValueError, match="A genotype should be JSON"):
            Genotype.from_json(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, ((0, 1), (1, 2)), ("none",)), "lead from an input"),
        ((1, 2, ((0, 1),), OPS), "lead from an input"),
        ((1, 2, ((1, 0), (1, 2)), OPS), "run forward"),
        ((1, 2, ((1, 2), (0, 1)), OPS), "sorted by target"),
        ((1, 2, ((0, 1), (1, 2)), ("conv7",)), "should be among"),
        ((1, 2, ((0, 1), (1, 2)), OPS, 2), "between 1 and the 1 edges"),
        ((0, 2, (), OPS), "at least 1"),
    ],
)
def test_cells_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        CellSpec(*arguments)


def test_choices_that_do_not_fit():
    choice = next(choices(CELL, 1))
    with pytest.raises(ValueError, match="in this order"):
        CELL.check(choice[1:])
    with pytest.raises(ValueError, match="should carry one of"):
        CELL.check(((choice[0][0], "avg3"), *choice[1:]))
    with pytest.raises(ValueError, match="should keep 2 edges into node 2"):
        DARTS.check((((0, 2), "skip"),))
    with pytest.raises(ValueError, match="should name every cell"):
        SpaceSpec("space", 1, (("normal", CELL),), ("stem",))


def test_cells_are_drawn(tmp_path):
    space = NBDigits()
    genotype = space.from_string("|conv3~0|+|none~0|none~1|+|skip~0|conv1~1|conv1~2|")
    save_cells(tmp_path / "cells.svg", space, [genotype, genotype], titles=["one", "two"])
    text = (tmp_path / "cells.svg").read_text()
    assert "one" in text and "two" in text
    assert text.count(">conv3<") == text.count(">skip<") == text.count(">conv1<") == 2  # live ones
