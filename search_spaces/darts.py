"""The space of DARTS, its genotype strings, and cells that papers have published in it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from moml._support.hints import hint
from moml.nas import CellSpec, Cost, Genotype, Placement, SearchSpace, SpaceSpec
from moml.nas.cell import Choice
from search_spaces._checks import at_least_one
from search_spaces._darts_network import STEM, DARTSNetwork, plan

OPS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip",
    "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip
THEIRS = {"skip": "skip_connect"}
OURS = {"skip_connect": "skip"}
CALL = "Genotype("
FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_INITIALS = {
    "s3": "sep_conv_3x3", "s5": "sep_conv_5x5", "d3": "dil_conv_3x3", "d5": "dil_conv_5x5",
    "mp": "max_pool_3x3", "ap": "avg_pool_3x3", "id": "skip",
}  # fmt: skip
# Normal and reduction cell: two edges for each of four nodes, as operation and source.
PUBLISHED = {
    # Liu, Simonyan & Yang, ICLR 2019, first order
    "DARTS_V1": (
        "s3 1 s3 0 id 0 s3 1 id 0 s3 1 s3 0 id 2",
        "mp 0 mp 1 id 2 mp 0 mp 0 id 2 id 2 ap 0",
    ),
    # The same, second order
    "DARTS_V2": (
        "s3 0 s3 1 s3 0 s3 1 s3 1 id 0 id 0 d3 2",
        "mp 0 mp 1 id 2 mp 1 mp 0 id 2 id 2 mp 1",
    ),
    # Chen, Xie, Wu & Tian, P-DARTS, ICCV 2019
    "PDARTS": (
        "id 0 d3 1 id 0 s3 1 s3 1 s3 3 s3 0 d5 4",
        "ap 0 s5 1 s3 0 d5 2 mp 0 d3 1 d3 1 d5 3",
    ),
    # Xu et al., PC-DARTS, ICLR 2020, found on CIFAR-10
    "PC_DARTS": (
        "s3 1 id 0 s3 0 d3 1 s5 0 s3 1 ap 0 d3 1",
        "s5 1 mp 0 s5 1 s5 2 s3 0 s3 3 s3 1 s3 2",
    ),
    # The same, found on ImageNet
    "PC_DARTS_IMAGENET": (
        "id 1 s3 0 s3 0 id 1 s3 1 s3 3 s3 1 d5 4",
        "s3 0 id 1 d5 2 mp 1 s3 2 s3 1 s5 0 s3 3",
    ),
    # Yue, Lin, Zhang & Liang, IJCNN 2022
    "E2RNAS": (
        "ap 0 id 1 ap 0 s3 2 s5 3 ap 0 ap 0 s5 2",
        "ap 0 ap 1 ap 0 ap 1 ap 0 id 3 ap 0 id 3",
    ),
    # Dong, Li, Wang & Xu, Adversarially robust neural architectures, 2020
    "RACL": (
        "s3 0 s3 1 s5 0 id 1 s3 0 id 3 s3 3 id 4",
        "s3 0 s5 1 ap 0 d3 1 s3 0 s5 1 s3 2 d3 3",
    ),
    # Mok, Na, Choe & Yoon, AdvRush, ICCV 2021
    "ADVRUSH": (
        "s3 1 s3 0 s5 0 s3 1 s3 1 s3 0 id 0 s3 1",
        "s3 0 s3 1 id 0 d3 2 id 0 ap 1 id 0 id 2",
    ),
}


class DARTS(SearchSpace):
    """Two cells, normal and reduction; every node keeps two of the edges into it.

    Liu, Simonyan & Yang, `DARTS: Differentiable Architecture Search
    <https://arxiv.org/abs/1806.09055>`_, ICLR 2019. A cell sees the outputs of the two cells before
    it and puts its nodes side by side. About 10^18 genotypes, so there is nothing to list.

    Args:
        nodes: Computed nodes of a cell.
        ops: What an edge may carry.
        channels: Channels of the first cell.
        layers: Number of cells; those at one and two thirds are reductions.
        image: Channels, rows and columns of the images.
        num_classes: Number of classes.

    Raises:
        ValueError: If a number is too small or an operation unknown.
    """

    def __init__(
        self,
        nodes: int = 4,
        ops: Sequence[str] = OPS,
        *,
        channels: int = 16,
        layers: int = 8,
        image: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
    ) -> None:
        if layers < 3:
            raise ValueError(f"`layers` should be at least 3, found {layers}: two are reductions.")
        at_least_one(nodes=nodes, channels=channels, num_classes=num_classes)
        normal, reduce = (
            CellSpec.dense(2, nodes, ops, keep_per_node=2, output="concat", reduction=reduction)
            for reduction in (False, True)
        )
        macro = ("stem", *(kind for kind, _ in plan(layers, channels)), "classifier")
        self.spec = SpaceSpec(
            f"darts-{nodes}-{'-'.join(ops)}", 1, (("normal", normal), ("reduce", reduce)), macro
        )
        self.nodes, self.channels, self.layers = nodes, channels, layers
        self.image, self.num_classes = tuple(image), num_classes

    def skeleton(self, cell: Callable[[str, int], nn.Module]) -> nn.Module:
        """The network around any cells, called with their kind and channels."""
        return DARTSNetwork(
            cell,
            in_channels=self.image[0],
            channels=self.channels,
            layers=self.layers,
            nodes=self.nodes,
            num_classes=self.num_classes,
        )

    # -- strings

    def from_string(self, text: str) -> Genotype:
        """The genotype of ``Genotype(normal=[('sep_conv_3x3', 0), …], …, reduce=[…], …)``.

        Text before the call is ignored, such as ``DARTS_V2 =`` in a Python file or ``genotype =``
        and the time in a log. Entries name an operation and its source, two for every node in turn.
        What is put side by side must be all computed nodes.

        Raises:
            ValueError: If the text is something else, or not a genotype of this space.
        """
        found = _arguments(text)
        inner = list(range(2, 2 + self.nodes))
        for name in ("normal_concat", "reduce_concat"):
            if name in found and list(found[name]) != inner:
                raise ValueError(f"`{name}` should be {inner}, found {list(found[name])}.")
        return self.genotype({name: _choice(found[name]) for name in ("normal", "reduce")})

    def to_string(self, genotype: Genotype) -> str:
        """The genotype as DARTS writes it."""
        self.check(genotype)
        inner = f"range(2, {2 + self.nodes})"
        parts = []
        for name, choice in genotype.cells:
            pairs = ", ".join(f"('{THEIRS.get(op, op)}', {edge[0]})" for edge, op in choice)
            parts.append(f"{name}=[{pairs}], {name}_concat={inner}")
        return f"Genotype({', '.join(parts)})"

    def published(self, name: str) -> Genotype:
        """A cell that a paper found: ``DARTS_V1``, ``DARTS_V2``, ``PDARTS``, ``PC_DARTS``, ….

        Raises:
            ValueError: If there is none of that name, or it is not one of this space.
        """
        if name not in PUBLISHED:
            raise ValueError(
                f"`name` should be among {', '.join(PUBLISHED)}, found '{name}'."
                f"{hint(name, PUBLISHED)}"
            )
        cells = {}
        for kind, text in zip(("normal", "reduce"), PUBLISHED[name], strict=True):
            words = text.split()
            pairs = zip(words[::2], words[1::2], strict=True)
            cells[kind] = _choice([(_INITIALS[op], int(source)) for op, source in pairs])
        return self.genotype(cells)

    # -- costs

    def placements(self) -> Mapping[str, Sequence[Placement]]:
        """The cells' channels, and resolutions before they halve them."""
        found: dict[str, list[Placement]] = {"normal": [], "reduce": []}
        for kind, width, height, columns in self._sizes():
            found[kind].append(Placement(width, height, columns))
        return found

    def fixed(self) -> Cost:
        """Cost of the stem, of what brings inputs to a cell's channels, and of the classifier."""
        colours, rows, columns = self.image
        stem = STEM * self.channels
        parameters, flops = 9 * colours * stem + 2 * stem, 18 * colours * stem * rows * columns
        previous, last = stem, stem
        for _, width, height, columns in self._sizes():
            parameters += (previous + last) * width + 4 * width
            flops += 2 * (previous + last) * width * height * columns
            previous, last = last, self.nodes * width
        return Cost(parameters + (last + 1) * self.num_classes, flops + 2 * last * self.num_classes)

    def _sizes(self) -> list[tuple[str, int, int, int]]:
        """Kind, channels, rows and columns of the input of every cell."""
        _, rows, columns = self.image
        found = []
        for kind, width in plan(self.layers, self.channels):
            found.append((kind, width, rows, columns))
            if kind == "reduce":
                rows, columns = -(-rows // 2), -(-columns // 2)
        return found


def _arguments(text: str) -> dict[str, list]:
    """The arguments of the call that the text ends with; nothing is evaluated but literals."""
    start = max(text.find(CALL), 0)
    try:
        call = ast.parse(text[start:].strip(), mode="eval").body
        assert isinstance(call, ast.Call)
        given = [*zip(FIELDS, call.args, strict=False), *((k.arg, k.value) for k in call.keywords)]
        found = {str(name): _literal(value) for name, value in given}
        if {"normal", "reduce"} <= set(found):
            return found
    except (SyntaxError, ValueError, AssertionError, TypeError):
        pass
    raise ValueError(
        "`text` should read like \"Genotype(normal=[('sep_conv_3x3', 0), …], reduce=[…])\", "
        f"found {text[:80]!r}."
    )


def _literal(value: ast.expr) -> list:
    if isinstance(value, ast.Call):  # range(2, 6)
        return list(range(*map(ast.literal_eval, value.args)))
    found: list = ast.literal_eval(value)
    return found


def _choice(pairs: Sequence[tuple[str, int]]) -> Choice:
    """Two edges per node, by source."""
    found = [((int(source), 2 + i // 2), OURS.get(op, op)) for i, (op, source) in enumerate(pairs)]
    return tuple(sorted(found, key=lambda entry: (entry[0][1], entry[0][0])))
