"""A search space: architectures to draw, to list, to build and to cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor, nn

from moml.nas._choices import all_choices, below, drawn, mutated
from moml.nas.cell import CellSpec, Choice
from moml.nas.discrete_cell import DiscreteCell
from moml.nas.equivalence import cell_key, relabelled
from moml.nas.expectation import expected_cost
from moml.nas.genotype import Genotype
from moml.nas.nb201_string import from_nb201, to_nb201
from moml.nas.ops import check_parameters, get_op
from moml.nas.space_spec import SpaceSpec

LISTABLE = 20_000  # so many cells are compared one by one


@dataclass(frozen=True)
class Placement:
    """Where a cell stands in the network: what its operations see.

    Args:
        channels: Channels of its nodes.
        height: Rows of its input.
        width: Columns of its input.
    """

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Args:
        parameters: Number of its parameters.
        flops: Floating point operations per sample, two per multiply-add of convolutions and
            linear layers.
    """

    parameters: int
    flops: int


class SearchSpace(ABC):
    """Genotypes and the networks they stand for.

    Dead edges (zero, or on no path from an input to the output) are not built unless the cell says
    so (`CellSpec.builds_dead`): they cost nothing, neither in `num_parameters` nor in expectation.

    A subclass gives `spec`, `image`, `num_classes`, `skeleton`, and for its costs `placements` and
    `fixed`.
    """

    spec: SpaceSpec
    image: tuple[int, ...]
    """Channels, rows and columns of the images."""
    num_classes: int
    """Number of classes."""

    @abstractmethod
    def skeleton(self, cell: Callable[[str, int], nn.Module]) -> nn.Module:
        """The network around any cells, called with images and whatever the cells want besides.

        Args:
            cell: Builds a cell by kind and channels; it is called with its inputs, and then with
                what the network was called with besides images.
        """

    def network(self, genotype: Genotype, *, seed: int | None = None) -> nn.Module:
        """The network, freshly initialised: by its own seed, or by PyTorch's global state.

        Raises:
            ValueError: If the genotype is of another space or not buildable.
        """
        self.check(genotype)
        cells, choices = self.spec.by_name, genotype.by_name
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            return self.skeleton(
                lambda name, channels: DiscreteCell(cells[name], choices[name], channels=channels)
            )

    @abstractmethod
    def placements(self) -> Mapping[str, Sequence[Placement]]:
        """Where each kind of cell stands."""

    @abstractmethod
    def fixed(self) -> Cost:
        """Cost of all that is the same for every genotype."""

    # -- genotypes

    def genotype(self, cells: Mapping[str, Choice]) -> Genotype:
        """The genotype with these cells.

        Raises:
            ValueError: If they are not cells of this space.
        """
        if set(cells) != set(self.spec.by_name):
            raise ValueError(
                f"`cells` should be {sorted(self.spec.by_name)}, found {sorted(cells)}."
            )
        for name, cell in self.spec.cells:
            cell.check(cells[name])
        ordered = tuple((name, tuple(cells[name])) for name, _ in self.spec.cells)
        return Genotype(self.spec.name, self.spec.version, ordered)

    def check(self, genotype: Genotype) -> None:
        """Whether the genotype is one of this space.

        Raises:
            ValueError: If it is of another space or version, or its edges do not fit.
        """
        if (genotype.space, genotype.version) != (self.spec.name, self.spec.version):
            raise ValueError(
                f"`genotype` should be of the space '{self.spec.name}', version "
                f"{self.spec.version}, found '{genotype.space}', version {genotype.version}."
            )
        self.genotype(genotype.by_name)

    def connected(self, genotype: Genotype) -> bool:
        """Whether every cell's output depends on its input."""
        cells = genotype.by_name
        return all(cell.connected(cells[name]) for name, cell in self.spec.cells)

    def buildable(self, genotype: Genotype) -> bool:
        """Whether it has a network: it is connected, unless the space builds dead edges."""
        cells = genotype.by_name
        return all(cell.buildable(cells[name]) for name, cell in self.spec.cells)

    def sample(self, generator: torch.Generator) -> Genotype:
        """A connected genotype; all strings are equally likely, so large classes come often."""
        while True:
            cells = {name: drawn(cell, generator) for name, cell in self.spec.cells}
            genotype = self.genotype(cells)
            if self.connected(genotype):
                return genotype

    def mutate(self, genotype: Genotype, generator: torch.Generator) -> Genotype:
        """Another connected genotype with one edge changed.

        Its operation changes or, where a node chooses among edges, as often its source.
        """
        names = [name for name, _ in self.spec.cells]
        while True:
            cells = dict(genotype.by_name)
            name = names[below(len(names), generator)]
            cells[name] = mutated(self.spec.by_name[name], cells[name], generator)
            changed = self.genotype(cells)
            if changed != genotype and self.connected(changed):
                return changed

    def to_string(self, genotype: Genotype) -> str:
        """The only cell in the notation of NAS-Bench-201, with our names of operations.

        Raises:
            ValueError: If the space has several kinds of cells.
        """
        name, _ = self._only_cell()
        self.check(genotype)
        return to_nb201(genotype.by_name[name], own_names=True)

    def from_string(self, text: str) -> Genotype:
        """The genotype of a string of NAS-Bench-201, with its names of operations or ours.

        Raises:
            ValueError: If the space has several kinds of cells, or the string does not fit.
        """
        name, cell = self._only_cell()
        return self.genotype({name: from_nb201(text, cell)})

    # -- equivalence

    def key(self, genotype: Genotype) -> str:
        """A text that equivalent genotypes share: the same function (`moml.nas.equivalence`)."""
        cells = genotype.by_name
        return " || ".join(cell_key(cell, cells[name]) for name, cell in self.spec.cells)

    def canonical(self, genotype: Genotype) -> Genotype:
        """One genotype for all that are equivalent: in listable spaces the smallest of its class.

        Elsewhere dead edges are removed and inner nodes renumbered, so that only isomorphic graphs
        are sure to meet. A genotype that is not connected has no such form.

        Raises:
            ValueError: If the genotype is not connected.
        """
        if not self.connected(genotype):
            raise ValueError(
                f"`genotype` should lead from the input to the output, found {genotype.cells}."
            )
        if self.listable:
            return self._classes[self.key(genotype)]
        cells = genotype.by_name
        return self.genotype(
            {name: relabelled(cell, cells[name]) for name, cell in self.spec.cells}
        )

    @property
    def num_strings(self) -> float:
        """Number of genotypes where every edge carries an operation, else infinite."""
        number = 1.0
        for _, cell in self.spec.cells:
            if cell.keep_per_node is not None:
                return float("inf")
            number *= len(cell.ops) ** len(cell.edges)
        return number

    @property
    def listable(self) -> bool:
        """Whether `enumerate` lists the space."""
        return self.num_strings <= LISTABLE

    def enumerate(self) -> Iterator[Genotype]:
        """One connected genotype of every class of equivalent ones, in a fixed order.

        Raises:
            ValueError: If the space is too large.
        """
        if not self.listable:
            raise ValueError(
                f"A space should have at most {LISTABLE} genotypes to be listed, "
                f"found {self.num_strings:g} in '{self.spec.name}'. Use `sample`."
            )
        return iter(self._classes.values())

    @cached_property
    def _classes(self) -> dict[str, Genotype]:
        """Of every class the genotype with the fewest edges built, the first of those."""
        best: dict[str, tuple[int, Genotype]] = {}
        names = [name for name, _ in self.spec.cells]
        for choices in product(*(all_choices(cell) for _, cell in self.spec.cells)):
            cells = dict(zip(names, choices, strict=True))
            if any(cell.pruned(cells[name]) != cells[name] for name, cell in self.spec.cells):
                continue  # its pruned form comes along as well
            genotype = self.genotype(cells)
            if self.connected(genotype):
                number = sum(len(cell.built(cells[name])) for name, cell in self.spec.cells)
                key = self.key(genotype)
                if key not in best or number < best[key][0]:
                    best[key] = (number, genotype)
        return {key: genotype for key, (_, genotype) in best.items()}

    # -- costs

    def num_parameters(self, genotype: Genotype) -> int:
        """Number of parameters of the genotype's network."""
        return self.fixed().parameters + self._sum(genotype, self._parameter_table)

    def num_flops(self, genotype: Genotype) -> int:
        """Floating point operations per sample of the genotype's network."""
        return self.fixed().flops + self._sum(genotype, self._flop_table)

    def expected_parameters(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Expected number of parameters if edges draw their operations independently.

        Exact and differentiable: an edge costs only when it is alive, which depends on all others.
        Where nodes keep some of their edges, any of these are kept with equal probability.

        Args:
            probabilities: For each kind of cell ``(edges, ops)`` in the order of its `CellSpec`.

        Raises:
            ValueError: If a shape is wrong.
        """
        return self.fixed().parameters + self._expected(probabilities, self._parameter_table)

    def expected_flops(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Expected floating point operations per sample, as `expected_parameters`."""
        return self.fixed().flops + self._expected(probabilities, self._flop_table)

    @cached_property
    def _parameter_table(self) -> dict[str, Tensor]:
        return self._tables()[0]

    @cached_property
    def _flop_table(self) -> dict[str, Tensor]:
        return self._tables()[1]

    def _tables(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Cost of every operation on every edge, ``(edges, ops)``, summed over the placements."""
        parameters, flops = {}, {}
        sizes: dict[tuple[str, int, int], int] = {}  # by operation, channels and stride
        for name, cell in self.spec.cells:
            shape = (len(cell.edges), len(cell.ops))
            parameters[name] = torch.zeros(shape, dtype=torch.float64)
            flops[name] = torch.zeros(shape, dtype=torch.float64)
            for place in self.placements()[name]:
                for e, edge in enumerate(cell.edges):
                    stride = cell.stride(edge)
                    shrink = 2 if cell.reduction and stride == 1 else 1  # behind the inputs
                    size = {
                        "height": -(-place.height // shrink),
                        "width": -(-place.width // shrink),
                    }
                    for o, op in enumerate(map(get_op, cell.ops)):
                        key = (op.name, place.channels, stride)
                        if key not in sizes:
                            sizes[key] = check_parameters(op, place.channels, stride)
                        parameters[name][e, o] += sizes[key]
                        flops[name][e, o] += op.flops(place.channels, stride=stride, **size)
        return parameters, flops

    def _sum(self, genotype: Genotype, tables: Mapping[str, Tensor]) -> int:
        total, cells = 0, genotype.by_name
        for name, cell in self.spec.cells:
            table = tables[name]
            for edge, op in cell.built(cells[name]):
                total += int(table[cell.edges.index(edge), cell.ops.index(op)])
        return total

    def _expected(
        self, probabilities: Mapping[str, Tensor], tables: Mapping[str, Tensor]
    ) -> Tensor:
        parts = [
            expected_cost(cell, probabilities[name], tables[name]) for name, cell in self.spec.cells
        ]
        return torch.stack(parts).sum()

    def _only_cell(self) -> tuple[str, CellSpec]:
        if len(self.spec.cells) != 1:
            raise ValueError(
                f"A string describes one kind of cell, found {[n for n, _ in self.spec.cells]}. "
                "Use JSON."
            )
        return self.spec.cells[0]
