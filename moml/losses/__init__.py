"""Losses of tasks: means over the labels that are defined."""

from moml.losses._base import EntrywiseLoss, Loss, aligned
from moml.losses.binary_cross_entropy import BinaryCrossEntropy
from moml.losses.cosine_distance import CosineDistance
from moml.losses.cross_entropy import CrossEntropy
from moml.losses.masked_l1 import MaskedL1
from moml.losses.mean_squared_error import MeanSquaredError

__all__ = [
    "BinaryCrossEntropy",
    "CosineDistance",
    "CrossEntropy",
    "EntrywiseLoss",
    "Loss",
    "MaskedL1",
    "MeanSquaredError",
    "aligned",
]
