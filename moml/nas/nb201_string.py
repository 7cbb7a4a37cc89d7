"""Cells as NAS-Bench-201 writes them: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

Dong, Yang, `NAS-Bench-201 <https://arxiv.org/abs/2001.00326>`_, ICLR 2020. Its names of operations
are understood beside our own.
"""

from __future__ import annotations

import re

from moml.nas.cell import CellSpec, Choice

THEIRS = {
    "none": "none",
    "skip": "skip_connect",
    "conv1": "nor_conv_1x1",
    "conv3": "nor_conv_3x3",
    "avg3": "avg_pool_3x3",
}
_OURS = {theirs: ours for ours, theirs in THEIRS.items()}
_EDGE = re.compile(r"^([^~|+]+)~(\d+)$")


def to_nb201(choice: Choice, *, own_names: bool = False) -> str:
    """One group of ``|op~source|`` for every computed node, joined by ``+``.

    Args:
        choice: What the edges of a cell with one input carry.
        own_names: Write ``conv3`` instead of ``nor_conv_3x3``.

    Raises:
        ValueError: If NAS-Bench-201 has no such operation.
    """
    groups: dict[int, list[str]] = {}
    for (source, target), op in choice:
        if not own_names and op not in THEIRS:
            raise ValueError(
                f"`choice` should carry operations of NAS-Bench-201, {sorted(THEIRS)}, "
                f"found '{op}'."
            )
        name = op if own_names else THEIRS[op]
        groups.setdefault(target, []).append(f"{name}~{source}")
    return "+".join(f"|{'|'.join(groups[target])}|" for target in sorted(groups))


def from_nb201(text: str, cell: CellSpec) -> Choice:
    """What the edges of the cell carry according to the string.

    Raises:
        ValueError: If it is not such a string, or not one of this cell.
    """
    if cell.inputs != 1:
        raise ValueError(f"`cell` should have one input, found {cell.inputs}.")
    choice = []
    for target, group in enumerate(text.strip().split("+"), start=1):
        for part in group.strip("|").split("|"):
            found = _EDGE.match(part)
            if found is None:
                raise ValueError(
                    "`text` should read like '|conv3~0|+|none~0|skip~1|', "
                    f"found '{part}' in '{text}'."
                )
            op, source = found[1], int(found[2])
            ours = op if op in cell.ops else _OURS.get(op, op)
            choice.append(((source, target), ours))
    result = tuple(sorted(choice, key=lambda entry: (entry[0][1], entry[0][0])))
    cell.check(result)
    return result
