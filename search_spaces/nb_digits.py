"""Small cells in a network for small images: the space whose every cell has been trained."""

from __future__ import annotations

from search_spaces._small_images import SmallImageSpace

OPS = ("none", "skip", "conv1", "conv3")


class NBDigits(SmallImageSpace):
    """One cell, twice: stem, cell, reduction, cell of twice the channels, classifier.

    In the manner of Dong, Yang, `NAS-Bench-201 <https://arxiv.org/abs/2001.00326>`_, ICLR 2020, at
    the size of scikit-learn's digits (8×8). With four nodes and four operations there are 4096
    genotypes; 1010 are different connected functions (`moml.nas.equivalence`). With three nodes and
    ``avg3`` as a fifth operation 59 of 125 are.

    Raises:
        ValueError: If a number is too small or an operation unknown.
    """

    title, known_for = "nb_digits", OPS
