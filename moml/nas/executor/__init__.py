"""How cells whose edges carry mixtures are computed."""

from moml.nas.executor.batched_cell import BatchedCell
from moml.nas.executor.merged_cell import MergedCell
from moml.nas.executor.mixed_cell import MixedCell
from moml.nas.executor.partial_cell import PartialCell

__all__ = ["BatchedCell", "MergedCell", "MixedCell", "PartialCell"]
