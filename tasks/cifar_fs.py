"""CIFAR-FS: which of five kinds of things is it, having seen one or five small pictures of each?

L. Bertinetto, J. Henriques, P. Torr, A. Vedaldi, "Meta-learning with differentiable closed-form
solvers", ICLR 2019.
"""

from __future__ import annotations

from torch import Tensor

from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._cifar_files import SIDE
from tasks._cifar_fs_files import LAYOUTS, read_split
from tasks._few_shot_pictures import FewShotPictures


class CIFARFS(FewShotPictures):
    """CIFAR-100's classes, 600 pictures each, 64 of them for training: episodes.

    Layouts: ``data/CLASS/*.png`` with ``splits/bertinetto/{train,val,test}.txt``; the pickles
    ``CIFAR_FS_{train,val,test}.pickle``, read without executing them; a folder per class in
    ``{train,val,test}``; or CIFAR-100 as published. Inputs are ``(3, 32, 32)`` in [0, 1]. Accuracy:
    higher is better, ``1 / ways`` by chance.

    Raises:
        ValueError: If data are missing or damaged, or an episode needs more than there is.
    """

    title, layouts, side, width = "CIFAR-FS", LAYOUTS, SIDE, 64

    def read(self, split: Split) -> tuple[Samples, Tensor]:
        """Pictures of a split, and the number of each one's class."""
        return read_split(self.found, split)
